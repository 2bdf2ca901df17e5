//! One Alertmanager: posting alerts, and reading how long its routes wait.
//!
//! Alertmanager stores the good alerts of a batch even when it answers 400 for a bad one (measured
//! on 0.25), so a refused batch is sent again alert by alert and only those it refuses alone are
//! given up. Everything that is not the alert's own fault may be tried again later; whether and
//! when is not decided here. Every instance is posted to on its own: they do not pass alerts on.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use crate::alerts::Refusal;
use crate::base::{format_duration, parse_duration};
use crate::endpoint::read::{http_options, relabel_rules, target_group};
use crate::endpoint::{HttpOptions, Pool, Redaction, TargetGroup, explain, redact};
use crate::relabel::Rule;
use crate::yaml::{Cursor, Fields, Node, Problems, parse, read};

/// How long a post may take, unless the configuration says otherwise; Prometheus's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Alertmanager's defaults for a route that says nothing (`dispatch.DefaultRouteOpts`).
const DEFAULT_GROUP_WAIT: Duration = Duration::from_secs(30);
const DEFAULT_GROUP_INTERVAL: Duration = Duration::from_secs(300);

/// Bytes of a page that are read: a whole configuration fits, an endless body does not.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a refusal that are shown.
const MAX_REFUSAL_BYTES: usize = 300;

/// The section `alerting`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AlertingConfig {
    /// Every instance, each posted to on its own.
    pub alertmanagers: Vec<AlertmanagerConfig>,
    /// Applied to each alert before it is sent.
    pub alert_relabel: Vec<Rule>,
    /// How long a missed incident is presented, instead of what the routes say.
    pub min_presentation: Option<Duration>,
    /// How long an incident is presented after its end, at most, while Alertmanager cannot deliver.
    pub max_presentation: Option<Duration>,
    /// An alert whose inputs stay away is resolved after this long.
    pub unknown_timeout: Option<Duration>,
}

/// Less is one scrape that failed; after a day nobody waits for the inputs any more.
const UNKNOWN_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(86_400);

/// One instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertmanagerConfig {
    /// Its base URL: scheme, address, `path_prefix`.
    pub url: Url,
    /// How long one request may take.
    pub timeout: Duration,
    /// Credentials and TLS.
    pub http: HttpOptions,
}

/// What became of a post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PostOutcome {
    /// Every alert was taken.
    Accepted,
    /// Nothing is wrong with the alerts; try again later.
    Retry {
        /// One line, without secrets.
        why: String,
    },
    /// An alert of the batch is bad; the same batch will never be taken.
    BadBatch {
        /// What kind of fault it is.
        reason: Refusal,
        /// What the instance said.
        why: String,
    },
}

/// What became of a list of alerts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Posted {
    /// Why some were not taken and may be tried again; `None` if that holds for none.
    pub retry: Option<String>,
    /// Those refused on their own: by index, what is wrong, what the instance said.
    pub refused: Vec<(usize, Refusal, String)>,
}

/// The longest waits over all routes of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteTimings {
    /// `group_wait`.
    pub group_wait: Duration,
    /// `group_interval`.
    pub group_interval: Duration,
}

/// A client for one instance; keeps its connections.
#[derive(Debug)]
pub struct AlertmanagerClient {
    config: AlertmanagerConfig,
    pool: Pool,
}

impl AlertingConfig {
    /// Reads the section `alerting`. Relative paths are relative to `base`.
    pub fn read(at: Cursor<'_, '_>, base: &Path) -> Option<AlertingConfig> {
        let mut fields = Fields::open(at)?;
        let alertmanagers = fields.list("alertmanagers", |at| instances(at, base));
        let alert_relabel =
            fields.optional("alert_relabel_configs", relabel_rules).unwrap_or_default();
        let min_presentation = fields.optional("min_presentation", read::positive_duration);
        let max_presentation = fields.optional("max_presentation", read::positive_duration);
        let unknown_timeout =
            fields.optional("unknown_timeout", |at| read::duration_within(at, UNKNOWN_TIMEOUT));
        fields.finish();
        Some(AlertingConfig {
            alertmanagers: alertmanagers.into_iter().flatten().collect(),
            alert_relabel,
            min_presentation,
            max_presentation,
            unknown_timeout,
        })
    }
}

/// Keys of an `alertmanagers` entry that plimsoll lacks.
const UNSUPPORTED: [(&str, &str); 9] = [
    ("alert_relabel_configs", "write it under `alerting`, for all of them"),
    ("relabel_configs", "the addresses are used as they are"),
    ("sigv4", "requests go unsigned"),
    ("file_sd_configs", "write the addresses under static_configs"),
    ("http_sd_configs", "write the addresses under static_configs"),
    ("dns_sd_configs", "write the addresses under static_configs"),
    ("consul_sd_configs", "write the addresses under static_configs"),
    ("docker_sd_configs", "write the addresses under static_configs"),
    ("kubernetes_sd_configs", "write the addresses under static_configs"),
];

/// The instances of one entry of `alertmanagers`.
fn instances(at: Cursor<'_, '_>, base: &Path) -> Option<Vec<AlertmanagerConfig>> {
    let mut fields = Fields::open(at)?;
    let schemes = [("http", "http"), ("https", "https")];
    let scheme = fields.or("scheme", "http", |at| read::one_of(at, &schemes));
    let prefix = fields.or("path_prefix", String::new(), read::string);
    let timeout = fields.or("timeout", DEFAULT_TIMEOUT, read::positive_duration);
    fields.optional("api_version", |mut at| {
        if read::string(at.again())? != "v2" {
            at.error_hint("Alertmanager has no other interface since 0.27", "write `v2`");
        }
        Some(())
    });
    let http = http_options(&mut fields, base);
    let found = fields.list("static_configs", |mut at| {
        let group = target_group(at.again())?;
        Some(group_instances(&mut at, &group, |address| instance_url(scheme, address, &prefix)))
    });
    for (key, lost) in UNSUPPORTED {
        fields.unsupported(key, lost);
    }
    fields.finish();
    let config = |url| AlertmanagerConfig { url, timeout, http: http.clone() };
    Some(found.into_iter().flatten().map(config).collect())
}

/// The URLs of a group's addresses; bad addresses are reported and left out.
fn group_instances(
    at: &mut Cursor<'_, '_>,
    group: &TargetGroup,
    url: impl Fn(&str) -> Result<Url, String>,
) -> Vec<Url> {
    let mut urls = Vec::new();
    for address in &group.targets {
        match url(address) {
            Ok(url) => urls.push(url),
            Err(error) => {
                let written = at.node.get("targets").map_or(&[][..], |targets| targets.items());
                let place = written.iter().find(|node| node.text() == Some(address));
                let problem = at.problem(place.unwrap_or(at.node).at, error);
                at.push(problem);
            }
        }
    }
    urls
}

fn instance_url(scheme: &str, address: &str, prefix: &str) -> Result<Url, String> {
    let bad = |why: &str| format!("`{address}` is not an address: {why}; write `host:port`");
    if address.contains(['/', '?', '#', '@']) {
        return Err(bad("scheme and path have keys of their own"));
    }
    let mut url =
        Url::parse(&format!("{scheme}://{address}/")).map_err(|error| bad(&error.to_string()))?;
    url.set_path(&format!("/{}", prefix.trim_matches('/')));
    Ok(url)
}

impl AlertmanagerClient {
    /// A client for one instance. Connects to nothing yet.
    pub fn new(config: AlertmanagerConfig) -> AlertmanagerClient {
        AlertmanagerClient { config, pool: Pool::default() }
    }

    /// The instance's base URL, for messages and metrics.
    pub fn name(&self) -> String {
        redact(&self.config.url)
    }

    /// Posts a batch of alerts, each one JSON object. A batch that is refused is taken apart; the
    /// first failure that is not the alerts' fault ends the attempt.
    pub async fn post_alerts(&self, alerts: &[Vec<u8>]) -> Posted {
        let mut posted = Posted::default();
        match self.post(&array(alerts)).await {
            PostOutcome::Accepted => {}
            PostOutcome::Retry { why } => posted.retry = Some(why),
            PostOutcome::BadBatch { reason, why } if alerts.len() == 1 => {
                posted.refused.push((0, reason, why));
            }
            PostOutcome::BadBatch { .. } => {
                posted.retry = self.post_singly(alerts, &mut posted.refused).await;
            }
        }
        posted
    }

    /// Posts each alert on its own; why it had to stop, if it had to.
    async fn post_singly(
        &self,
        alerts: &[Vec<u8>],
        refused: &mut Vec<(usize, Refusal, String)>,
    ) -> Option<String> {
        for (index, alert) in alerts.iter().enumerate() {
            match self.post(&array(std::slice::from_ref(alert))).await {
                PostOutcome::Accepted => {}
                PostOutcome::BadBatch { reason, why } => refused.push((index, reason, why)),
                PostOutcome::Retry { why } => return Some(why),
            }
        }
        None
    }

    /// Posts one JSON array of alerts.
    pub async fn post(&self, body: &[u8]) -> PostOutcome {
        let work = async {
            let (mut response, ours) = self.send(Method::POST, "api/v2/alerts", Some(body)).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(PostOutcome::Accepted);
            }
            let why = refusal(&mut response, &ours).await;
            Ok(match status {
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                    PostOutcome::BadBatch { reason: Refusal::BadAlert, why }
                }
                StatusCode::PAYLOAD_TOO_LARGE => {
                    PostOutcome::BadBatch { reason: Refusal::TooLarge, why }
                }
                // Others speak of the way in (credentials, path, method) or of the moment.
                _ => PostOutcome::Retry { why },
            })
        };
        match within(self.config.timeout, work).await {
            Ok(outcome) => outcome,
            Err(why) => PostOutcome::Retry { why },
        }
    }

    /// Reads the longest waits over all routes from `GET /api/v2/status`.
    pub async fn fetch_route_timings(&self) -> Result<RouteTimings, String> {
        let status = self.get("api/v2/status", self.config.timeout).await?;
        let status: serde_json::Value = serde_json::from_slice(&status)
            .map_err(|error| format!("its status is not JSON: {error}"))?;
        let original = status["config"]["original"]
            .as_str()
            .ok_or("its status has no config.original".to_owned())?;
        route_timings(original)
    }

    /// Reads a page of the instance whole, within its timeout and `patience`.
    pub(super) async fn get(&self, path: &str, patience: Duration) -> Result<Vec<u8>, String> {
        let read = async {
            let (mut response, ours) = self.send(Method::GET, path, None).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(&mut response, &ours).await);
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(explain)? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_PAGE_BYTES {
                    return Err(format!("its {path} is longer than {MAX_PAGE_BYTES} bytes"));
                }
            }
            Ok(body)
        };
        within(self.config.timeout.min(patience), read).await
    }

    /// The answer, and what must not be shown of it.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<(Response, Redaction), String> {
        let mut url = self.config.url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        let client = self.pool.client(&url, None, &self.config.http).await?;
        let mut request = client.http.request(method, client.url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let auth = self.config.http.auth.header().await?;
        let ours = Redaction::of_header(auth.as_ref()).and_url(&url);
        if let Some(auth) = auth {
            request = request.header(AUTHORIZATION, auth);
        }
        if let Some(host) = &client.host {
            request = request.header(HOST, host);
        }
        let response = request.send().await.map_err(explain)?;
        Ok((response, ours))
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("no complete answer within {}", format_duration(timeout))),
    }
}

/// `[a,b,c]`.
fn array(alerts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![b'['];
    body.extend(alerts.join(&b','));
    body.push(b']');
    body
}

/// What an answer other than 200 means, on one short line, without what is `ours`.
async fn refusal(response: &mut Response, ours: &Redaction) -> String {
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let to = to
            .and_then(|to| response.url().join(to).ok())
            .map_or(String::new(), |url| format!(" to {}", ours.strike(&redact(&url))));
        return format!("it redirects{to} ({status}); redirects are not followed");
    }
    let most = MAX_REFUSAL_BYTES + ours.longest();
    let mut said = Vec::new();
    let is_whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => said.extend_from_slice(&chunk),
            end => break end.is_ok(),
        }
        if said.len() >= most {
            said.truncate(most);
            break false;
        }
    };
    let said = String::from_utf8_lossy(&said);
    // What is struck is short, so that the end of what was read may be shown.
    let mut said = if is_whole { ours.strike(&said) } else { ours.strike_cut(&said) };
    said.truncate(said.floor_char_boundary(MAX_REFUSAL_BYTES));
    let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let colon = if said.is_empty() { "" } else { ": " };
    format!("HTTP status {status}{colon}{said}")
}

/// The longest waits over all routes of an Alertmanager configuration. What a route does not say it
/// has from its parent, so the written values and the root's are all there are.
pub fn route_timings(config: &str) -> Result<RouteTimings, String> {
    let mut problems = Problems::default();
    let node = parse("config.original", config, &mut problems);
    let route = node.as_ref().and_then(|node| node.get("route"));
    let Some(route) = route.filter(|_| !problems.has_errors()) else {
        return Err(format!("its configuration has no route that reads: {problems}"));
    };
    Ok(RouteTimings {
        group_wait: longest(route, "group_wait", DEFAULT_GROUP_WAIT)?,
        group_interval: longest(route, "group_interval", DEFAULT_GROUP_INTERVAL)?,
    })
}

/// The longest value of `key` at or below `route`, which inherits `inherited`. Recursion ends
/// where the YAML reader's own bound on depth does.
fn longest(route: &Node, key: &str, inherited: Duration) -> Result<Duration, String> {
    let own = match route.get(key).and_then(Node::text) {
        Some(text) => parse_duration(text).map_err(|error| format!("{key}: {error}"))?,
        None => inherited,
    };
    let mut longest_of_all = own;
    if let Some(crate::yaml::Kind::Seq(children)) = route.get("routes").map(|node| &node.kind) {
        for child in children {
            longest_of_all = longest_of_all.max(longest(child, key, own)?);
        }
    }
    Ok(longest_of_all)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, StatusCode as Status};
    use axum::routing::{get, post};

    use super::*;

    /// An Alertmanager that refuses alerts with `bad`, stores the others even so, and answers
    /// `broken` with 503.
    async fn instance(stored: Arc<Mutex<Vec<String>>>) -> AlertmanagerClient {
        let take = move |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers["content-type"], "application/json");
            let alerts: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("an array");
            let names: Vec<&str> = alerts.iter().filter_map(|alert| alert.as_str()).collect();
            if names.contains(&"broken") {
                return (Status::SERVICE_UNAVAILABLE, "not now");
            }
            if names.contains(&"forbidden") {
                return (Status::FORBIDDEN, "");
            }
            let good = names.iter().filter(|name| **name != "bad").map(|name| (*name).to_owned());
            stored.lock().expect("unpoisoned").extend(good);
            match names.contains(&"bad") {
                true => (Status::BAD_REQUEST, "invalid\nlabel set"),
                false => (Status::OK, ""),
            }
        };
        let status = || async {
            let config = "route: {receiver: a, group_interval: 1m, routes: [{group_wait: 2m}]}";
            serde_json::json!({"config": {"original": config}}).to_string()
        };
        let routes = Router::new()
            .route("/am/api/v2/alerts", post(take))
            .route("/am/api/v2/status", get(status));
        client(routes, "/am/").await
    }

    async fn client(routes: Router, prefix: &str) -> AlertmanagerClient {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        AlertmanagerClient::new(AlertmanagerConfig {
            url: instance_url("http", &address, prefix).expect("an address"),
            timeout: Duration::from_millis(500),
            http: HttpOptions::default(),
        })
    }

    /// Posts alerts of these names: what is retried, which are refused, what was stored.
    async fn posted(names: &[&str]) -> (Option<String>, Vec<usize>, Vec<String>) {
        let stored = Arc::new(Mutex::new(Vec::new()));
        let client = instance(Arc::clone(&stored)).await;
        let alerts: Vec<Vec<u8>> =
            names.iter().map(|name| serde_json::to_vec(name).expect("a string")).collect();
        let posted = client.post_alerts(&alerts).await;
        for (_, reason, why) in &posted.refused {
            assert!(*reason == Refusal::BadAlert && why.contains("400") && why.contains("label"));
        }
        let refused = posted.refused.iter().map(|(index, ..)| *index).collect();
        let mut stored = stored.lock().expect("unpoisoned").clone();
        stored.dedup();
        (posted.retry, refused, stored)
    }

    #[tokio::test]
    async fn only_the_bad_alert_is_given_up() {
        assert_eq!(posted(&["a", "b"]).await, (None, vec![], vec!["a".into(), "b".into()]));
        assert_eq!(posted(&["bad"]).await, (None, vec![0], vec![]));
        let (retry, refused, stored) = posted(&["a", "bad", "b"]).await;
        assert_eq!((retry, refused), (None, vec![1]));
        assert!(stored.contains(&"a".to_owned()) && stored.contains(&"b".to_owned()));
    }

    #[tokio::test]
    async fn what_is_not_the_alerts_fault_is_retried() {
        let (retry, refused, _) = posted(&["a", "broken"]).await;
        assert!(retry.expect("retried").contains("503 Service Unavailable: not now"));
        assert_eq!(refused, Vec::<usize>::new());
        let (retry, refused, _) = posted(&["forbidden"]).await;
        assert!(retry.expect("retried").contains("403") && refused.is_empty());

        let lost = client(Router::new(), "").await;
        let PostOutcome::Retry { why } = lost.post(b"[]").await else { panic!("404 is retried") };
        assert!(why.contains("404"), "{why}");
        let silent = Router::new().route(
            "/api/v2/alerts",
            post(|| async { tokio::time::sleep(Duration::from_secs(60)).await }),
        );
        let outcome = client(silent, "").await.post(b"[]").await;
        let PostOutcome::Retry { why } = outcome else { panic!("silence is retried") };
        assert!(why.contains("500ms"), "{why}");
        let away = Router::new().route(
            "/api/v2/alerts",
            post(|| async { (Status::FOUND, [("location", "http://u:pw@else:1/")]) }),
        );
        let outcome = client(away, "").await.post(b"[]").await;
        let PostOutcome::Retry { why } = outcome else { panic!("a redirect is retried") };
        assert!(why.contains("http://else:1/") && !why.contains("pw"), "{why}");
    }

    /// A proxy before it may tell what it refused, word for word.
    #[tokio::test]
    async fn credentials_that_are_echoed_are_not_shown() {
        use crate::endpoint::{Auth, Secret};
        let echo = |headers: HeaderMap| async move {
            let sent = headers["authorization"].to_str().expect("ascii").to_owned();
            (Status::FORBIDDEN, format!("{sent} hunter2 {}{sent}", "x".repeat(250)))
        };
        let routes = Router::new().route("/api/v2/alerts", post(echo));
        let mut client = client(routes.route("/api/v2/status", get(echo)), "").await;
        let secret = || Secret::Inline("hunter2".to_owned());
        let basic =
            Auth::Basic { username: Secret::Inline("u".to_owned()), password: Some(secret()) };
        for (auth, shown) in [
            (basic, "Basic *** *** xxx"),
            (
                Auth::Token { scheme: "Bearer".to_owned(), credentials: secret() },
                "Bearer *** *** xxx",
            ),
        ] {
            client.config.http.auth = auth;
            let PostOutcome::Retry { why } = client.post(b"[]").await else { panic!("refused") };
            let read = client.fetch_route_timings().await.expect_err("refused");
            for why in [why, read] {
                assert!(why.contains(shown), "{why}");
                assert!(!why.contains("hunter") && !why.contains("dTpod"), "{why}");
            }
        }
    }

    /// Struck text is short, so that its cut may come into what is shown.
    #[tokio::test]
    async fn credentials_that_are_echoed_many_times_are_not_shown_where_the_echo_is_cut() {
        use crate::endpoint::{Auth, Secret};
        const TOKEN: &str = "s3cretTOKENofFortyBytesLong0123456789ABC";
        let escaped = || TOKEN.bytes().map(|b| format!("\\u{b:04x}")).collect::<String>();
        let words = [TOKEN.to_owned(), escaped()];
        for (word, count) in words.iter().flat_map(|word| (1..30).map(move |count| (word, count))) {
            let echo = vec![word.as_str(); count].join(",");
            let routes = Router::new()
                .route("/api/v2/alerts", post(|| async move { (Status::FORBIDDEN, echo) }));
            let mut client = client(routes, "").await;
            client.config.http.auth = Auth::Token {
                scheme: "Bearer".to_owned(),
                credentials: Secret::Inline(TOKEN.to_owned()),
            };
            let PostOutcome::Retry { why } = client.post(b"[]").await else { panic!("403") };
            let begins = &word[..word.len() / TOKEN.len() * 3];
            assert!(!why.contains(begins), "{word} {count}: {why}");
        }
    }

    #[tokio::test]
    async fn the_routes_are_read_from_the_instance() {
        let client = instance(Arc::default()).await;
        let timings = client.fetch_route_timings().await.expect("readable");
        let secs = Duration::from_secs;
        assert_eq!(timings, RouteTimings { group_wait: secs(120), group_interval: secs(60) });
        let nothing = client_without_status().await.fetch_route_timings().await;
        assert!(nothing.expect_err("no such page").contains("404"));
    }

    async fn client_without_status() -> AlertmanagerClient {
        client(Router::new(), "").await
    }

    #[test]
    fn waits_are_the_longest_of_all_routes() {
        let cases = [
            ("route: {receiver: a}", Some((30, 300))),
            ("route: {group_wait: 10s, group_interval: 1m}", Some((10, 60))),
            (
                "route: {group_wait: 10s, routes: [{routes: [{group_wait: 1m}]}, {group_interval: 1h}]}",
                Some((60, 3600)),
            ),
            ("global: {}", None),
            ("route: {group_wait: x}", None),
            ("route: [", None),
        ];
        for (text, want) in cases {
            let got = route_timings(text).ok();
            let got = got.map(|t| (t.group_wait.as_secs(), t.group_interval.as_secs()));
            assert_eq!(got, want, "{text}");
        }
    }

    /// The URLs of all instances, and the problems without the file's name.
    fn check(text: &str, want: &[&str], want_problems: &[&str]) {
        let mut problems = Problems::default();
        let node = parse("a.yml", text, &mut problems).expect(text);
        let config = AlertingConfig::read(
            Cursor::root("a.yml", &node, &mut problems),
            Path::new("/etc/plimsoll"),
        );
        let urls: Vec<String> = config
            .iter()
            .flat_map(|config| &config.alertmanagers)
            .map(|instance| instance.url.to_string())
            .collect();
        assert_eq!(urls, want, "{text}");
        let problems: Vec<String> = problems.iter().map(|p| p.to_string()).collect();
        assert_eq!(problems.len(), want_problems.len(), "{problems:?}");
        for (problem, want) in problems.iter().zip(want_problems) {
            assert!(problem.contains(want), "`{want}` in: {problem}");
        }
    }

    #[test]
    fn the_section_is_read_as_prometheus_reads_it() {
        check("{}", &[], &[]);
        check(
            "alertmanagers:
- {scheme: https, path_prefix: am/, timeout: 5s, api_version: v2, static_configs: [{targets: ['a:9093', 'b']}]}
- static_configs: [{targets: ['c:1']}]
alert_relabel_configs: [{action: labeldrop, regex: tmp}]
min_presentation: 6m
max_presentation: 2h
unknown_timeout: 2h",
            &["https://a:9093/am", "https://b/am", "http://c:1/"],
            &[],
        );
        check(
            "alertmanagers: [{static_configs: [{targets: ['http://a/x', 'h:99999', 'ok:1']}], api_version: v1, sigv4: {}}]",
            &["http://ok:1/"],
            &["write `v2`", "write `host:port`", "write `host:port`", "`sigv4` is not supported"],
        );
    }
}
