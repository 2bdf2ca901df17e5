//! How a container stands to its plan: what was promised, what is enforced, what is used.

use super::plan::Plan;

/// Memory limits that differ by less than this share are the same: the kernel keeps whole pages, and of
/// 1,000,000,000 bytes 999,997,440. As the rule `PlanMemoryLimitDrift` has it.
const MEMORY_TOLERANCE: f64 = 0.01;
/// Likewise CPU limits, cores: quotas are whole microseconds a period. As the rule `PlanCpuLimitDrift`
/// has it.
const CORES_TOLERANCE: f64 = 0.01;

/// What the kernel enforces and what is used of it; `None` is not known.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// Hard memory limit, bytes; 0 is none.
    pub mem_limit_bytes: Option<f64>,
    /// CPU quota, cores; `None` also if there is none.
    pub cpu_limit_cores: Option<f64>,
    /// Working set, bytes.
    pub mem_used_bytes: Option<f64>,
    /// CPU time used per time, cores.
    pub cpu_used_cores: Option<f64>,
}

/// The verdict on a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its limit or its use is not known.
    Unknown,
    /// Nothing limits its memory.
    NoLimit,
    /// What is enforced is not what its plan promises.
    LimitDiffers,
    /// It uses all of a limit.
    Over,
    /// It uses most of one.
    Near,
    /// It has room.
    Fits,
}

impl Standing {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Unknown => "unknown",
            Standing::NoLimit => "no limit",
            Standing::LimitDiffers => "limit differs",
            Standing::Over => "over",
            Standing::Near => "near",
            Standing::Fits => "fits",
        }
    }
}

/// Whether what is enforced, bytes and cores, is not what a plan promises. What is not known is not
/// held against anybody.
pub fn drifts(plan: &Plan, limit_bytes: Option<f64>, limit_cores: Option<f64>) -> bool {
    let apart = |enforced: f64, promised: f64, by: f64| (enforced - promised).abs() > by;
    let bytes = plan.mem_limit_bytes as f64;
    limit_bytes.is_some_and(|limit| apart(limit, bytes, MEMORY_TOLERANCE * bytes))
        || limit_cores.is_some_and(|limit| apart(limit, plan.cpu_limit_cores, CORES_TOLERANCE))
}

/// Judges one container. `promised`: its plan, if plans bind containers of its role; `near`: the share of a
/// limit from which it is near.
pub fn standing(load: &Load, promised: Option<&Plan>, near: f64) -> Standing {
    let (Some(limit), Some(used)) = (load.mem_limit_bytes, load.mem_used_bytes) else {
        return Standing::Unknown;
    };
    if limit <= 0.0 {
        return Standing::NoLimit;
    }
    if promised.is_some_and(|plan| drifts(plan, Some(limit), load.cpu_limit_cores)) {
        return Standing::LimitDiffers;
    }
    let cores = load.cpu_used_cores.zip(load.cpu_limit_cores.filter(|cores| *cores > 0.0));
    let share = (used / limit).max(cores.map_or(0.0, |(used, limit)| used / limit));
    match share {
        share if share >= 1.0 => Standing::Over,
        share if share >= near => Standing::Near,
        _ => Standing::Fits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Plans;

    #[test]
    fn a_container_is_judged_by_what_binds_it() {
        let (none, gib) = (None, 1_073_741_824.0);
        for (limit, cores, used, used_cores, want) in [
            (none, none, Some(1.0), none, "unknown"),
            (Some(gib), none, none, none, "unknown"),
            (Some(0.0), none, Some(1.0), none, "no limit"),
            (Some(gib), Some(0.5), Some(0.5 * gib), Some(0.1), "fits"),
            (Some(gib), none, Some(0.5 * gib), Some(3.0), "fits"),
            (Some(gib), Some(0.5), Some(0.9 * gib), Some(0.1), "near"),
            (Some(gib), Some(0.5), Some(0.1 * gib), Some(0.46), "near"),
            (Some(gib), Some(0.5), Some(gib), Some(0.1), "over"),
            (Some(gib), Some(0.5), Some(0.1 * gib), Some(0.5), "over"),
            (Some(2.0 * gib), Some(0.5), Some(gib), Some(0.1), "limit differs"),
            (Some(gib), Some(1.0), Some(gib), Some(0.1), "limit differs"),
            (Some(1.005 * gib), Some(0.509), Some(0.5 * gib), Some(0.1), "fits"),
            (Some(1.02 * gib), Some(0.5), Some(0.5 * gib), Some(0.1), "limit differs"),
            (Some(0.98 * gib), Some(0.5), Some(0.5 * gib), Some(0.1), "limit differs"),
            (Some(gib), Some(0.511), Some(0.5 * gib), Some(0.1), "limit differs"),
        ] {
            let load = Load {
                mem_limit_bytes: limit,
                cpu_limit_cores: cores,
                mem_used_bytes: used,
                cpu_used_cores: used_cores,
            };
            let plans = Plans::default();
            assert_eq!(standing(&load, plans.get("free"), 0.9).name(), want, "{load:?}");
        }
        let load =
            Load { mem_limit_bytes: Some(3.0 * gib), mem_used_bytes: Some(gib), ..Load::default() };
        assert_eq!(
            standing(&load, None, 0.9),
            Standing::Fits,
            "a database has no plan to differ from"
        );
        assert_eq!(standing(&load, None, 0.2), Standing::Near, "as configured");
    }
}
