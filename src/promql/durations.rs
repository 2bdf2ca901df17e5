//! Duration expressions to milliseconds, and how they are written.
//!
//! `[5m]` is a number that never changes; `[step() * 2]` depends on the query it stands in. Both
//! resolve here, as in `promql/durations.go`: arithmetic on seconds as floats, cut to whole
//! milliseconds at the end. Whether a duration may be zero or negative is for the caller to say.

use std::fmt;
use std::time::Duration;

use super::ast::{DurationExpr, DurationOp};
use crate::base::format_duration;
use crate::base::number::shortest;

/// What `step()` and `range()` stand for in one query.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueryTimes {
    /// Distance of two evaluations in milliseconds; 0 in an instant query.
    pub step_millis: i64,
    /// End minus start in milliseconds; 0 in an instant query.
    pub range_millis: i64,
}

/// The longest duration either way, in seconds: 2^63 nanoseconds, where Prometheus's own end.
pub(super) const LONGEST_SECONDS: f64 = 9_223_372_036.854_775;

/// The duration in milliseconds, of either sign.
pub fn resolve(duration: &DurationExpr, query: QueryTimes) -> Result<i64, String> {
    if let DurationExpr::Millis(millis) = duration {
        return Ok(*millis);
    }
    let seconds = seconds(duration, query)?;
    // Written so that NaN is refused as well.
    if !(-LONGEST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
        return Err("duration out of range".to_owned());
    }
    Ok((seconds * 1000.0) as i64)
}

/// What is said of a duration that must be above zero and is not.
pub(super) const NOT_POSITIVE: &str = "duration must be greater than 0";

/// The duration of a range or of a subquery's step, in milliseconds: an error unless above zero.
pub fn resolve_positive(duration: &DurationExpr, query: QueryTimes) -> Result<i64, String> {
    match resolve(duration, query)? {
        ..=0 => Err(NOT_POSITIVE.to_owned()),
        millis => Ok(millis),
    }
}

/// Whether the duration is the same in every query.
pub(super) fn is_constant(duration: &DurationExpr) -> bool {
    match duration {
        DurationExpr::Millis(_) | DurationExpr::Seconds(_) => true,
        DurationExpr::Step | DurationExpr::Range => false,
        DurationExpr::Negate(inner) => is_constant(inner),
        DurationExpr::Binary(_, sides)
        | DurationExpr::MinOf(sides)
        | DurationExpr::MaxOf(sides) => is_constant(&sides.0) && is_constant(&sides.1),
    }
}

fn seconds(duration: &DurationExpr, query: QueryTimes) -> Result<f64, String> {
    let both = |sides: &(DurationExpr, DurationExpr)| {
        Ok::<_, String>((seconds(&sides.0, query)?, seconds(&sides.1, query)?))
    };
    Ok(match duration {
        DurationExpr::Millis(millis) => *millis as f64 / 1000.0,
        DurationExpr::Seconds(seconds) => *seconds,
        DurationExpr::Step => query.step_millis as f64 / 1000.0,
        DurationExpr::Range => query.range_millis as f64 / 1000.0,
        DurationExpr::Negate(inner) => -seconds(inner, query)?,
        DurationExpr::MinOf(sides) => both(sides).map(|(a, b)| a.min(b))?,
        DurationExpr::MaxOf(sides) => both(sides).map(|(a, b)| a.max(b))?,
        DurationExpr::Binary(op, sides) => {
            let (a, b) = both(sides)?;
            match op {
                DurationOp::Add => a + b,
                DurationOp::Sub => a - b,
                DurationOp::Mul => a * b,
                DurationOp::Div if b == 0.0 => return Err("division by zero".to_owned()),
                DurationOp::Div => a / b,
                DurationOp::Mod if b == 0.0 => return Err("modulo by zero".to_owned()),
                DurationOp::Mod => a % b,
                DurationOp::Pow => a.powf(b),
            }
        }
    })
}

impl DurationOp {
    /// How tightly it binds; `^` is the one that binds to the right.
    pub(super) fn precedence(self) -> u8 {
        match self {
            DurationOp::Add | DurationOp::Sub => 1,
            DurationOp::Mul | DurationOp::Div | DurationOp::Mod => 2,
            DurationOp::Pow => 3,
        }
    }

    fn symbol(self) -> char {
        match self {
            DurationOp::Add => '+',
            DurationOp::Sub => '-',
            DurationOp::Mul => '*',
            DurationOp::Div => '/',
            DurationOp::Mod => '%',
            DurationOp::Pow => '^',
        }
    }
}

/// As it stands between brackets; behind `offset`, arithmetic needs parentheses around it.
impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Millis(millis) => {
                let sign = if *millis < 0 { "-" } else { "" };
                let size = Duration::from_millis(millis.unsigned_abs());
                write!(f, "{sign}{}", format_duration(size))
            }
            DurationExpr::Seconds(seconds) => f.write_str(&shortest(*seconds)),
            DurationExpr::Step => f.write_str("step()"),
            DurationExpr::Range => f.write_str("range()"),
            DurationExpr::MinOf(sides) => write!(f, "min_of({}, {})", sides.0, sides.1),
            DurationExpr::MaxOf(sides) => write!(f, "max_of({}, {})", sides.0, sides.1),
            // No parentheses that were not needed: each counts as a level when it is read again.
            DurationExpr::Negate(inner) => match **inner {
                DurationExpr::Binary(op, _) if op != DurationOp::Pow => write!(f, "-({inner})"),
                _ => write!(f, "-{inner}"),
            },
            DurationExpr::Binary(op, sides) => {
                let (lhs, rhs) = (Operand(&sides.0, *op, false), Operand(&sides.1, *op, true));
                write!(f, "{lhs} {} {rhs}", op.symbol())
            }
        }
    }
}

/// One side of an operator, in parentheses where it would otherwise be read differently.
struct Operand<'a>(&'a DurationExpr, DurationOp, bool);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operand(expr, outer, right) = self;
        let binds_to_right = *outer == DurationOp::Pow;
        let needs = match expr {
            DurationExpr::Binary(op, _) if op.precedence() == outer.precedence() => {
                *right != binds_to_right
            }
            DurationExpr::Binary(op, _) => op.precedence() < outer.precedence(),
            DurationExpr::Negate(_) => binds_to_right && !right,
            _ => false,
        };
        if needs { write!(f, "({expr})") } else { write!(f, "{expr}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(op: DurationOp, a: DurationExpr, b: DurationExpr) -> DurationExpr {
        DurationExpr::Binary(op, Box::new((a, b)))
    }

    #[test]
    fn arithmetic_is_on_seconds_and_cut_to_milliseconds() {
        use DurationExpr::{MaxOf, Millis, MinOf, Negate, Range, Seconds, Step};
        let query = QueryTimes { step_millis: 10_000, range_millis: 60_000 };
        let cases = [
            (Millis(-5), "-5ms", Ok(-5)),
            (Negate(Box::new(Step)), "-step()", Ok(-10_000)),
            (binary(DurationOp::Add, Range, Seconds(1.5)), "range() + 1.5", Ok(61_500)),
            (binary(DurationOp::Pow, Seconds(2.0), Seconds(3.0)), "2 ^ 3", Ok(8000)),
            (binary(DurationOp::Mod, Seconds(7.0), Seconds(4.0)), "7 % 4", Ok(3000)),
            (binary(DurationOp::Div, Millis(1000), Seconds(3.0)), "1s / 3", Ok(333)),
            (MinOf(Box::new((Step, Millis(1000)))), "min_of(step(), 1s)", Ok(1000)),
            (MaxOf(Box::new((Step, Millis(1000)))), "max_of(step(), 1s)", Ok(10_000)),
            (binary(DurationOp::Div, Step, Seconds(0.0)), "step() / 0", Err("division by zero")),
            (binary(DurationOp::Mod, Step, Seconds(0.0)), "step() % 0", Err("modulo by zero")),
            (
                binary(DurationOp::Mul, Step, Seconds(1e10)),
                "step() * 1e+10",
                Err("duration out of range"),
            ),
        ];
        for (duration, written, want) in cases {
            assert_eq!(resolve(&duration, query), want.map_err(str::to_owned), "{written}");
            assert_eq!(duration.to_string(), written);
        }
        assert!(resolve_positive(&Millis(0), query).is_err());
    }
}
