//! plimsoll beside a real Prometheus: both scrape one exporter and load one rule file, then both are
//! asked the same, and the answers are compared. And vmalert, whose data source is plimsoll alone.
//!
//! Needs Debian's `prometheus` (2.42) and `victoria-metrics` (1.79, for `vmalert`), so
//! plain `cargo test` leaves it out. Values that depend on when each of the two scraped are compared by shape or within a bound; every other difference
//! that is allowed is named here, with its reason.

mod running;

use std::path::Path;

use running::{Answer, Server, encoded, exporter, free_port};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Every kind of sample, as in the recorded answers of Prometheus 2.42.
const METRICS: &str = r#"# HELP v test gauge
# TYPE v gauge
v{tenant="acme"} 7
v{tenant="globex"} 2.5
# TYPE h histogram
h_bucket{le="1"} 3
h_bucket{le="5"} 4
h_bucket{le="+Inf"} 4
h_sum 5
h_count 4
big 1e21
small 0.0000001
third 0.3333333333333333
nanv NaN
infv +Inf
neginf -Inf
escaped{path="C:\\dir\n\"x\"",empty=""} 1
"#;

const RULES: &str = r#"groups:
  - name: g
    interval: 1s
    rules:
      - record: job:v:sum
        expr: sum by (job) (v)
      - alert: High
        expr: v > 5
        labels: {severity: warning}
        annotations: {summary: 'v={{ $value }} on {{ $labels.tenant }}'}
      - alert: Held
        expr: v < 5
        for: 1h
        keep_firing_for: 5m
      - alert: Silent
        expr: v > 100
"#;

/// How two answers may differ.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// Not at all, but for the times of samples in a range of raw ones.
    Exactly,
    /// Numbers by this share at most: they depend on when each of the two scraped.
    Within(f64),
    /// Same status and same kind of error; the words are those of Prometheus 3, or ours.
    Error,
    /// Same fields of the same types; lists as long and in the same order.
    Shape,
}

use Compare::{Error, Exactly, Shape, Within};

/// `{T}` is a time both have data for, `{S}` a minute before.
const REQUESTS: &[(&str, Compare)] = &[
    ("query?query=1%2B1&time={T}", Exactly),
    ("query?query=1%2B1", Shape),
    ("query?query=%22a%22&time={T}", Exactly),
    ("query?query=time()&time={T}", Exactly),
    ("query?query=vector(1)&time={T}", Exactly),
    ("query?query=v&time={T}", Exactly),
    ("query?query=v", Shape),
    ("query?query=-v&time={T}", Exactly),
    ("query?query=big&time={T}", Exactly),
    ("query?query=small&time={T}", Exactly),
    ("query?query=third&time={T}", Exactly),
    ("query?query=nanv&time={T}", Exactly),
    ("query?query=infv&time={T}", Exactly),
    ("query?query=neginf&time={T}", Exactly),
    ("query?query=escaped&time={T}", Exactly),
    ("query?query=nosuch&time={T}", Exactly),
    ("query?query=up&time={T}", Exactly),
    ("query?query=scrape_samples_scraped&time={T}", Exactly),
    ("query?query=scrape_samples_post_metric_relabeling&time={T}", Exactly),
    ("query?query=scrape_series_added&time={T}", Exactly),
    ("query?query=job:v:sum&time={T}", Exactly),
    ("query?query=ALERTS&time={T}", Exactly),
    ("query?query=ALERTS_FOR_STATE&time={T}", Within(0.01)),
    ("query?query=sum%20by%20(job)%20(v)&time={T}", Exactly),
    ("query?query=sort_desc(v)&time={T}", Exactly),
    ("query?query=topk(1,v)&time={T}", Exactly),
    ("query?query=count_values(%22n%22,v)&time={T}", Exactly),
    ("query?query=quantile(0.3,v)&time={T}", Exactly),
    ("query?query=histogram_quantile(0.9,h_bucket)&time={T}", Exactly),
    ("query?query=v%20/%20on(instance)%20group_left%20h_sum&time={T}", Exactly),
    ("query?query=v%20%3E%20bool%205&time={T}", Exactly),
    ("query?query=v%20unless%20v%20%3E%205&time={T}", Exactly),
    ("query?query=absent(nosuch%7Ba=%22b%22%7D)&time={T}", Exactly),
    ("query?query=label_replace(v,%22x%22,%22$1%22,%22tenant%22,%22(.).*%22)&time={T}", Exactly),
    ("query?query=max_over_time(v[5s])&time={T}", Exactly),
    ("query?query=rate(counting_total[8s])&time={T}", Within(0.25)),
    ("query?query=delta(v[8s])&time={T}", Exactly),
    ("query?query=changes(v[8s])&time={T}", Exactly),
    ("query?query=max_over_time(sum(v)[5s:1s])&time={T}", Exactly),
    ("query?query=v%20@%20{T}&time=60", Exactly),
    ("query?query=v%20offset%201s&time={T}", Exactly),
    ("query?query=v%7Btenant=~%22a.*%22%7D&time={T}", Exactly),
    ("query?query=v%7Btenant!~%22a.*%22%7D&time={T}", Exactly),
    ("query?query=v&time=1", Exactly),
    ("query?query=up%20%3D%3D", Error),
    ("query", Error),
    ("query?query=v&time=abc", Exactly),
    ("query?query=rate(v)", Error),
    ("query?query=nosuch(v)", Error),
    ("query?query=v%20%2B%20on(job)%20group_left%20h_bucket&time={T}", Error),
    ("query?query=label_replace(v,%22tenant%22,%22%22,%22%22,%22%22)&time={T}", Error),
    ("query_range?query=v&start={T}&end={T}&step=1", Exactly),
    ("query_range?query=rate(v)&start={S}&end={T}&step=5", Error),
    ("query_range?query=%22a%22&start={S}&end={T}&step=5", Exactly),
    ("query_range?query=job:v:sum&start={T}&end={T}&step=1", Exactly),
    ("query_range?query=1&start=10&end=30&step=10", Exactly),
    ("query_range?query=v&start=10&end=30&step=10", Exactly),
    ("query_range?query=v&start=1&end=2&step=0", Exactly),
    ("query_range?query=v&start=5&end=2&step=1", Exactly),
    ("query_range?query=v&start=0&end=100000&step=1", Exactly),
    ("query_range?query=v[5m]&start={S}&end={T}&step=5", Exactly),
    ("query_exemplars?query=test&start=0&end=1", Exactly),
    ("format_query?query=sum(rate(v[5m]))by(a)", Exactly),
    ("labels", Exactly),
    ("labels?match[]=h_bucket", Exactly),
    ("label/__name__/values", Exactly),
    ("label/tenant/values", Exactly),
    ("label/tenant/values?match[]=v", Exactly),
    ("label/tenant/values?start=2030-01-01T00:00:00Z", Exactly),
    ("label/nosuch/values", Exactly),
    ("label/bad-name/values", Exactly),
    ("series?match[]=v", Exactly),
    ("series?match[]=v&match[]=%7Ble=%221%22%7D", Exactly),
    ("series", Exactly),
    ("series?match[]=%7B%7D", Exactly),
    ("rules", Shape),
    ("rules?type=alert", Shape),
    ("rules?type=record", Shape),
    ("rules?type=foo", Exactly),
    ("alerts", Shape),
    ("targets?state=active", Shape),
    ("targets?state=dropped", Exactly),
    ("alertmanagers", Exactly),
    ("status/buildinfo", Shape),
    ("metadata", Exactly),
    ("metadata?metric=v", Exactly),
    ("metadata?metric=nosuch", Exactly),
    ("metadata?limit=0", Exactly),
    ("metadata?limit=x", Exactly),
    ("metadata?limit_per_metric=1", Exactly),
    ("targets/metadata", Exactly),
    ("targets/metadata?metric=v", Exactly),
    ("targets/metadata?metric=v&match_target=%7Bjob=%22x%22%7D", Exactly),
    ("targets/metadata?match_target=%7Bjob=%22y%22%7D", Exactly),
    ("targets/metadata?match_target=%7B", Error),
    ("targets/metadata?limit=x", Exactly),
    ("scrape_pools", Exactly),
    ("query_range?query=1&start=0&end=1&step=Inf", Exactly),
    ("query_range?query=1&start=0&end=1e15&step=1", Exactly),
    ("nosuch", Exactly),
    // As people type it, and with what cannot be read.
    ("query?query=v{tenant=\"acme\"}>=0&time={T}", Exactly),
    ("query?query=%zz", Exactly),
    ("query?query=v&time={T}&x=%zz", Exactly),
    ("query?query=1&time=1;x=2", Shape),
    ("query?query=v{a=%22%ff%22}&time={T}", Exactly),
    ("query?query=time()&time=1.0005", Exactly),
    ("query?query=time()&time=-1.0005", Exactly),
    ("query?query=v{tenant=~%22a**%22}", Exactly),
    ("query?query=v{tenant=~%22[z-a]%22}", Exactly),
    ("query?query=v{tenant=~%22(?=a)%22}", Exactly),
    ("query?query=(v)[5m]", Exactly),
    ("query?query=v[5m:][5m:]", Exactly),
    ("query?query=sum%20by%20(a)%20v", Exactly),
    ("query?query=v%20On%20w", Exactly),
    ("series?match[]=%zz", Exactly),
    ("series?match[]=v&x=%zz", Exactly),
    ("labels?match[]=v&x=%zz", Exactly),
    ("labels?match[]=v{", Exactly),
    ("label/tenant/values?match[]=v{", Exactly),
    ("label/%ff/values", Exactly),
    ("label/a%20b/values", Exactly),
    ("format_query?query=v{%20%23%20c%0Aa=%22b%22}", Exactly),
];

/// Fields of one side alone, with the reason.
const ONE_SIDED: &[(&str, &str)] = &[
    ("keepFiringFor", "came with Prometheus 2.43"),
    ("keepFiringSince", "came with Prometheus 2.43"),
    ("lastError", "Prometheus leaves it out of rules without one"),
    ("hint", "an error of ours says what helps"),
    ("position", "and where in the query it arose"),
];

/// Names that only plimsoll has, where `window.keep` is `.*`: its own series, of which
/// some go by Prometheus's names, and their labels.
const OWN: &[&str] = &[
    "plimsoll_",
    "prometheus_",
    "node_class",
    "plan",
    "rule_group",
    "scrape_instance",
    "scrape_job",
];

#[tokio::test(flavor = "multi_thread")]
async fn both_answer_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let exporter = exporter(METRICS.to_owned()).await;
    let (prometheus, plimsoll) = start(dir.path(), exporter).await;
    for server in [&prometheus, &plimsoll] {
        let counted = encoded("count_over_time(job:v:sum[1m]) > 12");
        let path = format!("/api/v1/query?query={counted}");
        let enough =
            |answer: &Answer| answer.status == 200 && answer.data()["result"][0].is_object();
        server.until(&path, enough).await;
    }
    let now = prometheus.get("/api/v1/query?query=time()").await.data();
    let time = now["result"][0].as_f64().expect("seconds") - 1.0;
    let mut differences = Vec::new();
    for (request, compare) in REQUESTS {
        let path = request.replace("{T}", &time.to_string());
        let path = format!("/api/v1/{}", path.replace("{S}", &(time - 60.0).to_string()));
        let (theirs, ours) = (prometheus.get(&path).await, plimsoll.get(&path).await);
        if let Err(why) = differ(*compare, &theirs, &ours) {
            let (theirs, ours) = (theirs.body, ours.body);
            differences.push(format!("{request}: {why}\n  theirs {theirs}\n  ours   {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

async fn start(dir: &Path, exporter: u16) -> (Server, Server) {
    std::fs::write(dir.join("rules.yml"), RULES).expect("written");
    let common = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         scrape_configs:\n  - job_name: x\n    \
         static_configs: [{{targets: ['127.0.0.1:{exporter}'], labels: {{region: sg}}}}]\n\
         rule_files: ['rules.yml']\n"
    );
    let (their_port, our_port) = (free_port(), free_port());
    let theirs = dir.join("prometheus.yaml");
    std::fs::write(&theirs, &common).expect("written");
    let args = [
        format!("--config.file={}", theirs.display()),
        format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{their_port}"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let prometheus = Server::start(their_port, "prometheus", &args, &dir.join("prometheus.log"));
    let ours = dir.join("plimsoll.yaml");
    let state = dir.join("state").display().to_string();
    let own = format!(
        "storage: {{path: '{state}'}}\nwindow: {{keep: ['.*']}}\n\
         web: {{listen: '127.0.0.1:{our_port}'}}\n"
    );
    std::fs::write(&ours, common + &own).expect("written");
    let plimsoll = Server::plimsoll(our_port, &ours);
    plimsoll.ready().await;
    prometheus.ready().await;
    (prometheus, plimsoll)
}

/// An Alertmanager that takes every post and passes its body on.
async fn notified() -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let port = listener.local_addr().expect("is bound").port();
    let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"]") {
                match stream.read(&mut chunk).await {
                    Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
                    _ => break,
                }
            }
            heard.send(String::from_utf8_lossy(&request).into_owned()).ok();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.ok();
        }
    });
    (port, hearing)
}

/// Rules evaluated by vmalert on nothing but plimsoll's API, and the alerts it sends.
#[tokio::test(flavor = "multi_thread")]
async fn vmalert_evaluates_rules_on_plimsoll() {
    let dir = tempfile::tempdir().expect("a folder");
    let exporter = exporter(METRICS.to_owned()).await;
    let (_prometheus, plimsoll) = start(dir.path(), exporter).await;
    plimsoll.until("/api/v1/query?query=v", |a| a.data()["result"][0].is_object()).await;
    let (notifier, mut heard) = notified().await;
    let alerts = "groups:\n  - name: g\n    interval: 1s\n    rules:\n      \
                  - alert: Grown\n        expr: sum by (tenant) (max_over_time(v[30s])) > 5\n        \
                  for: 2s\n        annotations: {summary: 'v={{ $value }}'}\n";
    let rules = dir.path().join("vmalert.yml");
    std::fs::write(&rules, alerts).expect("written");
    let port = free_port();
    let args = [
        format!("-rule={}", rules.display()),
        format!("-datasource.url=http://127.0.0.1:{}", plimsoll.port),
        format!("-notifier.url=http://127.0.0.1:{notifier}"),
        format!("-httpListenAddr=127.0.0.1:{port}"),
        "-evaluationInterval=1s".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let log = dir.path().join("vmalert.log");
    let _vmalert = Server::start(port, "vmalert", &args, &log);
    let sent = tokio::time::timeout(running::PATIENCE, heard.recv()).await;
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let sent = sent.ok().flatten().unwrap_or_else(|| panic!("vmalert sent nothing: {}", said()));
    let (_, body) = sent.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {sent}"));
    assert_eq!(body.as_array().map(Vec::len), Some(1), "{body}");
    assert_eq!(body[0]["labels"]["alertname"], "Grown", "{body}");
    assert_eq!(body[0]["labels"]["tenant"], "acme", "{body}");
    assert_eq!(body[0]["annotations"]["summary"], "v=7", "{body}");
}

fn differ(compare: Compare, theirs: &Answer, ours: &Answer) -> Result<(), String> {
    if theirs.status != ours.status {
        return Err(format!("status {} and {}", theirs.status, ours.status));
    }
    if !theirs.body.starts_with('{') {
        return (theirs.body == ours.body).then_some(()).ok_or("other bodies".to_owned());
    }
    let (mut theirs, mut ours) = (theirs.json(), ours.json());
    if compare == Error {
        let kinds = (&theirs["errorType"], &ours["errorType"]);
        return match kinds.0.is_string() && kinds.0 == kinds.1 {
            true => Ok(()),
            false => Err(format!("error types {} and {}", kinds.0, kinds.1)),
        };
    }
    if let Some(Value::Array(names)) = ours.get_mut("data") {
        let own = |name: &str| OWN.iter().any(|own| name.starts_with(own));
        names.retain(|name| !name.as_str().is_some_and(own));
    }
    ordered(&mut theirs);
    ordered(&mut ours);
    same(compare, "", &theirs, &ours)
}

/// Vectors, rows of alerts and series come in no particular order.
fn ordered(node: &mut Value) {
    match node {
        Value::Array(items) => {
            items.iter_mut().for_each(ordered);
            if items.iter().all(Value::is_object) {
                items.sort_by_key(|item| {
                    let labels = item.get("metric").or(item.get("labels")).unwrap_or(item);
                    labels.to_string()
                });
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(ordered),
        _ => {}
    }
}

fn same(compare: Compare, at: &str, theirs: &Value, ours: &Value) -> Result<(), String> {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let at = format!("{at}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(theirs), Some(ours)) => same(compare, &at, theirs, ours)?,
                    _ if ONE_SIDED.iter().any(|(field, _)| field == key) => {}
                    (theirs, ours) => return Err(format!("{at}: {theirs:?} and {ours:?}")),
                }
            }
            Ok(())
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .try_for_each(|(n, (a, b))| same(compare, &format!("{at}[{n}]"), a, b)),
        (a, b) if a == b => Ok(()),
        (a, b) if compare == Shape && std::mem::discriminant(a) == std::mem::discriminant(b) => {
            Ok(())
        }
        (a, b) => match (compare, number(a), number(b)) {
            (Within(share), Some(a), Some(b)) if (a - b).abs() <= share * a.abs() => Ok(()),
            _ => Err(format!("{at}: {a} and {b}")),
        },
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
