//! Docker over TCP and TLS, as `dockerd --tlsverify` listens: who is to be believed, and who we are.

use std::net::SocketAddr;
use std::path::Path;

use crate::certificates::certificate;
use crate::docker::{Daemon, SOON_S, run_plimsoll};
use crate::support::{free_address, pause};

/// A daemon that shows `server-` and hears whoever shows `client-`.
fn daemon(address: SocketAddr, certificates: &Path) -> Daemon {
    let file = |name: &str| certificates.join(name).display().to_string();
    Daemon::start_with(&[
        &format!("--host=tcp://{address}"),
        "--tlsverify",
        &format!("--tlscacert={}", file("client-cert.pem")),
        &format!("--tlscert={}", file("server-cert.pem")),
        &format!("--tlskey={}", file("server-key.pem")),
    ])
}

/// The section `docker` for it.
fn section(address: SocketAddr, certificates: &Path, (ca, own): (&str, Option<&str>)) -> String {
    let file = |name: &str, kind: &str| {
        certificates.join(format!("{name}-{kind}.pem")).display().to_string()
    };
    let own = own.map_or_else(String::new, |own| {
        format!(", cert_file: '{}', key_file: '{}'", file(own, "cert"), file(own, "key"))
    });
    format!("{{host: 'tcp://{address}', tls_config: {{ca_file: '{}'{own}}}}}", file(ca, "cert"))
}

#[test]
fn a_docker_behind_tls_is_heard_if_both_sides_are_who_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["server-", "client-", "other-"] {
        certificate(folder.path(), name, "IP:127.0.0.1");
    }
    let address = free_address();
    let mut docker = daemon(address, folder.path());
    let small = ["--memory", "16m", "--memory-swap", "16m"];
    docker.load("acme-first", &small, &["climb"]);
    let right = section(address, folder.path(), ("server", Some("client")));
    let (home, mut process, plimsoll) = run_plimsoll(&right);
    home.wait_for_log("Docker answers", SOON_S);
    docker.load("acme-oom", &small, &["climb"]);
    plimsoll.kills("acme-oom", 1.0, 0.0);
    plimsoll.is("plimsoll_container_ends_total{container=\"acme-oom\",reason=\"oom\"}", 1.0);
    docker.dies_and_begins_anew(|| {
        plimsoll.is("plimsoll_docker_up", 0.0);
        // Its containerd dies a moment later, and the next would take it for alive.
        pause(3000);
    });
    plimsoll.is("plimsoll_docker_up", 1.0);
    docker.load("acme-later", &small, &["climb"]);
    plimsoll.kills("acme-later", 1.0, 0.0);
    plimsoll.kills("acme-oom", 1.0, 0.0);
    process.signal("TERM");
    assert!(process.wait(SOON_S).success());
    for (wrong, want) in [
        (("other", Some("client")), "UnknownIssuer; `docker.tls_config.ca_file`"),
        (("server", Some("other")), "BadCertificate; `docker.tls_config.cert_file`"),
        (("server", None), "; `docker.tls_config.cert_file`"),
    ] {
        let (home, mut process, plimsoll) = run_plimsoll(&section(address, folder.path(), wrong));
        home.wait_for_log("Docker does not answer", SOON_S);
        let said = home.log();
        let line = said.lines().find(|line| line.contains("Docker does not answer"));
        assert!(line.is_some_and(|line| line.contains(want)), "{wrong:?}: {said}");
        plimsoll.is("plimsoll_docker_up", 0.0);
        process.signal("TERM");
        assert!(process.wait(SOON_S).success());
    }
}
