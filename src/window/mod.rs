//! The window: recent samples per series, and how they are selected.
//!
//! It holds no more than rules and the API can ask for: each series keeps the retention of its
//! metric name, and hard caps on series and bytes turn a flood into a refused series and a counter,
//! never into an OOM kill of the watchman. It is not a database: nothing here is durable.

mod checkpoint;
mod detached;
mod matcher;
mod matching;
mod retention;
mod series;
mod source;
mod store;

pub use checkpoint::{CheckpointError, CheckpointProgress};
pub use detached::Detached;
pub use matcher::{MatchOp, Matcher, Selector};
pub use matching::{Wanted, matching, metrics};
pub use retention::Retention;
pub use series::Appended;
pub use source::{Selected, Source, Span};
pub use store::{Caps, DEFAULT_MAX_BYTES, Refused, SeriesId, Usage, Window};
