//! The lint `zero-divisor`: a division by a limit that is 0 where there is none.
//!
//! What keeps the zeros out is a comparison that a zero does not pass (`limit > 0`, `0 != limit`,
//! `limit >= 1`), or one that a zero passes behind `unless`. With `bool` a comparison keeps nothing
//! out. It counts for a divisor if it selects at least what the divisor selects. The lint does not
//! prove that the comparison reaches the division: it asks whether the author thought of zero.

use crate::promql::ast::{
    AggregateOp, Binary, BinaryOp, Expr, ExprKind, MatrixSelector, Sign, VectorSelector,
};
use crate::window::Selector;

/// The divisors that nothing guards: metric and place.
pub(super) fn unguarded(expr: &Expr) -> Vec<(String, usize)> {
    let (mut divisors, mut guards) = (Vec::new(), Vec::new());
    // With whether an `unless` turns round what passes.
    let mut open = vec![(expr, false)];
    while let Some((node, inverted)) = open.pop() {
        let ExprKind::Binary(binary) = &node.kind else {
            open.extend(node.children().into_iter().rev().map(|child| (child, inverted)));
            continue;
        };
        let Binary { op, lhs, rhs, .. } = &**binary;
        if matches!(op, BinaryOp::Div | BinaryOp::Mod) {
            divisors.extend(limits_in(rhs, Depth::Whole));
        }
        guards.extend(guards_in(binary, inverted));
        open.push((rhs, inverted != (*op == BinaryOp::Unless)));
        open.push((lhs, inverted));
    }
    let covers = |guard: &Selector, divisor: &Selector| {
        guard.matchers().iter().all(|matcher| divisor.matchers().contains(matcher))
    };
    divisors.retain(|(divisor, _)| !guards.iter().any(|guard| covers(guard, divisor)));
    let name = |selector: &Selector| selector.metric_name().unwrap_or_default().to_owned();
    divisors.into_iter().map(|(selector, at)| (name(selector), at)).collect()
}

/// The limits that a comparison keeps the zeros out of.
fn guards_in(binary: &Binary, inverted: bool) -> Vec<&Selector> {
    if !binary.op.is_comparison() || binary.return_bool {
        return Vec::new();
    }
    let sides = [(&binary.lhs, &binary.rhs, false), (&binary.rhs, &binary.lhs, true)];
    let guards = sides.into_iter().filter(|(_, other, is_right)| {
        passes_zero(binary.op, constant(other), *is_right) == inverted
    });
    guards
        .flat_map(|(side, ..)| limits_in(side, Depth::Undivided))
        .map(|(limit, _)| limit)
        .collect()
}

/// Whether a zero on one side passes. Beside something unknown, `>` and `!=` are taken to mean it.
fn passes_zero(op: BinaryOp, other: Option<f64>, is_right: bool) -> bool {
    let Some(other) = other else {
        let meant = if is_right { BinaryOp::Less } else { BinaryOp::Greater };
        return op != meant && op != BinaryOp::NotEqual;
    };
    let (lhs, rhs) = if is_right { (other, 0.0) } else { (0.0, other) };
    match op {
        BinaryOp::Equal => lhs == rhs,
        BinaryOp::NotEqual => lhs != rhs,
        BinaryOp::Greater => lhs > rhs,
        BinaryOp::Less => lhs < rhs,
        BinaryOp::GreaterEqual => lhs >= rhs,
        BinaryOp::LessEqual => lhs <= rhs,
        _ => true,
    }
}

fn constant(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Paren(inner) | ExprKind::Unary(Sign::Plus, inner) => constant(inner),
        ExprKind::Unary(Sign::Minus, inner) => constant(inner).map(|number| -number),
        _ => None,
    }
}

/// How far limits are looked for.
#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Whole,
    /// Not in what is divided or divided by: of `a / limit > 0.9` the comparison looks at the
    /// ratio, and +Inf is above it.
    Undivided,
}

/// The limits selected in an expression, each with its place.
fn limits_in(expr: &Expr, depth: Depth) -> Vec<(&Selector, usize)> {
    let (mut open, mut found) = (vec![expr], Vec::new());
    while let Some(node) = open.pop() {
        if !keeps_zero(node) {
            continue;
        }
        found.extend(limit(node).map(|selector| (selector, node.span.start)));
        let divides = matches!(&node.kind, ExprKind::Binary(binary)
            if matches!(binary.op, BinaryOp::Div | BinaryOp::Mod));
        if depth == Depth::Whole || !divides {
            open.extend(node.children().into_iter().rev());
        }
    }
    found
}

/// Whether a zero in what a node is made of can make it zero. What counts, or lifts above zero, does not.
fn keeps_zero(node: &Expr) -> bool {
    match &node.kind {
        ExprKind::Aggregate(aggregate) => !matches!(
            aggregate.op,
            AggregateOp::Count | AggregateOp::Group | AggregateOp::CountValues
        ),
        ExprKind::Call(call) => match (call.func.name, call.args.as_slice()) {
            ("clamp_min" | "clamp", [_, least, ..]) => {
                constant(least).is_none_or(|least| least <= 0.0)
            }
            ("count_over_time" | "present_over_time" | "timestamp" | "absent", _) => false,
            _ => true,
        },
        _ => true,
    }
}

/// The limit a node selects.
fn limit(node: &Expr) -> Option<&Selector> {
    let (ExprKind::Vector(VectorSelector { selector, .. })
    | ExprKind::Matrix(MatrixSelector { vector: VectorSelector { selector, .. }, .. })) =
        &node.kind
    else {
        return None;
    };
    selector.metric_name().is_some_and(may_be_zero).then_some(&**selector)
}

/// Whether a metric is a limit that is 0 where there is none; a quota of CPU is absent there. Plans are written only where they say
/// something, and records are guarded where they are made.
fn may_be_zero(metric: &str) -> bool {
    let is_limit = ["_limit_bytes", "_limit"].iter().any(|end| metric.ends_with(end));
    is_limit && !metric.contains(':') && !metric.starts_with("plimsoll_plan_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    fn found(text: &str) -> usize {
        unguarded(&parse(text, &ParseOptions::default()).expect(text)).len()
    }

    #[test]
    fn only_what_keeps_zeros_out_guards() {
        for guarded in [
            "u / (x_limit > 0)",
            "u / (x_limit >= 1)",
            "u / (0 < x_limit)",
            "u / (0 != x_limit)",
            "u / x_limit unless x_limit == 0",
            "u / x_limit unless x_limit < 0.5",
            "u / x_limit{a=\"b\"} and x_limit > 0",
            "u / (x_limit > on(a) floor)",
            "u / (x_limit > -(-1))",
            "u / (x_limit >= +(1))",
            "u / clamp_min(x_limit, 1)",
            "u / clamp(sum(x_limit), 0.5, 9)",
            "u / count(x_limit)",
            "u / count_over_time(x_limit[5m])",
            "u / (x_limit != 0)",
            "u / (floor < on(a) x_limit)",
            "u / (x_limit != on(a) floor)",
            "u / group(x_limit)",
            "u / count_values(\"v\", x_limit)",
            "u / present_over_time(x_limit[5m])",
            "u / timestamp(x_limit)",
            "u / absent(x_limit)",
            "u / job:x_limit",
            "u / plimsoll_plan_mem_limit_bytes",
            "u / container_spec_cpu_quota",
            "u / clamp_min(container_spec_memory_limit_bytes, 1)",
        ] {
            assert_eq!(found(guarded), 0, "{guarded}");
        }
        for bare in [
            "u / x_limit",
            "u / (x_limit > bool 0)",
            "u / clamp_min(x_limit, 0)",
            "u / clamp_min(x_limit, -(1))",
            "u / clamp_max(x_limit, 1)",
            "u / (x_limit > -1)",
            "u / (x_limit >= 0)",
            "u / (x_limit != 1)",
            "u / (-1 < x_limit)",
            "u / x_limit unless x_limit > 0",
            "u / x_limit unless x_limit == bool 0",
            "u / x_limit and x_limit{a=\"b\"} > 0",
            "u / x_limit and y_limit > 0",
            "u / (x_limit < on(a) floor)",
            "u / (floor > on(a) x_limit)",
            "u / (x_limit <= 1)",
            "u / x_limit_bytes",
            "u / max_over_time(x_limit[5m])",
            "u / quantile(0.5, x_limit)",
        ] {
            assert_eq!(found(bare), 1, "{bare}");
        }
    }
}
