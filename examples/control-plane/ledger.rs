//! What was taken, done and told: one JSON object a line, appended and synced before anything follows
//! from it, never changed, and kept for some days. In a database: a table of webhooks by `webhook-id`,
//! one of actions with `dedup_key` unique, and a transaction where here is a line.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use plimsoll::base::{Timestamp, format_rfc3339, parse_rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a webhook is remembered. plimsoll asks for four days; an action is remembered so long after
/// it expired, and its receipt is tried so long. No signature is believed for more than five minutes, so
/// a stranger can repeat neither.
pub const KEPT: Duration = Duration::from_secs(8 * 86_400);

/// Why something is not done that plimsoll does not want any more.
pub const TAKEN_BACK: &str = "it was taken back";

/// Something to be done to a container.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The same for one episode, whoever asks and however often.
    pub dedup_key: String,
    /// Docker's id: names are given again, ids are not.
    pub container: String,
    /// When it was decided: what started later is not what was meant.
    pub asked_at: Timestamp,
    /// Not to be done after this.
    pub expires_at: Timestamp,
}

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The container was restarted.
    Succeeded,
    /// Docker tried, and it did not work.
    Failed,
    /// Nothing was done.
    Declined,
    /// Docker was asked, and nobody will ever know; so plimsoll, which was told `accepted`, hears no more.
    Unknown,
}

/// How a task ended, and why.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// For people.
    pub reason: String,
}

impl Done {
    /// Both together.
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Done {
        Done { outcome, reason: reason.into() }
    }
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// A webhook was believed and answered; the event is kept whole.
    Taken {
        id: String,
        event: Value,
        answer: Value,
        task: Option<Task>,
        /// The `dedup_key` of what plimsoll took back.
        #[serde(default)]
        cancels: Option<String>,
    },
    /// Docker is about to be asked; until then the container ran since `ran_since`.
    Started { id: String, ran_since: Timestamp },
    /// Docker was not asked after all.
    Spared { id: String },
    /// What became of it.
    Done {
        id: String,
        #[serde(flatten)]
        done: Done,
    },
    /// plimsoll has the receipt; without a status it did not take it for so long that it was given up.
    Told { id: String, status: Option<u16> },
    /// The plimsoll of that host, which is `id`, has not been heard of since.
    Silent { id: String, since: Timestamp },
    /// It is heard of again.
    Heard { id: String },
}

impl Entry {
    fn id(&self) -> &str {
        match self {
            Entry::Taken { id, .. } | Entry::Started { id, .. } => id,
            Entry::Spared { id } | Entry::Done { id, .. } | Entry::Told { id, .. } => id,
            Entry::Silent { id, .. } | Entry::Heard { id } => id,
        }
    }
}

/// That Docker was asked, or is about to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Started {
    /// When.
    pub at: Timestamp,
    /// Since when the container ran then: if that has changed, it was restarted.
    pub ran_since: Timestamp,
}

/// That a task has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// When that was written down.
    pub at: Timestamp,
    /// What became of it.
    pub done: Done,
}

/// How far a task has come.
#[derive(Clone, PartialEq, Debug)]
pub struct Open {
    /// The task.
    pub task: Task,
    /// Whether Docker may have been asked already.
    pub started: Option<Started>,
    /// What became of it, once that is known.
    pub ended: Option<Ended>,
}

/// The file, and what follows from it.
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Of its whole lines.
    length: u64,
    known: Known,
    /// Of a file beside it, since the ledger itself is replaced; held until the process ends.
    _lock: File,
}

/// What follows from the lines.
#[derive(Default)]
struct Known {
    answers: HashMap<String, Value>,
    dedup_keys: HashSet<String>,
    open: BTreeMap<String, Open>,
    /// When the last restart of a container ended, well or not.
    restarts: HashMap<String, Timestamp>,
    /// When the last sign of life of each host came.
    heard: BTreeMap<String, Timestamp>,
    /// Hosts whose silence was told.
    silent: BTreeSet<String>,
}

impl Ledger {
    /// Reads the file, or begins it. A last line that a crash cut short was never acted upon, so it
    /// goes; any other line that does not read, or another process with this ledger, stops the start.
    pub fn open(path: &Path) -> anyhow::Result<Ledger> {
        // By whatever name it is called, it is one file and has one lock.
        file(path)?;
        let path = path.canonicalize()?;
        let lock = lock(&path)?;
        let file = file(&path)?;
        let mut known = Known::default();
        let length = read(&path, |_, at, entry| known.learn(at, entry))?;
        file.set_len(length)?;
        sync_folder(&path)?;
        Ok(Ledger { path, file, length, known, _lock: lock })
    }

    /// Writes a line; done once the disk has it.
    pub fn append(&mut self, at: Timestamp, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_value(entry)?;
        line["at"] = format_rfc3339(at).into();
        let line = format!("{line}\n");
        // A full disk takes half lines. Nobody acts on what was not written, so nothing of it may stay.
        self.file.set_len(self.length)?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.length).ok();
            return Err(error.into());
        }
        self.length += line.len() as u64;
        self.known.learn(at, entry);
        Ok(())
    }

    /// Leaves out the beginning that is old and over; what follows from a line stays with it. Copy the
    /// file elsewhere first if it has to prove more than that.
    pub fn prune(&mut self, now: Timestamp) -> anyhow::Result<()> {
        // What was refused may still stand behind the end.
        self.file.set_len(self.length)?;
        let oldest = now - KEPT;
        let (mut over, mut known) = (0, None::<Known>);
        read(&self.path, |bytes, at, entry| {
            let is_over = at < oldest && !self.known.needs(entry, oldest);
            if is_over && known.is_none() {
                over += bytes;
            } else {
                known.get_or_insert_default().learn(at, entry);
            }
        })?;
        if over == 0 {
            return Ok(());
        }
        let new = beside(&self.path, ".new");
        // On a full disk, half of it would be in the way of what is to be written next.
        self.file = self.replace(&new, over).inspect_err(|_| drop(std::fs::remove_file(&new)))?;
        self.length -= over;
        self.known = known.unwrap_or_default();
        sync_folder(&self.path)
    }

    /// What stands behind so many bytes becomes the ledger, for the same readers.
    fn replace(&self, new: &Path, over: u64) -> anyhow::Result<File> {
        let mut file = file(new)?;
        file.set_len(0)?;
        file.set_permissions(self.file.metadata()?.permissions())?;
        let mut old = File::open(&self.path)?;
        old.seek(SeekFrom::Start(over))?;
        std::io::copy(&mut old, &mut file)?;
        file.sync_all()?;
        std::fs::rename(new, &self.path)?;
        Ok(file)
    }

    /// What was answered to a webhook when it came first.
    pub fn answer(&self, id: &str) -> Option<&Value> {
        self.known.answers.get(id)
    }

    /// Whether this was asked before or taken back, under whatever id.
    pub fn knows(&self, dedup_key: &str) -> bool {
        self.known.dedup_keys.contains(dedup_key)
    }

    /// Whether Docker is at a restart of the container of a task, or one has ended since that task was
    /// decided: its look at the container may be older. So by two tasks one container is restarted once.
    pub fn is_busy(&self, Task { container, asked_at, .. }: &Task) -> bool {
        let is_at_it = |open: &Open| open.started.is_some() && open.ended.is_none();
        self.known.restarts.get(container).is_some_and(|ended_at| ended_at >= asked_at)
            || self.known.open.values().any(|o| o.task.container == *container && is_at_it(o))
    }

    /// What there is to tell of hosts: who has given no sign of life for so long, and who does again.
    /// `since`: this program has listened for no longer, so before it nobody was silent.
    pub fn signs(&self, now: Timestamp, since: Timestamp, patience: Duration) -> Vec<Entry> {
        let Known { heard, silent, .. } = &self.known;
        let sign = |(host, at): (&String, &Timestamp)| {
            let is_late = now.since((*at).max(since)) >= patience;
            let id = host.clone();
            match (is_late, silent.contains(host)) {
                (true, false) => Some(Entry::Silent { id, since: *at }),
                (false, true) if *at >= since => Some(Entry::Heard { id }),
                _ => None,
            }
        };
        heard.iter().filter_map(sign).collect()
    }

    /// A task that is not over.
    pub fn task(&self, id: &str) -> Option<Open> {
        self.known.open.get(id).cloned()
    }

    /// Every task that is not over.
    pub fn open_tasks(&self) -> Vec<String> {
        self.known.open.keys().cloned().collect()
    }
}

impl Known {
    fn learn(&mut self, at: Timestamp, entry: &Entry) {
        if let Entry::Taken { id, event, answer, task, cancels } = entry {
            if event["type"] == "sidecar.heartbeat" {
                let host = event["data"]["host"].as_str().unwrap_or("plimsoll");
                self.heard.insert(host.to_owned(), at);
            }
            self.answers.insert(id.clone(), answer.clone());
            if let Some(key) = cancels {
                self.cancel(at, key);
            }
            let Some(task) = task.clone() else { return };
            self.dedup_keys.insert(task.dedup_key.clone());
            self.open.insert(id.clone(), Open { task, started: None, ended: None });
            return;
        }
        match entry {
            Entry::Silent { id, .. } => drop(self.silent.insert(id.clone())),
            Entry::Heard { id } => drop(self.silent.remove(id)),
            _ => {}
        }
        let Some(open) = self.open.get_mut(entry.id()) else { return };
        match entry {
            Entry::Taken { .. } | Entry::Silent { .. } | Entry::Heard { .. } => {}
            Entry::Started { ran_since, .. } => {
                open.started = Some(Started { at, ran_since: *ran_since });
            }
            Entry::Spared { .. } => open.started = None,
            Entry::Done { id, done } => {
                if done.outcome != Outcome::Declined {
                    self.restarts.insert(open.task.container.clone(), at);
                }
                open.ended = Some(Ended { at, done: done.clone() });
                if done.outcome == Outcome::Unknown {
                    self.open.remove(id);
                }
            }
            Entry::Told { id, .. } => drop(self.open.remove(id)),
        }
    }

    /// What Docker was not asked for yet is declined. Who took it back knows, but another plimsoll may
    /// have asked for the same, and waits. The key stays taken, for a request that comes late.
    fn cancel(&mut self, at: Timestamp, dedup_key: &str) {
        self.dedup_keys.insert(dedup_key.to_owned());
        let is_void = |open: &&mut Open| open.task.dedup_key == dedup_key && open.started.is_none();
        for open in self.open.values_mut().filter(is_void) {
            let done = Done::new(Outcome::Declined, TAKEN_BACK);
            open.ended.get_or_insert(Ended { at, done });
        }
    }

    /// Whether an old line is still good for something.
    fn needs(&self, entry: &Entry, oldest: Timestamp) -> bool {
        let task = if let Entry::Taken { task, .. } = entry { task.as_ref() } else { None };
        self.open.contains_key(entry.id()) || task.is_some_and(|task| task.expires_at >= oldest)
    }
}

/// Shows each whole line of a file: its bytes, when it was written and what it says. One at a time is
/// held. Returns how many bytes they are.
fn read(path: &Path, mut show: impl FnMut(u64, Timestamp, &Entry)) -> anyhow::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut line, mut length) = (Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let bytes = file.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            break;
        }
        let read = read_line(&line).with_context(|| format!("{}:{number}", path.display()));
        let (at, entry) = read?;
        show(bytes, at, &entry);
        length += bytes;
    }
    Ok(length)
}

fn read_line(line: &[u8]) -> anyhow::Result<(Timestamp, Entry)> {
    let line: Value = serde_json::from_slice(line)?;
    let at = line["at"].as_str().and_then(parse_rfc3339).context("it does not say when")?;
    Ok((at, Entry::deserialize(line)?))
}

/// Opened, or begun for nobody else to read: it tells of tenants.
fn file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path);
    file.with_context(|| format!("{}", path.display()))
}

/// Two processes would each do everything once.
fn lock(path: &Path) -> anyhow::Result<File> {
    let path = beside(path, ".lock");
    let file = file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("{}: another process has it", path.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{}", path.display()))
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// A file that is new, or has a new name, is there after a power cut only with its folder.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?)
}

#[cfg(test)]
impl Ledger {
    /// Writes to another file from now on; returns the last one.
    pub fn swap_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const AT: Timestamp = Timestamp(1_800_000_000_000);

    fn taken(id: &str, expires_at: Timestamp) -> Entry {
        let (dedup_key, container) = (format!("key of {id}"), "c".to_owned());
        Entry::Taken {
            id: id.to_owned(),
            event: serde_json::json!({"type": "container.restart.requested"}),
            answer: serde_json::json!({"decision": "accepted"}),
            task: Some(Task { dedup_key, container, asked_at: AT, expires_at }),
            cancels: None,
        }
    }

    fn told(id: &str) -> Entry {
        Entry::Told { id: id.to_owned(), status: Some(200) }
    }

    /// A process has ended, and the next one reads what it left.
    fn reopened(ledger: Ledger) -> Ledger {
        let path = ledger.path.clone();
        drop(ledger);
        Ledger::open(&path).unwrap()
    }

    #[test]
    fn a_crash_forgets_nothing_that_was_promised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let id = || "evt_1".to_owned();
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.append(AT, &taken("evt_1", AT)).unwrap();
        let ran_since = Timestamp(5);
        ledger.append(AT, &Entry::Started { id: id(), ran_since }).unwrap();
        // Half a line, in the middle of a letter, as a crash leaves it.
        ledger.file.write_all(b"{\"what\":\"\xed\x95").unwrap();

        let mut ledger = reopened(ledger);
        assert!(ledger.answer("evt_1").is_some() && ledger.knows("key of evt_1"));
        let started = ledger.task("evt_1").unwrap().started;
        assert_eq!(started, Some(Started { at: AT, ran_since }), "Docker may have been asked");
        let done = Done::new(Outcome::Declined, "busy");
        ledger.append(AT, &Entry::Done { id: id(), done: done.clone() }).unwrap();
        let mut ledger = reopened(ledger);
        let ended = Some(Ended { at: AT, done });
        assert_eq!(ledger.task("evt_1").unwrap().ended, ended, "and has yet to be told");
        ledger.append(AT, &told("evt_1")).unwrap();
        let mut ledger = reopened(ledger);
        assert!(ledger.open_tasks().is_empty() && ledger.knows("key of evt_1"), "not forgotten");
        ledger.append(AT, &taken("evt_2", AT)).unwrap();
        let done = Done::new(Outcome::Unknown, "");
        ledger.append(AT, &Entry::Done { id: "evt_2".to_owned(), done }).unwrap();
        assert!(ledger.open_tasks().is_empty(), "there is nothing to be told");
        drop(ledger);

        std::fs::write(&path, "nonsense\n").unwrap();
        let error = Ledger::open(&path).err().unwrap().to_string();
        assert!(error.ends_with("ledger.jsonl:1"), "{error}");
    }

    #[test]
    fn two_processes_do_not_share_a_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path).unwrap();
        for round in 0..2 {
            let error = Ledger::open(&path).err().unwrap().to_string();
            assert!(error.ends_with("ledger.jsonl.lock: another process has it"), "{error}");
            ledger.append(AT, &taken(&format!("evt_{round}"), AT)).unwrap();
            ledger.append(AT, &told(&format!("evt_{round}"))).unwrap();
            ledger.prune(AT + 2 * KEPT).unwrap();
        }
    }

    #[test]
    fn what_is_old_and_over_is_left_out_and_nothing_that_follows_from_what_stays() {
        let now = AT + KEPT + Duration::from_millis(1);
        let cancel = |id: &str| {
            let (id, cancels) = (format!("no {id}"), Some(format!("key of {id}")));
            Entry::Taken { id, event: Value::Null, answer: Value::Null, task: None, cancels }
        };
        let over =
            |cancel, expires_at| vec![(AT, taken("a", expires_at)), (AT, cancel), (AT, told("a"))];
        for (case, entries, stays, open) in [
            ("old", vec![(AT, taken("a", AT)), (AT, told("a"))], false, false),
            ("taken back", vec![(AT, taken("a", AT)), (AT, cancel("a"))], true, true),
            ("old, taken back", over(cancel("a"), AT), false, false),
            ("open", vec![(AT, taken("a", AT))], true, true),
            ("valid", vec![(AT, taken("a", now)), (AT, told("a"))], true, false),
            ("valid, taken back", over(cancel("a"), now), true, false),
            ("young", vec![(now - KEPT, taken("a", AT)), (now - KEPT, told("a"))], true, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
            for (at, entry) in entries {
                ledger.append(at, &entry).unwrap();
            }
            ledger.prune(now).unwrap();
            ledger.append(now, &taken("b", now)).unwrap();
            for _ in 0..2 {
                assert_eq!(ledger.answer("a").is_some(), stays, "{case}");
                assert_eq!(ledger.knows("key of a"), stays, "{case}");
                assert_eq!(ledger.task("a").is_some(), open, "{case}");
                assert!(ledger.knows("key of b"), "{case}");
                ledger = reopened(ledger);
            }
        }
    }

    #[test]
    fn a_line_that_was_written_by_half_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&dir.path().join("ledger.jsonl")).unwrap();
        ledger.append(AT, &taken("evt_1", AT)).unwrap();
        // A full disk took it, and let nobody take it back.
        ledger.file.write_all(b"{\"what\":").unwrap();
        ledger.append(AT, &taken("evt_2", AT)).unwrap();
        assert_eq!(reopened(ledger).open_tasks(), ["evt_1", "evt_2"]);
    }

    /// A ledger with one line that is over and one that is not.
    fn old_and_open(path: &Path) -> Ledger {
        let mut ledger = Ledger::open(path).unwrap();
        ledger.append(AT, &taken("old", AT)).unwrap();
        ledger.append(AT, &told("old")).unwrap();
        ledger.append(AT, &taken("open", AT)).unwrap();
        ledger
    }

    #[test]
    fn what_cannot_be_pruned_stays_and_leaves_nothing_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let mut ledger = old_and_open(&path);
        let new = dir.path().join("ledger.jsonl.new");
        symlink("/dev/full", &new).unwrap();
        ledger.prune(AT + 2 * KEPT).unwrap_err();
        assert!(new.symlink_metadata().is_err(), "it is in nobody's way");
        ledger.append(AT, &taken("young", AT)).unwrap();
        let mut ledger = reopened(ledger);
        assert!(ledger.answer("old").is_some());
        assert_eq!(ledger.open_tasks(), ["open", "young"]);
        ledger.prune(AT + 2 * KEPT).unwrap();
        assert!(ledger.answer("old").is_none());
    }

    #[test]
    fn a_line_that_was_refused_is_not_found_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = old_and_open(&dir.path().join("ledger.jsonl"));
        // Written whole, but not synced, and not taken back.
        let line = std::fs::read_to_string(&ledger.path).unwrap();
        let line = line.lines().next_back().unwrap().replace("open", "refused");
        ledger.file.write_all(format!("{line}\n").as_bytes()).unwrap();
        ledger.prune(AT + 2 * KEPT).unwrap();
        assert_eq!(ledger.open_tasks(), ["open"]);
        assert_eq!(reopened(ledger).open_tasks(), ["open"]);
    }

    #[test]
    fn the_ledger_stays_where_it_is_and_is_read_by_whom_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (real, name) = (dir.path().join("real.jsonl"), dir.path().join("name.jsonl"));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        symlink(&real, &name).unwrap();
        let mut ledger = old_and_open(&name);
        let error = Ledger::open(&real).err().unwrap().to_string();
        assert!(error.ends_with("real.jsonl.lock: another process has it"), "{error}");
        assert_eq!((mode(&real), mode(&beside(&real, ".lock"))), (0o600, 0o600));
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        ledger.prune(AT + 2 * KEPT).unwrap();
        assert_eq!(mode(&real), 0o640);
        assert!(name.is_symlink());
        let (pruned, kept) = (std::fs::read(&name).unwrap(), std::fs::read(&real).unwrap());
        assert_eq!((pruned.len() as u64, pruned), (ledger.length, kept));
    }
}
