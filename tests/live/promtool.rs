//! `test rules` beside Debian's promtool: the same verdict on every shipped test file, and on each of them made to
//! fail in many ways.
//!
//! A mutation changes one place: the time of an expectation, a label of an expected alert, a number a rule compares
//! with. Most of them must fail; those that do not (nothing fires at either time) must pass in both. As promtool takes
//! seconds for a shipped file, what is run is the one test of the file that the mutation is in, or the first that names
//! the rule it is in, with the groups of rules that this test needs.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::support::{BESIDE, an_incident};

/// Mutations of one kind that are tried on one file, evenly spread over it.
const OF_EACH_KIND: usize = 2;

/// Everything both tools agree on, in one test file.
const KITCHEN_RULES: &str = "groups:
- name: g
  interval: 7m
  rules:
  - {record: 'r:m', expr: sum(m)}
  - alert: High
    expr: m > 5
    for: 1m
    labels: {sev: '{{ $labels.a }}!'}
    annotations: {summary: 'at {{ $value }} of {{ $externalLabels.region }} {{ $externalURL }}'}
  - {alert: Sum, expr: 'r:m > 10', keep_firing_for: 2m}
";
const KITCHEN_TEST: &str = "rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'm{a=\"x\"}', values: '1+1x9 _x2 20 stale'}
  - {series: 'm{a=\"y\"}', values: '0x20'}
  - {series: 'down', values: '5-1x3 -1-0.5x2 1e1x1 _ 7'}
  - {series: 'twice', values: '1x20'}
  - {series: 'twice', values: '2x20'}
  external_labels: {region: sg}
  external_url: http://p
  alert_rule_test:
  - {eval_time: 4m59s, alertname: High}
  - {eval_time: 5m30s, alertname: High}
  - {eval_time: 6m, alertname: High, exp_alerts: [{exp_labels: {a: x, sev: x!}, exp_annotations: {summary: 'at 7 of sg http://p'}}]}
  - {eval_time: 6m59s, alertname: High, exp_alerts: [{exp_labels: {a: x, sev: x!}, exp_annotations: {summary: 'at 7 of sg http://p'}}]}
  - {eval_time: 9m, alertname: Sum}
  - {eval_time: 13m, alertname: Sum, exp_alerts: [{}]}
  - {eval_time: 14m, alertname: Sum, exp_alerts: [{}]}
  - {eval_time: 15m, alertname: Sum}
  - {eval_time: 3m, alertname: Unheard}
  promql_expr_test:
  - {eval_time: 2m, expr: 'm', exp_samples: [{labels: 'm{a=\"y\"}', value: 0}, {labels: 'm{a=\"x\"}', value: 3}]}
  - {eval_time: 2m, expr: 'r:m', exp_samples: [{labels: 'r:m', value: 3}]}
  - {eval_time: 2m, expr: '1 + 1', exp_samples: [{value: 2}]}
  - {eval_time: 2m, expr: 'count(nothing)'}
  - {eval_time: 2m, expr: '-1/0', exp_samples: [{value: -.inf}]}
  - {eval_time: 2m, expr: 'twice', exp_samples: [{labels: twice, value: 2}]}
  - {eval_time: 6m, expr: 'ALERTS{alertstate=\"firing\"}', exp_samples: [{labels: 'ALERTS{a=\"x\",alertname=\"High\",alertstate=\"firing\",sev=\"x!\"}', value: 1}]}
  - {eval_time: 2m30s, expr: 'timestamp(m{a=\"y\"})', exp_samples: [{labels: '{a=\"y\"}', value: 120}]}
  - {eval_time: 20m, expr: 'sum_over_time(down[19m30s])', exp_samples: [{labels: '{}', value: 31.5}]}
";

/// A test file and its rule file, both copied to where mutations do no harm.
struct Case {
    dir: TempDir,
    test: String,
    rules: String,
}

impl Case {
    fn new(test: String, rules: String) -> Case {
        Case { dir: tempfile::tempdir().expect("a folder"), test, rules }
    }

    /// Reads a test file that names one rule file.
    fn read(path: &Path) -> Case {
        let test = fs::read_to_string(path).expect("a test file");
        let line =
            test.lines().find(|line| line.starts_with("rule_files: [")).expect("names its rules");
        let name = line.trim_start_matches("rule_files: [").trim_end_matches(']');
        let rules =
            fs::read_to_string(path.parent().expect("has one").join(name)).expect("its rules");
        Case::new(test.replacen(line, "rule_files: [rules.yml]", 1), rules)
    }

    /// Whether each of the two tools passes these texts; plimsoll's words with it.
    fn verdicts(&self, test: &str, rules: &str) -> (bool, bool, String) {
        let path = |name: &str| self.dir.path().join(name);
        fs::write(path("rules.yml"), rules).expect("written");
        fs::write(path("test.yml"), test).expect("written");
        let start = |program: &str| -> Child {
            let mut command = Command::new(program);
            command.args(["test", "rules"]).arg(path("test.yml"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
        };
        let (theirs, ours) = (start("promtool"), start(env!("CARGO_BIN_EXE_plimsoll")));
        let ended = |child: Child| child.wait_with_output().expect("ends");
        let (theirs, ours) = (ended(theirs), ended(ours));
        let words = |output: &Output| {
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        };
        let both = format!("promtool: {}\nplimsoll: {}", words(&theirs), words(&ours));
        (theirs.status.success(), ours.status.success(), both)
    }
}

/// A few of these, evenly spread.
fn spread(all: Vec<usize>) -> impl Iterator<Item = usize> {
    let step = all.len().div_ceil(OF_EACH_KIND).max(1);
    all.into_iter().step_by(step)
}

/// `text` with what `change` makes of the rest from `at` on.
fn changed(text: &str, at: usize, change: impl Fn(&str) -> String) -> String {
    format!("{}{}", &text[..at], change(&text[at..]))
}

/// Where each item of the list under a key stands. What is before the first belongs to all of them.
fn items_of(text: &str, key: &str) -> Vec<Range<usize>> {
    let list = text.find(key).expect("a list") + key.len();
    let dash = text[list..].find("- ").expect("a first item") + 2;
    let opening = format!("\n{}", &text[list..list + dash]);
    let starts: Vec<usize> = text.match_indices(&opening).map(|(at, _)| at + 1).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Where each test of a test file stands.
fn tests_of(text: &str) -> Vec<Range<usize>> {
    items_of(text, "\ntests:\n")
}

/// The file with only this one of its tests.
fn only(text: &str, test: &Range<usize>) -> String {
    let head = tests_of(text)[0].start;
    text[..head].to_owned() + &text[test.clone()]
}

/// The name that starts here.
fn name_at(text: &str, start: usize) -> &str {
    let end = text[start..].find([',', '}', '\n', ' ']).expect("a name ends");
    text[start..start + end].trim_matches('\'')
}

/// The rule file with only those of its groups that a test needs: one of their rules stands in it, or in another such
/// group.
fn needed(rules: &str, test: &str) -> String {
    let groups = items_of(rules, "groups:\n");
    let mut wanted = test.to_owned();
    let mut kept: Vec<&Range<usize>> = Vec::new();
    let names = |group: &Range<usize>| {
        let keys =
            ["alert: ", "record: "].map(|key| (key.len(), rules[group.clone()].match_indices(key)));
        let starts = keys.into_iter().flat_map(|(length, at)| at.map(move |(at, _)| at + length));
        starts.map(|at| name_at(rules, group.start + at)).collect::<Vec<_>>()
    };
    while let Some(group) = groups.iter().find(|group| {
        !kept.contains(group) && names(group).iter().any(|name| wanted.contains(name))
    }) {
        wanted += &rules[group.clone()];
        kept.push(group);
    }
    kept.sort_by_key(|group| group.start);
    let groups: String = kept.into_iter().map(|group| &rules[group.clone()]).collect();
    format!("groups:\n{groups}")
}

/// The test file with one of `word` changed, cut to the test it stands in, for a few of them.
fn in_tests(case: &Case, word: &str, change: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let places = case.test.match_indices(word).map(|(at, _)| at).collect();
    let test = |at: usize| {
        let mutated = changed(&case.test, at, &change);
        let tests = tests_of(&mutated);
        let test = tests.iter().find(|test| test.contains(&at)).expect("stands in a test");
        (only(&mutated, test), case.rules.clone())
    };
    spread(places).map(test).collect()
}

/// The rules with one of `word` changed, and the first test that names the rule it stands in, for a few of the rules
/// that have one.
fn in_rules(case: &Case, word: &str, change: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let tests = tests_of(&case.test);
    let naming = |at: usize| {
        let before = &case.rules[..at];
        let starts = ["alert: ", "record: "].map(|key| before.rfind(key).map(|at| at + key.len()));
        let (start, line) = (starts.into_iter().max()??, before.rfind('\n')? + 1);
        let name = name_at(&case.rules, start);
        let is_comment = case.rules[line..].trim_start().starts_with('#');
        tests.iter().find(|test| !is_comment && case.test[(*test).clone()].contains(name))
    };
    let places = case.rules.match_indices(word).map(|(at, _)| at);
    let rules = |at: usize| {
        let test = only(&case.test, naming(at).expect("was found"));
        (test, changed(&case.rules, at, &change))
    };
    spread(places.filter(|at| naming(*at).is_some()).collect()).map(rules).collect()
}

/// How many mutations failed, in both tools; panics where they differ.
fn compare(name: &str, case: &Case) -> usize {
    let (theirs, ours, words) = case.verdicts(&case.test, &case.rules);
    assert!(theirs && ours, "{name} as it is: {words}");
    let later = |rest: &str| {
        // Later than the series of most tests last, and not by hours.
        let digit = "eval_time: ".len();
        format!("eval_time: 7{}", &rest[digit + 1..])
    };
    let start = |rest: &str| {
        let end = rest.find([',', '\n']).expect("a time ends");
        format!("eval_time: 0s{}", &rest[end..])
    };
    let label = |rest: &str| rest.replacen("exp_labels: {", "exp_labels: {stranger: \"1\", ", 1);
    let note = |rest: &str| rest.replacen("summary: '", "summary: 'otherwise ", 1);
    let sample = |rest: &str| rest.replacen("values: '", "values: '_x7 ", 1);
    let threshold = |rest: &str| rest.replacen("> ", "> 1e18 + ", 1);
    let hold = |rest: &str| rest.replacen("for: ", "for: 1d", 1);
    let mutations = [
        in_tests(case, "eval_time: ", later),
        in_tests(case, "eval_time: ", start),
        in_tests(case, "exp_labels: {", label),
        in_tests(case, "summary: '", note),
        in_tests(case, "values: '", sample),
        in_rules(case, "> ", threshold),
        in_rules(case, " for: ", hold),
    ];
    let mut failed = 0;
    for (number, (test, rules)) in mutations.into_iter().flatten().enumerate() {
        let (theirs, ours, words) = case.verdicts(&test, &needed(&rules, &test));
        assert_eq!(theirs, ours, "{name}, mutation {number}: {words}\n{test}");
        failed += usize::from(!ours);
    }
    failed
}

/// The one check whose verdict differs: a sample stands exactly at the left end of its 20 minutes. 2.42 counts it and
/// arrives at the number without extrapolation; left-open ranges do not, and arrive 1e-11 beside it.
const ON_THE_EDGE: &str =
    "{expr: 'm2:docs:increase20m', eval_time: 20m, exp_samples: [{labels: 'm2:docs:increase20m{";
/// The same check off the edge.
const OFF_THE_EDGE: &str =
    "{expr: 'round(m2:docs:increase20m)', eval_time: 20m, exp_samples: [{labels: '{";

/// The reference's tests, with what only an exact boundary decides moved off it.
fn domain_rules(root: &Path) -> Case {
    let case = Case::read(&root.join("../shared/rules-ref/domain-rules.test.yml"));
    let edges: Vec<usize> = case.test.match_indices(ON_THE_EDGE).map(|(at, _)| at).collect();
    let [edge] = edges[..] else { panic!("{} such checks", edges.len()) };
    let tests = tests_of(&case.test);
    let test = tests.iter().find(|test| test.contains(&edge)).expect("stands in a test");
    let (theirs, ours, words) = case.verdicts(&only(&case.test, test), &case.rules);
    assert!(theirs && !ours && words.contains("1 tests FAILED"), "the difference is gone: {words}");
    Case::new(case.test.replace(ON_THE_EDGE, OFF_THE_EDGE), case.rules)
}

#[test]
fn verdicts_are_promtools_on_shipped_tests_and_on_mutations_of_them() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("tests/rules"))
        .expect("shipped tests")
        .map(|entry| entry.expect("listed").path())
        .collect();
    files.sort();
    assert!(files.len() > 6, "{files:?}");
    let mut cases: Vec<(String, Case)> =
        files.iter().map(|path| (path.display().to_string(), Case::read(path))).collect();
    cases.push(("domain-rules.test.yml".to_owned(), domain_rules(&root)));
    for (name, case) in cases {
        let failed = compare(&name, &case);
        println!("{name}: {failed} mutations fail in both");
        assert!(failed > 3, "{name}: {failed} mutations failed");
    }
    let kitchen = Case::new(KITCHEN_TEST.to_owned(), KITCHEN_RULES.to_owned());
    assert!(compare("the kitchen", &kitchen) > 5);
}

/// A case made of a real incident means the same to promtool, also where ranges differ before Prometheus 3.
#[test]
fn an_exported_case_holds_in_promtool() {
    let (home, mut process, _target) = an_incident();
    let url = format!("http://{}", home.address());
    let run = |program: &str, words: &[&str]| -> Output {
        let mut command = Command::new(program);
        command.args(words).current_dir(home.path()).env("NO_COLOR", "1");
        command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
    };
    let export = |alert: &str, words: &[&str], name: &str| {
        let alert =
            ["case", "export", "--config", "plimsoll.yaml", "--alert", alert, "--out", name];
        let exported = run(env!("CARGO_BIN_EXE_plimsoll"), &[&alert[..], words].concat());
        assert!(exported.status.success(), "{exported:?}");
        String::from_utf8_lossy(&exported.stderr).into_owned()
    };
    let alerts = || std::iter::once("High").chain(BESIDE);
    let (live, recorded) =
        (|a: &str| format!("live-{a}.yml"), |a: &str| format!("recorded-{a}.yml"));
    let mut said = Vec::new();
    said.extend(alerts().map(|alert| (live(alert), export(alert, &["--url", &url], &live(alert)))));
    process.signal("TERM");
    assert!(process.wait(20).success());
    said.extend(alerts().map(|alert| (recorded(alert), export(alert, &[], &recorded(alert)))));
    let holds = |name: &str| run("promtool", &["test", "rules", name]);
    for (name, said) in &said {
        let text = fs::read_to_string(home.path().join(name)).expect("written");
        let tested = run(env!("CARGO_BIN_EXE_plimsoll"), &["test", "rules", name]);
        assert!(tested.status.success(), "{tested:?}\n{text}");
        let tested = holds(name);
        // What it says is another number there.
        let differs = name.contains("Counted");
        assert_eq!(tested.status.success(), !differs, "{name}: {tested:?}\n{text}");
        assert_eq!(said.contains("promtool before 3 "), differs, "{name}: {said}");
        assert_eq!(text.contains("promtool before 3 fails"), differs, "{name}: {text}");
    }
    let rules = fs::read_to_string(home.path().join("rules.yml")).expect("there");
    home.write("rules.yml", &rules.replace("> 0.9 ", "> 0.96 ").replace("bool 0.9", "bool 0.96"));
    for (name, _) in said.iter().filter(|(name, _)| !name.contains("Away")) {
        assert!(!holds(name).status.success(), "{name} can fail");
    }
}
