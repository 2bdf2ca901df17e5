//! The requests that a real Prometheus 2.42 was once asked, put to plimsoll: status, shape and the
//! texts of errors are those of the recorded answers.
//!
//! What is scraped and which rules run is rebuilt from the answers themselves. Reads
//! `../shared/data/prometheus-2.42-api.txt`, so plain `cargo test` leaves it out. Every
//! difference that is allowed is named in [`DIFFERENT`], with its reason.

mod running;

use std::fmt::Write;
use std::path::Path;

use running::{Server, exporter, free_port};
use serde_json::{Value, json};

/// What is answered otherwise on purpose.
const DIFFERENT: &[(&str, &str)] = &[
    ("status/flags", "404: Grafana would take any answer for Thanos and probe its ruler"),
    ("status/runtimeinfo", "404: it tells of Go's runtime and of a storage that is not here"),
    (
        "query?query=v%20%2B%20on(job)%20group_left%20h_bucket",
        "Prometheus 3 writes a series as name{labels}; 2.42 wrote {__name__=\"name\", labels}",
    ),
];

/// Whether a query ends within a millisecond is for the machine to say, not for a test: the same is asked with patience.
const HURRY: (&str, &str) = ("timeout=1ms", "timeout=1m");

/// A request and its answer.
struct Recorded {
    request: String,
    status: u16,
    body: String,
}

impl Recorded {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}", self.request))
    }

    fn asked(&self) -> String {
        format!("/api/v1/{}", self.request.replace(HURRY.0, HURRY.1))
    }

    fn is_different(&self) -> bool {
        DIFFERENT.iter().any(|(request, _)| *request == self.request)
    }
}

fn recorded() -> Vec<Recorded> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/prometheus-2.42-api.txt");
    let text = std::fs::read_to_string(path).expect("the answers were recorded");
    let blocks = text.split("### ").filter(|block| !block.is_empty());
    let one = |block: &str| {
        let (request, answer) = block.split_once('\n').expect("an answer");
        let status = answer.rsplit_once(" [").and_then(|(body, kind)| {
            let code = kind.split(' ').next()?.parse().ok()?;
            Some((body.to_owned(), code))
        });
        // One answer was cut when it was recorded, and with it the status.
        let (body, status) = status.unwrap_or((answer.to_owned(), 200));
        Recorded { request: request.to_owned(), status, body }
    };
    blocks.map(one).collect()
}

fn answer_to(all: &[Recorded], request: &str) -> Value {
    let found = all.iter().find(|recorded| recorded.request == request);
    found.unwrap_or_else(|| panic!("{request} was asked")).json()["data"].take()
}

/// The page that was scraped, as far as answers show it: vectors give values, metadata the types.
fn page(all: &[Recorded]) -> String {
    let mut page = String::new();
    for (family, entries) in answer_to(all, "metadata").as_object().expect("families") {
        let text = |field: &str| entries[0][field].as_str().expect("a text").to_owned();
        writeln!(page, "# HELP {family} {}", text("help")).expect("memory");
        writeln!(page, "# TYPE {family} {}", text("type")).expect("memory");
    }
    for name in ["v", "third", "big", "small", "nanv", "infv"] {
        let answer = answer_to(all, &format!("query?query={name}"));
        let value = answer["result"][0]["value"][1].as_str().expect("a value");
        writeln!(page, "{name} {value}").expect("memory");
    }
    // Of these only names and the two buckets are known.
    page + "c_total 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"
}

/// The rule file that was loaded. JSON is YAML.
fn rules(all: &[Recorded]) -> String {
    let answer = answer_to(all, "rules");
    let group = &answer["groups"][0];
    let rule = |rule: &Value| match rule["type"].as_str() {
        Some("recording") => json!({"record": rule["name"], "expr": rule["query"]}),
        _ => json!({
            "alert": rule["name"], "expr": rule["query"], "labels": rule["labels"],
            "annotations": rule["annotations"], "for": format!("{}s", rule["duration"]),
        }),
    };
    let rules: Vec<Value> = group["rules"].as_array().expect("rules").iter().map(rule).collect();
    let interval = format!("{}s", group["interval"]);
    json!({"groups": [{"name": group["name"], "interval": interval, "rules": rules}]}).to_string()
}

/// Keys and types; of a list, its first item.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) if is_point(items) => items.iter().map(shape).collect(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
    }
}

/// Without the one family that the test's exporter adds to every page.
fn without_own(mut answer: Value) -> Value {
    if let Some(families) = answer["data"].as_object_mut() {
        families.remove("counting_total");
    }
    answer
}

fn is_point(items: &[Value]) -> bool {
    items.len() == 2 && items[0].is_number() && items[1].is_string()
}

/// Errors are the same to the letter; place and hint, which Prometheus does not know, come behind.
fn is_same_error(ours: &str, recorded: &str) -> bool {
    let fields = recorded.strip_suffix('}').unwrap_or(recorded);
    let more = ours.strip_prefix(fields).unwrap_or("differs");
    more == "}" || more.starts_with(",\"position\":{") || more.starts_with(",\"hint\":\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered_alike() {
    let all = recorded();
    assert!(all.len() >= 40, "only {} requests were read", all.len());
    let dir = tempfile::tempdir().expect("a folder");
    let (exporter, port) = (exporter(page(&all)).await, free_port());
    std::fs::write(dir.path().join("r.yml"), rules(&all)).expect("written");
    let state = dir.path().join("state").display().to_string();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         scrape_configs:\n  - job_name: x\n    \
         static_configs: [{{targets: ['127.0.0.1:{exporter}'], labels: {{tenant: acme}}}}]\n\
         rule_files: ['r.yml']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:9']}}]}}]}}\n\
         storage: {{path: '{state}'}}\nwindow: {{keep: ['.*']}}\n\
         web: {{listen: '127.0.0.1:{port}'}}\n"
    );
    let path = dir.path().join("plimsoll.yaml");
    std::fs::write(&path, config).expect("written");
    let server = Server::plimsoll(port, &path);
    server.ready().await;
    server.until("/api/v1/alerts", |a| a.data()["alerts"][0]["state"] == "firing").await;
    let mut differences = Vec::new();
    for recorded in all.iter().filter(|recorded| !recorded.is_different()) {
        let ours = server.get(&recorded.asked()).await;
        let same = if !recorded.body.starts_with('{') {
            ours.body.trim_end() == recorded.body.trim_end()
        } else if recorded.status == 200 {
            shape(&without_own(ours.json())) == shape(&recorded.json())
        } else {
            is_same_error(&ours.body, &recorded.body)
        };
        if !same || ours.status != recorded.status {
            let Recorded { request, status, body } = recorded;
            differences
                .push(format!("{request}\n  {status} {body}\n  {} {}", ours.status, ours.body));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for (request, _) in DIFFERENT {
        let ours = server.get(&format!("/api/v1/{request}")).await;
        let wanted = if request.starts_with("status/") { 404 } else { 422 };
        assert_eq!(ours.status, wanted, "{request}");
    }
}
