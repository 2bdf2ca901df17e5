//! Rewrites RE2 syntax (Go's `regexp/syntax`, Perl flags) into the syntax of the crate `regex`.
//!
//! The two descend from one ancestor and differ in small ways that bite: what Go reads as literal
//! (`a{`, `[[]`, `\Qa.b\E`, `\<`) Rust rejects or reads as something else, `[a&&b]` is a set
//! operation in Rust, and `\w`, `\d`, `\s`, `\b` are ASCII in Go but Unicode in Rust. So the pattern
//! is read here by Go's rules and written out again with every literal escaped. What Go rejects and
//! Rust would take (`a**`, `a{1001}`, `(?x)`) is an error here. It never builds a syntax tree:
//! groups and bounds of size are left to the crate.

/// Go's own bound on a repetition count (`regexp/syntax`: "invalid repeat count").
const REPEAT_MAX: u32 = 1000;
/// The names Go knows in `[[:name:]]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The pattern in the crate's syntax, or one line saying what Go would refuse.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut translator =
        Translator { rest: source, out: String::with_capacity(source.len() + 8), depth: 0 };
    translator.pattern()?;
    Ok(translator.out)
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    depth: u32,
}

/// What an escape sequence stands for.
enum Escape {
    /// One literal character.
    Literal(char),
    /// Text in the crate's syntax that stands alone outside a class, and inside one if `in_class`.
    Text { text: String, in_class: bool },
}

impl Translator<'_> {
    fn pattern(&mut self) -> Result<(), String> {
        let mut after_repeat = false;
        while let Some(head) = self.rest.chars().next() {
            let repeats = match head {
                '*' | '+' | '?' => Some(1),
                '{' => repeat_length(self.rest)?,
                _ => None,
            };
            if let Some(length) = repeats {
                if after_repeat {
                    return Err("a repetition of a repetition, like `a**`".to_owned());
                }
                self.copy(length);
                if self.rest.starts_with('?') {
                    self.copy(1);
                }
                after_repeat = true;
                continue;
            }
            after_repeat = false;
            self.atom(head)?;
        }
        Ok(())
    }

    fn atom(&mut self, head: char) -> Result<(), String> {
        match head {
            '(' => self.group(),
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or("unexpected )")?;
                self.copy(1);
                Ok(())
            }
            '[' => self.class(),
            '\\' if self.rest.starts_with("\\Q") => {
                let quoted = &self.rest[2..];
                let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                literal.chars().for_each(|c| push_literal(&mut self.out, c));
                self.rest = rest;
                Ok(())
            }
            '\\' => {
                match self.escape()? {
                    Escape::Literal(c) => push_literal(&mut self.out, c),
                    Escape::Text { text, .. } => self.out.push_str(&text),
                }
                Ok(())
            }
            '.' | '|' | '^' | '$' => {
                self.copy(1);
                Ok(())
            }
            literal => {
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
        self.depth += 1;
        let Some(extension) = self.rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if extension.starts_with("P<") || extension.starts_with('<') {
            let close = self.rest.find('>').ok_or("a group name without `>`")?;
            let open = self.rest.find('<').unwrap_or(0);
            let name = &self.rest[open + 1..close];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("bad group name `{}`", &self.rest[..=close]));
            }
            self.copy(close + 1);
            return Ok(());
        }
        let end = extension.find([':', ')']).ok_or("missing closing )")?;
        let flags = &extension[..end];
        let known = flags.bytes().all(|b| b"imsU-".contains(&b));
        if !known || flags.matches('-').count() > 1 || flags.ends_with('-') {
            return Err(format!("unsupported group `(?{flags}`: Go knows the flags i, m, s, U"));
        }
        if extension.as_bytes()[end] == b')' {
            self.depth -= 1;
        }
        if flags.is_empty() && extension.as_bytes()[end] == b')' {
            // Go takes `(?)` for a group that changes nothing.
            self.rest = &self.rest[3..];
        } else {
            self.copy("(?".len() + end + 1);
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
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
                if !POSIX_CLASSES.contains(&plain) {
                    return Err(format!("unknown class `[:{name}:]`"));
                }
                self.copy("[::]".len() + name.len());
                continue;
            }
            let low = match self.class_item()? {
                Escape::Literal(c) => c,
                Escape::Text { text, in_class } => {
                    if !in_class {
                        return Err("an assertion inside [ ]".to_owned());
                    }
                    self.out.push_str(&text);
                    continue;
                }
            };
            push_literal(&mut self.out, low);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.copy(1);
                match self.class_item()? {
                    Escape::Literal(high) => push_literal(&mut self.out, high),
                    Escape::Text { .. } => return Err(format!("bad range in [ ], from `{low}-`")),
                }
            }
        }
        self.copy(1);
        Ok(())
    }

    fn class_item(&mut self) -> Result<Escape, String> {
        let head = self.rest.chars().next().ok_or("missing closing ]")?;
        if head == '\\' {
            return self.escape();
        }
        self.rest = &self.rest[head.len_utf8()..];
        Ok(Escape::Literal(head))
    }

    /// Reads one escape sequence, `\` included.
    fn escape(&mut self) -> Result<Escape, String> {
        let mut chars = self.rest.chars();
        chars.next();
        let letter = chars.next().ok_or("trailing backslash")?;
        let whole = self.rest;
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
            'p' | 'P' => class(&self.unicode_class(letter == 'P')?),
            'x' => Escape::Literal(self.hex_escape()?),
            '0'..='7' => Escape::Literal(self.octal_escape(letter)?),
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Escape::Literal(other),
            other => return Err(format!("invalid escape sequence `\\{other}`")),
        })
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`, and the negated `\P…`; `\p` is already read.
    fn unicode_class(&mut self, negated: bool) -> Result<String, String> {
        let (name, rest) = if let Some(braced) = self.rest.strip_prefix('{') {
            braced.split_once('}').ok_or("`\\p{` without `}`")?
        } else {
            let end = self.rest.chars().next().ok_or("trailing `\\p`")?.len_utf8();
            self.rest.split_at(end)
        };
        self.rest = rest;
        let (name, inverted) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let letter = if negated == inverted { 'p' } else { 'P' };
        Ok(format!("\\{letter}{{{name}}}"))
    }

    /// `\x41` or `\x{1F600}`; `\x` is already read.
    fn hex_escape(&mut self) -> Result<char, String> {
        let (digits, rest) = if let Some(braced) = self.rest.strip_prefix('{') {
            braced.split_once('}').ok_or("`\\x{` without `}`")?
        } else {
            self.rest.split_at_checked(2).ok_or("`\\x` wants two hexadecimal digits")?
        };
        self.rest = rest;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| plain);
        code.and_then(char::from_u32).ok_or(format!("`\\x{{{digits}}}` is no character"))
    }

    /// `\0`, `\12`, `\101`: a single digit other than 0 would be a back-reference, which RE2 lacks.
    fn octal_escape(&mut self, first: char) -> Result<char, String> {
        let more = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if first != '0' && more == 0 {
            return Err(format!("back-reference `\\{first}`"));
        }
        let digits = format!("{first}{}", &self.rest[..more]);
        self.rest = &self.rest[more..];
        let code = u32::from_str_radix(&digits, 8).ok();
        code.and_then(char::from_u32).ok_or(format!("`\\{digits}` is no character"))
    }
}

/// The length of the repetition `{n}`, `{n,}` or `{n,m}` that `text` starts with; `None` if its `{`
/// is a literal.
fn repeat_length(text: &str) -> Result<Option<usize>, String> {
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
    let count = |text: &str| text.parse().ok().filter(|count: &u32| *count <= REPEAT_MAX);
    let bad = || format!("invalid repeat count `{whole}`: at most {REPEAT_MAX}");
    let least = count(low).ok_or_else(bad)?;
    let most = high.map(|high| count(high).ok_or_else(bad)).transpose()?;
    if most.is_some_and(|most| most < least) {
        return Err(bad());
    }
    Ok(Some(whole.len()))
}

/// A character that means itself, inside and outside a class. `<` and `>` stay bare: escaped they
/// are word boundaries to the crate.
fn push_literal(out: &mut String, literal: char) {
    if literal.is_ascii_punctuation() && !"<>_".contains(literal) {
        out.push('\\');
    }
    out.push(literal);
}
