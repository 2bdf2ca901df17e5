//! What holds an action back: modes, cool-downs, budgets, and the memory of what was done.
//!
//! The memory is durable (table `guards`, one row per subject) and written before the action is
//! sent, so a restart of the sidecar cannot repeat an action. Spans are measured on the monotonic
//! clock within a boot, so a step of the wall clock neither opens nor closes a guard; only the time
//! the process was not running is taken from the wall.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decide::Proposal;
use super::m2::Vhost;
use super::plan::Plans;
use crate::base::{Change, Labels, Now, Table, Timestamp};
use crate::outbox::{ActionKind, LastAction, WireTime};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Rows of this module in the table.
const PREFIX: &str = "actions/";

/// How far an action may go. Alerts and their events flow in every mode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Mode {
    /// Decide and record, send nothing.
    #[default]
    Observe,
    /// Send, marked `dry_run`.
    Notify,
    /// Send as a request.
    Act,
}

impl Mode {
    /// Reads the word of the configuration.
    pub fn parse(word: &str) -> Option<Mode> {
        [Mode::Observe, Mode::Notify, Mode::Act].into_iter().find(|mode| mode.name() == word)
    }

    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Notify => "notify",
            Mode::Act => "act",
        }
    }
}

/// Numbers that hold actions back. All are ours (domain.md §8) and configurable.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Between two restarts of a service.
    pub restart_cool_down: Duration,
    /// Between two nudges of a service.
    pub nudge_cool_down: Duration,
    /// Between two pieces of the same advice.
    pub advise_cool_down: Duration,
    /// Restarts of one tenant's services in 24 hours.
    pub restarts_per_tenant_day: usize,
    /// Restarts open on the host at once.
    pub restarts_at_once: usize,
    /// A container younger than this is left to start.
    pub start_grace: Duration,
    /// After this long a request must not be carried out any more.
    pub expiry: Duration,
    /// Episodes within seven days before a nudge.
    pub nudge_episodes: u64,
    /// The oldest evidence that may act, unless three scrape intervals are longer.
    pub evidence_age: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            restart_cool_down: Duration::from_secs(15 * 60),
            nudge_cool_down: 7 * DAY,
            advise_cool_down: DAY,
            restarts_per_tenant_day: 3,
            restarts_at_once: 1,
            // A worker of Gunicorn and a cold cache need some minutes (domain.md A§2.2).
            start_grace: Duration::from_secs(5 * 60),
            expiry: Duration::from_secs(15 * 60),
            nudge_episodes: 3,
            evidence_age: Duration::from_secs(120),
        }
    }
}

impl Limits {
    pub(super) fn cool_down(&self, kind: ActionKind) -> Duration {
        match kind {
            ActionKind::Restart => self.restart_cool_down,
            ActionKind::Nudge => self.nudge_cool_down,
            ActionKind::Advise | ActionKind::RollbackAdvice => self.advise_cool_down,
        }
    }

    /// How long something done can still matter.
    fn memory(&self) -> Duration {
        let spans = [self.restart_cool_down, self.nudge_cool_down, self.advise_cool_down];
        // An hour more, so that nothing is forgotten at the very moment it is asked for.
        spans.into_iter().max().unwrap_or(DAY).max(DAY).max(self.expiry) + HOUR
    }
}

/// Everything that judgement needs from configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyConfig {
    /// For every action that has no mode of its own.
    pub mode: Mode,
    /// Modes of single actions. A nudge speaks to customers, so it is `observe` until someone
    /// decides otherwise (document A §2.4: "business policy").
    pub modes: BTreeMap<ActionKind, Mode>,
    /// The catalogue.
    pub plans: Plans,
    /// Cool-downs and budgets.
    pub limits: Limits,
    /// M2's virtual hosts.
    pub vhosts: Vec<Vhost>,
    /// Memory of the machine M2 sizes itself by, where no exporter tells it.
    pub m2_memory_bytes: Option<u64>,
}

impl Default for PolicyConfig {
    fn default() -> PolicyConfig {
        PolicyConfig {
            mode: Mode::Observe,
            modes: BTreeMap::from([(ActionKind::Nudge, Mode::Observe)]),
            plans: Plans::default(),
            limits: Limits::default(),
            vhosts: Vec::new(),
            m2_memory_bytes: None,
        }
    }
}

impl PolicyConfig {
    /// The mode of an action.
    pub fn mode_of(&self, kind: ActionKind) -> Mode {
        self.modes.get(&kind).copied().unwrap_or(self.mode)
    }

    /// Everything configuration contributes to the window, so that rules can join on it.
    pub fn series(&self, host: &str) -> Vec<(Labels, f64)> {
        let vhosts = self.vhosts.iter().flat_map(|vhost| vhost.series(host));
        let memory = self
            .m2_memory_bytes
            .map(|bytes| super::series("plimsoll_m2_memory_bytes", [("host", host)], bytes as f64));
        self.plans.series().into_iter().chain(vhosts).chain(memory).collect()
    }
}

/// Why an action was held. The name is the same in logs, metrics and the API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HoldReason {
    /// The rule asks for none.
    NoneAsked,
    /// The alert cannot be judged at the moment.
    AlertUnknown,
    /// The newest sample is too old.
    StaleEvidence,
    /// A figure the decision rests on is missing.
    MissingEvidence,
    /// Nobody owns it, or many do.
    NotAttributable,
    /// Databases, Redis, M2, shared and unknown containers are never restarted.
    RoleForbids,
    /// It has only just started.
    StartGrace,
    /// Asked for already in this episode.
    AlreadyAsked,
    /// The last one was too recent.
    CoolDown,
    /// The tenant had its share of restarts today.
    TenantBudget,
    /// Another restart is under way on this host.
    HostBusy,
    /// The host itself is short of memory: the tenant is not to blame.
    HostPressure,
    /// Health checks fail already; a restart would hide why.
    GatesFailing,
    /// Not often enough yet.
    TooFewEpisodes,
    /// What the tenant needs does not fit the next plan either.
    NextPlanTooSmall,
    /// Decided and recorded, but the mode is `observe`.
    Observe,
}

impl HoldReason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [HoldReason; 16] = [
        HoldReason::NoneAsked,
        HoldReason::AlertUnknown,
        HoldReason::StaleEvidence,
        HoldReason::MissingEvidence,
        HoldReason::NotAttributable,
        HoldReason::RoleForbids,
        HoldReason::StartGrace,
        HoldReason::AlreadyAsked,
        HoldReason::CoolDown,
        HoldReason::TenantBudget,
        HoldReason::HostBusy,
        HoldReason::HostPressure,
        HoldReason::GatesFailing,
        HoldReason::TooFewEpisodes,
        HoldReason::NextPlanTooSmall,
        HoldReason::Observe,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            HoldReason::NoneAsked => "none_asked",
            HoldReason::AlertUnknown => "alert_unknown",
            HoldReason::StaleEvidence => "stale_evidence",
            HoldReason::MissingEvidence => "missing_evidence",
            HoldReason::NotAttributable => "not_attributable",
            HoldReason::RoleForbids => "role_forbids",
            HoldReason::StartGrace => "start_grace",
            HoldReason::AlreadyAsked => "already_asked",
            HoldReason::CoolDown => "cool_down",
            HoldReason::TenantBudget => "tenant_budget",
            HoldReason::HostBusy => "host_busy",
            HoldReason::HostPressure => "host_pressure",
            HoldReason::GatesFailing => "gates_failing",
            HoldReason::TooFewEpisodes => "too_few_episodes",
            HoldReason::NextPlanTooSmall => "next_plan_too_small",
            HoldReason::Observe => "observe",
        }
    }
}

/// One action on one subject. A row of the journal is a list of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Done {
    kind: ActionKind,
    tenant: String,
    dedup_key: String,
    at: Timestamp,
    /// Milliseconds on this boot's monotonic clock; negative if it was before the boot.
    #[serde(skip)]
    monotonic_ms: i64,
    /// No outcome is known yet.
    open: bool,
    result: Option<String>,
}

impl Done {
    fn age(&self, now: Now) -> Duration {
        let age = monotonic_ms(now).saturating_sub(self.monotonic_ms);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }
}

/// What was done lately on this host.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Guards {
    subjects: BTreeMap<String, Vec<Done>>,
}

/// What was done before, as one decision needs it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    /// Time since the last action of each kind on the subject.
    pub since: BTreeMap<ActionKind, Duration>,
    /// Keys of the episodes in which something was asked.
    pub asked: Vec<String>,
    /// The last action of any kind.
    pub last: Option<LastAction>,
    /// Restarts of the tenant's services in 24 hours; services without tenant share one count.
    pub tenant_restarts_day: usize,
    /// Restarts on this host without a known outcome.
    pub restarts_open: usize,
}

impl Guards {
    /// The memory as its rows (table [`Table::Guards`]; others are skipped) tell it, and which could
    /// not be read.
    pub fn recover(rows: impl IntoIterator<Item = Change>, now: Now) -> (Guards, Vec<String>) {
        let mut guards = Guards::default();
        let mut problems = Vec::new();
        for Change { table, key, value } in rows {
            let (Table::Guards, Some(value)) = (table, value) else { continue };
            let Some(subject) = key.strip_prefix(PREFIX) else { continue };
            match serde_json::from_slice::<Vec<Done>>(&value) {
                Ok(mut actions) => {
                    for done in &mut actions {
                        let ago = millis(now.wall.since(done.at));
                        done.monotonic_ms = monotonic_ms(now).saturating_sub(ago);
                    }
                    guards.subjects.insert(subject.to_owned(), actions);
                }
                Err(error) => problems.push(format!("row {key} of table guards: {error}")),
            }
        }
        (guards, problems)
    }

    /// What is remembered about a subject ([`super::Incident::subject`]) and its tenant (`""` if
    /// none).
    pub fn history(&self, subject: &str, tenant: &str, now: Now, limits: &Limits) -> History {
        let restarts =
            || self.subjects.values().flatten().filter(|done| done.kind == ActionKind::Restart);
        History {
            tenant_restarts_day: restarts()
                .filter(|done| done.tenant == tenant && done.age(now) < DAY)
                .count(),
            // A request that expired is carried out by nobody, whatever became of its answer.
            restarts_open: restarts()
                .filter(|done| done.open && done.age(now) < limits.expiry)
                .count(),
            ..self.own_history(subject, now)
        }
    }

    /// What is remembered about a subject alone, without the restarts of the host: enough to judge
    /// what is no restart.
    pub fn own_history(&self, subject: &str, now: Now) -> History {
        let own = self.subjects.get(subject).map_or(&[][..], Vec::as_slice);
        let mut since = BTreeMap::new();
        for done in own {
            let age = done.age(now);
            let shortest = since.entry(done.kind).or_insert(age);
            *shortest = age.min(*shortest);
        }
        let last = own.last().map(|done| LastAction {
            kind: done.kind,
            at: WireTime(done.at),
            result: done.result.clone(),
        });
        History {
            since,
            asked: own.iter().map(|done| done.dedup_key.clone()).collect(),
            last,
            ..History::default()
        }
    }

    /// Remembers an action that was decided, also in `observe`: a dry mode shows the pace of the
    /// real one. The row belongs to the same batch as the delivery.
    pub fn record(&mut self, proposal: &Proposal, now: Now, limits: &Limits) -> Change {
        let actions = self.subjects.entry(proposal.subject.clone()).or_default();
        actions.retain(|done| done.age(now) < limits.memory());
        actions.push(Done {
            kind: proposal.action.kind,
            tenant: proposal.tenant.clone(),
            dedup_key: proposal.action.dedup_key.clone(),
            at: now.wall,
            monotonic_ms: monotonic_ms(now),
            open: true,
            result: None,
        });
        row(&proposal.subject, actions)
    }

    /// The action is over (`declined`, `expired`, `effective`, `ineffective`, `relapsed` …): the host
    /// is free for the next one. `None` if it is not remembered.
    pub fn finish(&mut self, dedup_key: &str, result: &str) -> Option<Change> {
        for (subject, actions) in &mut self.subjects {
            if let Some(done) = actions.iter_mut().find(|done| done.dedup_key == dedup_key) {
                done.open = false;
                done.result = Some(result.to_owned());
                return Some(row(subject, actions));
            }
        }
        None
    }

    /// Forgets what can no longer matter; call it now and then.
    pub fn prune(&mut self, now: Now, limits: &Limits) -> Vec<Change> {
        let gone = |actions: &Vec<Done>| actions.iter().all(|d| d.age(now) >= limits.memory());
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.subjects).into_iter().partition(|(_, actions)| gone(actions));
        self.subjects = kept;
        let removal = |subject: &String| Change {
            table: Table::Guards,
            key: format!("{PREFIX}{subject}"),
            value: None,
        };
        gone.keys().map(removal).collect()
    }
}

fn row(subject: &str, actions: &[Done]) -> Change {
    let value = serde_json::to_vec(actions).expect("plain words and numbers always write");
    Change { table: Table::Guards, key: format!("{PREFIX}{subject}"), value: Some(value) }
}

fn monotonic_ms(now: Now) -> i64 {
    millis(now.monotonic)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
