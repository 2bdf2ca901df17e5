//! A query's tree as `/api/v1/parse_query` shows it (`web/api/v1/translate_ast.go`).
//!
//! Durations that are arithmetic have no value before a query has steps; they are shown as 0.

use serde::Serialize;
use serde_json::{Value, json};

use super::format::fixed_form;
use crate::promql::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Call, DurationExpr, Expr, ExprKind, Group, Grouping,
    Matching, Span, ValueType, VectorSelector,
};
use crate::promql::{NamePlace, name_place};
use crate::window::{MatchOp, Matcher};

/// The tree of an expression that was read from `text`, in JSON, keys in the order of the alphabet as
/// in Go.
///
/// A chain of operators is as deep in JSON as it is long, so it is written in a loop; what nests is
/// bounded by the parser.
pub(super) fn written(expr: &Expr, text: &str) -> Vec<u8> {
    let mut writer = Writer { out: Vec::new(), text };
    writer.expr(expr);
    writer.out
}

struct Writer<'t> {
    out: Vec<u8>,
    text: &'t str,
}

impl Writer<'_> {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn json(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.out, value).expect("texts and numbers are plain data");
    }

    /// `,"key":`
    fn key(&mut self, key: &str) {
        self.raw(",\"");
        self.raw(key);
        self.raw("\":");
    }

    fn field(&mut self, key: &str, value: &impl Serialize) {
        self.key(key);
        self.json(value);
    }

    /// The last field: `,"type":"…"}`
    fn kind(&mut self, kind: &str) {
        self.field("type", &kind);
        self.raw("}");
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(value) => {
                self.json(&json!({"type": "numberLiteral", "val": fixed_form(*value)}));
            }
            ExprKind::String(text) => self.json(&json!({"type": "stringLiteral", "val": text})),
            ExprKind::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                self.json(&json!({"type": "stringLiteral", "val": text}));
            }
            ExprKind::Paren(inner) => {
                self.raw("{\"expr\":");
                self.expr(inner);
                self.kind("parenExpr");
            }
            ExprKind::Unary(sign, inner) => {
                self.raw("{\"expr\":");
                self.expr(inner);
                self.field("op", &sign.symbol());
                self.kind("unaryExpr");
            }
            ExprKind::Vector(vector) => {
                let shown = selector("vectorSelector", vector, expr.span, self.text);
                self.json(&shown);
            }
            ExprKind::Matrix(matrix) => {
                let mut shown =
                    selector("matrixSelector", &matrix.vector, matrix.vector_span, self.text);
                shown["range"] = json!(millis(&matrix.range));
                self.json(&shown);
            }
            ExprKind::Subquery(subquery) => {
                self.raw("{\"expr\":");
                self.expr(&subquery.expr);
                self.field("offset", &subquery.offset.as_ref().map_or(0, millis));
                self.field("range", &millis(&subquery.range));
                self.field("startOrEnd", &start_or_end(subquery.at));
                self.field("step", &subquery.step.as_ref().map_or(0, millis));
                self.field("timestamp", &timestamp(subquery.at));
                self.kind("subquery");
            }
            ExprKind::Call(call) => self.call(call),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Binary(binary) => self.chain(binary),
        }
    }

    fn call(&mut self, call: &Call) {
        self.raw("{\"args\":[");
        for (nth, argument) in call.args.iter().enumerate() {
            self.raw(if nth == 0 { "" } else { "," });
            self.expr(argument);
        }
        self.raw("]");
        let types: Vec<_> = call.func.args.iter().map(|kind| type_name(*kind)).collect();
        let func = json!({
            "name": call.func.name,
            "argTypes": types,
            "variadic": call.func.variadic,
            "returnType": type_name(call.func.returns),
        });
        self.field("func", &func);
        self.kind("call");
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        let (labels, without) = match &aggregate.grouping {
            Grouping::By(labels) => (labels, false),
            Grouping::Without(labels) => (labels, true),
        };
        self.raw("{\"expr\":");
        self.expr(&aggregate.expr);
        self.field("grouping", labels);
        self.field("op", &aggregate.op.name());
        self.key("param");
        match &aggregate.param {
            Some(param) => self.expr(param),
            None => self.raw("null"),
        }
        self.field("type", &"aggregation");
        self.field("without", &without);
        self.raw("}");
    }

    /// The operator applied last is the outermost.
    fn chain(&mut self, binary: &Binary) {
        let (operators, first) = binary.chain();
        for binary in &operators {
            self.raw("{\"bool\":");
            self.json(&binary.return_bool);
            self.key("lhs");
        }
        self.expr(first);
        for binary in operators.into_iter().rev() {
            let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
            let both = is_vector(&binary.lhs) && is_vector(&binary.rhs);
            self.field("matching", &both.then(|| matching(&binary.matching, binary.op)));
            self.field("op", &binary.op.symbol());
            self.key("rhs");
            self.expr(&binary.rhs);
            self.kind("binaryExpr");
        }
    }
}

/// A name outside braces stands before the matchers and as the last of them; one inside is a matcher
/// where it was written, and no name.
fn selector(kind: &str, vector: &VectorSelector, span: Span, text: &str) -> Value {
    let mut matchers: Vec<&Matcher> = vector.selector.matchers().iter().collect();
    let name = match name_place(span, text) {
        NamePlace::Before => {
            matchers.rotate_left(1);
            matchers.last().map_or("", |matcher| matcher.value.as_str())
        }
        NamePlace::Inside(place) => {
            let place = place.min(matchers.len().saturating_sub(1));
            matchers[..=place].rotate_left(1);
            ""
        }
        NamePlace::None => "",
    };
    json!({
        "type": kind,
        "name": name,
        "matchers": matchers.into_iter().map(matcher).collect::<Vec<_>>(),
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

    fn of(query: &str) -> Value {
        let expr = parse(query, &ParseOptions::default()).expect(query);
        let written = written(&expr, query);
        let value: Value = serde_json::from_slice(&written).expect("JSON");
        // Go writes the keys of maps in order, and so does a `Value`.
        assert_eq!(value.to_string(), String::from_utf8_lossy(&written));
        value
    }

    fn check(query: &str, want: &Value) {
        assert_eq!(of(query), *want, "{query}");
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
        assert_eq!(of("sum_over_time(up[1m:5s])")["args"][0], subquery);
    }

    /// As Go's parser keeps them: the name that stands before the braces is the last matcher.
    #[test]
    fn matchers_stand_where_go_has_them() {
        let shown = |query: &str| {
            let tree = of(query);
            let matchers = tree["matchers"].as_array().expect("matchers").iter();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let one = |m: &Value| text(&m["name"]) + &text(&m["type"]) + &text(&m["value"]);
            let matchers: Vec<String> = matchers.map(one).collect();
            format!("{} | {}", text(&tree["name"]), matchers.join(" "))
        };
        for (query, want) in [
            ("up", "up | __name__=up"),
            ("up{b=\"c\",a!=\"d\"}[5m] offset 1m", "up | b=c a!=d __name__=up"),
            ("{__name__=\"up\",a=\"b\"}", " | __name__=up a=b"),
            ("{a=\"b\",__name__=\"up\"}", " | a=b __name__=up"),
            ("{a=\"b,\", \"my.up\", c=~\"d\"}", " | a=b, __name__=my.up c=~d"),
            ("{\"my.up\"}[1m]", " | __name__=my.up"),
            ("{__name__=~\"u.*\"}", " | __name__=~u.*"),
            (" ( # {\n up{a=\"b\"} ) ", ""),
        ] {
            if want.is_empty() {
                let inner = of(query)["expr"]["matchers"][0]["name"].clone();
                assert_eq!(inner, "a", "{query}");
            } else {
                assert_eq!(shown(query), want, "{query}");
            }
        }
    }

    #[test]
    fn numbers_have_no_exponent() {
        for (query, want) in
            [("1e21", "1000000000000000000000"), ("1e-7", "0.0000001"), ("-Inf", "-Inf")]
        {
            check(query, &json!({"type": "numberLiteral", "val": want}));
        }
    }

    /// As long as the parser lets a chain be, on a thread as small as those that serve.
    #[test]
    fn a_long_chain_is_no_nesting() {
        let query = format!("a{}", " + on () b".repeat(20_000));
        let work = move || {
            let expr = parse(&query, &ParseOptions::default()).expect("20,000 operators");
            String::from_utf8(written(&expr, &query)).expect("text")
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
        let shown = thread.join().expect("it fits");
        assert_eq!(shown.matches("\"lhs\":{").count(), 20_000);
        assert_eq!(shown.matches('{').count(), shown.matches('}').count());
        assert!(shown.ends_with(",\"type\":\"binaryExpr\"}"));
    }
}
