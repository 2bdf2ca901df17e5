//! How far back a target was scraped well without a break.
//!
//! A rule over a range needs two samples in it. A target that is back after an outage as long as the range has one,
//! and what such a rule does not find then is not over: it could not be computed. So the absence of an alert is not
//! believed before the target was scraped well twice within the range.

use std::time::Duration;

use crate::base::Timestamp;

/// Samples in a range from which a slope or a rate is computed.
const LEAST_SAMPLES: u128 = 2;
/// A good scrape after more than this many intervals goes on after a break.
const GOES_ON_WITHIN_INTERVALS: u32 = 2;

/// Good scrapes, and the last break between two of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unbroken {
    last: Option<Timestamp>,
    /// The good scrape before the break, if there was one since our start, and the first after it.
    broken: Option<(Option<Timestamp>, Timestamp)>,
}

impl Unbroken {
    /// A scrape was good; `has_failed` if the one before was not.
    pub fn note(&mut self, slot: Timestamp, interval: Duration, has_failed: bool) {
        let is_late = |last: Timestamp| slot.since(last) > interval * GOES_ON_WITHIN_INTERVALS;
        if has_failed || self.last.is_some_and(is_late) {
            self.broken = Some((self.last, slot));
        }
        self.last = Some(slot);
    }

    /// Whether a range that ends now has too few good scrapes for a slope, because of a break.
    pub fn is_too_short(&self, now: Timestamp, range: Duration, interval: Duration) -> bool {
        let (Some((before, back)), Some(last)) = (self.broken, self.last) else { return false };
        if before.is_some_and(|before| before >= now) {
            return false;
        }
        let from = now - range;
        let interval_ms = interval.as_millis().max(1);
        let from_to = |from: Timestamp, to: Timestamp| 1 + to.since(from).as_millis() / interval_ms;
        // What was good before is counted as if it had always been: whatever is missing there was missed then.
        let earlier =
            before.filter(|before| *before > from).map_or(0, |before| from_to(from, before));
        // A group that looks from some time ago may look into the break itself.
        let later = if back > now { 0 } else { from_to(back, last.min(now)) };
        back > from && later + earlier < LEAST_SAMPLES
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = Timestamp(at.0.saturating_add(by_ms));
        self.last.iter_mut().for_each(shift);
        if let Some((before, back)) = &mut self.broken {
            before.iter_mut().for_each(shift);
            shift(back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_break_a_range_is_too_short_until_two_samples_are_in_it() {
        let interval = Duration::from_secs(5);
        let (at, range) = (|second: i64| Timestamp(second * 1000), Duration::from_secs(30));
        let mut scrapes = Unbroken::default();
        let mut good = |second, has_failed| {
            scrapes.note(at(second), interval, has_failed);
            let is_too_short = |range| scrapes.is_too_short(at(second), range, interval);
            (is_too_short(range), is_too_short(Duration::from_secs(600)))
        };
        // Since our start others know how far it looks back.
        assert_eq!([0, 5, 10].map(|second| good(second, false)), [(false, false); 3]);
        assert_eq!(good(20, true), (false, false), "a short one: there is enough of before");
        assert_eq!(good(25, false), (false, false));
        assert_eq!(good(95, true), (true, false), "the longer range has seen enough before");
        assert_eq!(good(100, false), (false, false));
        // Nobody said that it failed: it was not scraped.
        assert_eq!(good(170, false), (true, false));
        assert_eq!(good(175, false), (false, false));
        // Whoever looks from some time ago looks into the break, before it or after it.
        let of_one = |second| scrapes.is_too_short(at(second), Duration::ZERO, interval);
        assert_eq!([99, 101, 169, 171].map(of_one), [false, true, true, false]);
        // One that never was good before.
        let mut scrapes = Unbroken::default();
        scrapes.note(at(50), interval, true);
        assert!(scrapes.is_too_short(at(50), Duration::from_secs(600), interval));
        scrapes.rebase(-20_000);
        assert!(scrapes.is_too_short(at(30), range, interval));
    }
}
