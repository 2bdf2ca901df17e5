//! `/api/v1/labels`, `label/<name>/values`, `series`, `metadata`.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::backend::{SeriesAnswer, SeriesRequest};
use super::error::ApiError;
use super::format::{self, Notes};
use super::params::Params;
use super::query_api::TRUNCATED;
use super::{Server, Shared};
use crate::base::is_label_name;

pub(super) async fn labels(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await?;
    let names: BTreeSet<&str> =
        found.series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    Ok(listed(names.into_iter().collect(), limit, &found))
}

pub(super) async fn label_values(
    State(server): State<Shared>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    if !is_label_name(&name) {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await?;
    let values: BTreeSet<&str> =
        found.series.iter().filter_map(|labels| labels.get(&name)).collect();
    Ok(listed(values.into_iter().collect(), limit, &found))
}

pub(super) async fn series(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit("limit")?;
    let found = find(&server, &params).await?;
    let mut sets: Vec<_> = found.series.iter().collect();
    sets.sort_unstable();
    Ok(listed(sets, limit, &found))
}

/// Types and helps are not kept: what is asked of plimsoll does not need them.
pub(super) async fn metadata(params: Params) -> Result<Response, ApiError> {
    for name in ["limit", "limit_per_metric"] {
        if !params.get(name).is_empty() && params.get(name).parse::<i64>().is_err() {
            return Err(ApiError::bad_data(format!("{name} must be a number")));
        }
    }
    Ok(format::success(&BTreeMap::<&str, ()>::new(), &Notes::default()))
}

async fn find(server: &Server, params: &Params) -> Result<SeriesAnswer, ApiError> {
    let (start, end) = (params.optional_time("start")?, params.optional_time("end")?);
    let selectors = params.selectors()?;
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    server.backend.series(SeriesRequest { selectors, start, end }).await
}

fn listed<T: Serialize>(mut items: Vec<T>, limit: usize, found: &SeriesAnswer) -> Response {
    let mut notes = Notes::warnings(found.warnings.clone());
    if items.len() > limit {
        items.truncate(limit);
        notes.warnings.push(TRUNCATED.to_owned());
    }
    format::success(&items, &notes)
}
