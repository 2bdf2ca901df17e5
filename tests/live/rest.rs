//! Real cgroups: a container that does nothing is not read whole, and yet no OOM kill in it is late.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use plimsoll::base::{Labels, Timestamp};
use plimsoll::collector::{Collector, CollectorConfig, Settings};
use plimsoll::exposition::{Point, Selection};
use tempfile::TempDir;

use crate::support::wait_until;

const HIERARCHIES: [&str; 2] = ["memory", "cpuacct"];
const NAMES: [&str; 3] = [
    "container_cpu_usage_seconds_total",
    "container_memory_usage_bytes",
    "container_oom_events_total",
];
/// Two reads of each container; and the host's memory, opened, read and closed.
const AT_REST: u64 = 2 * 2 + 3;
const START: Timestamp = Timestamp(1_795_312_441_000);

/// Two containers in one cgroup with a limit for both; gone when dropped.
///
/// They lie deeper than any other collector on this machine looks.
struct Family {
    view: TempDir,
    tops: Vec<PathBuf>,
}

impl Family {
    fn make(limit_bytes: u64) -> Family {
        let view = tempfile::tempdir().expect("a folder");
        let mut tops = Vec::new();
        for hierarchy in HIERARCHIES {
            let top = Path::new("/sys/fs/cgroup").join(hierarchy).join("plimsoll-rest");
            let deep = (0..13).fold(top.clone(), |path, depth| path.join(depth.to_string()));
            for member in ["idle", "greedy"] {
                fs::create_dir_all(deep.join("docker").join(id(member))).expect("root, and v1");
            }
            symlink(&deep, view.path().join(hierarchy)).expect("linked");
            tops.push(top);
        }
        let limit = view.path().join("memory/docker/memory.limit_in_bytes");
        fs::write(limit, limit_bytes.to_string()).expect("written");
        Family { view, tops }
    }

    /// Runs a shell in a container of the family.
    fn run(&self, member: &str, script: &str) -> Child {
        let enter = HIERARCHIES.map(|hierarchy| {
            let folder = self.view.path().join(hierarchy).join("docker").join(id(member));
            format!("echo $$ > {}/cgroup.procs; ", folder.display())
        });
        let script = enter.concat() + script;
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        shell.spawn().expect("a shell")
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Depth first; what is left behind would be in the way of the next run, so it is said.
        for top in &self.tops {
            let mut find = Command::new("find");
            let removed = find.arg(top).args(["-depth", "-type", "d", "-delete"]).status();
            assert!(removed.is_ok_and(|status| status.success()), "{} is left", top.display());
        }
    }
}

fn id(member: &str) -> String {
    format!("{:064x}", member.len())
}

/// Collects once; the moment is always the same, so nothing is read again because it is old.
fn collect(collector: &mut Collector, known: &mut BTreeMap<u32, Labels>) -> (u64, f64) {
    let before = collector.effort().calls;
    let batch = collector.collect(START).expect("collects");
    known.extend(batch.new);
    let kills = |point: &&Point| {
        let labels = &known[&point.id];
        let is_idle = labels.get("id").is_some_and(|path| path.ends_with(&id("idle")));
        is_idle && labels.metric_name() == "container_oom_events_total"
    };
    let kills = batch.points.iter().find(kills).expect("a count");
    (collector.effort().calls - before, kills.value)
}

#[test]
fn an_idle_process_that_is_killed_for_the_want_of_others_is_counted_at_once() {
    let family = Family::make(128 << 20);
    // The larger of the two, and so the kernel's choice. It waits for words that never come.
    let holds = "exec python3 -c 'import sys; x = b\"x\" * (80 << 20); print(flush=True); sys.stdin.read()'";
    let mut idle = family.run("idle", holds);
    let _silent = idle.stdin.take();
    let mut ready = [0];
    idle.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("it is ready");
    let config = CollectorConfig {
        cgroup_root: family.view.path().to_owned(),
        ..CollectorConfig::default()
    };
    let selection = Arc::new(Selection::only(NAMES.map(str::to_owned), Vec::new()));
    let mut collector = Collector::new(Settings { config, target: Labels::empty(), selection });
    let mut known = BTreeMap::new();
    let mut rested = || {
        let (calls, kills) = collect(&mut collector, &mut known);
        assert_eq!(kills, 0.0);
        calls == AT_REST
    };
    wait_until("both rest", 20, &mut rested);
    let mut greedy = family.run("greedy", "exec tail /dev/zero");
    assert!(!idle.wait().expect("ends").success());
    assert_eq!(collect(&mut collector, &mut known).1, 1.0);
    greedy.wait().expect("ends, too");
}
