//! One alert: what it says, where it is in its life, and what it lived through.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Labels, Timestamp};

/// Where an alert is in Prometheus's life cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Its condition holds, but not yet for as long as `for` asks.
    Pending,
    /// Its condition has held long enough (or is kept firing).
    Firing,
    /// It has ended; kept a while so that everyone hears of it.
    Resolved,
}

/// Why an alert's absence from the result cannot be believed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "doubt")]
pub enum Doubt {
    /// A target that fed it failed its last scrape.
    TargetFailed {
        /// Its `job` and `instance`.
        target: String,
    },
    /// A target that fed it has not been scraped for two intervals.
    TargetLate {
        /// Its `job` and `instance`.
        target: String,
    },
    /// A target that feeds the rule has not answered since the start.
    NotAnsweredYet {
        /// Its `job` and `instance`.
        target: String,
    },
    /// The rule's ranges reach back to before the window's first sample.
    RangeNotCovered,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::TargetFailed { target } => write!(f, "target {target} failed its last scrape"),
            Doubt::TargetLate { target } => {
                write!(f, "target {target} was not scraped for two intervals")
            }
            Doubt::NotAnsweredYet { target } => {
                write!(f, "target {target} has not answered since the start")
            }
            Doubt::RangeNotCovered => f.write_str("the rule looks back to before the start"),
        }
    }
}

/// Why an alert ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveReason {
    /// Its condition no longer holds.
    ConditionCleared,
    /// It was unknown for `unknown_timeout`.
    UnknownTimeout,
    /// Its rule was removed or changed by a reload.
    RuleGone,
}

/// One alert of one rule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// The full label set, with `alertname` and the rule's labels; its identity.
    pub labels: Labels,
    /// Rendered annotations of the last evaluation that saw it.
    pub annotations: Labels,
    /// The value of the last evaluation that saw it.
    #[serde(with = "value_text")]
    pub value: f64,
    /// Where it is in its life.
    pub state: AlertState,
    /// The slot at which its condition was first seen; moves while `for` is paused.
    pub active_at: Timestamp,
    /// The slot at which it began to fire.
    pub fired_at: Option<Timestamp>,
    /// Since when only `keep_firing_for` keeps it firing.
    pub keep_firing_since: Option<Timestamp>,
    /// The slot at which it ended, and why.
    pub resolved: Option<(Timestamp, ResolveReason)>,
    /// Since when its inputs are missing, and what is missing.
    pub unknown: Option<(Timestamp, Doubt)>,
    /// Whether `alert.unknown` was said in this spell of being unknown.
    pub unknown_told: bool,
    /// When an Alertmanager first accepted this incident.
    pub accepted_at: Option<Timestamp>,
    /// The incident before, of the same labels, while this one is pending: it has ended, and who is
    /// still owed its end (or its late presentation) gets it unless this one fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<Alert>>,
    /// Whether it was read from the journal and has not been seen since.
    #[serde(skip)]
    pub restored: bool,
    /// Whether what its rule asks for has been decided for good in this incident.
    #[serde(skip)]
    pub judged: bool,
    /// The revision of its last edge: grows over all incidents of a label set, so that a late
    /// retry cannot overwrite a newer state at the receiver.
    pub revision: u64,
}

impl Alert {
    /// An alert whose condition is first seen at `at`: pending, without annotations, told nobody.
    pub fn pending(labels: Labels, value: f64, at: Timestamp) -> Alert {
        Alert {
            labels,
            annotations: Labels::empty(),
            value,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            keep_firing_since: None,
            resolved: None,
            unknown: None,
            unknown_told: false,
            accepted_at: None,
            previous: None,
            restored: false,
            judged: false,
            revision: 0,
        }
    }

    /// Pending or firing.
    pub fn is_active(&self) -> bool {
        self.state != AlertState::Resolved
    }

    /// The alert's name.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or("")
    }

    /// What Alertmanager may hear of: the alert itself once it has fired; before that, the incident
    /// that ended before it.
    pub fn presentable(&self) -> Option<&Alert> {
        match self.state {
            AlertState::Pending => self.previous.as_deref(),
            AlertState::Firing | AlertState::Resolved => Some(self),
        }
    }

    /// When it began to fire; for a pending alert, when it became active.
    pub fn starts_at(&self) -> Timestamp {
        self.fired_at.unwrap_or(self.active_at)
    }

    /// Moves what is counted in wall time: the wall clock has stepped. What was published (when it
    /// fired, when it ended) stays as it was.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: Timestamp| Timestamp(at.0 + by_ms);
        self.active_at = shift(self.active_at);
        self.keep_firing_since = self.keep_firing_since.map(shift);
        if let Some((since, _)) = &mut self.unknown {
            *since = shift(*since);
        }
    }

    /// The next revision: one more, and never behind the wall clock, so that it keeps growing
    /// even when the row of an earlier incident is gone.
    pub fn next_revision(&mut self, wall: Timestamp) -> u64 {
        self.revision = (self.revision + 1).max(u64::try_from(wall.0).unwrap_or(0));
        self.revision
    }
}

/// JSON has no NaN and no infinities, and a rule may well yield them.
mod value_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::base::{format_value, parse_value};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_value(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_value(&text).ok_or_else(|| de::Error::custom("not a sample value"))
    }
}
