//! A Control Plane that answers rubbish, or not at all: every edge still arrives, once and in order.

use std::time::Duration;

use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Page, Plan, Process, Reply, answer, pause, wait_until,
};

const RULE: &str = "{alert: High, expr: 'load > 0.9', labels: {severity: critical}}";

/// A target, both receivers, and plimsoll between them.
struct Stage {
    page: Page,
    alertmanager: FakeAlertmanager,
    control_plane: ControlPlane,
    home: Home,
    process: Process,
}

impl Stage {
    fn new() -> Stage {
        let page = Page::new("load 0.5\n");
        let alertmanager = FakeAlertmanager::start();
        let control_plane = ControlPlane::start();
        let plan = Plan {
            rules: RULE.to_owned(),
            alertmanagers: vec![alertmanager.address()],
            control_plane: Some(control_plane.address()),
            ..Plan::default()
        };
        let home = Home::new(&plan.job("t", page.address(), ""));
        let process = home.start();
        page.wait_for_scrapes(2);
        Stage { page, alertmanager, control_plane, home, process }
    }

    /// One incident from its beginning to its end, as Alertmanager hears it.
    fn incident(&self) {
        self.page.set("load 0.95\n");
        wait_until("High fires", 10, || self.alertmanager.firing("High", "alertname").len() == 1);
        self.page.set("load 0.5\n");
        wait_until("High ends", 10, || self.alertmanager.ended("High", "alertname").len() == 1);
    }

    /// Both edges arrive, under two ids, and nothing arrives twice.
    fn expect_both_edges_once(&self, case: &str, seconds: u64) {
        let kinds = || self.control_plane.kinds("High");
        wait_until(&format!("{case}: both edges"), seconds, || kinds().len() >= 2);
        pause(1500);
        assert_eq!(kinds(), ["firing", "resolved"], "{case}");
        let heard = self.control_plane.heard("High");
        assert_ne!(heard[0].id, heard[1].id, "{case}");
    }
}

/// An incident while the Control Plane answers `reply`; then it is well again.
fn check(case: &str, reply: Reply, takes: bool) {
    let stage = Stage::new();
    stage.control_plane.answer(reply, takes);
    stage.incident();
    let tries = if takes { 2 } else { 1 };
    wait_until(case, 10, || stage.control_plane.attempts().len() >= tries);
    if !takes {
        let failures = "plimsoll_outbox_failures_total{sink=\"control_plane\"}";
        wait_until("it is counted", 20, || stage.home.figure(failures) > 0.0);
        stage.home.wait_for_log("a webhook failed and will be repeated", 5);
    }
    stage.control_plane.answer(answer("204 No Content", "", b""), true);
    stage.expect_both_edges_once(case, 20);
}

/// All at once, because each is mostly waiting.
#[test]
fn rubbish_loses_no_edge_and_repeats_none() {
    let html = "Content-Type: text/html\r\n";
    let stalled = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"action\":".to_vec();
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let cases = [
        ("200 with html", answer("200 OK", html, b"<!doctype html><h1>It works!</h1>"), true),
        ("200 that stalls", Reply::Hang(stalled), true),
        ("200 without end", Reply::Repeat(head, vec![b'x'; 65_536], Duration::ZERO), true),
        ("500 of 10 MB", answer("500 Internal Server Error", "", &vec![b'x'; 10 << 20]), false),
        ("reset", Reply::Reset, false),
        ("silence", Reply::Hang(Vec::new()), false),
        (
            "200 cut off",
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"act".to_vec()),
            true,
        ),
        ("half a head", Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), false),
        ("a status of words", Reply::Bytes(b"HTTP/1.1 fine thanks\r\n\r\n".to_vec()), false),
        ("quiet for ever", answer("503 No", "Retry-After: for ever\r\n", b""), false),
        ("quiet for less than nothing", answer("429 No", "Retry-After: -5\r\n", b""), false),
        ("not HTTP", Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), false),
    ];
    std::thread::scope(|scope| {
        for (case, reply, takes) in cases {
            scope.spawn(move || check(case, reply, takes));
        }
    });
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = ControlPlane::start();
    let to = format!("Location: http://{}/hook\r\n", elsewhere.address());
    check("redirect", answer("307 Temporary Redirect", &to, b""), false);
    assert!(elsewhere.attempts().is_empty(), "a signed request went elsewhere");
}

#[test]
fn a_refusal_of_our_credentials_pauses_until_it_is_lifted() {
    let stage = Stage::new();
    stage.control_plane.answer(answer("401 Unauthorized", "", b"who are you?"), false);
    stage.incident();
    wait_until("an attempt", 10, || !stage.control_plane.attempts().is_empty());
    pause(5000);
    assert_eq!(stage.control_plane.attempts().len(), 1, "knocking does not cure a 401");
    assert!(stage.home.log().contains("401"), "it is said why");
    let paused = "plimsoll_outbox_paused{sink=\"control_plane\"}";
    wait_until("it is shown", 10, || stage.home.figure(paused) == 1.0);
    stage.control_plane.answer(answer("200 OK", "", b"{}"), true);
    stage.expect_both_edges_once("401", 40);
}

#[test]
fn a_control_plane_that_asks_for_quiet_gets_it() {
    let stage = Stage::new();
    let reply = answer("503 Service Unavailable", "Retry-After: 4\r\n", b"");
    stage.control_plane.answer(reply, false);
    stage.incident();
    stage.control_plane.answer(answer("200 OK", "", b""), true);
    stage.expect_both_edges_once("Retry-After", 20);
    let attempts = stage.control_plane.attempts();
    let quiet = attempts[1].duration_since(attempts[0]);
    assert!(quiet >= Duration::from_millis(3900), "asked again after {quiet:?}");
    assert!(quiet < Duration::from_secs(10), "and not much later: {quiet:?}");
}

#[test]
fn a_stop_does_not_wait_for_peers_that_hang() {
    let mut stage = Stage::new();
    stage.control_plane.answer(Reply::Hang(Vec::new()), false);
    stage.incident();
    wait_until("an attempt", 10, || !stage.control_plane.attempts().is_empty());
    stage.process.signal("TERM");
    assert!(stage.process.wait(10).success(), "a clean end");
    stage.control_plane.answer(answer("200 OK", "", b""), true);
    stage.process = stage.home.start();
    stage.expect_both_edges_once("after a stop", 20);
}
