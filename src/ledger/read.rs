//! Reading the audit back, beside whoever writes it.
//!
//! A line that is being written has no line break yet: it is not there. That can be only the last line
//! of the last file. Everything else that is not a record is told, with its place.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::files::{list, number as first_of};
use crate::audit::{Break, Check, LINE_BYTES_MAX, Link, Story, Teller};
use crate::base::Timestamp;

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
    open: Option<(PathBuf, BufReader<File>, u64)>,
    /// How far the check has come.
    pub check: Check,
    /// The last file, if its last line has no line break: it is being written, or was added.
    pub left_out: Option<PathBuf>,
}

impl Lines {
    /// Files in the order of their records.
    pub fn of(paths: Vec<PathBuf>) -> Lines {
        Lines { paths: paths.into_iter(), open: None, check: Check::default(), left_out: None }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some((path, reader, number)) = &mut self.open else {
                let Some(path) = self.paths.next() else { return Ok(None) };
                let file = File::open(&path).map_err(|error| at(&path, &error))?;
                self.open = Some((path, BufReader::new(file), 0));
                continue;
            };
            let mut bytes = Vec::new();
            let bound = LINE_BYTES_MAX as u64 + 1;
            let read = reader.by_ref().take(bound).read_until(b'\n', &mut bytes);
            read.map_err(|error| at(path, &error))?;
            let is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
            let is_last = self.paths.len() == 0;
            if !is_whole && (bytes.is_empty() || is_last && (bytes.len() as u64) < bound) {
                // The end, or what is being written.
                let is_missing = *number == 0 && !is_last;
                let found = Line { path: path.clone(), number: 1, found: Err(Break::Empty) };
                self.left_out =
                    self.open.take().map(|(path, ..)| path).filter(|_| !bytes.is_empty());
                if is_missing {
                    return Ok(Some(found));
                }
                continue;
            }
            *number += 1;
            let (path, number) = (path.clone(), *number);
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
    let named = path.file_name().and_then(|name| name.to_str()).and_then(first_of);
    match named.filter(|named| *named != link.n) {
        Some(named) => Err(Break::Beginning { named, n: link.n }),
        None => Ok(link),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The lines of a folder from a time on; files that end before it are not opened. The first lines
/// may be older.
pub fn since(dir: &Path, since: Timestamp) -> io::Result<Lines> {
    let paths = list(dir)?;
    // A file's first record is as old as the last of the file before it, or younger.
    let begins_after = |path: &PathBuf| {
        let first = Lines::of(vec![path.clone()]).next();
        let link = first.and_then(Result::ok).and_then(|line| line.found.ok());
        link.is_some_and(|link| link.record.at >= since)
    };
    let skipped = paths.iter().skip(1).take_while(|path| !begins_after(path)).count();
    Ok(Lines::of(paths[skipped.min(paths.len())..].to_vec()))
}

/// What happened from a time on, to one tenant if one is named; and at how many lines the chain is
/// broken.
pub fn story(dir: &Path, from: Timestamp, tenant: Option<String>) -> io::Result<(Story, u64)> {
    let mut teller = Teller::new(from, tenant);
    let mut broken = 0;
    for line in since(dir, from)? {
        match line?.found {
            Ok(link) => teller.take(&link.record),
            Err(_) => broken += 1,
        }
    }
    Ok((teller.finish(), broken))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::audit::{Kind, Record};
    use crate::ledger::{LedgerConfig, Store};

    /// Ten records of one second each, three to a file.
    fn written() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        let config = LedgerConfig { dir: dir.path().to_owned(), file_bytes: 700, files: 9 };
        let mut store = Store::open(config).expect("opens").0;
        for second in 0..10 {
            let record = Record::new(Timestamp(second * 1000), Kind::SidecarStarted);
            store.append(&[record]).expect("written");
        }
        dir
    }

    fn numbers(lines: Lines) -> Vec<u64> {
        lines.map(|line| line.expect("read").found.expect("a chain").n).collect()
    }

    #[test]
    fn files_that_ended_before_are_not_read() {
        let dir = written();
        let all = list(dir.path()).expect("listed");
        assert!(all.len() >= 3, "{all:?}");
        let from =
            |second: i64| numbers(since(dir.path(), Timestamp(second * 1000)).expect("read"));
        assert_eq!(from(0), (1..=10).collect::<Vec<_>>());
        let late = from(9);
        assert!(late.len() < 10 && late.ends_with(&[10]), "{late:?}");
        for second in 0..10 {
            let found = from(second);
            assert!(found.contains(&(second as u64 + 1)), "{second}: {found:?}");
        }
        assert!(numbers(since(&dir.path().join("none"), Timestamp(0)).expect("none")).is_empty());
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
}
