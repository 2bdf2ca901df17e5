//! The true host: how each container is, whatever anyone is told about it. Its targets' answers are
//! made here as batches, without a page of text, because a scan of text is not what these worlds test.

use std::rc::Rc;
use std::time::Duration;

use plimsoll::base::{Labels, Now, Timestamp};
use plimsoll::exposition::{Batch, Point};

use super::mutate::Mutation;
use super::plan::{CALM, MINUTE, Nature, Plan, Spec};

const GIB: f64 = (1u64 << 30) as f64;
/// CFS accounts in periods of 100 ms.
const PERIODS_PER_SECOND: f64 = 10.0;

/// What is told of each container …
const MEMORY: [&str; 5] = [
    "container_memory_working_set_bytes",
    "container_memory_usage_bytes",
    "container_spec_memory_limit_bytes",
    "container_start_time_seconds",
    "container_oom_events_total",
];
/// … and of those where the CPU plays a part.
const CPU: [&str; 8] = [
    "container_cpu_usage_seconds_total",
    "container_spec_cpu_quota",
    "container_spec_cpu_period",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total",
    "container_pressure_cpu_waiting_seconds_total",
    "app_slow",
];
const WAITING: &str = "container_pressure_cpu_waiting_seconds_total";
/// What is told of those whose working set is page cache.
const HELD: &str = "plimsoll_container_memory_unreclaimable_bytes";
/// How much memory those hold that no reclaim can free, per limit.
const HELD_RATIO: f64 = 0.3;
const NODE: [&str; 2] = ["node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"];

/// One container as it is.
#[derive(Clone, Debug)]
pub struct Container {
    /// Seconds since the world's beginning; before it, less than zero.
    pub started: f64,
    pub started_wall: Timestamp,
    incarnation: u32,
    /// When it was deployed anew.
    pub deployed: Option<f64>,
    ooms: f64,
    cpu: f64,
    periods: f64,
    throttled: f64,
    waiting: f64,
    upto: f64,
    /// Until then its customer cannot get in, for what was changed.
    shut_until: Option<Duration>,
}

/// What one answer of the containers' target shows of one of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sight {
    pub started: f64,
    pub started_wall: Timestamp,
    pub deployed: Option<f64>,
    /// When it was looked at.
    pub sampled: f64,
    pub starved_since: Option<Duration>,
    /// Working set per limit.
    pub fill: f64,
    /// What no reclaim can free, per limit.
    pub held: f64,
}

/// What one answer shows of the world.
#[derive(Clone, Debug)]
pub enum Shown {
    Containers(Vec<Sight>),
    /// Since when the host has been short of memory.
    Node(Option<Duration>),
    /// Nothing that matters.
    Nothing,
}

/// Local ids of one target's series, as a scrape cache gives them out.
#[derive(Default)]
struct Feed {
    epoch: u64,
    next: u32,
    /// By container, those of its present incarnation.
    ids: Vec<(u32, Vec<u32>)>,
}

/// The host.
pub struct Host {
    plan: Rc<Plan>,
    mutation: Option<Mutation>,
    pub containers: Vec<Container>,
    feeds: [Feed; 2],
    /// How often the kernel has killed one, and how often one has ended by itself.
    pub kills: u64,
    pub crashes: u64,
    /// The last page of the containers' target.
    last: Option<(Vec<Vec<f64>>, Timestamp, Vec<Sight>)>,
}

/// The labels of a target.
pub fn target_labels(target: usize) -> Labels {
    let job = ["cadvisor", "node", "redis", "mysql", "proxy"][target];
    Labels::from_pairs([("job", job), ("instance", "web-7:80")])
}

impl Host {
    pub fn new(plan: &Rc<Plan>, wall: Timestamp, mutation: Option<Mutation>) -> Host {
        let container = |spec: &Spec| Container {
            started: -spec.up_before.as_secs_f64(),
            started_wall: wall - spec.up_before,
            incarnation: 1,
            deployed: None,
            ooms: 0.0,
            cpu: 0.0,
            periods: 0.0,
            throttled: 0.0,
            waiting: 0.0,
            upto: 0.0,
            shut_until: None,
        };
        Host {
            containers: plan.specs.iter().map(container).collect(),
            plan: Rc::clone(plan),
            mutation,
            feeds: [Feed::default(), Feed::default()],
            kills: 0,
            crashes: 0,
            last: None,
        }
    }

    /// A process has started: its scrape caches know nothing.
    pub fn forget_feeds(&mut self) {
        for feed in &mut self.feeds {
            *feed = Feed { epoch: feed.epoch + 1, ..Feed::default() };
        }
    }

    pub fn restart(&mut self, number: usize, now: Now) {
        let container = &mut self.containers[number];
        container.started = now.monotonic.as_secs_f64();
        container.started_wall = now.wall;
        container.shut_until = None;
    }

    /// After its last change a container's customer cannot get in for so long.
    pub fn shut(&mut self, number: usize, until: Duration) {
        self.containers[number].shut_until = Some(until);
    }

    /// Whether a tenant's customer gets in.
    pub fn is_open(&self, tenant: &str, after: Duration) -> bool {
        let both = self.plan.specs.iter().zip(&self.containers);
        let mut apps = both.filter(|(spec, _)| spec.tenant == tenant && spec.role == "app");
        apps.all(|(spec, container)| {
            !spec.shut.at(after) && container.shut_until.is_none_or(|until| until < after)
        })
    }

    pub fn deploy(&mut self, number: usize, now: Now) {
        self.restart(number, now);
        let container = &mut self.containers[number];
        container.incarnation += 1;
        container.deployed = Some(container.started);
        (container.cpu, container.periods, container.throttled) = (0.0, 0.0, 0.0);
        (container.waiting, container.ooms) = (0.0, 0.0);
    }

    /// The number of the container of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.plan.specs.iter().position(|spec| spec.name == name)
    }

    /// Working set per limit.
    pub fn fill(&self, number: usize, after: Duration) -> f64 {
        let (spec, container) = (&self.plan.specs[number], &self.containers[number]);
        if spec.storm.at(after) {
            return 0.97;
        }
        if spec.nature == Nature::OomLoop && !spec.ill.at(after) {
            return 0.5;
        }
        if spec.nature == Nature::CrashLoop && !spec.ill.at(after) {
            return 0.3;
        }
        let age = match spec.by_start {
            true => Duration::from_secs_f64((after.as_secs_f64() - container.started).max(0.0)),
            false => after,
        };
        spec.fill.at(age).unwrap_or(0.3).min(1.0)
    }

    /// Memory per limit that no reclaim can free.
    fn held(&self, number: usize, after: Duration) -> f64 {
        let spec = &self.plan.specs[number];
        let is_cache = spec.nature == Nature::Reread && !spec.storm.at(after);
        if is_cache { HELD_RATIO } else { self.fill(number, after) }
    }

    /// Lets containers live up to now: counters run, the kernel kills, loops go on.
    fn advance(&mut self, now: Now) {
        let after = now.monotonic;
        let seconds = after.as_secs_f64();
        for number in 0..self.containers.len() {
            let fill = self.fill(number, after);
            let (plan, container) = (&self.plan, &mut self.containers[number]);
            let spec = &plan.specs[number];
            let passed = seconds - std::mem::replace(&mut container.upto, seconds);
            let is_ill = spec.ill.at(after);
            let (starved, throttled) = (
                is_ill && spec.nature == Nature::Starved,
                is_ill && spec.nature == Nature::Throttled,
            );
            container.cpu += passed * if throttled { 0.95 } else { 0.2 };
            container.periods += passed * PERIODS_PER_SECOND;
            container.throttled += passed * PERIODS_PER_SECOND * if throttled { 0.6 } else { 0.0 };
            container.waiting += passed * if starved { 0.7 } else { 0.0 };
            let age = seconds - container.started;
            if spec.dies && fill >= 1.0 && !spec.storm.at(after) {
                container.ooms += 1.0;
                self.kills += 1;
                self.restart(number, now);
            } else if is_ill && spec.nature == Nature::CrashLoop && age > 240.0 {
                self.crashes += 1;
                self.restart(number, now);
            }
        }
    }

    fn values(&self, number: usize, after: Duration) -> Vec<f64> {
        let (spec, container) = (&self.plan.specs[number], &self.containers[number]);
        let promised = spec.promised_gib() * GIB;
        let limit = if spec.drifts { promised / 2.0 } else { promised };
        let used = self.fill(number, after) * limit;
        let usage = if spec.nature == Nature::Cache { 0.99 * limit } else { used };
        let shift = if self.mutation == Some(Mutation::OldStarts) { 36_000.0 } else { 0.0 };
        let start = container.started_wall.as_seconds() - shift;
        let mut all = vec![used.floor(), usage.floor(), limit, start, container.ooms];
        if has_cpu(spec) {
            let slow = spec.nature == Nature::Starved && spec.ill.at(after);
            all.extend([
                container.cpu,
                100_000.0,
                100_000.0,
                container.periods,
                container.throttled,
                container.throttled / PERIODS_PER_SECOND,
                container.waiting,
                f64::from(u8::from(slow)),
            ]);
        }
        if spec.nature == Nature::Reread {
            all.push((self.held(number, after) * limit).floor());
        }
        all
    }

    fn sights(&self, after: Duration) -> Vec<Sight> {
        let sight = |(number, spec): (usize, &Spec)| {
            let container = &self.containers[number];
            Sight {
                fill: self.fill(number, after),
                held: self.held(number, after),
                started: container.started,
                started_wall: container.started_wall,
                deployed: container.deployed,
                sampled: after.as_secs_f64(),
                starved_since: spec.ill.since(after).filter(|_| spec.nature == Nature::Starved),
            }
        };
        self.plan.specs.iter().enumerate().map(sight).collect()
    }

    /// What the containers' target answers, and what is true of that answer.
    pub fn containers(&mut self, now: Now, anew: bool) -> (Batch, Shown) {
        self.advance(now);
        let after = now.monotonic;
        // The fault makes occasions of its own, because a page rarely freezes at the right moment.
        let often = after.as_secs() % 18_000 > 12_600 && after + CALM < self.plan.lasts;
        let faulty = self.mutation == Some(Mutation::FreshStamps) && often;
        let is_frozen = self.plan.frozen.at(after) || faulty;
        if !is_frozen || self.last.is_none() {
            let values = (0..self.containers.len()).map(|number| self.values(number, after));
            self.last = Some((values.collect(), now.wall, self.sights(after)));
        }
        let (values, at, sights) = self.last.clone().expect("it was just made");
        let stamped = self.plan.stamps && self.mutation != Some(Mutation::FreshStamps);
        let at = stamped.then_some(at);
        let feed = &mut self.feeds[0];
        let mut batch = feed.begin(anew, values.len());
        for (number, (spec, values)) in self.plan.specs.iter().zip(&values).enumerate() {
            let incarnation = self.containers[number].incarnation;
            feed.announce((number, spec), incarnation, &mut batch);
            let ids = &feed.ids[number].1;
            for ((id, value), name) in ids.iter().zip(values).zip(names(spec)) {
                let is_hidden = match self.mutation {
                    Some(Mutation::HideWaiting) => name == WAITING,
                    Some(Mutation::HideReclaimable) => name == HELD,
                    _ => false,
                };
                if is_hidden {
                    continue;
                }
                batch.points.push(Point { id: *id, value: *value, at });
            }
        }
        (batch, Shown::Containers(sights))
    }

    /// What the host's target answers.
    pub fn node(&mut self, now: Now, anew: bool) -> (Batch, Shown) {
        let pressed = self.plan.pressure.since(now.monotonic);
        let feed = &mut self.feeds[1];
        let mut batch = feed.begin(anew, 1);
        if feed.ids[0].1.is_empty() {
            let own = target_labels(1);
            for name in NODE {
                let labels = own.with("__name__", name);
                batch.new.push((feed.next, labels));
                feed.ids[0].1.push(feed.next);
                feed.next += 1;
            }
        }
        let available = if pressed.is_some() { 0.05 } else { 0.4 };
        let available = match self.mutation {
            Some(Mutation::HidePressure) => 0.4,
            _ => available,
        };
        let values = [available * 64.0 * GIB, 64.0 * GIB];
        let points = feed.ids[0].1.iter().zip(values);
        batch.points.extend(points.map(|(id, value)| Point { id: *id, value, at: None }));
        (batch, Shown::Node(pressed))
    }
}

impl Feed {
    fn begin(&mut self, anew: bool, count: usize) -> Batch {
        if anew {
            *self = Feed { epoch: self.epoch + 1, ..Feed::default() };
        }
        if self.ids.is_empty() {
            self.ids = vec![(0, Vec::new()); count];
        }
        Batch { epoch: self.epoch, ..Batch::default() }
    }

    /// Gives the series of a new incarnation their ids, and takes leave of the old ones'.
    fn announce(&mut self, (number, spec): (usize, &Spec), incarnation: u32, batch: &mut Batch) {
        let (known, ids) = &mut self.ids[number];
        if *known == incarnation {
            return;
        }
        *known = incarnation;
        batch.vanished.append(ids);
        let id = format!("/docker/{:032x}{incarnation:032x}", number + 1);
        let own = target_labels(0);
        let forged = spec.forged_as.iter().flat_map(|tenant| {
            [
                ("container_label_prego_tenant", tenant.as_str()),
                ("container_label_prego_role", "app"),
                ("container_label_prego_plan", "big"),
                ("container_label_com_docker_compose_project", tenant),
                ("container_label_com_docker_compose_service", "app"),
            ]
        });
        let forged: Vec<(&str, &str)> = forged.collect();
        for name in names(spec) {
            let pairs = [("__name__", name), ("id", &id), ("image", "app:1"), ("name", &spec.name)];
            let pairs = pairs.into_iter().chain(own.iter()).chain(forged.iter().copied());
            batch.new.push((self.next, Labels::from_pairs(pairs)));
            ids.push(self.next);
            self.next += 1;
        }
    }
}

/// The series of a container, in the order of its values.
fn names(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let cpu = if has_cpu(spec) { &CPU[..] } else { &[] };
    let held = (spec.nature == Nature::Reread).then_some(HELD);
    MEMORY.iter().chain(cpu).copied().chain(held)
}

fn has_cpu(spec: &Spec) -> bool {
    matches!(spec.nature, Nature::Starved | Nature::Throttled)
}

/// How long a container must have waited for the CPU until an average of five minutes shows it.
pub const SHOWS_AFTER: Duration = MINUTE.saturating_mul(4);
