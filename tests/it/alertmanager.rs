//! An Alertmanager that refuses: what it will never take is counted and said, what it takes goes on.

use crate::support::{FakeAlertmanager, Home, Page, Plan, answer, wait_until};

const RULES: &str = "{alert: Good, expr: 'load > 0.9'}, {alert: Bad, expr: 'load > 0.9'}";

/// Both alerts fire while a post that holds the bad one is answered so.
fn check(status: &str, series: &str, words: &[&str]) {
    let page = Page::new("load 0.95\n");
    let alertmanager = FakeAlertmanager::start();
    alertmanager.refuse("Bad", answer(status, "", b"no\nsuch label"));
    let plan = Plan {
        rules: RULES.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let _process = home.start();
    let series =
        series.replace("AT", &format!("alertmanager=\"http://{}/\"", alertmanager.address()));
    wait_until(&series, 20, || home.figure(&series) >= 1.0);
    for word in words {
        home.wait_for_log(word, 10);
    }
    wait_until("the other arrives", 20, || alertmanager.firing("Good", "alertname").len() == 1);
}

#[test]
fn an_alert_that_is_refused_for_good_is_counted_by_instance_and_reason() {
    let line = "an Alertmanager refuses an alert for good";
    let series = "plimsoll_alertmanager_alerts_refused_total{AT,reason=\"REASON\"}";
    for (status, reason) in [
        ("400 Bad Request", "bad_alert"),
        ("422 Unprocessable Entity", "bad_alert"),
        ("413 Payload Too Large", "too_large"),
    ] {
        let words = [line, status, "no such label", "alertname=\"Bad\""];
        check(status, &series.replace("REASON", reason), &words);
    }
}

#[test]
fn what_is_not_the_alerts_fault_is_a_failed_post_and_nothing_is_given_up() {
    let page = Page::new("load 0.95\n");
    let alertmanager = FakeAlertmanager::start();
    alertmanager.refuse("Bad", answer("403 Forbidden", "", b""));
    let plan = Plan {
        rules: RULES.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let _process = home.start();
    let failed = "plimsoll_alertmanager_posts_total{outcome=\"failed\"}";
    wait_until(failed, 20, || home.figure(failed) >= 1.0);
    home.wait_for_log("an Alertmanager takes no alerts", 5);
    home.wait_for_log("403 Forbidden", 5);
    alertmanager.refuse("", answer("200 OK", "", b""));
    wait_until("both arrive", 30, || {
        ["Good", "Bad"].iter().all(|name| alertmanager.firing(name, "alertname").len() == 1)
    });
}
