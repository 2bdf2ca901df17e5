//! Runs of containers, as far as they were told: which have begun, and which have ended.
//!
//! A run has one end. Events tell of begin and end in order, but a daemon that dies takes its memory of them
//! along, and what the next one lists tells of the last run alone, and as the time of its end at times that at
//! which this daemon came back. So an end is known again by its run, and not by its time.

use std::collections::BTreeMap;

use super::container::{Container, ContainerId};
use crate::base::Timestamp;

/// The last run of an incarnation that anybody told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    /// When it began, if anybody said so.
    began: Option<Timestamp>,
    /// An event said so; what lists and inspects Docker shows may be a moment earlier.
    is_told: bool,
    /// When it ended, if it did.
    ended: Option<Timestamp>,
    /// What Docker stamped it with as it began, if the clock was set back since: it lists that still.
    stamped: Option<Timestamp>,
}

/// An end that no event told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Untold {
    /// When that run began, if anybody said so.
    pub began: Option<Timestamp>,
    /// When it had ended, at the latest.
    pub at: Timestamp,
    /// Whether what is listed is this end, with its exit code and flag: of one that was started again nobody
    /// knows them.
    pub is_last: bool,
}

impl Run {
    /// As a container looks that was never seen before; nothing if it was never started.
    fn of(container: &Container) -> Option<Run> {
        let Container { started_at: began, finished_at, status, .. } = container;
        let ended = finished_at.filter(|_| !status.is_alive());
        let is_one = status.is_alive() || ended.is_some();
        is_one.then_some(Run { ended, ..Run::begun(*began, false) })
    }

    fn begun(began: Option<Timestamp>, is_told: bool) -> Run {
        Run { began, is_told, ended: None, stamped: None }
    }

    /// Whether a run that began then came after it, as Docker's word of a container goes.
    fn is_before(&self, start: Timestamp) -> bool {
        match self.ended {
            // Of an end that nobody saw no more is known than when the next run began.
            Some(ended) => start >= ended && Some(start) != self.began,
            None => self.began.is_none_or(|began| start > began),
        }
    }

    /// Whether a container that is listed with this start is in the run that it was in before the clock was set
    /// back.
    fn was_stamped(&self, start: Timestamp) -> bool {
        self.stamped.is_some_and(|stamped| stamped.is_same_start(start))
    }

    /// Goes on to what a container looks like; the ends in it that were not told.
    fn go_on(&mut self, container: &Container) -> Vec<Untold> {
        let is_alive = container.status.is_alive();
        let finished_at = container.finished_at;
        let mut untold = Vec::new();
        let is_another = |start: &Timestamp| self.is_before(*start) && !self.was_stamped(*start);
        if let Some(start) = container.started_at.filter(is_another) {
            if let (Some(began), None) = (self.began, self.ended) {
                let is_its = |end: &Timestamp| is_alive && (began..=start).contains(end);
                let at = finished_at.filter(is_its).unwrap_or(start);
                untold.push(Untold { began: self.began, at, is_last: false });
            }
            *self = Run::begun(Some(start), false);
        }
        let is_its = |end: &Timestamp| self.began.is_none_or(|began| *end >= began);
        if let (false, None, Some(at)) = (is_alive, self.ended, finished_at.filter(is_its)) {
            untold.push(Untold { began: self.began, at, is_last: true });
            self.ended = Some(at);
        }
        untold
    }
}

/// The last run of every container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Runs {
    by_id: BTreeMap<ContainerId, Run>,
}

impl Runs {
    /// As a container was known before our restart, and the last end of it that was told. What is stamped with a time
    /// that is to come was before the clock was set back.
    pub fn restore(&mut self, container: &Container, last_end: Option<Timestamp>, now: Timestamp) {
        let Some(run) = Run::of(container) else { return };
        let is_its = |end: &Timestamp| run.began.is_some_and(|began| *end >= began);
        let ended = run.ended.max(last_end.filter(is_its)).map(|end| end.min(now));
        let stamped = run.began.filter(|began| *began > now);
        let began = run.began.filter(|_| stamped.is_none());
        self.by_id.insert(container.id.clone(), Run { began, ended, stamped, ..run });
    }

    /// An event tells that a run began. If that of before has not ended yet, it has.
    pub fn start(&mut self, id: &ContainerId, at: Timestamp) -> Option<Untold> {
        let begun = Run::begun(Some(at), true);
        let Some(run) = self.by_id.get_mut(id) else {
            self.by_id.insert(id.clone(), begun);
            return None;
        };
        if !run.is_before(at) {
            return None;
        }
        let began = run.began.filter(|_| run.ended.is_none());
        if began.is_some_and(|began| !run.is_told && !at.is_later_start(began)) {
            run.is_told = true;
            return None;
        }
        *run = begun;
        began.map(|_| Untold { began, at, is_last: false })
    }

    /// An event tells that a run ended.
    pub fn end(&mut self, id: &ContainerId, at: Timestamp) {
        let run = self.by_id.get_mut(id);
        if let Some(run) = run.filter(|run| run.began.is_none_or(|began| at >= began)) {
            run.ended = run.ended.max(Some(at));
        }
    }

    /// A container is seen: if it never was before, it is known from now on. Whether it tells of something that
    /// no event has told yet.
    pub fn see(&mut self, container: &Container) -> bool {
        match self.by_id.get(&container.id) {
            Some(run) => {
                let mut listed = *run;
                listed.go_on(container);
                !container.is_glimpse && listed != *run
            }
            None => {
                let run = Run::of(container);
                self.by_id.extend(run.map(|run| (container.id.clone(), run)));
                false
            }
        }
    }

    /// Believes what a container looked like: events had told all that happened until then. The ends that they
    /// had not.
    pub fn believe(&mut self, container: &Container) -> Vec<Untold> {
        let run = self.by_id.get_mut(&container.id);
        run.map_or_else(Vec::new, |run| run.go_on(container))
    }

    /// Whether an event has told that the run began that Docker says began then.
    pub fn has_told_start(&self, id: &ContainerId, at: Timestamp) -> bool {
        let run = self.by_id.get(id).filter(|run| run.is_told);
        run.and_then(|run| run.began).is_some_and(|began| began >= at)
    }

    /// Whether its last run has not ended, as far as that was told.
    pub fn is_open(&self, id: &ContainerId) -> bool {
        self.by_id.get(id).is_some_and(|run| run.ended.is_none())
    }

    /// A container is gone for good.
    pub fn remove(&mut self, id: &ContainerId) {
        self.by_id.remove(id);
    }

    /// Forgets those that nobody knows.
    pub fn retain(&mut self, is_known: impl Fn(&ContainerId) -> bool) {
        self.by_id.retain(|id, _| is_known(id));
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) {
        for run in self.by_id.values_mut() {
            run.stamped = run.stamped.or(run.began);
            run.began.iter_mut().chain(&mut run.ended).for_each(&shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::Status;
    use super::*;

    fn web(status: Status, (started, finished): (i64, i64)) -> Container {
        let id = ContainerId::new(&"a".repeat(64)).expect("64 digits");
        let made = Container::new(id, "web", Timestamp(0));
        let at = |second: i64| (second > 0).then_some(Timestamp(second * 1000));
        Container { status, started_at: at(started), finished_at: at(finished), ..made }
    }

    /// A container that was seen like this first.
    fn seen(status: Status, times: (i64, i64)) -> (Runs, ContainerId) {
        let (mut runs, container) = (Runs::default(), web(status, times));
        assert!(!runs.see(&container) && !runs.see(&container), "it is no news");
        (runs, container.id)
    }

    /// The ends that a list tells, in seconds, and of a run that began then.
    fn believed(runs: &mut Runs, status: Status, times: (i64, i64)) -> Vec<(i64, i64)> {
        let container = web(status, times);
        let (is_news, before) = (runs.see(&container), runs.clone());
        let untold = runs.believe(&container);
        assert_eq!(is_news, *runs != before);
        let seconds = |at: Timestamp| at.0 / 1000;
        let pair = |end: Untold| (end.began.map_or(0, seconds), seconds(end.at));
        untold.into_iter().map(pair).collect()
    }

    #[test]
    fn a_list_tells_the_ends_of_runs_that_events_did_not_end() {
        use Status::{Created, Exited, Running};
        for (ended, status, times, want) in [
            (None, Running, (10, 5), &[][..]),
            (None, Exited, (10, 20), &[(10, 20)]),
            (None, Running, (30, 20), &[(10, 20)]),
            (None, Running, (30, 5), &[(10, 30)]),
            (None, Exited, (30, 40), &[(10, 30), (30, 40)]),
            (None, Exited, (0, 0), &[]),
            // Told, and the list says that it was later, or earlier.
            (Some(15), Exited, (10, 20), &[]),
            (Some(25), Exited, (10, 20), &[]),
            (Some(15), Running, (30, 20), &[]),
            (Some(15), Exited, (30, 40), &[(30, 40)]),
        ] {
            let (mut runs, id) = seen(Running, (10, 5));
            ended.iter().for_each(|second| runs.end(&id, Timestamp(second * 1000)));
            assert_eq!(believed(&mut runs, status, times), want, "{ended:?} {status:?} {times:?}");
            assert_eq!(believed(&mut runs, status, times), [], "once");
        }
        // Of one that runs since nobody knows when.
        let (mut runs, _) = seen(Running, (0, 0));
        assert_eq!(believed(&mut runs, Running, (10, 5)), []);
        let (mut runs, id) = seen(Running, (0, 0));
        assert_eq!(
            (runs.is_open(&id), believed(&mut runs, Exited, (10, 20))),
            (true, vec![(10, 20)])
        );
        let (runs, id) = seen(Created, (0, 0));
        assert!(!runs.is_open(&id));
    }

    #[test]
    fn a_start_tells_the_end_of_the_run_before_it_unless_it_is_the_start_of_that() {
        let start = |runs: &mut Runs, id: &ContainerId, ms: i64| {
            runs.start(id, Timestamp(ms)).map(|end| (end.began, end.at.0))
        };
        let (mut runs, id) = seen(Status::Running, (10, 5));
        assert_eq!(start(&mut runs, &id, 9_000), None, "one before");
        assert_eq!(start(&mut runs, &id, 10_400), None, "it was listed before it was told");
        assert_eq!(start(&mut runs, &id, 12_000), Some((Some(Timestamp(10_000)), 12_000)));
        assert_eq!(start(&mut runs, &id, 12_000), None, "told again");
        assert_eq!(start(&mut runs, &id, 12_100), Some((Some(Timestamp(12_000)), 12_100)));
        runs.end(&id, Timestamp(12_050));
        assert!(runs.is_open(&id), "that was one before");
        runs.end(&id, Timestamp(13_000));
        assert_eq!((runs.is_open(&id), start(&mut runs, &id, 13_100)), (false, None));
        // Nobody knows since when it runs.
        let (mut runs, id) = seen(Status::Running, (0, 0));
        assert_eq!(start(&mut runs, &id, 9_000), None);
        runs.retain(|_| false);
        assert_eq!((start(&mut runs, &id, 9_000), runs.is_open(&id)), (None, true));
    }

    /// The run began and ended while nobody wrote down more of the container than that it had ended before.
    #[test]
    fn an_end_that_was_told_is_none_of_the_list_after_our_restart_however_old_the_container_s_row()
    {
        for (last, want) in
            [(None, vec![(20, 30)]), (Some(12_000), vec![(20, 30)]), (Some(30_000), vec![])]
        {
            let mut runs = Runs::default();
            runs.restore(&web(Status::Exited, (10, 12)), last.map(Timestamp), Timestamp(99_000));
            assert_eq!(believed(&mut runs, Status::Exited, (20, 30)), want, "{last:?}");
        }
    }

    #[test]
    fn an_end_that_was_told_before_our_restart_is_the_end_of_the_run_that_began_before_it() {
        for (end, want) in [(None, true), (Some(9_000), true), (Some(15_000), false)] {
            let (mut runs, container) = (Runs::default(), web(Status::Running, (10, 5)));
            runs.restore(&container, end.map(Timestamp), Timestamp(99_000));
            assert_eq!(runs.is_open(&container.id), want, "{end:?}");
        }
    }
}
