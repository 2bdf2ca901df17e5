//! `send-test`: one test to each sink, over the same clients a run uses.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::super::clock::Clock;
use super::super::config::{Config, hostname};
use super::super::setup;
use super::args::{Format, SendTestArgs, Sink};
use super::out::Out;
use super::{exit, finish, load, runtime};
use crate::alerts::{Alert, AlertState, Phase, Presented};
use crate::base::{Labels, Timestamp};
use crate::engine::Mail;
use crate::letter;
use crate::outbox::{Attempt, Data, Event, EventType, Heartbeat, Outcome, delivery_id};
use crate::send::Webhook;
use crate::send::alertmanager::AlertmanagerClient;
use crate::send::level::to_json;

/// How long the test alert fires before Alertmanager resolves it.
const ALERT_LASTS: Duration = Duration::from_secs(300);

/// What became of a test.
#[derive(Serialize)]
struct Tested {
    to: String,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub fn send_test(args: &SendTestArgs, out: &mut Out<'_>) -> u8 {
    let config = match load(&args.file.config, out) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let missing = match args.sink {
        Sink::Alertmanager if config.alerting.alertmanagers.is_empty() => {
            Some("no instance stands under alerting.alertmanagers")
        }
        Sink::ControlPlane if config.control_plane.is_none() => {
            Some("there is no section control_plane")
        }
        Sink::Mail if config.mail.is_none() => Some("there is no section mail"),
        _ => None,
    };
    if let Some(missing) = missing {
        out.say(&format!("{}: {missing}", args.file.config.display()));
        return exit::BAD_CONFIG;
    }
    let outcome = runtime().and_then(|runtime| {
        let tested = runtime.block_on(async {
            match args.sink {
                Sink::Alertmanager => Ok(to_alertmanagers(&config).await),
                Sink::ControlPlane => to_control_plane(&config).await,
                Sink::Mail => by_mail(&config).await,
            }
        });
        // The reading of a file that never ends is left behind.
        runtime.shutdown_background();
        tested
    });
    let outcome = outcome.map(|tested| report(&tested, out));
    finish(outcome, out)
}

fn report(tested: &[Tested], out: &mut Out<'_>) -> u8 {
    match out.format {
        Format::Json => out.json(&tested),
        Format::Text => {
            for Tested { to, accepted, why } in tested {
                let why = why.as_deref().unwrap_or_default();
                let outcome = if *accepted { "accepted" } else { "not accepted: " };
                out.line(&format!("{to}: {outcome}{why}"));
            }
        }
    }
    if tested.iter().all(|test| test.accepted) { exit::OK } else { exit::FAILED }
}

async fn to_alertmanagers(config: &Config) -> Vec<Tested> {
    let now = Clock::system().now().wall;
    let body = to_json(&test_alert(config, now), &setup::dress(config));
    let mut tested = Vec::new();
    for instance in &config.alerting.alertmanagers {
        let client = AlertmanagerClient::new(instance.clone());
        let why = match &body {
            None => Some("alerting.alert_relabel_configs drops the test alert".to_owned()),
            Some(body) => {
                let posted = client.post_alerts(std::slice::from_ref(body)).await;
                posted.retry.or_else(|| posted.refused.into_iter().next().map(|(_, _, why)| why))
            }
        };
        tested.push(Tested { to: client.name(), accepted: why.is_none(), why });
    }
    tested
}

fn test_alert(config: &Config, now: Timestamp) -> Presented {
    let host = host(config);
    let labels = Labels::from_pairs([
        ("alertname", "PlimsollTest"),
        ("severity", "none"),
        ("action", "none"),
        ("host", &host),
    ]);
    let summary = "A test from `plimsoll send-test`; nothing is wrong. It ends by itself.";
    let alert = Alert {
        annotations: Labels::from_pairs([("summary", summary)]),
        state: AlertState::Firing,
        fired_at: Some(now),
        ..Alert::pending(labels, 1.0, now)
    };
    Presented { alert, expr: String::new(), phase: Phase::Firing, ends_at: now + ALERT_LASTS }
}

async fn to_control_plane(config: &Config) -> anyhow::Result<Vec<Tested>> {
    let control_plane = config.control_plane.as_ref().context("checked by the caller")?;
    let webhook = Webhook::new(control_plane)?;
    let now = Clock::system().now().wall;
    let heartbeat = Heartbeat {
        sequence: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: 0,
        rules_hash: String::new(),
        alerts_firing: 0,
        outbox_waiting: 0,
        last_evaluation_age_seconds: None,
        audit_sequence: None,
        audit_head: None,
    };
    let data = Data {
        host: Some(host(config)),
        reason: Some("send_test".to_owned()),
        heartbeat: Some(heartbeat),
        ..Data::default()
    };
    let event = Event::new(EventType::Heartbeat, now, data);
    let nonce = std::process::id().to_string();
    let attempt = Attempt {
        id: delivery_id(now, &["send-test", &nonce]),
        body: event.to_body().into(),
        event_type: event.event_type,
        number: 1,
    };
    let why = match webhook.send(&attempt, now).await {
        Outcome::Accepted(_) => None,
        Outcome::RetryLater { why, .. }
        | Outcome::Unanswered { why, .. }
        | Outcome::Refused { why }
        | Outcome::Misconfigured { why } => Some(why),
    };
    Ok(vec![Tested { to: webhook.origin(), accepted: why.is_none(), why }])
}

async fn by_mail(config: &Config) -> anyhow::Result<Vec<Tested>> {
    let (mail, _) = config.mail.as_ref().context("checked by the caller")?;
    let letter = letter::write(&Mail::Test { host: host(config) });
    let sent = mail.send(&letter, Clock::system().now().wall).await;
    let why = sent.err().map(|failure| format!("{}: {}", failure.reason, failure.why));
    let to: Vec<String> = mail.to.iter().map(ToString::to_string).collect();
    Ok(vec![Tested { to: to.join(", "), accepted: why.is_none(), why }])
}

fn host(config: &Config) -> String {
    config.policy.host.clone().or_else(hostname).unwrap_or_default()
}
