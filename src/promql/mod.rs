//! PromQL: text to tree, tree to values.
//!
//! Semantics are those of Prometheus 3.14 for float samples and classic histograms: left-open
//! ranges and lookback. Nothing here knows where samples come from: it reads a
//! [`crate::window::Source`]. It never reads a clock and never loops without a bound.

pub mod ast;
pub mod eval;
pub mod functions;
