//! Template text to tokens, as `text/template/parse/lex.go` cuts it: text, and what stands between
//! `{{` and `}}`.
//!
//! Blanks inside actions are tokens, because `.a.b` and `.a .b` differ. Lexing never fails: the
//! first bad character ends the list as [`Token::Bad`]. It looks at every byte at most twice, so
//! an unclosed action ends like any other text (other engines loop for ever there).

use crate::base::quoted;

/// A token.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token<'a> {
    /// What stands outside actions, trimmed where `{{-` or `-}}` ask for it.
    Text(&'a str),
    /// `{{`
    Open,
    /// `}}`
    Close,
    Space,
    /// A keyword or a function's name.
    Word(&'a str),
    /// `.name`, without its dot.
    Field(&'a str),
    /// `.`
    Dot,
    /// `$name` or `$`.
    Variable(&'a str),
    String(String),
    Int(i64),
    Float(f64),
    /// `|`, `:=`, `=`, `,`, `(` or `)`.
    Symbol(&'static str),
    /// A printable character of ASCII that belongs nowhere.
    Stray(char),
    End,
    /// What is wrong, and where the action began that it is in.
    Bad(String, usize),
}

/// A token and the byte it starts at.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// All tokens of a template; the last one is `End` or `Bad`.
pub(super) fn tokenise(text: &str) -> Vec<Placed<'_>> {
    let mut lexer = Lexer { text, at: 0, opened: 0, trim: false, tokens: Vec::new() };
    if let Err(message) = lexer.run() {
        lexer.push(Token::Bad(message, lexer.opened), lexer.at);
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the last action or comment began.
    opened: usize,
    /// Whether the last action ended in `-}}`.
    trim: bool,
    tokens: Vec<Placed<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, token: Token<'a>, start: usize) {
        self.tokens.push(Placed { token, start, end: self.at });
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let length = self.rest().find("{{").unwrap_or(self.rest().len());
            let start = self.at;
            let mut text = &self.rest()[..length];
            self.at += length;
            let trims = self.rest()[2.min(self.rest().len())..]
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(BLANKS));
            if trims {
                text = text.trim_end_matches(BLANKS);
            }
            if self.trim {
                text = text.trim_start_matches(BLANKS);
            }
            if !text.is_empty() {
                self.push(Token::Text(text), start);
            }
            if self.rest().is_empty() {
                self.push(Token::End, self.at);
                return Ok(());
            }
            self.open(if trims { 3 } else { 2 })?;
        }
    }

    /// From `{{` to behind `}}`, or over a comment.
    fn open(&mut self, length: usize) -> Result<(), String> {
        let start = self.at;
        self.opened = start;
        self.at += length;
        let body = self.rest().trim_start_matches(BLANKS);
        let comment = if length == 3 { body } else { self.rest() };
        if comment.starts_with("/*") {
            return self.comment(comment);
        }
        self.push(Token::Open, start);
        loop {
            let start = self.at;
            if let Some(after) = self.closing() {
                self.at = after;
                self.push(Token::Close, start);
                return Ok(());
            }
            let token = self.token()?;
            self.push(token, start);
        }
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let length = comment.find("*/").ok_or("unclosed comment")?;
        self.at = self.text.len() - comment.len() + length + 2;
        let after = self.closing().ok_or("comment ends before closing delimiter")?;
        self.at = after;
        Ok(())
    }

    /// If an action ends here: the byte behind it. Notes whether it trims.
    fn closing(&mut self) -> Option<usize> {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
        self.trim = blanks > 0 && rest[blanks..].starts_with("-}}");
        if self.trim {
            Some(self.at + blanks + 3)
        } else if rest.starts_with("}}") {
            Some(self.at + 2)
        } else {
            None
        }
    }

    fn token(&mut self) -> Result<Token<'a>, String> {
        const SYMBOLS: [&str; 6] = [":=", "=", "|", ",", "(", ")"];
        let rest = self.rest();
        let first = rest.chars().next().ok_or("unclosed action")?;
        let second = rest[first.len_utf8()..].chars().next();
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        match (first, second) {
            (' ' | '\t' | '\r' | '\n', _) => {
                self.at += rest.len() - rest.trim_start_matches(BLANKS).len();
                Ok(Token::Space)
            }
            ('"' | '`' | '\'', _) => self.quoted(first),
            ('.', Some('0'..='9')) | ('0'..='9', _) => self.number(),
            ('+' | '-', Some('0'..='9' | '.')) => self.number(),
            ('.', _) => {
                self.at += 1;
                let name = self.word()?;
                Ok(if name.is_empty() { Token::Dot } else { Token::Field(name) })
            }
            ('$', _) => {
                let start = self.at;
                self.at += 1;
                self.word()?;
                Ok(Token::Variable(&self.text[start..self.at]))
            }
            (c, _) if in_word(c) => Ok(Token::Word(self.word()?)),
            (':', _) => Err("expected :=".to_owned()),
            _ if first.is_ascii_graphic() => {
                self.at += 1;
                Ok(Token::Stray(first))
            }
            _ => Err(format!("unrecognized character in action: {}", code_point(first))),
        }
    }

    /// A run of letters, digits and underscores, perhaps empty; what follows must end a word.
    fn word(&mut self) -> Result<&'a str, String> {
        let rest = self.rest();
        let length = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        self.at += length;
        let next = rest[length..].chars().next();
        let ends = match next {
            None => true,
            Some(c) => BLANKS.contains(&c) || ".,|:()=}".contains(c),
        };
        match next {
            Some(c) if !ends => Err(format!("bad character {}", code_point(c))),
            _ => Ok(&rest[..length]),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token<'a>, String> {
        let problem = match quote {
            '`' => "unterminated raw quoted string",
            '"' => "unterminated quoted string",
            _ => "unterminated character constant",
        };
        let (text, length) = crate::promql::unquote(self.rest(), quote).map_err(|error| {
            if error.starts_with("unterminated") { problem.to_owned() } else { error }
        })?;
        self.at += length;
        if quote != '\'' {
            return Ok(Token::String(text));
        }
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(Token::Int(i64::from(u32::from(c)))),
            _ => Err(format!("malformed character constant: '{text}'")),
        }
    }

    fn number(&mut self) -> Result<Token<'a>, String> {
        let rest = self.rest();
        let length = number_length(rest);
        let next = rest[length..].chars().next();
        if let Some(next) = next.filter(|c| in_word(*c) || matches!(c, '+' | '-')) {
            let shown = &rest[..length + next.len_utf8()];
            return Err(format!("bad number syntax: {}", quoted(shown)));
        }
        self.at += length;
        parse_number(&rest[..length])
    }
}

/// How much of a text reads as a number, whether it makes sense or not.
fn number_length(text: &str) -> usize {
    let mut at = usize::from(text.starts_with(['+', '-']));
    let run = |at: usize, wanted: fn(char) -> bool| {
        text[at..].find(|c| !wanted(c)).map_or(text.len(), |length| at + length)
    };
    let decimal = |c: char| c.is_ascii_digit() || c == '_';
    let (digits, prefix): (fn(char) -> bool, usize) = match &text.as_bytes()[at..] {
        [b'0', b'x' | b'X', ..] => (|c| c.is_ascii_hexdigit() || c == '_', 2),
        [b'0', b'o' | b'O', ..] => (|c| c.is_digit(8) || c == '_', 2),
        [b'0', b'b' | b'B', ..] => (|c| matches!(c, '0' | '1' | '_'), 2),
        _ => (decimal, 0),
    };
    at = run(at + prefix, digits);
    if text[at..].starts_with('.') {
        at = run(at + 1, digits);
    }
    if prefix == 0 && text[at..].starts_with(['e', 'E']) {
        at += 1;
        at += usize::from(text[at..].starts_with(['+', '-']));
        at = run(at, decimal);
    }
    at
}

/// Go's number literals: decimal, `0x`, `0o`, `0b` and `0` (octal) integers, decimal floats.
fn parse_number(text: &str) -> Result<Token<'static>, String> {
    let illegal = || format!("illegal number syntax: {}", quoted(text));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let apart = |pair: &[u8]| pair != b"__" && pair != b"_." && pair != b"._";
    if digits.ends_with('_') || !digits.as_bytes().windows(2).all(apart) {
        return Err(illegal());
    }
    let digits = digits.replace('_', "").to_lowercase();
    let radix = |prefix: &str, radix: u32| {
        let digits = digits.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        i64::from_str_radix(digits, radix).ok()
    };
    let whole = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8))
        .or_else(|| digits.parse().ok().filter(|_| digits == "0" || !digits.starts_with('0')));
    if let Some(whole) = whole {
        return Ok(Token::Int(sign * whole));
    }
    // Rust would read words such as `infinity` as numbers; a literal starts with a digit or point.
    let number: Option<f64> = digits.parse().ok().filter(|number: &f64| number.is_finite());
    match number {
        Some(_) if !digits.contains(['.', 'e']) => {
            Err(format!("integer overflow: {}", quoted(text)))
        }
        Some(number) => Ok(Token::Float(sign as f64 * number)),
        None => Err(illegal()),
    }
}

fn in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `U+0023 '#'`, as Go prints a character it did not expect.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
