//! How far back a query looks, selector by selector: what retention is derived from.

use std::sync::Arc;
use std::time::Duration;

use super::ast::{AtModifier, Call, DurationExpr, Expr, ExprKind, Offset, Span, VectorSelector};
use super::durations::{QueryTimes, resolve};
use crate::base::METRIC_NAME;
use crate::window::{Matcher, Selector};

/// How far back an instant selector finds the newest sample (`query.lookback-delta`'s default).
pub const LOOKBACK: Duration = Duration::from_secs(300);

/// One selector of a query and how far back it looks.
#[derive(Clone, PartialEq, Debug)]
pub struct Reach {
    /// What is selected.
    pub selector: Arc<Selector>,
    /// Where in the query.
    pub span: Span,
    /// From the time of evaluation back to the oldest sample that can matter: range or lookback,
    /// plus offset, plus those of the subqueries around. `None`: bound to a fixed time by `@`, so
    /// no retention is enough for ever.
    pub back: Option<Duration>,
    /// The same without the lookback of an instant selector: how much history the value rests on.
    pub history: Option<Duration>,
}

/// The reach of every selector, in the order of the text. `query` says what `step()` and
/// `range()` mean; in a rule both are zero. A duration that cannot be resolved counts as zero: the
/// evaluation fails before it selects.
pub fn reach(expr: &Expr, query: QueryTimes) -> Vec<Reach> {
    let mut finder = Finder { query, found: Vec::new() };
    finder.visit(expr, Some(0));
    finder.found
}

struct Finder {
    query: QueryTimes,
    found: Vec<Reach>,
}

impl Finder {
    /// `back` is the distance in milliseconds at which the oldest evaluation of `expr` happens;
    /// negative when offsets look ahead.
    fn visit(&mut self, expr: &Expr, back: Option<i64>) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => {}
            ExprKind::Vector(vector) => {
                self.select(vector, expr.span, (None, back));
            }
            ExprKind::Matrix(matrix) => {
                let range = self.millis(&matrix.range);
                self.select(&matrix.vector, expr.span, (Some(range), back));
            }
            ExprKind::Subquery(subquery) => {
                let moved = self.moved(back, subquery.at, &subquery.offset);
                let range = self.millis(&subquery.range);
                self.visit(&subquery.expr, moved.map(|back| back.saturating_add(range)));
            }
            ExprKind::Call(call) if call.func.name == "info" => self.info(call, expr.span, back),
            ExprKind::Call(call) => call.args.iter().for_each(|arg| self.visit(arg, back)),
            ExprKind::Aggregate(aggregate) => {
                aggregate.param.iter().for_each(|param| self.visit(param, back));
                self.visit(&aggregate.expr, back);
            }
            ExprKind::Binary(binary) => {
                let (operators, first) = binary.chain();
                self.visit(first, back);
                operators.iter().rev().for_each(|binary| self.visit(&binary.rhs, back));
            }
            ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => self.visit(inner, back),
        }
    }

    /// `info` selects the metrics its second argument names, or `target_info`, at each step.
    fn info(&mut self, call: &Call, span: Span, back: Option<i64>) {
        let mut names: Vec<Matcher> = Vec::new();
        if let Some(ExprKind::Vector(labels)) = call.args.get(1).map(|arg| &arg.kind) {
            let matchers = labels.selector.matchers().iter();
            names.extend(matchers.filter(|matcher| matcher.name == METRIC_NAME).cloned());
        }
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, "target_info"));
        }
        call.args.iter().take(1).for_each(|arg| self.visit(arg, back));
        let selector = Arc::new(Selector::new(names));
        let vector = VectorSelector { selector, offset: None, at: None };
        self.select(&vector, span, (None, back));
    }

    /// `range` is that of a range selector; an instant one looks back instead.
    fn select(
        &mut self,
        vector: &VectorSelector,
        span: Span,
        (range, back): (Option<i64>, Option<i64>),
    ) {
        let moved = self.moved(back, vector.at, &vector.offset);
        let reaches = |length: i64| {
            let millis = moved?.saturating_add(length);
            Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
        };
        self.found.push(Reach {
            selector: vector.selector.clone(),
            span,
            back: reaches(range.unwrap_or(LOOKBACK.as_millis() as i64)),
            history: reaches(range.unwrap_or(0)),
        });
    }

    /// Where `@` and `offset` put an evaluation that would happen `back` ago.
    fn moved(&self, back: Option<i64>, at: Option<AtModifier>, offset: &Offset) -> Option<i64> {
        let base = match at {
            None => back?,
            Some(AtModifier::Time(_)) => return None,
            // Both are the time of evaluation in a rule; in a range query they bound it.
            Some(AtModifier::Start) => self.query.range_millis,
            Some(AtModifier::End) => 0,
        };
        let offset = offset.as_ref().map_or(0, |offset| self.millis(offset));
        Some(base.saturating_add(offset))
    }

    fn millis(&self, duration: &DurationExpr) -> i64 {
        resolve(duration, self.query).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    #[test]
    fn every_selector_with_how_far_it_looks() {
        const MINUTE: u64 = 60;
        type Want = &'static [(&'static str, Option<u64>)];
        let cases: [(&str, Want); 12] = [
            ("1 + 2", &[]),
            ("a", &[("a", Some(5 * MINUTE))]),
            ("a offset 1h", &[("a", Some(65 * MINUTE))]),
            ("a offset -1h", &[("a", Some(0))]),
            ("rate(a[10m] offset 5m)", &[("a", Some(15 * MINUTE))]),
            ("a[30m:] @ 100", &[("a", None)]),
            ("max_over_time(rate(a[5m])[1h:1m] offset 1d)", &[("a", Some(1505 * MINUTE))]),
            ("sum_over_time((a @ end())[1h:1m])", &[("a", Some(5 * MINUTE))]),
            ("topk(scalar(k), a) / on() b @ 3", &[("k", Some(300)), ("a", Some(300)), ("b", None)]),
            ("info(rate(a[1m]))", &[("a", Some(60)), ("target_info", Some(300))]),
            ("info(a, {__name__=\"b\", x=~\".+\"})", &[("a", Some(300)), ("b", Some(300))]),
            ("rate(a[step() + 60])", &[("a", Some(60))]),
        ];
        let options = ParseOptions { experimental_functions: true };
        for (text, want) in cases {
            let expr = parse(text, &options).expect(text);
            let found = reach(&expr, QueryTimes::default());
            let got: Vec<_> = found
                .iter()
                .map(|reach| {
                    let name = reach.selector.metric_name().unwrap_or("");
                    (name, reach.back.map(|back| back.as_secs()))
                })
                .collect();
            assert_eq!(got, want, "{text}");
        }
    }
}
