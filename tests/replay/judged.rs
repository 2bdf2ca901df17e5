//! Judgement over the recorded host: every threshold scaled to its sixteen minutes, each container
//! against what was truly done to it. Nobody carries restarts out in a recording, so those are
//! ineffective and the next rung follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plimsoll::app::config::Config;
use plimsoll::app::documents::Documents;
use plimsoll::app::replay::{Action, Hold, Kill, Recording, Report, replay};
use plimsoll::engine::Setup;
use plimsoll::outbox::WireTime;
use plimsoll::yaml::Problems;

use super::{cast, data, support};

/// Cool-downs, grace and verification in a fifteenth of their time, so that one restart at a time leaves
/// room for all; the plans of the recording are an eighth of the real ones, so their floor is too. The plan
/// of what the kernel kills is in the mapping, because only Docker knows the labels of a container that the
/// fused count is about, and its inventory was not recorded.
const CONFIG: &str = "
global: {scrape_interval: 5s, evaluation_interval: 5s}
host: web-7
trust_labels: true
scrape_configs: []
mode: act
actions:
  nudge: act
  restart_cool_down: 60s
  restarts_at_once: 1
  restarts_per_tenant_day: 2
  verify: {within: 40s, settle: 10s, relapse: 4m}
  start_grace: 10s
  after_change: 30s
  nudge_episodes: 1
  plan_floor: 64MiB
tenants:
  - {match: {name: 'acme-worker'}, tenant: acme, plan: free, role: worker}
  - {match: {name: 'globex-forker'}, tenant: globex, plan: pro, role: app}
  - match: {name: '(acme|globex|initech|cyberdyne|umbrella|stark|wayne|hooli|piper|aviato)-.*'}
    tenant: '$1'
    role: app
plans:
  free: {order: 1, mem_limit: 64MiB, mem_soft: 32MiB, cpu_limit: 0.0625}
  pro: {order: 2, mem_limit: 256MiB, mem_soft: 128MiB, cpu_limit: 0.1875}
  enterprise: {order: 3, mem_limit: 1GiB, mem_soft: 512MiB, cpu_limit: 0.5}
";

/// The replay, with the configuration as `text` has it.
fn judged(text: &str) -> Report {
    judged_by(text, cast::shipped_rules(10))
}

/// The same by these rules: file names and texts.
fn judged_by(text: &str, rules: Vec<(String, String)>) -> Report {
    let mut problems = Problems::default();
    let config = Config::read("plimsoll.yaml", text, Path::new("/"), &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    let config = config.expect("without errors there is a configuration");
    let recording = Recording::open(&data("trim"), Some("cadvisor")).expect("a recording");
    let text = text.to_owned();
    let setup = move || -> Setup { support::setup(&text, &rules) };
    replay(&recording, &config, &Documents::default(), setup, |_| {})
}

type ByContainer<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// What docs/judgement-table.md says of it, as of a scenario.
fn row(
    report: &Report,
    (touched, want): (&ByContainer<'_>, &ByContainer<'_>),
    needless: usize,
) -> String {
    let of = |all: &ByContainer<'_>, name: &str, kind: &str| {
        all.get(name).map_or(0, |kinds| kinds.iter().filter(|k| **k == kind).count())
    };
    let pairs = |all: &ByContainer<'_>| -> BTreeSet<(String, String)> {
        let each = all.iter().flat_map(|(name, kinds)| kinds.iter().map(move |k| (name, k)));
        each.map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
    };
    let (mut right, mut wrong, mut missed) = (0, needless, 0);
    for (name, kind) in pairs(touched).union(&pairs(want)) {
        let (came, due) = (of(touched, name, kind), of(want, name, kind));
        right += came.min(due);
        wrong += came.saturating_sub(due);
        missed += due.saturating_sub(came);
    }
    let warned: Vec<f64> = report.kills.iter().filter_map(|kill| kill.warned_seconds).collect();
    let lead = warned.iter().copied().fold(f64::MAX, f64::min);
    let (warned, kills) = (warned.len(), report.kills.len());
    format!(
        "Beside them stands the recorded host of `tests/replay/judged.rs`: sixteen minutes of a real cAdvisor, every threshold\n\
         scaled to them; `.ci/run live` replays it, and says what is in this line. {right} right actions, {wrong} wrong, {missed} missed;\n\
         {warned} of {kills} kills were warned of, at the latest {lead:.0} s before.\n"
    )
}

/// What was found must be what the table has; `UPDATE_GOLDEN=1` writes it anew.
fn tell(row: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/judged.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, row).expect("can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, row, "tests/replay/judged.md is old: run with UPDATE_GOLDEN=1");
}

#[test]
fn every_container_gets_what_it_needs_and_no_more() {
    let report = judged(CONFIG);
    assert_eq!(report.problems, Vec::<String>::new());
    // By container: what was asked for, apart from advice.
    let mut touched: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut advised: Vec<&str> = Vec::new();
    for action in &report.actions {
        let name = action.labels.get("name").unwrap_or_default();
        match action.action.as_str() {
            "advise" => advised.push(name),
            kind => touched.entry(name).or_default().push(kind),
        }
    }
    let want = BTreeMap::from([
        // Its working set passes 90 % and stays.
        ("acme-api", vec!["restart"]),
        // The kernel kills it every 103 s: a restart does not help, a bigger plan is suggested.
        ("acme-worker", vec!["restart", "nudge"]),
        // The same by a child that grows, under pro.
        ("globex-forker", vec!["restart", "nudge"]),
        // Throttled in every period with its quota used up.
        ("initech-cruncher", vec!["nudge"]),
    ]);
    let quiet = ["piper-cache", "legacy-cron", "umbrella-idle", "stark-web", "wayne-app"];
    tell(&row(
        &report,
        (&touched, &want),
        advised.iter().filter(|name| quiet.contains(name)).count(),
    ));
    assert_eq!(touched, want, "{:#?}", report.actions);
    assert!(advised.contains(&"cyberdyne-svc"), "{advised:?}");
    for quiet in quiet {
        assert!(!advised.contains(&quiet), "{quiet}: {advised:?}");
    }
    // What truly happened stands beside it.
    let kills = |name: &'static str| -> Vec<&Kill> {
        report.kills.iter().filter(|k| k.name == name).collect()
    };
    assert_eq!((kills("acme-worker").len(), kills("globex-forker").len()), (9, 7));
    for kill in kills("acme-worker") {
        assert!(kill.warned_seconds >= Some(20.0), "{kill:?}");
    }
}

#[test]
fn who_is_killed_again_and_again_is_spoken_to_once_the_restarts_of_the_day_are_spent() {
    // What was asked for of the worker, at which time.
    let asked = |a_day: &str| -> Vec<(String, WireTime)> {
        let actions = judged(&CONFIG.replace("tenant_day: 2", a_day)).actions.into_iter();
        let about = actions.filter(|a| a.labels.get("name") == Some("acme-worker"));
        about.filter(|a| a.action != "advise").map(|a| (a.action, a.at)).collect()
    };
    // Nobody carries a restart out in a recording, so the first of a day is also the last: with none left
    // there is no verdict to wait for, and the customer is spoken to when the restart would have been.
    let (left, spent) = (asked("tenant_day: 1"), asked("tenant_day: 0"));
    let kinds =
        |all: &[(String, WireTime)]| all.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
    assert_eq!(
        (kinds(&left), kinds(&spent)),
        (vec!["restart".into(), "nudge".into()], vec!["nudge".into()])
    );
    assert_eq!(left[0].1, spent[0].1);
}

#[test]
fn a_tenant_whose_restart_of_the_day_is_spent_on_one_container_gets_none_for_another() {
    let one_a_day = CONFIG.replace("tenant_day: 2", "tenant_day: 1");
    // What is done first about the tenant's second alert, and when.
    let second = |report: &Report| -> Option<(String, WireTime)> {
        let about = |a: &&Action| a.subject == "acme/app" && a.alert == "TenantMemoryWillOom";
        report.actions.iter().find(about).map(|a| (a.action.clone(), a.at))
    };
    let (two, one) = (judged(CONFIG), judged(&one_a_day));
    let (kind, at) = second(&two).expect("with two a day it is restarted");
    assert_eq!(kind, "restart");
    assert_eq!(second(&one), Some(("advise".to_owned(), at)), "a person is told in its place");
    let acme = &one.tenants["acme"];
    assert_eq!((acme.restarts_day, acme.restarts_day_limit), (1, 1));
    // A rule that leaves no choice is held.
    let by =
        |(name, text): (String, String)| (name, text.replace("action: decide", "action: restart"));
    let held = judged_by(&one_a_day, cast::shipped_rules(10).into_iter().map(by).collect());
    assert_eq!(second(&held), None);
    let is_it = |hold: &Hold| hold.subject == "acme/app" && hold.reason == "tenant_budget";
    assert!(held.holds.iter().any(|(hold, _)| is_it(hold)), "{:?}", held.holds);
}
