//! Parameters of a request: from the URL and, for a POST, from the form in its body.
//!
//! Texts and order of precedence are Prometheus's (`web/api/v1/api.go`, Go's `Request.FormValue`):
//! an encoded form wins over the URL and the URL over a form in parts, an empty value is an absent
//! one, times are seconds or RFC 3339, durations are seconds or `5m`.

use std::num::{IntErrorKind, ParseIntError};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, Method, header};

use super::Server;
use super::error::ApiError;
use super::form::{self, Form};
use crate::base::{Timestamp, excerpt, parse_duration, parse_rfc3339, quoted};
use crate::promql;
use crate::regex::Budget;
use crate::window::Selector;

/// Times further from 1970 than this (some 73 million years) are refused, so that arithmetic on
/// them stays in range.
const MAX_SECONDS: f64 = (i64::MAX / 4 / 1000) as f64;

/// The parameters, in order of precedence.
pub(super) struct Params(Form);

impl FromRequest<Arc<Server>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Server>) -> Result<Params, ApiError> {
        let url = Form::urlencoded(request.uri().query().unwrap_or_default().as_bytes());
        if request.method() != Method::POST {
            return Ok(Params(url));
        }
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = String::from_utf8_lossy(kind.map_or(&[], HeaderValue::as_bytes)).into_owned();
        Ok(Params(match form::media_type(&kind).as_str() {
            "application/x-www-form-urlencoded" => {
                let mut form = Form::urlencoded(&read(request).await?);
                form.extend(url);
                form
            }
            "multipart/form-data" => {
                let Form { mut pairs, problem } = url;
                pairs.extend(form::multipart(&kind, &read(request).await?));
                Form { pairs, problem }
            }
            // A body of another type is not looked at, as in Go.
            _ => url,
        }))
    }
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let why = |error| ApiError::bad_data(format!("error parsing form values: {error}"));
    Bytes::from_request(request, &()).await.map_err(|error| why(error.to_string()))
}

impl Params {
    /// For those who want every pair to be readable.
    pub(super) fn readable(&self) -> Result<(), ApiError> {
        match &self.0.problem {
            None => Ok(()),
            Some(why) => Err(ApiError::bad_data(format!("error parsing form values: {why}"))),
        }
    }

    /// The first value of that name, or `""`.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Every value of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A time that must be there.
    pub(super) fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// A time that may be absent.
    pub(super) fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_time(text).map(Some).map_err(|why| {
                ApiError::parameter(name, format!("Invalid time value for '{name}': {why}"))
            }),
        }
    }

    /// A signed duration in milliseconds that must be there.
    pub(super) fn duration_millis(&self, name: &str) -> Result<i64, ApiError> {
        parse_millis(self.get(name)).map_err(|why| ApiError::parameter(name, why))
    }

    /// A duration that may be absent; one below zero is zero.
    pub(super) fn optional_duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        if self.get(name).is_empty() {
            return Ok(None);
        }
        let millis = u64::try_from(self.duration_millis(name)?).unwrap_or(0);
        Ok(Some(Duration::from_millis(millis)))
    }

    /// `limit`: how many results at most; absent or 0 is no limit.
    pub(super) fn limit(&self, name: &str) -> Result<usize, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(usize::MAX);
        }
        let number: i64 = text.parse().map_err(|error: ParseIntError| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            ApiError::parameter(
                name,
                format!("strconv.Atoi: parsing {}: {why}", quoted(&excerpt(text))),
            )
        })?;
        match usize::try_from(number) {
            Ok(0) => Ok(usize::MAX),
            Ok(limit) => Ok(limit),
            Err(_) => Err(ApiError::parameter(name, "limit must be non-negative")),
        }
    }
}

/// Seconds since the epoch, or RFC 3339.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < MAX_SECONDS);
    seconds
        .map(whole_millis)
        .or_else(|| parse_rfc3339(text))
        .ok_or_else(|| format!("cannot parse {} to a valid timestamp", quoted(&excerpt(text))))
}

/// As Prometheus rounds a time: what is behind the point, to the nearest thousandth. Rounding the
/// whole would not do: `1.0005` is a little less than it says once the 1 is gone.
fn whole_millis(seconds: f64) -> Timestamp {
    let millis = (seconds.fract() * 1000.0).round();
    Timestamp(seconds.trunc() as i64 * 1000 + millis as i64)
}

/// Seconds, or Prometheus's notation; in milliseconds. Go makes whole nanoseconds of seconds, and
/// the engine whole milliseconds of those: what is less than one is cut off.
fn parse_millis(text: &str) -> Result<i64, String> {
    let shown = quoted(&excerpt(text));
    if let Ok(seconds) = text.parse::<f64>() {
        let nanoseconds = seconds * 1e9;
        if nanoseconds.abs() < i64::MAX as f64 {
            return Ok(nanoseconds as i64 / 1_000_000);
        }
        return Err(format!("cannot parse {shown} to a valid duration. It overflows int64"));
    }
    let duration =
        parse_duration(text).map_err(|_| format!("cannot parse {shown} to a valid duration"))?;
    Ok(i64::try_from(duration.as_millis()).expect("parse_duration keeps far below 2^63"))
}

/// Bare series selectors, all out of one budget for patterns.
pub(super) fn read_selectors(
    parameter: &str,
    texts: &[String],
) -> Result<Vec<Arc<Selector>>, ApiError> {
    let mut patterns = Budget::new();
    let read = |text: &String| parse_selector(parameter, text, &mut patterns);
    texts.iter().map(read).collect()
}

fn parse_selector(
    parameter: &str,
    text: &str,
    patterns: &mut Budget,
) -> Result<Arc<Selector>, ApiError> {
    const EMPTY: &str = "must contain at least one non-empty matcher";
    promql::parse_selector(text, patterns).map_err(|error| {
        if error.message.ends_with(EMPTY) {
            return ApiError::parameter(parameter, format!("match[] {EMPTY}"));
        }
        ApiError::parse(parameter, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        let cases = [
            ("0", Ok(0)),
            ("1795313740.5", Ok(1_795_313_740_500)),
            ("-1.0006", Ok(-1001)),
            ("1.0005", Ok(1000)),
            ("-1.0005", Ok(-1000)),
            ("1.0004999", Ok(1000)),
            ("1.9996", Ok(2000)),
            ("0.0005", Ok(1)),
            ("1795313740.0015", Ok(1_795_313_740_001)),
            ("2026-11-22T02:00:00Z", Ok(1_795_312_800_000)),
            ("1e400", Err(())),
            ("NaN", Err(())),
            ("1e18", Err(())),
            ("292277026596-12-04T15:30:07Z", Err(())),
            ("2015-07-01 20:10:51Z", Err(())),
            ("", Err(())),
            ("now", Err(())),
        ];
        for (text, want) in cases {
            let got = parse_time(text).map(Timestamp::as_millis);
            assert_eq!(got.clone().map_err(|_| ()), want, "{text}");
            assert!(got.is_ok() || got.is_err_and(|why| why.contains("to a valid timestamp")));
        }
    }

    #[test]
    fn durations_are_seconds_or_units() {
        let cases = [
            ("15", 15_000),
            ("0.25", 250),
            ("1m30s", 90_000),
            ("-3", -3000),
            ("1.0005", 1000),
            ("1.0009999", 1000),
            ("-1.9999", -1999),
            ("0.29", 290),
            ("0.0009", 0),
        ];
        for (text, want) in cases {
            assert_eq!(parse_millis(text), Ok(want), "{text}");
        }
        assert_eq!(parse_millis("x"), Err("cannot parse \"x\" to a valid duration".to_owned()));
        assert!(parse_millis("1e30").is_err_and(|why| why.contains("overflows")));
        assert!(parse_millis("NaN").is_err());
    }

    #[test]
    fn only_plain_selectors_select() {
        let parse_selector = |text| {
            let error = |error: ApiError| error.unnamed("match[]").message;
            parse_selector("match[]", text, &mut Budget::new()).map_err(error)
        };
        assert!(parse_selector("up{job=~\"a.*\"}").is_ok());
        let refused = [
            ("up offset 5m", "1:4: parse error: unexpected <offset>"),
            ("up @ 0", "1:4: parse error: unexpected \"@\""),
            ("up[5m]", "1:3: parse error: unexpected \"[\""),
            ("sum(up)", "1:4: parse error: unexpected \"(\""),
            ("1", "1:1: parse error: unexpected number \"1\""),
            ("", "1:1: parse error: unexpected end of input"),
            ("v{", "1:3: parse error: unexpected end of input inside braces"),
        ];
        for (text, want) in refused {
            assert_eq!(parse_selector(text).expect_err(text), want, "{text}");
        }
        assert_eq!(
            parse_selector("{a=~\".*\"}").expect_err("selects everything"),
            "match[] must contain at least one non-empty matcher"
        );
    }
}
