//! The samples of one series, oldest first, in one contiguous piece.
//!
//! Range functions want a slice, so this is a vector with a moving head rather than a ring: old
//! samples are cut off by advancing `head`, and the dead part is reclaimed when the vector would
//! otherwise grow. Each sample is moved at most once per time it is kept.

use crate::base::{Labels, STALE_NAN, Sample, Timestamp, is_stale};

/// One series of the window.
#[derive(Debug)]
pub(super) struct Series {
    pub labels: Labels,
    samples: Vec<Sample>,
    head: usize,
    pub keeps: Keeps,
}

/// How long samples are kept, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Keeps {
    /// Every sample.
    pub all_ms: i64,
    /// The newest one, and with it the series; no less than `all_ms`.
    pub newest_ms: i64,
}

/// What became of an appended sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// It is the newest sample now.
    Newest {
        /// Whether its value is below that of the last sample before it.
        fell: bool,
    },
    /// It has replaced the newest one, which had the same time.
    Replaced,
    /// It is the newest one repeated: same time, same value.
    Repeated,
    /// It is older than the newest one, and was dropped.
    TooOld,
}

/// Of a full vector this share at most may be dead without being reclaimed: what an append moves, on
/// average, is a few cache lines then.
const RECLAIM_SHARE: usize = 16;

impl Series {
    pub fn new(labels: Labels, keeps: Keeps) -> Series {
        Series { labels, samples: Vec::new(), head: 0, keeps }
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples[self.head..]
    }

    pub fn newest(&self) -> Option<Sample> {
        self.samples().last().copied()
    }

    pub fn append(&mut self, sample: Sample) -> Appended {
        if self.resumes(sample) {
            self.samples.pop();
        }
        if let Some(last) = self.samples[self.head..].last_mut() {
            if sample.at < last.at {
                return Appended::TooOld;
            }
            if sample.at == last.at {
                let same = sample.value.to_bits() == last.value.to_bits();
                last.value = sample.value;
                return if same { Appended::Repeated } else { Appended::Replaced };
            }
        }
        let mut values = self.samples().iter().rev().map(|before| before.value);
        let fell = values.find(|value| !is_stale(*value)).is_some_and(|last| sample.value < last);
        self.drop_until(Timestamp(sample.at.0 - self.keeps.all_ms));
        if self.samples.len() == self.samples.capacity() {
            self.make_room();
        }
        self.samples.push(sample);
        Appended::Newest { fell }
    }

    /// Whether a sample that a target stamps itself comes again after the series was ended: its
    /// scrape failed or it was away for a moment. Then it never ended, and the marker goes.
    fn resumes(&self, sample: Sample) -> bool {
        let [.., before, last] = self.samples() else { return false };
        is_stale(last.value) && before.at == sample.at && last.at.0 == sample.at.0 + 1
    }

    /// Ends the series one millisecond after its last sample. Nothing to do if it has ended.
    pub fn end(&mut self) -> bool {
        match self.newest() {
            Some(last) if !is_stale(last.value) => {
                let at = Timestamp(last.at.0 + 1);
                matches!(self.append(Sample { at, value: STALE_NAN }), Appended::Newest { .. })
            }
            _ => false,
        }
    }

    /// Forgets samples that need not be kept any more. Returns whether any are left.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let Some(newest) = self.newest() else { return false };
        let newest_ends = newest.at.0.saturating_add(self.keeps.newest_ms) <= now.0;
        let upto = if newest_ends { newest.at.0 } else { newest.at.0 - 1 };
        self.drop_until(Timestamp(upto.min(now.0.saturating_sub(self.keeps.all_ms))));
        !self.samples.is_empty()
    }

    /// Forgets samples at or before `upto`.
    fn drop_until(&mut self, upto: Timestamp) {
        // One by one: mostly it is one, and a search would touch memory all over the series.
        self.head += self.samples().iter().take_while(|sample| sample.at <= upto).count();
        if self.head == self.samples.len() {
            self.samples.clear();
            self.head = 0;
        }
    }

    /// Moves every sample in time by `by_ms`: the wall clock has stepped.
    pub fn shift(&mut self, by_ms: i64) {
        for sample in &mut self.samples {
            sample.at = Timestamp(sample.at.0 + by_ms);
        }
    }

    /// Bytes held on the heap, labels included.
    pub fn heap_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>() + self.labels.heap_bytes()
    }

    fn make_room(&mut self) {
        if self.head * RECLAIM_SHARE > self.samples.len() {
            self.samples.drain(..self.head);
            self.head = 0;
        } else {
            // By halves, not doubling, and no further than its pace will ever ask.
            let half = (self.samples.len() / 2).max(4);
            self.samples.reserve_exact(self.still_to_come().map_or(half, |more| more.min(half)));
        }
    }

    /// How many samples more there will be before the first can go, if they come at the pace of those
    /// that are there.
    fn still_to_come(&self) -> Option<usize> {
        let [first, .., last] = self.samples() else { return None };
        let (span_ms, live) = (last.at.0 - first.at.0, self.samples().len());
        let whole = i64::try_from(live).ok()?.checked_mul(self.keeps.all_ms)? / span_ms.max(1);
        let spare = live / RECLAIM_SHARE + 4;
        Some(usize::try_from(whole).ok()?.saturating_sub(live) + spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(ms: i64) -> Series {
        Series::new(Labels::empty(), Keeps { all_ms: ms, newest_ms: ms })
    }

    fn at(ms: i64, value: f64) -> Sample {
        Sample { at: Timestamp(ms), value }
    }

    #[test]
    fn appends_replaces_and_refuses() {
        let mut series = series(1000);
        assert_eq!(series.append(at(10, 1.0)), Appended::Newest { fell: false });
        assert_eq!(series.append(at(10, 1.0)), Appended::Repeated);
        assert_eq!(series.append(at(10, 2.0)), Appended::Replaced);
        assert_eq!(series.append(at(9, 3.0)), Appended::TooOld);
        assert_eq!(series.samples(), [at(10, 2.0)]);
    }

    #[test]
    fn keeps_its_retention_and_bounded_memory() {
        let mut series = series(60_000);
        for n in 0..10_000 {
            series.append(at(n * 5000, n as f64));
        }
        assert_eq!(series.samples().len(), 12, "left-open: the sample a minute back is out");
        assert!(series.samples.capacity() <= 16, "capacity {}", series.samples.capacity());
    }

    #[test]
    fn little_is_held_in_vain_at_any_pace() {
        for (retention_ms, interval_ms) in [(315_000, 5_000), (75_000, 5_000), (3_615_000, 15_000)]
        {
            let mut series = series(retention_ms);
            for n in 0..2_000 {
                series.append(at(n * interval_ms, n as f64));
            }
            let (live, held) = (series.samples().len(), series.samples.capacity());
            assert!(held <= live + live / 8 + 4, "{held} for {live}");
        }
    }

    #[test]
    fn the_newest_outlives_the_others() {
        let mut series = Series::new(Labels::empty(), Keeps { all_ms: 60, newest_ms: 300 });
        for ms in [0, 50, 100] {
            series.append(at(ms, 1.0));
        }
        assert_eq!(series.samples(), [at(50, 1.0), at(100, 1.0)]);
        assert!(series.expire(Timestamp(399)));
        assert_eq!(series.samples(), [at(100, 1.0)]);
        assert!(!series.expire(Timestamp(400)));
    }

    #[test]
    fn a_repeated_timestamp_takes_the_end_back() {
        let mut series = series(1000);
        series.append(at(10, 1.0));
        series.end();
        assert_eq!(series.append(at(10, 1.0)), Appended::Repeated);
        assert_eq!(series.samples(), [at(10, 1.0)], "the marker is gone");
        series.end();
        assert_eq!(series.append(at(9, 1.0)), Appended::TooOld);
        assert_eq!(series.append(at(20, 1.0)), Appended::Newest { fell: false });
        assert_eq!(series.samples().len(), 3, "a later sample leaves the gap as it was");
    }

    #[test]
    fn a_fall_is_seen_across_a_gap() {
        let mut series = series(1000);
        series.append(at(10, 5.0));
        assert_eq!(series.append(at(20, 4.0)), Appended::Newest { fell: true });
        series.end();
        assert_eq!(series.append(at(30, 3.0)), Appended::Newest { fell: true });
        series.end();
        assert_eq!(series.append(at(40, 3.0)), Appended::Newest { fell: false });
    }

    #[test]
    fn ends_once() {
        let mut series = series(1000);
        assert!(!series.end(), "an empty series has nothing to end");
        series.append(at(10, 1.0));
        assert!(series.end() && !series.end());
        let last = series.newest().expect("has samples");
        assert!(is_stale(last.value) && last.at == Timestamp(11));
    }
}
