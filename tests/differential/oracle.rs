//! A real Prometheus over the same samples: `promtool` writes them as blocks, `prometheus` answers.
#![expect(clippy::disallowed_methods, reason = "runs a real program and waits until it is up")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::When;
use super::expressions::series::Series;
use super::port::free_port;
use super::values::Answer;

/// Killed when dropped.
pub struct Oracle {
    address: SocketAddr,
    process: Child,
    /// Its data; goes with it.
    _dir: TempDir,
}

impl Oracle {
    /// Up, with these samples.
    pub fn start(series: &Series) -> Oracle {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("samples"), series.to_openmetrics()).expect("written");
        std::fs::write(at("prometheus.yml"), "global: {evaluation_interval: 1m}\n")
            .expect("written");
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([at("samples"), at("data")])
            .output()
            .expect("promtool is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = prometheus(address, dir.path());
        let oracle = Oracle { address, process, _dir: dir };
        let began = Instant::now();
        while oracle.post("/api/v1/query", "query=1").is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "prometheus does not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        oracle
    }

    /// What it says to a query.
    pub fn ask(&self, query: &str, when: When) -> Answer {
        let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
        let (path, times) = match when {
            When::Instant(at) => ("/api/v1/query", format!("time={}", seconds(at))),
            When::Range(start, end, step) => {
                let (start, end, step) = (seconds(start), seconds(end), seconds(step));
                ("/api/v1/query_range", format!("start={start}&end={end}&step={step}"))
            }
        };
        let form = format!("query={}&{times}", encoded(query));
        Answer::from_json(&self.post(path, &form).expect("prometheus answers"))
    }

    fn post(&self, path: &str, form: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let head = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n",
            form.len()
        );
        stream.write_all((head + form).as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let body = text.split_once("\r\n\r\n")?.1;
        serde_json::from_str(body).ok()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn prometheus(address: SocketAddr, dir: &Path) -> Child {
    Command::new("prometheus")
        .arg("--config.file=prometheus.yml")
        .args(["--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is installed")
}

/// For a form: letters and digits stay, every other byte becomes `%xx`.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => (byte as char).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
