//! Simulation: the pure engine in worlds where everything goes wrong, judged from outside.
//!
//! Seeds × worlds, each 75 minutes of virtual time that jumps from one happening to the next. The
//! same seed gives the same run, so a failure names the one command that shows it again:
//! `SEED=7 WORLD=clock cargo test --test sim`. `SEEDS=1000` looks further than the default.

use std::panic::{AssertUnwindSafe, catch_unwind};

#[path = "../support/mod.rs"]
mod support;

mod check;
mod host;
mod level;
mod plan;
mod receiver;
mod rng;
mod run;

use plan::{RELOADS, WORLDS};

/// Seeds for each world where nobody asks for more.
const SEEDS: u64 = 1;

#[expect(clippy::disallowed_methods, reason = "how far to look is the caller's choice")]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    asked(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn every_world_keeps_every_promise() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let only = asked("WORLD");
    let mut failures = Vec::new();
    for world in WORLDS.iter().filter(|world| only.as_ref().is_none_or(|only| only == world.name)) {
        for seed in seeds.clone() {
            let run = AssertUnwindSafe(|| run::run(*world, seed, false));
            match catch_unwind(run) {
                Ok(report) => {
                    assert!(report.edges > 50, "{}: too little happened", world.name);
                }
                Err(_) => {
                    failures.push(format!("SEED={seed} WORLD={} cargo test --test sim", world.name))
                }
            }
        }
    }
    assert!(failures.is_empty(), "what failed, and how to see it:\n{}", failures.join("\n"));
}

#[test]
fn one_seed_is_one_run() {
    let world = WORLDS[WORLDS.len() - 1];
    let (one, two) = (run::run(world, 5, true), run::run(world, 5, true));
    assert!(one.script == two.script, "two runs of one seed differ");
    assert!(one.late > 0, "no incident was late: the world is too kind");
    let other = run::run(world, 4, true);
    assert!(one.script != other.script, "the seed changes nothing");
}

#[test]
fn a_shell_that_reads_by_the_old_rules_after_a_reload_is_found_out() {
    let seen = catch_unwind(|| run::run_with_fault(RELOADS, 0));
    assert!(seen.is_err(), "alerts that end because nobody reads their metric go unnoticed");
}
