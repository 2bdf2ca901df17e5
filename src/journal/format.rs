//! The directory around the store: who has it, and the mark that a journal was made in it.
//!
//! A store that finds no file makes a new one, and some take an emptied file for a new one. The
//! mark is what tells a first start from a loss.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::{JournalError, SCHEMA, StoreKind};

const LOCK_FILE: &str = "lock";
const MARK_FILE: &str = "FORMAT";
/// More than any mark has; what is longer is none.
const MARK_BYTES_MAX: u64 = 64;
/// Webhook bodies name tenants, so the journal is for its own user only.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes the directory and what leads to it.
pub(super) fn make_dir(dir: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
        .map_err(|error| JournalError::from_io(dir, error))
}

/// Takes the directory for this process until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK_FILE);
    let failed = |error| JournalError::from_io(&path, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
            return Err(JournalError::InUse { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The number is for people: a disk without room for it keeps nobody from a sound journal.
    let _: io::Result<()> =
        file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    Ok(file)
}

/// Whether a journal was made here. One made by another store or in a later format is an error.
pub(super) fn read_mark(dir: &Path, kind: StoreKind) -> Result<bool, JournalError> {
    let path = dir.join(MARK_FILE);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MARK_BYTES_MAX).read_to_end(&mut bytes));
    let text = match read {
        Ok(_) => String::from_utf8_lossy(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(JournalError::from_io(&path, error)),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (schema, made_by) = match words[..] {
        ["plimsoll", "journal", schema, made_by] => (schema.parse::<u32>().ok(), made_by),
        _ => (None, ""),
    };
    match schema {
        None => Err(JournalError::Damaged {
            dir: dir.to_owned(),
            why: format!("{MARK_FILE} reads {text:?}"),
        }),
        Some(found) if found > SCHEMA => Err(JournalError::Newer { dir: dir.to_owned(), found }),
        Some(_) if made_by != kind.name() => Err(JournalError::OtherStore {
            dir: dir.to_owned(),
            made_by: made_by.to_owned(),
            wanted: kind.name(),
        }),
        Some(_) => Ok(true),
    }
}

/// Writes the mark. It appears whole or not at all, and never before the store's own files are
/// durable in the directory.
pub(super) fn write_mark(dir: &Path, kind: StoreKind) -> Result<(), JournalError> {
    let path = dir.join(MARK_FILE);
    let temporary = dir.join("FORMAT.new");
    let write = || {
        sync_dir(dir)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&temporary)?;
        writeln!(file, "plimsoll journal {SCHEMA} {}", kind.name())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        sync_dir(dir)?;
        // The directory itself must be there after a power cut, too.
        dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
    };
    write().map_err(|error| JournalError::from_io(&path, error))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
