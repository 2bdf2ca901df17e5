//! When containers were started last, by whoever knows, and which start each of our requests led to.
//!
//! What measures a container tells when it was started, but cAdvisor before v0.57 tells for ever when it
//! was made. Then Docker knows better, where it is asked, and else its CPU time, which falls.

use std::time::Duration;

use super::Engine;
use super::containers::START_TIME;
use super::evidence::vector;
use crate::base::{DeliveryId, Now, Timestamp, quoted};
use crate::policy::Expected;

/// That CPU time has fallen is seen up to so long after the start, which others may have told by then: it
/// is looked at once a minute.
const SEEN_WITHIN: Duration = Duration::from_secs(120);

impl Engine {
    /// When a container of a service was started last.
    pub(super) fn start_of(&self, service: &str, name: &str, at: Timestamp) -> Option<Timestamp> {
        self.last_start(service, name, self.told_start(name, at))
    }

    /// The same, where what measures the container was asked already.
    pub(super) fn last_start(
        &self,
        service: &str,
        name: &str,
        told: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let known = told.max(self.containers.docker_started_at(name));
        let service = self.memory.usage.get(service);
        let reborn = service.and_then(|service| service.reborn_at(Some(name)));
        let is_news = |at: &Timestamp| known.is_none_or(|known| at.since(known) > SEEN_WITHIN);
        known.max(reborn.filter(is_news))
    }

    /// By what measures it.
    fn told_start(&self, name: &str, at: Timestamp) -> Option<Timestamp> {
        let query = format!("max({START_TIME}{{name={}}})", quoted(name));
        let found = vector(&query, &self.window, at, &self.setup.eval);
        found.first().and_then(|(_, seconds)| Timestamp::of_start(*seconds))
    }

    /// Remembers which start each of our requests led to. One that waits is taken back at a start, and
    /// has led to none then.
    pub(super) fn note_starts(&mut self, now: Now, at: Timestamp) {
        let watched = self.memory.verifier.requests().map(|request| Expected {
            delivery_id: &request.delivery_id,
            subject: &request.subject,
            name: &request.name,
            before: request.started_before,
            asked_at: request.asked_at,
        });
        let all = watched.chain(self.memory.guards.awaited(now));
        let started = all.filter_map(|expected| {
            let told = self.told_start(expected.name, at);
            let start = self.last_start(expected.subject, expected.name, told)?;
            let is_later = |told: Timestamp| expected.before.map(|b| told.is_later_start(b));
            let is_anew = told.and_then(is_later) == Some(true) || start > expected.asked_at;
            is_anew.then(|| (expected.delivery_id.to_owned(), start))
        });
        let started: Vec<(String, Timestamp)> = started.collect();
        for (id, start) in started {
            self.changes.extend(self.memory.guards.started(&id, start));
        }
    }

    /// Docker may start a container though it told whoever asked that it had failed, and a word may be
    /// faster than a scrape.
    pub(super) fn await_start(&mut self, now: Now, id: &DeliveryId) {
        let mut watched = self.memory.verifier.requests();
        let Some(request) = watched.find(|request| request.delivery_id == id.0) else { return };
        let container = (request.name.as_str(), request.started_before);
        let within = self.setup.policy.verify.within;
        self.changes.extend(self.memory.guards.await_start(&id.0, container, within, now));
    }
}
