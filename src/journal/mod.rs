//! The journal: what must survive a crash, on disk before anything acts on it.
//!
//! # The durable format
//!
//! *Constraints.* One writer, a few megabytes at most, a handful of small commits a minute, and one
//! promise: a batch for which a [`Receipt`](crate::base::Receipt) exists is there after a power cut,
//! whole, and nothing of a later batch is there in part.
//!
//! *Layout.* The journal is a directory of its own. It holds
//!
//! * `lock`: locked (`flock`) while a process has the journal; inside stands that process's id;
//! * `FORMAT`: one line, `plimsoll journal 1 redb`: that a journal was made here, in which schema,
//!   by which store. It is written once, after the first commit is durable;
//! * the store's own files: `journal.redb`, or sled's `db`, `conf` and `snap.*`.
//!
//! The store holds five tables ([`Table`]). A row's key is UTF-8 text, its value is JSON that only
//! the module that wrote it understands; rows read back in byte order of their keys. The row
//! `schema` of the table `meta` belongs to the journal and holds the schema's number; it never
//! leaves this module.
//!
//! *Commit.* Everything that waits is written as one transaction: rows put and rows removed, the
//! last word on a row winning, then a sync of the disk. Only then is there a receipt.
//!
//! *Recovery.* The store rolls back what was not committed. Opening then verifies every checksum.
//! A store that is damaged, that lacks the schema row although `FORMAT` says a journal was made, or
//! that a newer plimsoll wrote, is an error that says what can be done. The journal never starts
//! empty in place of one that was there, and it never repairs by forgetting.
//!
//! Nothing here knows what a row means, reads a clock, or calls the engine.

mod error;
mod format;
mod handle;
mod memory;
mod redb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(test)]
mod suite;
mod virtual_disk;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use self::error::JournalError;
pub use self::handle::{Journal, Notice, Pace, Unsaved};
pub use self::memory::MemoryStore;
pub use self::virtual_disk::VirtualDisk;
use crate::base::{Change, Table};

/// The rows of every table, tables in the order of [`Table::ALL`], rows in the order of their keys.
pub type Rows = Vec<(Table, Vec<(String, Vec<u8>)>)>;

/// The schema this program writes. A number higher than this on disk is refused.
pub const SCHEMA: u32 = 1;

/// The row of [`Table::Meta`] that holds the schema's number.
const SCHEMA_KEY: &str = "schema";

/// Something that keeps rows over a restart.
pub trait Store: Send {
    /// Every row.
    fn load(&mut self) -> Result<Rows, JournalError>;

    /// Writes and removes rows, all or none, and returns once they are durable. After an error
    /// the same changes may be given again: the store recovers by itself as far as it can.
    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError>;
}

/// The stores that keep rows on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// The default: no acknowledged write lost in any simulated power cut.
    Redb,
    /// The alternative; `docs/journal.md` says why it is one.
    #[cfg(feature = "sled")]
    Sled,
}

impl StoreKind {
    /// The store's name, as in the file `FORMAT`.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::Redb => "redb",
            #[cfg(feature = "sled")]
            StoreKind::Sled => "sled",
        }
    }

    /// Opens the store in `dir`; `made` says that one was made there before.
    fn open(self, dir: &Path, lock: File, made: bool) -> Result<Box<dyn Store>, JournalError> {
        Ok(match self {
            StoreKind::Redb => Box::new(redb::RedbStore::open(dir, lock, made)?),
            #[cfg(feature = "sled")]
            StoreKind::Sled => Box::new(sled::SledStore::open(dir, lock)?),
        })
    }
}

/// A journal that has been opened and read.
pub struct Opened {
    /// The store, for [`Journal::start`].
    pub store: Box<dyn Store>,
    /// What was in it.
    pub rows: Rows,
}

/// Opens the journal in `dir`, or makes one if none was ever made there. The directory belongs to
/// the journal alone.
pub fn open(kind: StoreKind, dir: &Path) -> Result<Opened, JournalError> {
    open_or_make(kind, dir).map_err(JournalError::at_start)
}

fn open_or_make(kind: StoreKind, dir: &Path) -> Result<Opened, JournalError> {
    format::make_dir(dir)?;
    let lock = format::lock(dir)?;
    let made = format::read_mark(dir, kind)?;
    let (mut store, mut rows) = panic_is_damage(dir, || {
        let mut store = kind.open(dir, lock, made)?;
        let rows = store.load()?;
        Ok((store, rows))
    })?;
    let damaged = |why: String| JournalError::Damaged { dir: dir.to_owned(), why };
    match take_schema(&mut rows).map_err(damaged)? {
        Some(SCHEMA) => {}
        Some(found) if found > SCHEMA => {
            return Err(JournalError::Newer { dir: dir.to_owned(), found });
        }
        Some(found) => return Err(damaged(format!("schema {found} was never in use"))),
        None if made || rows.iter().any(|(_, rows)| !rows.is_empty()) => {
            return Err(damaged("the row that names the schema is gone".to_owned()));
        }
        None => store.commit(&[schema_row()])?,
    }
    if !made {
        format::write_mark(dir, kind)?;
    }
    Ok(Opened { store, rows })
}

/// Runs what reads the files. sled is known to panic on some damaged ones, and to the operator that
/// is damage like any other.
fn panic_is_damage<T>(
    dir: &Path,
    read: impl FnOnce() -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        Err(JournalError::Damaged { dir: dir.to_owned(), why: error::panic_text(&*panic) })
    })
}

fn schema_row() -> Change {
    Change {
        table: Table::Meta,
        key: SCHEMA_KEY.to_owned(),
        value: Some(SCHEMA.to_string().into_bytes()),
    }
}

/// Takes the journal's own row out of what the engine will see.
fn take_schema(rows: &mut Rows) -> Result<Option<u32>, String> {
    let meta = rows.iter_mut().find(|(table, _)| *table == Table::Meta).map(|(_, rows)| rows);
    let Some((meta, at)) = meta
        .and_then(|meta| meta.iter().position(|(key, _)| key == SCHEMA_KEY).map(|at| (meta, at)))
    else {
        return Ok(None);
    };
    let (_, value) = meta.remove(at);
    let text = String::from_utf8_lossy(&value);
    text.parse().map(Some).map_err(|_| format!("`{text}` is not the number of a schema"))
}
