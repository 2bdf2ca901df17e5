//! A TLS server for tests that asks for a certificate of the client's, too. Tests of the crate and of the
//! whole program share it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A throw-away authority with a server's and a client's certificate, made for tests alone.
pub const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/endpoint/testdata");

/// With that authority's certificate for loopback; nobody without one of it is listened to.
pub fn server_config() -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let file = |name: &str| format!("{TESTDATA}/{name}");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).expect("reads")).expect("a CA");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file("server.pem")).expect("reads")],
            PrivateKeyDer::from_pem_file(file("server.pem")).expect("reads"),
        );
    Arc::new(config.expect("a certificate"))
}
