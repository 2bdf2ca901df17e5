//! `/api/v1/metadata` and `targets/metadata`: what kept families say about themselves.
//!
//! Families that nothing reads are stepped over by the scanner, their `# HELP` included, so only
//! those that rules or `window.keep` ask for are listed.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::error::ApiError;
use super::format::{self, Notes};
use super::params::Params;
use super::parsing;
use crate::base::Labels;
use crate::exposition::Metadata;

#[derive(PartialEq, Serialize)]
struct Shown<'a> {
    r#type: &'static str,
    help: &'a str,
    unit: &'a str,
}

#[derive(Serialize)]
struct OfTarget<'a> {
    target: &'a Labels,
    /// Left out where the request names it.
    #[serde(skip_serializing_if = "str::is_empty")]
    metric: &'a str,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// By family; targets that say the same are one entry, targets that disagree are several.
pub(super) async fn metadata(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = read_limit(&params, "limit", |limit| limit >= 0)?;
    let per_metric = read_limit(&params, "limit_per_metric", |limit| limit > 0)?;
    let view = server.backend.view();
    let mut families: BTreeMap<&str, Vec<Shown<'_>>> = BTreeMap::new();
    for (family, metadata) in view.targets.iter().flat_map(|target| target.metadata.iter()) {
        if wants(&params, family) {
            let entries = families.entry(family).or_default();
            let shown = show(metadata);
            if entries.len() < per_metric && !entries.contains(&shown) {
                entries.push(shown);
            }
        }
    }
    let shown: BTreeMap<_, _> = families.into_iter().take(limit).collect();
    Ok(format::success(&shown, &Notes::default()))
}

/// By target.
pub(super) async fn of_targets(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = read_limit(&params, "limit", |limit| limit >= 0)?;
    let selector = parsing::optional_selector(&server, &params, "match_target").await?;
    let view = server.backend.view();
    let targets = view
        .targets
        .iter()
        .filter(|target| selector.as_ref().is_none_or(|wanted| wanted.matches(&target.labels)));
    let named = !params.get("metric").is_empty();
    let rows = targets.flat_map(|target| {
        let families = target.metadata.iter().filter(|(family, _)| wants(&params, family));
        families.map(|(family, metadata)| OfTarget {
            target: &target.labels,
            metric: if named { "" } else { family },
            shown: show(metadata),
        })
    });
    let rows: Vec<OfTarget<'_>> = rows.take(limit).collect();
    Ok(format::success(&rows, &Notes::default()))
}

fn wants(params: &Params, family: &str) -> bool {
    let wanted = params.get("metric");
    wanted.is_empty() || wanted == family
}

fn show(metadata: &Metadata) -> Shown<'_> {
    Shown { r#type: metadata.kind.as_str(), help: &metadata.help, unit: &metadata.unit }
}

/// A number that bounds only where `bounds` says so, as each of Prometheus's two does.
fn read_limit(
    params: &Params,
    name: &str,
    bounds: impl Fn(i64) -> bool,
) -> Result<usize, ApiError> {
    let text = params.get(name);
    if text.is_empty() {
        return Ok(usize::MAX);
    }
    let limit: i64 =
        text.parse().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
    Ok(if bounds(limit) { usize::try_from(limit).unwrap_or(usize::MAX) } else { usize::MAX })
}
