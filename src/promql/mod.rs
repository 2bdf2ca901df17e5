//! PromQL: text to tree, tree to values.
//!
//! Semantics are those of Prometheus 3.14 for float samples and classic histograms: left-open
//! ranges and lookback. Nothing here knows where samples come from: it reads a
//! [`crate::window::Source`]. It never reads a clock and never loops without a bound.

pub mod ast;
mod check;
mod durations;
pub mod eval;
mod features;
pub mod functions;
mod layout;
mod lexer;
mod notation;
mod parser;
mod place;
mod printer;
mod quoting;
mod reach;
mod source;

pub use durations::{QueryTimes, resolve, resolve_positive};
pub use eval::{
    Edges, EvalError, EvalOptions, Evaluated, Memo, Steps, Traced, Value, instant, instant_with,
    range, trace,
};
pub use features::Features;
pub use layout::layout;
pub use notation::{NotationError, SeriesValues, parse_expected, parse_series};
pub use parser::{MAX_DEPTH, ParseError, ParseOptions, parse, parse_selector};
pub use place::{in_bytes, in_characters, marked, place, width};
pub(crate) use quoting::unquote;
pub use reach::{LOOKBACK, Reach, reach};
pub use source::{NamePlace, name_place};
