//! A scrape target whose page can be changed at any time, and which remembers when it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::server::{Reply, Server, answer};
use super::wait_until;

const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";

/// A target.
pub struct Page {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    reply: Reply,
    asked: Vec<Instant>,
}

impl Page {
    /// A good page with this text.
    pub fn new(text: &str) -> Page {
        Page::replying(answer("200 OK", TEXT, text.as_bytes()))
    }

    /// A target that answers with this, whatever it is.
    pub fn replying(reply: Reply) -> Page {
        let shared = Arc::new(Mutex::new(Shared { reply, asked: Vec::new() }));
        let state = Arc::clone(&shared);
        let server = Server::start(move |_| {
            let mut shared = state.lock().expect("no panic holds it");
            shared.asked.push(Instant::now());
            shared.reply.clone()
        });
        Page { server, shared }
    }

    /// From now on a good page with this text.
    pub fn set(&self, text: &str) {
        self.answer(answer("200 OK", TEXT, text.as_bytes()));
    }

    /// From now on this, whatever it is.
    pub fn answer(&self, reply: Reply) {
        self.shared.lock().expect("no panic holds it").reply = reply;
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// When it was asked.
    pub fn asked(&self) -> Vec<Instant> {
        self.shared.lock().expect("no panic holds it").asked.clone()
    }

    /// Waits until it has been asked `more` times more.
    pub fn wait_for_scrapes(&self, more: usize) {
        let before = self.asked().len();
        wait_until("the target is scraped", 20, || self.asked().len() >= before + more);
    }
}
