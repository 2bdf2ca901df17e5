//! A state directory that cannot be used: plimsoll says which and what to do, and does not start.

use std::fs;

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

#[test]
fn a_directory_has_one_owner() {
    let (_page, home) = used();
    let _first = home.start();
    wait_until("the first one runs", 10, || {
        home.log().matches("state was taken over").count() == 1
    });
    assert_refuses(&home, &["in use by process", "storage.path"]);
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
