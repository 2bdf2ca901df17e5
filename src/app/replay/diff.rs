//! What two runs over the same recording do not share: alerts and actions that only one has, or
//! that come earlier or later in one than in the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::report::Report;
use crate::base::Timestamp;
use crate::outbox::WireTime;

/// One difference.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// `alert`, or the kind of action.
    pub what: String,
    /// The alert's name, or the action's subject.
    pub name: String,
    /// The alert's other labels that tell whose it is.
    pub of: String,
    /// When, in A if A has it.
    pub at: WireTime,
    /// How they differ.
    #[serde(flatten)]
    pub how: Change,
}

/// How one thing differs from A to B.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// B lacks it.
    OnlyInA,
    /// A lacks it.
    OnlyInB,
    /// B has it so many seconds later; earlier, if negative.
    Starts {
        /// Seconds.
        seconds_later: f64,
    },
    /// It ends in B so many seconds later; earlier, if negative. Only one of both ends: infinite.
    Ends {
        /// Seconds; `None` if it ends in one alone.
        seconds_later: Option<f64>,
    },
}

/// From when to when; the end is open for what lasts, or for what has none.
type Stretch = (Timestamp, Option<Timestamp>);
/// What, name, of whom.
type Key = (String, String, String);

/// Every difference from A to B, in the order of time.
pub fn differences(a: &Report, b: &Report) -> Vec<Difference> {
    let (in_a, in_b) = (stretches(a), stretches(b));
    let keys: BTreeSet<&Key> = in_a.keys().chain(in_b.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        let of = |all: &BTreeMap<Key, Vec<Stretch>>| all.get(key).cloned().unwrap_or_default();
        for (at, how) in pair(&of(&in_a), &of(&in_b)) {
            let (what, name, of) = key.clone();
            found.push(Difference { what, name, of, at: WireTime(at), how });
        }
    }
    found.sort_by_key(|difference| difference.at);
    found
}

fn stretches(report: &Report) -> BTreeMap<Key, Vec<Stretch>> {
    let mut all: BTreeMap<Key, Vec<Stretch>> = BTreeMap::new();
    for span in &report.alerts {
        // The labels a rule adds itself may differ between two versions of it.
        let whose = ["tenant", "service", "name", "instance", "job"];
        let whose = whose.into_iter().filter_map(|name| Some((name, span.labels.get(name)?)));
        let of: Vec<String> = whose.map(|(name, value)| format!("{name}={value}")).collect();
        let key = ("alert".to_owned(), span.alert.clone(), of.join(" "));
        all.entry(key).or_default().push((span.from.0, span.to.map(|to| to.0)));
    }
    for action in &report.actions {
        let key = (action.action.clone(), action.subject.clone(), action.alert.clone());
        // An action has no length of its own.
        all.entry(key).or_default().push((action.at.0, Some(action.at.0)));
    }
    all
}

/// Pairs what overlaps; of what does not, the first of A with the first of B, unless one of them
/// would better fit the next of the other.
fn pair(a: &[Stretch], b: &[Stretch]) -> Vec<(Timestamp, Change)> {
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while i < a.len() || j < b.len() {
        match (a.get(i), b.get(j)) {
            (Some(left), Some(right)) if nearer(left, &b[j..]) && nearer(right, &a[i..]) => {
                found.extend(compare(left, right));
                (i, j) = (i + 1, j + 1);
            }
            (Some(left), Some(right)) if left.0 <= right.0 => {
                found.push((left.0, Change::OnlyInA));
                i += 1;
            }
            (_, Some(right)) => {
                found.push((right.0, Change::OnlyInB));
                j += 1;
            }
            (Some(left), None) => {
                found.push((left.0, Change::OnlyInA));
                i += 1;
            }
            (None, None) => break,
        }
    }
    found
}

/// Whether the first of these begins no further away than the second.
fn nearer(one: &Stretch, others: &[Stretch]) -> bool {
    let apart = |other: &Stretch| (other.0.0 - one.0.0).abs();
    others.get(1).is_none_or(|next| apart(&others[0]) <= apart(next))
}

fn compare(a: &Stretch, b: &Stretch) -> Vec<(Timestamp, Change)> {
    let seconds = |from: Timestamp, to: Timestamp| (to.0 - from.0) as f64 / 1000.0;
    let mut found = Vec::new();
    if a.0 != b.0 {
        found.push((a.0, Change::Starts { seconds_later: seconds(a.0, b.0) }));
    }
    let has_length = |stretch: &Stretch| stretch.1 != Some(stretch.0);
    if a.1 != b.1 && (has_length(a) || has_length(b)) {
        let later = a.1.zip(b.1).map(|(a, b)| seconds(a, b));
        found.push((a.1.or(b.1).unwrap_or(a.0), Change::Ends { seconds_later: later }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &[(i64, i64)], b: &[(i64, i64)], want: &str) {
        let made = |list: &[(i64, i64)]| -> Vec<Stretch> {
            let at = |s: i64| Timestamp(s * 1000);
            list.iter().map(|(from, to)| (at(*from), (*to > 0).then(|| at(*to)))).collect()
        };
        let shown = pair(&made(a), &made(b)).into_iter().map(|(at, how)| match how {
            Change::OnlyInA => format!("{}:A", at.0 / 1000),
            Change::OnlyInB => format!("{}:B", at.0 / 1000),
            Change::Starts { seconds_later } => format!("{}:start{seconds_later:+}", at.0 / 1000),
            Change::Ends { seconds_later } => {
                format!("{}:end{:+}", at.0 / 1000, seconds_later.unwrap_or(f64::INFINITY))
            }
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), want, "{a:?} {b:?}");
    }

    #[test]
    fn runs_are_paired_by_time() {
        check(&[(10, 20)], &[(10, 20)], "");
        check(&[(10, 20)], &[], "10:A");
        check(&[], &[(10, 20)], "10:B");
        check(&[(10, 20)], &[(15, 20)], "10:start+5");
        check(&[(10, 20)], &[(5, 25)], "10:start-5 20:end+5");
        check(&[(10, 20)], &[(10, 0)], "20:end+inf");
        check(&[(10, 20), (50, 60)], &[(50, 60)], "10:A");
        check(&[(10, 20)], &[(10, 20), (50, 60)], "50:B");
        check(&[(50, 60)], &[(10, 20), (49, 60)], "10:B 50:start-1");
        check(&[(10, 10)], &[(12, 12)], "10:start+2");
    }
}
