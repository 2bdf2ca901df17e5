//! Time as plimsoll knows it: wall time in milliseconds, the pair of clocks, Prometheus durations.
//!
//! Samples, alerts and webhooks carry wall time; timers and back-off run on the monotonic clock.
//! Both are read once per event, by the shell, and passed in as [`Now`]; nothing below `app` reads
//! a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall time: milliseconds since 1970-01-01T00:00:00Z, negative before.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The clocks at one moment: the only way time enters the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Time since the process started; never goes back.
    pub monotonic: Duration,
    /// Wall time; may step either way.
    pub wall: Timestamp,
}

/// Who tells of the start of a container, `/proc`, Docker or cAdvisor, may differ by so much, seconds:
/// the kernel has started its first process a moment before Docker notes that, and ticks are rounded.
pub const START_SKEW_S: u64 = 3;

/// RFC 3339 has years of four digits: the first second that it cannot write.
const YEAR_10000_S: f64 = 253_402_300_800.0;

/// Waits after the first, second, … failure in a row of a peer or a disk; the last repeats.
pub const RETRY_AFTER: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

impl Timestamp {
    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, with the milliseconds as fraction.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The time that many seconds after the epoch, to the nearest millisecond.
    pub fn from_seconds(seconds: f64) -> Timestamp {
        Timestamp((seconds * 1000.0).round() as i64)
    }

    /// The start that a sample tells of, seconds; `None` if RFC 3339 has no such time after the epoch: then it
    /// is in another unit, or no number.
    pub fn of_start(seconds: f64) -> Option<Timestamp> {
        (0.0..YEAR_10000_S).contains(&seconds).then(|| Timestamp::from_seconds(seconds))
    }

    /// How much later `self` is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether a start then is a later one than the start at `before`, and not the same one as another
    /// tells of it.
    pub fn is_later_start(self, before: Timestamp) -> bool {
        self.since(before) > Duration::from_secs(START_SKEW_S)
    }

    /// Whether two tell of one start.
    pub fn is_same_start(self, other: Timestamp) -> bool {
        !self.is_later_start(other) && !other.is_later_start(self)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_rfc3339(*self))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Units of Prometheus durations, longest first, in milliseconds (`model.Duration`): a year is
/// 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a text is no duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DurationError {
    /// It is not written as one.
    #[error("`{0}` is not a duration; write for example `30s`, `5m` or `1h30m`")]
    Malformed(String),
    /// It is longer than Go's durations, which end at 2⁶³ nanoseconds, 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// The longest duration, in milliseconds.
const LONGEST_MILLIS: u64 = i64::MAX as u64 / 1_000_000;

/// Reads a Prometheus duration: `5m`, `1h30m`, `250ms`, `0`. Units must go from long to short,
/// each at most once; fractions and signs are not durations.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let bad = || DurationError::Malformed(text.to_owned());
    let mut rest = text;
    // Saturates beyond what any text of digits and units says.
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let letters =
            rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = &rest[digits..digits + letters];
        let (_, size) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
        if digits == 0 {
            return Err(bad());
        }
        let count: u64 = rest[..digits].parse().unwrap_or(u64::MAX);
        total = total.saturating_add(count.saturating_mul(*size));
        rest = &rest[digits + letters..];
    }
    match total {
        _ if text.is_empty() => Err(bad()),
        too_long if too_long > LONGEST_MILLIS => Err(DurationError::OutOfRange),
        total => Ok(Duration::from_millis(total)),
    }
}

/// Writes a duration as Prometheus does: largest units first, zero as `0s`; weeks and years only
/// when nothing is left over (`model.Duration.String`). Below a millisecond is cut off.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        let only_exact = unit == "y" || unit == "w";
        if rest < size || (only_exact && !rest.is_multiple_of(size)) {
            continue;
        }
        text.push_str(&format!("{}{unit}", rest / size));
        rest %= size;
    }
    text
}

/// Writes wall time as RFC 3339 in UTC with milliseconds: `2026-11-22T02:00:00.000Z`.
pub fn format_rfc3339(at: Timestamp) -> String {
    let (day, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    let (year, month, date) = civil_from_days(day);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, milli) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads RFC 3339 (`2026-11-22T02:00:00Z`, fraction and offset allowed); `None` if it is not: every
/// number has its width, every month its days, and there is no leap second. As in Go, what is less
/// than a millisecond is cut off.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.as_bytes().split_at_checked(10)?;
    let (clock, rest) = rest.split_at_checked(9)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let [b'T', clock @ ..] = clock else { return None };
    let (year, month) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?);
    let day = number(&[d1, d2])?;
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    let [hours @ .., b':', s1, s2] = clock else { return None };
    let second = number(&[*s1, *s2]).filter(|second| *second < 60)?;
    let (fraction, zone) = match rest.strip_prefix(b".") {
        Some(rest) => rest.split_at(rest.iter().take_while(|c| c.is_ascii_digit()).count()),
        None => (&b"0"[..], rest),
    };
    let mut shown = fraction.iter().map(|digit| i64::from(digit - b'0'));
    let mut millis = shown.next()?;
    for _ in 0..2 {
        millis = millis * 10 + shown.next().unwrap_or(0);
    }
    let minutes = minutes(hours)? - offset_minutes(zone)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + minutes * 60 + second;
    Some(Timestamp(seconds * 1000 + millis))
}

/// Digits and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    let add = |sum: i64, c: &u8| c.is_ascii_digit().then(|| sum * 10 + i64::from(c - b'0'));
    digits.iter().try_fold(0, add)
}

/// `23:59`, in minutes.
fn minutes(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2] = *text else { return None };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// `Z`, `+09:00`, `-05:30` in minutes east of UTC.
fn offset_minutes(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [b'+', east @ ..] => minutes(east),
        [b'-', west @ ..] => minutes(west).map(|minutes| -minutes),
        _ => None,
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next, 1) - days_from_civil(year, month, 1)
}

/// Proleptic Gregorian date of a day count since 1970-01-01 (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
pub fn civil_from_days(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

/// Day count since 1970-01-01 of a proleptic Gregorian date (same source, `days_from_civil`).
pub fn days_from_civil(year: i64, month: i64, date: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + date - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        let cases = [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "1w"),
            ("8d", 691_200_000, "8d"),
            ("1y", 31_536_000_000, "1y"),
        ];
        for (text, want_ms, written) in cases {
            let got = parse_duration(text).expect(text);
            assert_eq!(got.as_millis(), want_ms, "{text}");
            assert_eq!(format_duration(got), written, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "m", "5x", "-5m", "1.5h", "1m1h", "1m1m", "5 m", "99y9"] {
            let error = parse_duration(text).expect_err(text);
            assert_eq!(error, DurationError::Malformed(text.to_owned()));
        }
        // The border as Prometheus 2.42 has it: 2⁶³ ns.
        assert!(parse_duration("9223372036854ms").is_ok());
        let beyond =
            ["9223372036855ms", "293y", "9223372037s", "292y52w", "9999999999999999999999y"];
        for text in beyond {
            assert_eq!(parse_duration(text), Err(DurationError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn rfc3339_round_trips() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-22T02:00:00.000Z", 1_795_312_800_000),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(format_rfc3339(Timestamp(ms)), text);
            assert_eq!(parse_rfc3339(text), Some(Timestamp(ms)));
        }
        assert_eq!(
            parse_rfc3339("2026-11-22T11:00:00+09:00"),
            Some(Timestamp(1_795_312_800_000)),
            "offsets are honoured"
        );
    }

    #[test]
    fn rfc3339_has_fixed_widths_and_real_days() {
        for (text, ms) in [
            ("2016-02-29T00:00:00Z", 1_456_704_000_000),
            ("2000-02-29T23:59:59.9999999Z", 951_868_799_999),
            ("2015-07-01T20:10:51.5-23:59", 1_435_867_791_500),
            ("0000-01-01T00:00:00+23:59", -62_167_305_540_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse_rfc3339(text), Some(Timestamp(ms)), "{text}");
        }
        let bad = "| x | 2026-11-22 | 2026-13-01T00:00:00Z | 2026-00-01T00:00:00Z | 2026-11-22T25:00:00Z \
                   | 292277026596-12-04T15:30:07Z | 500000000-01-01T00:00:00Z | -001-01-01T00:00:00Z \
                   | 2015-02-31T00:00:00Z | 2015-02-29T00:00:00Z | 1900-02-29T00:00:00Z \
                   | 2015-04-31T00:00:00Z | 2015-04-00T00:00:00Z | 2015-1-1T1:1:1Z \
                   | 2015-07-01 20:10:51Z | 2015-07-01t00:00:00Z | 2015-07-01T00:00:00z | 2015-07-01T00:00:60Z | 2015-07-01T00:60:00Z \
                   | 2015-07-01T00:00:1e0Z | 2015-07-01T00:00:00.Z | 2015-07-01T00:00:00.+1Z \
                   | 2015-07-01T00:00:00 | 2015-07-01T00:00:00ZZ | 2015-07-01T00:00:00+24:00 \
                   | 2015-07-01T00:00:00+9223372036854775807:00 | 2015-07-01T00:00:00+01:60 \
                   | 2015-07-01T00:00:00+1:00 | 2015-07-01T00:00:00+0100 | +015-07-01T00:00:00Z \
                   | 2015-07-01T00:00:00.é1Z | 2015-07-01T00:00:00Zé";
        for text in bad.split(" | ").map(str::trim_end) {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn one_start_is_told_up_to_three_seconds_apart() {
        let start = Timestamp(1_000_000);
        for (other_ms, is_later) in [(-9000, false), (0, false), (3000, false), (3001, true)] {
            assert_eq!(Timestamp(start.0 + other_ms).is_later_start(start), is_later, "{other_ms}");
        }
    }

    #[test]
    fn a_start_is_a_time_that_can_be_written() {
        assert_eq!(Timestamp::of_start(1_795_312_800.25), Some(Timestamp(1_795_312_800_250)));
        for seconds in [0.0, YEAR_10000_S - 1.0] {
            let at = Timestamp::of_start(seconds).expect("it can be written");
            assert_eq!(parse_rfc3339(&format_rfc3339(at)), Some(at));
        }
        for seconds in [YEAR_10000_S, 1_795_312_800_000.0, f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(Timestamp::of_start(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn since_never_goes_negative() {
        assert_eq!(Timestamp(1000).since(Timestamp(400)), Duration::from_millis(600));
        assert_eq!(Timestamp(400).since(Timestamp(1000)), Duration::ZERO);
    }
}
