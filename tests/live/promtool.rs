//! `test rules` beside Debian's promtool: the same verdict on every shipped test file, and on each of them made to
//! fail in many ways.
//!
//! A mutation changes one place: the time of an expectation, a label of an expected alert, a number a rule compares
//! with. Most of them must fail; those that do not (nothing fires at either time) must pass in both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

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
        let run = |program: &str| -> Output {
            let mut command = Command::new(program);
            command.args(["test", "rules"]).arg(path("test.yml")).output().expect("runs")
        };
        let (theirs, ours) = (run("promtool"), run(env!("CARGO_BIN_EXE_plimsoll")));
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

/// `text` with the n-th of `count` evenly spread occurrences of `word` replaced by what `change` makes of the rest.
fn mutate(text: &str, word: &str, change: impl Fn(&str) -> String) -> Vec<String> {
    let places: Vec<usize> = text.match_indices(word).map(|(at, _)| at).collect();
    let step = places.len().div_ceil(OF_EACH_KIND).max(1);
    let changed = |at: &usize| format!("{}{}", &text[..*at], change(&text[*at..]));
    places.iter().step_by(step).map(changed).collect()
}

/// How many mutations failed, in both tools; panics where they differ.
fn compare(name: &str, case: &Case) -> usize {
    let (theirs, ours, words) = case.verdicts(&case.test, &case.rules);
    assert!(theirs && ours, "{name} as it is: {words}");
    let later = |rest: &str| rest.replacen("eval_time: ", "eval_time: 1", 1);
    let start = |rest: &str| {
        let end = rest.find([',', '\n']).expect("a time ends");
        format!("eval_time: 0s{}", &rest[end..])
    };
    let label = |rest: &str| rest.replacen("exp_labels: {", "exp_labels: {stranger: \"1\", ", 1);
    let note = |rest: &str| rest.replacen("summary: '", "summary: 'otherwise ", 1);
    let sample = |rest: &str| rest.replacen("values: '", "values: '_x7 ", 1);
    let tests = [
        mutate(&case.test, "eval_time: ", later),
        mutate(&case.test, "eval_time: ", start),
        mutate(&case.test, "exp_labels: {", label),
        mutate(&case.test, "summary: '", note),
        mutate(&case.test, "values: '", sample),
    ];
    let tests = tests.into_iter().flatten().map(|test| (test, case.rules.clone()));
    let threshold = |rest: &str| rest.replacen("> ", "> 1e18 + ", 1);
    let hold = |rest: &str| rest.replacen("for: ", "for: 1d", 1);
    let rules = [mutate(&case.rules, "> ", threshold), mutate(&case.rules, " for: ", hold)];
    let rules = rules.into_iter().flatten().map(|rules| (case.test.clone(), rules));
    let mut failed = 0;
    for (number, (test, rules)) in tests.chain(rules).enumerate() {
        let (theirs, ours, words) = case.verdicts(&test, &rules);
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
    let (theirs, ours, words) = case.verdicts(&case.test, &case.rules);
    assert!(theirs && !ours && words.contains("1 tests FAILED"), "the difference is gone: {words}");
    assert_eq!(case.test.matches(ON_THE_EDGE).count(), 1);
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
