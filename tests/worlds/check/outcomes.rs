//! What became of what was asked: every restart ends in a verdict, and what restarts do not cure is
//! passed on.

use std::time::Duration;

use plimsoll::base::Now;
use plimsoll::outbox::{ActionKind, Event, EventType};
use plimsoll::policy::WindowKind;

use super::super::plan::{HOUR, MINUTE, Nature, Plan};
use super::guards::{Guards, Request, View};
use super::{Check, Red, is_open};

/// Expiry, verification and the longest outage come to less.
const CONCLUDED_WITHIN: Duration = HOUR.saturating_mul(3);
/// Rounds without anything in the way after which a leak must have reached a person.
const ROUNDS: u32 = 5;
const DAY: Duration = Duration::from_secs(86_400);

/// Working set per limit below which memory has fallen, by docs/judgement.md.
const RELEASED: f64 = 0.8;

/// Takes note of how a restart ended, and whether that is so.
pub fn note(guards: &mut Guards, now: Now, event: &Event, view: &View<'_>, red: &mut Red) {
    let (plan, truth) = (view.plan, view.truth);
    let failed = event.event_type != EventType::ActionVerified;
    match event.event_type {
        EventType::ActionVerified | EventType::ActionFailed => {
            let done = event.data.verification.as_ref();
            if let Some(id) = done.and_then(|done| done.delivery_id.as_ref()) {
                let of = |request: &&Request| request.id.0 == *id;
                let request = guards.requests.iter().rev().find(of).filter(|_| !failed);
                if let Some(why) = request.and_then(|request| against_success(request, view)) {
                    red.add(Check::TrueVerdict, || {
                        format!("{:?}: {id} is called effective, {why}", now.monotonic)
                    });
                }
                guards.request(id, |request| request.conclude_again(now, failed));
            }
        }
        EventType::ActionExpired => {
            let Some(action) = &event.data.action else { return };
            let of = |request: &&mut Request| request.dedup_key == action.dedup_key;
            let Some(request) = guards.requests.iter_mut().rev().find(of) else { return };
            request.conclude_again(now, true);
            let number = plan.specs.iter().position(|spec| spec.service() == request.service);
            let sight = number.and_then(|number| truth.sights.get(number));
            let is_anew = sight.is_some_and(|s| s.started > request.decided.as_secs_f64());
            request.void = !(request.executed.is_some() && is_anew);
            let why = event.data.reason.as_deref().unwrap_or_default();
            request.withdrawn = why.contains("was withdrawn");
        }
        _ => {}
    }
}

impl Request {
    /// The last word counts: what was effective may relapse.
    fn conclude_again(&mut self, now: Now, failed: bool) {
        self.concluded = Some((now.monotonic, failed));
    }
}

/// What the world says against a restart that is called effective.
fn against_success(request: &Request, view: &View<'_>) -> Option<String> {
    let number = view.plan.specs.iter().position(|spec| spec.name == request.name)?;
    let Some(sight) = view.truth.sights.get(number) else {
        return Some("and nobody has looked since the start".to_owned());
    };
    let firing = view.book.find("WillOom", &request.service);
    // Whether it was this request or a kill that started it anew, nobody who only looks at it can tell.
    if sight.started < request.decided.as_secs_f64() {
        Some(format!("and runs since {} s", sight.started))
    } else if sight.fill >= RELEASED {
        Some(format!("and its memory is at {:.2}", sight.fill))
    } else {
        firing
            .map(|alert| format!("and {} fires since {:?}", alert.label("alertname"), alert.since))
    }
}

/// A nudge whose cause has ended is called off.
pub fn called_off(guards: &mut Guards, now: Now, view: &View<'_>, red: &mut Red) {
    let nudges = guards.requests.iter_mut().filter(|r| r.kind == ActionKind::Nudge);
    for request in nudges.filter(|r| r.committed && r.concluded.is_none()) {
        let holds = view.book.find(&request.alert, &request.service).is_some();
        request.idle_rounds = if holds { 0 } else { request.idle_rounds + 1 };
        if request.idle_rounds == ROUNDS {
            red.add(Check::CalledOff, || {
                let Request { alert, service, decided, .. } = request;
                format!("{:?}: {alert} of {service} has ended, asked at {decided:?}", now.monotonic)
            });
        }
    }
}

/// Every restart has ended somehow within its time.
pub fn concluded(guards: &Guards, now: Now, _plan: &Plan, red: &mut Red) {
    let restarts = guards.requests.iter().filter(|r| r.kind == ActionKind::Restart && r.committed);
    for request in restarts.filter(|request| request.concluded.is_none()) {
        let is_late = now.monotonic > request.decided + CONCLUDED_WITHIN;
        if is_late && now.monotonic < request.decided + CONCLUDED_WITHIN + 20 * MINUTE {
            red.add(Check::Concluded, || format!("nobody says how it ended: {request:?}"));
        }
    }
}

/// A leak that restarts do not cure, or may not cure any more, has reached a person.
pub fn escalated(guards: &mut Guards, now: Now, view: &View<'_>, red: &mut Red) {
    for spec in view.plan.specs.iter().filter(|spec| spec.nature == Nature::Leak) {
        let service = spec.service();
        let owed = is_owed(guards, now, (&service, &spec.tenant, spec.role), view);
        let rounds = guards.owed.entry(service.clone()).or_default();
        *rounds = if owed { *rounds + 1 } else { 0 };
        if *rounds == ROUNDS {
            red.add(Check::LeakerEscalated, || {
                format!("{:?}: {service} leaks, and nobody is told", now.monotonic)
            });
        }
    }
}

/// Whether a person must hear of a leak, has not, and nothing stands against it.
fn is_owed(
    guards: &Guards,
    now: Now,
    (service, tenant, role): (&str, &str, &str),
    view: &View<'_>,
) -> bool {
    let Some(alert) = view.book.find("WillOom", service) else { return false };
    let (plan, truth) = (view.plan, view.truth);
    let lately = |at: Duration| now.monotonic < at + 6 * plan.interval;
    let in_the_way = alert.unknown
        || lately(alert.since)
        || lately(truth.alive_since)
        || lately(truth.blind_until)
        || now.monotonic > truth.last_look + 2 * plan.interval
        || plan.frozen.touch(now.monotonic.saturating_sub(6 * plan.interval), now.monotonic)
        || truth.stepped.last().is_some_and(|at| lately(*at))
        || guards.is_killed()
        || guards.host_is_ill()
        || plan.wishes.get(tenant).is_some_and(|wishes| !wishes.at(now.monotonic).0)
        || is_open(plan, WindowKind::Maintenance, tenant, now)
        || is_open(plan, WindowKind::QuietHours, tenant, now);
    if in_the_way || !["app", "worker"].contains(&role) {
        return false;
    }
    let of_service = || guards.requests.iter().filter(|r| r.service == service);
    let told = of_service().any(|r| {
        let cool_down = match r.kind {
            ActionKind::Nudge => plan.limits.nudge_cool_down,
            _ => plan.limits.advise_cool_down,
        };
        // Once in an episode is enough.
        let spared = r.decided >= alert.since || now.monotonic < r.decided + cool_down;
        r.kind != ActionKind::Restart && spared
    });
    if told {
        return false;
    }
    let restarts = || guards.requests.iter().filter(|r| r.kind == ActionKind::Restart);
    let carried_out = || restarts().filter(|r| !r.void);
    // What was asked in this episode and is not over may yet help.
    let own = restarts().rev().find(|r| r.service == service);
    let pending = own.is_some_and(|r| r.concluded.is_none_or(|(at, _)| lately(at)));
    let of_tenant = carried_out().filter(|r| r.tenant == tenant && now.monotonic < r.decided + DAY);
    let spent = of_tenant.count() >= plan.limits.restarts_per_tenant_day;
    // What was withdrawn may be asked for anew.
    let failed = own.filter(|r| r.decided > alert.since && !r.withdrawn);
    let failed = failed.is_some_and(|r| r.concluded.is_some_and(|(_, failed)| failed));
    !pending && (spent || failed)
}
