//! Evaluation: a tree, a source of samples and the steps, to values.
//!
//! Evaluation is column-wise (see [`column`]): every node yields its values for all steps at once.
//! It never reads a clock: a caller that wants a deadline passes a question that is asked at every
//! node. It never loops without a bound: samples and steps are limited by [`EvalOptions`]. Nor does
//! it take memory without one: see [`budget`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Features;
use super::ast::{Expr, ValueType};
use crate::base::{Labels, Sample, Timestamp};
use crate::window::Source;

mod aggregate;
mod annotations;
mod binary;
mod budget;
mod call;
mod column;
mod dates;
mod engine;
mod error;
mod float;
mod go_log;
mod histogram;
mod info;
mod keys;
mod labels;
mod matching;
mod math;
mod memo;
mod names;
mod over_time;
mod parts;
mod pick;
mod rate;
mod select;
#[cfg(test)]
mod tests;
mod trace;

pub use annotations::{Annotation, Annotations, Severity};
pub use error::{EvalError, EvalErrorKind};
pub use memo::Memo;
pub use trace::{Traced, trace};

use column::{Column, Grid, Vector};
use engine::{Bounds, Engine};
use keys::{Numbering, Signature};
use names::{Collisions, metadata, settled, unique};

/// Limits and defaults of an evaluation.
#[derive(Clone)]
pub struct EvalOptions {
    /// Whether the beginning of a range belongs to it.
    pub edges: Edges,
    /// How old the newest sample of an instant selector may be (Prometheus: 5 minutes).
    pub lookback: Duration,
    /// The step of subqueries that name none (Prometheus: the global evaluation interval).
    pub default_step: Duration,
    /// How many samples, of 16 bytes each, a query may hold in memory at once before it fails. What
    /// a window lends counts, and a value of an instant vector counts half.
    pub max_samples: usize,
    /// How many times a range query may step from its start (Prometheus's HTTP API: 11 000).
    pub max_steps: usize,
    /// What is switched on.
    pub features: Features,
    /// Asked at every node; the evaluation ends with a timeout once it says yes.
    pub expired: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// Whether what stands exactly at the beginning of a range, a subquery or the lookback is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edges {
    /// It is not, as in Prometheus since 3.0.
    Open,
    /// It is, as before.
    Closed,
}

impl Edges {
    /// What comes before the samples within a range that begins here, in milliseconds.
    fn after(self, start: i64) -> i64 {
        match self {
            Edges::Open => start,
            Edges::Closed => start.saturating_sub(1),
        }
    }
}

impl Default for EvalOptions {
    fn default() -> EvalOptions {
        EvalOptions {
            edges: Edges::Open,
            lookback: Duration::from_secs(5 * 60),
            default_step: Duration::from_secs(60),
            max_samples: 5_000_000,
            max_steps: 11_000,
            features: Features::default(),
            expired: None,
        }
    }
}

impl fmt::Debug for EvalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvalOptions")
            .field("edges", &self.edges)
            .field("lookback", &self.lookback)
            .field("default_step", &self.default_step)
            .field("max_samples", &self.max_samples)
            .field("max_steps", &self.max_steps)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

/// The steps of a range query: `start`, `start + step`, … up to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// The first.
    pub start: Timestamp,
    /// No step is later.
    pub end: Timestamp,
    /// The distance; at least a millisecond.
    pub step: Duration,
}

/// The value of a query.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// One value per series. In no particular order unless the query sorts.
    Vector(Vec<(Labels, f64)>),
    /// Samples per series, sorted by labels.
    Matrix(Vec<(Labels, Vec<Sample>)>),
    /// A text.
    String(String),
}

/// What a query yields.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluated {
    /// Its value.
    pub value: Value,
    /// What was to be said about it.
    pub annotations: Annotations,
    /// Series that selectors found, each selector counted once.
    pub series_fetched: usize,
}

/// Evaluates a query at one time.
pub fn instant(
    expr: &Expr,
    source: &dyn Source,
    at: Timestamp,
    options: &EvalOptions,
) -> Result<Evaluated, EvalError> {
    instant_with(&Memo::default(), expr, source, at, options)
}

/// As [`instant`], with what earlier evaluations have learned about labels.
pub fn instant_with(
    memo: &Memo,
    expr: &Expr,
    source: &dyn Source,
    at: Timestamp,
    options: &EvalOptions,
) -> Result<Evaluated, EvalError> {
    let asked = Bounds { start: at.0, end: at.0, step: 0 };
    let mut engine = Engine::new(source, options, memo, asked);
    let value = at_once(&mut engine, expr, Grid::point(at.0));
    let series_fetched = engine.series_fetched();
    match value {
        Ok(value) => Ok(Evaluated { value, series_fetched, annotations: engine.notes }),
        Err(error) => Err(EvalError { series_fetched, ..error }),
    }
}

/// The value at the one step of a grid.
fn at_once<'a>(engine: &mut Engine<'a>, expr: &'a Expr, grid: Grid) -> Result<Value, EvalError> {
    if expr.value_type() == ValueType::Matrix {
        return samples(engine, expr, grid);
    }
    Ok(match engine.eval(expr, grid)? {
        Column::Scalar(values) => Value::Scalar(values[0]),
        // As JSON shows such a text in Prometheus.
        Column::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        Column::Vector(vector) => {
            let vector = finish(engine, vector)?;
            let _share = engine.budget.share::<(Labels, f64)>(vector.heads.len())?;
            let heads = vector.heads.into_vec().into_iter().map(|head| head.labels);
            Value::Vector(heads.zip(vector.values.into_vec()).collect())
        }
    })
}

/// Evaluates a query at every step of a range: always a [`Value::Matrix`].
pub fn range(
    expr: &Expr,
    source: &dyn Source,
    steps: Steps,
    options: &EvalOptions,
) -> Result<Evaluated, EvalError> {
    let count = steps.count(options)?;
    let grid = Grid { start: steps.start.0, step: millis(steps.step), count };
    let asked = Bounds { start: steps.start.0, end: steps.end.0, step: grid.step };
    let memo = Memo::default();
    let mut engine = Engine::new(source, options, &memo, asked);
    let kind = expr.value_type();
    if kind != ValueType::Scalar && kind != ValueType::Vector {
        return Err(EvalError::execution(format!(
            "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
        )));
    }
    let matrix = parts::rows(&mut engine, expr, grid)?.series;
    let series_fetched = engine.series_fetched();
    Ok(Evaluated { value: Value::Matrix(matrix), series_fetched, annotations: engine.notes })
}

impl Steps {
    /// How many points there are, if they make sense and are no more than the options allow.
    pub fn count(self, options: &EvalOptions) -> Result<usize, EvalError> {
        let step = millis(self.step);
        if step == 0 {
            let why = "zero or negative query resolution step widths are not accepted. Try a positive \
                       integer";
            return Err(EvalError::execution(why));
        }
        let span = self.end.0.saturating_sub(self.start.0);
        if span < 0 {
            return Err(EvalError::execution("end timestamp must not be before start time"));
        }
        let distances = usize::try_from(span / step).unwrap_or(usize::MAX);
        // The distances are counted, as Prometheus does: there is one point more.
        if distances > options.max_steps {
            let why = format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query \
                 resolution (?step=XX)",
                grouped(options.max_steps)
            );
            let error = EvalError::new(EvalErrorKind::Limit, why);
            return Err(error.advise("use a longer step or a shorter range"));
        }
        Ok(distances + 1)
    }
}

/// A number as people write it, `11,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An instant query for a range: the samples themselves.
fn samples<'a>(engine: &mut Engine<'a>, expr: &'a Expr, grid: Grid) -> Result<Value, EvalError> {
    let ranges = engine.ranges(expr, grid)?;
    let eager = engine.eager();
    let mut matrix: Vec<(Labels, Vec<Sample>)> = Vec::with_capacity(ranges.heads.len());
    for (head, run) in ranges.heads.iter().zip(ranges.runs.into_vec()) {
        if !run.is_empty() {
            matrix.push((settled(head, eager || head.drop_name), run.into_owned()));
        }
    }
    matrix.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Matrix(matrix))
}

/// Takes off the names that are to go, and sees that the series are still distinct.
fn finish(engine: &Engine, mut vector: Vector) -> Result<Vector, EvalError> {
    let mut dropped = false;
    let stripped = Signature::without(&[], engine.eager()).stripped();
    let stripped = Numbering::new(engine.memo, stripped);
    for head in vector.heads.iter_mut().filter(|head| head.drop_name) {
        if metadata(&head.labels).next().is_some() {
            head.labels = stripped.labels_of(head);
        }
        dropped = true;
    }
    if !dropped || engine.eager() || vector.distinct {
        return Ok(vector);
    }
    unique(vector, false, Collisions::Merged)
}

/// Milliseconds of a duration; the longest there are if it is longer.
fn millis(duration: Duration) -> i64 {
    // A quarter of the range, so that a lookback or range never overflows a time.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
