//! The value of every part of a query at one time: what "why did it (not) fire" is answered with.
//!
//! Each part is evaluated by itself, exactly as if it were the query, so a trace says what the
//! evaluator does and not what a second evaluator would. It never descends into a subquery, whose
//! parts are evaluated at times of their own: its samples tell what they gave. Nor does it go deeper
//! than [`MAX_DEPTH`] parts, which only chains of that many operators reach.

use super::super::MAX_DEPTH;
use super::super::ast::{Expr, ExprKind, Sign, Span};
use super::{EvalError, EvalOptions, Value, instant};
use crate::base::{Labels, Sample, Timestamp};
use crate::window::Source;

/// More than anyone reads.
pub const MAX_PARTS: usize = 1000;

/// One part of a query.
#[derive(Clone, PartialEq, Debug)]
pub struct Traced {
    /// Where it stands in the query's text.
    pub span: Span,
    /// It in canonical form.
    pub expr: String,
    /// How many of the traced parts it stands in; 0 is the query itself.
    pub depth: usize,
    /// Its value, or why it has none.
    pub value: Result<Value, EvalError>,
}

/// Evaluates every part of a query at `at`, the query itself first, then its parts in the order of
/// the text. Numbers and texts are left out, and so are parentheses, whose value is that of what
/// they hold.
///
/// The limits of `options` hold for each part, and what `max_samples` allows one evaluation is also
/// all that is kept of all of them together: a part whose value does not fit beside those before it
/// says so. At most [`MAX_PARTS`] parts are traced. As parts are evaluated again for what they stand
/// in, the work grows with the depth of the tree: it is for people who ask, not for every slot.
pub fn trace(
    expr: &Expr,
    source: &dyn Source,
    at: Timestamp,
    options: &EvalOptions,
) -> Vec<Traced> {
    let mut parts = Vec::new();
    collect(expr, 0, &mut parts);
    let mut left = options.max_samples.saturating_mul(size_of::<Sample>());
    let traced = |(part, depth): (&Expr, usize)| {
        let value = instant(part, source, at, options).map(|evaluated| evaluated.value);
        let value = value.and_then(|value| {
            left = left.checked_sub(kept_bytes(&value)).ok_or_else(EvalError::too_much_to_keep)?;
            Ok(value)
        });
        Traced { span: part.span, expr: part.to_string(), depth, value }
    };
    parts.into_iter().map(traced).collect()
}

/// About what a value takes in memory. Labels that others hold too count for each.
fn kept_bytes(value: &Value) -> usize {
    let labels = |labels: &Labels| size_of::<Labels>() + labels.as_packed().len();
    match value {
        Value::Scalar(_) => 0,
        Value::String(text) => text.len(),
        Value::Vector(vector) => vector.iter().map(|(of, _)| labels(of) + size_of::<f64>()).sum(),
        Value::Matrix(matrix) => {
            let one = |(of, samples): &(Labels, Vec<Sample>)| {
                labels(of) + samples.capacity() * size_of::<Sample>()
            };
            matrix.iter().map(one).sum()
        }
    }
}

fn collect<'e>(expr: &'e Expr, depth: usize, parts: &mut Vec<(&'e Expr, usize)>) {
    match &expr.kind {
        _ if depth > MAX_DEPTH || parts.len() >= MAX_PARTS => return,
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => return,
        // What has the value of its inside is no part of its own.
        ExprKind::Paren(inner) | ExprKind::Unary(Sign::Plus, inner) => {
            return collect(inner, depth, parts);
        }
        _ => parts.push((expr, depth)),
    }
    let mut inside = |part: &'e Expr| collect(part, depth + 1, parts);
    match &expr.kind {
        // The second argument of `info` names labels: it is no selection of its own.
        ExprKind::Call(call) if call.func.name == "info" => {
            call.args.iter().take(1).for_each(inside)
        }
        ExprKind::Call(call) => call.args.iter().for_each(inside),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(&mut inside);
            inside(&aggregate.expr);
        }
        ExprKind::Binary(binary) => {
            inside(&binary.lhs);
            inside(&binary.rhs);
        }
        ExprKind::Unary(_, inner) => inside(inner),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};
    use crate::window::Detached;

    fn source() -> Detached {
        let mut source = Detached::default();
        for (name, host, values) in [("m", "a", [1.0, 3.0]), ("m", "b", [2.0, 8.0])] {
            let labels = Labels::from_pairs([("__name__", name), ("host", host)]);
            let sample =
                |(n, value): (usize, f64)| Sample { at: Timestamp(n as i64 * 1000), value };
            let samples: Vec<Sample> = values.into_iter().enumerate().map(sample).collect();
            source.add(&labels, &samples);
        }
        source
    }

    fn shown(value: &Result<Value, EvalError>) -> String {
        match value {
            Ok(Value::Scalar(value)) => value.to_string(),
            Ok(Value::Vector(vector)) => {
                let one = |(labels, value): &(Labels, f64)| {
                    format!("{}={value}", labels.get("host").unwrap_or("-"))
                };
                vector.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Ok(Value::Matrix(matrix)) => matrix
                .iter()
                .map(|(_, samples)| samples.len().to_string())
                .collect::<Vec<_>>()
                .join(" "),
            Ok(Value::String(text)) => text.clone(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_part_with_its_own_value() {
        let cases: [(&str, &[&str]); 8] = [
            ("1 + 2", &["0 1 + 2: 3"]),
            ("(m) > 5", &["0 (m) > 5: b=8", "1 m: a=3 b=8"]),
            ("timestamp(+m)", &["0 timestamp(+m): a=1 b=1", "1 m: a=3 b=8"]),
            (
                "sum(increase(m[2s])) / 2 > 100",
                &[
                    "0 sum(increase(m[2s])) / 2 > 100: ",
                    "1 sum(increase(m[2s])) / 2: -=5.5",
                    "2 sum(increase(m[2s])): -=11",
                    "3 increase(m[2s]): a=3 b=8",
                    "4 m[2s]: 2 2",
                ],
            ),
            (
                "max_over_time((m > 2)[2s:1s])",
                &["0 max_over_time((m > 2)[2s:1s]): a=3 b=8", "1 (m > 2)[2s:1s]: 1 1"],
            ),
            (
                "topk(scalar(count(m)) - 1, m)",
                &[
                    "0 topk(scalar(count(m)) - 1, m): b=8",
                    "1 scalar(count(m)) - 1: 1",
                    "2 scalar(count(m)): 2",
                    "3 count(m): -=2",
                    "4 m: a=3 b=8",
                    "1 m: a=3 b=8",
                ],
            ),
            (
                "info(-m, {x=\"y\"})",
                &["0 info(-m, {x=\"y\"}): ", "1 -m: a=-3 b=-8", "2 m: a=3 b=8"],
            ),
            (
                "m * on () m",
                &[
                    "0 m * on () m: found duplicate series for the match group {} on the right hand-side of the operation: [{__name__=\"m\", host=\"a\"}, {__name__=\"m\", host=\"b\"}];many-to-many matching not allowed: matching labels must be unique on one side",
                    "1 m: a=3 b=8",
                    "1 m: a=3 b=8",
                ],
            ),
        ];
        for (query, want) in cases {
            let expr = parse(query, &ParseOptions { experimental_functions: true }).expect(query);
            let parts = trace(&expr, &source(), Timestamp(1000), &EvalOptions::default());
            let got: Vec<String> = parts
                .iter()
                .map(|part| format!("{} {}: {}", part.depth, part.expr, shown(&part.value)))
                .collect();
            assert_eq!(got, want, "{query}");
            for part in &parts {
                let text = &query[part.span.start..part.span.end];
                let again =
                    parse(text, &ParseOptions { experimental_functions: true }).expect(text);
                assert_eq!(again.to_string(), part.expr, "the span of {query}");
            }
        }
    }

    #[test]
    fn all_that_is_kept_is_bounded() {
        let mut source = Detached::default();
        for number in 0..100 {
            let labels = Labels::from_pairs([("__name__", "m"), ("n", &number.to_string())]);
            source.add(&labels, &[Sample { at: Timestamp(1000), value: 1.0 }; 3]);
        }
        let traced = |query: &str, options: &EvalOptions| {
            let expr = parse(query, &ParseOptions::default()).expect(query);
            trace(&expr, &source, Timestamp(1000), options)
        };
        let query = vec!["sum(m)"; 30].join(" + ");
        let all = traced(&query, &EvalOptions::default());
        let bytes = |parts: &[Traced]| -> usize {
            parts.iter().filter_map(|part| part.value.as_ref().ok()).map(kept_bytes).sum()
        };
        assert!(all.iter().all(|part| part.value.is_ok()) && bytes(&all) > 60_000);
        let few = EvalOptions { max_samples: 1000, ..EvalOptions::default() };
        let some = traced(&query, &few);
        assert_eq!(some.len(), all.len());
        assert!(some[0].value.is_ok(), "the query itself comes first");
        let refused = some.iter().filter_map(|part| part.value.as_ref().err());
        assert!(refused.clone().count() > 20, "{}", refused.count());
        assert!(refused.clone().all(|error| *error == EvalError::too_much_to_keep()));
        assert!((1..=16_000).contains(&bytes(&some)), "{}", bytes(&some));
        let ranges = (0..40).fold("m".to_owned(), |query, _| format!("({query} + m)"));
        let wide = format!("{ranges} + max_over_time(m[1s])");
        let last = traced(&wide, &few).pop().expect("parts");
        assert!(last.value.is_err(), "a range counts its samples: {last:?}");
        let many = vec!["-m"; 700].join(" unless ");
        assert!(traced(&many, &few).len() <= MAX_PARTS);
        let balanced = (0..11).fold("m".to_owned(), |query, _| format!("({query} + {query})"));
        assert_eq!(traced(&balanced, &few).len(), MAX_PARTS);
    }
}
