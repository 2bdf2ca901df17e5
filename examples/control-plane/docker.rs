//! Docker's API over its unix socket: look at one container, restart it. Nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use plimsoll::base::{Timestamp, parse_rfc3339};
use reqwest::{Client, Response};
use serde_json::Value;

/// Docker gives a container ten seconds to stop before it kills it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon.
pub struct Docker(Client);

/// What is to be known before a restart.
pub struct State {
    /// Whether its first process runs.
    pub running: bool,
    /// Since when.
    pub started_at: Timestamp,
}

impl Docker {
    /// The daemon at a socket; it is not asked anything yet.
    pub fn at(socket: &Path) -> anyhow::Result<Docker> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().unix_socket(socket).timeout(PATIENCE);
        Ok(Docker(client.tls_certs_only([]).build()?))
    }

    /// How a container is; `None` if there is none with this id.
    pub async fn inspect(&self, id: &str) -> anyhow::Result<Option<State>> {
        let response = self.0.get(url(id, "json")?).send().await?;
        if response.status() == 404 {
            return Ok(None);
        }
        let state: Value = serde_json::from_slice(&good(response).await?.bytes().await?)?;
        let started_at = state["State"]["StartedAt"].as_str().and_then(parse_rfc3339);
        Ok(Some(State {
            running: state["State"]["Status"] == "running",
            started_at: started_at.context("it does not say since when it runs")?,
        }))
    }

    /// Stops and starts it; it keeps its id.
    pub async fn restart(&self, id: &str) -> anyhow::Result<()> {
        good(self.0.post(url(id, "restart")?).send().await?).await.map(drop)
    }
}

/// An id is 64 hex digits; anything else could name another path of the API.
fn url(id: &str, what: &str) -> anyhow::Result<String> {
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("`{id}` is no id of a container");
    }
    Ok(format!("http://docker/containers/{id}/{what}"))
}

async fn good(response: Response) -> anyhow::Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    bail!("Docker says {status}: {}", response.text().await.unwrap_or_default().trim())
}
