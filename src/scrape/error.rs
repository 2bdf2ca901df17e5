//! Why a scrape failed: a kind to count, and a sentence that names what to change.

use std::fmt;

/// The kinds of failure, for the label `reason` of the failure counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScrapeErrorKind {
    /// A credential or certificate file cannot be used.
    Setup,
    /// No connection, or no answer on it that is HTTP.
    Connect,
    /// `scrape_timeout` passed.
    Timeout,
    /// A status other than 200.
    Status,
    /// A redirect, which is never followed.
    Redirect,
    /// Not the text format.
    ContentType,
    /// Compressed although not asked for.
    Encoding,
    /// The body broke off, or cannot be decompressed.
    Body,
    /// More bytes than `body_size_limit`.
    BodyLimit,
    /// More samples than `sample_limit`.
    SampleLimit,
    /// More series, or repeats of them, than plimsoll remembers of one target.
    SeriesLimit,
    /// A label limit was passed.
    LabelLimit,
    /// A line that is not the text format.
    Malformed,
    /// The previous scrape of this target has not ended.
    Busy,
    /// The target is not (or no longer) configured.
    Gone,
}

impl ScrapeErrorKind {
    /// The word for metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            ScrapeErrorKind::Setup => "setup",
            ScrapeErrorKind::Connect => "connect",
            ScrapeErrorKind::Timeout => "timeout",
            ScrapeErrorKind::Status => "status",
            ScrapeErrorKind::Redirect => "redirect",
            ScrapeErrorKind::ContentType => "content_type",
            ScrapeErrorKind::Encoding => "encoding",
            ScrapeErrorKind::Body => "body",
            ScrapeErrorKind::BodyLimit => "body_limit",
            ScrapeErrorKind::SampleLimit => "sample_limit",
            ScrapeErrorKind::SeriesLimit => "series_limit",
            ScrapeErrorKind::LabelLimit => "label_limit",
            ScrapeErrorKind::Malformed => "malformed",
            ScrapeErrorKind::Busy => "busy",
            ScrapeErrorKind::Gone => "gone",
        }
    }
}

/// A failed scrape. The message is one line, names the line or setting at fault, and holds no
/// secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScrapeError {
    /// What to count.
    pub kind: ScrapeErrorKind,
    /// What to show.
    pub message: String,
    /// How far the page was read: samples, and those of them that relabelling kept.
    pub samples: (u64, u64),
}

impl ScrapeError {
    /// An error of `kind`.
    pub fn new(kind: ScrapeErrorKind, message: impl Into<String>) -> ScrapeError {
        ScrapeError { kind, message: message.into(), samples: (0, 0) }
    }
}

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScrapeError {}
