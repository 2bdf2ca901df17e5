//! Mail beside a real server, aiosmtpd: STARTTLS and AUTH, one that falls silent, one that is not who it
//! says.

use std::net::TcpListener;
use std::process::Command;

use crate::certificates::certificate;
use crate::support::{Home, Plan, Process, free_address, wait_until};

/// Listens with AUTH required, and with STARTTLS required or, told `implicit`, TLS from the first byte; writes each
/// mail into a file of its folder.
const SERVER: &str = r#"
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
folder, port = sys.argv[1], int(sys.argv[2])
class Keep:
    count = 0
    async def handle_DATA(self, server, session, envelope):
        Keep.count += 1
        secure = session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None
        with open(f"{folder}/mail{Keep.count}", "wb") as f:
            f.write(repr((secure, session.auth_data, envelope.rcpt_tos)).encode() + b"\n" + envelope.content)
        return "250 taken"
def login(server, session, envelope, mechanism, data):
    good = data.login == b"plimsoll" and data.password == b"hunter2"
    return AuthResult(success=good, handled=False, auth_data=data.login.decode())
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
if sys.argv[3] == "implicit":
    controller = Controller(Keep(), hostname="127.0.0.1", port=port, ssl_context=tls, auth_required=True,
                            authenticator=login, auth_require_tls=False)
else:
    controller = Controller(Keep(), hostname="127.0.0.1", port=port, tls_context=tls, require_starttls=True,
                            auth_required=True, authenticator=login, auth_require_tls=True)
controller.start()
while True: time.sleep(60)
"#;

struct Post {
    home: Home,
    port: u16,
    _server: Process,
}

/// A real server whose certificate is for these names, with STARTTLS.
fn post(names: &str) -> Post {
    post_with("starttls", names)
}

fn post_with(tls: &str, names: &str) -> Post {
    let home = Home::new(&Plan::default());
    certificate(home.path(), "", names);
    home.write("server.py", SERVER);
    home.write("mail.pw", "hunter2");
    let port = free_address().port();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(home.path().join("server.py")).arg(home.path()).arg(port.to_string()).arg(tls);
    let server = Process::start(command, &home.path().join("server.log"));
    wait_until("aiosmtpd listens", 20, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Post { home, port, _server: server }
}

impl Post {
    /// What `send-test mail` says with these keys: exit code and output.
    fn send(&self, port: u16, keys: &str) -> (i32, String) {
        let mail = format!(
            "mail: {{smtp_host: localhost, smtp_port: {port}, from: plimsoll@example.com, \
             to: [ops@example.com], timeout: 3s{keys}}}\n"
        );
        self.home.write("plimsoll.yaml", &format!("collector: {{}}\n{mail}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(["send-test", "mail", "--config"]).arg(self.home.path().join("plimsoll.yaml"));
        let output = command.env("NO_COLOR", "1").output().expect("it runs");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        (output.status.code().expect("it ended by itself"), text)
    }
}

const LOGIN: &str = ", username: plimsoll, password_file: mail.pw, ca_file: cert.pem";

#[test]
fn starttls_and_auth_with_a_real_server() {
    let post = post("DNS:localhost");
    let (code, said) = post.send(post.port, LOGIN);
    assert_eq!(code, 0, "{said}");
    let mail = std::fs::read_to_string(post.home.path().join("mail1")).expect("it was taken");
    assert!(
        mail.starts_with("(True, 'plimsoll', ['ops@example.com'])"),
        "over TLS, logged in: {mail}"
    );
    assert!(mail.contains("multipart/alternative") && mail.contains("A test"), "{mail}");

    // Nothing is sent without what was asked for.
    post.home.write("wrong.pw", "hunter3");
    let wrong = LOGIN.replace("mail.pw", "wrong.pw");
    let (code, said) = post.send(post.port, &wrong);
    assert!(code != 0 && said.contains("auth: ") && !said.contains("hunter3"), "{said}");
    let (code, said) = post.send(post.port, ", username: plimsoll, password_file: mail.pw");
    assert!(code != 0 && said.contains("tls: "), "a certificate nobody vouches for: {said}");
    certificate(post.home.path(), "other-", "DNS:localhost");
    let (code, said) = post.send(post.port, &LOGIN.replace("cert.pem", "other-cert.pem"));
    assert!(code != 0 && said.contains("tls: "), "another authority: {said}");
    let (code, said) = post.send(post.port, &format!("{LOGIN}, tls: implicit"));
    assert!(code != 0 && !said.contains("hunter2"), "no TLS from the first byte there: {said}");
    assert!(!post.home.path().join("mail2").exists(), "nothing else was taken");
}

#[test]
fn tls_from_the_first_byte_with_a_real_server() {
    let post = post_with("implicit", "DNS:localhost");
    let keys = format!("{LOGIN}, tls: implicit");
    let (code, said) = post.send(post.port, &keys);
    assert_eq!(code, 0, "{said}");
    let mail = std::fs::read_to_string(post.home.path().join("mail1")).expect("it was taken");
    assert!(mail.starts_with("(True, 'plimsoll', ['ops@example.com'])"), "{mail}");
    certificate(post.home.path(), "other-", "DNS:localhost");
    let (code, said) = post.send(post.port, &keys.replace("cert.pem", "other-cert.pem"));
    assert!(code != 0 && said.contains("tls: "), "another authority: {said}");
    assert!(!post.home.path().join("mail2").exists(), "nothing else was taken");
}

/// The running program, as on any morning.
#[test]
fn a_digest_over_starttls_with_a_real_server() {
    let post = post("DNS:localhost");
    let home = &post.home;
    let web = free_address();
    let config = format!(
        "collector: {{}}\nweb: {{listen: '{web}'}}\nstorage: {{path: '{}'}}\n\
         mail: {{smtp_host: localhost, smtp_port: {}, from: plimsoll@example.com, to: [ops@example.com]{LOGIN}, \
         digest: {{schedule: '* * * * *'}}}}\n",
        home.path().join("state").display(),
        post.port
    );
    home.write("plimsoll.yaml", &config);
    let process = home.start();
    let mail = || std::fs::read_to_string(home.path().join("mail1")).ok();
    wait_until("the digest of this minute", 90, || {
        mail().is_some_and(|mail| mail.contains("Subject"))
    });
    let mail = mail().expect("it was taken");
    assert!(mail.starts_with("(True, 'plimsoll', ['ops@example.com'])"), "{mail}");
    assert!(mail.contains("Auto-Submitted: auto-generated"), "{mail}");
    process.kill();
}

#[test]
fn a_server_of_another_name_gets_nothing() {
    let post = post("DNS:post.example.com");
    let (code, said) = post.send(post.port, LOGIN);
    assert!(code != 0 && said.contains("tls: "), "{said}");
    assert!(!post.home.path().join("mail1").exists());
}

#[test]
fn a_server_that_accepts_and_says_nothing_costs_our_own_time() {
    let post = post("DNS:localhost");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let (code, said) = post.send(port, LOGIN);
    assert!(code != 0 && said.contains("timeout: "), "{said}");
}
