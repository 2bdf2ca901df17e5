//! What waits when the local executor takes the place of a Control Plane, or the other way round.
//!
//! News is for nobody any more and goes. A request that the Control Plane may hold goes, too: it may be
//! carrying it out, and Docker would be a second hand. What was never tried, or was refused, or is asked
//! again under another id, is the executor's. What the executor has begun is known by its marks, not here.

use super::delivery::{Delivery, Fact};
use super::{Entry, Outbox, OutboxConfig, Turn};
use crate::base::{Batch, Now, Table};

/// Why.
const WHY: &str = "the local executor has taken the place of the Control Plane";

impl Outbox {
    /// Another configuration; what waits stays, as far as the one who hears it by now can use it.
    pub fn configure(&mut self, config: OutboxConfig) {
        self.is_handed_over = true;
        self.config = config;
    }

    /// Looks through what waits and was for another. What is on its way is left until it is
    /// answered.
    pub(super) fn hand_over(&mut self, now: Now, batch: Batch, turn: &mut Turn) {
        if !std::mem::take(&mut self.is_handed_over) {
            return;
        }
        let for_executor = self.config.restarts_only;
        let is_others = |entry: &Entry| entry.delivery.for_executor != for_executor;
        let others = self.waiting.iter().filter(|(_, entry)| is_others(entry));
        let others: Vec<u64> = others.map(|(sequence, _)| *sequence).collect();
        for sequence in others {
            let entry = &self.waiting[&sequence];
            if entry.lease.is_some() {
                self.is_handed_over = true;
                continue;
            }
            let is_asked = entry.delivery.event().is_some_and(|event| event.asks_for_restart());
            if !for_executor || is_asked && !entry.may_be_taken {
                let delivery = &mut self.entry(sequence).delivery;
                delivery.for_executor = for_executor;
                turn.changes.push(delivery.put(Table::Outbox));
            } else if entry.delivery.event_type.is_request() {
                self.replace(sequence, Some(WHY), (now, batch), turn);
            } else {
                let delivery: Box<Delivery> = Box::new(self.remove(sequence));
                turn.changes.push(delivery.removal(Table::Outbox));
                turn.facts.push(Fact::Unheard { delivery, why: WHY.to_owned() });
            }
        }
    }
}
