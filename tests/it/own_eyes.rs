//! A plain host with nothing configured but where its files are: collector, built-in rules, and a
//! Docker that is not there.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde_json::Value;

use crate::cgroups::{Cgroups, Layout, Load, id};
use crate::support::server::Server;
use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Plan, Process, Reply, answer, free_address, get, pause,
    query, wait_for, wait_until,
};

const LOST: &str = "Docker does not answer";
const LOST_OTHERWISE: &str = "Docker still does not answer, for another reason";

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
    let said = "this host's containers are measured containers=1 cgroups=\"v2\"";
    assert_eq!(home.log().matches(said).count(), 1, "{}", home.log());
    let is_watched =
        || alertmanager.alerts().iter().any(|a| a["labels"]["alertname"] == "Watchdog");
    wait_until("the built-in rules are at work", 20, is_watched);
    home.wait_for_log(LOST, 20);
    let is_up = || query(web, "plimsoll_docker_up").pop().map(|(_, value)| value);
    assert_eq!(is_up(), Some(0.0), "somebody wrote that it is there");
    // Somebody answers the door and hangs up, twice: it tries again, and says the other reason once.
    let door = UnixListener::bind(&socket).expect("a socket");
    door.set_nonblocking(true).expect("it can");
    for _ in 0..2 {
        wait_until("it knocks again", 30, || door.accept().is_ok());
    }
    home.wait_for_log(LOST_OTHERWISE, 20);
    pause(100);
    let log = home.log();
    let said = [LOST, LOST_OTHERWISE].map(|words| log.matches(words).count());
    assert_eq!(said, [1, 1], "{log}");
    assert!(process.is_running());
}

/// A daemon without containers that says nothing; it notes with which query its events were asked for.
fn silent_docker() -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = Server::start(move |request| {
        let path = request.line.trim_start_matches("GET /");
        match path.rsplit_once('/').map_or(path, |(_, last)| last) {
            "version" => answer("200 OK", "", br#"{"Version":"20","ApiVersion":"1.41"}"#),
            "json?all=1" => answer("200 OK", "", b"[]"),
            query if query.starts_with("events") => {
                log.lock().expect("no panic").push(query.to_owned());
                Reply::Hang(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())
            }
            _ => answer("404 Not Found", "", b""),
        }
    });
    (server, asked)
}

/// Docker has told everything until the reload, so no event is between the two watches.
#[test]
fn a_watch_that_a_reload_begins_goes_on_where_the_one_before_ended() {
    let dockers = [silent_docker(), silent_docker()];
    let plan = |nth: usize| {
        let more = format!("docker: {{host: 'tcp://{}'}}\n", dockers[nth].0.address());
        Plan { more, ..Plan::default() }
    };
    let home = Home::new(&plan(0));
    let asked = |nth: usize| dockers[nth].1.lock().expect("no panic").first().cloned();
    let process = home.start();
    let first = wait_for("the first is asked", 20, || asked(0));
    assert!(!first.contains("since="), "nobody knows of a time before: {first}");
    // What happened before the list has been told.
    pause(6000);
    home.configure(&plan(1));
    process.signal("HUP");
    let second = wait_for("the other is asked", 20, || asked(1));
    let since = second.split_once("since=").and_then(|(_, rest)| rest.split('.').next());
    let since: u64 = since.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{second}"));
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    assert!((now - 30..=now).contains(&since), "{second} at {now}");
}

/// As a unit that names nothing but where state lives. The port is the usual one: nothing else may have it.
#[test]
fn in_an_empty_folder_without_any_configuration_it_watches_by_the_built_in_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("run").current_dir(folder.path());
    command.env("STATE_DIRECTORY", folder.path().join("state")).env("NO_COLOR", "1");
    let full = FullContainer::make();
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
    let said = fs::read_to_string(&log).expect("written");
    for words in [
        "there is no such file: this host's containers are measured",
        "alerts show in the API only",
    ] {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    if let Some(full) = &full {
        let told = || {
            let told: Value = serde_json::from_str(&get(web, "/api/v1/alerts")?).ok()?;
            let of_it = |alert: &&Value| {
                let labels = &alert["labels"];
                labels["alertname"] == "TenantMemoryNearLimit" && labels["name"] == full.id[..12]
            };
            let alert = told["data"]["alerts"].as_array()?.iter().find(of_it).cloned();
            alert.filter(|alert| alert["state"] == "firing")
        };
        wait_for("a container near its limit is told", 150, told);
    }
    process.signal("TERM");
    assert!(process.wait(30).success());
}

/// A cgroup of the kernel's, as Docker would make it for a container, with 95 % of its memory limit in use.
struct FullContainer {
    id: String,
    folder: PathBuf,
    _load: Process,
}

impl FullContainer {
    const LIMIT: &str = "64M";

    /// Nothing where this process may make none, or cgroups are those of v2.
    fn make() -> Option<FullContainer> {
        let id = format!("{:064x}", u128::from(std::process::id()) << 96);
        let folder = Path::new("/sys/fs/cgroup/memory/docker").join(&id);
        let is_v1 = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
        if !is_v1 || fs::create_dir_all(&folder).is_err() {
            return None;
        }
        fs::write(folder.join("memory.limit_in_bytes"), Self::LIMIT).expect("it can be limited");
        // What has no line break `tail` holds until there is more to read.
        let words =
            "echo $$ > \"$0/cgroup.procs\"; (head -c 60M /dev/zero; exec sleep 600) | tail -n 1";
        let mut command = Command::new("sh");
        command.args(["-c", words]).arg(&folder);
        let load = Process::start(command, Path::new("/dev/null"));
        let full = FullContainer { id, folder, _load: load };
        let usage = || fs::read_to_string(full.folder.join("memory.usage_in_bytes")).ok();
        let usage = || usage().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        wait_until("it is full", 20, || usage() > 60 << 20);
        Some(full)
    }

    /// Who runs in it.
    fn processes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for FullContainer {
    fn drop(&mut self) {
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() && fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            Command::new("kill").arg("-9").args(left).status().ok();
            pause(50);
        }
    }
}

/// As a unit with a user of its own that is in no group of Docker's. Whoever is not root may read anything of
/// his own, so it takes root to be somebody else.
#[test]
fn who_may_not_open_docker_s_socket_is_told_what_to_do() {
    const NOBODY: u32 = 65_534;
    let home = Home::new(&Plan::default());
    let socket = home.path().join("docker.sock");
    let _door = UnixListener::bind(&socket).expect("a socket");
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).expect("it can");
    if chown(home.path(), Some(NOBODY), Some(NOBODY)).is_err() {
        return;
    }
    let config = format!(
        "collector: {{}}\ndocker: {{host: 'unix://{}'}}\nweb: {{listen: '127.0.0.1:0'}}\n\
         storage: {{path: '{}'}}\n",
        socket.display(),
        home.path().join("state").display(),
    );
    home.write("plimsoll.yaml", &config);
    // The program may lie where nobody else may look.
    let program = home.path().join("plimsoll");
    fs::copy(env!("CARGO_BIN_EXE_plimsoll"), &program).expect("copied");
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]).arg(&program);
    command.args(["run", "--config"]).arg(home.path().join("plimsoll.yaml"));
    command.env("NO_COLOR", "1");
    let mut process = Process::start(command, &home.path().join("log"));
    home.wait_for_log(LOST, 20);
    let log = home.log();
    for words in
        ["Permission denied", "in the group of the socket (mostly `docker`)", "socket proxy"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(process.is_running());
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
    let config = fs::read_to_string(home.path().join("plimsoll.yaml")).expect("written");
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

    fs::write(cgroups.file(&id(1), "", "memory.current"), "rubbish\n").expect("written");
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
