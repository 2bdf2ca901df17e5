//! What the engine writes to the journal, and how it reads it back.
//!
//! Table `alerts`: one row per alert in the book, key `rule id` + 0x1f + fingerprint, JSON
//! [`AlertRow`]. Table `meta`: `last_evaluation`, wall milliseconds of the newest evaluation, noted
//! at most every 10 s, which tells after a restart how long nobody watched; `docker_heard`, until when
//! Docker's events were heard. A row that cannot be
//! read is reported and left where it is; it never stops the start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fact::Fact;
use crate::alerts::{Alert, AlertState};
use crate::base::{Change, Labels, Now, RuleId, Table, Timestamp, fingerprint};
use crate::outbox::Outbox;

/// The last evaluation is noted no more often than this.
pub(super) const NOTE_EVERY: Duration = Duration::from_secs(10);
const LAST_EVALUATION: &str = "last_evaluation";
/// The highest revision given out, while the wall clock is behind it.
const REVISIONS_UPTO: &str = "revisions_upto";
/// Until when Docker's events were heard.
const DOCKER_HEARD: &str = "docker_heard";

#[derive(Serialize)]
struct AlertRowRef<'a> {
    rule: &'a RuleId,
    alert: &'a Alert,
}

#[derive(Deserialize)]
struct AlertRow {
    rule: RuleId,
    alert: Alert,
}

/// What was read back.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Alerts by rule.
    pub alerts: BTreeMap<RuleId, BTreeMap<Labels, Alert>>,
    /// The newest evaluation that was noted.
    pub last_evaluation: Option<Timestamp>,
    /// Until when Docker's events were heard, as noted.
    docker_heard: Option<Timestamp>,
    /// The highest revision given out, if the wall clock was behind it.
    pub revisions: Option<Timestamp>,
    /// Rows that could not be read.
    pub problems: Vec<String>,
}

impl Restored {
    /// By how many milliseconds at least the wall clock was set back while nobody watched (less than
    /// 0); 0 if it shows no less than at the newest evaluation.
    pub fn set_back_ms(&self, wall: Timestamp) -> i64 {
        wall.0.saturating_sub(self.watched_until(wall).0).min(0)
    }

    /// Until when somebody watched, as far as it was noted; until now, if nobody ever did.
    pub fn watched_until(&self, wall: Timestamp) -> Timestamp {
        self.last_evaluation.unwrap_or(wall)
    }

    /// Until when Docker's events were heard, by the clock of the newest evaluation: of later nobody knows by how
    /// much it was set back since.
    pub fn docker_heard(&self, wall: Timestamp) -> Option<Timestamp> {
        Some(self.docker_heard?.min(self.watched_until(wall).max(wall)))
    }

    /// Puts the clocks of all alerts right; says what was taken over, if anything was there. Where the
    /// wall clock was set back they go back with it, as at a step while we run.
    pub fn resume(&mut self, outbox: Option<&Outbox>, now: Now) -> Option<Fact> {
        let wall = now.wall;
        let deliveries = outbox.map_or(0, |outbox| outbox.stats(now).waiting);
        let down_for = wall.since(self.watched_until(wall));
        let by_ms = self.set_back_ms(wall);
        for alert in self.alerts.values_mut().flat_map(BTreeMap::values_mut) {
            alert.rebase(by_ms);
            resume(alert, down_for);
        }
        let alerts = self.alerts.values().map(BTreeMap::len).sum();
        self.last_evaluation.map(|_| Fact::Recovered { alerts, deliveries, down_for })
    }

    /// The highest revision that may have been given out, if the wall clock is behind it: it was set
    /// back before the end, or since.
    pub fn revisions_upto(&self, wall: Timestamp) -> Option<u64> {
        let noted = self.last_evaluation.map(|at| at + NOTE_EVERY);
        let newest = self.revisions.max(noted.filter(|_| self.last_evaluation > Some(wall)))?;
        u64::try_from(newest.as_millis()).ok()
    }
}

fn key(rule: &RuleId, labels: &Labels) -> String {
    format!("{rule}\u{1f}{:016x}", fingerprint(labels))
}

/// The row of an alert as it stands.
pub(super) fn put(rule: &RuleId, alert: &Alert) -> Change {
    let row = serde_json::to_vec(&AlertRowRef { rule, alert })
        .expect("an alert holds nothing that cannot be JSON");
    Change { table: Table::Alerts, key: key(rule, &alert.labels), value: Some(row) }
}

/// The removal of an alert's row.
pub(super) fn remove(rule: &RuleId, labels: &Labels) -> Change {
    Change { table: Table::Alerts, key: key(rule, labels), value: None }
}

/// The note of the newest evaluation.
pub(super) fn note(at: Timestamp) -> Change {
    let value = Some(at.0.to_string().into_bytes());
    Change { table: Table::Meta, key: LAST_EVALUATION.to_owned(), value }
}

/// The note of how far Docker's events were heard.
pub(super) fn note_docker(at: Timestamp) -> Change {
    let value = Some(at.0.to_string().into_bytes());
    Change { table: Table::Meta, key: DOCKER_HEARD.to_owned(), value }
}

/// The note of the highest revision given out; of none, once the wall clock has passed it.
pub(super) fn note_revisions(upto: Option<u64>) -> Change {
    let value = upto.map(|upto| upto.to_string().into_bytes());
    Change { table: Table::Meta, key: REVISIONS_UPTO.to_owned(), value }
}

/// Reads the engine's rows; those of other tables are skipped.
pub(super) fn restore(rows: &[Change]) -> Restored {
    let mut restored = Restored::default();
    for row in rows {
        let Some(value) = &row.value else { continue };
        match row.table {
            Table::Meta if row.key == LAST_EVALUATION => {
                restored.last_evaluation = time(value);
            }
            Table::Meta if row.key == REVISIONS_UPTO => restored.revisions = time(value),
            Table::Meta if row.key == DOCKER_HEARD => restored.docker_heard = time(value),
            Table::Alerts => match serde_json::from_slice::<AlertRow>(value) {
                Ok(AlertRow { rule, alert }) => {
                    let alerts = restored.alerts.entry(rule).or_default();
                    alerts.insert(alert.labels.clone(), alert);
                }
                Err(error) => {
                    restored.problems.push(format!("row {:?} of alerts: {error}", row.key));
                }
            },
            _ => {}
        }
    }
    restored
}

fn time(value: &[u8]) -> Option<Timestamp> {
    str::from_utf8(value).ok()?.parse().ok().map(Timestamp)
}

/// Puts an alert's clock right after `down_for` during which nobody watched: the time before
/// counts, the time between does not (`rules/manager.go` `RestoreForState`, for every `for`).
pub(super) fn resume(alert: &mut Alert, down_for: Duration) {
    alert.restored = true;
    alert.complete();
    if alert.state == AlertState::Pending {
        alert.active_at = alert.active_at + down_for;
    }
    alert.keep_firing_since = alert.keep_firing_since.map(|since| since + down_for);
    if let Some((since, _)) = &mut alert.unknown {
        *since = *since + down_for;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(state: AlertState) -> Alert {
        let labels = Labels::from_pairs([("alertname", "A"), ("name", "x")]);
        Alert {
            annotations: Labels::from_pairs([("summary", "말")]),
            state,
            keep_firing_since: Some(Timestamp(2000)),
            revision: 7,
            ..Alert::pending(labels, f64::NAN, Timestamp(1000))
        }
    }

    #[test]
    fn rows_round_trip_and_bad_rows_are_reported() {
        let rule = RuleId("f;g;A;0".into());
        let written = alert(AlertState::Pending);
        let bad = Change { table: Table::Alerts, key: "x".into(), value: Some(b"{".to_vec()) };
        let restored = restore(&[put(&rule, &written), bad, note(Timestamp(42))]);
        let read = &restored.alerts[&rule][&written.labels];
        assert!(read.value.is_nan(), "JSON has no NaN, the row does");
        assert_eq!(Alert { value: 0.0, ..read.clone() }, Alert { value: 0.0, ..written });
        assert_eq!(restored.last_evaluation, Some(Timestamp(42)));
        assert_eq!((restored.alerts.len(), restored.problems.len()), (1, 1));
    }

    #[test]
    fn docker_was_not_heard_later_than_the_clock_shows_that_was_set_back() {
        let restored = restore(&[note(Timestamp(1000)), note_docker(Timestamp(5000))]);
        let heard = [500, 3000, 9000].map(|wall| restored.docker_heard(Timestamp(wall)));
        assert_eq!(heard, [1000, 3000, 5000].map(|at| Some(Timestamp(at))));
    }

    #[test]
    fn the_time_nobody_watched_does_not_count() {
        let mut pending = alert(AlertState::Pending);
        resume(&mut pending, Duration::from_secs(20));
        assert_eq!(pending.active_at, Timestamp(21_000));
        let mut firing = alert(AlertState::Firing);
        resume(&mut firing, Duration::from_secs(20));
        assert_eq!(firing.active_at, Timestamp(1000));
        assert_eq!(firing.keep_firing_since, Some(Timestamp(22_000)));
    }
}
