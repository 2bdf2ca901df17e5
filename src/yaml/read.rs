//! Readers: from a place in the tree to a value, or to a problem at that place.
//!
//! Quotes do not matter where the text can mean only one thing: `"5s"` is a duration, `"3"` a
//! number, but for files that promtool reads too. Yes and no are not booleans (YAML 1.2), and the message says so.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::fields::Cursor;
use super::node::Kind;
use crate::base::{closest, excerpt, format_duration, is_label_name, parse_duration, parse_value};

/// The text of a scalar, whatever it looks like.
pub fn string(mut at: Cursor<'_, '_>) -> Option<String> {
    text(&mut at).map(str::to_owned)
}

/// A name: a text that says something, on one line, for it stands in labels, headers and rows.
pub fn name(mut at: Cursor<'_, '_>) -> Option<String> {
    let text = text(&mut at)?;
    if text.trim().is_empty() {
        at.error_hint("is empty", "write a name, or leave the key out");
        return None;
    }
    if text.contains(char::is_control) {
        at.error("has a control character");
        return None;
    }
    Some(text.to_owned())
}

/// `true` or `false`.
pub fn boolean(mut at: Cursor<'_, '_>) -> Option<bool> {
    let text = text(&mut at)?;
    match text {
        "true" | "True" | "TRUE" => return Some(true),
        "false" | "False" | "FALSE" => return Some(false),
        _ => {}
    }
    let message = format!("`{text}` is not a boolean");
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "1" => at.error_hint(message, "write `true`"),
        "no" | "off" | "n" | "0" => at.error_hint(message, "write `false`"),
        _ => at.error_hint(message, "write `true` or `false`"),
    }
    None
}

/// An integer type and its range, for messages.
pub trait Integer: FromStr {
    /// `between 0 and 255`
    const RANGE: (i128, i128);
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Integer for $type {
            const RANGE: (i128, i128) = (<$type>::MIN as i128, <$type>::MAX as i128);
        })*
    };
}
integers!(u16, u32, u64, usize, i64);

/// A whole number, in decimal digits.
pub fn integer<T: Integer>(mut at: Cursor<'_, '_>) -> Option<T> {
    let text = text(&mut at)?;
    let value = text.parse().ok();
    if value.is_none() {
        let (low, high) = T::RANGE;
        at.error(format!("`{text}` is not a whole number between {low} and {high}"));
    }
    value
}

/// A finite number.
pub fn float(mut at: Cursor<'_, '_>) -> Option<f64> {
    let text = text(&mut at)?;
    let value = parse_value(text).filter(|value| value.is_finite());
    if value.is_none() {
        at.error(format!("`{text}` is not a number"));
    }
    value
}

/// A number as Prometheus's own files have it: not in quotes, and infinities and NaN as `-.inf` and
/// `.nan`; `NaN` is a word.
pub fn number(mut at: Cursor<'_, '_>) -> Option<f64> {
    let text = text(&mut at)?;
    if matches!(&at.node.kind, Kind::Scalar(scalar) if scalar.quoted) {
        let message = format!("`{}` in quotes is a text, not a number", excerpt(text));
        at.error_hint(message, "take the quotes away");
        return None;
    }
    let number = number_of(text);
    if number.is_some() {
        return number;
    }
    let message = format!("`{}` is not a number", excerpt(text));
    match parse_value(text) {
        Some(value) if value.is_nan() => at.error_hint(message, "write `.nan`"),
        Some(f64::INFINITY) => at.error_hint(message, "write `.inf`"),
        Some(f64::NEG_INFINITY) => at.error_hint(message, "write `-.inf`"),
        _ => at.error(message),
    }
    None
}

/// A [`number`] that becomes whole by leaving its fraction away.
pub fn truncated(mut at: Cursor<'_, '_>) -> Option<i64> {
    let number = number(at.again())?;
    // An integer as it is written: a float cannot hold all of them.
    let plain = at.node.text().unwrap_or_default().replace('_', "");
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let whole = match whole_number(digits).map(i128::from) {
        Some(whole) if plain.starts_with('-') => Some(-whole),
        Some(whole) => Some(whole),
        None => Some(number as i128).filter(|_| !number.is_nan()),
    };
    let fitting = whole.and_then(|whole| i64::try_from(whole).ok());
    if fitting.is_none() {
        let (low, high) = i64::RANGE;
        at.error(format!("`{plain}` is not a whole number between {low} and {high}"));
    }
    fitting
}

/// A Prometheus duration: `30s`, `1h30m`, `0`.
pub fn duration(mut at: Cursor<'_, '_>) -> Option<Duration> {
    let text = text(&mut at)?;
    parse_duration(text).map_err(|error| at.error(error.to_string())).ok()
}

/// A Prometheus duration that is not zero.
pub fn positive_duration(mut at: Cursor<'_, '_>) -> Option<Duration> {
    let duration = duration(at.again())?;
    if duration.is_zero() {
        at.error("must be longer than zero");
        return None;
    }
    Some(duration)
}

/// A Prometheus duration that is neither too short nor too long.
pub fn duration_within(
    mut at: Cursor<'_, '_>,
    allowed: RangeInclusive<Duration>,
) -> Option<Duration> {
    let duration = duration(at.again())?;
    let is_allowed = allowed.contains(&duration);
    if !is_allowed {
        let [given, low, high] = [duration, *allowed.start(), *allowed.end()].map(format_duration);
        let what = if duration < *allowed.start() { "short" } else { "long" };
        at.error_hint(format!("{given} is too {what}"), format!("write {low} to {high}"));
    }
    is_allowed.then_some(duration)
}

/// A size in bytes: `64MiB`, `512m`, `15MB`, `1.5g`, `1048576`. Every unit is binary, with and
/// without the `i`, as in Docker's `--memory` (go-units `RAMInBytes`) and Prometheus's sizes
/// (units `Base2Bytes`): `1k` = `1KB` = `1KiB` = 1024.
pub fn bytes(mut at: Cursor<'_, '_>) -> Option<u64> {
    let text = text(&mut at)?;
    let size = parse_bytes(text);
    if size.is_none() {
        let message = format!("`{text}` is not a size");
        at.error_hint(message, "write for example `512m` or `64MiB` (units are powers of 1024)");
    }
    size
}

/// A list of strings.
pub fn strings(mut at: Cursor<'_, '_>) -> Option<Vec<String>> {
    at.each_item(string)
}

/// Labels: valid names other than `__name__`, values as written, in the order of the file. An
/// empty value is kept: whoever builds the label set drops it.
pub fn labels(mut at: Cursor<'_, '_>) -> Option<Vec<(String, String)>> {
    at.each_entry(|key, mut value| {
        if !is_label_name(&key.text) || key.text == crate::base::METRIC_NAME {
            let problem = value.problem(key.at, format!("invalid label name: `{}`", key.text));
            value.push(problem);
            return None;
        }
        label_value(&mut value).map(|text| (key.text.clone(), text.to_owned()))
    })
}

/// The value of a label or annotation: a text; nothing is the empty text, as in Prometheus.
pub fn label_value<'n>(at: &mut Cursor<'n, '_>) -> Option<&'n str> {
    if at.node.kind == Kind::Null { Some("") } else { text(at) }
}

/// An `http` or `https` URL with a host.
pub fn url(mut at: Cursor<'_, '_>) -> Option<String> {
    let text = text(&mut at)?;
    if let Err(reason) = check_url(text) {
        let message = format!("{} is not a URL: {reason}", shown_url(text));
        at.error_hint(message, "write `https://host:port/path`");
        return None;
    }
    Some(text.to_owned())
}

/// An address that cannot be read, for people. Where it may hold a password it is not repeated: problems are
/// also told where others read, and what is no URL cannot be told apart into its parts.
pub fn shown_url(text: &str) -> String {
    if text.contains('@') { "what is written there".to_owned() } else { format!("`{text}`") }
}

/// One of a few words.
pub fn one_of<T: Copy>(mut at: Cursor<'_, '_>, words: &[(&str, T)]) -> Option<T> {
    let text = text(&mut at)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let hint = match closest(text, known.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
    };
    at.error_hint(format!("`{text}` is not known here"), hint);
    None
}

/// Whatever [`FromStr`] reads; its error becomes the message.
pub fn parsed<T: FromStr<Err: Display>>(mut at: Cursor<'_, '_>) -> Option<T> {
    let text = text(&mut at)?;
    text.parse().map_err(|error: T::Err| at.error(error)).ok()
}

/// The number that a plain scalar is to Prometheus's reader of YAML: underscores mean nothing behind
/// a digit, and integers have the prefixes of Go, so that `017` is 15.
fn number_of(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ if text.starts_with('_') || text.starts_with('.') && text.contains('_') => return None,
        _ => {}
    }
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if let Some(whole) = whole_number(digits) {
        return Some(sign * whole as f64);
    }
    let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number = digits.parse().ok().filter(|number: &f64| is_decimal && number.is_finite());
    number.map(|number| sign * number)
}

/// Go's `strconv.ParseUint(digits, 0, 64)`.
fn whole_number(digits: &str) -> Option<u64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let fits = digits.chars().all(|digit| digit.is_digit(radix));
    u64::from_str_radix(digits, radix).ok().filter(|_| fits)
}

/// The text of a scalar, or a problem.
fn text<'n>(at: &mut Cursor<'n, '_>) -> Option<&'n str> {
    let text = at.node.text();
    if text.is_none() {
        at.error(format!("must be a single value, not {}", at.node.describe()));
    }
    text
}

/// A size as [`bytes`] reads it; `None` if it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    let scale = 1024_u64.pow(power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let size = number.parse::<f64>().ok()? * scale as f64;
    // 2^53: beyond it a fraction would be lost, and no host has that many bytes.
    (size < 9_007_199_254_740_992.0).then_some(size as u64)
}

fn check_url(text: &str) -> Result<(), &'static str> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or("it must begin with http:// or https://")?;
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it contains white space");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    // An IPv6 address is full of colons, in brackets.
    let (host, port) = match host_and_port.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (host_and_port, None),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_)) => Err("the port is not a number up to 65535"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::super::{Problems, parse};
    use super::*;

    /// Reads the value of `k`; shows what came out or the problems.
    fn check<T: Debug>(
        read: impl FnOnce(Cursor<'_, '_>) -> Option<T>,
        value: &str,
        want: impl Into<String>,
    ) {
        let mut problems = Problems::default();
        let text = format!("k: {value}");
        let root = parse("a.yml", &text, &mut problems).expect(value);
        let node = root.get("k").expect(value);
        let got = read(Cursor::root("a.yml", node, &mut problems));
        let shown = match got {
            Some(got) if problems.is_empty() => format!("{got:?}"),
            _ => problems.to_string().trim_end().replace("a.yml:", ""),
        };
        assert_eq!(shown, want.into(), "{value}");
    }

    #[test]
    fn strings_keep_what_was_written() {
        for text in ["1.10", "yes", "014", "1_000", "0x1f", ".inf", "2026-11-22"] {
            check(string, text, format!("{text:?}"));
        }
        check(string, "'null'", "\"null\"");
        check(string, "[a]", "1:4: must be a single value, not a list");
        check(string, "", "1:2: must be a single value, not nothing");
        check(strings, "[a, 1, 'b c']", r#"["a", "1", "b c"]"#);
        check(strings, "[a, [b]]", "1:8: [1]: must be a single value, not a list");
        check(strings, "a", "1:4: must be a list, not a single value; write `[a]`");
    }

    #[test]
    fn booleans() {
        for (text, want) in [("true", "true"), ("False", "false"), ("'true'", "true")] {
            check(boolean, text, want);
        }
        for (text, hint) in [("yes", "write `true`"), ("off", "write `false`")] {
            check(boolean, text, format!("1:4: `{text}` is not a boolean; {hint}"));
        }
        check(boolean, "maybe", "1:4: `maybe` is not a boolean; write `true` or `false`");
    }

    #[test]
    fn numbers() {
        check(integer::<u64>, "42", "42");
        check(integer::<i64>, "-42", "-42");
        check(integer::<u16>, "65536", "1:4: `65536` is not a whole number between 0 and 65535");
        check(
            integer::<i64>,
            "1.0",
            "1:4: `1.0` is not a whole number between -9223372036854775808 and 9223372036854775807",
        );
        check(float, "0.5", "0.5");
        check(float, "-1e3", "-1000.0");
        check(float, "NaN", "1:4: `NaN` is not a number");
        check(float, "half", "1:4: `half` is not a number");
    }

    #[test]
    fn numbers_of_prometheus_are_truncated_and_not_in_quotes() {
        for (text, want) in
            [("5", "5"), ("5.7", "5"), ("-0x10", "-16"), ("017", "15"), ("1e2", "100")]
        {
            check(truncated, text, want);
        }
        // Which no float is.
        for text in ["9223372036854775807", "-9223372036854775808", "-9223372036854775807"] {
            check(truncated, text, text);
        }
        check(truncated, "'5'", "1:4: `5` in quotes is a text, not a number; take the quotes away");
        check(truncated, "x", "1:4: `x` is not a number");
        for text in ["1e19", ".inf", ".nan"] {
            let want = "is not a whole number between -9223372036854775808 and 9223372036854775807";
            check(truncated, text, format!("1:4: `{text}` {want}"));
        }
    }

    #[test]
    fn durations() {
        check(duration, "1h30m", "5400s");
        check(duration, "0", "0ns");
        check(
            duration,
            "5",
            "1:4: `5` is not a duration; write for example `30s`, `5m` or `1h30m`",
        );
        check(positive_duration, "5ms", "5ms");
        check(positive_duration, "0s", "1:4: must be longer than zero");
    }

    #[test]
    fn sizes_are_binary_with_and_without_the_i() {
        let mib = 1024 * 1024;
        let cases = [
            ("64MiB", 64 * mib),
            ("512m", 512 * mib),
            ("512M", 512 * mib),
            ("16GiB", 16 * 1024 * mib),
            ("15MB", 15 * mib),
            ("1.5g", 1536 * mib),
            ("1048576", mib),
            ("10b", 10),
            ("1 KB", 1024),
            ("0", 0),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, want) in cases {
            check(bytes, text, want.to_string());
        }
        for text in ["m", "-1m", "5x", "1.2.3g", "20000000t", "99999999.5t", "1e3"] {
            let want = format!(
                "1:4: `{text}` is not a size; write for example `512m` or `64MiB` (units are \
                 powers of 1024)"
            );
            check(bytes, text, want);
        }
    }

    #[test]
    fn labels_are_checked_by_name() {
        check(
            labels,
            "{severity: 1, v: 1.10, e:}",
            r#"[("severity", "1"), ("v", "1.10"), ("e", "")]"#,
        );
        check(
            labels,
            "{a-b: 1, __name__: x, c: [d]}",
            "1:5: a-b: invalid label name: `a-b`\n1:13: __name__: invalid label name: `__name__`\n\
             1:29: c: must be a single value, not a list",
        );
    }

    #[test]
    fn urls() {
        for text in ["http://a", "https://a.b:9093/x?y=1", "http://[::1]:9093", "http://u:p@h/"] {
            check(url, text, format!("{text:?}"));
        }
        let cases = [
            ("a:9093", "it must begin with http:// or https://"),
            ("http://", "the host is missing"),
            ("http://:80", "the host is missing"),
            ("http://a:x/", "the port is not a number up to 65535"),
            ("http://a b", "it contains white space"),
        ];
        for (text, reason) in cases {
            let hint = "write `https://host:port/path`";
            check(url, text, format!("1:4: `{text}` is not a URL: {reason}; {hint}"));
        }
    }

    #[test]
    fn words_and_parsed_values() {
        let words = [("observe", 1), ("notify", 2), ("act", 3)];
        check(|at| one_of(at, &words), "act", "3");
        check(
            |at| one_of(at, &words),
            "obserfe",
            "1:4: `obserfe` is not known here; did you mean `observe`?",
        );
        check(
            |at| one_of(at, &words),
            "sleep",
            "1:4: `sleep` is not known here; known: observe, notify, act",
        );
        check(parsed::<std::net::SocketAddr>, "'127.0.0.1:1'", "127.0.0.1:1");
        check(parsed::<std::net::SocketAddr>, "x", "1:4: invalid socket address syntax");
    }
}
