//! Bodies of requests: read whole before anyone looks, or refused in a way the sender hears.
//!
//! A connection that is closed while the client still sends is reset, and the answer is lost with it.
//! So a body that is too large is read on and thrown away, as far as is reasonable, and then told
//! with status 413. It never holds more than [`MAX_BODY_BYTES`].

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorKind};
use super::request_line::MAX_URL_BYTES;
use super::{MAX_BODY_BYTES, MAX_DRAINED_BYTES};

/// Hands a request on with its body read, or answers that it or its URL is too large, or that it broke off.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    if length > MAX_URL_BYTES {
        let message = format!(
            "the URL is longer than {MAX_URL_BYTES} bytes: send the query by POST, as a form of at \
             most {MAX_BODY_BYTES} bytes"
        );
        return ApiError::new(ErrorKind::LongUrl, message).into_response();
    }
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let body = match declared {
        0..=MAX_DRAINED_BYTES => read(body).await,
        _ => Err(Fault::TooLarge),
    };
    match body {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(Fault::TooLarge) => {
            let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
            ApiError::new(ErrorKind::TooLarge, message).into_response()
        }
        Err(Fault::BrokenOff) => {
            ApiError::bad_data("the body broke off before its end").into_response()
        }
    }
}

enum Fault {
    TooLarge,
    /// What came may mean another thing than the whole.
    BrokenOff,
}

async fn read(mut body: Body) -> Result<Vec<u8>, Fault> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(part) = frame.map_err(|_| Fault::BrokenOff)?.into_data() else { continue };
        length += part.len();
        if length > MAX_DRAINED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&part);
        }
    }
    if length > MAX_BODY_BYTES { Err(Fault::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::Options;
    use super::super::scripted::{ask, scripted, start};

    /// A client sends its whole body before it reads: it must live to read the refusal.
    #[tokio::test]
    async fn a_body_that_is_too_large_is_told_with_its_status() {
        let address = start(scripted(), Options::default()).await;
        let form = format!("query={}", "1".repeat(9_000_000));
        for _ in 0..3 {
            let reply = ask(address, "POST", "/api/v1/query", Some(&form)).await;
            assert_eq!(reply.status, 413);
            assert!(reply.body.contains(r#""errorType":"too_large""#), "{}", reply.body);
        }
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let head = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sends");
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("is answered at once");
        assert_eq!(&start, b"HTTP/1.1 413");
    }
}
