//! An end of which it is not known yet whether the kernel did it.
//!
//! Docker tells a kill before the end that it brought, as a rule: of 120 that were measured one came
//! 20 ms after. A count of ends never falls, so an end by SIGKILL that nobody asked for is counted and
//! told a moment later, under the name that is right by then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::ContainerId;
use super::end::{Death, End};
use crate::base::Timestamp;

/// A kill is told this long after the end at most.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// An end that waits for a word of the kernel's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    /// Of which incarnation.
    pub id: ContainerId,
    /// As far as it is known.
    pub death: Death,
    /// When that run began, if anybody said so.
    #[serde(default)]
    began: Option<Timestamp>,
    /// The kernel told of a kill in this run, too long before: any witness may mean that one.
    is_explained: bool,
    /// When the next run began: what is told of later is about that.
    started_at: Option<Timestamp>,
    /// Until when it waits. What was missed is told long afterwards, so this counts from when it was heard.
    #[serde(skip)]
    until: Option<Timestamp>,
}

impl Held {
    pub fn new(id: ContainerId, death: Death, run: (Option<Timestamp>, bool)) -> Held {
        let (began, is_explained) = run;
        Held { id, death, began, is_explained, started_at: None, until: None }
    }

    /// The container was started again.
    pub fn start(&mut self, at: Timestamp) {
        self.started_at.get_or_insert(at);
    }

    /// Whether a kill of that time brought this end.
    pub fn is_by(&self, id: &ContainerId, oom_at: Timestamp) -> bool {
        self.id == *id
            && self.started_at.is_none_or(|started_at| oom_at < started_at)
            && oom_at.since(self.death.at) <= TOLD_WITHIN
    }

    /// Whether it has waited for long enough; the first look begins the wait.
    pub fn is_over(&mut self, now: Timestamp) -> bool {
        let until = *self.until.get_or_insert(now + TOLD_WITHIN);
        // After a step back of the clock it does not wait for it to come round again.
        now >= until || until.since(now) > TOLD_WITHIN
    }

    /// Whether a kill that somebody saw about then, in this run, and no event told, brought this end.
    pub fn is_by_seen(
        &self,
        saw_kill: impl Fn(&ContainerId, Option<Timestamp>, Timestamp) -> bool,
    ) -> bool {
        !self.is_explained && saw_kill(&self.id, self.began, self.death.at)
    }

    /// The end, by the kernel or not.
    pub fn settled(self, is_oom: bool) -> Death {
        match is_oom {
            true => Death { end: End::Oom, ..self.death },
            false => self.death,
        }
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, shift: impl FnMut(&mut Timestamp)) {
        let at = std::iter::once(&mut self.death.at);
        let single = [&mut self.began, &mut self.started_at, &mut self.until];
        at.chain(single.into_iter().flatten()).for_each(shift);
    }
}
