//! HTTP clients, built late and kept alive.
//!
//! A [`Pool`] belongs to one job or one Alertmanager. It builds a client the first time a kind of
//! connection is needed, so that a host without system certificates can still scrape plain HTTP,
//! and builds it again when a certificate file has changed. Connections are kept between requests.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Url};

use super::HttpOptions;
use super::tls::Stamp;

/// Sent with every request.
const USER_AGENT: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));

/// Query parameters whose values are not shown: they carry credentials in the wild.
const SECRET_WORDS: [&str; 6] = ["token", "secret", "password", "passwd", "key", "auth"];

/// What kind of connection a request needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// TLS or not.
    https: bool,
    /// Whether the other side may compress its answer.
    gzip: bool,
    /// Connect to this socket instead of the host.
    socket: Option<PathBuf>,
    /// With `server_name`: the host to connect to while the URL carries the name.
    host: Option<String>,
}

/// A client for one request, with the URL as it must be asked.
pub struct Client {
    /// Sends the request.
    pub http: reqwest::Client,
    /// The URL to send it to; its host is `server_name` where one is configured.
    pub url: Url,
    /// The `Host` header, where it differs from the URL's.
    pub host: Option<String>,
}

/// The clients of one job, by kind of connection.
#[derive(Debug, Default)]
pub struct Pool {
    /// Held only to look up or insert, never across an await.
    clients: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    route: Route,
    stamp: Stamp,
    http: reqwest::Client,
}

impl Pool {
    /// The client for `url`, over `socket` if there is one, with `options`. The error names the
    /// setting or the file at fault.
    pub async fn client(
        &self,
        url: &Url,
        socket: Option<&PathBuf>,
        options: &HttpOptions,
    ) -> Result<Client, String> {
        let (mut asked, mut host) = (url.clone(), None);
        let mut route = Route {
            https: url.scheme() == "https",
            gzip: socket.is_none() && !is_loopback(url),
            socket: socket.cloned(),
            host: None,
        };
        if let (true, Some(name)) = (route.https, &options.tls.server_name) {
            route.host = url.host_str().map(|h| h.trim_matches(['[', ']']).to_owned());
            host = Some(url.authority().to_owned());
            asked
                .set_host(Some(name))
                .map_err(|error| format!("tls_config.server_name `{name}`: {error}"))?;
        }
        let stamp = if route.https { options.tls.stamp().await } else { Stamp::new() };
        let known = self.lock().iter().find(|e| e.route == route && e.stamp == stamp).map(
            // A client is a handle; cloning it shares the connections.
            |entry| entry.http.clone(),
        );
        let http = match known {
            Some(http) => http,
            None => {
                let http = build(&route, options).await?;
                let mut clients = self.lock();
                clients.retain(|entry| entry.route != route);
                clients.push(Entry { route, stamp, http: http.clone() });
                http
            }
        };
        Ok(Client { http, url: asked, host })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.clients.lock().expect("nothing panics while holding the list of clients")
    }
}

async fn build(route: &Route, options: &HttpOptions) -> Result<reqwest::Client, String> {
    // The first caller installs the provider, later ones find it: reqwest panics without one.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut builder = ClientBuilder::new()
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(Policy::none())
        .gzip(route.gzip)
        .retry(reqwest::retry::never());
    builder = match route.https {
        true => options.tls.apply(builder).await?,
        // Plain HTTP needs no roots, and looking for the system's would fail without them.
        false => builder.tls_certs_only([]),
    };
    if let Some(socket) = &route.socket {
        builder = builder.unix_socket(socket.as_path());
    }
    if let Some(host) = &route.host {
        builder = builder.dns_resolver(Arc::new(Fixed(host.clone())));
    }
    builder.build().map_err(|error| format!("cannot build an HTTP client: {}", explain(error)))
}

/// Answers every name with the addresses of one host: `server_name` is what is asked for in TLS,
/// the address is where the connection goes.
struct Fixed(String);

impl Resolve for Fixed {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::new(ip, 0)],
                Err(_) => tokio::net::lookup_host((host.as_str(), 0)).await?.collect(),
            };
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether the host of `url` is this machine by name or address.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether an address carries a user or a password, which would be shown wherever it is.
pub fn holds_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// An error of the client with all its causes on one line, without the URL (which may hold
/// credentials).
pub fn explain(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

/// An error with all its causes on one line.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        // hyper and rustls repeat each other; the same words twice help nobody.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

/// `url` as it may be shown: without user, password, fragment, or the values of query parameters
/// that look like credentials.
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, which have no user either.
    shown.set_username("").ok();
    shown.set_password(None).ok();
    shown.set_fragment(None);
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| name.contains(word))
    };
    if url.query_pairs().any(|(name, _)| secret(&name)) {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if secret(&name) { "***".to_owned() } else { value.into_owned() };
                (name.into_owned(), value)
            })
            .collect();
        shown.query_pairs_mut().clear().extend_pairs(pairs);
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (text, want) in [
            ("http://localhost:8080/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:80/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&url(text)), want, "{text}");
        }
    }

    #[test]
    fn shown_urls_hold_no_secrets() {
        for (text, want) in [
            ("http://u:p@h:1/metrics", "http://h:1/metrics"),
            ("http://h/m?type=docker&max_age=2s", "http://h/m?type=docker&max_age=2s"),
            ("http://h/m?a=b&api_token=x", "http://h/m?a=b&api_token=***"),
        ] {
            assert_eq!(redact(&url(text)), want);
        }
    }

    #[tokio::test]
    async fn plain_http_needs_no_certificates_and_files_are_named() {
        let pool = Pool::default();
        let plain = HttpOptions::default();
        pool.client(&url("http://127.0.0.1:1/"), None, &plain).await.expect("no TLS, no roots");
        let mut options = HttpOptions::default();
        options.tls.ca_file = Some("/nonexistent/ca.pem".into());
        let error = pool.client(&url("https://127.0.0.1:1/"), None, &options).await.err();
        let error = error.expect("no such file");
        assert!(error.contains("ca_file /nonexistent/ca.pem"), "{error}");
    }

    #[tokio::test]
    async fn a_server_name_replaces_the_host_but_not_the_address() {
        let mut options = HttpOptions::default();
        options.tls.server_name = Some("metrics.example".to_owned());
        options.tls.insecure_skip_verify = true;
        let asked = Pool::default()
            .client(&url("https://127.0.0.1:9443/m"), None, &options)
            .await
            .expect("built");
        assert_eq!(asked.url.as_str(), "https://metrics.example:9443/m");
        assert_eq!(asked.host.as_deref(), Some("127.0.0.1:9443"));
    }
}
