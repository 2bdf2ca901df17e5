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
        is_one.then_some(Run { began: *began, is_told: false, ended })
    }

    /// Whether a run that began then came after it, as Docker's word of a container goes.
    fn is_before(&self, start: Timestamp) -> bool {
        self.ended.or(self.began).is_none_or(|at| start > at)
    }

    /// Goes on to what a container looks like; the ends in it that were not told.
    fn go_on(&mut self, container: &Container) -> Vec<Untold> {
        let is_alive = container.status.is_alive();
        let finished_at = container.finished_at;
        let mut untold = Vec::new();
        if let Some(start) = container.started_at.filter(|start| self.is_before(*start)) {
            if let (Some(began), None) = (self.began, self.ended) {
                let is_its = |end: &Timestamp| is_alive && (began..=start).contains(end);
                let at = finished_at.filter(is_its).unwrap_or(start);
                untold.push(Untold { began: self.began, at, is_last: false });
            }
            *self = Run { began: Some(start), is_told: false, ended: None };
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
    /// As a container was known before our restart, and the last end that was told under its name.
    pub fn restore(&mut self, container: &Container, last_end: Option<Timestamp>) {
        let Some(run) = Run::of(container) else { return };
        let is_its = |end: &Timestamp| run.began.is_some_and(|began| *end >= began);
        let ended = run.ended.or(last_end.filter(is_its));
        self.by_id.insert(container.id.clone(), Run { ended, ..run });
    }

    /// An event tells that a run began. If that of before has not ended yet, it has.
    pub fn start(&mut self, id: &ContainerId, at: Timestamp) -> Option<Untold> {
        let begun = Run { began: Some(at), is_told: true, ended: None };
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
            run.began.iter_mut().chain(&mut run.ended).for_each(&shift);
        }
    }
}
