//! The HTTP interface of the real program, beside an exporter of the test's own: what Grafana, a
//! health check and an operator with curl get.

mod running;

use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::promql::{ParseOptions, parse};
use running::{Server, encoded, exporter, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const METRICS: &str = r#"# TYPE v gauge
v{tenant="acme"} 7
v{tenant="globex"} 2
# TYPE h histogram
h_bucket{le="1"} 3
h_bucket{le="+Inf"} 4
h_sum 5
h_count 4
skipped 1
"#;

const RULES: &str = r#"groups:
  - name: g
    rules:
      - record: job:v:sum
        expr: sum by (job) (v)
      - alert: High
        expr: v > 5
        labels: {severity: warning}
        annotations: {summary: 'v={{ $value }} on {{ $labels.tenant }}'}
"#;

/// A plimsoll that scrapes and evaluates twice a second.
struct Scene {
    dir: TempDir,
    exporter: u16,
    server: Server,
}

impl Scene {
    async fn new(web: &str) -> Scene {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("rules.yml"), RULES).expect("written");
        let (exporter, port) = (exporter(METRICS.to_owned()).await, free_port());
        let config = write_config(dir.path(), exporter, port, web);
        let server = Server::plimsoll(port, &config);
        server.ready().await;
        Scene { dir, exporter, server }
    }

    async fn query(&self, query: &str) -> Value {
        self.server.get(&format!("/api/v1/query?query={}", encoded(query))).await.data()
    }
}

fn write_config(dir: &Path, exporter: u16, port: u16, web: &str) -> PathBuf {
    let state = dir.join("state").display().to_string();
    let text = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms}}\n\
         scrape_configs:\n  - job_name: x\n    static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\n\
         rule_files: ['rules.yml']\n\
         storage: {{path: '{state}'}}\n\
         window: {{keep: ['h_.*', counting_total, up]}}\n\
         web: {{listen: '127.0.0.1:{port}'{web}}}\n"
    );
    let path = dir.join("plimsoll.yaml");
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_see_what_is_scraped() {
    let scene = Scene::new("").await;
    let (server, instance) = (&scene.server, format!("127.0.0.1:{}", scene.exporter));
    let ask = async |path: &str| server.get(&format!("/api/v1/{path}")).await.data();

    let found = scene.query(r#"v{tenant="acme"}"#).await;
    assert_eq!(found["resultType"], "vector");
    let metric = json!({"__name__": "v", "instance": instance, "job": "x", "tenant": "acme"});
    assert_eq!(found["result"][0]["metric"], metric);
    assert_eq!(found["result"][0]["value"][1], "7");
    let found = server.post("/api/v1/query", "query=sum(v)").await.data();
    assert_eq!(found["result"][0]["value"][1], "9", "by POST as well");
    let found = scene.query("1+1").await;
    assert_eq!((&found["resultType"], &found["result"][1]), (&json!("scalar"), &json!("2")));
    let found = scene.query("histogram_quantile(0.5, h_bucket)").await;
    assert_eq!(found["result"][0]["value"][1], "0.6666666666666666");

    // Two scrapes, then a range whose last steps see them.
    let counted = "query?query=count_over_time(v%7Btenant%3D%22acme%22%7D[1m])";
    let two = |found: &Value| found["result"][0]["value"][1].as_str().map(|n| n != "1");
    server.until(&format!("/api/v1/{counted}"), |a| two(&a.data()) == Some(true)).await;
    let now = scene.query("time()").await["result"][0].as_f64().expect("seconds");
    let path = format!("query_range?query=v&start={}&end={now}&step=1", now - 60.0);
    let found = ask(&path).await;
    assert_eq!(found["resultType"], "matrix");
    let values = found["result"][0]["values"].as_array().expect("points");
    assert_eq!(values.last(), Some(&json!([now, "7"])));
    assert!(values.len() < 61, "nothing was scraped a minute ago");
    let path = format!("query?query=v+offset+-30s&time={}", now - 30.0);
    assert_eq!(ask(&path).await["result"][0]["value"][1], "7", "ahead of the query's time");
    let path = format!("query?query=v+%40+{now}&time=60");
    assert_eq!(ask(&path).await["result"][0]["value"][1], "7", "at a time of its own");

    let found = ask("labels").await;
    for name in ["__name__", "instance", "job", "le", "tenant"] {
        assert!(found.as_array().is_some_and(|list| list.contains(&json!(name))), "{found}");
    }
    assert_eq!(ask("label/tenant/values").await, json!(["acme", "globex"]));
    assert_eq!(ask("label/tenant/values?match[]=h_sum").await, json!([]));
    assert_eq!(ask("label/tenant/values?start=4000000000").await, json!([]));
    assert_eq!(ask("series?match[]=v%7Btenant%3D%22acme%22%7D").await, json!([metric]));

    let answer = server.get("/api/v1/query?query=skipped").await.json();
    assert_eq!(answer["data"]["result"], json!([]));
    let warning = answer["warnings"][0].as_str().expect("a warning");
    assert!(
        warning.starts_with("metric \"skipped\" is not read") && warning.contains("window.keep")
    );
    let answer = server.get("/api/v1/query?query=scrape_duration_seconds").await.json();
    assert_eq!(answer["warnings"], Value::Null, "no rule reads it, but it is there");

    let answer = server.get("/api/v1/query?query=up%20%3D%3D").await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (400, &json!("bad_data")));
    let answer = server.get("/api/v1/query?query=v%20%2B%20on(x)%20v").await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (422, &json!("execution")));
    assert_eq!(server.get("/api/v1/status/flags").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_rules_alerts_and_targets() {
    let scene = Scene::new("").await;
    let server = &scene.server;
    let firing = |answer: &running::Answer| answer.data()["alerts"][0]["state"] == "firing";
    let alerts = server.until("/api/v1/alerts", firing).await.data();
    let alert = &alerts["alerts"][0];
    assert_eq!(alert["annotations"], json!({"summary": "v=7 on acme"}));
    assert_eq!((&alert["labels"]["alertname"], &alert["value"]), (&json!("High"), &json!("7e+00")));
    assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(1));

    let groups = server.get("/api/v1/rules").await.data();
    let group = &groups["groups"][0];
    assert_eq!((&group["name"], &group["interval"]), (&json!("g"), &json!(0.5)));
    let rules = group["rules"].as_array().expect("rules");
    assert_eq!(rules[0]["query"], "sum by (job) (v)");
    assert_eq!((&rules[1]["state"], &rules[1]["health"]), (&json!("firing"), &json!("ok")));
    let found = scene.query("job:v:sum").await;
    assert_eq!(found["result"][0]["value"][1], "9", "records can be queried");

    let targets = server.get("/api/v1/targets?state=active").await.data();
    let target = &targets["activeTargets"][0];
    assert_eq!((&target["health"], &target["scrapePool"]), (&json!("up"), &json!("x")));
    assert_eq!(target["scrapeUrl"], format!("http://127.0.0.1:{}/metrics", scene.exporter));
    let built = server.get("/api/v1/status/buildinfo").await.data();
    assert!(built["version"].is_string(), "{built}");

    assert_eq!(server.get("/-/healthy").await.body, "plimsoll is healthy.\n");
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    let reload = server.post("/-/reload", "").await;
    assert_eq!((reload.status, reload.body.as_str()), (403, "Lifecycle API is not enabled."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_a_good_file_and_refuses_a_bad_one() {
    let scene = Scene::new(", enable_lifecycle: true").await;
    let (server, rules) = (&scene.server, scene.dir.path().join("rules.yml"));
    let names = async || {
        let found = server.get("/api/v1/rules").await.data();
        found["groups"][0]["rules"].as_array().expect("rules").len()
    };
    std::fs::write(&rules, RULES.replace("v > 5", "v > (5")).expect("written");
    let answer = server.post("/-/reload", "").await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("rules.yml:"), "says where: {}", answer.body);
    assert_eq!(names().await, 2, "the old rules stay");
    let (first, _) = RULES.split_once("      - alert").expect("has one");
    std::fs::write(&rules, first).expect("written");
    assert_eq!(server.post("/-/reload", "").await.status, 200);
    server.until("/api/v1/rules", |a| a.data()["groups"][0]["rules"][1].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_switches_experimental_functions_on_for_queries_and_rules() {
    let scene = Scene::new(", enable_lifecycle: true").await;
    let (server, rules) = (&scene.server, scene.dir.path().join("rules.yml"));
    let query = format!("/api/v1/query?query={}", encoded("limitk(1, v)"));
    let refused = server.get(&query).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("limitk() is experimental and not enabled"), "{}", refused.body);
    std::fs::write(&rules, RULES.replace("sum by (job) (v)", "limitk(1, v)")).expect("written");
    let answer = server.post("/-/reload", "").await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("promql.experimental_functions: true"), "{}", answer.body);
    let config = scene.dir.path().join("plimsoll.yaml");
    let text = std::fs::read_to_string(&config).expect("is there");
    std::fs::write(&config, format!("{text}promql: {{experimental_functions: true}}\n"))
        .expect("written");
    assert_eq!(server.post("/-/reload", "").await.status, 200);
    server.until(&query, |answer| answer.status == 200).await;
    let made = "/api/v1/query?query=job:v:sum%7Btenant!%3D%22%22%7D";
    server.until(made, |answer| answer.data()["result"][0].is_object()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_which_address_is_taken_and_stops_on_sigterm() {
    let mut scene = Scene::new("").await;
    let other = tempfile::tempdir().expect("a folder");
    std::fs::write(other.path().join("rules.yml"), RULES).expect("written");
    let config = write_config(other.path(), scene.exporter, scene.server.port, "");
    let mut second = Server::plimsoll(scene.server.port, &config);
    assert_eq!(second.ended().await.code(), Some(1));
    let said = std::fs::read_to_string(config.with_extension("log")).expect("its log");
    let wanted = format!("web.listen: cannot listen on 127.0.0.1:{}", scene.server.port);
    assert!(said.contains(&wanted), "{said}");

    let began = Instant::now();
    scene.server.terminate().await;
    assert_eq!(scene.server.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// More heavy queries than may run at once: the engine goes on with its scrapes and evaluations
/// while not one of them is answered, and they do not keep the process from its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_query_delays_nothing() {
    let mut scene = Scene::new("").await;
    let server = &scene.server;
    // Ten thousand steps, at each of which an hour of values is sorted.
    let heavy = encoded("quantile_over_time(0.5, (vector(time()) % 7)[1h:1s])");
    let range = "start=1800000000&end=1800010000&step=1";
    let path =
        |seconds: u32| format!("/api/v1/query_range?query={heavy}&{range}&timeout={seconds}");
    let answer = server.get(&path(1)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"], "query timed out in expression evaluation");
    let long = path(30);
    let (one, two, three) = (server.get(&long), server.get(&long), server.get(&long));
    let (four, five, six) = (server.get(&long), server.get(&long), server.get(&long));
    let rounds = async {
        for _ in 0..4 {
            let (scraped, evaluated) = last_round(server).await;
            server.until("/api/v1/targets", |a| last_scrape(&a.data()) != scraped).await;
            server.until("/api/v1/rules", |a| last_evaluation(&a.data()) != evaluated).await;
        }
    };
    tokio::select! {
        answer = async { tokio::select! {
            a = one => a, a = two => a, a = three => a, a = four => a, a = five => a, a = six => a,
        } } => panic!("answered before four scrapes and evaluations: {answer:?}"),
        () = rounds => {}
    }
    // Their readers are gone, so they end, and the next one has its turn.
    assert_eq!(server.get("/api/v1/query?query=1&timeout=30").await.status, 200);
    let began = Instant::now();
    let long = path(30);
    let (_, ()) = tokio::join!(server.try_get(&long), async {
        sleep(Duration::from_millis(500)).await;
        server.terminate().await;
    });
    assert_eq!(scene.server.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

fn last_scrape(targets: &Value) -> Value {
    targets["activeTargets"][0]["lastScrape"].clone()
}

fn last_evaluation(rules: &Value) -> Value {
    rules["groups"][0]["lastEvaluation"].clone()
}

async fn last_round(server: &Server) -> (Value, Value) {
    let targets = server.get("/api/v1/targets").await.data();
    let rules = server.get("/api/v1/rules").await.data();
    (last_scrape(&targets), last_evaluation(&rules))
}

/// The command line beside a running one: a query as a table, a rule with the value of each part.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_queries_and_explains() {
    let scene = Scene::new("").await;
    let firing = |answer: &running::Answer| answer.data()["alerts"][0]["state"] == "firing";
    scene.server.until("/api/v1/alerts", firing).await;
    let url = format!("http://127.0.0.1:{}", scene.server.port);
    let run = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let ran = command.args(words).args(["--url", &url]).output().await.expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let (code, out, err) = run(&["query", "sort_desc(sum by (tenant) (v))"]).await;
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "{tenant=\"acme\"}    7\n{tenant=\"globex\"}  2\n"),
        "{err}"
    );
    let (code, out, err) = run(&["query", "skipped"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "no series\n"));
    assert!(err.contains("window.keep"), "{err}");
    let (code, _, err) = run(&["query", "v + on (x) v"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("found duplicate series"), "{err}");
    let (code, out, err) = run(&["explain", "High"]).await;
    assert_eq!(code, Some(0), "{err}");
    let labels = format!(
        "{{__name__=\"v\", instance=\"127.0.0.1:{}\", job=\"x\", tenant=\"acme\"}}",
        scene.exporter
    );
    for words in [
        "High (alerting, group g in ",
        "firing {",
        "  v > 5  = ",
        "    v  = 2 series",
        &format!("{labels} 7"),
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let (code, out, err) = run(&["explain", "High", "--format", "json", "--limit", "3"]).await;
    assert_eq!(code, Some(0), "{err}");
    let told: Value = serde_json::from_str(&out).expect("is JSON");
    let newest = &told["rules"][0]["evaluations"][0];
    assert_eq!(
        (&newest["results"], &newest["parts"][1]["results"]),
        (&json!(1), &json!(2)),
        "{out}"
    );
    let (code, _, err) = run(&["explain", "Hgh"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("did you mean \"High\"?"), "{err}");
}

/// Every panel and variable of every dashboard, against the shipped rules and example.
#[tokio::test(flavor = "multi_thread")]
async fn every_dashboard_query_is_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let (exporter, port) = (exporter(METRICS.to_owned()).await, free_port());
    let example = include_str!("../plimsoll.example.yaml");
    let here = [
        ("127.0.0.1:8080", format!("127.0.0.1:{exporter}")),
        ("127.0.0.1:9469", format!("127.0.0.1:{port}")),
        ("127.0.0.1:9093", "127.0.0.1:9".to_owned()),
        ("/var/lib/plimsoll", dir.path().join("state").display().to_string()),
    ];
    let config = here.into_iter().fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has {from}");
        text.replace(from, &to)
    });
    let path = dir.path().join("plimsoll.yaml");
    std::fs::write(&path, config).expect("written");
    let server = Server::plimsoll(port, &path);
    server.ready().await;
    let queries = dashboard_queries();
    assert!(queries.len() >= 27, "only {} queries were found", queries.len());
    let now = server.get("/api/v1/query?query=time()").await.data();
    let now = now["result"][0].as_f64().expect("seconds");
    for query in queries {
        if let Err(error) = parse(&query, &ParseOptions::default()) {
            panic!("{query}: {error}");
        }
        let form = format!("query={}&start={}&end={now}&step=15", encoded(&query), now - 3600.0);
        for path in ["/api/v1/query", "/api/v1/query_range"] {
            let answer = server.post(path, &form).await;
            assert_eq!(answer.json()["status"], "success", "{query}: {answer:?}");
            let warnings = &answer.json()["warnings"];
            assert_eq!(*warnings, Value::Null, "{query}: nothing the dashboard shows is left out");
        }
    }
}

/// What Grafana sends for the panels and variables, with everything selected.
fn dashboard_queries() -> Vec<String> {
    let mut queries = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    for entry in std::fs::read_dir(folder).expect("dashboards are there") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("is text");
        collect(&serde_json::from_str(&text).expect("is JSON"), &mut queries);
    }
    queries
}

fn collect(node: &Value, queries: &mut Vec<String>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        Value::Object(fields) => {
            if let Some(expr) = fields.get("expr").and_then(Value::as_str) {
                queries.push(expr.replace("$tenant", ".*").replace("$__rate_interval", "1m"));
            }
            if let Some(variable) = fields.get("definition").and_then(Value::as_str) {
                let inner = variable.strip_prefix("label_values(").expect("the one kind in use");
                queries.push(inner.rsplit_once(',').expect("selector, label").0.to_owned());
            }
            fields.values().for_each(|field| collect(field, queries));
        }
        _ => {}
    }
}
