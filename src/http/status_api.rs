//! Health, readiness, reload, own metrics, build information, and what is not here.

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shared;
use super::compress;
use super::error::ErrorKind;
use super::format::{self, Notes};
use super::shared_page::Shown;

/// The Prometheus whose API and PromQL this is; Grafana chooses features by it.
const PROMETHEUS_VERSION: &str = "3.14.0";

/// What Prometheus calls the build. There must be no `features` in it, or Grafana takes us for
/// Mimir.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

pub(super) async fn build_info() -> Response {
    let info = BuildInfo {
        version: PROMETHEUS_VERSION,
        revision: concat!("plimsoll ", env!("CARGO_PKG_VERSION")),
        branch: "plimsoll",
        build_user: "",
        build_date: "",
        go_version: "",
    };
    format::success(&info, &Notes::default())
}

/// The text exposition format.
const TEXT: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

pub(super) async fn metrics(State(server): State<Shared>) -> Response {
    (TEXT, server.backend.metrics_text() + &server.room.page()).into_response()
}

/// When what could not be had in time can be asked for again, in seconds.
const SOON: [(header::HeaderName, &str); 1] = [(header::RETRY_AFTER, "1")];

/// A drop-in for cAdvisor's page. What fails fails the scrape, in words.
pub(super) async fn containers(State(server): State<Shared>, headers: HeaderMap) -> Response {
    let error = match server.page.get(compress::takes_gzip(&headers)).await {
        Ok(Shown::Plain(page)) => return (TEXT, page).into_response(),
        Ok(Shown::Packed(page)) => return compress::packed_answer((TEXT, page).into_response()),
        Err(error) => error,
    };
    let answer = (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
    match error.kind {
        ErrorKind::Timeout => (SOON, answer).into_response(),
        _ => answer.into_response(),
    }
}

pub(super) async fn healthy() -> &'static str {
    "plimsoll is healthy.\n"
}

pub(super) async fn ready(State(server): State<Shared>) -> (StatusCode, &'static str) {
    if server.backend.view().ready {
        return (StatusCode::OK, "plimsoll is ready.\n");
    }
    let why =
        "plimsoll is not ready: not every target has answered or timed out since the start.\n";
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

pub(super) async fn reload(State(server): State<Shared>) -> (StatusCode, String) {
    if !server.options.enable_lifecycle {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.".to_owned());
    }
    match server.backend.reload().await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
        }
    }
}

pub(super) async fn not_a_command() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed\n")
}

/// A path that is here, by a method that is not. Prometheus answers OPTIONS with nothing, and with
/// leave for every web site to read on; that leave is not given here.
pub(super) async fn not_allowed(method: Method) -> (StatusCode, &'static str) {
    match method {
        Method::OPTIONS => (StatusCode::NO_CONTENT, ""),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"),
    }
}

pub(super) async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "404 page not found\n")
}
