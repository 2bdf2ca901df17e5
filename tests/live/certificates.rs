//! Certificates for servers and clients on loopback, each signed by itself: whoever is to believe one is given it.

use std::path::Path;
use std::process::Command;

/// `<name>cert.pem` and `<name>key.pem` in a folder, for these names (`IP:127.0.0.1`, `DNS:localhost`).
pub fn certificate(dir: &Path, name: &str, names: &str) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
    command.arg("-subj").arg(format!("/CN={name}test"));
    command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-addext").arg(format!("subjectAltName={names}"));
    command.arg("-keyout").arg(dir.join(format!("{name}key.pem")));
    command.arg("-out").arg(dir.join(format!("{name}cert.pem")));
    let output = command.output().expect("openssl is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
