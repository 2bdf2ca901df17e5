//! Errors of the API, with Prometheus's kinds, texts and status codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::outbox::{OperatorError, Refusal};
use crate::promql::ast::Span;
use crate::promql::eval::{EvalError, EvalErrorKind};
use crate::promql::{ParseError, in_characters, place, width};

/// What kind of error it is (`web/api/v1/api.go`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// A parameter is wrong.
    BadData,
    /// The query cannot be evaluated on this data.
    Execution,
    /// What is asked for by name is not there.
    NotFound,
    /// The operator has not allowed it.
    Forbidden,
    /// Who asks is not believed.
    Unauthorized,
    /// The body is larger than allowed.
    TooLarge,
    /// The URL is longer than allowed.
    LongUrl,
    /// It cannot be done in the state things are in.
    Conflict,
    /// It took too long.
    Timeout,
    /// It cannot be answered now.
    Unavailable,
    /// Whoever should answer is on its way out; it can be asked again in a moment.
    Stopping,
    /// Our own fault.
    Internal,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            ErrorKind::BadData | ErrorKind::LongUrl => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Unavailable | ErrorKind::Stopping => "unavailable",
            ErrorKind::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::LongUrl => StatusCode::URI_TOO_LONG,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Timeout | ErrorKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unavailable | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why a request has no answer.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What is wrong, for whoever sent the request.
    pub message: String,
    /// Where in the query, where Prometheus's text may not say.
    pub position: Option<Place>,
    /// What can be done about it.
    pub hint: Option<String>,
}

/// A place in a query.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it is about.
    pub length: usize,
}

impl Place {
    fn of(text: &str, span: Span) -> Place {
        let (line, column) = place(text, span.start);
        let column = in_characters(text, (line, column));
        Place { line, column, length: width(text, span) }
    }
}

impl ApiError {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> ApiError {
        ApiError { kind, message: message.into(), position: None, hint: None }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> ApiError {
        ApiError::new(ErrorKind::BadData, message)
    }

    /// `invalid parameter "step": …`
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    /// A query that is none, in the parameter of that name.
    pub(super) fn parse(name: &str, error: &ParseError) -> ApiError {
        ApiError { hint: error.hint.clone(), ..ApiError::parameter(name, error) }
    }

    /// Why the evaluation of a query failed.
    pub fn evaluation(error: EvalError, text: &str) -> ApiError {
        let kind = match error.kind {
            EvalErrorKind::Timeout => ErrorKind::Timeout,
            EvalErrorKind::Execution | EvalErrorKind::Limit | EvalErrorKind::Unsupported => {
                ErrorKind::Execution
            }
        };
        ApiError {
            position: error.span.map(|span| Place::of(text, span)),
            hint: error.hint.map(str::to_owned),
            ..ApiError::new(kind, error.message)
        }
    }

    /// Without the name of the parameter, where Prometheus leaves it out.
    pub(super) fn unnamed(self, name: &str) -> ApiError {
        let named = format!("invalid parameter \"{name}\": ");
        match self.message.strip_prefix(&named) {
            Some(why) => ApiError { message: why.to_owned(), ..self },
            None => self,
        }
    }
}

impl From<OperatorError> for ApiError {
    fn from(error: OperatorError) -> ApiError {
        let kind = match error {
            OperatorError::Unknown(_) | OperatorError::Off => ErrorKind::NotFound,
            OperatorError::InFlight(_) | OperatorError::Expired(..) | OperatorError::Full(_) => {
                ErrorKind::Conflict
            }
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let kind = match refusal {
            Refusal::TooLarge => ErrorKind::TooLarge,
            Refusal::Malformed => ErrorKind::BadData,
            Refusal::Signature | Refusal::Stale => ErrorKind::Unauthorized,
            Refusal::Replayed => ErrorKind::Conflict,
            Refusal::UnknownId => ErrorKind::NotFound,
        };
        ApiError::new(kind, refusal.words())
    }
}

/// In the order Prometheus writes it; what it does not write comes behind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    status: &'static str,
    error_type: &'static str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl ApiError {
    fn body(&self) -> Body<'_> {
        Body {
            status: "error",
            error_type: self.kind.name(),
            error: &self.message,
            position: self.position,
            hint: self.hint.as_deref(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self.body()).expect("texts are plain data");
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        (self.kind.status(), content_type, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::promql::{EvalOptions, ParseOptions, instant, parse};
    use crate::window::Detached;

    #[test]
    fn positions_count_characters() {
        let text = "sum(v{l='한국'}) + rate(x)";
        let span = |part: &str| {
            let start = text.find(part).expect(part);
            Span { start, end: start + part.len() }
        };
        let place = Place::of(text, span("rate"));
        assert_eq!(place, Place { line: 1, column: 18, length: 4 });
        assert_eq!(Place::of(text, span("v{l='한국'}")).length, 9);
    }

    /// Behind Prometheus's fields, and only where they are known.
    #[test]
    fn an_evaluation_that_failed_tells_where_and_what_helps() {
        let options = EvalOptions::default();
        let body = |text: &str| {
            let expr = parse(text, &ParseOptions::default()).expect(text);
            let error = instant(&expr, &Detached::default(), Timestamp(0), &options);
            let error = ApiError::evaluation(error.expect_err(text), text);
            serde_json::to_string(&error.body()).expect("is JSON")
        };
        assert_eq!(
            body("1 + sum(topk(NaN, x))"),
            r#"{"status":"error","errorType":"execution","error":"Parameter value is NaN","position":{"line":1,"column":14,"length":3},"hint":"it must be a number, which `0 / 0` is not"}"#
        );
        assert_eq!(
            body("count_values('', x)"),
            r#"{"status":"error","errorType":"execution","error":"invalid label name \"\"","position":{"line":1,"column":14,"length":2}}"#
        );
    }

    #[test]
    fn errors_have_prometheus_kinds_and_codes() {
        let evaluated = |kind| {
            let error = EvalError { kind, ..EvalError::execution("") };
            ApiError::evaluation(error, "")
        };
        let cases = [
            (evaluated(EvalErrorKind::Timeout), "timeout", 503),
            (evaluated(EvalErrorKind::Execution), "execution", 422),
            (evaluated(EvalErrorKind::Limit), "execution", 422),
            (evaluated(EvalErrorKind::Unsupported), "execution", 422),
            (ApiError::bad_data(""), "bad_data", 400),
            (ApiError::new(ErrorKind::NotFound, ""), "not_found", 404),
            (ApiError::new(ErrorKind::Forbidden, ""), "forbidden", 403),
            (ApiError::new(ErrorKind::Conflict, ""), "conflict", 409),
            (Refusal::Signature.into(), "unauthorized", 401),
            (Refusal::Stale.into(), "unauthorized", 401),
            (Refusal::Replayed.into(), "conflict", 409),
            (Refusal::UnknownId.into(), "not_found", 404),
            (Refusal::Malformed.into(), "bad_data", 400),
            (Refusal::TooLarge.into(), "too_large", 413),
            (ApiError::new(ErrorKind::LongUrl, ""), "bad_data", 414),
            (ApiError::new(ErrorKind::Unavailable, ""), "unavailable", 500),
            (ApiError::new(ErrorKind::Stopping, ""), "unavailable", 503),
            (ApiError::new(ErrorKind::Internal, ""), "internal", 500),
        ];
        for (error, name, status) in cases {
            assert_eq!((error.kind.name(), error.kind.status().as_u16()), (name, status));
        }
    }
}
