//! What was expected beside what came: each expectation paired with what resembles it most.
//!
//! A label that differs makes a different alert, so equality is all that passes; pairing only says
//! it so that a person sees the one label that is wrong.

use crate::base::{Labels, format_value};

/// An alert or a sample: what it is called, and what it says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Entry {
    /// Its identity.
    pub labels: Labels,
    /// Of an alert.
    pub annotations: Labels,
    /// Of a sample.
    pub value: Option<f64>,
}

/// One way in which the result is not as expected.
#[derive(Clone, PartialEq, Debug)]
pub enum Difference {
    /// Expected, and nothing like it is there.
    Missing(Entry),
    /// There, and nothing like it was expected.
    Unexpected(Entry),
    /// Expected, and this is there instead.
    Changed {
        /// What was expected.
        expected: Entry,
        /// What is there.
        got: Entry,
    },
}

/// Values that differ by less than this part of the larger are equal where a test asks for
/// `fuzzy_compare`: more than rounding adds up to, less than anyone means.
const FUZZ: f64 = 1e-9;

/// Compares without regard to order. Empty if they are equal.
pub fn compare(expected: Vec<Entry>, mut got: Vec<Entry>, fuzzy: bool) -> Vec<Difference> {
    let mut left = Vec::new();
    for want in expected {
        match got.iter().position(|entry| same(&want, entry, fuzzy)) {
            Some(at) => drop(got.remove(at)),
            None => left.push(want),
        }
    }
    // The most alike first, so that a near miss is not paired with something further off.
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (w, want) in left.iter().enumerate() {
        pairs.extend(got.iter().enumerate().map(|(g, entry)| (likeness(want, entry), w, g)));
    }
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut of_want, mut taken) = (vec![None; left.len()], vec![false; got.len()]);
    for (likeness, w, g) in pairs {
        if likeness > 0 && of_want[w].is_none() && !taken[g] {
            (of_want[w], taken[g]) = (Some(g), true);
        }
    }
    let matched = left.into_iter().zip(of_want).map(|(expected, g)| match g {
        Some(g) => Difference::Changed { expected, got: got[g].clone() },
        None => Difference::Missing(expected),
    });
    let mut differences: Vec<Difference> = matched.collect();
    let rest = got.into_iter().zip(taken).filter(|(_, taken)| !taken);
    differences.extend(rest.map(|(entry, _)| Difference::Unexpected(entry)));
    differences
}

fn same(a: &Entry, b: &Entry, fuzzy: bool) -> bool {
    let value = match (a.value, b.value) {
        (Some(a), Some(b)) => {
            let near = fuzzy && (a - b).abs() <= FUZZ * a.abs().max(b.abs());
            a == b || near || (a.is_nan() && b.is_nan())
        }
        (a, b) => a.is_none() && b.is_none(),
    };
    value && a.labels == b.labels && a.annotations == b.annotations
}

/// How many labels are the same, beside the name all have; the same value counts as one more.
fn likeness(a: &Entry, b: &Entry) -> usize {
    let labels = a.labels.iter().filter(|(name, value)| b.labels.get(name) == Some(value));
    let all = usize::from(a.labels == b.labels);
    labels.count() + 2 * all + usize::from(a.value == b.value && a.annotations == b.annotations)
}

impl Entry {
    /// Its labels, and the value of a sample.
    pub fn title(&self) -> String {
        match self.value {
            Some(value) => format!("{} {}", self.labels, format_value(value)),
            None => self.labels.to_string(),
        }
    }
}
