//! `/api/v1/rules` and `/api/v1/alerts`: the plain Prometheus machine.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::error::ApiError;
use super::format::{self, Notes, exponent_form};
use super::params::Params;
use super::parsing;
use super::{Server, Shared};
use crate::alerts::AlertState;
use crate::base::{Labels, Timestamp, quoted};
use crate::engine::{AlertingView, GroupView, Health, RuleView};
use crate::window::Selector;

/// The warning of a rule that evaluates well and cannot fire.
const NEVER_FIRES: &str = "has selected no series for an hour: it never fires";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups<'a> {
    groups: Vec<Group<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    name: &'a str,
    file: &'a str,
    rules: Vec<Rule<'a>>,
    interval: Seconds,
    limit: usize,
    evaluation_time: Seconds,
    last_evaluation: Timed,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rule<'a> {
    Alerting(Alerting<'a>),
    Recording(Recording<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alerting<'a> {
    state: &'static str,
    name: &'a str,
    query: &'a str,
    duration: Seconds,
    keep_firing_for: Seconds,
    labels: TextMap<'a>,
    annotations: TextMap<'a>,
    alerts: Vec<AlertRow<'a>>,
    #[serde(flatten)]
    run: Run<'a>,
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recording<'a> {
    name: &'a str,
    query: &'a str,
    #[serde(skip_serializing_if = "TextMap::is_empty")]
    labels: TextMap<'a>,
    #[serde(flatten)]
    run: Run<'a>,
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    /// Ours: what is wrong with a rule that evaluates without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    evaluation_time: Seconds,
    last_evaluation: Timed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertRow<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    state: &'static str,
    active_at: Timed,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<Timed>,
    value: String,
}

#[derive(Serialize)]
struct Alerts<'a> {
    alerts: Vec<AlertRow<'a>>,
}

/// A map of texts, in the order it was written.
struct TextMap<'a>(&'a [(String, String)]);

impl TextMap<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for TextMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A time as Go writes it; never is Go's zero time.
#[derive(Clone, Copy)]
pub(super) struct Timed(pub(super) Option<Timestamp>);

impl Serialize for Timed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(at) => serializer.collect_str(&at),
            None => serializer.serialize_str("0001-01-01T00:00:00Z"),
        }
    }
}

/// A duration as seconds, whole ones without a fraction.
pub(super) struct Seconds(pub(super) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

/// Which rules are asked for.
struct Filter<'a> {
    params: &'a Params,
    /// `alert`, `record` or nothing, whose letters may be large as in Prometheus.
    kind: String,
    selectors: Vec<Arc<Selector>>,
    exclude_alerts: bool,
}

pub(super) async fn rules(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = Filter::read(&server, &params).await?;
    let view = server.backend.view();
    let mut groups: Vec<Group<'_>> = view
        .groups
        .iter()
        .filter(|group| filter.wants_group(group))
        .map(|group| show_group(group, &filter))
        .filter(|group| !filter.is_narrow() || !group.rules.is_empty())
        .collect();
    let group_next_token = take_page(&mut groups, &params)?;
    Ok(format::success(&Groups { groups, group_next_token }, &Notes::default()))
}

pub(super) async fn alerts(State(server): State<Shared>) -> Response {
    let view = server.backend.view();
    let rules = view.groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(active).collect();
    format::success(&Alerts { alerts }, &Notes::default())
}

impl<'a> Filter<'a> {
    async fn read(server: &Server, params: &'a Params) -> Result<Filter<'a>, ApiError> {
        params.readable()?;
        let kind = params.get("type").to_lowercase();
        if !["", "alert", "record"].contains(&kind.as_str()) {
            return Err(ApiError::parameter(
                "type",
                format!("not supported value {}", quoted(&kind)),
            ));
        }
        let exclude_alerts = match params.get("exclude_alerts") {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            other => {
                return Err(ApiError::parameter(
                    "exclude_alerts",
                    format!("error converting exclude_alerts: {} is not a boolean", quoted(other)),
                ));
            }
        };
        let (selectors, _) = parsing::selectors(server, params).await?;
        Ok(Filter { params, kind, selectors, exclude_alerts })
    }

    /// Whether groups left without rules are to be left out.
    fn is_narrow(&self) -> bool {
        !self.kind.is_empty()
            || !self.selectors.is_empty()
            || self.params.all("rule_name[]").next().is_some()
    }

    fn wants_group(&self, group: &GroupView) -> bool {
        self.names("rule_group[]", &group.name) && self.names("file[]", &group.file)
    }

    fn wants_rule(&self, rule: &RuleView) -> bool {
        let kind = match self.kind.as_str() {
            "alert" => rule.alerting.is_some(),
            "record" => rule.alerting.is_none(),
            _ => true,
        };
        let labels = || Labels::from_pairs(rule.labels.iter().map(|(n, v)| (n, v)));
        kind && self.names("rule_name[]", &rule.name)
            && (self.selectors.is_empty()
                || self.selectors.iter().any(|selector| selector.matches(&labels())))
    }

    /// Whether a list parameter is absent or names this.
    fn names(&self, parameter: &str, name: &str) -> bool {
        let mut wanted = self.params.all(parameter).peekable();
        wanted.peek().is_none() || wanted.any(|wanted| wanted == name)
    }
}

/// Cuts a page out of the groups, by `group_limit` and `group_next_token`; the token is the key of
/// the page's first group and opaque to clients.
fn take_page(groups: &mut Vec<Group<'_>>, params: &Params) -> Result<Option<String>, ApiError> {
    let (limit, token) = (params.limit("group_limit")?, params.get("group_next_token"));
    if !token.is_empty() {
        if limit == usize::MAX {
            return Err(ApiError::parameter(
                "group_limit",
                "group_limit needs to be set in order to paginate over the groups",
            ));
        }
        let Some(at) = groups.iter().position(|group| token_of(group) == token) else {
            let why = format!("invalid group_next_token '{token}'. were rule groups changed?");
            return Err(ApiError::parameter("group_next_token", why));
        };
        groups.drain(..at);
    }
    let next = groups.get(limit).map(token_of);
    groups.truncate(limit);
    Ok(next)
}

/// In letters that need no escape in a URL: one that is pasted as it is works.
fn token_of(group: &Group<'_>) -> String {
    let key = format!("{};{}", group.file, group.name);
    key.bytes().fold(String::new(), |token, byte| token + &format!("{byte:02x}"))
}

fn show_group<'a>(group: &'a GroupView, filter: &Filter<'_>) -> Group<'a> {
    let rules = group.rules.iter().filter(|rule| filter.wants_rule(rule));
    Group {
        name: &group.name,
        file: &group.file,
        rules: rules.map(|rule| show_rule(rule, filter.exclude_alerts)).collect(),
        interval: Seconds(group.interval),
        limit: group.limit,
        evaluation_time: Seconds(group.evaluation_time),
        last_evaluation: Timed(group.last_evaluation),
    }
}

fn show_rule(rule: &RuleView, exclude_alerts: bool) -> Rule<'_> {
    let run = Run {
        health: match rule.health {
            Health::Unknown => "unknown",
            Health::Good => "ok",
            Health::Bad => "err",
        },
        last_error: rule.last_error.as_deref(),
        warning: rule.never_fires.then_some(NEVER_FIRES),
        evaluation_time: Seconds(rule.evaluation_time),
        last_evaluation: Timed(rule.last_evaluation),
    };
    let (name, query, labels) = (&rule.name, &rule.query, TextMap(&rule.labels));
    let Some(alerting) = &rule.alerting else {
        return Rule::Recording(Recording { name, query, labels, run, r#type: "recording" });
    };
    Rule::Alerting(Alerting {
        state: worst(alerting),
        name,
        query,
        duration: Seconds(alerting.hold),
        keep_firing_for: Seconds(alerting.keep_firing),
        labels,
        annotations: TextMap(&alerting.annotations),
        alerts: if exclude_alerts { Vec::new() } else { active(alerting).collect() },
        run,
        r#type: "alerting",
    })
}

fn worst(alerting: &AlertingView) -> &'static str {
    let any = |state| alerting.alerts.iter().any(|alert| alert.state == state);
    if any(AlertState::Firing) {
        "firing"
    } else if any(AlertState::Pending) {
        "pending"
    } else {
        "inactive"
    }
}

fn active(alerting: &AlertingView) -> impl Iterator<Item = AlertRow<'_>> {
    alerting.alerts.iter().filter(|alert| alert.is_active()).map(|alert| AlertRow {
        labels: &alert.labels,
        annotations: &alert.annotations,
        state: state_name(alert.state),
        active_at: Timed(Some(alert.active_at)),
        keep_firing_since: alert.keep_firing_since.map(|at| Timed(Some(at))),
        value: exponent_form(alert.value),
    })
}

pub(super) fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}
