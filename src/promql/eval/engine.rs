//! The walk over the tree: which node is evaluated when, at which steps, and within which bounds.

use std::rc::Rc;

use super::super::ast::{AtModifier, DurationExpr, Expr, ExprKind, Sign};
use super::super::quoting::INVALID_TEXT;
use super::super::{QueryTimes, resolve, resolve_positive};
use super::annotations::Annotations;
use super::budget::{Budget, Paid, Share};
use super::column::{Column, Grid, Vector};
use super::error::EvalError;
use super::memo::Memo;
use super::{EvalOptions, millis};
use crate::regex;
use crate::window::{self, Selected, Selector, Source};

/// Functions that look at the evaluation time, so that fixed arguments do not make them constant.
const TIME_DEPENDENT: &[&str] = &[
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    // Reads info series at every step, whatever its argument.
    "info",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

/// The times a query was asked with, in milliseconds; its last step may fall before its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub start: i64,
    pub end: i64,
    /// 0: an instant query.
    pub step: i64,
}

/// What a selector has found, kept until the query ends.
struct Fetched<'a> {
    selector: &'a Selector,
    span: window::Span,
    series: Rc<Vec<Selected<'a>>>,
    _share: Share,
}

impl Fetched<'_> {
    fn is(&self, selector: &Selector, span: window::Span) -> bool {
        self.span == span && self.selector == selector
    }
}

/// What there was before an attempt.
pub(super) struct Attempt {
    notes: Annotations,
    label_bytes: usize,
}

/// One evaluation of one query.
pub(super) struct Engine<'a> {
    /// Where samples come from.
    source: &'a dyn Source,
    /// Limits and defaults.
    pub options: &'a EvalOptions,
    /// What is known of labels already.
    pub memo: &'a Memo,
    /// When the whole query is asked for.
    pub query: Bounds,
    /// What was said beside the result so far.
    pub notes: Annotations,
    /// Selections made so far: a selector that occurs twice is fetched once.
    fetched: Vec<Fetched<'a>>,
    /// As many series were found for other steps.
    fetched_before: usize,
    /// What it may hold in memory.
    pub budget: Budget,
    /// Bytes of labels the memo had made before.
    remembered_before: usize,
    /// What the regular expressions still to come may take.
    pub patterns: regex::Budget,
}

impl<'a> Engine<'a> {
    /// An engine that has done nothing yet.
    pub fn new(
        source: &'a dyn Source,
        options: &'a EvalOptions,
        memo: &'a Memo,
        query: Bounds,
    ) -> Engine<'a> {
        let notes = Annotations::default();
        Engine {
            source,
            options,
            memo,
            query,
            notes,
            fetched: Vec::new(),
            fetched_before: 0,
            budget: Budget::of_samples(options.max_samples),
            remembered_before: memo.made_bytes(),
            patterns: regex::Budget::new(),
        }
    }

    /// What an attempt that may fail begins with.
    pub fn begin_attempt(&mut self) -> Attempt {
        // Those of a part before are of other times.
        self.fetched_before = self.series_fetched();
        self.fetched.clear();
        Attempt { notes: self.notes.clone(), label_bytes: self.budget.label_bytes() }
    }

    /// Forgets what a failed attempt has said and made; what it held is given back already.
    pub fn forget_attempt(&mut self, attempt: Attempt) {
        self.fetched.clear();
        self.notes = attempt.notes;
        self.budget.set_label_bytes(attempt.label_bytes);
    }

    /// How many series the selectors have found.
    pub fn series_fetched(&self) -> usize {
        let now = self.fetched.iter().map(|fetched| fetched.series.len()).sum();
        self.fetched_before.max(now)
    }

    /// Evaluates a node at every step of `grid`. Nodes that cannot change from step to step are
    /// evaluated once.
    pub fn eval(&mut self, expr: &'a Expr, grid: Grid) -> Result<Column<'a>, EvalError> {
        self.eval_here(expr, grid).map_err(|error| error.within(expr.span))
    }

    fn eval_here(&mut self, expr: &'a Expr, grid: Grid) -> Result<Column<'a>, EvalError> {
        self.check_bounds()?;
        if grid.count > 1 && is_invariant(expr) && !matches!(expr.kind, ExprKind::Number(_)) {
            let once = self.eval_node(expr, Grid::point(grid.start))?;
            return broadcast(once, grid.count);
        }
        self.eval_node(expr, grid)
    }

    fn eval_node(&mut self, expr: &'a Expr, grid: Grid) -> Result<Column<'a>, EvalError> {
        match &expr.kind {
            ExprKind::Number(value) => Ok(Column::Scalar(self.budget.filled(*value, grid.count)?)),
            ExprKind::String(text) => Ok(Column::Text(text.as_bytes())),
            ExprKind::Bytes(bytes) => Ok(Column::Text(bytes)),
            ExprKind::Vector(selector) => Ok(Column::Vector(self.select(selector, grid)?)),
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                Err(EvalError::execution("a range of samples cannot be used as an instant vector"))
            }
            ExprKind::Call(call) => self.call(call, grid),
            ExprKind::Aggregate(aggregate) => Ok(Column::Vector(self.aggregate(aggregate, grid)?)),
            ExprKind::Binary(binary) => self.binary(binary, grid),
            ExprKind::Unary(Sign::Minus, inner) => match self.eval(inner, grid)? {
                Column::Scalar(mut values) => {
                    values.iter_mut().for_each(|value| *value = -*value);
                    Ok(Column::Scalar(values))
                }
                Column::Vector(mut vector) => {
                    vector.map(|value| -value);
                    Ok(Column::Vector(self.drop_names(vector)?))
                }
                Column::Text(_) => Err(wrong_type(inner, "number")),
            },
            ExprKind::Unary(Sign::Plus, inner) | ExprKind::Paren(inner) => self.eval(inner, grid),
        }
    }

    /// Evaluates a node that yields one number per step.
    pub fn scalar(&mut self, expr: &'a Expr, grid: Grid) -> Result<Paid<f64>, EvalError> {
        match self.eval(expr, grid)? {
            Column::Scalar(values) => Ok(values),
            _ => Err(wrong_type(expr, "scalar")),
        }
    }

    /// Evaluates a node that yields series.
    pub fn vector(&mut self, expr: &'a Expr, grid: Grid) -> Result<Vector, EvalError> {
        match self.eval(expr, grid)? {
            Column::Vector(vector) => Ok(vector),
            _ => Err(wrong_type(expr, "vector")),
        }
    }

    /// Evaluates a node that yields a text.
    pub fn text(&mut self, expr: &'a Expr) -> Result<&'a str, EvalError> {
        let bytes = self.bytes(expr)?;
        std::str::from_utf8(bytes).map_err(|_| EvalError::execution(INVALID_TEXT))
    }

    /// As [`Engine::text`], for a text that may be no UTF-8.
    pub fn bytes(&mut self, expr: &'a Expr) -> Result<&'a [u8], EvalError> {
        match self.eval(expr, Grid::point(self.query.start))? {
            Column::Text(text) => Ok(text),
            _ => Err(wrong_type(expr, "string")),
        }
    }

    /// The series of a selector within a span of time.
    pub fn fetch(
        &mut self,
        selector: &'a Selector,
        span: window::Span,
    ) -> Result<Rc<Vec<Selected<'a>>>, EvalError> {
        let known = self.fetched.iter().find(|known| known.is(selector, span));
        if let Some(known) = known {
            return Ok(Rc::clone(&known.series));
        }
        let series = Rc::new(self.fetch_once(selector, span));
        let share = self.budget.share::<Selected>(series.capacity())?;
        self.fetched.push(Fetched { selector, span, series: Rc::clone(&series), _share: share });
        Ok(series)
    }

    /// As [`Engine::fetch`], for a selector made for the occasion.
    pub fn fetch_once(&self, selector: &Selector, span: window::Span) -> Vec<Selected<'a>> {
        self.source.select(selector, span)
    }

    /// Whether the label sets made so far, those that the memo keeps too, are within their bound,
    /// and the query within its time.
    pub fn check_bounds(&self) -> Result<(), EvalError> {
        self.budget.check_labels(self.memo.made_bytes() - self.remembered_before)?;
        self.check_deadline()
    }

    /// The times a selector refers to when it is evaluated at the steps of `grid`.
    pub fn reference(
        &self,
        offset: &Option<DurationExpr>,
        at: Option<AtModifier>,
        grid: Grid,
    ) -> Result<Grid, EvalError> {
        let back = match offset {
            Some(offset) => self.duration(offset)?,
            None => 0,
        };
        let fixed = match at {
            None => return Ok(grid.earlier(back)),
            Some(AtModifier::Time(at)) => at.0,
            Some(AtModifier::Start) => self.query.start,
            Some(AtModifier::End) => self.query.end,
        };
        Ok(Grid { start: fixed, step: 0, count: grid.count }.earlier(back))
    }

    /// A duration that has to be positive: a range or a step, in milliseconds.
    pub fn positive_duration(&self, expr: &DurationExpr) -> Result<i64, EvalError> {
        resolve_positive(expr, self.query_times()).map_err(EvalError::execution)
    }

    /// A duration in milliseconds, of either sign.
    fn duration(&self, expr: &DurationExpr) -> Result<i64, EvalError> {
        resolve(expr, self.query_times()).map_err(EvalError::execution)
    }

    fn query_times(&self) -> QueryTimes {
        let Bounds { start, end, step } = self.query;
        QueryTimes { step_millis: step, range_millis: end.saturating_sub(start) }
    }

    /// The steps of a subquery that serve every step of `reference`: the multiples of `step`
    /// within `(first - range, last]`, or from `first - range` on. `None` if there are none.
    pub fn subquery_grid(
        &self,
        reference: Grid,
        range: i64,
        step: Option<&DurationExpr>,
    ) -> Result<Option<Grid>, EvalError> {
        let step = match step {
            Some(step) => self.positive_duration(step)?,
            None => millis(self.options.default_step).max(1),
        };
        let after = self.options.edges.after(reference.start.saturating_sub(range));
        let mut start = step * (after / step);
        if start <= after {
            let Some(next) = start.checked_add(step) else { return Ok(None) };
            start = next;
        }
        let last = reference.end();
        if start > last {
            return Ok(None);
        }
        let count = usize::try_from(last.saturating_sub(start) / step).unwrap_or(usize::MAX);
        // Not even one series has room for as many.
        if count >= self.options.max_samples {
            return Err(EvalError::too_many_samples());
        }
        Ok(Some(Grid { start, step, count: count + 1 }))
    }

    /// Whether the query is still within its time.
    pub fn check_deadline(&self) -> Result<(), EvalError> {
        if self.is_late() { Err(EvalError::timeout()) } else { Ok(()) }
    }

    /// Whether the caller's deadline has passed.
    pub fn is_late(&self) -> bool {
        self.options.expired.as_ref().is_some_and(|expired| expired())
    }
}

/// The parser lets only well-typed trees through; a tree built by hand may still be wrong.
pub(super) fn wrong_type(expr: &Expr, wanted: &str) -> EvalError {
    let got = expr.value_type();
    EvalError::execution(format!("expected {wanted}, got {got}")).within(expr.span)
}

/// An expression without the parentheses around it.
pub(super) fn unwrap_parens(mut expr: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

/// Whether a node has the same value at every step.
fn is_invariant(expr: &Expr) -> bool {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        let varies = match &expr.kind {
            ExprKind::Vector(selector) => selector.at.is_none(),
            ExprKind::Matrix(matrix) => matrix.vector.at.is_none(),
            ExprKind::Subquery(subquery) => subquery.at.is_none(),
            ExprKind::Call(call) => TIME_DEPENDENT.contains(&call.func.name),
            _ => false,
        };
        if varies {
            return false;
        }
        // A fixed subquery is evaluated at fixed times, whatever stands in it.
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            open.extend(expr.children());
        }
    }
    true
}

fn broadcast(once: Column<'_>, steps: usize) -> Result<Column<'_>, EvalError> {
    let repeat = |values: Paid<f64>| {
        let mut repeated = values.budget().room(values.len().saturating_mul(steps))?;
        for value in values.iter() {
            repeated.extend(*value, steps)?;
        }
        Ok(repeated)
    };
    Ok(match once {
        Column::Scalar(values) => Column::Scalar(repeat(values)?),
        Column::Vector(vector) => {
            Column::Vector(Vector { steps, values: repeat(vector.values)?, ..vector })
        }
        Column::Text(text) => Column::Text(text),
    })
}
