//! The containers of the host as the engine knows them: Docker's reports in, series and facts out.
//!
//! Everything known of an incarnation hangs on the name it was *first* known by: cAdvisor never
//! notices a rename either, so series, alerts, cool-downs and counts go on through one. A container
//! that is made anew under the name continues all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::fact::Fact;
use super::view::ContainerView;
use crate::base::{
    Change, Labels, LabelsBuilder, METRIC_NAME, Now, Sample, TargetId, Timestamp, fingerprint,
    is_stale,
};
use crate::containers::{
    Container, ContainerId, Counts, Death, End, Fates, Happening, Inventory, OomLedger, Reading,
    Report, What, Who,
};
use crate::window::{SeriesId, Window};

/// Kills of the kernel for lack of memory, fused from every witness.
pub(super) const OOM_TOTAL: &str = "plimsoll_oom_total";
/// Ends of containers' first processes, by reason.
const ENDS_TOTAL: &str = "plimsoll_container_ends_total";
/// 1 while a container is started again and again.
const CRASH_LOOP: &str = "plimsoll_container_crash_loop";
/// The counter of cAdvisor and of the collector.
pub(super) const OOM_COUNTER: &str = "container_oom_events_total";
/// When a container was started, seconds.
pub(super) const START_TIME: &str = "container_start_time_seconds";

/// After a list, events from before it are told at once: Docker has them in memory.
const EVENTS_WITHIN: Duration = Duration::from_secs(5);

/// News is shown at most this often: what readers and the collector get names every container there
/// is, and a storm of events is about a few.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// A container that must have ended, and how is not known yet.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// Until when, on the monotonic clock, events may still tell.
    until: Duration,
    /// They have.
    is_told: bool,
    /// It is still on the list, and says there how it ended.
    is_listed: bool,
}

/// What is known of the host's containers.
#[derive(Debug, Default)]
pub(super) struct Containers {
    inventory: Arc<Inventory>,
    /// The name each incarnation was first known by.
    first_names: BTreeMap<ContainerId, String>,
    /// Incarnations that a page has shown.
    scraped: BTreeSet<ContainerId>,
    ledger: OomLedger,
    fates: Fates,
    /// The labels of each name's own series.
    labels: BTreeMap<String, Labels>,
    /// The counts that were written last: a series begins where they stand.
    written: BTreeMap<String, Counts>,
    /// Alive before the last list, and on it not there or not alive.
    missing: BTreeMap<ContainerId, Missing>,
    inventory_is_new: bool,
    /// Something is known that readers have not been shown.
    is_news: bool,
    /// When they were shown something last, on the monotonic clock.
    shown_at: Option<Duration>,
    is_connected: bool,
    /// Whether the daemon was ever said to be lost since it last answered.
    lost_told: bool,
    /// Until when events were heard without a gap.
    heard_until: Option<Timestamp>,
}

impl Containers {
    /// As the journal's rows tell it; `since` is when the last watch ended.
    pub fn recover(rows: &[Change], since: Timestamp) -> (Containers, Vec<String>) {
        let (ledger, problems) = OomLedger::recover(rows, since);
        let written = ledger.iter().map(|(name, counts)| (name.to_owned(), counts)).collect();
        (Containers { ledger, written, ..Containers::default() }, problems)
    }

    /// Until when events were heard before our restart.
    pub fn restore_heard(&mut self, until: Option<Timestamp>) {
        self.heard_until = until;
    }

    /// The kills of every name.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.written.clone()
    }

    /// Whether Docker answers; `None` if nobody asks it.
    pub fn state(&self) -> Option<bool> {
        (self.is_connected || self.lost_told).then_some(self.is_connected)
    }

    /// The name an incarnation is known by.
    fn first_name(&mut self, id: &ContainerId, now: &str) -> String {
        if let Some(name) = self.first_names.get(id) {
            return name.clone();
        }
        // Counted under another name before our restart: it was renamed.
        let name = self.ledger.name_of(id).unwrap_or(now).to_owned();
        self.first_names.insert(id.clone(), name.clone());
        name
    }

    /// When Docker says that the container of this name was started last.
    pub fn docker_started_at(&self, name: &str) -> Option<Timestamp> {
        self.inventory.by_name(name)?.started_at
    }

    /// What Docker itself says of a container, as labels that a series of its would have.
    pub fn docker_labels(&self, id: &ContainerId) -> Option<&BTreeMap<String, String>> {
        self.inventory.get(id).map(|container| &container.labels)
    }

    /// Until when Docker's events were heard.
    pub fn heard_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_connected { Some(now) } else { self.heard_until }
    }

    fn put(&mut self, container: &Container) {
        let name = self.first_name(&container.id, &container.name);
        self.labels.remove(&name);
        Arc::make_mut(&mut self.inventory).put(container.clone());
        self.inventory_is_new = true;
    }

    fn remove(&mut self, id: &ContainerId) {
        Arc::make_mut(&mut self.inventory).remove(id);
        self.inventory_is_new = true;
        self.missing.remove(id);
        if let Some(name) = self.first_names.remove(id) {
            self.ledger.gone(Who { id, name: &name });
            self.labels.remove(&name);
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

    /// The flag of a run that is over is evidence of a kill in it.
    fn note_flag(&mut self, container: &Container) {
        let run = container.started_at.zip(container.finished_at);
        let Some((from, to)) = run.filter(|(from, to)| container.oom_killed && to >= from) else {
            return;
        };
        let name = self.first_name(&container.id, &container.name);
        self.ledger.flagged(Who { id: &container.id, name: &name }, from, to);
    }

    fn rebase(&mut self, by_ms: i64) {
        self.ledger.rebase(by_ms);
        self.fates.rebase(by_ms);
        self.heard_until = self.heard_until.map(|at| Timestamp(at.0.saturating_add(by_ms)));
    }
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

    /// Until when Docker's events were heard before they stopped, here or before our restart: a new
    /// watch goes on from there.
    pub fn docker_heard_until(&self) -> Option<Timestamp> {
        self.containers.heard_until
    }

    /// Takes one report of Docker's.
    pub(super) fn take_docker(&mut self, now: Now, report: Report) {
        match report {
            Report::Connected { version } => {
                self.containers.is_connected = true;
                self.containers.lost_told = false;
                self.facts.push(Fact::DockerConnected { version });
            }
            Report::Lost { why } => {
                if std::mem::take(&mut self.containers.is_connected) {
                    self.containers.heard_until = Some(now.wall);
                }
                let first = !std::mem::replace(&mut self.containers.lost_told, true);
                self.facts.push(Fact::DockerLost { error: why, first });
            }
            Report::Listed(list) => self.take_list(now, list),
            Report::Inspected(container) => {
                self.containers.put(&container);
                if !container.status.is_alive() {
                    self.containers.note_flag(&container);
                }
            }
            Report::Happened(happening) => self.take_happening(&happening),
        }
        self.containers.is_news = true;
    }

    /// A whole list. What was alive and is not on it has ended; the list comes before the events
    /// that were missed, so they are waited for.
    fn take_list(&mut self, now: Now, list: Vec<Container>) {
        let is_first = self.containers.inventory.is_empty();
        let listed: BTreeSet<&ContainerId> = list.iter().map(|container| &container.id).collect();
        let known = Arc::clone(&self.containers.inventory);
        let until = now.monotonic + EVENTS_WITHIN;
        for gone in known.iter().filter(|container| !listed.contains(&container.id)) {
            if gone.status.is_alive() {
                let missing = Missing { until, is_told: false, is_listed: false };
                self.containers.missing.entry(gone.id.clone()).or_insert(missing);
            } else {
                self.containers.remove(&gone.id);
            }
        }
        for container in &list {
            self.containers.missing.remove(&container.id);
            self.containers.put(container);
            if !container.status.is_alive() {
                self.containers.note_flag(container);
                // Docker's memory of events does not outlive Docker.
                if known.get(&container.id).is_some_and(|before| before.status.is_alive()) {
                    let missing = Missing { until, is_told: false, is_listed: true };
                    self.containers.missing.insert(container.id.clone(), missing);
                }
            }
        }
        if is_first {
            // Series taken in before were attributed without Docker's word.
            self.targets.values_mut().for_each(|target| target.wants_epoch = true);
        }
    }

    fn take_happening(&mut self, happening: &Happening) {
        let Happening { id, name, at_nanos, what } = happening;
        let at = happening.at();
        let containers = &mut self.containers;
        let name = containers.first_name(id, name);
        let who = Who { id, name: &name };
        if *what == What::Oom {
            containers.ledger.killed(who, *at_nanos);
        }
        let is_flagged = containers.inventory.get(id).is_some_and(|known| known.oom_killed);
        let death = containers.fates.take((id, &name), at, what, is_flagged);
        if let Some(death) = death {
            if let Some(missing) = containers.missing.get_mut(id) {
                missing.is_told = true;
            }
            self.take_death(who, death);
        }
        if *what == What::Destroy {
            self.containers.remove(id);
        }
    }

    fn take_death(&mut self, who: Who<'_>, death: Death) {
        if death.exit_code == 137 && !death.end.is_asked_for() {
            self.containers.ledger.died(who, death.at);
        }
        self.tell_end(who.name, who.id, death.end, death.exit_code);
    }

    fn tell_end(&mut self, name: &str, id: &ContainerId, end: End, exit_code: i64) {
        self.facts.push(Fact::ContainerEnded {
            name: name.to_owned(),
            id: id.short().to_owned(),
            reason: end.name(),
            exit_code,
        });
    }

    /// Reads the OOM counters that a scrape brought.
    pub(super) fn read_oom_counters(&mut self, target: TargetId, at: Timestamp) {
        let Some(target) = self.targets.get(&target) else { return };
        if target.counters.is_empty() {
            return;
        }
        let source = fingerprint(&target.info.labels);
        for (id, counter) in &target.counters {
            let newest = |series: Option<SeriesId>| {
                self.window.newest(series?).map(|s| s.value).filter(|value| !is_stale(*value))
            };
            let Some(value) = newest(counter.oom) else { continue };
            let started_at =
                newest(counter.start).filter(|s| *s > 0.0).map(Timestamp::from_seconds);
            let name = self.containers.first_name(id, &counter.name);
            if !self.containers.scraped.contains(id) {
                self.containers.scraped.insert(id.clone());
            }
            let is_watched = self.containers.inventory.get(id).is_some();
            let reading = Reading { source, at, value, started_at, is_watched };
            self.containers.ledger.read(Who { id, name: &name }, reading);
        }
    }

    /// What is still missing has vanished unseen.
    fn give_up_missing(&mut self, now: Now) {
        let is_over = |_: &ContainerId, missing: &mut Missing| missing.until <= now.monotonic;
        let over: Vec<_> = self.containers.missing.extract_if(.., is_over).collect();
        for (id, Missing { is_told, is_listed, .. }) in over {
            if is_listed {
                if !is_told {
                    self.take_end_as_listed(&id);
                }
                continue;
            }
            if !is_told {
                let known = self.containers.inventory.get(&id).map(|known| known.name.clone());
                let name = self.containers.first_name(&id, &known.unwrap_or_default());
                let death = self.containers.fates.vanished(&name, now.wall);
                self.tell_end(&name, &id, death.end, 0);
            }
            self.containers.remove(&id);
        }
    }

    /// No event told how a container ended that is there still: what it says of itself does.
    fn take_end_as_listed(&mut self, id: &ContainerId) {
        let containers = &mut self.containers;
        let known = containers.inventory.get(id).filter(|known| !known.status.is_alive());
        let Some((known, at)) = known.and_then(|known| Some((known, known.finished_at?))) else {
            return;
        };
        let what = What::Die { exit_code: known.exit_code };
        let (is_flagged, name) = (known.oom_killed, known.name.clone());
        let name = containers.first_name(id, &name);
        let who = Who { id, name: &name };
        // A Docker that was away has not flagged what a counter saw.
        let is_flagged = is_flagged || containers.ledger.saw_kill(who, at);
        if let Some(death) = containers.fates.take((id, &name), at, &what, is_flagged) {
            self.take_death(who, death);
        }
    }

    /// Brings counts and fates up to date, and tells what changed.
    pub(super) fn settle_containers(&mut self, now: Now) {
        self.give_up_missing(now);
        let changes = self.containers.ledger.settle(now.wall);
        if !changes.is_empty() {
            self.changes.extend(changes);
            self.tell_kills();
        }
        for (name, is_looping) in self.containers.fates.settle(now.wall) {
            self.containers.is_news = true;
            self.facts.push(Fact::CrashLoop { name, is_looping });
        }
    }

    /// Forgets containers that pages have shown and neither the window nor Docker knows any more:
    /// without Docker nobody tells that one was removed. Names with kills stay in the ledger.
    pub(super) fn forget_containers(&mut self) {
        let shown: BTreeSet<&ContainerId> =
            self.targets.values().flat_map(|target| target.counters.keys()).collect();
        let Containers { inventory, first_names, scraped, ledger, labels, written, .. } =
            &mut self.containers;
        for id in scraped.extract_if(.., |id| !shown.contains(id)) {
            if inventory.get(&id).is_none()
                && let Some(name) = first_names.remove(&id)
            {
                ledger.gone(Who { id: &id, name: &name });
            }
        }
        let counted = ledger.iter().map(|(name, _)| name);
        let names: BTreeSet<&str> =
            first_names.values().map(String::as_str).chain(counted).collect();
        labels.retain(|name, _| names.contains(name.as_str()));
        written.retain(|name, _| names.contains(name.as_str()));
    }

    fn tell_kills(&mut self) {
        for (name, counts) in self.containers.ledger.iter() {
            let told = self.told_kills.get(name).copied().unwrap_or_default();
            if told != counts {
                let killed =
                    [("pid1", counts.pid1 - told.pid1), ("child", counts.child - told.child)];
                for (scope, kills) in killed.into_iter().filter(|(_, kills)| *kills > 0) {
                    self.facts.push(Fact::OomKilled { name: name.to_owned(), scope, kills });
                }
                self.told_kills.insert(name.to_owned(), counts);
                self.containers.is_news = true;
            }
        }
    }

    /// The labels of a series with what is known of its owner. Docker's own word replaces what the
    /// scrape says of labels, because cAdvisor's names of them collide.
    pub(super) fn enrich(&self, labels: &Labels) -> Labels {
        super::setup::enrich(&self.setup, &self.containers, labels)
    }

    /// The labels that series about the containers of this name carry.
    fn labels_of(&mut self, name: &str) -> Labels {
        if let Some(labels) = self.containers.labels.get(name) {
            return labels.clone();
        }
        let mut of = LabelsBuilder::from(&Labels::from_pairs([("name", name)]));
        let ids = self.containers.first_names.iter().filter(|(_, first)| *first == name);
        let known: Vec<&Container> =
            ids.filter_map(|(id, _)| self.containers.inventory.get(id)).collect();
        if let Some(container) = known.iter().max_by_key(|container| container.created_at) {
            of.set("image", &container.image).set("id", container.id.as_str());
        }
        let enriched = self.enrich(&of.build());
        let mut built = LabelsBuilder::from(&Labels::from_pairs([("name", name)]));
        for label in ["host", "tenant", "plan", "role", "service"] {
            built.set(label, enriched.get(label).unwrap_or_default());
        }
        let labels = built.set("container", name).build();
        self.containers.labels.insert(name.to_owned(), labels.clone());
        labels
    }

    /// Writes the series about containers; returns those written.
    pub(super) fn write_container_series(&mut self, at: Timestamp) -> BTreeSet<SeriesId> {
        let mut written = BTreeSet::new();
        if self.writes_oom_series {
            let mut counts: BTreeMap<String, Counts> = self
                .containers
                .first_names
                .values()
                .map(|n| (n.clone(), Counts::default()))
                .collect();
            let told = self.containers.ledger.iter();
            counts.extend(told.map(|(name, counts)| (name.to_owned(), counts)));
            for (name, counts) in counts {
                let labels = self.labels_of(&name);
                let before = self.containers.written.insert(name, counts).unwrap_or_default();
                for (scope, before, value) in
                    [("pid1", before.pid1, counts.pid1), ("child", before.child, counts.child)]
                {
                    let labels = with(&labels, OOM_TOTAL, ("scope", scope));
                    written.extend(write_counter(&mut self.window, &labels, at, (before, value)));
                }
            }
        }
        written.extend(self.write_fates(at));
        written
    }

    fn write_fates(&mut self, at: Timestamp) -> Vec<SeriesId> {
        let mut values = Vec::new();
        for (name, fate) in self.containers.fates.iter() {
            let ends = End::ALL.into_iter().zip(fate.ends).filter(|(_, count)| *count > 0);
            values.extend(ends.map(|(end, n)| (name.to_owned(), Some(end.name()), n)));
        }
        // All of them, so that a rule finds its input on a good day too.
        let names: BTreeSet<&String> = self.containers.first_names.values().collect();
        let is_looping = |name: &str| self.containers.fates.get(name).is_some_and(|f| f.is_looping);
        values.extend(names.into_iter().map(|n| (n.clone(), None, u64::from(is_looping(n)))));
        let mut written = Vec::new();
        for (name, reason, value) in values {
            let of = self.labels_of(&name);
            let labels = match reason {
                Some(reason) => with(&of, ENDS_TOTAL, ("reason", reason)),
                None => with(&of, CRASH_LOOP, ("", "")),
            };
            let before = if reason.is_some() { 0 } else { value };
            written.extend(write_counter(&mut self.window, &labels, at, (before, value)));
        }
        written
    }

    /// Containers as readers see them, by name.
    pub(super) fn container_views(&self) -> Vec<Arc<ContainerView>> {
        let view = |container: &Container| {
            let first = self.containers.first_names.get(&container.id);
            let first = first.unwrap_or(&container.name);
            let fate = self.containers.fates.get(first);
            let labels = self.containers.labels.get(first);
            let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(str::to_owned);
            Arc::new(ContainerView {
                container: container.clone(),
                known_as: first.clone(),
                tenant: label("tenant"),
                service: label("service"),
                state: fate.map_or(container.status.name(), |f| f.word(Some(container.status))),
                ends: fate.map_or([0; 6], |fate| fate.ends),
                last_end: fate.and_then(|fate| fate.last),
                oom: self.containers.ledger.counts(first),
            })
        };
        let mut views: Vec<Arc<ContainerView>> =
            self.containers.inventory.iter().map(view).collect();
        views.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        views
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

fn with(labels: &Labels, name: &str, (label, value): (&str, &str)) -> Labels {
    let mut built = LabelsBuilder::from(labels);
    built.set(METRIC_NAME, name);
    if !label.is_empty() {
        built.set(label, value);
    }
    built.build()
}

/// Appends a counter's value. A series that begins begins with what was known before: else its first
/// increase would be no increase.
fn write_counter(
    window: &mut Window,
    labels: &Labels,
    at: Timestamp,
    (before, value): (u64, u64),
) -> Option<SeriesId> {
    let id = window.series(labels).ok()?;
    if before != value && !window.is_live(id) {
        window.append(id, Sample { at: Timestamp(at.0 - 1), value: before as f64 });
    }
    window.append(id, Sample { at, value: value as f64 });
    Some(id)
}
