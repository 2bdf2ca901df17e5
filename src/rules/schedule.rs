//! When a group is due: an exact grid of slots in wall time.
//!
//! `for` and keep_firing_for count slots, so a late or skipped evaluation must not shift the grid.
//! Everything is arithmetic on milliseconds; nothing here reads a clock.

use std::time::Duration;

use crate::base::Timestamp;

/// The slots `phase + k × interval`, for every integer `k`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    /// Milliseconds, at least 1.
    interval: i64,
    /// Milliseconds, from 0 up to the interval.
    phase: i64,
}

impl Grid {
    /// A grid; below a millisecond is cut off, and an interval of nothing is one millisecond.
    pub fn new(interval: Duration, phase: Duration) -> Grid {
        let interval = millis(interval).max(1);
        Grid { interval, phase: millis(phase) % interval }
    }

    /// The newest slot that is not after `now`.
    pub fn slot_at_or_before(self, now: Timestamp) -> Timestamp {
        let since = now.0.saturating_sub(self.phase);
        Timestamp(now.0.saturating_sub(since.rem_euclid(self.interval)))
    }

    /// The first slot after `now`.
    pub fn next_slot(self, now: Timestamp) -> Timestamp {
        Timestamp(self.slot_at_or_before(now).0.saturating_add(self.interval))
    }

    /// How many slots lie strictly between two slots: the iterations a group has missed. None when
    /// time went back.
    pub fn missed(self, last: Timestamp, slot: Timestamp) -> u64 {
        let steps = slot.0.saturating_sub(last.0) / self.interval;
        u64::try_from(steps.saturating_sub(1)).unwrap_or(0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(interval: u64, phase: u64) -> Grid {
        Grid::new(Duration::from_millis(interval), Duration::from_millis(phase))
    }

    #[test]
    fn slots_stand_on_the_grid() {
        // interval, phase, now, slot at or before, next slot
        let cases = [
            (5000, 0, 12_345, 10_000, 15_000),
            (5000, 0, 10_000, 10_000, 15_000),
            (5000, 1200, 11_200, 11_200, 16_200),
            (5000, 1200, 11_199, 6200, 11_200),
            (5000, 6200, 11_199, 6200, 11_200),
            (5000, 0, -1, -5000, 0),
            (0, 0, 7, 7, 8),
        ];
        for (interval, phase, now, before, next) in cases {
            let grid = grid(interval, phase);
            assert_eq!(grid.slot_at_or_before(Timestamp(now)).0, before, "{grid:?} {now}");
            assert_eq!(grid.next_slot(Timestamp(now)).0, next, "{grid:?} {now}");
        }
    }

    #[test]
    fn missed_slots_are_counted() {
        let cases = [(0, 5000, 0), (0, 20_000, 3), (5000, 5000, 0), (20_000, 0, 0)];
        for (last, slot, want) in cases {
            assert_eq!(grid(5000, 0).missed(Timestamp(last), Timestamp(slot)), want);
        }
    }

    proptest! {
        #[test]
        fn a_slot_is_near_on_the_grid_and_never_skipped(
            interval in 1_u64..10_000_000, phase in 0_u64..10_000_000, now in any::<i32>()
        ) {
            let grid = grid(interval, phase);
            let now = Timestamp(i64::from(now) * 1000);
            let (slot, next) = (grid.slot_at_or_before(now), grid.next_slot(now));
            prop_assert!(slot <= now && now < next);
            prop_assert_eq!(next.0 - slot.0, interval as i64);
            prop_assert_eq!((slot.0 - phase as i64).rem_euclid(interval as i64), 0);
            prop_assert_eq!(grid.slot_at_or_before(slot), slot);
            prop_assert_eq!(grid.missed(slot, next), 0);
        }
    }
}
