//! A tree back to text, in Prometheus's canonical form (`promql/parser/printer.go`):
//! `sum by (a) (rate(v[5m]))`. What is printed parses to the same tree, spans aside.
//!
//! A metric's name stands bare where it can, in braces where it must: names beyond the classic
//! alphabet, and words the grammar reserves.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Call, DurationExpr, Expr, ExprKind, Group, Grouping,
    Matching, Offset, Span, Subquery, VectorSelector,
};
use super::parser::Keyword;
use super::quoting::{quote, quote_bytes};
use super::source;
use crate::base::number::shortest;
use crate::base::{METRIC_NAME, is_label_name, is_metric_name};
use crate::window::{MatchOp, Matcher};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        written(self, "").fmt(f)
    }
}

/// An expression in one line. What the tree does not keep is read from the query's `text`, where
/// there is one: `5m` as a number, `{__name__="a"}` for `a`.
pub(super) fn written<'a>(expr: &'a Expr, text: &'a str) -> Written<'a, Expr> {
    Written { node: expr, text }
}

/// A node and the text its spans index; `""` if there is none.
pub(super) struct Written<'a, T> {
    node: &'a T,
    text: &'a str,
}

impl Display for Written<'_, Expr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Written { node, text } = *self;
        match &node.kind {
            ExprKind::Number(number) => match source::duration(node, text) {
                Some(duration) => f.write_str(&duration),
                None => f.write_str(&shortest(*number)),
            },
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Bytes(bytes) => f.write_str(&quote_bytes(bytes)),
            ExprKind::Vector(vector) => {
                write_selector(f, vector, NamePlace::of(node.span, text))?;
                write_modifiers(f, vector.at, &vector.offset)
            }
            ExprKind::Matrix(matrix) => {
                let place = NamePlace::of(matrix.vector_span, text);
                write_selector(f, &matrix.vector, place)?;
                write!(f, "[{}]", matrix.range)?;
                write_modifiers(f, matrix.vector.at, &matrix.vector.offset)
            }
            ExprKind::Subquery(subquery) => {
                write!(f, "{}{}", written(&subquery.expr, text), Bracket(subquery))
            }
            ExprKind::Call(call) => Written { node: call, text }.fmt(f),
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", AggregateHead(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{}, ", written(param, text))?;
                }
                write!(f, "{})", written(&aggregate.expr, text))
            }
            ExprKind::Binary(binary) => Written { node: &**binary, text }.fmt(f),
            ExprKind::Unary(sign, inner) => {
                write!(f, "{}{}", sign.symbol(), written(inner, text))
            }
            ExprKind::Paren(inner) => write!(f, "({})", written(inner, text)),
        }
    }
}

/// What follows the expression of a subquery.
pub(super) struct Bracket<'a>(pub(super) &'a Subquery);

impl Display for Bracket<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Bracket(subquery) = self;
        write!(f, "[{}:", subquery.range)?;
        if let Some(step) = &subquery.step {
            write!(f, "{step}")?;
        }
        f.write_str("]")?;
        write_modifiers(f, subquery.at, &subquery.offset)
    }
}

impl Display for Written<'_, Call> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Written { node: call, text } = *self;
        write!(f, "{}(", call.func.name)?;
        for (at, arg) in call.args.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            f.write_str(separator)?;
            match &arg.kind {
                // The grammar of `info` asks for braces alone.
                ExprKind::Vector(vector) if call.func.name == "info" && at == 1 => {
                    write_selector(f, vector, NamePlace::InBraces)?;
                    write_modifiers(f, vector.at, &vector.offset)?;
                }
                _ => write!(f, "{}", written(arg, text))?,
            }
        }
        f.write_str(")")
    }
}

/// `sum by (a) `, up to the parenthesis.
pub(super) struct AggregateHead<'a>(pub(super) &'a Aggregate);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let AggregateHead(aggregate) = self;
        f.write_str(aggregate.op.name())?;
        match &aggregate.grouping {
            Grouping::By(labels) if labels.is_empty() => Ok(()),
            Grouping::By(labels) => write!(f, " by ({}) ", Names(labels)),
            Grouping::Without(labels) => write!(f, " without ({}) ", Names(labels)),
        }
    }
}

impl Display for Written<'_, Binary> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (operators, first) = self.node.chain();
        let raised = operators.last().is_some_and(|innermost| innermost.op == BinaryOp::Pow);
        match first.kind {
            // Before `^` a sign would stand for the power. Prometheus formats a query all the same.
            ExprKind::Number(f64::INFINITY) if raised && self.text.is_empty() => {
                f.write_str("Inf")?;
            }
            _ => write!(f, "{}", written(first, self.text))?,
        }
        for binary in operators.into_iter().rev() {
            write!(f, " {} {}", Operator(binary), written(&binary.rhs, self.text))?;
        }
        Ok(())
    }
}

/// `== bool on (a)`, what stands between two operands.
pub(super) struct Operator<'a>(pub(super) &'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Operator(binary) = self;
        let return_bool = if binary.return_bool { " bool" } else { "" };
        write!(f, "{}{return_bool}{}", binary.op.symbol(), binary.matching)
    }
}

/// With a space before each part, so that no matching prints as nothing.
impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.group {
            Group::ManyToOne => Some("group_left"),
            Group::OneToMany => Some("group_right"),
            Group::OneToOne | Group::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", Names(&self.labels))?;
        }
        if let Some(group) = group {
            write!(f, " {group} ({})", Names(&self.include))?;
        }
        let fills = [("fill_left", self.fill_left), ("fill_right", self.fill_right)];
        for (word, value) in fills {
            if let Some(value) = value {
                write!(f, " {word} ({})", shortest(value))?;
            }
        }
        Ok(())
    }
}

/// Labels of a grouping, quoted where they would not be read as names.
struct Names<'a>(&'a [String]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            let number = matches!(name.to_ascii_lowercase().as_str(), "inf" | "nan");
            if is_label_name(name) && !number {
                f.write_str(name)?;
            } else {
                f.write_str(&quote(name))?;
            }
        }
        Ok(())
    }
}

/// Where a selector's name may stand.
#[derive(Clone, Copy, PartialEq)]
enum NamePlace {
    BeforeBraces,
    InBraces,
    /// As 2.42 orders them when it formats: wherever the name was written, the matchers by their
    /// text.
    Sorted {
        in_braces: bool,
    },
}

impl NamePlace {
    /// Where the selector's text has it.
    fn of(span: Span, text: &str) -> NamePlace {
        if text.is_empty() {
            return NamePlace::BeforeBraces;
        }
        NamePlace::Sorted { in_braces: source::names_by_matcher(span, text) }
    }
}

fn write_selector(f: &mut Formatter<'_>, vector: &VectorSelector, place: NamePlace) -> fmt::Result {
    let mut matchers = vector.selector.matchers();
    let mut parts = Vec::new();
    let in_braces = matches!(place, NamePlace::InBraces | NamePlace::Sorted { in_braces: true });
    if let Some((name, others)) = leading_name(matchers)
        && !in_braces
    {
        matchers = others;
        if is_metric_name(name) && Keyword::find(name) != Some(Keyword::Reserved) {
            f.write_str(name)?;
            if matchers.is_empty() {
                return Ok(());
            }
        } else {
            parts.push(quote(name));
        }
    }
    let named = parts.len();
    parts.extend(matchers.iter().map(matcher));
    if matches!(place, NamePlace::Sorted { .. }) {
        parts[named..].sort_unstable();
    }
    write!(f, "{{{}}}", parts.join(","))
}

/// The name an equality on `__name__` gives, if that is the first matcher and the only one on the
/// name; and the other matchers.
fn leading_name(matchers: &[Matcher]) -> Option<(&str, &[Matcher])> {
    let (first, others) = matchers.split_first()?;
    let named = first.name == METRIC_NAME && first.op == MatchOp::Equal && !first.value.is_empty();
    let once = others.iter().all(|matcher| matcher.name != METRIC_NAME);
    (named && once).then_some((first.value.as_str(), others))
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex(_) => "=~",
        MatchOp::NotRegex(_) => "!~",
    };
    let value = quote(&matcher.value);
    if is_label_name(&matcher.name) {
        format!("{}{op}{value}", matcher.name)
    } else {
        format!("{}{op}{value}", quote(&matcher.name))
    }
}

fn write_modifiers(f: &mut Formatter<'_>, at: Option<AtModifier>, offset: &Offset) -> fmt::Result {
    match at {
        Some(AtModifier::Time(time)) => {
            let (sign, millis) = (if time.0 < 0 { "-" } else { "" }, time.0.unsigned_abs());
            write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)?;
        }
        Some(AtModifier::Start) => f.write_str(" @ start()")?,
        Some(AtModifier::End) => f.write_str(" @ end()")?,
        None => {}
    }
    match offset {
        Some(arithmetic @ DurationExpr::Binary(..)) => write!(f, " offset ({arithmetic})"),
        // One sign belongs to an offset, and what it stands before is no operator's.
        Some(DurationExpr::Negate(inner))
            if matches!(**inner, DurationExpr::Binary(..) | DurationExpr::Negate(_)) =>
        {
            write!(f, " offset -({inner})")
        }
        Some(duration) => write!(f, " offset {duration}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::promql::{ParseOptions, parse};

    /// A sign before `^` stands for the power, so infinity is without one there.
    #[test]
    fn signs_print_where_they_were_read() {
        let cases = [
            ("+a", "+a"),
            ("- + (+ a) ^ + 1", "-+(+a) ^ 1"),
            ("+Inf ^ a ^ Inf ^ b", "+Inf ^ a ^ Inf ^ b"),
            ("Inf ^ a * Inf", "Inf ^ a * +Inf"),
        ];
        for (text, want) in cases {
            for text in [text, want] {
                let expr = parse(text, &ParseOptions::default()).expect(text);
                assert_eq!(expr.to_string(), want, "{text}");
            }
        }
    }
}
