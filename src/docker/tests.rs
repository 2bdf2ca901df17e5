//! The watch against a daemon that is a script: hangs, cuts, half lines, storms, huge lines; over TLS; with
//! Podman's words.

mod breaks;
mod lists;
mod podman;
mod tls;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc};

use super::backoff::Waits;
use super::busy::Moments;
use super::watch::{Patience, watch_with};
use super::{DockerConfig, watch};
use crate::base::Timestamp;
use crate::containers::{Report, What};
use crate::engine::Event;

/// What the daemon does when it is asked for the stream, the nth time; the last one again and again.
#[derive(Clone)]
enum Script {
    /// Says this and cuts the line.
    Cut(String),
    /// Says this and is silent.
    Stay(String),
    /// Is silent for so long and cuts the line.
    CutAfter(Duration),
    /// Shuts the door once it has listed, says the one, says the other a while later and cuts the line.
    Stop(String, String),
    /// Never answers.
    Hang,
}

/// What the daemon goes by.
#[derive(Default)]
struct Daemon {
    scripts: Mutex<Vec<Script>>,
    /// The requests it was asked.
    asked: Mutex<Vec<String>>,
    /// What another one was recorded to answer, by the path's end.
    recorded: Vec<(String, String)>,
    /// Its socket, until it shuts that.
    door: Mutex<Option<PathBuf>>,
    /// Tells all on which nobody waits that it does.
    shuts: Notify,
    /// Whether it answers nobody any more.
    is_frozen: AtomicBool,
    /// Whether its list has no end.
    is_endless: AtomicBool,
    /// What it lists, if not what it lists as a rule.
    listed: Mutex<Option<String>>,
    /// Whether it is busy with the container [`BUSY`], which it lists.
    is_busy: AtomicBool,
}

/// A daemon and the watch over it.
struct Bench {
    _folder: tempfile::TempDir,
    reports: mpsc::Receiver<Event>,
    daemon: Arc<Daemon>,
}

impl Daemon {
    fn new(scripts: Vec<Script>) -> Daemon {
        Daemon { scripts: Mutex::new(scripts), ..Daemon::default() }
    }
}

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A container whose layers are broken: the daemon lists it and cannot inspect it.
const BROKEN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// How the ids of containers begin over which the daemon freezes.
const FREEZING: &str = "cccccccccc";

/// A container that the daemon says nothing of while it is busy with it.
const BUSY: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

const LISTED: &str = "listed web running broken running";

/// An event at that second.
fn event(second: i64, action: &str) -> String {
    format!(
        "{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"{ID}\",\"Attributes\":\
         {{\"name\":\"web\",\"exitCode\":\"137\"}}}},\"timeNano\":{second}000000000}}\n"
    )
}

/// The first line of the next request.
async fn first_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).lines().next().unwrap_or("").to_owned())
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, daemon: Arc<Daemon>) {
    while let Some(line) = tokio::select! {
        line = first_line(&mut stream) => line,
        () = daemon.shuts.notified() => None,
    } {
        assert!(line.starts_with("GET "), "read only: {line}");
        daemon.asked.lock().expect("held briefly").push(line.clone());
        if daemon.is_frozen.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if line.contains("/containers/json") && daemon.is_endless.load(Ordering::SeqCst) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[").await.ok();
            while stream.write_all(&[b' '; 1 << 16]).await.is_ok() {}
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or("");
        let recorded = daemon.recorded.iter().find(|(end, _)| path.ends_with(end.as_str()));
        let body = match path {
            _ if recorded.is_some() => recorded.map(|(_, body)| body.clone()).unwrap_or_default(),
            "/version" => {
                r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#.to_owned()
            }
            path if path.ends_with("/version") => "{}".to_owned(),
            path if path.ends_with("/info") => {
                r#"{"SystemTime":"1970-01-01T00:01:40Z"}"#.to_owned()
            }
            path if path.contains("/containers/json") => {
                let busy = format!(r#"{{"Id":"{BUSY}","Names":["/busy"],"State":"created"}},"#);
                let busy = if daemon.is_busy.load(Ordering::SeqCst) { busy } else { String::new() };
                let listed = daemon.listed.lock().expect("held briefly").clone();
                listed.unwrap_or_else(|| {
                    format!(
                        r#"[{busy}{{"Id":"{ID}","Names":["/db/alias","/web"]}},
                        {{"Id":"{BROKEN}","Names":["/db/alias","/broken"],"State":"running"}}]"#
                    )
                })
            }
            path if path.contains(&BROKEN[..60]) => {
                let error = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}";
                stream.write_all(error.as_bytes()).await.ok();
                continue;
            }
            path if path.contains(FREEZING) => {
                daemon.is_frozen.store(true, Ordering::SeqCst);
                std::future::pending().await
            }
            path if path.contains(&BUSY[..60]) => {
                while daemon.is_busy.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let state = r#"{"Status":"running"}"#;
                format!(r#"{{"Id":"{BUSY}","Name":"/busy","State":{state}}}"#)
            }
            path if path.contains("/containers/") => {
                format!(r#"{{"Id":"{ID}","Name":"/web","State":{{"Status":"running"}}}}"#)
            }
            path => {
                assert!(path.contains("/events"), "{path}");
                return stream_events(stream, &daemon).await;
            }
        };
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn stream_events(mut stream: impl AsyncRead + AsyncWrite + Unpin, daemon: &Daemon) {
    let script = {
        let mut scripts = daemon.scripts.lock().expect("held briefly");
        if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() }
    };
    let silence = match &script {
        Script::CutAfter(silence) => *silence,
        _ => Duration::ZERO,
    };
    let (text, stays) = match script {
        Script::Stop(first, last) => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await.ok();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let door = daemon.door.lock().expect("held briefly").take();
            std::fs::remove_file(door.expect("it is open")).expect("shut");
            daemon.shuts.notify_waiters();
            for text in [first, last] {
                let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                stream.write_all(chunk.as_bytes()).await.ok();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return;
        }
        Script::Hang => (None, true),
        Script::CutAfter(_) => (Some(String::new()), false),
        Script::Cut(text) => (Some(text), false),
        Script::Stay(text) => (Some(text), true),
    };
    if let Some(text) = text {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok();
        // In small pieces, so that lines are cut anywhere.
        for piece in text.as_bytes().chunks(if text.len() > 10_000 { 60_000 } else { 7 }) {
            let head = format!("{:x}\r\n", piece.len());
            let whole = [head.as_bytes(), piece, b"\r\n"].concat();
            if stream.write_all(&whole).await.is_err() {
                return;
            }
        }
    }
    tokio::time::sleep(silence).await;
    if stays {
        // Until the other side hangs up.
        stream.read_exact(&mut [0]).await.ok();
    }
}

impl Bench {
    fn new(scripts: Vec<Script>, since: Option<Timestamp>) -> Bench {
        Bench::with(scripts, |path| follow(path, since))
    }

    /// With a watch of its own.
    fn with(scripts: Vec<Script>, follow: impl FnOnce(PathBuf) -> mpsc::Receiver<Event>) -> Bench {
        Bench::of(Daemon::new(scripts), follow)
    }

    /// Of this daemon, at a socket.
    fn of(daemon: Daemon, follow: impl FnOnce(PathBuf) -> mpsc::Receiver<Event>) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        *daemon.door.lock().expect("held briefly") = Some(path.clone());
        let daemon = Arc::new(daemon);
        let shared = Arc::clone(&daemon);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Bench { reports: follow(path), _folder: folder, daemon }
    }

    /// The next reports as words, until one begins with `last`.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            let event = self.reports.recv().await.expect("the watch goes on");
            let Event::Docker(report) = event else { panic!("{event:?}") };
            words.push(match report {
                Report::Connected { version } => format!("connected {version}"),
                Report::Lost { why, .. } => format!("lost {why}"),
                Report::Listed(all) => {
                    let shown = all.iter().map(|c| format!(" {} {}", c.name, c.status.name()));
                    format!("listed{}", shown.collect::<String>())
                }
                Report::Unread(lines) => format!("unread {lines}"),
                Report::ToldAll => "told all".to_owned(),
                Report::Inspected(one) if one.is_glimpse => format!("glimpsed {}", one.name),
                Report::Inspected(one) => format!("inspected {}", one.name),
                Report::Happened(happening) => {
                    let second = happening.at_nanos / 1_000_000_000;
                    match happening.what {
                        What::Oom => format!("oom {second}"),
                        What::Die { exit_code } => format!("die {second} {exit_code}"),
                        what => format!("{what:?} {second}"),
                    }
                }
            });
            if words.last().is_some_and(|word| word == "told all" && word != last) {
                words.pop();
            }
            if words.last().is_some_and(|word| word.starts_with(last)) {
                return words;
            }
        }
    }

    fn asked_since(&self) -> Vec<String> {
        let asked = self.daemon.asked.lock().expect("held briefly");
        let since = asked.iter().filter_map(|line| Some(line.split_once("since=")?.1.to_owned()));
        since.map(|rest| rest.split(' ').next().unwrap_or("").to_owned()).collect()
    }
}

/// Short, as tests are.
fn patience() -> Patience {
    let brief = Duration::from_millis(100);
    let moments = Moments { each: brief, all: 2 * brief, least: Duration::from_millis(10) };
    let (ping_every, ping_timeout) = (Duration::from_secs(60), 5 * brief);
    let (told_within, listed_again_after) = (brief, 2 * brief);
    let waits = Waits {
        again_after: [brief, 2 * brief, 5 * brief, 10 * brief],
        lasted: 15 * brief,
        too_long_again_after: 20 * brief,
    };
    let heard_out = 10 * brief;
    Patience {
        told_within,
        listed_again_after,
        ping_every,
        ping_timeout,
        moments,
        heard_out,
        waits,
    }
}

fn follow(path: PathBuf, since: Option<Timestamp>) -> mpsc::Receiver<Event> {
    let mut config = DockerConfig::at_socket(&path);
    config.timeout = Duration::from_millis(300);
    let (tell, reports) = mpsc::channel(64);
    tokio::spawn(watch(config, since, tell));
    reports
}

#[tokio::test]
async fn a_cut_stream_is_taken_up_a_little_before_it_broke() {
    let first = [event(200, "oom"), event(201, "die")].concat();
    let half = &event(203, "start")[..40];
    let again = [event(201, "die"), event(202, "oom"), event(203, "start")].concat();
    let scripts = vec![Script::Cut(first + half), Script::Stay(again)];
    let mut bench = Bench::new(scripts, Some(Timestamp(190_000)));
    let told = bench.until("Start").await;
    let news: Vec<&str> =
        told.iter().map(String::as_str).filter(|w| !w.starts_with("inspected")).collect();
    assert_eq!(news[..4], ["connected 20.10", LISTED, "oom 200", "die 201 137"]);
    assert!(news[4].starts_with("lost unix:///"), "{news:?}");
    assert_eq!(news[5..], ["connected 20.10", LISTED, "die 201 137", "oom 202", "Start 203"]);
    assert_eq!(bench.asked_since(), ["185.000000000", "196.000000000"]);
    let looked = told.iter().position(|word| word.starts_with("inspected"));
    assert!(looked < told.iter().position(|word| word.starts_with("die")), "{told:?}");
}

/// While Docker waits before it starts it again, a stop is all that it tells.
#[tokio::test]
async fn a_container_that_was_stopped_is_looked_at() {
    let mut bench = Bench::new(vec![Script::Stay(event(200, "stop"))], Some(Timestamp(190_000)));
    let told = bench.until("Stop").await;
    assert_eq!(told[2..], ["inspected web", "Stop 200"]);
}

#[tokio::test]
async fn a_first_watch_begins_with_the_daemon_s_clock() {
    let mut bench = Bench::new(vec![Script::Stay(event(101, "oom"))], None);
    bench.until("oom 101").await;
    assert_eq!(bench.asked_since(), ["95.000000000"]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_followed() {
    let text = [event(5000, "oom"), event(1000, "start"), event(1001, "oom")].concat();
    let scripts = vec![Script::Cut(text), Script::Stay(event(1002, "oom"))];
    let mut bench = Bench::new(scripts, Some(Timestamp(4_999_000)));
    bench.until("oom 1002").await;
    assert_eq!(bench.asked_since(), ["4994.000000000", "996.000000000"]);
}

#[tokio::test]
async fn a_daemon_that_hangs_is_left_and_asked_again() {
    let mut bench = Bench::new(vec![Script::Hang, Script::Stay(event(101, "oom"))], None);
    let told = bench.until("oom 101").await;
    assert!(told[0].contains("no answer within 300ms"), "{told:?}");
}

/// Its socket is open and its stream is silent, as on a quiet host: only an answer that is missing tells.
#[tokio::test]
async fn a_daemon_that_freezes_is_missed_before_its_answers_are_due() {
    let follow = |path: PathBuf| {
        let mut config = DockerConfig::at_socket(&path);
        config.timeout = Duration::from_secs(60);
        let soon = Duration::from_millis(200);
        let patience = Patience { ping_every: soon, ping_timeout: soon, ..patience() };
        let (tell, reports) = mpsc::channel(64);
        tokio::spawn(watch_with(patience, config, None, tell));
        reports
    };
    let mut bench = Bench::with(vec![Script::Stay(event(101, "oom"))], follow);
    bench.until("oom 101").await;
    bench.daemon.is_frozen.store(true, Ordering::SeqCst);
    let told = tokio::time::timeout(Duration::from_secs(20), bench.until("lost")).await;
    let told = told.expect("long before the timeout of an answer");
    assert!(told[0].contains("version: no answer within 200ms"), "{told:?}");
}

/// Else a kill is told once all of them were waited for, one after the other.
#[tokio::test]
async fn what_happened_waits_for_one_silence_alone() {
    let frozen = |n: i64| event(200 + n, "start").replace(ID, &format!("{FREEZING}{n:054}"));
    // More than Docker tells again, and than are handled together.
    let others = (300..700).map(|second| event(second, "oom"));
    let text: String = (0..60).map(frozen).chain(others).collect();
    let mut bench = Bench::new(vec![Script::Stay(text)], None);
    let told = bench.until("lost").await;
    for (word, want) in [("Start", 60), ("oom", 400)] {
        let count = told.iter().filter(|told| told.starts_with(word)).count();
        assert_eq!(
            count, want,
            "{word}: what was read is told before it is said that Docker is lost"
        );
    }
    let asked = bench.daemon.asked.lock().expect("held briefly");
    let waited = asked.iter().filter(|line| line.contains(FREEZING)).count();
    assert_eq!(waited, 1, "silences were waited for");
}

fn follow_briefly(path: PathBuf) -> mpsc::Receiver<Event> {
    let (tell, reports) = mpsc::channel(64);
    tokio::spawn(watch_with(patience(), DockerConfig::at_socket(&path), None, tell));
    reports
}

/// Docker 20.10 says nothing of a container while it starts it; of its name and of all others it does.
#[tokio::test]
async fn a_container_that_docker_is_busy_with_hides_itself_alone() {
    let start = event(201, "start").replace(ID, BUSY);
    let text = [start, event(202, "oom"), event(203, "start"), event(204, "oom")].concat();
    let mut bench =
        Bench::with(vec![Script::Cut(String::new()), Script::Stay(text)], follow_briefly);
    bench.until("lost").await;
    bench.daemon.is_busy.store(true, Ordering::SeqCst);
    let told = bench.until("oom 204").await;
    let listed = LISTED.replace("listed", "listed busy created");
    assert_eq!(told[..2], ["connected 20.10".to_owned(), listed]);
    assert!(told.contains(&"glimpsed busy".to_owned()), "{told:?}");
    let news: Vec<&str> = told.iter().map(String::as_str).filter(|w| w.contains("20")).collect();
    assert_eq!(news[1..], ["Start 201", "oom 202", "Start 203", "oom 204"]);
    bench.daemon.is_busy.store(false, Ordering::SeqCst);
    assert_eq!(bench.until("inspected busy").await.len(), 1, "as soon as it says more");
}

/// However many Docker is busy with, what happens to others is told.
#[test]
fn the_busy_take_a_bounded_time_together() {
    let mut moments = patience().moments;
    let mut waited = Duration::ZERO;
    for _ in 0..50 {
        let moment = moments.next();
        moments.wasted(moment);
        waited += moment;
    }
    assert_eq!(waited, Duration::from_millis(2 * 100 + 48 * 10));
}

#[tokio::test]
async fn nonsense_and_endless_lines_cost_themselves_alone() {
    let huge = format!("{}\n", "x".repeat(3 << 20));
    let text = [event(200, "oom"), "{\"Type\":\n".to_owned(), huge, event(201, "oom")].concat();
    let mut bench = Bench::new(vec![Script::Stay(text)], None);
    assert_eq!(bench.until("oom 201").await[2..], ["oom 200", "oom 201"]);
    assert_eq!(bench.until("unread").await.last().expect("it came"), "unread 2");
}

/// What is logged, for all to see.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("held briefly").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_flood_of_nonsense_is_logged_in_a_few_lines_also_over_sessions() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let flood = |second| "{\"Type\":\n".repeat(1500) + &event(second, "oom");
    let scripts = vec![Script::Cut(flood(200)), Script::Stay(flood(201))];
    Bench::new(scripts, Some(Timestamp(190_000))).until("oom 201").await;
    let text = String::from_utf8(log.0.lock().expect("held briefly").clone()).expect("text");
    let told = text.lines().filter(|line| line.contains("does not read"));
    let counts: Vec<u64> =
        told.filter_map(|line| line.rsplit_once("lines=")?.1.trim().parse().ok()).collect();
    assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048], "{text}");
}

#[tokio::test]
async fn an_answer_without_end_is_left_and_asked_for_again_later() {
    let follow = |path: PathBuf| {
        let mut config = DockerConfig::at_socket(&path);
        config.timeout = Duration::from_secs(60);
        let (tell, reports) = mpsc::channel(64);
        tokio::spawn(watch_with(patience(), config, None, tell));
        reports
    };
    let mut bench = Bench::with(vec![Script::Stay(event(101, "oom"))], follow);
    bench.daemon.is_endless.store(true, Ordering::SeqCst);
    let told = bench.until("lost").await;
    assert_eq!(told[0], "oom 101", "what was read meanwhile is not lost");
    assert!(told[1].ends_with("a list of more than 67108864 bytes"), "{told:?}");
    bench.daemon.is_endless.store(false, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    bench.until("listed").await;
    assert!(began.elapsed() >= patience().waits.too_long_again_after, "{:?}", began.elapsed());
}

/// Docker drops events for a reader that does not keep up, and says nothing of it.
#[tokio::test]
async fn a_storm_that_is_not_read_in_time_is_followed_by_a_list() {
    for (events, lists) in [(9000, true), (7000, false)] {
        let storm: String = (0..events).map(|n| event(1000 + n, "oom")).collect();
        let mut bench = Bench::with(vec![Script::Stay(storm)], follow_briefly);
        bench.until("listed").await;
        // Nobody takes the reports, so nobody takes the events.
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.until(&format!("oom {}", 999 + events)).await;
        let next = tokio::time::timeout(Duration::from_secs(1), bench.until("listed")).await;
        assert_eq!(next.is_ok(), lists, "{events}: {next:?}");
    }
}

#[tokio::test]
async fn a_storm_is_told_whole_and_asks_little() {
    let storm: String = (0..5000).map(|n| event(1000 + n, "start")).collect();
    let mut bench = Bench::new(vec![Script::Stay(storm)], None);
    let told = bench.until("Start 5999").await;
    assert_eq!(told.iter().filter(|word| word.starts_with("Start")).count(), 5000);
    let inspected = told.iter().filter(|word| word.starts_with("inspected")).count();
    assert!(inspected < 5000 / 2, "asked {inspected} times about one container");
}
