//! The world around plimsoll, as servers on loopback: cAdvisor, M2, an Alertmanager, a Control Plane.
//!
//! They are fakes only in what stands behind them. Each listens on a port of its own, is reached
//! over real HTTP, and tells the story what it saw. The Control Plane does what a real one must:
//! verify the signature over the raw body, handle an id once, answer; and it loses one answer on
//! purpose, so that the repetition can be watched.

use std::collections::BTreeSet;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::world::{Fill, LEAKING, World};
use crate::app::clock::Clock;
use crate::base::{Timestamp, parse_rfc3339};
use crate::outbox::{ActionMode, Event, EventType};
use crate::send::{Secrets, VerifyError};

/// From the Control Plane's decision to the container's restart.
const RESTART_TAKES: Duration = Duration::from_secs(4);

/// What a fake saw.
#[derive(Debug)]
pub enum Seen {
    /// cAdvisor was scraped; how full the leaking container is.
    Scraped(Fill),
    /// Alertmanager was given an alert.
    Presented {
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Whether it has ended.
        resolved: bool,
    },
    /// The Control Plane took a webhook.
    Hooked(Box<Hooked>),
    /// The Control Plane had a container restarted.
    Restarted {
        /// Its name.
        name: String,
    },
}

/// A webhook, and what the Control Plane makes of it.
#[derive(Debug)]
pub struct Hooked {
    /// `webhook-id`
    pub id: String,
    /// Whether the signature is right.
    pub signature: Result<(), VerifyError>,
    /// Whether the id has been handled before.
    pub repeated: bool,
    /// Whether the answer is lost on its way.
    pub answer_lost: bool,
    /// The body; `None` if it cannot be read.
    pub event: Option<Event>,
}

/// Where everybody listens.
pub struct Addresses {
    /// cAdvisor.
    pub cadvisor: SocketAddr,
    /// M2.
    pub m2: SocketAddr,
    /// Alertmanager.
    pub alertmanager: SocketAddr,
    /// The Control Plane.
    pub control_plane: SocketAddr,
}

/// What all fakes share.
#[derive(Clone)]
pub struct Stage {
    clock: Clock,
    world: Arc<Mutex<World>>,
    tell: mpsc::UnboundedSender<(Timestamp, Seen)>,
}

impl Stage {
    /// A stage on which the story begins now.
    pub fn new(clock: Clock, tell: mpsc::UnboundedSender<(Timestamp, Seen)>) -> Stage {
        Stage { clock, world: Arc::new(Mutex::new(World::new(clock.now().wall))), tell }
    }

    /// Opens the four ports and serves them until the runtime ends.
    pub async fn open(self, secrets: Secrets) -> std::io::Result<Addresses> {
        let (cadvisor, m2, alertmanager) = (self.clone(), self.clone(), self.clone());
        let control_plane =
            Arc::new(ControlPlane { stage: self, secrets, handled: Mutex::default() });
        Ok(Addresses {
            cadvisor: serve("/metrics", get(move || ready(cadvisor.cadvisor()))).await?,
            m2: serve("/metrics", get(move || ready(m2.m2()))).await?,
            alertmanager: serve(
                "/api/v2/alerts",
                post(move |body| ready(alertmanager.take_alerts(&body))),
            )
            .await?,
            control_plane: serve(
                "/webhooks",
                post(move |headers, body| ready(control_plane.take(&headers, &body))),
            )
            .await?,
        })
    }

    fn with_world<T>(&self, ask: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        // A world whose lock is poisoned is still a world: nothing in it is ever half done.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut world, self.clock.now().wall)
    }

    fn tell(&self, seen: Seen) {
        // The story may be over already.
        self.tell.send((self.clock.now().wall, seen)).ok();
    }

    fn cadvisor(&self) -> String {
        let (text, fill) =
            self.with_world(|world, now| (world.cadvisor(now), world.fill(LEAKING, now)));
        if let Some(fill) = fill {
            self.tell(Seen::Scraped(fill));
        }
        text
    }

    fn m2(&self) -> String {
        self.with_world(|world, now| world.m2(now))
    }

    fn take_alerts(&self, body: &Bytes) -> StatusCode {
        let Ok(alerts) = serde_json::from_slice::<Vec<Presented>>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let now = self.clock.now().wall;
        for alert in alerts {
            let resolved = parse_rfc3339(&alert.ends_at).is_some_and(|end| end <= now);
            self.tell(Seen::Presented { labels: alert.labels, resolved });
        }
        StatusCode::OK
    }
}

/// An alert as `POST /api/v2/alerts` has it, as far as the story needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Presented {
    labels: BTreeMap<String, String>,
    ends_at: String,
}

struct ControlPlane {
    stage: Stage,
    secrets: Secrets,
    /// Ids that were handled: a unique key in a real one's database.
    handled: Mutex<BTreeSet<String>>,
}

impl ControlPlane {
    fn take(&self, headers: &HeaderMap, body: &Bytes) -> (StatusCode, &'static str) {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
        let signature = self.secrets.verify(
            (id, seconds.parse().unwrap_or(0), header("webhook-signature")),
            body,
            self.stage.clock.now().wall,
        );
        let mut hooked = Hooked {
            id: id.to_owned(),
            signature,
            repeated: false,
            answer_lost: false,
            event: serde_json::from_slice(body).ok(),
        };
        if signature.is_err() {
            self.stage.tell(Seen::Hooked(Box::new(hooked)));
            return (StatusCode::UNAUTHORIZED, "");
        }
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        hooked.repeated = !handled.insert(id.to_owned());
        let restart = hooked.event.as_ref().and_then(container_to_restart);
        hooked.answer_lost = restart.is_some() && !hooked.repeated;
        let (status, answer) = if hooked.answer_lost {
            (StatusCode::BAD_GATEWAY, "")
        } else {
            (StatusCode::OK, r#"{"decision":"accepted"}"#)
        };
        let restart = restart.filter(|_| !hooked.repeated);
        self.stage.tell(Seen::Hooked(Box::new(hooked)));
        if let Some(name) = restart {
            tokio::spawn(restart_soon(self.stage.clone(), name));
        }
        (status, answer)
    }
}

/// The container an event asks to restart; none if it is a dry run.
fn container_to_restart(event: &Event) -> Option<String> {
    let action = event.data.action.as_ref()?;
    let asked =
        event.event_type == EventType::RestartRequested && action.mode == ActionMode::Request;
    asked.then(|| event.data.labels.get("name").cloned())?
}

async fn restart_soon(stage: Stage, name: String) {
    stage.clock.sleep_until(stage.clock.monotonic() + RESTART_TAKES).await;
    if stage.with_world(|world, now| world.restart(&name, now)) {
        stage.tell(Seen::Restarted { name });
    }
}

async fn serve(path: &str, method: axum::routing::MethodRouter) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route(path, method);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
