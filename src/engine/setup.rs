//! What a configuration comes to for the engine: everything read, checked and compiled.

use std::time::Duration;

use super::containers::{Containers, OOM_COUNTER, OOM_TOTAL, START_TIME};
use super::docker::AskDocker;
use super::event::TargetInfo;
use super::evidence::{EVIDENCE_NAMES, RANGES};
use super::group::Pace;
use super::judge::asks;
use super::mail::MailPlan;
use super::pinned::{BYTES, DOCS, DOCS_PEAK, UPTIME};
use super::recent::RECENT;
use super::target::KERNEL_COUNTER;
use crate::alerts::PresenterConfig;
use crate::base::{HashMap, Labels};
use crate::containers::id_in_cgroup;
use crate::exposition::{Selection, m2};
use crate::outbox::{ActionKind, OutboxConfig, checksum};
use crate::policy::{Identity, Mode, PolicyConfig};
use crate::promql::EvalOptions;
use crate::regex::Pattern;
use crate::rules::{self, Action, Group};
use crate::window::{Caps, Retention};

/// A complete configuration of the engine.
#[derive(Debug)]
pub struct Setup {
    /// Rule groups, in the order of their files.
    pub groups: Vec<Group>,
    /// When groups run that do not say so.
    pub pace: Pace,
    /// Hard caps of the window.
    pub caps: Caps,
    /// `window.keep`: names kept for queries.
    pub keep: Vec<Pattern>,
    /// `window.retention`: how long those are kept.
    pub keep_for: Duration,
    /// How expressions are evaluated.
    pub eval: EvalOptions,
    /// Labels added to every alert that does not have them.
    pub external_labels: Labels,
    /// `web.external_url`, for templates and links.
    pub external_url: String,
    /// Addresses of the Alertmanager instances, without secrets.
    pub alertmanagers: Vec<String>,
    /// How alerts are presented to them.
    pub presenter: PresenterConfig,
    /// The edge lane, if a Control Plane is configured.
    pub outbox: Option<OutboxConfig>,
    /// The Docker host's name; `""` if it is not known.
    pub host: String,
    /// Whether Docker is to be heard.
    pub docker: AskDocker,
    /// Who is who on this host; `None` leaves series as they are.
    pub identity: Option<Identity>,
    /// What may be done about an alert.
    pub policy: PolicyConfig,
    /// What is known about the host itself, as series rules can join on.
    pub constants: Vec<(Labels, f64)>,
    /// What is mailed, and when.
    pub mail: Option<MailPlan>,
    /// How long an alert may stay unknown.
    pub unknown_timeout: Duration,
}

impl Setup {
    /// With nobody to ask, everything that would be asked is only observed; with the local executor
    /// alone, everything but restarts.
    pub(super) fn settled(mut self) -> Setup {
        let restart = match &self.outbox {
            Some(outbox) if !outbox.restarts_only => return self,
            Some(_) => self.policy.mode_of(ActionKind::Restart),
            None => Mode::Observe,
        };
        self.policy.mode = Mode::Observe;
        self.policy.modes = [(ActionKind::Restart, restart)].into();
        self
    }

    /// How long each name must be kept so that every rule, every judgement and every explanation sees
    /// all it asks for. Most names are read by instant selectors alone, which need the newest sample.
    pub fn retention(&self) -> Retention {
        let reads = rules::reads(&self.groups);
        let open = reads.open_retention().unwrap_or_default();
        let mut by_name: HashMap<String, Duration> =
            reads.names().map(|(name, back)| (name.to_owned(), back)).collect();
        let mut at_least = |names: &[&str], back: Duration| {
            for name in names {
                let longest = by_name.entry((*name).to_owned()).or_default();
                *longest = back.max(*longest);
            }
        };
        if reads.names().any(|(name, _)| name == DOCS_PEAK) {
            at_least(&[DOCS, BYTES], self.documents_back() + self.eval.lookback);
        }
        for (name, minutes) in RANGES {
            at_least(&[name], Duration::from_mins(minutes));
        }
        Retention {
            by_name,
            kept: self.keep.clone(),
            kept_for: self.keep_for,
            least: self.explained().max(open),
            newest: self.eval.lookback,
        }
    }

    /// How far back explanations of a rule ask for the parts of its query.
    fn explained(&self) -> Duration {
        let of_pace = self.pace.evaluation_interval;
        let intervals = self.groups.iter().map(|group| group.interval.unwrap_or(of_pace));
        let back = intervals.max().unwrap_or(of_pace) * RECENT as u32;
        back.min(self.eval.lookback)
    }

    /// A checksum of what the window keeps, and for how long: it is another one with other rules.
    pub(super) fn kept(&self) -> String {
        let Retention { by_name, kept, kept_for, least, newest } = self.retention();
        let by_name = by_name.iter().map(|(name, back)| format!("{name} {}", back.as_millis()));
        let patterns = kept.iter().map(|pattern| pattern.source().to_owned());
        let mut parts: Vec<String> = by_name.chain(patterns).collect();
        parts.sort_unstable();
        let is_open = rules::reads(&self.groups).is_open();
        parts.push(format!(
            "{is_open} {} {} {}",
            kept_for.as_millis(),
            least.as_millis(),
            newest.as_millis()
        ));
        checksum(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The metric names that anything can read: what scrapes have to keep.
    pub fn selection(&self) -> Selection {
        let reads = rules::reads(&self.groups);
        if reads.is_open() {
            return Selection::all();
        }
        let evidence = if self.judges() { &EVIDENCE_NAMES[..] } else { &[] };
        // The fused count is made of these, among others.
        let fused =
            if self.reads_oom() { &[OOM_COUNTER, KERNEL_COUNTER, START_TIME][..] } else { &[] };
        let counted = if reads.names().any(|(name, _)| name == DOCS_PEAK) {
            &[DOCS, BYTES, UPTIME][..]
        } else {
            &[]
        };
        let names = reads
            .names()
            .flat_map(|(name, _)| m2::raw_names(name).into_iter().chain([name.to_owned()]))
            .chain(evidence.iter().chain(fused).chain(counted).map(|name| (*name).to_owned()));
        Selection::only(names, self.keep.clone())
    }

    /// Whether any rule asks for something to be done.
    fn judges(&self) -> bool {
        let asked = |rule| asks(rule) != Action::None;
        // Whose doors there are is seen from containers, too.
        !self.policy.gates.is_empty()
            || self.groups.iter().flat_map(|group| &group.rules).any(asked)
    }

    fn reads_oom(&self) -> bool {
        rules::reads(&self.groups).names().any(|(name, _)| name == OOM_TOTAL || name == OOM_COUNTER)
    }
}

/// As [`enrich`], for a series of a target.
pub(super) fn enrich_of(
    setup: &Setup,
    containers: &Containers,
    target: &TargetInfo,
    labels: &Labels,
) -> Labels {
    match &setup.identity {
        Some(identity) if !identity.measures(&target.labels, &target.discovered) => {
            identity.enrich_other(&target.labels, labels)
        }
        _ => enrich(setup, containers, labels),
    }
}

/// A series' labels with what is known about their owner. What Docker itself says of a container's
/// labels stands above what a scrape says, where names of labels have collided.
pub(super) fn enrich(setup: &Setup, containers: &Containers, labels: &Labels) -> Labels {
    let Some(identity) = &setup.identity else { return labels.clone() };
    let id = labels.get("id").and_then(id_in_cgroup);
    let docker = id.and_then(|id| containers.docker_labels(&id));
    identity.enrich(labels, docker)
}
