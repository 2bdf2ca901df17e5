//! Relabelling: rules that rewrite a label set, or drop the thing that carries it.
//!
//! One implementation serves targets, samples and alerts (`relabel_configs`,
//! `metric_relabel_configs`, `alert_relabel_configs`), with the semantics of Prometheus 3's
//! `model/relabel`: label names may be any text. Rules are checked once, when they are built; it
//! never reads a file and never fails while it is applied.

mod rule;

pub use rule::{Rule, RuleSpec};

use md5::{Digest, Md5};

use crate::base::{LabelsBuilder, METRIC_NAME};
use rule::{Action, has_reference};

/// Applies the rules in order. False if one of them dropped the set, which is then half-rewritten
/// and of no use.
pub fn apply(rules: &[Rule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| apply_one(rule, labels))
}

/// Whether any rule looks at `__name__`, may write it, or may take it away. The metric names of
/// such a job are not what the exposition says, so its bodies must be read whole.
pub fn reads_or_writes_name(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| match rule.action {
        Action::LabelMap => true,
        Action::LabelDrop => rule.regex.is_match(METRIC_NAME),
        Action::LabelKeep => !rule.regex.is_match(METRIC_NAME),
        _ => {
            rule.source_labels.iter().any(|name| name == METRIC_NAME)
                || rule.target_label == METRIC_NAME
                || (rule.action == Action::Replace && has_reference(&rule.target_label))
        }
    })
}

fn apply_one(rule: &Rule, labels: &mut LabelsBuilder) -> bool {
    let joined = || {
        let values: Vec<&str> = rule.source_labels.iter().map(|name| labels.get(name)).collect();
        values.join(&rule.separator)
    };
    match rule.action {
        Action::Drop => return !rule.regex.is_match(&joined()),
        Action::Keep => return rule.regex.is_match(&joined()),
        Action::DropEqual => return labels.get(&rule.target_label) != joined(),
        Action::KeepEqual => return labels.get(&rule.target_label) == joined(),
        Action::Replace => {
            let text = joined();
            let target = rule.regex.expand(&text, &rule.target_label).unwrap_or_default();
            // An empty target is one that did not match, or no label at all.
            if !target.is_empty() {
                let value = rule.regex.expand(&text, &rule.replacement).unwrap_or_default();
                labels.set(&target, &value);
            }
        }
        Action::Lowercase => {
            let text = joined();
            let lower: String = text.chars().map(|c| one_char(c, c.to_lowercase())).collect();
            labels.set(&rule.target_label, &lower);
        }
        Action::Uppercase => {
            let text = joined();
            let upper: String = text.chars().map(|c| one_char(c, c.to_uppercase())).collect();
            labels.set(&rule.target_label, &upper);
        }
        Action::HashMod => {
            let modulus = hash_tail(&joined()) % rule.modulus;
            labels.set(&rule.target_label, &modulus.to_string());
        }
        Action::LabelMap => {
            let mapped: Vec<(String, String)> = labels
                .iter()
                .filter_map(|(name, value)| {
                    Some((rule.regex.expand(name, &rule.replacement)?, value.to_owned()))
                })
                .collect();
            for (name, value) in mapped.iter().filter(|(name, _)| !name.is_empty()) {
                labels.set(name, value);
            }
        }
        Action::LabelDrop | Action::LabelKeep => {
            let drops = rule.action == Action::LabelDrop;
            let gone: Vec<String> = labels
                .iter()
                .filter(|(name, _)| rule.regex.is_match(name) == drops)
                .map(|(name, _)| name.to_owned())
                .collect();
            for name in &gone {
                labels.remove(name);
            }
        }
    }
    true
}

/// Go maps case rune by rune: a letter whose other case is more than one letter stays (`ß`).
fn one_char(letter: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(letter) } else { letter }
}

/// The last eight bytes of the MD5, big-endian, as Prometheus defines `hashmod`.
fn hash_tail(text: &str) -> u64 {
    let digest = Md5::digest(text.as_bytes());
    digest[8..].iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Labels;

    fn spec(action: &str) -> RuleSpec {
        RuleSpec { action: Some(action.to_owned()), ..RuleSpec::default() }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn sources(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn run(spec: RuleSpec, labels: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let rule = Rule::new(spec.clone()).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
        let mut builder = LabelsBuilder::from(&Labels::from_pairs(labels.iter().copied()));
        apply(&[rule], &mut builder)
            .then(|| builder.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    /// What one rule makes of `a="foo", b="bar", c="baz"`; `None` is dropped.
    fn check(spec: RuleSpec, want: Option<&[(&str, &str)]>) {
        let got = run(spec.clone(), &[("a", "foo"), ("b", "bar"), ("c", "baz")]);
        let want = want.map(|pairs| {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        });
        assert_eq!(got, want, "{spec:?}");
    }

    const ALL: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

    #[test]
    fn replace() {
        let base = |regex: &str, target: &str, replacement: &str| RuleSpec {
            source_labels: sources(&["a", "b"]),
            regex: text(regex),
            target_label: text(target),
            replacement: text(replacement),
            ..RuleSpec::default()
        };
        let with_d = |value| [("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", value)];
        check(base("(.*);(.*)", "d", "$2-${1}x"), Some(&with_d("bar-foox")));
        check(base("nope", "d", "x"), Some(ALL));
        check(base("f(.*);.*", "b", ""), Some(&[("a", "foo"), ("c", "baz")]));
        check(
            base("f(.*);.*", "${1}", "x"),
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("oo", "x")]),
        );
        check(base("(f)oo(z?);.*", "${2}", "x"), Some(ALL));
        let separator = RuleSpec { separator: text("|"), ..base(r"foo\|bar", "d", "hit") };
        check(separator, Some(&with_d("hit")));
        let whole = RuleSpec {
            source_labels: sources(&["c"]),
            target_label: text("d"),
            ..RuleSpec::default()
        };
        check(whole, Some(&with_d("baz")));
        let constant =
            RuleSpec { target_label: text("d"), replacement: text("k"), ..RuleSpec::default() };
        check(constant, Some(&with_d("k")));
    }

    #[test]
    fn keep_and_drop() {
        let base = |action: &str, regex: &str| RuleSpec {
            source_labels: sources(&["a"]),
            regex: text(regex),
            ..spec(action)
        };
        check(base("keep", "f.*"), Some(ALL));
        check(base("keep", "f"), None);
        check(base("drop", "f.*"), None);
        check(base("drop", "f"), Some(ALL));
        let equal = |action: &str, target: &str| RuleSpec {
            source_labels: sources(&["a"]),
            target_label: text(target),
            ..spec(action)
        };
        check(equal("keepequal", "a"), Some(ALL));
        check(equal("keepequal", "b"), None);
        check(equal("dropequal", "a"), None);
        check(equal("DropEqual", "b"), Some(ALL));
    }

    #[test]
    fn whole_label_sets() {
        let base = |action: &str, regex: &str| RuleSpec { regex: text(regex), ..spec(action) };
        check(base("labeldrop", "a|b"), Some(&[("c", "baz")]));
        check(base("labelkeep", "a|b"), Some(&[("a", "foo"), ("b", "bar")]));
        let nameless = RuleSpec { replacement: text("$1"), ..base("labelmap", "(x?).*") };
        check(nameless, Some(ALL));
        let map = RuleSpec { replacement: text("m_$1"), ..base("labelmap", "([ab])") };
        check(
            map,
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("m_a", "foo"), ("m_b", "bar")]),
        );
    }

    #[test]
    fn case_and_hash() {
        let base = |action: &str| RuleSpec {
            source_labels: sources(&["x"]),
            target_label: text("y"),
            ..spec(action)
        };
        let labels = [("x", "Straße-한")];
        let of = |action: &str| {
            run(base(action), &labels).and_then(|pairs| pairs.into_iter().nth(1)).map(|p| p.1)
        };
        assert_eq!(of("lowercase").as_deref(), Some("straße-한"));
        assert_eq!(of("uppercase").as_deref(), Some("STRAßE-한"));
        // python: int.from_bytes(hashlib.md5(b"foo").digest()[8:], "big") % 1000
        let hash = RuleSpec {
            source_labels: sources(&["a"]),
            target_label: text("d"),
            modulus: Some(1000),
            ..spec("hashmod")
        };
        check(hash, Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "696")]));
    }

    #[test]
    fn a_dropped_set_stops_the_rules() {
        let drop = RuleSpec { source_labels: sources(&["a"]), ..spec("drop") };
        let set =
            RuleSpec { target_label: text("z"), replacement: text("1"), ..RuleSpec::default() };
        let rules = [drop, set].map(|spec| Rule::new(spec).expect("is good"));
        let mut builder = LabelsBuilder::default();
        builder.set("a", "b");
        assert!(!apply(&rules, &mut builder));
        assert_eq!(builder.get("z"), "");
    }

    #[test]
    fn rules_that_touch_the_name_are_found() {
        let base = |source: &str, target: &str| RuleSpec {
            source_labels: sources(&[source]),
            target_label: text(target),
            ..RuleSpec::default()
        };
        let regex = |action: &str, regex: &str| RuleSpec { regex: text(regex), ..spec(action) };
        let drop = RuleSpec { source_labels: sources(&["__name__"]), ..regex("drop", "go_.*") };
        let cases = [
            (base("a", "b"), false),
            (base("__name__", "b"), true),
            (base("a", "__name__"), true),
            (base("a", "${1}"), true),
            (drop, true),
            (regex("labeldrop", "tmp_.*"), false),
            (regex("labeldrop", ".*"), true),
            (regex("labelkeep", "__name__|a"), false),
            (regex("labelkeep", "a"), true),
            (regex("labelmap", "tmp_(.*)"), true),
        ];
        for (spec, want) in cases {
            let rule = Rule::new(spec.clone()).expect("is good");
            assert_eq!(reads_or_writes_name(&[rule]), want, "{spec:?}");
        }
        assert!(!reads_or_writes_name(&[]));
    }
}
