//! The window over a restart: what the checkpoint holds, and what becomes of the series it brings.
//!
//! Layout: the time since which every sample was seen, and the time of writing (i64 milliseconds,
//! little-endian); the checksum (64 hex digits) of what was kept; the length (u32) and the JSON of what
//! each target fed; the window's own checkpoint.
//!
//! With other rules than those it was written under, what targets fed and since when all was seen is
//! not known: they may read names that were not kept.
//!
//! A checkpoint that was written later than it is now is not used: the clock was set back while
//! nobody watched, by how much of that we were away cannot be known, and every sample of it would
//! keep newer ones out.
//!
//! A series that ended while nobody watched comes back without its stale marker, and for five
//! minutes selectors would take its last sample for the present. So whatever comes back waits for
//! its writer: at the first answer of its target, good or bad, it ends unless the target sends it,
//! as in any scrape that no longer has it; a record, at the next evaluation of its rule; what nobody
//! claims, once all targets have answered and all groups were evaluated.
//!
//! What a target fed is kept because a target that does not answer after a restart cannot tell, and
//! an alert that lost its inputs must be told from one that never had any there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::target::Target;
use super::{Engine, GAP_TOLERATED};
use crate::base::{Labels, METRIC_NAME, Now, TargetId, Timestamp};
use crate::rules::{Rule, RuleKind};
use crate::window::{CheckpointError, CheckpointProgress, SeriesId};

/// A SHA-256 in hex digits.
const KEPT_BYTES: usize = 64;

/// Series of the checkpoint that nobody has written since, and what targets fed before it.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// They may be a target's.
    of_targets: BTreeMap<SeriesId, Labels>,
    /// They have the name of a record, of `ALERTS` or of `ALERTS_FOR_STATE`.
    of_rules: BTreeSet<SeriesId>,
    /// By a target's labels: the metric names it fed when it last answered.
    pub fed: BTreeMap<Labels, BTreeSet<Arc<str>>>,
}

/// How far a checkpoint has been written.
#[derive(Debug, Default)]
pub struct Checkpoint {
    has_head: bool,
    window: CheckpointProgress,
}

impl Restored {
    /// Drops ids that the window has forgotten and may give out again.
    pub fn forget(&mut self, forgotten: &BTreeSet<SeriesId>) {
        self.of_targets.retain(|id, _| !forgotten.contains(id));
        self.of_rules.retain(|id| !forgotten.contains(id));
    }

    fn is_empty(&self) -> bool {
        self.of_targets.is_empty() && self.of_rules.is_empty()
    }
}

impl Engine {
    /// Fills the window from all parts of a checkpoint, before the first event. Ranges count as covered
    /// across the restart only if it was short.
    pub fn restore_window(&mut self, checkpoint: &[u8], now: Now) -> Result<(), CheckpointError> {
        let damaged = CheckpointError::Damaged;
        let (since, rest) = checkpoint.split_first_chunk::<8>().ok_or(damaged)?;
        let (written_at, rest) = rest.split_first_chunk::<8>().ok_or(damaged)?;
        let (kept, rest) = rest.split_first_chunk::<KEPT_BYTES>().ok_or(damaged)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(damaged)?;
        let (fed, window) =
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(damaged)?;
        let fed: Vec<(Labels, BTreeSet<Arc<str>>)> =
            serde_json::from_slice(fed).map_err(|_| damaged)?;
        let written_at = Timestamp(i64::from_le_bytes(*written_at));
        if self.clock.is_to_come(written_at) {
            return Err(CheckpointError::Newer);
        }
        self.window.restore_checkpoint(window)?;
        let is_same = kept == self.setup.kept().as_bytes();
        if is_same && now.wall.since(written_at) <= GAP_TOLERATED {
            self.covered_since = Timestamp(i64::from_le_bytes(*since)).min(now.wall);
            self.containers.begin_unseen(self.window.live());
        }
        self.end_loops_of_before();
        self.window.forget_expired(now.wall);
        if is_same {
            self.restored.fed = fed.into_iter().collect();
        }
        self.await_writers();
        self.renew_counts(now.wall);
        Ok(())
    }

    /// The next part of the window as bytes, which begin with the time since which it has seen every
    /// sample, the time now and what each target feeds. The flag is false with the last part.
    pub fn checkpoint_part(&self, checkpoint: &mut Checkpoint) -> (Vec<u8>, bool) {
        let mut bytes = if checkpoint.has_head { Vec::new() } else { self.checkpoint_head() };
        checkpoint.has_head = true;
        let goes_on = self.window.checkpoint_part(&mut checkpoint.window, &mut bytes);
        (bytes, goes_on)
    }

    /// All parts at once.
    pub fn checkpoint(&self) -> Vec<u8> {
        let (mut checkpoint, mut bytes) = (Checkpoint::default(), Vec::new());
        loop {
            let (part, goes_on) = self.checkpoint_part(&mut checkpoint);
            bytes.extend(part);
            if !goes_on {
                return bytes;
            }
        }
    }

    fn checkpoint_head(&self) -> Vec<u8> {
        let known = self.targets.values().filter(|target| target.feeds_known);
        let fed: Vec<_> = known.map(|target| (&target.info.labels, &target.feeds)).collect();
        let fed = serde_json::to_vec(&fed).expect("labels and names are JSON");
        let length = u32::try_from(fed.len()).expect("names of metrics come to less than 4 GiB");
        // What a reload brought may not be believed for longer over a restart; for its sake, nothing is.
        let reloaded = self.coverage.newest().unwrap_or(self.covered_since);
        let mut bytes = self.covered_since.max(reloaded).0.to_le_bytes().to_vec();
        bytes.extend(self.clock.wall().0.to_le_bytes());
        bytes.extend(self.setup.kept().as_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(fed);
        bytes
    }

    /// Finds out who may write each series that came back. A record of one rule alone is as if the
    /// rule had written it in its last evaluation.
    fn await_writers(&mut self) {
        for (id, labels) in self.window.live() {
            let rules = self.groups.iter_mut();
            let rules = rules.flat_map(|group| group.group.rules.iter().zip(&mut group.rules));
            let mut writers = rules.filter(|(rule, _)| may_write(rule, labels));
            match (writers.next(), writers.next()) {
                (None, _) => drop(self.restored.of_targets.insert(id, labels.clone())),
                (Some((_, state)), None) => state.written.push(id),
                (Some(_), Some(_)) => drop(self.restored.of_rules.insert(id)),
            }
        }
    }

    /// A target has answered for the first time, at `slot`: its restored series end that it does not
    /// send. A series that two targets may send waits for both.
    pub(super) fn settle_restored(&mut self, id: TargetId, slot: Timestamp) {
        if self.restored.of_targets.is_empty() {
            return;
        }
        let target = &self.targets[&id];
        let sent = target.series();
        let open: Vec<&Target> = self.targets.values().filter(|other| !other.answered).collect();
        let window = &mut self.window;
        self.restored.of_targets.retain(|id, labels| {
            let is_written = window.newest(*id).is_some_and(|sample| sample.at >= slot);
            if is_written || sent.contains(id) {
                return false;
            }
            if !target.is_named_by(labels) || open.iter().any(|other| other.is_named_by(labels)) {
                return true;
            }
            window.end(*id);
            false
        });
    }

    /// Ends what is left once everyone who could have claimed it had the chance.
    pub(super) fn end_unclaimed(&mut self) {
        let is_open = self.restored.is_empty()
            || !self.targets.values().all(|target| target.answered)
            || !self.groups.iter().all(|group| group.last_evaluation.is_some());
        if is_open {
            return;
        }
        let mut claimed: BTreeSet<SeriesId> = self.own_series.clone();
        claimed.extend(self.targets.values().flat_map(Target::series));
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        claimed.extend(rules.flat_map(|rule| &rule.written));
        let restored = std::mem::take(&mut self.restored);
        for id in restored.of_targets.keys().chain(&restored.of_rules) {
            if !claimed.contains(id) {
                self.window.end(*id);
            }
        }
    }
}

/// Whether a series may be one that a rule writes.
fn may_write(rule: &Rule, labels: &Labels) -> bool {
    let name = labels.get(METRIC_NAME).unwrap_or_default();
    let has = |(label, value): &(String, String)| labels.get(label) == Some(value);
    match &rule.kind {
        RuleKind::Record { name: record } => name == record && rule.labels.iter().all(has),
        RuleKind::Alert(alert) => {
            matches!(name, "ALERTS" | "ALERTS_FOR_STATE")
                && labels.get("alertname") == Some(alert.name.as_str())
        }
    }
}
