//! Rewrites RE2 syntax (Go's `regexp/syntax`, Perl flags) into the syntax of the crate `regex`.
//!
//! The two descend from one ancestor and differ in small ways that bite: what Go reads as literal
//! (`a{`, `[[]`, `\Qa.b\E`, `\<`) Rust rejects or reads as something else, `[a&&b]` is a set
//! operation in Rust, and `\w`, `\d`, `\s`, `\b` are ASCII in Go but Unicode in Rust. So the pattern
//! is read here by Go's rules and written out again with every literal escaped. What Go rejects and
//! Rust would take (`a**`, `a{1001}`, `(?x)`) is an error here. It never builds a syntax tree:
//! groups and bounds of size are left to the crate.

use std::collections::BTreeSet;

use super::cut;
use super::height::{Height, MAX_REPEATS};

/// The names Go knows in `[[:name:]]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The pattern in the crate's syntax and how high its tree is, or what Go says of it where Go would
/// refuse it.
pub(super) fn translate(source: &str) -> Result<(String, Height), String> {
    let out = String::with_capacity(source.len() + 8);
    let names = BTreeSet::new();
    let height = Height::new();
    let mut translator = Translator { source, rest: source, out, depth: 0, names, height };
    translator.pattern()?;
    if translator.depth > 0 {
        return Err(problem("missing closing )", source));
    }
    Ok((translator.out, translator.height))
}

/// An error as `regexp/syntax` words it: what is wrong, and the part that is.
pub(super) fn problem(what: &str, part: &str) -> String {
    format!("error parsing regexp: {what}: `{}`", cut(part))
}

const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";

struct Translator<'a> {
    source: &'a str,
    rest: &'a str,
    out: String,
    depth: u32,
    /// The names of groups so far.
    names: BTreeSet<&'a str>,
    height: Height,
}

/// What an escape sequence stands for.
enum Escape {
    /// One literal character.
    Literal(char),
    /// Text in the crate's syntax that stands alone outside a class, and inside one if `in_class`.
    Text { text: String, in_class: bool },
}

impl<'a> Translator<'a> {
    fn pattern(&mut self) -> Result<(), String> {
        // What the last repetition starts with, if it stands right before.
        let mut last_repeat: Option<&str> = None;
        let mut nothing_to_repeat = true;
        while let Some(head) = self.rest.chars().next() {
            let repeats = match head {
                '*' | '+' | '?' => Some((1, 1)),
                '{' => repetition(self.rest)?,
                _ => None,
            };
            if let Some((length, times)) = repeats {
                let before = self.rest;
                self.copy(length);
                if self.rest.starts_with('?') {
                    self.copy(1);
                }
                let upto_here = |start: &'a str| &start[..start.len() - self.rest.len()];
                if let Some(last) = last_repeat {
                    let both = upto_here(last);
                    return Err(problem("invalid nested repetition operator", both));
                }
                if nothing_to_repeat {
                    let what = "missing argument to repetition operator";
                    return Err(problem(what, upto_here(before)));
                }
                if !self.height.repeat(times) {
                    return Err(problem("invalid repeat count", upto_here(before)));
                }
                last_repeat = Some(before);
                continue;
            }
            last_repeat = None;
            // Of `(` too if it only sets flags: Go would repeat what stands before those.
            nothing_to_repeat = matches!(head, '|' | '(');
            self.atom(head)?;
        }
        Ok(())
    }

    fn atom(&mut self, head: char) -> Result<(), String> {
        match head {
            '(' => self.group(),
            ')' => {
                let outside = self.depth.checked_sub(1);
                self.depth = outside.ok_or_else(|| problem("unexpected )", self.source))?;
                self.height.close();
                self.copy(1);
                Ok(())
            }
            '[' => {
                self.height.character();
                self.class()
            }
            '\\' if self.rest.starts_with("\\Q") => {
                let quoted = &self.rest[2..];
                let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                for c in literal.chars() {
                    self.height.literal();
                    push_literal(&mut self.out, c);
                }
                self.rest = rest;
                Ok(())
            }
            '\\' => {
                match self.escape()? {
                    Escape::Literal(c) => {
                        self.height.literal();
                        push_literal(&mut self.out, c);
                    }
                    Escape::Text { text, in_class } => {
                        if in_class {
                            self.height.character()
                        } else {
                            self.height.assertion()
                        }
                        self.out.push_str(&text);
                    }
                }
                Ok(())
            }
            '|' => {
                self.height.alternative();
                self.copy(1);
                Ok(())
            }
            '.' => {
                self.height.character();
                self.copy(1);
                Ok(())
            }
            '^' | '$' => {
                self.height.assertion();
                self.copy(1);
                Ok(())
            }
            literal => {
                self.height.literal();
                push_literal(&mut self.out, literal);
                self.rest = &self.rest[literal.len_utf8()..];
                Ok(())
            }
        }
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
    }

    /// `(`, `(?:`, `(?P<name>`, `(?<name>`, `(?i-s:` or `(?i)`.
    fn group(&mut self) -> Result<(), String> {
        let Some(extension) = self.rest.strip_prefix("(?") else {
            self.depth += 1;
            self.height.open(true);
            self.copy(1);
            return Ok(());
        };
        let named = extension.strip_prefix("P<").or_else(|| extension.strip_prefix('<'));
        match named.filter(|name| !name.is_empty()) {
            Some(name) => self.named_group(name),
            None => self.flag_group(extension),
        }
    }

    fn named_group(&mut self, after: &'a str) -> Result<(), String> {
        const BAD_NAME: &str = "invalid named capture";
        let (name, after) = after.split_once('>').ok_or_else(|| problem(BAD_NAME, self.rest))?;
        let head = &self.rest[..self.rest.len() - after.len()];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(problem(BAD_NAME, head));
        }
        self.depth += 1;
        self.height.open(true);
        // Rust wants a letter first, and every name once; the first of a name is the one it means.
        let plain = !name.starts_with(|c: char| c.is_ascii_digit()) && self.names.insert(name);
        if plain {
            self.copy(head.len());
        } else {
            self.out.push('(');
            self.rest = after;
        }
        Ok(())
    }

    /// Flags, for a group or for all that follows. Twice the same is once.
    fn flag_group(&mut self, flags: &'a str) -> Result<(), String> {
        let (mut negated, mut any, mut kept) = (false, false, String::new());
        for (at, flag) in flags.char_indices() {
            let so_far = &self.rest[.."(?".len() + at + flag.len_utf8()];
            match flag {
                'i' | 'm' | 's' | 'U' => {
                    any = true;
                    let (on, off) = kept.split_once('-').unwrap_or((&kept, ""));
                    if !(if negated { off } else { on }).contains(flag) {
                        kept.push(flag);
                    }
                }
                '-' if !negated => {
                    (negated, any) = (true, false);
                    kept.push('-');
                }
                ':' | ')' if any || !negated => {
                    self.rest = &self.rest[so_far.len()..];
                    if flag == ':' {
                        self.depth += 1;
                        self.height.open(false);
                    }
                    // Go takes `(?)` for a group that changes nothing.
                    if flag == ':' || any {
                        self.out.push_str(&format!("(?{}{flag}", untwisted(&kept)));
                    }
                    return Ok(());
                }
                _ => return Err(problem(BAD_PERL, so_far)),
            }
        }
        Err(problem(BAD_PERL, self.rest))
    }

    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest;
        let unclosed = || problem("missing closing ]", whole);
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some((name, _)) =
                self.rest.strip_prefix("[:").and_then(|named| named.split_once(":]"))
            {
                let plain = name.strip_prefix('^').unwrap_or(name);
                let length = "[::]".len() + name.len();
                if !POSIX_CLASSES.contains(&plain) {
                    return Err(problem(BAD_RANGE, &self.rest[..length]));
                }
                self.copy(length);
                continue;
            }
            let range = self.rest;
            let low = match self.class_item().ok_or_else(unclosed)?? {
                Escape::Literal(c) => c,
                Escape::Text { text, in_class } => {
                    if !in_class {
                        return Err(self.bad_escape(range));
                    }
                    self.out.push_str(&text);
                    continue;
                }
            };
            push_literal(&mut self.out, low);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.copy(1);
                let end = self.rest;
                let Escape::Literal(high) = self.class_item().ok_or_else(unclosed)?? else {
                    return Err(self.bad_escape(end));
                };
                if high < low {
                    let range = &range[..range.len() - self.rest.len()];
                    return Err(problem(BAD_RANGE, range));
                }
                push_literal(&mut self.out, high);
            }
        }
        self.copy(1);
        Ok(())
    }

    /// `None` at the end of the pattern.
    fn class_item(&mut self) -> Option<Result<Escape, String>> {
        let head = self.rest.chars().next()?;
        if head == '\\' {
            return Some(self.escape());
        }
        self.rest = &self.rest[head.len_utf8()..];
        Some(Ok(Escape::Literal(head)))
    }

    /// The error of an escape from where it starts to where it was given up.
    fn bad_escape(&self, start: &str) -> String {
        problem(BAD_ESCAPE, &start[..start.len() - self.rest.len()])
    }

    /// Reads one escape sequence, `\` included.
    fn escape(&mut self) -> Result<Escape, String> {
        let whole = self.rest;
        let mut chars = whole.chars();
        chars.next();
        let trailing = || problem("trailing backslash at end of expression", "");
        let letter = chars.next().ok_or_else(trailing)?;
        self.rest = chars.as_str();
        let class = |text: &str| Escape::Text { text: text.to_owned(), in_class: true };
        let assertion = |text: &str| Escape::Text { text: text.to_owned(), in_class: false };
        Ok(match letter {
            'd' => class("[0-9]"),
            'D' => class("[^0-9]"),
            'w' => class("[0-9A-Za-z_]"),
            'W' => class("[^0-9A-Za-z_]"),
            's' => class(r"[\t\n\x0C\r ]"),
            'S' => class(r"[^\t\n\x0C\r ]"),
            'b' => assertion(r"(?-u:\b)"),
            'B' => assertion(r"(?-u:\B)"),
            'A' | 'z' => assertion(&whole[..2]),
            'a' => Escape::Literal('\x07'),
            'f' => Escape::Literal('\x0c'),
            'n' => Escape::Literal('\n'),
            'r' => Escape::Literal('\r'),
            't' => Escape::Literal('\t'),
            'v' => Escape::Literal('\x0b'),
            'p' | 'P' => class(&self.unicode_class(whole, letter == 'P')?),
            'x' => match self.hex_escape() {
                Some(code) => Escape::Literal(code),
                None => return Err(self.bad_escape(whole)),
            },
            '0'..='7' => match self.octal_escape(letter) {
                Some(code) => Escape::Literal(code),
                None => return Err(self.bad_escape(whole)),
            },
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Escape::Literal(other),
            _ => return Err(self.bad_escape(whole)),
        })
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, and the negated `\P…`; `\p` is already read.
    fn unicode_class(&mut self, whole: &str, negated: bool) -> Result<String, String> {
        let bad = |end: &str| problem(BAD_RANGE, &whole[..whole.len() - end.len()]);
        let (name, rest) = if let Some(braced) = self.rest.strip_prefix('{') {
            braced.split_once('}').ok_or_else(|| bad(""))?
        } else {
            let end = self.rest.chars().next().ok_or_else(|| bad(""))?.len_utf8();
            self.rest.split_at(end)
        };
        self.rest = rest;
        let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let letter = if negated == inverted { 'p' } else { 'P' };
        let class = format!("\\{letter}{{{name}}}");
        // A name that was found once is not looked up again.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            || !(self.out.contains(&class) || regex::Regex::new(&class).is_ok())
        {
            return Err(bad(rest));
        }
        Ok(class)
    }

    /// `\x41` or `\x{1F600}`; `\x` is already read.
    fn hex_escape(&mut self) -> Option<char> {
        let Some(braced) = self.rest.strip_prefix('{') else {
            let code = self.digit(16)? * 16;
            return char::from_u32(code + self.digit(16)?);
        };
        self.rest = braced;
        let (mut code, mut digits) = (0, 0);
        while !self.rest.starts_with('}') {
            code = code * 16 + self.digit(16)?;
            digits += 1;
            if code > u32::from(char::MAX) {
                return None;
            }
        }
        self.rest = &self.rest[1..];
        char::from_u32(code).filter(|_| digits > 0)
    }

    /// The next character as a digit; it is taken even if it is none.
    fn digit(&mut self, radix: u32) -> Option<u32> {
        let mut chars = self.rest.chars();
        let digit = chars.next()?.to_digit(radix);
        self.rest = chars.as_str();
        digit
    }

    /// `\0`, `\12`, `\101`: a single digit other than 0 would be a back-reference, which RE2 lacks.
    fn octal_escape(&mut self, first: char) -> Option<char> {
        let more = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if first != '0' && more == 0 {
            return None;
        }
        let digits = format!("{first}{}", &self.rest[..more]);
        self.rest = &self.rest[more..];
        u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32)
    }
}

/// Flags as the crate takes them: none both set and cleared, of which Go lets the last count.
fn untwisted(flags: &str) -> String {
    let Some((on, off)) = flags.split_once('-') else { return flags.to_owned() };
    let on: String = on.chars().filter(|flag| !off.contains(*flag)).collect();
    format!("{on}-{off}")
}

/// The length of the repetition `{n}`, `{n,}` or `{n,m}` that `text` starts with, and its greatest
/// number; `None` if its `{` is a literal.
fn repetition(text: &str) -> Result<Option<(usize, u32)>, String> {
    let Some((inside, _)) = text[1..].split_once('}') else { return Ok(None) };
    let (low, high) = match inside.split_once(',') {
        None => (inside, Some(inside)),
        Some((low, "")) => (low, None),
        Some((low, high)) => (low, Some(high)),
    };
    let is_count = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits && (text.len() == 1 || !text.starts_with('0'))
    };
    if !is_count(low) || !high.is_none_or(is_count) {
        return Ok(None);
    }
    let whole = &text[..inside.len() + 2];
    let count = |text: &str| text.parse().ok().filter(|count: &u32| *count <= MAX_REPEATS);
    let bad = || problem("invalid repeat count", whole);
    let least = count(low).ok_or_else(bad)?;
    let most = high.map(|high| count(high).ok_or_else(bad)).transpose()?;
    if most.is_some_and(|most| most < least) {
        return Err(bad());
    }
    Ok(Some((whole.len(), most.unwrap_or(least))))
}

/// A character that means itself, inside and outside a class. `<` and `>` stay bare: escaped they
/// are word boundaries to the crate.
fn push_literal(out: &mut String, literal: char) {
    if literal.is_ascii_punctuation() && !"<>_".contains(literal) {
        out.push('\\');
    }
    out.push(literal);
}
