//! What configuration says to judgement: modes, numbers, plans, M2's virtual hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::calendar::Calendar;
use super::diagnose::Thresholds;
use super::fit::FitConfig;
use super::gates::Gate;
use super::interlock::InterlockConfig;
use super::m2::{M2Counting, M2Setting, Vhost};
use super::plan::Plans;
use super::tenant::Tenancy;
use super::verify::VerifyConfig;
use crate::base::{Labels, Timestamp};
use crate::outbox::{ActionKind, ActionMode};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The steps of the resource plan, in its order.
pub const STAGES: [&str; 6] =
    ["redis", "gunicorn", "docker_limits", "cdn", "mariadb", "edge_cache"];

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

    /// How far an action goes that is asked for so; one that is only observed is not asked for.
    pub fn of(sent: Option<ActionMode>) -> Mode {
        match sent {
            None => Mode::Observe,
            Some(ActionMode::DryRun) => Mode::Notify,
            Some(ActionMode::Request) => Mode::Act,
        }
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

/// Numbers that hold actions back. All are our choice, not measured, and configurable.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Between two restarts of a service.
    pub restart_cool_down: Duration,
    /// Between two nudges of a tenant, whichever of its services they are about.
    pub nudge_cool_down: Duration,
    /// Between two pieces of the same advice.
    pub advise_cool_down: Duration,
    /// Restarts of one tenant's services in 24 hours.
    pub restarts_per_tenant_day: usize,
    /// Restarts on this host in an hour.
    pub restarts_per_host_hour: usize,
    /// So many restarts of a service without effect, one after the other, and the next rung is taken.
    pub restarts_without_effect: usize,
    /// Restarts open on the host at once.
    pub restarts_at_once: usize,
    /// A container younger than this is left to start.
    pub start_grace: Duration,
    /// A container that was deployed or changed less long ago is left alone.
    pub after_change: Duration,
    /// After this long a request must not be carried out any more.
    pub expiry: Duration,
    /// Below this memory limit a plan is raised before its tenants are asked to pay more (document
    /// A §4.4: recommended minimum for Free).
    pub plan_floor_bytes: u64,
    /// Episodes before a nudge …
    pub nudge_episodes: u64,
    /// … within this time; for as long a leak and a bad image are remembered.
    pub episodes_within: Duration,
    /// The oldest evidence that may act, unless three scrape intervals are longer.
    pub evidence_age: Duration,
    /// Where workers start anew by themselves more often than this, a restart waits one turn.
    pub recycle_within: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            restart_cool_down: Duration::from_secs(15 * 60),
            nudge_cool_down: 7 * DAY,
            advise_cool_down: DAY,
            restarts_per_tenant_day: 3,
            restarts_per_host_hour: 6,
            restarts_without_effect: 2,
            restarts_at_once: 1,
            // A worker of Gunicorn and a cold cache need some minutes.
            start_grace: Duration::from_secs(5 * 60),
            after_change: Duration::from_secs(10 * 60),
            expiry: Duration::from_secs(15 * 60),
            plan_floor_bytes: 1 << 30,
            nudge_episodes: 3,
            episodes_within: 7 * DAY,
            evidence_age: Duration::from_secs(120),
            recycle_within: Duration::from_secs(15 * 60),
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

    /// How long something done can still matter, and so for how long it is remembered at least.
    pub fn memory(&self) -> Duration {
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
    /// From where on something ails a container.
    pub thresholds: Thresholds,
    /// When demand fits a plan.
    pub fitting: FitConfig,
    /// To whom the containers of this host belong.
    pub tenancy: Tenancy,
    /// When the host itself counts as ill.
    pub interlock: InterlockConfig,
    /// How long the effect of a restart is watched.
    pub verify: VerifyConfig,
    /// Whether the catalogue is to be replaced by a document.
    pub plans_expected: bool,
    /// Actions a tenant agrees to that does not say otherwise; `None` for all.
    pub opt_in: Option<BTreeSet<ActionKind>>,
    /// Maintenance and quiet hours.
    pub calendar: Calendar,
    /// Doors of tenants that are tried.
    pub gates: Vec<Gate>,
    /// M2's virtual hosts.
    pub vhosts: Vec<Vhost>,
    /// How their documents are counted.
    pub m2_counting: M2Counting,
    /// What M2's `setting.json` says, once it was read.
    pub m2_setting: Option<M2Setting>,
    /// Whether it is to be read.
    pub m2_setting_expected: bool,
    /// Memory of the machine M2 sizes itself by, where no exporter tells it.
    pub m2_memory_bytes: Option<u64>,
    /// Which of [`STAGES`] are applied, if anybody says.
    pub stages: Option<BTreeSet<&'static str>>,
}

impl Default for PolicyConfig {
    fn default() -> PolicyConfig {
        PolicyConfig {
            mode: Mode::Observe,
            modes: BTreeMap::from([(ActionKind::Nudge, Mode::Observe)]),
            plans: Plans::default(),
            limits: Limits::default(),
            thresholds: Thresholds::default(),
            fitting: FitConfig::default(),
            tenancy: Tenancy::default(),
            interlock: InterlockConfig::default(),
            verify: VerifyConfig::default(),
            plans_expected: false,
            opt_in: None,
            calendar: Calendar::default(),
            gates: Vec::new(),
            vhosts: Vec::new(),
            m2_counting: M2Counting::default(),
            m2_setting: None,
            m2_setting_expected: false,
            m2_memory_bytes: None,
            stages: None,
        }
    }
}

impl PolicyConfig {
    /// The mode of an action.
    pub fn mode_of(&self, kind: ActionKind) -> Mode {
        self.modes.get(&kind).copied().unwrap_or(self.mode)
    }

    /// What is known of a virtual host, by name: configured, or as `setting.json` has them all.
    pub fn vhost(&self, name: &str) -> Vhost {
        let new = || Vhost { name: name.to_owned(), ..Vhost::default() };
        let found = self.vhosts.iter().find(|vhost| vhost.name == name);
        self.known(&found.cloned().unwrap_or_else(new))
    }

    fn known(&self, vhost: &Vhost) -> Vhost {
        self.m2_setting.as_ref().map_or_else(|| vhost.clone(), |setting| vhost.under(setting))
    }

    /// Everything configuration contributes to the window, so that rules can join on it.
    pub fn series(&self, host: &str, now: Timestamp) -> Vec<(Labels, f64)> {
        let vhosts =
            self.vhosts.iter().flat_map(|vhost| self.known(vhost).series(host, &self.m2_counting));
        let hidden = self.m2_setting.iter().flat_map(|setting| setting.series(host));
        let memory = self
            .m2_memory_bytes
            .map(|bytes| super::series("plimsoll_m2_memory_bytes", [("host", host)], bytes as f64));
        let calendar = self.calendar.series(host, now);
        let class = [("host", host), ("node_class", self.tenancy.node_class())];
        let stages = self.stages.iter().flat_map(|applied| {
            STAGES.map(|stage| {
                let is_applied = if applied.contains(stage) { 1.0 } else { 0.0 };
                super::series("plimsoll_stage_applied", [("stage", stage)], is_applied)
            })
        });
        self.plans
            .series()
            .into_iter()
            .chain([super::series("plimsoll_host_node_class", class, 1.0)])
            .chain(calendar)
            .chain(vhosts)
            .chain(hidden)
            .chain(memory)
            .chain(stages)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_gives_series() {
        let vhost = Vhost { name: "v".to_owned(), fixed_count: Some(1), ..Vhost::default() };
        let config = PolicyConfig { vhosts: vec![vhost], ..PolicyConfig::default() };
        assert_eq!(
            config.series("web-7", Timestamp(0)).len(),
            12,
            "three per plan, two of the vhost, the host's class"
        );
    }

    #[test]
    fn stages_are_applied_or_not_once_anybody_says() {
        let told = |stages: Option<&[&'static str]>| {
            let stages = stages.map(|stages| stages.iter().copied().collect());
            let config = PolicyConfig { stages, ..PolicyConfig::default() };
            let series = config.series("web-7", Timestamp(0)).into_iter();
            let found = series.filter_map(|(labels, value)| {
                let is_stage = labels.get("__name__") == Some("plimsoll_stage_applied");
                is_stage.then(|| (labels.get("stage").unwrap_or_default().to_owned(), value))
            });
            found.collect::<BTreeMap<_, _>>()
        };
        assert!(told(None).is_empty(), "as if all were applied");
        let found = told(Some(&["redis"]));
        assert_eq!(found.len(), STAGES.len());
        assert_eq!((found["redis"], found["docker_limits"]), (1.0, 0.0));
    }
}
