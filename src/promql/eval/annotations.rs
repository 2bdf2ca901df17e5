//! What a query says beside its result: warnings and infos, in Prometheus 3.14's words.

use super::super::ast::Span;

/// How serious a note is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The result may be wrong.
    Warning,
    /// The query may not be what was meant.
    Info,
}

/// One note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Annotation {
    /// How serious it is.
    pub severity: Severity,
    /// Its text, starting with `PromQL warning: ` or `PromQL info: `, without a position.
    pub text: String,
    /// The part of the query it is about.
    pub span: Span,
}

/// A query says no more than this: at each step of millions there could be another text.
const MAX_NOTES: usize = 1000;

/// The notes of one query, each text once, and no more than a thousand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Annotations {
    notes: Vec<Annotation>,
}

impl Annotations {
    /// Every note, in the order of first occurrence.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.notes.iter()
    }

    /// The notes of one severity, as the HTTP API writes them: the text and behind it the line and
    /// column in `query`, `(1:15)`.
    pub fn render(&self, severity: Severity, query: &str) -> Vec<String> {
        let of_kind = self.notes.iter().filter(|note| note.severity == severity);
        of_kind
            .map(|note| {
                let before = query.get(..note.span.start).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
                format!("{} ({line}:{column})", note.text)
            })
            .collect()
    }

    /// Notes a warning.
    pub(super) fn warn(&mut self, span: Span, text: &str) {
        self.add(Severity::Warning, span, format!("PromQL warning: {text}"));
    }

    /// Notes an info.
    pub(super) fn info(&mut self, span: Span, text: &str) {
        self.add(Severity::Info, span, format!("PromQL info: {text}"));
    }

    fn add(&mut self, severity: Severity, span: Span, text: String) {
        let full = self.notes.len() >= MAX_NOTES;
        if !full && !self.notes.iter().any(|note| note.text == text) {
            self.notes.push(Annotation { severity, text, span });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_once_and_with_line_and_column() {
        let mut notes = Annotations::default();
        notes.warn(Span { start: 9, end: 10 }, "careful");
        notes.warn(Span { start: 0, end: 1 }, "careful");
        notes.info(Span { start: 2, end: 3 }, "by the way");
        let query = "sum(a) +\n b";
        assert_eq!(notes.render(Severity::Warning, query), ["PromQL warning: careful (2:1)"]);
        assert_eq!(notes.render(Severity::Info, query), ["PromQL info: by the way (1:3)"]);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut notes = Annotations::default();
        for number in 0..2 * MAX_NOTES {
            notes.warn(Span { start: 0, end: 1 }, &number.to_string());
        }
        assert_eq!(notes.iter().count(), MAX_NOTES);
        assert_eq!(notes.iter().next().expect("the first stays").text, "PromQL warning: 0");
    }
}
