//! Functions of a window of samples: the rate family, regressions and `*_over_time`.
//!
//! Each is a plain function of one [`Window`]; the walk over series and steps is written once.

use super::super::ast::{Call, Span};
use super::budget::Paid;
use super::column::{ABSENT, Column, Grid, Vector};
use super::engine::Engine;
use super::error::EvalError;
use super::float::{Mean, Sum, Variance, quantile};
use super::rate;
use super::select::{Frame, Ranges};
use crate::base::number::shortest;
use crate::base::{Sample, quoted};

/// A range function looks at this many samples, some milliseconds' worth, before it asks about the
/// deadline again.
const SAMPLES_PER_CHECK: usize = 1 << 18;

/// What a range function sees: never empty.
pub(super) struct Window<'w> {
    /// The samples, oldest first.
    pub samples: &'w [Sample],
    /// Where the window starts and ends.
    pub frame: Frame,
    /// The time of the step, in milliseconds: differs from the end of the window by the offset.
    pub at: i64,
    /// The function's numbers beside the range, at this step.
    pub numbers: [f64; 2],
}

impl Window<'_> {
    /// The values, oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.samples.iter().map(|sample| sample.value)
    }

    /// The newest sample.
    pub fn last(&self) -> &Sample {
        &self.samples[self.samples.len() - 1]
    }
}

/// A function of a window; [`ABSENT`] for no result.
pub(super) type RangeFunction = fn(&Window) -> f64;

/// The range function of that name.
pub(super) fn find(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => rate::rate,
        "increase" => rate::increase,
        "delta" => rate::delta,
        "irate" => rate::irate,
        "idelta" => rate::idelta,
        "changes" => rate::changes,
        "resets" => rate::resets,
        "deriv" => rate::deriv,
        "predict_linear" => rate::predict_linear,
        "double_exponential_smoothing" => rate::double_exponential_smoothing,
        "avg_over_time" => average,
        "count_over_time" => |window| window.samples.len() as f64,
        "present_over_time" => |_| 1.0,
        "last_over_time" => |window| window.last().value,
        "first_over_time" => |window| window.samples[0].value,
        "min_over_time" => |window| extreme(window, |new, old| new < old).value,
        "max_over_time" => |window| extreme(window, |new, old| new > old).value,
        "sum_over_time" => sum,
        "stdvar_over_time" => variance,
        "stddev_over_time" => |window| variance(window).sqrt(),
        "quantile_over_time" => {
            |window| quantile(window.numbers[0], &mut window.values().collect::<Vec<_>>())
        }
        "mad_over_time" => median_absolute_deviation,
        "ts_of_first_over_time" => |window| window.samples[0].at.as_seconds(),
        "ts_of_last_over_time" => |window| window.last().at.as_seconds(),
        "ts_of_min_over_time" => |window| extreme(window, |new, old| new <= old).at.as_seconds(),
        "ts_of_max_over_time" => |window| extreme(window, |new, old| new >= old).at.as_seconds(),
        _ => return None,
    })
}

impl<'a> Engine<'a> {
    /// Evaluates a function of a range.
    pub fn range_function(
        &mut self,
        call: &'a Call,
        function: RangeFunction,
        grid: Grid,
    ) -> Result<Vector, EvalError> {
        let name = call.func.name;
        let (range, numbers) = self.range_arguments(call, grid)?;
        let ranges = self.ranges(range, grid)?;
        let count = ranges.heads.len();
        let mut vector = Vector::with_room(&self.budget, count, grid.count)?;
        for series in 0..count {
            let cells = vector.open_row()?;
            let (mut unchecked, mut late) = (0, false);
            ranges.each_window(series, |frame, samples| {
                // One row may have thousands of steps over millions of samples each.
                unchecked += samples.len();
                if unchecked >= SAMPLES_PER_CHECK {
                    unchecked = 0;
                    late = late || self.is_late();
                }
                if late {
                    return;
                }
                let number = |of: &Paid<f64>| of[frame.step];
                let numbers =
                    [numbers.first().map_or(0.0, number), numbers.get(1).map_or(0.0, number)];
                let at = grid.at(frame.step);
                cells[frame.step] = function(&Window { samples, frame, at, numbers });
            });
            if late {
                return Err(EvalError::timeout());
            }
            vector.seal_row(|| ranges.heads[series].clone())?;
        }
        vector.distinct = ranges.distinct;
        self.check_deadline()?;
        if matches!(name, "rate" | "increase") {
            self.note_non_counters(&vector, range.span);
        }
        if matches!(name, "last_over_time" | "first_over_time") {
            return Ok(vector);
        }
        self.drop_names_strictly(vector)
    }

    /// The range among a function's arguments, and the values of its numbers.
    fn range_arguments(
        &mut self,
        call: &'a Call,
        grid: Grid,
    ) -> Result<(&'a super::super::ast::Expr, Vec<Paid<f64>>), EvalError> {
        use super::super::ast::ValueType::Matrix;
        let mut numbers = Vec::new();
        let mut range = None;
        for argument in &call.args {
            if argument.value_type() == Matrix {
                range = Some(argument);
            } else {
                numbers.push(self.scalar(argument, grid)?);
            }
        }
        match call.func.name {
            "quantile_over_time" => self.check_quantile(&numbers[0], call.args[0].span),
            "double_exponential_smoothing" => rate::check_smoothing(&numbers)?,
            _ => {}
        }
        let missing = || EvalError::execution(format!("{} needs a range", call.func.name));
        Ok((range.ok_or_else(missing)?, numbers))
    }

    /// Warns of every φ that is not a quantile.
    pub fn check_quantile(&mut self, phis: &[f64], span: Span) {
        for phi in phis.iter().filter(|phi| !(0.0..=1.0).contains(*phi)) {
            let phi = shortest(*phi);
            self.notes.warn(span, &format!("quantile value should be between 0 and 1, got {phi}"));
        }
    }

    fn note_non_counters(&mut self, vector: &Vector, span: Span) {
        let mut previous = "";
        for head in vector.heads.iter() {
            let name = head.labels.metric_name();
            if name == previous || name.is_empty() {
                continue;
            }
            previous = name;
            let counter = ["_total", "_sum", "_count", "_bucket"];
            if !counter.iter().any(|suffix| name.ends_with(suffix)) {
                self.notes.info(
                    span,
                    &format!(
                        "metric might not be a counter, name does not end in \
                         _total/_sum/_count/_bucket: {}",
                        quoted(name)
                    ),
                );
            }
        }
    }

    /// `absent_over_time`: 1 at every step where no series has a sample in its window.
    pub fn absent_over_time(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let ranges: Ranges<'a> = self.ranges(&call.args[0], grid)?;
        let mut values = self.budget.filled(1.0, grid.count)?;
        for series in 0..ranges.heads.len() {
            ranges.each_window(series, |frame, _| values[frame.step] = ABSENT);
        }
        super::labels::absent_vector(&call.args[0], values)
    }
}

/// The sample that wins against every older one; a NaN loses to anything.
fn extreme<'w>(window: &'w Window, wins: fn(f64, f64) -> bool) -> &'w Sample {
    let mut best = &window.samples[0];
    for sample in &window.samples[1..] {
        if wins(sample.value, best.value) || best.value.is_nan() {
            best = sample;
        }
    }
    best
}

fn sum(window: &Window) -> f64 {
    let mut sum = Sum::default();
    window.values().for_each(|value| sum.add(value));
    sum.total()
}

fn average(window: &Window) -> f64 {
    let mut mean = Mean::of(window.samples[0].value);
    window.values().skip(1).for_each(|value| mean.add(value));
    mean.value()
}

fn variance(window: &Window) -> f64 {
    let mut variance = Variance::default();
    window.values().for_each(|value| variance.add(value));
    variance.value()
}

fn median_absolute_deviation(window: &Window) -> f64 {
    let mut values: Vec<f64> = window.values().collect();
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, &mut values)
}

/// The result of a function that yields series.
pub(super) fn series<'a>(vector: Result<Vector, EvalError>) -> Result<Column<'a>, EvalError> {
    vector.map(Column::Vector)
}
