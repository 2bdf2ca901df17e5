//! Labels as readers see them: the metadata labels, their removal, and collisions after it.
//!
//! Prometheus takes the metric name off when a value no longer is that metric: at once (eager, the
//! default) or when the query ends (delayed, an option). Here both are one mark on the series; in
//! eager mode every reader skips the labels a marked series has lost, so new label sets are made
//! only for what leaves the query.

use std::fmt;

use super::super::quoting::quote;
use super::column::{Head, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use crate::base::{HashMap, Labels, METRIC_NAME, is_label_name};

/// The labels that describe the metric rather than the series, in order.
pub(super) const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Whether a label describes the metric rather than the series.
pub(super) fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name)
}

/// The metadata labels of a set. Labels are sorted, so few of the others are looked at.
pub(super) fn metadata(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let near = labels.iter().take_while(|(name, _)| *name <= METADATA[2]);
    near.filter(|(name, _)| is_metadata(name))
}

/// A label set without the metadata labels; free of cost if it has none.
pub(super) fn strip(labels: &Labels) -> Labels {
    if metadata(labels).next().is_some() {
        labels.filtered(|name| !is_metadata(name))
    } else {
        labels.clone()
    }
}

/// The pairs of a series as a reader sees them.
pub(super) fn visible(head: &Head, eager: bool) -> impl Iterator<Item = (&str, &str)> {
    let hidden = eager && head.drop_name;
    head.labels.iter().filter(move |(name, _)| !(hidden && is_metadata(name)))
}

/// The label set of a series as a reader sees it.
pub(super) fn settled(head: &Head, eager: bool) -> Labels {
    if eager && head.drop_name { strip(&head.labels) } else { head.labels.clone() }
}

/// A label set as Go's `labels.Labels.String` writes it: the name among the others.
pub(super) struct GoLabels<'a>(pub &'a Labels);

impl fmt::Display for GoLabels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            if is_label_name(name) {
                write!(f, "{name}={}", quote(value))?;
            } else {
                write!(f, "{}={}", quote(name), quote(value))?;
            }
        }
        f.write_str("}")
    }
}

/// Appends one label, or only its value, to a key; 0xff occurs in no valid text.
pub(super) fn push_key(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(text.as_bytes());
    key.push(0xff);
}

/// What is done when two series with the same labels have a value at the same step, and when they
/// never do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Collisions {
    /// Two series of the same labels are an error, whatever their values.
    Forbidden,
    /// They become one series, unless they have a value at the same step.
    Merged,
}

impl Engine<'_> {
    /// Whether metadata labels go at once.
    pub fn eager(&self) -> bool {
        !self.options.features.delayed_name_removal
    }

    /// Marks every series for the loss of its name; series that become equal by it are merged.
    pub fn drop_names(&self, vector: Vector) -> Result<Vector, EvalError> {
        self.drop_names_with(vector, Collisions::Merged)
    }

    /// Marks every series for the loss of its name; series that become equal by it are an error.
    pub fn drop_names_strictly(&self, vector: Vector) -> Result<Vector, EvalError> {
        self.drop_names_with(vector, Collisions::Forbidden)
    }

    fn drop_names_with(
        &self,
        mut vector: Vector,
        collisions: Collisions,
    ) -> Result<Vector, EvalError> {
        vector.heads.iter_mut().for_each(|head| head.drop_name = true);
        if !self.eager() || vector.distinct {
            return Ok(vector);
        }
        let mut vector = unique(vector, true, collisions)?;
        vector.distinct = true;
        Ok(vector)
    }
}

/// Makes the series of a vector unique by their visible labels.
pub(super) fn unique(
    vector: Vector,
    eager: bool,
    collisions: Collisions,
) -> Result<Vector, EvalError> {
    merge_rows(vector, eager, |vector, first, second| {
        let clash = collisions == Collisions::Forbidden
            || vector
                .row(first)
                .iter()
                .zip(vector.row(second))
                .any(|(a, b)| is_present(*a) && is_present(*b));
        if clash { Err(EvalError::same_labelset()) } else { Ok(()) }
    })
}

/// Merges the rows of series with the same visible labels into the first of them, after asking
/// `allowed` about each pair.
pub(super) fn merge_rows(
    mut vector: Vector,
    eager: bool,
    allowed: impl Fn(&Vector, usize, usize) -> Result<(), EvalError>,
) -> Result<Vector, EvalError> {
    if vector.heads.len() < 2 {
        return Ok(vector);
    }
    let mut seen: HashMap<Box<[u8]>, usize> = HashMap::default();
    seen.reserve(vector.heads.len());
    let mut keys = vector.values.budget().share::<u8>(0)?;
    let mut key = Vec::new();
    let mut merged = false;
    for series in 0..vector.heads.len() {
        key.clear();
        for (name, value) in visible(&vector.heads[series], eager) {
            push_key(&mut key, name);
            push_key(&mut key, value);
        }
        let Some(&first) = seen.get(key.as_slice()) else {
            keys.grow::<u8>(key.len() + size_of::<(Box<[u8]>, usize)>())?;
            seen.insert(key.as_slice().into(), series);
            continue;
        };
        allowed(&vector, first, series)?;
        merged = true;
        let (head, tail) = vector.values.split_at_mut(series * vector.steps);
        let into = &mut head[first * vector.steps..(first + 1) * vector.steps];
        for (into, from) in into.iter_mut().zip(&mut tail[..vector.steps]) {
            if is_present(*from) {
                *into = std::mem::replace(from, super::column::ABSENT);
            }
        }
    }
    if merged {
        vector.retain_present();
    }
    Ok(vector)
}
