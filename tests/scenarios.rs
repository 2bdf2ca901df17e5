//! Scenario files (docs/scenarios.md) under the real engine and the shipped rules, in virtual time:
//! each says what happens on a host and what must and must not be done. `PLIMSOLL_SCENARIO_DIR` runs
//! the files of another folder; `UPDATE_GOLDEN=1` writes docs/judgement-table.md, and its totals into
//! docs/judgement.md.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plimsoll::app::capture::PageReader;
use plimsoll::app::config::owners::{Read, plans_document, tenants_document};
use plimsoll::app::replay::{Coverage, Report, World};
use plimsoll::base::{Labels, Timestamp, format_duration};
use plimsoll::containers::{ContainerId, Happening as Docker, Report as Told, What};
use plimsoll::engine::{Event, Setup, Switches, Told as Said};
use plimsoll::policy::HoldReason;

#[path = "scenarios/file.rs"]
mod file;
#[path = "scenarios/host.rs"]
mod host;
#[path = "scenarios/shape.rs"]
mod shape;
#[expect(dead_code, reason = "pages are read by the replay's own reader")]
#[path = "support/mod.rs"]
mod support;
#[path = "scenarios/verdict.rs"]
mod verdict;

use file::{Happening, Scenario};
use host::{EPOCH, Host};
use verdict::Verdict;

/// What `tests/replay/judged.rs` found of the recorded host.
const RECORDED: &str = include_str!("replay/judged.md");
/// What stands before and behind the totals in docs/judgement.md.
const MARKS: [&str; 2] = ["<!-- totals, by tests/scenarios.rs -->", "<!-- end of totals -->"];
/// How many scenarios the tree has at least.
const LEAST: usize = 40;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The engine's setup of a scenario, by this text of its configuration.
fn setup(scenario: &Scenario, config: &str) -> Setup {
    let mut rules = Vec::new();
    for name in ["containers", "m2", "plimsoll"].iter().filter(|_| !scenario.rules_alone) {
        let path = format!("rules/{name}.yml");
        rules.push((path.clone(), std::fs::read_to_string(root(&path)).expect("shipped rules")));
    }
    if !scenario.rules.is_empty() {
        rules.push(("scenario.yml".to_owned(), scenario.rules.clone()));
    }
    let mut setup = support::setup(&host::config(scenario, config), &rules);
    // Not those of the machine that runs the test.
    let cgroup = [("__name__", "plimsoll_host_cgroup_version"), ("host", "web-7")];
    setup.constants = vec![(Labels::from_pairs(cgroup), 2.0)];
    setup
}

/// Lives through a scenario.
fn run(scenario: Scenario) -> Verdict {
    let scenario = Rc::new(scenario);
    let of = Rc::clone(&scenario);
    let limits = setup(&scenario, &scenario.config).policy.limits;
    let begin = move || setup(&of, &of.config);
    let mut world = World::new(begin, EPOCH, Host::new(Rc::clone(&scenario)));
    for (job, more) in host::targets(&scenario) {
        let text = |(name, value): &(String, String)| (name.clone(), value.clone());
        let own = [("job", job), ("instance", "127.0.0.1:8080")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels = Labels::from_pairs(own.into_iter().chain(more.iter().map(text)));
        world.add_target(PageReader::new(labels), scenario.interval);
    }
    let mut switches = Switches::default();
    for (at, what) in &scenario.events {
        match what {
            Happening::Docker { name, what, exit_code } => {
                world.at(*at, Event::Docker(Told::Happened(docker(name, what, *exit_code, *at))));
            }
            Happening::Kill(on) => {
                switches.kill = *on;
                world.at(*at, Event::Switches(switches.clone()));
            }
            Happening::Busy(services) => {
                switches.busy = services.iter().cloned().collect();
                world.at(*at, Event::Switches(switches.clone()));
            }
            Happening::Clock(seconds) => world.step_clock(*at, seconds * 1000),
            Happening::Crash(down) => world.kill(*at, *at + *down),
            Happening::Disk(works) => world.disk(*at, *works),
            Happening::Reload(config) => {
                let setup = Box::new(setup(&scenario, config));
                world.at(*at, Event::Reload { setup, switches: switches.clone() });
            }
            Happening::Document { of_tenants, text } => {
                world.at(*at, document(*of_tenants, text.clone()));
            }
            _ => {}
        }
    }
    world.run(scenario.lasts, |_| {});
    let report = Report::of(&world, &limits, &Coverage::whole(scenario.lasts));
    verdict::judge(&scenario, &world, &report)
}

/// What the application makes of a document: all of it, or the reason why not.
fn document(of_tenants: bool, text: Result<String, String>) -> Event {
    match of_tenants {
        true => Event::Tenants(told(text.and_then(|text| tenants_document("tenants.yml", &text)))),
        false => Event::Plans(told(text.and_then(|text| plans_document("plans.yml", &text)))),
    }
}

fn told<T>(read: Read<T>) -> Said<T> {
    read.map_or_else(Said::Refused, |(value, _)| Said::Read(value))
}

fn docker(name: &str, what: &str, exit_code: i64, at: Duration) -> Docker {
    let what = match what {
        "start" => What::Start,
        "oom" => What::Oom,
        "die" => What::Die { exit_code },
        "kill" => What::Kill { signal: 15 },
        "stop" => What::Stop,
        "restart" => What::Restart,
        "destroy" => What::Destroy,
        _ => What::Create,
    };
    let id = ContainerId::new(&host::id_of(name, 1)).expect("64 digits");
    let at_nanos = (EPOCH + at).0 * 1_000_000;
    Docker { id, name: name.to_owned(), at_nanos, what }
}

/// The scenario files of a folder, in order.
fn files(folder: &Path) -> Vec<(String, String)> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = listing.map(|entry| entry.expect("can be listed").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "yml")).collect();
    paths.sort();
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("can be read");
    paths.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

type Judged = (String, Result<Verdict, String>);

/// One file's scenario: its name and title, and its verdict.
fn judge((name, text): &(String, String)) -> Judged {
    match file::load(name, text) {
        Ok(scenario) => {
            let title = format!("{name}\n{}", scenario.title);
            // What is wrong in its `rules`, or names no container, is its own fault alone.
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(scenario)));
            let why = |panic: Box<dyn std::any::Any + Send>| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                format!("{name}: it cannot be run: {}", text.unwrap_or("no reason is given"))
            };
            (title, ran.map_err(why))
        }
        Err(error) => (name.clone(), Err(error)),
    }
}

/// Every scenario, a few at a time, in the order of their files.
fn run_all(files: &[(String, String)]) -> Vec<Judged> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let judged = judge(file);
            done.lock().expect("no thread panics with it").push(judged);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no thread panicked");
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done
}

/// The table of docs/judgement-table.md.
fn table(all: &[Judged]) -> String {
    let mut text = String::from(
        "# Judgement over all scenarios\n\nMade by `tests/scenarios.rs` (`UPDATE_GOLDEN=1 cargo test --test scenarios`) \
         from the files in `tests/scenarios/`, whose\nformat is in [scenarios.md](scenarios.md). Right: actions \
         that a scenario demands and that came. Wrong: actions that happen today and\nthat its author holds to be \
         wrong (`wrong: true`), and those that no entry mentions, advice too. Missed: what a scenario\ndemands and did \
         not come. Lead: from the first alert above `info` to the OOM kill that came, or that would have come if\nnothing \
         had been done; the least of the containers.\n\nWhat no entry mentions, and what is missed, fails the test, \
         and stands in the table all the same. So it tells how\nmuch is demanded and what is known to be wrong, by the \
         judgement of those who wrote the scenarios; it is no measurement on hosts of others.\n\n\
         | scenario | what happens | right | wrong | missed | lead |\n|---|---|---|---|---|---|\n",
    );
    for (name, verdict) in all {
        let Ok(verdict) = verdict else { continue };
        let (path, title) = name.split_once('\n').unwrap_or((name, ""));
        let file = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        let lead = verdict.lead.map_or("–".to_owned(), format_duration);
        let Verdict { right, wrong, missed, .. } = verdict;
        writeln!(text, "| `{file}` | {title} | {right} | {wrong} | {missed} | {lead} |")
            .expect("a string");
    }
    text + "\n" + &totals(all)
}

/// The sums of the table, and what came of the recorded host.
fn totals(all: &[Judged]) -> String {
    let verdicts = || all.iter().filter_map(|(_, verdict)| verdict.as_ref().ok());
    let sum = |of: fn(&Verdict) -> usize| verdicts().map(of).sum::<usize>();
    let (right, wrong, missed) = (sum(|v| v.right), sum(|v| v.wrong), sum(|v| v.missed));
    let share = |part: usize, rest: usize| 100.0 * part as f64 / (part + rest).max(1) as f64;
    let wrong_advice = sum(|v| v.wrong_advice);
    format!(
        "{} scenarios: {right} right actions, {wrong} wrong, {missed} missed; precision {:.1} %, recall {:.1} %. Of those \
         that are\nwrong {wrong_advice} are advice, which touches nobody.\n\n{RECORDED}",
        all.len(),
        share(right, wrong),
        share(right, missed),
    )
}

/// The pages that tell of the scenarios, as they should be.
fn pages(all: &[Judged]) -> [(PathBuf, String); 2] {
    let judgement = root("docs/judgement.md");
    let page = std::fs::read_to_string(&judgement).expect("can be read");
    let page = between_marks(&page, &totals(all));
    [(root("docs/judgement-table.md"), table(all)), (judgement, page)]
}

/// A page with this between its marks.
fn between_marks(page: &str, text: &str) -> String {
    let (before, rest) = page.split_once(MARKS[0]).expect("a mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("a mark");
    [before, MARKS[0], "\n", text, MARKS[1], after].concat()
}

/// What failed; advice that no entry mentions, too, if that `counts`.
fn failures(all: &[Judged], advice_counts: bool) -> Vec<String> {
    let told = |(name, verdict): &Judged| {
        let name = name.replace('\n', ": ");
        match verdict {
            Err(error) => vec![error.clone()],
            Ok(verdict) => {
                let advice = verdict.advice.iter().filter(|_| advice_counts);
                let failures = verdict.failures.iter().chain(advice);
                failures.map(|why| format!("{name}\n    {why}")).collect()
            }
        }
    };
    all.iter().flat_map(told).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test asks its environment which files to run")]
fn every_scenario_does_what_it_says() {
    let other = std::env::var("PLIMSOLL_SCENARIO_DIR").ok();
    let folder = other.as_ref().map_or(root("tests/scenarios"), PathBuf::from);
    let files = files(&folder);
    assert!(!files.is_empty(), "{}: no scenario in it", folder.display());
    let all = run_all(&files);
    let failures = failures(&all, other.is_none());
    let pages = pages(&all);
    if other.is_some() {
        println!("{}", table(&all));
    } else if std::env::var_os("UPDATE_GOLDEN").is_some() {
        // Also where something failed: what is missed is not hidden by an older table.
        pages.iter().for_each(|(path, page)| std::fs::write(path, page).expect("can be written"));
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    if other.is_some() {
        return;
    }
    assert!(files.len() >= LEAST, "{} scenarios", files.len());
    for (path, page) in pages {
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, page, "{} is old: run with UPDATE_GOLDEN=1", path.display());
    }
}

/// Reasons that no scenario demands as a hold, and why not.
const NOT_DEMANDED: [(&str, &str); 3] = [
    ("none_asked", "a rule that asks for nothing is judged by nobody, so nothing is told as held"),
    ("offer_outdated", "a nudge that waits is withdrawn for it: `waiting-plan-gone`"),
    ("observe", "only what waits while the mode is lowered is withdrawn for it: `waiting-observe`"),
];

#[test]
fn every_reason_to_hold_is_demanded_by_a_scenario_or_says_why_not() {
    let loaded = files(&root("tests/scenarios"));
    let loaded = loaded.iter().map(|(name, text)| file::load(name, text));
    let scenarios: Vec<Scenario> = loaded.map(|s| s.unwrap_or_else(|e| panic!("{e}"))).collect();
    let wants = scenarios.iter().flat_map(|scenario| &scenario.expect.holds);
    let demanded: BTreeSet<&str> =
        wants.filter(|want| want.times.0 > 0).map(|want| want.what.as_str()).collect();
    let known: BTreeSet<&str> = HoldReason::all().map(HoldReason::name).collect();
    let excused: BTreeSet<&str> = NOT_DEMANDED.iter().map(|(name, _)| *name).collect();
    let named: BTreeSet<&str> = demanded.union(&excused).copied().collect();
    assert_eq!(named, known, "left: demanded or excused, right: reasons there are");
    let both: Vec<_> = demanded.intersection(&excused).collect();
    assert!(both.is_empty(), "demanded, so not to be excused: {both:?}");
}

/// A leak that is restarted once, of which this is expected.
fn leak(expect: &str) -> Verdict {
    leak_of("app", expect)
}

/// A leak of a container in a role, of which this is expected.
fn leak_of(role: &str, expect: &str) -> Verdict {
    let text = format!(
        "scenario: x\nlasts: 40m\ncontainers:\n  acme-{role}:\n    working_set: ['0.5..1 over 30m']\n    \
         after_restart: 0.3\nexpect: {expect}\n"
    );
    run(file::load("x.yml", &text).unwrap_or_else(|e| panic!("{e}")))
}

#[test]
fn what_is_missed_or_unexpected_fails_and_lowers_the_figures() {
    let told = |verdict: Verdict| {
        let all = [("x.yml\nx".to_owned(), Ok(verdict))];
        (failures(&all, true).len(), table(&all))
    };
    let with = |actions: &str| {
        told(leak(&format!("{{alerts: [{{alert: TenantMemoryWillOom}}], actions: [{actions}]}}")))
    };
    for (actions, failures, figures) in [
        (
            "{action: restart}",
            0,
            "1 right actions, 0 wrong, 0 missed; precision 100.0 %, recall 100.0 %",
        ),
        (
            "{action: restart}, {action: nudge}",
            1,
            "1 right actions, 0 wrong, 1 missed; precision 100.0 %, recall 50.0 %",
        ),
        ("", 1, "0 right actions, 1 wrong, 0 missed; precision 0.0 %, recall 0.0 %"),
    ] {
        let (failed, table) = with(actions);
        assert_eq!(failed, failures, "{actions}");
        assert!(table.contains(figures), "{actions}: {table}");
    }
}

/// A database is not restarted; that a person is warned and then asked to look is a decision, too.
#[test]
fn advice_that_nobody_expected_fails_and_lowers_the_precision() {
    let alert = "alerts: [{alert: TenantMemoryWillOom}]";
    let unexpected = leak_of("db", &format!("{{{alert}}}"));
    let said = unexpected.advice.join("\n");
    assert_eq!(unexpected.failures, Vec::<String>::new(), "it fails the files here alone");
    assert!(said.contains("nobody expected advise acme/db for TenantMemoryWillOom"), "{said}");
    assert_eq!((unexpected.right, unexpected.wrong, unexpected.missed), (0, 2, 0));
    assert_eq!((unexpected.wrong_advice, leak("{}").wrong_advice), (2, 0), "a restart is none");
    let expected = leak_of("db", &format!("{{{alert}, actions: [{{action: advise, times: 2}}]}}"));
    assert_eq!(expected.failures, Vec::<String>::new());
    assert_eq!((expected.right, expected.wrong, expected.missed), (2, 0, 0));
}

/// The same, told wrongly in each of these ways.
#[test]
fn what_is_expected_wrongly_is_seen() {
    let scenario = |expect: &str| leak(expect).failures.join("\n");
    let alert = "alerts: [{alert: TenantMemoryWillOom}]";
    assert_eq!(scenario(&format!("{{{alert}, actions: [{{action: restart, times: 1}}]}}")), "");
    for (expect, why) in [
        (format!("{{{alert}}}"), "nobody expected restart acme/app"),
        ("{actions: [{action: restart}]}".to_owned(), "nobody expected TenantMemoryWillOom"),
        (format!("{{{alert}, actions: [{{action: restart, times: 2}}]}}"), "1 times, not 2..2"),
        (format!("{{{alert}, actions: [{{action: restart, at: 1m}}]}}"), "not in 0s..2m"),
        (format!("{{{alert}, actions: [{{action: restart, of: {{tenant: b}}}}]}}"), "0 times"),
        (
            format!("{{{alert}, actions: [{{action: restart}}], holds: [{{reason: busy}}]}}"),
            "hold busy",
        ),
    ] {
        let said = scenario(&expect);
        assert!(said.contains(why), "{expect}: {said}");
    }
}

#[test]
fn what_cannot_be_run_is_told_with_its_file_and_costs_no_other() {
    let file = |name: &str, more: &str| {
        let text = format!("scenario: x\nlasts: 1m\n{more}expect: {{}}\n");
        (name.to_owned(), text)
    };
    let all = run_all(&[
        file("a.yml", "config: 'calendar: [{name: x}]'\n"),
        file("b.yml", "events: [{at: 10s, restart: nobody}]\ncontainers: {a-app: {}}\n"),
        file("c.yml", ""),
    ]);
    let failures = failures(&all, true).join("\n");
    assert!(failures.contains("a.yml:3:21: calendar[0]: `kind` is missing"), "{failures}");
    assert!(failures.contains("b.yml: it cannot be run: no container is called"), "{failures}");
    assert!(!failures.contains("c.yml"), "{failures}");
}

#[test]
fn the_wall_clock_begins_where_slots_do() {
    assert_eq!(EPOCH, Timestamp(EPOCH.0 / 60_000 * 60_000));
}
