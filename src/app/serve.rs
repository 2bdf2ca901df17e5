//! A running plimsoll with its HTTP interface, from listening to the stop signal.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::config::WebConfig;
use super::run::Crank;
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
        let alerts = format!("http://{address}/api/v1/alerts");
        tracing::info!(%address, alerts, "listening");
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
