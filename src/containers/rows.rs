//! Rows of the journal that say what is known of a host's containers, written now and then.
//!
//! Docker tells again what happened since it was heard last, so these rows need not follow each event:
//! they are written together with the note of how far it was heard. What came and went once in between
//! leaves no row at all, and a storm of new containers costs the journal nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base::{Change, Table};

/// Which rows of one kind have changed, and which there are.
#[derive(Clone, PartialEq, Debug)]
pub struct Rows<K> {
    prefix: &'static str,
    touched: BTreeSet<K>,
    stored: BTreeSet<K>,
}

impl<K: Ord + Clone + AsRef<str>> Rows<K> {
    /// Rows whose keys begin with `prefix`.
    pub fn new(prefix: &'static str) -> Rows<K> {
        Rows { prefix, touched: BTreeSet::new(), stored: BTreeSet::new() }
    }

    /// The key of a row of this kind, without the prefix.
    pub fn key<'a>(&self, row: &'a Change) -> Option<&'a str> {
        if row.table == Table::Guards { row.key.strip_prefix(self.prefix) } else { None }
    }

    /// There is a row in the journal.
    pub fn found(&mut self, key: K) {
        self.stored.insert(key);
    }

    /// Whether there is a row in the journal.
    pub fn is_stored(&self, key: &K) -> bool {
        self.stored.contains(key)
    }

    /// What is known under a key has changed.
    pub fn touch(&mut self, key: &K) {
        if !self.touched.contains(key) {
            self.touched.insert(key.clone());
        }
    }

    /// The rows that have changed since; `row` says what one is, if it is still worth one.
    pub fn take<R: Serialize>(&mut self, row: impl Fn(&K) -> Option<R>) -> Vec<Change> {
        self.take_unless(|_| false, row)
    }

    /// The same; `row` is told whether there is a row in the journal already.
    pub fn take_again<R: Serialize>(&mut self, row: impl Fn(&K, bool) -> Option<R>) -> Vec<Change> {
        self.take_all(|_| false, row)
    }

    /// The same, without those that wait for the next time.
    pub fn take_unless<R: Serialize>(
        &mut self,
        waits: impl Fn(&K) -> bool,
        row: impl Fn(&K) -> Option<R>,
    ) -> Vec<Change> {
        self.take_all(waits, |key, _| row(key))
    }

    fn take_all<R: Serialize>(
        &mut self,
        waits: impl Fn(&K) -> bool,
        row: impl Fn(&K, bool) -> Option<R>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.touched) {
            if waits(&key) {
                self.touched.insert(key);
                continue;
            }
            let row = row(&key, self.is_stored(&key));
            let is_due = if row.is_some() { true } else { self.stored.remove(&key) };
            let value = row.map(|row| serde_json::to_vec(&row).expect("text keys and numbers"));
            let name = format!("{}{}", self.prefix, key.as_ref());
            if value.is_some() {
                self.stored.insert(key);
            }
            changes.extend(is_due.then_some(Change { table: Table::Guards, key: name, value }));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_leaves_no_row() {
        let mut rows: Rows<String> = Rows::new("kind:");
        let mut take = |touched: &[&str], there: &[&str]| {
            touched.iter().for_each(|key| rows.touch(&(*key).to_owned()));
            let changes = rows.take(|key| there.contains(&key.as_str()).then_some(1));
            let shown = |change: Change| (change.key, change.value.map(|_| "put"));
            changes.into_iter().map(shown).collect::<Vec<_>>()
        };
        let put = |key: &str| (format!("kind:{key}"), Some("put"));
        assert_eq!(take(&["a", "b", "b"], &["a"]), [put("a")]);
        assert_eq!(take(&[], &["a"]), []);
        assert_eq!(take(&["a"], &["a"]), [put("a")]);
        assert_eq!(take(&["a", "b"], &[]), [("kind:a".to_owned(), None)], "and only once");
        assert_eq!(take(&["a"], &[]), []);
        assert!(!rows.is_stored(&"c".to_owned()));
        rows.found("c".to_owned());
        assert!(rows.is_stored(&"c".to_owned()));
        rows.touch(&"c".to_owned());
        let gone = rows.take(|_| None::<u8>);
        assert_eq!(gone, [Change { table: Table::Guards, key: "kind:c".to_owned(), value: None }]);
        assert_eq!(rows.key(&gone[0]), Some("c"));
        let other = Change { table: Table::Meta, ..gone[0].clone() };
        assert_eq!(rows.key(&other), None);
    }
}
