//! What was taken, done and told: one JSON object a line, appended and synced before anything follows
//! from it, never changed. In a database: a table of webhooks by `webhook-id`, one of actions with
//! `dedup_key` unique, and a transaction where here is a line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use plimsoll::base::{Timestamp, format_rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Docker is about to be asked.
    Started { id: String },
    /// What became of it.
    Done { id: String, succeeded: bool, reason: String },
    /// plimsoll has the receipt, or will never take it.
    Told { id: String, status: u16 },
}

/// How far a task has come.
#[derive(Clone, PartialEq, Debug)]
pub struct Open {
    /// The task.
    pub task: Task,
    /// Whether Docker may have been asked already.
    pub started: bool,
    /// Whether it succeeded and why (not), once that is known.
    pub done: Option<(bool, String)>,
}

/// The file, and what follows from it.
pub struct Ledger {
    file: File,
    /// Of its whole lines.
    length: u64,
    answers: HashMap<String, Value>,
    dedup_keys: HashSet<String>,
    open: BTreeMap<String, Open>,
}

impl Ledger {
    /// Reads the file, or begins it. A last line that a crash cut short was never acted upon, so it
    /// goes; any other line that does not read stops the start.
    pub fn open(path: &Path) -> anyhow::Result<Ledger> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let file = file.with_context(|| format!("{}", path.display()))?;
        let text = std::fs::read_to_string(path)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut ledger = Ledger {
            file,
            length: whole as u64,
            answers: HashMap::new(),
            dedup_keys: HashSet::new(),
            open: BTreeMap::new(),
        };
        ledger.file.set_len(ledger.length)?;
        for (number, line) in (1..).zip(text[..whole].lines()) {
            let entry = serde_json::from_str(line)
                .with_context(|| format!("{}:{number}", path.display()))?;
            ledger.learn(&entry);
        }
        Ok(ledger)
    }

    /// Writes a line; done once the disk has it.
    pub fn append(&mut self, at: Timestamp, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_value(entry)?;
        line["at"] = format_rfc3339(at).into();
        let line = format!("{line}\n");
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Nobody acts on it, so nothing of it may stay: a full disk takes half lines.
            self.file.set_len(self.length)?;
            return Err(error.into());
        }
        self.length += line.len() as u64;
        self.learn(entry);
        Ok(())
    }

    /// What was answered to a webhook when it came first.
    pub fn answer(&self, id: &str) -> Option<&Value> {
        self.answers.get(id)
    }

    /// Whether this was asked before or taken back, under whatever id.
    pub fn knows(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains(dedup_key)
    }

    /// A task that is not over.
    pub fn task(&self, id: &str) -> Option<Open> {
        self.open.get(id).cloned()
    }

    /// Every task that is not over.
    pub fn open_tasks(&self) -> Vec<String> {
        self.open.keys().cloned().collect()
    }

    fn learn(&mut self, entry: &Entry) {
        match entry {
            Entry::Taken { id, answer, task, cancels, .. } => {
                self.answers.insert(id.clone(), answer.clone());
                if let Some(key) = cancels {
                    self.cancel(key);
                }
                let Some(task) = task.clone() else { return };
                self.dedup_keys.insert(task.dedup_key.clone());
                self.open.insert(id.clone(), Open { task, started: false, done: None });
            }
            Entry::Started { id } => {
                self.open.entry(id.clone()).and_modify(|open| open.started = true);
            }
            Entry::Done { id, succeeded, reason } => {
                let done = Some((*succeeded, reason.clone()));
                self.open.entry(id.clone()).and_modify(|open| open.done = done);
            }
            Entry::Told { id, .. } => drop(self.open.remove(id)),
        }
    }

    /// What Docker was not asked for yet is over, without a receipt: plimsoll said so itself. The key
    /// stays taken, for a request that comes late.
    fn cancel(&mut self, dedup_key: &str) {
        self.dedup_keys.insert(dedup_key.to_owned());
        self.open.retain(|_, open| open.task.dedup_key != dedup_key || open.started);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_crash_forgets_nothing_that_was_promised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let task = Task {
            dedup_key: "k".to_owned(),
            container: "c".to_owned(),
            asked_at: AT,
            expires_at: AT,
        };
        let id = || "evt_1".to_owned();
        let answer = serde_json::json!({"decision": "accepted"});
        let event = serde_json::json!({"type": "container.restart.requested"});
        let taken = Entry::Taken {
            id: id(),
            event,
            answer: answer.clone(),
            task: Some(task),
            cancels: None,
        };
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.append(AT, &taken).unwrap();
        ledger.append(AT, &Entry::Started { id: id() }).unwrap();
        // Half a line, as a crash leaves it.
        ledger.file.write_all(b"{\"what\":\"do").unwrap();

        let mut ledger = Ledger::open(&path).unwrap();
        assert_eq!((ledger.answer("evt_1"), ledger.knows("k")), (Some(&answer), true));
        assert!(ledger.task("evt_1").unwrap().started, "Docker may have been asked");
        let done = Entry::Done { id: id(), succeeded: true, reason: String::new() };
        ledger.append(AT, &done).unwrap();
        let mut ledger = Ledger::open(&path).unwrap();
        assert!(ledger.task("evt_1").unwrap().done.is_some(), "and has yet to be told");
        ledger.append(AT, &Entry::Told { id: id(), status: 200 }).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert!(ledger.open_tasks().is_empty() && ledger.knows("k"), "over, and not forgotten");

        std::fs::write(&path, "nonsense\n").unwrap();
        let error = Ledger::open(&path).err().unwrap().to_string();
        assert!(error.ends_with("ledger.jsonl:1"), "{error}");
    }
}
