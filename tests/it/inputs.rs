//! A target that hangs as a stopped process does: its port is open, and nobody answers.

use std::process::Command;

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

/// The sum of a series' values, or -1 while there is none.
fn value(home: &Home, query: &str) -> f64 {
    let found = crate::support::query(home.address(), query);
    if found.is_empty() { -1.0 } else { found.iter().map(|(_, value)| value).sum() }
}

#[test]
fn a_target_from_a_file_is_scraped_and_ends_with_its_file() {
    let (stays, comes) = (Page::new("seen 1\n"), Page::new("seen 2\n"));
    let files = "file_sd_configs: [{files: ['t*.json'], refresh_interval: 1s}]";
    let plan = Plan { rules: "{record: r, expr: 'sum(seen)'}".to_owned(), ..Plan::default() };
    let home = Home::new(&plan.job("files", stays.address(), files));
    let _process = home.start();
    let seen = || value(&home, "sum(seen)");
    wait_until("the target of the configuration is scraped", 20, || seen() == 1.0);

    let list = format!("[{{\"targets\": [\"{}\"]}}]", comes.address());
    home.write("t1.json", &list);
    wait_until("the file's is scraped", 20, || seen() == 3.0);
    let errors = || home.figure("prometheus_sd_file_read_errors_total");
    let before = errors();
    home.write("t1.json", "");
    wait_until("a file that was emptied is an error", 20, || errors() > before);
    let asked = comes.asked().len();
    wait_until("and its target is scraped on", 20, || comes.asked().len() > asked + 1);
    assert_eq!(seen(), 3.0);

    std::fs::remove_file(home.path().join("t1.json")).expect("it is there");
    wait_until("with the file its series end", 20, || seen() == 1.0);
    let asked = comes.asked().len();
    let rounds = stays.asked().len();
    wait_until("the others go on", 20, || stays.asked().len() > rounds + 2);
    assert_eq!(comes.asked().len(), asked, "nobody asks it any more");
}

#[test]
fn what_a_page_or_a_target_file_costs_is_bounded_and_counted() {
    let twice = Page::new("seen 1\nseen 1\nseen 1\n");
    let many: String = (0..300).map(|no| format!("seen{{no=\"{no}\"}} 1\n")).collect();
    let many = Page::new(&many);
    let limited = Page::new("seen 1\nother 2\nthird 3\n");
    let plan = Plan {
        rules: "{record: r, expr: 'sum(seen)'}".to_owned(),
        more: "window: {max_series: 100}\n".to_owned(),
        ..Plan::default()
    };
    let plan = plan
        .job("twice", twice.address(), "")
        .job("many", many.address(), "")
        .job("limited", limited.address(), "label_limit: 2")
        .job(
            "files",
            twice.address(),
            "file_sd_configs: [{files: ['t*.yml'], refresh_interval: 1s}]",
        );
    let home = Home::new(&plan);
    home.write("t1.yml", "[{targets: ['x y', 'a:1/metrics']}]");
    home.write("t2.yml", "[{targets: 7}]");
    let _process = home.start();

    let figure = |series: &str| home.figure(series);
    let failures = "plimsoll_scrape_failures_total{reason=\"series_limit\"}";
    wait_until("the page of many series is refused", 20, || {
        home.get("/metrics").contains(failures) && figure(failures) >= 2.0
    });
    let duplicates = "prometheus_target_scrapes_sample_duplicate_timestamp_total";
    wait_until("repeats are counted", 20, || figure(duplicates) >= 4.0);
    assert_eq!(figure("plimsoll_targets_unusable"), 2.0);
    let errors = figure("prometheus_sd_file_read_errors_total");
    assert!(errors >= 1.0);
    wait_until("it is read again within its interval", 20, || {
        figure("prometheus_sd_file_read_errors_total") > errors
    });
    assert_eq!(value(&home, "up{job=\"twice\"}"), 1.0, "no other target suffers");
    assert_eq!(value(&home, "up{job=\"many\"}"), 0.0);
    let read = |name: &str| value(&home, &format!("{name}{{job=\"many\"}}"));
    assert!(read("scrape_samples_scraped") >= 200.0, "and how far it was read is told");
    assert!(read("scrape_samples_post_metric_relabeling") >= 200.0);

    home.write("t1.yml", "[]");
    wait_until("they are gone", 20, || figure("plimsoll_targets_unusable") == 0.0);
}

/// A pipe nobody writes into stands for a target file on a mount that hangs.
#[test]
fn a_file_that_hangs_at_a_reload_holds_neither_the_loop_nor_the_stop() {
    let page = Page::new("seen 1\n");
    let plan = Plan { rules: "{record: r, expr: 'sum(seen)'}".to_owned(), ..Plan::default() };
    let keys = "file_sd_configs: [{files: ['t.json']}]";
    let home = Home::new(&plan.job("t", page.address(), keys));
    let mut process = home.start();
    wait_until("it scrapes", 20, || home.figure("plimsoll_scrapes_total") > 0.0);
    let pipe = home.path().join("t.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    process.signal("HUP");
    // Any later than the reload begins, the loop would not get to it.
    pause(1000);
    let before = home.figure("plimsoll_scrapes_total");
    assert!(home.get("/-/healthy").contains("ealthy"));
    wait_until("it goes on", 20, || home.figure("plimsoll_scrapes_total") > before + 2.0);
    home.wait_for_log("a file of the configuration hangs", 20);
    assert_eq!(home.figure("prometheus_config_last_reload_successful"), 0.0);
    process.signal("TERM");
    assert!(process.wait(10).success());
}
