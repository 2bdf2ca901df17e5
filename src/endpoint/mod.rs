//! How plimsoll reaches someone else over HTTP: addresses, credentials, TLS, and the client itself.
//!
//! Scrapes and Alertmanager share this, and they may not import each other, so it stands below
//! both. Its clients never follow a redirect (credentials would follow it) and never use a proxy
//! from the environment (Prometheus does not either, and `HTTP_PROXY` would break loopback). It
//! never prints a secret.

mod auth;
mod client;
mod escapes;
pub mod read;
mod redaction;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

pub use auth::{Auth, Secret};
pub use client::{Client, Pool, Route, causes, explain, holds_credentials, is_loopback, redact};
pub use read::TargetGroup;
pub use redaction::Redaction;
pub use tls::TlsOptions;

/// What `basic_auth`, `authorization` and `tls_config` say about one job or one Alertmanager.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpOptions {
    /// The `Authorization` header, if one is wanted.
    pub auth: Auth,
    /// Certificates and names for `https`.
    pub tls: TlsOptions,
}
