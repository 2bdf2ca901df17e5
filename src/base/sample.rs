//! A measured value at a time, the stale marker, and how values are written and read as text.

use super::time::Timestamp;

/// One point of a series: wall time in milliseconds, and a 64-bit float.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// When the value was true.
    pub at: Timestamp,
    /// The value; may be NaN, ±Inf or the stale marker.
    pub value: f64,
}

/// The NaN that says "this series has ended here", by Prometheus's bit pattern
/// (`model/value.StaleNaN`). Compare with [`is_stale`], never with `==`.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether `value` is the stale marker. An ordinary NaN is not.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

/// Reads a sample value of the text format: Go's float syntax for decimals, plus `NaN`, `Inf`,
/// `+Inf`, `-Inf` in any case. `None` for anything else (blank, `1_000`, trailing text).
pub fn parse_value(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // An ordinary NaN, whatever sign or payload the parser chose: the stale marker must not come
    // from the wire.
    Some(if value.is_nan() { f64::NAN } else { value })
}

/// Writes a value as Prometheus's HTTP API does (`util/jsonutil`): shortest form that reads back,
/// exponent below 1e-6 and from 1e21, `NaN`, `+Inf`, `-Inf`.
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').expect("`{:e}` always writes an `e`");
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_marker_is_its_own_nan() {
        assert!(is_stale(STALE_NAN) && STALE_NAN.is_nan());
        assert!(!is_stale(f64::NAN));
        assert!(!is_stale(parse_value("NaN").expect("reads")), "the wire cannot forge the marker");
    }

    #[test]
    fn values_read_as_prometheus_reads_them() {
        let cases = [
            ("1", Some(1.0)),
            ("1.795312441e+09", Some(1_795_312_441.0)),
            ("-0.5", Some(-0.5)),
            ("+Inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("", None),
            ("1_000", None),
            ("1 ", None),
            ("0x10", None),
            ("abc", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_value(text), want, "{text:?}");
        }
        assert!(parse_value("nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn values_are_written_as_the_api_writes_them() {
        let cases = [
            (7.0, "7"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e-7, "1e-07"),
            (1e21, "1e+21"),
            (123456789012345680.0, "123456789012345680"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (1.5e300, "1.5e+300"),
        ];
        for (value, want) in cases {
            assert_eq!(format_value(value), want);
        }
    }
}
