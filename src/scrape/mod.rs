//! Scraping: which targets there are, and how their pages come in.

pub mod config;
mod error;
mod fetch;
pub mod file_sd;
mod pool;
mod session;
mod target;
#[cfg(test)]
mod testing;

pub use error::{ScrapeError, ScrapeErrorKind};
pub use pool::{KeptPage, ScrapeOutcome, Scraper, Settings};
pub use session::{add_target_labels, drop_timestamps};
pub use target::Target;
