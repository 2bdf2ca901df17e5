//! What one instance was last told of one alert, and what it should hear next.

use std::time::Duration;

use super::alert::{Alert, AlertState};
use super::post::Phase;
use crate::base::{Now, Timestamp};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Told {
    /// Which incident: the alert's start.
    pub fired_at: Timestamp,
    /// When it was told last.
    pub at: Timestamp,
    /// As what.
    pub phase: Phase,
    /// For a late incident: when (monotonic) its end may be told.
    pub late_until: Option<Duration>,
}

impl Told {
    /// Whether its end was told.
    pub fn ended(&self) -> bool {
        self.phase.is_end()
    }
}

/// What this alert should be presented as now, if anything.
pub(super) fn phase_due(
    alert: &Alert,
    told: Option<&Told>,
    now: Now,
    again: bool,
) -> Option<Phase> {
    match alert.state {
        AlertState::Pending => None,
        AlertState::Firing => (told.is_none() || again).then_some(Phase::Firing),
        AlertState::Resolved => match told {
            None if alert.accepted_at.is_none() => Some(Phase::LateFiring),
            None => Some(Phase::Resolved),
            Some(told) if told.ended() => {
                let late = told.late_until.is_some();
                again.then_some(if late { Phase::LateResolved } else { Phase::Resolved })
            }
            Some(Told { late_until: Some(until), .. }) if now.monotonic < *until => {
                again.then_some(Phase::LateFiring)
            }
            Some(Told { late_until: Some(_), .. }) => Some(Phase::LateResolved),
            Some(_) => Some(Phase::Resolved),
        },
    }
}

/// What an alert whose end is held should be presented as now, if anything.
pub(super) fn held_phase_due(told: Option<&Told>, again: bool) -> Option<Phase> {
    match told {
        Some(Told { late_until: Some(_), .. }) => again.then_some(Phase::LateFiring),
        Some(Told { phase: Phase::Held, .. }) => again.then_some(Phase::Held),
        _ => Some(Phase::Held),
    }
}
