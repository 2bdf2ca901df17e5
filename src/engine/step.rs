//! What the engine wants done after an event: requests, durable changes, facts, answers.

use super::fact::Fact;
use super::mail::{Mail, MailKind};
use crate::alerts::Post;
use crate::audit::Record;
use crate::base::{Batch, Change, Labels, TargetId};
use crate::outbox::{Attempt, Delivery, OperatorError, Refusal, State};
use crate::policy::Probe;
use crate::window::Detached;

/// The outcome of one event. The shell starts the requests, hands the changes to the journal, tells
/// the facts, hands the records to the audit and delivers the answers; the order among these does not matter, because an edge
/// appears among the requests only after the receipt for its commit came in.
#[derive(Debug, Default)]
pub struct Step {
    /// To start now.
    pub requests: Vec<Request>,
    /// To make durable, as one transaction, under this number.
    pub changes: Option<(Batch, Vec<Change>)>,
    /// To tell: log lines, counters, timeline.
    pub facts: Vec<Fact>,
    /// To write down for good: what of the facts belongs into the audit.
    pub records: Vec<Record>,
    /// What readers and operators asked for.
    pub answers: Vec<Answer>,
}

/// Work for the shell; every request ends in exactly one event.
#[derive(Debug)]
pub enum Request {
    /// Scrape a target.
    Scrape {
        /// Which.
        target: TargetId,
        /// Announce every series anew, in a new epoch.
        anew: bool,
    },
    /// Post alerts to an Alertmanager instance.
    Post(Post),
    /// Read an Alertmanager instance's counters.
    Tally {
        /// The name of the instance.
        instance: String,
    },
    /// Write a mail and send it.
    Mail {
        /// Given back with the outcome.
        kind: MailKind,
        /// What it says.
        mail: Mail,
    },
    /// Try a tenant's door.
    Probe(Probe),
    /// Deliver to the Control Plane; durable by now.
    Deliver(Attempt),
}

/// What somebody asked for.
#[derive(Debug)]
pub struct Answer {
    /// As given in the question.
    pub ticket: u64,
    /// The answer itself.
    pub content: Content,
}

/// What an answer holds, by what was asked.
#[derive(Clone, Debug)]
pub enum Content {
    /// To [`super::Event::Copy`] and [`super::Event::List`].
    ///
    /// `None` if they are more than the reader allowed.
    Samples(Option<Detached>),
    /// To [`super::Event::Find`].
    Found {
        /// The labels of the series that there are.
        series: Vec<Labels>,
        /// Names the query selects that are scraped but not kept.
        unkept: Vec<String>,
    },
    /// To [`super::OutboxCommand::List`].
    Outbox(Result<Vec<(State, Delivery)>, OperatorError>),
    /// To a receipt that is not taken.
    Refused(Refusal),
    /// To a receipt and to the other commands: it is done and durable, or why it was not done.
    Changed(Result<(), OperatorError>),
}
