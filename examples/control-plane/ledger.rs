//! What was taken, done and told: one JSON object a line, appended and synced before anything follows
//! from it, never changed, and kept for some days. In a database: a table of webhooks by `webhook-id`,
//! one of actions with `dedup_key` unique, and a transaction where here is a line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use plimsoll::base::{Timestamp, format_rfc3339, parse_rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a webhook is remembered. plimsoll asks for four days; an action is remembered so long after
/// it expired. No signature is believed for more than five minutes, so a stranger can repeat neither.
const KEPT: Duration = Duration::from_secs(8 * 86_400);

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
    /// What became of it.
    Done {
        id: String,
        #[serde(flatten)]
        done: Done,
    },
    /// plimsoll has the receipt, or will never take it.
    Told { id: String, status: u16 },
}

impl Entry {
    fn id(&self) -> &str {
        match self {
            Entry::Taken { id, .. } | Entry::Started { id, .. } => id,
            Entry::Done { id, .. } | Entry::Told { id, .. } => id,
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

/// How far a task has come.
#[derive(Clone, PartialEq, Debug)]
pub struct Open {
    /// The task.
    pub task: Task,
    /// Whether Docker may have been asked already.
    pub started: Option<Started>,
    /// What became of it, once that is known.
    pub done: Option<Done>,
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
    /// When Docker was last asked to restart a container.
    restarts: HashMap<String, Timestamp>,
}

impl Ledger {
    /// Reads the file, or begins it. A last line that a crash cut short was never acted upon, so it
    /// goes; any other line that does not read, or another process with this ledger, stops the start.
    pub fn open(path: &Path) -> anyhow::Result<Ledger> {
        let lock = lock(path)?;
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let file = file.with_context(|| format!("{}", path.display()))?;
        let (lines, length) = read(path)?;
        file.set_len(length)?;
        sync_folder(path)?;
        let mut known = Known::default();
        for Line { at, entry, .. } in lines {
            known.learn(at, &entry);
        }
        Ok(Ledger { path: path.to_owned(), file, length, known, _lock: lock })
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
        let oldest = now - KEPT;
        let lines = read(&self.path)?.0;
        let is_over = |line: &Line| line.at < oldest && !self.known.needs(&line.entry, oldest);
        let (mut text, mut known) = (String::new(), Known::default());
        for line in lines.iter().skip_while(|line| is_over(line)) {
            text.extend([&line.text, "\n"]);
            known.learn(line.at, &line.entry);
        }
        let length = text.len() as u64;
        if length == self.length {
            return Ok(());
        }
        let new = beside(&self.path, ".new");
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&new)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        (self.file, self.length, self.known) = (file, length, known);
        sync_folder(&self.path)
    }

    /// What was answered to a webhook when it came first.
    pub fn answer(&self, id: &str) -> Option<&Value> {
        self.known.answers.get(id)
    }

    /// Whether this was asked before or taken back, under whatever id.
    pub fn knows(&self, dedup_key: &str) -> bool {
        self.known.dedup_keys.contains(dedup_key)
    }

    /// Whether Docker was asked to restart the container of a task since that was decided, or is still
    /// at it: by two tasks one container is restarted once.
    pub fn is_busy(&self, Task { container, asked_at, .. }: &Task) -> bool {
        let is_at_it = |open: &Open| open.started.is_some() && open.done.is_none();
        self.known.restarts.get(container).is_some_and(|at| at >= asked_at)
            || self.known.open.values().any(|o| o.task.container == *container && is_at_it(o))
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
        let open = self.open.get_mut(entry.id());
        match entry {
            Entry::Taken { id, answer, task, cancels, .. } => {
                self.answers.insert(id.clone(), answer.clone());
                if let Some(key) = cancels {
                    self.cancel(key);
                }
                let Some(task) = task.clone() else { return };
                self.dedup_keys.insert(task.dedup_key.clone());
                self.open.insert(id.clone(), Open { task, started: None, done: None });
            }
            Entry::Started { ran_since, .. } => {
                let Some(open) = open else { return };
                open.started = Some(Started { at, ran_since: *ran_since });
                self.restarts.insert(open.task.container.clone(), at);
            }
            Entry::Done { id, done } if done.outcome == Outcome::Unknown => {
                self.open.remove(id);
            }
            Entry::Done { done, .. } => {
                if let Some(open) = open {
                    open.done = Some(done.clone());
                }
            }
            Entry::Told { id, .. } => drop(self.open.remove(id)),
        }
    }

    /// What Docker was not asked for yet is over, without a receipt: plimsoll said so itself. The key
    /// stays taken, for a request that comes late.
    fn cancel(&mut self, dedup_key: &str) {
        self.dedup_keys.insert(dedup_key.to_owned());
        self.open.retain(|_, open| open.task.dedup_key != dedup_key || open.started.is_some());
    }

    /// Whether an old line is still good for something.
    fn needs(&self, entry: &Entry, oldest: Timestamp) -> bool {
        let task = if let Entry::Taken { task, .. } = entry { task.as_ref() } else { None };
        self.open.contains_key(entry.id()) || task.is_some_and(|task| task.expires_at >= oldest)
    }
}

/// A line that was read.
struct Line {
    text: String,
    at: Timestamp,
    entry: Entry,
}

/// The whole lines of a file, and how many bytes they are.
fn read(path: &Path) -> anyhow::Result<(Vec<Line>, u64)> {
    let bytes = std::fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes[..whole]).lines()) {
        let read = read_line(line).with_context(|| format!("{}:{number}", path.display()));
        lines.push(read?);
    }
    Ok((lines, whole as u64))
}

fn read_line(text: &str) -> anyhow::Result<Line> {
    let line: Value = serde_json::from_str(text)?;
    let at = line["at"].as_str().and_then(parse_rfc3339).context("it does not say when")?;
    Ok(Line { text: text.to_owned(), at, entry: Entry::deserialize(line)? })
}

/// Two processes would each do everything once.
fn lock(path: &Path) -> anyhow::Result<File> {
    let path = beside(path, ".lock");
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
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
mod tests {
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
        Entry::Told { id: id.to_owned(), status: 200 }
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
        assert_eq!(ledger.task("evt_1").unwrap().done, Some(done), "and has yet to be told");
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
        for (case, entries, stays, open) in [
            ("old", vec![(AT, taken("a", AT)), (AT, told("a"))], false, false),
            ("old, taken back", vec![(AT, taken("a", AT)), (AT, cancel("a"))], false, false),
            ("open", vec![(AT, taken("a", AT))], true, true),
            ("valid", vec![(AT, taken("a", now)), (AT, told("a"))], true, false),
            ("valid, taken back", vec![(AT, taken("a", now)), (AT, cancel("a"))], true, false),
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
}
