//! What a rule asks, for whoever wants to ask again: what its result is compared with, how far back it
//! looks, where to read on.

use std::time::Duration;

use super::model::Rule;
use crate::promql::ast::{BinaryOp, Expr, ExprKind, Sign};
use crate::promql::{QueryTimes, reach};

impl Rule {
    /// The number that its result is compared with, if it is one alone. What is joined on (`and`,
    /// `unless`) only narrows it down; of alternatives (`or`) each has its own.
    pub fn threshold(&self) -> Option<f64> {
        let mut expr = &self.expr;
        loop {
            expr = match &expr.kind {
                ExprKind::Paren(inner) => inner,
                ExprKind::Binary(binary) => match binary.op {
                    BinaryOp::And | BinaryOp::Unless => &binary.lhs,
                    BinaryOp::Equal
                    | BinaryOp::NotEqual
                    | BinaryOp::Greater
                    | BinaryOp::Less
                    | BinaryOp::GreaterEqual
                    | BinaryOp::LessEqual => {
                        return constant(&binary.rhs).or_else(|| constant(&binary.lhs));
                    }
                    _ => return None,
                },
                _ => return None,
            };
        }
    }

    /// How far back its query looks; zero where the newest samples do.
    pub fn window(&self) -> Duration {
        let reaches = reach(&self.expr, QueryTimes::default());
        reaches.iter().filter_map(|found| found.history).max().unwrap_or_default()
    }
}

fn constant(expr: &Expr) -> Option<f64> {
    let (mut expr, mut factor) = (expr, 1.0);
    loop {
        expr = match &expr.kind {
            ExprKind::Number(number) => return Some(factor * number),
            ExprKind::Paren(inner) | ExprKind::Unary(Sign::Plus, inner) => inner,
            ExprKind::Unary(Sign::Minus, inner) => {
                factor = -factor;
                inner
            }
            _ => return None,
        };
    }
}

/// `<external url>/graph?g0.expr=<expression>&g0.tab=1`, escaped as Go's `url.QueryEscape`; empty where
/// either is.
pub fn graph_url(external_url: &str, expr: &str) -> String {
    if external_url.is_empty() || expr.is_empty() {
        return String::new();
    }
    let mut escaped = String::new();
    for byte in expr.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{}/graph?g0.expr={escaped}&g0.tab=1", external_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::ParseOptions;
    use crate::rules::load;

    fn rule(expr: &str) -> Rule {
        let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        let (groups, problems) = load(&[("r.yml".to_owned(), text)], &ParseOptions::default());
        assert!(!problems.has_errors(), "{problems}");
        groups[0].rules[0].clone()
    }

    #[test]
    fn a_threshold_is_what_the_result_is_compared_with() {
        for (expr, want) in [
            ("a / b > 0.9", Some(0.9)),
            ("(a >= (-2)) and on (c) b > 5 unless d", Some(-2.0)),
            ("3 < a", Some(3.0)),
            ("a > -(2)", Some(-2.0)),
            ("a > 1 < 5", Some(5.0)),
            ("a > b", None),
            ("a > 1 or b > 2", None),
            ("a", None),
            ("vector(1)", None),
            ("sum(a > 1)", None),
        ] {
            assert_eq!(rule(expr).threshold(), want, "{expr}");
        }
    }

    #[test]
    fn a_window_is_the_longest_range() {
        let minutes = |expr: &str| rule(expr).window().as_secs() / 60;
        assert_eq!(minutes("rate(a[5m]) > increase(b[1h] offset 10m)"), 70);
        assert_eq!(minutes("a > 1"), 0);
    }
}
