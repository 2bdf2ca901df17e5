//! What a reload asks for that was not kept before it.
//!
//! Only what rules read is kept, so the samples of a name that a reload brings are not in the window,
//! although its targets had them all the time. Until every target has been scraped for it, such a name
//! is unknown, as everything is after a start; and its ranges are covered from the reload on, or as
//! far back as its samples were kept for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Setup;
use super::group::Reads;
use crate::base::Timestamp;
use crate::exposition::Selection;
use crate::rules;
use crate::window::Retention;

/// What a configuration keeps.
pub(super) struct Kept {
    selection: Selection,
    retention: Retention,
    /// Whether that is every name.
    all: bool,
}

impl Kept {
    /// What this one keeps.
    pub fn by(setup: &Setup) -> Kept {
        let all = rules::reads(&setup.groups).is_open();
        Kept { selection: setup.selection(), retention: setup.retention(), all }
    }
}

/// Since when names have been watched that were not watched, or not for as long, before a reload.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    by_name: BTreeMap<Arc<str>, Timestamp>,
    /// What reads by no name looks at any of them.
    any: Option<Timestamp>,
}

impl Coverage {
    /// Takes over what rules read from now on, and how long that is kept. Returns what was not kept
    /// before.
    pub fn reload(
        &mut self,
        before: &Kept,
        reads: &Reads,
        after: &Retention,
        now: Timestamp,
    ) -> Reads {
        let mut fresh = Reads { all: reads.all && !before.all, ..Reads::default() };
        let was = std::mem::take(self);
        for name in &reads.names {
            let known = was.by_name.get(name).copied();
            let is_kept = before.selection.wants(name);
            let had = before.retention.of(name);
            let since = match is_kept {
                false => Some(now),
                true if after.of(name) > had => known.max(Some(now - had)),
                true => known,
            };
            self.by_name.extend(since.map(|since| (Arc::clone(name), since)));
            fresh.names.extend((!is_kept).then(|| Arc::clone(name)));
        }
        let had = before.retention.least;
        self.any = match reads.all {
            false => None,
            true if !before.all => Some(now),
            true if after.least > had => was.any.max(Some(now - had)),
            true => was.any,
        };
        fresh
    }

    /// Whether every sample of these names is there that is younger than `from`; `all_since`: since
    /// when that is so of names that no reload brought.
    pub fn covers(&self, reads: &Reads, from: Timestamp, all_since: Timestamp) -> bool {
        if from < all_since {
            return false;
        }
        let is_old = |since: &Timestamp| *since <= from;
        match reads.all {
            true => self.any.iter().chain(self.by_name.values()).all(is_old),
            false => reads.names.iter().filter_map(|name| self.by_name.get(name)).all(is_old),
        }
    }

    /// Since when every name is covered that a reload brought, if one did.
    pub fn newest(&self) -> Option<Timestamp> {
        self.by_name.values().copied().chain(self.any).max()
    }

    /// Moves every time: the wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        for since in self.by_name.values_mut().chain(&mut self.any) {
            *since = Timestamp(since.0 + by_ms);
        }
    }
}

/// What reloads have asked of one target that it has yet to answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    fresh: Reads,
    /// The scrape under way began before the reload: it says nothing of this.
    is_late: bool,
    /// Whether a scrape has ended since, if badly.
    pub answered: bool,
}

impl Asked {
    /// One more reload asks.
    pub fn also(&mut self, fresh: &Reads, is_late: bool) {
        self.fresh.add(fresh);
        self.is_late = is_late;
        self.answered = false;
    }

    /// Whether any of it is read.
    pub fn is_for(&self, reads: &Reads) -> bool {
        reads.all || reads.any(&self.fresh.names)
    }

    /// What is left of it after a scrape.
    pub fn after_scrape(self, is_good: bool) -> Option<Asked> {
        match (self.is_late, is_good) {
            (true, _) => Some(Asked { is_late: false, ..self }),
            (false, true) => None,
            (false, false) => Some(Asked { answered: true, ..self }),
        }
    }
}
