//! From a firing alert to an action: evidence gathered, policy asked, the answer written down.
//!
//! A rule that asks for something is judged in every round while its alert fires, so a hold that
//! lifts (a start grace that ends, another restart that is over) needs no timer of its own. The
//! decision itself is [`crate::policy::decide`]; here stands what it is given and what becomes of
//! it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::fact::Fact;
use crate::alerts::{Alert, AlertState};
use crate::base::{Now, Timestamp, fingerprint};
use crate::outbox::{
    self, ActionKind, ActionMode, Container, Draft, WireTime, dedup_key, delivery_id,
};
use crate::policy::{Decision, Evidence, History, HoldReason, Incident, Proposal, decide};
use crate::promql::{EvalOptions, ParseOptions, Value, instant, parse};
use crate::rules::{Action, Rule, RuleKind};
use crate::window::{Matcher, Selector, Source, Span, Window};

/// The figures of a container, each a query over the series that match `$$`.
const FIGURES: [(Figure, &str); 10] = [
    (Figure::Limit, "max(container_spec_memory_limit_bytes{$$} > 0)"),
    (Figure::Soft, "max(container_spec_memory_reservation_limit_bytes{$$} > 0)"),
    (Figure::Usage, "max(container_memory_usage_bytes{$$})"),
    (Figure::WorkingSet, "max(container_memory_working_set_bytes{$$})"),
    (Figure::Slope, "max(deriv(container_memory_working_set_bytes{$$}[3m]))"),
    (
        Figure::Oom,
        "sum(increase(plimsoll_oom_total{$$}[10m])) or sum(increase(container_oom_events_total{$$}[10m]))",
    ),
    (
        Figure::Throttled,
        "sum(increase(container_cpu_cfs_throttled_periods_total{$$}[5m])) \
         / (sum(increase(container_cpu_cfs_periods_total{$$}[5m])) > 0)",
    ),
    (Figure::CpuUsed, "sum(rate(container_cpu_usage_seconds_total{$$}[5m]))"),
    (
        Figure::CpuLimit,
        "max(container_spec_cpu_quota{$$} > 0) / max(container_spec_cpu_period{$$})",
    ),
    (Figure::Started, "max(container_start_time_seconds{$$})"),
];
/// What the tenant needs: the 95th percentile of what it used.
const NEEDED: &str = "max(quantile_over_time(0.95, container_memory_working_set_bytes{$$}[1h]))";
/// The host is short of memory (domain.md §7, `SharedNodeMemoryPressure`).
const HOST_PRESSURE: &str = "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1";
/// A gate fails (domain.md A4).
const GATES_FAILING: &str = "probe_success{gate=~\"health|login|api\"} == 0";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Limit,
    Soft,
    Usage,
    WorkingSet,
    Slope,
    Oom,
    Throttled,
    CpuUsed,
    CpuLimit,
    Started,
}

/// Metrics that evidence is made of: kept whenever an action could be asked for.
pub(super) const EVIDENCE_NAMES: [&str; 12] = [
    "container_spec_memory_limit_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_usage_seconds_total",
    "container_spec_cpu_quota",
    "container_spec_cpu_period",
    "container_start_time_seconds",
    "node_memory_MemAvailable_bytes",
];

/// What a rule asks for; nothing for a recording rule.
pub(super) fn asks(rule: &Rule) -> Action {
    match &rule.kind {
        RuleKind::Alert(alert) => alert.action,
        RuleKind::Record { .. } => Action::None,
    }
}

impl Engine {
    /// Judges the firing alerts of one rule that asks for something.
    pub(super) fn judge(&mut self, now: Now, (group, rule): (usize, usize), at: Timestamp) {
        let (of, state) = (&self.groups[group].group.rules[rule], &self.groups[group].rules[rule]);
        if self.outbox.is_none() || asks(of) == Action::None {
            return;
        }
        let firing = state.alerts.values().filter(|a| a.state == AlertState::Firing && !a.judged);
        let incidents: Vec<Incident> = firing.map(|alert| incident(of, alert)).collect();
        for incident in incidents {
            let history = self.history(&incident, now);
            let asked = |kind| history.asked.contains(&key_of(&incident, kind));
            if ActionKind::ALL.into_iter().any(asked) {
                // Asked for before our own restart.
                self.note_judged((group, rule), &incident);
                continue;
            }
            let evidence = self.evidence(&incident, self.groups[group].interval, at, now);
            let decision = decide(&incident, &evidence, &history, now, &self.setup.policy);
            self.settle_decision(now, (group, rule), (&incident, &evidence), decision);
        }
        let state = &mut self.groups[group].rules[rule];
        let alerts = &state.alerts;
        state.held.retain(|labels, _| {
            alerts.get(labels).is_some_and(|alert| alert.state == AlertState::Firing)
        });
    }

    fn history(&self, incident: &Incident, now: Now) -> History {
        let subject = incident.subject();
        match incident.asks {
            Action::Restart | Action::Decide => {
                let tenant = incident.labels.get("tenant").unwrap_or_default();
                self.guards.history(&subject, tenant, now, &self.setup.policy.limits)
            }
            _ => self.guards.own_history(&subject, now),
        }
    }

    fn note_judged(&mut self, (group, rule): (usize, usize), incident: &Incident) {
        let alerts = &mut self.groups[group].rules[rule].alerts;
        if let Some(alert) = alerts.get_mut(&incident.labels) {
            alert.judged = true;
        }
    }

    fn settle_decision(
        &mut self,
        now: Now,
        (group, rule): (usize, usize),
        (incident, evidence): (&Incident, &Evidence),
        decision: Decision,
    ) {
        if decision.to_record().is_some() || is_final(&decision) {
            self.note_judged((group, rule), incident);
        }
        if let Some(proposal) = decision.to_record() {
            self.changes.push(self.guards.record(proposal, now, &self.setup.policy.limits));
        }
        let held = &mut self.groups[group].rules[rule].held;
        match decision {
            Decision::Act(proposal) => {
                held.remove(&incident.labels);
                self.ask_for(now, &proposal, incident, evidence);
            }
            Decision::Hold { reason, wanted } => {
                if held.insert(incident.labels.clone(), reason) != Some(reason) {
                    let action = wanted.map(|proposal| proposal.action.kind.name());
                    self.tell_hold(incident, action, reason);
                }
            }
        }
    }

    fn ask_for(&mut self, now: Now, proposal: &Proposal, incident: &Incident, found: &Evidence) {
        let event = proposal.event(incident, found, now);
        let id = delivery_id(now.wall, &[&proposal.action.dedup_key]);
        self.counters.actions_sent += 1;
        self.facts.push(Fact::Decided {
            labels: incident.labels.clone(),
            action: proposal.action.kind.name(),
            dry_run: proposal.action.mode == ActionMode::DryRun,
            subject: proposal.subject.clone(),
        });
        self.push_event(now, Draft { id, event });
    }

    fn tell_hold(&mut self, incident: &Incident, action: Option<&'static str>, why: HoldReason) {
        self.counters.actions_held += 1;
        let labels = incident.labels.clone();
        let action = action.unwrap_or(incident.asks.word());
        self.facts.push(Fact::Held { labels, action, reason: why.name() });
    }

    /// The alert has ended: whatever was asked for it is over, and the host is free for the next.
    pub(super) fn close_actions(&mut self, rule: &str, alert: &Alert) {
        let key = format!("{:016x}", fingerprint(&alert.labels));
        for kind in ActionKind::ALL {
            let dedup_key = dedup_key(rule, &key, alert.starts_at(), kind.name());
            self.changes.extend(self.guards.finish(&dedup_key, "resolved"));
        }
    }

    /// Everything known about the container an alert names, at the time of the round.
    fn evidence(
        &self,
        incident: &Incident,
        interval: Duration,
        at: Timestamp,
        now: Now,
    ) -> Evidence {
        let wall = now.wall;
        let selector = container(incident);
        let ask = |query: &str| {
            let text = query.replace("$$", selector.as_deref()?);
            value(&text, &self.window, at, &self.setup.eval)
        };
        let get = |wanted: Figure| {
            let query = FIGURES.iter().find(|(figure, _)| *figure == wanted)?;
            ask(query.1)
        };
        let (limit, working_set) = (get(Figure::Limit), get(Figure::WorkingSet));
        let slope = get(Figure::Slope);
        let room = limit.zip(working_set).map(|(limit, used)| limit - used);
        let eta = room.zip(slope.filter(|slope| *slope > 0.0)).map(|(room, slope)| room / slope);
        let started = get(Figure::Started);
        let subject = incident.subject();
        let history = self.guards.own_history(&subject, now);
        let label = |name: &str| incident.labels.get(name).map(str::to_owned);
        let figures = outbox::Evidence {
            container: label("name").map(|name| Container {
                name: Some(name),
                role: label("role"),
                started_at: started.map(|at| WireTime(Timestamp::from_seconds(at))),
                ..Container::default()
            }),
            limit_bytes: limit,
            soft_bytes: get(Figure::Soft),
            usage_bytes: get(Figure::Usage),
            working_set_bytes: working_set,
            ratio: working_set.zip(limit).map(|(used, limit)| used / limit),
            slope_bytes_per_second: slope,
            eta_to_limit_seconds: eta,
            oom_events_10m: get(Figure::Oom),
            throttled_ratio: get(Figure::Throttled),
            cpu_used_cores: get(Figure::CpuUsed),
            cpu_limit_cores: get(Figure::CpuLimit),
            episodes_7d: Some(self.episodes.count(&subject, wall)),
            last_action: history.last,
            ..outbox::Evidence::default()
        };
        let plan = incident.labels.get("plan").and_then(|name| self.setup.policy.plans.get(name));
        let drifts = plan.zip(limit).is_some_and(|(p, limit)| p.mem_limit_bytes as f64 != limit);
        let is_true = |query: &str| value(query, &self.window, at, &self.setup.eval).is_some();
        Evidence {
            figures,
            sample_age: self.sample_age(incident, wall),
            interval,
            container_age: started.map(|at| wall.since(Timestamp::from_seconds(at))),
            host_pressure: is_true(HOST_PRESSURE),
            gates_failing: is_true(GATES_FAILING),
            limit_drift: drifts,
            needed_bytes: ask(NEEDED),
        }
    }

    /// How old the evidence is: of each metric of the container its newest sample, of these the
    /// oldest. An alert that names no container is as fresh as its round.
    fn sample_age(&self, incident: &Incident, wall: Timestamp) -> Duration {
        let Some(name) = incident.labels.get("name") else { return Duration::ZERO };
        let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        let newest = |metric: &str| {
            let matchers = vec![Matcher::equal("__name__", metric), Matcher::equal("name", name)];
            let found = self.window.select(&Selector::new(matchers), all);
            found.iter().filter_map(|series| series.samples.last()).map(|last| last.at).max()
        };
        let oldest = EVIDENCE_NAMES.iter().filter_map(|metric| newest(metric)).min();
        oldest.map_or(Duration::ZERO, |at| wall.since(at))
    }
}

/// Holds that nothing can lift while the alert lasts: they hang on its labels and its rule.
fn is_final(decision: &Decision) -> bool {
    let last = [HoldReason::NoneAsked, HoldReason::RoleForbids, HoldReason::NotAttributable];
    matches!(decision, Decision::Hold { reason, .. } if last.contains(reason))
}

fn incident(rule: &Rule, alert: &Alert) -> Incident {
    Incident {
        rule: rule.id.to_string(),
        alert: alert.name().to_owned(),
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
        revision: alert.revision,
        starts_at: alert.starts_at(),
        labels: alert.labels.clone(),
        annotations: annotations(alert),
        asks: asks(rule),
        unknown: alert.unknown.is_some(),
    }
}

fn annotations(alert: &Alert) -> BTreeMap<String, String> {
    alert.annotations.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn key_of(incident: &Incident, kind: ActionKind) -> String {
    dedup_key(&incident.rule, &incident.fingerprint, incident.starts_at, kind.name())
}

/// The matchers that find the container an alert is about.
fn container(incident: &Incident) -> Option<String> {
    let (label, text) = ["name", "service"]
        .into_iter()
        .find_map(|label| Some((label, incident.labels.get(label)?)))?;
    Some(format!("{label}={text:?}"))
}

/// The first value a query yields.
fn value(text: &str, window: &Window, at: Timestamp, options: &EvalOptions) -> Option<f64> {
    let expr = parse(text, &ParseOptions::default()).ok()?;
    match instant(&expr, window, at, options).ok()?.value {
        Value::Vector(vector) => vector.first().map(|(_, value)| *value),
        Value::Scalar(value) => Some(value),
        Value::Matrix(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_parses() {
        let all = FIGURES.iter().map(|(_, query)| *query);
        for query in all.chain([NEEDED, HOST_PRESSURE, GATES_FAILING]) {
            let text = query.replace("$$", "name=\"a\\\"b\"");
            assert!(parse(&text, &ParseOptions::default()).is_ok(), "{text}");
        }
    }
}
