//! What can be wrong with a body, and where.

use std::fmt;

/// Characters of the bad line an error quotes, at most.
const EXCERPT_CHARS: usize = 120;
/// How far before the bad column the quotation may start, in bytes.
const EXCERPT_LEAD: usize = 60;

/// Why a scrape failed: the first bad line, and what is bad about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanError {
    /// The line, from 1.
    pub line: u64,
    /// The byte within the line at which reading stopped, from 1.
    pub column: usize,
    /// The line around that column, escaped, at most 120 characters.
    pub excerpt: String,
    /// What is wrong.
    pub problem: Problem,
    /// Samples read so far (`scrape_samples_scraped`).
    pub samples_scraped: u64,
    /// Of these, those that relabelling kept (`scrape_samples_post_metric_relabeling`).
    pub samples_post_relabel: u64,
}

/// What is wrong with a line or with the whole body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Not the text format; says what was expected.
    #[error("{0}")]
    Syntax(&'static str),
    /// The same label twice in one series.
    #[error("label name {0:?} is not unique")]
    RepeatedLabel(String),
    /// No `__name__`, before or after relabelling.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// More bytes than `body_size_limit`.
    #[error("body size limit exceeded (body_size_limit: {0} bytes)")]
    BodySize(u64),
    /// More samples after relabelling than `sample_limit`.
    #[error("sample limit exceeded (sample_limit: {0})")]
    SampleLimit(u64),
    /// More series than a target may be remembered by.
    #[error("more than {0} series in one page, twice what window.max_series allows in all")]
    SeriesLimit(usize),
    /// More bytes of series than the caches of all targets may hold.
    #[error(
        "the series of all targets' pages take more than window.max_bytes = {0}, and this target has more than its part"
    )]
    SeriesBytes(usize),
    /// A page that repeats its series with ever newer times.
    #[error("more than {0} samples of repeated series in one page (see window.max_series)")]
    Repeats(usize),
    /// Prometheus's text for `label_limit` and the two length limits.
    #[error("{0}")]
    LabelLimit(String),
    /// A line longer than `line_length_limit`.
    #[error("line longer than line_length_limit ({0} bytes)")]
    LineLength(usize),
    /// The body ends in the middle of a line.
    #[error("the body ends without a newline: its last line is cut off")]
    Truncated,
    /// OpenMetrics promises `# EOF` as its last line.
    #[error("the body does not end with # EOF, as OpenMetrics must")]
    NoEof,
    /// OpenMetrics ends at `# EOF`.
    #[error("data after # EOF")]
    AfterEof,
}

impl ScanError {
    /// The error for byte `at` (from 0) of `text`, the body's line `line` (from 1).
    pub(super) fn new(line: u64, text: &[u8], at: usize, problem: Problem) -> ScanError {
        let start = at.saturating_sub(EXCERPT_LEAD).min(text.len());
        let end = text.len().min(start + EXCERPT_CHARS);
        let quoted = String::from_utf8_lossy(&text[start..end]);
        let mut excerpt = String::new();
        let mut room = EXCERPT_CHARS;
        for letter in quoted.chars() {
            let escaped = letter.escape_debug();
            // Quotes are the commonest letters of a label and need no escaping to be safe in a log.
            let plain = matches!(letter, '"' | '\'');
            let length = if plain { 1 } else { escaped.len() };
            if length > room {
                break;
            }
            room -= length;
            if plain { excerpt.push(letter) } else { excerpt.extend(escaped) }
        }
        let (samples_scraped, samples_post_relabel) = (0, 0);
        ScanError { line, column: at + 1, excerpt, problem, samples_scraped, samples_post_relabel }
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)?;
        if !self.excerpt.is_empty() {
            write!(f, ", in `{}`", self.excerpt)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScanError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        let long = [b'x'; 10_000];
        for (text, at) in [(&long[..], 9_000), (&b"\x00\xff\x1b[31m\n"[..], 3), (b"", 7)] {
            let error = ScanError::new(3, text, at, Problem::Truncated);
            assert!(error.excerpt.chars().count() <= EXCERPT_CHARS, "{error}");
            assert!(!error.excerpt.chars().any(char::is_control), "{error}");
        }
        let zeros = ScanError::new(1, &[0; 500], 0, Problem::NoEof);
        assert!(zeros.excerpt.len() <= EXCERPT_CHARS, "escapes count: {zeros}");
        let said = ScanError::new(12, b"up{a=b} 1", 5, Problem::Syntax("expected \"")).to_string();
        assert_eq!(said, "line 12, column 6: expected \", in `up{a=b} 1`");
    }
}
