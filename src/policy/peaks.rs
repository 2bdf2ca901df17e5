//! How many documents each of M2's virtual hosts makes at the day's peak.
//!
//! What may be pinned is reckoned at the peak: at night nobody builds documents, and advice that
//! resolves every night is no advice. So the highest count of the last 24 hours is kept in the
//! journal, with the bytes of the same window, and lives through restarts. Bounded: of falling
//! counts at most one an hour can ever become the peak.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::config::{DAY, HOUR};
use super::rows;
use crate::base::{Change, Labels, Timestamp, fingerprint};

/// Rows of this module in the table.
const PREFIX: &str = "m2_peak/";
/// Virtual hosts that are remembered; an M2 with more is a label gone wrong.
const MAX_VHOSTS: usize = 1000;

/// What was made within one window.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Documents.
    pub docs: f64,
    /// Their bytes.
    pub bytes: f64,
}

impl Made {
    /// Whether so many are enough for an average.
    fn counts(self, least: u64) -> bool {
        self.docs >= least as f64 && self.docs.is_finite() && self.bytes.is_finite()
    }
}

/// The high-water marks of all virtual hosts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Peaks {
    marks: BTreeMap<Labels, Mark>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Mark {
    labels: Labels,
    /// Oldest first, each higher than all after it; the first is the peak.
    highs: VecDeque<(Timestamp, Made)>,
    /// When its counters were there last; nobody knows after a restart.
    #[serde(skip)]
    seen: Option<Timestamp>,
    /// Whether they have been missing for an hour. Kept, or what is gone would come back with a restart.
    #[serde(default)]
    is_gone: bool,
}

impl Peaks {
    /// The marks as their rows tell them, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Peaks, Vec<String>) {
        let (marks, problems) = rows::read::<Mark>(PREFIX, rows);
        let marks = marks.into_iter().map(|(_, mark)| (mark.labels.clone(), mark)).collect();
        (Peaks { marks }, problems)
    }

    /// Takes in what a virtual host made within its window. Returns its row if that has changed.
    /// `labels` are `host`, `instance` and `vhost`; fewer documents than `least` are no peak.
    pub fn observe(
        &mut self,
        labels: &Labels,
        made: Made,
        least: u64,
        at: Timestamp,
    ) -> Option<Change> {
        let is_new = !self.marks.contains_key(labels);
        if is_new && (!made.counts(least) || self.marks.len() >= MAX_VHOSTS) {
            return None;
        }
        let new = || Mark {
            labels: labels.clone(),
            highs: VecDeque::new(),
            seen: Some(at),
            is_gone: false,
        };
        let mark = self.marks.entry(labels.clone()).or_insert_with(new);
        let changed = mark.take(made, least, at);
        changed.then(|| row(labels, Some(mark)))
    }

    /// The counters of a virtual host are there, whatever they say: a peak holds while a cold cache or
    /// a window that was not seen whole measures nothing. Returns its row if that has changed.
    pub fn see(&mut self, labels: &Labels, at: Timestamp) -> Option<Change> {
        let mark = self.marks.get_mut(labels)?;
        mark.seen = Some(at);
        std::mem::take(&mut mark.is_gone).then(|| row(labels, Some(mark)))
    }

    /// Forgets what is over, and takes for gone what was not seen for an hour: another instance's pages
    /// would else count twice for a day. Returns the rows that go with it. Call it once a minute.
    pub fn prune(&mut self, at: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        self.marks.retain(|labels, mark| {
            let known = (mark.highs.len(), mark.is_gone);
            mark.expire(at);
            mark.is_gone |= at.since(*mark.seen.get_or_insert(at)) >= HOUR;
            if mark.highs.is_empty() {
                changes.push(row(labels, None));
            } else if (mark.highs.len(), mark.is_gone) != known {
                changes.push(row(labels, Some(mark)));
            }
            !mark.highs.is_empty()
        });
        changes
    }

    /// The peak of each virtual host that is not gone.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, Made)> {
        let there = self.marks.values().filter(|mark| !mark.is_gone);
        there.filter_map(|mark| Some((&mark.labels, mark.highs.front()?.1)))
    }

    /// Moves the marks when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let moved = |at: Timestamp| Timestamp(at.0.saturating_add(by_ms));
        let rebase = |(labels, mark): (&Labels, &mut Mark)| {
            mark.seen = mark.seen.map(moved);
            mark.highs.iter_mut().for_each(|(at, _)| *at = moved(*at));
            row(labels, Some(mark))
        };
        self.marks.iter_mut().map(rebase).collect()
    }
}

impl Mark {
    fn take(&mut self, made: Made, least: u64, at: Timestamp) -> bool {
        let known = self.highs.len();
        self.expire(at);
        let expired = self.highs.len() < known;
        let is_covered = |(last, high): &(Timestamp, Made)| {
            *high == made || (high.docs >= made.docs && at.since(*last) < HOUR)
        };
        if !made.counts(least) || self.highs.back().is_some_and(is_covered) {
            return expired;
        }
        while self.highs.back().is_some_and(|(_, high)| high.docs <= made.docs) {
            self.highs.pop_back();
        }
        self.highs.push_back((at, made));
        true
    }

    fn expire(&mut self, at: Timestamp) {
        while self.highs.front().is_some_and(|(high, _)| at.since(*high) >= DAY) {
            self.highs.pop_front();
        }
    }
}

fn row(labels: &Labels, mark: Option<&Mark>) -> Change {
    rows::row(PREFIX, &format!("{:016x}", fingerprint(labels)), mark)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Table;

    const START: Timestamp = Timestamp(1_795_312_800_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u32) -> Timestamp {
        START + MINUTE * minutes
    }

    fn made(docs: f64) -> Made {
        Made { docs, bytes: docs * 10_000.0 }
    }

    fn vhost() -> Labels {
        Labels::from_pairs([("host", "web-7"), ("instance", "m2"), ("vhost", "example.com")])
    }

    /// The peak after somebody has looked at that minute.
    fn peak(peaks: &mut Peaks, minutes: u32) -> Option<f64> {
        let _ = peaks.prune(at(minutes));
        peaks.iter().next().map(|(_, made)| made.docs)
    }

    #[test]
    fn the_peak_holds_over_the_night_and_decays_after_a_day() {
        let mut peaks = Peaks::default();
        let mut rows = Vec::new();
        for minute in 0..=24 * 60 {
            // Up to the peak within an hour, then nobody is there; and a small peak in the morning.
            let docs = match minute {
                0..=60 => 100.0 + f64::from(minute) * 600.0,
                1200 => 20_000.0,
                _ => 0.0,
            };
            rows.extend(peaks.see(&vhost(), at(minute)));
            rows.extend(peaks.observe(&vhost(), made(docs), 100, at(minute)));
        }
        assert_eq!(peak(&mut peaks, 24 * 60), Some(36_100.0));
        assert!(rows.len() < 70, "an idle night writes nothing: {}", rows.len());
        let (mut back, problems) = Peaks::recover(rows.into_iter().chain([Change {
            table: Table::Guards,
            key: format!("{PREFIX}x"),
            value: Some(b"?".to_vec()),
        }]));
        assert_eq!(
            (peak(&mut back, 24 * 60), problems.len()),
            (Some(36_100.0), 1),
            "over a restart"
        );
        let _ = back.see(&vhost(), at(60 + 24 * 60));
        let row = back.observe(&vhost(), made(0.0), 100, at(60 + 24 * 60));
        assert!(row.is_some(), "what has decayed has decayed in the journal too");
        assert_eq!(peak(&mut back, 60 + 24 * 60), Some(20_000.0));
        let gone = back.prune(at(1200 + 24 * 60));
        assert!(gone.len() == 1 && gone[0].value.is_none(), "{gone:?}");
        assert_eq!(peak(&mut back, 1200 + 24 * 60), None);
    }

    #[test]
    fn a_falling_day_is_bounded_and_a_vanished_instance_counts_no_more() {
        let mut peaks = Peaks::default();
        for minute in 0..24 * 60 {
            let _ = peaks.observe(&vhost(), made(90_000.0 - f64::from(minute)), 100, at(minute));
            let _ = peaks.see(&vhost(), at(minute));
        }
        assert!(peaks.marks[&vhost()].highs.len() <= 24, "{}", peaks.marks[&vhost()].highs.len());
        assert_eq!(peak(&mut peaks, 24 * 60 + 30), Some(89_940.0), "an hour later");
        assert_eq!(peak(&mut peaks, 25 * 60), None, "its counters are gone for an hour");
        let back = peaks.see(&vhost(), at(24 * 60));
        assert!(back.is_some(), "it is there again");
        let _ = peaks.observe(&vhost(), made(f64::NAN), 100, at(24 * 60));
        let _ = peaks.observe(&vhost(), made(99.0), 100, at(24 * 60));
        assert!(peak(&mut peaks, 24 * 60).is_some_and(|docs| docs > 80_000.0));
    }

    #[test]
    fn a_peak_holds_while_counters_are_there_that_measure_nothing() {
        let mut peaks = Peaks::default();
        let _ = peaks.observe(&vhost(), made(5000.0), 100, at(0));
        for minute in 0..120 {
            assert_eq!(peaks.see(&vhost(), at(minute)), None, "nothing to write");
            assert_eq!(peak(&mut peaks, minute), Some(5000.0), "minute {minute}");
        }
    }

    #[test]
    fn what_is_gone_is_gone_over_a_restart_and_what_was_there_has_an_hour() {
        let mut peaks = Peaks::default();
        let mut rows: Vec<Change> =
            peaks.observe(&vhost(), made(5000.0), 100, at(0)).into_iter().collect();
        let there = rows.clone();
        rows.extend(peaks.prune(at(60)));
        assert_eq!(rows.len(), 2, "that it is gone is written");
        let (mut gone, _) = Peaks::recover(rows.into_iter().skip(1));
        assert_eq!(gone.iter().count(), 0, "at once");
        assert_eq!(peak(&mut gone, 70), None);
        assert!(gone.see(&vhost(), at(80)).is_some());
        assert_eq!(peak(&mut gone, 80), Some(5000.0), "it has come back");
        let (mut there, _) = Peaks::recover(there);
        assert_eq!(peak(&mut there, 600), Some(5000.0), "a restart says nothing of M2");
        assert_eq!(peak(&mut there, 659), Some(5000.0));
        assert_eq!(peak(&mut there, 660), None);
    }

    #[test]
    fn the_peak_moves_with_a_clock_that_steps_and_so_does_its_row() {
        let mut peaks = Peaks::default();
        let _ = peaks.observe(&vhost(), made(5000.0), 100, at(0));
        let rows = peaks.rebase(30 * 3_600_000);
        assert_eq!(peak(&mut peaks, 30 * 60), Some(5000.0));
        let (mut back, _) = Peaks::recover(rows);
        assert_eq!(peak(&mut back, 30 * 60), Some(5000.0), "over a restart");
    }
}
