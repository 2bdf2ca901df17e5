//! The audit: what was seen, decided, held, sent and answered, one line each, none of it ever changed.
//!
//! # The format
//!
//! A record is one line of JSON. It begins with its number `n`, which rises by one, and ends with
//! `prev`, the hash of the record before it, and `hash`, SHA-256 in hex over the line's own bytes up
//! to and without `,"hash":`. So what is hashed is what stands in the file, and nobody needs to agree
//! on an order of keys or a way to write numbers. The first record of all has 64 zeros as `prev`.
//!
//! Whoever changes, removes, inserts or reorders a line breaks the chain at that line. Whoever cuts
//! lines off the end leaves a chain that is whole; that is what the head in `sidecar.heartbeat` is
//! for, which the Control Plane has and this host cannot take back.
//!
//! Nothing here reads a clock or a file. A chain does not prove who wrote it: someone who can write
//! the files can write a new chain, but not one that holds a head that was told before.

mod chain;
mod check;
mod head;
mod incident;
mod record;
mod story;
mod words;

pub use chain::{Chain, ChainEnd, GENESIS, LINE_BYTES_MAX, Link, LinkError};
pub use check::{Break, Check};
pub use head::{HeadFault, Sought};
pub use incident::{Incident, Moment, Standing, Story};
pub use record::{Kind, Record, kept};
pub use story::Teller;

/// How the audit fares, as its writer knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The number of the newest record on disk; 0 for none.
    pub sequence: u64,
    /// Its hash, or [`GENESIS`].
    pub head: String,
    /// Records that wait for the disk.
    pub waiting: u64,
    /// Records that were given up because the disk has been taking none for too long. Once it takes
    /// them again they are `lost`, and `audit.gap` says so.
    pub given_up: u64,
    /// Records that were given up since the start, before that.
    pub lost: u64,
    /// Why the last write failed, if it did.
    pub failing: Option<String>,
}
