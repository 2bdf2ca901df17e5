//! What can go wrong with the journal, told so that the operator knows what to do next.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use super::SCHEMA;

/// Why the journal cannot be opened or written. The texts are complete: where, what, the way out.
#[derive(thiserror::Error, Debug)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "the journal in {} is in use by process {holder}; one directory serves one plimsoll: stop \
         the other one, or set `storage.path`",
        dir.display()
    )]
    InUse {
        /// The journal's directory.
        dir: PathBuf,
        /// The process that has it, as far as that can be told.
        holder: String,
    },
    /// A later version wrote it.
    #[error(
        "the journal in {} has schema {found}, this plimsoll knows schema {SCHEMA}: a newer \
         version wrote it. Run that version, or move the directory away and start anew. {LOST}",
        dir.display()
    )]
    Newer {
        /// The journal's directory.
        dir: PathBuf,
        /// The schema found.
        found: u32,
    },
    /// The other store wrote it.
    #[error(
        "the journal in {} was made by the store `{made_by}`, not by `{wanted}`. Go back to \
         `{made_by}`, or move the directory away and start anew. {LOST}",
        dir.display()
    )]
    OtherStore {
        /// The journal's directory.
        dir: PathBuf,
        /// The store that made it.
        made_by: String,
        /// The store that was asked for.
        wanted: &'static str,
    },
    /// Its content cannot be trusted.
    #[error(
        "the journal in {} is damaged: {why}. plimsoll starts neither from a damaged journal nor \
         from an empty one in its place: restore the directory from a backup, or move it away and \
         start anew. {LOST}",
        dir.display()
    )]
    Damaged {
        /// The journal's directory.
        dir: PathBuf,
        /// What was seen.
        why: String,
    },
    /// No right to write there.
    #[error(
        "cannot write the journal at {}: {source}. Give this user the directory, or set \
         `storage.path` to one it can write",
        path.display()
    )]
    Denied {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room left.
    #[error(
        "no room for the journal at {}: {source}. Free some space; webhooks wait until then, \
         alerts to Alertmanager go on",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room left for a journal that is to be made or opened.
    #[error(
        "no room for the journal at {}: {why}. plimsoll does not start without its journal: \
         free some space",
        path.display()
    )]
    NoRoomToStart {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Anything else the disk or the store says.
    #[error("the journal at {} failed: {why} (see `storage.path`)", path.display())]
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What was said.
        why: String,
    },
}

/// What an operator gives up by starting anew.
const LOST: &str = "Lost by that: the state of pending and firing alerts (their `for` starts again, \
                    what still fires is told once more), cool-downs and budgets of actions, and \
                    webhooks not yet delivered";

impl JournalError {
    /// The same, met while the journal is opened: then nothing goes on.
    pub(super) fn at_start(self) -> JournalError {
        match self {
            JournalError::Full { path, source } => {
                JournalError::NoRoomToStart { path, why: source }
            }
            other => other,
        }
    }

    /// The error of a system call on `path`.
    pub(super) fn from_io(path: &Path, source: io::Error) -> JournalError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                JournalError::Denied { path, source }
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => JournalError::Full { path, source },
            _ => JournalError::Failed { path, why: source.to_string() },
        }
    }
}

/// What a caught panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the store panicked: {}", text.unwrap_or("it did not say why"))
}
