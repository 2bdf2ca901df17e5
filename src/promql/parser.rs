//! Query text to a well-typed tree: a Pratt parser over the tokens of [`super::lexer`].
//!
//! The grammar and the error texts are those of Prometheus 3.14 (`promql/parser/
//! generated_parser.y`, `parse.go`), the first error being the one reported,
//! one of types only where the text is well written. Deviations, all of
//! them towards saying more or accepting more: a trailing comma is allowed in calls; the modifiers
//! `anchored` and `smoothed` and the operators `</` and `>/` are refused by name; a constant range
//! that is not above zero is refused here and not when it is evaluated.
//!
//! Nesting is bounded by [`MAX_DEPTH`], so that neither this parser nor whoever walks, prints,
//! evaluates or drops the tree can run out of stack. Chains like `a or b or c` may be as
//! long as [`MAX_OPERATORS`] lets them: they are read, and gone down, in a loop.

mod call;
mod duration;
mod hint;
mod modifier;
mod selector;

use std::fmt;
use std::sync::Arc;

use hint::{ENABLE, SPLIT};

use super::ast::{Binary, BinaryOp, Expr, ExprKind, Sign, Span, ValueType};
use super::check::{self, Checked};
use super::lexer::{Token, TokenKind, tokenise};
use super::place::place;
use super::quoting::{INVALID_TEXT, quote};
use crate::base::excerpt;
use crate::regex::Budget;
use crate::window::Selector;

/// How deep an expression may nest: in brackets, calls, signs, and operators on the right of another
/// (`a ^ b ^ c`). A chain to the left, `a or b or c`, is one level, up to [`MAX_OPERATORS`]. A debug build of the
/// parser takes 12 KiB of stack per level, so that 100 fit the 2 MiB of a thread with room for its
/// callers; rules in the field stay below 20.
pub const MAX_DEPTH: usize = 100;

/// How many operators a query may have. An operator takes some 300 bytes and microseconds for each
/// series, so that this bounds what a query of a megabyte can take before it has read one sample.
pub const MAX_OPERATORS: usize = 20_000;

/// What a query may use beyond the stable language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ParseOptions {
    /// Experimental functions and aggregations, and the `fill` modifiers.
    pub experimental_functions: bool,
}

/// Why a text is not a query, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The bytes at fault.
    pub span: Span,
    /// Line of the first of them, from 1.
    pub line: usize,
    /// Its column in bytes, from 1, as Prometheus counts.
    pub column: usize,
    /// What is wrong, in Prometheus's words.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
}

/// As Prometheus says it, `1:23: parse error: …`.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads a query. The tree is well-typed and its spans index `text`.
pub fn parse(text: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let (tokens, patterns) = (tokenise(text), &mut Budget::new());
    let mut parser =
        Parser { text, tokens, at: 0, depth: 0, operators: 0, options: *options, patterns };
    parser.query().map_err(|fault| fault.located(text))
}

/// Reads a series selector and nothing else: `up{job="x"}`.
pub fn parse_selector(text: &str, patterns: &mut Budget) -> Result<Arc<Selector>, ParseError> {
    let tokens = tokenise(text);
    let options = ParseOptions::default();
    let mut parser = Parser { text, tokens, at: 0, depth: 0, operators: 0, options, patterns };
    parser.selector().map_err(|fault| fault.located(text))
}

/// A problem at some bytes, before they are counted into line and column.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Fault {
        Fault { span, message: message.into(), hint: None }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Fault {
        Fault { hint: Some(advice.into()), ..self }
    }

    fn located(self, text: &str) -> ParseError {
        let (line, column) = place(text, self.span.start);
        ParseError { span: self.span, line, column, message: self.message, hint: self.hint }
    }
}

/// An expression that was read, before all of its types are known to be right.
pub(super) struct Tree {
    pub(super) expr: Expr,
    /// The height of its tree, a chain of operators being one level.
    height: usize,
    /// The first fault of its types. It counts only if all that follows is well written.
    pub(super) fault: Checked,
}

impl Tree {
    fn leaf(kind: ExprKind, span: Span) -> Tree {
        Tree { expr: Expr { kind, span }, height: 1, fault: None }
    }
}

/// Binding powers, loosest first; `%` binds like `*`.
const OR: u8 = 1;
const AND: u8 = 2;
const COMPARISON: u8 = 3;
const SUM: u8 = 4;
const PRODUCT: u8 = 5;
const POWER: u8 = 6;

impl BinaryOp {
    /// How tightly it binds; `^` is the one that binds to the right.
    fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => OR,
            BinaryOp::And | BinaryOp::Unless => AND,
            BinaryOp::Add | BinaryOp::Sub => SUM,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => PRODUCT,
            BinaryOp::Pow => POWER,
            _ => COMPARISON,
        }
    }

    fn find(text: &str) -> Option<BinaryOp> {
        use BinaryOp::*;
        const ALL: [BinaryOp; 16] = [
            Add,
            Sub,
            Mul,
            Div,
            Mod,
            Pow,
            Atan2,
            Equal,
            NotEqual,
            Greater,
            Less,
            GreaterEqual,
            LessEqual,
            And,
            Or,
            Unless,
        ];
        ALL.into_iter().find(|op| op.symbol().eq_ignore_ascii_case(text))
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Ends with `End` or `Bad`, which is never passed.
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    operators: usize,
    options: ParseOptions,
    /// What the regular expressions still to come may take.
    patterns: &'a mut Budget,
}

/// Expressions: operators and what stands between them.
impl Parser<'_> {
    fn query(&mut self) -> Result<Expr, Fault> {
        if *self.peek() == TokenKind::End {
            return Err(Fault::new(Span::default(), "no expression found in input"));
        }
        let tree = self.expression(OR)?;
        if *self.peek() != TokenKind::End {
            return Err(self.unexpected("", ""));
        }
        match tree.fault {
            Some(fault) => Err(*fault),
            None => Ok(tree.expr),
        }
    }

    fn selector(&mut self) -> Result<Arc<Selector>, Fault> {
        let span = self.span();
        let tree = match *self.peek() {
            TokenKind::Symbol("{") => self.vector_selector(None)?,
            TokenKind::Word(word) if Self::names_metric(word) => {
                self.advance();
                self.vector_selector(Some((word, span)))?
            }
            _ => return Err(self.unexpected("", "")),
        };
        if *self.peek() != TokenKind::End {
            return Err(self.unexpected("", ""));
        }
        if let Some(fault) = tree.fault {
            return Err(*fault);
        }
        let ExprKind::Vector(vector) = tree.expr.kind else {
            unreachable!("a vector selector was read");
        };
        Ok(vector.selector)
    }

    /// An expression of operators that bind at least as tightly as `loosest`.
    fn expression(&mut self, loosest: u8) -> Result<Tree, Fault> {
        self.depth += 1;
        self.bound(self.depth, self.span())?;
        let mut lhs = self.unary()?;
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= loosest) {
            lhs = self.binary(lhs, op)?;
        }
        self.depth -= 1;
        Ok(lhs)
    }

    fn binary(&mut self, lhs: Tree, op: BinaryOp) -> Result<Tree, Fault> {
        let op_span = self.advance().span;
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            let message = format!("expression has more than {MAX_OPERATORS} operators");
            return Err(Fault::new(op_span, message).advise(SPLIT));
        }
        let (return_bool, matching) = self.matching()?;
        let tightest = op.precedence() + u8::from(op != BinaryOp::Pow);
        let rhs = self.expression(tightest)?;
        let span = Span { start: lhs.expr.span.start, end: rhs.expr.span.end };
        let chained = matches!(lhs.expr.kind, ExprKind::Binary(_));
        let left = if chained { lhs.height } else { 1 + lhs.height };
        let height = left.max(1 + rhs.height);
        self.bound(height, op_span)?;
        let yields = ValueType::Vector;
        let fault = lhs.fault.or(rhs.fault);
        let (lhs, rhs) = (lhs.expr, rhs.expr);
        let mut binary = Binary { op, lhs, rhs, return_bool, matching, yields };
        let fault = fault.or(check::binary(&mut binary, span, op_span));
        Ok(Tree { expr: Expr { kind: ExprKind::Binary(Box::new(binary)), span }, height, fault })
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        match self.peek() {
            TokenKind::Symbol(text) | TokenKind::Word(text) => BinaryOp::find(text),
            _ => None,
        }
    }

    /// `-x` and `+x` bind looser than `^` and tighter than `*`.
    fn unary(&mut self) -> Result<Tree, Fault> {
        let sign = match self.peek() {
            TokenKind::Symbol("-") => Sign::Minus,
            TokenKind::Symbol("+") => Sign::Plus,
            _ => return self.postfix(),
        };
        let start = self.advance().span.start;
        let operand = self.expression(POWER)?;
        let inner = operand.expr.span;
        let span = Span { start, end: inner.end };
        let fault = operand.fault.or_else(|| check::unary(&operand.expr, span));
        let (kind, height) = match (operand.expr.kind, sign) {
            (ExprKind::Number(number), Sign::Minus) => (ExprKind::Number(-number), 1),
            (number @ ExprKind::Number(_), Sign::Plus) => (number, 1),
            (kind, sign) => {
                let expr = Expr { kind, span: inner };
                (ExprKind::Unary(sign, Box::new(expr)), operand.height + 1)
            }
        };
        self.bound(height, span)?;
        Ok(Tree { expr: Expr { kind, span }, height, fault })
    }

    fn primary(&mut self) -> Result<Tree, Fault> {
        let span = self.span();
        match self.peek().clone() {
            TokenKind::Number(number) => {
                self.advance();
                Ok(Tree::leaf(ExprKind::Number(number), span))
            }
            TokenKind::Duration(millis) => {
                self.advance();
                Ok(Tree::leaf(ExprKind::Number(millis as f64 / 1000.0), span))
            }
            TokenKind::String(text) => {
                self.advance();
                Ok(Tree::leaf(ExprKind::String(text), span))
            }
            TokenKind::Bytes(bytes) => {
                self.advance();
                Ok(Tree::leaf(ExprKind::Bytes(bytes), span))
            }
            TokenKind::Symbol("(") => self.parenthesised(),
            TokenKind::Symbol("{") => self.vector_selector(None),
            TokenKind::Word(word) => self.named(word),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn parenthesised(&mut self) -> Result<Tree, Fault> {
        let start = self.advance().span.start;
        let inner = self.expression(OR)?;
        let end = self.expect(")", "", "")?.end;
        let height = inner.height + 1;
        self.bound(height, inner.expr.span)?;
        let kind = ExprKind::Paren(Box::new(inner.expr));
        let expr = Expr { kind, span: Span { start, end } };
        Ok(Tree { expr, height, fault: inner.fault })
    }
}

/// Tokens.
impl<'a> Parser<'a> {
    fn peek(&self) -> &TokenKind<'a> {
        &self.tokens[self.at].kind
    }

    /// The token after the next one.
    fn peek_second(&self) -> &TokenKind<'a> {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    fn span(&self) -> Span {
        self.tokens[self.at].span
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the symbol if it is next.
    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Symbol(next) if *next == symbol);
        if found {
            self.advance();
        }
        found
    }

    /// Whether the keyword, in any case, is next.
    fn at_word(&self, keyword: &str) -> bool {
        matches!(self.peek(), TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Takes the keyword if it is next.
    fn eat_word(&mut self, keyword: &str) -> bool {
        let found = self.at_word(keyword);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str, context: &str, expected: &str) -> Result<Span, Fault> {
        let span = self.span();
        if self.eat(symbol) { Ok(span) } else { Err(self.unexpected(context, expected)) }
    }

    /// The error that the next token does not belong here: `unexpected X in C, expected E`.
    fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let Token { kind, span } = &self.tokens[self.at];
        let text = excerpt(&self.text[span.start..span.end]);
        let found = match kind {
            TokenKind::Bad(message) => {
                let fault = Fault::new(*span, message.clone());
                return self.unclosed(fault);
            }
            // Labels, names and patterns are text.
            TokenKind::Bytes(_) => return Fault::new(*span, INVALID_TEXT),
            TokenKind::End => "end of input".to_owned(),
            // Inside braces every word is a name.
            TokenKind::Word(_) if context == "label matching" => format!("identifier \"{text}\""),
            TokenKind::Symbol("=~" | "!~") => format!("<op:{text}>"),
            TokenKind::Symbol(_) | TokenKind::Word(_) if BinaryOp::find(&text).is_some() => {
                format!("<op:{text}>")
            }
            TokenKind::Symbol(symbol) => format!("\"{symbol}\""),
            TokenKind::Word(word) => match Keyword::find(word) {
                Some(Keyword::Aggregation) => format!("<aggr:{text}>"),
                // To Prometheus these two are no keywords but placeholders for numbers.
                Some(_) if matches!(&*word.to_ascii_lowercase(), "start" | "end") => {
                    format!("\"{text}\"")
                }
                Some(_) => format!("<{text}>"),
                None if word.contains(':') => format!("metric identifier \"{text}\""),
                None => format!("identifier \"{text}\""),
            },
            TokenKind::Number(_) => format!("number \"{text}\""),
            TokenKind::Duration(_) => format!("duration \"{text}\""),
            TokenKind::String(_) => format!("string {}", quote(&text)),
        };
        let context = if context.is_empty() { String::new() } else { format!(" in {context}") };
        let expected =
            if expected.is_empty() { String::new() } else { format!(", expected {expected}") };
        self.unclosed(Fault::new(*span, format!("unexpected {found}{context}{expected}")))
    }

    fn bound(&self, height: usize, span: Span) -> Result<(), Fault> {
        if height <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("expression is nested more than {MAX_DEPTH} levels deep");
        Err(Fault::new(span, message).advise(SPLIT))
    }
}

/// What a word can mean to the grammar beyond being a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    /// `sum` …: still a metric's name unless arguments follow.
    Aggregation,
    /// May name a metric where no keyword is expected.
    Soft,
    /// Never names a metric without quotes.
    Reserved,
}

impl Keyword {
    /// Case does not matter.
    pub(super) fn find(word: &str) -> Option<Keyword> {
        const SOFT: [&str; 17] = [
            "by",
            "without",
            "offset",
            "fill",
            "fill_left",
            "fill_right",
            "and",
            "or",
            "unless",
            "start",
            "end",
            "step",
            "range",
            "min_of",
            "max_of",
            "anchored",
            "smoothed",
        ];
        const RESERVED: [&str; 8] =
            ["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"];
        let among = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
        if super::ast::AggregateOp::find(word).is_some() {
            Some(Keyword::Aggregation)
        } else if among(&SOFT) {
            Some(Keyword::Soft)
        } else if among(&RESERVED) {
            Some(Keyword::Reserved)
        } else {
            None
        }
    }
}

/// Whether a word never names a metric without quotes.
pub(super) fn is_reserved(word: &str) -> bool {
    Keyword::find(word) == Some(Keyword::Reserved)
}

#[cfg(test)]
mod tests;
