//! The webhook against real sockets on loopback. `../testdata` holds a throw-away CA with a server
//! and a client certificate, made for these tests alone.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Response as HttpResponse};
use rustls::{ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

mod table;

use super::*;
use crate::base::DeliveryId;
use crate::endpoint::testing::{TESTDATA, server_config};
use crate::outbox::EventType;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Sun, 22 Nov 2026 02:00:00 GMT.
const AT: Timestamp = Timestamp(1_795_312_800_500);

struct Fixture {
    folder: tempfile::TempDir,
    config: WebhookConfig,
}

fn fixture(url: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).expect("writes");
    let config = WebhookConfig::new(url, &secret);
    Fixture { folder, config }
}

fn attempt() -> Attempt {
    Attempt {
        id: DeliveryId("evt_1".to_owned()),
        body: Arc::from(r#"{"type":"alert.firing"}"#),
        event_type: EventType::AlertFiring,
        number: 1,
    }
}

async fn send(config: &WebhookConfig) -> Outcome {
    Webhook::new(config).expect("configured").send(&attempt(), AT).await
}

/// A server that answers every request with the same bytes, then closes.
async fn answering(answer: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let answer = answer.to_owned();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn outcome_of(answer: &str) -> Outcome {
    let address = answering(answer).await;
    send(&fixture(&format!("http://{address}/hook/TOKEN")).config).await
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::RetryLater { .. } => "later",
        Outcome::Unanswered { .. } => "unanswered",
        Outcome::Refused { .. } => "refused",
        Outcome::Misconfigured { .. } => "misconfigured",
    }
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Accepted(answer) => panic!("accepted: {answer:?}"),
        Outcome::RetryLater { why, .. }
        | Outcome::Unanswered { why, .. }
        | Outcome::Refused { why }
        | Outcome::Misconfigured { why } => why,
    }
}

#[tokio::test]
async fn every_status_says_what_to_do_next() {
    let cases = [
        ("accepted", &[200, 201, 202, 204, 299][..]),
        ("later", &[300, 301, 302, 304, 307, 308, 425, 429, 503]),
        // A proxy says so of a receiver that may be at work; it may have broken in the middle of it.
        ("unanswered", &[408, 500, 502, 504, 520, 524, 599]),
        ("misconfigured", &[401, 403, 404, 405, 407, 410]),
        ("refused", &[400, 402, 409, 413, 415, 422]),
    ];
    for (want, statuses) in cases {
        for status in statuses {
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let outcome = outcome_of(&head).await;
            assert_eq!(word(&outcome), want, "{status}");
            if want != "accepted" {
                let why = why(outcome);
                assert!(why.contains(&status.to_string()) && !why.contains("TOKEN"), "{why}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_says_how_far_the_two_clocks_are_apart() {
    let said = async |date: &str| {
        let end = "content-length: 3\r\nconnection: close\r\n\r\nold";
        why(outcome_of(&format!("HTTP/1.1 401 X\r\n{date}{end}")).await)
    };
    for (date, want) in [
        ("date: Sun, 22 Nov 2026 02:10:30 GMT\r\n", "; its clock is 10m29s ahead of ours"),
        ("date: Sun, 22 Nov 2026 01:00:00 GMT\r\n", "; its clock is 1h behind ours"),
        ("date: Sun, 22 Nov 2026 02:01:00 GMT\r\n", ""),
        ("date: yesterday\r\n", ""),
        ("", ""),
    ] {
        let why = said(date).await;
        assert!(why.ends_with(&format!("HTTP 401 Unauthorized{want}")), "{date}: {why}");
    }
    let date = "HTTP/1.1 400 X\r\ndate: Sun, 22 Nov 2026 01:00:00 GMT\r\n";
    let refused = format!("{date}content-length: 3\r\nconnection: close\r\n\r\nold");
    let why = why(outcome_of(&refused).await);
    assert!(why.ends_with("its clock is 1h behind ours: old"), "{why}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let target = axum::serve(
        TcpListener::bind("127.0.0.1:0").await.expect("binds"),
        Router::new().fallback(async move || seen.send(()).expect("the test listens")),
    );
    let address = target.local_addr().expect("bound");
    tokio::spawn(target.into_future());
    let head = format!(
        "HTTP/1.1 307 X\r\nlocation: http://{address}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(word(&outcome_of(&head).await), "later");
    assert!(requests.try_recv().is_err(), "nobody followed");
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (text, want) in [
        ("120", Some(120_000)),
        ("Sun, 22 Nov 2026 02:01:00 GMT", Some(59_500)),
        ("Sun, 22 Nov 2026 01:00:00 GMT", Some(0)),
        ("soon", None),
        // An hour ahead of us, it asks for a minute.
        ("Sun, 22 Nov 2026 03:01:00 GMT\r\ndate: Sun, 22 Nov 2026 03:00:00 GMT", Some(60_000)),
        ("-1", None),
        ("Sun, 22 ovD 2026 02:01:00 GMT", None),
    ] {
        let head = format!(
            "HTTP/1.1 503 X\r\nretry-after: {text}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let (busy, broken) = (outcome_of(&head).await, head.replace("503", "504"));
        let Outcome::RetryLater { after, .. } = busy else { panic!("{text}") };
        assert_eq!(after.map(|after| after.as_millis()), want, "{text}");
        let Outcome::Unanswered { after, .. } = outcome_of(&broken).await else { panic!("{text}") };
        assert_eq!(after.map(|after| after.as_millis()), want, "{text}");
    }
}

#[tokio::test]
async fn answers_are_read_if_they_can_be() {
    let answer = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 202 X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    };
    let good =
        r#"{"decision":"accepted","change_id":"c7","verify_until":"2026-11-22T02:10:00Z","x":1}"#;
    let Outcome::Accepted(read) = outcome_of(&answer(good)).await else { panic!("not accepted") };
    assert_eq!(read.decision.as_deref(), Some("accepted"));
    assert_eq!(read.change_id.as_deref(), Some("c7"));
    let huge = format!("{{\"decision\":\"{}\"}}", "x".repeat(1 << 20));
    let too_long = "HTTP/1.1 200 X\r\ncontent-length: 99\r\nconnection: close\r\n\r\n{";
    for rubbish in
        [&answer("ok"), &answer("[1"), &answer("{\"decision\":7}"), &answer(&huge), too_long]
    {
        let outcome = outcome_of(rubbish).await;
        assert_eq!(outcome, Outcome::Accepted(Answer::default()), "{:.80}", rubbish);
    }
    assert_eq!(word(&outcome_of("220 smtp ready\r\n").await), "unanswered");
    let refusal = "HTTP/1.1 422 X\r\nconnection: close\r\n\r\ntenant\nunknown";
    assert!(why(outcome_of(refusal).await).ends_with(": tenant unknown"));
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let mut fixture = fixture(&format!("http://{address}/"));
    fixture.config.timeout = Duration::from_millis(200);
    assert_eq!(word(&send(&fixture.config).await), "unanswered", "it accepts and is silent");
    let slow = "HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{";
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(slow.as_bytes()).await;
            open.push(socket);
        }
    });
    let outcome = send(&fixture.config).await;
    assert_eq!(outcome, Outcome::Accepted(Answer::default()), "its status came, its body never");
}

#[tokio::test]
async fn the_receiver_can_verify_what_arrives() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let receiver = async move |headers: HeaderMap, body: Bytes| {
        seen.send((headers, body)).expect("the test listens");
        HttpResponse::new("{}".to_owned())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(axum::serve(listener, Router::new().fallback(receiver)).into_future());
    let mut fixture = fixture(&format!("http://localhost:{}/hook", address.port()));
    let bearer = fixture.folder.path().join("bearer");
    fs::write(&bearer, "abc\n").expect("writes");
    fixture.config.bearer_file = Some(bearer.clone());
    assert_eq!(word(&send(&fixture.config).await), "accepted");
    let (headers, body) = requests.recv().await.expect("one request");
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    assert_eq!(header("authorization"), "Bearer abc");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(&body[..], attempt().body.as_bytes());
    let seconds = header("webhook-timestamp").parse().expect("seconds");
    let signed = (&*header("webhook-id"), seconds, &*header("webhook-signature"));
    let secrets = Secrets::parse(SECRET).expect("a secret");
    assert_eq!(secrets.verify(signed, &body, AT), Ok(()));
    let webhook = Webhook::new(&fixture.config).expect("configured");
    fs::remove_file(&bearer).expect("removes");
    let outcome = webhook.send(&attempt(), AT).await;
    assert_eq!(word(&outcome), "misconfigured", "a lost token is no reason to send without");
}

#[tokio::test]
async fn an_unreachable_sink_is_retried_and_its_path_not_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let outcome = send(&fixture(&format!("http://u:PASS@{address}/TOKEN?k=KEY")).config).await;
    assert_eq!(word(&outcome), "later");
    let why = why(outcome);
    assert!(why.contains(&address.to_string()), "{why}");
    assert!(!why.contains("TOKEN") && !why.contains("PASS") && !why.contains("KEY"), "{why}");
}

#[test]
fn bad_configurations_are_refused_at_once() {
    let check = |url: &str, want: &str| {
        let error = Webhook::new(&fixture(url).config).expect_err(url).to_string();
        assert!(error.contains(want), "{url}: {error}");
    };
    check("nonsense", "not a URL");
    check("ftp://127.0.0.1/", "neither https nor http");
    check("http://cp.example.com/TOKEN", "use https for `http://cp.example.com`");
    check("http://127.0.0.1.example.com/", "loopback only");
    check("http://10.0.0.1/", "loopback only");
    for url in ["http://[::1]:1/", "http://localhost/", "http://127.9.9.9/"] {
        Webhook::new(&fixture(url).config).expect(url);
    }
    let mut bad = fixture("http://localhost/");
    fs::write(&bad.config.secret_file, "hunter2").expect("writes");
    let error = Webhook::new(&bad.config).expect_err("no secret").to_string();
    assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
    bad.config.secret_file = bad.folder.path().join("absent");
    assert!(matches!(Webhook::new(&bad.config), Err(WebhookError::File { .. })));
    let mut bad = fixture("https://localhost/");
    bad.config.ca_file = Some(bad.config.secret_file.clone());
    assert!(matches!(Webhook::new(&bad.config), Err(WebhookError::Pem { .. })));
    bad.config.ca_file = None;
    bad.config.client_certificate_file = Some(bad.config.secret_file.clone());
    assert!(matches!(Webhook::new(&bad.config), Err(WebhookError::Pem { .. })));
}

/// A TLS server on a thread of its own that wants a client certificate of the test CA.
fn tls_server() -> SocketAddr {
    let config = server_config();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = StreamOwned::new(connection, socket);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

#[tokio::test]
async fn mutual_tls_with_an_own_authority() {
    let mut fixture = fixture(&format!("https://{}/", tls_server()));
    fixture.config.ca_file = Some(PathBuf::from(format!("{TESTDATA}/client.pem")));
    let stranger = send(&fixture.config).await;
    assert_eq!(word(&stranger), "later", "not an authority that signed the server's certificate");
    fixture.config.ca_file = Some(PathBuf::from(format!("{TESTDATA}/ca.pem")));
    let nameless = send(&fixture.config).await;
    assert_eq!(word(&nameless), "unanswered", "the server wants a client certificate");
    fixture.config.client_certificate_file = Some(PathBuf::from(format!("{TESTDATA}/client.pem")));
    assert_eq!(word(&send(&fixture.config).await), "accepted");
}

#[tokio::test]
async fn an_answer_outside_the_contract_accepts_nothing() {
    for (body, word) in [
        (r#"{"decision":"rejected"}"#, "refused"),
        (r#"{"decision":"Declined","reason":"no"}"#, "refused"),
        (r#"{"decision":"done"}"#, "refused"),
        (r#"{"outcome":"failed"}"#, "refused"),
        (r#"{"decision":"done","outcome":"failed"}"#, "accepted"),
        ("{}", "accepted"),
        ("", "accepted"),
    ] {
        let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let address = answering(&answer).await;
        let fixture = fixture(&format!("http://{address}/hook"));
        let webhook = Webhook::new(&fixture.config).expect("configured");
        let request = Attempt { event_type: EventType::RestartRequested, ..attempt() };
        let outcome = webhook.send(&request, AT).await;
        assert_eq!(self::word(&outcome), word, "{body}: {outcome:?}");
        assert_eq!(self::word(&webhook.send(&attempt(), AT).await), "accepted", "news: {body}");
    }
}

/// What comes of an answer to what was sent to this path, with `hunter2` as bearer.
async fn repeated(path: &str, status: u16, body: &str) -> Outcome {
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let address = answering(&answer).await;
    let mut fixture = fixture(&format!("http://{address}{path}"));
    let bearer = fixture.folder.path().join("bearer");
    fs::write(&bearer, "hunter2\n").expect("writes");
    fixture.config.bearer_file = Some(bearer);
    let webhook = Webhook::new(&fixture.config).expect("configured");
    webhook.send(&Attempt { event_type: EventType::RestartRequested, ..attempt() }, AT).await
}

#[tokio::test]
async fn what_a_receiver_repeats_of_the_way_in_is_struck_out() {
    let path = "/hooks/aBcDeFgHiJkLmNoP?site=berlin&token=t0k%2Fen%26";
    for (said, want) in [
        ("hunter2 at /hook?site=berlin&token=t0k%2fen%26 is wrong", "*** at /hook?*** is wrong"),
        (r"not t0k\/en\u0026, \u0068unter2", "not ***, ***"),
        (r"/hooks\/aBcDeFgHiJkLmNoP is gone", "hooks/*** is gone"),
    ] {
        let declined = format!(r#"{{"decision":"declined","reason":"{said}"}}"#);
        let Outcome::Accepted(answer) = repeated(path, 200, &declined).await else {
            panic!("{said}")
        };
        let reason = answer.reason.expect("a reason");
        assert!(reason.ends_with(want), "{reason}");
        let refused = why(repeated(path, 422, said).await).replace(r"\/", "/");
        assert!(refused.ends_with(want), "{refused}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_within_a_secret_shows_nothing_of_it() {
    for (status, body) in [
        (200, r#"{"seen":"Bearer tok-9f8e7d6c5b4a"#.to_owned()),
        (422, "not tok-9f8e7d6c5b4a".to_owned()),
        // So long that it is read in part, and short once what is ours is struck.
        (422, "tok-9f8e7d6c5b4a39281706".repeat(1 << 12)),
    ] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 999999\r\n\r\n");
        let address = answering(&format!("{head}{body}")).await;
        let mut fixture = fixture(&format!("http://{address}/hook"));
        let bearer = fixture.folder.path().join("bearer");
        fs::write(&bearer, "tok-9f8e7d6c5b4a39281706\n").expect("writes");
        fixture.config.bearer_file = Some(bearer);
        let webhook = Webhook::new(&fixture.config).expect("configured");
        let request = Attempt { event_type: EventType::RestartRequested, ..attempt() };
        let told = match webhook.send(&request, AT).await {
            Outcome::Accepted(answer) => answer.reason.expect("a reason"),
            other => why(other),
        };
        assert!(told.contains("***") && !told.contains("tok"), "{status}: {told}");
    }
}

#[tokio::test]
async fn a_secret_that_is_a_word_of_the_contract_changes_no_answer() {
    let path = "/hook?default=accepted&year=2026&kind=done&word=rejected";
    let body = r#"{"decision":"accepted","verify_until":"2026-11-22T02:10:00Z"}"#;
    let Outcome::Accepted(answer) = repeated(path, 200, body).await else { panic!("{body}") };
    assert_eq!(answer.decision.as_deref(), Some("accepted"));
    assert_eq!(answer.verify_until.as_deref(), Some("2026-11-22T02:10:00Z"));
    let refused = why(repeated(path, 200, r#"{"decision":"rejected"}"#).await);
    assert!(refused.contains("it has decision: ***, outcome: null"), "{refused}");
}

#[tokio::test]
async fn the_id_of_a_change_stays_as_it_was_said() {
    for (path, id) in [
        ("/webhooks?host=web-7", "web-7-20261129-0003"),
        ("/hooks/deploy-2026", "deploy-2026-11-29-0003"),
    ] {
        let body = format!(r#"{{"decision":"accepted","change_id":"{id}","reason":"{id} runs"}}"#);
        let Outcome::Accepted(answer) = repeated(path, 200, &body).await else { panic!("{path}") };
        assert_eq!(answer.change_id.as_deref(), Some(id), "it goes back to the receiver");
        let reason = answer.reason.expect("a reason");
        assert!(reason.starts_with("***-"), "what it says in prose is struck: {reason}");
    }
}

#[tokio::test]
async fn a_decision_counts_though_what_stands_beside_it_cannot_be_read() {
    let body = r#"{"decision":"declined","change_id":17,"reason":"customer refused"}"#;
    let Outcome::Accepted(answer) = repeated("/hook", 200, body).await else { panic!("{body}") };
    let want = Answer {
        decision: Some("declined".to_owned()),
        reason: Some("customer refused (not as the contract says: change_id)".to_owned()),
        is_unclear: true,
        ..Answer::default()
    };
    assert_eq!(answer, want);
    let body = r#"{"decision":"done","outcome":"succeeded","reason":{},"verify_until":1}"#;
    let Outcome::Accepted(answer) = repeated("/hook", 200, body).await else { panic!("{body}") };
    assert_eq!(answer.outcome.as_deref(), Some("succeeded"));
    assert_eq!(answer.reason.as_deref(), Some("not as the contract says: reason, verify_until"));
    let refused = why(repeated("/hook", 200, r#"{"decision":"done","outcome":1}"#).await);
    assert!(refused.contains("`outcome` must be"), "{refused}");
    let of_news = r#"{"decision":"accepted","change_id":17}"#;
    let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", of_news.len());
    let Outcome::Accepted(answer) = outcome_of(&(head + of_news)).await else { panic!("news") };
    assert!(!answer.is_unclear, "of news nobody waits for a word");
}

#[tokio::test]
async fn a_reason_alone_is_a_clear_answer() {
    let answer = Answer { reason: Some("stored".to_owned()), ..Answer::default() };
    let outcome = repeated("/hook", 200, r#"{"reason":"stored"}"#).await;
    assert_eq!(outcome, Outcome::Accepted(answer));
}

#[tokio::test]
async fn an_answer_to_a_request_that_cannot_be_read_is_told_and_accepts() {
    let told = |outcome: Outcome| {
        let Outcome::Accepted(answer) = outcome else { panic!("{outcome:?}") };
        let rest = Answer { reason: None, is_unclear: false, ..answer.clone() };
        assert_eq!(rest, Answer::default());
        assert_eq!(answer.is_unclear, answer.reason.is_some());
        answer.reason
    };
    for (body, want) in [
        (
            "not hunter2",
            "it counts as accepted, for its answer is not as the contract says: not ***",
        ),
        (r#"{"status":"declined"}"#, r#": {"status":"declined"}"#),
        (r#"["declined"]"#, r#": ["declined"]"#),
        (r#"{"decision":7}"#, r#": {"decision":7}"#),
        (
            r#"{"decision":["declined"],"reason":"no"}"#,
            r#": {"decision":["declined"],"reason":"no"}"#,
        ),
        (r#"{"reason":7}"#, r#": {"reason":7}"#),
        ("{\"decision\":\n\"decl", r#": {"decision": "decl"#),
    ] {
        let reason = told(repeated("/hook", 200, body).await).expect(body);
        assert!(reason.ends_with(want), "{reason}");
    }
    for body in ["", " \r\n", "{}", "null", r#"{"decision":null,"x":1}"#] {
        assert_eq!(told(repeated("/hook", 200, body).await), None, "{body}");
    }
    let cut = |body: &str| format!("HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{body}");
    for (event_type, body, want) in [
        (EventType::RestartRequested, "", Some("its answer broke off")),
        (EventType::RestartRequested, "{", Some("its answer broke off: {")),
        (EventType::AlertFiring, "{", None),
    ] {
        let address = answering(&cut(body)).await;
        let fixture = fixture(&format!("http://{address}/hook"));
        let webhook = Webhook::new(&fixture.config).expect("configured");
        let outcome = webhook.send(&Attempt { event_type, ..attempt() }, AT).await;
        let reason = told(outcome);
        assert_eq!(reason.is_some(), want.is_some(), "{body}");
        assert!(reason.unwrap_or_default().ends_with(want.unwrap_or_default()), "{body}");
    }
}
