//! What a recording covers, and where nobody saw anything.

use std::time::Duration;

use crate::base::Timestamp;

/// A target that says nothing for longer has a gap: by then what it said before is forgotten (the
/// lookback of an instant selector).
const GAP: Duration = Duration::from_secs(300);
/// Where nothing at all was recorded for longer, plimsoll was off, or its clock was wrong: an alert that is
/// unknown for so long is over, so there is nothing to live through.
const OFF: Duration = Duration::from_secs(3600);

/// From the last scrape before to the first one after.
pub type Gap = (Timestamp, Timestamp);

/// How much of a run was seen.
#[derive(Clone, PartialEq, Debug)]
pub struct Coverage {
    /// Time in which any target was seen.
    pub seen: Duration,
    /// Times in which a target that had been seen was not.
    pub gaps: Vec<Gap>,
    /// Times in which none was, long enough for plimsoll to have been off.
    pub off: Vec<Gap>,
}

impl Coverage {
    /// Of a run in which everything is seen.
    pub fn whole(lasted: Duration) -> Coverage {
        Coverage { seen: lasted, gaps: Vec::new(), off: Vec::new() }
    }

    /// Of a recording: when the scrapes of each target were made, oldest first.
    pub fn of(targets: &[Vec<Timestamp>]) -> Coverage {
        let mut all: Vec<Timestamp> = targets.concat();
        all.sort_unstable();
        let (first, last) = (all.first().copied(), all.last().copied());
        let unseen = gaps(all.iter().copied(), GAP);
        let lost: Duration = unseen.iter().map(|(from, to)| to.since(*from)).sum();
        let lasted = first.zip(last).map(|(first, last)| last.since(first));
        // A target whose last scrape lies before the end was not seen from then on.
        let of = |times: &Vec<Timestamp>| gaps(times.iter().copied().chain(last), GAP);
        Coverage {
            seen: lasted.unwrap_or_default().saturating_sub(lost),
            gaps: targets.iter().flat_map(of).collect(),
            off: gaps(all.into_iter(), OFF),
        }
    }

    /// Whether some target was not seen for a while between two times.
    pub fn has_gap(&self, from: Timestamp, to: Timestamp) -> bool {
        self.gaps.iter().any(|gap| gap.0 < to && from < gap.1)
    }
}

fn gaps(times: impl Iterator<Item = Timestamp>, longer: Duration) -> Vec<Gap> {
    let mut before: Option<Timestamp> = None;
    let apart = times.filter_map(|at| Some((before.replace(at)?, at)));
    apart.filter(|(from, to)| to.since(*from) > longer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_some_target_saw_is_seen_and_a_gap_of_any_is_a_gap() {
        let minutes = |from: i64, to: i64| (from..=to).map(|m| Timestamp(m * 60_000));
        let one: Vec<Timestamp> = minutes(0, 60).chain(minutes(90, 300)).collect();
        let other: Vec<Timestamp> = minutes(10, 70).chain(minutes(200, 200)).collect();
        let coverage = Coverage::of(&[one.clone(), other]);
        let at = |m: i64| Timestamp(m * 60_000);
        assert_eq!(coverage.seen, Duration::from_secs((300 - 20) * 60));
        let gaps = [(at(60), at(90)), (at(70), at(200)), (at(200), at(300))];
        assert_eq!((&coverage.gaps[..], &coverage.off[..]), (&gaps[..], &[][..]));
        assert!(coverage.has_gap(at(80), at(85)) && !coverage.has_gap(at(0), at(60)));
        let later: Vec<Timestamp> = one.into_iter().chain(minutes(361, 362)).collect();
        assert_eq!(Coverage::of(&[later]).off, [(at(300), at(361))]);
    }
}
