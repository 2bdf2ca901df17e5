//! The store that forgets: for tests and for `plimsoll demo`.

use std::collections::BTreeMap;

use super::{JournalError, Rows, Store};
use crate::base::{Change, Table};

/// Rows in memory. They are as durable as the process.
#[derive(Default, Debug)]
pub struct MemoryStore {
    rows: BTreeMap<(Table, String), Vec<u8>>,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Rows, JournalError> {
        let of = |table| {
            self.rows
                .iter()
                .filter(|((of, _), _)| *of == table)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        };
        Ok(Table::ALL.into_iter().map(|table| (table, of(table))).collect())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        for change in changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => self.rows.insert(key, value.clone()),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }
}
