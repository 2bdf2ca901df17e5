//! A query's tree as `/api/v1/parse_query` shows it (`web/api/v1/translate_ast.go`).
//!
//! Durations that are arithmetic have no value before a query has steps; they are shown as 0.

use serde_json::{Value, json};

use crate::base::{METRIC_NAME, format_value};
use crate::promql::ast::{
    AtModifier, BinaryOp, DurationExpr, Expr, ExprKind, Group, Grouping, Matching, ValueType,
    VectorSelector,
};
use crate::window::{MatchOp, Matcher};

/// The most levels that are shown, each operator of a chain being one: this code recurses, and so do
/// readers of JSON, of which many stop at 128.
pub(super) const MAX_LEVELS: usize = 100;

/// The tree of an expression, which the caller has found to be no higher than [`MAX_LEVELS`].
pub(super) fn of(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(value) => json!({"type": "numberLiteral", "val": format_value(*value)}),
        ExprKind::String(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Bytes(bytes) => {
            json!({"type": "stringLiteral", "val": String::from_utf8_lossy(bytes)})
        }
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": of(inner)}),
        ExprKind::Unary(sign, inner) => {
            json!({"type": "unaryExpr", "op": sign.symbol(), "expr": of(inner)})
        }
        ExprKind::Vector(vector) => selector("vectorSelector", vector),
        ExprKind::Matrix(matrix) => {
            let mut shown = selector("matrixSelector", &matrix.vector);
            shown["range"] = json!(millis(&matrix.range));
            shown
        }
        ExprKind::Subquery(subquery) => json!({
            "type": "subquery",
            "expr": of(&subquery.expr),
            "range": millis(&subquery.range),
            "step": subquery.step.as_ref().map_or(0, millis),
            "offset": subquery.offset.as_ref().map_or(0, millis),
            "timestamp": timestamp(subquery.at),
            "startOrEnd": start_or_end(subquery.at),
        }),
        ExprKind::Call(call) => json!({
            "type": "call",
            "func": {
                "name": call.func.name,
                "argTypes": call.func.args.iter().map(|kind| type_name(*kind)).collect::<Vec<_>>(),
                "variadic": call.func.variadic,
                "returnType": type_name(call.func.returns),
            },
            "args": call.args.iter().map(of).collect::<Vec<_>>(),
        }),
        ExprKind::Aggregate(aggregate) => {
            let (labels, without) = match &aggregate.grouping {
                Grouping::By(labels) => (labels, false),
                Grouping::Without(labels) => (labels, true),
            };
            json!({
                "type": "aggregation",
                "op": aggregate.op.name(),
                "expr": of(&aggregate.expr),
                "param": aggregate.param.as_ref().map(of),
                "grouping": labels,
                "without": without,
            })
        }
        ExprKind::Binary(binary) => {
            let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
            let both = is_vector(&binary.lhs) && is_vector(&binary.rhs);
            json!({
                "type": "binaryExpr",
                "op": binary.op.symbol(),
                "lhs": of(&binary.lhs),
                "rhs": of(&binary.rhs),
                "matching": both.then(|| matching(&binary.matching, binary.op)),
                "bool": binary.return_bool,
            })
        }
    }
}

fn selector(kind: &str, vector: &VectorSelector) -> Value {
    let matchers = vector.selector.matchers();
    // As written, a name stands among the matchers as well as before them.
    let name = matchers.iter().find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal);
    json!({
        "type": kind,
        "name": name.map_or("", |matcher| matcher.value.as_str()),
        "matchers": matchers.iter().map(matcher).collect::<Vec<_>>(),
        "offset": vector.offset.as_ref().map_or(0, millis),
        "timestamp": timestamp(vector.at),
        "startOrEnd": start_or_end(vector.at),
    })
}

fn matcher(matcher: &Matcher) -> Value {
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex(_) => "=~",
        MatchOp::NotRegex(_) => "!~",
    };
    json!({"name": matcher.name, "type": op, "value": matcher.value})
}

fn matching(matching: &Matching, op: BinaryOp) -> Value {
    let card = match matching.group {
        _ if op.is_set() => "many-to-many",
        Group::OneToOne => "one-to-one",
        Group::ManyToOne => "many-to-one",
        Group::OneToMany => "one-to-many",
        Group::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
    })
}

fn millis(duration: &DurationExpr) -> i64 {
    match duration {
        DurationExpr::Millis(millis) => *millis,
        _ => 0,
    }
}

fn timestamp(at: Option<AtModifier>) -> Option<i64> {
    match at {
        Some(AtModifier::Time(at)) => Some(at.as_millis()),
        _ => None,
    }
}

fn start_or_end(at: Option<AtModifier>) -> Option<&'static str> {
    match at {
        Some(AtModifier::Start) => Some("start"),
        Some(AtModifier::End) => Some("end"),
        _ => None,
    }
}

/// As the API names types; messages use longer words.
fn type_name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
        ValueType::String => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    fn check(query: &str, want: &Value) {
        let expr = parse(query, &ParseOptions::default()).expect(query);
        assert_eq!(of(&expr), *want, "{query}");
    }

    fn up(kind: &str) -> Value {
        let name = json!({"name": "__name__", "type": "=", "value": "up"});
        json!({"type": kind, "name": "up", "matchers": [name], "offset": 0, "timestamp": null, "startOrEnd": null})
    }

    #[test]
    fn trees_have_prometheus_shapes() {
        let mut range = up("matrixSelector");
        range["range"] = json!(300_000);
        range["offset"] = json!(60_000);
        let rate = json!({
            "type": "call",
            "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
            "args": [range],
        });
        check("rate(up[5m] offset 1m)", &rate);
        let sum = json!({
            "type": "aggregation", "op": "sum", "expr": rate, "param": null,
            "grouping": ["a"], "without": true,
        });
        check("sum without (a) (rate(up[5m] offset 1m))", &sum);
        let mut at_end = up("vectorSelector");
        at_end["startOrEnd"] = json!("end");
        let one = json!({"type": "numberLiteral", "val": "1"});
        let compared = json!({
            "type": "binaryExpr", "op": ">", "lhs": at_end, "rhs": one, "matching": null, "bool": true,
        });
        check("up @ end() > bool 1", &compared);
        let mut at = up("vectorSelector");
        at["timestamp"] = json!(7000);
        let joined = json!({
            "type": "binaryExpr", "op": "*", "lhs": up("vectorSelector"), "rhs": at, "bool": false,
            "matching": {"card": "many-to-one", "labels": ["job"], "on": true, "include": ["x"]},
        });
        check("up * on (job) group_left (x) up @ 7", &joined);
        let negated = json!({"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": up("vectorSelector")}});
        check("-(up)", &negated);
        let signed = json!({"type": "unaryExpr", "op": "+", "expr": up("vectorSelector")});
        check("+up", &signed);
        check("+5", &json!({"type": "numberLiteral", "val": "5"}));
        check("\"a\"", &json!({"type": "stringLiteral", "val": "a"}));
        let subquery = json!({
            "type": "subquery", "expr": up("vectorSelector"), "range": 60_000, "step": 5000,
            "offset": 0, "timestamp": null, "startOrEnd": null,
        });
        let ExprKind::Call(call) =
            parse("sum_over_time(up[1m:5s])", &ParseOptions::default()).expect("parses").kind
        else {
            panic!("a call");
        };
        assert_eq!(of(&call.args[0]), subquery);
    }
}
