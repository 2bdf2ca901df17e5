//! What a target sent before: its series by the bytes they are written with.
//!
//! An *entry* is one spelling of a series, raw, up to the value; a *slot* is one label set with its
//! dense id. Several entries may lead to one slot (labels in another order, relabelling), or to
//! none (dropped by relabelling). Each entry remembers which entry followed it, so a body that
//! lists its series in last time's order costs one comparison per line and no hash.
//!
//! Entries and slots made during a scrape lie behind `kept_entries` and `kept_slots` until
//! [`SeriesCache::commit`]; a scrape that fails is undone by cutting both lists there.

use std::sync::Arc;

use super::metadata::Metadata;
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
    /// The number of the scrape that saw it last.
    pub(super) seen: u64,
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
    /// A cache that knows nothing, in its first epoch.
    pub fn new() -> SeriesCache {
        SeriesCache {
            epoch: 1,
            scrapes: 1,
            entries: Vec::new(),
            by_text: HashMap::default(),
            slots: Vec::new(),
            by_labels: HashMap::default(),
            kept_entries: 0,
            kept_slots: 0,
            present: Vec::new(),
            first: NOWHERE,
            metadata: HashMap::default(),
        }
    }

    /// Forgets everything and begins a new epoch: the next batch announces every series again. For
    /// a reload, and for an engine that met an id it does not know.
    pub fn reset(&mut self) {
        *self = SeriesCache { epoch: self.epoch + 1, ..SeriesCache::new() };
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
    /// begin anew. Gives the scrape's number.
    pub(super) fn open(&mut self) -> u64 {
        self.undo();
        if self.slots.len() > RENUMBER_FROM && self.len() * RENUMBER_ALIVE < self.slots.len() {
            self.reset();
        }
        self.scrapes + 1
    }

    /// Forgets what was learnt since the last commit.
    pub(super) fn undo(&mut self) {
        for entry in self.entries.drain(self.kept_entries..) {
            self.by_text.remove(&entry.text);
        }
        for slot in self.slots.drain(self.kept_slots..).flatten() {
            self.by_labels.remove(&slot.labels);
        }
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
    pub(super) fn insert(&mut self, text: &[u8], labels: Option<Labels>, number: u64) -> u32 {
        let id = labels.map_or(DROPPED, |labels| self.id_of(labels));
        let at = u32::try_from(self.entries.len()).expect("a body has fewer than 2^32 series");
        let text: Arc<[u8]> = Arc::from(text);
        self.by_text.insert(Arc::clone(&text), at);
        self.entries.push(Entry { text, id, next: NOWHERE, seen: number });
        at
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
    pub(super) fn family(&mut self, family: &str, number: u64) -> Option<&Metadata> {
        let (metadata, seen) = self.metadata.get_mut(family)?;
        *seen = number;
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
        let mut batch =
            Batch { epoch: self.epoch, new, points, vanished: Vec::new(), stats, metadata };
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
        self.evict();
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

    /// Forgets what was not seen for [`FORGOTTEN_AFTER`] scrapes.
    fn evict(&mut self) {
        let newest = self.scrapes;
        let is_old = |seen: u64| seen + FORGOTTEN_AFTER <= newest;
        self.metadata.retain(|_, (_, seen)| !is_old(*seen));
        for slot in &mut self.slots {
            if let Some(old) = slot.take_if(|slot| is_old(slot.seen)) {
                self.by_labels.remove(&old.labels);
            }
        }
        // A failed scrape refreshes an entry but not its slot, so the slot has the last word.
        let slots = &self.slots;
        let is_gone = |entry: &Entry| {
            let has_slot = entry.id == DROPPED || slots[entry.id as usize].is_some();
            is_old(entry.seen) || !has_slot
        };
        if !self.entries.iter().any(is_gone) {
            return;
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
    }
}
