//! Scraping: which targets there are, and how their pages come in.

mod error;
mod fetch;
#[cfg(test)]
mod testing;

pub use error::{ScrapeError, ScrapeErrorKind};
pub use fetch::{Ask, DEFAULT_BODY_LIMIT_BYTES, fetch};
