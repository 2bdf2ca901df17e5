//! Webhooks at the door: verify, de-duplicate, write down, answer; in this order, and work later.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use plimsoll::base::{Timestamp, parse_rfc3339};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::{Entry, Ledger, Task};
use super::{ControlPlane, docker, log, work};

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
    host: Option<String>,
    action: Option<Action>,
    evidence: Option<Evidence>,
}

#[derive(Deserialize)]
struct Action {
    kind: String,
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
    if !is_believed(&control_plane, &headers, &body) {
        return (StatusCode::UNAUTHORIZED, "no signature matches, or it is old".to_owned());
    }
    let id = headers["webhook-id"].to_str().expect("it was verified as text").to_owned();
    let whole = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let Ok(event) = Event::deserialize(&whole) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not an event".to_owned());
    };
    let mut ledger = control_plane.ledger();
    if let Some(answer) = ledger.answer(&id) {
        return (StatusCode::OK, answer.to_string());
    }
    let now = super::now();
    let host = control_plane.host.as_deref();
    let Decision { answer, task, cancels } = decide(&event, &id, host, &ledger, now);
    let asks = task.is_some();
    let entry =
        Entry::Taken { id: id.clone(), event: whole, answer: answer.clone(), task, cancels };
    let written = ledger.append(now, &entry);
    drop(ledger);
    if let Err(error) = written {
        log(&format!("{id}: the ledger cannot be written: {error:#}"));
        return (StatusCode::INTERNAL_SERVER_ERROR, "it could not be written down".to_owned());
    }
    if asks {
        work::begin(&control_plane, id);
    }
    (StatusCode::OK, answer.to_string())
}

fn is_believed(control_plane: &ControlPlane, headers: &HeaderMap, body: &[u8]) -> bool {
    // The library computes with the time before it looks at the signature, and a huge one overflows.
    let is_time = headers.get("webhook-timestamp").is_some_and(|time| time.len() <= 12);
    is_time && control_plane.keys.iter().any(|key| key.verify(body, headers).is_ok())
}

/// What follows from a webhook.
#[derive(Default, PartialEq, Debug)]
struct Decision {
    answer: Value,
    /// What is to be done.
    task: Option<Task>,
    /// The `dedup_key` of what is not to be done any more.
    cancels: Option<String>,
}

fn decide(
    event: &Event,
    id: &str,
    host: Option<&str>,
    ledger: &Ledger,
    now: Timestamp,
) -> Decision {
    let said = |answer: Value| Decision { answer, ..Decision::default() };
    let declined = |reason: &str| said(json!({"decision": "declined", "reason": reason}));
    let action = event.data.action.as_ref();
    let Some(action) = action.filter(|_| event.kind == "container.restart.requested") else {
        // News, or something for people: whoever reads the ledger sees it.
        let void = action.filter(|action| action.kind == "restart");
        let void = void.filter(|_| event.kind == "action.expired");
        let cancels = void.map(|action| action.dedup_key.clone());
        return Decision { cancels, ..said(json!({})) };
    };
    if action.mode != "request" {
        return said(json!({}));
    }
    // A rule may leave its host out. The id then decides: no other Docker has such a container.
    let theirs = event.data.host.as_deref();
    if let Some(host) = host.filter(|host| theirs.is_some_and(|theirs| theirs != *host)) {
        return declined(&format!("this Control Plane restarts containers of {host} only"));
    }
    let times = (parse_rfc3339(&event.timestamp), parse_rfc3339(&action.expires_at));
    let (Some(asked_at), Some(expires_at)) = times else {
        return declined("its times cannot be read");
    };
    if expires_at <= now {
        return declined("it has expired");
    }
    if ledger.knows(&action.dedup_key) {
        return declined("this was asked before, or taken back");
    }
    let container = event.data.evidence.as_ref().and_then(|e| e.container.as_ref()?.id.clone());
    let Some(container) = container.filter(|id| docker::is_id(id)) else {
        return declined("it does not say which container, by Docker's whole id");
    };
    let dedup_key = action.dedup_key.clone();
    let task = Some(Task { dedup_key, container, asked_at, expires_at });
    let accepted = json!({"decision": "accepted", "change_id": format!("change-{id}")});
    Decision { task, ..said(accepted) }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Done, Outcome, TAKEN_BACK};
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn request(kind: &str, host: Option<&str>, container: &str) -> Value {
        json!({"type": kind, "timestamp": "2027-01-15T08:00:00.000Z", "data": {
            "action": {"kind": "restart", "mode": "request", "dedup_key": "k",
                "expires_at": "2027-01-15T08:15:00.000Z"},
            "host": host, "evidence": {"container": {"id": container}}}})
    }

    /// An event about the restart `k`, taken under this id.
    fn take(ledger: &mut Ledger, id: &str, kind: &str) -> Value {
        let whole = request(kind, None, &"c".repeat(64));
        let event = Event::deserialize(&whole).unwrap();
        let Decision { answer, task, cancels } = decide(&event, id, None, ledger, NOW);
        let id = id.to_owned();
        let entry = Entry::Taken { id, event: whole, answer: answer.clone(), task, cancels };
        ledger.append(NOW, &entry).unwrap();
        answer
    }

    #[test]
    fn a_request_that_is_taken_back_is_not_carried_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        let accepted = take(&mut ledger, "evt_1", "container.restart.requested");
        assert_eq!(accepted["decision"], "accepted");
        assert_eq!(take(&mut ledger, "evt_2", "action.expired"), json!({}));
        let ended = |ledger: &Ledger| ledger.task("evt_1").unwrap().ended.unwrap().done;
        let declined = Done::new(Outcome::Declined, TAKEN_BACK);
        assert_eq!(ended(&ledger), declined, "and who was promised it is told");
        drop(ledger);
        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!(ended(&ledger), declined, "nor after a crash");
        let late = take(&mut ledger, "evt_3", "container.restart.requested");
        assert_eq!(late["decision"], "declined", "what is void stays so");
    }

    #[test]
    fn what_docker_was_asked_for_is_not_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
        take(&mut ledger, "evt_1", "container.restart.requested");
        ledger.append(NOW, &Entry::Started { id: "evt_1".to_owned(), ran_since: NOW }).unwrap();
        take(&mut ledger, "evt_2", "action.expired");
        let is_open = |ledger: &Ledger| ledger.task("evt_1").unwrap().ended.is_none();
        assert!(is_open(&ledger));
        ledger.append(NOW, &Entry::Spared { id: "evt_1".to_owned() }).unwrap();
        take(&mut ledger, "evt_3", "action.expired");
        assert!(!is_open(&ledger), "it was not asked after all");
    }

    #[test]
    fn what_has_ended_is_not_ended_again_by_its_withdrawal() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
        take(&mut ledger, "evt_1", "container.restart.requested");
        let done = Done::new(Outcome::Declined, "the container is gone");
        let entry = Entry::Done { id: "evt_1".to_owned(), done: done.clone() };
        ledger.append(NOW, &entry).unwrap();
        take(&mut ledger, "evt_2", "action.expired");
        assert_eq!(ledger.task("evt_1").unwrap().ended.unwrap().done, done);
    }

    #[test]
    fn a_request_that_comes_after_its_own_withdrawal_is_declined() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
        take(&mut ledger, "evt_2", "action.expired");
        let late = take(&mut ledger, "evt_1", "container.restart.requested");
        assert_eq!((&late["decision"], ledger.open_tasks().len()), (&json!("declined"), 0));
    }

    #[test]
    fn what_is_not_for_this_docker_is_declined() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
        let (id, short) = ("c".repeat(64), "c".repeat(12));
        let decision = |host: Option<&str>, of: Option<&str>, id: &str| {
            let whole = request("container.restart.requested", of, id);
            let event = Event::deserialize(&whole).unwrap();
            let Decision { answer, task, .. } = decide(&event, "evt_1", host, &ledger, NOW);
            assert_eq!(task.is_some(), answer["decision"] == "accepted", "{answer}");
            (answer["decision"].clone(), answer["reason"].clone())
        };
        let ours = Some("web-7");
        for (host, of) in [(None, None), (None, ours), (ours, ours), (ours, None)] {
            assert_eq!(decision(host, of, &id).0, "accepted", "{host:?} {of:?}");
        }
        for of in ["web-8", ""] {
            let reason = "this Control Plane restarts containers of web-7 only";
            assert_eq!(decision(ours, Some(of), &id), (json!("declined"), json!(reason)));
        }
        for id in ["", "web", "../../images/prune", &short, &id.to_uppercase(), &format!("{id}c")] {
            assert_eq!(decision(None, None, id).0, "declined", "{id}");
        }
    }
}
