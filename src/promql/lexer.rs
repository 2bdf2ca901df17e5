//! Query text to tokens, each with its bytes.
//!
//! Words stay words here: PromQL's keywords are names in most places, so only the parser can tell
//! `sum` the operator from `sum` the metric. What a character means does depend on the bracket it
//! stands in, as in `promql/parser/lex.go`: inside braces every word is a label, inside brackets
//! `:` stands alone. The first bad character ends the list as a [`TokenKind::Bad`], so that an
//! earlier syntax error is still reported first. Lexing never fails and never recurses.

use super::ast::Span;
use super::quoting;
use crate::base::{DurationError, excerpt, parse_duration, quoted, quoted_char};

/// A token and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) span: Span,
}

/// What a token is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum TokenKind<'a> {
    /// An identifier or keyword; outside brackets it may hold colons.
    Word(&'a str),
    /// A number without unit, `Inf` and `NaN` included.
    Number(f64),
    /// A duration, in milliseconds.
    Duration(i64),
    /// A quoted text, unescaped.
    String(String),
    /// A quoted text whose escapes make it no UTF-8.
    Bytes(Vec<u8>),
    /// An operator or a bracket, as it is written.
    Symbol(&'static str),
    /// The end of the text.
    End,
    /// Something no token starts with, and what to say about it.
    Bad(String),
}

/// The operators and brackets, longer ones before their own beginnings.
const SYMBOLS: [&str; 24] = [
    "==", "=~", "!=", "!~", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "^", "@", ",", "(",
    ")", "{", "}", "[", "]", ":",
];

/// The operators of native-histogram trimming, which this program does not know.
const TRIM_SYMBOLS: [&str; 2] = ["</", ">/"];

/// What Go shows of the end of a text that is read as a character.
const GO_END: char = '\u{fffd}';

pub(super) const EXTRA_PAREN: &str = "unexpected right parenthesis ')'";

/// All tokens of a text; the last one is `End` or `Bad`.
pub(super) fn tokenise(text: &str) -> Vec<Token<'_>> {
    let mut lexer =
        Lexer { text, at: 0, parens: 0, in_braces: false, in_brackets: false, after_colon: false };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let mut start = lexer.at;
        let kind = lexer.token().unwrap_or_else(TokenKind::Bad);
        // Prometheus has taken this one before it complains, so it points behind it.
        if matches!(&kind, TokenKind::Bad(message) if message == EXTRA_PAREN) {
            lexer.at += 1;
            start = lexer.at;
        }
        let last = matches!(kind, TokenKind::End | TokenKind::Bad(_));
        tokens.push(Token { kind, span: Span { start, end: lexer.at } });
        if last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Whether a colon stood in the brackets.
    after_colon: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves over spaces and comments, which may stand anywhere.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.at += blank;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<TokenKind<'a>, String> {
        let Some(first) = self.rest().chars().next() else { return self.end() };
        match first {
            '"' | '\'' | '`' => self.string(first),
            '0'..='9' if !self.in_braces => self.number_or_duration(),
            '.' if !self.in_braces && self.digit_follows() => self.number_or_duration(),
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.word()),
            ':' if !self.in_braces && !self.in_brackets => Ok(self.word()),
            _ => self.symbol(first),
        }
    }

    fn end(&self) -> Result<TokenKind<'a>, String> {
        let unclosed = if self.in_braces {
            "unexpected end of input inside braces"
        } else if self.in_brackets {
            "unclosed left bracket"
        } else if self.parens > 0 {
            "unclosed left parenthesis"
        } else {
            return Ok(TokenKind::End);
        };
        Err(unclosed.to_owned())
    }

    fn digit_follows(&self) -> bool {
        self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit)
    }

    fn word(&mut self) -> TokenKind<'a> {
        let colons = !self.in_braces && !self.in_brackets;
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        let length = self.rest().find(|c| !in_word(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        self.at += length;
        if self.in_braces {
            return TokenKind::Word(word);
        }
        match special_number(word) {
            Some(number) => TokenKind::Number(number),
            None => TokenKind::Word(word),
        }
    }

    fn string(&mut self, quote: char) -> Result<TokenKind<'a>, String> {
        let (value, length) = quoting::unquote_bytes(self.rest(), quote)?;
        // What a client sent in bytes that are no UTF-8 has come to this.
        if self.rest()[..length].contains(char::REPLACEMENT_CHARACTER) {
            return Err("invalid UTF-8 rune".to_owned());
        }
        self.at += length;
        Ok(match String::from_utf8(value) {
            Ok(text) => TokenKind::String(text),
            Err(error) => TokenKind::Bytes(error.into_bytes()),
        })
    }

    fn symbol(&mut self, first: char) -> Result<TokenKind<'a>, String> {
        if !self.in_braces && TRIM_SYMBOLS.iter().any(|trim| self.rest().starts_with(trim)) {
            return Err(format!(
                "the operator {first}/ works on native histograms only, which are not supported"
            ));
        }
        let symbol = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)).copied();
        if self.in_braces {
            return self.symbol_in_braces(first, symbol);
        }
        let second = self.rest().chars().nth(1);
        match (symbol, second) {
            (Some("=~"), _) => Err("unexpected character after '=': '~'".to_owned()),
            (None | Some("!~"), second) if first == '!' => {
                let second = quoted_char(second.unwrap_or(GO_END));
                Err(format!("unexpected character after '!': {second}"))
            }
            (Some("!~") | None, _) => Err(format!("unexpected character: {}", quoted_char(first))),
            (Some(symbol), _) => {
                self.track(symbol)?;
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
        }
    }

    fn symbol_in_braces(
        &mut self,
        first: char,
        symbol: Option<&'static str>,
    ) -> Result<TokenKind<'a>, String> {
        let symbol = match symbol {
            // `==` is two equal signs here, the second of which is then unexpected.
            Some("==") => "=",
            Some(symbol @ ("=" | "=~" | "!=" | "!~" | ",")) => symbol,
            Some("}") => {
                self.in_braces = false;
                "}"
            }
            Some("{") => return Err("unexpected left brace '{'".to_owned()),
            None if first == '!' => {
                let second = quoted_char(self.rest().chars().nth(1).unwrap_or(GO_END));
                return Err(format!("unexpected character after '!' inside braces: {second}"));
            }
            _ => {
                let first = quoted_char(first);
                return Err(format!("unexpected character inside braces: {first}"));
            }
        };
        self.at += symbol.len();
        Ok(TokenKind::Symbol(symbol))
    }

    /// Keeps count of brackets outside braces.
    fn track(&mut self, symbol: &str) -> Result<(), String> {
        match symbol {
            "(" => self.parens += 1,
            ")" => {
                let outer = self.parens.checked_sub(1);
                self.parens = outer.ok_or(EXTRA_PAREN)?;
            }
            "{" => self.in_braces = true,
            "}" => return Err("unexpected character: '}'".to_owned()),
            "[" if self.in_brackets => return Err("unexpected left bracket '['".to_owned()),
            "[" => (self.in_brackets, self.after_colon) = (true, false),
            ":" if self.after_colon => return Err("unexpected colon ':'".to_owned()),
            ":" => self.after_colon = true,
            "]" if !self.in_brackets => return Err("unexpected right bracket ']'".to_owned()),
            "]" => self.in_brackets = false,
            _ => {}
        }
        Ok(())
    }

    /// A number may hold letters (`0x1f`, `1e5`) and a duration ends with one, so everything that
    /// could belong is taken and then read as the one or the other.
    fn number_or_duration(&mut self) -> Result<TokenKind<'a>, String> {
        let rest = self.rest();
        let mut length = 0;
        let hex = rest.starts_with("0x") || rest.starts_with("0X");
        for (at, c) in rest.char_indices() {
            let after_exponent = !hex && rest[..at].ends_with(['e', 'E']);
            let sign = after_exponent && matches!(c, '+' | '-') && is_decimal(&rest[..at - 1]);
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || sign) {
                break;
            }
            length = at + c.len_utf8();
        }
        let text = &rest[..length];
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let kind = if !hex && plain && text.ends_with(['s', 'm', 'h', 'd', 'w', 'y']) {
            let duration = parse_duration(text).map_err(|error| match error {
                DurationError::OutOfRange => error.to_string(),
                DurationError::Malformed(_) => match taken(text) {
                    Some(taken) => bad_number(taken),
                    None => format!("not a valid duration string: {}", quoted(&excerpt(text))),
                },
            })?;
            let millis = i64::try_from(duration.as_millis())
                .expect("base::parse_duration bounds durations far below i64");
            TokenKind::Duration(millis)
        } else {
            let shown = if plain && !hex && !text.contains('e') { taken(text) } else { None };
            TokenKind::Number(parse_number(text, shown.unwrap_or(text))?)
        };
        self.at += length;
        Ok(kind)
    }
}

fn special_number(word: &str) -> Option<f64> {
    if word.eq_ignore_ascii_case("inf") {
        Some(f64::INFINITY)
    } else if word.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

/// Whether a text is digits, underscores and at most one dot: the mantissa of a decimal.
fn is_decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
}

fn bad_number(text: &str) -> String {
    format!("bad number or duration syntax: {}", quoted(&excerpt(text)))
}

/// How much of a text that begins with a digit Prometheus's lexer has taken when it meets what is no
/// duration; `None` if all of it is the token of one.
fn taken(text: &str) -> Option<&str> {
    let byte = |at: usize| text.as_bytes().get(at).copied().unwrap_or_default();
    let behind_digits = |mut at: usize| {
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        at
    };
    let mut at = behind_digits(0);
    let mut units: &[u8] = b"smhdwy";
    loop {
        if !units.contains(&byte(at)) {
            return Some(&text[..at]);
        }
        at += if byte(at + 1) == b's' { 2 } else { 1 };
        // Years stand first.
        units = b"smhdw";
        if !byte(at).is_ascii_digit() {
            return (at < text.len()).then(|| &text[..=at]);
        }
        at = behind_digits(at);
    }
}

/// Reads a number as Go's `strconv` reads a literal: integers by their prefix (`0x` hexadecimal,
/// `0` octal), everything else as a float; single underscores may stand between digits.
/// An error shows `shown` of it.
fn parse_number(text: &str, shown: &str) -> Result<f64, String> {
    let bad = || bad_number(shown);
    let digit_at = |at: Option<usize>| {
        at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_alphanumeric)
    };
    let lone = text
        .bytes()
        .enumerate()
        .any(|(at, byte)| byte == b'_' && !(digit_at(at.checked_sub(1)) && digit_at(Some(at + 1))));
    if lone {
        return Err(bad());
    }
    let plain = text.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x").or(plain.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).map(|number| number as f64).map_err(|_| bad());
    }
    let octal = plain.len() > 1 && plain.starts_with('0');
    if octal && let Ok(number) = i64::from_str_radix(&plain, 8) {
        return Ok(number as f64);
    }
    let number: f64 = plain.parse().map_err(|_| bad())?;
    if number.is_infinite() {
        return Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: value out of range",
            quoted(&excerpt(text))
        ));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        tokenise(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_and_durations() {
        let numbers = [
            ("1", 1.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1.5e3", 1500.0),
            ("1e-3", 0.001),
            ("1E+3", 1000.0),
            ("0x1f", 31.0),
            ("0x1d", 29.0),
            ("0X1_F", 31.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            ("010", 8.0),
            ("08", 8.0),
            ("inf", f64::INFINITY),
            ("INF", f64::INFINITY),
        ];
        for (text, want) in numbers {
            assert_eq!(kinds(text), [TokenKind::Number(want), TokenKind::End], "{text}");
        }
        assert!(matches!(kinds("nAn")[0], TokenKind::Number(number) if number.is_nan()));
        for (text, want) in [("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0)] {
            assert_eq!(kinds(text), [TokenKind::Duration(want), TokenKind::End], "{text}");
        }
    }

    #[test]
    fn bad_characters_say_what_is_wrong() {
        let cases = [
            ("1__0", "bad number or duration syntax: \"1__0\""),
            ("1_", "bad number or duration syntax: \"1_\""),
            ("2.5.", "bad number or duration syntax: \"2.5.\""),
            ("0deadbeef", "bad number or duration syntax: \"0deadbeef\""),
            ("0xfffffffffffffffff", "bad number or duration syntax: \"0xfffffffffffffffff\""),
            (
                "1e999",
                "error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range",
            ),
            ("5m1h", "not a valid duration string: \"5m1h\""),
            ("99999999999y", "duration out of range"),
            ("293y", "duration out of range"),
            ("foo[5mm]", "bad number or duration syntax: \"5mm\""),
            ("5us", "bad number or duration syntax: \"5\""),
            ("1x", "bad number or duration syntax: \"1\""),
            ("5mx", "bad number or duration syntax: \"5mx\""),
            ("1h_", "bad number or duration syntax: \"1h_\""),
            ("1d1y", "bad number or duration syntax: \"1d1\""),
            ("1d1h1", "bad number or duration syntax: \"1d1h1\""),
            ("3s5u", "bad number or duration syntax: \"3s5\""),
            ("1d1d", "not a valid duration string: \"1d1d\""),
            ("\"abc", "unterminated quoted string"),
            ("`abc", "unterminated raw string"),
            ("\"a\u{fffd}\"", "invalid UTF-8 rune"),
            ("`a\u{fffd}`", "invalid UTF-8 rune"),
            ("(1", "unclosed left parenthesis"),
            ("(1))", "unexpected right parenthesis ')'"),
            ("x[5m", "unclosed left bracket"),
            ("x[[", "unexpected left bracket '['"),
            ("x]", "unexpected right bracket ']'"),
            ("x{", "unexpected end of input inside braces"),
            ("x{{", "unexpected left brace '{'"),
            ("x}", "unexpected character: '}'"),
            ("x{1}", "unexpected character inside braces: '1'"),
            ("x{#}", "unexpected end of input inside braces"),
            ("x[5m::", "unexpected colon ':'"),
            ("x[5m:1m:", "unexpected colon ':'"),
            ("1 !~ 1", "unexpected character after '!': '~'"),
            ("1 ! 1", "unexpected character after '!': ' '"),
            ("v!", "unexpected character after '!': '\u{fffd}'"),
            ("v{a!", "unexpected character after '!' inside braces: '\u{fffd}'"),
            ("1 =~ 1", "unexpected character after '=': '~'"),
            ("é", "unexpected character: 'é'"),
            ("x\u{a0}> 1", "unexpected character: '\\u00a0'"),
            ("x\0", "unexpected character: '\\x00'"),
            ("x\u{b}", "unexpected character: '\\v'"),
            ("x{\u{a0}}", "unexpected character inside braces: '\\u00a0'"),
            (".", "unexpected character: '.'"),
            ("a </ b", "the operator </ works on native histograms only, which are not supported"),
        ];
        for (text, want) in cases {
            assert_eq!(kinds(text).pop(), Some(TokenKind::Bad(want.to_owned())), "{text}");
        }
    }

    #[test]
    fn meaning_depends_on_the_bracket() {
        use TokenKind::{Duration, End, String, Symbol, Word};
        assert_eq!(kinds("a:b # c\n"), [Word("a:b"), End]);
        assert_eq!(
            kinds("x[5m:1m]"),
            [
                Word("x"),
                Symbol("["),
                Duration(300_000),
                Symbol(":"),
                Duration(60_000),
                Symbol("]"),
                End
            ]
        );
        assert_eq!(
            kinds("{inf=~'a\\x62'}"),
            [Symbol("{"), Word("inf"), Symbol("=~"), String("ab".to_owned()), Symbol("}"), End]
        );
    }
}
