//! `info`: labels joined in from info series.

use super::super::ast::Call;
use super::column::{Grid, Vector};
use super::engine::Engine;
use super::error::EvalError;

impl<'a> Engine<'a> {
    /// `info(v, {matchers})`
    pub fn info(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        self.vector(&call.args[0], grid)
    }
}
