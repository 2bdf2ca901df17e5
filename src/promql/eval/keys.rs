//! Signatures: the part of a label set by which series are grouped or matched.
//!
//! A signature is bytes in a buffer that is reused from series to series, looked up by content:
//! no allocation per series, and no two label sets confused by a hash collision.

use super::column::Head;
use super::names::{is_metadata, push_key, visible};
use crate::base::{HashMap, Labels, METRIC_NAME};

/// Which labels make a signature.
pub(super) struct Signature<'a> {
    names: Vec<&'a str>,
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

    /// Whether metadata labels are among those kept by name.
    pub fn contains_metadata(&self) -> bool {
        self.keep && self.names.iter().any(|name| is_metadata(name))
    }

    fn selects(&self, name: &str) -> bool {
        let named = match self.names.as_slice() {
            [] => false,
            [only] => *only == name,
            names => names.binary_search(&name).is_ok(),
        };
        if self.keep { named } else { !named && name != METRIC_NAME }
    }

    /// Writes the signature of a series into `key`.
    pub fn write(&self, head: &Head, key: &mut Vec<u8>) {
        key.clear();
        if self.keep && self.names.is_empty() {
            return;
        }
        for (name, value) in visible(head, self.eager) {
            if self.selects(name) {
                push_key(key, name);
                push_key(key, value);
            }
        }
    }

    /// The labels that make the signature of a series.
    pub fn labels(&self, head: &Head) -> Labels {
        Labels::from_sorted(visible(head, self.eager).filter(|(name, _)| self.selects(name)))
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Dense numbers for signatures, in the order they are first seen.
#[derive(Default)]
pub(super) struct Numbering {
    numbers: HashMap<Box<[u8]>, u32>,
    key: Vec<u8>,
}

impl Numbering {
    /// The number of a series' signature, new if need be.
    pub fn number(&mut self, signature: &Signature, head: &Head) -> u32 {
        signature.write(head, &mut self.key);
        if let Some(number) = self.numbers.get(self.key.as_slice()) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(self.key.as_slice().into(), number);
        number
    }

    /// The number of a series' signature, if it was seen.
    pub fn find(&mut self, signature: &Signature, head: &Head) -> Option<u32> {
        signature.write(head, &mut self.key);
        self.numbers.get(self.key.as_slice()).copied()
    }

    /// How many signatures there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }
}
