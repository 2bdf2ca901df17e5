//! Containers that ended a moment ago: whoever takes the place of one goes on with its alerts.
//!
//! They are in the journal, written with the note of how far Docker was heard: what a deploy recreates
//! may include ourselves. Of containers that came and went between two notes there is no row.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Change, Labels, Timestamp};
use crate::containers::{Container, ContainerId, Rows};

/// Whoever takes the place of a container that has ended comes within this time: a deploy pulls its image
/// first, then stops, removes, makes and starts.
pub(super) const REPLACED_WITHIN: Duration = Duration::from_secs(30);
const PREFIX: &str = "ended:";

/// The end of a container's run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// When it was told, or seen.
    pub at: Timestamp,
    /// Whose.
    pub id: ContainerId,
    /// When that run began, if anybody has said so.
    pub started_at: Option<Timestamp>,
    /// The labels its series had.
    pub labels: Labels,
    /// It lived long enough to have a row, so its end has one.
    #[serde(skip, default = "yes")]
    pub is_lasting: bool,
}

fn yes() -> bool {
    true
}

impl End {
    /// Whether this container, alive, is of a later run than the one that ended: Docker's last word on that
    /// one, while it hangs, is that it runs.
    pub fn is_before(&self, container: &Container) -> bool {
        container.id != self.id || container.started_at > self.started_at
    }
}

/// Who ended, by the name they were known as.
#[derive(Debug)]
pub(super) struct Ended {
    names: BTreeMap<String, End>,
    rows: Rows<String>,
}

impl Ended {
    /// As the journal's rows tell it, and which could not be read; other rows are skipped.
    pub fn recover(rows: &[Change]) -> (Ended, Vec<String>) {
        let (mut names, mut own) = (BTreeMap::new(), Rows::new(PREFIX));
        let mut problems = Vec::new();
        for row in rows {
            let (Some(name), Some(value)) = (own.key(row).map(str::to_owned), &row.value) else {
                continue;
            };
            match serde_json::from_slice::<End>(value) {
                Ok(end) => {
                    own.found(name.clone());
                    names.insert(name, end);
                }
                Err(error) => problems.push(format!("row {} of table guards: {error}", row.key)),
            }
        }
        (Ended { names, rows: own }, problems)
    }

    /// The rows that have changed.
    pub fn take_rows(&mut self) -> Vec<Change> {
        self.rows.take(|name| self.names.get(name).filter(|end| end.is_lasting))
    }

    /// A container that was known by this name has ended.
    pub fn note(&mut self, name: &str, end: End) {
        if self.names.get(name).is_some_and(|known| known.at > end.at) {
            return;
        }
        let is_lasting = end.is_lasting || self.names.get(name).is_some_and(|end| end.is_lasting);
        self.names.insert(name.to_owned(), End { is_lasting, ..end });
        self.rows.touch(&name.to_owned());
    }

    /// Forgets what was replaced by now, or never will be. While Docker owes news nobody can say.
    pub fn forget(&mut self, now: Timestamp, owes_news: bool) {
        let is_over = |_: &String, end: &mut End| now.since(end.at) >= REPLACED_WITHIN;
        if !owes_news {
            let over = self.names.extract_if(.., is_over);
            over.for_each(|(name, _)| self.rows.touch(&name));
        }
    }

    /// Whether nobody has.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Who has, and how.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &End)> {
        self.names.iter()
    }

    /// The wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        for (name, end) in &mut self.names {
            end.at = Timestamp(end.at.0.saturating_add(by_ms));
            self.rows.touch(name);
        }
    }
}
