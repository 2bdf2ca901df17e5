//! What one evaluation holds in memory at once, and how much it may.
//!
//! Every table of values, row of series or run of samples is a [`Paid`] list or stands behind a
//! [`Share`]: its room is paid for before it is taken, and given back when it is dropped. So no
//! query holds more than its budget, at any step of its evaluation. Label sets are shared between
//! tables, nobody knows when the last one goes: what is made of them is counted and never given
//! back. Paying costs one addition a list, none a value.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::error::EvalError;
use crate::base::{Labels, Sample};

/// What a query may make of labels, in bytes: as much as its samples may take. Labels are made by
/// functions that repeat texts, so a query of a few kilobytes could ask for gigabytes.
const MAX_LABEL_BYTES: usize = 64 << 20;

/// The budget of one evaluation; a clone is the same budget.
#[derive(Clone, Debug)]
pub(super) struct Budget(Rc<Purse>);

#[derive(Debug)]
struct Purse {
    most_bytes: usize,
    held_bytes: Cell<usize>,
    label_bytes: Cell<usize>,
}

impl Budget {
    /// What so many samples take; a value of an instant vector takes half as much as a sample,
    /// which has a time.
    pub fn of_samples(samples: usize) -> Budget {
        let most_bytes = samples.saturating_mul(size_of::<Sample>());
        Budget(Rc::new(Purse { most_bytes, held_bytes: Cell::new(0), label_bytes: Cell::new(0) }))
    }

    /// Takes room for so many `T` that someone else keeps.
    pub fn share<T>(&self, count: usize) -> Result<Share, EvalError> {
        let mut share = Share { budget: self.clone(), bytes: 0 };
        share.grow::<T>(count)?;
        Ok(share)
    }

    /// An empty list with room for so many.
    pub fn room<T>(&self, count: usize) -> Result<Paid<T>, EvalError> {
        let share = self.share::<T>(count)?;
        Ok(Paid { items: Vec::with_capacity(count), share })
    }

    /// A list of so many of the same.
    pub fn filled<T: Clone>(&self, item: T, count: usize) -> Result<Paid<T>, EvalError> {
        let share = self.share::<T>(count)?;
        Ok(Paid { items: vec![item; count], share })
    }

    /// Counts a label set that was made. Who makes many asks [`Budget::check_labels`] in between.
    pub fn count_labels(&self, labels: &Labels) {
        let bytes = self.0.label_bytes.get().saturating_add(labels.as_packed().len());
        self.0.label_bytes.set(bytes);
    }

    /// Bytes of the label sets made so far.
    pub fn label_bytes(&self) -> usize {
        self.0.label_bytes.get()
    }

    /// Counts anew from there: what was made since is gone.
    pub fn set_label_bytes(&self, bytes: usize) {
        self.0.label_bytes.set(bytes);
    }

    /// Whether the label sets made so far are within their bound, with `remembered` bytes of them
    /// that the memo keeps.
    pub fn check_labels(&self, remembered: usize) -> Result<(), EvalError> {
        if self.0.label_bytes.get().saturating_add(remembered) > MAX_LABEL_BYTES {
            return Err(EvalError::too_many_label_bytes(MAX_LABEL_BYTES));
        }
        Ok(())
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Takes room for so many more `T`.
    pub fn grow<T>(&mut self, count: usize) -> Result<(), EvalError> {
        let purse = &self.budget.0;
        let bytes = count.checked_mul(size_of::<T>());
        let held = bytes.and_then(|bytes| purse.held_bytes.get().checked_add(bytes));
        match (bytes, held) {
            (Some(bytes), Some(held)) if held <= purse.most_bytes => {
                purse.held_bytes.set(held);
                self.bytes += bytes;
                Ok(())
            }
            _ => Err(EvalError::too_many_samples()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let held = &self.budget.0.held_bytes;
        held.set(held.get() - self.bytes);
    }
}

/// A list whose room is paid for.
#[derive(Debug)]
pub(super) struct Paid<T> {
    items: Vec<T>,
    share: Share,
}

impl<T> Paid<T> {
    /// The budget it is paid from.
    pub fn budget(&self) -> &Budget {
        &self.share.budget
    }

    /// Takes room for so many more; some to spare where it grows item by item.
    pub fn reserve(&mut self, more: usize) -> Result<(), EvalError> {
        let (len, room) = (self.items.len(), self.items.capacity());
        if more > room - len {
            let grown = (room / 2).max(more);
            self.share.grow::<T>(grown)?;
            self.items.reserve_exact(room - len + grown);
        }
        Ok(())
    }

    /// Appends an item.
    pub fn push(&mut self, item: T) -> Result<(), EvalError> {
        self.reserve(1)?;
        self.items.push(item);
        Ok(())
    }

    /// Appends everything from another list.
    pub fn append(&mut self, other: &mut Paid<T>) -> Result<(), EvalError> {
        self.reserve(other.len())?;
        self.items.append(&mut other.items);
        Ok(())
    }

    /// Takes away what comes after the first so many; the room stays.
    pub fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }

    /// The items, which leave the budget.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T: Clone> Paid<T> {
    /// Appends so many of the same, and gives them to be changed.
    pub fn extend(&mut self, item: T, count: usize) -> Result<&mut [T], EvalError> {
        self.reserve(count)?;
        let before = self.items.len();
        self.items.resize(before + count, item);
        Ok(&mut self.items[before..])
    }

    /// The items at these places, in this order.
    pub fn picked(&self, order: &[usize]) -> Result<Paid<T>, EvalError> {
        let mut picked = self.budget().room(order.len())?;
        picked.items.extend(order.iter().map(|at| self.items[*at].clone()));
        Ok(picked)
    }

    /// As a clone, which is paid for too.
    pub fn copied(&self) -> Result<Paid<T>, EvalError> {
        let mut copy = self.budget().room(self.items.len())?;
        copy.items.extend_from_slice(&self.items);
        Ok(copy)
    }
}

impl<T> Deref for Paid<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for Paid<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are held.
    fn held(budget: &Budget) -> usize {
        budget.0.held_bytes.get()
    }

    #[test]
    fn what_is_held_is_what_there_is_room_for() {
        let budget = Budget::of_samples(100);
        let mut list = budget.room::<f64>(10).expect("80 bytes");
        assert_eq!(held(&budget), 80);
        for number in 0..30 {
            list.push(f64::from(number)).expect("240 bytes");
            assert_eq!(held(&budget), list.items.capacity() * size_of::<f64>(), "{number}");
        }
        list.truncate(5);
        let mut other = list.picked(&[4, 0]).expect("16 bytes");
        assert_eq!(*other, [4.0, 0.0]);
        list.append(&mut other).expect("there is room");
        assert_eq!(*list, [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 0.0]);
        drop(other);
        assert_eq!(held(&budget), list.items.capacity() * size_of::<f64>());
        drop(list);
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn nothing_is_taken_beyond_the_budget() {
        let budget = Budget::of_samples(100);
        let first = budget.filled(0.0, 150).expect("1200 of 1600 bytes");
        let refusal = EvalError::too_many_samples();
        assert_eq!(budget.filled(0.0, 51).expect_err("1608 bytes"), refusal);
        assert_eq!(budget.room::<f64>(usize::MAX).expect_err("overflows"), refusal);
        assert_eq!(budget.share::<u8>(usize::MAX).expect_err("overflows"), refusal);
        let mut rest = budget.filled(0.0, 50).expect("exactly all");
        assert_eq!(rest.push(0.0).expect_err("one more"), refusal);
        assert_eq!((rest.len(), held(&budget)), (50, 1600), "what was refused was not taken");
        drop(first);
        rest.push(0.0).expect("now there is room");
    }
}
