//! An Alertmanager that takes everything and remembers the last word on every alert.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use plimsoll::base::parse_rfc3339;
use serde_json::Value;

use super::server::{Server, answer};

/// Routes that show at once, for late incidents.
const STATUS: &str = r#"{"config":{"original":"route: {receiver: x, group_wait: 1s, group_interval: 1s}\nreceivers: [{name: x}]"}}"#;

/// The fake.
pub struct FakeAlertmanager {
    server: Server,
    last: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl FakeAlertmanager {
    /// One that listens.
    pub fn start() -> FakeAlertmanager {
        let last: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
        let state = Arc::clone(&last);
        let server = Server::start(move |request| {
            if request.line.starts_with("GET") {
                return answer("200 OK", "Content-Type: application/json\r\n", STATUS.as_bytes());
            }
            let alerts: Vec<Value> = serde_json::from_slice(&request.body).expect("a JSON array");
            let mut last = state.lock().expect("no panic holds it");
            last.extend(alerts.into_iter().map(|alert| (alert["labels"].to_string(), alert)));
            answer("200 OK", "", b"")
        });
        FakeAlertmanager { server, last }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Every alert ever heard of, as it was told last.
    pub fn alerts(&self) -> Vec<Value> {
        self.last.lock().expect("no panic holds it").values().cloned().collect()
    }

    /// The alerts of this name that fire, by the value of `label`.
    pub fn firing(&self, name: &str, label: &str) -> Vec<String> {
        self.named(name, label, true)
    }

    /// The alerts of this name that have ended, by the value of `label`.
    pub fn ended(&self, name: &str, label: &str) -> Vec<String> {
        self.named(name, label, false)
    }

    fn named(&self, name: &str, label: &str, firing: bool) -> Vec<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now =
            i64::try_from(now.expect("after 1970").as_millis()).expect("before the year 292e6");
        let fires = |alert: &Value| {
            let ends_at = parse_rfc3339(alert["endsAt"].as_str().expect("endsAt")).expect("a time");
            ends_at.as_millis() > now
        };
        self.alerts()
            .iter()
            .filter(|alert| alert["labels"]["alertname"] == name && fires(alert) == firing)
            .map(|alert| alert["labels"][label].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
