//! The nouns of the edge lane: what is handed in, what waits, what is tried, what comes back.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Event, EventType};
use super::statement::Answer;
use crate::base::{Change, DeliveryId, Table, Timestamp};

/// An event on its way into the outbox.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// Fixed by the caller ([`super::delivery_id`]), so the decision and its delivery agree.
    pub id: DeliveryId,
    /// The event; frozen to bytes by [`super::Outbox::push`].
    pub event: Event,
}

/// One decision, one id, one frozen body. Its JSON is a row of the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// The `webhook-id`.
    pub id: DeliveryId,
    /// Position in the outbox: strictly rising, also over restarts. Rows sort by it.
    pub sequence: u64,
    /// Deliveries of one key arrive in order: the tenant, or `""` for those without.
    pub key: String,
    /// What it says.
    pub event_type: EventType,
    /// Deliveries that share this supersede each other when the outbox overflows.
    pub supersedes: String,
    /// The exact bytes that are signed and sent, at every attempt.
    pub body: Arc<str>,
    /// When the event happened.
    pub decided_at: Timestamp,
    /// After this time an action request is withdrawn instead of sent.
    pub expires_at: Option<Timestamp>,
    /// Attempts so far. After a restart it counts from the last refusal that was written down.
    pub attempts: u32,
    /// How often the receiver refused the message itself.
    pub refusals: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// It was decided for the local executor, or given to it, not for a Control Plane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_executor: bool,
}

impl Delivery {
    /// Freezes an event. `sequence` places it behind everything that waits.
    pub(super) fn new(draft: Draft, sequence: u64) -> Delivery {
        let Draft { id, event } = draft;
        let data = &event.data;
        // Each request stands for itself, until it is told to be void; some are about no alert.
        let request = data.action.as_ref().map(|action| action.dedup_key.as_str());
        let alert = data.fingerprint.as_deref().or(data.alert.as_deref());
        let subject = request.or(alert).unwrap_or_default();
        Delivery {
            sequence,
            key: data.tenant_id.clone().unwrap_or_default(),
            event_type: event.event_type,
            supersedes: format!("{}:{subject}", event.event_type.class()),
            body: Arc::from(event.to_body()),
            decided_at: event.timestamp.0,
            expires_at: expiry(&event),
            attempts: 0,
            refusals: 0,
            last_error: None,
            for_executor: false,
            id,
        }
    }

    /// The event that was frozen. `None` only if the journal was written by another program.
    pub fn event(&self) -> Option<Event> {
        serde_json::from_str(&self.body).ok()
    }

    /// The request, by `dedup_key`, that this tells to be over.
    pub fn ends(&self) -> Option<String> {
        let is_end = self.event_type == EventType::ActionExpired;
        Some(is_end.then(|| self.event())??.data.action?.dedup_key)
    }

    pub(super) fn put(&self, table: Table) -> Change {
        let row = serde_json::to_vec(self).expect("a delivery holds nothing that cannot be JSON");
        Change { table, key: row_key(self.sequence), value: Some(row) }
    }

    pub(super) fn removal(&self, table: Table) -> Change {
        Change { table, key: row_key(self.sequence), value: None }
    }
}

/// Only what asks for something can expire; that an action expired, worked or failed is news.
fn expiry(event: &Event) -> Option<Timestamp> {
    let asks = event.data.action.as_ref()?;
    (event.event_type == asks.kind.event_type()).then_some(asks.expires_at.0)
}

/// Twenty digits, so that rows sort as numbers do.
fn row_key(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// One try at one delivery, to be started by the shell; it answers with a [`Reply`].
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// The `webhook-id`.
    pub id: DeliveryId,
    /// The exact bytes to sign and send.
    pub body: Arc<str>,
    /// What the body says, for headers and logs.
    pub event_type: EventType,
    /// 1 for the first try.
    pub number: u32,
}

/// What became of an [`Attempt`].
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// Which delivery.
    pub id: DeliveryId,
    /// Which try.
    pub number: u32,
    /// How it went.
    pub outcome: Outcome,
}

/// How an attempt went, named for what to do next.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The receiver has it.
    Accepted(Answer),
    /// It may work later, and the receiver does not have it: unreachable, overloaded.
    RetryLater {
        /// How long the receiver asked us to be quiet (`Retry-After`).
        after: Option<Duration>,
        /// One line.
        why: String,
    },
    /// It left, and nothing came back that says whether the receiver has it: a timeout, a connection that
    /// broke, a fault of the receiver's own or of whatever stands before it.
    Unanswered {
        /// How long the receiver asked us to be quiet (`Retry-After`).
        after: Option<Duration>,
        /// One line.
        why: String,
    },
    /// The receiver does not want this message (400, 413, 422).
    Refused {
        /// One line.
        why: String,
    },
    /// Nothing will be accepted until someone changes a configuration (401, 403, 404, 410).
    Misconfigured {
        /// One line.
        why: String,
    },
}

/// What happened in the outbox, for log, metrics, timeline and policy.
#[derive(Clone, PartialEq, Debug)]
pub enum Fact {
    /// The receiver has it.
    Delivered {
        /// What was delivered.
        delivery: Box<Delivery>,
        /// What the receiver said.
        answer: Answer,
    },
    /// The receiver has said by a receipt that it has it, whatever became of the attempts.
    Taken {
        /// What it has.
        delivery: Box<Delivery>,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// What is repeated; its attempts so far have failed.
        delivery: Box<Delivery>,
        /// Earliest next try.
        after: Duration,
        /// Why it failed.
        why: String,
    },
    /// Refused too often: moved to the dead letters.
    DeadLettered {
        /// What was given up.
        delivery: Box<Delivery>,
        /// An attempt before was never answered: the receiver may have it all the same.
        may_be_taken: bool,
    },
    /// Nothing is sent but a probe now and then; someone must act.
    Paused {
        /// Why.
        why: String,
    },
    /// The sink takes deliveries again.
    Resumed,
    /// An action request was withdrawn and replaced by `action.expired`.
    Expired {
        /// The request.
        request: Box<Delivery>,
        /// The event in its place.
        replacement: DeliveryId,
        /// Why it is not called for any more; `None` if its time was over.
        withdrawn: Option<String>,
        /// An attempt was never answered: the receiver may have it all the same.
        may_be_taken: bool,
    },
    /// Given up, because nobody is there any more who would hear it.
    Unheard {
        /// The news.
        delivery: Box<Delivery>,
        /// Why nobody is.
        why: String,
    },
    /// An operator asked for another try.
    Retried {
        /// Which delivery.
        id: DeliveryId,
    },
    /// An operator gave it up.
    Dropped {
        /// What was given up.
        delivery: Box<Delivery>,
        /// An attempt was never answered: the receiver may have it all the same.
        may_be_taken: bool,
    },
    /// The outbox was full: superseded or oldest deliveries were given up.
    Overflowed {
        /// How many.
        dropped: u64,
        /// What of it asked for something, and whether the receiver may have it all the same.
        requests: Vec<(DeliveryId, bool)>,
        /// The `sidecar.gap` that tells the receiver.
        gap: DeliveryId,
    },
}

/// Figures for `/metrics`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stats {
    /// Deliveries waiting, in flight or not.
    pub waiting: usize,
    /// Bytes of their bodies.
    pub waiting_bytes: usize,
    /// Of these, in flight.
    pub in_flight: usize,
    /// Age of the oldest event that waits.
    pub oldest_age: Option<Duration>,
    /// Dead letters held.
    pub dead: usize,
    /// Why the sink is paused, if it is.
    pub paused: Option<String>,
    /// Events since start, by what happened to them.
    pub totals: Totals,
}

/// Counters since start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Deliveries taken in.
    pub pushed: u64,
    /// Attempts started.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Deliveries the receiver has.
    pub delivered: u64,
    /// Action requests withdrawn.
    pub expired: u64,
    /// Deliveries given up because the outbox was full.
    pub dropped: u64,
    /// Deliveries moved to the dead letters.
    pub dead: u64,
}
