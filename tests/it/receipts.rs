//! Receipts over the real address: signed, fresh, new and about a request that was made, or refused.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::server::Server;
use crate::support::{ControlPlane, Heard, Home, Page, Plan, SECRET, answer, wait_for, wait_until};

const RULE: &str = "{alert: High, expr: 'max by (name, service, tenant, plan, role) \
                    (container_memory_working_set_bytes) > 90', labels: {action: restart}}";
const MORE: &str = "mode: act
plans: {free: {mem_limit: 1g, cpu_limit: 0.5}}
tenants: [{match: {name: 'acme-.*'}, tenant: acme, plan: free, role: app}]
";
const PATH: &str = "/api/v1/plimsoll/receipts";

fn page(percent: u32) -> String {
    format!(
        "container_memory_working_set_bytes{{name=\"acme-web\"}} {percent}\n\
         container_spec_memory_limit_bytes{{name=\"acme-web\"}} 100\n\
         container_start_time_seconds{{name=\"acme-web\"}} 1700000000\n"
    )
}

/// One that acts on what the page says.
fn home(target: &Page, control_plane: &ControlPlane) -> Home {
    let plan = Plan {
        rules: RULE.to_owned(),
        control_plane: Some(control_plane.address()),
        control_plane_keys: ", heartbeat_interval: 2s".to_owned(),
        more: MORE.to_owned(),
        ..Plan::default()
    };
    Home::new(&plan.job("t", target.address(), ""))
}

/// The request for a restart, as soon as it is heard.
fn request(control_plane: &ControlPlane) -> Heard {
    wait_for("a restart is asked for", 30, || {
        let heard = control_plane.heard("High");
        heard.into_iter().find(|heard| heard.kind == "container.restart.requested")
    })
}

/// The headers of a receipt that is signed now.
fn signed(id: &str, body: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let webhook = standardwebhooks::Webhook::new(SECRET).expect("a good secret");
    let seconds = i64::try_from(now).expect("before the end of time");
    let signature = webhook.sign(id, seconds, body.as_bytes()).expect("signs");
    format!("webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: {signature}\r\n")
}

/// What `audit` says: exit code and stdout.
fn audit(home: &Home, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("audit").args(words).arg("--config").arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("it ended by itself"), text)
}

#[test]
fn what_is_believed_has_its_effect_once_and_the_rest_is_refused() {
    let target = Page::new(&page(95));
    let control_plane = ControlPlane::start();
    let home = home(&target, &control_plane);
    let _process = home.start();
    let request = request(&control_plane);
    let decline = |id: &str| format!("{{\"delivery_id\":\"{id}\",\"decision\":\"declined\"}}");
    let body = decline(&request.id);
    let send = |headers: &str, body: &str| home.post(PATH, headers, body).0;
    assert_eq!(send("", &body), 400, "unsigned");
    assert_eq!(send(&signed("msg_1", "{}"), &body), 401, "signed for another body");
    assert_eq!(send(&signed("msg_1", "{}"), "{}"), 400, "signed, and no receipt");
    assert_eq!(send(&signed("msg_1", &decline("evt_x")), &decline("evt_x")), 404, "unknown");
    let large = "x".repeat(20_000);
    assert_eq!(send(&signed("msg_1", &large), &large), 413);
    assert_eq!(send(&signed("msg_1", &body), &body), 200);
    assert_eq!(send(&signed("msg_1", &body), &body), 409, "repeated");
    let count =
        |name: &str, label: &str| home.figure(&format!("plimsoll_receipts_{name}{{{label}}}"));
    wait_until("it is counted", 10, || count("total", "decision=\"declined\"") == 1.0);
    let refused = [
        ("malformed", 2.0),
        ("signature", 1.0),
        ("unknown_id", 1.0),
        ("too_large", 1.0),
        ("replayed", 1.0),
    ];
    for (reason, want) in refused {
        assert_eq!(count("refused_total", &format!("reason=\"{reason}\"")), want, "{reason}");
    }
    let written = || audit(&home, &["show"]).1;
    let words = "the Control Plane says of the restart of acme/app: declined";
    wait_until("it is written down", 10, || written().contains(words));
    assert!(written().contains("the restart of acme/app: declined: the receiver declined"));
    assert!(written().contains("a receipt was refused: replayed"), "{}", written());

    // The same as a story, from the files and over the API.
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["story", "--tenant", "acme", "--config"]).arg(home.path().join("plimsoll.yaml"));
    let told = command.env("NO_COLOR", "1").output().expect("it runs");
    let told = String::from_utf8(told.stdout).expect("text");
    let lines = ["High fires", "asks to restart acme/app", "restart.requested delivered", words];
    let places: Vec<Option<usize>> = lines.iter().map(|line| told.find(line)).collect();
    assert!(places.iter().all(Option::is_some) && places[0] < places[1], "{told}");
    assert!(places[1] < places[2] && places[2] < places[3], "{told}");
    assert!(!told.contains('\u{1b}'), "no colours into a pipe");
    let answered: serde_json::Value =
        serde_json::from_str(&home.get("/api/v1/plimsoll/incidents?tenant=acme")).expect("JSON");
    assert_eq!(answered["data"]["incidents"][0]["alert"], "High", "{answered}");
    assert_eq!(answered["data"]["incidents"][0]["standing"], "firing", "{answered}");

    // The head that a heartbeat told stands in the audit, and one that was not told does not.
    let head = wait_for("a heartbeat with a head", 20, || {
        let beats = control_plane.heard("");
        beats.iter().find_map(|beat| {
            beat.body["data"]["heartbeat"]["audit_head"].as_str().map(str::to_owned)
        })
    });
    assert_eq!(audit(&home, &["verify", "--head", &head]).0, 0);
    assert_eq!(audit(&home, &["verify", "--head", &"0".repeat(64)]).0, 2);
}

#[test]
fn nobody_is_listened_to_where_there_is_no_secret() {
    let target = Page::new(&page(10));
    let plan = Plan { rules: RULE.to_owned(), ..Plan::default() };
    let home = Home::new(&plan.job("t", target.address(), ""));
    let _process = home.start();
    let (status, said) = home.post(PATH, &signed("msg_1", "{}"), "{}");
    assert_eq!(status, 404);
    assert!(said.contains("control_plane"), "{said}");
}

const ACME: &str = "{match: {name: 'acme-.*'}, tenant: acme, plan: free, role: app}";

/// What more the audit says of the first refusal of this kind, for this reason.
fn refusal(home: &Home, kind: &str, reason: &str) -> Option<String> {
    let (_, text) = audit(home, &["show", "--format", "json"]);
    let records: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let is_it = |record: &&serde_json::Value| {
        record["kind"] == kind && record["reason"].as_str().is_some_and(|r| r.contains(reason))
    };
    let record = records.iter().find(is_it)?;
    Some(record["detail"].as_str().unwrap_or_default().to_owned())
}

/// Waits for it; `detail` is part of what more is said, or nothing is.
fn assert_refused(home: &Home, (kind, reason): (&str, &str), detail: &str) {
    let told = wait_for(reason, 20, || refusal(home, kind, reason));
    assert!(told.contains(detail) && told.is_empty() == detail.is_empty(), "{reason}: {told}");
}

#[test]
fn every_refused_receipt_is_in_the_audit_with_its_reason_and_what_more_there_is_to_say() {
    let target = Page::new(&page(95));
    let control_plane = ControlPlane::start();
    let home = home(&target, &control_plane);
    let _process = home.start();
    let request = request(&control_plane);
    let body = format!("{{\"delivery_id\":\"{}\",\"decision\":\"accepted\"}}", request.id);
    let unknown = "{\"delivery_id\":\"evt_x\",\"decision\":\"declined\"}";
    let old = signed("msg_2", &body).replacen("webhook-timestamp: 1", "webhook-timestamp: ", 1);
    for (reason, headers, body, detail) in [
        ("signature", signed("msg_1", "{}"), body.as_str(), ""),
        ("unknown_id", signed("msg_1", unknown), unknown, "delivery_id is evt_x"),
        ("", signed("msg_1", &body), &body, ""),
        ("replayed", signed("msg_1", &body), &body, ""),
        ("stale", old, &body, " behind this clock"),
    ] {
        let status = home.post(PATH, &headers, body).0;
        assert_eq!(status == 200, reason.is_empty(), "{reason}: {status}");
        if !reason.is_empty() {
            assert_refused(&home, ("receipt.refused", reason), detail);
        }
    }
}

#[test]
fn every_refused_document_and_claim_is_in_the_audit_with_the_age_of_what_stays_in_force() {
    let of = |limit: &str| {
        format!(
            "{{\"plan_limits\": {{\"free\": {{\"mem_limit\": \"{limit}\", \"cpu_limit\": 0.5}}}}}}"
        )
    };
    let catalogue = Arc::new(Mutex::new(of("1g")));
    let said = Arc::clone(&catalogue);
    let plans = Server::start(move |_| match said.lock().expect("whole").as_str() {
        "" => answer("503 Service Unavailable", "", b""),
        body => answer("200 OK", "", body.as_bytes()),
    });
    let target = Page::new(&page(95));
    let more = format!(
        "plans_from: {{url: 'http://{}/plans', refresh_interval: 200ms}}\n\
         tenants_from: {{file: tenants.yml}}\n",
        plans.address()
    );
    let plan = Plan { rules: RULE.to_owned(), more, ..Plan::default() };
    let home = Home::new(&plan.job("t", target.address(), ""));
    let two =
        format!("tenants: [{ACME}, {{match: {{name: '.*-web'}}, tenant: globex, role: app}}]\n");
    home.write("tenants.yml", &format!("tenants: [{ACME}]\n"));
    let _process = home.start();
    wait_until("both documents are read", 20, || {
        let page = home.get("/metrics");
        ["plans", "tenants"].iter().all(|document| {
            page.contains(&format!("plimsoll_document_age_seconds{{document=\"{document}\"}}"))
        })
    });
    let in_force = "what is in force is ";
    *catalogue.lock().expect("whole") = of("-1g");
    assert_refused(&home, ("document.refused", "mem_limit"), in_force);
    catalogue.lock().expect("whole").clear();
    assert_refused(&home, ("document.refused", "503"), in_force);
    home.write("tenants.yml", &two[..40]);
    assert_refused(&home, ("document.refused", "tenants.yml:"), in_force);
    home.write("tenants.yml", &two);
    assert_refused(&home, ("claim.refused", "globex"), "");
}
