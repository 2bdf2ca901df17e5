//! One writer's view of the folder: where the chain stands, and how lines get behind it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::LedgerConfig;
use super::end::End;
use crate::audit::{Chain, ChainEnd, Record};

/// Records name tenants, so they are for this user only.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What the end of the audit looked like at the start, if it was not whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resumed {
    /// Bytes of a half-written line that were cut off.
    pub cut_bytes: u64,
    /// What was wrong, in one sentence.
    pub reason: String,
}

/// The files, open for appending.
#[derive(Debug)]
pub struct Store {
    config: LedgerConfig,
    chain: Chain,
    /// The newest file; `None` before the first record.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// Bytes that are whole lines; the file may hold more after a write that failed.
    length: u64,
    /// Bytes behind `length` must be cut off before anything is appended.
    is_torn: bool,
}

/// The audit's files in a folder, oldest first. A folder that is not there has none.
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().and_then(number).is_some();
        let is_file = !entry.file_type()?.is_dir();
        paths.extend((is_ours && is_file).then(|| entry.path()));
    }
    // Names are of one length, so they sort as their numbers do.
    paths.sort();
    Ok(paths)
}

fn name(first: u64) -> String {
    format!("audit-{first:020}.jsonl")
}

/// The number of the first record, by the file's name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

impl Store {
    /// Opens the folder and finds the end of the chain. A half-written line is cut off; whatever else
    /// cannot be believed is left where it is for `plimsoll audit verify`, and its number not given again.
    pub fn open(config: LedgerConfig) -> io::Result<(Store, Option<Resumed>)> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(&config.dir)?;
        let paths = list(&config.dir)?;
        let mut store = Store { config, chain: Chain::default(), open: None };
        let mut resumed = None;
        let mut used = 0;
        for path in paths.iter().rev() {
            let end = End::find(path)?;
            if end.is_empty() {
                continue;
            }
            if used == 0 {
                let first = path.file_name().and_then(|name| name.to_str()).and_then(number);
                used = first.unwrap_or_default().saturating_sub(u64::from(end.length == 0));
                store.open = Open::at(path, &end)?;
            }
            let cut_bytes = end.torn;
            if let Some(reason) = end.fault() {
                resumed.get_or_insert(Resumed { cut_bytes, reason });
            }
            if let Some(chain) = end.chain {
                store.chain = chain;
                break;
            }
        }
        store.chain.sequence = store.chain.sequence.max(used);
        // It may have been begun, and nothing written yet.
        let is_begun = |next| paths.contains(&store.config.dir.join(name(next)));
        if store.chain.next().is_ok_and(is_begun) {
            store.open = None;
        }
        Ok((store, resumed))
    }

    /// Where the chain has got to.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Appends records; when it returns they are on disk. After an error none of them is, as far as
    /// the chain goes.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut chain = self.chain.clone();
        let mut bytes = Vec::new();
        for record in records {
            let line = chain.seal(record).map_err(|end| self.full(end))?;
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let full = |open: &Open| open.length + bytes.len() as u64 > self.config.file_bytes;
        if self.open.as_ref().is_none_or(|open| open.length > 0 && full(open)) {
            self.begin_file()?;
        }
        let open = self.open.as_mut().expect("a file was begun if there was none");
        open.write(&bytes)?;
        self.chain = chain;
        Ok(())
    }

    /// Begins the next file and removes the oldest beyond the bound.
    fn begin_file(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            // A torn end would stay for ever, as nobody opens this file for writing again.
            open.mend()?;
        }
        let first = self.chain.next().map_err(|end| self.full(end))?;
        let path = self.config.dir.join(name(first));
        let mut file = append_to(&path)?;
        // An empty one may be left of an attempt that failed here. What holds something is not ours.
        if file.metadata()?.len() > 0 {
            fs::rename(&path, aside(&path))?;
            file = append_to(&path)?;
        }
        File::open(&self.config.dir)?.sync_all()?;
        self.open = Some(Open { path, file, length: 0, is_torn: false });
        let paths = list(&self.config.dir)?;
        let surplus = paths.len().saturating_sub(self.config.files.max(1));
        // One that cannot be removed keeps none of the others.
        paths[..surplus].iter().map(fs::remove_file).fold(Ok(()), Result::and)
    }

    fn full(&self, end: ChainEnd) -> io::Error {
        let dir = self.config.dir.display();
        io::Error::other(format!(
            "{end}: move the files out of {dir} while plimsoll is stopped, and it begins anew"
        ))
    }
}

impl Open {
    /// Opens a file at its end, if it can go on there; what is torn is cut off.
    fn at(path: &Path, end: &End) -> io::Result<Option<Open>> {
        if !end.goes_on {
            return Ok(None);
        }
        let (path, file) = (path.to_owned(), append_to(path)?);
        if end.torn > 0 {
            file.set_len(end.length)?;
            file.sync_all()?;
        }
        Ok(Some(Open { path, file, length: end.length, is_torn: false }))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.is_torn = true;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn mend(&mut self) -> io::Result<()> {
        // Someone's log rotation, or a removed file: go on in a new one at the same place.
        if !self.path.exists() {
            self.file = append_to(&self.path)?;
            (self.length, self.is_torn) = (0, false);
        }
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

/// A name beside a file under which nothing is found.
fn aside(path: &Path) -> PathBuf {
    let name = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{n}"));
        PathBuf::from(name)
    };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    (1..).map(name).find(is_free).unwrap_or_else(|| name(0))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Check, Kind, LINE_BYTES_MAX};
    use crate::base::Timestamp;

    fn records(count: usize) -> Vec<Record> {
        vec![Record::new(Timestamp(0), Kind::SidecarStarted); count]
    }

    fn config(dir: &Path) -> LedgerConfig {
        LedgerConfig { dir: dir.to_owned(), file_bytes: 1 << 20, files: 3 }
    }

    /// Opens it and says what was found; the chain goes on where it stood.
    fn open(dir: &Path) -> (Store, Option<Resumed>) {
        Store::open(config(dir)).expect("opens")
    }

    /// The numbers in the files; every line must hold.
    fn numbers(dir: &Path) -> Vec<u64> {
        let mut check = Check::default();
        let texts = list(dir).expect("listed").into_iter().map(fs::read_to_string);
        let text: String = texts.map(|text| text.expect("text")).collect();
        let take = |line: &str| check.take(line.as_bytes()).expect("a chain").n;
        text.lines().map(take).collect()
    }

    #[test]
    fn the_chain_goes_on_over_restarts_and_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("audit");
        for round in 0..4 {
            let (mut store, resumed) = open(&dir);
            assert_eq!((store.chain().sequence, resumed), (round * 2, None));
            store.append(&records(2)).expect("written");
        }
        assert_eq!(numbers(&dir), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(list(&dir).expect("listed").len(), 1);
    }

    #[test]
    fn files_have_a_size_and_a_number() {
        let dir = tempfile::tempdir().expect("a folder");
        let small = LedgerConfig { file_bytes: 600, ..config(dir.path()) };
        let mut store = Store::open(small.clone()).expect("opens").0;
        for _ in 0..20 {
            store.append(&records(1)).expect("written");
        }
        let paths = list(dir.path()).expect("listed");
        assert_eq!(paths.len(), 3);
        for path in &paths {
            assert!(fs::metadata(path).expect("there").len() <= 600, "{path:?}");
        }
        let kept = numbers(dir.path());
        assert_eq!(kept.last(), Some(&20), "the newest is there: {kept:?}");
        assert!(paths[0].ends_with(name(kept[0])), "{paths:?}");
        let (mut store, resumed) = Store::open(small).expect("opens");
        assert_eq!(resumed, None);
        store.append(&records(9)).expect("a group larger than a file is written whole");
        assert_eq!(numbers(dir.path()).last(), Some(&29));
    }

    /// Whatever byte a crash stops at.
    #[test]
    fn a_half_written_line_is_cut_off() {
        let dir = tempfile::tempdir().expect("a folder");
        open(dir.path()).0.append(&records(3)).expect("written");
        let path = list(dir.path()).expect("listed").remove(0);
        let whole = fs::read(&path).expect("read");
        let line = whole.len() / 3;
        for cut in 0..=line {
            fs::write(&path, &whole[..whole.len() - cut]).expect("written");
            let (mut store, resumed) = open(dir.path());
            let torn = if cut == 0 || cut == line { 0 } else { (line - cut) as u64 };
            assert_eq!(resumed.map_or(0, |resumed| resumed.cut_bytes), torn, "{cut}");
            assert_eq!(store.chain().sequence, if cut == 0 { 3 } else { 2 });
            store.append(&records(2)).expect("written");
            assert_eq!(numbers(dir.path()).len(), if cut == 0 { 5 } else { 4 }, "{cut}");
        }
        // Nothing but half a line, and an empty file behind a good one.
        fs::write(&path, &whole[..line / 2]).expect("written");
        let (store, resumed) = open(dir.path());
        assert_eq!((store.chain().sequence, resumed.is_some()), (0, true));
        fs::write(&path, &whole).expect("written");
        fs::write(dir.path().join(name(4)), "").expect("written");
        let (mut store, resumed) = open(dir.path());
        assert_eq!((store.chain().sequence, resumed), (3, None));
        store.append(&records(1)).expect("written");
        assert_eq!(numbers(dir.path()), [1, 2, 3, 4]);
    }

    #[test]
    fn a_line_that_was_changed_stays_and_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        open(dir.path()).0.append(&records(3)).expect("written");
        let path = list(dir.path()).expect("listed").remove(0);
        let text = fs::read_to_string(&path).expect("read");
        let changed = text.replace("{\"n\":3,", "{\"n\":4,");
        fs::write(&path, &changed).expect("written");
        let (mut store, resumed) = open(dir.path());
        let reason = resumed.expect("told").reason;
        assert!(reason.contains("it was changed"), "{reason}");
        assert_eq!(store.chain().sequence, 2, "what can be believed");
        store.append(&records(1)).expect("written");
        assert!(fs::read_to_string(&path).expect("read").starts_with(&changed), "left as it is");
    }

    #[test]
    fn a_file_that_was_taken_away_is_begun_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = open(dir.path()).0;
        store.append(&records(2)).expect("written");
        fs::remove_file(list(dir.path()).expect("listed").remove(0)).expect("removed");
        store.append(&records(2)).expect("written");
        assert_eq!(numbers(dir.path()), [3, 4]);
    }

    /// Files of one record at most.
    fn small(dir: &Path) -> LedgerConfig {
        LedgerConfig { dir: dir.to_owned(), file_bytes: 300, files: 9 }
    }

    /// Appends one record after a start, and says what the start found.
    fn restart_and_append(config: &LedgerConfig) -> Option<Resumed> {
        let (mut store, resumed) = Store::open(config.clone()).expect("opens");
        store.append(&records(1)).expect("written");
        resumed
    }

    #[test]
    fn a_full_file_whose_end_cannot_be_believed_is_not_emptied() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = small(dir.path());
        restart_and_append(&config);
        let evidence = "{\"n\":2,\"at\":\"changed by hand\"}\n".repeat(50);
        let path = dir.path().join(name(2));
        fs::write(&path, &evidence).expect("written");
        for round in 0..3 {
            let resumed = restart_and_append(&config);
            assert_eq!(resumed.is_some(), round == 0, "{resumed:?}");
            assert_eq!(fs::read_to_string(&path).expect("there"), evidence);
        }
        let store = Store::open(config).expect("opens").0;
        assert_eq!(store.chain().sequence, 5, "record 2 stood in the file, whatever it said");
    }

    /// No line of ours is as long as this, so it is none that was half-written.
    #[test]
    fn an_end_that_is_no_half_written_line_is_not_cut_off() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = small(dir.path());
        restart_and_append(&config);
        let evidence = "x".repeat(3 * LINE_BYTES_MAX);
        let path = dir.path().join(name(2));
        for end in ["", "\n"] {
            let evidence = evidence.clone() + end;
            fs::write(&path, &evidence).expect("written");
            let resumed = restart_and_append(&config).expect("told");
            assert_eq!(resumed.cut_bytes, 0, "{resumed:?}");
            assert_eq!(fs::read_to_string(&path).expect("there"), evidence);
            let newest = list(dir.path()).expect("listed").pop().expect("one");
            assert!(newest.ends_with(name(3)), "{newest:?}");
            fs::remove_file(newest).expect("removed");
        }
    }

    #[test]
    fn a_file_that_is_in_the_way_of_the_next_is_moved_aside() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(small(dir.path())).expect("opens").0;
        store.append(&records(1)).expect("written");
        for n in 2..4 {
            fs::write(dir.path().join(name(n)), format!("of {n}")).expect("written");
            fs::write(dir.path().join(name(n) + ".aside-1"), "older").expect("written");
            store.append(&records(1)).expect("written");
            let aside = fs::read_to_string(dir.path().join(name(n) + ".aside-2"));
            assert_eq!(aside.expect("kept"), format!("of {n}"));
        }
        assert_eq!(numbers(dir.path()), [1, 2, 3]);
        let older = fs::read_to_string(dir.path().join(name(2) + ".aside-1"));
        assert_eq!(older.expect("kept"), "older");
    }

    /// A stray whose name comes last is neither written to nor taken for the end.
    #[test]
    fn an_empty_file_that_is_not_the_next_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(name(u64::MAX)), "").expect("written");
        fs::create_dir(dir.path().join(name(98))).expect("made");
        for _ in 0..3 {
            assert_eq!(restart_and_append(&small(dir.path())), None);
        }
        assert_eq!(numbers(dir.path()), [1, 2, 3]);
        let stray = fs::metadata(dir.path().join(name(u64::MAX))).expect("there");
        assert_eq!(stray.len(), 0);
    }

    #[test]
    fn an_audit_with_the_highest_number_takes_no_record_and_says_why() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut chain = Chain { sequence: u64::MAX - 1, ..Chain::default() };
        let line = chain.seal(&records(1)[0]).expect("the last number");
        let path = dir.path().join(name(u64::MAX));
        for text in [line + "\n", "no record\n".to_owned()] {
            fs::write(&path, &text).expect("written");
            let mut store = open(dir.path()).0;
            for _ in 0..2 {
                let error = store.append(&records(1)).expect_err("no number is left").to_string();
                assert!(error.contains("highest number") && error.contains("move"), "{error}");
            }
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
    }

    #[test]
    fn records_before_much_rubbish_keep_their_numbers() {
        let dir = tempfile::tempdir().expect("a folder");
        open(dir.path()).0.append(&records(3)).expect("written");
        let path = list(dir.path()).expect("listed").remove(0);
        let text = fs::read_to_string(&path).expect("text") + &"rubbish\n".repeat(1 << 17);
        fs::write(&path, &text).expect("written");
        assert_eq!(open(dir.path()).0.chain().sequence, 3);
    }
}
