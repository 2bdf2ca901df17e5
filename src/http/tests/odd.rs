//! Requests that make little sense, and what a Prometheus 2.42 says to them.

use std::io::Read as _;

use super::*;

/// The whole answer to a request as it is.
async fn raw(address: SocketAddr, head: &str, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let length = body.len();
    let request =
        format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("a reply");
    reply
}

/// Head and body of an answer.
fn split(reply: &[u8]) -> (String, &[u8]) {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&reply[..end]).to_ascii_lowercase(), &reply[end + 4..])
}

#[tokio::test]
async fn times_that_make_no_sense_are_told_as_prometheus_does() {
    let timeout =
        r#"{"status":"error","errorType":"timeout","error":"query timed out in query queue"}"#;
    let empty = "1:1: parse error: no expression found in input";
    let time = r#"invalid parameter "start": Invalid time value for 'start': cannot parse "abc" to a valid timestamp"#;
    let end = "end timestamp must not be before start timestamp";
    check(&[
        ("query?query=1&timeout=0", 503, timeout),
        ("query?query=1&timeout=-1", 503, timeout),
        ("query_range?query=1&start=0&end=1&step=1&timeout=1e-9", 503, timeout),
        (
            "query?query=1%2B1&time=1&lookback_delta=0",
            200,
            &ok(r#"{"resultType":"scalar","result":[1,"2"]}"#),
        ),
        ("query_exemplars", 400, &bad(empty)),
        (
            "query_exemplars?query=v{",
            400,
            &hinted(
                "1:3: parse error: unexpected end of input inside braces",
                "the `{` at 1:2 is not closed: write `}`",
            ),
        ),
        ("query_exemplars?query=v&start=abc", 400, &bad(time)),
        ("query_exemplars?query=v&start=5&end=4", 400, &bad(end)),
        ("query_exemplars?query=v&start=4&end=5", 200, &ok("[]")),
    ])
    .await;
}

/// What was asked for, of a server that saw one query.
async fn asked(head: &str, body: &str) -> Option<String> {
    let backend = scripted();
    let address = start(Arc::clone(&backend), Options::default()).await;
    raw(address, head, body).await;
    let asked = backend.asked.lock().expect("not poisoned").pop();
    asked.map(|request| request.text)
}

#[tokio::test]
async fn forms_are_read_whatever_the_letters_of_their_type() {
    let post = |kind: &str| format!("POST /api/v1/query?query=v HTTP/1.1\r\nContent-Type: {kind}");
    let part = "--x\r\nContent-Disposition: form-data; name=query\r\n\r\n1\r\n--x--\r\n";
    let in_parts = "multipart/form-data; boundary=x";
    let no_query = format!("POST /api/v1/query HTTP/1.1\r\nContent-Type: {in_parts}");
    let cases = [
        (post("application/x-www-form-urlencoded"), "query=1", Some("1")),
        (post("Application/X-WWW-Form-URLEncoded; charset=utf-8"), "query=1", Some("1")),
        (post("application/x-www-form-urlencoded"), "query=%zz", Some("v")),
        (post("application/x-www-form-urlencodedly"), "query=1", Some("v")),
        (post("text/plain"), "query=1", Some("v")),
        (post(in_parts), part, Some("v")),
        (no_query, part, Some("1")),
    ];
    for (head, body, want) in cases {
        assert_eq!(asked(&head, body).await.as_deref(), want, "{head} {body}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_or_refused_as_by_prometheus() {
    let form = "error parsing form values: invalid URL escape \"%zz\"";
    let empty = "1:1: parse error: no expression found in input";
    let selector = "1:2: parse error: unexpected end of input inside braces";
    let open = "the `{` at 1:1 is not closed: write `}`";
    let text = "1:5: parse error: invalid UTF-8 rune";
    let of = |name: &str, why: &str| bad(&format!("invalid parameter \"{name}\": {why}"));
    let range = "strconv.Atoi: parsing \"99999999999999999999\": value out of range";
    check(&[
        ("series?match[]=%zz", 400, &bad(form)),
        ("series?match[]=v&x=%zz", 400, &bad(form)),
        ("rules?x=%zz", 400, &bad(form)),
        ("labels?match[]=v&x=%zz", 200, &ok(r#"["__name__","instance","job","tenant"]"#)),
        ("query?query=%zz", 400, &of("query", empty)),
        ("query?query=v{a=%22%ff%22}", 400, &of("query", text)),
        (
            "series?match[]={",
            400,
            &hinted(&format!("invalid parameter \"match[]\": {selector}"), open),
        ),
        ("labels?match[]={", 400, &hinted(selector, open)),
        ("label/job/values?match[]={", 400, &hinted(selector, open)),
        ("label/%ff/values", 400, &bad("invalid label name: \"\\xff\"")),
        ("label/a%20b/values", 400, &bad("invalid label name: \"a b\"")),
        ("label/a+b/values", 400, &bad("invalid label name: \"a+b\"")),
        ("labels?limit=99999999999999999999", 400, &of("limit", range)),
        ("query?query=1%2B1&time=1.0005", 200, &ok(r#"{"resultType":"scalar","result":[1,"2"]}"#)),
    ])
    .await;
}

#[tokio::test]
async fn a_query_may_stand_in_the_line_as_people_type_it() {
    let line = "GET /api/v1/query?query=v{a=\"b\"}>=0 HTTP/1.1";
    assert_eq!(asked(line, "").await.as_deref(), Some("v{a=\"b\"}>=0"));
}

#[tokio::test]
async fn other_methods_are_named_and_nobody_is_let_in_from_elsewhere() {
    let address = start(scripted(), Options::default()).await;
    for (method, path, status, body) in [
        ("DELETE", "/api/v1/query", 405, "Method Not Allowed\n"),
        ("POST", "/api/v1/rules", 405, "Method Not Allowed\n"),
        ("OPTIONS", "/api/v1/query", 204, ""),
        ("HEAD", "/-/healthy", 200, ""),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nOrigin: http://elsewhere.example");
        let reply = raw(address, &head, "").await;
        let (head, got) = split(&reply);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{method} {path}: {head}");
        assert_eq!(String::from_utf8_lossy(got), body, "{method} {path}");
        assert!(!head.contains("access-control-"), "{head}");
        assert_eq!(head.contains("allow: "), status != 200, "{head}");
    }
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_take_gzip() {
    let address = start(scripted(), Options::default()).await;
    let large = format!("/api/v1/format_query?query=v{}", "%2Bv".repeat(500));
    let get = |path: &str, takes: &str| format!("GET {path} HTTP/1.1\r\nAccept-Encoding: {takes}");
    let plain = raw(address, &get(&large, "br"), "").await;
    let packed = raw(address, &get(&large, "br, gzip"), "").await;
    let ((head, plain), (packed_head, packed)) = (split(&plain), split(&packed));
    assert!(!head.contains("content-encoding"), "{head}");
    assert!(packed_head.contains("content-encoding: gzip"), "{packed_head}");
    assert!(packed_head.contains(&format!("content-length: {}", packed.len())), "{packed_head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    assert_eq!(text.as_bytes(), plain);
    assert!(packed.len() < plain.len());
    let small = raw(address, &get("/-/healthy", "gzip"), "").await;
    assert!(!split(&small).0.contains("content-encoding"), "not worth it");
}

#[tokio::test]
async fn a_url_that_is_too_long_is_told_so() {
    let address = start(scripted(), Options::default()).await;
    let of = |length: usize| format!("/api/v1/query?query={}", "v".repeat(length));
    for length in [62_000, 66_000, 1 << 20] {
        let reply = ask(address, "GET", &of(length), None).await;
        let words = "the URL is longer than 61440 bytes: send the query by POST, as a form of at most \
                     1048576 bytes";
        assert_eq!((reply.status, reply.body), (414, bad(words)), "{length}");
    }
    let (two, one) = (ask(address, "GET", &of(40_000), None).await, of(300));
    assert_eq!(two.status, 200, "{}", two.body);
    // The same connection goes on.
    let long = of(1 << 20);
    let requests = format!("GET {long} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(requests.as_bytes()).await.expect("sends");
    let mut reply = vec![0; 4096];
    let length = stream.read(&mut reply).await.expect("a reply");
    assert!(reply[..length].starts_with(b"HTTP/1.1 414 "));
    let next = format!("GET {one} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(next.as_bytes()).await.expect("sends");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("a reply");
    assert!(
        reply.windows(12).any(|part| part == b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&reply)
    );
}
