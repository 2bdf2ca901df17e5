use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::super::docker::Docker;
use super::super::ledger::{Started, Task};
use super::*;

/// Docker with one container, and what it says to a restart.
#[derive(Default)]
struct FakeDocker {
    started_at: AtomicI64,
    restarts: AtomicUsize,
    /// Whether it does what it is asked, whatever it says then; nothing to say means that it never answers.
    obeys: bool,
    says: Option<String>,
    /// What it says to a look instead of how the container is.
    looks: Option<String>,
    /// How the container is after a restart, if it does not run.
    after: Option<&'static str>,
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
            let asked = self.restarts.load(Ordering::Relaxed) > 0;
            let status = self.after.filter(|_| asked).unwrap_or("running");
            let state = json!({"Status": status, "StartedAt": started_at});
            let body = json!({"Id": id(), "State": state, "Config": {"StopTimeout": 1}});
            self.looks.clone().unwrap_or_else(|| http("200 OK", &body.to_string()))
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
async fn carried_out(docker: FakeDocker) -> (Done, usize) {
    let home = tempfile::tempdir().unwrap();
    let docker = docker.serve(&home);
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
        let docker = FakeDocker { obeys: true, says: Some(says.clone()), ..FakeDocker::default() };
        ends.spawn(async move { (carried_out(docker).await, says) });
    }
    for ((done, restarts), says) in ends.join_all().await {
        assert_eq!((done.outcome, restarts), (Outcome::Succeeded, 1), "{says}: {}", done.reason);
    }
}

#[tokio::test]
async fn a_container_that_only_has_the_name_is_another() {
    let home = tempfile::tempdir().unwrap();
    FakeDocker::default().serve(&home);
    let docker = Docker::at(&home.path().join("docker.sock")).unwrap();
    assert!(docker.inspect(&id()).await.unwrap().is_some());
    assert!(docker.inspect(&"d".repeat(64)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_proxy_says_of_a_container_says_nothing_about_it() {
    let state = json!({"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"});
    let gone = json!({"message": "No such container"}).to_string();
    for (looks, want) in [
        (http("404 Not Found", &gone), Some(true)),
        (http("404 Not Found", ""), None),
        (http("404 Not Found", "404 page not found"), None),
        (http("200 OK", "{}"), None),
        (http("200 OK", &json!({"State": state}).to_string()), None),
        (http("200 OK", &json!({"Id": id(), "State": state}).to_string()), Some(false)),
    ] {
        let home = tempfile::tempdir().unwrap();
        FakeDocker { looks: Some(looks.clone()), ..FakeDocker::default() }.serve(&home);
        let docker = Docker::at(&home.path().join("docker.sock")).unwrap();
        let is_gone = docker.inspect(&id()).await.ok().map(|state| state.is_none());
        assert_eq!(is_gone, want, "{looks}");
    }
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
        let docker = FakeDocker { says: Some(says.clone()), ..FakeDocker::default() };
        let (done, restarts) = carried_out(docker).await;
        assert_eq!((done.outcome, restarts), (want, 1), "{says}");
        assert!(done.reason.len() < 250 && !done.reason.contains('\n'), "{}", done.reason);
    }
}

#[tokio::test]
async fn what_docker_refuses_halfway_has_failed() {
    let because = json!({"message": "network not found"}).to_string();
    for status in ["400 No", "403 No", "404 No", "409 No"] {
        for (obeys, after) in [(false, Some("exited")), (true, None)] {
            let says = Some(http(status, &because));
            let docker = FakeDocker { obeys, says, after, ..FakeDocker::default() };
            let (done, _) = carried_out(docker).await;
            assert_eq!(done.outcome, Outcome::Failed, "{status} {after:?}");
            assert!(done.reason.ends_with("network not found"), "{}", done.reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_may_take_as_long_as_the_container_and_a_while() {
    let home = tempfile::tempdir().unwrap();
    FakeDocker::default().serve(&home);
    let docker = Docker::at(&home.path().join("docker.sock")).unwrap();
    let began = tokio::time::Instant::now();
    let state = State { stops_within: Duration::from_secs(120), ..state(Timestamp(0)) };
    docker.restart(&id(), &state).await.expect_err("nobody knows");
    assert_eq!(began.elapsed().as_secs(), 210);
}

#[test]
fn only_what_was_meant_is_restarted_and_what_was_not_is_declined() {
    let (asked_at, expires_at) = (Timestamp(1000), Timestamp(9000));
    let task = Task { asked_at, expires_at, ..task("k") };
    let open = Open { task, started: None, ended: None };
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
    let open = Open { task, started, ended: None };
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
    let docker = FakeDocker::default().serve(&home);
    let control_plane = ControlPlane::in_folder(home.path());
    let gone = Task { container: "d".repeat(64), ..task("gone") };
    for (id, task) in [("slow", task("slow")), ("gone", gone)] {
        take(&control_plane, id, Some(task), None);
        begin(&control_plane, id.to_owned());
        while id == "slow" && docker.restarts.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let is_done = |id| control_plane.ledger().task(id).is_none_or(|open| open.ended.is_some());
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
    let claim = |id| claim(&control_plane, id, &state(Timestamp(0)), now).unwrap();
    assert_eq!(claim("void"), Claim::Declined(TAKEN_BACK));
    assert_eq!(claim("kept"), Claim::Granted);
}

#[test]
fn by_two_requests_one_container_is_restarted_once() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    for id in ["evt_1", "evt_2"] {
        take(&control_plane, id, Some(task(id)), None);
    }
    let in_s = |seconds| now() + Duration::from_secs(seconds);
    for (id, seconds) in [("amid", 5), ("late", 9)] {
        take(&control_plane, id, Some(Task { asked_at: in_s(seconds), ..task(id) }), None);
    }
    let busy = |id| {
        let claim = claim(&control_plane, id, &state(Timestamp(0)), now).unwrap();
        matches!(claim, Claim::Declined(_))
    };
    assert!(!busy("evt_1"));
    assert!(busy("evt_2") && busy("late"), "it is being restarted");
    let done = |id: &str, outcome| Entry::Done { id: id.to_owned(), done: Done::new(outcome, "") };
    control_plane.ledger().append(in_s(7), &done("evt_1", Outcome::Succeeded)).unwrap();
    assert!(busy("evt_2"), "its look at the container may be older than the restart");
    assert!(busy("amid"), "nor did it look after the end");
    assert!(!busy("late"));
    control_plane.ledger().append(in_s(11), &done("late", Outcome::Declined)).unwrap();
    take(&control_plane, "last", Some(Task { asked_at: in_s(10), ..task("last") }), None);
    assert!(!busy("last"), "Docker did nothing");
}

#[test]
fn what_expires_while_the_ledger_is_waited_for_is_not_begun() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    let soon = Task { expires_at: now() + Duration::from_millis(300), ..task("k") };
    take(&control_plane, "evt_1", Some(soon), None);
    let held = Mutex::new(control_plane.ledger());
    std::thread::scope(|scope| {
        let claimed = scope.spawn(|| claim(&control_plane, "evt_1", &state(Timestamp(0)), now));
        std::thread::sleep(Duration::from_millis(400));
        drop(held);
        let claim = claimed.join().unwrap().unwrap();
        assert_eq!(claim, Claim::Declined(EXPIRED));
    });
    let written = std::fs::read_to_string(home.path().join("ledger.jsonl")).unwrap();
    assert!(!written.contains("started"), "who comes next need not wonder: {written}");
}

#[test]
fn what_expires_while_the_disk_is_waited_for_was_never_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    for id in ["evt_1", "evt_2"] {
        take(&control_plane, id, Some(task(id)), None);
    }
    let began = now();
    let calls = AtomicI64::new(0);
    // A minute for the write.
    let slow = || {
        began + Duration::from_secs(if calls.fetch_add(1, Ordering::Relaxed) < 2 { 0 } else { 61 })
    };
    let claimed = claim(&control_plane, "evt_1", &state(Timestamp(0)), slow).unwrap();
    assert_eq!(claimed, Claim::Declined(EXPIRED));
    // A crash, before it was written that this was declined.
    drop(control_plane);
    let control_plane = ControlPlane::in_folder(home.path());
    let open = control_plane.ledger().task("evt_1").unwrap();
    let step = verdict(&open, None, began + 2 * WATCHED);
    assert!(matches!(step, Step::Over(Outcome::Declined, EXPIRED)), "{step:?}");
    let claimed = claim(&control_plane, "evt_2", &state(Timestamp(0)), now).unwrap();
    assert_eq!(claimed, Claim::Granted, "and stands in nobody's way");
}

/// A plimsoll that answers receipts with these statuses, then with the last for ever.
async fn receiver(control_plane: &mut Arc<ControlPlane>, statuses: &[u16]) -> Arc<AtomicUsize> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    Arc::get_mut(control_plane).unwrap().receipts_url = url;
    let (statuses, count) = (statuses.to_vec(), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&count);
    let answer = async move || {
        let at = asked.fetch_add(1, Ordering::Relaxed).min(statuses.len() - 1);
        axum::http::StatusCode::from_u16(statuses[at]).unwrap()
    };
    let app = axum::Router::new().route("/", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    count
}

/// The last line of a ledger.
fn last_line(home: &TempDir) -> Value {
    let text = std::fs::read_to_string(home.path().join("ledger.jsonl")).unwrap();
    serde_json::from_str(text.lines().next_back().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_told_until_it_is_taken_whatever_is_answered_meanwhile() {
    let refusals = [400, 404, 413, 401, 403, 307, 429, 500, 502, 503];
    for taken in [200, 202, 409] {
        let home = tempfile::tempdir().unwrap();
        let mut control_plane = ControlPlane::in_folder(home.path());
        let statuses = [&refusals[..], &[taken]].concat();
        let count = receiver(&mut control_plane, &statuses).await;
        take(&control_plane, "evt_1", Some(task("k")), None);
        let until = now() + Duration::from_secs(3600);
        tell(&control_plane, "evt_1", &json!({}), until).await;
        assert!(count.load(Ordering::Relaxed) > refusals.len(), "{count:?}");
        assert_eq!(last_line(&home)["status"], taken);
        assert!(control_plane.ledger().open_tasks().is_empty());
    }
}

#[tokio::test]
async fn a_receipt_that_is_never_taken_is_given_up_in_the_end() {
    let home = tempfile::tempdir().unwrap();
    let mut control_plane = ControlPlane::in_folder(home.path());
    let count = receiver(&mut control_plane, &[404]).await;
    take(&control_plane, "evt_1", Some(task("k")), None);
    let done = Done::new(Outcome::Succeeded, "");
    let entry = Entry::Done { id: "evt_1".to_owned(), done };
    control_plane.ledger().append(now() - KEPT, &entry).unwrap();
    begin(&control_plane, "evt_1".to_owned());
    let over = async {
        while !control_plane.ledger().open_tasks().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("it does not hold the ledger");
    assert_eq!(count.load(Ordering::Relaxed), 1, "after one more try");
    let told = last_line(&home);
    assert_eq!((&told["what"], &told["status"]), (&json!("told"), &Value::Null));
}

#[tokio::test]
async fn what_is_taken_back_is_told_to_who_was_promised_it() {
    let home = tempfile::tempdir().unwrap();
    let mut control_plane = ControlPlane::in_folder(home.path());
    let count = receiver(&mut control_plane, &[200]).await;
    let silent = Some(http("503 Service Unavailable", ""));
    FakeDocker { looks: silent, ..FakeDocker::default() }.serve(&home);
    take(&control_plane, "evt_1", Some(task("k")), None);
    begin(&control_plane, "evt_1".to_owned());
    sleep(Duration::from_millis(100)).await;
    take(&control_plane, "evt_2", None, Some("k"));
    let over = async {
        while !control_plane.ledger().open_tasks().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("it is over");
    assert_eq!((count.load(Ordering::Relaxed), &last_line(&home)["status"]), (1, &json!(200)));
}

#[tokio::test(start_paused = true)]
async fn what_a_full_disk_does_not_take_is_written_once_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::in_folder(home.path());
    take(&control_plane, "evt_1", Some(task("k")), None);
    let full = std::fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let disk = control_plane.ledger().swap_file(full);
    let entry = Entry::Told { id: "evt_1".to_owned(), status: Some(200) };
    let writing = write(&control_plane, &entry);
    let room = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(control_plane.ledger().open_tasks(), ["evt_1"]);
        control_plane.ledger().swap_file(disk);
    };
    tokio::join!(writing, room);
    assert_eq!(last_line(&home)["status"], 200);
    assert!(control_plane.ledger().open_tasks().is_empty());
}
