//! Selectors: the newest sample at every step, and windows of samples for range functions.

use std::borrow::Cow;

use super::super::ast::{Expr, ExprKind, MatrixSelector, Subquery, VectorSelector};
use super::budget::{Paid, Share};
use super::column::{Column, Grid, Head, Vector, is_present, present};
use super::dates::one_series;
use super::engine::{Engine, unwrap_parens, wrong_type};
use super::error::EvalError;
use super::names::metadata;
use super::{Edges, millis};
use crate::base::{METRIC_NAME, Sample, Timestamp, is_stale};
use crate::window::{Selected, Span};

/// Series with all samples that any step's window needs.
pub(super) struct Ranges<'a> {
    /// One per series.
    pub heads: Paid<Head>,
    /// The samples of each, oldest first, without stale markers.
    pub runs: Paid<Cow<'a, [Sample]>>,
    /// What the samples take, also where the window lends them.
    pub samples: Share,
    /// Where the window of each step ends.
    pub ends: Grid,
    /// How long a window is, in milliseconds.
    pub range: i64,
    /// Whether its beginning belongs to it.
    pub edges: Edges,
    /// As in [`Vector::distinct`].
    pub distinct: bool,
}

/// The window of one step: samples with `start < at <= end`, and those at `start` if edges are closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Which step of the query.
    pub step: usize,
    /// Where it begins, in milliseconds.
    pub start: i64,
    /// Inclusive end, in milliseconds.
    pub end: i64,
}

impl<'a> Engine<'a> {
    /// The newest value at every step.
    pub fn select(
        &mut self,
        selector: &'a VectorSelector,
        grid: Grid,
    ) -> Result<Vector, EvalError> {
        self.select_with(selector, grid, |sample| sample.value)
    }

    /// What `read` makes of the newest sample at every step.
    pub fn select_with(
        &mut self,
        selector: &'a VectorSelector,
        grid: Grid,
        read: impl Fn(&Sample) -> f64,
    ) -> Result<Vector, EvalError> {
        let reference = self.reference(&selector.offset, selector.at, grid)?;
        let span = self.span(reference, millis(self.options.lookback));
        let selected = self.fetch(&selector.selector, span)?;
        self.newest_rows(&selected, reference, read)
    }

    /// What `read` makes of the newest sample of each series at every step.
    pub fn newest_rows(
        &mut self,
        selected: &[Selected<'a>],
        reference: Grid,
        read: impl Fn(&Sample) -> f64,
    ) -> Result<Vector, EvalError> {
        let (edges, lookback) = (self.options.edges, millis(self.options.lookback));
        let mut vector = Vector::with_room(&self.budget, selected.len(), reference.count)?;
        for series in selected {
            newest(series.samples, reference, (edges, lookback), &read, vector.open_row()?);
            vector.seal_row(|| Head { labels: series.labels.clone(), drop_name: false })?;
        }
        vector.distinct = one_metric(selected);
        self.check_deadline()?;
        Ok(vector)
    }

    /// The samples behind a range selector or subquery.
    pub fn ranges(&mut self, expr: &'a Expr, grid: Grid) -> Result<Ranges<'a>, EvalError> {
        let expr = unwrap_parens(expr);
        let ranges = match &expr.kind {
            ExprKind::Matrix(matrix) => self.matrix(matrix, grid),
            ExprKind::Subquery(subquery) => self.subquery(subquery, grid),
            _ => Err(wrong_type(expr, "range vector")),
        };
        ranges.map_err(|error| error.within(expr.span))
    }

    fn matrix(&mut self, matrix: &'a MatrixSelector, grid: Grid) -> Result<Ranges<'a>, EvalError> {
        let ends = self.reference(&matrix.vector.offset, matrix.vector.at, grid)?;
        let range = self.positive_duration(&matrix.range)?;
        let selected = self.fetch(&matrix.vector.selector, self.span(ends, range))?;
        let mut ranges = self.no_ranges(selected.len(), (ends, range))?;
        ranges.samples.grow::<Sample>(selected.iter().map(|series| series.samples.len()).sum())?;
        for series in selected.iter() {
            ranges.heads.push(Head { labels: series.labels.clone(), drop_name: false })?;
            ranges.runs.push(without_stale(series.samples))?;
        }
        ranges.distinct = one_metric(&selected);
        self.check_deadline()?;
        Ok(ranges)
    }

    /// Windows of no series yet, with room for some.
    fn no_ranges(
        &self,
        series: usize,
        (ends, range): (Grid, i64),
    ) -> Result<Ranges<'a>, EvalError> {
        let (heads, runs) = (self.budget.room(series)?, self.budget.room(series)?);
        let samples = self.budget.share::<Sample>(0)?;
        let edges = self.options.edges;
        Ok(Ranges { heads, runs, samples, ends, range, edges, distinct: true })
    }

    /// The span of sample times that windows of this length, ending at these times, can touch.
    pub(super) fn span(&self, ends: Grid, length: i64) -> Span {
        let after = self.options.edges.after(ends.start.saturating_sub(length));
        Span { after: Timestamp(after), upto: Timestamp(ends.end()) }
    }

    fn subquery(&mut self, subquery: &'a Subquery, grid: Grid) -> Result<Ranges<'a>, EvalError> {
        let ends = self.reference(&subquery.offset, subquery.at, grid)?;
        let range = self.positive_duration(&subquery.range)?;
        let Some(inner) = self.subquery_grid(ends, range, subquery.step.as_ref())? else {
            return self.no_ranges(0, (ends, range));
        };
        let vector = match self.eval(&subquery.expr, inner)? {
            Column::Vector(vector) => vector,
            Column::Scalar(values) => one_series(values)?,
            Column::Text(_) => return Err(wrong_type(&subquery.expr, "instant vector")),
        };
        let mut ranges = self.no_ranges(vector.heads.len(), (ends, range))?;
        ranges.samples.grow::<Sample>(vector.present())?;
        for (_, row) in vector.rows() {
            let samples = row.iter().enumerate().filter(|(_, value)| is_present(**value));
            let mut run = Vec::with_capacity(present(row));
            run.extend(
                samples
                    .map(|(step, value)| Sample { at: Timestamp(inner.at(step)), value: *value }),
            );
            ranges.runs.push(Cow::Owned(run))?;
        }
        self.check_deadline()?;
        ranges.distinct = vector.distinct;
        ranges.heads = vector.heads;
        Ok(ranges)
    }
}

impl Ranges<'_> {
    /// Calls `visit` with every series' window at every step that has a sample in it. The window
    /// moves forward with the steps: each sample is passed over once, however many steps there are.
    pub fn each_window(&self, series: usize, mut visit: impl FnMut(Frame, &[Sample])) {
        let run: &[Sample] = &self.runs[series];
        let (mut low, mut high) = (0, 0);
        for step in 0..self.ends.count {
            let end = self.ends.at(step);
            let start = end.saturating_sub(self.range);
            let after = self.edges.after(start);
            if self.ends.count == 1 {
                // The samples were fetched for exactly this window.
                high = run.len();
            } else {
                high += run[high..].iter().take_while(|sample| sample.at.0 <= end).count();
                low += run[low..high].iter().take_while(|sample| sample.at.0 <= after).count();
            }
            if low < high {
                visit(Frame { step, start, end }, &run[low..high]);
            }
        }
    }
}

/// Fills one cell per step: the newest sample no older than `lookback`, unless it says that the
/// series has ended.
fn newest(
    samples: &[Sample],
    reference: Grid,
    (edges, lookback): (Edges, i64),
    read: &impl Fn(&Sample) -> f64,
    cells: &mut [f64],
) {
    let mut next = 0;
    for (step, cell) in cells.iter_mut().enumerate() {
        let at = reference.at(step);
        if reference.count == 1 {
            next = samples.len();
        } else {
            next += samples[next..].iter().take_while(|sample| sample.at.0 <= at).count();
        }
        if let Some(sample) = samples[..next].last()
            && sample.at.0 > edges.after(at.saturating_sub(lookback))
            && !is_stale(sample.value)
        {
            *cell = read(sample);
        }
    }
}

/// The samples without stale markers; copied only if there is one.
fn without_stale(samples: &[Sample]) -> Cow<'_, [Sample]> {
    if samples.iter().any(|sample| is_stale(sample.value)) {
        Cow::Owned(samples.iter().filter(|sample| !is_stale(sample.value)).copied().collect())
    } else {
        Cow::Borrowed(samples)
    }
}

/// Whether all series carry the same metadata labels, so that they stay distinct without them.
fn one_metric(selected: &[Selected]) -> bool {
    let Some(first) = selected.first() else {
        return true;
    };
    let mut of_first = metadata(first.labels);
    match (of_first.next(), of_first.next()) {
        (Some(name), None) if name.0 == METRIC_NAME => {
            selected.iter().all(|series| metadata(series.labels).eq([name]))
        }
        _ => false,
    }
}
