//! The recorder's folder: groups and Docker's events written whole or not at all, the oldest removed
//! when they are too old or too many.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
/// So far after now a recording may begin; what is later was written by a clock that was wrong.
const AHEAD: Duration = Duration::from_secs(300);
/// Files that go for their age with each that is written. There is one more to go for each at most, so
/// nothing piles up; and a clock that is wrong for a while costs some of a recording, not all.
const AGED_AT_ONCE: usize = 2;
/// Pages name tenants, so recordings are for their own user only.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

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
        make_folder(&path)?;
        let (files, described) = (BTreeMap::new(), BTreeSet::new());
        let mut folder = Folder { path, keep, max_bytes, files, bytes: 0, described };
        let mut unfinished = Vec::new();
        let mut open = vec![folder.path.clone()];
        while let Some(at) = open.pop() {
            if at != folder.path && at.join(TARGET_FILE).exists() && has_nothing_left(&at) {
                remove_folder(&at);
                continue;
            }
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
        (began, now): (Timestamp, Timestamp),
        file: &[u8],
    ) -> io::Result<()> {
        let folder = self.path.join(folder_of(target));
        self.make_room(now, file.len() as u64)?;
        if !self.described.contains(&folder) {
            make_folder(&folder)?;
            let labels: BTreeMap<&str, &str> = target.iter().collect();
            let text = serde_json::to_vec(&labels).map_err(io::Error::other)?;
            write_whole(&folder.join(TARGET_FILE), &text)?;
            sync_folder(&self.path)?;
            self.described.insert(folder.clone());
        }
        self.write(|began| folder.join(format!("{}{GROUP_END}", began.0)), began, file)
    }

    /// Writes what Docker told.
    pub fn write_docker(
        &mut self,
        (began, now): (Timestamp, Timestamp),
        lines: &[u8],
    ) -> io::Result<()> {
        self.make_room(now, lines.len() as u64)?;
        let folder = self.path.clone();
        let name = |began: Timestamp| format!("{}{}{}", DOCKER.0, began.0, DOCKER.1);
        self.write(|began| folder.join(name(began)), began, lines)
    }

    /// Writes under the name of its time, or of the next that is free: a clock that steps back meets
    /// what it has written.
    fn write(
        &mut self,
        name: impl Fn(Timestamp) -> PathBuf,
        mut began: Timestamp,
        file: &[u8],
    ) -> io::Result<()> {
        while self.files.contains_key(&(began, name(began))) {
            began = began + Duration::from_millis(1);
        }
        let path = name(began);
        if let Err(error) = write_whole(&path, file) {
            // Somebody may have removed the folder; the next group makes it anew.
            self.described.clear();
            return Err(error);
        }
        self.files.insert((began, path), file.len() as u64);
        self.bytes += file.len() as u64;
        Ok(())
    }

    /// Makes room before something is written: the bound holds at every moment.
    fn make_room(&mut self, now: Timestamp, more: u64) -> io::Result<()> {
        if more > self.max_bytes {
            // Everything else would go for it, and it would not fit all the same.
            return Err(io::Error::other(format!(
                "{more} bytes at once are more than `max_bytes`"
            )));
        }
        self.prune(now, more);
        if self.bytes + more > self.max_bytes {
            return Err(io::Error::other("old recordings cannot be removed to make room"));
        }
        Ok(())
    }

    /// Removes what is later than can be, or too old; and while `more` bytes do not fit, the oldest.
    fn prune(&mut self, now: Timestamp, more: u64) {
        let is_later = |at: &Timestamp| at.since(now) > AHEAD;
        let later = self.files.keys().rev().take_while(|(at, _)| is_later(at)).cloned();
        let rest = self.files.keys().take_while(|(at, _)| !is_later(at)).cloned();
        let order: Vec<(Timestamp, PathBuf)> = later.chain(rest).collect();
        for (removed, file) in order.into_iter().enumerate() {
            let is_out = is_later(&file.0) || now.since(file.0) > self.keep;
            let fits = self.bytes + more <= self.max_bytes;
            if fits && !(is_out && removed < AGED_AT_ONCE) {
                return;
            }
            self.remove(file);
        }
    }

    /// Removes a file, and with its last one the folder of its target. What cannot be removed is still
    /// there and still counts.
    fn remove(&mut self, file: (Timestamp, PathBuf)) {
        let path = &file.1;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = path.display();
                tracing::warn!(%error, %path, "an old recording is not removed");
                return;
            }
            _ => self.bytes -= self.files.remove(&file).unwrap_or_default(),
        }
        if let Some(folder) = path.parent().filter(|folder| *folder != self.path)
            && has_nothing_left(folder)
        {
            self.described.remove(folder);
            remove_folder(folder);
        }
    }
}

/// Whether nothing but the description of its target is in a folder.
fn has_nothing_left(folder: &Path) -> bool {
    let Ok(mut listing) = fs::read_dir(folder) else { return false };
    listing.all(|entry| entry.is_ok_and(|entry| entry.file_name() == TARGET_FILE))
}

/// Removes a folder that has nothing left.
fn remove_folder(folder: &Path) {
    let removed = fs::remove_file(folder.join(TARGET_FILE));
    if let Err(error) = removed.and_then(|()| fs::remove_dir(folder)) {
        tracing::warn!(%error, path = %folder.display(), "an empty folder is not removed");
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

/// Makes a folder and what leads to it.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)
}

/// The name is there only once the bytes are.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(UNFINISHED);
    let part = PathBuf::from(part);
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(FILE_MODE);
    let written = open.open(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    let written = written.and_then(|()| fs::rename(&part, path));
    // A name that only memory knows is gone after a power cut.
    let written = written.and_then(|()| path.parent().map_or(Ok(()), sync_folder));
    if written.is_err() {
        fs::remove_file(&part).ok();
        fs::remove_file(path).ok();
    }
    written
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// What began then is written at once.
    fn at(ms: i64) -> (Timestamp, Timestamp) {
        (Timestamp(ms), Timestamp(ms))
    }

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
            folder.write_group(&target(), at(hour * HOUR_MS), &[b'x'; 30]).expect("written");
        }
        let left =
            ["10800000.scrapes.gz", "3600000.scrapes.gz", "7200000.scrapes.gz", "target.json"];
        assert_eq!(names(dir.path()), left, "three hours ago is too old");
        folder.write_docker(at(3 * HOUR_MS), &[b'd'; 10]).expect("written");
        assert_eq!(folder.bytes(), 100);
        let (mut folder, unfinished) = open(100);
        assert_eq!((folder.bytes(), unfinished.len()), (100, 0));
        folder.write_group(&target(), at(3 * HOUR_MS + 1), &[b'x'; 80]).expect("written");
        assert_eq!(folder.bytes(), 90, "only as many as fit");
        assert_eq!(names(dir.path()), ["10800001.scrapes.gz", "target.json"]);
    }

    #[test]
    fn recordings_are_for_their_own_user_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("recordings");
        let (mut folder, _) =
            Folder::open(path.clone(), Duration::from_secs(3600), 100).expect("opens");
        folder.write_group(&target(), at(1), b"x").expect("written");
        folder.write_docker(at(1), b"d").expect("written");
        let of_target = path.join(folder_of(&target()));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        for folder in [&path, &of_target] {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
        for file in ["target.json", "1.scrapes.gz"].map(|name| of_target.join(name)) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        assert_eq!(mode(&path.join("docker-events.1.jsonl")), 0o600);
    }

    #[test]
    fn what_alone_is_over_the_bound_is_not_written_and_nothing_goes_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut folder, _) =
            Folder::open(dir.path().to_owned(), Duration::from_secs(3600), 100).expect("opens");
        folder.write_group(&target(), at(1), &[b'x'; 60]).expect("written");
        let error = folder.write_group(&target(), at(2), &[b'x'; 101]).expect_err("too large");
        assert!(error.to_string().contains("101 bytes"), "{error}");
        assert!(folder.write_docker(at(2), &[b'd'; 101]).is_err());
        assert_eq!((folder.bytes(), names(dir.path()).len()), (60, 2));
    }

    #[test]
    fn what_a_crash_has_left_is_removed_and_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Folder::open(dir.path().to_owned(), Duration::from_secs(3600), 100);
        let (mut folder, _) = open().expect("opens");
        folder.write_group(&target(), at(1), b"x").expect("written");
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
        assert!(folder.write_group(&target(), at(1), b"x").is_err());
        assert_eq!(folder.bytes(), 0);
        fs::remove_file(&blocked).expect("gone");
        folder.write_group(&target(), at(1), b"x").expect("written");
        assert_eq!(
            folder_of(&Labels::from_pairs([("job", "../x"), ("instance", "/a")])).find('/'),
            None
        );
    }

    fn open(dir: &Path, max_bytes: u64) -> Folder {
        Folder::open(dir.to_owned(), Duration::from_secs(24 * 3600), max_bytes).expect("opens").0
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_while_costs_a_few_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = open(dir.path(), 1000);
        let mut write =
            |ms: i64| folder.write_group(&target(), at(ms), &[b'x'; 10]).expect("written");
        let (now, later) = (1000 * HOUR_MS, 9000 * HOUR_MS);
        (0..8).for_each(|n| write(now + n));
        write(later);
        assert_eq!(names(dir.path()).len(), 1 + 8 - 2 + 1, "most is still there");
        // It was the past that was right: what is later is what goes.
        write(now + 8);
        assert_eq!(names(dir.path()).len(), 1 + 6 + 1);
        // The clock of a machine that has just been started may say 1970.
        write(0);
        assert_eq!(names(dir.path()).len(), 1 + 7 - 2 + 1);
        write(now + 9);
        let left = names(dir.path());
        assert!(!left.contains(&"0.scrapes.gz".to_owned()) && left.len() == 1 + 5 + 1, "{left:?}");
        // What was begun long before it is written makes nothing late.
        let written = (Timestamp(now + 10), Timestamp(now + HOUR_MS));
        folder.write_group(&target(), (written.1, written.1), b"x").expect("written");
        folder.write_group(&target(), written, b"x").expect("written");
        assert_eq!(names(dir.path()).len(), left.len() + 2);
    }

    #[test]
    fn with_the_last_file_of_a_target_its_folder_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = open(dir.path(), 100);
        let other = Labels::from_pairs([("job", "other")]);
        folder.write_group(&other, at(1), &[b'x'; 60]).expect("written");
        folder.write_group(&target(), at(2), &[b'x'; 60]).expect("written");
        let gone = dir.path().join(folder_of(&other));
        assert!(!gone.exists() && !folder.described.contains(&gone));
        // One that was left over by a crash goes at the next start; what is not ours stays.
        fs::create_dir(&gone).expect("made");
        Folder::open(dir.path().to_owned(), Duration::ZERO, 1).expect("opens");
        assert!(gone.exists());
        fs::write(gone.join(TARGET_FILE), "{}").expect("written");
        Folder::open(dir.path().to_owned(), Duration::ZERO, 1).expect("opens");
        assert!(!gone.exists());
        // The same for whom there is to be room: it is described anew.
        folder.write_group(&target(), at(3), &[b'x'; 60]).expect("written");
        assert_eq!(names(dir.path()), ["3.scrapes.gz", "target.json"]);
    }

    #[test]
    fn what_cannot_be_removed_still_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = open(dir.path(), 100);
        folder.write_group(&target(), at(1), &[b'x'; 60]).expect("written");
        let stuck = dir.path().join(folder_of(&target())).join("1.scrapes.gz");
        fs::remove_file(&stuck).expect("removed");
        fs::create_dir(&stuck).expect("a folder is no file");
        assert!(folder.write_group(&target(), at(2), &[b'x'; 60]).is_err());
        assert_eq!(folder.bytes(), 60);
        folder.write_group(&target(), at(3), &[b'x'; 40]).expect("there is room");
        folder.write_group(&target(), at(4), &[b'x'; 40]).expect("another went");
        assert_eq!(folder.bytes(), 100);
    }

    #[test]
    fn two_of_the_same_millisecond_are_two_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut folder = open(dir.path(), 100);
        for bytes in [30, 20] {
            folder.write_group(&target(), at(7), &vec![b'x'; bytes]).expect("written");
            folder.write_docker(at(7), b"d").expect("written");
        }
        assert_eq!(names(dir.path()), ["7.scrapes.gz", "8.scrapes.gz", "target.json"]);
        assert_eq!(folder.bytes(), 52);
    }
}
