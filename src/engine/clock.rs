//! The engine's sense of time: a wall clock that may step, beside one that never does.
//!
//! Slots lie on the wall clock, waits on the monotonic one. When the wall clock steps by more than
//! an interval, everything counted in wall time is moved along, so that a step neither ages every
//! sample at once nor freezes a `for`. Smaller differences are slewing and are followed silently.

use std::time::Duration;

use super::{Engine, durable};
use crate::base::{Now, Timestamp};

/// Watches the two clocks against each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// On the monotonic clock.
    begun: Duration,
    last: Now,
    tolerance: Duration,
}

impl Clock {
    pub fn new(now: Now, tolerance: Duration) -> Clock {
        Clock { begun: now.monotonic, last: now, tolerance }
    }

    /// How long we have been running.
    pub fn age(&self, now: Now) -> Duration {
        now.monotonic.saturating_sub(self.begun)
    }

    /// Takes a reading. Returns by how many milliseconds the wall clock has stepped, if it has.
    pub fn observe(&mut self, now: Now) -> Option<i64> {
        let elapsed = now.monotonic.saturating_sub(self.last.monotonic);
        let skew_ms = now.wall.0 - (self.last.wall + elapsed).0;
        self.last = now;
        (skew_ms.unsigned_abs() > self.tolerance.as_millis() as u64).then_some(skew_ms)
    }

    /// What the wall clock showed last.
    pub fn wall(&self) -> Timestamp {
        self.last.wall
    }

    /// Whether a time that has been is yet to come: the clock was set back since.
    pub fn is_to_come(&self, past: Timestamp) -> bool {
        past.since(self.last.wall) > self.tolerance
    }

    /// When, on the monotonic clock, the wall clock will show `wall`; now, if it is past.
    pub fn when(&self, wall: Timestamp) -> Duration {
        self.last.monotonic + wall.since(self.last.wall)
    }
}

impl Engine {
    /// Revisions grow with the wall clock, so that they do even over a row that is forgotten. While
    /// the clock is behind what it once showed, each new one is above all before it instead.
    pub(super) fn keep_revisions_rising(&mut self, now: Now, by_ms: i64) {
        if by_ms < 0 {
            let before = u64::try_from(now.wall.as_millis() - by_ms).ok();
            self.revisions_upto = self.revisions_upto.max(before);
            self.changes.push(durable::note_revisions(self.revisions_upto));
        }
    }

    /// Writes down what has moved with the wall clock, alerts and the note of the newest evaluation. It
    /// belongs to one batch with the rest: a start takes a clock that is behind that note for one that
    /// was set back meanwhile, and would move once more what has moved already.
    pub(super) fn write_moved(&mut self, by_ms: i64) {
        let Some(noted) = &mut self.noted_evaluation else { return };
        noted.0 = noted.0.saturating_add(by_ms);
        self.changes.push(durable::note(*noted));
        self.changes.extend(self.revisions_upto.map(|upto| durable::note_revisions(Some(upto))));
        let rules = self.groups.iter().flat_map(|g| g.group.rules.iter().zip(&g.rules));
        let book = rules.map(|(rule, state)| (&rule.id, &state.alerts)).chain(&self.orphans);
        let rows = book.flat_map(|(id, alerts)| alerts.values().map(|a| durable::put(id, a)));
        self.changes.extend(rows);
    }

    /// Takes note of a revision that is given out.
    pub(super) fn note_revision(&mut self, now: Now, revision: u64) {
        let Some(upto) = self.revisions_upto else { return };
        let is_behind = u64::try_from(now.wall.as_millis()).is_ok_and(|wall| wall <= upto);
        self.revisions_upto = is_behind.then_some(upto.max(revision));
        self.changes.push(durable::note_revisions(self.revisions_upto));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(monotonic_s: u64, wall_s: i64) -> Now {
        Now { monotonic: Duration::from_secs(monotonic_s), wall: Timestamp(wall_s * 1000) }
    }

    #[test]
    fn steps_are_seen_and_slewing_is_followed() {
        let mut clock = Clock::new(now(0, 1000), Duration::from_secs(5));
        assert_eq!(clock.observe(now(10, 1010)), None);
        assert_eq!(clock.observe(now(20, 1024)), None, "4 s of slewing");
        assert_eq!(clock.observe(now(30, 1034)), None, "are not counted twice");
        assert_eq!(clock.observe(now(40, 4644)), Some(3_600_000), "an hour ahead");
        assert_eq!(clock.observe(now(50, 1054)), Some(-3_600_000), "and back");
        assert_eq!(clock.when(Timestamp(1_060_000)), Duration::from_secs(56));
        assert_eq!(clock.when(Timestamp(0)), Duration::from_secs(50), "the past is now");
    }
}
