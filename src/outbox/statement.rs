//! What the receiver says about a request: in its answer, or later by a receipt.

use serde::{Deserialize, Serialize};

use super::delivery::Fact;
use super::{Outbox, Turn};
use crate::base::{DeliveryId, Table, parse_rfc3339};

/// The optional body of a 2xx response, and the body of a receipt but for the delivery it is about.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Answer {
    /// `accepted`, `declined` or `done`.
    #[cfg_attr(test, schemars(extend("enum" = ["accepted", "declined", "done", null])))]
    pub decision: Option<String>,
    /// Why it was declined, or what failed.
    pub reason: Option<String>,
    /// Of `done`: `succeeded` or `failed`.
    #[cfg_attr(test, schemars(extend("enum" = ["succeeded", "failed", null])))]
    pub outcome: Option<String>,
    /// The Control Plane's own id of the change.
    pub change_id: Option<String>,
    /// Until when the effect should be watched, RFC 3339.
    pub verify_until: Option<String>,
    /// Whoever asked could not read it, or a part of it, as the contract says; `reason` tells of that.
    #[serde(skip)]
    pub is_unclear: bool,
}

/// The body of a receipt.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Statement {
    /// The request it is about: its `webhook-id`.
    pub delivery_id: String,
    /// What is said about it.
    #[serde(flatten)]
    pub answer: Answer,
}

const NO_DECISION: &str = "`decision` must be `accepted`, `declined` or `done`";

impl Answer {
    /// What is wrong with its words. Who says nothing at all has taken the request.
    pub fn fault(&self) -> Option<&'static str> {
        match (self.decision.as_deref(), self.outcome.as_deref()) {
            (None | Some("accepted" | "declined"), None)
            | (Some("done"), Some("succeeded" | "failed")) => None,
            (Some("done"), _) => Some("`outcome` must be `succeeded` or `failed`"),
            (None | Some("accepted" | "declined"), Some(_)) => {
                Some("`outcome` goes with `done` only")
            }
            (Some(_), _) => Some(NO_DECISION),
        }
    }
}

impl Outbox {
    /// The receiver has spoken of a delivery by a receipt, so it has it. It is sent no more, and can neither
    /// expire nor be refused; what an attempt on its way brings back says nothing new.
    pub fn taken(&mut self, id: &DeliveryId) -> Turn {
        let mut turn = Turn::default();
        let (table, delivery) = match self.by_id.get(id) {
            Some(&sequence) => (Table::Outbox, self.remove(sequence)),
            None => match self.take_dead(id) {
                Ok(delivery) => (Table::Dead, delivery),
                Err(_) => return turn,
            },
        };
        self.totals.delivered += 1;
        turn.changes.push(delivery.removal(table));
        turn.facts.push(Fact::Taken { delivery: Box::new(delivery) });
        turn
    }
}

impl Statement {
    /// Reads a receipt; says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Statement, String> {
        let statement: Statement = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        if let Some(until) = &statement.answer.verify_until
            && parse_rfc3339(until).is_none()
        {
            return Err(format!("`verify_until` is no time as RFC 3339 writes it: `{until}`"));
        }
        match (&statement.answer.decision, statement.answer.fault()) {
            (_, Some(fault)) => Err(fault.to_owned()),
            (None, None) => Err(NO_DECISION.to_owned()),
            (Some(_), None) => Ok(statement),
        }
    }
}

/// Why a receipt is not taken. The name is the same in metrics, the audit and the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Its body is larger than any receipt.
    TooLarge,
    /// A header is missing, or the body is no receipt.
    Malformed,
    /// No signature matches.
    Signature,
    /// Its timestamp is too far from this clock.
    Stale,
    /// It was taken before.
    Replayed,
    /// No such request was made.
    UnknownId,
}

impl Refusal {
    /// Every reason, in a fixed order.
    pub const ALL: [Refusal; 6] = [
        Refusal::TooLarge,
        Refusal::Malformed,
        Refusal::Signature,
        Refusal::Stale,
        Refusal::Replayed,
        Refusal::UnknownId,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::TooLarge => "too_large",
            Refusal::Malformed => "malformed",
            Refusal::Signature => "signature",
            Refusal::Stale => "stale",
            Refusal::Replayed => "replayed",
            Refusal::UnknownId => "unknown_id",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Refusal::TooLarge => "the receipt is larger than 16 KiB",
            Refusal::Malformed => "this is no receipt",
            Refusal::Signature => "no signature matches",
            Refusal::Stale => "the timestamp is more than five minutes from this clock",
            Refusal::Replayed => "this receipt was taken before",
            Refusal::UnknownId => "no request with this delivery_id is known here",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_one_of_three_words() {
        let read = |body: &str| Statement::read(body.as_bytes()).map(|read| read.answer.decision);
        let good = [
            r#"{"delivery_id":"evt_1","decision":"accepted","change_id":"c","verify_until":"2027-01-15T09:00:00Z"}"#,
            r#"{"delivery_id":"evt_1","decision":"declined","reason":"suspended"}"#,
            r#"{"delivery_id":"evt_1","decision":"done","outcome":"succeeded","more":1}"#,
        ];
        for body in good {
            assert!(matches!(read(body), Ok(Some(_))), "{body}");
        }
        let bad = [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"decision":"accepted"}"#, "delivery_id"),
            (r#"{"delivery_id":"evt_1"}"#, "`decision` must be"),
            (r#"{"delivery_id":"evt_1","decision":"maybe"}"#, "`decision` must be"),
            (r#"{"delivery_id":"evt_1","decision":"done"}"#, "`outcome` must be"),
            (r#"{"delivery_id":"evt_1","decision":"declined","outcome":"failed"}"#, "with `done`"),
            (
                r#"{"delivery_id":"evt_1","decision":"accepted","verify_until":"tomorrow"}"#,
                "`verify_until` is no time as RFC 3339 writes it: `tomorrow`",
            ),
        ];
        for (body, words) in bad {
            let error = read(body).expect_err(body);
            assert!(error.contains(words), "{body}: {error}");
        }
    }
}
