//! Aggregations that look at all values of a group together: `topk`, `bottomk`, `limitk`,
//! `limit_ratio`, `quantile` and `count_values`.

use super::super::ast::{Aggregate, AggregateOp, Grouping};
use super::super::quoting::quote_bytes;
use super::budget::Paid;
use super::column::{ABSENT, Grid, Head, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use super::float::{nan_first, quantile};
use super::names::settled;
use crate::base::number::shortest;
use crate::base::{HashMap, Labels, excerpt, fingerprint};

impl<'a> Engine<'a> {
    /// Keeps some of each group's series, at every step anew.
    pub fn pick(
        &mut self,
        aggregate: &'a Aggregate,
        numbers: Paid<f64>,
        vector: Vector,
    ) -> Result<Vector, EvalError> {
        // Prometheus 3.14 takes nobody before it looks whether the number is one.
        if aggregate.op != AggregateOp::LimitRatio && numbers.iter().all(|number| *number < 1.0) {
            return Vector::with_room(&self.budget, 0, vector.steps);
        }
        let numbers = self.check_numbers(aggregate, numbers)?;
        let groups = self.groups(&vector, &aggregate.grouping)?;
        let members = groups.members();
        let values = self.budget.filled(ABSENT, vector.values.len())?;
        let mut picked = Vector { heads: vector.heads.copied()?, values, ..vector };
        let mut order = Vec::with_capacity(vector.heads.len());
        let shares = self.shares(aggregate.op, &vector);
        let mut candidates = Vec::new();
        for (step, number) in numbers.iter().copied().enumerate() {
            for group in &members {
                let value = |series: usize| vector.row(series)[step];
                candidates.clear();
                candidates.extend(group.iter().copied().filter(|s| is_present(value(*s))));
                choose(aggregate.op, number, &mut candidates, &value, &shares);
                for series in &candidates {
                    picked.row_mut(*series)[step] = value(*series);
                }
                if vector.steps == 1 {
                    order.extend_from_slice(&candidates);
                }
            }
        }
        if vector.steps == 1 {
            // An instant query shows the picked in the order they were picked in.
            picked.heads = vector.heads.picked(&order)?;
            picked.values = vector.values.picked(&order)?;
        } else {
            picked.retain_present();
        }
        Ok(picked)
    }

    /// Each series' place in [0, 1), for `limit_ratio`: fixed by its labels alone.
    fn shares(&self, op: AggregateOp, vector: &Vector) -> Vec<f64> {
        if op != AggregateOp::LimitRatio {
            return Vec::new();
        }
        let share = |head: &Head| {
            // FNV mixes its last bytes poorly into the high bits; one multiplication spreads them.
            let hash = fingerprint(&settled(head, self.eager())).rotate_left(29);
            let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 11) as f64 / (1_u64 << 53) as f64
        };
        vector.heads.iter().map(share).collect()
    }

    /// The parameter at every step, checked.
    fn check_numbers(
        &mut self,
        aggregate: &Aggregate,
        mut numbers: Paid<f64>,
    ) -> Result<Paid<f64>, EvalError> {
        let span = aggregate.param.as_ref().map_or(aggregate.expr.span, |param| param.span);
        if aggregate.op != AggregateOp::LimitRatio {
            let checked = numbers.iter().try_for_each(|number| check_count(*number));
            return checked.map(|()| numbers).map_err(|error| error.within(span));
        }
        for ratio in numbers.iter_mut() {
            let number = *ratio;
            if number.is_nan() {
                return Err(EvalError::execution("Ratio value is NaN").advise(NUMBER).within(span));
            }
            let capped = number.clamp(-1.0, 1.0);
            if capped != number {
                let text = format!(
                    "ratio value should be between -1 and 1, got {}, capping to {}",
                    shortest(number),
                    shortest(capped)
                );
                self.notes.warn(span, &text);
            }
            *ratio = capped;
        }
        Ok(numbers)
    }

    /// The φ-quantile of each group at each step.
    pub fn quantiles(
        &self,
        aggregate: &Aggregate,
        phis: &[f64],
        vector: &Vector,
    ) -> Result<Vector, EvalError> {
        let groups = self.groups(vector, &aggregate.grouping)?;
        let mut values = self.budget.room(groups.heads.len().saturating_mul(vector.steps))?;
        let mut present = Vec::new();
        for members in groups.members() {
            for (step, phi) in phis.iter().enumerate() {
                present.clear();
                let cells = members.iter().map(|series| vector.row(*series)[step]);
                present.extend(cells.filter(|value| is_present(*value)));
                let value = if present.is_empty() { ABSENT } else { quantile(*phi, &mut present) };
                values.push(value)?;
            }
        }
        Ok(self.grouped(vector, groups.heads, values, &aggregate.grouping))
    }

    /// How often each value occurs in each group, the value as a label.
    pub fn count_values(
        &mut self,
        aggregate: &'a Aggregate,
        grid: Grid,
    ) -> Result<Vector, EvalError> {
        let label = match &aggregate.param {
            Some(param) => self.bytes(param)?,
            None => b"",
        };
        // Any text is a label name under UTF-8 names, but for the empty one.
        let Some(label) = std::str::from_utf8(label).ok().filter(|label| !label.is_empty()) else {
            let quoted = quote_bytes(label);
            let error = EvalError::execution(format!("invalid label name {}", excerpt(&quoted)));
            let span = aggregate.param.as_ref().map(|param| param.span);
            return Err(span.map_or(error.clone(), |span| error.within(span)));
        };
        let vector = self.vector(&aggregate.expr, grid)?;
        let mut grouping = aggregate.grouping.clone();
        if let Grouping::By(names) = &mut grouping {
            names.push(label.to_owned());
        }
        let signature = self.grouping_signature(&grouping);
        // The counted label sets are new ones every time: not worth remembering.
        let mut numbers: HashMap<Labels, usize> = HashMap::default();
        let (mut heads, mut values) = (self.budget.room(0)?, self.budget.room(0)?);
        for (head, row) in vector.rows() {
            let labels = settled(head, self.eager());
            for (step, value) in row.iter().enumerate().filter(|(_, value)| is_present(**value)) {
                let labels = labels.with(label, &go_fixed(*value));
                let labels = signature.labels(&Head { labels, drop_name: false });
                let group = match numbers.get(&labels) {
                    Some(group) => *group,
                    None => {
                        self.budget.count_labels(&labels);
                        self.check_bounds()?;
                        values.extend(ABSENT, grid.count)?;
                        heads.push(Head { labels: labels.clone(), drop_name: false })?;
                        numbers.insert(labels, heads.len() - 1);
                        heads.len() - 1
                    }
                };
                let cell = &mut values[group * grid.count + step];
                *cell = if is_present(*cell) { *cell + 1.0 } else { 1.0 };
            }
            self.check_deadline()?;
        }
        Ok(self.grouped(&vector, heads, values, &grouping))
    }
}

/// What helps where a number is none.
const NUMBER: &str = "it must be a number, which `0 / 0` is not";

/// Whether a number can say how many: Prometheus makes an int64 of it.
fn check_count(number: f64) -> Result<(), EvalError> {
    if number.is_nan() {
        return Err(EvalError::execution("Parameter value is NaN").advise(NUMBER));
    }
    if number > i64::MIN as f64 && number < i64::MAX as f64 {
        return Ok(());
    }
    let flow = if number > 0.0 { "overflows" } else { "underflows" };
    Err(EvalError::execution(format!("Scalar value {} {flow} int64", shortest(number))))
}

/// Cuts the candidates down to those the operator keeps, in the order it shows them in.
fn choose(
    op: AggregateOp,
    number: f64,
    candidates: &mut Vec<usize>,
    value: &impl Fn(usize) -> f64,
    shares: &[f64],
) {
    // NaN stands behind every number, at both ends.
    let nan_last = |a: f64, b: f64| a.is_nan().cmp(&b.is_nan());
    match op {
        AggregateOp::Topk => candidates.sort_by(|a, b| {
            let (a, b) = (value(*a), value(*b));
            nan_last(a, b).then(nan_first(b, a))
        }),
        AggregateOp::Bottomk => candidates.sort_by(|a, b| {
            let (a, b) = (value(*a), value(*b));
            nan_last(a, b).then(nan_first(a, b))
        }),
        AggregateOp::LimitRatio => {
            candidates.retain(|series| {
                let share = shares[*series];
                if number >= 0.0 { share < number } else { share >= 1.0 + number }
            });
            return;
        }
        _ => {}
    }
    candidates.truncate(if number < 1.0 { 0 } else { number as usize });
}

/// A float as `strconv.FormatFloat(f, 'f', -1, 64)` writes it: never with an exponent.
fn go_fixed(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { shortest(value) }
}
