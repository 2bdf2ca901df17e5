//! What operators see of the engine: a log line for each fact, a metric for each figure.
//!
//! Both are made from the same values the engine publishes, so log, metric and API cannot disagree.
//! Nothing here reads a clock, keeps a counter of its own or knows a secret: facts and views hold
//! addresses already cut to what may be shown.

mod containers;
mod log;
mod metrics;
mod page;

pub use containers::fates_text;
pub use log::record;
pub use metrics::{Process, metrics_text};
pub use page::{Family, Kind, Page};
