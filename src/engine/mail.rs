//! Mail to people: when a digest is due, and when somebody has to be told that nobody else can be.
//!
//! A digest goes out once for each start of its schedule; a start that was missed while we were away
//! is made up for, the last one only. An urgent mail goes out once for each outage of Alertmanager or
//! of the Control Plane that lasts, and another when it is over: silence of either is alarmed through
//! the other and, because both may be away, through this third way. What was sent is noted, so a
//! restart repeats nothing; the note follows the mail, which waits for no disk, so a crash between the
//! two does. Nothing here writes a letter or opens a socket.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::{Engine, Fact, Request, Step};
use crate::base::{Change, Now, Table, Timestamp};
use crate::calendar::{Schedule, Zone};
use crate::outbox;

/// The row that says what was sent.
const ROW: &str = "mail/sent";
/// A start that lies longer back is no longer news.
const REACH_DAYS: i64 = 8;
/// A digest that could not be sent for so long gives way to the next.
const STALE_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Between two attempts at one mail; doubled each time up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1800));
/// What was noted further ahead than this was noted by a clock that was wrong.
const AHEAD: Duration = Duration::from_secs(26 * 3600);

/// What is mailed, and when.
#[derive(Clone, PartialEq, Debug)]
pub struct MailPlan {
    /// When a digest is due, and on which clock.
    pub digest: Option<(Schedule, Zone)>,
    /// An outage that lasts so long is told.
    pub urgent_after: Duration,
}

/// Whom we tell, and may not reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// Every instance of Alertmanager.
    Alertmanager,
    /// The Control Plane.
    ControlPlane,
}

/// Which mail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MailKind {
    /// The digest.
    Digest,
    /// A sink cannot be reached.
    Unreachable(Sink),
    /// It can again.
    Reachable(Sink),
}

impl MailKind {
    /// The label `kind` of metrics.
    pub const NAMES: [&str; 3] = ["digest", "unreachable", "reachable"];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            MailKind::Digest => Self::NAMES[0],
            MailKind::Unreachable(_) => Self::NAMES[1],
            MailKind::Reachable(_) => Self::NAMES[2],
        }
    }
}

/// A mail to write and send.
#[derive(Clone, PartialEq, Debug)]
pub enum Mail {
    /// What the day brought.
    Digest(Box<Digest>),
    /// Somebody cannot be reached, or could not.
    Outage {
        /// This host.
        host: String,
        /// Who.
        sink: Sink,
        /// Since when.
        since: Timestamp,
        /// Until when; `None` while it lasts.
        until: Option<Timestamp>,
        /// What the last attempt said.
        why: String,
        /// Alerts that fire now.
        firing: Vec<String>,
        /// Webhooks that wait.
        waiting: usize,
    },
    /// A test.
    Test {
        /// This host.
        host: String,
    },
}

/// Why a mail was not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailFailure {
    /// What to count it under.
    pub reason: &'static str,
    /// For people.
    pub why: String,
}

/// How mail fares, for readers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailView {
    /// Mails sent since the start, by kind.
    pub sent: BTreeMap<&'static str, u64>,
    /// Attempts that failed, by reason.
    pub failed: BTreeMap<&'static str, u64>,
}

/// What has to be remembered.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Sent {
    /// The start of the last digest that was sent or given up.
    digest: Option<Timestamp>,
    /// Outages that were told and are not known to be over, with their beginnings.
    #[serde(default)]
    told: BTreeMap<Sink, Timestamp>,
}

/// How a sink fares.
#[derive(Clone, PartialEq, Debug, Default)]
struct Health {
    /// Since when it cannot be reached.
    down: Option<Now>,
    /// Whether it was reached since the start.
    was_up: bool,
    why: String,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Attempt {
    under_way: bool,
    failures: u32,
    next: Duration,
}

/// Who writes, to whom, and what is still to be sent.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Postman {
    sent: Sent,
    health: BTreeMap<Sink, Health>,
    attempts: BTreeMap<MailKind, Attempt>,
    /// The first start after the last digest, as far as it is known.
    next_digest: Option<Timestamp>,
    /// Holds since the last digest, by reason.
    pub(super) holds: BTreeMap<&'static str, u64>,
    /// Since when they are counted.
    pub(super) holds_since: Timestamp,
    view: MailView,
}

impl Postman {
    /// As the journal's rows tell.
    pub fn recover(rows: &[Change], now: Now) -> (Postman, Option<String>) {
        let row = rows.iter().find(|row| row.table == Table::Guards && row.key == ROW);
        let read = row.and_then(|row| Some(serde_json::from_slice::<Sent>(row.value.as_ref()?)));
        let (sent, problem) = match read {
            None => (Sent::default(), None),
            Some(Ok(sent)) => (sent, None),
            Some(Err(error)) => {
                (Sent::default(), Some(format!("row {ROW} of table guards: {error}")))
            }
        };
        (Postman { sent, holds_since: now.wall, ..Postman::default() }, problem)
    }

    /// Another plan: what is due is to be found out anew.
    pub fn replan(&mut self) {
        self.next_digest = None;
    }

    /// A sink was reached, or was not.
    fn note(&mut self, now: Now, sink: Sink, trouble: Option<&str>) {
        let health = self.health.entry(sink).or_default();
        match trouble {
            None => {
                health.was_up = true;
                health.down = None;
            }
            Some(why) => {
                health.down.get_or_insert(now);
                why.clone_into(&mut health.why);
            }
        }
    }

    /// The mails that are wanted now, whether or not they are under way.
    fn wanted(&mut self, now: Now, plan: &MailPlan) -> Vec<MailKind> {
        let mut wanted = Vec::new();
        if let Some((schedule, zone)) = &plan.digest
            && self.digest_slot(now, schedule, zone).is_some()
        {
            wanted.push(MailKind::Digest);
        }
        for (sink, health) in &self.health {
            let told = self.sent.told.contains_key(sink);
            let lasts = health.down.is_some_and(|since| {
                now.monotonic.saturating_sub(since.monotonic) >= plan.urgent_after
            });
            if lasts && !told {
                wanted.push(MailKind::Unreachable(*sink));
            } else if told && health.was_up && health.down.is_none() {
                wanted.push(MailKind::Reachable(*sink));
            }
        }
        wanted
    }

    /// The start whose digest is due.
    fn digest_slot(&mut self, now: Now, schedule: &Schedule, zone: &Zone) -> Option<Timestamp> {
        if self.sent.digest.is_none_or(|last| last > now.wall + AHEAD) {
            // The first time: the past is nobody's news.
            self.sent.digest = Some(now.wall);
            self.next_digest = None;
        }
        let last = self.sent.digest?;
        if self.next_digest.is_none() {
            self.next_digest = schedule.next_start(last, zone);
        }
        self.next_digest.filter(|next| *next <= now.wall)?;
        schedule.last_start(now.wall, zone, REACH_DAYS).filter(|slot| *slot > last)
    }

    /// Which of the wanted mails to start now.
    fn start(&mut self, now: Now, wanted: &[MailKind]) -> Vec<MailKind> {
        self.attempts.retain(|kind, attempt| attempt.under_way || wanted.contains(kind));
        let mut started = Vec::new();
        for kind in wanted {
            let attempt = self.attempts.entry(*kind).or_default();
            if !attempt.under_way && attempt.next <= now.monotonic {
                attempt.under_way = true;
                started.push(*kind);
            }
        }
        started
    }

    /// A mail was sent, or was not; whether what is remembered has changed.
    fn settle(
        &mut self,
        now: Now,
        kind: MailKind,
        result: &Result<(), MailFailure>,
        plan: &MailPlan,
    ) -> bool {
        let attempt = self.attempts.entry(kind).or_default();
        attempt.under_way = false;
        match result {
            Ok(()) => {
                self.attempts.remove(&kind);
                *self.view.sent.entry(kind.name()).or_default() += 1;
                self.done(now, kind, plan);
                true
            }
            Err(failure) => {
                *self.view.failed.entry(failure.reason).or_default() += 1;
                let pause = RETRY.0 * 2_u32.saturating_pow(attempt.failures.min(10));
                attempt.failures += 1;
                attempt.next = now.monotonic + pause.min(RETRY.1);
                let slot = self.slot(now, plan).filter(|_| kind == MailKind::Digest);
                let stale = slot.is_some_and(|slot| now.wall.since(slot) >= STALE_AFTER);
                if stale {
                    self.attempts.remove(&kind);
                    self.done(now, kind, plan);
                }
                stale
            }
        }
    }

    fn done(&mut self, now: Now, kind: MailKind, plan: &MailPlan) {
        match kind {
            MailKind::Digest => {
                self.sent.digest = self.slot(now, plan).or(Some(now.wall));
                self.next_digest = None;
                self.holds.clear();
                self.holds_since = now.wall;
            }
            MailKind::Unreachable(sink) => {
                let since = self.health.get(&sink).and_then(|health| health.down);
                self.sent.told.insert(sink, since.map_or(now.wall, |since| since.wall));
            }
            MailKind::Reachable(sink) => drop(self.sent.told.remove(&sink)),
        }
    }

    /// The last start of the schedule.
    fn slot(&self, now: Now, plan: &MailPlan) -> Option<Timestamp> {
        let (schedule, zone) = plan.digest.as_ref()?;
        schedule.last_start(now.wall, zone, REACH_DAYS)
    }

    /// When something may be due: the time of the wall, and of the monotonic clock.
    fn next(&self, plan: &MailPlan) -> (Option<Timestamp>, Option<Duration>) {
        // A digest that is being tried again waits for its attempt, not for its start.
        let tried = self.attempts.contains_key(&MailKind::Digest);
        let digest = self.next_digest.filter(|_| plan.digest.is_some() && !tried);
        let attempts = self.attempts.values().filter(|a| !a.under_way).map(|attempt| attempt.next);
        let outages = self.health.iter().filter(|(sink, _)| {
            !self.sent.told.contains_key(sink)
                && !self.attempts.contains_key(&MailKind::Unreachable(**sink))
        });
        let outages =
            outages.filter_map(|(_, health)| Some(health.down?.monotonic + plan.urgent_after));
        (digest, attempts.chain(outages).min())
    }

    fn row(&self) -> Change {
        let value = serde_json::to_vec(&self.sent).expect("plain words and numbers always write");
        Change { table: Table::Guards, key: ROW.to_owned(), value: Some(value) }
    }
}

impl Engine {
    /// Starts the mails that are due.
    pub(super) fn work_mail(&mut self, now: Now, step: &mut Step) {
        if self.setup.mail.is_none() {
            return;
        }
        self.note_reach(now);
        let Some(plan) = &self.setup.mail else { return };
        let is_new = self.postman.sent.digest.is_none();
        let wanted = self.postman.wanted(now, plan);
        if is_new && self.postman.sent.digest.is_some() {
            self.changes.push(self.postman.row());
        }
        for kind in self.postman.start(now, &wanted) {
            let mail = self.mail(now, kind);
            step.requests.push(Request::Mail { kind, mail });
        }
    }

    /// A mail was sent, or was not.
    pub(super) fn take_mailed(
        &mut self,
        now: Now,
        kind: MailKind,
        result: Result<(), MailFailure>,
    ) {
        let Some(plan) = &self.setup.mail else { return };
        let is_first = self.postman.attempts.get(&kind).is_none_or(|a| a.failures == 0);
        if self.postman.settle(now, kind, &result, plan) {
            self.changes.push(self.postman.row());
        }
        self.facts.push(match result {
            Ok(()) => Fact::MailSent { kind: kind.name() },
            Err(MailFailure { reason, why }) => {
                Fact::MailFailed { kind: kind.name(), reason, why, first: is_first }
            }
        });
        self.view_is_old = true;
    }

    /// When a mail may be due, on the monotonic clock.
    pub(super) fn next_mail(&self) -> Option<Duration> {
        let (wall, monotonic) = self.postman.next(self.setup.mail.as_ref()?);
        wall.map(|at| self.clock.when(at)).into_iter().chain(monotonic).min()
    }

    /// How mail fares, if any is to be sent.
    pub(super) fn mail_view(&self) -> Option<MailView> {
        self.setup.mail.as_ref().map(|_| self.postman.view.clone())
    }

    /// Notes what this step has shown of holds and of whom we reach.
    fn note_reach(&mut self, now: Now) {
        for fact in &self.facts {
            match fact {
                Fact::Held { reason, .. } => {
                    *self.postman.holds.entry(reason.name()).or_default() += 1;
                }
                Fact::Outbox(
                    outbox::Fact::Delivered { .. }
                    | outbox::Fact::DeadLettered { .. }
                    | outbox::Fact::Resumed,
                ) => self.postman.note(now, Sink::ControlPlane, None),
                Fact::Outbox(outbox::Fact::Retrying { why, .. } | outbox::Fact::Paused { why }) => {
                    self.postman.note(now, Sink::ControlPlane, Some(why));
                }
                _ => {}
            }
        }
        let instances = 0..self.setup.alertmanagers.len();
        let troubles: Vec<&str> =
            instances.clone().filter_map(|index| self.presenter.trouble(index)).collect();
        // One that takes alerts is enough: instances tell each other.
        if !troubles.is_empty() && troubles.len() == instances.len() {
            self.postman.note(now, Sink::Alertmanager, Some(troubles[0]));
        } else if self.counters.posts_accepted > 0 {
            self.postman.note(now, Sink::Alertmanager, None);
        }
    }

    fn mail(&self, now: Now, kind: MailKind) -> Mail {
        let (sink, is_over) = match kind {
            MailKind::Digest => return Mail::Digest(Box::new(self.digest(now))),
            MailKind::Unreachable(sink) => (sink, false),
            MailKind::Reachable(sink) => (sink, true),
        };
        let health = self.postman.health.get(&sink).cloned().unwrap_or_default();
        let told = self.postman.sent.told.get(&sink).copied();
        let since = told.or(health.down.map(|since| since.wall)).unwrap_or(now.wall);
        Mail::Outage {
            host: self.setup.host.clone(),
            sink,
            since,
            until: is_over.then_some(now.wall),
            why: health.why,
            firing: self.firing_names(),
            waiting: self.outbox.as_ref().map_or(0, |outbox| outbox.stats(now).waiting),
        }
    }

    /// Since when digests were last told of.
    pub(super) fn digest_from(&self) -> Option<Timestamp> {
        self.postman.sent.digest
    }
}

#[cfg(test)]
mod tests;
