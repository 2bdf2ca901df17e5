//! What is told of containers, and by whom: Docker's reports and the counters of scrapes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Containers, Look, Missing};
use crate::base::{Labels, Now, TargetId, Timestamp, fingerprint, is_stale};
use crate::containers::{
    Container, ContainerId, Death, End, Happening, Reading, Report, Untold, What,
};
use crate::engine::{Engine, Fact, Health};
use crate::window::SeriesId;

/// Exit codes of a process that SIGINT, SIGKILL or SIGTERM ended.
const SIGNALLED: [i64; 3] = [130, SIGKILLED, 143];
const SIGKILLED: i64 = 137;
/// What Docker says of a run that ended while it was dead.
const LOST: i64 = 255;
/// Our own collector, among the counters: there is one, whatever a reload calls the host.
const OURS: u64 = 0;

impl Engine {
    /// Takes one report of Docker's.
    pub(in crate::engine) fn take_docker(&mut self, now: Now, report: Report) {
        match report {
            Report::Connected { version } => {
                self.facts.push(self.containers.daemon.connected(version, now));
            }
            Report::Lost { why, is_there } => {
                self.facts.push(self.containers.daemon.lost(why, is_there, now));
                self.containers.set_heard(false);
            }
            Report::Listed(list) => self.take_list(now, list),
            Report::ToldAll => {
                self.containers.daemon.told_all();
                self.give_up_missing(now);
            }
            Report::Unread(lines) => self.counters.docker_lines_unread += lines,
            Report::Inspected(container) => {
                let before = self.containers.inventory.get(&container.id).cloned();
                self.containers.put(&container, now.wall);
                if !container.status.is_alive() {
                    self.containers.note_flag(&container, before.as_ref());
                }
            }
            Report::Happened(happening) => self.take_happening(&happening),
        }
        self.containers.is_news = true;
    }

    /// A whole list. What was alive and is not on it has ended; the list comes before the events
    /// that were missed, so they are waited for.
    fn take_list(&mut self, now: Now, mut list: Vec<Container>) {
        let is_first = !self.containers.daemon.has_listed;
        self.containers.daemon.listed(now);
        self.containers.set_heard(true);
        let known = Arc::clone(&self.containers.inventory);
        // Whoever was renamed makes way for whoever bears the name now.
        list.sort_by_key(|container| (known.get(&container.id).is_none(), container.created_at));
        let listed: BTreeSet<&ContainerId> = list.iter().map(|container| &container.id).collect();
        for gone in known.iter().filter(|container| !listed.contains(&container.id)) {
            // What it looked like last may be news, too: events have not told of it.
            self.containers.look_at(gone, Some(gone));
            let Containers { runs, missing, .. } = &mut self.containers;
            if runs.is_open(&gone.id) || missing.contains_key(&gone.id) {
                missing.entry(gone.id.clone()).or_default().is_gone = true;
            } else {
                self.containers.remove_ended(&gone.id, now.wall);
            }
        }
        for container in &list {
            self.containers.found(&container.id);
            self.containers.put(container, now.wall);
            if !container.status.is_alive() {
                self.containers.note_flag(container, known.get(&container.id));
            }
            // Docker's memory of events does not outlive Docker.
            self.containers.look_at(container, known.get(&container.id));
        }
        let Containers { runs, inventory, .. } = &mut self.containers;
        runs.retain(|id| inventory.get(id).is_some());
        if is_first {
            // Series taken in before were attributed without Docker's word.
            self.targets.values_mut().for_each(|target| target.wants_epoch = true);
        }
    }

    fn take_happening(&mut self, happening: &Happening) {
        let Happening { id, at_nanos, what, .. } = happening;
        let at = happening.at();
        let containers = &mut self.containers;
        if !containers.heard.take(happening) {
            return;
        }
        let name = containers.name_at(happening);
        if *what == What::Oom && containers.is_no_kill((id, &name)) {
            return;
        }
        match what {
            What::Start => {
                containers.wants_note = true;
                let untold = containers.runs.start(id, at);
                // Where nothing was missed, what Docker left out may be told again.
                if let Some(end) = untold.filter(|_| !containers.daemon.has_told()) {
                    self.take_untold((id, &name), end, None);
                }
                self.containers.say((id, &name), |ledger, who| ledger.started(who, at));
            }
            What::Oom => {
                let since = containers.daemon.not_before(at);
                containers.say((id, &name), |ledger, who| ledger.killed(who, *at_nanos, since));
            }
            What::Die { .. } => containers.runs.end(id, at),
            _ => {}
        }
        let containers = &mut self.containers;
        let is_flagged = containers.inventory.get(id).is_some_and(|known| known.oom_killed);
        let was_at = match what {
            What::Die { .. } => containers.true_end(id, at),
            _ => at,
        };
        if matches!(what, What::Die { .. }) {
            containers.note_began((id, &name), was_at);
        }
        // Nothing of a name is removed while another goes by it.
        let is_replaced = *what == What::Destroy && containers.inventory.has_another(id, &name);
        let death = match is_replaced {
            true => None,
            false => containers.fates.take((id, &name), was_at, what, is_flagged),
        };
        if let Some(death) = death {
            self.take_death((id, &name), death);
        }
        if *what == What::Destroy {
            self.note_ended((id, &name), at);
            self.containers.remove(id);
        }
    }

    /// Whoever takes the place of a container that has ended goes on with its alerts.
    fn note_ended(&mut self, (id, name): (&ContainerId, &str), at: Timestamp) {
        let labels = self.labels_of(name).base.with("name", name);
        self.containers.note_end((id, name), at, labels);
    }

    fn take_death(&mut self, (id, name): (&ContainerId, &str), death: Death) {
        let is_unasked = death.exit_code == SIGKILLED && !death.end.is_asked_for();
        self.containers.say((id, name), |ledger, who| match death.exit_code {
            _ if is_unasked => ledger.died(who, death.at),
            LOST => ledger.lost(who, death.at),
            _ => ledger.ended(who, death.at),
        });
        self.note_ended((id, name), death.at);
        if !self.containers.fates.is_held(name) {
            self.tell_end(name, id, death.end, death.exit_code);
        }
    }

    /// The ends that were not told at once: what brought them is known by now.
    fn tell_held(&mut self, now: Timestamp) {
        let Containers { fates, ledger, .. } = &mut self.containers;
        let saw_kill =
            |id: &ContainerId, began, at| ledger.saw_kill(id, (began, None), (at, at)).is_some();
        let settled = fates.take_settled(now, saw_kill);
        for (name, id, death) in settled {
            self.containers.is_news = true;
            self.tell_end(&name, &id, death.end, death.exit_code);
        }
    }

    fn tell_end(&mut self, name: &str, id: &ContainerId, end: End, exit_code: i64) {
        self.containers.wants_note = true;
        self.facts.push(Fact::ContainerEnded {
            name: name.to_owned(),
            id: id.short().to_owned(),
            reason: end.name(),
            exit_code,
        });
    }

    /// Reads the OOM counters that a scrape brought.
    pub(in crate::engine) fn read_oom_counters(&mut self, target: TargetId, at: Timestamp) {
        let Some(target) = self.targets.get(&target) else { return };
        if target.counters.is_empty() {
            return;
        }
        let is_ours = target.info.id == TargetId::COLLECTOR;
        let source = if is_ours { OURS } else { fingerprint(&target.info.labels) };
        let (interval, answers) = (target.info.interval, target.health == Health::Good);
        for (id, counter) in &target.counters {
            let last = |series: Option<SeriesId>| Some(self.window.newest(series?)?.value);
            let newest = |series| last(series).filter(|value| !is_stale(*value));
            let has_ended = |series| last(series).is_none_or(is_stale);
            let name = self.containers.name_of(id, &counter.name);
            let has_told = self.containers.has_told_end(id, &name);
            let is_watched = self.containers.will_be_told(id);
            let Some(value) = newest(counter.oom) else {
                // What cannot be read leaves the start.
                if answers && !has_told && has_ended(counter.start) {
                    self.containers.say((id, &name), |l, who| l.vanished(who, source, is_watched));
                }
                continue;
            };
            let started_at =
                newest(counter.start).filter(|s| *s > 0.0).map(Timestamp::from_seconds);
            if self.containers.scraped.get(id) != Some(&name) {
                self.containers.scraped.insert(id.clone(), name.clone());
            }
            let reading = Reading { source, at, value, started_at, is_watched, interval, is_ours };
            self.containers.say((id, &name), |ledger, who| ledger.read(who, reading));
        }
    }

    /// What lists showed, and no event told though everything was told, is as they showed it, or unseen.
    fn give_up_missing(&mut self, now: Now) {
        for (id, Missing { looks, is_gone }) in std::mem::take(&mut self.containers.missing) {
            for look in looks {
                for end in self.containers.runs.believe(&look.container) {
                    let name = self.containers.name_of(&id, &look.container.name);
                    let last = Some(&look).filter(|_| end.is_last);
                    self.take_untold((&id, &name), end, last);
                }
            }
            if is_gone && self.containers.runs.is_open(&id) {
                self.take_vanished(&id, now);
            } else if is_gone {
                self.containers.remove_ended(&id, now.wall);
            }
        }
    }

    /// Nobody saw how it ended.
    fn take_vanished(&mut self, id: &ContainerId, now: Now) {
        let name = self.containers.name_of(id, "");
        let is_replaced = self.containers.inventory.has_another(id, &name);
        let death = match is_replaced {
            true => self.containers.fates.unseen((id, &name), now.wall, 0),
            false => self.containers.fates.vanished((id, &name), now.wall),
        };
        self.note_ended((id, &name), now.wall);
        self.tell_end(&name, id, death.end, 0);
        self.containers.remove(id);
    }

    /// No event told how a container ended that is there still, or again: what the list said of it does, if it
    /// was its last end, as far as that goes. A signal may have been anybody's, unless Docker told before that
    /// somebody asked for it: a daemon that stops tells that first.
    fn take_untold(&mut self, who: (&ContainerId, &str), end: Untold, last: Option<&Look>) {
        let (id, name) = who;
        let containers = &mut self.containers;
        let Untold { began, at, .. } = end;
        // A Docker that was away has not flagged what a counter saw.
        let (exit_code, has_flag) = last.map_or((SIGKILLED, false), |look| {
            (look.container.exit_code, look.container.oom_killed)
        });
        let was_flagged = last.is_some_and(|look| look.was_flagged);
        // When the first of two runs ended nobody knows: by the kill, if there was one.
        let since = if last.is_some() { at } else { containers.daemon.not_before(at) };
        let next = Some(at).filter(|_| last.is_none());
        let killed_at = containers.ledger.saw_kill(id, (began, next), (since, at));
        let is_flagged = has_flag || killed_at.is_some();
        began.iter().for_each(|began| containers.fates.began(name, *began));
        let was_asked = containers.fates.was_asked(who, at, exit_code);
        // It ended with the kill: Docker may have stamped that when it came back.
        let by_kill = killed_at.filter(|_| exit_code == SIGKILLED && !was_asked);
        let at = by_kill.map_or(at, |killed_at| killed_at.min(at));
        if by_kill.is_some() {
            containers.fates.killed(name, at);
        }
        let death = if is_flagged || !SIGNALLED.contains(&exit_code) || was_asked {
            containers.fates.take(who, at, &What::Die { exit_code }, is_flagged)
        } else {
            Some(containers.fates.unseen(who, at, exit_code))
        };
        let Some(death) = death else { return };
        if death.end == End::Oom && has_flag && !was_flagged {
            let from = self.containers.daemon.not_before(at);
            self.containers.say(who, |l, who| l.killed_as_flagged(who, from, at));
        }
        self.take_death(who, death);
    }

    /// Containers whose series are all gone from a page have ended, whether Docker says so yet or not.
    pub(in crate::engine) fn note_gone(&mut self, gone: &[(ContainerId, Labels)], slot: Timestamp) {
        for (id, labels) in gone {
            let name = self.containers.name_of(id, labels.get("name").unwrap_or_default());
            if self.containers.is_alive(id) || self.containers.inventory.get(id).is_none() {
                self.containers.note_end((id, &name), slot, labels.clone());
            }
        }
    }

    /// Brings counts and fates up to date, and tells what changed.
    pub(in crate::engine) fn settle_containers(&mut self, now: Now) {
        self.tell_held(now.wall);
        self.facts.extend(self.containers.daemon.settle(now));
        let is_behind = self.containers.daemon.is_behind();
        let changes = self.containers.ledger.settle(now.wall, is_behind);
        if !changes.is_empty() {
            self.changes.extend(changes);
            self.tell_kills(now);
        }
        let owes_news = self.containers.daemon.owes_news();
        self.containers.ended.forget(now.wall, owes_news);
        let has_told = self.containers.daemon.has_told();
        for (name, is_looping) in self.containers.fates.settle(now.wall, has_told) {
            (self.containers.is_news, self.containers.wants_note) = (true, true);
            self.facts.push(Fact::CrashLoop { name, is_looping });
        }
    }

    /// Forgets containers that pages have shown and neither the window nor Docker knows any more:
    /// without Docker nobody tells that one was removed. Names with kills stay in the ledger.
    pub(in crate::engine) fn forget_containers(&mut self) {
        let shown: BTreeSet<&ContainerId> =
            self.targets.values().flat_map(|target| target.counters.keys()).collect();
        let Containers { inventory, scraped, ledger, labels, written, .. } = &mut self.containers;
        for (id, _) in scraped.extract_if(.., |id, _| !shown.contains(id)) {
            if inventory.get(&id).is_none() {
                ledger.gone(&id);
            }
        }
        let counted = ledger.iter().map(|(name, _)| name);
        let names: BTreeSet<&str> =
            inventory.names().chain(scraped.values().map(String::as_str)).chain(counted).collect();
        labels.retain(|name, _| names.contains(name.as_str()));
        written.retain(|name, _| names.contains(name.as_str()));
        self.told_kills.retain(|name| names.contains(name));
    }

    fn tell_kills(&mut self, now: Now) {
        for name in self.containers.ledger.take_credited() {
            self.containers.wants_note = true;
            self.containers.kills_are_new = true;
            // The first group of this slot may have run before a scrape told this; the others must not miss it.
            self.own_written_at = None;
            let counts = self.containers.ledger.counts(&name);
            if let Some(facts) = self.told_kills.tell(&name, counts, now) {
                self.facts.extend(facts);
                self.containers.is_news = true;
            }
        }
    }
}
