//! The alerts as the rows tell them: who suffers, and since when by a clock that never steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::alerts::{Alert, AlertState};
use plimsoll::base::{Change, Labels, Now, Table, Timestamp};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    alert: Alert,
}

/// An alert that fires.
#[derive(Clone, Debug)]
pub struct Firing {
    pub labels: Labels,
    pub since: Duration,
    pub unknown: bool,
    episode: Timestamp,
}

impl Firing {
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).unwrap_or_default()
    }

    /// Whether it asks for something to be done to a container or a customer.
    fn touches(&self) -> bool {
        ["restart", "nudge", "decide"].contains(&self.label("action"))
    }
}

/// Everything that fires.
#[derive(Default)]
pub struct Book {
    firing: BTreeMap<String, Firing>,
    /// Since when each episode has fired, whatever was lost since.
    known: BTreeMap<(String, Timestamp), Duration>,
}

/// Firing that began within one round: two rounds are further apart.
const ROUND: Duration = Duration::from_secs(14);

impl Book {
    /// What the rows of a start say.
    pub fn restart<'a>(&mut self, now: Now, rows: impl Iterator<Item = &'a Change>) {
        self.firing.clear();
        rows.for_each(|change| self.change(now, change));
    }

    pub fn take(&mut self, now: Now, changes: &[Change]) {
        changes.iter().for_each(|change| self.change(now, change));
    }

    fn change(&mut self, now: Now, change: &Change) {
        if change.table != Table::Alerts {
            return;
        }
        let alert = change
            .value
            .as_deref()
            .map(|row| serde_json::from_slice::<Row>(row).expect("a row is an alert").alert);
        let Some(alert) = alert.filter(|alert| alert.state == AlertState::Firing) else {
            self.firing.remove(&change.key);
            return;
        };
        let episode = alert.starts_at();
        let since = self.known.entry((change.key.clone(), episode)).or_insert(now.monotonic);
        let before = self.firing.get(&change.key).map(|firing| (firing.episode, firing.since));
        // When the wall clock steps, what starts an episode moves with it.
        let since = before.map_or(*since, |(_, since)| since);
        let unknown = alert.unknown.is_some();
        let firing = Firing { labels: alert.labels, since, unknown, episode };
        self.firing.insert(change.key.clone(), firing);
    }

    /// The alert of that name on that service, if it fires.
    pub fn find(&self, alert: &str, service: &str) -> Option<&Firing> {
        let is = |firing: &&Firing| {
            firing.label("alertname") == alert && firing.label("service") == service
        };
        self.firing.values().find(is)
    }

    /// How many tenants have fallen ill within the last round, whatever they suffered from before.
    pub fn fell_ill_together(&self, now: Now) -> usize {
        let lately = |firing: &&Firing| firing.touches() && firing.since + ROUND > now.monotonic;
        let ill = self.firing.values().filter(lately).map(|firing| firing.label("tenant"));
        ill.filter(|tenant| !tenant.is_empty()).collect::<BTreeSet<_>>().len()
    }
}
