//! Docker's API, read only: which containers there are, and what happens to them.
//!
//! [`watch`] holds one connection for the stream of events and asks with others; what it learns
//! becomes [`Event::Docker`](crate::engine::Event). Nothing but `GET` is ever sent. A daemon that is
//! absent, hangs, restarts or talks nonsense costs nothing but its own news: every request has a
//! deadline, every line a bound, and a lost stream is taken up where it broke.

mod backoff;
mod busy;
mod client;
mod config;
mod entries;
mod failure;
mod json;
mod lines;
mod watch;

/// An answer, and what a list says of one container, may be this long: a quarter of a megabyte of labels are none
/// any more.
const MOST_BYTES: usize = 256 << 10;

pub use config::DockerConfig;
pub use json::{event_line, happening as read_event};
pub use watch::watch;

#[cfg(test)]
mod tests;
