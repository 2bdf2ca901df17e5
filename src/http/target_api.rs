//! `/api/v1/targets`, `scrape_pools` and `alertmanagers`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::format::{self, Notes};
use super::params::Params;
use super::rule_api::{Seconds, Timed};
use crate::base::{Labels, format_duration};
use crate::engine::{Health, TargetView};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets<'a> {
    active_targets: Vec<Target<'a>>,
    dropped_targets: Vec<Dropped<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target<'a> {
    discovered_labels: &'a Labels,
    labels: &'a Labels,
    scrape_pool: &'a str,
    scrape_url: &'a str,
    global_url: &'a str,
    last_error: &'a str,
    last_scrape: Timed,
    last_scrape_duration: Seconds,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dropped<'a> {
    discovered_labels: &'a Labels,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alertmanagers<'a> {
    active_alertmanagers: Vec<Alertmanager<'a>>,
    dropped_alertmanagers: [(); 0],
}

#[derive(Serialize)]
struct Alertmanager<'a> {
    url: &'a str,
}

pub(super) async fn targets(State(server): State<Shared>, params: Params) -> Response {
    let view = server.backend.view();
    // As in Prometheus: another word means neither.
    let (active, dropped) = match params.get("state").to_lowercase().as_str() {
        "active" => (true, false),
        "dropped" => (false, true),
        "any" | "" => (true, true),
        _ => (false, false),
    };
    let pool = params.get("scrapePool");
    let of_pool = |target: &&TargetView| pool.is_empty() || target.job == pool;
    let active_targets = view.targets.iter().map(|target| &**target).filter(of_pool).map(show);
    let dropped_targets = view
        .dropped_targets
        .iter()
        .filter(|discovered| pool.is_empty() || discovered.get("job") == Some(pool));
    let targets = Targets {
        active_targets: active_targets.filter(|_| active).collect(),
        dropped_targets: dropped_targets
            .filter(|_| dropped)
            .map(|discovered_labels| Dropped { discovered_labels })
            .collect(),
    };
    format::success(&targets, &Notes::default())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScrapePools<'a> {
    scrape_pools: BTreeSet<&'a str>,
}

pub(super) async fn scrape_pools(State(server): State<Shared>) -> Response {
    let view = server.backend.view();
    let scrape_pools = view.targets.iter().map(|target| target.job.as_str()).collect();
    format::success(&ScrapePools { scrape_pools }, &Notes::default())
}

pub(super) async fn alertmanagers(State(server): State<Shared>) -> Response {
    let view = server.backend.view();
    let active_alertmanagers =
        view.alertmanagers.iter().map(|instance| Alertmanager { url: &instance.url }).collect();
    let both = Alertmanagers { active_alertmanagers, dropped_alertmanagers: [] };
    format::success(&both, &Notes::default())
}

pub(super) fn health_name(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Good => "up",
        Health::Bad => "down",
    }
}

fn show(target: &TargetView) -> Target<'_> {
    Target {
        discovered_labels: &target.discovered,
        labels: &target.labels,
        scrape_pool: &target.job,
        scrape_url: &target.url,
        // Prometheus puts its own host's name for loopback; nobody here is known by another name.
        global_url: &target.url,
        last_error: target.last_error.as_deref().unwrap_or(""),
        last_scrape: Timed(target.last_scrape),
        last_scrape_duration: Seconds(target.last_scrape_duration),
        health: health_name(target.health),
        scrape_interval: format_duration(target.interval),
        scrape_timeout: format_duration(target.timeout),
    }
}
