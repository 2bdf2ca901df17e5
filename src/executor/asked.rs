//! Which decisions Docker was asked about: one empty file each, there before Docker is asked.
//!
//! The answer becomes durable only later, in the journal. Between the two a crash must not make a
//! second restart of the first.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::Timestamp;

/// Marks kept; a request expires long before so many more were made.
const KEPT: usize = 256;

/// A folder of marks.
#[derive(Debug)]
pub(super) struct Asked {
    dir: PathBuf,
}

/// Whether a decision was marked before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    New,
    Known,
}

impl Asked {
    pub fn new(dir: PathBuf) -> Asked {
        Asked { dir }
    }

    /// When Docker was asked, if it was.
    pub async fn when(&self, id: &str) -> Result<Option<Timestamp>, String> {
        match tokio::fs::metadata(self.dir.join(id)).await.and_then(|mark| mark.modified()) {
            Ok(at) => {
                let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Ok(Some(Timestamp(0) + since))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Marks a decision, durably.
    pub async fn mark(&self, id: &str) -> Result<Mark, String> {
        let (dir, path) = (self.dir.clone(), self.dir.join(id));
        let written = tokio::task::spawn_blocking(move || write(&dir, &path)).await;
        match written.map_err(io::Error::other) {
            Ok(Ok(mark)) => Ok(mark),
            Ok(Err(error)) | Err(error) => Err(self.explain(&error)),
        }
    }

    /// Takes a mark back: Docker is not asked after all.
    pub async fn unmark(&self, id: &str) {
        if let Err(error) = tokio::fs::remove_file(self.dir.join(id)).await {
            tracing::warn!(%error, id, "a mark stays though Docker was not asked");
        }
    }

    fn explain(&self, error: &io::Error) -> String {
        format!("what Docker was asked for cannot be noted in {}: {error}", self.dir.display())
    }
}

fn write(dir: &Path, path: &Path) -> io::Result<Mark> {
    std::fs::create_dir_all(dir)?;
    let mark = match std::fs::File::create_new(path) {
        Ok(mark) => mark,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Mark::Known),
        Err(error) => return Err(error),
    };
    seal(path, mark.sync_all().and_then(|()| std::fs::File::open(dir)?.sync_all()))?;
    if let Err(error) = prune(dir, path) {
        tracing::warn!(%error, dir = %dir.display(), "old marks of the executor are not removed");
    }
    Ok(Mark::New)
}

/// A mark that may not last is none: left behind, it would say that Docker was asked.
fn seal(path: &Path, synced: io::Result<()>) -> io::Result<()> {
    synced.inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Removes the oldest marks, but never the newest one.
fn prune(dir: &Path, newest: &Path) -> io::Result<()> {
    // Ids of deliveries begin with their time, so their names sort by age.
    let names = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let mut names = names.collect::<io::Result<Vec<PathBuf>>>()?;
    names.sort_unstable();
    let surplus = names.len().saturating_sub(KEPT);
    // One that cannot be removed keeps no other.
    let old = names.iter().take(surplus).filter(|old| *old != newest);
    old.map(std::fs::remove_file).fold(Ok(()), Result::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_decision_is_marked_once_and_old_ones_go() {
        let home = tempfile::tempdir().expect("a folder");
        let asked = Asked::new(home.path().join("executed"));
        assert_eq!(asked.when("evt_0000").await, Ok(None));
        assert_eq!(asked.mark("evt_0000").await, Ok(Mark::New));
        assert_eq!(asked.mark("evt_0000").await, Ok(Mark::Known));
        assert!(asked.when("evt_0000").await.expect("it can be read").is_some());
        for n in 1..=KEPT {
            assert_eq!(asked.mark(&format!("evt_{n:04}")).await, Ok(Mark::New));
        }
        assert_eq!(asked.when("evt_0000").await, Ok(None), "the oldest is forgotten");
        assert!(asked.when("evt_0001").await.expect("it can be read").is_some());
        std::fs::write(home.path().join("file"), "").expect("written");
        let nowhere = Asked::new(home.path().join("file"));
        let error = nowhere.mark("evt_1").await.expect_err("no folder");
        assert!(error.contains("file"), "{error}");
    }

    #[tokio::test]
    async fn a_mark_that_fails_half_way_is_none_and_old_ones_that_stay_are_no_failure() {
        let home = tempfile::tempdir().expect("a folder");
        let asked = Asked::new(home.path().to_owned());
        assert_eq!(asked.mark("evt_1").await, Ok(Mark::New));
        seal(&home.path().join("evt_1"), Err(io::Error::other("the disk"))).expect_err("half");
        assert_eq!(asked.mark("evt_1").await, Ok(Mark::New), "Docker was not asked");
        asked.unmark("evt_1").await;
        assert_eq!(asked.when("evt_1").await, Ok(None));
        // Something that is no file stands among them.
        std::fs::create_dir(home.path().join("a")).expect("made");
        for n in 0..=KEPT {
            let id = format!("evt_{n:04}");
            assert_eq!(asked.mark(&id).await, Ok(Mark::New));
            assert_eq!(asked.mark(&id).await, Ok(Mark::Known));
        }
    }
}
