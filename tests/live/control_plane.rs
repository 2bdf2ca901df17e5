//! The whole way by the shipped rules: a container of a real Docker leaks, plimsoll sees and asks, the
//! reference Control Plane restarts it by Docker's API and says so, plimsoll sees that it helped: that
//! memory is free and that its customer gets in. Where the site is blank afterwards, it says so instead.
//! And where the one who measures is stopped while a container is full, nobody is restarted.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use serde_json::{Value, json};

use crate::docker::{Daemon, run_at};
use crate::support::server::Server;
use crate::support::{
    Home, Plan, Process, SECRET, answer, free_address, pause, query, wait_for, wait_until,
};

/// Slow machines included.
const SOON_S: u64 = 60;
const HEARTBEAT_INTERVAL_S: u64 = 2;
/// What fires, of the shipped rules: its minute at 90 % is the longest wait of the test.
const SHIPPED: &str = "TenantMemoryWillOom";
const RULE: &str = "{alert: Leaks, expr: 'max by (host, tenant, plan, role, service, name) \
                    (container_memory_working_set_bytes) / max by (host, tenant, plan, role, service, name) \
                    (container_spec_memory_limit_bytes > 0) >= 0.7', labels: {severity: critical, action: restart}}";
/// `##` is the pattern of the tenants; of what the other parts of the test run here, nobody knows whose it is.
const POLICY: &str = "host: dock\nmode: act\n\
    tenants: [{match: {name: '(##)-.*'}, tenant: $1, role: app}]\n\
    actions: {start_grace: 5s, after_change: 0s, kill_switch_file: hold, restarts_at_once: 2, \
    verify: {within: 30s, settle: 3s, relapse: 1m, gate_grace: 2s}}\n";
const MEMORY: [&str; 6] = ["--memory", "64m", "--memory-swap", "64m", "--stop-timeout", "3"];
/// Above 90 % at once, and full two minutes later: who fires after one is restarted before the kernel kills.
const LEAK: [&str; 3] = ["leak", "58", "25"];

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

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Every line of its ledger.
    fn ledger(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.home.path().join("ledger.jsonl"));
        let text = text.unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Lines about events of one kind that concern a tenant, or nobody (`""`).
    fn events(&self, kind: &str, tenant: &str) -> Vec<Value> {
        let is = |line: &Value| {
            let event = &line["event"];
            let of = event["data"]["tenant_id"].as_str().unwrap_or_default();
            event["type"] == kind && of == tenant
        };
        self.ledger().into_iter().filter(is).collect()
    }

    /// The first of them.
    fn wait_for(&self, kind: &str, tenant: &str, seconds: u64) -> Value {
        let what = format!("{kind} of {tenant:?}");
        wait_for(&what, seconds, || self.events(kind, tenant).into_iter().next())
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

/// plimsoll as these lines have it, besides those about how often it looks, where it listens and its state.
fn plimsoll(web: SocketAddr, lines: &str) -> Home {
    let home = Home::new(&Plan::default());
    let dir = home.path().display();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}\n\
         web: {{listen: '{web}'}}\nstorage: {{path: '{dir}/state'}}\n{lines}"
    );
    home.write("plimsoll.yaml", &config);
    home
}

/// It measures the containers itself.
fn own_eyes(docker: &Daemon) -> String {
    format!("collector: {{interval: 1s}}\ndocker: {{host: '{}'}}\n", docker.socket())
}

/// By the shipped rules, as no others are named, for these tenants.
fn asks(control_plane: &Reference, tenants: &str) -> String {
    let address = control_plane.address;
    let policy = POLICY.replace("##", tenants);
    format!(
        "control_plane: {{url: 'http://{address}/webhooks/plimsoll', secret_file: secret, \
         heartbeat_interval: {HEARTBEAT_INTERVAL_S}s}}\n{policy}"
    )
}

/// The tenants' sites. Each has a login, but that of one is a blank page as soon as its container was started anew.
fn sites(docker: &Daemon, blank: &'static str) -> Server {
    let (socket, first) = (docker.socket(), OnceLock::new());
    let started = ["inspect", "--format", "{{.State.StartedAt}}"];
    let is_anew = move || {
        let started = run_at(&socket, &[&started[..], &[&format!("{blank}-web")]].concat());
        started.is_some_and(|at| *first.get_or_init(|| at.clone()) != at)
    };
    Server::start(move |request| {
        let page = match request.line == format!("GET /{blank}/login") && is_anew() {
            true => "\n",
            false => "<p>Log in</p>",
        };
        answer("200 OK", "Content-Type: text/html\r\n", page.as_bytes())
    })
}

/// How often Docker's own record has an event of a container.
fn told(docker: &Daemon, event: &str, container: &str) -> usize {
    let (event, container) = (format!("event={event}"), format!("container={container}"));
    let all = ["events", "--since", "1h", "--until", "0s"];
    let only = ["--filter", &event, "--filter", &container, "--format", "{{.ID}}"];
    docker.run(&[&all[..], &only].concat()).lines().count()
}

/// What `plimsoll audit` prints, if it finds no fault.
fn audit(home: &Home, word: &str) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["audit", word, "--config"]).arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn restarts(docker: &Daemon, container: &str) -> usize {
    told(docker, "restart", container)
}

/// Side by side, because most of each part is the minute that the shipped rule waits.
#[test]
fn what_is_seen_is_restarted_once_and_proved_and_what_is_not_seen_is_left_alone() {
    LazyLock::force(&BUILT);
    let docker = Daemon::start();
    std::thread::scope(|scope| {
        scope.spawn(|| leaks_are_restarted_once_and_judged(&docker));
        scope.spawn(|| a_stopped_witness_moves_nobody(&docker));
        scope.spawn(|| a_host_without_a_control_plane_restarts_by_itself(&docker));
    });
}

/// Two tenants, one of whom cannot log in after the restart.
fn leaks_are_restarted_once_and_judged(docker: &Daemon) {
    let web = free_address();
    let mut control_plane = Reference::start(docker, web);
    let sites = sites(docker, "globex");
    let gate = format!(
        "gates: [{{name: login, url: 'http://{}/{{tenant}}/login', status: 200, text: Log in, \
         interval: 1s}}]\n",
        sites.address()
    );
    let hands = asks(&control_plane, "acme|globex");
    let home = plimsoll(web, &[own_eyes(docker), gate, hands].concat());
    let mut process = home.start();
    home.wait_for_log("Docker answers", SOON_S);
    docker.load("acme-web", &MEMORY, &LEAK);
    docker.load("globex-web", &MEMORY, &LEAK);

    let asked = control_plane.wait_for("container.restart.requested", "acme", 2 * SOON_S);
    // It dies while Docker waits for the container to stop, and never hears the answer.
    wait_until("Docker was asked", SOON_S, || told(docker, "kill", "acme-web") > 0);
    control_plane.crash();
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "acme-web"]);
    assert_eq!(asked["event"]["data"]["evidence"]["container"]["id"], id);
    assert_eq!(asked["event"]["data"]["alert"], SHIPPED);
    assert_eq!(asked["answer"]["decision"], "accepted");
    let verified = judged(&control_plane, "action.verified", &asked);
    assert_eq!(verified["result"], "effective", "{verified}");
    let open = json!([{"gate": "login", "passes": true, "previous": "200", "current": "200"}]);
    assert_eq!(verified["gates"], open, "{verified}");
    a_blank_page_is_told_of(&control_plane);

    each_was_restarted_once(docker, &control_plane);
    let receipts = home.figure("plimsoll_receipts_total{decision=\"done\"}");
    assert!((receipts - 2.0).abs() < 0.5, "{receipts}");
    only_what_is_signed_is_believed(&control_plane, &asked["event"].to_string());
    audit(&home, "verify").expect("the audit is whole");
    assert!(process.is_running());
    silence_is_told_of(&control_plane, &process);
}

/// A page with nothing on it is no login, whatever its status says: at once, and when the restart is judged.
fn a_blank_page_is_told_of(control_plane: &Reference) {
    let blank = "200, a blank page";
    let asked = control_plane.wait_for("container.restart.requested", "globex", SOON_S);
    assert_eq!(asked["event"]["data"]["alert"], SHIPPED);
    let told = control_plane.wait_for("change.verification.failed", "globex", SOON_S);
    let params = &told["event"]["data"]["action"]["params"];
    for (name, want) in [
        ("gate", "login"),
        ("variable", "restart"),
        ("previous", "200"),
        ("current", blank),
        ("change_id", asked["answer"]["change_id"].as_str().expect("it was accepted")),
    ] {
        assert_eq!(params[name], want, "{name} in {told}");
    }
    let failed = judged(control_plane, "action.failed", &asked);
    assert_eq!(failed["result"], "ineffective", "{failed}");
    let shut = json!([{"gate": "login", "passes": false, "previous": "200", "current": blank}]);
    assert_eq!(failed["gates"], shut, "{failed}");
    let all = control_plane.events("change.verification.failed", "globex");
    assert_eq!(all.len(), 1, "{all:?}");
}

/// Nothing twice, on either side, and each with one end.
fn each_was_restarted_once(docker: &Daemon, control_plane: &Reference) {
    for (tenant, container, others) in [
        ("acme", "acme-web", &["action.failed", "change.verification.failed"][..]),
        ("globex", "globex-web", &["action.verified"]),
    ] {
        assert_eq!(restarts(docker, container), 1, "{container}: {}", control_plane.log());
        assert_eq!(control_plane.events("container.restart.requested", tenant).len(), 1);
        for other in others {
            assert_eq!(control_plane.events(other, tenant), Vec::<Value>::new(), "{other}");
        }
    }
    for (step, field, want) in
        [("done", "outcome", json!("succeeded")), ("told", "status", json!(200))]
    {
        let lines = control_plane.steps(step);
        let is_good = |line: &Value| line[field] == want;
        assert!(lines.len() == 2 && lines.iter().all(is_good), "{lines:?}");
    }
    let taken = control_plane.steps("taken");
    let mut ids: Vec<&str> = taken.iter().filter_map(|line| line["id"].as_str()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
}

/// The verdict about a request, which names it.
fn judged(control_plane: &Reference, kind: &str, asked: &Value) -> Value {
    let tenant = asked["event"]["data"]["tenant_id"].as_str().expect("somebody's");
    let mut verdict = control_plane.wait_for(kind, tenant, SOON_S);
    let verification = verdict["event"]["data"]["verification"].take();
    assert_eq!(verification["delivery_id"], asked["id"], "{verification}");
    assert_eq!(verification["change_id"], asked["answer"]["change_id"], "{verification}");
    verification
}

/// What is not signed, or was signed long ago, is not.
fn only_what_is_signed_is_believed(control_plane: &Reference, body: &str) {
    let taken = control_plane.steps("taken").len();
    let signed = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let old = signed.sign("evt_old", 1_700_000_000, body.as_bytes()).expect("signs");
    for headers in [
        String::new(),
        format!(
            "webhook-id: evt_old\r\nwebhook-timestamp: 1700000000\r\nwebhook-signature: {old}\r\n"
        ),
    ] {
        assert_eq!(post(control_plane.address, "/webhooks/plimsoll", &headers, body), 401);
    }
    assert_eq!(control_plane.steps("taken").len(), taken);
}

/// One that is stopped sends no heartbeats, and the Control Plane says so; and that it is back.
fn silence_is_told_of(control_plane: &Reference, process: &Process) {
    control_plane.wait_for("sidecar.heartbeat", "", SOON_S);
    let (silent, heard) = (control_plane.steps("silent").len(), control_plane.steps("heard").len());
    process.signal("STOP");
    let told =
        wait_for("the silence", SOON_S, || control_plane.steps("silent").into_iter().nth(silent));
    assert_eq!(told["id"], "dock");
    process.signal("CONT");
    wait_until("its end", SOON_S, || control_plane.steps("heard").len() > heard);
}

fn a_stopped_witness_moves_nobody(docker: &Daemon) {
    let web = free_address();
    let witness_web = free_address();
    let witness = plimsoll(witness_web, &own_eyes(docker));
    let mut cadvisor = witness.start();
    witness.wait_for_log("Docker answers", SOON_S);
    let control_plane = Reference::start(docker, web);
    let sight = format!(
        "scrape_configs: [{{job_name: cadvisor, metrics_path: /metrics/containers, \
        static_configs: [{{targets: ['{witness_web}']}}]}}]\n"
    );
    let home = plimsoll(web, &[sight, asks(&control_plane, "initech")].concat());
    // Held until the witness is silent, so that the moment of the hold does not matter.
    home.write("hold", "");
    let mut process = home.start();
    docker.load("initech-web", &MEMORY, &LEAK);
    control_plane.wait_for("alert.firing", "initech", 2 * SOON_S);
    let full = "container_memory_working_set_bytes{name='initech-web'} \
                / container_spec_memory_limit_bytes >= 0.9";
    wait_until("90 %", SOON_S, || !query(web, full).is_empty());
    cadvisor.signal("STOP");
    control_plane.wait_for("alert.unknown", "initech", SOON_S);
    std::fs::remove_file(home.path().join("hold")).expect("it is there");
    // Long enough for the switch (2 s) and many rounds.
    pause(10_000);
    let events = |kind| control_plane.events(kind, "initech");
    assert_eq!(events("container.restart.requested"), Vec::<Value>::new());
    assert_eq!(events("alert.resolved"), Vec::<Value>::new(), "unknown is not resolved");
    assert_eq!(restarts(docker, "initech-web"), 0);
    // With its witness back the same container is restarted: nothing else had held it.
    cadvisor.signal("CONT");
    let asked = control_plane.wait_for("container.restart.requested", "initech", SOON_S);
    assert_eq!(asked["event"]["data"]["alert"], SHIPPED);
    wait_until("the receipt", SOON_S, || control_plane.steps("told").len() == 1);
    // Docker tells of whole seconds that have passed.
    wait_until("Docker tells of it", SOON_S, || restarts(docker, "initech-web") > 0);
    assert_eq!(restarts(docker, "initech-web"), 1);
    assert!(process.is_running() && cadvisor.is_running());
}

/// By a rule of the operator's own, which waits for no minute: so it is full again while the cool-down lasts.
fn a_host_without_a_control_plane_restarts_by_itself(docker: &Daemon) {
    let own = POLICY.replace("##", "hooli").replace("actions: {", "actions: {executor: docker, ");
    let rules = "rule_files: [rules.yml]\n".to_owned();
    let home = plimsoll(free_address(), &[own_eyes(docker), rules, own].concat());
    home.write("rules.yml", &format!("groups: [{{name: g, rules: [{RULE}]}}]\n"));
    let mut process = home.start();
    home.wait_for_log("Docker answers", SOON_S);
    docker.load("hooli-web", &[&MEMORY[..], &["--cpus", "0.2"]].concat(), &["burn", "61"]);
    wait_until("Docker tells of a restart", 2 * SOON_S, || restarts(docker, "hooli-web") > 0);
    let words = "container.restart.requested delivered, answered done";
    wait_until("it is written down", SOON_S, || {
        audit(&home, "show").is_some_and(|written| written.contains(words))
    });
    // Full again at once, and in its cool-down.
    pause(5000);
    assert_eq!(restarts(docker, "hooli-web"), 1);
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
