//! A Control Plane that checks every signature and answers as it is told, well or badly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;

use super::server::{Reply, Request, Server, answer};

/// The secret both sides know.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// One webhook that was taken.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `webhook-id`
    pub id: String,
    /// `alert.firing`, …
    pub kind: String,
    /// The alert's name.
    pub alert: String,
    /// The whole body.
    pub body: Value,
}

/// The fake.
pub struct ControlPlane {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    /// What it answers, and whether that means that it took the webhook.
    reply: (Reply, bool),
    attempts: Vec<Instant>,
    heard: Vec<Heard>,
    /// The bytes of each id: frozen, or something is wrong.
    bodies: BTreeMap<String, Vec<u8>>,
}

impl ControlPlane {
    /// One that takes everything.
    pub fn start() -> ControlPlane {
        let shared = Shared {
            reply: (answer("200 OK", "", b""), true),
            attempts: Vec::new(),
            heard: Vec::new(),
            bodies: BTreeMap::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let state = Arc::clone(&shared);
        let server = Server::start(move |request| state.lock().expect("no panic").take(request));
        ControlPlane { server, shared }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on it answers this; `takes` says whether a client must believe that it took it.
    pub fn answer(&self, reply: Reply, takes: bool) {
        self.shared.lock().expect("no panic").reply = (reply, takes);
    }

    /// When it was tried.
    pub fn attempts(&self) -> Vec<Instant> {
        self.shared.lock().expect("no panic").attempts.clone()
    }

    /// What it took about this alert, repeats included.
    pub fn heard(&self, alert: &str) -> Vec<Heard> {
        let shared = self.shared.lock().expect("no panic");
        shared.heard.iter().filter(|heard| heard.alert == alert).cloned().collect()
    }

    /// The kinds of [`ControlPlane::heard`], without `alert.`.
    pub fn kinds(&self, alert: &str) -> Vec<String> {
        self.heard(alert).iter().map(|heard| heard.kind.replace("alert.", "")).collect()
    }
}

impl Shared {
    fn take(&mut self, request: &Request) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::try_from(name.as_str()).expect("a header's name");
            headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        let webhook = Webhook::new(SECRET).expect("a good secret");
        webhook.verify(&request.body, &headers).expect("a good signature");
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        let frozen = self.bodies.entry(id.clone()).or_insert_with(|| request.body.clone());
        assert!(*frozen == request.body, "the body of {id} changed between attempts");
        self.attempts.push(Instant::now());
        let (reply, takes) = self.reply.clone();
        if takes {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, alert) = (text(&body["type"]), text(&body["data"]["alert"]));
            self.heard.push(Heard { id, kind, alert, body });
        }
        reply
    }
}
