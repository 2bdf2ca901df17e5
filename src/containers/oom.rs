//! One count of OOM kills per container, from everyone who saw some.
//!
//! A kill is seen by up to five witnesses: Docker's event, Docker's flag, the counters of cAdvisor
//! and of our own collector, and, after a restart of ours, all of them again. [`evidence`] makes one
//! number of it; here stands what each of them may say. They speak of an incarnation, by its id. The count
//! belongs to the *name*, the one that it went by when the kill happened: a container made anew goes on with
//! it. It never falls, and lives in the journal.
//!
//! Which process was killed shows in what follows: if the container's first process ended by
//! SIGKILL within seconds and nobody had asked for that, it was that one; else, after
//! [`CHILD_AFTER`], it was a child. Docker may be stuck, or nobody asks it, so the next reading is
//! waited for as well: then a container that was started again, or is not there any more, has ended
//! by the kill. What Docker tells late it tells together, a kill before the end that follows: so a
//! child's is none before Docker has told of it for as long, either.
//!
//! [`evidence`]: super::evidence

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::container::ContainerId;
use super::evidence::{Evidence, Witness, add};
use super::life::{LATE, Life, REMEMBERED, SAME_DEATH};
use super::reading::{Base, Last, Reading, SKEW, Told};
use super::rows::Rows;
use super::stint::{Counts, Stints};
use crate::base::{Change, Table, Timestamp};

/// What was read by then may have waited for answers about its containers when we died: after a restart of ours Docker's
/// events are asked for again from so long before the time until which it was heard, and are no old news.
pub const ON_ITS_WAY: Duration = Duration::from_secs(20);
/// A daemon that hangs for no longer than this is not noticed, and stamps its events afterwards.
const STAMPED_LATE: Duration = Duration::from_secs(20);
/// An event that a daemon stamped after it had hung is not believed to be of longer ago than this.
pub const STUCK: Duration = Duration::from_secs(300);
/// Docker may be stuck, or nobody asks it, and then the next reading tells of an end. It is waited for if it is
/// due this soon: that a kill is known counts more than whose it was.
const NEXT_READING: Duration = Duration::from_secs(10);
/// Incarnations per name whose statements are remembered: what Docker may still tell something of.
const MOST_LIVES: usize = 16;
/// Names counted at most; those without a remembered incarnation go first, then those of which no kill and no
/// reading told for the longest.
const MOST_NAMES: usize = 10_000;
const NAMES: &str = "oom:";
const LIVES: &str = "oom_life:";
/// The row that says since when kills are counted on this host.
const WATCHED_FROM: &str = "oom_watched_from";

/// How many OOM kills each incarnation had.
pub type KillsById = BTreeMap<ContainerId, u64>;

/// Of which container something is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who<'a> {
    /// The incarnation.
    pub id: &'a ContainerId,
    /// The name it is known by. What is said of an incarnation that is counted already is its own, whatever
    /// the name: see [`OomLedger::move_on`].
    pub name: &'a str,
    /// What it was known by before, and until when.
    pub before: Option<(&'a str, Timestamp)>,
}

/// A name.
#[derive(Clone, PartialEq, Debug, Default)]
struct Tally {
    /// All its kills.
    counts: Counts,
    /// The incarnations that go by it and are remembered.
    lives: BTreeSet<ContainerId>,
}

/// The counts of a host.
#[derive(Clone, PartialEq, Debug)]
pub struct OomLedger {
    names: BTreeMap<String, Tally>,
    lives: BTreeMap<ContainerId, Life>,
    /// Incarnations that something was said of since they were settled.
    open: BTreeSet<ContainerId>,
    /// Incarnations with kills that wait for their scope.
    waiting: BTreeSet<ContainerId>,
    /// Names that have more kills since they were taken.
    credited: BTreeSet<String>,
    name_rows: Rows<String>,
    life_rows: Rows<ContainerId>,
    /// What ended before was seen, or not seen, by whoever watched then.
    since: Timestamp,
    /// What Docker says of before was taken in when it told it.
    told_until: Timestamp,
    /// When it was settled first since our start.
    begun_at: Option<Timestamp>,
    /// Since when Docker has owed news, if it does.
    behind_since: Option<Timestamp>,
    /// When the first watch began: what Docker's flag says of a run that began before is old news, or told
    /// by others. Whether the journal has it.
    watched_from: (Timestamp, bool),
}

impl OomLedger {
    fn new(since: Timestamp) -> OomLedger {
        OomLedger {
            names: BTreeMap::new(),
            lives: BTreeMap::new(),
            open: BTreeSet::new(),
            waiting: BTreeSet::new(),
            credited: BTreeSet::new(),
            name_rows: Rows::new(NAMES),
            life_rows: Rows::new(LIVES),
            since,
            told_until: since,
            begun_at: None,
            behind_since: None,
            watched_from: (since, false),
        }
    }

    /// Docker has told all until then, if it ever did: whoever watched later may not have heard it. What had
    /// happened shortly before may have been on its way still, and is told again.
    pub fn docker_told(&mut self, until: Option<Timestamp>) {
        self.told_until = until.map_or(self.told_until, |at| self.told_anew_from(at));
    }

    /// From when Docker is asked again that has told all until then: nothing is news that was before the first watch.
    pub fn told_anew_from(&self, until: Timestamp) -> Timestamp {
        (until - ON_ITS_WAY).max(self.watched_from.0.min(until))
    }

    /// The ledger as its rows tell it, and which could not be read. Nothing is believed that ended
    /// before `since`, when the last watch ended; other rows are skipped.
    pub fn recover<'a>(
        rows: impl IntoIterator<Item = &'a Change>,
        since: Timestamp,
    ) -> (OomLedger, Vec<String>) {
        let mut ledger = OomLedger::new(since);
        let mut problems = Vec::new();
        for row in rows {
            if let Err(error) = ledger.restore(row) {
                problems.push(format!("row {} of table guards: {error}", row.key));
            }
        }
        (ledger, problems)
    }

    fn restore(&mut self, row: &Change) -> Result<(), serde_json::Error> {
        let Change { table: Table::Guards, key, value: Some(value) } = row else { return Ok(()) };
        if key == WATCHED_FROM {
            self.watched_from = (serde_json::from_slice(value)?, true);
        } else if let Some(name) = self.name_rows.key(row) {
            self.names.entry(name.to_owned()).or_default().counts = serde_json::from_slice(value)?;
            self.name_rows.found(name.to_owned());
        } else if let Some(id) = self.life_rows.key(row).and_then(ContainerId::new) {
            let life: Life = serde_json::from_slice(value)?;
            let tally = self.names.entry(life.stints.name().to_owned()).or_default();
            tally.lives.insert(id.clone());
            self.life_rows.found(id.clone());
            self.waiting.insert(id.clone());
            self.lives.insert(id, life);
        }
        Ok(())
    }

    /// Docker tells of a kill, maybe more than once of the same. `at_nanos` tells it from the next; it
    /// happened after `since`, when Docker was not stuck yet: events are stamped when a daemon that hung
    /// comes to.
    pub fn killed(&mut self, who: Who<'_>, at_nanos: i64, since: Timestamp) {
        let at = Timestamp(at_nanos.div_euclid(1_000_000));
        let life = self.lives.get(who.id);
        let of_run = life.and_then(|life| life.began_after(at));
        let from = (since.min(at).max(at - STUCK) - STAMPED_LATE)
            .max(of_run.unwrap_or(Timestamp(i64::MIN)));
        let to = at + SKEW;
        let (witness, key) = (Witness::Event, at_nanos);
        let said = Evidence { witness, key, from, to, kills: 1, began: None, repeats: 0 };
        let is_known = |life: &Life| life.evidence.iter().any(|old| life.is_same_kill(old, &said));
        match life.is_some_and(is_known) {
            true => {
                self.life(who, at).repeat(said);
                self.open.insert(who.id.clone());
            }
            false => self.hear(who, said),
        }
    }

    /// Docker has started another run. Of whom nothing is known it divides nothing.
    pub fn started(&mut self, who: Who<'_>, at: Timestamp) {
        let is_stored = self.life_rows.is_stored(who.id);
        if self.lives.get_mut(who.id).is_some_and(|life| life.start(at) || is_stored) {
            self.open.insert(who.id.clone());
        }
    }

    /// A run that lasted from `from` to `to` has ended with Docker's `OOMKilled`: there was at least
    /// one kill in it. The flag stays set while the container lives on after a child's death, so
    /// it says nothing about how the run ended. On a busy host it may be over before its start is told (`is_begun`).
    pub fn flagged(&mut self, who: Who<'_>, (from, to): (Timestamp, Timestamp), is_begun: bool) {
        if from > self.watched_from.0 {
            self.take_flag(who, (from, to), Some(from).filter(|_| !is_begun));
        }
    }

    /// The kernel ended the first process of a run between `from` and `to`, by Docker's `OOMKilled` and no
    /// event. However old the run is, that is no old news.
    pub fn killed_as_flagged(&mut self, who: Who<'_>, from: Timestamp, to: Timestamp) {
        self.take_flag(who, (from, to), None);
    }

    fn take_flag(
        &mut self,
        who: Who<'_>,
        (from, to): (Timestamp, Timestamp),
        began: Option<Timestamp>,
    ) {
        // Docker sets it when it makes the event.
        let was_told = |life: &Life| life.was_told_in(from, to);
        if to <= self.told_until || self.lives.get(who.id).is_some_and(was_told) {
            return;
        }
        let evidence = Evidence {
            witness: Witness::Flag,
            key: to.0,
            from: from.min(to) - LATE,
            // A daemon that hung stamps the end late, and knows when it was.
            to: to + STAMPED_LATE,
            kills: 1,
            began,
            repeats: 0,
        };
        self.hear(who, evidence);
    }

    /// The first process has ended by SIGKILL, and nobody had asked for it.
    pub fn died(&mut self, who: Who<'_>, at: Timestamp) {
        // Told only now it may have been a while ago, if Docker hung.
        if at + STAMPED_LATE <= self.told_until {
            return;
        }
        let life = self.life(who, at);
        // Docker's event and its list tell of one death a few milliseconds apart.
        let mut ends = life.deaths.iter().chain(&life.ends);
        if ends.all(|other| at.since(*other).max(other.since(at)) > SAME_DEATH) {
            life.die(at);
            self.open.insert(who.id.clone());
        }
    }

    /// A run has ended while Docker was dead, and nobody knows how: by a kill, if one is known that may have brought it.
    pub fn lost(&mut self, who: Who<'_>, at: Timestamp) {
        match self.lives.get(who.id).is_some_and(|life| life.may_end_by_kill(at)) {
            true => self.died(who, at),
            false => self.ended(who, at),
        }
    }

    /// A run has ended otherwise. Of whom nothing is known it divides nothing.
    pub fn ended(&mut self, who: Who<'_>, at: Timestamp) {
        let Some(life) = self.lives.get_mut(who.id) else { return };
        life.end(at);
        if !life.is_quiet() {
            self.open.insert(who.id.clone());
        }
    }

    /// A counter was read; what that says stands in [`reading`](super::reading).
    pub fn read(&mut self, who: Who<'_>, reading: Reading) {
        let Reading { source, at, value, started_at, is_watched, interval, is_ours } = reading;
        let life = self.lives.get(who.id);
        let is_new = life.is_none_or(|life| life.is_new);
        let watched_from = match life {
            // What it shows cannot be told from what is explained for good.
            Some(life) if life.stints.have_folded() => at,
            // Of whom nothing was counted before our restart all kills since its start are new.
            _ if is_new => self.watched_from.0,
            _ => self.since,
        };
        let last = life.and_then(|life| life.counters.get(&source)).copied();
        let begins_anew = last.filter(|last| is_ours && !last.is_read);
        // What it shows first since our start may be of a run whose beginning Docker has not told yet.
        let is_since = |begun: Timestamp| started_at.is_some_and(|start| start > begun);
        let judges = !is_ours
            || last.is_some_and(|last| last.is_read)
            || self.begun_at.is_some_and(is_since);
        let ends = life.map_or(&[][..], |life| &life.ends);
        let last = last.map(|last| if is_new { last } else { last.known() });
        let is_first = last.is_none();
        let Some(told) = Told::by(&reading, last, ends, watched_from) else { return };
        // A container without kills costs its last readings and no row, unless it dies by SIGKILL.
        let life = self.life(who, at);
        begins_anew.iter().for_each(|last| life.begin_anew(source, last.carried));
        let Told { unknown, carried, awaits_start, .. } = told;
        // The last word of an empty cgroup knows of no start.
        let is_empty = is_ours && started_at.is_none();
        let last =
            Last { at, value, started_at, unknown, carried, awaits_start, is_empty, is_read: true };
        life.counters.insert(source, last);
        if is_first && is_ours {
            let new = u64::from(told.kills) + told.unknown as u64 + life.explained();
            life.before = (value as u64).saturating_sub(new);
        }
        life.patience = if interval <= NEXT_READING { interval } else { Duration::ZERO };
        let (from, began) = life.counted_from(&reading, told.from);
        if let Some(start) = started_at.filter(|_| is_ours) {
            life.note_reading(at, start, matches!(told.base, Base::Anew(_)));
        }
        let has_judged = life.bound((source, is_ours, judges), (at, value), told.base);
        if has_judged || (told.is_news && value > 0.0) {
            self.open.insert(who.id.clone());
        }
        if told.kills > 0 {
            let (witness, kills) = (Witness::Counter(source), told.kills);
            // It was read later than its slot if it knows of a run that began after that.
            let to = if from > at { from + SKEW } else { at };
            self.hear(who, Evidence { witness, key: at.0, from, to, kills, began, repeats: 0 });
        }
        // Before Docker is heard of a container its start is the process's, and may be a second off.
        if let (true, false, Some(start)) = (told.is_later, is_watched, started_at) {
            self.restarted(who, start);
        }
    }

    /// Without Docker's events a start time that changed is all there is to see of a death. One
    /// close to a kill was by it.
    fn restarted(&mut self, who: Who<'_>, start: Timestamp) {
        // Starts are rounded, and a process starts before Docker says that it runs.
        let is_of_it = |end: &Timestamp| start.since(*end) <= LATE && *end <= start + SKEW;
        let life = self.life(who, start);
        if !life.deaths.iter().chain(&life.ends).any(is_of_it) {
            self.died(who, start);
        }
    }

    /// A counter is not shown any more, by a source that answers: the container's cgroup is gone. Without
    /// Docker's events that is all there is to see of a death, and one close to a kill was by it. A Docker
    /// that knows it (`is_watched`) tells how it ended: the scope waits for that.
    pub fn vanished(&mut self, who: Who<'_>, source: u64, is_watched: bool) {
        let Some(life) = self.lives.get(who.id) else { return };
        let Some(seen_at) = life.counters.get(&source).map(|last| last.at) else { return };
        let saw_kill = self.saw_kill(who.id, (None, None), (seen_at, seen_at));
        if life.ended_about(seen_at) || saw_kill.is_none() {
            return;
        }
        match is_watched {
            true => {
                self.life(who, seen_at).gone_at.get_or_insert(seen_at);
                self.open.insert(who.id.clone());
            }
            false => self.died(who, seen_at),
        }
    }

    /// An incarnation is gone for good. What it counted stays with the name.
    pub fn gone(&mut self, id: &ContainerId) {
        if self.lives.get(id).is_some_and(Life::is_quiet) {
            self.forget(id);
        }
    }

    /// An incarnation goes by another name since then: what it counted until then stays with the old one.
    pub fn move_on(&mut self, id: &ContainerId, to: &str, since: Timestamp) {
        let Some(life) = self.lives.get_mut(id).filter(|life| life.stints.name() != to) else {
            return;
        };
        let from = life.stints.name().to_owned();
        life.stints.go_by(to, since);
        // With its new name it is the youngest.
        life.heard_from = life.heard_from.max(since);
        self.open.insert(id.clone());
        self.leave(&from, id);
        self.names.entry(to.to_owned()).or_default().lives.insert(id.clone());
    }

    /// The last change of an incarnation's name was then, and not when it was heard of.
    pub fn correct_move(&mut self, id: &ContainerId, since: Timestamp) {
        if let Some(life) = self.lives.get_mut(id) {
            life.stints.correct(since);
            self.open.insert(id.clone());
        }
    }

    /// An incarnation that was counted under a makeshift name, made of its id, has its own from now on.
    /// Returns whether it was counted at all.
    pub fn rename(&mut self, id: &ContainerId, to: &str) -> bool {
        let from = id.short();
        let Some(life) = self.lives.get_mut(id) else { return false };
        if life.stints.name() != from || from == to {
            return false;
        }
        let counts = life.stints.rename(to);
        self.open.insert(id.clone());
        self.names.remove(from);
        self.name_rows.touch(&from.to_owned());
        self.credit(to, counts).lives.insert(id.clone());
        true
    }

    /// The row that says since when there is a count, if it is not in the journal.
    pub fn take_note(&mut self) -> Option<Change> {
        let (at, is_noted) = &mut self.watched_from;
        let value = Some(serde_json::to_vec(at).expect("a number always writes"));
        let is_due = !std::mem::replace(is_noted, true);
        is_due.then(|| Change { table: Table::Guards, key: WATCHED_FROM.to_owned(), value })
    }

    /// Brings every count up to date; returns the rows that changed. While Docker owes news (`is_behind`) it may yet tell
    /// how a run ended.
    pub fn settle(&mut self, now: Timestamp, is_behind: bool) -> Vec<Change> {
        self.begun_at.get_or_insert(now);
        self.behind_since = is_behind.then(|| self.behind_since.unwrap_or(now));
        let said = std::mem::take(&mut self.open);
        let waiting = std::mem::take(&mut self.waiting);
        for id in said.union(&waiting) {
            let Some(life) = self.lives.get_mut(id) else { continue };
            let name = life.stints.name().to_owned();
            let (waits, news) = life.settle(now, self.behind_since);
            if waits {
                self.waiting.insert(id.clone());
            }
            if said.contains(id) || !news.is_empty() {
                self.life_rows.touch(id);
            }
            self.take_news(news);
            self.forget_oldest(&name);
        }
        self.forget_most();
        let mut changes =
            self.name_rows.take(|name| self.names.get(name).map(|tally| tally.counts));
        changes.extend(self.life_rows.take(|id| self.lives.get(id)));
        changes
    }

    /// When somebody told of a kill last that may have brought the end, between those two, of a run that began
    /// then, and before the next: a kill that was told of before is one of a run before.
    pub fn saw_kill(
        &self,
        id: &ContainerId,
        (began, next): (Option<Timestamp>, Option<Timestamp>),
        (since, at): (Timestamp, Timestamp),
    ) -> Option<Timestamp> {
        let told_at = |said: &Evidence| said.told_at().unwrap_or(Timestamp(said.key));
        let is_its = |said: &&Evidence| {
            let is_close = said.kills > 0 && said.from <= at + SKEW && said.to + LATE >= since;
            let is_of_run = began.is_none_or(|began| told_at(said) >= began);
            is_close && is_of_run && next.is_none_or(|next| told_at(said) <= next)
        };
        self.lives.get(id)?.evidence.iter().filter(is_its).map(told_at).max()
    }

    /// The kills of a name.
    pub fn counts(&self, name: &str) -> Counts {
        self.names.get(name).map(|tally| tally.counts).unwrap_or_default()
    }

    /// The kills of each incarnation that had some, and what its counter showed before anybody watched.
    pub fn kills(&self) -> KillsById {
        let kills = |life: &Life| Some(life.stints.total()).filter(|kills| *kills > 0);
        let of = |(id, life): (&ContainerId, &Life)| Some((id.clone(), life.before + kills(life)?));
        self.lives.iter().filter_map(of).collect()
    }

    /// The names that have more kills since this was asked last.
    pub fn take_credited(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.credited)
    }

    /// Every name that something was ever said of, with its kills.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.names.iter().map(|(name, tally)| (name.as_str(), tally.counts))
    }

    /// The name under which an incarnation is counted.
    pub fn name_of(&self, id: &ContainerId) -> Option<&str> {
        Some(self.lives.get(id)?.stints.name())
    }

    /// The name under which what happened to an incarnation then is counted.
    pub fn name_at(&self, id: &ContainerId, at: Timestamp) -> Option<&str> {
        Some(self.lives.get(id)?.stints.name_at(at))
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = Timestamp(at.0.saturating_add(by_ms));
        shift(&mut self.since);
        shift(&mut self.told_until);
        self.begun_at.iter_mut().chain(&mut self.behind_since).for_each(shift);
        shift(&mut self.watched_from.0);
        self.watched_from.1 = false;
        for (id, life) in &mut self.lives {
            life.rebase(shift);
            if self.life_rows.is_stored(id) {
                self.life_rows.touch(id);
            }
        }
    }

    fn hear(&mut self, who: Who<'_>, evidence: Evidence) {
        if evidence.to <= self.told_until {
            return;
        }
        let said_at = evidence.told_at().unwrap_or(Timestamp(evidence.key));
        let life = self.life(who, said_at);
        // What is folded cannot be told from it any more.
        let forgotten = life.evidence.last().map(|newest| newest.to - REMEMBERED);
        let is_too_old = life.stints.have_folded() && forgotten.is_some_and(|at| evidence.to < at);
        if !is_too_old && add(&mut life.evidence, evidence) {
            if !matches!(evidence.witness, Witness::Counter(_)) {
                life.news = Some(life.news.map_or(evidence.to, |to| to.min(evidence.to)));
            }
            self.open.insert(who.id.clone());
        }
    }

    fn life(&mut self, who: Who<'_>, said_at: Timestamp) -> &mut Life {
        if !self.lives.contains_key(who.id) {
            self.names.entry(who.name.to_owned()).or_default().lives.insert(who.id.clone());
        }
        self.lives.entry(who.id.clone()).or_insert_with(|| {
            let mut stints = Stints::new(who.before.map_or(who.name, |(name, _)| name));
            if let Some((_, until)) = who.before {
                stints.go_by(who.name, until);
            }
            Life::new(stints, said_at)
        })
    }

    fn credit(&mut self, name: &str, counts: Counts) -> &mut Tally {
        self.name_rows.touch(&name.to_owned());
        self.credited.insert(name.to_owned());
        let tally = self.names.entry(name.to_owned()).or_default();
        tally.counts += counts;
        tally
    }

    fn take_news(&mut self, news: Vec<(String, Counts)>) {
        for (name, counts) in news {
            self.credit(&name, counts);
        }
    }

    /// An incarnation is none of this name any more.
    fn leave(&mut self, name: &str, id: &ContainerId) {
        let Some(tally) = self.names.get_mut(name) else { return };
        tally.lives.remove(id);
        if *tally == Tally::default() {
            self.names.remove(name);
            self.name_rows.touch(&name.to_owned());
        }
    }

    fn forget(&mut self, id: &ContainerId) {
        if let Some(life) = self.lives.remove(id) {
            self.leave(life.stints.name(), id);
            self.life_rows.touch(id);
        }
    }

    /// Forgets the oldest incarnations of a name, and keeps what they counted.
    fn forget_oldest(&mut self, name: &str) {
        while let Some(tally) = self.names.get(name).filter(|tally| tally.lives.len() > MOST_LIVES)
        {
            let from = |id: &&ContainerId| self.lives.get(*id).map(|life| life.heard_from);
            let Some(oldest) = tally.lives.iter().min_by_key(from).cloned() else { return };
            let news = self.lives.get_mut(&oldest).map(Life::finish);
            self.take_news(news.unwrap_or_default());
            self.forget(&oldest);
        }
    }

    /// Keeps the number of names bounded.
    fn forget_most(&mut self) {
        while self.names.len() > MOST_NAMES {
            let newest = |id: &ContainerId| self.lives.get(id).map(Life::newest);
            let said = |tally: &Tally| tally.lives.iter().filter_map(&newest).max();
            let oldest = self.names.iter().min_by_key(|(_, tally)| said(tally));
            let oldest = oldest.map(|(name, _)| name.clone());
            let Some(name) = oldest else { return };
            for id in self.names.get(&name).map(|tally| tally.lives.clone()).into_iter().flatten() {
                self.forget(&id);
            }
            self.names.remove(&name);
            self.name_rows.touch(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::life::MOST_STATEMENTS;
    use super::*;

    const START_S: i64 = 1_000_000;

    /// A ledger, its journal and a container `a` named `web`; times in seconds after the start.
    struct Bench {
        ledger: OomLedger,
        rows: Vec<Change>,
        now_s: f64,
        id: ContainerId,
        is_watched: bool,
        is_behind: bool,
    }

    fn id(digit: char) -> ContainerId {
        ContainerId::new(&digit.to_string().repeat(64)).expect("64 digits")
    }

    fn at(second: f64) -> Timestamp {
        Timestamp(START_S * 1000 + (second * 1000.0).round() as i64)
    }

    /// The collector, among the sources.
    const OURS: u64 = 9;

    impl Bench {
        fn new() -> Bench {
            let (ledger, _) = OomLedger::recover([], at(0.0));
            Bench {
                ledger,
                rows: Vec::new(),
                now_s: 0.0,
                id: id('a'),
                is_watched: false,
                is_behind: false,
            }
        }

        fn say(&mut self, what: impl FnOnce(&mut OomLedger, Who<'_>)) -> &mut Bench {
            let id = self.id.clone();
            what(&mut self.ledger, Who { id: &id, name: "web", before: None });
            self
        }

        /// What was said is heard at that time, at the earliest.
        fn heard(&mut self, second: f64) -> &mut Bench {
            self.now_s = second.max(self.now_s);
            self.rows.extend(self.ledger.settle(at(self.now_s), self.is_behind));
            self
        }

        fn oom(&mut self, second: f64) -> &mut Bench {
            self.say(|ledger, who| ledger.killed(who, at(second).0 * 1_000_000, at(second)));
            self.heard(second)
        }

        fn die(&mut self, second: f64) -> &mut Bench {
            self.say(|ledger, who| ledger.died(who, at(second)))
        }

        fn gone(&mut self, source: u64) -> &mut Bench {
            let is_watched = self.is_watched;
            self.say(|ledger, who| ledger.vanished(who, source, is_watched))
        }

        fn end(&mut self, second: f64) -> &mut Bench {
            self.say(|ledger, who| ledger.ended(who, at(second)))
        }

        fn flag(&mut self, from: f64, to: f64) -> &mut Bench {
            self.say(|ledger, who| ledger.flagged(who, (at(from), at(to)), true));
            self.heard(to)
        }

        fn read(&mut self, source: u64, second: f64, value: f64, start: f64) -> &mut Bench {
            let started_at = (start != 0.0).then(|| at(start));
            let (at, is_watched) = (at(second), self.is_watched);
            let interval = Duration::from_secs(5);
            let is_ours = source == OURS;
            let reading = Reading { source, at, value, started_at, is_watched, interval, is_ours };
            self.say(|ledger, who| ledger.read(who, reading))
        }

        /// Kills as `pid1+child` at that time.
        fn check(&mut self, second: f64, want: &str) -> &mut Bench {
            assert!(second >= self.now_s, "time goes on");
            self.now_s = second;
            let before = self.ledger.counts("web");
            self.rows.extend(self.ledger.settle(at(second), self.is_behind));
            let counts = self.ledger.counts("web");
            assert!(counts.pid1 >= before.pid1 && counts.child >= before.child, "{before:?}");
            assert_eq!(format!("{}+{}", counts.pid1, counts.child), want, "at {second}");
            self
        }

        /// Our own restart: nothing is left but the journal.
        fn restart(&mut self, since: f64) -> &mut Bench {
            self.rows.extend(self.ledger.take_note());
            let mut newest: BTreeMap<String, Change> = BTreeMap::new();
            newest.extend(self.rows.iter().map(|row| (row.key.clone(), row.clone())));
            let (ledger, problems) = OomLedger::recover(newest.values(), at(since));
            assert_eq!(problems, Vec::<String>::new());
            self.ledger = ledger;
            self
        }
    }

    #[test]
    fn who_was_killed_shows_in_what_follows() {
        Bench::new().oom(10.0).check(10.0, "0+0").die(10.05).check(10.1, "1+0").check(60.0, "1+0");
        Bench::new().oom(10.0).check(15.0, "0+0").check(16.1, "0+1").check(60.0, "0+1");
        // The event comes after the end: late, and still one kill of the first process.
        Bench::new().die(10.0).check(10.0, "0+0").oom(10.4).check(10.5, "1+0");
        // Too late to be told apart: the count stands, and never falls.
        Bench::new().oom(10.0).check(17.0, "0+1").die(18.0).check(30.0, "0+1");
        Bench::new().oom(10.0).oom(12.2).die(12.3).check(12.3, "1+0").check(20.0, "1+1");
        Bench::new().die(10.0).check(60.0, "0+0");
        // Started anew after 0.1, 0.2 and 0.4 s, and killed each time; the third is told twice.
        let mut quick = Bench::new();
        for second in [10.0, 10.2, 10.5, 11.0] {
            quick.oom(second).die(second + 0.05);
        }
        quick.die(10.57).check(11.1, "4+0").check(60.0, "4+0");
    }

    /// A reading is of the slot that it was asked for in; a host that is busy reads two seconds later.
    #[test]
    fn a_kill_after_a_start_that_the_reading_s_own_slot_did_not_know_is_one() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).end(11.0);
        bench.say(|ledger, who| ledger.started(who, at(11.5)));
        bench.oom(11.8).read(OURS, 10.0, 1.0, 11.5).read(OURS, 15.0, 1.0, 11.5);
        bench.check(60.0, "0+1");
    }

    /// Docker tells of quick kills as if they were one, and the kernel counts them all: none is left for a word that comes
    /// later to be about.
    #[test]
    fn a_kill_after_many_quick_ones_is_none_of_those() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(10.0).oom(10.1).oom(10.2);
        bench.read(OURS, 11.0, 3.0, 1.0).read(OURS, 16.0, 3.0, 1.0);
        bench.oom(17.2).die(17.25).check(40.0, "1+3");
        // One that follows the reading at once may be among those that it counted: two, of which one was told three times.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(10.0).oom(10.1).oom(10.2);
        bench.read(OURS, 12.0, 2.0, 1.0).oom(12.05).die(12.1).check(40.0, "1+1");
    }

    /// A busy host: what the container looks like is told before its start, and shows how it ended.
    #[test]
    fn a_run_that_is_over_before_its_start_is_told_has_one_kill() {
        for late in [0.02, 0.08, 1.5] {
            let mut bench = Bench::new();
            bench.say(|ledger, who| ledger.flagged(who, (at(10.0), at(10.1)), false));
            let start = 10.1 + late;
            bench.say(|ledger, who| ledger.started(who, at(start)));
            bench.oom(start + 0.07).die(start + 0.14);
            bench.say(|ledger, who| ledger.started(who, at(start + 0.8)));
            bench.oom(start + 0.9).die(start + 0.95).check(60.0, "2+0");
        }
        // The next start is that of the next run.
        let mut bench = Bench::new();
        bench.flag(10.0, 10.1).die(10.1);
        bench.say(|ledger, who| ledger.started(who, at(10.5)));
        bench.oom(10.7).die(10.75).check(60.0, "2+0");
        // That it began was never told.
        let mut bench = Bench::new();
        bench.say(|ledger, who| ledger.flagged(who, (at(10.0), at(10.1)), false));
        bench.die(10.1).say(|ledger, who| ledger.started(who, at(15.0)));
        bench.oom(15.2).die(15.3).check(60.0, "2+0");
    }

    /// Docker was dead and tells of one of them; the kernel's count was read between the two.
    #[test]
    fn a_kill_that_brings_the_end_is_none_after_which_the_run_went_on() {
        for (read, want) in [(true, "1+1"), (false, "1+0")] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 1.0);
            if read {
                bench.read(OURS, 15.0, 1.0, 1.0);
            }
            bench.say(|ledger, who| ledger.killed(who, at(16.0).0 * 1_000_000, at(6.0)));
            bench.die(16.1).heard(16.5).check(60.0, want);
        }
    }

    /// A dead Docker tells of a child's kill when it is back, within a second of the first process's, and all of it when the
    /// next run has been read.
    #[test]
    fn what_was_read_before_an_end_is_known_when_it_is_told_after_the_next_start() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 1.0).read(OURS, 15.0, 1.0, 1.0);
        bench.read(OURS, 25.0, 1.0, 22.0);
        for told in [14.9, 15.8] {
            bench.say(|ledger, who| ledger.killed(who, at(told).0 * 1_000_000, at(6.0)));
        }
        bench.die(15.9).heard(26.0).check(60.0, "1+1");
    }

    /// Docker stamps a kill a moment after the end that it brought, and dies; the next run's is known by its count alone.
    #[test]
    fn a_kill_that_was_stamped_after_its_end_is_none_of_the_next_run() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(10.01).die(10.0);
        bench.say(|ledger, who| ledger.started(who, at(10.9)));
        bench.read(OURS, 12.0, 1.0, 10.9).check(60.0, "1+1");
    }

    /// It hangs for a while that nobody notices, and stamps both when it comes to.
    #[test]
    fn an_end_that_docker_stamps_late_with_its_kill_is_by_that() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 1.0).gone(OURS).heard(10.5);
        bench.oom(27.4).die(27.5).check(60.0, "1+0");
    }

    /// Docker hangs, and we are started again; what is empty by then is read once for its last word.
    #[test]
    fn what_is_read_of_a_run_that_is_over_divides_nothing() {
        let mut bench = Bench::new();
        (bench.is_watched, bench.is_behind) = (true, true);
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 9.06, 1.0, 0.0).heard(9.1).restart(18.0);
        bench.read(OURS, 19.06, 1.0, 0.0).gone(OURS).heard(19.1).oom(20.25).die(20.3);
        bench.is_behind = false;
        bench.check(60.0, "1+0");
    }

    /// Docker stamps a kill a moment after the end that it brought.
    #[test]
    fn kills_of_two_quick_runs_are_two() {
        let mut bench = Bench::new();
        bench.oom(10.008).die(10.0);
        bench.say(|ledger, who| ledger.started(who, at(10.3)));
        bench.oom(10.5).die(10.495).check(60.0, "2+0");
    }

    /// On a busy host long after: then the start between the two divides them.
    #[test]
    fn a_start_that_was_told_divides_the_kills_before_and_after_it() {
        let mut bench = Bench::new();
        bench.oom(10.256).die(10.076);
        bench.say(|ledger, who| ledger.started(who, at(10.673)));
        bench.oom(10.72).die(10.71).check(60.0, "2+0");
        // A word of the run that has just begun, and its repetition.
        let mut bench = Bench::new();
        bench.die(10.0).oom(10.31);
        bench.say(|ledger, who| ledger.started(who, at(10.32)));
        bench.oom(10.5).check(60.0, "1+0");
    }

    #[test]
    fn a_kill_of_the_next_run_brought_no_end_of_the_one_before() {
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 1.0).heard(11.0);
        bench.say(|ledger, who| ledger.started(who, at(22.0)));
        bench.read(OURS, 22.2, 1.0, 22.0).oom(22.1).heard(23.0);
        let seen = |next| bench.ledger.saw_kill(&bench.id, (None, next), (at(8.0), at(22.0)));
        assert_eq!(seen(Some(at(22.0))), Some(at(10.0)));
        assert!(seen(None) > Some(at(22.0)));
    }

    /// And the start of a run after its end, if that was soon.
    #[test]
    fn a_flag_is_of_the_run_whose_start_was_stamped_after_its_end() {
        let mut bench = Bench::new();
        bench.oom(9.0).die(9.0).flag(8.0, 9.0);
        bench.flag(10.2, 10.267).say(|ledger, who| ledger.started(who, at(10.269)));
        bench.oom(10.271).die(10.267).check(60.0, "2+0");
    }

    /// Of one that began after us nothing else was ever read.
    #[test]
    fn what_was_told_of_a_new_container_is_judged_by_its_first_reading() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.heard(5.0).oom(6.0).read(OURS, 10.0, 0.0, 5.9).die(13.0).check(60.0, "0+0");
    }

    /// Docker's word comes a moment after the reading that follows it.
    #[test]
    fn what_was_told_just_before_a_reading_is_judged_by_the_next() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 0.0, 1.0).oom(9.9);
        bench.read(OURS, 15.0, 0.0, 1.0).check(40.0, "0+0");
        // One that was counted by that reading is one all the same.
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(9.5).read(OURS, 10.0, 1.0, 1.0);
        bench.read(OURS, 15.0, 1.0, 1.0).read(OURS, 20.0, 1.0, 1.0).check(40.0, "0+1");
    }

    /// The first of us has read it once, by the start of the run before, the next by its own.
    #[test]
    fn a_kill_is_not_counted_anew_where_two_restarts_of_ours_are_around_one_of_its_container() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).read(OURS, 10.0, 1.0, 1.0).check(20.0, "0+1");
        bench.end(21.0).check(21.5, "0+1").restart(21.5);
        bench.read(OURS, 25.0, 1.0, 1.0).check(26.0, "0+1");
        bench.restart(26.0);
        bench.read(OURS, 30.0, 1.0, 21.3).heard(31.0).check(60.0, "0+2");
    }

    #[test]
    fn the_end_of_the_run_before_is_known_over_our_restart() {
        let mut bench = Bench::new();
        bench.die(10.0).heard(10.1);
        bench.say(|ledger, who| ledger.started(who, at(10.5))).heard(11.0);
        bench.restart(13.0).oom(26.0).check(60.0, "0+1");
    }

    /// What was told never falls, so it is not denied either: the next kill would be untold.
    #[test]
    fn a_kill_that_was_told_before_it_could_be_denied_takes_no_other_s_place() {
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).check(24.0, "0+1");
        bench.read(OURS, 25.0, 0.0, 1.0).check(26.0, "0+1");
        bench.oom(40.0).read(OURS, 45.0, 1.0, 1.0).check(80.0, "0+2");
    }

    /// Docker hangs, and both kills of a run are read where nothing runs any more.
    #[test]
    fn what_is_read_of_a_run_that_is_over_is_none_of_the_run_before() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 8.0, 0.0, 5.2).oom(8.8).oom(11.1).die(11.13);
        bench.say(|ledger, who| ledger.started(who, at(11.5))).heard(13.0);
        bench.restart(13.0).read(OURS, 18.0, 2.0, 0.0).oom(25.15).oom(25.154).die(25.2);
        bench.say(|ledger, who| ledger.started(who, at(25.55)));
        bench.oom(27.4).read(OURS, 28.0, 3.0, 25.5).check(60.0, "2+3");
    }

    /// A run began before Docker hung, and its start is stamped afterwards, a moment before its kill.
    #[test]
    fn a_start_that_was_stamped_late_divides_no_kill_from_its_count() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 8.0, 0.0, 2.0).oom(9.9).die(10.0).read(OURS, 13.0, 0.0, 10.4);
        bench.read(OURS, 18.0, 1.0, 10.4).heard(20.0);
        bench.say(|ledger, who| ledger.started(who, at(22.0)));
        bench.oom(22.01).die(22.05).check(60.0, "2+0");
    }

    /// Docker hangs between the word of a kill and the end that it brought, and we are started again meanwhile.
    #[test]
    fn an_end_that_is_stamped_late_was_when_the_run_was_gone() {
        let restart_and_read = |bench: &mut Bench, read_at: Option<f64>| {
            bench.restart(17.0);
            if let Some(second) = read_at {
                bench.read(OURS, second, 1.0, 0.0).gone(OURS);
            }
        };
        for restart in [None, Some(None), Some(Some(20.0)), Some(Some(25.0))] {
            let mut bench = Bench::new();
            (bench.is_watched, bench.is_behind) = (true, true);
            bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 0.0, 1.0).oom(11.0);
            bench.read(OURS, 15.0, 1.0, 0.0).gone(OURS).heard(16.0);
            restart.iter().for_each(|read_at| restart_and_read(&mut bench, *read_at));
            // An event and Docker's list tell of it.
            bench.check(26.9, "0+0").die(27.0).die(27.05).check(27.1, "1+0");
            bench.oom(32.0).check(60.0, "1+1");
        }
    }

    /// The end of a run that is gone is owed still when the next one ends.
    #[test]
    fn the_end_of_the_next_run_was_not_when_the_one_before_was_gone() {
        for is_told in [false, true] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 0.0, 1.0).oom(11.0);
            bench.read(OURS, 15.0, 1.0, 0.0).gone(OURS).heard(16.0);
            match is_told {
                true => bench.say(|ledger, who| ledger.started(who, at(17.0))),
                false => bench.read(OURS, 20.0, 1.0, 17.0),
            };
            bench.die(27.0).check(60.0, "0+1");
        }
    }

    /// A Docker that was dead when a run ended knows no exit code, and has the kernel's word of its kill late.
    #[test]
    fn an_end_that_docker_lost_is_by_a_kill_that_may_have_brought_it() {
        let lost = |bench: &mut Bench, second: f64| {
            bench.say(|ledger, who| ledger.lost(who, at(second))).heard(second + 12.0);
        };
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 0.0).gone(OURS).heard(11.0);
        lost(&mut bench, 9.0);
        bench.check(60.0, "1+0");
        // Nobody has read it.
        let mut bench = Bench::new();
        bench.say(|ledger, who| ledger.killed(who, at(11.0).0 * 1_000_000, at(5.0)));
        lost(&mut bench, 9.9);
        bench.check(60.0, "1+0");
        // It went on after that kill.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.oom(5.0).read(OURS, 10.0, 1.0, 1.0).heard(10.5);
        lost(&mut bench, 12.0);
        bench.check(60.0, "0+1");
    }

    #[test]
    fn what_is_read_where_nothing_runs_is_no_sign_of_life() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 10.0, 0.0, 1.0).read(OURS, 15.0, 1.0, 1.0).check(19.9, "0+0");
        bench.read(OURS, 20.0, 1.0, 0.0).check(20.1, "0+0");
        bench.oom(21.6).die(21.7).check(60.0, "1+0");
    }

    /// A daemon that hung tells late of what had been counted, and has as many words less for what followed.
    #[test]
    fn a_word_of_what_was_counted_before_leaves_no_later_one_over() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 10.0, 1.0, 1.0).read(OURS, 15.0, 2.0, 1.0);
        bench.oom(20.3).oom(20.33).read(OURS, 20.0, 2.0, 1.0).oom(21.4).oom(23.7);
        bench.read(OURS, 25.0, 4.0, 1.0).read(OURS, 30.0, 4.0, 1.0);
        bench.oom(32.2).end(32.3).check(60.0, "0+5");
    }

    /// Docker makes an event for each container below a cgroup that is full, on version 1.
    #[test]
    fn what_the_kernel_has_not_counted_in_its_cgroup_was_no_kill() {
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).read(OURS, 10.0, 0.0, 1.0).check(30.0, "0+0");
        // Nor when it is told again, nor by the flag that Docker sets with it.
        bench.oom(6.0).oom(6.5).check(40.0, "0+0").restart(41.0).oom(6.0).check(50.0, "0+0");
        bench.flag(1.0, 55.0).die(55.0).check(80.0, "0+0");
        assert_eq!(bench.ledger.saw_kill(&bench.id, (None, None), (at(6.0), at(6.0))), None);
        // Nor is it kept for that.
        bench.say(|ledger, who| ledger.gone(who.id)).heard(81.0);
        assert!(bench.ledger.lives.is_empty());
        // One that was slow to be done is counted then, and so is one in the run that follows.
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).read(OURS, 10.0, 0.0, 1.0);
        bench.oom(12.0).read(OURS, 15.0, 1.0, 1.0).read(OURS, 20.0, 2.0, 1.0).check(40.0, "0+2");
        // Of a run that has ended no counter was read to its end.
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).end(8.0);
        bench.read(OURS, 10.0, 0.0, 8.5).read(OURS, 15.0, 0.0, 8.5).check(40.0, "0+1");
        // Another's counter is read late, or of the log.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).oom(6.0).read(1, 10.0, 0.0, 1.0).check(30.0, "0+1");
    }

    #[test]
    fn the_end_of_the_run_before_is_no_consequence_of_a_kill() {
        // Ended by hand, started at once, and a child killed seconds later.
        for second in [2.0, 6.0, 12.0, 18.0] {
            let mut bench = Bench::new();
            bench.read(OURS, 5.0, 0.0, 1.0).die(10.0);
            bench.say(|ledger, who| ledger.started(who, at(10.3)));
            let kill = 10.0 + second;
            bench.oom(kill).read(OURS, kill + 1.0, 1.0, 10.3).check(60.0, "0+1");
        }
    }

    #[test]
    fn one_kill_is_one_however_often_docker_tells_of_it() {
        // A victim that gets little processor time dies slowly: the kernel asks again and again.
        let mut bench = Bench::new();
        bench.read(1, 9.0, 0.0, 1.0);
        for nth in 0..24 {
            bench.oom(10.0 + 0.1 * f64::from(nth));
        }
        bench.read(1, 14.0, 1.0, 1.0).check(20.0, "0+1").read(1, 24.0, 1.0, 1.0).check(60.0, "0+1");
        // Told again after our restart, the middle first.
        bench.restart(14.0).oom(11.0).oom(10.0).oom(12.3).check(70.0, "0+1");
        // So slowly that only the counter says it was one; and never fewer than it says.
        let mut slow = Bench::new();
        slow.read(1, 9.0, 0.0, 1.0).oom(10.0).oom(11.5).oom(13.0).read(1, 14.0, 1.0, 1.0);
        slow.oom(15.5).read(1, 19.0, 1.0, 1.0).check(30.0, "0+1");
        slow.oom(40.0).oom(40.1).read(1, 44.0, 4.0, 1.0).check(60.0, "0+4");
        // For fifteen seconds: by Docker alone it is two, by the counter one.
        for (counted, want) in [(false, "0+2"), (true, "0+1")] {
            let mut long = Bench::new();
            long.read(1, 9.0, 0.0, 1.0);
            for nth in 0..30 {
                long.oom(10.0 + 0.5 * f64::from(nth));
            }
            if counted {
                long.read(1, 29.0, 1.0, 1.0);
            }
            long.check(60.0, want);
        }
        // Without a counter two that lie apart are two, and so is what an end lies between.
        Bench::new().oom(10.0).oom(11.5).check(20.0, "0+2");
        Bench::new().oom(10.0).die(10.05).oom(10.5).die(10.6).check(20.0, "2+0");
        // The last word of a victim comes after its end.
        Bench::new().oom(10.0).die(10.05).oom(10.1).check(20.0, "1+0");
    }

    #[test]
    fn a_counter_says_nothing_of_what_came_between_its_last_reading_and_the_end_of_a_run() {
        for (told_start, told_end) in [(true, false), (false, true)] {
            let start = if told_start { 12.0 } else { 1.0 };
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(1, 3.0, 0.0, 1.0).oom(4.0).read(1, 5.0, 1.0, 1.0);
            bench.read(1, 10.0, 1.0, 1.0).oom(10.5);
            if told_end {
                bench.end(11.0);
            }
            bench.read(1, 15.0, 1.0, start).check(40.0, "0+2");
        }
        // Of two runs that ended otherwise, too, each has its own kills, however close.
        let mut bench = Bench::new();
        bench.read(1, 3.0, 0.0, 1.0).oom(4.0).end(4.1).oom(4.6).end(4.7).check(40.0, "0+2");
        bench.restart(5.0).check(50.0, "0+2");
    }

    /// The collector sees a new cgroup before Docker has told it when that began.
    #[test]
    fn a_start_that_is_of_the_run_before_is_no_beginning_of_a_counter() {
        for was_read in [true, false] {
            let mut bench = Bench::new();
            if was_read {
                bench.read(1, 10.0, 0.0, 1.0).end(10.2);
            }
            bench.oom(11.5).oom(13.0).end(14.0);
            bench.read(1, 17.5, 0.0, 10.5).check(60.0, "0+2");
        }
    }

    /// It goes on over the runs of a container, and begins anew with us.
    #[test]
    fn what_our_own_counter_carried_is_not_taken_from_what_it_counts_after_our_restart() {
        let before = |was_killed: bool| {
            let mut bench = Bench::new();
            bench.read(OURS, 5.0, 0.0, 1.0);
            let (kills, counted) = if was_killed { (1.0, "0+1") } else { (0.0, "0+0") };
            if was_killed {
                bench.oom(6.0);
            }
            bench.read(OURS, 10.0, kills, 1.0).end(11.0);
            // Docker has not told of the start yet; then it has.
            bench.read(OURS, 15.0, kills, 1.0).read(OURS, 20.0, kills, 12.0).check(40.0, counted);
            bench.restart(41.0);
            bench
        };
        for (was_killed, want) in [(false, "0+2"), (true, "0+3")] {
            let mut bench = before(was_killed);
            bench.oom(42.0).oom(44.0).read(OURS, 48.0, 2.0, 12.0).check(90.0, want);
            // Another run meanwhile: all that the kernel counts is new.
            let mut bench = before(was_killed);
            bench.end(41.5).oom(42.0).oom(44.0).read(OURS, 48.0, 2.0, 41.6).check(90.0, want);
            // And what had been counted in this run is not.
            let mut bench = before(was_killed);
            bench.restart(41.0).oom(42.0).read(OURS, 45.0, 1.0, 12.0).read(OURS, 48.0, 1.0, 12.0);
            bench.restart(49.0).oom(50.0).read(OURS, 53.0, 2.0, 12.0).check(90.0, want);
        }
    }

    /// Within a second of the end before it, that is; then Docker is dead, and our own counter alone tells the next.
    #[test]
    fn a_kill_that_was_told_and_read_soon_after_a_start_is_none_of_the_run_before() {
        for is_child in [true, false] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(OURS, 43.9, 0.0, 41.0).oom(44.1).die(44.19);
            bench.say(|ledger, who| ledger.started(who, at(44.4)));
            bench.oom(44.77).read(OURS, 44.88, 1.0, 44.39);
            bench.read(OURS, 45.88, 1.0, 44.39).read(OURS, 46.88, 2.0, 44.39);
            let want = if is_child { "1+2" } else { "2+1" };
            if !is_child {
                bench.gone(OURS);
            }
            bench.check(80.0, want);
        }
    }

    /// Two words about one kill, another kill, and long afterwards a neighbour's: of these four two were none.
    #[test]
    fn for_a_neighbour_s_kill_no_older_word_is_denied() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench
            .read(OURS, 20.0, 0.0, 19.5)
            .oom(20.5)
            .oom(21.51)
            .oom(22.6)
            .read(OURS, 25.0, 2.0, 19.5);
        bench.read(OURS, 30.0, 2.0, 19.5).oom(32.9).read(OURS, 35.0, 2.0, 19.5);
        bench.read(OURS, 40.0, 2.0, 19.5).check(41.0, "0+2").oom(44.9).read(OURS, 45.0, 2.0, 19.5);
        bench.die(45.05).check(80.0, "1+2");
    }

    /// A child is killed, the container is started again, and Docker tells of that after the reading.
    #[test]
    fn nothing_is_judged_by_what_our_counter_shows_first() {
        for is_known in [true, false] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            if is_known {
                bench
                    .read(OURS, 6.0, 0.0, 5.0)
                    .oom(6.5)
                    .read(OURS, 9.0, 1.0, 5.0)
                    .check(10.0, "0+0");
            }
            let kills = u8::from(is_known);
            bench.restart(11.0).oom(12.0).read(OURS, 15.9, f64::from(kills), 5.0).heard(15.9);
            bench.end(14.9).say(|ledger, who| ledger.started(who, at(15.7)));
            bench.read(OURS, 20.9, 0.0, 15.7).check(60.0, &format!("0+{}", 1 + kills));
        }
    }

    /// A neighbour below a full parent is killed around a crash of ours, which lasts for a moment, or for long.
    #[test]
    fn what_was_told_before_a_restart_of_ours_is_judged_after_it() {
        for (again, carried) in [(12.0, 0.0), (40.0, 0.0), (12.0, 3.0), (40.0, 3.0)] {
            for (kills, want) in [(0.0, "0+0"), (1.0, "0+1"), (2.0, "0+2")] {
                let mut bench = Bench::new();
                bench.is_watched = true;
                bench.read(OURS, 0.5, carried, -50.0).end(0.8).read(OURS, 1.0, carried, 0.9);
                bench.read(OURS, 5.0, carried, 0.9).oom(9.5).read(OURS, 10.0, carried, 0.9);
                bench.oom(11.2).check(11.2, "0+0").restart(11.3).heard(again);
                bench.read(OURS, again, kills, 0.9).heard(again + 5.1);
                bench.read(OURS, again + 5.2, kills, 0.9).check(again + 30.0, want);
                let told = bench.ledger.lives[&bench.id].evidence.iter();
                let told = told.filter(|said| said.witness == Witness::Event && said.kills > 0);
                assert_eq!(told.count() as f64, kills, "as many words of Docker's are believed");
            }
        }
    }

    /// Docker tells of the first, and is dead when the next comes: it is told by our own counter alone.
    #[test]
    fn a_kill_that_our_counter_alone_tells_is_none_of_the_run_before_nor_one_it_counted_before() {
        for start in [6.2, 5.4] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).die(6.05);
            bench.read(OURS, 10.0, 1.0, start).check(60.0, "1+1");
            bench.restart(60.0).check(90.0, "1+1");
        }
        // It was told, and not done yet when it was read; or read while its cgroup went.
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(9.8).read(OURS, 10.0, 0.0, 1.0);
        bench.read(OURS, 15.0, 1.0, 1.0).check(60.0, "0+1");
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(9.8).die(9.85).read(OURS, 9.9, 1.0, 1.0);
        bench.read(OURS, 15.0, 1.0, 10.1).check(60.0, "1+0");
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).die(6.05).oom(6.3).die(6.35);
        bench.read(OURS, 6.4, 1.0, 6.2).read(OURS, 11.4, 1.0, 6.5).check(60.0, "2+0");
        // Another's counter may be late.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).oom(6.0).read(1, 10.0, 0.0, 1.0);
        bench.read(1, 15.0, 1.0, 1.0).check(60.0, "0+1");
    }

    /// What the collector shows goes on from what the kernel had counted before anybody watched.
    #[test]
    fn the_kills_of_an_incarnation_are_those_from_before_and_those_that_count() {
        let kills = |bench: &Bench| bench.ledger.kills().get(&bench.id).copied();
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 4.0, -50.0).check(6.0, "0+0");
        assert_eq!(kills(&bench), None);
        bench.oom(10.0).die(10.05).check(20.0, "1+0");
        assert_eq!(kills(&bench), Some(5));
        bench.restart(20.0).read(OURS, 25.0, 0.0, 10.2).check(40.0, "1+0");
        assert_eq!(kills(&bench), Some(5));
        // What may be new is not from before: its start is told late.
        let mut bench = Bench::new();
        bench.read(OURS, 5.0, 1.0, 0.0).read(OURS, 10.0, 1.0, 2.0).check(20.0, "0+1");
        assert_eq!(kills(&bench), Some(1));
        // Of one that began with us all are new, told before or not.
        let mut bench = Bench::new();
        bench.oom(3.0).read(OURS, 5.0, 2.0, 1.0).check(20.0, "0+2");
        assert_eq!(kills(&bench), Some(2));
    }

    #[test]
    fn what_is_waited_for_is_waited_for_as_long_over_a_step_of_the_clock() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 1.0, 1.0).gone(1).check(17.0, "0+0");
        bench.ledger.rebase(1_000_000);
        bench.check(1029.0, "0+0").check(1030.0, "1+0");
    }

    #[test]
    fn what_docker_tells_again_after_a_swap_of_names_is_known() {
        let mut bench = Bench::new();
        bench.oom(10.0).oom(14.0).check(30.0, "0+2").restart(14.2);
        bench.ledger.move_on(&id('a'), "old", at(14.3));
        let again = |bench: &mut Bench, second| {
            let (id, at) = (id('a'), at(second));
            bench.ledger.killed(Who { id: &id, name: "old", before: None }, at.0 * 1_000_000, at);
        };
        again(&mut bench, 14.0);
        bench.check(60.0, "0+2");
        assert_eq!(bench.ledger.counts("old").total(), 0);
        again(&mut bench, 61.0);
        bench.heard(61.5).check(90.0, "0+2");
        assert_eq!(bench.ledger.counts("old").total(), 1);
    }

    #[test]
    fn a_start_is_no_second_end_of_a_run_whose_end_was_told() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 1.0, 1.0).end(11.8);
        bench.read(1, 15.0, 1.0, 11.0).check(60.0, "0+1");
    }

    #[test]
    fn what_a_run_s_counter_has_not_counted_was_none_however_many_follow() {
        // Told again 1.8 s later, and killed again within three seconds of each reading.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).oom(6.0).oom(7.8).oom(9.0).read(1, 10.0, 2.0, 1.0);
        bench.oom(14.0).read(1, 15.0, 3.0, 1.0).oom(19.0).read(1, 20.0, 4.0, 1.0);
        bench.oom(24.0).read(1, 25.0, 5.0, 1.0).read(1, 30.0, 5.0, 1.0).check(60.0, "0+5");
        // The first reading of a run comes afterwards, or lies between: its counter began with none.
        for told in [7.5, 9.0] {
            let mut bench = Bench::new();
            bench.read(1, 5.0, 0.0, 1.0).end(6.0).oom(told);
            if told < 9.0 {
                bench.oom(told + 1.6).read(1, 10.0, 1.0, 7.0);
            } else {
                bench.read(1, 10.0, 1.0, 7.0).oom(told + 1.6);
            }
            bench.read(1, 15.0, 1.0, 7.0).check(60.0, "0+1");
        }
    }

    /// Docker tells of it 10 to 400 ms before the kernel counts it, and a reading may fall in between.
    #[test]
    fn a_kill_that_was_told_and_is_not_done_yet_is_none_that_a_counter_rules_out() {
        let mut bench = Bench::new();
        bench.read(1, 0.01, 0.0, 0.0).oom(0.05).read(1, 0.3, 1.0, 0.0).oom(5.2);
        bench.read(1, 5.21, 1.0, 0.0).die(5.29).check(60.0, "1+1");
        // Read every second: a child, another, and the first process, whose count nobody reads.
        let mut bench = Bench::new();
        bench.read(1, 1.0, 0.0, 0.5).oom(1.3).read(1, 2.0, 1.0, 0.5).oom(2.98);
        bench.read(1, 3.0, 1.0, 0.5).read(1, 4.0, 2.0, 0.5).oom(4.6).die(4.7).check(60.0, "1+2");
    }

    #[test]
    fn who_goes_by_another_name_takes_no_kills_along() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 4.0, 1.0).check(30.0, "0+4");
        bench.ledger.move_on(&id('a'), "old", at(31.0));
        let old = |bench: &mut Bench, second, value| {
            let (id, interval) = (id('a'), Duration::from_secs(5));
            let (at, started_at) = (at(second), Some(at(1.0)));
            let reading = Reading {
                source: 1,
                at,
                value,
                started_at,
                is_watched: false,
                interval,
                is_ours: false,
            };
            bench.ledger.read(Who { id: &id, name: "old", before: None }, reading);
            bench.check(second + 15.0, "0+4").ledger.counts("old").child
        };
        assert_eq!(old(&mut bench, 35.0, 4.0), 0, "they stay with the name they were counted by");
        assert_eq!(old(&mut bench, 55.0, 5.0), 1, "and the next is its own");
        // And back: what was counted meanwhile stays, too.
        bench.ledger.move_on(&id('a'), "web", at(71.0));
        bench.read(1, 75.0, 5.0, 1.0).check(95.0, "0+4").read(1, 100.0, 6.0, 1.0);
        bench.check(120.0, "0+5").restart(120.0).check(121.0, "0+5");
        assert_eq!(bench.ledger.counts("old").child, 1);
    }

    #[test]
    fn a_kill_belongs_to_the_name_of_its_time_however_late_and_often_it_is_told() {
        for is_first in [true, false] {
            let mut bench = Bench::new();
            bench.read(1, 9.0, 0.0, 1.0);
            let swap = |bench: &mut Bench| bench.ledger.move_on(&id('a'), "old", at(10.4));
            if is_first {
                swap(&mut bench);
            }
            bench.oom(10.0).oom(10.2);
            swap(&mut bench);
            // The counter tells of that one and of another, half a second later.
            bench.oom(10.8).read(1, 14.0, 2.0, 1.0).check(40.0, "0+1");
            assert_eq!(bench.ledger.counts("old").child, 1, "{is_first}");
        }
    }

    /// With `--live-restore` containers go on while dockerd is away, and nobody removes what has ended.
    #[test]
    fn what_docker_tells_after_a_start_is_of_no_run_before() {
        let lost_at = 8.0;
        let again = |bench: &mut Bench| {
            for (second, start) in [(40.0, 35.0), (50.0, 41.0)] {
                bench.say(|ledger, who| ledger.started(who, at(start)));
                bench.say(|ledger, who| ledger.killed(who, at(second).0 * 1_000_000, at(lost_at)));
                bench.die(second + 0.1).heard(second + 0.1);
            }
            bench.check(90.0, "3+0");
        };
        // A counter saw the kill meanwhile; or the flag alone tells of it.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).read(1, 15.0, 1.0, 1.0).die(15.0).check(33.0, "1+0");
        again(&mut bench);
        let mut bench = Bench::new();
        bench.flag(1.0, 21.0).die(21.0).check(33.0, "1+0");
        again(&mut bench);
    }

    #[test]
    fn a_docker_that_is_heard_is_waited_for_before_it_is_said_whom_the_kernel_killed() {
        let killed = |at: f64| {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 1.0, 1.0).gone(1).check(at, "0+0");
            bench
        };
        // By its own exit code, after the kill of a child.
        killed(17.0).end(12.0).gone(1).check(21.0, "0+1").gone(1).check(60.0, "0+1");
        killed(17.0).die(12.0).check(17.0, "1+0").gone(1).check(60.0, "1+0");
        // It told of the end, and of the next start, before anybody missed the cgroup.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 1.0, 1.0).end(11.0);
        bench.say(|ledger, who| ledger.started(who, at(11.2))).gone(1).check(60.0, "0+1");
        // It hangs, and says nothing.
        killed(29.0).check(30.0, "1+0");
        // The run before had ended a moment earlier: that is no end of this one.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(6.0).die(6.05);
        bench.say(|ledger, who| ledger.started(who, at(7.0)));
        bench.read(OURS, 8.0, 0.0, 7.0).read(OURS, 9.0, 1.0, 7.0).gone(OURS).check(28.0, "1+0");
        bench.check(30.0, "2+0").read(OURS, 35.0, 0.0, 32.0).check(60.0, "2+0");
        let mut lost = killed(25.0);
        lost.is_watched = false;
        lost.gone(1).check(25.0, "1+0");
    }

    #[test]
    fn what_docker_tells_late_it_tells_together() {
        // It hung; when it comes to it stamps the end then, and knows when it was.
        let mut bench = Bench::new();
        bench.check(30.0, "0+0").flag(1.0, 12.0).oom(30.1).die(30.2).check(31.0, "1+0");
        bench.check(60.0, "1+0");
        // We were stopped, or away, for long: the kill is heard, settled, and then the end.
        let mut bench = Bench::new();
        bench.check(40.0, "0+0").oom(10.0).check(40.1, "0+0").die(10.1).check(40.2, "1+0");
        bench.check(60.0, "1+0");
        let mut bench = Bench::new();
        bench.oom(10.0).restart(9.0).check(40.0, "0+0").die(10.1).check(40.2, "1+0");
        // A child's is one all the same.
        Bench::new().check(40.0, "0+0").oom(10.0).check(44.0, "0+0").check(46.0, "0+1");
    }

    /// It tells of a kill and dies, and so do we; the next one tells how the run ended.
    #[test]
    fn while_docker_owes_news_nobody_knows_whom_the_kernel_killed() {
        let owed = |start: f64| {
            let mut bench = Bench::new();
            bench.oom(10.0);
            bench.restart(10.5).is_behind = true;
            bench.check(start, "0+0").check(start + 15.0, "0+0");
            bench
        };
        for start in [11.0, 300.0] {
            owed(start).die(10.1).check(start + 15.1, "1+0").check(start + 60.0, "1+0");
            let mut child = owed(start);
            child.is_behind = false;
            child.check(start + 15.1, "0+1").check(start + 60.0, "0+1");
            // That a child was killed is not kept back for ever.
            owed(start).check(start + 20.1, "0+1").check(start + 60.0, "0+1");
        }
        // A kill that a counter shows long after Docker was lost.
        let mut bench = Bench::new();
        (bench.is_watched, bench.is_behind) = (true, true);
        bench.check(10.0, "0+0").read(OURS, 95.0, 0.0, 1.0).read(OURS, 100.0, 1.0, 1.0);
        bench.check(115.0, "0+0").check(120.1, "0+1");
    }

    /// A daemon that died did not tell how the run ended, and the next one tells it after the kill of the next run was
    /// read.
    #[test]
    fn a_kill_that_was_read_is_of_no_run_whose_end_is_told_after_it() {
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).oom(10.0).read(OURS, 17.0, 1.0, 14.5).heard(18.0);
        bench.die(10.05).check(40.0, "1+1");
        // Nobody told of the one before.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(OURS, 5.0, 0.0, 1.0).read(OURS, 17.0, 1.0, 14.5).heard(18.0);
        bench.die(10.05).check(40.0, "0+1");
    }

    #[test]
    fn what_was_before_anybody_watched_is_no_kill() {
        let (mut ledger, _) = OomLedger::recover([], at(100.0));
        let who = |ledger: &mut OomLedger, from, to| {
            let id = id('a');
            let who = Who { id: &id, name: "web", before: None };
            ledger.flagged(who, (at(from), at(to)), true);
            ledger.settle(at(1000.0), false);
            ledger.settle(at(1010.0), false);
            ledger.counts("web").total()
        };
        assert_eq!(who(&mut ledger, 1.0, 95.0), 0, "it ended before");
        assert_eq!(who(&mut ledger, 1.0, 300.0), 0, "it began before: its flag may be as old");
        let note = ledger.take_note().expect("there is one");
        assert!(ledger.take_note().is_none(), "once");
        // After our restart it is known still, and one that began since then has its flag believed.
        let (mut ledger, problems) = OomLedger::recover([&note], at(400.0));
        assert!(problems.is_empty() && ledger.take_note().is_none());
        assert_eq!(who(&mut ledger, 99.0, 500.0), 0);
        assert_eq!(who(&mut ledger, 150.0, 600.0), 1);
    }

    #[test]
    fn children_that_are_killed_all_the_time_are_counted_meanwhile() {
        let (mut docker, mut both) = (Bench::new(), Bench::new());
        both.read(1, 9.0, 0.0, 1.0);
        for nth in 0..400_u32 {
            let second = 10.0 + 2.5 * f64::from(nth);
            docker.oom(second);
            both.oom(second).read(1, second + 1.0, f64::from(nth + 1), 1.0);
            for bench in [&mut docker, &mut both] {
                let child = bench.heard(second + 1.0).ledger.counts("web").child;
                assert!(
                    (nth.saturating_sub(3)..=nth + 1).contains(&(child as u32)),
                    "{child} of {nth}"
                );
            }
        }
        docker.check(1100.0, "0+400");
        both.check(1100.0, "0+400");
    }

    #[test]
    fn one_kill_is_one_whoever_tells_and_whenever() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).read(2, 5.0, 4.0, 0.0).oom(12.0).die(12.1);
        bench.read(1, 15.0, 1.0, 1.0).flag(1.0, 12.1).check(20.0, "1+0");
        bench.read(2, 35.0, 5.0, 0.0).oom(12.0).flag(1.0, 12.1).check(60.0, "1+0");
        bench.restart(55.0).oom(12.0).read(1, 65.0, 1.0, 1.0).check(90.0, "1+0");
    }

    #[test]
    fn the_flag_tells_of_a_run_and_not_of_its_end() {
        // A child died at 20; `docker kill` at 500 ends the run with the flag still set.
        let mut bench = Bench::new();
        bench.oom(20.0).check(40.0, "0+1").flag(1.0, 500.0).check(520.0, "0+1");
        // Nobody told of a kill: then the flag does.
        Bench::new().flag(1.0, 500.0).die(500.0).check(520.0, "1+0");
        // A flag from before our time is old news.
        Bench::new().flag(-900.0, -800.0).check(1.0, "0+0");
    }

    #[test]
    fn counters_count_from_where_they_begin() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 9.0, -50.0).check(5.0, "0+0");
        bench.read(1, 10.0, 10.0, -50.0).check(20.0, "0+1");
        // cAdvisor started again and read fewer old messages: no kill, and a new beginning.
        bench.read(1, 15.0, 5.0, -50.0).read(1, 20.0, 6.0, -50.0).check(40.0, "0+2");
        // A new cgroup: what it counts is new.
        bench.read(1, 45.0, 2.0, 44.0).check(60.0, "1+3");
        // Made after we began to watch: its first reading is its count.
        Bench::new().read(1, 30.0, 2.0, 20.0).check(40.0, "0+2");
        Bench::new().read(1, 30.0, f64::NAN, 20.0).read(1, 31.0, -1.0, 20.0).check(40.0, "0+0");
    }

    #[test]
    fn a_kill_that_took_its_container_down_is_none_that_a_counter_rules_out() {
        // While Docker is away the next run's start is the process's, and early.
        let mut bench = Bench::new();
        bench.is_watched = true;
        bench.read(1, 5.0, 0.0, 1.0).oom(7.1).oom(10.8).die(10.86);
        bench.read(1, 12.5, 0.0, 9.5).read(1, 17.5, 0.0, 9.5).check(60.0, "1+1");
    }

    #[test]
    fn an_end_is_taken_though_it_was_before_our_restart_if_it_is_told_only_now() {
        let mut bench = Bench::new();
        bench.oom(15.0).check(16.0, "0+0").restart(20.0).die(15.1).check(40.0, "1+0");
    }

    #[test]
    fn whoever_takes_a_name_over_is_not_the_oldest_of_it() {
        let mut bench = Bench::new();
        let elder = id('a');
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 3.0, 1.0).check(30.0, "0+3");
        bench.ledger.move_on(&elder, "elder", at(31.0));
        for nth in 0..MOST_LIVES as u32 + 1 {
            bench.id = ContainerId::new(&format!("{nth:064}")).expect("64 digits");
            bench.oom(40.0 + f64::from(nth)).die(40.05 + f64::from(nth));
        }
        bench.id = elder;
        bench.read(1, 90.0, 3.0, 1.0).heard(95.0).ledger.move_on(&id('a'), "web", at(100.0));
        let before = bench.heard(101.0).ledger.counts("web");
        bench.read(1, 105.0, 3.0, 1.0).heard(130.0);
        assert_eq!(bench.ledger.counts("web"), before);
    }

    #[test]
    fn what_a_counter_shows_first_is_new_since_the_start_unless_something_was_counted_before() {
        // Started in the watch before ours, killed three times within a second, and read only now.
        let mut bench = Bench::new();
        bench.restart(20.0).oom(16.0).read(1, 25.0, 3.0, 15.0).check(60.0, "0+3");
        // Of one that was counted before it is not known from where.
        let mut bench = Bench::new();
        bench.oom(10.0).check(18.0, "0+1").restart(20.0);
        bench.read(1, 25.0, 3.0, 5.0).check(60.0, "0+1").read(1, 65.0, 4.0, 5.0).check(90.0, "0+2");
        // Its start is known a reading later.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 2.0, 0.0).read(1, 6.0, 2.0, 4.5).check(30.0, "0+2");
        bench.read(1, 31.0, 3.0, 4.5).check(60.0, "0+3");
        Bench::new().read(1, 5.0, 2.0, 0.0).read(1, 6.0, 2.0, -4.5).check(30.0, "0+0");
        // Nor of one that began before anybody watched.
        Bench::new().restart(20.0).read(1, 25.0, 3.0, -5.0).check(60.0, "0+0");
    }

    #[test]
    fn what_is_gone_after_a_kill_went_down_with_it() {
        let killed = || {
            let mut bench = Bench::new();
            bench.read(1, 5.0, 0.0, -50.0).read(1, 10.0, 1.0, -50.0).check(15.0, "0+0");
            bench
        };
        // Not there at the next reading; and said again it has not died again.
        let mut bench = killed();
        bench.gone(1).check(15.1, "1+0");
        bench.gone(1).check(40.0, "1+0");
        // It is read on, and was a child's; that it goes later changes nothing.
        let mut bench = killed();
        bench.read(1, 15.0, 1.0, -50.0).check(20.1, "0+1");
        bench.gone(1).check(40.0, "0+1");
        // Gone without a kill is no kill.
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, -50.0);
        bench.gone(1).check(40.0, "0+0");
        // Two sources lose sight of one container: one death, and the other kill was a child's.
        let mut bench = killed();
        bench.read(2, 8.0, 3.0, -50.0).read(2, 11.0, 5.0, -50.0);
        bench.gone(1).gone(2).check(30.0, "1+1");
        // Started again six seconds later: the start is no second death.
        let mut bench = killed();
        bench.gone(1);
        bench
            .read(1, 20.0, 0.0, 16.0)
            .check(21.0, "1+0")
            .read(1, 25.0, 1.0, 16.0)
            .check(60.0, "1+1");
    }

    #[test]
    fn a_start_that_docker_corrects_is_no_end() {
        // The process's start, a second and a half early, until Docker tells of the container.
        let mut bench = Bench::new();
        bench.read(1, 11.0, 0.0, 9.0).oom(11.5);
        bench.is_watched = true;
        bench.read(1, 12.0, 1.0, 10.5).check(22.5, "0+1");
        // With nobody to tell of its end, a later start is one.
        Bench::new().read(1, 11.0, 0.0, 9.0).oom(11.5).read(1, 12.0, 1.0, 11.6).check(20.0, "1+0");
    }

    #[test]
    fn a_start_that_docker_corrects_is_no_run_of_its_own() {
        // If it was another run, the one kill that the kernel counts in it is new.
        for (is_another, before, want) in [(false, "0+3", "0+3"), (true, "1+2", "1+3")] {
            let mut bench = Bench::new();
            bench.is_watched = true;
            bench.read(OURS, 5.0, 2.0, 1.0).check(20.0, "0+2").end(44.0);
            bench.read(OURS, 45.5, 2.0, 45.0).oom(45.8).read(OURS, 46.0, 3.0, 45.0);
            if is_another {
                bench.die(46.1);
            }
            bench.read(OURS, 48.5, 3.0, 46.7).check(55.0, before);
            // We begin anew, and our counter with us.
            bench.restart(55.0).read(OURS, 57.0, 1.0, 46.7);
            bench.heard(58.0).check(75.0, want);
        }
    }

    #[test]
    fn a_container_made_anew_and_a_restart_of_ours_go_on_with_the_count() {
        let mut bench = Bench::new();
        bench.oom(10.0).die(10.1).read(1, 12.0, 0.0, 11.0).check(20.0, "1+0");
        bench.restart(20.0).check(21.0, "1+0");
        bench.id = id('b');
        bench.oom(30.0).check(40.0, "1+1").restart(40.0).oom(30.0).check(41.0, "1+1");
        // Kills while we were away: Docker tells them, or the counter does, or both.
        bench.read(1, 42.0, 1.0, 0.0).check(43.0, "1+1").restart(43.0);
        bench.read(1, 300.0, 3.0, 0.0).oom(100.0).oom(200.0).check(310.0, "1+3");
        // Made anew every other second, and killed each time: the flag is believed of later than it is told.
        let many = MOST_LIVES as u32 + 9;
        for nth in 0..many {
            let begun = 400.0 + 0.6 * f64::from(nth);
            bench.id = ContainerId::new(&format!("{nth:064}")).expect("64 digits");
            bench.read(1, begun + 0.1, 0.0, begun).oom(begun + 0.3).die(begun + 0.35);
            bench.flag(begun, begun + 0.35);
        }
        bench.check(600.0, &format!("{}+3", many + 1));
        assert_eq!(bench.ledger.names["web"].lives.len(), MOST_LIVES);
        assert_eq!(bench.ledger.name_of(&bench.id), Some("web"));
    }

    #[test]
    fn hours_of_kills_keep_a_bounded_memory_and_their_count() {
        let mut bench = Bench::new();
        for n in 1..=2000 {
            bench.oom(f64::from(n) * 20.0).die(f64::from(n) * 20.0 + 0.1);
            bench.check(f64::from(n) * 20.0 + 10.0, &format!("{n}+0"));
        }
        let life = &bench.ledger.lives[&id('a')];
        assert!(life.evidence.len() <= MOST_STATEMENTS && life.deaths.len() <= MOST_STATEMENTS);
        bench.oom(20.0).check(40_100.0, "2000+0");
    }

    #[test]
    fn days_of_ends_by_sigkill_without_a_kill_are_not_all_remembered() {
        let mut bench = Bench::new();
        for n in 1..=1000 {
            bench.die(f64::from(n) * 10.0).heard(f64::from(n) * 10.0);
        }
        assert!(bench.ledger.lives[&id('a')].deaths.len() <= MOST_STATEMENTS);
        bench.say(|ledger, who| ledger.gone(who.id)).heard(10_001.0);
        assert!(bench.ledger.lives.is_empty() && bench.ledger.names.is_empty());
        assert!(bench.rows.last().is_some_and(|row| row.value.is_none()), "nor in the journal");
    }

    #[test]
    fn a_counter_that_comes_later_counts_nothing_that_is_explained_for_good() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).oom(10.0).read(1, 15.0, 1.0, 1.0).check(60.0, "0+1");
        bench.oom(9000.0).read(1, 9005.0, 2.0, 1.0).check(9100.0, "0+2");
        bench.read(2, 9110.0, 2.0, 1.0).check(9200.0, "0+2");
        bench.oom(9300.0).read(2, 9310.0, 3.0, 1.0).check(9400.0, "0+3");
    }

    #[test]
    fn what_never_had_a_kill_leaves_nothing_behind() {
        let mut bench = Bench::new();
        bench.read(1, 5.0, 0.0, 1.0).read(1, 10.0, 0.0, 1.0).check(10.0, "0+0");
        assert_eq!(bench.rows, Vec::new());
        bench.say(|ledger, who| ledger.gone(who.id));
        assert_eq!(bench.ledger.iter().count(), 0);
        bench.oom(20.0).check(30.0, "0+1").say(|ledger, who| ledger.gone(who.id));
        assert_eq!(bench.ledger.counts("web").total(), 1);
    }

    #[test]
    fn rows_that_do_not_read_are_told() {
        let bad = Change { table: Table::Guards, key: "oom:x".into(), value: Some(b"{".to_vec()) };
        let other = Change { key: "episodes:x".into(), ..bad.clone() };
        assert_eq!(OomLedger::recover([&bad, &other], at(0.0)).1.len(), 1);
    }

    #[test]
    fn a_step_of_the_clock_makes_no_kill_twice() {
        let mut bench = Bench::new();
        bench.oom(10.0).die(10.1).check(20.0, "1+0");
        bench.ledger.rebase(3_600_000);
        bench.read(1, 3612.0, 0.0, 3611.0).flag(3601.0, 3610.1).check(3620.0, "1+0");
        bench.oom(3700.0).ledger.rebase(100_000);
        bench.oom(3800.3).check(3900.0, "1+1");
    }
}
