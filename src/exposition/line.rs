//! The grammar of one sample line, as Prometheus 3's `promparse.l` has it.
//!
//! A line is a series (a name, labels in braces), a value, perhaps a timestamp, perhaps an
//! exemplar. Finding where the series ends and reading what it says are two functions, because a
//! series that is known needs only the first. Lenient where Prometheus is (blanks anywhere, a
//! missing comma) and in three things more: `\r` before the newline, exemplars in the text
//! format, and negative timestamps, which cAdvisor writes for a time it does not know.

use std::borrow::Cow;
use std::str::Utf8Error;

use memchr::{memchr, memchr2};

use super::error::Problem;
use super::format::Format;
use crate::base::{LabelsBuilder, METRIC_NAME, Timestamp, parse_value};

/// A complaint about a line: the byte it is about, from 0, and what it is.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) at: usize,
    pub(super) problem: Problem,
}

fn bad(at: usize, expected: &'static str) -> Bad {
    Bad { at, problem: Problem::Syntax(expected) }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first byte from `at` on that is neither space nor tab.
pub(super) fn skip_blanks(line: &[u8], at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| !is_blank(*b)).unwrap_or(rest.len())
}

/// Behind the quoted text that starts with the `"` at `at`; `None` if it does not end.
pub(super) fn quoted_end(line: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// What stands between quotes, unescaped.
pub(super) fn unquote(raw: &[u8]) -> Result<Cow<'_, str>, Utf8Error> {
    str::from_utf8(raw).map(unescape)
}

/// `\\`, `\"` and `\n` replaced; any other backslash stays.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (letter, known) = match after.as_bytes().first() {
            Some(b'n') => ('\n', true),
            Some(b'\\') => ('\\', true),
            Some(b'"') => ('"', true),
            _ => ('\\', false),
        };
        out.push(letter);
        rest = if known { &after[1..] } else { after };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the bytes that a bare name may hold end, from `at` on.
fn bare_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':');
    at + rest.iter().position(|b| !in_name(b)).unwrap_or(rest.len())
}

/// Where the series that `line` starts with ends. Only the end is found: what the series says is
/// for [`read_series`] to check.
pub(super) fn series_end(line: &[u8]) -> Result<usize, Bad> {
    let name_end = bare_end(line, 0);
    let open = skip_blanks(line, name_end);
    if line.get(open) != Some(&b'{') {
        return if name_end > 0 { Ok(name_end) } else { Err(bad(0, "expected a metric name")) };
    }
    let mut at = open + 1;
    loop {
        let found = memchr2(b'"', b'}', &line[at..]);
        at += found.ok_or_else(|| bad(line.len(), "missing closing }"))?;
        if line[at] == b'}' {
            return Ok(at + 1);
        }
        at = quoted_end(line, at).ok_or_else(|| bad(at, "missing closing \""))?;
    }
}

/// Takes a sample line apart without reading it: series, value and its own time in milliseconds, as
/// the text format has it. `None` for comments, empty lines and what is none of either.
pub fn split_sample(line: &[u8]) -> Option<(&str, &str, Option<Timestamp>)> {
    let start = skip_blanks(line, 0);
    let line = str::from_utf8(line.get(start..)?).ok()?;
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (series, rest) = line.split_at_checked(series_end(line.as_bytes()).ok()?)?;
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?;
    let own = words.next().and_then(|word| word.parse().ok()).map(Timestamp);
    Some((series, value, own))
}

/// Reads a whole series, as [`series_end`] cut it. Labels with empty values are absent; a name
/// that is not there is for the caller to refuse, because relabelling may still give one.
pub(super) fn read_series(text: &[u8]) -> Result<LabelsBuilder, Bad> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(16);
    let name_end = bare_end(text, 0);
    if name_end > 0 {
        pairs.push((Cow::Borrowed(METRIC_NAME), bare(text, 0, name_end)?));
    }
    let mut at = skip_blanks(text, name_end) + 1;
    while at < text.len() {
        at = skip_blanks(text, at);
        if text.get(at) == Some(&b'}') {
            break;
        }
        let (name, after) = read_name(text, at)?;
        let next = skip_blanks(text, after);
        if text[at] == b'"' && matches!(text.get(next), Some(b',' | b'}')) {
            // A quoted text by itself is the metric's name.
            if pairs.iter().any(|(name, _)| name == METRIC_NAME) {
                return Err(bad(at, "metric name already set"));
            }
            pairs.push((Cow::Borrowed(METRIC_NAME), name));
            at = next + usize::from(text[next] == b',');
            continue;
        }
        if name.is_empty() {
            return Err(bad(at, "expected a label name"));
        }
        if text.get(next) != Some(&b'=') {
            return Err(bad(next, "expected = after the label name"));
        }
        let open = skip_blanks(text, next + 1);
        let (value, after) = read_quoted(text, open, "expected a label value in quotes")?;
        pairs.push((name, value));
        at = skip_blanks(text, after);
        at += usize::from(text.get(at) == Some(&b','));
    }
    // Sorted once, because a hostile line may hold a million labels.
    pairs.sort_unstable();
    if let Some([(name, _), _]) = pairs.array_windows().find(|[(a, _), (b, _)]| a == b) {
        return Err(Bad {
            at: 0,
            problem: Problem::RepeatedLabel(name.chars().take(50).collect()),
        });
    }
    let mut labels = LabelsBuilder::default();
    for (name, value) in &pairs {
        labels.set(name, value);
    }
    Ok(labels)
}

/// A label's name, bare or quoted, and where it ends.
fn read_name(text: &[u8], at: usize) -> Result<(Cow<'_, str>, usize), Bad> {
    if text.get(at) == Some(&b'"') {
        return read_quoted(text, at, "expected a label name");
    }
    let end = bare_end(text, at);
    let name = bare(text, at, end)?;
    if name.contains(':') {
        return Err(bad(at, "expected a label name"));
    }
    Ok((name, end))
}

/// A bare name: not empty, and not starting with a digit.
fn bare(text: &[u8], at: usize, end: usize) -> Result<Cow<'_, str>, Bad> {
    match str::from_utf8(&text[at..end]) {
        Ok(name) if name.starts_with(|c: char| !c.is_ascii_digit()) => Ok(Cow::Borrowed(name)),
        _ => Err(bad(at, if at == 0 { "expected a metric name" } else { "expected a label name" })),
    }
}

fn read_quoted<'a>(
    text: &'a [u8],
    at: usize,
    expected: &'static str,
) -> Result<(Cow<'a, str>, usize), Bad> {
    if text.get(at) != Some(&b'"') {
        return Err(bad(at, expected));
    }
    let end = quoted_end(text, at).ok_or_else(|| bad(at, "missing closing \""))?;
    let raw = &text[at + 1..end - 1];
    let value = unquote(raw).map_err(|error| bad(at + 1 + error.valid_up_to(), "invalid UTF-8"))?;
    Ok((value, end))
}

/// Reads what follows the series, which ends at `at`: value, timestamp, exemplar.
pub(super) fn read_value(
    line: &[u8],
    at: usize,
    format: Format,
) -> Result<(f64, Option<Timestamp>), Bad> {
    let (token, start, at) = next_token(line, at);
    if token.is_empty() {
        return Err(bad(start, "expected a value after the series"));
    }
    let value = read_number(token).ok_or_else(|| bad(start, "expected a number as value"))?;
    if at == line.len() {
        return Ok((value, None));
    }
    if line[at] == b'#' {
        return check_exemplar(line, at).map(|()| (value, None));
    }
    let (token, start, at) = next_token(line, at);
    let stamp = read_timestamp(token, format)
        .ok_or_else(|| bad(start, "expected a timestamp or the end of the line"))?;
    if at < line.len() {
        check_exemplar(line, at)?;
    }
    Ok((value, Some(stamp)))
}

/// The next word, where it starts, and where the one after it starts.
fn next_token(line: &[u8], at: usize) -> (&[u8], usize, usize) {
    let start = skip_blanks(line, at);
    let rest = &line[start..];
    let length = rest.iter().position(|b| is_blank(*b)).unwrap_or(rest.len());
    (&rest[..length], start, skip_blanks(line, start + length))
}

fn read_number(token: &[u8]) -> Option<f64> {
    let value = parse_value(str::from_utf8(token).ok()?)?;
    // Go refuses a number too large for a float; Rust calls it infinite.
    let overflowed = value.is_infinite() && token.iter().any(u8::is_ascii_digit);
    (!overflowed).then_some(value)
}

fn read_timestamp(token: &[u8], format: Format) -> Option<Timestamp> {
    let text = str::from_utf8(token).ok().filter(|text| !text.starts_with('+'))?;
    match format {
        Format::Text => text.parse().ok().map(Timestamp),
        Format::OpenMetrics => {
            let seconds = parse_value(text).filter(|seconds| seconds.is_finite())?;
            Some(Timestamp::from_seconds(seconds))
        }
    }
}

/// An exemplar is recognised and left unread: nothing here uses one.
fn check_exemplar(line: &[u8], at: usize) -> Result<(), Bad> {
    let is_exemplar = line[at] == b'#' && line.get(skip_blanks(line, at + 1)) == Some(&b'{');
    if is_exemplar { Ok(()) } else { Err(bad(at, "expected the end of the line")) }
}
