//! Receipts: what the Control Plane says about a request after its answer.
//!
//! The signature was checked at the door; here it is checked that the receipt is new and that the
//! request was made. What is taken is answered only once it is durable, because whoever reads "taken"
//! will not say it again. Receipts that are refused are counted all, and written down as many as fit.

use std::time::Duration;

use super::{Answer, Content, Engine, Fact, Step};
use crate::audit::kept;
use crate::base::{Batch, DeliveryId, Now};
use crate::outbox::{self, Refusal, Statement};
use crate::policy::DONE;

/// Refusals of this many receipts are written down in a minute: whoever reaches the address must not
/// be able to fill the audit.
const TOLD_PER_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Receipts since the start, and refusals in the minute under way.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Tally {
    counts: super::ReceiptsView,
    minute: Duration,
    told: u32,
    left_out: u64,
    /// Receipts that may not be durable yet, and the batch of each.
    fresh: Vec<(String, Batch)>,
}

impl Engine {
    /// Takes a receipt whose signature is good.
    pub(super) fn take_statement(
        &mut self,
        now: Now,
        ticket: u64,
        (id, statement): (String, Statement),
        step: &mut Step,
    ) {
        let Some(asked) = self.memory.guards.asked(&statement.delivery_id) else {
            let asked = Some(format!("delivery_id is {}", kept(statement.delivery_id)));
            return self.refuse_statement(now, ticket, (id, Refusal::UnknownId, asked), step);
        };
        let fresh = self.receipts.fresh.iter().find(|(known, _)| *known == id);
        if let Some((_, batch)) = fresh.filter(|(_, batch)| *batch > self.durable) {
            // Said again because the disk is slow: it is taken once the disk has the first.
            return self.operators.push((*batch, ticket));
        }
        if self.memory.receipts.knows(&id) {
            return self.refuse_statement(now, ticket, (id, Refusal::Replayed, None), step);
        }
        let delivery = DeliveryId(statement.delivery_id.clone());
        let (batch, durable) = (self.batch(), self.durable);
        self.receipts.fresh.retain(|(_, batch)| *batch > durable);
        self.receipts.fresh.push((id.clone(), batch));
        let changes = self.memory.receipts.note(&id, now.wall);
        self.changes.extend(changes);
        let decision = statement.answer.decision.clone().unwrap_or_default();
        *self.receipts.counts.taken.entry(decision).or_default() += 1;
        let said = Box::new(statement.answer.clone());
        let before_it = self.facts.len();
        self.take_answer(now, &delivery, &statement.answer);
        let turn = self.outbox.as_mut().map(|outbox| outbox.taken(&delivery)).unwrap_or_default();
        self.take_turn(now, turn);
        let now_known = self.memory.guards.asked(&delivery.0).and_then(|asked| asked.result);
        let over = asked.result.clone().filter(|before| now_known.as_ref() == Some(before));
        self.facts.insert(before_it, Fact::ReceiptTaken { id, delivery, asked, said, over });
        self.operators.push((batch, ticket));
        self.view_is_old = true;
    }

    /// Says no, to whoever asked and to the audit.
    pub(super) fn refuse_statement(
        &mut self,
        now: Now,
        ticket: u64,
        (id, refusal, detail): (String, Refusal, Option<String>),
        step: &mut Step,
    ) {
        *self.receipts.counts.refused.entry(refusal.name()).or_default() += 1;
        if now.monotonic >= self.receipts.minute + MINUTE {
            (self.receipts.minute, self.receipts.told) = (now.monotonic, 0);
        }
        self.receipts.told += 1;
        match self.receipts.told <= TOLD_PER_MINUTE {
            true => {
                let left_out = std::mem::take(&mut self.receipts.left_out);
                self.facts.push(Fact::ReceiptRefused { id, refusal, detail, left_out });
            }
            false => self.receipts.left_out += 1,
        }
        step.answers.push(Answer { ticket, content: Content::Refused(refusal) });
        self.view_is_old = true;
    }

    /// Of refusals that found no room in a minute that is over, the audit learns how many there were: the
    /// next refusal may be long in coming.
    pub(super) fn tell_old_refusals(&mut self, now: Now) {
        if now.monotonic >= self.receipts.minute + MINUTE {
            self.tell_left_out();
        }
    }

    /// As much of refusals as was not told yet.
    pub(super) fn tell_left_out(&mut self) {
        match std::mem::take(&mut self.receipts.left_out) {
            0 => {}
            count => self.facts.push(Fact::ReceiptsLeftOut { count }),
        }
    }

    pub(super) fn receipts_view(&self) -> super::ReceiptsView {
        self.receipts.counts.clone()
    }

    /// What an answer says of a request that nobody watches: advice, a nudge.
    pub(super) fn settle_unwatched(&mut self, delivery: &DeliveryId, answer: &outbox::Answer) {
        let Some(asked) = self.memory.guards.asked(&delivery.0) else { return };
        let result = match (answer.decision.as_deref(), answer.outcome.as_deref()) {
            (Some("declined"), _) => "declined",
            (Some("done"), Some("failed")) => "ineffective",
            (Some("done"), _) => DONE,
            _ => return,
        };
        self.changes.extend(self.memory.guards.finish(&asked.dedup_key, result));
        self.judge_again(&asked.subject);
    }
}
