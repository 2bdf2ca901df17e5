//! `/api/v1/plimsoll/inputs` and `/api/v1/plimsoll/alerts`: how good what comes in is, and which alerts
//! are unknown because of it.
//!
//! Prometheus's own alerts API has no word for *unknown*; here each alert says which input is
//! missing, since when, and how old the last sample of it is. Ages are counted to the moment of the
//! answer, so they grow even while nothing else happens.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::format::{self, Notes};
use super::rule_api::{Seconds, Timed, state_name};
use super::target_api::health_name;
use crate::alerts::Alert;
use crate::base::{Labels, Timestamp, format_value};
use crate::engine::{DockerState, Health, TargetView, View};

#[derive(Serialize)]
struct Inputs<'a> {
    inputs: Vec<Input<'a>>,
    /// Absent if nobody asks Docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<Docker<'a>>,
}

/// Docker, from which names, owners, ends and health come.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Docker<'a> {
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    /// Absent while it is heard, and if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_until: Option<Timed>,
}

/// One target, as the alerts depend on it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    job: &'a str,
    instance: &'a str,
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timed>,
    last_scrape: Timed,
    newest_sample: Timed,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<Seconds>,
    samples_expected: u64,
    samples_present: u64,
    repeated_timestamps: u64,
    resets: u64,
}

#[derive(Serialize)]
struct Alerts<'a> {
    alerts: Vec<Row<'a>>,
}

/// An alert that is pending or firing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row<'a> {
    labels: &'a Labels,
    state: &'static str,
    active_at: Timed,
    /// Since when it is in this state.
    since: Timed,
    value: String,
    /// Absent while its inputs are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<Unknown<'a>>,
}

/// Why it is not known whether an alert still holds.
#[derive(Serialize)]
struct Unknown<'a> {
    since: Timed,
    reason: String,
    /// Absent if no single target is at fault, or it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Input<'a>>,
}

pub(super) async fn inputs(State(server): State<Shared>) -> Response {
    let (view, now) = (server.backend.view(), server.backend.now());
    let inputs = view.targets.iter().map(|target| input(target, now)).collect();
    let docker = view.docker.as_ref().map(docker);
    format::success(&Inputs { inputs, docker }, &Notes::default())
}

pub(super) async fn alerts(State(server): State<Shared>) -> Response {
    let (view, now) = (server.backend.view(), server.backend.now());
    let rules = view.groups.iter().flat_map(|group| &group.rules);
    let all = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|rule| &rule.alerts);
    let active = all.filter(|alert| alert.is_active());
    let alerts = active.map(|alert| row(alert, &view, now)).collect();
    format::success(&Alerts { alerts }, &Notes::default())
}

/// An alert with what is missing to it.
pub(super) fn row<'a>(alert: &'a Alert, view: &'a View, now: Timestamp) -> Row<'a> {
    let unknown = alert.unknown.as_ref().map(|(since, doubt)| {
        let at_fault = |target: &&TargetView| Some(target.name().as_str()) == doubt.target();
        let mut targets = view.targets.iter().map(|target| &**target);
        let input = targets.find(at_fault).map(|target| input(target, now));
        Unknown { since: Timed(Some(*since)), reason: doubt.to_string(), input }
    });
    Row {
        labels: &alert.labels,
        state: state_name(alert.state),
        active_at: Timed(Some(alert.active_at)),
        since: Timed(Some(alert.ended_at().unwrap_or(alert.starts_at()))),
        value: format_value(alert.value),
        unknown,
    }
}

fn docker(state: &DockerState) -> Docker<'_> {
    let health = match (state.is_heard, &state.why) {
        (true, _) => Health::Good,
        (false, Some(_)) => Health::Bad,
        (false, None) => Health::Unknown,
    };
    let heard_until = state.heard_until.filter(|_| !state.is_heard);
    Docker {
        health: health_name(health),
        last_error: state.why.as_deref(),
        heard_until: heard_until.map(|at| Timed(Some(at))),
    }
}

fn input(target: &TargetView, now: Timestamp) -> Input<'_> {
    let quality = &target.quality;
    Input {
        job: &target.job,
        instance: target.labels.get("instance").unwrap_or_default(),
        health: health_name(target.health),
        last_error: target.last_error.as_deref(),
        failing_since: target.failing_since.map(|since| Timed(Some(since))),
        last_scrape: Timed(target.last_scrape),
        newest_sample: Timed(quality.newest),
        age: quality.age(now).map(Seconds),
        lag: quality.lag(now).map(Seconds),
        samples_expected: quality.expected,
        samples_present: quality.present,
        repeated_timestamps: quality.repeated,
        resets: quality.resets,
    }
}
