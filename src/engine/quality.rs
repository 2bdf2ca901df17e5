//! How good what one target sends is: how old, how complete, how often repeated or begun anew.
//!
//! An alert is only as good as its inputs, so each scrape is measured while it is taken in, at no
//! cost beyond a few comparisons per sample. The figures are of the last [`SLOTS`] slots; they judge
//! nothing themselves. What makes an alert unknown is in [`super::watch`].

use std::collections::VecDeque;
use std::time::Duration;

use super::Engine;
use super::target::Taken;
use crate::base::{Labels, METRIC_NAME, Timestamp};

/// Slots that are remembered: a minute at the usual 5 s.
const SLOTS: usize = 12;
/// Samples that a target stamps itself are too old after this long …
const TOO_OLD: Duration = Duration::from_secs(120);
/// … or after this many of its intervals, whichever is longer.
const TOO_OLD_INTERVALS: u32 = 3;
/// What of fewer slots did not come is an accident.
const SPARSE_SLOTS_MIN: usize = 4;
/// What a series is called that only grows.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];

/// How good the input from one target is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quality {
    /// The time of its newest sample.
    pub newest: Option<Timestamp>,
    /// In its last good scrape, the time of the sample that lags most.
    pub lagging: Option<Timestamp>,
    /// Samples it should have brought in the last slots.
    pub expected: u64,
    /// Samples it brought that were news.
    pub present: u64,
    /// Samples that had the time of the one before: the target answered, but had not looked again.
    pub repeated: u64,
    /// Counters that began anew.
    pub resets: u64,
}

/// A figure as a series: its name, what it means, its value.
pub type Figure = (&'static str, &'static str, Option<f64>);

impl Quality {
    /// How old its newest sample is; `None` before the first.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.newest.map(|at| now.since(at))
    }

    /// How old the newest sample is of the series that lags most.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.lagging.map(|at| now.since(at))
    }

    /// The figures as series.
    pub fn figures(&self, now: Timestamp) -> [Figure; 6] {
        let seconds = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
        [
            (
                "plimsoll_input_quality_age_seconds",
                "Age of a target's newest sample.",
                seconds(self.age(now)),
            ),
            (
                "plimsoll_input_quality_lag_seconds",
                "Age of the newest sample of the series of a target that lags most.",
                seconds(self.lag(now)),
            ),
            (
                "plimsoll_input_quality_samples_expected",
                "Samples a target should have brought in its last 12 slots.",
                Some(self.expected as f64),
            ),
            (
                "plimsoll_input_quality_samples_present",
                "Samples it brought that were news.",
                Some(self.present as f64),
            ),
            (
                "plimsoll_input_quality_repeated_timestamps",
                "Samples of those slots that had the time of the one before.",
                Some(self.repeated as f64),
            ),
            (
                "plimsoll_input_quality_resets",
                "Counters that began anew in those slots.",
                Some(self.resets as f64),
            ),
        ]
    }
}

impl Engine {
    /// The figures of every target, for rules and queries.
    pub(super) fn quality_values(&self, now: Timestamp) -> Vec<(Labels, f64)> {
        let mut values = Vec::new();
        for target in self.targets.values() {
            let of = |label| target.info.labels.get(label).unwrap_or_default();
            let named = [("scrape_job", of("job")), ("scrape_instance", of("instance"))];
            for (name, _, value) in target.quality.quality().figures(now) {
                let Some(value) = value else { continue };
                let labels = Labels::from_pairs(named.into_iter().chain([(METRIC_NAME, name)]));
                values.push((self.enrich(&labels), value));
            }
        }
        values
    }
}

/// The age at which samples that a target of this interval stamps itself are too old.
pub(super) fn too_old(interval: Duration) -> Duration {
    TOO_OLD.max(interval * TOO_OLD_INTERVALS)
}

/// Whether a series of this name only grows, until it begins anew.
pub(super) fn is_counter(name: &str) -> bool {
    COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What one slot brought.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    expected: u64,
    present: u64,
    repeated: u64,
    resets: u64,
}

/// The last slots of one target.
#[derive(Debug, Default)]
pub(super) struct Meter {
    slots: VecDeque<Slot>,
    newest: Option<Timestamp>,
    lagging: Option<Timestamp>,
}

impl Meter {
    /// Slots that brought nothing of what was expected.
    pub fn miss(&mut self, slots: usize, expected: u64) {
        for _ in 0..slots.min(SLOTS) {
            self.push(Slot { expected, ..Slot::default() });
        }
    }

    /// A scrape of `expected` samples was taken in at its slot.
    pub fn take(&mut self, slot: Timestamp, expected: u64, taken: &Taken) {
        self.push(Slot {
            expected,
            present: taken.samples - taken.repeated,
            repeated: taken.repeated,
            resets: taken.resets,
        });
        // One old stamp among many samples of now says nothing of the target.
        let stamps_itself = 2 * taken.stamped >= expected.max(1);
        let stamps = taken.stamps.filter(|_| stamps_itself);
        self.newest = Some(stamps.map_or(slot, |(_, newest)| newest.min(slot)));
        self.lagging = Some(taken.stamps.map_or(slot, |(oldest, _)| oldest.min(slot)));
    }

    /// Whether the target answers and what it says is of long ago.
    pub fn is_stale(&self, slot: Timestamp, interval: Duration) -> bool {
        self.newest.is_some_and(|newest| slot.since(newest) > too_old(interval))
    }

    /// Whether less than half came of what was expected, of the slots of so long.
    pub fn is_sparse(&self, within: Duration, interval: Duration) -> bool {
        let slots = (within.as_secs_f64() / interval.as_secs_f64()).ceil() as usize;
        // With more slots than are remembered there is no saying.
        let slots = slots.max(SPARSE_SLOTS_MIN);
        let lately = || self.slots.iter().rev().take(slots);
        let expected: u64 = lately().map(|slot| slot.expected).sum();
        let came: u64 = lately().map(|slot| slot.present + slot.repeated).sum();
        self.slots.len() >= slots && 2 * came < expected
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: Timestamp| Timestamp(at.0 + by_ms);
        self.newest = self.newest.map(shift);
        self.lagging = self.lagging.map(shift);
    }

    pub fn quality(&self) -> Quality {
        let sum = |pick: fn(&Slot) -> u64| self.slots.iter().map(pick).sum();
        Quality {
            newest: self.newest,
            lagging: self.lagging,
            expected: sum(|slot| slot.expected),
            present: sum(|slot| slot.present),
            repeated: sum(|slot| slot.repeated),
            resets: sum(|slot| slot.resets),
        }
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.len() == SLOTS {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn figures_are_of_the_last_slots() {
        let mut meter = Meter::default();
        let good = Taken { samples: 10, repeated: 3, resets: 1, ..Taken::default() };
        for slot in 0..20 {
            meter.take(at(slot), 10, &good);
        }
        let twelve = Quality {
            newest: Some(at(19)),
            lagging: Some(at(19)),
            expected: 120,
            present: 84,
            repeated: 36,
            resets: 12,
        };
        assert_eq!(meter.quality(), twelve);
        meter.miss(2, 10);
        assert_eq!(meter.quality(), Quality { present: 70, repeated: 30, resets: 10, ..twelve });
        meter.miss(1_000_000, 10);
        assert_eq!(
            meter.quality(),
            Quality { present: 0, repeated: 0, resets: 0, ..twelve },
            "and the time of its newest sample stays"
        );
    }

    #[test]
    fn a_target_is_sparse_if_most_of_what_it_should_bring_does_not_come() {
        let (minute, interval) = (Duration::from_secs(60), Duration::from_secs(10));
        let brings = |counts: &[u64]| {
            let mut meter = Meter::default();
            for (slot, samples) in (0..).zip(counts) {
                match samples {
                    0 => meter.miss(1, 10),
                    _ => meter.take(at(slot), 10, &Taken { samples: *samples, ..Taken::default() }),
                }
            }
            meter
        };
        for (counts, want) in [
            (&[10, 0, 0, 10, 0, 0][..], true),
            (&[10, 0, 10, 0, 10, 0][..], false),
            (&[4, 4, 4, 4, 4, 4][..], true),
            (&[0, 0, 0, 10, 10, 10, 0, 10, 10, 10][..], false),
            (&[0, 0, 0][..], false),
        ] {
            assert_eq!(brings(counts).is_sparse(minute, interval), want, "{counts:?}");
        }
        let second = Duration::from_secs(1);
        assert!(!brings(&[0; SLOTS]).is_sparse(minute, second), "twelve seconds are no minute");
        let seldom = Duration::from_secs(300);
        assert!(brings(&[10, 10, 10, 0, 0, 0]).is_sparse(minute, seldom), "four slots at least");
        assert!(!brings(&[0, 0, 0, 10, 10, 10]).is_sparse(minute, seldom));
    }

    #[test]
    fn a_target_is_stale_if_what_it_stamps_is_old() {
        let interval = Duration::from_secs(5);
        // How many of ten samples it stamps itself, how old the newest stamp is.
        for (stamped, age, want) in
            [(0, 0, false), (9, 120, false), (9, 121, true), (5, 121, true), (4, 500, false)]
        {
            let mut meter = Meter::default();
            let stamps = (stamped > 0).then_some((at(0), at(1000 - age)));
            let taken = Taken { samples: 10, stamped, stamps, ..Taken::default() };
            meter.take(at(1000), 10, &taken);
            assert_eq!(meter.is_stale(at(1000), interval), want, "{stamped} {age}");
        }
        let mut meter = Meter::default();
        assert!(!meter.is_stale(at(1000), interval), "never seen is not stale");
        meter.take(at(0), 1, &Taken { samples: 1, ..Taken::default() });
        assert!(!meter.is_stale(at(150), Duration::from_secs(50)), "three intervals, if longer");
        assert!(meter.is_stale(at(151), Duration::from_secs(50)));
    }
}
