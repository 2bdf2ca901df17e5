//! What an alert reads, through the records it is made of, down to what was scraped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::METRIC_NAME;
use crate::promql::{Features, LOOKBACK, QueryTimes, Reach, reach};
use crate::rules::{Group, Rule, RuleKind, order, reads_in_texts};
use crate::window::{Matcher, Selector};

/// What a case of an alert needs.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Series that are not made by rules.
    pub selectors: Vec<Arc<Selector>>,
    /// How far back the chain of rules looks together.
    pub back: Duration,
    /// How long before an evaluation the ranges begin that are read; none if all is read as it is.
    pub edges: BTreeSet<Duration>,
    /// All groups of the files that take part, in the order in which they run.
    pub groups: Vec<Group>,
    /// How often the alert's group is evaluated.
    pub interval: Duration,
    /// What its expressions may use.
    pub features: Features,
}

impl Wanted {
    /// The rule files that take part.
    pub fn files(&self) -> BTreeSet<&str> {
        self.groups.iter().map(|group| group.file.as_str()).collect()
    }

    /// The names of all that is not made by rules; those of selectors without one are missing.
    pub fn names(&self) -> BTreeSet<&str> {
        self.selectors.iter().filter_map(|selector| selector.metric_name()).collect()
    }
}

/// Follows an alert's reads; `None` if no rule has it. `interval` is that of groups without one.
pub fn wanted(
    groups: &[Group],
    alert: &str,
    interval: Duration,
    features: Features,
) -> Option<Wanted> {
    let all: Vec<(&Group, &Rule)> =
        groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))).collect();
    let mut records: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, (_, rule)) in all.iter().enumerate() {
        if let RuleKind::Record { name } = &rule.kind {
            records.entry(name).or_default().push(index);
        }
    }
    let is_alert = |rule: &Rule| matches!(rule.kind, RuleKind::Alert(_)) && rule.name() == alert;
    let first: Vec<usize> = (0..all.len()).filter(|index| is_alert(all[*index].1)).collect();
    let own = all[*first.first()?].0.interval;
    let mut open: Vec<(usize, Duration)> = first.iter().map(|i| (*i, Duration::ZERO)).collect();
    let mut seen: BTreeMap<usize, Duration> = BTreeMap::new();
    let (mut selectors, mut back) = (Vec::<Arc<Selector>>::new(), Duration::ZERO);
    let mut edges = BTreeSet::new();
    while let Some((index, after)) = open.pop() {
        // Records may read each other over rounds; who was followed as far back is not again.
        if seen.get(&index).is_some_and(|known| *known >= after) || seen.len() > 10_000 {
            continue;
        }
        seen.insert(index, after);
        for Read { selector, back: reaches, history } in read_by(all[index].1) {
            edges.extend(history.filter(|history| !history.is_zero()));
            let reaches = after + reaches;
            back = back.max(reaches);
            match selector.metric_name().and_then(|name| records.get(name)) {
                Some(made) if reaches < Duration::from_secs(24 * 3600) => {
                    open.extend(made.iter().map(|index| (*index, reaches)));
                }
                Some(_) => {}
                None => selectors.push(selector),
            }
        }
    }
    let files: BTreeSet<&str> = seen.keys().map(|index| all[*index].0.file.as_str()).collect();
    let parts: Vec<&Group> =
        groups.iter().filter(|group| files.contains(group.file.as_str())).collect();
    let groups = order(&parts).into_iter().map(|at| parts[at].clone()).collect();
    Some(Wanted { selectors, back, edges, groups, interval: own.unwrap_or(interval), features })
}

/// One selector of a rule.
struct Read {
    selector: Arc<Selector>,
    /// How far back its samples matter, with the time for which the alert has to hold.
    back: Duration,
    /// How far back one evaluation looks, beside the lookback; `None`: to a fixed time.
    history: Option<Duration>,
}

/// What a rule selects, and how far back; what its texts ask for, too.
fn read_by(rule: &Rule) -> Vec<Read> {
    let read = |found: Reach| {
        let back = found.back.unwrap_or(LOOKBACK);
        Read { selector: found.selector, back, history: found.history }
    };
    let found = reach(&rule.expr, QueryTimes::default());
    let mut reads: Vec<Read> = found.into_iter().map(read).collect();
    if let RuleKind::Alert(alert) = &rule.kind {
        reads.extend(reads_in_texts(rule).into_iter().map(|mut found| {
            // Its other labels may be known only once the text is rendered.
            if let Some(name) = found.selector.metric_name() {
                let by_name = vec![Matcher::equal(METRIC_NAME, name)];
                found.selector = Arc::new(Selector::new(by_name));
            }
            read(found)
        }));
        reads.iter_mut().for_each(|read| read.back += alert.for_);
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Labels;
    use crate::rules::load;

    #[test]
    fn an_alert_is_followed_down_to_what_was_scraped() {
        let rules = r#"groups: [{name: g, rules: [
            {record: 'a:r', expr: 'rate(raw_total[10m])'},
            {record: 'b:r', expr: 'max_over_time(a:r[1h])'},
            {record: 'c:r', expr: other},
            {alert: A, for: 5m, expr: 'b:r > on () group_left () limit{x="y"}',
             annotations: {summary: '{{ query "c:r{}" }} {{ printf "text_only{a=%q}" $labels.a | query }}'}}]}]"#;
        let (groups, problems) = load(
            &[("r.yml".to_owned(), rules.to_owned())],
            &crate::promql::ParseOptions::default(),
        );
        assert!(!problems.has_errors(), "{problems}");
        let found =
            wanted(&groups, "A", Duration::from_secs(7), Features::default()).expect("is there");
        let names: Vec<&str> = found.names().into_iter().collect();
        assert_eq!(names, ["limit", "other", "raw_total", "text_only"]);
        let by_name = Labels::from_pairs([(METRIC_NAME, "text_only")]);
        let takes = |selector: &&Arc<Selector>| selector.matches(&by_name);
        assert_eq!(found.selectors.iter().filter(takes).count(), 1, "whatever its labels");
        // `for` and lookback, the hour, the ten minutes.
        assert_eq!(found.back, Duration::from_secs((5 + 5 + 60 + 10) * 60));
        let edges: Vec<u64> = found.edges.iter().map(Duration::as_secs).collect();
        assert_eq!(edges, [10 * 60, 60 * 60]);
        assert_eq!((found.interval, found.groups.len()), (Duration::from_secs(7), 1));
        assert!(wanted(&groups, "B", Duration::ZERO, Features::default()).is_none());
    }
}
