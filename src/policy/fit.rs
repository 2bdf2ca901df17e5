//! Which plan would have fitted: the demand of weeks held against what each plan promises.
//!
//! The answer is a share of time, not a guess of a size: "on pro, demand for CPU above the quota would
//! have been <1 % of the time instead of 38 %". How many periods were throttled stands beside it in a
//! nudge: that was measured, of the present plan alone. It may also be that a smaller plan would do, or that
//! none helps; then nobody is nudged.

use std::time::Duration;

use super::config::DAY;
use super::plan::{Plan, Plans};
use super::usage::Service;

/// To take something away it must have been seen for a day. Ours.
const SMALLER_CONFIDENCE: f64 = 0.9;

/// When demand fits a plan, and how much of it must have been seen to say so.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FitConfig {
    /// Memory needed must stay below this share of a plan's limit.
    pub memory: f64,
    /// A plan fits if demand was above it for less of the time than this.
    pub tolerated: f64,
    /// What was seen weighs half as much after this time.
    pub half_life: Duration,
    /// A comparison of plans counts from this confidence on, 0 to 1; one is a day.
    pub confidence: f64,
}

impl FitConfig {
    /// Weights halve in a week. VPA's default is a day, after which last Monday's office hours are
    /// below what is tolerated before the next Monday comes. Ours.
    pub(super) const HALF_LIFE: Duration = DAY.saturating_mul(7);
}

impl Default for FitConfig {
    /// Memory by document A §2.4; one percent and two and a half hours are ours.
    fn default() -> FitConfig {
        FitConfig { memory: 0.9, tolerated: 0.01, half_life: FitConfig::HALF_LIFE, confidence: 0.1 }
    }
}

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

impl Fit {
    /// A smaller plan that would do, if so much was seen that somebody may be told.
    pub fn smaller(&self) -> Option<&str> {
        let sure = self.direction == Direction::Down && self.confidence >= SMALLER_CONFIDENCE;
        self.plan.as_deref().filter(|_| sure)
    }
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

impl Direction {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Stay => "stay",
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::NoneHelps => "none_helps",
        }
    }
}

/// Compares a service's demand with the catalogue; `None` if the plan is unknown or nothing was seen.
pub fn fit(service: &Service, plans: &Plans, present: &str, config: &FitConfig) -> Option<Fit> {
    let present = plans.get(present)?;
    let shortage = |plan| shortage(service, plan, config.memory);
    let now = shortage(present)?;
    let fits = |short: Shortage| short.memory.max(short.cpu) < config.tolerated;
    let fitting = plans.iter().find(|plan| shortage(plan).is_some_and(fits));
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
        sentence: sentence(&shown.name, (now, shortage(shown)?), config.memory),
    })
}

/// Shares of the time in which demand was above what a plan promises.
#[derive(Clone, Copy)]
struct Shortage {
    memory: f64,
    cpu: f64,
}

fn shortage(service: &Service, plan: &Plan, of_memory: f64) -> Option<Shortage> {
    let memory = service.memory_above(of_memory * plan.mem_limit_bytes as f64);
    let cpu = service.cpu_above(plan.cpu_limit_cores);
    (memory.is_some() || cpu.is_some())
        .then(|| Shortage { memory: memory.unwrap_or(0.0), cpu: cpu.unwrap_or(0.0) })
}

/// Tells the worse of the two resources.
fn sentence(plan: &str, (now, then): (Shortage, Shortage), of_memory: f64) -> String {
    let (what, now, then) = if now.cpu >= now.memory {
        ("demand for CPU above the quota".to_owned(), now.cpu, then.cpu)
    } else {
        let what = format!("demand for memory above {} of the limit", percent(of_memory));
        (what, now.memory, then.memory)
    };
    format!(
        "on {plan}, {what} would have been {} of the time instead of {}",
        percent(then),
        percent(now)
    )
}

/// A share in percent, for people.
pub(super) fn percent(share: f64) -> String {
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
        let fit = fit(service, &Plans::default(), present, &FitConfig::default())
            .expect("the plan is known");
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
    fn how_much_may_be_short_for_how_long_is_configurable() {
        let memory = day((0.1, 0.1), (5e8, 8.5e8), 0.2);
        let plan = |config: FitConfig| {
            let service = memory.get("s").expect("was seen");
            let fit = fit(service, &Plans::default(), "free", &config).expect("known");
            (fit.plan.expect("one fits"), fit.sentence)
        };
        let default = FitConfig::default();
        assert_eq!(plan(default).0, "free", "nine tenths are more than that");
        let (to, sentence) = plan(FitConfig { memory: 0.7, ..default });
        assert_eq!(to, "pro");
        assert!(sentence.contains("above 70 % of the limit would have been <1 %"), "{sentence}");
        let often = FitConfig { memory: 0.7, tolerated: 0.3, ..default };
        assert_eq!(plan(often).0, "free", "a fifth of the time is tolerated");
    }

    #[test]
    fn without_figures_there_is_no_answer() {
        let usage = day((0.1, 0.1), (1e8, 1e8), 0.0);
        let fit = |usage: &Usage, plan| {
            fit(usage.get("s").expect("seen"), &Plans::default(), plan, &FitConfig::default())
        };
        assert_eq!(fit(&usage, "unheard-of"), None);
        let mut blind = Usage::default();
        let now = Now { monotonic: Duration::ZERO, wall: Timestamp(0) };
        let _ = blind.observe("s", &Observation::default(), Duration::ZERO, now);
        assert_eq!(fit(&blind, "free"), None);
    }
}
