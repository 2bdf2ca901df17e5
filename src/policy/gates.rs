//! Gates: whether a tenant can still get in. Health check, login and API, asked for by ourselves.
//!
//! A container that runs is no proof that its customer can work, so each tenant's doors are tried:
//! regularly, and more often while the effect of an action is watched. Here stands what is asked,
//! when, and what an answer means ([`judge`]); the asking itself is done by whoever gets the
//! [`Probe`]. Nothing here opens a socket or reads a clock. What is known is bounded and not durable:
//! a start asks again within an interval.

mod judge;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{Labels, Now, Timestamp, fingerprint};
use crate::regex::Pattern;

pub use judge::{Miss, Page, judge};
pub use place::{GateKey, PLACEHOLDERS, Place, unknown_placeholder};

/// Probes under way at once: a host whose every site hangs is not made worse by us.
const AT_ONCE: usize = 16;
/// A place that no series shows any more is asked for this long: a site is most interesting while
/// its container is gone.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// An answer that has not come this long after its timeout is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Doors that are watched at most.
const MAX_DOORS: usize = 4096;

/// One gate, as configured.
#[derive(Clone, Debug)]
pub struct Gate {
    /// `health`, `login`, `api`, or a name of its own.
    pub name: String,
    /// What to ask for, with places for tenant, service and container.
    pub url: String,
    /// The `Host` header, likewise; several sites may share an address.
    pub host: Option<String>,
    /// The status that is expected.
    pub status: u16,
    /// What the body must contain.
    pub text: Option<String>,
    /// What the body must match somewhere.
    pub pattern: Option<Pattern>,
    /// How often it is asked.
    pub interval: Duration,
    /// How often while the effect of an action is watched.
    pub interval_after_action: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many failures in a row are no accident.
    pub failures: u32,
    /// Tenants it is about; empty: every tenant with a container on this host.
    pub tenants: Vec<String>,
    /// Roles of containers it is about; empty: all.
    pub roles: Vec<String>,
}

impl PartialEq for Gate {
    fn eq(&self, other: &Gate) -> bool {
        // A pattern is what it was written as.
        format!("{self:?}") == format!("{other:?}")
    }
}

/// One question to ask now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Which door.
    pub key: GateKey,
    /// Of this question, given back with its answer.
    pub number: u64,
    /// What to ask for.
    pub url: String,
    /// The `Host` header, if it is not the URL's.
    pub host: Option<String>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What is known of one door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Whether the last answer was as expected.
    pub passes: bool,
    /// What it was: `200`, `200, a blank page`, `no answer within 5s`.
    pub value: String,
    /// What it was when it last passed.
    pub good: Option<String>,
    /// When the last answer was asked for.
    pub asked_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of these was asked for.
    pub failing_since: Option<Timestamp>,
    /// Whether these are enough to believe it.
    pub is_firm: bool,
}

/// A door that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Which.
    pub key: GateKey,
    /// Whether it passes now; if not, it has failed often enough to be believed.
    pub passes: bool,
    /// What it was when it last passed.
    pub previous: Option<String>,
    /// What it is now.
    pub current: String,
}

#[derive(Clone, PartialEq, Debug)]
struct Door {
    /// Index of its gate.
    gate: usize,
    place: Place,
    shown: Duration,
    next: Duration,
    asked: Option<(u64, Now)>,
    reading: Option<Reading>,
    /// Whether it was told that it fails.
    told: bool,
    /// Why it cannot be asked, if so.
    unaskable: Option<String>,
}

/// Every door that is watched.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gates {
    config: Vec<Gate>,
    doors: BTreeMap<GateKey, Door>,
    asked: u64,
    /// Tenants of whom something was changed lately, by whomever.
    changing: BTreeSet<String>,
    /// Doors that found no room, or cannot be named in an address.
    left_out: usize,
}

impl Gates {
    /// Watches these gates from now on; what is known of doors that stay is kept.
    pub fn configure(&mut self, config: &[Gate]) {
        if self.config != config {
            self.doors.retain(|key, door| {
                let same = config.iter().position(|gate| *gate == self.config[door.gate]);
                door.gate = same.unwrap_or_default();
                same.is_some() && !key.gate.is_empty()
            });
            self.config = config.to_vec();
        }
    }

    /// Whether there is anything to watch.
    pub fn is_empty(&self) -> bool {
        self.config.is_empty()
    }

    /// These containers are on the host now: the doors are theirs.
    pub fn show(&mut self, now: Now, places: &[Place]) {
        self.left_out = 0;
        for index in 0..self.config.len() {
            let gate = &self.config[index];
            for place in place::places_of(gate, places) {
                let key = GateKey::new(gate, &place);
                if place::leads_elsewhere(gate, &place) {
                    self.left_out += 1;
                } else if let Some(door) = self.doors.get_mut(&key) {
                    (door.shown, door.place) = (now.monotonic, place);
                } else if self.doors.len() >= MAX_DOORS {
                    self.left_out += 1;
                } else {
                    let next = now.monotonic + spread(&key, gate.interval);
                    let shown = now.monotonic;
                    let door = Door {
                        gate: index,
                        place,
                        shown,
                        next,
                        asked: None,
                        reading: None,
                        told: false,
                        unaskable: None,
                    };
                    self.doors.insert(key, door);
                }
            }
        }
        self.doors.retain(|_, door| now.monotonic.saturating_sub(door.shown) < REMEMBERED);
    }

    /// Of these tenants something was changed lately; doors of others are in no hurry any more.
    pub fn hurry(&mut self, tenants: BTreeSet<String>) {
        self.changing = tenants;
    }

    /// The probes that are due; doors of `hurried` tenants are asked more often.
    pub fn due(&mut self, now: Now, host: &str, hurried: &BTreeSet<String>) -> Vec<Probe> {
        let mut probes = Vec::new();
        for door in self.doors.values_mut() {
            let lost = self.config[door.gate].timeout + LOST_AFTER;
            door.asked.take_if(|(_, asked)| now.monotonic.saturating_sub(asked.monotonic) >= lost);
        }
        for (key, hurries) in self.turns(now, hurried) {
            let Some(door) = self.doors.get_mut(&key) else { continue };
            let gate = &self.config[door.gate];
            door.next =
                now.monotonic + if hurries { gate.interval_after_action } else { gate.interval };
            let fill = |template: &str| place::fill(template, &door.place, host);
            self.asked += 1;
            door.asked = Some((self.asked, now));
            probes.push(Probe {
                number: self.asked,
                url: fill(&gate.url),
                host: gate.host.as_deref().map(fill),
                timeout: gate.timeout,
                key,
            });
        }
        probes
    }

    /// Whose turn it is, as far as there is room: hurried ones first, then whoever has waited longest, so
    /// that doors which hang keep nobody from being tried. With whether it is hurried.
    fn turns(&mut self, now: Now, hurried: &BTreeSet<String>) -> Vec<(GateKey, bool)> {
        let room = AT_ONCE.saturating_sub(self.under_way());
        let mut due = Vec::new();
        for (key, door) in &mut self.doors {
            let hurries = hurried.contains(&key.tenant) || self.changing.contains(&key.tenant);
            if hurries {
                // The next regular turn may be far away.
                let soon = now.monotonic + self.config[door.gate].interval_after_action;
                door.next = door.next.min(soon);
            }
            if now.monotonic >= door.next && door.asked.is_none() {
                due.push((!hurries, door.next, key));
            }
        }
        due.sort();
        due.truncate(room);
        due.into_iter().map(|(waits, _, key)| (key.clone(), !waits)).collect()
    }

    /// When the next probe is due, if there is room for one.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let full = self.under_way() >= AT_ONCE;
        let when = |door: &Door| match &door.asked {
            Some((_, asked)) => asked.monotonic + self.config[door.gate].timeout + LOST_AFTER,
            None if full => Duration::MAX,
            None => door.next,
        };
        self.doors.values().map(when).min()
    }

    /// An answer has come; returns what is worth telling: a door that fails for good or opens again.
    pub fn take(
        &mut self,
        (key, number): (&GateKey, u64),
        answer: Result<Page, Miss>,
        now: Now,
    ) -> Option<Turn> {
        let door = self.doors.get_mut(key)?;
        let (_, asked) = door.asked.take_if(|(asked, _)| *asked == number)?;
        let gate = &self.config[door.gate];
        let before = door.reading.take();
        let (passes, value) = match judge(gate, answer) {
            Ok(judged) => judged,
            Err(why) => {
                // Our own fault says nothing about the tenant.
                door.reading = before;
                door.unaskable = Some(why);
                return None;
            }
        };
        door.unaskable = None;
        let failures =
            if passes { 0 } else { before.as_ref().map_or(0, |before| before.failures) + 1 };
        let since = before.as_ref().and_then(|before| before.failing_since);
        let failing_since = (!passes).then(|| since.unwrap_or(asked.wall));
        let known_good = before.and_then(|before| before.good);
        let previous = known_good.clone();
        let good = if passes { Some(value.clone()) } else { known_good };
        let is_firm = failures >= gate.failures;
        door.reading = Some(Reading {
            passes,
            value: value.clone(),
            good,
            asked_at: asked.wall,
            took: now.monotonic.saturating_sub(asked.monotonic),
            failures,
            failing_since,
            is_firm,
        });
        let news = if passes { std::mem::take(&mut door.told) } else { is_firm && !door.told };
        door.told |= news && !passes;
        news.then(|| Turn { key: key.clone(), passes, previous, current: value })
    }

    /// What is known of every door, by its key.
    pub fn readings(&self) -> impl Iterator<Item = (&GateKey, &Reading)> {
        self.doors.iter().filter_map(|(key, door)| Some((key, door.reading.as_ref()?)))
    }

    /// What is known of a door.
    pub fn reading(&self, key: &GateKey) -> Option<&Reading> {
        self.doors.get(key)?.reading.as_ref()
    }

    /// The doors whose state bears on a service: its own, its tenant's, and those that are nobody's
    /// in particular; with what is known of each.
    pub fn of<'a>(
        &'a self,
        tenant: &'a str,
        service: &'a str,
    ) -> impl Iterator<Item = (&'a GateKey, Option<&'a Reading>)> {
        let is_its = move |key: &GateKey| {
            let of_tenant = key.tenant.is_empty() || key.tenant == tenant;
            of_tenant && (key.service.is_empty() || service.is_empty() || key.service == service)
        };
        let doors = self.doors.iter().filter(move |(key, _)| is_its(key));
        doors.map(|(key, door)| (key, door.reading.as_ref()))
    }

    /// Whether a door of a tenant's service fails.
    pub fn fails(&self, tenant: &str, service: &str) -> bool {
        self.of(tenant, service).any(|(_, reading)| reading.is_some_and(|reading| !reading.passes))
    }

    /// Why a door cannot be asked, if it cannot.
    pub fn unaskable(&self, key: &GateKey) -> Option<&str> {
        self.doors.get(key)?.unaskable.as_deref()
    }

    /// Doors that cannot be asked, and those that found no room.
    pub fn unasked(&self) -> usize {
        self.doors.values().filter(|door| door.unaskable.is_some()).count() + self.left_out
    }

    /// Moves what is kept in wall time when the wall clock steps.
    pub fn rebase(&mut self, by_ms: i64) {
        for door in self.doors.values_mut() {
            let reading = door.reading.iter_mut();
            let read = reading.flat_map(|r| [Some(&mut r.asked_at), r.failing_since.as_mut()]);
            let asked = door.asked.as_mut().map(|(_, asked)| &mut asked.wall);
            read.flatten().chain(asked).for_each(|at| at.0 = at.0.saturating_add(by_ms));
        }
    }

    fn under_way(&self) -> usize {
        self.doors.values().filter(|door| door.asked.is_some()).count()
    }
}

/// The doors of a host are asked one after the other, not all at once.
fn spread(key: &GateKey, interval: Duration) -> Duration {
    let labels = [("gate", &key.gate), ("tenant", &key.tenant), ("name", &key.name)];
    let hash = fingerprint(&Labels::from_pairs(labels.map(|(name, text)| (name, text.as_str()))));
    // The first time sooner: what was good before an action should be known before it.
    interval.mul_f64((hash % 1000) as f64 / 4000.0)
}

#[cfg(test)]
mod tests;
