//! The memory of what was done: cool-downs, budgets, and which requests are still open.
//!
//! It is durable (table `guards`, one row per subject) and written before the action is sent, so a
//! restart of the sidecar cannot repeat an action. Spans are measured on the monotonic clock within
//! a boot, so a step of the wall clock neither opens nor closes a guard; only the time the process
//! was not running is taken from the wall.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{DAY, HOUR, Limits, Mode};
use super::history::{History, is_ineffective, is_void};
use super::incident::{Proposal, is_asked_anew};
use super::ladder::is_escalation;
use super::rows;
use super::verify::Outcome;
use crate::base::{Change, Now, Timestamp};
use crate::outbox::{ActionKind, ActionMode, LastAction, WireTime};

/// The receiver says that it was done; whether it helped, nobody watches.
pub const DONE: &str = "done";
/// Rows of this module in the table.
const PREFIX: &str = "actions/";

/// One action on one subject. A row of the journal is a list of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Done {
    kind: ActionKind,
    tenant: String,
    dedup_key: String,
    /// The delivery that asked; `""` in rows that are older than this field.
    #[serde(default)]
    delivery_id: String,
    at: Timestamp,
    /// Milliseconds on this boot's monotonic clock; negative if it was before the boot.
    #[serde(skip)]
    monotonic_ms: i64,
    /// How it was asked for; `None` if it was only observed, and in rows older than this field.
    #[serde(default)]
    mode: Option<ActionMode>,
    /// Advice that calls for a human.
    #[serde(default)]
    is_escalation: bool,
    /// No outcome is known yet.
    open: bool,
    result: Option<String>,
    /// It came to nothing as far as is known, and may have been carried out all the same.
    #[serde(default)]
    maybe_done: bool,
    /// Somebody was told and never answered: until it is this old it may yet be carried out,
    /// milliseconds.
    #[serde(default)]
    doubt_ms: u64,
    /// It ran out, and its receiver has not heard so.
    #[serde(default)]
    untold: bool,
    /// The first start of its container that was seen after it was asked for.
    #[serde(default)]
    start: Option<Timestamp>,
    /// Nobody watches it any more, and that start is to be seen yet.
    #[serde(default)]
    awaited: Option<Awaited>,
}

/// A start that a request may have led to, and that no scrape has shown yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Awaited {
    /// Of the container.
    name: String,
    /// When it had started before.
    before: Option<Timestamp>,
    /// Until the request is this old, milliseconds.
    until_ms: u64,
}

impl Done {
    /// Whether it was carried out, for all that is known: what expired or was withdrawn was not, and
    /// a restart that was declined neither. To decline a nudge is to have heard of it.
    fn counts(&self, now: Now) -> bool {
        let void = self.result.as_deref().is_some_and(|result| match self.kind {
            ActionKind::Restart => is_void(result),
            _ => is_void(result) && result != Outcome::Declined.name(),
        });
        self.maybe_done || self.is_doubtful(now) || !void
    }

    /// Whether it may yet be carried out, though it is over.
    fn is_doubtful(&self, now: Now) -> bool {
        !self.maybe_done && self.age(now) < Duration::from_millis(self.doubt_ms)
    }

    fn age(&self, now: Now) -> Duration {
        let age = monotonic_ms(now).saturating_sub(self.monotonic_ms);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }
}

/// A start that a request may lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected<'a> {
    /// The delivery that asked.
    pub delivery_id: &'a str,
    /// On whose guard it counts.
    pub subject: &'a str,
    /// Of the container.
    pub name: &'a str,
    /// When it had started before, by what measures it.
    pub before: Option<Timestamp>,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// A request that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// On whose guard it counts.
    pub subject: String,
    /// The tenant, or `""`.
    pub tenant: String,
    /// For what.
    pub kind: ActionKind,
    /// Of the action.
    pub dedup_key: String,
    /// The delivery that asked.
    pub delivery_id: String,
    /// How it was asked for; `None` if it was only observed.
    pub mode: Option<ActionMode>,
    /// How it ended, if that is known.
    pub result: Option<String>,
}

/// An action that was asked for, shown, or recorded as if.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// What.
    pub kind: ActionKind,
    /// For whom, or `""`.
    pub tenant: String,
    /// On whose guard it counts.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// How it was asked for; `None` if it was only observed.
    pub mode: Option<ActionMode>,
    /// How it ended, if that is known.
    pub result: Option<String>,
}

impl Taken {
    /// Whether it was asked for in earnest, and neither declined nor over before anybody took it.
    pub fn counts(&self) -> bool {
        self.mode == Some(ActionMode::Request) && !self.result.as_deref().is_some_and(is_void)
    }
}

/// What was done lately on this host.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Guards {
    subjects: BTreeMap<String, Vec<Done>>,
}

impl Guards {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>, now: Now) -> (Guards, Vec<String>) {
        let (mut subjects, problems) = rows::read::<Vec<Done>>(PREFIX, rows);
        for done in subjects.iter_mut().flat_map(|(_, actions)| actions) {
            let ago = millis(now.wall.since(done.at));
            done.monotonic_ms = monotonic_ms(now).saturating_sub(ago);
        }
        (Guards { subjects: subjects.into_iter().collect() }, problems)
    }

    /// What is remembered about a subject ([`super::Incident::subject`]) and its tenant (`""` if
    /// none). `may_be_done`: whether what a delivery asks for may be carried out beyond its expiry, for its
    /// receiver has said that it does it, or has yet to answer.
    pub fn history(
        &self,
        (subject, tenant): (&str, &str),
        now: Now,
        limits: &Limits,
        may_be_done: &dyn Fn(&str) -> bool,
    ) -> History {
        let all = || self.subjects.values().flatten().filter(|done| done.counts(now));
        let restarts = || all().filter(|done| done.kind == ActionKind::Restart);
        History {
            tenant_restarts_day: restarts()
                .filter(|done| done.tenant == tenant && done.age(now) < DAY)
                .count(),
            host_restarts_hour: restarts().filter(|done| done.age(now) < HOUR).count(),
            // A request that expired is carried out by nobody, unless somebody had taken it or is about to.
            restarts_open: restarts()
                .filter(|done| {
                    done.open && (done.age(now) < limits.expiry || may_be_done(&done.delivery_id))
                        || done.is_doubtful(now)
                })
                .count(),
            tenant_nudged: self.nudged(tenant, now),
            ..self.own_history(subject, now)
        }
    }

    /// Time since anybody last spoke to a tenant about a bigger plan, whatever the service and
    /// whatever the cause.
    fn nudged(&self, tenant: &str, now: Now) -> Option<Duration> {
        let all = self.subjects.values().flatten().filter(|done| done.kind == ActionKind::Nudge);
        let theirs = all.filter(|d| d.counts(now) && !tenant.is_empty() && d.tenant == tenant);
        theirs.map(|done| done.age(now)).min()
    }

    /// What is remembered about a subject alone, without the restarts of the host: enough to judge
    /// what is no restart.
    pub fn own_history(&self, subject: &str, now: Now) -> History {
        let own = self.subjects.get(subject).map_or(&[][..], Vec::as_slice);
        let mut since = BTreeMap::new();
        let counting = || own.iter().filter(|done| done.counts(now));
        let escalated = counting().filter(|d| d.is_escalation).map(|d| d.age(now)).min();
        for done in counting().filter(|done| !done.is_escalation) {
            let age = done.age(now);
            let shortest = since.entry(done.kind).or_insert(age);
            *shortest = age.min(*shortest);
        }
        let last = own.last().map(|done| LastAction {
            kind: done.kind,
            at: WireTime(done.at),
            result: done.result.clone(),
        });
        let is = |done: &Done, of: fn(&str) -> bool| done.result.as_deref().is_some_and(of);
        let restarts = own.iter().rev().filter(|done| done.kind == ActionKind::Restart);
        // What nobody carried out says nothing about whether restarts help.
        let restarts = restarts.filter(|done| !is(done, is_void));
        let failed = |done: &&Done| is(done, is_ineffective);
        History {
            since,
            escalated,
            restarts_without_effect: restarts.take_while(failed).count(),
            asked: own.iter().map(|done| (done.dedup_key.clone(), done.result.clone())).collect(),
            last,
            ..History::default()
        }
    }

    /// The keys of what was asked for on a subject so long ago that it can matter no longer by itself.
    pub fn old(&self, subject: &str, now: Now, limits: &Limits) -> BTreeSet<String> {
        let own = self.subjects.get(subject).into_iter().flatten();
        let old = own.filter(|done| done.age(now) >= limits.memory());
        old.map(|done| done.dedup_key.clone()).collect()
    }

    /// Forgets what was asked for on a subject under these keys.
    pub fn forget(&mut self, subject: &str, keys: &BTreeSet<String>) -> Option<Change> {
        let actions = self.subjects.get_mut(subject).filter(|_| !keys.is_empty())?;
        actions.retain(|done| !keys.contains(&done.dedup_key));
        Some(row(subject, actions))
    }

    /// Remembers an action that was decided, also in `observe`: a dry mode shows the pace of the
    /// real one. `sent` is how it was asked for, if it was. The row belongs to the same batch as the
    /// delivery.
    pub fn record(
        &mut self,
        (proposal, sent): (&Proposal, Option<ActionMode>),
        now: Now,
    ) -> Change {
        let actions = self.subjects.entry(proposal.subject.clone()).or_default();
        actions.push(Done {
            kind: proposal.action.kind,
            tenant: proposal.tenant.clone(),
            is_escalation: is_escalation(&proposal.action),
            dedup_key: proposal.action.dedup_key.clone(),
            delivery_id: proposal.delivery_id(now).0,
            at: now.wall,
            monotonic_ms: monotonic_ms(now),
            mode: sent,
            open: true,
            result: None,
            maybe_done: false,
            doubt_ms: 0,
            untold: false,
            start: None,
            awaited: None,
        });
        row(&proposal.subject, actions)
    }

    /// The request under this key, if no outcome of it is known.
    pub fn open(&self, dedup_key: &str) -> Option<Asked> {
        self.find(|done| done.open && done.dedup_key == dedup_key)
    }

    /// The action is over (`declined`, `expired`, `effective`, `ineffective`, `relapsed` …): the host
    /// is free for the next one. `None` if it is not remembered, or if this is no news: how it ended
    /// is known already, and that the alert is over later on says nothing about it.
    pub fn finish(&mut self, dedup_key: &str, result: &str) -> Option<Change> {
        let is_it = |done: &Done| done.dedup_key == dedup_key;
        self.change(is_it, |done| {
            if !is_news(done.result.as_deref(), result) {
                return false;
            }
            (done.open, done.result) = (false, Some(result.to_owned()));
            true
        })
    }

    /// Restarts and nudges that were only observed or shown count no more where more is done by now:
    /// nobody restarted anything, or spoke to anybody. `is_sent`: whether this delivery was sent.
    pub fn withdraw_below(
        &mut self,
        mode_of: impl Fn(ActionKind) -> Mode,
        is_sent: impl Fn(&str) -> bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (subject, actions) in &mut self.subjects {
            let below = |done: &&mut Done| {
                let touches = matches!(done.kind, ActionKind::Restart | ActionKind::Nudge);
                touches && Mode::of(done.mode) < mode_of(done.kind) && !is_sent(&done.delivery_id)
            };
            let over = Outcome::Withdrawn.name();
            let mut is_changed = false;
            for done in actions.iter_mut().filter(below) {
                is_changed |= done.result.as_deref() != Some(over);
                (done.open, done.result) = (false, Some(over.to_owned()));
            }
            if is_changed {
                changes.push(row(subject, actions));
            }
        }
        changes
    }

    /// The request that this delivery made may have been carried out, whatever is said of it.
    pub fn maybe_done(&mut self, delivery_id: &str) -> Option<Change> {
        self.change(
            |done| done.delivery_id == delivery_id,
            |done| !std::mem::replace(&mut done.maybe_done, true),
        )
    }

    /// The request that this delivery made is taken back, and whoever was told of it never answered:
    /// for so long after it was made it counts as if it were carried out.
    pub fn doubt(&mut self, delivery_id: &str, for_: Duration) -> Option<Change> {
        let doubt_ms = u64::try_from(for_.as_millis()).unwrap_or(u64::MAX);
        self.change(
            |done| done.delivery_id == delivery_id,
            |done| std::mem::replace(&mut done.doubt_ms, doubt_ms) != doubt_ms,
        )
    }

    /// The request that this delivery made ran out, and its receiver is to hear so.
    pub fn untold(&mut self, delivery_id: &str) -> Option<Change> {
        self.change(
            |done| done.delivery_id == delivery_id,
            |done| !std::mem::replace(&mut done.untold, true),
        )
    }

    /// The receiver has heard that the request under this key is over.
    pub fn told(&mut self, dedup_key: &str) -> Option<Change> {
        self.change(|done| done.dedup_key == dedup_key, |done| std::mem::take(&mut done.untold))
    }

    /// The requests on a subject that ran out and whose receiver has not heard so, by `dedup_key`.
    pub fn all_untold(&self, subject: &str) -> impl Iterator<Item = &str> {
        let own = self.subjects.get(subject).into_iter().flatten();
        own.filter(|done| done.untold).map(|done| done.dedup_key.as_str())
    }

    /// The container of the request that this delivery made was seen to have started then. The first
    /// start is the request's, each one after it somebody else's.
    pub fn started(&mut self, delivery_id: &str, at: Timestamp) -> Option<Change> {
        self.change(
            |done| done.delivery_id == delivery_id,
            |done| {
                done.awaited = None;
                done.start.is_none() && done.start.replace(at).is_none()
            },
        )
    }

    /// Nobody watches the request that this delivery made any more, and it may have led to a start of
    /// this container that is to be seen yet: for so long from now on the first one is its.
    pub fn await_start(
        &mut self,
        delivery_id: &str,
        (name, before): (&str, Option<Timestamp>),
        for_: Duration,
        now: Now,
    ) -> Option<Change> {
        self.change(
            |done| done.delivery_id == delivery_id,
            |done| {
                if done.start.is_some() {
                    return false;
                }
                let until = done.age(now) + for_;
                let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
                done.awaited = Some(Awaited { name: name.to_owned(), before, until_ms });
                true
            },
        )
    }

    /// The starts that are awaited.
    pub fn awaited(&self, now: Now) -> impl Iterator<Item = Expected<'_>> {
        let all =
            self.subjects.iter().flat_map(|(subject, all)| all.iter().map(move |d| (subject, d)));
        all.filter_map(move |(subject, done)| {
            let Awaited { name, before, until_ms } = done.awaited.as_ref()?;
            let is_due = done.age(now) < Duration::from_millis(*until_ms);
            is_due.then_some(Expected {
                delivery_id: &done.delivery_id,
                subject,
                name,
                before: *before,
                asked_at: done.at,
            })
        })
    }

    /// The start that the request under this key led to, if one was seen.
    pub fn start_of(&self, dedup_key: &str) -> Option<Timestamp> {
        let mut all = self.subjects.values().flatten();
        all.find(|done| done.dedup_key == dedup_key)?.start
    }

    /// The key of the restart of a subject that led to this start, whoever tells of it, unless that restart is
    /// known not to have been carried out.
    pub fn restart_at(&self, subject: &str, start: Timestamp, now: Now) -> Option<&str> {
        let is_it = |done: &&Done| {
            done.start.is_some_and(|own| own.is_same_start(start)) && done.counts(now)
        };
        self.subjects.get(subject)?.iter().find(is_it).map(|done| done.dedup_key.as_str())
    }

    fn change(
        &mut self,
        is_it: impl Fn(&Done) -> bool,
        change: impl FnOnce(&mut Done) -> bool,
    ) -> Option<Change> {
        let mut all = self.subjects.iter_mut();
        let (subject, actions) = all.find(|(_, actions)| actions.iter().any(&is_it))?;
        let changed = actions.iter_mut().find(|done| is_it(done)).is_some_and(change);
        changed.then(|| row(subject, actions))
    }

    /// When something new was last asked for on a subject by an action of this kind, whatever became of
    /// it. What is asked for anew is nothing new.
    pub fn last_new_at(&self, subject: &str, kind: ActionKind) -> Option<Timestamp> {
        let own = self.subjects.get(subject)?.iter().filter(|done| done.kind == kind);
        own.filter(|done| !is_asked_anew(&done.dedup_key)).map(|done| done.at).max()
    }

    /// Whether an action was asked for under this key.
    pub fn knows(&self, dedup_key: &str) -> bool {
        self.find(|done| done.dedup_key == dedup_key).is_some()
    }

    /// What was done from a time on, the oldest first.
    pub fn since(&self, from: Timestamp) -> Vec<Taken> {
        let all =
            self.subjects.iter().flat_map(|(subject, all)| all.iter().map(move |d| (subject, d)));
        let mut taken: Vec<Taken> = all
            .filter(|(_, done)| done.at >= from)
            .map(|(subject, done)| Taken {
                kind: done.kind,
                tenant: done.tenant.clone(),
                subject: subject.clone(),
                at: done.at,
                mode: done.mode,
                result: done.result.clone(),
            })
            .collect();
        taken.sort_by(|a, b| (a.at, &a.subject).cmp(&(b.at, &b.subject)));
        taken
    }

    /// The request that a delivery made, if it is remembered.
    pub fn asked(&self, delivery_id: &str) -> Option<Asked> {
        self.find(|done| !delivery_id.is_empty() && done.delivery_id == delivery_id)
    }

    fn find(&self, is_it: impl Fn(&Done) -> bool) -> Option<Asked> {
        let mut all =
            self.subjects.iter().flat_map(|(subject, all)| all.iter().map(move |d| (subject, d)));
        let (subject, done) = all.find(|(_, done)| is_it(done))?;
        Some(Asked {
            subject: subject.clone(),
            tenant: done.tenant.clone(),
            kind: done.kind,
            dedup_key: done.dedup_key.clone(),
            delivery_id: done.delivery_id.clone(),
            mode: done.mode,
            result: done.result.clone(),
        })
    }

    /// Moves the times of what was done when the wall clock steps; returns the rows. Within this boot
    /// ages are monotonic, but the next boot has only these times to tell them by.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let rebase = |(subject, actions): (&String, &mut Vec<Done>)| {
            for done in actions.iter_mut() {
                done.at = Timestamp(done.at.0.saturating_add(by_ms));
            }
            row(subject, actions)
        };
        self.subjects.iter_mut().map(rebase).collect()
    }

    /// Forgets what can no longer matter; call it now and then. What was asked for about an alert that
    /// still holds is remembered however long ago it was, else it would be asked for again.
    pub fn prune(&mut self, now: Now, limits: &Limits, ill: &BTreeSet<String>) -> Vec<Change> {
        let gone = |subject: &String, actions: &[Done]| {
            !ill.contains(subject) && actions.iter().all(|d| d.age(now) >= limits.memory())
        };
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.subjects)
            .into_iter()
            .partition(|(subject, actions)| gone(subject, actions));
        self.subjects = kept;
        gone.keys().map(|subject| rows::row::<[Done]>(PREFIX, subject, None)).collect()
    }
}

/// Whether a word about an action says more than the one before: what helped may relapse, and what
/// nobody seemed to have taken, or somebody declined, may have been done.
fn is_news(before: Option<&str>, word: &str) -> bool {
    let is = |before: &str, outcome: Outcome| before == outcome.name();
    match before {
        None => true,
        Some(before) if is(before, Outcome::Effective) => is(word, Outcome::Relapsed),
        Some(before) if is_void(before) => word == DONE || is(word, Outcome::Ineffective),
        Some(_) => false,
    }
}

fn row(subject: &str, actions: &[Done]) -> Change {
    rows::row(PREFIX, subject, Some(actions))
}

fn monotonic_ms(now: Now) -> i64 {
    millis(now.monotonic)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
