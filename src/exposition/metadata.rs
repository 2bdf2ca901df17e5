//! What a family says about itself: `# TYPE`, `# HELP`, `# UNIT`.

use std::borrow::Cow;

use super::error::Problem;
use super::line::{Bad, quoted_end, skip_blanks, unescape, unquote};

/// The type of a family, the union of the text format's words and OpenMetrics'.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetricKind {
    /// Not said, or `untyped`.
    #[default]
    Unknown,
    /// Only grows, except for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Buckets that go up and down.
    GaugeHistogram,
    /// Quantiles.
    Summary,
    /// Constant labels.
    Info,
    /// One of several states.
    StateSet,
}

/// The words of the wire, the first of each kind being the one that is written.
const KINDS: [(&str, MetricKind); 9] = [
    ("unknown", MetricKind::Unknown),
    ("untyped", MetricKind::Unknown),
    ("counter", MetricKind::Counter),
    ("gauge", MetricKind::Gauge),
    ("histogram", MetricKind::Histogram),
    ("gaugehistogram", MetricKind::GaugeHistogram),
    ("summary", MetricKind::Summary),
    ("info", MetricKind::Info),
    ("stateset", MetricKind::StateSet),
];

impl MetricKind {
    /// The word Prometheus's API uses.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("unknown", |(word, _)| word)
    }

    fn read(word: &[u8]) -> Option<MetricKind> {
        KINDS.iter().find(|(known, _)| known.as_bytes() == word).map(|(_, kind)| *kind)
    }
}

/// What a family says about itself; empty texts where it says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// The family's type.
    pub kind: MetricKind,
    /// The text of `# HELP`, unescaped.
    pub help: String,
    /// The text of `# UNIT`.
    pub unit: String,
}

/// One line of metadata.
#[derive(PartialEq, Debug)]
pub(super) struct MetaLine<'a> {
    pub(super) word: MetaWord,
    pub(super) family: Cow<'a, str>,
    /// The rest of the line and where it starts in it.
    text: (&'a [u8], usize),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum MetaWord {
    Type,
    Help,
    Unit,
}

impl<'a> MetaLine<'a> {
    /// Reads a line that starts with `#`; `None` if it is a comment.
    pub(super) fn read(line: &'a [u8]) -> Option<MetaLine<'a>> {
        let at = skip_blanks(line, 1);
        let word = match line.get(at..at + 4)? {
            b"TYPE" => MetaWord::Type,
            b"HELP" => MetaWord::Help,
            b"UNIT" => MetaWord::Unit,
            _ => return None,
        };
        let start = skip_blanks(line, at + 4);
        if at == 1 || start == at + 4 {
            return None;
        }
        let (family, end) = if line.get(start) == Some(&b'"') {
            let end = quoted_end(line, start)?;
            (unquote(&line[start + 1..end - 1]).ok()?, end)
        } else {
            let rest = &line[start..];
            let length = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
            (Cow::Borrowed(str::from_utf8(&rest[..length]).ok()?), start + length)
        };
        // One blank ends the name; what follows belongs to the text.
        let text = line.get(end + 1..).unwrap_or_default();
        (!family.is_empty()).then_some(MetaLine { word, family, text: (text, end + 1) })
    }

    /// Whether `known` already says what this line says.
    pub(super) fn is_in(&self, known: &Metadata) -> Result<bool, Bad> {
        Ok(match self.word {
            MetaWord::Type => self.kind()? == known.kind,
            MetaWord::Help => *self.text()? == *known.help,
            MetaWord::Unit => *self.text()? == *known.unit,
        })
    }

    /// Writes what this line says into `metadata`.
    pub(super) fn write_to(&self, metadata: &mut Metadata) -> Result<(), Bad> {
        match self.word {
            MetaWord::Type => metadata.kind = self.kind()?,
            MetaWord::Help => metadata.help = self.text()?.into_owned(),
            MetaWord::Unit => metadata.unit = self.text()?.into_owned(),
        }
        Ok(())
    }

    fn kind(&self) -> Result<MetricKind, Bad> {
        let bad = Bad { at: self.text.1, problem: Problem::Syntax("invalid metric type") };
        MetricKind::read(self.text.0.trim_ascii()).ok_or(bad)
    }

    fn text(&self) -> Result<Cow<'a, str>, Bad> {
        let (text, at) = self.text;
        let bad = |_| Bad { at, problem: Problem::Syntax("help text is not valid UTF-8") };
        Ok(unescape(str::from_utf8(text).map_err(bad)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_metadata() {
        let cases: &[(&str, Option<(&str, &str)>)] = &[
            ("# HELP up is it \\\\ up\\n?", Some(("up", "is it \\ up\n?"))),
            ("# HELP up", Some(("up", ""))),
            ("#\tHELP  up\ta \"b\" ", Some(("up", "a \"b\" "))),
            ("# HELP \"a b\" text", Some(("a b", "text"))),
            ("# UNIT x_seconds seconds", Some(("x_seconds", "seconds"))),
            ("# HELP", None),
            ("# HELP ", None),
            ("#HELP up x", None),
            ("# HELPER up x", None),
            ("# Hrandom", None),
            ("#", None),
        ];
        for (line, want) in cases {
            let got = MetaLine::read(line.as_bytes());
            let got = got.map(|meta| {
                let text = meta.text().unwrap_or_else(|_| panic!("{line}")).into_owned();
                (meta.family.into_owned(), text)
            });
            assert_eq!(got, want.map(|(f, t)| (f.to_owned(), t.to_owned())), "{line}");
        }
    }

    #[test]
    fn types() {
        for (word, _) in KINDS {
            let line = format!("# TYPE x {word}");
            let meta = MetaLine::read(line.as_bytes()).expect("is metadata");
            let mut metadata = Metadata::default();
            meta.write_to(&mut metadata).unwrap_or_else(|_| panic!("{line}"));
            assert!(meta.is_in(&metadata).is_ok_and(|same| same));
            let written = if word == "untyped" { "unknown" } else { word };
            assert_eq!(metadata.kind.as_str(), written);
        }
        for line in ["# TYPE x", "# TYPE x Counter", "# TYPE x counter y"] {
            let meta = MetaLine::read(line.as_bytes()).expect("is metadata");
            assert!(meta.write_to(&mut Metadata::default()).is_err(), "{line}");
        }
    }
}
