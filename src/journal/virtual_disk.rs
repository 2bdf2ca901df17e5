//! A journal for runs under virtual time: it commits to memory, at once and in the same thread, and
//! fails when it is told to. What it holds survives a simulated crash, never the program's own end.

use super::{MemoryStore, Store};
use crate::base::{Batch, Change, Receipt};

/// Rows, and changes that wait for a disk that works.
#[derive(Default, Debug)]
pub struct VirtualDisk {
    store: MemoryStore,
    fails: bool,
    waiting: Vec<(Batch, Vec<Change>)>,
}

impl VirtualDisk {
    /// Takes a batch; `None` while the disk fails.
    pub fn submit(&mut self, batch: Batch, changes: Vec<Change>) -> Option<Receipt> {
        self.waiting.push((batch, changes));
        self.commit()
    }

    /// The disk works from now on, or does not. What waited is committed.
    pub fn set_works(&mut self, works: bool) -> Option<Receipt> {
        self.fails = !works;
        self.commit()
    }

    /// The process died: what was not committed is lost.
    pub fn crash(&mut self) {
        self.waiting.clear();
    }

    /// Everything durable, as a process that starts reads it.
    pub fn rows(&mut self) -> Vec<Change> {
        let tables = self.store.load().expect("memory always reads");
        let rows = |(table, rows): (_, Vec<(String, Vec<u8>)>)| {
            let row = move |(key, value)| Change { table, key, value: Some(value) };
            rows.into_iter().map(row)
        };
        tables.into_iter().flat_map(rows).collect()
    }

    fn commit(&mut self) -> Option<Receipt> {
        let (last, _) = self.waiting.last().filter(|_| !self.fails)?;
        let receipt = Receipt::of(*last);
        for (_, changes) in self.waiting.drain(..) {
            self.store.commit(&changes).expect("memory always writes");
        }
        Some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;

    fn put(key: &str) -> Vec<Change> {
        vec![Change { table: Table::Meta, key: key.to_owned(), value: Some(vec![1]) }]
    }

    #[test]
    fn a_failing_disk_holds_what_it_was_given_and_a_crash_loses_it() {
        let mut disk = VirtualDisk::default();
        assert_eq!(disk.submit(Batch(1), put("a")).map(Receipt::upto), Some(Batch(1)));
        assert_eq!(disk.set_works(false), None);
        assert_eq!(disk.submit(Batch(2), put("b")), None);
        assert_eq!(disk.set_works(true).map(Receipt::upto), Some(Batch(2)));
        disk.set_works(false);
        disk.submit(Batch(3), put("c"));
        disk.crash();
        disk.set_works(true);
        let keys: Vec<String> = disk.rows().into_iter().map(|row| row.key).collect();
        assert_eq!(keys, ["a", "b"]);
    }
}
