//! Docker as an input: whether it is heard, and what that says about alerts.
//!
//! Names, owners, ends and health come from Docker alone. While it is silent nothing of that may be
//! believed to be over, so alerts that hang on it are unknown. And when a container has ended, those
//! about it wait a moment for the one that takes its place: a recreation resolves nothing.

use std::time::Duration;

use super::containers::{CRASH_LOOP, ENDS_TOTAL};
use super::ended::{End, Ended, REPLACED_WITHIN};
use super::fact::Fact;
use super::group::Reads;
use super::said::Speaker;
use crate::alerts::{Alert, Doubt};
use crate::base::{Labels, Now, Timestamp};
use crate::containers::Inventory;

/// What nobody but Docker knows.
const DOCKERS_OWN: [&str; 3] = [CRASH_LOOP, ENDS_TOTAL, "container_health_state"];
/// How the series of containers begin.
const OF_CONTAINERS: [&str; 3] = ["container_", "plimsoll_container_", "plimsoll_oom_"];
/// What happened before a list, and Docker tells after it, it has stamped by then.
const STAMPED_WITHIN: Duration = Duration::from_secs(5);
/// A new one has been read after so many intervals.
const READ_AFTER_INTERVALS: u32 = 2;
/// Labels that say which container an alert is about.
const WHO: [&str; 3] = ["name", "container", "service"];

/// How Docker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Standing {
    /// Nobody asks it.
    #[default]
    NotAsked,
    /// It has not answered yet.
    Awaited,
    /// It tells what happens.
    Heard,
    /// It does not answer any more.
    Lost,
}

/// The daemon, as we hear it.
#[derive(Debug, Default)]
pub(super) struct Daemon {
    standing: Standing,
    /// Whether it has said what there is since we began.
    pub has_listed: bool,
    /// Until when events were heard without a gap, once it is not heard.
    heard_until: Option<Timestamp>,
    /// Whether it has told everything that was missed.
    has_told: bool,
    /// The last time in which it was not heard.
    gap: Option<(Timestamp, Timestamp)>,
    /// Whether a host without it lacks something.
    is_expected: bool,
    /// Whether somebody was there when it was asked, be it to refuse us.
    was_there: bool,
    /// Whether the last connection broke before everything was told.
    broke_early: bool,
    why: String,
    speaker: Speaker,
}

/// Whether Docker is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AskDocker {
    /// No.
    #[default]
    No,
    /// If it is there: nobody wrote that it is.
    IfThere,
    /// Yes: a host without it lacks something.
    Yes,
}

impl Daemon {
    /// A configuration asks for it, or does not.
    fn ask(&mut self, ask: AskDocker) {
        self.is_expected = ask == AskDocker::Yes;
        self.standing = match (ask, self.standing) {
            (AskDocker::No, _) => Standing::NotAsked,
            (_, Standing::NotAsked) => Standing::Awaited,
            (_, standing) => standing,
        };
    }

    /// A reload asks for it, or no longer: what it tells meanwhile is missed.
    pub fn ask_anew(&mut self, ask: AskDocker, now: Now) {
        if ask == AskDocker::No {
            (self.heard_until, self.has_told) = (self.heard_until(now), false);
        }
        self.ask(ask);
    }

    /// Whether nobody asks it.
    pub fn is_unasked(&self) -> bool {
        self.standing == Standing::NotAsked
    }

    /// Until when events were heard before our restart, and whether it is asked again.
    pub fn restore(&mut self, heard_until: Option<Timestamp>, ask: AskDocker) {
        self.heard_until = heard_until;
        self.ask(ask);
    }

    /// A connection was made.
    pub fn connected(&mut self, version: String, now: Now) -> Fact {
        self.speaker.connected(version, now.monotonic)
    }

    /// What is to be said of it by and by.
    pub fn settle(&mut self, now: Now) -> Option<Fact> {
        self.speaker.settle(now.monotonic)
    }

    /// It has said what there is.
    pub fn listed(&mut self, now: Now) {
        self.heard_until = self.heard_until(now);
        self.was_there = true;
        if self.standing != Standing::Heard {
            self.gap = self.heard_until.map(|from| (from, now.wall));
        }
        (self.standing, self.has_listed, self.has_told) = (Standing::Heard, true, false);
    }

    /// It has told what happened before it said what there is.
    pub fn told_all(&mut self) {
        (self.has_told, self.broke_early) = (true, false);
    }

    /// It is not heard; somebody may be there.
    pub fn lost(&mut self, why: String, is_there: bool, now: Now) -> Fact {
        self.heard_until = self.heard_until(now);
        self.was_there |= is_there;
        if self.standing == Standing::Heard {
            self.broke_early = !self.has_told;
        }
        self.standing = Standing::Lost;
        why.clone_into(&mut self.why);
        self.speaker.lost(why, now.monotonic)
    }

    /// Whether it tells what happens. After a connection that broke too early to tell everything the next one
    /// must have told it: a Docker that lists and breaks, and does so again, is not heard in between.
    pub fn is_heard(&self) -> bool {
        self.standing == Standing::Heard && !self.broke_early
    }

    /// Whether it should, and does not. One that nobody wrote of, that never was heard, here or before our
    /// restart, and whose socket nobody stands behind is no input: many a host has none.
    pub fn is_silent(&self) -> bool {
        let is_input = self.is_expected || self.was_there || self.heard_until.is_some();
        self.standing != Standing::NotAsked && !self.is_heard() && is_input
    }

    /// Whether it was heard once and is not now: it will say what became of whoever has ended.
    pub fn owes_news(&self) -> bool {
        self.is_silent() && self.heard_until.is_some()
    }

    /// When an event of this stamp cannot have happened before: a daemon that hung stamps late.
    pub fn not_before(&self, at: Timestamp) -> Timestamp {
        let is_in = |(_, to): &(Timestamp, Timestamp)| at <= *to + STAMPED_WITHIN;
        self.gap.filter(is_in).map_or(at, |(from, _)| from.min(at))
    }

    /// Whether all that happened until now has been told.
    pub fn has_told(&self) -> bool {
        self.is_heard() && self.has_told
    }

    /// Whether it was heard once, and has not told all that happened since.
    pub fn is_behind(&self) -> bool {
        !self.is_unasked() && self.heard_until.is_some() && !self.has_told()
    }

    /// How it is heard, for readers; nothing if nobody asks it.
    pub fn state(&self) -> Option<DockerState> {
        let (is_heard, heard_until) = (self.is_heard(), self.heard_until);
        let was_tried = self.standing != Standing::Awaited;
        let why = (was_tried && !is_heard).then(|| self.why.clone());
        let state = DockerState { is_heard, is_silent: self.is_silent(), why, heard_until };
        (self.standing != Standing::NotAsked).then_some(state)
    }

    /// Until when everything was heard: what was missed is told after the list.
    pub fn heard_until(&self, now: Now) -> Option<Timestamp> {
        if self.has_told() { Some(now.wall) } else { self.heard_until }
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: Timestamp| Timestamp(at.0.saturating_add(by_ms));
        self.heard_until = self.heard_until.map(shift);
        self.gap = self.gap.map(|(from, to)| (shift(from), shift(to)));
    }
}

/// How Docker is heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DockerState {
    /// Whether it tells what happens.
    pub is_heard: bool,
    /// Whether it should, and does not.
    pub is_silent: bool,
    /// Why not, if it was tried.
    pub why: Option<String>,
    /// Until when it was heard last, here or before our restart.
    pub heard_until: Option<Timestamp>,
}

impl DockerState {
    /// Whether it is heard; nothing where it is no input.
    pub fn is_up(&self) -> Option<bool> {
        (self.is_heard || self.is_silent).then_some(self.is_heard)
    }
}

/// Whether the absence of an alert can be believed, as far as Docker goes, for one rule in one round.
pub(super) struct Witness<'a> {
    /// The rule reads what only Docker knows, and Docker is silent.
    pub is_silent: bool,
    /// It reads of containers, and nobody has said yet who they are.
    is_nameless: bool,
    /// Containers whose place may be taken any moment.
    ended: Vec<(&'a String, &'a Labels)>,
}

impl<'a> Witness<'a> {
    pub fn new(
        (daemon, ended): (&Daemon, &'a Ended),
        inventory: &Inventory,
        reads: &Reads,
        (slot, interval): (Timestamp, Duration),
    ) -> Witness<'a> {
        let reads_own = || DOCKERS_OWN.iter().any(|name| reads.names.contains(*name));
        let of_containers = |name: &str| OF_CONTAINERS.iter().any(|begin| name.starts_with(begin));
        let reads_containers = || reads.all || reads.names.iter().any(|name| of_containers(name));
        let is_replaced = |name: &str, end: &End| {
            let by = inventory.by_known(name).filter(|container| container.status.is_alive());
            let started = by.filter(|by| end.is_before(by)).and_then(|by| by.started_at);
            // It may have been started before anybody saw that the other had ended.
            let is_new = |started: Timestamp| started >= end.at - REPLACED_WITHIN;
            let is_read =
                |started| is_new(started) && started + interval * READ_AFTER_INTERVALS <= slot;
            started.is_some_and(is_read)
        };
        let is_silent = daemon.is_silent();
        let waits = |(name, end): &(&String, &End)| {
            let is_recent = daemon.owes_news() || slot.since(end.at) < REPLACED_WITHIN;
            is_recent && !is_replaced(name, end)
        };
        let has_ended = !ended.is_empty() && reads_containers();
        Witness {
            is_silent: is_silent && (reads.all || reads_own()),
            is_nameless: daemon.owes_news() && inventory.is_empty() && reads_containers(),
            ended: match has_ended {
                true => ended.iter().filter(waits).map(|(name, end)| (name, &end.labels)).collect(),
                false => Vec::new(),
            },
        }
    }

    /// Why the absence of an alert cannot be believed.
    pub fn doubt(&self, alert: &Alert) -> Option<Doubt> {
        if self.is_silent || (self.is_nameless && alert.restored) {
            return Some(Doubt::DockerSilent);
        }
        let is_of = |(_, labels): &&(&String, &Labels)| is_about(&alert.labels, labels);
        let (name, _) = self.ended.iter().find(is_of)?;
        Some(Doubt::ContainerEnded { container: (*name).clone() })
    }
}

/// Whether an alert is about the container of these labels: they name the same in one label at least, and
/// in none another.
fn is_about(alert: &Labels, container: &Labels) -> bool {
    let pairs = WHO.iter().filter_map(|label| alert.get(label).zip(container.get(label)));
    let (same, other): (Vec<_>, Vec<_>) = pairs.partition(|(one, other)| one == other);
    !same.is_empty() && other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_about_a_container_that_it_names_and_no_other() {
        let container = Labels::from_pairs([
            ("name", "acme-web"),
            ("container", "acme-web"),
            ("service", "acme/app"),
            ("tenant", "acme"),
        ]);
        for (labels, want) in [
            (&[("name", "acme-web")][..], true),
            (&[("service", "acme/app"), ("severity", "page")], true),
            (&[("service", "acme/app"), ("name", "acme-api")], false),
            (&[("container", "globex-web")], false),
            (&[("tenant", "acme")], false),
            (&[], false),
        ] {
            let alert = Labels::from_pairs(labels.iter().copied());
            assert_eq!(is_about(&alert, &container), want, "{labels:?}");
        }
    }
}
