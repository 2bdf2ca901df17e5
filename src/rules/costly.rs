//! Subqueries of more steps than an evaluation has room for.

use std::time::Duration;

use crate::base::Sample;
use crate::promql::ast::{Expr, ExprKind};
use crate::promql::{EvalOptions, QueryTimes, resolve};

/// A subquery, and what it takes.
#[derive(Debug, PartialEq)]
pub(super) struct Costly {
    /// Where it starts in the expression.
    pub(super) at: usize,
    /// How many times its inside is evaluated.
    pub(super) steps: u64,
    /// So many series fit an evaluation at once.
    pub(super) series: u64,
}

/// Every subquery that fits an evaluation with fewer than `few` series. What has no step of its own
/// has `default_step`.
pub(super) fn costly(expr: &Expr, default_step: Duration, few: u64) -> Vec<Costly> {
    let mut found = Vec::new();
    visit(expr, &Around { default_step, few, span: 0 }, &mut found);
    found
}

/// What stands around an expression.
struct Around {
    default_step: Duration,
    few: u64,
    /// From the first time it is evaluated to the last, in milliseconds.
    span: i64,
}

fn visit(expr: &Expr, around: &Around, found: &mut Vec<Costly>) {
    match &expr.kind {
        ExprKind::Subquery(subquery) => {
            let millis = |duration| resolve(duration, QueryTimes::default()).unwrap_or(0).max(0);
            // A fixed one is evaluated once, however often what it stands in is.
            let before = if subquery.at.is_some() { 0 } else { around.span };
            let span = before.saturating_add(millis(&subquery.range));
            let step = subquery.step.as_ref().map(millis);
            let step = step.unwrap_or(around.default_step.as_millis() as i64).max(1);
            let steps = (span / step).unsigned_abs().max(1);
            // A value of each step, and the sample that is made of it.
            let bytes = (size_of::<f64>() + size_of::<Sample>()) as u64;
            let most = (EvalOptions::default().max_samples * size_of::<Sample>()) as u64;
            let series = most / steps.saturating_mul(bytes);
            if series < around.few {
                found.push(Costly { at: expr.span.start, steps, series });
            }
            visit(&subquery.expr, &Around { span, ..*around }, found);
        }
        ExprKind::Call(call) => call.args.iter().for_each(|arg| visit(arg, around, found)),
        ExprKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| visit(param, around, found));
            visit(&aggregate.expr, around, found);
        }
        ExprKind::Binary(binary) => {
            let (operators, first) = binary.chain();
            visit(first, around, found);
            operators.iter().rev().for_each(|binary| visit(&binary.rhs, around, found));
        }
        ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => visit(inner, around, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    #[test]
    fn steps_are_those_of_the_widest_time_each_is_evaluated_over() {
        let steps = |text: &str| {
            let expr = parse(text, &ParseOptions::default()).expect(text);
            let found = costly(&expr, Duration::from_secs(30), u64::MAX);
            found.iter().map(|costly| costly.steps).collect::<Vec<_>>()
        };
        assert!(steps("a + rate(b[1h])").is_empty());
        assert_eq!(steps("max_over_time(a[1h:1s])"), [3600]);
        assert_eq!(steps("1 + sum(max_over_time((a)[1h:]) > 2)"), [120]);
        assert_eq!(steps("topk(scalar(max_over_time(a[1h:])), b)"), [120]);
        assert_eq!(steps("-(max_over_time(a[1h:]))"), [120]);
        assert_eq!(steps("max_over_time(max_over_time(a[1m:1s])[1h:1m])"), [60, 3660]);
        assert_eq!(steps("max_over_time(max_over_time(a[1m:1s] @ 5)[1h:1m])"), [60, 60]);
    }

    /// What the bound says is what an evaluation does: one series more than fits is refused.
    #[test]
    fn what_fits_is_what_an_evaluation_bears() {
        use crate::base::{Labels, Timestamp};
        use crate::promql::instant;
        use crate::window::Detached;

        let expr = parse("max_over_time(a[40000s:1s])", &ParseOptions::default()).expect("parses");
        let found = costly(&expr, Duration::from_secs(1), 100);
        assert_eq!(found, [Costly { at: 14, steps: 40_000, series: 83 }]);
        for (few, count) in [(84, 1), (83, 0)] {
            assert_eq!(costly(&expr, Duration::from_secs(1), few).len(), count, "{few}");
        }
        for (count, fits) in [(20, true), (170, false)] {
            let mut source = Detached::default();
            for number in 0..count {
                let labels = Labels::from_pairs([("__name__", "a"), ("n", &number.to_string())]);
                let every_minute =
                    (0..700).map(|n| Sample { at: Timestamp(n * 60_000), value: 1.0 });
                source.add(&labels, &every_minute.collect::<Vec<_>>());
            }
            let got = instant(&expr, &source, Timestamp(40_000_000), &EvalOptions::default());
            assert_eq!(got.is_ok(), fits, "{count} series: {:?}", got.err());
        }
    }
}
