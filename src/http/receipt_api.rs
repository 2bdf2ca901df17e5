//! `POST /api/v1/plimsoll/receipts`: what the Control Plane says about a request after its answer.
//!
//! Signed as our webhooks are, with the same secret, and open only where there is one. The bytes are
//! handed on as they came: a signature is over bytes, not over what they mean.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::Shared;
use super::backend::Signed;
use super::error::ApiError;
use super::format::{self, Notes};

/// A receipt is some hundred bytes.
const RECEIPT_BYTES_MAX: usize = 16 * 1024;

#[derive(Serialize)]
struct Taken {
    id: String,
}

pub(super) async fn take(
    State(server): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let header = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    // It was read to its end before: all that can be amiss here is its size.
    let body = to_bytes(body, RECEIPT_BYTES_MAX).await.ok().map(|bytes| bytes.to_vec());
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
    };
    let id = signed.id.clone();
    server.backend.take_receipt(signed).await?;
    Ok(format::success(&Taken { id }, &Notes::default()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::Options;
    use super::super::scripted::{scripted, start};
    use super::*;

    #[tokio::test]
    async fn headers_and_bytes_are_handed_on_as_they_came() {
        let address = start(scripted(), Options::default()).await;
        let large = "x".repeat(RECEIPT_BYTES_MAX + 1);
        let cases = [
            ("v1,x", "{}", "200 OK", r#"{"status":"success","data":{"id":"msg_1"}}"#),
            ("v1,y", "{}", "401 ", "no signature matches"),
            ("v1,x", "{ }", "400 ", "this is no receipt"),
            ("v1,x", large.as_str(), "413 ", "larger than 16 KiB"),
        ];
        for (signature, body, status, words) in cases {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let head = format!(
                "POST /api/v1/plimsoll/receipts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 webhook-id: msg_1\r\nwebhook-timestamp: 1\r\nwebhook-signature: {signature}\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.expect("it reads");
            stream.write_all(body.as_bytes()).await.expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("it answers");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.contains(words), "{answer}");
        }
    }

    /// Whoever hangs up said nothing: neither too much, nor with a false signature.
    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_receipt() {
        let address = start(scripted(), Options::default()).await;
        for (framing, part) in
            [("Content-Length: 3", "{}"), ("Transfer-Encoding: chunked", "2\r\n{}\r\n")]
        {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let request = format!(
                "POST /api/v1/plimsoll/receipts HTTP/1.1\r\nHost: x\r\nwebhook-id: msg_1\r\n\
                 webhook-timestamp: 1\r\nwebhook-signature: v1,x\r\n{framing}\r\n\r\n{part}"
            );
            stream.write_all(request.as_bytes()).await.expect("it reads");
            stream.shutdown().await.expect("hangs up");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("it answers");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{framing}: {answer}");
            assert!(answer.contains("broke off"), "{answer}");
        }
    }
}
