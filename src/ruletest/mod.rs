//! Unit tests of rules, in promtool's file format, run on the rules, alerts and expressions that run
//! live.
//!
//! [`read`] takes a test file apart with every problem at its place; [`run`] plays its tests on a
//! [`crate::engine::Rehearsal`] and returns what differs from what was expected, with the value of
//! every part of the expression at that time. Nothing here opens a file, prints or knows a colour.

mod compare;
mod file;
mod run;

#[cfg(test)]
mod tests;

pub use compare::{Difference, Entry};
pub use file::{AlertTest, ExprTest, Place, RuleTest, TestFile, read};
pub use run::{Failure, Kind, Part, Ran, names, run};
