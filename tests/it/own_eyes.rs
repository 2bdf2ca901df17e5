//! A plain host with nothing configured but where its files are: collector, built-in rules, and a
//! Docker that is not there.

use std::os::unix::net::UnixListener;

use crate::cgroups::{Cgroups, Layout, Load, id};
use crate::support::{
    FakeAlertmanager, Home, Plan, free_address, pause, query, wait_for, wait_until,
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
