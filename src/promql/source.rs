//! What a tree does not keep of the text it was read from, for whoever writes the text anew.
//!
//! Evaluation has no use for how a number or a name was written, so the tree does not carry it; the
//! bytes of a node tell. Without a text there is nothing to tell.

use super::ast::{Expr, ExprKind, Span};
use super::lexer::{Token, TokenKind, tokenise};
use crate::base::{METRIC_NAME, format_duration};

/// A number that was written as a duration, in canonical form.
pub(super) fn duration(expr: &Expr, text: &str) -> Option<String> {
    let written = text.get(expr.span.start..expr.span.end)?;
    let tokens = tokenise(written);
    let signs = |token: &&Token<'_>| matches!(token.kind, TokenKind::Symbol("+" | "-"));
    let TokenKind::Duration(millis) = tokens.iter().find(|token| !signs(token))?.kind else {
        return None;
    };
    let ExprKind::Number(number) = expr.kind else { return None };
    let sign = if number < 0.0 { "-" } else { "" };
    let duration = std::time::Duration::from_millis(millis.unsigned_abs());
    Some(format!("{sign}{}", format_duration(duration)))
}

/// Where the name of a selector was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamePlace {
    /// `name{…}`
    Before,
    /// `{a="b", "name"}`, as a text among the matchers, behind so many of them.
    Inside(usize),
    /// There is none, or it is a matcher like others, `{__name__="a"}`.
    None,
}

/// Where the name of the selector stands that was read from these bytes of a query.
pub fn name_place(span: Span, text: &str) -> NamePlace {
    let tokens = tokenise(text.get(span.start..span.end).unwrap_or(""));
    if matches!(tokens.first(), Some(Token { kind: TokenKind::Word(_), .. })) {
        return NamePlace::Before;
    }
    let is_text = |token: &Token<'_>| matches!(token.kind, TokenKind::String(_));
    let mut matchers = 0;
    for pair in tokens.windows(3) {
        matchers += usize::from(matches!(pair[0].kind, TokenKind::Symbol(",")));
        let begins = matches!(pair[0].kind, TokenKind::Symbol("{" | ","));
        if begins && is_text(&pair[1]) && matches!(pair[2].kind, TokenKind::Symbol("," | "}")) {
            return NamePlace::Inside(matchers);
        }
    }
    NamePlace::None
}

/// Whether a selector has its name as a matcher, `{__name__="a"}`.
pub(super) fn names_by_matcher(span: Span, text: &str) -> bool {
    let written = text.get(span.start..span.end).unwrap_or("");
    let tokens = tokenise(written);
    tokens.windows(2).any(|pair| {
        let name = match &pair[0].kind {
            TokenKind::Word(word) => *word,
            TokenKind::String(word) => word,
            _ => "",
        };
        name == METRIC_NAME && matches!(pair[1].kind, TokenKind::Symbol("="))
    })
}
