//! From a firing alert to an action: evidence gathered, policy asked, the answer written down.
//!
//! A rule that asks for something is judged in every round while its alert fires, so a hold that
//! lifts (a start grace that ends, another restart that is over) needs no timer of its own. The
//! decision itself is [`crate::policy::decide`]; here stands what it is given and what becomes of
//! it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Engine;
use super::blame::named;
use super::evidence::started_at;
use super::fact::{Fact, Judged};
use crate::alerts::{Alert, AlertState};
use crate::base::{DeliveryId, Labels, Now, Timestamp, fingerprint};
use crate::outbox::{ActionKind, ActionMode, Draft, dedup_key};
use crate::policy::{
    Case, Decision, Evidence, History, HoldReason, Incident, Memory, Mode, Outcome, Proposal,
    Question, REFUSED, askings, decide, diagnose, escalate,
};
use crate::rules::{Action, Rule, RuleKind, graph_url};

/// What a rule asks for; nothing for a recording rule.
pub(super) fn asks(rule: &Rule) -> Action {
    match &rule.kind {
        RuleKind::Alert(alert) => alert.action,
        RuleKind::Record { .. } => Action::None,
    }
}

impl Engine {
    /// Judges what fires, after every rule of the round has run: whether the host is the patient is
    /// seen only when all its tenants have been looked at.
    pub(super) fn judge_round(&mut self, now: Now) {
        let Some(at) = self.to_judge.first().map(|(_, at)| *at) else { return };
        self.round_judged = true;
        self.observe_usage(now, at);
        self.observe_host(now, at);
        self.observe_gates(now, at);
        self.tell_untold_suspects(now);
        self.verify_actions(now, at);
        for (index, at) in std::mem::take(&mut self.to_judge) {
            self.judge(now, index, at);
        }
        self.forget_old_actions(now);
    }

    /// Judges the firing alerts of one rule that asks for something.
    fn judge(&mut self, now: Now, (group, rule): (usize, usize), at: Timestamp) {
        let (of, state) = (&self.groups[group].group.rules[rule], &self.groups[group].rules[rule]);
        if asks(of) == Action::None {
            return;
        }
        let firing = state.alerts.values().filter(|a| a.state == AlertState::Firing && !a.judged);
        let incidents: Vec<Incident> = firing.map(|alert| self.incident(of, alert)).collect();
        for incident in incidents {
            let history = self.history(&incident, now);
            if incident.is_settled(&history) {
                // Asked for before our own restart.
                self.note_judged((group, rule), &incident, &history);
                continue;
            }
            let mut evidence = self.evidence(&incident, self.groups[group].interval, at, now);
            let began = started_at(&incident, &evidence, now);
            let symptoms = &mut evidence.symptoms;
            self.groups[group].rules[rule].hold_to_cause(&incident.labels, began, symptoms);
            let circumstances = self.circumstances(now, &incident);
            let (incident, evidence) = (&incident, &evidence);
            let case =
                Case { incident, evidence, history: &history, circumstances: &circumstances };
            let decision = decide(&case, now, &self.setup.policy);
            self.settle_decision(now, (group, rule), &case, decision);
        }
        let state = &mut self.groups[group].rules[rule];
        let alerts = &state.alerts;
        let fires = |labels: &Labels| {
            alerts.get(labels).is_some_and(|alert| alert.state == AlertState::Firing)
        };
        state.held.retain(|labels, _| fires(labels));
        state.causes.retain(|labels, _| fires(labels));
    }

    fn history(&self, incident: &Incident, now: Now) -> History {
        let subject = incident.subject();
        let history = match incident.asks {
            Action::Restart | Action::Decide | Action::Nudge => {
                let tenant = incident.label("tenant");
                let limits = &self.setup.policy.limits;
                let waits = |delivery: &str| {
                    let id = DeliveryId(delivery.to_owned());
                    self.outbox.as_ref().is_some_and(|outbox| outbox.waits(&id))
                };
                let may_be_done =
                    |delivery: &str| self.memory.verifier.is_taken(delivery) || waits(delivery);
                self.memory.guards.history((&subject, tenant), now, limits, &may_be_done)
            }
            _ => self.memory.guards.own_history(&subject, now),
        };
        let Some(outbox) = &self.outbox else { return history };
        let untold = self.memory.guards.all_untold(&subject).map(str::to_owned);
        let (unheard, lost) = untold.partition(|key| outbox.has_yet_to_tell(key));
        History { unheard, lost, ..history }
    }

    /// Another configuration, or another word on who is who: all that fires is judged anew, and what was
    /// asked for in a lower mode than there is now (only observed, or shown) is asked for as it may be.
    pub(super) fn judge_all_again(&mut self) {
        let Memory { guards, verifier, .. } = &mut self.memory;
        let policy = &self.setup.policy;
        let withdrawn =
            guards.withdraw_below(|kind| policy.mode_of(kind), |id| verifier.watches(id));
        self.changes.extend(withdrawn);
        for (kind, key) in self.standing().iter().flat_map(Incident::keys).collect::<Vec<_>>() {
            let Some(asked) = self.memory.guards.open(&key) else { continue };
            // In rows that are older than the field, what was sent looks as if it were observed.
            let is_watched = self.memory.verifier.watches(&asked.delivery_id);
            if !is_watched && Mode::of(asked.mode) < self.setup.policy.mode_of(kind) {
                let over = Outcome::Withdrawn.name();
                self.changes.extend(self.memory.guards.finish(&key, over));
            }
        }
        let rules = self.groups.iter_mut().flat_map(|group| &mut group.rules);
        rules.flat_map(|rule| rule.alerts.values_mut()).for_each(|alert| alert.judged = false);
    }

    /// What fires and asks for something.
    fn standing(&self) -> Vec<Incident> {
        let rules = self.groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        let asking = rules.filter(|(rule, _)| asks(rule) != Action::None);
        let incidents = asking.flat_map(|(rule, state)| {
            let firing = state.alerts.values().filter(|alert| alert.state == AlertState::Firing);
            firing.map(|alert| as_it_stands(rule, alert))
        });
        incidents.collect()
    }

    /// It is not judged again, unless an operator may yet have it told that a request ran out.
    fn note_judged(
        &mut self,
        (group, rule): (usize, usize),
        incident: &Incident,
        history: &History,
    ) {
        if !history.lost.is_empty() {
            return;
        }
        let alerts = &mut self.groups[group].rules[rule].alerts;
        if let Some(alert) = alerts.get_mut(&incident.labels) {
            alert.judged = true;
        }
    }

    fn settle_decision(
        &mut self,
        now: Now,
        (group, rule): (usize, usize),
        case: &Case<'_>,
        decision: Decision,
    ) {
        let Case { incident, evidence, circumstances, .. } = *case;
        if decision.to_record().is_some() || is_final(&decision, case) {
            self.note_judged((group, rule), incident, case.history);
        }
        self.record_decision(now, &decision);
        let held = &mut self.groups[group].rules[rule].held;
        match decision {
            Decision::Act(proposal) => {
                held.remove(&incident.labels);
                self.ask_for(now, &proposal, incident, evidence);
            }
            Decision::Hold { reason, wanted } => {
                if held.insert(incident.labels.clone(), reason) != Some(reason) {
                    let action = wanted.map(|proposal| proposal.action.kind.name());
                    let lifted_by = circumstances.lifts(reason);
                    self.tell_hold(now, (incident, evidence), action, (reason, lifted_by));
                }
                self.tell_refusal(now, case, reason);
            }
        }
    }

    fn record_decision(&mut self, now: Now, decision: &Decision) {
        if let Some(proposal) = decision.to_record() {
            self.remember(now, (proposal, decision.sent()));
        }
    }

    /// Remembers what is asked for, and how if it is sent.
    pub(super) fn remember(&mut self, now: Now, asked: (&Proposal, Option<ActionMode>)) {
        self.asked_in_round.insert(asked.0.subject.clone());
        self.changes.push(self.memory.guards.record(asked, now));
    }

    /// Tells a person, once, of a restart that is due and that nobody will allow.
    fn tell_refusal(&mut self, now: Now, case: &Case<'_>, reason: HoldReason) {
        let Some(told) = escalate(case, reason, now, &self.setup.policy) else { return };
        self.record_decision(now, &told);
        let Case { incident, evidence, circumstances, .. } = *case;
        match told {
            Decision::Act(proposal) => self.ask_for(now, &proposal, incident, evidence),
            Decision::Hold { reason, wanted } => {
                let action = wanted.map(|proposal| proposal.action.kind.name());
                let lifted_by = circumstances.lifts(reason);
                self.tell_hold(now, (incident, evidence), action, (reason, lifted_by));
            }
        }
    }

    fn ask_for(&mut self, now: Now, proposal: &Proposal, incident: &Incident, found: &Evidence) {
        let mut event = proposal.event(incident, (&self.question(incident), found), now);
        // A rule that sums the label away does not change whose host this is.
        let host = Some(&self.setup.host).filter(|host| !host.is_empty());
        event.data.host = event.data.host.or_else(|| host.cloned());
        if proposal.action.kind == ActionKind::Restart {
            let gates = self.gates_now(&proposal.tenant, &proposal.subject);
            event.data.verification = Some(self.setup.policy.verify.promise(gates));
        }
        let id = proposal.delivery_id(now);
        self.counters.actions_sent += 1;
        self.facts.push(Fact::Decided {
            labels: incident.labels.clone(),
            action: proposal.action.kind.name(),
            dry_run: proposal.action.mode == ActionMode::DryRun,
            subject: proposal.subject.clone(),
            why: proposal.action.params.get("why").and_then(Value::as_str).map(str::to_owned),
            verification: event.data.verification.clone().map(Box::new),
            judged: judged(incident, found, Some(&id)),
        });
        self.watch(now, (proposal, &id), incident, found);
        self.push_event(now, Draft { id, event });
    }

    /// What the rule of an incident asks, and what it was answered last.
    fn question(&self, incident: &Incident) -> Question {
        let mut all =
            self.groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        let found = all.find(|(rule, _)| rule.id.to_string() == incident.rule);
        let Some((rule, state)) = found else { return Question::default() };
        let value = state.alerts.get(&incident.labels).map(|alert| alert.value);
        let held_for = match &rule.kind {
            RuleKind::Alert(alert) => alert.for_,
            RuleKind::Record { .. } => Duration::ZERO,
        };
        Question {
            expr: rule.expr_text.clone(),
            value: value.filter(|value| value.is_finite()),
            threshold: rule.threshold(),
            window: rule.window(),
            held_for,
            url: graph_url(&self.setup.external_url, &rule.expr_text),
        }
    }

    fn tell_hold(
        &mut self,
        now: Now,
        (incident, found): (&Incident, &Evidence),
        action: Option<&'static str>,
        (reason, mut lifted_by): (HoldReason, String),
    ) {
        self.counters.actions_held += 1;
        let labels = incident.labels.clone();
        let action = action.unwrap_or(incident.asks.word());
        let mut judged = judged(incident, found, None);
        judged.evidence.offenders = self.offenders(reason, incident, now.wall);
        lifted_by += &named(&judged.evidence.offenders);
        lifted_by += &self.what_changed(reason, incident);
        self.facts.push(Fact::Held { labels, action, reason, lifted_by, judged });
    }

    /// For people, of a hold that blames a change: `: image app:1 → app:2`, if that was seen.
    fn what_changed(&self, reason: HoldReason, incident: &Incident) -> String {
        let service = self.memory.usage.get(&incident.subject());
        let name = Some(incident.label("name")).filter(|name| !name.is_empty());
        let changed = service.filter(|_| reason == HoldReason::RecentChange);
        let replaced = changed.and_then(|service| service.replaced(name));
        replaced.map(|replaced| format!(": {replaced}")).unwrap_or_default()
    }

    /// The alert has ended: whatever was asked for it is over, and the host is free for the next.
    pub(super) fn close_actions(&mut self, now: Now, rule: &str, alert: &Alert) {
        let key = format!("{:016x}", fingerprint(&alert.labels));
        let refused = dedup_key(rule, &key, alert.starts_at(), REFUSED);
        for refused in askings(&refused) {
            self.changes.extend(self.memory.guards.finish(&refused, "resolved"));
        }
        for kind in ActionKind::ALL {
            let first = dedup_key(rule, &key, alert.starts_at(), kind.name());
            let asked = askings(&first).take_while(|key| self.memory.guards.knows(key));
            for dedup_key in asked.collect::<Vec<String>>() {
                if self.memory.verifier.requests().any(|request| request.dedup_key == dedup_key) {
                    // Whether it helped is known only when it has lasted; one that waits still is
                    // looked at again in this very round.
                    continue;
                }
                if kind == ActionKind::Nudge {
                    self.cancel_nudge(now, alert, &dedup_key);
                }
                self.changes.extend(self.memory.guards.finish(&dedup_key, "resolved"));
            }
        }
    }
}

fn judged(incident: &Incident, found: &Evidence, delivery: Option<&DeliveryId>) -> Box<Judged> {
    Box::new(Judged {
        started_at: incident.starts_at,
        whose: incident.whose.clone(),
        cause: diagnose(&found.symptoms).name(),
        evidence: found.figures.clone(),
        delivery: delivery.cloned(),
    })
}

/// Holds that nothing can lift while the alert lasts: they hang on its labels and its rule. Whose its
/// container is may become known. What a person has to be told of is looked at until one was.
fn is_final(decision: &Decision, case: &Case<'_>) -> bool {
    let Decision::Hold { reason, .. } = decision else { return false };
    match reason {
        HoldReason::NoneAsked | HoldReason::ForeignTenant | HoldReason::AlreadyAsked => true,
        HoldReason::RoleForbids | HoldReason::SharedContainer => {
            let key = case.incident.refused_key(case.history);
            let asked = &case.history.asked;
            asked.contains_key(&key) && !case.history.may_be_void_yet(&key)
        }
        _ => false,
    }
}

/// An alert as it stands, its labels believed.
pub(super) fn as_it_stands(rule: &Rule, alert: &Alert) -> Incident {
    Incident {
        rule: rule.id.to_string(),
        alert: alert.name().to_owned(),
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
        revision: alert.revision,
        starts_at: alert.starts_at(),
        labels: alert.labels.clone(),
        whose: alert.labels.clone(),
        owner_differs: false,
        annotations: annotations(alert),
        asks: asks(rule),
        unknown: alert.unknown.is_some(),
    }
}

fn annotations(alert: &Alert) -> BTreeMap<String, String> {
    alert.annotations.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}
