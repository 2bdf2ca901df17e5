//! Functions of a value, and of a value and numbers.

use super::super::ast::Call;
use super::column::{ABSENT, Grid, Vector};
use super::engine::Engine;
use super::error::EvalError;
use super::float::{go_max, go_min};
use super::go_log;

/// The function of one value of that name.
pub(super) fn find(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => go_log::ln,
        "log2" => go_log::log2,
        "log10" => go_log::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

impl<'a> Engine<'a> {
    /// Evaluates a function of one value.
    pub fn map_function(
        &mut self,
        call: &'a Call,
        function: fn(f64) -> f64,
        grid: Grid,
    ) -> Result<Vector, EvalError> {
        let mut vector = self.vector(&call.args[0], grid)?;
        vector.map(function);
        self.drop_names(vector)
    }

    /// `clamp`, `clamp_min`, `clamp_max`: nothing where the minimum exceeds the maximum.
    pub fn clamp(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let mut vector = self.vector(&call.args[0], grid)?;
        let bound = self.scalar(&call.args[1], grid)?;
        match call.func.name {
            "clamp_min" => vector.map_steps(|step, value| go_max(bound[step], value)),
            "clamp_max" => vector.map_steps(|step, value| go_min(bound[step], value)),
            _ => {
                let most = self.scalar(&call.args[2], grid)?;
                vector.map_steps(|step, value| {
                    if most[step] < bound[step] {
                        return ABSENT;
                    }
                    go_max(bound[step], go_min(most[step], value))
                });
                vector.retain_present();
            }
        }
        self.drop_names(vector)
    }

    /// `round`: to the nearest multiple, halves upwards.
    pub fn round(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let mut vector = self.vector(&call.args[0], grid)?;
        let nearest = match call.args.get(1) {
            Some(nearest) => self.scalar(nearest, grid)?,
            None => self.budget.filled(1.0, grid.count)?,
        };
        vector.map_steps(|step, value| {
            // Prometheus multiplies by the inverse: dividing would round some values differently.
            let inverse = 1.0 / nearest[step];
            (value * inverse + 0.5).floor() / inverse
        });
        self.drop_names(vector)
    }
}
