//! The recorded host as our own collector sees it: what the cgroup files held right after each of
//! cAdvisor's scrapes is laid out as a tree, and the collector reads it, beside a Docker that knows what
//! Docker's events told by then.
//!
//! Not recorded, so not laid out, are the kernel's own memory, block devices, networks and the split of
//! CPU time. Quotas are those of the recorded `docker run` and `docker update`; of the machine, the
//! memory that cAdvisor told.

use std::sync::Arc;

use plimsoll::base::Labels;
use plimsoll::collector::{Collector, CollectorConfig, Settings};
use plimsoll::containers::{Container, ContainerId, Inventory, Status};
use plimsoll::engine::Setup;
use plimsoll::exposition::{Batch, Selection};

use super::cgroups::{Cgroups, Layout};
use super::truth::lay_out;
use super::*;

/// The files were read at most so long after the scrape of their slot.
const LATE_MAX: Duration = Duration::from_millis(300);

/// `docker run` and `docker update`: when, of which container, and the `--cpus` if there were any.
type Quotas = Vec<(Timestamp, String, Option<f64>)>;

/// The recorded host.
struct Host {
    /// What the files held, by when they were read, and containers by the first 12 digits of their ids.
    truths: BTreeMap<Timestamp, Value>,
    events: Vec<Value>,
    quotas: Quotas,
    cgroups: Cgroups,
    /// Who is laid out, and since when it runs.
    laid_out: BTreeMap<String, Option<Timestamp>>,
    _dir: tempfile::TempDir,
}

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(data(path)).expect("recorded");
    text.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
}

/// When the files were read, and what they held.
fn truths() -> BTreeMap<Timestamp, Value> {
    let file = std::fs::File::open(data("trim/cgroup-truth.jsonl.gz")).expect("recorded");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("is gzip");
    let truths = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("is JSON"));
    let at = |truth: &Value| Timestamp(truth["ms"].as_i64().expect("a time"));
    truths.map(|mut truth| (at(&truth), truth["c"].take())).collect()
}

/// What was asked of Docker about quotas.
fn quotas() -> Quotas {
    let asked = |action: Value| {
        let words: Vec<&str> = action["cmd"].as_str()?.split(' ').collect();
        let after = |flag| words.iter().skip_while(|w| **w != flag).nth(1).copied();
        let name = match words[1] {
            "run" => after("--name")?,
            "update" => words.last()?,
            _ => return None,
        };
        let at = Timestamp(action["ms"].as_i64()?);
        Some((at, name.to_owned(), after("--cpus").map(|cpus| cpus.parse().expect(cpus))))
    };
    lines("trim/timeline.jsonl").into_iter().filter_map(asked).collect()
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.expect("a folder");
        let cgroups = Cgroups::new(dir.path(), Layout::V1Cgroupfs);
        let machine = capture("trim").into_values().next().expect("a page");
        let machine = String::from_utf8(machine).expect("is text");
        let memory = machine.lines().find(|line| line.starts_with("machine_memory_bytes"));
        let memory = memory.and_then(|line| line.rsplit(' ').next()).expect("it is told");
        let kilobytes = memory.parse::<f64>().expect(memory) / 1024.0;
        let text = format!("MemTotal: {kilobytes} kB\nSwapTotal: 0 kB\n");
        std::fs::write(cgroups.proc_root().join("meminfo"), text).expect("written");
        Host {
            truths: truths(),
            events: lines("trim/docker-events.jsonl"),
            quotas: quotas(),
            cgroups,
            laid_out: BTreeMap::new(),
            _dir: dir,
        }
    }

    /// Lays out what was read after the scrape of this time, if it was read in time. Whoever was started
    /// anew meanwhile has lost its cgroup; `lose` is called before it is given another.
    fn go_to(&mut self, at: Timestamp, lose: &mut dyn FnMut()) -> Option<Inventory> {
        let (read_at, held) = self.truths.range(at..).next()?;
        let (read_at, held) = (*read_at, held.as_object()?.clone());
        if read_at.since(at) > LATE_MAX {
            return None;
        }
        let inventory = self.inventory(read_at, &held);
        let run = |container: &Container| {
            let is_there = held.contains_key(container.id.short());
            is_there.then(|| (container.id.to_string(), container.started_at))
        };
        let runs: BTreeMap<String, Option<Timestamp>> = inventory.iter().filter_map(run).collect();
        let is_over = |(id, start): &(&String, &Option<Timestamp>)| runs.get(*id) != Some(start);
        let over: Vec<&String> = self.laid_out.iter().filter(is_over).map(|(id, _)| id).collect();
        over.iter().for_each(|id| self.cgroups.remove(id));
        if !over.is_empty() {
            lose();
        }
        for container in inventory.iter() {
            let id = container.id.as_str();
            let Some(held) = held.get(container.id.short()) else { continue };
            lay_out(&self.cgroups, id, held);
            self.cgroups.populate(id, 1);
            self.lay_out_quota(container, read_at);
        }
        self.laid_out = runs;
        Some(inventory)
    }

    fn lay_out_quota(&self, container: &Container, at: Timestamp) {
        let asked =
            self.quotas.iter().rfind(|(when, name, _)| *when <= at && *name == container.name);
        let Some((_, _, cpus)) = asked else { return };
        let quota = cpus.map_or("-1".to_owned(), |cpus| (cpus * 100_000.0).to_string());
        for (file, text) in
            [("cpu.cfs_quota_us", quota), ("cpu.cfs_period_us", "100000".to_owned())]
        {
            std::fs::write(self.cgroups.file(container.id.as_str(), "cpu", file), text)
                .expect("written");
        }
    }

    /// Docker's list as its events have made it, with the limits that the kernel enforced.
    fn inventory(&self, at: Timestamp, held: &serde_json::Map<String, Value>) -> Inventory {
        let mut inventory = Inventory::new();
        inventory.set_heard(true);
        for event in &self.events {
            let when = Timestamp(event["timeNano"].as_i64().expect("a time") / 1_000_000);
            let Some(id) = event["Actor"]["ID"].as_str().and_then(ContainerId::new) else {
                continue;
            };
            if when > at {
                break;
            }
            let about: BTreeMap<String, String> =
                serde_json::from_value(event["Actor"]["Attributes"].clone()).expect("texts");
            let made = || Container::new(id.clone(), &about["name"], when);
            let mut container = inventory.get(&id).cloned().unwrap_or_else(made);
            match event["Action"].as_str().expect("an action") {
                "create" => (container.image, container.labels) = (about["image"].clone(), about),
                "start" => (container.status, container.started_at) = (Status::Running, Some(when)),
                "pause" => container.status = Status::Paused,
                "unpause" => container.status = Status::Running,
                "die" => container.status = Status::Exited,
                "destroy" => {
                    inventory.remove(&id);
                    continue;
                }
                _ => {}
            }
            let limit = held.get(id.short()).and_then(|held| held["limit"].as_str());
            container.limits.memory_bytes = limit.and_then(|limit| limit.parse().ok());
            inventory.put(container, when);
        }
        inventory
    }
}

/// The host's collector as a source for the engine; what it cannot read is a mistake here.
fn source(
    selection: Selection,
    target: Labels,
) -> impl FnMut(Timestamp, bool) -> Result<Batch, String> {
    let mut host = Host::new();
    let config = CollectorConfig {
        cgroup_root: host.cgroups.cgroup_root(),
        proc_root: host.cgroups.proc_root(),
        ..CollectorConfig::default()
    };
    let mut collector = Collector::new(Settings { config, target, selection: Arc::new(selection) });
    move |at, anew| {
        // A file of a cgroup that is gone says so to whoever has it open; one of this tree does not. So the
        // collector looks while the cgroup is away.
        let mut lose = || {
            collector.collect(at).expect("others are there");
            collector.was_lost();
        };
        let inventory = host.go_to(at, &mut lose).ok_or("nothing was recorded")?;
        if anew {
            collector.renew();
        }
        collector.know(Arc::new(inventory));
        let batch = collector.collect(at).map_err(|error| error.to_string())?;
        assert_eq!(batch.trouble, None, "{at}");
        Ok(batch)
    }
}

/// The recording by the collector under this setup, which has not begun, and when it ends.
pub fn driver(setup: Setup) -> (Driver, Timestamp) {
    let truths = truths();
    let first = *truths.keys().next().expect("the files were read");
    let last = *truths.keys().next_back().expect("the files were read");
    // The files were read some 40 ms after each slot.
    let phase = Duration::from_millis(((first.0 - 60) % 5000) as u64);
    let target = Labels::from_pairs([("job", "collector"), ("instance", support::HOST)]);
    let source = source(setup.selection(), target.clone());
    let mut driver = Driver::new(setup, phase, first - Duration::from_secs(1));
    driver.add_collector(target, Box::new(source));
    (driver, last + Duration::from_secs(1))
}
