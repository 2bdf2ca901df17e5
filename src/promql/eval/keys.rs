//! Signatures: the part of a label set by which series are grouped or matched.
//!
//! A part is a label set of its own, made once for each label set it is taken from and numbered by
//! content (see [`super::memo`]): no two label sets are confused by a hash collision, and grouping
//! a series that was grouped before costs one look at its address.

use std::borrow::Cow;

use super::column::Head;
use super::memo::Memo;
use super::names::{METADATA, is_metadata, visible};
use crate::base::{Labels, METRIC_NAME};

/// Which labels make a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Signature<'a> {
    names: Vec<Cow<'a, str>>,
    keep: bool,
    eager: bool,
}

impl<'a> Signature<'a> {
    /// `by (names)`, `on (names)`.
    pub fn of(names: &'a [String], eager: bool) -> Signature<'a> {
        Signature { names: sorted(names), keep: true, eager }
    }

    /// `without (names)`, `ignoring (names)`: everything but these and the metric name. `__type__`
    /// and `__unit__` do count: Prometheus hides only the name here.
    pub fn without(names: &'a [String], eager: bool) -> Signature<'a> {
        Signature { names: sorted(names), keep: false, eager }
    }

    /// The same labels but for the metadata labels.
    pub fn stripped(mut self) -> Signature<'a> {
        if self.keep {
            self.names.retain(|name| !is_metadata(name));
        } else {
            self.names.extend(METADATA.map(Cow::Borrowed));
            self.names.sort_unstable();
            self.names.dedup();
        }
        self
    }

    /// The same signature, for keeps.
    pub fn into_owned(self) -> Signature<'static> {
        let names = self.names.into_iter().map(|name| Cow::Owned(name.into_owned())).collect();
        Signature { names, ..self }
    }

    /// Whether it takes no label of any set.
    pub fn is_empty(&self) -> bool {
        self.keep && self.names.is_empty()
    }

    /// Whether metadata labels are among those kept by name.
    pub fn contains_metadata(&self) -> bool {
        self.keep && self.names.iter().any(|name| is_metadata(name))
    }

    fn selects(&self, name: &str) -> bool {
        let named = self.names.binary_search_by(|known| (**known).cmp(name)).is_ok();
        if self.keep { named } else { !named && name != METRIC_NAME }
    }

    /// The labels that make the signature of a series.
    pub fn labels(&self, head: &Head) -> Labels {
        Labels::from_sorted(visible(head, self.eager).filter(|(name, _)| self.selects(name)))
    }
}

fn sorted(names: &[String]) -> Vec<Cow<'_, str>> {
    let mut names: Vec<Cow<str>> = names.iter().map(|name| Cow::Borrowed(&**name)).collect();
    names.sort_unstable();
    names
}

/// Dense numbers for the signatures of one operation, in the order they are first seen.
pub(super) struct Numbering<'m> {
    memo: &'m Memo,
    /// The signature, as the memo knows it.
    signature: usize,
    /// The dense number of each of the memo's, and the reverse.
    dense: Vec<u32>,
    known: Vec<u32>,
}

/// Not seen in this operation.
const UNSEEN: u32 = u32::MAX;

impl<'m> Numbering<'m> {
    /// Nothing seen yet.
    pub fn new(memo: &'m Memo, signature: Signature) -> Numbering<'m> {
        let signature = memo.find(signature);
        Numbering { memo, signature, dense: Vec::new(), known: Vec::new() }
    }

    /// The number of a series' signature, new if need be.
    pub fn number(&mut self, head: &Head) -> u32 {
        let known = self.memo.number(self.signature, head);
        let at = known as usize;
        if self.dense.len() <= at {
            self.dense.resize((at + 1).max(self.memo.len(self.signature)), UNSEEN);
        }
        if self.dense[at] == UNSEEN {
            self.dense[at] = self.known.len() as u32;
            self.known.push(known);
        }
        self.dense[at]
    }

    /// The number of a series' signature, if it was seen.
    pub fn find(&self, head: &Head) -> Option<u32> {
        let known = self.memo.number(self.signature, head);
        self.dense.get(known as usize).copied().filter(|number| *number != UNSEEN)
    }

    /// The signature of a number, as labels.
    pub fn labels(&self, number: u32) -> Labels {
        self.memo.labels(self.signature, self.known[number as usize])
    }

    /// The signature of a series, as labels.
    pub fn labels_of(&self, head: &Head) -> Labels {
        self.memo.labels(self.signature, self.memo.number(self.signature, head))
    }

    /// How many signatures there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}
