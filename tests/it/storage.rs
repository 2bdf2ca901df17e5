//! A state directory that cannot be used: plimsoll says which and what to do, and does not start.

use std::fs;
use std::process::Command;

use plimsoll::base::{Change, Table};
use plimsoll::journal::{self, StoreKind};

use crate::support::{Home, Page, Plan, pause, wait_until};

const RULE: &str = "{alert: High, expr: 'load > 0.9'}";

/// A folder whose plimsoll has run once and holds an alert.
fn used() -> (Page, Home) {
    let page = Page::new("load 0.95\n");
    let plan = Plan { rules: RULE.to_owned(), ..Plan::default() };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let process = home.start();
    home.wait_for_log("High", 15);
    pause(500);
    process.kill();
    (page, home)
}

/// A start that must fail with one of the exit codes for that, having said all of `words`.
fn assert_refuses(home: &Home, words: &[&str]) {
    let before = home.log().len();
    let status = home.start().wait(10);
    assert!(matches!(status.code(), Some(1 | 78)), "{status}");
    let said = home.log().split_off(before);
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
}

#[test]
fn a_damaged_journal_does_not_start_and_is_left_as_it_is() {
    let (_page, home) = used();
    let path = home.path().join("state/journal/journal.redb");
    let good = fs::read(&path).expect("a journal");
    assert!(good.len() > 8192, "a journal with something in it");
    // Everything behind the header: whatever page the tables live in is hit.
    let mut bad = good.clone();
    bad[4096..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
    let dir = home.path().join("state/journal").display().to_string();
    let torn = [&good[..4096], &vec![0; good.len() - 4096]].concat();
    for (what, bytes) in [("flipped", bad), ("zeroed", torn), ("empty", Vec::new())] {
        fs::write(&path, &bytes).expect("written");
        assert_refuses(&home, &[&dir, "damaged", "restore the directory from a backup"]);
        assert!(fs::read(&path).expect("still there") == bytes, "{what}: it was touched");
    }
    fs::remove_file(&path).expect("removed");
    assert_refuses(&home, &[&dir, "journal.redb is gone"]);
    assert!(!path.exists(), "a fresh one stands in its place");
    fs::write(&path, good).expect("restored from the backup");
    let _process = home.start();
    home.wait_for_log("state was taken over from the journal", 10);
}

#[test]
fn a_row_that_cannot_be_read_is_counted_and_left_alone() {
    let (_page, home) = used();
    let dir = home.path().join("state/journal");
    let rows = || {
        let opened = journal::open(StoreKind::Redb, &dir).expect("nobody runs");
        let of_alerts = opened.rows.into_iter().find(|(table, _)| *table == Table::Alerts);
        (opened.store, of_alerts.expect("the table").1)
    };
    let (mut store, before) = rows();
    assert_eq!(before.len(), 1, "the alert");
    let bad = ("x".to_owned(), b"{\"rule\": 7".to_vec());
    let value = Some(bad.1.clone());
    let change = Change { table: Table::Alerts, key: bad.0.clone(), value };
    store.commit(&[change]).expect("there is room");
    drop(store);
    let process = home.start();
    home.wait_for_log("a row of the journal cannot be read and is left where it is", 10);
    home.wait_for_log("state was taken over from the journal", 10);
    wait_until("it is counted", 10, || {
        home.figure("plimsoll_journal_unreadable_rows_total") == 1.0
    });
    let high = || home.get("/api/v1/alerts").contains("\"alertname\":\"High\"");
    wait_until("the alert beside it is there", 10, high);
    process.kill();
    let (_store, after) = rows();
    assert!(after.contains(&bad), "the row is gone");
    assert!(after.iter().any(|(key, _)| *key == before[0].0), "the good row is gone");
}

#[test]
fn a_damaged_checkpoint_costs_the_window_and_nothing_else() {
    let (_page, home) = used();
    for bytes in [&b""[..], b"rubbish", &[0xff; 4096]] {
        let before = home.log().matches("window checkpoint not used").count();
        fs::write(home.path().join("state/window"), bytes).expect("written");
        let process = home.start();
        wait_until("it is said", 10, || {
            home.log().matches("window checkpoint not used").count() > before
        });
        wait_until("it scrapes", 10, || home.figure("plimsoll_scrapes_total") > 0.0);
        process.kill();
    }
}

/// A pipe that nobody reads takes the checkpoint as a disk that hangs does: opening it never ends.
#[test]
fn a_checkpoint_that_hangs_holds_neither_the_loop_nor_the_stop() {
    let (_page, home) = used();
    let pipe = home.path().join("state/window.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let before = home.log().len();
    let mut process = home.start();
    home.wait_for_log("state was taken over", 10);
    wait_until("it scrapes", 10, || home.figure("plimsoll_scrapes_total") > 0.0);
    process.signal("TERM");
    assert!(process.wait(10).success());
    let said = home.log().split_off(before);
    assert!(said.contains("window checkpoint not written in time"), "{said}");
}

#[test]
fn a_directory_has_one_owner() {
    let (_page, home) = used();
    let _first = home.start();
    wait_until("the first one runs", 10, || {
        home.log().matches("state was taken over").count() == 1
    });
    assert_refuses(&home, &["in use by process", "storage.path"]);
}

/// A relative path was once taken from the working directory: an empty journal in the place where it leads now
/// would send again what was sent, and forget what was not.
#[test]
fn state_that_a_relative_path_led_to_before_is_not_left_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let (here, etc) = (dir.path().join("here"), dir.path().join("etc"));
    fs::create_dir_all(here.join("state/journal")).expect("made");
    fs::create_dir(&etc).expect("made");
    fs::write(etc.join("p.yml"), "storage: {path: state}\nscrape_configs: []\n").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["run", "--config"]).arg(etc.join("p.yml")).current_dir(&here);
    let ran = command.output().expect("it runs");
    let said = String::from_utf8(ran.stderr).expect("text");
    assert_eq!(ran.status.code(), Some(78), "{said}");
    for place in [here.join("state"), etc.join("state")] {
        assert!(said.contains(&format!("`{}`", place.display())), "{said}");
    }
    assert!(!etc.join("state").exists(), "nothing is made");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let page = Page::new("load 0.95\n");
    let plan = Plan { rules: RULE.to_owned(), ..Plan::default() };
    let mut plan = plan.job("t", page.address(), "");
    let home = Home::new(&plan);
    home.write("a-file", "");
    plan.state = Some(home.path().join("a-file/state"));
    home.configure(&plan);
    let dir = home.path().join("a-file/state").display().to_string();
    assert_refuses(&home, &[&dir, "journal"]);
}
