//! Events of Docker's that were taken in, to know them when they are told again.
//!
//! Whoever begins to listen anew asks for the last seconds once more, because events are not stamped in
//! order. One that is told again is known by itself: by its stamp, its container's id and what it says, and
//! not by a name, which may be another's by then. They are in the journal, in the row that is written with
//! the note of how far Docker was heard: what was taken in and is not there must be taken in again.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use super::container::ContainerId;
use super::happening::Happening;
use super::runs::Runs;
use crate::base::{Change, Table, Timestamp};

/// Remembered at most: more than fit into what any storm that Docker keeps tells again.
const MOST: usize = 4096;
/// Nothing is told again of longer ago than this before the newest, or before Docker was heard last: after a restart of
/// ours a watch asks for the 25 seconds before.
const TOLD_AGAIN_NANOS: i64 = 30_000_000_000;
const KEY: &str = "docker_events";

/// What tells an event from all others.
type Key = (i64, ContainerId, Cow<'static, str>);

/// The last events, in the order they came.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Heard {
    order: VecDeque<Key>,
    all: BTreeSet<Key>,
    /// Whether the journal has a row of some.
    is_noted: bool,
}

impl Heard {
    /// The events that a row tells of, if it is theirs; or why it cannot be read.
    pub fn restore(&mut self, row: &Change) -> Result<(), String> {
        let Change { table: Table::Meta, key, value: Some(value) } = row else { return Ok(()) };
        if key == KEY {
            let told = |error| format!("row {key} of table meta: {error}");
            let keys: Vec<Key> = serde_json::from_slice(value).map_err(told)?;
            for key in keys {
                self.insert(key);
            }
            self.is_noted = true;
        }
        Ok(())
    }

    /// Takes an event in; false if it was before.
    pub fn take(&mut self, happening: &Happening) -> bool {
        let Happening { id, at_nanos, what, .. } = happening;
        self.insert((*at_nanos, id.clone(), Cow::Borrowed(what.word())))
    }

    fn insert(&mut self, key: Key) -> bool {
        if !self.all.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > MOST {
            self.forget_first();
        }
        true
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.order.pop_front() {
            self.all.remove(&first);
        }
    }

    /// What began and ended by these, in the order they came.
    pub fn tell(&self, runs: &mut Runs) {
        for (at_nanos, id, word) in &self.order {
            let at = Timestamp(at_nanos.div_euclid(1_000_000));
            match word.as_ref() {
                "start" => drop(runs.start(id, at)),
                "die" => runs.end(id, at),
                _ => {}
            }
        }
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// The row of those that may be told again, if Docker was heard until then; nothing if it would say
    /// again that there are none.
    pub fn take_row(&mut self, heard_until: Timestamp) -> Option<Change> {
        let from = heard_until.0.saturating_mul(1_000_000).saturating_sub(TOLD_AGAIN_NANOS);
        // A watch that goes on asks from the newest event on, one that begins from when Docker was heard.
        let newest = self.order.iter().map(|(at_nanos, ..)| *at_nanos).max().unwrap_or(from);
        let is_over =
            |(at_nanos, ..): &Key| *at_nanos < from.min(newest.saturating_sub(TOLD_AGAIN_NANOS));
        while self.order.front().is_some_and(is_over) {
            self.forget_first();
        }
        let rest: Vec<&Key> =
            self.order.iter().filter(|(at_nanos, ..)| *at_nanos >= from).collect();
        let row = serde_json::to_vec(&rest).expect("numbers and text always write");
        let value = (!rest.is_empty()).then_some(row);
        let was_noted = std::mem::replace(&mut self.is_noted, value.is_some());
        let is_due = was_noted || self.is_noted;
        is_due.then(|| Change { table: Table::Meta, key: KEY.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::super::happening::What;
    use super::*;

    fn event(digit: char, at_ms: i64, what: What) -> Happening {
        let id = ContainerId::new(&digit.to_string().repeat(64)).expect("64 digits");
        Happening { id, name: "web".to_owned(), at_nanos: at_ms * 1_000_000, what }
    }

    #[test]
    fn an_event_is_taken_once_whatever_its_container_is_called() {
        let mut heard = Heard::default();
        let die = event('a', 5_000, What::Die { exit_code: 1 });
        assert!(heard.take(&die) && !heard.take(&die));
        assert!(!heard.take(&Happening { name: "old".to_owned(), ..die.clone() }));
        assert!(heard.take(&event('a', 5_000, What::Start)), "of one moment, another");
        assert!(heard.take(&event('b', 5_000, What::Start)), "of another");
        // A day later, and it is the newest one still: Docker tells it again.
        assert_eq!(heard.take_row(Timestamp(86_400_000)), None);
        assert!(!heard.take(&die));
        // What was missed is told: a watch that begins before it was all told asks for it again.
        heard.take(&event('a', 40_000, What::Start));
        heard.take_row(Timestamp(27_000));
        assert!(!heard.take(&die));
        heard.take_row(Timestamp(41_000));
        assert_eq!(heard.order.len(), 1, "nobody tells of the others any more");
    }

    #[test]
    fn what_the_journal_has_is_known_and_the_rest_is_taken_again() {
        let mut heard = Heard::default();
        let (old, new) = (event('a', 5_000, What::Start), event('a', 12_000, What::Oom));
        assert!(heard.take(&old) && heard.take(&new));
        let row = heard.take_row(Timestamp(36_000)).expect("there is news");
        let late = event('a', 37_000, What::Oom);
        assert!(heard.take(&late));
        let mut again = Heard::default();
        assert_eq!(again.restore(&row), Ok(()));
        assert_eq!([&old, &new, &late].map(|event| again.take(event)), [true, false, true]);
        // Of nothing there is one row that says so.
        let row = again.take_row(Timestamp(99_000)).expect("it is over");
        assert_eq!((row.value.clone(), again.take_row(Timestamp(99_000))), (None, None));
        let bad = Change { value: Some(b"{".to_vec()), ..row };
        assert!(again.restore(&bad).is_err_and(|why| why.contains("docker_events")));
    }

    #[test]
    fn a_storm_is_remembered_as_far_as_it_goes() {
        let mut heard = Heard::default();
        for nth in 0..10_000 {
            assert!(heard.take(&event('a', nth, What::Oom)));
        }
        assert_eq!((heard.order.len(), heard.all.len()), (MOST, MOST));
    }
}
