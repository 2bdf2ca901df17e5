//! Asking a program over HTTP, as plainly as it can be done.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::port::free_port;

/// Where a program can be told to listen, also again after it was killed.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The body of a page, if it answers 200.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split_whitespace().nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

/// What an instant query finds now: each series' labels and value; nothing while nobody answers.
pub fn query(address: SocketAddr, promql: &str) -> Vec<(Value, f64)> {
    let encoded: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let Some(body) = get(address, &format!("/api/v1/query?query={encoded}")) else {
        return Vec::new();
    };
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let found = answer["data"]["result"].as_array().expect("a vector");
    let value = |series: &Value| series["value"][1].as_str().and_then(|text| text.parse().ok());
    found
        .iter()
        .map(|series| (series["metric"].clone(), value(series).expect("a number")))
        .collect()
}
