//! `printf`: Go's `fmt.Sprintf` for the verbs that make sense of a template's values.

use super::value::Value;
use crate::base::number;
use crate::promql::quote;

/// Widths and precisions above this are cut: Go's own limit, too, keeps them from filling memory.
const WIDEST: usize = 1000;

/// What stands between `%` and its verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// Fills the format; stops once the text is longer than `cap`, which the caller then refuses.
pub(super) fn printf(format: &str, args: &[Value], cap: usize) -> String {
    let mut out = String::new();
    let mut rest = format;
    let mut args = args.iter();
    while let Some(percent) = rest.find('%') {
        if out.len() > cap {
            return out;
        }
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let spec = spec(&mut rest, &mut args);
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match args.next() {
            Some(value) => out.push_str(&padded(&spec, verb, value, cap)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = args
        .take(if out.len() > cap { 0 } else { usize::MAX })
        .map(|value| format!("{}={}", value.type_name(), plain(value, cap)))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn spec<'v>(rest: &mut &str, args: &mut impl Iterator<Item = &'v Value>) -> Spec {
    let mut spec = Spec::default();
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            '0' => spec.zero = true,
            ' ' => spec.space = true,
            _ => break,
        }
        *rest = &rest[1..];
    }
    spec.width = size(rest, args).unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        spec.precision = Some(size(rest, args).unwrap_or(0));
    }
    spec
}

/// A number, or `*` for the next argument.
fn size<'v>(rest: &mut &str, args: &mut impl Iterator<Item = &'v Value>) -> Option<usize> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return match args.next() {
            Some(Value::Int(size)) => usize::try_from(*size).ok().map(|size| size.min(WIDEST)),
            _ => None,
        };
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    *rest = after;
    (!number.is_empty()).then(|| number.parse().unwrap_or(WIDEST).min(WIDEST))
}

fn padded(spec: &Spec, verb: char, value: &Value, cap: usize) -> String {
    let (text, numeric) = formatted(spec, verb, value, cap);
    let missing = spec.width.saturating_sub(text.chars().count());
    if spec.minus {
        format!("{text}{}", " ".repeat(missing))
    } else if spec.zero && numeric {
        let digits = text.trim_start_matches(['+', '-', ' ']);
        let sign = &text[..text.len() - digits.len()];
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{text}", " ".repeat(missing))
    }
}

/// The text without padding, and whether zeros may pad it.
fn formatted(spec: &Spec, verb: char, value: &Value, cap: usize) -> (String, bool) {
    let signed = |text: String| {
        let sign = match (spec.plus, spec.space) {
            _ if text.starts_with(['-', '+']) && !text.starts_with("+Inf") => "",
            (true, _) if !text.starts_with('+') => "+",
            (false, true) => " ",
            _ => "",
        };
        format!("{sign}{text}")
    };
    match (verb, value) {
        ('v', Value::Int(_)) | ('d', Value::Int(_)) => (signed(plain(value, cap)), true),
        ('d', Value::Duration(nanos)) => (signed(nanos.to_string()), true),
        ('v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F', Value::Float(number)) => {
            (signed(float(spec, verb, *number)), number.is_finite())
        }
        ('v' | 't', Value::Bool(_)) => (plain(value, cap), false),
        ('s', Value::Int(_) | Value::Float(_) | Value::Bool(_)) => (bad(verb, value, cap), false),
        ('s' | 'v', _) => {
            let text = plain(value, cap);
            let length = spec.precision.filter(|_| verb == 's').unwrap_or(usize::MAX);
            (text.chars().take(length).collect(), false)
        }
        ('q', Value::String(text)) => (quote(text), false),
        ('q', Value::Int(code)) => {
            let c = u32::try_from(*code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            (format!("{c:?}"), false)
        }
        ('c', Value::Int(code)) => {
            let c = u32::try_from(*code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            (c.to_string(), false)
        }
        ('x' | 'X' | 'o' | 'b', Value::Int(number)) => (radix(spec, verb, *number), true),
        ('x', Value::String(text)) => (text.bytes().map(|b| format!("{b:02x}")).collect(), false),
        ('X', Value::String(text)) => (text.bytes().map(|b| format!("{b:02X}")).collect(), false),
        ('T', _) => (value.type_name().to_owned(), false),
        _ => (bad(verb, value, cap), false),
    }
}

fn float(spec: &Spec, verb: char, number: f64) -> String {
    let text = match verb {
        'f' | 'F' => number::fixed(number, spec.precision.unwrap_or(6)),
        'e' | 'E' => number::exponential(number, spec.precision.unwrap_or(6)),
        _ => number::general(number, spec.precision),
    };
    let upper = matches!(verb, 'E' | 'G') && number.is_finite();
    if upper { text.to_uppercase() } else { text }
}

fn radix(spec: &Spec, verb: char, number: i64) -> String {
    let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let (prefix, digits) = match verb {
        'x' => ("0x", format!("{size:x}")),
        'X' => ("0X", format!("{size:X}")),
        'o' => ("0", format!("{size:o}")),
        _ => ("0b", format!("{size:b}")),
    };
    format!("{sign}{}{digits}", if spec.sharp { prefix } else { "" })
}

/// `%!d(string=x)`: the verb does not fit the value.
fn bad(verb: char, value: &Value, cap: usize) -> String {
    match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", value.type_name(), plain(value, cap)),
    }
}

fn plain(value: &Value, cap: usize) -> String {
    let mut out = String::new();
    match value {
        // `fmt` says this of nil; only the template itself says `<no value>`.
        Value::Nil => out.push_str("<nil>"),
        _ => value.print(&mut out, cap),
    }
    out
}
