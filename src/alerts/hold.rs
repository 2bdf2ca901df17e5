//! Ends held back at one Alertmanager instance, because it could not deliver the starts.
//!
//! Before an instance is told the first time that an incident has ended, it is asked for its
//! [`Tally`]. If it tried and delivered nothing since it took the incident, the end waits and the
//! alert stays firing there: Alertmanager would file the incident as never told. It is asked again
//! every few seconds; once something was delivered, the end waits as long as a route may take to
//! reach its turn, then it is told. Holding repeats nothing, because Alertmanager does not notify
//! twice of an alert that just goes on.
//!
//! An instance that cannot be asked is told at once; an end that is held already stays held, up to
//! its limit. Pure: it says whom to ask, it does not ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::tally::Tally;
use crate::base::Timestamp;

/// While an end is held, the instance is asked this often. A page of 28 kB (measured).
const ASK_EVERY: Duration = Duration::from_secs(5);
/// After a delivery, an end waits at least this long: each of Alertmanager's notifications begins
/// anew at the latest 10 s after it began (`notify.MinTimeout`), and its next try is at once.
const TURN_AT_LEAST: Duration = Duration::from_secs(10);

/// An end that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The alert's fingerprint.
    pub key: u64,
    /// Which incident.
    pub fired_at: Timestamp,
    /// The instance's tally when it accepted the incident.
    pub base: Tally,
    /// How long its end may be held from now on.
    pub left: Duration,
    /// How long a route of the instance may take to reach its turn.
    pub turn: Duration,
}

/// Whether an end may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// Not before the instance has answered; nothing else changes meanwhile.
    Asking,
    /// No: the alert is to be shown as firing.
    Shut,
}

struct Hold {
    fired_at: Timestamp,
    /// False while the instance has yet to answer for the first time.
    shut: bool,
    /// On the monotonic clock: it is told now at the latest …
    latest: Duration,
    /// … or now, because something was delivered.
    release: Option<Duration>,
}

/// The held ends of one instance.
#[derive(Default)]
pub(super) struct Holds {
    by_key: BTreeMap<u64, Hold>,
    /// A question is under way.
    asking: bool,
    /// An end needs an answer.
    wanted: bool,
    /// The answer to the last question, until it was used; `Some(None)` if it could not be read.
    reading: Option<Option<Tally>>,
    next_ask: Duration,
}

impl Holds {
    /// Whether this end may be told now.
    pub fn gate(&mut self, end: End, now: Duration) -> Gate {
        let new =
            || Hold { fired_at: end.fired_at, shut: false, latest: now + end.left, release: None };
        let hold = self.by_key.entry(end.key).or_insert_with(new);
        if hold.fired_at != end.fired_at {
            *hold = new();
        }
        match self.reading {
            Some(Some(tally)) if hold.release.is_none() => {
                let since = tally.since(end.base);
                if since.delivered > 0 && hold.shut {
                    hold.release = Some(now + end.turn.max(TURN_AT_LEAST));
                }
                hold.shut |= since.tried > 0 && since.delivered == 0;
            }
            _ => {}
        }
        let over = now >= hold.release.unwrap_or(hold.latest).min(hold.latest);
        if over || (self.reading.is_some() && !hold.shut) {
            self.by_key.remove(&end.key);
            return Gate::Open;
        }
        let due = !hold.shut || now >= self.next_ask;
        self.wanted |= self.reading.is_none() && hold.release.is_none() && due;
        if hold.shut { Gate::Shut } else { Gate::Asking }
    }

    /// Ends a round: forgets ends nobody asked about, and says whether to ask the instance.
    pub fn close(&mut self, gated: Option<&BTreeSet<u64>>, now: Duration) -> bool {
        if let Some(gated) = gated {
            self.by_key.retain(|key, _| gated.contains(key));
        }
        if self.reading.take().is_some() {
            self.next_ask = now + ASK_EVERY;
        }
        let ask = std::mem::take(&mut self.wanted) && !self.asking;
        self.asking |= ask;
        ask
    }

    /// Takes the answer; false if nobody asked.
    pub fn answered(&mut self, tally: Option<Tally>) -> bool {
        let asked = std::mem::take(&mut self.asking);
        if asked {
            self.reading = Some(tally);
        }
        asked
    }

    /// Whether the end of this alert waits here.
    pub fn contains(&self, key: u64) -> bool {
        self.by_key.contains_key(&key)
    }

    /// When, on the monotonic clock, a held end should be looked at again.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let of = |hold: &Hold| match hold.release {
            Some(release) => Some(release.min(hold.latest)),
            None if self.asking => Some(hold.latest).filter(|_| hold.shut),
            None => Some(self.next_ask.min(hold.latest)),
        };
        self.by_key.values().filter_map(of).min()
    }
}
