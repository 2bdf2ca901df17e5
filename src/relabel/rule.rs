//! One relabelling rule: what was written ([`RuleSpec`]) and what was checked ([`Rule`]).

use crate::regex::Pattern;

/// A rule as it stands in the configuration: `None` is a key that was not written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RuleSpec {
    /// The labels whose values are joined; none unless written.
    pub source_labels: Option<Vec<String>>,
    /// What joins them; `;` unless written.
    pub separator: Option<String>,
    /// RE2, anchored at both ends; `(.*)` unless written.
    pub regex: Option<String>,
    /// What `hashmod` divides by.
    pub modulus: Option<u64>,
    /// The label that is written, or compared with.
    pub target_label: Option<String>,
    /// What is written, with `$1` for the regex's groups; `$1` unless written.
    pub replacement: Option<String>,
    /// `replace` unless written; case does not matter.
    pub action: Option<String>,
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// A rule that passed every check of its action.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub(super) source_labels: Vec<String>,
    pub(super) separator: String,
    pub(super) regex: Pattern,
    /// Above zero for `hashmod`.
    pub(super) modulus: u64,
    pub(super) target_label: String,
    pub(super) replacement: String,
    pub(super) action: Action,
}

impl Rule {
    /// The label that is written, or compared with; `""` if there is none.
    pub fn target_label(&self) -> &str {
        &self.target_label
    }

    /// Checks a rule as Prometheus 3 does (`relabel.Config.Validate`), in its words.
    pub fn new(spec: RuleSpec) -> Result<Rule, String> {
        let word = spec.action.as_deref().unwrap_or("replace").to_lowercase();
        let Some((word, action)) = ACTIONS.iter().find(|(known, _)| *known == word) else {
            let known = ACTIONS.iter().map(|(known, _)| *known);
            let hint = crate::base::closest(&word, known)
                .map_or(String::new(), |close| format!("; did you mean `{close}`?"));
            return Err(format!("unknown relabel action \"{word}\"{hint}"));
        };
        let source = spec.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let rule = Rule {
            source_labels: spec.source_labels.unwrap_or_default(),
            separator: spec.separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
            regex: Pattern::new(source)?,
            modulus: spec.modulus.unwrap_or(0),
            target_label: spec.target_label.unwrap_or_default(),
            replacement: spec.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned()),
            action: *action,
        };
        rule.check(word)?;
        Ok(rule)
    }

    fn check(&self, word: &str) -> Result<(), String> {
        let writes = matches!(
            self.action,
            Action::Replace
                | Action::HashMod
                | Action::Lowercase
                | Action::Uppercase
                | Action::KeepEqual
                | Action::DropEqual
        );
        let own_separator = self.separator != DEFAULT_SEPARATOR;
        let own_regex = self.regex.source() != DEFAULT_REGEX;
        let own_replacement = self.replacement != DEFAULT_REPLACEMENT;
        if self.modulus == 0 && self.action == Action::HashMod {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        if writes && self.target_label.is_empty() {
            return Err(format!(
                "relabel configuration for {word} action requires 'target_label' value"
            ));
        }
        match self.action {
            Action::Lowercase | Action::Uppercase if own_replacement => {
                Err(format!("'replacement' can not be set for {word} action"))
            }
            Action::LabelMap if self.replacement.is_empty() => {
                Err(format!("\"\" is invalid 'replacement' for {word} action"))
            }
            Action::KeepEqual | Action::DropEqual
                if own_separator || own_regex || own_replacement || self.modulus > 0 =>
            {
                Err(format!(
                    "{word} action requires only 'source_labels' and `target_label`, \
                     and no other fields"
                ))
            }
            Action::LabelDrop | Action::LabelKeep
                if !self.source_labels.is_empty()
                    || !self.target_label.is_empty()
                    || own_separator
                    || own_replacement
                    || self.modulus > 0 =>
            {
                Err(format!("{word} action requires only 'regex', and no other fields"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a template refers to a group of the regex.
pub(super) fn has_reference(template: &str) -> bool {
    template.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_forbids_what_prometheus_forbids() {
        let text = |text: &str| Some(text.to_owned());
        let of = |action: &str| RuleSpec { action: text(action), ..RuleSpec::default() };
        let target = |action: &str| RuleSpec { target_label: text("t"), ..of(action) };
        let cases = [
            (of("replce"), "unknown relabel action \"replce\"; did you mean `replace`?"),
            (of("replace"), "replace action requires 'target_label' value"),
            (of("lowercase"), "lowercase action requires 'target_label' value"),
            (of("keepequal"), "keepequal action requires 'target_label' value"),
            (target("hashmod"), "hashmod requires non-zero modulus"),
            (
                RuleSpec { modulus: Some(4), ..of("hashmod") },
                "hashmod action requires 'target_label' value",
            ),
            (
                RuleSpec { replacement: text("x"), ..target("uppercase") },
                "'replacement' can not be set for uppercase action",
            ),
            (
                RuleSpec { replacement: text(""), ..of("labelmap") },
                "\"\" is invalid 'replacement' for labelmap action",
            ),
            (
                RuleSpec { regex: text("x"), ..target("keepequal") },
                "keepequal action requires only 'source_labels'",
            ),
            (
                RuleSpec { modulus: Some(1), ..target("dropequal") },
                "dropequal action requires only 'source_labels'",
            ),
            (
                RuleSpec { separator: text(","), ..target("dropequal") },
                "dropequal action requires only 'source_labels'",
            ),
            (target("labeldrop"), "labeldrop action requires only 'regex', and no other fields"),
            (
                RuleSpec { source_labels: Some(vec!["a".to_owned()]), ..of("labelkeep") },
                "labelkeep action requires only 'regex', and no other fields",
            ),
            (
                RuleSpec { regex: text("("), ..target("replace") },
                "error parsing regexp: missing closing ): `(`",
            ),
        ];
        for (spec, want) in cases {
            let error = Rule::new(spec.clone()).expect_err(want);
            assert!(error.contains(want), "{spec:?}: {error}");
        }
    }

    #[test]
    fn defaults_are_prometheus_defaults() {
        let rule =
            Rule::new(RuleSpec { target_label: Some("t".to_owned()), ..RuleSpec::default() })
                .expect("is good");
        assert_eq!(rule.action, Action::Replace);
        assert_eq!((rule.separator.as_str(), rule.regex.source()), (";", "(.*)"));
        assert_eq!(rule.replacement, "$1");
    }
}
