//! A plain host with nothing configured but where its files are: collector, built-in rules, and a
//! Docker that is not there.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::Value;

use crate::cgroups::{Cgroups, Layout, Load, id};
use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Plan, Process, free_address, get, pause, query, wait_for,
    wait_until,
};

const LOST: &str = "Docker does not answer";

#[test]
fn without_docker_containers_go_by_their_ids_and_it_is_said_once() {
    let alertmanager = FakeAlertmanager::start();
    let home = Home::new(&Plan::default());
    let cgroups = Cgroups::new(home.path(), Layout::V2Systemd);
    cgroups.put(&id(1), Load::default());
    let socket = home.path().join("docker.sock");
    let web = free_address();
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms}}\n\
         collector: {{interval: 500ms, cgroup_root: '{}', proc_root: '{}'}}\n\
         docker: {{host: 'unix://{}'}}\n\
         web: {{listen: '{web}'}}\nstorage: {{path: '{}'}}\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n",
        cgroups.cgroup_root().display(),
        cgroups.proc_root().display(),
        socket.display(),
        home.path().join("state").display(),
        alertmanager.address(),
    );
    home.write("plimsoll.yaml", &config);
    let mut process = home.start();
    let usage = wait_for("the container's memory", 20, || {
        query(web, "container_memory_usage_bytes{job=\"collector\"}").pop()
    });
    assert_eq!((usage.0["name"].as_str(), usage.1), (Some("000000000000"), (50 << 20) as f64));
    let is_watched =
        || alertmanager.alerts().iter().any(|a| a["labels"]["alertname"] == "Watchdog");
    wait_until("the built-in rules are at work", 20, is_watched);
    home.wait_for_log(LOST, 20);
    // Somebody answers the door and hangs up, twice: it tries again, and says no more of it.
    let door = UnixListener::bind(&socket).expect("a socket");
    door.set_nonblocking(true).expect("it can");
    for _ in 0..2 {
        wait_until("it knocks again", 30, || door.accept().is_ok());
    }
    pause(100);
    assert_eq!(home.log().matches(LOST).count(), 1, "{}", home.log());
    assert!(process.is_running());
}

/// As a unit that names nothing but where state lives. The port is the usual one: nothing else may have it.
#[test]
fn in_an_empty_folder_without_any_configuration_it_watches_by_the_built_in_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("run").current_dir(folder.path());
    command.env("STATE_DIRECTORY", folder.path().join("state")).env("NO_COLOR", "1");
    let mut process = Process::start(command, &log);
    let web = SocketAddr::from(([127, 0, 0, 1], 9469));
    let shows = |path: &str, word: &str| get(web, path).is_some_and(|body| body.contains(word));
    wait_until("an alert shows in the API", 30, || shows("/api/v1/alerts", "Watchdog"));
    assert!(shows("/api/v1/rules", "OomKilled"), "the built-in rules are loaded");
    assert!(
        shows("/api/v1/targets", "collector")
            && shows("/metrics/containers", "machine_memory_bytes")
    );
    assert!(shows("/-/ready", "") && process.is_running());
    let said = std::fs::read_to_string(&log).expect("written");
    for words in [
        "there is no such file: this host's containers are measured",
        "alerts show in the API only",
    ] {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    process.signal("TERM");
    assert!(process.wait(30).success());
}

#[test]
fn a_file_that_cannot_be_read_makes_its_containers_alert_unknown_over_a_restart_too() {
    let rule =
        "{alert: Full, expr: 'container_memory_usage_bytes > 40e6', labels: {severity: warning}}";
    let control_plane = ControlPlane::start();
    let home = Home::new(&Plan {
        rules: rule.to_owned(),
        control_plane: Some(control_plane.address()),
        ..Plan::default()
    });
    let cgroups = Cgroups::new(home.path(), Layout::V2Systemd);
    (1..3).for_each(|n| cgroups.put(&id(n), Load::default()));
    let config = std::fs::read_to_string(home.path().join("plimsoll.yaml")).expect("written");
    let eyes = format!(
        "collector: {{interval: 400ms, cgroup_root: '{}', proc_root: '{}'}}\n",
        cgroups.cgroup_root().display(),
        cgroups.proc_root().display()
    );
    let docker = format!("docker: {{host: 'unix://{}'}}\n", home.path().join("none").display());
    home.write("plimsoll.yaml", &format!("{config}{eyes}{docker}"));
    let process = home.start();
    let heard = || control_plane.kinds("Full");
    wait_until("both containers are full", 20, || heard() == ["firing", "firing"]);

    std::fs::write(cgroups.file(&id(1), "", "memory.current"), "rubbish\n").expect("written");
    wait_until("one alert becomes unknown", 20, || heard() == ["firing", "firing", "unknown"]);
    let unknown = || {
        let told = home.get("/api/v1/plimsoll/alerts");
        let told: Value = serde_json::from_str(&told).unwrap_or_default();
        let alerts = told["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let of_it = |alert: &&Value| alert["labels"]["id"] == cgroups.path(&id(1));
        alerts.iter().find(of_it).map(|alert| alert["unknown"]["reason"].to_string())
    };
    let why = unknown().expect("it is there");
    assert!(why.contains("could not read container_memory_usage_bytes of"), "{why}");
    let inputs = home.get("/api/v1/plimsoll/inputs");
    assert!(inputs.contains("of 1 containers not everything can be read"), "{inputs}");

    process.kill();
    let _again = home.start();
    let told = || home.log().matches("files of containers cannot be read").count();
    wait_until("the next one finds the same, after the grace for names", 20, || told() == 2);
    let is_unknown = || unknown().is_some_and(|why| why.contains("could not read"));
    wait_until("it still is after a restart", 20, is_unknown);
    pause(1500);
    assert!(is_unknown(), "{:?}", unknown());
    assert!(!heard().contains(&"resolved".to_owned()), "{:?}", heard());
    cgroups.remove(&id(1));
    // Half a minute in which another might take its place.
    let has_ended = || heard().contains(&"resolved".to_owned());
    wait_until("with the container it ends", 60, has_ended);
}
