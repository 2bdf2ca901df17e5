//! What an operator may do: look, retry now, revive or drop a dead letter.

use std::time::Duration;

use thiserror::Error;

use super::delivery::{Delivery, Fact};
use super::listed::State;
use super::{Outbox, Turn};
use crate::base::{Batch, DeliveryId, Now, Table, Timestamp};

/// Dead letters kept; beyond it the oldest goes (5 MB at the largest body).
const DEAD_MAX: usize = 256;

/// Why an operator's wish was not granted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OperatorError {
    /// Neither waiting nor dead.
    #[error("no delivery `{0}` waits or is dead; it may have been delivered")]
    Unknown(DeliveryId),
    /// Being sent at this moment.
    #[error("delivery `{0}` is in flight; try again when it is answered")]
    InFlight(DeliveryId),
    /// A dead letter that asks for something, too late: it would be withdrawn, not sent.
    #[error("delivery `{0}` asks for something and expired at {1}: it cannot be sent any more")]
    Expired(DeliveryId, Timestamp),
    /// A dead letter for which others would have to go.
    #[error("delivery `{0}` finds no room: so much waits that others would have to be given up")]
    Full(DeliveryId),
    /// There is no outbox.
    #[error(
        "no `control_plane` is configured, so there is no outbox; what waited stays in the journal"
    )]
    Off,
}

impl Outbox {
    /// What waits, in order of arrival, then the dead letters, oldest first.
    pub fn list(&self) -> impl Iterator<Item = (State, &Delivery)> {
        let waiting = self.waiting.values().map(|entry| match entry.lease {
            Some(_) => (State::InFlight, &entry.delivery),
            None => (State::Waiting, &entry.delivery),
        });
        waiting.chain(self.dead.values().map(|delivery| (State::Dead, delivery)))
    }

    /// Tries a delivery as soon as its turn comes: ends a waiting one's pause, or puts a dead one
    /// at the end of the queue under its old id (the receiver may have seen it).
    pub fn retry(
        &mut self,
        id: &DeliveryId,
        now: Now,
        batch: Batch,
    ) -> Result<Turn, OperatorError> {
        let mut turn = Turn::default();
        if let Some(&sequence) = self.by_id.get(id) {
            if self.in_flight.contains(&sequence) {
                return Err(OperatorError::InFlight(id.clone()));
            }
            self.entry(sequence).due = now.monotonic;
            self.quiet_until = Duration::ZERO;
            turn.facts.push(Fact::Retried { id: id.clone() });
            return Ok(turn);
        }
        self.may_revive(id, now)?;
        let buried = self.take_dead(id)?;
        turn.changes.push(buried.removal(Table::Dead));
        let sequence = self.next_sequence(now);
        let revived = Delivery { sequence, attempts: 0, refusals: 0, ..buried };
        turn.changes.push(revived.put(Table::Outbox));
        self.insert(revived, now, batch);
        turn.facts.push(Fact::Retried { id: id.clone() });
        Ok(turn)
    }

    /// Whether a dead letter could be sent again, and nothing else would have to go for it.
    fn may_revive(&self, id: &DeliveryId, now: Now) -> Result<(), OperatorError> {
        let Some(dead) = self.dead.values().find(|delivery| delivery.id == *id) else {
            return Ok(());
        };
        if let Some(at) = dead.expires_at.filter(|at| *at <= now.wall) {
            return Err(OperatorError::Expired(id.clone(), at));
        }
        match self.bytes + dead.body.len() > self.bytes_max() {
            true => Err(OperatorError::Full(id.clone())),
            false => Ok(()),
        }
    }

    /// Forgets a delivery, waiting or dead. The receiver is not told: the operator decided.
    pub fn drop_delivery(&mut self, id: &DeliveryId) -> Result<Turn, OperatorError> {
        let mut turn = Turn::default();
        let (table, delivery, may_be_taken) = match self.by_id.get(id) {
            Some(sequence) if self.in_flight.contains(sequence) => {
                return Err(OperatorError::InFlight(id.clone()));
            }
            Some(&sequence) => {
                let may_be_taken = self.waiting[&sequence].may_be_taken;
                (Table::Outbox, self.remove(sequence), may_be_taken)
            }
            // What was told of it when it died holds on.
            None => (Table::Dead, self.take_dead(id)?, false),
        };
        turn.changes.push(delivery.removal(table));
        turn.facts.push(Fact::Dropped { delivery: Box::new(delivery), may_be_taken });
        Ok(turn)
    }

    /// Adds a dead letter; the oldest make room.
    pub(super) fn bury(&mut self, delivery: Delivery, turn: &mut Turn) {
        turn.changes.push(delivery.put(Table::Dead));
        self.dead.insert(delivery.sequence, delivery);
        while self.dead.len() > DEAD_MAX {
            let (_, oldest) = self.dead.pop_first().expect("it holds more than its limit");
            turn.changes.push(oldest.removal(Table::Dead));
        }
    }

    pub(super) fn take_dead(&mut self, id: &DeliveryId) -> Result<Delivery, OperatorError> {
        let sequence = self.dead.values().find(|delivery| delivery.id == *id);
        let sequence = sequence.ok_or_else(|| OperatorError::Unknown(id.clone()))?.sequence;
        Ok(self.dead.remove(&sequence).expect("it was found a line above"))
    }
}
