//! Answers in gzip, for clients that ask for it.
//!
//! A panel of hundreds of series shrinks to a tenth, at some milliseconds a megabyte and off the
//! threads that serve. Small answers go as they are.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::{ApiError, ErrorKind};

/// What fits one packet gains nothing.
const MIN_BYTES: u64 = 1400;

/// Compresses the answer if the client takes gzip and it is worth it.
pub(super) async fn compressed(request: Request, next: Next) -> Response {
    let wanted = takes_gzip(request.headers());
    let response = next.run(request).await;
    if !wanted || response.body().size_hint().lower() < MIN_BYTES {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let failed = |why: String| ApiError::new(ErrorKind::Internal, why).into_response();
    let plain = match to_bytes(body, usize::MAX).await {
        Ok(plain) => plain,
        Err(error) => return failed(error.to_string()),
    };
    let pack = move || {
        let packed = Vec::with_capacity(plain.len() / 8);
        let mut encoder = GzEncoder::new(packed, Compression::fast());
        encoder.write_all(&plain).and_then(|()| encoder.finish())
    };
    match tokio::task::spawn_blocking(pack).await {
        Ok(Ok(packed)) => {
            parts.headers.remove(CONTENT_LENGTH);
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, Body::from(packed))
        }
        Ok(Err(error)) => failed(error.to_string()),
        Err(error) => failed(error.to_string()),
    }
}

/// Whether `gzip` is among the accepted and not at weight zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
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
