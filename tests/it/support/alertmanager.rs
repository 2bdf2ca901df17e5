//! An Alertmanager that takes everything and remembers the last word on every alert.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use plimsoll::base::parse_rfc3339;
use serde_json::Value;

use super::server::{Reply, Server, answer};

/// Routes that show at once, for late incidents.
const STATUS: &str = r#"{"config":{"original":"route: {receiver: x, group_wait: 1s, group_interval: 1s}\nreceivers: [{name: x}]"}}"#;

/// The fake.
pub struct FakeAlertmanager {
    server: Server,
    last: Arc<Mutex<BTreeMap<String, Value>>>,
    refuses: Arc<Mutex<Option<(String, Reply)>>>,
}

impl FakeAlertmanager {
    /// One that listens.
    pub fn start() -> FakeAlertmanager {
        let last: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
        let refuses: Arc<Mutex<Option<(String, Reply)>>> = Arc::default();
        let (state, refused) = (Arc::clone(&last), Arc::clone(&refuses));
        let server = Server::start(move |request| {
            if request.line.starts_with("GET") {
                return answer("200 OK", "Content-Type: application/json\r\n", STATUS.as_bytes());
            }
            let alerts: Vec<Value> = serde_json::from_slice(&request.body).expect("a JSON array");
            // As the real one: the good alerts of a batch with a bad one are taken.
            let refused = refused.lock().expect("no panic holds it").clone();
            let name = refused.as_ref().map_or("", |(name, _)| name);
            let (bad, good): (Vec<Value>, Vec<Value>) =
                alerts.into_iter().partition(|alert| alert["labels"]["alertname"] == name);
            let mut last = state.lock().expect("no panic holds it");
            last.extend(good.into_iter().map(|alert| (alert["labels"].to_string(), alert)));
            refused
                .filter(|_| !bad.is_empty())
                .map_or(answer("200 OK", "", b""), |(_, reply)| reply)
        });
        FakeAlertmanager { server, last, refuses }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on it answers this to every post that holds an alert of this name.
    pub fn refuse(&self, name: &str, reply: Reply) {
        *self.refuses.lock().expect("no panic holds it") = Some((name.to_owned(), reply));
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
