//! The journal as the run loop holds it: hand over a batch, hear later that it is durable.
//!
//! The store runs on a thread of its own, because a sync of a bad disk can take minutes and nothing
//! but the edge lane may wait for it. What waits is merged row by row, the newest word on a row
//! winning, and committed as one transaction. So however long the disk is away, memory holds each
//! row once: as much as the engine's own durable state and no more, and nothing is ever dropped.
//! That is why it refuses nothing and has no bound of its own: what can grow, the deliveries that
//! wait for the disk, is bounded where it is made, by the outbox's cap and its `sidecar.gap`.
//!
//! It never reads a clock, never gives up on a batch while it runs, and never reorders.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::panic_text;
use super::{JournalError, Store};
use crate::base::{Batch, Change, RETRY_AFTER, Receipt, Table};

/// Delays.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Delay before each next attempt on a failing disk; the last one repeats.
    pub retry_after: &'static [Duration],
}

impl Default for Pace {
    /// As for every other retry to a peer that is down.
    fn default() -> Pace {
        Pace { retry_after: &RETRY_AFTER }
    }
}

/// While stopping, a failing disk is tried at this pace until the deadline.
const STOPPING_RETRY: Duration = Duration::from_millis(200);

/// What the journal says of its own accord, from its own thread.
#[derive(Debug)]
pub enum Notice {
    /// Everything up to the receipt's batch is durable. After a `Failed` this also says that the
    /// disk is back.
    Committed(Receipt),
    /// The disk does not take it. Nothing is lost; the next attempt comes by itself.
    Failed {
        /// What is wrong, ready to be shown.
        error: JournalError,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// What was not durable when the journal was closed.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("{rows} rows of the journal could not be written in time; the newest states are lost")]
pub struct Unsaved {
    /// Rows that wait.
    pub rows: usize,
}

/// A running journal. Dropping it makes one last attempt in the background and waits for nothing.
pub struct Journal {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

struct Shared {
    /// Never held during I/O or a notice.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Group,
    /// What the store is writing now; merged back if it fails.
    writing_rows: usize,
    /// The newest batch handed over.
    submitted: Batch,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Running,
    /// No more batches; retry quickly.
    Stopping,
    /// One last attempt.
    Abandoned,
}

/// Batches merged into one: the last word on every row.
#[derive(Default)]
struct Group {
    rows: BTreeMap<(Table, String), Option<Vec<u8>>>,
    /// The newest batch in it; zero if there is none.
    upto: Batch,
}

impl Group {
    fn absorb(&mut self, change: Change) {
        self.rows.insert((change.table, change.key), change.value);
    }

    fn is_empty(&self) -> bool {
        self.upto == Batch(0)
    }

    fn into_changes(self) -> Vec<Change> {
        self.rows.into_iter().map(|((table, key), value)| Change { table, key, value }).collect()
    }
}

impl Journal {
    /// Starts the thread. `notify` is called on it, in order of the batches, and should do no more
    /// than pass the notice on.
    pub fn start(
        store: Box<dyn Store>,
        pace: Pace,
        notify: impl FnMut(Notice) + Send + 'static,
    ) -> Result<Journal, JournalError> {
        assert!(!pace.retry_after.is_empty(), "a failing disk needs a delay");
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let (end, ended) = oneshot::channel();
        let mut worker = Worker { store, shared: Arc::clone(&shared), pace, notify };
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                worker.run();
                // The file is closed and its lock free before anyone hears of the end.
                drop(worker);
                let _ = end.send(());
            })
            .map_err(|error| JournalError::Failed {
                path: "journal".into(),
                why: format!("its thread did not start: {error}"),
            })?;
        Ok(Journal { shared, ended })
    }

    /// Hands over a batch: numbers go up. It never blocks on the disk and refuses nothing.
    pub fn submit(&self, batch: Batch, changes: Vec<Change>) {
        let mut queue = self.shared.lock();
        if batch <= queue.submitted {
            // Not under the lock: a poisoned queue would turn this panic into an abort.
            drop(queue);
            panic!("batches are numbered upwards from 1");
        }
        queue.submitted = batch;
        queue.waiting.upto = batch;
        for change in changes {
            queue.waiting.absorb(change);
        }
        self.shared.changed.notify_one();
    }

    /// Commits what waits and closes the store; after `deadline` it leaves what could not be saved.
    pub async fn close(mut self, deadline: Duration) -> Result<(), Unsaved> {
        self.shared.enter(Phase::Stopping);
        // The error of a dropped sender would mean that the thread died; what waits then tells.
        let _ = tokio::time::timeout(deadline, &mut self.ended).await;
        let queue = self.shared.lock();
        match queue.waiting.rows.len() + queue.writing_rows {
            0 => Ok(()),
            rows => Err(Unsaved { rows }),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.enter(Phase::Abandoned);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }

    fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
        self.changed.notify_one();
    }

    /// Waits for a batch and takes everything that waits; `None`: nothing waits and nothing comes.
    fn take(&self) -> Option<Group> {
        let mut queue = self
            .changed
            .wait_while(self.lock(), |queue| {
                queue.waiting.is_empty() && queue.phase == Phase::Running
            })
            .expect("nothing panics while it holds the queue");
        if queue.waiting.is_empty() {
            return None;
        }
        let group = std::mem::take(&mut queue.waiting);
        queue.writing_rows = group.rows.len();
        Some(group)
    }

    /// Waits out a delay, or until the journal leaves `phase`; says which phase it is in then.
    fn wait(&self, phase: Phase, delay: Duration) -> Phase {
        let (queue, _) = self
            .changed
            .wait_timeout_while(self.lock(), delay, |queue| queue.phase == phase)
            .expect("nothing panics while it holds the queue");
        queue.phase
    }

    /// After a commit: `failed` are the changes that were not written, older than all that waits.
    fn settle(&self, failed: Option<(Batch, Vec<Change>)>) {
        let mut queue = self.lock();
        queue.writing_rows = 0;
        let Some((upto, changes)) = failed else { return };
        let newer = std::mem::take(&mut queue.waiting);
        queue.waiting.upto = newer.upto.max(upto);
        for change in changes.into_iter().chain(newer.into_changes()) {
            queue.waiting.absorb(change);
        }
    }
}

/// The thread.
struct Worker<N> {
    store: Box<dyn Store>,
    shared: Arc<Shared>,
    pace: Pace,
    notify: N,
}

impl<N: FnMut(Notice)> Worker<N> {
    fn run(&mut self) {
        let mut failures = 0;
        while let Some(group) = self.shared.take() {
            let upto = group.upto;
            let changes = group.into_changes();
            match self.commit(&changes) {
                Ok(()) => {
                    failures = 0;
                    self.shared.settle(None);
                    (self.notify)(Notice::Committed(Receipt::of(upto)));
                }
                Err(error) => {
                    self.shared.settle(Some((upto, changes)));
                    let phase = self.shared.lock().phase;
                    let retry_in = self.delay(phase, failures);
                    failures += 1;
                    (self.notify)(Notice::Failed { error, retry_in });
                    if self.shared.wait(phase, retry_in) == Phase::Abandoned {
                        return;
                    }
                }
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        catch_unwind(AssertUnwindSafe(|| self.store.commit(changes))).unwrap_or_else(|panic| {
            Err(JournalError::Failed { path: "journal".into(), why: panic_text(&*panic) })
        })
    }

    fn delay(&self, phase: Phase, failures: usize) -> Duration {
        let last = self.pace.retry_after.len() - 1;
        match phase {
            Phase::Running => self.pace.retry_after[failures.min(last)],
            Phase::Stopping => STOPPING_RETRY,
            Phase::Abandoned => Duration::ZERO,
        }
    }
}
