//! Functions of labels, and order: `label_replace`, `label_join`, `absent`, `sort*`.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::super::ast::{Call, Expr, ExprKind};
use super::budget::Paid;
use super::column::{ABSENT, Grid, Head, Vector, is_present};
use super::engine::{Engine, unwrap_parens};
use super::error::EvalError;
use super::float::nan_first;
use super::names::{Collisions, settled, unique};
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, excerpt};
use crate::regex::{Pattern, PatternError};
use crate::window::MatchOp;

/// The longest value a function may give a label. Prometheus has no bound; texts that people and
/// programs write stay far below.
const MAX_VALUE_BYTES: usize = 64 << 10;

impl<'a> Engine<'a> {
    /// `label_replace(v, dst, replacement, src, regex)`
    pub fn label_replace(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let [argument, dst, replacement, src, regex] = call.args.as_slice() else {
            return Err(EvalError::execution("label_replace takes five arguments"));
        };
        let (dst_at, regex_at) = (dst.span, regex.span);
        let (dst, replacement) = (self.text(dst)?, self.text(replacement)?);
        let (src, regex) = (self.text(src)?, self.text(regex)?);
        let pattern = Pattern::within(regex, &mut self.patterns).map_err(|error| {
            let what = match &error {
                PatternError::Bad(_) | PatternError::TooDeep(_) => excerpt(regex),
                PatternError::TooLarge(why) => Cow::Borrowed(why.as_str()),
            };
            let text = format!("invalid regular expression in label_replace(): {what}");
            EvalError::execution(text).advise(error.hint()).within(regex_at)
        })?;
        if dst.is_empty() {
            let text = "invalid destination label name in label_replace(): ";
            return Err(EvalError::execution(text).within(dst_at));
        }
        let vector = self.vector(argument, grid)?;
        self.relabel(vector, dst, |labels| {
            let source = labels.get(src).unwrap_or("");
            let long = |_| EvalError::long_label("label_replace", dst, MAX_VALUE_BYTES);
            let value = pattern.expand_within(source, replacement, MAX_VALUE_BYTES).transpose();
            value.map_err(long)
        })
    }

    /// `label_join(v, dst, separator, src…)`
    pub fn label_join(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let [argument, dst, separator, sources @ ..] = call.args.as_slice() else {
            return Err(EvalError::execution("label_join takes at least three arguments"));
        };
        let (dst_at, sources_at) = (dst.span, sources);
        let (dst, separator) = (self.text(dst)?, self.text(separator)?);
        let sources: Vec<&str> =
            sources.iter().map(|source| self.text(source)).collect::<Result<_, _>>()?;
        if let Some(empty) = sources.iter().position(|source| source.is_empty()) {
            let error = EvalError::execution("invalid source label name in label_join(): ");
            return Err(error.within(sources_at[empty].span));
        }
        if dst.is_empty() {
            let error = EvalError::execution("invalid destination label name in label_join(): ");
            return Err(error.within(dst_at));
        }
        let vector = self.vector(argument, grid)?;
        self.relabel(vector, dst, |labels| {
            let values: Vec<&str> =
                sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
            let bytes = values.iter().map(|value| value.len()).sum::<usize>();
            let bytes = bytes.saturating_add(separator.len() * values.len().saturating_sub(1));
            if bytes > MAX_VALUE_BYTES {
                return Err(EvalError::long_label("label_join", dst, MAX_VALUE_BYTES));
            }
            Ok(Some(values.join(separator)))
        })
    }

    /// Sets one label of every series for which there is a new value.
    fn relabel(
        &mut self,
        mut vector: Vector,
        dst: &str,
        value: impl Fn(&Labels) -> Result<Option<String>, EvalError>,
    ) -> Result<Vector, EvalError> {
        let eager = self.eager();
        for head in vector.heads.iter_mut() {
            let labels = settled(head, eager);
            if let Some(value) = value(&labels)? {
                let drop_name = head.drop_name && !eager && dst != METRIC_NAME;
                let labels = labels.with(dst, &value);
                self.budget.count_labels(&labels);
                self.check_bounds()?;
                *head = Head { labels, drop_name };
            }
        }
        let mut vector = unique(vector, eager, Collisions::Merged)?;
        vector.distinct = false;
        Ok(vector)
    }

    /// `absent`: 1 at every step without any value.
    pub fn absent(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let vector = self.vector(&call.args[0], grid)?;
        let mut values = self.budget.filled(1.0, grid.count)?;
        for (_, row) in vector.rows() {
            for (value, cell) in values.iter_mut().zip(row) {
                if is_present(*cell) {
                    *value = ABSENT;
                }
            }
        }
        absent_vector(&call.args[0], values)
    }

    /// `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: order only what has an order.
    pub fn sort(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let name = call.func.name;
        let by: Vec<&str> =
            call.args[1..].iter().map(|label| self.text(label)).collect::<Result<_, _>>()?;
        let mut vector = self.vector(&call.args[0], grid)?;
        if self.query.start != self.query.end {
            self.notes.warn(
                call.args[0].span,
                "sort is ineffective for range queries since results are always ordered by labels",
            );
        }
        if grid.count > 1 {
            return Ok(vector);
        }
        let mut order: Vec<usize> = (0..vector.heads.len()).collect();
        if name.starts_with("sort_by_label") {
            let labels: Vec<Labels> =
                vector.heads.iter().map(|head| settled(head, self.eager())).collect();
            order.sort_by(|a, b| by_labels(&labels[*a], &labels[*b], &by));
            if name == "sort_by_label_desc" {
                order.reverse();
            }
        } else {
            let descending = name == "sort_desc";
            order.sort_by(|a, b| {
                let (a, b) = (vector.values[*a], vector.values[*b]);
                let numbers = if descending { nan_first(b, a) } else { nan_first(a, b) };
                a.is_nan().cmp(&b.is_nan()).then(numbers)
            });
        }
        vector.heads = vector.heads.picked(&order)?;
        vector.values = vector.values.picked(&order)?;
        Ok(vector)
    }
}

/// The one series of `absent(expr)`: named by what the selector asks for by `=`.
pub(super) fn absent_vector(expr: &Expr, values: Paid<f64>) -> Result<Vector, EvalError> {
    let (heads, steps) = (values.budget().room(1)?, values.len());
    let mut vector = Vector { heads, values, steps, distinct: true };
    vector.seal_row(|| Head { labels: absent_labels(expr), drop_name: false })?;
    Ok(vector)
}

fn absent_labels(expr: &Expr) -> Labels {
    let selector = match &unwrap_parens(expr).kind {
        ExprKind::Vector(vector) => &vector.selector,
        ExprKind::Matrix(matrix) => &matrix.vector.selector,
        _ => return Labels::empty(),
    };
    let mut labels = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers().iter().filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}

/// By these labels in natural order, then by all.
fn by_labels(a: &Labels, b: &Labels, names: &[&str]) -> Ordering {
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or("").to_owned();
    let named = names.iter().map(|name| natural(&value(a, name), &value(b, name)));
    named.fold(Ordering::Equal, Ordering::then).then_with(|| a.cmp(b))
}

/// Orders texts as `facette/natsort` does: run by run, digits as numbers and the rest as text, so
/// `node-9` stands before `node-10` and both behind `node7`.
fn natural(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let ((x, rest_a), (y, rest_b)) = (first_run(a), first_run(b));
        let order = match (digits(x) > 0, digits(y) > 0) {
            (true, true) => {
                let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// The first run of digits, or of anything else, and what follows it.
fn first_run(text: &str) -> (&str, &str) {
    let numeric = digits(text) > 0;
    text.split_at(text.find(|c: char| c.is_ascii_digit() != numeric).unwrap_or(text.len()))
}

/// How many digits a text starts with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_order_reads_numbers() {
        let mut texts = ["node-10", "node-9", "node", "", "node-9a", "a1b10", "a1b9", "7"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["", "7", "a1b9", "a1b10", "node", "node-9", "node-9a", "node-10"]);
        let mut texts = ["node-1", "node10", "node2", "node1", "a b", "a1", "node02", "x1é", "x1"];
        texts.sort_by(|a, b| natural(a, b));
        let want = ["a1", "a b", "node1", "node2", "node02", "node10", "node-1", "x1", "x1é"];
        assert_eq!(texts, want);
    }
}
