//! When to try again, as data.
//!
//! There is one sink and it is our own, so the longest pause is short: a Control Plane that comes
//! back must hear within half a minute. (The hours-long schedule of Standard Webhooks is meant for
//! strangers' endpoints.) Jitter comes from the delivery's id and the attempt, not from a random
//! generator: the same run again, yet no two deliveries in step.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::DeliveryId;

/// Pause after the first failure; doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause between tries, and between probes of a paused sink.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// A message refused this often is a dead letter, so that it no longer blocks its tenant.
pub(super) const REFUSALS_MAX: u32 = 3;
/// An attempt that has not been answered by then is lost with its task. The sender's own timeout is
/// shorter (15 s, or what the configuration says, which must be less than this), so this fires only
/// on a fault of ours.
pub const LEASE: Duration = Duration::from_secs(60);

/// The pause before the next try after `attempts` failed ones (at least 1): exponential, capped,
/// then between half and all of it.
pub(super) fn pause(id: &DeliveryId, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = (FIRST * (1 << doublings)).min(LONGEST);
    full / 2 + (full / 2).mul_f64(fraction(id, attempts))
}

/// How long a sink that sent `Retry-After` is left alone.
pub(super) fn quiet(after: Duration) -> Duration {
    after.min(RETRY_AFTER_MAX)
}

/// A number in [0, 1) that looks random but follows from its arguments.
fn fraction(id: &DeliveryId, attempts: u32) -> f64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(id.0.as_bytes());
    hasher.write(&attempts.to_le_bytes());
    // FNV's low bits are weak on short input; one multiplication carries them upwards.
    let mixed = (hasher.finish() ^ (hasher.finish() >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// FNV-1a: the standard library promises no stable hash, and jitter must replay.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let id = DeliveryId("evt_01JD8Q0Z3V9K6M2T4W7X5Y1ABC".to_owned());
        for (attempts, full) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (1000, 30)] {
            let full = Duration::from_secs(full);
            let pause = pause(&id, attempts);
            assert!(full / 2 <= pause && pause <= full, "{attempts}: {pause:?}");
        }
    }

    #[test]
    fn jitter_replays_and_spreads() {
        let pauses: Vec<Duration> =
            (0..100).map(|i| pause(&DeliveryId(format!("evt_{i}")), 6)).collect();
        let again: Vec<Duration> =
            (0..100).map(|i| pause(&DeliveryId(format!("evt_{i}")), 6)).collect();
        assert_eq!(pauses, again);
        let early = pauses.iter().filter(|pause| pause.as_secs_f64() < 22.5).count();
        assert!((25..75).contains(&early), "about half fall in the first half: {early}");
    }
}
