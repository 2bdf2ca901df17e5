//! What the server asks of the rest of plimsoll.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use crate::audit::Story;
use crate::base::{Labels, Timestamp};
use crate::engine::{OutboxCommand, View};
use crate::outbox::Listed;
use crate::promql::Features;
use crate::promql::ast::Expr;
use crate::promql::eval::{Steps, Traced, Value};
use crate::window::Selector;

/// An answer on its way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// The server's only door to the engine, its window and its metrics.
pub trait Backend: Send + Sync + 'static {
    /// The wall clock: what a query without a time means.
    fn now(&self) -> Timestamp;

    /// The newest view of the engine.
    fn view(&self) -> Arc<View>;

    /// What queries may use by the configuration in force.
    fn promql(&self) -> Features;

    /// Evaluates a query. It must not occupy the thread it is called on, must hold the turn until
    /// the evaluation has ended, and must end it when the answer is no longer waited for. The turn
    /// comes back with the answer: it is over when that is written.
    fn query(&self, request: QueryRequest, turn: Turn) -> Answering<'_, QueryAnswer>;

    /// Evaluates every part of a query at one time, with the duties of [`Backend::query`].
    fn trace(&self, request: QueryRequest, turn: Turn) -> Answering<'_, Vec<Traced>>;

    /// Finds series.
    fn series(&self, request: SeriesRequest) -> Answering<'_, SeriesAnswer>;

    /// What waits for the Control Plane and what was given up.
    fn outbox(&self) -> Answering<'_, Vec<Listed>>;

    /// Retries or drops a delivery; the answer comes once that is durable.
    fn change_outbox(&self, command: OutboxCommand) -> Answering<'_, ()>;

    /// What happened from a time on, to one tenant if one is named. It must hold the turn until it is
    /// done.
    fn story(&self, since: Timestamp, tenant: Option<String>, turn: Turn) -> Answering<'_, Story>;

    /// Takes a receipt, once it is believed and durable.
    fn take_receipt(&self, signed: Signed) -> Answering<'_, ()>;

    /// plimsoll's own metrics, in the text format.
    fn metrics_text(&self) -> String;

    /// The figures of this host's containers, as cAdvisor would show them.
    fn containers_text(&self) -> Answering<'_, String>;

    /// Reads the configuration again; the error says why the old one stays.
    fn reload(&self) -> Answering<'_, ()>;
}

/// The right to evaluate one query: there are few, and a client that went away must not leave work
/// behind that nobody counts.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// A turn that ends when it is dropped.
    pub fn new(permit: OwnedSemaphorePermit) -> Turn {
        Turn { _permit: permit }
    }
}

/// A signed message, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// `webhook-id`, or `""`.
    pub id: String,
    /// `webhook-timestamp`, or `""`.
    pub timestamp: String,
    /// `webhook-signature`, or `""`.
    pub signature: String,
    /// The raw body; `None` if it was too large to be read.
    pub body: Option<Vec<u8>>,
}

/// A query, parsed.
#[derive(Clone, PartialEq, Debug)]
pub struct QueryRequest {
    /// As it was sent; the spans of `expr` index it.
    pub text: String,
    /// What it means.
    pub expr: Expr,
    /// At which times.
    pub times: QueryTimes,
    /// How far back an instant selector looks, if the client says so.
    pub lookback: Option<Duration>,
    /// The evaluation must end by itself after this long.
    pub timeout: Duration,
}

/// When a query is evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueryTimes {
    /// At one time; the answer has any type.
    Instant(Timestamp),
    /// At every step; the answer is a matrix.
    Range(Steps),
}

/// What a query yields.
#[derive(Debug)]
pub struct QueryAnswer {
    /// Its value. A matrix is sorted by labels.
    pub value: Value,
    /// Warnings, ready to be shown.
    pub warnings: Vec<String>,
    /// Infos, ready to be shown.
    pub infos: Vec<String>,
    /// The turn in which it was evaluated.
    pub turn: Turn,
}

/// Which series are asked for.
#[derive(Debug)]
pub struct SeriesRequest {
    /// A series need match one of these; none: every series.
    pub selectors: Vec<Arc<Selector>>,
    /// Only series with a sample at or after this time.
    pub start: Option<Timestamp>,
    /// Only series with a sample at or before this time.
    pub end: Option<Timestamp>,
    /// How long finding them may take.
    pub timeout: Duration,
    /// The turn in which the selectors were read; what matches them is found in the same.
    pub turn: Option<Turn>,
}

/// Series that were found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SeriesAnswer {
    /// Their labels, each set once, in any order.
    pub series: Vec<Labels>,
    /// Warnings, ready to be shown.
    pub warnings: Vec<String>,
}
