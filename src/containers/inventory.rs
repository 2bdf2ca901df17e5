//! Every container of the host, by id and by name.
//!
//! Docker gives a name to one container at a time, but what reaches us is a report, late and with
//! gaps: for a moment two may bear one name (swapped names, a recreation whose removal was missed).
//! The bearer is then chosen by a fixed rule, so that the order of reports never shows: alive before
//! dead, then the younger, then the greater id.
//!
//! Here alone stands what a container is *known as*: the name it was first known by. A rename changes
//! nothing, because series, alerts and counts hang on the name, and cAdvisor never notices one either.
//! Until it is started it may be renamed freely: Compose makes the new one under a passing name.
//! Only when a new container comes under that name does the old one go by the name it bears by then:
//! two containers are never known as one, unless Docker itself says so for a moment. What happened before
//! that, and is told afterwards, happened to whatever it was known as then.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::container::{Container, ContainerId, Status};
use super::happening::{Happening, What};
use super::oom::Who;
use crate::base::Timestamp;

/// The containers of one host.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    by_id: BTreeMap<ContainerId, Known>,
    /// Everyone who says to bear a name, the chosen one computed on demand.
    by_name: BTreeMap<String, BTreeSet<ContainerId>>,
    /// Everyone who is known as a name.
    by_known: BTreeMap<String, BTreeSet<ContainerId>>,
    /// Everyone who is known otherwise than before for the sake of one.
    moved_by: BTreeMap<ContainerId, BTreeSet<ContainerId>>,
    is_heard: bool,
}

/// A container, and what it is known as.
#[derive(Clone, Debug)]
struct Known {
    /// Shared by the copies that readers hold.
    container: Arc<Container>,
    known_as: String,
    /// What it was known as before.
    before: Option<Before>,
    /// When it was seen first, if that was after our last restart.
    seen_at: Option<Timestamp>,
    /// Since when it bears its name, if it was renamed since our last restart: at the latest, as long as Docker
    /// has not told of that.
    named_at: Option<Timestamp>,
}

/// What a container was known as before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Before {
    /// The name.
    name: String,
    /// Until when; at the latest, as long as Docker has not told of the change itself.
    pub until: Timestamp,
    /// Whose change of name that was.
    by: ContainerId,
}

impl Known {
    /// Never started: whoever makes a container anew may make it under a passing name.
    fn is_being_made(&self) -> bool {
        self.container.status == Status::Created && self.container.started_at.is_none()
    }
}

impl Inventory {
    /// An empty one.
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Takes a container as it was inspected or listed by now. Returns those that are known by another
    /// name from now on, for its sake.
    pub fn put(&mut self, container: Container, now: Timestamp) -> Vec<ContainerId> {
        let mut moved = Vec::new();
        let container = Arc::new(container);
        let known = match self.by_id.get(&container.id) {
            Some(known) if !known.is_being_made() => {
                let is_renamed = known.container.name != container.name;
                let named_at = if is_renamed { Some(now) } else { known.named_at };
                Known { container, named_at, ..known.clone() }
            }
            known => {
                let seen_at = known.map_or(Some(now), |known| known.seen_at);
                let (id, name) = (container.id.clone(), container.name.clone());
                self.make_way(&name, (&id, now), &mut moved);
                Known { container, known_as: name, before: None, seen_at, named_at: None }
            }
        };
        self.insert(known);
        moved
    }

    /// A container is known by the name it bears now: it takes the place of one that is gone since then.
    pub fn know_as_named(&mut self, id: &ContainerId, since: Timestamp) {
        self.know_as(id, (id, since));
    }

    fn know_as(&mut self, id: &ContainerId, (by, since): (&ContainerId, Timestamp)) {
        let Some(known) = self.by_id.get(id).cloned() else { return };
        let before = Before { name: known.known_as, until: since, by: by.clone() };
        let known_as = known.container.name.clone();
        self.insert(Known { known_as, before: Some(before), ..known });
    }

    /// Takes a container under the names it was known as before our restart.
    pub fn restore(&mut self, container: Container, known_as: String, before: Option<Before>) {
        let container = Arc::new(container);
        self.insert(Known { container, known_as, before, seen_at: None, named_at: None });
    }

    fn insert(&mut self, known: Known) {
        let id = known.container.id.clone();
        self.remove(&id);
        self.by_name.entry(known.container.name.clone()).or_default().insert(id.clone());
        self.by_known.entry(known.known_as.clone()).or_default().insert(id.clone());
        if let Some(before) = &known.before {
            self.moved_by.entry(before.by.clone()).or_default().insert(id.clone());
        }
        self.by_id.insert(id, known);
    }

    /// What an event tells of names besides: when one really changed hands, and what a container was called
    /// that was renamed before it was seen. Whose names of before that changes.
    pub fn names_told(&self, happening: &Happening) -> Vec<(ContainerId, Before)> {
        let (Happening { id, name, what, .. }, at) = (happening, happening.at());
        let mut told = Vec::new();
        if let Some(Known { before: None, seen_at: Some(seen_at), known_as, .. }) =
            self.by_id.get(id)
            && at < *seen_at
            && !name.is_empty()
            && name != known_as
        {
            let before = Before { name: name.clone(), until: *seen_at, by: id.clone() };
            told.push((id.clone(), before));
        }
        if matches!(what, What::Create | What::Rename { .. }) {
            let changes = |whose: &ContainerId, before: &Before| match what {
                What::Rename { from } if whose == id => before.name == *from,
                _ => before.name == *name && whose != id,
            };
            for whose in self.moved_by.get(id).into_iter().flatten() {
                let before = self.before(whose).filter(|before| at < before.until);
                let before = before.filter(|before| changes(whose, before));
                told.extend(before.map(|b| (whose.clone(), Before { until: at, ..b.clone() })));
            }
        }
        told
    }

    /// Docker tells when a container was given the name it bears.
    pub fn renamed(&mut self, (id, name): (&ContainerId, &str), at: Timestamp) {
        let bearer = self.by_id.get_mut(id).filter(|known| known.container.name == name);
        if let Some(known) = bearer {
            known.named_at = Some(at);
        }
    }

    /// Since when a container bears its name, if it was renamed since our last restart.
    pub fn named_at(&self, id: &ContainerId) -> Option<Timestamp> {
        self.by_id.get(id)?.named_at
    }

    /// The wall clock has stepped. Whose names of before that changes.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) -> Vec<ContainerId> {
        let mut changed = Vec::new();
        for (id, known) in &mut self.by_id {
            known.seen_at.iter_mut().chain(&mut known.named_at).for_each(&shift);
            if let Some(before) = &mut known.before {
                shift(&mut before.until);
                changed.push(id.clone());
            }
        }
        changed
    }

    /// What a container was known as before is this.
    pub fn set_before(&mut self, id: &ContainerId, before: Before) {
        if let Some(known) = self.by_id.get(id).cloned() {
            self.insert(Known { before: Some(before), ..known });
        }
    }

    /// Whoever is known by this name, and has another one by now, goes by that since then.
    fn make_way(
        &mut self,
        name: &str,
        (by, since): (&ContainerId, Timestamp),
        moved: &mut Vec<ContainerId>,
    ) {
        let renamed = |known: &&Known| known.container.name != name;
        let known = self.by_known.get(name).into_iter().flatten();
        let known = known.filter_map(|id| self.by_id.get(id)).filter(renamed);
        for Known { container, known_as, .. } in known.cloned().collect::<Vec<_>>() {
            drop_from(&mut self.by_known, known_as.as_str(), &container.id);
            // Somebody else may be known by that one still.
            self.make_way(&container.name, (by, since), moved);
            moved.push(container.id.clone());
            self.know_as(&container.id, (by, since));
        }
    }

    /// A container is gone.
    pub fn remove(&mut self, id: &ContainerId) -> Option<Arc<Container>> {
        let Known { container, known_as, before, .. } = self.by_id.remove(id)?;
        drop_from(&mut self.by_name, container.name.as_str(), id);
        drop_from(&mut self.by_known, known_as.as_str(), id);
        if let Some(before) = before {
            drop_from(&mut self.moved_by, &before.by, id);
        }
        Some(container)
    }

    /// The container with this id.
    pub fn get(&self, id: &ContainerId) -> Option<&Container> {
        self.by_id.get(id).map(|known| known.container.as_ref())
    }

    /// What a container is known as.
    pub fn known_as(&self, id: &ContainerId) -> Option<&str> {
        self.by_id.get(id).map(|known| known.known_as.as_str())
    }

    /// What a container was known as then, as far back as its last change of that.
    pub fn known_as_at(&self, id: &ContainerId, at: Timestamp) -> Option<&str> {
        let before = self.before(id).filter(|before| at < before.until);
        before.map(|before| before.name.as_str()).or_else(|| self.known_as(id))
    }

    /// What a container was known as before.
    pub fn before(&self, id: &ContainerId) -> Option<&Before> {
        self.by_id.get(id)?.before.as_ref()
    }

    /// Of whom something is said: a container that is known here.
    pub fn who<'a>(&'a self, id: &'a ContainerId) -> Option<Who<'a>> {
        let before = self.before(id).map(|before| (before.name.as_str(), before.until));
        Some(Who { id, name: self.known_as(id)?, before })
    }

    /// The container that bears this name by Docker's last word.
    pub fn by_name(&self, name: &str) -> Option<&Container> {
        self.bearer(self.by_name.get(name)?)
    }

    /// The container that is known as this.
    pub fn by_known(&self, name: &str) -> Option<&Container> {
        self.bearer(self.by_known.get(name)?)
    }

    /// Whether another container than this is known by that name.
    pub fn has_another(&self, id: &ContainerId, name: &str) -> bool {
        self.by_known.get(name).is_some_and(|known| known.iter().any(|other| other != id))
    }

    fn bearer(&self, ids: &BTreeSet<ContainerId>) -> Option<&Container> {
        let bearers = ids.iter().filter_map(|id| self.get(id));
        bearers.max_by_key(|container| claim(container))
    }

    /// Every name that a container is known as.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_known.keys().map(String::as_str)
    }

    /// Every container, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Container> {
        self.shared().map(Arc::as_ref)
    }

    /// The same, for whoever keeps them.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.by_id.values().map(|known| &known.container)
    }

    /// Whether Docker tells now what becomes of them; else all of this is its last word.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Docker tells, or tells no longer.
    pub fn set_heard(&mut self, is_heard: bool) {
        self.is_heard = is_heard;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

fn drop_from<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(
    all: &mut BTreeMap<K, BTreeSet<ContainerId>>,
    key: &Q,
    id: &ContainerId,
) {
    if let Some(ids) = all.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            all.remove(key);
        }
    }
}

/// How good a container's claim to its name is; the greatest wins.
fn claim(container: &Container) -> (bool, Timestamp, &ContainerId) {
    let is_alive = container.status.is_alive() || container.status == Status::Restarting;
    (is_alive, container.created_at, &container.id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(99_000);

    fn id(digit: char) -> ContainerId {
        ContainerId::new(&digit.to_string().repeat(64)).expect("64 digits")
    }

    fn container(digit: char, name: &str, created_s: i64, status: Status) -> Container {
        let made = Container::new(id(digit), name, Timestamp(created_s * 1000));
        Container { status, ..made }
    }

    /// The digit of the bearer's id, `-` if nobody bears the name.
    fn bearer(inventory: &Inventory, name: &str) -> char {
        inventory.by_name(name).and_then(|c| c.id.as_str().chars().next()).unwrap_or('-')
    }

    fn known(inventory: &Inventory, digits: &str) -> Vec<String> {
        let names = digits.chars().map(|digit| inventory.known_as(&id(digit)).unwrap_or("-"));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn a_container_is_known_by_its_first_name_until_another_comes_under_it() {
        let mut inventory = Inventory::new();
        let mut put = |digit, name| {
            inventory.put(container(digit, name, 1, Status::Running), NOW);
            let bearer = inventory.by_known("web").map(|known| known.id.clone());
            (known(&inventory, "abc").join(" "), bearer)
        };
        assert_eq!(put('a', "web"), ("web - -".to_owned(), Some(id('a'))));
        assert_eq!(put('b', "api"), ("web api -".to_owned(), Some(id('a'))));
        // Names are swapped: nobody notices.
        put('a', "spare");
        put('b', "web");
        assert_eq!(put('a', "api"), ("web api -".to_owned(), Some(id('a'))));
        put('b', "old");
        // A new one comes: who was known by its name goes by its own, and so does who stood there.
        assert_eq!(put('c', "web"), ("api old web".to_owned(), Some(id('c'))));
        assert_eq!(inventory.names().collect::<Vec<_>>(), ["api", "old", "web"]);
        assert_eq!(bearer(&inventory, "web"), 'c');
        assert_eq!(inventory.remove(&id('c')).map(|c| c.name.clone()), Some("web".to_owned()));
        assert_eq!((inventory.by_known("web"), inventory.len()), (None, 2));
    }

    #[test]
    fn one_that_was_never_started_has_no_first_name_yet() {
        let mut inventory = Inventory::new();
        inventory.put(container('a', "web", 1, Status::Running), NOW);
        inventory.put(container('b', "a1b2_web", 5, Status::Created), NOW);
        inventory.remove(&id('a'));
        inventory.put(container('b', "web", 5, Status::Running), NOW);
        assert_eq!(known(&inventory, "b"), ["web"]);
        inventory.put(container('b', "other", 5, Status::Running), NOW);
        assert_eq!(known(&inventory, "b"), ["web"], "now it has");
        inventory.know_as_named(&id('b'), Timestamp(9000));
        assert_eq!(known(&inventory, "b"), ["other"]);
        let then = |inventory: &Inventory, at| {
            inventory.known_as_at(&id('b'), Timestamp(at)).unwrap_or_default().to_owned()
        };
        assert_eq!([8999, 9000].map(|at| then(&inventory, at)), ["web", "other"]);
        let changed = inventory.rebase(|at| *at = Timestamp(at.0 - 5000));
        assert_eq!((changed, then(&inventory, 4000).as_str()), (vec![id('b')], "other"));
    }

    #[test]
    fn one_made_anew_is_known_as_the_one_whose_removal_was_missed() {
        let mut inventory = Inventory::new();
        inventory.put(container('a', "web", 1, Status::Running), NOW);
        inventory.put(container('b', "web", 9, Status::Running), NOW);
        assert_eq!(known(&inventory, "ab"), ["web", "web"]);
        assert_eq!(bearer(&inventory, "web"), 'b', "the younger");
        inventory.remove(&id('b'));
        assert_eq!(bearer(&inventory, "web"), 'a', "the younger is gone");
        inventory.restore(container('a', "web", 1, Status::Running), "shop".to_owned(), None);
        assert_eq!(known(&inventory, "a"), ["shop"], "as the journal says");
    }

    #[test]
    fn the_living_bear_a_name_before_the_dead_and_the_young_before_the_old() {
        let mut inventory = Inventory::new();
        inventory.put(container('a', "web", 1, Status::Running), NOW);
        inventory.put(container('b', "web", 5, Status::Exited), NOW);
        assert_eq!(bearer(&inventory, "web"), 'a');
        inventory.put(container('a', "web", 1, Status::Exited), NOW);
        assert_eq!(bearer(&inventory, "web"), 'b');
        inventory.put(container('c', "web", 5, Status::Exited), NOW);
        assert_eq!(bearer(&inventory, "web"), 'c', "of one age: the greater id");
    }

    proptest! {
        /// Names swapped, reports in any order: who bears a name depends on what is, not on the way
        /// there.
        #[test]
        fn the_bearer_does_not_hang_on_the_order(
            reports in proptest::collection::vec((0..6_u8, 0..3_u8, 0..4_i64, any::<bool>()), 1..20),
        ) {
            let mut latest: BTreeMap<u8, Container> = BTreeMap::new();
            let mut one = Inventory::new();
            for (who, name, created, alive) in &reports {
                let digit = char::from(b'a' + who);
                let status = if *alive { Status::Running } else { Status::Exited };
                let report = container(digit, &format!("n{name}"), *created, status);
                latest.insert(*who, report.clone());
                one.put(report, NOW);
            }
            let mut other = Inventory::new();
            for report in latest.into_values().rev() {
                other.put(report, NOW);
            }
            for name in ["n0", "n1", "n2"] {
                prop_assert_eq!(bearer(&one, name), bearer(&other, name));
            }
            prop_assert_eq!(one.by_name, other.by_name);
        }
    }
}
