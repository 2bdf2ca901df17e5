//! The audit's files: appended to on a thread of its own, rotated, bounded, read back.
//!
//! A folder holds files `audit-<number of the first record>.jsonl`; the one with the highest number
//! is written to. A file that has reached its size is left as it is and the next one begun; when there
//! are too many, the oldest is removed. What a line says is [`crate::audit`]'s business.
//!
//! *Crash.* Lines are appended and synced before anyone hears of them. What a crash leaves of the
//! last line is cut off at the next start, which is logged and written down as `audit.resumed`. The
//! records of the last moment may be missing, or be there although the journal forgot what they
//! tell; the chain is whole either way.
//!
//! *Full disk.* A write that fails is taken back whole and tried again; records wait, as many as
//! [`QUEUE_MAX`] and 8 MiB at most. What comes beyond that is counted and told at once, and the count is
//! written as `audit.gap` once there is room. Nothing else waits for this disk.
//!
//! It never reads a clock, never changes a line that was written, and never follows a path out of
//! its folder.

mod end;
mod files;
mod handle;
mod read;

use std::path::PathBuf;

pub use files::{Resumed, Store, list};
pub use handle::{Ledger, QUEUE_MAX, Unwritten};
pub use read::{Line, Lines, since, story};

/// Where the audit lives and how much of it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerConfig {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// A file that has reached this size is followed by the next.
    pub file_bytes: u64,
    /// Files kept, the one that is written to among them.
    pub files: usize,
}
