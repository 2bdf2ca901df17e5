//! How a process begins and goes on: signals from the first moment, a log that nobody takes, a credential that comes late.

use std::fs::{self, OpenOptions};
use std::process::{Child, Command, Stdio};

use crate::support::client::{free_address, get};
use crate::support::{Home, Page, Plan, wait_until};

/// So many that reading the configuration takes a while.
const RULES: usize = 1000;
/// In the mask of caught signals of `/proc/<pid>/status`.
const HANGUP: u64 = 1;

/// Whether a process has taken the handling of SIGHUP upon itself.
fn catches_hangup(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANGUP != 0)
}

#[test]
fn a_reload_or_a_stop_while_the_configuration_is_read_is_heard() {
    let page = Page::new("load 0.5\n");
    let one = "{alert: High, expr: 'sum by (a) (rate(load[5m])) / max by (a) (load) > 0.9'}";
    let plan = Plan { rules: vec![one; RULES].join(", "), ..Plan::default() };
    let home = Home::new(&plan.job("t", page.address(), ""));
    let mut process = home.start();
    wait_until("it hears signals", 20, || catches_hangup(process.id()));
    assert!(!home.log().contains("plimsoll runs"), "while it still reads its rules");
    process.signal("HUP");
    home.wait_for_log("plimsoll runs", 60);
    home.wait_for_log("the configuration was taken over", 60);
    assert!(process.is_running());
    drop(process);

    let before = home.log().len();
    let mut process = home.start();
    wait_until("it hears signals", 20, || catches_hangup(process.id()));
    assert!(!home.log()[before..].contains("plimsoll runs"));
    process.signal("TERM");
    assert!(process.wait(60).success(), "a stop is no failure");
}

/// Starts it with a log on a disk without room.
fn start_mute(home: &Home) -> Child {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["run", "--config"]).arg(home.path().join("plimsoll.yaml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full);
    command.spawn().expect("it starts")
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let (page, address) = (Page::new("load 0.5\n"), free_address());
    let web = format!("listen: '{address}'");
    let home = Home::new(&Plan { web, ..Plan::default() }.job("t", page.address(), ""));
    let mut process = start_mute(&home);
    let ready = || get(address, "/-/ready").is_some();
    let answers = std::panic::catch_unwind(|| wait_until("it is ready", 15, ready));
    let ended = process.try_wait().expect("can be asked");
    process.kill().ok();
    process.wait().expect("it ends");
    assert!(answers.is_ok() && ended.is_none(), "{ended:?}");
}

/// Whoever fills a credential in may be a moment late: a start that is told of nothing else is tried again.
#[test]
fn a_file_that_cannot_be_read_yet_is_worth_another_start_and_a_mistake_is_not() {
    let page = Page::new("load 0.5\n");
    let plan =
        || Plan::default().job("t", page.address(), "authorization: {credentials_file: token}");
    let home = Home::new(&Plan { control_plane: Some(free_address()), ..plan() });
    fs::remove_file(home.path().join("secret")).expect("removed");
    assert_eq!(home.start().wait(10).code(), Some(1));
    let log = home.log();
    for words in ["token", "secret", "cannot be read", "a start that is tried again"] {
        assert!(log.contains(words), "`{words}` in {log}");
    }
    home.configure(&Plan { more: "mode: nonsense\n".to_owned(), ..plan() });
    assert_eq!(home.start().wait(10).code(), Some(78), "a mistake does not pass by itself");
    home.configure(&plan());
    home.write("token", "secret\n");
    let _process = home.start();
    home.wait_for_log("plimsoll runs", 15);
}
