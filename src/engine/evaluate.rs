//! One evaluation of one rule: expression to series or alerts.
//!
//! What Prometheus does in `rules/recording.go` and `rules/alerting.go`: labels replaced, templates
//! expanded, duplicates and limits refused. A rule that fails writes nothing and touches none of its
//! alerts; the next rule goes on.

use std::collections::BTreeSet;

use super::group::RuleState;
use super::texts::Said;
use crate::alerts::Candidate;
use crate::base::{Labels, Sample, Timestamp};
use crate::promql::eval::EvalErrorKind;
use crate::promql::{EvalError, EvalOptions, Memo, Value, ast::Expr, instant_with};
use crate::rules::{Rule, RuleKind};
use crate::window::{SeriesId, Source, Window};
use crate::yaml::Position;

/// Says why a rule was not evaluated to its end.
const TOO_SLOW: &str = "evaluation timed out: the rules of a group may together take half of its \
                        interval, at most 2s";

/// What every rule of a round is evaluated with.
pub(super) struct Context<'a> {
    pub options: &'a EvalOptions,
    pub memo: &'a Memo,
    pub external_labels: &'a Labels,
    pub external_url: &'a str,
    /// The time selectors look at.
    pub at: Timestamp,
    /// The group's limit; 0 is none.
    pub limit: usize,
}

/// Why a rule has no result.
pub(super) struct RuleFailure {
    /// Why, and where.
    pub message: String,
    /// Where in the rule's file.
    pub at: Option<Position>,
    /// Series its selectors had found.
    pub series_fetched: usize,
}

impl From<String> for RuleFailure {
    fn from(message: String) -> RuleFailure {
        RuleFailure { message, at: None, series_fetched: 0 }
    }
}

/// A rule's result before it becomes series or alerts.
pub(super) struct Evaluated {
    pub vector: Vec<(Labels, f64)>,
    pub series_fetched: usize,
}

/// Evaluates the expression of a rule of `file`; an error names the place in it.
pub(super) fn evaluate_rule(
    (file, rule): (&str, &Rule),
    source: &dyn Source,
    context: &Context<'_>,
) -> Result<Evaluated, RuleFailure> {
    let evaluated = evaluate(&rule.expr, source, context).map_err(|error| {
        let at = error.span.map(|span| rule.place_of(span.start));
        let mut message = match error.kind {
            EvalErrorKind::Timeout => TOO_SLOW.to_owned(),
            _ => error.to_string(),
        };
        if let Some(at) = at {
            message += &format!(" ({file}:{at})");
        }
        if let Some(hint) = error.hint {
            message += &format!("; {hint}");
        }
        RuleFailure { message, at, series_fetched: error.series_fetched }
    })?;
    let (limit, count) = (context.limit, evaluated.vector.len());
    if limit > 0 && count > limit {
        let what = match rule.kind {
            RuleKind::Record { .. } => "series",
            RuleKind::Alert(_) => "alerts",
        };
        let message = format!("exceeded limit of {limit} with {count} {what}");
        let series_fetched = evaluated.series_fetched;
        return Err(RuleFailure { message, at: None, series_fetched });
    }
    Ok(evaluated)
}

/// Evaluates an expression; a scalar becomes one sample without labels.
pub(super) fn evaluate(
    expr: &Expr,
    source: &dyn Source,
    context: &Context<'_>,
) -> Result<Evaluated, EvalError> {
    let evaluated = instant_with(context.memo, expr, source, context.at, context.options)?;
    let series_fetched = evaluated.series_fetched;
    let refused = |why: String| EvalError { series_fetched, ..EvalError::execution(why) };
    let vector = match evaluated.value {
        Value::Vector(vector) => vector,
        Value::Scalar(value) => vec![(Labels::empty(), value)],
        Value::Matrix(_) | Value::String(_) => {
            return Err(refused("rule result is not a vector or scalar".to_owned()));
        }
    };
    Ok(Evaluated { vector, series_fetched })
}

/// Writes a recording rule's result; series it wrote last time and not now are ended. Returns how
/// many series did not fit into the window.
pub(super) fn record(
    rule: &Rule,
    state: &mut RuleState,
    vector: &[(Labels, f64)],
    window: &mut Window,
    at: Timestamp,
) -> Result<u64, String> {
    let mut known: Vec<(SeriesId, f64)> = Vec::with_capacity(vector.len());
    let mut new: Vec<(Labels, f64)> = Vec::new();
    for (labels, value) in vector {
        let labels = state.record_labels(rule, labels);
        match window.id(&labels) {
            Some(id) => known.push((id, *value)),
            None => new.push((labels, *value)),
        }
    }
    new.sort_by(|a, b| a.0.cmp(&b.0));
    let mut ids: Vec<SeriesId> = known.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let repeats = ids.windows(2).any(|pair| pair[0] == pair[1])
        || new.windows(2).any(|pair| pair[0].0 == pair[1].0);
    if repeats {
        return Err(
            "vector contains metrics with the same labelset after applying rule labels".into()
        );
    }
    let mut refused = 0;
    for (labels, value) in new {
        match window.series(&labels) {
            Ok(id) => {
                known.push((id, value));
                ids.push(id);
            }
            Err(_) => refused += 1,
        }
    }
    for (id, value) in known {
        window.append(id, Sample { at, value });
    }
    state.take_written(ids, window);
    Ok(refused)
}

/// Turns an alerting rule's result into the alerts it would be: labels and annotations rendered.
pub(super) fn candidates(
    rule: &Rule,
    state: &mut RuleState,
    vector: &[(Labels, f64)],
    source: &dyn Source,
    context: &Context<'_>,
) -> Result<Vec<Candidate>, String> {
    let mut seen = BTreeSet::new();
    let mut candidates = Vec::with_capacity(vector.len());
    state.texts.begin_round();
    for (series, value) in vector {
        let Said { labels, annotations } =
            state.texts.say(rule.name(), (series, *value), source, context);
        if !seen.insert(labels.clone()) {
            return Err(
                "vector contains metrics with the same labelset after applying alert labels".into(),
            );
        }
        candidates.push(Candidate { labels, annotations, value: *value });
    }
    Ok(candidates)
}
