//! Logarithms as Go computes them (`math.Log`, FreeBSD's `e_log.c`).
//!
//! Rule tests compare every bit, and Go's last one is not always that of the nearest number: its
//! logarithm of 3 ends otherwise than the C library's.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, LOG10_E};

const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
const ODD: [f64; 4] = [
    f64::from_bits(0x3fe5_5555_5555_5593),
    f64::from_bits(0x3fd2_4924_9422_9359),
    f64::from_bits(0x3fc7_4664_96cb_03de),
    f64::from_bits(0x3fc2_f112_df3e_5244),
];
const EVEN: [f64; 3] = [
    f64::from_bits(0x3fd9_9999_9997_fa04),
    f64::from_bits(0x3fcc_71c5_1d8e_78af),
    f64::from_bits(0x3fc3_9a09_d078_c69f),
];

/// The natural logarithm.
pub(super) fn ln(value: f64) -> f64 {
    let Some((mut fraction, mut exponent)) = parts(value) else { return value.ln() };
    if fraction < FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (ODD[0] + s4 * (ODD[1] + s4 * (ODD[2] + s4 * ODD[3])));
    let even = s4 * (EVEN[0] + s4 * (EVEN[1] + s4 * EVEN[2]));
    let half = 0.5 * f * f;
    exponent * LN2_HIGH - ((half - (s * (half + (odd + even)) + exponent * LN2_LOW)) - f)
}

/// The logarithm to base 2.
pub(super) fn log2(value: f64) -> f64 {
    match parts(value) {
        Some((0.5, exponent)) => exponent - 1.0,
        Some((fraction, exponent)) => ln(fraction) * LOG2_E + exponent,
        None => value.log2(),
    }
}

/// The logarithm to base 10.
pub(super) fn log10(value: f64) -> f64 {
    ln(value) * LOG10_E
}

/// Fraction from a half to one, and exponent of two, of what is a positive normal number.
fn parts(value: f64) -> Option<(f64, f64)> {
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52).ok()?;
    let fraction = f64::from_bits(bits & ((1 << 52) - 1) | 0x3fe << 52);
    (1..0x7ff).contains(&exponent).then(|| (fraction, f64::from(exponent - 0x3fe)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Prometheus 2.42 has them.
    #[test]
    fn logarithms_are_those_of_go_to_the_last_bit() {
        for (value, natural, decimal) in [
            (1.0, 0.0, 0.0),
            (3.0, 1.0986122886681096, 0.4771212547196624),
            (120.0, 4.787491742782046, 2.0791812460476247),
            (0.05, -2.995732273553991, -1.301029995663981),
            (90.0, 4.499809670330265, 1.9542425094393248),
            (63.0, 4.143134726391533, 1.7993405494535817),
        ] {
            assert_eq!((ln(value), log10(value)), (natural, decimal), "{value}");
        }
        assert_eq!((log2(8.0), log2(0.25)), (3.0, -2.0));
        assert_eq!((ln(0.0), log10(f64::INFINITY)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && log2(f64::NAN).is_nan());
        assert!((log2(5e-324) + 1074.0).abs() < 1e-12);
    }
}
