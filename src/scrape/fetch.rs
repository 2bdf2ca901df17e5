//! One HTTP scrape: from the URL to the last byte of the body, within one deadline.
//!
//! The body goes to the caller piece by piece as it arrives; nothing here keeps it. A target can
//! cost at most its `scrape_timeout` and `body_size_limit`, whatever it sends or withholds. No
//! redirect is followed and no proxy used.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, LOCATION,
};
use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;

use super::error::{ScrapeError, ScrapeErrorKind as Kind};
use crate::base::format_duration;
use crate::endpoint::{HttpOptions, Pool, explain, redact};

/// Plain text first: the only format read.
const ACCEPT_TEXT: &str = "text/plain;version=0.0.4,text/plain;q=0.5,*/*;q=0.1";

/// Tells the exporter how long it has, in seconds, as Prometheus does.
const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// What to fetch, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The URL; with a socket, its host is only a name.
    pub url: &'a Url,
    /// Connect to this unix socket instead of the URL's host.
    pub socket: Option<&'a PathBuf>,
    /// Credentials and TLS.
    pub http: &'a HttpOptions,
    /// Everything must have arrived by then.
    pub timeout: Duration,
    /// Most bytes of (decompressed) body; 0 is no limit.
    pub body_limit_bytes: u64,
    /// Whether a connection may be kept: the target answered the last time.
    pub may_be_kept: bool,
}

/// A page whose headers were good, read piece by piece until the scrape's deadline.
#[derive(Debug)]
pub struct Page {
    response: Response,
    timeout: Duration,
    deadline: Deadline,
    body_limit_bytes: u64,
    received_bytes: u64,
}

/// A deadline fires this late at most when nothing holds the loop.
const PUNCTUAL: Duration = Duration::from_millis(10);

/// When all must have come. The one loop that reads also evaluates the rules: while it is held by
/// other work nothing is read, and no target is to blame. So that time does not count, up to the
/// timeout once more.
#[derive(Debug)]
struct Deadline {
    at: Instant,
    /// How much may still be forgiven.
    left: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Deadline {
        Deadline { at: Instant::now() + timeout, left: timeout }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// What the work yields, if it does in time.
    async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let done = tokio::time::timeout_at(self.at, &mut work).await.ok();
            let late = Instant::now().saturating_duration_since(self.at);
            let was_held = late > PUNCTUAL && !self.left.is_zero();
            // What has come while the deadline could not fire has come before it, for all that
            // can be known.
            if was_held || done.is_some() {
                self.forgive(late);
            }
            if done.is_some() || !was_held {
                return done;
            }
        }
    }

    fn forgive(&mut self, late: Duration) {
        let more = late.min(self.left);
        if !more.is_zero() {
            self.left -= more;
            self.at = Instant::now() + more;
        }
    }
}

/// Asks for a page and checks status and encoding. The deadline runs from here.
pub async fn open(pool: &Pool, ask: Ask<'_>) -> Result<Page, ScrapeError> {
    let mut deadline = Deadline::after(ask.timeout);
    let response = match deadline.within(send(pool, ask)).await {
        Some(response) => response?,
        None => {
            let timeout = format_duration(ask.timeout);
            let message = format!("no answer within scrape_timeout ({timeout})");
            return Err(ScrapeError::new(Kind::Timeout, message));
        }
    };
    check_head(&response, ask)?;
    let page = Page {
        response,
        timeout: ask.timeout,
        deadline,
        body_limit_bytes: ask.body_limit_bytes,
        received_bytes: 0,
    };
    // A body that says it is too long is not read at all.
    page.check_length(page.response.content_length().unwrap_or(0))?;
    Ok(page)
}

impl Page {
    /// The header `Content-Type`.
    pub fn content_type(&self) -> Option<String> {
        header(&self.response, &CONTENT_TYPE)
    }

    /// The next piece of the body; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, ScrapeError> {
        // Decompression is always ready: without these two a bomb would starve the others, and
        // never meet its deadline.
        if self.deadline.is_over() {
            return Err(self.timed_out());
        }
        let response = &mut self.response;
        let chunk = async {
            tokio::task::coop::consume_budget().await;
            response.chunk().await
        };
        let chunk = match self.deadline.within(chunk).await {
            Some(chunk) => chunk.map_err(|error| {
                let message = format!("the body broke off: {}", explain(error));
                ScrapeError::new(Kind::Body, message)
            })?,
            None => return Err(self.timed_out()),
        };
        self.received_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.check_length(self.received_bytes)?;
        Ok(chunk)
    }

    fn check_length(&self, length_bytes: u64) -> Result<(), ScrapeError> {
        let limit = self.body_limit_bytes;
        if limit == 0 || length_bytes <= limit {
            return Ok(());
        }
        let message = format!("the body is longer than body_size_limit ({limit} bytes)");
        Err(ScrapeError::new(Kind::BodyLimit, message))
    }

    fn timed_out(&self) -> ScrapeError {
        let (bytes, timeout) = (self.received_bytes, format_duration(self.timeout));
        let message =
            format!("the body had not ended after {bytes} bytes and scrape_timeout ({timeout})");
        ScrapeError::new(Kind::Timeout, message)
    }
}

/// Sends the request, and once more if a kept connection may have turned out to be closed: a GET may
/// be repeated, and Go's client does the same. A fresh connection that is closed is an answer.
async fn send(pool: &Pool, ask: Ask<'_>) -> Result<Response, ScrapeError> {
    let setup = |message| ScrapeError::new(Kind::Setup, message);
    let client = pool.client(ask.url, ask.socket, ask.http).await.map_err(setup)?;
    let mut request = client
        .http
        .get(client.url)
        .header(ACCEPT, ACCEPT_TEXT)
        .header(TIMEOUT_HEADER, ask.timeout.as_secs_f64().to_string());
    if let Some(auth) = ask.http.auth.header().await.map_err(setup)? {
        request = request.header(AUTHORIZATION, auth);
    }
    if let Some(host) = &client.host {
        request = request.header(HOST, host);
    }
    let again = request.try_clone();
    let connect = |error| ScrapeError::new(Kind::Connect, explain(error));
    match (request.send().await, again) {
        (Ok(response), _) => Ok(response),
        (Err(error), Some(again))
            if ask.may_be_kept && !error.is_connect() && !error.is_builder() =>
        {
            again.send().await.map_err(connect)
        }
        (Err(error), _) => Err(connect(error)),
    }
}

/// Status and encoding must be those of a metrics page.
fn check_head(response: &Response, ask: Ask<'_>) -> Result<(), ScrapeError> {
    let status = response.status();
    if status.is_redirection() {
        let to = match header(response, &LOCATION).map(|to| ask.url.join(&to)) {
            Some(Ok(url)) => redact(&url),
            Some(Err(_)) => "an unreadable location".to_owned(),
            None => "nowhere".to_owned(),
        };
        let message = format!(
            "the target redirects to {to} ({status}); redirects are not followed, scrape that \
             address"
        );
        return Err(ScrapeError::new(Kind::Redirect, message));
    }
    if status != StatusCode::OK {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; see basic_auth and authorization"
            }
            StatusCode::NOT_FOUND => "; see metrics_path",
            _ => "",
        };
        let message = format!("the target answered with HTTP status {status}{hint}");
        return Err(ScrapeError::new(Kind::Status, message));
    }
    // The client removes this header from what it has decompressed.
    match header(response, &CONTENT_ENCODING).filter(|e| e != "identity" && !e.is_empty()) {
        Some(encoding) => {
            let message = format!("the body is encoded as `{encoding}`, which was not asked for");
            Err(ScrapeError::new(Kind::Encoding, message))
        }
        None => Ok(()),
    }
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, serve, url_of};
    use super::*;
    use crate::endpoint::{Auth, Secret};

    /// What a fetch from a server that answers every connection with `answer` comes to.
    async fn fetched(answer: &'static [u8], adjust: impl FnOnce(&mut Ask<'_>)) -> Outcome {
        let address = serve(move |_| testing::Answer::Bytes(answer)).await;
        fetch_from(&url_of(address), adjust).await
    }

    type Outcome = Result<String, (Kind, String)>;

    async fn fetch_from(url: &Url, adjust: impl FnOnce(&mut Ask<'_>)) -> Outcome {
        let http = HttpOptions::default();
        let mut ask = Ask {
            url,
            socket: None,
            http: &http,
            timeout: Duration::from_millis(300),
            body_limit_bytes: 0,
            may_be_kept: false,
        };
        adjust(&mut ask);
        read_all(&Pool::default(), ask).await.map_err(|error| (error.kind, error.message))
    }

    async fn read_all(pool: &Pool, ask: Ask<'_>) -> Result<String, ScrapeError> {
        let mut page = open(pool, ask).await?;
        let mut body = Vec::new();
        while let Some(chunk) = page.next().await? {
            body.extend_from_slice(chunk.as_ref());
        }
        Ok(String::from_utf8(body).expect("text"))
    }

    fn assert_fails(outcome: Outcome, kind: Kind, words: &[&str]) {
        let (got, message) = outcome.expect_err("the scrape must fail");
        assert_eq!(got, kind, "{message}");
        for word in words {
            assert!(message.contains(word), "`{word}` in: {message}");
        }
    }

    #[tokio::test]
    async fn good_pages_arrive_whole() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; escaping=underscores\r\nContent-Length: 4\r\n\r\na 1\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\na 1\n",
        ] {
            assert_eq!(fetched(answer, |_| ()).await, Ok("a 1\n".to_owned()));
        }
    }

    #[tokio::test]
    async fn bad_answers_say_what_is_wrong() {
        let cases: [(&'static [u8], Kind, &[&str]); 7] = [
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://u:pw@other:9/x?token=t\r\nContent-Length: 0\r\n\r\n",
                Kind::Redirect,
                &["http://other:9/x?token=***", "302"],
            ),
            (b"HTTP/1.1 308 Moved\r\nContent-Length: 0\r\n\r\n", Kind::Redirect, &["nowhere"]),
            (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", Kind::Status, &["500"]),
            (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", Kind::Status, &["basic_auth"]),
            (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
                Kind::Encoding,
                &["gzip"],
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n",
                Kind::Body,
                &["broke off"],
            ),
            (b"SSH-2.0-OpenSSH_9\r\n", Kind::Connect, &["HTTP"]),
        ];
        for (answer, kind, words) in cases {
            assert_fails(fetched(answer, |_| ()).await, kind, words);
        }
    }

    #[tokio::test]
    async fn endless_headers_are_refused() {
        let head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'a'; 4_000_000]].concat();
        let address = serve(move |_| testing::Answer::Owned(head.clone())).await;
        let url = url_of(address);
        let outcome = fetch_from(&url, |ask| ask.timeout = Duration::from_secs(5)).await;
        assert_fails(outcome, Kind::Connect, &["too large"]);
    }

    #[tokio::test]
    async fn bodies_are_bounded_declared_or_not() {
        let declared = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let limit = |ask: &mut Ask<'_>| ask.body_limit_bytes = 10;
        assert_fails(fetched(declared, limit).await, Kind::BodyLimit, &["body_size_limit"]);
        let endless = serve(|_| testing::Answer::Endless).await;
        let outcome = fetch_from(&url_of(endless), limit).await;
        assert_fails(outcome, Kind::BodyLimit, &["body_size_limit (10 bytes)"]);
        let exact = b"HTTP/1.0 200 OK\r\n\r\n0123456789";
        assert!(fetched(exact, limit).await.is_ok(), "the limit itself is allowed");
    }

    #[tokio::test]
    async fn slow_and_silent_targets_end_at_the_timeout() {
        let started = Instant::now();
        let silent = serve(|_| testing::Answer::Silence).await;
        assert_fails(fetch_from(&url_of(silent), |_| ()).await, Kind::Timeout, &["300ms"]);
        let slow = serve(|_| testing::Answer::Trickle).await;
        let outcome = fetch_from(&url_of(slow), |_| ()).await;
        assert_fails(outcome, Kind::Timeout, &["had not ended after", "scrape_timeout"]);
        let stalled = serve(|_| testing::Answer::Stall).await;
        assert_fails(fetch_from(&url_of(stalled), |_| ()).await, Kind::Timeout, &["after 0 bytes"]);
        let endless = serve(|_| testing::Answer::Endless).await;
        assert_fails(fetch_from(&url_of(endless), |_| ()).await, Kind::Timeout, &["bytes"]);
        assert!(started.elapsed() < Duration::from_millis(2400), "four timeouts of 0.3 s");
    }

    #[tokio::test]
    async fn bytes_that_are_ready_too_late_are_not_taken() {
        let page = b"HTTP/1.0 200 OK\r\n\r\na 1\n";
        let url = url_of(serve(|_| testing::Answer::Bytes(page)).await);
        let (pool, http) = (Pool::default(), HttpOptions::default());
        let timeout = Duration::from_millis(100);
        let ask = Ask {
            url: &url,
            socket: None,
            http: &http,
            timeout,
            body_limit_bytes: 0,
            may_be_kept: false,
        };
        let mut page = open(&pool, ask).await.expect("answers at once");
        tokio::time::sleep(timeout).await;
        let error = page.next().await.map(|_| ()).expect_err("the time is up");
        assert_eq!(error.kind, Kind::Timeout);
    }

    /// Fetches with a timeout of 300 ms while something else holds the thread for twice as long; the
    /// target answers meanwhile with `parts`.
    async fn fetched_while_held(parts: &'static [&'static [u8]]) -> Outcome {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = url_of(listener.local_addr().expect("bound"));
        let (held, begins) = std::sync::mpsc::channel();
        let target = std::thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = listener.accept().expect("a scrape");
            begins.recv().expect("the thread is held");
            for part in parts {
                stream.write_all(part).expect("the scrape reads");
                begins.recv_timeout(Duration::from_millis(10)).expect_err("it is held");
            }
            // Open until the test is over, whatever came.
            (stream, begins.recv())
        });
        let hold = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            held.send(()).expect("the target waits");
            let (_silent, nothing) = std::sync::mpsc::channel::<()>();
            nothing.recv_timeout(Duration::from_millis(600)).expect_err("nothing comes");
        };
        let (outcome, ()) = tokio::join!(fetch_from(&url, |_| ()), hold);
        drop(held);
        target.join().expect("the target is done").1.expect_err("nothing more is said");
        outcome
    }

    #[tokio::test]
    async fn no_target_is_to_blame_for_what_holds_the_loop() {
        let page: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", b"a 1\n", b"b 2\n"];
        assert_eq!(fetched_while_held(page).await, Ok("a 1\nb 2\n".to_owned()));
        assert_fails(fetched_while_held(&[]).await, Kind::Timeout, &["no answer within"]);
        assert_fails(fetched_while_held(&page[..2]).await, Kind::Timeout, &["after 4 bytes"]);
    }

    #[tokio::test]
    async fn nobody_listening_is_a_connect_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let outcome = fetch_from(&url_of(address), |_| ()).await;
        assert_fails(outcome, Kind::Connect, &["refused"]);
    }

    #[tokio::test]
    async fn a_closed_kept_connection_is_tried_again() {
        // Answers one request on each connection, says it keeps it, and closes it on the next.
        let address = serve(|_| testing::Answer::OncePerConnection).await;
        let (url, http, pool) = (url_of(address), HttpOptions::default(), Pool::default());
        for round in 0..3 {
            let ask = Ask {
                url: &url,
                socket: None,
                http: &http,
                timeout: Duration::from_secs(2),
                body_limit_bytes: 0,
                may_be_kept: round > 0,
            };
            read_all(&pool, ask).await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
    }

    #[tokio::test]
    async fn requests_carry_credentials_and_the_deadline_and_ask_for_no_compression_here() {
        let (tell, heard) = std::sync::mpsc::channel();
        let address = serve(move |head| {
            tell.send(head.to_owned()).expect("the test listens");
            testing::Answer::Bytes(b"HTTP/1.0 200 OK\r\n\r\n")
        })
        .await;
        let auth = Auth::Basic {
            username: Secret::Inline("Aladdin".to_owned()),
            password: Some(Secret::Inline("open sesame".to_owned())),
        };
        let http = HttpOptions { auth, ..HttpOptions::default() };
        let url = url_of(address);
        let ask = Ask {
            url: &url,
            socket: None,
            http: &http,
            timeout: Duration::from_millis(2500),
            body_limit_bytes: 0,
            may_be_kept: false,
        };
        read_all(&Pool::default(), ask).await.expect("answered");
        let head = heard.recv().expect("asked").to_ascii_lowercase();
        for line in [
            "get /metrics http/1.1",
            "authorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq==",
            "x-prometheus-scrape-timeout-seconds: 2.5",
            "accept: text/plain;version=0.0.4",
            "user-agent: plimsoll/",
        ] {
            assert!(head.contains(line), "`{line}` in {head}");
        }
        assert!(!head.contains("accept-encoding"), "{head}");
    }

    /// Runs a good scrape in a process whose environment names proxies nobody listens on.
    #[tokio::test]
    async fn proxies_of_the_environment_are_not_used() {
        let mut child =
            tokio::process::Command::new(std::env::current_exe().expect("this test program"));
        child.args(["--exact", "scrape::fetch::tests::good_pages_arrive_whole"]);
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            child.env(name, "http://127.0.0.1:1");
        }
        let output = child.output().await.expect("runs");
        let talk = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && talk.contains("1 passed"), "{talk}");
    }

    #[tokio::test]
    async fn unix_sockets_are_scraped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m.sock");
        testing::serve_unix(&path, b"HTTP/1.0 200 OK\r\n\r\na 1\n");
        let url = Url::parse("http://localhost/metrics").expect("a URL");
        let outcome = fetch_from(&url, |ask| ask.socket = Some(Box::leak(Box::new(path)))).await;
        assert_eq!(outcome, Ok("a 1\n".to_owned()));
        let missing = dir.path().join("none.sock");
        let outcome = fetch_from(&url, |ask| ask.socket = Some(Box::leak(Box::new(missing)))).await;
        assert_fails(outcome, Kind::Connect, &["No such file"]);
    }
}
