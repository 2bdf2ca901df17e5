//! Test files by their verdicts, and what is said about the ones that fail.

use super::*;
use crate::promql::{Features, ParseOptions};
use crate::rules;

const RULES: &str = "groups:
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
  - {alert: Held, expr: 'ALERTS{alertname=\"High\",alertstate=\"pending\"}', labels: {alertname: x}}
";

/// Runs tests given as the entries of one test on `RULES`, every minute.
fn play(entries: &str) -> Vec<Ran> {
    let text = format!(
        "evaluation_interval: 1m\ntests:\n- input_series:\n  - {{series: 'm{{a=\"x\"}}', values: \
         '1+1x9 _x2 20 stale'}}\n  - {{series: 'm{{a=\"y\"}}', values: '0x20'}}\n  \
         external_labels: {{region: sg}}\n  external_url: http://p\n{entries}"
    );
    let (file, problems) = read("t.yml", &text, Features::default());
    assert!(problems.is_empty(), "{problems}");
    let (groups, problems) =
        rules::load(&[("r.yml".to_owned(), RULES.to_owned())], &ParseOptions::default());
    assert!(problems.is_empty(), "{problems}");
    run(&file.expect("reads"), &groups, &|_| true)
}

/// `line: difference` of every failure.
fn failures(entries: &str) -> Vec<String> {
    let shown = |entry: &Entry| format!("{}{:?}", entry.title(), entry.annotations);
    let difference = |difference: &Difference| match difference {
        Difference::Missing(entry) => format!("-{}", shown(entry)),
        Difference::Unexpected(entry) => format!("+{}", shown(entry)),
        Difference::Changed { expected, got } => format!("-{}+{}", shown(expected), shown(got)),
    };
    let all = play(entries).into_iter().flat_map(|ran| ran.failures);
    let said = |failure: Failure| {
        let differences = failure.differences.iter().map(difference);
        differences.chain(failure.notes).collect::<Vec<_>>().join(" ")
    };
    all.map(said).collect()
}

fn alert(time: &str, name: &str, alerts: &str) -> Vec<String> {
    failures(&format!(
        "  alert_rule_test:\n  - {{eval_time: {time}, alertname: {name}, exp_alerts: [{alerts}]}}\n"
    ))
}

fn sample(time: &str, expr: &str, samples: &str) -> Vec<String> {
    failures(&format!(
        "  promql_expr_test:\n  - {{eval_time: {time}, expr: '{expr}', exp_samples: [{samples}]}}\n"
    ))
}

#[test]
fn a_limit_counts_alerts_of_an_alerting_rule_and_series_of_a_recording_one() {
    let text = "tests: [{input_series: [{series: 'm{a=\"x\"}', values: 1}, {series: 'm{a=\"y\"}', \
                values: 1}], promql_expr_test: [{expr: m}]}]";
    let (file, _) = read("t.yml", text, Features::default());
    let file = file.expect("reads");
    for (rule, what) in [("alert: A", "alerts"), ("record: r", "series")] {
        let rules = format!("groups: [{{name: g, limit: 1, rules: [{{{rule}, expr: m}}]}}]");
        let (groups, _) = rules::load(&[("r.yml".to_owned(), rules)], &ParseOptions::default());
        let ran = run(&file, &groups, &|_| true);
        let failure = &ran[0].failures[0];
        let said = failure.notes.join(" ");
        assert!(said.contains(&format!("exceeded limit of 1 with 2 {what}")), "{said}");
    }
}

/// Values are compared exactly, so they are those of promtool 2.42 to the last bit.
#[test]
fn rates_and_logarithms_are_rounded_as_in_prometheus() {
    for (expr, labels, value) in [
        ("rate(m{a=\"x\"}[413s])", "{a=\"x\"}", "0.016666666666666663"),
        ("ln(vector(3))", "{}", "1.0986122886681096"),
        ("log10(vector(63))", "{}", "1.7993405494535817"),
    ] {
        let samples = format!("{{labels: '{labels}', value: {value}}}");
        assert_eq!(sample("7m30s", expr, &samples), Vec::<String>::new(), "{expr}");
    }
}

#[test]
fn what_holds_passes() {
    let high = "{exp_labels: {a: x, sev: x!}, exp_annotations: {summary: 'at 7 of sg http://p'}}";
    for (time, name, alerts) in [
        ("4m59s", "High", ""),
        // `for: 1m`: true since 5m.
        ("5m30s", "High", ""),
        ("6m", "High", high),
        ("6m59s", "High", high),
        ("9m", "Sum", ""),
        ("13m", "Sum", "{}"),
        ("14m", "Sum", "{}"),
        ("15m", "Sum", ""),
        ("4m", "Held", ""),
        ("3m", "Unheard", ""),
    ] {
        assert_eq!(alert(time, name, alerts), [""; 0], "{name} at {time}");
    }
    for (time, expr, samples) in [
        ("2m", "m", "{labels: 'm{a=\"y\"}', value: 0}, {labels: 'm{a=\"x\"}', value: 3}"),
        ("2m", "r:m", "{labels: 'r:m', value: 3}"),
        ("2m", "1 + 1", "{value: 2}"),
        ("2m", "count(nothing)", ""),
        ("2m", "0/0", "{value: .nan}"),
        ("2m", "-1/0", "{value: -.inf}"),
        (
            "6m",
            "ALERTS{alertstate=\"firing\"}",
            "{labels: 'ALERTS{a=\"x\",alertname=\"High\",alertstate=\"firing\",sev=\"x!\"}', value: 1}",
        ),
        // The default step is the evaluation interval; ranges are left-open.
        ("2m", "count_over_time(sum(m)[2m:])", "{value: 2}"),
        // Samples are there up to the last slot.
        ("2m30s", "timestamp(m{a=\"y\"})", "{labels: '{a=\"y\"}', value: 120}"),
    ] {
        assert_eq!(sample(time, expr, samples), [""; 0], "{expr} at {time}");
    }
}

#[test]
fn what_does_not_hold_is_paired_with_what_is_there() {
    let cases = [
        (
            alert("6m", "High", "{exp_labels: {a: x, sev: y}}"),
            "-{a=\"x\", alertname=\"High\", sev=\"y\"}{}+{a=\"x\", alertname=\"High\", \
             sev=\"x!\"}{summary=\"at 7 of sg http://p\"}",
        ),
        (
            alert("5m", "High", "{exp_labels: {a: x}}"),
            "-{a=\"x\", alertname=\"High\"}{} {a=\"x\", alertname=\"High\", sev=\"x!\"} is \
             pending: its condition has held for 0s",
        ),
        (alert("13m", "Sum", ""), "+{alertname=\"Sum\"}{}"),
        (sample("2m", "r:m", ""), "+r:m 3{}"),
        (sample("2m", "r:m", "{labels: 'r:m', value: 4}"), "-r:m 4{}+r:m 3{}"),
        (sample("2m", "r:m", "{labels: x, value: 4}"), "-x 4{} +r:m 3{}"),
        (sample("2m", "m[1m]", ""), "the result is neither a vector nor a number"),
    ];
    for (got, want) in cases {
        assert_eq!(got, [want]);
    }
    let entries = "  alert_rule_test:\n  - {eval_time: 6m, alertname: High}\n";
    let failure = &play(entries)[0].failures[0];
    let parts: Vec<_> = failure.parts.iter().map(|part| part.expr.as_str()).collect();
    assert_eq!(parts, ["m > 5", "m"], "the parts of the rule come with it");
}

/// Verdicts seen of promtool 2.42.
#[test]
fn what_is_expected_empty_differs_from_what_is_absent() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: m, labels: {l: '{{ $labels.none }}'}, \
                 annotations: {n: '{{ $labels.none }}'}}]}]";
    let (groups, _) =
        rules::load(&[("r.yml".to_owned(), rules.to_owned())], &ParseOptions::default());
    for (expected, holds) in [
        ("exp_annotations: {n: ''}", true),
        ("exp_labels: {l: ''}, exp_annotations: {n: ''}", false),
        ("exp_labels: {z: ''}, exp_annotations: {n: ''}", false),
        ("exp_labels: {}", false),
        ("exp_annotations: {n: '', o: ''}", false),
    ] {
        let text = format!(
            "tests: [{{input_series: [{{series: m, values: 1}}], alert_rule_test: [{{alertname: A, \
             exp_alerts: [{{{expected}}}]}}]}}]"
        );
        let (file, problems) = read("t.yml", &text, Features::default());
        assert!(!problems.has_errors(), "{problems}");
        let ran = run(&file.expect("reads"), &groups, &|_| true);
        assert_eq!(ran[0].failures.is_empty(), holds, "{expected}: {:?}", ran[0].failures);
    }
}

/// Verdicts seen of promtool 2.42.
#[test]
fn an_empty_label_of_a_sample_differs_where_no_name_stands_in_front() {
    for (labels, holds) in [
        ("m", true),
        ("m{a=\"\"}", true),
        ("{a=\"\",__name__=\"m\"}", false),
        ("{__name__=\"m\"}", true),
    ] {
        let text = format!(
            "tests: [{{input_series: [{{series: '{{__name__=\"m\",b=\"\"}}', values: 1}}], promql_expr_test: \
             [{{expr: m, exp_samples: [{{labels: '{labels}', value: 1}}]}}]}}]"
        );
        let (file, problems) = read("t.yml", &text, Features::default());
        assert_eq!((problems.has_errors(), problems.is_empty()), (false, holds), "{problems}");
        let ran = run(&file.expect("reads"), &[], &|_| true);
        assert_eq!(ran[0].failures.is_empty(), holds, "{labels}: {:?}", ran[0].failures);
    }
}

#[test]
fn an_alert_that_no_rule_has_is_warned_of() {
    let ran = play("  alert_rule_test:\n  - {eval_time: 3m, alertname: Hihg}\n");
    assert!(ran[0].failures.is_empty());
    assert_eq!(ran[0].warnings[0].1, "no rule has the alert `Hihg`");
}

#[test]
fn a_rule_that_fails_ends_the_test() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: 'm * on() m'}]}]".to_owned();
    let (groups, _) = rules::load(&[("r.yml".to_owned(), rules)], &ParseOptions::default());
    let text = "tests: [{input_series: [{series: 'm{a=\"1\"}', values: 1}, {series: 'm{a=\"2\"}', \
                values: 1}], promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]}]";
    let (file, problems) = read("t.yml", text, Features::default());
    assert!(problems.is_empty(), "{problems}");
    let ran = run(&file.expect("reads"), &groups, &|_| true);
    assert_eq!(ran[0].failures[0].kind, Kind::Rule("r.yml;g;r;0".to_owned()));
    assert!(ran[0].failures[0].notes[0].contains("many-to-many"));
    assert_eq!(ran[0].name, "test 1");
}

#[test]
fn fuzzy_and_start_are_known_and_values_are_exact_otherwise() {
    let cases = [
        ("", "0.3", 1),
        ("fuzzy_compare: true\n", "0.3", 0),
        ("fuzzy_compare: true\n", "0.30001", 1),
    ];
    for (head, value, failures) in cases {
        let text = format!(
            "{head}tests: [{{start_timestamp: '2026-11-22T02:00:00Z', input_series: [{{series: m, \
             values: 0.1+0.1x2}}], promql_expr_test: [{{expr: m, eval_time: 2m, exp_samples: \
             [{{labels: m, value: {value}}}]}}, {{expr: 'hour()', exp_samples: [{{value: 2}}]}}]}}]"
        );
        let (file, problems) = read("t.yml", &text, Features::default());
        assert!(problems.is_empty(), "{problems}");
        let ran = run(&file.expect("reads"), &[], &|_| true);
        assert_eq!(ran[0].failures.len(), failures, "{head}{value}: {:?}", ran[0].failures);
    }
}

#[test]
fn values_are_the_numbers_they_are_to_promtool() {
    for (written, want) in [
        ("15", Some("15")),
        ("017", Some("15")),
        ("-017", Some("-15")),
        ("0o17", Some("15")),
        ("0x3", Some("3")),
        ("-0X1f", Some("-31")),
        ("0b11", Some("3")),
        ("3_0", Some("30")),
        ("08", Some("8")),
        ("1_0.5e1_0", Some("105000000000")),
        (".5", Some("0.5")),
        ("+5.", Some("5")),
        ("18446744073709551616", Some("18446744073709552000")),
        ("-.inf", Some("-inf")),
        ("._5", None),
        ("_3", None),
        ("0x", None),
        ("0x1.8p1", None),
        ("--3", None),
        ("1e999", None),
        ("inf", None),
        ("-.nan", None),
    ] {
        let text = format!(
            "tests: [{{promql_expr_test: [{{expr: up, exp_samples: [{{value: {written}}}]}}]}}]"
        );
        let (file, problems) = read("t.yml", &text, Features::default());
        let value = file.map(|file| file.tests[0].exprs[0].expected.first().map(|(_, v)| *v));
        let read = value.flatten().filter(|_| problems.is_empty()).map(|value| value.to_string());
        assert_eq!(read.as_deref(), want, "{written}: {problems}");
    }
}

#[test]
fn labels_have_any_names_and_empty_ones_are_warned_of() {
    let text = "tests: [{external_labels: {a-b: x}, alert_rule_test: [{alertname: A, exp_alerts: \
                [{exp_labels: {c-d: x, z: ''}, exp_annotations: {e-f: ''}}]}]}]";
    let (file, problems) = read("t.yml", text, Features::default());
    let test = &file.expect("reads").tests[0];
    assert_eq!(test.external_labels.get("a-b"), Some("x"));
    let (labels, annotations) = &test.alerts[0].expected[0];
    assert_eq!(labels.to_string(), "{alertname=\"A\", c-d=\"x\", z=\"\"}");
    assert_eq!(annotations.to_string(), "{e-f=\"\"}");
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("warning: ") && said[0].contains("no alert has an empty label"),
        "{said:?}"
    );
}

#[test]
fn a_series_without_values_is_warned_of() {
    let text = "tests: [{input_series: [{series: m}, {series: n, values: null}]}]";
    let (file, problems) = read("t.yml", text, Features::default());
    assert_eq!(file.expect("reads").tests[0].series.len(), 2);
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let warns =
        said.iter().all(|text| text.contains("warning: ") && text.contains("`values` is missing"));
    assert!(said.len() == 2 && warns, "{said:?}");
}

#[test]
fn what_does_not_read_is_said_with_its_place() {
    let cases = [
        ("test: []", "1:1: unknown key `test`; did you mean `tests`?"),
        (
            "tests: [{input_serie: []}]",
            "1:10: tests[0]: unknown key `input_serie`; did you mean \
          `input_series`?",
        ),
        (
            "tests: [{input_series: [{series: 'm{a', values: 1}]}]",
            "1:38: tests[0].input_series[0].series: unexpected end of input inside braces",
        ),
        (
            "tests: [{input_series: [{series: m, values: '1 2+x'}]}]",
            "1:48: tests[0].input_series[0].values: `2+x` is not a value; write a number, \
             `a+bxn`, `axn`, `_`, `_xn` or `stale`",
        ),
        (
            "tests: [{alert_rule_test: [{eval_time: 1m}]}]",
            "1:28: tests[0].alert_rule_test[0]: `alertname` is missing",
        ),
        (
            "tests: [{alert_rule_test: [{alertname: ''}]}]",
            "1:40: tests[0].alert_rule_test[0].alertname: is empty: name an alert",
        ),
        (
            "tests: [{promql_expr_test: [{expr: 'up +'}]}]",
            "1:41: tests[0].promql_expr_test[0].expr: could not parse: unexpected end of input",
        ),
        (
            "tests: [{input_series: [{values: '1'}]}]",
            "1:25: tests[0].input_series[0]: `series` is missing",
        ),
        (
            "tests: [{promql_expr_test: [{expr: 'sum(up'}]}]",
            "1:43: tests[0].promql_expr_test[0].expr: could not parse: unclosed left parenthesis; the `(` \
             at 1:4 is not closed: write `)`",
        ),
        ("group_eval_order: [g, h, g]", "1:19: group_eval_order: the group `g` is repeated"),
        (
            "tests: [{promql_expr_test: [{expr: up, exp_samples: [{value: NaN}]}]}]",
            "1:62: tests[0].promql_expr_test[0].exp_samples[0].value: `NaN` is not a number; write \
             `.nan`",
        ),
        (
            "tests: [{promql_expr_test: [{expr: up, exp_samples: [{value: -Inf}]}]}]",
            "1:62: tests[0].promql_expr_test[0].exp_samples[0].value: `-Inf` is not a number; \
             write `-.inf`",
        ),
        (
            "tests: [{promql_expr_test: [{expr: up, exp_samples: [{value: '3'}]}]}]",
            "1:62: tests[0].promql_expr_test[0].exp_samples[0].value: `3` in quotes is a text, not \
             a number; take the quotes away",
        ),
        (
            "evaluation_interval: 1ms\ntests: [{alert_rule_test: [{eval_time: 9y, alertname: a}]}]",
            "2:9: tests[0]: asks for more than 10000000 evaluations; raise \
             `evaluation_interval` or lower `eval_time`",
        ),
    ];
    for (text, want) in cases {
        let (_, problems) = read("t.yml", text, Features::default());
        assert_eq!(problems.to_string().trim_end().replace("t.yml:", ""), want, "{text}");
    }
}
