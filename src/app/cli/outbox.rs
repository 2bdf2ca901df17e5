//! `outbox list|retry|drop`: an operator's hand on what waits, whether plimsoll runs or not.
//!
//! The journal serves one process at a time, and opening it takes its lock. So a stopped plimsoll's
//! journal is worked on directly, and a running one is asked over its API; it is never worked
//! against. Which of the two it was is said on stderr.

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::runtime::Runtime;

use super::super::clock::Clock;
use super::super::config::{Environment, Places, WebConfig};
use super::super::setup;
use super::args::{Format, OutboxCommand};
use super::ask::{Refused, ask, get};
use super::out::Out;
use super::{exit, finish, places, runtime};
use crate::base::{Batch, Change, DeliveryId, Now, format_duration};
use crate::journal::{self, JournalError, Store, StoreKind};
use crate::outbox::{Listed, Outbox, OutboxConfig};

/// Where a running plimsoll answers for its outbox.
const PATH: &str = "/api/v1/plimsoll/outbox";

pub fn outbox(command: &OutboxCommand, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let place = match command {
        OutboxCommand::List(place) => place,
        OutboxCommand::Retry(ids) | OutboxCommand::Drop(ids) => &ids.place,
    };
    let outcome = match &place.url {
        Some(url) => Hand::over_http(url.clone()),
        None => match places(&place.file.config, out) {
            Ok(places) => Hand::find(&places, environment, out),
            Err(code) => return code,
        },
    };
    let outcome = outcome.and_then(|mut hand| match command {
        OutboxCommand::List(_) => {
            let all = hand.list()?;
            // A pager may read for an hour; the journal is free meanwhile.
            drop(hand);
            list(&all, out);
            Ok(exit::OK)
        }
        OutboxCommand::Retry(ids) => Ok(change(&mut hand, Wish::Retry, &ids.ids, out)),
        OutboxCommand::Drop(ids) => Ok(change(&mut hand, Wish::Drop, &ids.ids, out)),
    });
    finish(outcome, out)
}

/// What is to be done with a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Retry,
    Drop,
}

impl Wish {
    fn name(self) -> &'static str {
        match self {
            Wish::Retry => "retry",
            Wish::Drop => "drop",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Wish::Retry => "will be sent",
            Wish::Drop => "dropped",
        }
    }
}

/// The way to an outbox.
enum Hand {
    /// Nobody runs; we hold the journal.
    Journal { store: Box<dyn Store>, outbox: Box<Outbox>, now: Now },
    /// plimsoll runs and is asked here; with what to try if it does not answer.
    Running { url: String, runtime: Runtime, advice: Option<String> },
}

/// Why the journal cannot be worked on, and what to try if nobody answers for it either.
struct Elsewhere {
    why: String,
    advice: &'static str,
}

impl Hand {
    fn over_http(url: String) -> anyhow::Result<Hand> {
        Ok(Hand::Running { url, runtime: runtime()?, advice: None })
    }

    /// Asks where the configuration says that plimsoll listens.
    fn ask_instead(web: &WebConfig, it: Elsewhere, out: &mut Out<'_>) -> anyhow::Result<Hand> {
        let Elsewhere { why, advice } = it;
        let Some(url) = address(web.listen) else {
            bail!(
                "{why}, and `web.listen` leaves its port to the system: tell with --url where it listens, or {advice}"
            );
        };
        out.say(&format!("{why}: asking {url}"));
        let advice = Some(format!("{advice}, or tell with --url where plimsoll listens"));
        Ok(Hand::Running { url, runtime: runtime()?, advice })
    }

    /// Takes the journal, or finds who has it.
    fn find(places: &Places, environment: &Environment, out: &mut Out<'_>) -> anyhow::Result<Hand> {
        let Places { storage, web } = places;
        let (dir, _) = setup::state_dir(storage, environment.state_directory.as_deref());
        let dir = dir.join("journal");
        let hidden = |error: &dyn Display| Elsewhere {
            why: format!("the journal in {} is closed to this user ({error})", dir.display()),
            advice: "run this as root",
        };
        match fs::metadata(&dir) {
            Ok(about) if about.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Hand::ask_instead(web, hidden(&error), out);
            }
            _ => bail!(
                "no journal in {}: plimsoll has not run with this configuration",
                dir.display()
            ),
        }
        let kind = storage.kind.unwrap_or(StoreKind::Redb);
        let opened = match journal::open(kind, &dir) {
            Ok(opened) => opened,
            Err(JournalError::InUse { holder, .. }) => {
                let why = format!("process {holder} has the journal");
                let advice = "it may be another command that will soon be done: try again";
                return Hand::ask_instead(web, Elsewhere { why, advice }, out);
            }
            Err(JournalError::Denied { source, .. }) => {
                return Hand::ask_instead(web, hidden(&source), out);
            }
            Err(error) => return Err(error).context("the outbox cannot be opened"),
        };
        let rows = opened.rows.into_iter().flat_map(|(table, rows)| {
            rows.into_iter().map(move |(key, value)| Change { table, key, value: Some(value) })
        });
        let now = Clock::system().now();
        let (outbox, problems) = Outbox::recover(OutboxConfig::default(), rows, now);
        problems.iter().for_each(|problem| out.say(problem));
        out.say(&format!("plimsoll does not run: this is its journal in {}", dir.display()));
        Ok(Hand::Journal { store: opened.store, outbox: Box::new(outbox), now })
    }

    fn list(&self) -> anyhow::Result<Vec<Listed>> {
        match self {
            Hand::Journal { outbox, .. } => {
                Ok(outbox.list().map(|(state, delivery)| Listed::new(state, delivery)).collect())
            }
            Hand::Running { url, runtime, advice } => {
                let asked = runtime.block_on(get(url, PATH));
                let data = asked.map_err(|error| advised(error, advice.as_deref()))?;
                serde_json::from_value(data).context("the answer is not a list of deliveries")
            }
        }
    }

    /// Does one thing to one delivery; it is durable when this returns.
    fn change(&mut self, wish: Wish, id: &str) -> anyhow::Result<()> {
        match self {
            Hand::Journal { store, outbox, now } => {
                let id = DeliveryId(id.to_owned());
                let turn = match wish {
                    Wish::Retry => outbox.retry(&id, *now, Batch(1))?,
                    Wish::Drop => outbox.drop_delivery(&id)?,
                };
                store.commit(&turn.changes).context("nothing was changed")
            }
            Hand::Running { url, runtime, advice } => {
                let path = format!("{PATH}/{}", wish.name());
                let asked = runtime.block_on(ask(url, &path, &[("id", id)]));
                asked.map(drop).map_err(|error| advised(error, advice.as_deref()))
            }
        }
    }
}

/// The error with what to try, unless it is plimsoll itself that answered so.
fn advised(error: anyhow::Error, advice: Option<&str>) -> anyhow::Error {
    match advice {
        Some(advice) if !error.is::<Refused>() => anyhow!("{error:#}; {advice}"),
        _ => error,
    }
}

/// Where a plimsoll of this configuration can be asked from this host; `None` if only the system
/// knows its port.
pub(super) fn address(listen: SocketAddr) -> Option<String> {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then(|| format!("http://{}", SocketAddr::new(host, listen.port())))
}

fn list(all: &[Listed], out: &mut Out<'_>) {
    match out.format {
        Format::Json => out.json(&all),
        Format::Text if all.is_empty() => out.say("nothing waits and nothing was given up"),
        Format::Text => {
            out.line(&format!(
                "{:<30} {:<9} {:<28} {:<16} {:>10} TRIES ERROR",
                "ID", "STATE", "TYPE", "TENANT", "AGE"
            ));
            let now = Clock::system().now();
            all.iter().for_each(|delivery| out.line(&Out::on_a_line(&text(delivery, now))));
        }
    }
}

fn text(delivery: &Listed, now: Now) -> String {
    let Listed { id, state, event_type, tenant, attempts, last_error, .. } = delivery;
    let age = Duration::from_secs(now.wall.since(delivery.decided_at.0).as_secs());
    format!(
        "{:<30} {:<9} {:<28} {tenant:<16} {:>10} {attempts:>5} {}",
        id.0,
        state.name(),
        event_type.name(),
        format_duration(age),
        last_error.as_deref().unwrap_or("-")
    )
}

/// Does one thing to each delivery; what succeeded is durable before it is said.
fn change(hand: &mut Hand, wish: Wish, ids: &[String], out: &mut Out<'_>) -> u8 {
    let mut code = exit::OK;
    let mut changed = Vec::new();
    for id in ids {
        match hand.change(wish, id) {
            Ok(()) if out.format == Format::Text => out.line(&format!("{id}: {}", wish.done())),
            Ok(()) => changed.push(id),
            Err(error) => {
                code = exit::FAILED;
                out.fail(&error.context(id.clone()));
            }
        }
    }
    if out.format == Format::Json {
        let word = if wish == Wish::Retry { "retried" } else { "dropped" };
        out.json(&std::collections::BTreeMap::from([(word, changed)]));
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::WireTime;
    use crate::outbox::{EventType, State};

    #[test]
    fn a_tenant_s_name_forges_no_row() {
        let forged = "acme\nevt_1 waiting";
        let now = Clock::system().now();
        let listed = Listed {
            id: DeliveryId("evt_0".to_owned()),
            state: State::Waiting,
            event_type: EventType::AlertFiring,
            tenant: forged.to_owned(),
            decided_at: WireTime(now.wall),
            attempts: 1,
            refusals: 0,
            last_error: Some(forged.to_owned()),
            body: serde_json::Value::Null,
        };
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let (format, colours) = (Format::Text, (false, false));
        list(&[listed], &mut Out { data: &mut data, talk: &mut talk, format, colours });
        assert_eq!(String::from_utf8(data).expect("text").lines().count(), 2, "the head and a row");
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, want) in [
            ("127.0.0.1:9469", Some("http://127.0.0.1:9469")),
            ("10.0.0.7:9469", Some("http://10.0.0.7:9469")),
            ("0.0.0.0:9469", Some("http://127.0.0.1:9469")),
            ("[::]:9469", Some("http://[::1]:9469")),
            ("127.0.0.1:0", None),
        ] {
            let got = address(listen.parse().expect("an address"));
            assert_eq!(got.as_deref(), want, "{listen}");
        }
    }
}
