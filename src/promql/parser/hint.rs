//! What helps whoever wrote a query that is none: beside Prometheus's words, never in them.

use super::{Fault, Parser};
use crate::promql::ast::Span;
use crate::promql::lexer::{EXTRA_PAREN, TokenKind};
use crate::promql::place::place;

/// What can be done about a query that is too deep or too long.
pub(super) const SPLIT: &str =
    "let a recording rule evaluate a part of it, or select by a pattern instead of many operators";

/// How what [`ParseOptions::experimental_functions`] refuses is allowed.
pub(super) const ENABLE: &str = "experimental: set `promql.experimental_functions: true` in the configuration, or \
                      give the command `--enable-feature promql-experimental-functions`";

impl Parser<'_> {
    /// A fault at the next token, with the bracket that should have been closed before it.
    pub(super) fn unclosed(&self, fault: Fault) -> Fault {
        let closes = match (&self.tokens[self.at].kind, fault.message.as_str()) {
            (TokenKind::Symbol(symbol @ (")" | "]" | "}")), _) => Some(*symbol),
            (TokenKind::Bad(_), EXTRA_PAREN) => {
                return fault.advise("no `(` is open here: take the `)` away");
            }
            (TokenKind::Bad(_), message) if message.starts_with("unterminated") => {
                return fault.advise("the quote that begins the text must end it too");
            }
            (TokenKind::Bad(_), _) if fault.span.start == self.text.len() => None,
            _ => return fault,
        };
        let mut open: Vec<(&str, Span)> = Vec::new();
        for token in &self.tokens[..self.at] {
            match token.kind {
                TokenKind::Symbol(symbol @ ("(" | "[" | "{")) => open.push((symbol, token.span)),
                TokenKind::Symbol(")" | "]" | "}") => drop(open.pop()),
                _ => {}
            }
        }
        let Some((opening, span)) = open.pop() else { return fault };
        let closing = match opening {
            "(" => ")",
            "[" => "]",
            _ => "}",
        };
        if closes == Some(closing) {
            return fault;
        }
        let (line, column) = place(self.text, span.start);
        fault.advise(format!("the `{opening}` at {line}:{column} is not closed: write `{closing}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParseError, ParseOptions, parse};

    const ALL: ParseOptions = ParseOptions { experimental_functions: true };

    #[test]
    fn errors_say_what_helps() {
        let unclosed = |what: &str, at: &str, with: &str| {
            Some(format!("the `{what}` at {at} is not closed: write `{with}`"))
        };
        let none = Some("no `(` is open here: take the `)` away".to_owned());
        let cases = [
            ("sum(rate(x[5m])", unclosed("(", "1:4", ")")),
            ("sum(\n  rate(x[5m]", unclosed("(", "2:7", ")")),
            ("x[5m", unclosed("[", "1:2", "]")),
            ("sum(x{a='b'", unclosed("{", "1:6", "}")),
            ("(x{a='('} + ", unclosed("(", "1:1", ")")),
            ("sum(x[5m)", unclosed("[", "1:6", "]")),
            ("x)", none),
            ("x{a='b}", Some("the quote that begins the text must end it too".to_owned())),
            ("x +", None),
            ("x[0s]", Some("write how long, such as `5m`".to_owned())),
            ("x[1/0]", None),
            ("RATE(x[5m])", Some("did you mean `rate`?".to_owned())),
            ("sum(x y)", None),
            ("sum(x +)", None),
            ("x[5m:1m:]", None),
        ];
        for (text, want) in cases {
            let error = parse(text, &ALL).expect_err(text);
            assert_eq!(error.hint, want, "{text}: {error}");
        }
        let long = format!("x{{a=~'({}){{1000}}'}}", "b".repeat(60));
        let error = parse(&long, &ALL).expect_err("is large");
        assert_eq!(error.hint.as_deref(), Some("repeat fewer times, or use shorter patterns"));
        for text in
            ["limitk(1, x)", "mad_over_time(x[1m])", "x + fill(0) y", "x + on(a) fill_left(0) y"]
        {
            let error = parse(text, &ParseOptions::default()).expect_err(text);
            assert_eq!(error.hint.as_deref(), Some(super::ENABLE), "{text}: {error}");
        }
        for text in ["x{a=~'*'}".to_owned(), "(".repeat(200), format!("1{}", "+1".repeat(20_001))] {
            assert!(matches!(parse(&text, &ALL), Err(ParseError { hint: Some(_), .. })));
        }
    }
}
