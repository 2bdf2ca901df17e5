//! Runs a script: evaluates, compares, and evaluates again in the two ways upstream does.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::base::{Labels, Sample, Timestamp};
use plimsoll::promql::ast::{AtModifier, Expr, ExprKind, ValueType};
use plimsoll::promql::eval::{
    EvalError, EvalErrorKind, EvalOptions, Evaluated, Severity, Steps, Value, instant, range,
};
use plimsoll::promql::{Features, ParseOptions, parse};

use super::script::{Cell, Command, Eval, When, read};
use super::store::Store;

/// How the evaluations of a file went.
#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    /// `line: what is wrong`.
    pub failures: Vec<String>,
    /// Line and reason.
    pub skipped: Vec<(usize, &'static str)>,
}

/// Relative difference that is taken for rounding (`promqltest` defaultEpsilon).
const EPSILON: f64 = 0.000_001;

/// Functions whose result depends on the time of evaluation even if all selectors are fixed.
const AT_UNSAFE: &[&str] = &[
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start",
    "end",
    "range",
    "step",
];

/// What evaluations run on.
struct Bench<'b> {
    store: &'b Store,
    options: &'b EvalOptions,
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

/// Runs a file. `delayed` says when metric names are taken off; upstream's files want it delayed.
pub fn file(text: &str, delayed: bool) -> Tally {
    let mut store = Store::default();
    let options = options(delayed);
    let mut tally = Tally::default();
    for command in read(text) {
        match command {
            Command::Clear => store.clear(),
            Command::Load(load) => store.load(&load),
            Command::Unreadable { line, why } => tally.failures.push(format!("{line}: {why}")),
            Command::Eval(eval) => {
                match evaluate(&Bench { store: &store, options: &options }, &eval) {
                    Outcome::Passed => tally.passed += 1,
                    Outcome::Skipped(reason) => tally.skipped.push((eval.line, reason)),
                    Outcome::Failed(why) => {
                        tally.failures.push(format!("{}: {}: {why}", eval.line, eval.expr));
                    }
                }
            }
        }
    }
    tally
}

fn options(delayed_name_removal: bool) -> EvalOptions {
    EvalOptions {
        lookback: Duration::from_secs(300),
        default_step: Duration::from_secs(60),
        features: Features { delayed_name_removal, ..Features::default() },
        ..EvalOptions::default()
    }
}

fn evaluate(bench: &Bench, eval: &Eval) -> Outcome {
    let expr = match parse(&eval.expr, &ParseOptions { experimental_functions: true }) {
        Ok(expr) => expr,
        Err(error) => {
            let message = error.to_string();
            let extended = ["anchored", "smoothed"].iter().any(|word| message.contains(word));
            return match extended {
                true => Outcome::Skipped("anchored/smoothed"),
                false if message.contains("</") || message.contains(">/") => {
                    Outcome::Skipped("native histogram")
                }
                // Refused when it is read instead of when it is evaluated: `"\xff"` cannot even be
                // held by a text here.
                false if eval.notes.iter().any(|n| n.kind == "fail" && n.matches(&message)) => {
                    Outcome::Passed
                }
                false => Outcome::Failed(format!("does not parse: {message}")),
            };
        }
    };
    bench.store.take_met();
    let result = run_once(bench, &expr, eval.when);
    let met = bench.store.take_met();
    let unsupported = matches!(&result, Err(error) if error.kind == EvalErrorKind::Unsupported);
    if met.started || eval.expr.to_lowercase().contains("start_timestamp") {
        return Outcome::Skipped("start timestamp");
    }
    if unsupported || met.native && !drops_native(&expr) {
        return Outcome::Skipped("native histogram");
    }
    if let Err(why) = check(eval, &result) {
        return Outcome::Failed(why);
    }
    if let (When::Instant(at), Ok(_)) = (eval.when, &result) {
        if let Err(why) = again_with_at(bench, eval, &expr, at) {
            return Outcome::Failed(why);
        }
        if let Err(why) = again_as_range(bench, eval, &expr, at) {
            return Outcome::Failed(format!("as a range query: {why}"));
        }
    }
    Outcome::Passed
}

/// Functions that pass over native histograms without a word, so that their result is that of the
/// numbers alone.
const DROPS_NATIVE: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "exp",
    "floor",
    "hour",
    "ln",
    "log10",
    "log2",
    "minute",
    "month",
    "rad",
    "round",
    "sgn",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "year",
];

/// Whether every selector stands under one of them. Anything else that meets a native histogram
/// needs it.
fn drops_native(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => true,
        ExprKind::Vector(_) | ExprKind::Matrix(_) => false,
        ExprKind::Subquery(subquery) => drops_native(&subquery.expr),
        ExprKind::Call(call) => {
            let passes_over = DROPS_NATIVE.contains(&call.func.name);
            let dropped = |arg: &Expr| {
                passes_over && matches!(unwrapped(arg).kind, ExprKind::Vector(_))
                    || drops_native(arg)
            };
            call.args.iter().all(dropped)
        }
        ExprKind::Aggregate(aggregate) => {
            drops_native(&aggregate.expr) && aggregate.param.as_ref().is_none_or(drops_native)
        }
        ExprKind::Binary(binary) => drops_native(&binary.lhs) && drops_native(&binary.rhs),
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => drops_native(inner),
    }
}

fn unwrapped(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrapped(inner),
        _ => expr,
    }
}

fn run_once(bench: &Bench, expr: &Expr, when: When) -> Result<Evaluated, EvalError> {
    match when {
        When::Instant(at) => instant(expr, bench.store, Timestamp(at), bench.options),
        When::Range { start, end, step } => {
            let steps = Steps {
                start: Timestamp(start),
                end: Timestamp(end),
                step: Duration::from_millis(step.unsigned_abs()),
            };
            range(expr, bench.store, steps, bench.options)
        }
    }
}

/// With every selector fixed to the time of evaluation, that time no longer matters.
fn again_with_at(bench: &Bench, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
    let mut fixed = expr.clone();
    let mut safe = true;
    fix(&mut fixed, Timestamp(at), &mut safe);
    if !safe {
        return Ok(());
    }
    for other in [-10 * at, 0, at / 5, at, 10 * at] {
        let result = run_once(bench, &fixed, When::Instant(other));
        check(eval, &result).map_err(|why| format!("with @ {at}, at {other}: {why}"))?;
    }
    Ok(())
}

fn fix(expr: &mut Expr, at: Timestamp, safe: &mut bool) {
    let set = |modifier: &mut Option<AtModifier>, safe: &mut bool| match modifier {
        None => *modifier = Some(AtModifier::Time(at)),
        Some(AtModifier::Time(_)) => {}
        Some(AtModifier::Start | AtModifier::End) => *safe = false,
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => {}
        ExprKind::Vector(selector) => set(&mut selector.at, safe),
        ExprKind::Matrix(matrix) => set(&mut matrix.vector.at, safe),
        ExprKind::Subquery(subquery) => {
            set(&mut subquery.at, safe);
            // What stands inside moves with the subquery's own steps.
            subquery.expr.walk(&mut |inner| *safe &= !is_unsafe(inner));
        }
        ExprKind::Call(call) => {
            *safe &= !AT_UNSAFE.contains(&call.func.name);
            call.args.iter_mut().for_each(|arg| fix(arg, at, safe));
        }
        ExprKind::Aggregate(aggregate) => {
            fix(&mut aggregate.expr, at, safe);
            if let Some(param) = &mut aggregate.param {
                fix(param, at, safe);
            }
        }
        ExprKind::Binary(binary) => {
            fix(&mut binary.lhs, at, safe);
            fix(&mut binary.rhs, at, safe);
        }
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => fix(inner, at, safe),
    }
}

fn is_unsafe(expr: &Expr) -> bool {
    let start_or_end =
        |at: &Option<AtModifier>| matches!(at, Some(AtModifier::Start | AtModifier::End));
    match &expr.kind {
        ExprKind::Vector(selector) => start_or_end(&selector.at),
        ExprKind::Matrix(matrix) => start_or_end(&matrix.vector.at),
        ExprKind::Subquery(subquery) => start_or_end(&subquery.at),
        ExprKind::Call(call) => AT_UNSAFE.contains(&call.func.name),
        _ => false,
    }
}

/// The middle of three steps equals the instant query.
fn again_as_range(bench: &Bench, eval: &Eval, expr: &Expr, at: i64) -> Result<(), String> {
    let depends = ["start()", "end()", "range()", "step()"];
    let lower = eval.expr.to_lowercase();
    let kind = expr.value_type();
    if eval.ordered
        || !matches!(kind, ValueType::Scalar | ValueType::Vector)
        || depends.iter().any(|word| lower.contains(word))
    {
        return Ok(());
    }
    let when = When::Range { start: at - 60_000, end: at + 60_000, step: 60_000 };
    let result = run_once(bench, expr, when).map_err(|error| error.to_string())?;
    let Value::Matrix(matrix) = result.value else {
        return Err("a range query yields a matrix".to_owned());
    };
    let mut vector: Vec<(Labels, f64)> = Vec::new();
    for (labels, samples) in matrix {
        let middle = samples.iter().find(|sample| sample.at.0 == at);
        vector.extend(middle.map(|sample| (labels, sample.value)));
    }
    let value = match (kind, vector.as_slice()) {
        (ValueType::Scalar, [(_, value)]) => Value::Scalar(*value),
        _ => Value::Vector(vector),
    };
    check_value(eval, &value)
}

fn check(eval: &Eval, result: &Result<Evaluated, EvalError>) -> Result<(), String> {
    let fails = eval.notes.iter().any(|note| note.kind == "fail");
    match result {
        Err(error) if !fails => Err(format!("failed: {error}")),
        Err(error) => {
            let message = error.to_string();
            let wanted = eval.notes.iter().filter(|note| note.kind == "fail");
            match wanted.into_iter().find(|note| !note.matches(&message)) {
                Some(note) => Err(format!("failed with {message:?}, expected {note:?}")),
                None => Ok(()),
            }
        }
        Ok(evaluated) if fails => Err(format!("did not fail but gave {:?}", evaluated.value)),
        Ok(evaluated) => {
            check_notes(eval, evaluated, "warn", Severity::Warning)?;
            check_notes(eval, evaluated, "info", Severity::Info)?;
            check_value(eval, &evaluated.value)
        }
    }
}

fn check_notes(
    eval: &Eval,
    evaluated: &Evaluated,
    kind: &str,
    severity: Severity,
) -> Result<(), String> {
    let all = evaluated.annotations.iter();
    let said: Vec<&str> =
        all.filter(|note| note.severity == severity).map(|note| note.text.as_str()).collect();
    let none = format!("no_{kind}");
    if eval.notes.iter().any(|note| note.kind == none) && !said.is_empty() {
        return Err(format!("expected {none}, got {said:?}"));
    }
    let wanted: Vec<_> = eval.notes.iter().filter(|note| note.kind == kind).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = wanted.iter().find(|note| !said.iter().any(|text| note.matches(text)));
    let surplus = said.iter().find(|text| !wanted.iter().any(|note| note.matches(text)));
    match (missing, surplus) {
        (None, None) => Ok(()),
        (Some(note), _) => Err(format!("expected {note:?}, got {said:?}")),
        (None, Some(text)) => Err(format!("unexpected {kind}: {text:?}")),
    }
}

fn check_value(eval: &Eval, value: &Value) -> Result<(), String> {
    match (value, eval.when) {
        (Value::Scalar(got), _) => match eval.scalar {
            Some(want) if same(*got, want) => Ok(()),
            want => Err(format!("expected {want:?}, got the number {got}")),
        },
        (Value::String(got), _) => match &eval.string {
            Some(want) if want == got => Ok(()),
            want => Err(format!("expected {want:?}, got the text {got:?}")),
        },
        (Value::Vector(got), _) => check_vector(eval, got),
        (Value::Matrix(got), When::Instant(_)) => {
            let (start, step) = eval.range_vector.ok_or("a range was not expected")?;
            check_matrix(eval, got, start, step)
        }
        (Value::Matrix(got), When::Range { start, step, .. }) => {
            check_matrix(eval, got, start, step)
        }
    }
}

fn check_vector(eval: &Eval, got: &[(Labels, f64)]) -> Result<(), String> {
    if eval.scalar.is_some() || eval.string.is_some() {
        return Err(format!("expected one value, got {got:?}"));
    }
    let mut wanted = BTreeMap::new();
    for (position, series) in eval.series.iter().enumerate() {
        match series.cells.as_slice() {
            [Cell::Float(value)] => wanted.insert(&series.labels, (position, *value)),
            cells => return Err(format!("cannot expect {cells:?} of an instant query")),
        };
    }
    for (position, (labels, value)) in got.iter().enumerate() {
        let Some((at, want)) = wanted.remove(labels) else {
            return Err(format!("unexpected or repeated {labels} {value}"));
        };
        if !same(*value, want) {
            return Err(format!("expected {want} for {labels}, got {value}"));
        }
        if eval.ordered && at != position {
            return Err(format!("expected {labels} at place {at}, got it at {position}"));
        }
    }
    match wanted.keys().next() {
        Some(labels) => Err(format!("missing {labels}")),
        None => Ok(()),
    }
}

fn check_matrix(
    eval: &Eval,
    got: &[(Labels, Vec<Sample>)],
    start: i64,
    step: i64,
) -> Result<(), String> {
    if !got.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("series are not sorted by labels, or repeated".to_owned());
    }
    let mut wanted: BTreeMap<&Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for series in &eval.series {
        let mut samples = Vec::new();
        for (index, cell) in series.cells.iter().enumerate() {
            match cell {
                Cell::Omitted => {}
                Cell::Float(value) => samples.push((start + step * index as i64, *value)),
                Cell::Native => return Err("expects a native histogram".to_owned()),
            }
        }
        wanted.insert(&series.labels, samples);
    }
    if let (Some(want), [(_, samples)]) = (eval.scalar, got) {
        wanted.insert(&got[0].0, samples.iter().map(|sample| (sample.at.0, want)).collect());
    }
    for (labels, samples) in got {
        let Some(want) = wanted.remove(labels) else {
            return Err(format!("unexpected {labels} {samples:?}"));
        };
        let equal = samples.len() == want.len()
            && samples
                .iter()
                .zip(&want)
                .all(|(got, (at, value))| got.at.0 == *at && same(got.value, *value));
        if !equal {
            return Err(format!("expected {want:?} for {labels}, got {samples:?}"));
        }
    }
    match wanted.into_iter().find(|(_, samples)| !samples.is_empty()) {
        Some((labels, _)) => Err(format!("missing {labels}")),
        None => Ok(()),
    }
}

/// `util/almost.Equal`.
fn same(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
