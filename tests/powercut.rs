//! Power cuts, simulated: no acknowledged batch may be missing after one. And a disk that is full
//! for a while: the journal says so and goes on by itself.
//!
//! A child process writes to a journal on an ext4 file system in a loop device. At a random moment
//! it is stopped, the image behind the device is copied and the copy mounted: that is what a disk
//! holds when the power goes (a disk without a volatile cache; with one, real loss can be worse).
//! The journal is opened from the copy and compared with what the child had acknowledged. A crash
//! of the process alone would show nothing, since the page cache survives it.
//!
//! It needs root, so plain `cargo test` leaves it out, and it has a `main` of its own, because
//! the same binary is the child: `cargo test --features sled --test powercut -- <cuts>`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the test drives mount and a child process, chooses real moments and has its own main"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use plimsoll::base::{Batch, Change, Table};
use plimsoll::journal::{self, Journal, Notice, Pace, Rows, StoreKind};

/// Cuts per store and pace unless the command line says otherwise.
const CUTS: u32 = 6;
/// An outbox row lives for this many batches.
const LIFETIME: u64 = 50;
/// Every tenth batch rewrites this many rows, all with one value.
const SNAPSHOT_ROWS: u64 = 200;

const KINDS: &[StoreKind] = &[
    StoreKind::Redb,
    #[cfg(feature = "sled")]
    StoreKind::Sled,
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["write", kind, dir, pause_millis] => {
            write(kind_of(kind), Path::new(dir), pause_millis.parse().expect("milliseconds"));
        }
        [cuts] => cut_all(cuts.parse().expect("how many cuts")),
        _ => cut_all(CUTS),
    }
}

fn kind_of(name: &str) -> StoreKind {
    *KINDS.iter().find(|kind| kind.name() == name).expect("a store of this build")
}

/// The child: writes batch after batch and prints each number once its receipt is there.
fn write(kind: StoreKind, dir: &Path, pause_millis: u64) {
    let opened = journal::open(kind, dir).expect("opens");
    let (tx, receipts) = channel();
    let journal = Journal::start(opened.store, Pace::default(), move |notice| match notice {
        Notice::Committed(receipt) => tx.send(receipt.upto().0).expect("the writer listens"),
        Notice::Failed { error, .. } => panic!("{error}"),
    })
    .expect("starts");
    let mut out = std::io::stdout().lock();
    for batch in 1.. {
        journal.submit(Batch(batch), changes(batch));
        // Up to three batches wait together, so that grouped commits are cut as well.
        if batch % 3 != 0 {
            continue;
        }
        while receipts.recv().expect("a receipt") < batch {}
        writeln!(out, "{batch}").and_then(|()| out.flush()).expect("the parent reads");
        std::thread::sleep(Duration::from_millis(pause_millis));
    }
}

fn changes(batch: u64) -> Vec<Change> {
    let put = |table, key: String, value: String| Change { table, key, value: Some(value.into()) };
    let body = format!("{batch} {}", "x".repeat(500));
    let mut changes = vec![put(Table::Outbox, key(batch), body)];
    if batch > LIFETIME {
        let key = key(batch - LIFETIME);
        changes.push(Change { table: Table::Outbox, key, value: None });
    }
    if batch.is_multiple_of(10) {
        let row = |i| put(Table::Alerts, key(i), batch.to_string());
        changes.extend((0..SNAPSHOT_ROWS).map(row));
    }
    changes
}

fn key(number: u64) -> String {
    format!("{number:010}")
}

fn cut_all(cuts: u32) {
    full_disk(StoreKind::Redb);
    println!("redb: a full disk is told and outlived");
    for kind in KINDS {
        // At full speed, and slowly enough that nothing else makes the file system write.
        for pause_millis in [0, 30] {
            let mut acknowledged = 0;
            for number in 0..cuts {
                acknowledged += cut(*kind, pause_millis, number);
            }
            println!(
                "{}, pause {pause_millis} ms: {cuts} cuts, {acknowledged} batches acknowledged, 0 lost",
                kind.name()
            );
        }
    }
}

/// Fills the disk under a running journal, then makes room again. Not for sled, which needs a
/// restart after a failed write.
fn full_disk(kind: StoreKind) {
    let work = tempfile::tempdir().expect("a directory");
    let image = work.path().join("image");
    run("truncate", &["-s", "16M", text(&image)]);
    run("mkfs.ext4", &["-q", text(&image)]);
    let disk = Mount::new(&image, work.path().join("disk"));
    let dir = disk.0.join("journal");
    let (tx, notices) = channel();
    let opened = journal::open(kind, &dir).expect("opens");
    const RETRY_AFTER: &[Duration] = &[Duration::from_millis(100)];
    let pace = Pace { retry_after: RETRY_AFTER };
    let journal = Journal::start(opened.store, pace, move |notice| {
        let _ = tx.send(notice);
    })
    .expect("starts");
    let filler = disk.0.join("filler");
    // `dd` ends with an error: that is how it finds the end of the disk.
    let _ = Command::new("dd")
        .args(["if=/dev/zero", &format!("of={}", text(&filler)), "bs=4k", "status=none"])
        .stderr(Stdio::null())
        .status()
        .expect("dd runs");
    let body = vec![b'x'; 2 << 20];
    let row = Change { table: Table::Outbox, key: "row".to_owned(), value: Some(body.clone()) };
    journal.submit(Batch(1), vec![row]);
    for _ in 0..3 {
        match notices.recv().expect("a notice") {
            Notice::Failed { error, .. } => {
                assert!(error.to_string().contains("no room for the journal"), "{error}");
            }
            Notice::Committed(_) => panic!("there is no room to commit in"),
        }
    }
    std::fs::remove_file(&filler).expect("makes room");
    while !matches!(notices.recv().expect("a notice"), Notice::Committed(_)) {}
    drop(journal);
    // The callback goes when the thread has closed the store.
    assert_eq!(notices.iter().count(), 0);
    let rows = journal::open(kind, &dir).expect("opens again").rows;
    assert!(rows.contains(&(Table::Outbox, vec![("row".to_owned(), body)])), "the row is there");
}

/// One cut; returns how many batches had been acknowledged. Panics if one is missing.
fn cut(kind: StoreKind, pause_millis: u64, number: u32) -> u64 {
    let work = tempfile::tempdir().expect("a directory");
    let image = work.path().join("image");
    run("truncate", &["-s", "96M", text(&image)]);
    run("mkfs.ext4", &["-q", text(&image)]);
    let disk = Mount::new(&image, work.path().join("disk"));
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["write", kind.name(), text(&disk.0.join("journal")), &pause_millis.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let mut writer = Writer(child);
    let acks = read_acks(writer.0.stdout.take().expect("a pipe"));
    let first = acks.recv().expect("the writer acknowledges");
    std::thread::sleep(moment(number));
    run("kill", &["-STOP", &writer.0.id().to_string()]);
    // What the child had written to the pipe counts: a reader would have acted on it.
    let mut acknowledged = first;
    while let Ok(batch) = acks.recv_timeout(Duration::from_millis(50)) {
        acknowledged = batch;
    }
    let copy = work.path().join("copy");
    run("cp", &["--sparse=always", text(&image), text(&copy)]);
    drop(writer);
    drop(disk);
    let disk = Mount::new(&copy, work.path().join("after"));
    let opened = journal::open(kind, &disk.0.join("journal"))
        .unwrap_or_else(|error| panic!("after a power cut: {error}"));
    check(&opened.rows, acknowledged);
    acknowledged
}

/// Between 0.1 and 2.5 s, different for each cut and each run.
fn moment(number: u32) -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let noise = u64::from(since.expect("after 1970").subsec_micros());
    Duration::from_millis(100 + (noise + u64::from(number) * 397) % 2400)
}

fn check(rows: &Rows, acknowledged: u64) {
    let table = |wanted| -> BTreeMap<&str, String> {
        let of = rows.iter().filter(|(table, _)| *table == wanted).flat_map(|(_, rows)| rows);
        of.map(|(k, v)| (k.as_str(), String::from_utf8_lossy(v).into_owned())).collect()
    };
    let outbox = table(Table::Outbox);
    // What was written without being acknowledged yet may be there, in whole batches.
    let newest: u64 = outbox.keys().next_back().expect("rows").parse().expect("a number");
    assert!(newest >= acknowledged, "lost: {acknowledged} acknowledged, {newest} is the newest");
    let want: Vec<String> =
        (newest.saturating_sub(LIFETIME - 1).max(1)..=newest).map(key).collect();
    assert_eq!(outbox.keys().copied().collect::<Vec<_>>(), want, "rows lost or come back");
    for (key, body) in &outbox {
        let number: u64 = key.parse().expect("a number");
        assert!(body.starts_with(&format!("{number} ")) && body.len() > 500, "{key}: {body}");
    }
    let snapshot = table(Table::Alerts);
    let last = (newest / 10 * 10).to_string();
    if newest >= 10 {
        assert_eq!(snapshot.len() as u64, SNAPSHOT_ROWS, "a snapshot is whole");
    }
    assert!(snapshot.values().all(|value| *value == last), "a snapshot is of one batch");
}

fn read_acks(pipe: ChildStdout) -> Receiver<u64> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let line = line.expect("reads");
            let _ = tx.send(line.parse().expect("a number"));
        }
    });
    rx
}

/// The child; killed when dropped.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("it is there");
        self.0.wait().expect("it ends");
    }
}

/// A mounted image; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Mount {
        std::fs::create_dir(&at).expect("a mount point");
        run("mount", &["-o", "loop", text(image), text(&at)]);
        Mount(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[text(&self.0)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {args:?}: {status}");
}
