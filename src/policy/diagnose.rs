//! What ails a container: the cause decides which action is legal.
//!
//! A leak is helped by a restart, a plan that is too small is not; page cache needs nothing; a
//! throttled tenant that uses its quota may be offered more, one that only bursts may not, and one
//! that starves below its quota is a victim. A pure function of figures; where they do not suffice
//! it says [`Cause::Unclear`] and guesses nothing.

/// From where on something is the trouble, whatever a rule's own threshold is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    /// Memory held per limit from which memory is it; inclusive.
    pub memory: f64,
    /// Share of throttled periods above which the CPU is.
    pub throttled: f64,
    /// Use per quota from which throttling is saturation.
    pub saturated: f64,
    /// Share of its time a task waits for the CPU from which a container below its quota starves.
    pub starved: f64,
    /// Share of the machine's memory that is available, below which the host itself is short of it.
    pub host_memory: f64,
}

impl Default for Thresholds {
    /// Memory by document A §2.4, throttling by kubernetes-mixin's 25 %, the host's memory as the rule
    /// `SharedNodeMemoryPressure` has it, the rest ours.
    fn default() -> Thresholds {
        Thresholds { memory: 0.9, throttled: 0.25, saturated: 0.8, starved: 0.25, host_memory: 0.1 }
    }
}

/// Level after warm-up, per limit, from which the limit is too small for the program alone. Ours.
const FULL_FROM_THE_START: f64 = 0.8;
/// Growth per hour, per limit, below which a level is flat. Ours.
pub(super) const FLAT_PER_HOUR: f64 = 0.05;
/// Kills in ten minutes from which the kernel has killed more than once; counts are extrapolated, so
/// that one may be a little more than 1.
const KILLED_AGAIN: f64 = 1.5;
/// Growth per hour, per limit, from which memory that began far below its limit leaks, slowly; and
/// above which it does not stand still. Ours: at least a limit in two days, and above the noise.
pub(super) const SLOW_PER_HOUR: f64 = 0.02;
/// Level after warm-up, per limit, below which a fresh start frees a good part of it. Ours.
const LOW_FROM_THE_START: f64 = 0.6;
/// Growth of the requests, as a factor, from which they explain growing memory. Ours.
pub(super) const TRAFFIC_FACTOR: f64 = 1.5;

/// The figures a diagnosis rests on. What is not known is `None`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Symptoms {
    /// What they are held against.
    pub thresholds: Thresholds,
    /// Memory charged, with page cache, per limit.
    pub usage_ratio: Option<f64>,
    /// Working set per limit.
    pub working_set_ratio: Option<f64>,
    /// Memory that no reclaim can free, per limit, where somebody measures it: page cache that was
    /// read twice is part of the working set and goes when room is needed.
    pub unreclaimable_ratio: Option<f64>,
    /// Out-of-memory kills in the last ten minutes.
    pub oom_events: Option<f64>,
    /// Memory held per limit when the program had warmed up.
    pub warm_ratio: Option<f64>,
    /// The least it has held since then, as far as it was seen, per limit.
    pub lowest_ratio: Option<f64>,
    /// Growth of the memory held per hour, per limit, since its start or the last kill and at most
    /// over an hour.
    pub growth_per_hour: Option<f64>,
    /// The same over the last twenty minutes.
    pub recent_growth_per_hour: Option<f64>,
    /// Memory took a step less than twenty minutes ago.
    pub is_settling: bool,
    /// Requests now per requests while memory last stood still.
    pub traffic_factor: Option<f64>,
    /// The service was seen to leak within a week.
    pub leaked_lately: bool,
    /// What made memory grow when this episode was first looked into: a plateau later on does not
    /// change that.
    pub earlier: Option<Cause>,
    /// Share of CFS periods in which it was throttled.
    pub throttled_ratio: Option<f64>,
    /// CPU used per quota.
    pub cpu_ratio: Option<f64>,
    /// Share of the time in which a task waited for the CPU (PSI `some`).
    pub cpu_waiting_ratio: Option<f64>,
}

impl Symptoms {
    /// Memory held per limit: what no reclaim can free where that is known, else the working set.
    pub fn held_ratio(&self) -> Option<f64> {
        self.unreclaimable_ratio.or(self.working_set_ratio).filter(|ratio| !ratio.is_nan())
    }

    /// Whether so much memory is held that it is the trouble.
    pub fn is_full(&self) -> bool {
        self.held_ratio().is_some_and(|ratio| ratio >= self.thresholds.memory)
    }

    /// Whether the kernel has killed more than once lately.
    pub fn is_killed_again(&self) -> bool {
        self.oom_events.is_some_and(|kills| kills >= KILLED_AGAIN)
    }

    /// Whether memory is known to have stood still lately.
    pub fn is_flat(&self) -> bool {
        !self.is_settling
            && self.recent_growth_per_hour.is_some_and(|growth| growth < FLAT_PER_HOUR)
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Memory grows and nobody asked for it.
    Leak,
    /// The program needs most of the limit from its start on.
    Undersized,
    /// The limit is reached by page cache, which is no trouble.
    PageCache,
    /// Memory grows with the requests.
    Traffic,
    /// The quota is used up.
    CpuSaturation,
    /// Throttled in bursts, far from the quota on average.
    CpuBurst,
    /// Waits for the CPU without having used its quota: somebody else has it.
    CpuStarvation,
    /// Memory is short, and the figures do not say why.
    MemoryUnclear,
    /// Nothing is known to be wrong.
    Unclear,
}

impl Cause {
    /// The word on the wire and in the story.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Leak => "leak",
            Cause::Undersized => "undersized",
            Cause::PageCache => "page_cache",
            Cause::Traffic => "traffic",
            Cause::CpuSaturation => "cpu_saturation",
            Cause::CpuBurst => "cpu_burst",
            Cause::CpuStarvation => "cpu_starvation",
            Cause::MemoryUnclear => "memory",
            Cause::Unclear => "unclear",
        }
    }

    /// Whether memory is what is short.
    pub fn is_memory(self) -> bool {
        matches!(self, Cause::Leak | Cause::Undersized | Cause::Traffic | Cause::MemoryUnclear)
    }
}

/// The cause behind the symptoms. Memory comes first: it kills, throttling only slows.
pub fn diagnose(symptoms: &Symptoms) -> Cause {
    let Thresholds { memory: full, throttled, saturated, starved, .. } = symptoms.thresholds;
    if symptoms.is_full() || reaches(symptoms.oom_events, 1.0) {
        return memory(symptoms);
    }
    if symptoms.throttled_ratio.is_some_and(|ratio| ratio > throttled) {
        return match symptoms.cpu_ratio {
            Some(used) if used < saturated => Cause::CpuBurst,
            Some(_) => Cause::CpuSaturation,
            None => Cause::Unclear,
        };
    }
    if reaches(symptoms.cpu_waiting_ratio, starved) {
        return Cause::CpuStarvation;
    }
    if reaches(symptoms.usage_ratio, full) && symptoms.working_set_ratio.is_some() {
        return Cause::PageCache;
    }
    Cause::Unclear
}

fn reaches(value: Option<f64>, limit: f64) -> bool {
    value.is_some_and(|value| value >= limit)
}

fn memory(symptoms: &Symptoms) -> Cause {
    if let Some(earlier) = symptoms.earlier {
        return earlier;
    }
    let paces = [symptoms.growth_per_hour, symptoms.recent_growth_per_hour];
    let [hour, lately] = paces.map(|pace| pace.map(|pace| pace >= FLAT_PER_HOUR));
    let from = symptoms.warm_ratio.or(symptoms.lowest_ratio);
    let low = from.is_some_and(|ratio| ratio < LOW_FROM_THE_START);
    let slowly = low && paces.into_iter().all(|pace| reaches(pace, SLOW_PER_HOUR));
    let full = symptoms.warm_ratio.is_some_and(|ratio| ratio >= FULL_FROM_THE_START);
    let busier = symptoms.traffic_factor.is_some_and(|factor| factor >= TRAFFIC_FACTOR);
    match (hour, lately) {
        // A leak rises in both; after a surge that stays one of them is flat.
        (Some(true), Some(true)) if busier => Cause::Traffic,
        (Some(true), Some(true)) => Cause::Leak,
        // What has filled up over many hours, and goes on, is no program that needs so much.
        _ if slowly && busier => Cause::Traffic,
        _ if slowly => Cause::Leak,
        (Some(_), Some(_)) if full => Cause::Undersized,
        // One that is full from its start on is not filled by its leak.
        (None, _) | (_, None) if symptoms.leaked_lately && !full => Cause::Leak,
        _ => Cause::MemoryUnclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(want: Cause, symptoms: Symptoms) {
        assert_eq!(diagnose(&symptoms), want, "{symptoms:?}");
    }

    #[test]
    fn a_slow_leak_is_one_where_nobody_saw_it_start_and_a_known_one_fills_no_program_anew() {
        let full = Symptoms { working_set_ratio: Some(0.95), ..Symptoms::default() };
        let pace = Some(0.025);
        let slow = Symptoms { growth_per_hour: pace, recent_growth_per_hour: pace, ..full };
        check(Cause::MemoryUnclear, slow);
        let slow = Symptoms { lowest_ratio: Some(0.2), ..slow };
        check(Cause::Leak, slow);
        check(Cause::Undersized, Symptoms { warm_ratio: Some(0.85), ..slow });
        let still = Symptoms { recent_growth_per_hour: Some(0.0), ..full };
        assert!(still.is_flat() && !Symptoms { is_settling: true, ..still }.is_flat());
        let known = Symptoms { leaked_lately: true, ..full };
        check(Cause::Leak, known);
        check(Cause::MemoryUnclear, Symptoms { warm_ratio: Some(0.85), ..known });
    }

    #[test]
    fn memory_is_told_apart() {
        let full = Symptoms {
            usage_ratio: Some(0.97),
            working_set_ratio: Some(0.9),
            warm_ratio: Some(0.4),
            growth_per_hour: Some(0.3),
            recent_growth_per_hour: Some(0.3),
            ..Symptoms::default()
        };
        check(Cause::Leak, full);
        check(Cause::Leak, Symptoms { traffic_factor: Some(1.4), ..full });
        check(Cause::Traffic, Symptoms { traffic_factor: Some(1.5), ..full });
        let half = Symptoms { warm_ratio: Some(0.6), ..full };
        let step = Symptoms { growth_per_hour: Some(0.049), ..half };
        let plateau = Symptoms { recent_growth_per_hour: Some(0.049), ..half };
        for flat in [step, plateau, Symptoms { growth_per_hour: Some(0.049), ..plateau }] {
            check(Cause::MemoryUnclear, flat);
            check(Cause::MemoryUnclear, Symptoms { leaked_lately: true, ..flat });
            check(Cause::Undersized, Symptoms { warm_ratio: Some(0.8), ..flat });
            check(Cause::Traffic, Symptoms { earlier: Some(Cause::Traffic), ..flat });
        }
        assert!(plateau.is_flat() && !step.is_flat());
        let slow =
            Symptoms { growth_per_hour: Some(0.0325), recent_growth_per_hour: Some(0.02), ..full };
        check(Cause::Leak, slow);
        check(Cause::Leak, Symptoms { traffic_factor: Some(1.4), ..slow });
        check(Cause::Traffic, Symptoms { traffic_factor: Some(1.5), ..slow });
        for other in [
            Symptoms { warm_ratio: Some(0.6), ..slow },
            Symptoms { warm_ratio: None, ..slow },
            Symptoms { growth_per_hour: Some(0.019), ..slow },
            Symptoms { recent_growth_per_hour: Some(0.019), ..slow },
        ] {
            check(Cause::MemoryUnclear, other);
        }
        check(Cause::Leak, Symptoms { warm_ratio: Some(0.8), ..full });
        let unknown = Symptoms { growth_per_hour: None, recent_growth_per_hour: None, ..full };
        check(Cause::MemoryUnclear, unknown);
        check(Cause::Leak, Symptoms { leaked_lately: true, ..unknown });
        assert!(!unknown.is_flat());
        check(Cause::PageCache, Symptoms { working_set_ratio: Some(0.899), ..full });
        check(Cause::PageCache, Symptoms { unreclaimable_ratio: Some(0.899), ..full });
        check(Cause::Leak, Symptoms { unreclaimable_ratio: Some(0.9), ..full });
        let killed = Symptoms { oom_events: Some(1.0), ..Symptoms::default() };
        check(Cause::MemoryUnclear, killed);
        assert!(!killed.is_killed_again() && !killed.is_full());
        assert!(Symptoms { oom_events: Some(2.0), ..killed }.is_killed_again());
        check(Cause::Unclear, Symptoms { usage_ratio: Some(0.99), ..Symptoms::default() });
        check(
            Cause::Unclear,
            Symptoms { working_set_ratio: Some(f64::NAN), ..Symptoms::default() },
        );
    }

    #[test]
    fn what_is_the_trouble_is_the_operators_to_say() {
        let early = Thresholds {
            memory: 0.8,
            throttled: 0.1,
            saturated: 0.5,
            starved: 0.1,
            ..Thresholds::default()
        };
        let held = Symptoms { working_set_ratio: Some(0.8), ..Symptoms::default() };
        let cached = Symptoms { usage_ratio: Some(0.8), working_set_ratio: Some(0.3), ..held };
        let starved = Symptoms { cpu_waiting_ratio: Some(0.1), ..Symptoms::default() };
        let throttled = Symptoms { throttled_ratio: Some(0.11), ..starved };
        for (want, symptoms) in [
            (Cause::MemoryUnclear, held),
            (Cause::PageCache, cached),
            (Cause::CpuStarvation, starved),
            (Cause::CpuSaturation, Symptoms { cpu_ratio: Some(0.5), ..throttled }),
            (Cause::CpuBurst, Symptoms { cpu_ratio: Some(0.49), ..throttled }),
        ] {
            check(Cause::Unclear, symptoms);
            check(want, Symptoms { thresholds: early, ..symptoms });
        }
    }

    #[test]
    fn throttling_is_told_apart() {
        let throttled = Symptoms {
            throttled_ratio: Some(0.26),
            cpu_ratio: Some(0.8),
            cpu_waiting_ratio: Some(0.9),
            ..Symptoms::default()
        };
        check(Cause::CpuSaturation, throttled);
        check(Cause::Unclear, Symptoms { cpu_ratio: None, ..throttled });
        check(Cause::CpuBurst, Symptoms { cpu_ratio: Some(0.79), ..throttled });
        check(Cause::CpuStarvation, Symptoms { throttled_ratio: Some(0.25), ..throttled });
        check(Cause::CpuStarvation, Symptoms { throttled_ratio: None, ..throttled });
        let calm = Symptoms { cpu_waiting_ratio: Some(0.2), ..Symptoms::default() };
        check(Cause::Unclear, calm);
        check(Cause::MemoryUnclear, Symptoms { oom_events: Some(2.0), ..throttled });
    }
}
