//! Which series the selectors of a query mean, worked out away from the window.
//!
//! A query may have a thousand selectors, and a selector any number of conditions. So the window
//! gives no more than the labels of its series, and they are matched wherever there is time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::matcher::Selector;
use super::source::Span;
use crate::base::{HashMap, Labels};

/// The selectors of a query, each with the span it looks at.
pub type Wanted = [(Arc<Selector>, Span)];

/// The metrics that selectors name, and whether there is one that names none.
pub fn metrics(wanted: &Wanted) -> (BTreeSet<String>, bool) {
    let names = wanted.iter().map(|(selector, _)| selector.metric_name());
    (names.clone().flatten().map(str::to_owned).collect(), names.clone().any(|name| name.is_none()))
}

/// Series are matched in lots of this many between two looks at the time.
const LOT: usize = 16;

/// The series that a selector matches, each once, with the span that holds those of every selector
/// that matches it; in the order they are found. `None`: it took too long.
pub fn matching(
    series: &[Labels],
    wanted: &Wanted,
    expired: impl Fn() -> bool,
) -> Option<Vec<(Labels, Span)>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::default();
    for (at, labels) in series.iter().enumerate() {
        by_name.entry(labels.metric_name()).or_default().push(at);
    }
    let all: Vec<usize> = (0..series.len()).collect();
    let mut found: Vec<(Labels, Span)> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; series.len()];
    for (selector, span) in wanted {
        let candidates = match selector.metric_name() {
            Some(name) => by_name.get(name).map_or(&[][..], Vec::as_slice),
            None => &all,
        };
        if expired() {
            return None;
        }
        for lot in candidates.chunks(LOT) {
            for &at in lot.iter().filter(|at| selector.matches(&series[**at])) {
                match places[at] {
                    Some(place) => found[place].1 = found[place].1.union(*span),
                    None => {
                        places[at] = Some(found.len());
                        found.push((series[at].clone(), *span));
                    }
                }
            }
            if expired() {
                return None;
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{METRIC_NAME, Timestamp};
    use crate::window::{MatchOp, Matcher};

    fn span(after: i64, upto: i64) -> Span {
        Span { after: Timestamp(after), upto: Timestamp(upto) }
    }

    fn series() -> Vec<Labels> {
        let of = |name, n: &str| Labels::from_pairs([(METRIC_NAME, name), ("n", n)]);
        vec![of("a", "1"), of("b", "1"), of("a", "2")]
    }

    #[test]
    fn a_series_is_found_once_with_the_span_of_all_who_want_it() {
        let named = |name| vec![Matcher::equal(METRIC_NAME, name)];
        let first = Matcher::equal("n", "1");
        let not_first = Matcher { op: MatchOp::NotEqual, ..first.clone() };
        let wanted = [
            (Arc::new(Selector::new(named("a"))), span(5, 9)),
            (Arc::new(Selector::new(vec![first])), span(2, 4)),
            (Arc::new(Selector::new([named("a"), vec![not_first]].concat())), span(7, 12)),
            (Arc::new(Selector::new(named("none"))), span(0, 99)),
        ];
        let found = matching(&series(), &wanted, || false).expect("in time");
        let [a1, b1, a2] = series().try_into().expect("three");
        let named: Vec<String> = metrics(&wanted).0.into_iter().collect();
        assert_eq!((named.join(" ").as_str(), metrics(&wanted).1), ("a none", true));
        assert!(!metrics(&wanted[2..]).1, "each has a name");
        assert_eq!(found, [(a1, span(2, 9)), (a2, span(5, 12)), (b1, span(2, 4))]);
    }

    #[test]
    fn matching_ends_when_its_time_is_over() {
        let looks = std::cell::Cell::new(0);
        let expired = || {
            looks.set(looks.get() + 1);
            looks.get() == 3
        };
        let many: Vec<Labels> = series().into_iter().cycle().take(10 * LOT).collect();
        let wanted = [(Arc::new(Selector::new(Vec::new())), span(0, 9))];
        assert_eq!(matching(&many, &wanted, expired), None);
        assert_eq!(looks.get(), 3, "not one lot further");
    }
}
