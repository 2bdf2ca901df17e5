//! Leaks that nobody may restart: the tenant did not agree, or it is a database. Somebody must hear.

use std::time::Duration;

use plimsoll::base::Now;
use plimsoll::outbox::ActionKind;
use plimsoll::policy::WindowKind;

use super::super::plan::{HOUR, Nature, Spec};
use super::guards::{Guards, View, visibly_leaks};
use super::{Check, Red, is_open};

/// Rounds in which nothing else is in the way, after which a person must have been told.
const ROUNDS: u32 = 5;
const DAY: Duration = Duration::from_secs(86_400);

/// A leak that nobody may restart has reached a person.
pub fn told(guards: &mut Guards, now: Now, view: &View<'_>, red: &mut Red) {
    for (number, spec) in view.plan.specs.iter().enumerate() {
        if spec.nature != Nature::Leak || spec.forged_as.is_some() {
            continue;
        }
        let service = spec.service();
        let owed = is_refused(spec, now, view) && is_due(guards, now, (number, spec), view);
        let rounds = guards.refused.entry(service.clone()).or_default();
        *rounds = if owed { *rounds + 1 } else { 0 };
        if *rounds == ROUNDS {
            red.add(Check::RefusedTold, || {
                format!("{:?}: {service} leaks, may not be restarted, untold", now.monotonic)
            });
        }
    }
}

fn is_refused(spec: &Spec, now: Now, view: &View<'_>) -> bool {
    let wishes = view.plan.wishes.get(&spec.tenant);
    let active = wishes.is_none_or(|wishes| !wishes.inactive.at(now.monotonic));
    let declines = wishes.is_some_and(|wishes| wishes.no_restart.at(now.monotonic));
    active && (spec.role == "db" || declines)
}

/// Whether it would be restarted now if it might be, and nobody has heard.
fn is_due(guards: &Guards, now: Now, (number, spec): (usize, &Spec), view: &View<'_>) -> bool {
    let (plan, truth, service) = (view.plan, view.truth, spec.service());
    let Some(alert) = view.book.find("WillOom", &service) else { return false };
    let Some(sight) = truth.sights.get(number) else { return false };
    let limits = &plan.limits;
    let lately = |at: Duration| now.monotonic < at + 6 * plan.interval;
    let younger = |at: f64, than: Duration| now.monotonic.as_secs_f64() - at < than.as_secs_f64();
    let in_the_way = alert.unknown
        || lately(alert.since)
        || now.monotonic > truth.last_look + 2 * plan.interval
        || truth.stepped.last().is_some_and(|at| now.monotonic < *at + HOUR)
        || guards.is_killed()
        || guards.host_is_ill()
        || guards.has_backup(&service)
        || is_open(plan, WindowKind::Maintenance, &spec.tenant, now)
        || younger(sight.started, limits.start_grace)
        || sight.deployed.is_some_and(|at| younger(at, limits.after_change))
        || sight.fill < 0.9
        || !visibly_leaks(now, &service, view);
    if in_the_way {
        return false;
    }
    let restarts = || guards.requests.iter().filter(|r| r.kind == ActionKind::Restart);
    let within = |at: Duration, span| now.monotonic < at + span;
    let of_tenant = restarts().filter(|r| r.tenant == spec.tenant && within(r.decided, DAY));
    let of_host = restarts().filter(|r| within(r.decided, HOUR));
    let held = restarts().any(|r| r.is_open(now.monotonic, limits.expiry))
        || restarts().any(|r| r.service == service && within(r.decided, limits.restart_cool_down))
        || of_tenant.count() >= limits.restarts_per_tenant_day
        || of_host.count() >= limits.restarts_per_host_hour;
    // Whatever a person heard of it in this episode, or lately, was enough.
    let heard = guards.requests.iter().any(|r| {
        let spared = r.decided >= alert.since || within(r.decided, limits.advise_cool_down);
        r.service == service && r.kind != ActionKind::Restart && spared
    });
    !held && !heard
}
