//! What starts with a name: function calls, aggregations, metrics.

use super::{ENABLE, Fault, Keyword, OR, Parser, Tree};
use crate::base::{closest, excerpt, quoted};
use crate::promql::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, Grouping, Span};
use crate::promql::check;
use crate::promql::functions::{self, Function};
use crate::promql::lexer::TokenKind;

/// Keywords that are functions too.
const CALLED_KEYWORDS: [&str; 6] = ["start", "end", "step", "range", "min_of", "max_of"];

impl Parser<'_> {
    pub(super) fn named(&mut self, word: &str) -> Result<Tree, Fault> {
        let arguments = matches!(self.peek_second(), TokenKind::Symbol("("));
        if let Some(op) = AggregateOp::find(word) {
            let grouping = matches!(self.peek_second(), TokenKind::Word(next)
                if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
            if arguments || grouping {
                return self.aggregate(op);
            }
        }
        if !Self::names_metric(word) {
            return Err(self.unexpected("", ""));
        }
        if arguments && !word.contains(':') {
            let names_function = CALLED_KEYWORDS.iter().any(|w| w.eq_ignore_ascii_case(word));
            if Keyword::find(word) == Some(Keyword::Soft) && !names_function {
                self.advance();
                return Err(self.unexpected("", ""));
            }
            return self.call(word);
        }
        let span = self.advance().span;
        self.vector_selector(Some((word, span)))
    }

    fn call(&mut self, word: &str) -> Result<Tree, Fault> {
        let name_span = self.advance().span;
        let (mut args, height) = self.arguments()?;
        // As in Prometheus, a name is looked up when its call is complete.
        let func = self.function(word, name_span)?;
        let span = Span { start: name_span.start, end: self.tokens[self.at - 1].span.end };
        let fault = check::call(func, &mut args, self.text, span);
        let args = args.into_iter().map(|arg| arg.expr).collect();
        let kind = ExprKind::Call(Call { func, args });
        Ok(Tree { expr: Expr { kind, span }, height: height + 1, fault })
    }

    fn function(&self, word: &str, span: Span) -> Result<&'static Function, Fault> {
        // These words are keywords as well, and of keywords the case does not matter.
        let keyword = CALLED_KEYWORDS.iter().find(|keyword| keyword.eq_ignore_ascii_case(word));
        let Some(func) = functions::find(keyword.copied().unwrap_or(word)) else {
            return Err(Fault {
                span,
                message: format!("unknown function with name {}", quoted(&excerpt(word))),
                hint: similar(word).map(|name| format!("did you mean `{name}`?")),
            });
        };
        if func.experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", quoted(&excerpt(word)));
            return Err(Fault::new(span, message).advise(ENABLE));
        }
        Ok(func)
    }

    /// `(a, b)`, a trailing comma allowed; the height of the highest argument.
    fn arguments(&mut self) -> Result<(Vec<Tree>, usize), Fault> {
        self.expect("(", "", "\"(\"")?;
        let mut args = Vec::new();
        let mut highest = 0;
        while !matches!(self.peek(), TokenKind::Symbol(")")) {
            let argument = self.expression(OR)?;
            highest = highest.max(argument.height);
            self.bound(highest + 1, argument.expr.span)?;
            args.push(argument);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", "function call args", "\",\" or \")\"")?;
        Ok((args, highest))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Tree, Fault> {
        let op_span = self.advance().span;
        let before = self.grouping()?;
        if before.is_some() && !matches!(self.peek(), TokenKind::Symbol("(")) {
            return Err(self.unexpected("aggregation", ""));
        }
        let (args, height) = self.arguments()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        // Whether a grouping follows was seen before the rest is looked at.
        if matches!(self.peek(), TokenKind::Bad(_)) {
            return Err(self.unexpected("", ""));
        }
        let experimental = matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        if experimental && !self.options.experimental_functions {
            let message = format!("{}() is experimental and not enabled", op.name());
            return Err(Fault::new(op_span, message).advise(ENABLE));
        }
        let span = Span { start: op_span.start, end: self.tokens[self.at - 1].span.end };
        let grouping = grouping.unwrap_or(Grouping::By(Vec::new()));
        let (mut param, mut expr) = check::arguments(op, args, span)?;
        let fault = check::aggregate(op, param.as_mut(), &mut expr);
        let (param, expr) = (param.map(|param| param.expr), expr.expr);
        let aggregate = Aggregate { op, expr, param, grouping };
        let kind = ExprKind::Aggregate(Box::new(aggregate));
        Ok(Tree { expr: Expr { kind, span }, height: height + 1, fault })
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Fault> {
        if self.eat_word("by") {
            return self.grouping_labels().map(Grouping::By).map(Some);
        }
        if self.eat_word("without") {
            return self.grouping_labels().map(Grouping::Without).map(Some);
        }
        Ok(None)
    }
}

/// The closest function or aggregation; of equally close ones the one that begins most alike.
fn similar(word: &str) -> Option<&'static str> {
    let names = functions::FUNCTIONS.iter().map(|function| function.name);
    let mut known: Vec<_> = names.chain(AggregateOp::ALL.map(AggregateOp::name)).collect();
    let alike = |name: &str| name.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
    known.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    closest(word, known)
}
