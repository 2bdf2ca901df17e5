//! `/api/v1/query`, `query_range`, `format_query`, `parse_query`, `query_exemplars`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::backend::{QueryAnswer, QueryRequest, QueryTimes, Turn};
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::params::Params;
use super::{QUERY_TIMEOUT, Server, Shared, tree};
use crate::base::Timestamp;
use crate::promql::ast::ValueType;
use crate::promql::eval::{Steps, Value};

/// Prometheus's bound on steps per series: enough for one point a minute over a week, or one per
/// pixel of any screen.
const MAX_STEPS: i64 = 11_000;

pub(super) const TRUNCATED: &str = "results truncated due to limit";

pub(super) async fn query(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let at = match params.optional_time("time")? {
        Some(at) => at,
        None => server.backend.now(),
    };
    let request = read_request(&server, &params, QueryTimes::Instant(at))?;
    answer(&server, request, at, limit).await
}

pub(super) async fn query_range(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let steps = read_steps(&params)?;
    let request = read_request(&server, &params, QueryTimes::Range(steps))?;
    let kind = request.expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
        return Err(ApiError::bad_data(format!(
            "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
        )));
    }
    answer(&server, request, steps.end, limit).await
}

/// There are none, and Grafana asks.
pub(super) async fn exemplars() -> Response {
    format::success(&[(); 0], &Notes::default())
}

pub(super) async fn format_query(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let expr = params.expr(&server.options.promql)?;
    Ok(format::success(&expr.to_string(), &Notes::default()))
}

pub(super) async fn parse_query(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let expr = params.expr(&server.options.promql)?;
    if expr.height() > tree::MAX_LEVELS {
        let message = format!("a tree of more than {} levels is not shown", tree::MAX_LEVELS);
        return Err(ApiError::parameter("query", message));
    }
    Ok(format::success(&tree::of(&expr), &Notes::default()))
}

fn read_steps(params: &Params) -> Result<Steps, ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.duration_millis("step")?;
    if step <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end.as_millis() - start.as_millis()) / step > MAX_STEPS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)",
        ));
    }
    Ok(Steps { start, end, step: Duration::from_millis(step.unsigned_abs()) })
}

fn read_request(
    server: &Server,
    params: &Params,
    times: QueryTimes,
) -> Result<QueryRequest, ApiError> {
    let timeout = params.optional_duration("timeout")?.unwrap_or(QUERY_TIMEOUT).min(QUERY_TIMEOUT);
    let lookback = params.optional_duration("lookback_delta")?;
    let expr = params.expr(&server.options.promql)?;
    Ok(QueryRequest { text: params.get("query").to_owned(), expr, times, lookback, timeout })
}

async fn answer(
    server: &Server,
    request: QueryRequest,
    at: Timestamp,
    limit: usize,
) -> Result<Response, ApiError> {
    let timeout = request.timeout;
    let late =
        |place: &str| ApiError::new(ErrorKind::Timeout, format!("query timed out in {place}"));
    let deadline = tokio::time::sleep(timeout);
    tokio::pin!(deadline);
    let turn = tokio::select! {
        turn = Arc::clone(&server.queries).acquire_owned() => turn,
        () = &mut deadline => return Err(late("query queue")),
    };
    let turn = Turn::new(turn.expect("nobody closes the semaphore"));
    let QueryAnswer { mut value, warnings, infos } = tokio::select! {
        answer = server.backend.query(request, turn) => answer?,
        () = &mut deadline => return Err(late("expression evaluation")),
    };
    let mut notes = Notes { warnings, infos };
    if truncate(&mut value, limit) {
        notes.warnings.push(TRUNCATED.to_owned());
    }
    // Millions of numbers take a while to write.
    let writing = tokio::task::spawn_blocking(move || format::query_result(&value, at, &notes));
    writing.await.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let length = match value {
        Value::Vector(series) => series.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar(_) | Value::String(_) => return false,
    };
    match value {
        Value::Vector(series) => series.truncate(limit),
        Value::Matrix(series) => series.truncate(limit),
        Value::Scalar(_) | Value::String(_) => {}
    }
    length > limit
}
