//! How long the samples of a metric name are kept.

use std::time::Duration;

use crate::base::HashMap;
use crate::regex::Pattern;

/// Retention per metric name: what the loaded rules can reach back to, or what `window.keep` asks.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// Per name, from the rules.
    pub by_name: HashMap<String, Duration>,
    /// Names kept for queries (`window.keep`), and for how long (`window.retention`).
    pub kept: Vec<Pattern>,
    /// How long a kept name is kept.
    pub kept_for: Duration,
    /// At least this, for every series.
    pub least: Duration,
    /// The newest sample of a series is kept this long: the lookback of an instant selector.
    pub newest: Duration,
}

impl Retention {
    /// How long samples of this name are kept: the longest of all that ask for it.
    pub fn of(&self, name: &str) -> Duration {
        let ruled = self.by_name.get(name).copied().unwrap_or_default();
        let kept = self.kept.iter().any(|pattern| pattern.is_match(name));
        ruled.max(self.least).max(if kept { self.kept_for } else { Duration::ZERO })
    }
}
