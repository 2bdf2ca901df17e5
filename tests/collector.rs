//! The collector over trees of cgroups: every layout, and everything that goes wrong.

#[path = "support/cgroups.rs"]
mod cgroups;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cgroups::{Cgroups, Layout, Load, id};
use plimsoll::base::{Labels, LabelsBuilder, Timestamp};
use plimsoll::collector::{CollectError, Collector, CollectorConfig, Settings};
use plimsoll::containers::{Container, ContainerId, Health, Inventory, KillsById, Status};
use plimsoll::exposition::{Batch, Format, Limits, Scan, Selection, SeriesCache};

const START: Timestamp = Timestamp(1_795_312_441_000);
const MIB: f64 = 1024.0 * 1024.0;

/// In memory where that can be had: thousands of small files are made.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn collector(cgroups: &Cgroups, selection: Selection) -> Collector {
    let config = CollectorConfig {
        cgroup_root: cgroups.cgroup_root(),
        proc_root: cgroups.proc_root(),
        ..CollectorConfig::default()
    };
    let target = Labels::from_pairs([("job", "collector"), ("instance", "web-7")]);
    Collector::new(Settings { config, target, selection: Arc::new(selection) })
}

/// What the engine would know after some batches.
#[derive(Default)]
struct Known {
    epoch: u64,
    labels: BTreeMap<u32, Labels>,
    values: BTreeMap<u32, f64>,
}

impl Known {
    fn take(&mut self, batch: &Batch) {
        if self.epoch != batch.epoch {
            *self = Known { epoch: batch.epoch, ..Known::default() };
        }
        for (id, labels) in &batch.new {
            assert!(self.labels.insert(*id, labels.clone()).is_none(), "{id} is announced twice");
        }
        for id in &batch.vanished {
            assert!(self.values.remove(id).is_some(), "{id} vanishes and was not there");
        }
        let before = self.values.len();
        for point in &batch.points {
            assert!(self.labels.contains_key(&point.id), "{} was never announced", point.id);
            self.values.insert(point.id, point.value);
        }
        assert_eq!(self.values.len(), batch.points.len(), "of {before} some fell silent unsaid");
    }

    /// The values of a name, in the order of their labels, which are shown without the target's.
    fn get(&self, name: &str) -> Vec<(String, f64)> {
        let of_name = |id: &u32| self.labels[id].metric_name() == name;
        let mut found: Vec<(String, f64)> = self
            .values
            .iter()
            .filter(|(id, _)| of_name(id))
            .map(|(id, value)| {
                let own = self.labels[id].filtered(|label| {
                    !["__name__", "id", "job", "instance", "name"].contains(&label)
                });
                (format!("{own:?}"), *value)
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    fn value(&self, name: &str) -> Option<f64> {
        match &self.get(name)[..] {
            [] => None,
            [(_, value)] => Some(*value),
            more => panic!("{name}: {more:?}"),
        }
    }
}

#[test]
fn every_layout_yields_the_same_figures() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { oom_kills: 2, ..Load::default() });
        let mut collector = collector(&cgroups, Selection::all());
        let batch = collector.collect(START).expect("collects");
        let mut known = Known::default();
        known.take(&batch);
        for (name, want) in [
            ("container_memory_usage_bytes", 50.0 * MIB),
            ("container_memory_working_set_bytes", 40.0 * MIB),
            ("container_memory_max_usage_bytes", 55.0 * MIB),
            ("container_memory_rss", 30_000_000.0),
            ("container_memory_cache", 10.0 * MIB + 184_320.0),
            ("container_memory_mapped_file", 8192.0),
            ("container_memory_swap", 0.0),
            ("container_memory_kernel_usage", 471_040.0),
            ("container_memory_total_active_file_bytes", 180_224.0),
            ("container_memory_total_inactive_file_bytes", 10.0 * MIB),
            ("plimsoll_container_memory_unreclaimable_bytes", 30_000_000.0 + 471_040.0 + 4096.0),
            ("plimsoll_container_memory_peak_bytes", 50.0 * MIB),
            ("container_spec_memory_limit_bytes", 64.0 * MIB),
            ("container_spec_memory_reservation_limit_bytes", 32.0 * MIB),
            ("container_spec_cpu_quota", 6250.0),
            ("container_spec_cpu_period", 100_000.0),
            ("container_cpu_usage_seconds_total", 28.363_645),
            ("container_cpu_user_seconds_total", 12.0),
            ("container_cpu_system_seconds_total", 1.0),
            ("container_cpu_cfs_periods_total", 960.0),
            ("container_cpu_cfs_throttled_periods_total", 95.0),
            ("container_cpu_cfs_throttled_seconds_total", 1.724_314),
            ("container_cpu_cfs_burst_periods_total", 25.0),
            ("container_cpu_cfs_burst_seconds_total", 0.5),
            ("container_spec_cpu_shares", if layout.is_v1() { 1024.0 } else { 2597.0 }),
            ("container_oom_events_total", 2.0),
            ("container_last_seen", 1_795_312_441.0),
            ("container_start_time_seconds", 1_795_300_042.0),
            ("container_fs_reads_bytes_total", 4096.0),
            ("container_fs_reads_total", 1.0),
            ("container_fs_writes_bytes_total", 8192.0),
            ("container_fs_writes_total", 2.0),
            ("machine_memory_bytes", 16384.0 * 1024.0),
            ("plimsoll_machine_memory_available_bytes", 4096.0 * 1024.0),
            ("machine_cpu_cores", 2.0),
        ] {
            let got = known.value(name).unwrap_or_else(|| panic!("{layout:?}: no {name}"));
            assert!((got - want).abs() < 1e-6 * want.abs().max(1.0), "{layout:?} {name}: {got}");
        }
        assert_eq!(known.value("container_health_state"), None, "nobody told");
        let cpu = known.get("container_cpu_usage_seconds_total");
        assert_eq!(cpu[0].0, "{cpu=\"total\"}");
        let devices = known.get("container_blkio_device_usage_total");
        assert_eq!(
            devices[0].0,
            "{device=\"/dev/vda\", major=\"254\", minor=\"0\", operation=\"Read\"}"
        );
        let labels = &batch.new[0].1;
        assert_eq!(labels.get("id"), Some(cgroups.path(&id(1)).as_str()));
        assert_eq!(labels.get("name"), Some("000000000000"));
        assert_eq!((labels.get("job"), labels.get("instance")), (Some("collector"), Some("web-7")));
        assert!(collector.trouble().is_none(), "{:?}", collector.trouble());
    }
}

#[test]
fn each_version_yields_what_its_kernel_tells_and_nothing_else() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { oom_kills: 2, ..Load::default() });
        let mut known = Known::default();
        known.take(&collector(&cgroups, Selection::all()).collect(START).expect("collects"));
        let swap_limit = if layout.is_v1() { 64.0 * MIB } else { 0.0 };
        assert_eq!(known.value("container_spec_memory_swap_limit_bytes"), Some(swap_limit));
        for (name, want) in [
            ("container_pressure_cpu_stalled_seconds_total", 0.25),
            ("container_pressure_cpu_waiting_seconds_total", 1.5),
            ("container_pressure_io_stalled_seconds_total", 20e-6),
            ("container_pressure_io_waiting_seconds_total", 30e-6),
            ("container_pressure_memory_stalled_seconds_total", 1.0),
            ("container_pressure_memory_waiting_seconds_total", 2.0),
            ("container_memory_events_high_total", 5.0),
            ("container_memory_events_max_total", 7.0),
            ("plimsoll_container_memory_swap_max_bytes", 0.0),
        ] {
            assert_eq!(known.value(name), (!layout.is_v1()).then_some(want), "{layout:?} {name}");
        }
        let told = |label: &str, values: &[(&str, f64)]| -> Vec<(String, f64)> {
            values.iter().map(|(of, value)| (format!("{{{label}=\"{of}\"}}"), *value)).collect()
        };
        let events = [("low", 3.0), ("oom", 6.0), ("oom_kill", 2.0)];
        let events = told("event", if layout.is_v1() { &events[2..] } else { &events });
        assert_eq!(known.get("plimsoll_container_memory_events_total"), events, "{layout:?}");
        let mut failures = known.get("container_memory_failures_total");
        for (labels, _) in &mut failures {
            *labels = labels.replace(", scope=\"hierarchy\"", "");
        }
        assert_eq!(failures, told("failure_type", &[("pgfault", 1911.0), ("pgmajfault", 1.0)]));
        let high = known.value("container_memory_failcnt");
        assert_eq!(high, layout.is_v1().then_some(3.0), "{layout:?}");
    }
}

#[test]
fn without_limits_there_is_zero_and_no_quota() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { limit: None, quota_us: None, ..Load::default() });
        let mut known = Known::default();
        known.take(&collector(&cgroups, Selection::all()).collect(START).expect("collects"));
        for name in [
            "container_spec_memory_limit_bytes",
            "container_spec_memory_reservation_limit_bytes",
            "container_spec_memory_swap_limit_bytes",
        ] {
            assert_eq!(known.value(name), Some(0.0), "{layout:?} {name}");
        }
        let endless = (!layout.is_v1()).then_some(f64::INFINITY);
        assert_eq!(known.value("plimsoll_container_memory_swap_max_bytes"), endless, "{layout:?}");
        for name in ["container_spec_cpu_quota", "container_cpu_cfs_periods_total"] {
            assert_eq!(known.value(name), None, "{layout:?} {name}");
        }
    }
}

#[test]
fn only_what_is_read_is_collected() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    (0..10).for_each(|n| cgroups.put(&id(n), Load::default()));
    let names = ["container_memory_usage_bytes", "container_spec_memory_limit_bytes"];
    let selection = Selection::only(names.map(str::to_owned), Vec::new());
    let mut collector = collector(&cgroups, selection);
    let first = collector.collect(START).expect("collects");
    assert_eq!((first.points.len(), first.new.len()), (20, 20));
    assert_eq!(first.metadata.len(), 2);
    let calls = collector.effort().calls;
    let second = collector.collect(START).expect("collects");
    assert_eq!((second.points.len(), second.new.len()), (20, 0));
    // No process is found in the files of this tree beyond the first look.
    assert_eq!(collector.effort().calls - calls, 10, "its memory; the limit is known");
    assert_eq!(collector.effort().handles, 20);
}

#[test]
fn limits_are_read_now_and_then_and_at_once_when_docker_tells_of_others() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let limit = "container_spec_memory_limit_bytes";
    let mut collector = collector(&cgroups, Selection::only([limit.to_owned()], Vec::new()));
    let mut known = Known::default();
    let (mut at, mut mebibytes) = (START, Vec::new());
    let mut seen = None;
    for round in 0..40 {
        at = at + Duration::from_secs(5);
        let believed = |bytes| {
            let id = ContainerId::new(&id(1)).expect("an id");
            let mut container = Container::new(id, "acme-api", START);
            container.limits.memory_bytes = bytes;
            let mut inventory = Inventory::new();
            inventory.put(container, START);
            Arc::new(inventory)
        };
        let set = |mebibytes: u64| {
            let file = cgroups.file(&id(1), "", "memory.max");
            std::fs::write(file, format!("{}\n", mebibytes << 20)).expect("written");
        };
        if round == 10 {
            set(48);
        }
        // It was just read, and would be again a minute later.
        match seen.map(|seen| round - seen) {
            Some(1) => set(32),
            Some(3) => collector.know(believed(Some(32 << 20))),
            _ => {}
        }
        known.take(&collector.collect(at).expect("collects"));
        mebibytes.push((known.value(limit).expect("a limit") / MIB).round() as u64);
        seen = mebibytes.iter().position(|seen| *seen == 48);
    }
    let seen = seen.expect("within a minute");
    assert!((11..=22).contains(&seen), "{mebibytes:?}");
    assert_eq!(mebibytes.iter().position(|seen| *seen == 32), Some(seen + 3), "{mebibytes:?}");
}

/// What only the list told of has no limits yet that Docker believes in, and none is not 0.
#[test]
fn of_a_container_that_docker_is_busy_with_no_limit_is_believed() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    cgroups.put(&id(1), Load::default());
    let limit = "plimsoll_container_memory_limit_believed_bytes";
    let mut collector = collector(&cgroups, Selection::only([limit.to_owned()], Vec::new()));
    let mut known = Known::default();
    let mut limits = |is_glimpse, at: Timestamp| {
        let id = ContainerId::new(&id(1)).expect("an id");
        let mut inventory = Inventory::new();
        inventory.put(Container { is_glimpse, ..Container::new(id, "acme-api", START) }, START);
        collector.know(Arc::new(inventory));
        known.take(&collector.collect(at).expect("collects"));
        known.get(limit).iter().map(|(_, value)| *value).collect::<Vec<f64>>()
    };
    assert_eq!(limits(true, START), [0.0; 0]);
    assert_eq!(limits(false, START + Duration::from_secs(5)), [0.0], "unlimited");
}

#[test]
fn what_docker_believes_is_shown_beside_what_the_kernel_enforces() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let mut container = Container::new(ContainerId::new(&id(1)).expect("an id"), "web", START);
    container.limits.memory_bytes = Some(1 << 20);
    container.limits.memory_soft_bytes = Some(2 << 20);
    container.limits.memory_swap_bytes = Some(3 << 20);
    (container.limits.cpu_quota_us, container.limits.cpu_period_us) = (Some(20_000), Some(80_000));
    let mut inventory = Inventory::new();
    inventory.put(container, START);
    let mut collector = collector(&cgroups, Selection::all());
    collector.know(Arc::new(inventory));
    let mut known = Known::default();
    known.take(&collector.collect(START).expect("collects"));
    for (what, want) in [
        ("memory_limit_believed_bytes", MIB),
        ("memory_reservation_believed_bytes", 2.0 * MIB),
        ("memory_swap_limit_believed_bytes", 3.0 * MIB),
        ("cpu_limit_believed_cores", 0.25),
    ] {
        assert_eq!(known.value(&format!("plimsoll_container_{what}")), Some(want), "{what}");
    }
    assert_eq!(known.value("container_spec_memory_limit_bytes"), Some(64.0 * MIB));
}

/// The kernel counts from 0 in a new cgroup, and may come as far as it was in the old one.
#[test]
fn a_count_of_kills_goes_on_where_another_run_has_as_many() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    let kills = "container_oom_events_total";
    let names = [kills, "container_memory_usage_bytes", "container_cpu_usage_seconds_total"];
    let wanted = Selection::only(names.map(str::to_owned), Vec::new());
    let mut collector = collector(&cgroups, wanted);
    let mut known = Known::default();
    let mut at = START;
    let mut count = || {
        at = at + Duration::from_secs(5);
        known.take(&collector.collect(at).expect("collects"));
        known.value(kills)
    };
    let load = |oom_kills, usage: u64| Load { oom_kills, usage: usage << 20, ..Load::default() };
    let (seen, empty) = (|oom_kills| load(oom_kills, 50), |oom_kills| load(oom_kills, 2));
    cgroups.put(&id(1), seen(1));
    assert_eq!(count(), Some(1.0));
    cgroups.remove(&id(1));
    count();
    cgroups.put(&id(1), seen(1));
    assert_eq!(count(), Some(2.0));
    // It is empty for a moment, and then another, or goes on.
    for (is_another, want) in [(true, [2.0, 3.0]), (false, [3.0, 3.0]), (true, [3.0, 4.0])] {
        cgroups.put(&id(1), empty(1));
        cgroups.populate(&id(1), 0);
        assert_eq!(count().unwrap_or(want[0]), want[0]);
        if is_another {
            cgroups.put_away(&id(1));
        }
        cgroups.put(&id(1), seen(1));
        assert_eq!(count(), Some(want[1]), "{is_another}");
    }
}

/// A copy of a container's cgroup, as whoever may make cgroups could make it.
fn forge(cgroups: &Cgroups, of: &str, path: &str, kills: u64) {
    let folder = cgroups.cgroup_root().join(path);
    let real = std::fs::read_dir(cgroups.file(of, "", "")).expect("lists");
    let files: Vec<_> = real.map(|entry| entry.expect("an entry")).collect();
    std::fs::create_dir_all(&folder).expect("made");
    for entry in files {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
    }
    std::fs::write(folder.join("memory.events"), format!("oom_kill {kills}\n")).expect("written");
    std::fs::write(folder.join("memory.current"), "4096\n").expect("written");
}

/// Sixteen collections of memory used and kills while a copy of a container's cgroup stands at `forged`
/// from this one on.
fn beside(forged: &str, from: u64) -> (Vec<(f64, f64)>, (String, String)) {
    let [usage, kills] = ["container_memory_usage_bytes", "container_oom_events_total"];
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load { oom_kills: 3, ..Load::default() });
    let names = [usage, kills].map(str::to_owned);
    let mut collector = collector(&cgroups, Selection::only(names, Vec::new()));
    let mut known = Known::default();
    let mut seen = Vec::new();
    for round in 0..16 {
        if round == from {
            forge(&cgroups, &id(1), forged, 0);
        }
        let at = START + Duration::from_secs(5 * round);
        known.take(&collector.collect(at).expect("collects"));
        let value = |name| known.value(name).expect("one of each");
        seen.push((value(usage), value(kills)));
    }
    assert!(collector.trouble().is_none(), "{:?}", collector.trouble());
    (seen, collector.doubled().expect("told").clone())
}

#[test]
fn a_second_cgroup_of_an_id_gives_no_figures_and_no_kills() {
    for forged in [
        format!("user.slice/user-1000.slice/docker-{}.scope", id(1)),
        format!("system.slice/docker-{}.scope/docker/{}", id(9), id(1)),
    ] {
        for from in [0, 2] {
            let (seen, (left, _)) = beside(&forged, from);
            assert_eq!(seen, [(50.0 * MIB, 3.0); 16], "{forged} {from}");
            assert_eq!(left, format!("/{forged}"));
        }
    }
}

#[test]
fn a_cgroup_that_is_nearer_the_top_takes_over_without_a_kill() {
    let nearer = format!("docker/{}", id(1));
    let (seen, (_, followed)) = beside(&nearer, 0);
    assert_eq!((seen, followed), (vec![(4096.0, 0.0); 16], format!("/{nearer}")));
    let (seen, (left, _)) = beside(&nearer, 2);
    assert!(left.starts_with("/system.slice/"), "{left}");
    assert_eq!((seen[1], seen[15]), ((50.0 * MIB, 3.0), (4096.0, 3.0)));
    assert!(seen.iter().all(|(_, kills)| *kills == 3.0), "{seen:?}");
}

#[test]
fn a_docker_in_a_container_is_seen_by_whoever_asks_it_and_by_nobody_else() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Cgroupfs);
    cgroups.put(&id(9), Load::default());
    forge(&cgroups, &id(9), &format!("docker/{}/docker/{}", id(9), id(1)), 0);
    let shown = |docker_knows: Option<usize>| {
        let names = ["container_memory_usage_bytes".to_owned()];
        let mut collector = collector(&cgroups, Selection::only(names, Vec::new()));
        let mut known = Known::default();
        // Docker is heard after the first look.
        let mut bytes = |collector: &mut Collector, seconds| {
            known.take(&collector.collect(START + Duration::from_secs(seconds)).expect("collects"));
            known.get("container_memory_usage_bytes").iter().map(|(_, v)| *v).collect::<Vec<_>>()
        };
        assert_eq!(bytes(&mut collector, 0).len(), 2);
        if let Some(n) = docker_knows {
            let mut inventory = Inventory::new();
            let id = ContainerId::new(&id(n)).expect("an id");
            inventory.put(Container::new(id, "acme-api", START), START);
            collector.know(Arc::new(inventory));
        }
        [5, 10, 65].map(|seconds| bytes(&mut collector, seconds).len())
    };
    assert_eq!(shown(None), [2, 2, 2]);
    assert_eq!(shown(Some(1)), [2, 2, 2], "the Docker inside");
    assert_eq!(shown(Some(9)), [1, 1, 1], "the Docker outside");
}

#[test]
fn who_is_near_the_limit_has_it_read_each_time() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    for (number, usage) in [(1, 60), (2, 50)] {
        cgroups.put(&id(number), Load { usage: usage << 20, ..Load::default() });
    }
    let names = ["container_spec_memory_limit_bytes", "container_memory_usage_bytes"];
    let wanted = Selection::only(names.map(str::to_owned), Vec::new());
    let mut collector = collector(&cgroups, wanted);
    let mut known = Known::default();
    let mut limits = |at: Timestamp| {
        known.take(&collector.collect(at).expect("collects"));
        let mut limits: Vec<f64> = known.get(names[0]).iter().map(|(_, v)| v / MIB).collect();
        limits.sort_by(f64::total_cmp);
        limits
    };
    assert_eq!(limits(START), [64.0, 64.0]);
    for number in [1, 2] {
        let file = cgroups.file(&id(number), "memory", "memory.limit_in_bytes");
        std::fs::write(file, format!("{}\n", 128 << 20)).expect("written");
    }
    assert_eq!(limits(START + Duration::from_secs(5)), [64.0, 128.0], "50 of 64, and 60");
}

#[test]
fn peaks_between_two_collections_are_kept() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    let load =
        |usage: u64, peak: u64| Load { usage: usage << 20, peak: peak << 20, ..Load::default() };
    let mut collector = collector(&cgroups, Selection::all());
    let mut known = Known::default();
    let mut peak = |collector: &mut Collector, cycle: u64| {
        known.take(&collector.collect(START + Duration::from_secs(5 * cycle)).expect("collects"));
        known.value("plimsoll_container_memory_peak_bytes").expect("is there") / MIB
    };
    cgroups.put(&id(1), load(10, 60));
    assert_eq!(peak(&mut collector, 0), 10.0, "the mark was there before we were");
    cgroups.put(&id(1), load(40, 60));
    collector.sample();
    cgroups.put(&id(1), load(20, 60));
    assert_eq!(peak(&mut collector, 1), 40.0, "sampled");
    assert_eq!(peak(&mut collector, 2), 20.0, "a peak is of its interval alone");
    let burnt = Load { cpu_microseconds: 28_400_000, ..load(20, 63) };
    cgroups.put(&id(1), burnt);
    assert_eq!(peak(&mut collector, 3), 63.0, "the kernel saw what no sample did");
    assert_eq!(peak(&mut collector, 4), 20.0);
}

#[test]
fn names_come_from_docker_late_and_once() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let names = ["container_memory_usage_bytes".to_owned()];
    let mut collector = collector(&cgroups, Selection::only(names, Vec::new()));
    let mut at = START;
    let mut shown = |collector: &mut Collector, known: &mut Known| {
        at = at + Duration::from_secs(2);
        known.take(&collector.collect(at).expect("collects"));
        let of = |id: &u32| known.labels[id].get("name").unwrap_or_default().to_owned();
        known.values.keys().map(of).collect::<Vec<_>>()
    };
    let mut known = Known::default();
    assert_eq!(shown(&mut collector, &mut known), ["000000000000"], "nobody tells");
    let mut inventory = Inventory::new();
    let mut told = |number, name: &str| {
        let id = ContainerId::new(&id(number)).expect("an id");
        let container = Container::new(id, name, START);
        let (status, started_at) = (Status::Running, Some(START));
        inventory.put(Container { status, started_at, ..container }, START);
        Arc::new(inventory.clone())
    };
    collector.know(told(1, "acme-api"));
    assert_eq!(shown(&mut collector, &mut known), ["acme-api"]);
    collector.know(told(1, "renamed"));
    assert_eq!(shown(&mut collector, &mut known), ["acme-api"], "a rename ends nothing");
    cgroups.remove(&id(1));
    assert_eq!(shown(&mut collector, &mut known), [""; 0]);
    cgroups.put(&id(1), Load::default());
    assert_eq!(shown(&mut collector, &mut known), ["acme-api"], "nor does a start after it");
    collector.know(told(3, "acme-api"));
    assert_eq!(shown(&mut collector, &mut known), ["renamed"], "until another has the name");
    cgroups.put(&id(2), Load::default());
    assert_eq!(shown(&mut collector, &mut known), ["renamed"], "the new one waits for its name");
    // As after a start of ours: what the other is called is not known yet, and alerts may be about it.
    let mut fresh = self::collector(
        &cgroups,
        Selection::only(["container_memory_usage_bytes".to_owned()], Vec::new()),
    );
    fresh.know(told(1, "renamed"));
    let batch = fresh.collect(START).expect("collects");
    let labels = [("__name__", "container_memory_usage_bytes"), ("id", &cgroups.path(&id(2)))];
    let of_target = [("job", "collector"), ("instance", "web-7")];
    assert_eq!(batch.missed, [Labels::from_pairs(labels.into_iter().chain(of_target))]);
    cgroups.put(&id(3), Load::default());
    let batch = fresh.collect(START + Duration::from_secs(4)).expect("collects");
    assert_eq!(batch.missed.len(), 1, "of one that has just begun there is no alert");
    assert!(fresh.collect(START + Duration::from_secs(5)).expect("collects").missed.is_empty());
    cgroups.remove(&id(3));
    assert_eq!(shown(&mut collector, &mut known).len(), 1);
    assert_eq!(shown(&mut collector, &mut known).len(), 1);
    assert_eq!(shown(&mut collector, &mut known), ["renamed", "000000000000"], "but not for ever");
}

#[test]
fn what_docker_said_last_is_a_name_and_no_health() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    cgroups.put(&id(1), Load::default());
    let mut collector = collector(&cgroups, Selection::all());
    let mut container = Container::new(ContainerId::new(&id(1)).expect("an id"), "web", START);
    container.health = Health::Healthy;
    let mut inventory = Inventory::new();
    inventory.put(container, START);
    let mut known = Known::default();
    for (second, is_heard, want) in [(0, false, None), (5, true, Some(1.0)), (10, false, None)] {
        inventory.set_heard(is_heard);
        collector.know(Arc::new(inventory.clone()));
        known.take(&collector.collect(START + Duration::from_secs(second)).expect("collects"));
        assert_eq!(known.value("container_health_state"), want, "at {second}");
        let shown = known.labels.values().filter_map(|labels| labels.get("name"));
        assert!(shown.into_iter().all(|name| name == "web"));
    }
}

#[test]
fn the_first_container_of_a_folder_that_nobody_knows_waits_for_no_walk() {
    for is_told in [true, false] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), Layout::V2Rootless);
        let mut collector = collector(&cgroups, Selection::all());
        let tell = |collector: &mut Collector, runs: bool| {
            let mut inventory = Inventory::new();
            if runs {
                let container = ContainerId::new(&id(1)).expect("an id");
                let container = Container::new(container, "web", START);
                let pid = is_told.then_some(77);
                inventory.put(Container { status: Status::Running, pid, ..container }, START);
            }
            inventory.set_heard(true);
            collector.know(Arc::new(inventory));
        };
        tell(&mut collector, false);
        let mut known = Known::default();
        known.take(&collector.collect(START).expect("collects"));
        cgroups.put(&id(1), Load::default());
        let process = format!("0::{}\n", cgroups.path(&id(1)));
        std::fs::write(cgroups.proc_root().join("77/cgroup"), process).expect("written");
        tell(&mut collector, true);
        for second in [5, 10] {
            known.take(&collector.collect(START + Duration::from_secs(second)).expect("collects"));
        }
        let seen = known.value("container_memory_usage_bytes").is_some();
        assert_eq!(seen, is_told, "its process was told: {is_told}");
    }
}

/// A Docker or a systemd in a container: on version 1 each cgroup counts for itself.
#[test]
fn kills_of_a_container_with_cgroups_of_its_own_are_not_the_count_of_its_outermost() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Cgroupfs] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { oom_kills: 1, ..Load::default() });
        let mut collector = collector(&cgroups, Selection::all());
        let container = ContainerId::new(&id(1)).expect("an id");
        collector.know_kills(Arc::new(KillsById::from([(container, 3)])));
        let mut known = Known::default();
        let mut kernel = |at: Timestamp| {
            known.take(&collector.collect(at).expect("collects"));
            let events = known.get("plimsoll_container_memory_events_total");
            let kills = events.iter().find(|(labels, _)| labels.contains("oom_kill"));
            (kills.map(|kills| kills.1), known.value("container_oom_events_total"))
        };
        assert_eq!(kernel(START), (Some(1.0), Some(3.0)), "{layout:?}");
        let within = cgroups.file(&id(1), "memory", "init.scope");
        std::fs::create_dir(within).expect("made");
        cgroups.put(&id(1), Load { oom_kills: 1, cpu_microseconds: 5_000_000, ..Load::default() });
        let whole = if layout.is_v1() { None } else { Some(1.0) };
        let at = START + Duration::from_secs(5);
        assert_eq!(kernel(at), (whole, Some(3.0)), "{layout:?}");
        // They are gone again, and nobody knows what was counted in them.
        std::fs::remove_dir(cgroups.file(&id(1), "memory", "init.scope")).expect("removed");
        cgroups.put(&id(1), Load { oom_kills: 1, cpu_microseconds: 9_000_000, ..Load::default() });
        let at = START + Duration::from_secs(10);
        assert_eq!(kernel(at), (whole, Some(3.0)), "{layout:?}");
    }
}

/// Nobody counted beside the kernel: what it told over two runs stands, and what it tells of a part does not.
#[test]
fn what_the_kernel_had_counted_before_a_container_made_cgroups_of_its_own_is_still_shown() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    let mut collector = collector(&cgroups, Selection::all());
    let mut known = Known::default();
    let mut at = START;
    let mut kills = || {
        at = at + Duration::from_secs(5);
        known.take(&collector.collect(at).expect("collects"));
        known.value("container_oom_events_total")
    };
    let load = |oom_kills, seconds: u64| Load {
        oom_kills,
        cpu_microseconds: seconds * 1_000_000,
        ..Load::default()
    };
    cgroups.put(&id(1), load(2, 1));
    assert_eq!(kills(), Some(2.0));
    cgroups.remove(&id(1));
    assert_eq!(kills(), None);
    cgroups.put(&id(1), load(1, 1));
    assert_eq!(kills(), Some(3.0));
    std::fs::create_dir(cgroups.file(&id(1), "memory", "init.scope")).expect("made");
    for (in_outermost, seconds) in [(1, 2), (5, 3)] {
        cgroups.put(&id(1), load(in_outermost, seconds));
        assert_eq!(kills(), Some(3.0), "{in_outermost}");
    }
}

/// As of one that Docker lists and is too busy with to say more.
#[test]
fn a_container_of_which_docker_tells_no_start_began_when_its_process_did() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let mut collector = collector(&cgroups, Selection::all());
    let inventory = running(&[1]);
    let its = inventory.get(&ContainerId::new(&id(1)).expect("an id")).expect("known");
    assert_eq!(its.started_at, None);
    collector.know(Arc::new(inventory));
    let mut known = Known::default();
    known.take(&collector.collect(START).expect("collects"));
    assert_eq!(known.value("container_start_time_seconds"), Some(1_795_300_042.0));
}

/// Of a container that is started again Docker tells a moment later than its cgroup does.
#[test]
fn a_run_of_which_docker_has_not_told_yet_began_when_its_process_did() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    cgroups.put(&id(1), Load::default());
    let mut collector = collector(&cgroups, Selection::all());
    let mut known = Known::default();
    // The process of the fixture began at 1,795,300,042.
    let second = |second: i64| Timestamp((1_795_300_000 + second) * 1000);
    let mut start = |at: i64, told: i64| {
        let container = ContainerId::new(&id(1)).expect("an id");
        let container = Container::new(container, "web", second(0));
        let (status, started_at) = (Status::Running, Some(second(told)));
        let mut inventory = Inventory::new();
        inventory.put(Container { status, started_at, ..container }, second(at));
        inventory.set_heard(true);
        collector.know(Arc::new(inventory));
        known.take(&collector.collect(second(at)).expect("collects"));
        known.value("container_start_time_seconds").map(|start| start - 1_795_300_000.0)
    };
    assert_eq!([start(35, 7), start(40, 7)], [Some(7.0); 2], "Docker's word counts");
    cgroups.remove(&id(1));
    start(41, 7);
    cgroups.put(&id(1), Load::default());
    assert_eq!(start(45, 7), Some(42.0), "this is another run");
    assert_eq!(start(50, 43), Some(43.0));
}

#[test]
fn a_restart_under_the_same_id_is_noticed() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Systemd);
    cgroups.put(&id(1), Load { oom_kills: 2, ..Load::default() });
    let mut collector = collector(&cgroups, Selection::all());
    let mut known = Known::default();
    known.take(&collector.collect(START).expect("collects"));
    cgroups.remove(&id(1));
    known.take(&collector.collect(START + Duration::from_secs(5)).expect("collects"));
    assert_eq!(known.value("container_oom_events_total"), None);
    assert_eq!(collector.effort().handles, 0);
    let small = Load { oom_kills: 1, usage: 1 << 20, peak: 9 << 20, ..Load::default() };
    cgroups.put(&id(1), small);
    known.take(&collector.collect(START + Duration::from_secs(10)).expect("collects"));
    assert_eq!(known.value("container_oom_events_total"), Some(3.0), "the count goes on");
    let peak = known.value("plimsoll_container_memory_peak_bytes");
    assert_eq!(peak, Some(9.0 * MIB), "all of its life lies within this interval");
}

#[test]
fn a_kill_that_took_its_cgroup_along_is_shown_and_the_kernel_s_own_count_stays_what_it_is() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let mut collector = collector(&cgroups, Selection::all());
    let container = ContainerId::new(&id(1)).expect("an id");
    let mut shown = |counted: u64| {
        collector.know_kills(Arc::new(KillsById::from([(container.clone(), counted)])));
        let mut known = Known::default();
        known.take(&collector.collect(START).expect("collects"));
        collector.renew();
        let kernel = known.get("plimsoll_container_memory_events_total");
        let is_kill = |(labels, _): &&(String, f64)| labels.contains("oom_kill");
        (known.value("container_oom_events_total"), kernel.iter().find(is_kill).map(|k| k.1))
    };
    assert_eq!(shown(1), (Some(1.0), Some(0.0)), "no file tells of it");
    cgroups.put(&id(1), Load { oom_kills: 2, ..Load::default() });
    assert_eq!(shown(1), (Some(2.0), Some(2.0)), "not everything is counted yet");
    assert_eq!(shown(3), (Some(3.0), Some(2.0)));
}

#[test]
fn a_last_word_in_a_batch_that_nobody_took_is_told_again() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load::default());
        let mut collector = collector(&cgroups, Selection::all());
        let mut known = Known::default();
        let mut kills = |is_lost: bool| {
            let batch = collector.collect(START).expect("collects");
            known.take(&batch);
            if is_lost {
                collector.was_lost();
            }
            known.get("container_oom_events_total").iter().map(|(_, kills)| *kills).sum::<f64>()
        };
        kills(false);
        // A child was killed, and the batch that told so was lost; then everything ends.
        cgroups.put(&id(1), Load { oom_kills: 1, ..Load::default() });
        kills(true);
        let dead = Load { usage: 8192, oom_kills: 1, cpu_microseconds: 9_000, ..Load::default() };
        cgroups.put(&id(1), dead);
        cgroups.populate(&id(1), 0);
        assert_eq!(kills(true), 1.0, "{layout:?}");
        assert_eq!(kills(true), 1.0, "{layout:?}: nor was that taken");
    }
}

#[test]
fn a_cgroup_that_nobody_removes_is_a_container_that_ended_once_nothing_runs_in_it() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        (1..=2).for_each(|n| cgroups.put(&id(n), Load::default()));
        let mut collector = collector(&cgroups, Selection::all());
        let mut known = Known::default();
        let mut rounds = 0;
        let mut collect = |collector: &mut Collector| {
            let batch = collector.collect(START + Duration::from_secs(5) * rounds);
            rounds += 1;
            let batch = batch.expect("collects");
            known.take(&batch);
            let usage = "container_memory_usage_bytes";
            let is_missed = batch.missed.iter().any(|labels| labels.metric_name() == usage);
            (known.get(usage).len(), known.get("container_oom_events_total"), is_missed)
        };
        (0..3).for_each(|_| assert_eq!(collect(&mut collector).0, 2, "{layout:?}"));
        // Killed for memory: nothing is left but what the cgroup itself takes.
        let dead =
            Load { usage: 8192, cpu_microseconds: 28_400_000, oom_kills: 1, ..Load::default() };
        cgroups.put(&id(1), dead);
        cgroups.populate(&id(1), 0);
        assert!(collector.page(START).is_ok(), "a page takes nothing of it");
        let (shown, kills, is_missed) = collect(&mut collector);
        assert_eq!((shown, is_missed), (1, true), "{layout:?}: at once");
        let mut counts: Vec<f64> = kills.iter().map(|(_, kills)| *kills).collect();
        counts.sort_by(f64::total_cmp);
        assert_eq!(counts, [0.0, 1.0], "{layout:?}: its last word");
        let (shown, kills, is_missed) = collect(&mut collector);
        assert_eq!(
            (shown, kills.len(), is_missed),
            (1, 1, false),
            "{layout:?}: whom it hit shows in who is gone"
        );
        // Stopped, with all of its memory in cache: noticed when it has kept still once.
        cgroups.put(&id(2), Load { cpu_microseconds: 28_500_000, ..Load::default() });
        cgroups.populate(&id(2), 0);
        let shown = [(); 3].map(|()| collect(&mut collector).0);
        assert_eq!(shown, [1, 0, 0], "{layout:?}");
        assert!(collector.trouble().is_none(), "{:?}", collector.trouble());
        assert_eq!((collector.effort().containers, collector.effort().handles), (2, 0));
        cgroups.put(&id(1), Load { oom_kills: 1, ..Load::default() });
        let (shown, kills, _) = collect(&mut collector);
        assert_eq!((shown, kills[0].1), (1, 1.0), "{layout:?}: something runs in it again");
        cgroups.remove(&id(2));
        assert_eq!(collect(&mut collector).0, 1);
        assert_eq!(collector.effort().containers, 1, "{layout:?}");
    }
}

/// We are started again while Docker hangs, and know from the journal when it had been started.
#[test]
fn an_empty_cgroup_has_no_start() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { usage: 8192, oom_kills: 1, ..Load::default() });
        cgroups.populate(&id(1), 0);
        let mut collector = collector(&cgroups, Selection::all());
        let mut inventory = Inventory::new();
        let (status, started_at) = (Status::Running, Some(START - Duration::from_secs(60)));
        let container = Container::new(ContainerId::new(&id(1)).expect("an id"), "acme-api", START);
        inventory.put(Container { status, started_at, ..container }, START);
        inventory.set_heard(false);
        collector.know(Arc::new(inventory));
        let mut known = Known::default();
        known.take(&collector.collect(START).expect("collects"));
        assert_eq!(known.value("container_oom_events_total"), Some(1.0), "{layout:?}");
        assert_eq!(known.value("container_start_time_seconds"), None, "{layout:?}");
    }
}

/// Else whoever is told of the kill takes that for a container that lives on.
#[test]
fn an_empty_cgroup_does_not_tell_again_of_a_kill_that_was_told() {
    for layout in Layout::ALL {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        let small = Load { usage: 336 << 10, ..Load::default() };
        (1..=2).for_each(|n| cgroups.put(&id(n), small));
        let mut collector = collector(&cgroups, Selection::all());
        let mut known = Known::default();
        let mut rounds = 0;
        let mut collect = || {
            let batch = collector.collect(START + Duration::from_secs(5) * rounds);
            rounds += 1;
            known.take(&batch.expect("collects"));
            let kills = known.get("container_oom_events_total");
            (known.get("container_memory_usage_bytes").len(), kills.len())
        };
        (0..3).for_each(|_| assert_eq!(collect(), (2, 2), "{layout:?}"));
        // Something was killed in it, and in the end it takes more than before.
        for (usage, want) in [(381 << 10, (2, 2)), (382 << 10, (1, 1)), (382 << 10, (1, 1))] {
            let cpu_microseconds = 28_400_000 + usage;
            cgroups.put(&id(1), Load { usage, cpu_microseconds, oom_kills: 1, ..small });
            cgroups.populate(&id(1), 0);
            assert_eq!(collect(), want, "{layout:?} {usage}");
        }
        // Another kill in the same one, which runs again, is news.
        cgroups.put(&id(1), Load { oom_kills: 1, ..small });
        cgroups.populate(&id(1), 1);
        assert_eq!(collect(), (2, 2), "{layout:?}");
        cgroups.put(&id(1), Load { usage: 8192, oom_kills: 2, ..small });
        cgroups.populate(&id(1), 0);
        assert_eq!([collect(), collect()], [(1, 2), (1, 1)], "{layout:?}");
    }
}

/// A folder that is too deep to be entered may have containers in it, and says nothing against those that were found.
#[test]
fn the_last_word_of_the_only_container_is_heard_beside_a_folder_that_is_not_entered() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        let top = if layout.is_v1() { "memory" } else { "" };
        let deep = cgroups.cgroup_root().join(top).join("d/".repeat(14));
        std::fs::create_dir_all(deep).expect("made");
        let small = Load { usage: 336 << 10, ..Load::default() };
        cgroups.put(&id(1), small);
        let mut collector = collector(&cgroups, Selection::all());
        let mut known = Known::default();
        let mut kills = Vec::new();
        for round in 0..4 {
            if round == 1 {
                cgroups.put(&id(1), Load { usage: 8192, oom_kills: 1, ..small });
                cgroups.populate(&id(1), 0);
            }
            let batch = collector.collect(START + Duration::from_secs(5) * round);
            known.take(&batch.expect("what was found is read"));
            kills.push(known.value("container_oom_events_total"));
        }
        assert_eq!(kills, [Some(0.0), Some(1.0), None, None], "{layout:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_and_costs_only_itself() {
    for (layout, controller, file) in
        [(Layout::V1Cgroupfs, "memory", "memory.stat"), (Layout::V2Cgroupfs, "", "memory.stat")]
    {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load::default());
        cgroups.put(&id(2), Load::default());
        std::fs::write(cgroups.file(&id(1), controller, file), "not what it was\n")
            .expect("written");
        let mut collector = collector(&cgroups, Selection::all());
        let mut known = Known::default();
        known.take(&collector.collect(START).expect("collects"));
        assert_eq!(known.get("container_memory_usage_bytes").len(), 2);
        assert_eq!(known.get("container_memory_rss").len(), 1, "no figure is made up");
        assert_eq!(known.get("container_memory_working_set_bytes").len(), 1);
        let failed: Vec<f64> =
            known.get("plimsoll_container_read_failed").iter().map(|(_, v)| *v).collect();
        assert_eq!(failed.iter().sum::<f64>(), 1.0);
        let (count, first) = collector.trouble().expect("told").clone();
        assert_eq!(count, 1);
        assert!(first.contains(file) && first.contains("not what the kernel writes"), "{first}");
        assert!(collector.page(START).expect("a page").contains("container_scrape_error 1\n"));

        // A folder where a file should be: it opens, and cannot be read, as without permission.
        std::fs::remove_file(cgroups.file(&id(1), controller, file)).expect("removed");
        std::fs::create_dir(cgroups.file(&id(1), controller, file)).expect("made");
        let mut blind = self::collector(&cgroups, Selection::all());
        blind.collect(START).expect("the other one is read");
        assert!(blind.trouble().expect("told").1.contains("directory"), "{:?}", blind.trouble());
    }
}

/// What Docker lists: these run.
fn running(numbers: &[usize]) -> Inventory {
    let mut inventory = Inventory::new();
    for number in numbers {
        let id = ContainerId::new(&id(*number)).expect("an id");
        let container = Container::new(id, &format!("web-{number}"), START);
        inventory.put(Container { status: Status::Running, ..container }, START);
    }
    inventory.set_heard(true);
    inventory
}

/// As in a container without `cgroup: host`: the tree is there, and empty.
#[test]
fn when_docker_lists_containers_and_none_is_seen_the_target_is_down() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    let mut collector = collector(&cgroups, Selection::all());
    let none = collector.collect(START).expect("nobody says that there should be any");
    assert!(none.trouble.is_none(), "{:?}", none.trouble);
    collector.know(Arc::new(running(&[])));
    assert!(collector.collect(START).expect("nothing runs").trouble.is_none());
    collector.know(Arc::new(running(&[1, 2, 3])));
    let seconds = |n: u64| START + Duration::from_secs(n);
    assert!(collector.collect(seconds(5)).expect("they may have just ended").trouble.is_none());
    assert!(collector.collect(seconds(64)).is_ok());
    let error = collector.collect(seconds(65)).expect_err("the whole tree was walked").to_string();
    assert!(error.contains("not one of 3") && error.contains("web-1 runs"), "{error}");
    assert!(error.contains("`cgroup: host`"), "{error}");
    collector.page(seconds(65)).expect_err("a page is none either");
    // What an unheard Docker said last is not taken back by anybody.
    let mut silent = running(&[1, 2, 3]);
    silent.set_heard(false);
    collector.know(Arc::new(silent));
    assert!(collector.collect(seconds(70)).is_err());
    cgroups.put(&id(1), Load::default());
    let batch = collector.collect(seconds(75)).expect("one is seen");
    assert_eq!(collector.trouble().map(|(count, _)| *count), Some(2), "{:?}", batch.trouble);
    // A collector that begins so knows at once: alerts may be about them.
    cgroups.remove(&id(1));
    let mut fresh = self::collector(&cgroups, Selection::all());
    fresh.know(Arc::new(running(&[1])));
    fresh.collect(START).expect_err("it was there before we were");
}

/// A collector beside a Docker that is reached by this machine's name or another one's.
fn beside_docker_at_a_name(cgroups: &Cgroups) -> Collector {
    let config = CollectorConfig {
        cgroup_root: cgroups.cgroup_root(),
        proc_root: cgroups.proc_root(),
        docker_afar: Some("http://other:2375/".to_owned()),
        ..CollectorConfig::default()
    };
    let selection = Arc::new(Selection::all());
    Collector::new(Settings { config, target: Labels::empty(), selection })
}

#[test]
fn containers_of_a_docker_on_another_machine_are_not_missed_here() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    let mut collector = beside_docker_at_a_name(&cgroups);
    collector.know(Arc::new(running(&[1, 2])));
    let mut known = Known::default();
    let mut look = |collector: &mut Collector, second| {
        let batch = collector.collect(START + Duration::from_secs(second)).expect("reads");
        assert_eq!((&batch.trouble, batch.missed.len()), (&None, 0));
        known.take(&batch);
    };
    look(&mut collector, 0);
    assert_eq!(collector.docker_elsewhere(), Some("http://other:2375/"));
    // One that is here goes by its id; that Docker falls silent changes nothing.
    cgroups.put(&id(9), Load::default());
    let mut silent = running(&[1, 2]);
    silent.set_heard(false);
    collector.know(Arc::new(silent));
    [65, 75].into_iter().for_each(|second| look(&mut collector, second));
    assert_eq!(known.value("container_memory_usage_bytes"), Some(50.0 * MIB));
    assert_eq!(known.value("container_scrape_error"), Some(0.0));
}

/// A proxy in front of this machine's Docker has another address, too.
#[test]
fn containers_of_this_machine_are_missed_whatever_address_docker_has() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let mut collector = beside_docker_at_a_name(&cgroups);
    collector.know(Arc::new(running(&[1, 2])));
    let batch = collector.collect(START).expect("one is read");
    assert!(batch.trouble.is_some_and(|trouble| trouble.contains("web-2 runs")));
    assert_eq!(collector.docker_elsewhere(), None);
    // We run in one of its containers, and see no cgroup at all.
    cgroups.remove(&id(1));
    let own = format!("1 2 0:1 /containers/{}/hosts /etc/hosts rw\n", id(2));
    std::fs::create_dir_all(cgroups.proc_root().join("self")).expect("made");
    std::fs::write(cgroups.proc_root().join("self/mountinfo"), own).expect("written");
    let mut blind = beside_docker_at_a_name(&cgroups);
    blind.know(Arc::new(running(&[1, 2])));
    let error = blind.collect(START).expect_err("it sees none").to_string();
    assert!(error.contains("web-1 runs"), "{error}");
}

#[test]
fn a_container_that_is_not_seen_is_missed_and_told_beside_those_that_are() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Systemd);
    cgroups.put(&id(1), Load::default());
    let names = ["container_memory_usage_bytes", "container_scrape_error"].map(str::to_owned);
    let mut collector = collector(&cgroups, Selection::only(names, Vec::new()));
    let mut known = Known::default();
    let mut inventory = running(&[1]);
    let mut look = |collector: &mut Collector, second| {
        let batch = collector.collect(START + Duration::from_secs(second)).expect("one is read");
        known.take(&batch);
        let missed = batch.missed.iter().map(|labels| labels.get("name").map(str::to_owned));
        let error = known.value("container_scrape_error").expect("is told");
        (error, missed.collect::<Vec<_>>(), batch.trouble.unwrap_or_default())
    };
    collector.know(Arc::new(inventory.clone()));
    let nothing = (0.0, vec![], String::new());
    assert_eq!(look(&mut collector, 0), nothing);
    for (number, status) in [(2, Status::Running), (3, Status::Exited), (4, Status::Restarting)] {
        let id = ContainerId::new(&id(number)).expect("an id");
        let container = Container::new(id, &format!("web-{number}"), START);
        inventory.put(Container { status, ..container }, START);
    }
    collector.know(Arc::new(inventory));
    assert_eq!(look(&mut collector, 5), nothing, "it has just begun");
    let (error, missed, trouble) = look(&mut collector, 65);
    assert_eq!((error, missed), (1.0, vec![Some("web-2".to_owned())]));
    assert!(trouble.starts_with("of 1 containers") && trouble.contains("web-2 runs"), "{trouble}");
    let batch = collector.collect(START + Duration::from_secs(70)).expect("one is read");
    let labels = [("__name__", "container_memory_usage_bytes"), ("image", ""), ("name", "web-2")];
    let of_target = [("job", "collector"), ("instance", "web-7")];
    let own = Labels::from_pairs(labels.into_iter().chain(of_target));
    assert_eq!(batch.missed, [own], "with no path: nobody knows it");
    cgroups.put(&id(2), Load::default());
    let (error, missed, trouble) = look(&mut collector, 75);
    assert_eq!((error, missed, trouble), nothing);
}

/// As of mode 0700 for whoever is not root; to root nothing is forbidden, but no path may be longer than
/// 4,095 bytes.
#[test]
fn a_folder_that_cannot_be_listed_is_told_until_it_can() {
    let dir = folder();
    let mut deep = dir.path().to_owned();
    while deep.as_os_str().len() < 3500 {
        deep.push("d".repeat(200));
    }
    let cgroups = Cgroups::new(&deep, Layout::V2Cgroupfs);
    let [near, far] = [1, 250].map(|length| cgroups.cgroup_root().join("f".repeat(length)));
    let inner = "i".repeat(250);
    std::fs::create_dir_all(near.join(&inner).join(id(2))).expect("made");
    std::fs::write(near.join(&inner).join(id(2)).join("memory.current"), "1\n").expect("written");
    std::fs::rename(&near, &far).expect("moved");
    let mut collector = collector(&cgroups, Selection::all());
    let seconds = |n: u64| START + Duration::from_secs(n);
    let error = collector.collect(seconds(0)).expect_err("it sees nothing else").to_string();
    assert!(error.contains("cannot be listed: File name too long"), "{error}");
    collector.know(Arc::new(running(&[])));
    let batch = collector.collect(seconds(5)).expect("nothing runs");
    assert!(batch.trouble.is_some_and(|trouble| trouble.contains("cannot be listed")));
    cgroups.put(&id(1), Load::default());
    // Every minute the whole tree is walked; until then the path is no shorter.
    for (second, heals, want) in [
        (10, false, (1, true)),
        (60, false, (1, true)),
        (65, true, (1, true)),
        (120, false, (2, false)),
    ] {
        if heals {
            std::fs::rename(&far, &near).expect("moved");
        }
        let is_told = collector.collect(seconds(second)).expect("collects").trouble.is_some();
        assert_eq!((collector.effort().containers, is_told), want, "{second}");
    }
}

/// The missed series of a batch: the name, and the labels that containers have in common taken off.
fn missed(batch: &Batch) -> Vec<String> {
    let own = |label: &str| !["__name__", "id", "job", "instance", "name"].contains(&label);
    let told = |labels: &Labels| format!("{} {:?}", labels.metric_name(), labels.filtered(own));
    let mut missed: Vec<String> = batch.missed.iter().map(told).collect();
    missed.sort();
    missed
}

/// What is read of the containers with unreadable files.
const READ: [&str; 6] = [
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
    "container_cpu_cfs_periods_total",
    "container_fs_reads_bytes_total",
    "container_fs_reads_total",
];

/// A file of a controller, a text that is not the kernel's, and which series want it.
type Unreadable = (&'static str, &'static str, &'static [&'static str]);

const OF_V1: [Unreadable; 3] = [
    ("memory/memory.usage_in_bytes", "", &[READ[0], READ[1]]),
    ("cpu/cpu.stat", "nr_periods x\n", &[READ[3]]),
    ("blkio/blkio.throttle.io_service_bytes_recursive", "8:0 Read x\n", &[READ[4]]),
];

const OF_V2: [Unreadable; 4] = [
    ("/memory.current", "garbage\n", &[READ[0], READ[1]]),
    ("/memory.events", "oom_kill 1\nnot the kernel's\n", &[READ[2]]),
    ("/cpu.max", "x\n", &[READ[3]]),
    ("/io.stat", "8:0 rbytes=1 wbytes=x\n", &[READ[4], READ[5]]),
];

#[test]
fn what_a_file_that_cannot_be_read_should_have_brought_is_said() {
    let of_v1 = OF_V1.iter().map(|case| (Layout::V1Cgroupfs, case));
    let of_v2 = OF_V2.iter().map(|case| (Layout::V2Systemd, case));
    for (layout, (file, text, want)) in of_v1.chain(of_v2) {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        (1..3).for_each(|n| cgroups.put(&id(n), Load::default()));
        let (controller, file) = file.split_once('/').expect("a controller and a file");
        let path = cgroups.file(&id(1), controller, file);
        let write = |text: &[u8]| std::fs::write(&path, text).expect("written");
        let selection = || Selection::only(READ.map(str::to_owned), Vec::new());
        let mut eyes = collector(&cgroups, selection());
        let mut known = Known::default();
        let whole = eyes.collect(START).expect("collects");
        assert!(whole.missed.is_empty(), "{:?}", whole.missed);
        known.take(&whole);
        let good = std::fs::read(&path).expect("a file");
        write(text.as_bytes());
        let batch = eyes.collect(START + Duration::from_secs(5)).expect("the other is read");
        let told = missed(&batch);
        let mut all: Vec<String> = want.iter().map(|name| format!("{name} {{}}")).collect();
        all.sort();
        assert_eq!(told, all, "{file}");
        assert!(batch.vanished.len() >= told.len(), "{file}: what is missed has ended");
        known.take(&batch);
        for name in *want {
            let left = known.get(name).len();
            assert_eq!(
                (left > 0, left),
                (true, batch_count(&whole, name) / 2),
                "no good lines: {file}"
            );
        }
        // A collector that begins with such a file, as after a start of ours.
        let fresh = collector(&cgroups, selection()).collect(START).expect("collects");
        assert_eq!(missed(&fresh), told);
        assert!(fresh.missed.iter().all(|labels| labels.get("job") == Some("collector")));
        write(&good);
        let healed = eyes.collect(START + Duration::from_secs(10)).expect("collects");
        assert!(healed.missed.is_empty(), "{:?}", healed.missed);
        write(text.as_bytes());
        cgroups.remove(&id(1));
        let gone = eyes.collect(START + Duration::from_secs(15)).expect("collects");
        assert!(gone.missed.is_empty(), "a container that is gone: {:?}", gone.missed);
    }
}

fn batch_count(batch: &Batch, name: &str) -> usize {
    batch.new.iter().filter(|(_, labels)| labels.metric_name() == name).count()
}

#[test]
fn a_network_of_its_own_is_shown_and_one_that_cannot_be_read_is_missed() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let process = cgroups.proc_root().join("77");
    for (pid, network) in [("1", "net:[4026531840]"), ("77", "net:[4026532001]")] {
        let folder = cgroups.proc_root().join(pid).join("ns");
        std::fs::create_dir_all(&folder).expect("made");
        std::os::unix::fs::symlink(network, folder.join("net")).expect("linked");
    }
    std::fs::create_dir(process.join("net")).expect("made");
    let write = |text: &str| std::fs::write(process.join("net/dev"), text).expect("written");
    let name = "container_network_receive_bytes_total";
    let kills = "container_oom_events_total";
    let selection = || Selection::only([name, kills].map(str::to_owned), Vec::new());
    let mut eyes = collector(&cgroups, selection());
    let mut known = Known::default();
    let mut at = START;
    let mut look = |known: &mut Known| {
        at = at + Duration::from_secs(5);
        let batch = eyes.collect(at).expect("collects");
        known.take(&batch);
        (known.get(name), missed(&batch))
    };
    write("a\nb\n lo: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\neth0: 7 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n");
    let shown = vec![("{interface=\"eth0\"}".to_owned(), 7.0)];
    assert_eq!(look(&mut known), (shown.clone(), vec![]));
    let unread = vec![format!("{name} {{}}")];
    write("a\nb\neth0: 9 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\neth1: x\n");
    assert_eq!(look(&mut known), (vec![], unread.clone()), "one stands for all interfaces");
    std::fs::remove_file(process.join("net/dev")).expect("removed");
    assert_eq!(look(&mut known), (vec![], unread));
    std::fs::rename(&process, cgroups.proc_root().join("78")).expect("renamed");
    assert_eq!(look(&mut known), (vec![], vec![]), "its process has ended");
    std::fs::rename(cgroups.proc_root().join("78"), &process).expect("renamed");
    write("a\nb\neth0: 7 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n");
    assert_eq!(look(&mut known), (shown, vec![]));
    write("a\nb\neth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n");
    let mut all = Known::default();
    all.take(&collector(&cgroups, Selection::all()).collect(START).expect("collects"));
    for (direction, counts) in
        [("receive", [1.0, 2.0, 3.0, 4.0]), ("transmit", [5.0, 6.0, 7.0, 8.0])]
    {
        for (what, want) in ["bytes", "packets", "errors", "packets_dropped"].iter().zip(counts) {
            let name = format!("container_network_{direction}_{what}_total");
            assert_eq!(all.value(&name), Some(want), "{name}");
        }
    }
    let host = cgroups.proc_root().join("1/ns/net");
    std::fs::remove_file(&host).expect("removed");
    std::os::unix::fs::symlink("net:[4026532001]", host).expect("linked");
    let of_the_host = collector(&cgroups, selection()).collect(START).expect("collects");
    assert_eq!(batch_count(&of_the_host, name), 0, "the host's network is nobody's own");
}

#[test]
fn without_a_quota_no_throttling_is_missed() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Cgroupfs);
    (1..3).for_each(|n| cgroups.put(&id(n), Load { quota_us: None, ..Load::default() }));
    std::fs::write(cgroups.file(&id(1), "", "cpu.stat"), "x\n").expect("written");
    let mut collector = collector(&cgroups, Selection::all());
    let told = missed(&collector.collect(START).expect("collects"));
    let seconds = ["system", "user"].map(|of| format!("container_cpu_{of}_seconds_total {{}}"));
    let usage = "container_cpu_usage_seconds_total {cpu=\"total\"}".to_owned();
    assert_eq!(told, [&seconds[0], &usage, &seconds[1]].map(String::clone));
}

#[test]
fn when_nothing_can_be_read_the_target_is_down() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Cgroupfs);
    let mut unmounted = {
        let config = CollectorConfig { cgroup_root: dir.path().join("none"), ..Default::default() };
        let selection = Arc::new(Selection::all());
        Collector::new(Settings { config, target: Labels::empty(), selection })
    };
    let error = unmounted.collect(START).expect_err("there is nothing").to_string();
    assert!(error.contains("/none") && error.contains("collector.cgroup_root"), "{error}");
    cgroups.put(&id(1), Load::default());
    std::fs::write(cgroups.file(&id(1), "", "memory.current"), "garbage").expect("written");
    let mut collector = collector(&cgroups, Selection::all());
    let error = collector.collect(START).expect_err("the only container cannot be read");
    assert!(matches!(error, CollectError::Unreadable { containers: 1, .. }), "{error}");
    cgroups.put(&id(1), Load::default());
    let mut known = Known::default();
    known.take(&collector.collect(START + Duration::from_secs(5)).expect("it can again"));
    assert_eq!(known.value("container_memory_usage_bytes"), Some(50.0 * MIB));
}

#[test]
fn ten_thousand_containers_come_and_go() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    let names = ["container_memory_usage_bytes", "container_memory_working_set_bytes"];
    let selection = Selection::only(names.map(str::to_owned), Vec::new());
    let mut collector = collector(&cgroups, selection);
    let mut known = Known::default();
    let mut at = START;
    for round in 0..20 {
        let batch: Vec<String> = (0..500).map(|n| id(round * 500 + n)).collect();
        batch.iter().for_each(|id| {
            let folder = cgroups.file(id, "", "x");
            std::fs::create_dir_all(folder.parent().expect("a folder")).expect("made");
            std::fs::write(cgroups.file(id, "", "memory.current"), "4096\n").expect("written");
            let stat = "anon 1\nfile 2\ninactive_file 1024\n";
            std::fs::write(cgroups.file(id, "", "memory.stat"), stat).expect("written");
        });
        at = at + Duration::from_secs(3);
        known.take(&collector.collect(at).expect("collects"));
        assert_eq!(known.values.len(), 1000);
        batch.iter().for_each(|id| cgroups.remove(id));
    }
    at = at + Duration::from_secs(3);
    known.take(&collector.collect(at).expect("collects"));
    let effort = collector.effort();
    assert_eq!((known.values.len(), effort.containers, effort.handles), (0, 0, 0));
}

#[test]
fn the_page_says_what_the_batch_says() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    (1..4).for_each(|n| cgroups.put(&id(n), Load::default()));
    let mut collector = collector(&cgroups, Selection::all());
    let batch = collector.collect(START).expect("collects");
    let page = collector.page(START).expect("a page");
    let (mut cache, limits, selection) = (SeriesCache::new(), Limits::default(), Selection::all());
    let mut admit = |labels: &mut LabelsBuilder| {
        labels.set("job", "collector").set("instance", "web-7");
        true
    };
    let mut scan = Scan::begin(&mut cache, &selection, Format::Text, &limits, &mut admit);
    scan.feed(page.as_bytes()).expect("is good");
    let scanned = scan.finish().expect("is good");
    let values = |batch: &Batch| -> BTreeMap<String, String> {
        let labels: BTreeMap<u32, &Labels> = batch.new.iter().map(|(id, l)| (*id, l)).collect();
        batch.points.iter().map(|p| (format!("{:?}", labels[&p.id]), p.value.to_string())).collect()
    };
    assert_eq!(values(&scanned), values(&batch));
    assert_eq!(scanned.metadata.len(), batch.metadata.len(), "and every family is described");
}

#[test]
fn peaks_are_sampled_while_somebody_can_read_them() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let only = |name: &str| Selection::only([name.to_owned()], Vec::new());
    let peaks = collector(&cgroups, only("plimsoll_container_memory_peak_bytes"));
    assert_eq!(peaks.sample_interval(), Some(Duration::from_secs(1)));
    let mut nobody = collector(&cgroups, only("container_memory_usage_bytes"));
    assert_eq!(nobody.sample_interval(), None);
    nobody.page(START).expect("a page");
    let mut samples = 0;
    while nobody.sample_interval().is_some() {
        nobody.sample();
        samples += 1;
    }
    assert_eq!(samples, 300, "whoever scrapes the page every five minutes has peaks");
}

#[test]
fn who_has_no_quota_is_not_asked_for_throttling() {
    for (layout, quota_us, calls) in [
        (Layout::V1Cgroupfs, Some(6250), 2),
        (Layout::V1Cgroupfs, None, 1),
        // There the file tells the usage as well.
        (Layout::V2Systemd, None, 1),
    ] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        cgroups.put(&id(1), Load { quota_us, ..Load::default() });
        let names = ["container_cpu_usage_seconds_total", "container_cpu_cfs_periods_total"];
        let selection = Selection::only(names.map(str::to_owned), Vec::new());
        let mut collector = collector(&cgroups, selection);
        collector.collect(START).expect("collects");
        let before = collector.effort().calls;
        let batch = collector.collect(START).expect("collects");
        assert_eq!(batch.points.len(), 1 + usize::from(quota_us.is_some()), "{layout:?}");
        assert_eq!(collector.effort().calls - before, calls, "{layout:?} {quota_us:?}");
    }
}

#[test]
fn a_start_costs_its_own_files_and_nothing_of_the_others() {
    let cost = |others: usize| {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
        (1..=others).for_each(|n| cgroups.put(&id(n), Load::default()));
        let names = ["container_memory_usage_bytes", "container_memory_working_set_bytes"];
        let selection = Selection::only(names.map(str::to_owned), Vec::new());
        let mut collector = collector(&cgroups, selection);
        let mut at = START;
        let mut spent = |collector: &mut Collector| {
            at = at + Duration::from_secs(5);
            let before = collector.effort();
            collector.collect(at).expect("collects");
            let after = collector.effort();
            // Each entry of a folder is looked at once, whoever it is.
            let entries = after.entries - before.entries;
            assert_eq!(entries, after.containers as u64, "of {} folders", after.listings);
            (after.calls - before.calls, after.listings - before.listings)
        };
        // The first look walks the tree.
        collector.collect(START).expect("collects");
        (0..5).map(|_| spent(&mut collector)).for_each(|(calls, _)| assert!(calls > 0));
        let quiet = spent(&mut collector);
        cgroups.put(&id(0), Load::default());
        let started = spent(&mut collector);
        let after = spent(&mut collector);
        cgroups.remove(&id(0));
        let gone = spent(&mut collector);
        let listings = [quiet, started, after, gone].map(|(_, listings)| listings);
        (started.0 - quiet.0, gone.0 as i64 - quiet.0 as i64, after.0 > quiet.0, listings)
    };
    let few = cost(10);
    assert!(few.0 > 0 && few.1 == 0, "{few:?}");
    assert_eq!(few.3, [3; 4], "the folders where runtimes put containers");
    assert_eq!(few, cost(200));
}

#[test]
fn a_clock_that_steps_back_hides_nobody() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V2Systemd);
    let names = ["container_memory_usage_bytes".to_owned()];
    let mut collector = collector(&cgroups, Selection::only(names, Vec::new()));
    collector.know(Arc::new(Inventory::new()));
    collector.collect(START).expect("collects");
    let seconds = |n: u64| START + Duration::from_secs(n);
    cgroups.put(&id(1), Load::default());
    assert_eq!(collector.collect(seconds(3605)).expect("collects").points.len(), 0, "waits");
    let shown = [3, 6, 9].map(|n| collector.collect(seconds(n)).expect("collects").points.len());
    assert_eq!(shown, [0, 0, 1], "an hour back: it waits its five seconds, not an hour");
    cgroups.put(&id(2), Load::default());
    cgroups.remove(&id(1));
    collector.collect(seconds(7200)).expect("collects");
    assert_eq!(collector.collect(seconds(7206)).expect("collects").points.len(), 1);
}

/// What the shipped rules and evidence read of a container.
const SHIPPED: [&str; 10] = [
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_usage_seconds_total",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
    "container_spec_cpu_quota",
    "container_spec_memory_limit_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_spec_memory_swap_limit_bytes",
    "plimsoll_container_memory_unreclaimable_bytes",
];

/// A collector of what is shipped, and its clock.
struct Watch {
    collector: Collector,
    known: Known,
    at: Timestamp,
}

impl Watch {
    fn new(cgroups: &Cgroups) -> Watch {
        Watch::of(cgroups, &SHIPPED)
    }

    /// Of these names.
    fn of(cgroups: &Cgroups, names: &[&str]) -> Watch {
        let names = names.iter().map(|name| (*name).to_owned());
        let selection = Selection::only(names, Vec::new());
        Watch { collector: collector(cgroups, selection), known: Known::default(), at: START }
    }

    /// Collects after so many seconds, and says what it cost.
    fn after(&mut self, seconds: u64) -> u64 {
        self.at = self.at + Duration::from_secs(seconds);
        let before = self.collector.effort().calls;
        self.known.take(&self.collector.collect(self.at).expect("collects"));
        self.collector.effort().calls - before
    }

    /// Collects until everything was read twice, in the middle of the half minute of `id(1)`.
    fn settle(&mut self) -> &mut Watch {
        (0..4).for_each(|_| {
            self.after(5);
        });
        let quiet = self.after(1);
        assert!((0..30).any(|_| self.after(1) > quiet), "read whole once in half a minute");
        self.after(1);
        self
    }
}

#[test]
fn who_does_nothing_costs_two_reads_and_is_read_whole_twice_a_minute() {
    for (layout, others, limits) in [(Layout::V1Cgroupfs, 4, 4), (Layout::V2Systemd, 2, 4)] {
        let cost = |containers: usize| {
            let dir = folder();
            let cgroups = Cgroups::new(dir.path(), layout);
            (0..containers).for_each(|n| cgroups.put(&id(n), Load::default()));
            let mut watch = Watch::new(&cgroups);
            (0..5).for_each(|_| {
                watch.after(5);
            });
            (0..12).map(|_| watch.after(5)).collect::<Vec<u64>>()
        };
        let (few, many) = (cost(10), cost(70));
        let each: Vec<u64> = many.iter().zip(&few).map(|(many, few)| many - few).collect();
        assert_eq!(
            each.iter().sum::<u64>(),
            60 * (12 * 2 + 2 * others + limits),
            "{layout:?} {each:?}"
        );
        let most = each.iter().max().expect("rounds");
        assert!(*most < 60 * (2 + others / 2), "{layout:?}: not all at once: {each:?}");
    }
}

#[test]
fn whatever_stirs_is_read_whole_until_it_rests() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        let load = Load::default();
        cgroups.put(&id(1), load);
        let mut watch = Watch::new(&cgroups);
        watch.settle();
        let kills = |watch: &mut Watch, load: Load| {
            cgroups.put(&id(1), load);
            watch.after(1);
            watch.known.value("container_oom_events_total").expect("a count")
        };
        let burnt = Load { cpu_microseconds: 28_363_700, oom_kills: 1, ..load };
        assert_eq!(kills(&mut watch, burnt), 1.0, "{layout:?}: it took processor time");
        let late = Load { oom_kills: 2, ..burnt };
        assert_eq!(kills(&mut watch, late), 2.0, "{layout:?}: after-effects are waited for");
        assert_eq!(kills(&mut watch, late), 2.0, "{layout:?}: read twice, and the same");
        let grown = Load { usage: 51 << 20, oom_kills: 3, ..late };
        assert_eq!(kills(&mut watch, grown), 3.0, "{layout:?}: its memory changed");
    }
}

#[test]
fn what_changes_from_outside_shows_within_half_a_minute() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    let load = |inactive_file: u64| Load { inactive_file, ..Load::default() };
    cgroups.put(&id(1), load(10 << 20));
    let mut watch = Watch::new(&cgroups);
    watch.settle();
    cgroups.put(&id(1), load(20 << 20));
    let set = |watch: &Watch| {
        watch.known.value("container_memory_working_set_bytes").expect("a figure") / MIB
    };
    let mut seconds = 0;
    while set(&watch) > 30.0 && seconds < 60 {
        watch.after(1);
        seconds += 1;
    }
    assert!((20..=30).contains(&seconds), "{seconds} s");
    // A clock that steps back is no reason to wait for it.
    watch.settle();
    cgroups.put(&id(1), load(10 << 20));
    watch.at = START;
    watch.after(0);
    assert_eq!(set(&watch), 40.0);
}

#[test]
fn near_its_limit_or_on_a_host_short_of_memory_everything_is_read_each_time() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    let load = |usage: u64, inactive_file: u64| Load {
        usage: usage << 20,
        inactive_file: inactive_file << 20,
        ..Load::default()
    };
    let seen = |watch: &mut Watch, now: Load| {
        cgroups.put(&id(1), now);
        watch.after(1);
        watch.known.value("container_memory_working_set_bytes").expect("a figure") / MIB
    };
    cgroups.put(&id(1), load(60, 0));
    let mut near = Watch::new(&cgroups);
    (0..5).for_each(|_| {
        near.after(1);
    });
    assert_eq!(seen(&mut near, load(60, 10)), 50.0, "60 of 64");
    cgroups.put(&id(1), load(50, 0));
    let mut watch = Watch::new(&cgroups);
    watch.settle();
    assert_eq!(seen(&mut watch, load(50, 10)), 50.0, "50 of 64 need not be read");
    let text = "MemTotal:       16384 kB\nMemAvailable: 1600 kB\n";
    std::fs::write(cgroups.proc_root().join("meminfo"), text).expect("written");
    assert_eq!(seen(&mut watch, load(50, 20)), 30.0, "less than a tenth is left");
}

#[test]
fn without_processor_time_nobody_is_known_to_rest() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    cgroups.put(&id(1), Load::default());
    std::fs::remove_file(cgroups.file(&id(1), "cpuacct", "cpuacct.usage")).expect("removed");
    let mut watch = Watch::new(&cgroups);
    let costs = [0; 6].map(|seconds| watch.after(seconds));
    let whole = 3 + 1 + 4;
    assert!(costs[3..].iter().all(|cost| *cost == whole), "{costs:?}");
}

#[test]
fn pages_keep_nobody_from_resting() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    cgroups.put(&id(1), Load::default());
    let mut watch = Watch::new(&cgroups);
    watch.settle();
    let quiet = watch.after(1);
    let mut page = || {
        let before = watch.collector.effort().calls;
        watch.collector.page(watch.at).expect("a page");
        let spent = watch.collector.effort().calls - before;
        assert_eq!(watch.after(1), quiet, "the collection");
        spent
    };
    let pages = [page(), page(), page()];
    assert!(pages[2] + 10 < pages[0], "{pages:?}");
}

const PEAK: &str = "plimsoll_container_memory_peak_bytes";

/// The system calls of each of so many samples.
fn samples(watch: &mut Watch, number: usize) -> Vec<u64> {
    let calls = |watch: &Watch| watch.collector.effort().calls;
    let mut sample = || {
        let before = calls(watch);
        watch.collector.sample();
        calls(watch) - before
    };
    (0..number).map(|_| sample()).collect()
}

#[test]
fn who_does_nothing_is_sampled_every_third_time_until_its_memory_moves() {
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir = folder();
        let cgroups = Cgroups::new(dir.path(), layout);
        let load = |usage: u64| Load { usage: usage << 20, ..Load::default() };
        cgroups.put(&id(1), load(30));
        let mut watch = Watch::of(&cgroups, &[&SHIPPED[..], &[PEAK]].concat());
        watch.after(0);
        assert_eq!(samples(&mut watch, 4), [1; 4], "{layout:?}: nobody knows it yet");
        watch.settle();
        assert_eq!(samples(&mut watch, 7), [0, 0, 1, 0, 0, 1, 0], "{layout:?}");
        watch.after(1);
        assert_eq!(samples(&mut watch, 2), [0, 0], "{layout:?}: as seldom since the collection");
        cgroups.put(&id(1), load(40));
        assert_eq!(samples(&mut watch, 2), [1, 1], "{layout:?}: it moves, and is watched");
        cgroups.put(&id(1), load(30));
        assert_eq!(samples(&mut watch, 2), [1, 1], "{layout:?}: also where it is as it was");
        watch.after(1);
        assert_eq!(watch.known.value(PEAK), Some(40.0 * MIB), "{layout:?}");
        // What costs more, everything is read again, changes nothing of its rest.
        watch.settle();
        for _ in 0..30 {
            watch.after(1);
            assert_eq!(samples(&mut watch, 3), [0, 0, 1], "{layout:?}");
        }
    }
}

#[test]
fn who_works_or_nears_its_limit_is_sampled_each_time() {
    let dir = folder();
    let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
    let mut watch = Watch::new(&cgroups);
    for second in 0..5 {
        let cpu_microseconds = 28_363_645 + second * 1000;
        cgroups.put(&id(1), Load { cpu_microseconds, ..Load::default() });
        cgroups.put(&id(2), Load { usage: 60 << 20, ..Load::default() });
        watch.after(1);
    }
    assert_eq!(samples(&mut watch, 4), [2; 4]);
}
