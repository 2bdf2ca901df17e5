//! Everything judgement remembers, in one place: recovered from the journal's rows together.

use std::collections::BTreeSet;

use super::config::Limits;
use super::episodes::Episodes;
use super::guard::Guards;
use super::interlock::Interlock;
use super::peaks::Peaks;
use super::receipts::Receipts;
use super::rollout::Rollouts;
use super::shut::ShutDoors;
use super::usage::Usage;
use super::verify::Verifier;
use crate::base::{Change, Now};

/// What was done, what was suffered, what was used, and what is still open.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    /// Actions, for cool-downs and budgets.
    pub guards: Guards,
    /// How often each service was in trouble.
    pub episodes: Episodes,
    /// What each service needs.
    pub usage: Usage,
    /// Whether the host is the patient.
    pub interlock: Interlock,
    /// Actions whose outcome is not known.
    pub verifier: Verifier,
    /// Receipts that were taken.
    pub receipts: Receipts,
    /// What M2 makes at the day's peak.
    pub peaks: Peaks,
    /// Images that were rolled out lately.
    pub rollouts: Rollouts,
    /// Doors that were told to have shut.
    pub shut: ShutDoors,
}

impl Memory {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: &[Change], now: Now) -> (Memory, Vec<String>) {
        let all = || rows.iter().cloned();
        let (guards, mut problems) = Guards::recover(all(), now);
        let (episodes, of_episodes) = Episodes::recover(all());
        let (usage, of_usage) = Usage::recover(all());
        let (interlock, of_interlock) = Interlock::recover(all());
        let (verifier, of_verifier) = Verifier::recover(all());
        let (receipts, of_receipts) = Receipts::recover(all());
        let (peaks, of_peaks) = Peaks::recover(all());
        let (rollouts, of_rollouts) = Rollouts::recover(all());
        let (shut, of_shut) = ShutDoors::recover(all());
        let others = [of_episodes, of_usage, of_interlock, of_verifier, of_receipts, of_peaks];
        problems.extend(others.into_iter().flatten().chain(of_rollouts).chain(of_shut));
        let memory = Memory {
            guards,
            episodes,
            usage,
            interlock,
            verifier,
            receipts,
            peaks,
            rollouts,
            shut,
        };
        (memory, problems)
    }

    /// Moves what is counted in wall time when the wall clock steps; returns the rows that changed.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let mut rows = self.guards.rebase(by_ms);
        rows.extend(self.usage.rebase(by_ms));
        rows.extend(self.peaks.rebase(by_ms));
        rows.extend(self.episodes.rebase(by_ms));
        rows.extend(self.verifier.rebase(by_ms));
        rows.extend(self.rollouts.rebase(by_ms));
        rows.extend(self.shut.rebase(by_ms));
        rows
    }

    /// Forgets what can no longer matter, given whom active alerts are about; returns the rows that go
    /// with it. The peaks are looked after where they are measured.
    pub fn prune(&mut self, now: Now, limits: &Limits, ill: &BTreeSet<String>) -> Vec<Change> {
        let mut rows = self.guards.prune(now, limits, ill);
        rows.extend(self.episodes.prune(limits.episodes_within, now.wall));
        rows.extend(self.usage.prune(now));
        rows.extend(self.rollouts.prune(limits.episodes_within, now.wall));
        rows.extend(self.shut.prune(now.wall));
        rows
    }
}
