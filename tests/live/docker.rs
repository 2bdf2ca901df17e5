//! A real Docker with real containers that climb, throttle, are killed and made anew: what the
//! collector, the count of OOM kills and identity say of them, read from the running program.
//!
//! The daemon is this test's own: private socket and folders, no network, gone with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use plimsoll::base::parse_rfc3339;
use serde_json::Value;
use tempfile::TempDir;

use crate::kernel_files::what_the_kernel_s_files_say_is_shown;
use crate::peers::Prometheus;
use crate::support::client::get;
use crate::support::{Home, Plan, Process, free_address, pause, query, wait_for, wait_until};

/// Slow machines included.
pub const SOON_S: u64 = 40;
pub const MIB: f64 = (1 << 20) as f64;

/// Whether the kernel's cgroups are those of v2.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A daemon; its containers and itself are gone with this value.
pub struct Daemon {
    dir: TempDir,
    options: Vec<String>,
    process: Process,
    _turn: MutexGuard<'static, ()>,
}

/// Every daemon puts its containers below the same cgroup, where the collector of each test would
/// see those of the other.
static TURN: Mutex<()> = Mutex::new(());

impl Daemon {
    /// Starts it and builds the image `load:1` from nothing but `examples/load.rs`.
    pub fn start() -> Daemon {
        Daemon::start_with(&[])
    }

    /// With these options of `dockerd`, too.
    pub fn start_with(options: &[&str]) -> Daemon {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a folder");
        let options: Vec<String> = options.iter().copied().map(str::to_owned).collect();
        let process = Daemon::serve(dir.path(), &options);
        let daemon = Daemon { dir, options, process, _turn: turn };
        wait_until("dockerd answers", SOON_S, || daemon.try_run(&["info"]).is_some());
        let image = daemon.dir.path().join("image");
        std::fs::create_dir(&image).expect("made");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/load.rs");
        let mut compiler = Command::new("rustc");
        compiler.args([
            "--edition",
            "2024",
            "-C",
            "opt-level=1",
            "-C",
            "target-feature=+crt-static",
        ]);
        compiler.arg(source).arg("-o").arg(image.join("load"));
        assert!(compiler.status().expect("rustc runs").success());
        let recipe = "FROM scratch\nCOPY load /load\nENTRYPOINT [\"/load\"]\n";
        std::fs::write(image.join("Dockerfile"), recipe).expect("written");
        daemon.build("load:1", &image);
        daemon
    }

    /// Starts the daemon over what this folder has.
    fn serve(dir: &Path, options: &[String]) -> Process {
        let path = |name: &str| dir.join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args(["--host", &format!("unix://{}", path("docker.sock"))]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
        command.args(["--pidfile", &path("pid"), "--storage-driver=vfs", "--bridge=none"]);
        command.args(["--iptables=false", "--ip6tables=false"]).args(options);
        Process::start(command, &dir.join("log"))
    }

    /// The daemon dies, `meanwhile` happens, and the next one goes on with what there is.
    pub fn dies_and_begins_anew(&mut self, meanwhile: impl FnOnce()) {
        self.process.signal("KILL");
        wait_until("dockerd is gone", SOON_S, || !self.process.is_running());
        meanwhile();
        self.process = Daemon::serve(self.dir.path(), &self.options);
        wait_until("dockerd answers again", SOON_S, || self.try_run(&["info"]).is_some());
    }

    fn build(&self, name: &str, folder: &Path) {
        let folder = folder.display().to_string();
        self.run(&["build", "--network", "none", "-q", "-t", name, &folder]);
    }

    pub fn socket(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    fn try_run(&self, args: &[&str]) -> Option<String> {
        run_at(&self.socket(), args)
    }

    pub fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap_or_else(|| panic!("docker {args:?}"))
    }

    /// A container of the image.
    pub fn load(&self, name: &str, options: &[&str], words: &[&str]) {
        let begin = ["run", "--detach", "--network", "none", "--name", name];
        self.run(&[&begin, options, &["load:1"], words].concat());
    }

    /// The folder of a container's cgroup; on version 1, in the tree of this controller.
    pub fn cgroup(&self, controller: &str, name: &str) -> PathBuf {
        let id = self.run(&["inspect", "--format", "{{.Id}}", name]);
        let tree = if is_v2() { "" } else { controller };
        Path::new("/sys/fs/cgroup").join(tree).join("docker").join(id)
    }
}

/// What a command of Docker's prints, if it succeeds.
pub fn run_at(socket: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new("/usr/bin/docker");
    command.env("DOCKER_BUILDKIT", "0").args(["--host", socket]).args(args);
    let output = command.stderr(Stdio::null()).output().expect("docker runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.process.is_running() {
            // What a daemon that died has left, the next one ends.
            self.process = Daemon::serve(self.dir.path(), &self.options);
            let answers = || self.try_run(&["info"]).is_some();
            let _ = (0..SOON_S * 10).any(|_| {
                answers() || {
                    pause(100);
                    false
                }
            });
        }
        let all = self.try_run(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let all: Vec<&str> = all.lines().collect();
        self.try_run(&[&["rm", "--force"], all.as_slice()].concat());
        // By SIGTERM it ends containerd, too.
        self.process.signal("TERM");
        wait_until("dockerd ends", SOON_S, || !self.process.is_running());
    }
}

/// Set where the machine is the test's own (`.ci/cgroup_v2`): it may set the clock.
const SETS_CLOCK: &str = "PLIMSOLL_TEST_SETS_CLOCK";

/// The program's API.
pub struct Plimsoll(SocketAddr);

impl Plimsoll {
    /// The one series that a selector finds.
    pub fn find(&self, selector: &str) -> Option<(Value, f64)> {
        let mut found = query(self.0, selector);
        assert!(found.len() < 2, "{selector}: {found:?}");
        found.pop()
    }

    /// Waits until the one series has a value that will do.
    pub fn until(&self, selector: &str, will_do: impl Fn(f64) -> bool) -> Value {
        let found = || self.find(selector).filter(|(_, value)| will_do(*value));
        wait_for(selector, SOON_S, found).0
    }

    pub fn is(&self, selector: &str, want: f64) {
        self.until(selector, |value| (value - want).abs() < 0.5);
    }

    /// The kills that are counted, of the first process and of others.
    pub fn kills(&self, container: &str, pid1: f64, child: f64) {
        for (scope, want) in [("pid1", pid1), ("child", child)] {
            self.is(
                &format!("plimsoll_oom_total{{container=\"{container}\",scope=\"{scope}\"}}"),
                want,
            );
        }
    }
}

/// The program beside a Docker whose socket is this.
fn beside(socket: &str) -> (Home, Process, Plimsoll) {
    let (home, process, plimsoll) = run_plimsoll(&format!("{{host: '{socket}'}}"));
    home.wait_for_log("Docker answers", SOON_S);
    (home, process, plimsoll)
}

/// Starts the program. The first process shows which network is the host's; where nobody may look at it, as in some
/// sandboxes, the program itself stands in its place, in a mount namespace of its own.
fn start(home: &Home) -> Process {
    if std::fs::read_link("/proc/1/ns/net").is_ok() {
        return home.start();
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind /proc/$$ /proc/1 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_plimsoll"));
    home.start_by(command)
}

/// The program with this section `docker`.
pub fn run_plimsoll(docker: &str) -> (Home, Process, Plimsoll) {
    let web = free_address();
    let home = Home::new(&Plan::default());
    let state = home.path().join("state");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}\n\
         collector: {{interval: 1s}}\ndocker: {docker}\nhost: dock\n\
         web: {{listen: '{web}'}}\nstorage: {{path: '{}'}}\n\
         window: {{keep: ['(container|plimsoll)_.*', ALERTS, up]}}\n\
         tenants: [{{match: {{name: 'acme-.*'}}, tenant: acme, role: app}}]\n",
        state.display()
    );
    home.write("plimsoll.yaml", &config);
    let process = start(&home);
    (home, process, Plimsoll(web))
}

#[test]
fn containers_of_a_real_docker_are_measured_counted_and_known() {
    let docker = Daemon::start();
    let (home, process, plimsoll) = beside(&docker.socket());
    let memory = ["--memory", "64m", "--memory-swap", "64m", "--memory-reservation", "32m"];
    docker.load("acme-web", &[&memory[..], &["--cpus", "0.2"]].concat(), &["burn", "20"]);
    let small = ["--memory", "16m", "--memory-swap", "16m"];
    docker.load("acme-oom", &small, &["climb"]);
    docker.load("acme-forker", &small, &["parent"]);
    docker.load("killed", &[], &[]);
    docker.load("loop", &["--restart", "always"], &["exit", "3"]);
    figures_are_the_kernel_s(&plimsoll);
    a_real_prometheus_reads_the_same(&plimsoll);

    docker.run(&["wait", "acme-oom"]);
    docker.run(&["kill", "killed"]);
    plimsoll.kills("acme-oom", 1.0, 0.0);
    plimsoll.kills("acme-forker", 0.0, 1.0);
    plimsoll.is("plimsoll_container_ends_total{container=\"acme-oom\",reason=\"oom\"}", 1.0);
    plimsoll.is("plimsoll_container_ends_total{container=\"killed\",reason=\"kill\"}", 1.0);
    plimsoll.kills("killed", 0.0, 0.0);
    plimsoll.is("plimsoll_container_crash_loop{container=\"loop\"}", 1.0);

    let mut process = a_restart_beside_a_docker_that_hangs((&home, process), &docker, &plimsoll);
    a_kill_beside_a_docker_that_hangs(&docker, &plimsoll);
    a_kill_that_takes_long(&docker, &plimsoll);
    what_the_kernel_s_files_say_is_shown(&docker, &plimsoll);
    if std::env::var_os(SETS_CLOCK).is_some() {
        a_clock_that_is_set(&docker, &plimsoll);
    }
    one_service_through_everything(&docker, &plimsoll);
    // Once more under the old name: the count goes on.
    docker.run(&["rm", "acme-oom"]);
    docker.load("acme-oom", &small, &["climb"]);
    plimsoll.kills("acme-oom", 2.0, 0.0);
    plimsoll.kills("acme-forker", 0.0, 1.0);
    plimsoll.kills("acme-web", 0.0, 0.0);
    assert!(process.is_running());
}

/// Docker tells of a check's first success or failure by an event alone: nothing else has it asked again.
#[test]
fn health_checks_of_a_real_docker_are_told() {
    let docker = Daemon::start();
    let (_home, mut process, plimsoll) = beside(&docker.socket());
    let is_well = |name: &str, want: f64| {
        plimsoll.is(&format!("container_health_state{{name=\"{name}\"}}"), want);
    };
    let folder = docker.dir.path().join("checked");
    std::fs::create_dir(&folder).expect("made");
    docker.load("unchecked", &[], &[]);
    for (name, code, seen) in [("well", "0", 1.0), ("ill", "1", 0.0)] {
        // As `starting` it is 0 as well.
        let check = format!("--interval=3s --retries=1 CMD [\"/load\", \"exit\", \"{code}\"]");
        let recipe = format!("FROM load:1\nHEALTHCHECK {check}\n");
        std::fs::write(folder.join("Dockerfile"), recipe).expect("written");
        docker.build(&format!("{name}:1"), &folder);
        docker.run(&["run", "-d", "--network", "none", "--name", name, &format!("{name}:1")]);
        is_well(name, 0.0);
        is_well(name, seen);
    }
    is_well("unchecked", -1.0);
    let of_ill = || docker.run(&["inspect", "--format", "{{.State.Health.Status}}", "ill"]);
    wait_until("Docker calls it unhealthy", SOON_S, || of_ill() == "unhealthy");
    is_well("ill", 0.0);
    assert!(process.is_running());
}

/// A container is killed again and again, and so is Docker: each kill and each end counts once. A run is longer than
/// a counter may be late: a kill that only the cgroup tells of can be no other's.
#[test]
fn kills_and_ends_are_exact_over_a_docker_that_dies() {
    const KILLS: u32 = 4;
    let mut docker = Daemon::start();
    let (_home, mut process, plimsoll) = beside(&docker.socket());
    let small = ["--memory", "16m", "--memory-swap", "16m", "--restart", "on-failure"];
    docker.load("acme-again", &small, &["killed", &KILLS.to_string()]);
    let counted = "plimsoll_oom_total{container=\"acme-again\",scope=\"pid1\"}";
    plimsoll.until(counted, |kills| kills >= 2.0);
    let file = if is_v2() { "memory.current" } else { "memory.usage_in_bytes" };
    let usage = docker.cgroup("memory", "acme-again").join(file);
    let usage = || std::fs::read_to_string(&usage).ok()?.trim().parse::<f64>().ok();
    // Before that it may be Docker's own process that makes it ready.
    let is_under_way = || usage().is_some_and(|bytes| (6.0 * MIB..10.0 * MIB).contains(&bytes));
    wait_until("its third run is under way", SOON_S, is_under_way);
    // Also kills that took the cgroup along which had counted them, as cAdvisor has it.
    plimsoll.is("container_oom_events_total{name=\"acme-again\"}", 2.0);
    docker.dies_and_begins_anew(|| {
        plimsoll.is("plimsoll_docker_up", 0.0);
        // Nobody tells of this one but its empty cgroup, which the next Docker removes.
        plimsoll.until(counted, |kills| kills >= 3.0);
    });
    let state = || {
        docker.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "acme-again"])
    };
    wait_until("it ends by itself", 2 * SOON_S, || state() == "exited 0");
    plimsoll.is("plimsoll_docker_up", 1.0);
    plimsoll.kills("acme-again", f64::from(KILLS), 0.0);
    let ends = |reason: &str| {
        format!("plimsoll_container_ends_total{{container=\"acme-again\",reason=\"{reason}\"}}")
    };
    plimsoll.is(&ends("oom"), f64::from(KILLS));
    plimsoll.is(&ends("exit"), 1.0);
    let all = "sum(plimsoll_container_ends_total{container=\"acme-again\"})";
    plimsoll.is(all, f64::from(KILLS) + 1.0);
    assert!(process.is_running());
}

/// Limits, working set, throttling: in cAdvisor's names, with Docker's names and our owner.
fn figures_are_the_kernel_s(plimsoll: &Plimsoll) {
    let of = |metric: &str| format!("{metric}{{name=\"acme-web\"}}");
    let labels = plimsoll.until(&of("container_memory_working_set_bytes"), |bytes| {
        (20.0 * MIB..64.0 * MIB).contains(&bytes)
    });
    for (label, want) in [
        ("image", "load:1"),
        ("tenant", "acme"),
        ("service", "acme/app"),
        ("host", "dock"),
        ("job", "collector"),
    ] {
        assert_eq!(labels[label], want, "{labels}");
    }
    plimsoll.is(&of("container_spec_memory_limit_bytes"), 64.0 * MIB);
    // On v1 it is of memory and swap together, on v2 of swap alone: cAdvisor's meaning.
    let swap = if is_v2() { 0.0 } else { 64.0 * MIB };
    plimsoll.is(&of("container_spec_memory_swap_limit_bytes"), swap);
    plimsoll.is(&of("container_spec_memory_reservation_limit_bytes"), 32.0 * MIB);
    plimsoll.is(&of("plimsoll_container_memory_limit_believed_bytes"), 64.0 * MIB);
    plimsoll.is(&of("container_spec_cpu_quota"), 20_000.0);
    plimsoll.until(&of("container_cpu_cfs_throttled_periods_total"), |periods| periods > 2.0);
}

/// `/metrics/containers` in the place of cAdvisor: every line of it is taken, and says the same.
fn a_real_prometheus_reads_the_same(plimsoll: &Plimsoll) {
    let prometheus = Prometheus::scraping(plimsoll.0, "/metrics/containers");
    let theirs = Plimsoll(prometheus.address);
    theirs.is("up{job=\"cadvisor\"}", 1.0);
    let of = |metric: &str| format!("{metric}{{name=\"acme-web\"}}");
    for (metric, want) in [
        ("container_spec_memory_limit_bytes", 64.0 * MIB),
        ("container_spec_cpu_quota", 20_000.0),
        ("plimsoll_container_memory_limit_believed_bytes", 64.0 * MIB),
    ] {
        theirs.is(&of(metric), want);
    }
    let labels = theirs.until(&of("container_memory_working_set_bytes"), |bytes| {
        (20.0 * MIB..64.0 * MIB).contains(&bytes)
    });
    assert_eq!(labels["image"], "load:1", "{labels}");
    theirs.until(&of("container_cpu_cfs_throttled_periods_total"), |periods| periods > 2.0);
}

/// Names, owners and crash loops outlive us, whether Docker answers or not; what cannot be seen is unknown.
fn a_restart_beside_a_docker_that_hangs(
    (home, mut process): (&Home, Process),
    docker: &Daemon,
    plimsoll: &Plimsoll,
) -> Process {
    let ends = "plimsoll_container_ends_total{container=\"loop\",reason=\"crash\"}";
    let looping = "plimsoll_container_crash_loop{container=\"loop\"}";
    docker.run(&["rename", "acme-web", "other"]);
    // Twelve rounds later the journal has it all.
    plimsoll.until(&format!("count_over_time({looping}[1m])"), |rounds| rounds >= 24.0);
    let before = plimsoll.find(ends).expect("it ended").1;
    docker.process.signal("STOP");
    process.signal("KILL");
    wait_until("it is gone", SOON_S, || !process.is_running());
    let process = start(home);
    plimsoll.is("plimsoll_docker_up", 0.0);
    let seen = "time() - container_last_seen{name=\"acme-web\"}";
    let labels = plimsoll.until(seen, |age| age < 3.0);
    assert_eq!(labels["service"], "acme/app", "{labels}");
    assert!(
        plimsoll.find(&format!("timestamp({looping}) > time() - 1")).is_none(),
        "nobody sees it"
    );
    let is_unknown = || {
        let answer: Value =
            serde_json::from_str(&get(plimsoll.0, "/api/v1/plimsoll/alerts")?).ok()?;
        let of_loop = |alert: &&Value| alert["labels"]["name"] == "loop";
        let alert = answer["data"]["alerts"].as_array()?.iter().find(of_loop).cloned();
        alert.filter(|alert| alert["unknown"]["reason"] == "Docker does not answer")
    };
    wait_for("the crash loop is unknown", SOON_S, is_unknown);
    docker.process.signal("CONT");
    plimsoll.is("plimsoll_docker_up", 1.0);
    plimsoll.is(looping, 1.0);
    plimsoll.until(ends, |count| count >= before);
    docker.run(&["rename", "other", "acme-web"]);
    process
}

/// Nobody removes the cgroup of a container that ends while dockerd hangs: whom the kernel killed is known all
/// the same, once, and the empty cgroup is not read as a container that uses nothing.
fn a_kill_beside_a_docker_that_hangs(docker: &Daemon, plimsoll: &Plimsoll) {
    let usage = "container_memory_usage_bytes{name=\"acme-late\"}";
    let small = ["--memory", "16m", "--memory-swap", "16m"];
    docker.load("acme-late", &small, &["ramp", "16", "2", "5"]);
    plimsoll.until(usage, |bytes| bytes > 0.0);
    let cgroup = docker.cgroup("memory", "acme-late");
    docker.process.signal("STOP");
    plimsoll.kills("acme-late", 1.0, 0.0);
    wait_until("its series end", SOON_S, || plimsoll.find(usage).is_none());
    assert!(cgroup.exists(), "dockerd has not looked after it yet");
    docker.process.signal("CONT");
    plimsoll.is("plimsoll_container_ends_total{container=\"acme-late\",reason=\"oom\"}", 1.0);
    plimsoll.kills("acme-late", 1.0, 0.0);
}

/// A victim that hardly gets the processor dies slowly, and Docker makes an event each time the kernel finds no
/// memory until it has: it is one kill, as the kernel's own count says.
fn a_kill_that_takes_long(docker: &Daemon, plimsoll: &Plimsoll) {
    let slow = ["--memory", "16m", "--memory-swap", "16m", "--cpus", "0.05"];
    docker.load("acme-slow", &slow, &["parent"]);
    plimsoll.kills("acme-slow", 0.0, 1.0);
    let counted = "plimsoll_oom_total{container=\"acme-slow\",scope=\"child\"}";
    plimsoll.until(&format!("count_over_time(({counted} > 0)[1m:1s])"), |seconds| seconds >= 12.0);
    plimsoll.kills("acme-slow", 0.0, 1.0);
    plimsoll.is("container_oom_events_total{name=\"acme-slow\"}", 1.0);
}

/// Kills and ends count once over a clock that is set forward and back.
fn a_clock_that_is_set(docker: &Daemon, plimsoll: &Plimsoll) {
    let small = ["--memory", "16m", "--memory-swap", "16m"];
    docker.load("acme-stepped", &small, &["climb"]);
    plimsoll.kills("acme-stepped", 1.0, 0.0);
    for (step, kills) in [("+2 hours", 2.0), ("-1 hour", 3.0)] {
        let set = Command::new("date").args(["--set", step]).status().expect("date runs");
        assert!(set.success(), "the clock can be set");
        docker.run(&["start", "acme-stepped"]);
        plimsoll.kills("acme-stepped", kills, 0.0);
        let ends = "plimsoll_container_ends_total{container=\"acme-stepped\"}";
        plimsoll.is(&format!("sum by (reason) ({ends})"), kills);
    }
    plimsoll.kills("acme-web", 0.0, 0.0);
}

/// Restarted, renamed, updated and made anew it is one service, and none of it is an OOM kill.
fn one_service_through_everything(docker: &Daemon, plimsoll: &Plimsoll) {
    let of = |metric: &str| format!("{metric}{{name=\"acme-web\"}}");
    let started = plimsoll.find(&of("container_start_time_seconds")).expect("it runs").1;
    docker.run(&["restart", "--time", "0", "acme-web"]);
    plimsoll.until(&of("container_start_time_seconds"), |at| at > started);
    let ends = |reason: &str| {
        format!("plimsoll_container_ends_total{{container=\"acme-web\",reason=\"{reason}\"}}")
    };
    plimsoll.is(&ends("stop"), 1.0);
    docker.run(&["rename", "acme-web", "other"]);
    docker.run(&["update", "--memory", "96m", "--memory-swap", "96m", "other"]);
    // Under its first name, or a rename would resolve an alert and forget a cool-down.
    plimsoll.is(&of("plimsoll_container_memory_limit_believed_bytes"), 96.0 * MIB);
    plimsoll.is(&of("container_spec_memory_limit_bytes"), 96.0 * MIB);
    docker.run(&["rm", "--force", "other"]);
    wait_until("its series end", SOON_S, || {
        plimsoll.find(&of("container_memory_usage_bytes")).is_none()
    });
    plimsoll.is(&ends("kill"), 1.0);
    plimsoll.is("sum(plimsoll_container_ends_total{container=\"acme-web\"})", 2.0);
    docker.load("acme-web", &["--memory", "48m"], &["burn", "8"]);
    plimsoll.is(&of("container_spec_memory_limit_bytes"), 48.0 * MIB);
    let labels = plimsoll.until(&of("container_memory_usage_bytes"), |bytes| bytes > 0.0);
    assert_eq!(labels["service"], "acme/app", "{labels}");
}

/// Climbs to the limit of 64 MiB: seconds they last, and quiet seconds before them.
const CLIMBS: [(u32, u32); 10] = [
    (60, 0),
    (60, 30),
    (66, 0),
    (72, 45),
    (75, 0),
    (80, 20),
    (90, 0),
    (90, 30),
    (105, 0),
    (120, 0),
];
/// So long before the kill a person has time to look.
const AHEAD_S: f64 = 30.0;

/// Of the kills whose climb lasts a minute or more, nine of ten are announced half a minute before;
/// page cache is not announced at all.
#[test]
fn kills_are_announced_half_a_minute_before() {
    let docker = Daemon::start();
    let (_home, mut process, plimsoll) = beside(&docker.socket());
    // A rule with `unless` may not fire before the longest of its ranges, a minute, has been seen.
    let rounds = || plimsoll.find("count_over_time(up{job=\"collector\"}[3m])");
    wait_until("a minute has been seen", 150, || rounds().is_some_and(|(_, n)| n >= 65.0));
    let memory = ["--memory", "64m", "--memory-swap", "64m"];
    let name = |nth: usize| format!("acme-climb{nth}");
    for (nth, (seconds, quiet)) in CLIMBS.into_iter().enumerate() {
        let words = ["64".to_owned(), seconds.to_string(), quiet.to_string()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        docker.load(&name(nth), &memory, &[&["ramp"], words.as_slice()].concat());
    }
    docker.load("acme-cache", &memory, &["cache", "100", "80"]);
    let mut leads = Vec::new();
    for (nth, climb) in CLIMBS.into_iter().enumerate() {
        docker.run(&["wait", &name(nth)]);
        let state = "{{.State.OOMKilled}} {{.State.FinishedAt}}";
        let state = docker.run(&["inspect", "--format", state, &name(nth)]);
        let (killed, at) = state.split_once(' ').expect("two words");
        assert_eq!(killed, "true", "{climb:?}");
        let at = parse_rfc3339(at).expect("a time").as_millis() as f64 / 1000.0;
        let first = format!(
            "min_over_time(timestamp(ALERTS{{alertname=\"TenantMemoryExhaustionSoon\",\
             alertstate=\"firing\",name=\"{}\"}})[10m:1s])",
            name(nth)
        );
        let first = plimsoll.find(&first).map(|(_, at)| at);
        leads.push((climb, first.map_or(0.0, |first| at - first)));
    }
    eprintln!("((seconds, quiet seconds), seconds ahead): {leads:?}");
    let early = leads.iter().filter(|(_, lead)| *lead >= AHEAD_S).count();
    assert!(10 * early >= 9 * leads.len(), "{early} of {}: {leads:?}", leads.len());
    // It was full by the kernel's own mark, and is still there. How much of its cache it still has is
    // no promise: a machine that builds beside it takes idle cache away.
    plimsoll
        .until("container_memory_max_usage_bytes{name=\"acme-cache\"}", |most| most > 60.0 * MIB);
    plimsoll.until("container_memory_usage_bytes{name=\"acme-cache\"}", |bytes| bytes > 0.0);
    let warned =
        "max_over_time(ALERTS{alertname=\"TenantMemoryExhaustionSoon\",name=\"acme-cache\"}[10m])";
    assert!(plimsoll.find(warned).is_none(), "page cache goes when room is needed");
    assert!(process.is_running());
}
