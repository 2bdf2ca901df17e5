//! Docker's API over its unix socket: look at one container, restart it. Nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use plimsoll::base::{Timestamp, parse_rfc3339};
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::Value;

use super::ledger::{Done, Outcome};

/// What Docker was asked for has happened so long after the container must have stopped, or never will.
pub const SETTLED_AFTER: Duration = Duration::from_secs(90);
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// Docker waits so long for a container to stop unless that one says otherwise.
const STOP_TIMEOUT_S: i64 = 10;
/// Bytes of an answer that are read, and characters of a refusal that are kept.
const MOST_BYTES: usize = 4 << 20;
const WHY_CHARS_MAX: usize = 200;

/// A daemon.
pub struct Docker(Client);

/// What is to be known before a restart.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether its first process runs.
    pub running: bool,
    /// Since when.
    pub started_at: Timestamp,
    /// Until Docker kills what does not stop: for some containers a day, which is to say never.
    pub stops_within: Duration,
}

/// Whether this is an id of a container, in full. Anything else could name another path of the API.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Docker {
    /// The daemon at a socket; it is not asked anything yet.
    pub fn at(socket: &Path) -> anyhow::Result<Docker> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().unix_socket(socket).no_proxy();
        Ok(Docker(client.redirect(redirect::Policy::none()).tls_certs_only([]).build()?))
    }

    /// How a container is; `None` if there is none with this id.
    pub async fn inspect(&self, id: &str) -> anyhow::Result<Option<State>> {
        let (status, body) = ask(self.0.get(url(id, "json")), LOOK_WITHIN).await?;
        match status {
            200 => {}
            // A proxy's says nothing about the container.
            404 if said(&body).is_some() => return Ok(None),
            _ => bail!("Docker says {status}: {}", excerpt(&body)),
        }
        let seen: Value = serde_json::from_slice(&body).context("it does not read")?;
        // Docker looks for a name where it knows no such id.
        if seen["Id"].as_str().context("it does not say which container it is")? != id {
            return Ok(None);
        }
        let started_at = seen["State"]["StartedAt"].as_str().and_then(parse_rfc3339);
        let stops_within = seen["Config"]["StopTimeout"].as_i64().unwrap_or(STOP_TIMEOUT_S);
        // A negative number means "however long it takes".
        let stops_within = u64::try_from(stops_within).unwrap_or(u64::MAX).min(86_400);
        Ok(Some(State {
            running: seen["State"]["Status"] == "running",
            started_at: started_at.context("it does not say since when it runs")?,
            stops_within: Duration::from_secs(stops_within),
        }))
    }

    /// Stops and starts it; it keeps its id. An error means that nobody knows: no answer, half of one,
    /// or that of a proxy. Who hangs up early may leave the container stopped, so this waits.
    pub async fn restart(&self, id: &str, before: &State) -> anyhow::Result<Done> {
        let request = self.0.post(url(id, "restart"));
        let (status, body) = ask(request, before.stops_within + SETTLED_AFTER).await?;
        let why = format!("Docker says {status}: {}", excerpt(&body));
        match status {
            200..=299 => Ok(Done::new(Outcome::Succeeded, "")),
            // A proxy that says so has not passed it on, 408 excepted. Docker may have stopped the
            // container and then found that it cannot start: only what runs as before was left alone.
            300..=407 | 409..=499 => {
                let after = self.inspect(id).await?;
                let runs_on = |now: State| now.running && now.started_at == before.started_at;
                let left_alone = after.is_some_and(runs_on);
                let outcome = if left_alone { Outcome::Declined } else { Outcome::Failed };
                Ok(Done::new(outcome, why))
            }
            500 if said(&body).is_some() => Ok(Done::new(Outcome::Failed, why)),
            _ => bail!(why),
        }
    }
}

fn url(id: &str, what: &str) -> String {
    format!("http://docker/containers/{id}/{what}")
}

/// The whole answer, within this time.
async fn ask(request: RequestBuilder, within: Duration) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut response = request.timeout(within).send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        anyhow::ensure!(body.len() + chunk.len() <= MOST_BYTES, "the answer does not end");
        body.extend_from_slice(&chunk);
    }
    Ok((response.status().as_u16(), body))
}

/// Docker's own words; a proxy has others.
fn said(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["message"].as_str().map(str::to_owned)
}

fn excerpt(body: &[u8]) -> String {
    let text = said(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = text.trim().chars().take(WHY_CHARS_MAX);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
