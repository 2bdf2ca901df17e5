//! The recorder as the run loop holds it: hand a scrape over, wait for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::RecorderConfig;
use super::files::Folder;
use super::group::GroupWriter;
use crate::base::{HashMap, Labels, METRIC_NAME, Timestamp, format_value};
use crate::engine::RecorderState;
use crate::exposition::{Batch, Selection};

/// Scrapes of a target that are written together: what a crash costs.
const GROUP_SPAN: Duration = Duration::from_secs(300);
/// A group that grows larger in memory is written earlier.
const GROUP_BYTES: usize = 16 << 20;
/// Where all groups together grow larger than this, the largest is written.
const GROUPS_BYTES: usize = 4 * GROUP_BYTES;
/// What waits for the recorder at most.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 64 << 20;
/// What is wrong where that is not enough.
const NO_ROOM: &str = "the disk takes them more slowly than they come";

/// What is recorded.
pub enum Entry {
    /// A page as it was sent.
    Page {
        /// The labels of its target.
        target: Labels,
        /// When it was asked for.
        at: Timestamp,
        /// Its bytes.
        page: Vec<u8>,
        /// What of it anything can read.
        selection: Arc<Selection>,
    },
    /// What our own eyes saw, which never was a page.
    Batch {
        /// The labels of the collector.
        target: Labels,
        /// When it was asked for.
        at: Timestamp,
        /// The samples.
        batch: Batch,
    },
    /// A line of Docker's events.
    Docker {
        /// When it happened.
        at: Timestamp,
        /// It, without its end.
        line: String,
    },
}

enum Command {
    Record(Box<Entry>),
    Close(oneshot::Sender<()>),
}

/// A running recorder. Dropping it lets it write what it has in the background.
pub struct Recorder {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    config: RecorderConfig,
    turn: Turn,
}

/// Held by whoever writes into a folder: two would take each other's files for what a crash has left.
type Turn = Arc<Mutex<()>>;

struct Shared {
    waiting_bytes: AtomicUsize,
    has_failed: AtomicBool,
    /// Held for a moment, never while the disk is waited for.
    told: Mutex<Told>,
}

/// How it goes, and who hears of it.
struct Told {
    state: RecorderState,
    notify: Box<dyn FnMut(RecorderState) + Send>,
}

impl Shared {
    fn new(notify: impl FnMut(RecorderState) + Send + 'static) -> Shared {
        let told = Told { state: RecorderState::default(), notify: Box::new(notify) };
        Shared {
            waiting_bytes: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
            told: Mutex::new(told),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut RecorderState)) {
        let mut told = self.told();
        change(&mut told.state);
        let state = told.state.clone();
        (told.notify)(state);
    }
}

impl Recorder {
    /// Starts the thread, which looks at the folder once `before`, if that records into the same one, has
    /// written what it has. `notify` is called when that is done, or has failed, after each write, and
    /// where something finds no room, and should do no more than pass the state on.
    pub fn start(
        config: RecorderConfig,
        before: Option<&Recorder>,
        notify: impl FnMut(RecorderState) + Send + 'static,
    ) -> io::Result<Recorder> {
        let before = before.filter(|before| before.config.path == config.path);
        let turn = before.map_or_else(Turn::default, |before| Arc::clone(&before.turn));
        let (commands, inbox) = sync_channel(WAITING);
        let shared = Arc::new(Shared::new(notify));
        let recorder = Recorder { commands, shared: Arc::clone(&shared), config, turn };
        let (config, turn) = (recorder.config.clone(), Arc::clone(&recorder.turn));
        std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            begin(&config, shared, &inbox);
        })?;
        Ok(recorder)
    }

    /// Whether its folder could not be opened: it records nothing.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed.load(Ordering::Relaxed)
    }

    /// What it was started with.
    pub fn config(&self) -> &RecorderConfig {
        &self.config
    }

    /// Hands something over. It never waits: what finds no room is counted as lost. Returns whether it
    /// was taken.
    pub fn record(&self, entry: Entry) -> bool {
        let bytes = entry.bytes();
        let waiting = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting + bytes <= WAITING_BYTES;
        if !fits || self.commands.try_send(Command::Record(Box::new(entry))).is_err() {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            // Whoever writes may hang: nobody else would say so.
            self.shared.tell(|state| {
                state.lost += 1;
                if state.failing.is_none() {
                    tracing::warn!("recordings are lost: {NO_ROOM}");
                    state.failing = Some(NO_ROOM.to_owned());
                }
            });
            return false;
        }
        true
    }

    /// Tells nobody anything from now on: another one records, or none does.
    pub fn be_silent(&self) {
        self.shared.told().notify = Box::new(|_| ());
    }

    /// Writes what there is, and ends; waits no longer than that.
    pub async fn close(&self, within: Duration) {
        let (done, ended) = oneshot::channel();
        let asked = self.commands.try_send(Command::Close(done));
        if asked.is_err() || tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!("the newest recordings are lost: the disk takes none");
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Page { page, .. } => page.len(),
            Entry::Batch { batch, .. } => batch.points.len() * 32 + batch.new.len() * 256,
            Entry::Docker { line, .. } => line.len(),
        }
    }
}

/// Looks at the folder, which may take as long as its disk does, and records into it.
fn begin(config: &RecorderConfig, shared: Arc<Shared>, inbox: &Receiver<Command>) {
    match Folder::open(config.path.clone(), config.keep, config.max_bytes) {
        Ok((folder, unfinished)) => {
            for path in unfinished {
                let path = path.display();
                tracing::warn!(%path, "half a recording, left by a crash, is removed");
            }
            shared.tell(|state| state.bytes = folder.bytes());
            let worker = Worker {
                folder,
                shared,
                everything: config.all_families,
                groups: BTreeMap::new(),
                names: HashMap::default(),
                epoch: 0,
                docker: (None, Vec::new()),
                scrapes: 0,
                now: Timestamp(0),
                refused: BTreeSet::new(),
            };
            worker.run(inbox);
        }
        Err(error) => {
            tracing::warn!(%error, path = %config.path.display(), "nothing is recorded");
            shared.has_failed.store(true, Ordering::Relaxed);
            shared.tell(|state| (state.failures, state.failing) = (1, Some(error.to_string())));
        }
    }
}

struct Worker {
    folder: Folder,
    shared: Arc<Shared>,
    everything: bool,
    groups: BTreeMap<Labels, GroupWriter>,
    /// What the ids of a collector's batches mean, within one epoch.
    names: HashMap<u32, String>,
    epoch: u64,
    docker: (Option<Timestamp>, Vec<u8>),
    /// How many it has taken, and when the newest entry was handed over.
    scrapes: u64,
    now: Timestamp,
    /// Targets whose newest page was too much.
    refused: BTreeSet<Labels>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Command>) {
        while let Ok(command) = inbox.recv() {
            match command {
                Command::Record(entry) => {
                    let bytes = entry.bytes();
                    self.take(*entry);
                    self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                Command::Close(done) => {
                    self.write_all();
                    done.send(()).ok();
                    return;
                }
            }
        }
        self.write_all();
    }

    fn take(&mut self, entry: Entry) {
        // Docker may tell now what happened long ago.
        let now = match &entry {
            Entry::Docker { at, .. } => self.now.max(*at),
            Entry::Page { at, .. } | Entry::Batch { at, .. } => *at,
        };
        self.now = now;
        self.write_stale(now);
        self.write_docker_if(|began| apart(began, now) >= GROUP_SPAN);
        self.write_largest();
        match entry {
            Entry::Page { target, at, page, selection } => {
                let all = Selection::all();
                let selection = if self.everything { &all } else { &*selection };
                if self.group(&target, at).add_page(at, &page, selection) {
                    self.scrapes += 1;
                    self.refused.remove(&target);
                } else {
                    self.refuse(target);
                }
            }
            Entry::Batch { target, at, batch } => {
                self.take_batch(&target, at, &batch);
                self.scrapes += 1;
            }
            Entry::Docker { line, .. } => {
                let (began, lines) = &mut self.docker;
                began.get_or_insert(now);
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
                let is_full = lines.len() >= GROUP_BYTES;
                self.write_docker_if(|_| is_full);
            }
        }
    }

    /// A page was too much for a group: what the group has is written, which gives its memory back.
    fn refuse(&mut self, target: Labels) {
        self.shared.tell(|state| state.lost += 1);
        if let Some(mut group) = self.groups.remove(&target) {
            self.write(&target, &mut group);
        }
        if !self.refused.contains(&target) {
            tracing::warn!(%target, "its page has too much to say and is not recorded");
            self.refused.insert(target);
        }
    }

    fn take_batch(&mut self, target: &Labels, at: Timestamp, batch: &Batch) {
        if batch.epoch != self.epoch {
            self.names.clear();
            self.epoch = batch.epoch;
        }
        for (id, labels) in &batch.new {
            self.names.insert(*id, series_text(labels, target));
        }
        let names = std::mem::take(&mut self.names);
        let mut scrape = self.group(target, at).begin(at);
        for point in &batch.points {
            if let Some(series) = names.get(&point.id) {
                scrape.add(series, &format_value(point.value), point.at);
            }
        }
        self.names = names;
    }

    /// Writes what targets have left that are silent by now.
    fn write_stale(&mut self, now: Timestamp) {
        let is_stale = |group: &GroupWriter| {
            group.began().is_some_and(|began| apart(began, now) >= 2 * GROUP_SPAN)
        };
        let stale: Vec<Labels> =
            self.groups.iter().filter(|(_, g)| is_stale(g)).map(|(t, _)| t.clone()).collect();
        for target in stale {
            let Some(mut group) = self.groups.remove(&target) else { continue };
            self.write(&target, &mut group);
        }
    }

    /// Makes room in memory, where many targets have much to say.
    fn write_largest(&mut self) {
        let bytes: usize = self.groups.values().map(GroupWriter::bytes).sum();
        let largest = self.groups.iter().max_by_key(|(_, group)| group.bytes());
        let Some((target, _)) = largest.filter(|_| bytes >= GROUPS_BYTES) else { return };
        let target = target.clone();
        let Some(mut group) = self.groups.remove(&target) else { return };
        self.write(&target, &mut group);
    }

    /// The target's group that this scrape belongs to; the one before is written.
    fn group(&mut self, target: &Labels, at: Timestamp) -> &mut GroupWriter {
        let group = self.groups.entry(target.clone()).or_default();
        // A clock that steps back begins anew, too: times within a group only grow.
        let is_over = group.began().is_some_and(|began| at.since(began) >= GROUP_SPAN)
            || group.last().is_some_and(|last| at <= last)
            || group.bytes() >= GROUP_BYTES;
        if is_over {
            let mut full = std::mem::take(group);
            self.write(target, &mut full);
        }
        self.groups.entry(target.clone()).or_default()
    }

    fn write(&mut self, target: &Labels, group: &mut GroupWriter) {
        let Some(began) = group.began() else { return };
        let scrapes = group.len() as u64;
        let times = (began, self.now);
        let written = group.finish().and_then(|file| self.folder.write_group(target, times, &file));
        self.note(written, scrapes);
    }

    fn write_docker_if(&mut self, due: impl FnOnce(Timestamp) -> bool) {
        let Some(began) = self.docker.0.filter(|began| due(*began)) else { return };
        let lines = std::mem::take(&mut self.docker).1;
        let written = self.folder.write_docker((began, self.now), &lines);
        self.note(written, 0);
    }

    fn write_all(&mut self) {
        for (target, mut group) in std::mem::take(&mut self.groups) {
            self.write(&target, &mut group);
        }
        self.write_docker_if(|_| true);
    }

    fn note(&mut self, written: io::Result<()>, scrapes: u64) {
        let (bytes, taken) = (self.folder.bytes(), self.scrapes);
        self.shared.tell(|state| {
            (state.bytes, state.scrapes) = (bytes, taken);
            let before = state.failing.take();
            match written {
                Ok(()) => {
                    if before.is_some() {
                        tracing::info!("recordings can be written again");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    state.failures += 1;
                    state.lost += scrapes;
                    if before.as_ref() != Some(&error) {
                        tracing::warn!(
                            error,
                            "a recording cannot be written: its scrapes are lost"
                        );
                    }
                    state.failing = Some(error);
                }
            }
        });
    }
}

/// How far one time is from another; a clock that steps back is as far as one that leaps.
fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

/// A series as a page has it, without what its target's labels will add again.
fn series_text(labels: &Labels, target: &Labels) -> String {
    let own = labels
        .iter()
        .filter(|(name, value)| *name != METRIC_NAME && target.get(name) != Some(value));
    let quoted =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        own.map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
    format!("{}{{{}}}", labels.metric_name(), pairs.join(","))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::channel;

    use super::super::group::Group;
    use super::*;
    use crate::exposition::Point;

    fn config(path: &Path) -> RecorderConfig {
        let keep = Duration::from_secs(3600);
        RecorderConfig { path: path.to_owned(), keep, max_bytes: 1 << 20, all_families: false }
    }

    fn target() -> Labels {
        Labels::from_pairs([("job", "j"), ("instance", "i")])
    }

    fn groups(dir: &Path) -> Vec<Group> {
        let mut paths: Vec<_> = fs::read_dir(dir)
            .expect("listed")
            .flat_map(|folder| fs::read_dir(folder.expect("listed").path()).expect("listed"))
            .map(|file| file.expect("listed").path())
            .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".scrapes.gz")))
            .collect();
        paths.sort();
        let read = |path| Group::read(fs::File::open(path).expect("opens")).expect("whole");
        paths.iter().map(read).collect()
    }

    fn page(at: i64, text: &str) -> Entry {
        let selection = Arc::new(Selection::only(["a".to_owned()], Vec::new()));
        Entry::Page { target: target(), at: Timestamp(at), page: text.into(), selection }
    }

    #[tokio::test]
    async fn what_is_handed_over_is_in_files_of_some_minutes_each() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let notify = move |state| tell.send(state).expect("the test listens");
        let recorder = Recorder::start(config(dir.path()), None, notify).expect("starts");
        for second in (0..610).step_by(10) {
            recorder.record(page(second * 1000, &format!("a {second}\nb 1\n")));
        }
        // The clock steps back, and not so far that what was recorded would be of another time.
        recorder.record(page(400_000, "a 7\n"));
        recorder.close(Duration::from_secs(20)).await;
        let found = groups(dir.path());
        let counts: Vec<usize> = found.iter().map(|group| group.times().len()).collect();
        assert_eq!(counts, [30, 30, 1, 1]);
        assert_eq!(found[0].page(29), b"a 290\n", "only what anything reads");
        assert_eq!(found[2].page(0), b"a 7\n");
        let last = told.try_iter().last().expect("it was told");
        assert_eq!((last.scrapes, last.lost, last.failing), (62, 0, None));
    }

    #[tokio::test]
    async fn our_own_eyes_are_recorded_as_a_page_that_was_never_sent() {
        let dir = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::start(config(dir.path()), None, |_| ()).expect("starts");
        let labels = |name: &str| {
            let own = [(METRIC_NAME, "m"), ("name", name), ("job", "j"), ("instance", "i")];
            Labels::from_pairs(own)
        };
        let point = |id, value| Point { id, value, at: Some(Timestamp(900)) };
        let first = Batch {
            epoch: 1,
            new: vec![(0, labels("x\"\\y")), (1, labels("z"))],
            points: vec![point(0, 1.5), point(1, 2.0)],
            ..Batch::default()
        };
        let second = Batch { epoch: 1, points: vec![point(1, 3.0)], ..Batch::default() };
        for (at, batch) in [(1000, first), (2000, second)] {
            recorder.record(Entry::Batch { target: target(), at: Timestamp(at), batch });
        }
        recorder.close(Duration::from_secs(20)).await;
        let found = groups(dir.path());
        let text = |index| String::from_utf8(found[0].page(index)).expect("text");
        assert!(text(0).contains("m{name=\"x\\\"\\\\y\"} 1.5 900\n"), "{}", text(0));
        assert!(text(0).contains("m{name=\"z\"} 2 900\n"), "{}", text(0));
        assert_eq!(text(1), "m{name=\"z\"} 3 900\n");
    }

    #[tokio::test]
    async fn a_folder_that_takes_nothing_is_told_once_and_counted_and_forgotten() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let notify = move |state: RecorderState| drop(tell.send(state));
        let recorder = Recorder::start(config(dir.path()), None, notify).expect("starts");
        let begun = told.recv_timeout(Duration::from_secs(20)).expect("it was told");
        assert_eq!(begun, RecorderState::default());
        // A file stands where the target's folder would: the disk, in effect, takes nothing.
        fs::remove_dir_all(dir.path()).expect("removed");
        fs::write(dir.path(), b"in the way").expect("written");
        recorder.record(page(0, "a 1\n"));
        recorder.record(page(400_000, "a 1\n"));
        let failed = told.recv_timeout(Duration::from_secs(20)).expect("it was told");
        assert_eq!((failed.failures, failed.lost), (1, 1));
        assert!(failed.failing.is_some());
        fs::remove_file(dir.path()).expect("removed");
        recorder.close(Duration::from_secs(20)).await;
        let well = told.recv_timeout(Duration::from_secs(20)).expect("it was told");
        assert_eq!((well.failing, well.failures), (None, 1));
        assert_eq!(groups(dir.path()).len(), 1);
    }

    #[tokio::test]
    async fn the_next_one_looks_at_the_folder_once_this_one_has_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let begun = move |state: RecorderState| drop(tell.send(state));
        let first = Recorder::start(config(dir.path()), None, begun).expect("starts");
        told.recv_timeout(Duration::from_secs(20)).expect("it has begun");
        let (tell, told) = channel();
        let path = dir.path().to_owned();
        let notify = move |_| tell.send(groups(&path).len()).unwrap_or_default();
        let shorter = RecorderConfig { keep: Duration::from_secs(600), ..config(dir.path()) };
        let second = Recorder::start(shorter, Some(&first), notify).expect("starts");
        first.record(page(0, "a 1\n"));
        second.record(page(400_000, "a 1\n"));
        drop(first);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(1), "the first one's is there");
        second.close(Duration::from_secs(20)).await;
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(2));
        assert!(!second.has_failed());
    }

    #[tokio::test]
    async fn many_large_targets_together_are_written_before_their_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let notify = move |state: RecorderState| tell.send(state).unwrap_or_default();
        let recorder = Recorder::start(config(dir.path()), None, notify).expect("starts");
        let long = "x".repeat(GROUP_BYTES * 9 / 10);
        let large = |target: i64| Entry::Page {
            target: Labels::from_pairs([("job", "j"), ("instance", &target.to_string())]),
            at: Timestamp(target),
            page: format!("a{{x=\"{long}\"}} 1\n").into(),
            selection: Arc::new(Selection::only(["a".to_owned()], Vec::new())),
        };
        for target in 0..6 {
            // What waits is bounded, too.
            while !recorder.record(large(target)) {}
        }
        let mut bytes = 0;
        while bytes == 0 {
            bytes = told.recv_timeout(Duration::from_secs(60)).expect("one is written").bytes;
        }
        recorder.close(Duration::from_secs(60)).await;
        assert_eq!(groups(dir.path()).iter().filter(|g| g.page(0).len() > 1000).count(), 6);
    }

    #[tokio::test]
    async fn a_storm_of_events_is_written_before_its_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let bounds = RecorderConfig { max_bytes: 1 << 30, ..config(dir.path()) };
        let recorder = Recorder::start(bounds, None, |_| ()).expect("starts");
        let line = "x".repeat(GROUP_BYTES / 4);
        for at in 0..6 {
            recorder.record(Entry::Docker { at: Timestamp(at), line: line.clone() });
        }
        recorder.close(Duration::from_secs(60)).await;
        let bytes = |name: &str| fs::metadata(dir.path().join(name)).map(|about| about.len()).ok();
        let whole = 4 * (line.len() as u64 + 1);
        assert_eq!(bytes("docker-events.0.jsonl"), Some(whole), "in one second");
        assert_eq!(bytes("docker-events.4.jsonl"), Some(whole / 2));
    }

    #[tokio::test]
    async fn what_docker_told_is_written_in_time_though_it_tells_nothing_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let path = dir.path().to_owned();
        let there = move |at: i64| path.join(format!("docker-events.{at}.jsonl")).exists();
        let notify = move |_| tell.send((there(1000), there(900_000))).unwrap_or_default();
        let recorder = Recorder::start(config(dir.path()), None, notify).expect("starts");
        recorder.record(Entry::Docker { at: Timestamp(1000), line: "{}".to_owned() });
        recorder.record(page(300_000, "a 1\n"));
        recorder.record(page(302_000, "a 1\n"));
        let begun = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(begun, Ok((false, false)));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok((true, false)));
        // The clock steps back.
        recorder.record(Entry::Docker { at: Timestamp(900_000), line: "{}".to_owned() });
        recorder.record(page(303_000, "a 1\n"));
        let mut last = (false, false);
        while let Ok(news) = told.recv_timeout(Duration::from_secs(20)) {
            last = news;
            if last.1 {
                break;
            }
        }
        assert_eq!(last, (true, true));
        recorder.close(Duration::from_secs(20)).await;
    }

    #[tokio::test]
    async fn a_page_that_is_too_much_is_lost_and_counted_and_the_next_is_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        let (tell, told) = channel();
        let notify = move |state: RecorderState| drop(tell.send(state));
        let everything = RecorderConfig { all_families: true, ..config(dir.path()) };
        let recorder = Recorder::start(everything, None, notify).expect("starts");
        let much: String = (0..300_000).map(|n| format!("x{n} 1\n")).collect();
        for (at, text) in [(0, "a 1\n"), (5000, &*much), (10_000, "a 2\n")] {
            recorder.record(page(at, text));
        }
        recorder.close(Duration::from_secs(60)).await;
        let last = told.try_iter().last().expect("it was told");
        assert_eq!((last.scrapes, last.lost, last.failing), (2, 1, None));
        let found = groups(dir.path());
        assert_eq!(found.iter().map(|group| group.times().len()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("file"), "").expect("written");
        let (tell, told) = channel();
        let notify = move |state: RecorderState| drop(tell.send(state));
        let below = config(&dir.path().join("file/recordings"));
        let recorder = Recorder::start(below, None, notify).expect("it starts all the same");
        let failed = told.recv_timeout(Duration::from_secs(20)).expect("it was told");
        assert!(failed.failing.is_some() && failed.failures == 1, "{failed:?}");
        assert!(recorder.has_failed());
        // The thread is gone, or about to be: at the latest then it takes nothing.
        while recorder.record(page(0, "a 1\n")) {}
    }

    #[test]
    fn what_finds_no_room_is_lost_and_counted_and_nobody_waits() {
        let (commands, inbox) = sync_channel(1);
        let (tell, told) = channel();
        let shared = Arc::new(Shared::new(move |state| drop(tell.send(state))));
        let config = config(Path::new("x"));
        let turn = Turn::default();
        let recorder = Recorder { commands, shared: Arc::clone(&shared), config, turn };
        for _ in 0..3 {
            recorder.record(page(0, "a 1\n"));
        }
        let last =
            told.try_iter().last().expect("nobody waits for a disk that hangs to be told of");
        assert_eq!((last.lost, last.failing.as_deref()), (2, Some(NO_ROOM)));
        drop(inbox.recv());
        recorder.record(page(0, &"a".repeat(WAITING_BYTES)));
        assert_eq!(told.try_iter().last().map(|last| last.lost), Some(3), "too large together");
        recorder.be_silent();
        recorder.record(page(0, &"a".repeat(WAITING_BYTES)));
        assert!(told.try_recv().is_err(), "another one records by now");
    }
}
