//! Rules: Prometheus's rule files, checked and typed, and when and in which order they run.
//!
//! The files are Prometheus's own, so that `promtool` can check and test them too; a rule that
//! promtool refuses is refused here with the same words, behind file, line and column. Groups,
//! dependencies and schedule are plain values: evaluation belongs to the engine, and nothing here
//! opens a file or reads a clock.

mod allowed;
mod costly;
mod divisor;
mod exposed;
mod glob;
mod lint;
mod load;
mod model;
mod order;
mod question;
mod reads;
mod schedule;

pub use exposed::{Exposed, patterns, patterns_of, takes};
pub use glob::glob_matches;
pub use lint::{LINTS, Lint, LintOptions, check, is_beyond_window, lint_names, lints};
pub use load::load;
pub use model::{Action, Alert, Group, Rule, RuleKind};
pub use order::{order, rule_order};
pub use question::graph_url;
pub use reads::{Reads, reads, reads_in_texts};
pub use schedule::Grid;
