//! What is known of one incarnation's kills, and how many that makes.
//!
//! How it is told whom a kill hit stands in [`oom`](super::oom), which keeps one of these for each. All that
//! is said of an incarnation is said of its id: what it was called when, its [`Stints`], matters last, when its
//! kills are told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Kills, Witness, add, explain, fold, settled, sort, told_late};
use super::reading::{Base, Last, Reading, SAID_LATE, SKEW};
use super::stint::{Counts, Share, Stints};
use crate::base::Timestamp;

/// A report may be this late: events wait for a busy daemon, a counter for its reader.
pub(super) const LATE: Duration = Duration::from_secs(10);
/// A kill that no end of the first process followed within this time was a child's. Docker 20.10
/// told the end 50 ms after the kill (measured); a host that kills for memory is a slow one.
pub const CHILD_AFTER: Duration = Duration::from_secs(5);
/// While a process that was killed is still dying, the kernel tells again and again that there is no memory,
/// and Docker (20.10 on v1, measured: 24 times within 0.2 s beside other load) makes an event of each.
const SAME_KILL: Duration = Duration::from_secs(1);
/// Docker tells of a kill when it begins, and the kernel counts it when it is done: 10 to 400 ms later (measured).
const DONE_WITHIN: Duration = Duration::from_secs(3);
/// Whose first process the kernel kills is gone so soon: what was done when it was read later was another kill.
const GONE_WITHIN: Duration = Duration::from_millis(500);
/// Where a counter is read this kill is waited for to be counted, and no longer: not every kernel counts each.
const COUNTED_WITHIN: Duration = Duration::from_secs(15);
/// Docker waits this long at least before it starts anew what has ended.
pub(super) const SAME_DEATH: Duration = Duration::from_millis(100);
/// Docker stamps what it heard of the kernel, and what it has done itself, so long after it was at most: a kill 8 ms after
/// the end that it brought, a start 2 ms after the end of its run (measured).
const STAMPED_AFTER: Duration = Duration::from_millis(50);
/// On a busy host a kill is stamped so long after its end, and still before the start that follows: 180 ms (measured).
const STAMPED_BEFORE_START: Duration = Duration::from_millis(500);
/// What was said is remembered this long before the newest that was said, to know it again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);
/// Ends remembered per incarnation, to divide what was said before and after.
const MOST_ENDS: usize = 32;
/// Docker tells of an end at once, and a daemon that hangs is missed after 15 s: this long it is waited for.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// Statements remembered per incarnation; a reading of a counter is one.
pub(super) const MOST_STATEMENTS: usize = 256;

/// A counter that is read in a run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Counted {
    /// What it showed before the kills that are not judged by it yet: when, and what.
    base: (Timestamp, f64),
    /// A later reading, to be the base once all that was told before it has been heard.
    next: (Timestamp, f64),
    /// Until when its next reading must have come.
    until: Timestamp,
    /// Whether anything was judged by it since our start.
    #[serde(skip)]
    judges: bool,
}

/// What is known of one incarnation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    /// What it was called, and how many kills that makes for each name.
    pub stints: Stints,
    /// When something was said of it first, under its present name.
    pub heard_from: Timestamp,
    /// Nothing was known of it before our last restart.
    #[serde(skip)]
    pub is_new: bool,
    pub evidence: Vec<Evidence>,
    /// Ends of the first process that nobody asked for, by SIGKILL.
    pub deaths: Vec<Timestamp>,
    /// Ends of whatever kind: what comes after is another run's.
    pub ends: Vec<Timestamp>,
    /// Counters that are read in this run.
    #[serde(default)]
    counted: BTreeMap<u64, Counted>,
    /// When Docker started it last.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When what our own collector read last had started.
    #[serde(default)]
    seen_start: Option<Timestamp>,
    /// When it was seen last, if it is gone and Docker, which is heard, has not told of its end.
    #[serde(default)]
    pub gone_at: Option<Timestamp>,
    pub counters: BTreeMap<u64, Last>,
    /// When our own collector read this run last, and the one before, whose end may not have been told.
    #[serde(skip)]
    read_at: Option<Timestamp>,
    #[serde(skip)]
    read_before: Option<Timestamp>,
    /// So many kills the kernel had counted before anybody watched.
    #[serde(default)]
    pub before: u64,
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
    /// One of which nothing is known but its names.
    pub fn new(stints: Stints, heard_from: Timestamp) -> Life {
        Life {
            stints,
            heard_from,
            is_new: true,
            evidence: Vec::new(),
            deaths: Vec::new(),
            counted: BTreeMap::new(),
            ends: Vec::new(),
            started_at: None,
            seen_start: None,
            gone_at: None,
            counters: BTreeMap::new(),
            read_at: None,
            read_before: None,
            before: 0,
            patience: Duration::ZERO,
            news: None,
            told_late_at: None,
        }
    }

    /// Whether there is no kill in it, as far as anybody knows.
    pub fn is_quiet(&self) -> bool {
        self.evidence.iter().all(|said| said.kills == 0) && self.stints.are_empty()
    }

    /// Docker has started another run: by then it had told of the last one, however late. Its flag is of
    /// no kill after that. True if there was one.
    pub fn start(&mut self, at: Timestamp) -> bool {
        self.started_at = self.started_at.max(Some(at));
        let is_before = |said: &mut Evidence| {
            let ended = Timestamp(said.key);
            // A run may be over before its start is stamped, and is before a start where its own was told.
            let is_own = said.began.is_some() && at < ended + SAID_LATE;
            let is_over = !is_own && said.to > at && said.from < at;
            said.witness == Witness::Flag && is_over && ended + STAMPED_AFTER <= at
        };
        let flags: Vec<Evidence> = self.evidence.extract_if(.., is_before).collect();
        for flag in &flags {
            add(&mut self.evidence, Evidence { to: at - Duration::from_millis(1), ..*flag });
        }
        let own = self.evidence.iter_mut().filter(|said| said.witness == Witness::Flag);
        own.for_each(|said| said.began = None);
        !flags.is_empty()
    }

    /// When the run that was told last by then began, at the earliest: a daemon that hung stamps a start after our own
    /// collector has seen the process.
    pub fn began_after(&self, at: Timestamp) -> Option<Timestamp> {
        let start = self.started_at.filter(|start| *start <= at)?;
        let has_ended = |seen: Timestamp| self.ends.iter().any(|end| (seen..=start).contains(end));
        let seen = self.seen_start.filter(|seen| !has_ended(*seen));
        Some(seen.map_or(start, |seen| start.min(seen)))
    }

    /// A run has ended. What was counted in one that began after it is of none before, however late the end is told.
    pub fn end(&mut self, at: Timestamp) {
        let after = |said: &&mut Evidence| said.began.is_some_and(|began| began >= at);
        let (end, later) = (at + Duration::from_millis(1), self.evidence.iter_mut().filter(after));
        later.for_each(|said| said.from = said.from.max(end));
        sort(&mut self.evidence);
        self.gone_at = None;
        self.counted.clear();
        self.ends.push(at);
        if self.ends.len() > MOST_ENDS {
            self.ends.remove(0);
        }
    }

    /// The first process has ended by SIGKILL, and nobody had asked for it.
    pub fn die(&mut self, at: Timestamp) {
        self.bring_down(at);
        let death = self.stamped_late(at).unwrap_or(at);
        self.end(at);
        self.deaths.push(death);
        self.deaths.sort();
        if self.deaths.len() > MOST_STATEMENTS {
            self.deaths.remove(0);
        }
    }

    /// Whether a run that ended then, nobody knows how, may have done so by a kill.
    pub fn may_end_by_kill(&self, at: Timestamp) -> bool {
        self.gone_at.is_some() || self.told().any(|said| (said.from..=said.to).contains(&at))
    }

    /// When a run was gone by our own eyes whose end a daemon that hung has stamped later; no kill was stamped with it.
    fn stamped_late(&self, at: Timestamp) -> Option<Timestamp> {
        let is_with = |said: &Evidence| said.told_at().is_some_and(|told| is_close(told, at));
        let has_begun = |by: Timestamp| self.started_at.max(self.seen_start) <= Some(by);
        let gone_at = self.gone_at.filter(|gone| *gone < at && has_begun(*gone));
        gone_at.filter(|_| !self.told().any(is_with))
    }

    /// Our own collector has read it, and it ran, since then.
    pub fn note_reading(&mut self, at: Timestamp, start: Timestamp, is_another_run: bool) {
        self.seen_start = Some(start);
        if is_another_run {
            self.read_before = self.read_at;
        }
        self.read_at = Some(at);
    }

    /// The kill that Docker told of with this end brought it: none after which the run was read once more, just before. A
    /// daemon that hung tells both late, and the run was not read for long.
    fn bring_down(&mut self, at: Timestamp) {
        let patience = self.patience + GONE_WITHIN;
        let is_just_before = |read: &Timestamp| *read < at && at.since(*read) <= patience;
        let read = [self.read_at, self.read_before].into_iter().flatten();
        let Some(read_at) = read.filter(is_just_before).max() else { return };
        let told = |said: &Evidence| said.told_at().filter(|_| is_brought(said, at));
        for said in &mut self.evidence {
            said.from =
                told(said).map_or(said.from, |t| said.from.max(t.min(read_at - GONE_WITHIN)));
        }
        sort(&mut self.evidence);
    }

    /// Whether the end is known, about that time, of the run that was seen then: what ended before it began was
    /// another.
    pub fn ended_about(&self, at: Timestamp) -> bool {
        let began = self.started_at.filter(|began| *began <= at);
        let is_close = |end: &Timestamp| end.since(at).max(at.since(*end)) <= LATE;
        let is_its = |end: &Timestamp| is_close(end) && began.is_none_or(|began| *end >= began);
        self.deaths.iter().chain(&self.ends).any(is_its)
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
        let is_between = |start: &Timestamp| (ended + STAMPED_AFTER..=began).contains(start);
        let (late, next) = match self.started_at.filter(is_between) {
            Some(start) => (STAMPED_BEFORE_START, start),
            None => (STAMPED_AFTER, began),
        };
        let divides = |end: &Timestamp| *end + late >= ended && *end + SAME_DEATH <= next;
        began.since(ended) > within || self.deaths.iter().chain(&self.ends).any(divides)
    }

    /// Takes an event for the same as those that tell of one kill with it.
    pub fn repeat(&mut self, said: Evidence) {
        let same = |old: &Evidence| self.is_same_kill(old, &said);
        let all: Vec<Evidence> = self.evidence.iter().copied().filter(same).collect();
        let told = first_told(&said);
        let is_new = all.iter().all(|old| told < first_told(old) || told > last_told(old));
        let words = all.iter().map(|old| 1 + old.repeats).sum::<u32>() + u32::from(is_new);
        self.evidence.retain(|old| !all.contains(old));
        let one = all.into_iter().fold(said, |one, old| Evidence {
            key: one.key.min(old.key),
            from: one.from.min(old.from),
            to: one.to.max(old.to),
            kills: one.kills.min(old.kills),
            repeats: words.saturating_sub(1),
            ..one
        });
        add(&mut self.evidence, one);
    }

    /// A counter shows `value` at `at`. One that was read before and after has seen all kills that were done in
    /// between: what events tell of more is an earlier kill that takes long. It is read again after `patience`,
    /// if that is worth waiting for. What our own shows first since our start may be of a run whose beginning Docker has
    /// not told yet: nothing is judged by that (`judges`). True if events were found to tell of one kill.
    pub fn bound(
        &mut self,
        (source, is_ours, judges): (u64, bool, bool),
        (at, value): (Timestamp, f64),
        base: Base,
    ) -> bool {
        let (base, next) = match base {
            Base::Anew(base) => (base, base),
            Base::Before(last) => {
                self.counted.get(&source).map_or((last, last), |known| (known.base, known.next))
            }
        };
        let done_by = at - DONE_WITHIN;
        let kills = |since: f64| (value - since).max(0.0) as usize;
        let has_judged = match is_ours {
            _ if !judges => false,
            // What was told since the later reading is judged by that first: else older words were denied for it.
            true => {
                let is_late_denied = self.deny_uncounted((next.0, done_by), kills(next.1));
                self.deny_uncounted((base.0, done_by), kills(base.1)) || is_late_denied
            }
            false => self.leave_out_repeats((base.0, done_by), kills(base.1)),
        };
        let from = base.0.max(done_by);
        let is_undone = |said: &Evidence| said.witness == Witness::Event && last_told(said) > from;
        let is_judged = judges && !self.evidence.iter().any(is_undone);
        let is_heard = is_judged && next.0 <= done_by;
        let (base, next) = if is_heard { (next, (at, value)) } else { (base, next) };
        let until = if self.patience.is_zero() { at } else { at + 2 * self.patience };
        self.counted.insert(source, Counted { base, next, until, judges });
        has_judged
    }

    /// A counter goes on that begins anew with us: `carried` of what it showed is of runs before this one.
    pub fn begin_anew(&mut self, source: u64, carried: f64) {
        if let Some(Counted { base, next, .. }) = self.counted.get_mut(&source) {
            (base.1, next.1) = (base.1 - carried, next.1 - carried);
        }
    }

    /// Whether an event tells of a kill that was done within this time, in a run that went on.
    fn is_done_in(&self, said: &Evidence, (from, to): (Timestamp, Timestamp)) -> bool {
        // Docker tells of a kill until it is done.
        let last = last_told(said);
        last > from && last <= to && !self.took_it_down(said)
    }

    /// How many kills there are by what is known, told or waiting.
    pub fn explained(&self) -> u64 {
        let kills = explain(&self.bounded_by_ends());
        self.stints.folded() + kills.iter().map(|kills| u64::from(kills.count)).sum::<u64>()
    }

    /// Events that tell of a kill, as far as anybody knows.
    fn told(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(|said| said.witness == Witness::Event && said.kills > 0)
    }

    /// What the kernel has not counted in this very cgroup was no kill of it: Docker makes an event for every
    /// container below a cgroup that is full (v1), where the kernel is not to kill, and several of one kill that
    /// takes long.
    fn deny_uncounted(&mut self, within: (Timestamp, Timestamp), kills: usize) -> bool {
        // A daemon that hung may tell only now of what had been counted before.
        let late = told_late(&self.bounded_by_ends(), within.0);
        let is_in = |said: &Evidence| self.is_done_in(said, within) && !late.contains(&said.key);
        let told: Vec<Evidence> = self.told().copied().filter(is_in).collect();
        let again = |pair: &[Evidence]| !self.are_divided(&pair[0], &pair[1], LATE);
        // What may have been told again is denied first.
        let (again, once): (Vec<usize>, Vec<usize>) =
            (0..told.len()).rev().partition(|at| *at > 0 && again(&told[at - 1..=*at]));
        // What was told of a kill is not taken back: else the next would be none.
        let untold = self.explained().saturating_sub(self.stints.total());
        let surplus = told.len().saturating_sub(kills).min(untold as usize);
        for at in again.into_iter().chain(once).take(surplus) {
            let is_it = |said: &&mut Evidence| **said == told[at];
            self.evidence.iter_mut().filter(is_it).for_each(|said| said.kills = 0);
        }
        surplus > 0
    }

    /// Whether Docker has told of a kill in this time that was none, or is counted for good.
    pub fn was_told_in(&self, from: Timestamp, to: Timestamp) -> bool {
        let is_void = |said: &&Evidence| said.kills == 0;
        let told = self.evidence.iter().filter(is_void).filter_map(Evidence::told_at);
        told.into_iter().any(|at| (from..=to).contains(&at))
    }

    fn leave_out_repeats(&mut self, within: (Timestamp, Timestamp), kills: usize) -> bool {
        let is_in = |said: &Evidence| self.is_done_in(said, within);
        let told: Vec<Evidence> = self.told().copied().collect();
        let surplus = told.iter().filter(|said| is_in(said)).count().saturating_sub(kills);
        let repeats = told.windows(2).filter(|pair| is_in(&pair[1]));
        let repeats = repeats.filter(|pair| !self.are_divided(&pair[0], &pair[1], LATE));
        let repeats: Vec<[i64; 2]> = repeats.map(|pair| [pair[0].key, pair[1].key]).collect();
        for [kill, again] in repeats.iter().rev().take(surplus) {
            self.take_for_one(*kill, *again);
        }
        surplus > 0 && !repeats.is_empty()
    }

    /// Whether the first process ended by the kill that an event tells: its counter went with it.
    fn took_it_down(&self, event: &Evidence) -> bool {
        self.deaths.iter().any(|death| is_brought(event, *death))
    }

    /// When the run of a kill that an event tells ended, if that was soon.
    fn end_after(&self, said: &Evidence) -> Option<Timestamp> {
        said.told_at()?;
        let ends = self.deaths.iter().chain(&self.ends);
        ends.copied().filter(|end| is_brought(said, *end)).min()
    }

    /// Since when the kills may have happened that a reading shows and the one before, at `since`, did not. What
    /// our own collector reads is the kernel's count of this run's cgroup; another's reader may be late. And when that
    /// run began, where it matters.
    pub fn counted_from(
        &self,
        reading: &Reading,
        since: Timestamp,
    ) -> (Timestamp, Option<Timestamp>) {
        if !reading.is_ours {
            return (since - LATE, None);
        }
        // A start that Docker has told is exact. Another may be rounded, and a cgroup whose run has just ended may be
        // read for a moment yet.
        let is_told = |start: Timestamp| {
            self.started_at.filter(|told| start.since(*told).max(told.since(start)) <= SKEW)
        };
        let rounded = |start: Timestamp| start.min(reading.at - 2 * SKEW) + SKEW;
        let began = reading.started_at.map(|start| is_told(start).unwrap_or(rounded(start)));
        // Where nothing runs any more in what is read, that is of the run that was told last, if not of a later one.
        let began = began.or(self.started_at.filter(|told| *told <= reading.at));
        let is_before = |end: &&Timestamp| began.is_some_and(|began| **end <= began);
        let ended = self.ends.iter().filter(is_before).max();
        let of_run = ended.map(|end| *end + Duration::from_millis(1));
        (of_run.unwrap_or(Timestamp(i64::MIN)).max(since - DONE_WITHIN), began)
    }

    /// Takes two events for two words about one kill, and knows them again.
    fn take_for_one(&mut self, kill: i64, again: i64) {
        let mut take = |key| {
            let is_it = |said: &Evidence| (said.witness, said.key) == (Witness::Event, key);
            let at = self.evidence.iter().position(is_it)?;
            Some(self.evidence.remove(at))
        };
        if let (Some(kill), Some(again)) = (take(kill), take(again)) {
            add(&mut self.evidence, Evidence { to: kill.to.max(again.to), ..kill });
        }
    }

    /// Tells what is known by now of whom the kills hit: which name has how many more. True while a kill
    /// waits for its scope. Docker has owed news `behind_since` then, if it does.
    pub fn settle(
        &mut self,
        now: Timestamp,
        behind_since: Option<Timestamp>,
    ) -> (bool, Vec<(String, Counts)>) {
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
        let kills = explain(&self.bounded_by_ends());
        let (spare, _) = claim(&kills, &self.deaths);
        // Whoever is read again lives on.
        let seen_at =
            self.counters.values().filter(|last| !last.is_empty).map(|last| last.at).max();
        let lives_on = |to: Timestamp| seen_at.is_some_and(|at| at > to);
        let is_late = |to: Timestamp| self.told_late_at.is_some_and(|told| to <= told);
        let is_owed = |to: Timestamp| behind_since.is_some_and(|at| now < to.max(at) + TOLD_WITHIN);
        let waits = |to: Timestamp| {
            let is_patient = now < to + CHILD_AFTER + self.patience && !lives_on(to);
            let may_end = is_patient || is_late(to) || is_owed(to) || self.gone_at.is_some();
            now < to + CHILD_AFTER || may_end
        };
        let is_read = self.counted.values().any(|counter| now <= counter.until);
        let awaits_judge = self.counted.values().any(|c| now <= c.until && !c.judges);
        let is_uncounted = |kills: &Kills| {
            let is_young = kills.told_at.is_some_and(|told| now < told + COUNTED_WITHIN);
            let is_awaited = is_young || (awaits_judge && kills.told_at.is_some());
            is_read && is_awaited && !kills.is_counted
        };
        let shares = kills.iter().zip(spare).map(|(kills, spare)| {
            let waiting = if waits(kills.to) || is_uncounted(kills) { spare } else { 0 };
            (kills.at(), Share { total: u64::from(kills.count), children: spare, waiting })
        });
        let shares: Vec<(Timestamp, Share)> = shares.collect();
        let is_waiting = shares.iter().any(|(_, share)| share.waiting > 0);
        (is_waiting, self.stints.tell(&shares))
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) {
        for said in &mut self.evidence {
            said.rebase(&shift);
        }
        self.deaths.iter_mut().chain(&mut self.ends).for_each(&shift);
        self.counters.values_mut().for_each(|last| shift(&mut last.at));
        for Counted { base, next, until, .. } in self.counted.values_mut() {
            shift(&mut base.0);
            shift(&mut next.0);
            shift(until);
        }
        self.stints.rebase(&shift);
        shift(&mut self.heard_from);
        let Life { started_at, seen_start, gone_at, told_late_at, read_at, read_before, .. } = self;
        let single = [started_at, seen_start, gone_at, told_late_at, read_at, read_before];
        single.into_iter().flatten().for_each(shift);
    }

    /// Nothing more is waited for: which name has how many more.
    pub fn finish(&mut self) -> Vec<(String, Counts)> {
        (self.news, self.told_late_at, self.gone_at) = (None, None, None);
        self.settle(Timestamp(i64::MAX), None).1
    }

    /// What is said, in order. A kill was over when its run had ended: what a counter says of the next is none
    /// of it.
    fn bounded_by_ends(&self) -> Vec<Evidence> {
        let bounded =
            |said: &Evidence| Evidence { to: self.end_after(said).unwrap_or(said.to), ..*said };
        let mut said: Vec<Evidence> = self.evidence.iter().map(bounded).collect();
        sort(&mut said);
        said
    }

    /// Folds what is old, and what is too much to remember.
    fn forget(&mut self) {
        let Some(newest) = self.evidence.last().map(|said| said.to) else { return };
        let too_many = self.evidence.len().saturating_sub(MOST_STATEMENTS);
        let said = self.bounded_by_ends();
        let at = settled(&said, newest - REMEMBERED).max(too_many);
        if at == 0 {
            return;
        }
        self.evidence = said;
        let kills = fold(&mut self.evidence, at);
        let upto = kills.iter().map(|kills| kills.to).max().unwrap_or(newest);
        let (spare, unclaimed) = claim(&kills, &self.deaths);
        for (kills, child) in kills.iter().zip(spare) {
            let pid1 = u64::from(kills.count) - child;
            self.stints.fold(kills.at(), Counts { pid1, child });
        }
        self.deaths = unclaimed;
        self.deaths.retain(|death| *death + LATE > upto);
    }
}

/// How many of each of these kills no death of the first process belongs to; and the deaths that belong to
/// none. A death belongs to the kill that was told of about then; one of which nobody told, to the earliest that
/// it can belong to.
fn claim(kills: &[Kills], deaths: &[Timestamp]) -> (Vec<u64>, Vec<Timestamp>) {
    let mut spare: Vec<u64> = kills.iter().map(|kills| u64::from(kills.count)).collect();
    let is_of_then = |kills: &Kills, death| {
        [kills.told_at, kills.stamped_at].into_iter().flatten().any(|told| is_close(told, death))
    };
    let fits = |kills: &Kills, death: Timestamp| kills.from <= death && death - LATE <= kills.to;
    let unclaimed = take_out(kills, &mut spare, deaths, is_of_then);
    let unclaimed = take_out(kills, &mut spare, &unclaimed, fits);
    (spare, unclaimed)
}

fn is_close(told: Timestamp, death: Timestamp) -> bool {
    told <= death + SKEW && death <= told + SKEW
}

/// Gives each death to the earliest kill that is free and is one of its; those that are left.
fn take_out(
    kills: &[Kills],
    spare: &mut [u64],
    deaths: &[Timestamp],
    is_its: impl Fn(&Kills, Timestamp) -> bool,
) -> Vec<Timestamp> {
    let mut left = Vec::new();
    for death in deaths {
        let mut free = kills.iter().zip(&mut *spare).filter(|(_, free)| **free > 0);
        match free.find(|(kills, _)| is_its(kills, *death)) {
            Some((_, free)) => *free -= 1,
            None => left.push(*death),
        }
    }
    left
}

/// Whether an end came with the kill that an event tells: Docker may stamp the kill a moment after it.
fn is_brought(event: &Evidence, end: Timestamp) -> bool {
    let from = event.from.max(first_told(event) - STAMPED_AFTER);
    (from..=event.to).contains(&end)
}

/// When Docker told of this kill first, and last: an event's end has a margin.
fn first_told(event: &Evidence) -> Timestamp {
    event.told_at().unwrap_or(event.to)
}

fn last_told(event: &Evidence) -> Timestamp {
    (event.to - SKEW).max(first_told(event))
}
