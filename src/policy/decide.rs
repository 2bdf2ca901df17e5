//! From an alert to an action, or to the reason why not. A pure function of what it is given.
//!
//! The rule's label `action` asks; the ladder ([`super::ladder`]) chooses what would help; guards
//! answer whether it may be done now. Of several reasons to hold, one is told: what makes the
//! question moot comes before what merely says "not now".

use serde_json::Value;

use super::config::{Mode, PolicyConfig};
use super::diagnose::{Cause, diagnose};
use super::hold::HoldReason;
use super::incident::{Case, Proposal};
use super::ladder::{
    Choice, choose, fits, is_escalation, is_foreign, is_still_offered, is_unproven, often_enough,
    present_plan_fits, refused, restart_due, touches,
};
use crate::base::Now;
use crate::outbox::{Action, ActionKind, ActionMode, WireTime};
use crate::rules::Action as Asked;

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

    /// How it is asked for, if it is.
    pub fn sent(&self) -> Option<ActionMode> {
        match self {
            Decision::Act(proposal) => Some(proposal.action.mode),
            Decision::Hold { .. } => None,
        }
    }
}

/// Judges one alert.
pub fn decide(case: &Case<'_>, now: Now, config: &PolicyConfig) -> Decision {
    let hold = |reason| Decision::Hold { reason, wanted: None };
    if let Some(reason) = moot(case, config) {
        return hold(reason);
    }
    let choice = match choose(case, config) {
        Ok(choice) => choice,
        Err(reason) => return hold(reason),
    };
    let proposal = propose(case, choice, now, config);
    let mode = config.mode_of(proposal.action.kind);
    let reason = guarded(&proposal.action, case, config, &[]);
    match reason.or((mode == Mode::Observe).then_some(HoldReason::Observe)) {
        Some(reason) => Decision::Hold { reason, wanted: Some(proposal) },
        None => Decision::Act(proposal),
    }
}

/// Guards that may never lift by themselves.
const REFUSING: [HoldReason; 2] = [HoldReason::NotOptedIn, HoldReason::GatesFailing];

/// What a person is told of a restart that is due but for a refusal that time alone does not lift: else
/// a leak that nobody may restart would reach nobody. Once in an episode, and no oftener than other
/// advice. The restart stays held, and is asked for if the refusal lifts after all.
pub fn escalate(
    case: &Case<'_>,
    held: HoldReason,
    now: Now,
    config: &PolicyConfig,
) -> Option<Decision> {
    let why = refusal(case, held, now, config)?;
    let restart = propose(case, restart_due(case, config)?, now, config);
    if guarded(&restart.action, case, config, &REFUSING).is_some() {
        return None;
    }
    let mut proposal = propose(case, refused(case, &why), now, config);
    proposal.action.dedup_key = case.incident.refused_key(case.history);
    if guarded(&proposal.action, case, config, &[]).is_some() {
        return None;
    }
    Some(match config.mode_of(ActionKind::Advise) {
        Mode::Observe => Decision::Hold { reason: HoldReason::Observe, wanted: Some(proposal) },
        _ => Decision::Act(proposal),
    })
}

/// Why a restart is refused for good, as far as anybody can tell.
fn refusal(case: &Case<'_>, held: HoldReason, now: Now, config: &PolicyConfig) -> Option<String> {
    let role = case.incident.label("role");
    let why = match held {
        HoldReason::NotOptedIn => "its tenant did not agree to restarts (`opt_in`)".to_owned(),
        HoldReason::RoleForbids => {
            format!("a container of the role `{role}` is never restarted")
        }
        HoldReason::SharedContainer => "a restart would hit every tenant in it".to_owned(),
        // A gate may miss a beat, and be well again before anybody could look.
        HoldReason::GatesFailing
            if now.wall.since(case.incident.starts_at) >= config.verify.within =>
        {
            "its health, login or API fails, and a restart would hide why".to_owned()
        }
        _ => return None,
    };
    Some(format!("it needs a restart and is given none: {why}"))
}

/// Guards that count what was asked for: what waits is itself among that.
const COUNTING: [HoldReason; 5] = [
    HoldReason::AlreadyAsked,
    HoldReason::CoolDown,
    HoldReason::TenantBudget,
    HoldReason::HostBudget,
    HoldReason::HostBusy,
];

/// What now stands against an action that was asked for and has not left yet: every guard holds until
/// it has.
pub fn still_stands(action: &Action, case: &Case<'_>, config: &PolicyConfig) -> Option<HoldReason> {
    let too_far = config.mode_of(action.kind) < Mode::of(Some(action.mode));
    moot(case, config)
        .or_else(|| guarded(action, case, config, &COUNTING))
        .or(too_far.then_some(HoldReason::Observe))
}

/// Nothing can be chosen at all.
fn moot(case: &Case<'_>, config: &PolicyConfig) -> Option<HoldReason> {
    let (incident, evidence) = (case.incident, case.evidence);
    let oldest = config.limits.evidence_age.max(3 * evidence.interval);
    let differs = incident.owner_differs && touches(incident) && !is_foreign(incident, config);
    let checks = [
        (incident.asks == Asked::None, HoldReason::NoneAsked),
        (incident.unknown, HoldReason::AlertUnknown),
        (evidence.sample_age > oldest, HoldReason::StaleEvidence),
        (differs, HoldReason::OwnerDiffers),
    ];
    first(&checks)
}

fn propose(case: &Case<'_>, choice: Choice, now: Now, config: &PolicyConfig) -> Proposal {
    let (incident, Choice { kind, params }) = (case.incident, choice);
    let mode = config.mode_of(kind);
    Proposal {
        subject: incident.subject(),
        tenant: incident.label("tenant").to_owned(),
        action: Action {
            kind,
            mode: if mode == Mode::Act { ActionMode::Request } else { ActionMode::DryRun },
            expires_at: WireTime(now.wall + config.limits.expiry),
            dedup_key: incident.next_key(kind, case.history),
            params,
        },
    }
}

/// What history, the host and the tenant say against it, apart from some reasons.
fn guarded(
    action: &Action,
    case: &Case<'_>,
    config: &PolicyConfig,
    apart_from: &[HoldReason],
) -> Option<HoldReason> {
    let Case { evidence, history, circumstances, .. } = *case;
    let (kind, limits) = (action.kind, &config.limits);
    let restarts = kind == ActionKind::Restart;
    let nudges = kind == ActionKind::Nudge;
    let touches = restarts || nudges;
    let younger = |age: Option<_>, limit| age.is_some_and(|age| age < limit);
    let agreed = circumstances.opted_in.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let tenant_nudged = history.tenant_nudged.filter(|_| nudges);
    let since = history.since.get(&kind).copied();
    let since = if is_escalation(action) { history.escalated } else { since };
    let recent =
        younger(since, limits.cool_down(kind)) || younger(tenant_nudged, limits.cool_down(kind));
    let cause = diagnose(&evidence.symptoms);
    let starved = cause == Cause::CpuStarvation;
    // Where nothing else explains the alert, the container may be a victim.
    let unseen = cause == Cause::Unclear && evidence.starvation_unseen;
    let tenant_spent = history.tenant_restarts_day >= limits.restarts_per_tenant_day;
    // On a host of its own a tenant has nobody else to suffer from.
    let alone = config.tenancy.owner().is_some();
    let host_spent = history.host_restarts_hour >= limits.restarts_per_host_hour;
    let checks = [
        (touches && evidence.has_ended, HoldReason::StaleEvidence),
        (restarts && evidence.is_unseen, HoldReason::MissingEvidence),
        (circumstances.kill_switch, HoldReason::KillSwitch),
        (touches && circumstances.inactive.is_some(), HoldReason::TenantNotActive),
        (touches && !agreed, HoldReason::NotOptedIn),
        (history.unheard.contains(&action.dedup_key), HoldReason::Unheard),
        (history.asked.contains_key(&action.dedup_key), HoldReason::AlreadyAsked),
        (touches && circumstances.host_incident, HoldReason::HostIncident),
        (touches && circumstances.maintenance.is_some(), HoldReason::Maintenance),
        (nudges && circumstances.quiet_hours.is_some(), HoldReason::QuietHours),
        (restarts && circumstances.busy, HoldReason::Busy),
        (restarts && younger(evidence.container_age, limits.start_grace), HoldReason::StartGrace),
        (touches && younger(evidence.change_age, limits.after_change), HoldReason::RecentChange),
        (nudges && evidence.bad_image, HoldReason::BadImage),
        (recent, HoldReason::CoolDown),
        (restarts && tenant_spent, HoldReason::TenantBudget),
        (restarts && host_spent, HoldReason::HostBudget),
        (restarts && history.restarts_open >= limits.restarts_at_once, HoldReason::HostBusy),
        (nudges && evidence.host_pressure && !alone, HoldReason::HostPressure),
        (nudges && evidence.pressure_unseen && !alone, HoldReason::MissingEvidence),
        (touches && starved && !alone, HoldReason::Neighbour),
        (touches && unseen && !alone, HoldReason::MissingEvidence),
        (restarts && evidence.gates_failing, HoldReason::GatesFailing),
        (restarts && evidence.recycle_due, HoldReason::RecycleDue),
        (nudges && !often_enough(case, config), HoldReason::TooFewEpisodes),
        (nudges && present_plan_fits(case, config), HoldReason::PresentPlanFits),
        (is_unproven(case, kind), HoldReason::MissingEvidence),
        (nudges && !is_still_offered(action, case, config), HoldReason::OfferOutdated),
        (nudges && !next_plan_fits(action, case, config), HoldReason::NextPlanTooSmall),
    ];
    let mut against = checks.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason);
    against.find(|reason| !apart_from.contains(reason))
}

fn next_plan_fits(action: &Action, case: &Case<'_>, config: &PolicyConfig) -> bool {
    let to = action.params.get("to").and_then(Value::as_str);
    to.and_then(|name| config.plans.get(name)).is_some_and(|next| fits(case, next, config))
}

fn first(checks: &[(bool, HoldReason)]) -> Option<HoldReason> {
    checks.iter().find(|(holds, _)| *holds).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests;
