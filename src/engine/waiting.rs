//! Guards hold until a request has left the house.
//!
//! A request may wait: the Control Plane is away, the disk is full, the process was down. Meanwhile a
//! backup begins, somebody throws the kill switch, the trouble passes. So before anything is handed
//! out, what waits is looked at again by the guards it was decided by, and withdrawn if one of them
//! stands against it now. While the alert fires it may be decided anew, as another request.

use std::time::Duration;

use super::evidence::started_at;
use super::{Engine, group};
use crate::alerts::{Alert, AlertState};
use crate::base::{DeliveryId, Now, fingerprint};
use crate::outbox::{Action, Data, Event, Waiting};
use crate::policy::{Case, HoldReason, still_stands};
use crate::rules::Rule;

/// Until then after a start or a reload nobody can say whether a request still stands.
const HELD_BACK: Duration = Duration::from_secs(1);

/// What becomes of a request that waits.
enum Fate {
    Stands,
    /// Too early to say, or not while the kill switch is thrown.
    HeldBack,
    /// It is not called for any more, for this reason.
    Void(String),
}

impl Engine {
    /// Looks again at what waits: at all of it after a round, else at what would leave now.
    pub(super) fn look_again(&mut self, now: Now) {
        let round = std::mem::take(&mut self.round_judged);
        let Some(outbox) = &self.outbox else { return };
        let looked_at = outbox.requests(now).filter(|waiting| round || waiting.is_next);
        let event = |waiting: Waiting<'_>| {
            let Waiting { delivery, may_be_taken, .. } = waiting;
            Some((delivery.id.clone(), delivery.event()?, may_be_taken))
        };
        let waiting: Vec<(DeliveryId, Event, bool)> = looked_at.filter_map(event).collect();
        for (id, event, may_be_taken) in waiting {
            let fate = self.fate(now, &event.data, &|| may_be_taken && self.may_be_done(now, &id));
            let batch = self.batch();
            let Some(outbox) = &mut self.outbox else { return };
            match fate {
                Fate::Stands => {}
                Fate::HeldBack => outbox.hold_back(&id, now.monotonic + HELD_BACK),
                Fate::Void(why) => {
                    if let Some(turn) = outbox.withdraw(&id, &why, now, batch) {
                        self.take_turn(now, turn);
                    }
                }
            }
        }
    }

    /// `seems_done`: the receiver may have carried it out without our hearing of it. Then it is asked on,
    /// under its one id, until it says so: that it helped is no reason to take it back. While the kill
    /// switch is thrown it waits.
    fn fate(&self, now: Now, data: &Data, seems_done: &dyn Fn() -> bool) -> Fate {
        let rule = data.evidence.as_ref().and_then(|evidence| evidence.rule.as_deref());
        let Some((action, rule)) = data.action.as_ref().zip(rule) else { return Fate::Stands };
        // Perhaps somebody else did it: then to ask on is to ask in earnest.
        let asked_on = || if self.switches.kill { Fate::HeldBack } else { Fate::Stands };
        let over = || match seems_done() {
            true => asked_on(),
            false => {
                let alert = data.alert.as_deref().unwrap_or("its alert");
                Fate::Void(format!("its cause has ended, {alert} is resolved"))
            }
        };
        let Some(place) = self.place(rule) else { return over() };
        let (group, index) = (&self.groups[place.0], place.1);
        let is_it = |alert: &&Alert| {
            Some(format!("{:016x}", fingerprint(&alert.labels))) == data.fingerprint
        };
        let alert = group.rules[index].alerts.values().find(is_it);
        let Some(alert) = alert.filter(|alert| alert.state == AlertState::Firing) else {
            return over();
        };
        let (reason, why) = self.against(now, (group, &group.group.rules[index]), alert, action);
        let unseen = group.rules[index].last_evaluation.is_none();
        let early = unseen || self.targets.values().any(|target| !target.answered);
        match reason {
            None if unseen => Fate::HeldBack,
            None => Fate::Stands,
            Some(
                HoldReason::AlertUnknown | HoldReason::StaleEvidence | HoldReason::MissingEvidence,
            ) if early => Fate::HeldBack,
            Some(HoldReason::StartGrace) if seems_done() => asked_on(),
            Some(_) => Fate::Void(why),
        }
    }

    /// What stands against an action now, and what would lift it.
    fn against(
        &self,
        now: Now,
        (group, rule): (&group::GroupState, &Rule),
        alert: &Alert,
        action: &Action,
    ) -> (Option<HoldReason>, String) {
        let incident = self.incident(rule, alert);
        let mut evidence = self.evidence(&incident, group.interval, now.wall, now);
        let known = group.rules.iter().find_map(|state| state.causes.get(&incident.labels));
        let began = started_at(&incident, &evidence, now);
        let known = known.filter(|pinned| pinned.is_of(began));
        evidence.symptoms.earlier = known.map(|pinned| pinned.cause);
        let history = self.memory.guards.own_history(&incident.subject(), now);
        let circumstances = self.circumstances(now, &incident);
        let case = Case {
            incident: &incident,
            evidence: &evidence,
            history: &history,
            circumstances: &circumstances,
        };
        let reason = still_stands(action, &case, &self.setup.policy);
        let why = reason
            .map(|reason| format!("{}, lifted by {}", reason.name(), circumstances.lifts(reason)));
        (reason, why.unwrap_or_default())
    }

    /// Where a rule stands, by its id.
    fn place(&self, id: &str) -> Option<(usize, usize)> {
        let place = |(number, group): (usize, &group::GroupState)| {
            let rules = &group.group.rules;
            Some((number, rules.iter().position(|rule| *rule.id.0 == *id)?))
        };
        self.groups.iter().enumerate().find_map(place)
    }
}
