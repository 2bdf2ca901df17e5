//! What happened, as values: `telemetry` makes the log line and the counter from the same one, and
//! tests read the timeline.

use std::time::Duration;

use crate::alerts::{Doubt, ResolveReason};
use crate::base::{DeliveryId, Labels, RuleId, Timestamp};
use crate::outbox;
use crate::policy::{self, GateKey, HoldReason};

/// What a decision was made from, for the audit.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    /// Its labels with those of who owns the container it is about.
    pub whose: Labels,
    /// When the alert began.
    pub started_at: Timestamp,
    /// What is wrong, by diagnosis.
    pub cause: &'static str,
    /// The figures.
    pub evidence: outbox::Evidence,
    /// The delivery that asks, if one does.
    pub delivery: Option<DeliveryId>,
}

/// How it is that Docker does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// It did before, or nothing was said of it yet.
    First,
    /// It did not before either, for another reason.
    Otherwise,
    /// That was said.
    Again,
}

/// One thing worth telling. The set is closed.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the fields say what they are")]
pub enum Fact {
    /// A target's scrape failed; `first` if the one before had not.
    ScrapeFailed { target: String, error: String, first: bool },
    /// A target answers again.
    ScrapeRecovered { target: String },
    /// New series did not fit into the window; `first` if all had fit before.
    SeriesRefused { target: String, count: u64, first: bool },
    /// All series of a target fit into the window again.
    SeriesFit { target: String },
    /// A rule could not be evaluated; `first` if the evaluation before had not failed.
    RuleFailed { rule: RuleId, error: String, first: bool },
    /// A rule has selected no series for an hour: it cannot fire. Said once.
    RuleNeverFires { rule: RuleId },
    /// A group's slots passed without an evaluation.
    SlotsMissed { group: String, missed: u64 },
    /// An alert is pending.
    AlertPending { labels: Labels, value: f64 },
    /// An alert fires.
    AlertFiring { labels: Labels, annotations: Labels, value: f64, started_at: Timestamp },
    /// An alert has ended.
    AlertResolved { labels: Labels, started_at: Timestamp, reason: ResolveReason },
    /// An alert's inputs are missing.
    AlertUnknown { labels: Labels, started_at: Timestamp, doubt: Doubt },
    /// They are back.
    AlertKnown { labels: Labels, started_at: Timestamp },
    /// An action was decided and handed to the edge lane.
    Decided {
        labels: Labels,
        action: &'static str,
        dry_run: bool,
        subject: String,
        /// What is said with it, of advice.
        why: Option<String>,
        /// How it will be seen whether it works, of a restart.
        verification: Option<Box<outbox::Verification>>,
        judged: Box<Judged>,
    },
    /// An action was decided and held.
    Held {
        labels: Labels,
        action: &'static str,
        reason: HoldReason,
        lifted_by: String,
        judged: Box<Judged>,
    },
    /// How a restart ended.
    Outcome { request: Box<policy::Request>, outcome: &'static str, why: String },
    /// A tenant's door has failed often enough to be believed.
    GateFails { key: GateKey, previous: Option<String>, current: String },
    /// It passes again.
    GatePasses { key: GateKey, current: String },
    /// It cannot be asked, for a reason of our own.
    GateUnaskable { key: GateKey, why: String },
    /// A door shut after a change: it should be taken back.
    ChangeFailed {
        shut: Box<policy::Shut>,
        current: String,
        held: Option<HoldReason>,
        /// It was told before, and nobody took that.
        is_anew: bool,
    },
    /// That cannot be told anew, for want of room.
    ShutGateUnkept { shut: Box<policy::Shut> },
    /// The Control Plane said something about a request.
    ReceiptTaken {
        id: String,
        delivery: DeliveryId,
        asked: policy::Asked,
        said: Box<outbox::Answer>,
        /// How the request had ended, where this changes nothing any more.
        over: Option<String>,
    },
    /// More receipts were not believed, and are not told of one by one.
    ReceiptsLeftOut { count: u64 },
    /// A receipt was not believed. `left_out`: how many before it are not told of.
    ReceiptRefused { id: String, refusal: outbox::Refusal, detail: Option<String>, left_out: u64 },
    /// The host itself is the patient, or no longer.
    HostIncident { started: bool, reason: String, tenants: Vec<String> },
    /// The edge lane moved.
    Outbox(outbox::Fact),
    /// An Alertmanager instance will never take this alert as it is; once an hour for each.
    AlertRefused { instance: String, labels: Labels, reason: &'static str, why: String },
    /// An Alertmanager instance cannot be reached; `first` if it could be before.
    AlertmanagerFailed { instance: String, error: String, first: bool },
    /// It can again.
    AlertmanagerRecovered { instance: String },
    /// An alert has ended, and is shown as firing until this instance can tell that it began.
    EndHeld { labels: Labels, instance: String },
    /// A mail was sent.
    MailSent { kind: &'static str },
    /// One could not be; it is tried again. `first` if the attempt before did not fail.
    MailFailed { kind: &'static str, reason: &'static str, why: String, first: bool },
    /// The journal cannot write.
    JournalFailing { error: String },
    /// It can again.
    JournalRecovered,
    /// The audit cannot be written; `first` if it could be before.
    AuditFailing { error: String, first: bool },
    /// It can again; so many records were given up meanwhile.
    AuditRecovered { lost: u64 },
    /// Docker answers; no news if its connections break one after the other.
    DockerConnected { version: String, is_news: bool },
    /// Docker does not.
    DockerLost { error: String, loss: Loss },
    /// It does, but so many connections in a row have not lasted.
    DockerBreaks { error: String, breaks: u64 },
    /// One has lasted again, after so many.
    DockerLasts { breaks: u64 },
    /// A container's first process ended.
    ContainerEnded { name: String, id: String, reason: &'static str, exit_code: i64 },
    /// The kernel killed in a container for lack of memory; `unsaid` kills since that was said aloud, if it
    /// is to be now: a storm of them is one line a minute for each name.
    OomKilled { name: String, scope: &'static str, kills: u64, unsaid: Option<u64> },
    /// A container is started again and again, or no longer.
    CrashLoop { name: String, is_looping: bool },
    /// A document of plans or tenants was taken over; it says something new, and perhaps something
    /// that comes to nothing.
    DocumentTaken { document: &'static str, count: usize, doubt: Option<String> },
    /// One could not be read or was faulty: the one before stays; `first` of this error.
    DocumentRefused { document: &'static str, error: String, first: bool, age: Option<Duration> },
    /// It can be read again.
    DocumentRecovered { document: &'static str },
    /// A claim to a container was refused.
    ClaimRefused { container: String, why: String },
    /// The wall clock stepped.
    ClockStepped { by_ms: i64 },
    /// State was taken over from the journal.
    Recovered { alerts: usize, deliveries: usize, down_for: Duration },
    /// A row of the journal could not be read; it stays where it is.
    RowUnreadable { problem: String },
    /// A new configuration was refused.
    ReloadFailed { error: String },
    /// The configuration was taken over.
    Reloaded { groups: usize, rules: usize },
}
