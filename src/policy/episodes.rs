//! How often a service has been in trouble lately: the count behind "frequent".
//!
//! One firing alert that asks for something is one episode. The last seven days are kept, in the
//! journal, because no window in memory is that long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Change, Table, Timestamp};

/// What counts as lately (domain.md §8).
const SPAN: Duration = Duration::from_secs(7 * 86_400);
/// Episodes remembered per subject: far more than any threshold asks for.
const MOST: usize = 100;
const PREFIX: &str = "episodes:";

/// When each subject's alerts began to fire.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Episodes {
    subjects: BTreeMap<String, Vec<Timestamp>>,
}

impl Episodes {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Episodes, Vec<String>) {
        let mut episodes = Episodes::default();
        let mut problems = Vec::new();
        for Change { table, key, value } in rows {
            let (Table::Guards, Some(value)) = (table, value) else { continue };
            let Some(subject) = key.strip_prefix(PREFIX) else { continue };
            match serde_json::from_slice::<Vec<Timestamp>>(&value) {
                Ok(times) => drop(episodes.subjects.insert(subject.to_owned(), times)),
                Err(error) => problems.push(format!("row {key} of table guards: {error}")),
            }
        }
        (episodes, problems)
    }

    /// Remembers an episode; the row belongs to the batch of the alert's edge.
    pub fn record(&mut self, subject: &str, at: Timestamp) -> Change {
        let times = self.subjects.entry(subject.to_owned()).or_default();
        times.retain(|before| at.since(*before) < SPAN);
        if times.len() == MOST {
            times.remove(0);
        }
        times.push(at);
        row(subject, times)
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let rebase = |(subject, times): (&String, &mut Vec<Timestamp>)| {
            times.iter_mut().for_each(|at| at.0 = at.0.saturating_add(by_ms));
            row(subject, times)
        };
        self.subjects.iter_mut().map(rebase).collect()
    }

    /// Episodes of the last seven days.
    pub fn count(&self, subject: &str, now: Timestamp) -> u64 {
        let times = self.subjects.get(subject).map_or(&[][..], Vec::as_slice);
        times.iter().filter(|at| now.since(**at) < SPAN).count() as u64
    }
}

fn row(subject: &str, times: &[Timestamp]) -> Change {
    let value = serde_json::to_vec(times).expect("numbers always write");
    Change { table: Table::Guards, key: format!("{PREFIX}{subject}"), value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_counted_and_survives_a_restart() {
        const DAY: i64 = 86_400_000;
        let mut episodes = Episodes::default();
        let rows: Vec<Change> =
            (0..9).map(|day| episodes.record("acme/app", Timestamp(day * DAY))).collect();
        assert_eq!(episodes.count("acme/app", Timestamp(8 * DAY)), 7);
        assert_eq!(episodes.count("other", Timestamp(8 * DAY)), 0);
        let bad =
            Change { table: Table::Guards, key: "episodes:x".into(), value: Some(b"{".to_vec()) };
        let (read, problems) = Episodes::recover([rows[8].clone(), bad]);
        assert_eq!(read.count("acme/app", Timestamp(8 * DAY)), 7);
        assert_eq!(problems.len(), 1);
        let rows = episodes.rebase(-30 * DAY);
        assert_eq!(episodes.count("acme/app", Timestamp(-22 * DAY)), 7, "the wall clock stepped");
        assert_eq!(Episodes::recover(rows).0, episodes);
        let rows: Vec<Change> = (0..300).map(|n| episodes.record("busy", Timestamp(n))).collect();
        let value = rows[299].value.clone().expect("written");
        let kept: Vec<Timestamp> = serde_json::from_slice(&value).expect("reads");
        assert_eq!((kept.len(), kept[99]), (MOST, Timestamp(299)));
    }
}
