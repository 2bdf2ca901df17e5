//! What is known about the container an alert names, at the moment of the decision.
//!
//! The figures are queries over the window, so that what a decision rests on can be asked for again by
//! anyone; what no window holds (weeks of demand, the level after a start) comes from
//! [`crate::policy::Usage`].

use std::collections::BTreeSet;
use std::time::Duration;

use super::target::Target;
use super::whose::pointer;
use super::{Engine, Health};
use crate::base::{Labels, Now, Timestamp, is_stale, quoted};
use crate::containers::id_in_cgroup;
use crate::outbox::{self, Container, WireTime};
use crate::policy::{
    Evidence, Fit, Incident, Need, Plan, Service, Symptoms, Trend, diagnose, drifts, fit,
    plan_binds,
};
use crate::promql::{EvalOptions, ParseOptions, Value, instant, parse};
use crate::window::{Matcher, Selector, Source, Span, Window};

/// The figures of a container, each a query over the series that match `$$`.
const FIGURES: [(Figure, &str); 14] = [
    (Figure::Limit, "max(container_spec_memory_limit_bytes{$$} > 0)"),
    (Figure::Soft, "max(container_spec_memory_reservation_limit_bytes{$$} > 0)"),
    (Figure::Usage, "max(container_memory_usage_bytes{$$})"),
    (Figure::WorkingSet, "max(container_memory_working_set_bytes{$$})"),
    (Figure::Unreclaimable, "max(plimsoll_container_memory_unreclaimable_bytes{$$})"),
    (
        Figure::Slope,
        "max(deriv(plimsoll_container_memory_unreclaimable_bytes{$$}[3m])) \
         or max(deriv(container_memory_working_set_bytes{$$}[3m]))",
    ),
    // Of the last moment: a slope of three minutes still tells of what has ended.
    (
        Figure::Pace,
        "max(deriv(plimsoll_container_memory_unreclaimable_bytes{$$}[30s])) \
         or max(plimsoll_container_memory_unreclaimable_bytes{$$} \
         - plimsoll_container_memory_unreclaimable_bytes{$$} offset 1m) / 60 \
         or max(deriv(container_memory_working_set_bytes{$$}[30s])) \
         or max(container_memory_working_set_bytes{$$} \
         - container_memory_working_set_bytes{$$} offset 1m) / 60",
    ),
    (
        Figure::Oom,
        "sum(increase(plimsoll_oom_total{$$}[10m])) \
         or sum(increase(container_oom_events_total{$$}[10m]))",
    ),
    (
        Figure::Throttled,
        "sum(increase(container_cpu_cfs_throttled_periods_total{$$}[5m])) \
         / (sum(increase(container_cpu_cfs_periods_total{$$}[5m])) > 0)",
    ),
    (
        Figure::ThrottledSeconds,
        "sum(rate(container_cpu_cfs_throttled_seconds_total{$$}[5m]) \
         and max_over_time(container_cpu_cfs_throttled_seconds_total{$$}[1m] offset 4m))",
    ),
    (Figure::CpuWaiting, "max(rate(container_pressure_cpu_waiting_seconds_total{$$}[5m]))"),
    // Of a range that was not seen from its beginning, as after a start, an average is too low.
    (
        Figure::CpuUsed,
        "sum(rate(container_cpu_usage_seconds_total{$$}[5m]) \
         and max_over_time(container_cpu_usage_seconds_total{$$}[1m] offset 4m))",
    ),
    (
        Figure::CpuLimit,
        "max(container_spec_cpu_quota{$$} > 0) / max(container_spec_cpu_period{$$})",
    ),
    (Figure::Started, "max(container_start_time_seconds{$$})"),
];
/// Kills since it was started, where that was within the ten minutes in which a kill counts.
const KILLED_SINCE: &str = "sum(increase(plimsoll_oom_total{$$}[##s])) \
                            or sum(increase(container_oom_events_total{$$}[##s]))";
const KILL_COUNTS: Duration = Duration::from_secs(600);
/// The limit is near enough to act on the slope of three minutes, and the slope is no noise: so far
/// ahead at that pace and at the present one, and so much of the limit in those three minutes. Ours.
const RUSH_SECONDS: f64 = 120.0;
const RUSH_RATIO: f64 = 0.02;
const SLOPE_SECONDS: f64 = 180.0;
/// Whose label `id` tells the incarnation: everything that measures containers has it.
const MEASURED: &str = "container_memory_working_set_bytes";
/// How long the container waits for the CPU is told now, and half of the figure's range ago.
const WAITING_NOW: &str = "max(container_pressure_cpu_waiting_seconds_total{$$})";
const WAITING_BEFORE: &str =
    "max(max_over_time(container_pressure_cpu_waiting_seconds_total{$$}[2m30s] offset 2m30s))";
const WAITING_RANGE: Duration = Duration::from_secs(300);
/// The host is short of memory, as the node exporter or our own collector sees it: the rule
/// `SharedNodeMemoryPressure`.
const HOST_PRESSURE: &str = "(node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes \
     or plimsoll_machine_memory_available_bytes / machine_memory_bytes) < ##";
/// What that is told by.
const HOST_MEMORY: &str = "node_memory_MemAvailable_bytes";
/// How often the workers of a service start anew by themselves, per second: a recording rule of this
/// name, if somebody wrote one.
const RECYCLES: &str = "max(service:recycles:rate1h{service=$$}) > 0";
/// A gate of the tenant fails, or one that is nobody's in particular.
const GATES_FAILING: &str = "probe_success{gate=~\"health|login|api\",$$} == 0";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Limit,
    Soft,
    Usage,
    WorkingSet,
    Unreclaimable,
    Slope,
    Pace,
    Oom,
    Throttled,
    ThrottledSeconds,
    CpuWaiting,
    CpuUsed,
    CpuLimit,
    Started,
}

/// Metrics that evidence is made of: kept whenever an action could be asked for.
pub(super) const EVIDENCE_NAMES: [&str; 18] = [
    "container_spec_memory_limit_bytes",
    "container_spec_memory_reservation_limit_bytes",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "plimsoll_container_memory_unreclaimable_bytes",
    "container_oom_events_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_cpu_usage_seconds_total",
    "container_pressure_cpu_waiting_seconds_total",
    "container_spec_cpu_quota",
    "container_spec_cpu_period",
    "container_start_time_seconds",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "plimsoll_machine_memory_available_bytes",
    "machine_memory_bytes",
];

/// How far back the engine's own queries look, in minutes; at all else they ask for the newest sample.
pub(super) const RANGES: [(&str, u64); 9] = [
    ("plimsoll_oom_total", 10),
    ("container_oom_events_total", 10),
    ("container_cpu_cfs_throttled_periods_total", 5),
    ("container_cpu_cfs_periods_total", 5),
    ("container_cpu_cfs_throttled_seconds_total", 5),
    ("container_cpu_usage_seconds_total", 5),
    ("container_pressure_cpu_waiting_seconds_total", 5),
    ("container_memory_working_set_bytes", 3),
    ("plimsoll_container_memory_unreclaimable_bytes", 3),
];

/// How the limits of a container stand to its tenant's plan.
struct PlanLimits<'a> {
    /// The plan they are of.
    of: Option<&'a Plan>,
    /// They should be the plan's, and are not.
    drift: bool,
    /// There is a plan, and they are not of it.
    are_own: bool,
}

impl Engine {
    /// Everything known about the container an alert names, at the time of the round.
    pub(super) fn evidence(
        &self,
        incident: &Incident,
        interval: Duration,
        at: Timestamp,
        now: Now,
    ) -> Evidence {
        let wall = now.wall;
        let selector = container(incident);
        let ask = |query: &str| {
            let text = query.replace("$$", selector.as_deref()?);
            value(&text, &self.window, at, &self.setup.eval)
        };
        let get = |wanted: Figure| {
            let query = FIGURES.iter().find(|(figure, _)| *figure == wanted)?;
            ask(query.1)
        };
        let unreclaimable = get(Figure::Unreclaimable);
        let started = get(Figure::Started).and_then(Timestamp::of_start);
        let figures = self.figures(incident, &get, (unreclaimable, started), (at, now));
        let limit = figures.limit_bytes;
        let subject = incident.subject();
        let service = self.memory.usage.get(incident.label("service"));
        let limits = self.limits_by_plan(incident, &figures);
        let age = self.sample_age(incident, wall);
        let (sample_age, has_ended) = age.unwrap_or_default();
        let waiting = get(Figure::CpuWaiting);
        // After a start or a gap there is no average, or one of the first moments, which is too low.
        let in_time = 2 * interval <= WAITING_RANGE;
        let is_covered = || waiting.is_some() && ask(WAITING_BEFORE).is_some();
        let starvation_unseen = in_time && ask(WAITING_NOW).is_some() && !is_covered();
        let name = incident.whose.get("name");
        // Of a service it is the start of the newest of its containers.
        let life = started.filter(|_| name.is_some());
        let within = self.setup.policy.limits.episodes_within;
        let symptoms = Symptoms {
            thresholds: self.setup.policy.thresholds,
            unreclaimable_ratio: unreclaimable.zip(limit).map(|(held, limit)| held / limit),
            leaked_lately: service.is_some_and(|service| service.leaked_lately(within, wall)),
            cpu_waiting_ratio: waiting,
            ..symptoms(&figures, service.map(|service| service.trend(name, life)))
        };
        let figures = self.with_episodes(figures, &subject, &symptoms, wall);
        let reborn = service.and_then(|service| service.reborn_at(name));
        let started_at = started.max(reborn);
        let container_age = started_at.map(|at| wall.since(at));
        let killed_since = |age| ask(&killed_since(age, interval)?).filter(|kills| *kills > 0.0);
        let is_young = container_age.filter(|age| *age < KILL_COUNTS);
        let tenant = incident.label("tenant");
        let probes_failing = self.probes_fail(tenant, at);
        let image = self.image_of(figures.container.as_ref());
        let bad_image = image.is_some_and(|image| self.memory.rollouts.is_suspect(&image));
        let rushes = rushes(&figures, get(Figure::Pace));
        let recycle_due = !rushes && self.recycle_due(incident, &figures, at);
        Evidence {
            rushes,
            recycle_due,
            figures,
            symptoms,
            starvation_unseen,
            started_since_kill: is_young.is_some_and(|age| killed_since(age).is_none()),
            change_age: service.and_then(|s| s.changed_at(name)).map(|at| wall.since(at)),
            bad_image,
            sample_age,
            is_unseen: age.is_none(),
            has_ended,
            interval,
            container_age,
            host_pressure: self.is_pressed(at),
            pressure_unseen: self.is_unseen(HOST_MEMORY),
            gates_failing: probes_failing || self.gates.fails(tenant, &subject),
            probes_failing,
            limit_drift: limits.drift,
            own_limits: limits.are_own,
            needed_bytes: service.and_then(Service::memory_p95),
            fit: service.zip(limits.of).and_then(|(service, plan)| self.fit(service, plan)),
        }
    }

    /// Whether the host itself is short of memory.
    fn is_pressed(&self, at: Timestamp) -> bool {
        let least = self.setup.policy.thresholds.host_memory.to_string();
        self.is_true(&HOST_PRESSURE.replace("##", &least), at)
    }

    /// How a service's demand lies to the plans.
    fn fit(&self, service: &Service, present: &Plan) -> Option<Fit> {
        let policy = &self.setup.policy;
        fit(service, &policy.plans, &present.name, &policy.fitting)
    }

    /// How the limits that are enforced stand to the plan.
    fn limits_by_plan(&self, incident: &Incident, found: &outbox::Evidence) -> PlanLimits<'_> {
        let (limit, cores) = (found.limit_bytes, found.cpu_limit_cores);
        let plan = self.setup.policy.plans.get(incident.label("plan"));
        let promised = plan.filter(|_| plan_binds(incident.label("role")));
        // Whoever has a plan's very limits has them of it, whatever the role.
        let has_its = |plan: &&Plan| limit.or(cores).is_some() && !drifts(plan, limit, cores);
        let of = promised.or(plan.filter(has_its));
        PlanLimits {
            drift: promised.is_some_and(|plan| drifts(plan, limit, cores)),
            are_own: plan.is_some() && of.is_none(),
            of,
        }
    }

    /// The figures as they are sent along; what no reclaim can free and the start are known already.
    fn figures(
        &self,
        incident: &Incident,
        get: &dyn Fn(Figure) -> Option<f64>,
        (unreclaimable, started): (Option<f64>, Option<Timestamp>),
        (at, now): (Timestamp, Now),
    ) -> outbox::Evidence {
        let (limit, working_set) = (get(Figure::Limit), get(Figure::WorkingSet));
        let slope = get(Figure::Slope);
        let room = limit.zip(unreclaimable.or(working_set)).map(|(limit, used)| limit - used);
        let eta = room.zip(slope.filter(|slope| *slope > 0.0)).map(|(room, slope)| room / slope);
        let subject = incident.subject();
        let label = |name: &str| incident.whose.get(name).map(str::to_owned);
        let measured = container(incident).map(|of| self.incarnation(&of, at));
        outbox::Evidence {
            node_class: Some(self.setup.policy.tenancy.node_class().to_owned()),
            container: label("name").map(|name| Container {
                name: Some(name),
                role: label("role"),
                started_at: started.map(WireTime),
                ..measured.unwrap_or_default()
            }),
            limit_bytes: limit,
            soft_bytes: get(Figure::Soft),
            usage_bytes: get(Figure::Usage),
            working_set_bytes: working_set,
            ratio: working_set.zip(limit).map(|(used, limit)| used / limit),
            slope_bytes_per_second: slope,
            eta_to_limit_seconds: eta,
            oom_events_10m: get(Figure::Oom),
            throttled_ratio: get(Figure::Throttled),
            throttled_seconds_per_second: get(Figure::ThrottledSeconds),
            cpu_used_cores: get(Figure::CpuUsed),
            cpu_limit_cores: get(Figure::CpuLimit),
            last_action: self.memory.guards.own_history(&subject, now).last,
            ..outbox::Evidence::default()
        }
    }

    /// Episodes of what is short now.
    fn with_episodes(
        &self,
        figures: outbox::Evidence,
        subject: &str,
        symptoms: &Symptoms,
        wall: Timestamp,
    ) -> outbox::Evidence {
        let need = Need::of(diagnose(symptoms));
        let within = self.setup.policy.limits.episodes_within;
        let episodes_7d = Some(self.memory.episodes.count(subject, need, within, wall));
        outbox::Evidence { episodes_7d, ..figures }
    }

    fn is_true(&self, query: &str, at: Timestamp) -> bool {
        value(query, &self.window, at, &self.setup.eval).is_some()
    }

    /// Whether what fills memory is likely to go by itself: workers that are replaced after so many
    /// requests give theirs back.
    fn recycle_due(&self, incident: &Incident, found: &outbox::Evidence, at: Timestamp) -> bool {
        let Some(service) = incident.whose.get("service") else { return false };
        let query = RECYCLES.replace("$$", &quoted(service));
        let pace = value(&query, &self.window, at, &self.setup.eval);
        let Some(turn) = pace.and_then(|pace| Duration::try_from_secs_f64(pace.recip()).ok())
        else {
            return false;
        };
        let killed = found.oom_events_10m.is_some_and(|kills| kills >= 1.0);
        turn < self.setup.policy.limits.recycle_within
            && at.since(incident.starts_at) < turn
            && !killed
    }

    /// Whether a probe of others fails for the tenant, or one that is nobody's in particular.
    fn probes_fail(&self, tenant: &str, at: Timestamp) -> bool {
        let query = |tenant| GATES_FAILING.replace("$$", &format!("tenant={}", quoted(tenant)));
        ["", tenant].iter().any(|tenant| self.is_true(&query(tenant), at))
    }

    /// Whether a target that tells of this metric does not answer.
    fn is_unseen(&self, metric: &str) -> bool {
        let tells = |target: &Target| target.feeds.contains(metric);
        self.targets.values().any(|target| target.health == Health::Bad && tells(target))
    }

    /// Which incarnation was measured: the one container that the newest samples come from. Two at
    /// once, as in the minutes in which cAdvisor still shows the old one, are as good as none.
    fn incarnation(&self, selector: &str, at: Timestamp) -> Container {
        let query = format!("{MEASURED}{{{selector}}}");
        let found = vector(&query, &self.window, at, &self.setup.eval);
        let mut ids = found.iter().filter_map(|(labels, _)| id_in_cgroup(labels.get("id")?));
        let id = ids.next();
        if ids.any(|other| Some(&other) != id.as_ref()) {
            return Container::default();
        }
        let image = found.iter().find_map(|(labels, _)| labels.get("image"));
        Container {
            id: id.map(|id| id.as_str().to_owned()),
            image: image.filter(|image| !image.is_empty()).map(str::to_owned),
            ..Container::default()
        }
    }

    /// How old the evidence is: of each metric of the container its newest sample, of these the
    /// oldest. An alert that names no container is as fresh as its service; of one that names neither,
    /// or whose container nobody measures, there is none. A metric that has ended (a quota was taken off) is no evidence any more,
    /// unless all have; but one that has ended because its file cannot be read grows old.
    ///
    /// Besides, whether evidence has ended: none of these series goes on, because the container's target
    /// has failed or it is gone, or one of them cannot be read. Then a range may still show what was, but
    /// what is known now is not all there is.
    fn sample_age(&self, incident: &Incident, wall: Timestamp) -> Option<(Duration, bool)> {
        let (label, text) = pointer(&incident.whose)?;
        let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        let newest = |metric: &&'static str| {
            let matchers = vec![Matcher::equal("__name__", metric), Matcher::equal(label, text)];
            let found = self.window.select(&Selector::new(matchers), all);
            let last = found.iter().filter_map(|series| series.samples.last());
            let newest = last.map(|last| (last.at, !is_stale(last.value))).max();
            newest.map(|(at, goes_on)| (*metric, at, goes_on))
        };
        let missed = self.missed_of((label, text));
        let newest: Vec<_> = EVIDENCE_NAMES.iter().filter_map(newest).collect();
        let has_ended = !newest.is_empty() && newest.iter().all(|(_, _, goes_on)| !goes_on);
        let counts = |(metric, _, goes_on): &&(&str, Timestamp, bool)| {
            *goes_on || has_ended || missed.contains(metric)
        };
        let oldest = newest.iter().filter(counts).map(|(_, at, _)| *at).min();
        Some((wall.since(oldest?), has_ended || !missed.is_empty()))
    }

    /// The evidence that a target should have brought of this container and could not read.
    fn missed_of(&self, (label, text): (&str, &str)) -> BTreeSet<&str> {
        let all = self.targets.values().flat_map(|target| &target.missed);
        let of_it = all.filter(|series| series.get(label) == Some(text));
        of_it.map(Labels::metric_name).filter(|name| EVIDENCE_NAMES.contains(name)).collect()
    }
}

/// The query for kills in a container of this age since it was started; `None` while it is too young to
/// tell: what a kill before the start is told by may come with the first samples after it.
fn killed_since(age: Duration, interval: Duration) -> Option<String> {
    let seconds = age.saturating_sub(2 * interval).as_secs();
    (seconds > 0).then(|| KILLED_SINCE.replace("##", &seconds.to_string()))
}

/// Whether memory reaches its limit within two minutes, and by more than noise.
fn rushes(figures: &outbox::Evidence, pace: Option<f64>) -> bool {
    let (Some(eta), Some(slope)) = (figures.eta_to_limit_seconds, figures.slope_bytes_per_second)
    else {
        return false;
    };
    let is_loud = |limit| slope * SLOPE_SECONDS >= RUSH_RATIO * limit;
    let goes_on = pace.is_some_and(|pace| pace * RUSH_SECONDS >= slope * eta);
    eta <= RUSH_SECONDS && goes_on && figures.limit_bytes.is_some_and(is_loud)
}

/// What a diagnosis rests on: the figures as shares of their limits, and the last hour.
fn symptoms(figures: &outbox::Evidence, trend: Option<Trend>) -> Symptoms {
    let trend = trend.unwrap_or_default();
    let share = |part: Option<f64>, whole: Option<f64>| part.zip(whole).map(|(p, w)| p / w);
    Symptoms {
        usage_ratio: share(figures.usage_bytes, figures.limit_bytes),
        working_set_ratio: figures.ratio,
        oom_events: figures.oom_events_10m,
        warm_ratio: share(trend.warm_bytes, figures.limit_bytes),
        lowest_ratio: share(trend.lowest_bytes, figures.limit_bytes),
        growth_per_hour: share(trend.bytes_per_hour, figures.limit_bytes),
        recent_growth_per_hour: share(trend.recent_bytes_per_hour, figures.limit_bytes),
        is_settling: trend.is_settling,
        traffic_factor: trend.traffic_factor,
        throttled_ratio: figures.throttled_ratio,
        cpu_ratio: share(figures.cpu_used_cores, figures.cpu_limit_cores),
        ..Symptoms::default()
    }
}

/// When the container that an alert names was started. Of a service, whose containers are started one by one,
/// there is no such time.
pub(super) fn started_at(incident: &Incident, found: &Evidence, now: Now) -> Option<Timestamp> {
    let age = found.container_age.filter(|_| incident.whose.get("name").is_some());
    age.map(|age| now.wall - age)
}

/// The matchers that find the container an alert is about.
fn container(incident: &Incident) -> Option<String> {
    let (label, text) = pointer(&incident.whose)?;
    Some(format!("{label}={}", quoted(text)))
}

/// What a query yields, series by series.
pub(super) fn vector(
    text: &str,
    window: &Window,
    at: Timestamp,
    options: &EvalOptions,
) -> Vec<(Labels, f64)> {
    let parsed = parse(text, &ParseOptions::default()).ok();
    let found = parsed.and_then(|expr| instant(&expr, window, at, options).ok());
    match found.map(|found| found.value) {
        Some(Value::Vector(vector)) => vector,
        _ => Vec::new(),
    }
}

/// The first value a query yields.
fn value(text: &str, window: &Window, at: Timestamp, options: &EvalOptions) -> Option<f64> {
    let expr = parse(text, &ParseOptions::default()).ok()?;
    match instant(&expr, window, at, options).ok()?.value {
        Value::Vector(vector) => vector.first().map(|(_, value)| *value),
        Value::Scalar(value) => Some(value),
        Value::Matrix(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::blame::CPU;
    use super::super::host::own_queries;
    use super::*;
    use crate::promql::{QueryTimes, reach};

    #[test]
    fn every_query_parses() {
        let all = FIGURES.iter().map(|(_, query)| *query);
        let more = [HOST_PRESSURE, GATES_FAILING, WAITING_NOW, WAITING_BEFORE, KILLED_SINCE];
        let recycles = RECYCLES.replace("$$", "\"a\"");
        assert!(parse(&recycles, &ParseOptions::default()).is_ok(), "{recycles}");
        for query in all.chain(more) {
            let text = query.replace("$$", "name=\"a\\\"b\"").replace("##", "60");
            assert!(parse(&text, &ParseOptions::default()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_own_queries_look_back_at_is_kept() {
        let figures = FIGURES.iter().map(|(_, query)| *query);
        let more = [HOST_PRESSURE, GATES_FAILING, WAITING_NOW, WAITING_BEFORE, KILLED_SINCE, CPU];
        let mut longest = BTreeMap::new();
        for query in figures.chain(own_queries()).chain(more) {
            let seconds = KILL_COUNTS.as_secs().to_string();
            let text = query.replace("$$", "name=\"a\"").replace("##", &seconds);
            let expr = parse(&text, &ParseOptions::default()).expect("a query of our own");
            for found in reach(&expr, QueryTimes::default()) {
                let history = found.history.expect("no fixed time").as_secs();
                let name = found.selector.metric_name().expect("named").to_owned();
                let minutes = longest.entry(name).or_insert(0);
                *minutes = history.div_ceil(60).max(*minutes);
            }
        }
        longest.retain(|_, minutes| *minutes > 0);
        let said = RANGES.map(|(name, minutes)| (name.to_owned(), minutes));
        assert_eq!(longest, BTreeMap::from(said));
    }
}
