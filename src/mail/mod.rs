//! Mail over SMTP: one letter, one connection, one deadline of our own.
//!
//! lettre's timeout covers the connect alone: a server that accepts and then says nothing would hold a
//! mail for ever, so every send stands within its own `timeout`. Without TLS nothing goes beyond
//! loopback, STARTTLS is required where it is asked for, and the password is read anew for each mail
//! and struck out of whatever a server says. When a mail is due, and when it is tried again, is decided
//! in [`crate::engine`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::base::Timestamp;
use crate::endpoint::{Redaction, causes};
use crate::engine::MailFailure;
use crate::letter::Letter;

/// Most of a failure's text that is kept.
const WHY_CHARS_MAX: usize = 500;
/// Passwords and certificates are small.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How the connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Plain at first, then TLS; without it nothing is sent.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// None; to loopback only.
    None,
}

impl Protection {
    /// The words of the configuration.
    pub const WORDS: [(&str, Protection); 3] = [
        ("starttls", Protection::StartTls),
        ("implicit", Protection::Implicit),
        ("none", Protection::None),
    ];

    /// The port that goes with it.
    pub fn port(self) -> u16 {
        match self {
            Protection::StartTls => 587,
            Protection::Implicit => 465,
            Protection::None => 25,
        }
    }
}

/// Where mail is handed over, and to whom it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailConfig {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// Certificate authorities to trust instead of Mozilla's.
    pub ca_file: Option<PathBuf>,
    /// Who we are, and the file with the password.
    pub login: Option<(String, PathBuf)>,
    /// The sender.
    pub from: Address,
    /// The readers.
    pub to: Vec<Address>,
    /// From the reading of our own files to the server's last word.
    pub timeout: Duration,
}

/// An address of mail, perhaps with a name: `Plimsoll <plimsoll@example.com>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address(Mailbox);

impl Address {
    /// Reads one; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Address, String> {
        text.parse().map(Address).map_err(|error| format!("`{text}` is no address: {error}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MailConfig {
    /// Sends a letter that was written at `at`; waits for files and for the server's word, together not
    /// longer than `timeout`.
    pub async fn send(&self, letter: &Letter, at: Timestamp) -> Result<(), MailFailure> {
        let sent = tokio::time::timeout(self.timeout, self.hand_over(letter, at)).await;
        sent.unwrap_or_else(|_| {
            let after = self.timeout.as_secs_f64();
            let why =
                format!("not sent after {after} s: the server, or a file of ours, kept it waiting");
            Err(fail("timeout", why))
        })
    }

    async fn hand_over(&self, letter: &Letter, at: Timestamp) -> Result<(), MailFailure> {
        let message = self.message(letter, at)?;
        let password = match &self.login {
            Some((_, file)) => Some(read_password(file).await?),
            None => None,
        };
        let transport = self.transport(password.as_deref()).await?;
        let Err(error) = transport.send(message).await else { return Ok(()) };
        let failure = explain(&error);
        // A server may repeat what it was told.
        let login = self.login.as_ref().zip(password.as_deref());
        let ours = login.map(|((username, _), password)| Redaction::of_login(username, password));
        let why = ours.unwrap_or_default().strike(&failure.why);
        Err(MailFailure { why: why.chars().take(WHY_CHARS_MAX).collect(), ..failure })
    }

    fn message(&self, letter: &Letter, at: Timestamp) -> Result<Message, MailFailure> {
        let sent_at =
            SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis().max(0).unsigned_abs());
        let mut builder =
            Message::builder().from(self.from.0.clone()).date(sent_at).message_id(None);
        for reader in &self.to {
            builder = builder.to(reader.0.clone());
        }
        let parts = MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone());
        let message = builder.subject(letter.subject.clone()).multipart(parts);
        let mut message = message.map_err(|error| fail("setup", error.to_string()))?;
        // So that nobody's absence note answers (RFC 3834).
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok(message)
    }

    async fn transport(
        &self,
        password: Option<&str>,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailFailure> {
        // The first caller installs the provider, later ones find it.
        rustls::crypto::ring::default_provider().install_default().ok();
        let tls = match self.protection {
            Protection::None => Tls::None,
            Protection::StartTls => Tls::Required(self.tls().await?),
            Protection::Implicit => Tls::Wrapper(self.tls().await?),
        };
        let mut builder: AsyncSmtpTransportBuilder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
                .port(self.port)
                .tls(tls)
                .timeout(Some(self.timeout));
        if let (Some((username, _)), Some(password)) = (&self.login, password) {
            builder = builder.credentials(Credentials::new(username.clone(), password.to_owned()));
        }
        Ok(builder.build())
    }

    async fn tls(&self) -> Result<TlsParameters, MailFailure> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let unusable =
                |why: String| fail("setup", format!("mail.ca_file {}: {why}", path.display()));
            let pem = read_file(path).await.map_err(|error| unusable(error.to_string()))?;
            let root = Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(root);
        }
        builder.build_rustls().map_err(|error| fail("setup", chain(&error)))
    }
}

/// A small regular file: others may never end, and a thread would wait for them after our time is over.
async fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let about = tokio::fs::metadata(path).await?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("is no regular file of at most 1 MiB"));
    }
    tokio::fs::read(path).await
}

async fn read_password(file: &Path) -> Result<String, MailFailure> {
    let unusable =
        |why: String| fail("setup", format!("mail.password_file {}: {why}", file.display()));
    let bytes = read_file(file).await.map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8".to_owned()))?;
    let password = text.trim();
    if password.is_empty() {
        return Err(fail("setup", format!("mail.password_file {} is empty", file.display())));
    }
    Ok(password.to_owned())
}

fn fail(reason: &'static str, why: String) -> MailFailure {
    MailFailure { reason, why }
}

/// What went wrong. Errors of the connect and of TLS are neither transient nor permanent to lettre, so
/// everything is tried again; the reason is for people.
fn explain(error: &Error) -> MailFailure {
    let why = chain(error);
    let status = error.status().map(u16::from);
    let lower = why.to_ascii_lowercase();
    let reason = match status {
        Some(530 | 534 | 535 | 538 | 454) => "auth",
        _ if error.is_timeout() => "timeout",
        _ if error.is_permanent() => "refused",
        _ if error.is_transient() => "later",
        _ if error.is_tls() || lower.contains("certificate") || lower.contains("tls") => "tls",
        _ if error.is_client() && lower.contains("auth") => "auth",
        _ => "connect",
    };
    fail(reason, why)
}

/// An error with all its causes on one line, however many it was written on.
fn chain(error: &dyn std::error::Error) -> String {
    causes(error).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert!(Address::parse("ops@example.com").is_ok());
        let named = Address::parse("운영 <ops@example.com>").expect("reads");
        assert!(named.to_string().contains("ops@example.com"));
        assert!(Address::parse("ops").expect_err("no address").contains("`ops` is no address"));
    }
}
