//! `tls_config`: whom to trust, what to show, which name to expect.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reqwest::{Certificate, ClientBuilder, Identity};

/// Prometheus's `tls_config`, as far as plimsoll has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsOptions {
    /// Trust these roots and no others. Without it, the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub cert_file: Option<PathBuf>,
    /// The client certificate's key (PEM).
    pub key_file: Option<PathBuf>,
    /// The name to ask for and to find in the certificate, instead of the address's host.
    pub server_name: Option<String>,
    /// Believe any certificate.
    pub insecure_skip_verify: bool,
}

/// When each file was last changed: a client built from other times is out of date.
pub type Stamp = Vec<Option<SystemTime>>;

impl TlsOptions {
    /// The files as they stand now. Empty, and free of I/O, where no file is configured.
    pub(super) async fn stamp(&self) -> Stamp {
        let mut times = Vec::new();
        for path in [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten() {
            times.push(tokio::fs::metadata(path).await.and_then(|m| m.modified()).ok());
        }
        times
    }

    /// Applies certificates and trust to a client for `https`.
    pub(super) async fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        if let Some(path) = &self.ca_file {
            let bad = |error| format!("tls_config.ca_file {}: {error}", path.display());
            let pem = read(path, "tls_config.ca_file").await?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(bad)?;
            if roots.is_empty() {
                return Err(format!("tls_config.ca_file {}: no certificate", path.display()));
            }
            builder = builder.tls_certs_only(roots);
        }
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            let mut pem = read(cert, "tls_config.cert_file").await?;
            pem.push(b'\n');
            pem.extend(read(key, "tls_config.key_file").await?);
            let identity = Identity::from_pem(&pem).map_err(|error| {
                format!("tls_config: {} with {}: {error}", cert.display(), key.display())
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder.tls_danger_accept_invalid_certs(self.insecure_skip_verify))
    }
}

async fn read(path: &Path, key: &str) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("{key} {}: {error}", path.display()))
}
