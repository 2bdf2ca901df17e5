//! Floats as Go reads them from texts that are no sample: bounds of buckets, what templates are given.
//!
//! The wire has decimals only ([`parse_value`](super::parse_value)); `strconv.ParseFloat` knows more:
//! `1_000`, `0x1.8p3`.

const INVALID: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

/// Reads a float as `strconv.ParseFloat` does; the error is in its words.
pub fn parse_float(text: &str) -> Result<f64, &'static str> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if ["inf", "infinity"].iter().any(|word| digits.eq_ignore_ascii_case(word)) {
        return Ok(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    if !underscores_fit(hexadecimal.unwrap_or(digits), hexadecimal.is_some()) {
        return Err(INVALID);
    }
    let value = match hexadecimal {
        Some(digits) => of_hexadecimal(&digits.replace('_', "")),
        // Rust has words of its own, which begin with none of these.
        None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            digits.replace('_', "").parse().ok()
        }
        None => None,
    };
    match value {
        Some(value) if value.is_finite() => Ok(sign * value),
        Some(_) => Err(OUT_OF_RANGE),
        None => Err(INVALID),
    }
}

/// An underscore stands between two digits; the prefix `0x` counts as one.
fn underscores_fit(digits: &str, is_hexadecimal: bool) -> bool {
    let is_digit = |c: u8| if is_hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
    let digits = digits.as_bytes();
    let at = |place: Option<usize>| place.and_then(|place| digits.get(place).copied());
    (0..digits.len()).filter(|place| digits[*place] == b'_').all(|place| {
        let before = at(place.checked_sub(1)).map_or(is_hexadecimal, is_digit);
        before && at(Some(place + 1)).is_some_and(is_digit)
    })
}

/// `1.8p3`, the exponent of two a must. Rounded twice where the result is subnormal.
fn of_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // Far beyond every float, were it longer.
    let power: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -(1 << 40) } else { 1 << 40 });
    let (mut bits, mut dropped) = (0_u128, 0);
    for digit in whole.chars().chain(part.chars()) {
        let digit = u128::from(digit.to_digit(16)?);
        if bits < 1 << 120 {
            bits = bits << 4 | digit;
        } else {
            // It can only decide which way half of the last bit is rounded.
            bits |= u128::from(digit != 0);
            dropped += 4;
        }
    }
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let power = power.saturating_add(dropped).saturating_sub(4 * part.len() as i64);
    let power = power.clamp(-4000, 4000) as i32;
    // In steps, none of which leaves the range unless the result does.
    let step = |power: i32| 2_f64.powi(power.clamp(-1000, 1000));
    Some([0, 1000, 2000, 3000].iter().fold(bits as f64, |value, gone| {
        let left = power.abs() - gone;
        value * step(power.signum() * left.max(0))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go 1.19 reads them.
    #[test]
    fn floats_are_read_as_in_go() {
        for (text, want) in [
            ("8", 8.0),
            ("+8.", 8.0),
            ("-.5e1", -5.0),
            ("1_0", 10.0),
            ("1e1_0", 1e10),
            ("0x1p3", 8.0),
            ("0X1P3", 8.0),
            ("0x_1p3", 8.0),
            ("0x1.8p+1", 3.0),
            ("-0x.8p-1", -0.25),
            ("0x1p0_3", 8.0),
            ("0x1p-1074", 5e-324),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x10000000000000000000000000000000000p-136", 1.0),
            ("0x0p99999999999999999999", 0.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_float(text), Ok(want), "{text}");
        }
        assert!(parse_float("nAn").is_ok_and(f64::is_nan));
    }

    #[test]
    fn what_is_no_float_in_go_is_none() {
        for text in [
            "", "+", "x", " 8", "8 ", "1p3", "0x8", "0xp1", "0x1p", "0x1p+", "0x1pa", "0b1",
            "1__0", "_1", "1_", "1_.0", "1._0", "0x_p1", "+nan", "infinit", "0x1p_3", "--1",
            "0x-1p1", "1e",
        ] {
            assert_eq!(parse_float(text), Err("invalid syntax"), "{text}");
        }
        for text in ["1e400", "-1e400", "0x1p1024", "0x1p99999999999999999999"] {
            assert_eq!(parse_float(text), Err("value out of range"), "{text}");
        }
    }
}
