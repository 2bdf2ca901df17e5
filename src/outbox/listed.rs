//! A delivery as people and programs see it: one row of `plimsoll outbox list` and of the API.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delivery::Delivery;
use super::event::{EventType, WireTime};
use crate::base::DeliveryId;

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its turn or its next try.
    Waiting,
    /// Is being sent.
    InFlight,
    /// Was refused too often and is kept to be looked at.
    Dead,
}

impl State {
    /// The word, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::InFlight => "in_flight",
            State::Dead => "dead",
        }
    }
}

/// One row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The `webhook-id`.
    pub id: DeliveryId,
    /// Where it stands.
    pub state: State,
    /// What it says.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Whom it is about; `""` for events without a tenant.
    pub tenant: String,
    /// When the event happened.
    pub decided_at: WireTime,
    /// Attempts so far.
    pub attempts: u32,
    /// How often the receiver refused the message itself.
    pub refusals: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// What is sent.
    pub body: Value,
}

impl Listed {
    /// The row of a delivery.
    pub fn new(state: State, delivery: &Delivery) -> Listed {
        Listed {
            id: delivery.id.clone(),
            state,
            event_type: delivery.event_type,
            tenant: delivery.key.clone(),
            decided_at: WireTime(delivery.decided_at),
            attempts: delivery.attempts,
            refusals: delivery.refusals,
            last_error: delivery.last_error.clone(),
            body: serde_json::from_str(&delivery.body).unwrap_or(Value::Null),
        }
    }
}
