//! Label work remembered from one evaluation to the next.
//!
//! Rules look at the same series again and again: grouping and matching them takes the same part of
//! the same labels each time. A [`Memo`] keeps those parts: each is made once, numbered, and found
//! again by the address of the labels it was taken from. It holds nothing that could make a result
//! another one: an evaluation with an empty memo only costs more.

use std::cell::{Cell, RefCell};

use super::column::Head;
use super::keys::Signature;
use crate::base::{HashMap, Labels, Remembered};

/// What evaluations have learned about label sets, for the next ones to use.
#[derive(Debug, Default)]
pub struct Memo {
    parts: RefCell<Vec<Parts>>,
    /// Bytes of all that was ever remembered; only differences of it mean something.
    made_bytes: Cell<usize>,
}

/// The parts one signature takes of label sets.
#[derive(Debug)]
struct Parts {
    of: Signature<'static>,
    /// The number of the part of each set met: with its metadata labels, and without them.
    numbers: [Remembered<u32>; 2],
    by_labels: HashMap<Labels, u32>,
    labels: Vec<Labels>,
}

/// What remembering takes at most: of a set its place in one table, of a part, beside its bytes, its
/// places in two.
const SET_BYTES: usize = 64;
const PART_BYTES: usize = 128;

/// Parts that stand for no set any more are tolerated up to this share of those that do.
const IDLE_SHARE: usize = 4;

impl Memo {
    /// Forgets what no evaluation has used since the last call. Whoever keeps a memo calls this
    /// now and then, so that it does not grow with series that are gone.
    pub fn forget_unused(&mut self) {
        for parts in self.parts.get_mut() {
            let [shown, hidden] = &mut parts.numbers;
            let gone = shown.forget_unused() | hidden.forget_unused();
            let sets: usize = parts.numbers.iter().map(Remembered::len).sum();
            if gone && parts.labels.len() > sets + sets / IDLE_SHARE {
                *parts = Parts::new(parts.of.clone());
            }
        }
    }

    /// Which of the memo's signatures this one is, until something is forgotten.
    pub(super) fn find(&self, signature: Signature) -> usize {
        let mut parts = self.parts.borrow_mut();
        parts.iter().position(|known| known.of == signature).unwrap_or_else(|| {
            parts.push(Parts::new(signature.into_owned()));
            parts.len() - 1
        })
    }

    /// The number of what a signature takes of a series' labels; equal parts have equal numbers.
    pub(super) fn number(&self, signature: usize, head: &Head) -> u32 {
        self.parts.borrow_mut()[signature].number(head, &self.made_bytes)
    }

    /// How many bytes were remembered up to now: what an evaluation adds to them, it keeps.
    pub(super) fn made_bytes(&self) -> usize {
        self.made_bytes.get()
    }

    /// The part with a number.
    pub(super) fn labels(&self, signature: usize, number: u32) -> Labels {
        self.parts.borrow()[signature].labels[number as usize].clone()
    }

    /// How many parts a signature has.
    pub(super) fn len(&self, signature: usize) -> usize {
        self.parts.borrow()[signature].labels.len()
    }
}

impl Parts {
    fn new(of: Signature<'static>) -> Parts {
        let numbers = Default::default();
        Parts { of, numbers, by_labels: HashMap::default(), labels: Vec::new() }
    }

    fn number(&mut self, head: &Head, made_bytes: &Cell<usize>) -> u32 {
        if self.of.is_empty() {
            return self.intern(Labels::empty(), made_bytes);
        }
        let dropped = usize::from(head.drop_name);
        if let Some(number) = self.numbers[dropped].get(&head.labels) {
            return *number;
        }
        made_bytes.set(made_bytes.get() + SET_BYTES);
        let number = self.intern(self.of.labels(head), made_bytes);
        self.numbers[dropped].insert(&head.labels, number);
        number
    }

    fn intern(&mut self, part: Labels, made_bytes: &Cell<usize>) -> u32 {
        if let Some(number) = self.by_labels.get(&part) {
            return *number;
        }
        let number = u32::try_from(self.labels.len()).expect("fewer than 2^32 label sets");
        made_bytes.set(made_bytes.get() + PART_BYTES + part.as_packed().len());
        self.labels.push(part.clone());
        self.by_labels.insert(part, number);
        number
    }
}
