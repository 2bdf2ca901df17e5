//! plimsoll as a process, in a folder of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::control_plane::SECRET;
use super::{wait_for, wait_until};

/// What a configuration is made of.
#[derive(Default)]
pub struct Plan {
    /// Scrape jobs: name, address, further keys in YAML's flow style (`sample_limit: 1`).
    pub jobs: Vec<(String, SocketAddr, String)>,
    /// Rules of the one group, in YAML's flow style; empty: the file `rules.yml` is not used.
    pub rules: String,
    /// Where alerts go.
    pub alertmanagers: Vec<SocketAddr>,
    /// Where webhooks go.
    pub control_plane: Option<SocketAddr>,
    /// Further keys of it, each with a comma before it.
    pub control_plane_keys: String,
    /// The section `web`; empty: any port of the system's choice.
    pub web: String,
    /// Further lines.
    pub more: String,
    /// Where state lives, if not in the folder.
    pub state: Option<PathBuf>,
}

impl Plan {
    /// Adds a job.
    pub fn job(mut self, name: &str, address: SocketAddr, keys: &str) -> Plan {
        self.jobs.push((name.to_owned(), address, keys.to_owned()));
        self
    }

    fn config(&self, dir: &Path) -> String {
        let web = if self.web.is_empty() { "listen: '127.0.0.1:0'" } else { &self.web };
        let mut text = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms}}\n\
             web: {{{web}}}\nscrape_configs:\n"
        );
        for (name, address, keys) in &self.jobs {
            let comma = if keys.is_empty() { "" } else { ", " };
            text += &format!(
                "- {{job_name: {name}, static_configs: [{{targets: ['{address}']}}]{comma}{keys}}}\n"
            );
        }
        if !self.rules.is_empty() {
            text += "rule_files: ['rules*.yml']\n";
        }
        text += "alerting:\n  alertmanagers:\n";
        for address in &self.alertmanagers {
            text += &format!("  - {{static_configs: [{{targets: ['{address}']}}], timeout: 2s}}\n");
        }
        let state = self.state.clone().unwrap_or_else(|| dir.join("state"));
        text += &format!("storage: {{path: '{}'}}\n", state.display());
        if let Some(address) = self.control_plane {
            let secret = dir.join("secret");
            text += &format!(
                "control_plane: {{url: 'http://{address}/hook', secret_file: '{}', timeout: 1s{}}}\n",
                secret.display(),
                self.control_plane_keys
            );
        }
        text + &self.more
    }
}

/// A folder with a configuration; may outlive many processes.
pub struct Home {
    dir: TempDir,
    /// Where in the log the newest process begins.
    log_begins: AtomicUsize,
}

impl Home {
    /// Writes the configuration.
    pub fn new(plan: &Plan) -> Home {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home { dir, log_begins: AtomicUsize::new(0) };
        home.write("secret", SECRET);
        home.configure(plan);
        home
    }

    /// Writes another configuration over it.
    pub fn configure(&self, plan: &Plan) {
        let rules = format!("groups: [{{name: g, rules: [{}]}}]\n", plan.rules);
        self.write("rules.yml", &rules);
        self.write("plimsoll.yaml", &plan.config(self.path()));
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What every process so far has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Waits until the log has these words.
    pub fn wait_for_log(&self, words: &str, seconds: u64) {
        wait_until(&format!("`{words}` in the log"), seconds, || self.log().contains(words));
    }

    /// The body of an answer of the newest process's own HTTP interface.
    pub fn get(&self, path: &str) -> String {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.ask(&ask).split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    /// A POST with further headers, each with its line break; the status of the answer and the answer.
    pub fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let answer = self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), answer)
    }

    /// Where the newest process listens.
    pub fn address(&self) -> SocketAddr {
        wait_for("the address it listens on", 15, || {
            let log = self.log().split_off(self.log_begins.load(Ordering::Relaxed));
            let tail = log.rsplit_once("listening")?.1.split_once("address=")?.1;
            Some(tail.split_whitespace().next()?.parse::<SocketAddr>().expect("an address"))
        })
    }

    fn ask(&self, request: &str) -> String {
        let address = self.address();
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        answer
    }

    /// A figure of `/metrics`, by its name and labels as they are written; 0 if it is not there.
    pub fn figure(&self, series: &str) -> f64 {
        let page = self.get("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Starts the program.
    pub fn start(&self) -> Process {
        self.start_by(Command::new(env!("CARGO_BIN_EXE_plimsoll")))
    }

    /// Starts a command that becomes the program and takes its arguments.
    pub fn start_by(&self, mut command: Command) -> Process {
        self.log_begins.store(self.log().len(), Ordering::Relaxed);
        command.args(["run", "--config"]).arg(self.path().join("plimsoll.yaml"));
        // A proxy nobody listens on: whatever goes to loopback must not take it.
        command.env("NO_COLOR", "1").env("http_proxy", "http://127.0.0.1:1");
        Process::start(command, &self.path().join("log"))
    }
}

impl Drop for Home {
    #[expect(clippy::print_stderr, reason = "the log of a test that failed, for people")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(6000);
            let tail = (tail..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
            eprintln!("the end of plimsoll's log:\n{}", &log[tail..]);
        }
    }
}

/// A child process; killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command whose output is appended to a file.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let open = || -> File {
            OpenOptions::new().create(true).append(true).open(log).expect("a log file")
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        let child = command.spawn();
        Process { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "signal {name}");
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        wait_for("the process ends", seconds, || self.child.try_wait().expect("can be asked"))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("can be asked").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
