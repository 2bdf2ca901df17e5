//! The samples a script has loaded, as a source for the evaluator.

use std::cell::Cell as Flag;
use std::collections::BTreeMap;

use plimsoll::base::{Labels, METRIC_NAME, STALE_NAN, Sample, Timestamp};
use plimsoll::window::{Selected, Selector, Source, Span};

use super::script::{Cell, Load};

/// Series in label order.
#[derive(Default)]
pub struct Store {
    series: BTreeMap<Labels, Series>,
    /// What selections met since the last [`Store::take_met`].
    met: Flag<Met>,
}

/// What a selection can meet that is not stored.
#[derive(Clone, Copy, Default)]
pub struct Met {
    /// A native histogram among the samples.
    pub native: bool,
    /// A series with start timestamps.
    pub started: bool,
}

#[derive(Default)]
struct Series {
    /// A stale marker stands for each native histogram: to whoever reads numbers, the number
    /// before it has ended.
    samples: Vec<Sample>,
    /// When the series had a native histogram instead of a number.
    native: Vec<i64>,
    started: bool,
}

impl Store {
    /// Takes away everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// Adds sequences, one value per step from time 0. Of the same series within one load the
    /// last counts.
    pub fn load(&mut self, load: &Load) {
        let last: BTreeMap<&Labels, &[Cell]> =
            load.series.iter().map(|sequence| (&sequence.labels, &*sequence.cells)).collect();
        for (labels, cells) in last {
            self.add(labels, load.step, cells);
            let name = labels.metric_name().strip_suffix("_bucket");
            if let (true, Some(name)) = (load.nhcb, name) {
                // Converted to a native histogram with custom buckets under the bare name.
                let converted = labels.with("le", "").with(METRIC_NAME, name);
                let native = |cell: &Cell| match cell {
                    Cell::Omitted => Cell::Omitted,
                    _ => Cell::Native,
                };
                let cells: Vec<Cell> = cells.iter().map(native).collect();
                self.add(&converted, load.step, &cells);
            }
        }
        for labels in &load.started {
            self.series.entry(labels.clone()).or_default().started = true;
        }
    }

    fn add(&mut self, labels: &Labels, step: i64, cells: &[Cell]) {
        let series = self.series.entry(labels.clone()).or_default();
        for (index, cell) in cells.iter().enumerate() {
            let at = step * index as i64;
            let value = match *cell {
                Cell::Omitted => continue,
                Cell::Float(value) => value,
                Cell::Native => {
                    series.native.push(at);
                    STALE_NAN
                }
            };
            let sample = Sample { at: Timestamp(at), value };
            match series.samples.binary_search_by_key(&at, |sample| sample.at.0) {
                Ok(known) => series.samples[known] = sample,
                Err(gap) => series.samples.insert(gap, sample),
            }
        }
    }

    /// Forgets what was met, and says it.
    pub fn take_met(&self) -> Met {
        self.met.take()
    }
}

impl Source for Store {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        let mut selected = Vec::new();
        for (labels, series) in self.series.iter().filter(|(labels, _)| selector.matches(labels)) {
            let inside = |at: i64| span.after.0 < at && at <= span.upto.0;
            let mut met = self.met.get();
            met.native |= series.native.iter().any(|at| inside(*at));
            met.started |= series.started;
            self.met.set(met);
            let start = series.samples.partition_point(|sample| sample.at <= span.after);
            let end = series.samples.partition_point(|sample| sample.at <= span.upto);
            if start < end {
                selected.push(Selected { labels, samples: &series.samples[start..end] });
            }
        }
        selected
    }
}
