//! The flight recorder: what every target has sent in the last hours, in files that `plimsoll replay`
//! reads.
//!
//! Off unless it is configured. Scrapes of some minutes are written together, series by series
//! ([`group`]), because a page differs from the one before only in its values, and a gzip window is
//! shorter than a page. Everything slow happens on a thread of its own, behind a bounded queue: a
//! disk that is full or slow costs recordings, never a scrape.

mod files;
pub mod group;
mod handle;

use std::path::PathBuf;
use std::time::Duration;

pub use files::is_unfinished;
pub use handle::{Entry, Recorder};

/// `recorder`
#[derive(Clone, PartialEq, Debug)]
pub struct RecorderConfig {
    /// The folder; every target gets one of its own in it.
    pub path: PathBuf,
    /// How far back recordings reach.
    pub keep: Duration,
    /// Bytes on disk at most, over all targets.
    pub max_bytes: u64,
    /// Every family of a page, or only those that anything can read.
    pub all_families: bool,
}
