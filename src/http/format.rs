//! Answers in Prometheus's JSON, written straight into bytes.
//!
//! A matrix can have millions of numbers: no tree of them is built, and labels are written from
//! where they are. `resultType` comes before `result`, as Grafana's streaming reader expects.

use std::io;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{ApiError, ErrorKind};
use crate::base::{Labels, Timestamp, format_value};
use crate::promql::eval::Value;

/// More than a panel can draw, and little enough that a few at once do no harm.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Notes beside a result.
#[derive(Clone, Default, Debug)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

impl Notes {
    /// Only warnings.
    pub(super) fn warnings(warnings: Vec<String>) -> Notes {
        Notes { warnings, infos: Vec::new() }
    }
}

/// `{"status":"success","data":…}`
pub(super) fn success(data: &impl Serialize, notes: &Notes) -> Response {
    let mut out = b"{\"status\":\"success\",\"data\":".to_vec();
    write_json(&mut out, data);
    end(out, notes)
}

/// `{"status":"success","data":…}`, of data that is JSON already.
pub(super) fn success_json(data: &[u8]) -> Response {
    let mut out = b"{\"status\":\"success\",\"data\":".to_vec();
    out.extend_from_slice(data);
    end(out, &Notes::default())
}

/// How many bytes data has in JSON.
pub(super) fn json_bytes(data: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, data).expect("nothing is written, and every key is text");
    counted.0
}

/// How many bytes the answer to a query has at most, but for characters in labels that JSON escapes.
pub(super) fn bytes_at_most(value: &Value) -> usize {
    match value {
        Value::Scalar(number) => POINT_BYTES + fixed_form(*number).len(),
        Value::String(text) => POINT_BYTES + text.len(),
        Value::Vector(series) => series.iter().map(|(labels, _)| series_bytes(labels, 1)).sum(),
        Value::Matrix(series) => {
            series.iter().map(|(labels, points)| series_bytes(labels, points.len())).sum()
        }
    }
}

/// The longest a point of now can be.
const POINT_BYTES: usize = r#"[1795313872.960,"-2.2250738585072014e-308"],"#.len();

fn series_bytes(labels: &Labels, points: usize) -> usize {
    let pair = |(name, value): (&str, &str)| name.len() + value.len() + r#""":"","#.len();
    let around = r#"{"metric":{},"values":[]},"#.len();
    around + labels.iter().map(pair).sum::<usize>() + points * POINT_BYTES
}

/// Counts bytes and forgets them.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer to a query. `at` is the time of an instant query.
pub(super) fn query_result(
    value: &Value,
    at: Timestamp,
    notes: &Notes,
) -> Result<Response, ApiError> {
    Ok(end(write_result(value, at, MAX_ANSWER_BYTES)?, notes))
}

fn write_result(value: &Value, at: Timestamp, max_bytes: usize) -> Result<Vec<u8>, ApiError> {
    let mut out = b"{\"status\":\"success\",\"data\":{\"resultType\":".to_vec();
    match value {
        Value::Scalar(number) => {
            out.extend_from_slice(b"\"scalar\",\"result\":");
            write_point(&mut out, &plain_seconds(at), &fixed_form(*number));
        }
        Value::String(text) => {
            out.extend_from_slice(b"\"string\",\"result\":");
            write_point(&mut out, &plain_seconds(at), text);
        }
        Value::Vector(series) => {
            out.extend_from_slice(b"\"vector\",\"result\":");
            write_series(&mut out, series, max_bytes, |out, number| {
                out.extend_from_slice(b"\"value\":");
                write_point(out, &seconds(at), &format_value(*number));
            })?;
        }
        Value::Matrix(series) => {
            out.extend_from_slice(b"\"matrix\",\"result\":");
            write_series(&mut out, series, max_bytes, |out, samples| {
                out.extend_from_slice(b"\"values\":");
                write_list(out, samples, |out, sample| {
                    write_point(out, &seconds(sample.at), &format_value(sample.value));
                });
            })?;
        }
    }
    out.push(b'}');
    Ok(out)
}

fn end(mut out: Vec<u8>, notes: &Notes) -> Response {
    for (name, texts) in [("warnings", &notes.warnings), ("infos", &notes.infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            write_json(&mut out, texts);
        }
    }
    out.push(b'}');
    ([(header::CONTENT_TYPE, "application/json")], out).into_response()
}

fn write_series<T>(
    out: &mut Vec<u8>,
    series: &[(Labels, T)],
    max_bytes: usize,
    mut write: impl FnMut(&mut Vec<u8>, &T),
) -> Result<(), ApiError> {
    let mut fits = true;
    write_list(out, series, |out, (labels, points)| {
        fits = fits && out.len() <= max_bytes;
        if !fits {
            return;
        }
        out.extend_from_slice(b"{\"metric\":");
        write_json(out, labels);
        out.push(b',');
        write(out, points);
        out.push(b'}');
    });
    if fits && out.len() <= max_bytes {
        return Ok(());
    }
    let message = format!(
        "the answer is larger than {max_bytes} bytes; select fewer series, a shorter range or a \
         longer step"
    );
    Err(ApiError::new(ErrorKind::Execution, message))
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// `[1795313872.960,"7"]`
fn write_point(out: &mut Vec<u8>, seconds: &str, value: &str) {
    out.push(b'[');
    out.extend_from_slice(seconds.as_bytes());
    out.push(b',');
    write_json(out, &value);
    out.push(b']');
}

/// Seconds with three decimals, or none (`util/jsonutil.MarshalTimestamp`).
fn seconds(at: Timestamp) -> String {
    let millis = at.as_millis();
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, part) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    if part == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part:03}") }
}

/// The same as any number of JSON, beside what is no series.
fn plain_seconds(at: Timestamp) -> String {
    let text = seconds(at);
    if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text }
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("memory takes it, and every map has text keys");
}

/// Go's `FormatFloat(value, 'f', -1, 64)`: how a number that is no series is written.
pub(super) fn fixed_form(value: f64) -> String {
    // Rust's shortest notation has no exponent either.
    if value.is_finite() { value.to_string() } else { format_value(value) }
}

/// Go's `FormatFloat(value, 'e', -1, 64)`: how `/alerts` writes values.
pub(super) fn exponent_form(value: f64) -> String {
    if !value.is_finite() {
        return format_value(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("`{:e}` always writes an `e`");
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sample;

    #[test]
    fn seconds_have_three_decimals_or_none() {
        let cases =
            [(0, "0"), (10_000, "10"), (1_795_313_872_960, "1795313872.960"), (-1, "-0.001")];
        for (millis, want) in cases {
            assert_eq!(seconds(Timestamp(millis)), want);
        }
    }

    #[test]
    fn exponents_are_gos() {
        let cases = [
            (7.0, "7e+00"),
            (0.0, "0e+00"),
            (-1.5e-7, "-1.5e-07"),
            (1e300, "1e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, want) in cases {
            assert_eq!(exponent_form(value), want);
        }
    }

    #[test]
    fn numbers_have_no_exponent_outside_series() {
        let cases = [
            (2.0, "2"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, want) in cases {
            let written = |value: &Value| {
                let bytes = write_result(value, Timestamp(0), 1000).expect("is small");
                String::from_utf8(bytes).expect("is text")
            };
            let scalar = written(&Value::Scalar(value));
            assert!(scalar.ends_with(&format!("[0,\"{want}\"]}}")), "{scalar}");
        }
        let vector = Value::Vector(vec![(Labels::empty(), 1e21)]);
        let bytes = write_result(&vector, Timestamp(0), 1000).expect("is small");
        assert!(String::from_utf8(bytes).expect("is text").contains("\"1e+21\""));
    }

    /// Seen of a Prometheus 2.42.
    #[test]
    fn times_have_three_decimals_in_series_and_as_few_as_can_be_elsewhere() {
        for (millis, in_series, alone) in [
            (0, "0", "0"),
            (10_000, "10", "10"),
            (550, "0.550", "0.55"),
            (-500, "-0.500", "-0.5"),
            (1_795_962_351_100, "1795962351.100", "1795962351.1"),
            (1_001, "1.001", "1.001"),
        ] {
            let written = |value: &Value| {
                let bytes = write_result(value, Timestamp(millis), 1000).expect("is small");
                String::from_utf8(bytes).expect("is text")
            };
            let vector = written(&Value::Vector(vec![(Labels::empty(), 1.0)]));
            assert!(vector.contains(&format!(":[{in_series},\"1\"]")), "{vector}");
            for value in [Value::Scalar(1.0), Value::String("1".to_owned())] {
                let value = written(&value);
                assert!(value.contains(&format!(":[{alone},\"1\"]")), "{value}");
            }
        }
    }

    #[test]
    fn no_answer_has_more_bytes_than_it_took_room_for() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "x")]);
        let sample = Sample { at: Timestamp(1_795_313_872_960), value: -f64::MIN_POSITIVE };
        let values = [
            Value::Scalar(sample.value),
            Value::String("text".to_owned()),
            Value::Vector(vec![(labels.clone(), sample.value), (Labels::empty(), 1.0)]),
            Value::Matrix(vec![(labels.clone(), vec![sample; 100]), (labels, Vec::new())]),
        ];
        for value in values {
            let written = write_result(&value, sample.at, 10_000).expect("is small");
            let around = r#"{"status":"success","data":{"resultType":"scalar","result":[]}"#.len();
            let length = written.len() - around;
            assert!(length <= bytes_at_most(&value), "{value:?}: {length}");
        }
        assert_eq!(json_bytes(&["a\n", "b"]), r#"["a\n","b"]"#.len());
    }

    #[test]
    fn an_answer_that_is_too_large_is_an_error() {
        let labels = Labels::from_pairs([("a", "x".repeat(1000))]);
        let samples = vec![Sample { at: Timestamp(1), value: 1.0 }; 10];
        let answer = |count| {
            let matrix = Value::Matrix(vec![(labels.clone(), samples.clone()); count]);
            write_result(&matrix, Timestamp(0), 10_000)
        };
        let length = |count| answer(count).map(|bytes| bytes.len());
        assert!(length(8).is_ok_and(|length| (8000..10_001).contains(&length)));
        for count in [9, 10, 1000] {
            let error = answer(count).expect_err("too large");
            assert!(error.message.contains("larger than 10000 bytes"), "{error}");
        }
    }
}
