//! The words every other module speaks: time, labels, samples, ids.
//!
//! They stand at the bottom so that the scanner, the evaluator and the webhook body mean the same
//! thing by the same word. Nothing here does I/O, reads a clock or knows a metric's name.

mod change;
mod excerpt;
mod go_float;
mod hash;
mod ids;
mod labels;
pub mod number;
mod quoted;
mod remembered;
mod sample;
mod suggest;
mod time;

pub use change::{Batch, Change, Receipt, Table};
pub use excerpt::excerpt;
pub use go_float::parse_float;
pub use hash::{HashMap, HashSet, fingerprint};
pub use ids::{DeliveryId, RuleId, TargetId};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME, is_label_name, is_metric_name};
pub use quoted::{is_printable, quoted, quoted_bytes, quoted_char};
pub use remembered::Remembered;
pub use sample::{STALE_NAN, Sample, format_value, is_stale, parse_value};
pub use suggest::closest;
pub use time::{
    DurationError, Now, RETRY_AFTER, START_SKEW_S, Timestamp, civil_from_days, days_from_civil,
    format_duration, format_rfc3339, parse_duration, parse_rfc3339,
};
