//! What the evaluator reads from: something that can select series.

use super::matcher::Selector;
use crate::base::{Labels, Sample, Timestamp};

/// The span of sample times a selector asks for: `after < at <= upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Exclusive lower end.
    pub after: Timestamp,
    /// Inclusive upper end.
    pub upto: Timestamp,
}

impl Span {
    /// The part of `samples` (oldest first) that lies within the span.
    pub fn of<'a>(&self, samples: &'a [Sample]) -> &'a [Sample] {
        let from = samples.partition_point(|sample| sample.at <= self.after);
        // Rules look at the newest samples, and a search would touch memory all over the series.
        let upto = match samples.last() {
            Some(last) if last.at <= self.upto => samples.len(),
            _ => samples.partition_point(|sample| sample.at <= self.upto),
        };
        // An empty span may be the wrong way round.
        &samples[from.min(upto)..upto]
    }

    /// The smallest span that contains both.
    pub fn union(self, other: Span) -> Span {
        Span { after: self.after.min(other.after), upto: self.upto.max(other.upto) }
    }
}

/// One series of a selection.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The full label set, with `__name__`.
    pub labels: &'a Labels,
    /// Its samples within the span, oldest first, stale markers included. Never empty.
    pub samples: &'a [Sample],
}

/// Series that can be selected: the window itself, or a copy of a part of it.
pub trait Source {
    /// Every series that matches and has a sample within the span, in a stable order.
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>>;
}
