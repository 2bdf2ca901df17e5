//! Pages that are wrong in every way we know: the target is down, the log names the line or the
//! setting, nothing of the page is stored, and no other target notices.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Page, Plan, Reply, answer, free_address, pause,
    wait_until,
};

/// `half` is what must never be seen of a page that is not good to its end.
const RULES: &str = "{alert: Down, expr: 'up == 0', labels: {severity: critical}}, \
                     {alert: Half, expr: 'half', labels: {severity: critical}}";

/// Every way in which these pages are counted.
const REASONS: [&str; 11] = [
    "body",
    "body_limit",
    "connect",
    "content_type",
    "encoding",
    "label_limit",
    "malformed",
    "redirect",
    "sample_limit",
    "status",
    "timeout",
];

const TEXT: &str = "Content-Type: text/plain\r\n";

/// Ten megabytes: what one label of a hostile page may be.
const HUGE_BYTES: usize = 10 << 20;

struct Case {
    name: &'static str,
    reply: Reply,
    /// Further keys of the job.
    keys: &'static str,
    /// What the log must say.
    words: &'static [&'static str],
}

fn case(
    name: &'static str,
    reply: Reply,
    keys: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case { name, reply, keys, words }
}

fn text(body: &[u8]) -> Reply {
    answer("200 OK", TEXT, body)
}

fn of_type(content_type: &str) -> Reply {
    answer("200 OK", &format!("Content-Type: {content_type}\r\n"), b"half 1\n")
}

/// A line of `HUGE_BYTES` and more.
fn huge(lead: &str, bytes: usize, end: &str) -> Reply {
    text(&[lead.as_bytes(), &vec![b'x'; bytes], end.as_bytes()].concat())
}

/// Lines that are not the format.
fn malformed() -> Vec<Case> {
    vec![
        case(
            "labels",
            text(b"half 1\nhalf{a=\"b} 2\nhalf 3\n"),
            "",
            &["line 2, column", "half{a="],
        ),
        case("value", text(b"# HELP half h\nhalf one\n"), "", &["line 2, column 6"]),
        case("truncated", text(b"half 1\nhalf{a=\"b\"} 2"), "", &["line 2", "cut off"]),
        case("utf8", text(b"half 1\nhalf{a=\"\xff\xfe\"} 2\n"), "", &["line 2", "UTF-8"]),
        case("repeated", text(b"half{a=\"1\",a=\"2\"} 2\n"), "", &["line 1", "not unique"]),
        case("no_eof", of_type("application/openmetrics-text; version=1.0.0"), "", &["# EOF"]),
    ]
}

/// Answers that are not a page.
fn not_a_page() -> Vec<Case> {
    vec![
        case("html", of_type("text/html"), "", &["text/html", "fallback_scrape_protocol"]),
        case("json", of_type("application/json"), "", &["application/json"]),
        case(
            "protobuf",
            of_type("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"),
            "",
            &["protobuf"],
        ),
        case(
            "redirect",
            answer("302 Found", "Location: http://127.0.0.1:1/other\r\n", b""),
            "",
            &["http://127.0.0.1:1/other", "not followed"],
        ),
        case("status", answer("500 Oops", "", b"half 1\n"), "", &["HTTP status 500"]),
        case("missing", answer("404 Not Found", "", b""), "", &["see metrics_path"]),
        case(
            "gzip",
            answer("200 OK", "Content-Encoding: gzip\r\n", b"half 1\n"),
            "",
            &["encoded as `gzip`"],
        ),
        case("ssh", Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "", &["HTTP"]),
        case(
            "broken",
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf 1\n".to_vec()),
            "",
            &["broke off"],
        ),
    ]
}

/// Answers that take too long.
fn slow() -> Vec<Case> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf 1\n";
    let tick = Duration::from_millis(20);
    vec![
        case("silent", Reply::Hang(Vec::new()), "", &["no answer within scrape_timeout"]),
        case("stalled", Reply::Hang(head.to_vec()), "", &["had not ended after 7 bytes"]),
        case(
            "slow_head",
            Reply::Repeat(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X".to_vec(), tick),
            "",
            &["no answer within scrape_timeout"],
        ),
        case(
            "slow_body",
            Reply::Repeat(head.to_vec(), b"#".to_vec(), tick),
            "",
            &["bytes and scrape_timeout"],
        ),
    ]
}

/// Answers that are too much. They have time enough: it is the size that must end them.
fn huge_ones() -> Vec<Case> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf 1\n";
    let lines = b"half{a=\"b\"} 1\n".repeat(1000);
    vec![
        case(
            "endless",
            Reply::Repeat(head.to_vec(), lines, Duration::ZERO),
            "scrape_interval: 5s, scrape_timeout: 5s, body_size_limit: 1MB",
            &["body_size_limit"],
        ),
        case(
            "declared",
            Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhalf 1\n".to_vec()),
            "scrape_interval: 5s, scrape_timeout: 5s",
            &["body_size_limit (268435456 bytes)"],
        ),
        case(
            "label_value",
            huge("half{a=\"", HUGE_BYTES, "\"} 1\n"),
            "scrape_interval: 5s, scrape_timeout: 5s, label_value_length_limit: 1000",
            &["label_value_length_limit"],
        ),
        case(
            "line",
            huge("half 1\nhalf{a=\"", 2 * HUGE_BYTES, "\"} 1\n"),
            "scrape_interval: 5s, scrape_timeout: 5s",
            &["line 2", "line_length_limit"],
        ),
        case(
            "samples",
            text(b"half{a=\"1\"} 1\nhalf{a=\"2\"} 1\n"),
            "sample_limit: 1",
            &["sample_limit: 1"],
        ),
        case("label_count", text(b"half{a=\"1\"} 1\n"), "label_limit: 3", &["label_limit"]),
    ]
}

#[test]
fn a_bad_page_takes_its_target_down_and_nothing_else() {
    let cases: Vec<Case> =
        [malformed(), not_a_page(), slow(), huge_ones()].into_iter().flatten().collect();
    let good = Page::new("fine 1\n");
    let alertmanager = FakeAlertmanager::start();
    let mut plan = Plan {
        rules: RULES.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        ..Plan::default()
    };
    let pages: Vec<Page> = cases.iter().map(|case| Page::replying(case.reply.clone())).collect();
    for (case, page) in cases.iter().zip(&pages) {
        plan = plan.job(case.name, page.address(), case.keys);
    }
    let refused = free_address();
    let home = Home::new(&plan.job("good", good.address(), "").job("refused", refused, ""));
    let _process = home.start();

    let mut expected: Vec<String> = cases.iter().map(|case| case.name.to_owned()).collect();
    expected.push("refused".to_owned());
    expected.sort();
    let down = || {
        let mut jobs = alertmanager.firing("Down", "job");
        jobs.sort();
        jobs
    };
    wait_until("every bad target is down", 20, || down().len() >= expected.len());
    let before = good.asked().len();
    pause(4000);
    let asked = good.asked().len() - before;
    assert!(asked >= 6, "the good target was asked {asked} times in 4 s, every 500 ms");
    assert_eq!(down(), expected, "and the good one is up");
    assert_eq!(alertmanager.firing("Half", "job"), [""; 0], "half a page is stored");
    let log = home.log();
    let named = |case: &Case, page: &Page| {
        let at = page.address().to_string();
        let mut lines = log.lines().filter(|line| line.contains(&at));
        lines.any(|line| case.words.iter().all(|word| said(line).contains(word)))
    };
    for (case, page) in cases.iter().zip(&pages) {
        let at = page.address().to_string();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&at)).take(3).collect();
        assert!(named(case, page), "{}: {:?} not in {lines:#?}", case.name, case.words);
    }
    assert!(log.contains("refused"), "nobody listens");

    let shown = last_errors(&home);
    for case in &cases {
        let error = &shown[case.name];
        assert!(case.words.iter().all(|word| error.contains(word)), "{}: {error}", case.name);
    }
    for reason in REASONS {
        let series = format!("plimsoll_scrape_failures_total{{reason=\"{reason}\"}}");
        assert!(home.figure(&series) > 0.0, "{series}: {}", home.get("/metrics"));
    }

    pages.iter().for_each(|page| page.set("half 1\n"));
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let good_again = || {
        let mut jobs = alertmanager.firing("Half", "job");
        jobs.sort();
        jobs == names
    };
    wait_until("the next good scrape of each counts", 30, good_again);
    wait_until("and brings it up", 10, || alertmanager.ended("Down", "job").len() == names.len());
}

/// Why each job's last scrape failed, as the API shows it.
fn last_errors(home: &Home) -> BTreeMap<String, String> {
    let answer: serde_json::Value =
        serde_json::from_str(&home.get("/api/v1/targets")).expect("JSON");
    let targets = answer["data"]["activeTargets"].as_array().expect("targets").clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    targets.iter().map(|target| (text(&target["scrapePool"]), text(&target["lastError"]))).collect()
}

/// A line of the log without the escapes of a quoted field.
fn said(line: &str) -> String {
    line.replace("\\\"", "\"").replace("\\\\", "\\")
}

#[test]
fn a_label_of_ten_megabytes_costs_nobody_else() {
    let (page, big) =
        (Page::new("load 0.5\n"), Page::replying(huge("big{a=\"", HUGE_BYTES, "\"} 1\n")));
    let (alertmanager, control_plane) = (FakeAlertmanager::start(), ControlPlane::start());
    let rules = "{alert: High, expr: 'load > 0.9'}, {alert: Big, expr: 'big'}";
    let plan = Plan {
        rules: rules.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        control_plane: Some(control_plane.address()),
        ..Plan::default()
    };
    let keys = "scrape_interval: 5s, scrape_timeout: 5s";
    let home = Home::new(&plan.job("t", page.address(), "").job("big", big.address(), keys));
    let mut process = home.start();
    wait_until("it is told", 20, || control_plane.kinds("Big") == ["firing"]);
    let told = control_plane.heard("Big")[0].body.to_string().len();
    assert!(told < 1 << 20, "the receiver is spared the label: {told} bytes");
    page.set("load 0.95\n");
    wait_until("High fires", 10, || control_plane.kinds("High") == ["firing"]);
    page.set("load 0.5\n");
    wait_until("High ends", 10, || control_plane.kinds("High") == ["firing", "resolved"]);
    wait_until("Alertmanager heard of both", 10, || {
        alertmanager.ended("High", "job") == ["t"] && alertmanager.firing("Big", "job") == ["big"]
    });
    assert!(process.is_running());
    process.signal("TERM");
    assert!(process.wait(10).success(), "a clean end");
}
