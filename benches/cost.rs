//! What each rule costs: time and allocations of one evaluation in a steady state, with an allocator that counts.
//!
//! `cargo bench --bench cost -- CONTAINERS` drives the same host as the bench `rules` (500 containers if not said) and
//! prints one line per rule of the shipped files, the dearest first, and the whole cycle below. A rule's time is the
//! least of all cycles, which a busy machine disturbs least; the cycle's is the CPU time of this thread.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll::engine::View;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod host;
use host::{Host, SHIPPED};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Cycles before measuring, so that everything that is remembered is there, and cycles measured.
const WARM: usize = 12;
const MEASURED: usize = 100;

/// Allocations and reallocations so far.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// CPU time of this thread so far; it moves in ticks of some milliseconds.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// What readers would see now.
fn view(host: &mut Host) -> View {
    host.engine.take_view(host.now).expect("a round has passed")
}

/// By place of group and rule: its name, and what an evaluation takes.
type Rules = BTreeMap<(usize, usize), (String, Duration)>;

/// Each rule's last evaluation, by its place; the host's stopwatch says what is measured.
fn rules(view: &View) -> Rules {
    let groups = view.groups.iter().enumerate();
    let rules = groups.flat_map(|(g, group)| {
        group.rules.iter().enumerate().map(move |(r, rule)| {
            let name = format!("{} {}", group.name, rule.name);
            ((g, r), (name, rule.evaluation_time))
        })
    });
    rules.collect()
}

/// The least of each rule over the measured cycles, and what a whole cycle takes of CPU time and allocations.
fn measure(host: &mut Host) -> (Rules, Duration, usize) {
    for _ in 0..WARM {
        host.cycle(Vec::new());
    }
    let mut least = rules(&view(host));
    let mut total = (Duration::ZERO, 0);
    for _ in 0..MEASURED {
        let before = (cpu(), allocations());
        host.cycle(Vec::new());
        total.0 += cpu() - before.0;
        total.1 += allocations() - before.1;
        for (place, (_, took)) in rules(&view(host)) {
            least.entry(place).and_modify(|(_, least)| *least = took.min(*least));
        }
    }
    (least, total.0 / MEASURED as u32, total.1 / MEASURED)
}

#[expect(clippy::disallowed_methods, reason = "the stopwatch is what this bench brings")]
fn main() {
    let number = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let containers = number.unwrap_or(500);
    let started = Instant::now();
    let (time, cycle, _) =
        measure(&mut Host::new(containers, &SHIPPED, Box::new(move || started.elapsed())));
    // The stopwatch counts allocations as if they were nanoseconds.
    let counting = Box::new(|| Duration::from_nanos(allocations() as u64));
    let (count, _, of_cycle) = measure(&mut Host::new(containers, &SHIPPED, counting));
    let mut lines: Vec<_> = time.into_iter().map(|(at, rule)| (rule, &count[&at].1)).collect();
    lines.sort_by_key(|((_, took), _)| std::cmp::Reverse(*took));
    println!("{:>10} {:>12}  rule, at {containers} containers", "time", "allocations");
    for ((name, took), count) in &lines {
        println!("{:>8.1}us {:>12}  {name}", took.as_secs_f64() * 1e6, count.as_nanos());
    }
    let sum: Duration = lines.iter().map(|((_, took), _)| *took).sum();
    println!(
        "{:>8.1}us {:>12}  all rules",
        sum.as_secs_f64() * 1e6,
        lines.iter().map(|l| l.1.as_nanos()).sum::<u128>()
    );
    println!("{:>8.1}us {of_cycle:>12}  whole cycle, CPU time", cycle.as_secs_f64() * 1e6);
}
