//! The Prometheus text format, scanned as it streams in.
//!
//! A scrape of a busy host is tens of megabytes of which rules read a few percent, and nearly every
//! series was there last time. So the body is not parsed: lines of unwanted families are stepped
//! over by `memchr`, a wanted line's text before the value is looked up among the target's known
//! series, and labels are parsed only for a series never seen. Skipped lines are counted, not
//! validated.
//!
//! One [`Scan`] reads one body with one target's [`SeriesCache`]. It takes chunks as they come,
//! holds no more than one line of the body, and either gives a whole [`Batch`] or a [`ScanError`]
//! after which the cache is as if the scrape had never been. It never fetches, reads a clock or
//! stamps a sample.

mod cache;
mod error;
mod format;
mod line;
pub mod m2;
mod metadata;
mod room;
mod scan;
mod selection;
#[cfg(test)]
mod tests;

pub use cache::SeriesCache;
pub use error::{Problem, ScanError};
pub use format::{Format, Limits};
pub use line::split_sample;
pub use metadata::{Metadata, MetricKind};
pub use room::Room;
pub use scan::{Admit, Batch, Point, Scan, Stats};
pub use selection::Selection;
