//! Replays of a real cAdvisor: recorded scrapes of real containers, at their own times, through the
//! real scanner and the real engine with the shipped rules, against what truly happened.
//!
//! Reads `../shared/data` (its README has the ground truth), so it runs in `.ci/run live` only;
//! `replay_synthetic` is its twin without files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::app::capture::Capture;
use plimsoll::base::Timestamp;
use plimsoll::containers::{Happening, Report, What};
use plimsoll::docker::read_event;
use plimsoll::engine::{Event, Fact, Setup};
use serde_json::Value;

#[path = "support/cast.rs"]
mod cast;
#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "replay/collected.rs"]
mod collected;
#[path = "support/driver.rs"]
mod driver;
#[path = "replay/early.rs"]
mod early;
#[path = "replay/either.rs"]
mod either;
#[path = "replay/judged.rs"]
mod judged;
#[path = "replay/m2.rs"]
mod m2;
#[path = "support/mod.rs"]
mod support;
#[path = "support/truth.rs"]
mod truth;

use driver::{Driver, Episode};

const INTERVAL: Duration = Duration::from_secs(5);

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cadvisor").join(path)
}

/// The scrapes of a capture, by the time they were made.
fn capture(name: &str) -> BTreeMap<Timestamp, Vec<u8>> {
    let capture = Capture::open(&data(name)).expect("a capture");
    let body = |at| (at, capture.body(at).expect("can be read"));
    capture.times().map(body).collect()
}

/// When the kernel killed a process of that container.
fn oom_kills(capture: &str, container: &str) -> Vec<Timestamp> {
    let path = data(capture).join("docker-events.jsonl");
    let text = std::fs::read_to_string(path).expect("the events were recorded");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("is JSON"));
    events
        .filter(|event| {
            event["Action"] == "oom" && event["Actor"]["Attributes"]["name"] == container
        })
        .map(|event| Timestamp(event["timeNano"].as_i64().expect("a time") / 1_000_000))
        .collect()
}

/// The capture replayed, with every long `for` cut to `percent` of it.
fn replay(name: &str, percent: u32) -> Driver {
    let (mut driver, end) = scraped(name, cast::recorded_host(percent));
    driver.run(INTERVAL, end);
    assert_eq!(driver.troubles(), Vec::<&Fact>::new());
    driver
}

/// The capture under this setup, which has not begun, and when it ends.
fn scraped(name: &str, setup: Setup) -> (Driver, Timestamp) {
    let scrapes = capture(name);
    let first = *scrapes.keys().next().expect("a capture has scrapes");
    let last = *scrapes.keys().next_back().expect("a capture has scrapes");
    let phase = Duration::from_millis((first.0 % 5000) as u64);
    let start = first - Duration::from_secs(1);
    let mut driver = Driver::new(setup, phase, start);
    let script = move |at: Timestamp| {
        // The recorder was a few milliseconds late now and then; a slot's scrape is the next one.
        let (made, body) = scrapes.range(at..).next()?;
        assert!(made.since(at) < Duration::from_millis(100), "no scrape at {at}");
        Some(body.clone())
    };
    driver.add_target("cadvisor", "127.0.0.1:8080", Box::new(script));
    (driver, last + Duration::from_secs(1))
}

/// How many of the kills a warning preceded, after the kill before and before the kill itself.
fn warned(kills: &[Timestamp], warnings: &[Episode]) -> usize {
    let starts = [Timestamp(0)].into_iter().chain(kills.iter().copied());
    let is_warned = |(before, kill): (Timestamp, &Timestamp)| {
        warnings.iter().any(|warning| before < warning.from && warning.from < *kill)
    };
    starts.zip(kills).filter(|pair| is_warned(*pair)).count()
}

fn of(episodes: Vec<Episode>, container: &str) -> Vec<Episode> {
    episodes.into_iter().filter(|episode| episode.of == container).collect()
}

#[test]
fn memory_of_a_real_host() {
    let mut driver = replay("trim", 100);
    let t0 = Timestamp(1_795_312_441_005);
    // The one critical decision: its working set passes 90 % at 365 s and stays.
    let decided = driver.episodes("TenantMemoryWillOom", "name");
    assert_eq!(decided.len(), 1, "{decided:?}");
    assert_eq!((decided[0].of.as_str(), decided[0].to), ("acme-api", None));
    let after = decided[0].from.since(t0).as_secs();
    assert!((420..=435).contains(&after), "for: 1m after 365 s, fired at {after} s");
    // Page cache tells and decides nothing.
    assert_eq!(driver.fired("TenantMemoryNearLimit", "name"), ["acme-api", "piper-cache"]);

    let kills = oom_kills("trim", "acme-worker");
    assert_eq!(kills.len(), 9);
    let warnings = driver.episodes("TenantMemoryExhaustionSoon", "name");
    let count = warned(&kills, &of(warnings.clone(), "acme-worker"));
    assert!(count >= 8, "{count} of 9 kills were warned of: {warnings:?}");
    // What climbed to 90 % and more, and nothing else: not piper-cache, which is full of page cache.
    let climbed = ["acme-api", "acme-worker", "aviato-spiky", "globex-forker", "hooli-app"];
    assert_eq!(driver.fired("TenantMemoryExhaustionSoon", "name"), climbed);

    // Every kill is counted. The alert of a container that is killed every two minutes stays, and
    // begins within seconds of the first kill. domoom-pid1 died before any scrape saw it.
    let killed = driver.episodes("ContainerOomKilled", "name");
    let mut names: Vec<&str> = killed.iter().map(|episode| episode.of.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["acme-worker", "domoom-child", "globex-forker"]);
    for (container, count) in [("acme-worker", 9), ("globex-forker", 7)] {
        let kills = oom_kills("trim", container);
        assert_eq!(kills.len(), count, "{container}");
        let query = format!("sum(container_oom_events_total{{name=\"{container}\"}})");
        assert_eq!(driver.query(&query), Some(count as f64), "{container}");
        let [episode] = &of(killed.clone(), container)[..] else { panic!("{killed:?}") };
        assert!(episode.from.since(kills[0]) < Duration::from_secs(10), "{episode:?}");
        assert_eq!(episode.to, None, "{container}");
    }
}

/// Everything Docker told while a capture was made.
fn happenings(path: &Path) -> Vec<Happening> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(file).read_to_end(&mut text).expect("is gzip");
    } else {
        std::io::BufReader::new(file).read_to_end(&mut text).expect("reads");
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| read_event(line).expect("an event reads")).collect()
}

/// Docker's events replayed, beside cAdvisor's scrapes if they are there, too.
fn with_docker(events: &[Happening], scrapes: bool) -> Driver {
    let captured = capture("trim");
    let start = Timestamp(1_795_312_440_000);
    let mut driver = Driver::new(cast::recorded_host(100), Duration::from_millis(1005), start);
    if scrapes {
        let script = move |at: Timestamp| Some(captured.range(at..).next()?.1.clone());
        driver.add_target("cadvisor", "127.0.0.1:8080", Box::new(script));
    }
    for event in events {
        driver.expect(event.at(), Event::Docker(Report::Happened(event.clone())));
    }
    driver.run(INTERVAL, Timestamp(1_795_313_401_000));
    driver
}

#[test]
fn a_kill_counts_once_whether_docker_cadvisor_or_both_saw_it() {
    let events = happenings(&data("trim/docker-events.jsonl"));
    let mut twice = [events.clone(), events.clone()].concat();
    twice.sort_by_key(|happening| happening.at_nanos);
    let blind: Vec<Happening> =
        events.iter().filter(|happening| happening.what != What::Oom).cloned().collect();
    for (name, mut driver) in [
        ("Docker alone", with_docker(&events, false)),
        ("both", with_docker(&events, true)),
        ("everything Docker says twice", with_docker(&twice, true)),
        ("cAdvisor, and Docker without its events oom", with_docker(&blind, true)),
    ] {
        for (container, pid1, child) in
            [("acme-worker", 9.0, 0.0), ("globex-forker", 0.0, 7.0), ("stark-web", 0.0, 0.0)]
        {
            for (scope, want) in [("pid1", pid1), ("child", child)] {
                let query =
                    format!("plimsoll_oom_total{{container=\"{container}\",scope=\"{scope}\"}}");
                assert_eq!(driver.query(&query), Some(want), "{name}: {query}");
            }
        }
    }
}

#[test]
fn cadvisor_alone_gives_the_same_number() {
    // Not always the scope: after one of acme-worker's kills a scrape met it without a start time.
    let mut driver = with_docker(&[], true);
    for (container, want) in [("acme-worker", 9.0), ("globex-forker", 7.0), ("stark-web", 0.0)] {
        let query = format!("sum(plimsoll_oom_total{{container=\"{container}\"}})");
        assert_eq!(driver.query(&query), Some(want), "{query}");
    }
}

#[test]
fn ends_are_told_apart_on_a_real_host() {
    let driver = with_docker(&happenings(&data("trim/docker-events.jsonl")), true);
    let mut ends: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, fact) in &driver.facts {
        if let Fact::ContainerEnded { name, reason, .. } = fact {
            *ends.entry((name, reason)).or_default() += 1;
        }
    }
    let want = [
        (("acme-worker", "oom"), 9),
        (("cyberdyne-svc", "stop"), 1),
        (("domchk-default", "kill"), 1),
        (("domchk-eq", "kill"), 1),
        (("domchk-nolimit", "kill"), 1),
        (("domoom-child", "kill"), 1),
        (("domoom-pid1", "oom"), 1),
        (("stark-web", "stop"), 1),
        (("wayne-app", "kill"), 1),
    ];
    assert_eq!(ends, BTreeMap::from(want));
}

#[test]
fn the_record_of_two_kills() {
    let path = data("../exporters/docker-events-oom.jsonl.gz");
    let mut driver = with_docker(&happenings(&path), false);
    let mut get = |container: &str, scope: &str| {
        driver.query(&format!("plimsoll_oom_total{{container=\"{container}\",scope=\"{scope}\"}}"))
    };
    assert_eq!((get("domoom-pid1", "pid1"), get("domoom-pid1", "child")), (Some(1.0), Some(0.0)));
    assert_eq!((get("domoom-child", "pid1"), get("domoom-child", "child")), (Some(0.0), Some(1.0)));
}

#[test]
fn nothing_else_is_wrong_with_a_real_host() {
    let driver = replay("trim", 100);
    let told = [
        "TenantMemoryNearLimit",
        "TenantMemoryWillOom",
        "TenantMemoryExhaustionSoon",
        "ContainerOomKilled",
        "Watchdog",
    ];
    for (at, fact) in &driver.facts {
        let Fact::AlertFiring { labels, .. } = fact else { continue };
        let alert = labels.get("alertname").expect("an alert has a name");
        assert!(told.contains(&alert), "{at}: {labels:?}");
        assert_ne!(labels.get("name"), Some("legacy-cron"), "{labels:?}");
        let known = labels.get("tenant").is_some();
        assert!(known || ["Watchdog", "ContainerOomKilled"].contains(&alert), "{labels:?}");
        assert_eq!(labels.get("host"), (alert != "Watchdog").then_some("web-7"), "{labels:?}");
    }
    // What was told inside is what both lanes carried out.
    let firing = driver.facts.iter().filter(|(_, f)| matches!(f, Fact::AlertFiring { .. })).count();
    let sent =
        |name: &str| driver.delivered.iter().filter(|(_, e)| e.event_type.name() == name).count();
    assert_eq!((sent("alert.firing"), sent("alert.unknown")), (firing, 0));
    let mut heard: Vec<_> =
        driver.heard.iter().map(|(_, p)| (&p.alert.labels, p.alert.starts_at())).collect();
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), firing, "Alertmanager heard of every incident");
}

#[test]
fn saturation_is_told_from_bursts() {
    let driver = replay("trim", 30);
    // Throttled in every period with its quota used up; half the periods with a fifth of it.
    let saturated = driver.fired("TenantCpuThrottled", "name");
    let bursty = driver.fired("TenantCpuThrottledBursty", "name");
    assert_eq!(saturated, ["initech-cruncher"]);
    // initech-batch runs into its quota for 30 s of every 90 s.
    assert_eq!(bursty, ["cyberdyne-svc", "initech-batch"]);
}

#[test]
fn a_limit_changed_by_hand_is_drift() {
    let driver = replay("trim", 10);
    // `docker update` gave it the limits of pro at 600 s; its plan stayed free.
    assert_eq!(driver.fired("PlanMemoryLimitDrift", "name"), ["hooli-app"]);
    assert_eq!(driver.fired("PlanCpuLimitDrift", "name"), ["hooli-app"]);
    // legacy-cron has no limit and belongs to nobody.
    assert_eq!(driver.fired("TenantWithoutLimit", "name"), Vec::<String>::new());
    assert_eq!(driver.fired("TenantWithoutCpuLimit", "name"), Vec::<String>::new());
}

#[test]
fn five_minutes_with_the_recommended_flags() {
    let mut driver = replay("recommended-flags", 100);
    // acme-api still sits at 97 %; the leaking ones come and go faster than `for: 1m`.
    assert_eq!(driver.fired("TenantMemoryWillOom", "name"), ["acme-api"]);
    assert_eq!(driver.fired("ContainerOomKilled", "name"), ["acme-worker", "globex-forker"]);
    for (container, count) in [("acme-worker", 7.0), ("globex-forker", 5.0)] {
        let query = format!("sum(container_oom_events_total{{name=\"{container}\"}})");
        assert_eq!(driver.query(&query), Some(count), "{container}");
    }
    let critical = driver.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::AlertFiring { labels, .. } if labels.get("severity") == Some("critical") => {
            Some((labels.get("alertname")?, labels.get("name")?))
        }
        _ => None,
    });
    assert_eq!(critical.count(), 3, "one memory alert and two of kills that happened");
    let kills = oom_kills("recommended-flags", "acme-worker");
    let warnings = of(driver.episodes("TenantMemoryExhaustionSoon", "name"), "acme-worker");
    // The first kill came 18 s after the first scrape, before a slope could be seen.
    assert_eq!((kills.len(), warned(&kills, &warnings)), (3, 2), "{warnings:?}");
}

/// What `plimsoll query --dir` says is what the engine that lived through it says.
#[test]
#[expect(clippy::disallowed_methods, reason = "what is tested is the command line")]
fn a_capture_is_queried_as_it_was_lived() {
    let folder = data("trim").display().to_string();
    let query = "sum by (name) (container_oom_events_total{name=~\"acme-worker|globex-forker\"})";
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["query", query, "--dir", &folder, "--csv"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said} {}", String::from_utf8_lossy(&ran.stderr));
    let mut lines: Vec<&str> = said.lines().skip(1).collect();
    lines.sort_unstable();
    let values: Vec<(&str, &str)> = lines
        .iter()
        .filter_map(|line| Some((line.split(',').next()?, line.rsplit(',').next()?)))
        .collect();
    assert_eq!(values, [("acme-worker", "9"), ("globex-forker", "7")], "{said}");
}
