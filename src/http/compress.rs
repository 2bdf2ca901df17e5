//! Answers in gzip, for clients that ask for it.
//!
//! A panel of hundreds of series shrinks to a tenth, at some milliseconds a megabyte and off the
//! threads that serve. Small answers go as they are.

use std::io::Write as _;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::{ApiError, ErrorKind};

/// What fits one packet gains nothing.
pub(super) const MIN_BYTES: usize = 1400;

/// Compresses the answer if the client takes gzip, it is worth it, and nobody has done it.
pub(super) async fn compressed(request: Request, next: Next) -> Response {
    let wanted = takes_gzip(request.headers());
    let response = next.run(request).await;
    let is_small = response.body().size_hint().lower() < MIN_BYTES as u64;
    if !wanted || is_small || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let plain = match to_bytes(body, usize::MAX).await {
        Ok(plain) => plain,
        Err(error) => return failed(error).into_response(),
    };
    match pack(plain).await {
        Ok(packed) => {
            parts.headers.remove(CONTENT_LENGTH);
            packed_answer(Response::from_parts(parts, Body::from(packed)))
        }
        Err(error) => error.into_response(),
    }
}

/// The bytes in gzip.
pub(super) async fn pack(plain: Bytes) -> Result<Bytes, ApiError> {
    let pack = move || {
        let packed = Vec::with_capacity(plain.len() / 8);
        let mut encoder = GzEncoder::new(packed, Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish())
    };
    let packed = tokio::task::spawn_blocking(pack).await.map_err(failed)?;
    Ok(Bytes::from(packed.map_err(failed)?.into_boxed_slice()))
}

/// Says of an answer that its body is in gzip.
pub(super) fn packed_answer(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    answer
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}

/// Whether `gzip` is among the accepted and not at weight zero.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f64>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_name_it() {
        let cases = [
            ("gzip", true),
            ("deflate, GZip;q=0.5, br", true),
            ("gzip; q=1.0", true),
            ("gzip;q=0", false),
            ("gzip;q=x", false),
            ("deflate, br", false),
            ("x-gzip", false),
            ("", false),
        ];
        for (line, want) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(line));
            assert_eq!(takes_gzip(&headers), want, "{line}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
