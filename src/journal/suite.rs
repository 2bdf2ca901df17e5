//! One suite for every store, and the journal's handle over stores that fail on purpose.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::base::Batch;

const DISK: &[StoreKind] = &[
    StoreKind::Redb,
    #[cfg(feature = "sled")]
    StoreKind::Sled,
];

/// Long enough for a loaded machine; a test that waits it out has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn put(table: Table, key: &str, value: &str) -> Change {
    Change { table, key: key.to_owned(), value: Some(value.as_bytes().to_vec()) }
}

fn remove(table: Table, key: &str) -> Change {
    Change { table, key: key.to_owned(), value: None }
}

/// The rows as `table/key=value`, in the order they were read.
fn show(rows: &Rows) -> Vec<String> {
    let one = |table: Table, (key, value): &(String, Vec<u8>)| {
        format!("{}/{key}={}", table.name(), String::from_utf8_lossy(value))
    };
    rows.iter().flat_map(|(table, rows)| rows.iter().map(move |row| one(*table, row))).collect()
}

/// Opens what was closed a moment ago in this process: sled lets go of its files only once its threads have ended.
#[expect(clippy::disallowed_methods, reason = "nobody tells when sled has let go")]
fn open_again(kind: StoreKind, dir: &Path) -> Opened {
    for _ in 0..200 {
        match open(kind, dir) {
            Err(error) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result.expect("opens"),
        }
    }
    panic!("{}: nobody lets go of it", dir.display());
}

fn refusal(kind: StoreKind, dir: &Path) -> String {
    open(kind, dir).err().expect("the journal must be refused").to_string()
}

/// Opens a store, commits in between as asked, and reads.
fn check_store(mut reopen: impl FnMut(Option<Box<dyn Store>>) -> (Box<dyn Store>, Rows)) {
    let (mut store, rows) = reopen(None);
    assert_eq!(rows.iter().map(|(table, _)| *table).collect::<Vec<_>>(), Table::ALL);
    assert_eq!(show(&rows), [""; 0], "a new journal is empty");
    let long = "x".repeat(100_000);
    store
        .commit(&[
            put(Table::Outbox, "b", "2"),
            put(Table::Alerts, "b", "alert"),
            put(Table::Outbox, "a", "1"),
            put(Table::Guards, "", "the empty key"),
            put(Table::Dead, "한/\u{0}", &long),
            put(Table::Meta, "last", "7"),
        ])
        .expect("commits");
    store.commit(&[remove(Table::Outbox, "b"), remove(Table::Outbox, "never")]).expect("commits");
    store.commit(&[put(Table::Outbox, "a", "new"), put(Table::Outbox, "B", "")]).expect("commits");
    let want = [
        "meta/last=7".to_owned(),
        "alerts/b=alert".to_owned(),
        "guards/=the empty key".to_owned(),
        "outbox/B=".to_owned(),
        "outbox/a=new".to_owned(),
        format!("dead/한/\u{0}={long}"),
    ];
    let (_, rows) = reopen(Some(store));
    assert_eq!(show(&rows), want);
}

#[test]
fn every_store_keeps_what_was_committed() {
    check_store(|store| {
        let mut store = store.unwrap_or_else(|| Box::new(MemoryStore::default()));
        let rows = store.load().expect("loads");
        (store, rows)
    });
    for kind in DISK {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = dir.path().join("state/journal");
        check_store(|store| {
            drop(store);
            let opened = open_again(*kind, &journal);
            (opened.store, opened.rows)
        });
    }
}

#[test]
fn one_directory_serves_one_process() {
    for kind in DISK {
        let dir = tempfile::tempdir().expect("a directory");
        let first = open(*kind, dir.path()).expect("opens");
        let error = refusal(*kind, dir.path());
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        open_again(*kind, dir.path());
    }
}

#[test]
fn a_newer_schema_is_refused() {
    for kind in DISK {
        let dir = tempfile::tempdir().expect("a directory");
        let mut opened = open(*kind, dir.path()).expect("opens");
        opened.store.commit(&[put(Table::Meta, SCHEMA_KEY, "2")]).expect("commits");
        drop(opened);
        let error = refusal(*kind, dir.path());
        assert!(error.contains("schema 2, this plimsoll knows schema 1"), "{error}");
        assert!(error.contains("move the directory away") && error.contains("Lost by that"));
    }
}

#[test]
fn the_mark_refuses_other_stores_and_later_formats() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open(StoreKind::Redb, dir.path()).expect("opens"));
    let cases = [
        ("plimsoll journal 1 sled\n", "made by the store `sled`, not by `redb`"),
        ("plimsoll journal 2 redb\n", "has schema 2"),
        ("", "is damaged: FORMAT reads \"\""),
    ];
    let zeros = vec![0; 1 << 20];
    let bytes: [(&[u8], &str); 2] =
        [(b"plimsoll \xff\xfe", "is damaged: FORMAT reads"), (&zeros, "is damaged: FORMAT reads")];
    for (mark, want) in cases.map(|(mark, want)| (mark.as_bytes(), want)).into_iter().chain(bytes) {
        std::fs::write(dir.path().join("FORMAT"), mark).expect("writes");
        let error = refusal(StoreKind::Redb, dir.path());
        assert!(error.contains(want) && error.len() < 1500, "{error}");
    }
}

/// Whatever happens to the files, the journal is either what it was or refused with the way out.
#[test]
fn a_lost_or_emptied_store_is_refused_and_left_alone() {
    for (kind, file) in files() {
        for emptied in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            drop(made(kind, dir.path()));
            if emptied {
                std::fs::write(dir.path().join(file), b"").expect("empties");
            } else {
                std::fs::remove_file(dir.path().join(file)).expect("removes");
            }
            for attempt in 1..=2 {
                let error = refusal(kind, dir.path());
                assert!(error.contains("is damaged"), "{kind:?} attempt {attempt}: {error}");
                assert!(error.contains("move it away"), "{error}");
            }
        }
    }
}

#[test]
fn a_store_that_panics_on_its_files_is_damaged() {
    let dir = Path::new("/state/journal");
    let read = || -> Result<(), JournalError> { panic!("tried to serialize Uninitialized") };
    let error = panic_is_damage(dir, read).expect_err("refused").to_string();
    assert!(error.contains("/state/journal is damaged: the store panicked: tried to serialize"));
}

#[test]
fn truncated_and_flipped_bytes_never_give_wrong_or_missing_rows() {
    for (kind, file) in files() {
        let dir = tempfile::tempdir().expect("a directory");
        let want = made(kind, dir.path());
        let path = dir.path().join(file);
        let whole = std::fs::read(&path).expect("reads");
        let mut refused = 0;
        let mut check = |bytes: &[u8], what: &str| {
            std::fs::write(&path, bytes).expect("writes");
            match open(kind, dir.path()) {
                Ok(opened) => assert_eq!(show(&opened.rows), want, "{kind:?}: {what}"),
                Err(JournalError::Damaged { .. }) => refused += 1,
                Err(error) => panic!("{kind:?}: {what}: not told as damage: {error}"),
            }
        };
        check(&whole, "untouched");
        for part in [1, 2, 3, 7] {
            check(&whole[..whole.len() * part / 8], &format!("cut to {part}/8"));
        }
        // Every place where rows, roots and the header can stand, prime steps through the rest.
        let step = (whole.len() / 150) | 1;
        let places = (0..320).step_by(7).chain((0..whole.len()).step_by(step));
        for at in places.filter(|at| *at < whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            check(&bytes, &format!("byte {at} of {} flipped", whole.len()));
        }
        assert!(refused > 4, "{kind:?}: damage must have been noticed, {refused} times");
    }
}

/// A process that was killed leaves the file as its last commit left it. What was acknowledged in
/// that commit is there whichever page is damaged, or the journal is refused.
#[test]
fn damage_in_the_newest_commit_after_a_kill_is_no_older_journal() {
    const PAGE: usize = 4096;
    for commits in [1, 3, 13] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal.redb");
        let mut opened = open(StoreKind::Redb, dir.path()).expect("opens");
        for no in 0..commits {
            let row = put(Table::Outbox, &format!("{no:02}"), &"x".repeat(600));
            opened.store.commit(&[row, put(Table::Alerts, "a", "b")]).expect("commits");
        }
        let killed = std::fs::read(&path).expect("reads");
        drop(opened);
        let want = show(&open(StoreKind::Redb, dir.path()).expect("opens").rows);
        assert_eq!(want.len(), commits + 1);
        let mut refused = 0;
        for page in 0..killed.len() / PAGE {
            let mut bytes = killed.clone();
            bytes[page * PAGE..][..PAGE].iter_mut().for_each(|byte| *byte ^= 0xff);
            std::fs::write(&path, &bytes).expect("writes");
            match open(StoreKind::Redb, dir.path()) {
                Ok(opened) => assert_eq!(show(&opened.rows), want, "page {page}"),
                Err(JournalError::Damaged { .. }) => refused += 1,
                Err(error) => panic!("page {page}: not told as damage: {error}"),
            }
        }
        assert!(refused > 2, "damage must have been noticed, {refused} times");
    }
}

/// Each store's main file.
fn files() -> Vec<(StoreKind, &'static str)> {
    let file = |kind| match kind {
        StoreKind::Redb => "journal.redb",
        #[cfg(feature = "sled")]
        StoreKind::Sled => "db",
    };
    DISK.iter().map(|kind| (*kind, file(*kind))).collect()
}

/// A journal with some rows from several commits; returns what must be read back.
fn made(kind: StoreKind, dir: &Path) -> Vec<String> {
    let mut opened = open(kind, dir).expect("opens");
    for i in 0..5 {
        let changes: Vec<Change> = (0..20)
            .map(|j| put(Table::Outbox, &format!("{i}-{j:02}"), &"row ".repeat(20)))
            .collect();
        opened.store.commit(&changes).expect("commits");
    }
    drop(opened);
    show(&open_again(kind, dir).rows)
}

#[test]
fn unwritable_places_are_named() {
    for kind in DISK {
        let error = refusal(*kind, Path::new("/proc/plimsoll/journal"));
        assert!(error.contains("/proc/plimsoll"), "{error}");
    }
    let denied = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
    let text = JournalError::from_io(Path::new("/state"), denied).to_string();
    assert!(text.contains("cannot write the journal at /state") && text.contains("storage.path"));
    let full = std::io::Error::from_raw_os_error(28);
    let text = JournalError::from_io(Path::new("/state"), full).to_string();
    assert!(text.contains("no room for the journal at /state"), "{text}");
}

/// A store that does as it is told, one answer per commit, and shows what it was given.
struct Scripted {
    answers: Receiver<Result<(), JournalError>>,
    seen: Sender<Vec<Change>>,
    rows: MemoryStore,
}

impl Store for Scripted {
    fn load(&mut self) -> Result<Rows, JournalError> {
        self.rows.load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        self.seen.send(changes.to_vec()).expect("the test listens");
        self.answers.recv().expect("the test answers")?;
        self.rows.commit(changes)
    }
}

struct Bench {
    journal: Journal,
    answer: Sender<Result<(), JournalError>>,
    seen: Receiver<Vec<Change>>,
    notices: Receiver<Notice>,
}

fn bench() -> Bench {
    const RETRY_AFTER: &[Duration] = &[Duration::from_millis(1), Duration::from_millis(2)];
    let (answer, answers) = channel();
    let (seen_tx, seen) = channel();
    let (notice_tx, notices) = channel();
    let store = Scripted { answers, seen: seen_tx, rows: MemoryStore::default() };
    let pace = Pace { retry_after: RETRY_AFTER };
    let journal = Journal::start(Box::new(store), pace, move |notice| {
        let _ = notice_tx.send(notice);
    })
    .expect("starts");
    Bench { journal, answer, seen, notices }
}

impl Bench {
    /// Waits for the next attempt to write and returns it as `key=value`.
    fn attempt(&self) -> Vec<String> {
        let changes = self.seen.recv_timeout(PATIENCE).expect("an attempt to commit");
        let value = |change: &Change| {
            change.value.as_ref().map_or("-".into(), |v| String::from_utf8_lossy(v).into_owned())
        };
        changes.iter().map(|change| format!("{}={}", change.key, value(change))).collect()
    }

    fn notice(&self) -> String {
        match self.notices.recv_timeout(PATIENCE).expect("a notice") {
            Notice::Committed(receipt) => format!("committed {}", receipt.upto().0),
            Notice::Failed { error, retry_in } => format!("{retry_in:?}: {error}"),
        }
    }

    fn submit(&self, batch: u64, rows: &[(&str, &str)]) {
        let changes = rows.iter().map(|(key, value)| put(Table::Outbox, key, value)).collect();
        self.journal.submit(Batch(batch), changes);
    }
}

fn no_room() -> Result<(), JournalError> {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    Err(JournalError::Full { path: "/state".into(), source })
}

#[test]
fn what_waits_is_one_transaction_and_the_last_word_wins() {
    let bench = bench();
    bench.submit(1, &[("a", "1")]);
    assert_eq!(bench.attempt(), ["a=1"]);
    bench.submit(2, &[("a", "2"), ("b", "2")]);
    bench.journal.submit(Batch(3), vec![remove(Table::Outbox, "b")]);
    bench.submit(4, &[("c", "4")]);
    bench.answer.send(Ok(())).expect("sends");
    assert_eq!(bench.notice(), "committed 1", "later batches are not covered");
    assert_eq!(bench.attempt(), ["a=2", "b=-", "c=4"]);
    bench.answer.send(Ok(())).expect("sends");
    assert_eq!(bench.notice(), "committed 4");
    bench.submit(5, &[]);
    assert_eq!(bench.notice(), "committed 5", "an empty batch has its receipt, without a commit");
    assert!(bench.seen.try_recv().is_err());
}

#[test]
#[should_panic(expected = "batches are numbered upwards from 1")]
fn a_batch_out_of_order_is_a_broken_invariant() {
    let bench = bench();
    bench.submit(2, &[]);
    bench.submit(2, &[]);
}

#[test]
fn a_full_disk_is_told_and_outlived_in_order() {
    let bench = bench();
    bench.submit(1, &[("a", "1"), ("b", "1")]);
    assert_eq!(bench.attempt(), ["a=1", "b=1"]);
    bench.submit(2, &[("b", "2")]);
    bench.answer.send(no_room()).expect("sends");
    assert!(bench.notice().starts_with("1ms: no room for the journal at /state"));
    assert_eq!(bench.attempt(), ["a=1", "b=2"], "the newer row wins over the failed one");
    bench.answer.send(no_room()).expect("sends");
    assert!(bench.notice().starts_with("2ms:"), "the delay grows");
    bench.attempt();
    bench.answer.send(no_room()).expect("sends");
    assert!(bench.notice().starts_with("2ms:"), "up to the last one");
    bench.attempt();
    bench.answer.send(Ok(())).expect("sends");
    assert_eq!(bench.notice(), "committed 2", "no receipt before the disk took it");
}

#[test]
fn a_panicking_store_is_a_failing_disk() {
    struct Panics;
    impl Store for Panics {
        fn load(&mut self) -> Result<Rows, JournalError> {
            Ok(Vec::new())
        }
        fn commit(&mut self, _: &[Change]) -> Result<(), JournalError> {
            panic!("tried to serialize Uninitialized")
        }
    }
    let (tx, notices) = channel();
    let journal = Journal::start(Box::new(Panics), Pace::default(), move |notice| {
        let _ = tx.send(notice);
    });
    journal.as_ref().expect("starts").submit(Batch(1), vec![put(Table::Meta, "a", "")]);
    match notices.recv_timeout(PATIENCE).expect("a notice") {
        Notice::Failed { error, retry_in } => {
            assert!(error.to_string().contains("serialize Uninitialized"), "{error}");
            assert_eq!(retry_in, Duration::from_secs(1));
        }
        Notice::Committed(_) => panic!("nothing was committed"),
    }
}

#[test]
fn a_row_that_changes_often_is_held_once_and_none_is_dropped() {
    let bench = bench();
    bench.submit(1, &[("a", "1")]);
    bench.attempt();
    for batch in 2..500 {
        bench.submit(batch, &[("b", &batch.to_string()), ("c", "1")]);
    }
    bench.answer.send(Ok(())).expect("sends");
    assert_eq!(bench.notice(), "committed 1");
    assert_eq!(bench.attempt(), ["b=499", "c=1"]);
}

#[tokio::test]
async fn closing_saves_what_waits() {
    let bench = bench();
    bench.submit(1, &[("a", "1")]);
    bench.answer.send(no_room()).expect("sends");
    bench.answer.send(Ok(())).expect("sends");
    assert_eq!(bench.journal.close(PATIENCE).await, Ok(()));
    let last = bench.notices.iter().last();
    assert!(matches!(last, Some(Notice::Committed(r)) if r.upto() == Batch(1)), "{last:?}");
}

#[tokio::test]
async fn closing_ends_at_the_deadline() {
    let bench = bench();
    bench.submit(1, &[("a", "1"), ("b", "1")]);
    bench.attempt();
    let closing = bench.journal.close(Duration::from_millis(20));
    let closed = tokio::time::timeout(Duration::from_secs(10), closing).await;
    assert_eq!(closed.expect("a disk that hangs holds nobody up"), Err(Unsaved { rows: 2 }));
}

#[test]
fn a_killed_process_leaves_whole_batches() {
    for kind in DISK {
        let dir = tempfile::tempdir().expect("a directory");
        for life in 0..3_u64 {
            let (journal, receipts) = running(open_again(*kind, dir.path()).store);
            for batch in 1..=40 {
                let value = format!("{life} {batch}");
                let changes = ["x", "y"].map(|key| put(Table::Alerts, key, &value));
                journal.submit(Batch(batch), changes.to_vec());
            }
            let receipt = receipts.recv_timeout(PATIENCE).expect("a receipt");
            // Dropped with batches in the air; the thread ends by itself.
            drop(journal);
            let _ = receipts.iter().last();
            let rows: BTreeMap<String, Vec<u8>> = reopened(*kind, dir.path())
                .into_iter()
                .filter(|(table, _)| *table == Table::Alerts)
                .flat_map(|(_, rows)| rows)
                .collect();
            assert_eq!(rows["x"], rows["y"], "a batch is whole");
            let text = String::from_utf8_lossy(&rows["x"]).into_owned();
            let batch: u64 = text.split(' ').nth(1).expect("two words").parse().expect("a number");
            assert!(text.starts_with(&life.to_string()) && batch >= receipt, "{text}, {receipt}");
        }
    }
}

/// A running journal and the numbers of its receipts.
fn running(store: Box<dyn Store>) -> (Journal, Receiver<u64>) {
    let (tx, receipts) = channel();
    let journal = Journal::start(store, Pace::default(), move |notice| {
        if let Notice::Committed(receipt) = notice {
            let _ = tx.send(receipt.upto().0);
        }
    });
    (journal.expect("starts"), receipts)
}

fn reopened(kind: StoreKind, dir: &Path) -> Rows {
    open_again(kind, dir).rows
}
