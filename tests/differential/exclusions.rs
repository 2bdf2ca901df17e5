//! What is known to differ between Prometheus 2.42 and 3.14, whose semantics are ours.

use plimsoll::promql::ast::{AggregateOp, BinaryOp, Call, Expr, ExprKind, Group, Grouping};
use plimsoll::window::MatchOp;

use super::When;
use super::expressions::series::{FIRST, LAST};

/// A difference with its reason.
pub struct Exclusion {
    pub name: &'static str,
    /// Why the two differ there.
    #[expect(dead_code, reason = "for who reads this table")]
    pub reason: &'static str,
    /// Which queries are left out.
    concerns: fn(&Expr) -> bool,
    /// A query that is left out and does differ.
    pub example: &'static str,
    pub at: When,
}

/// All of them.
pub const ALL: &[Exclusion] = &[
    Exclusion {
        name: "zero clamp",
        reason: "2.42 cuts the way back to zero before it decides how far to extrapolate, 3.x after",
        concerns: |node| {
            call(node, &["rate", "increase"])
                .is_some_and(|call| !is_selection_of(&call.args[0], &["c_total", "h_bucket"]))
        },
        example: "increase(young_total[5m])",
        at: When::Range(FIRST + 12_250, FIRST + 120_250, 1_000),
    },
    Exclusion {
        name: "atan2 and names",
        reason: "2.42 keeps the metric's name on the result of atan2, 3.x takes it off",
        concerns: |node| matches!(&node.kind, ExprKind::Binary(b) if b.op == BinaryOp::Atan2),
        example: "team atan2 2",
        at: When::Instant(LAST + 250),
    },
    Exclusion {
        name: "deviation of what is not finite",
        reason: "stddev and stdvar of one series that is NaN or infinite are 0 in 2.42, NaN in 3.x",
        concerns: |node| {
            let op = match &node.kind {
                ExprKind::Aggregate(aggregate) => aggregate.op,
                _ => return false,
            };
            matches!(op, AggregateOp::Stddev | AggregateOp::Stdvar)
        },
        example: "stddev by (job) (team / 0)",
        at: When::Instant(LAST + 250),
    },
    Exclusion {
        name: "infinite samples on a line",
        reason: "the compensation of 2.42's sums turns infinite samples into NaN, that of 3.x does not",
        concerns: |node| {
            call(node, &["deriv", "predict_linear"]).is_some_and(|call| {
                !is_selection_of(&call.args[0], &["c_total", "h_bucket", "g", "team"])
            })
        },
        example: "predict_linear(odd{job=\"b\"}[10m] offset -30s, -Inf)",
        at: When::Instant(FIRST + 9_250),
    },
    Exclusion {
        name: "fixed window, moving argument",
        reason: "2.42 loses samples of a window fixed by @ after the first step",
        concerns: |node| {
            call(node, &["predict_linear", "quantile_over_time"])
                .is_some_and(|call| call.args.iter().any(is_fixed_range))
        },
        example: "predict_linear(g[2m30s] @ end(), 1500)",
        at: When::Range(FIRST + 500_250, FIRST + 590_250, 30_000),
    },
    Exclusion {
        name: "timestamp of a fixed sample",
        reason: "2.42 forgets an offset beside @ within timestamp()",
        concerns: |node| {
            call(node, &["timestamp"]).is_some_and(|call| match &unwrapped(&call.args[0]).kind {
                ExprKind::Vector(vector) => vector.at.is_some() && vector.offset.is_some(),
                _ => false,
            })
        },
        example: "timestamp(team @ start() offset -30s)",
        at: When::Instant(LAST - 99_750),
    },
    Exclusion {
        name: "order of count_values",
        reason: "2.42 groups by labels it has not sorted",
        concerns: |node| match &node.kind {
            ExprKind::Aggregate(aggregate) => match aggregate.op {
                AggregateOp::CountValues => {
                    matches!(&aggregate.grouping, Grouping::By(labels) if labels.len() > 1)
                }
                _ => false,
            },
            _ => false,
        },
        example: "count_values by (zone, le, le) (\"inst\", g)",
        at: When::Range(FIRST + 69_250, FIRST + 669_250, 17_000),
    },
    Exclusion {
        name: "equals at the edge of topk",
        reason: "which of several equal series are kept depends on the order of what is not ordered",
        concerns: |node| match &node.kind {
            ExprKind::Aggregate(aggregate) => {
                let distinct = is_selection_of(&aggregate.expr, &["c_total", "h_bucket"]);
                matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk) && !distinct
            }
            _ => false,
        },
        example: "bottomk(7, asin(g @ end()))",
        at: When::Instant(1_600_003_399_500),
    },
    Exclusion {
        name: "moving or fixed parameters",
        reason: "2.42 evaluates an aggregation of a constant once, with the first parameter, and \
                 does not heed @ within parameters",
        concerns: |node| match &node.kind {
            ExprKind::Aggregate(aggregate) => {
                let Some(param) = &aggregate.param else { return false };
                has_fixed_selector(param) || !is_constant(param) && is_constant(&aggregate.expr)
            }
            _ => false,
        },
        example: "quantile((time() - 1600000000) / 200, c_total @ 1600001000.5)",
        at: When::Range(FIRST + 60_250, FIRST + 120_250, 30_000),
    },
    Exclusion {
        name: "k far below zero",
        reason: "of a k below -2^63 2.42 says that it overflows; 3.x sees first that it is less than 1, \
                 and returns nothing",
        concerns: |node| match &node.kind {
            ExprKind::Aggregate(aggregate) => {
                let counts = matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk);
                counts && aggregate.param.as_ref().is_some_and(|k| {
                    !matches!(unwrapped(k).kind, ExprKind::Number(k) if k.is_finite() && k > -1e18)
                })
            }
            _ => false,
        },
        example: "topk(-Inf, c_total)",
        at: When::Instant(LAST + 250),
    },
    Exclusion {
        name: "duplicates that a comparison drops",
        reason: "2.42 sees many-to-one matches only among the pairs a comparison keeps",
        concerns: |node| match &node.kind {
            ExprKind::Binary(binary) => {
                let matching = &binary.matching;
                let named = matching.on || !matching.labels.is_empty();
                let filters = binary.op.is_comparison() && !binary.return_bool;
                filters && named && matching.group == Group::OneToOne
            }
            _ => false,
        },
        example: "team > on () sum(g)",
        at: When::Instant(LAST + 250),
    },
    Exclusion {
        name: "sine of a huge number",
        reason: "of a number beyond 1e15 the last digit decides, and exp() and ^ round it otherwise in Go",
        concerns: |node| {
            call(node, &["sin", "cos", "tan"])
                .is_some_and(|call| !matches!(unwrapped(&call.args[0]).kind, ExprKind::Vector(_)))
        },
        example: "sin(-exp(g{job=\"b\"} offset -30s))",
        at: When::Range(FIRST + 255_250, FIRST + 855_250, 17_000),
    },
    Exclusion {
        name: "remainder of a rounded number",
        reason: "the remainder of a large number shows the last digit of the divisor, which Go's \
                 functions round otherwise",
        concerns: |node| match &node.kind {
            ExprKind::Binary(binary) => {
                let exact = matches!(
                    unwrapped(&binary.rhs).kind,
                    ExprKind::Vector(_) | ExprKind::Number(_)
                );
                binary.op == BinaryOp::Mod && !exact
            }
            _ => false,
        },
        example: "time() % atan(changes(odd[5m] @ end()))",
        at: When::Range(FIRST + 737_250, FIRST + 1_337_250, 17_000),
    },
    Exclusion {
        name: "digits of a mean",
        reason: "2.42 adds up without compensation, and count_values shows the last digit",
        concerns: |node| match &node.kind {
            ExprKind::Aggregate(aggregate) => {
                let plain = matches!(unwrapped(&aggregate.expr).kind, ExprKind::Vector(_));
                aggregate.op == AggregateOp::CountValues && !plain
            }
            _ => false,
        },
        example: "count_values without () (\"nosuch\", avg(g{zone=~\"n.*h\"}))",
        at: When::Instant(1_600_003_380_500),
    },
];

/// The exclusion a query falls under.
pub fn name(expr: &Expr) -> Option<&'static str> {
    let mut found = None;
    expr.walk(&mut |node| {
        found = found.or_else(|| ALL.iter().find(|e| (e.concerns)(node)).map(|e| e.name));
    });
    found
}

fn call<'e>(expr: &'e Expr, names: &[&str]) -> Option<&'e Call> {
    match &expr.kind {
        ExprKind::Call(call) if names.contains(&call.func.name) => Some(call),
        _ => None,
    }
}

fn has_fixed_selector(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |node| {
        found |= match &node.kind {
            ExprKind::Vector(vector) => vector.at.is_some(),
            ExprKind::Matrix(matrix) => matrix.vector.at.is_some(),
            ExprKind::Subquery(subquery) => subquery.at.is_some(),
            _ => false,
        };
    });
    found
}

/// Whether the same comes out at every step, whatever 2.42 makes of parameters.
fn is_constant(expr: &Expr) -> bool {
    let mut constant = true;
    expr.walk(&mut |node| {
        constant &= match &node.kind {
            ExprKind::Vector(vector) => vector.at.is_some(),
            ExprKind::Matrix(matrix) => matrix.vector.at.is_some(),
            ExprKind::Call(call) => call.func.name != "time",
            _ => true,
        };
    });
    constant
}

fn is_fixed_range(expr: &Expr) -> bool {
    match &unwrapped(expr).kind {
        ExprKind::Matrix(matrix) => matrix.vector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        _ => false,
    }
}

fn unwrapped(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Paren(inner) => unwrapped(inner),
        _ => expr,
    }
}

/// The samples of one of these metrics, or a range of them.
fn is_selection_of(expr: &Expr, metrics: &[&str]) -> bool {
    let vector = match &unwrapped(expr).kind {
        ExprKind::Matrix(matrix) => &matrix.vector,
        ExprKind::Vector(vector) => vector,
        _ => return false,
    };
    vector.selector.matchers().iter().any(|matcher| {
        let is_name = matcher.name == "__name__" && matcher.op == MatchOp::Equal;
        is_name && metrics.contains(&matcher.value.as_str())
    })
}
