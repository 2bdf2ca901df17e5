//! The program: command line, configuration, clock, the loop that turns the crank.
//!
//! The only layer that knows everything below it. It wires, starts and stops; it decides nothing.

mod api;
pub mod capture;
pub mod case;
mod checkpoint;
pub mod cli;
mod clock;
pub mod config;
#[cfg(test)]
mod contract;
mod demo;
mod docker;
pub mod documents;
mod files;
mod live;
mod m2_setting;
mod process;
mod receipts;
mod recording;
mod reload;
pub mod replay;
mod run;
mod serve;
mod setup;
mod shell;
mod switches;

pub use clock::Clock;
pub use setup::engine_setup;

/// Logs a warning about a file that is in use all the same.
fn warn(problem: &crate::yaml::Problem) {
    let crate::yaml::Problem { file, line, column, message, hint, .. } = problem;
    tracing::warn!(file, line, column, hint = hint.as_deref(), "{message}");
}
