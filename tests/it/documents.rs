//! Plans from an address and tenants from a file, both of which fail: what was good stays in force.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::server::{Reply, Server};
use crate::support::{Home, Page, Plan, answer, wait_until};

const PLANS: &str = r#"{"plan_limits": {"trial": {"mem_limit": "512m", "cpu_limit": 0.5}}}"#;
const TENANTS: &str = "tenants:\n- {tenant: acme, plan: trial, state: suspended}\n";
const RULE: &str = "{alert: A, expr: 'plimsoll_plan_mem_limit_bytes{plan=\"trial\"} == 512 * 1024 * 1024 and \
                    on () plimsoll_tenant_info{tenant=\"acme\",state=\"suspended\"} == 1'}";

/// How often the address was asked, and how often it answered that nothing has changed.
#[derive(Default)]
struct Asked {
    all: AtomicUsize,
    unchanged: AtomicUsize,
    down: AtomicBool,
}

fn endpoint(asked: &Arc<Asked>) -> Server {
    let asked = Arc::clone(asked);
    Server::start(move |request| {
        asked.all.fetch_add(1, Ordering::SeqCst);
        let header = |name: &str| {
            request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        if asked.down.load(Ordering::SeqCst) {
            return answer("503 Service Unavailable", "", b"");
        }
        if header("authorization") != Some("Bearer s3cret") {
            return answer("401 Unauthorized", "", b"");
        }
        if header("if-none-match") == Some("\"v1\"") {
            asked.unchanged.fetch_add(1, Ordering::SeqCst);
            return answer("304 Not Modified", "ETag: \"v1\"\r\n", b"");
        }
        answer("200 OK", "ETag: \"v1\"\r\n", PLANS.as_bytes())
    })
}

fn fires(home: &Home) -> bool {
    home.get("/api/v1/alerts").contains("\"state\":\"firing\"")
}

#[test]
fn what_was_read_last_stays_in_force() {
    let asked = Arc::new(Asked::default());
    let control_plane = endpoint(&asked);
    let page = Page::new(
        "container_memory_working_set_bytes{name=\"acme-1\",tenant=\"acme\",role=\"app\"} 500000000\n\
         container_spec_memory_limit_bytes{name=\"acme-1\",tenant=\"acme\",role=\"app\"} 536870912\n",
    );
    let more = format!(
        "plans_from: {{url: 'http://{}/plans', refresh_interval: 200ms, \
         authorization: {{credentials_file: token}}}}\n\
         tenants_from: {{file: tenants.yml}}\n\
         window: {{keep: ['container_.*']}}\n",
        control_plane.address()
    );
    let plan = Plan { rules: RULE.to_owned(), more, ..Plan::default() };
    let home = Home::new(&plan.job("t", page.address(), ""));
    home.write("token", "s3cret\n");
    home.write("tenants.yml", TENANTS);
    let _process = home.start();
    wait_until("both documents are series", 20, || fires(&home));
    let unchanged = || asked.unchanged.load(Ordering::SeqCst);
    wait_until("the tag is sent along", 20, || unchanged() >= 2);
    let failing = |document: &str| {
        home.figure(&format!("plimsoll_document_failing{{document=\"{document}\"}}"))
    };
    assert_eq!((failing("plans"), failing("tenants")), (0.0, 0.0));

    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["plans", "--url", &format!("http://{}", home.address())])
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    let row = shown.lines().nth(1).unwrap_or_default();
    let words: Vec<&str> = row.split_whitespace().collect();
    let want = "acme (suspended) trial acme-1 512 MiB, 0.50 cores 512 MiB 477 MiB 35 MiB - near";
    assert_eq!(words.join(" "), want, "{shown}");

    asked.down.store(true, Ordering::SeqCst);
    wait_until("the address fails", 20, || failing("plans") == 1.0);
    let age = "plimsoll_document_age_seconds{document=\"plans\"}";
    wait_until("its age grows", 20, || home.figure(age) > 2.0);
    home.write("tenants.yml", &TENANTS[..TENANTS.len() - 8]);
    wait_until("half a file is refused", 20, || failing("tenants") == 1.0);
    let before = home.get("/metrics");
    assert!(before.contains("plimsoll_document_failures_total{document=\"tenants\"}"), "{before}");
    assert!(fires(&home), "what was good is in force");
    let log = home.log();
    assert_eq!(log.matches("answers 503 Service Unavailable").count(), 1, "said once: {log}");
    assert!(log.contains("tenants.yml:2:"), "the place of the fault: {log}");

    asked.down.store(false, Ordering::SeqCst);
    home.write("tenants.yml", TENANTS);
    wait_until("both recover", 30, || (failing("plans"), failing("tenants")) == (0.0, 0.0));
    assert!(fires(&home));
    assert_eq!(home.log().matches("a document can be read again").count(), 2);
}

#[test]
fn tenants_from_an_address_are_taken_up_and_stay_while_it_fails() {
    let tenants = |state: &str| {
        format!("{{\"tenants\": [{{\"tenant\": \"acme\", \"state\": \"{state}\"}}]}}")
    };
    let ok = |text: &str| answer("200 OK", "", text.as_bytes());
    let said = Arc::new(Mutex::new(ok(&tenants("suspended"))));
    let says = Arc::clone(&said);
    let control_plane = Server::start(move |request| match request.line.as_str() {
        "GET /v1/tenants" => says.lock().expect("no panic holds it").clone(),
        _ => answer("404 Not Found", "", b""),
    });
    let url = format!("http://{}/v1/tenants", control_plane.address());
    let plan = Plan {
        rules: "{alert: A, expr: 'plimsoll_tenant_info == 1'}".to_owned(),
        more: format!("tenants_from: {{url: '{url}', refresh_interval: 200ms}}\n"),
        ..Plan::default()
    };
    let home = Home::new(&plan);
    let _process = home.start();
    let is = |state: &str| home.get("/api/v1/alerts").contains(&format!("\"state\":\"{state}\""));
    let failing = || home.figure("plimsoll_document_failing{document=\"tenants\"}");
    let say = |reply: Reply| *said.lock().expect("no panic holds it") = reply;
    wait_until("the document is read", 20, || is("suspended"));
    say(ok(&tenants("provisioning")));
    wait_until("a change is taken up", 20, || is("provisioning") && !is("suspended"));
    let half = tenants("active");
    for reply in [ok(&half[..half.len() - 9]), answer("503 Service Unavailable", "", b"")] {
        say(reply);
        wait_until("it fails", 20, || failing() == 1.0);
        assert!(is("provisioning"), "what was good is in force");
        say(ok(&tenants("provisioning")));
        wait_until("it recovers", 20, || failing() == 0.0);
    }
}
