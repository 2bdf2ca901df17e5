//! How one container's memory has gone since it started, and the load with it.
//!
//! A slope is asked for over one life only: a start or an out-of-memory kill begins it anew, because
//! a saw of kills has a slope of any sign. Traffic is measured against what it was when memory last
//! stood still: after a surge that stays there is no newer half without it. Containers are told apart
//! by name, so that a neighbour of the same service neither hides a leak nor counts as its deploy.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::HOUR;
use super::diagnose::{FLAT_PER_HOUR, SLOW_PER_HOUR, TRAFFIC_FACTOR};
use crate::base::Timestamp;

/// Points of the last hour: one a minute.
const KEPT: Duration = HOUR;
pub(super) const POINT_EVERY: Duration = Duration::from_secs(60);
/// A slope of fewer points says nothing.
const POINTS_MIN: usize = 10;
/// What went on lately, in points: twenty minutes. Ours.
const LATELY: usize = 20;
/// Growth that came within this time for the most part is a step, and no pace: less than this share of it
/// came besides. Ours.
const STEP: Duration = Duration::from_secs(300);
const BESIDES: f64 = 1.0 / 3.0;
/// Its tail: points that rise by this part of its pace at least, and no more of them than a third of a step
/// takes, or a leak that follows would pass for it.
const TAIL: f64 = 0.01;
const TAIL_POINTS: usize = 3;
/// Growth below this share of the limit is no leak that must be remembered. Ours.
const LEAK_RATIO: f64 = 0.6;

/// In the minutes after a deploy both containers are still shown: what it replaced is told of it for so long. Ours.
const OVERLAP: Duration = Duration::from_secs(600);
/// Of the name of an image so many bytes are kept.
const IMAGE_MAX: usize = 256;

/// What a container is deployed with.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunsAs {
    /// Its image, by name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Hard memory limit; 0 is none.
    pub limit_bytes: f64,
    /// CPU limit, cores; 0 is none. `None` is not known, as in rows that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
}

impl RunsAs {
    /// This image, as far as there is room for its name, and these limits.
    pub fn new(image: &str, limit_bytes: f64, cpu_limit_cores: Option<f64>) -> RunsAs {
        let end = image.floor_char_boundary(IMAGE_MAX);
        RunsAs { image: image[..end].to_owned(), limit_bytes, cpu_limit_cores }
    }

    /// Whether it is the same, as far as both are known.
    fn is_as(&self, other: &RunsAs) -> bool {
        let cores = self.cpu_limit_cores.zip(other.cpu_limit_cores);
        (&self.image, self.limit_bytes) == (&other.image, other.limit_bytes)
            && cores.is_none_or(|(one, other)| one == other)
    }
}

/// What a deploy changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replaced {
    /// What ran before …
    pub from: RunsAs,
    /// … and what runs since.
    pub to: RunsAs,
}

impl fmt::Display for Replaced {
    /// For people, what differs: `image app:1 → app:2, memory limit 512 MiB → 1024 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |amount: f64, unit: &str| match amount > 0.0 {
            true => format!("{}{unit}", (amount * 100.0).round() / 100.0),
            false => "none".to_owned(),
        };
        let memory = |runs_as: &RunsAs| amount(runs_as.limit_bytes / 1_048_576.0, " MiB");
        let cores = |runs_as: &RunsAs| runs_as.cpu_limit_cores.map(|cores| amount(cores, " cores"));
        let (from, to) = (&self.from, &self.to);
        let all = [
            ("image", Some(from.image.clone()).zip(Some(to.image.clone()))),
            ("memory limit", Some(memory(from)).zip(Some(memory(to)))),
            ("CPU limit", cores(from).zip(cores(to))),
        ];
        let told = all.into_iter().filter_map(|(what, both)| {
            let (from, to) = both.filter(|(from, to)| from != to)?;
            let known = |text: String| if text.is_empty() { "?".to_owned() } else { text };
            Some(format!("{what} {} → {}", known(from), known(to)))
        });
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

/// What is seen of one container at one moment. What is not known is `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// What no reclaim can free where that is known, else its working set.
    pub held_bytes: Option<f64>,
    /// Hard memory limit.
    pub limit_bytes: Option<f64>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// What it has used of the CPU since it was started, seconds.
    pub cpu_seconds: Option<f64>,
    /// The kernel killed in it since the last look.
    pub killed: bool,
    /// Stands for what it runs as: id, image, limit.
    pub incarnation: Option<u64>,
    /// Stands for its image, by name …
    pub image: Option<u64>,
    /// … and for which one that was, if Docker says.
    pub image_id: Option<u64>,
    /// What it is deployed with.
    pub runs_as: Option<RunsAs>,
}

/// One container's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Trail {
    pub last_seen: Timestamp,
    /// What it ran as last, and since when that is something else than before.
    incarnation: Option<u64>,
    pub changed_at: Option<Timestamp>,
    #[serde(default)]
    pub image: Option<u64>,
    #[serde(default)]
    pub image_id: Option<u64>,
    /// Since when it is that, if another was seen before.
    #[serde(default)]
    pub image_since: Option<Timestamp>,
    /// What it is deployed with, and what that replaced when.
    #[serde(default)]
    pub runs_as: Option<RunsAs>,
    #[serde(default)]
    pub replaced: Option<(RunsAs, Timestamp)>,
    #[serde(default)]
    warm: Option<Warm>,
    /// Requests per second while memory last stood still.
    #[serde(default)]
    calm_requests: Option<f64>,
    #[serde(default)]
    cpu_seconds: Option<f64>,
    /// When it was seen to be started anew though its start time says nothing of it: cAdvisor before
    /// v0.57 tells for ever when it was made.
    #[serde(default)]
    pub reborn_at: Option<Timestamp>,
    #[serde(skip)]
    points: VecDeque<Point>,
}

/// The container's start, and where it stood when it had warmed up.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Warm {
    /// As it is told: by the wall clock of then.
    started: Timestamp,
    /// The same moment by the wall clock of now.
    since: Timestamp,
    held: Option<f64>,
    /// The least it has held since then, as far as it was seen: a container that ran before us has no
    /// other level to start from.
    #[serde(default)]
    lowest: Option<f64>,
}

impl Warm {
    fn new(started: Timestamp, since: Timestamp) -> Warm {
        Warm { started, since, held: None, lowest: None }
    }

    fn take(&mut self, held: f64, warm_up: Duration, at: Timestamp) {
        let age = at.since(self.since);
        if age < warm_up {
            return;
        }
        self.lowest = Some(self.lowest.map_or(held, |lowest| lowest.min(held)));
        // Only what was seen around the end of the warm-up tells where the program started from.
        if age < 2 * warm_up + POINT_EVERY {
            self.held.get_or_insert(held);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Point {
    at: Timestamp,
    held: f64,
    requests: Option<f64>,
}

/// What the last hour says of a container.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Trend {
    /// Memory when the program had warmed up, bytes.
    pub warm_bytes: Option<f64>,
    /// The least it has held since then, as far as it was seen, bytes.
    pub lowest_bytes: Option<f64>,
    /// Growth since the start, the last kill or the last step, at most an hour, bytes per hour, by least squares.
    pub bytes_per_hour: Option<f64>,
    /// The same over the last twenty points.
    pub recent_bytes_per_hour: Option<f64>,
    /// The last step was less than twenty points ago: that memory stands still means little yet.
    pub is_settling: bool,
    /// Requests in the last ten points per requests while memory last stood still.
    pub traffic_factor: Option<f64>,
}

impl Trail {
    /// A container that was not seen before; `is_new` if its service was.
    pub fn new(is_new: bool, at: Timestamp) -> Trail {
        Trail {
            last_seen: at,
            incarnation: None,
            changed_at: is_new.then_some(at),
            image: None,
            image_id: None,
            image_since: None,
            runs_as: None,
            replaced: None,
            warm: None,
            calm_requests: None,
            cpu_seconds: None,
            reborn_at: None,
            points: VecDeque::new(),
        }
    }

    /// Whether it tells of the life that began then, as far as is known.
    pub fn is_of_life(&self, started_at: Option<Timestamp>) -> bool {
        let starts = started_at.zip(self.warm).map(|(at, warm)| (at, warm.started));
        starts.is_none_or(|(now, then)| !now.is_later_start(then))
    }

    /// Whether it is of this incarnation.
    pub fn is_of(&self, incarnation: u64) -> bool {
        self.incarnation == Some(incarnation)
    }

    /// Takes in what is seen now; `requests` are its service's, per second. True if its image is
    /// another than before.
    pub fn take(
        &mut self,
        seen: &Seen,
        requests: Option<f64>,
        warm_up: Duration,
        at: Timestamp,
    ) -> bool {
        self.last_seen = at;
        if seen.incarnation.is_some() && self.incarnation != seen.incarnation {
            self.changed_at = self.incarnation.is_some().then_some(at).or(self.changed_at);
            self.incarnation = seen.incarnation;
        }
        self.deploy(seen.runs_as.as_ref(), at);
        let new_image = !self.runs(seen);
        self.image_id = seen.image_id.or(self.image_id.filter(|_| !new_image));
        self.image = seen.image.or(self.image);
        if new_image {
            self.image_since = Some(at);
        }
        let Some(held) = seen.held_bytes else { return new_image };
        self.begin(seen, at);
        if let Some(warm) = &mut self.warm {
            warm.take(held, warm_up, at);
        }
        self.points.push_back(Point { at, held, requests });
        while self.points.front().is_some_and(|point| at.since(point.at) > KEPT) {
            self.points.pop_front();
        }
        self.note_calm(seen.limit_bytes);
        new_image
    }

    /// It is deployed with that: if with something else than before, what that was is kept.
    fn deploy(&mut self, runs_as: Option<&RunsAs>, at: Timestamp) {
        let (Some(new), Some(old)) = (runs_as, &mut self.runs_as) else {
            self.runs_as = runs_as.or(self.runs_as.as_ref()).cloned();
            return;
        };
        if new.is_as(old) {
            old.cpu_limit_cores = new.cpu_limit_cores.or(old.cpu_limit_cores);
            return;
        }
        self.replaced = Some((std::mem::replace(old, new.clone()), at));
        // Another CPU limit is a change of its own: it makes no other incarnation.
        self.changed_at = Some(at);
    }

    /// What its last deploy changed, if that was seen.
    pub fn replaced(&self) -> Option<Replaced> {
        let (from, at) = self.replaced.as_ref()?;
        let to = self.runs_as.as_ref().filter(|to| !to.is_as(from))?;
        let is_of_it = self.changed_at?.since(*at) < OVERLAP;
        is_of_it.then(|| Replaced { from: from.clone(), to: to.clone() })
    }

    /// Whether it runs that image, as far as is known: a name may be given to another one.
    pub fn runs(&self, seen: &Seen) -> bool {
        let same = |a: Option<u64>, b: Option<u64>| a.zip(b).is_none_or(|(a, b)| a == b);
        same(self.image, seen.image) && same(self.image_id, seen.image_id)
    }

    /// A new life has no past.
    fn begin(&mut self, seen: &Seen, at: Timestamp) {
        // What only grows while it runs has fallen.
        let cpu = self.cpu_seconds;
        self.cpu_seconds = seen.cpu_seconds.or(cpu);
        let is_anew = cpu.zip(seen.cpu_seconds).is_some_and(|(before, now)| now < before);
        let known = self.warm.map(|warm| warm.started);
        let is_same = match (known, seen.started_at) {
            (Some(known), Some(told)) => told.is_same_start(known),
            (known, told) => known == told,
        };
        if is_anew && is_same {
            self.reborn_at = Some(at);
            self.points.clear();
            self.calm_requests = None;
            self.warm = self.warm.map(|warm| Warm::new(warm.started, at));
            return;
        }
        if !is_same {
            self.warm = seen.started_at.map(|at| Warm::new(at, at));
            let since = seen.started_at.unwrap_or(Timestamp(i64::MIN));
            self.points.retain(|point| point.at >= since);
            if self.points.is_empty() {
                self.calm_requests = None;
            }
        }
        if seen.killed {
            self.points.clear();
        }
    }

    /// While memory stands still, the load of that time is what later load is measured by.
    fn note_calm(&mut self, limit: Option<f64>) {
        let requests: Vec<f64> = self.points.iter().filter_map(|point| point.requests).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let pace = limit.zip(self.trend().recent_bytes_per_hour);
        let is_still = pace.is_some_and(|(limit, pace)| pace / limit < SLOW_PER_HOUR);
        if is_still && requests.len() >= POINTS_MIN {
            self.calm_requests = Some(mean(&requests));
        } else if self.calm_requests.is_none() && requests.len() >= POINTS_MIN / 2 {
            self.calm_requests = Some(mean(&requests[..POINTS_MIN / 2]));
        }
    }

    /// What the last hour says.
    pub fn trend(&self) -> Trend {
        let points: Vec<&Point> = self.points.iter().collect();
        let step = end_of_step(&points);
        let points = &points[step..];
        let lately = &points[points.len().saturating_sub(LATELY)..];
        Trend {
            warm_bytes: self.warm.and_then(|warm| warm.held),
            lowest_bytes: self.warm.and_then(|warm| warm.lowest),
            bytes_per_hour: slope_per_hour(points),
            recent_bytes_per_hour: slope_per_hour(lately),
            is_settling: step > 0 && points.len() < LATELY,
            traffic_factor: self.traffic(),
        }
    }

    /// A rate is not there in the first minute; one point without it must not hide the others.
    fn traffic(&self) -> Option<f64> {
        let requests = self.points.iter().rev().filter_map(|point| point.requests);
        let last: Vec<f64> = requests.take(POINTS_MIN).collect();
        let calm = self.calm_requests.filter(|calm| *calm > 0.0)?;
        (last.len() == POINTS_MIN).then(|| last.iter().sum::<f64>() / POINTS_MIN as f64 / calm)
    }

    /// Whether its memory climbs towards the limit without more load: steadily, so that a saw or a
    /// step is none.
    pub fn leaks(&self, limit: Option<f64>) -> bool {
        let (Some(limit), Some(last)) = (limit, self.points.back()) else { return false };
        let trend = self.trend();
        let grows = |pace: Option<f64>| pace.is_some_and(|pace| pace / limit >= FLAT_PER_HOUR);
        let third = self.points.len() / 3;
        let early = self.points.iter().take(third).map(|point| point.held);
        let late = self.points.iter().rev().take(third).map(|point| point.held);
        last.held >= LEAK_RATIO * limit
            && grows(trend.bytes_per_hour)
            && grows(trend.recent_bytes_per_hour)
            && late.fold(f64::INFINITY, f64::min) > early.fold(0.0, f64::max)
            && trend.traffic_factor.is_none_or(|factor| factor < TRAFFIC_FACTOR)
    }

    /// The newest point: when, and how much memory.
    pub fn newest(&self) -> Option<(Timestamp, f64)> {
        self.points.back().map(|point| (point.at, point.held))
    }

    /// Moves every time when the wall clock steps.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| at.0 = at.0.saturating_add(by_ms);
        self.points.iter_mut().for_each(|point| shift(&mut point.at));
        self.warm.iter_mut().for_each(|warm| shift(&mut warm.since));
        self.changed_at.iter_mut().for_each(shift);
        self.image_since.iter_mut().for_each(shift);
        self.replaced.iter_mut().for_each(|(_, at)| shift(at));
        self.reborn_at.iter_mut().for_each(shift);
        shift(&mut self.last_seen);
    }
}

/// Where growth that came in one step for the most part has ended: 0 if there was none. A program that loads
/// itself takes one as well. What counts is what memory never falls below again: it may go up and down
/// besides.
fn end_of_step(points: &[&Point]) -> usize {
    let mut floors: Vec<(Timestamp, f64)> = Vec::with_capacity(points.len());
    let mut floor = f64::INFINITY;
    for point in points.iter().rev() {
        floor = floor.min(point.held);
        floors.push((point.at, floor));
    }
    floors.reverse();
    let (Some((_, first)), Some((_, last))) = (floors.first(), floors.last()) else { return 0 };
    let (mut most, mut begin, mut end) = (0.0, 0, 0);
    for (nth, (at, from)) in floors.iter().enumerate() {
        let within = floors[nth..].iter().take_while(|(then, _)| then.since(*at) <= STEP);
        let upto = nth + within.count() - 1;
        // Of windows that hold all of it the first ends with it.
        if floors[upto].1 - from > most {
            (most, begin, end) = (floors[upto].1 - from, nth, upto);
        }
    }
    let grown = last - first;
    if grown <= 0.0 || grown - most >= BESIDES * grown {
        return 0;
    }
    // One that takes longer, as far as the rest may go, has not ended with its steepest part.
    let pace = most / (end - begin) as f64;
    let goes_on = |pair: &&[(Timestamp, f64)]| pair[1].1 - pair[0].1 >= TAIL * pace;
    end + floors[end..].windows(2).take(TAIL_POINTS).take_while(goes_on).count()
}

/// Least squares over the points, if there are enough of them.
fn slope_per_hour(points: &[&Point]) -> Option<f64> {
    let (first, count) = (points.first()?, points.len() as f64);
    if points.len() < POINTS_MIN {
        return None;
    }
    let hours = |point: &Point| point.at.since(first.at).as_secs_f64() / HOUR.as_secs_f64();
    let mean_x = points.iter().map(|point| hours(point)).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.held).sum::<f64>() / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for point in points {
        let x = hours(point) - mean_x;
        covariance += x * (point.held - mean_y);
        variance += x * x;
    }
    (variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMIT: f64 = 1e9;

    fn seen(share: f64) -> Seen {
        Seen {
            held_bytes: Some(share * LIMIT),
            limit_bytes: Some(LIMIT),
            started_at: Some(Timestamp(0)),
            ..Seen::default()
        }
    }

    /// A container whose memory and requests were these, minute by minute.
    fn lived(minutes: u32, memory: impl Fn(f64) -> f64, requests: impl Fn(f64) -> f64) -> Trail {
        let mut trail = Trail::new(false, Timestamp(0));
        for minute in 0..=minutes {
            let x = f64::from(minute);
            let at = Timestamp(0) + MINUTE * minute;
            let _ = trail.take(&seen(memory(x)), Some(requests(x)), 5 * MINUTE, at);
        }
        trail
    }

    fn pace(trail: &Trail) -> (f64, f64) {
        let trend = trail.trend();
        let share = |pace: Option<f64>| pace.expect("enough points") / LIMIT;
        (share(trend.bytes_per_hour), share(trend.recent_bytes_per_hour))
    }

    #[test]
    fn what_has_stopped_growing_is_flat_lately() {
        let plateau = lived(60, |x| 0.3 + 0.6 * (x / 30.0).min(1.0), |_| 1.0);
        let (hour, lately) = pace(&plateau);
        assert!(hour > 0.5 && lately.abs() < 1e-9, "{hour} {lately}");
    }

    #[test]
    fn a_deploy_tells_what_it_replaced_though_both_are_shown_for_a_while() {
        let mut trail = Trail::new(false, Timestamp(0));
        let mut look = |minute: u32, incarnation: u64, image: &str| {
            let runs_as = Some(RunsAs::new(image, LIMIT, None));
            let seen = Seen { incarnation: Some(incarnation), runs_as, ..seen(0.1) };
            let _ = trail.take(&seen, None, MINUTE, Timestamp(0) + MINUTE * minute);
            trail.replaced().map(|replaced| (replaced.from.image, replaced.to.image))
        };
        let deploy = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(look(0, 1, "erp:15"), None);
        assert_eq!(look(1, 1 ^ 2, "erp:16"), deploy("erp:15", "erp:16"));
        assert_eq!(look(6, 2, "erp:16"), deploy("erp:15", "erp:16"));
        assert_eq!(look(30, 3, "erp:16"), None, "made anew as it was");
        assert_eq!(look(31, 4, "erp:17"), deploy("erp:16", "erp:17"));
        let long = "é".repeat(IMAGE_MAX);
        assert_eq!(RunsAs::new(&long, 0.0, None).image.len(), IMAGE_MAX);
    }

    #[test]
    fn another_cpu_limit_is_a_change_and_one_that_is_not_known_is_none() {
        let mut trail = Trail::new(false, Timestamp(0));
        let mut look = |minute: u32, cores: Option<f64>| {
            let runs_as = Some(RunsAs::new("erp:15", LIMIT, cores));
            let seen = Seen { incarnation: Some(1), runs_as, ..seen(0.1) };
            let _ = trail.take(&seen, None, MINUTE, Timestamp(0) + MINUTE * minute);
            let cores = |runs_as: RunsAs| runs_as.cpu_limit_cores;
            let changed = trail.changed_at.map(|at| at.since(Timestamp(0)).as_secs() / 60);
            (changed, trail.replaced().map(|told| (cores(told.from), cores(told.to))))
        };
        for (minute, cores) in [(0, None), (1, Some(0.5)), (2, None), (3, Some(0.5))] {
            assert_eq!(look(minute, cores), (None, None), "{minute}");
        }
        assert_eq!(look(4, Some(1.5)), (Some(4), Some((Some(0.5), Some(1.5)))));
        assert_eq!(look(5, Some(0.0)), (Some(5), Some((Some(1.5), Some(0.0)))), "no limit");
    }

    #[test]
    fn a_kill_begins_a_life() {
        let mut trail = lived(20, |x| 0.5 + 0.02 * x, |_| 1.0);
        assert!(trail.leaks(Some(LIMIT)));
        let at = Timestamp(0) + 21 * MINUTE;
        let _ = trail.take(&Seen { killed: true, ..seen(0.7) }, None, 5 * MINUTE, at);
        assert_eq!(trail.trend().bytes_per_hour, None);
        assert_eq!(trail.trend().warm_bytes, Some(0.6 * LIMIT), "it has not started anew");
        assert!(!trail.leaks(Some(LIMIT)));
    }

    #[test]
    fn what_comes_within_minutes_is_a_step_and_no_pace() {
        let loads = |to: f64, x: f64| 0.05 + (to - 0.05) * (x / 4.0).min(1.0);
        let ten_minutes_ago = |x: f64| if x < 30.0 { 0.3 } else { 0.93 };
        type Memory<'a> = &'a dyn Fn(f64) -> f64;
        // How many of 41 points are left, and whether they grow.
        for (of, memory, want) in [
            ("at once", &ten_minutes_ago as Memory<'_>, (11, false)),
            ("within minutes", &|x| 0.3 + 0.6 * ((x - 20.0) / 4.0).clamp(0.0, 1.0), (17, false)),
            (
                "within six, in between",
                &|x| 0.2 + 0.73 * ((x - 20.6) / 6.0).clamp(0.0, 1.0),
                (14, false),
            ),
            ("loaded, and leaks fast", &|x| loads(0.4, x) + 0.015 * (x - 4.0).max(0.0), (41, true)),
            ("within six", &|x| 0.2 + 0.73 * ((x - 20.0) / 6.0).clamp(0.0, 1.0), (15, false)),
            ("loaded, and leaks", &|x| loads(0.7, x) + 0.006 * (x - 4.0).max(0.0), (33, true)),
            ("full, and leaks", &|x| loads(0.82, x) + 0.003 * (x - 4.0).max(0.0), (33, true)),
            ("a leak", &|x| 0.5 + 0.01 * x, (41, true)),
            ("since ten minutes", &|x| 0.5 + 0.04 * (x - 30.0).max(0.0), (41, true)),
            ("faster and faster", &|x| 0.1 + 0.8 * (x / 40.0).powi(3), (41, true)),
            ("under a saw", &|x| 0.5 + 0.01 * x + 0.03 * (x % 4.0), (41, true)),
            ("in stairs", &|x| 0.3 + 0.1 * (x / 8.0).floor(), (41, true)),
            ("it falls", &|x| 0.9 - 0.01 * x, (41, false)),
        ] {
            let trail = lived(40, memory, |_| 1.0);
            let points: Vec<&Point> = trail.points.iter().collect();
            let (left, (hour, lately)) = (points.len() - end_of_step(&points), pace(&trail));
            assert_eq!((left, hour.min(lately) >= FLAT_PER_HOUR), want, "{of}: {hour} {lately}");
        }
        let young = lived(35, ten_minutes_ago, |_| 1.0).trend();
        assert_eq!(young.bytes_per_hour, None, "of what came after it little is known");
        let settling = |minutes| lived(minutes, ten_minutes_ago, |_| 1.0).trend().is_settling;
        assert_eq!([29, 30, 48, 49].map(settling), [false, true, true, false]);
        assert_eq!(end_of_step(&[]), 0);
    }

    #[test]
    fn of_a_container_that_ran_before_us_the_least_that_was_seen_is_known() {
        let mut trail = Trail::new(false, Timestamp(0));
        for (minute, share) in [(600, 0.3), (601, 0.2), (602, 0.4)] {
            let at = Timestamp(0) + MINUTE * minute;
            let _ = trail.take(&seen(share), None, 5 * MINUTE, at);
        }
        let trend = trail.trend();
        assert_eq!((trend.warm_bytes, trend.lowest_bytes), (None, Some(0.2 * LIMIT)));
        let young = lived(4, |_| 0.3, |_| 1.0).trend();
        assert_eq!(young.lowest_bytes, None, "it has not warmed up");
    }

    #[test]
    fn cpu_time_that_falls_begins_a_life_where_no_start_time_tells() {
        let mut trail = lived(20, |x| 0.5 + 0.02 * x, |_| 1.0);
        let mut see = |minute: u32, cpu_seconds, share| {
            let at = Timestamp(0) + MINUTE * minute;
            let one = Seen { cpu_seconds: Some(cpu_seconds), ..seen(share) };
            let _ = trail.take(&one, None, 5 * MINUTE, at);
            (trail.trend().bytes_per_hour.is_some(), trail.reborn_at)
        };
        assert_eq!(see(21, 900.0, 0.9), (true, None));
        assert_eq!(see(22, 901.0, 0.9), (true, None));
        let reborn = Some(Timestamp(0) + 23 * MINUTE);
        assert_eq!(see(23, 0.5, 0.3), (false, reborn), "the old life says nothing of this one");
        assert_eq!(see(24, 1.5, 0.3), (false, reborn));
        for minute in 25..45 {
            see(minute, f64::from(minute), 0.3 + 0.01 * f64::from(minute));
        }
        let trend = trail.trend();
        assert!(trend.bytes_per_hour > Some(0.4 * LIMIT), "{trend:?}");
        assert_eq!(
            trend.warm_bytes.map(f64::round),
            Some(0.58 * LIMIT),
            "five minutes after that start"
        );
    }

    #[test]
    fn traffic_is_measured_by_when_memory_stood_still() {
        let surge = |x: f64| if x < 20.0 { 20.0 } else { (20.0 + 6.0 * (x - 20.0)).min(200.0) };
        let memory = |x: f64| 0.4 + 0.0187 * (x - 20.0).clamp(0.0, 30.0);
        let factor = |minutes| lived(minutes, memory, surge).trend().traffic_factor.expect("known");
        assert!(factor(45) > 5.0, "{}", factor(45));
        assert!(factor(60) > 5.0, "it stays: there is no older half without it");
        assert!(factor(180) < 1.1, "what has long been so is calm: {}", factor(180));
        // Twice as busy by day, and memory begins to grow hours later: that is not the traffic.
        let day = lived(
            300,
            |x| 0.4 + 0.005 * (x - 240.0).max(0.0),
            |x| if x < 60.0 { 10.0 } else { 20.0 },
        );
        assert!(day.trend().traffic_factor < Some(1.1), "{:?}", day.trend());
        assert!(day.leaks(Some(LIMIT)));
        // Over two hours each half is hardly busier than the other.
        let slowly = lived(120, |x| 0.4 + 0.0047 * x, |x| 20.0 + 1.5 * x);
        assert!(slowly.trend().traffic_factor > Some(TRAFFIC_FACTOR), "{:?}", slowly.trend());
        assert!(!slowly.leaks(Some(LIMIT)));
    }

    #[test]
    fn only_a_steady_climb_is_remembered_as_a_leak() {
        let leaks = |memory: &dyn Fn(f64) -> f64| lived(40, memory, |_| 1.0).leaks(Some(LIMIT));
        assert!(leaks(&|x| 0.5 + 0.01 * x));
        assert!(!leaks(&|x| 0.1 + 0.01 * x), "far from the limit");
        assert!(!leaks(&|x| 0.7 + 0.0005 * x), "too slow");
        assert!(!leaks(&|x| 0.6 + 0.07 * (x % 5.0) + 0.003 * x), "a saw");
        assert!(!leaks(&|x| if x < 38.0 { 0.5 } else { 0.9 }), "a step");
        assert!(!leaks(&|x| if x < 27.0 { 0.5 } else { 0.9 }), "a while ago");
        assert!(!lived(8, |x| 0.7 + 0.01 * x, |_| 1.0).leaks(Some(LIMIT)), "too short");
        assert!(!lived(40, |x| 0.5 + 0.01 * x, |_| 1.0).leaks(None), "no limit");
    }

    #[test]
    fn one_start_that_two_tell_of_is_one_life() {
        let mut trail = lived(20, |x| 0.5 + 0.02 * x, |_| 1.0);
        let by_another = Some(Timestamp(900));
        let at = |minute: u32| Timestamp(0) + MINUTE * minute;
        let one = Seen { started_at: by_another, cpu_seconds: Some(900.0), ..seen(0.9) };
        let _ = trail.take(&one, None, 5 * MINUTE, at(21));
        assert_eq!(trail.trend().warm_bytes.map(f64::round), Some(0.6 * LIMIT));
        let anew = Seen { started_at: Some(Timestamp(0)), cpu_seconds: Some(0.5), ..one };
        let _ = trail.take(&anew, None, 5 * MINUTE, at(22));
        assert_eq!(trail.reborn_at, Some(at(22)), "no start time tells of it");
        let later = Seen { started_at: Some(at(23)), ..anew };
        let _ = trail.take(&later, None, 5 * MINUTE, at(23));
        assert_eq!(trail.trend().warm_bytes, None);
    }

    #[test]
    fn a_new_image_is_told_and_a_new_id_is_a_change() {
        let mut trail = Trail::new(false, Timestamp(0));
        let run = |incarnation, image| Seen {
            incarnation: Some(incarnation),
            image: Some(image),
            ..seen(0.4)
        };
        let mut take = |seen: Seen, minute: u32| {
            let new = trail.take(&seen, None, MINUTE, Timestamp(0) + MINUTE * minute);
            (new, trail.changed_at.map(|at| at.0 / 60_000))
        };
        assert_eq!(take(run(1, 7), 0), (false, None), "the first sight is no change");
        assert_eq!(take(run(2, 7), 1), (false, Some(1)));
        assert_eq!(take(run(3, 8), 2), (true, Some(2)));
        assert_eq!(take(Seen { incarnation: None, image: None, ..run(0, 0) }, 3), (false, Some(2)));
        assert_eq!(Trail::new(true, Timestamp(9)).changed_at, Some(Timestamp(9)));
    }
}
