//! `/api/v1/plimsoll/containers`: every container with its fate, its OOM kills and its limits.
//!
//! What Docker believes comes from the published view. What the kernel enforces is asked of the
//! window when somebody looks, because it is wanted too seldom to be copied in every round; a limit
//! that no scrape brings, or that nothing keeps, is absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::backend::{QueryRequest, QueryTimes, Turn};
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::rule_api::Timed;
use super::{QUERY_TIMEOUT, Server, Shared};
use crate::containers::{ContainerId, Death, End, id_in_cgroup};
use crate::engine::ContainerView;
use crate::promql::eval::Value;
use crate::promql::{ParseOptions, parse};

/// What the kernel enforces, as cAdvisor and the collector name it; a limit of 0 is none.
const ENFORCED: &str = "{__name__=~\"container_spec_(memory_(limit|reservation_limit|swap_limit)_bytes\
                        |cpu_(quota|period))\",id!=\"\"} > 0";

#[derive(Serialize)]
struct Containers<'a> {
    /// Whether Docker answers; absent if nobody asks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<bool>,
    containers: Vec<Row<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    /// What its series, counts and history go by.
    known_as: &'a str,
    id: &'a str,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    state: &'static str,
    health: &'static str,
    started_at: Timed,
    restart_policy: &'static str,
    restart_count: u64,
    /// Ends of its first process since we watch, by reason.
    ends: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<Ended>,
    oom_kills: Kills,
    limits: Limits,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    at: Timed,
    reason: &'static str,
    exit_code: i64,
}

#[derive(Serialize)]
struct Kills {
    pid1: u64,
    child: u64,
}

#[derive(Serialize)]
struct Limits {
    /// By Docker.
    believed: Limit,
    /// By the kernel.
    enforced: Limit,
}

/// An absent limit is none, or not known.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_soft_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_cores: Option<f64>,
}

pub(super) async fn containers(State(server): State<Shared>) -> Result<Response, ApiError> {
    let view = server.backend.view();
    let enforced = enforced(&server).await?;
    let containers = view
        .containers
        .iter()
        .map(|known| row(known, enforced.get(&known.container.id).copied().unwrap_or_default()))
        .collect();
    let all = Containers { docker: view.docker.as_ref().map(|docker| docker.is_heard), containers };
    Ok(format::success(&all, &Notes::default()))
}

fn row(known: &ContainerView, enforced: Limit) -> Row<'_> {
    let container = &known.container;
    let believed = Limit {
        memory_bytes: container.limits.memory_bytes,
        memory_soft_bytes: container.limits.memory_soft_bytes,
        memory_swap_bytes: container.limits.memory_swap_bytes,
        cpu_cores: container.limits.cpu_cores(),
    };
    let ends = End::ALL.into_iter().zip(known.ends).filter(|(_, count)| *count > 0);
    let ended = |death: Death| Ended {
        at: Timed(Some(death.at)),
        reason: death.end.name(),
        exit_code: death.exit_code,
    };
    Row {
        name: &container.name,
        known_as: &known.known_as,
        id: container.id.as_str(),
        image: &container.image,
        tenant: known.tenant.as_deref(),
        service: known.service.as_deref(),
        state: known.state,
        health: container.health.name(),
        started_at: Timed(container.started_at),
        restart_policy: container.restart_policy.restart.name(),
        restart_count: container.restart_count,
        ends: ends.map(|(end, count)| (end.name(), count)).collect(),
        last_end: known.last_end.map(ended),
        oom_kills: Kills { pid1: known.oom.pid1, child: known.oom.child },
        limits: Limits { believed, enforced },
    }
}

/// The limits in the window, by container.
async fn enforced(server: &Server) -> Result<BTreeMap<ContainerId, Limit>, ApiError> {
    let expr = parse(ENFORCED, &ParseOptions::default())
        .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    let request = QueryRequest {
        text: ENFORCED.to_owned(),
        expr,
        times: QueryTimes::Instant(server.backend.now()),
        lookback: None,
        timeout: QUERY_TIMEOUT,
    };
    let late = |_| ApiError::new(ErrorKind::Timeout, "query timed out in query queue");
    let turn = Arc::clone(&server.queries).acquire_owned();
    let turn = tokio::time::timeout(QUERY_TIMEOUT, turn).await.map_err(late)?;
    let turn = Turn::new(turn.expect("nobody closes the semaphore"));
    let Value::Vector(found) = server.backend.query(request, turn).await?.value else {
        return Ok(BTreeMap::new());
    };
    // Quota and period in microseconds, of which cores are made.
    let mut all: BTreeMap<ContainerId, (Limit, Option<f64>, Option<f64>)> = BTreeMap::new();
    for (labels, value) in found {
        let Some(id) = labels.get("id").and_then(id_in_cgroup) else { continue };
        let (limit, quota, period) = all.entry(id).or_default();
        let bytes = Some(value as u64);
        match labels.metric_name() {
            "container_spec_memory_limit_bytes" => limit.memory_bytes = bytes,
            "container_spec_memory_reservation_limit_bytes" => limit.memory_soft_bytes = bytes,
            "container_spec_memory_swap_limit_bytes" => limit.memory_swap_bytes = bytes,
            "container_spec_cpu_quota" => *quota = Some(value),
            _ => *period = Some(value),
        }
        limit.cpu_cores = quota.zip(*period).map(|(quota, period)| quota / period);
    }
    Ok(all.into_iter().map(|(id, (limit, ..))| (id, limit)).collect())
}
