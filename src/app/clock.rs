//! The one place that reads the clocks.
//!
//! Live, wall and monotonic time are the system's. In a demo both run faster by a factor, from the
//! same start, so that the real loop lives through minutes in seconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Now, Timestamp};

/// A pair of clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// For a fast clock: where its wall time began, and how many times faster it runs.
    fast: Option<(Timestamp, u32)>,
}

impl Clock {
    /// The system's clocks; monotonic time counts from now.
    pub fn system() -> Clock {
        Clock { started: instant(), fast: None }
    }

    /// Clocks that begin now and run `speed` times faster.
    pub fn fast(speed: u32) -> Clock {
        Clock { started: instant(), fast: Some((wall(), speed.max(1))) }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let monotonic = self.monotonic();
        match self.fast {
            None => Now { monotonic, wall: wall() },
            Some((began, _)) => Now { monotonic, wall: began + monotonic },
        }
    }

    /// The monotonic clock alone, for measuring.
    pub fn monotonic(&self) -> Duration {
        instant().duration_since(self.started) * self.speed()
    }

    /// Sleeps until the monotonic clock shows `until`.
    pub async fn sleep_until(&self, until: Duration) {
        let left = until.saturating_sub(self.monotonic());
        tokio::time::sleep(left / self.speed()).await;
    }

    fn speed(&self) -> u32 {
        self.fast.map_or(1, |(_, speed)| speed)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as 1970: nothing can be compared with it anyway.
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
