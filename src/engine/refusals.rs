//! Alerts that an Alertmanager refuses for good: counted each time, told once an hour.
//!
//! A refused alert is posted again with every round of its instance, because only the instance can
//! say that it would take it now. So it is refused every minute for as long as it fires, and a line
//! in the log for each would bury what else happens.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::fact::Fact;
use crate::alerts::{Refusal, Refused};
use crate::base::{Labels, Now};

/// An alert that is still refused is told again after this long.
const TELL_EVERY: Duration = Duration::from_secs(3600);

/// What was refused, by the address of the instance.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: BTreeMap<(String, Refusal), u64>,
    /// On the monotonic clock: when each was told last.
    told: BTreeMap<(String, Labels), Duration>,
}

impl Refusals {
    /// How many alerts an instance refused since the start.
    pub fn count(&self, instance: &str, reason: Refusal) -> u64 {
        self.counts.get(&(instance.to_owned(), reason)).copied().unwrap_or(0)
    }

    /// Counts one; true if it is to be told.
    fn note(&mut self, instance: &str, refused: &Refused, now: Duration) -> bool {
        *self.counts.entry((instance.to_owned(), refused.reason)).or_default() += 1;
        self.told.retain(|_, at| now.saturating_sub(*at) < TELL_EVERY);
        let key = (instance.to_owned(), refused.labels.clone());
        let is_news = !self.told.contains_key(&key);
        if is_news {
            self.told.insert(key, now);
        }
        is_news
    }
}

impl Engine {
    pub(super) fn note_refused(&mut self, now: Now, instance: &str, refused: Vec<Refused>) {
        for refused in refused {
            if self.refusals.note(instance, &refused, now.monotonic) {
                let Refused { labels, reason, why } = refused;
                let (instance, reason) = (instance.to_owned(), reason.name());
                self.facts.push(Fact::AlertRefused { instance, labels, reason, why });
            }
        }
    }
}
