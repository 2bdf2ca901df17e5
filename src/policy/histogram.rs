//! A histogram that forgets: what a service used, for weeks, in a few hundred bytes.
//!
//! The method is that of Kubernetes' Vertical Pod Autoscaler (`decaying_histogram.go`): buckets grow
//! by 5 %, and a sample weighs half as much for each half-life of its age. Instead of shrinking old
//! weights, new ones are made heavier, relative to a reference time that moves along now and then.
//! It never reads a clock; times are passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Each bucket is this much wider than the one before (VPA's default).
const GROWTH: f64 = 1.05;
/// The reference moves when weights have grown by 2 to this many half-lives, far from overflow.
const HALF_LIVES_MAX: f64 = 50.0;
/// Buckets that weigh less than this, where a new sample weighs 1, are dropped.
const EPSILON: f64 = 1e-6;

/// Weights by bucket. Bucket 0 holds everything below `first`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bound of bucket 0.
    first: f64,
    /// Milliseconds.
    half_life_ms: i64,
    /// Weights count as of this time.
    reference: Timestamp,
    buckets: BTreeMap<u16, f64>,
    total: f64,
}

impl Histogram {
    /// An empty one: resolution starts at `first`, a weight halves in `half_life`.
    pub fn new(first: f64, half_life: Duration) -> Histogram {
        Histogram {
            first,
            half_life_ms: millis(half_life),
            reference: Timestamp(0),
            buckets: BTreeMap::new(),
            total: 0.0,
        }
    }

    /// Takes in a value seen at a time, with a weight. What is no number is no sample.
    pub fn add(&mut self, value: f64, weight: f64, at: Timestamp) {
        if !(value.is_finite() && value >= 0.0 && weight > 0.0) {
            return;
        }
        if self.buckets.is_empty() || self.half_lives(at) > HALF_LIVES_MAX {
            self.move_reference(at);
        }
        let weight = weight * self.half_lives(at).exp2();
        *self.buckets.entry(self.bucket(value)).or_default() += weight;
        self.total += weight;
    }

    /// The value below which this share of the weight lies: the upper bound of its bucket.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut sum = 0.0;
        for (bucket, weight) in &self.buckets {
            sum += weight;
            if sum >= share * self.total {
                return Some(self.upper_bound(*bucket));
            }
        }
        self.buckets.keys().next_back().map(|bucket| self.upper_bound(*bucket))
    }

    /// The share of the weight in buckets wholly above a value.
    pub fn share_above(&self, value: f64) -> Option<f64> {
        if self.buckets.is_empty() {
            return None;
        }
        let above = self.buckets.range(self.bucket(value) + 1..).map(|(_, weight)| weight);
        Some(above.sum::<f64>() / self.total)
    }

    /// What is added from then on halves in so long, and what there is from then on, too.
    pub fn set_half_life(&mut self, half_life: Duration, at: Timestamp) {
        self.move_reference(at);
        self.half_life_ms = millis(half_life);
    }

    /// In which a weight halves.
    pub fn half_life(&self) -> Duration {
        Duration::from_millis(self.half_life_ms.unsigned_abs())
    }

    /// How much all of it weighs then, where a sample of that moment weighs 1.
    pub fn weight(&self, at: Timestamp) -> f64 {
        self.total * (-self.half_lives(at)).exp2()
    }

    /// Moves its time when the wall clock steps: what was seen is no older for it.
    pub fn rebase(&mut self, by_ms: i64) {
        self.reference.0 = self.reference.0.saturating_add(by_ms);
    }

    fn half_lives(&self, at: Timestamp) -> f64 {
        (at.as_millis() - self.reference.as_millis()) as f64 / self.half_life_ms as f64
    }

    fn move_reference(&mut self, to: Timestamp) {
        let factor = (-self.half_lives(to)).exp2();
        self.buckets.values_mut().for_each(|weight| *weight *= factor);
        self.buckets.retain(|_, weight| *weight > EPSILON);
        self.total = self.buckets.values().sum();
        self.reference = to;
    }

    fn bucket(&self, value: f64) -> u16 {
        if value < self.first {
            return 0;
        }
        // Values lie in [first·g^(n-1), first·g^n); 65,535 buckets reach beyond any f64.
        ((value / self.first).ln() / GROWTH.ln()) as u16 + 1
    }

    fn upper_bound(&self, bucket: u16) -> f64 {
        self.first * GROWTH.powi(i32::from(bucket))
    }
}

fn millis(half_life: Duration) -> i64 {
    i64::try_from(half_life.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn histogram() -> Histogram {
        Histogram::new(10.0, Duration::from_secs(86_400))
    }

    #[test]
    fn quantiles_are_right_within_a_bucket() {
        let mut all = histogram();
        assert_eq!((all.quantile(0.5), all.share_above(1.0)), (None, None));
        for value in 1..=1000 {
            all.add(f64::from(value), 1.0, Timestamp(0));
        }
        for share in [0.1, 0.5, 0.95, 1.0] {
            let got = all.quantile(share).expect("has samples");
            let want = share * 1000.0;
            assert!(got >= want && got <= want * GROWTH * 1.001, "{share}: {got}");
        }
        let above = all.share_above(900.0).expect("has samples");
        assert!((0.05..=0.1).contains(&above), "{above}");
        assert_eq!(all.share_above(2000.0), Some(0.0));
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let before = all.clone();
            all.add(bad, 1.0, Timestamp(0));
            assert_eq!(all, before);
        }
    }

    #[test]
    fn old_samples_fade() {
        let mut all = histogram();
        all.add(100.0, 1.0, Timestamp(0));
        all.add(1000.0, 1.0, Timestamp(DAY));
        let above = all.share_above(500.0).expect("has samples");
        assert!((above - 2.0 / 3.0).abs() < 1e-9, "{above}");
        all.add(100.0, 1.0, Timestamp(400 * DAY));
        assert_eq!(all.share_above(500.0), Some(0.0), "after a year nothing of it is left");
        assert_eq!(all.buckets.len(), 1, "and it takes no room");
    }

    #[test]
    fn another_half_life_counts_from_then_on() {
        let mut all = histogram();
        all.add(100.0, 1.0, Timestamp(0));
        all.set_half_life(Duration::from_secs(7 * 86_400), Timestamp(DAY));
        assert!((all.weight(Timestamp(DAY)) - 0.5).abs() < 1e-9);
        assert!((all.weight(Timestamp(8 * DAY)) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn a_sample_from_the_past_weighs_what_it_would_have() {
        let mut late = histogram();
        late.add(1000.0, 1.0, Timestamp(DAY));
        late.add(100.0, 1.0, Timestamp(0));
        let above = late.share_above(500.0).expect("has samples");
        assert!((above - 2.0 / 3.0).abs() < 1e-9, "{above}");
    }

    #[test]
    fn a_step_of_the_clock_makes_nothing_older() {
        let years = 400 * DAY;
        for step in [years, -years] {
            let mut all = histogram();
            all.add(1000.0, 1.0, Timestamp(0));
            all.rebase(step);
            all.add(100.0, 1.0, Timestamp(DAY + step));
            let above = all.share_above(500.0).expect("has samples");
            assert!((above - 1.0 / 3.0).abs() < 1e-9, "{step}: {above}");
        }
    }

    #[test]
    fn it_survives_the_journal() {
        let mut all = histogram();
        (0..5000).for_each(|n| all.add(f64::from(n).powi(3), 1.0, Timestamp(n.into())));
        let bytes = serde_json::to_vec(&all).expect("numbers write");
        assert_eq!(serde_json::from_slice::<Histogram>(&bytes).expect("reads"), all);
    }
}
