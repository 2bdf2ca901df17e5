//! A tree back to text, in Prometheus's canonical form (`promql/parser/printer.go`):
//! `sum by (a) (rate(v[5m]))`. What is printed parses to the same tree, spans aside.
//!
//! A metric's name stands bare where it can, in braces where it must: names beyond the classic
//! alphabet, and words the grammar reserves.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    Aggregate, AtModifier, Binary, Call, DurationExpr, Expr, ExprKind, Group, Grouping, Matching,
    Offset, Subquery, VectorSelector,
};
use super::parser::Keyword;
use super::quoting::{quote, quote_bytes};
use crate::base::{METRIC_NAME, format_value, is_label_name, is_metric_name};
use crate::window::{MatchOp, Matcher};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => f.write_str(&format_value(*number)),
            ExprKind::String(text) => f.write_str(&quote(text)),
            ExprKind::Bytes(bytes) => f.write_str(&quote_bytes(bytes)),
            ExprKind::Vector(vector) => {
                write_selector(f, vector, NamePlace::BeforeBraces)?;
                write_modifiers(f, vector.at, &vector.offset)
            }
            ExprKind::Matrix(matrix) => {
                write_selector(f, &matrix.vector, NamePlace::BeforeBraces)?;
                write!(f, "[{}]", matrix.range)?;
                write_modifiers(f, matrix.vector.at, &matrix.vector.offset)
            }
            ExprKind::Subquery(subquery) => subquery.fmt(f),
            ExprKind::Call(call) => call.fmt(f),
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Negate(inner) => write!(f, "-{inner}"),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            write!(f, "{step}")?;
        }
        f.write_str("]")?;
        write_modifiers(f, self.at, &self.offset)
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.func.name)?;
        for (at, arg) in self.args.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            f.write_str(separator)?;
            match &arg.kind {
                // The grammar of `info` asks for braces alone.
                ExprKind::Vector(vector) if self.func.name == "info" && at == 1 => {
                    write_selector(f, vector, NamePlace::InBraces)?;
                    write_modifiers(f, vector.at, &vector.offset)?;
                }
                _ => write!(f, "{arg}")?,
            }
        }
        f.write_str(")")
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        match &self.grouping {
            Grouping::By(labels) if labels.is_empty() => {}
            Grouping::By(labels) => write!(f, " by ({}) ", Names(labels))?,
            Grouping::Without(labels) => write!(f, " without ({}) ", Names(labels))?,
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (operators, first) = self.chain();
        write!(f, "{first}")?;
        for binary in operators.into_iter().rev() {
            let return_bool = if binary.return_bool { " bool" } else { "" };
            let (op, rhs) = (binary.op.symbol(), &binary.rhs);
            write!(f, " {op}{return_bool}{} {rhs}", binary.matching)?;
        }
        Ok(())
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
                write!(f, " {word} ({})", format_value(value))?;
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
}

fn write_selector(f: &mut Formatter<'_>, vector: &VectorSelector, place: NamePlace) -> fmt::Result {
    let mut matchers = vector.selector.matchers();
    let mut parts = Vec::new();
    if let Some((name, others)) = leading_name(matchers)
        && place == NamePlace::BeforeBraces
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
    parts.extend(matchers.iter().map(matcher));
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
        Some(duration) => write!(f, " offset {duration}"),
        None => Ok(()),
    }
}
