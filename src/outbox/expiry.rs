//! An action request that was not acknowledged in time, or is no longer called for, is withdrawn, and the
//! receiver is told.
//!
//! A late "restart this container" is worse than none: the container it meant may be healthy again.
//! The news of the withdrawal takes the request's place in its queue, under an id of its own,
//! because one id has one meaning. It says what this side knows: that no acknowledgement was recorded.
//! If the reply was lost in a crash, the receiver may hold the request all the same; its `dedup_key`
//! tells.

use std::time::Duration;

use super::delivery::{Delivery, Draft, Fact};
use super::event::{Data, Event, EventType};
use super::id::following_id;
use super::{Entry, Outbox, Turn};
use crate::base::{Batch, Change, DeliveryId, Now, Table};

/// A request that would touch a container or a customer, and has not left.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The request.
    pub delivery: &'a Delivery,
    /// An attempt was never answered: the receiver may have it.
    pub may_be_taken: bool,
    /// It leaves at the next [`Outbox::due`].
    pub is_next: bool,
}

impl Outbox {
    /// Requests that would touch a container or a customer: waiting, not on their way, not expired.
    pub fn requests(&self, now: Now) -> impl Iterator<Item = Waiting<'_>> {
        let under_way = self.in_flight.len() - self.lost(now).count();
        let has_room = under_way < self.most_in_flight();
        let of = |(_, sequence): &(Duration, u64)| (*sequence, &self.waiting[sequence]);
        let in_time = self.expiring.iter().filter(move |(at, _)| *at > now.monotonic).map(of);
        let touches = |event_type| {
            matches!(event_type, EventType::RestartRequested | EventType::UpgradeSuggested)
        };
        let waits = in_time
            .filter(move |(_, entry)| entry.lease.is_none() && touches(entry.delivery.event_type));
        waits.map(move |(sequence, Entry { delivery, batch, due, may_be_taken, .. })| Waiting {
            delivery,
            may_be_taken: *may_be_taken,
            is_next: *batch <= self.durable
                && (*due).max(self.quiet_until) <= now.monotonic
                && has_room
                && self.queues.get(&delivery.key).and_then(|queue| queue.first())
                    == Some(&sequence),
        })
    }

    /// Keeps a delivery from leaving before this monotonic time.
    pub fn hold_back(&mut self, id: &DeliveryId, until: Duration) {
        if let Some(&sequence) = self.by_id.get(id) {
            let entry = self.entry(sequence);
            entry.due = entry.due.max(until);
        }
    }

    /// Replaces every request that is past its time. One in flight is left until it is answered:
    /// it may be arriving.
    pub(super) fn withdraw_expired(&mut self, now: Now, batch: Batch, turn: &mut Turn) {
        let expired: Vec<u64> = self
            .expiring
            .iter()
            .take_while(|(at, _)| *at <= now.monotonic)
            .map(|(_, sequence)| *sequence)
            .filter(|sequence| !self.in_flight.contains(sequence))
            .collect();
        for sequence in expired {
            self.replace(sequence, None, (now, batch), turn);
        }
    }

    /// Moves the times at which requests expire when the wall clock steps; returns the rows. Until then they
    /// are counted down on the monotonic clock, but the next boot has only these times to tell them by.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let waiting = self.waiting.values_mut().map(|entry| (Table::Outbox, &mut entry.delivery));
        let dead = self.dead.values_mut().map(|delivery| (Table::Dead, delivery));
        let moved = waiting.chain(dead).filter_map(|(table, delivery)| {
            let at = delivery.expires_at.as_mut()?;
            at.0 = at.0.saturating_add(by_ms);
            Some(delivery.put(table))
        });
        moved.collect()
    }

    /// Withdraws a request that is not called for any more. `None` if it does not wait here: it was
    /// delivered, or is on its way.
    pub fn withdraw(&mut self, id: &DeliveryId, why: &str, now: Now, batch: Batch) -> Option<Turn> {
        let sequence = *self.by_id.get(id)?;
        if self.in_flight.contains(&sequence) {
            return None;
        }
        let mut turn = Turn::default();
        self.replace(sequence, Some(why), (now, batch), &mut turn);
        Some(turn)
    }

    pub(super) fn replace(
        &mut self,
        sequence: u64,
        withdrawn: Option<&str>,
        (now, batch): (Now, Batch),
        turn: &mut Turn,
    ) {
        let why = match withdrawn {
            Some(why) => format!("was withdrawn: {why}"),
            None => "expired before an acknowledgement was recorded".to_owned(),
        };
        let may_be_taken = self.waiting[&sequence].may_be_taken;
        let request = Box::new(self.remove(sequence));
        let notice = Delivery::new(notice(&request, &why, now), sequence);
        let replacement = notice.id.clone();
        // It may have been told already, while the request was on its way.
        if self.config.restarts_only || self.waits(&replacement) {
            turn.changes.push(request.removal(Table::Outbox));
        } else {
            turn.changes.push(notice.put(Table::Outbox));
            self.insert(notice, now, batch);
        }
        self.totals.expired += 1;
        let withdrawn = withdrawn.map(str::to_owned);
        turn.facts.push(Fact::Expired { request, replacement, withdrawn, may_be_taken });
    }
}

/// The id of the news that a request is void. It follows from the request's alone, so that one request has
/// one such news, whenever it is told and whatever crashes between writing and sending.
pub fn withdrawal_id(request: &DeliveryId) -> DeliveryId {
    following_id(request, EventType::ActionExpired.name())
}

/// The request's own data with the reason, as `action.expired`.
fn notice(request: &Delivery, why: &str, now: Now) -> Draft {
    let mut data = request.event().map_or_else(Data::default, |event| event.data);
    let tried = match request.attempts {
        0 => "it was never tried".to_owned(),
        attempts => format!("{attempts} attempts, the last: {}", last_error(request)),
    };
    data.reason = Some(format!("request {} {why}; {tried}", request.id));
    Draft {
        id: withdrawal_id(&request.id),
        event: Event::new(EventType::ActionExpired, now.wall, data),
    }
}

fn last_error(request: &Delivery) -> &str {
    request.last_error.as_deref().unwrap_or("not answered")
}
