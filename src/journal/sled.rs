//! The alternative store: sled 0.34, behind the cargo feature `sled`.
//!
//! sled's `flush` calls `sync_file_range`, which does not make file size and extents durable
//! (spacejam/sled#1452): in simulated power cuts it lost acknowledged writes. So every commit ends
//! with an `fdatasync` of sled's file. All tables share one tree, because a batch is atomic within
//! one tree only; a row's key is `<table>/<key>`.
//!
//! A failed write is final for sled: its error is sticky, and closing the database after one waits
//! for ever (seen with a full disk). So the database is then left open and unused, and every later
//! commit says that plimsoll must be restarted.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{JournalError, Rows, Store};
use crate::base::{Change, Table};

const FILE: &str = "db";
/// As for the default store; sled treats it as a hint.
const CACHE_BYTES: u64 = 4 << 20;

/// Rows in a sled directory.
pub(super) struct SledStore {
    dir: PathBuf,
    /// `None` after a failed write.
    database: Option<sled::Db>,
    /// Held, not read.
    _lock: File,
}

impl SledStore {
    /// Opens sled's files in `dir`, made if absent.
    pub(super) fn open(dir: &Path, lock: File) -> Result<SledStore, JournalError> {
        let database = open_database(dir)?;
        Ok(SledStore { dir: dir.to_owned(), database: Some(database), _lock: lock })
    }

    fn write(&self, database: &sled::Db, changes: &[Change]) -> Result<(), JournalError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            let key = format!("{}/{}", change.table.name(), change.key);
            match &change.value {
                Some(value) => batch.insert(key.as_bytes(), value.as_slice()),
                None => batch.remove(key.as_bytes()),
            }
        }
        database.apply_batch(batch).map_err(|error| explain(&self.dir, error))?;
        database.flush().map_err(|error| explain(&self.dir, error))?;
        let path = self.dir.join(FILE);
        File::open(&path)
            .and_then(|file| file.sync_data())
            .map_err(|error| JournalError::from_io(&path, error))
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<Rows, JournalError> {
        let database = self.database.as_ref().expect("load comes before a failed write");
        let rows_of = |table: Table| {
            let prefix = format!("{}/", table.name());
            let rows = database.scan_prefix(&prefix).map(|row| {
                let (key, value) = row.map_err(|error| explain(&self.dir, error))?;
                let key = String::from_utf8(key[prefix.len()..].to_vec())
                    .map_err(|error| damaged(&self.dir, error.to_string()))?;
                Ok((key, value.to_vec()))
            });
            Ok((table, rows.collect::<Result<_, JournalError>>()?))
        };
        Table::ALL.into_iter().map(rows_of).collect()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let Some(database) = self.database.take() else {
            return Err(JournalError::Failed {
                path: self.dir.clone(),
                why: "sled does not go on after a failed write; make sure that the disk takes \
                      writes, then restart plimsoll"
                    .to_owned(),
            });
        };
        let written = self.write(&database, changes);
        match written {
            Ok(()) => self.database = Some(database),
            Err(_) => std::mem::forget(database),
        }
        written
    }
}

fn open_database(dir: &Path) -> Result<sled::Db, JournalError> {
    sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .open()
        .map_err(|error| explain(dir, error))
}

fn damaged(dir: &Path, why: String) -> JournalError {
    JournalError::Damaged { dir: dir.to_owned(), why }
}

fn explain(dir: &Path, error: sled::Error) -> JournalError {
    match error {
        sled::Error::Io(error) => JournalError::from_io(&dir.join(FILE), error),
        sled::Error::Corruption { at, .. } => damaged(dir, format!("{FILE}: bad bytes at {at:?}")),
        error => JournalError::Failed { path: dir.to_owned(), why: error.to_string() },
    }
}
