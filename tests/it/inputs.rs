//! A target that hangs as a stopped process does: its port is open, and nobody answers.

use serde_json::Value;

use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Page, Plan, Reply, pause, wait_for, wait_until,
};

const RULE: &str = "{alert: High, labels: {severity: critical, action: restart}, expr: 'max by \
                    (name, service, tenant, plan, role) (container_memory_working_set_bytes) > 90'}";
const POLICY: &str = "mode: act\n\
                      plans: {free: {mem_limit: 1g, cpu_limit: 1}}\n\
                      tenants: [{match: {name: 'acme-.*'}, tenant: acme, plan: free, role: app}]\n\
                      actions: {kill_switch_file: stop, start_grace: 0s}\n";

fn page(bytes: u32) -> String {
    format!(
        "container_memory_working_set_bytes{{name=\"acme-web\"}} {bytes}\n\
         container_memory_rss{{name=\"acme-web\"}} {bytes}\n\
         container_spec_memory_limit_bytes{{name=\"acme-web\"}} 100\n"
    )
}

#[test]
fn a_hanging_target_makes_its_alert_unknown_with_the_reason_and_without_an_action() {
    let target = Page::new(&page(95));
    let (alertmanager, control_plane) = (FakeAlertmanager::start(), ControlPlane::start());
    let plan = Plan {
        rules: RULE.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        control_plane: Some(control_plane.address()),
        more: POLICY.to_owned(),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    home.write("stop", "");
    let _process = home.start();
    let heard = || control_plane.kinds("High");
    wait_until("High fires, and its action is held", 20, || heard() == ["firing"]);
    home.wait_for_log("kill_switch", 20);

    target.answer(Reply::Hang(Vec::new()));
    let ask = |path: &str| -> Value {
        let told = home.get(&format!("/api/v1/plimsoll/{path}"));
        serde_json::from_str::<Value>(&told).expect("JSON")["data"].take()
    };
    wait_until("it is told to be unknown", 20, || heard() == ["firing", "unknown"]);
    let unknown = ask("alerts")["alerts"][0]["unknown"].take();
    let input = &unknown["input"];
    assert_eq!((&input["job"], &input["health"]), (&"t".into(), &"down".into()), "{unknown}");
    let name = format!("target t/{} failed its last scrape", target.address());
    assert_eq!(unknown["reason"], name.as_str());
    assert!(unknown["since"].as_str().is_some_and(|since| since.starts_with("20")), "{unknown}");
    let error = input["lastError"].as_str().expect("why");
    assert!(error.contains("scrape_timeout") || error.contains("400ms"), "{error}");
    wait_until("its age grows", 20, || {
        ask("inputs")["inputs"][0]["age"].as_f64().is_some_and(|age| age > 2.0)
    });
    let series = format!("{{scrape_job=\"t\",scrape_instance=\"{}\"}}", target.address());
    assert!(home.figure(&format!("plimsoll_input_quality_age_seconds{series}")) > 2.0);
    let counted =
        |what: &str| home.figure(&format!("plimsoll_input_quality_samples_{what}{series}"));
    wait_until("samples are missing", 20, || counted("present") < counted("expected"));

    std::fs::remove_file(home.path().join("stop")).expect("the switch is there");
    pause(2500);
    assert_eq!(heard(), ["firing", "unknown"], "no action on what nobody sees, and no end");
    assert_eq!(alertmanager.firing("High", "alertname").len(), 1);

    target.set(&page(95));
    let restarted = || heard().contains(&"container.restart.requested".to_owned());
    wait_until("with fresh evidence it acts", 20, restarted);
    assert!(!heard().contains(&"resolved".to_owned()), "{:?}", heard());
    target.set(&page(10));
    wait_for("it ends", 20, || heard().contains(&"resolved".to_owned()).then_some(()));
    assert!(ask("alerts")["alerts"].as_array().is_some_and(Vec::is_empty));
}
