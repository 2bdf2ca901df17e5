//! Which plan would have fitted: the demand of weeks held against what each plan promises.
//!
//! The answer is a share of time, not a guess of a size: "on pro, demand would have been above the
//! quota in <1 % of the time, instead of 38 %". It may also be that a smaller plan would do, or that
//! none helps; then nobody is nudged.

use super::plan::{Plan, Plans};
use super::usage::Service;

/// A plan fits if demand was above it for less of the time than this. Ours.
const TOLERATED: f64 = 0.01;
/// Memory counts as short from this share of the limit (document A §2.4).
const MEMORY_RATIO: f64 = 0.9;

/// How a service's demand lies to the plans.
#[derive(Clone, PartialEq, Debug)]
pub struct Fit {
    /// The smallest plan that fits; `None`: no plan helps.
    pub plan: Option<String>,
    /// Whether that is the present plan, a bigger or a smaller one.
    pub direction: Direction,
    /// How much was seen, 0 to 1.
    pub confidence: f64,
    /// The figures, for people.
    pub sentence: String,
}

/// Where the plan that fits stands to the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The present plan is right.
    Stay,
    /// A bigger plan fits.
    Up,
    /// A smaller plan would do.
    Down,
    /// Not even the biggest fits.
    NoneHelps,
}

/// Compares a service's demand with the catalogue; `None` if the plan is unknown or nothing was seen.
pub fn fit(service: &Service, plans: &Plans, present: &str) -> Option<Fit> {
    let present = plans.get(present)?;
    let now = shortage(service, present)?;
    let fitting = plans.iter().find(|plan| shortage(service, plan).is_some_and(Shortage::fits));
    let direction = match fitting {
        None => Direction::NoneHelps,
        Some(plan) if plan.order > present.order => Direction::Up,
        Some(plan) if plan.order < present.order => Direction::Down,
        Some(_) => Direction::Stay,
    };
    let shown = fitting.or_else(|| plans.iter().next_back())?;
    Some(Fit {
        plan: fitting.map(|plan| plan.name.clone()),
        direction,
        confidence: service.confidence(),
        sentence: sentence(&shown.name, now, shortage(service, shown)?),
    })
}

/// Shares of the time in which demand was above what a plan promises.
#[derive(Clone, Copy)]
struct Shortage {
    memory: f64,
    cpu: f64,
}

impl Shortage {
    fn fits(self) -> bool {
        self.memory < TOLERATED && self.cpu < TOLERATED
    }
}

fn shortage(service: &Service, plan: &Plan) -> Option<Shortage> {
    let memory = service.memory_above(MEMORY_RATIO * plan.mem_limit_bytes as f64);
    let cpu = service.cpu_above(plan.cpu_limit_cores);
    (memory.is_some() || cpu.is_some())
        .then(|| Shortage { memory: memory.unwrap_or(0.0), cpu: cpu.unwrap_or(0.0) })
}

/// Tells the worse of the two resources.
fn sentence(plan: &str, now: Shortage, then: Shortage) -> String {
    let (what, now, then) = if now.cpu >= now.memory {
        ("demand for CPU above the quota", now.cpu, then.cpu)
    } else {
        ("demand for memory above 90 % of the limit", now.memory, then.memory)
    };
    format!(
        "on {plan}, {what} would have been {} of the time instead of {}",
        percent(then),
        percent(now)
    )
}

fn percent(share: f64) -> String {
    if share < 0.01 { "<1 %".to_owned() } else { format!("{:.0} %", share * 100.0) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Now, Timestamp};
    use crate::policy::{Cpu, Observation, Usage};

    /// A day of a service that needs one load for a share of the time and another for the rest.
    fn day(cores: (f64, f64), bytes: (f64, f64), share: f64) -> Usage {
        let mut usage = Usage::default();
        for minute in 0..1500_u32 {
            let high = f64::from(minute % 100) < share * 100.0;
            let pick = |(low, top): (f64, f64)| if high { top } else { low };
            let cpu = Cpu { used_cores: pick(cores), ..Cpu::default() };
            let seen = Observation {
                cpu: [("one".to_owned(), cpu)].into(),
                working_set_bytes: Some(pick(bytes)),
                ..Observation::default()
            };
            let monotonic = Duration::from_secs(60) * minute;
            let now = Now { monotonic, wall: Timestamp(0) + monotonic };
            let _ = usage.observe("s", &seen, Duration::ZERO, now);
        }
        usage
    }

    #[track_caller]
    fn check(usage: &Usage, present: &str, plan: Option<&str>, direction: Direction, says: &str) {
        let service = usage.get("s").expect("was seen");
        let fit = fit(service, &Plans::default(), present).expect("the plan is known");
        assert_eq!((fit.plan.as_deref(), fit.direction), (plan, direction), "{}", fit.sentence);
        assert!(fit.sentence.contains(says), "{}", fit.sentence);
        assert!(fit.confidence > 0.99);
    }

    #[test]
    fn the_smallest_plan_that_would_have_done() {
        let small = (1e8, 1e8);
        let busy = day((0.1, 0.9), small, 0.38);
        check(
            &busy,
            "free",
            Some("pro"),
            Direction::Up,
            "on pro, demand for CPU above the quota would have been <1 % of the time instead of 38 %",
        );
        check(&busy, "pro", Some("pro"), Direction::Stay, "<1 %");
        check(&busy, "enterprise", Some("pro"), Direction::Down, "on pro");
        let huge = day((0.1, 9.0), small, 0.5);
        check(&huge, "free", None, Direction::NoneHelps, "on enterprise");
        let memory = day((0.1, 0.1), (5e8, 1.5e9), 0.2);
        check(&memory, "free", Some("pro"), Direction::Up, "instead of 20 %");
        let rare = day((0.1, 9.0), small, 0.0);
        check(&rare, "free", Some("free"), Direction::Stay, "<1 %");
    }

    #[test]
    fn without_figures_there_is_no_answer() {
        let usage = day((0.1, 0.1), (1e8, 1e8), 0.0);
        assert_eq!(fit(usage.get("s").expect("seen"), &Plans::default(), "unheard-of"), None);
        let mut blind = Usage::default();
        let now = Now { monotonic: Duration::ZERO, wall: Timestamp(0) };
        let _ = blind.observe("s", &Observation::default(), Duration::ZERO, now);
        assert_eq!(fit(blind.get("s").expect("seen"), &Plans::default(), "free"), None);
    }
}
