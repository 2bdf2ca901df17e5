//! Which function goes where.

use super::super::ast::Call;
use super::column::{Column, Grid, Vector};
use super::engine::Engine;
use super::error::EvalError;
use super::float::{go_max, go_min};
use super::over_time::series;
use super::{dates, math, over_time};

impl<'a> Engine<'a> {
    /// Evaluates a function call.
    pub fn call(&mut self, call: &'a Call, grid: Grid) -> Result<Column<'a>, EvalError> {
        let name = call.func.name;
        if let Some(function) = over_time::find(name) {
            return series(self.range_function(call, function, grid));
        }
        if let Some(function) = math::find(name) {
            return series(self.map_function(call, function, grid));
        }
        if let Some(part) = dates::find(name) {
            return series(self.date_function(call, part, grid));
        }
        match name {
            "absent" => series(self.absent(call, grid)),
            "absent_over_time" => series(self.absent_over_time(call, grid)),
            "clamp" | "clamp_min" | "clamp_max" => series(self.clamp(call, grid)),
            "histogram_fraction" => series(self.histogram_fraction(call, grid)),
            "histogram_quantile" => series(self.histogram_quantile(call, grid)),
            "histogram_quantiles" => series(self.histogram_quantiles(call, grid)),
            "histogram_avg" | "histogram_count" | "histogram_stddev" | "histogram_stdvar"
            | "histogram_sum" => {
                // They leave floats out, and there is nothing else here.
                self.vector(&call.args[0], grid)?;
                Ok(Column::Vector(Vector::with_room(&self.budget, 0, grid.count)?))
            }
            "info" => series(self.info(call, grid)),
            "label_join" => series(self.label_join(call, grid)),
            "label_replace" => series(self.label_replace(call, grid)),
            "round" => series(self.round(call, grid)),
            "scalar" => self.scalar_of(call, grid),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                series(self.sort(call, grid))
            }
            "timestamp" => series(self.timestamp(call, grid)),
            "vector" => {
                let values = self.scalar(&call.args[0], grid)?;
                Ok(Column::Vector(dates::one_series(values)?))
            }
            _ => self.number(call, grid),
        }
    }

    /// Functions that yield a number.
    fn number(&mut self, call: &'a Call, grid: Grid) -> Result<Column<'a>, EvalError> {
        let seconds = |millis: i64| self.budget.filled(millis as f64 / 1000.0, grid.count);
        let values = match call.func.name {
            "time" => self.times(grid)?,
            "pi" => self.budget.filled(std::f64::consts::PI, grid.count)?,
            "start" => seconds(self.query.start)?,
            "end" => seconds(self.query.end)?,
            "range" => seconds(self.query.end.saturating_sub(self.query.start))?,
            "step" => seconds(self.query.step)?,
            "min_of" | "max_of" => {
                let pick = if call.func.name == "min_of" { go_min } else { go_max };
                let mut values = self.scalar(&call.args[0], grid)?;
                let others = self.scalar(&call.args[1], grid)?;
                values.iter_mut().zip(others.iter()).for_each(|(a, b)| *a = pick(*a, *b));
                values
            }
            other => {
                let message = format!("function {other}() is not supported");
                return Err(EvalError::new(super::EvalErrorKind::Unsupported, message));
            }
        };
        Ok(Column::Scalar(values))
    }
}
