//! Guards: what must not have been asked for, by the truth of the world and by what was asked before.
//!
//! A request is judged when it is decided and turns red when it is committed: what a crash loses on
//! its way to the disk is remembered by nobody and never leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::base::{DeliveryId, Now, Timestamp};
use plimsoll::outbox::{ActionKind, ActionMode, Attempt, Delivery, Event, EventType};
use plimsoll::policy::{Mode, WindowKind};

use super::super::host::{SHOWS_AFTER, Sight};
use super::super::plan::{HOUR, MINUTE, Nature, PLANS, Plan};
use super::book::Book;
use super::doors::Doors;
use super::{Check, Red, Truth, is_open, owners};

/// Ten make a slope, and the start is not part of it.
const SLOPE_POINTS: u32 = 14;
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Alerts that tell of memory, and causes that do.
const MEMORY_ALERTS: [&str; 2] = ["WillOom", "OomKilled"];
const MEMORY_CAUSES: [&str; 5] = ["leak", "undersized", "traffic", "memory", "page_cache"];

/// What a request is judged by.
pub struct View<'a> {
    pub plan: &'a Plan,
    pub truth: &'a Truth,
    pub book: &'a Book,
    pub doors: &'a Doors,
}

/// Something that was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: DeliveryId,
    pub kind: ActionKind,
    pub tenant: String,
    pub service: String,
    pub name: String,
    /// The alert that asked, and the plan that is offered, if one is.
    pub alert: String,
    pub offered: Option<String>,
    pub dedup_key: String,
    pub cause: String,
    pub decided: Duration,
    expires_at: Timestamp,
    pub committed: bool,
    /// When the engine was told that it was taken, and when it was carried out.
    pub accepted: Option<Duration>,
    pub executed: Option<Duration>,
    /// A receipt has said that it is taken or done: what is repeated is only asked what became of it.
    pub receipted: bool,
    /// The Control Plane has it.
    pub arrived: bool,
    /// When it was told how it ended, and whether it failed.
    pub concluded: Option<(Duration, bool)>,
    /// It came to nothing: declined, expired or withdrawn, and nobody saw it carried out.
    pub void: bool,
    /// It was taken back, and may be asked for anew.
    pub withdrawn: bool,
    /// For how many rounds what it was asked for has been over.
    pub idle_rounds: u32,
    faults: Vec<(Check, String)>,
}

impl Request {
    pub fn conclude(&mut self, at: Duration, failed: bool) {
        self.concluded.get_or_insert((at, failed));
    }

    /// Whether it may still be carried out, or be under way.
    pub fn is_open(&self, now: Duration, expiry: Duration) -> bool {
        let ends = self.decided + expiry;
        self.concluded.is_none()
            && (now < ends || (self.accepted.is_some() && self.executed.is_none()))
    }
}

/// What was asked for, and what bears on it.
#[derive(Default)]
pub struct Guards {
    /// In the order of decision, without those a crash has lost.
    pub requests: Vec<Request>,
    /// When alerts began to fire that ask for something to be done, by service and by what is short.
    firings: BTreeMap<(String, bool), Vec<Duration>>,
    host_ill: bool,
    kill: bool,
    busy: Vec<String>,
    /// Rounds in which a leak was owed a person, by service …
    pub owed: BTreeMap<String, u32>,
    /// … and in which one was that nobody may restart.
    pub refused: BTreeMap<String, u32>,
}

impl Guards {
    /// What an operator or the Control Plane has switched.
    pub fn switched(&mut self, kill: bool, busy: Vec<String>) {
        (self.kill, self.busy) = (kill, busy);
    }

    pub fn is_killed(&self) -> bool {
        self.kill
    }

    pub fn host_is_ill(&self) -> bool {
        self.host_ill
    }

    /// Applies `change` to the request of that id.
    pub fn request(&mut self, id: &str, change: impl FnOnce(&mut Request)) {
        if let Some(request) = self.requests.iter_mut().rev().find(|r| r.id.0 == id) {
            change(request);
        }
    }

    pub fn lost(&mut self, id: &DeliveryId) {
        self.requests.retain(|request| request.committed || request.id != *id);
    }

    pub fn committed(&mut self, id: &DeliveryId, red: &mut Red) {
        self.request(&id.0, |request| {
            request.committed = true;
            for (check, what) in request.faults.drain(..) {
                red.add(check, || what);
            }
        });
    }

    /// Takes note of what bears on later requests.
    pub fn note(&mut self, now: Now, event: &Event) {
        match event.event_type {
            EventType::HostIncidentStarted => self.host_ill = true,
            EventType::HostIncidentEnded => self.host_ill = false,
            EventType::AlertFiring => {
                let word = event.data.labels.get("action").map_or("none", String::as_str);
                let asks = ["restart", "nudge", "decide"].contains(&word);
                if let Some(service) = event.data.service.as_ref().filter(|_| asks) {
                    let alert = event.data.alert.as_deref().unwrap_or_default();
                    let key = (service.clone(), MEMORY_ALERTS.contains(&alert));
                    self.firings.entry(key).or_default().push(now.monotonic);
                }
            }
            _ => {}
        }
    }

    /// What leaves must not have expired, by its own word; and what stands against touching somebody
    /// stands against it until then.
    pub fn sent(&mut self, now: Now, attempt: &Attempt, view: &View<'_>, red: &mut Red) {
        for (check, why) in self.faults_on_leaving(now, attempt, view) {
            red.add(check, || format!("{:?}: {} leaves, {why}", now.monotonic, attempt.id));
        }
        let expiry = view.plan.limits.expiry;
        self.request(&attempt.id.0, |request| {
            let late = now.monotonic > request.decided + expiry && now.wall > request.expires_at;
            if late {
                red.add(Check::Expired, || {
                    format!(
                        "{:?}: {} leaves, decided at {:?}",
                        now.monotonic, request.id, request.decided
                    )
                });
            }
        });
    }

    fn faults_on_leaving(
        &self,
        now: Now,
        attempt: &Attempt,
        view: &View<'_>,
    ) -> Vec<(Check, String)> {
        let mut faults = Vec::new();
        let touches = |r: &&Request| matches!(r.kind, ActionKind::Restart | ActionKind::Nudge);
        let found = self.requests.iter().rev().find(|r| r.id == attempt.id);
        let Some(request) = found.filter(|r| touches(r) && !r.receipted) else { return faults };
        if self.kill {
            faults.push((Check::KillSwitch, "the kill switch is set".to_owned()));
        }
        self.of_the_tenant(now, request, view, &mut faults);
        let spec = view.plan.specs.iter().position(|spec| spec.service() == request.service);
        match spec.map(|number| view.truth.sights.get(number)) {
            Some(Some(sight)) => faults.extend(stale(now, sight, view)),
            Some(None) => {
                faults.push((Check::Stale, "nobody has looked since the start".to_owned()))
            }
            None => {}
        }
        faults.extend(match request.kind {
            ActionKind::Restart => self.is_busy(request),
            _ => is_night(now, request, view),
        });
        faults
    }

    pub fn has_backup(&self, service: &str) -> bool {
        self.busy.iter().any(|busy| busy == service)
    }

    fn is_busy(&self, request: &Request) -> Option<(Check, String)> {
        let busy = self.has_backup(&request.service);
        busy.then(|| (Check::Busy, "a backup is under way".to_owned()))
    }

    /// Judges a request, if the event is one.
    pub fn judge(
        &mut self,
        now: Now,
        (delivery, event): (&Delivery, &Event),
        view: &View<'_>,
        red: &mut Red,
    ) {
        let Some(action) = event.data.action.as_ref().filter(|_| event.event_type.is_request())
        else {
            return;
        };
        if action.mode != ActionMode::Request {
            red.add(Check::Sound, || format!("{} is no request in mode act", delivery.id));
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let cause = event.data.evidence.as_ref().and_then(|evidence| evidence.cause.clone());
        let mut request = Request {
            id: delivery.id.clone(),
            kind: action.kind,
            tenant: text(&event.data.tenant_id),
            service: text(&event.data.service),
            name: event.data.labels.get("name").cloned().unwrap_or_default(),
            alert: text(&event.data.alert),
            offered: action.params.get("to").and_then(|to| to.as_str()).map(str::to_owned),
            dedup_key: action.dedup_key.clone(),
            cause: cause.unwrap_or_default(),
            decided: now.monotonic,
            expires_at: action.expires_at.0,
            committed: false,
            accepted: None,
            executed: None,
            receipted: false,
            arrived: false,
            concluded: None,
            void: false,
            withdrawn: false,
            idle_rounds: 0,
            faults: Vec::new(),
        };
        let mut faults = self.faults(now, &request, view);
        let when = |check: Check, why: String| {
            let Request { kind, service, decided, .. } = &request;
            (check, format!("{decided:?}: {} of {service}: {why}", kind.name()))
        };
        request.faults = faults.drain(..).map(|(check, why)| when(check, why)).collect();
        self.requests.push(request);
    }

    fn faults(&self, now: Now, request: &Request, view: &View<'_>) -> Vec<(Check, String)> {
        let mut faults = Vec::new();
        if self.kill {
            faults.push((Check::KillSwitch, "the kill switch is set".to_owned()));
        }
        let spec = view.plan.specs.iter().position(|spec| spec.service() == request.service);
        let touches = matches!(request.kind, ActionKind::Restart | ActionKind::Nudge);
        if let Some(number) = spec.filter(|_| touches) {
            self.of_the_tenant(now, request, view, &mut faults);
            match view.truth.sights.get(number) {
                Some(sight) => of_the_container(now, (request, sight), view, &mut faults),
                None => faults.push((Check::Stale, "nobody has looked since the start".to_owned())),
            }
        }
        match request.kind {
            ActionKind::Restart => self.of_restarts(now, request, view, &mut faults),
            ActionKind::Nudge => self.of_nudges(now, request, view, &mut faults),
            _ => {}
        }
        faults
    }

    fn of_the_tenant(
        &self,
        now: Now,
        request: &Request,
        view: &View<'_>,
        faults: &mut Vec<(Check, String)>,
    ) {
        if self.host_ill {
            faults.push((Check::Interlock, "a host incident is going on".to_owned()));
        }
        if view.truth.is_blind(now, view.plan) {
            let dead = &view.truth.dead_since;
            faults.push((Check::Blind, format!("most targets are dead, since {dead:?}")));
        }
        if is_open(view.plan, WindowKind::Maintenance, &request.tenant, now) {
            faults.push((Check::Maintenance, "a maintenance window is open".to_owned()));
        }
        faults.extend(owners::against(now, request, view.plan));
        if request.kind == ActionKind::Restart && view.doors.is_shut(&request.tenant) {
            faults.push((Check::ShutDoor, "its customer cannot get in".to_owned()));
        }
    }

    fn of_restarts(
        &self,
        now: Now,
        request: &Request,
        view: &View<'_>,
        faults: &mut Vec<(Check, String)>,
    ) {
        let limits = &view.plan.limits;
        let restarts = || self.requests.iter().filter(|r| r.kind == ActionKind::Restart && !r.void);
        let within = |r: &&Request, span| now.monotonic < r.decided + span;
        let of_tenant = restarts().filter(|r| r.tenant == request.tenant && within(r, DAY)).count();
        let of_host = restarts().filter(|r| within(r, HOUR)).count();
        let recent = restarts().rev().find(|r| r.service == request.service);
        let open = restarts().find(|r| r.is_open(now.monotonic, limits.expiry));
        if of_tenant >= limits.restarts_per_tenant_day {
            faults.push((Check::TenantBudget, format!("{of_tenant} restarts in a day before")));
        }
        if of_host >= limits.restarts_per_host_hour {
            faults.push((Check::HostBudget, format!("{of_host} restarts in an hour before")));
        }
        if let Some(last) = recent.filter(|r| within(r, limits.restart_cool_down)) {
            faults.push((Check::CoolDown, format!("the last at {:?}", last.decided)));
        }
        if let Some(other) = open {
            faults.push((Check::OneAtATime, format!("{other:?} is under way")));
        }
        faults.extend(self.is_busy(request));
        let spec = view.plan.specs.iter().find(|spec| spec.name == request.name);
        if let Some(spec) = spec.filter(|spec| !["app", "worker"].contains(&spec.role)) {
            faults.push((Check::Role, format!("it is a {}", spec.role)));
        }
    }

    fn of_nudges(
        &self,
        now: Now,
        request: &Request,
        view: &View<'_>,
        faults: &mut Vec<(Check, String)>,
    ) {
        let limits = &view.plan.limits;
        let within = |at: Duration, span| now.monotonic < at + span;
        let key = (request.service.clone(), MEMORY_CAUSES.contains(&request.cause.as_str()));
        let all = self.firings.get(&key).map_or(&[][..], Vec::as_slice);
        let mut counted: Vec<Duration> = Vec::new();
        for at in all.iter().filter(|at| within(**at, WEEK)) {
            // What comes back at once is the same trouble.
            if counted.last().is_none_or(|last| *at >= *last + HOUR) {
                counted.push(*at);
            }
        }
        let episodes = counted.len();
        if (episodes as u64) < limits.nudge_episodes {
            faults.push((Check::NudgeGoverned, format!("{episodes} episodes")));
        }
        // Of what never arrived no customer has heard.
        let heard = |r: &&Request| r.kind == ActionKind::Nudge && (r.arrived || !r.void);
        let mut nudges = self.requests.iter().filter(heard);
        let same = |r: &&Request| r.tenant == request.tenant;
        if let Some(last) = nudges.rfind(|r| same(r) && within(r.decided, limits.nudge_cool_down)) {
            faults.push((Check::NudgeGoverned, format!("the last at {:?}", last.decided)));
        }
        if view.plan.nudge != Some(Mode::Act) {
            faults.push((Check::OffByDefault, format!("the mode is {:?}", view.plan.nudge)));
        }
        faults.extend(too_small(request, view));
        faults.extend(is_night(now, request, view));
        if let Some((at, Some(since))) = view.truth.node
            && now.monotonic < at + 4 * MINUTE
        {
            faults.push((Check::Pressure, format!("the host is short of memory since {since:?}")));
        }
        if visibly_leaks(now, &request.service, view) {
            faults.push((Check::LeakNudged, format!("it leaks; cause {}", request.cause)));
        }
    }
}

/// Whether a service leaks and could be seen to: its container has grown before open eyes for longer
/// than a slope needs.
pub fn visibly_leaks(now: Now, service: &str, view: &View<'_>) -> bool {
    let all = view.plan.specs.iter().zip(&view.truth.sights);
    let Some((spec, sight)) = all.into_iter().find(|(s, _)| s.service() == service) else {
        return false;
    };
    // A slope of a few minutes is noise, however often anybody looks.
    let need = SLOPE_POINTS * view.plan.interval.max(MINUTE);
    let from = now.monotonic.saturating_sub(need);
    let watched = view.truth.alive_since.max(view.truth.blind_until) < from
        && sight.started < from.as_secs_f64()
        && !view.plan.frozen.touch(from, now.monotonic)
        && !view.plan.down.touch(from, now.monotonic);
    spec.nature == Nature::Leak
        && watched
        && !spec.storm.touch(from.saturating_sub(HOUR), now.monotonic)
}

/// What is true of a container that is to be touched.
fn of_the_container(
    now: Now,
    (request, sight): (&Request, &Sight),
    view: &View<'_>,
    faults: &mut Vec<(Check, String)>,
) {
    let limits = &view.plan.limits;
    let seconds = now.monotonic.as_secs_f64();
    faults.extend(stale(now, sight, view));
    if let Some(since) = sight.starved_since
        && now.monotonic > since + SHOWS_AFTER
        && sight.fill < 0.9
    {
        faults.push((Check::Victim, format!("it has starved since {since:?}")));
    }
    let age = seconds - sight.started;
    let grace = limits.start_grace.as_secs_f64();
    // The time of a start is told by the wall clock of then.
    let restarts = request.kind == ActionKind::Restart;
    if restarts && age < grace - 1.0 && !stepped_since(view, sight.started) {
        faults.push((Check::StartGrace, format!("it was started {age:.0} s ago")));
    }
    if sight.held < 0.8 && sight.fill >= 0.9 {
        faults.push((Check::PageCache, "what fills it is page cache".to_owned()));
    }
    let changed = sight.deployed.map(|at| seconds - at);
    if let Some(age) = changed.filter(|age| *age < limits.after_change.as_secs_f64() - 1.0) {
        faults.push((Check::RecentChange, format!("it was deployed {age:.0} s ago")));
    }
}

/// What speaks against the plan that is offered: it is not bigger than the one that is there, or not
/// even now enough.
fn too_small(request: &Request, view: &View<'_>) -> Option<(Check, String)> {
    let number = view.plan.specs.iter().position(|spec| spec.service() == request.service)?;
    let offered = request.offered.as_deref()?;
    let of = |plan: &str| PLANS.iter().find(|(name, _)| *name == plan).map_or(0.0, |(_, gib)| *gib);
    let present = view.plan.specs[number].promised_gib();
    let used = view.truth.sights.get(number).map_or(0.0, |sight| sight.fill) * present;
    let is_too_small = of(offered) <= present || of(offered) <= used;
    is_too_small.then(|| (Check::PlanFits, format!("{offered} is offered, {used:.2} GiB are used")))
}

fn stepped_since(view: &View<'_>, at: f64) -> bool {
    view.truth.stepped.iter().any(|step| step.as_secs_f64() >= at)
}

fn stale(now: Now, sight: &Sight, view: &View<'_>) -> Option<(Check, String)> {
    let oldest = view.plan.limits.evidence_age.max(3 * view.plan.interval).as_secs_f64();
    let age = now.monotonic.as_secs_f64() - sight.sampled;
    let is_stale = age > oldest + 1.0 && !stepped_since(view, sight.sampled);
    is_stale.then(|| (Check::Stale, format!("it was looked at {age:.0} s ago")))
}

fn is_night(now: Now, request: &Request, view: &View<'_>) -> Option<(Check, String)> {
    let night = is_open(view.plan, WindowKind::QuietHours, &request.tenant, now);
    night.then(|| (Check::QuietHours, "it is night".to_owned()))
}
