//! What a collection costs: 500 containers in a tree in memory, and as many real cgroups as this machine lets us make.
//!
//! The tree shows what our own part costs; the kernel makes the text of real files anew for each reading, which costs more
//! than ours does. Everything runs on one thread and waits for nothing, so time is CPU time. System calls are printed.

#![expect(clippy::print_stdout, reason = "a bench tells what it counted")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cgroups::{Cgroups, Layout, Load, id};
use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll::base::{Labels, Timestamp};
use plimsoll::collector::{Collector, CollectorConfig, Settings};
use plimsoll::exposition::Selection;

#[path = "../tests/support/cgroups.rs"]
mod cgroups;

const CONTAINERS: usize = 500;
const REAL: usize = 100;
const ROUNDS: u32 = 60;
const START: Timestamp = Timestamp(1_795_312_441_000);
/// What the shipped rules and evidence read.
const SHIPPED: [&str; 16] = [
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_cpu_usage_seconds_total",
    "container_last_seen",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
    "container_spec_cpu_period",
    "container_spec_cpu_quota",
    "container_spec_memory_limit_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_spec_memory_swap_limit_bytes",
    "container_start_time_seconds",
    "machine_memory_bytes",
    "plimsoll_container_memory_unreclaimable_bytes",
];

/// A collector that has looked often enough to know who runs.
struct Warm {
    collector: Collector,
    at: Timestamp,
}

impl Warm {
    fn new(cgroup_root: PathBuf, proc_root: PathBuf, selection: Selection) -> Warm {
        let config = CollectorConfig { cgroup_root, proc_root, ..CollectorConfig::default() };
        let target = Labels::from_pairs([("job", "collector"), ("instance", "web-7")]);
        let collector = Collector::new(Settings { config, target, selection: Arc::new(selection) });
        let mut warm = Warm { collector, at: START };
        for _ in 0..5 {
            warm.collect();
        }
        warm
    }

    fn collect(&mut self) -> usize {
        self.at = self.at + Duration::from_secs(5);
        self.collector.collect(self.at).expect("collects").points.len()
    }

    /// Prints what a collection asks of the kernel, on average over so many that each reads limits
    /// again as often as it will.
    fn tell(&mut self, name: &str) {
        let before = self.collector.effort();
        let samples = (0..ROUNDS).map(|_| self.collect()).last().expect("there are rounds");
        let after = self.collector.effort();
        let calls = (after.calls - before.calls) as f64 / after.containers.max(1) as f64;
        let calls = calls / f64::from(ROUNDS);
        let (containers, handles) = (after.containers, after.handles);
        println!(
            "{name}: {containers} containers, {samples} samples, {calls:.1} system calls for each container, {handles} handles"
        );
    }
}

fn shipped() -> Selection {
    Selection::only(SHIPPED.map(str::to_owned), Vec::new())
}

fn trees(criterion: &mut Criterion) {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let cgroups = Cgroups::new(dir.path(), layout);
        (0..CONTAINERS).for_each(|n| cgroups.put(&id(n), Load::default()));
        for (what, selection) in [("shipped", shipped()), ("all", Selection::all())] {
            let name = format!("{layout:?}/{what}");
            let mut warm = Warm::new(cgroups.cgroup_root(), cgroups.proc_root(), selection);
            warm.tell(&name);
            criterion.bench_function(&name, |bencher| bencher.iter(|| warm.collect()));
        }
        let mut warm = Warm::new(cgroups.cgroup_root(), cgroups.proc_root(), shipped());
        criterion.bench_function(&format!("{layout:?}/sample"), |bencher| {
            bencher.iter(|| warm.collector.sample());
        });
        let extra = id(CONTAINERS);
        criterion.bench_function(&format!("{layout:?}/one starts, one stops"), |bencher| {
            bencher.iter(|| {
                cgroups.put(&extra, Load::default());
                warm.collect();
                cgroups.remove(&extra);
                warm.collect();
            });
        });
    }
}

/// Real cgroups of version 1, if this machine has them and lets us make some.
struct Real(Vec<PathBuf>);

impl Real {
    fn make() -> Option<Real> {
        let mut real = Real(Vec::new());
        for n in 0..REAL {
            for hierarchy in ["memory", "cpu", "cpuacct", "blkio"] {
                let top = Path::new("/sys/fs/cgroup").join(hierarchy).join("docker");
                let path = top.join(id(0xbe_0000 + n));
                fs::create_dir_all(&path).ok()?;
                real.0.push(path);
            }
        }
        Some(real)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for path in &self.0 {
            fs::remove_dir(path).ok();
        }
    }
}

fn real(criterion: &mut Criterion) {
    let Some(_real) = Real::make() else {
        println!("real: no cgroups of version 1 can be made here");
        return;
    };
    for (what, selection) in [("shipped", shipped()), ("all", Selection::all())] {
        let root = PathBuf::from("/sys/fs/cgroup");
        let mut warm = Warm::new(root, PathBuf::from("/proc"), selection);
        warm.tell(&format!("real/{what}"));
        let name = format!("real/{what}");
        criterion.bench_function(&name, |bencher| bencher.iter(|| warm.collect()));
        let name = format!("real/{what}/sample");
        criterion.bench_function(&name, |bencher| bencher.iter(|| warm.collector.sample()));
    }
}

criterion_group!(benches, trees, real);
criterion_main!(benches);
