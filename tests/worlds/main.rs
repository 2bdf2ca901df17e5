//! Simulation of judgement: hosts of 1 to 200 tenants over days of virtual time, in which everything
//! goes wrong, judged from outside by one checker per guard and promise; and planted faults, each of
//! which must turn its checker red.
//!
//! `cargo test` looks at a few short worlds; `.ci/run worlds` at a thousand of 48 hours. A failure
//! names the one command that shows it again: `SEED=7 HOURS=48 cargo test --test worlds every_world`.
//! `FAULT=NoCoolDown SEEDS=400 cargo test --test worlds planted` looks for one planted fault alone.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "../sim/rng.rs"]
mod rng;
#[path = "../scenarios/shape.rs"]
#[expect(dead_code, reason = "scenario files ask more of it")]
mod shape;
#[expect(dead_code, reason = "nothing is scanned here")]
#[path = "../support/mod.rs"]
mod support;

mod check;
mod config;
mod host;
mod mutate;
mod plan;
mod run;
mod spans;

use plimsoll::policy::HoldReason;

use check::{Check, Red};
use mutate::Mutation;
use plan::Plan;
use run::Report;

/// Worlds, and their hours, where nobody asks for more.
const SEEDS: u64 = 16;
const HOURS: u64 = 12;
/// Worlds in which a planted fault must show itself, and their hours.
const MUTANT_SEEDS: u64 = 60;
const MUTANT_HOURS: u64 = 24;

/// What must have happened somewhere in many worlds.
const MUST_HAPPEN: [&str; 49] = [
    "starts",
    "killed after changes",
    "killed after no change",
    "deploy",
    "OOM kill",
    "crash loop",
    "blind",
    "clock steps",
    "disk full",
    "sink dead",
    "sink slow",
    "executed",
    "receipts",
    "receipt lost",
    "receipt doubled",
    "action.expired",
    "action.failed",
    "action.verified",
    "advice.given",
    "alert.firing",
    "alert.resolved",
    "alert.unknown",
    "change.verification.failed",
    "container.restart.requested",
    "tenant.upgrade.suggested",
    "host.incident.started",
    "host.incident.ended",
    "alert_unknown",
    "busy",
    "cool_down",
    "gates_failing",
    "host_budget",
    "host_busy",
    "host_incident",
    "host_pressure",
    "kill_switch",
    "maintenance",
    "missing_evidence",
    "neighbour",
    "not_opted_in",
    "page_cache",
    "quiet_hours",
    "recent_change",
    "role_forbids",
    "stale_evidence",
    "start_grace",
    "tenant_budget",
    "tenant_not_active",
    "too_few_episodes",
];

/// What turns red if a guard lets through what it should hold.
const GUARDS: [(&str, Check); 22] = [
    ("busy", Check::Busy),
    ("cool_down", Check::CoolDown),
    ("gates_failing", Check::ShutDoor),
    ("host_budget", Check::HostBudget),
    ("host_busy", Check::OneAtATime),
    ("host_incident", Check::Interlock),
    ("host_pressure", Check::Pressure),
    ("kill_switch", Check::KillSwitch),
    ("maintenance", Check::Maintenance),
    ("neighbour", Check::Victim),
    ("not_attributable", Check::Foreign),
    ("not_opted_in", Check::NotAgreed),
    ("observe", Check::OffByDefault),
    ("page_cache", Check::PageCache),
    ("quiet_hours", Check::QuietHours),
    ("recent_change", Check::RecentChange),
    ("role_forbids", Check::Role),
    ("stale_evidence", Check::Stale),
    ("start_grace", Check::StartGrace),
    ("tenant_budget", Check::TenantBudget),
    ("tenant_not_active", Check::NotActive),
    ("too_few_episodes", Check::NudgeGoverned),
];

/// Guards that no checker of these worlds asks about, and why. Each of them but the first has its scenario file.
const NOT_CHECKED: [(&str, &str); 15] = [
    ("none_asked", "a rule that asks for nothing is judged by nobody"),
    ("alert_unknown", "an alert is unknown where evidence is old, which `Stale` asks about"),
    (
        "already_asked",
        "what is asked twice in an episode comes too soon: `CoolDown`, `NudgeGoverned`",
    ),
    (
        "missing_evidence",
        "when a slope is too short or a demand not known is the engine's own arithmetic",
    ),
    ("nothing_wrong", "every rule of these worlds fires on the figure that the diagnosis reads"),
    ("owner_differs", "one target shows all containers, so there is no second opinion"),
    ("shared_container", "no container of these worlds has many tenants"),
    ("foreign_tenant", "no host of these worlds belongs to one tenant"),
    ("bad_image", "every container here runs one image, which is never new"),
    ("recovered", "who is killed here fills up again"),
    (
        "unheard",
        "a request that expired and was not heard of: `OneAtATime` and `CoolDown` see its twin",
    ),
    ("recycle_due", "no world tells of workers that are recycled"),
    ("offer_outdated", "the catalogue of a world does not change"),
    (
        "next_plan_too_small",
        "each plan here is twice the one before; `PlanFits` asks about the offer",
    ),
    ("present_plan_fits", "who is short here is so for longer than the fit tolerates"),
];

#[expect(clippy::disallowed_methods, reason = "how far to look is the caller's choice")]
fn asked_text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn asked(name: &str) -> Option<u64> {
    let text = asked_text(name)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Lives through a world, which this command shows again; the command also stands for one that panics.
fn live(command: &str, world: impl FnOnce() -> Report) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(world)).map_err(|_| format!("{command}\n  it panics"))
}

/// What is red in a world, and how to see it again.
fn told(command: &str, red: &Red) -> Option<String> {
    let faults = red.0.iter().flat_map(|(check, all)| all.iter().map(move |what| (check, what)));
    let faults: Vec<String> = faults.map(|(check, what)| format!("  {check:?}: {what}")).collect();
    (!faults.is_empty()).then(|| format!("{command}\n{}", faults.join("\n")))
}

/// Runs worlds on every core; `each` is given the command for each and what came of it, in no order.
fn run_all(
    seeds: std::ops::Range<u64>,
    hours: u64,
    each: impl Fn(&str, Result<Report, String>) + Sync,
) {
    let trace = asked_text("TRACE");
    let next = AtomicU64::new(seeds.start);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|s| *s < seeds.end)
        {
            let command = format!("SEED={seed} HOURS={hours} cargo test --test worlds every_world");
            let world = || run::run(Plan::draw(seed, hours), seed, None, trace.as_deref());
            each(&command, live(&command, world));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn every_world_keeps_every_promise() {
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("SEEDS").unwrap_or(SEEDS),
    };
    let (hours, seeds_asked) = (asked("HOURS").unwrap_or(HOURS), seeds.end - seeds.start);
    let found = Mutex::new((Vec::new(), BTreeMap::<&str, u64>::new()));
    run_all(seeds, hours, |command, report| {
        let mut found = found.lock().expect("no thread panics with it");
        let failure = match report {
            Err(failure) => Some(failure),
            Ok(report) => {
                for (what, times) in report.counts {
                    *found.1.entry(what).or_default() += times;
                }
                told(command, &report.red)
            }
        };
        found.0.extend(failure);
    });
    let (failures, counts) = found.into_inner().expect("no thread panicked");
    println!("{counts:#?}");
    if seeds_asked >= 500 {
        let never: Vec<&&str> = MUST_HAPPEN.iter().filter(|w| !counts.contains_key(**w)).collect();
        assert!(never.is_empty(), "a check of what never happens proves nothing: {never:?}");
    }
    assert!(failures.is_empty(), "{} worlds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_world_that_panics_is_told_with_the_command_that_shows_it_again() {
    let command = "SEED=7 HOURS=48 cargo test --test worlds every_world";
    let told = live(command, || panic!("on purpose")).err();
    assert_eq!(told.as_deref(), Some(format!("{command}\n  it panics").as_str()));
}

/// Looks for the worlds in which a planted fault turns every checker red that it must; returns what
/// is wrong with what was found.
fn plant(
    (mutation, hint, must, may): &(Mutation, u64, &[Check], &[Check]),
) -> Result<Vec<(u64, Vec<Check>)>, String> {
    let (mut red, mut shown) = (BTreeSet::new(), Vec::new());
    let seeds = asked("SEEDS").unwrap_or(MUTANT_SEEDS);
    let command = format!("FAULT={mutation:?} SEEDS={seeds} cargo test --test worlds planted");
    for seed in std::iter::once(*hint).chain(0..seeds) {
        let mut plan = Plan::draw(seed, MUTANT_HOURS);
        plan.make_occasions(*mutation, must);
        let trace = asked_text("TRACE");
        let world = || run::run(plan, seed, Some(*mutation), trace.as_deref());
        let report = live(&format!("{command}\n  seed {seed}"), world)?;
        let new: BTreeSet<Check> = report.red.0.keys().copied().collect();
        if let Some(other) = new.iter().find(|check| !must.contains(check) && !may.contains(check))
        {
            let what = &report.red.0[other];
            return Err(format!("{command}\n  seed {seed}: {other:?}: {what:?}"));
        }
        if !new.is_subset(&red) {
            shown.push((seed, new.difference(&red).copied().collect()));
        }
        red.extend(new);
        if must.iter().all(|check| red.contains(check)) {
            return Ok(shown);
        }
    }
    Err(format!("{command}\n  only {red:?} of {must:?}"))
}

#[test]
fn each_planted_fault_turns_its_checker_red_and_no_other() {
    let next = AtomicU64::new(0);
    let found = Mutex::new(Vec::new());
    let only = asked_text("FAULT");
    let work = || {
        while let Some(fault) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if only.as_ref().is_some_and(|only| *only != format!("{:?}", fault.0)) {
                continue;
            }
            let result = plant(fault);
            found.lock().expect("no thread panics with it").push((fault.0, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().expect("no thread panicked");
    let failures: Vec<String> = found.iter().filter_map(|(_, r)| r.clone().err()).collect();
    for (mutation, result) in found.iter().filter(|(_, result)| result.is_ok()) {
        println!("{mutation:?}: {result:?}");
    }
    assert!(failures.is_empty(), "{} faults:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_checker_is_proved_by_a_planted_fault() {
    let proved: BTreeSet<Check> =
        Mutation::ALL.iter().flat_map(|(_, _, must, _)| must.iter().copied()).collect();
    let unproved: Vec<&Check> = Check::ALL.iter().filter(|c| !proved.contains(c)).collect();
    assert!(unproved.is_empty(), "{unproved:?}");
}

#[test]
fn every_guard_has_a_checker_or_says_why_not() {
    let checked: BTreeSet<&str> = GUARDS.iter().map(|(name, _)| *name).collect();
    let excused: BTreeSet<&str> = NOT_CHECKED.iter().map(|(name, _)| *name).collect();
    let named: BTreeSet<&str> = checked.union(&excused).copied().collect();
    let known: BTreeSet<&str> = HoldReason::all().map(HoldReason::name).collect();
    assert_eq!(named, known, "left: checked or excused, right: reasons there are");
    let both: Vec<_> = checked.intersection(&excused).collect();
    assert!(both.is_empty(), "checked, so not to be excused: {both:?}");
}

#[test]
fn the_documentation_lists_every_checker() {
    let told = include_str!("../../docs/judgement.md");
    let rows = told.lines().skip_while(|line| *line != "| checker | it turns red when |");
    let table: String = rows.take_while(|line| line.starts_with('|')).collect();
    let is_told = |check: &&Check| table.contains(&format!("`{check:?}`"));
    let missing: Vec<_> = Check::ALL.iter().filter(|check| !is_told(check)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn one_seed_is_one_world() {
    let counts = || run::run(Plan::draw(5, HOURS), 5, None, None).counts;
    assert_eq!(counts(), counts());
}
