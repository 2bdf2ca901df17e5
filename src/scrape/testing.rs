//! Targets that behave in the ways targets behave: well, badly, and not at all.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// What a test target does with a request.
pub(super) enum Answer {
    /// Sends this and closes.
    Bytes(&'static [u8]),
    /// Sends this and closes.
    Owned(Vec<u8>),
    /// Good headers, then nothing more.
    Stall,
    /// Accepts, and never says a word.
    Silence,
    /// Good headers, then one byte every 20 ms, for ever.
    Trickle,
    /// Good headers, then comment lines as fast as they are taken, for ever.
    Endless,
    /// Answers, promises to keep the connection, and closes it at the next request.
    OncePerConnection,
}

/// Serves each connection with what `answer` makes of its request head.
pub(super) async fn serve(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { converse(stream, &*answer).await });
        }
    });
    address
}

async fn converse(mut stream: TcpStream, answer: &(dyn Fn(&str) -> Answer + Send + Sync)) {
    let head = read_head(&mut stream).await;
    // A client that hangs up ends the loops below; that is what they are for.
    match answer(&head) {
        Answer::Bytes(bytes) => stream.write_all(bytes).await.unwrap_or(()),
        Answer::Owned(bytes) => stream.write_all(&bytes).await.unwrap_or(()),
        Answer::Stall => {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap_or(());
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Answer::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        Answer::Trickle => {
            let head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n";
            let mut sent = stream.write_all(head).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sent = stream.write_all(b"#").await;
            }
        }
        Answer::Endless => {
            let mut sent = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
            let lines = b"# endless\n".repeat(1000);
            while sent.is_ok() {
                sent = stream.write_all(&lines).await;
            }
        }
        Answer::OncePerConnection => {
            let page = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n";
            stream.write_all(page).await.expect("the first answer is taken");
            read_head(&mut stream).await;
        }
    }
}

/// Serves every connection to a unix socket with one answer.
pub(super) fn serve_unix(path: &Path, answer: &'static [u8]) {
    let listener = UnixListener::bind(path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            stream.write_all(answer).await.unwrap_or(());
        }
    });
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// `http://<address>/metrics`.
pub(super) fn url_of(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}/metrics")).expect("a URL")
}
