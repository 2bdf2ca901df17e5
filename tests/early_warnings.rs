//! How early an OOM kill is announced by a plimsoll without a configuration: some hundred containers climb to
//! their limits and are killed, in virtual time, through the real scanner and engine with the built-in rules at
//! the built-in intervals.
//!
//! A minute's climb leaves little room: half of it is to be left when the warning comes. `tests/live/docker.rs`
//! and `tests/replay/early.rs` show the same on real containers, a dozen of them.
//!
//! `EACH=20 cargo test --test early_warnings -- --nocapture` looks at more, and says the figures of
//! docs/benchmarks.md.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use plimsoll::app::config::{Config, DEFAULT_FILE};
use plimsoll::app::engine_setup;
use plimsoll::base::Timestamp;
use plimsoll::engine::Fact;

#[path = "support/driver.rs"]
#[expect(dead_code, reason = "nothing is asked of this engine")]
mod driver;
#[path = "sim/rng.rs"]
#[expect(dead_code, reason = "a climb draws numbers alone")]
mod rng;
#[path = "support/mod.rs"]
#[expect(dead_code, reason = "the configuration is the built-in one")]
mod support;

use driver::{Driver, Episode};
use rng::Rng;

/// Second 0 of all lives. The engine has run for two minutes by then, and its ranges are covered.
const T0: Timestamp = Timestamp(1_795_312_441_000);
const RUNS_BEFORE: Duration = Duration::from_secs(120);
/// So long before the kill a person has time to look.
const AHEAD: Duration = Duration::from_secs(30);
/// A warning that was over so long before was of another trend.
const AHEAD_AT_MOST: Duration = Duration::from_secs(60);
/// Who is not killed is watched so long after the climb.
const RESTS_S: f64 = 60.0;

/// How memory grows that no reclaim frees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Evenly.
    Linear,
    /// A piece every second to every ten.
    Steps,
    /// Every 3 to 15 s a collector of garbage takes 4 to 15 % of the whole climb back.
    SawTooth,
    /// Evenly, while page cache takes what is left below the limit and gives way.
    PageCache,
}

const SHAPES: [Shape; 4] = [Shape::Linear, Shape::Steps, Shape::SawTooth, Shape::PageCache];

/// A container that is quiet, climbs, and is killed or comes to rest. Times are seconds.
#[derive(Clone, Debug)]
struct Life {
    name: String,
    shape: Shape,
    limit_bytes: f64,
    starts: f64,
    climbs: f64,
    ends: f64,
    /// Shares of the limit.
    from: f64,
    to: f64,
    /// The time of a step or a tooth, of which the climb has a whole number.
    beat: f64,
    /// What a tooth takes back, as a share of the climb.
    depth: f64,
}

impl Life {
    /// One that climbs for `lasts` seconds, to that share of its limit.
    fn draw(rng: &mut Rng, shape: Shape, lasts: f64, to: f64) -> Life {
        let percent = |rng: &mut Rng, low, high| rng.between(low, high) as f64 / 100.0;
        let limit_mib = [64_u32, 256, 1024, 4096][rng.between(0, 4) as usize];
        let starts = percent(rng, 0, 10_000);
        let climbs = starts + [0.0, 10.0, 30.0, 90.0][rng.between(0, 4) as usize];
        let beat = match shape {
            Shape::Steps => percent(rng, 100, 1000),
            _ => percent(rng, 300, 1500),
        };
        Life {
            name: String::new(),
            shape,
            limit_bytes: f64::from(limit_mib) * 1024.0 * 1024.0,
            starts,
            climbs,
            ends: climbs + lasts,
            from: percent(rng, 2, 40),
            to,
            beat: lasts / (lasts / beat).round().max(1.0),
            depth: percent(rng, 4, 15),
        }
    }

    fn is_killed(&self) -> bool {
        self.to >= 1.0
    }

    fn lasts(&self) -> f64 {
        self.ends - self.climbs
    }

    fn ended_at(&self) -> Timestamp {
        T0 + Duration::from_secs_f64(self.ends)
    }

    /// What no reclaim frees, as a share of the limit, while it lives.
    fn held(&self, at: f64) -> f64 {
        let share = ((at - self.climbs) / self.lasts()).clamp(0.0, 1.0);
        let beats = share * self.lasts() / self.beat;
        let share = match self.shape {
            Shape::Linear | Shape::PageCache => share,
            Shape::Steps => beats.floor() * self.beat / self.lasts(),
            // Its peaks lie on the line.
            Shape::SawTooth if 0.0 < share && share < 1.0 => {
                (share - self.depth * (1.0 - beats.fract())).max(0.0)
            }
            Shape::SawTooth => share,
        };
        self.from + (self.to - self.from) * share
    }

    /// What the collector shows of it.
    fn show(&self, at: f64, page: &mut String) {
        let over = self.ends + if self.is_killed() { 0.0 } else { RESTS_S };
        if at < self.starts || at >= over {
            return;
        }
        let held = self.held(at);
        let cache = match self.shape {
            Shape::PageCache => (0.02 * (at - self.starts)).min(1.0 - held),
            _ => 0.03_f64.min(1.0 - held),
        };
        let t0 = T0.0 as f64 / 1000.0;
        let name = &self.name;
        for (metric, value) in [
            ("container_memory_usage_bytes", (held + cache) * self.limit_bytes),
            // Half of the page cache was read twice.
            ("container_memory_working_set_bytes", (held + cache / 2.0) * self.limit_bytes),
            ("plimsoll_container_memory_unreclaimable_bytes", held * self.limit_bytes),
            ("container_spec_memory_limit_bytes", self.limit_bytes),
            ("container_start_time_seconds", t0 + self.starts),
            ("container_last_seen", (t0 + at).floor()),
        ] {
            writeln!(page, "{metric}{{name=\"{name}\"}} {value}").expect("a text takes all");
        }
    }
}

/// So many lives of each kind where nobody asks for more.
const EACH: usize = 5;

#[expect(clippy::disallowed_methods, reason = "how far to look is the caller's choice")]
fn each() -> usize {
    std::env::var("EACH").map_or(EACH, |text| text.parse().expect("EACH is a number"))
}

/// Lives of each shape, for each of these numbers of seconds and shares of the limit.
fn lives(seed: u64, of: &[(f64, f64)]) -> Vec<Life> {
    let (mut rng, each) = (Rng::new(seed), each());
    let mut all = Vec::new();
    for shape in SHAPES {
        for (lasts, to) in of {
            for _ in 0..each {
                let name = format!("c{}", all.len());
                all.push(Life { name, ..Life::draw(&mut rng, shape, *lasts, *to) });
            }
        }
    }
    all
}

/// When each of them was warned of.
fn warnings(lives: &[Life]) -> Vec<Episode> {
    let (config, problems) = Config::load_or_default(Path::new(DEFAULT_FILE));
    let config = config.unwrap_or_else(|| panic!("{problems}"));
    assert!(config.is_built_in, "{DEFAULT_FILE} stands in this folder");
    let interval = config.collector.as_ref().expect("it is on").interval;
    let setup = engine_setup(&config, support::HOST);
    let mut driver = Driver::new(setup, Duration::ZERO, T0 - RUNS_BEFORE);
    let last = lives.iter().map(Life::ended_at).max().expect("a life");
    let all = lives.to_vec();
    let script = move |at: Timestamp| {
        let mut page = String::from("container_scrape_error 0\n");
        let second = (at.0 - T0.0) as f64 / 1000.0;
        all.iter().for_each(|life| life.show(second, &mut page));
        Some(page.into_bytes())
    };
    driver.add_target("collector", support::HOST, Box::new(script));
    driver.run(interval, last + Duration::from_secs(90));
    assert_eq!(driver.troubles(), Vec::<&Fact>::new());
    driver.episodes("TenantMemoryExhaustionSoon", "name")
}

/// How many of these are among the told, and how many there are.
fn share<'a>(these: impl Iterator<Item = &'a Life>, told: &BTreeSet<&str>) -> (usize, usize) {
    these.fold((0, 0), |(of, all), life| (of + usize::from(told.contains(&*life.name)), all + 1))
}

/// Those of whom `is_so` holds of a warning.
fn told<'a>(
    lives: &'a [Life],
    warnings: &[Episode],
    is_so: impl Fn(&Life, &Episode) -> bool,
) -> BTreeSet<&'a str> {
    let is_told = |life: &&Life| warnings.iter().any(|w| w.of == life.name && is_so(life, w));
    lives.iter().filter(is_told).map(|life| life.name.as_str()).collect()
}

#[test]
fn nine_kills_of_ten_after_a_climb_of_a_minute_are_announced_half_a_minute_ahead() {
    let lasts = [60, 62, 64, 66, 68, 70, 75, 80, 90, 100, 150, 200, 300, 600].map(f64::from);
    let all = lives(11, &lasts.map(|lasts| (lasts, 1.0)));
    let warnings = warnings(&all);
    let early = told(&all, &warnings, |life, warning| {
        let kill = life.ended_at();
        let is_over = warning.to.is_some_and(|to| to < kill - AHEAD_AT_MOST);
        warning.from <= kill - AHEAD && !is_over
    });
    let ever = told(&all, &warnings, |life, warning| warning.from < life.ended_at());
    assert_eq!(ever.len(), all.len(), "all are warned of before they are killed");
    for longest in [100.0, 600.0] {
        let fast = || all.iter().filter(|life| life.lasts() <= longest + 0.5);
        for shape in SHAPES {
            let (of, all) = share(fast().filter(|life| life.shape == shape), &early);
            println!("climbs of 60 to {longest} s, {shape:?}: {of} of {all}");
            let is_even = matches!(shape, Shape::Linear | Shape::PageCache);
            let least = if is_even { 100 } else { 75 };
            assert!(100 * of >= least * all, "up to {longest} s, {shape:?}: {of} of {all}");
        }
        let (of, all) = share(fast(), &early);
        println!("climbs of 60 to {longest} s: {of} of {all}");
        assert!(100 * of >= 90 * all, "up to {longest} s: {of} of {all}");
    }
}

#[test]
fn what_comes_to_rest_is_warned_of_while_it_climbs_if_at_all() {
    let lasts = [10, 30, 60, 120, 300].map(f64::from);
    let to = [0.5, 0.7, 0.8, 0.89];
    let of: Vec<(f64, f64)> = lasts.iter().flat_map(|lasts| to.map(|to| (*lasts, to))).collect();
    let all = lives(8, &of);
    let warnings = warnings(&all);
    let told = |is_so: fn(&Life, &Episode) -> bool| told(&all, &warnings, is_so);
    let none = BTreeSet::new();
    assert_eq!(told(|life, w| w.from.since(T0).as_secs_f64() < life.climbs), none);
    let begins_late = told(|life, w| w.from > life.ended_at() + Duration::from_secs(25));
    assert_eq!(begins_late, none);
    let ends_late =
        told(|life, w| w.to.is_none_or(|to| to > life.ended_at() + Duration::from_secs(30)));
    assert_eq!(ends_late, none);
    // Until it stops, such a climb is no different from one that ends in a kill.
    let warned = told(|_, _| true);
    for to in to {
        let (of, all) =
            share(all.iter().filter(|life| life.to <= to && life.to > to - 0.01), &warned);
        println!("climbs to {to} of the limit: {of} of {all} warned of");
    }
    let (of, all) = share(all.iter(), &warned);
    println!("climbs to 0.5 to 0.89 of the limit: {of} of {all} warned of");
    assert!(100 * of <= 55 * all, "{of} of {all}");
}
