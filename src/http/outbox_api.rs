//! `/api/v1/plimsoll/outbox`: what waits for the Control Plane, and an operator's hand on it.
//!
//! Looking is always allowed. Retrying and dropping change what plimsoll does, so they need the same
//! permission as a reload, and are answered only when they are durable.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::params::Params;
use crate::base::DeliveryId;
use crate::engine::OutboxCommand;

#[derive(Serialize)]
struct Changed {
    id: DeliveryId,
}

pub(super) async fn list(State(server): State<Shared>) -> Result<Response, ApiError> {
    Ok(format::success(&server.backend.outbox().await?, &Notes::default()))
}

pub(super) async fn retry(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    change(&server, &params, OutboxCommand::Retry).await
}

pub(super) async fn drop(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    change(&server, &params, OutboxCommand::Drop).await
}

async fn change(
    server: &Shared,
    params: &Params,
    command: impl Fn(DeliveryId) -> OutboxCommand,
) -> Result<Response, ApiError> {
    if !server.options.enable_lifecycle {
        let why = "the outbox can be read but not changed over HTTP: set `web.enable_lifecycle: \
                   true`, or stop plimsoll and use `plimsoll outbox`";
        return Err(ApiError::new(ErrorKind::Forbidden, why));
    }
    // One at a time: an answer about several would have to say which of them failed.
    let mut ids = params.all("id").filter(|id| !id.is_empty());
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return Err(ApiError::parameter("id", "the id of one delivery is needed"));
    };
    let id = DeliveryId(id.to_owned());
    server.backend.change_outbox(command(id.clone())).await?;
    Ok(format::success(&Changed { id }, &Notes::default()))
}
