//! Containers that run, as Docker says, and have no cgroup where this collector looks: what it sees
//! of the host is not all of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{HashSet, Timestamp};
use crate::containers::{Container, ContainerId, Inventory};

/// Since when each container that should have a cgroup has had none.
#[derive(Debug)]
pub(super) struct Unseen {
    /// None before Docker was heard the first time.
    since: Option<BTreeMap<ContainerId, Timestamp>>,
    grace: Duration,
    /// The last look.
    at: Timestamp,
}

impl Unseen {
    /// Whoever lacks a cgroup for `grace` is unseen: long enough for the whole tree to be walked, and
    /// for a Docker that hangs, and so tells of no end, to be noticed.
    pub fn new(grace: Duration) -> Unseen {
        Unseen { since: None, grace, at: Timestamp(0) }
    }

    /// Compares who runs with who is `seen`. Whoever lacks a cgroup when Docker is heard for the first
    /// time is unseen at once: an alert of before our start may be about it. While Docker is not heard
    /// nobody becomes unseen, and who is remains so.
    pub fn look<'a>(
        &mut self,
        at: Timestamp,
        inventory: Option<&Inventory>,
        seen: impl Iterator<Item = &'a ContainerId>,
    ) {
        self.at = at;
        let seen: HashSet<&ContainerId> = seen.collect();
        let Some(inventory) = inventory.filter(|inventory| inventory.is_heard()) else {
            let grace = self.grace;
            let stays =
                |id: &ContainerId, since: Timestamp| !seen.contains(id) && at.since(since) >= grace;
            self.since.iter_mut().for_each(|known| known.retain(|id, since| stays(id, *since)));
            return;
        };
        let lacks = |c: &&Container| c.status.is_alive() && !seen.contains(&c.id);
        let before = self.since.take();
        let new = if before.is_some() { at } else { Timestamp(i64::MIN) };
        let since = |id: &ContainerId| {
            // After a step back of the clock the wait begins anew.
            before.as_ref().and_then(|before| before.get(id)).map_or(new, |since| at.min(*since))
        };
        let lacking = inventory.iter().filter(lacks);
        self.since = Some(lacking.map(|c| (c.id.clone(), since(&c.id))).collect());
    }

    /// Those who lack a cgroup and are not unseen yet.
    pub fn lacking(&self) -> impl Iterator<Item = &ContainerId> {
        let is_new = |since: &Timestamp| self.at.since(*since) < self.grace;
        self.since.iter().flatten().filter(move |(_, since)| is_new(since)).map(|(id, _)| id)
    }

    /// Those who are unseen.
    pub fn iter(&self) -> impl Iterator<Item = &ContainerId> {
        let is_unseen = |since: &Timestamp| self.at.since(*since) >= self.grace;
        self.since.iter().flatten().filter(move |(_, since)| is_unseen(since)).map(|(id, _)| id)
    }
}
