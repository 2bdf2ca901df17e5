//! The kernel's count of a container's OOM kills, over all cgroups that it had.
//!
//! A cgroup goes with its container's run, and its count with it. What was counted in one that is gone and was
//! not read any more is not in here: others saw that (`know_kills`).

use super::tracked::Tracked;
use crate::base::HashMap;
use crate::containers::ContainerId;

/// The kernel's count of OOM kills begins at 0 with each cgroup; this one does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills {
    pub carried: f64,
    pub last: f64,
}

impl Kills {
    /// The next reading is of another cgroup.
    pub fn begin_anew(&mut self) {
        self.carried += std::mem::take(&mut self.last);
    }
}

/// The running count of a container's OOM kills, of which the kernel counts `now` in its cgroup.
pub(super) fn count(
    kills: &mut HashMap<ContainerId, Kills>,
    tracked: &mut Tracked,
    now: f64,
) -> f64 {
    let kills = kills.entry(tracked.id.clone()).or_default();
    if std::mem::take(&mut tracked.is_another_run) || now < kills.last {
        kills.begin_anew();
    }
    kills.last = now;
    kills.carried + now
}
