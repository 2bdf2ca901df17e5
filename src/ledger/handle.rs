//! The audit as the run loop holds it: hand records over, hear later how far they are.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::files::Store;
use crate::audit::{Chain, Kind, Record, State};
use crate::base::{RETRY_AFTER, Timestamp};

/// Records that wait for the disk at most: some hours of a bad host.
pub const QUEUE_MAX: usize = 4096;
/// Bytes of the records that wait. As many records as may wait have half of it, as they are on most hosts.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Records that are written at once.
const GROUP_MAX: usize = 256;
/// A state that nobody took is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// So long a thread that has nothing to do sleeps.
const IDLE: Duration = Duration::from_secs(3600);

/// Takes a state, and says whether it did.
type Notify = dyn Fn(State) -> bool + Send + Sync;

/// A running audit. Dropping it makes one last attempt in the background and waits for nothing.
pub struct Ledger {
    shared: Arc<Shared>,
    notify: Arc<Notify>,
    ended: oneshot::Receiver<()>,
}

struct Shared {
    /// Held during a notice, which waits for nothing, so that they come in order; never during I/O.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Record>,
    /// Of what waits.
    bytes: usize,
    /// Records for which there was no room since the last `audit.gap`, and the time of the newest.
    lost: u64,
    lost_at: Option<Timestamp>,
    /// How the last write went.
    state: State,
    is_stopping: bool,
}

/// What a stop leaves unwritten.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unwritten {
    /// How many records of each kind waited.
    pub kinds: BTreeMap<Kind, u64>,
    /// When the first and the last of them happened.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Records for which there had been no room.
    pub given_up: u64,
    /// Why; `None`: there was no time.
    pub failing: Option<String>,
}

impl Unwritten {
    /// How many records these are.
    pub fn records(&self) -> u64 {
        self.kinds.values().sum::<u64>() + self.given_up
    }
}

impl Ledger {
    /// Starts the thread. `notify` is called on it after each write, and by whoever submits more than
    /// fits; it should do no more than pass the state on. It says whether anybody took it: if not, the
    /// same is told again.
    pub fn start(
        store: Store,
        notify: impl Fn(State) -> bool + Send + Sync + 'static,
    ) -> io::Result<Ledger> {
        let notify: Arc<Notify> = Arc::new(notify);
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let (end, ended) = oneshot::channel();
        let (lost, is_told) = (0, true);
        let (for_worker, shared_too) = (Arc::clone(&notify), Arc::clone(&shared));
        let mut worker = Worker { store, shared: shared_too, lost, is_told, notify: for_worker };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            worker.run();
            drop(worker);
            let _ = end.send(());
        })?;
        Ok(Ledger { shared, notify, ended })
    }

    /// Hands records over, in their order. It never blocks on the disk.
    pub fn submit(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let mut queue = self.shared.lock();
        let lost_before = queue.lost;
        for record in records {
            let record = record.bounded();
            // Once something is lost, what comes later must not stand before the gap.
            if queue.lost > 0 || !queue.has_room(&record) {
                queue.lost += 1;
                queue.lost_at = Some(record.at);
            } else {
                queue.push(record);
            }
        }
        self.shared.changed.notify_one();
        // A disk that hangs keeps the thread from telling of it. Each time it is twice as many is enough.
        if queue.lost.checked_ilog2() > lost_before.checked_ilog2() {
            let mut state = queue.state();
            state.failing.get_or_insert_with(|| "the disk takes nothing".to_owned());
            (self.notify)(state);
        }
    }

    /// Writes what waits; after `deadline` it leaves what could not be written, and says what that is.
    pub async fn close(mut self, deadline: Duration) -> Unwritten {
        self.shared.stop();
        let _ = tokio::time::timeout(deadline, &mut self.ended).await;
        self.shared.lock().unwritten()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Queue {
    fn has_room(&self, record: &Record) -> bool {
        self.waiting.len() < QUEUE_MAX && self.bytes + record.bytes() <= QUEUE_BYTES_MAX
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.waiting.push_back(record);
    }

    fn unwritten(&self) -> Unwritten {
        let mut kinds = BTreeMap::new();
        self.waiting.iter().for_each(|record| *kinds.entry(record.kind).or_default() += 1);
        let ends = self.waiting.front().zip(self.waiting.back());
        let span = ends.map(|(first, last)| (first.at, self.lost_at.unwrap_or(last.at)));
        Unwritten { kinds, span, given_up: self.lost, failing: self.state.failing.clone() }
    }

    /// How it fares now.
    fn state(&self) -> State {
        let (waiting, given_up) = (self.waiting.len() as u64, self.lost);
        State { waiting, given_up, ..self.state.clone() }
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

    /// Waits for records and copies the first of them; no records: none came in this time; `None`: none
    /// wait and none will come.
    fn next(&self, patience: Duration) -> Option<Vec<Record>> {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.is_stopping;
        let (queue, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, is_idle)
            .expect("nothing panics while it holds the queue");
        let group: Vec<Record> = queue.waiting.iter().take(GROUP_MAX).cloned().collect();
        (!group.is_empty() || !queue.is_stopping).then_some(group)
    }

    /// Takes what was written off the queue, and makes a gap a record. Says how many were lost before it.
    fn settle(&self, written: usize) -> u64 {
        let mut queue = self.lock();
        queue.bytes -= queue.waiting.drain(..written).map(|record| record.bytes()).sum::<usize>();
        let lost = std::mem::take(&mut queue.lost);
        if let Some(at) = queue.lost_at.take() {
            let reason = "the disk took no records for too long".to_owned();
            let gap = Record::new(at, Kind::AuditGap);
            queue.push(Record { count: Some(lost), reason: Some(reason), ..gap });
        }
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
struct Worker {
    store: Store,
    shared: Arc<Shared>,
    /// Records that were given up before this outage.
    lost: u64,
    /// Whether anybody took what was told last.
    is_told: bool,
    notify: Arc<Notify>,
}

impl Worker {
    fn run(&mut self) {
        self.tell(None);
        let mut failures = 0;
        while let Some(group) = self.shared.next(if self.is_told { IDLE } else { TELL_AGAIN }) {
            if group.is_empty() {
                let queue = self.shared.lock();
                self.is_told = self.is_told || (self.notify)(queue.state());
                continue;
            }
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
                        self.lost += self.shared.settle(group.len());
                        self.tell(None);
                    }
                }
            }
        }
    }

    fn tell(&mut self, failing: Option<String>) {
        let Chain { sequence, head } = self.store.chain().clone();
        let mut queue = self.shared.lock();
        queue.state = State { sequence, head, failing, lost: self.lost, ..State::default() };
        self.is_told = (self.notify)(queue.state());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};
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
        let notify = move |state| tell.send(state).is_ok();
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
        assert_eq!(ledger.close(Duration::from_secs(60)).await, Unwritten::default());
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
        assert_eq!(ledger.close(Duration::from_secs(60)).await, Unwritten::default());
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
        let unwritten = ledger.close(Duration::from_secs(60)).await;
        assert_eq!(unwritten.kinds, [(Kind::SidecarStarted, 3)].into(), "it says what is lost");
        assert_eq!((unwritten.given_up, unwritten.records()), (0, 3));
        assert_eq!(unwritten.span, Some((Timestamp(1), Timestamp(3))));
        let why = unwritten.failing.expect("it says why");
        assert!(why.contains("No space left"), "{why}");
    }

    /// Whatever one record holds: a day of a full disk takes no more than this.
    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_what_is_given_up_is_told_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit-00000000000000000001.jsonl");
        symlink("/dev/full", &path).expect("linked");
        let (ledger, told) = start(dir.path());
        let large = Record {
            evidence: Some(vec!["x".repeat(500); 15].into()),
            reason: Some("y".repeat(10_000)),
            ..Record::new(Timestamp(7), Kind::ActionHeld)
        };
        ledger.submit(vec![large.clone(); 3000]);
        let state = hear(&told, |state| state.given_up > 0 && state.failing.is_some());
        assert_eq!((state.waiting + state.given_up, state.lost), (3000, 0));
        assert!(state.waiting > 100 && state.waiting as usize * 8000 <= QUEUE_BYTES_MAX);
        fs::remove_file(&path).expect("there is room again");
        let back = hear(&told, |after| after.sequence > state.waiting);
        assert_eq!((back.failing, back.lost, back.given_up), (None, state.given_up, 0));
        ledger.submit(vec![large]);
        assert_eq!(ledger.close(Duration::from_secs(60)).await, Unwritten::default());
        let said = said(dir.path());
        let gap = (Kind::AuditGap, state.given_up);
        assert!(said.ends_with(&[gap, (Kind::ActionHeld, 0)]), "{:?}", said.last_chunk::<3>());
    }

    /// Else what fails would be shown as failing until the next record, which may be hours away.
    #[tokio::test]
    async fn a_state_that_nobody_could_take_is_told_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let store =
            Store::open(LedgerConfig { dir: dir.path().to_owned(), file_bytes: 1 << 20, files: 3 });
        let (tell, told) = mpsc::channel();
        let times = AtomicU32::new(0);
        let notify = move |state: State| {
            let is_busy = state.sequence > 0 && times.fetch_add(1, Ordering::Relaxed) < 2;
            !is_busy && tell.send(state).is_ok()
        };
        let ledger = Ledger::start(store.expect("opens").0, notify).expect("starts");
        ledger.submit(records(1..=1));
        assert_eq!(hear(&told, |state| state.sequence > 0).sequence, 1);
        assert_eq!(ledger.close(Duration::from_secs(60)).await, Unwritten::default());
    }

    /// The thread is stuck in a write, as on a network disk that went away.
    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the standard library makes no pipe with a name")]
    async fn what_is_given_up_to_a_disk_that_hangs_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit-00000000000000000001.jsonl");
        let (ledger, told) = start(dir.path());
        // Whoever opens a pipe that nobody reads from waits.
        let made = Command::new("mkfifo").arg(&path).status().expect("it runs");
        assert!(made.success());
        ledger.submit(records(1..=QUEUE_MAX as u64));
        ledger.submit(records(1..=1));
        let state = hear(&told, |state| state.failing.is_some());
        assert_eq!((state.waiting, state.given_up), (QUEUE_MAX as u64, 1));
        assert_eq!(state.failing.as_deref(), Some("the disk takes nothing"));
        ledger.submit(records(1..=6));
        assert_eq!(hear(&told, |state| state.given_up > 1).given_up, 7);
        let unwritten = ledger.close(Duration::from_millis(10)).await;
        assert_eq!(unwritten.records(), QUEUE_MAX as u64 + 7);
        // The thread may go now.
        drop(fs::OpenOptions::new().read(true).write(true).open(&path));
    }
}
