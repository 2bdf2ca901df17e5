//! The lint `never-exposed-metric`: what no target exposes, by its name or by a pattern of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lint::selected;
use super::model::{Group, Rule};
use super::reads::is_told;
use crate::base::{METRIC_NAME, closest};
use crate::promql::ast::{Expr, ExprKind};
use crate::window::{Matcher, Selector};

/// What a running instance knows of metrics.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// Those it sees, and those it cannot tell about.
    pub names: BTreeSet<String>,
    /// Patterns of names that it cannot tell about, as [`patterns`] writes them.
    pub untold: BTreeSet<String>,
}

/// The selectors of an expression that select metrics by pattern, by what they say of the name:
/// `__name__=~"a.*"`. One that takes every name is none of them.
pub fn patterns(expr: &Expr) -> BTreeMap<String, Arc<Selector>> {
    let mut found = BTreeMap::new();
    expr.walk(&mut |node| {
        let selector = selected(node).map(|vector| &vector.selector);
        found.extend(selector.and_then(|s| Some((name_pattern(s)?, Arc::clone(s)))));
    });
    found
}

/// [`patterns`] of all rules of these groups, and of what their texts ask.
pub fn patterns_of(groups: &[Group]) -> BTreeMap<String, Arc<Selector>> {
    let rules = || groups.iter().flat_map(|group| &group.rules);
    let mut found: BTreeMap<_, _> = rules().flat_map(|rule| patterns(&rule.expr)).collect();
    let asked = rules().flat_map(Rule::asked);
    found.extend(asked.flat_map(|(_, expr)| patterns(&expr)));
    found.retain(|_, selector| is_told(selector));
    found
}

fn name_pattern(selector: &Selector) -> Option<String> {
    let of_name = || selector.matchers().iter().filter(|matcher| matcher.name == METRIC_NAME);
    let narrows = of_name().any(|matcher| !matcher.matches(""));
    let written: Vec<String> = of_name().map(Matcher::to_string).collect();
    (selector.metric_name().is_none() && narrows).then(|| written.join(","))
}

/// What an expression selects that nothing exposes: its place, and a sentence.
pub(super) fn unexposed(expr: &Expr, exposed: &Exposed) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // `absent` answers where nothing is.
    let mut meant_absent: Vec<*const Expr> = Vec::new();
    expr.walk(&mut |node| {
        if let ExprKind::Call(call) = &node.kind
            && ["absent", "absent_over_time"].contains(&call.func.name)
        {
            meant_absent.extend(call.args.iter().map(std::ptr::from_ref));
        }
        if meant_absent.contains(&std::ptr::from_ref(node)) {
            return;
        }
        let selector = selected(node).map(|vector| &vector.selector);
        let missing = selector.filter(|s| is_told(s)).and_then(|s| missing(s, exposed));
        found.extend(missing.map(|message| (node.span.start, message)));
    });
    found
}

fn missing(selector: &Selector, exposed: &Exposed) -> Option<String> {
    let Some(name) = selector.metric_name() else {
        let pattern = name_pattern(selector).filter(|text| !exposed.untold.contains(text))?;
        let none = exposed.names.iter().all(|name| !takes(selector, name));
        return none.then(|| format!("no target exposes a metric with `{pattern}`"));
    };
    if exposed.names.contains(name) {
        return None;
    }
    let near = closest(name, exposed.names.iter().map(String::as_str));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!("no target exposes `{name}`{hint}"))
}

/// Whether a selector selects a metric of this name, whatever its labels.
pub fn takes(selector: &Selector, name: &str) -> bool {
    let mut of_name = selector.matchers().iter().filter(|matcher| matcher.name == METRIC_NAME);
    of_name.all(|matcher| matcher.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::ParseOptions;
    use crate::rules::load;

    #[test]
    fn patterns_are_those_of_names_in_rules_and_texts() {
        let text = "groups: [{name: g, rules: [{record: r, expr: 'a + {b=\"c\"} + \
                    sum({__name__=~\"d.*\",e=\"f\",__name__!=\"g\"}) + {__name__=~\".*\",h=\"i\"}'}, \
                    {alert: A, expr: j, annotations: {k: '{{ query \"{__name__=~`l.*`}\" | len }}', m: \
                    '{{ printf \"{__name__=~`%s_n`}\" $labels.o | query | len }}'}}]}]";
        let (groups, problems) =
            load(&[("a.yml".to_owned(), text.to_owned())], &ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        let found: Vec<String> = patterns_of(&groups).into_keys().collect();
        assert_eq!(found, ["__name__=~\"d.*\",__name__!=\"g\"", "__name__=~\"l.*\""]);
    }
}
