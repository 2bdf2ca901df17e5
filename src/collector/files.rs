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
    /// There is no such file on this kernel; not asked for again while its cgroup lives.
    Absent,
}

/// Reads files into one buffer and counts the handles that are kept.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    path: PathBuf,
    kept: usize,
    kept_max: usize,
    /// System calls made for reading, for the benchmark and for nothing else.
    pub calls: u64,
}

impl Reader {
    /// Keeps at most this many handles.
    pub fn new(kept_max: usize) -> Reader {
        let buffer = vec![0; BUFFER_BYTES];
        Reader { buffer, path: PathBuf::new(), kept: 0, kept_max, calls: 0 }
    }

    /// Reads a file once. It is not kept open.
    pub fn read_once(&mut self, path: &Path) -> io::Result<&[u8]> {
        let file = File::open(path)?;
        self.calls += 3;
        self.fill(&file)
    }

    /// Reads what its handle already knows. `None`: it is yet to be opened.
    pub fn again(&mut self, handle: &Handle) -> Option<io::Result<Option<&[u8]>>> {
        match handle {
            Handle::Closed => None,
            Handle::Absent => Some(Ok(None)),
            Handle::Open(file) => {
                self.calls += 1;
                Some(read_into(&mut self.buffer, file).map(Some))
            }
        }
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
        if self.kept.saturating_add(spare) < self.kept_max {
            self.calls += 1;
            let text = read_into(&mut self.buffer, &file)?;
            self.kept += 1;
            *handle = Handle::Open(file);
            return Ok(Some(text));
        }
        self.calls += 2;
        self.fill(&file).map(Some)
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

    fn fill(&mut self, file: &File) -> io::Result<&[u8]> {
        read_into(&mut self.buffer, file)
    }
}

/// One read is the whole file: the kernel makes the text of these files in one piece.
fn read_into<'b>(buffer: &'b mut [u8], file: &File) -> io::Result<&'b [u8]> {
    let length = file.read_at(buffer, 0)?;
    if length == buffer.len() {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "is larger than any file of its kind"));
    }
    Ok(&buffer[..length])
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
