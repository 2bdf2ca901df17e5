//! What was made of label sets, found by where they stand in memory.
//!
//! A label set is shared, so the set of a series is the same piece of memory from one evaluation to
//! the next. What follows from it alone is worked out once and found again by address, which costs
//! neither a look at the labels nor an allocation. Each entry holds its set, so that an address
//! means one set as long as the entry lives. What nobody asks for is forgotten after some calls of
//! [`Remembered::forget_unused`].

use super::hash::HashMap;
use super::labels::Labels;

/// What is asked for once in so many turns stays: rules have intervals of their own.
const KEPT_TURNS: u32 = 3;

/// Values by label set.
#[derive(Clone, Debug)]
pub struct Remembered<V> {
    entries: HashMap<usize, Entry<V>>,
    turn: u32,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    /// Keeps the address from being given to another set.
    labels: Labels,
    value: V,
    /// The turn it was asked for last.
    used: u32,
}

impl<V> Default for Remembered<V> {
    fn default() -> Remembered<V> {
        Remembered { entries: HashMap::default(), turn: 0 }
    }
}

impl<V> Remembered<V> {
    /// What was made of this very set. An equal set elsewhere in memory is another one.
    pub fn get(&mut self, labels: &Labels) -> Option<&V> {
        let entry = self.entries.get_mut(&labels.address())?;
        debug_assert!(entry.labels == *labels, "an address means one set while its entry lives");
        entry.used = self.turn;
        Some(&entry.value)
    }

    /// Remembers what was made of a set.
    pub fn insert(&mut self, labels: &Labels, value: V) {
        let entry = Entry { labels: labels.clone(), value, used: self.turn };
        self.entries.insert(labels.address(), entry);
    }

    /// Forgets what nobody has asked for since the [`KEPT_TURNS`]-last call. Returns whether that
    /// was anything.
    pub fn forget_unused(&mut self) -> bool {
        let before = self.entries.len();
        self.entries.retain(|_, entry| self.turn.wrapping_sub(entry.used) < KEPT_TURNS);
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to_fit();
        }
        self.turn = self.turn.wrapping_add(1);
        self.entries.len() < before
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_forgotten_and_what_is_asked_for_stays() {
        let (used, idle) = (Labels::from_pairs([("a", "1")]), Labels::from_pairs([("a", "2")]));
        let twin = Labels::from_pairs([("a", "1")]);
        let mut remembered = Remembered::default();
        remembered.insert(&used, 1);
        remembered.insert(&idle, 2);
        assert_eq!(remembered.get(&used.clone()), Some(&1), "a clone is the same set");
        assert_eq!(remembered.get(&twin), None, "an equal set elsewhere is another one");
        for turn in 0..=KEPT_TURNS {
            assert_eq!(remembered.get(&used), Some(&1));
            assert_eq!(remembered.forget_unused(), turn == KEPT_TURNS, "turn {turn}");
        }
        assert_eq!(remembered.get(&used), Some(&1));
        assert_eq!(remembered.get(&idle), None);
        assert_eq!(remembered.len(), 1);
    }
}
