//! Answers that nobody reads: how much memory they may hold together, and for how long.

use tokio::net::TcpSocket;

use super::*;
use crate::http::room::Room;
use crate::http::scripted::Scripted;

/// Room for one answer of [`LARGE`], and not for two.
const ROOM_BYTES: usize = 16 << 20;
const LARGE: &str = "/api/v1/query?query=large";

async fn start_with(room: Room) -> SocketAddr {
    start_over(scripted(), room).await
}

async fn start_over(backend: Arc<Scripted>, room: Room) -> SocketAddr {
    let inner = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = inner.local_addr().expect("bound");
    let router = router_with(room, backend, Options::default());
    let listener = listen::Listener::new(inner, listen::Limits::default());
    let long = Duration::from_secs(600);
    tokio::spawn(serve_router(listener, router, long, std::future::pending()));
    address
}

/// Asks and reads no more than the first bytes of the answer.
async fn ask_and_wait(address: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1 << 14).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.expect("an answer begins");
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

async fn figure(address: SocketAddr, name: &str) -> f64 {
    let page = ask(address, "GET", "/metrics", None).await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("is on the page");
    line.trim().parse().expect("a number")
}

/// Else as many as there are connections each hold an answer of 64 MiB for as long as they like.
#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_together() {
    let address = start_with(Room::of(ROOM_BYTES)).await;
    let unread = ask_and_wait(address, LARGE).await;
    let held = figure(address, "plimsoll_http_unsent_bytes").await;
    assert!((7e6..8e6).contains(&held), "as many as the answer has: {held}");
    let refused = ask(address, "GET", &format!("{LARGE}&timeout=2s"), None).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("no room for the answer came in time"), "{}", refused.body);
    assert_eq!(figure(address, "plimsoll_http_answers_without_room_total").await, 1.0);
    for small in ["/api/v1/query?query=v", "/api/v1/labels", "/api/v1/format_query?query=v"] {
        assert_eq!(ask(address, "GET", small, None).await.status, 200, "{small} needs no room");
    }
    drop(unread);
    let next = ask(address, "GET", LARGE, None).await;
    assert_eq!(next.status, 200, "there is room when the reader has gone: {}", next.body);
    assert_eq!(figure(address, "plimsoll_http_unsent_bytes").await, 0.0);
}

/// Whoever waits for room has its values in memory, so it keeps its turn; and gives up in its time.
#[tokio::test]
async fn those_who_wait_for_room_are_as_few_as_the_turns() {
    let address = start_with(Room::of(ROOM_BYTES)).await;
    let _unread = ask_and_wait(address, LARGE).await;
    let patient = format!("{LARGE}&timeout=4s");
    let waiting: Vec<_> = (0..QUERIES_AT_ONCE)
        .map(|_| {
            let path = patient.clone();
            tokio::spawn(async move { ask(address, "GET", &path, None).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = ask(address, "GET", "/api/v1/query?query=v&timeout=100ms", None).await;
    assert!(late.body.contains("query timed out in query queue"), "{}", late.body);
    let next = ask(address, "GET", "/api/v1/query?query=v&timeout=20s", None).await;
    assert_eq!(next.status, 200, "the turns come back: {}", next.body);
    for waiting in waiting {
        assert_eq!(waiting.await.expect("ends").status, 503);
    }
}

#[tokio::test]
async fn an_answer_larger_than_the_room_takes_it_all() {
    let address = start_with(Room::of(1 << 20)).await;
    let alone = ask(address, "GET", LARGE, None).await;
    assert_eq!((alone.status, alone.body.len() > 1 << 20), (200, true));
    assert_eq!(figure(address, "plimsoll_http_unsent_bytes").await, 0.0);
}

/// What readers can make large is every listing and every tree too.
#[tokio::test]
async fn trees_and_listings_take_room_as_queries_do() {
    let address = start_with(Room::of(ROOM_BYTES / 2)).await;
    let _unread = ask_and_wait(address, LARGE).await;
    let chain = vec!["v{a=\"b\"}"; 20_000].join("%2B");
    let form = format!("query={chain}");
    let asked = ask(address, "POST", "/api/v1/parse_query", Some(&form));
    let waited = tokio::time::timeout(Duration::from_secs(5), asked).await;
    assert!(waited.is_err(), "answered in {} bytes", waited.map_or(0, |reply| reply.body.len()));
}

/// A page of containers is large too; whoever finds no room may come again soon.
#[tokio::test]
async fn pages_of_containers_that_nobody_reads_are_bounded_too() {
    const PAGE_BYTES: usize = 9 << 20;
    const PATH: &str = "/metrics/containers";
    let backend = scripted();
    backend.pages.lock().expect("not poisoned").bytes = PAGE_BYTES;
    let address = start_over(backend, Room::of(ROOM_BYTES)).await;
    let unread = [ask_and_wait(address, PATH).await, ask_and_wait(address, PATH).await];
    tokio::time::sleep(Duration::from_millis(600)).await;
    let held = figure(address, "plimsoll_http_unsent_bytes").await;
    assert_eq!(held, PAGE_BYTES as f64, "both have one page");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut refused = String::new();
    stream.read_to_string(&mut refused).await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("\r\n\r\nno room for the answer came in time"), "{refused}");
    assert_eq!(figure(address, "plimsoll_http_answers_without_room_total").await, 1.0);
    drop(unread);
    assert_eq!(ask(address, "GET", PATH, None).await.status, 200, "there is room again");
}

#[tokio::test]
async fn a_page_of_containers_is_packed_once_for_each_who_takes_gzip() {
    let backend = scripted();
    backend.pages.lock().expect("not poisoned").bytes = 100_000;
    let address = start_over(Arc::clone(&backend), Room::default()).await;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request =
        b"GET /metrics/containers HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]);
    assert_eq!(head.matches("content-encoding: gzip").count(), 1, "{head}");
    assert!(head.contains("vary: Accept-Encoding") && head.contains("version=0.0.4"), "{head}");
    let mut text = String::new();
    let mut unpacked = flate2::read::GzDecoder::new(&answer[end + 4..]);
    io::Read::read_to_string(&mut unpacked, &mut text).expect("it was packed once");
    assert!(text.starts_with("container_last_seen 1\n") && text.len() >= 100_000);
}
