//! Rules that load but cannot mean what they say: warnings, each switched off by its name.
//!
//! Each lint is one function from a rule to what it found; the table says why it exists.

use std::time::Duration;

use super::load::load;
use super::model::{Rule, RuleKind};
use crate::base::{HashMap, HashSet, format_duration};
use crate::promql::ast::{BinaryOp, Expr, ExprKind, VectorSelector};
use crate::promql::{QueryTimes, reach, resolve};
use crate::yaml::{Node, Position, Problem, Problems, parse};

/// What the lints measure rules against.
#[derive(Clone, Debug)]
pub struct LintOptions {
    /// The longest scrape interval of the targets that feed the rules.
    pub scrape_interval: Duration,
    /// The longest time the window may keep samples.
    pub longest_retention: Duration,
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
        name: "kubernetes-label",
        explanation: "a Docker host's cAdvisor sets `name`, not `container`, `pod` or \
                      `namespace`; a selector that needs one of these selects nothing, for ever",
        find: kubernetes_label,
    },
    Lint {
        name: "unguarded-memory-limit",
        explanation: "cAdvisor reports no memory limit as 0, so a ratio to it is +Inf and fires; \
                      write `/ (container_spec_memory_limit_bytes > 0)`",
        find: unguarded_memory_limit,
    },
    Lint {
        name: "short-range",
        explanation: "a rate needs two samples: a range below twice the scrape interval is empty \
                      whenever one scrape is late",
        find: short_range,
    },
    Lint {
        name: "range-beyond-window",
        explanation: "the window forgets what is older than its cap, so the rule never sees all \
                      it asks for",
        find: range_beyond_window,
    },
    Lint {
        name: "fixed-time",
        explanation: "`@` with a time stays where it is while the window moves on: one day the \
                      samples are gone",
        find: fixed_time,
    },
];

/// The lint on pairs of rules: its name, as promtool's.
const DUPLICATE_RULE: &str = "duplicate-rule";

/// Loads rule files and lints what loads. Errors are those of [`load`], warnings name their lint.
pub fn check(files: &[(String, String)], options: &LintOptions) -> Problems {
    let (groups, mut problems) = load(files);
    let expressions = expressions(files);
    let enabled = |name: &str| options.disabled.iter().all(|disabled| disabled != name);
    let mut seen = HashSet::default();
    for (group, rule) in groups.iter().flat_map(|group| group.rules.iter().map(move |r| (group, r)))
    {
        let mut warn = |lint: &str, finding: Finding| {
            let expression = expressions.get(&(group.file.as_str(), rule.position));
            let at = finding.offset.zip(expression).map(|(at, node)| node.position_of(at));
            let message = format!("group {:?}, {:?}: {}", group.name, rule.name(), finding.message);
            let problem =
                Problem::in_file(&group.file, at.unwrap_or(rule.position), message).warning();
            problems.push(problem.hint(format!("lint `{lint}`")));
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

/// The expressions as they were written, by file and by the place of their rule. A loaded rule does
/// not keep them: only a lint has to find a character again.
fn expressions(files: &[(String, String)]) -> HashMap<(&str, Position), Node> {
    let mut found = HashMap::default();
    for (file, text) in files {
        let document = parse(file, text, &mut Problems::default());
        let groups = document.as_ref().and_then(|node| node.get("groups"));
        for rule in groups.iter().flat_map(|node| node.items()).filter_map(|g| g.get("rules")) {
            for rule in rule.items() {
                let expr = rule.get("expr");
                found.extend(expr.map(|expr| ((file.as_str(), rule.at), expr.clone())));
            }
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
    match &rule.kind {
        RuleKind::Alert(alert) if alert.annotations.iter().all(|(name, _)| name != "summary") => {
            let message = "the alert has no annotation `summary`".to_owned();
            vec![Finding { offset: None, message }]
        }
        _ => Vec::new(),
    }
}

/// Labels that only a kubelet's cAdvisor sets.
const KUBERNETES_LABELS: [&str; 3] = ["container", "pod", "namespace"];

fn kubernetes_label(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    rule.expr.walk(&mut |node| {
        let Some(vector) = selected(node) else { return };
        if !vector.selector.metric_name().is_some_and(|name| name.starts_with("container_")) {
            return;
        }
        for matcher in vector.selector.matchers() {
            if KUBERNETES_LABELS.contains(&matcher.name.as_str()) && !matcher.matches("") {
                let message = format!(
                    "`{matcher}` selects nothing: cAdvisor beside Docker has no \
                                       label `{}`; use `name`",
                    matcher.name
                );
                found.push(Finding { offset: Some(node.span.start), message });
            }
        }
    });
    found
}

const MEMORY_LIMIT: &str = "container_spec_memory_limit_bytes";

fn unguarded_memory_limit(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut guarded = false;
    rule.expr.walk(&mut |node| {
        let ExprKind::Binary(binary) = &node.kind else { return };
        match binary.op {
            BinaryOp::Greater | BinaryOp::NotEqual => {
                guarded |= limit_in(&binary.lhs).is_some();
            }
            BinaryOp::Div => {
                let message = format!(
                    "the divisor `{MEMORY_LIMIT}` is 0 where there is no limit; \
                                       guard it with `> 0`"
                );
                let offset = limit_in(&binary.rhs);
                found.extend(offset.map(|at| Finding { offset: Some(at), message }));
            }
            _ => {}
        }
    });
    if guarded { Vec::new() } else { found }
}

/// Where the memory limit is selected in an expression, if it is.
fn limit_in(expr: &Expr) -> Option<usize> {
    let mut found = None;
    expr.walk(&mut |node| {
        let name = selected(node).and_then(|vector| vector.selector.metric_name());
        if name == Some(MEMORY_LIMIT) {
            found = found.or(Some(node.span.start));
        }
    });
    found
}

/// Functions that need at least two samples.
const OF_TWO_SAMPLES: [&str; 6] = ["rate", "increase", "irate", "delta", "idelta", "deriv"];

fn short_range(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let shortest = options.scrape_interval * 2;
    rule.expr.walk(&mut |node| {
        let ExprKind::Call(call) = &node.kind else { return };
        let Some(ExprKind::Matrix(matrix)) = call.args.first().map(|arg| &arg.kind) else { return };
        let millis = resolve(&matrix.range, QueryTimes::default()).unwrap_or(0);
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

fn range_beyond_window(rule: &Rule, options: &LintOptions) -> Vec<Finding> {
    let longest = reach(&rule.expr, QueryTimes::default()).into_iter().filter_map(|r| r.back).max();
    let Some(back) = longest.filter(|back| *back > options.longest_retention) else {
        return Vec::new();
    };
    let message = format!(
        "looks back {}, and the window keeps at most {}",
        format_duration(back),
        format_duration(options.longest_retention)
    );
    vec![Finding { offset: None, message }]
}

fn fixed_time(rule: &Rule, _: &LintOptions) -> Vec<Finding> {
    let fixed = reach(&rule.expr, QueryTimes::default()).into_iter().any(|r| r.back.is_none());
    let message = "`@` with a fixed time reads samples that the window will forget".to_owned();
    if fixed { vec![Finding { offset: None, message }] } else { Vec::new() }
}

fn selected(node: &Expr) -> Option<&VectorSelector> {
    match &node.kind {
        ExprKind::Vector(vector) => Some(vector),
        ExprKind::Matrix(matrix) => Some(&matrix.vector),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(disabled: &[&str]) -> LintOptions {
        LintOptions {
            scrape_interval: Duration::from_secs(15),
            longest_retention: Duration::from_secs(3600),
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
            ("alert: A\n    expr: up".to_owned(), "4:5 alert-without-summary"),
            ("alert: A\n    expr: up\n    annotations: {summary: x}".to_owned(), ""),
            (expr("sum(container_x{container!=\"\"})"), "5:15 kubernetes-label"),
            (expr("rate(container_x{name!=\"\",pod=~\".+\"}[5m])"), "5:16 kubernetes-label"),
            (expr("container_x{container=\"\"}"), ""),
            (expr("kube_x{container!=\"\"}"), ""),
            (expr(&format!("a / {limit}")), "5:15 unguarded-memory-limit"),
            (expr(&format!("a / max by (name) ({limit})")), "5:30 unguarded-memory-limit"),
            (expr(&format!("a / ({limit} > 0)")), ""),
            (expr(&format!("a / (max by (name) ({limit}) != 0)")), ""),
            (expr(&format!("a / {limit} and {limit} > 0")), ""),
            (expr(&format!("{limit} / 2")), ""),
            (expr("rate(a[29s])"), "5:16 short-range"),
            (expr("rate(a[30s])"), ""),
            (expr("max_over_time(a[15s])"), ""),
            (expr("rate(a[1h])"), ""),
            (expr("rate(a[1h] offset 1s)"), "4:5 range-beyond-window"),
            (expr("a @ 100"), "4:5 fixed-time"),
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
    fn every_lint_is_told_apart_and_explained() {
        let mut names: Vec<&str> = lint_names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(lints().all(|(_, explanation)| !explanation.is_empty()));
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
