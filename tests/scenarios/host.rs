//! The host of a scenario: its containers as cAdvisor would tell them, and the receivers of what
//! plimsoll says. Everything is a function of the time since the start and of what was done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use plimsoll::alerts::{Post, Verdict};
use plimsoll::app::replay::Surroundings;
use plimsoll::base::{Now, Timestamp};
use plimsoll::outbox::{self, Answer, Outcome};
use plimsoll::policy::{Miss, Page, Probe};

use super::file::{Answers, Container, Happening, Scenario, Stretch};
use super::shape::Shape;

/// The wall clock at the start of every scenario.
pub const EPOCH: Timestamp = Timestamp(1_795_312_440_000);
const GIB: f64 = (1u64 << 30) as f64;
/// CFS accounts in periods of 100 ms.
const PERIODS_PER_SECOND: f64 = 10.0;

struct State {
    /// Of its containers; each has an id of its own.
    incarnation: u32,
    image: String,
    started: Timestamp,
    /// When it was last restarted, since the start of the scenario.
    restarted: Option<Duration>,
    memory_limit: f64,
    oom_kills: u32,
    cpu_seconds: f64,
    periods: f64,
    throttled: f64,
    waiting: f64,
}

/// The host and the receivers.
pub struct Host {
    scenario: Rc<Scenario>,
    states: BTreeMap<String, State>,
    counters: BTreeMap<String, f64>,
    /// Up to when counters have run.
    upto: Duration,
    /// Happenings that are still to come, and restarts that were accepted.
    coming: Vec<(Duration, Happening)>,
    /// Requests that were carried out: a second word of the same changes nothing.
    done: BTreeSet<String>,
    last_page: Option<Vec<u8>>,
}

/// Series by their shapes, as a page has them.
fn gauges(series: &BTreeMap<String, Shape>, after: Duration) -> String {
    let shown = series.iter().filter_map(|(name, shape)| Some((name, shape.at(after)?)));
    shown.map(|(name, value)| format!("{name} {value}\n")).collect()
}

fn within(stretches: &[Stretch], after: Duration) -> bool {
    stretches.iter().any(|(from, to)| *from <= after && after < *to)
}

/// The id of one incarnation of a container.
pub fn id_of(name: &str, incarnation: u32) -> String {
    let sum = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{sum:032x}{incarnation:032x}")
}

impl Host {
    pub fn new(scenario: Rc<Scenario>) -> Host {
        let state = |(name, container): (&String, &Container)| {
            let there = container.there.0;
            let up_before = if there.is_zero() { container.up_before } else { Duration::ZERO };
            let state = State {
                incarnation: 1,
                image: "app:1".to_owned(),
                started: EPOCH + there - up_before,
                restarted: None,
                memory_limit: limit(container),
                oom_kills: 0,
                cpu_seconds: 0.0,
                periods: 0.0,
                throttled: 0.0,
                waiting: 0.0,
            };
            (name.clone(), state)
        };
        Host {
            states: scenario.containers.iter().map(state).collect(),
            coming: scenario.events.clone(),
            scenario,
            counters: BTreeMap::new(),
            upto: Duration::ZERO,
            done: BTreeSet::new(),
            last_page: None,
        }
    }

    /// Lets everything happen up to now.
    fn advance(&mut self, now: Now) {
        let after = now.monotonic;
        let due = |(at, _): &(Duration, Happening)| *at <= after;
        let mut happened: Vec<_> = self.coming.iter().filter(|c| due(c)).cloned().collect();
        self.coming.retain(|coming| !due(coming));
        happened.sort_by_key(|(at, _)| *at);
        for (at, what) in happened {
            self.happen(at, now, what);
        }
        let passed = (after - self.upto).as_secs_f64();
        self.upto = after;
        let scenario = Rc::clone(&self.scenario);
        for (name, rate) in &scenario.counters {
            let count = self.counters.entry(name.clone()).or_default();
            *count += rate.at(after).unwrap_or(0.0) * passed;
        }
        for (name, container) in &scenario.containers {
            let state = self.states.get_mut(name).expect("every container has a state");
            state.run(container, after, passed);
            let full = container.fill(state, after).is_some_and(|fill| fill >= 1.0);
            if container.killed_at_limit && full {
                state.oom_kills += 1;
                state.restart(after, now.wall);
            }
        }
    }

    fn happen(&mut self, at: Duration, now: Now, what: Happening) {
        let wall = now.wall - (now.monotonic - at);
        let (Happening::Restart(name)
        | Happening::Recreate(name)
        | Happening::Oom { name, .. }
        | Happening::Deploy { name, .. }
        | Happening::Limit { name, .. }) = &what
        else {
            return;
        };
        let state = self.states.get_mut(name);
        let state = state.unwrap_or_else(|| panic!("no container is called {name}"));
        match what {
            Happening::Restart(_) => state.restart(at, wall),
            Happening::Recreate(_) => {
                state.incarnation += 1;
                state.restart(at, wall);
            }
            Happening::Deploy { image, .. } => {
                state.incarnation += 1;
                state.image = image;
                state.restart(at, wall);
            }
            Happening::Oom { child, .. } => {
                state.oom_kills += 1;
                if !child {
                    state.restart(at, wall);
                }
            }
            Happening::Limit { bytes, .. } => state.memory_limit = bytes as f64,
            _ => {}
        }
    }

    fn write(&self, now: Now) -> String {
        let after = now.monotonic;
        let stamp =
            if self.scenario.target.stamps { format!(" {}", now.wall.0) } else { String::new() };
        let mut page = String::new();
        for (name, container) in &self.scenario.containers {
            if !within(&[container.there], after) {
                continue;
            }
            let state = &self.states[name];
            let id = id_of(name, state.incarnation);
            let (labels, image) = (container.exported_labels(), &state.image);
            for (family, value) in container.figures(state, after) {
                let total = if family == "container_cpu_usage_seconds_total" {
                    "cpu=\"total\","
                } else {
                    ""
                };
                writeln!(
                    page,
                    "{family}{{{total}id=\"/docker/{id}\",image=\"{image}\",name=\"{name}\"{labels}}} {value}{stamp}"
                )
                .expect("a string takes everything");
            }
        }
        page += &gauges(&self.scenario.series, after);
        for (name, value) in &self.counters {
            writeln!(page, "{name} {value}").expect("a string takes everything");
        }
        page
    }

    fn execute(&mut self, now: Now, event: &outbox::Event) {
        let Some(action) = &event.data.action else { return };
        let restarts = event.event_type == outbox::EventType::RestartRequested;
        let asked = restarts && action.mode == outbox::ActionMode::Request;
        let after = self.scenario.control_plane.executes.filter(|_| asked);
        let Some(after) = after.filter(|_| self.done.insert(action.dedup_key.clone())) else {
            return;
        };
        if let Some(name) = event.data.labels.get("name") {
            self.coming.push((now.monotonic + after, Happening::Restart(name.clone())));
        }
    }
}

impl Surroundings for Host {
    fn page(&mut self, place: usize, now: Now) -> Result<Vec<u8>, String> {
        self.advance(now);
        let other =
            targets(&self.scenario).get(place).and_then(|(job, _)| self.scenario.pages.get(*job));
        if let Some(page) = other {
            if within(&page.down, now.monotonic) {
                return Err("connection refused".to_owned());
            }
            return Ok(gauges(&page.series, now.monotonic).into_bytes());
        }
        if within(&self.scenario.target.down, now.monotonic) {
            return Err("connection refused".to_owned());
        }
        let frozen = within(&self.scenario.target.frozen, now.monotonic);
        match self.last_page.clone().filter(|_| frozen) {
            Some(page) => Ok(page),
            None => Ok(self.last_page.insert(self.write(now).into_bytes()).clone()),
        }
    }

    fn post(&mut self, now: Now, _post: &Post) -> Verdict {
        match within(&self.scenario.alertmanager_down, now.monotonic) {
            true => Verdict::Failed("connection refused".to_owned()),
            false => Verdict::Accepted,
        }
    }

    fn knock(&mut self, now: Now, probe: &Probe) -> Option<Result<Page, Miss>> {
        let key = match probe.key.tenant.as_str() {
            "" => probe.key.gate.clone(),
            tenant => format!("{tenant}/{}", probe.key.gate),
        };
        let door = self.scenario.doors.get(&key);
        if door.is_some_and(|door| within(&door.shut, now.monotonic)) {
            return Some(Err(Miss::Timeout));
        }
        let is_blank = door.is_some_and(|door| within(&door.blank, now.monotonic));
        let text = door.map_or("ok", |door| door.text.as_str());
        let body = if is_blank { Vec::new() } else { text.as_bytes().to_vec() };
        Some(Ok(Page { status: 200, body, is_whole: true }))
    }

    fn deliver(&mut self, now: Now, event: &outbox::Event) -> Outcome {
        let answers = &self.scenario.control_plane;
        let later = |why: &str| Outcome::RetryLater { after: None, why: why.to_owned() };
        if within(&answers.down, now.monotonic) {
            return later("connection refused");
        }
        let lost = within(&answers.lost, now.monotonic);
        let decision = match answers.answers {
            Answers::Accepts => "accepted",
            Answers::Declines => "declined",
            Answers::Refuses if event.data.action.is_some() => {
                return Outcome::Refused { why: "422".to_owned() };
            }
            Answers::Refuses => "accepted",
        };
        if answers.answers == Answers::Accepts {
            self.execute(now, event);
        }
        if lost {
            return Outcome::Unanswered { after: None, why: "the answer was lost".to_owned() };
        }
        let decision = event.data.action.is_some().then(|| decision.to_owned());
        Outcome::Accepted(Answer { decision, ..Answer::default() })
    }
}

impl State {
    /// The kernel counts anew in a cgroup that is made anew.
    fn restart(&mut self, after: Duration, wall: Timestamp) {
        (self.cpu_seconds, self.periods) = (0.0, 0.0);
        (self.throttled, self.waiting) = (0.0, 0.0);
        self.started = wall;
        self.restarted = Some(after);
    }

    fn run(&mut self, container: &Container, after: Duration, passed: f64) {
        let quota = container.cpu_limit.unwrap_or_else(|| cores_of(&container.plan));
        let cores = if quota > 0.0 { quota } else { 1.0 };
        self.cpu_seconds += container.cpu.at(after).unwrap_or(0.0) * cores * passed;
        self.periods += PERIODS_PER_SECOND * passed;
        self.throttled +=
            container.throttled.at(after).unwrap_or(0.0) * PERIODS_PER_SECOND * passed;
        let waiting = container.waiting.as_ref().and_then(|waiting| waiting.at(after));
        self.waiting += waiting.unwrap_or(0.0) * passed;
    }
}

/// Memory and CPU of the default plans.
fn plan_of(name: &str) -> (f64, f64) {
    match name {
        "free" => (GIB, 0.5),
        "enterprise" => (8.0 * GIB, 4.0),
        _ => (2.0 * GIB, 1.5),
    }
}

fn cores_of(plan: &str) -> f64 {
    plan_of(plan).1
}

fn limit(container: &Container) -> f64 {
    container.memory_limit.map_or(plan_of(&container.plan).0, |bytes| bytes as f64)
}

impl Container {
    /// Working set per limit; since a restart by its own course, if it has one.
    fn fill(&self, state: &State, after: Duration) -> Option<f64> {
        match (state.restarted, &self.after_restart) {
            (Some(at), Some(course)) => course.at(after - at),
            _ => self.working_set.at(after),
        }
    }

    /// Its Docker labels as cAdvisor writes them.
    fn exported_labels(&self) -> String {
        let write = |(key, value): &(String, String)| {
            let name = key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            format!(",container_label_{name}={value:?}")
        };
        self.labels.iter().map(write).collect()
    }

    /// What cAdvisor says of it; nothing of what is in a gap.
    fn figures(&self, state: &State, after: Duration) -> Vec<(&'static str, f64)> {
        let scale = if state.memory_limit > 0.0 { limit(self).max(1.0) } else { GIB };
        let working_set = self.fill(state, after).map(|fill| fill.min(1.0) * scale);
        let cache = self.cache.at(after).unwrap_or(0.0) * scale;
        let ceiling = if state.memory_limit > 0.0 { state.memory_limit } else { f64::INFINITY };
        let usage = working_set.map(|bytes| (bytes + cache).min(ceiling));
        let quota = self.cpu_limit.unwrap_or_else(|| cores_of(&self.plan));
        let mut all = vec![
            ("container_last_seen", Some((EPOCH + after).as_seconds().floor())),
            ("container_start_time_seconds", Some(state.started.as_seconds().floor())),
            ("container_spec_memory_limit_bytes", Some(state.memory_limit)),
            ("container_spec_memory_reservation_limit_bytes", Some(state.memory_limit / 2.0)),
            ("container_spec_memory_swap_limit_bytes", Some(0.0)),
            ("container_spec_cpu_period", Some(100_000.0)),
            ("container_spec_cpu_quota", (quota > 0.0).then_some(quota * 100_000.0)),
            ("container_memory_usage_bytes", usage.map(f64::floor)),
            ("container_memory_working_set_bytes", working_set.map(f64::floor)),
            ("container_oom_events_total", Some(f64::from(state.oom_kills))),
            ("container_cpu_usage_seconds_total", Some(state.cpu_seconds)),
            (
                "container_pressure_cpu_waiting_seconds_total",
                self.waiting.as_ref().map(|_| state.waiting),
            ),
        ];
        if quota > 0.0 {
            all.push(("container_cpu_cfs_periods_total", Some(state.periods.floor())));
            all.push(("container_cpu_cfs_throttled_periods_total", Some(state.throttled.floor())));
            let seconds = state.throttled / PERIODS_PER_SECOND;
            all.push(("container_cpu_cfs_throttled_seconds_total", Some(seconds)));
        }
        all.into_iter().filter_map(|(family, value)| Some((family, value?))).collect()
    }
}

/// The job of the target that measures containers, unless there is none, then those of the other pages;
/// each with more labels of its target.
pub fn targets(scenario: &Scenario) -> Vec<(&str, &[(String, String)])> {
    let cadvisor = (!scenario.target.absent).then_some(("cadvisor", &[][..]));
    let pages = scenario.pages.iter().map(|(job, page)| (job.as_str(), &page.labels[..]));
    cadvisor.into_iter().chain(pages).collect()
}

/// The configuration of a scenario: what the text does not say is this.
pub fn config(scenario: &Scenario, text: &str) -> String {
    let said = |key: &str| text.lines().any(|line| line.starts_with(&format!("{key}:")));
    let interval = scenario.interval.as_secs();
    let mut tenants = String::from("tenants:\n");
    for (name, of) in scenario.containers.iter().filter(|(_, of)| !of.tenant.is_empty()) {
        let Container { tenant, plan, role, .. } = of;
        let role = if role.is_empty() { String::new() } else { format!(", role: {role}") };
        writeln!(
            tenants,
            "  - {{match: {{name: '{name}'}}, tenant: {tenant}, plan: {plan}{role}}}"
        )
        .expect("a string takes everything");
    }
    let base = [
        (
            "global",
            format!(
                "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s, evaluation_interval: {interval}s}}\n"
            ),
        ),
        ("host", "host: web-7\n".to_owned()),
        ("scrape_configs", "scrape_configs: []\n".to_owned()),
        ("rule_files", "rule_files: []\n".to_owned()),
        (
            "alerting",
            "alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}\n"
                .to_owned(),
        ),
        ("mode", "mode: act\n".to_owned()),
        ("actions", "actions: {nudge: act}\n".to_owned()),
        ("tenants", tenants),
    ];
    let missing = base.into_iter().filter(|(key, _)| !said(key)).map(|(_, text)| text);
    missing.collect::<String>() + text
}
