//! Rules that cannot fire because nothing they select exists.
//!
//! A rule whose metric was renamed, or whose exporter was never installed, evaluates without an
//! error for ever. What tells it apart from a rule that is merely content is that its selectors find
//! no series at all. Rules that answer without series (`absent`, `… or vector(0)`) are not meant, and
//! neither are rules over what other rules write: `ALERTS` or a record is empty on a good day.

use std::time::Duration;

/// This long without a series, and a rule is reported as never firing.
const NEVER_AFTER: Duration = Duration::from_secs(3600);

/// How long a rule has selected nothing, by the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Silence {
    since: Option<Duration>,
    told: bool,
}

impl Silence {
    /// Notes one evaluation that succeeded. True when this is the one at which the rule has to be
    /// reported: once, until series come and go again.
    pub fn note(&mut self, found_something: bool, monotonic: Duration) -> bool {
        if found_something {
            *self = Silence::default();
            return false;
        }
        let since = *self.since.get_or_insert(monotonic);
        let is_news = !self.told && monotonic.saturating_sub(since) >= NEVER_AFTER;
        self.told |= is_news;
        is_news
    }

    /// Whether the rule is reported as never firing.
    pub fn is_reported(&self) -> bool {
        self.told
    }
}
