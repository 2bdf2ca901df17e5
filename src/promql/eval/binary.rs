//! Binary operators: on numbers, between a vector and a number, and which matching serves two
//! vectors.

use super::super::ast::{Binary, BinaryOp, Matching, Span};
use super::column::{ABSENT, Column, Grid, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use super::keys::Numbering;
use super::names::{Collisions, unique};

/// What arithmetic or a comparison makes of two numbers; comparisons yield 1 or 0.
pub(super) fn apply(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Equal => f64::from(a == b),
        BinaryOp::NotEqual => f64::from(a != b),
        BinaryOp::Greater => f64::from(a > b),
        BinaryOp::Less => f64::from(a < b),
        BinaryOp::GreaterEqual => f64::from(a >= b),
        BinaryOp::LessEqual => f64::from(a <= b),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
            unreachable!("set operators look at labels, not at values")
        }
    }
}

impl<'a> Engine<'a> {
    /// Evaluates a binary operator after those on its left.
    pub fn binary(&mut self, binary: &'a Binary, grid: Grid) -> Result<Column<'a>, EvalError> {
        let (operators, first) = binary.chain();
        let mut result = self.eval(first, grid)?;
        for binary in operators.into_iter().rev() {
            let rhs = self.eval(&binary.rhs, grid)?;
            let span = Span { start: binary.lhs.span.start, end: binary.rhs.span.end };
            let combined = self.combine(binary, result, rhs);
            result = combined.map_err(|error| error.within(span))?;
        }
        Ok(result)
    }

    fn combine(
        &mut self,
        binary: &'a Binary,
        lhs: Column<'a>,
        rhs: Column<'a>,
    ) -> Result<Column<'a>, EvalError> {
        let op = binary.op;
        match (lhs, rhs) {
            (Column::Scalar(mut lhs), Column::Scalar(rhs)) => {
                lhs.iter_mut().zip(rhs.iter()).for_each(|(a, b)| *a = apply(op, *a, *b));
                Ok(Column::Scalar(lhs))
            }
            (Column::Vector(vector), Column::Scalar(numbers)) => {
                self.with_scalar(binary, vector, |step, value| (value, numbers[step]))
            }
            (Column::Scalar(numbers), Column::Vector(vector)) => {
                self.with_scalar(binary, vector, |step, value| (numbers[step], value))
            }
            (Column::Vector(lhs), Column::Vector(rhs)) => {
                let vector = if op.is_set() {
                    self.set_operation(op, &binary.matching, lhs, rhs)?
                } else {
                    self.join(binary, &lhs, &rhs)?
                };
                Ok(Column::Vector(vector))
            }
            _ => Err(EvalError::execution("a text cannot be an operand")),
        }
    }

    fn with_scalar(
        &mut self,
        binary: &Binary,
        mut vector: Vector,
        sides: impl Fn(usize, f64) -> (f64, f64),
    ) -> Result<Column<'a>, EvalError> {
        let op = binary.op;
        let filters = op.is_comparison() && !binary.return_bool;
        vector.map_steps(|step, value| {
            let (a, b) = sides(step, value);
            match apply(op, a, b) {
                // A comparison keeps the vector's value, on whichever side it stands.
                result if filters => {
                    if result == 1.0 {
                        value
                    } else {
                        ABSENT
                    }
                }
                result => result,
            }
        });
        if filters {
            vector.retain_present();
            return Ok(Column::Vector(vector));
        }
        Ok(Column::Vector(self.drop_names(vector)?))
    }

    /// `and`, `or`, `unless`.
    fn set_operation(
        &mut self,
        op: BinaryOp,
        matching: &Matching,
        mut lhs: Vector,
        rhs: Vector,
    ) -> Result<Vector, EvalError> {
        let mut numbering = Numbering::new(self.memo, self.matching_signature(matching));
        // For each signature and step: does the side that decides have a value there?
        let (deciding, decided) = if op == BinaryOp::Or { (&lhs, &rhs) } else { (&rhs, &lhs) };
        let steps = deciding.steps;
        let mut there = self.budget.room(0)?;
        for (head, row) in deciding.rows() {
            let number = numbering.number(head) as usize;
            if number * steps == there.len() {
                there.extend(false, steps)?;
            }
            for (there, value) in there[number * steps..].iter_mut().zip(row) {
                *there |= is_present(*value);
            }
        }
        let numbers: Vec<Option<u32>> =
            decided.heads.iter().map(|head| numbering.find(head)).collect();
        let wanted = op == BinaryOp::And;
        let keep = |series: usize, step: usize| {
            numbers[series].is_some_and(|number| there[number as usize * steps + step]) == wanted
        };
        if op != BinaryOp::Or {
            for series in 0..lhs.heads.len() {
                let cells = lhs.row_mut(series).iter_mut().enumerate();
                let gone = cells.filter(|(step, _)| !keep(series, *step));
                gone.for_each(|(_, value)| *value = ABSENT);
            }
            lhs.retain_present();
            return Ok(lhs);
        }
        let alone = rhs.heads.is_empty();
        let first = lhs.heads.is_empty();
        for (series, (head, row)) in rhs.rows().enumerate() {
            let cells = lhs.open_row()?.iter_mut().zip(row).enumerate();
            let kept = cells.filter(|(step, _)| keep(series, *step));
            kept.for_each(|(_, (cell, value))| *cell = *value);
            lhs.seal_row(|| head.clone())?;
        }
        lhs.distinct = (lhs.distinct && alone) || (first && rhs.distinct);
        if steps == 1 {
            // Equal labels have equal signatures, so both sides never show up at one step.
            return Ok(lhs);
        }
        unique(lhs, self.eager(), Collisions::Merged)
    }
}
