//! Scraping: which targets there are, and how their pages come in.

pub mod config;
mod error;
mod fetch;
pub mod file_sd;
mod target;
#[cfg(test)]
mod testing;

pub use error::{ScrapeError, ScrapeErrorKind};
pub use fetch::{Ask, DEFAULT_BODY_LIMIT_BYTES, fetch};
pub use target::{Target, targets};
