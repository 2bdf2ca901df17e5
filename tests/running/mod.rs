//! What the tests of a running plimsoll share: the real binary, an exporter for it to scrape, and a
//! client that hides nothing of the answer.
#![allow(dead_code, reason = "each test binary uses its part")]

#[path = "../support/port.rs"]
mod port;

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

pub use port::free_port;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What takes longer than this does not happen. The machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Serves metrics on loopback for as long as the test runs; returns the port. `counting_total`
/// grows by ten a second.
pub async fn exporter(body: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let port = listener.local_addr().expect("is bound").port();
    let began = Instant::now();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = began.elapsed().as_millis() / 100;
            let body = format!("{body}# TYPE counting_total counter\ncounting_total {count}\n");
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let Ok(1..) = stream.read(&mut request).await else { return };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    port
}

/// A process with an HTTP interface, gone with the test.
pub struct Server {
    pub port: u16,
    child: Child,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body's `data`, which must be there.
    pub fn data(&self) -> Value {
        let mut json = self.json();
        assert_eq!(json["status"], "success", "{self:?}");
        json["data"].take()
    }
}

impl Server {
    /// Starts a program that listens on `port`. What it says goes to a file.
    pub fn start(port: u16, program: &str, args: &[&str], log: &Path) -> Server {
        let log = std::fs::File::create(log).expect("a file for the log");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Server { port, child }
    }

    /// The plimsoll of this build, with a configuration whose `web.listen` is `port`.
    pub fn plimsoll(port: u16, config: &Path) -> Server {
        let config_arg = config.to_str().expect("a plain path");
        let args = ["run", "--config", config_arg];
        Server::start(port, env!("CARGO_BIN_EXE_plimsoll"), &args, &config.with_extension("log"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A GET that may find the server gone.
    pub async fn try_get(&self, path: &str) -> std::io::Result<Answer> {
        self.send("GET", path, "").await
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn send(&self, method: &str, path: &str, form: &str) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        // By HTTP/1.0 the body comes in one piece and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await??;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.send("GET", path, "").await;
            match answer {
                Ok(answer) if wanted(&answer) => return answer,
                answer => {
                    assert!(began.elapsed() < PATIENCE, "{path} never was as wanted: {answer:?}");
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until `/-/ready` says so.
    pub async fn ready(&self) {
        self.until("/-/ready", |answer| answer.status == 200).await;
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        let pid = self.child.id().expect("runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("ends").expect("can be waited for")
    }
}

/// A text as a URL carries it.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
