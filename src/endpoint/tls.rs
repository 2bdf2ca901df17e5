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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use reqwest::Url;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::super::{HttpOptions, Pool, explain};
    use super::*;

    /// For `metrics.example`, signed by itself, from 2020 to 2120. It protects nothing.
    const CERT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcDCCARagAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9tZXRyaWNz
LmV4YW1wbGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBoxGDAW
BgNVBAMMD21ldHJpY3MuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BK8VzO5mdWPGUBjxyuNxV1vPfo4EAmhZT9r7EjngKZEZcNMIVQZIQn+z2Icw70PI
zb0WIQqJwdLrolW93Yp+BiCjSzBJMBoGA1UdEQQTMBGCD21ldHJpY3MuZXhhbXBs
ZTAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBQOwIkSr8aUZAur9L6itanVVM33sjAK
BggqhkjOPQQDAgNIADBFAiBh7AJhRI3ZWuGCqEIU+PY7mKT1rLBGKd6wIdHZXTGi
2AIhANlyi7wV8qkMgS1A5YpYLm4XObiJp3Wu0WhXNASL1XRH
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYQctafhJZfoqM3Ep
jvFzT3XQz5NUPtGxI53kayUUOq2hRANCAASvFczuZnVjxlAY8crjcVdbz36OBAJo
WU/a+xI54CmRGXDTCFUGSEJ/s9iHMO9DyM29FiEKicHS66JVvd2KfgYg
-----END PRIVATE KEY-----
";

    /// A server that proves to be `metrics.example`; its port.
    fn serve() -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let cert = CertificateDer::from_pem_slice(CERT.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .expect("they belong together");
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = rustls::ServerConnection::new(Arc::clone(&config)).expect("valid");
                let mut stream = rustls::StreamOwned::new(session, stream);
                // A client that does not trust us hangs up here.
                if stream.read(&mut [0; 4096]).is_ok() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
                }
            }
        });
        port
    }

    /// How a request to that server ends with these options.
    async fn ask(pool: &Pool, tls: TlsOptions) -> Result<(), String> {
        let url = Url::parse(&format!("https://127.0.0.1:{}/", serve())).expect("a URL");
        let options = HttpOptions { tls, ..HttpOptions::default() };
        let client = pool.client(&url, None, &options).await?;
        client.http.get(client.url).send().await.map(drop).map_err(explain)
    }

    #[tokio::test]
    async fn trust_and_names_are_as_configured() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, CERT).expect("written");
        let trusting = || TlsOptions { ca_file: Some(ca.clone()), ..TlsOptions::default() };
        let named = Some("metrics.example".to_owned());

        let good = TlsOptions { server_name: named, ..trusting() };
        assert_eq!(ask(&Pool::default(), good).await, Ok(()));
        let blind = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        assert_eq!(ask(&Pool::default(), blind).await, Ok(()));
        let error = ask(&Pool::default(), trusting()).await.expect_err("it is not 127.0.0.1");
        assert!(error.contains("not valid for name"), "{error}");
        let other = TlsOptions { server_name: Some("other.example".to_owned()), ..trusting() };
        let error = ask(&Pool::default(), other).await.expect_err("it is not other.example");
        assert!(error.contains("other.example"), "{error}");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = dir.path().join("ca.pem");
        let options = || TlsOptions {
            ca_file: Some(ca.clone()),
            server_name: Some("metrics.example".to_owned()),
            ..TlsOptions::default()
        };
        let pool = Pool::default();
        std::fs::write(&ca, "not yet\n").expect("written");
        let error = ask(&pool, options()).await.expect_err("no certificate in it");
        assert!(error.contains("ca.pem"), "{error}");
        std::fs::write(&ca, CERT).expect("written");
        assert_eq!(ask(&pool, options()).await, Ok(()));
        std::fs::write(&ca, "gone again\n").expect("written");
        let file = std::fs::File::options().write(true).open(&ca).expect("opens");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("another time");
        ask(&pool, options()).await.expect_err("the kept client must not be used");
    }

    #[tokio::test]
    async fn a_client_certificate_is_read_with_its_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, CERT).expect("written");
        std::fs::write(&key, KEY.trim_end()).expect("written");
        let options = |key: &Path| TlsOptions {
            cert_file: Some(cert.clone()),
            key_file: Some(key.to_owned()),
            insecure_skip_verify: true,
            ..TlsOptions::default()
        };
        assert_eq!(ask(&Pool::default(), options(&key)).await, Ok(()));
        let error = ask(&Pool::default(), options(&dir.path().join("none"))).await;
        assert!(error.expect_err("no such file").contains("key_file"));
        let error = ask(&Pool::default(), options(&cert)).await.expect_err("no key in it");
        assert!(error.contains("cert.pem"), "{error}");
    }
}
