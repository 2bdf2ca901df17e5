//! Why an evaluation ended without a result, in Prometheus 3.14's words.

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

    /// The deadline passed.
    pub(super) fn timeout() -> EvalError {
        EvalError {
            kind: EvalErrorKind::Timeout,
            message: "query timed out in expression evaluation".to_owned(),
        }
    }

    /// A function that reads nothing but native histograms.
    pub(super) fn native_histograms(function: &str) -> EvalError {
        EvalError {
            kind: EvalErrorKind::Unsupported,
            message: format!(
                "{function}() reads native histograms only, which plimsoll does not store"
            ),
        }
    }
}
