//! From an alert to an action, or to the reason why not. A pure function of what it is given.
//!
//! The rule's label `action` asks; evidence, history and configuration answer. Of several reasons
//! to hold, one is told: what makes the question moot comes before what merely says "not now".

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::guard::{History, HoldReason, Mode, PolicyConfig};
use super::plan::Plan;
use crate::base::{Labels, Now, Timestamp};
use crate::outbox::{
    self, Action, ActionKind, ActionMode, Data, Event, WireTime, dedup_key, text_map, trace_id,
};
use crate::rules::Action as Asked;

/// Roles whose containers may be restarted; all others, unknown ones too, may not.
const RESTARTABLE: [&str; 2] = ["app", "worker"];
/// The role of a container that many tenants share.
const SHARED: &str = "shared_app";
/// Below this hard limit a plan is raised before its tenants are asked to pay more (document A §4.4:
/// recommended minimum for Free).
const PLAN_FLOOR_BYTES: u64 = 1024 * 1024 * 1024;
/// A need must stay below this share of the next plan's limit, or the nudge would not help.
const FIT_RATIO: f64 = 0.9;
/// Working set per limit from which memory is the cause (document A §2.4; inclusive).
const MEMORY_RATIO: f64 = 0.9;
/// Share of throttled periods above which the CPU is the cause (kubernetes-mixin's 25 %).
const THROTTLED_RATIO: f64 = 0.25;

/// An alert that fires, as judgement sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Incident {
    /// The rule's id.
    pub rule: String,
    /// The alert's name.
    pub alert: String,
    /// 16 hex digits.
    pub fingerprint: String,
    /// Of the event that will be sent.
    pub revision: u64,
    /// When its condition became true.
    pub starts_at: Timestamp,
    /// Its labels, enriched.
    pub labels: Labels,
    /// Its annotations; `variable`, `current`, `recommended` and `why` become advice.
    pub annotations: BTreeMap<String, String>,
    /// What the rule asks for.
    pub asks: Asked,
    /// Whether it cannot be judged at the moment.
    pub unknown: bool,
}

impl Incident {
    /// Whose history counts: the service for what touches containers and customers, the alert
    /// itself for advice (one service may need several).
    pub fn subject(&self) -> String {
        let touches = matches!(self.asks, Asked::Restart | Asked::Nudge | Asked::Decide);
        match self.labels.get("service") {
            Some(service) if touches => service.to_owned(),
            _ => format!("alert:{}", self.fingerprint),
        }
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).unwrap_or_default()
    }
}

/// What is known at the moment of the decision.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// The figures, as they are sent along.
    pub figures: outbox::Evidence,
    /// Age of the newest sample that fed the alert.
    pub sample_age: Duration,
    /// Scrape interval of that target.
    pub interval: Duration,
    /// Age of the container, if it is known.
    pub container_age: Option<Duration>,
    /// The host is short of memory.
    pub host_pressure: bool,
    /// A health, login or API probe fails.
    pub gates_failing: bool,
    /// The container's limits are not its plan's.
    pub limit_drift: bool,
    /// What the tenant needs: the 95th percentile of its memory, bytes.
    pub needed_bytes: Option<f64>,
}

/// An action worth asking for.
#[derive(Clone, PartialEq, Debug)]
pub struct Proposal {
    /// Whose guard it counts on.
    pub subject: String,
    /// The tenant, or `""`.
    pub tenant: String,
    /// What goes on the wire.
    pub action: Action,
}

/// What becomes of an alert that asks for an action.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Send it (in mode `notify`, marked as a dry run).
    Act(Proposal),
    /// Do not.
    Hold {
        /// Why.
        reason: HoldReason,
        /// What would have been done, once that was clear. In mode `observe` it is to be recorded
        /// as if it had been sent.
        wanted: Option<Proposal>,
    },
}

impl Decision {
    /// What [`super::Guards::record`] must remember: actions sent, and those only observed.
    pub fn to_record(&self) -> Option<&Proposal> {
        match self {
            Decision::Act(proposal) => Some(proposal),
            Decision::Hold { reason: HoldReason::Observe, wanted } => wanted.as_ref(),
            Decision::Hold { .. } => None,
        }
    }
}

/// Judges one alert.
pub fn decide(
    incident: &Incident,
    evidence: &Evidence,
    history: &History,
    now: Now,
    config: &PolicyConfig,
) -> Decision {
    let hold = |reason| Decision::Hold { reason, wanted: None };
    let (kind, params) = match choose(incident, evidence, config) {
        Ok(chosen) => chosen,
        Err(reason) => return hold(reason),
    };
    let starts_at = incident.starts_at;
    let mode = config.mode_of(kind);
    let proposal = Proposal {
        subject: incident.subject(),
        tenant: incident.label("tenant").to_owned(),
        action: Action {
            kind,
            mode: if mode == Mode::Act { ActionMode::Request } else { ActionMode::DryRun },
            expires_at: WireTime(now.wall + config.limits.expiry),
            dedup_key: dedup_key(&incident.rule, &incident.fingerprint, starts_at, kind.name()),
            params,
        },
    };
    let reason = guarded(&proposal, evidence, history, config);
    match reason.or((mode == Mode::Observe).then_some(HoldReason::Observe)) {
        Some(reason) => Decision::Hold { reason, wanted: Some(proposal) },
        None => Decision::Act(proposal),
    }
}

/// Which action, if any, the evidence supports.
fn choose(
    incident: &Incident,
    evidence: &Evidence,
    config: &PolicyConfig,
) -> Result<(ActionKind, BTreeMap<String, Value>), HoldReason> {
    if incident.asks == Asked::None {
        return Err(HoldReason::NoneAsked);
    }
    if incident.unknown {
        return Err(HoldReason::AlertUnknown);
    }
    if evidence.sample_age > config.limits.evidence_age.max(3 * evidence.interval) {
        return Err(HoldReason::StaleEvidence);
    }
    match incident.asks {
        Asked::Restart => restart(incident, evidence, config),
        Asked::Nudge => nudge(incident, evidence, config),
        Asked::Decide => {
            let figures = &evidence.figures;
            let reaches = |value: Option<f64>, limit: f64| value.is_some_and(|v| v >= limit);
            if reaches(figures.ratio, MEMORY_RATIO) || reaches(figures.oom_events_10m, 1.0) {
                restart(incident, evidence, config)
            } else if figures.throttled_ratio.is_some_and(|ratio| ratio > THROTTLED_RATIO) {
                nudge(incident, evidence, config)
            } else {
                Err(HoldReason::MissingEvidence)
            }
        }
        Asked::RollbackAdvice => Ok((ActionKind::RollbackAdvice, annotated(incident))),
        Asked::Advise | Asked::None => Ok((ActionKind::Advise, annotated(incident))),
    }
}

fn restart(
    incident: &Incident,
    evidence: &Evidence,
    config: &PolicyConfig,
) -> Result<(ActionKind, BTreeMap<String, Value>), HoldReason> {
    attributable(incident)?;
    if !RESTARTABLE.contains(&incident.label("role")) {
        return Err(HoldReason::RoleForbids);
    }
    if evidence.container_age.is_some_and(|age| age < config.limits.start_grace) {
        return Err(HoldReason::StartGrace);
    }
    let params = [("service", incident.label("service")), ("name", incident.label("name"))];
    Ok((ActionKind::Restart, texts(params.into_iter().filter(|(_, text)| !text.is_empty()))))
}

/// A bigger plan, unless something smaller comes first.
fn nudge(
    incident: &Incident,
    evidence: &Evidence,
    config: &PolicyConfig,
) -> Result<(ActionKind, BTreeMap<String, Value>), HoldReason> {
    attributable(incident)?;
    if incident.label("tenant").is_empty() {
        return Err(HoldReason::NotAttributable);
    }
    let plan = config.plans.get(incident.label("plan")).ok_or(HoldReason::MissingEvidence)?;
    if evidence.limit_drift {
        let why = "its limits are not its plan's; redeploy with the plan's before offering another";
        return Ok((ActionKind::Advise, advice(&format!("plan_limits.{}", plan.name), why)));
    }
    let throttled = evidence.figures.throttled_ratio.is_some_and(|r| r > THROTTLED_RATIO);
    if !throttled && plan.mem_limit_bytes < PLAN_FLOOR_BYTES {
        let why = "the plan is below the recommended minimum";
        let mut params = advice(&format!("plan_limits.{}.mem_limit", plan.name), why);
        params.insert("current".to_owned(), Value::from(plan.mem_limit_bytes));
        params.insert("recommended".to_owned(), Value::from(PLAN_FLOOR_BYTES));
        return Ok((ActionKind::Advise, params));
    }
    let Some(next) = config.plans.next(&plan.name) else {
        let why = "there is no bigger plan; review the capacity";
        return Ok((ActionKind::Advise, advice(&format!("plan_limits.{}", plan.name), why)));
    };
    Ok((ActionKind::Nudge, texts([("from", plan.name.as_str()), ("to", next.name.as_str())])))
}

fn attributable(incident: &Incident) -> Result<(), HoldReason> {
    if incident.label("service").is_empty() || incident.label("role") == SHARED {
        return Err(HoldReason::NotAttributable);
    }
    Ok(())
}

/// What history and the state of the host say against it.
fn guarded(
    proposal: &Proposal,
    evidence: &Evidence,
    history: &History,
    config: &PolicyConfig,
) -> Option<HoldReason> {
    let (kind, limits) = (proposal.action.kind, &config.limits);
    let restarts = kind == ActionKind::Restart;
    let nudges = kind == ActionKind::Nudge;
    let episodes = evidence.figures.episodes_7d.unwrap_or(0);
    let to = proposal.action.params.get("to").and_then(Value::as_str);
    let fits = |next: &Plan| {
        let needed = evidence.needed_bytes.unwrap_or(0.0);
        needed < FIT_RATIO * next.mem_limit_bytes as f64
    };
    let next_fits = to.and_then(|name| config.plans.get(name)).is_none_or(fits);
    let recent = history.since.get(&kind).is_some_and(|since| *since < limits.cool_down(kind));
    let checks = [
        (history.asked.contains(&proposal.action.dedup_key), HoldReason::AlreadyAsked),
        (recent, HoldReason::CoolDown),
        (
            restarts && history.tenant_restarts_day >= limits.restarts_per_tenant_day,
            HoldReason::TenantBudget,
        ),
        (restarts && history.restarts_open >= limits.restarts_at_once, HoldReason::HostBusy),
        (nudges && evidence.host_pressure, HoldReason::HostPressure),
        (restarts && evidence.gates_failing, HoldReason::GatesFailing),
        (nudges && episodes < limits.nudge_episodes, HoldReason::TooFewEpisodes),
        (nudges && !next_fits, HoldReason::NextPlanTooSmall),
    ];
    checks.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}

/// Advice as the rule's annotations give it.
fn annotated(incident: &Incident) -> BTreeMap<String, Value> {
    let names = ["variable", "current", "recommended", "why", "change_id", "previous"];
    let found = names
        .into_iter()
        .filter_map(|name| incident.annotations.get(name).map(|text| (name, text.as_str())));
    texts(found)
}

fn advice(variable: &str, why: &str) -> BTreeMap<String, Value> {
    texts([("variable", variable), ("why", why)])
}

fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
}

impl Proposal {
    /// The event that asks for it.
    pub fn event(&self, incident: &Incident, evidence: &Evidence, now: Now) -> Event {
        let label = |name: &str| incident.labels.get(name).map(str::to_owned);
        let figures = outbox::Evidence {
            rule: Some(incident.rule.clone()),
            sample_age_seconds: Some(evidence.sample_age.as_secs_f64()),
            ..evidence.figures.clone()
        };
        let data = Data {
            alert: Some(incident.alert.clone()),
            fingerprint: Some(incident.fingerprint.clone()),
            revision: Some(incident.revision),
            starts_at: Some(WireTime(incident.starts_at)),
            severity: label("severity"),
            layer: label("layer"),
            host: label("host"),
            tenant_id: label("tenant"),
            plan: label("plan"),
            service: label("service"),
            labels: text_map(&incident.labels),
            annotations: incident.annotations.clone(),
            action: Some(self.action.clone()),
            evidence: Some(Box::new(figures)),
            trace_id: Some(trace_id(&incident.fingerprint, incident.starts_at)),
            ..Data::default()
        };
        Event::new(self.action.kind.event_type(), now.wall, data)
    }
}

#[cfg(test)]
mod tests;
