//! Why an evaluation ended without a result, in Prometheus 3.14's words.

use super::super::ast::Span;
use super::super::place::place;
use crate::base::{excerpt, quoted};

/// An evaluation that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// What kind of failure it is.
    pub kind: EvalErrorKind,
    /// Prometheus's text.
    pub message: String,
    /// The part of the query in which it arose, where that is known. Prometheus's text has no place.
    pub span: Option<Span>,
    /// What can be done about it.
    pub hint: Option<&'static str>,
    /// Series that selectors had found until then.
    pub series_fetched: usize,
}

/// The kinds of failure, as callers tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvalErrorKind {
    /// The data or a parameter does not allow a result.
    Execution,
    /// More samples or steps than the options allow.
    Limit,
    /// The caller's deadline passed.
    Timeout,
    /// The query needs native histograms.
    Unsupported,
}

impl EvalError {
    /// A failure of data or parameters.
    pub fn execution(message: impl Into<String>) -> EvalError {
        EvalError::new(EvalErrorKind::Execution, message)
    }

    pub(super) fn new(kind: EvalErrorKind, message: impl Into<String>) -> EvalError {
        EvalError { kind, message: message.into(), span: None, hint: None, series_fetched: 0 }
    }

    /// As it is, if its place is known already; else with this one. Time runs out anywhere.
    pub(super) fn within(self, span: Span) -> EvalError {
        if self.span.is_some() || self.kind == EvalErrorKind::Timeout {
            return self;
        }
        EvalError { span: Some(span), ..self }
    }

    pub(super) fn advise(self, hint: &'static str) -> EvalError {
        EvalError { hint: Some(hint), ..self }
    }

    /// Its text behind line and column in the query.
    pub fn placed(&self, query: &str) -> String {
        match self.span {
            Some(span) => {
                let (line, column) = place(query, span.start);
                format!("{line}:{column}: {}", self.message)
            }
            None => self.message.clone(),
        }
    }

    /// The series of one step are not distinct.
    pub(super) fn same_labelset() -> EvalError {
        EvalError::execution("vector cannot contain metrics with the same labelset")
    }

    /// The limit on samples is reached.
    pub(super) fn too_many_samples() -> EvalError {
        EvalError::new(
            EvalErrorKind::Limit,
            "query processing would load too many samples into memory in query execution",
        )
        .advise("use a shorter range, a longer step, or a selector of fewer series")
    }

    /// The limit on label sets made by functions is reached.
    pub(super) fn too_many_label_bytes(most: usize) -> EvalError {
        let most = most >> 20;
        EvalError::new(
            EvalErrorKind::Limit,
            format!("query processing would make more than {most} MiB of labels"),
        )
    }

    /// A label's value is longer than a label may be.
    pub(super) fn long_label(function: &str, name: &str, most: usize) -> EvalError {
        let (name, most) = (quoted(&excerpt(name)), most >> 10);
        EvalError::new(
            EvalErrorKind::Limit,
            format!("{function}() would make a label {name} longer than {most} KiB"),
        )
    }

    /// A part of a trace has a value that does not fit beside the others.
    pub(super) fn too_much_to_keep() -> EvalError {
        EvalError::new(
            EvalErrorKind::Limit,
            "the value takes more memory than is left beside those of other parts",
        )
    }

    /// The deadline passed.
    pub(super) fn timeout() -> EvalError {
        EvalError::new(EvalErrorKind::Timeout, "query timed out in expression evaluation")
    }
}
