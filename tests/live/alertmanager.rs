//! A real Alertmanager: what its receiver hears, whatever happens to us or to it.

use crate::peers::{Alertmanager, Receiver};
use crate::support::{ControlPlane, Home, Page, Plan, Reply, pause, wait_until};

const RULE: &str = "{alert: High, expr: 'load > 0.9', labels: {severity: critical}}";

fn plan(page: &Page, alertmanagers: &[&Alertmanager]) -> Plan {
    let plan = Plan {
        rules: RULE.to_owned(),
        alertmanagers: alertmanagers.iter().map(|alertmanager| alertmanager.address).collect(),
        ..Plan::default()
    };
    plan.job("t", page.address(), "")
}

#[test]
fn an_alert_is_told_once_over_kills_and_resends_and_ends() {
    let receiver = Receiver::start();
    let alertmanager = Alertmanager::start(&receiver);
    let page = Page::new("load 0.95\n");
    let control_plane = ControlPlane::start();
    let plan =
        Plan { control_plane: Some(control_plane.address()), ..plan(&page, &[&alertmanager]) };
    let home = Home::new(&plan);
    let process = home.start();
    wait_until("firing", 15, || receiver.states("High") == ["firing"]);
    let first = alertmanager.alert("High").expect("Alertmanager knows it");

    // Back from the dead, plimsoll says again what it said, of the same incident.
    process.kill();
    pause(2000);
    let process = home.start();
    let updated = |since: &serde_json::Value| {
        let now = alertmanager.alert("High").expect("it still fires");
        assert_eq!(now["startsAt"], first["startsAt"], "the same incident");
        now["updatedAt"] != since["updatedAt"]
    };
    wait_until("told again after the kill", 15, || updated(&first));
    let second = alertmanager.alert("High").expect("it still fires");
    wait_until("told again a minute later", 75, || updated(&second));
    assert_eq!(receiver.states("High"), ["firing"], "and yet the receiver heard it once");
    assert_eq!(control_plane.kinds("High"), ["firing"], "as did the Control Plane");

    // A target that is silent after the next kill is no reason to call it over.
    process.kill();
    page.answer(Reply::Hang(Vec::new()));
    let process = home.start();
    page.wait_for_scrapes(4);
    page.set("load 0.95\n");
    page.wait_for_scrapes(3);
    pause(3000);
    assert_eq!(receiver.states("High"), ["firing"], "silence is not the end");

    page.set("load 0.5\n");
    wait_until("resolved", 15, || receiver.states("High") == ["firing", "resolved"]);
    process.kill();
    let _process = home.start();
    page.wait_for_scrapes(6);
    pause(4000);
    assert_eq!(receiver.states("High"), ["firing", "resolved"], "over is over");
    let heard = receiver.heard("High");
    assert_eq!(heard[0].body["startsAt"], heard[1].body["startsAt"]);
}

#[test]
fn an_incident_that_ends_while_we_are_dead_is_resolved() {
    let receiver = Receiver::start();
    let alertmanager = Alertmanager::start(&receiver);
    let page = Page::new("load 0.95\n");
    let home = Home::new(&plan(&page, &[&alertmanager]));
    let process = home.start();
    wait_until("firing", 15, || receiver.states("High") == ["firing"]);
    process.kill();
    page.set("load 0.5\n");
    pause(1000);
    let _process = home.start();
    wait_until("resolved", 15, || receiver.states("High") == ["firing", "resolved"]);
}

#[test]
fn an_incident_nobody_heard_of_is_shown_late_even_after_a_kill() {
    let receiver = Receiver::start();
    let mut alertmanager = Alertmanager::down(&receiver);
    let page = Page::new("load 0.95\n");
    let home = Home::new(&plan(&page, &[&alertmanager]));
    let process = home.start();
    home.wait_for_log("an alert fires", 15);
    page.set("load 0.5\n");
    home.wait_for_log("an alert has ended", 15);
    pause(500);
    process.kill();
    let _process = home.start();
    home.wait_for_log("state was taken over", 10);
    alertmanager.go_up();
    wait_until("shown late", 40, || receiver.states("High") == ["firing", "resolved"]);
    let heard = receiver.heard("High");
    let late = heard[0].body["annotations"]["late"].as_str().expect("it says that it is late");
    assert!(late.contains("no Alertmanager could be told in time"), "{late}");
    let time = |value: &serde_json::Value| value.as_str().expect("a time").to_owned();
    let (began, ended) = (time(&heard[1].body["startsAt"]), time(&heard[1].body["endsAt"]));
    assert!(began < ended, "{began} to {ended}");
    assert_eq!(began, time(&heard[0].body["startsAt"]));
}

#[test]
fn an_alertmanager_that_is_down_costs_the_other_nothing() {
    let (receiver, late_receiver) = (Receiver::start(), Receiver::start());
    let up = Alertmanager::start(&receiver);
    let mut down = Alertmanager::down(&late_receiver);
    let page = Page::new("load 0.95\n");
    let home = Home::new(&plan(&page, &[&down, &up]));
    let _process = home.start();
    wait_until("the one that is up tells", 15, || receiver.states("High") == ["firing"]);
    home.wait_for_log(&down.address.to_string(), 10);
    down.go_up();
    wait_until("the other one tells", 20, || late_receiver.states("High") == ["firing"]);
    page.set("load 0.5\n");
    for receiver in [&receiver, &late_receiver] {
        wait_until("both resolve", 15, || receiver.states("High") == ["firing", "resolved"]);
    }
}

#[test]
fn an_alert_that_alertmanager_refuses_costs_no_other() {
    let receiver = Receiver::start();
    let alertmanager = Alertmanager::start(&receiver);
    // A label no classic name allows; and an alert that relabelling leaves without any label.
    let page = Page::new("load 0.95\n{\"dashed\",\"a-b.c\"=\"x\"} 1\n");
    let mut plan = plan(&page, &[&alertmanager]);
    plan.rules = format!(
        "{RULE}, {{alert: Bare, expr: vector(1)}}, {{alert: Dashed, expr: dashed}}, \
         {{alert: Zero, expr: vector(1)}}"
    );
    let home = Home::new(&plan);
    let config = std::fs::read_to_string(home.path().join("plimsoll.yaml")).expect("written");
    let relabel = "alerting:\n  alert_relabel_configs: [{source_labels: [alertname], regex: Bare, \
                   target_label: alertname, replacement: ''}]\n";
    home.write("plimsoll.yaml", &config.replace("alerting:\n", relabel));
    let _process = home.start();
    for alert in ["High", "Dashed", "Zero"] {
        wait_until(alert, 15, || receiver.states(alert) == ["firing"]);
    }
    assert_eq!(receiver.heard("Dashed")[0].body["labels"]["a_b_c"], "x");
    home.wait_for_log("refuses an alert for good", 10);
    page.set("load 0.5\n");
    for alert in ["High", "Dashed"] {
        wait_until(alert, 15, || receiver.states(alert) == ["firing", "resolved"]);
    }
}
