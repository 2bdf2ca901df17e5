//! Aggregations that fold every group into one value.
//!
//! Series are assigned to groups once; then each row is folded into its group's accumulators, one
//! per step.

use super::super::ast::{Aggregate, AggregateOp, Grouping};
use super::budget::Paid;
use super::column::{ABSENT, Grid, Head, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use super::float::{Mean, Sum, Variance};
use super::keys::{Numbering, Signature};

/// Which group each series belongs to.
pub(super) struct Groups {
    /// The group of each series.
    pub of: Paid<u32>,
    /// What each group is called.
    pub heads: Paid<Head>,
}

impl Groups {
    /// The series of each group, in their order.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.heads.len()];
        for (series, group) in self.of.iter().enumerate() {
            members[*group as usize].push(series);
        }
        members
    }
}

impl<'a> Engine<'a> {
    /// Evaluates an aggregation.
    pub fn aggregate(&mut self, aggregate: &'a Aggregate, grid: Grid) -> Result<Vector, EvalError> {
        use AggregateOp as Op;
        if aggregate.op == Op::CountValues {
            return self.count_values(aggregate, grid);
        }
        let numbers = match &aggregate.param {
            Some(param) => self.scalar(param, grid)?,
            None => self.budget.room(0)?,
        };
        let vector = self.vector(&aggregate.expr, grid)?;
        match aggregate.op {
            Op::Topk | Op::Bottomk | Op::Limitk | Op::LimitRatio => {
                return self.pick(aggregate, numbers, vector);
            }
            Op::Quantile => {
                let span = aggregate.param.as_ref().map_or(aggregate.expr.span, |p| p.span);
                self.check_quantile(&numbers, span);
                return self.quantiles(aggregate, &numbers, &vector);
            }
            _ => {}
        }
        let groups = self.groups(&vector, &aggregate.grouping)?;
        let values = match aggregate.op {
            Op::Sum => fold(&vector, &groups, Sum::of, Sum::add, Sum::total),
            Op::Avg => fold(&vector, &groups, Mean::of, Mean::add, Mean::value),
            Op::Min => fold(&vector, &groups, |v| v, |least, v| keep(least, v, v < *least), |v| v),
            Op::Max => fold(&vector, &groups, |v| v, |most, v| keep(most, v, v > *most), |v| v),
            Op::Count => fold(&vector, &groups, |_| 1.0, |count, _| *count += 1.0, |v| v),
            Op::Group => fold(&vector, &groups, |_| 1.0, |_, _| {}, |v| v),
            Op::Stddev => fold(&vector, &groups, variance_of, Variance::add, |v| v.value().sqrt()),
            Op::Stdvar => fold(&vector, &groups, variance_of, Variance::add, Variance::value),
            _ => unreachable!("every other operator returned above"),
        }?;
        Ok(self.grouped(&vector, groups.heads, values, &aggregate.grouping))
    }

    /// The groups of a vector's series, in the order they are first seen.
    pub fn groups(&self, vector: &Vector, grouping: &Grouping) -> Result<Groups, EvalError> {
        let mut numbering = Numbering::new(self.memo, self.grouping_signature(grouping));
        let (of, heads) = (self.budget.room(vector.heads.len())?, self.budget.room(0)?);
        let mut groups = Groups { of, heads };
        for head in vector.heads.iter() {
            let group = numbering.number(head);
            groups.of.push(group)?;
            match groups.heads.get_mut(group as usize) {
                // The name of a group goes only if it goes from every member.
                Some(known) => known.drop_name &= head.drop_name,
                None => groups.heads.push(Head {
                    labels: numbering.labels(group),
                    drop_name: head.drop_name && !self.eager(),
                })?,
            }
        }
        Ok(groups)
    }

    /// The signature of `by` or `without`.
    pub fn grouping_signature<'g>(&self, grouping: &'g Grouping) -> Signature<'g> {
        match grouping {
            Grouping::By(names) => Signature::of(names, self.eager()),
            Grouping::Without(names) => Signature::without(names, self.eager()),
        }
    }

    /// The result of an aggregation: one row per group.
    pub fn grouped(
        &self,
        vector: &Vector,
        heads: Paid<Head>,
        values: Paid<f64>,
        grouping: &Grouping,
    ) -> Vector {
        let distinct = match grouping {
            Grouping::By(_) => !self.grouping_signature(grouping).contains_metadata(),
            Grouping::Without(_) => vector.distinct,
        };
        Vector { heads, values, steps: vector.steps, distinct }
    }
}

/// The smallest or largest value so far; NaN only as long as there is nothing else.
fn keep(so_far: &mut f64, value: f64, better: bool) {
    if better || so_far.is_nan() {
        *so_far = value;
    }
}

fn variance_of(value: f64) -> Variance {
    let mut variance = Variance::default();
    variance.add(value);
    variance
}

/// So many accumulators are used at a time, or one per group where there are more groups.
const ACCUMULATORS: usize = 1 << 14;

/// Folds the values of each group at each step: `start` from the first, `add` the others. An
/// accumulator is several times as large as a value, so many steps are folded some at a time.
fn fold<A: Copy>(
    vector: &Vector,
    groups: &Groups,
    start: impl Fn(f64) -> A,
    add: impl Fn(&mut A, f64),
    finish: impl Fn(A) -> f64,
) -> Result<Paid<f64>, EvalError> {
    let (steps, count) = (vector.steps, groups.heads.len());
    let at_once = (ACCUMULATORS / count.max(1)).clamp(1, steps);
    let budget = vector.values.budget();
    let mut totals: Paid<Option<A>> = budget.filled(None, count * at_once)?;
    let mut values = budget.filled(ABSENT, count.saturating_mul(steps))?;
    for first in (0..steps).step_by(at_once) {
        let some = first..steps.min(first + at_once);
        for (row, group) in vector.values.chunks_exact(steps).zip(groups.of.iter()) {
            let totals = &mut totals[*group as usize * at_once..][..some.len()];
            for (total, value) in totals.iter_mut().zip(&row[some.clone()]) {
                match total {
                    _ if !is_present(*value) => {}
                    Some(total) => add(total, *value),
                    None => *total = Some(start(*value)),
                }
            }
        }
        let rows = values.chunks_exact_mut(steps).zip(totals.chunks_exact_mut(at_once));
        for (row, totals) in rows {
            for (value, total) in row[some.clone()].iter_mut().zip(totals) {
                *value = total.take().map_or(ABSENT, &finish);
            }
        }
    }
    Ok(values)
}
