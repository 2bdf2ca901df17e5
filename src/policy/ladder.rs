//! What would help: from what the rule asks for, the cause, and what was tried before.
//!
//! The rungs are restart, nudge, human. A rung that is spent passes on to the next: restarts that
//! did no good, or used the tenant's budget up, are not repeated for ever, and whatever cannot be
//! solved by a machine reaches a person. Nor is restarted what a restart would not help: memory
//! that is full and stands still, or limits that are not the plan's.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::{DAY, Mode, PolicyConfig};
use super::diagnose::{Cause, diagnose};
use super::fit::{Direction, Fit, percent};
use super::history::is_void;
use super::hold::HoldReason;
use super::incident::{Case, Evidence, Incident};
use super::plan::Plan;
use super::tenant::{SHARED_ROLE, Tenancy};
use crate::base::format_duration;
use crate::outbox::{Action, ActionKind};
use crate::rules::Action as Asked;

/// Roles whose containers may be restarted; all others, unknown ones too, may not.
const RESTARTABLE: [&str; 2] = ["app", "worker"];
/// Kills in ten minutes from which the kernel is in a loop. Ours.
const KILLED_AGAIN: f64 = 2.0;
/// Kills are counted over the last ten minutes.
const KILLS_COUNTED_SECONDS: f64 = 600.0;

/// What stands in the place of a comparison.
const OWN_SIZE: &str = "not compared: its limits are its own, not its plan's";
/// Why a bigger plan is none to be offered.
const OWN_LIMITS: &str = "plans set no limits of its role; review its own";
const DRIFT: &str =
    "its limits are not its plan's; redeploy with the plan's before offering another";

/// What advice about pinned documents rests on, as the rule's annotations give it.
const PINNED: [&str; 7] = ["docs", "bytes", "avg", "pinned", "total", "ratio", "max_allowed"];

/// What to ask for.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Choice {
    /// What.
    pub(super) kind: ActionKind,
    /// Its parameters on the wire.
    pub(super) params: BTreeMap<String, Value>,
}

type Chosen = Result<Choice, HoldReason>;

/// Which action, if any, the evidence supports.
pub(super) fn choose(case: &Case<'_>, config: &PolicyConfig) -> Chosen {
    let incident = case.incident;
    let cause = diagnose(&case.evidence.symptoms);
    if touches(incident) && is_foreign(incident, config) {
        return Err(HoldReason::ForeignTenant);
    }
    match incident.asks {
        Asked::RollbackAdvice => Ok(annotated(incident, ActionKind::RollbackAdvice)),
        Asked::Advise | Asked::None => Ok(annotated(incident, ActionKind::Advise)),
        Asked::Restart => climb(case, config, cause),
        Asked::Nudge => nudge_for(case, config, cause),
        Asked::Decide => match cause {
            Cause::Leak | Cause::MemoryUnclear => climb(case, config, cause),
            Cause::PageCache => Err(HoldReason::PageCache),
            Cause::Unclear => Err(unclear(case)),
            _ => nudge_for(case, config, cause),
        },
    }
}

/// Restart, unless that rung is spent.
fn climb(case: &Case<'_>, config: &PolicyConfig, cause: Cause) -> Chosen {
    if config.tenancy == Tenancy::Shared || case.incident.label("role") == SHARED_ROLE {
        return match case.incident.asks {
            Asked::Decide => {
                next_rung(case, config, cause, "a restart would hit every tenant in it")
            }
            _ => Err(HoldReason::SharedContainer),
        };
    }
    attributable(case.incident)?;
    match case.incident.label("role") {
        // Nobody has said what it is.
        "" => return Err(HoldReason::NotAttributable),
        role if !RESTARTABLE.contains(&role) => return Err(HoldReason::RoleForbids),
        _ if case.incident.label("tenant").is_empty() => return Err(HoldReason::NotAttributable),
        _ => {}
    }
    rungs(case, config, cause)
}

/// The rungs as they would be climbed if nobody had to agree.
fn rungs(case: &Case<'_>, config: &PolicyConfig, cause: Cause) -> Chosen {
    let decides = case.incident.asks == Asked::Decide;
    if let Some(reason) = spared(case, cause).filter(|_| decides) {
        return Err(reason);
    }
    if let Some((why, rung)) = spent(case, config) {
        return match (case.incident.asks, rung) {
            (Asked::Decide, Rung::Next) => next_rung(case, config, cause, &why),
            _ => Ok(human(case, cause, &why)),
        };
    }
    if let Some(why) = useless(case, cause).filter(|_| decides) {
        return next_rung(case, config, cause, why);
    }
    let incident = case.incident;
    let params = [("service", incident.label("service")), ("name", incident.label("name"))];
    let params = texts(params.into_iter().filter(|(_, text)| !text.is_empty()));
    Ok(Choice { kind: ActionKind::Restart, params })
}

/// Why nothing follows where no cause is known: a figure is missing, or none says that anything is wrong.
fn unclear(case: &Case<'_>) -> HoldReason {
    let symptoms = &case.evidence.symptoms;
    let is_throttled = symptoms.throttled_ratio > Some(symptoms.thresholds.throttled);
    let lacks_use = is_throttled && symptoms.cpu_ratio.is_none();
    match symptoms.held_ratio() {
        Some(_) if !lacks_use => HoldReason::NothingWrong,
        _ => HoldReason::MissingEvidence,
    }
}

/// The restart that would be asked for if nobody had to agree, where that is what would help.
pub(super) fn restart_due(case: &Case<'_>, config: &PolicyConfig) -> Option<Choice> {
    let cause = diagnose(&case.evidence.symptoms);
    let climbs = match case.incident.asks {
        Asked::Restart => true,
        Asked::Decide => matches!(cause, Cause::Leak | Cause::MemoryUnclear),
        _ => false,
    };
    let choice = climbs.then(|| rungs(case, config, cause))?.ok()?;
    (choice.kind == ActionKind::Restart).then_some(choice)
}

/// A person is told of a restart that is refused.
pub(super) fn refused(case: &Case<'_>, why: &str) -> Choice {
    human(case, diagnose(&case.evidence.symptoms), why)
}

/// Why a restart would come too late, or hit the wrong one.
fn spared(case: &Case<'_>, cause: Cause) -> Option<HoldReason> {
    let Evidence { symptoms, started_since_kill, host_pressure, .. } = case.evidence;
    if symptoms.held_ratio().is_none() {
        // Without a limit of its own it is the host's memory that was used up.
        return Some(match host_pressure {
            true => HoldReason::HostPressure,
            false => HoldReason::MissingEvidence,
        });
    }
    let is_cured = cause != Cause::Leak || *started_since_kill;
    let is_over = !symptoms.is_full() && !symptoms.is_killed_again() && is_cured;
    is_over.then_some(HoldReason::Recovered)
}

/// Why a restart would not help, as far as the figures tell.
fn useless(case: &Case<'_>, cause: Cause) -> Option<&'static str> {
    let Evidence { symptoms, limit_drift, .. } = case.evidence;
    let settled = symptoms.is_flat() || symptoms.is_killed_again();
    if cause != Cause::MemoryUnclear || !settled {
        return None;
    }
    if *limit_drift {
        return Some(DRIFT);
    }
    // What is killed again and again does grow, faster than a slope shows.
    (!symptoms.is_killed_again()).then_some("memory is full and does not grow")
}

/// Whether no plan sets its limits: those of a database or a cache are its own. A worker is part of what
/// its tenant bought, whatever its size.
fn is_no_plans(case: &Case<'_>) -> bool {
    case.evidence.own_limits && case.incident.label("role") != "worker"
}

/// Whether nobody knows yet where memory is going.
pub(super) fn is_unproven(case: &Case<'_>, kind: ActionKind) -> bool {
    let Evidence { symptoms, rushes, needed_bytes, .. } = case.evidence;
    let unclear = diagnose(symptoms) == Cause::MemoryUnclear && !symptoms.is_flat();
    match (kind, case.incident.asks) {
        (ActionKind::Nudge, Asked::Nudge) => unclear || needed_bytes.is_none(),
        (ActionKind::Nudge, _) => needed_bytes.is_none(),
        (ActionKind::Restart, Asked::Decide) => unclear && !symptoms.is_killed_again() && !rushes,
        _ => false,
    }
}

/// Where a spent rung passes on to.
enum Rung {
    Next,
    /// Nobody carried the restart out, which no bigger plan makes up for.
    Human,
}

/// Why a restart is not to be asked for once more, if so, and who is next.
fn spent(case: &Case<'_>, config: &PolicyConfig) -> Option<(String, Rung)> {
    let Case { incident, evidence, history, .. } = *case;
    let limits = &config.limits;
    if let Some(result) = incident.failed(ActionKind::Restart, history) {
        let rung = if is_void(result) { Rung::Human } else { Rung::Next };
        return Some((format!("the restart of this episode: {result}"), rung));
    }
    let next = |why: &str| Some((why.to_owned(), Rung::Next));
    if history.restarts_without_effect >= limits.restarts_without_effect {
        return next("restarts did not help");
    }
    // A rule that asks for restarts alone has them again tomorrow.
    let decides = incident.asks == Asked::Decide;
    if decides && history.tenant_restarts_day >= limits.restarts_per_tenant_day {
        return next("its restarts of today are spent");
    }
    let young = evidence.container_age.is_some_and(|age| age < limits.start_grace);
    // So many kills in ten minutes that no life lasts as long as the grace.
    let outlives = |kills: f64| limits.start_grace.as_secs_f64() * kills < KILLS_COUNTED_SECONDS;
    let kills = evidence.symptoms.oom_events.filter(|kills| *kills >= KILLED_AGAIN);
    if young && kills.is_some_and(|kills| !outlives(kills)) {
        return next("it is killed again before its start is over");
    }
    None
}

/// Nudge if that is due and fair, else a human. A leak is not cured by a bigger plan.
fn next_rung(case: &Case<'_>, config: &PolicyConfig, cause: Cause, why: &str) -> Chosen {
    let limits = &config.limits;
    let since = case.history.since.get(&ActionKind::Nudge).copied();
    let lately = |since: Option<_>| since.is_some_and(|since| since < limits.nudge_cool_down);
    let nudged = lately(since) || lately(case.history.tenant_nudged);
    let asked = case.circumstances.opted_in.as_ref();
    let agreed = asked.is_none_or(|kinds| kinds.contains(&ActionKind::Nudge));
    let nudgeable =
        attributable(case.incident).is_ok() && !case.incident.label("tenant").is_empty();
    let pressed = case.evidence.host_pressure || case.evidence.pressure_unseen;
    let pressed = pressed && config.tenancy.owner().is_none();
    let drifts = case.evidence.limit_drift && cause != Cause::Leak;
    let ours = drifts || pressed || case.evidence.bad_image || is_no_plans(case);
    let fair = !is_leak(case, cause) && !ours && agreed && nudgeable;
    let offered = fair && !nudged && !is_switched_off(config);
    if offered && often_enough(case, config) && !present_plan_fits(case, config) {
        let next = config.plans.next(case.incident.label("plan"));
        if next.is_some_and(|next| fits(case, next, config)) {
            return nudge(case, config);
        }
    }
    let mut choice = human(case, cause, why);
    if drifts {
        let variable = limit_of(case.incident.label("plan"), cause);
        choice.params.insert("variable".to_owned(), Value::from(variable));
        choice.params.insert("why".to_owned(), Value::from(DRIFT));
    }
    Ok(choice)
}

/// Whether a nudge would reach nobody while advice reaches a person. Where neither is sent, what is only
/// observed shows the ladder whole.
fn is_switched_off(config: &PolicyConfig) -> bool {
    let is_sent = |kind| config.mode_of(kind) != Mode::Observe;
    is_sent(ActionKind::Advise) && !is_sent(ActionKind::Nudge)
}

/// A person is told.
fn human(case: &Case<'_>, cause: Cause, why: &str) -> Choice {
    let service = case.incident.label("service");
    let params = [("escalation", "human"), ("why", why), ("cause", cause.name())];
    Choice {
        kind: ActionKind::Advise,
        params: texts(params.into_iter().chain([("service", service)])),
    }
}

/// Whether it calls for a human, which no other advice makes needless.
pub(super) fn is_escalation(action: &Action) -> bool {
    action.params.contains_key("escalation")
}

/// A nudge as far as the cause allows one.
fn nudge_for(case: &Case<'_>, config: &PolicyConfig, cause: Cause) -> Chosen {
    match cause {
        _ if is_leak(case, cause) => {
            next_rung(case, config, cause, "it leaks; a bigger plan only takes longer to fill")
        }
        Cause::Unclear => Err(unclear(case)),
        Cause::PageCache => Err(HoldReason::PageCache),
        // Where the whole host is the tenant's, the neighbours are its own.
        Cause::CpuStarvation if config.tenancy.owner().is_none() => Err(HoldReason::Neighbour),
        Cause::CpuBurst => {
            attributable(case.incident)?;
            let why = "it is throttled in bursts, far from its quota on average; a longer CFS \
                       period or a burst allowance helps, a bigger plan does not";
            Ok(advice("cpu.cfs_burst_us", why))
        }
        _ => nudge(case, config),
    }
}

/// A bigger plan, unless something smaller comes first.
fn nudge(case: &Case<'_>, config: &PolicyConfig) -> Chosen {
    let (incident, evidence) = (case.incident, case.evidence);
    attributable(incident)?;
    if incident.label("tenant").is_empty() {
        return Err(HoldReason::NotAttributable);
    }
    let plan = config.plans.get(incident.label("plan")).ok_or(HoldReason::MissingEvidence)?;
    let cause = diagnose(&evidence.symptoms);
    let (throttled, variable) = (cause == Cause::CpuSaturation, limit_of(&plan.name, cause));
    if is_no_plans(case) {
        return Ok(advice(&format!("limits of {}", incident.label("service")), OWN_LIMITS));
    }
    if evidence.limit_drift {
        return Ok(advice(&variable, DRIFT));
    }
    let floor = config.limits.plan_floor_bytes;
    if !throttled && plan.mem_limit_bytes < floor {
        return Ok(raise_the_floor(plan, floor));
    }
    let fit = compared(case, config);
    if let Some(choice) = fit.and_then(|fit| smaller(plan, fit)) {
        return Ok(choice);
    }
    let helps = |next: &&Plan| !throttled || next.cpu_limit_cores > plan.cpu_limit_cores;
    let Some(next) = config.plans.above(&plan.name).find(helps) else {
        let why = match config.plans.next(&plan.name) {
            Some(_) => "no bigger plan has more CPU; review the capacity",
            None => "there is no bigger plan; review the capacity",
        };
        return Ok(advice(&variable, why));
    };
    let to = match fit {
        Some(fit) if fit.direction == Direction::NoneHelps => {
            let why = format!("no plan helps: {}; review the capacity", fit.sentence);
            return Ok(advice(&variable, &why));
        }
        Some(Fit { direction: Direction::Up, plan: Some(to), .. }) => to,
        _ => &next.name,
    };
    let mut params = texts([("from", plan.name.as_str()), ("to", to.as_str())]);
    let sentence = match fit {
        Some(fit) => measured(case, cause) + &fit.sentence,
        None if evidence.own_limits => OWN_SIZE.to_owned(),
        None => not_compared(config),
    };
    let confidence = evidence.fit.as_ref().map_or(0.0, |fit| fit.confidence);
    params.insert("fit".to_owned(), Value::from(sentence));
    params.insert("confidence".to_owned(), Value::from(confidence));
    Ok(Choice { kind: ActionKind::Nudge, params })
}

/// How often it is throttled now, where that is the trouble, to stand before what another plan would do.
fn measured(case: &Case<'_>, cause: Cause) -> String {
    match case.evidence.symptoms.throttled_ratio {
        Some(ratio) if cause == Cause::CpuSaturation => {
            format!("throttled in {} of its periods; ", percent(ratio))
        }
        _ => String::new(),
    }
}

/// Whether a nudge offers what would be offered now: plans come, go and change while it waits.
pub(super) fn is_still_offered(nudge: &Action, case: &Case<'_>, config: &PolicyConfig) -> bool {
    self::nudge(case, config).is_ok_and(|choice| {
        let is_same = |name| choice.params.get(name) == nudge.params.get(name);
        choice.kind == ActionKind::Nudge && is_same("from") && is_same("to")
    })
}

/// What the operator hears where a smaller plan would do.
fn smaller(plan: &Plan, fit: &Fit) -> Option<Choice> {
    let recommended = fit.smaller()?;
    let why = format!("a smaller plan would do: {}", fit.sentence);
    let mut choice = advice("plan", &why);
    choice.params.extend(texts([("current", plan.name.as_str()), ("recommended", recommended)]));
    choice.params.insert("confidence".to_owned(), Value::from(fit.confidence));
    Some(choice)
}

/// Whether there were enough episodes lately for a nudge.
pub(super) fn often_enough(case: &Case<'_>, config: &PolicyConfig) -> bool {
    case.evidence.figures.episodes_7d.unwrap_or(0) >= config.limits.nudge_episodes
}

/// Whether what the tenant needs is known and fits a plan.
pub(super) fn fits(case: &Case<'_>, next: &Plan, config: &PolicyConfig) -> bool {
    let fits = |needed| needed < config.fitting.memory * next.mem_limit_bytes as f64;
    case.evidence.needed_bytes.is_some_and(fits)
}

/// Whether the present plan, or a smaller one, would have fitted the demand of the last weeks.
pub(super) fn present_plan_fits(case: &Case<'_>, config: &PolicyConfig) -> bool {
    compared(case, config)
        .is_some_and(|fit| matches!(fit.direction, Direction::Stay | Direction::Down))
}

/// How the demand lies to the plans, if enough of it was seen.
fn compared<'a>(case: &Case<'a>, config: &PolicyConfig) -> Option<&'a Fit> {
    case.evidence.fit.as_ref().filter(|fit| fit.confidence >= config.fitting.confidence)
}

/// What stands in the place of a comparison; full confidence is a day of demand.
fn not_compared(config: &PolicyConfig) -> String {
    let needed = format_duration(DAY.mul_f64(config.fitting.confidence));
    format!("not compared: less than {needed} of demand were seen")
}

/// Whether it is memory that leaks, or of a service that leaked a few days ago.
fn is_leak(case: &Case<'_>, cause: Cause) -> bool {
    cause == Cause::Leak || cause.is_memory() && case.evidence.symptoms.leaked_lately
}

/// The limit of a plan that a cause is about.
fn limit_of(plan: &str, cause: Cause) -> String {
    let limit = if cause == Cause::CpuSaturation { "cpu_limit" } else { "mem_limit" };
    format!("plan_limits.{plan}.{limit}")
}

fn raise_the_floor(plan: &Plan, floor: u64) -> Choice {
    let variable = limit_of(&plan.name, Cause::MemoryUnclear);
    let mut choice = advice(&variable, "the plan is below the recommended minimum");
    choice.params.insert("current".to_owned(), Value::from(plan.mem_limit_bytes));
    choice.params.insert("recommended".to_owned(), Value::from(floor));
    choice
}

fn attributable(incident: &Incident) -> Result<(), HoldReason> {
    if incident.label("service").is_empty() || incident.label("role") == SHARED_ROLE {
        return Err(HoldReason::NotAttributable);
    }
    Ok(())
}

/// Whether it asks for something to be done to a container or a customer.
pub(super) fn touches(incident: &Incident) -> bool {
    matches!(incident.asks, Asked::Restart | Asked::Nudge | Asked::Decide)
}

/// Whether it is about another tenant than the one the host belongs to: enrichment names no other,
/// so it is a rule's label that does.
pub(super) fn is_foreign(incident: &Incident, config: &PolicyConfig) -> bool {
    let tenant = incident.labels.get("tenant").unwrap_or_default();
    !tenant.is_empty() && config.tenancy.owner().is_some_and(|owner| owner != tenant)
}

/// Advice as the rule's annotations give it; what a template found nothing for is not known.
fn annotated(incident: &Incident, kind: ActionKind) -> Choice {
    let names = ["variable", "current", "recommended", "setting", "why", "change_id", "previous"];
    let found = names
        .into_iter()
        .chain(PINNED)
        .filter_map(|name| incident.annotations.get(name).map(|text| (name, text.trim())))
        .filter(|(_, text)| !text.is_empty());
    Choice { kind, params: texts(found) }
}

fn advice(variable: &str, why: &str) -> Choice {
    Choice { kind: ActionKind::Advise, params: texts([("variable", variable), ("why", why)]) }
}

fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
}
