//! Real programs on free ports, each in a folder of its own, killed when dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::get;
use crate::support::server::Server;
use crate::support::{Process, answer, free_address, wait_until};

/// Starts a program and waits until it answers at `path`.
fn start(program: &str, args: &[&str], address: SocketAddr, path: &str, dir: &Path) -> Process {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    let process = Process::start(command, &dir.join("log"));
    wait_until(program, 20, || get(address, path).is_some());
    process
}

/// One word of Alertmanager to its webhook receiver about one alert.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// The alert's name.
    pub alert: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The whole alert.
    pub body: Value,
}

/// A webhook receiver of Alertmanager.
pub struct Receiver {
    server: Server,
    heard: Arc<Mutex<Vec<Notification>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let heard: Arc<Mutex<Vec<Notification>>> = Arc::default();
        let state = Arc::clone(&heard);
        let server = Server::start(move |request| {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let alerts = body["alerts"].as_array().expect("a list of alerts");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            state.lock().expect("no panic").extend(alerts.iter().map(|alert| Notification {
                alert: text(&alert["labels"]["alertname"]),
                status: text(&alert["status"]),
                body: alert.clone(),
            }));
            answer("200 OK", "", b"")
        });
        Receiver { server, heard }
    }

    /// Everything it was told about this alert, repeats included.
    pub fn heard(&self, alert: &str) -> Vec<Notification> {
        let heard = self.heard.lock().expect("no panic");
        heard.iter().filter(|notification| notification.alert == alert).cloned().collect()
    }

    /// The states it was told about this alert, repeats included.
    pub fn states(&self, alert: &str) -> Vec<String> {
        self.heard(alert).into_iter().map(|notification| notification.status).collect()
    }
}

/// A real Alertmanager, which may be down.
pub struct Alertmanager {
    dir: TempDir,
    pub address: SocketAddr,
    process: Option<Process>,
}

impl Alertmanager {
    /// One that is down, and would tell `receiver` of each alert by itself.
    pub fn down(receiver: &Receiver) -> Alertmanager {
        let dir = tempfile::tempdir().expect("a folder");
        let hook = receiver.server.address();
        let config = format!(
            "route: {{receiver: w, group_by: ['...'], group_wait: 1s, group_interval: 2s, \
             repeat_interval: 1h}}\nreceivers: [{{name: w, webhook_configs: [{{url: \
             'http://{hook}/', send_resolved: true}}]}}]\n"
        );
        std::fs::write(dir.path().join("am.yml"), config).expect("written");
        Alertmanager { dir, address: free_address(), process: None }
    }

    /// One that is up, with this configuration.
    pub fn with(config: &str) -> Alertmanager {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("am.yml"), config).expect("written");
        let mut alertmanager = Alertmanager { dir, address: free_address(), process: None };
        alertmanager.go_up();
        alertmanager
    }

    /// One that is up.
    pub fn start(receiver: &Receiver) -> Alertmanager {
        let mut alertmanager = Alertmanager::down(receiver);
        alertmanager.go_up();
        alertmanager
    }

    /// Brings it up, with what it had stored.
    pub fn go_up(&mut self) {
        let args = [
            "--config.file=am.yml",
            "--storage.path=data",
            &format!("--web.listen-address={}", self.address),
            "--cluster.listen-address=",
        ];
        self.process = Some(start(
            "prometheus-alertmanager",
            &args,
            self.address,
            "/-/ready",
            self.dir.path(),
        ));
    }

    /// Tells it of alerts; the status of its answer.
    pub fn tell(&self, alerts: &[Value]) -> Option<u16> {
        let body = serde_json::to_vec(alerts).ok()?;
        let mut stream = TcpStream::connect(self.address).ok()?;
        let (host, length) = (self.address, body.len());
        write!(
            stream,
            "POST /api/v2/alerts HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .ok()?;
        stream.write_all(&body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_whitespace().nth(1)?.parse().ok()
    }

    /// What it knows of an alert, by its own API.
    pub fn alert(&self, name: &str) -> Option<Value> {
        let body = get(self.address, "/api/v2/alerts")?;
        let alerts: Value = serde_json::from_str(&body).expect("JSON");
        let alerts = alerts.as_array().expect("a list");
        alerts.iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
    }
}

/// A real Prometheus that scrapes one page.
pub struct Prometheus {
    pub address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Prometheus {
    /// Every second, as job `cadvisor`.
    pub fn scraping(page: SocketAddr, path: &str) -> Prometheus {
        let (dir, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: cadvisor, \
             metrics_path: {path}, static_configs: [{{targets: ['{page}']}}]}}]\n"
        );
        std::fs::write(dir.path().join("prometheus.yml"), config).expect("written");
        let listen = format!("--web.listen-address={address}");
        let args = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen];
        let process = start("prometheus", &args, address, "/-/ready", dir.path());
        Prometheus { address, _process: process, _dir: dir }
    }
}

/// An exporter and what it needs.
pub struct Exporter {
    pub address: SocketAddr,
    /// In the order in which they must end.
    _processes: Vec<Process>,
    _dir: TempDir,
}

impl Exporter {
    /// Of this host.
    pub fn node() -> Exporter {
        let (dir, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let args = [&format!("--web.listen-address={address}")[..]];
        let process = start("prometheus-node-exporter", &args, address, "/metrics", dir.path());
        Exporter { address, _processes: vec![process], _dir: dir }
    }

    /// Of a Redis of its own.
    pub fn redis() -> Exporter {
        let (dir, address, redis) =
            (tempfile::tempdir().expect("a folder"), free_address(), free_address());
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &redis.port().to_string(), "--save", ""]);
        let server = Process::start(command, &dir.path().join("redis.log"));
        wait_until("redis-server", 20, || TcpStream::connect(redis).is_ok());
        let args = [
            &format!("-web.listen-address={address}")[..],
            &format!("-redis.addr=redis://{redis}"),
        ];
        let exporter = start("prometheus-redis-exporter", &args, address, "/metrics", dir.path());
        Exporter { address, _processes: vec![exporter, server], _dir: dir }
    }
}
