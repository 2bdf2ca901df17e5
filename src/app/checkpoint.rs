//! Writes the window to disk every half minute, beside the loop.
//!
//! A thread has the file; the loop hands it one part of the window after the other, each when the
//! one before is written. So a disk that hangs holds one part and the thread, and neither the loop
//! nor memory. The file is replaced whole: who opens it finds the old window or the new one. It is
//! not synced, because losing it costs a few minutes of ranges and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc as tokio_mpsc;

use crate::engine::{Checkpoint, Engine};

/// From one checkpoint to the next.
const EVERY: Duration = Duration::from_secs(30);
/// Series name tenants, so the file is for its own user only.
const FILE_MODE: u32 = 0o600;

/// What the thread writes next.
struct Part {
    bytes: Vec<u8>,
    is_first: bool,
    is_last: bool,
}

/// The loop's end of it.
pub struct CheckpointWriter {
    path: PathBuf,
    parts: mpsc::Sender<Part>,
    /// One answer for each part.
    written: tokio_mpsc::UnboundedReceiver<io::Result<()>>,
    /// Under way: how far it is, and whether the part that is being written is its last.
    open: Option<(Checkpoint, bool)>,
    next: Duration,
}

impl CheckpointWriter {
    /// Starts the thread; the first checkpoint is due after `now`, on the monotonic clock.
    pub fn start(path: PathBuf, now: Duration) -> io::Result<CheckpointWriter> {
        let (parts, asked) = mpsc::channel::<Part>();
        let (answer, written) = tokio_mpsc::unbounded_channel();
        let mut file = Replacement { path: path.clone(), file: None };
        std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            while let Ok(part) = asked.recv() {
                if answer.send(file.write(&part)).is_err() {
                    return;
                }
            }
        })?;
        Ok(CheckpointWriter { path, parts, written, open: None, next: now + EVERY })
    }

    /// When [`Self::go_on`] has something to do without an answer of the thread.
    pub fn due(&self) -> Option<Duration> {
        self.open.is_none().then_some(self.next)
    }

    /// The thread's answer to a part; for ever pending while there is none.
    pub async fn written(&mut self) -> io::Result<()> {
        match self.written.recv().await {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    /// Begins a checkpoint if one is due.
    pub fn begin(&mut self, engine: &Engine, now: Duration) {
        if self.due().is_some_and(|due| due <= now) {
            self.next = now + EVERY;
            self.hand_over(engine, Checkpoint::default(), true);
        }
    }

    /// Goes on after an answer of the thread.
    pub fn go_on(&mut self, engine: &Engine, written: io::Result<()>) {
        let open = self.open.take();
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.path.display(), "window checkpoint not written");
        } else if let Some((checkpoint, false)) = open {
            self.hand_over(engine, checkpoint, false);
        }
    }

    /// Writes the window once more, whole, and waits for it as long as `grace`.
    pub async fn finish(mut self, engine: &Engine, grace: Duration) {
        let all = async {
            if self.open.take().is_some() {
                // What was under way is older than what comes now.
                self.written().await.ok();
            }
            self.hand_over(engine, Checkpoint::default(), true);
            while self.open.is_some() {
                let written = self.written().await;
                self.go_on(engine, written);
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("window checkpoint not written in time");
        }
    }

    fn hand_over(&mut self, engine: &Engine, mut checkpoint: Checkpoint, is_first: bool) {
        let (bytes, goes_on) = engine.checkpoint_part(&mut checkpoint);
        if self.parts.send(Part { bytes, is_first, is_last: !goes_on }).is_ok() {
            self.open = Some((checkpoint, !goes_on));
        }
    }
}

/// A file that takes the place of another once it is whole.
struct Replacement {
    path: PathBuf,
    file: Option<File>,
}

impl Replacement {
    fn write(&mut self, part: &Part) -> io::Result<()> {
        let new = self.path.with_extension("new");
        if part.is_first {
            let mut open = OpenOptions::new();
            open.write(true).create(true).truncate(true).mode(FILE_MODE);
            self.file = Some(open.open(&new)?);
        }
        let Some(mut file) = self.file.take() else {
            return Err(io::Error::other("its first part was not written"));
        };
        file.write_all(&part.bytes)?;
        if part.is_last {
            return fs::rename(new, &self.path);
        }
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_the_old_one_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("window");
        fs::write(&path, "old").expect("written");
        let mut file = Replacement { path: path.clone(), file: None };
        let mut write = |bytes: &str, is_first, is_last| {
            file.write(&Part { bytes: bytes.into(), is_first, is_last })
        };
        write("ne", true, false).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "old");
        // It is begun anew, as at a stop.
        write("ne", true, false).expect("written");
        write("w", false, true).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it names tenants");
        assert!(write("w", false, true).is_err(), "it has no beginning");
    }
}
