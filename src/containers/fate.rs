//! How containers end, and which of them end again and again.
//!
//! An exit code alone does not say why: 137 is `docker kill`, `docker stop` on a deaf process, and
//! the kernel's OOM killer alike. What was asked for before tells the first two, what the kernel
//! said the third. A container that is started again after ends nobody asked for, three times
//! within ten minutes, is in a crash loop; cAdvisor never shows one (measured with v0.60.5). The loop
//! is over once it was not started again for as long, or was stopped and stays so: a mere restart of it, or
//! of Docker, is no cure.
//!
//! Fates live in the journal, so that neither a loop nor a count ends with a restart of ours. While
//! nobody hears Docker no loop ends: that nothing was heard says nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{ContainerId, Status};
use super::end::{Death, End};
use super::happening::What;
use super::held::Held;
use super::rows::Rows;
use crate::base::{Change, Timestamp};

/// The kernel's kill and the end of the process are at most this far apart.
const OOM_BEFORE_END: Duration = Duration::from_secs(10);
/// Restarts after ends nobody asked for, within [`LOOP_SPAN`], that make a loop: Docker waits
/// 0.1 s, 0.2 s, 0.4 s … up to a minute between them.
const LOOP_RESTARTS: usize = 3;
/// The span they are counted in, and how long a loop is over before it counts as over.
pub const LOOP_SPAN: Duration = Duration::from_secs(600);
/// What is stopped for a restart, of its own or of Docker's, is started again by then, as soon as Docker is
/// heard. Ours.
const STAYS_STOPPED: Duration = Duration::from_secs(15);
/// Loops that end and fates that are forgotten are looked for this often; a storm of events must not
/// look at every name each time.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long the fate of a removed container is told.
const TOLD_AFTER_REMOVAL: Duration = Duration::from_secs(3600);
/// Whoever makes a container anew removes the old one and gives the new one its name within a moment; its row
/// stays in the journal for so long. Ours.
const KEPT_AFTER_REMOVAL: Duration = Duration::from_secs(60);
const PREFIX: &str = "fate:";
/// Names remembered at most; those of which nothing was heard for the longest go first.
const MOST_NAMES: usize = 10_000;
const SIGKILL: u8 = 9;
/// The exit code of a process that it ended.
const SIGKILLED: i64 = 128 + SIGKILL as i64;
/// Podman does not say which signal was sent, and real-time signals have no number here. What ends
/// within [`UNNAMED_BEFORE_END`] was asked to; `docker stop` waits ten seconds, too.
const UNNAMED: u8 = 0;
const UNNAMED_BEFORE_END: Duration = Duration::from_secs(10);
/// A process that was asked by a polite signal and ends later than this, with an exit code of its own,
/// did not end for that. Who drains for longer ends with 0, or with the signal's code.
const DRAINS: Duration = Duration::from_secs(600);
/// Signals that ask a process to end: HUP and USR1 ask for something else.
const ENDING: [u8; 4] = [2, 3, SIGKILL, 15];

/// What has become of the containers of one name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Fate {
    /// The last end.
    pub last: Option<Death>,
    /// Of which incarnation that was.
    #[serde(default)]
    last_of: Option<ContainerId>,
    /// Ends since we watch, by [`End::ALL`].
    pub ends: [u64; 6],
    /// Whether it is being started again and again.
    pub is_looping: bool,
    /// Starts after ends nobody asked for, newest last.
    restarts: VecDeque<Timestamp>,
    /// Of which incarnation they are.
    #[serde(default)]
    started: Option<ContainerId>,
    /// When that was started last.
    #[serde(default)]
    started_at: Option<Timestamp>,
    /// When somebody stopped it in a loop, if it was not started again.
    #[serde(default)]
    stopped_at: Option<Timestamp>,
    /// What somebody asked it to end with since it was started.
    asked: Option<Asked>,
    /// When the kernel last killed in it since it was started.
    oom_at: Option<Timestamp>,
    /// The last end, not counted yet.
    held: Option<Held>,
    heard_at: Timestamp,
    removed_at: Option<Timestamp>,
}

/// Somebody asked an incarnation to end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Asked {
    id: ContainerId,
    /// The first signal.
    signal: u8,
    /// Whether it was deaf to that, and SIGKILL followed.
    is_forced: bool,
    /// When the last signal was sent.
    at: Timestamp,
}

impl Asked {
    /// Whether an end of this exit code at that time is what was asked for.
    fn explains(&self, at: Timestamp, exit_code: i64) -> bool {
        let patience = if self.signal == UNNAMED { UNNAMED_BEFORE_END } else { DRAINS };
        let is_obeyed = exit_code == 0 || exit_code == 128 + i64::from(self.signal);
        at.since(self.at) <= patience || (self.signal != UNNAMED && is_obeyed)
    }
}

impl Fate {
    /// One word for the API: what it is doing, or how it ended.
    pub fn word(&self, status: Option<Status>) -> &'static str {
        match (self.is_looping, status, self.last) {
            (true, ..) => "crash_loop",
            (false, Some(status @ (Status::Running | Status::Paused)), _) => status.name(),
            (false, _, Some(death)) => death.end.name(),
            (false, Some(status), None) => status.name(),
            (false, None, None) => "removed",
        }
    }

    /// Whether the last end was not the first, be it known for good or not.
    fn has_ended_before(&self) -> bool {
        self.ends.iter().sum::<u64>() + u64::from(self.held.is_some()) > 1
    }

    /// The end that waits, under the name it has by now; it is counted.
    fn settle_held(&mut self, is_oom: bool) -> Option<(ContainerId, Death)> {
        let held = self.held.take()?;
        let id = held.id.clone();
        let provisional = held.death;
        let death = held.settled(is_oom);
        if self.last == Some(provisional) {
            self.last = Some(death);
        }
        self.ends[death.end as usize] += 1;
        Some((id, death))
    }

    /// Who asked for such an end.
    fn asked_for(&self, id: &ContainerId, at: Timestamp, exit_code: i64) -> Option<&Asked> {
        self.asked.as_ref().filter(|asked| asked.id == *id && asked.explains(at, exit_code))
    }

    fn end(&self, id: &ContainerId, at: Timestamp, exit_code: i64, is_flagged: bool) -> End {
        let asked = self.asked_for(id, at, exit_code);
        let is_killed = exit_code == SIGKILLED;
        let kernel_told = self.oom_at.map(|oom| at.since(oom) <= OOM_BEFORE_END);
        match asked {
            Some(Asked { signal: SIGKILL | UNNAMED, .. }) if is_killed => End::Kill,
            // It did not heed the signal, and then the kernel came.
            Some(asked) if is_killed && !asked.is_forced && kernel_told == Some(true) => End::Oom,
            Some(_) => End::Stop,
            // The flag of an earlier child's death stays set until the run ends.
            None if is_killed && kernel_told.unwrap_or(is_flagged) => End::Oom,
            None if exit_code == 0 => End::Exit,
            None => End::Crash,
        }
    }
}

/// The fates of a host's containers, by name.
#[derive(Clone, PartialEq, Debug)]
pub struct Fates {
    names: BTreeMap<String, Fate>,
    /// Names that something happened to since they were settled.
    open: BTreeSet<String>,
    /// Names with an end that waits.
    held: BTreeSet<String>,
    /// Ends that have waited and were not told yet.
    settled: Vec<(String, ContainerId, Death)>,
    /// When all of them were looked at last.
    swept_at: Option<Timestamp>,
    rows: Rows<String>,
}

impl Default for Fates {
    fn default() -> Fates {
        Fates {
            names: BTreeMap::new(),
            open: BTreeSet::new(),
            held: BTreeSet::new(),
            settled: Vec::new(),
            swept_at: None,
            rows: Rows::new(PREFIX),
        }
    }
}

impl Fates {
    /// The fates as their rows tell them, and which could not be read; other rows are skipped.
    pub fn recover<'a>(rows: impl IntoIterator<Item = &'a Change>) -> (Fates, Vec<String>) {
        let (mut fates, mut problems) = (Fates::default(), Vec::new());
        for row in rows {
            let (Some(name), Some(value)) = (fates.rows.key(row), &row.value) else { continue };
            match serde_json::from_slice::<Fate>(value) {
                Ok(fate) => {
                    fates.rows.found(name.to_owned());
                    fates.held.extend(fate.held.is_some().then(|| name.to_owned()));
                    fates.names.insert(name.to_owned(), fate);
                }
                Err(error) => problems.push(format!("row {} of table guards: {error}", row.key)),
            }
        }
        (fates, problems)
    }

    /// The rows that have changed. That of a name whose container was removed is kept for a moment, if there is
    /// one or more than one end is known: we may be stopped before the next one comes. Until a restart of ours it is
    /// told of for an hour.
    pub fn take_rows(&mut self, now: Timestamp) -> Vec<Change> {
        let is_kept = |at: Timestamp| now.since(at) < KEPT_AFTER_REMOVAL;
        let names = &self.names;
        self.rows.take_again(|name, is_stored| {
            let fate = names.get(name)?;
            let is_known = is_stored || fate.has_ended_before();
            let lasts = fate.removed_at.is_none_or(|at| is_known && is_kept(at));
            lasts.then_some(fate)
        })
    }

    /// Something happened to a container that is known by `name`. `is_flagged`: Docker says
    /// `OOMKilled` of the run that ends. Returns the end, if it is one; [`Fates::is_held`] says whether
    /// it is known for good.
    pub fn take(
        &mut self,
        (id, name): (&ContainerId, &str),
        at: Timestamp,
        what: &What,
        is_flagged: bool,
    ) -> Option<Death> {
        let fate = self.names.entry(name.to_owned()).or_default();
        self.open.insert(name.to_owned());
        self.rows.touch(&name.to_owned());
        fate.heard_at = fate.heard_at.max(at);
        match what {
            What::Start => {
                fate.removed_at = None;
                fate.asked = None;
                fate.stopped_at = None;
                fate.oom_at = None;
                fate.started_at = Some(at);
                fate.held.iter_mut().for_each(|held| held.start(at));
                // What another one does under this name is no part of a loop.
                if fate.started.replace(id.clone()).is_some_and(|before| before != *id) {
                    fate.restarts.clear();
                } else if fate.last.is_some_and(|death| !death.end.is_asked_for()) {
                    fate.restarts.push_back(at);
                    while fate.restarts.len() > LOOP_RESTARTS {
                        fate.restarts.pop_front();
                    }
                }
            }
            What::Oom if fate.held.as_ref().is_some_and(|held| held.is_by(id, at)) => {
                self.settle_held(name, true);
            }
            What::Oom => fate.oom_at = Some(at),
            What::Kill { signal } if ENDING.contains(signal) || *signal == UNNAMED => {
                // `docker stop` on a deaf process: first the polite signal, then the other.
                match &mut fate.asked {
                    Some(asked) if asked.id == *id && asked.signal != UNNAMED => {
                        asked.is_forced |= *signal == SIGKILL && asked.signal != SIGKILL;
                        asked.at = at;
                    }
                    asked => {
                        let (id, signal) = (id.clone(), *signal);
                        *asked = Some(Asked { id, signal, is_forced: false, at });
                    }
                }
            }
            What::Die { exit_code } => {
                let end = fate.end(id, at, *exit_code, is_flagged);
                let death = Death { at, end, exit_code: *exit_code };
                return Some(self.end(id, name, death));
            }
            // Docker, too, waits before it starts again what has ended; stopped then, it ends no more.
            What::Stop => fate.stop(at),
            What::Destroy => {
                fate.removed_at = Some(at);
                fate.restarts.clear();
                fate.is_looping = false;
            }
            _ => {}
        }
        None
    }

    /// Of two ends in a row the first waits no longer.
    fn end(&mut self, id: &ContainerId, name: &str, death: Death) -> Death {
        self.settle_held(name, false);
        let fate = self.names.entry(name.to_owned()).or_default();
        if death.end == End::Crash && death.exit_code == SIGKILLED {
            let began = fate.started_at.filter(|_| fate.started.as_ref() == Some(id));
            fate.held = Some(Held::new(id.clone(), death, (began, fate.oom_at.is_some())));
            (fate.last, fate.last_of) = (Some(death), Some(id.clone()));
            self.held.insert(name.to_owned());
            return death;
        }
        fate.note(id, death)
    }

    fn settle_held(&mut self, name: &str, is_oom: bool) {
        self.held.remove(name);
        let settled = self.names.get_mut(name).and_then(|fate| fate.settle_held(is_oom));
        if let Some((id, death)) = settled {
            self.rows.touch(&name.to_owned());
            self.settled.push((name.to_owned(), id, death));
        }
    }

    /// Whether the last end of this name waits for a word of the kernel's.
    pub fn is_held(&self, name: &str) -> bool {
        self.held.contains(name)
    }

    /// The ends that were held and are known for good by now, with name and incarnation. A kill that
    /// `saw_kill` knows of in the run that began then, from whatever witness, brought one that no event explains.
    pub fn take_settled(
        &mut self,
        now: Timestamp,
        saw_kill: impl Fn(&ContainerId, Option<Timestamp>, Timestamp) -> bool,
    ) -> Vec<(String, ContainerId, Death)> {
        let mut over = Vec::new();
        for name in &self.held {
            let held = self.names.get_mut(name).and_then(|fate| fate.held.as_mut());
            // Of a name that was forgotten nothing is to be told.
            let is_over = held.is_none_or(|held| held.is_over(now));
            if is_over {
                let held = self.names.get(name).and_then(|fate| fate.held.as_ref());
                let by_seen = held.is_some_and(|held| held.is_by_seen(&saw_kill));
                over.push((name.clone(), by_seen));
            }
        }
        over.iter().for_each(|(name, is_oom)| self.settle_held(name, *is_oom));
        std::mem::take(&mut self.settled)
    }

    /// The run that ends began then, whether an event told that or not: what was asked for before, and whom the kernel
    /// killed, was of another.
    pub fn began(&mut self, name: &str, at: Timestamp) {
        let Some(fate) = self.names.get_mut(name) else { return };
        fate.asked.take_if(|asked| asked.at < at);
        fate.oom_at.take_if(|oom_at| *oom_at < at);
    }

    /// A kill that somebody saw brought the end of that time, however long before the kernel's word of it was.
    pub fn killed(&mut self, name: &str, at: Timestamp) {
        if let Some(fate) = self.names.get_mut(name) {
            fate.oom_at = Some(at);
        }
    }

    /// Whether an end of which no event tells is what somebody asked for.
    pub fn was_asked(
        &self,
        (id, name): (&ContainerId, &str),
        at: Timestamp,
        exit_code: i64,
    ) -> bool {
        let fate = self.names.get(name);
        fate.is_some_and(|fate| fate.asked_for(id, at, exit_code).is_some())
    }

    /// It ended, and nobody saw how; it is there still, or again.
    pub fn unseen(
        &mut self,
        (id, name): (&ContainerId, &str),
        at: Timestamp,
        exit_code: i64,
    ) -> Death {
        let fate = self.names.entry(name.to_owned()).or_default();
        self.rows.touch(&name.to_owned());
        fate.heard_at = fate.heard_at.max(at);
        fate.note(id, Death { at, end: End::Vanished, exit_code })
    }

    /// Whether somebody has sent SIGKILL to this incarnation since it began.
    pub fn is_being_killed(
        &self,
        (id, name): (&ContainerId, &str),
        began: Option<Timestamp>,
    ) -> bool {
        let asked = self.names.get(name).and_then(|fate| fate.asked.as_ref());
        let asked = asked.filter(|asked| asked.id == *id && began.is_none_or(|at| at <= asked.at));
        asked.is_some_and(|asked| asked.is_forced || asked.signal == SIGKILL)
    }

    /// A container that had ended was removed, and no event told of it.
    pub fn removed(&mut self, name: &str, at: Timestamp) {
        if let Some(fate) = self.names.get_mut(name) {
            fate.removed_at.get_or_insert(at);
            fate.restarts.clear();
            self.rows.touch(&name.to_owned());
        }
    }

    /// A container is known by this name, whoever was removed before it came.
    pub fn is_there(&mut self, name: &str) {
        let fate = self.names.get_mut(name).filter(|fate| fate.removed_at.is_some());
        if let Some(fate) = fate {
            fate.removed_at = None;
            self.rows.touch(&name.to_owned());
        }
    }

    /// When the last container of this name was removed, if it was, as far as anybody remembers.
    pub fn removed_at(&self, name: &str) -> Option<Timestamp> {
        self.names.get(name)?.removed_at
    }

    /// Forgets all of them: nobody hears of containers any more.
    pub fn clear(&mut self) {
        self.names.keys().for_each(|name| self.rows.touch(name));
        self.names.clear();
        self.held.clear();
    }

    /// A container that was alive is not there any more, and nobody saw it end.
    pub fn vanished(&mut self, (id, name): (&ContainerId, &str), at: Timestamp) -> Death {
        let fate = self.names.entry(name.to_owned()).or_default();
        self.rows.touch(&name.to_owned());
        fate.removed_at = Some(at);
        fate.restarts.clear();
        fate.heard_at = fate.heard_at.max(at);
        fate.note(id, Death { at, end: End::Vanished, exit_code: 0 })
    }

    /// Finds the loops that began or ended by now, with the name of each, and forgets what is over.
    /// None ends unless `is_heard`: whatever was to be told of until now has been told.
    pub fn settle(&mut self, now: Timestamp, is_heard: bool) -> Vec<(String, bool)> {
        let mut changed = Vec::new();
        let open = std::mem::take(&mut self.open);
        // After a step back of the clock the next sweep is not put off.
        let is_fresh = |at: Timestamp| at <= now && now.since(at) < SWEEP_EVERY;
        if self.swept_at.is_some_and(is_fresh) {
            for name in open {
                let fate = self.names.get_mut(&name);
                if let Some(is_looping) = fate.and_then(|fate| fate.settle(now, is_heard)) {
                    changed.push((name, is_looping));
                }
            }
        } else {
            self.swept_at = Some(now);
            for (name, fate) in &mut self.names {
                let is_looping = fate.settle(now, is_heard);
                changed.extend(is_looping.map(|is_looping| (name.clone(), is_looping)));
            }
            if is_heard {
                self.forget_removed(now);
            }
            self.forget_most();
        }
        changed.iter().for_each(|(name, _)| self.rows.touch(name));
        changed
    }

    /// Whoever was removed before our restart may have a successor that Docker has not told of, as long as it is
    /// not heard.
    fn forget_removed(&mut self, now: Timestamp) {
        let Fates { names, rows, .. } = self;
        names.retain(|name, fate| {
            let Some(gone_for) = fate.removed_at.map(|at| now.since(at)) else { return true };
            if gone_for >= KEPT_AFTER_REMOVAL && rows.is_stored(name) {
                rows.touch(name);
            }
            gone_for <= TOLD_AFTER_REMOVAL
        });
    }

    /// Keeps the number of names bounded: those of which nothing was heard for the longest go.
    fn forget_most(&mut self) {
        let excess = self.names.len().saturating_sub(MOST_NAMES);
        if excess == 0 {
            return;
        }
        let mut heard: Vec<Timestamp> = self.names.values().map(|fate| fate.heard_at).collect();
        heard.sort();
        let newest = heard[excess - 1];
        let mut equals = excess - heard.partition_point(|at| *at < newest);
        let rows = &mut self.rows;
        self.names.retain(|name, fate| {
            let is_equal = fate.heard_at == newest && equals > 0;
            equals -= usize::from(is_equal);
            let stays = fate.heard_at >= newest && !is_equal;
            if !stays {
                rows.touch(name);
            }
            stays
        });
    }

    /// The fate of a name.
    pub fn get(&self, name: &str) -> Option<&Fate> {
        self.names.get(name)
    }

    /// When this incarnation ended last, if it was the last one of its name that did.
    pub fn last_end(&self, (id, name): (&ContainerId, &str)) -> Option<Timestamp> {
        let fate = self.names.get(name)?;
        // Rows of before did not say whose it was.
        let is_its = fate.last_of.as_ref().is_none_or(|last| last == id);
        fate.last.filter(|_| is_its).map(|death| death.at)
    }

    /// Every fate, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fate)> {
        self.names.iter().map(|(name, fate)| (name.as_str(), fate))
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = Timestamp(at.0.saturating_add(by_ms));
        for (name, fate) in &mut self.names {
            self.rows.touch(name);
            fate.restarts.iter_mut().for_each(shift);
            fate.last.iter_mut().for_each(|death| shift(&mut death.at));
            let Fate { started_at, oom_at, removed_at, stopped_at, .. } = fate;
            let single = [started_at, oom_at, removed_at, stopped_at];
            single.into_iter().flatten().for_each(shift);
            fate.asked.iter_mut().for_each(|asked| shift(&mut asked.at));
            fate.held.iter_mut().for_each(|held| held.rebase(shift));
            shift(&mut fate.heard_at);
        }
    }
}

impl Fate {
    /// Whether a loop began or ended by now.
    fn settle(&mut self, now: Timestamp, is_heard: bool) -> Option<bool> {
        if self.is_looping && !is_heard {
            return None;
        }
        while self.restarts.front().is_some_and(|at| now.since(*at) > LOOP_SPAN) {
            self.restarts.pop_front();
        }
        if self.stopped_at.is_some_and(|at| now.since(at) >= STAYS_STOPPED) {
            self.restarts.clear();
        }
        let loops = match self.is_looping {
            true => !self.restarts.is_empty(),
            false => self.restarts.len() >= LOOP_RESTARTS,
        };
        let changed = loops != self.is_looping;
        self.is_looping = loops;
        changed.then_some(loops)
    }

    fn note(&mut self, id: &ContainerId, death: Death) -> Death {
        // One that a list told of may be older than what events have told since.
        if self.last.is_none_or(|last| last.at <= death.at) {
            (self.last, self.last_of) = (Some(death), Some(id.clone()));
        }
        self.ends[death.end as usize] += 1;
        if death.end.is_asked_for() {
            self.stop(death.at);
        }
        death
    }

    /// Somebody stopped it.
    fn stop(&mut self, at: Timestamp) {
        match self.is_looping {
            true => self.stopped_at = Some(at),
            // Whoever stops it knows.
            false => self.restarts.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ContainerId {
        ContainerId::new(&"a".repeat(64)).expect("64 digits")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    /// The ends of what happens to `web`, in seconds; the word at the end.
    fn check(story: &[(i64, What)], is_flagged: bool, want: &[End], word: &str) {
        let mut fates = Fates::default();
        let mut ends = Vec::new();
        let mut alive = false;
        for (second, what) in story {
            alive = matches!(what, What::Start) || (alive && !matches!(what, What::Die { .. }));
            ends.extend(fates.take((&id(), "web"), at(*second), what, is_flagged));
            fates.settle(at(*second), true);
        }
        let got: Vec<End> = ends.iter().map(|death| death.end).collect();
        assert_eq!(got, want, "{story:?}");
        let status = if alive { Status::Running } else { Status::Exited };
        assert_eq!(fates.get("web").expect("heard of").word(Some(status)), word, "{story:?}");
    }

    #[test]
    fn ends_are_told_apart() {
        use What::{Kill, Oom, Restart, Start, Stop};
        let die = |exit_code| What::Die { exit_code };
        let kill = |signal| Kill { signal };
        check(&[(0, Start), (9, Oom), (9, die(137))], false, &[End::Oom], "oom");
        check(&[(0, Start), (9, die(137))], true, &[End::Oom], "oom");
        check(&[(0, Start), (9, die(137))], false, &[End::Crash], "crash");
        check(&[(0, Start), (9, die(1))], true, &[End::Crash], "crash");
        check(&[(0, Start), (9, die(0))], false, &[End::Exit], "exit");
        // A child was killed minutes ago; the flag is still set and says nothing about this end.
        check(&[(0, Start), (9, Oom), (300, die(137))], true, &[End::Crash], "crash");
        check(&[(0, Start), (9, kill(9)), (9, die(137))], false, &[End::Kill], "kill");
        check(&[(0, Start), (9, Oom), (60, kill(9)), (60, die(137))], true, &[End::Kill], "kill");
        check(&[(0, Start), (9, kill(15)), (9, die(0)), (9, Stop)], false, &[End::Stop], "stop");
        let deaf = [(0, Start), (1, kill(15)), (4, kill(9)), (4, die(137)), (4, Stop), (5, Start)];
        let deaf = [&deaf[..], &[(5, Restart)]].concat();
        check(&deaf, false, &[End::Stop], "running");
        // Deaf to a polite signal, and killed by the kernel a while later: that was no stop.
        let starved = [(0, Start), (1, kill(15)), (11, Oom), (11, die(137))];
        check(&starved, true, &[End::Oom], "oom");
        let at_last = [(0, Start), (1, kill(15)), (9, Oom), (11, kill(9)), (11, die(137))];
        check(&at_last, true, &[End::Stop], "stop");
        // Nor is what it does by itself much later. Who takes long to obey, obeys.
        check(&[(0, Start), (1, kill(15)), (900, die(3))], false, &[End::Crash], "crash");
        check(&[(0, Start), (1, kill(15)), (900, die(143))], false, &[End::Stop], "stop");
        check(&[(0, Start), (1, kill(15)), (900, die(0))], false, &[End::Stop], "stop");
        // Podman's, without a number, is believed if the end follows.
        check(&[(0, Start), (9, kill(0)), (9, die(137))], false, &[End::Kill], "kill");
        check(&[(0, Start), (9, kill(0)), (12, die(0))], false, &[End::Stop], "stop");
        check(&[(0, Start), (9, kill(0)), (99, die(137))], true, &[End::Oom], "oom");
        check(&[(0, Start), (9, kill(0)), (99, die(2))], false, &[End::Crash], "crash");
        // HUP is a request to read a file again: what follows is its own doing.
        check(&[(0, Start), (9, kill(1)), (99, die(2))], false, &[End::Crash], "crash");
        check(
            &[(0, Start), (9, kill(9)), (9, die(137)), (10, Start), (20, die(1))],
            false,
            &[End::Kill, End::Crash],
            "crash",
        );
    }

    #[test]
    fn a_loop_begins_with_the_third_restart_and_ends_with_quiet_or_by_hand() {
        let (mut fates, mut told) = (Fates::default(), Vec::new());
        let mut happen = |fates: &mut Fates, second: i64, what: What| {
            fates.take((&id(), "web"), at(second), &what, false);
            told.extend(fates.settle(at(second), true).into_iter().map(|(_, on)| (second, on)));
        };
        for second in [0, 10, 20, 40] {
            happen(&mut fates, second, What::Start);
            happen(&mut fates, second + 1, What::Die { exit_code: 1 });
        }
        assert_eq!(fates.get("web").map(|f| f.word(Some(Status::Restarting))), Some("crash_loop"));
        happen(&mut fates, 50, What::Start);
        happen(&mut fates, 700, What::Pause);
        for second in [701, 702, 703, 704] {
            happen(&mut fates, second, What::Start);
            happen(&mut fates, second, What::Die { exit_code: 0 });
        }
        happen(&mut fates, 710, What::Kill { signal: 15 });
        happen(&mut fates, 710, What::Die { exit_code: 0 });
        assert_eq!(told, [(40, true), (700, false), (703, true)]);
        assert_eq!(fates.settle(at(724), true), []);
        assert_eq!(fates.settle(at(729), true), [("web".to_owned(), false)]);
    }

    #[test]
    fn a_stop_between_two_runs_ends_a_loop_as_well() {
        use What::{Start, Stop};
        let looping = || {
            let mut fates = Fates::default();
            for second in [0, 10, 20, 30] {
                fates.take((&id(), "web"), at(second), &Start, false);
                fates.take((&id(), "web"), at(second + 5), &What::Die { exit_code: 1 }, false);
            }
            assert_eq!(fates.settle(at(36), true), [("web".to_owned(), true)]);
            fates
        };
        // There is no end then, but the one before.
        let mut fates = looping();
        fates.take((&id(), "web"), at(40), &Stop, false);
        assert_eq!(fates.settle(at(54), true), []);
        assert_eq!(fates.settle(at(59), true), [("web".to_owned(), false)]);
        // A restart stops it first, wherever it is.
        for is_running in [true, false] {
            let mut fates = looping();
            if is_running {
                fates.take((&id(), "web"), at(38), &Start, false);
                fates.take((&id(), "web"), at(40), &What::Kill { signal: 15 }, false);
                fates.take((&id(), "web"), at(40), &What::Die { exit_code: 143 }, false);
            }
            fates.take((&id(), "web"), at(40), &Stop, false);
            fates.take((&id(), "web"), at(41), &Start, false);
            fates.take((&id(), "web"), at(41), &What::Restart, false);
            assert_eq!(fates.settle(at(100), true), [], "{is_running}");
        }
        // Of what is no loop yet the starts count anew.
        let mut fates = Fates::default();
        for second in [0, 10, 20, 30] {
            fates.take((&id(), "web"), at(second), &Start, false);
            fates.take((&id(), "web"), at(second + 5), &What::Die { exit_code: 1 }, false);
            if second == 20 {
                fates.take((&id(), "web"), at(28), &Stop, false);
            }
        }
        assert_eq!(fates.settle(at(36), true), []);
    }

    #[test]
    fn a_loop_ends_with_the_one_that_takes_its_place() {
        let (mut fates, mut rows) = (Fates::default(), BTreeMap::new());
        let other = ContainerId::new(&"b".repeat(64)).expect("64 digits");
        for second in [0, 10, 20, 30] {
            fates.take((&id(), "web"), at(second), &What::Start, false);
            fates.take((&id(), "web"), at(second + 5), &What::Die { exit_code: 1 }, false);
        }
        assert_eq!(fates.settle(at(36), true), [("web".to_owned(), true)]);
        let mut fates = again(&mut fates, &mut rows);
        // Its first start follows an end that nobody asked for, and is no restart of that all the same.
        fates.take((&other, "web"), at(40), &What::Start, false);
        assert_eq!(fates.settle(at(45), true), [("web".to_owned(), false)]);
    }

    #[test]
    fn a_restart_by_hand_or_of_docker_ends_no_loop() {
        let (mut fates, mut rows) = (Fates::default(), BTreeMap::new());
        let die = What::Die { exit_code: 1 };
        let stop = |fates: &mut Fates, second: i64| {
            fates.take((&id(), "web"), at(second), &What::Kill { signal: 15 }, false);
            fates.take((&id(), "web"), at(second), &What::Die { exit_code: 143 }, false)
        };
        for second in [0, 10, 20, 30] {
            fates.take((&id(), "web"), at(second), &What::Start, false);
            fates.take((&id(), "web"), at(second + 5), &die, false);
        }
        assert_eq!(fates.settle(at(36), true), [("web".to_owned(), true)]);
        stop(&mut fates, 40);
        fates.take((&id(), "web"), at(41), &What::Start, false);
        assert_eq!(fates.settle(at(100), true), []);
        assert_eq!(stop(&mut fates, 110).map(|death| death.end), Some(End::Stop));
        // Docker ends, and comes back after a while; so do we.
        assert_eq!(fates.settle(at(200), false), []);
        let mut back = again(&mut fates, &mut rows);
        back.take((&id(), "web"), at(210), &What::Start, false);
        assert_eq!(back.settle(at(215), true), []);
        assert_eq!(back.settle(at(631), true), [("web".to_owned(), false)], "it has come to rest");
        // It is not started again, and the clock steps.
        fates.rebase(3_600_000);
        assert_eq!(fates.settle(at(3600 + 120), true), []);
        assert_eq!(fates.settle(at(3600 + 130), true), [("web".to_owned(), false)]);
    }

    /// What is left after a restart of ours.
    fn again(fates: &mut Fates, rows: &mut BTreeMap<String, Change>) -> Fates {
        let changes = fates.take_rows(Timestamp(i64::MAX));
        rows.extend(changes.into_iter().map(|row| (row.key.clone(), row)));
        rows.retain(|_, row| row.value.is_some());
        let (recovered, problems) = Fates::recover(rows.values());
        assert_eq!(problems, Vec::<String>::new());
        recovered
    }

    #[test]
    fn a_loop_and_its_ends_go_on_through_a_restart_of_ours() {
        let (mut fates, mut rows) = (Fates::default(), BTreeMap::new());
        let die = What::Die { exit_code: 1 };
        for second in [0, 10, 20, 30] {
            fates.take((&id(), "web"), at(second), &What::Start, false);
            fates.take((&id(), "web"), at(second + 5), &die, false);
        }
        assert_eq!(fates.settle(at(36), true), [("web".to_owned(), true)]);
        let mut fates = again(&mut fates, &mut rows);
        // Docker does not answer yet: for hours, if need be.
        assert_eq!(fates.settle(at(9000), false), []);
        // Then it tells what was missed.
        fates.take((&id(), "web"), at(8990), &What::Start, false);
        assert!(fates.take((&id(), "web"), at(8995), &die, false).is_some());
        assert_eq!(fates.settle(at(9001), true), []);
        let fate = fates.get("web").expect("known");
        assert_eq!((fate.is_looping, fate.ends[End::Crash as usize]), (true, 5));
        assert_eq!(fates.settle(at(9600), true), [("web".to_owned(), false)]);
        // A clock that was set back while we were away tells nothing again.
        let mut fates = again(&mut fates, &mut rows);
        assert!(fates.take((&id(), "web"), at(5000), &die, false).is_some());
        fates.take((&id(), "web"), at(5001), &What::Destroy, false);
        assert_eq!(again(&mut fates, &mut rows).get("web"), None);
        assert!(rows.is_empty(), "of what is gone no row stays");
        let bad = Change { table: crate::base::Table::Guards, key: "fate:x".into(), value: None };
        let bad = Change { value: Some(b"{".to_vec()), ..bad };
        assert_eq!(Fates::recover([&bad]).1.len(), 1);
    }

    /// How the ends of `web` count, by [`End::ALL`], after a story in milliseconds and a moment to wait.
    fn counted(story: &[(i64, What)], saw_kill: bool) -> Vec<End> {
        let mut fates = Fates::default();
        let mut settled = Vec::new();
        for (ms, what) in story {
            let told = fates.take((&id(), "web"), Timestamp(*ms), what, false);
            let counts_now = told.filter(|_| !fates.is_held("web"));
            let late = fates.take_settled(Timestamp(*ms), |_, _, _| saw_kill);
            settled.extend(late.into_iter().map(|(_, _, death)| death.end));
            settled.extend(counts_now.map(|death| death.end));
            let fate = fates.get("web").expect("heard of");
            let count = |end: End| settled.iter().filter(|other| **other == end).count() as u64;
            assert_eq!(fate.ends, End::ALL.map(count), "what is told is what is counted");
        }
        settled
    }

    #[test]
    fn a_kill_that_is_told_a_moment_after_the_end_brought_it() {
        use What::{Oom, Pause, Start};
        let die = || What::Die { exit_code: 137 };
        let wait = |ms: i64| (ms, Pause);
        let check = |story: &[(i64, What)], saw_kill, want: &[End]| {
            assert_eq!(counted(story, saw_kill), want, "{story:?}");
        };
        check(&[(9000, die()), (9020, Oom)], false, &[End::Oom]);
        check(&[(9000, die()), wait(10_999)], false, &[]);
        check(&[(9000, die()), wait(11_000)], false, &[End::Crash]);
        check(&[(9000, die()), wait(11_001), (11_001, Oom)], false, &[End::Crash]);
        // A counter told.
        check(&[(9000, die()), wait(11_000)], true, &[End::Oom]);
        let child = [(9000, Oom), (30_000, die()), wait(32_000)];
        check(&child, true, &[End::Crash]);
        // Started again by Docker, which says so before it tells of the kill; or killed anew.
        check(&[(9000, die()), (9100, Start), (9020, Oom)], false, &[End::Oom]);
        let anew = [(9000, die()), (9100, Start), (9300, Oom), (9301, die()), wait(12_000)];
        check(&anew, false, &[End::Crash, End::Oom]);
        let again = [(9000, die()), (9100, Start), (9300, die()), (9310, Oom), wait(12_000)];
        check(&again, false, &[End::Crash, End::Oom]);
        check(&[(9000, What::Die { exit_code: 1 }), (9020, Oom)], false, &[End::Crash]);
        check(&[(9000, What::Kill { signal: 9 }), (9001, die())], false, &[End::Kill]);
    }

    #[test]
    fn an_end_that_waits_goes_on_waiting_through_a_restart_of_ours_and_a_step_of_the_clock() {
        let (mut fates, mut rows) = (Fates::default(), BTreeMap::new());
        let settled = |fates: &mut Fates, second: i64| -> Vec<End> {
            let settled = fates.take_settled(at(second), |_, _, _| false);
            settled.into_iter().map(|(_, _, death)| death.end).collect()
        };
        fates.take((&id(), "web"), at(9), &What::Die { exit_code: 137 }, false);
        let mut fates = again(&mut fates, &mut rows);
        assert_eq!(settled(&mut fates, 60), []);
        fates.rebase(3_600_000);
        assert_eq!(settled(&mut fates, 3661), []);
        fates.take((&id(), "web"), Timestamp(3_609_020), &What::Oom, false);
        assert_eq!(settled(&mut fates, 3661), [End::Oom]);
        let last = fates.get("web").and_then(|fate| fate.last);
        assert_eq!(last.map(|death| (death.at, death.end)), Some((at(3609), End::Oom)));
        assert_eq!(again(&mut fates, &mut rows).get("web").map(|fate| fate.ends[0]), Some(1));
        // The clock is set back, and nobody says so.
        fates.take((&id(), "web"), at(9000), &What::Die { exit_code: 137 }, false);
        assert_eq!(settled(&mut fates, 9000), []);
        assert_eq!(settled(&mut fates, 5), [End::Crash]);
        fates.take((&id(), "web"), at(9000), &What::Die { exit_code: 137 }, false);
        fates.clear();
        assert_eq!((settled(&mut fates, 9009), fates.is_held("web")), (Vec::new(), false));
    }

    #[test]
    fn an_older_end_that_is_told_late_counts_and_is_not_the_last() {
        let mut fates = Fates::default();
        fates.take((&id(), "web"), at(20), &What::Die { exit_code: 1 }, false);
        fates.unseen((&id(), "web"), at(10), 137);
        let fate = fates.get("web").expect("known");
        assert_eq!(fate.last.map(|death| (death.at, death.end)), Some((at(20), End::Crash)));
        assert_eq!(fate.ends.iter().sum::<u64>(), 2);
    }

    #[test]
    fn what_vanished_or_was_removed_is_told_for_an_hour() {
        let mut fates = Fates::default();
        assert_eq!(fates.vanished((&id(), "web"), at(10)).end, End::Vanished);
        assert_eq!(fates.get("web").map(|f| f.word(None)), Some("vanished"));
        fates.settle(at(3000), true);
        assert!(fates.get("web").is_some());
        fates.settle(at(4000), true);
        assert!(fates.get("web").is_none());
    }

    #[test]
    fn the_row_of_what_was_removed_stays_for_a_minute_if_there_was_one() {
        for was_noted in [true, false] {
            let mut fates = Fates::default();
            let rows = |fates: &mut Fates, second: i64| {
                fates.settle(at(second), true);
                let rows = fates.take_rows(at(second)).into_iter();
                rows.map(|row| row.value.is_some()).collect::<Vec<_>>()
            };
            fates.take((&id(), "web"), at(0), &What::Die { exit_code: 1 }, false);
            if was_noted {
                assert_eq!(rows(&mut fates, 0), [true]);
            }
            fates.take((&id(), "web"), at(1), &What::Destroy, false);
            assert_eq!(rows(&mut fates, 2), if was_noted { &[true][..] } else { &[] });
            assert_eq!(rows(&mut fates, 55), [true; 0]);
            assert_eq!(rows(&mut fates, 66), if was_noted { &[false][..] } else { &[] });
            assert!(fates.get("web").is_some(), "it is told of still");
        }
    }

    /// As where plimsoll itself hung for a while.
    #[test]
    fn what_came_and_went_twice_between_two_notes_is_noted() {
        let mut fates = Fates::default();
        for (second, digit) in [(0, 'a'), (1, 'b')] {
            let id = ContainerId::new(&digit.to_string().repeat(64)).expect("64 digits");
            fates.take((&id, "job"), at(second), &What::Die { exit_code: 0 }, false);
            fates.take((&id, "job"), at(second), &What::Destroy, false);
        }
        let rows = fates.take_rows(at(2));
        let (recovered, _) = Fates::recover(&rows);
        assert_eq!(recovered.get("job").map(|fate| fate.ends[End::Exit as usize]), Some(2));
    }

    #[test]
    fn what_was_removed_before_our_restart_is_remembered_until_docker_has_told_who_came_after_it() {
        let mut fates = Fates::default();
        fates.vanished((&id(), "web"), at(0));
        fates.settle(at(9_000), false);
        fates.is_there("web");
        fates.settle(at(9_010), true);
        assert_eq!(fates.get("web").map(|fate| fate.ends[End::Vanished as usize]), Some(1));
    }

    #[test]
    fn every_name_is_looked_at_every_five_seconds_and_after_a_step_back_of_the_clock() {
        let mut fates = Fates::default();
        let mut is_told = |second: i64| {
            fates.settle(at(second), true);
            let told = fates.get("web").is_some();
            fates.vanished((&id(), "web"), at(0));
            told
        };
        is_told(10_000);
        assert!(is_told(10_004), "a storm looks at its own names alone");
        assert!(!is_told(10_005), "forgotten an hour after it was gone");
        assert!(is_told(10_006));
        assert!(!is_told(9_000));
    }

    #[test]
    fn a_request_to_end_moves_with_the_clock() {
        let mut fates = Fates::default();
        fates.take((&id(), "web"), at(0), &What::Kill { signal: UNNAMED }, false);
        fates.rebase(3_600_000);
        let end = fates.take((&id(), "web"), at(3601), &What::Die { exit_code: 137 }, false);
        assert_eq!(end.map(|death| death.end), Some(End::Kill));
    }

    #[test]
    fn ten_thousand_names_are_the_most() {
        let mut fates = Fates::default();
        for n in 0..MOST_NAMES as i64 + 5 {
            fates.take((&id(), &format!("n{n}")), at(n), &What::Create, false);
        }
        fates.settle(at(0), true);
        assert_eq!((fates.iter().count(), fates.get("n4")), (MOST_NAMES, None));
    }
}
