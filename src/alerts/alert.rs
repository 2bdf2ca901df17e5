//! One alert: what it says, where it is in its life, and what it lived through.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::base::{Labels, Timestamp};

/// Resolved alerts are kept, and re-sent, this long (`rules/alerting.go` `resolvedRetention`).
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);
/// An incident nobody accepted is presented late up to this age, then forgotten.
const MISSED_RETENTION: Duration = Duration::from_secs(60 * 60);

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
    /// A target that feeds the rule has not answered since the start, or since a reload that asks it for
    /// more.
    NotAnsweredYet {
        /// Its `job` and `instance`.
        target: String,
    },
    /// A target that fed it answers, but with samples of long ago.
    SamplesOld {
        /// Its `job` and `instance`.
        target: String,
        /// The series that is so old, by its metric and whose it is; `None` if all are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        series: Option<String>,
    },
    /// A target that feeds the rule answers, but could not read a series that might have fed it: a file
    /// of a container's cgroup is unreadable.
    SamplesMissed {
        /// Its `job` and `instance`.
        target: String,
        /// The series' metric, and whose it is.
        series: String,
    },
    /// A target that feeds the rule is back after an outage, and has too few samples in the rule's range.
    RangeTooShort {
        /// Its `job` and `instance`.
        target: String,
    },
    /// The rule's ranges reach back to before the window's first sample of what it reads.
    RangeNotCovered,
    /// Docker, which alone knows what the rule reads, does not answer.
    DockerSilent,
    /// The container has ended a moment ago, and another may take its place.
    ContainerEnded {
        /// What it was known as.
        container: String,
    },
}

impl Doubt {
    /// `job/instance` of the target that is in doubt, if it is one.
    pub fn target(&self) -> Option<&str> {
        match self {
            Doubt::TargetFailed { target }
            | Doubt::TargetLate { target }
            | Doubt::NotAnsweredYet { target }
            | Doubt::RangeTooShort { target }
            | Doubt::SamplesOld { target, .. }
            | Doubt::SamplesMissed { target, .. } => Some(target),
            Doubt::RangeNotCovered | Doubt::DockerSilent | Doubt::ContainerEnded { .. } => None,
        }
    }

    /// Whether it passes by itself in a moment, so that nobody need hear of it.
    pub fn passes(&self) -> bool {
        matches!(self, Doubt::ContainerEnded { .. })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::TargetFailed { target } => write!(f, "target {target} failed its last scrape"),
            Doubt::TargetLate { target } => {
                write!(f, "target {target} was not scraped for two intervals")
            }
            Doubt::NotAnsweredYet { target } => {
                write!(f, "target {target} has not answered since the start or a reload")
            }
            Doubt::SamplesOld { target, series: None } => {
                write!(f, "target {target} answers with samples that are too old")
            }
            Doubt::SamplesOld { target, series: Some(series) } => {
                write!(f, "target {target} answers, but {series} is too old")
            }
            Doubt::SamplesMissed { target, series } => {
                write!(f, "target {target} answers, but could not read {series}")
            }
            Doubt::RangeTooShort { target } => {
                write!(f, "target {target} is back, and too little of the rule's range was seen")
            }
            Doubt::RangeNotCovered => {
                f.write_str("the rule looks back to before the start or a reload")
            }
            Doubt::DockerSilent => f.write_str("Docker does not answer"),
            Doubt::ContainerEnded { container } => {
                write!(f, "container {container} has just ended, and another may take its place")
            }
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

impl ResolveReason {
    /// The reason, for people.
    pub fn words(self) -> &'static str {
        match self {
            ResolveReason::ConditionCleared => "the condition no longer holds",
            ResolveReason::UnknownTimeout => "its inputs stayed away for `unknown_timeout`",
            ResolveReason::RuleGone => "its rule was removed or changed",
        }
    }
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
    /// Until when it stays in the book after its end; moves with the wall clock's steps.
    #[serde(default)]
    pub kept_until: Option<Timestamp>,
    /// By the name of each Alertmanager instance, its tally when it first accepted this incident.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tallies: BTreeMap<String, Tally>,
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
            kept_until: None,
            tallies: BTreeMap::new(),
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

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.resolved.as_ref().map(|(at, _)| *at)
    }

    /// Ends it at this slot. It stays in the book until everyone must have heard.
    pub(super) fn end(&mut self, slot: Timestamp, reason: ResolveReason) {
        self.state = AlertState::Resolved;
        self.keep_firing_since = None;
        self.unknown = None;
        self.unknown_told = false;
        self.resolved = Some((slot, reason));
        self.kept_until = Some(slot + self.retention());
    }

    /// Notes that an Alertmanager has accepted this incident for the first time. If it was
    /// presented late, its end has 15 minutes of its own from now on.
    pub fn accept(&mut self, wall: Timestamp) {
        self.accepted_at = Some(wall);
        if self.resolved.is_some() {
            self.kept_until = Some(wall + self.retention());
        }
    }

    /// Notes that its end is held back, for no longer than `max_hold`, and has 15 minutes of its own
    /// from then on. Returns whether that is new.
    pub fn hold_end(&mut self, max_hold: Duration) -> bool {
        let until = self.ended_at().map(|at| at + max_hold + RESOLVED_RETENTION);
        let is_new = self.kept_until < until;
        if is_new {
            self.kept_until = until;
        }
        is_new
    }

    /// Whether it has ended and been kept long enough.
    pub fn is_over(&self, slot: Timestamp) -> bool {
        self.kept_until.is_some_and(|until| slot > until)
    }

    /// Says until when it is kept, in a row written before that was a fact of its own.
    pub fn complete(&mut self) {
        if self.kept_until.is_none() {
            let ended_at =
                self.ended_at().max(self.accepted_at.filter(|_| self.resolved.is_some()));
            self.kept_until = ended_at.map(|at| at + self.retention());
        }
    }

    fn retention(&self) -> Duration {
        if self.accepted_at.is_some() { RESOLVED_RETENTION } else { MISSED_RETENTION }
    }

    /// Moves what is counted in wall time: the wall clock has stepped. What was published (when it
    /// fired, when it ended) stays as it was, and with it since when the condition held before that:
    /// one without the other would say that its `for` had not passed.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: Timestamp| Timestamp(at.0 + by_ms);
        if self.fired_at.is_none() {
            self.active_at = shift(self.active_at);
        }
        self.keep_firing_since = self.keep_firing_since.map(shift);
        self.kept_until = self.kept_until.map(shift);
        if let Some(previous) = &mut self.previous {
            previous.rebase(by_ms);
        }
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
