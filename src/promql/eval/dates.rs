//! Time: now, when a sample was taken, and the parts of a UTC date.

use super::super::ast::{Call, ExprKind};
use super::budget::Paid;
use super::column::{ABSENT, Column, Grid, Head, Vector, is_absent, is_present};
use super::engine::{Engine, unwrap_parens};
use super::error::EvalError;
use crate::base::Labels;

const DAY_SECONDS: i128 = 86_400;

/// The function of a time in seconds of that name.
pub(super) fn find(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |at| (seconds(at).rem_euclid(3600) / 60) as f64,
        "hour" => |at| (seconds(at).rem_euclid(DAY_SECONDS) / 3600) as f64,
        // The epoch was a Thursday.
        "day_of_week" => |at| (days(at) + 4).rem_euclid(7) as f64,
        "day_of_month" => |at| Date::of(days(at)).day as f64,
        "day_of_year" => |at| (days(at) - Date::new_year(Date::of(days(at)).year) + 1) as f64,
        "month" => |at| Date::of(days(at)).month as f64,
        "year" => |at| Date::of(days(at)).year as f64,
        "days_in_month" => |at| {
            let Date { year, month, .. } = Date::of(days(at));
            let next = if month == 12 {
                Date { year: year + 1, month: 1, day: 1 }
            } else {
                Date { year, month: month + 1, day: 1 }
            };
            (next.days() - Date { year, month, day: 1 }.days()) as f64
        },
        _ => return None,
    })
}

/// Whole seconds as Prometheus on amd64 has them, so that even what is no time has its date: Go
/// converts what does not fit (NaN, infinities) to the lowest integer, and counts seconds before
/// its first year as if they came after its last.
fn seconds(at: f64) -> i128 {
    /// The first second of the year -292277022399, where Go's calendar begins.
    const FIRST: i128 = -9_223_372_028_715_321_600;
    let fits = (-(2_f64.powi(63))..2_f64.powi(63)).contains(&at);
    let whole = if fits { i128::from(at as i64) } else { i128::from(i64::MIN) };
    if whole < FIRST { whole + (1 << 64) } else { whole }
}

fn days(at: f64) -> i128 {
    seconds(at).div_euclid(DAY_SECONDS)
}

/// A day of the proleptic Gregorian calendar.
struct Date {
    year: i128,
    month: i128,
    day: i128,
}

impl Date {
    /// The date so many days after 1970-01-01 (Howard Hinnant's `civil_from_days`).
    fn of(days: i128) -> Date {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        Date { year, month, day }
    }

    /// Days since 1970-01-01 (`days_from_civil`).
    fn days(&self) -> i128 {
        let year = self.year - i128::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let of_year = (153 * shifted_month + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }

    fn new_year(year: i128) -> i128 {
        Date { year, month: 1, day: 1 }.days()
    }
}

impl<'a> Engine<'a> {
    /// The time of each step in seconds.
    pub fn times(&self, grid: Grid) -> Result<Paid<f64>, EvalError> {
        let mut times = self.budget.filled(0.0, grid.count)?;
        let steps = times.iter_mut().enumerate();
        steps.for_each(|(step, time)| *time = grid.at(step) as f64 / 1000.0);
        Ok(times)
    }

    /// Evaluates a part of a date, of the time itself if nothing is given.
    pub fn date_function(
        &mut self,
        call: &'a Call,
        part: fn(f64) -> f64,
        grid: Grid,
    ) -> Result<Vector, EvalError> {
        let mut vector = match call.args.first() {
            Some(argument) => self.vector(argument, grid)?,
            None => one_series(self.times(grid)?)?,
        };
        vector.map(part);
        self.drop_names(vector)
    }

    /// `timestamp`: when the sample was taken, or for computed values the time of the step.
    pub fn timestamp(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let argument = unwrap_parens(&call.args[0]);
        let vector = if let ExprKind::Vector(selector) = &argument.kind {
            self.select_with(selector, grid, |sample| sample.at.as_seconds())?
        } else {
            let mut vector = self.vector(argument, grid)?;
            let times = self.times(grid)?;
            vector.map_steps(|step, _| times[step]);
            vector
        };
        self.drop_names(vector)
    }

    /// `scalar`: the value of the only series, NaN if there is none or more than one.
    pub fn scalar_of(&mut self, call: &'a Call, grid: Grid) -> Result<Column<'a>, EvalError> {
        let vector = self.vector(&call.args[0], grid)?;
        let mut values = self.budget.filled(ABSENT, grid.count)?;
        for (_, row) in vector.rows() {
            for (value, cell) in values.iter_mut().zip(row).filter(|(_, cell)| is_present(**cell)) {
                *value = if is_absent(*value) { *cell } else { f64::NAN };
            }
        }
        let none = values.iter_mut().filter(|value| is_absent(**value));
        none.for_each(|value| *value = f64::NAN);
        Ok(Column::Scalar(values))
    }
}

/// One series without labels.
pub(super) fn one_series(values: Paid<f64>) -> Result<Vector, EvalError> {
    let steps = values.len();
    let heads = values.budget().filled(Head { labels: Labels::empty(), drop_name: false }, 1)?;
    Ok(Vector { heads, values, steps, distinct: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates() {
        // 2024-02-29T23:59:59Z, 1969-12-31T23:59:59Z, 2100-03-01T00:00:00Z
        let cases = [
            ("year", [2024.0, 1969.0, 2100.0]),
            ("month", [2.0, 12.0, 3.0]),
            ("day_of_month", [29.0, 31.0, 1.0]),
            ("day_of_week", [4.0, 3.0, 1.0]),
            ("day_of_year", [60.0, 365.0, 60.0]),
            ("days_in_month", [29.0, 31.0, 31.0]),
            ("hour", [23.0, 23.0, 0.0]),
            ("minute", [59.0, 59.0, 0.0]),
        ];
        for (name, want) in cases {
            let part = find(name).expect(name);
            for (at, want) in [1_709_251_199.0, -1.0, 4_107_542_400.0].into_iter().zip(want) {
                assert_eq!(part(at), want, "{name}({at})");
            }
        }
    }

    #[test]
    fn what_is_no_time_has_the_date_go_gives_it() {
        // Measured: Prometheus 2.42 on amd64.
        let cases = [("year", 292_277_026_596.0), ("day_of_year", 339.0), ("days_in_month", 31.0)];
        for at in [f64::NAN, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY] {
            for (name, want) in cases {
                assert_eq!(find(name).expect(name)(at), want, "{name}({at})");
            }
        }
    }
}
