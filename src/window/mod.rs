//! The window: recent samples per series, and how they are selected.

mod matcher;
mod source;

pub use matcher::{MatchOp, Matcher, Selector};
pub use source::{Selected, Source, Span};
