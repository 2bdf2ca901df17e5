//! The local executor as a whole program: a scripted Docker is asked to restart what was measured, once,
//! and only in the mode that acts.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{ControlPlane, Home, Page, Plan, pause, wait_until};

const ID: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const RULE: &str = "{alert: High, expr: 'max by (name, service, tenant, role) \
                    (container_memory_working_set_bytes) > 90', labels: {action: restart}}";

/// A daemon with one container, which runs since 2023, or, once it was restarted, since now.
struct Docker {
    socket: String,
    posts: Arc<Mutex<Vec<String>>>,
}

/// A restart that Docker hangs at ends so long after it was asked for, without an answer.
const HANGS_FOR: Duration = Duration::from_secs(3);

impl Docker {
    fn start(home: &std::path::Path) -> Docker {
        Docker::that(home, false)
    }

    fn that(home: &std::path::Path, hangs: bool) -> Docker {
        let socket = home.join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let posts = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&posts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream, &log, hangs));
            }
        });
        Docker { socket: socket.display().to_string(), posts }
    }

    fn posts(&self) -> Vec<String> {
        self.posts.lock().expect("no panic").clone()
    }
}

fn answer(mut stream: UnixStream, posts: &Mutex<Vec<String>>, hangs: bool) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let words: Vec<&str> = head.split(' ').collect();
    let (status, body) = match (words[0], words[1]) {
        ("POST", path) => {
            posts.lock().expect("no panic").push(path.to_owned());
            if hangs {
                std::thread::sleep(HANGS_FOR);
                return;
            }
            ("204 No Content", String::new())
        }
        ("GET", "/version") => {
            let versions = "\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\"";
            ("200 OK", format!("{{\"Version\":\"20\",{versions}}}"))
        }
        ("GET", path) if path.ends_with("/containers/json?all=1") => {
            ("200 OK", format!("[{{\"Id\":\"{ID}\"}}]"))
        }
        ("GET", path) if path.contains("/containers/") => {
            let state = "{\"Status\":\"running\",\"StartedAt\":\"2023-11-14T22:13:20Z\"}";
            ("200 OK", format!("{{\"Id\":\"{ID}\",\"Name\":\"/acme-web\",\"State\":{state}}}"))
        }
        ("GET", path) if path.contains("/events") => {
            // Silent for ever.
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
            stream.read_exact(&mut byte).ok();
            return;
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).ok();
}

fn page(percent: u32) -> String {
    let labels = format!("id=\"/docker/{ID}\",name=\"acme-web\"");
    format!(
        "container_memory_working_set_bytes{{{labels}}} {percent}\n\
         container_spec_memory_limit_bytes{{{labels}}} 100\n\
         container_start_time_seconds{{{labels}}} 1700000000\n"
    )
}

fn plan(target: &Page, docker: &Docker, mode: &str) -> Plan {
    let more = format!(
        "mode: {mode}\nhost: dock\ndocker: {{host: 'unix://{}'}}\n\
         tenants: [{{match: {{name: 'acme-.*'}}, tenant: acme, role: app}}]\n\
         actions: {{executor: docker, after_change: 0s}}\n",
        docker.socket
    );
    let plan = Plan { rules: RULE.to_owned(), more, ..Plan::default() };
    plan.job("t", target.address(), "")
}

fn audit(home: &Home) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["audit", "show", "--config"]).arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn one_container_is_restarted_once_and_what_docker_said_is_its_receipt() {
    let target = Page::new(&page(95));
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::start(folder.path());
    let home = Home::new(&plan(&target, &docker, "act"));
    let process = home.start();
    wait_until("Docker is asked", 30, || !docker.posts().is_empty());
    let words = "container.restart.requested delivered, answered done";
    wait_until("it is written down", 20, || audit(&home).contains(words));
    // Killed and started again, it asks no second time.
    process.kill();
    let _process = home.start();
    target.wait_for_scrapes(4);
    assert_eq!(docker.posts(), [format!("/containers/{ID}/restart")]);
    let written = audit(&home);
    assert!(written.contains("asks to restart acme/app"), "{written}");
    assert!(!written.contains("alert.firing delivered"), "nobody was told:\n{written}");
}

#[test]
fn in_another_mode_docker_is_only_watched() {
    for mode in ["notify", "observe"] {
        let target = Page::new(&page(95));
        let folder = tempfile::tempdir().expect("a folder");
        let docker = Docker::start(folder.path());
        let home = Home::new(&plan(&target, &docker, mode));
        let _process = home.start();
        home.wait_for_log("an alert fires", 30);
        pause(2500);
        assert!(docker.posts().is_empty(), "{mode}: {:?}", docker.posts());
        assert!(home.log().contains("restarts nothing in this mode"), "it was said at the start");
    }
}

/// Docker may still do it, and nobody else could tell: the Control Plane that takes over is not asked.
#[test]
fn what_docker_was_asked_for_is_not_asked_of_the_control_plane_that_takes_over() {
    let target = Page::new(&page(95));
    let folder = tempfile::tempdir().expect("a folder");
    let docker = Docker::that(folder.path(), true);
    let before = plan(&target, &docker, "act");
    let home = Home::new(&before);
    let process = home.start();
    wait_until("Docker is asked", 30, || !docker.posts().is_empty());
    let control_plane = ControlPlane::start();
    let more = before.more.replace("executor: docker, ", "");
    home.configure(&Plan { more, control_plane: Some(control_plane.address()), ..before });
    process.signal("HUP");
    home.wait_for_log("was taken over", 10);
    let words = "Docker was asked and the container may still be stopping";
    wait_until("Docker is looked at again", 20, || audit(&home).contains(words));
    pause(3000);
    let heard = control_plane.kinds("High");
    assert!(!heard.contains(&"container.restart.requested".to_owned()), "{heard:?}");
    assert_eq!(docker.posts().len(), 1, "nor Docker once more");
}
