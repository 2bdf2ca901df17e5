//! A Docker host as the engine sees it, for the benches: containers, their samples, the real engine, driven as the
//! run loop drives it.

use std::time::Duration;

use plimsoll::alerts::PresenterConfig;
use plimsoll::base::{Labels, METRIC_NAME, Now, TargetId, Timestamp};
use plimsoll::engine::{
    AskDocker, Engine, Event, Flaws, Pace, Request, Scraped, Setup, Stopwatch, Switches, TargetInfo,
};
use plimsoll::exposition::{Batch, Point};
use plimsoll::policy::PolicyConfig;
use plimsoll::promql::{EvalOptions, ParseOptions};
use plimsoll::regex::Pattern;
use plimsoll::rules;
use plimsoll::window::Caps;

pub const INTERVAL: Duration = Duration::from_secs(5);
pub const START: Timestamp = Timestamp(1_772_000_000_000);
/// Cycles before measuring: the longest range of the container rules is ten minutes.
const WARM_CYCLES: usize = 130;
pub const CAPS: Caps = Caps { max_series: 1_000_000, max_bytes: 4 << 30 };
const GIB: f64 = (1u64 << 30) as f64;

/// What the shipped rules read of cAdvisor: a value at the start, and what each cycle adds.
const FAMILIES: [(&str, f64, f64); 14] = [
    ("container_cpu_cfs_periods_total", 1000.0, 50.0),
    ("container_cpu_cfs_throttled_periods_total", 100.0, 2.0),
    ("container_cpu_cfs_throttled_seconds_total", 10.0, 0.1),
    ("container_cpu_usage_seconds_total", 100.0, 1.5),
    ("container_last_seen", 1_772_000_000.0, 5.0),
    ("container_memory_usage_bytes", 0.7 * GIB, 0.0),
    (WORKING_SET, 0.5 * GIB, 0.0),
    ("container_oom_events_total", 0.0, 0.0),
    ("container_spec_cpu_period", 100_000.0, 0.0),
    ("container_spec_cpu_quota", 50_000.0, 0.0),
    ("container_spec_memory_limit_bytes", GIB, 0.0),
    ("container_spec_memory_reservation_limit_bytes", 0.5 * GIB, 0.0),
    ("container_spec_memory_swap_limit_bytes", GIB, 0.0),
    ("container_start_time_seconds", 1_771_000_000.0, 0.0),
];
/// The machine has one.
const MACHINE: &str = "machine_memory_bytes";
const WORKING_SET: &str = "container_memory_working_set_bytes";

/// A series of a container.
pub fn labels(name: &str, container: usize) -> Labels {
    Labels::from_pairs([
        (METRIC_NAME, name),
        ("id", &format!("/docker/{container:064x}")),
        ("image", "registry.example.test/erpnext:v15"),
        ("instance", "127.0.0.1:8080"),
        ("job", "cadvisor"),
        ("name", &format!("tenant-{container:05}-app-1")),
        ("plan", "pro"),
        ("role", "app"),
        ("service", &format!("tenant-{container:05}/app")),
        ("tenant", &format!("tenant-{container:05}")),
    ])
}

/// A Docker host as the engine sees it.
pub struct Host {
    pub engine: Engine,
    pub now: Now,
    points: Vec<Point>,
    /// What each point grows by in a cycle.
    growth: Vec<f64>,
}

impl Host {
    /// A host whose window is ten minutes full, under these rule files. The rules come last, so that filling costs no
    /// evaluation.
    pub fn new(containers: usize, files: &[&str], stopwatch: Stopwatch) -> Host {
        let now = Now { monotonic: Duration::from_secs(1), wall: START };
        let mut engine = Engine::new(setup(Vec::new()), &[], now, stopwatch);
        engine.handle(
            now,
            Event::Targets { active: vec![target()], dropped: Vec::new(), flaws: Flaws::default() },
        );
        let mut host = Host { engine, now, points: Vec::new(), growth: Vec::new() };
        let mut new = Vec::new();
        for (name, first, adds) in FAMILIES {
            for container in 0..containers {
                let is_high = name == WORKING_SET && container % 100 == 0;
                let value = if is_high { 0.95 * GIB } else { first };
                new.push((host.point(value, adds), labels(name, container)));
            }
        }
        let of_machine =
            [(METRIC_NAME, MACHINE), ("instance", "127.0.0.1:8080"), ("job", "cadvisor")];
        new.push((host.point(64.0 * GIB, 0.0), Labels::from_pairs(of_machine)));
        host.cycle(new);
        for _ in 0..WARM_CYCLES {
            host.cycle(Vec::new());
        }
        let texts: Vec<(String, String)> =
            files.iter().map(|text| ("rules.yml".to_owned(), (*text).to_owned())).collect();
        let (groups, problems) = rules::load(&texts, &ParseOptions::default());
        assert!(!problems.has_errors(), "{problems}");
        let setup = Box::new(setup(groups));
        let reload = Event::Reload { setup, switches: Switches::default() };
        host.engine.handle(host.now, reload);
        let rounds = host.cycle(Vec::new()) + host.cycle(Vec::new());
        assert_eq!(rounds > 0, !files.is_empty(), "rules run, and some alerts begin");
        host
    }

    fn point(&mut self, value: f64, adds: f64) -> u32 {
        let id = u32::try_from(self.points.len()).expect("some thousands");
        self.points.push(Point { id, value, at: None });
        self.growth.push(adds);
        id
    }

    /// Five seconds: one scrape comes in, what is due is done. Returns how many facts that made.
    pub fn cycle(&mut self, new: Vec<(u32, Labels)>) -> usize {
        self.now.monotonic += INTERVAL;
        self.now.wall = self.now.wall + INTERVAL;
        for (point, adds) in self.points.iter_mut().zip(&self.growth) {
            point.value += adds;
        }
        let step = self.engine.handle(self.now, Event::Tick);
        let mut facts = step.facts.len();
        let scrapes = step.requests.iter().filter(|r| matches!(r, Request::Scrape { .. })).count();
        assert_eq!(scrapes, 1, "the target is due in every cycle");
        let batch = Batch { epoch: 1, new, points: self.points.clone(), ..Batch::default() };
        let scraped =
            Scraped { target: TargetId(1), duration: Duration::from_millis(20), result: Ok(batch) };
        facts += self.engine.handle(self.now, Event::Scraped(scraped)).facts.len();
        facts
    }
}

/// The shipped rules about containers and about plimsoll itself.
pub const SHIPPED: [&str; 2] =
    [include_str!("../../rules/containers.yml"), include_str!("../../rules/plimsoll.yml")];

fn target() -> TargetInfo {
    TargetInfo {
        id: TargetId(1),
        labels: Labels::from_pairs([("instance", "127.0.0.1:8080"), ("job", "cadvisor")]),
        discovered: Labels::empty(),
        url: "http://127.0.0.1:8080/metrics".to_owned(),
        interval: INTERVAL,
        timeout: INTERVAL,
    }
}

fn setup(groups: Vec<rules::Group>) -> Setup {
    Setup {
        groups,
        pace: Pace { evaluation_interval: INTERVAL, phase: Duration::ZERO },
        caps: CAPS,
        keep: vec![Pattern::new("(container|machine)_.*").expect("a pattern")],
        keep_for: Duration::from_secs(600),
        eval: EvalOptions { default_step: INTERVAL, ..EvalOptions::default() },
        external_labels: Labels::empty(),
        external_url: String::new(),
        alertmanagers: Vec::new(),
        presenter: PresenterConfig {
            resend_delay: Duration::from_secs(60),
            hold: Duration::from_secs(360),
            is_fixed: false,
            max_hold: Duration::from_secs(3600),
        },
        outbox: None,
        mail: None,
        host: "bench".to_owned(),
        docker: AskDocker::No,
        identity: None,
        policy: PolicyConfig::default(),
        constants: Vec::new(),
        unknown_timeout: Duration::from_secs(3600),
    }
}
