//! The kernel's count of a container's OOM kills, over all cgroups that it had.
//!
//! A cgroup goes with its container's run, and its count with it. What was counted in one that is gone and was
//! not read any more is not in here: others saw that (`know_kills`).

use crate::base::{HashMap, Timestamp};
use crate::containers::ContainerId;

/// The kernel's count of OOM kills begins at 0 with each cgroup; this one does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills {
    pub carried: f64,
    pub last: f64,
    /// When it was read last.
    pub read_at: Option<Timestamp>,
    /// When another run was read last, before this one: what began earlier is not this one's beginning.
    pub other_at: Option<Timestamp>,
}

impl Kills {
    /// The next reading is of another cgroup.
    pub fn begin_anew(&mut self) {
        self.carried += std::mem::take(&mut self.last);
        self.other_at = self.read_at.take().or(self.other_at);
    }

    /// Whether a run that began then, seconds, can be the one that was read last.
    pub fn may_be_of(&self, began: f64) -> bool {
        self.other_at.is_none_or(|other| began > other.0 as f64 / 1000.0)
    }
}

/// The running count of a container's OOM kills, of which the kernel counts `now` in its cgroup at that time.
pub(super) fn count(
    kills: &mut HashMap<ContainerId, Kills>,
    (id, is_another_run): (&ContainerId, &mut bool),
    (now, at): (f64, Timestamp),
) -> f64 {
    let kills = kills.entry(id.clone()).or_default();
    if std::mem::take(is_another_run) || now < kills.last {
        kills.begin_anew();
    }
    (kills.last, kills.read_at) = (now, Some(at));
    kills.carried + now
}
