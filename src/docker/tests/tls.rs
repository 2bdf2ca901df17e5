//! `dockerd --tlsverify`: TCP with TLS, which asks for a certificate of the client's, too.

use std::path::Path;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::endpoint::testing::{TESTDATA, server_config};
use crate::yaml::{Cursor, Problems, parse};

const OURS: &str = "{ca_file: ca.pem, cert_file: client.pem, key_file: client.pem}";

/// The section as somebody writes it.
fn section(text: &str) -> DockerConfig {
    let mut problems = Problems::default();
    let node = parse("a.yml", text, &mut problems).expect(text);
    let at = Cursor::root("a.yml", &node, &mut problems);
    let config = DockerConfig::read(at, Path::new(TESTDATA)).expect(text);
    assert!(problems.is_empty(), "{text}: {problems}");
    config
}

/// A daemon behind TLS, and the watch of it with this `tls_config`.
async fn bench(scripts: Vec<Script>, tls_config: &str) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (daemon, acceptor) = (Arc::new(Daemon::new(scripts)), TlsAcceptor::from(server_config()));
    let shared = Arc::clone(&daemon);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, daemon) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, daemon).await;
                }
            });
        }
    });
    let tls_config = match tls_config {
        "" => String::new(),
        written => format!("tls_config: {written}\n"),
    };
    let config = section(&format!("host: tcp://127.0.0.1:{port}\ntimeout: 5s\n{tls_config}"));
    let (tell, reports) = mpsc::channel(64);
    tokio::spawn(watch_with(patience(), config, Some(Timestamp(190_000)), tell));
    Bench { reports, _folder: tempfile::tempdir().expect("a folder"), daemon }
}

#[tokio::test]
async fn over_tls_with_our_certificate_events_are_told_and_taken_up_after_a_cut() {
    let scripts = vec![Script::Cut(event(200, "oom")), Script::Stay(event(201, "oom"))];
    let mut bench = bench(scripts, OURS).await;
    let told = bench.until("oom 201").await;
    assert_eq!(told[..3], ["connected 20.10", LISTED, "oom 200"]);
    assert!(told[3].starts_with("lost https://127.0.0.1:"), "{told:?}");
    assert_eq!(told[4..], ["connected 20.10", LISTED, "oom 201"]);
    assert_eq!(bench.asked_since(), ["185.000000000", "195.000000000"]);
}

/// Why the daemon behind TLS is not watched with this `tls_config`; it was asked nothing.
async fn lost(tls_config: &str) -> String {
    let mut bench = bench(vec![Script::Stay(event(200, "oom"))], tls_config).await;
    let told = bench.until("lost").await;
    assert!(bench.daemon.asked.lock().expect("held briefly").is_empty(), "{told:?}");
    told.concat()
}

#[tokio::test]
async fn a_daemon_of_another_authority_is_asked_nothing_and_it_is_said_why() {
    let why = lost("{ca_file: client.pem, cert_file: client.pem, key_file: client.pem}").await;
    assert!(why.contains("certificate: UnknownIssuer; `docker.tls_config.ca_file` must"), "{why}");
    let why = lost("{ca_file: none.pem}").await;
    assert!(why.contains("tls_config.ca_file") && why.contains("none.pem"), "{why}");
}

#[tokio::test]
async fn without_a_certificate_of_ours_or_without_tls_it_is_said_why() {
    let why = lost("{ca_file: ca.pem}").await;
    assert!(why.contains("CertificateRequired; `docker.tls_config.cert_file` must"), "{why}");
    let why = lost("").await;
    assert!(why.starts_with("lost http://127.0.0.1:"), "{why}");
    assert!(why.contains("a daemon with TLS needs `docker.tls_config`"), "{why}");
}
