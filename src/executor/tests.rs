//! The executor against a daemon that is a script: what it is asked, in which order, and what is made
//! of each answer.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::base::DeliveryId;
use crate::endpoint::{HttpOptions, Pool};
use crate::outbox::{ActionKind, ActionMode, Container, Data, EventType, Evidence, WireTime};

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// When it was decided.
const DECIDED: Timestamp = Timestamp(1_700_000_000_000);
const BEFORE: &str = "2023-11-14T22:00:00Z";
const AFTER: &str = "2023-11-14T22:13:30.5Z";

/// So long after the decision, by a monotonic clock that stands still.
fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::ZERO, wall: DECIDED + Duration::from_secs(seconds) }
}

/// What the daemon answers: to a look, and to a restart (`None`: it hangs up).
#[derive(Clone)]
struct Script {
    look: (u16, String),
    /// What it answers to a look after a restart, if that is something else.
    look_after: Option<(u16, String)>,
    restart: Option<(u16, &'static str)>,
}

impl Script {
    /// What it says now; a restart changes what it says then.
    fn next(&mut self, is_restart: bool) -> Script {
        if is_restart && let Some(look) = self.look_after.take() {
            self.look = look;
        }
        self.clone()
    }
}

struct Bench {
    home: tempfile::TempDir,
    executor: Executor,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn container(status: &str, started_at: &str) -> (u16, String) {
    let state = format!("{{\"Status\":\"{status}\",\"StartedAt\":\"{started_at}\"}}");
    (200, format!("{{\"Id\":\"{ID}\",\"Name\":\"/web\",\"State\":{state}}}"))
}

async fn answer(
    mut stream: UnixStream,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or("").to_owned();
    asked.lock().unwrap().push(line.replace(" HTTP/1.1", ""));
    let script = script.lock().unwrap().next(line.starts_with("POST"));
    let (status, body) = match (line.starts_with("POST"), script.restart) {
        (false, _) => script.look,
        (true, Some((status, body))) => (status, body.to_owned()),
        (true, None) => return,
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.ok();
}

fn daemon(socket: &Path) -> Daemon {
    Daemon {
        host: "unix:///docker.sock".to_owned(),
        url: "http://docker/".parse().unwrap(),
        socket: Some(socket.to_owned()),
        http: HttpOptions::default(),
        pool: Pool::default(),
    }
}

impl Bench {
    /// A daemon whose container runs since before the decision, and which restarts it.
    fn new() -> Bench {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (look, restart) = (container("running", BEFORE), Some((204, "")));
        let script = Script { look, look_after: None, restart };
        let (script, asked) = (Arc::new(Mutex::new(script)), Arc::default());
        let (shared, log) = (Arc::clone(&script), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared), Arc::clone(&log)));
            }
        });
        let executor = Executor::new(Some(daemon(&socket)), home.path().join("executed"));
        Bench { executor, home, script, asked }
    }

    fn looks(&self, look: (u16, String)) {
        self.script.lock().unwrap().look = look;
    }

    fn restarts(&self, answer: Option<(u16, &'static str)>) {
        self.script.lock().unwrap().restart = answer;
    }

    /// The outcome as words: `done succeeded`, `declined: why`, `later: why`.
    async fn carry_out(&self, attempt: &Attempt, seconds: u64) -> String {
        self.carry_out_by(attempt, || at(seconds)).await
    }

    /// The same by a clock that goes on meanwhile; the attempt began when it was decided.
    async fn carry_out_by(&self, attempt: &Attempt, clock: impl Fn() -> Now) -> String {
        let began = Now { monotonic: clock().monotonic, ..at(0) };
        match self.executor.carry_out(attempt, began, clock).await {
            Outcome::Accepted(Answer { decision, outcome, reason, .. }) => {
                let words = [decision, outcome].into_iter().flatten().collect::<Vec<_>>().join(" ");
                reason.map_or(words.clone(), |reason| format!("{words}: {reason}"))
            }
            Outcome::RetryLater { why, .. } => format!("later: {why}"),
            Outcome::Unanswered { why, .. } => format!("unanswered: {why}"),
            other => panic!("{other:?}"),
        }
    }

    /// What the daemon was asked to do.
    fn posts(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|line| !line.starts_with("GET")).cloned().collect()
    }
}

/// A request about a container, changed a little.
fn request(change: impl FnOnce(&mut Event)) -> Attempt {
    let action = Action {
        kind: ActionKind::Restart,
        mode: ActionMode::Request,
        expires_at: WireTime(DECIDED + Duration::from_secs(900)),
        dedup_key: "k".to_owned(),
        params: std::collections::BTreeMap::new(),
    };
    let some = |text: &str| Some(text.to_owned());
    let container = Some(Container { id: some(ID), name: some("web"), ..Container::default() });
    let evidence = Some(Box::new(Evidence { container, ..Evidence::default() }));
    let data = Data { action: Some(action), evidence, ..Data::default() };
    let mut event = Event::new(EventType::RestartRequested, DECIDED, data);
    change(&mut event);
    Attempt {
        id: DeliveryId("evt_01".to_owned()),
        body: event.to_body().into(),
        event_type: event.event_type,
        number: 1,
    }
}

fn named(id: Option<&str>) -> Attempt {
    request(|event| {
        let evidence = event.data.evidence.as_mut().unwrap();
        evidence.container.as_mut().unwrap().id = id.map(str::to_owned);
    })
}

#[tokio::test]
async fn the_named_container_is_restarted_and_nothing_else_is_done() {
    let bench = Bench::new();
    let outcome = bench.executor.carry_out(&request(|_| {}), at(0), || at(0)).await;
    let Outcome::Accepted(answer) = outcome else { panic!("{outcome:?}") };
    assert_eq!(answer.decision.as_deref(), Some("done"));
    assert_eq!(answer.outcome.as_deref(), Some("succeeded"));
    assert_eq!(answer.change_id.as_deref(), Some("docker-aaaaaaaaaaaa"));
    let asked = bench.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [format!("GET /containers/{ID}/json"), format!("POST /containers/{ID}/restart"),]
    );
}

#[tokio::test]
async fn what_is_not_asked_in_earnest_is_left_alone() {
    let bench = Bench::new();
    let dry = request(|event| event.data.action.as_mut().unwrap().mode = ActionMode::DryRun);
    assert_eq!(bench.carry_out(&dry, 0).await, "");
    let nudge = request(|event| event.event_type = EventType::UpgradeSuggested);
    assert_eq!(bench.carry_out(&nudge, 0).await, "");
    assert_eq!(bench.carry_out(&request(|_| {}), 900).await, "declined: it has expired");
    for (id, why) in [
        (None, "names no container by its id"),
        (Some("web"), "is no container's id"),
        (Some("../../images/prune"), "is no container's id"),
        (Some(&ID[..12]), "is no container's id"),
    ] {
        let said = bench.carry_out(&named(id), 0).await;
        assert!(said.starts_with("declined") && said.contains(why), "{id:?}: {said}");
    }
    for (name, want) in [
        (Some("mdb"), "declined: the container of this id is called `web`"),
        (None, "declined: the decision does not name its container"),
    ] {
        let renamed = request(|event| {
            let evidence = event.data.evidence.as_mut().unwrap();
            evidence.container.as_mut().unwrap().name = name.map(str::to_owned);
        });
        assert_eq!(bench.carry_out(&renamed, 0).await, want);
    }
    assert!(bench.posts().is_empty(), "{:?}", bench.posts());
}

#[tokio::test]
async fn a_container_that_is_gone_or_changed_is_left_alone() {
    let bench = Bench::new();
    let other = ID.replace('a', "b");
    for (look, want) in [
        (
            (404, "{\"message\":\"No such container\"}".to_owned()),
            "declined: the container is gone",
        ),
        (
            container("running", AFTER),
            "declined: the container was started anew since the decision",
        ),
        (container("exited", BEFORE), "declined: the container does not run"),
        (container("paused", BEFORE), "declined: the container does not run"),
        (container("restarting", BEFORE), "declined: the container does not run"),
        ((404, "nginx".to_owned()), "later: unix:///docker.sock: status 404 nginx"),
        ((500, "oops".to_owned()), "later: unix:///docker.sock: status 500 oops"),
        ((200, "{}".to_owned()), "later: unix:///docker.sock: the container does not read"),
        (
            (200, container("running", BEFORE).1.replace(ID, &other)),
            "later: unix:///docker.sock: asked for",
        ),
        ((200, container("running", "then").1), "later: unix:///docker.sock: `then` is no time"),
    ] {
        bench.looks(look);
        let said = bench.carry_out(&request(|_| {}), 5).await;
        assert!(said.starts_with(want), "{want}: {said}");
    }
    assert!(bench.posts().is_empty(), "{:?}", bench.posts());
}

#[tokio::test]
async fn what_docker_refuses_has_failed_for_good() {
    for (answer, want) in [
        (
            (404, "{\"message\":\"network web not found\"}"),
            "done failed: unix:///docker.sock: status 404 network web not found",
        ),
        (
            (403, "{\"message\":\"denied by a plugin\"}"),
            "done failed: unix:///docker.sock: status 403 denied by a plugin",
        ),
        (
            (500, "{\"message\":\"cannot\\nstop\"}"),
            "done failed: unix:///docker.sock: status 500 cannot stop",
        ),
    ] {
        let bench = Bench::new();
        bench.restarts(Some(answer));
        assert_eq!(bench.carry_out(&request(|_| {}), 5).await, want);
    }
}

#[tokio::test]
async fn a_container_that_goes_before_it_is_restarted_is_gone() {
    for (look, want) in [
        ((404, "{\"message\":\"No such container\"}"), "declined: the container is gone"),
        ((502, ""), "unanswered: unix:///docker.sock: status 502"),
    ] {
        let bench = Bench::new();
        bench.restarts(Some((404, "{\"message\":\"No such container\"}")));
        bench.script.lock().unwrap().look_after = Some((look.0, look.1.to_owned()));
        assert_eq!(bench.carry_out(&request(|_| {}), 5).await, want);
    }
}

/// A crash or a lost answer: whoever comes back asks no second time.
#[tokio::test]
async fn docker_is_asked_once_even_if_nobody_heard_the_answer() {
    let bench = Bench::new();
    bench.restarts(None);
    let lost = bench.carry_out(&request(|_| {}), 5).await;
    assert!(lost.starts_with("unanswered: unix:///docker.sock"), "{lost}");
    bench.restarts(Some((204, "")));
    let again = Executor::new(
        Some(daemon(&bench.home.path().join("docker.sock"))),
        bench.home.path().join("executed"),
    );
    let bench = Bench { executor: again, ..bench };
    // The mark has the time of this machine.
    let marked = bench.executor.asked.when("evt_01").await.unwrap().expect("marked");
    let at = marked.since(DECIDED).as_secs();
    let stopping = bench.carry_out(&request(|_| {}), at).await;
    assert!(stopping.contains("may still be stopping"), "{stopping}");
    bench.looks(container("running", AFTER));
    assert_eq!(bench.carry_out(&request(|_| {}), at).await, "done succeeded");
    bench.looks(container("running", BEFORE));
    let stopping = bench.carry_out(&request(|_| {}), at + 99).await;
    assert!(stopping.contains("may still be stopping"), "{stopping}");
    for (stop_timeout, seconds) in [("300", 389), ("-1", 1_000_000), ("0", 89)] {
        let config = format!("\"Config\":{{\"StopTimeout\":{stop_timeout}}},\"Id\"");
        bench.looks((200, container("running", BEFORE).1.replace("\"Id\"", &config)));
        let stopping = bench.carry_out(&request(|_| {}), at + seconds).await;
        assert!(stopping.contains("may still be stopping"), "{stop_timeout}: {stopping}");
    }
    bench.looks((404, "{\"message\":\"No such container\"}".to_owned()));
    let gone = bench.carry_out(&request(|_| {}), at + 100).await;
    assert_eq!(gone, "unanswered: the container is gone since Docker was asked");
    bench.looks(container("running", BEFORE));
    let said = bench.carry_out(&request(|_| {}), at + 101).await;
    assert_eq!(said, "done failed: Docker was asked and did not do it");
    assert_eq!(bench.posts().len(), 1, "{:?}", bench.posts());
}

#[tokio::test]
async fn a_daemon_that_is_away_is_asked_again_and_one_that_cannot_be_noted_is_not_asked() {
    let home = tempfile::tempdir().unwrap();
    let away = daemon(&home.path().join("no.sock"));
    let nowhere = Executor::new(Some(away), home.path().join("executed"));
    let outcome = nowhere.carry_out(&request(|_| {}), at(0), || at(0)).await;
    let Outcome::RetryLater { why, .. } = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("unix:///docker.sock"), "{why}");
    let bench = Bench::new();
    std::fs::write(bench.home.path().join("executed"), "a file, no folder").unwrap();
    let said = bench.carry_out(&request(|_| {}), 5).await;
    assert!(said.starts_with("later: what Docker was asked for cannot be noted"), "{said}");
    assert!(bench.posts().is_empty());
}

/// What lies between a look and a restart may hang: a disk, Docker itself.
#[tokio::test]
async fn docker_is_not_asked_too_late_and_nothing_says_that_it_was() {
    use std::sync::atomic::{AtomicU64, Ordering};
    // The second time the clock is looked at after the beginning it shows this.
    for (late, want) in [
        (at(900), "declined: it has expired"),
        (
            Now { monotonic: Duration::from_secs(11), ..at(11) },
            "later: the look and the mark took longer than 10 s",
        ),
    ] {
        let bench = Bench::new();
        let looks = AtomicU64::new(0);
        let clock = || if looks.fetch_add(1, Ordering::Relaxed) < 2 { at(1) } else { late };
        assert_eq!(bench.carry_out_by(&request(|_| {}), clock).await, want);
        assert!(bench.posts().is_empty(), "{:?}", bench.posts());
        assert_eq!(bench.executor.asked.when("evt_01").await, Ok(None));
        assert_eq!(bench.carry_out(&request(|_| {}), 5).await, "done succeeded");
    }
}

#[tokio::test]
async fn a_start_is_another_one_if_it_is_not_the_one_measured_and_later_than_the_decision() {
    let time = |text: &str| crate::base::parse_rfc3339(text).unwrap();
    let hours = |hours: u64| WireTime(DECIDED + Duration::from_secs(hours * 3600));
    // The clock stepped back by two hours before it was decided: the container starts after that.
    let ahead = "2023-11-15T00:00:00Z";
    for (measured, started_at, want) in [
        (Some(WireTime(time(ahead))), ahead, "done succeeded"),
        (Some(hours(1)), ahead, "declined: the container was started anew since the decision"),
        (None, ahead, "declined: the container was started anew since the decision"),
        (
            Some(WireTime(time(ahead))),
            AFTER,
            "declined: the container was started anew since the decision",
        ),
        // What measures tells for ever when it was made.
        (Some(WireTime(time("2023-01-01T00:00:00Z"))), BEFORE, "done succeeded"),
    ] {
        let bench = Bench::new();
        bench.looks(container("running", started_at));
        let request = request(|event| {
            let evidence = event.data.evidence.as_mut().unwrap();
            evidence.container.as_mut().unwrap().started_at = measured;
        });
        assert_eq!(bench.carry_out(&request, 5).await, want, "{measured:?} {started_at}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_docker_has_refused_nothing() {
    for status in [502, 503, 504] {
        let bench = Bench::new();
        bench.restarts(Some((status, "no")));
        let said = bench.carry_out(&request(|_| {}), 5).await;
        assert_eq!(said, format!("unanswered: unix:///docker.sock: status {status} no"));
    }
}

/// Docker gives its reason as JSON: it has not heard of what is refused otherwise.
#[tokio::test]
async fn what_a_proxy_forbids_is_no_restart_that_failed() {
    for (status, body) in [(403, "<html>Forbidden</html>"), (404, "nginx"), (405, ""), (429, "{}")]
    {
        let bench = Bench::new();
        bench.restarts(Some((status, body)));
        let said = bench.carry_out(&request(|_| {}), 5).await;
        let want = format!("declined: unix:///docker.sock: status {status} {body}");
        assert_eq!(said, want.trim_end());
    }
}

/// The configuration has lost its section `docker`; what was begun is known by its mark.
#[tokio::test]
async fn without_a_daemon_what_was_begun_is_nobody_elses() {
    let bench = Bench::new();
    bench.restarts(None);
    bench.carry_out(&request(|_| {}), 5).await;
    let blind = Executor::new(None, bench.home.path().join("executed"));
    assert!(blind.has_begun(&request(|_| {})).await);
    let outcome = blind.carry_out(&request(|_| {}), at(0), || at(0)).await;
    assert!(matches!(outcome, Outcome::RetryLater { .. }), "{outcome:?}");
    let other = Attempt { id: DeliveryId("evt_02".to_owned()), ..request(|_| {}) };
    assert!(!blind.has_begun(&other).await);
}
