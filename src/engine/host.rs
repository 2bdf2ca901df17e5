//! The host as a whole, in each round: what its services use, whether it is the patient, and what
//! holds actions from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::evidence::vector;
use super::judge::asks;
use super::{Engine, Fact, Health};
use crate::alerts::AlertState;
use crate::base::{Labels, Now, Timestamp, fingerprint};
use crate::containers::id_in_cgroup;
use crate::outbox::{self, Data, Draft, Event, EventType, delivery_id};
use crate::policy::{
    Circumstances, HostCause, HostEdge, HostIncident, HostSigns, Incident, Observation, RunsAs,
    Scope, WindowKind,
};
use crate::rules::Action;

/// How often usage is looked at: the pace of [`crate::policy::Usage`]'s points.
pub(super) const USAGE_EVERY: Duration = Duration::from_secs(60);
/// Tenants named in a host incident; the count tells the rest.
const TENANTS_NAMED: usize = 20;
/// Tenants with a container on this host: those measured, or, where nobody measures, those Docker knows.
const TENANTS: &str = "count(count by (tenant) (container_memory_working_set_bytes{tenant!=\"\"})) \
                       or count(count by (tenant) (plimsoll_oom_total{tenant!=\"\"}))";

/// The CPU limit of each container; 0 for one without, which has a period and no quota.
const CORES: &str = "max by (service, name, id, image) (container_spec_cpu_quota{service!=\"\"} > 0) \
     / max by (service, name, id, image) (container_spec_cpu_period{service!=\"\"}) \
     or 0 * max by (service, name, id, image) (container_spec_cpu_period{service!=\"\"})";

/// What is observed, as queries by `service`, and by `name` where its containers are told apart. Where
/// scrapes are a minute apart or more, a short range holds too few samples, and a longer one stands in.
/// CPU counts once its range was seen from its beginning: before, the average is too low.
const OBSERVED: [(Observed, &str); 10] = [
    (
        Observed::WorkingSet,
        "max by (service, name) (container_memory_working_set_bytes{service!=\"\"})",
    ),
    (
        Observed::Unreclaimable,
        "max by (service, name) (plimsoll_container_memory_unreclaimable_bytes{service!=\"\"})",
    ),
    (
        Observed::Limit,
        "max by (service, name) (container_spec_memory_limit_bytes{service!=\"\"} > 0)",
    ),
    (
        Observed::Cpu,
        "max by (service, name) (sum without (cpu) \
         (rate(container_cpu_usage_seconds_total{service!=\"\"}[2m]) \
         and max_over_time(container_cpu_usage_seconds_total{service!=\"\"}[45s] offset 75s) \
         or rate(container_cpu_usage_seconds_total{service!=\"\"}[5m]) \
         and max_over_time(container_cpu_usage_seconds_total{service!=\"\"}[1m] offset 4m)))",
    ),
    (
        Observed::Throttled,
        "max by (service, name) \
         (rate(container_cpu_cfs_throttled_seconds_total{service!=\"\"}[2m]) \
         or rate(container_cpu_cfs_throttled_seconds_total{service!=\"\"}[5m]))",
    ),
    (
        Observed::ThrottledRatio,
        "max by (service, name) \
         (rate(container_cpu_cfs_throttled_periods_total{service!=\"\"}[2m]) \
         / (rate(container_cpu_cfs_periods_total{service!=\"\"}[2m]) > 0) \
         or rate(container_cpu_cfs_throttled_periods_total{service!=\"\"}[5m]) \
         / (rate(container_cpu_cfs_periods_total{service!=\"\"}[5m]) > 0))",
    ),
    (
        Observed::Oom,
        "sum by (service, name) (increase(plimsoll_oom_total{service!=\"\"}[1m]) \
         or increase(plimsoll_oom_total{service!=\"\"}[3m])) > 0 \
         or sum by (service, name) (increase(container_oom_events_total{service!=\"\"}[1m]) \
         or increase(container_oom_events_total{service!=\"\"}[3m])) > 0",
    ),
    (
        // The least: where several measure it, one that is lost must not make it fall.
        Observed::CpuSeconds,
        "min by (service, name) (sum without (cpu) (container_cpu_usage_seconds_total{service!=\"\"}))",
    ),
    (Observed::Started, "max by (service, name) (container_start_time_seconds{service!=\"\"})"),
    // A recording rule of this name, if somebody wrote one, tells the load of a service.
    (Observed::Requests, "sum by (service) (service:requests:rate5m)"),
];

/// The queries of what is observed.
#[cfg(test)]
pub(super) fn own_queries() -> impl Iterator<Item = &'static str> {
    OBSERVED.iter().map(|(_, query)| *query).chain([CORES])
}

#[derive(Clone, Copy)]
enum Observed {
    WorkingSet,
    Unreclaimable,
    Limit,
    Cpu,
    Throttled,
    ThrottledRatio,
    Oom,
    CpuSeconds,
    Started,
    Requests,
}

impl Engine {
    /// Takes in what every service uses, once a minute.
    pub(super) fn observe_usage(&mut self, now: Now, at: Timestamp) {
        let due = self.usage_at.is_none_or(|last| at.since(last) >= USAGE_EVERY);
        if !due {
            return;
        }
        self.usage_at = Some(at);
        // Of the round, not of the moment: how long scrapes took must not make a look come early.
        let then = Now { wall: at, ..now };
        for (service, seen) in self.observations(at) {
            let warm_up = self.setup.policy.limits.start_grace;
            self.changes.extend(self.memory.usage.observe(&service, &seen, warm_up, then));
        }
        self.owners.fits = Arc::new(self.compare_plans(at));
    }

    fn observations(&self, at: Timestamp) -> BTreeMap<String, Observation> {
        let mut all: BTreeMap<String, Observation> = BTreeMap::new();
        for (what, query) in OBSERVED {
            for (labels, value) in vector(query, &self.window, at, &self.setup.eval) {
                let Some(service) = labels.get("service") else { continue };
                let seen = all.entry(service.to_owned()).or_default();
                match what {
                    Observed::Requests => seen.requests = Some(value),
                    of_container => {
                        let name = labels.get("name").unwrap_or_default();
                        note_cpu(seen, name, (of_container, value));
                        note(seen, name, (of_container, value));
                    }
                }
            }
        }
        self.identify(at, &mut all);
        all
    }

    /// What each container runs as: its id, image and limits. Another one is a deploy.
    fn identify(&self, at: Timestamp, all: &mut BTreeMap<String, Observation>) {
        // Once, however many measure it.
        const QUERY: &str = "max by (service, name, id, image) \
             (container_spec_memory_limit_bytes{service!=\"\"})";
        let cores = vector(CORES, &self.window, at, &self.setup.eval);
        let cores: BTreeMap<Labels, f64> = cores.into_iter().collect();
        for (labels, limit) in vector(QUERY, &self.window, at, &self.setup.eval) {
            let part = |name| labels.get(name).unwrap_or_default();
            let seen = all.get_mut(part("service"));
            let seen = seen.and_then(|seen| seen.containers.get_mut(part("name")));
            let Some(seen) = seen else { continue };
            // A limit that is no number says nothing, and no row could hold it.
            let cores = cores.get(&labels).copied().filter(|cores| cores.is_finite());
            if limit.is_finite() {
                seen.runs_as = Some(RunsAs::new(part("image"), limit, cores));
            }
            let limit = limit.to_string();
            let parts = [("id", part("id")), ("image", part("image")), ("limit", &*limit)];
            let hash = fingerprint(&Labels::from_pairs(parts));
            // In the minutes in which the old one is still shown there are two.
            seen.incarnation = Some(seen.incarnation.unwrap_or_default() ^ hash);
            let hash = |text: &str| fingerprint(&Labels::from_pairs([("image", text)]));
            seen.image = Some(part("image")).filter(|image| !image.is_empty()).map(hash);
            let container = id_in_cgroup(part("id"));
            seen.image_id = container.and_then(|id| self.containers.image_id(&id).map(hash));
        }
    }

    /// Looks for a host-wide incident, before anything is decided about single tenants.
    pub(super) fn observe_host(&mut self, now: Now, at: Timestamp) {
        if self.outbox.is_none() {
            return;
        }
        let config = self.setup.policy.interlock;
        let suffering = self.suffering();
        let inputs_bad = self.inputs_bad(now, config.within);
        let mut signs = HostSigns { suffering, inputs_bad, tenants_total: 0 };
        let ill = signs.tenants().len();
        // The containers of some may be gone by now.
        let total = if ill >= config.tenants { self.tenants_total(at) } else { 0 };
        signs.tenants_total = total.max(ill);
        let Some((edge, change)) = self.memory.interlock.observe(&signs, now, &config) else {
            return;
        };
        self.changes.push(change);
        self.tell_host(now, edge);
    }

    /// Every firing alert that asks for something to be done to its tenant, and since when it fires.
    fn suffering(&self) -> BTreeSet<(String, Timestamp)> {
        let rules = self.groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        let touching =
            |rule| matches!(asks(rule), Action::Restart | Action::Nudge | Action::Decide);
        let asking = rules.filter(|(rule, _)| touching(rule));
        let alerts =
            asking.flat_map(|(rule, state)| state.alerts.values().map(move |alert| (rule, alert)));
        let firing = alerts.filter(|(_, alert)| alert.state == AlertState::Firing);
        let ill = firing.filter_map(|(rule, alert)| {
            let said = alert.labels.get("tenant").filter(|tenant| !tenant.is_empty());
            let tenant = said
                .map(str::to_owned)
                .unwrap_or_else(|| self.incident(rule, alert).label("tenant").to_owned());
            Some((tenant, alert.fired_at?)).filter(|(tenant, _)| !tenant.is_empty())
        });
        ill.collect()
    }

    fn tenants_total(&self, at: Timestamp) -> usize {
        let found = vector(TENANTS, &self.window, at, &self.setup.eval);
        found.first().map_or(0, |(_, count)| *count as usize)
    }

    /// More than half of the targets have failed for a while, or tell what is of long ago, or less than
    /// half of what they should.
    fn inputs_bad(&self, now: Now, within: Duration) -> bool {
        let failing = |since: Timestamp| now.wall.since(since) >= within;
        let bad = self.targets.values().filter(|target| {
            let interval = target.info.interval;
            target.health == Health::Bad && target.failing_since.is_some_and(failing)
                || target.quality.is_stale(now.wall, interval)
                || target.quality.is_sparse(within, interval)
        });
        2 * bad.count() > self.targets.len()
    }

    fn tell_host(&mut self, now: Now, edge: HostEdge) {
        let (event_type, incident) = match edge {
            HostEdge::Started(incident) => (EventType::HostIncidentStarted, incident),
            HostEdge::Ended(incident) => (EventType::HostIncidentEnded, incident),
        };
        let started = event_type == EventType::HostIncidentStarted;
        let (reason, tenants) = (reason(&incident), incident.tenants.clone());
        self.facts.push(Fact::HostIncident { started, reason: reason.clone(), tenants });
        let began = incident.started_at.as_millis().to_string();
        let id = delivery_id(now.wall, &["host.incident", &began, event_type.name()]);
        let data = Data {
            host: Some(self.setup.host.clone()).filter(|host| !host.is_empty()),
            starts_at: Some(outbox::WireTime(incident.started_at)),
            ends_at: (!started).then_some(outbox::WireTime(now.wall)),
            reason: Some(reason),
            incident: Some(outbox::Incident {
                tenants_affected: incident.tenants.len() as u64,
                tenants_total: incident.tenants_total as u64,
                tenants: incident.tenants.into_iter().take(TENANTS_NAMED).collect(),
            }),
            ..Data::default()
        };
        self.push_event(now, Draft { id, event: Event::new(event_type, now.wall, data) });
    }

    /// What else bears on an action about this incident.
    pub(super) fn circumstances(&self, now: Now, incident: &Incident) -> Circumstances {
        let (service, tenant) = (incident.label("service"), incident.label("tenant"));
        let whom = Scope { host: &self.setup.host, tenant, plan: incident.label("plan") };
        let open = |kind| self.setup.policy.calendar.open(kind, whom, now.wall);
        Circumstances {
            maintenance: open(WindowKind::Maintenance),
            quiet_hours: open(WindowKind::QuietHours),
            kill_switch: self.switches.kill,
            host_incident: self.memory.interlock.incident().is_some(),
            busy: self.switches.any_busy
                || self.switches.busy.contains(service)
                || self.is_busy(now, tenant),
            inactive: self.setup.identity.as_ref().and_then(|identity| identity.inactive(tenant)),
            opted_in: self.consent(tenant),
        }
    }
}

/// Notes what one container does with the CPU. How much it uses comes first.
fn note_cpu(seen: &mut Observation, name: &str, (what, value): (Observed, f64)) {
    match (what, seen.cpu.get_mut(name)) {
        (Observed::Cpu, _) => {
            seen.cpu.entry(name.to_owned()).or_default().used_cores = value;
        }
        (Observed::Throttled, Some(cpu)) => cpu.throttled_cores = value,
        (Observed::ThrottledRatio, Some(cpu)) => cpu.throttled_ratio = value,
        _ => {}
    }
}

/// Notes a figure of one container, and what it is to its service. Its working set comes first: without
/// it there is no container.
fn note(seen: &mut Observation, name: &str, (what, value): (Observed, f64)) {
    let most = |all: Option<f64>| Some(all.unwrap_or(value).max(value));
    match what {
        Observed::WorkingSet => {
            seen.working_set_bytes = most(seen.working_set_bytes);
            seen.containers.entry(name.to_owned()).or_default().held_bytes = Some(value);
            return;
        }
        Observed::Limit => seen.limit_bytes = most(seen.limit_bytes),
        Observed::Oom => seen.oom_kills += value,
        _ => {}
    }
    let Some(container) = seen.containers.get_mut(name) else { return };
    match what {
        Observed::Unreclaimable => container.held_bytes = Some(value),
        Observed::Limit => container.limit_bytes = Some(value),
        Observed::Oom => container.killed = true,
        Observed::CpuSeconds => container.cpu_seconds = Some(value),
        Observed::Started => container.started_at = Timestamp::of_start(value),
        _ => {}
    }
}

fn reason(incident: &HostIncident) -> String {
    match incident.cause {
        HostCause::Tenants => format!(
            "{} of {} tenants fell ill within a minute",
            incident.tenants.len(),
            incident.tenants_total
        ),
        HostCause::Inputs => {
            "more than half of the scrape targets fail, or tell what is old or incomplete"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{ParseOptions, parse};

    #[test]
    fn every_query_parses() {
        for query in OBSERVED.iter().map(|(_, query)| *query).chain([TENANTS]) {
            assert!(parse(query, &ParseOptions::default()).is_ok(), "{query}");
        }
    }
}
