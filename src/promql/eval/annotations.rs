//! What a query says beside its result: warnings and infos, in Prometheus 3.14's words.

use std::fmt;

use super::super::ast::Span;
use crate::base::number::{general, shortest};
use crate::base::{Timestamp, format_rfc3339};

/// How serious a note is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The result may be wrong.
    Warning,
    /// The query may not be what was meant.
    Info,
}

/// A time as Go's `RFC3339Nano` writes it: no zeros at the end of the fraction.
fn nano(at: Timestamp) -> String {
    let text = format_rfc3339(at);
    format!("{}Z", text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.'))
}

/// One note.
#[derive(Clone, PartialEq, Debug)]
pub struct Annotation {
    /// How serious it is.
    pub severity: Severity,
    /// Its text, starting with `PromQL warning: ` or `PromQL info: `, without a position.
    pub text: String,
    /// The part of the query it is about.
    pub span: Span,
    /// What was repaired, all steps together; shown only beside a query.
    pub(super) repairs: Option<Repairs>,
}

/// Counts of buckets that went down and were lifted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Repairs {
    /// Upper bounds of the lowest and the highest such bucket.
    pub from: f64,
    pub to: f64,
    /// The largest difference.
    pub most: f64,
    /// The first and the last step.
    pub first: Timestamp,
    pub last: Timestamp,
    /// How many histograms it was, each step counted.
    pub count: usize,
}

impl Repairs {
    fn merge(&mut self, other: Repairs) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.most = self.most.max(other.most);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
    }
}

impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (shortest(self.from), shortest(self.to));
        let (most, count) = (general(self.most, Some(2)), self.count);
        let (first, last) = (nano(self.first), nano(self.last));
        write!(
            f,
            ", from buckets {from} to {to}, with a max diff of {most}, over {count} samples from \
             {first} to {last}"
        )
    }
}

/// A query says no more than this: at each step of millions there could be another text.
const MAX_NOTES: usize = 1000;

/// The notes of one query, each text once, and no more than a thousand.
#[derive(Clone, PartialEq, Debug, Default)]
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
                let repairs = note.repairs.map_or(String::new(), |repairs| repairs.to_string());
                format!("{}{repairs} ({line}:{column})", note.text)
            })
            .collect()
    }

    /// Notes a warning.
    pub(super) fn warn(&mut self, span: Span, text: &str) {
        self.add(Severity::Warning, span, format!("PromQL warning: {text}"), None);
    }

    /// Notes an info.
    pub(super) fn info(&mut self, span: Span, text: &str) {
        self.add(Severity::Info, span, format!("PromQL info: {text}"), None);
    }

    /// Notes that counts of buckets had to be repaired; notes of one text become one.
    pub(super) fn repaired(&mut self, span: Span, text: &str, repairs: Repairs) {
        self.add(Severity::Info, span, format!("PromQL info: {text}"), Some(repairs));
    }

    fn add(&mut self, severity: Severity, span: Span, text: String, repairs: Option<Repairs>) {
        let full = self.notes.len() >= MAX_NOTES;
        let known = self.notes.iter_mut().find(|note| note.text == text);
        match (known, repairs) {
            (Some(Annotation { repairs: Some(known), .. }), Some(repairs)) => known.merge(repairs),
            (Some(_), _) => {}
            (None, _) if full => {}
            (None, _) => self.notes.push(Annotation { severity, text, span, repairs }),
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
    fn repairs_of_all_steps_are_one_note() {
        let mut notes = Annotations::default();
        let span = Span { start: 4, end: 5 };
        for (from, at) in [(2.0, 60_000), (1.0, 0), (4e6, 90_500)] {
            let (first, last) = (Timestamp(at), Timestamp(at));
            let repairs = Repairs { from, to: from, most: from * 5.0, first, last, count: 1 };
            notes.repaired(span, "fixed", repairs);
        }
        let texts: Vec<&str> = notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(texts, ["PromQL info: fixed"]);
        let want = "PromQL info: fixed, from buckets 1 to 4e+06, with a max diff of 2e+07, over 3 \
                    samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:30.5Z (1:5)";
        assert_eq!(notes.render(Severity::Info, "sum(a)"), [want]);
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
