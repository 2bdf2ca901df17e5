//! One scrape target as the engine sees it: when it is due, which series it feeds, how it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::containers::{OOM_COUNTER, START_TIME};
use super::coverage::Asked;
use super::event::{ScrapeFailure, TargetInfo};
use super::fact::Fact;
use super::group::Reads;
use super::quality::{Meter, is_counter, too_old};
use super::unbroken::Unbroken;
use super::view::{Counters, Health, TargetView, target_name};
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, Sample, TargetId, Timestamp, is_stale};
use crate::containers::{ContainerId, id_in_cgroup};
use crate::exposition::{Batch, Metadata, Stats};
use crate::rules::Grid;
use crate::window::{Appended, SeriesId, Window};

/// Samples stamped further ahead than this are refused (`scrape.maxAheadTime`).
const MAX_AHEAD: Duration = Duration::from_secs(600);
/// What the kernel alone counted, by our own collector: its [`OOM_COUNTER`] shows what is counted here.
pub(super) const KERNEL_COUNTER: &str = "plimsoll_container_memory_events_total";
/// Families of one target whose metadata is kept: five times those of the largest exporter known
/// (node_exporter with every collector, some 2,000), against names that never end.
const MAX_FAMILIES: usize = 10_000;

/// The state of one target.
#[derive(Debug)]
pub(super) struct Target {
    pub info: TargetInfo,
    /// The slot its next scrape is due at.
    pub next_slot: Timestamp,
    phase: Duration,
    /// When its slots were laid anew.
    rescheduled_at: Option<Timestamp>,
    /// The slot of the scrape under way.
    pub in_flight: Option<Timestamp>,
    /// Whether a scrape has ended since the start, well or badly.
    pub answered: bool,
    pub health: Health,
    pub last_error: Option<String>,
    pub last_scrape: Option<Timestamp>,
    /// The slot since which every scrape has failed.
    pub failing_since: Option<Timestamp>,
    pub unbroken: Unbroken,
    last_duration: Duration,
    last_samples: u64,
    pub quality: Meter,
    /// Local id of the scrape cache → series; `None` where the window refused it.
    series: Vec<Option<Fed>>,
    epoch: Option<u64>,
    /// Whether the next scrape should announce every series anew.
    pub wants_epoch: bool,
    /// Whether the window had no room for some of its series.
    was_refused: bool,
    /// Whether that was so when its last scrape ended, and has been told.
    refusing: bool,
    /// Metric names it has fed since the epoch began; before the first, those it fed before the
    /// restart.
    pub feeds: BTreeSet<Arc<str>>,
    /// Whether it is known what it feeds.
    pub feeds_known: bool,
    /// What a reload has asked of it, until it has answered.
    pub asked: Option<Asked>,
    /// What its kept families say about themselves, since the epoch began. Shared with views.
    metadata: Arc<BTreeMap<String, Metadata>>,
    /// Series its last good scrape should have brought and could not read.
    pub missed: Vec<Labels>,
    /// The OOM counters it feeds.
    pub counters: BTreeMap<ContainerId, OomCounter>,
}

/// A series it feeds.
#[derive(Clone, Copy, Debug)]
struct Fed {
    id: SeriesId,
    /// Whether it only grows, until it begins anew.
    is_counter: bool,
}

/// The series that tell of one container's OOM kills.
#[derive(Debug, Default)]
pub(super) struct OomCounter {
    pub name: String,
    pub oom: Option<SeriesId>,
    /// Whether that is the kernel's count.
    is_kernel_s: bool,
    /// When it was started.
    pub start: Option<SeriesId>,
}

/// Whether a series is the kernel's count of a container's kills, of a collector of ours or another's.
fn is_kernel_s(labels: &Labels) -> bool {
    labels.metric_name() == KERNEL_COUNTER && labels.get("event") == Some("oom_kill")
}

/// What taking a batch in did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Taken {
    pub samples: u64,
    /// Of these, samples with the time of the one before.
    pub repeated: u64,
    /// Counters that began anew.
    pub resets: u64,
    /// Samples that the target stamped, and the oldest and newest of these times.
    pub stamped: u64,
    pub stamps: Option<(Timestamp, Timestamp)>,
    pub out_of_order: u64,
    pub in_future: u64,
    pub refused: u64,
    /// Whether names were fed that were not before.
    pub new_names: bool,
    /// The newest sample time taken.
    pub newest: Option<Timestamp>,
    /// Containers that are shown no more, each with the labels of a series of its.
    pub gone: Vec<(ContainerId, Labels)>,
}

impl Taken {
    /// Adds a successful scrape to what is counted since the start.
    pub fn count(&self, page: &Stats, counters: &mut Counters) {
        counters.scrapes += 1;
        counters.scraped_bytes += page.bytes;
        counters.samples += self.samples;
        counters.samples_out_of_order += self.out_of_order;
        counters.samples_in_future += self.in_future;
        counters.samples_duplicate += page.duplicates;
        counters.series_refused += self.refused;
    }

    fn note_stamp(&mut self, at: Timestamp) {
        self.stamped += 1;
        let (oldest, newest) = self.stamps.unwrap_or((at, at));
        self.stamps = Some((oldest.min(at), newest.max(at)));
    }
}

/// What is said of every scrape, in the order of [`Target::report`].
const REPORTED: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl Target {
    /// A target that was just found. `fed`: the metric names it fed before the restart, if known.
    pub fn new(
        info: TargetInfo,
        phase: Duration,
        now: Timestamp,
        fed: Option<BTreeSet<Arc<str>>>,
    ) -> Target {
        Target {
            next_slot: Grid::new(info.interval, phase).next_slot(now),
            phase,
            rescheduled_at: None,
            info,
            in_flight: None,
            answered: false,
            health: Health::Unknown,
            last_error: None,
            last_scrape: None,
            failing_since: None,
            unbroken: Unbroken::default(),
            last_duration: Duration::ZERO,
            last_samples: 0,
            quality: Meter::default(),
            series: Vec::new(),
            epoch: None,
            wants_epoch: false,
            was_refused: false,
            refusing: false,
            feeds_known: fed.is_some(),
            feeds: fed.unwrap_or_default(),
            asked: None,
            metadata: Arc::default(),
            missed: Vec::new(),
            counters: BTreeMap::new(),
        }
    }

    /// `job/instance`, for people.
    pub fn name(&self) -> String {
        target_name(&self.info.labels)
    }

    /// It is the same target; how it is shown and how often it is scraped may have changed.
    pub fn follow(&mut self, info: TargetInfo, phase: Duration, now: Timestamp) {
        let is_rescheduled = (self.info.interval, self.phase) != (info.interval, phase);
        (self.info, self.phase) = (info, phase);
        if is_rescheduled {
            self.next_slot = Grid::new(self.info.interval, phase).next_slot(now);
            self.rescheduled_at = Some(now);
        }
    }

    /// The slot that is due, if one is, and how many passed unused before it.
    pub fn due(&mut self, now: Timestamp) -> Option<(Timestamp, u64)> {
        if now < self.next_slot {
            return None;
        }
        let grid = Grid::new(self.info.interval, self.phase);
        let slot = grid.slot_at_or_before(now);
        let skipped =
            slot.since(self.next_slot).as_millis() / self.info.interval.as_millis().max(1);
        self.next_slot = grid.next_slot(now);
        Some((slot, u64::try_from(skipped).unwrap_or(u64::MAX)))
    }

    /// Moves what is counted in wall time: the wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64, now: Timestamp) {
        let shift = |at: Timestamp| Timestamp(at.0 + by_ms);
        self.next_slot = Grid::new(self.info.interval, self.phase).next_slot(now);
        self.in_flight = self.in_flight.map(shift);
        self.last_scrape = self.last_scrape.map(shift);
        self.rescheduled_at = self.rescheduled_at.map(shift);
        self.failing_since = self.failing_since.map(shift);
        self.unbroken.rebase(by_ms);
        self.quality.rebase(by_ms);
    }

    /// Takes a successful scrape in. `enrich` adds the labels of the host's own knowledge.
    pub fn take(
        &mut self,
        batch: &Batch,
        slot: Timestamp,
        window: &mut Window,
        enrich: &dyn Fn(&Labels) -> Labels,
    ) -> Taken {
        let mut taken = Taken::default();
        let before = (self.epoch != Some(batch.epoch)).then(|| self.begin_epoch(batch.epoch));
        for (local, labels) in &batch.new {
            taken.new_names |= self.admit(*local, &enrich(labels), window, &mut taken.refused);
        }
        self.learn(&batch.metadata);
        taken.new_names |= self.miss(batch.missed.iter().map(enrich).collect());
        let latest = slot + MAX_AHEAD;
        for point in &batch.points {
            let at = point.at.unwrap_or(slot);
            // How old a page is does not hang on which of its series there was room for.
            if point.at.is_some() {
                taken.note_stamp(at);
            }
            let Some(Some(fed)) = self.series.get(point.id as usize) else { continue };
            if at > latest {
                taken.in_future += 1;
                continue;
            }
            match window.take(fed.id, Sample { at, value: point.value }) {
                Appended::TooOld => {
                    taken.out_of_order += 1;
                    continue;
                }
                Appended::Newest { fell } => taken.resets += u64::from(fell && fed.is_counter),
                Appended::Replaced | Appended::Repeated => taken.repeated += 1,
            }
            taken.samples += 1;
            taken.newest = taken.newest.max(Some(at));
        }
        self.quality.take(slot, (batch.points.len() + batch.missed.len()) as u64, &taken);
        if let Some(before) = before {
            before.difference(&self.series()).for_each(|id| window.end(*id));
        }
        for local in &batch.vanished {
            if let Some(Some(fed)) = self.series.get(*local as usize) {
                window.end(fed.id);
            }
        }
        taken.gone = self.gone(batch, window);
        taken
    }

    /// Containers whose series have all ended with this batch.
    fn gone(&self, batch: &Batch, window: &Window) -> Vec<(ContainerId, Labels)> {
        let of = |fed: &Fed| {
            let labels = window.labels(fed.id)?;
            Some((labels.get("id").and_then(id_in_cgroup)?, labels))
        };
        let ended =
            batch.vanished.iter().filter_map(|local| self.series.get(*local as usize)?.as_ref());
        let mut gone: BTreeMap<ContainerId, &Labels> = ended.filter_map(of).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        for fed in self.series.iter().flatten().filter(|fed| window.is_live(fed.id)) {
            if let Some((id, _)) = of(fed) {
                gone.remove(&id);
            }
        }
        gone.into_iter().map(|(id, labels)| (id, labels.clone())).collect()
    }

    /// Forgets every local id; returns the series they stood for.
    fn begin_epoch(&mut self, epoch: u64) -> BTreeSet<SeriesId> {
        self.epoch = Some(epoch);
        self.feeds.clear();
        self.feeds_known = true;
        self.metadata = Arc::default();
        self.counters.clear();
        self.wants_epoch = false;
        self.was_refused = false;
        std::mem::take(&mut self.series).into_iter().flatten().map(|fed| fed.id).collect()
    }

    /// Notes which series should have come. It feeds these too: what else befalls it concerns who reads
    /// them. Returns whether a name is new.
    fn miss(&mut self, missed: Vec<Labels>) -> bool {
        self.missed = missed;
        let mut new_names = false;
        for name in self.missed.iter().map(Labels::metric_name) {
            new_names |= !self.feeds.contains(name) && self.feeds.insert(Arc::from(name));
        }
        new_names
    }

    /// Notes what families say about themselves.
    fn learn(&mut self, told: &[(String, Metadata)]) {
        if told.is_empty() {
            return;
        }
        let known = Arc::make_mut(&mut self.metadata);
        for (family, metadata) in told {
            if known.len() < MAX_FAMILIES || known.contains_key(family) {
                known.insert(family.clone(), metadata.clone());
            }
        }
    }

    /// Binds a local id to a series; returns whether its name is new to this target.
    fn admit(
        &mut self,
        local: u32,
        labels: &Labels,
        window: &mut Window,
        refused: &mut u64,
    ) -> bool {
        let local = local as usize;
        if self.series.len() <= local {
            self.series.resize(local + 1, None);
        }
        let name = labels.metric_name();
        let id = window.series(labels).ok();
        self.series[local] = id.map(|id| Fed { id, is_counter: is_counter(name) });
        if id.is_none() {
            self.was_refused = true;
            *refused += 1;
        }
        if name == START_TIME || self.is_oom_counter(labels) {
            self.note_counter(labels, id);
        }
        !self.feeds.contains(name) && self.feeds.insert(Arc::from(name))
    }

    /// A reload keeps names that nobody kept before it: whether it feeds them is not known.
    pub fn ask(&mut self, fresh: &Reads) {
        let is_late = self.in_flight.is_some();
        self.asked.get_or_insert_default().also(fresh, is_late);
    }

    /// Whether it may turn out to feed what is read and was not kept before a reload.
    pub fn is_asked_for(&self, reads: &Reads) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.is_for(reads))
    }

    /// Whether it may yet turn out to feed what is read: before its first answer what it sends may
    /// be unknown, and what is said of its scrapes is of the time before the restart.
    pub fn is_stranger_to(&self, reads: &Reads) -> bool {
        let reported = || REPORTED.iter().any(|name| reads.names.contains(*name));
        !reads.is_empty() && (!self.feeds_known || (!self.answered && reported()))
    }

    /// Whether an alert that names this target may rest on it, as far as it is known what it sends. What is said of
    /// every target is of this one, if the rule reads nothing else.
    pub fn may_feed(&self, reads: &Reads) -> bool {
        let is_all_reported = reads.names.iter().all(|name| REPORTED.contains(&&**name));
        !self.feeds_known || reads.any(&self.feeds) || (is_all_reported && !reads.is_empty())
    }

    /// The series it feeds.
    pub fn series(&self) -> BTreeSet<SeriesId> {
        self.series.iter().flatten().map(|fed| fed.id).collect()
    }

    /// Of the series it shows and `wanted` picks, those whose newest sample is too old at `slot`, each with
    /// the time of that sample.
    pub fn silent<'a>(
        &'a self,
        slot: Timestamp,
        window: &'a Window,
        wanted: impl Fn(&Labels) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Labels, Timestamp)> {
        let limit = too_old(self.info.interval);
        self.series.iter().flatten().filter_map(move |fed| {
            let newest = window.newest(fed.id).filter(|newest| !is_stale(newest.value))?.at;
            let labels = window.labels(fed.id).filter(|_| slot.since(newest) > limit)?;
            wanted(labels).then_some((labels, newest))
        })
    }

    /// Whether a label set carries all of the target's labels.
    pub fn is_named_by(&self, labels: &Labels) -> bool {
        self.info.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// What to tell after a scrape of which the window refused so many series: the beginning, what
    /// goes on, and the end, when an epoch found room for all.
    pub fn note_refused(&mut self, count: u64) -> Option<Fact> {
        let was_refusing = self.refusing;
        self.refusing = self.was_refused;
        if count > 0 {
            return Some(Fact::SeriesRefused { target: self.name(), count, first: !was_refusing });
        }
        let is_over = was_refusing && !self.refusing;
        is_over.then(|| Fact::SeriesFit { target: self.name() })
    }

    /// Whether this is where a container's OOM kills are told by whoever saw them: what our own collector shows as
    /// their number is made of what is counted here. So it is of another plimsoll, as far as its page has both.
    fn is_oom_counter(&self, labels: &Labels) -> bool {
        let is_ours = self.info.id == TargetId::COLLECTOR;
        is_kernel_s(labels) || (labels.metric_name() == OOM_COUNTER && !is_ours)
    }

    /// Remembers where a container's OOM kills are told. Without a name nobody could say whose.
    fn note_counter(&mut self, labels: &Labels, series: Option<SeriesId>) {
        let id = labels.get("id").and_then(id_in_cgroup);
        let Some((id, name)) = id.zip(labels.get("name")) else { return };
        let counter = self.counters.entry(id).or_default();
        name.clone_into(&mut counter.name);
        match labels.metric_name() {
            START_TIME => counter.start = series,
            OOM_COUNTER if counter.is_kernel_s => {}
            _ => (counter.oom, counter.is_kernel_s) = (series, is_kernel_s(labels)),
        }
    }

    /// Ends every series this target feeds: its scrape failed, or it is gone.
    pub fn end_all(&self, window: &mut Window) {
        for fed in self.series.iter().flatten() {
            window.end(fed.id);
        }
    }

    /// Drops ids the window has forgotten. The scrape cache may still hold them, so the next scrape
    /// begins a new epoch with full labels; so it does if there may be room now for series that
    /// were refused.
    pub fn forget(&mut self, forgotten: &BTreeSet<SeriesId>) {
        self.wants_epoch |= self.was_refused && !forgotten.is_empty();
        for counter in self.counters.values_mut() {
            for series in [&mut counter.oom, &mut counter.start] {
                *series = series.filter(|id| !forgotten.contains(id));
            }
        }
        self.counters.retain(|_, counter| counter.oom.is_some());
        for slot in &mut self.series {
            if slot.is_some_and(|fed| forgotten.contains(&fed.id)) {
                *slot = None;
                self.wants_epoch = true;
            }
        }
    }

    /// Notes the end of a scrape.
    pub fn note(
        &mut self,
        slot: Timestamp,
        duration: Duration,
        result: &Result<Batch, ScrapeFailure>,
    ) {
        // Slots of another interval count for nothing in this one.
        let last = self.last_scrape.map(|last| self.rescheduled_at.unwrap_or(last).max(last));
        let passed = last
            .map_or(0, |last| slot.since(last).as_millis() / self.info.interval.as_millis().max(1));
        let unused = usize::try_from(passed.saturating_sub(1)).unwrap_or(usize::MAX);
        let expected = self.last_samples + self.missed.len() as u64;
        self.quality.miss(unused, expected);
        self.in_flight = None;
        self.answered = true;
        self.asked = self.asked.take().and_then(|asked| asked.after_scrape(result.is_ok()));
        self.last_scrape = Some(slot);
        self.last_duration = duration;
        match result {
            Ok(batch) => {
                self.health = Health::Good;
                let has_failed = self.failing_since.take().is_some();
                self.unbroken.note(slot, self.info.interval, has_failed);
                self.last_error.clone_from(&batch.trouble);
                self.last_samples = batch.points.len() as u64;
            }
            Err(error) => {
                self.health = Health::Bad;
                self.quality.miss(1, expected);
                self.failing_since.get_or_insert(slot);
                self.last_error = Some(error.message.clone());
            }
        }
    }

    /// The series every scrape makes about itself (`scrape/scrape.go` `report`).
    pub fn report(&self, result: &Result<Batch, ScrapeFailure>) -> Vec<(Labels, f64)> {
        // Of a page that failed, how far it was read, as in Prometheus.
        let [scraped, kept, added] = match result {
            Ok(Batch { stats, .. }) => {
                [stats.samples_scraped(), stats.samples_post_relabel, stats.series_added]
            }
            Err(failure) => [failure.samples_scraped, failure.samples_post_relabel, 0],
        };
        let values = [
            f64::from(u8::from(result.is_ok())),
            self.last_duration.as_secs_f64(),
            scraped as f64,
            kept as f64,
            added as f64,
        ];
        REPORTED
            .into_iter()
            .zip(values)
            .map(|(name, value)| {
                let mut labels = LabelsBuilder::from(&self.info.labels);
                labels.set(METRIC_NAME, name);
                (labels.build(), value)
            })
            .collect()
    }

    pub fn view(&self) -> TargetView {
        TargetView {
            job: self.info.labels.get("job").unwrap_or("").to_owned(),
            url: self.info.url.clone(),
            discovered: self.info.discovered.clone(),
            labels: self.info.labels.clone(),
            interval: self.info.interval,
            timeout: self.info.timeout,
            health: self.health,
            last_error: self.last_error.clone(),
            last_scrape: self.last_scrape,
            failing_since: self.failing_since,
            quality: self.quality.quality(),
            last_scrape_duration: self.last_duration,
            samples: self.last_samples,
            metadata: Arc::clone(&self.metadata),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Batch;
    use crate::window::{Caps, Retention};

    #[test]
    fn series_that_found_no_room_are_asked_for_again_when_there_is_room() {
        let caps = Caps { max_series: 1, max_bytes: 1 << 20 };
        let mut window = Window::new(caps, Retention::default());
        let other = window.series(&Labels::from_pairs([("a", "1")])).expect("there is room");
        let info = TargetInfo {
            id: TargetId(1),
            labels: Labels::empty(),
            discovered: Labels::empty(),
            url: String::new(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(4),
        };
        let mut target = Target::new(info, Duration::ZERO, Timestamp(0), None);
        let new = vec![(0, Labels::from_pairs([("b", "1")]))];
        let batch = Batch { epoch: 1, new, ..Batch::default() };
        let taken = target.take(&batch, Timestamp(5000), &mut window, &Labels::clone);
        assert_eq!((taken.refused, target.wants_epoch), (1, false));
        target.forget(&BTreeSet::new());
        assert!(!target.wants_epoch, "nothing was forgotten, so there is no room");
        target.forget(&BTreeSet::from([other]));
        assert!(target.wants_epoch);
    }
}
