//! Mail to people: when a digest is due, and when somebody has to be told that nobody else can be.
//!
//! A digest goes out once for each start of its schedule; a start that was missed while we were away
//! is made up for, the last one only. An urgent mail goes out once for each outage of Alertmanager or
//! of the Control Plane that lasts, and another when it is over: silence of either is alarmed through
//! the other and, because both may be away, through this third way. What was sent is noted, so a
//! restart repeats nothing; the note follows the mail, which waits for no disk, so a crash between the
//! two does. Nothing here writes a letter or opens a socket.

mod postman;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::postman::Postman;
use super::digest::Digest;
use super::{Engine, Fact, Request, Step};
use crate::base::{Now, Timestamp};
use crate::calendar::{Schedule, Zone};
use crate::outbox::{self, Outbox};

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

impl Engine {
    /// Notes whom we reach, and starts the mails that are due.
    pub(super) fn work_mail(&mut self, now: Now, step: &mut Step) {
        // Also while no mail is configured, or what was would still be told when it is.
        self.note_holds();
        self.note_control_plane(now);
        self.note_alertmanagers(now);
        if let Some(plan) = &self.setup.mail {
            let wanted = self.postman.wanted(now, plan);
            for kind in self.postman.start(now, &wanted, plan) {
                let mail = self.mail(now, kind);
                step.requests.push(Request::Mail { kind, mail });
            }
        }
        self.changes.extend(self.postman.take_row());
    }

    /// A mail was sent, or was not; whether or not mail is configured any more.
    pub(super) fn take_mailed(
        &mut self,
        now: Now,
        kind: MailKind,
        result: Result<(), MailFailure>,
    ) {
        let is_first = !self.postman.has_failed(kind);
        self.postman.settle(now, kind, &result);
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
        self.setup.mail.as_ref().map(|_| self.postman.view().clone())
    }

    fn note_holds(&mut self) {
        for fact in &self.facts {
            if let Fact::Held { reason, .. } = fact {
                self.postman.note_hold(reason.name());
            }
        }
    }

    /// Notes what this step has shown of the Control Plane, if there is one: with the local executor alone
    /// it is Docker that deliveries reach.
    fn note_control_plane(&mut self, now: Now) {
        let sink = Sink::ControlPlane;
        if self.setup.outbox.as_ref().is_none_or(|config| config.restarts_only) {
            return self.postman.forget(sink);
        }
        for fact in &self.facts {
            let Fact::Outbox(fact) = fact else { continue };
            match fact {
                outbox::Fact::Delivered { .. }
                | outbox::Fact::DeadLettered { .. }
                | outbox::Fact::Resumed => self.postman.note_up(now, sink),
                outbox::Fact::Retrying { why, .. } | outbox::Fact::Paused { why } => {
                    self.postman.note_down(now, sink, why);
                }
                _ => {}
            }
        }
        // What was dropped or withdrawn will never say that it has arrived.
        if self.postman.is_down(sink) && self.outbox.as_ref().is_none_or(Outbox::is_empty) {
            self.postman.note_unknown(sink);
        }
    }

    /// Notes whether every Alertmanager is away; that one has taken a post is noted with its verdict.
    fn note_alertmanagers(&mut self, now: Now) {
        let sink = Sink::Alertmanager;
        let instances = 0..self.setup.alertmanagers.len();
        if instances.is_empty() {
            return self.postman.forget(sink);
        }
        let troubles: Option<Vec<&str>> =
            instances.map(|instance| self.presenter.trouble(instance)).collect();
        match troubles.as_deref() {
            Some([why, ..]) => self.postman.note_down(now, sink, why),
            // One that takes alerts is enough, instances tell each other; of one that is new nobody knows.
            _ => self.postman.note_unknown(sink),
        }
    }

    fn mail(&self, now: Now, kind: MailKind) -> Mail {
        let (sink, is_over) = match kind {
            MailKind::Digest => return Mail::Digest(Box::new(self.digest(now))),
            MailKind::Unreachable(sink) => (sink, false),
            MailKind::Reachable(sink) => (sink, true),
        };
        let (since, back, why) = self.postman.away(now, sink);
        Mail::Outage {
            host: self.setup.host.clone(),
            sink,
            since,
            until: back.filter(|_| is_over),
            why: why.to_owned(),
            firing: self.firing_names(),
            waiting: self.outbox.as_ref().map_or(0, |outbox| outbox.stats(now).waiting),
        }
    }
}
