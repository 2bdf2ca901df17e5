//! The recorder's folder: groups and Docker's events written whole or not at all, the oldest removed
//! when they are too old or too many.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{Labels, Timestamp, fingerprint};

/// What a group's file is called behind its time.
pub const GROUP_END: &str = ".scrapes.gz";
/// What Docker told within one group's time; the time stands between the two.
const DOCKER: (&str, &str) = ("docker-events.", ".jsonl");
/// A file that is being written; what a crash leaves of it goes by this name.
const UNFINISHED: &str = ".part";
const TARGET_FILE: &str = "target.json";

/// Whether a file is what a crash has left of one.
pub fn is_unfinished(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(UNFINISHED))
}

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keep: Duration,
    max_bytes: u64,
    /// What is there, oldest first.
    files: BTreeMap<(Timestamp, PathBuf), u64>,
    bytes: u64,
    described: BTreeSet<PathBuf>,
}

impl Folder {
    /// Makes the folder and looks at what is in it. What a crash has left unfinished is removed and
    /// named.
    pub fn open(
        path: PathBuf,
        keep: Duration,
        max_bytes: u64,
    ) -> io::Result<(Folder, Vec<PathBuf>)> {
        fs::create_dir_all(&path)?;
        let (files, described) = (BTreeMap::new(), BTreeSet::new());
        let mut folder = Folder { path, keep, max_bytes, files, bytes: 0, described };
        let mut unfinished = Vec::new();
        let mut open = vec![folder.path.clone()];
        while let Some(at) = open.pop() {
            for entry in fs::read_dir(&at)? {
                let entry = entry?;
                let path = entry.path();
                let about = entry.metadata()?;
                if about.is_dir() && at == folder.path {
                    open.push(path);
                } else if is_unfinished(&path) {
                    fs::remove_file(&path)?;
                    unfinished.push(path);
                } else if let Some(began) = began(&path) {
                    folder.bytes += about.len();
                    folder.files.insert((began, path), about.len());
                }
            }
        }
        Ok((folder, unfinished))
    }

    /// Bytes of everything that was recorded.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a target's group.
    pub fn write_group(
        &mut self,
        target: &Labels,
        began: Timestamp,
        file: &[u8],
    ) -> io::Result<()> {
        let folder = self.path.join(folder_of(target));
        if !self.described.contains(&folder) {
            fs::create_dir_all(&folder)?;
            let labels: BTreeMap<&str, &str> = target.iter().collect();
            let text = serde_json::to_vec(&labels).map_err(io::Error::other)?;
            write_whole(&folder.join(TARGET_FILE), &text)?;
            self.described.insert(folder.clone());
        }
        self.write(folder.join(format!("{}{GROUP_END}", began.0)), began, file)
    }

    /// Writes what Docker told.
    pub fn write_docker(&mut self, began: Timestamp, lines: &[u8]) -> io::Result<()> {
        let name = format!("{}{}{}", DOCKER.0, began.0, DOCKER.1);
        self.write(self.path.join(name), began, lines)
    }

    fn write(&mut self, path: PathBuf, began: Timestamp, file: &[u8]) -> io::Result<()> {
        if file.len() as u64 > self.max_bytes {
            // Everything else would go for it, and it would not fit all the same.
            let why = format!("{} bytes at once are more than `max_bytes`", file.len());
            return Err(io::Error::other(why));
        }
        // Room is made before: the bound holds at every moment.
        self.prune(began, file.len() as u64);
        if let Err(error) = write_whole(&path, file) {
            // Somebody may have removed the folder; the next group makes it anew.
            self.described.clear();
            return Err(error);
        }
        let before = self.files.insert((began, path), file.len() as u64);
        self.bytes += file.len() as u64 - before.unwrap_or_default().min(file.len() as u64);
        Ok(())
    }

    /// Removes what is too old, and the oldest while `more` bytes do not fit.
    fn prune(&mut self, now: Timestamp, more: u64) {
        while let Some(oldest) = self.files.first_entry() {
            let is_old = now.since(oldest.key().0) > self.keep;
            if !is_old && self.bytes + more <= self.max_bytes {
                return;
            }
            let ((_, path), bytes) = oldest.remove_entry();
            self.bytes -= bytes;
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old recording is not removed");
            }
        }
    }
}

/// The time in a recording's name.
fn began(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let group = || name.strip_suffix(GROUP_END);
    let docker = || name.strip_prefix(DOCKER.0)?.strip_suffix(DOCKER.1);
    group().or_else(docker)?.parse().ok().map(Timestamp)
}

/// A name people recognise and no other target has.
fn folder_of(target: &Labels) -> String {
    let label = |name| target.get(name).unwrap_or_default();
    let readable: String = format!("{}-{}", label("job"), label("instance"))
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(80)
        .collect();
    format!("{}-{:08x}", readable.trim_start_matches('.'), fingerprint(target) >> 32)
}

/// The name is there only once the bytes are.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(UNFINISHED);
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    let written = written.and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn target() -> Labels {
        Labels::from_pairs([("job", "cadvisor"), ("instance", "127.0.0.1:8080")])
    }

    fn names(dir: &Path) -> Vec<String> {
        let folder = dir.join(folder_of(&target()));
        let listed = fs::read_dir(folder).expect("is there");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.expect("listed").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = listed.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size_and_so_it_is_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = |max_bytes| {
            Folder::open(dir.path().to_owned(), Duration::from_secs(2 * 3600), max_bytes)
                .expect("opens")
        };
        let (mut folder, _) = open(100);
        for hour in 0..4 {
            folder.write_group(&target(), Timestamp(hour * HOUR_MS), &[b'x'; 30]).expect("written");
        }
        let left =
            ["10800000.scrapes.gz", "3600000.scrapes.gz", "7200000.scrapes.gz", "target.json"];
        assert_eq!(names(dir.path()), left, "three hours ago is too old");
        folder.write_docker(Timestamp(3 * HOUR_MS), &[b'd'; 10]).expect("written");
        assert_eq!(folder.bytes(), 100);
        let (mut folder, unfinished) = open(100);
        assert_eq!((folder.bytes(), unfinished.len()), (100, 0));
        folder.write_group(&target(), Timestamp(3 * HOUR_MS + 1), &[b'x'; 80]).expect("written");
        assert_eq!(folder.bytes(), 90, "only as many as fit");
        assert_eq!(names(dir.path()), ["10800001.scrapes.gz", "target.json"]);
    }

    #[test]
    fn what_alone_is_over_the_bound_is_not_written_and_nothing_goes_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut folder, _) =
            Folder::open(dir.path().to_owned(), Duration::from_secs(3600), 100).expect("opens");
        folder.write_group(&target(), Timestamp(1), &[b'x'; 60]).expect("written");
        let error =
            folder.write_group(&target(), Timestamp(2), &[b'x'; 101]).expect_err("too large");
        assert!(error.to_string().contains("101 bytes"), "{error}");
        assert!(folder.write_docker(Timestamp(2), &[b'd'; 101]).is_err());
        assert_eq!((folder.bytes(), names(dir.path()).len()), (60, 2));
    }

    #[test]
    fn what_a_crash_has_left_is_removed_and_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Folder::open(dir.path().to_owned(), Duration::from_secs(3600), 100);
        let (mut folder, _) = open().expect("opens");
        folder.write_group(&target(), Timestamp(1), b"x").expect("written");
        let half = dir.path().join(folder_of(&target())).join("2.scrapes.gz.part");
        fs::write(&half, b"hal").expect("written");
        let (_, unfinished) = open().expect("opens");
        assert_eq!(unfinished, std::slice::from_ref(&half));
        assert!(is_unfinished(&half) && !half.exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind_and_the_next_can() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut folder, _) =
            Folder::open(dir.path().to_owned(), Duration::from_secs(3600), 100).expect("opens");
        let blocked = dir.path().join(folder_of(&target()));
        fs::write(&blocked, b"in the way").expect("written");
        assert!(folder.write_group(&target(), Timestamp(1), b"x").is_err());
        assert_eq!(folder.bytes(), 0);
        fs::remove_file(&blocked).expect("gone");
        folder.write_group(&target(), Timestamp(1), b"x").expect("written");
        assert_eq!(
            folder_of(&Labels::from_pairs([("job", "../x"), ("instance", "/a")])).find('/'),
            None
        );
    }
}
