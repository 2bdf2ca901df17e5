//! Reading the audit back, beside whoever writes it.
//!
//! A line that is being written has no line break yet: it is not there. That can be only the last line
//! of a file with none behind it, named or in its folder. Everything else that is not a record is told, with
//! its place.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{list, number as first_of};
use crate::audit::{Break, Check, LINE_BYTES_MAX, Link, Story, Teller};
use crate::base::Timestamp;

/// So much older records are read, too. A receipt is about a request of minutes ago, hours at most, and
/// a clock that was set back by no more than this hides nothing.
const MARGIN: Duration = Duration::from_secs(24 * 3600);

/// One line of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// In which file.
    pub path: PathBuf,
    /// Which, from 1.
    pub number: u64,
    /// The record, or how the chain is broken here.
    pub found: Result<Link, Break>,
}

/// The lines of some files, one after the other, checked as one chain.
#[derive(Debug)]
pub struct Lines {
    paths: std::vec::IntoIter<PathBuf>,
    /// Where they stand beside each other and the oldest may go at any time.
    folder: Option<PathBuf>,
    open: Option<Open>,
    /// How far the check has come.
    pub check: Check,
    /// The last file, if its last line has no line break: it is being written, or was added.
    pub left_out: Option<PathBuf>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    reader: BufReader<File>,
    /// Lines so far.
    number: u64,
    /// What the file behind it begins with, if it is the last to be read and not of its folder. As it was
    /// before the first line: a file that is followed then changes no more.
    followed_by: Option<u64>,
}

impl Lines {
    /// Files in the order of their records.
    pub fn of(paths: Vec<PathBuf>) -> Lines {
        let (check, paths) = (Check::default(), paths.into_iter());
        Lines { paths, folder: None, open: None, check, left_out: None }
    }

    /// All files of a folder, while somebody may be writing there.
    pub fn in_folder(dir: &Path) -> io::Result<Lines> {
        Ok(Lines { folder: Some(dir.to_owned()), ..Lines::of(list(dir)?) })
    }

    /// Opens the next file; `None` after the last. Files that were rotated away meanwhile are passed
    /// over.
    fn open(&mut self) -> io::Result<Option<Open>> {
        while let Some(path) = self.paths.next() {
            let is_last = self.paths.len() == 0;
            let followed_by = is_last.then(|| behind(&path)).flatten();
            match (File::open(&path), &self.folder) {
                (Ok(file), _) => {
                    let reader = BufReader::new(file);
                    return Ok(Some(Open { path, reader, number: 0, followed_by }));
                }
                (Err(error), Some(dir)) if error.kind() == io::ErrorKind::NotFound => {
                    let mut there = list(dir)?;
                    // Only the oldest go: where an older one is left, this one was taken.
                    if there.first().is_none_or(|oldest| *oldest > path) {
                        self.check.pass_over();
                    }
                    there.retain(|other| *other > path);
                    self.paths = there.into_iter();
                }
                (Err(error), _) => return Err(at(&path, &error)),
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let is_last = self.paths.len() == 0;
            let Some(open) = &mut self.open else {
                self.open = self.open()?;
                if self.open.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let mut bytes = Vec::new();
            let bound = LINE_BYTES_MAX as u64 + 1;
            let read = open.reader.by_ref().take(bound).read_until(b'\n', &mut bytes);
            read.map_err(|error| at(&open.path, &error))?;
            let is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
            let is_written = is_last && open.followed_by.is_none();
            if !is_whole && (bytes.is_empty() || is_written && (bytes.len() as u64) < bound) {
                // The end, or what is being written.
                let Some(Open { path, number, followed_by, .. }) = self.open.take() else {
                    continue;
                };
                let broken = match number {
                    0 if !is_written => Some(Break::Empty),
                    _ => followed_by.and_then(|next| self.check.ends_before(next)),
                };
                if let Some(broken) = broken {
                    return Ok(Some(Line { path, number: number + 1, found: Err(broken) }));
                }
                self.left_out = (!bytes.is_empty()).then_some(path);
                continue;
            }
            open.number += 1;
            let (path, number) = (open.path.clone(), open.number);
            let found = self.check.take(&bytes);
            let found = if number == 1 { begins(&path, found) } else { found };
            return Ok(Some(Line { path, number, found }));
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        self.read().transpose()
    }
}

/// The first line of a file; it must be the one that the file is called after.
fn begins(path: &Path, found: Result<Link, Break>) -> Result<Link, Break> {
    let link = found?;
    match named(path).filter(|named| *named != link.n) {
        Some(named) => Err(Break::Beginning { named, n: link.n }),
        None => Ok(link),
    }
}

/// The number of the first record, by the file's name.
fn named(path: &Path) -> Option<u64> {
    path.file_name().and_then(|name| name.to_str()).and_then(first_of)
}

/// The first record of the file that comes after this one in its folder, by its name. Empty files at the
/// end count as little as folders: nothing was written there yet, or they are strays.
fn behind(path: &Path) -> Option<u64> {
    let own = named(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let bytes = |path: &Path| Some(fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len());
    let beside = list(dir).unwrap_or_default();
    let mut beside: Vec<(u64, u64)> =
        beside.iter().filter_map(|path| Some((named(path)?, bytes(path)?))).collect();
    while beside.pop_if(|(_, bytes)| *bytes == 0).is_some() {}
    beside.into_iter().map(|(first, _)| first).find(|first| *first > own)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The lines of a folder from a time on; files that end before it are not opened. The first lines
/// may be older, by [`MARGIN`] and more.
pub fn since(dir: &Path, since: Timestamp) -> io::Result<Lines> {
    let mut lines = Lines::in_folder(dir)?;
    let is_old = |path: &PathBuf| {
        // One file too many is read rather than one too few.
        let link = first(path).ok().flatten();
        link.is_some_and(|link| link.record.at < since - MARGIN)
    };
    // A file's first record is as old as the last of the file before it, or younger, but for a clock
    // that was set back.
    let skipped = lines.paths.as_slice().iter().skip(1).take_while(|path| is_old(path)).count();
    lines.paths.by_ref().take(skipped).for_each(drop);
    Ok(lines)
}

/// The first record of a file, if it can be read.
fn first(path: &Path) -> io::Result<Option<Link>> {
    let mut line = Vec::new();
    let file = BufReader::new(File::open(path)?);
    file.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    line.pop_if(|last| *last == b'\n');
    Ok(Link::read(&line).ok())
}

/// What happened from a time on, to one tenant if one is named. It ends with an error when nobody waits
/// for it any more: a large audit is read for seconds.
pub fn story(
    dir: &Path,
    (from, tenant): (Timestamp, Option<String>),
    is_awaited: impl Fn() -> bool,
) -> io::Result<Story> {
    let mut teller = Teller::new(from, tenant);
    for line in since(dir, from)? {
        if !is_awaited() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody waits for it any more"));
        }
        match line?.found {
            Ok(link) => teller.take(&link.record),
            Err(_) => teller.miss(),
        }
    }
    Ok(teller.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Kind, Record};
    use crate::ledger::{LedgerConfig, Store};

    const HOUR: i64 = 3_600_000;

    /// Ten records of a day each, three to a file.
    fn written() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), (0..10).map(|day| day * 24));
        dir
    }

    /// Records at these hours, three to a file.
    fn write(dir: &Path, hours: impl Iterator<Item = i64>) {
        let config = LedgerConfig { dir: dir.to_owned(), file_bytes: 700, files: 9 };
        let mut store = Store::open(config).expect("opens").0;
        for hour in hours {
            let record = Record::new(Timestamp(hour * HOUR), Kind::SidecarStarted);
            store.append(&[record]).expect("written");
        }
    }

    fn numbers(lines: Lines) -> Vec<u64> {
        lines.map(|line| line.expect("read").found.expect("a chain").n).collect()
    }

    #[test]
    fn files_that_ended_before_are_not_read() {
        let dir = written();
        let all = list(dir.path()).expect("listed");
        assert!(all.len() >= 3, "{all:?}");
        let from = |day: i64| numbers(since(dir.path(), Timestamp(day * 24 * HOUR)).expect("read"));
        assert_eq!(from(0), (1..=10).collect::<Vec<_>>());
        let late = from(9);
        assert!(late.len() < 10 && late.ends_with(&[10]), "{late:?}");
        for day in 0..10 {
            let found = from(day);
            assert!(found.contains(&(day as u64 + 1)), "{day}: {found:?}");
        }
        assert!(numbers(since(&dir.path().join("none"), Timestamp(0)).expect("none")).is_empty());
    }

    /// So that what a record is about is found, too.
    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), [100, 110, 120, 97, 98, 99, 100].into_iter());
        let found = numbers(since(dir.path(), Timestamp(119 * HOUR)).expect("read"));
        assert!(found.contains(&3), "{found:?}");
    }

    #[test]
    fn a_file_that_is_rotated_away_under_a_reader_is_no_fault() {
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let mut lines = since(dir.path(), Timestamp(0)).expect("read");
        assert_eq!(lines.next().expect("one").expect("read").found.expect("a chain").n, 1);
        paths[..2].iter().for_each(|path| fs::remove_file(path).expect("removed"));
        let rest = numbers(lines);
        assert!(rest.starts_with(&[2, 3]) && rest.ends_with(&[10]), "{rest:?}");
        assert!(rest.len() < 9, "{rest:?}");
        // One that goes from the middle was not rotated away.
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let lines = since(dir.path(), Timestamp(0)).expect("read");
        fs::remove_file(&paths[1]).expect("removed");
        let broken = lines.filter(|line| line.as_ref().expect("read").found.is_err()).count();
        assert_eq!(broken, 1);
        let mut named = Lines::of(vec![paths[1].clone()]);
        assert!(named.next().expect("one").is_err(), "whoever names a file wants to read it");
    }

    /// What is wrong with the files, without their folder.
    fn broken(dir: &Path) -> Vec<String> {
        let lines = Lines::of(list(dir).expect("listed")).map(|line| line.expect("read"));
        let told = |line: Line| Some(format!("{}: {}", line.number, line.found.err()?));
        lines.filter_map(told).collect()
    }

    #[test]
    fn a_file_begins_with_the_record_it_is_called_after() {
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let first = fs::read_to_string(&paths[0]).expect("text");
        let (_, rest) = first.split_once('\n').expect("lines");
        assert!(broken(dir.path()).is_empty());
        fs::write(&paths[0], rest).expect("written");
        let want = "1: record 2 stands where record 1 should, by the file's name: its beginning is missing";
        assert_eq!(broken(dir.path()), [want]);
        fs::write(&paths[0], "").expect("written");
        assert_eq!(broken(dir.path()), ["1: it holds no record: its lines are missing"]);
        fs::remove_file(&paths[0]).expect("removed");
        assert!(broken(dir.path()).is_empty(), "the oldest files go when there are too many");
        fs::write(paths.last().expect("one"), "").expect("written");
        assert!(broken(dir.path()).is_empty(), "the end is for the head to find");
    }

    #[test]
    fn only_the_last_file_may_end_within_a_line() {
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let whole = fs::read(&paths[0]).expect("read");
        for (end, added) in
            [("X", true), (" ", true), ("{\"n\":4", true), ("X", false), (" ", false)]
        {
            let kept = if added { &whole[..] } else { &whole[..whole.len() - 1] };
            fs::write(&paths[0], [kept, end.as_bytes()].concat()).expect("written");
            let found = broken(dir.path());
            assert!(
                found.len() == 1
                    && ["not a record", "changed"].iter().any(|w| found[0].contains(w)),
                "{end} {added}: {found:?}"
            );
        }
        fs::write(&paths[0], &whole).expect("written");
        let left_out = || {
            let mut lines = Lines::of(list(dir.path()).expect("listed"));
            assert!(lines.by_ref().all(|line| line.expect("read").found.is_ok()));
            lines.left_out
        };
        assert_eq!(left_out(), None);
        let last = paths.last().expect("one");
        let text = fs::read_to_string(last).expect("text");
        fs::write(last, format!("{text}X")).expect("written");
        assert_eq!(left_out().as_ref(), Some(last));
    }

    /// Whoever names some of the files alone.
    #[test]
    fn a_file_with_another_behind_it_is_written_to_no_more() {
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let first = || {
            let mut lines = Lines::of(paths[..1].to_vec());
            let found = lines.by_ref().map(|line| line.expect("read"));
            let told = |line: Line| Some(format!("{}: {}", line.number, line.found.err()?));
            (found.filter_map(told).collect::<Vec<_>>(), lines.left_out)
        };
        let whole = fs::read_to_string(&paths[0]).expect("text");
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let last = lines.len();
        assert_eq!(first(), (vec![], None));
        fs::write(&paths[0], format!("{whole}X")).expect("written");
        let (found, left_out) = first();
        assert!(found.len() == 1 && found[0].starts_with(&format!("{}: ", last + 1)), "{found:?}");
        assert_eq!(left_out, None);
        fs::write(&paths[0], &whole[..whole.len() - 9]).expect("written");
        assert!(matches!(&first().0[..], [one] if one.starts_with(&format!("{last}: "))));
        fs::write(&paths[0], lines[..last - 1].concat()).expect("written");
        let want = format!(
            "{}: the file behind it begins with record {}, and it ends with record {}: its end is missing",
            last,
            last + 1,
            last - 1
        );
        assert_eq!(first().0, [want]);
        let second = fs::read_to_string(&paths[1]).expect("text");
        let more: Vec<&str> = second.split_inclusive('\n').collect();
        fs::write(&paths[0], [&whole, more[0]].concat()).expect("written");
        let want = format!(
            "{}: the file behind it begins with record {}, and it ends with record {}: it has too much",
            last + 2,
            last + 1,
            last + 1
        );
        assert_eq!(first().0, [want]);
        fs::write(&paths[0], "").expect("written");
        assert_eq!(first().0, ["1: it holds no record: its lines are missing"]);
        // A copy elsewhere has none behind it.
        let elsewhere = tempfile::tempdir().expect("a folder");
        let copy = elsewhere.path().join(paths[0].file_name().expect("a name"));
        fs::write(&copy, format!("{whole}X")).expect("written");
        let mut lines = Lines::of(vec![copy.clone()]);
        assert!(lines.by_ref().all(|line| line.expect("read").found.is_ok()));
        assert_eq!(lines.left_out, Some(copy));
    }

    #[test]
    fn what_holds_nothing_is_not_behind_the_last_file() {
        let dir = written();
        let paths = list(dir.path()).expect("listed");
        let last = paths.last().expect("one");
        let broken = |path: &PathBuf| {
            let lines = Lines::of(vec![path.clone()]).map(|line| line.expect("read"));
            lines.filter_map(|line| Some(line.found.err()?.to_string())).collect::<Vec<_>>()
        };
        fs::write(dir.path().join("audit-00000000000000000099.jsonl"), "").expect("written");
        assert!(broken(last).is_empty(), "an empty file: {:?}", broken(last));
        fs::create_dir(dir.path().join("audit-00000000000000000098.jsonl")).expect("made");
        assert!(broken(last).is_empty(), "a folder: {:?}", broken(last));
        fs::write(&paths[1], "").expect("written");
        assert!(broken(&paths[0]).is_empty(), "a file that lost its lines began somewhere");
        fs::write(&paths[0], "").expect("written");
        assert_eq!(broken(&paths[0]), ["it holds no record: its lines are missing"]);
    }

    #[test]
    fn a_line_under_way_is_not_there_and_rubbish_has_a_place() {
        let dir = written();
        let path = list(dir.path()).expect("listed").pop().expect("one");
        let whole = fs::read(&path).expect("read");
        let count = whole.iter().filter(|byte| **byte == b'\n').count() as u64;
        fs::write(&path, [&whole[..], b"{\"n\":11,\"at\""].concat()).expect("written");
        assert_eq!(numbers(Lines::of(vec![path.clone()])).len() as u64, count);
        let endless = vec![b'x'; 3 * LINE_BYTES_MAX];
        fs::write(&path, [&whole[..], &endless].concat()).expect("written");
        let found: Vec<Line> = Lines::of(vec![path]).map(|line| line.expect("read")).collect();
        let bad: Vec<u64> =
            found.iter().filter(|line| line.found.is_err()).map(|line| line.number).collect();
        assert_eq!(bad.first(), Some(&(count + 1)), "{bad:?}");
    }

    #[test]
    fn a_story_says_at_how_many_lines_its_chain_is_broken() {
        let dir = written();
        let story = |day: i64| {
            let from = Timestamp(day * 24 * HOUR);
            story(dir.path(), (from, None), || true).expect("read").broken_lines
        };
        assert_eq!(story(0), 0);
        let path = list(dir.path()).expect("listed").remove(0);
        let text = fs::read_to_string(&path).expect("text").replace("\"n\":2,", "\"n\":5,");
        fs::write(&path, text).expect("written");
        assert_eq!((story(0), story(9)), (1, 0));
    }

    #[test]
    fn a_story_that_nobody_waits_for_is_not_read_to_its_end() {
        let dir = written();
        let asked = std::cell::Cell::new(0);
        let is_awaited = || asked.replace(asked.get() + 1) < 4;
        let told = story(dir.path(), (Timestamp(0), None), is_awaited);
        assert_eq!(told.expect_err("ended").kind(), io::ErrorKind::TimedOut);
        assert_eq!(asked.get(), 5);
    }
}
