//! A range query whose tables do not fit is evaluated in parts of its steps.
//!
//! A table has a cell for every step of every series. Where each series has a value at few steps, as
//! after `count_values`, most of it is empty, and a part of the steps needs a part of the series only. So
//! what has to fit is the result beside one part's tables.

use super::super::ast::Expr;
use super::budget::Share;
use super::column::{Column, Grid, is_present, present};
use super::engine::{Engine, wrong_type};
use super::error::{EvalError, EvalErrorKind};
use super::{dates, finish};
use crate::base::{Labels, Sample, Timestamp};

/// Into no more parts than this: a query that is too large for other reasons ends soon.
const MAX_PARTS: usize = 16;

/// Series sorted by labels, with what they take of the budget.
pub(super) struct Rows {
    pub(super) series: Vec<(Labels, Vec<Sample>)>,
    /// Held until the answer is made.
    shares: Vec<Share>,
}

/// The values of an expression at the steps of a grid.
pub(super) fn rows<'a>(
    engine: &mut Engine<'a>,
    expr: &'a Expr,
    grid: Grid,
) -> Result<Rows, EvalError> {
    halved(engine, expr, grid, grid.count.div_ceil(MAX_PARTS))
}

fn halved<'a>(
    engine: &mut Engine<'a>,
    expr: &'a Expr,
    grid: Grid,
    least: usize,
) -> Result<Rows, EvalError> {
    let before = engine.begin_attempt();
    match at_once(engine, expr, grid) {
        Err(error) if error.kind == EvalErrorKind::Limit && grid.count > least => {}
        done => return done,
    }
    engine.forget_attempt(before);
    let half = grid.count / 2;
    let rest = Grid { start: grid.at(half), count: grid.count - half, ..grid };
    let first = halved(engine, expr, Grid { count: half, ..grid }, least)?;
    let second = halved(engine, expr, rest, least)?;
    Ok(joined(first, second))
}

fn at_once<'a>(engine: &mut Engine<'a>, expr: &'a Expr, grid: Grid) -> Result<Rows, EvalError> {
    let vector = match engine.eval(expr, grid)? {
        Column::Scalar(values) => dates::one_series(values)?,
        Column::Vector(vector) => finish(engine, vector)?,
        Column::Text(_) => return Err(wrong_type(expr, "vector")),
    };
    let share = engine.budget.share::<Sample>(vector.present())?;
    let row = |(head, row): (&super::column::Head, &[f64])| {
        let cells = row.iter().enumerate().filter(|(_, value)| is_present(**value));
        let sample =
            |(step, value): (usize, &f64)| Sample { at: Timestamp(grid.at(step)), value: *value };
        let mut samples = Vec::with_capacity(present(row));
        samples.extend(cells.map(sample));
        (head.labels.clone(), samples)
    };
    let mut series: Vec<(Labels, Vec<Sample>)> = vector.rows().map(row).collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Rows { series, shares: vec![share] })
}

/// The series of both, those of the first half before those of the second.
fn joined(first: Rows, second: Rows) -> Rows {
    let mut series = Vec::with_capacity(first.series.len().max(second.series.len()));
    let mut later = second.series.into_iter().peekable();
    for (labels, mut samples) in first.series {
        while let Some(before) = later.next_if(|(other, _)| *other < labels) {
            series.push(before);
        }
        if let Some((_, more)) = later.next_if(|(other, _)| *other == labels) {
            samples.extend(more);
        }
        series.push((labels, samples));
    }
    series.extend(later);
    let shares = first.shares.into_iter().chain(second.shares).collect();
    Rows { series, shares }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{EvalOptions, Evaluated, Steps, range};
    use super::*;
    use crate::promql::{ParseOptions, parse};
    use crate::window::Detached;

    /// A counter that goes up every second, beside one that stays.
    fn asked(query: &str, steps: i64, max_samples: usize) -> Result<Evaluated, EvalError> {
        let mut source = Detached::default();
        for (name, slope) in [("a", 1.0), ("b", 0.0)] {
            let sample = |n: i64| Sample { at: Timestamp(n * 1000), value: n as f64 * slope };
            let samples: Vec<Sample> = (0..=steps).map(sample).collect();
            source.add(&Labels::from_pairs([("__name__", "x"), ("n", name)]), &samples);
        }
        let expr = parse(query, &ParseOptions::default()).expect(query);
        let end = Timestamp((steps - 1) * 1000);
        let steps = Steps { start: Timestamp(0), end, step: Duration::from_secs(1) };
        range(&expr, &source, steps, &EvalOptions { max_samples, ..EvalOptions::default() })
    }

    #[test]
    fn sparse_results_take_what_is_there() {
        for query in [
            "count_values('v', x)",
            "count_values by (n) ('v', x) + 0",
            "count_values('v', x) and on (v) count_values('v', x) > 0",
            "sum by (v) (count_values('v', x)) / 2",
        ] {
            let all = asked(query, 300, 1_000_000).expect(query);
            let few = asked(query, 300, 12_000).expect(query);
            assert!(all == few, "{query}");
        }
        // As many values as steps, each at one of them: a table of the whole takes 32 MB, not 6.
        let many = asked("count_values('v', x)", 2000, 400_000).expect("is sparse");
        let super::super::Value::Matrix(series) = many.value else { panic!("a matrix") };
        assert_eq!(series.len(), 2000);
        assert!(series.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn what_is_dense_is_refused_all_the_same() {
        let error = asked("x * x or x + 1 or x", 300, 600).expect_err("does not fit");
        assert_eq!(error.kind, EvalErrorKind::Limit);
    }
}
