//! Everything that can happen to the engine. The set is closed: whoever reads it knows every cause
//! of work.

use std::collections::BTreeSet;
use std::time::Duration;

use super::mail::{MailFailure, MailKind};
use super::owners::Told;
use super::setup::Setup;
use super::view::{Flaws, RecorderState};
use crate::alerts::{PostId, Refused, Tally, Verdict};
use crate::audit;
use crate::base::{DeliveryId, Labels, Receipt, TargetId};
use crate::containers::Report;
use crate::exposition::Batch;
use crate::outbox::{Refusal, Reply, Statement};
use crate::policy::{GateKey, M2Setting, Miss, Page, Plans, Tenants};
use crate::window::Span;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// Time has passed; the engine asked to be woken.
    Tick,
    /// A scrape has ended, one way or the other.
    Scraped(Scraped),
    /// The set of targets is this from now on (start, reload, service discovery).
    Targets {
        /// Every target that is to be scraped.
        active: Vec<TargetInfo>,
        /// The discovered labels of targets that relabelling dropped.
        dropped: Vec<Labels>,
        /// What could not be used.
        flaws: Flaws,
    },
    /// An Alertmanager instance has answered a post, or has not.
    Posted {
        /// Which post.
        post: PostId,
        /// How it ended.
        verdict: Verdict,
        /// The instance's counters, if they were wanted and could be read.
        tally: Option<Tally>,
        /// Alerts of the post that the instance will never take.
        refused: Vec<Refused>,
    },
    /// An instance's counters were asked for; `None` if they could not be read.
    TallyRead {
        /// The name of the instance.
        instance: String,
        /// What it has tried and delivered.
        tally: Option<Tally>,
    },
    /// An instance's routes have been read: hold late incidents this long.
    HoldRead {
        /// The name of the instance.
        instance: String,
        /// 1.2 × max(group_wait, group_interval) over its routes.
        hold: Duration,
    },
    /// The Control Plane has answered a delivery, or has not.
    Delivered(Reply),
    /// A mail was sent, or was not.
    Mailed {
        /// Which.
        kind: MailKind,
        /// How it ended.
        result: Result<(), MailFailure>,
    },
    /// A door of a tenant was tried.
    Probed {
        /// Which.
        key: GateKey,
        /// As in the question.
        number: u64,
        /// What came back.
        answer: Result<Page, Miss>,
    },
    /// Docker has told something.
    Docker(Report),
    /// Changes up to this batch are durable.
    Committed(Receipt),
    /// The Control Plane says something about a request, and its signature is good.
    Statement {
        /// Given back with the answer.
        ticket: u64,
        /// The receipt's own id.
        id: String,
        /// What it says.
        statement: Statement,
    },
    /// Somebody sent a receipt that is not to be believed.
    StatementRefused {
        /// Given back with the answer.
        ticket: u64,
        /// The id it gave itself.
        id: String,
        /// Why.
        refusal: Refusal,
        /// More of that: how far its clock is off, what is missing.
        detail: Option<String>,
    },
    /// The audit is written this far, or cannot be.
    Audited(audit::State),
    /// The flight recorder has written, or could not; `None` once there is none.
    Recorded(Option<RecorderState>),
    /// The journal cannot write; it goes on trying.
    JournalFailing(String),
    /// A reader asks for the labels of series, to see which of them a query selects.
    Find {
        /// Given back with the answer.
        ticket: u64,
        /// The metrics that the query names.
        names: BTreeSet<String>,
        /// It also selects series whose metric it does not name: every series may be one.
        every: bool,
    },
    /// A reader asks for the samples a query needs.
    Copy {
        /// Given back with the answer.
        ticket: u64,
        /// The series that the query selects, each once.
        wanted: Vec<(Labels, Span)>,
        /// More samples than this is an error.
        max_samples: usize,
    },
    /// A reader asks which series there are: the answer holds the newest sample of each.
    List {
        /// Given back with the answer.
        ticket: u64,
        /// Series with a sample within the span.
        wanted: Vec<(Labels, Span)>,
        /// More series than this is an error.
        max_series: usize,
    },
    /// The configuration is this from now on.
    Reload {
        /// All of it.
        setup: Box<Setup>,
        /// What the files say that it names: no decision is made by the one without the other.
        switches: Switches,
    },
    /// A new configuration was refused; the old one stays.
    ReloadFailed(String),
    /// What an operator or the Control Plane has switched is this from now on.
    Switches(Switches),
    /// The plan catalogue was asked for, where it is not in the configuration.
    Plans(Told<Plans>),
    /// The list of tenants was asked for.
    Tenants(Told<Tenants>),
    /// M2's `setting.json` was looked at.
    M2Setting(Told<M2Setting>),
    /// An operator looks at the outbox or works on it (`plimsoll outbox list|retry|drop`).
    Outbox {
        /// Given back with the answer, which comes once what was done is durable.
        ticket: u64,
        /// What is wanted.
        command: OutboxCommand,
    },
}

/// What holds actions from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Switches {
    /// The kill-switch file is there: no action of any kind.
    pub kill: bool,
    /// Services with a backup or a migration under way.
    pub busy: BTreeSet<String>,
    /// Their list is there and could not be read so far: any service may be one.
    pub any_busy: bool,
}

impl Switches {
    /// Whatever either holds is held.
    pub fn add(&mut self, other: Switches) {
        self.kill |= other.kill;
        self.busy.extend(other.busy);
        self.any_busy |= other.any_busy;
    }
}

/// An operator's command to the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutboxCommand {
    /// Tell what waits and what was given up.
    List,
    /// Take a dead delivery back, or try a waiting one at once.
    Retry(DeliveryId),
    /// Give a delivery up for good.
    Drop(DeliveryId),
}

/// How a scrape ended.
#[derive(Debug)]
pub struct Scraped {
    /// Of which target.
    pub target: TargetId,
    /// From sending the request to the end of the body.
    pub duration: Duration,
    /// What it yielded, or why it failed.
    pub result: Result<Batch, ScrapeFailure>,
}

/// Why a scrape failed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrapeFailure {
    /// What to count it under: the label `reason` of `plimsoll_scrape_failures_total`.
    pub reason: &'static str,
    /// What to show: one line that names the line or setting at fault.
    pub message: String,
    /// How far the page was read (`scrape_samples_scraped`).
    pub samples_scraped: u64,
    /// Of these, samples that relabelling kept (`scrape_samples_post_metric_relabeling`).
    pub samples_post_relabel: u64,
}

/// What the engine knows about a target.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetInfo {
    /// Its id: the same for the same target over reloads.
    pub id: TargetId,
    /// The labels its series carry (`job`, `instance`, …).
    pub labels: Labels,
    /// The labels it was found with, before relabelling.
    pub discovered: Labels,
    /// Where it is scraped, without secrets.
    pub url: String,
    /// How often.
    pub interval: Duration,
    /// How long one scrape may take.
    pub timeout: Duration,
}
