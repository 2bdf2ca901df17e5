//! The program: command line, configuration, clock, the loop that turns the crank.
//!
//! The only layer that knows everything below it. It wires, starts and stops; it decides nothing.

mod api;
pub mod cli;
mod clock;
pub mod config;
mod demo;
mod files;
mod live;
mod run;
mod serve;
mod setup;
mod shell;

pub use clock::Clock;
pub use setup::engine_setup;
