//! What an Alertmanager instance is to be told in one post, and how that ended.

use std::time::Duration;

use super::alert::Alert;
use crate::base::{Labels, Timestamp};

/// One post to one instance; given back with its verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PostId(pub u64);

/// What one alert is presented as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It fires (or is unknown, which Alertmanager knows as firing).
    Firing,
    /// It has ended.
    Resolved,
    /// It has ended unheard, and is first shown as firing.
    LateFiring,
    /// It was shown late, and ends now with its true end.
    LateResolved,
    /// It has ended, and is shown as firing until Alertmanager has told its start.
    Held,
}

impl Phase {
    /// Whether it is told as ended.
    pub fn is_end(self) -> bool {
        matches!(self, Phase::Resolved | Phase::LateResolved)
    }
}

/// An alert within a post.
#[derive(Clone, PartialEq, Debug)]
pub struct Presented {
    /// The alert, as it was when the post was made.
    pub alert: Alert,
    /// Its rule's expression; empty if the rule is gone.
    pub expr: String,
    /// What it is presented as.
    pub phase: Phase,
    /// `endsAt` on the wire.
    pub ends_at: Timestamp,
}

/// What to post to which instance.
#[derive(Clone, PartialEq, Debug)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// Index of the instance, in the order of configuration.
    pub instance: usize,
    /// The alerts, at most 256.
    pub alerts: Vec<Presented>,
    /// Whether the instance's tally should be read beside the post: an incident is new to it.
    pub wants_tally: bool,
}

/// How a post ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// The instance has it. An alert it refused for good counts as had: it would be refused again.
    Accepted,
    /// It does not; the reason is for people.
    Failed(String),
}

/// An alert the instance will never take as it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Refused {
    /// The alert's own labels.
    pub labels: Labels,
    /// What it is counted under.
    pub reason: Refusal,
    /// What the instance said, on one line.
    pub why: String,
}

/// Why an alert was refused for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// 400 or 422: the instance finds fault with the alert.
    BadAlert,
    /// 413: the alert alone is more than the instance, or a proxy before it, takes.
    TooLarge,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 2] = [Refusal::BadAlert, Refusal::TooLarge];

    /// The label `reason` of `plimsoll_alertmanager_alerts_refused_total`.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::BadAlert => "bad_alert",
            Refusal::TooLarge => "too_large",
        }
    }
}

/// An alert of a post that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The fingerprint of its labels.
    pub key: u64,
    /// Which incident: the alert's start.
    pub started_at: Timestamp,
    /// What it was presented as.
    pub phase: Phase,
    /// How long it had fired and no instance had accepted it.
    pub untold: Duration,
}
