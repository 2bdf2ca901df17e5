//! The containers of a host, followed: found, named, read, and let go of.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::choice::{choose, is_inside};
use super::columns::Seen;
use super::config::CollectorConfig;
use super::failure::Failure;
use super::figures::Figures;
use super::files::{Reader, handles_allowed};
use super::kept::{Moment, tell_rest};
use super::kills::{Kills, count};
use super::machine::Machine;
use super::naming::{labels, with_target};
use super::place::Place;
use super::series::Slots;
use super::sources::{AVAILABLE, EVENTS, NETWORK, PULSE, Parts, Source, USAGE};
use super::tracked::{Away, Eyes, Tracked, sources};
use super::tree::{Found, Listed, Tree, Version};
use super::unseen::Unseen;
use super::whereabouts::folder_of;
use crate::base::{HashMap, HashSet, Labels, Timestamp};
use crate::containers::{ContainerId, Inventory, KillsById};

/// The whole tree is walked this often: what lies outside the usual folders is found by then.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// A container that Docker has not told of is held back this long, so that it does not appear under
/// its id and then, a moment later, under its name.
const NAME_GRACE: Duration = Duration::from_secs(5);
/// A container at rest is sampled this seldom: its peaks are few, and nearly all of a sample is the
/// kernel's work, which nothing here makes cheaper.
const RESTING_SAMPLE_EVERY: u32 = 3;
/// One in so many of the handles that may be kept is left for containers that start next.
const NEWCOMERS_SHARE: usize = 16;
/// OOM counts of containers that are gone are remembered for this many, in case they come back.
const KILLS_REMEMBERED: usize = 4096;

/// Why there is no collection.
#[derive(thiserror::Error, Debug)]
pub enum CollectError {
    /// The cgroups cannot be listed at all.
    #[error("cgroups at {} cannot be read: {source}; {}", path.display(), remedy(source))]
    Root {
        /// `collector.cgroup_root`
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There are containers, and none of them can be read.
    #[error("not one of {containers} containers can be read; the first: {first}")]
    Unreadable {
        /// How many there are.
        containers: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// A collection waits that was asked for before; who asked has given up.
    #[error(
        "the collector is held up, mostly by a file system that hangs: the last collection still waits"
    )]
    Busy,
    /// A page waits that was asked for before.
    #[error("the collector is held up: the last page that was asked for still waits; ask again")]
    BusyForPages,
    /// A file system hangs.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The configuration asks for none.
    #[error("the collector is off: write the section `collector`")]
    Off,
}

/// What can be done where the cgroups cannot be listed.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "plimsoll's user, or the sandbox it runs in, has no right to look there"
        }
        _ => "mount the host's /sys/fs/cgroup read-only, or set collector.cgroup_root",
    }
}

/// What becomes of each container that was read.
pub(super) type Visit<'a> = dyn FnMut(&mut Tracked, &Seen<'_>, &Machine) + 'a;

/// The containers of a host.
#[derive(Debug)]
pub(super) struct Host {
    config: CollectorConfig,
    /// Labels of the target, put on every series.
    target: Labels,
    pub reader: Reader,
    tree: Option<Tree>,
    pub tracked: BTreeMap<String, Tracked>,
    /// Where each of them is.
    places: HashMap<ContainerId, String>,
    inventory: Option<Arc<Inventory>>,
    unseen: Unseen,
    docker: Place,
    kills: HashMap<ContainerId, Kills>,
    /// OOM kills by everybody's word.
    counted: Arc<KillsById>,
    pub machine: Machine,
    /// None before the first look.
    next_walk: Option<Timestamp>,
    /// When the containers were looked at last.
    looked_at: Timestamp,
    /// Samples taken since.
    samples: u32,
    /// Series whose container is gone, or has another name now.
    pub ended: Vec<Slots>,
    /// What could not be read in the last look: how many containers, a folder that cannot be listed
    /// and the machine counting as one each, and the first such thing.
    pub trouble: Option<(usize, String)>,
    /// What was asked for and cannot be seen from here; it grows only.
    pub hidden: BTreeSet<&'static str>,
    /// The first cgroup that is not followed since another has its id, and that other.
    pub doubled: Option<(String, String)>,
}

/// Without the host's own network no container's can be told from it.
const NETWORKS: &str = "network counters of containers: `proc_root`/1/ns/net cannot be read";
/// Of a container that Docker does not tell of.
const STARTS: &str =
    "start times of containers that Docker does not tell of: `proc_root`/<pid>/stat cannot be read";

impl Host {
    pub fn new(config: CollectorConfig, target: Labels) -> Host {
        Host {
            config,
            target,
            reader: Reader::new(handles_allowed()),
            tree: None,
            tracked: BTreeMap::new(),
            places: HashMap::default(),
            inventory: None,
            unseen: Unseen::new(WALK_EVERY),
            docker: Place::default(),
            kills: HashMap::default(),
            counted: Arc::default(),
            machine: Machine::default(),
            next_walk: None,
            looked_at: Timestamp(0),
            samples: 0,
            ended: Vec::new(),
            trouble: None,
            hidden: BTreeSet::new(),
            doubled: None,
        }
    }

    /// Works by another configuration. Another place has other containers; else peaks and counts
    /// go on.
    pub fn reconfigure(&mut self, config: CollectorConfig, target: Labels) {
        let old = std::mem::replace(self, Host::new(config, target));
        (self.inventory, self.kills, self.counted) = (old.inventory, old.kills, old.counted);
        if self.config.cgroup_root == old.config.cgroup_root {
            (self.reader, self.tree, self.tracked) = (old.reader, old.tree, old.tracked);
            (self.places, self.next_walk, self.unseen) = (old.places, old.next_walk, old.unseen);
            if self.config.docker_afar == old.config.docker_afar {
                self.docker = old.docker;
            }
            for tracked in self.tracked.values_mut() {
                (tracked.labels, tracked.named) = (None, false);
            }
        }
        self.machine = Machine::look(&mut self.reader, &self.config.proc_root, None);
    }

    /// Takes Docker's word for who the containers are. One that is known as another by now is named anew.
    pub fn know(&mut self, inventory: Arc<Inventory>) {
        let is_known = |id: &ContainerId| inventory.get(id).is_some();
        let mut inside = Vec::new();
        for (path, tracked) in &mut self.tracked {
            if tracked.named {
                let named = tracked.labels.as_ref().and_then(|labels| labels.get("name"));
                let known_as = inventory.known_as(&tracked.id);
                tracked.named = known_as.is_none() || known_as == named;
            }
            if is_inside(path, is_known) {
                inside.push(path.clone());
            }
        }
        inside.iter().for_each(|path| self.let_go(path));
        self.inventory = Some(inventory);
    }

    /// Takes the OOM kills that were counted of each container by everybody's word: where the first process is
    /// killed its cgroup goes with it, and the kernel's count.
    pub fn know_kills(&mut self, counted: Arc<KillsById>) {
        self.counted = counted;
    }

    /// Which version of cgroups this host has, once it was looked at.
    pub fn version(&self) -> Option<Version> {
        self.tree.as_ref().map(Tree::version)
    }

    /// What listing has cost since the tree was opened.
    pub fn listed(&self) -> Listed {
        self.tree.as_ref().map_or(Listed::default(), |tree| tree.listed)
    }

    /// Finds out who is there, and how the machine is.
    fn look_around(&mut self, at: Timestamp, parts: Parts) -> Result<(), CollectError> {
        (self.looked_at, self.samples) = (at, 0);
        self.follow(at)?;
        self.forget_kills();
        self.name_containers(at);
        let seen = self.tracked.values().map(|tracked| &tracked.id);
        self.unseen.look(at, self.inventory.as_deref(), seen);
        self.place_docker();
        self.learn_folders();
        if parts & AVAILABLE != 0 || tell_rest(parts) {
            self.machine.look_at_memory(&mut self.reader, &self.config.proc_root);
        }
        self.note_hidden(parts);
        Ok(())
    }

    /// Learns where containers are that Docker says run, and that are in no folder that is listed.
    fn learn_folders(&mut self) {
        let Host { inventory: Some(inventory), tree: Some(tree), docker, .. } = self else {
            return;
        };
        if *docker == Place::Elsewhere {
            return;
        }
        let (reader, proc_root) = (&mut self.reader, &self.config.proc_root);
        let known = self.unseen.lacking().filter_map(|id| Some((id, inventory.get(id)?.pid?)));
        for (id, pid) in known {
            let text = reader.read_once(&proc_root.join(pid.to_string()).join("cgroup")).ok();
            if let Some(folder) = text.and_then(|text| folder_of(id, text)) {
                tree.learn(folder);
            }
        }
    }

    /// Finds out whether Docker runs on this machine, where its address does not tell.
    fn place_docker(&mut self) {
        let heard = self.inventory.as_ref().filter(|inventory| inventory.is_heard());
        let (Some(inventory), Some(_)) = (heard, &self.config.docker_afar) else { return };
        let running = inventory.iter().filter(|c| c.status.is_alive());
        let running: Vec<&ContainerId> = running.map(|c| &c.id).collect();
        let seen: HashSet<&ContainerId> = self.tracked.values().map(|t| &t.id).collect();
        let lacks_cgroup = self.unseen.iter().next().is_some();
        let file = self.config.proc_root.join("self/mountinfo");
        // Where that cannot be read, nothing says that we are one of Docker's.
        let mounts = || self.reader.read_whole(&file).map(<[u8]>::to_vec).unwrap_or_default();
        self.docker = self.docker.look(&running, |id| seen.contains(id), lacks_cgroup, mounts);
    }

    /// `docker.host`, if that is another machine: what runs there has no cgroups here, and is not missed.
    pub fn docker_elsewhere(&self) -> Option<&str> {
        self.config.docker_afar.as_deref().filter(|_| self.docker == Place::Elsewhere)
    }

    /// The containers of this machine that Docker says run and that are not seen.
    fn missing(&self) -> impl Iterator<Item = &ContainerId> {
        self.unseen.iter().filter(|_| self.docker != Place::Elsewhere)
    }

    /// Notes what was asked for and cannot be seen.
    fn note_hidden(&mut self, parts: Parts) {
        if parts & NETWORK != 0 && self.machine.network.is_none() {
            self.hidden.insert(NETWORKS);
        }
        if self.tracked.values().any(|tracked| tracked.is_start_hidden) {
            self.hidden.insert(STARTS);
        }
    }

    /// Reads the memory of every container, of those at rest now and then, so that a peak between two
    /// collections is seen.
    pub fn sample(&mut self) {
        self.samples = self.samples.wrapping_add(1);
        let is_for_all = self.samples.is_multiple_of(RESTING_SAMPLE_EVERY);
        let (Some(mut eyes), tracked, ..) = self.eyes(USAGE) else { return };
        for (path, tracked) in tracked.iter_mut().filter(|(_, t)| is_for_all || !t.is_at_rest()) {
            tracked.sample(&mut eyes, path);
        }
    }

    /// Finds out who is there now, reads each, and hands it to `visit`. A container that vanishes
    /// while it is read is not handed over at all.
    pub fn each(
        &mut self,
        at: Timestamp,
        parts: Parts,
        visit: &mut Visit<'_>,
    ) -> Result<(), CollectError> {
        self.look_around(at, parts)?;
        let (mut gone, mut over) = (Vec::new(), Vec::new());
        let (mut failures, mut first) = self.out_of_sight();
        let mut is_blind = self.may_be_blind();
        let (inventory, counted) = (self.inventory.clone(), Arc::clone(&self.counted));
        let mut figures = Figures::default();
        let (eyes, tracked, kills) = self.eyes(parts);
        let mut eyes = eyes.expect("the tree was opened to follow it");
        for (path, tracked) in tracked.iter_mut().filter(|(_, tracked)| tracked.labels.is_some()) {
            let container = inventory.as_ref().and_then(|known| known.get(&tracked.id));
            tracked.believe(container);
            match tracked.read(&mut eyes, path, parts, &mut figures) {
                Ok(()) => {}
                Err(Away::Gone) => {
                    gone.push(path.clone());
                    continue;
                }
                Err(Away::Over) => {
                    over.push(std::mem::take(&mut tracked.slots));
                    tracked.failure = None;
                    is_blind = false;
                    continue;
                }
            }
            // What Docker said last may be of a run that is over, while it is not heard.
            let heard = container.filter(|_| inventory.as_ref().is_some_and(|i| i.is_heard()));
            if parts & NETWORK != 0 {
                let pid = heard.and_then(|container| container.pid);
                tracked.read_network(&mut eyes, (path, pid), &mut figures);
            }
            let health = heard.map(|container| container.health);
            let is_read = parts & EVENTS & !tracked.failed != 0;
            let kernel = figures.oom_kills.filter(|_| is_read);
            let oom_kills = kernel.map(|now| count(kills, tracked.run(), (now, at)));
            let kills = kills.get(&tracked.id);
            let said = (container, heard.is_some());
            let started_at = tracked.began((&mut eyes, path), said, kills);
            let peak = tracked.peak(&figures);
            if let Some(failure) = &tracked.failure {
                failures += 1;
                first.get_or_insert_with(|| failure.to_string());
            }
            is_blind &= tracked.has_failed(parts) && !tracked.is_over();
            let seen = Seen {
                figures: &figures,
                container,
                health,
                at,
                peak,
                oom_kills,
                oom_events: tracked.oom_events(
                    oom_kills,
                    (counted.get(&tracked.id), kills),
                    is_read,
                ),
                started_at,
                failed: tracked.failed,
            };
            visit(tracked, &seen, eyes.machine);
        }
        gone.iter().for_each(|path: &String| self.let_go(path));
        over.into_iter().for_each(|slots| end(&mut self.ended, slots));
        let unread = first.map(|first| (failures, first));
        self.note_trouble(unread.clone());
        match unread {
            Some((containers, first)) if is_blind => {
                Err(CollectError::Unreadable { containers, first })
            }
            _ => Ok(()),
        }
    }

    /// Notes how much of the containers was not read, and what of the machine.
    fn note_trouble(&mut self, unread: Option<(usize, String)>) {
        let of_machine = self.machine.failure.as_ref().map(Failure::to_string);
        self.trouble = match (unread, of_machine) {
            (Some((count, first)), of_machine) => Some((count + of_machine.iter().len(), first)),
            (None, of_machine) => of_machine.map(|failure| (1, failure)),
        };
    }

    /// The host's parts, borrowed apart, to read `parts` of each container.
    fn eyes(
        &mut self,
        parts: Parts,
    ) -> (Option<Eyes<'_>>, &mut BTreeMap<String, Tracked>, &mut HashMap<ContainerId, Kills>) {
        let eyes = self.tree.as_ref().map(|tree| {
            let asked = |source: &Source| source.parts & parts != 0;
            let files = sources(tree.version());
            // What is read each time has handles first: the file that is sampled, then the next.
            let mut spare = [0; PULSE + 1];
            for (at, source) in files.iter().take(PULSE).enumerate() {
                let is_read = asked(source) && tree.hierarchy(source.controller).is_some();
                let lacking = self.tracked.values().filter(|t| is_read && t.lacks(at)).count();
                spare[at + 1] = spare[at] + lacking;
            }
            spare[PULSE] += self.reader.kept_max() / NEWCOMERS_SHARE;
            let asked = files.iter().filter(|source| asked(source)).count();
            let demand = self.tracked.len() * asked + spare[PULSE];
            Eyes {
                now: Moment { at: self.looked_at, is_short: self.machine.is_short_of_memory() },
                keeps_all: demand <= self.reader.kept_max(),
                reader: &mut self.reader,
                tree,
                machine: &self.machine,
                proc_root: &self.config.proc_root,
                spare,
            }
        });
        (eyes, &mut self.tracked, &mut self.kills)
    }

    /// Looks who is there. At a walk, also at what changes rarely.
    fn follow(&mut self, at: Timestamp) -> Result<(), CollectError> {
        // A wall clock that was set back must not put the next walk off.
        let soon = |next: Timestamp| at < next && next.since(at) <= WALK_EVERY;
        let is_walk = !self.next_walk.is_some_and(soon);
        let is_first = self.next_walk.is_none();
        let found = self.find(is_walk).map_err(|source| {
            (self.tree, self.next_walk) = (None, None);
            CollectError::Root { path: self.config.cgroup_root.clone(), source }
        })?;
        if is_walk {
            self.next_walk = Some(at + WALK_EVERY);
            self.machine = Machine::look(&mut self.reader, &self.config.proc_root, Some(at));
            self.tracked.values_mut().for_each(Tracked::forget_absent);
        }
        found.gone.iter().for_each(|path| self.let_go(path));
        for (path, id) in self.choose(found.come) {
            self.places.insert(id.clone(), path.clone());
            self.tracked.entry(path).or_insert_with(|| Tracked::new(id, at, !is_first));
        }
        Ok(())
    }

    /// Who of those who came is followed. Whoever was followed instead is let go of.
    fn choose(&mut self, mut come: Vec<(String, ContainerId)>) -> Vec<(String, ContainerId)> {
        if come.is_empty() {
            return come;
        }
        let known = self.inventory.as_ref();
        let is_known = |id: &ContainerId| known.is_some_and(|known| known.get(id).is_some());
        let newly = come.iter().map(|(path, id)| (path.as_str(), id));
        // Of those who are followed, whoever has the id of one that came.
        let followed =
            newly.clone().filter_map(|(_, id)| Some((self.places.get(id)?.as_str(), id)));
        let choice = choose(followed.clone().chain(newly.clone()), is_known);
        let is_left = |(path, id): &(&str, &ContainerId)| !choice.is(path, id);
        let lost: Vec<String> = followed.filter(is_left).map(|(path, _)| path.to_owned()).collect();
        let mut is_chosen: Vec<bool> = newly.map(|(path, id)| choice.is(path, id)).collect();
        if let (None, Some((left, followed))) = (&self.doubled, choice.left) {
            self.doubled = Some((left.to_owned(), followed.to_owned()));
        }
        lost.iter().for_each(|path| self.let_go(path));
        is_chosen.reverse();
        come.retain(|_| is_chosen.pop().unwrap_or(false));
        come
    }

    /// Who came and who went since the last look.
    fn find(&mut self, is_walk: bool) -> io::Result<Found> {
        let tree = match &mut self.tree {
            Some(tree) => tree,
            none => none.insert(Tree::open(&self.config.cgroup_root)?),
        };
        if !is_walk {
            return tree.list();
        }
        let come = tree.walk()?;
        let is_lost = |path: &&String| !come.contains_key(*path);
        let gone = self.tracked.keys().filter(is_lost).cloned().collect();
        Ok(Found { come: come.into_iter().collect(), gone })
    }

    /// Whether more can be here than is seen if not one container is read: none waits for its name, and
    /// Docker does not say that nothing runs.
    fn may_be_blind(&self) -> bool {
        let is_ours =
            |inventory: &&Arc<Inventory>| inventory.is_heard() && self.docker != Place::Elsewhere;
        let heard = self.inventory.as_ref().filter(is_ours);
        let runs = |inventory: &Arc<Inventory>| inventory.iter().any(|c| c.status.is_alive());
        let should_be = !self.tracked.is_empty() || heard.is_none_or(runs);
        should_be && self.tracked.values().all(|tracked| tracked.labels.is_some())
    }

    /// What could not be found: of how many containers at least, and the first such thing.
    fn out_of_sight(&self) -> (usize, Option<String>) {
        let unlisted = self.tree.as_ref().map_or(0, |tree| tree.unlisted.count);
        let first = self.lost_sight_of().next().map(|failure| failure.to_string());
        (unlisted + self.missing().count(), first)
    }

    /// What could not be found.
    fn lost_sight_of(&self) -> impl Iterator<Item = Cow<'_, Failure>> {
        let unlisted = self.tree.iter().flat_map(|tree| &tree.unlisted.named).map(Cow::Borrowed);
        let nowhere = |id: &ContainerId| {
            let name = self.inventory.as_ref().and_then(|known| known.known_as(id));
            let root = self.config.cgroup_root.display();
            let why = format!(
                "runs, as Docker says, and has no cgroup below {root}; in a container, mount the host's \
                 there read-only and give it `cgroup: host`"
            );
            Cow::Owned(Failure { what: name.unwrap_or(id.short()).to_owned(), why })
        };
        unlisted.chain(self.missing().map(nowhere))
    }

    /// What could not be read in the last look: more than one of a folder or a container is not told.
    pub fn failures(&self) -> impl Iterator<Item = Cow<'_, Failure>> {
        let of_containers = self.tracked.values().filter_map(|tracked| tracked.failure.as_ref());
        let all = of_containers.chain(&self.machine.failure).map(Cow::Borrowed);
        self.lost_sight_of().chain(all)
    }

    /// What is known of containers that are not shown and may have been shown before we started: the
    /// labels but for the name of those that are held back for it, and but for the cgroup's path of
    /// those that have none.
    pub fn hidden_away(&self) -> impl Iterator<Item = Labels> {
        let waits = |tracked: &Tracked| tracked.was_there && tracked.labels.is_none();
        let waiting = self.tracked.iter().filter(move |(_, tracked)| waits(tracked));
        let nameless = waiting.map(|(path, _)| Labels::from_pairs([("id", path)]));
        let known = self.inventory.as_ref();
        let unseen = self.missing().map(move |id| {
            let named = known.and_then(|known| known.known_as(id).zip(known.get(id)));
            labels(("", id), named, &self.config.labels).filtered(|label| label != "id")
        });
        nameless.chain(unseen).map(|labels| with_target(&labels, &self.target))
    }

    fn let_go(&mut self, path: &str) {
        if let Some(tree) = &mut self.tree {
            tree.forget(path);
        }
        let Some(mut tracked) = self.tracked.remove(path) else { return };
        if self.places.get(&tracked.id).is_some_and(|place| place == path) {
            self.places.remove(&tracked.id);
        }
        tracked.close(&mut self.reader);
        self.kills.entry(tracked.id).and_modify(Kills::begin_anew);
        end(&mut self.ended, tracked.slots);
    }

    /// Forgets the counts of those who are gone if they are too many.
    fn forget_kills(&mut self) {
        if self.kills.len() > self.tracked.len() + KILLS_REMEMBERED {
            let alive: HashSet<&ContainerId> = self.tracked.values().map(|t| &t.id).collect();
            self.kills.retain(|id, _| alive.contains(id));
        }
    }

    /// Gives labels to containers that have none yet, and the name they are known as to those that went
    /// without. A rename changes nothing about it: it must not end an alert.
    fn name_containers(&mut self, at: Timestamp) {
        for (path, tracked) in self.tracked.iter_mut().filter(|(_, tracked)| !tracked.named) {
            // After a step back of the clock the wait begins anew, and is no longer.
            tracked.since = tracked.since.min(at);
            let known = self.inventory.as_ref();
            let container = known.and_then(|known| known.get(&tracked.id));
            let waits = known.is_some() && at.since(tracked.since) < NAME_GRACE;
            if container.is_none() && (tracked.labels.is_some() || waits) {
                continue;
            }
            tracked.named = container.is_some();
            end(&mut self.ended, std::mem::take(&mut tracked.slots));
            let name = known.and_then(|known| known.known_as(&tracked.id));
            let labels = labels((path, &tracked.id), name.zip(container), &self.config.labels);
            tracked.labels = Some(with_target(&labels, &self.target));
        }
    }
}

/// These series have ended, if there are any.
fn end(ended: &mut Vec<Slots>, slots: Slots) {
    if !slots.is_empty() {
        ended.push(slots);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use rustix::io::Errno;

    use super::super::sources::{
        CPU_PRESSURE, CPU_USAGE, IO_PRESSURE, LIMIT, MEMORY_PRESSURE, STAT,
    };
    use super::*;
    use crate::containers::Container;

    /// Over such a tree, with so many handles at most.
    fn bounded(cgroup_root: &Path, kept_max: usize) -> Host {
        let cgroup_root = cgroup_root.to_owned();
        let config = CollectorConfig { cgroup_root, ..CollectorConfig::default() };
        Host { reader: Reader::new(kept_max), ..Host::new(config, Labels::empty()) }
    }

    #[test]
    fn labels_are_cadvisors_and_colliding_keys_do_not_flap() {
        let id = ContainerId::new(&"ab".repeat(32)).expect("an id");
        let keys = ["prego.plan", "prego-plan", "team"].map(str::to_owned);
        let path = format!("/docker/{id}");
        let shown = |known| format!("{:?}", labels((&path, &id), known, &keys));
        assert_eq!(shown(None), format!("{{id=\"{path}\", name=\"abababababab\"}}"));
        let mut container = Container::new(id.clone(), "acme-api-2", Timestamp(0));
        container.image = "prego/load:1.0".to_owned();
        for (key, value) in [("prego-plan", "forged"), ("prego.plan", "free"), ("other", "x")] {
            container.labels.insert(key.to_owned(), value.to_owned());
        }
        let want = format!(
            "{{container_label_prego_plan=\"free\", id=\"{path}\", image=\"prego/load:1.0\", name=\"acme-api\"}}"
        );
        assert_eq!(shown(Some(("acme-api", &container))), want);
    }

    #[test]
    fn a_count_of_kills_goes_on_over_restarts() {
        let id = ContainerId::new(&"ab".repeat(32)).expect("an id");
        let mut kills = HashMap::default();
        let mut read = |now, mut is_another: bool| {
            count(&mut kills, (&id, &mut is_another), (now, Timestamp(0)))
        };
        let mut counts = [0.0, 2.0, 0.0, 1.0, 1.0, 0.0, 1.0].map(|now| read(now, false)).to_vec();
        counts.push(read(1.0, true));
        assert_eq!(counts, [0.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0], "it shows what the last did");
    }

    /// As where more containers run than handles may be kept.
    #[test]
    fn a_cgroup_that_was_made_anew_with_as_many_kills_is_told_apart_without_a_handle() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        let make = || {
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join("memory.current"), "1").expect("written");
            std::fs::write(folder.join("memory.events"), "oom_kill 1\n").expect("written");
        };
        make();
        let mut host = bounded(dir.path(), 0);
        let mut kills = Vec::new();
        for round in 0..4 {
            // Aside, so that the next has another number.
            if round == 2 {
                std::fs::rename(&folder, dir.path().join("aside")).expect("moved");
                make();
            }
            host.each(Timestamp(round * 5000), USAGE | EVENTS, &mut |tracked, seen, _| {
                kills.extend(seen.oom_kills);
                tracked.was_taken(seen.figures);
            })
            .expect("reads");
        }
        assert_eq!(kills, [1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn who_may_not_look_is_told_so_and_who_sees_nothing_what_to_mount() {
        let told = |kind: io::ErrorKind| {
            let path = PathBuf::from("/sys/fs/cgroup");
            CollectError::Root { path, source: kind.into() }.to_string()
        };
        let forbidden = told(io::ErrorKind::PermissionDenied);
        assert!(forbidden.ends_with("has no right to look there"), "{forbidden}");
        let missing = told(io::ErrorKind::NotFound);
        assert!(missing.contains("mount the host's /sys/fs/cgroup"), "{missing}");
    }

    /// Each look in which somebody comes costs as much as came, however many are there.
    #[test]
    fn whoever_comes_is_compared_with_whoever_has_its_id() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = |top: &str, n: usize| dir.path().join(format!("{top}/{n:064x}"));
        let make = |top: &str, n: usize| {
            std::fs::create_dir_all(folder(top, n)).expect("made");
            std::fs::write(folder(top, n).join("memory.current"), "1").expect("written");
        };
        let mut host = bounded(dir.path(), 5);
        let look = |host: &mut Host, at| {
            let each = host.each(Timestamp(at), USAGE, &mut |_, _, _| {});
            each.expect("reads");
            let mut paths: Vec<&String> = host.tracked.keys().collect();
            paths.sort();
            let mut places: Vec<&String> = host.places.values().collect();
            places.sort();
            assert_eq!(paths, places);
            paths.iter().map(|path| path[..path.len() - 63].to_owned()).collect::<Vec<_>>()
        };
        (1..4).for_each(|n| make("machine.slice", n));
        assert_eq!(look(&mut host, 0), ["/machine.slice/0"; 3]);
        make("docker", 2);
        make("docker", 9);
        let after = ["/docker/0", "/docker/0", "/machine.slice/0", "/machine.slice/0"];
        assert_eq!(look(&mut host, 5000), after, "the better of the two of one id");
        std::fs::remove_dir_all(folder("docker", 9)).expect("removed");
        std::fs::remove_dir_all(folder("machine.slice", 1)).expect("removed");
        assert_eq!(look(&mut host, 10_000), ["/docker/0", "/machine.slice/0"]);
    }

    #[test]
    fn counts_of_the_gone_are_remembered_however_many_are_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut host = bounded(dir.path(), 5);
        let id = |n: usize| ContainerId::new(&format!("{n:064x}")).expect("an id");
        for n in 0..KILLS_REMEMBERED + 100 {
            let path = format!("/docker/{}", id(n));
            host.tracked.insert(path, Tracked::new(id(n), Timestamp(0), true));
            host.kills.insert(id(n), Kills { last: 3.0, ..Kills::default() });
        }
        host.let_go(&format!("/docker/{}", id(7)));
        host.forget_kills();
        assert_eq!(
            host.kills.get(&id(7)).map(|kills| kills.carried),
            Some(3.0),
            "it may come back"
        );
        let others = (0..=KILLS_REMEMBERED).map(|n| (id(1_000_000 + n), Kills::default()));
        host.kills.extend(others);
        host.forget_kills();
        assert_eq!(host.kills.len(), host.tracked.len(), "they are bounded");
    }

    #[test]
    fn handles_go_to_what_is_sampled_then_to_what_is_read_each_time_then_to_limits() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        for n in 0..10 {
            let folder = dir.path().join(format!("docker/{n:064x}"));
            std::fs::create_dir_all(&folder).expect("made");
            for (file, text) in
                [("memory.current", "1"), ("memory.stat", "anon 1"), ("memory.max", "9")]
            {
                std::fs::write(folder.join(file), text).expect("written");
            }
        }
        for (kept_max, want) in [(5, 5), (10, 10), (15, 15), (25, 20), (40, 30)] {
            let mut host = bounded(dir.path(), kept_max);
            for round in 0..15 {
                let mut limits = 0;
                host.each(Timestamp(round * 5000), USAGE | STAT | LIMIT, &mut |_, seen, _| {
                    limits += i32::from(seen.figures.limit == Some(9.0));
                })
                .expect("reads");
                assert_eq!(limits, 10, "kept open or not, they are read");
            }
            assert_eq!(host.reader.kept(), want, "of {kept_max}");
            let watched = host.tracked.values().filter(|tracked| !tracked.lacks(0)).count();
            assert_eq!(watched, 10.min(kept_max), "of {kept_max}");
        }
    }

    #[test]
    fn the_pulse_of_every_container_has_handles_before_anything_else_of_any() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let file = |n: usize, name: &str| dir.path().join(format!("docker/{n:064x}/{name}"));
        for n in 0..10 {
            std::fs::create_dir_all(file(n, "")).expect("made");
            for (name, text) in [
                ("memory.current", "1"),
                ("cpu.stat", "usage_usec 1"),
                ("memory.stat", "anon 1"),
                ("memory.max", "9"),
            ] {
                std::fs::write(file(n, name), text).expect("written");
            }
        }
        for (kept_max, want) in [(15, 15), (20, 20), (30, 29), (80, 40)] {
            let mut host = bounded(dir.path(), kept_max);
            for round in 0..15 {
                let parts = USAGE | CPU_USAGE | STAT | LIMIT;
                host.each(Timestamp(round * 5000), parts, &mut |_, _, _| {}).expect("reads");
            }
            assert_eq!(host.reader.kept(), want, "of {kept_max}");
            let beats = [0, 1].map(|at| host.tracked.values().filter(|t| !t.lacks(at)).count());
            assert_eq!(beats, [10, 10.min(kept_max - 10)], "of {kept_max}");
        }
    }

    #[test]
    fn who_is_at_rest_is_sampled_as_seldom_where_no_handle_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("memory.current"), "1").expect("written");
        std::fs::write(folder.join("cpu.stat"), "usage_usec 1").expect("written");
        let mut host = bounded(dir.path(), 0);
        for round in 0..4 {
            host.each(Timestamp(round * 5000), USAGE | CPU_USAGE, &mut |_, _, _| {})
                .expect("reads");
        }
        let mut sample = || {
            let before = host.reader.calls;
            host.sample();
            host.reader.calls - before
        };
        assert_eq!([0; 6].map(|_| sample()), [0, 0, 3, 0, 0, 3], "open, read, close");
    }

    /// Numbers of processes begin from below again, and the kernel lists them in their order (v1).
    #[test]
    fn a_container_began_with_its_oldest_process_whatever_that_is_called() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("memory.current"), "1").expect("written");
        // It has more than the kernel shows at once.
        let others: String = (100..900).map(|pid| format!("{pid}\n")).collect();
        std::fs::write(folder.join("cgroup.procs"), format!("5\n{others}917\n918\n999\n"))
            .expect("written");
        let proc_root = dir.path().join("proc");
        for (pid, ticks) in [(5, 9000), (917, 2000), (999, 50_000)] {
            let process = proc_root.join(pid.to_string());
            std::fs::create_dir_all(&process).expect("made");
            let stat = format!("{pid} (p) S 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 9 1");
            std::fs::write(process.join("stat"), stat).expect("written");
        }
        std::fs::write(proc_root.join("stat"), "cpu0 1\nbtime 1000\n").expect("written");
        std::fs::write(proc_root.join("uptime"), "499.25 1.00\n").expect("written");
        let mut host = bounded(dir.path(), 5);
        host.reader = Reader::of(|file, buffer, at| {
            let line = buffer.len().min(2048);
            file.read_at(&mut buffer[..line], at)
        });
        host.config.proc_root = proc_root;
        let mut starts = Vec::new();
        let visit =
            &mut |_: &mut Tracked, seen: &Seen<'_>, _: &Machine| starts.push(seen.started_at);
        host.each(Timestamp(1_500_000), USAGE, visit).expect("reads");
        assert_eq!(starts, [Some(1020.75)]);
    }

    /// As under a unit that may not look at other users' processes.
    #[test]
    fn what_there_is_no_right_to_see_is_named_and_only_if_it_is_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("memory.current"), "1").expect("written");
        std::fs::write(folder.join("cgroup.procs"), "17\n").expect("written");
        let proc_root = dir.path().join("proc");
        std::fs::create_dir_all(proc_root.join("17")).expect("made");
        let mut host = bounded(dir.path(), 5);
        host.config.proc_root = proc_root;
        for round in 0..=i64::from(super::super::tracked::TRIES_FOR_START) {
            assert!(host.hidden.is_empty(), "{:?}", host.hidden);
            host.each(Timestamp(10_000 + round * 5000), USAGE, &mut |_, _, _| {}).expect("reads");
        }
        assert_eq!(host.hidden, BTreeSet::from([STARTS]));
        host.each(Timestamp(60_000), USAGE | NETWORK, &mut |_, _, _| {}).expect("reads");
        assert_eq!(host.hidden, BTreeSet::from([NETWORKS, STARTS]));
    }

    /// As on a kernel that was built with it and booted without.
    #[test]
    fn pressure_that_the_kernel_does_not_account_is_no_trouble() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        for (file, text) in [
            ("memory.current", "1"),
            ("cpu.pressure", "off"),
            ("memory.pressure", "off"),
            ("io.pressure", "off"),
        ] {
            std::fs::write(folder.join(file), text).expect("written");
        }
        let mut host = bounded(dir.path(), 5);
        host.reader = Reader::of(|file, buffer, at| match file.read_at(buffer, at) {
            Ok(length) if buffer[..length].starts_with(b"off") => Err(Errno::OPNOTSUPP.into()),
            read => read,
        });
        let parts = USAGE | CPU_PRESSURE | MEMORY_PRESSURE | IO_PRESSURE;
        for round in 0..3 {
            let mut read = 0;
            host.each(Timestamp(round * 5000), parts, &mut |_, seen, _| {
                read += 1;
                assert_eq!(seen.failed, 0);
            })
            .expect("reads");
            assert_eq!((read, &host.trouble), (1, &None));
        }
        assert_eq!(host.reader.kept(), 1, "its memory alone");
    }

    /// `echo 0 > cgroup.pressure`: the file goes, and who has it open reads `ENODEV`.
    #[test]
    fn a_cgroup_whose_pressure_is_switched_off_is_still_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = dir.path().join(format!("docker/{:064x}", 1));
        std::fs::create_dir_all(&folder).expect("made");
        let write =
            |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("written");
        write("memory.current", "1");
        write("memory.events", "oom_kill 3\n");
        write("cpu.pressure", "some total=1\nfull total=1\n");
        let mut host = bounded(dir.path(), 50);
        host.reader = Reader::of(|file, buffer, at| match file.read_at(buffer, at) {
            Ok(length) if buffer[..length].starts_with(b"gone") => Err(Errno::NODEV.into()),
            read => read,
        });
        let read = |host: &mut Host, at| {
            let mut seen_kills = Vec::new();
            host.each(Timestamp(at), USAGE | EVENTS | CPU_PRESSURE, &mut |_, seen, _| {
                seen_kills.push((seen.oom_kills, seen.figures.cpu_pressure.some.is_some()));
            })
            .expect("reads");
            seen_kills
        };
        assert_eq!(read(&mut host, 0), [(Some(3.0), true)]);
        write("cpu.pressure", "gone");
        assert_eq!(read(&mut host, 5000), [(Some(3.0), false)], "no kill is counted twice");
        assert_eq!(host.reader.kept(), 2);
        write("memory.events", "gone");
        write("memory.current", "gone");
        assert_eq!(read(&mut host, 10_000), [], "a cgroup that is gone is");
    }

    #[test]
    fn a_cgroup_that_vanishes_while_others_are_read_is_not_shown_and_no_trouble() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("cgroup.controllers"), "memory\n").expect("written");
        let folder = |n: usize| dir.path().join(format!("docker/{n:064x}"));
        for n in 0..3 {
            std::fs::create_dir_all(folder(n)).expect("made");
            std::fs::write(folder(n).join("memory.current"), "1").expect("written");
        }
        let config =
            CollectorConfig { cgroup_root: dir.path().to_owned(), ..CollectorConfig::default() };
        let mut host = Host::new(config, Labels::empty());
        let mut visits = 0;
        host.each(Timestamp(0), USAGE, &mut |_, _, _| {
            visits += 1;
            std::fs::remove_dir_all(folder(1)).ok();
        })
        .expect("the others are read");
        assert_eq!((visits, host.tracked.len()), (2, 2));
        assert!(host.ended.is_empty(), "it had no series yet");
        assert!(host.trouble.is_none(), "{:?}", host.trouble);
        // Under its old id it comes again.
        std::fs::create_dir_all(folder(1)).expect("made");
        std::fs::write(folder(1).join("memory.current"), "1").expect("written");
        let mut visits = 0;
        host.each(Timestamp(5000), USAGE, &mut |_, _, _| visits += 1).expect("reads");
        assert_eq!(visits, 3);
    }
}
