//! Random queries over random series, asked of the evaluator and of a real Prometheus 2.42.
//!
//! Needs Debian's `prometheus` (with `promtool`), so plain `cargo test` leaves it out. Results
//! agree to 1e-9 relative, or, where a sum nearly cancels, to 8 roundings of its summands; each difference that is known is named in [`exclusions`], with its
//! reason, and shown to be needed. `SEED=n QUERIES=m` runs elsewhere or longer.

#[path = "differential/exclusions.rs"]
mod exclusions;
mod expressions;
#[path = "differential/oracle.rs"]
mod oracle;
#[path = "support/port.rs"]
mod port;
#[path = "differential/values.rs"]
mod values;

use std::time::Duration;

use expressions::Dialect;
use expressions::series::{self, Series};
use oracle::Oracle;
use plimsoll::base::Timestamp;
use plimsoll::promql::ast::{AggregateOp, BinaryOp, Expr, ExprKind};
use plimsoll::promql::eval::{EvalOptions, Steps, instant, range};
use plimsoll::promql::{ParseOptions, parse};
use values::{Answer, difference};

/// Queries asked by default: less than a minute, also beside other work.
const QUERIES: u64 = 15_000;

/// When a query asks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Once.
    Instant(i64),
    /// From, to, step.
    Range(i64, i64, i64),
}

#[expect(clippy::disallowed_methods, reason = "how long to search is the caller's choice")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn random_queries_agree_with_prometheus() {
    let series = Series::random(1);
    let oracle = Oracle::start(&series);
    let first = setting("SEED", 1);
    let (mut asked, mut with_result) = (0, 0);
    let mut failures = Vec::new();
    for seed in first..first + setting("QUERIES", QUERIES) {
        let text = expressions::query(&expressions::bytes(seed), Dialect::Shared);
        let Ok(expr) = parse(&text, &ParseOptions::default()) else {
            let refused = oracle.ask(&text, When::Instant(series::LAST));
            let both = matches!(refused, Answer::Error(_));
            assert!(both, "SEED={seed}: only Prometheus reads {text}: {refused:?}");
            continue;
        };
        if exclusions::name(&expr).is_some() {
            continue;
        }
        let when = time_of(seed);
        let (ours, theirs) = (evaluate(&expr, &series, when), oracle.ask(&text, when));
        asked += 1;
        with_result += usize::from(!theirs.is_empty());
        let summands = |at: i64| match when {
            When::Instant(at) => summands(&expr, &series, at),
            When::Range(..) => summands(&expr, &series, at),
        };
        if let Some(difference) = difference(&ours, &theirs, summands) {
            failures.push(format!("SEED={seed} QUERIES=1: {text}\n  {when:?}\n  {difference}"));
        }
    }
    show(&format!("{asked} queries compared, {with_result} of them with a result"));
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(with_result * 3 > asked, "too few queries find anything");
}

/// The sum of the magnitudes of all that a query adds up at a time, in aggregations and by `+` and `-`.
fn summands(expr: &Expr, series: &Series, at: i64) -> f64 {
    let mut total = 0.0;
    expr.walk(&mut |node| {
        let operands = match &node.kind {
            ExprKind::Aggregate(of) if matches!(of.op, AggregateOp::Sum | AggregateOp::Avg) => {
                vec![&of.expr]
            }
            ExprKind::Binary(of) if matches!(of.op, BinaryOp::Add | BinaryOp::Sub) => {
                vec![&of.lhs, &of.rhs]
            }
            _ => Vec::new(),
        };
        for operand in operands {
            let Answer::Series(found) = evaluate(operand, series, When::Instant(at)) else {
                continue;
            };
            let values = found.values().flatten().map(|(_, value)| value.abs());
            total += values.filter(|value| value.is_finite()).sum::<f64>();
        }
    });
    total
}

#[test]
fn every_exclusion_is_needed() {
    let series = Series::random(1);
    let oracle = Oracle::start(&series);
    for exclusion in exclusions::ALL {
        let text = exclusion.example;
        let expr = parse(text, &ParseOptions::default()).expect(text);
        assert_eq!(exclusions::name(&expr), Some(exclusion.name), "{text}");
        let when = exclusion.at;
        let (ours, theirs) = (evaluate(&expr, &series, when), oracle.ask(text, when));
        let differ = difference(&ours, &theirs, |_| 0.0).is_some();
        assert!(differ, "{}: {text} no longer differs: {ours:?}", exclusion.name);
    }
}

/// Half a second past a full one, so that no window ends on a sample.
fn time_of(seed: u64) -> When {
    let at = series::FIRST + 500 - 250 + 1000 * (seed as i64 * 7919 % 3700);
    match seed % 3 {
        0 => When::Range(at - 600_000, at, 17_000),
        1 => When::Range(at, at + 90_000, 30_000),
        _ => When::Instant(at),
    }
}

fn evaluate(expr: &Expr, series: &Series, when: When) -> Answer {
    let options = EvalOptions::default();
    let result = match when {
        When::Instant(at) => instant(expr, series, Timestamp(at), &options),
        When::Range(start, end, step) => {
            let step = Duration::from_millis(step.unsigned_abs());
            let steps = Steps { start: Timestamp(start), end: Timestamp(end), step };
            range(expr, series, steps, &options)
        }
    };
    Answer::of(result)
}

#[expect(clippy::print_stdout, reason = "how much was compared is what the run says")]
fn show(text: &str) {
    println!("{text}");
}
