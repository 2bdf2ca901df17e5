//! Dense ids for series that are made here, in the terms a scrape speaks: new, present, vanished.
//!
//! As with a page that is scraped, an id means one label set within one epoch and is never used
//! again in it; a series that comes back after an absence has the id it had.

use crate::base::Labels;
use crate::exposition::{Batch, Point};

/// No id yet.
const NONE: u32 = u32::MAX;
/// Ids after which a new epoch begins if most of them are dead: what the engine maps by id stays
/// within a few hundred kilobytes, however many containers come and go.
const RENUMBER_FROM: u32 = 65_536;
/// The share of ids, one in so many, that must be alive to go on with an epoch.
const RENUMBER_ALIVE: usize = 8;

/// The ids of an epoch, and the batch being made.
#[derive(Debug)]
pub(super) struct Ids {
    epoch: u64,
    next: u32,
    /// Live ids of containers that are gone since the last batch.
    gone: Vec<u32>,
    batch: Batch,
    /// Samples of the last batch; the next has about as many.
    last: usize,
}

/// The ids of one container's series, or of the machine's.
#[derive(Debug, Default)]
pub(super) struct Slots {
    epoch: u64,
    /// By column.
    fixed: Vec<u32>,
    /// Which columns the last batch had, one bit each.
    live: u128,
    /// Series with a further label whose values are not known beforehand: column, value, id, and
    /// whether the last batch had it.
    more: Vec<(usize, String, u32, bool)>,
}

impl Ids {
    pub fn new() -> Ids {
        Ids { epoch: 1, next: 0, gone: Vec::new(), batch: Batch::default(), last: 0 }
    }

    /// Begins a new epoch: every series is announced again.
    pub fn renew(&mut self) {
        self.epoch += 1;
        self.next = 0;
        self.gone.clear();
    }

    /// Whether nothing was announced in this epoch yet.
    pub fn is_new(&self) -> bool {
        self.next == 0
    }

    /// Begins a batch.
    pub fn begin(&mut self, alive: usize) {
        if self.next > RENUMBER_FROM && alive * RENUMBER_ALIVE < self.next as usize {
            self.renew();
        }
        let points = Vec::with_capacity(self.last);
        self.batch = Batch { epoch: self.epoch, points, ..Batch::default() };
    }

    /// The finished batch.
    pub fn finish(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        batch.vanished.append(&mut self.gone);
        self.last = batch.points.len();
        let count = self.last as u64;
        batch.stats.samples_kept = count;
        batch.stats.samples_post_relabel = count;
        batch
    }

    /// Says of a series that it should be among the batch's and could not be read.
    pub fn miss(&mut self, labels: Labels) {
        self.batch.missed.push(labels);
    }

    fn announce(&mut self, labels: Labels) -> u32 {
        let id = self.next;
        self.next += 1;
        self.batch.new.push((id, labels));
        id
    }

    fn point(&mut self, id: u32, value: f64) {
        self.batch.points.push(Point { id, value, at: None });
    }
}

impl Slots {
    /// Begins this container's part of a batch; give the result to [`Slots::finish`].
    pub fn begin(&mut self, ids: &Ids) -> u128 {
        if self.epoch != ids.epoch {
            *self = Slots { epoch: ids.epoch, ..Slots::default() };
        }
        for (_, _, _, live) in &mut self.more {
            *live = false;
        }
        std::mem::take(&mut self.live)
    }

    /// Adds the sample of a column; `labels` are asked for once in an epoch.
    pub fn add(&mut self, ids: &mut Ids, at: usize, value: f64, labels: impl FnOnce() -> Labels) {
        if self.fixed.len() <= at {
            self.fixed.resize(at + 1, NONE);
        }
        if self.fixed[at] == NONE {
            self.fixed[at] = ids.announce(labels());
            ids.batch.stats.series_added += 1;
        }
        self.live |= 1 << at;
        ids.point(self.fixed[at], value);
    }

    /// Adds the sample of a column's series that is told from its siblings by `key`.
    pub fn add_more(
        &mut self,
        ids: &mut Ids,
        (at, key): (usize, &str),
        value: f64,
        labels: impl FnOnce() -> Labels,
    ) {
        let known = self.more.iter_mut().find(|(column, known, ..)| *column == at && known == key);
        let id = match known {
            Some((_, _, id, live)) => {
                *live = true;
                *id
            }
            None => {
                let id = ids.announce(labels());
                ids.batch.stats.series_added += 1;
                self.more.push((at, key.to_owned(), id, true));
                id
            }
        };
        ids.point(id, value);
    }

    /// Ends this container's part: what it had before and has no more has vanished.
    pub fn finish(&mut self, ids: &mut Ids, before: u128) {
        let lost = before & !self.live;
        let lost = (0..self.fixed.len()).filter(|at| lost & (1 << at) != 0);
        ids.batch.vanished.extend(lost.map(|at| self.fixed[at]));
        let dead = self.more.iter().filter(|(.., live)| !live).map(|(_, _, id, _)| *id);
        ids.batch.vanished.extend(dead);
        self.more.retain(|(.., live)| *live);
    }

    /// Whether no series was ever begun here.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.more.is_empty()
    }

    /// The container is gone, and its series with it.
    pub fn end(&mut self, ids: &mut Ids) {
        if self.epoch == ids.epoch {
            let live = (0..self.fixed.len()).filter(|at| self.live & (1 << at) != 0);
            ids.gone.extend(live.map(|at| self.fixed[at]));
            ids.gone.extend(self.more.iter().map(|(_, _, id, _)| *id));
        }
        *self = Slots::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One batch of one container that has these columns and keys.
    fn batch(ids: &mut Ids, slots: &mut Slots, columns: &[usize], keys: &[&str]) -> Batch {
        ids.begin(1);
        let before = slots.begin(ids);
        for at in columns {
            slots.add(ids, *at, 1.0, Labels::empty);
        }
        for key in keys {
            slots.add_more(ids, (9, key), 2.0, Labels::empty);
        }
        slots.finish(ids, before);
        ids.finish()
    }

    fn check(batch: &Batch, new: &[u32], present: &[u32], vanished: &[u32]) {
        assert_eq!(batch.new.iter().map(|(id, _)| *id).collect::<Vec<_>>(), new, "new");
        let points: Vec<u32> = batch.points.iter().map(|point| point.id).collect();
        assert_eq!((points.as_slice(), batch.vanished.as_slice()), (present, vanished));
    }

    #[test]
    fn series_come_go_and_come_back_under_their_id() {
        let (mut ids, mut slots) = (Ids::new(), Slots::default());
        assert!(ids.is_new());
        check(&batch(&mut ids, &mut slots, &[0, 4], &["eth0"]), &[0, 1, 2], &[0, 1, 2], &[]);
        check(&batch(&mut ids, &mut slots, &[0, 4], &["eth0"]), &[], &[0, 1, 2], &[]);
        check(&batch(&mut ids, &mut slots, &[4], &[]), &[], &[1], &[0, 2]);
        check(&batch(&mut ids, &mut slots, &[0, 4], &["eth1"]), &[3], &[0, 1, 3], &[]);
        slots.end(&mut ids);
        check(&batch(&mut ids, &mut Slots::default(), &[], &[]), &[], &[], &[0, 1, 3]);
        check(&batch(&mut ids, &mut slots, &[0], &[]), &[4], &[4], &[]);
        ids.renew();
        let renewed = batch(&mut ids, &mut slots, &[0], &[]);
        assert_eq!(renewed.epoch, 2);
        check(&renewed, &[0], &[0], &[]);
    }

    #[test]
    fn ids_of_the_dead_do_not_pile_up() {
        let (mut ids, mut stays) = (Ids::new(), Slots::default());
        let mut epochs = std::collections::BTreeSet::new();
        for _ in 0..70_000 {
            ids.begin(1);
            let mut passes = Slots::default();
            for slots in [&mut stays, &mut passes] {
                let before = slots.begin(&ids);
                slots.add(&mut ids, 0, 1.0, Labels::empty);
                slots.finish(&mut ids, before);
            }
            passes.end(&mut ids);
            epochs.insert(ids.finish().epoch);
            assert!(ids.next <= RENUMBER_FROM + 2);
        }
        assert_eq!(epochs.len(), 2);
    }
}
