//! What a reading of a counter says of kills, given the reading before.
//!
//! A counter's first value is where it begins, unless the container began after the watch did; a rise is that
//! many kills since the reading before. A fall alone is a reader that started again (cAdvisor reads old kernel
//! messages anew, and fewer each time): no kill. With another start of the container it is a new cgroup, and
//! all its kills are new.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// The clocks of Docker's reports and of scrapes are one host's; rounding and order is all that
/// can differ.
pub(super) const SKEW: Duration = Duration::from_secs(1);
/// A process starts so long before Docker says that its container runs: 1.7 s on a busy host (measured).
pub(super) const SAID_LATE: Duration = Duration::from_secs(3);
/// Kills one reading may tell of: a counter that jumps by more is broken.
const MOST_KILLS: f64 = 10_000.0;

/// What a counter showed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// Which counter: the target it comes from.
    pub source: u64,
    /// When it was read.
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
    /// When the container had been started, if the same source says so.
    pub started_at: Option<Timestamp>,
    /// Whether Docker knows the container, and so tells of each end itself, or will when it is back.
    pub is_watched: bool,
    /// When the next reading is due.
    pub interval: Duration,
    /// It is our own collector's: it goes on over the runs of a container, as cAdvisor's does, and begins with
    /// what the kernel counts when we do.
    pub is_ours: bool,
}

/// The last reading of a counter.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Last {
    pub at: Timestamp,
    pub value: f64,
    pub started_at: Option<Timestamp>,
    /// So many kills it showed at first, of which nobody could say whether they are new: its start was not
    /// known yet.
    #[serde(default)]
    pub unknown: f64,
    /// So much of it is of runs before this one.
    #[serde(default)]
    pub carried: f64,
    /// It is of a run whose start is not told yet.
    #[serde(default)]
    pub awaits_start: bool,
    /// Nothing ran any more in what our own collector read.
    #[serde(default)]
    pub is_empty: bool,
    /// It was read since our start.
    #[serde(skip)]
    pub is_read: bool,
}

/// Where a counter stood when, as far as this run goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Base {
    /// It has begun since it was read last.
    Anew((Timestamp, f64)),
    /// It was read before.
    Before((Timestamp, f64)),
}

/// What a reading tells.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Told {
    /// So many kills, …
    pub kills: u32,
    /// … since then.
    pub from: Timestamp,
    /// From where it counts.
    pub base: Base,
    /// So many more may be new, once the start is known.
    pub unknown: f64,
    /// So much of the value is of runs before this one, …
    pub carried: f64,
    /// … whose start is not told yet.
    pub awaits_start: bool,
    /// It shows something else than before.
    pub is_news: bool,
    /// The container was started again since it was read before.
    pub is_later: bool,
}

impl Told {
    /// What this reading tells after the `last` one of that counter and with these ends of runs; nothing if it
    /// is none, or an old one. What a container did that began after `watched_from` is new.
    pub fn by(
        reading: &Reading,
        last: Option<Last>,
        ends: &[Timestamp],
        watched_from: Timestamp,
    ) -> Option<Told> {
        let Reading { at, value, started_at, .. } = *reading;
        if !(0.0..=f64::MAX).contains(&value) {
            return None;
        }
        // A run that has ended by now began nothing that is read now, and its kills are in no counter of it.
        let has_ended = |start: Timestamp| ends.iter().any(|end| *end > start && *end < at);
        let as_begun = |began: Option<Timestamp>, with: f64| {
            let began = began.filter(|start| !has_ended(*start));
            Base::Anew(began.map_or((at, value), |start| (start, with)))
        };
        let Some(last) = last else {
            let began = started_at.filter(|start| *start > watched_from);
            let (from, kills) = began.map_or((at, 0.0), |start| (start, value));
            let base = as_begun(began, 0.0);
            let unknown = if started_at.is_none() { value } else { 0.0 };
            let (is_news, is_later, kills) = (true, false, most(kills));
            let (carried, awaits_start) = (0.0, false);
            return Some(Told {
                kills,
                from,
                base,
                unknown,
                carried,
                awaits_start,
                is_news,
                is_later,
            });
        };
        if at <= last.at {
            return None;
        }
        let is_later = reading.is_later(last.started_at, ends);
        // Of a run whose start is told only now it is the same.
        let is_another = last.has_ended(ends) || (is_later && !last.awaits_start);
        let last = last.as_goes_on(reading, is_another);
        let (from, kills) = if value >= last.value {
            (last.at, value - last.value)
        } else if is_later {
            (started_at.map_or(last.at, |start| start.max(last.at)), value)
        } else {
            (last.at, 0.0)
        };
        // A run's counter begins with none, a reader's anywhere, our own with what it has carried.
        let began = started_at.filter(|start| *start > last.at);
        let base = if value < last.value || is_later || last.has_ended(ends) {
            as_begun(began, if reading.is_ours { last.value } else { 0.0 })
        } else {
            Base::Before((last.at, last.value))
        };
        let is_news = (last.value, last.started_at) != (value, started_at);
        // The start is known by now, of the same run: all of it is new, if it began in our time.
        let began = started_at.filter(|start| *start > watched_from && *start <= last.at);
        let (from, kills, base) = match began.filter(|_| last.unknown > 0.0 && !is_later) {
            Some(start) => (start, kills + last.unknown, as_begun(began, 0.0)),
            None => (from, kills, base),
        };
        let is_open = started_at.is_none() && value >= last.value;
        let unknown = if is_open { last.unknown } else { 0.0 };
        // An end may be told so late that the reading before was of this run already.
        let is_first_told = is_later && !last.awaits_start;
        let begins = last.has_ended(ends) || is_first_told;
        let carried = if begins { last.value } else { last.carried };
        let awaits_start = !is_later && (begins || last.awaits_start);
        let kills = most(kills);
        Some(Told { kills, from, base, unknown, carried, awaits_start, is_news, is_later })
    }
}

impl Last {
    /// What it showed at first was before our restart.
    pub fn known(self) -> Last {
        Last { unknown: 0.0, ..self }
    }

    /// What it would have shown, had it begun with us as this reading's did: of another run nothing yet.
    fn as_goes_on(self, reading: &Reading, is_another_run: bool) -> Last {
        if self.is_read || !reading.is_ours {
            return self;
        }
        let of_run = if is_another_run { 0.0 } else { (self.value - self.carried).max(0.0) };
        Last { value: of_run, carried: 0.0, ..self }
    }

    /// Whether the run that was read has ended since: what happened in between was not read.
    fn has_ended(&self, ends: &[Timestamp]) -> bool {
        let is_its = |end: &Timestamp| self.started_at.is_none_or(|start| *end >= start);
        ends.iter().filter(|end| is_its(end)).any(|end| *end >= self.at - SKEW)
    }
}

fn most(kills: f64) -> u32 {
    kills.min(MOST_KILLS) as u32
}

impl Reading {
    /// Whether the container was started again since a reading that showed `before`; a second is rounding. Until
    /// Docker has told of a run its start is the process's: where Docker tells of each end, and of none in
    /// between, it is one run.
    fn is_later(&self, before: Option<Timestamp>, ends: &[Timestamp]) -> bool {
        let Some((now, before)) = self.started_at.zip(before) else { return false };
        let has_ended = || ends.iter().any(|end| (before..=now + SKEW).contains(end));
        let by = now.since(before);
        by > SKEW && (by > SAID_LATE || !self.is_watched || has_ended())
    }
}
