//! `outbox list|retry|drop`: an operator's hand on what waits, while plimsoll is stopped.
//!
//! The journal serves one process at a time. Opening it takes its lock, so a running plimsoll is
//! never worked against: the command says who has it and changes nothing.

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use super::super::clock::Clock;
use super::super::config::{Config, Environment};
use super::super::setup;
use super::args::{Format, OutboxCommand, OutboxIds};
use super::out::Out;
use super::{exit, finish, load};
use crate::base::{Batch, Change, DeliveryId, Now, format_duration, format_rfc3339};
use crate::journal::{self, Store, StoreKind};
use crate::outbox::{Delivery, EventType, OperatorError, Outbox, OutboxConfig, Turn};

pub fn outbox(command: OutboxCommand, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let path = match &command {
        OutboxCommand::List(file) => &file.config,
        OutboxCommand::Retry(ids) | OutboxCommand::Drop(ids) => &ids.file.config,
    };
    let config = match load(path, out) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = Opened::open(&config, environment, out).and_then(|mut opened| match command {
        OutboxCommand::List(_) => {
            opened.list(out);
            Ok(exit::OK)
        }
        OutboxCommand::Retry(ids) => opened
            .change(&ids, out, "will be sent", |outbox, id, now| outbox.retry(id, now, Batch(1))),
        OutboxCommand::Drop(ids) => {
            opened.change(&ids, out, "dropped", |outbox, id, _| outbox.drop_delivery(id))
        }
    });
    finish(outcome, out)
}

/// The outbox of a plimsoll that is not running.
struct Opened {
    store: Box<dyn Store>,
    outbox: Outbox,
    now: Now,
}

/// A delivery, as it is listed.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a DeliveryId,
    state: &'static str,
    #[serde(rename = "type")]
    event_type: EventType,
    tenant: &'a str,
    decided_at: String,
    attempts: u32,
    refusals: u32,
    last_error: Option<&'a str>,
    body: Value,
}

impl Opened {
    fn open(
        config: &Config,
        environment: &Environment,
        out: &mut Out<'_>,
    ) -> anyhow::Result<Opened> {
        let (dir, _) = setup::state_dir(config, environment.state_directory.as_deref());
        let dir = dir.join("journal");
        if !dir.is_dir() {
            bail!("no journal in {}: plimsoll has not run with this configuration", dir.display());
        }
        let kind = config.storage.kind.unwrap_or(StoreKind::Redb);
        let opened = journal::open(kind, &dir).context("the outbox cannot be opened")?;
        let rows = opened.rows.into_iter().flat_map(|(table, rows)| {
            rows.into_iter().map(move |(key, value)| Change { table, key, value: Some(value) })
        });
        let now = Clock::system().now();
        let (outbox, problems) = Outbox::recover(OutboxConfig::default(), rows, now);
        problems.iter().for_each(|problem| out.say(problem));
        Ok(Opened { store: opened.store, outbox, now })
    }

    fn list(&self, out: &mut Out<'_>) {
        let of = |state| move |delivery| (state, delivery);
        let all: Vec<(&'static str, &Delivery)> =
            self.outbox.waiting().map(of("waiting")).collect();
        let dead = self.outbox.dead().map(of("dead"));
        let all: Vec<(&'static str, &Delivery)> = all.into_iter().chain(dead).collect();
        match out.format {
            Format::Json => {
                out.json(
                    &all.iter().map(|(state, delivery)| row(state, delivery)).collect::<Vec<_>>(),
                );
            }
            Format::Text if all.is_empty() => out.say("nothing waits and nothing was given up"),
            Format::Text => {
                out.line(&format!(
                    "{:<30} {:<8} {:<28} {:<16} {:>10} TRIES ERROR",
                    "ID", "STATE", "TYPE", "TENANT", "AGE"
                ));
                all.iter().for_each(|(state, delivery)| out.line(&self.text(state, delivery)));
            }
        }
    }

    fn text(&self, state: &str, delivery: &Delivery) -> String {
        let age = self.now.wall.since(delivery.decided_at).as_secs();
        let age = format_duration(std::time::Duration::from_secs(age));
        let (id, tries) = (&delivery.id.0, delivery.attempts);
        let (kind, tenant) = (delivery.event_type.name(), &delivery.key);
        let error = delivery.last_error.as_deref().unwrap_or("-");
        format!("{id:<30} {state:<8} {kind:<28} {tenant:<16} {age:>10} {tries:>5} {error}")
    }

    /// Does one thing to each delivery; what succeeded is durable before it is said.
    fn change(
        &mut self,
        ids: &OutboxIds,
        out: &mut Out<'_>,
        done: &str,
        work: impl Fn(&mut Outbox, &DeliveryId, Now) -> Result<Turn, OperatorError>,
    ) -> anyhow::Result<u8> {
        let mut code = exit::OK;
        for id in &ids.ids {
            match work(&mut self.outbox, &DeliveryId(id.clone()), self.now) {
                Ok(turn) => {
                    self.store.commit(&turn.changes).context("nothing was changed")?;
                    out.line(&format!("{id}: {done}"));
                }
                Err(error) => {
                    code = exit::FAILED;
                    out.fail(&error.into());
                }
            }
        }
        Ok(code)
    }
}

fn row<'a>(state: &'static str, delivery: &'a Delivery) -> Row<'a> {
    Row {
        id: &delivery.id,
        state,
        event_type: delivery.event_type,
        tenant: &delivery.key,
        decided_at: format_rfc3339(delivery.decided_at),
        attempts: delivery.attempts,
        refusals: delivery.refusals,
        last_error: delivery.last_error.as_deref(),
        body: serde_json::from_str(&delivery.body).unwrap_or(Value::Null),
    }
}
