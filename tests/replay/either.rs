//! Every shipped rule over the same host by either source: by the recorded scrapes of cAdvisor, and by the
//! collector over what the cgroup files held right after each of them.
//!
//! What they tell of is the same but for what only one of them can have seen, which is named here.

use std::collections::BTreeSet;

use plimsoll::promql::{ParseOptions, QueryTimes, reach};
use plimsoll::rules;

use super::*;

/// An alert fires by the other source so much sooner or later at most: cAdvisor looked every 5 to 10 s at
/// containers that did something, its samples are as old, and rules run every 5 s.
const APART: Duration = Duration::from_secs(15);
/// A line needs two of its samples, or three: what predicts is so much later by them.
const LINES_APART: Duration = Duration::from_secs(30);

/// An alert of a container, and how many seconds after the first command of the recording it fired.
type Told = (String, String, u64);

fn told(alert: &str, name: &str, at: u64) -> Told {
    (alert.to_owned(), name.to_owned(), at)
}

/// The first command of the recording.
const T0: Timestamp = Timestamp(1_795_312_441_005);

/// The recorded host by cAdvisor and by the collector, over before it is returned.
fn by_each(percent: u32, with_docker: bool) -> [Driver; 2] {
    let events = happenings(&data("trim/docker-events.jsonl"));
    let setup = || cast::recorded_host(percent);
    [scraped("trim", setup()), collected::driver(setup())].map(|(mut driver, end)| {
        for event in events.iter().filter(|_| with_docker) {
            driver.expect(event.at(), Event::Docker(Report::Happened(event.clone())));
        }
        driver.run(INTERVAL, end);
        assert_eq!(driver.troubles(), Vec::<&Fact>::new());
        driver
    })
}

/// What one source told of and the other did not, at about the time.
fn alone(these: &Driver, those: &Driver) -> Vec<Told> {
    let alert = |(_, fact): &(Timestamp, Fact)| match fact {
        Fact::AlertFiring { labels, .. } => labels.get("alertname").map(str::to_owned),
        _ => None,
    };
    let alerts: BTreeSet<String> = these.facts.iter().filter_map(alert).collect();
    let mut alone = Vec::new();
    for alert in alerts {
        let apart = if alert == "TenantMemoryExhaustionSoon" { LINES_APART } else { APART };
        let others = those.episodes(&alert, "name");
        for this in these.episodes(&alert, "name") {
            let is_it = |other: &&Episode| {
                let is_over = other.to.is_some_and(|to| to + apart < this.from);
                other.of == this.of && other.from - apart <= this.from && !is_over
            };
            if !others.iter().any(|other| is_it(&other)) {
                alone.push(told(&alert, &this.of, this.from.since(T0).as_secs()));
            }
        }
    }
    alone
}

#[test]
fn every_shipped_rule_tells_of_the_same_containers_by_either_source() {
    for (percent, with_docker) in [(100, true), (10, true), (100, false)] {
        let [theirs, ours] = by_each(percent, with_docker);
        // Its kills at 375 s and 934 s: cAdvisor took no sample while it climbed.
        let unseen = [350, 905].map(|at| told("TenantMemoryExhaustionSoon", "globex-forker", at));
        assert_eq!(alone(&ours, &theirs), unseen, "{percent} %, Docker is heard: {with_docker}");
        // Its first process is killed, and its cgroup goes with it, and the kernel's count of kills in that.
        // cAdvisor reads the kernel's log; here Docker tells of it.
        let killed = told("ContainerOomKilled", "acme-worker", 105);
        let unheard: Vec<Told> = [killed].into_iter().filter(|_| !with_docker).collect();
        assert_eq!(alone(&theirs, &ours), unheard, "{percent} %, Docker is heard: {with_docker}");
    }
}

/// What Grafana asks with every tenant selected.
fn panels() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards/plimsoll.json");
    let text = std::fs::read_to_string(path).expect("the dashboard is part of the tree");
    let board: Value = serde_json::from_str(&text).expect("is JSON");
    let panels = board["panels"].as_array().expect("has panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|t| t["expr"].as_str().expect("a query").replace("$tenant", ".*")).collect()
}

/// Every selector of rules and panels, and rules that make the engine keep what panels show.
fn selectors(files: &mut Vec<(String, String)>) -> BTreeSet<String> {
    let rule = |(n, panel)| serde_json::json!({"record": format!("panel:{n}"), "expr": panel});
    let rules: Vec<Value> = panels().into_iter().enumerate().map(rule).collect();
    let group = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]});
    files.push(("panels.yml".to_owned(), group.to_string()));
    let (groups, problems) = rules::load(files, &ParseOptions::default());
    assert!(!problems.has_errors(), "{problems}");
    let rules = groups.iter().flat_map(|group| &group.rules);
    let found = rules.flat_map(|rule| reach(&rule.expr, QueryTimes::default()));
    found.map(|reach| reach.selector.text().to_owned()).collect()
}

/// A moment at which nobody comes, goes or is killed, so that both show the same containers.
const QUIET: Duration = Duration::from_secs(350);

/// What was found of each selector: whether anything at any time, and how much in a quiet moment.
type Found = BTreeMap<String, (bool, Option<f64>)>;

fn found(selectors: &BTreeSet<String>, (mut driver, end): (Driver, Timestamp)) -> Found {
    let mut found = Found::new();
    let mut at = T0;
    while at < end {
        at = at + Duration::from_secs(70);
        driver.run(INTERVAL, at);
        for selector in selectors {
            let count = driver.query(&format!("count({selector})"));
            let (ever, quiet) = found.entry(selector.clone()).or_default();
            *ever |= count.is_some();
            if at == T0 + QUIET {
                *quiet = count;
            }
        }
    }
    found
}

#[test]
fn every_selector_finds_by_the_collector_what_it_finds_by_cadvisor() {
    let mut files = cast::shipped_rules(10);
    let selectors = selectors(&mut files);
    let setup = || cast::recorded_under(&files);
    let theirs = found(&selectors, scraped("trim", setup()));
    let ours = found(&selectors, collected::driver(setup()));
    let lacks = |these: &Found, those: &Found| -> Vec<String> {
        let lacks = |(selector, (ever, _)): &(&String, &(bool, _))| !ever && those[*selector].0;
        these.iter().filter(lacks).map(|(selector, _)| selector.clone()).collect()
    };
    // There is no pressure on cgroup v1: cAdvisor tells 0 for ever, and the collector nothing.
    let pressure = [
        "{__name__=\"container:cpu_waiting_ratio:5m\"}",
        "{__name__=\"container_pressure_cpu_waiting_seconds_total\",name!=\"\"}",
    ];
    assert_eq!(lacks(&ours, &theirs), pressure);
    // What is our own.
    let peak = "{__name__=\"plimsoll_container_memory_peak_bytes\",name!=\"\",tenant=~\".*\"}";
    assert_eq!(lacks(&theirs, &ours), [peak]);
    // And of as many containers.
    let mut compared = 0;
    for (selector, (_, theirs)) in &theirs {
        let is_of_source =
            ["container_", "machine_"].iter().any(|of| selector[11..].starts_with(of));
        if is_of_source && !pressure.contains(&selector.as_str()) {
            assert_eq!(ours[selector].1, *theirs, "{selector}");
            compared += usize::from(theirs.is_some());
        }
    }
    assert!(compared >= 22, "only {compared} of {} were compared", selectors.len());
}
