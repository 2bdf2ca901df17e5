//! Selectors: metric names, matchers and the labels of groupings.

use std::sync::Arc;

use super::{Fault, Parser, Tree, is_reserved};
use crate::base::{METRIC_NAME, excerpt, is_label_name, quoted};
use crate::promql::ast::{ExprKind, Span, VectorSelector};
use crate::promql::check;
use crate::promql::lexer::{Token, TokenKind};
use crate::regex::Pattern;
use crate::window::{MatchOp, Matcher, Selector};

impl Parser<'_> {
    /// `name`, `name{…}` or `{…}`. The name is the first matcher, wherever it was written.
    pub(super) fn vector_selector(&mut self, name: Option<(&str, Span)>) -> Result<Tree, Fault> {
        let mut span = self.span();
        let mut matchers = Vec::new();
        let mut names = Vec::new();
        if let Some((name, at)) = name {
            span = at;
            names.push(name.to_owned());
        }
        if self.eat("{") {
            self.matchers(&mut matchers, &mut names)?;
            span.end = self.expect("}", "label matching", "\",\" or \"}\"")?.end;
        }
        let other = names.get(1).map(String::as_str).or_else(|| {
            let matcher = matchers.iter().find(|matcher: &&Matcher| matcher.name == METRIC_NAME);
            matcher.map(|matcher| matcher.value.as_str())
        });
        let twice = names.first().zip(other).map(|(name, other)| {
            let (name, other) = (quoted(&excerpt(name)), quoted(&excerpt(other)));
            let message = format!("metric name must not be set twice: {name} or {other}");
            Box::new(Fault::new(span, message))
        });
        if let Some(name) = names.first() {
            matchers.insert(0, Matcher::equal(METRIC_NAME, name));
        }
        let selector = Arc::new(Selector::new(matchers));
        let vector = VectorSelector { selector, offset: None, at: None };
        let fault = twice.or_else(|| check::selector(&vector.selector, span));
        Ok(Tree { fault, ..Tree::leaf(ExprKind::Vector(vector), span) })
    }

    /// What stands between braces; a trailing comma is allowed. A text without operator is the
    /// metric's name.
    fn matchers(
        &mut self,
        matchers: &mut Vec<Matcher>,
        names: &mut Vec<String>,
    ) -> Result<(), Fault> {
        while !matches!(self.peek(), TokenKind::Symbol("}")) {
            let at = self.at;
            let token = self.advance();
            match token.kind {
                TokenKind::String(name) if matches!(self.peek(), TokenKind::Symbol("," | "}")) => {
                    names.push(name);
                }
                TokenKind::String(name) => matchers.push(self.matcher(name, token.span)?),
                TokenKind::Word(name) => {
                    matchers.push(self.matcher(name.to_owned(), token.span)?);
                }
                _ => {
                    // The last token is never passed, so one back might be one before it.
                    self.at = at;
                    return Err(self.unexpected("label matching", "identifier or \"}\""));
                }
            }
            if !self.eat(",") {
                break;
            }
        }
        Ok(())
    }

    fn matcher(&mut self, name: String, start: Span) -> Result<Matcher, Fault> {
        if name.is_empty() {
            return Err(Fault::new(start, "invalid label name \"\""));
        }
        let TokenKind::Symbol(op @ ("=" | "!=" | "=~" | "!~")) = *self.peek() else {
            return Err(self.unexpected("label matching", "label matching operator"));
        };
        self.advance();
        if !matches!(self.peek(), TokenKind::String(_)) {
            return Err(self.unexpected("label matching", "string"));
        }
        let Token { kind: TokenKind::String(value), span } = self.advance() else {
            unreachable!("the next token was just seen to be a string");
        };
        // As in Prometheus, a bad pattern is a fault of the matcher as a whole.
        let span = Span { start: start.start, end: span.end };
        let mut pattern = || {
            let compiled = Pattern::within(&value, self.patterns);
            compiled.map_err(|error| Fault::new(span, error.to_string()).advise(error.hint()))
        };
        let op = match op {
            "=" => MatchOp::Equal,
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex(pattern()?),
            _ => MatchOp::NotRegex(pattern()?),
        };
        Ok(Matcher { name, op, value })
    }

    /// `(a, "b.c", sum)`: any word is a label here, a trailing comma is allowed.
    pub(super) fn grouping_labels(&mut self) -> Result<Vec<String>, Fault> {
        const CONTEXT: &str = "grouping opts";
        self.expect("(", CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        while !matches!(self.peek(), TokenKind::Symbol(")")) {
            match self.peek() {
                TokenKind::Word(label) if is_label_name(label) => labels.push((*label).to_owned()),
                TokenKind::String(label) if !label.is_empty() => labels.push(label.clone()),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            }
            self.advance();
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", CONTEXT, "\",\" or \")\"")?;
        Ok(labels)
    }

    /// Whether a word may be a metric's name as it stands.
    pub(super) fn names_metric(word: &str) -> bool {
        !is_reserved(word)
    }
}
