//! Whether customers get in: what the engine was told of their doors, and what it made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::base::Now;
use plimsoll::outbox::{ActionKind, Event, EventType};
use plimsoll::policy::VerifyConfig;

use super::super::plan::MINUTE;
use super::guards::{Guards, Request, View};
use super::{Check, Red, Truth};

/// So many failures in a row are believed.
const FIRM: usize = 2;
/// After that a change that failed must be told within so many rounds.
const ROUNDS: u32 = 2;

/// A door was tried.
#[derive(Clone, Debug)]
pub struct Knock {
    pub tenant: String,
    /// When it was tried.
    pub at: Duration,
    /// Whether a customer got in.
    pub opens: bool,
}

/// What the engine that runs now was told.
#[derive(Default)]
pub struct Doors {
    /// By tenant: when a door was tried, when that was told, and how it truly was.
    heard: BTreeMap<String, Vec<(Duration, Duration, bool)>>,
    /// When a change of a service was said to have failed.
    told: Vec<(String, Duration)>,
}

impl Doors {
    /// A process that starts knows nothing of doors.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    pub fn heard(&mut self, now: Now, knock: Knock) {
        let heard = self.heard.entry(knock.tenant).or_default();
        heard.push((knock.at, now.monotonic, knock.opens));
    }

    fn of(&self, tenant: &str) -> &[(Duration, Duration, bool)] {
        self.heard.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// Whether a customer did not get in when that was last tried.
    pub fn is_shut(&self, tenant: &str) -> bool {
        self.of(tenant).last().is_some_and(|(_, _, opens)| !opens)
    }

    /// Takes note of what is said of restarts and of changes.
    pub fn note(
        &mut self,
        now: Now,
        event: &Event,
        (guards, truth): (&Guards, &Truth),
        red: &mut Red,
    ) {
        let tenant = event.data.tenant_id.as_deref().unwrap_or_default();
        let service = event.data.service.clone().unwrap_or_default();
        match event.event_type {
            EventType::ChangeVerificationFailed => {
                if !self.is_shut(tenant) {
                    red.add(Check::GateTold, || {
                        format!("{:?}: {service} is said to be shut, and is open", now.monotonic)
                    });
                }
                self.told.push((service, now.monotonic));
            }
            EventType::ActionVerified => {
                let done = event.data.verification.as_ref();
                let id = done.and_then(|done| done.delivery_id.as_ref());
                let request = guards.requests.iter().find(|r| Some(&r.id.0) == id);
                let executed = request.and_then(|r| r.executed).unwrap_or_default();
                let stepped = truth.stepped.last().is_some_and(|at| *at >= executed);
                let last = self.of(tenant).last();
                let passes = last.is_some_and(|(at, _, opens)| *opens && *at >= executed);
                if !self.heard.is_empty() && !passes && !stepped {
                    red.add(Check::SilentPass, || {
                        format!("{:?}: {service} is called good: {last:?}", now.monotonic)
                    });
                }
            }
            _ => {}
        }
    }

    /// A door that has stayed shut after a restart of ours, or after a deploy, has been told.
    pub fn owed(&self, guards: &Guards, now: Now, view: &View<'_>, red: &mut Red) {
        if guards.is_killed() {
            return;
        }
        let restarts = guards.requests.iter().filter(|r| r.kind == ActionKind::Restart);
        for request in restarts.filter(|r| now.monotonic < r.decided + 60 * MINUTE) {
            if let Some(since) = self.shut_by(request, now, view)
                && !self
                    .told
                    .iter()
                    .any(|(service, at)| *service == request.service && *at >= request.decided)
            {
                red.add(Check::GateTold, || {
                    let service = &request.service;
                    format!("{:?}: {service} is shut since {since:?}, untold", now.monotonic)
                });
            }
        }
        for (spec, sight) in view.plan.specs.iter().zip(&view.truth.sights) {
            let (service, deployed) = (spec.service(), sight.deployed.unwrap_or(-1.0));
            // When a new container was made, and none was since.
            let Ok(at) = Duration::try_from_secs_f64(deployed) else { continue };
            if (sight.started - deployed).abs() > 1.0 || now.monotonic > at + 60 * MINUTE {
                continue;
            }
            let told = |(of, told): &(String, Duration)| *of == service && *told >= at;
            if let Some(since) = self.shut_by_deploy(&spec.tenant, at, now, view)
                && !self.told.iter().any(told)
            {
                red.add(Check::GateTold, || {
                    format!(
                        "{:?}: {service}, deployed at {at:?}, is shut since {since:?}, untold",
                        now.monotonic
                    )
                });
            }
        }
    }

    /// The same of a deploy by others.
    fn shut_by_deploy(
        &self,
        tenant: &str,
        deployed: Duration,
        now: Now,
        view: &View<'_>,
    ) -> Option<Duration> {
        let (config, interval) = (VerifyConfig::default(), view.plan.interval);
        let heard = self.of(tenant);
        let before = heard.iter().rfind(|(_, told, _)| *told <= deployed);
        before.filter(|(_, _, opens)| *opens)?;
        // It is seen with the next scrape, and looked for once a minute.
        let earliest = deployed + config.gate_grace + interval + MINUTE;
        let after: Vec<_> = heard.iter().filter(|(at, _, _)| *at >= earliest).collect();
        let run = after.windows(FIRM).find(|run| run.iter().all(|(_, _, opens)| !opens))?;
        let (_, since, _) = run.last()?;
        let until = *since + ROUNDS * interval;
        let open_again =
            heard.iter().any(|(_, told, opens)| *opens && *told >= deployed && *told <= until);
        let truth = view.truth;
        let quiet = |spans: &super::super::spans::Spans| !spans.touch(deployed, until);
        let seen = truth.alive_since < deployed
            && truth.blind_until < deployed
            && quiet(&view.plan.down)
            && quiet(&view.plan.frozen)
            && quiet(&view.plan.kill)
            && truth.stepped.last().is_none_or(|at| *at < deployed);
        let in_time = until < deployed + config.within;
        (seen && !open_again && in_time && now.monotonic > until).then_some(*since)
    }

    /// Since when it is known that a restart has left a door shut, if nothing was in the way of seeing
    /// it and it is time to say so.
    fn shut_by(&self, request: &Request, now: Now, view: &View<'_>) -> Option<Duration> {
        let (accepted, executed) = request.accepted.zip(request.executed)?;
        let (config, interval) = (VerifyConfig::default(), view.plan.interval);
        let heard = self.of(&request.tenant);
        let before = heard.iter().rfind(|(_, told, _)| *told <= request.decided);
        before.filter(|(_, _, opens)| *opens)?;
        let earliest = executed + config.gate_grace + Duration::from_secs(1);
        let after: Vec<_> = heard.iter().filter(|(at, _, _)| *at >= earliest).collect();
        let run = after.windows(FIRM).find(|run| run.iter().all(|(_, _, opens)| !opens))?;
        let (_, since, _) = run.last()?;
        // Every round since has shown them shut, and the change was still watched in each.
        let until = *since + ROUNDS * interval;
        let open_again =
            heard.iter().any(|(_, told, opens)| *opens && told >= since && *told <= until);
        let ends = accepted + config.within;
        let truth = view.truth;
        let number = view.plan.specs.iter().position(|spec| spec.name == request.name)?;
        let started = truth.sights.get(number)?.started;
        let seen = (started - executed.as_secs_f64()).abs() < 1.0
            && truth.alive_since < request.decided
            && truth.blind_until < request.decided
            && !view.plan.down.touch(request.decided, until)
            && !view.plan.frozen.touch(request.decided, until)
            && !view.plan.kill.touch(request.decided, until)
            && truth.stepped.last().is_none_or(|at| *at < request.decided);
        let ended = request.concluded.is_some_and(|(at, failed)| failed && at <= until);
        (seen && !open_again && !ended && until < ends && now.monotonic > until).then_some(*since)
    }
}
