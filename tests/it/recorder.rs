//! The flight recorder: what it writes while the program runs, `plimsoll replay` reads, and it comes
//! to the same alerts. And how much a day takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use plimsoll::app::config::Config;
use plimsoll::app::engine_setup;
use plimsoll::base::Timestamp;
use plimsoll::recorder::group::{Group, GroupWriter};
use plimsoll::yaml::Problems;
use serde_json::Value;

use crate::cgroups::{Cgroups, Layout, Load, id};
use crate::support::{FakeAlertmanager, Home, Page, Plan, query, wait_for, wait_until};

const RULES: &str = "{alert: High, for: 1s, labels: {action: advise, severity: warning}, \
     expr: 'max by (name) (container_memory_working_set_bytes{job=\"t\"}) > 90'}, \
     {alert: Seen, labels: {severity: info}, \
     expr: 'max by (id) (container_memory_usage_bytes{job=\"collector\"}) > 1000'}";

fn page(bytes: u32) -> String {
    format!(
        "# TYPE container_memory_working_set_bytes gauge\n\
         container_memory_working_set_bytes{{name=\"acme-web\",x=\"a }} b\"}} {bytes}\n\
         nobody_reads_this 1\n"
    )
}

/// The alerts of a replay: name, and how many times each fired.
fn replayed(home: &Home) -> Vec<(String, bool)> {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["replay", "--format", "json", "--config"])
        .arg(home.path().join("plimsoll.yaml"))
        .arg(home.path().join("recordings"))
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let read: Value = serde_json::from_slice(&output.stdout).expect(&error);
    let alerts = read["a"]["alerts"].as_array().expect("a list").iter();
    alerts
        .map(|alert| (alert["alert"].as_str().expect("text").to_owned(), !alert["to"].is_null()))
        .collect()
}

#[test]
fn a_recording_of_the_real_program_replays_to_the_same_alerts() {
    let alertmanager = FakeAlertmanager::start();
    let target = Page::new(&page(50));
    let place = Home::new(&Plan::default());
    let cgroups = Cgroups::new(place.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let plan = Plan {
        rules: RULES.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        more: format!(
            "collector: {{interval: 1s, cgroup_root: '{}', proc_root: '{}'}}\n\
             docker: {{host: 'unix://{}'}}\n\
             recorder: {{path: recordings, keep: 1h, max_bytes: 10MiB}}\n",
            cgroups.cgroup_root().display(),
            cgroups.proc_root().display(),
            place.path().join("nobody.sock").display(),
        ),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), "scrape_interval: 1s"));
    let mut process = home.start();
    let firing = || query(home.address(), "ALERTS{alertstate=\"firing\"}").len();
    let alerts = || home.get("/api/v1/alerts").matches("\"state\":\"firing\"").count();
    wait_until("our own eyes see the container", 20, || alerts() == 1);
    target.set(&page(95));
    wait_until("High fires", 20, || alerts() == 2);
    target.wait_for_scrapes(2);
    target.set(&page(50));
    wait_until("High is resolved", 20, || alerts() == 1);
    target.wait_for_scrapes(2);
    assert_eq!(firing(), 0, "nothing reads ALERTS here");
    assert!(home.figure("plimsoll_recorder_failing") == 0.0, "{}", home.get("/metrics"));
    process.signal("TERM");
    assert!(process.wait(20).success());

    let got = replayed(&home);
    let want = [("High", true), ("Seen", false)].map(|(name, ended)| (name.to_owned(), ended));
    let sorted: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!(sorted, BTreeSet::from(want), "{got:?}");
    assert_eq!(got.len(), 2, "each once: {got:?}");
    for file in files(&home.path().join("recordings")) {
        let group = Group::read(std::fs::File::open(&file).expect("opens")).expect("whole");
        let text = String::from_utf8(group.page(0)).expect("text");
        assert!(!text.contains("nobody_reads_this"), "only what rules read: {text}");
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let listed = std::fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path());
    let (folders, plain): (Vec<_>, Vec<_>) = listed.partition(|path| path.is_dir());
    let groups = plain.into_iter().filter(|path| path.to_string_lossy().ends_with(".scrapes.gz"));
    groups.chain(folders.iter().flat_map(|folder| files(folder))).collect()
}

#[test]
fn a_recorder_that_cannot_write_delays_and_stops_nothing() {
    let target = Page::new(&page(50));
    let plan = Plan {
        rules: RULES.to_owned(),
        more: "recorder: {path: taken/recordings}\n".to_owned(),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    home.write("taken", "a file, where a folder would have to be");
    let _process = home.start();
    home.wait_for_log("nothing is recorded", 20);
    wait_until("it is counted", 20, || home.figure("plimsoll_recorder_failing") == 1.0);
    target.set(&page(95));
    wait_for("and alerts flow", 20, || {
        home.get("/api/v1/alerts").contains("\"state\":\"firing\"").then_some(())
    });
}

/// What cAdvisor shows of a container and any shipped rule reads, with values that move as real ones
/// do: counters grow unevenly, memory wanders in pages, limits stand still.
fn write_container(page: &mut String, number: u64, second: u64, at_ms: i64) {
    let mut dice = Dice(number * 1_000_003 + second);
    let who = format!(
        "container_label_prego_plan=\"pro\",container_label_prego_tenant=\"tenant-{number:02}\",\
         id=\"/docker/{number:02}393101f15c8ca37aba604caf2a6ef40a17a2bcb3a06d023778f46a1a6d87d1\",\
         image=\"prego/app:1.0\",name=\"tenant-{number:02}-app\""
    );
    // cAdvisor looks at each container about once a second, at a time of its own.
    let own = at_ms - dice.upto(1000) as i64;
    let busy = second * 37 + number;
    let mut line = |name: &str, more: &str, value: f64, stamped: bool| {
        let time = if stamped { format!(" {own}") } else { String::new() };
        *page += &format!("{name}{{{more}{who}}} {value:e}{time}\n");
    };
    let pages = |dice: &mut Dice| ((60_000 + number * 400 + dice.upto(900)) * 4096) as f64;
    line("container_memory_usage_bytes", "", pages(&mut dice), true);
    line("container_memory_working_set_bytes", "", pages(&mut dice), true);
    line("container_memory_rss", "", pages(&mut dice), true);
    line("container_memory_cache", "", pages(&mut dice), true);
    for (name, rate) in [
        ("container_cpu_usage_seconds_total", 0.4),
        ("container_cpu_user_seconds_total", 0.3),
        ("container_cpu_cfs_throttled_seconds_total", 0.05),
        ("container_pressure_cpu_waiting_seconds_total", 0.02),
    ] {
        let noise = dice.upto(1_000_000_000) as f64 / 1e9;
        line(name, "", (busy as f64 + noise) * rate, true);
    }
    line("container_cpu_cfs_periods_total", "", (second * 10 + number) as f64, true);
    line("container_cpu_cfs_throttled_periods_total", "", (second + dice.upto(3)) as f64, true);
    line("container_oom_events_total", "", 0.0, true);
    line("container_last_seen", "", (at_ms / 1000) as f64, true);
    line("container_start_time_seconds", "", 1.795e9, false);
    line("container_spec_memory_limit_bytes", "", 2_147_483_648.0, false);
    line("container_spec_memory_reservation_limit_bytes", "", 1_073_741_824.0, false);
    line("container_spec_memory_swap_limit_bytes", "", 2_147_483_648.0, false);
    line("container_spec_cpu_quota", "", 150_000.0, false);
    line("container_spec_cpu_period", "", 100_000.0, false);
}

struct Dice(u64);

impl Dice {
    fn upto(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn a_day_of_fifty_containers_fits_into_two_hundred_megabytes() {
    let mut problems = Problems::default();
    let config =
        Config::read("c.yml", "trust_labels: true\ncollector: {}\n", Path::new(""), &mut problems);
    let selection = engine_setup(&config.expect("reads"), "web-7").selection();
    let mut group = GroupWriter::default();
    let mut sample = (Vec::new(), 0);
    for scrape in 0..60 {
        let at_ms = 1_795_312_800_000 + scrape * 5000;
        let mut page = String::new();
        for number in 0..50 {
            write_container(&mut page, number, scrape as u64 * 5, at_ms);
        }
        group.add_page(Timestamp(at_ms), page.as_bytes(), &selection);
        sample = (page.into_bytes(), scrape as usize);
    }
    let file = group.finish().expect("in memory");
    let read = Group::read(&file[..]).expect("whole").page(sample.1);
    let kept = read.iter().filter(|byte| **byte == b'\n').count();
    assert!(kept >= 50 * 12, "{kept} samples of a scrape were kept");
    assert!(
        read.split(|b| *b == b'\n').all(|line| {
            line.is_empty() || sample.0.windows(line.len()).any(|part| part == line)
        })
    );
    let day_bytes = file.len() as u64 * 288;
    let report = format!("{} bytes in 5 minutes, {} MB a day", file.len(), day_bytes / 1_000_000);
    println!("{report}");
    assert!(day_bytes <= 200_000_000, "{report}");
}
