//! What judgement is given and what it gives back: an incident, the evidence, a proposal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::diagnose::{Symptoms, diagnose};
use super::fit::Fit;
use super::history::{History, is_failure};
use super::hold::HoldReason;
use super::verify::Outcome;
use crate::base::{DeliveryId, Labels, Now, Timestamp};
use crate::calendar::Open;
use crate::outbox::{
    self, Action, ActionKind, Data, Event, WireTime, dedup_key, delivery_id, text_map, trace_id,
};
use crate::rules::Action as Asked;

/// So often one action is asked for in an episode, if it is withdrawn or runs out again and again. Ours.
const ASKED_MAX: usize = 10;
/// What stands for the kind of an action in the key under which a person is told of a refusal.
pub const REFUSED: &str = "refused";

/// The keys under which one action is asked for in an episode, from its first on: a request that was
/// withdrawn or ran out is void for good, and what is asked for after it is another.
pub fn askings(first: &str) -> impl Iterator<Item = String> {
    let again = move |n| if n == 1 { first.to_owned() } else { format!("{first}-{n}") };
    (1..=ASKED_MAX).map(again)
}

/// Whether this is a key under which something is asked for anew: the first one is a checksum, and has
/// no hyphen.
pub(super) fn is_asked_anew(key: &str) -> bool {
    key.contains('-')
}

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
    /// Its labels, as they tell it from other alerts.
    pub labels: Labels,
    /// The same with tenant, plan, role and service of the container it names, as identity has them:
    /// what an alert says of its owner is only a claim.
    pub whose: Labels,
    /// Its labels name another owner than its container has, or the container is not one.
    pub owner_differs: bool,
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
        match self.label("service") {
            service if touches && !service.is_empty() => service.to_owned(),
            _ => format!("alert:{}", self.fingerprint),
        }
    }

    /// The key under which an action of this kind is asked for first in this episode.
    pub fn dedup_key(&self, kind: ActionKind) -> String {
        dedup_key(&self.rule, &self.fingerprint, self.starts_at, kind.name())
    }

    /// The key under which a person would be told now that its restart is refused. Of its own: the
    /// restart stays open.
    pub fn refused_key(&self, history: &History) -> String {
        next(dedup_key(&self.rule, &self.fingerprint, self.starts_at, REFUSED), history)
    }

    /// Every key under which something may have been asked for in this episode, with what it is; each kind
    /// in its order.
    pub fn keys(&self) -> impl Iterator<Item = (ActionKind, String)> {
        let key = |of: &str| dedup_key(&self.rule, &self.fingerprint, self.starts_at, of);
        let kinds = ActionKind::ALL.map(|kind| (kind, key(kind.name())));
        let firsts = kinds.into_iter().chain([(ActionKind::Advise, key(REFUSED))]);
        firsts.flat_map(|(kind, first)| {
            askings(&first).map(move |key| (kind, key)).collect::<Vec<_>>()
        })
    }

    /// The key under which an action of this kind would be asked for now: once in an episode, and
    /// again only if what was asked for before is void.
    pub(super) fn next_key(&self, kind: ActionKind, history: &History) -> String {
        next(self.dedup_key(kind), history)
    }

    /// What was asked for last of this kind in this episode, and how it ended if that is known.
    pub(super) fn last_asked<'a>(
        &self,
        kind: ActionKind,
        history: &'a History,
    ) -> Option<Option<&'a str>> {
        let first = self.dedup_key(kind);
        let known = askings(&first).map_while(|key| history.asked.get(&key));
        known.last().map(Option::as_deref)
    }

    /// How the last request of this kind in this episode failed, unless it is to be asked for anew.
    pub(super) fn failed<'a>(&self, kind: ActionKind, history: &'a History) -> Option<&'a str> {
        let result =
            self.last_asked(kind, history).flatten().filter(|result| is_failure(result))?;
        let next = self.next_key(kind, history);
        let anew = !history.asked.contains_key(&next) || history.unheard.contains(&next);
        (!anew).then_some(result)
    }

    /// Whether something was asked for in this episode that has not failed. That a person was told in the
    /// place of a restart which ran out settles nothing once that restart may be asked for anew.
    pub fn is_settled(&self, history: &History) -> bool {
        let fine = |result: Option<&str>| !result.is_some_and(is_failure);
        let restart = self.last_asked(ActionKind::Restart, history).flatten();
        let ran_out = restart == Some(Outcome::Expired.name());
        let is_due = ran_out && self.failed(ActionKind::Restart, history).is_none();
        let mut kinds = ActionKind::ALL.into_iter();
        kinds.any(|kind| {
            let is_instead = is_due && kind == ActionKind::Advise;
            !is_instead && self.last_asked(kind, history).is_some_and(fine)
        })
    }

    /// What is known under this label, or `""`.
    pub fn label(&self, name: &str) -> &str {
        self.whose.get(name).unwrap_or_default()
    }
}

/// The first of an action's keys that is not void; the first of all, if it was asked for too often.
fn next(first: String, history: &History) -> String {
    let next = askings(&first).find(|key| !history.is_void(key));
    next.unwrap_or(first)
}

/// What the rule asked when it was decided, so that whoever gets an action can ask again.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Question {
    /// Its expression.
    pub expr: String,
    /// What that yielded, if it is a number.
    pub value: Option<f64>,
    /// What that is compared with, if that is a number.
    pub threshold: Option<f64>,
    /// How far back it looks.
    pub window: Duration,
    /// How long the condition had to hold.
    pub held_for: Duration,
    /// Where it can be asked again, or `""`.
    pub url: String,
}

/// What is known at the moment of the decision.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// The figures, as they are sent along.
    pub figures: outbox::Evidence,
    /// Age of the newest sample that fed the alert.
    pub sample_age: Duration,
    /// Nobody who measures containers has ever told of this one.
    pub is_unseen: bool,
    /// None of the container's series goes on: its target has failed, or it is gone; or one cannot be
    /// read.
    pub has_ended: bool,
    /// Scrape interval of that target.
    pub interval: Duration,
    /// Age of the container, if it is known.
    pub container_age: Option<Duration>,
    /// The figures a diagnosis rests on.
    pub symptoms: Symptoms,
    /// At the pace of the last minutes memory reaches its limit within two minutes.
    pub rushes: bool,
    /// The kernel has not killed in it since it was started last.
    pub started_since_kill: bool,
    /// It is told how long the container waits for the CPU, but not yet for long enough to say
    /// whether it starves.
    pub starvation_unseen: bool,
    /// Age of the last change of the container that was not ours: a new image, new limits.
    pub change_age: Option<Duration>,
    /// Services that were given its image fell ill one after the other.
    pub bad_image: bool,
    /// The host is short of memory or CPU.
    pub host_pressure: bool,
    /// Who tells of that does not answer.
    pub pressure_unseen: bool,
    /// A health, login or API probe fails, ours or one of others.
    pub gates_failing: bool,
    /// One of others fails.
    pub probes_failing: bool,
    /// Its workers start anew by themselves, and have not all had their turn since the alert began;
    /// nor has the kernel killed, nor will it before that.
    pub recycle_due: bool,
    /// The container's limits are not its plan's.
    pub limit_drift: bool,
    /// Its limits are its role's own: no plan sets them, and a bigger one would not raise them.
    pub own_limits: bool,
    /// What the tenant needs: the 95th percentile of its demand for memory, bytes.
    pub needed_bytes: Option<f64>,
    /// Which plan would have fitted the demand of the last weeks.
    pub fit: Option<Fit>,
}

/// What else bears on an action, apart from the alert and its container. By default nothing is in
/// the way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Circumstances {
    /// The kill-switch file is there.
    pub kill_switch: bool,
    /// A host-wide incident is going on.
    pub host_incident: bool,
    /// A maintenance window that is open.
    pub maintenance: Option<Open>,
    /// Quiet hours that are going on.
    pub quiet_hours: Option<Open>,
    /// A backup or a migration of this service is under way.
    pub busy: bool,
    /// Why nothing is done for the tenant, if so: its state, or that nobody knows it.
    pub inactive: Option<String>,
    /// What the tenant agreed to; `None` for everything.
    pub opted_in: Option<BTreeSet<ActionKind>>,
}

impl Circumstances {
    /// What lifts a hold of this case: as [`HoldReason::lifted_by`], with what is known besides.
    pub fn lifts(&self, reason: HoldReason) -> String {
        let plain = reason.lifted_by();
        let of = |open: &Open| match open.until {
            Some(until) => format!("{plain} `{}` at {until}", open.name),
            None => format!("{plain} `{}`, which follows on itself", open.name),
        };
        let more = match reason {
            HoldReason::Maintenance => self.maintenance.as_ref().map(of),
            HoldReason::QuietHours => self.quiet_hours.as_ref().map(of),
            HoldReason::TenantNotActive => {
                self.inactive.as_ref().map(|why| format!("{plain}: {why}"))
            }
            _ => None,
        };
        more.unwrap_or_else(|| plain.to_owned())
    }
}

/// Everything one decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The alert.
    pub incident: &'a Incident,
    /// What is known about its container.
    pub evidence: &'a Evidence,
    /// What was done before.
    pub history: &'a History,
    /// What else bears on it.
    pub circumstances: &'a Circumstances,
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

impl Proposal {
    /// The id of the delivery that asks for it, if it is asked for now.
    pub fn delivery_id(&self, now: Now) -> DeliveryId {
        delivery_id(now.wall, &[&self.action.dedup_key])
    }

    /// The event that asks for it.
    pub fn event(
        &self,
        incident: &Incident,
        (question, evidence): (&Question, &Evidence),
        now: Now,
    ) -> Event {
        let label = |name: &str| incident.whose.get(name).map(str::to_owned);
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let seconds = |time: Duration| Some(time.as_secs_f64()).filter(|seconds| *seconds > 0.0);
        let figures = outbox::Evidence {
            cause: Some(diagnose(&evidence.symptoms).name().to_owned()),
            rule: Some(incident.rule.clone()),
            expr: some(&question.expr),
            threshold: question.threshold,
            window_seconds: seconds(question.window),
            for_seconds: seconds(question.held_for),
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
            value: question.value,
            links: some(&question.url).map(|url| ("query".to_owned(), url)).into_iter().collect(),
            action: Some(self.action.clone()),
            evidence: Some(Box::new(figures)),
            trace_id: Some(trace_id(&incident.fingerprint, incident.starts_at)),
            ..Data::default()
        };
        Event::new(self.action.kind.event_type(), now.wall, data)
    }
}
