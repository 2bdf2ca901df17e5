//! The last evaluations of each rule: what "why did it (not) fire" begins with.
//!
//! Cheap by being small: a fixed number of evaluations, each with a few of its values and changes
//! and the true counts. Views share them. The value of each part of the query is not kept; whoever
//! asks has it computed from the window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::evaluate::{Evaluated, RuleFailure};
use crate::alerts::Change;
use crate::base::{Labels, Timestamp};

/// A minute at the usual 5 s.
pub const RECENT: usize = 12;
/// Values and changes kept of one evaluation: enough to recognise it by.
const KEPT: usize = 5;

/// One evaluation of one rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluation {
    /// Its slot.
    pub slot: Timestamp,
    /// The time its selectors looked at.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Series its selectors found.
    pub series_fetched: usize,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// How many series its query yielded.
    pub results: usize,
    /// The first of them.
    pub values: Vec<(Labels, f64)>,
    /// How many alerts it changed.
    pub changed: usize,
    /// The first of those changes.
    pub changes: Vec<(Labels, Change)>,
}

impl Evaluation {
    /// The one that is beginning.
    pub(super) fn begin(slot: Timestamp, at: Timestamp) -> Evaluation {
        Evaluation {
            slot,
            at,
            took: Duration::ZERO,
            series_fetched: 0,
            error: None,
            results: 0,
            values: Vec::new(),
            changed: 0,
            changes: Vec::new(),
        }
    }

    /// Notes what the query found and yielded; one that failed may have found series all the same.
    pub(super) fn yields(&mut self, evaluated: &Result<Evaluated, RuleFailure>) {
        match evaluated {
            Ok(Evaluated { vector, series_fetched }) => {
                self.series_fetched = *series_fetched;
                self.results = vector.len();
                self.values = vector.iter().take(KEPT).cloned().collect();
            }
            Err(failure) => self.series_fetched = failure.series_fetched,
        }
    }

    /// Notes what became of its alerts, or why it failed.
    pub(super) fn ended(
        mut self,
        took: Duration,
        result: Result<&[(Labels, Change)], &String>,
    ) -> Evaluation {
        self.took = took;
        match result {
            Ok(changes) => {
                self.changed = changes.len();
                self.changes = changes.iter().take(KEPT).cloned().collect();
            }
            Err(error) => self.error = Some(error.clone()),
        }
        self
    }
}

/// The newest evaluations, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    ring: VecDeque<Arc<Evaluation>>,
}

impl Recent {
    pub fn push(&mut self, evaluation: Evaluation) {
        if self.ring.len() == RECENT {
            self.ring.pop_front();
        }
        self.ring.push_back(Arc::new(evaluation));
    }

    pub fn view(&self) -> Vec<Arc<Evaluation>> {
        self.ring.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_evaluations_values_and_changes() {
        let labels = |n: usize| Labels::from_pairs([("n", n.to_string())]);
        let vector: Vec<(Labels, f64)> = (0..100).map(|n| (labels(n), n as f64)).collect();
        let changes: Vec<(Labels, Change)> =
            (0..100).map(|n| (labels(n), Change::Firing)).collect();
        let mut recent = Recent::default();
        for slot in 0..100 {
            let mut evaluation = Evaluation::begin(Timestamp(slot), Timestamp(slot));
            evaluation.yields(&Ok(Evaluated { vector: vector.clone(), series_fetched: 200 }));
            recent.push(evaluation.ended(Duration::ZERO, Ok(&changes)));
        }
        let kept = recent.view();
        assert_eq!(kept.len(), RECENT);
        assert_eq!(kept.last().map(|newest| newest.slot), Some(Timestamp(99)));
        for evaluation in kept {
            assert_eq!((evaluation.results, evaluation.values.len()), (100, KEPT));
            assert_eq!((evaluation.changed, evaluation.changes.len()), (100, KEPT));
            assert_eq!(evaluation.series_fetched, 200);
        }
    }
}
