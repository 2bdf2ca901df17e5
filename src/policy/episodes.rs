//! How often a service has been in trouble lately: the count behind "frequent".
//!
//! A firing alert whose rule asks for something to be done to the service is an episode; what only
//! advises is none. What fires again within an hour is still the same trouble, and memory and CPU are
//! two: a customer is not sold memory for want of CPU. The last days are kept (seven, unless configuration says
//! otherwise), in the journal, because no window in memory is that long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnose::Cause;
use super::rows;
use crate::base::{Change, Timestamp};

/// What begins to fire so soon after the last is the same episode. Ours.
const APART: Duration = Duration::from_secs(3600);
/// Episodes remembered per subject: far more than any threshold asks for.
const MOST: usize = 100;
const PREFIX: &str = "episodes:";

/// What is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Memory.
    Memory,
    /// CPU time.
    Cpu,
    /// Nobody can say.
    Other,
}

impl Need {
    /// What is short by this diagnosis.
    pub fn of(cause: Cause) -> Need {
        match cause {
            Cause::CpuSaturation | Cause::CpuBurst => Need::Cpu,
            // Of whom others have the CPU nothing is short that a plan gives.
            Cause::CpuStarvation | Cause::Unclear => Need::Other,
            // Every other cause is one of memory.
            _ => Need::Memory,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Need::Memory => "memory",
            Need::Cpu => "cpu",
            Need::Other => "other",
        }
    }
}

/// When each subject's alerts began to fire, by what was short: of each episode the last time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Episodes {
    subjects: BTreeMap<String, Vec<Timestamp>>,
}

impl Episodes {
    /// The memory as its rows tell it, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Episodes, Vec<String>) {
        let (subjects, problems) = rows::read(PREFIX, rows);
        (Episodes { subjects: subjects.into_iter().collect() }, problems)
    }

    /// Remembers that an alert began to fire; the row belongs to the batch of the alert's edge.
    pub fn record(&mut self, subject: &str, need: Need, within: Duration, at: Timestamp) -> Change {
        let key = key(subject, need);
        let times = self.subjects.entry(key.clone()).or_default();
        times.retain(|before| at.since(*before) < within);
        if times.last().is_some_and(|last| at.since(*last) < APART) || times.len() == MOST {
            // The same trouble goes on; or there were so many that one more or less is none.
            times.pop();
        }
        times.push(at);
        row(&key, Some(times))
    }

    /// Forgets subjects that had none within this time; returns the rows that go with them.
    pub fn prune(&mut self, within: Duration, now: Timestamp) -> Vec<Change> {
        let mut gone = Vec::new();
        self.subjects.retain(|subject, times| {
            let counts = times.iter().any(|at| now.since(*at) < within);
            gone.extend((!counts).then(|| row(subject, None)));
            counts
        });
        gone
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let rebase = |(subject, times): (&String, &mut Vec<Timestamp>)| {
            times.iter_mut().for_each(|at| at.0 = at.0.saturating_add(by_ms));
            row(subject, Some(times))
        };
        self.subjects.iter_mut().map(rebase).collect()
    }

    /// Episodes that began within this time.
    pub fn count(&self, subject: &str, need: Need, within: Duration, now: Timestamp) -> u64 {
        let times = self.subjects.get(&key(subject, need)).map_or(&[][..], Vec::as_slice);
        times.iter().filter(|at| now.since(**at) < within).count() as u64
    }
}

/// A space, because no service has one in its name.
fn key(subject: &str, need: Need) -> String {
    format!("{subject} {}", need.name())
}

fn row(subject: &str, times: Option<&[Timestamp]>) -> Change {
    rows::row(PREFIX, subject, times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    #[test]
    fn what_is_over_is_forgotten() {
        let mut episodes = Episodes::default();
        let _ = episodes.record("a", Need::Memory, WEEK, Timestamp(0));
        let _ = episodes.record("b", Need::Cpu, WEEK, Timestamp(DAY));
        assert!(episodes.prune(WEEK, Timestamp(7 * DAY - 1)).is_empty());
        let [gone] = &episodes.prune(WEEK, Timestamp(7 * DAY))[..] else { panic!("one row") };
        assert_eq!((gone.key.as_str(), &gone.value), ("episodes:a memory", &None));
        assert_eq!(episodes.count("b", Need::Cpu, WEEK, Timestamp(7 * DAY)), 1);
    }

    #[test]
    fn nothing_that_a_plan_gives_is_short_where_a_neighbour_has_the_cpu() {
        assert_eq!(Need::of(Cause::CpuSaturation), Need::Cpu);
        assert_eq!(Need::of(Cause::CpuStarvation), Need::Other);
    }

    #[test]
    fn a_week_is_counted_and_survives_a_restart() {
        let mut episodes = Episodes::default();
        let mut record =
            |day| episodes.record("acme/app", Need::Memory, WEEK, Timestamp(day * DAY));
        let rows: Vec<Change> = (0..9).map(&mut record).collect();
        let count = |episodes: &Episodes, subject, need, day| {
            episodes.count(subject, need, WEEK, Timestamp(day * DAY))
        };
        assert_eq!(count(&episodes, "acme/app", Need::Memory, 8), 7);
        assert_eq!(count(&episodes, "acme/app", Need::Cpu, 8), 0, "that was never short");
        assert_eq!(count(&episodes, "other", Need::Memory, 8), 0);
        let bad =
            Change { table: Table::Guards, key: "episodes:x".into(), value: Some(b"{".to_vec()) };
        let (read, problems) = Episodes::recover([rows[8].clone(), bad]);
        assert_eq!(count(&read, "acme/app", Need::Memory, 8), 7);
        assert_eq!(problems.len(), 1);
        let rows = episodes.rebase(-30 * DAY);
        let count = count(&episodes, "acme/app", Need::Memory, -22);
        assert_eq!(count, 7, "the wall clock stepped");
        assert_eq!(Episodes::recover(rows).0, episodes);
    }

    #[test]
    fn how_far_back_episodes_count_is_said_by_whoever_asks() {
        let mut episodes = Episodes::default();
        let day = Duration::from_secs(86_400);
        for at in [0, DAY, 2 * DAY] {
            let _ = episodes.record("a", Need::Cpu, 30 * day, Timestamp(at));
        }
        let count = |within| episodes.count("a", Need::Cpu, within, Timestamp(2 * DAY));
        assert_eq!((count(day), count(2 * day), count(3 * day)), (1, 2, 3));
    }

    #[test]
    fn what_comes_back_within_an_hour_is_the_same_episode() {
        let mut episodes = Episodes::default();
        for (at, want) in [(0, 1), (HOUR - 1, 1), (2 * HOUR - 2, 1), (3 * HOUR - 2, 2)] {
            let _ = episodes.record("acme/app", Need::Cpu, WEEK, Timestamp(at));
            assert_eq!(episodes.count("acme/app", Need::Cpu, WEEK, Timestamp(at)), want, "{at}");
        }
    }

    #[test]
    fn memory_and_cpu_are_two_and_the_list_is_bounded() {
        assert_eq!(Need::of(Cause::Leak), Need::Memory);
        assert_eq!(Need::of(Cause::CpuSaturation), Need::Cpu);
        assert_eq!(Need::of(Cause::Unclear), Need::Other);
        let mut episodes = Episodes::default();
        let mut record = |n| episodes.record("busy", Need::Memory, WEEK, Timestamp(n * HOUR));
        let rows: Vec<Change> = (0..120).map(&mut record).collect();
        let value = rows[119].value.clone().expect("written");
        let kept: Vec<Timestamp> = serde_json::from_slice(&value).expect("reads");
        assert_eq!((kept.len(), kept[99]), (MOST, Timestamp(119 * HOUR)));
    }
}
