//! `info`: labels joined in from info series such as `target_info`.
//!
//! An info series belongs to every series of the same instance and job. Which one that is may
//! change from step to step, so one series may leave in several label sets.

use super::super::ast::{Call, ExprKind};
use super::budget::Paid;
use super::column::{ABSENT, Grid, Head, Vector, is_present};
use super::engine::{Engine, unwrap_parens, wrong_type};
use super::error::EvalError;
use super::keys::{Numbering, Signature};
use super::millis;
use super::names::{Collisions, GoLabels, settled, unique};
use crate::base::{LabelsBuilder, METRIC_NAME};
use crate::regex::Pattern;
use crate::window::{MatchOp, Matcher, Selector};

/// The labels that say which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What is joined in.
struct Wanted {
    /// Conditions on the names of info metrics.
    names: Vec<Matcher>,
    /// Conditions on their labels; only labels named here are taken, or all if there are none.
    data: Vec<Matcher>,
}

/// The info series, with the time of the sample in each cell, by signature.
struct InfoSeries {
    times: Vector,
    by_number: Vec<Vec<usize>>,
}

impl<'a> Engine<'a> {
    /// `info(v, {matchers})`
    pub fn info(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let base = self.vector(&call.args[0], grid)?;
        let (wanted, reference) = self.wanted(call, grid)?;
        let identifying = IDENTIFYING.map(str::to_owned);
        let signature = Signature::of(&identifying, self.eager());
        let mut numbering = Numbering::new(self.memo, signature);
        let info = self.info_series(&wanted, reference, &mut numbering)?;
        let mut result = Vector::with_room(&self.budget, base.heads.len(), grid.count)?;
        for (head, row) in base.rows() {
            let number = numbering.find(head);
            let candidates = match number {
                Some(number) if !wanted.is_info_metric(head) => &info.by_number[number as usize],
                _ => &Vec::new(),
            };
            let rows = self.enriched(&wanted, &info.times, candidates, (head, row))?;
            for (head, mut values) in rows {
                result.heads.push(head)?;
                result.values.append(&mut values)?;
            }
        }
        result.distinct = false;
        unique(result, self.eager(), Collisions::Merged)
    }

    fn wanted(&self, call: &Call, grid: Grid) -> Result<(Wanted, Grid), EvalError> {
        let mut wanted = Wanted { names: Vec::new(), data: Vec::new() };
        let mut reference = grid;
        if let Some(argument) = call.args.get(1) {
            let ExprKind::Vector(selector) = &unwrap_parens(argument).kind else {
                return Err(wrong_type(argument, "label selectors"));
            };
            reference = self.reference(&selector.offset, selector.at, grid)?;
            let matchers = selector.selector.matchers().iter().cloned();
            (wanted.names, wanted.data) = matchers.partition(|matcher| matcher.name == METRIC_NAME);
        }
        if wanted.names.is_empty() {
            wanted.names.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if !wanted.names.iter().any(is_positive) {
            // Conditions that only exclude are about info metrics, not about every metric.
            let value = ".+_info";
            let pattern = Pattern::new(value).expect("a constant pattern compiles");
            let (name, value) = (METRIC_NAME.to_owned(), value.to_owned());
            wanted.names.push(Matcher { name, op: MatchOp::Regex(pattern), value });
        }
        Ok((wanted, reference))
    }

    fn info_series(
        &mut self,
        wanted: &Wanted,
        reference: Grid,
        numbering: &mut Numbering,
    ) -> Result<InfoSeries, EvalError> {
        let matchers = wanted.names.iter().chain(&wanted.data).cloned().collect();
        let span = self.span(reference, millis(self.options.lookback));
        let selected = self.fetch_once(&Selector::new(matchers), span);
        let times = self.newest_rows(&selected, reference, |sample| sample.at.0 as f64)?;
        let mut by_number: Vec<Vec<usize>> = Vec::new();
        for (series, head) in times.heads.iter().enumerate() {
            let number = numbering.number(head) as usize;
            by_number.resize(numbering.len(), Vec::new());
            by_number[number].push(series);
        }
        Ok(InfoSeries { times, by_number })
    }

    /// The rows a series becomes: one for every set of info series that applies to it.
    fn enriched(
        &self,
        wanted: &Wanted,
        times: &Vector,
        candidates: &[usize],
        (head, row): (&Head, &[f64]),
    ) -> Result<Vec<(Head, Paid<f64>)>, EvalError> {
        let mut variants: Vec<(Vec<usize>, Paid<f64>)> = Vec::new();
        let passes = wanted.is_info_metric(head) || wanted.data.iter().all(|m| m.matches(""));
        for (step, value) in row.iter().enumerate().filter(|(_, value)| is_present(**value)) {
            let chosen = choose(times, candidates, step)?;
            if chosen.is_empty() && !passes {
                continue;
            }
            let known = variants.iter().position(|(variant, _)| *variant == chosen);
            let at = match known {
                Some(at) => at,
                None => {
                    variants.push((chosen, self.budget.filled(ABSENT, row.len())?));
                    variants.len() - 1
                }
            };
            variants[at].1[step] = *value;
        }
        let row = |(chosen, values): (Vec<usize>, Paid<f64>)| {
            Ok((self.joined(wanted, times, &chosen, head)?, values))
        };
        variants.into_iter().map(row).collect()
    }

    /// A series with the labels of its info series; what it has itself stays.
    fn joined(
        &self,
        wanted: &Wanted,
        times: &Vector,
        chosen: &[usize],
        head: &Head,
    ) -> Result<Head, EvalError> {
        let base = settled(head, self.eager());
        let mut added = LabelsBuilder::default();
        for series in chosen {
            let taken = |name: &str| {
                name != METRIC_NAME
                    && (wanted.data.is_empty() || wanted.data.iter().any(|m| m.name == name))
                    && base.get(name).is_none()
            };
            let labels = &times.heads[*series].labels;
            for (name, value) in labels.iter().filter(|(name, _)| taken(name)) {
                if !["", value].contains(&added.get(name)) {
                    return Err(EvalError::execution(format!("conflicting label: {name}")));
                }
                added.set(name, value);
            }
        }
        let mut labels = LabelsBuilder::from(&base);
        for (name, value) in added.iter() {
            labels.set(name, value);
        }
        let drop_name = head.drop_name && !self.eager();
        let labels = labels.build();
        self.budget.count_labels(&labels);
        self.check_bounds()?;
        Ok(Head { labels, drop_name })
    }
}

impl Wanted {
    /// Whether a series is itself one of the info metrics that are joined in.
    fn is_info_metric(&self, head: &Head) -> bool {
        let name = head.labels.metric_name();
        self.names.iter().filter(|m| is_positive(m)).all(|matcher| matcher.matches(name))
    }
}

fn is_positive(matcher: &Matcher) -> bool {
    matches!(matcher.op, MatchOp::Equal | MatchOp::Regex(_))
}

/// Of each info metric, the series with the newest sample at a step.
fn choose(times: &Vector, candidates: &[usize], step: usize) -> Result<Vec<usize>, EvalError> {
    let mut chosen: Vec<usize> = Vec::new();
    for series in candidates.iter().copied() {
        let time = times.row(series)[step];
        if !is_present(time) {
            continue;
        }
        let labels = &times.heads[series].labels;
        let name = labels.metric_name();
        let same = |known: &&mut usize| times.heads[**known].labels.metric_name() == name;
        let Some(known) = chosen.iter_mut().find(same) else {
            chosen.push(series);
            continue;
        };
        let known_time = times.row(*known)[step];
        if known_time == time {
            let first = &times.heads[*known].labels;
            let (first, labels) = (GoLabels(first), GoLabels(labels));
            return Err(EvalError::execution(format!(
                "found duplicate series for info metric: existing {first} @ {known_time}, \
                 new {labels} @ {time}"
            )));
        }
        if time > known_time {
            *known = series;
        }
    }
    Ok(chosen)
}
