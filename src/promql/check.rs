//! Type checks, in Prometheus's words (`checkAST` in `promql/parser/parse.go`).
//!
//! Each node is checked when the parser has its children, so the first error in reading order is
//! the one reported. What passes here never meets a type error in the evaluator.

use super::ast::{
    AggregateOp, Binary, Expr, ExprKind, Group, Matching, Span, ValueType, VectorSelector,
};
use super::functions::Function;
use super::parser::Fault;
use crate::base::excerpt;

fn expect_type(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), Fault> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    Err(Fault::new(expr.span, format!("expected type {wanted} in {context}, got {got}")))
}

/// The number and types of a call's arguments.
pub(super) fn call(func: &Function, args: &[Expr], text: &str, span: Span) -> Result<(), Fault> {
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
        let message = format!("expected {wanted} argument(s) in call to {name:?}, got {got}");
        return Err(Fault::new(span, message));
    }
    let context = format!("call to function {name:?}");
    for (at, arg) in args.iter().enumerate() {
        let wanted = func.args.get(at).or(func.args.last());
        let wanted = *wanted.expect("a function without parameters was given no arguments");
        expect_type(arg, wanted, &context)?;
    }
    if name == "info"
        && let Some(labels) = args.get(1)
        && !text[labels.span.start..].starts_with('{')
    {
        let message = "expected label selectors only, got vector selector instead";
        return Err(Fault::new(labels.span, message));
    }
    Ok(())
}

/// The number and types of an aggregation's arguments: its parameter, if any, and the vector.
pub(super) fn aggregate(
    op: AggregateOp,
    args: Vec<Expr>,
    span: Span,
) -> Result<(Option<Expr>, Expr), Fault> {
    let param_type = op.param_type();
    let (wanted, got) = (1 + usize::from(param_type.is_some()), args.len());
    let mut args = args.into_iter();
    let param = if param_type.is_some() { args.next() } else { None };
    let Some(expr) = args.next().filter(|_| got == wanted) else {
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
    expect_type(&expr, ValueType::Vector, "aggregation expression")?;
    if let (Some(param), Some(wanted)) = (&param, param_type) {
        expect_type(param, wanted, "aggregation parameter")?;
    }
    Ok((param, expr))
}

/// The operands and modifiers of an operator. Says what it yields, makes set operators many-to-many,
/// and clears a matching that has nothing to match.
pub(super) fn binary(binary: &mut Binary, span: Span, op_span: Span) -> Result<(), Fault> {
    let op = binary.op;
    let (left, right) = (binary.lhs.value_type(), binary.rhs.value_type());
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    binary.yields = if scalars { ValueType::Scalar } else { ValueType::Vector };
    if binary.return_bool && !op.is_comparison() {
        let message = "bool modifier can only be used on comparison operators";
        return Err(Fault::new(op_span, message));
    }
    if op.is_comparison() && !binary.return_bool && scalars {
        let message = "comparisons between scalars must use BOOL modifier";
        return Err(Fault::new(op_span, message));
    }
    let matching = &binary.matching;
    let twice = matching.labels.iter().find(|label| matching.include.contains(label));
    if let Some(label) = twice.filter(|_| matching.on) {
        let message =
            format!("label {:?} must not occur in ON and GROUP clause at once", excerpt(label));
        return Err(Fault::new(op_span, message));
    }
    for (side, operand) in [(left, &binary.lhs), (right, &binary.rhs)] {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::new(operand.span, message));
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
        return Err(Fault::new(span, problem));
    }
    if left != ValueType::Vector || right != ValueType::Vector {
        binary.matching = Matching::default();
    } else if op.is_set() {
        binary.matching.group = Group::ManyToMany;
    }
    Ok(())
}

/// Every selector needs a matcher that an absent label does not meet, so that no query selects
/// everything by accident. `info`'s second argument is no selection of its own.
pub(super) fn selectors(expr: &Expr) -> Result<(), Fault> {
    let mut exempt: Vec<*const Expr> = Vec::new();
    let mut result = Ok(());
    expr.walk(&mut |node| {
        let vector: &VectorSelector = match &node.kind {
            ExprKind::Call(call) if call.func.name == "info" => {
                exempt.extend(call.args.get(1).map(std::ptr::from_ref));
                return;
            }
            ExprKind::Vector(vector) => vector,
            ExprKind::Matrix(matrix) => &matrix.vector,
            _ => return,
        };
        let bound = vector.selector.matchers().iter().any(|matcher| !matcher.matches(""));
        if !bound && result.is_ok() && !exempt.contains(&std::ptr::from_ref(node)) {
            let message = "vector selector must contain at least one non-empty matcher";
            result = Err(Fault::new(node.span, message));
        }
    });
    result
}
