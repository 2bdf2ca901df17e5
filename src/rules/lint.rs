//! Rules that load but cannot mean what they say: warnings, each switched off by its name.
//!
//! Each lint is one function from a rule to what it found; the table says why it exists.

use std::time::Duration;

use super::allowed::Allowed;
use super::costly::{Costly, costly};
use super::divisor::unguarded;
use super::exposed::{Exposed, unexposed};
use super::load::load;
use super::model::{Rule, RuleKind};
use crate::base::{HashSet, METRIC_NAME, Sample, format_duration};
use crate::promql::ast::{DurationExpr, Expr, ExprKind, VectorSelector};
use crate::promql::{ParseOptions, QueryTimes, reach, resolve};
use crate::window::{MatchOp, Matcher, Selector};
use crate::yaml::{Level, Position, Problem, Problems, parse};

/// What the lints measure rules against.
#[derive(Clone, Debug)]
pub struct LintOptions {
    /// The longest scrape interval of the targets that feed the rules.
    pub scrape_interval: Duration,
    /// `global.evaluation_interval`: the step of subqueries that name none.
    pub evaluation_interval: Duration,
    /// `window.max_bytes`
    pub window_bytes: usize,
    /// What metrics there are, where a running instance was asked.
    pub exposed: Option<Exposed>,
    /// What expressions may be written with.
    pub promql: ParseOptions,
    /// Names of lints that are switched off.
    pub disabled: Vec<String>,
}

/// One lint.
pub struct Lint {
    /// Its name, by which it is switched off.
    pub name: &'static str,
    /// Why it exists.
    pub explanation: &'static str,
    find: fn(&Rule, &LintOptions) -> Vec<Finding>,
}

/// What a lint found in a rule.
struct Finding {
    /// The byte of the expression it is about; absent: the rule as a whole.
    offset: Option<usize>,
    message: String,
}

/// Every lint on single rules.
pub static LINTS: &[Lint] = &[
    Lint {
        name: "alert-without-summary",
        explanation: "the annotation `summary` is what a person woken at night reads first",
        find: alert_without_summary,
    },
    Lint {
        name: "label-never-set",
        explanation: "a Docker host's cAdvisor sets `name`, not `container`, `pod` or \
                      `namespace`, and `cpu`, `device` or `interface` only where they mean \
                      something; a selector that needs another selects nothing, for ever",
        find: label_never_set,
    },
    Lint {
        name: "zero-divisor",
        explanation: "no limit and no quota are reported as 0, so a ratio to one is +Inf and \
                      fires; write `/ (container_spec_memory_limit_bytes > 0)`",
        find: zero_divisor,
    },
    Lint {
        name: "short-range",
        explanation: "a rate needs two samples: a range below twice the scrape interval is empty \
                      whenever one scrape is late",
        find: short_range,
    },
    Lint {
        name: BEYOND_WINDOW,
        explanation: "the window keeps what rules ask for only up to `window.max_bytes`, and \
                      then refuses new series: a range so long fills it with a few series",
        find: range_beyond_window,
    },
    Lint {
        name: "subquery-beyond-memory",
        explanation: "an evaluation holds 80 MB and is refused beyond: a subquery of so many steps \
                      fits it with a few series only, so the rule fails for ever",
        find: subquery_beyond_memory,
    },
    Lint {
        name: "fixed-time",
        explanation: "`@` with a time stays where it is while the window moves on: one day the \
                      samples are gone",
        find: fixed_time,
    },
    Lint {
        name: "never-exposed-metric",
        explanation: "nothing that is scraped has the metric, so the rule never fires; asked of a \
                      running plimsoll with `--url`",
        find: never_exposed_metric,
    },
];

/// Whether a warning of [`check`] is about a range that is too long for the window, and not too short.
pub fn is_beyond_window(problem: &Problem) -> bool {
    problem.hint.as_ref().is_some_and(|hint| *hint == named(BEYOND_WINDOW))
}

/// How a warning names its lint.
fn named(lint: &str) -> String {
    format!("lint `{lint}`")
}

/// The lint on ranges that are too long.
const BEYOND_WINDOW: &str = "range-beyond-window";
/// The lint on pairs of rules: its name, as promtool's.
const DUPLICATE_RULE: &str = "duplicate-rule";

/// Loads rule files and lints what loads. Errors are those of [`load`], warnings name their lint.
pub fn check(files: &[(String, String)], options: &LintOptions) -> Problems {
    let (groups, mut problems) = load(files, &options.promql);
    let mut options = options.clone();
    if let Some(exposed) = &mut options.exposed {
        // What rules write is there as soon as they run.
        exposed.names.extend(["ALERTS", "ALERTS_FOR_STATE"].map(str::to_owned));
        let rules = groups.iter().flat_map(|group| &group.rules);
        exposed.names.extend(rules.map(|rule| rule.name().to_owned()));
    }
    let options = &options;
    let allowed = Allowed::read(files, &mut problems);
    let broken = broken(&places(files), &problems);
    let mut seen = HashSet::default();
    let rules = groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule)));
    for (group, rule) in rules.filter(|(g, r)| !broken.contains(&(g.file.as_str(), r.position))) {
        let mut warn = |lint: &str, finding: Finding| {
            let at = finding.offset.map(|byte| rule.place_of(byte));
            let message = format!("group {:?}, {:?}: {}", group.name, rule.name(), finding.message);
            let problem =
                Problem::in_file(&group.file, at.unwrap_or(rule.position), message).warning();
            problems.push(problem.hint(named(lint)));
        };
        let enabled = |name: &str| {
            options.disabled.iter().all(|disabled| disabled != name)
                && !allowed.holds(&group.file, rule.position.line, name)
        };
        for lint in LINTS.iter().filter(|lint| enabled(lint.name)) {
            (lint.find)(rule, options).into_iter().for_each(|finding| warn(lint.name, finding));
        }
        if !seen.insert((rule.name(), &rule.labels)) && enabled(DUPLICATE_RULE) {
            let message = "an earlier rule has the same name and labels".to_owned();
            warn(DUPLICATE_RULE, Finding { offset: None, message });
        }
    }
    problems.sort();
    problems
}

/// The rules that hold an error: of a text that cannot be read there is nothing more to say.
fn broken<'a>(rules: &[(&'a str, Position)], problems: &Problems) -> HashSet<(&'a str, Position)> {
    let errors = problems.iter().filter(|problem| problem.level == Level::Error);
    let holder = |problem: &Problem| {
        let at = (problem.line, problem.column);
        let is_before =
            |rule: &&(&str, Position)| rule.0 == problem.file && (rule.1.line, rule.1.column) <= at;
        rules.iter().rfind(is_before).copied()
    };
    errors.filter_map(holder).collect()
}

/// Where the rules stand, those too that did not load; of each file in its order.
fn places(files: &[(String, String)]) -> Vec<(&str, Position)> {
    let mut found = Vec::new();
    for (file, text) in files {
        let document = parse(file, text, &mut Problems::default());
        let groups = document.as_ref().and_then(|node| node.get("groups"));
        for rules in groups.iter().flat_map(|node| node.items()).filter_map(|g| g.get("rules")) {
            found.extend(rules.items().iter().map(|rule| (file.as_str(), rule.at)));
        }
    }
    found
}

/// All lints, by name, each with the reason for it.
pub fn lints() -> impl Iterator<Item = (&'static str, &'static str)> {
    let duplicate = "two rules of one name and the same labels write the same series or alert";
    LINTS.iter().map(|lint| (lint.name, lint.explanation)).chain([(DUPLICATE_RULE, duplicate)])
}

/// The names of all lints, for messages about a name that is none.
pub fn lint_names() -> impl Iterator<Item = &'static str> {
    lints().map(|(name, _)| name)
}

fn alert_without_summary(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let RuleKind::Alert(alert) = &rule.kind else { return Vec::new() };
    let summary = alert.annotations.iter().find(|(name, _)| name == "summary");
    let message = match summary {
        Some((_, text)) if text.trim().is_empty() => "the annotation `summary` says nothing",
        Some(_) => return Vec::new(),
        None => "the alert has no annotation `summary`",
    };
    vec![Finding { offset: None, message: message.to_owned() }]
}

/// Labels that only a kubelet's cAdvisor sets.
const KUBERNETES_LABELS: [&str; 3] = ["container", "pod", "namespace"];

/// Labels that cAdvisor v0.60.5 sets on some families only: the label, and how their names begin.
const FAMILY_LABELS: [(&str, &[&str]); 9] = [
    ("cpu", &["container_cpu_usage_seconds_total", "container_perf_"]),
    ("device", &["container_fs_", "container_blkio_"]),
    ("failure_type", &["container_memory_failures_total"]),
    ("interface", &["container_network_receive_", "container_network_transmit_"]),
    ("pagesize", &["container_hugetlb_"]),
    ("state", &["container_tasks_state"]),
    ("tcp_state", &["container_network_tcp", "container_network_advance_tcp"]),
    ("udp_state", &["container_network_udp"]),
    ("ulimit", &["container_ulimits_"]),
];

/// A metric's name, or how it begins.
struct Name<'s> {
    text: &'s str,
    is_whole: bool,
}

impl Name<'_> {
    /// Whether it can be one that begins like one of these.
    fn may_be(&self, beginnings: &[&str]) -> bool {
        beginnings.iter().any(|beginning| {
            self.text.starts_with(beginning) || (!self.is_whole && beginning.starts_with(self.text))
        })
    }
}

/// The names a selector selects by, those of a pattern with what is sure of each alternative. None
/// where nothing is.
fn metrics(selector: &Selector) -> Vec<Name<'_>> {
    let of_name = |matcher: &&Matcher| matcher.name == METRIC_NAME;
    let Some(matcher) = selector.matchers().iter().find(of_name) else { return Vec::new() };
    match &matcher.op {
        MatchOp::Equal => vec![Name { text: &matcher.value, is_whole: true }],
        MatchOp::Regex(pattern) => {
            let source = pattern.source();
            let inner = source.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
            let inner = inner.filter(|inner| !inner.contains(['(', ')'])).unwrap_or(source);
            let name = |part: &'_ str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let sure = |part| sure_of(part).map(|text| Name { text, is_whole: name(part) });
            // Brackets around a part of an alternative could hold bars of their own.
            let parts = if inner.contains('(') { vec![inner] } else { inner.split('|').collect() };
            let names: Option<Vec<Name<'_>>> = parts.into_iter().map(sure).collect();
            names.unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// What every text that a pattern without bars outside brackets matches begins with.
fn sure_of(pattern: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = pattern.find(|c| !is_plain(c)).unwrap_or(pattern.len());
    let (plain, rest) = pattern.split_at(length);
    // A quantifier is about the last character; a bar makes all of it one of several.
    let kept = match rest.chars().next() {
        Some('*' | '?' | '{') => plain.len().saturating_sub(1),
        _ => plain.len(),
    };
    (kept > 0 && !outside_brackets(rest).any(|c| c == '|')).then(|| &plain[..kept])
}

/// The characters that stand in no round brackets.
fn outside_brackets(pattern: &str) -> impl Iterator<Item = char> {
    let mut depth = 0_usize;
    pattern.chars().filter(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    })
}

fn label_never_set(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    rule.expr.walk(&mut |node| {
        let Some(vector) = selected(node) else { return };
        let metrics = metrics(&vector.selector);
        if metrics.is_empty() || metrics.iter().any(|name| !name.text.starts_with("container_")) {
            return;
        }
        for matcher in vector.selector.matchers().iter().filter(|m| !m.matches("")) {
            let label = matcher.name.as_str();
            let family = FAMILY_LABELS.iter().find(|(name, _)| *name == label);
            let why = if KUBERNETES_LABELS.contains(&label) {
                format!("cAdvisor beside Docker has no label `{label}`; use `name`")
            } else if family.is_some_and(|(_, of)| !metrics.iter().any(|name| name.may_be(of))) {
                let names: Vec<&str> = metrics.iter().map(|name| name.text).collect();
                format!("cAdvisor does not set `{label}` on `{}`", names.join("`, `"))
            } else {
                continue;
            };
            let message = format!("`{matcher}` selects nothing: {why}");
            found.push(Finding { offset: Some(node.span.start), message });
        }
    });
    found
}

fn zero_divisor(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let finding = |(name, at)| Finding {
        offset: Some(at),
        message: format!("the divisor `{name}` is 0 where there is no limit; guard it with `> 0`"),
    };
    unguarded(&rule.expr).into_iter().map(finding).collect()
}

fn never_exposed_metric(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let Some(exposed) = &options.exposed else { return Vec::new() };
    let mut found: Vec<Finding> = unexposed(&rule.expr, exposed)
        .into_iter()
        .map(|(at, message)| Finding { offset: Some(at), message })
        .collect();
    for (text, expr) in rule.asked() {
        let messages = unexposed(&expr, exposed).into_iter().map(|(_, message)| message);
        let finding = |message| Finding { offset: None, message: format!("`{text}`: {message}") };
        found.extend(messages.map(finding));
    }
    found
}

/// Functions that need at least two samples.
const OF_TWO_SAMPLES: [&str; 8] = [
    "rate",
    "increase",
    "irate",
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "double_exponential_smoothing",
];

fn short_range(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let shortest = options.scrape_interval * 2;
    rule.expr.walk(&mut |node| {
        let ExprKind::Call(call) = &node.kind else { return };
        let Some(range) = call.args.first().and_then(range_of) else { return };
        let millis = resolve(range, QueryTimes::default()).unwrap_or(0);
        let range = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        if OF_TWO_SAMPLES.contains(&call.func.name) && range < shortest {
            let message = format!(
                "`{}` over {} needs two samples, and one comes every {}",
                call.func.name,
                format_duration(range),
                format_duration(options.scrape_interval)
            );
            found.push(Finding { offset: Some(call.args[0].span.start), message });
        }
    });
    found
}

fn range_of(expr: &Expr) -> Option<&DurationExpr> {
    match &expr.kind {
        ExprKind::Matrix(matrix) => Some(&matrix.range),
        ExprKind::Subquery(subquery) => Some(&subquery.range),
        ExprKind::Paren(inner) => range_of(inner),
        _ => None,
    }
}

/// A range that lets the window hold fewer series than this is taken for a mistake: a host has
/// hundreds of containers.
const FEW_SERIES: u128 = 100;

fn range_beyond_window(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let reaches = reach(&rule.expr, QueryTimes::default()).into_iter();
    let far = reaches.filter_map(|reach| reach.back.map(|back| (back, reach.span.start)));
    // Of those that look as far, the first.
    let Some((back, at)) = far.rev().max_by_key(|(back, _)| *back) else { return Vec::new() };
    let samples = back.as_millis() / options.scrape_interval.as_millis().max(1);
    let series = options.window_bytes as u128 / (samples.max(1) * size_of::<Sample>() as u128);
    if series >= FEW_SERIES {
        return Vec::new();
    }
    let message = format!(
        "looks back {}: with a sample every {}, the window of {} holds that for {series} series",
        format_duration(back),
        format_duration(options.scrape_interval),
        size(options.window_bytes)
    );
    vec![Finding { offset: Some(at), message }]
}

/// A size as it is written in a configuration.
fn size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |(shift, _): &(u32, &str)| bytes.trailing_zeros() >= *shift;
    let unit = units.into_iter().find(whole);
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

fn subquery_beyond_memory(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let found = costly(&rule.expr, options.evaluation_interval, FEW_SERIES as u64);
    let finding = |Costly { at, steps, series }| Finding {
        offset: Some(at),
        message: format!(
            "a subquery of {steps} steps: an evaluation has room for that with {series} series; a \
             longer step or a recording rule costs less"
        ),
    };
    found.into_iter().map(finding).collect()
}

fn fixed_time(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let mut reaches = reach(&rule.expr, QueryTimes::default()).into_iter();
    let Some(fixed) = reaches.find(|reach| reach.back.is_none()) else { return Vec::new() };
    let message = "`@` with a fixed time reads samples that the window will forget".to_owned();
    vec![Finding { offset: Some(fixed.span.start), message }]
}

pub(super) fn selected(node: &Expr) -> Option<&VectorSelector> {
    match &node.kind {
        ExprKind::Vector(vector) => Some(vector),
        ExprKind::Matrix(matrix) => Some(&matrix.vector),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPOSED: [&str; 9] = [
        "a",
        "b",
        "b_limit",
        "container_fs_usage_bytes",
        "container_spec_memory_limit_bytes",
        "container_x",
        "kube_x",
        "plimsoll_plan_mem_limit_bytes",
        "x_limit",
    ];

    fn options(disabled: &[&str]) -> LintOptions {
        LintOptions {
            scrape_interval: Duration::from_secs(15),
            evaluation_interval: Duration::from_secs(15),
            window_bytes: 1 << 20,
            exposed: Some(Exposed {
                names: EXPOSED.iter().map(|name| (*name).to_owned()).collect(),
                untold: [r#"__name__=~"far.*""#.to_owned()].into(),
            }),
            promql: ParseOptions::default(),
            disabled: disabled.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// The lints a rule sets off, each with its place, by name.
    fn found(keys: &str, disabled: &[&str]) -> String {
        let text = format!("groups:\n- name: g\n  rules:\n  - {keys}\n");
        let problems = check(&[("a.yml".to_owned(), text)], &options(disabled));
        assert!(!problems.has_errors(), "{problems}");
        let shown = problems.iter().map(|problem| {
            let hint = problem.hint.as_deref().expect("a lint names itself");
            let name = hint.trim_start_matches("lint `").trim_end_matches('`');
            format!("{}:{} {name}", problem.line, problem.column)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_lint_finds_its_case_where_it_stands_and_nothing_else() {
        let limit = "container_spec_memory_limit_bytes";
        let expr = |expr: &str| format!("record: r\n    expr: {expr}");
        let cases = [
            ("alert: A\n    expr: a".to_owned(), "4:5 alert-without-summary"),
            ("alert: A\n    expr: a\n    annotations: {summary: x}".to_owned(), ""),
            (
                "alert: A\n    expr: a\n    annotations: {summary: ''}".to_owned(),
                "4:5 alert-without-summary",
            ),
            (
                "alert: A\n    expr: a\n    annotations: {summary: ' \t'}".to_owned(),
                "4:5 alert-without-summary",
            ),
            (expr("sum(container_x{container!=\"\"})"), "5:15 label-never-set"),
            (expr("rate(container_x{name!=\"\",pod=~\".+\"}[5m])"), "5:16 label-never-set"),
            (expr("container_x{container=\"\"}"), ""),
            (expr("kube_x{container!=\"\"}"), ""),
            (expr("container_x{interface=\"eth0\"}"), "5:11 label-never-set"),
            (expr("container_fs_usage_bytes{device=~\".+\",env=\"prod\"}"), ""),
            (expr("a / b_limit"), "5:15 zero-divisor"),
            (expr("a / x_limit + b / (b_limit > 0)"), "5:15 zero-divisor"),
            (expr("a / plimsoll_plan_mem_limit_bytes"), ""),
            (expr("r:made\n  - record: r:made\n    expr: ALERTS or a"), ""),
            (expr(&format!("a / {limit}")), "5:15 zero-divisor"),
            (expr(&format!("a / max by (name) ({limit})")), "5:30 zero-divisor"),
            (expr(&format!("a / ({limit} > 0)")), ""),
            (expr(&format!("a / (max by (name) ({limit}) != 0)")), ""),
            (expr(&format!("a / {limit} and {limit} > 0")), ""),
            (expr(&format!("{limit} / 2")), ""),
            // The ratio is compared, not the limit.
            (expr(&format!("a / {limit} > 0.9")), "5:15 zero-divisor"),
            (expr(&format!("(a / {limit}) != 1 and b > 0")), "5:16 zero-divisor"),
            (expr(&format!("max(sum(a) / sum({limit})) > 1")), "5:28 zero-divisor"),
            (expr(&format!("a % {limit} > 1")), "5:15 zero-divisor"),
            (expr(&format!("a / {limit} > 0.9 and {limit} > 0")), ""),
            (expr(&format!("a / ({limit} > 0) > 0.9")), ""),
            (expr(&format!("a / {limit} > 0.9 and sum({limit}) > 0")), ""),
            (expr("rate(a[29s])"), "5:16 short-range"),
            (expr("rate(a[30s])"), ""),
            (expr("rate((a[5s]))"), "5:16 short-range"),
            (expr("rate(a[20s:1s])"), "5:16 short-range"),
            (expr("predict_linear(a[15s], 60)"), "5:26 short-range"),
            (expr("max_over_time(a[15s])"), ""),
            (expr("rate(a[2h])"), ""),
            (expr("b + rate(a[2h] offset 1h)"), "5:20 range-beyond-window"),
            (expr("max_over_time(a[1h:1s])"), ""),
            (expr("a + max_over_time(a[10m:10ms])"), "5:29 subquery-beyond-memory"),
            (expr("b + a @ 100"), "5:15 fixed-time"),
            (expr("a\n  - record: r\n    expr: b"), "6:5 duplicate-rule"),
            (expr("a\n  - record: r\n    expr: b\n    labels: {x: y}"), ""),
        ];
        for (keys, want) in cases {
            assert_eq!(found(&keys, &[]), want, "{keys}");
            if let Some((_, name)) = want.split_once(' ') {
                assert_eq!(found(&keys, &[name]), "", "switched off: {keys}");
            }
        }
    }

    #[test]
    fn what_nothing_exposes_is_found_by_name_and_pattern_and_in_texts() {
        let expr = |expr: &str| format!("record: r\n    expr: {expr}");
        let cases = [
            (expr("rate(gone[5m]) + a"), "5:16 never-exposed-metric"),
            (expr("absent(gone) or absent_over_time(gone[5m])"), ""),
            (expr("absent(sum(gone))"), "5:22 never-exposed-metric"),
            (expr("sum({__name__=~\"gone|x_.*\"}) + count({__name__=~\"gone.*\",n=\"1\"})"), "5:48 never-exposed-metric"),
            (expr("sum({__name__=~\"far.*\"}) or {n=\"1\"} or {__name__!=\"\",__name__!~\"a.*\"}"), ""),
            (expr("absent({__name__=~\"gone\"})"), ""),
            (
                "alert: A\n    expr: a\n    annotations: {summary: '{{ query \"gone\" | len }}'}".to_owned(),
                "4:5 never-exposed-metric",
            ),
            (
                "alert: A\n    expr: a\n    labels: {l: '{{ printf \"%s + a{x=%q}\" . . | query | len }}'}\n    \
                 annotations: {summary: '{{ query \"absent(gone)\" | len }}'}".to_owned(),
                "",
            ),
        ];
        for (keys, want) in cases {
            assert_eq!(found(&keys, &["alert-without-summary"]), want, "{keys}");
            let off = ["alert-without-summary", "never-exposed-metric"];
            assert_eq!(found(&keys, &off), "", "switched off: {keys}");
        }
    }

    #[test]
    fn names_by_pattern_are_known_by_their_beginnings() {
        let expr = |expr: &str| format!("record: r\n    expr: {expr}");
        for (keys, want) in [
            (expr("sum({__name__=~\"container_spec_.+\",pod!=\"\"})"), "5:15 label-never-set"),
            (expr("sum({__name__=~\"container_(x|y)\",pod=~\"a|b\"})"), "5:15 label-never-set"),
            (
                expr("sum({__name__=~\"container_x|container_y\",pod!~\"\"})"),
                "5:15 label-never-set",
            ),
            (expr("sum({__name__=~\"container_x|kube_y\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\".+\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_.+\",interface!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_net.+\",interface!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_fs_.+\",interface!=\"\"})"), "5:15 label-never-set"),
            (
                expr("sum({__name__=~\"(container_fs_a|container_x)\",cpu=\"0\"})"),
                "5:15 label-never-set",
            ),
            (expr("sum({__name__!=\"a\",pod!=\"\"})"), ""),
            // A name that is said in full begins no other.
            (expr("container_network_receive{interface=\"e\"}"), "5:11 label-never-set"),
            // Nothing is sure of the beginning.
            (expr("sum({__name__=~\"(container_x)?kube_(y)\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_?kube.*\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_*kube\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_{0,1}kube\",pod!=\"\"})"), ""),
            (expr("sum({__name__=~\"container_(x)|kube_y\",pod!=\"\"})"), ""),
        ] {
            assert_eq!(found(&keys, &["never-exposed-metric"]), want, "{keys}");
        }
    }

    /// What cannot be read is said once, where it stands; the rules around it are linted.
    #[test]
    fn a_broken_rule_is_not_linted_and_its_neighbours_are() {
        let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(a[1s])\n    \
                    annotations:\n      summary: |\n        one\n        two {{ $x\n  - record: r\n    \
                    expr: rate(a[1s])\n  - record: s\n    expr: rate(\n";
        let problems = check(&[("a.yml".to_owned(), text.to_owned())], &options(&[]));
        let shown: Vec<String> = problems
            .iter()
            .map(|p| format!("{}:{} {}", p.line, p.column, p.hint.as_deref().unwrap_or_default()))
            .collect();
        assert_eq!(
            shown,
            ["9:16 ", "11:16 lint `short-range`", "13:16 the `(` at 1:5 is not closed: write `)`"]
        );
    }

    /// Whose rule an error is, also of rules on one line, without an expression, and in other files.
    #[test]
    fn an_error_silences_the_lints_of_its_own_rule_alone() {
        let lint = "{record: r, expr: 'rate(a[1s])', labels: {n: N}}";
        let group = |rules: &str| format!("groups: [{{name: g, rules: [{rules}]}}]\n");
        let (first, second) = (lint.replace('N', "'1'"), lint.replace('N', "'2'"));
        let broken = "{record: r s, expr: 'rate(b[1s])'}";
        let none = "{record: t}";
        let short = "lint `short-range`";
        for (rules, want) in [
            (format!("{broken}, {first}"), vec!["", short]),
            (format!("{first}, {broken}, {second}"), vec![short, "", short]),
            (format!("{first}, {none}"), vec![short, ""]),
        ] {
            let files = [("b.yml", format!("\n{}", group(&rules))), ("a.yml", group(&first))];
            let files = files.map(|(name, text)| (name.to_owned(), text));
            let disabled = ["duplicate-rule"];
            let problems = check(&files, &options(&disabled));
            let of = |file: &str| -> Vec<&str> {
                let problems = problems.iter().filter(|problem| problem.file == file);
                let mut shown: Vec<_> = problems
                    .map(|p| (p.line, p.column, p.hint.as_deref().unwrap_or_default()))
                    .collect();
                shown.sort_unstable();
                shown.into_iter().map(|(_, _, hint)| hint).collect()
            };
            assert_eq!(of("a.yml"), [short], "{rules}");
            assert_eq!(of("b.yml"), want, "{rules}: {problems}");
        }
    }

    #[test]
    fn every_function_of_two_samples_needs_a_range_of_two() {
        let promql = ParseOptions { experimental_functions: true };
        for function in [
            "rate(a[29s])",
            "increase(a[29s])",
            "irate(a[29s])",
            "delta(a[29s])",
            "idelta(a[29s])",
            "deriv(a[29s])",
            "predict_linear(a[29s], 1)",
            "double_exponential_smoothing(a[29s], 0.5, 0.5)",
        ] {
            let text = format!("groups: [{{name: g, rules: [{{record: r, expr: '{function}'}}]}}]");
            let options = LintOptions { promql, ..options(&[]) };
            let problems = check(&[("a.yml".to_owned(), text)], &options);
            assert_eq!(problems.len(), 1, "{function}: {problems}");
            assert!(problems.to_string().contains("over 29s needs two samples"), "{problems}");
        }
    }

    #[test]
    fn a_comment_that_names_no_lint_says_so_where_it_does() {
        let text = "groups:\n- name: g\n  rules:\n  # plimsoll: allow 짧은, l short-rage\n  - record: r\n    expr: a\n";
        let problems = check(&[("a.yml".to_owned(), text.to_owned())], &options(&[]));
        let shown: Vec<String> = problems.iter().map(|problem| problem.to_string()).collect();
        let all = "`plimsoll check rules --lints` names them all";
        let want = [
            format!("a.yml:4:21: warning: `짧은` is not a lint; {all}"),
            format!("a.yml:4:25: warning: `l` is not a lint; {all}"),
            "a.yml:4:27: warning: `short-rage` is not a lint; did you mean `short-range`?"
                .to_owned(),
        ];
        assert_eq!(shown, want);
    }

    #[test]
    fn every_lint_is_told_apart_and_explained() {
        let mut names: Vec<&str> = lint_names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(lints().all(|(_, explanation)| !explanation.is_empty()));
    }

    #[test]
    fn a_comment_above_a_rule_allows_a_lint_there_and_nowhere_else() {
        let rule = "  - record: r\n    expr: rate(a[1s])\n    labels: {n: ";
        let text = format!(
            "groups:\n- name: g\n  rules:\n{rule}'1'}}\n  # The exporter is fast.\n  # plimsoll: \
             allow fixed-time, short-range\n  # And that is so.\n{rule}'2'}}\n{rule}'3'}}\n  # plimsoll: \
             allow short-rage\n{rule}'4'}}\n"
        );
        let problems = check(&[("a.yml".to_owned(), text)], &options(&[]));
        let shown: Vec<String> = problems
            .iter()
            .map(|p| format!("{}:{} {}", p.line, p.column, p.hint.as_deref().unwrap_or_default()))
            .collect();
        let short = |line| format!("{line}:16 lint `short-range`");
        let typo = "16:21 did you mean `short-range`?".to_owned();
        assert_eq!(shown, [short(5), short(14), typo, short(18)]);
    }

    #[test]
    fn a_warning_reads_as_a_sentence() {
        let text = "groups: [{name: g, rules: [{record: r, expr: 'rate(a[5s])'}]}]".to_owned();
        assert_eq!(
            check(&[("a.yml".to_owned(), text)], &options(&[])).to_string(),
            "a.yml:1:52: warning: group \"g\", \"r\": `rate` over 5s needs two samples, and one \
             comes every 15s; lint `short-range`\n"
        );
    }
}
