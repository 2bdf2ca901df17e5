//! Floats as Go writes them: `%g`, `%e` and `%f` of `strconv.FormatFloat`.
//!
//! Rust never writes `1e+06` for a million; Go does, and alert texts and their hashes depend on it.

/// Go's `%v`: the shortest digits that read back, with an exponent below 1e-4 and from 1e+06.
pub fn shortest(value: f64) -> String {
    general(value, None)
}

/// Go's `%g`; `precision` counts significant digits, `None` is the shortest that reads back.
pub fn general(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let scientific = match precision {
        None => format!("{value:e}"),
        Some(digits) => format!("{value:.*e}", digits.max(1) - 1),
    };
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` always writes an `e`");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a whole exponent");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let whole_digits = exponent + 1;
    let count = digits.len() as i32;
    // `strconv`'s rule: digits that are all there need no exponent while the precision covers them.
    let limit = match precision.map(|digits| digits.max(1) as i32) {
        None => 6,
        Some(wanted) if wanted > count && count >= whole_digits => count,
        Some(wanted) => wanted,
    };
    let body = if value != 0.0 && (exponent < -4 || exponent >= limit) {
        with_exponent(digits, exponent)
    } else {
        plain(digits, whole_digits)
    };
    format!("{sign}{body}")
}

/// Go's `%e` with so many digits behind the point.
pub fn exponential(value: f64, precision: usize) -> String {
    special(value).unwrap_or_else(|| {
        let text = format!("{value:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').expect("`{:e}` always writes an `e`");
        let exponent: i32 = exponent.parse().expect("`{:e}` writes a whole exponent");
        format!("{mantissa}{}", exponent_part(exponent))
    })
}

/// Go's `%f` with so many digits behind the point.
pub fn fixed(value: f64, precision: usize) -> String {
    special(value).unwrap_or_else(|| format!("{value:.precision$}"))
}

/// Go's `%x`: `0x1.8p+01`; `precision` counts digits behind the point, `None` is all of them.
pub fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa != 0 {
        // One bit before the point.
        let shift = mantissa.leading_zeros();
        mantissa <<= shift;
        exponent += 63 - shift as i32;
    } else {
        exponent = 0;
    }
    let precision_bits =
        precision.filter(|digits| *digits < 15).map(|digits| 1 + 4 * digits as u32);
    if let Some(bits) = precision_bits.filter(|_| mantissa != 0) {
        // To the nearest, and of two as near to the even one.
        let dropped = 64 - bits;
        let (kept, rest) = (mantissa >> dropped, mantissa & ((1 << dropped) - 1));
        let half = 1 << (dropped - 1);
        let kept = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
        if kept >> bits == 1 {
            mantissa = 1 << 63;
            exponent += 1;
        } else {
            mantissa = kept << dropped;
        }
    }
    let digits = format!("{:015x}", (mantissa << 1) >> 4);
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(wanted) if wanted <= digits.len() => digits[..wanted].to_owned(),
        Some(wanted) => format!("{digits}{}", "0".repeat(wanted - digits.len())),
    };
    let (first, point) = (mantissa >> 63, if digits.is_empty() { "" } else { "." });
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}0x{first}{point}{digits}p{direction}{:02}", exponent.unsigned_abs())
}

/// Go's `%b`: the mantissa in decimal and the exponent of two, `6755399441055744p-52`.
pub fn binary(value: f64) -> String {
    special(value).unwrap_or_else(|| {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        let (mantissa, exponent) = parts(value);
        format!("{sign}{mantissa}p{exponent:+}")
    })
}

/// Mantissa and exponent of two of a finite number.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) & 0x7ff {
        0 => (fraction, -1074),
        exponent => (fraction | 1 << 52, exponent as i32 - 1075),
    }
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".to_owned())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
    } else {
        None
    }
}

fn exponent_part(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}{}", exponent_part(exponent))
}

fn plain(digits: &str, whole_digits: i32) -> String {
    let Ok(whole) = usize::try_from(whole_digits) else {
        return format!("0.{}{digits}", "0".repeat(whole_digits.unsigned_abs() as usize));
    };
    match digits.len() {
        length if length <= whole => format!("{digits}{}", "0".repeat(whole - length)),
        _ if whole == 0 => format!("0.{digits}"),
        _ => format!("{}.{}", &digits[..whole], &digits[whole..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_is_that_of_go() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.5, "1.234567895e+08"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (0.1, "0.1"),
            (123.456, "123.456"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
        ];
        for (value, want) in cases {
            assert_eq!(shortest(value), want);
        }
    }

    #[test]
    fn four_digits_are_those_of_go() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (100.0, "100"),
            (999.95, "1000"),
            (1234.5, "1234"),
            (12_345.0, "1.234e+04"),
            (12_355.0, "1.236e+04"),
            (0.123_456, "0.1235"),
            (0.000_012_345, "1.234e-05"),
            (99.999, "100"),
            (1e9, "1e+09"),
            (-45.678_9, "-45.68"),
        ];
        for (value, want) in cases {
            assert_eq!(general(value, Some(4)), want, "{value}");
        }
    }

    /// As Go 1.19 writes them.
    #[test]
    fn powers_of_two() {
        let cases = [
            (1.5, None, "0x1.8p+00"),
            (-0.1, None, "-0x1.999999999999ap-04"),
            (0.0, None, "0x0p+00"),
            (1.5, Some(3), "0x1.800p+00"),
            (1.99, Some(0), "0x1p+01"),
            (1.96875, Some(1), "0x1.0p+01"),
            (5e-324, None, "0x1p-1074"),
            (f64::MAX, None, "0x1.fffffffffffffp+1023"),
            (1.0, Some(20), "0x1.00000000000000000000p+00"),
            (f64::INFINITY, None, "+Inf"),
        ];
        for (value, precision, want) in cases {
            assert_eq!(hexadecimal(value, precision), want);
        }
        assert_eq!(binary(1.5), "6755399441055744p-52");
        assert_eq!(binary(-1e30), "-7105427357601002p+47");
        assert_eq!(binary(5e-324), "1p-1074");
    }

    #[test]
    fn fixed_and_exponential() {
        assert_eq!(fixed(2.345, 1), "2.3");
        assert_eq!(fixed(1e6, 0), "1000000");
        assert_eq!(exponential(123_456.0, 6), "1.234560e+05");
        assert_eq!(exponential(0.0, 2), "0.00e+00");
    }
}
