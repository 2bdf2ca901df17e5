//! What a node yields: one value per step for every series, in one flat table.
//!
//! A query over N steps is evaluated node by node, not step by step: labels are looked at once per
//! series instead of once per series and step, and an instant query is simply N = 1. Values stand
//! row by row in a single vector, so a node costs two allocations however many series it has. A
//! series without a value at a step holds [`ABSENT`] there, a NaN no computation yields.

use super::budget::{Budget, Paid};
use super::error::EvalError;
use crate::base::Labels;

/// "No value at this step". A quiet NaN with a payload of its own: it never comes from the wire
/// (the scanner makes every NaN ordinary), and no operator is applied to it.
pub(super) const ABSENT: f64 = f64::from_bits(0x7ff8_ab5e_0000_0001);

/// Whether a cell holds no value.
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// Whether a cell holds a value.
pub(super) fn is_present(value: f64) -> bool {
    !is_absent(value)
}

/// How many cells hold a value.
pub(super) fn present(cells: &[f64]) -> usize {
    cells.iter().copied().filter(|value| is_present(*value)).count()
}

/// The points in time a node is evaluated at, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Grid {
    /// The first.
    pub start: i64,
    /// The distance; meaningless when there is one point.
    pub step: i64,
    /// How many; at least one.
    pub count: usize,
}

impl Grid {
    /// A single point.
    pub fn point(at: i64) -> Grid {
        Grid { start: at, step: 0, count: 1 }
    }

    /// The time of a step.
    pub fn at(&self, step: usize) -> i64 {
        self.start + self.step * step as i64
    }

    /// The time of the last step.
    pub fn end(&self) -> i64 {
        self.at(self.count - 1)
    }

    /// The same steps, that much earlier.
    pub fn earlier(&self, millis: i64) -> Grid {
        Grid { start: self.start.saturating_sub(millis), ..*self }
    }
}

/// The identity of a series on its way through a query.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Its labels, possibly with the metadata labels still on it.
    pub labels: Labels,
    /// The metadata labels are to go: at once for every reader (eager removal), or when the query
    /// ends (delayed removal). Either way nobody pays for new labels before they are needed.
    pub drop_name: bool,
}

/// Series with at most one value per step.
#[derive(Debug)]
pub(super) struct Vector {
    /// One per series.
    pub heads: Paid<Head>,
    /// `heads.len() * steps` cells, row by row.
    pub values: Paid<f64>,
    /// How long a row is.
    pub steps: usize,
    /// The series stay distinct when the metadata labels are taken away: no need to look for
    /// collisions. False means "unknown".
    pub distinct: bool,
}

impl Vector {
    /// No series yet, with room for some.
    pub fn with_room(budget: &Budget, series: usize, steps: usize) -> Result<Vector, EvalError> {
        Ok(Vector {
            heads: budget.room(series)?,
            values: budget.room(series.saturating_mul(steps))?,
            steps,
            distinct: true,
        })
    }

    /// The values of one series.
    pub fn row(&self, series: usize) -> &[f64] {
        &self.values[series * self.steps..(series + 1) * self.steps]
    }

    /// The values of one series.
    pub fn row_mut(&mut self, series: usize) -> &mut [f64] {
        &mut self.values[series * self.steps..(series + 1) * self.steps]
    }

    /// Every series with its values.
    pub fn rows(&self) -> impl Iterator<Item = (&Head, &[f64])> {
        self.heads.iter().zip(self.values.chunks_exact(self.steps))
    }

    /// Opens a row without any value, to be filled and sealed.
    pub fn open_row(&mut self) -> Result<&mut [f64], EvalError> {
        self.values.extend(ABSENT, self.steps)
    }

    /// Closes the row that was opened: keeps it under `head` if any value is there, and takes it
    /// back if none is.
    pub fn seal_row(&mut self, head: impl FnOnce() -> Head) -> Result<(), EvalError> {
        let start = self.heads.len() * self.steps;
        debug_assert_eq!(self.values.len(), start + self.steps, "a row has a cell per step");
        if self.values[start..].iter().copied().any(is_present) {
            self.heads.push(head())?;
        } else {
            self.values.truncate(start);
        }
        Ok(())
    }

    /// Replaces every value that is there.
    pub fn map(&mut self, mut f: impl FnMut(f64) -> f64) {
        for value in self.values.iter_mut() {
            if is_present(*value) {
                *value = f(*value);
            }
        }
    }

    /// Replaces every value that is there, knowing its step.
    pub fn map_steps(&mut self, mut f: impl FnMut(usize, f64) -> f64) {
        for row in self.values.chunks_exact_mut(self.steps) {
            for (step, value) in row.iter_mut().enumerate() {
                if is_present(*value) {
                    *value = f(step, *value);
                }
            }
        }
    }

    /// Takes away the series that have no value at all.
    pub fn retain_present(&mut self) {
        let steps = self.steps;
        let mut kept = 0;
        for series in 0..self.heads.len() {
            let row = series * steps..(series + 1) * steps;
            if !self.values[row.clone()].iter().copied().any(is_present) {
                continue;
            }
            if kept != series {
                self.heads.swap(kept, series);
                self.values.copy_within(row, kept * steps);
            }
            kept += 1;
        }
        self.heads.truncate(kept);
        self.values.truncate(kept * steps);
    }

    /// How many values are there.
    pub fn present(&self) -> usize {
        present(&self.values)
    }
}

/// What a node yields.
#[derive(Debug)]
pub(super) enum Column<'a> {
    /// One number per step.
    Scalar(Paid<f64>),
    /// Series.
    Vector(Vector),
    /// A text, the same at every step; its bytes need not be UTF-8.
    Text(&'a [u8]),
}
