//! Doors that a change shut, as they were told in earnest or held by the kill switch, until they open or a day
//! is over.
//!
//! Whoever is to hear of a shut door may be away until what was told runs out. So it is kept whole, with
//! the very door, and can be told anew as it was, whatever became since of the container, of what is
//! known of its doors, and of the restart that is blamed. Durable, one row for each; bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::DAY;
use super::gates::GateKey;
use super::rows;
use super::trail::Replaced;
use super::verify::Request;
use crate::base::{Change, Timestamp};

/// Rows of this module in the table.
const PREFIX: &str = "shut/";
/// No more are kept: a host has a few hundred doors.
pub const SHUT_MAX: usize = 1000;

/// A door that shut after a change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Shut {
    /// The key under which it was told first.
    pub dedup_key: String,
    /// Which door.
    pub door: GateKey,
    /// The service that was changed.
    pub service: String,
    /// Its tenant, or `""`.
    pub tenant: String,
    /// `restart` (ours), `deploy` or `start` (by others).
    pub what: String,
    /// When it was.
    pub since: Timestamp,
    /// What the door said before.
    pub previous: String,
    /// The story it belongs to.
    pub trace_id: String,
    /// The request, if the change was ours.
    pub request: Option<Request>,
    /// The Control Plane's own id of that.
    pub change_id: Option<String>,
    /// What a deploy changed, if that was seen.
    #[serde(default)]
    pub replaced: Option<Replaced>,
    /// Whether the kill switch held it when it was to be told first.
    #[serde(default)]
    pub was_held: bool,
    /// Whether plimsoll was started since it was told: what the door did meanwhile, nobody saw.
    #[serde(skip)]
    pub was_unwatched: bool,
}

/// Every door that was told in earnest to have shut and has not been seen open since.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShutDoors {
    told: BTreeMap<String, Shut>,
}

impl ShutDoors {
    /// The doors as their rows tell them, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (ShutDoors, Vec<String>) {
        let (told, problems) = rows::read::<Shut>(PREFIX, rows);
        let unwatched = |(key, shut)| (key, Shut { was_unwatched: true, ..shut });
        (ShutDoors { told: told.into_iter().map(unwatched).collect() }, problems)
    }

    /// It is told now, in earnest; returns the row, unless there is no room.
    pub fn keep(&mut self, shut: &Shut) -> Option<Change> {
        if self.told.len() >= SHUT_MAX {
            return None;
        }
        self.told.insert(shut.dedup_key.clone(), shut.clone());
        Some(row(&shut.dedup_key, Some(shut)))
    }

    /// What may be told anew.
    pub fn all(&self) -> impl Iterator<Item = &Shut> {
        self.told.values()
    }

    /// A door is open: what shuts it from now on is something else. Returns the rows that go.
    pub fn opened(&mut self, door: &GateKey) -> Vec<Change> {
        self.forget(|shut| shut.door == *door)
    }

    /// Forgets changes that are a day old; returns the rows that go.
    pub fn prune(&mut self, now: Timestamp) -> Vec<Change> {
        self.forget(|shut| now.since(shut.since) >= DAY)
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        for shut in self.told.values_mut() {
            shut.since = Timestamp(shut.since.0.saturating_add(by_ms));
        }
        self.told.iter().map(|(key, shut)| row(key, Some(shut))).collect()
    }

    fn forget(&mut self, is_over: impl Fn(&Shut) -> bool) -> Vec<Change> {
        let gone = self.told.extract_if(.., |_, shut| is_over(shut));
        gone.map(|(key, _)| row(&key, None)).collect()
    }
}

fn row(key: &str, shut: Option<&Shut>) -> Change {
    rows::row(PREFIX, key, shut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(key: &str, gate: &str, hours: i64) -> Shut {
        Shut {
            dedup_key: key.to_owned(),
            door: GateKey { gate: gate.to_owned(), ..GateKey::default() },
            service: "acme/app".to_owned(),
            tenant: "acme".to_owned(),
            what: "deploy".to_owned(),
            since: Timestamp(hours * 3_600_000),
            previous: "200".to_owned(),
            trace_id: String::new(),
            request: None,
            change_id: None,
            replaced: None,
            was_held: false,
            was_unwatched: false,
        }
    }

    #[test]
    fn it_is_kept_over_a_restart_until_its_own_door_opens_or_a_day_is_over() {
        let mut doors = ShutDoors::default();
        let all = [shut("a", "login", 0), shut("b", "api", 1)];
        let rows = all.each_ref().map(|shut| doors.keep(shut).expect("room"));
        let bad = Change { value: Some(b"?".to_vec()), ..row("x", None) };
        let (mut doors, problems) = ShutDoors::recover(rows.into_iter().chain([bad]));
        let unwatched = all.clone().map(|shut| Shut { was_unwatched: true, ..shut });
        assert_eq!(
            (doors.all().cloned().collect::<Vec<_>>(), problems.len()),
            (unwatched.to_vec(), 1)
        );
        let keys = |gone: Vec<Change>| gone.into_iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(keys(doors.opened(&all[0].door)), ["shut/a"]);
        assert_eq!(doors.rebase(3_600_000).len(), 1);
        assert_eq!(keys(doors.prune(Timestamp(25 * 3_600_000))), [""; 0], "a step ages nothing");
        assert_eq!(keys(doors.prune(Timestamp(26 * 3_600_000))), ["shut/b"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut doors = ShutDoors::default();
        let kept = (0..2000).filter_map(|n| doors.keep(&shut(&n.to_string(), "api", 0))).count();
        assert_eq!((kept, doors.all().count()), (SHUT_MAX, SHUT_MAX));
    }
}
