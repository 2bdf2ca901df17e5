//! Reading small files of the kernel, again and again, cheaply.
//!
//! A handle that is kept open costs one `pread` a reading instead of open, read and close, and the
//! kernel walks no path. Handles are kept while at most half of the process's file limit is in use
//! by them; beyond that files are opened and closed each time. The kernel makes such a file's text
//! when it is read from its start, so a kept handle never shows an old value; of a cgroup that is
//! gone it shows `ENODEV`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// More than any file that is read here: `memory.stat` has some 2 kB, `/proc/stat` of 500 cores 100.
const BUFFER_BYTES: usize = 256 << 10;
/// `ENODEV`: what the kernel says of a file whose cgroup has been removed.
const NO_DEVICE: i32 = 19;

/// A file that is read in every cycle.
#[derive(Debug, Default)]
pub(super) enum Handle {
    /// Not open.
    #[default]
    Closed,
    /// Kept open.
    Open(File),
    /// There is no such file on this kernel, or it is there and says nothing; not asked for again before
    /// the next walk.
    Absent,
}

/// Reads a file from a place on: [`File::read_at`], but in tests.
type ReadAt = fn(&File, &mut [u8], u64) -> io::Result<usize>;

/// Reads files into one buffer and counts the handles that are kept.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    path: PathBuf,
    kept: usize,
    kept_max: usize,
    read_at: ReadAt,
    /// System calls made for reading, for the benchmark and for nothing else.
    pub calls: u64,
}

impl Reader {
    /// Keeps at most this many handles.
    pub fn new(kept_max: usize) -> Reader {
        let buffer = vec![0; BUFFER_BYTES];
        let read_at: ReadAt = File::read_at;
        Reader { buffer, path: PathBuf::new(), kept: 0, kept_max, read_at, calls: 0 }
    }

    /// One to which files say what the kernel's say elsewhere.
    #[cfg(test)]
    pub fn of(read_at: ReadAt) -> Reader {
        Reader { read_at, ..Reader::new(usize::MAX) }
    }

    /// Reads a file once. It is not kept open.
    pub fn read_once(&mut self, path: &Path) -> io::Result<&[u8]> {
        let file = File::open(path)?;
        self.calls += 3;
        let length = read_once(self.read_at, &mut self.buffer, &file)?;
        Ok(&self.buffer[..length])
    }

    /// Reads a file to its end. Of a list the kernel gives as many lines at once as fit a page.
    pub fn read_whole(&mut self, path: &Path) -> io::Result<&[u8]> {
        let file = File::open(path)?;
        self.calls += 2;
        let mut length = 0;
        loop {
            self.calls += 1;
            match (self.read_at)(&file, &mut self.buffer[length..], length as u64)? {
                0 if length == self.buffer.len() => return Err(too_large()),
                0 => return Ok(&self.buffer[..length]),
                more => length += more,
            }
        }
    }

    /// Reads what its handle already knows. `None`: it is yet to be opened.
    pub fn again(&mut self, handle: &mut Handle) -> Option<io::Result<Option<&[u8]>>> {
        let file = match handle {
            Handle::Closed => return None,
            Handle::Absent => return Some(Ok(None)),
            Handle::Open(file) => file,
        };
        self.calls += 1;
        let read = read_once(self.read_at, &mut self.buffer, file);
        if has_none(&read) {
            self.kept -= 1;
            *handle = Handle::Absent;
            return Some(Ok(None));
        }
        Some(read.map(|length| Some(&self.buffer[..length])))
    }

    /// Opens the file `parts` make up and reads it. The handle is kept open if `spare` more could
    /// be. `Ok(None)`: there is no such file.
    pub fn open(
        &mut self,
        handle: &mut Handle,
        parts: &[&Path],
        spare: usize,
    ) -> io::Result<Option<&[u8]>> {
        self.path.clear();
        self.path.extend(parts);
        self.calls += 1;
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *handle = Handle::Absent;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.calls += 1;
        let read = read_once(self.read_at, &mut self.buffer, &file);
        if read.is_ok() && self.kept.saturating_add(spare) < self.kept_max {
            self.kept += 1;
            *handle = Handle::Open(file);
        } else {
            self.calls += 1;
        }
        if has_none(&read) {
            *handle = Handle::Absent;
            return Ok(None);
        }
        read.map(|length| Some(&self.buffer[..length]))
    }

    /// Closes handles that are no longer needed.
    pub fn close(&mut self, handles: &mut [Handle]) {
        for handle in handles {
            if let Handle::Open(_) = std::mem::take(handle) {
                self.kept -= 1;
            }
        }
    }

    /// Handles that are open.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Handles that may be open at most.
    pub fn kept_max(&self) -> usize {
        self.kept_max
    }
}

/// One read is the whole file of a cgroup: the kernel makes its text in one piece.
fn read_once(read_at: ReadAt, buffer: &mut [u8], file: &File) -> io::Result<usize> {
    let length = read_at(file, buffer, 0)?;
    if length == buffer.len() {
        return Err(too_large());
    }
    Ok(length)
}

fn too_large() -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, "is larger than any file of its kind")
}

/// Whether the kernel shows a file and does not have what it would say: so it is with every `.pressure`
/// while pressure is not accounted (`psi=0`, and by default on some distributions).
fn has_none(read: &io::Result<usize>) -> bool {
    let error = read.as_ref().err().and_then(Errno::from_io_error);
    error == Some(Errno::OPNOTSUPP)
}

/// Whether an error means that the cgroup, or the process, has gone away.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_DEVICE)
}

/// How many handles may be kept: half of this process's soft limit of open files.
pub(super) fn handles_allowed() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_kept_up_to_the_limit_and_read_anew_each_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
        };
        write("a", "1");
        write("b", "2");
        fn read<'r>(
            reader: &'r mut Reader,
            handle: &mut Handle,
            parts: &[&Path],
        ) -> io::Result<Option<&'r [u8]>> {
            match handle {
                Handle::Closed => reader.open(handle, parts, 0),
                _ => reader.again(handle).expect("it was opened"),
            }
        }
        let mut reader = Reader::new(1);
        let (mut a, mut b, mut c) = (Handle::Closed, Handle::Closed, Handle::Closed);
        for round in 0..2 {
            write("a", &format!("a{round}"));
            write("b", &format!("b{round}"));
            for (handle, name) in [(&mut a, "a"), (&mut b, "b")] {
                let parts = [dir.path(), Path::new(name)];
                let text = read(&mut reader, handle, &parts).expect("is there").expect("is there");
                assert_eq!(text, format!("{name}{round}").as_bytes());
            }
            let parts = [dir.path(), Path::new("c")];
            assert_eq!(read(&mut reader, &mut c, &parts).expect("no fault"), None);
        }
        assert!(matches!((&a, &b, &c), (Handle::Open(_), Handle::Closed, Handle::Absent)));
        assert_eq!(reader.kept(), 1);
        assert_eq!(reader.calls, 2 + 3 + 1 + 1 + 3, "open, read; open, read, close; open; ...");
        reader.close(std::slice::from_mut(&mut a));
        assert_eq!(reader.kept(), 0);
        std::fs::create_dir(dir.path().join("d")).expect("made");
        let mut d = Handle::Closed;
        read(&mut reader, &mut d, &[dir.path(), Path::new("d")]).expect_err("a folder");
        assert_eq!(reader.kept(), 0, "what cannot be read is not kept, and not counted");
    }

    #[test]
    fn a_file_that_the_kernel_shows_and_does_not_have_is_absent() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("cpu.pressure");
        std::fs::write(&path, "some").expect("written");
        let mut reader = Reader::new(1);
        let mut handle = Handle::Closed;
        reader.open(&mut handle, &[&path], 0).expect("is read");
        assert_eq!(reader.kept(), 1);
        reader.read_at = |_, _, _| Err(Errno::OPNOTSUPP.into());
        assert_eq!(reader.again(&mut handle).expect("is open").expect("no fault"), None);
        assert!(matches!(handle, Handle::Absent));
        assert_eq!(reader.kept(), 0, "and is not kept open");
        let mut handle = Handle::Closed;
        assert_eq!(reader.open(&mut handle, &[&path], 0).expect("no fault"), None);
        assert!(matches!(handle, Handle::Absent));
        assert_eq!(reader.kept(), 0);
        assert!(reader.read_once(&path).is_err(), "who must know is told");
    }

    /// As `/proc/net/dev` and `/proc/diskstats` are read.
    #[test]
    fn a_list_is_read_to_its_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("diskstats");
        std::fs::write(&path, "line\n".repeat(10)).expect("written");
        let mut reader = Reader::of(|file, buffer, at| {
            let page = buffer.len().min(5);
            file.read_at(&mut buffer[..page], at)
        });
        assert_eq!(reader.read_once(&path).expect("is read").len(), 5, "a page");
        assert_eq!(reader.read_whole(&path).expect("is read").len(), 50);
        std::fs::write(&path, "x".repeat(BUFFER_BYTES)).expect("written");
        let error = Reader::new(0).read_whole(&path).expect_err("too much");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn half_of_the_files_that_may_be_open_are_for_handles() {
        let limit = getrlimit(Resource::Nofile).current.expect("a limit");
        let kept = handles_allowed() as u64;
        assert!(kept > 0 && (limit - 1..=limit).contains(&(2 * kept)), "{kept} of {limit}");
    }

    #[test]
    fn a_cgroup_that_was_removed_is_gone_and_one_that_is_forbidden_is_not() {
        assert!(is_gone(&io::Error::from_raw_os_error(NO_DEVICE)), "through a kept handle");
        assert!(is_gone(&io::Error::from(ErrorKind::NotFound)));
        assert!(!is_gone(&io::Error::from(ErrorKind::PermissionDenied)));
    }
}
