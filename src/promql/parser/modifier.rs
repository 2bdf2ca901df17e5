//! What follows an operand or an operator: ranges, `offset`, `@`, and how vectors are matched.

use super::{ENABLE, Fault, Parser, Tree};
use crate::base::{Timestamp, excerpt};
use crate::promql::ast::{
    AtModifier, Expr, ExprKind, Group, Matching, MatrixSelector, Offset, Span, Subquery,
};
use crate::promql::check;
use crate::promql::lexer::TokenKind;

impl Parser<'_> {
    /// An operand and its modifiers, which bind tighter than every operator.
    pub(super) fn postfix(&mut self) -> Result<Tree, Fault> {
        let mut tree = self.primary()?;
        loop {
            if self.eat("[") {
                tree = self.bracket(tree)?;
            } else if self.eat("@") {
                self.at_modifier(&mut tree.expr)?;
            } else if self.eat_word("offset") {
                self.offset_modifier(&mut tree.expr)?;
            } else if self.at_word("anchored") || self.at_word("smoothed") {
                let token = self.advance();
                let word = self.text[token.span.start..token.span.end].to_lowercase();
                let message = format!("the modifier {word} is experimental and not supported");
                return Err(Fault::new(token.span, message));
            } else {
                return Ok(tree);
            }
        }
    }

    /// `[range]` or `[range:step]`, behind its opening bracket.
    fn bracket(&mut self, tree: Tree) -> Result<Tree, Fault> {
        let open = self.tokens[self.at - 1].span.start;
        let range = self.range_duration("subquery or range selector")?;
        let Tree { expr, height, fault } = tree;
        let inner = expr.span;
        if self.eat(":") {
            let last = matches!(self.peek(), TokenKind::Symbol("]"));
            let step = match last {
                true => None,
                false => Some(self.range_duration("subquery selector")?),
            };
            let end = self.expect("]", "subquery selector", "\"]\"")?.end;
            let span = Span { start: inner.start, end };
            let fault = fault.or_else(|| check::subquery(&expr, span));
            self.bound(height + 1, span)?;
            let subquery = Subquery { expr, range, step, offset: None, at: None };
            let kind = ExprKind::Subquery(Box::new(subquery));
            return Ok(Tree { expr: Expr { kind, span }, height: height + 1, fault });
        }
        let end = self.expect("]", "subquery or range", "\":\" or \"]\"")?.end;
        let (span, brackets) = (Span { start: inner.start, end }, Span { start: open, end });
        let ExprKind::Vector(vector) = expr.kind else {
            return Err(Fault::new(brackets, "ranges only allowed for vector selectors"));
        };
        if vector.offset.is_some() {
            return Err(Fault::new(brackets, "no offset modifiers allowed before range"));
        }
        if vector.at.is_some() {
            return Err(Fault::new(brackets, "no @ modifiers allowed before range"));
        }
        let matrix = MatrixSelector { vector, vector_span: inner, range };
        Ok(Tree { fault, ..Tree::leaf(ExprKind::Matrix(matrix), span) })
    }

    fn offset_modifier(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        let duration = self.offset_duration()?;
        expr.span.end = self.tokens[self.at - 1].span.end;
        let Some((offset, _)) = modifiers(&mut expr.kind) else {
            return Err(misplaced(expr.span, "offset modifier"));
        };
        if offset.replace(duration).is_some() {
            return Err(Fault::new(expr.span, "offset may not be set multiple times"));
        }
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        let time = self.at_time(expr.span)?;
        expr.span.end = self.tokens[self.at - 1].span.end;
        let Some((_, at)) = modifiers(&mut expr.kind) else {
            return Err(misplaced(expr.span, "@ modifier"));
        };
        if at.replace(time).is_some() {
            return Err(Fault::new(expr.span, "@ <timestamp> may not be set multiple times"));
        }
        Ok(())
    }

    fn at_time(&mut self, expr: Span) -> Result<AtModifier, Fault> {
        for (word, modifier) in [("start", AtModifier::Start), ("end", AtModifier::End)] {
            if self.eat_word(word) {
                self.expect("(", "@", "timestamp")?;
                self.expect(")", "@", "timestamp")?;
                return Ok(modifier);
            }
        }
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        let number = match *self.peek() {
            TokenKind::Number(number) => number,
            // As everywhere a number stands, `1m40s` is 100.
            TokenKind::Duration(millis) => millis as f64 / 1000.0,
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        let span = Span { start: expr.start, end: self.advance().span.end };
        let seconds = if negative { -number } else { number };
        // Milliseconds must fit into an i64.
        if seconds.is_nan() || (seconds * 1000.0).abs() >= i64::MAX as f64 {
            let seconds = match seconds {
                f64::INFINITY => "+Inf".to_owned(),
                f64::NEG_INFINITY => "-Inf".to_owned(),
                _ => format!("{seconds:.6}"),
            };
            let message = format!("timestamp out of bounds for @ modifier: {}", excerpt(&seconds));
            return Err(Fault::new(span, message));
        }
        Ok(AtModifier::Time(Timestamp::from_seconds(seconds)))
    }

    /// `bool`, `on`, `ignoring`, `group_left`, `group_right` and `fill`, behind an operator.
    pub(super) fn matching(&mut self) -> Result<(bool, Matching), Fault> {
        let return_bool = self.eat_word("bool");
        let mut matching = Matching::default();
        if self.at_word("on") || self.at_word("ignoring") {
            matching.on = self.at_word("on");
            self.advance();
            matching.labels = self.grouping_labels()?;
            let groups = [("group_left", Group::ManyToOne), ("group_right", Group::OneToMany)];
            if let Some((_, group)) = groups.into_iter().find(|(word, _)| self.eat_word(word)) {
                matching.group = group;
                if matches!(self.peek(), TokenKind::Symbol("(")) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill(&mut matching)?;
        Ok((return_bool, matching))
    }

    /// `fill (v)`, or `fill_left (v)` and `fill_right (v)` in either order. Without a parenthesis
    /// behind it the word is a metric's name.
    fn fill(&mut self, matching: &mut Matching) -> Result<(), Fault> {
        while matches!(self.peek_second(), TokenKind::Symbol("(")) {
            let fresh_left = matching.fill_left.is_none();
            let fresh_right = matching.fill_right.is_none();
            let left = self.at_word("fill_left") && fresh_left;
            let right = self.at_word("fill_right") && fresh_right;
            let both = self.at_word("fill") && fresh_left && fresh_right;
            if !(left || right || both) {
                return Ok(());
            }
            let span = self.advance().span;
            if !self.options.experimental_functions {
                let message = "binop fill modifiers are experimental and not enabled";
                return Err(Fault::new(span, message).advise(ENABLE));
            }
            let value = self.fill_value()?;
            if left || both {
                matching.fill_left = Some(value);
            }
            if right || both {
                matching.fill_right = Some(value);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Fault> {
        self.expect("(", "fill", "\"(\"")?;
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        let value = match *self.peek() {
            TokenKind::Number(number) => number,
            TokenKind::Duration(millis) => millis as f64 / 1000.0,
            _ => return Err(self.unexpected("fill", "number")),
        };
        self.advance();
        self.expect(")", "fill", "\")\"")?;
        Ok(if negative { -value } else { value })
    }
}

/// Where an expression keeps its offset and its `@`, if it can have them.
fn modifiers(kind: &mut ExprKind) -> Option<(&mut Offset, &mut Option<AtModifier>)> {
    match kind {
        ExprKind::Vector(vector) => Some((&mut vector.offset, &mut vector.at)),
        ExprKind::Matrix(matrix) => Some((&mut matrix.vector.offset, &mut matrix.vector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

fn misplaced(span: Span, what: &str) -> Fault {
    let message = format!(
        "{what} must be preceded by an instant vector selector or range vector selector or a \
         subquery"
    );
    Fault::new(span, message)
}
