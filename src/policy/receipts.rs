//! Which receipts were taken: none counts twice, over restarts too.
//!
//! A receipt's timestamp is refused when it is five minutes off, so its id need not be remembered
//! for longer than that in both directions, and somewhat more for clocks that step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rows;
use crate::base::{Change, Timestamp};

/// Rows of this module in the table.
const PREFIX: &str = "receipt/";
/// Three times the ten minutes in which one receipt can pass for fresh.
const KEPT: Duration = Duration::from_secs(30 * 60);
/// Ids remembered at most. Only who has the secret can add one.
const IDS_MAX: usize = 10_000;

/// Ids of receipts, and when they were taken.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Receipts {
    ids: BTreeMap<String, Timestamp>,
}

impl Receipts {
    /// The ids as their rows tell them, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Receipts, Vec<String>) {
        let (ids, problems) = rows::read(PREFIX, rows);
        (Receipts { ids: ids.into_iter().collect() }, problems)
    }

    /// Whether a receipt of this id was taken.
    pub fn knows(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    /// Remembers one that is taken and forgets those that can no longer come again.
    pub fn note(&mut self, id: &str, now: Timestamp) -> Vec<Change> {
        let old = |at: Timestamp| now.since(at) > KEPT || at.since(now) > KEPT;
        let mut gone: Vec<String> =
            self.ids.iter().filter(|(_, at)| old(**at)).map(|(id, _)| id.clone()).collect();
        if self.ids.len() - gone.len() >= IDS_MAX {
            let oldest = self.ids.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            gone.extend(oldest);
        }
        for id in &gone {
            self.ids.remove(id);
        }
        self.ids.insert(id.to_owned(), now);
        let removed = gone.iter().map(|id| rows::row::<Timestamp>(PREFIX, id, None));
        removed.chain([rows::row(PREFIX, id, Some(&now))]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_as_long_as_it_could_come_again() {
        let mut receipts = Receipts::default();
        let rows = receipts.note("msg_1", Timestamp(0));
        assert!(receipts.knows("msg_1") && !receipts.knows("msg_2"));
        let (recovered, problems) = Receipts::recover(rows);
        assert_eq!((recovered, problems), (receipts.clone(), Vec::new()), "over a restart");
        let half_an_hour = Timestamp(30 * 60 * 1000);
        assert_eq!(receipts.note("msg_2", half_an_hour).len(), 1);
        assert!(receipts.knows("msg_1"));
        let rows = receipts.note("msg_3", Timestamp(half_an_hour.0 + 1));
        assert!(!receipts.knows("msg_1") && receipts.knows("msg_2"));
        assert_eq!(rows[0].value, None, "its row goes with it");
    }

    #[test]
    fn they_are_bounded() {
        let mut receipts = Receipts::default();
        for n in 0..IDS_MAX as i64 + 5 {
            let _rows = receipts.note(&format!("msg_{n}"), Timestamp(n));
        }
        assert_eq!(receipts.ids.len(), IDS_MAX);
        assert!(receipts.knows("msg_10004") && !receipts.knows("msg_0"));
    }
}
