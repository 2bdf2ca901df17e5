//! An HTTP server that may be as rude as a test needs: raw bytes, silence, endless bodies, resets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a client sent.
pub struct Request {
    /// `POST /path`
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// What the server does about it. Every connection carries one request.
#[derive(Clone)]
pub enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, then nothing for as long as the client waits.
    Hang(Vec<u8>),
    /// Sends the first bytes, then the second ones again and again, with a pause in between.
    Repeat(Vec<u8>, Vec<u8>, Duration),
    /// Resets the connection if the request has a body, else closes it without a word.
    Reset,
}

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// A listening server; it stops listening when dropped.
pub struct Server {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
}

impl Server {
    /// Answers every request with what `handler` makes of it.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let ends = Arc::new(AtomicBool::new(false));
        let (handler, stop) = (Arc::new(handler), Arc::clone(&ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || converse(stream, &*handler));
            }
        });
        Server { address, ends }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

/// A client that hangs up ends this early; that is what most of these tests provoke.
fn converse(mut stream: TcpStream, handler: &dyn Fn(&Request) -> Reply) -> Option<()> {
    let mut request = read_head(&mut stream)?;
    let length = request.headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    // The last byte stays unread until the reply is known: closing with unread bytes is a reset.
    request.body = vec![0; length];
    if let Some(rest) = length.checked_sub(1) {
        stream.read_exact(&mut request.body[..rest]).ok()?;
        let read = stream.peek(&mut request.body[rest..]).ok()?;
        assert_eq!(read, 1, "a body of the length it was said to have");
    }
    let reply = handler(&request);
    if matches!(reply, Reply::Reset) {
        return None;
    }
    if length > 0 {
        stream.read_exact(&mut [0]).ok()?;
    }
    match reply {
        Reply::Reset => None,
        Reply::Bytes(bytes) => stream.write_all(&bytes).ok(),
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).ok()?;
            stream.read(&mut [0]).ok().map(drop)
        }
        Reply::Repeat(first, again, pause) => {
            stream.write_all(&first).ok()?;
            loop {
                stream.write_all(&again).ok()?;
                std::thread::sleep(pause);
            }
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head of text");
    let mut lines = head.lines();
    let line = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Request { line, headers, body: Vec::new() })
}
