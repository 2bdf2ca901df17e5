//! Numbers for people, as `template.go` and `helpers/templates/time.go` write them.

use super::value::time_text;
use crate::base::number::general;

fn short(value: f64) -> String {
    general(value, Some(4))
}

const ABOVE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BELOW: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `1.234M`: SI prefixes, four digits.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    let (value, prefix) =
        if value.abs() >= 1.0 { divided(value, 1000.0, ABOVE) } else { multiplied(value) };
    format!("{}{prefix}", short(value))
}

/// `1.234Mi`: prefixes of 1024, only above one.
pub(super) fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    const PREFIXES: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    let (value, prefix) = divided(value, 1024.0, PREFIXES);
    format!("{}{prefix}", short(value))
}

/// `1d 2h 3m 4s`, `12.34s`, `5.6ms`, of seconds.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return short(seconds);
    }
    if seconds == 0.0 {
        return format!("{}s", short(seconds));
    }
    if seconds.abs() < 1.0 {
        let (value, prefix) = multiplied(seconds);
        return format!("{}{prefix}s", short(value));
    }
    let (sign, size) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs());
    let whole = size as i64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    let rest = whole % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", short(size)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `12.34%`, of a ratio.
pub(super) fn percentage(ratio: f64) -> String {
    format!("{}%", short(ratio * 100.0))
}

/// `2015-06-23 13:19:44.128 +0000 UTC`, of seconds since the epoch.
pub(super) fn timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(short(seconds));
    }
    millis(seconds).map(time_text)
}

/// Seconds since the epoch to milliseconds, within what Go's nanoseconds can hold.
pub(super) fn millis(seconds: f64) -> Result<i64, String> {
    let nanos = seconds * 1e9;
    if nanos.is_nan() || nanos.abs() >= i64::MAX as f64 {
        let value = general(seconds, None);
        return Err(format!(
            "{value} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok((nanos as i64).div_euclid(1_000_000))
}

fn divided(mut value: f64, base: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = next;
        value /= base;
    }
    (value, prefix)
}

fn multiplied(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in BELOW {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}
