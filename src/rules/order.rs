//! In which order rules run, so that a record is there for the rule that reads it.
//!
//! What stands in a circle keeps the order of the files: somebody has to go first, and authors
//! expect the file's order.

use super::model::{Group, Rule, RuleKind};
use crate::base::{HashMap, METRIC_NAME};
use crate::promql::{QueryTimes, Reach, reach};
use crate::window::Selector;

/// The order in which the groups of one round run, as indices into `groups`. A group that reads
/// nothing of the others stays where it is, as far as they allow.
pub fn order(groups: &[&Group]) -> Vec<usize> {
    let owners: Vec<usize> = (0..groups.len())
        .flat_map(|group| std::iter::repeat_n(group, groups[group].rules.len()))
        .collect();
    let rules: Vec<&Rule> = groups.iter().flat_map(|group| &group.rules).collect();
    let mut needs = vec![Vec::new(); groups.len()];
    for (rule, writers) in dependencies(&rules).into_iter().enumerate() {
        needs[owners[rule]].extend(writers.into_iter().map(|writer| owners[writer]));
    }
    sorted(needs)
}

/// The order in which the rules of one group run, as indices into its rules.
pub fn rule_order(group: &Group) -> Vec<usize> {
    let rules: Vec<&Rule> = group.rules.iter().collect();
    sorted(dependencies(&rules))
}

/// For each rule, the rules whose series it may read.
fn dependencies(rules: &[&Rule]) -> Vec<Vec<usize>> {
    let mut writers: HashMap<&str, Vec<usize>> = HashMap::default();
    for (index, rule) in rules.iter().enumerate() {
        for name in written(rule) {
            writers.entry(name).or_default().push(index);
        }
    }
    let everyone: Vec<usize> = (0..rules.len()).collect();
    let read_by = |rule: &&Rule| {
        let mut found: Vec<usize> = Vec::new();
        for Reach { selector, .. } in reach(&rule.expr, QueryTimes::default()) {
            let candidates = match selector.metric_name() {
                Some(name) => writers.get(name).map_or(&[][..], Vec::as_slice),
                None => &everyone,
            };
            let read = candidates.iter().filter(|writer| may_read(&selector, rules[**writer]));
            found.extend(read);
        }
        found
    };
    rules.iter().map(read_by).collect()
}

/// The names of the series a rule writes.
fn written(rule: &Rule) -> Vec<&str> {
    match &rule.kind {
        RuleKind::Record { name } => vec![name],
        RuleKind::Alert(_) => vec!["ALERTS", "ALERTS_FOR_STATE"],
    }
}

/// Whether a selector can select something the rule writes, by the labels that are sure.
fn may_read(selector: &Selector, rule: &Rule) -> bool {
    let is_alert = matches!(rule.kind, RuleKind::Alert(_));
    written(rule).into_iter().any(|name| {
        selector.matchers().iter().all(|matcher| match matcher.name.as_str() {
            METRIC_NAME => matcher.matches(name),
            "alertname" if is_alert => matcher.matches(rule.name()),
            _ => true,
        })
    })
}

/// Indices so that each comes after what it needs. Where there is a choice, and within a circle,
/// the lower index goes first.
fn sorted(mut needs: Vec<Vec<usize>>) -> Vec<usize> {
    needs.iter_mut().for_each(|needs| needs.sort_unstable());
    let mut tarjan = Tarjan {
        needs: &needs,
        state: vec![State::default(); needs.len()],
        stack: Vec::new(),
        visited: 0,
        order: Vec::with_capacity(needs.len()),
    };
    for index in 0..needs.len() {
        if tarjan.state[index].visit == 0 {
            tarjan.visit(index);
        }
    }
    tarjan.order
}

/// Tarjan's strongly connected components: they come out needed ones first, which is the order
/// looked for, and each of them is a circle or a single index.
struct Tarjan<'a> {
    needs: &'a [Vec<usize>],
    state: Vec<State>,
    stack: Vec<usize>,
    visited: usize,
    order: Vec<usize>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// When it was first visited, from 1; 0 is never.
    visit: usize,
    /// The earliest visit of anything on the stack that it leads to.
    low: usize,
    on_stack: bool,
}

impl Tarjan<'_> {
    fn visit(&mut self, index: usize) {
        self.visited += 1;
        let visit = self.visited;
        self.state[index] = State { visit, low: visit, on_stack: true };
        self.stack.push(index);
        let needs = self.needs;
        for &need in &needs[index] {
            if self.state[need].visit == 0 {
                self.visit(need);
                self.state[index].low = self.state[index].low.min(self.state[need].low);
            } else if self.state[need].on_stack {
                self.state[index].low = self.state[index].low.min(self.state[need].visit);
            }
        }
        if self.state[index].low == visit {
            let from = self.stack.iter().rposition(|i| *i == index).expect("it was pushed above");
            let mut circle = self.stack.split_off(from);
            circle.sort_unstable();
            for member in circle {
                self.state[member].on_stack = false;
                self.order.push(member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

    use super::super::load;
    use super::*;

    /// Groups as `a: x=y+1 z=x | b: …`: the order of the groups, then of the rules in the first.
    fn check(text: &str, want_groups: &[usize], want_rules: &[usize]) {
        let mut file = "groups:\n".to_owned();
        for (number, group) in text.split('|').enumerate() {
            file += &format!("- name: g{number}\n  rules:\n");
            for rule in group.split_whitespace() {
                let (name, expr) = rule.split_once('=').expect(rule);
                let kind = if name.starts_with(char::is_uppercase) { "alert" } else { "record" };
                file += &format!("  - {kind}: {name}\n    expr: '{}'\n", expr.replace('~', "=~"));
            }
        }
        let (groups, problems) =
            load(&[("a.yml".to_owned(), file)], &crate::promql::ParseOptions::default());
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(order(&groups.iter().collect::<Vec<_>>()), want_groups, "groups of {text}");
        assert_eq!(rule_order(&groups[0]), want_rules, "rules of {text}");
    }

    #[test]
    fn records_run_before_their_readers_and_circles_keep_the_files_order() {
        let cases: [(&str, &[usize], &[usize]); 14] = [
            ("a=up b=up", &[0], &[0, 1]),
            ("a=b b=up", &[0], &[1, 0]),
            ("a=up | b=up | c=up", &[0, 1, 2], &[0]),
            ("a=b | b=c | c=up", &[2, 1, 0], &[0]),
            ("a=up | b=d | c=up | d=up", &[0, 3, 1, 2], &[0]),
            ("x=b a=up | b=a", &[0, 1], &[0, 1]),
            ("x=c | a=b | b=a | c=b", &[1, 2, 3, 0], &[0]),
            ("a=d+b b=up c=up d=up", &[0], &[1, 3, 0, 2]),
            ("a=a b=c+d c=b d=up", &[0], &[0, 3, 1, 2]),
            ("a=sum({__name__~\"b.*\"}) bc=up", &[0], &[1, 0]),
            ("a=sum({__name__~\"x.*\"}) bc=up", &[0], &[0, 1]),
            ("a=count(ALERTS) B=up", &[0], &[1, 0]),
            ("a=count(ALERTS{alertname=\"C\"}) B=up", &[0], &[0, 1]),
            ("A=ALERTS{alertname=\"B\"} B=up", &[0], &[1, 0]),
        ];
        for (text, groups, rules) in cases {
            check(text, groups, rules);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_index_comes_once_and_after_what_it_needs(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..20)
        ) {
            let mut needs = vec![Vec::new(); 12];
            let mut circles = needs.clone();
            for (a, b) in edges {
                circles[a].push(b);
                needs[a.max(b)].push(a.min(b));
            }
            let mut any = sorted(circles);
            any.sort_unstable();
            proptest::prop_assert_eq!(any, (0..12).collect::<Vec<_>>());
            // Downward edges only: the given order already serves, so it stays.
            let order = sorted(needs);
            proptest::prop_assert_eq!(order, (0..12).collect::<Vec<_>>());
        }

        #[test]
        fn what_has_no_circle_is_in_order_of_need(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..20),
            names in proptest::strategy::Just((0_usize..12).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut needs = vec![Vec::new(); 12];
            for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
                needs[names[a.max(b)]].push(names[a.min(b)]);
            }
            let order = sorted(needs.clone());
            let rank = |index: usize| order.iter().position(|i| *i == index);
            for (index, needs) in needs.iter().enumerate() {
                proptest::prop_assert!(needs.iter().all(|need| rank(*need) < rank(index)));
            }
        }
    }
}
