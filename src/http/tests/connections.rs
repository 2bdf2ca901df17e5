//! Connections: slow, silent and greedy clients, and the end of the server.

use super::*;

/// A server with small limits.
async fn start_limited(limits: listen::Limits) -> SocketAddr {
    let inner = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = inner.local_addr().expect("bound");
    let router = router(scripted(), Options::default());
    let listener = listen::Listener::new(inner, limits);
    tokio::spawn(serve_router(listener, router, LONG, std::future::pending()));
    address
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(100);
const PATIENT: listen::Limits = listen::Limits {
    connections: 1,
    request: LONG,
    idle: LONG,
    idle_when_full: LONG,
    write: LONG,
    sending: LONG,
};

#[tokio::test]
async fn a_dripping_request_is_cut() {
    let address = start_limited(listen::Limits { connections: 8, request: SHORT, ..PATIENT }).await;
    for head in [
        "GET / HTTP/1.1\r\n",
        "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9999\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(head.as_bytes()).await.expect("sends");
        let dripping = async {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), dripping).await.expect("is cut");
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let address = start_limited(listen::Limits { connections: 8, idle: SHORT, ..PATIENT }).await;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut reply = Vec::new();
    stream.write_all(request).await.expect("sends");
    let closed = stream.read_to_end(&mut reply);
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("is closed").expect("reads");
    assert!(reply.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_frees_its_place() {
    let address = start_limited(listen::Limits { connections: 1, write: SHORT, ..PATIENT }).await;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // More answers than the sockets' buffers hold, and nobody reads them.
    let requests = b"GET /api/v1/rules HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let sending = async { while stream.write_all(&requests).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("is cut");
    let next = ask(address, "GET", "/-/healthy", None);
    let reply = tokio::time::timeout(Duration::from_secs(10), next).await.expect("a place is free");
    assert_eq!(reply.status, 200);
}

/// Else one that reads a byte now and then keeps its answer in our memory for days.
#[tokio::test]
async fn a_client_that_reads_too_slowly_is_cut() {
    let address = start_limited(listen::Limits { sending: SHORT * 5, ..PATIENT }).await;
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = b"GET /api/v1/query?query=large HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.expect("sends");
    let mut part = [0; 4096];
    let dripping = async {
        while stream.read(&mut part).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // 8 MB at this speed are 20 s, of which half is in the sockets' buffers when it is cut.
    let next = async {
        let reply = ask(address, "GET", "/-/healthy", None).await;
        assert_eq!(reply.status, 200);
    };
    let freed = tokio::time::timeout(Duration::from_secs(5), async {
        tokio::select! { () = dripping => (), () = next => () }
    });
    freed.await.expect("its place is free");
}

/// Else whoever opens as many connections as there are places silences the probe of our health.
#[tokio::test]
async fn those_that_are_idle_make_room_when_places_are_short() {
    let limits = listen::Limits { connections: 3, idle_when_full: SHORT, ..PATIENT };
    let address = start_limited(limits).await;
    let mut kept = TcpStream::connect(address).await.expect("connects");
    tokio::time::sleep(SHORT * 5).await;
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sends");
    let mut reply = [0; 12];
    kept.read_exact(&mut reply).await.expect("it was kept while there was room");
    assert_eq!(&reply, b"HTTP/1.1 200");
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(TcpStream::connect(address).await.expect("connects"));
    }
    let next = ask(address, "GET", "/-/healthy", None);
    let reply = tokio::time::timeout(Duration::from_secs(10), next).await.expect("a place is free");
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_takes_no_new_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(serve(listener, scripted(), Options::default(), shutdown));
    let path = "/api/v1/query?query=slow&timeout=300ms";
    let running = tokio::spawn(async move { ask(address, "GET", path, None).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(()).expect("the server listens for it");
    assert_eq!(running.await.expect("ends").status, 503, "answered, not cut");
    serving.await.expect("ends").expect("without an error");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_client_that_dawdles() {
    let inner = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stream =
        TcpStream::connect(inner.local_addr().expect("bound")).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sends");
    let router = router(scripted(), Options::default());
    let listener = listen::Listener::new(inner, listen::Limits::default());
    let soon = tokio::time::sleep(SHORT);
    let serving = serve_router(listener, router, SHORT, soon);
    let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
    ended.expect("does not wait").expect("without an error");
}
