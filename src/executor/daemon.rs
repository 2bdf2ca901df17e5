//! Two requests of Docker's API: how is this container, and restart it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, Url};
use serde::Deserialize;

use crate::base::{Timestamp, parse_rfc3339};
use crate::containers::ContainerId;
use crate::endpoint::{HttpOptions, Pool, explain};

/// For a look.
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// For a restart: Docker waits ten seconds for the container to stop unless that container says
/// otherwise. Together with what comes before it is less than the minute after which an attempt is given
/// up ([`crate::outbox::LEASE`]).
const RESTART_WITHIN: Duration = Duration::from_secs(45);
/// Docker lets a container that does not say otherwise so much time to stop.
const STOP_TIMEOUT_S: i64 = 10;
/// Bytes of an answer that are read; a container with very many labels stays below it.
const MOST_BYTES: usize = 4 << 20;
/// Most of a refusal's words that are kept.
const WHY_CHARS_MAX: usize = 200;

/// Where Docker listens.
#[derive(Debug)]
pub struct Daemon {
    /// As it was written, for people.
    pub host: String,
    /// The base of every URL.
    pub url: Url,
    /// The unix socket, if it is one.
    pub socket: Option<PathBuf>,
    /// Certificates, for TCP.
    pub http: HttpOptions,
    /// Keeps the connections.
    pub pool: Pool,
}

/// How a container is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Seen {
    /// What it is called now.
    pub name: String,
    pub is_running: bool,
    pub started_at: Timestamp,
    /// How long Docker waits for it to stop before it kills; [`Duration::MAX`] for as long as it takes.
    pub stops_within: Duration,
}

/// What became of a restart.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Restarted {
    Done,
    /// Docker does not know it, or a part of it; in its words.
    Gone(String),
    /// It was not done, and why.
    Refused(String),
    /// Docker has not even heard of it, and why: what stands before it lets nobody through.
    Forbidden(String),
    /// Nobody knows, and why.
    Unanswered(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    #[serde(default)]
    config: Settings,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    #[serde(default)]
    stop_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    started_at: String,
}

impl Daemon {
    /// A container as Docker sees it; `None` if it is gone.
    pub(super) async fn inspect(&self, id: &ContainerId) -> Result<Option<Seen>, String> {
        let path = format!("containers/{id}/json");
        let (status, body) = self.ask(Method::GET, &path, LOOK_WITHIN).await?;
        match status {
            404 if said(&body).is_some() => return Ok(None),
            200 => {}
            _ => return Err(refused(&self.host, status, &body)),
        }
        let read: Inspected = serde_json::from_slice(&body)
            .map_err(|error| format!("{}: the container does not read: {error}", self.host))?;
        if read.id != id.as_str() {
            return Err(format!("{}: asked for {id}, told of {}", self.host, read.id));
        }
        let started_at = parse_rfc3339(&read.state.started_at)
            .ok_or_else(|| format!("{}: `{}` is no time", self.host, read.state.started_at))?;
        let name = read.name.trim_start_matches('/').to_owned();
        let stops_within = read.config.stop_timeout.unwrap_or(STOP_TIMEOUT_S);
        // Docker takes any negative number for "however long it takes".
        let stops_within = u64::try_from(stops_within).map_or(Duration::MAX, Duration::from_secs);
        let is_running = read.state.status == "running";
        Ok(Some(Seen { name, is_running, started_at, stops_within }))
    }

    /// Stops and starts a container; it keeps its id.
    pub(super) async fn restart(&self, id: &ContainerId) -> Restarted {
        match self.ask(Method::POST, &format!("containers/{id}/restart"), RESTART_WITHIN).await {
            Ok((200..=299, _)) => Restarted::Done,
            Ok((404, body)) if said(&body).is_some() => {
                Restarted::Gone(refused(&self.host, 404, &body))
            }
            // A proxy in between does not know what Docker makes of it.
            Ok((status @ 502..=504, body)) => {
                Restarted::Unanswered(refused(&self.host, status, &body))
            }
            Ok((status @ 400..=499, body)) if said(&body).is_none() => {
                Restarted::Forbidden(refused(&self.host, status, &body))
            }
            Ok((status, body)) => Restarted::Refused(refused(&self.host, status, &body)),
            Err(why) => Restarted::Unanswered(why),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        within: Duration,
    ) -> Result<(u16, Vec<u8>), String> {
        let Daemon { host, url, socket, http, pool } = self;
        let url = url.join(path).map_err(|error| format!("{host}: {error}"))?;
        let whole = async {
            let client = pool.client(&url, socket.as_ref(), http).await?;
            let mut request = client.http.request(method, client.url);
            if let Some(name) = &client.host {
                request = request.header("Host", name);
            }
            let mut response = request.send().await.map_err(explain)?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(explain)? {
                if body.len() + chunk.len() > MOST_BYTES {
                    return Err(format!("an answer of more than {MOST_BYTES} bytes"));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((response.status().as_u16(), body))
        };
        match tokio::time::timeout(within, whole).await {
            Ok(answer) => answer.map_err(|why| format!("{host}: {why}")),
            Err(_) => Err(format!("{host}: no answer within {} s", within.as_secs())),
        }
    }
}

/// Docker's own words; what has none is a proxy's, which knows of no container.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    serde_json::from_slice::<Said>(body).ok().map(|said| said.message)
}

fn refused(host: &str, status: u16, body: &[u8]) -> String {
    let said = said(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let said: String = said.trim().chars().take(WHY_CHARS_MAX).collect();
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{host}: status {status} {said}").trim_end().to_owned()
}
