use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::super::docker::Docker;
use super::super::ledger::{Started, Task};
use super::*;

/// Docker with one container, and what it says to a restart.
struct FakeDocker {
    started_at: AtomicI64,
    restarts: AtomicUsize,
    /// Whether it does what it is asked, whatever it says then; nothing to say means that it never answers.
    obeys: bool,
    says: Option<String>,
}

impl FakeDocker {
    fn serve(self, home: &TempDir) -> Arc<FakeDocker> {
        let listener = UnixListener::bind(home.path().join("docker.sock")).unwrap();
        let docker = Arc::new(self);
        let fake = Arc::clone(&docker);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = Arc::clone(&fake);
                tokio::spawn(async move { fake.answer(stream).await });
            }
        });
        docker
    }

    async fn answer(&self, mut stream: UnixStream) {
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let says = if request[..length].starts_with(b"GET") {
            let started_at =
                plimsoll::base::format_rfc3339(Timestamp(self.started_at.load(Ordering::Relaxed)));
            let state = json!({"Status": "running", "StartedAt": started_at});
            let body = json!({"Id": id(), "State": state, "Config": {"StopTimeout": 1}});
            http("200 OK", &body.to_string())
        } else {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            if self.obeys {
                self.started_at.store(now().as_millis(), Ordering::Relaxed);
            }
            let Some(says) = self.says.clone() else { return std::future::pending().await };
            says
        };
        stream.write_all(says.as_bytes()).await.unwrap();
    }
}

fn id() -> String {
    "c".repeat(64)
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn task(key: &str) -> Task {
    let (asked_at, expires_at) = (now(), now() + Duration::from_secs(60));
    Task { dedup_key: key.to_owned(), container: id(), asked_at, expires_at }
}

fn take(control_plane: &ControlPlane, id: &str, task: Option<Task>, cancels: Option<&str>) {
    let (event, answer) = (json!({}), json!({}));
    let cancels = cancels.map(str::to_owned);
    let entry = Entry::Taken { id: id.to_owned(), event, answer, task, cancels };
    control_plane.ledger().append(now(), &entry).unwrap();
}

fn state(started_at: Timestamp) -> State {
    State { running: true, started_at, stops_within: Duration::from_secs(10) }
}

/// What becomes of one request at a Docker that says this, and how often it was asked.
async fn carried_out(obeys: bool, says: &str) -> (Done, usize) {
    let home = tempfile::tempdir().unwrap();
    let says = Some(says.to_owned());
    let docker = FakeDocker { started_at: 0.into(), restarts: 0.into(), obeys, says }.serve(&home);
    let control_plane = ControlPlane::in_folder(home.path());
    take(&control_plane, "evt_1", Some(task("k")), None);
    let carried_out = carry_out(&control_plane, "evt_1");
    let done = tokio::time::timeout(Duration::from_secs(20), carried_out).await;
    (done.expect("it ends").unwrap(), docker.restarts.load(Ordering::Relaxed))
}

#[tokio::test]
async fn an_answer_that_is_lost_or_a_proxys_is_no_failure() {
    let (cut, none) = ("HTTP/1.1 204 No Con".to_owned(), String::new());
    let proxies = ["408 No", "500 No", "502 No", "503 No", "504 No", "520 No", "524 No"];
    let answers = proxies.map(|status| http(status, "<html>"));
    let lost: Vec<String> = answers.into_iter().chain([cut, none]).collect();
    let mut ends = tokio::task::JoinSet::new();
    for says in lost {
        ends.spawn(async move { (carried_out(true, &says).await, says) });
    }
    for ((done, restarts), says) in ends.join_all().await {
        assert_eq!((done.outcome, restarts), (Outcome::Succeeded, 1), "{says}: {}", done.reason);
    }
}

#[tokio::test]
async fn a_container_that_only_has_the_name_is_another() {
    let home = tempfile::tempdir().unwrap();
    let says = None;
    FakeDocker { started_at: 0.into(), restarts: 0.into(), obeys: false, says }.serve(&home);
    let docker = Docker::at(&home.path().join("docker.sock")).unwrap();
    assert!(docker.inspect(&id()).await.unwrap().is_some());
    assert!(docker.inspect(&"d".repeat(64)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_docker_refuses_is_declined_and_what_it_could_not_do_has_failed() {
    let because = json!({"message": "no\n".repeat(500)}).to_string();
    let moved = http("307 No", "").replace("\r\n\r\n", "\r\nLocation: http://docker/x\r\n\r\n");
    for (says, want) in [
        (http("204 No Content", ""), Outcome::Succeeded),
        (http("404 Not Found", &because), Outcome::Declined),
        (http("403 Forbidden", &because), Outcome::Declined),
        (http("409 Conflict", &because), Outcome::Declined),
        (moved, Outcome::Declined),
        (http("500 Internal Server Error", &because), Outcome::Failed),
    ] {
        let (done, restarts) = carried_out(false, &says).await;
        assert_eq!((done.outcome, restarts), (want, 1), "{says}");
        assert!(done.reason.len() < 250 && !done.reason.contains('\n'), "{}", done.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_may_take_as_long_as_the_container_and_a_while() {
    let home = tempfile::tempdir().unwrap();
    let docker = FakeDocker { started_at: 0.into(), restarts: 0.into(), obeys: false, says: None };
    docker.serve(&home);
    let docker = Docker::at(&home.path().join("docker.sock")).unwrap();
    let began = tokio::time::Instant::now();
    docker.restart(&id(), Duration::from_secs(120)).await.expect_err("nobody knows");
    assert_eq!(began.elapsed().as_secs(), 210);
}

#[test]
fn only_what_was_meant_is_restarted_and_what_was_not_is_declined() {
    let (asked_at, expires_at) = (Timestamp(1000), Timestamp(9000));
    let task = Task { asked_at, expires_at, ..task("k") };
    let open = Open { task, started: None, done: None };
    let (meant, anew) = (state(Timestamp(500)), state(Timestamp(1001)));
    let stopped = State { running: false, ..meant.clone() };
    let is = |look, at| match verdict(&open, look, Timestamp(at)) {
        Step::Over(outcome, _) => Some(outcome),
        Step::Restart(_) => None,
        Step::Wait => Some(Outcome::Unknown),
    };
    assert_eq!(is(Some(Some(&meant)), 8999), None);
    assert_eq!(is(None, 8999), Some(Outcome::Unknown), "Docker may come back in time");
    for (look, at) in [
        (Some(Some(&meant)), 9000),
        (None, 9000),
        (Some(Some(&anew)), 8999),
        (Some(Some(&stopped)), 8999),
        (Some(None), 8999),
    ] {
        assert_eq!(is(look, at), Some(Outcome::Declined), "{look:?} {at}");
    }
}

#[test]
fn what_docker_was_asked_for_has_failed_only_once_it_can_happen_no_more() {
    let (at, ran_since) = (Timestamp(0), Timestamp(-500));
    let started = Some(Started { at, ran_since });
    let task = Task { asked_at: at, expires_at: at, ..task("k") };
    let open = Open { task, started, done: None };
    // It is told by the start, not by clocks: Docker's may be behind.
    let (before, anew) = (state(ran_since), state(Timestamp(-499)));
    let endless = State { stops_within: WATCHED, ..before.clone() };
    let stopping = State { running: false, ..before.clone() };
    for (look, seconds, want) in [
        (Some(Some(&anew)), 0, Some(Outcome::Succeeded)),
        (Some(Some(&before)), 99, None),
        (Some(Some(&stopping)), 99, None),
        (Some(Some(&before)), 100, Some(Outcome::Failed)),
        (Some(Some(&endless)), 86_399, None),
        (Some(Some(&endless)), 86_400, Some(Outcome::Unknown)),
        (None, 86_399, None),
        (None, 86_400, Some(Outcome::Unknown)),
        (Some(None), 0, Some(Outcome::Unknown)),
    ] {
        let is = match verdict(&open, look, Timestamp(seconds * 1000)) {
            Step::Over(outcome, _) => Some(outcome),
            Step::Wait => None,
            Step::Restart(_) => panic!("Docker is asked once"),
        };
        assert_eq!(is, want, "{look:?} after {seconds} s");
    }
}

#[test]
fn what_is_told_is_what_happened() {
    let told = |outcome| {
        let receipt = receipt("evt_1", &Done::new(outcome, "why"));
        receipt.map(|told| (told["decision"].clone(), told["outcome"].clone()))
    };
    assert_eq!(told(Outcome::Succeeded), Some((json!("done"), json!("succeeded"))));
    assert_eq!(told(Outcome::Failed), Some((json!("done"), json!("failed"))));
    assert_eq!(told(Outcome::Declined), Some((json!("declined"), Value::Null)));
    assert_eq!(told(Outcome::Unknown), None);
}

/// A plimsoll that answers every receipt with a redirection to where it would be taken.
#[tokio::test]
async fn a_receipt_goes_nowhere_else_and_no_password_is_logged() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    let mut control_plane = Arc::into_inner(control_plane).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let moved = axum::response::Redirect::temporary("/taken");
    let app = axum::Router::new()
        .route("/", axum::routing::post(async || moved))
        .route("/taken", axum::routing::post(async || ""));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    control_plane.receipts_url = format!("http://us:hidden@{address}/");
    assert_eq!(post(&control_plane, "receipt-evt_1", String::new()).await.unwrap(), 307);
    server.abort();
    server.await.unwrap_err();
    let error = post(&control_plane, "receipt-evt_1", String::new()).await.unwrap_err();
    assert!(!format!("{error:#}").contains("hidden"), "{error:#}");
}

#[tokio::test]
async fn a_container_that_takes_long_holds_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let docker = FakeDocker { started_at: 0.into(), restarts: 0.into(), obeys: false, says: None };
    let docker = docker.serve(&home);
    let control_plane = ControlPlane::in_folder(home.path());
    let gone = Task { container: "d".repeat(64), ..task("gone") };
    for (id, task) in [("slow", task("slow")), ("gone", gone)] {
        take(&control_plane, id, Some(task), None);
        begin(&control_plane, id.to_owned());
        while id == "slow" && docker.restarts.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let is_done = |id| control_plane.ledger().task(id).is_none_or(|open| open.done.is_some());
    let ended = async {
        while !is_done("gone") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("it is declined meanwhile");
    assert!(!is_done("slow"));
}

#[test]
fn what_is_taken_back_before_docker_is_asked_is_not_begun() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    take(&control_plane, "kept", Some(task("kept")), None);
    take(&control_plane, "void", Some(task("void")), None);
    take(&control_plane, "evt_3", None, Some("void"));
    let claim = |id| claim(&control_plane, id, &state(Timestamp(0))).unwrap();
    assert_eq!(claim("void"), Claim::TakenBack);
    assert_eq!(claim("kept"), Claim::Granted);
}

#[test]
fn by_two_requests_one_container_is_restarted_once() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    for id in ["evt_1", "evt_2"] {
        take(&control_plane, id, Some(task(id)), None);
    }
    let late = Task { asked_at: now() + Duration::from_secs(9), ..task("late") };
    take(&control_plane, "late", Some(late), None);
    let busy = |id| {
        let claim = claim(&control_plane, id, &state(Timestamp(0))).unwrap();
        matches!(claim, Claim::Declined(_))
    };
    assert!(!busy("evt_1"));
    assert!(busy("evt_2") && busy("late"), "it is being restarted");
    let done = Done::new(Outcome::Succeeded, "");
    let entry = Entry::Done { id: "evt_1".to_owned(), done };
    control_plane.ledger().append(now(), &entry).unwrap();
    assert!(busy("evt_2"), "its look at the container may be older than the restart");
    assert!(!busy("late"));
}

#[test]
fn what_expires_while_the_ledger_is_waited_for_is_not_begun() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    let soon = Task { expires_at: now() + Duration::from_millis(300), ..task("k") };
    take(&control_plane, "evt_1", Some(soon), None);
    let held = Mutex::new(control_plane.ledger());
    std::thread::scope(|scope| {
        let claimed = scope.spawn(|| claim(&control_plane, "evt_1", &state(Timestamp(0))));
        std::thread::sleep(Duration::from_millis(400));
        drop(held);
        let claim = claimed.join().unwrap().unwrap();
        assert_eq!(claim, Claim::Declined("it expired before it could be done"));
    });
}
