//! The retry and dead-letter table, row by row: a peer that answers so, the real client, the real
//! outbox, and what becomes of the message. Time is the test's own; only the sockets are real.
//!
//! Faults are gathered, so that one run names every row that is wrong.

use std::collections::BTreeMap;

use super::*;
use crate::base::{Batch, Now, Receipt};
use crate::outbox::{Data, Draft, Event, Fact, Outbox, OutboxConfig, Reply, State};

/// What has to become of a message that is answered so, again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Taken at the first attempt; the tenant's next one goes.
    Delivered,
    /// Tried again for ever, first after about a second, at most 30 s apart.
    Again,
    /// Tried again for ever, and nothing at all is sent for so many seconds.
    AgainAfter(u64),
    /// Someone must act: one probe every 30 s, for ever.
    Paused,
    /// Given up after three attempts; the tenant's next one goes.
    Dead,
}

/// How the peer answers.
enum Peer {
    /// With these bytes, then it closes.
    Says(String),
    /// It takes the request and is silent.
    Silent,
    /// Nobody listens.
    Absent,
    /// It closes without a word.
    Hangs,
    /// It is asked over TLS and knows none.
    NoTls,
}

fn status(status: u16) -> Peer {
    head(status, "")
}

fn head(status: u16, line: &str) -> Peer {
    Peer::Says(format!(
        "HTTP/1.1 {status} X\r\n{line}content-length: 0\r\nconnection: close\r\n\r\n"
    ))
}

fn body(status: u16, body: &str) -> Peer {
    let length = body.len();
    Peer::Says(format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn rows() -> Vec<(&'static str, Peer, Fate)> {
    use Fate::{Again, AgainAfter, Dead, Delivered, Paused};
    let raw = |text: &str| Peer::Says(text.to_owned());
    let huge = "x".repeat(1 << 20);
    vec![
        // 2xx: it has it, whatever else it says.
        ("200", status(200), Delivered),
        ("202 with an answer", body(202, r#"{"decision":"accepted"}"#), Delivered),
        ("204", status(204), Delivered),
        ("200 with rubbish", body(200, "<html>\u{1}"), Delivered),
        ("200 with a megabyte", body(200, &huge), Delivered),
        ("200 cut off", raw("HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{"), Delivered),
        // 3xx: a failure; never followed.
        ("301", head(301, "location: http://127.0.0.1:1/\r\n"), Again),
        ("307", head(307, "location: http://127.0.0.1:1/\r\n"), Again),
        ("304", status(304), Again),
        // The message is at fault.
        ("400", status(400), Dead),
        ("413", status(413), Dead),
        ("422", status(422), Dead),
        ("402", status(402), Dead),
        ("409", status(409), Dead),
        ("415", status(415), Dead),
        // The configuration is at fault.
        ("401", status(401), Paused),
        ("403", status(403), Paused),
        ("404", status(404), Paused),
        ("405", status(405), Paused),
        ("407", status(407), Paused),
        ("410", status(410), Paused),
        // The moment is at fault.
        ("408", status(408), Again),
        ("425", status(425), Again),
        ("429", status(429), Again),
        ("429, quiet for 120 s", head(429, "retry-after: 120\r\n"), AgainAfter(120)),
        ("429, quiet for an hour", head(429, "retry-after: 3600\r\n"), AgainAfter(600)),
        ("500", status(500), Again),
        ("501", status(501), Again),
        ("502", status(502), Again),
        ("503", status(503), Again),
        ("503, quiet for 60 s", head(503, "retry-after: 60\r\n"), AgainAfter(60)),
        (
            "503, quiet until a date",
            head(503, "retry-after: Sun, 22 Nov 2026 02:01:00 GMT\r\n"),
            AgainAfter(59),
        ),
        ("503, quiet for ever", head(503, "retry-after: soon\r\n"), Again),
        ("504", status(504), Again),
        ("504, quiet for 60 s", head(504, "retry-after: 60\r\n"), AgainAfter(60)),
        ("599", status(599), Again),
        ("rubbish", raw("220 smtp ready\r\n"), Again),
        ("half a head", raw("HTTP/1.1 200 O"), Again),
        ("silence", Peer::Silent, Again),
        ("hangs up", Peer::Hangs, Again),
        ("nobody", Peer::Absent, Again),
        ("no TLS", Peer::NoTls, Again),
    ]
}

/// The address to send to; who answers there lives as long as the runtime.
async fn start(peer: &Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (answer, silent) = match peer {
        Peer::Says(text) => (text.clone(), false),
        Peer::NoTls => ("220 smtp ready\r\n".to_owned(), false),
        Peer::Silent => (String::new(), true),
        Peer::Hangs => (String::new(), false),
        Peer::Absent => return format!("http://{address}/"),
    };
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer.as_bytes()).await;
            if silent {
                open.push(socket);
            }
        }
    });
    let scheme = if matches!(peer, Peer::NoTls) { "https" } else { "http" };
    format!("{scheme}://{address}/")
}

/// What a first message of a tenant went through, while a second one of the tenant waits.
#[derive(Default)]
struct Story {
    /// When the first was tried, in seconds.
    tried: Vec<f64>,
    /// When the second was tried first.
    next: Option<f64>,
    delivered: bool,
    dead: bool,
    paused: bool,
    /// Whether the first is still there, and what the outbox says of it.
    left: Option<State>,
    /// Whether every failure was told with a reason.
    reasons: bool,
}

const FIRST: &str = "evt_first";
const ATTEMPTS: usize = 12;

async fn story(peer: &Peer) -> Story {
    let mut fixture = fixture(&start(peer).await);
    fixture.config.timeout = Duration::from_millis(150);
    if matches!(peer, Peer::NoTls) {
        fixture.config.ca_file = Some(PathBuf::from(format!("{TESTDATA}/ca.pem")));
    }
    let webhook = Webhook::new(&fixture.config).expect("configured");
    let mut outbox = Outbox::new(OutboxConfig::default());
    let mut now = Now { monotonic: Duration::ZERO, wall: AT };
    for id in [FIRST, "evt_second"] {
        let data = Data { tenant_id: Some("acme".to_owned()), ..Data::default() };
        let event = Event::new(EventType::AlertFiring, AT, data);
        let draft = Draft { id: DeliveryId(id.to_owned()), event };
        assert_eq!(outbox.push(draft, now, Batch(1)).changes.len(), 1);
    }
    outbox.committed(Receipt::of(Batch(9)));
    let mut story = Story { reasons: true, ..Story::default() };
    while story.tried.len() < ATTEMPTS && story.next.is_none() {
        let turn = outbox.due(now, Batch(2));
        for attempt in turn.attempts {
            let seconds = now.monotonic.as_secs_f64();
            if attempt.id.0 == FIRST {
                story.tried.push(seconds);
            } else {
                story.next = Some(seconds);
                break;
            }
            let outcome = webhook.send(&attempt, AT).await;
            let reply = Reply { id: attempt.id, number: attempt.number, outcome };
            for fact in outbox.settle(reply, now).facts {
                match fact {
                    Fact::Delivered { .. } => story.delivered = true,
                    Fact::DeadLettered { .. } => story.dead = true,
                    Fact::Paused { .. } => story.paused = true,
                    Fact::Retrying { why, .. } => story.reasons &= !why.is_empty(),
                    _ => {}
                }
            }
        }
        if let Some(at) = outbox.next_wakeup() {
            now.monotonic = at.max(now.monotonic);
        }
    }
    story.left = outbox.list().find(|(_, held)| held.id.0 == FIRST).map(|(state, _)| state);
    story
}

/// What is wrong with a story, if something is.
fn fault(story: &Story, fate: Fate) -> Option<&'static str> {
    let pauses: Vec<f64> = story.tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let doubling = |(pause, full): (&f64, f64)| full / 2.0 <= *pause && *pause <= full;
    let kept = story.left.is_some_and(|left| left != State::Dead);
    let first = |want: bool, fault| (!want).then_some(fault);
    match fate {
        Fate::Delivered => {
            first(story.delivered && story.tried.len() == 1, "not delivered at once")
                .or_else(|| first(story.left.is_none(), "still there"))
                .or_else(|| first(story.next.is_some(), "the next one does not go"))
        }
        Fate::Dead => first(story.dead && story.tried.len() == 3, "not dead after three attempts")
            .or_else(|| first(story.left == Some(State::Dead), "not kept to be looked at"))
            .or_else(|| first(story.next.is_some(), "the next one does not go"))
            .or_else(|| first(!story.paused, "paused")),
        Fate::Again => first(kept && !story.delivered && !story.dead, "given up")
            .or_else(|| first(!story.paused, "paused"))
            .or_else(|| {
                let full = [1.0, 2.0, 4.0, 8.0, 16.0].into_iter().chain(std::iter::repeat(30.0));
                first(pauses.iter().zip(full).all(doubling), "not at the pace of the table")
            }),
        Fate::AgainAfter(quiet) => {
            first(kept && !story.dead && !story.paused, "given up").or_else(|| {
                let at_least = |pause: &f64| *pause >= quiet as f64 && *pause < quiet as f64 + 31.0;
                first(pauses.iter().all(at_least), "not quiet as long as was asked")
            })
        }
        Fate::Paused => first(kept && story.paused && !story.dead, "not paused, or given up")
            .or_else(|| first(pauses.iter().all(|pause| *pause >= 30.0), "probed too often")),
    }
    .or_else(|| first(story.reasons, "a failure without a reason"))
}

#[tokio::test]
async fn every_answer_leads_to_the_fate_of_the_table() {
    let mut faults = BTreeMap::new();
    for (case, peer, fate) in rows() {
        let story = story(&peer).await;
        if let Some(fault) = fault(&story, fate) {
            faults.insert(case, format!("{fault}, want {fate:?}; tried at {:?}", story.tried));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
