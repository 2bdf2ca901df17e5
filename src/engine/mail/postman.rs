//! What is still to be mailed, what is under way, and what was told: the memory behind [`super`].
//!
//! A digest covers what lies between the end of the last one that was delivered and the moment it is
//! written, so digests neither overlap nor leave anything out, however long a server takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MailFailure, MailKind, MailPlan, MailView, Sink};
use crate::base::{Change, Now, Table, Timestamp};
use crate::calendar::{Schedule, Zone};

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
/// A start that a clock which was set back comes to again within this time is no other.
const SAME_START: Duration = Duration::from_secs(3600);

/// What has to be remembered.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Sent {
    /// The start of the last digest that was sent or given up.
    digest: Option<Timestamp>,
    /// Until when digests that were delivered have told; `None` in rows older than this field, where it
    /// is that start.
    #[serde(default)]
    digest_until: Option<Timestamp>,
    /// Outages that were told and are not known to be over, with their beginnings.
    #[serde(default)]
    told: BTreeMap<Sink, Timestamp>,
}

/// How a sink fares.
#[derive(Clone, PartialEq, Debug, Default)]
struct Health {
    /// Since when it cannot be reached.
    down: Option<Now>,
    /// When it was first reached since it was last away, or since the start.
    back: Option<Timestamp>,
    why: String,
}

/// What a mail tells: to be remembered once it is sent.
#[derive(Clone, PartialEq, Debug)]
enum Tale {
    /// A digest.
    Digest {
        /// The start that it is for.
        slot: Timestamp,
        /// Until when it tells.
        until: Timestamp,
        /// The holds that it lists.
        holds: BTreeMap<&'static str, u64>,
    },
    /// A sink cannot be reached since then.
    Away(Sink, Timestamp),
    /// It can again.
    Back(Sink),
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Attempt {
    under_way: bool,
    failures: u32,
    next: Duration,
    /// When it was tried first, on the monotonic clock.
    since: Option<Duration>,
    /// As it was written last.
    tale: Option<Tale>,
}

/// Who writes, to whom, and what is still to be sent.
#[derive(Clone, PartialEq, Debug, Default)]
pub(in crate::engine) struct Postman {
    sent: Sent,
    /// What is remembered has changed since its row was taken.
    is_unwritten: bool,
    health: BTreeMap<Sink, Health>,
    attempts: BTreeMap<MailKind, Attempt>,
    /// The first start that no digest was sent for, as far as it is known.
    next_digest: Option<Timestamp>,
    /// Holds that no digest has told, by reason.
    holds: BTreeMap<&'static str, u64>,
    /// Since when they are counted, if that is the start of this process and not the last digest.
    holds_since: Option<Timestamp>,
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
        (Postman { sent, holds_since: Some(now.wall), ..Postman::default() }, problem)
    }

    /// Another plan: what is due is to be found out anew.
    pub fn replan(&mut self) {
        self.next_digest = None;
    }

    /// Moves the times of what was when the wall clock steps.
    pub fn rebase(&mut self, by_ms: i64, now: Now) {
        // What was lies in the past, whatever clock it was noted by.
        let moved = |at: Timestamp| Timestamp(at.0.saturating_add(by_ms)).min(now.wall);
        let rebase = |at: &mut Timestamp| *at = moved(*at);
        // Starts stand on the wall clock. Those that it leaps over have not passed; one that it comes to
        // again was told.
        let rebase_slot = |slot: &mut Timestamp| {
            let leapt = Timestamp(slot.0.saturating_add(by_ms.max(0)));
            *slot = leapt.min(now.wall + SAME_START);
        };
        self.is_unwritten |= self.sent != Sent::default();
        self.sent.digest.iter_mut().for_each(rebase_slot);
        self.sent.digest_until.iter_mut().for_each(rebase);
        self.sent.told.values_mut().for_each(rebase);
        self.holds_since.iter_mut().for_each(rebase);
        for Health { down, back, .. } in self.health.values_mut() {
            down.iter_mut().map(|down| &mut down.wall).chain(back).for_each(rebase);
        }
        for tale in self.attempts.values_mut().filter_map(|attempt| attempt.tale.as_mut()) {
            match tale {
                Tale::Digest { slot, until, .. } => {
                    rebase_slot(slot);
                    rebase(until);
                }
                Tale::Away(_, since) => rebase(since),
                Tale::Back(_) => {}
            }
        }
        self.next_digest = None;
    }

    /// Counts something that was held.
    pub fn note_hold(&mut self, reason: &'static str) {
        *self.holds.entry(reason).or_default() += 1;
    }

    /// A sink was reached.
    pub fn note_up(&mut self, now: Now, sink: Sink) {
        let health = self.health.entry(sink).or_default();
        health.down = None;
        health.back.get_or_insert(now.wall);
    }

    /// A sink was not reached.
    pub fn note_down(&mut self, now: Now, sink: Sink, why: &str) {
        let health = self.health.entry(sink).or_default();
        health.down.get_or_insert(now);
        health.back = None;
        why.clone_into(&mut health.why);
    }

    /// Whether a sink is known to be away.
    pub fn is_down(&self, sink: Sink) -> bool {
        self.health.get(&sink).is_some_and(|health| health.down.is_some())
    }

    /// Nobody knows how a sink fares: what could not reach it is not tried any more.
    pub fn note_unknown(&mut self, sink: Sink) {
        if let Some(health) = self.health.get_mut(&sink) {
            health.down = None;
        }
    }

    /// There is no such sink: its outages are nobody's any more.
    pub fn forget(&mut self, sink: Sink) {
        self.health.remove(&sink);
        self.is_unwritten |= self.sent.told.remove(&sink).is_some();
    }

    /// The mails that are wanted now, whether or not they are under way.
    pub fn wanted(&mut self, now: Now, plan: &MailPlan) -> Vec<MailKind> {
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
            } else if told && health.back.is_some() {
                wanted.push(MailKind::Reachable(*sink));
            }
        }
        wanted
    }

    /// The start whose digest is due.
    fn digest_slot(&mut self, now: Now, schedule: &Schedule, zone: &Zone) -> Option<Timestamp> {
        if self.sent.digest.is_none_or(|last| last > now.wall + AHEAD) {
            self.begin(now);
        }
        let last = self.sent.digest?;
        if self.next_digest.is_none() {
            self.next_digest = schedule.next_start(last, zone);
        }
        self.next_digest.filter(|next| *next <= now.wall)?;
        let slot = schedule.last_start(now.wall, zone, REACH_DAYS).filter(|slot| *slot > last);
        if slot.is_none() {
            self.next_digest = schedule.next_start(now.wall, zone);
        }
        slot
    }

    /// The first time: the past is nobody's news.
    fn begin(&mut self, now: Now) {
        self.sent.digest = Some(now.wall);
        self.sent.digest_until = Some(now.wall);
        self.is_unwritten = true;
        self.next_digest = None;
        self.holds.clear();
        self.holds_since = None;
    }

    /// Which of the wanted mails to start now.
    pub fn start(&mut self, now: Now, wanted: &[MailKind], plan: &MailPlan) -> Vec<MailKind> {
        self.attempts.retain(|kind, attempt| attempt.under_way || wanted.contains(kind));
        let mut started = Vec::new();
        for kind in wanted {
            let waits = |attempt: &Attempt| attempt.under_way || attempt.next > now.monotonic;
            if self.attempts.get(kind).is_some_and(waits) {
                continue;
            }
            let tale = self.tale(now, *kind, plan);
            let attempt = self.attempts.entry(*kind).or_default();
            attempt.under_way = true;
            attempt.since.get_or_insert(now.monotonic);
            attempt.tale = Some(tale);
            started.push(*kind);
        }
        started
    }

    /// What a mail that is written now tells.
    fn tale(&self, now: Now, kind: MailKind, plan: &MailPlan) -> Tale {
        match kind {
            MailKind::Digest => {
                let slot = plan
                    .digest
                    .as_ref()
                    .and_then(|(schedule, zone)| schedule.last_start(now.wall, zone, REACH_DAYS));
                let holds = self.holds.clone();
                Tale::Digest { slot: slot.unwrap_or(now.wall), until: now.wall, holds }
            }
            MailKind::Unreachable(sink) => Tale::Away(sink, self.away(now, sink).0),
            MailKind::Reachable(sink) => Tale::Back(sink),
        }
    }

    /// A mail was sent, or was not.
    pub fn settle(&mut self, now: Now, kind: MailKind, result: &Result<(), MailFailure>) {
        let mut attempt = self.attempts.remove(&kind).unwrap_or_default();
        let Err(failure) = result else {
            *self.view.sent.entry(kind.name()).or_default() += 1;
            return attempt.tale.into_iter().for_each(|tale| self.remember(tale));
        };
        *self.view.failed.entry(failure.reason).or_default() += 1;
        let tried_for = attempt.since.map(|since| now.monotonic.saturating_sub(since));
        match attempt.tale {
            // What makes up for a start that was missed is as new as its first attempt.
            Some(Tale::Digest { slot, .. }) if tried_for >= Some(STALE_AFTER) => {
                // What it would have told is for the next.
                self.sent.digest = Some(slot);
                self.next_digest = None;
                self.is_unwritten = true;
            }
            _ => {
                let pause = RETRY.0 * 2_u32.saturating_pow(attempt.failures.min(10));
                attempt.under_way = false;
                attempt.failures += 1;
                attempt.next = now.monotonic + pause.min(RETRY.1);
                self.attempts.insert(kind, attempt);
            }
        }
    }

    /// What people have been told.
    fn remember(&mut self, tale: Tale) {
        self.is_unwritten = true;
        match tale {
            Tale::Digest { slot, until, holds } => {
                self.sent.digest = Some(slot);
                self.sent.digest_until = Some(until);
                self.next_digest = None;
                for (reason, told) in holds {
                    let left = |count: &mut u64| *count = count.saturating_sub(told);
                    self.holds.entry(reason).and_modify(left);
                }
                self.holds.retain(|_, count| *count > 0);
                self.holds_since = None;
            }
            Tale::Away(sink, since) => drop(self.sent.told.insert(sink, since)),
            Tale::Back(sink) => drop(self.sent.told.remove(&sink)),
        }
    }

    /// Whether an attempt at this mail has failed already.
    pub fn has_failed(&self, kind: MailKind) -> bool {
        self.attempts.get(&kind).is_some_and(|attempt| attempt.failures > 0)
    }

    /// When something may be due: the time of the wall, and of the monotonic clock.
    pub fn next(&self, plan: &MailPlan) -> (Option<Timestamp>, Option<Duration>) {
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

    /// The outage of a sink that is told now: since when, until when if it is over, and what the last
    /// attempt said.
    pub fn away(&self, now: Now, sink: Sink) -> (Timestamp, Option<Timestamp>, &str) {
        let health = self.health.get(&sink);
        let down = health.and_then(|health| health.down).map(|down| down.wall);
        let since = self.sent.told.get(&sink).copied().or(down).unwrap_or(now.wall);
        (since, health.and_then(|health| health.back), health.map_or("", |health| &health.why))
    }

    /// Until when digests have told; `None` before the first.
    pub fn told_until(&self) -> Option<Timestamp> {
        self.sent.digest_until.or(self.sent.digest)
    }

    /// Holds that no digest has told, by reason; and since when they are counted, if not since the last
    /// digest.
    pub fn held(&self) -> (Vec<(&'static str, u64)>, Option<Timestamp>) {
        (self.holds.iter().map(|(reason, count)| (*reason, *count)).collect(), self.holds_since)
    }

    /// How mail fares.
    pub fn view(&self) -> &MailView {
        &self.view
    }

    /// What is to be written down, if anything is new.
    pub fn take_row(&mut self) -> Option<Change> {
        std::mem::take(&mut self.is_unwritten).then(|| self.row())
    }

    fn row(&self) -> Change {
        let value = serde_json::to_vec(&self.sent).expect("plain words and numbers always write");
        Change { table: Table::Guards, key: ROW.to_owned(), value: Some(value) }
    }
}

#[cfg(test)]
mod tests;
