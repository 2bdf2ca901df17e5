//! The samples a script has loaded, as a source for the evaluator.

use std::cell::Cell as Flag;
use std::collections::BTreeMap;

use plimsoll::base::{Labels, METRIC_NAME, Sample, Timestamp};
use plimsoll::window::{Selected, Selector, Source, Span};

use super::script::{Cell, Sequence};

/// Series in label order.
#[derive(Default)]
pub struct Store {
    series: BTreeMap<Labels, Series>,
    /// Whether a selection since the last [`Store::forget`] met a native histogram.
    met_native: Flag<bool>,
}

#[derive(Default)]
struct Series {
    samples: Vec<Sample>,
    /// When the series had a native histogram instead of a number.
    native: Vec<i64>,
}

impl Store {
    /// Takes away everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// Adds sequences, one value per step from time 0. Of the same series within one load the
    /// last counts.
    pub fn load(&mut self, step: i64, nhcb: bool, sequences: &[Sequence]) {
        let last: BTreeMap<&Labels, &Sequence> =
            sequences.iter().map(|sequence| (&sequence.labels, sequence)).collect();
        for (labels, sequence) in last {
            self.add(labels, step, &sequence.cells);
            let name = labels.metric_name().strip_suffix("_bucket");
            if let (true, Some(name)) = (nhcb, name) {
                // Converted to a native histogram with custom buckets under the bare name.
                let converted = labels.with("le", "").with(METRIC_NAME, name);
                let native = |cell: &Cell| match cell {
                    Cell::Omitted => Cell::Omitted,
                    _ => Cell::Native,
                };
                let cells: Vec<Cell> = sequence.cells.iter().map(native).collect();
                self.add(&converted, step, &cells);
            }
        }
    }

    fn add(&mut self, labels: &Labels, step: i64, cells: &[Cell]) {
        let series = self.series.entry(labels.clone()).or_default();
        for (index, cell) in cells.iter().enumerate() {
            let at = step * index as i64;
            match *cell {
                Cell::Omitted => {}
                Cell::Native => series.native.push(at),
                Cell::Float(value) => {
                    let sample = Sample { at: Timestamp(at), value };
                    match series.samples.binary_search_by_key(&at, |sample| sample.at.0) {
                        Ok(known) => series.samples[known] = sample,
                        Err(gap) => series.samples.insert(gap, sample),
                    }
                }
            }
        }
    }

    /// Forgets what was met, and says it.
    pub fn take_met_native(&self) -> bool {
        self.met_native.replace(false)
    }
}

impl Source for Store {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        let mut selected = Vec::new();
        for (labels, series) in self.series.iter().filter(|(labels, _)| selector.matches(labels)) {
            let inside = |at: i64| span.after.0 < at && at <= span.upto.0;
            if series.native.iter().any(|at| inside(*at)) {
                self.met_native.set(true);
            }
            let start = series.samples.partition_point(|sample| sample.at <= span.after);
            let end = series.samples.partition_point(|sample| sample.at <= span.upto);
            if start < end {
                selected.push(Selected { labels, samples: &series.samples[start..end] });
            }
        }
        selected
    }
}
