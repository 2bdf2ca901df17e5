//! Reading the queries and selectors of a request, off the threads that serve.
//!
//! A query of a few kilobytes can hold regular expressions that take a while to compile, and one of
//! a megabyte takes its time anyway. So a request takes its turn first and is then parsed on a
//! thread for such work, under the deadline of the query. The turn is held until that thread is
//! done, whoever has stopped waiting: what is under way is always counted. Nothing here parses on
//! the thread it is called on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;

use super::backend::Turn;
use super::error::{ApiError, ErrorKind};
use super::params::{self, Params};
use super::{QUERY_TIMEOUT, Server};
use crate::promql::ast::Expr;
use crate::promql::{ParseOptions, parse};
use crate::window::Selector;

/// When a query's time is over.
pub(super) struct Deadline(Pin<Box<Sleep>>);

impl Deadline {
    /// So long after now.
    pub(super) fn after(timeout: Duration) -> Deadline {
        Deadline(Box::pin(tokio::time::sleep(timeout)))
    }

    /// What the work gives, if it does in time.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = &mut self.0 => None,
        }
    }
}

/// Waits for a turn and works in it, on a thread of its own.
pub(super) async fn in_turn<T: Send + 'static>(
    server: &Server,
    deadline: &mut Deadline,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<(T, Turn), ApiError> {
    let turn = Arc::clone(&server.queries).acquire_owned();
    let turn = deadline.within(turn).await.ok_or_else(|| late("query queue"))?;
    let turn = Turn::new(turn.expect("nobody closes the semaphore"));
    let working = tokio::task::spawn_blocking(move || work().map(|done| (done, turn)));
    match deadline.within(working).await {
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(ApiError::new(ErrorKind::Internal, error.to_string())),
        None => Err(late("query preparation")),
    }
}

/// The parameter `query`, parsed, and the turn in which it may be evaluated.
pub(super) async fn query(
    server: &Server,
    params: &Params,
    deadline: &mut Deadline,
) -> Result<(Expr, Turn), ApiError> {
    let (text, options) = (params.get("query").to_owned(), server.backend.promql().parsing());
    in_turn(server, deadline, move || read_query(&text, &options)).await
}

/// What `show` makes of the parameter `query`, the turn in which it did, and until when it may be
/// answered.
pub(super) async fn shown<T: Send + 'static>(
    server: &Server,
    params: &Params,
    show: impl FnOnce(Expr) -> Result<T, ApiError> + Send + 'static,
) -> Result<(T, Turn, Deadline), ApiError> {
    let (text, options) = (params.get("query").to_owned(), server.backend.promql().parsing());
    let mut deadline = Deadline::after(QUERY_TIMEOUT);
    let work = move || read_query(&text, &options).and_then(show);
    let (shown, turn) = in_turn(server, &mut deadline, work).await?;
    Ok((shown, turn, deadline))
}

/// Every `match[]`, parsed, and the turn in which that was done; most requests have none and do not
/// wait.
pub(super) async fn selectors(
    server: &Server,
    params: &Params,
) -> Result<(Vec<Arc<Selector>>, Option<Turn>), ApiError> {
    let texts: Vec<String> = params.all("match[]").map(str::to_owned).collect();
    if texts.is_empty() {
        return Ok((Vec::new(), None));
    }
    let work = move || params::read_selectors("match[]", &texts);
    let (selectors, turn) = in_turn(server, &mut Deadline::after(QUERY_TIMEOUT), work).await?;
    Ok((selectors, Some(turn)))
}

/// A selector that may be absent. Unlike `match[]` it may select everything.
pub(super) async fn optional_selector(
    server: &Server,
    params: &Params,
    name: &'static str,
) -> Result<Option<Arc<Selector>>, ApiError> {
    let text = params.get(name);
    if matches!(text, "" | "{}") {
        return Ok(None);
    }
    let texts = [text.to_owned()];
    let work = move || params::read_selectors(name, &texts);
    Ok(in_turn(server, &mut Deadline::after(QUERY_TIMEOUT), work).await?.0.pop())
}

fn read_query(text: &str, options: &ParseOptions) -> Result<Expr, ApiError> {
    parse(text, options).map_err(|error| ApiError::parse("query", &error))
}

/// What is said when a query's time is over.
pub(super) fn late(place: &str) -> ApiError {
    ApiError::new(ErrorKind::Timeout, format!("query timed out in {place}"))
}
