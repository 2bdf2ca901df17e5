//! The twin of `replay` without recordings: synthetic series of the same shape (a container that
//! fills up and stays, one that leaks until it is killed, page cache, no limit, saturation, bursts)
//! through the real scanner and engine with the shipped rules.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use plimsoll::app::config::Config;
use plimsoll::app::documents::Documents;
use plimsoll::app::replay::{Recording, Standing, replay};
use plimsoll::base::Timestamp;
use plimsoll::engine::Fact;
use plimsoll::yaml::Problems;

#[path = "support/cast.rs"]
mod cast;
#[path = "support/driver.rs"]
mod driver;
#[path = "support/mod.rs"]
mod support;

use driver::Driver;

/// Second 0 of the recording, whose shape this is.
const T0: Timestamp = Timestamp(1_795_312_441_005);
const SECONDS: u64 = 960;
const MIB: f64 = 1024.0 * 1024.0;
/// The leaking container is killed this often, in seconds.
const LIFE: u64 = 103;

/// What cAdvisor says of one container.
struct Container {
    name: &'static str,
    plan: &'static str,
    limit_mib: f64,
    quota_cores: f64,
    usage_mib: f64,
    working_set_mib: f64,
    cpu_seconds: f64,
    periods: f64,
    throttled: f64,
    oom_kills: u64,
    started: u64,
}

/// A container that does nothing, of that plan.
fn idle(name: &'static str, plan: &'static str) -> Container {
    let (limit_mib, quota_cores) = match plan {
        "free" => (64.0, 0.0625),
        "pro" => (256.0, 0.1875),
        _ => (0.0, 0.0),
    };
    Container {
        name,
        plan,
        limit_mib,
        quota_cores,
        usage_mib: 5.0,
        working_set_mib: 5.0,
        cpu_seconds: 0.0,
        periods: 0.0,
        throttled: 0.0,
        oom_kills: 0,
        started: 0,
    }
}

/// The host `t` seconds after its start.
fn host(t: u64) -> Vec<Container> {
    let at = t as f64;
    let filling = 20.0 + 40.0 * (at / 380.0).min(1.0);
    let leaking = 10.0 + 54.0 * (t % LIFE) as f64 / LIFE as f64;
    let with_memory = |container: Container, usage_mib: f64, working_set_mib: f64| Container {
        usage_mib,
        working_set_mib,
        ..container
    };
    vec![
        with_memory(idle("acme-api", "free"), filling, filling),
        Container {
            oom_kills: t / LIFE,
            started: t / LIFE * LIFE,
            ..with_memory(idle("acme-worker", "free"), leaking, leaking)
        },
        with_memory(idle("piper-cache", "free"), 63.0, 18.0),
        with_memory(idle("legacy-cron", ""), 900.0, 900.0),
        Container {
            cpu_seconds: 0.0625 * at,
            periods: 10.0 * at,
            throttled: 10.0 * at,
            ..idle("initech-cruncher", "free")
        },
        Container {
            cpu_seconds: 0.04 * at,
            periods: 4.0 * at,
            throttled: 2.0 * at,
            ..idle("cyberdyne-svc", "pro")
        },
    ]
}

fn page(at: Timestamp) -> Vec<u8> {
    let t = at.since(T0).as_secs();
    let mut page = String::from("machine_memory_bytes 2.5e+10\n");
    for container in host(t) {
        let Container { name, plan, .. } = container;
        let mut say = |metric: &str, value: f64, stamped: bool| {
            // Samples carry their own, older time, as cAdvisor's do.
            let stamp = if stamped { format!(" {}", at.0 - 1300) } else { String::new() };
            writeln!(
                page,
                "container_{metric}{{container_label_prego_plan=\"{plan}\",id=\"/docker/{name}\",\
                 image=\"prego/load:1.0\",name=\"{name}\"}} {value}{stamp}"
            )
            .expect("a string takes all");
        };
        say("memory_usage_bytes", container.usage_mib * MIB, true);
        say("memory_working_set_bytes", container.working_set_mib * MIB, true);
        say("spec_memory_limit_bytes", container.limit_mib * MIB, false);
        say("cpu_usage_seconds_total", container.cpu_seconds, true);
        say("oom_events_total", container.oom_kills as f64, true);
        say("start_time_seconds", (T0.0 / 1000) as f64 + container.started as f64, false);
        say("spec_cpu_period", 100_000.0, false);
        if container.quota_cores > 0.0 {
            say("spec_cpu_quota", container.quota_cores * 100_000.0, false);
            say("cpu_cfs_periods_total", container.periods, true);
            say("cpu_cfs_throttled_periods_total", container.throttled, true);
        }
    }
    page.into_bytes()
}

fn run(percent: u32) -> Driver {
    let phase = Duration::from_millis((T0.0 % 5000) as u64);
    let mut driver = Driver::new(cast::recorded_host(percent), phase, T0);
    driver.add_target("cadvisor", "127.0.0.1:8080", Box::new(|at| Some(page(at))));
    driver.run(Duration::from_secs(5), T0 + Duration::from_secs(SECONDS));
    assert_eq!(driver.troubles(), Vec::<&Fact>::new());
    driver
}

#[test]
fn memory_rules_see_what_they_see_in_the_recording() {
    let mut driver = run(100);
    let decided = driver.episodes("TenantMemoryWillOom", "name");
    assert_eq!(decided.len(), 1, "{decided:?}");
    assert_eq!(decided[0].of, "acme-api");
    assert_eq!(driver.fired("TenantMemoryNearLimit", "name"), ["acme-api", "piper-cache"]);
    assert_eq!(driver.fired("ContainerOomKilled", "name"), ["acme-worker"]);
    let kills = SECONDS / LIFE;
    assert_eq!(driver.query("sum(container_oom_events_total)"), Some(kills as f64));
    let warnings = driver.episodes("TenantMemoryExhaustionSoon", "name");
    // acme-api climbs to 97 % and stays; piper-cache is full of page cache and is not warned of.
    assert_eq!(
        driver.fired("TenantMemoryExhaustionSoon", "name"),
        ["acme-api", "acme-worker"],
        "{warnings:?}"
    );
    let warnings = warnings.iter().filter(|warning| warning.of == "acme-worker");
    let warnings: Vec<_> = warnings.collect();
    let kill = |number: u64| T0 + Duration::from_secs(number * LIFE);
    let warned = (1..=kills).filter(|number| {
        warnings.iter().any(|w| kill(number - 1) < w.from && w.from < kill(*number))
    });
    assert_eq!(warned.count() as u64, kills, "{warnings:?}");
    let silent = driver.facts.iter().all(|(_, fact)| match fact {
        Fact::AlertFiring { labels, .. } => labels.get("name") != Some("legacy-cron"),
        _ => true,
    });
    assert!(silent, "no limit, no alert");
}

#[test]
fn saturation_is_told_from_bursts() {
    let driver = run(30);
    assert_eq!(driver.fired("TenantCpuThrottled", "name"), ["initech-cruncher"]);
    assert_eq!(driver.fired("TenantCpuThrottledBursty", "name"), ["cyberdyne-svc"]);
    assert_eq!(driver.fired("TenantWithoutLimit", "name"), Vec::<String>::new());
}

/// What a week of observing earns: a leak that the kernel ends every twenty hours, seen every four minutes.
const OBSERVED: &str = "
global: {scrape_interval: 4m, evaluation_interval: 4m}
host: web-7
mode: observe
tenants: [{match: {name: 'acme-app'}, tenant: acme, plan: pro, role: app}]
plans: {pro: {mem_limit: 1GiB, cpu_limit: 1}}
scrape_configs: []
";
const TOO_FULL: &str = "
groups:
  - name: own
    rules:
      - alert: TooFull
        expr: max by (tenant, plan, role, service, name) (container_memory_working_set_bytes)
          / max by (tenant, plan, role, service, name) (container_spec_memory_limit_bytes) > 0.9
        keep_firing_for: 5m
        labels: {severity: warning, action: restart}
";

/// What a recording of so many days says of the rule.
fn standing_after(days: u64) -> Standing {
    const EVERY: u64 = 240;
    const LEAK_LASTS: u64 = 20 * 3600;
    let id = format!("/docker/{:064x}", 7);
    let folder = tempfile::tempdir().expect("a folder");
    for t in (0..days * 86_400).step_by(EVERY as usize) {
        let at = T0.0 + 1000 * t as i64;
        let (kills, age) = (t / LEAK_LASTS, t % LEAK_LASTS);
        let used = (0.3 + 0.7 * age as f64 / LEAK_LASTS as f64) * 1024.0 * MIB;
        let started = T0.0 / 1000 + (kills * LEAK_LASTS) as i64;
        let labels = format!("{{id=\"{id}\",image=\"app:1\",name=\"acme-app\"}}");
        let page = format!(
            "container_memory_working_set_bytes{labels} {used:.0}\n\
             container_memory_usage_bytes{labels} {used:.0}\n\
             container_spec_memory_limit_bytes{labels} {:.0}\n\
             container_oom_events_total{labels} {kills}\n\
             container_start_time_seconds{labels} {started}\n",
            1024.0 * MIB
        );
        std::fs::write(folder.path().join(format!("{at}.txt")), page).expect("can be written");
    }
    let mut problems = Problems::default();
    let config = Config::read("plimsoll.yaml", OBSERVED, Path::new("/"), &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    let config = config.expect("without errors there is a configuration");
    let recording = Recording::open(folder.path(), Some("cadvisor")).expect("a recording");
    let rules = [("own.yml".to_owned(), TOO_FULL.to_owned())];
    let setup = move || support::setup(OBSERVED, &rules);
    let report = replay(&recording, &config, &Documents::default(), setup, |_| {});
    assert_eq!(report.problems, Vec::<String>::new());
    let [standing] = &report.standing[..] else { panic!("{:?}", report.standing) };
    standing.clone()
}

#[test]
fn nine_recorded_days_earn_act_and_six_do_not() {
    let nine = standing_after(9);
    assert!(nine.earned, "{nine:?}");
    assert_eq!((nine.alert.as_str(), nine.needless), ("TooFull", 0), "{nine:?}");
    let six = standing_after(6);
    assert!(!six.earned && six.needed >= 5 && six.why.contains("days"), "{six:?}");
}
