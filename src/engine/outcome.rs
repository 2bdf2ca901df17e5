//! From a request to its outcome: watched from the moment it was asked, told when it is known.
//!
//! What was seen of a container is gathered here; whether that means success is for
//! [`crate::policy::Verifier`] to say. An outcome frees the host for the next restart, goes to the
//! Control Plane as `action.verified` or `action.failed`, and lets the alert be judged again, so that
//! the ladder is climbed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::evidence::vector;
use super::judge::asks;
use super::{Engine, Fact};
use crate::alerts::{Alert, AlertState};
use crate::base::{DeliveryId, Labels, Now, Timestamp, parse_rfc3339, quoted};
use crate::outbox::{
    self, ActionKind, ActionMode, Answer, Data, Draft, Event, EventType, delivery_id, trace_id,
};
use crate::policy::{Evidence, HoldReason, Incident, Outcome, Proposal, Request, Seen, Verdict};
use crate::rules::Action;

/// What tells how much of the CPU a container has used.
const CPU_SECONDS: &str = "container_cpu_usage_seconds_total";

impl Engine {
    /// Starts to watch a restart that was asked for in earnest.
    pub(super) fn watch(
        &mut self,
        now: Now,
        (proposal, id): (&Proposal, &DeliveryId),
        incident: &Incident,
        evidence: &Evidence,
    ) {
        let action = &proposal.action;
        if action.kind != ActionKind::Restart || action.mode != ActionMode::Request {
            return;
        }
        let label = |name: &str| incident.label(name).to_owned();
        let container = evidence.figures.container.as_ref();
        let request = Request {
            dedup_key: action.dedup_key.clone(),
            delivery_id: id.0.clone(),
            subject: proposal.subject.clone(),
            tenant: proposal.tenant.clone(),
            name: label("name"),
            host: label("host"),
            alert: incident.alert.clone(),
            fingerprint: incident.fingerprint.clone(),
            trace_id: trace_id(&incident.fingerprint, incident.starts_at),
            started_before: container.and_then(|c| c.started_at).map(|at| at.0),
            cpu_seconds_before: self.cpu_seconds(&label("name"), now.wall),
            asked_at: now.wall,
            expires_at: action.expires_at.0,
            gates_before: self.gates_before(&proposal.tenant, &proposal.subject),
        };
        self.changes.push(self.memory.verifier.begin(request));
    }

    /// What the outbox learned about a request.
    pub(super) fn note_delivery(&mut self, now: Now, fact: &outbox::Fact) {
        match fact {
            outbox::Fact::Delivered { delivery, answer } if delivery.event_type.is_request() => {
                self.take_answer(now, &delivery.id, answer);
            }
            outbox::Fact::Delivered { delivery, .. } | outbox::Fact::Unheard { delivery, .. } => {
                let ended = delivery.ends();
                self.changes.extend(ended.and_then(|key| self.memory.guards.told(&key)));
            }
            outbox::Fact::Expired { request, withdrawn: None, .. }
                if self.is_shown(&request.id) => {}
            outbox::Fact::Expired { request, withdrawn, may_be_taken, .. } => {
                if *may_be_taken {
                    self.count_in_doubt(now, &request.id);
                }
                let (outcome, why) = match withdrawn {
                    Some(why) => (Outcome::Withdrawn, why.as_str()),
                    None => (Outcome::Expired, "nobody took it in time"),
                };
                let tells = self.setup.outbox.as_ref().is_some_and(|config| !config.restarts_only);
                if outcome == Outcome::Expired && tells {
                    self.changes.extend(self.memory.guards.untold(&request.id.0));
                }
                self.drop_request(now, &request.id, outcome, why);
                self.note_void(&request.id, outcome);
            }
            outbox::Fact::DeadLettered { delivery, may_be_taken } => {
                let why = "the receiver refused the request again and again";
                self.give_up_request(now, &delivery.id, *may_be_taken, why);
            }
            outbox::Fact::Dropped { delivery, may_be_taken } => {
                let why = "an operator dropped the request";
                self.give_up_request(now, &delivery.id, *may_be_taken, why);
            }
            outbox::Fact::Overflowed { requests, .. } => {
                for (id, may_be_taken) in requests {
                    let why = "the outbox had no room for the request";
                    self.give_up_request(now, id, *may_be_taken, why);
                }
            }
            _ => {}
        }
    }

    /// A request is asked no more, though nobody has said that it is not done.
    fn give_up_request(&mut self, now: Now, id: &DeliveryId, may_be_taken: bool, why: &str) {
        if may_be_taken {
            self.count_in_doubt(now, id);
        }
        self.drop_request(now, id, Outcome::Declined, why);
    }

    /// Requests that nobody has answered and that wait nowhere any more: an operator dropped them while we did
    /// not run, or their rows could not be read.
    pub(super) fn drop_lost(&mut self, now: Now) {
        let Some(outbox) = &self.outbox else { return };
        let ids = self.memory.verifier.requests().map(|it| DeliveryId(it.delivery_id.clone()));
        let is_lost = |id: &DeliveryId| !self.memory.verifier.is_taken(&id.0) && !outbox.waits(id);
        for id in ids.filter(is_lost).collect::<Vec<_>>() {
            self.give_up_request(now, &id, true, "it was dropped while plimsoll did not run");
        }
    }

    /// Whether a delivery asks for nothing and only shows what would be asked. One that runs out is like what
    /// is only observed: nobody could act on it, so it is not over, nor shown anew.
    fn is_shown(&self, id: &DeliveryId) -> bool {
        let asked = self.memory.guards.asked(&id.0);
        asked.is_some_and(|asked| asked.mode == Some(ActionMode::DryRun))
    }

    /// A request that is over may have been carried out, or be carried out yet: whoever was told of it
    /// did not answer, and to be withdrawn is no order to stop.
    fn count_in_doubt(&mut self, now: Now, id: &DeliveryId) {
        let policy = &self.setup.policy;
        let until = policy.limits.expiry + policy.verify.within;
        let change = match self.may_be_done(now, id) {
            true => self.memory.guards.maybe_done(&id.0),
            false => self.memory.guards.doubt(&id.0, until),
        };
        self.changes.extend(change);
    }

    /// What the receiver says of a request, in its answer or in a receipt.
    pub(super) fn take_answer(&mut self, now: Now, delivery: &DeliveryId, answer: &Answer) {
        if !self.memory.verifier.watches(&delivery.0) {
            return self.settle_unwatched(delivery, answer);
        }
        if self.memory.verifier.is_judged(&delivery.0) {
            // It helped: what is said of it later changes nothing.
            return;
        }
        let because = |what: &str| match &answer.reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what.to_owned(),
        };
        let config = self.setup.policy.verify;
        let change_id = answer.change_id.clone();
        let change = match (answer.decision.as_deref(), answer.outcome.as_deref()) {
            (Some("declined"), _) => {
                // A start since then is taken for this restart, whatever is said of it now.
                if self.memory.verifier.is_taken(&delivery.0) && self.may_be_done(now, delivery) {
                    self.changes.extend(self.memory.guards.maybe_done(&delivery.0));
                }
                let why = because("the receiver declined");
                return self.drop_request(now, delivery, Outcome::Declined, &why);
            }
            (Some("done"), Some("failed")) => {
                self.await_start(now, delivery);
                let why = because("the receiver could not do it");
                return self.drop_request(now, delivery, Outcome::Ineffective, &why);
            }
            (Some("done"), _) => self.memory.verifier.done(&delivery.0, change_id, now, &config),
            _ => {
                let until = answer.verify_until.as_deref().and_then(parse_rfc3339);
                self.memory.verifier.accepted(&delivery.0, (change_id, until), now, &config)
            }
        };
        self.changes.extend(change);
    }

    /// What nobody watches, a nudge, advice or a dry run, is not open any more either: one request is told
    /// to be void once. The same may be asked for anew.
    fn note_void(&mut self, id: &DeliveryId, outcome: Outcome) {
        let Some(asked) = self.memory.guards.asked(&id.0) else { return };
        let row = self.memory.guards.finish(&asked.dedup_key, outcome.name());
        if row.is_some() {
            self.judge_again(&asked.subject);
        }
        self.changes.extend(row);
    }

    /// Whether a request that the receiver may have seems to have been carried out: a nudge leaves no
    /// trace, a restart does.
    pub(super) fn may_be_done(&self, now: Now, id: &DeliveryId) -> bool {
        let watched = self.memory.verifier.requests().find(|request| request.delivery_id == id.0);
        // Seen once is enough: a scrape that fails now does not undo it.
        watched.is_none_or(|request| {
            self.memory.verifier.is_restarted(&id.0)
                || self.seen(request, now.wall, now).is_anew(request)
        })
    }

    fn drop_request(&mut self, now: Now, id: &DeliveryId, outcome: Outcome, why: &str) {
        if let Some((verdict, change)) = self.memory.verifier.dropped(&id.0, outcome, why) {
            self.changes.push(change);
            self.conclude(now, verdict);
        }
    }

    /// Looks at every request whose outcome is not known yet.
    pub(super) fn verify_actions(&mut self, now: Now, at: Timestamp) {
        let requests: Vec<Request> = self.memory.verifier.requests().cloned().collect();
        for request in requests {
            let seen = self.seen(&request, at, now);
            let config = self.setup.policy.verify;
            let (verdict, change) =
                self.memory.verifier.check(&request.dedup_key, &seen, now, &config);
            self.changes.extend(change);
            if let Some(verdict) = verdict {
                self.conclude(now, verdict);
            }
        }
    }

    fn seen(&self, request: &Request, at: Timestamp, now: Now) -> Seen {
        let labels =
            [("name", &request.name), ("service", &request.subject), ("tenant", &request.tenant)];
        let labels = Labels::from_pairs(labels.map(|(name, text)| (name, text.as_str())));
        let about = Incident {
            rule: String::new(),
            alert: request.alert.clone(),
            fingerprint: request.fingerprint.clone(),
            revision: 0,
            starts_at: request.asked_at,
            whose: labels.clone(),
            labels,
            owner_differs: false,
            annotations: BTreeMap::new(),
            asks: Action::None,
            unknown: false,
        };
        let evidence = self.evidence(&about, Duration::ZERO, at, now);
        let fresh = evidence.sample_age <= self.setup.policy.limits.evidence_age;
        let container = evidence.figures.container.as_ref();
        let started_at = container.and_then(|container| container.started_at).map(|at| at.0);
        Seen {
            started_at,
            docker_started_at: self.containers.docker_started_at(&request.name),
            cpu_seconds: self.cpu_seconds(&request.name, at),
            gates: self.gates_seen(
                &request.tenant,
                &request.subject,
                self.last_start(&request.subject, &request.name, started_at),
            ),
            ratio: evidence.figures.ratio.filter(|_| fresh),
            gates_failing: evidence.probes_failing,
            alert_firing: self.is_firing((&request.subject, &request.name)),
            watched_for: self.clock.age(now),
        }
    }

    /// What a container has used of the CPU, by whoever is furthest behind: of several that measure it one
    /// may be lost, and what is known must not fall for that.
    fn cpu_seconds(&self, name: &str, at: Timestamp) -> Option<f64> {
        let query = format!("min(sum without (cpu) ({CPU_SECONDS}{{name={}}}))", quoted(name));
        let found = vector(&query, &self.window, at, &self.setup.eval);
        found.first().map(|(_, seconds)| *seconds).filter(|_| !name.is_empty())
    }

    /// Whether an alert fires that asks for something to be done to this container of a service, or to the
    /// service as a whole. What ails a container beside it says nothing of this one, nor what a neighbour does
    /// to it.
    fn is_firing(&self, (service, name): (&str, &str)) -> bool {
        let is_about = |labels: &Labels| {
            let theirs = labels.get("name").unwrap_or_default();
            name.is_empty() || theirs.is_empty() || theirs == name
        };
        let is_others = |held: &HoldReason| *held == HoldReason::Neighbour;
        self.groups.iter().any(|group| {
            let rules = group.group.rules.iter().zip(&group.rules);
            rules.filter(|(rule, _)| matches!(asks(rule), Action::Restart | Action::Decide)).any(
                |(_, state)| {
                    state.alerts.values().any(|alert| {
                        alert.state == AlertState::Firing
                            && !state.held.get(&alert.labels).is_some_and(is_others)
                            && is_about(&alert.labels)
                            && self.service_of(&alert.labels) == service
                    })
                },
            )
        })
    }

    /// Whom active alerts that ask for something are about.
    pub(super) fn subjects_of_alerts(&self) -> BTreeSet<String> {
        self.active_incidents().map(|incident| incident.subject()).collect()
    }

    /// Active alerts that ask for something.
    fn active_incidents(&self) -> impl Iterator<Item = Incident> {
        let rules = self.groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        let asking = rules.filter(|(rule, _)| asks(rule) != Action::None);
        asking.flat_map(move |(rule, state)| {
            let active = state.alerts.values().filter(|alert| alert.is_active());
            active.map(move |alert| self.incident(rule, alert))
        })
    }

    /// Of the subjects that something was asked for in this round, forgets what was asked for so long ago that
    /// it can matter no longer, unless it is about an alert that still holds: else that would be asked for again.
    /// All of them in one walk over the alerts, because thousands may be judged anew in one round.
    pub(super) fn forget_old_actions(&mut self, now: Now) {
        let limits = &self.setup.policy.limits;
        let asked = std::mem::take(&mut self.asked_in_round).into_iter();
        let old = asked.map(|subject| (self.memory.guards.old(&subject, now, limits), subject));
        let mut over: BTreeMap<String, BTreeSet<String>> = old
            .filter(|(keys, _)| !keys.is_empty())
            .map(|(keys, subject)| (subject, keys))
            .collect();
        if over.is_empty() {
            return;
        }
        for incident in self.active_incidents() {
            if let Some(keys) = over.get_mut(&incident.subject()) {
                incident.keys().for_each(|(_, standing)| _ = keys.remove(&standing));
            }
        }
        let guards = &mut self.memory.guards;
        self.changes.extend(over.iter().filter_map(|(subject, keys)| guards.forget(subject, keys)));
    }

    fn conclude(&mut self, now: Now, verdict: Verdict) {
        let Verdict { request, outcome, why, verification } = verdict;
        self.changes.extend(self.memory.guards.finish(&request.dedup_key, outcome.name()));
        self.judge_again(&request.subject);
        let asked = Box::new(request.clone());
        let told = Fact::Outcome { request: asked, outcome: outcome.name(), why: why.clone() };
        self.facts.push(told);
        let event_type = match outcome {
            Outcome::Effective => EventType::ActionVerified,
            Outcome::Ineffective | Outcome::Relapsed => EventType::ActionFailed,
            // The receiver knows these, or hears of them from the outbox.
            Outcome::Declined | Outcome::Expired | Outcome::Withdrawn => return,
        };
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let data = Data {
            alert: some(&request.alert),
            fingerprint: some(&request.fingerprint),
            host: some(&request.host).or_else(|| some(&self.setup.host)),
            tenant_id: some(&request.tenant),
            service: some(&request.subject),
            verification: Some(verification),
            reason: Some(why),
            trace_id: some(&request.trace_id),
            ..Data::default()
        };
        let id = delivery_id(now.wall, &[&request.dedup_key, outcome.name()]);
        self.push_event(now, Draft { id, event: Event::new(event_type, now.wall, data) });
    }

    /// What was decided about a subject no longer stands.
    pub(super) fn judge_again(&mut self, subject: &str) {
        let mut groups = std::mem::take(&mut self.groups);
        for group in &mut groups {
            for (rule, state) in group.group.rules.iter().zip(&mut group.rules) {
                let of = |alert: &&mut Alert| self.incident(rule, alert).subject() == subject;
                let judged = state.alerts.values_mut().filter(|alert| alert.judged);
                judged.filter(of).for_each(|alert| alert.judged = false);
            }
        }
        self.groups = groups;
    }
}
