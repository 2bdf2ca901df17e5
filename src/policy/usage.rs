//! What each service has used: the last hour in points, the last weeks in histograms.
//!
//! The window in memory is minutes long; a nudge needs weeks, and telling a leak from a plan that is
//! too small needs to know where the program stood after its start. What is seen is *censored*: a
//! service never uses more than its limit. So demand, not use, is what the histograms hold: CPU with
//! the time it was throttled, memory raised by a fifth at every out-of-memory kill (VPA's rule).
//! Bounded: one row a service in the journal, written now and then; losing the last is harmless.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{DAY, HOUR};
use super::histogram::Histogram;
use crate::base::{Change, Now, Table, Timestamp};

/// Rows of this module in the table.
const PREFIX: &str = "usage/";
/// Weights halve in a day (VPA's default for both resources).
const HALF_LIFE: Duration = DAY;
/// Resolution starts here: VPA's first buckets, 10 MB and 0.01 cores.
const FIRST_BYTES: f64 = 1e7;
const FIRST_CORES: f64 = 0.01;
/// Memory after an out-of-memory kill is taken to need this much more (VPA's `oom-bump-up-ratio`).
const OOM_BUMP: f64 = 1.2;
/// Points of the last hour: one a minute.
const TRAIL: Duration = HOUR;
const POINT_EVERY: Duration = Duration::from_secs(60);
/// A slope of fewer points says nothing.
const POINTS_MIN: usize = 10;
/// How long a row may be behind what is known.
const WRITE_EVERY: Duration = Duration::from_secs(600);
/// A service that was not seen for so long is forgotten: as long as its weights matter.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is seen of a service at one moment. What is not known is `None`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Observation {
    /// Working set of its container; of several, the largest.
    pub working_set_bytes: Option<f64>,
    /// Hard memory limit.
    pub limit_bytes: Option<f64>,
    /// CPU used, cores.
    pub cpu_cores: Option<f64>,
    /// Time its threads were held back by the quota, seconds per second.
    pub throttled_cores: Option<f64>,
    /// Out-of-memory kills since the last observation.
    pub oom_kills: f64,
    /// When the container started.
    pub started_at: Option<Timestamp>,
    /// Requests per second.
    pub requests: Option<f64>,
    /// Stands for what it runs in: container, image, limit.
    pub incarnation: Option<u64>,
}

/// The memory of all services.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Usage {
    services: BTreeMap<String, Service>,
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
    samples: u64,
    /// What it ran in last, and since when it is another than before.
    incarnation: Option<u64>,
    changed_at: Option<Timestamp>,
    #[serde(skip)]
    trail: VecDeque<Point>,
    #[serde(skip)]
    warm: Option<Warm>,
    #[serde(skip)]
    written: Option<Duration>,
}

/// The container's start, and where it stood when it had warmed up.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Warm {
    /// As it is told: by the wall clock of then.
    started: Timestamp,
    /// The same moment by the wall clock of now.
    since: Timestamp,
    working_set: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Point {
    at: Timestamp,
    working_set: f64,
    requests: Option<f64>,
}

/// What the last hour says.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Trend {
    /// Working set when the program had warmed up, bytes.
    pub warm_bytes: Option<f64>,
    /// Growth since then, bytes per hour, by least squares.
    pub bytes_per_hour: Option<f64>,
    /// Requests in the newer half per requests in the older one.
    pub traffic_factor: Option<f64>,
}

impl Usage {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Usage, Vec<String>) {
        let mut usage = Usage::default();
        let mut problems = Vec::new();
        for Change { table, key, value } in rows {
            let (Table::Guards, Some(value)) = (table, value) else { continue };
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            match serde_json::from_slice(&value) {
                Ok(service) => drop(usage.services.insert(name.to_owned(), service)),
                Err(error) => problems.push(format!("row {key} of table guards: {error}")),
            }
        }
        (usage, problems)
    }

    /// What is remembered about a service.
    pub fn get(&self, service: &str) -> Option<&Service> {
        self.services.get(service)
    }

    /// Takes in what is seen now, if the last point is a minute old. `warm_up` is how long a program
    /// needs until its level means something. Returns the row when it is time to write it.
    pub fn observe(
        &mut self,
        name: &str,
        seen: &Observation,
        warm_up: Duration,
        now: Now,
    ) -> Option<Change> {
        let wall = now.wall;
        let service = self.services.entry(name.to_owned()).or_insert_with(|| Service::new(wall));
        let newest = service.trail.back();
        if newest.is_some_and(|point| wall.since(point.at) < POINT_EVERY) && seen.oom_kills == 0.0 {
            return None;
        }
        service.take(seen, warm_up, wall);
        let due = service.written.is_none_or(|at| now.monotonic.saturating_sub(at) >= WRITE_EVERY);
        due.then(|| {
            service.written = Some(now.monotonic);
            row(name, Some(service))
        })
    }

    /// Forgets services that are gone; call it now and then.
    pub fn prune(&mut self, now: Now) -> Vec<Change> {
        let gone = |service: &Service| now.wall.since(service.last_seen) >= FORGET_AFTER;
        let names: Vec<String> = self
            .services
            .iter()
            .filter(|(_, service)| gone(service))
            .map(|(name, _)| name.clone())
            .collect();
        self.services.retain(|_, service| !gone(service));
        names.iter().map(|name| row(name, None)).collect()
    }

    /// Moves the points of the last hour and the time of the last change when the wall clock steps.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| at.0 = at.0.saturating_add(by_ms);
        for service in self.services.values_mut() {
            service.trail.iter_mut().for_each(|point| shift(&mut point.at));
            service.warm.iter_mut().for_each(|warm| shift(&mut warm.since));
            service.changed_at.iter_mut().for_each(shift);
            // The row is old now.
            service.written = None;
        }
    }
}

impl Service {
    fn new(at: Timestamp) -> Service {
        Service {
            memory: Histogram::new(FIRST_BYTES, HALF_LIFE),
            cpu: Histogram::new(FIRST_CORES, HALF_LIFE),
            first_seen: at,
            last_seen: at,
            samples: 0,
            incarnation: None,
            changed_at: None,
            trail: VecDeque::new(),
            warm: None,
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

    /// 0 to 1: one after a day of samples each minute, as VPA counts it, and never more than the
    /// part of a day that was seen.
    pub fn confidence(&self) -> f64 {
        let days = self.last_seen.since(self.first_seen).as_secs_f64() / DAY.as_secs_f64();
        let a_day = DAY.as_secs_f64() / POINT_EVERY.as_secs_f64();
        days.min(self.samples as f64 / a_day).min(1.0)
    }

    /// When it was last deployed or given other limits, if that was seen.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.changed_at
    }

    /// What the last hour says.
    pub fn trend(&self) -> Trend {
        let since = self.warm.map_or(Timestamp(i64::MIN), |warm| warm.since);
        let points: Vec<&Point> = self.trail.iter().filter(|point| point.at >= since).collect();
        Trend {
            warm_bytes: self.warm.and_then(|warm| warm.working_set),
            bytes_per_hour: slope_per_hour(&points),
            traffic_factor: traffic(&points),
        }
    }

    fn take(&mut self, seen: &Observation, warm_up: Duration, at: Timestamp) {
        self.last_seen = at;
        self.samples += 1;
        if seen.incarnation.is_some() && self.incarnation != seen.incarnation {
            self.changed_at = self.incarnation.is_some().then_some(at).or(self.changed_at);
            self.incarnation = seen.incarnation;
        }
        self.take_demand(seen, at);
        let Some(working_set) = seen.working_set_bytes else { return };
        if self.warm.map(|warm| warm.started) != seen.started_at {
            let begin = |started| Warm { started, since: started, working_set: None };
            self.warm = seen.started_at.map(begin);
        }
        if let Some(warm @ Warm { working_set: None, .. }) = &mut self.warm {
            let age = at.since(warm.since);
            // Only what was seen around the end of the warm-up tells where the program started from.
            let is_warm = warm_up <= age && age < 2 * warm_up + POINT_EVERY;
            warm.working_set = is_warm.then_some(working_set);
        }
        self.trail.push_back(Point { at, working_set, requests: seen.requests });
        while self.trail.front().is_some_and(|point| at.since(point.at) > TRAIL) {
            self.trail.pop_front();
        }
    }

    fn take_demand(&mut self, seen: &Observation, at: Timestamp) {
        if let Some(cores) = seen.cpu_cores {
            self.cpu.add(cores + seen.throttled_cores.unwrap_or(0.0), 1.0, at);
        }
        let killed = (seen.oom_kills > 0.0).then_some(seen.limit_bytes).flatten();
        if let Some(bytes) = killed.map(|limit| limit * OOM_BUMP).or(seen.working_set_bytes) {
            self.memory.add(bytes, 1.0, at);
        }
    }
}

/// Least squares over the points, if there are enough of them.
fn slope_per_hour(points: &[&Point]) -> Option<f64> {
    let (first, count) = (points.first()?, points.len() as f64);
    if points.len() < POINTS_MIN {
        return None;
    }
    let hours = |point: &Point| point.at.since(first.at).as_secs_f64() / HOUR.as_secs_f64();
    let mean_x = points.iter().map(|point| hours(point)).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.working_set).sum::<f64>() / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for point in points {
        let x = hours(point) - mean_x;
        covariance += x * (point.working_set - mean_y);
        variance += x * x;
    }
    (variance > 0.0).then(|| covariance / variance)
}

/// Requests of the newer half of the points per those of the older half.
fn traffic(points: &[&Point]) -> Option<f64> {
    // A rate is not there in the first minute; one point without it must not hide the others.
    let requests: Vec<f64> = points.iter().filter_map(|point| point.requests).collect();
    if requests.len() < POINTS_MIN {
        return None;
    }
    let (old, new) = requests.split_at(requests.len() / 2);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    (mean(old) > 0.0).then(|| mean(new) / mean(old))
}

fn row(name: &str, service: Option<&Service>) -> Change {
    let write = |service| serde_json::to_vec(service).expect("plain numbers always write");
    Change { table: Table::Guards, key: format!("{PREFIX}{name}"), value: service.map(write) }
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

    fn seen(bytes: f64) -> Observation {
        Observation {
            working_set_bytes: Some(bytes),
            limit_bytes: Some(1e9),
            started_at: Some(Timestamp(START)),
            ..Observation::default()
        }
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
        let trend = usage.get("s").expect("known").trend();
        assert_eq!(trend.warm_bytes, Some(1.05e8), "five minutes after its start");
        let slope = trend.bytes_per_hour.expect("enough points");
        assert!((slope - 60e6).abs() < 1.0, "{slope}");
        assert_eq!(usage.get("s").expect("known").trail.len(), 61, "bounded");
        let young = lived(8, |_| 1e8);
        assert_eq!(young.get("s").expect("known").trend().bytes_per_hour, None);
    }

    #[test]
    fn a_new_container_starts_anew() {
        let mut usage = lived(60, |minute| 1e8 + 1e7 * minute);
        let restarted = Observation { started_at: Some(at(61).wall), ..seen(1e8) };
        for minute in 61..=80 {
            let _ = usage.observe("s", &restarted, 5 * MINUTE, at(minute));
        }
        let trend = usage.get("s").expect("known").trend();
        assert_eq!((trend.warm_bytes, trend.bytes_per_hour), (Some(1e8), Some(0.0)));
        let unseen = Observation { started_at: Some(at(70).wall), ..seen(2e8) };
        let _ = usage.observe("s", &unseen, 5 * MINUTE, at(200));
        assert_eq!(usage.get("s").expect("known").trend().warm_bytes, None, "nobody looked then");
    }

    #[test]
    fn a_step_of_the_wall_clock_makes_no_change_older() {
        let mut usage = lived(1, |_| 1e8);
        let deployed = |incarnation| Observation { incarnation: Some(incarnation), ..seen(1e8) };
        let _ = usage.observe("s", &deployed(1), 5 * MINUTE, at(2));
        let _ = usage.observe("s", &deployed(2), 5 * MINUTE, at(3));
        usage.rebase(3_600_000);
        let changed_at = usage.get("s").expect("known").changed_at();
        assert_eq!(changed_at, Some(Timestamp(at(3).wall.0 + 3_600_000)));
        let row = usage.observe("s", &deployed(2), 5 * MINUTE, at(64));
        assert!(row.is_some(), "the row is written anew");
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
        let trend = usage.get("s").expect("known").trend();
        let slope = trend.bytes_per_hour.expect("enough points");
        assert!((slope - 6e8).abs() < 1.0, "{slope}");
        assert_eq!(trend.warm_bytes, Some(1.5e8), "where it stood is not forgotten either");
    }

    #[test]
    fn traffic_is_a_factor_between_the_halves() {
        let mut usage = Usage::default();
        for minute in 0..20 {
            let requests = Some(if minute < 10 { 10.0 } else { 30.0 });
            let _ = usage.observe("s", &Observation { requests, ..seen(1e8) }, MINUTE, at(minute));
        }
        assert_eq!(usage.get("s").expect("known").trend().traffic_factor, Some(3.0));
        assert_eq!(lived(30, |_| 1e8).get("s").expect("known").trend().traffic_factor, None);
    }

    #[test]
    fn demand_is_more_than_use() {
        let mut usage = Usage::default();
        let throttled = Observation {
            cpu_cores: Some(0.5),
            throttled_cores: Some(0.5),
            oom_kills: 1.0,
            ..seen(1e9)
        };
        let _ = usage.observe("s", &throttled, MINUTE, at(0));
        let service = usage.get("s").expect("known");
        assert_eq!(service.cpu_above(0.9), Some(1.0));
        assert_eq!(service.memory_above(1.1e9), Some(1.0));
        assert!(service.confidence() < 0.001);
        let day = lived(24 * 60, |_| 1e8);
        assert!(day.get("s").expect("known").confidence() > 0.99);
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
