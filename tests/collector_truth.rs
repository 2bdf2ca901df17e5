//! The collector's formulas against a real cAdvisor: what the cgroup files held right after each of 192 recorded scrapes is
//! laid out as a tree, collected, and compared with what cAdvisor had just said.
//!
//! Reads `../shared/data` (its README has the ground truth), so it runs in `.ci/run live` only. A file was read up to a
//! quarter of a second after cAdvisor's sample, so what moves may have moved: memory by what a load touches in that time,
//! counters of CPU by what a quarter of a second holds, and never backwards. What stands still must be equal.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cgroups::{Cgroups, Layout, Load};
use plimsoll::base::{Labels, LabelsBuilder, Timestamp};
use plimsoll::collector::{Collector, CollectorConfig, Settings};
use plimsoll::exposition::{Format, Limits, Scan, Selection, SeriesCache};
use serde_json::Value;

#[path = "support/cgroups.rs"]
mod cgroups;

/// The oldest sample that is compared, milliseconds before the files were read.
const AGE_MAX_MS: i64 = 250;
/// The loads grow by at most 5 MB a second, a megabyte at a time.
const MOVED_BYTES: f64 = 1024.0 * 1024.0;

/// Names that are compared, and by how much each may have grown and shrunk meanwhile.
const NAMES: [(&str, f64, f64); 19] = [
    ("container_memory_usage_bytes", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_working_set_bytes", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_rss", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_cache", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_mapped_file", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_max_usage_bytes", MOVED_BYTES, 0.0),
    ("container_memory_total_active_file_bytes", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_total_inactive_file_bytes", MOVED_BYTES, MOVED_BYTES),
    ("container_memory_failcnt", 0.0, 0.0),
    // cAdvisor goes on counting where the container is started again; a collector that has just begun
    // counts in this cgroup. Nobody was killed more often than nine times.
    ("container_oom_events_total", 0.0, 9.0),
    ("container_cpu_cfs_burst_periods_total", 0.0, 0.0),
    ("container_cpu_cfs_burst_seconds_total", 0.0, 0.0),
    ("container_cpu_cfs_periods_total", 3.0, 0.0),
    ("container_cpu_cfs_throttled_periods_total", 3.0, 0.0),
    ("container_cpu_cfs_throttled_seconds_total", 0.25, 0.0),
    ("container_cpu_usage_seconds_total", 0.25, 0.0),
    ("container_spec_memory_limit_bytes", 0.0, 0.0),
    ("container_spec_memory_reservation_limit_bytes", 0.0, 0.0),
    ("container_spec_memory_swap_limit_bytes", 0.0, 0.0),
];

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cadvisor/trim").join(path)
}

fn unpacked(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("is gzip");
    bytes
}

/// By name and container: the value, and the time it was taken if that is written.
type Values = BTreeMap<(String, String), (f64, Option<Timestamp>)>;

/// What cAdvisor said, of containers of Docker.
fn said(body: &[u8]) -> Values {
    let names = NAMES.map(|(name, ..)| name.to_owned());
    let (selection, limits) = (Selection::only(names, Vec::new()), Limits::default());
    let mut cache = SeriesCache::new();
    let mut admit = |_: &mut LabelsBuilder| true;
    let mut scan = Scan::begin(&mut cache, &selection, Format::Text, &limits, &mut admit);
    scan.feed(body).expect("reads");
    let batch = scan.finish().expect("reads");
    let labels: BTreeMap<u32, &Labels> = batch.new.iter().map(|(id, l)| (*id, l)).collect();
    let key = |labels: &Labels| {
        let id = labels.get("id")?.strip_prefix("/docker/")?;
        Some((labels.metric_name().to_owned(), id.to_owned()))
    };
    batch.points.iter().filter_map(|p| Some((key(labels[&p.id])?, (p.value, p.at)))).collect()
}

/// Writes what the files of one container held.
fn lay_out(cgroups: &Cgroups, id: &str, truth: &Value) {
    cgroups.put(id, Load::default());
    let text = |key: &str| truth[key].as_str().expect(key).to_owned();
    let pairs = |key: &str| {
        let map = truth[key].as_object().expect(key);
        let line = |(key, value): (&String, &Value)| {
            format!("{key} {}\n", value.as_str().expect("a number"))
        };
        map.iter().map(line).collect::<String>()
    };
    for (controller, file, text) in [
        ("memory", "memory.usage_in_bytes", text("usage")),
        ("memory", "memory.limit_in_bytes", text("limit")),
        ("memory", "memory.soft_limit_in_bytes", text("soft")),
        ("memory", "memory.memsw.limit_in_bytes", text("memsw_limit")),
        ("memory", "memory.max_usage_in_bytes", text("max")),
        ("memory", "memory.failcnt", text("failcnt")),
        ("memory", "memory.stat", pairs("stat")),
        ("memory", "memory.oom_control", text("oom").replace(';', "\n")),
        ("cpu", "cpu.stat", pairs("cpu")),
        ("cpuacct", "cpuacct.usage", text("cpuacct")),
    ] {
        std::fs::write(cgroups.file(id, controller, file), text).expect("written");
    }
}

#[test]
fn formulas_agree_with_cadvisor_where_both_looked_at_one_moment() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let mut scrapes: Vec<PathBuf> = std::fs::read_dir(data(""))
        .expect("the capture is there")
        .map(|file| file.expect("lists").path())
        .filter(|path| path.to_string_lossy().ends_with(".txt.gz"))
        .collect();
    scrapes.sort();
    let truths = String::from_utf8(unpacked(&data("cgroup-truth.jsonl.gz"))).expect("is text");
    let truths: Vec<Value> =
        truths.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    assert_eq!((scrapes.len(), truths.len()), (192, 192));
    let mut compared: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut apart, mut kills) = (Vec::new(), 0.0);
    for (number, (scrape, truth)) in scrapes.iter().zip(&truths).enumerate() {
        let at = Timestamp(truth["ms"].as_i64().expect("a time"));
        let cadvisor = said(&unpacked(scrape));
        let cgroups = Cgroups::new(&dir.path().join(number.to_string()), Layout::V1Cgroupfs);
        for (_, id) in cadvisor.keys() {
            let held = &truth["c"][&id[..12]];
            if held["cpuacct"].is_string() && !cgroups.file(id, "memory", "memory.stat").exists() {
                lay_out(&cgroups, id, held);
            }
        }
        let config = CollectorConfig {
            cgroup_root: cgroups.cgroup_root(),
            proc_root: cgroups.proc_root(),
            ..CollectorConfig::default()
        };
        let selection = Arc::new(Selection::all());
        let mut collector = Collector::new(Settings { config, target: Labels::empty(), selection });
        let ours = said(collector.page(at).expect("a page").as_bytes());
        for (key, (theirs, taken)) in &cadvisor {
            let age = taken.map_or(0, |taken| at.0 - taken.0);
            let Some((value, _)) = ours.get(key) else { continue };
            let (name, grows, shrinks) = NAMES.iter().find(|n| n.0 == key.0).expect("selected");
            if !(0..=AGE_MAX_MS).contains(&age) {
                continue;
            }
            let (all, equal) = compared.entry(name).or_default();
            (*all, *equal) = (*all + 1, *equal + usize::from(value == theirs));
            let moved = value - theirs;
            kills += f64::from(u8::from(*name == "container_oom_events_total")) * value;
            if moved > grows + 1e-9 || moved < -shrinks - 1e-9 {
                apart.push(format!("{number}: {key:?}: {value} here, {theirs} there"));
            }
        }
        std::fs::remove_dir_all(dir.path().join(number.to_string())).expect("removed");
    }
    assert!(kills > 0.0, "no kill was compared");
    for (name, ..) in NAMES {
        let (all, equal) = compared.get(name).copied().unwrap_or_default();
        println!("{name}: {equal} of {all} equal");
        assert!(all >= 50, "{name}: only {all} compared");
        // What CPU does moves within any quarter of a second; memory of most loads does not.
        let least = match name {
            "container_oom_events_total" => 90,
            name if name.starts_with("container_cpu_") => 60,
            _ => 95,
        };
        assert!(equal * 100 >= all * least, "{name}: {equal} of {all} equal");
    }
    // One `docker update` fell between a scrape and the reading of the files: three limits moved.
    assert_eq!(apart.len(), 3, "{apart:#?}");
    assert!(apart.iter().all(|line| line.contains("container_spec_memory_")), "{apart:#?}");
}
