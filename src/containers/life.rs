//! What is known of one incarnation's kills, and how many that makes.
//!
//! How it is told whom a kill hit stands in [`oom`](super::oom), which keeps one of these for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Kills, Witness, add, explain, fold, settled};
use crate::base::Timestamp;

/// A report may be this late: events wait for a busy daemon, a counter for its reader.
pub(super) const LATE: Duration = Duration::from_secs(10);
/// The clocks of Docker's reports and of scrapes are one host's; rounding and order is all that
/// can differ.
pub(super) const SKEW: Duration = Duration::from_secs(1);
/// A kill that no end of the first process followed within this time was a child's. Docker 20.10
/// told the end 50 ms after the kill (measured); a host that kills for memory is a slow one.
pub const CHILD_AFTER: Duration = Duration::from_secs(5);
/// While a process that was killed is still dying, the kernel tells again and again that there is no memory,
/// and Docker (20.10 on v1, measured: 24 times within 0.2 s beside other load) makes an event of each.
const SAME_KILL: Duration = Duration::from_secs(1);
/// Docker tells of a kill when it begins, and the kernel counts it when it is done: 10 to 400 ms later (measured).
const DONE_WITHIN: Duration = Duration::from_secs(3);
/// Docker waits this long at least before it starts anew what has ended.
pub(super) const SAME_DEATH: Duration = Duration::from_millis(100);
/// What was said is remembered this long before the newest that was said, to know it again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);
/// Ends remembered per incarnation, to divide what was said before and after.
const MOST_ENDS: usize = 32;
/// Docker tells of an end at once, and a daemon that hangs is missed after 15 s: this long it is waited for.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// Statements remembered per incarnation; a reading of a counter is one.
pub(super) const MOST_STATEMENTS: usize = 256;

/// Kills so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Of the container's first process: it went down with it.
    pub pid1: u64,
    /// Of another one.
    pub child: u64,
}

impl Counts {
    /// Both.
    pub fn total(self) -> u64 {
        self.pid1 + self.child
    }
}

/// The last reading of a counter.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Last {
    pub at: Timestamp,
    pub value: f64,
    pub started_at: Option<Timestamp>,
}

/// What is known of one incarnation.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Life {
    pub evidence: Vec<Evidence>,
    /// Ends of the first process that nobody asked for, by SIGKILL.
    pub deaths: Vec<Timestamp>,
    /// It went by another name before, under which its counters' kills until now are counted.
    #[serde(skip)]
    pub has_moved: bool,
    /// What counters showed before events that are not judged by them yet: which, when and what.
    #[serde(skip)]
    before: Vec<(u64, Timestamp, f64)>,
    /// All of them, however: what comes after is another run's.
    #[serde(skip)]
    pub ends: VecDeque<Timestamp>,
    /// When Docker started it last.
    #[serde(skip)]
    pub started_at: Option<Timestamp>,
    /// When it was seen last, if it is gone and Docker, which is heard, has not told of its end.
    #[serde(skip)]
    pub gone_at: Option<Timestamp>,
    /// Explained for good, and no longer remembered.
    pub folded: Counts,
    pub told: Counts,
    pub counters: BTreeMap<u64, Last>,
    /// How much longer than [`CHILD_AFTER`] an end is waited for.
    #[serde(skip)]
    pub patience: Duration,
    /// The earliest kill that Docker has told of since the last settling, or before our restart.
    #[serde(skip, default = "long_ago")]
    pub news: Option<Timestamp>,
    /// When it told of one late: what follows a kill is told late together with it.
    #[serde(skip)]
    pub told_late_at: Option<Timestamp>,
}

fn long_ago() -> Option<Timestamp> {
    Some(Timestamp(i64::MIN))
}

impl Life {
    /// One of which nothing but readings is known, with the readings of `other`.
    pub fn quiet(other: &Life) -> Life {
        let (counters, patience) = (other.counters.clone(), other.patience);
        let (ends, gone_at, started_at) = (other.ends.clone(), other.gone_at, other.started_at);
        let has_moved = other.has_moved;
        Life { counters, patience, ends, gone_at, started_at, has_moved, ..Life::default() }
    }

    /// Docker has started another run: by then it had told of the last one, however late. Its flag is of
    /// no kill after that.
    pub fn start(&mut self, at: Timestamp) {
        self.started_at = self.started_at.max(Some(at));
        let is_before = |said: &mut Evidence| {
            said.witness == Witness::Flag && said.key <= at.0 && said.to > at && said.from < at
        };
        for flag in self.evidence.extract_if(.., is_before).collect::<Vec<_>>() {
            add(&mut self.evidence, Evidence { to: at - Duration::from_millis(1), ..flag });
        }
    }

    /// A run has ended.
    pub fn end(&mut self, at: Timestamp) {
        self.gone_at = None;
        self.ends.push_back(at);
        while self.ends.len() > MOST_ENDS {
            self.ends.pop_front();
        }
    }

    /// The first process has ended by SIGKILL, and nobody had asked for it.
    pub fn die(&mut self, at: Timestamp) {
        self.end(at);
        self.deaths.push(at);
        self.deaths.sort();
    }

    /// Whether an end is known of about that time.
    pub fn ended_about(&self, at: Timestamp) -> bool {
        let is_close = |end: &Timestamp| end.since(at).max(at.since(*end)) <= LATE;
        self.deaths.iter().chain(&self.ends).any(is_close)
    }

    /// When something was said last.
    pub fn newest(&self) -> Timestamp {
        let said = self.evidence.last().map(|said| said.to);
        let read = self.counters.values().map(|last| last.at).max();
        said.max(read).unwrap_or(Timestamp(i64::MIN))
    }

    /// Whether an event tells again of the kill that another has told of: a moment later, and the first
    /// process has not ended and been started again in between.
    pub fn is_same_kill(&self, old: &Evidence, new: &Evidence) -> bool {
        if old.witness != Witness::Event {
            return false;
        }
        let (first, last) = if old.to <= new.to { (old, new) } else { (new, old) };
        // However slowly, a victim dies some time: whoever goes on for longer is another.
        let is_soon = first_told(last).since(first_told(first)) <= LATE;
        is_soon && !self.are_divided(first, last, SAME_KILL)
    }

    /// Whether two events are of two kills: further apart than that, or the first process ended in between,
    /// and could have been started again.
    fn are_divided(&self, first: &Evidence, last: &Evidence, within: Duration) -> bool {
        let (ended, began) = (last_told(first), first_told(last));
        let divides = |end: &Timestamp| *end >= ended && *end + SAME_DEATH <= began;
        began.since(ended) > within || self.deaths.iter().chain(&self.ends).any(divides)
    }

    /// Takes an event for the same as those that tell of one kill with it.
    pub fn repeat(&mut self, said: Evidence) {
        let same = |old: &Evidence| self.is_same_kill(old, &said);
        let all: Vec<Evidence> = self.evidence.iter().copied().filter(same).collect();
        self.evidence.retain(|old| !all.contains(old));
        let one = all.into_iter().fold(said, |one, old| Evidence {
            key: one.key.min(old.key),
            from: one.from.min(old.from),
            to: one.to.max(old.to),
            kills: one.kills.max(old.kills),
            ..one
        });
        add(&mut self.evidence, one);
    }

    /// Docker has told of a kill: what counters showed until now will bound it.
    pub fn hear_event(&mut self) {
        let shown = self.counters.iter().map(|(source, last)| (*source, last.at, last.value));
        let new: Vec<_> = shown.filter(|shown| !self.before.contains(shown)).collect();
        self.before.extend(new);
    }

    /// A counter shows `value` at `at`; `is_gapless`, if of the same run as before. One that was read before
    /// and after has seen all kills that were done in between: what events tell of more is an earlier kill
    /// that takes long.
    pub fn bound(&mut self, source: u64, at: Timestamp, value: f64, is_gapless: bool) {
        self.before.retain(|(of, ..)| *of != source || is_gapless);
        for (_, from, before) in self.before.clone().iter().filter(|(of, ..)| *of == source) {
            self.leave_out_repeats((*from, at - DONE_WITHIN), (value - before).max(0.0) as usize);
        }
        // Of two events further apart neither repeats the other.
        self.before.retain(|(_, from, _)| *from >= at - LATE - DONE_WITHIN);
    }

    fn leave_out_repeats(&mut self, (from, to): (Timestamp, Timestamp), kills: usize) {
        let is_in = |said: &Evidence| first_told(said) > from && last_told(said) <= to;
        let told: Vec<Evidence> =
            self.evidence.iter().copied().filter(|said| said.witness == Witness::Event).collect();
        let surplus = told.iter().filter(|said| is_in(said)).count().saturating_sub(kills);
        let repeats = told.windows(2).filter(|pair| is_in(&pair[1]));
        let repeats = repeats.filter(|pair| !self.are_divided(&pair[0], &pair[1], LATE));
        let repeats: Vec<Evidence> = repeats.map(|pair| pair[1]).collect();
        for said in repeats.into_iter().rev().take(surplus) {
            self.evidence.retain(|old| *old != said);
        }
    }

    /// Brings `told` up to date; true while a kill waits for its scope.
    pub fn settle(&mut self, now: Timestamp) -> bool {
        if let Some(at) = self.gone_at.filter(|at| now.since(*at) >= TOLD_WITHIN) {
            self.die(at);
        }
        self.forget();
        let is_over = |at: Timestamp| now.since(at) >= CHILD_AFTER;
        // Whoever is told late of one after the other waits for the first, not for ever.
        self.told_late_at = self.told_late_at.filter(|told| !is_over(*told));
        if std::mem::take(&mut self.news).is_some_and(is_over) {
            self.told_late_at.get_or_insert(now);
        }
        let kills = explain(&self.evidence);
        let count: u64 = kills.iter().map(|kills| u64::from(kills.count)).sum();
        let total = self.folded.total() + count;
        let (spare, _) = claim(&kills, &self.deaths);
        // Whoever is read again lives on.
        let lives_on = |to: Timestamp| self.counters.values().any(|last| last.at > to);
        let is_late = |to: Timestamp| self.told_late_at.is_some_and(|told| to <= told);
        let waits = |to: Timestamp| {
            let is_patient = now < to + CHILD_AFTER + self.patience && !lives_on(to);
            now < to + CHILD_AFTER || is_patient || is_late(to) || self.gone_at.is_some()
        };
        let waiting: u64 = spare.iter().filter(|(to, _)| waits(*to)).map(|(_, count)| *count).sum();
        let children = self.folded.child + spare.iter().map(|(_, count)| count).sum::<u64>();
        // Neither ever falls, whatever is learnt later about who it was.
        let child = self.told.child.max(children - waiting);
        let child = child.min(total.saturating_sub(self.told.pid1));
        let pid1 = self.told.pid1.max(total.saturating_sub(children));
        let pid1 = pid1.min(total.saturating_sub(child));
        self.told = Counts { pid1, child };
        if waiting == 0 {
            self.told.child = child.max(total.saturating_sub(pid1));
        }
        waiting > 0
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) {
        for said in &mut self.evidence {
            shift(&mut said.from);
            shift(&mut said.to);
        }
        self.deaths.iter_mut().chain(&mut self.ends).for_each(&shift);
        self.counters.values_mut().for_each(|last| shift(&mut last.at));
        self.before.iter_mut().for_each(|(_, at, _)| shift(at));
        let single = [&mut self.started_at, &mut self.gone_at, &mut self.told_late_at];
        single.into_iter().flatten().for_each(shift);
    }

    /// Nothing more is waited for.
    pub fn finish(&mut self) {
        (self.news, self.told_late_at, self.gone_at) = (None, None, None);
        self.settle(Timestamp(i64::MAX));
    }

    /// Folds what is old, and what is too much to remember.
    fn forget(&mut self) {
        let Some(newest) = self.evidence.last().map(|said| said.to) else { return };
        let too_many = self.evidence.len().saturating_sub(MOST_STATEMENTS);
        let at = settled(&self.evidence, newest - REMEMBERED).max(too_many);
        if at == 0 {
            return;
        }
        let kills = fold(&mut self.evidence, at);
        let count: u64 = kills.iter().map(|kills| u64::from(kills.count)).sum();
        let upto = kills.iter().map(|kills| kills.to).max().unwrap_or(newest);
        let (spare, unclaimed) = claim(&kills, &self.deaths);
        let child: u64 = spare.iter().map(|(_, count)| count).sum();
        self.folded.child += child;
        self.folded.pid1 += count - child;
        self.deaths = unclaimed;
        self.deaths.retain(|death| *death + LATE > upto);
    }
}

/// Kills that no death of the first process belongs to: until when each may have happened, and how
/// many; and the deaths that belong to none. Each death is given to the earliest kill it can belong to.
fn claim(kills: &[Kills], deaths: &[Timestamp]) -> (Vec<(Timestamp, u64)>, Vec<Timestamp>) {
    let mut spare: Vec<(Timestamp, u64)> =
        kills.iter().map(|kills| (kills.to, u64::from(kills.count))).collect();
    let mut unclaimed = Vec::new();
    for death in deaths {
        let fits = |kills: &Kills| kills.from <= *death + SKEW && *death - LATE <= kills.to;
        let free = kills.iter().zip(&mut spare).find(|(kills, (_, free))| *free > 0 && fits(kills));
        match free {
            Some((_, (_, free))) => *free -= 1,
            None => unclaimed.push(*death),
        }
    }
    spare.retain(|(_, count)| *count > 0);
    (spare, unclaimed)
}

/// When Docker told of this kill first, and last: an event's key is its time, and its end has a margin.
fn first_told(event: &Evidence) -> Timestamp {
    Timestamp(event.key.div_euclid(1_000_000))
}

fn last_told(event: &Evidence) -> Timestamp {
    event.to - SKEW
}
