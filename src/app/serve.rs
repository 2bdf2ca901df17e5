//! A running plimsoll with its HTTP interface, from listening to the stop signal.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::api::Reload;
use super::config::{Config, WebConfig};
use super::run::Crank;
use super::setup::{self, Parts};
use crate::http::{self, Backend, Options};

/// Takes the address, before anything is started that would have to be stopped again.
pub async fn listen(web: &WebConfig) -> anyhow::Result<TcpListener> {
    let address = web.listen;
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("web.listen: cannot listen on {address}"))
}

/// Turns the crank and answers HTTP until `stop`; both then have a moment to finish what is under
/// way. Whoever asks the engine after that is told that it is stopping.
pub async fn turn_and_serve(
    crank: Crank,
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    options: Options,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let (stopping, stopped) = oneshot::channel();
    let shutdown = async {
        // A sender that is gone means the same: the crank has ended.
        stopped.await.ok();
    };
    let serving = tokio::spawn(http::serve(listener, backend, options, shutdown));
    let turned = crank.turn(async {
        stop.await;
        stopping.send(()).ok();
    });
    turned.await?;
    serving.await?.context("the HTTP server failed")
}

/// Reads the file again, builds every part and hands them to the loop; done once they are taken.
/// Whatever is wrong is said and changes nothing.
pub fn reloader(path: PathBuf, started: &Config, reloads: mpsc::Sender<Box<Parts>>) -> Reload {
    let fixed = (started.web.clone(), started.storage.clone());
    Box::new(move || {
        let (path, fixed, reloads) = (path.clone(), fixed.clone(), reloads.clone());
        Box::pin(async move {
            // Rule files may be long, and the engine shares this thread.
            let load = tokio::task::spawn_blocking(move || Config::load(&path));
            let (config, problems) = load.await.map_err(|error| error.to_string())?;
            let config = config.ok_or_else(|| problems.to_string())?;
            if (&config.web, &config.storage) != (&fixed.0, &fixed.1) {
                tracing::warn!("changes of `web` and `storage` wait for the next start");
            }
            let host = config.policy.host.clone().unwrap_or_default();
            let parts = setup::build(&config, &host).map_err(|error| format!("{error:#}"))?;
            let stopping = || "plimsoll is stopping".to_owned();
            reloads.send(Box::new(parts)).await.map_err(|_| stopping())?;
            // There is room for one: it is free again once the loop has taken these.
            reloads.reserve().await.map(drop).map_err(|_| stopping())
        })
    })
}
