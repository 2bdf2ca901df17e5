//! One attempt at one webhook: sign, post, name the outcome.
//!
//! The bytes sent are the bytes frozen in the outbox. Redirects are not followed (a signed request
//! belongs to the address it was meant for), everything ends within one timeout, and of the answer
//! only 64 KiB are read and nothing is required. Addresses in errors are cut to their origin, since
//! a path may hold a token.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Certificate, Client, Identity, Response, Url, redirect};
use serde_json::{Map, Value};
use thiserror::Error as ThisError;

use super::sign::{SecretError, Secrets};
use crate::base::{Timestamp, format_duration, parse_rfc3339};
use crate::endpoint::{Redaction, explain};
use crate::outbox::{Answer, Attempt, Outcome};

/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// One of these makes a JSON object an answer.
const ANSWER_KEYS: [&str; 5] = ["decision", "reason", "outcome", "change_id", "verify_until"];
/// Most of a refusal's text that is kept.
const WHY_CHARS_MAX: usize = 200;
/// Clocks that are further apart are told of: more than an answer takes, less than the five minutes
/// after which receivers take a signature for a replayed one.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// Where webhooks go and how to get in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookConfig {
    /// The Control Plane's address; plain http only to loopback.
    pub url: String,
    /// One or two `whsec_` lines.
    pub secret_file: PathBuf,
    /// A bearer token, read anew for each attempt because such tokens live for minutes.
    pub bearer_file: Option<PathBuf>,
    /// Client certificate chain and key, PEM in one file.
    pub client_certificate_file: Option<PathBuf>,
    /// Certificate authorities to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// For one attempt, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

impl WebhookConfig {
    /// An address and a secret file; no other credentials, and 15 s (Standard Webhooks 1.0.0: 15
    /// to 30 s).
    pub fn new(url: &str, secret_file: &Path) -> WebhookConfig {
        WebhookConfig {
            url: url.to_owned(),
            secret_file: secret_file.to_owned(),
            bearer_file: None,
            client_certificate_file: None,
            ca_file: None,
            timeout: Duration::from_secs(15),
        }
    }
}

/// Why no webhook can be sent with this configuration.
#[derive(Debug, ThisError)]
pub enum WebhookError {
    /// Not an address.
    #[error("control_plane.url is not a URL: {0}")]
    Url(String),
    /// Neither http nor https.
    #[error("control_plane.url: scheme `{0}` is neither https nor http")]
    Scheme(String),
    /// Tenant data and signatures would go in the clear.
    #[error("control_plane.url: plain http is for loopback only; use https for `{0}`")]
    PlainHttp(String),
    /// A named file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The secret file's content.
    #[error("`{}` {why}", path.display())]
    Secret {
        /// Which.
        path: PathBuf,
        /// Why; not a source, whose text would be told a second time.
        why: SecretError,
    },
    /// A PEM file's content.
    #[error("`{}` holds no usable PEM: {why}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The client as a whole, usually the system's certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The way to the Control Plane.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    secrets: Secrets,
    bearer_file: Option<PathBuf>,
}

impl Webhook {
    /// Reads the files and sets up the client; nothing is sent.
    pub fn new(config: &WebhookConfig) -> Result<Webhook, WebhookError> {
        let url = Url::parse(&config.url).map_err(|error| WebhookError::Url(error.to_string()))?;
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(WebhookError::PlainHttp(origin(&url))),
            other => return Err(WebhookError::Scheme(other.to_owned())),
        }
        let path = &config.secret_file;
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        let secrets = Secrets::parse(&text)
            .map_err(|why| WebhookError::Secret { path: path.clone(), why })?;
        let client = client(config, &url, loopback)?;
        Ok(Webhook { client, url, secrets, bearer_file: config.bearer_file.clone() })
    }

    /// The address without path, query and password, for logs.
    pub fn origin(&self) -> String {
        origin(&self.url)
    }

    /// The keys webhooks are signed with; receipts are, too.
    pub fn secrets(&self) -> Secrets {
        self.secrets.clone()
    }

    /// Sends one attempt; `at` is its wall time.
    pub async fn send(&self, attempt: &Attempt, at: Timestamp) -> Outcome {
        let bearer = match self.bearer().await {
            Ok(bearer) => bearer,
            Err(why) => return Outcome::Misconfigured { why },
        };
        let (id, seconds) = (attempt.id.0.as_str(), at.as_millis().div_euclid(1000));
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secrets.sign(id, seconds, attempt.body.as_bytes()))
            .body(attempt.body.as_bytes().to_vec());
        if let Some(bearer) = &bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        match request.send().await {
            Ok(response) => {
                let ours = Redaction::of_header(bearer.as_ref()).and_url(&self.url);
                match response.status().is_success() {
                    true => taken(&body(response).await, attempt, &ours),
                    false => not_taken(response, at, &self.origin(), &ours).await,
                }
            }
            Err(error) => {
                let is_unsent = error.is_connect() || error.is_builder();
                let why = format!("{}: {}", self.origin(), explain(error));
                match is_unsent {
                    true => Outcome::RetryLater { after: None, why },
                    false => Outcome::Unanswered { after: None, why },
                }
            }
        }
    }

    async fn bearer(&self) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.bearer_file else { return Ok(None) };
        let token = tokio::fs::read_to_string(path).await.map_err(|error| {
            format!("cannot read bearer_token_file `{}`: {error}", path.display())
        })?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| format!("bearer_token_file `{}` holds no header value", path.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn client(config: &WebhookConfig, url: &Url, loopback: bool) -> Result<Client, WebhookError> {
    // Fails only if another part of the program was first, with the same provider.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut builder =
        Client::builder().timeout(config.timeout).redirect(redirect::Policy::none()).no_gzip();
    if loopback {
        // A proxy of the environment would carry loopback requests off this host.
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // The system's certificates may be missing in a container and are not needed.
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = &config.ca_file {
        let roots = Certificate::from_pem_bundle(&read(path)?).map_err(|e| pem(path, e))?;
        if roots.is_empty() {
            let why = "no certificate in it".to_owned();
            return Err(WebhookError::Pem { path: path.clone(), why });
        }
        builder = builder.tls_certs_only(roots);
    }
    if let Some(path) = &config.client_certificate_file {
        let identity = Identity::from_pem(&read(path)?).map_err(|e| pem(path, e))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| WebhookError::Tls(explain(error)))
}

fn read(path: &Path) -> Result<Vec<u8>, WebhookError> {
    fs::read(path).map_err(|source| WebhookError::File { path: path.to_owned(), source })
}

fn pem(path: &Path, error: reqwest::Error) -> WebhookError {
    WebhookError::Pem { path: path.to_owned(), why: explain(error) }
}

/// What follows from a status other than 2xx.
async fn not_taken(response: Response, at: Timestamp, origin: &str, ours: &Redaction) -> Outcome {
    let status = response.status();
    let why = format!("{origin}: HTTP {status}{}", clocks(&response, at).unwrap_or_default());
    match status.as_u16() {
        300..=399 => {
            Outcome::RetryLater { after: None, why: format!("{why}; redirects are not followed") }
        }
        // Wrong address, method, credentials or proxy: no message would get through.
        401 | 403..=405 | 407 | 410 => Outcome::Misconfigured { why },
        // Too early, too many, not now: whoever says so has not taken it.
        425 | 429 | 503 => Outcome::RetryLater { after: retry_after(&response, at), why },
        // Too slow, or broken in the middle of it: the receiver, or what a proxy asked in vain.
        408 | 500..=599 => Outcome::Unanswered { after: retry_after(&response, at), why },
        400..=499 => {
            let said = said(&body(response).await.struck(ours));
            Outcome::Refused { why: format!("{why}{said}") }
        }
        _ => Outcome::RetryLater { after: retry_after(&response, at), why },
    }
}

/// What follows from a 2xx. It counts whatever follows it: the receiver has the delivery. But what it says of
/// a request and nobody could read is told, since it may have meant to decline.
fn taken(body: &Body, attempt: &Attempt, ours: &Redaction) -> Outcome {
    let read = read_answer(&body.text).filter(|read| body.is_whole || *read != Answer::default());
    if !attempt.event_type.is_request() {
        let read = Answer { is_unclear: false, ..read.unwrap_or_default() };
        return Outcome::Accepted(struck(read, ours));
    }
    if let Some(read) = read {
        return understood(struck(read, ours));
    }
    let fault = match body.is_whole {
        true => "is not as the contract says",
        false => "broke off",
    };
    let said = said(&body.struck(ours));
    let reason = format!("it counts as accepted, for its answer {fault}{said}");
    Outcome::Accepted(Answer { reason: Some(reason), is_unclear: true, ..Answer::default() })
}

/// The answer in a body, which may be empty; `None` where there is another thing in it.
fn read_answer(body: &str) -> Option<Answer> {
    if matches!(body.trim(), "" | "null") {
        return Some(Answer::default());
    }
    let keys: Map<String, Value> = serde_json::from_str(body).ok()?;
    let is_ours = keys.is_empty() || ANSWER_KEYS.iter().any(|key| keys.contains_key(*key));
    let word = |key: &str| keys.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_odd = |key: &&str| keys.get(*key).is_some_and(|it| !it.is_null() && !it.is_string());
    let odd: Vec<&str> = ANSWER_KEYS.into_iter().filter(is_odd).collect();
    let answer = Answer {
        decision: word("decision"),
        reason: word("reason"),
        outcome: word("outcome"),
        change_id: word("change_id"),
        verify_until: word("verify_until"),
        is_unclear: !odd.is_empty(),
    };
    // What was decided counts, whatever stands beside it.
    (is_ours && (odd.is_empty() || answer.decision.is_some())).then(|| with_doubt(answer, &odd))
}

/// The answer, whose reason says which of its keys could not be read.
fn with_doubt(answer: Answer, odd: &[&str]) -> Answer {
    if odd.is_empty() {
        return answer;
    }
    let doubt = format!("not as the contract says: {}", odd.join(", "));
    let reason = match &answer.reason {
        Some(reason) => format!("{reason} ({doubt})"),
        None => doubt,
    };
    Answer { reason: Some(reason), ..answer }
}

/// Whoever answers a request with words that mean nothing does not want it: what comes after it must not wait
/// until it expires.
fn understood(answer: Answer) -> Outcome {
    let Some(fault) = answer.fault() else { return Outcome::Accepted(answer) };
    let said = |word: &Option<String>| said(word.as_deref().unwrap_or("null"));
    let (decision, result) = (said(&answer.decision), said(&answer.outcome));
    Outcome::Refused {
        why: format!("the answer is none: {fault}; it has decision{decision}, outcome{result}"),
    }
}

/// The answer without what is `ours`. Words of the contract stay, or a secret that is one would change what
/// the receiver said; so does the id of the change, by which the receiver knows it when we speak of it.
fn struck(answer: Answer, ours: &Redaction) -> Answer {
    let strike = |word: Option<String>| word.map(|word| ours.strike(&word));
    let is_known = answer.fault().is_none();
    let known = |word| if is_known { word } else { strike(word) };
    let is_time = answer.verify_until.as_deref().is_some_and(|at| parse_rfc3339(at).is_some());
    Answer {
        decision: known(answer.decision),
        reason: strike(answer.reason),
        outcome: known(answer.outcome),
        change_id: answer.change_id,
        verify_until: answer.verify_until.filter(|_| is_time),
        is_unclear: answer.is_unclear,
    }
}

/// The start of an answer's body.
struct Body {
    text: String,
    /// No error or timeout on the way ended it.
    is_whole: bool,
}

impl Body {
    /// What it says without what is `ours`, also where it ends within that.
    fn struck(&self, ours: &Redaction) -> String {
        match self.is_whole && self.text.len() < ANSWER_BYTES_MAX {
            true => ours.strike(&self.text),
            false => ours.strike_cut(&self.text),
        }
    }
}

async fn body(mut response: Response) -> Body {
    let mut body = Vec::new();
    let is_whole = loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break true,
            Err(_) => break false,
        };
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES_MAX {
            break true;
        }
    };
    Body { text: String::from_utf8_lossy(&body).into_owned(), is_whole }
}

/// A refusal's own words, on one line.
fn said(body: &str) -> String {
    let text: String =
        body.chars().take(WHY_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// How far the receiver's clock is from ours, if that is much: signatures carry the time.
fn clocks(response: &Response, at: Timestamp) -> Option<String> {
    let theirs = date(response)?;
    let (ahead, behind) = (theirs.since(at), at.since(theirs));
    let (apart, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let seconds = Duration::from_secs(apart.as_secs());
    (apart > CLOCKS_APART)
        .then(|| format!("; its clock is {} {word} ours", format_duration(seconds)))
}

/// The time on the receiver's clock.
fn date(response: &Response) -> Option<Timestamp> {
    http_date(response.headers().get(DATE)?.to_str().ok()?.trim())
}

/// `Retry-After` in seconds or as an HTTP date, which is one of the receiver's clock.
fn retry_after(response: &Response, at: Timestamp) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(http_date(text)?.since(date(response).unwrap_or(at))),
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7; the obsolete forms are not read).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (clock, zone) = (parts.next()?, parts.next()?);
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? / 3 + 1;
    (zone == "GMT").then(|| parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z")))?
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests;
