//! Webhooks at the door: verify, de-duplicate, write down, answer; in this order, and work later.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use plimsoll::base::{Timestamp, parse_rfc3339};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ControlPlane;
use super::ledger::{Entry, Ledger, Task};

/// As much of `docs/events.schema.json` as is needed here; fields that are not known are no fault.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    action: Option<Action>,
    evidence: Option<Evidence>,
}

#[derive(Deserialize)]
struct Action {
    mode: String,
    expires_at: String,
    dedup_key: String,
}

#[derive(Deserialize)]
struct Evidence {
    container: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    id: Option<String>,
}

/// 401: not believed. 422: not readable. 500: not written down, so it has to come again. 200: news,
/// and repeats with their first answer.
pub async fn receive(
    State(control_plane): State<Arc<ControlPlane>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    // Over the raw bytes, before anything is parsed; the window of five minutes is checked with it.
    if !control_plane.keys.iter().any(|key| key.verify(&body, &headers).is_ok()) {
        return (StatusCode::UNAUTHORIZED, "no signature matches, or it is old".to_owned());
    }
    let id = headers["webhook-id"].to_str().expect("it was verified as text").to_owned();
    let whole = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let Ok(event) = Event::deserialize(&whole) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not an event".to_owned());
    };
    let mut ledger = control_plane.ledger.lock().expect("no thread panics while it holds the lock");
    if let Some(answer) = ledger.answer(&id) {
        return (StatusCode::OK, answer.to_string());
    }
    let now = super::now();
    let (answer, task) = decide(&event, &id, &ledger, now);
    let asks = task.is_some();
    let entry = Entry::Taken { id: id.clone(), event: whole, answer: answer.clone(), task };
    if let Err(error) = ledger.append(now, &entry) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    }
    if asks {
        control_plane.work.send(id).ok();
    }
    (StatusCode::OK, answer.to_string())
}

/// What is answered, and what is to be done.
fn decide(event: &Event, id: &str, ledger: &Ledger, now: Timestamp) -> (Value, Option<Task>) {
    let declined = |reason: &str| (json!({"decision": "declined", "reason": reason}), None);
    let restart = event.kind == "container.restart.requested";
    let Some(action) = event.data.action.as_ref().filter(|_| restart) else {
        // News, or something for people: whoever reads the ledger sees it.
        return (json!({}), None);
    };
    if action.mode != "request" {
        return (json!({}), None);
    }
    let times = (parse_rfc3339(&event.timestamp), parse_rfc3339(&action.expires_at));
    let (Some(asked_at), Some(expires_at)) = times else {
        return declined("its times cannot be read");
    };
    if expires_at <= now {
        return declined("it has expired");
    }
    if ledger.knows(&action.dedup_key) {
        return declined("this was asked before");
    }
    let container = event.data.evidence.as_ref().and_then(|e| e.container.as_ref()?.id.clone());
    let Some(container) = container else {
        return declined("it does not say which container, by Docker's id");
    };
    let dedup_key = action.dedup_key.clone();
    let task = Task { dedup_key, container, asked_at, expires_at };
    (json!({"decision": "accepted", "change_id": format!("change-{id}")}), Some(task))
}
