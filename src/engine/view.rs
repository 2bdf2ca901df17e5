//! What readers of the running engine see: alerts, rules, targets and counters, never samples.
//!
//! A view is an immutable copy made after each round, so that a slow reader of the API holds no
//! part of the engine. Samples are not in it: a query asks for a copy of just what it selects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::docker::DockerState;
use super::fits::Compared;
use super::mail::MailView;
use super::quality::Quality;
use super::recent::Evaluation;
use crate::alerts::Alert;
use crate::audit;
use crate::base::{Labels, Timestamp};
use crate::containers::{Container, Counts, Death};
use crate::exposition::Metadata;
use crate::policy::{GateKey, Plans, Reading, Tenant, Thresholds};
use crate::promql::Features;

/// The engine at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether every target has answered or timed out since the start.
    pub ready: bool,
    /// Rule groups, in the order of their files.
    pub groups: Vec<Arc<GroupView>>,
    /// Scrape targets, in the order of configuration.
    pub targets: Vec<Arc<TargetView>>,
    /// Targets that relabelling dropped.
    pub dropped_targets: Vec<Labels>,
    /// Alertmanager instances.
    pub alertmanagers: Vec<AlertmanagerView>,
    /// Containers, by name; empty without Docker.
    pub containers: Vec<Arc<ContainerView>>,
    /// How Docker is heard; `None` if nobody asks it.
    pub docker: Option<DockerState>,
    /// The edge lane.
    pub outbox: OutboxView,
    /// The durable journal.
    pub journal: JournalView,
    /// Receipts since the start.
    pub receipts: ReceiptsView,
    /// How the audit fares.
    pub audit: audit::State,
    /// How the flight recorder fares, if there is one.
    pub recorder: Option<RecorderState>,
    /// Documents of plans and tenants, those that are read from outside.
    pub documents: Vec<DocumentView>,
    /// How mail fares, if any is to be sent.
    pub mail: Option<MailView>,
    /// Doors of tenants that were tried.
    pub gates: Vec<GateView>,
    /// Doors that cannot be, for a reason of our own, or that found no room.
    pub gates_unasked: usize,
    /// Who is who.
    pub owners: Arc<OwnersView>,
    /// How demand lies to the plans, by service.
    pub fits: Arc<BTreeMap<String, Compared>>,
    /// Why the last reload failed, if it did.
    pub reload_error: Option<String>,
    /// What queries and rules may use beyond the stable language.
    pub promql: Features,
    /// `global.evaluation_interval`: the step of subqueries that name none.
    pub default_step: Duration,
    /// What has been counted since the start.
    pub counters: Counters,
    /// Scrapes that failed since the start, by reason.
    pub scrape_failures: BTreeMap<&'static str, u64>,
    /// Series in the window.
    pub window_series: usize,
    /// Bytes in the window.
    pub window_bytes: usize,
}

/// Receipts of the Control Plane since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiptsView {
    /// Those taken, by what they say.
    pub taken: BTreeMap<String, u64>,
    /// Those refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// A document of plans or tenants.
#[derive(Clone, Debug)]
pub struct DocumentView {
    /// `plans` or `tenants`.
    pub name: &'static str,
    /// How long ago what we have was what its source says; `None` if it was never read.
    pub age: Option<Duration>,
    /// Why it could not be read the last time.
    pub error: Option<String>,
    /// How often it could not since the start.
    pub failures: u64,
}

/// A door of a tenant.
#[derive(Clone, Debug)]
pub struct GateView {
    /// Which.
    pub key: GateKey,
    /// What is known of it.
    pub reading: Reading,
}

/// Plans, tenants, and claims that were refused.
#[derive(Clone, Debug, Default)]
pub struct OwnersView {
    /// The catalogue in force.
    pub plans: Plans,
    /// From where on a limit is near.
    pub thresholds: Thresholds,
    /// What is known of tenants.
    pub tenants: BTreeMap<String, Tenant>,
    /// The same as series.
    pub series: Vec<(Labels, f64)>,
    /// Why a claim to a container was refused, by its name.
    pub refused: BTreeMap<String, String>,
}

/// A rule group and how its last evaluation went.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// Its `limit`; 0 is none.
    pub limit: usize,
    /// The slot of its last evaluation.
    pub last_evaluation: Option<Timestamp>,
    /// How long that took.
    pub evaluation_time: Duration,
    /// Slots that passed without an evaluation.
    pub missed: u64,
    /// Evaluations of its rules since the start.
    pub evaluations: u64,
    /// Those that failed.
    pub failures: u64,
    /// Its rules.
    pub rules: Vec<RuleView>,
}

/// How a rule is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// The last evaluation (or scrape) succeeded.
    Good,
    /// It failed.
    Bad,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// The record's or alert's name.
    pub name: String,
    /// The expression, in canonical form.
    pub query: String,
    /// The labels it sets.
    pub labels: Vec<(String, String)>,
    /// How its last evaluation went.
    pub health: Health,
    /// Why it failed.
    pub last_error: Option<String>,
    /// The slot of its last evaluation.
    pub last_evaluation: Option<Timestamp>,
    /// How long that took.
    pub evaluation_time: Duration,
    /// Series it selected in that evaluation.
    pub series_fetched: usize,
    /// Whether it has selected no series for an hour, so that it cannot fire.
    pub never_fires: bool,
    /// Its last evaluations, oldest first.
    pub recent: Vec<Arc<Evaluation>>,
    /// For an alerting rule, what it has beyond a recording rule.
    pub alerting: Option<AlertingView>,
}

/// The alerting half of a rule.
#[derive(Clone, Debug)]
pub struct AlertingView {
    /// `for`
    pub hold: Duration,
    /// `keep_firing_for`
    pub keep_firing: Duration,
    /// Annotation templates as written.
    pub annotations: Vec<(String, String)>,
    /// Its alerts, resolved ones included.
    pub alerts: Vec<Alert>,
}

/// One scrape target.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// The job.
    pub job: String,
    /// Where it is scraped, without secrets.
    pub url: String,
    /// The labels it was found with.
    pub discovered: Labels,
    /// The labels its series carry.
    pub labels: Labels,
    /// How often it is scraped.
    pub interval: Duration,
    /// How long one scrape may take.
    pub timeout: Duration,
    /// How its last scrape went.
    pub health: Health,
    /// Why it failed.
    pub last_error: Option<String>,
    /// When it was scraped last.
    pub last_scrape: Option<Timestamp>,
    /// The slot since which every scrape has failed.
    pub failing_since: Option<Timestamp>,
    /// How good what it sends is.
    pub quality: Quality,
    /// How long its last scrape took.
    pub last_scrape_duration: Duration,
    /// Samples in the last successful scrape.
    pub samples: u64,
    /// What its kept families say about themselves, by family.
    pub metadata: Arc<BTreeMap<String, Metadata>>,
}

impl TargetView {
    /// `job/instance`, as it is called where an alert is unknown because of it.
    pub fn name(&self) -> String {
        target_name(&self.labels)
    }
}

/// `job/instance`, for people.
pub(super) fn target_name(labels: &Labels) -> String {
    let of = |label| labels.get(label).unwrap_or("");
    format!("{}/{}", of("job"), of("instance"))
}

/// One container.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// As Docker describes it.
    pub container: Arc<Container>,
    /// The name its series, counts and history go by: the one it was first known by.
    pub known_as: String,
    /// Whose it is, if that is known.
    pub tenant: Option<String>,
    /// The service it is an incarnation of.
    pub service: Option<String>,
    /// What it does, how it ended, or `crash_loop`.
    pub state: &'static str,
    /// Ends of its first process since we watch, in the order of [`crate::containers::End::ALL`].
    pub ends: [u64; 6],
    /// How it ended last, since we watch.
    pub last_end: Option<Death>,
    /// Its OOM kills.
    pub oom: Counts,
}

/// One Alertmanager instance.
#[derive(Clone, Debug)]
pub struct AlertmanagerView {
    /// Its address, without secrets.
    pub url: String,
    /// Why it cannot be reached, if it cannot.
    pub trouble: Option<String>,
    /// Alerts it refused for good, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

/// The edge lane.
#[derive(Clone, Debug, Default)]
pub struct OutboxView {
    /// Deliveries waiting.
    pub waiting: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Age of the oldest.
    pub oldest: Duration,
    /// Deliveries given up and kept.
    pub dead: usize,
    /// Why the Control Plane is not being tried, if it is not.
    pub paused: Option<String>,
    /// Deliveries it has accepted since the start.
    pub accepted: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Deliveries given up since the start.
    pub given_up: u64,
}

/// The durable journal.
#[derive(Clone, Debug, Default)]
pub struct JournalView {
    /// Batches handed over and not yet committed.
    pub uncommitted: u64,
    /// Why the last commit failed, while it fails.
    pub failing: Option<String>,
}

/// What discovery could not use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flaws {
    /// Targets that are not scraped now, because an address or a label of theirs is wrong.
    pub unusable_targets: u64,
    /// How often a target file could not be read, since the start.
    pub unreadable_files: u64,
}

/// What has been counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Scrapes that succeeded.
    pub scrapes: u64,
    /// Scrapes skipped because the last one of that target had not ended.
    pub scrapes_skipped: u64,
    /// Bytes of successful scrapes.
    pub scraped_bytes: u64,
    /// Samples taken into the window.
    pub samples: u64,
    /// Samples older than the newest of their series.
    pub samples_out_of_order: u64,
    /// Samples with a time too far ahead.
    pub samples_in_future: u64,
    /// Samples dropped because their series stood on the page before.
    pub samples_duplicate: u64,
    /// What is wrong with targets and with the files that name them.
    pub flaws: Flaws,
    /// New series refused by a cap of the window.
    pub series_refused: u64,
    /// Rule evaluations.
    pub evaluations: u64,
    /// Rule evaluations that failed.
    pub evaluation_failures: u64,
    /// Group slots that passed without an evaluation.
    pub slots_missed: u64,
    /// Steps of the wall clock.
    pub clock_steps: u64,
    /// Commits that failed.
    pub journal_failures: u64,
    /// Rows of the journal that could not be read at the start.
    pub rows_unreadable: u64,
    /// Alerts that began to fire.
    pub alerts_fired: u64,
    /// Alerts that ended.
    pub alerts_resolved: u64,
    /// Alerts that became unknown.
    pub alerts_unknown: u64,
    /// Lines of Docker's events that could not be read.
    pub docker_lines_unread: u64,
    /// Posts Alertmanager accepted.
    pub posts_accepted: u64,
    /// Posts that failed.
    pub posts_failed: u64,
    /// Actions decided and sent.
    pub actions_sent: u64,
    /// Actions decided and held.
    pub actions_held: u64,
    /// Gates that failed after a change and cannot be told anew, for want of room.
    pub shut_gates_unkept: u64,
}

/// How the flight recorder fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecorderState {
    /// Scrapes taken in since the start.
    pub scrapes: u64,
    /// Scrapes that could not be kept: no room in the queue, or none on the disk.
    pub lost: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why the last write failed.
    pub failing: Option<String>,
}
