//! A Control Plane to copy from: believes only what is signed, does each thing once, says what became
//! of it, and can prove all of it from its ledger.
//!
//! `cargo run --example control-plane -- SECRET_FILE LEDGER LISTEN DOCKER_SOCKET PLIMSOLL_URL [SECONDS] [--host NAME]`,
//! for example `… /etc/cp.secret ledger.jsonl 127.0.0.1:8088 /var/run/docker.sock http://127.0.0.1:9469 --host web-7`,
//! and in plimsoll `control_plane: {url: 'http://127.0.0.1:8088/webhooks/plimsoll', secret_file: …}`.
//! It serves one Docker; with `--host` it declines what plimsoll asks about any other `host`. Who may
//! use that socket is root: let this program be alone with it, or put a proxy for its two paths before it.
//! Give the ledger a folder of its own, that only this program can write: two files more stand beside it.
//!
//! Five short files, each one duty: [`receive`] answers webhooks, [`ledger`] remembers, [`docker`]
//! restarts, [`work`] carries out what was accepted and sends the receipt, [`heartbeat`] says when
//! plimsoll is silent: SECONDS is its `heartbeat_interval`, 60 if it is left out. A real one keeps the
//! ledger in its database and stands behind TLS; what happens in which order stays the same.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

mod docker;
mod heartbeat;
mod ledger;
mod receive;
mod work;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll::base::Timestamp;
use standardwebhooks::Webhook;

/// plimsoll's bodies are under 20,000 bytes; more is answered 413 and not read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// As Standard Webhooks 1.0.0 has it.
const KEY_BYTES_MIN: usize = 24;
const USAGE: &str = "usage: control-plane SECRET_FILE LEDGER LISTEN DOCKER_SOCKET PLIMSOLL_URL [SECONDS] [--host NAME]";
const PRUNE_EVERY: Duration = Duration::from_secs(86_400);

/// What every part needs.
pub struct ControlPlane {
    /// One key, or two while the secret is being changed; receipts are signed with the first.
    pub keys: Vec<Webhook>,
    /// What was taken, done and told.
    ledger: Mutex<ledger::Ledger>,
    /// The daemon that restarts.
    pub docker: docker::Docker,
    /// What plimsoll calls its host; `None` if that does not matter.
    pub host: Option<String>,
    /// Sends receipts.
    pub http: reqwest::Client,
    /// Where they go.
    pub receipts_url: String,
}

impl ControlPlane {
    /// Held for single steps, never while something is awaited.
    pub fn ledger(&self) -> MutexGuard<'_, ledger::Ledger> {
        self.ledger.lock().expect("no thread panics while it holds the lock")
    }
}

/// A line for people. If it cannot be written, because a disk is full or nobody reads any more, the
/// work goes on.
pub fn log(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// What was said last of something that is tried over and over.
#[derive(Default)]
pub struct Said(String);

impl Said {
    /// A line that is said once, until it is another.
    pub fn log(&mut self, line: String) {
        if self.is_news(line) {
            log(&self.0);
        }
    }

    fn is_news(&mut self, line: String) -> bool {
        let is_news = self.0 != line;
        self.0 = line;
        is_news
    }
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0) + since
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (arguments, host) = split_host(&arguments)?;
    let [secret_file, ledger_file, listen, socket, plimsoll, seconds @ ..] = arguments else {
        bail!("{USAGE}");
    };
    let heartbeat_interval = interval(seconds)?;
    let secrets = std::fs::read_to_string(secret_file).with_context(|| secret_file.clone())?;
    let keys = keys(&secrets).with_context(|| secret_file.clone())?;
    // Whoever starts it twice by mistake is told here, before anything is touched.
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| listen.clone())?;
    let docker = docker::Docker::at(Path::new(socket))?;
    let control_plane = Arc::new(ControlPlane {
        keys,
        ledger: Mutex::new(ledger::Ledger::open(Path::new(ledger_file))?),
        docker,
        host,
        http: http()?,
        receipts_url: format!("{}/api/v1/plimsoll/receipts", plimsoll.trim_end_matches('/')),
    });
    tokio::spawn(prune(Arc::clone(&control_plane)));
    tokio::spawn(heartbeat::listen(Arc::clone(&control_plane), heartbeat_interval));
    // What a crash interrupted.
    let open = control_plane.ledger().open_tasks();
    for id in open {
        work::begin(&control_plane, id);
    }
    log(&format!("listening on {}", listener.local_addr()?));
    Ok(axum::serve(listener, app(control_plane)).await?)
}

/// Between two heartbeats of plimsoll.
fn interval(seconds: &[String]) -> anyhow::Result<Duration> {
    let seconds = match seconds {
        [] => 60,
        [seconds] => seconds.parse().ok().filter(|n| *n > 0).context(USAGE)?,
        _ => bail!("{USAGE}"),
    };
    Ok(Duration::from_secs(seconds))
}

/// The arguments without `--host`, and what it says.
fn split_host(arguments: &[String]) -> anyhow::Result<(&[String], Option<String>)> {
    match arguments {
        // As a variable that was never set makes it. No host has this name, so all would be declined.
        [.., flag, host] if flag == "--host" && host.is_empty() => bail!("--host needs a name"),
        [arguments @ .., flag, host] if flag == "--host" => Ok((arguments, Some(host.clone()))),
        arguments => Ok((arguments, None)),
    }
}

fn app(control_plane: Arc<ControlPlane>) -> Router {
    Router::new()
        .route("/webhooks/plimsoll", post(receive::receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(control_plane)
}

/// A receipt goes where it was sent, or nowhere.
fn http() -> anyhow::Result<reqwest::Client> {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    http.timeout(Duration::from_secs(15)).build().context("the system's certificates")
}

/// The keys behind one or two `whsec_…` lines. One that is short, or is not what was meant, makes
/// signatures that others can make too. The error never shows it.
fn keys(secrets: &str) -> anyhow::Result<Vec<Webhook>> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(secrets.split_whitespace()) {
        let encoded = line.strip_prefix("whsec_");
        let encoded = encoded.with_context(|| format!("secret {number} lacks `whsec_`"))?;
        let key = STANDARD.decode(encoded).ok();
        let key = key.with_context(|| format!("secret {number} is not base64"))?;
        ensure!(
            key.len() >= KEY_BYTES_MIN,
            "secret {number} has {} bytes; it needs at least {KEY_BYTES_MIN}",
            key.len()
        );
        keys.push(Webhook::from_bytes(key)?);
    }
    ensure!(matches!(keys.len(), 1 | 2), "one secret is needed, or the old one and the new one");
    Ok(keys)
}

async fn prune(control_plane: Arc<ControlPlane>) {
    loop {
        // It reads the whole file.
        let pruning = Arc::clone(&control_plane);
        let pruned = tokio::task::spawn_blocking(move || pruning.ledger().prune(now())).await;
        if let Err(error) = pruned.map_err(anyhow::Error::from).flatten() {
            log(&format!("old lines of the ledger stay: {error:#}"));
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

#[cfg(test)]
impl ControlPlane {
    /// With a new ledger, for a Docker at `docker.sock`; its key is 24 zeros.
    fn in_folder(home: &Path) -> Arc<ControlPlane> {
        Arc::new(ControlPlane {
            keys: keys(&format!("whsec_{}", STANDARD.encode([0; 24]))).unwrap(),
            docker: docker::Docker::at(&home.join("docker.sock")).unwrap(),
            ledger: Mutex::new(ledger::Ledger::open(&home.join("ledger.jsonl")).unwrap()),
            host: None,
            http: http().unwrap(),
            receipts_url: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_others_could_guess_are_refused_and_never_shown() {
        let good = format!("whsec_{}", STANDARD.encode([7; 24]));
        let other = format!("whsec_{}", STANDARD.encode([8; 64]));
        assert_eq!(keys(&format!("{good}\n\n{other}\n")).unwrap().len(), 2);
        let bare = &good["whsec_".len()..];
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for (text, why) in [
            (String::new(), "one secret is needed"),
            (format!("{good} {good} {good}"), "one secret is needed"),
            (format!("{good}\n{bare}"), "secret 2 lacks `whsec_`"),
            (format!("{good}%"), "secret 1 is not base64"),
            (short, "secret 1 has 23 bytes; it needs at least 24"),
        ] {
            let error = keys(&text).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(why) && !error.contains(&bare[..8]), "{error}");
        }
    }

    #[tokio::test]
    async fn a_large_body_or_an_endless_time_costs_nothing() {
        let home = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::in_folder(home.path());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/plimsoll", listener.local_addr().unwrap());
        let http = control_plane.http.clone();
        tokio::spawn(async move { axum::serve(listener, app(control_plane)).await });
        let answered = async |time: &str, bytes| {
            let request = http.post(&url).header("webhook-id", "evt_1");
            let request =
                request.header("webhook-timestamp", time).header("webhook-signature", "v1,");
            request.body(vec![b' '; bytes]).send().await.unwrap().status().as_u16()
        };
        assert_eq!(answered("1", BODY_BYTES_MAX).await, 401);
        assert_eq!(answered("1", BODY_BYTES_MAX + 1).await, 413);
        assert_eq!(answered(&i64::MIN.to_string(), 2).await, 401);
    }

    #[test]
    fn a_host_without_a_name_is_refused() {
        let split = |text: &str| {
            let arguments: Vec<String> = text.split(',').map(str::to_owned).collect();
            split_host(&arguments).ok().map(|(arguments, host)| (arguments.len(), host))
        };
        assert_eq!(split("a,b"), Some((2, None)));
        assert_eq!(split("a,b,--host,web-7"), Some((2, Some("web-7".to_owned()))));
        assert_eq!(split("a,b,--host,"), None);
    }

    #[test]
    fn what_is_tried_over_and_over_is_said_when_it_changes() {
        let mut said = Said::default();
        let news = ["a", "a", "b", "b", "a"].map(|line| said.is_news(line.to_owned()));
        assert_eq!(news, [true, false, true, false, true]);
    }
}
