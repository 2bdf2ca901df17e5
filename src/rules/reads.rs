//! What rules and the texts of their alerts read, and how far back: the input of the scanner's
//! selection and of retention.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::model::{Group, Rule};
use crate::base::METRIC_NAME;
use crate::promql::{LOOKBACK, QueryTimes, Reach, reach};
use crate::template::UNTOLD;
use crate::window::{Matcher, Selector};

/// The metrics that rules read, each with how long every sample of it can matter. Zero: only the newest
/// sample does, and that as long as the lookback of an instant selector.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    exact: BTreeMap<String, Duration>,
    /// Selectors that do not name their metric, such as `{__name__=~"a|b"}` or `{job="x"}`.
    open: Vec<(Arc<Selector>, Duration)>,
}

/// Everything the rules of these groups read, and what the texts of their alerts ask with `query`. A selector bound to a fixed time by `@` counts with
/// the lookback alone: no retention keeps a fixed time for ever (the lint `fixed-time` says so).
pub fn reads(groups: &[Group]) -> Reads {
    let mut reads = Reads::default();
    for group in groups {
        let behind = group.query_offset.unwrap_or_default();
        let of_exprs = group.rules.iter().flat_map(|r| reach(&r.expr, QueryTimes::default()));
        for found in of_exprs.chain(group.rules.iter().flat_map(reads_in_texts)) {
            let back = found.back.unwrap_or(LOOKBACK) + behind;
            let only_newest = found.history.is_some_and(|history| (history + behind).is_zero());
            reads.add(found.selector, if only_newest { Duration::ZERO } else { back });
        }
    }
    reads
}

/// What the texts of an alert read, as far as its metrics can be told before they are rendered.
pub fn reads_in_texts(rule: &Rule) -> Vec<Reach> {
    let asked = rule.asked().into_iter();
    let found = asked.flat_map(|(_, expr)| reach(&expr, QueryTimes::default()));
    found.filter(|found| is_told(&found.selector)).collect()
}

/// Whether it can be told which metrics a selector selects before the text is rendered that asks.
pub(super) fn is_told(selector: &Selector) -> bool {
    let of_name = |matcher: &&Matcher| matcher.name == METRIC_NAME;
    selector.matchers().iter().filter(of_name).all(|matcher| !matcher.value.contains(UNTOLD))
}

impl Reads {
    fn add(&mut self, selector: Arc<Selector>, back: Duration) {
        match selector.metric_name() {
            Some(name) => {
                let longest = self.exact.entry(name.to_owned()).or_default();
                *longest = back.max(*longest);
            }
            None => self.open.push((selector, back)),
        }
    }

    /// How long samples of this metric must be kept; `None` when no rule reads it.
    pub fn retention(&self, name: &str) -> Option<Duration> {
        let names_match = |selector: &Selector| {
            selector.matchers().iter().all(|m| m.name != METRIC_NAME || m.matches(name))
        };
        let open = self.open.iter().filter(|(selector, _)| names_match(selector));
        open.map(|(_, back)| *back).chain(self.exact.get(name).copied()).max()
    }

    /// The metrics read by name, in order, each with its retention by name alone.
    pub fn names(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.exact.iter().map(|(name, back)| (name.as_str(), *back))
    }

    /// How far back selectors that do not name their metric look; `None` if there are none.
    pub fn open_retention(&self) -> Option<Duration> {
        self.open.iter().map(|(_, back)| *back).max()
    }

    /// Whether some selector does not name its metric, so that every name has to be asked for with
    /// [`Reads::retention`].
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn read(keys: &str, exprs: &[&str]) -> Reads {
        let rules: String =
            exprs.iter().map(|expr| format!("  - record: r\n    expr: {expr}\n")).collect();
        let text = format!("groups:\n- name: g\n{keys}  rules:\n{rules}");
        let (groups, problems) =
            load(&[("a.yml".to_owned(), text)], &crate::promql::ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        reads(&groups)
    }

    #[test]
    fn each_name_is_kept_as_long_as_its_longest_reader_asks() {
        let exprs =
            ["rate(a[10m]) + b", "a offset 1h", "c @ 100", "max_over_time(b[1h:1m])", "a", "d > 1"];
        let shown = |reads: &Reads| -> Vec<String> {
            reads.names().map(|(name, back)| format!("{name} {}", back.as_secs() / 60)).collect()
        };
        let plain = read("", &exprs);
        assert_eq!(shown(&plain), ["a 65", "b 65", "c 5", "d 0"]);
        assert!(!plain.is_open());
        assert_eq!(plain.retention("e"), None);
        let behind = read("  query_offset: 1m\n", &exprs);
        assert_eq!(shown(&behind), ["a 66", "b 66", "c 6", "d 6"]);
    }

    #[test]
    fn what_texts_ask_is_kept_too() {
        let text = "groups: [{name: g, query_offset: 1m, rules: [{alert: A, expr: a, labels: {l: '{{ query \"b\" | \
                    len }}'}, annotations: {n: '{{ printf \"rate(c{i=%q}[1h]) / %s_d\" $labels.i \
                    $labels.m | query | len }}'}}, {record: r, expr: e, labels: {l: '{{ query \"f\" }}'}}]}]";
        let (groups, problems) =
            load(&[("a.yml".to_owned(), text.to_owned())], &crate::promql::ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        let reads = reads(&groups);
        let names: Vec<&str> = reads.names().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c", "e"], "labels of a record are no templates");
        assert_eq!(reads.retention("c"), Some(Duration::from_secs(3660)));
        assert!(!reads.is_open());
    }

    #[test]
    fn selectors_without_a_name_are_asked_about_each_name() {
        let minutes = |reads: &Reads, name| reads.retention(name).map(|d| d.as_secs() / 60);
        let some = read("", &["sum(rate({__name__=~\"a.*\",x!=\"\"}[1h]))", "ab offset 2h"]);
        assert!(some.is_open());
        assert_eq!(minutes(&some, "a"), Some(60));
        assert_eq!(minutes(&some, "ab"), Some(125));
        assert_eq!(minutes(&some, "b"), None);
        let every = read("", &["'count({job=\"x\"})'"]);
        assert_eq!(minutes(&every, "anything"), Some(0));
    }
}
