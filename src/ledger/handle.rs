//! The audit as the run loop holds it: hand records over, hear later how far they are.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::files::Store;
use crate::audit::{Kind, Record, State};
use crate::base::{RETRY_AFTER, Timestamp};

/// Records that wait for the disk at most: some hours of a bad host, a few megabytes.
pub const QUEUE_MAX: usize = 4096;
/// Records that are written at once.
const GROUP_MAX: usize = 256;

/// A running audit. Dropping it makes one last attempt in the background and waits for nothing.
pub struct Ledger {
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
    waiting: VecDeque<Record>,
    /// Records for which there was no room since the last `audit.gap`, and the time of the newest.
    lost: u64,
    lost_at: Option<Timestamp>,
    is_stopping: bool,
}

impl Ledger {
    /// Starts the thread. `notify` is called on it after each write, and should do no more than pass
    /// the state on.
    pub fn start(store: Store, notify: impl FnMut(State) + Send + 'static) -> io::Result<Ledger> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let (end, ended) = oneshot::channel();
        let mut worker = Worker { store, shared: Arc::clone(&shared), lost: 0, notify };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            worker.run();
            drop(worker);
            let _ = end.send(());
        })?;
        Ok(Ledger { shared, ended })
    }

    /// Hands records over, in their order. It never blocks on the disk.
    pub fn submit(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let mut queue = self.shared.lock();
        for record in records {
            // Once something is lost, what comes later must not stand before the gap.
            if queue.lost > 0 || queue.waiting.len() >= QUEUE_MAX {
                queue.lost += 1;
                queue.lost_at = Some(record.at);
            } else {
                queue.waiting.push_back(record);
            }
        }
        self.shared.changed.notify_one();
    }

    /// Writes what waits; after `deadline` it leaves what could not be written. Says how many those are.
    pub async fn close(mut self, deadline: Duration) -> usize {
        self.shared.stop();
        let _ = tokio::time::timeout(deadline, &mut self.ended).await;
        self.shared.lock().waiting.len()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }

    fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_one();
    }

    /// Waits for records and copies the first of them; `None`: none wait and none will come.
    fn next(&self) -> Option<Vec<Record>> {
        let queue = self
            .changed
            .wait_while(self.lock(), |queue| queue.waiting.is_empty() && !queue.is_stopping)
            .expect("nothing panics while it holds the queue");
        let group: Vec<Record> = queue.waiting.iter().take(GROUP_MAX).cloned().collect();
        (!group.is_empty()).then_some(group)
    }

    /// Takes what was written off the queue, and makes a gap a record once there is room for it.
    /// Says how many were lost before it.
    fn settle(&self, written: usize) -> u64 {
        let mut queue = self.lock();
        queue.waiting.drain(..written);
        let Some(at) = queue.lost_at.take_if(|_| written > 0) else { return 0 };
        let lost = std::mem::take(&mut queue.lost);
        let reason = "the disk took no records for too long".to_owned();
        let gap = Record::new(at, Kind::AuditGap);
        queue.waiting.push_back(Record { count: Some(lost), reason: Some(reason), ..gap });
        lost
    }

    /// Waits out a delay, or until the ledger stops; says whether it does.
    fn wait(&self, delay: Duration) -> bool {
        let (queue, _) = self
            .changed
            .wait_timeout_while(self.lock(), delay, |queue| !queue.is_stopping)
            .expect("nothing panics while it holds the queue");
        queue.is_stopping
    }
}

/// The thread.
struct Worker<N> {
    store: Store,
    shared: Arc<Shared>,
    lost: u64,
    notify: N,
}

impl<N: FnMut(State)> Worker<N> {
    fn run(&mut self) {
        self.tell(None);
        let mut failures = 0;
        while let Some(group) = self.shared.next() {
            match self.store.append(&group) {
                Ok(()) => {
                    failures = 0;
                    self.lost += self.shared.settle(group.len());
                    self.tell(None);
                }
                Err(error) => {
                    self.tell(Some(error.to_string()));
                    let delay = RETRY_AFTER[failures.min(RETRY_AFTER.len() - 1)];
                    failures += 1;
                    // A stop gets one more attempt, and no more.
                    let stopping = self.shared.wait(delay);
                    if stopping && self.store.append(&group).is_err() {
                        return;
                    }
                    if stopping {
                        self.shared.settle(group.len());
                    }
                }
            }
        }
    }

    fn tell(&mut self, failing: Option<String>) {
        let chain = self.store.chain();
        let (sequence, head) = (chain.sequence, chain.head.clone());
        (self.notify)(State { sequence, head, lost: self.lost, failing });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::audit::{Check, GENESIS};
    use crate::ledger::{LedgerConfig, list};

    fn records(numbers: impl Iterator<Item = u64>) -> Vec<Record> {
        let record = |n: u64| Record {
            count: Some(n),
            ..Record::new(Timestamp(n as i64), Kind::SidecarStarted)
        };
        numbers.map(record).collect()
    }

    fn start(dir: &Path) -> (Ledger, mpsc::Receiver<State>) {
        let config = LedgerConfig { dir: dir.to_owned(), file_bytes: 1 << 20, files: 3 };
        let (store, _) = Store::open(config).expect("opens");
        let (tell, told) = mpsc::channel();
        let notify = move |state| tell.send(state).unwrap_or_default();
        (Ledger::start(store, notify).expect("starts"), told)
    }

    /// Waits for the state that is wanted.
    fn hear(told: &mpsc::Receiver<State>, wanted: impl Fn(&State) -> bool) -> State {
        let within = Duration::from_secs(60);
        loop {
            let state = told.recv_timeout(within).expect("it says so in a minute");
            if wanted(&state) {
                return state;
            }
        }
    }

    /// What the files say, by the counts in them; every line must hold.
    fn said(dir: &Path) -> Vec<(Kind, u64)> {
        let mut check = Check::default();
        let texts = list(dir).expect("listed").into_iter().map(fs::read_to_string);
        let text: String = texts.map(|text| text.expect("text")).collect();
        let record = |line: &str| check.take(line.as_bytes()).expect("a chain").record;
        let pair = |record: Record| (record.kind, record.count.unwrap_or_default());
        text.lines().map(record).map(pair).collect()
    }

    #[tokio::test]
    async fn what_is_handed_over_is_written_in_order_and_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ledger, told) = start(dir.path());
        assert_eq!(hear(&told, |_| true).head, GENESIS);
        ledger.submit(Vec::new());
        ledger.submit(records(1..=300));
        let state = hear(&told, |state| state.sequence == 300);
        assert_eq!((state.lost, state.failing), (0, None));
        ledger.submit(records(301..=302));
        assert_eq!(ledger.close(Duration::from_secs(60)).await, 0);
        let said = said(dir.path());
        assert!(said.iter().map(|(_, n)| *n).eq(1..=302), "{said:?}");
    }

    /// A device on which every write fails as on a full disk.
    #[tokio::test]
    async fn a_full_disk_holds_records_then_counts_them_and_the_chain_stays_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit-00000000000000000001.jsonl");
        symlink("/dev/full", &path).expect("linked");
        let (ledger, told) = start(dir.path());
        ledger.submit(records(1..=1));
        let state = hear(&told, |state| state.failing.is_some());
        assert!(state.failing.is_some_and(|why| why.contains("No space left")), "{:?}", state.head);
        ledger.submit(records(2..=QUEUE_MAX as u64 + 7));
        fs::remove_file(&path).expect("there is room again");
        let state = hear(&told, |state| state.sequence > QUEUE_MAX as u64);
        assert_eq!((state.failing, state.lost), (None, 7));
        ledger.submit(records(9999..=9999));
        assert_eq!(ledger.close(Duration::from_secs(60)).await, 0);
        let said = said(dir.path());
        let (kept, rest) = said.split_at(QUEUE_MAX);
        assert!(kept.iter().map(|(_, n)| *n).eq(1..=QUEUE_MAX as u64));
        assert_eq!(rest, [(Kind::AuditGap, 7), (Kind::SidecarStarted, 9999)]);
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_a_full_disk() {
        let dir = tempfile::tempdir().expect("a folder");
        symlink("/dev/full", dir.path().join("audit-00000000000000000001.jsonl")).expect("linked");
        let (ledger, told) = start(dir.path());
        ledger.submit(records(1..=3));
        hear(&told, |state| state.failing.is_some());
        assert_eq!(ledger.close(Duration::from_secs(60)).await, 3, "it says what is lost");
    }
}
