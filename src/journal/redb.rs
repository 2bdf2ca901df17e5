//! The default store: one file, copy-on-write B-trees, a checksum on every page.
//!
//! After a failed write redb refuses to go on until it is opened again, so a failed commit drops
//! the database and the next one reopens it. Reopening never makes a file: if it was moved away in
//! the meantime, that is an error and not a fresh start.
//!
//! Commits have two phases: first the pages, then the root that leads to them, each followed by a
//! sync. With one phase redb cannot tell a damaged newest commit from one that a power cut tore,
//! and goes back to the one before it: rows that were acknowledged would be gone without a word.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{JournalError, Rows, Store};
use crate::base::{Change, Table};

const FILE: &str = "journal.redb";
/// The journal holds a few megabytes; redb's default cache of 1 GiB would hold all of a large one.
const CACHE_BYTES: usize = 4 << 20;

/// Rows in a redb file.
pub(super) struct RedbStore {
    path: PathBuf,
    /// `None` after a failed commit.
    database: Option<Database>,
    /// Held, not read.
    _lock: File,
}

impl RedbStore {
    /// Opens the file in `dir`, every page verified. It is made only if none was before: a file
    /// that is gone or empty stays so, for whoever looks into the loss.
    pub(super) fn open(dir: &Path, lock: File, made: bool) -> Result<RedbStore, JournalError> {
        let path = dir.join(FILE);
        if made && !path.exists() {
            let why = format!("{FILE} is gone");
            return Err(JournalError::Damaged { dir: dir.to_owned(), why });
        }
        let database = if made { builder().open(&path) } else { builder().create(&path) };
        let database = database.map_err(|error| explain(&path, error.into()))?;
        Ok(RedbStore { path, database: Some(database), _lock: lock })
    }

    fn load_table(
        database: &Database,
        table: Table,
    ) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let reading = database.begin_read()?;
        let rows = match reading.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        rows.iter()?
            .map(|row| row.map(|(key, value)| (key.value().to_owned(), value.value().to_owned())))
            .collect::<Result<_, _>>()
            .map_err(redb::Error::from)
    }

    fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
        let mut writing = database.begin_write()?;
        writing.set_two_phase_commit(true);
        for table in Table::ALL {
            let mut of_table = changes.iter().filter(|change| change.table == table).peekable();
            if of_table.peek().is_none() {
                continue;
            }
            let mut rows = writing.open_table(definition(table))?;
            for change in of_table {
                match &change.value {
                    Some(value) => drop(rows.insert(change.key.as_str(), value.as_slice())?),
                    None => drop(rows.remove(change.key.as_str())?),
                }
            }
        }
        Ok(writing.commit()?)
    }
}

impl Store for RedbStore {
    fn load(&mut self) -> Result<Rows, JournalError> {
        let database = self.database.as_ref().expect("load comes before a failed write");
        Table::ALL
            .into_iter()
            .map(|table| Ok((table, RedbStore::load_table(database, table)?)))
            .collect::<Result<_, _>>()
            .map_err(|error| explain(&self.path, error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                builder().open(&self.path).map_err(|error| explain(&self.path, error.into()))?
            }
        };
        RedbStore::write(&database, changes).map_err(|error| explain(&self.path, error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn explain(path: &Path, error: redb::Error) -> JournalError {
    let dir = || path.parent().unwrap_or(path).to_owned();
    let damaged = |why: String| JournalError::Damaged { dir: dir(), why: format!("{FILE}: {why}") };
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            JournalError::InUse { dir: dir(), holder: "unknown".to_owned() }
        }
        redb::Error::Corrupted(why) => damaged(why),
        redb::Error::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(error.to_string()),
            _ => JournalError::from_io(path, error),
        },
        error => JournalError::Failed { path: path.to_owned(), why: error.to_string() },
    }
}
