//! The HTTP server: Prometheus's API for Grafana and friends, `/metrics`, health and reload.
//!
//! Handlers read parameters, ask a [`Backend`] and write the answer in Prometheus's shapes and
//! words, so that what works against Prometheus works here. Queries are parsed here, where their
//! errors belong to a parameter, and off the threads that serve; evaluating them is the backend's
//! part.
//!
//! Everything is bounded: connections, the time a request may take to arrive, to be answered and to
//! be read, its body, queries at once, the size of an answer and of all that are not read yet. It holds no lock, keeps nothing between
//! requests but a page that is being shared, never talks to the engine directly, and never answers `/api/v1/status/flags`, which
//! Grafana would take for Thanos.

mod backend;
mod body;
mod compress;
mod container_api;
mod error;
mod explain_api;
mod form;
mod format;
mod incident_api;
mod input_api;
mod label_api;
mod listen;
mod metadata_api;
mod outbox_api;
mod params;
mod parsing;
mod plan_api;
mod query_api;
mod receipt_api;
mod request_line;
mod room;
mod rule_api;
#[cfg(test)]
mod scripted;
mod shared_page;
mod status_api;
mod target_api;
#[cfg(test)]
mod tests;
mod tree;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::room::Room;
use self::shared_page::SharedPage;

pub use self::backend::{
    Answering, Backend, QueryAnswer, QueryRequest, QueryTimes, SeriesAnswer, SeriesRequest, Signed,
    Turn,
};
pub use self::error::{ApiError, ErrorKind, Place};

/// Where the server listens unless told otherwise: only this host can reach it.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9469);

/// A form with a query of many kilobytes fits; nothing else has a body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// A larger body is read to its end up to here, and thrown away: who is cut off while it sends never
/// reads why.
const MAX_DRAINED_BYTES: usize = 32 << 20;
/// Queries evaluated at once; more wait for their turn. Grafana opens a dashboard with a dozen, and
/// the host's cores belong to its tenants.
const QUERIES_AT_ONCE: usize = 4;
/// The longest a query may take. The window is an hour of one host: what takes longer is a mistake.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest any answer may take, a reload included; a little above the query's own deadline, so
/// that a query is told the precise reason.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
/// The longest an answer may take on its way to its reader. The largest is through at 9 Mbit/s.
const SENDING_TIMEOUT: Duration = Duration::from_secs(60);
/// After the stop signal, requests under way may finish for this long.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What the operator decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `web.enable_lifecycle`: whether `/-/reload` works, and the outbox can be changed.
    pub enable_lifecycle: bool,
}

/// What handlers share.
struct Server {
    backend: Arc<dyn Backend>,
    options: Options,
    queries: Arc<Semaphore>,
    room: Arc<Room>,
    page: SharedPage,
}

type Shared = Arc<Server>;

/// Serves until `shutdown` resolves, then lets requests under way finish for a moment.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listen::Listener::new(listener, listen::Limits::default());
    serve_router(listener, router(backend, options), STOP_GRACE, shutdown).await
}

async fn serve_router(
    listener: listen::Listener,
    router: Router,
    grace: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let signal = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(signal);
    let overdue = async {
        // The sender cannot go away before it has sent: the server holds it.
        let _ = stopped.await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        result = async { serving.await } => result,
        () = overdue => Ok(()),
    }
}

fn router(backend: Arc<dyn Backend>, options: Options) -> Router {
    router_with(Room::default(), backend, options)
}

fn router_with(room: Room, backend: Arc<dyn Backend>, options: Options) -> Router {
    let queries = Arc::new(Semaphore::new(QUERIES_AT_ONCE));
    let room = Arc::new(room);
    let page = SharedPage::start(Arc::clone(&backend), Arc::clone(&room));
    let api = Router::new()
        .route("/query", get(query_api::query).post(query_api::query))
        .route("/query_range", get(query_api::query_range).post(query_api::query_range))
        .route("/query_exemplars", get(query_api::exemplars).post(query_api::exemplars))
        .route("/format_query", get(query_api::format_query).post(query_api::format_query))
        .route("/parse_query", get(query_api::parse_query).post(query_api::parse_query))
        .route("/labels", get(label_api::labels).post(label_api::labels))
        .route("/label/{name}/values", get(label_api::label_values))
        .route("/series", get(label_api::series).post(label_api::series))
        .route("/metadata", get(metadata_api::metadata))
        .route("/rules", get(rule_api::rules))
        .route("/alerts", get(rule_api::alerts))
        .route("/targets", get(target_api::targets))
        .route("/targets/metadata", get(metadata_api::of_targets))
        .route("/scrape_pools", get(target_api::scrape_pools))
        .route("/plimsoll/explain", get(explain_api::explain).post(explain_api::explain))
        .route("/plimsoll/outbox", get(outbox_api::list))
        .route("/plimsoll/outbox/retry", post(outbox_api::retry))
        .route("/plimsoll/outbox/drop", post(outbox_api::drop))
        .route("/plimsoll/containers", get(container_api::containers))
        .route("/plimsoll/incidents", get(incident_api::incidents).post(incident_api::incidents))
        .route("/plimsoll/receipts", post(receipt_api::take))
        .route("/plimsoll/plans", get(plan_api::plans).post(plan_api::plans))
        .route("/plimsoll/inputs", get(input_api::inputs))
        .route("/plimsoll/alerts", get(input_api::alerts))
        .route("/alertmanagers", get(target_api::alertmanagers))
        .route("/status/buildinfo", get(status_api::build_info));
    let reload = post(status_api::reload).put(status_api::reload).get(status_api::not_a_command);
    Router::new()
        .nest("/api/v1", api)
        .route("/metrics", get(status_api::metrics))
        .route("/metrics/containers", get(status_api::containers))
        .route("/-/healthy", get(status_api::healthy))
        .route("/-/ready", get(status_api::ready))
        .route("/-/reload", reload)
        .fallback(status_api::not_found)
        .method_not_allowed_fallback(status_api::not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(body::bounded))
        .layer(middleware::from_fn(compress::compressed))
        .layer(middleware::from_fn(room::bound))
        .layer(middleware::from_fn(within_deadline))
        .with_state(Arc::new(Server { backend, options, queries, room, page }))
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorKind::Timeout, "the request was not answered in time")
            .into_response(),
    }
}
