//! A Control Plane in miniature: verifies, de-duplicates, answers.
//!
//! `cargo run --example receiver -- /path/to/secret 127.0.0.1:8080`, then set
//! `control_plane.url: http://127.0.0.1:8080/webhooks/plimsoll`. A real one keeps both sets in its
//! database, in the transaction that queues the work: `webhook-id` for at least four days,
//! `action.dedup_key` unique in its table of actions.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::Context;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Router, body::Bytes};
use plimsoll::base::Timestamp;
use plimsoll::outbox::{Action, ActionMode, Event};
use plimsoll::send::Secrets;

struct Receiver {
    secrets: Secrets,
    /// Answers by `webhook-id`, and the `dedup_key`s of actions taken.
    known: Mutex<(HashMap<String, String>, HashSet<String>)>,
}

/// 401: not believed; 422: not readable; 200: news, and repeats with the first answer again.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (id, signature) = (header("webhook-id"), header("webhook-signature"));
    let seconds = header("webhook-timestamp").parse().unwrap_or(0);
    if let Err(error) = receiver.secrets.verify((id, seconds, signature), &body, now()) {
        return (StatusCode::UNAUTHORIZED, error.to_string());
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not an event of events.schema.json".to_owned());
    };
    let mut known = receiver.known.lock().expect("no thread panics while it holds the lock");
    let (answers, taken) = &mut *known;
    let answer = answers.entry(id.to_owned()).or_insert_with(|| {
        println!("{} {id} {}", event.timestamp.0, event.event_type);
        let asks = |action: &&Action| action.kind.event_type() == event.event_type;
        let Some(action) = event.data.action.as_ref().filter(asks) else { return "{}".to_owned() };
        let take = action.mode == ActionMode::Request
            && action.expires_at.0 > now()
            && taken.insert(action.dedup_key.clone());
        let decision = if take { "accepted" } else { "declined" };
        format!("{{\"decision\":\"{decision}\",\"change_id\":\"change-{id}\"}}")
    });
    (StatusCode::OK, answer.clone())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0) + since
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let secret_file = arguments.next().context("usage: receiver SECRET_FILE [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let secrets = Secrets::parse(&std::fs::read_to_string(&secret_file)?).context(secret_file)?;
    let receiver = Arc::new(Receiver { secrets, known: Mutex::default() });
    let app = Router::new().route("/webhooks/plimsoll", post(receive)).with_state(receiver);
    println!("listening on {address}");
    Ok(axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?)
}
