//! Whole command lines: exit code, stdout, stderr.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

mod config;
mod outbox;
mod promql;
mod replay;

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Ran {
    let (mut data, mut talk) = (Vec::new(), Vec::new());
    let mut out =
        Out { data: &mut data, talk: &mut talk, format: Format::Text, colours: (false, false) };
    let words = ["plimsoll"].iter().chain(words).map(OsString::from);
    let code = execute(words, &Environment::default(), &mut out);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code, out: text(data), err: text(talk) }
}

fn folder() -> (TempDir, impl Fn(&str, &str) -> String) {
    let dir = tempfile::tempdir().expect("a folder");
    let base: PathBuf = dir.path().to_owned();
    let write = move |name: &str, text: &str| {
        let path = base.join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    (dir, write)
}

#[test]
fn help_is_data_and_nonsense_is_usage() {
    let helped = run(&["--help"]);
    assert_eq!((helped.code, helped.err.as_str()), (0, ""));
    for command in [
        "run",
        "check",
        "test",
        "query",
        "replay",
        "case",
        "explain",
        "fixedcount",
        "healthcheck",
        "audit",
        "story",
        "outbox",
        "send-test",
        "version",
        "completions",
    ] {
        assert!(helped.out.contains(command), "{}", helped.out);
    }
    for words in [&["runn"][..], &["check", "rules"], &["outbox", "retry"], &[]] {
        let ran = run(words);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{words:?}");
        assert!(ran.err.contains("Usage: "), "{words:?}: {}", ran.err);
    }
    assert!(run(&["runn"]).err.contains("similar subcommand exists: 'run'"));
}

/// Ten minutes of a host with one container that fills up from 50 % to 98 % of its limit.
fn filling_host(write: &impl Fn(&str, &str) -> String) {
    for round in 0..60_i64 {
        let (at, fill) = (1_795_312_440 + round * 10, 500 + 8 * round);
        let labels = "name=\"acme-app\",id=\"/docker/1\"";
        let page = format!(
            "container_spec_memory_limit_bytes{{{labels}}} 1000\n\
             container_memory_usage_bytes{{{labels}}} {fill}\n\
             container_memory_working_set_bytes{{{labels}}} {fill}\n\
             container_start_time_seconds{{{labels}}} 1795300000\n"
        );
        write(&format!("{}.txt", at * 1000 + 250), &page);
    }
}

fn memory_rules(of: &str) -> String {
    format!(
        "groups:\n- name: g\n  rules:\n  - alert: Full\n    expr: max by (tenant, role, plan, \
         service, name) (container_memory_working_set_bytes / \
         container_spec_memory_limit_bytes) > {of}\n    labels: {{severity: critical, action: decide}}\n"
    )
}

#[test]
fn a_recording_is_replayed_and_two_rule_sets_are_compared() {
    let (dir, write) = folder();
    filling_host(&write);
    write("docker-events.jsonl", "");
    let config = write(
        "plimsoll.yaml",
        "global: {scrape_interval: 10s, evaluation_interval: 10s}\nhost: h\nscrape_configs: []\n\
         tenants: [{match: {name: 'acme-.*'}, tenant: acme, plan: pro, role: app}]\n",
    );
    let (early, late) =
        (write("a.yml", &memory_rules("0.8")), write("b.yml", &memory_rules("0.9")));
    let dir = dir.path().display().to_string();
    let replay = |more: &[&str]| {
        run(&[&["replay", &dir, "--config", &config, "--format", "json"], more].concat())
    };
    let read = |ran: &Ran| -> serde_json::Value {
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err))
    };
    let alone = replay(&["--rules", &early]);
    let said = read(&alone);
    assert_eq!((alone.code, said["scrapes"].as_u64()), (0, Some(60)), "{}", alone.err);
    let alerts = said["a"]["alerts"].as_array().expect("a list");
    assert_eq!(alerts.len(), 1, "{said}");
    // 804 of 1000 in the 39th scrape; a leak, so a restart that `observe` holds.
    assert_eq!(alerts[0]["from"], "2026-11-22T02:00:20.270Z");
    let action = &said["a"]["actions"][0];
    assert_eq!((&action["action"], &action["how"]), (&"restart".into(), &"observed".into()));
    assert_eq!(said["a"]["tenants"]["acme"]["restarts_day"], 1);
    let act = read(&replay(&["--rules", &early, "--mode", "act"]));
    assert_eq!(act["a"]["actions"][0]["how"], "requested");
    assert_eq!(act["a"]["webhooks"]["container.restart.requested"], 1);

    assert_eq!(replay(&["--rules", &early, "--against", &early]).code, 0, "one with itself");
    let compared = replay(&["--rules", &early, "--against", &late]);
    let differences = read(&compared)["differences"].clone();
    assert_eq!(compared.code, 1);
    let later = |what: &str| {
        let all = differences.as_array().expect("a list");
        all.iter().find(|d| d["what"] == what).map(|d| d["seconds_later"].clone())
    };
    assert_eq!(later("alert"), Some(130.0.into()), "{differences}");
    // That it leaks is known after the same while under both, and not before is it restarted.
    assert_eq!(later("restart"), None, "{differences}");
    assert_eq!(read(&compared)["b"]["tenants"]["acme"]["restarts_day"], 1);
}

#[test]
fn a_replay_that_cannot_be_made_ends_with_2() {
    let (dir, write) = folder();
    let config = write("plimsoll.yaml", "host: h\n");
    let path = dir.path().display().to_string();
    for (words, want) in [
        (vec!["replay", &path, "--config", &config], "no recorded scrape"),
        (vec!["replay", "/nowhere", "--config", &config], "/nowhere"),
        (vec!["replay", &path, "--config", "/nowhere.yaml"], "cannot be read"),
        (vec!["replay", &path, "--config", &config, "--mode", "ac"], "observe, notify, act"),
    ] {
        let ran = run(&words);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words:?}");
        assert!(ran.err.contains(want), "{words:?}: {}", ran.err);
    }
    // One scrape is missing: told, and an exit code that says so.
    for at in [0_i64, 10, 20, 40, 50] {
        write(&format!("{}.txt", (1_795_312_440 + at) * 1000), "a 1\n");
    }
    for of in ["--rules", "--against"] {
        let ran = run(&["replay", &path, "--config", &config, of, "typo/*.yml"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{of}");
        assert!(ran.err.contains("typo/*.yml: no file matches"), "{}", ran.err);
    }
    let ran = run(&["replay", &path, "--config", &config]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let want = "no scrape was recorded between 2026-11-22T01:54:20.000Z and \
                2026-11-22T01:54:40.000Z";
    assert!(ran.out.contains(want), "{}", ran.out);
}

#[test]
fn the_version_is_said_to_people_and_programs() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]).out, format!("plimsoll {version}\n"));
    assert_eq!(run(&["--version"]).out, format!("plimsoll {version}\n"));
    let json: serde_json::Value =
        serde_json::from_str(&run(&["version", "--format", "json"]).out).expect("JSON");
    assert_eq!(json["version"], version);
    assert!(run(&["completions", "bash"]).out.contains("_plimsoll"));
}

#[test]
fn check_rules_lints_and_lints_can_be_switched_off() {
    let (dir, write) = folder();
    let file =
        write("a.yml", "groups: [{name: g, rules: [{alert: A, expr: 'rate(x[5s]) > 0'}]}]\n");
    let ran = run(&["check", "rules", &file]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("hint: lint `short-range`"), "{}", ran.out);
    assert_eq!(ran.err, "1 rule file: good, with 2 warnings\n");
    let off = ["--disable", "short-range", "--disable", "alert-without-summary"];
    let ran = run(&[&["check", "rules", &file], &off[..]].concat());
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "1 rule file: good\n"));
    assert_eq!(run(&["check", "rules", &file, "--strict"]).code, 2, "warnings fail");
    let allowed = ["--strict", "--allow", "short-range", "--allow", "alert-without-summary"];
    assert_eq!(run(&[&["check", "rules", &file], &allowed[..]].concat()).code, 0);
    let table = run(&["check", "rules", "--lints"]);
    assert!(table.out.contains("short-range\n    a rate needs two samples"), "{}", table.out);
    assert!(table.out.contains("duplicate-rule\n"), "{}", table.out);
    for option in ["--disable", "--allow"] {
        let ran = run(&["check", "rules", &file, option, "short-rang"]);
        let want = "--allow, --disable: `short-rang` is not a lint; did you mean `short-range`?\n";
        assert_eq!((ran.code, ran.err.as_str()), (64, want));
    }
    let bad = write("b.yml", "groups: [{name: g, rules: [{record: r, expr: 'up +'}]}]\n");
    let folder = dir.path().display().to_string();
    let ran = run(&["check", "rules", &bad, &folder, "/nonexistent.yml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("b.yml:1:5") && ran.out.contains("is a directory"), "{}", ran.out);
    assert!(ran.err.contains("3 errors"), "{}", ran.err);
}

#[test]
fn check_rules_measures_against_a_configuration_and_frames_what_it_finds() {
    let (_dir, write) = folder();
    let rules = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: rate(x[29s]) + max_over_time(y[3h])\n";
    let file = write("a.yml", rules);
    let config = write(
        "p.yml",
        "global: {scrape_interval: 15s}\nscrape_configs: [{job_name: j, \
        static_configs: [{targets: ['a:1']}]}]\nwindow: {max_bytes: 1MiB}\nrule_files: []\n",
    );
    assert_eq!(run(&["check", "rules", &file]).out, "");
    let ran = run(&["check", "rules", &file, "--config", &config]);
    let want = format!(
        "{file}:5:16: warning: group \"g\", \"r\": `rate` over 29s needs two samples, and one comes \
         every 15s\n  5 |     expr: rate(x[29s]) + max_over_time(y[3h])\n    |                ^\n  \
         hint: lint `short-range`\n{file}:5:40: warning: group \"g\", \"r\": looks back 3h: with a \
         sample every 15s, the window of 1 MiB holds that for 91 series\n  5 |     expr: \
         rate(x[29s]) + max_over_time(y[3h])\n    |                                        ^\n  \
         hint: lint `range-beyond-window`\n"
    );
    assert_eq!(ran.out, want);
    assert_eq!(run(&["check", "rules", &file, "--config", "/nonexistent"]).code, 78);
    let both = ["check", "rules", &file, "--config", &config, "--scrape-interval", "5s"];
    assert_eq!(run(&both).code, 64);
    let config = write("q.yml", "window: {max_bytes: 1MiB}\nrule_files: [a.yml]\n");
    let ran = run(&["check", "config", &config]);
    assert!(ran.out.contains("lint `range-beyond-window`"), "{}", ran.out);
}

#[test]
fn check_rules_asks_a_running_instance_which_metrics_there_are() {
    let (_dir, write) = folder();
    let rules =
        "groups: [{name: g, rules: [{record: r, expr: 'up + memory_byte + unkept + r'}]}]\n";
    let file = write("a.yml", rules);
    let all = r#"[{"metric":{"__name__":"up"},"value":[0,"1"]},{"metric":{"__name__":"memory_bytes"},"value":[0,"1"]}]"#;
    let body = |result: &str, warnings: &str| {
        format!("{{\"status\":\"success\",\"data\":{{\"result\":{result}}}{warnings}}}")
    };
    let answers = [body(all, ""), body("[]", ""), body("[]", ",\"warnings\":[\"not kept\"]")];
    let (address, server) = serve(answers.map(|body| answered("200 OK", &body)).to_vec());
    let ran = run(&["check", "rules", &file, "--url", &format!("http://{address}")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let want = "1:52: warning: group \"g\", \"r\": no target exposes `memory_byte`; did you mean `memory_bytes`?";
    assert!(
        ran.out.contains(want) && ran.err.contains("cannot tell whether they exist: unkept"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(ran.err.contains("1 warning"), "{}", ran.err);
    server.join().expect("served");
    assert_eq!(run(&["check", "rules", &file, "--url", &format!("http://{address}")]).code, 1);
}

#[test]
fn rule_tests_show_what_was_expected_beside_what_came() {
    let (dir, write) = folder();
    write("r.yml", "groups: [{name: g, rules: [{alert: A, expr: 'm / 2 > 1', labels: {s: x}}]}]");
    let test = |name: &str, label: &str| {
        format!(
            "rule_files: ['r.y*']\ntests:\n- name: {name}\n  input_series: [{{series: 'm{{a=\"b\"}}', \
             values: 4}}]\n  alert_rule_test:\n  - {{alertname: A, exp_alerts: [{{exp_labels: {{a: b, \
             s: {label}}}}}]}}\n"
        )
    };
    let (good, bad) =
        (write("a_test.yml", &test("one", "x")), write("b_test.yml", &test("two", "y")));
    let both = dir.path().join("*_test.yml").display().to_string();
    let ran = run(&["test", "rules", &good]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "1 files, 1 tests, 1 checks: all hold\n"));
    assert_eq!(ran.out, format!("{good}: ok, 1 tests, 1 checks\n"));
    let ran = run(&["test", "rules", &both]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let want = format!(
        "{good}: ok, 1 tests, 1 checks\n{bad}:6:5: FAILED: two: alert A at 0s\n  ~ {{a=\"b\", \
         alertname=\"A\", s=\"x\"}}\n      - s=\"y\"\n      + s=\"x\"\n  values at 0s:\n    \
         m / 2 > 1\n        {{a=\"b\"}} 2\n      m / 2\n          {{a=\"b\"}} 2\n        m\n            \
         m{{a=\"b\"}} 4\n{bad}: FAILED, 1 of 1 tests\n"
    );
    assert_eq!(ran.out, want);
    let json: serde_json::Value =
        serde_json::from_str(&run(&["test", "rules", &bad, "--format", "json"]).out).expect("JSON");
    let failure = &json[0]["tests"][0]["failures"][0];
    assert_eq!(failure["differences"][0]["expected"]["labels"]["s"], "y");
    assert_eq!(failure["parts"][2]["value"][0], "m{a=\"b\"} 4");
    let ran = run(&["test", "rules", &both, "--run", "^one$"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let ran = run(&["test", "rules", &both, "--run", "three"]);
    let said = "--run: no test is called `three`; there are: one, two\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (64, "", said));
    assert_eq!(run(&["test", "rules", &both, "--run", "("]).code, 64);
    assert_eq!(run(&["test", "rules", "/nonexistent*"]).code, 2);
    let unread = write("c.yml", "rule_files: [nosuch.yml]\ntest: []\n");
    let ran = run(&["test", "rules", &unread]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("`nosuch.yml` matches no rule file"), "{}", ran.out);
    assert!(ran.out.contains("hint: did you mean `tests`?"), "{}", ran.out);
    let empty = write(
        "empty_test.yml",
        "rule_files: ['']\ntests: [{promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]}]\n",
    );
    let ran = run(&["test", "rules", &empty]);
    assert!(ran.code == 0 && ran.out.contains("`` matches no rule file"), "{}", ran.out);
}

/// Keeps the secret where no command finds it: where systemd puts it for the service alone.
const AT_A_CONTROL_PLANE: &str = "control_plane: {url: 'https://cp.example.com/', secret_file: \
                                  /run/credentials/plimsoll-none.service/cp}\n";

/// An answer as it is sent.
fn answered(status: &str, body: &str) -> String {
    let head = format!("Content-Length: {}\r\nConnection: close", body.len());
    format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")
}

/// Answers each connection with the next status; gives back what was asked.
fn answer(statuses: &[&str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    serve(statuses.iter().map(|status| answered(status, "")).collect())
}

/// Answers each connection with the next text; gives back what was asked.
fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            while !is_whole(&bytes) {
                let read = stream.read(&mut chunk).expect("a request");
                bytes.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(answer.as_bytes()).expect("written");
            asked.push(String::from_utf8(bytes).expect("text"));
        }
        asked
    });
    (address, server)
}

/// An instance that sees `up`, keeps what one of its rules reads by pattern, and no other name.
#[test]
fn check_rules_asks_about_patterns_and_what_texts_ask() {
    let (_dir, write) = folder();
    let rules = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: count({__name__=~\"nope.*\"}) or \
                 count({__name__=~\"far.*\"}) or count({__name__=~\"u.\"})\n    annotations: {summary: '{{ query \
                 \"gone\" | len }}'}\n";
    let file = write("a.yml", rules);
    let success = |data: &str| format!("{{\"status\":\"success\",\"data\":{data}}}");
    let answers = [
        success(r#"{"result":[{"metric":{"__name__":"up"},"value":[0,"1"]}]}"#),
        success(r#"{"result":[]}"#),
        success(r#"{"groups":[{"rules":[{"query":"sum({__name__=~\"nope.*\",a=\"b\"})"}]}]}"#),
    ];
    let (address, server) = serve(answers.map(|body| answered("200 OK", &body)).to_vec());
    let ran = run(&["check", "rules", &file, "--url", &format!("http://{address}")]);
    server.join().expect("served");
    assert_eq!(ran.code, 0, "{}", ran.err);
    for want in [
        ":5:17: warning: group \"g\", \"A\": no target exposes a metric with `__name__=~\"nope.*\"`\n",
        ":4:5: warning: group \"g\", \"A\": `summary`: no target exposes `gone`\n",
    ] {
        assert!(ran.out.contains(want), "{}{}", ran.out, ran.err);
    }
    assert!(ran.err.contains("whether they exist: __name__=~\"far.*\"\n"), "{}", ran.err);
    assert!(ran.err.contains("2 warnings"), "{}", ran.err);
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

#[test]
fn healthcheck_asks_both_questions_and_answers_by_its_code() {
    let (address, server) = answer(&["200 OK", "200 OK"]);
    let ran = run(&["healthcheck", "--url", &format!("http://{address}")]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ready\n"), "{}", ran.err);
    let asked = server.join().expect("served");
    assert!(asked[0].starts_with("GET /-/healthy ") && asked[1].starts_with("GET /-/ready "));

    let (address, server) = answer(&["200 OK", "503 Service Unavailable"]);
    let ran = run(&["healthcheck", "--url", &format!("http://{address}")]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/-/ready answers 503"), "{}", ran.err);
    server.join().expect("served");

    // Nobody listens there any more.
    let ran = run(&["healthcheck", "--url", &format!("http://{address}"), "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &json["ready"]), (1, &false.into()));
    assert_eq!(run(&["healthcheck", "--url", "nonsense"]).code, 1);

    let (address, server) = answer(&["200 OK", "200 OK"]);
    let ran = run(&["healthcheck", "--url", &format!("http://{address}/plimsoll/")]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ready\n"), "{}", ran.err);
    let asked = server.join().expect("served");
    let below = ["GET /plimsoll/-/healthy ", "GET /plimsoll/-/ready "];
    assert!(asked.iter().zip(below).all(|(asked, want)| asked.starts_with(want)), "{asked:?}");
}

#[test]
fn healthcheck_asks_where_the_configuration_says_even_if_the_rest_of_it_is_wrong() {
    let (_dir, write) = folder();
    let (address, server) = answer(&["200 OK", "200 OK"]);
    let config = write("p.yml", &format!("web: {{listen: '{address}'}}\nmode: obey\n"));
    let ran = run(&["healthcheck", "--config", &config]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ready\n"), "{}", ran.err);
    assert!(server.join().expect("served")[0].starts_with("GET /-/healthy "));
    for (text, words) in [
        ("web: {listen: '127.0.0.1:0'}\n", "leaves its port to the system"),
        ("web: {listen: nine}\n", "p.yml:1:15: web.listen: `nine` is not an address and port"),
    ] {
        let ran = run(&["healthcheck", "--config", &write("p.yml", text)]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    assert_eq!(run(&["healthcheck", "--config", "/nonexistent/p.yml"]).code, 1);
    assert_eq!(run(&["healthcheck", "--config", "a", "--url", "b"]).code, 64);
}

#[test]
fn tests_are_sent_marked_and_signed_and_the_answer_is_told() {
    let (_dir, write) = folder();
    let (address, server) = answer(&["200 OK"]);
    let alerting = format!(
        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\nhost: web-7\n"
    );
    let config = write("p.yml", &alerting);
    let ran = run(&["send-test", "alertmanager", "--config", &config]);
    assert_eq!((ran.code, ran.out), (0, format!("http://{address}/: accepted\n")), "{}", ran.err);
    let asked = server.join().expect("served").remove(0);
    assert!(asked.starts_with("POST /api/v2/alerts ") && asked.contains("PlimsollTest"), "{asked}");
    assert!(asked.contains("\"host\":\"web-7\"") && asked.contains("\"endsAt\""), "{asked}");

    let secret = write("cp", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
    let (address, server) = answer(&["401 Unauthorized"]);
    let config = write(
        "q.yml",
        &format!("control_plane: {{url: 'http://{address}/hook', secret_file: '{secret}'}}\n"),
    );
    let ran = run(&["send-test", "control-plane", "--config", &config]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("not accepted: ") && ran.out.contains("401"), "{}", ran.out);
    let asked = server.join().expect("served").remove(0);
    assert!(asked.contains("webhook-signature: v1,"), "{asked}");
    assert!(
        asked.contains("sidecar.heartbeat") && asked.contains("\"reason\":\"send_test\""),
        "{asked}"
    );

    assert_eq!(run(&["send-test", "alertmanager", "--config", &config]).code, 78);
    assert_eq!(run(&["send-test", "pager", "--config", &config]).code, 64);
}
