//! From rule files to typed groups, or to every problem in them.
//!
//! The checks and their words are those of Prometheus (`model/rulefmt/rulefmt.go`), plus our own
//! on the label `action`. What has a problem is left out, so that the rest is checked all the same;
//! whoever loads rules to run them first looks at [`Problems::has_errors`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::model::{Action, Alert, Group, Rule, RuleKind};
use crate::base::{HashMap, HashSet, METRIC_NAME, RuleId, closest, is_label_name, is_metric_name};
use crate::promql::ast::{Expr, ExprKind, ValueType};
use crate::promql::{ParseOptions, QueryTimes, parse as parse_promql, resolve, resolve_positive};
use crate::template::Template;
use crate::yaml::{Cursor, Fields, Node, Position, Problem, Problems, parse, read};

/// The rule label that says what policy may do.
const ACTION: &str = "action";

/// Reads rule files, each a pair of the name to say in messages and the text. Groups come in the
/// order of the files; `options` say what expressions may use.
pub fn load(files: &[(String, String)], options: &ParseOptions) -> (Vec<Group>, Problems) {
    let mut problems = Problems::default();
    let mut groups = Vec::new();
    for (file, text) in files {
        let Some(node) = parse(file, text, &mut problems) else { continue };
        let Some(mut fields) = Fields::open(Cursor::root(file, &node, &mut problems)) else {
            continue;
        };
        let mut names = HashSet::default();
        groups.extend(fields.list("groups", |at| group(at, &mut names, options)));
        fields.finish();
    }
    problems.sort();
    (groups, problems)
}

fn group(at: Cursor<'_, '_>, names: &mut HashSet<String>, options: &ParseOptions) -> Option<Group> {
    let (file, position) = (at.file(), at.node.at);
    let mut fields = Fields::open(at)?;
    let name = fields.optional("name", read::string).unwrap_or_default();
    let name_at = fields.key_at("name").unwrap_or(position);
    if name.is_empty() {
        complain(fields.cursor(), name_at, "Groupname must not be empty");
    } else if !names.insert(name.clone()) {
        let message = format!("groupname: {name:?} is repeated in the same file");
        complain(fields.cursor(), name_at, message);
    }
    let interval = fields.optional("interval", read::duration).filter(|d| !d.is_zero());
    let query_offset = fields.optional("query_offset", read::duration);
    // As in Prometheus, none is meant by 0 and by anything below.
    let limit = fields.optional("limit", read::truncated).filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let context = format!("group {name:?}");
    let labels =
        fields.optional("labels", |at| texts(at, &context, "label", None)).unwrap_or_default();
    let ordinals = HashMap::default();
    let mut reader = RuleReader { file, group: &name, labels: &labels, options, ordinals, read: 0 };
    let rules = fields.list("rules", |at| reader.rule(at));
    fields.finish();
    Some(Group {
        file: file.to_owned(),
        position,
        interval,
        query_offset,
        limit,
        labels,
        rules,
        name,
    })
}

/// Reads the rules of one group in turn.
struct RuleReader<'g> {
    file: &'g str,
    group: &'g str,
    labels: &'g [(String, String)],
    options: &'g ParseOptions,
    /// How many rules of each name there were.
    ordinals: HashMap<String, usize>,
    /// How many rules there were.
    read: usize,
}

impl RuleReader<'_> {
    fn rule(&mut self, at: Cursor<'_, '_>) -> Option<Rule> {
        self.read += 1;
        let position = at.node.at;
        let mut fields = Fields::open(at)?;
        let record = fields.optional("record", read::string).filter(|name| !name.is_empty());
        let alert = fields.optional("alert", read::string).filter(|name| !name.is_empty());
        let name = alert.as_ref().or(record.as_ref()).cloned().unwrap_or_default();
        let context = format!("group {:?}, rule {}, {name:?}", self.group, self.read);
        let id = self.id(&name);

        if !fields.has("expr") {
            let message = format!("{context}: field 'expr' must be set in rule");
            complain(fields.cursor(), position, message);
        }
        let expr = fields.optional("expr", |at| expression(at, &context, self.options));
        let templates_of = alert.as_deref();
        let own = fields.optional("labels", |at| texts(at, &context, "label", templates_of));
        let mut labels: BTreeMap<String, String> = self.labels.iter().cloned().collect();
        labels.extend(own.unwrap_or_default());
        let action = labels.get(ACTION).and_then(|word| Action::of(word)).unwrap_or_default();
        let alert_fields = AlertFields::read(&mut fields, &context, alert.as_deref());
        let kind = match (record, alert) {
            (Some(name), None) => {
                alert_fields.refuse(&mut fields, &context);
                check_record_name(&mut fields, &name, &context).then_some(RuleKind::Record { name })
            }
            (None, Some(name)) => Some(RuleKind::Alert(Alert {
                name,
                for_: alert_fields.for_,
                keep_firing_for: alert_fields.keep_firing_for,
                annotations: alert_fields.annotations,
                action,
            })),
            (both, _) => {
                let message = match both {
                    Some(_) => "only one of 'record' and 'alert' must be set",
                    None => "one of 'record' or 'alert' must be set",
                };
                complain(fields.cursor(), position, format!("{context}: {message}"));
                None
            }
        };
        fields.finish();

        let (expr, expr_text, written) = expr?;
        let labels = labels.into_iter().collect();
        Some(Rule { id, kind: kind?, expr, expr_text, written, labels, position })
    }

    fn id(&mut self, name: &str) -> RuleId {
        let ordinal = self.ordinals.entry(name.to_owned()).or_default();
        let id = format!("{};{};{name};{ordinal}", self.file, self.group);
        *ordinal += 1;
        RuleId(Arc::from(id))
    }
}

/// The keys that only alerting rules may have.
struct AlertFields {
    for_: Duration,
    keep_firing_for: Duration,
    annotations: Vec<(String, String)>,
}

impl AlertFields {
    fn read(fields: &mut Fields<'_, '_>, context: &str, alert: Option<&str>) -> AlertFields {
        let for_ = fields.optional("for", read::duration).unwrap_or_default();
        let keep_firing_for =
            fields.optional("keep_firing_for", read::duration).unwrap_or_default();
        let annotations =
            fields.optional("annotations", |at| texts(at, context, "annotation", alert));
        let mut annotations = annotations.unwrap_or_default();
        annotations.sort();
        AlertFields { for_, keep_firing_for, annotations }
    }

    /// Reports those that a recording rule has.
    fn refuse(&self, fields: &mut Fields<'_, '_>, context: &str) {
        let present = [
            ("annotations", !self.annotations.is_empty()),
            ("for", !self.for_.is_zero()),
            ("keep_firing_for", !self.keep_firing_for.is_zero()),
        ];
        for (key, _) in present.into_iter().filter(|(_, present)| *present) {
            let at = fields.key_at(key).unwrap_or(fields.cursor().node.at);
            let message = format!("{context}: invalid field '{key}' in recording rule");
            complain(fields.cursor(), at, message);
        }
    }
}

fn check_record_name(fields: &mut Fields<'_, '_>, name: &str, context: &str) -> bool {
    if is_metric_name(name) {
        return true;
    }
    fields.optional("record", |mut at| {
        let message = if name.contains(['{', '}']) {
            "braces present in the recording rule name; should it be in expr?"
        } else {
            "invalid recording rule name"
        };
        let position = at.node.at;
        complain(&mut at, position, format!("{context}: {message}: {name}"));
        Some(())
    });
    false
}

/// The tree of an expression, its text, and what it was read from; a problem points at the character at fault.
fn expression(
    mut at: Cursor<'_, '_>,
    context: &str,
    options: &ParseOptions,
) -> Option<(Expr, String, Node)> {
    let text = read::string(at.again())?;
    // Blanks to PromQL, which knows no other.
    let text = text.trim_end_matches([' ', '\t', '\n', '\r']);
    match parse_promql(text, options) {
        Ok(expr) => match expr.value_type() {
            ValueType::Scalar | ValueType::Vector => {
                check_durations(&mut at, &expr, context)?;
                Some((expr, text.to_owned(), at.node.clone()))
            }
            kind @ (ValueType::Matrix | ValueType::String) => {
                let message = format!("{context}: rule result is not a vector or scalar");
                let problem = bare(&at, at.node.position_of(0), message);
                at.push(problem.hint(format!("the expression is a {kind}")));
                None
            }
        },
        Err(error) => {
            let message = format!("{context}: could not parse expression: {}", error.message);
            let position = at.node.position_of(error.span.start);
            let problem = bare(&at, position, message);
            at.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            None
        }
    }
}

/// Refuses what every evaluation of a rule would fail of: a range or a step that is not above zero.
fn check_durations(at: &mut Cursor<'_, '_>, expr: &Expr, context: &str) -> Option<()> {
    let mut wrong = None;
    expr.walk(&mut |node| {
        let (lengths, offset) = match &node.kind {
            ExprKind::Vector(vector) => (vec![], &vector.offset),
            ExprKind::Matrix(matrix) => (vec![&matrix.range], &matrix.vector.offset),
            ExprKind::Subquery(subquery) => {
                ([&subquery.range].into_iter().chain(&subquery.step).collect(), &subquery.offset)
            }
            _ => return,
        };
        let times = QueryTimes::default();
        let mut lengths = lengths.into_iter().map(|length| resolve_positive(length, times));
        let why = lengths.find_map(Result::err);
        let why = why.or_else(|| offset.as_ref().and_then(|offset| resolve(offset, times).err()));
        wrong = wrong.take().or(why.map(|why| (node.span.start, why)));
    });
    let Some((byte, why)) = wrong else { return Some(()) };
    let place = at.node.position_of(byte);
    let problem = bare(at, place, format!("{context}: the rule can never be evaluated: {why}"));
    at.push(problem.hint("in a rule `step()` and `range()` are 0: write how long"));
    None
}

/// Labels or annotations, in the order of the file. `what` is the word for messages; the texts are
/// templates where they belong to an alert.
fn texts(
    mut at: Cursor<'_, '_>,
    context: &str,
    what: &str,
    templates_of: Option<&str>,
) -> Option<Vec<(String, String)>> {
    at.each_entry(|key, mut at| {
        let name = &key.text;
        if !is_label_name(name) || (what == "label" && name == METRIC_NAME) {
            complain(&mut at, key.at, format!("{context}: invalid {what} name: {name}"));
            return None;
        }
        let text = read::label_value(&mut at)?;
        if let Some(alert) = templates_of
            && let Err(error) = Template::parse(&format!("__alert_{alert}"), text)
        {
            let place = at.node.position_of(error.offset);
            let problem = bare(&at, place, format!("{context}: {what} {name:?}: {error}"));
            at.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            return None;
        }
        if what == "label" && name == ACTION {
            check_action(&mut at, text, context);
        }
        Some((name.clone(), text.to_owned()))
    })
}

/// What policy may do has to be readable in the file, so it cannot be a template.
fn check_action(at: &mut Cursor<'_, '_>, word: &str, context: &str) {
    if Action::of(word).is_some() {
        return;
    }
    let known = Action::WORDS.map(|(word, _)| word);
    let message = if word.contains("{{") {
        "must be a word, not a template".to_owned()
    } else {
        format!("`{word}` is not an action")
    };
    let hint = match closest(word, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("known actions: {}", known.join(", ")),
    };
    let problem = bare(at, at.node.at, format!("{context}: label {ACTION:?}: {message}"));
    at.push(problem.hint(hint));
}

/// A problem whose message begins with group and rule, as promtool's, and not with the path.
fn bare(at: &Cursor<'_, '_>, position: Position, message: impl Into<String>) -> Problem {
    Problem { message: message.into(), ..at.problem(position, "") }
}

fn complain(at: &mut Cursor<'_, '_>, position: Position, message: impl Into<String>) {
    let problem = bare(at, position, message);
    at.push(problem);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads one file; shows the problems without the file's name.
    fn problems(text: &str) -> String {
        let (_, problems) =
            load(&[("a.yml".to_owned(), text.to_owned())], &ParseOptions::default());
        problems.to_string().trim_end().replace("a.yml:", "")
    }

    fn one_group(text: &str) -> Group {
        let (mut groups, problems) =
            load(&[("a.yml".to_owned(), text.to_owned())], &ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        groups.pop().expect("one group")
    }

    #[test]
    fn a_file_becomes_groups_and_rules() {
        let group = one_group(
            "groups:\n\
             - name: g\n  \
               interval: 10s\n  \
               query_offset: 1m\n  \
               limit: 5\n  \
               labels: {team: core, severity: low}\n  \
               rules:\n  \
               - record: a:b\n    \
                 expr: |\n      \
                   sum(up)\n    \
                 labels: {v: 1.10, gone: ''}\n  \
               - alert: A\n    \
                 expr: up == 0\n    \
                 for: 5m\n    \
                 keep_firing_for: 1m\n    \
                 labels: {severity: high, action: nudge}\n    \
                 annotations: {summary: '{{ $labels.job }}', description: d}\n",
        );
        assert_eq!((group.name.as_str(), group.file.as_str()), ("g", "a.yml"));
        assert_eq!(group.interval, Some(Duration::from_secs(10)));
        assert_eq!(group.query_offset, Some(Duration::from_secs(60)));
        assert_eq!((group.limit, group.position.line), (Some(5), 2));
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let [record, alert] = group.rules.as_slice() else { panic!("two rules") };
        assert_eq!(record.kind, RuleKind::Record { name: "a:b".to_owned() });
        assert_eq!(record.expr_text, "sum(up)");
        assert_eq!(
            record.labels,
            pairs(&[("gone", ""), ("severity", "low"), ("team", "core"), ("v", "1.10")])
        );
        assert_eq!(
            alert.kind,
            RuleKind::Alert(Alert {
                name: "A".to_owned(),
                for_: Duration::from_secs(300),
                keep_firing_for: Duration::from_secs(60),
                annotations: pairs(&[("description", "d"), ("summary", "{{ $labels.job }}")]),
                action: Action::Nudge,
            })
        );
        assert_eq!(
            alert.labels,
            pairs(&[("action", "nudge"), ("severity", "high"), ("team", "core")])
        );
        assert_eq!(alert.position.line, 12);
    }

    #[test]
    fn absent_keys_have_prometheus_defaults() {
        let group = one_group("groups: [{name: g, interval: 0s, rules: [{alert: A, expr: 1}]}]");
        assert_eq!((group.interval, group.query_offset, group.limit), (None, None, None));
        for none in [0, -1] {
            let text = format!("groups: [{{name: g, limit: {none}, rules: []}}]");
            assert_eq!(one_group(&text).limit, None, "{none}");
        }
        let limited = one_group("groups: [{name: g, limit: 0x10, rules: []}]");
        assert_eq!(limited.limit, Some(16));
        let quoted = problems("groups: [{name: g, limit: '5', rules: []}]");
        assert!(quoted.contains("1:27: groups[0].limit: `5` in quotes is a text"), "{quoted}");
        let RuleKind::Alert(alert) = &group.rules[0].kind else { panic!("an alert") };
        assert_eq!(alert.action, Action::None);
        assert!(alert.for_.is_zero() && alert.keep_firing_for.is_zero());
        for empty in ["", "groups:", "groups: []"] {
            assert_eq!(problems(empty), "", "{empty}");
        }
    }

    #[test]
    fn ids_survive_edits_of_other_rules() {
        let ids = |rules: &str| -> Vec<String> {
            let group = one_group(&format!("groups: [{{name: g, rules: [{rules}]}}]"));
            group.rules.iter().map(|rule| rule.id.to_string()).collect()
        };
        let (a, b) = ("{alert: A, expr: 1}", "{alert: A, expr: 2, labels: {severity: high}}");
        assert_eq!(ids(&format!("{a}, {b}")), ["a.yml;g;A;0", "a.yml;g;A;1"]);
        let other = "{record: r, expr: 1}";
        assert_eq!(ids(&format!("{other}, {a}, {b}"))[1..], ["a.yml;g;A;0", "a.yml;g;A;1"]);
    }

    #[test]
    fn problems_are_said_in_promtools_words() {
        // The file around one rule; its keys begin at 4:3 (`- `) and 5:5.
        let rule = |keys: &str| format!("groups:\n- name: g\n  rules:\n  - {keys}\n");
        let cases = [
            (
                "record: x y\n    expr: up",
                "4:13: group \"g\", rule 1, \"x y\": invalid recording rule name: x y",
            ),
            (
                "record: x{a=\"b\"}\n    expr: up",
                "4:13: group \"g\", rule 1, \"x{a=\\\"b\\\"}\": braces present in the recording rule name; \
                 should it be in expr?: x{a=\"b\"}",
            ),
            (
                "record: x\n    alert: y\n    expr: up",
                "4:5: group \"g\", rule 1, \"y\": only one of 'record' and 'alert' must be set",
            ),
            ("expr: up", "4:5: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set"),
            ("record: x", "4:5: group \"g\", rule 1, \"x\": field 'expr' must be set in rule"),
            (
                "record: x\n    expr: up\n    for: 5m\n    keep_firing_for: 1m\n    annotations: {a: b}",
                "6:5: group \"g\", rule 1, \"x\": invalid field 'for' in recording rule\n\
                 7:5: group \"g\", rule 1, \"x\": invalid field 'keep_firing_for' in recording rule\n\
                 8:5: group \"g\", rule 1, \"x\": invalid field 'annotations' in recording rule",
            ),
            (
                "alert: A\n    expr: up\n    labels: {a-b: c, __name__: d}\n    annotations: {e-f: g}",
                "6:14: group \"g\", rule 1, \"A\": invalid label name: a-b\n\
                 6:22: group \"g\", rule 1, \"A\": invalid label name: __name__\n\
                 7:19: group \"g\", rule 1, \"A\": invalid annotation name: e-f",
            ),
            (
                "alert: A\n    expr: up\n    forr: 5m",
                "6:5: groups[0].rules[0]: unknown key `forr`; did you mean `for`?",
            ),
            (
                "alert: A\n    expr: up\n    for: 5",
                "6:10: groups[0].rules[0].for: `5` is not a duration; write for example `30s`, \
                 `5m` or `1h30m`",
            ),
            (
                "alert: A\n    expr: up\n    labels: {action: nudg}",
                "6:22: group \"g\", rule 1, \"A\": label \"action\": `nudg` is not an action; \
                 did you mean `nudge`?",
            ),
            (
                "alert: A\n    expr: up\n    labels: {action: '{{ $labels.x }}'}",
                "6:22: group \"g\", rule 1, \"A\": label \"action\": must be a word, not a template; \
                 known actions: none, advise, nudge, restart, decide, rollback_advice",
            ),
        ];
        for (keys, want) in cases {
            assert_eq!(problems(&rule(keys)), want, "{keys}");
        }
    }

    #[test]
    fn expression_errors_point_at_the_character() {
        let cases = [
            ("expr: sum(up) +* 3", "4:20"),
            ("expr: |\n        sum(up)\n          +* 3", "6:12"),
            ("expr: >-\n        sum(up)\n        +* 3", "6:10"),
            ("expr: 'rat(up[5m])'", "4:12"),
        ];
        for (expr, want) in cases {
            let text = format!("groups:\n- name: g\n  rules:\n  - {expr}\n    record: x\n");
            let shown = problems(&text);
            assert!(
                shown.starts_with(&format!(
                    "{want}: group \"g\", rule 1, \"x\": could not parse expression: "
                )),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_helps_comes_with_a_broken_query_or_text() {
        for (rule, want) in [
            ("{record: x, expr: 'sum(up'}", "; the `(` at 1:4 is not closed: write `)`"),
            ("{alert: x, expr: up, labels: {a: '{{ $value'}}", "; close it with `}}`"),
            (
                "{alert: x, expr: up, annotations: {a: '{{ if true }}'}}",
                "; what begins here needs `{{ end }}`",
            ),
        ] {
            let told = problems(&format!("groups: [{{name: g, rules: [{rule}]}}]\n"));
            assert!(told.ends_with(want), "{told}");
        }
    }

    #[test]
    fn rules_that_can_never_have_a_result_are_refused() {
        for (expr, kind) in [("up[5m]", "range vector"), ("\"text\"", "string")] {
            let text = format!("groups: [{{name: g, rules: [{{record: x, expr: '{expr}'}}]}}]\n");
            let told = problems(&text);
            let words = "group \"g\", rule 1, \"x\": rule result is not a vector or scalar";
            assert!(told.contains(words) && told.contains(kind), "{told}");
            assert!(told.contains("1:"), "{told}");
        }
    }

    /// A rule has neither steps nor a range.
    #[test]
    fn rules_whose_ranges_are_never_above_zero_are_refused() {
        for (expr, column, why) in [
            ("1 + rate(up[step()])", 56, "duration must be greater than 0"),
            ("rate(up[range() * 2])", 52, "duration must be greater than 0"),
            ("max_over_time(up[1h:step()])", 61, "duration must be greater than 0"),
            ("up offset (1 / step())", 47, "division by zero"),
            ("rate(up[5m] offset (1 / step()))", 52, "division by zero"),
            ("max_over_time(up[range():1m])", 61, "duration must be greater than 0"),
            ("max_over_time(up[1h:1m] offset (1 / step()))", 61, "division by zero"),
        ] {
            let text = format!("groups: [{{name: g, rules: [{{record: x, expr: '{expr}'}}]}}]\n");
            let want = format!(
                "1:{column}: group \"g\", rule 1, \"x\": the rule can never be evaluated: {why}; in a rule \
                 `step()` and `range()` are 0: write how long"
            );
            assert_eq!(problems(&text), want);
        }
        one_group(
            "groups: [{name: g, rules: [{record: x, expr: 'rate(up[max_of(step(), 1m)] offset step())'}]}]\n",
        );
    }

    #[test]
    fn groups_are_checked_and_nothing_hides_anything() {
        let text = "groups:\n\
                    - rules: []\n\
                    - name: g\n  labels: {1a: b, action: act}\n\
                    - name: g\n  interval: x\n  limt: 3\n  rules: [{record: a b, expr: up}, x]\n\
                    grops: 1\n";
        assert_eq!(
            problems(text),
            "2:3: Groupname must not be empty\n\
             4:12: group \"g\": invalid label name: 1a\n\
             4:27: group \"g\": label \"action\": `act` is not an action; known actions: none, \
             advise, nudge, restart, decide, rollback_advice\n\
             5:3: groupname: \"g\" is repeated in the same file\n\
             6:13: groups[2].interval: `x` is not a duration; write for example `30s`, `5m` or \
             `1h30m`\n\
             7:3: groups[2]: unknown key `limt`; did you mean `limit`?\n\
             8:20: group \"g\", rule 1, \"a b\": invalid recording rule name: a b\n\
             8:36: groups[2].rules[1]: must be a map, not a single value\n\
             9:1: unknown key `grops`; did you mean `groups`?"
        );
    }

    #[test]
    fn problems_carry_the_path_for_machines() {
        let text = "groups: [{name: g, rules: [{alert: A, expr: 'up +'}]}]";
        let (groups, problems) =
            load(&[("a.yml".to_owned(), text.to_owned())], &ParseOptions::default());
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["groups[0].rules[0].expr"]);
        assert!(groups[0].rules.is_empty(), "a rule with a problem is left out");
    }

    #[test]
    fn the_same_group_name_may_stand_in_two_files() {
        let text = "groups: [{name: g, rules: []}]".to_owned();
        let (groups, problems) = load(
            &[("a.yml".to_owned(), text.clone()), ("b.yml".to_owned(), text)],
            &ParseOptions::default(),
        );
        assert!(problems.is_empty(), "{problems}");
        let files: Vec<&str> = groups.iter().map(|group| group.file.as_str()).collect();
        assert_eq!(files, ["a.yml", "b.yml"]);
    }
}
