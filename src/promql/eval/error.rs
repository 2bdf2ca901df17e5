//! Why an evaluation ended without a result, in Prometheus 3.14's words.

use crate::base::excerpt;

/// An evaluation that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// What kind of failure it is.
    pub kind: EvalErrorKind,
    /// Prometheus's text.
    pub message: String,
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
    pub(super) fn execution(message: impl Into<String>) -> EvalError {
        EvalError { kind: EvalErrorKind::Execution, message: message.into() }
    }

    /// The series of one step are not distinct.
    pub(super) fn same_labelset() -> EvalError {
        EvalError::execution("vector cannot contain metrics with the same labelset")
    }

    /// The limit on samples is reached.
    pub(super) fn too_many_samples() -> EvalError {
        EvalError {
            kind: EvalErrorKind::Limit,
            message: "query processing would load too many samples into memory in query execution"
                .to_owned(),
        }
    }

    /// The limit on label sets made by functions is reached.
    pub(super) fn too_many_label_bytes(most: usize) -> EvalError {
        let most = most >> 20;
        EvalError {
            kind: EvalErrorKind::Limit,
            message: format!("query processing would make more than {most} MiB of labels"),
        }
    }

    /// A label's value is longer than a label may be.
    pub(super) fn long_label(function: &str, name: &str, most: usize) -> EvalError {
        let (name, most) = (excerpt(name), most >> 10);
        EvalError {
            kind: EvalErrorKind::Limit,
            message: format!("{function}() would make a label {name:?} longer than {most} KiB"),
        }
    }

    /// A part of a trace has a value that does not fit beside the others.
    pub(super) fn too_much_to_keep() -> EvalError {
        EvalError {
            kind: EvalErrorKind::Limit,
            message: "the value takes more memory than is left beside those of other parts"
                .to_owned(),
        }
    }

    /// The deadline passed.
    pub(super) fn timeout() -> EvalError {
        EvalError {
            kind: EvalErrorKind::Timeout,
            message: "query timed out in expression evaluation".to_owned(),
        }
    }
}
