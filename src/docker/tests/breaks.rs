//! Connections that break again and again, answers without end, and sockets where no Docker is.

use super::*;

#[tokio::test]
async fn a_stream_of_one_line_without_end_is_left_and_said() {
    let endless = event(101, "oom") + &"x".repeat(65 << 20);
    let scripts = vec![Script::Stay(endless), Script::Stay(event(102, "oom"))];
    let mut bench = Bench::with(scripts, follow_briefly);
    let told = tokio::time::timeout(Duration::from_secs(30), bench.until("lost")).await;
    let told = told.expect("it is not read on");
    assert!(told.contains(&"oom 101".to_owned()), "{told:?}");
    let why = told.last().expect("it is lost");
    assert!(
        why.ends_with("events has more than 67108864 bytes without a line that reads"),
        "{why}"
    );
    let began = tokio::time::Instant::now();
    assert_eq!(bench.until("oom 102").await.last().map(String::as_str), Some("oom 102"));
    assert!(began.elapsed() >= patience().waits.too_long_again_after, "{:?}", began.elapsed());
}

/// As dockerd does by SIGTERM: whoever asks for the container that has started finds nobody.
#[tokio::test]
async fn a_daemon_that_stops_is_heard_out() {
    let scripts = vec![Script::Stop(event(200, "start"), event(201, "oom"))];
    let mut bench = Bench::with(scripts, follow_briefly);
    let told = bench.until("lost").await;
    assert_eq!(told[..4], ["connected 20.10", LISTED, "Start 200", "oom 201"]);
}

/// Each connection costs a list and a question for each container.
#[tokio::test]
async fn a_daemon_that_lists_and_ends_its_stream_is_asked_less_and_less() {
    let mut bench = Bench::with(vec![Script::Cut(String::new())], follow_briefly);
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        bench.until("connected").await;
        bench.until("lost").await;
    }
    let [first, second, third, _] = patience().waits.again_after;
    assert!(began.elapsed() >= first + second + third, "{:?}", began.elapsed());
}

/// Events that the daemon tells again after each cut are told on, from a little before the newest.
#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_loses_nothing() {
    let cut = |n: i64| Script::Cut([event(200 + n, "oom"), event(201 + n, "oom")].concat());
    let scripts = (0..6).map(cut).chain([Script::Stay(event(300, "oom"))]).collect();
    let mut bench = Bench::with(scripts, follow_briefly);
    let told = bench.until("oom 300").await;
    for second in 200..=206 {
        assert!(told.contains(&format!("oom {second}")), "{second}: {told:?}");
    }
    let since = ["95", "196", "197", "198", "199", "200", "201"];
    assert_eq!(bench.asked_since(), since.map(|second| format!("{second}.000000000")));
}

#[tokio::test]
async fn a_connection_that_lasted_is_made_again_at_once() {
    let long = Duration::from_secs(60);
    let follow = |path: PathBuf| {
        let soon = Duration::from_millis(1);
        let again_after = [soon, long, long, long];
        let waits = Waits { again_after, lasted: soon, ..patience().waits };
        let (tell, reports) = mpsc::channel(64);
        let config = DockerConfig::at_socket(&path);
        tokio::spawn(watch_with(Patience { waits, ..patience() }, config, None, tell));
        reports
    };
    let mut bench = Bench::with(vec![Script::CutAfter(Duration::from_millis(200))], follow);
    let connections = async {
        for _ in 0..4 {
            bench.until("connected").await;
        }
    };
    tokio::time::timeout(long, connections).await.expect("each time at once");
}

/// Why the watch of this socket is lost, and whether somebody is there.
async fn lost(path: PathBuf) -> (String, bool) {
    let report = follow(path, None).recv().await;
    let Some(Event::Docker(Report::Lost { why, is_there })) = report else { panic!("{report:?}") };
    (why, is_there)
}

#[tokio::test]
async fn no_socket_is_told_with_its_path_and_nobody_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no.sock");
    let (why, is_there) = lost(path.clone()).await;
    assert!(why.contains(&path.display().to_string()), "{why}");
    assert!(!is_there, "{why}");
    // Left behind by one that is no more.
    drop(UnixListener::bind(&path).expect("a socket"));
    let (why, is_there) = lost(path).await;
    assert!(why.contains("Connection refused") && !is_there, "{why}");
}

/// What a socket answers that belongs to something else, and what is said of it.
#[tokio::test]
async fn whoever_hangs_or_is_no_docker_is_there_and_told_in_plain_words() {
    let json =
        |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (answer, want) in [
        (String::new(), "version: no answer within 300ms"),
        (
            "220 mail.example ESMTP\r\n".to_owned(),
            "; this is no Docker API (a daemon with TLS needs",
        ),
        (
            json("{\"Version\":"),
            "version: EOF while parsing a value at line 1 column 11; this is no Docker API",
        ),
        (json("<html>"), "; this is no Docker API"),
        (json("{}"), "is no version of Docker's API"),
        (json("{}").replace("200 OK", "403 Forbidden"), "a socket proxy must allow"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("it is asked");
            first_line(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.expect("written");
            std::future::pending::<()>().await;
        });
        let (why, is_there) = lost(path).await;
        assert!(why.contains(want) && is_there, "{why}");
        answers.abort();
    }
}
