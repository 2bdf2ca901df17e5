//! `plimsoll outbox` against a plimsoll that runs, and against its journal once it does not.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{
    ControlPlane, Home, Page, Plan, Process, answer, free_address, wait_for, wait_until,
};

const RULE: &str = "{alert: High, expr: 'load > 0.9'}";

/// A target that is too high, a receiver, and plimsoll between them.
struct Stage {
    _page: Page,
    control_plane: ControlPlane,
    home: Home,
    process: Process,
}

impl Stage {
    /// The receiver gives this answer from the start; `web` are further keys of that section.
    fn new(status: &str, web: &str) -> Stage {
        let page = Page::new("load 0.95\n");
        let control_plane = ControlPlane::start();
        control_plane.answer(answer(status, "", b""), false);
        let listen = free_address();
        let plan = Plan {
            rules: RULE.to_owned(),
            control_plane: Some(control_plane.address()),
            web: format!("listen: '{listen}'{web}"),
            ..Plan::default()
        };
        let home = Home::new(&plan.job("t", page.address(), ""));
        let process = home.start();
        // Before that the journal may not be its own yet.
        home.wait_for_log("listening", 15);
        Stage { _page: page, control_plane, home, process }
    }

    fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait(10);
    }

    fn outbox(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.arg("outbox").args(words).arg("--config");
        command.arg(self.home.path().join("plimsoll.yaml")).output().expect("it runs")
    }

    /// The rows of `outbox list`, and what was said beside them.
    fn list(&self) -> (Vec<Value>, String) {
        let output = self.outbox(&["list", "--format", "json"]);
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{said}");
        (serde_json::from_slice(&output.stdout).expect("JSON"), said)
    }

    /// The id of the one delivery in this state, when there is one.
    fn id(&self, state: &str) -> String {
        wait_for(&format!("a delivery that is {state}"), 30, || {
            let rows = self.list().0;
            let row = rows.iter().find(|row| row["state"] == state)?;
            assert_eq!((row["type"].as_str(), rows.len()), (Some("alert.firing"), 1));
            assert_eq!(row["body"]["data"]["alert"], "High");
            Some(row["id"].as_str().expect("an id").to_owned())
        })
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_running_outbox_is_read_always_and_changed_only_where_that_is_allowed() {
    let mut stage = Stage::new("401 Unauthorized", "");
    let id = stage.id("waiting");
    assert!(stage.list().1.contains("has the journal: asking http://127.0.0.1:"), "who was asked");
    for wish in ["retry", "drop"] {
        let (code, words) = said(&stage.outbox(&[wish, &id]));
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains("set `web.enable_lifecycle: true`"), "{words}");
    }
    assert_eq!(stage.id("waiting"), id, "it was left as it was");
    stage.kill();
    let (rows, words) = stage.list();
    assert!(words.contains("plimsoll does not run: this is its journal in "), "{words}");
    assert_eq!(rows[0]["id"], id.as_str());
    assert_eq!(said(&stage.outbox(&["drop", &id])).0, Some(0), "its journal is ours now");
    assert!(stage.list().0.is_empty());
}

#[test]
fn what_an_operator_drops_is_gone_after_a_crash_and_what_they_retry_arrives() {
    let mut stage = Stage::new("401 Unauthorized", ", enable_lifecycle: true");
    let id = stage.id("waiting");
    let output = stage.outbox(&["drop", &id, "evt_none"]);
    let (code, words) = said(&output);
    assert_eq!((code, output.stdout), (Some(1), format!("{id}: dropped\n").into_bytes()));
    assert!(words.contains("no delivery `evt_none` waits or is dead"), "{words}");
    stage.kill();
    assert!(stage.list().0.is_empty(), "it was not durable when it was answered");

    let stage = Stage::new("400 Bad Request", ", enable_lifecycle: true");
    let id = stage.id("dead");
    assert_eq!(stage.home.figure("plimsoll_outbox_dead{sink=\"control_plane\"}"), 1.0);
    stage.control_plane.answer(answer("200 OK", "", b""), true);
    let output = stage.outbox(&["retry", &id, "--format", "json"]);
    let changed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(changed, serde_json::json!({"retried": [id]}), "{:?}", said(&output));
    wait_until("it arrives", 15, || stage.control_plane.kinds("High") == ["firing"]);
    assert_eq!(stage.control_plane.heard("High")[0].id, id, "under its old id");
    stage.home.wait_for_log("an operator asked to send a webhook again", 5);
}
