//! The verbs of `printf`: one value as Go's `fmt` writes it (`fmt/print.go`, `fmt/format.go`).
//!
//! One thing is written otherwise: a list of samples prints what it holds, where Go prints addresses.

use super::value::{Sample, Value, duration_text, time_text};
use crate::base::{number, quoted};

/// The most digits Rust writes; the caller refuses a text of that length anyway.
const MAX_DIGITS: usize = u16::MAX as usize;

/// What stands between `%` and its verb.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) space: bool,
    /// `%+v` names fields, and `%#v` writes Go.
    pub(super) plus_v: bool,
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// A text that values are appended to, no longer than little more than `cap` bytes.
pub(super) struct Printer {
    pub(super) out: String,
    pub(super) flags: Flags,
    cap: usize,
}

impl Printer {
    pub(super) fn new(cap: usize) -> Printer {
        Printer { out: String::new(), flags: Flags::default(), cap }
    }

    /// That goes on with a text.
    pub(super) fn onto(out: &mut String, cap: usize) -> Printer {
        Printer { out: std::mem::take(out), ..Printer::new(cap) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() > self.cap
    }

    /// Appends an argument by a verb.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad("<nil>"),
            (Value::Nil, _) => self.out.push_str(&format!("%!{verb}(<nil>)")),
            (_, 'T') => self.text(value.type_name()),
            (Value::Sample(sample), _) => self.sample("&{", sample, verb),
            _ => self.value(value, verb),
        }
    }

    fn value(&mut self, value: &Value, verb: char) {
        if self.is_full() {
            return;
        }
        match (value, verb) {
            (Value::Nil, _) => self.out.push_str("<nil>"),
            (Value::Bool(holds), 't' | 'v') => self.pad(if *holds { "true" } else { "false" }),
            (Value::Int(number), _) => self.integer(*number, verb, value),
            (Value::Float(number), 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') => {
                self.float(*number, verb);
            }
            (Value::String(text), 's' | 'v' | 'q' | 'x' | 'X') => self.string(text, verb),
            (Value::Time(millis), 's' | 'v' | 'q' | 'x' | 'X') => {
                self.string(&time_text(*millis), verb);
            }
            (Value::Duration(nanos), 's' | 'v' | 'q' | 'x' | 'X') => {
                self.string(&duration_text(*nanos), verb);
            }
            (Value::Duration(nanos), _) => self.integer(*nanos, verb, value),
            (Value::Map(map), _) => {
                let pairs = map.entries.iter();
                self.sequence(
                    "map[",
                    "]",
                    pairs.map(|(key, value)| (Some(key.as_str()), value)),
                    verb,
                );
            }
            // Each of a list is a pointer, which no verb but `v` can make anything of.
            (Value::List(list), _) => self.sequence("[", "]", list.iter().map(|v| (None, v)), verb),
            (Value::Sample(sample), 'v') => self.sample("&{", sample, verb),
            (Value::Root(root), _) => {
                let url = Value::String(root.external_url.clone());
                let number = Value::Float(root.value);
                let labels = [("Labels", &root.labels), ("ExternalLabels", &root.external_labels)];
                let others = [("ExternalURL", &url), ("Value", &number)];
                self.fields("{", &[labels, others].concat(), verb);
            }
            _ => self.bad(value, verb),
        }
    }

    /// `%!d(string=x)`: the verb does not fit the value.
    fn bad(&mut self, value: &Value, verb: char) {
        self.out.push_str(&format!("%!{verb}({}=", value.type_name()));
        match value {
            // An error does not ask the value how it wants to be shown.
            Value::Duration(nanos) => self.integer(*nanos, 'v', value),
            _ => self.value(value, 'v'),
        }
        self.out.push(')');
    }

    fn sequence<'v>(
        &mut self,
        open: &str,
        close: &str,
        items: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
        verb: char,
    ) {
        self.out.push_str(open);
        for (at, (key, item)) in items.enumerate() {
            self.out.push_str(if at == 0 { "" } else { " " });
            if let Some(key) = key {
                self.value(&Value::text(key), verb);
                self.out.push(':');
            }
            self.value(item, verb);
        }
        self.out.push_str(close);
    }

    /// A sample behind `open`, which is `{` or, where it is printed as the pointer it is in Go, `&{`.
    pub(super) fn sample(&mut self, open: &str, sample: &Sample, verb: char) {
        let fields = [("Labels", &sample.labels), ("Value", &Value::Float(sample.value))];
        self.fields(open, &fields, verb);
    }

    fn fields(&mut self, open: &str, fields: &[(&str, &Value)], verb: char) {
        self.out.push_str(open);
        for (at, (name, value)) in fields.iter().enumerate() {
            self.out.push_str(if at == 0 { "" } else { " " });
            if self.flags.plus_v {
                self.out.push_str(&format!("{name}:"));
            }
            self.value(value, verb);
        }
        self.out.push('}');
    }
}

/// Numbers.
impl Printer {
    fn integer(&mut self, number: i64, verb: char, value: &Value) {
        let (base, prefix) = match verb {
            'v' | 'd' => (10, ""),
            'b' => (2, "0b"),
            'o' | 'O' => (8, "0"),
            'x' => (16, "0x"),
            'X' => (16, "0X"),
            'c' => return self.pad(&character(number).to_string()),
            'q' => {
                let quoted = self.quoted(&character(number).to_string(), '\'');
                return self.pad(&quoted);
            }
            'U' => return self.unicode(number),
            _ => return self.bad(value, verb),
        };
        let flags = self.flags;
        let sign = sign(number < 0, flags);
        let least = match (flags.precision, flags.width) {
            // Nothing but padding.
            (Some(0), _) if number == 0 => return self.blanks(flags.width.unwrap_or(0)),
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero => width.saturating_sub(sign.len()),
            _ => 0,
        };
        let digits = in_base(number.unsigned_abs(), base);
        let digits = if verb == 'X' { digits.to_uppercase() } else { digits };
        let zeros = least.min(self.cap + 1 + digits.len()).saturating_sub(digits.len());
        let digits = format!("{}{digits}", "0".repeat(zeros));
        let prefix = match (flags.sharp, verb) {
            (true, 'o' | 'O') if digits.starts_with('0') => "",
            (true, _) => prefix,
            _ => "",
        };
        let octal = if verb == 'O' { "0o" } else { "" };
        self.pad_blank(&format!("{sign}{octal}{prefix}{digits}"));
    }

    /// `U+0041`, with `#` the character too.
    fn unicode(&mut self, number: i64) {
        let digits = self.flags.precision.unwrap_or(4).clamp(4, MAX_DIGITS);
        let mut text = format!("U+{:01$X}", number as u64, digits);
        if self.flags.sharp
            && let Some(c) = u32::try_from(number).ok().and_then(char::from_u32)
            && !c.is_control()
        {
            text.push_str(&format!(" '{c}'"));
        }
        self.pad_blank(&text);
    }

    fn float(&mut self, value: f64, verb: char) {
        let flags = self.flags;
        let precision = flags.precision.map(|precision| precision.min(MAX_DIGITS));
        let text = match verb {
            'f' | 'F' => number::fixed(value, precision.unwrap_or(6)),
            'e' | 'E' => number::exponential(value, precision.unwrap_or(6)),
            'x' | 'X' => number::hexadecimal(value, precision),
            'b' => number::binary(value),
            _ => number::general(value, precision),
        };
        let text = match verb {
            'E' | 'G' | 'X' if value.is_finite() => text.to_uppercase(),
            _ => text,
        };
        let digits = text.trim_start_matches(['+', '-']);
        let sign = sign(text.starts_with('-'), flags);
        if !value.is_finite() {
            // An infinity has its sign in any case, NaN only when asked.
            let sign = if value.is_infinite() && sign.is_empty() { "+" } else { sign };
            return self.pad_blank(&format!("{sign}{digits}"));
        }
        let pointed = match flags.sharp && verb != 'b' {
            true => with_point(digits, verb, precision),
            false => digits.to_owned(),
        };
        let length = sign.len() + pointed.len();
        match flags.width {
            Some(width) if flags.zero && !sign.is_empty() && width > length => {
                let zeros = "0".repeat((width - length).min(self.cap));
                self.out.push_str(&format!("{sign}{zeros}{pointed}"));
            }
            _ => self.pad(&format!("{sign}{pointed}")),
        }
    }
}

/// Texts and padding.
impl Printer {
    fn string(&mut self, text: &str, verb: char) {
        match verb {
            'x' | 'X' => self.hex(text, verb),
            'q' => self.quote(text),
            'v' if self.flags.sharp_v => self.quote(text),
            _ => self.text(text),
        }
    }

    /// Cut to the precision, in characters.
    fn cut<'t>(&self, text: &'t str) -> &'t str {
        let at = self.flags.precision.and_then(|most| text.char_indices().nth(most));
        at.map_or(text, |(at, _)| &text[..at])
    }

    fn text(&mut self, text: &str) {
        self.pad(self.cut(text));
    }

    fn quote(&mut self, text: &str) {
        let text = self.cut(text);
        let bare = |c: char| c != '`' && c != '\u{feff}' && (c == '\t' || !c.is_ascii_control());
        let quoted = match self.flags.sharp && text.chars().all(bare) {
            true => format!("`{text}`"),
            false => self.quoted(text, '"'),
        };
        self.pad(&quoted);
    }

    /// In quotes, with `+` in ASCII alone.
    fn quoted(&self, text: &str, mark: char) -> String {
        let inside = quoted(text);
        let mut inside = inside[1..inside.len() - 1].to_owned();
        if mark == '\'' {
            inside = inside.replace("\\\"", "\"");
            inside = if inside == "'" { "\\'".to_owned() } else { inside };
        }
        if self.flags.plus {
            inside = inside.chars().fold(String::new(), |ascii, c| match u32::from(c) {
                0..=0x7f => ascii + &c.to_string(),
                code @ ..=0xffff => ascii + &format!("\\u{code:04x}"),
                code => ascii + &format!("\\U{code:08x}"),
            });
        }
        format!("{mark}{inside}{mark}")
    }

    /// Its bytes in hexadecimal: `% x` puts blanks between, `%#x` a prefix before.
    fn hex(&mut self, text: &str, verb: char) {
        let flags = self.flags;
        let bytes = text.as_bytes();
        let bytes = &bytes[..flags.precision.unwrap_or(usize::MAX).min(bytes.len())];
        let prefix = if flags.sharp { format!("0{verb}") } else { String::new() };
        let mut hex = String::new();
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && flags.space {
                hex.push(' ');
            }
            if at == 0 || flags.space {
                hex.push_str(&prefix);
            }
            let digits = format!("{byte:02x}");
            hex.push_str(&if verb == 'X' { digits.to_uppercase() } else { digits });
        }
        self.pad(&hex);
    }

    /// Fills up to the width, with zeros if those were asked for.
    fn pad(&mut self, text: &str) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        let missing = missing.min(self.cap + 1);
        let (filler, minus) = (if self.flags.zero { "0" } else { " " }, self.flags.minus);
        let fill = filler.repeat(missing);
        self.out.push_str(if minus { text } else { &fill });
        self.out.push_str(if minus { &fill } else { text });
    }

    fn pad_blank(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn blanks(&mut self, length: usize) {
        self.out.push_str(&" ".repeat(length.min(self.cap)));
    }
}

fn sign(negative: bool, flags: Flags) -> &'static str {
    match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn character(code: i64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn in_base(number: u64, base: u64) -> String {
    match base {
        2 => format!("{number:b}"),
        8 => format!("{number:o}"),
        16 => format!("{number:x}"),
        _ => number.to_string(),
    }
}

/// `#` on a float: a point in any case, and for `%g` zeros up to the precision.
fn with_point(text: &str, verb: char, precision: Option<usize>) -> String {
    let hex = matches!(verb, 'x' | 'X');
    let exponent = text.find(|c: char| matches!(c, 'p' | 'P') || (!hex && matches!(c, 'e' | 'E')));
    let (number, tail) = text.split_at(exponent.unwrap_or(text.len()));
    let digits = number.bytes().filter(u8::is_ascii_alphanumeric);
    let significant = digits.skip_while(|digit| *digit == b'0').count();
    let zero = usize::from(number == "0");
    let wanted = match verb {
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    let zeros = wanted.saturating_sub(significant + zero);
    let point = if number.contains('.') { "" } else { "." };
    format!("{number}{point}{}{tail}", "0".repeat(zeros))
}
