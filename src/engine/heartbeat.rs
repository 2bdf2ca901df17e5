//! Signs of life for the Control Plane: its silence is what would tell that this host is dead.
//!
//! Each also carries the audit's head, which this host cannot take back afterwards, and a checksum of
//! the rules in force. While one waits no other is made: an outage must not end with a thousand of
//! them. The first comes an interval after the start, because a start is not a sign of life.

use std::time::Duration;

use super::Engine;
use crate::alerts::AlertState;
use crate::base::Now;
use crate::outbox::{Data, Draft, Event, EventType, Heartbeat, checksum, delivery_id};
use crate::rules::{Group, RuleKind};

/// When the next sign of life is due.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pulse {
    started: Duration,
    last: Duration,
    sequence: u64,
}

impl Pulse {
    /// At the start.
    pub fn new(now: Now) -> Pulse {
        Pulse { started: now.monotonic, last: now.monotonic, sequence: 0 }
    }
}

impl Engine {
    /// When the next sign of life is due; `None` if none is wanted.
    pub(super) fn next_beat(&self) -> Option<Duration> {
        let config = self.setup.outbox.as_ref()?;
        Some(self.pulse.last + config.heartbeat?)
    }

    /// Gives a sign of life if it is time for one.
    pub(super) fn beat(&mut self, now: Now) {
        if self.next_beat().is_none_or(|due| now.monotonic < due) {
            return;
        }
        self.pulse.last = now.monotonic;
        let Some(outbox) = &self.outbox else { return };
        if outbox.holds(EventType::Heartbeat) {
            return;
        }
        self.pulse.sequence += 1;
        let waiting = outbox.stats(now).waiting as u64;
        let heartbeat = Heartbeat {
            sequence: self.pulse.sequence,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.monotonic.saturating_sub(self.pulse.started).as_secs(),
            rules_hash: rules_hash(&self.setup.groups),
            alerts_firing: self.firing(),
            outbox_waiting: waiting,
            last_evaluation_age_seconds: self
                .groups
                .iter()
                .filter_map(|group| group.last_evaluation)
                .max()
                .map(|at| now.wall.since(at).as_secs_f64()),
            audit_sequence: Some(self.audit.sequence).filter(|sequence| *sequence > 0),
            audit_head: Some(self.audit.head.clone()).filter(|_| self.audit.sequence > 0),
        };
        let data = Data {
            host: Some(self.setup.host.clone()).filter(|host| !host.is_empty()),
            heartbeat: Some(heartbeat),
            ..Data::default()
        };
        let parts = [&self.setup.host, "heartbeat", &self.pulse.sequence.to_string()];
        let id = delivery_id(now.wall, &parts);
        self.push_event(now, Draft { id, event: Event::new(EventType::Heartbeat, now.wall, data) });
    }

    fn firing(&self) -> u64 {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let alerts = rules.flat_map(|rule| rule.alerts.values());
        alerts.filter(|alert| alert.state == AlertState::Firing).count() as u64
    }
}

/// The same for the same rules, wherever their files lie and however they are indented.
fn rules_hash(groups: &[Group]) -> String {
    let mut parts = Vec::new();
    for group in groups {
        parts.push(group.name.clone());
        parts.push(format!("{:?}", (group.interval, group.query_offset, group.limit)));
        for rule in &group.rules {
            parts.push(rule.expr.to_string());
            parts.push(format!("{:?}", rule.labels));
            parts.push(match &rule.kind {
                RuleKind::Record { name } => name.clone(),
                RuleKind::Alert(alert) => format!(
                    "{} {:?}",
                    alert.name,
                    (alert.for_, alert.keep_firing_for, &alert.annotations)
                ),
            });
        }
    }
    checksum(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}
