//! `plimsoll run` on a plain Docker host, with no configuration at all: what it does by its defaults.
//!
//! In a mount namespace of its own Docker's usual socket is the test's daemon. The port is the usual one: nothing else
//! may have it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::docker::Daemon;
use crate::support::client::get;
use crate::support::{Process, query, wait_for, wait_until};

const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9469);
const USUAL_SOCKET: &str = "/run/docker.sock";
/// Rules are evaluated every 5 s, containers read as often, Docker's list asked for at a start.
const SOON_S: u64 = 60;

/// Where nothing is to put a mount on, for as long as this lives.
struct Place(bool);

impl Place {
    fn make() -> Place {
        let is_new = !Path::new(USUAL_SOCKET).exists();
        if is_new {
            std::fs::write(USUAL_SOCKET, "").expect("made");
        }
        Place(is_new)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0 {
            std::fs::remove_file(USUAL_SOCKET).expect("it was made here");
        }
    }
}

/// The firing alert of this name about this container.
fn alert(alert: &str, container: &str) -> Option<Value> {
    let told: Value = serde_json::from_str(&get(WEB, "/api/v1/alerts")?).ok()?;
    let is_it = |told: &&Value| {
        let labels = &told["labels"];
        labels["alertname"] == alert && labels["name"] == container && told["state"] == "firing"
    };
    told["data"]["alerts"].as_array()?.iter().find(is_it).cloned()
}

#[test]
fn on_a_plain_docker_host_it_does_its_job_without_any_configuration() {
    let docker = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let _place = Place::make();
    let socket = docker.socket();
    let mut command = Command::new("unshare");
    let words = "mount --bind \"$0\" /run/docker.sock && exec \"$@\"";
    command.args(["--mount", "sh", "-c", words, socket.trim_start_matches("unix://")]);
    command.args([env!("CARGO_BIN_EXE_plimsoll"), "run"]).current_dir(folder.path());
    command.env("STATE_DIRECTORY", folder.path().join("state")).env("NO_COLOR", "1");
    let mut process = Process::start(command, &log);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("Docker is heard", SOON_S, || said().contains("Docker answers"));
    docker.load("web", &["--memory", "64m", "--memory-swap", "64m"], &["burn", "20"]);
    docker.load("killed", &["--memory", "16m", "--memory-swap", "16m"], &["climb"]);
    docker.load("loop", &["--restart", "always"], &["exit", "3"]);
    let usage = "container_memory_usage_bytes{name=\"web\"} > 20e6";
    wait_until("its memory is read, by its name", SOON_S, || query(WEB, usage).len() == 1);
    wait_for("a kill is told", SOON_S, || alert("ContainerOomKilled", "killed"));
    wait_for("a crash loop is told", SOON_S, || alert("ContainerCrashLooping", "loop"));
    assert_eq!(query(WEB, "plimsoll_oom_total{container=\"killed\",scope=\"pid1\"} == 1").len(), 1);
    assert!(alert("ContainerOomKilled", "loop").or(alert("ContainerOomKilled", "web")).is_none());
    process.signal("TERM");
    assert!(process.wait(30).success(), "{}", said());
}
