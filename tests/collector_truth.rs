//! The collector's formulas against a real cAdvisor: what the cgroup files held right after each of 192 recorded scrapes is
//! laid out as a tree, collected, and compared with what cAdvisor had just said.
//!
//! Reads `../shared/data` (its README has the ground truth), so it runs in `.ci/run live` only. A file was read up to a
//! quarter of a second after cAdvisor's sample, so what moves may have moved: memory by what a load touches in that time,
//! counters of CPU by what a quarter of a second holds, and never backwards. What stands still must be equal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cgroups::{Cgroups, Layout, Load};
use plimsoll::base::{Labels, LabelsBuilder, Timestamp};
use plimsoll::collector::{Collector, CollectorConfig, Settings};
use plimsoll::containers::{
    Container, ContainerId, Happening, Inventory, KillsById, OomLedger, Status, What, Who,
};
use plimsoll::docker::read_event;
use plimsoll::exposition::{Format, Limits, Scan, Selection, SeriesCache};
use serde_json::Value;
use truth::lay_out;

#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "support/truth.rs"]
mod truth;

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
    // A kill since a sample of whatever age.
    ("container_oom_events_total", 1.0, 0.0),
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

/// The OOM kills of every container, by what Docker told until then: what a collector is told while it runs.
struct Counted {
    ledger: OomLedger,
    told: std::iter::Peekable<std::vec::IntoIter<Happening>>,
}

impl Counted {
    fn new(since: Timestamp) -> Counted {
        let text =
            std::fs::read_to_string(data("docker-events.jsonl")).expect("they were recorded");
        let told: Vec<Happening> =
            text.lines().filter_map(|line| read_event(line.as_bytes()).expect("reads")).collect();
        let (ledger, _) = OomLedger::recover([], since);
        Counted { ledger, told: told.into_iter().peekable() }
    }

    fn by(&mut self, now: Timestamp) -> KillsById {
        let is_told = |told: &Happening| told.at() <= now;
        while let Some(told) = self.told.next_if(is_told) {
            let at = told.at();
            let who = Who { id: &told.id, name: &told.name, before: None };
            match told.what {
                What::Oom => self.ledger.killed(who, told.at_nanos, at),
                What::Die { exit_code: 137 } => self.ledger.died(who, at),
                What::Start => self.ledger.started(who, at),
                _ => {}
            }
            self.ledger.settle(at, false);
        }
        self.ledger.settle(now, false);
        self.ledger.kills()
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
    let mut counted = Counted::new(Timestamp(truths[0]["ms"].as_i64().expect("a time")));
    let mut compared: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut apart, mut kills) = (Vec::new(), 0.0);
    for (number, (scrape, truth)) in scrapes.iter().zip(&truths).enumerate() {
        let at = Timestamp(truth["ms"].as_i64().expect("a time"));
        let cadvisor = said(&unpacked(scrape));
        let cgroups = Cgroups::new(&dir.path().join(number.to_string()), Layout::V1Cgroupfs);
        for (_, id) in cadvisor.keys() {
            let held = &truth["c"][&id[..12]];
            if held["cpuacct"].is_string() && !cgroups.file(id, "memory", "memory.stat").exists() {
                cgroups.put(id, Load::default());
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
        collector.know_kills(Arc::new(counted.by(at)));
        let ours = said(collector.page(at).expect("a page").as_bytes());
        for (key, (theirs, taken)) in &cadvisor {
            let age = taken.map_or(0, |taken| at.0 - taken.0);
            let Some((value, _)) = ours.get(key) else { continue };
            let (name, grows, shrinks) = NAMES.iter().find(|n| n.0 == key.0).expect("selected");
            // Kills are few, and a sample is the last one for long.
            let is_young = key.0 == "container_oom_events_total" || age <= AGE_MAX_MS;
            if age < 0 || !is_young {
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
            "container_oom_events_total" => 99,
            name if name.starts_with("container_cpu_") => 60,
            _ => 95,
        };
        assert!(equal * 100 >= all * least, "{name}: {equal} of {all} equal");
    }
    // One `docker update` fell between a scrape and the reading of the files: three limits moved.
    assert_eq!(apart.len(), 3, "{apart:#?}");
    assert!(apart.iter().all(|line| line.contains("container_spec_memory_")), "{apart:#?}");
}

/// cAdvisor's own golden pages of v0.60.5, of containers and of the machine.
const GOLDEN: [&str; 2] = ["prometheus_metrics", "prometheus_machine_metrics"];
/// Labels there that the collector has not: what the container's environment and cAdvisor's user set, and which
/// machine it is, which the labels of the target say here.
const NOT_OURS: [&str; 6] = [
    "container_env_foo_env",
    "container_label_foo_label",
    "zone_name",
    "boot_id",
    "machine_id",
    "system_uuid",
];

/// A family: its type, and the names of its samples' labels.
type Family = (String, BTreeSet<String>);

/// The families of a page that are of containers or the machine.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once('{').unwrap_or((line, ""));
            let name = name.split(' ').next().unwrap_or(name);
            let (_, labels) = families.get_mut(name).expect("its type stands before");
            // Every name but the first follows the end of a value.
            let pairs = rest.rsplit_once('}').map_or("", |(labels, _)| labels).split("\",");
            let names = pairs.filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned()));
            labels.extend(names.filter(|name| !NOT_OURS.contains(&name.as_str())));
        }
    }
    families.retain(|name, _| name.starts_with("container_") || name.starts_with("machine_"));
    families
}

/// The page of a tree of each version, with a network and a container that Docker knows.
fn our_families() -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    for layout in [Layout::V1Cgroupfs, Layout::V2Systemd] {
        let dir = tempfile::tempdir().expect("a folder");
        let cgroups = Cgroups::new(dir.path(), layout);
        let id = "a".repeat(64);
        cgroups.put(&id, Load::default());
        let proc_root = cgroups.proc_root();
        for (pid, network) in [("1", "net:[1]"), ("77", "net:[2]")] {
            std::fs::create_dir_all(proc_root.join(pid).join("ns")).expect("made");
            let link = proc_root.join(pid).join("ns/net");
            std::os::unix::fs::symlink(network, link).expect("linked");
        }
        std::fs::create_dir(proc_root.join("77/net")).expect("made");
        let counters = "a\nb\neth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        std::fs::write(proc_root.join("77/net/dev"), counters).expect("written");
        let config = CollectorConfig {
            cgroup_root: cgroups.cgroup_root(),
            proc_root,
            ..CollectorConfig::default()
        };
        let selection = Arc::new(Selection::all());
        let mut collector = Collector::new(Settings { config, target: Labels::empty(), selection });
        let id = ContainerId::new(&id).expect("an id");
        let mut container = Container::new(id, "web", Timestamp(0));
        (container.status, container.image) = (Status::Running, "web:1".to_owned());
        container.started_at = Some(Timestamp(0));
        let mut inventory = Inventory::new();
        inventory.put(container, Timestamp(0));
        inventory.set_heard(true);
        collector.know(Arc::new(inventory));
        let page = collector.page(Timestamp(1_795_312_441_000)).expect("a page");
        for (name, (kind, labels)) in families(&page) {
            let (_, known) = all.entry(name).or_insert((kind, BTreeSet::new()));
            known.extend(labels);
        }
    }
    all
}

#[test]
fn names_have_cadvisors_types_and_labels() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/golden/v0.60.5");
    let mut theirs = BTreeMap::new();
    for page in GOLDEN {
        let page = std::fs::read_to_string(golden.join(page)).expect("the golden page is there");
        theirs.extend(families(&page));
    }
    let ours = our_families();
    let (both, alone): (Vec<_>, Vec<_>) =
        ours.iter().partition(|(name, _)| theirs.contains_key(*name));
    for (name, family) in &both {
        assert_eq!(*family, &theirs[*name], "{name}");
    }
    assert_eq!(both.len(), 52, "{both:?}");
    // cAdvisor has these as well (they are compared with a recorded page above); the container of its golden page
    // has no memory specification.
    let alone: Vec<&str> = alone.iter().map(|(name, _)| name.as_str()).collect();
    let limits = ["limit", "reservation_limit", "swap_limit"];
    assert_eq!(alone, limits.map(|limit| format!("container_spec_memory_{limit}_bytes")));
}
