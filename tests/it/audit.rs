//! The audit of a real process: whole after every kind of end, and readable beside whoever writes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::support::{ControlPlane, Home, Page, Plan, wait_until};

const RULE: &str = "{alert: High, expr: 'load > 0.9', labels: {severity: critical}}";

/// What a command of the program says: exit code and stdout.
fn plimsoll(home: &Home, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(words).arg("--config").arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("it ended by itself"), text)
}

/// The kinds of all records.
fn kinds(home: &Home) -> Vec<String> {
    let (code, text) = plimsoll(home, &["audit", "show", "--format", "json"]);
    assert_eq!(code, 0, "{text}");
    let records: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    records.iter().map(|r| r["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// What the program that runs tells of the one incident: the kinds of its first three moments.
fn moments(home: &Home) -> Vec<String> {
    let body = home.get("/api/v1/plimsoll/incidents");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let incidents = body["data"]["incidents"].as_array().expect("a list");
    let of_rule: Vec<&Value> = incidents.iter().filter(|one| one["alert"] == "High").collect();
    let [incident] = of_rule[..] else { panic!("one incident over both processes: {body}") };
    assert_eq!(incident["standing"], "resolved", "{body}");
    let moments = incident["moments"].as_array().expect("a list").iter();
    moments.take(3).map(|one| one["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// Killed in the middle, cut in a line, and changed by hand.
#[test]
fn the_chain_survives_a_kill_and_shows_what_was_touched() {
    let page = Page::new("load 0.5\n");
    let control_plane = ControlPlane::start();
    let plan = Plan {
        rules: RULE.to_owned(),
        control_plane: Some(control_plane.address()),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let process = home.start();
    page.wait_for_scrapes(2);
    page.set("load 0.95\n");
    let delivered = || kinds(&home).iter().any(|kind| kind == "delivery.accepted");
    wait_until("an edge and its delivery", 20, delivered);
    assert_eq!(kinds(&home)[0], "alert.firing");
    process.kill();
    assert_eq!(plimsoll(&home, &["audit", "verify"]).0, 0, "whole after SIGKILL");

    let path = home.path().join("state/audit/audit-00000000000000000001.jsonl");
    let whole = fs::read_to_string(&path).expect("the audit");
    let head = whole.trim_end().rsplit('"').nth(1).expect("a hash").to_owned();
    fs::write(&path, whole.clone() + "{\"n\":99,\"at\":\"20").expect("written");
    let process = home.start();
    home.wait_for_log("the end of the audit was not whole", 15);
    wait_until("it is written down", 10, || kinds(&home).iter().any(|k| k == "audit.resumed"));
    wait_until("and the start", 10, || kinds(&home).iter().any(|k| k == "sidecar.started"));
    page.set("load 0.5\n");
    wait_until("the end", 20, || kinds(&home).iter().any(|k| k == "alert.resolved"));
    assert_eq!(moments(&home), ["alert.firing", "delivery.accepted", "alert.resolved"]);
    assert_eq!(plimsoll(&home, &["audit", "verify", "--head", &head]).0, 0);
    process.kill();

    let text = fs::read_to_string(&path).expect("the audit");
    fs::write(&path, text.replacen("critical", "harmless", 1)).expect("written");
    let (code, said) = plimsoll(&home, &["audit", "verify"]);
    assert_eq!(code, 2);
    assert!(said.contains(".jsonl:1: broken: its hash is not that of its bytes"), "{said}");
    let cut = text.lines().next().expect("a line").to_owned() + "\n";
    fs::write(&path, cut).expect("written");
    assert_eq!(plimsoll(&home, &["audit", "verify"]).0, 0, "a cut end alone looks whole");
    let (code, said) = plimsoll(&home, &["audit", "verify", "--head", &head]);
    assert_eq!(code, 2);
    assert!(said.contains("cut off"), "{said}");

    let (_, rest) = text.split_once('\n').expect("lines");
    fs::write(&path, rest).expect("written");
    let (code, said) = plimsoll(&home, &["audit", "verify"]);
    assert_eq!(code, 2);
    assert!(said.contains("its beginning is missing"), "{said}");
    fs::write(&path, "").expect("written");
    let (code, said) = plimsoll(&home, &["audit", "verify"]);
    assert_eq!((code, said.contains("not whole: 0 records")), (2, true), "{said}");
}

/// What does not get onto a full disk is said when it cannot wait any longer.
#[test]
fn a_stop_on_a_full_disk_says_what_is_lost() {
    let page = Page::new("load 0.95\n");
    let plan = Plan { rules: RULE.to_owned(), ..Plan::default() };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let dir = home.path().join("state/audit");
    fs::create_dir_all(&dir).expect("made");
    symlink("/dev/full", dir.join("audit-00000000000000000001.jsonl")).expect("linked");
    let mut process = home.start();
    home.wait_for_log("the audit cannot be written", 20);
    wait_until("it is shown", 20, || home.figure("plimsoll_audit_failing") == 1.0);
    process.signal("TERM");
    assert!(process.wait(15).success());
    let log = home.log();
    let last = log.lines().find(|line| line.contains("records of the audit are lost"));
    let last = last.unwrap_or_else(|| panic!("{log}"));
    for words in ["1 alert.firing", "No space left", "make room", "from", "given_up"] {
        assert!(last.contains(words), "{words}: {last}");
    }
}
