//! Go's `text/template` as alert labels and annotations use it: `{{ $labels.name }}`,
//! `{{ $value | humanize }}`, `{{ with query "up" }}…{{ end }}`.
//!
//! Own engine because the one on crates.io loops for ever on an unclosed action. All actions of
//! Go's language, all functions Prometheus 3.14 gives to rules (`template/template.go`); missing
//! labels are empty texts. One deliberate leniency: whole numbers and floats compare by value, so
//! `gt $value 1` works, which in Go is an error. Of the methods of `time.Time` those are there that
//! give texts and numbers.
//!
//! Pure: it reads no clock and runs a query only through the closure it is given. Every run ends
//! within [`Limits`].

mod compare;
mod escape;
mod exec;
mod functions;
mod humanize;
mod lexer;
mod moment;
mod parser;
mod printf;
mod queries;
mod tree;
mod value;
mod verbs;

use std::fmt;

use crate::base::{Labels, Timestamp};
use exec::Executor;
use tree::{Node, Span};

pub use queries::UNTOLD;

/// A template that parsed.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    name: String,
    text: String,
    parsed: parser::Parsed,
}

/// Why a text is no template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateError {
    /// The template's name, as it was given.
    pub name: String,
    /// The line at fault, from 1.
    pub line: usize,
    /// What is wrong, in Go's words.
    pub message: String,
    /// The byte of the text where whoever mends it has to look.
    pub offset: usize,
    /// What can be done about it.
    pub hint: Option<&'static str>,
}

/// As Go says it: `template: __alert_C:1: unclosed action`.
impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template: {}:{}: {}", self.name, self.line, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What a template sees.
#[derive(Clone, Copy, Debug)]
pub struct TemplateData<'a> {
    /// `$labels`: those of the alert's series.
    pub labels: &'a Labels,
    /// `$externalLabels`
    pub external_labels: &'a Labels,
    /// `$externalURL` and `externalURL`
    pub external_url: &'a str,
    /// `$value`
    pub value: f64,
    /// `now`: the time of the evaluation.
    pub at: Timestamp,
}

/// Runs a PromQL query at the time of the evaluation; the error is one line.
pub type Query<'a> = dyn FnMut(&str) -> Result<Vec<(Labels, f64)>, String> + 'a;

/// What a run may take before it ends in an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Steps: one for each operand, call and iteration, 1000 for each query and each regular
    /// expression (more on long texts), one for every 64 bytes a function takes or gives.
    pub steps: usize,
    /// Bytes of the output, and of every text a function returns.
    pub output_bytes: usize,
}

/// 100 000 steps take about 20 ms in a release build; 64 KiB is far above what Alertmanager's
/// receivers show of an annotation.
impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 100_000, output_bytes: 64 * 1024 }
    }
}

/// Characters of the template that an error quotes; Go quotes all, were it a kilobyte.
const MAX_CONTEXT: usize = 100;

impl Template {
    /// Reads a template; `name` is for errors alone. Prometheus names it `__alert_` and the
    /// alert's name.
    pub fn parse(name: &str, text: &str) -> Result<Template, TemplateError> {
        match parser::parse(name, text) {
            Ok(parsed) => Ok(Template { name: name.to_owned(), text: text.to_owned(), parsed }),
            Err(problem) => Err(TemplateError {
                name: name.to_owned(),
                line: text[..problem.at].matches('\n').count() + 1,
                message: problem.message,
                offset: problem.from,
                hint: problem.hint,
            }),
        }
    }

    /// Whether its text depends on when it is read (`now`).
    pub fn reads_clock(&self) -> bool {
        self.parsed.reads_clock
    }

    /// The PromQL queries it asks, as far as they can be told before it is rendered; [`UNTOLD`] stands
    /// for what the alert brings.
    pub fn queries(&self) -> Vec<String> {
        queries::queries(&self.parsed)
    }

    /// The text for one alert. The error is what Prometheus puts behind
    /// `<error expanding template: ` in its place.
    pub fn expand(
        &self,
        data: &TemplateData<'_>,
        query: &mut Query<'_>,
        limits: Limits,
    ) -> Result<String, String> {
        if let [Node::Text(text)] = self.parsed.main.as_slice()
            && text.len() <= limits.output_bytes
        {
            // `severity: critical` is a template too, and most labels are such.
            return Ok(text.clone());
        }
        Executor::new(self, data, query, limits).run().map_err(|failure| {
            let (Span { start, end }, at) = (failure.span, failure.at);
            let before = &self.text[..at];
            let line = before.matches('\n').count() + 1;
            let column = at - before.rfind('\n').map_or(0, |newline| newline + 1);
            let name = &self.name;
            let quoted = self.text[start..end].trim_end();
            let mut context: String = quoted.chars().take(MAX_CONTEXT).collect();
            if context.len() < quoted.len() {
                context.push_str("...");
            }
            if failure.is_call {
                context = format!("{{{{template {context}}}}}");
            }
            let (message, within) = (failure.message, failure.within.as_ref().unwrap_or(name));
            format!(
                "error executing template {name}: template: {name}:{line}:{column}: executing \
                 {within:?} at <{context}>: {message}"
            )
        })
    }
}

#[cfg(test)]
mod tests;
