//! `/api/v1/query`, `query_range`, `format_query`, `parse_query`, `query_exemplars`.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::backend::{QueryAnswer, QueryRequest, QueryTimes, Turn};
use super::error::{ApiError, ErrorKind};
use super::format::{self, Notes};
use super::params::Params;
use super::parsing::{self, Deadline, late};
use super::{QUERY_TIMEOUT, Server, Shared, tree};
use crate::base::Timestamp;
use crate::promql::ast::{Expr, ValueType};
use crate::promql::eval::{EvalErrorKind, Steps, Value};
use crate::promql::{EvalOptions, layout};

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
    let mut limits = read_limits(&params)?;
    let (expr, turn) = parsing::query(&server, &params, &mut limits.deadline).await?;
    let request = limits.request(&params, expr, QueryTimes::Instant(at));
    answer(&server, (request, turn), &mut limits.deadline, at, limit).await
}

pub(super) async fn query_range(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?;
    let steps = read_steps(&params)?;
    let mut limits = read_limits(&params)?;
    let (expr, turn) = parsing::query(&server, &params, &mut limits.deadline).await?;
    let kind = expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
        return Err(ApiError::bad_data(format!(
            "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
        )));
    }
    let request = limits.request(&params, expr, QueryTimes::Range(steps));
    answer(&server, (request, turn), &mut limits.deadline, steps.end, limit).await
}

/// There are none, and Grafana asks; what it asks is checked all the same.
pub(super) async fn exemplars(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let (start, end) = (params.optional_time("start")?, params.optional_time("end")?);
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let checked = parsing::shown(&server, &params, |_| Ok(())).await;
    checked.map_err(|error| error.unnamed("query"))?;
    Ok(format::success(&[(); 0], &Notes::default()))
}

pub(super) async fn format_query(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let written = params.get("query").to_owned();
    let lay_out = move |expr: Expr| {
        let why = "the query takes more than 4 MiB when it is laid out";
        layout(&expr, &written).ok_or_else(|| ApiError::parameter("query", why))
    };
    let (text, turn, mut deadline) = parsing::shown(&server, &params, lay_out).await?;
    let room = server.room.take(format::json_bytes(&text), &mut deadline).await?;
    drop(turn);
    Ok(room.filled(format::success(&text, &Notes::default())))
}

pub(super) async fn parse_query(
    State(server): State<Shared>,
    params: Params,
) -> Result<Response, ApiError> {
    let text = params.get("query").to_owned();
    let show = move |expr: Expr| Ok(tree::written(&expr, &text));
    let (tree, turn, mut deadline) = parsing::shown(&server, &params, show).await?;
    let room = server.room.take(tree.len(), &mut deadline).await?;
    drop(turn);
    Ok(room.filled(format::success_json(&tree)))
}

fn read_steps(params: &Params) -> Result<Steps, ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.duration_millis("step")?;
    if step == 0 && params.get("step").parse::<f64>().is_ok_and(|step| step > 0.0) {
        let why =
            "a step of less than a millisecond is not accepted: samples have whole milliseconds";
        return Err(ApiError::parameter("step", why));
    }
    let step = Duration::from_millis(u64::try_from(step).unwrap_or(0));
    let steps = Steps { start, end, step };
    match steps.count(&EvalOptions::default()) {
        Ok(_) => Ok(steps),
        Err(error) if error.kind == EvalErrorKind::Limit => Err(ApiError::bad_data(error.message)),
        Err(error) => Err(ApiError::parameter("step", error.message)),
    }
}

/// How long a query may take and how far back it looks.
struct Limits {
    timeout: Duration,
    deadline: Deadline,
    lookback: Option<Duration>,
}

fn read_limits(params: &Params) -> Result<Limits, ApiError> {
    let timeout = params.optional_duration("timeout")?.unwrap_or(QUERY_TIMEOUT).min(QUERY_TIMEOUT);
    // No time at all is over before a query has had its turn.
    if timeout.is_zero() {
        return Err(late("query queue"));
    }
    let lookback = params.optional_duration("lookback_delta")?.filter(|d| !d.is_zero());
    Ok(Limits { timeout, deadline: Deadline::after(timeout), lookback })
}

impl Limits {
    fn request(&self, params: &Params, expr: Expr, times: QueryTimes) -> QueryRequest {
        let text = params.get("query").to_owned();
        QueryRequest { text, expr, times, lookback: self.lookback, timeout: self.timeout }
    }
}

/// Evaluates a query and writes what it yields, all in its turn: so values that wait for room are as few
/// as there are turns.
async fn answer(
    server: &Server,
    (request, turn): (QueryRequest, Turn),
    deadline: &mut Deadline,
    at: Timestamp,
    limit: usize,
) -> Result<Response, ApiError> {
    let answer = deadline.within(server.backend.query(request, turn)).await;
    let QueryAnswer { mut value, warnings, infos, turn } =
        answer.ok_or_else(|| late("expression evaluation"))??;
    let mut notes = Notes { warnings, infos };
    if truncate(&mut value, limit) {
        notes.warnings.push(TRUNCATED.to_owned());
    }
    let room = server.room.take(format::bytes_at_most(&value), deadline).await?;
    // Millions of numbers take a while to write.
    let writing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        Ok(room.filled(format::query_result(&value, at, &notes)?))
    });
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
