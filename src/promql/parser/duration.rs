//! The grammar of durations: literals, and arithmetic with `step()` and `range()`.

use super::{Fault, Parser};
use crate::promql::ast::{DurationExpr, DurationOp, Span};
use crate::promql::durations::{self, QueryTimes};
use crate::promql::lexer::TokenKind;

const EXPECTED: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// A duration between brackets, above zero as far as that can be known yet.
    pub(super) fn range_duration(&mut self, context: &str) -> Result<DurationExpr, Fault> {
        let (start, outside) = (self.span().start, self.depth);
        let duration = self.duration(0, context)?;
        self.depth = outside;
        let span = Span { start, end: self.tokens[self.at - 1].span.end };
        let duration = settle(duration, span)?;
        if durations::is_constant(&duration) {
            durations::resolve_positive(&duration, QueryTimes::default())
                .map_err(|message| not_positive(span, message))?;
        }
        Ok(duration)
    }

    /// A duration behind `offset`: operators belong to the expression around it unless they stand
    /// in parentheses, so `x offset 1m + 2` is `(x offset 1m) + 2`.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr, Fault> {
        let (start, outside) = (self.span().start, self.depth);
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        let operand = self.duration_operand("offset")?;
        self.depth = outside;
        let span = Span { start, end: self.tokens[self.at - 1].span.end };
        settle(if negative { DurationExpr::Negate(Box::new(operand)) } else { operand }, span)
    }

    /// Every level and every operator of one duration counts against the limit of nesting, and is
    /// given back only when the duration is complete: so its tree can be no higher.
    fn duration(&mut self, loosest: u8, context: &str) -> Result<DurationExpr, Fault> {
        self.deepen()?;
        let mut lhs = self.signed_duration(context)?;
        while let Some(op) = self.duration_op().filter(|op| op.precedence() >= loosest) {
            self.deepen()?;
            self.advance();
            let tightest = op.precedence() + u8::from(op != DurationOp::Pow);
            let rhs = self.duration(tightest, context)?;
            lhs = DurationExpr::Binary(op, Box::new((lhs, rhs)));
        }
        Ok(lhs)
    }

    fn deepen(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        self.bound(self.depth, self.span())
    }

    fn signed_duration(&mut self, context: &str) -> Result<DurationExpr, Fault> {
        if self.eat("-") {
            let operand = self.duration(DurationOp::Pow.precedence(), context)?;
            return Ok(DurationExpr::Negate(Box::new(operand)));
        }
        if self.eat("+") {
            return self.duration(DurationOp::Pow.precedence(), context);
        }
        self.duration_operand(context)
    }

    fn duration_operand(&mut self, context: &str) -> Result<DurationExpr, Fault> {
        match *self.peek() {
            TokenKind::Duration(millis) => {
                self.advance();
                Ok(DurationExpr::Millis(millis))
            }
            TokenKind::Number(seconds) => {
                self.advance();
                Ok(DurationExpr::Seconds(seconds))
            }
            TokenKind::Symbol("(") => {
                self.advance();
                let inner = self.duration(0, context)?;
                self.expect(")", context, "\")\"")?;
                Ok(inner)
            }
            TokenKind::Word(word) => self.duration_call(&word.to_lowercase(), context),
            _ => Err(self.unexpected(context, EXPECTED)),
        }
    }

    fn duration_call(&mut self, name: &str, context: &str) -> Result<DurationExpr, Fault> {
        if !matches!(name, "step" | "range" | "min_of" | "max_of") {
            return Err(self.unexpected(context, EXPECTED));
        }
        self.advance();
        self.expect("(", context, "\"(\"")?;
        let duration = match name {
            "step" => DurationExpr::Step,
            "range" => DurationExpr::Range,
            _ => {
                let first = self.duration(0, context)?;
                self.expect(",", context, "\",\"")?;
                let sides = Box::new((first, self.duration(0, context)?));
                if name == "min_of" {
                    DurationExpr::MinOf(sides)
                } else {
                    DurationExpr::MaxOf(sides)
                }
            }
        };
        self.expect(")", context, "\")\"")?;
        Ok(duration)
    }

    fn duration_op(&self) -> Option<DurationOp> {
        let TokenKind::Symbol(symbol) = self.peek() else { return None };
        Some(match *symbol {
            "+" => DurationOp::Add,
            "-" => DurationOp::Sub,
            "*" => DurationOp::Mul,
            "/" => DurationOp::Div,
            "%" => DurationOp::Mod,
            "^" => DurationOp::Pow,
            _ => return None,
        })
    }
}

fn not_positive(span: Span, message: String) -> Fault {
    let is_zero = message == durations::NOT_POSITIVE;
    let fault = Fault::new(span, message);
    if is_zero { fault.advise("write how long, such as `5m`") } else { fault }
}

/// A lone literal becomes whole milliseconds, sign included; arithmetic stays as it was written.
fn settle(duration: DurationExpr, span: Span) -> Result<DurationExpr, Fault> {
    let (literal, sign) = match &duration {
        DurationExpr::Negate(inner) => (&**inner, -1),
        other => (other, 1),
    };
    let millis = match literal {
        DurationExpr::Millis(millis) => *millis,
        DurationExpr::Seconds(seconds) if seconds.abs() <= durations::LONGEST_SECONDS => {
            (seconds * 1000.0).round() as i64
        }
        DurationExpr::Seconds(_) => return Err(Fault::new(span, "duration out of range")),
        _ => return Ok(duration),
    };
    Ok(DurationExpr::Millis(sign * millis))
}
