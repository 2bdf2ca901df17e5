//! An operator's hand on the outbox of a running plimsoll.
//!
//! What was done is answered only after the journal's receipt for it: an operator who reads "dropped"
//! must not find the delivery again after a power cut. It stands in memory at once, so nothing is
//! sent meanwhile that was dropped.

use super::{Answer, Content, Engine, OutboxCommand, Step};
use crate::base::{Batch, Now};
use crate::outbox::{Delivery, OperatorError};

impl Engine {
    /// Does what was asked, and answers if there is nothing to wait for.
    pub(super) fn take_command(
        &mut self,
        now: Now,
        ticket: u64,
        command: &OutboxCommand,
        step: &mut Step,
    ) {
        let content = match command {
            OutboxCommand::List => {
                let outbox = self.outbox.as_ref().ok_or(OperatorError::Off);
                let held = |(state, delivery): (_, &Delivery)| (state, delivery.clone());
                Content::Outbox(outbox.map(|outbox| outbox.list().map(held).collect()))
            }
            change => match self.change_outbox(now, change) {
                Ok(Some(batch)) => return self.operators.push((batch, ticket)),
                Ok(None) => Content::Changed(Ok(())),
                Err(error) => Content::Changed(Err(error)),
            },
        };
        step.answers.push(Answer { ticket, content });
    }

    /// Gives the batch that makes the change durable, if the journal has to know of it.
    fn change_outbox(
        &mut self,
        now: Now,
        command: &OutboxCommand,
    ) -> Result<Option<Batch>, OperatorError> {
        let batch = self.batch();
        let outbox = self.outbox.as_mut().ok_or(OperatorError::Off)?;
        let turn = match command {
            OutboxCommand::List => return Ok(None),
            OutboxCommand::Retry(id) => outbox.retry(id, now, batch)?,
            OutboxCommand::Drop(id) => outbox.drop_delivery(id)?,
        };
        let is_durable = turn.changes.is_empty();
        self.take_turn(now, turn);
        Ok((!is_durable).then_some(batch))
    }

    /// Answers those whose change has become durable.
    pub(super) fn answer_operators(&mut self, step: &mut Step) {
        let durable = self.durable;
        let answered = self.operators.extract_if(.., |(batch, _)| *batch <= durable);
        step.answers.extend(
            answered.map(|(_, ticket)| Answer { ticket, content: Content::Changed(Ok(())) }),
        );
    }
}
