//! Type checks, in Prometheus's words (`checkAST` in `promql/parser/parse.go`).
//!
//! Each node is checked when the parser has its children. What is wrong is kept aside until the text
//! has been read to its end, because Prometheus checks types only where there is no error of syntax;
//! of several faults it is the first of Prometheus's walk. What passes here never meets a type error
//! in the evaluator.

use super::ast::{AggregateOp, Binary, Expr, ExprKind, Group, Matching, Span, ValueType};
use super::functions::Function;
use super::parser::{Fault, Tree};
use crate::base::{excerpt, quoted};
use crate::window::Selector;

/// The first fault of a part of a query, or none.
pub(super) type Checked = Option<Box<Fault>>;

/// What a selector without any bound is told.
const UNBOUND: &str = "vector selector must contain at least one non-empty matcher";

fn fault(span: Span, message: impl Into<String>) -> Checked {
    Some(Box::new(Fault::new(span, message)))
}

fn expect_type(expr: &Expr, wanted: ValueType, context: &str) -> Checked {
    let got = expr.value_type();
    if got == wanted {
        return None;
    }
    fault(expr.span, format!("expected type {wanted} in {context}, got {got}"))
}

/// The number and types of a call's arguments: the number first, then one after the other.
pub(super) fn call(func: &Function, args: &mut [Tree], text: &str, span: Span) -> Checked {
    let name = func.name;
    let (fewest, most) = (func.fewest_args(), func.most_args());
    let wanted = if most == Some(fewest) {
        (args.len() != fewest).then(|| fewest.to_string())
    } else if args.len() < fewest {
        Some(format!("at least {fewest}"))
    } else {
        most.filter(|most| args.len() > *most).map(|most| format!("at most {most}"))
    };
    if let Some(wanted) = wanted {
        let got = args.len();
        return fault(
            span,
            format!("expected {wanted} argument(s) in call to {name:?}, got {got}"),
        );
    }
    let labels = args.get_mut(1).filter(|_| name == "info");
    if let Some(labels) = labels
        && matches!(labels.expr.kind, ExprKind::Vector(_))
    {
        // These labels are no selection of their own.
        labels.fault = labels.fault.take().filter(|fault| fault.message != UNBOUND);
    }
    let context = format!("call to function {name:?}");
    for (at, arg) in args.iter_mut().enumerate() {
        let wanted = func.args.get(at).or(func.args.last());
        let wanted = *wanted.expect("a function without parameters was given no arguments");
        let found = arg.fault.take().or_else(|| expect_type(&arg.expr, wanted, &context));
        if found.is_some() {
            return found;
        }
    }
    let labels = args.get(1).filter(|_| name == "info")?;
    let is_bare = text[labels.expr.span.start..].starts_with('{');
    let message = "expected label selectors only, got vector selector instead";
    if is_bare { None } else { fault(labels.expr.span, message) }
}

/// The arguments of an aggregation: its parameter, if any, and the vector.
pub(super) fn arguments(
    op: AggregateOp,
    args: Vec<Tree>,
    span: Span,
) -> Result<(Option<Tree>, Tree), Fault> {
    let takes_param = op.param_type().is_some();
    let (wanted, got) = (1 + usize::from(takes_param), args.len());
    let mut args = args.into_iter();
    let param = if takes_param { args.next() } else { None };
    let Some(vector) = args.next().filter(|_| got == wanted) else {
        let message = if got == 0 {
            "no arguments for aggregate expression provided".to_owned()
        } else {
            format!(
                "wrong number of arguments for aggregate expression provided, \
                 expected {wanted}, got {got}"
            )
        };
        return Err(Fault::new(span, message));
    };
    Ok((param, vector))
}

/// The types of an aggregation's arguments, the vector's first.
pub(super) fn aggregate(op: AggregateOp, param: Option<&mut Tree>, vector: &mut Tree) -> Checked {
    let found = vector.fault.take();
    let found =
        found.or_else(|| expect_type(&vector.expr, ValueType::Vector, "aggregation expression"));
    found.or_else(|| {
        let (param, wanted) = param.zip(op.param_type())?;
        let found = param.fault.take();
        found.or_else(|| expect_type(&param.expr, wanted, "aggregation parameter"))
    })
}

/// What a sign stands before.
pub(super) fn unary(operand: &Expr, span: Span) -> Checked {
    let got = operand.value_type();
    if matches!(got, ValueType::Scalar | ValueType::Vector) {
        return None;
    }
    let message = format!(
        "unary expression only allowed on expressions of type scalar or instant vector, got \
         \"{got}\""
    );
    fault(span, message)
}

/// What a subquery asks again and again.
pub(super) fn subquery(inner: &Expr, span: Span) -> Checked {
    let got = match inner.value_type() {
        ValueType::Vector => return None,
        ValueType::Matrix => "matrix".to_owned(),
        other => other.to_string(),
    };
    fault(span, format!("subquery is only allowed on instant vector, got {got} instead"))
}

/// A selector needs a matcher that an absent label does not meet, so that no query selects
/// everything by accident.
pub(super) fn selector(selector: &Selector, span: Span) -> Checked {
    let bound = selector.matchers().iter().any(|matcher| !matcher.matches(""));
    if bound { None } else { fault(span, UNBOUND) }
}

/// The operands and modifiers of an operator. Says what it yields, makes set operators many-to-many,
/// and clears a matching that has nothing to match.
pub(super) fn binary(binary: &mut Binary, span: Span, op_span: Span) -> Checked {
    let op = binary.op;
    let (left, right) = (binary.lhs.value_type(), binary.rhs.value_type());
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    binary.yields = if scalars { ValueType::Scalar } else { ValueType::Vector };
    if binary.return_bool && !op.is_comparison() {
        let message = "bool modifier can only be used on comparison operators";
        return fault(op_span, message);
    }
    if op.is_comparison() && !binary.return_bool && scalars {
        let message = "comparisons between scalars must use BOOL modifier";
        return fault(op_span, message);
    }
    let matching = &binary.matching;
    let twice = matching.labels.iter().find(|label| matching.include.contains(label));
    if let Some(label) = twice.filter(|_| matching.on) {
        let message = format!(
            "label {} must not occur in ON and GROUP clause at once",
            quoted(&excerpt(label))
        );
        return fault(op_span, message);
    }
    for (side, operand) in [(left, &binary.lhs), (right, &binary.rhs)] {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return fault(operand.span, message);
        }
    }
    let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
    let problem = if left == ValueType::Vector && right == ValueType::Vector {
        match matching.group {
            _ if !op.is_set() => None,
            Group::ManyToOne | Group::OneToMany => {
                Some(format!("no grouping allowed for {:?} operation", op.symbol()))
            }
            _ => {
                filled.then(|| "filling in missing series not allowed for set operators".to_owned())
            }
        }
    } else if op.is_set() {
        let symbol = op.symbol();
        Some(format!("set operator {symbol:?} not allowed in binary scalar expression"))
    } else if !matching.labels.is_empty() {
        Some("vector matching only allowed between instant vectors".to_owned())
    } else {
        filled.then(|| "filling in missing series only allowed between instant vectors".to_owned())
    };
    if let Some(problem) = problem {
        return fault(span, problem);
    }
    if left != ValueType::Vector || right != ValueType::Vector {
        binary.matching = Matching::default();
    } else if op.is_set() {
        binary.matching.group = Group::ManyToMany;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{ParseOptions, parse};

    /// Types are looked at only where there is no error of syntax; a name when its call is complete; a
    /// call's number of arguments before them, and they one after the other.
    const FIRST_OF_SEVERAL: &[(&str, &str)] = &[
        ("rate(v) +", "1:10: parse error: unexpected end of input"),
        ("rate(v) )", "1:10: parse error: unexpected right parenthesis ')'"),
        ("-'a' +", "1:7: parse error: unexpected end of input"),
        ("1 == 2 +", "1:9: parse error: unexpected end of input"),
        ("{} {", "1:4: parse error: unexpected \"{\""),
        ("x{__name__='y'} +", "1:18: parse error: unexpected end of input"),
        ("1[5m:] +", "1:9: parse error: unexpected end of input"),
        ("abs() + foo(v)", "1:9: parse error: unknown function with name \"foo\""),
        ("sum(1) + foo(v)", "1:10: parse error: unknown function with name \"foo\""),
        ("foo(bar(v))", "1:5: parse error: unknown function with name \"bar\""),
        ("foo(v", "1:6: parse error: unclosed left parenthesis"),
        ("foo(v) )", "1:1: parse error: unknown function with name \"foo\""),
        ("sum() )", "1:8: parse error: unexpected right parenthesis ')'"),
        ("sum() +", "1:1: parse error: no arguments for aggregate expression provided"),
        ("1 offset 5m +", "1:1: parse error: offset modifier must be preceded by "),
        ("rate(v, abs())", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"),
        (
            "histogram_quantile(v, rate(v))",
            "1:20: parse error: expected type scalar in call to function \"histogram_quantile\", got instant vector",
        ),
        (
            "topk('a', rate(v))",
            "1:16: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "{} + 'a'",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "'a' + {}",
            "1:7: parse error: vector selector must contain at least one non-empty matcher",
        ),
    ];

    #[test]
    fn of_several_errors_the_one_prometheus_meets_first() {
        for (text, want) in FIRST_OF_SEVERAL {
            let error = parse(text, &ParseOptions::default()).expect_err(text).to_string();
            let met = if want.ends_with(' ') { error.starts_with(want) } else { error == *want };
            assert!(met, "{text}\n got {error}\nwant {want}");
        }
    }
}
