//! Series and values as tests write them: `up{job="a"}` and `1+1x10 _x2 stale`.
//!
//! Prometheus's notation of promtool's unit tests (`promql/parser` series descriptions). Values are
//! kept as runs and never expanded here: `1x1000000000` is a line of text, not a gigabyte.

use super::ast::ExprKind;
use super::parser::{ParseOptions, is_reserved, parse};
use super::quoting::quote;
use crate::base::{Labels, METRIC_NAME, STALE_NAN, is_metric_name, parse_value};
use crate::window::MatchOp;

/// Why a text is not in this notation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotationError {
    /// The byte at fault.
    pub offset: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

/// Equal steps of a series' values.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Run {
    /// So many times no sample.
    Gap(u64),
    /// A value and how often it follows once more, each time changed by `step`.
    Values { first: f64, step: f64, more: u64 },
}

/// The values of a series, one per interval.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeriesValues {
    runs: Vec<Run>,
}

/// Reads `name{label="value"}`, `{label="value"}`, `name` or nothing, which is no labels.
pub fn parse_series(text: &str) -> Result<Labels, NotationError> {
    Ok(Labels::from_pairs(pairs(text)?))
}

/// As [`parse_series`], for what is expected. As to promtool, an empty label behind no name differs
/// from one that is absent; behind a name it is none.
pub fn parse_expected(text: &str) -> Result<Labels, NotationError> {
    let is_named = !text.trim_start().starts_with('{');
    let pairs = pairs(text)?;
    Ok(if is_named { Labels::from_pairs(pairs) } else { Labels::of_texts(pairs) })
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, NotationError> {
    let start = text.len() - text.trim_start().len();
    let body = text.trim();
    let name_end = body.find(['{', ' ', '\t']).unwrap_or(body.len());
    let (name, braces) = body.split_at(name_end);
    let fail = |offset: usize, message: String| Err(NotationError { offset, message });
    if !name.is_empty() && !is_metric_name(name) {
        return fail(start, format!("`{name}` is not a metric name"));
    }
    if is_reserved(name) {
        let message = format!("`{name}` is a word of PromQL; write `{{__name__=\"{name}\"}}`");
        return fail(start, message);
    }
    let trimmed = braces.trim_start();
    let inner_at = start + body.len() - trimmed.len();
    if trimmed.is_empty() || trimmed.strip_prefix('{').is_some_and(|rest| rest.trim() == "}") {
        let named = Some((METRIC_NAME.to_owned(), name.to_owned()));
        return Ok(named.filter(|_| !name.is_empty()).into_iter().collect());
    }
    if !trimmed.starts_with('{') {
        return fail(inner_at, format!("unexpected `{trimmed}` behind the metric name"));
    }
    // The labels are a selector's: the parser of queries reads them. The name goes in front as a
    // matcher, because words like `sum` are names here.
    let head = if name.is_empty() { "{".to_owned() } else { format!("{{{},", quote(name)) };
    let shift = |at: usize| inner_at + at.saturating_sub(head.len()) + 1;
    let expr = parse(&format!("{head}{}", &trimmed[1..]), &ParseOptions::default());
    let selector = match expr.map(|expr| expr.kind) {
        Ok(ExprKind::Vector(vector)) if vector.offset.is_none() && vector.at.is_none() => {
            vector.selector
        }
        Ok(_) => {
            return fail(inner_at, "is not a series; write `name{label=\"value\"}`".to_owned());
        }
        Err(error) => return fail(shift(error.span.start), error.message),
    };
    let mut pairs = Vec::new();
    for matcher in selector.matchers() {
        if matcher.op != MatchOp::Equal {
            return fail(inner_at, format!("`{matcher}` must be an equality: a series has values"));
        }
        pairs.push((matcher.name.clone(), matcher.value.clone()));
    }
    Ok(pairs)
}

impl SeriesValues {
    /// Reads values: `1`, `a+bxn` and `a-bxn` (n more, each changed by b), `axn` (n more of the
    /// same), `_` and `_xn` (no sample), `stale`.
    pub fn parse(text: &str) -> Result<SeriesValues, NotationError> {
        let mut runs = Vec::new();
        let mut offset = 0;
        for token in text.split(' ').flat_map(|word| word.split(['\t', '\n'])) {
            if !token.is_empty() {
                runs.push(run(token).map_err(|message| NotationError { offset, message })?);
            }
            offset += token.len() + 1;
        }
        Ok(SeriesValues { runs })
    }

    /// The values one after the other; `None` is no sample.
    pub fn iter(&self) -> impl Iterator<Item = Option<f64>> {
        self.runs.iter().flat_map(|run| {
            let (count, first, step) = match *run {
                Run::Gap(count) => (count, None, 0.0),
                Run::Values { first, step, more } => (more.saturating_add(1), Some(first), step),
            };
            // Added up as promtool does, so that rounding is the same. The stale marker is kept as
            // it is: arithmetic could change its bits.
            let mut value = first;
            (0..count).map(move |at| {
                if at > 0 && step != 0.0 {
                    value = value.map(|value| value + step);
                }
                value
            })
        })
    }
}

fn run(token: &str) -> Result<Run, String> {
    let bad = || {
        let forms = "a number, `a+bxn`, `axn`, `_`, `_xn` or `stale`";
        format!("`{token}` is not a value; write {forms}")
    };
    let (value, times) = match token.rsplit_once('x') {
        Some((value, times)) => (value, Some(times.parse::<u64>().map_err(|_| bad())?)),
        None => (token, None),
    };
    if value == "_" {
        return Ok(Run::Gap(times.unwrap_or(1)));
    }
    if token == "stale" {
        return Ok(Run::Values { first: STALE_NAN, step: 0.0, more: 0 });
    }
    let sign = value
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !value[..*at].ends_with(['e', 'E']));
    let (first, step) = match sign {
        Some((at, _)) if times.is_some() => (&value[..at], &value[at..]),
        Some(_) => return Err(bad()),
        None => (value, "0"),
    };
    // Prometheus reads words to their end, and knows none like `Infx3`.
    if is_word(step) || (is_word(first) && sign.is_none() && times.is_some()) {
        return Err(bad());
    }
    let is_known = |text: &&str| !is_word(text) || !text.to_ascii_lowercase().ends_with("infinity");
    let number = |text: &str| Some(text).filter(is_known).and_then(parse_value).ok_or_else(bad);
    Ok(Run::Values { first: number(first)?, step: number(step)?, more: times.unwrap_or(0) })
}

/// Whether a number is `Inf` or `NaN`; Prometheus knows no longer word for one.
fn is_word(number: &str) -> bool {
    number.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::is_stale;

    #[test]
    fn series_are_labels() {
        let cases = [
            ("", "{}"),
            (" {} ", "{}"),
            ("up", "up"),
            ("up{}", "up"),
            ("sum{by=\"x\"}", "sum{by=\"x\"}"),
            ("{a=\"b\", c='d',}", "{a=\"b\", c=\"d\"}"),
            ("a:b {x=\"\\\"\"}", "a:b{x=\"\\\"\"}"),
        ];
        for (text, want) in cases {
            assert_eq!(parse_series(text).expect(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_series_says_where() {
        let cases = [
            ("a b", 2, "unexpected `b` behind"),
            ("1a", 0, "is not a metric name"),
            ("m{a=1}", 4, "unexpected"),
            (" on", 1, "is a word of PromQL; write `{__name__=\"on\"}`"),
            ("NaN{a=\"b\"}", 0, "is a word of PromQL"),
            ("  m{a=\"b\" c}", 10, "unexpected"),
            ("m{a=~\"b\"}", 1, "must be an equality"),
            ("m{a=\"b\"}[5m]", 1, "is not a series"),
            ("m{a=\"b\"", 7, "unexpected"),
        ];
        for (text, offset, message) in cases {
            let error = parse_series(text).expect_err(text);
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert_eq!(error.offset, offset, "{text}: {error:?}");
        }
    }

    #[test]
    fn values_expand_step_by_step() {
        let cases = [
            ("", ""),
            ("1 -2 1.5e3 +Inf NaN", "1 -2 1500 inf NaN"),
            ("1+1x3", "1 2 3 4"),
            ("1-2x2 \t 5x1", "1 -1 -3 5 5"),
            ("-1-2x1", "-1 -3"),
            ("1+1e1x1", "1 11"),
            ("0x2", "0 0 0"),
            ("_ 1 _x2 stale 2", "_ 1 _ _ stale 2"),
            ("0.1+0.1x2", "0.1 0.2 0.30000000000000004"),
            ("Inf-1x1 nan+1x1", "inf inf NaN NaN"),
        ];
        for (text, want) in cases {
            let values = SeriesValues::parse(text).expect(text);
            let shown = values.iter().map(|value| match value {
                None => "_".to_owned(),
                Some(value) if is_stale(value) => "stale".to_owned(),
                Some(value) => value.to_string(),
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), want, "{text}");
        }
        for (text, offset) in
            [("1 zz", 2), ("1 stalex2", 2), ("1+1", 0), ("1xx2", 0), ("1x-1", 0), ("_+1x2", 0)]
                .into_iter()
                .chain([("1 Infx3", 2), ("1+NaNx3", 0), ("1 -infx2", 2), ("infinity", 0)])
        {
            assert_eq!(SeriesValues::parse(text).expect_err(text).offset, offset, "{text}");
        }
        let endless = SeriesValues::parse("1+1x18446744073709551615").expect("reads");
        assert_eq!(endless.iter().nth(999), Some(Some(1000.0)), "never expanded as a whole");
    }
}
