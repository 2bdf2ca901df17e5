//! The collector: the containers of a host as a batch for the engine, or as a page for others.
//!
//! It is single-threaded and waits for nothing but files; a thread of its own runs it (`handle`).
//! Time is passed in.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::columns::{COLUMNS, Column, Seen, Value};
use super::config::CollectorConfig;
use super::failure::Failure;
use super::figures::Figures;
use super::host::{CollectError, Host};
use super::machine::Machine;
use super::series::{Ids, Slots};
use super::sources::{AVAILABLE, Parts};
use super::tracked::{Tracked, all_parts};
use super::tree::Version;
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, Timestamp};
use crate::containers::{Inventory, KillsById};
use crate::exposition::{Batch, Metadata, MetricKind, Selection};
use crate::telemetry::{Kind, Page};

/// By which pressure on the host is seen without a node exporter.
const AVAILABLE_BYTES: &str = "plimsoll_machine_memory_available_bytes";

/// What the machine itself shows.
const MACHINE: [MachineColumn; 4] = [
    MachineColumn("machine_cpu_cores", "Number of logical CPU cores.", |m| m.cores),
    MachineColumn("machine_memory_bytes", "Amount of memory installed on the machine.", |m| {
        m.memory
    }),
    MachineColumn("machine_swap_bytes", "Amount of swap memory available on the machine.", |m| {
        m.swap
    }),
    MachineColumn(AVAILABLE_BYTES, "Amount of memory that can be had without swapping.", |m| {
        m.available
    }),
];

/// cAdvisor's own word on whether it saw everything, by the rule `CadvisorSeesNoContainer`.
const SCRAPE_ERROR: &str = "container_scrape_error";
const SCRAPE_ERROR_HELP: &str =
    "1 if there was an error while getting container metrics, 0 otherwise";

struct MachineColumn(&'static str, &'static str, fn(&Machine) -> Option<f64>);

/// The series that samples are taken for.
const PEAK: &str = "plimsoll_container_memory_peak_bytes";
/// A page shows the peak as well: so many samples are taken after each, five minutes by default.
const SAMPLES_AFTER_PAGE: u32 = 300;

/// What a collector works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where and how often.
    pub config: CollectorConfig,
    /// The labels of the target: `job` and `instance`.
    pub target: Labels,
    /// Which series anything can read.
    pub selection: Arc<Selection>,
}

/// What a collector has to do, for benchmarks and tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// Containers that are followed.
    pub containers: usize,
    /// Handles that are kept open.
    pub handles: usize,
    /// System calls made for reading since the start; listings of folders are not counted.
    pub calls: u64,
    /// Folders listed since the start.
    pub listings: u64,
    /// What was in them.
    pub entries: u64,
}

/// Follows the containers of a host.
#[derive(Debug)]
pub struct Collector {
    settings: Settings,
    /// Columns that anything can read, and the files they need.
    wanted: Vec<usize>,
    parts: Parts,
    host: Host,
    ids: Ids,
    machine_slots: Slots,
    /// Samples that are still to be taken for whoever reads pages.
    owed_to_pages: u32,
}

/// One container as it is shown on the page.
struct Shown {
    labels: Labels,
    /// By column: further labels and the value.
    values: Vec<(usize, Further, f64)>,
}

/// Labels of one series that its siblings have other values of.
type Further = Vec<(&'static str, String)>;

impl Collector {
    /// A collector that has not looked yet.
    pub fn new(settings: Settings) -> Collector {
        let host = Host::new(settings.config.clone(), settings.target.clone());
        let (wanted, parts) = wanted(&settings.selection);
        Collector {
            settings,
            wanted,
            parts,
            host,
            ids: Ids::new(),
            machine_slots: Slots::default(),
            owed_to_pages: 0,
        }
    }

    /// Works by new settings: peaks and counts go on, series are announced anew.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.host.reconfigure(settings.config.clone(), settings.target.clone());
        (self.wanted, self.parts) = wanted(&settings.selection);
        self.settings = settings;
        self.ids.renew();
    }

    /// How often memory is sampled between collections; none while nobody can read the peaks.
    pub fn sample_interval(&self) -> Option<Duration> {
        let is_read = self.owed_to_pages > 0 || self.settings.selection.wants(PEAK);
        is_read.then_some(self.settings.config.sample_interval)
    }

    /// Takes Docker's word for who the containers are.
    pub fn know(&mut self, inventory: Arc<Inventory>) {
        self.host.know(inventory);
    }

    /// Takes the OOM kills that were counted of each container by everybody's word.
    pub fn know_kills(&mut self, counted: Arc<KillsById>) {
        self.host.know_kills(counted);
    }

    /// The last batch was taken by nobody.
    pub fn was_lost(&mut self) {
        self.host.ended.clear();
        self.host.tracked.values_mut().for_each(Tracked::was_lost);
        self.renew();
    }

    /// Announces every series anew in the next batch: what was announced is lost.
    pub fn renew(&mut self) {
        self.ids.renew();
    }

    /// The version of this host's cgroups, once they were looked at.
    pub(super) fn version(&self) -> Option<&'static str> {
        self.host.version().map(|version| match version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }

    /// `docker.host`, if that is another machine, whose containers are not measured here.
    pub fn docker_elsewhere(&self) -> Option<&str> {
        self.host.docker_elsewhere()
    }

    /// What was asked for so far that cannot be seen from here.
    pub fn hidden(&self) -> &BTreeSet<&'static str> {
        &self.host.hidden
    }

    /// The first cgroup that is not followed since another has its id, and that other.
    pub fn doubled(&self) -> Option<&(String, String)> {
        self.host.doubled.as_ref()
    }

    /// What could not be read in the last look: of how many containers, and the first such thing.
    pub fn trouble(&self) -> Option<&(usize, String)> {
        self.host.trouble.as_ref()
    }

    /// All of what could not be read in the last look.
    pub(super) fn failures(&self) -> impl Iterator<Item = Cow<'_, Failure>> {
        self.host.failures()
    }

    /// What it has to do.
    pub fn effort(&self) -> Effort {
        let listed = self.host.listed();
        Effort {
            containers: self.host.tracked.len(),
            handles: self.host.reader.kept(),
            calls: self.host.reader.calls,
            listings: listed.folders,
            entries: listed.entries,
        }
    }

    /// Looks at the memory of every container, so that a peak between two collections is seen.
    pub fn sample(&mut self) {
        self.owed_to_pages = self.owed_to_pages.saturating_sub(1);
        self.host.sample();
    }

    /// Collects what anything can read, as a scrape would have brought it.
    pub fn collect(&mut self, at: Timestamp) -> Result<Batch, CollectError> {
        let Collector { settings, wanted, parts, host, ids, machine_slots, .. } = self;
        ids.begin(host.tracked.len() * wanted.len());
        let metadata = if ids.is_new() { metadata(&settings.selection) } else { Vec::new() };
        let read = host.each(at, *parts, &mut |tracked, seen, machine| {
            collect_one(wanted, tracked, seen, (machine, ids));
        });
        if let Err(error) = read {
            // Series and kills may have been told in a batch that nobody gets.
            self.was_lost();
            return Err(error);
        }
        for labels in host.hidden_away() {
            wanted.iter().for_each(|at| ids.miss(labels_of(&labels, &COLUMNS[*at], &[])));
        }
        host.ended.drain(..).for_each(|mut slots| slots.end(ids));
        let before = machine_slots.begin(ids);
        for (at, MachineColumn(name, _, value)) in MACHINE.iter().enumerate() {
            if let (true, Some(value)) = (settings.selection.wants(name), value(&host.machine)) {
                machine_slots.add(ids, at, value, || settings.target.with(METRIC_NAME, name));
            }
        }
        if settings.selection.wants(SCRAPE_ERROR) {
            let failed = f64::from(u8::from(host.trouble.is_some()));
            let labels = || settings.target.with(METRIC_NAME, SCRAPE_ERROR);
            machine_slots.add(ids, MACHINE.len(), failed, labels);
        }
        machine_slots.finish(ids, before);
        let mut batch = ids.finish();
        batch.metadata = metadata;
        batch.trouble = host.trouble.as_ref().map(|(containers, first)| {
            format!("of {containers} containers not everything can be read; the first: {first}")
        });
        Ok(batch)
    }

    /// Everything there is to know now, in the text format: what cAdvisor's `/metrics` would show.
    /// Samples carry no time, so whoever scrapes this ends them when a container is gone.
    pub fn page(&mut self, at: Timestamp) -> Result<String, CollectError> {
        self.owed_to_pages = SAMPLES_AFTER_PAGE;
        let parts = self.host.version().map_or(Parts::MAX, all_parts) | AVAILABLE;
        let mut containers: Vec<Shown> = Vec::new();
        self.host.each(at, parts, &mut |tracked, seen, machine| {
            let labels = tracked.labels.clone().unwrap_or_else(Labels::empty);
            let mut values = Vec::new();
            for (at, column) in COLUMNS.iter().enumerate().filter(|(_, c)| !c.fails(seen)) {
                values_of(column, seen, machine, &mut |further, value| {
                    values.push((at, further, value));
                });
            }
            containers.push(Shown { labels, values });
        })?;
        let failed = self.host.trouble.is_some();
        Ok(write_page(&containers, (&self.host.machine, failed), &self.settings.target))
    }
}

fn wanted(selection: &Selection) -> (Vec<usize>, Parts) {
    let wanted: Vec<usize> =
        (0..COLUMNS.len()).filter(|at| selection.wants(COLUMNS[*at].name)).collect();
    let of_machine = if selection.wants(AVAILABLE_BYTES) { AVAILABLE } else { 0 };
    let parts = wanted.iter().fold(of_machine, |parts, at| parts | COLUMNS[*at].parts);
    (wanted, parts)
}

/// What the families that are kept say about themselves.
fn metadata(selection: &Selection) -> Vec<(String, Metadata)> {
    let kind = |kind| match kind {
        Kind::Counter => MetricKind::Counter,
        Kind::Gauge => MetricKind::Gauge,
    };
    let columns = COLUMNS.iter().map(|column| (column.name, kind(column.kind), column.help));
    let machine = MACHINE.iter().map(|column| (column.0, MetricKind::Gauge, column.1));
    let error = (SCRAPE_ERROR, MetricKind::Gauge, SCRAPE_ERROR_HELP);
    let mut families: Vec<(String, Metadata)> = columns
        .chain(machine)
        .chain([error])
        .filter(|(name, ..)| selection.wants(name))
        .map(|(name, kind, help)| {
            (name.to_owned(), Metadata { kind, help: help.to_owned(), unit: String::new() })
        })
        .collect();
    families.dedup_by(|a, b| a.0 == b.0);
    families
}

/// Adds one container's samples to the batch, and which are missing because a file cannot be read: of
/// the series of one column that a device or an interface tells apart, one stands for all.
fn collect_one(
    wanted: &[usize],
    tracked: &mut Tracked,
    seen: &Seen<'_>,
    (machine, ids): (&Machine, &mut Ids),
) {
    let Tracked { slots, labels: Some(base), .. } = tracked else { return };
    let before = slots.begin(ids);
    for at in wanted {
        let column = &COLUMNS[*at];
        if column.fails(seen) {
            if column.is_missed(seen) {
                ids.miss(labels_of(base, column, &[]));
            }
        } else if let Value::One(value) = column.value {
            if let Some(value) = value(seen) {
                slots.add(ids, *at, value, || labels_of(base, column, &[]));
            }
        } else {
            values_of(column, seen, machine, &mut |further, value| {
                let key = further.first().map_or("", |(_, text)| text.as_str());
                slots.add_more(ids, (*at, key), value, || labels_of(base, column, &further));
            });
        }
    }
    slots.finish(ids, before);
    tracked.begin_peak(seen.figures);
    tracked.was_taken(seen.figures);
}

/// The values of a column, each with its further labels.
fn values_of(
    column: &Column,
    seen: &Seen<'_>,
    machine: &Machine,
    take: &mut dyn FnMut(Further, f64),
) {
    let Figures { devices, interfaces, .. } = seen.figures;
    match column.value {
        Value::One(value) => {
            if let Some(value) = value(seen) {
                take(Vec::new(), value);
            }
        }
        Value::PerDevice(value) => devices.iter().for_each(|device| {
            let (major, minor) = (device.major, device.minor);
            let numbers = [("major", major.to_string()), ("minor", minor.to_string())];
            let further = [("device", machine.device(major, minor))].into_iter().chain(numbers);
            take(further.collect(), value(device));
        }),
        Value::PerDisk(value) => devices.iter().for_each(|device| {
            take(vec![("device", machine.device(device.major, device.minor))], value(device));
        }),
        Value::PerInterface(value) => interfaces.iter().for_each(|interface| {
            take(vec![("interface", interface.name.clone())], value(interface));
        }),
    }
}

fn labels_of(base: &Labels, column: &Column, further: &[(&'static str, String)]) -> Labels {
    let mut labels = LabelsBuilder::from(base);
    labels.set(METRIC_NAME, column.name);
    for (name, value) in column.labels {
        labels.set(name, value);
    }
    for (name, value) in further {
        labels.set(name, value);
    }
    labels.build()
}

/// Family by family, as the format wants it. The target's labels are whoever scrapes this to add.
fn write_page<'a>(
    containers: &'a [Shown],
    (machine, failed): (&Machine, bool),
    target: &Labels,
) -> String {
    let mut page = Page::default();
    let is_own = |name: &str| name != METRIC_NAME && target.get(name).is_none();
    let own = |shown: &'a Shown| shown.labels.iter().filter(|(name, _)| is_own(name)).collect();
    let own: Vec<Vec<(&str, &str)>> = containers.iter().map(own).collect();
    let mut pairs = Vec::new();
    let mut next = vec![0; containers.len()];
    let mut at = 0;
    while let Some(column) = COLUMNS.get(at) {
        let end = at + COLUMNS[at..].iter().take_while(|c| c.name == column.name).count();
        let mut family = page.family(column.name, column.kind, column.help);
        for ((container, own), next) in containers.iter().zip(&own).zip(&mut next) {
            while let Some((column, further, value)) = container.values.get(*next)
                && *column < end
            {
                pairs.clone_from(own);
                let further = further.iter().map(|(name, value)| (*name, value.as_str()));
                let further = COLUMNS[*column].labels.iter().copied().chain(further);
                further.filter(|(name, _)| is_own(name)).for_each(|pair| set(&mut pairs, pair));
                family.add(&pairs, *value);
                *next += 1;
            }
        }
        at = end;
    }
    page.gauge(SCRAPE_ERROR, f64::from(u8::from(failed)), SCRAPE_ERROR_HELP);
    for MachineColumn(name, help, value) in &MACHINE {
        if let Some(value) = value(machine) {
            page.gauge(name, value, help);
        }
    }
    page.finish()
}

/// Sets a label in the order of names, as [`LabelsBuilder::set`] does, but without copies: a page has
/// tens of thousands of lines, and making a set of labels for each was most of its cost.
fn set<'a>(pairs: &mut Vec<(&'a str, &'a str)>, (name, value): (&'a str, &'a str)) {
    match (pairs.binary_search_by(|(other, _)| (*other).cmp(name)), value.is_empty()) {
        (Ok(at), true) => drop(pairs.remove(at)),
        (Ok(at), false) => pairs[at].1 = value,
        (Err(_), true) => {}
        (Err(at), false) => pairs.insert(at, (name, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `/proc` is not mounted as it is written.
    #[test]
    fn a_machine_that_cannot_be_read_is_told_until_it_can() {
        let dir = tempfile::tempdir().expect("a folder");
        let (root, proc_root) = (dir.path().join("cgroup"), dir.path().join("proc"));
        let folder = root.join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(root.join("cgroup.controllers"), "memory\n").expect("written");
        std::fs::write(folder.join("memory.current"), "1").expect("written");
        let config = CollectorConfig {
            cgroup_root: root,
            proc_root: proc_root.clone(),
            ..CollectorConfig::default()
        };
        let (selection, target) = (Arc::new(Selection::all()), Labels::empty());
        let mut collector = Collector::new(Settings { config, target, selection });
        let mut told = |second: i64| {
            let trouble = collector.collect(Timestamp(second * 1000)).expect("read").trouble;
            let page = collector.page(Timestamp(second * 1000)).expect("read");
            let is_shown = page.contains("container_scrape_error 1\n");
            assert_eq!(
                (trouble.is_some(), collector.failures().count() == 1),
                (is_shown, is_shown)
            );
            trouble.unwrap_or_default()
        };
        assert!(told(0).contains("proc/meminfo cannot be read: No such file"), "{}", told(0));
        std::fs::create_dir(&proc_root).expect("made");
        std::fs::write(proc_root.join("meminfo"), "MemTotal: 5 kB\n").expect("written");
        assert!(told(61).contains("proc/stat cannot be read: No such file"), "{}", told(61));
        std::fs::write(proc_root.join("stat"), "cpu0 1\nbtime 1\n").expect("written");
        assert_eq!(told(122), "");
    }

    #[test]
    fn labels_of_a_line_are_those_of_the_series() {
        let base = Labels::from_pairs([("b", "1"), ("d", "2"), ("f", "3")]);
        let sets = [("e", "4"), ("a", "5"), ("d", "6"), ("g", "7"), ("b", ""), ("c", "")];
        let mut builder = LabelsBuilder::from(&base);
        let mut pairs: Vec<(&str, &str)> = base.iter().collect();
        for (name, value) in sets {
            builder.set(name, value);
            set(&mut pairs, (name, value));
            assert_eq!(pairs, builder.iter().collect::<Vec<_>>());
        }
    }

    /// Containers come and go, and nobody ever gets a batch.
    #[test]
    fn series_that_ended_do_not_pile_up_while_collections_fail() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("cgroup");
        std::fs::create_dir_all(root.join("docker")).expect("made");
        std::fs::write(root.join("cgroup.controllers"), "memory\n").expect("written");
        let config = CollectorConfig { cgroup_root: root.clone(), ..CollectorConfig::default() };
        let selection = Arc::new(Selection::all());
        let target = Labels::empty();
        let mut collector = Collector::new(Settings { config, target, selection });
        for round in 0..20 {
            let folder = root.join(format!("docker/{round:064x}"));
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("memory.current"), "x").expect("written");
            std::fs::write(folder.join("memory.max"), "9").expect("written");
            collector.collect(Timestamp(round * 5000)).expect_err("its memory cannot be read");
            std::fs::remove_dir_all(&folder).expect("removed");
            assert!(collector.host.ended.is_empty(), "{round}");
        }
    }
}
