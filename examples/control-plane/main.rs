//! A Control Plane to copy from: believes only what is signed, does each thing once, says what became
//! of it, and can prove all of it from its ledger.
//!
//! `cargo run --example control-plane -- SECRET_FILE LEDGER LISTEN DOCKER_SOCKET PLIMSOLL_URL`, for
//! example `… /etc/cp.secret ledger.jsonl 127.0.0.1:8088 /var/run/docker.sock http://127.0.0.1:9469`,
//! and in plimsoll `control_plane: {url: 'http://127.0.0.1:8088/webhooks/plimsoll', secret_file: …}`.
//!
//! Four short files, each one duty: [`receive`] answers webhooks, [`ledger`] remembers, [`docker`]
//! restarts, [`work`] carries out what was accepted and sends the receipt. A real one keeps the
//! ledger in its database and stands behind TLS; what happens in which order stays the same.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

mod docker;
mod ledger;
mod receive;
mod work;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::Context;
use axum::Router;
use axum::routing::post;
use plimsoll::base::Timestamp;
use standardwebhooks::Webhook;
use tokio::sync::mpsc;

/// What every part needs.
pub struct ControlPlane {
    /// One key, or two while the secret is being changed; receipts are signed with the first.
    pub keys: Vec<Webhook>,
    /// What was taken, done and told.
    pub ledger: Mutex<ledger::Ledger>,
    /// The daemon that restarts.
    pub docker: docker::Docker,
    /// Where receipts go.
    pub receipts_url: String,
    /// Deliveries that were accepted, to be carried out one after the other.
    pub work: mpsc::UnboundedSender<String>,
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0) + since
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [secret_file, ledger_file, listen, socket, plimsoll] = &arguments[..] else {
        anyhow::bail!("usage: control-plane SECRET_FILE LEDGER LISTEN DOCKER_SOCKET PLIMSOLL_URL");
    };
    let secrets = std::fs::read_to_string(secret_file).with_context(|| secret_file.clone())?;
    let keys = secrets.split_whitespace().map(Webhook::new).collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!keys.is_empty(), "{secret_file} holds no secret");
    let ledger = ledger::Ledger::open(Path::new(ledger_file))?;
    let (work, queue) = mpsc::unbounded_channel();
    // What a crash interrupted comes first.
    for id in ledger.open_tasks() {
        work.send(id)?;
    }
    let control_plane = Arc::new(ControlPlane {
        keys,
        ledger: Mutex::new(ledger),
        docker: docker::Docker::at(Path::new(socket))?,
        receipts_url: format!("{}/api/v1/plimsoll/receipts", plimsoll.trim_end_matches('/')),
        work,
    });
    tokio::spawn(work::run(Arc::clone(&control_plane), queue));
    let app =
        Router::new().route("/webhooks/plimsoll", post(receive::receive)).with_state(control_plane);
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| listen.clone())?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
