//! A Control Plane behind TLS that wants a client certificate and a bearer besides the signature: the
//! real program shows all three, and shows nothing to a server whose authority it does not trust.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::{ServerConnection, StreamOwned};

use self::testing::{TESTDATA, server_config};
use crate::support::{Home, Page, Plan, SECRET, wait_until};

#[path = "../../src/endpoint/testing.rs"]
mod testing;

const TOKEN: &str = "eyJ.a-token.of-minutes";
const RULE: &str = "{alert: High, expr: 'load > 0.9'}";

/// What was posted, headers and body, by whoever passed the handshake; and how many did not.
#[derive(Default)]
struct Heard {
    posts: Vec<(HeaderMap, Vec<u8>)>,
    refused: usize,
}

fn serve() -> (SocketAddr, Arc<Mutex<Heard>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let heard = Arc::new(Mutex::new(Heard::default()));
    let (log, config) = (Arc::clone(&heard), server_config());
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = BufReader::new(StreamOwned::new(connection, socket));
            let post = read(&mut stream);
            let mut log = log.lock().expect("no panic");
            match post {
                Some(post) => log.posts.push(post),
                None => log.refused += 1,
            }
            let stream = stream.get_mut();
            stream.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n").ok();
            stream.conn.send_close_notify();
            stream.flush().ok();
        }
    });
    (address, heard)
}

/// One request; nothing if the handshake does not come to its end.
fn read(stream: &mut impl BufRead) -> Option<(HeaderMap, Vec<u8>)> {
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::try_from(name).expect("a header's name");
        headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    let length = headers["content-length"].to_str().expect("text").parse().expect("a number");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((headers, body))
}

fn plan(target: &Page, address: SocketAddr, authority: &str, certificate: &str) -> Plan {
    let more = format!(
        "control_plane: {{url: 'https://{address}/hook', secret_file: secret, timeout: 2s, \
         ca_file: '{TESTDATA}/{authority}', bearer_token_file: token{certificate}}}\n"
    );
    let plan = Plan { rules: RULE.to_owned(), more, ..Plan::default() };
    plan.job("t", target.address(), "")
}

#[test]
fn certificate_bearer_and_signature_go_to_the_authority_that_is_trusted_and_to_no_other() {
    let (address, heard) = serve();
    let target = Page::new("load 0.95\n");
    let certificate = format!(", client_certificate_file: '{TESTDATA}/client.pem'");
    // Not the one that signed the server's certificate.
    let home = Home::new(&plan(&target, address, "client.pem", &certificate));
    home.write("token", TOKEN);
    let process = home.start();
    let refused = || heard.lock().expect("no panic").refused;
    wait_until("it is tried", 20, || refused() >= 2);
    home.wait_for_log("a webhook failed and will be repeated", 10);
    assert!(home.log().contains("certificate"), "it is said why");

    // The right one, but no certificate of our own: the server hangs up.
    home.configure(&plan(&target, address, "ca.pem", ""));
    process.signal("HUP");
    home.wait_for_log("configuration", 10);
    let before = refused();
    wait_until("it is tried without", 40, || refused() > before);
    assert!(heard.lock().expect("no panic").posts.is_empty(), "nobody was shown anything");

    home.configure(&plan(&target, address, "ca.pem", &certificate));
    process.signal("HUP");
    wait_until("it arrives", 40, || !heard.lock().expect("no panic").posts.is_empty());
    let heard = heard.lock().expect("no panic");
    let (headers, body) = &heard.posts[0];
    assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
    let oracle = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    oracle.verify(body, headers).expect("a good signature");
    let event: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!((&event["type"], &event["data"]["alert"]), (&"alert.firing".into(), &"High".into()));
    let log = home.log();
    assert!(!log.contains(TOKEN) && !log.contains(SECRET), "secrets are told to nobody else");
}
