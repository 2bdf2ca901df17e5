//! A query over several lines, as Prometheus lays it out (`promql/parser/prettier.go`).
//!
//! What fits into a line stays in one; what does not is split at its outermost brackets or operator,
//! each part one level further in. The result can be much longer than the query, since a chain of
//! operators is one level per operator, so it is bounded.

use std::fmt::{self, Write};

use super::ast::{Aggregate, Binary, Call, Expr, ExprKind};
use super::printer::{AggregateHead, Bracket, Operator, written};

/// The longest line that is left alone, in bytes.
const LINE_BYTES: usize = 100;
/// The longest text that is laid out.
const MAX_BYTES: usize = 4 << 20;
/// Operators of a chain that cannot fit into a line, each taking four bytes with its operand.
const MANY_OPERATORS: usize = LINE_BYTES / 4 + 1;

/// A query of that text, laid out. `None`: that would take more than 4 MiB.
pub fn layout(expr: &Expr, text: &str) -> Option<String> {
    let out = Sink { text: String::new(), most: MAX_BYTES };
    let mut layout = Layout { text, out };
    layout.expr(expr, 0).ok()?;
    Some(layout.out.text)
}

/// A text that takes no more than so many bytes.
struct Sink {
    text: String,
    most: usize,
}

impl Write for Sink {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if more.len() > self.most - self.text.len() {
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

struct Layout<'a> {
    text: &'a str,
    out: Sink,
}

impl Layout<'_> {
    /// Writes an expression; level 0 goes on in the line that is begun.
    fn expr(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        if let ExprKind::Subquery(subquery) = &expr.kind
            && self.needs_split(expr)
        {
            self.expr(&subquery.expr, level)?;
            return write!(self.out, "{}", Bracket(subquery));
        }
        if let ExprKind::Binary(binary) = &expr.kind {
            return self.chain(expr, binary, level);
        }
        // As there: a subquery that fits is not indented.
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            self.indent(level)?;
        }
        self.begun(expr, level)
    }

    /// Writes an expression whose line is indented already.
    fn begun(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        let splits = match &expr.kind {
            ExprKind::Aggregate(_)
            | ExprKind::Call(_)
            | ExprKind::Paren(_)
            | ExprKind::Unary(..) => self.needs_split(expr),
            _ => false,
        };
        if !splits {
            return write!(self.out, "{}", written(expr, self.text));
        }
        match &expr.kind {
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, level),
            ExprKind::Call(call) => self.call(call, level),
            ExprKind::Paren(inner) => {
                self.out.write_str("(\n")?;
                self.expr(inner, level + 1)?;
                self.close(level)
            }
            ExprKind::Unary(sign, inner) => {
                self.out.write_str(sign.symbol())?;
                match &inner.kind {
                    ExprKind::Binary(_) | ExprKind::Subquery(_) => self.trimmed(inner, level),
                    _ => self.begun(inner, level),
                }
            }
            _ => write!(self.out, "{}", written(expr, self.text)),
        }
    }

    /// Writes an expression without the indentation of its first line.
    fn trimmed(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        let start = self.out.text.len();
        self.expr(expr, level)?;
        let blank = self.out.text[start..].len() - self.out.text[start..].trim_start().len();
        self.out.text.replace_range(start..start + blank, "");
        Ok(())
    }

    fn aggregate(&mut self, aggregate: &Aggregate, level: usize) -> fmt::Result {
        writeln!(self.out, "{}(", AggregateHead(aggregate))?;
        if let Some(param) = &aggregate.param {
            self.expr(param, level + 1)?;
            self.out.write_str(",\n")?;
        }
        self.expr(&aggregate.expr, level + 1)?;
        self.close(level)
    }

    fn call(&mut self, call: &Call, level: usize) -> fmt::Result {
        write!(self.out, "{}(", call.func.name)?;
        for (at, argument) in call.args.iter().enumerate() {
            self.out.write_str(if at == 0 { "\n" } else { ",\n" })?;
            self.expr(argument, level + 1)?;
        }
        self.close(level)
    }

    /// Writes a chain of operators: the one applied last splits first.
    fn chain(&mut self, expr: &Expr, binary: &Binary, level: usize) -> fmt::Result {
        let (operators, first) = binary.chain();
        let mut split = 0;
        let mut node = expr;
        while let ExprKind::Binary(inner) = &node.kind {
            let many = operators.len() - split > MANY_OPERATORS;
            if !many && !self.needs_split(node) {
                break;
            }
            split += 1;
            node = &inner.lhs;
        }
        if split == 0 {
            self.indent(level)?;
            return write!(self.out, "{}", written(expr, self.text));
        }
        let innermost = level + split;
        if split == operators.len() {
            self.expr(first, innermost)?;
        } else {
            self.indent(innermost)?;
            write!(self.out, "{}", written(node, self.text))?;
        }
        for (at, binary) in operators[..split].iter().enumerate().rev() {
            self.out.write_str("\n")?;
            self.indent(level + at)?;
            writeln!(self.out, "{}", Operator(binary))?;
            self.expr(&binary.rhs, level + at + 1)?;
        }
        Ok(())
    }

    fn close(&mut self, level: usize) -> fmt::Result {
        self.out.write_str("\n")?;
        self.indent(level)?;
        self.out.write_str(")")
    }

    fn indent(&mut self, level: usize) -> fmt::Result {
        (0..level).try_for_each(|_| self.out.write_str("  "))
    }

    fn needs_split(&self, expr: &Expr) -> bool {
        let mut line = Sink { text: String::new(), most: LINE_BYTES };
        write!(line, "{}", written(expr, self.text)).is_err()
    }
}

#[cfg(test)]
mod cases;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    fn laid_out(text: &str) -> String {
        let expr = parse(text, &ParseOptions { experimental_functions: true }).expect(text);
        layout(&expr, text).expect("is small")
    }

    /// What Prometheus 2.42 answers to `format_query`, where 3.14 reads the same.
    #[test]
    fn queries_are_laid_out_as_in_prometheus() {
        for (text, want) in cases::CASES {
            assert_eq!(laid_out(text), *want, "{text}");
        }
    }

    /// Since 3.0 a number may be a duration, and stays one.
    #[test]
    fn a_number_keeps_the_form_of_a_duration() {
        let cases = [("90s", "1m30s"), ("a > - 5m", "a > -5m"), ("+1h", "1h"), ("300", "300")];
        for (text, want) in cases {
            assert_eq!(laid_out(text), want, "{text}");
        }
    }

    #[test]
    fn what_would_grow_beyond_measure_is_refused() {
        let text = vec!["a"; 10_000].join(" or ");
        let expr = parse(&text, &ParseOptions::default()).expect("reads");
        assert_eq!(layout(&expr, &text), None, "ten thousand lines, each further in");
        assert!(laid_out(&vec!["a"; 500].join(" or ")).lines().count() > 900);
    }
}
