//! A disk that is full or read-only: the level lane goes on, the edge lane waits and says so.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{ControlPlane, FakeAlertmanager, Home, Page, Plan, pause, wait_until};

/// Alerts of one incident, and what each says: more than the journal's file has room for unless it
/// grows.
const ALERTS: usize = 200;
const ANNOTATION_BYTES: usize = 8192;

/// A small file system; unmounted when dropped.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn mount(options: &str) -> Disk {
        let dir = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path());
        assert!(mount.status().expect("mount runs").success(), "mount needs root");
        Disk { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes the last byte.
    fn fill(&self) {
        let file = OpenOptions::new().create(true).append(true).open(self.filler());
        let mut file = file.expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives everything back.
    fn free(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).status().ok();
    }
}

fn page_text(load: f64) -> String {
    (0..ALERTS).map(|i| format!("load{{i=\"{i}\"}} {load}\n")).collect()
}

fn plan(page: &Page, disk: &Disk) -> Plan {
    let words = "x".repeat(ANNOTATION_BYTES);
    let plan = Plan {
        rules: format!("{{alert: High, expr: 'load > 0.9', annotations: {{words: {words}}}}}"),
        state: Some(disk.path().join("state")),
        ..Plan::default()
    };
    plan.job("t", page.address(), "")
}

/// Whose state is on that disk, and who tells both of them.
fn home(page: &Page, disk: &Disk, told: (&FakeAlertmanager, &ControlPlane)) -> Home {
    Home::new(&Plan {
        alertmanagers: vec![told.0.address()],
        control_plane: Some(told.1.address()),
        ..plan(page, disk)
    })
}

#[test]
fn a_full_disk_holds_the_edges_alone_until_there_is_room() {
    let disk = Disk::mount("size=32m");
    let page = Page::new(&page_text(0.5));
    let (alertmanager, control_plane) = (FakeAlertmanager::start(), ControlPlane::start());
    let home = home(&page, &disk, (&alertmanager, &control_plane));
    let mut process = home.start();
    page.wait_for_scrapes(3);
    disk.fill();
    page.set(&page_text(0.95));
    wait_until("Alertmanager hears of it", 15, || alertmanager.firing("High", "i").len() == ALERTS);
    home.wait_for_log("no room for the journal", 10);
    wait_until("it is counted", 10, || home.figure("plimsoll_journal_failures_total") >= 1.0);
    assert_eq!(home.figure("plimsoll_journal_failing"), 1.0);
    pause(3000);
    assert_eq!(control_plane.kinds("High"), [""; 0], "an edge went out before it was durable");
    page.wait_for_scrapes(2);

    disk.free();
    wait_until("every edge arrives", 40, || control_plane.heard("High").len() >= ALERTS);
    home.wait_for_log("the journal can be written again", 10);
    wait_until("it is over", 10, || home.figure("plimsoll_journal_failing") == 0.0);
    page.set(&page_text(0.5));
    wait_until("and every end", 40, || control_plane.heard("High").len() >= 2 * ALERTS);
    let heard = control_plane.heard("High");
    let mut ids: Vec<&str> = heard.iter().map(|heard| heard.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((heard.len(), ids.len()), (2 * ALERTS, 2 * ALERTS), "each once");
    process.signal("TERM");
    assert!(process.wait(10).success());
}

#[test]
fn a_stop_on_a_full_disk_ends_in_time_and_says_what_is_lost() {
    let disk = Disk::mount("size=32m");
    let page = Page::new(&page_text(0.5));
    let alertmanager = FakeAlertmanager::start();
    let home =
        Home::new(&Plan { alertmanagers: vec![alertmanager.address()], ..plan(&page, &disk) });
    let mut process = home.start();
    page.wait_for_scrapes(3);
    disk.fill();
    page.set(&page_text(0.95));
    home.wait_for_log("no room for the journal", 20);
    process.signal("TERM");
    assert_eq!(process.wait(10).code(), Some(1));
    assert!(home.log().contains("rows of the journal could not be written"));
    disk.free();
    let _process = home.start();
    wait_until("it starts as if it had not seen them", 20, || {
        alertmanager.firing("High", "i").len() == ALERTS
    });
}

#[test]
fn a_start_from_a_sound_journal_goes_well_on_a_full_disk() {
    let disk = Disk::mount("size=32m");
    let page = Page::new(&page_text(0.5));
    let (alertmanager, control_plane) = (FakeAlertmanager::start(), ControlPlane::start());
    let home = home(&page, &disk, (&alertmanager, &control_plane));
    let mut process = home.start();
    page.wait_for_scrapes(3);
    process.signal("TERM");
    assert!(process.wait(10).success());
    // Whoever ended before it could write its number has left the file empty: there is no block to overwrite.
    fs::write(disk.path().join("state/journal/lock"), "").expect("written");
    disk.fill();
    let before = home.log().len();
    let mut process = home.start();
    wait_until("it runs", 15, || home.log()[before..].contains("plimsoll runs"));
    page.set(&page_text(0.95));
    wait_until("Alertmanager hears of it", 15, || alertmanager.firing("High", "i").len() == ALERTS);
    wait_until("it is counted", 20, || home.figure("plimsoll_journal_failing") == 1.0);
    assert_eq!(control_plane.kinds("High"), [""; 0], "an edge went out before it was durable");
    disk.free();
    wait_until("every edge arrives", 40, || control_plane.heard("High").len() >= ALERTS);
    process.signal("TERM");
    assert!(process.wait(10).success());
}

#[test]
fn a_disk_that_is_full_or_read_only_at_the_start_is_named() {
    let page = Page::new("load 0.5\n");
    for (options, words) in
        [("ro", "Give this user the directory"), ("size=4k", "does not start without")]
    {
        let disk = Disk::mount(options);
        let home = Home::new(&plan(&page, &disk));
        let status = home.start().wait(10);
        assert_eq!(status.code(), Some(1), "{options}");
        let log = home.log();
        let dir = disk.path().join("state").display().to_string();
        assert!(log.contains(&dir) && log.contains(words), "{options}: {log}");
    }
}
