//! Every container of the host, by id and by name.
//!
//! Docker gives a name to one container at a time, but what reaches us is a report, late and with
//! gaps: for a moment two may bear one name (swapped names, a recreation whose removal was missed).
//! The bearer is then chosen by a fixed rule, so that the order of reports never shows: alive before
//! dead, then the younger, then the greater id.

use std::collections::{BTreeMap, BTreeSet};

use super::container::{Container, ContainerId, Status};
use crate::base::Timestamp;

/// What a report changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Novelty {
    /// Nothing.
    Nothing,
    /// A container not known before.
    Appeared {
        /// Which container bore its name before: it is a recreation.
        instead_of: Option<ContainerId>,
    },
    /// It has another name now.
    Renamed {
        /// The name it had.
        from: String,
    },
    /// Something else about it.
    Changed,
}

/// The containers of one host.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    by_id: BTreeMap<ContainerId, Container>,
    /// Everyone who says to bear a name, the chosen one computed on demand.
    by_name: BTreeMap<String, BTreeSet<ContainerId>>,
}

impl Inventory {
    /// An empty one.
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// Takes a container as it was inspected or listed.
    pub fn put(&mut self, container: Container) -> Novelty {
        let id = container.id.clone();
        let novelty = match self.by_id.get(&id) {
            Some(known) if *known == container => return Novelty::Nothing,
            Some(known) if known.name != container.name => {
                Novelty::Renamed { from: known.name.clone() }
            }
            Some(_) => Novelty::Changed,
            None => Novelty::Appeared {
                instead_of: self.by_name(&container.name).map(|bearer| bearer.id.clone()),
            },
        };
        self.take_name(&id);
        self.by_name.entry(container.name.clone()).or_default().insert(id.clone());
        self.by_id.insert(id, container);
        novelty
    }

    /// Takes a whole list: what is not on it is gone, and returned.
    pub fn replace(&mut self, containers: Vec<Container>) -> Vec<Container> {
        let listed: BTreeSet<ContainerId> = containers.iter().map(|c| c.id.clone()).collect();
        let gone: Vec<ContainerId> =
            self.by_id.keys().filter(|id| !listed.contains(id)).cloned().collect();
        let gone = gone.iter().filter_map(|id| self.remove(id)).collect();
        for container in containers {
            self.put(container);
        }
        gone
    }

    /// A container has got another name.
    pub fn rename(&mut self, id: &ContainerId, name: &str) -> Novelty {
        let Some(known) = self.by_id.get(id) else { return Novelty::Nothing };
        self.put(Container { name: name.to_owned(), ..known.clone() })
    }

    /// A container is gone.
    pub fn remove(&mut self, id: &ContainerId) -> Option<Container> {
        self.take_name(id);
        self.by_id.remove(id)
    }

    /// The container with this id.
    pub fn get(&self, id: &ContainerId) -> Option<&Container> {
        self.by_id.get(id)
    }

    /// Changes a container in place; its id and name stay.
    pub fn update(&mut self, id: &ContainerId, change: impl FnOnce(&mut Container)) -> Novelty {
        let Some(known) = self.by_id.get(id) else { return Novelty::Nothing };
        let mut changed = known.clone();
        change(&mut changed);
        changed.id = known.id.clone();
        changed.name.clone_from(&known.name);
        self.put(changed)
    }

    /// The container that bears this name.
    pub fn by_name(&self, name: &str) -> Option<&Container> {
        let bearers = self.by_name.get(name)?.iter().filter_map(|id| self.by_id.get(id));
        bearers.max_by_key(|container| claim(container))
    }

    /// Whether nobody has a better claim to this container's name.
    pub fn is_bearer(&self, container: &Container) -> bool {
        self.by_name(&container.name).is_some_and(|bearer| bearer.id == container.id)
    }

    /// Every container, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Container> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn take_name(&mut self, id: &ContainerId) {
        let Some(known) = self.by_id.get(id) else { return };
        if let Some(bearers) = self.by_name.get_mut(&known.name) {
            bearers.remove(id);
            if bearers.is_empty() {
                self.by_name.remove(&known.name);
            }
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

    #[test]
    fn a_recreation_a_rename_and_an_update_are_told_apart() {
        let mut inventory = Inventory::new();
        let first = container('a', "web", 1, Status::Running);
        assert_eq!(inventory.put(first.clone()), Novelty::Appeared { instead_of: None });
        assert_eq!(inventory.put(first.clone()), Novelty::Nothing);
        let limits = super::super::Limits { memory_bytes: Some(1 << 20), ..first.limits };
        assert_eq!(inventory.update(&id('a'), |c| c.limits = limits), Novelty::Changed);
        assert_eq!(inventory.rename(&id('a'), "old"), Novelty::Renamed { from: "web".to_owned() });
        assert_eq!((bearer(&inventory, "web"), bearer(&inventory, "old")), ('-', 'a'));
        inventory.rename(&id('a'), "web");
        let again = container('b', "web", 9, Status::Running);
        assert_eq!(inventory.put(again), Novelty::Appeared { instead_of: Some(id('a')) });
        assert_eq!(bearer(&inventory, "web"), 'b');
        assert!(!inventory.is_bearer(inventory.get(&id('a')).expect("still there")));
        assert_eq!(inventory.remove(&id('b')).map(|c| c.created_at), Some(Timestamp(9000)));
        assert_eq!(bearer(&inventory, "web"), 'a', "the younger is gone");
        assert_eq!(inventory.rename(&id('c'), "x"), Novelty::Nothing, "never heard of");
    }

    #[test]
    fn a_list_ends_what_is_not_on_it() {
        let mut inventory = Inventory::new();
        inventory.put(container('a', "web", 1, Status::Running));
        inventory.put(container('b', "db", 1, Status::Running));
        let gone = inventory.replace(vec![container('c', "web", 2, Status::Running)]);
        assert_eq!(gone.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["web", "db"]);
        assert_eq!((inventory.len(), bearer(&inventory, "web")), (1, 'c'));
    }

    #[test]
    fn the_living_bear_a_name_before_the_dead_and_the_young_before_the_old() {
        let mut inventory = Inventory::new();
        inventory.put(container('a', "web", 1, Status::Running));
        inventory.put(container('b', "web", 5, Status::Exited));
        assert_eq!(bearer(&inventory, "web"), 'a');
        inventory.update(&id('a'), |c| c.status = Status::Exited);
        assert_eq!(bearer(&inventory, "web"), 'b');
        inventory.put(container('c', "web", 5, Status::Exited));
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
                one.put(report);
            }
            let mut other = Inventory::new();
            for report in latest.into_values().rev() {
                other.put(report);
            }
            for name in ["n0", "n1", "n2"] {
                prop_assert_eq!(bearer(&one, name), bearer(&other, name));
            }
            prop_assert_eq!(one.by_name, other.by_name);
        }
    }
}
