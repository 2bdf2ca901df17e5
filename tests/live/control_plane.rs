//! The whole way: a container of a real Docker leaks, plimsoll sees and asks, the reference Control
//! Plane restarts it by Docker's API and says so, plimsoll sees that it helped. And where the one who
//! measures is stopped while a container is at 95 %, nobody is restarted.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::docker::Daemon;
use crate::support::{
    Home, Plan, Process, SECRET, free_address, pause, query, wait_for, wait_until,
};

/// Slow machines included.
const SOON_S: u64 = 60;
const HEARTBEAT_INTERVAL_S: u64 = 2;
const RULE: &str = "{alert: Leaks, expr: 'max by (host, tenant, plan, role, service, name) \
                    (container_memory_working_set_bytes) / max by (host, tenant, plan, role, service, name) \
                    (container_spec_memory_limit_bytes > 0) >= 0.7', labels: {severity: critical, action: restart}}";
const POLICY: &str = "host: dock\nmode: act\n\
    tenants: [{match: {name: 'acme-.*'}, tenant: acme, role: app}]\n\
    actions: {start_grace: 5s, after_change: 0s, kill_switch_file: hold, \
    verify: {settle: 3s, relapse: 1m}}\n";
const MEMORY: [&str; 6] = ["--memory", "64m", "--memory-swap", "64m", "--stop-timeout", "3"];

/// The example as a process, its ledger, and where it listens.
struct Reference {
    home: tempfile::TempDir,
    address: SocketAddr,
    arguments: Vec<String>,
    process: Process,
}

impl Reference {
    fn start(docker: &Daemon, plimsoll: SocketAddr) -> Reference {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("secret"), SECRET).expect("written");
        let address = free_address();
        let path = |name: &str| home.path().join(name).display().to_string();
        let arguments = vec![
            path("secret"),
            path("ledger.jsonl"),
            address.to_string(),
            docker.socket().trim_start_matches("unix://").to_owned(),
            format!("http://{plimsoll}"),
            HEARTBEAT_INTERVAL_S.to_string(),
            "--host".to_owned(),
            "dock".to_owned(),
        ];
        let process = Reference::spawn(&arguments, &home.path().join("log"));
        Reference { home, address, arguments, process }
    }

    fn spawn(arguments: &[String], log: &Path) -> Process {
        let mut command = Command::new(&*BUILT);
        command.args(arguments);
        Process::start(command, log)
    }

    /// SIGKILL, and once more from its ledger; what it says from now on is taken by no disk.
    fn crash(&mut self) {
        self.process.signal("KILL");
        self.process.wait(SOON_S);
        self.process = Reference::spawn(&self.arguments, Path::new("/dev/full"));
    }

    /// Every line of its ledger.
    fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.home.path().join("ledger.jsonl"));
        let text = text.unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Lines about one step of one kind of event.
    fn events(&self, kind: &str) -> Vec<Value> {
        let is = |line: &Value| line["event"]["type"] == kind;
        self.ledger().into_iter().filter(is).collect()
    }

    /// The first event of a kind.
    fn wait_for(&self, kind: &str, seconds: u64) -> Value {
        wait_for(kind, seconds, || self.events(kind).into_iter().next())
    }

    /// Lines of one step.
    fn steps(&self, what: &str) -> Vec<Value> {
        self.ledger().into_iter().filter(|line| line["what"] == what).collect()
    }
}

/// The example, built beside this test, once.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--quiet", "--example", "control-plane"]);
    // What this cargo told its test would make the other one build some crates anew.
    let told = std::env::vars_os().map(|(name, _)| name);
    let of_package = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for name in told.filter(of_package) {
        cargo.env_remove(name);
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().expect("cargo runs").success());
    let test = std::env::current_exe().expect("it has a path");
    let profile = test.parent().and_then(Path::parent).expect("target/debug/deps");
    profile.join("examples/control-plane")
});

/// plimsoll with a Control Plane, or with hands of its own; `sight` says how it sees the containers.
fn plimsoll(sight: &str, web: SocketAddr, control_plane: Option<SocketAddr>) -> Home {
    let home = Home::new(&Plan::default());
    let rules = format!("groups: [{{name: g, interval: 1s, rules: [{RULE}]}}]\n");
    home.write("rules.yml", &rules);
    let dir = home.path().display();
    let hands = match control_plane {
        Some(address) => format!(
            "control_plane: {{url: 'http://{address}/webhooks/plimsoll', secret_file: secret, \
             heartbeat_interval: {HEARTBEAT_INTERVAL_S}s}}\n{POLICY}"
        ),
        None => POLICY.replace("actions: {", "actions: {executor: docker, "),
    };
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}\n\
         {sight}rule_files: [rules.yml]\nweb: {{listen: '{web}'}}\nstorage: {{path: '{dir}/state'}}\n\
         {hands}"
    );
    home.write("plimsoll.yaml", &config);
    home
}

/// How often Docker's own record has an event.
fn told(docker: &Daemon, event: &str) -> usize {
    let event = format!("event={event}");
    let all = ["events", "--since", "1h", "--until", "0s"];
    let only = ["--filter", &event, "--format", "{{.ID}}"];
    docker.run(&[&all[..], &only].concat()).lines().count()
}

/// What `plimsoll audit` prints, if it finds no fault.
fn audit(home: &Home, word: &str) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["audit", word, "--config"]).arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn restarts(docker: &Daemon) -> usize {
    told(docker, "restart")
}

#[test]
fn what_is_seen_is_restarted_once_and_proved_and_what_is_not_seen_is_left_alone() {
    LazyLock::force(&BUILT);
    let docker = Daemon::start();
    a_leak_is_restarted_once_and_proved(&docker);
    a_stopped_witness_moves_nobody(&docker);
    a_host_without_a_control_plane_restarts_by_itself(&docker);
}

fn a_leak_is_restarted_once_and_proved(docker: &Daemon) {
    let web = free_address();
    let mut control_plane = Reference::start(docker, web);
    let sight = format!("collector: {{interval: 1s}}\ndocker: {{host: '{}'}}\n", docker.socket());
    let home = plimsoll(&sight, web, Some(control_plane.address));
    let mut process = home.start();
    home.wait_for_log("Docker answers", SOON_S);
    // 0.7 of the limit after 42 s, and 18 s more until the kernel ends it.
    docker.load("acme-web", &MEMORY, &["ramp", "64", "60", "0"]);
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "acme-web"]);

    let asked = control_plane.wait_for("container.restart.requested", 2 * SOON_S);
    // It dies while Docker waits for the container to stop, and never hears the answer.
    wait_until("Docker was asked", SOON_S, || told(docker, "kill") > 0);
    control_plane.crash();
    assert_eq!(asked["event"]["data"]["evidence"]["container"]["id"], id);
    assert_eq!(asked["answer"]["decision"], "accepted");
    let receipt = wait_for("the receipt", SOON_S, || control_plane.steps("told").pop());
    assert_eq!((&receipt["id"], &receipt["status"]), (&asked["id"], &json!(200)));
    let verified = control_plane.wait_for("action.verified", SOON_S);
    let verification = &verified["event"]["data"]["verification"];
    assert_eq!(verification["result"], "effective", "{verified}");
    assert_eq!(
        (&verification["delivery_id"], &verification["change_id"]),
        (&asked["id"], &asked["answer"]["change_id"])
    );

    // Nothing twice, on either side.
    assert_eq!(restarts(docker), 1, "{}", control_plane.log());
    let done = control_plane.steps("done");
    assert_eq!((done.len(), &done[0]["outcome"]), (1, &json!("succeeded")), "{done:?}");
    assert_eq!(control_plane.events("container.restart.requested").len(), 1);
    let taken = control_plane.steps("taken");
    let mut ids: Vec<&str> = taken.iter().filter_map(|line| line["id"].as_str()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    let receipts = home.figure("plimsoll_receipts_total{decision=\"done\"}");
    assert!((receipts - 1.0).abs() < 0.5, "{receipts}");

    // What is not signed, or was signed long ago, is not believed.
    let body = asked["event"].to_string();
    let signed = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let old = signed.sign("evt_old", 1_700_000_000, body.as_bytes()).expect("signs");
    for headers in [
        String::new(),
        format!(
            "webhook-id: evt_old\r\nwebhook-timestamp: 1700000000\r\nwebhook-signature: {old}\r\n"
        ),
    ] {
        assert_eq!(post(control_plane.address, "/webhooks/plimsoll", &headers, &body), 401);
    }
    assert_eq!(control_plane.steps("taken").len(), count);
    audit(&home, "verify").expect("the audit is whole");
    assert!(process.is_running());
    silence_is_told_of(&control_plane, &process);
    docker.run(&["rm", "--force", "acme-web"]);
}

/// One that is stopped sends no heartbeats, and the Control Plane says so; and that it is back.
fn silence_is_told_of(control_plane: &Reference, process: &Process) {
    control_plane.wait_for("sidecar.heartbeat", SOON_S);
    let (silent, heard) = (control_plane.steps("silent").len(), control_plane.steps("heard").len());
    process.signal("STOP");
    let told =
        wait_for("the silence", SOON_S, || control_plane.steps("silent").into_iter().nth(silent));
    assert_eq!(told["id"], "dock");
    process.signal("CONT");
    wait_until("its end", SOON_S, || control_plane.steps("heard").len() > heard);
}

fn a_stopped_witness_moves_nobody(docker: &Daemon) {
    let before = restarts(docker);
    let (witness_web, web) = (free_address(), free_address());
    let witness = Home::new(&Plan::default());
    witness.write("plimsoll.yaml", &format!(
        "collector: {{interval: 1s}}\ndocker: {{host: '{}'}}\nweb: {{listen: '{witness_web}'}}\n\
         storage: {{path: '{}/state'}}\n", docker.socket(), witness.path().display()));
    let mut cadvisor = witness.start();
    witness.wait_for_log("Docker answers", SOON_S);
    let control_plane = Reference::start(docker, web);
    let sight = format!(
        "scrape_configs: [{{job_name: cadvisor, metrics_path: /metrics/containers, \
        static_configs: [{{targets: ['{witness_web}']}}]}}]\n"
    );
    let home = plimsoll(&sight, web, Some(control_plane.address));
    // Held until the witness is silent, so that the moment of the hold does not matter.
    home.write("hold", "");
    let mut process = home.start();
    // 61 of 64 MiB: 95 %.
    docker.load("acme-full", &[&MEMORY[..], &["--cpus", "0.2"]].concat(), &["burn", "61"]);
    control_plane.wait_for("alert.firing", 2 * SOON_S);
    let full = "container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.95";
    wait_until("95 %", SOON_S, || !query(web, full).is_empty());
    cadvisor.signal("STOP");
    control_plane.wait_for("alert.unknown", SOON_S);
    std::fs::remove_file(home.path().join("hold")).expect("it is there");
    // Long enough for the switch (2 s) and many rounds.
    pause(10_000);
    assert!(control_plane.events("container.restart.requested").is_empty());
    assert!(control_plane.events("alert.resolved").is_empty(), "unknown is not resolved");
    assert_eq!(restarts(docker), before);
    // With its witness back the same container is restarted: nothing else had held it.
    cadvisor.signal("CONT");
    let asked = control_plane.wait_for("container.restart.requested", SOON_S);
    wait_until("the receipt", SOON_S, || control_plane.steps("told").len() == 1);
    assert_eq!(asked["event"]["data"]["tenant_id"], "acme");
    // Docker tells of whole seconds that have passed.
    wait_until("Docker tells of it", SOON_S, || restarts(docker) > before);
    assert_eq!(restarts(docker), before + 1);
    assert!(process.is_running() && cadvisor.is_running());
    docker.run(&["rm", "--force", "acme-full"]);
}

fn a_host_without_a_control_plane_restarts_by_itself(docker: &Daemon) {
    let before = restarts(docker);
    let sight = format!("collector: {{interval: 1s}}\ndocker: {{host: '{}'}}\n", docker.socket());
    let home = plimsoll(&sight, free_address(), None);
    let mut process = home.start();
    home.wait_for_log("Docker answers", SOON_S);
    docker.load("acme-self", &[&MEMORY[..], &["--cpus", "0.2"]].concat(), &["burn", "61"]);
    wait_until("Docker tells of a restart", 2 * SOON_S, || restarts(docker) > before);
    let words = "container.restart.requested delivered, answered done";
    wait_until("it is written down", SOON_S, || {
        audit(&home, "show").is_some_and(|written| written.contains(words))
    });
    // Full again at once, and in its cool-down.
    pause(5000);
    assert_eq!(restarts(docker), before + 1);
    assert!(process.is_running());
}

/// A POST with further headers, each with its line break; the status of the answer.
fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    text.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("a status")
}
