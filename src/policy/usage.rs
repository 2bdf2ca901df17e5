//! What each service has used: the last weeks in histograms, the last hour of each of its containers
//! in points ([`super::trail`]).
//!
//! The window in memory is minutes long; a nudge needs weeks. What is seen is *censored*: a
//! service never uses more than its limit. So demand, not use, is what the histograms hold: CPU with
//! the time it was throttled ([`Cpu`]), memory raised by a fifth at every out-of-memory kill (VPA's
//! rule). A plan says what *each* container gets, so of several the one that needs most counts.
//! Bounded: one row a service in the journal, written now and then; losing the last is harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::DAY;
use super::fit::FitConfig;
use super::histogram::Histogram;
use super::rows;
use super::trail::{POINT_EVERY, Replaced, Seen, Trail, Trend};
use crate::base::{Change, Now, Timestamp};

/// Rows of this module in the table.
const PREFIX: &str = "usage/";
/// Resolution starts here: VPA's first buckets, 10 MB and 0.01 cores.
const FIRST_BYTES: f64 = 1e7;
const FIRST_CORES: f64 = 0.01;
/// Memory after an out-of-memory kill is taken to need this much more (VPA's `oom-bump-up-ratio`).
const OOM_BUMP: f64 = 1.2;
/// A container that was not seen for so long is forgotten, and the longest unseen of more than so many.
const FORGET_CONTAINER_AFTER: Duration = DAY;
const CONTAINERS_MAX: usize = 32;
/// A look stands for the time since the last one, at most for this long.
const LOOK_COUNTS: Duration = Duration::from_secs(300);
/// How long a row may be behind what is known.
const WRITE_EVERY: Duration = Duration::from_secs(600);
/// Services that are remembered: of a few kilobytes each.
const SERVICES_MAX: usize = 2000;
/// A service that was not seen for so long is forgotten: as long as its weights matter.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is seen of a service at one moment. What is not known is `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observation {
    /// Working set of its container; of several, the largest.
    pub working_set_bytes: Option<f64>,
    /// Hard memory limit; of several, the largest.
    pub limit_bytes: Option<f64>,
    /// CPU of each of its containers, by name.
    pub cpu: BTreeMap<String, Cpu>,
    /// Out-of-memory kills since the last observation.
    pub oom_kills: f64,
    /// Requests per second.
    pub requests: Option<f64>,
    /// Each of its containers, by name.
    pub containers: BTreeMap<String, Seen>,
}

/// CPU of one container.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cpu {
    /// Used, cores.
    pub used_cores: f64,
    /// Time in which the quota held it back, of all CPUs it would have run on, seconds per second.
    pub throttled_cores: f64,
    /// Part of the periods in which it was held back.
    pub throttled_ratio: f64,
}

impl Cpu {
    /// What it would have used without a quota, cores. Of many threads that wait for the next period each
    /// counts for the kernel, though one of them may do the work alone: a period that was cut off counts as
    /// one more core's at most.
    fn demand_cores(&self) -> f64 {
        self.used_cores + self.throttled_cores.min(self.throttled_ratio)
    }
}

/// The memory of all services.
#[derive(Clone, PartialEq, Debug)]
pub struct Usage {
    services: BTreeMap<String, Service>,
    half_life: Duration,
}

impl Default for Usage {
    fn default() -> Usage {
        Usage { services: BTreeMap::new(), half_life: FitConfig::HALF_LIFE }
    }
}

/// One service's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Demand for memory, bytes.
    memory: Histogram,
    /// Demand for CPU, cores.
    cpu: Histogram,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// Its containers, by name.
    #[serde(default)]
    containers: BTreeMap<String, Trail>,
    /// The last container that was seen to leak.
    #[serde(default)]
    leaked: Option<Leaked>,
    #[serde(skip)]
    written: Option<Duration>,
}

/// A leak: when it was last seen to grow, and in which container.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Leaked {
    at: Timestamp,
    name: String,
}

/// What is known of a container that another service had before.
struct Past {
    name: String,
    trail: Trail,
    leaked: Option<Leaked>,
}

impl Usage {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Usage, Vec<String>) {
        let (services, problems) = rows::read::<Service>(PREFIX, rows);
        let mut usage =
            Usage { services: services.into_iter().collect(), half_life: FitConfig::HALF_LIFE };
        // A row is as old as the half-life that it was written with.
        usage.set_half_life(FitConfig::HALF_LIFE);
        (usage, problems)
    }

    /// What was seen and will be seen halves in so long from then on.
    pub fn set_half_life(&mut self, half_life: Duration) {
        self.half_life = half_life;
        for Service { memory, cpu, last_seen, .. } in self.services.values_mut() {
            memory.set_half_life(half_life, *last_seen);
            cpu.set_half_life(half_life, *last_seen);
        }
    }

    /// What is remembered about a service.
    pub fn get(&self, service: &str) -> Option<&Service> {
        self.services.get(service)
    }

    /// Takes in what is seen by then, if the last point is a minute old. `warm_up` is how long a program
    /// needs until its level means something. Returns the row when it is time to write it.
    pub fn observe(
        &mut self,
        name: &str,
        seen: &Observation,
        warm_up: Duration,
        now: Now,
    ) -> Option<Change> {
        let wall = now.wall;
        let past = self.past_of_movers(name, seen, wall);
        let new = || Service::new(wall, self.half_life);
        let service = self.services.entry(name.to_owned()).or_insert_with(new);
        service.move_in(past);
        let newest = service.containers.values().filter_map(Trail::newest).map(|(at, _)| at).max();
        if newest.is_some_and(|at| wall.since(at) < POINT_EVERY) && seen.oom_kills == 0.0 {
            return None;
        }
        service.take(seen, warm_up, wall);
        let due = service.written.is_none_or(|at| now.monotonic.saturating_sub(at) >= WRITE_EVERY);
        due.then(|| {
            service.written = Some(now.monotonic);
            row(name, Some(service))
        })
    }

    /// Takes from other services what is known of containers that were theirs until now: whose a
    /// container is may become known late, or change, while it runs.
    fn past_of_movers(&mut self, name: &str, seen: &Observation, at: Timestamp) -> Vec<Past> {
        let own = self.services.get(name);
        let is_own =
            |container: &str| own.is_some_and(|own| own.containers.contains_key(container));
        let new = seen.containers.iter().filter(|(container, _)| !is_own(container));
        let new: Vec<(&String, u64)> =
            new.filter_map(|(container, seen)| Some((container, seen.incarnation?))).collect();
        let mut past = Vec::new();
        for (container, incarnation) in new {
            let was = |service: &Service| {
                let trail = service.containers.get(container);
                trail.is_some_and(|trail| trail.last_seen < at && trail.is_of(incarnation))
            };
            let Some(before) = self.services.values_mut().find(|service| was(service)) else {
                continue;
            };
            let Some(trail) = before.containers.remove(container) else { continue };
            let leaked = before.leaked.take_if(|leaked| leaked.name == *container);
            past.push(Past { name: container.clone(), trail, leaked });
        }
        past
    }

    /// Forgets services that are gone; call it now and then.
    pub fn prune(&mut self, now: Now) -> Vec<Change> {
        let gone = |service: &Service| now.wall.since(service.last_seen) >= FORGET_AFTER;
        let mut seen: Vec<(Timestamp, bool, String)> = self
            .services
            .iter()
            .map(|(name, service)| (service.last_seen, gone(service), name.clone()))
            .collect();
        // Where each job is a service of its own, the longest unseen make room.
        seen.sort_unstable();
        let surplus = seen.len().saturating_sub(SERVICES_MAX);
        let over =
            seen.iter().enumerate().filter(|(place, (_, gone, _))| *gone || *place < surplus);
        let names: Vec<&String> = over.map(|(_, (_, _, name))| name).collect();
        for name in &names {
            self.services.remove(*name);
        }
        names.into_iter().map(|name| row(name, None)).collect()
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let shift = |at: &mut Timestamp| at.0 = at.0.saturating_add(by_ms);
        for service in self.services.values_mut() {
            service.containers.values_mut().for_each(|trail| trail.rebase(by_ms));
            service.leaked.iter_mut().for_each(|leaked| shift(&mut leaked.at));
            service.memory.rebase(by_ms);
            service.cpu.rebase(by_ms);
            shift(&mut service.first_seen);
            shift(&mut service.last_seen);
        }
        self.services.iter().map(|(name, service)| row(name, Some(service))).collect()
    }
}

impl Service {
    fn new(at: Timestamp, half_life: Duration) -> Service {
        Service {
            memory: Histogram::new(FIRST_BYTES, half_life),
            cpu: Histogram::new(FIRST_CORES, half_life),
            first_seen: at,
            last_seen: at,
            containers: BTreeMap::new(),
            leaked: None,
            written: None,
        }
    }

    /// Share of the time in which more memory than this was needed.
    pub fn memory_above(&self, bytes: f64) -> Option<f64> {
        self.memory.share_above(bytes)
    }

    /// Share of the time in which more cores than this were needed.
    pub fn cpu_above(&self, cores: f64) -> Option<f64> {
        self.cpu.share_above(cores)
    }

    /// 95th percentile of the memory needed, bytes.
    pub fn memory_p95(&self) -> Option<f64> {
        self.memory.quantile(0.95)
    }

    /// 0 to 1: one once a day of looks weighs in the demand, as VPA counts it. What was seen long ago weighs
    /// less, and so does a service that was away.
    pub fn confidence(&self) -> f64 {
        let weight = |demand: &Histogram| demand.weight(self.last_seen);
        let weight = weight(&self.memory).max(weight(&self.cpu));
        let days = |minutes: f64| minutes * POINT_EVERY.as_secs_f64() / DAY.as_secs_f64();
        // So many days without a gap would leave this weight: their integral, solved for their number.
        let half_life = self.memory.half_life().as_secs_f64() / DAY.as_secs_f64();
        let left = 1.0 - days(weight) * std::f64::consts::LN_2 / half_life;
        if left > 0.0 { (-half_life * left.log2()).min(1.0) } else { 1.0 }
    }

    /// When a container of it was last deployed or given other limits, if that was seen; of no
    /// container in particular: any of them.
    pub fn changed_at(&self, container: Option<&str>) -> Option<Timestamp> {
        match container {
            Some(name) => self.containers.get(name)?.changed_at,
            None => self.containers.values().filter_map(|trail| trail.changed_at).max(),
        }
    }

    /// What the last deploy of a container of it changed, if that was seen; of no container in
    /// particular: the last of all.
    pub fn replaced(&self, container: Option<&str>) -> Option<Replaced> {
        let trail = match container {
            Some(name) => self.containers.get(name),
            None => self.containers.values().max_by_key(|trail| trail.changed_at),
        };
        trail?.replaced()
    }

    /// What the last hour says of a container of it that was started then, if that is known: of a life that
    /// has just begun nothing yet. Of no container in particular: of the fullest.
    pub fn trend(&self, container: Option<&str>, started_at: Option<Timestamp>) -> Trend {
        let fill = |trail: &&Trail| trail.newest().map_or(0.0, |(_, held)| held);
        let trail = match container {
            Some(name) => self.containers.get(name),
            None => self.containers.values().max_by(|a, b| fill(a).total_cmp(&fill(b))),
        };
        trail.filter(|trail| trail.is_of_life(started_at)).map(Trail::trend).unwrap_or_default()
    }

    /// Whether one of its containers was seen to leak within this time, and has no other image since.
    pub fn leaked_lately(&self, within: Duration, now: Timestamp) -> bool {
        self.leaked.as_ref().is_some_and(|leaked| now.since(leaked.at) < within)
    }

    /// When a container was seen to be started anew though its start time does not say so.
    pub fn reborn_at(&self, container: Option<&str>) -> Option<Timestamp> {
        self.containers.get(container?)?.reborn_at
    }

    /// When it was given the image that a container of it runs, if that was seen.
    pub fn image_since(&self, container: Option<&str>) -> Option<Timestamp> {
        match container {
            Some(name) => self.containers.get(name)?.image_since,
            None => self.containers.values().filter_map(|trail| trail.image_since).max(),
        }
    }

    fn move_in(&mut self, past: Vec<Past>) {
        for Past { name, trail, leaked } in past {
            self.containers.insert(name, trail);
            self.leaked = self.leaked.take().or(leaked);
            self.written = None;
        }
    }

    fn take(&mut self, seen: &Observation, warm_up: Duration, at: Timestamp) {
        let since = at.since(self.last_seen).clamp(POINT_EVERY, LOOK_COUNTS);
        self.last_seen = at;
        self.take_demand(seen, since.as_secs_f64() / POINT_EVERY.as_secs_f64(), at);
        // Where names change with every deploy, a new name is the change.
        let was_known = self.first_seen < at && !self.containers.is_empty();
        let runs = |container: &Seen| self.containers.values().any(|trail| trail.runs(container));
        let known: Vec<bool> = seen.containers.values().map(runs).collect();
        let gone = self.containers.iter().filter(|(name, _)| !seen.containers.contains_key(*name));
        let ran = gone.max_by_key(|(_, trail)| trail.last_seen);
        let ran = ran.and_then(|(_, trail)| trail.runs_as.clone());
        for ((name, container), known) in seen.containers.iter().zip(known) {
            let is_new_image = was_known && !known;
            let new = || {
                let mut trail = Trail::new(was_known, at);
                trail.replaced = ran.clone().map(|ran| (ran, at));
                trail.image_since = is_new_image.then_some(at);
                trail
            };
            let trail = self.containers.entry(name.clone()).or_insert_with(new);
            let new_image = trail.take(container, seen.requests, warm_up, at);
            let leaked_here = self.leaked.as_ref().is_some_and(|leaked| leaked.name == *name);
            if trail.leaks(container.limit_bytes) {
                if self.leaked.is_none() {
                    self.written = None;
                }
                self.leaked = Some(Leaked { at, name: name.clone() });
            } else if new_image && leaked_here {
                self.leaked = None;
            }
        }
        self.forget_containers(at);
    }

    fn forget_containers(&mut self, at: Timestamp) {
        self.containers.retain(|_, trail| at.since(trail.last_seen) < FORGET_CONTAINER_AFTER);
        while self.containers.len() > CONTAINERS_MAX {
            let oldest = self.containers.iter().min_by_key(|(_, trail)| trail.last_seen);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            self.containers.remove(&name);
        }
    }

    fn take_demand(&mut self, seen: &Observation, weight: f64, at: Timestamp) {
        if let Some(cores) = seen.cpu.values().map(Cpu::demand_cores).max_by(f64::total_cmp) {
            self.cpu.add(cores, weight, at);
        }
        let killed = (seen.oom_kills > 0.0).then_some(seen.limit_bytes).flatten();
        if let Some(bytes) = killed.map(|limit| limit * OOM_BUMP).or(seen.working_set_bytes) {
            self.memory.add(bytes, weight, at);
        }
    }
}

fn row(name: &str, service: Option<&Service>) -> Change {
    rows::row(PREFIX, name, service)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: i64 = 1_795_312_800_000;

    fn at(minutes: u64) -> Now {
        let monotonic = MINUTE * u32::try_from(minutes).expect("small");
        Now { monotonic, wall: Timestamp(START) + monotonic }
    }

    /// A service of one container, `one`.
    fn seen(bytes: f64) -> Observation {
        with(bytes, |_| {})
    }

    fn with(bytes: f64, change: impl FnOnce(&mut Seen)) -> Observation {
        let mut one = Seen {
            held_bytes: Some(bytes),
            limit_bytes: Some(1e9),
            started_at: Some(Timestamp(START)),
            ..Seen::default()
        };
        change(&mut one);
        Observation {
            working_set_bytes: Some(bytes),
            limit_bytes: Some(1e9),
            containers: BTreeMap::from([("one".to_owned(), one)]),
            ..Observation::default()
        }
    }

    fn trend(usage: &Usage) -> Trend {
        usage.get("s").expect("known").trend(Some("one"), None)
    }

    /// A service that used `bytes(minute)` for so many minutes.
    fn lived(minutes: u64, bytes: impl Fn(f64) -> f64) -> Usage {
        let mut usage = Usage::default();
        for minute in 0..=minutes {
            let _ = usage.observe("s", &seen(bytes(minute as f64)), 5 * MINUTE, at(minute));
        }
        usage
    }

    #[test]
    fn the_last_hour_tells_level_and_growth() {
        let usage = lived(120, |minute| 1e8 + 1e6 * minute);
        let found = trend(&usage);
        assert_eq!(found.warm_bytes, Some(1.05e8), "five minutes after its start");
        let slope = found.bytes_per_hour.expect("enough points");
        assert!((slope - 60e6).abs() < 1.0, "{slope}");
        assert_eq!(trend(&lived(8, |_| 1e8)).bytes_per_hour, None);
    }

    #[test]
    fn a_new_container_starts_anew() {
        let mut usage = lived(60, |minute| 1e8 + 1e7 * minute);
        let restarted = with(1e8, |one| one.started_at = Some(at(61).wall));
        for minute in 61..=80 {
            let _ = usage.observe("s", &restarted, 5 * MINUTE, at(minute));
        }
        let found = trend(&usage);
        assert_eq!((found.warm_bytes, found.bytes_per_hour), (Some(1e8), Some(0.0)));
        let unseen = with(2e8, |one| one.started_at = Some(at(70).wall));
        let _ = usage.observe("s", &unseen, 5 * MINUTE, at(200));
        assert_eq!(trend(&usage).warm_bytes, None, "nobody looked then");
    }

    #[test]
    fn a_step_of_the_wall_clock_makes_no_change_older() {
        let mut usage = lived(1, |_| 1e8);
        let deployed = |incarnation| with(1e8, |one| one.incarnation = Some(incarnation));
        let _ = usage.observe("s", &deployed(1), 5 * MINUTE, at(2));
        let _ = usage.observe("s", &deployed(2), 5 * MINUTE, at(3));
        let rows = usage.rebase(3_600_000);
        let changed_at = usage.get("s").expect("known").changed_at(None);
        assert_eq!(changed_at, Some(Timestamp(at(3).wall.0 + 3_600_000)));
        let (read, _) = Usage::recover(rows);
        assert_eq!(read.get("s").expect("known").changed_at(None), changed_at, "so does the row");
    }

    #[test]
    fn a_leak_is_still_seen_to_grow_after_the_clock_was_set_back() {
        let mut usage = lived(60, |minute| 1e8 + 1e7 * minute);
        let hour = Duration::from_secs(3600);
        let back = |now: Now| Now { wall: now.wall - hour, ..now };
        usage.rebase(-3_600_000);
        for minute in 61..=70 {
            let grown = seen(1e8 + 1e7 * minute as f64);
            let _ = usage.observe("s", &grown, 5 * MINUTE, back(at(minute)));
        }
        let found = trend(&usage);
        let slope = found.bytes_per_hour.expect("enough points");
        assert!((slope - 6e8).abs() < 1.0, "{slope}");
        assert_eq!(found.warm_bytes, Some(1.5e8), "where it stood is not forgotten either");
    }

    #[test]
    fn demand_of_before_a_step_of_the_clock_counts_as_before() {
        let year = Duration::from_secs(365 * 24 * 3600);
        let mut usage = lived(24 * 60, |_| 9e8);
        usage.rebase(-(year.as_millis() as i64));
        for minute in 24 * 60 + 1..26 * 60 {
            let now = at(minute);
            let back = Now { wall: now.wall - year, ..now };
            let _ = usage.observe("s", &seen(1e8), 5 * MINUTE, back);
        }
        let service = usage.get("s").expect("known");
        let above = service.memory_above(5e8).expect("seen");
        assert!((0.8..0.95).contains(&above), "two hours outweigh no day: {above}");
        assert!(service.confidence() > 0.99, "{}", service.confidence());
    }

    #[test]
    fn containers_of_a_service_are_told_apart() {
        let mut usage = Usage::default();
        for minute in 0..30 {
            let mut both = with(8e8, |one| one.incarnation = Some(1));
            let two = Seen {
                held_bytes: Some(3e8 + 1e7 * minute as f64),
                incarnation: Some(100 + minute / 10),
                ..both.containers["one"].clone()
            };
            both.containers.insert("two".to_owned(), two);
            let _ = usage.observe("s", &both, 5 * MINUTE, at(minute));
        }
        let service = usage.get("s").expect("known");
        let pace = |name| service.trend(name, None).bytes_per_hour.expect("enough points").round();
        assert_eq!((pace(Some("one")), pace(Some("two"))), (0.0, 6e8));
        assert_eq!(pace(None), 0.0, "the fullest");
        assert_eq!(service.changed_at(Some("one")), None, "a neighbour's deploy is not its own");
        assert_eq!(service.changed_at(Some("two")), Some(at(20).wall));
        assert_eq!(service.changed_at(None), Some(at(20).wall));
        let mut third = seen(1e8);
        let one = third.containers["one"].clone();
        third.containers.insert("three".to_owned(), one.clone());
        let _ = usage.observe("s", &third, 5 * MINUTE, at(31));
        let changed_at = usage.get("s").expect("known").changed_at(Some("three"));
        assert_eq!(changed_at, Some(at(31).wall), "a new name in a known service is a deploy");
        for minute in 32..132 {
            let mut other = seen(1e8);
            other.containers.insert(format!("job-{minute}"), one.clone());
            let _ = usage.observe("s", &other, 5 * MINUTE, at(minute));
        }
        assert_eq!(usage.get("s").expect("known").containers.len(), CONTAINERS_MAX, "bounded");
    }

    /// Whose a container is may be told while it leaks.
    #[test]
    fn the_past_of_a_container_moves_with_it_and_no_other_does() {
        let mut usage = Usage::default();
        let grows = |minute: u64, incarnation| {
            with(7e8 + 5e6 * minute as f64, |one| one.incarnation = Some(incarnation))
        };
        for minute in 0..30 {
            let _row = usage.observe("one", &grows(minute, 7), Duration::ZERO, at(minute));
        }
        let mut stranger = usage.clone();
        let _row = usage.observe("acme/app", &grows(30, 7), Duration::ZERO, at(30));
        let acme = usage.get("acme/app").expect("seen");
        assert!(acme.trend(Some("one"), None).bytes_per_hour.is_some_and(|pace| pace > 2e8));
        assert!(acme.leaked_lately(DAY, at(30).wall) && acme.changed_at(None).is_none());
        let before = usage.get("one").expect("its demand stays");
        assert!(before.trend(Some("one"), None).bytes_per_hour.is_none());
        assert!(!before.leaked_lately(DAY, at(30).wall));
        let _row = stranger.observe("acme/app", &grows(30, 8), Duration::ZERO, at(30));
        let acme = stranger.get("acme/app").expect("seen");
        assert_eq!(
            acme.trend(Some("one"), None).bytes_per_hour,
            None,
            "another container of that name"
        );
        let mut both = Usage::default();
        for minute in 0..30 {
            for service in ["one", "two"] {
                let _row = both.observe(service, &grows(minute, 7), Duration::ZERO, at(minute));
            }
        }
        for service in ["one", "two"] {
            let pace = both.get(service).expect("seen").trend(Some("one"), None).bytes_per_hour;
            assert!(pace.is_some(), "who is shown twice does not wander");
        }
    }

    #[test]
    fn a_leak_is_remembered_for_a_week_and_over_a_restart_of_ours() {
        let mut usage = Usage::default();
        let of = |bytes, image| with(bytes, |one: &mut Seen| one.image = Some(image));
        let row = (0..40).fold(None, |row, minute| {
            let leak = of(5e8 + 1e7 * minute as f64, 1);
            usage.observe("s", &leak, 5 * MINUTE, at(minute)).or(row)
        });
        let (mut usage, _) = Usage::recover(row);
        let leaked = |usage: &Usage, minute| {
            usage.get("s").expect("known").leaked_lately(7 * DAY, at(minute).wall)
        };
        assert!(leaked(&usage, 40));
        assert_eq!(trend(&usage).warm_bytes, Some(5.5e8), "so is where it stood");
        assert!(!leaked(&usage, 40 + 7 * 24 * 60));
        let _ = usage.observe("s", &of(3e8, 1), 5 * MINUTE, at(50));
        assert!(leaked(&usage, 50));
        let _ = usage.observe("s", &of(3e8, 2), 5 * MINUTE, at(52));
        assert!(!leaked(&usage, 52), "another image may have cured it");
    }

    #[test]
    fn another_half_life_counts_for_what_was_seen_and_for_what_will_be() {
        let mut usage = Usage::default();
        usage.set_half_life(DAY);
        let _ = usage.observe("s", &seen(1e8), MINUTE, at(0));
        let _ = usage.observe("s", &seen(1e9), MINUTE, at(24 * 60));
        // A look after a day stands for five minutes, the first for one, which has halved.
        let above = |usage: &Usage| usage.get("s").and_then(|s| s.memory_above(5e8)).expect("seen");
        assert!((above(&usage) - 10.0 / 11.0).abs() < 1e-9, "{}", above(&usage));
        usage.set_half_life(7 * DAY);
        let _ = usage.observe("s", &seen(1e8), MINUTE, at(8 * 24 * 60));
        assert!((above(&usage) - 2.5 / 7.75).abs() < 1e-9, "{}", above(&usage));
    }

    #[test]
    fn a_row_of_before_still_reads() {
        let mut usage = Usage::default();
        let row = usage.observe("s", &seen(1e8), MINUTE, at(0)).expect("due");
        let value = row.value.as_ref().expect("written");
        let mut old: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let fields = old.as_object_mut().expect("an object");
        fields.retain(|name, _| name != "containers" && name != "leaked");
        fields.insert("incarnation".to_owned(), 7.into());
        fields.insert("changed_at".to_owned(), serde_json::Value::Null);
        let old = Change { value: serde_json::to_vec(&old).ok(), ..row };
        let (read, problems) = Usage::recover([old]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(read.get("s").expect("known").memory_above(5e7), Some(1.0));
    }

    #[test]
    fn services_are_bounded_and_the_longest_unseen_make_room() {
        let mut usage = Usage::default();
        for n in 0..SERVICES_MAX + 2 {
            let _ = usage.observe(&format!("job-{n}"), &seen(1e8), MINUTE, at(n as u64));
        }
        let gone = usage.prune(at(SERVICES_MAX as u64 + 2));
        let keys: Vec<&str> = gone.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["usage/job-0", "usage/job-1"]);
        assert_eq!(usage.services.len(), SERVICES_MAX);
    }

    #[test]
    fn it_is_known_since_when_a_service_runs_its_image() {
        let mut usage = Usage::default();
        let run = |name: &str, image| {
            let one = seen(1e8).containers["one"].clone();
            let one = Seen { image: Some(image), incarnation: Some(image), ..one };
            let containers = BTreeMap::from([(name.to_owned(), one)]);
            Observation { containers, ..seen(1e8) }
        };
        let mut since = |minute, name: &str, image| {
            let _ = usage.observe("s", &run(name, image), MINUTE, at(minute));
            usage.get("s").expect("known").image_since(Some(name))
        };
        assert_eq!(since(0, "one", 1), None, "the first sight is no change");
        assert_eq!(since(1, "two", 1), None, "another container of the same image");
        assert_eq!(since(2, "one", 2), Some(at(2).wall));
        assert_eq!(since(3, "three", 3), Some(at(3).wall), "a new name with a new image");
        assert_eq!(since(4, "one", 2), Some(at(2).wall));
    }

    #[test]
    fn a_name_that_is_given_to_another_image_is_another_image() {
        let mut usage = Usage::default();
        let mut since = |minute, id| {
            let run = with(1e8, |one| (one.image, one.image_id) = (Some(1), id));
            let _ = usage.observe("s", &run, MINUTE, at(minute));
            usage.get("s").expect("known").image_since(Some("one"))
        };
        assert_eq!(since(0, None), None);
        assert_eq!(since(1, Some(7)), None, "Docker answers late");
        assert_eq!(since(2, None), None, "and is lost");
        assert_eq!(since(3, Some(8)), Some(at(3).wall));
        assert_eq!(since(4, Some(8)), Some(at(3).wall));
    }

    #[test]
    fn of_a_life_that_has_just_begun_nothing_is_told_by_the_one_before() {
        let usage = lived(30, |minute| 1e8 + 1e7 * minute);
        let service = usage.get("s").expect("known");
        let tells = |minute| service.trend(Some("one"), Some(at(minute).wall)).bytes_per_hour;
        assert!(tells(0).is_some() && tells(31).is_none());
    }

    fn cpu(used_cores: f64, throttled_cores: f64, throttled_ratio: f64) -> Cpu {
        Cpu { used_cores, throttled_cores, throttled_ratio }
    }

    #[test]
    fn demand_is_more_than_use() {
        let mut usage = Usage::default();
        let throttled = Observation {
            cpu: BTreeMap::from([("one".to_owned(), cpu(0.5, 0.5, 1.0))]),
            oom_kills: 1.0,
            ..seen(1e9)
        };
        let _ = usage.observe("s", &throttled, MINUTE, at(0));
        let service = usage.get("s").expect("known");
        assert_eq!(service.cpu_above(0.9), Some(1.0));
        assert_eq!(service.memory_above(1.1e9), Some(1.0));
        assert!(service.confidence() < 0.001);
    }

    #[test]
    fn sixty_threads_that_wait_for_the_next_period_need_no_sixty_cores() {
        for (of, want) in [
            (cpu(0.5, 0.0, 0.0), 0.5),
            (cpu(0.5, 0.5, 1.0), 1.0),
            (cpu(0.5, 59.0, 1.0), 1.5),
            (cpu(0.2, 15.0, 0.4), 0.6),
        ] {
            assert!((of.demand_cores() - want).abs() < 1e-9, "{of:?}: {}", of.demand_cores());
        }
    }

    #[test]
    fn of_several_containers_the_one_that_needs_most_counts() {
        let mut usage = Usage::default();
        let replicas = ["one", "two", "three"].map(|name| (name.to_owned(), cpu(0.3, 0.0, 0.0)));
        let all = Observation { cpu: BTreeMap::from(replicas), ..seen(1e9) };
        let _ = usage.observe("s", &all, MINUTE, at(0));
        assert_eq!(usage.get("s").and_then(|service| service.cpu_above(0.4)), Some(0.0));
    }

    #[test]
    fn what_was_seen_is_trusted_after_a_day_and_less_once_the_service_was_away() {
        let confidence = |usage: &Usage| usage.get("s").expect("known").confidence();
        let mut day = lived(24 * 60, |_| 1e8);
        assert!(confidence(&day) > 0.99, "{}", confidence(&day));
        let hours = confidence(&lived(150, |_| 1e8));
        assert!((hours - 150.0 / 1440.0).abs() < 0.002, "{hours}");
        let _ = day.observe("s", &seen(1e8), MINUTE, at(24 * 60 * 29));
        assert!((0.05..0.1).contains(&confidence(&day)), "four weeks: {}", confidence(&day));
        // A host that is looked at every five minutes is trusted as soon.
        let mut seldom = Usage::default();
        for minute in (0..=24 * 60).step_by(5) {
            let _ = seldom.observe("s", &seen(1e8), MINUTE, at(minute));
        }
        assert!(confidence(&seldom) > 0.99, "{}", confidence(&seldom));
    }

    #[test]
    fn the_office_hours_of_one_day_are_known_until_they_come_again() {
        let usage = lived(7 * 24 * 60, |minute| if minute < 480.0 { 9e8 } else { 1e8 });
        let above = usage.get("s").and_then(|service| service.memory_above(5e8)).expect("seen");
        assert!((0.02..0.05).contains(&above), "{above}");
    }

    #[test]
    fn rows_are_written_seldom_and_read_back() {
        let mut usage = Usage::default();
        let rows: Vec<Change> = (0..60)
            .filter_map(|minute| usage.observe("s", &seen(1e8), 5 * MINUTE, at(minute)))
            .collect();
        assert_eq!(rows.len(), 6);
        let bad =
            Change { key: "usage/x".to_owned(), value: Some(b"?".to_vec()), ..rows[0].clone() };
        let (read, problems) = Usage::recover(rows.into_iter().chain([bad]));
        assert_eq!(problems.len(), 1);
        assert_eq!(read.get("s").expect("known").memory_above(5e7), Some(1.0));
        let [gone] = &usage.prune(at(31 * 24 * 60))[..] else { panic!("one row") };
        assert_eq!((gone.key.as_str(), &gone.value), ("usage/s", &None));
    }
}
