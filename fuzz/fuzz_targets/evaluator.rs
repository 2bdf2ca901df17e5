//! Any query ends within its limits, reads no further back than `reach` says, and has the same
//! value at a time whether that time is asked for alone or as a step of a range.
//!
//! The first byte says where the query comes from: bytes make a random tree, by the generator the
//! tests use, or are the text of one.
#![no_main]

#[path = "../../tests/expressions/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod expressions;
mod printing;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use expressions::Dialect;
use expressions::series::{FIRST, Series};
use libfuzzer_sys::fuzz_target;
use plimsoll::base::{Labels, Timestamp};
use plimsoll::promql::ast::{AggregateOp as Op, Expr, ExprKind, ValueType};
use plimsoll::promql::eval::EvalErrorKind;
use plimsoll::promql::{
    EvalError, EvalOptions, Evaluated, Features, QueryTimes, Steps, Value, instant, parse, range,
    reach,
};
use plimsoll::window::{Selected, Selector, Source, Span};
use printing::{OPTIONS, survives_printing};

static SERIES: LazyLock<Series> = LazyLock::new(|| Series::random(1));

fuzz_target!(|bytes: &[u8]| {
    let Some((flags, rest)) = bytes.split_first() else { return };
    let text = match flags & 1 {
        0 => expressions::query(rest, Dialect::Whole),
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(expr) = parse(&text, &OPTIONS) else { return };
    survives_printing(&expr);
    // The real limits for some, within the memory that the fuzzer may take (`-rss_limit_mb`); small
    // ones for the others, which are sooner done.
    let real = flags >> 6 == 3;
    let few = EvalOptions { max_samples: 50_000, max_steps: 100, ..EvalOptions::default() };
    let started = Instant::now();
    let options = EvalOptions {
        features: Features { delayed_name_removal: flags & 2 == 2, ..Features::default() },
        expired: Some(Arc::new(move || started.elapsed() > PATIENCE)),
        ..if real { EvalOptions::default() } else { few }
    };
    // On a sample and between two, by turns.
    let first = Timestamp(FIRST + 900_000 + i64::from(flags >> 2) * 7_500);
    let steps = |count: i64| Steps {
        start: first,
        end: Timestamp(first.0 + (count - 1) * STEP_MILLIS),
        step: Duration::from_millis(STEP_MILLIS as u64),
    };
    same_at_every_step(&expr, steps(4), &options);
    same_at_every_step(&expr, steps(1), &options);
});

const STEP_MILLIS: i64 = 37_000;

/// How long one query is evaluated at all its times: memory is bounded, work ends with a deadline.
const PATIENCE: Duration = Duration::from_secs(2);

/// Panics unless a range query has at each step what an instant query has at that time.
fn same_at_every_step(expr: &Expr, steps: Steps, options: &EvalOptions) {
    let one_step = steps.start == steps.end;
    let at_once = range(expr, &*SERIES, steps, options);
    let printed = expr.to_string();
    let depends_on_range =
        ["start()", "end()", "range()"].iter().any(|word| printed.contains(word));
    let ranges = matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector);
    let comparable = ranges
        && !printed.contains("step()")
        && (one_step || !depends_on_range)
        && !order_shows(expr);
    let mut at = steps.start;
    while at <= steps.end {
        let alone = instant_within_reach(expr, at, options);
        match (&at_once, alone) {
            _ if !comparable => {}
            (Ok(at_once), Ok(alone)) => {
                let (at_once, alone) =
                    (step_of(&printed, at_once, at), step_of(&printed, &alone, at));
                assert_eq!(at_once, alone, "{printed} at {}", at.0);
            }
            // One step that fails lets the whole range fail, and a range loads more samples.
            (Err(_), Ok(_)) if !one_step => {}
            (Ok(_), Err(error)) if !gives_up(&error) => {
                panic!("{printed} fails at {} alone: {error}", at.0);
            }
            (Err(error), Ok(_)) if !gives_up(error) => {
                panic!("{printed} fails at {} as a range: {error}", at.0);
            }
            _ => {}
        }
        at = Timestamp(at.0 + STEP_MILLIS);
    }
}

/// Whether an evaluation ended for want of room or time, which says nothing about its value.
fn gives_up(error: &EvalError) -> bool {
    matches!(error.kind, EvalErrorKind::Limit | EvalErrorKind::Timeout)
}

/// Whether the order of series may show in the value: which of equals is taken, how a sum rounds.
/// Groups stand in the order a query meets them in, and over a range it may meet them in another.
fn order_shows(expr: &Expr) -> bool {
    let mut shows = false;
    expr.walk(&mut |part| {
        let ExprKind::Aggregate(aggregate) = &part.kind else { return };
        let (picks, sums) = (
            matches!(aggregate.op, Op::Topk | Op::Bottomk | Op::Limitk),
            matches!(aggregate.op, Op::Sum | Op::Avg | Op::Stddev | Op::Stdvar),
        );
        if picks || sums {
            aggregate.expr.walk(&mut |inner| {
                shows |= match &inner.kind {
                    ExprKind::Aggregate(_) | ExprKind::Binary(_) => true,
                    ExprKind::Call(call) => call.func.name.starts_with("sort"),
                    _ => false,
                }
            });
        }
    });
    shows
}

/// The bits of the values at one time by labels; NaN is NaN.
fn step_of(query: &str, evaluated: &Evaluated, at: Timestamp) -> BTreeMap<String, u64> {
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    let all: Vec<(Labels, f64)> = match &evaluated.value {
        Value::Scalar(value) => vec![(Labels::empty(), *value)],
        Value::Vector(vector) => vector.clone(),
        Value::Matrix(matrix) => matrix
            .iter()
            .filter_map(|(labels, samples)| {
                let sample = samples.iter().find(|sample| sample.at == at)?;
                Some((labels.clone(), sample.value))
            })
            .collect(),
        Value::String(_) => Vec::new(),
    };
    let count = all.len();
    let step: BTreeMap<String, u64> =
        all.into_iter().map(|(labels, value)| (labels.to_string(), bits(value))).collect();
    assert_eq!(step.len(), count, "two series of the same labels: {query} at {}", at.0);
    step
}

/// Evaluates at one time, and panics if a selector looked further back than `reach` says: what
/// it would find there in the tests, the window no longer has.
fn instant_within_reach(
    expr: &Expr,
    at: Timestamp,
    options: &EvalOptions,
) -> Result<Evaluated, EvalError> {
    let watched = Watched { oldest: Cell::new(Timestamp(i64::MAX)) };
    let evaluated = instant(expr, &watched, at, options);
    let reaches = reach(expr, QueryTimes { step_millis: 0, range_millis: 0 });
    // `@ TIME` has no reach: it is bound to its time.
    let longest: Option<Vec<Duration>> = reaches.iter().map(|reach| reach.back).collect();
    if let Some(longest) = longest.and_then(|all| all.into_iter().max())
        && longest < Duration::from_hours(24)
    {
        let back = at.0.saturating_sub(watched.oldest.get().0);
        assert!(back <= longest.as_millis() as i64, "{expr}: {back} ms, reach {longest:?}");
    }
    evaluated
}

/// The series, and how far back anything looked.
struct Watched {
    oldest: Cell<Timestamp>,
}

impl Source for Watched {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        self.oldest.set(self.oldest.get().min(span.after));
        SERIES.select(selector, span)
    }
}
