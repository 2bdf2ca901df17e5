//! The text exposition format, written.
//!
//! One family after the other: HELP, TYPE, samples. Values of labels are escaped here and nowhere
//! else.

use std::fmt::Write;

use memchr::memchr3;

use crate::base::format_value;

/// What a metric does over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only rises, and starts at 0 with the process.
    Counter,
    /// It goes both ways.
    Gauge,
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One family, open for its samples.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Page {
    /// Starts a family. `help` is one line without backslashes.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        debug_assert!(!help.contains(['\\', '\n']), "{name}: help is written as it is");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.text, name }
    }

    /// A counter with one sample.
    pub fn counter(&mut self, name: &'static str, value: u64, help: &str) {
        self.family(name, Kind::Counter, help).add(&[], value as f64);
    }

    /// A gauge with one sample.
    pub fn gauge(&mut self, name: &'static str, value: f64, help: &str) {
        self.family(name, Kind::Gauge, help).add(&[], value);
    }

    /// The finished page.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a string takes every write");
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escape(value);
            self.text.push('"');
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        self.text.push_str(&format_value(value));
        self.text.push('\n');
    }

    /// Adds the value of a label. Nearly all have nothing to escape and are copied at once.
    fn escape(&mut self, value: &str) {
        let mut rest = value;
        while let Some(at) = memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
            self.text.push_str(&rest[..at]);
            self.text.push_str(match rest.as_bytes()[at] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            });
            rest = &rest[at + 1..];
        }
        self.text.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_as_the_format_has_it() {
        let mut page = Page::default();
        page.counter("a_total", 3, "How many.");
        let mut family = page.family("b", Kind::Gauge, "What.");
        family.add(&[("x", "1"), ("y", "a\\b\"c\nd")], f64::NAN);
        family.add(&[("x", "2")], 0.5);
        assert_eq!(
            page.finish(),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n# HELP b What.\n\
             # TYPE b gauge\nb{x=\"1\",y=\"a\\\\b\\\"c\\nd\"} NaN\nb{x=\"2\"} 0.5\n"
        );
    }
}
