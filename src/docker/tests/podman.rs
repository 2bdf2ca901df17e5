//! Podman's compatible socket, as Podman 4.3.1 of Debian 12 answered over `runc`: a container made and never
//! started, one that is stopping, one killed by the kernel, one by `podman kill`, one that failed, and one
//! paused, renamed, restarted and removed.

use super::super::json;
use super::*;
use crate::containers::{Fates, Happening, Health, Status};

const VERSION: &str = include_str!("../testdata/podman-4.3/version.json");
/// While `slow` was stopping.
const LISTED: &str = include_str!("../testdata/podman-4.3/containers.json");
/// Each inspected, shortened to the fields around those that are read.
const INSPECTED: &str = include_str!("../testdata/podman-4.3/inspected.jsonl");
const EVENTS: &str = include_str!("../testdata/podman-4.3/events.jsonl");

fn daemon() -> Daemon {
    let id = |line: &str| line.split('"').nth(3).expect("it begins with the id").to_owned();
    let mut recorded: Vec<(String, String)> = INSPECTED
        .lines()
        .map(|line| (format!("/containers/{}/json", id(line)), line.to_owned()))
        .collect();
    recorded.push(("/version".to_owned(), VERSION.to_owned()));
    recorded.push(("/containers/json?all=1".to_owned(), LISTED.to_owned()));
    Daemon { recorded, ..Daemon::new(vec![Script::Stay(EVENTS.to_owned())]) }
}

/// `podman kill`, `stop` and `restart`.
const UNNAMED: &str = "Kill { signal: 0 }";

/// What happened, without its second, which is ten digits.
fn actions(told: &[String]) -> Vec<String> {
    let is_second = |word: &&str| word.len() == 10 && word.parse::<i64>().is_ok();
    let happened = told.iter().filter(|word| word.split(' ').any(|part| is_second(&part)));
    happened
        .map(|words| words.split(' ').filter(|word| !is_second(word)).collect::<Vec<_>>().join(" "))
        .collect()
}

#[tokio::test]
async fn podman_s_words_are_read() {
    let mut bench = Bench::of(daemon(), follow_briefly);
    let mut told = Vec::new();
    for _removed in ["oom", "kill", "other"] {
        let more = tokio::time::timeout(Duration::from_secs(20), bench.until("Destroy")).await;
        told.extend(more.expect("a removal is told"));
    }
    let listed = "listed ill running kill exited loop exited other running oom exited slow running made created";
    assert_eq!(told[..2], ["connected 4.3.1", listed]);
    // Of every end the exit code; of a kill no signal, of a rename no former name; `init` and `cleanup` are
    // steps of its own.
    let lives =
        ["Create", "Create", "Start", "Create", "Start", "Create", "Start", "Create", "Start"];
    let ends = [UNNAMED, "die 137", "Pause", "die 3", "die 137", "Unpause"];
    let last =
        ["Rename { from: \"\" }", UNNAMED, "die 137", "Start", "die 0", "Destroy", "Destroy"];
    let forced = [UNNAMED, "die 137", "Destroy"];
    let want =
        [&lives[..], &["Create", "Start", "Create", "Start"], &ends, &last, &forced].concat();
    assert_eq!(actions(&told), want);
    let asked = bench.daemon.asked.lock().expect("held briefly");
    assert!(asked.iter().any(|line| line.contains("/v1.41/containers/json")), "{asked:?}");
}

#[test]
fn what_podman_says_of_a_container_is_read() {
    let of = |name: &str| {
        let line = INSPECTED.lines().find(|line| line.contains(&format!("\"Name\":\"/{name}\"")));
        json::container(line.expect(name).as_bytes()).expect(name)
    };
    let other = of("other");
    let limits = other.limits;
    assert_eq!((limits.memory_bytes, limits.memory_soft_bytes), (Some(64 << 20), Some(32 << 20)));
    assert_eq!((limits.memory_swap_bytes, limits.cpu_cores()), (Some(64 << 20), Some(0.5)));
    assert_eq!(other.labels.get("acme.team").map(String::as_str), Some("a"));
    assert!(other.started_at.is_some() && other.pid.is_some());
    // The kernel killed it, and Podman on cgroup v1 does not say so.
    let oom = of("oom");
    assert_eq!((oom.status, oom.exit_code, oom.oom_killed), (Status::Exited, 137, false));
    // It still runs: there is a cgroup to read.
    assert_eq!((of("slow").status, of("made").status), (Status::Running, Status::Created));
    assert_eq!((of("ill").health, of("slow").health), (Health::Starting, Health::None));
}

#[test]
fn a_stop_and_a_restart_by_podman_are_no_crash() {
    let mut fates = Fates::default();
    let ends: Vec<String> = EVENTS
        .lines()
        .filter_map(|line| json::happening(line.as_bytes()).expect("reads"))
        .filter_map(|happening| {
            let Happening { id, name, at_nanos, what } = happening;
            let death = fates.take((&id, &name), Timestamp(at_nanos / 1_000_000), &what, false)?;
            Some(format!("{name} {} {}", death.end.name(), death.exit_code))
        })
        .collect();
    // Of the one that the kernel killed Podman says no more; its cgroup does.
    let want = [
        "kill kill 137",
        "loop crash 3",
        "oom crash 137",
        "other kill 137",
        "slow exit 0",
        "other kill 137",
    ];
    assert_eq!(ends, want);
}
