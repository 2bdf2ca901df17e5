//! One Alertmanager's own lane: from what it was told to its receiver, as Alertmanager 0.25 does it.
//!
//! Each alert is a group of its own. A notification begins `GROUP_WAIT` after the alert came, is
//! tried again while the receiver refuses, and one that was taken is followed by the next after
//! `GROUP_INTERVAL`. An alert that resolves before anything of it was taken is forgotten, both
//! edges of it: that is what plimsoll has to prevent.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::alerts::{Post, Tally};
use plimsoll::base::{Timestamp, fingerprint};

use super::plan::Outages;

/// From the first word of an alert to the first notification.
pub const GROUP_WAIT: Duration = Duration::from_secs(2);
/// From one notification that was taken to the next.
pub const GROUP_INTERVAL: Duration = Duration::from_secs(5);
/// While the receiver refuses, attempts are this far apart.
const TRY_EVERY: Duration = Duration::from_secs(4);

struct Group {
    start: Timestamp,
    ended: bool,
    /// Whether the receiver took that it fires.
    notified: bool,
    flush_at: Duration,
}

/// What the receiver has heard of an incident.
#[derive(Clone, Copy, Default)]
pub struct Heard {
    /// How often that it fires.
    pub firing: u32,
    /// How often that it has ended.
    pub resolved: u32,
}

/// One instance with its receiver.
pub struct Receiver {
    away: Outages,
    groups: BTreeMap<u64, Group>,
    tally: Tally,
    heard: BTreeMap<(u64, Timestamp), Heard>,
}

impl Receiver {
    /// A receiver that refuses at these times.
    pub fn new(away: Outages) -> Receiver {
        Receiver { away, groups: BTreeMap::new(), tally: Tally::default(), heard: BTreeMap::new() }
    }

    /// What the receiver has heard of an incident.
    pub fn heard(&self, incident: (u64, Timestamp)) -> Heard {
        self.heard.get(&incident).copied().unwrap_or_default()
    }

    /// The instance's counters now.
    pub fn tally(&mut self, now: Duration) -> Tally {
        self.advance(now);
        self.tally
    }

    /// A post has reached the instance.
    pub fn posted(&mut self, now: Duration, post: &Post) {
        self.advance(now);
        for presented in &post.alerts {
            let alert = &presented.alert;
            let (start, ended) = (alert.starts_at(), presented.phase.is_end());
            let new = || Group { start, ended, notified: false, flush_at: now + GROUP_WAIT };
            let group = self.groups.entry(fingerprint(&alert.labels)).or_insert_with(new);
            if group.start != start {
                *group = new();
            }
            group.ended = ended;
        }
    }

    /// Makes the attempts that were due until now.
    fn advance(&mut self, now: Duration) {
        let next = |groups: &BTreeMap<u64, Group>| {
            let (key, group) = groups.iter().min_by_key(|(_, group)| group.flush_at)?;
            (group.flush_at <= now).then_some((*key, group.flush_at))
        };
        while let Some((key, at)) = next(&self.groups) {
            let group = self.groups.get_mut(&key).expect("it was found");
            if group.ended && !group.notified {
                self.groups.remove(&key);
                continue;
            }
            if group.notified && !group.ended {
                group.flush_at = at + GROUP_INTERVAL;
                continue;
            }
            self.tally.tried += 2;
            if self.away.at(at) {
                group.flush_at = at + TRY_EVERY;
                continue;
            }
            self.tally.delivered += 1;
            let heard = self.heard.entry((key, group.start)).or_default();
            if group.ended {
                heard.resolved += 1;
                self.groups.remove(&key);
            } else {
                heard.firing += 1;
                group.notified = true;
                group.flush_at = at + GROUP_INTERVAL;
            }
        }
    }
}
