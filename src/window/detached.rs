//! Series copied out of the window, so that a query can be evaluated on another thread.

use super::matcher::Selector;
use super::source::{Selected, Source, Span};
use crate::base::{HashMap, Labels, Sample};

/// A bag of series with their samples, in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct Detached {
    series: Vec<(Labels, Vec<Sample>)>,
    by_labels: HashMap<Labels, usize>,
    samples: usize,
}

impl Detached {
    /// Adds samples (oldest first) of a series. A series that is there already keeps the union:
    /// two selectors of one query may ask for different spans of it.
    pub fn add(&mut self, labels: &Labels, samples: &[Sample]) {
        let Some(at) = self.by_labels.get(labels).copied() else {
            self.by_labels.insert(labels.clone(), self.series.len());
            self.series.push((labels.clone(), samples.to_vec()));
            self.samples += samples.len();
            return;
        };
        let held = &mut self.series[at].1;
        self.samples -= held.len();
        held.extend_from_slice(samples);
        held.sort_by_key(|sample| sample.at);
        held.dedup_by_key(|sample| sample.at);
        self.samples += held.len();
    }

    /// How many samples it holds.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The label sets it holds.
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.iter().map(|(labels, _)| labels)
    }
}

impl Source for Detached {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        let mut selected = Vec::new();
        for (labels, samples) in &self.series {
            let samples = span.of(samples);
            if !samples.is_empty() && selector.matches(labels) {
                selected.push(Selected { labels, samples });
            }
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn overlapping_spans_of_one_series_are_joined() {
        let samples: Vec<Sample> =
            (0..10).map(|n| Sample { at: Timestamp(n), value: n as f64 }).collect();
        let labels = Labels::from_pairs([("a", "b")]);
        let mut copy = Detached::default();
        copy.add(&labels, &samples[8..9]);
        copy.add(&labels, &samples[2..4]);
        copy.add(&labels, &samples[3..9]);
        assert_eq!(copy.samples(), 7);
        let all = Span { after: Timestamp(-1), upto: Timestamp(99) };
        let selected = copy.select(&Selector::new(vec![]), all);
        assert_eq!(selected[0].samples, &samples[2..9]);
    }
}
