//! What a target sent before: its series by the bytes they are written with.
//!
//! An *entry* is one spelling of a series, raw, up to the value; a *slot* is one label set with its
//! dense id. Several entries may lead to one slot (labels in another order, relabelling), or to
//! none (dropped by relabelling). Each entry remembers which entry followed it, so a body that
//! lists its series in last time's order costs one comparison per line and no hash.
//!
//! Entries and slots made during a scrape lie behind `kept_entries` and `kept_slots` until
//! [`SeriesCache::commit`]; a scrape that fails is undone by cutting both lists there.
//!
//! What one target may cost is bounded by [`Limits`], and what all cost together by their [`Room`]: a
//! cache half full forgets at once what the page no longer has, and one that would be overfull
//! forgets all and fails the scrape.

use std::sync::Arc;

use super::error::Problem;
use super::format::Limits;
use super::metadata::Metadata;
use super::room::{Room, Share};
use super::scan::{Batch, Point, Stats};
use crate::base::{HashMap, Labels};

/// Successful scrapes without a series after which it is forgotten: enough to outlast a container's
/// restart, few enough that a label which changes with each restart costs no memory for long.
const FORGOTTEN_AFTER: u64 = 10;
/// Ids after which a cache of mostly dead ids starts a new epoch: what the engine maps by id is
/// then at most a few hundred kilobytes.
const RENUMBER_FROM: usize = 65_536;
/// The share of ids, one in so many, that must be alive to go on with an epoch.
const RENUMBER_ALIVE: usize = 8;

/// What a series costs beside its texts: entry, slot, two table entries and their slack.
const SERIES_OVERHEAD_BYTES: usize = 2 * (size_of::<Entry>() + size_of::<Option<Slot>>() + 48);
/// Lists and tables with more room than this many times their content are shrunk after a failure.
const SLACK: usize = 4;

/// The id of an entry whose series relabelling dropped.
pub(super) const DROPPED: u32 = u32::MAX;
/// The place in the list of entries where no entry is.
pub(super) const NOWHERE: u32 = u32::MAX;

/// One target's known series. It lives as long as the target; a selection, relabelling or limits
/// that change make it worthless, see [`SeriesCache::reset`].
#[derive(Debug)]
pub struct SeriesCache {
    epoch: u64,
    /// Successful scrapes plus one, so that 0 means "never".
    scrapes: u64,
    /// Scrapes begun plus one.
    attempts: u64,
    pub(super) entries: Vec<Entry>,
    by_text: HashMap<Arc<[u8]>, u32>,
    /// By id.
    slots: Vec<Option<Slot>>,
    by_labels: HashMap<Labels, u32>,
    kept_entries: usize,
    kept_slots: usize,
    /// The ids of the last successful scrape, in its order.
    present: Vec<u32>,
    /// The entry that came first.
    pub(super) first: u32,
    metadata: HashMap<String, (Metadata, u64)>,
    /// What entries cost, and what those behind `kept_entries` and metadata added to that.
    share: Share,
    new_bytes: usize,
    series_limit: usize,
}

/// One spelling of a series.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it was written, from the name up to the closing brace.
    pub(super) text: Arc<[u8]>,
    /// Its slot, or [`DROPPED`].
    pub(super) id: u32,
    /// The entry that followed it last time, or [`NOWHERE`]. A hint: it may point anywhere.
    pub(super) next: u32,
    /// The number of the attempt that saw it last; 0 before the first.
    pub(super) seen: u64,
}

impl Entry {
    fn bytes(&self) -> usize {
        // The labels of its slot are about as long as the text they were read from.
        2 * self.text.len() + SERIES_OVERHEAD_BYTES
    }
}

#[derive(Debug)]
struct Slot {
    labels: Labels,
    /// The number of the successful scrape that had it last; 0 before the first.
    seen: u64,
    /// Its newest point within the batch being committed.
    point: usize,
}

impl Default for SeriesCache {
    fn default() -> SeriesCache {
        SeriesCache::new()
    }
}

impl SeriesCache {
    /// A cache that knows nothing, in its first epoch, with room of its own.
    pub fn new() -> SeriesCache {
        SeriesCache::within(&Arc::default())
    }

    /// The same, in room that others share.
    pub fn within(room: &Arc<Room>) -> SeriesCache {
        SeriesCache {
            epoch: 1,
            scrapes: 1,
            attempts: 1,
            entries: Vec::new(),
            by_text: HashMap::default(),
            slots: Vec::new(),
            by_labels: HashMap::default(),
            kept_entries: 0,
            kept_slots: 0,
            present: Vec::new(),
            first: NOWHERE,
            metadata: HashMap::default(),
            share: Share::of(room),
            new_bytes: 0,
            series_limit: usize::MAX,
        }
    }

    /// Forgets everything and begins a new epoch: the next batch announces every series again. For
    /// a reload, and for an engine that met an id it does not know.
    pub fn reset(&mut self) {
        let room = Arc::clone(self.share.room());
        *self = SeriesCache { epoch: self.epoch + 1, ..SeriesCache::within(&room) };
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Series that have an id now.
    pub fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// Whether no series has an id.
    pub fn is_empty(&self) -> bool {
        self.by_labels.is_empty()
    }

    /// Bytes held, nearly: texts, labels and tables.
    pub fn heap_bytes(&self) -> usize {
        let texts: usize = self.entries.iter().map(|entry| entry.text.len()).sum();
        let labels: usize = self.slots.iter().flatten().map(|slot| slot.labels.heap_bytes()).sum();
        texts
            + labels
            + self.entries.capacity() * size_of::<Entry>()
            + self.by_text.capacity() * size_of::<(Arc<[u8]>, u32)>()
            + self.slots.capacity() * size_of::<Option<Slot>>()
            + self.by_labels.capacity() * size_of::<(Labels, u32)>()
    }

    /// Prepares for a scrape: what an abandoned one left is undone, and ids that have grown sparse
    /// begin anew. Gives the attempt's number.
    pub(super) fn open(&mut self, limits: &Limits) -> u64 {
        self.undo();
        let bound = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let series_limit = bound(limits.series_limit);
        self.share.bound(bound(limits.series_bytes_limit));
        let is_sparse = self.len() * RENUMBER_ALIVE < self.slots.len();
        let is_long = self.slots.len() > series_limit.saturating_mul(2);
        let is_worn = self.slots.len() > RENUMBER_FROM && (is_sparse || is_long);
        if is_worn || self.share.passed().is_some() {
            self.reset();
        }
        self.series_limit = series_limit;
        self.attempts += 1;
        self.attempts
    }

    /// Forgets what was learnt since the last commit, and gives its memory back.
    pub(super) fn undo(&mut self) {
        self.share.set(self.share.bytes() - std::mem::take(&mut self.new_bytes));
        if self.entries.len() == self.kept_entries {
            return;
        }
        for entry in self.entries.drain(self.kept_entries..) {
            self.by_text.remove(&entry.text);
        }
        for slot in self.slots.drain(self.kept_slots..).flatten() {
            self.by_labels.remove(&slot.labels);
        }
        if self.entries.capacity() > SLACK * self.entries.len() {
            self.entries.shrink_to_fit();
            self.by_text.shrink_to_fit();
            self.slots.shrink_to_fit();
            self.by_labels.shrink_to_fit();
        }
    }

    /// Counts what a page wants remembered. An error if that is too much; then all is
    /// forgotten, because what is not in the page may be what filled the room.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Problem> {
        self.share.set(self.share.bytes() + bytes);
        self.new_bytes += bytes;
        let problem = if self.entries.len() > self.series_limit {
            Problem::SeriesLimit(self.series_limit)
        } else if let Some(limit) = self.share.passed() {
            Problem::SeriesBytes(limit)
        } else {
            return Ok(());
        };
        self.reset();
        Err(problem)
    }

    /// Samples of one page of which some repeat a series, at most.
    pub(super) fn points_limit(&self) -> usize {
        self.series_limit.saturating_mul(2)
    }

    /// Whether half of what may be held is: then it remembers nothing for later.
    pub(super) fn is_half_full(&self) -> bool {
        self.entries.len() > self.series_limit / 2 || self.share.is_half_full()
    }

    /// How many samples the last successful scrape had, nearly.
    pub(super) fn expected_points(&self) -> usize {
        self.present.len()
    }

    /// The entry written exactly so.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// A new entry for `labels` (`None`: dropped by relabelling). The caller has not found `text`.
    pub(super) fn insert(&mut self, text: &[u8], labels: Option<Labels>) -> Result<u32, Problem> {
        let id = labels.map_or(DROPPED, |labels| self.id_of(labels));
        let at = u32::try_from(self.entries.len()).expect("a body has fewer than 2^32 series");
        let text: Arc<[u8]> = Arc::from(text);
        self.by_text.insert(Arc::clone(&text), at);
        let entry = Entry { text, id, next: NOWHERE, seen: 0 };
        let bytes = entry.bytes();
        self.entries.push(entry);
        self.charge(bytes)?;
        Ok(at)
    }

    fn id_of(&mut self, labels: Labels) -> u32 {
        if let Some(id) = self.by_labels.get(&labels) {
            return *id;
        }
        let id = u32::try_from(self.slots.len()).expect("an epoch has fewer than 2^32 series");
        self.by_labels.insert(labels.clone(), id);
        self.slots.push(Some(Slot { labels, seen: 0, point: 0 }));
        id
    }

    /// What is known of a family.
    pub(super) fn family(&mut self, family: &str) -> Option<&Metadata> {
        let (metadata, seen) = self.metadata.get_mut(family)?;
        *seen = self.scrapes + 1;
        Some(metadata)
    }

    /// Makes a scrape's outcome the truth and says what changed.
    pub(super) fn commit(
        &mut self,
        points: Vec<Point>,
        metadata: Vec<(String, Metadata)>,
        stats: Stats,
    ) -> Batch {
        self.scrapes += 1;
        let first_new = self.kept_slots;
        let new = self.slots[first_new..]
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| Some(((first_new + at) as u32, slot.as_ref()?.labels.clone())))
            .collect();
        let epoch = self.epoch;
        let mut batch = Batch { epoch, new, points, stats, metadata, ..Batch::default() };
        let present = self.mark(&mut batch);
        for id in std::mem::replace(&mut self.present, present) {
            let gone = self.slots[id as usize].as_ref().is_none_or(|slot| slot.seen < self.scrapes);
            if gone {
                batch.vanished.push(id);
            }
        }
        for (family, known) in &batch.metadata {
            self.metadata.insert(family.clone(), (known.clone(), self.scrapes));
        }
        if self.evict() || self.new_bytes > 0 {
            let told = |(family, (data, _)): (&String, &(Metadata, u64))| {
                family.len() + data.help.len() + data.unit.len()
            };
            let entries = self.entries.iter().map(Entry::bytes).sum::<usize>();
            self.share.set(entries + self.metadata.iter().map(told).sum::<usize>());
            self.new_bytes = 0;
        }
        self.kept_entries = self.entries.len();
        self.kept_slots = self.slots.len();
        batch
    }

    /// Notes which series the batch has, and drops repeated samples as Prometheus does: the first
    /// stays, and a later one only if both carry timestamps and its own is newer.
    fn mark(&mut self, batch: &mut Batch) -> Vec<u32> {
        let points = &mut batch.points;
        let mut present = Vec::with_capacity(points.len());
        let mut kept = 0;
        for at in 0..points.len() {
            let point = points[at];
            let slot = self.slots[point.id as usize].as_mut();
            let slot = slot.expect("a series of this scrape is not evicted before its end");
            if slot.seen < self.scrapes {
                batch.stats.series_added += u64::from(slot.seen + 1 < self.scrapes);
                slot.seen = self.scrapes;
                present.push(point.id);
            } else if point.at.is_none()
                || points[slot.point].at.is_none_or(|at| Some(at) >= point.at)
            {
                batch.stats.duplicates += 1;
                continue;
            }
            slot.point = kept;
            points[kept] = point;
            kept += 1;
        }
        points.truncate(kept);
        present
    }

    /// Forgets what was not seen for [`FORGOTTEN_AFTER`] scrapes, or in this one if room is short.
    /// Whether these were entries.
    fn evict(&mut self) -> bool {
        let (newest, attempts) = (self.scrapes, self.attempts);
        let patience = if self.is_half_full() { 1 } else { FORGOTTEN_AFTER };
        let is_old = |seen: u64, newest: u64| seen + patience <= newest;
        self.metadata.retain(|_, (_, seen)| !is_old(*seen, newest));
        for slot in &mut self.slots {
            if let Some(old) = slot.take_if(|slot| is_old(slot.seen, newest)) {
                self.by_labels.remove(&old.labels);
            }
        }
        // A failed scrape refreshes an entry but not its slot, so the slot has the last word.
        let slots = &self.slots;
        let is_gone = |entry: &Entry| {
            let has_slot = entry.id == DROPPED || slots[entry.id as usize].is_some();
            is_old(entry.seen, attempts) || !has_slot
        };
        if !self.entries.iter().any(is_gone) {
            return false;
        }
        let mut moved = Vec::with_capacity(self.entries.len());
        let mut kept = 0;
        for entry in &self.entries {
            if is_gone(entry) {
                self.by_text.remove(&entry.text);
                moved.push(NOWHERE);
            } else {
                moved.push(kept);
                kept += 1;
            }
        }
        let new_place = |old: u32| moved.get(old as usize).copied().unwrap_or(NOWHERE);
        self.entries.retain(|entry| !is_gone(entry));
        for entry in &mut self.entries {
            entry.next = new_place(entry.next);
        }
        for place in self.by_text.values_mut() {
            *place = new_place(*place);
        }
        self.first = new_place(self.first);
        true
    }
}
