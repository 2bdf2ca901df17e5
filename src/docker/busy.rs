//! Containers that Docker is busy with.
//!
//! The daemon locks a container while it starts or stops it, and says nothing of it until that is done: ten
//! seconds on a busy host, for ever where a volume or a network does not come. Of all the others it tells as
//! ever. So each is given a moment; of one that takes longer the list's word is taken, which needs no lock, and
//! it is asked about again aside. A daemon that does not say its version either hangs as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::client::{Client, Inspected};
use super::failure::Failure;
use crate::containers::ContainerId;

/// So many are asked about at a time: each question is a connection, and a task of the daemon's that waits.
const AT_ONCE: usize = 8;

/// How long an answer about one container is waited for, while everything that happened waits, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// For one.
    pub each: Duration,
    /// For all that are looked at together; then each has [`Moments::least`] alone.
    pub all: Duration,
    /// At least.
    pub least: Duration,
}

impl Moments {
    /// An answer took this long and did not come.
    pub fn wasted(&mut self, moment: Duration) {
        self.all = self.all.saturating_sub(moment);
    }

    /// How long the next is waited for.
    pub fn next(&self) -> Duration {
        self.each.min(self.all).max(self.least)
    }
}

/// Those that are asked about aside.
pub(super) struct Busy {
    asked: JoinSet<(ContainerId, Result<Inspected, Failure>)>,
    handles: BTreeMap<ContainerId, AbortHandle>,
    turns: Arc<Semaphore>,
}

impl Busy {
    /// Nobody.
    pub fn new() -> Busy {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Busy { asked: JoinSet::new(), handles: BTreeMap::new(), turns }
    }

    /// Whether this one is.
    pub fn has(&self, id: &ContainerId) -> bool {
        self.handles.contains_key(id)
    }

    /// Asks about one, after that long; what was asked of it before does not matter any more.
    pub fn ask(&mut self, client: &Arc<Client>, id: &ContainerId, after: Duration) {
        self.forget(id);
        let (client, turns, asked) = (Arc::clone(client), Arc::clone(&self.turns), id.clone());
        let handle = self.asked.spawn(async move {
            tokio::time::sleep(after).await;
            let _turn = turns.acquire().await;
            let answer = client.inspect(&asked, Duration::MAX).await;
            (asked, answer)
        });
        self.handles.insert(id.clone(), handle);
    }

    /// It is gone, or known by now.
    pub fn forget(&mut self, id: &ContainerId) {
        if let Some(handle) = self.handles.remove(id) {
            handle.abort();
        }
    }

    /// The next answer; none while nobody is asked about.
    pub async fn next(&mut self) -> (ContainerId, Result<Inspected, Failure>) {
        loop {
            match self.asked.join_next_with_id().await {
                Some(Ok((task, (id, answer)))) => {
                    if self.handles.get(&id).is_some_and(|handle| handle.id() == task) {
                        self.handles.remove(&id);
                        return (id, answer);
                    }
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
