//! `/api/v1/plimsoll/explain`: why a rule did, or did not, do what was expected of it.
//!
//! Its last evaluations as they were noted, and the value of every part of its query, computed now
//! from the window for the time of each. A sample that came late may therefore show in a part and
//! not in what was noted beside it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::backend::{QueryRequest, QueryTimes};
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::input_api::{Row, row};
use super::params::Params;
use super::parsing::{self, Deadline};
use super::rule_api::{Seconds, Timed};
use super::{QUERY_TIMEOUT, Server, Shared};
use crate::alerts::Change;
use crate::base::{Labels, closest, format_value};
use crate::engine::{Evaluation, GroupView, RuleView};
use crate::promql::eval::{Traced, Value};
use crate::promql::{ParseError, ParseOptions, parse};

/// Values shown of one part.
const MAX_VALUES: usize = 10;
/// Rules of one name that are explained at once; a group narrows further.
const MAX_RULES: usize = 4;

#[derive(Serialize)]
struct Explained<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    name: &'a str,
    group: &'a str,
    file: &'a str,
    r#type: &'static str,
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#for: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<Seconds>,
    alerts: Vec<Row<'a>>,
    /// The newest first.
    evaluations: Vec<Shown<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    time: Timed,
    looked_at: Timed,
    duration: Seconds,
    series_fetched: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    results: usize,
    values: Vec<Point<'a>>,
    changed: usize,
    changes: Vec<Changed<'a>>,
    /// Every part of the query, the query itself first; absent beyond `limit` evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<Part>>,
}

#[derive(Serialize)]
struct Point<'a> {
    metric: &'a Labels,
    value: String,
}

#[derive(Serialize)]
struct Changed<'a> {
    labels: &'a Labels,
    change: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    expr: String,
    depth: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How many series, or 1 for a number or text.
    results: usize,
    values: Vec<PartValue>,
}

#[derive(Serialize)]
struct PartValue {
    metric: Labels,
    /// The value; of a range, its samples from the first to the last.
    value: String,
}

pub(super) async fn explain(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let (view, now) = (server.backend.view(), server.backend.now());
    let limit = if params.get("limit").is_empty() { 1 } else { params.limit("limit")? };
    let mut rules = Vec::new();
    for (group, rule) in wanted(&view.groups, &params)? {
        let mut evaluations = Vec::with_capacity(rule.recent.len());
        for (nth, evaluation) in rule.recent.iter().rev().enumerate() {
            let parts = match nth < limit {
                true => Some(parts(&server, rule, evaluation).await?),
                false => None,
            };
            evaluations.push(show(evaluation, parts));
        }
        let alerting = rule.alerting.as_ref();
        let alerts = alerting.iter().flat_map(|alerting| &alerting.alerts);
        rules.push(Rule {
            name: &rule.name,
            group: &group.name,
            file: &group.file,
            r#type: if alerting.is_some() { "alerting" } else { "recording" },
            query: &rule.query,
            r#for: alerting.map(|alerting| Seconds(alerting.hold)),
            keep_firing_for: alerting.map(|alerting| Seconds(alerting.keep_firing)),
            alerts: alerts.map(|alert| row(alert, &view, now)).collect(),
            evaluations,
        });
    }
    Ok(format::success(&Explained { rules }, &Notes::default()))
}

/// The rules of that name, in one group if the request names it.
fn wanted<'a>(
    groups: &'a [Arc<GroupView>],
    params: &Params,
) -> Result<Vec<(&'a GroupView, &'a RuleView)>, ApiError> {
    let (name, group) = (params.get("rule"), params.get("group"));
    if name.is_empty() {
        return Err(ApiError::parameter("rule", "the name of an alert or record is needed"));
    }
    let all = || {
        let all = groups.iter().flat_map(|group| group.rules.iter().map(move |r| (&**group, r)));
        all.filter(|(of, _)| group.is_empty() || of.name == group)
    };
    let found: Vec<_> = all().filter(|(_, rule)| rule.name == name).collect();
    if found.is_empty() {
        let near = closest(name, all().map(|(_, rule)| rule.name.as_str()));
        let hint = near.map_or(String::new(), |near| format!(", did you mean {near:?}?"));
        let place = if group.is_empty() { String::new() } else { format!(" in group {group:?}") };
        let message = format!("no rule is called {name:?}{place}{hint}");
        return Err(ApiError::new(ErrorKind::NotFound, message));
    }
    if found.len() > MAX_RULES {
        let groups: Vec<&str> = found.iter().map(|(of, _)| of.name.as_str()).collect();
        let why = format!(
            "{} rules are called {name:?}; name one of their groups: {}",
            found.len(),
            groups.join(", ")
        );
        return Err(ApiError::parameter("group", why));
    }
    Ok(found)
}

/// The value of each part of a rule's query at the time of one evaluation.
async fn parts(
    server: &Server,
    rule: &RuleView,
    evaluation: &Evaluation,
) -> Result<Vec<Part>, ApiError> {
    // What rules may use was settled when they were loaded.
    let options = ParseOptions { experimental_functions: true };
    let (text, mut deadline) = (rule.query.clone(), Deadline::after(QUERY_TIMEOUT));
    let read = move || {
        let internal = |error: ParseError| ApiError::new(ErrorKind::Internal, error.to_string());
        parse(&text, &options).map_err(internal)
    };
    let (expr, turn) = parsing::in_turn(server, &mut deadline, read).await?;
    let request = QueryRequest {
        text: rule.query.clone(),
        expr,
        times: QueryTimes::Instant(evaluation.at),
        lookback: None,
        timeout: QUERY_TIMEOUT,
    };
    let traced = server.backend.trace(request, turn).await?;
    Ok(traced.into_iter().map(|traced| part(traced, &rule.query)).collect())
}

fn part(traced: Traced, query: &str) -> Part {
    let (results, values, error) = match traced.value {
        Ok(value) => {
            let (results, values) = some_of(value);
            (results, values, None)
        }
        Err(error) => (0, Vec::new(), Some(error.placed(query))),
    };
    Part { expr: traced.expr, depth: traced.depth, error, results, values }
}

fn some_of(value: Value) -> (usize, Vec<PartValue>) {
    let one = |value: String| (1, vec![PartValue { metric: Labels::empty(), value }]);
    match value {
        Value::Scalar(number) => one(format_value(number)),
        Value::String(text) => one(text),
        Value::Vector(series) => {
            let shown = series.iter().take(MAX_VALUES).map(|(metric, number)| PartValue {
                metric: metric.clone(),
                value: format_value(*number),
            });
            (series.len(), shown.collect())
        }
        Value::Matrix(series) => {
            let shown = series.iter().take(MAX_VALUES).map(|(metric, samples)| {
                let end = |sample: Option<&crate::base::Sample>| {
                    sample.map_or(String::new(), |sample| format_value(sample.value))
                };
                let (first, last) = (end(samples.first()), end(samples.last()));
                let value = format!("{} samples, {first} … {last}", samples.len());
                PartValue { metric: metric.clone(), value }
            });
            (series.len(), shown.collect())
        }
    }
}

fn show(evaluation: &Evaluation, parts: Option<Vec<Part>>) -> Shown<'_> {
    Shown {
        time: Timed(Some(evaluation.slot)),
        looked_at: Timed(Some(evaluation.at)),
        duration: Seconds(evaluation.took),
        series_fetched: evaluation.series_fetched,
        error: evaluation.error.as_deref(),
        results: evaluation.results,
        values: evaluation
            .values
            .iter()
            .map(|(metric, value)| Point { metric, value: format_value(*value) })
            .collect(),
        changed: evaluation.changed,
        changes: evaluation
            .changes
            .iter()
            .map(|(labels, change)| Changed { labels, change: word(*change) })
            .collect(),
        parts,
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Pending => "pending",
        Change::Firing => "firing",
        Change::Resolved => "resolved",
        Change::Unknown => "unknown",
        Change::Known => "known",
        Change::Paused => "paused",
        Change::Forgotten => "forgotten",
    }
}
