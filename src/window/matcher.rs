//! Label matchers and the selector they form.

use std::fmt;

use crate::base::{Labels, METRIC_NAME, quoted};
use crate::regex::Pattern;

/// How a matcher compares.
#[derive(Clone, PartialEq, Debug)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex(Pattern),
    /// `!~`
    NotRegex(Pattern),
}

/// One condition on one label. An absent label is an empty one.
#[derive(Clone, PartialEq, Debug)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it compares.
    pub op: MatchOp,
    /// What it compares with: the text, or the pattern as it was written.
    pub value: String,
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.to_owned(), op: MatchOp::Equal, value: value.to_owned() }
    }

    /// Whether a label value meets the condition; `""` for an absent label.
    pub fn matches(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex(pattern) => pattern.is_match(value),
            MatchOp::NotRegex(pattern) => !pattern.is_match(value),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex(_) => "=~",
            MatchOp::NotRegex(_) => "!~",
        };
        write!(f, "{}{op}{}", self.name, quoted(&self.value))
    }
}

/// The matchers of one selector, all of which must hold, with the text that identifies them.
#[derive(Clone, Debug)]
pub struct Selector {
    matchers: Vec<Matcher>,
    /// `{__name__="up",job="x"}`: equal texts select equal series.
    text: String,
}

impl Selector {
    /// A selector of these matchers.
    pub fn new(matchers: Vec<Matcher>) -> Selector {
        let parts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        Selector { matchers, text: format!("{{{}}}", parts.join(",")) }
    }

    /// The conditions, as they were written.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The metric name this selector is bound to by `__name__="…"`, if it is.
    pub fn metric_name(&self) -> Option<&str> {
        self.matchers
            .iter()
            .find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal)
            .map(|m| m.value.as_str())
    }

    /// The conditions that fix another label than the metric's name to one value, each with that value.
    pub fn fixed_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let fixed =
            |m: &&Matcher| m.name != METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty();
        self.matchers.iter().filter(fixed).map(|m| (m.name.as_str(), m.value.as_str()))
    }

    /// Whether a series meets every condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Selector) -> bool {
        self.text == other.text
    }
}
