//! The containers of the host as the engine knows them: Docker's reports in, series and facts out.
//!
//! Everything known of an incarnation hangs on the name it was *first* known by ([`Inventory`]): series,
//! alerts, cool-downs and counts go on through a rename. A container that is made anew under the name
//! continues all of it.
//!
//! The journal holds who they are and what has become of them, as of the last note of how far Docker was
//! heard: after a restart of ours they have their names and owners before Docker answers, if it does.

mod reports;
mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::series::OwnLabels;
use super::Engine;
use super::docker::{AskDocker, Daemon, Witness};
use super::ended::{End, Ended};
use super::group::Reads;
use crate::base::{Change, Labels, Now, Timestamp};
use crate::containers::{
    Before, Container, ContainerId, Counts, Fates, Happening, Heard, Inventory, KillsById,
    OomLedger, Rows, Runs, STUCK, What, Who,
};

/// Kills of the kernel for lack of memory, fused from every witness.
pub(super) const OOM_TOTAL: &str = "plimsoll_oom_total";
/// Ends of containers' first processes, by reason.
pub(super) const ENDS_TOTAL: &str = "plimsoll_container_ends_total";
/// 1 while a container is started again and again.
pub(super) const CRASH_LOOP: &str = "plimsoll_container_crash_loop";
/// The counter of cAdvisor and of the collector.
pub(super) const OOM_COUNTER: &str = "container_oom_events_total";
/// When a container was started, seconds.
pub(super) const START_TIME: &str = "container_start_time_seconds";

/// News is shown at most this often: what readers and the collector get names every container there
/// is, and a storm of events is about a few.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
/// A note names each event of the last seconds, and may cost the journal 400 kB a second.
const NOTED_PER_EVENT: Duration = Duration::from_micros(250);
/// An end is told, at the latest, so long after the start that follows it.
const LATE_START: Duration = Duration::from_secs(1);
/// Looks at one container that are remembered at most, where lists follow one another before events could come.
const MOST_LOOKS: usize = 8;
const PREFIX: &str = "container:";

/// A container as a list showed it, or as it was known when a list did not show it.
#[derive(Clone, Debug)]
struct Look {
    container: Container,
    /// The flag of this run was known before.
    was_flagged: bool,
}

/// A container of which no event has told all that lists do: it must have ended, and how is not known yet.
#[derive(Clone, Debug, Default)]
struct Missing {
    /// How it looked, the last look last.
    looks: Vec<Look>,
    /// It is not on the last list.
    is_gone: bool,
}

/// A container as the journal holds it.
#[derive(Serialize)]
struct RowRef<'a> {
    known_as: &'a str,
    before: Option<&'a Before>,
    container: &'a Container,
}

#[derive(Deserialize)]
struct Row {
    known_as: String,
    #[serde(default)]
    before: Option<Before>,
    container: Container,
}

/// What is known of the host's containers.
#[derive(Debug)]
pub(super) struct Containers {
    pub daemon: Daemon,
    heard: Heard,
    inventory: Arc<Inventory>,
    rows: Rows<ContainerId>,
    /// Incarnations that a page has shown, by the name it first gave them.
    scraped: BTreeMap<ContainerId, String>,
    ledger: OomLedger,
    fates: Fates,
    /// The labels of each name's own series.
    labels: BTreeMap<String, OwnLabels>,
    /// The counts that were written last: a series begins where they stand.
    written: BTreeMap<String, Counts>,
    /// The ends that were written last.
    ends_written: BTreeMap<String, [u64; 6]>,
    runs: Runs,
    /// By the last lists their runs are not what events have told of them.
    missing: BTreeMap<ContainerId, Missing>,
    ended: Ended,
    inventory_is_new: bool,
    /// There are kills that the collector has not been told of.
    kills_are_new: bool,
    /// Since the last note something was counted, a run has begun, or a loop has begun or ended. Readers are shown
    /// it at once, and after a restart of ours it would be less, the run would have no end, or an alert would
    /// change back.
    pub wants_note: bool,
    /// When what is known was noted last, on the monotonic clock.
    noted_at: Option<Duration>,
    /// Something is known that readers have not been shown.
    is_news: bool,
    /// When they were shown something last, on the monotonic clock.
    shown_at: Option<Duration>,
}

impl Containers {
    /// As the journal's rows tell it; `since` is when the last watch ended.
    pub fn recover(rows: &[Change], since: Timestamp, now: Timestamp) -> (Containers, Vec<String>) {
        let (ledger, mut problems) = OomLedger::recover(rows, since);
        let (fates, unread) = Fates::recover(rows);
        let (ended, unread_ends) = Ended::recover(rows);
        let (mut inventory, mut own) = (Inventory::new(), Rows::new(PREFIX));
        let mut heard = Heard::default();
        problems.extend(unread.into_iter().chain(unread_ends));
        for row in rows {
            problems.extend(heard.restore(row).err());
            let (Some(_), Some(value)) = (own.key(row), &row.value) else { continue };
            match serde_json::from_slice::<Row>(value) {
                Ok(Row { known_as, before, container }) => {
                    own.found(container.id.clone());
                    inventory.restore(container, known_as, before);
                }
                Err(error) => problems.push(format!("row {} of table guards: {error}", row.key)),
            }
        }
        let mut runs = Runs::default();
        for container in inventory.iter() {
            let name = inventory.known_as(&container.id).unwrap_or_default();
            runs.restore(container, fates.last_end((&container.id, name)), now);
        }
        // A run that began just before we ended is in no container's row yet.
        heard.tell(&mut runs);
        let containers = Containers {
            daemon: Daemon::default(),
            heard,
            inventory: Arc::new(inventory),
            rows: own,
            scraped: BTreeMap::new(),
            written: ledger.iter().map(|(name, counts)| (name.to_owned(), counts)).collect(),
            ledger,
            ends_written: fates.iter().map(|(name, fate)| (name.to_owned(), fate.ends)).collect(),
            fates,
            labels: BTreeMap::new(),
            runs,
            missing: BTreeMap::new(),
            ended,
            inventory_is_new: false,
            kills_are_new: true,
            wants_note: false,
            noted_at: None,
            is_news: false,
            shown_at: None,
        };
        (containers, problems)
    }

    /// Until when Docker was heard, if ever, and the rows that have changed, to be written with that.
    pub fn take_rows(&mut self, now: Now) -> (Option<Timestamp>, Vec<Change>) {
        (self.wants_note, self.noted_at) = (false, Some(now.monotonic));
        let inventory = &self.inventory;
        let row = |id: &ContainerId| {
            let (known_as, container) = (inventory.known_as(id)?, inventory.get(id)?);
            Some(RowRef { known_as, before: inventory.before(id), container })
        };
        // Whoever lists it again after a restart of ours must find once more that it has ended.
        let waits = |id: &ContainerId| self.missing.contains_key(id);
        let mut changes = self.rows.take_unless(waits, row);
        changes.extend(self.fates.take_rows(now.wall));
        changes.extend(self.ended.take_rows());
        changes.extend(self.ledger.take_note());
        let heard_until = self.daemon.heard_until(now);
        // Before Docker has told everything for the first time, too, what was counted must be known again.
        changes.extend(self.heard.take_row(heard_until.unwrap_or(now.wall)));
        (heard_until, changes)
    }

    /// When, on the monotonic clock, what was counted since the last note is noted: at once, but a storm of ends
    /// is noted the more rarely the more a note has to say.
    pub fn next_note(&self) -> Option<Duration> {
        let pause = NOTED_PER_EVENT * u32::try_from(self.heard.count()).unwrap_or(u32::MAX);
        self.wants_note.then(|| self.noted_at.map_or(Duration::ZERO, |at| at + pause))
    }

    /// The kills of every name.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.written.clone()
    }

    /// The name an incarnation is known by, `now` being what it is called now.
    fn name_of(&self, id: &ContainerId, now: &str) -> String {
        let known = self.inventory.known_as(id);
        let shown = || self.scraped.get(id).map(String::as_str);
        let known = known.or_else(|| shown().filter(|name| is_told(id, name)));
        // Counted under another name before our restart: it was renamed.
        let counted = || self.ledger.name_of(id).filter(|name| is_told(id, name));
        let known = known.or_else(counted);
        known.unwrap_or(now).to_owned()
    }

    /// The name an event is about: the one that its container was known by when it happened.
    fn name_at(&mut self, happening: &Happening) -> String {
        let Happening { id, name, what, .. } = happening;
        if matches!(what, What::Rename { .. }) {
            Arc::make_mut(&mut self.inventory).renamed((id, name), happening.at());
        }
        for (whose, before) in self.inventory.names_told(happening) {
            self.ledger.correct_move(&whose, before.until);
            self.rows.touch(&whose);
            Arc::make_mut(&mut self.inventory).set_before(&whose, before);
        }
        let then = self.inventory.known_as_at(id, happening.at());
        // Of one that was removed before our restart its kills tell.
        let counted = || self.ledger.name_at(id, happening.at()).filter(|name| is_told(id, name));
        let then = then.or_else(counted).map(str::to_owned);
        then.unwrap_or_else(|| self.name_of(id, name))
    }

    /// Says something to the ledger of one that is known as that, if the inventory does not know it.
    fn say<T>(
        &mut self,
        (id, name): (&ContainerId, &str),
        what: impl FnOnce(&mut OomLedger, Who<'_>) -> T,
    ) -> T {
        let who = self.inventory.who(id).unwrap_or(Who { id, name, before: None });
        what(&mut self.ledger, who)
    }

    /// When Docker says that the container of this name was started last.
    pub fn docker_started_at(&self, name: &str) -> Option<Timestamp> {
        self.inventory.by_known(name)?.started_at
    }

    /// Which image a container runs, by Docker's own word.
    pub fn image_id(&self, id: &ContainerId) -> Option<&str> {
        let container = self.inventory.get(id)?;
        Some(container.image_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Whether the container of this id is none that goes by this name, as far as Docker is heard.
    pub fn is_another(&self, id: &ContainerId, name: &str) -> bool {
        let heard = self.inventory.is_heard() && !name.is_empty();
        let container = self.inventory.get(id).filter(|_| heard);
        container.is_some_and(|c| c.name != name && self.inventory.known_as(id) != Some(name))
    }

    /// What Docker itself says of a container, as labels that a series of its would have.
    pub fn docker_labels(&self, id: &ContainerId) -> Option<&BTreeMap<String, String>> {
        self.inventory.get(id).map(|container| &container.labels)
    }

    /// What Docker says about the absence of alerts of a rule that reads this.
    pub fn witness(&self, reads: &Reads, at: (Timestamp, Duration)) -> Witness<'_> {
        Witness::new((&self.daemon, &self.ended), &self.inventory, reads, at)
    }

    /// One that ended before is gone.
    fn remove_ended(&mut self, id: &ContainerId, now: Timestamp) {
        let name = self.name_of(id, "");
        if !self.inventory.has_another(id, &name) {
            self.fates.removed(&name, now);
        }
        self.remove(id);
    }

    fn put(&mut self, container: &Container, now: Timestamp) {
        let id = &container.id;
        let known = self.inventory.get(id).filter(|_| container.is_glimpse);
        let whole = known.map_or_else(|| container.clone(), |known| known.glimpsed(container));
        for moved in Arc::make_mut(&mut self.inventory).put(whole, now) {
            let name = self.name_of(&moved, "");
            self.ledger.move_on(&moved, &name, now);
            self.rows.touch(&moved);
            self.labels.remove(&name);
        }
        self.take_a_place(container);
        let name = self.name_of(id, &container.name);
        self.fates.is_there(&name);
        if self.ledger.rename(id, &name) {
            // Under whatever name, the kills are old news.
            self.written.insert(name.clone(), self.ledger.counts(&name));
        }
        self.labels.remove(&name);
        self.rows.touch(id);
        self.inventory_is_new = true;
    }

    fn remove(&mut self, id: &ContainerId) {
        let name = self.name_of(id, "");
        Arc::make_mut(&mut self.inventory).remove(id);
        self.rows.touch(id);
        self.inventory_is_new = true;
        self.missing.remove(id);
        self.runs.remove(id);
        self.scraped.remove(id);
        self.ledger.gone(id);
        if !name.is_empty() {
            self.labels.remove(&name);
        }
        // Its name may have been given away before it went.
        if let Some(bearer) = self.inventory.by_name(&name).cloned() {
            self.take_a_place(&bearer);
        }
    }

    /// Whether Docker tells what becomes of it, or will when it is back.
    fn will_be_told(&self, id: &ContainerId) -> bool {
        let is_told = self.inventory.is_heard() || self.daemon.owes_news();
        is_told && self.inventory.get(id).is_some()
    }

    /// When the run ended whose end Docker stamped with `told_at`: late, if it hung; when it was, it knows.
    fn true_end(&self, id: &ContainerId, told_at: Timestamp) -> Timestamp {
        let Some(known) = self.inventory.get(id) else { return told_at };
        let Some(finished) = known.finished_at else { return told_at };
        // It may have been started again since, but not before that was told: whose start was told has not ended before.
        let may_be_next = |s| told_at <= s + LATE_START && !self.runs.has_told_start(id, s);
        let is_last = known.started_at.is_none_or(|s| s <= finished || may_be_next(s));
        let is_late = finished <= told_at && told_at.since(finished) <= STUCK;
        if is_last && is_late { finished } else { told_at }
    }

    /// Whether the kernel has killed nobody where Docker tells of a kill: it is not to, or the container is being killed
    /// by hand, and lacks memory once more while it dies.
    fn is_no_kill(&self, (id, name): (&ContainerId, &str)) -> bool {
        let known = self.inventory.get(id);
        let began = known.and_then(|known| known.started_at);
        let is_dying = || self.fates.is_being_killed((id, name), began);
        known.is_some_and(|known| known.oom_kill_disabled) || is_dying()
    }

    /// A run ends: when it began Docker has said of its container, if not in an event.
    fn note_began(&mut self, (id, name): (&ContainerId, &str), ended_at: Timestamp) {
        let began = self.inventory.get(id).and_then(|known| known.started_at);
        // It may have been started again since.
        if let Some(began) = began.filter(|began| *began <= ended_at) {
            self.fates.began(name, began);
        }
    }

    /// A list shows this of a container, and events may tell of it until Docker has told everything.
    fn look_at(&mut self, container: &Container, before: Option<&Container>) {
        // It may have been inspected, and no event told that it began.
        if let Some(before) = before {
            self.runs.see(before);
        }
        if !self.runs.see(container) {
            return;
        }
        let same_run = before.filter(|before| before.started_at == container.started_at);
        let was_flagged = same_run.is_some_and(|before| before.oom_killed);
        let looks = &mut self.missing.entry(container.id.clone()).or_default().looks;
        looks.push(Look { container: container.clone(), was_flagged });
        if looks.len() > MOST_LOOKS {
            looks.remove(0);
        }
    }

    /// It is on the list, so it has not vanished. What a list before this one said of it is not told yet: the
    /// connection that would have done so was lost, and another may.
    fn found(&mut self, id: &ContainerId) {
        match self.missing.get_mut(id) {
            Some(missing) if !missing.looks.is_empty() => missing.is_gone = false,
            _ => drop(self.missing.remove(id)),
        }
    }

    /// Whether Docker has told how it ended: it is dead, removed, or another bears its name.
    fn has_told_end(&self, id: &ContainerId, name: &str) -> bool {
        let is_other = |known: &Container| known.id != *id;
        let is_gone = || {
            let is_replaced = self.inventory.by_known(name).is_some_and(is_other);
            is_replaced || self.fates.removed_at(name).is_some()
        };
        match self.inventory.get(id) {
            Some(known) => self.inventory.is_heard() && !known.status.is_alive(),
            None => self.inventory.is_heard() && is_gone(),
        }
    }

    /// Notes the end of a run, for the alerts that wait for its successor.
    fn note_end(&mut self, (id, name): (&ContainerId, &str), at: Timestamp, labels: Labels) {
        let started_at = self.inventory.get(id).and_then(|known| known.started_at);
        let end = End {
            at,
            id: id.clone(),
            // What Docker lists may have been started again since.
            started_at: started_at.filter(|started| *started <= at),
            labels,
            is_lasting: self.rows.is_stored(id),
        };
        self.ended.note(name, end);
    }

    /// Every name that a container is known by, or was shown under.
    fn names(&self) -> BTreeSet<String> {
        let shown = self.scraped.values().map(String::as_str);
        // Events tell of some that were never listed.
        let is_there = |name: &&str| self.fates.removed_at(name).is_none();
        let heard = self.fates.iter().map(|(name, _)| name).filter(is_there);
        self.inventory.names().chain(shown).chain(heard).map(str::to_owned).collect()
    }

    /// Whoever is called what one that is gone was known as takes its place, in whatever order the two were
    /// renamed and removed: since then it bears the name, and it is free.
    fn take_a_place(&mut self, container: &Container) {
        let Container { id, name, .. } = container;
        let removed_at = self.fates.removed_at(name);
        let Some(since) = removed_at.filter(|_| self.inventory.by_known(name).is_none()) else {
            return;
        };
        let since = self.inventory.named_at(id).map_or(since, |named| named.max(since));
        self.labels.remove(&self.name_of(id, name));
        self.labels.remove(name);
        self.ledger.move_on(id, name, since);
        self.fates.is_there(name);
        Arc::make_mut(&mut self.inventory).know_as_named(id, since);
        self.rows.touch(id);
    }

    /// Whether Docker is asked, and until when it was heard before our restart.
    pub fn begin(&mut self, heard_until: Option<Timestamp>, ask: AskDocker) {
        self.daemon.restore(heard_until, ask);
        self.ledger.docker_told(heard_until);
        if self.daemon.is_unasked() {
            self.stop_asking();
        }
    }

    /// Nobody asks Docker any more: nothing it said is believed on.
    pub fn stop_asking(&mut self) {
        self.inventory.iter().for_each(|known| self.rows.touch(&known.id));
        *Arc::make_mut(&mut self.inventory) = Inventory::new();
        self.fates.clear();
        self.missing.clear();
        self.runs = Runs::default();
        self.labels.clear();
        self.inventory_is_new = true;
    }

    /// Whether a container is known by this name, or bears it.
    pub fn knows(&self, name: &str) -> bool {
        self.inventory.by_known(name).or_else(|| self.inventory.by_name(name)).is_some()
    }

    /// Whether it is alive, by Docker's last word.
    fn is_alive(&self, id: &ContainerId) -> bool {
        self.inventory.get(id).is_some_and(|known| known.status.is_alive())
    }

    fn set_heard(&mut self, is_heard: bool) {
        if self.inventory.is_heard() != is_heard {
            Arc::make_mut(&mut self.inventory).set_heard(is_heard);
            self.inventory_is_new = true;
        }
    }

    fn may_show(&self, now: Now) -> bool {
        self.shown_at.is_none_or(|at| now.monotonic >= at + SHOWN_EVERY)
    }

    /// Whether there is news that readers should be shown now; they are.
    pub fn take_news(&mut self, now: Now) -> bool {
        let is_due = self.is_news && self.may_show(now);
        if is_due {
            (self.is_news, self.shown_at) = (false, Some(now.monotonic));
        }
        is_due
    }

    /// When there will be news to show, on the monotonic clock.
    pub fn next_news(&self) -> Option<Duration> {
        self.is_news.then(|| self.shown_at.map_or(Duration::ZERO, |at| at + SHOWN_EVERY))
    }

    /// The flag of a run that is over is evidence of a kill in it, unless it was set `before` already: then the
    /// kill was counted, or was before anybody watched.
    fn note_flag(&mut self, container: &Container, before: Option<&Container>) {
        let same_run = before.filter(|before| before.started_at == container.started_at);
        let is_new = container.oom_killed && !same_run.is_some_and(|before| before.oom_killed);
        let run = container.started_at.zip(container.finished_at);
        let Some((from, to)) = run.filter(|(from, to)| is_new && to >= from) else { return };
        let name = self.name_of(&container.id, &container.name);
        let is_begun = self.runs.has_told_start(&container.id, from);
        self.say((&container.id, &name), |ledger, who| ledger.flagged(who, (from, to), is_begun));
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        self.ledger.rebase(by_ms);
        self.fates.rebase(by_ms);
        self.daemon.rebase(by_ms);
        self.ended.rebase(by_ms);
        let shift = |at: &mut Timestamp| *at = Timestamp(at.0.saturating_add(by_ms));
        self.runs.rebase(shift);
        for id in Arc::make_mut(&mut self.inventory).rebase(shift) {
            self.rows.touch(&id);
        }
    }
}

/// Whether somebody has told this name: one made of the id stands in for it.
fn is_told(id: &ContainerId, name: &str) -> bool {
    name != id.short()
}

impl Engine {
    /// The inventory, if it has changed since it was last taken; a view that is taken comes after it.
    pub fn take_inventory(&mut self, now: Now) -> Option<Arc<Inventory>> {
        let containers = &mut self.containers;
        let is_due = containers.inventory_is_new && containers.may_show(now);
        is_due.then(|| {
            containers.inventory_is_new = false;
            Arc::clone(&containers.inventory)
        })
    }

    /// The OOM kills of each incarnation that had some, if there are more since this was asked last, or none was yet.
    pub fn take_kills(&mut self) -> Option<Arc<KillsById>> {
        let containers = &mut self.containers;
        let is_due = std::mem::take(&mut containers.kills_are_new);
        is_due.then(|| Arc::new(containers.ledger.kills()))
    }

    /// The containers as they are known now.
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.containers.inventory)
    }

    /// From when a new watch asks Docker for its events: a little before now, or before they stopped, here or before our
    /// restart.
    pub fn asks_docker_from(&self, now: Now) -> Option<Timestamp> {
        let heard_until = self.containers.daemon.heard_until(now)?;
        Some(self.containers.ledger.told_anew_from(heard_until))
    }

    /// The wall clock has stepped.
    pub(super) fn rebase_containers(&mut self, by_ms: i64) {
        self.containers.rebase(by_ms);
    }

    /// Mapping or labels have changed: who is who is found out anew.
    pub(super) fn forget_owners(&mut self) {
        self.containers.labels.clear();
    }
}
