//! Doors of tenants in the engine: which are due, what their answers mean for alerts and actions.
//!
//! What is asked and how an answer is judged stands in [`crate::policy::Gates`]. Here the containers
//! of the host become places, the state of every door becomes a series, and a door that shuts after a
//! change (our own restart, somebody's deploy) becomes `change.verification.failed`, once for each
//! change. Whether that is sent, shown or only written down is for the mode of `rollback_advice`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::evidence::vector;
use super::host::USAGE_EVERY;
use super::view::GateView;
use super::{Engine, Fact, Request, Step};
use crate::base::{Labels, METRIC_NAME, Now, START_SKEW_S, Timestamp};
use crate::outbox::{
    Action, ActionKind, ActionMode, Data, Draft, Event, GateResult, WireTime, checksum, trace_id,
};
use crate::policy::{
    GateKey, GateSeen, History, HoldReason, Miss, Mode, Outcome, Page, Place, Proposal, Reading,
    Replaced, Request as Asked, RunsAs, Shut, Turn, askings,
};

/// The containers of tenants, whoever measures them.
const PLACES: &str = "group by (tenant, service, name, role, plan) \
     (container_start_time_seconds{tenant!=\"\"} or container_memory_working_set_bytes{tenant!=\"\"})";

/// The containers of tenants that tell when they were started, which may be lately.
const STARTS: &str =
    "max by (tenant, service, name) (container_start_time_seconds{tenant!=\"\",name!=\"\"})";
/// Who makes a change takes the old one down first, and it takes a moment until it is seen: a door that
/// shut so long before may have shut for it. Ours.
const DOWN_FIRST: Duration = Duration::from_secs(180);

/// Which image a container runs is told by what tells its limit.
const LIMIT: &str = "container_spec_memory_limit_bytes";
/// By then what measures a container has seen which image it runs, however often it is scraped. Ours.
const SCRAPED_WITHIN_MIN: Duration = Duration::from_secs(30);
/// With the minute until usage is looked at, half a minute less than [`DOWN_FIRST`]: a deploy that is seen
/// later is not blamed for what went down for it, so that to wait for it would leave that untold.
const SCRAPED_WITHIN_MAX: Duration = Duration::from_secs(90);

/// What is said of a door that is told anew.
const TOLD_ANEW: &str = "; told anew, as nobody took it before";
/// What is said of one that the kill switch held when it was to be told first.
const TOLD_LATE: &str = "; held by the kill switch at first";
/// As [`TOLD_ANEW`], where no reading tells whether it was shut all the time.
const TOLD_ANEW_UNWATCHED: &str = "; told anew, as nobody took it before; \
     whether it opened while plimsoll was down is not known";

/// What our own restart is called.
const OURS: &str = "restart";
/// What a start by others is called that is no deploy.
const START: &str = "start";

/// On the wire: what a container is deployed with.
fn deployed_with(runs_as: &RunsAs) -> Value {
    let limit = ("limit_bytes", Value::from(runs_as.limit_bytes));
    let image = Some(("image", Value::from(runs_as.image.as_str())));
    let image = image.filter(|_| !runs_as.image.is_empty());
    let cores = runs_as.cpu_limit_cores.map(|cores| ("cpu_limit_cores", Value::from(cores)));
    let all = image.into_iter().chain([limit]).chain(cores);
    Value::Object(all.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A change after which doors have to stay open.
struct Changed {
    /// What makes it this change and no other: the `dedup_key` of our request, or what was changed, of
    /// which `since` tells one change from the next.
    id: String,
    service: String,
    tenant: String,
    /// `restart` (ours), `deploy` or `start` (by others).
    what: &'static str,
    change_id: Option<String>,
    /// What a deploy changed, if that was seen.
    replaced: Option<Replaced>,
    /// When the container started.
    since: Timestamp,
    /// When somebody else started it again: what shuts from then on is not this change's fault.
    until: Option<Timestamp>,
    /// What doors said before.
    before: BTreeMap<String, String>,
    /// The request, if it was ours.
    request: Option<Asked>,
}

impl Changed {
    /// The key under which it is told.
    fn dedup_key(&self) -> String {
        self.key(0)
    }

    /// Every key under which it may have been told, as who tells of its start may differ.
    fn keys(&self) -> impl Iterator<Item = String> {
        let skew = if self.what == OURS { 0 } else { START_SKEW_S.cast_signed() };
        (-skew..=skew).map(|seconds| self.key(seconds))
    }

    fn key(&self, later_s: i64) -> String {
        let kind = ActionKind::RollbackAdvice.name();
        match self.what {
            OURS => checksum(&[&self.id, kind]),
            _ => {
                let second = self.since.as_millis().div_euclid(1000) + later_s;
                checksum(&[&self.id, &second.to_string(), kind])
            }
        }
    }
}

/// What is said besides of a door that is told.
pub(super) fn told_anew(shut: &Shut, is_anew: bool) -> &'static str {
    match (is_anew, shut.was_held, shut.was_unwatched) {
        (false, ..) => "",
        (true, true, _) => TOLD_LATE,
        (true, false, false) => TOLD_ANEW,
        (true, false, true) => TOLD_ANEW_UNWATCHED,
    }
}

impl Engine {
    /// Asks at the doors that are due.
    pub(super) fn try_gates(&mut self, now: Now, step: &mut Step) {
        if self.gates.is_empty() {
            return;
        }
        let underway = self.memory.verifier.underway(now);
        let hurried: BTreeSet<String> =
            underway.map(|change| change.request.tenant.clone()).collect();
        let probes = self.gates.due(now, &self.setup.host, &hurried);
        step.requests.extend(probes.into_iter().map(Request::Probe));
    }

    /// A door was tried.
    pub(super) fn take_probe(
        &mut self,
        now: Now,
        (key, number): (&GateKey, u64),
        answer: Result<Page, Miss>,
    ) {
        let unaskable = match &answer {
            Err(Miss::Unaskable(why)) => Some(why.clone()),
            _ => None,
        };
        let news = unaskable.as_deref() != self.gates.unaskable(key);
        let turn = self.gates.take((key, number), answer, now);
        if self.gates.reading(key).is_some_and(|reading| reading.passes) {
            self.changes.extend(self.memory.shut.opened(key));
        }
        if let Some(turn) = turn {
            let Turn { key, passes, previous, current } = turn;
            self.facts.push(match passes {
                true => Fact::GatePasses { key, current },
                false => Fact::GateFails { key, previous, current },
            });
        } else if let Some(why) = unaskable.filter(|_| news) {
            self.facts.push(Fact::GateUnaskable { key: key.clone(), why });
        }
        self.view_is_old = true;
    }

    /// Looks at which containers there are, and at what became of doors after changes. Once a round.
    pub(super) fn observe_gates(&mut self, now: Now, at: Timestamp) {
        if self.gates.is_empty() {
            return;
        }
        let found = vector(PLACES, &self.window, at, &self.setup.eval);
        let place = |(labels, _): &(Labels, f64)| {
            let label = |name| labels.get(name).unwrap_or_default().to_owned();
            Place {
                tenant: label("tenant"),
                service: label("service"),
                name: label("name"),
                role: label("role"),
                plan: label("plan"),
            }
        };
        let places: Vec<Place> = found.iter().map(place).collect();
        self.gates.show(now, &places);
        self.note_starts(now, at);
        let all = self.changed(now, at, &places);
        self.gates.hurry(all.iter().map(|changed| changed.tenant.clone()).collect());
        for changed in &all {
            self.hold_to_account(now, changed, &all);
        }
        self.tell_anew(now);
    }

    /// Our own restarts whose effect is watched now. One that helped answers for nothing after a
    /// later start.
    fn restarted(&self, now: Now, at: Timestamp) -> Vec<Changed> {
        let changed = self.memory.verifier.underway(now).filter_map(|change| {
            let request = change.request;
            let own = self.memory.guards.start_of(&request.dedup_key);
            let last = self.start_of(&request.subject, &request.name, at);
            if own.is_none() && request.started_before.is_some() && last.is_some() {
                return None;
            }
            let until = last.filter(|last| own.is_some_and(|own| last.is_later_start(own)));
            if until.is_some() && self.memory.verifier.is_judged(&request.delivery_id) {
                return None;
            }
            Some(Changed {
                id: request.dedup_key.clone(),
                service: request.subject.clone(),
                tenant: request.tenant.clone(),
                what: OURS,
                change_id: change.change_id.map(str::to_owned),
                replaced: None,
                since: own.or(last).unwrap_or(request.asked_at),
                until,
                before: request.gates_before.clone(),
                request: Some(request.clone()),
            })
        });
        changed.collect()
    }

    /// The changes whose effect is watched now.
    fn changed(&self, now: Now, at: Timestamp, places: &[Place]) -> Vec<Changed> {
        let deployed = places.iter().filter_map(|place| {
            let usage = self.memory.usage.get(&place.service)?;
            let since = usage.changed_at(None)?;
            let changed = Changed {
                id: place.service.clone(),
                service: place.service.clone(),
                tenant: place.tenant.clone(),
                what: "deploy",
                change_id: None,
                replaced: usage.replaced(None),
                since,
                until: None,
                before: BTreeMap::new(),
                request: None,
            };
            self.is_watched(&changed, now).then_some(changed)
        });
        let ours = self.restarted(now, at).into_iter();
        ours.chain(deployed).chain(self.started(now, at)).collect()
    }

    /// Starts that are not part of a deploy. One that a request of ours led to is told as that restart,
    /// also when its effect is watched no more.
    fn started(&self, now: Now, at: Timestamp) -> Vec<Changed> {
        let found = vector(STARTS, &self.window, at, &self.setup.eval).into_iter();
        let started = found.filter_map(|(labels, seconds)| {
            let label = |name| labels.get(name).unwrap_or_default();
            let (service, name) = (label("service"), label("name"));
            let since = self.last_start(service, name, Timestamp::of_start(seconds))?;
            if since > now.wall {
                return None;
            }
            let own = self.memory.guards.restart_at(service, since, now);
            let changed = self.memory.usage.get(service).and_then(|s| s.changed_at(Some(name)));
            let is_deploy = changed.is_some_and(|changed| {
                let told = self.memory.guards.last_new_at(service, ActionKind::RollbackAdvice);
                // Whoever hears of a deploy may answer it with a start, which is another change.
                let is_answer = told.is_some_and(|told| changed <= told && told < since);
                changed + DOWN_FIRST >= since && !is_answer
            });
            let changed = Changed {
                id: own.unwrap_or(name).to_owned(),
                service: service.to_owned(),
                tenant: label("tenant").to_owned(),
                what: if own.is_some() { OURS } else { START },
                change_id: None,
                replaced: None,
                since,
                until: None,
                before: BTreeMap::new(),
                request: None,
            };
            let counts = own.is_some() || !is_deploy;
            (counts && self.is_watched(&changed, now)).then_some(changed)
        });
        started.collect()
    }

    /// A door that shut after a change: tells it, once. `all` are the changes whose effect is watched.
    fn hold_to_account(&mut self, now: Now, changed: &Changed, all: &[Changed]) {
        if self.was_told(changed) || self.is_told_as_another(changed, all) {
            return;
        }
        let grace = self.setup.policy.verify.gate_grace;
        // Whoever is started again all the time would be new for ever; and it is known whether it is a deploy.
        let was_seen = self.usage_at.is_some_and(|at| at >= changed.since + self.scraped_within());
        let earliest = changed.since + if was_seen { grace } else { self.told_after(changed) };
        let told = self.memory.guards.last_new_at(&changed.service, ActionKind::RollbackAdvice);
        let shut = self.gates.of(&changed.tenant, &changed.service).find_map(|(key, reading)| {
            let reading = reading.filter(|r| r.is_firm && r.asked_at >= earliest)?;
            let before = changed.before.get(&key.gate).cloned();
            // One that never passed, or failed before, says nothing about the change.
            let shut = reading.failing_since.filter(|at| *at + DOWN_FIRST >= changed.since);
            if shut.zip(changed.until).is_some_and(|(shut, until)| shut >= until) {
                return None;
            }
            let was_told = shut.zip(told).is_some_and(|(shut, told)| shut <= told);
            if was_told && changed.request.is_none() {
                // It was told of another change.
                return None;
            }
            let before = before.or_else(|| reading.good.clone().filter(|_| shut.is_some()));
            Some((key.clone(), before?, reading.value.clone()))
        });
        let Some((door, previous, current)) = shut else { return };
        let trace_id = match &changed.request {
            Some(request) if !request.trace_id.is_empty() => request.trace_id.clone(),
            _ => trace_id(&changed.id, changed.since),
        };
        let shut = Shut {
            dedup_key: changed.dedup_key(),
            door,
            service: changed.service.clone(),
            tenant: changed.tenant.clone(),
            what: changed.what.to_owned(),
            since: changed.since,
            previous,
            trace_id,
            request: changed.request.clone(),
            change_id: changed.change_id.clone(),
            replaced: changed.replaced.clone(),
            was_held: self.switches.kill,
            was_unwatched: false,
        };
        self.tell_shut(now, &shut, (shut.dedup_key.clone(), current));
        // What is only shown or written down does not run out; what the kill switch held is told later.
        if self.setup.policy.mode_of(ActionKind::RollbackAdvice) == Mode::Act {
            self.keep(shut);
        }
    }

    /// Keeps what was told, to be told anew if nobody takes it.
    fn keep(&mut self, shut: Shut) {
        if let Some(row) = self.memory.shut.keep(&shut) {
            self.changes.push(row);
        } else {
            self.counters.shut_gates_unkept += 1;
            self.facts.push(Fact::ShutGateUnkept { shut: Box::new(shut) });
        }
    }

    /// Tells that a door shut after a change, under this key, and what it says now.
    pub(super) fn tell_shut(
        &mut self,
        now: Now,
        shut: &Shut,
        (dedup_key, current): (String, String),
    ) {
        let told_as = self.told_as();
        let params = [
            ("gate", Some(&shut.door.gate)),
            ("variable", Some(&shut.what)),
            ("previous", Some(&shut.previous)),
            ("current", Some(&current)),
            ("service", Some(&shut.service)),
            ("change_id", shut.change_id.as_ref()),
        ];
        let params = params
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?.as_str()))));
        let replaced = shut.replaced.iter().flat_map(|replaced| {
            [("from", &replaced.from), ("to", &replaced.to)]
                .map(|(name, runs_as)| (name.to_owned(), deployed_with(runs_as)))
        });
        let is_anew = dedup_key != shut.dedup_key;
        let proposal = Proposal {
            subject: shut.service.clone(),
            tenant: shut.tenant.clone(),
            action: Action {
                kind: ActionKind::RollbackAdvice,
                mode: told_as.unwrap_or(ActionMode::DryRun),
                expires_at: WireTime(now.wall + self.setup.policy.limits.expiry),
                params: params.chain(replaced).collect(),
                dedup_key,
            },
        };
        let (sent, held) = (told_as.ok(), told_as.err());
        self.remember(now, (&proposal, sent));
        if held == Some(HoldReason::KillSwitch) {
            // Void from the start, so it is told anew once the switch is removed.
            let key = &proposal.action.dedup_key;
            self.changes.extend(self.memory.guards.finish(key, Outcome::Withdrawn.name()));
        }
        let anew = told_anew(shut, is_anew);
        let why = format!("the gate {}: {current}{anew}", shut.door.gate);
        let of_fact = Box::new(shut.clone());
        self.facts.push(Fact::ChangeFailed { shut: of_fact, current, held, is_anew });
        if held.is_none() {
            self.send_rollback(now, &proposal, shut, why);
        }
    }

    /// How it is told now that a door is shut, or why nobody is told.
    fn told_as(&self) -> Result<ActionMode, HoldReason> {
        match self.setup.policy.mode_of(ActionKind::RollbackAdvice) {
            _ if self.switches.kill => Err(HoldReason::KillSwitch),
            Mode::Observe => Err(HoldReason::Observe),
            Mode::Notify => Ok(ActionMode::DryRun),
            Mode::Act => Ok(ActionMode::Request),
        }
    }

    /// What ran out before anybody heard of it is told anew once whoever is to hear of it is there again,
    /// if its door is shut still; in earnest or not at all, as what is shown only would not run out.
    fn tell_anew(&mut self, now: Now) {
        if self.told_as() != Ok(ActionMode::Request) {
            return;
        }
        let anew = self.memory.shut.all().filter_map(|shut| {
            // One that cannot be asked shows what it said long ago.
            let is_asked = self.gates.unaskable(&shut.door).is_none();
            let reading = self.gates.reading(&shut.door).filter(|r| r.is_firm && is_asked)?;
            let key = self.next_key(shut, now)?;
            Some((shut.clone(), (key, reading.value.clone())))
        });
        for (shut, told) in anew.collect::<Vec<_>>() {
            self.tell_shut(now, &shut, told);
        }
    }

    /// The key under which a shut door is to be told anew, if what was told is void.
    pub(super) fn next_key(&self, shut: &Shut, now: Now) -> Option<String> {
        let guards = &self.memory.guards;
        let unheard = guards.all_untold(&shut.service).map(str::to_owned).collect();
        let history = History { unheard, ..guards.own_history(&shut.service, now) };
        let next = askings(&shut.dedup_key).find(|key| !history.is_void(key))?;
        (next != shut.dedup_key && !history.asked.contains_key(&next)).then_some(next)
    }

    /// Whether doors are to stay open after a change yet.
    fn is_watched(&self, changed: &Changed, now: Now) -> bool {
        let within = self.setup.policy.verify.within;
        now.wall.since(changed.since) <= within.max(2 * self.told_after(changed))
    }

    /// How long after a change a door that is shut still is told.
    fn told_after(&self, changed: &Changed) -> Duration {
        let grace = self.setup.policy.verify.gate_grace;
        // Which image a container runs is looked at with usage: until then a deploy looks like a mere start.
        let is_start = changed.what == START;
        if is_start { grace.max(self.scraped_within() + USAGE_EVERY) } else { grace }
    }

    /// How long after its start a container has been scraped, by all who tell which image it runs.
    fn scraped_within(&self) -> Duration {
        let tell = self.targets.values().filter(|target| target.feeds.contains(LIMIT));
        let answer = tell.map(|target| target.info.interval + target.info.timeout);
        answer.max().unwrap_or_default().clamp(SCRAPED_WITHIN_MIN, SCRAPED_WITHIN_MAX)
    }

    fn was_told(&self, changed: &Changed) -> bool {
        changed.keys().any(|key| self.memory.guards.knows(&key))
    }

    /// One change by others may be seen as several: the containers of a service are started one after the
    /// other. What began after it was told is another.
    fn is_told_as_another(&self, changed: &Changed, all: &[Changed]) -> bool {
        let began_before = self
            .memory
            .guards
            .last_new_at(&changed.service, ActionKind::RollbackAdvice)
            .is_some_and(|told| changed.since <= told);
        let is_part = |other: &&Changed| {
            let apart = other.since.since(changed.since).max(changed.since.since(other.since));
            other.service == changed.service && other.what != OURS && apart <= DOWN_FIRST
        };
        changed.what != OURS
            && began_before
            && all.iter().filter(is_part).any(|other| self.was_told(other))
    }

    fn send_rollback(&mut self, now: Now, proposal: &Proposal, shut: &Shut, why: String) {
        let request = shut.request.as_ref();
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let data = Data {
            alert: request.and_then(|request| some(&request.alert)),
            fingerprint: request.and_then(|request| some(&request.fingerprint)),
            host: some(&self.setup.host),
            tenant_id: some(&shut.tenant),
            service: some(&shut.service),
            action: Some(proposal.action.clone()),
            reason: Some(why),
            trace_id: Some(shut.trace_id.clone()),
            ..Data::default()
        };
        let id = proposal.delivery_id(now);
        let event = Event::new(ActionKind::RollbackAdvice.event_type(), now.wall, data);
        self.push_event(now, Draft { id, event });
    }

    /// What the doors of a service say about a container that started then.
    pub(super) fn gates_seen(
        &self,
        tenant: &str,
        service: &str,
        started: Option<Timestamp>,
    ) -> Vec<GateSeen> {
        let doors = self.gates.of(tenant, service);
        let seen = doors.map(|(key, reading)| {
            let fresh = |reading: &&Reading| started.is_none_or(|at| reading.asked_at >= at);
            let reading = reading.filter(fresh);
            GateSeen {
                gate: key.gate.clone(),
                passes: reading.map(|reading| reading.passes),
                value: reading.map(|reading| reading.value.clone()).unwrap_or_default(),
            }
        });
        seen.collect()
    }

    /// What the doors of a service say that pass.
    pub(super) fn gates_before(&self, tenant: &str, service: &str) -> BTreeMap<String, String> {
        let passing = self.gates.of(tenant, service).filter_map(|(key, reading)| {
            let reading = reading.filter(|reading| reading.passes)?;
            Some((key.gate.clone(), reading.value.clone()))
        });
        passing.collect()
    }

    /// The gates a restart of this service has to leave open, as they are now.
    pub(super) fn gates_now(&self, tenant: &str, service: &str) -> Vec<GateResult> {
        let all = self.gates.of(tenant, service).map(|(key, reading)| GateResult {
            gate: key.gate.clone(),
            passes: reading.map(|reading| reading.passes),
            previous: None,
            current: reading.map(|reading| reading.value.clone()),
        });
        all.collect()
    }

    /// The state of every door, as series rules can read.
    pub(super) fn gate_values(&self) -> Vec<(Labels, f64)> {
        let values = self.gates.readings().map(|(key, reading)| {
            let name = (METRIC_NAME, "plimsoll_gate_up");
            let labels = Labels::from_pairs([name].into_iter().chain(key.labels()));
            (self.enrich(&labels), f64::from(u8::from(reading.passes)))
        });
        values.collect()
    }

    /// The doors as readers see them.
    pub(super) fn gate_views(&self) -> Vec<GateView> {
        let view = |(key, reading): (&GateKey, &Reading)| GateView {
            key: key.clone(),
            reading: reading.clone(),
        };
        self.gates.readings().map(view).collect()
    }
}
