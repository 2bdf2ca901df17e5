//! Tenants' doors around a restart, against a site that answers as told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::server::{Reply, Server, answer};
use crate::support::{ControlPlane, Home, Page, Plan, wait_for, wait_until};

const RULE: &str = "{alert: High, expr: 'max by (name, service, tenant, plan, role) \
                    (container_memory_working_set_bytes) > 90', labels: {action: restart}}";
/// Gates of one site for all, with a credential that must never be seen.
const MORE: &str = "mode: act
actions: {start_grace: 0s, after_change: 0s, restart_cool_down: 1h, \
  verify: {within: 6s, settle: 1s, gate_grace: 0s}}
plans: {free: {mem_limit: 1g, cpu_limit: 0.5}}
tenants: [{match: {name: 'acme-.*'}, tenant: acme, plan: free, role: app}]
gates:
";

/// A header's name and value; `:path` is the path that was asked for.
type Header = (String, String);

/// A site whose doors open and shut.
struct Site {
    server: Server,
    doors: Arc<Mutex<BTreeMap<String, Reply>>>,
    heads: Arc<Mutex<Vec<Header>>>,
}

impl Site {
    fn start() -> Site {
        let doors: Arc<Mutex<BTreeMap<String, Reply>>> = Arc::default();
        let heads: Arc<Mutex<Vec<Header>>> = Arc::default();
        let (known, seen) = (Arc::clone(&doors), Arc::clone(&heads));
        let server = Server::start(move |request| {
            let path = request.line.trim_start_matches("GET ").to_owned();
            let door = path.rsplit_once('/').expect("a path").1.to_owned();
            let heads = request.headers.iter().cloned().chain([(":path".to_owned(), path)]);
            seen.lock().expect("no panic").extend(heads);
            let reply = known.lock().expect("no panic").get(&door).cloned();
            reply.unwrap_or_else(|| answer("200 OK", "", b"<h1>Welcome to ERP, pong</h1>"))
        });
        Site { server, doors, heads }
    }

    fn behind(&self, door: &str, reply: Reply) {
        self.doors.lock().expect("no panic").insert(door.to_owned(), reply);
    }

    fn gates(&self) -> String {
        let gate = |(name, more): (&str, &str)| {
            format!(
                "- {{name: {name}, url: 'http://{}/{{tenant}}/{name}', host_header: '{{tenant}}.example.com', \
                 tenants: [acme], interval: 300ms, timeout: 300ms{more}}}\n",
                self.server.address()
            )
        };
        [
            ("health", ", text: pong"),
            ("login", ""),
            ("api", ", basic_auth: {username: probe, password_file: probe.pw}"),
        ]
        .map(gate)
        .concat()
    }
}

fn page(percent: u32, started: u64) -> String {
    format!(
        "container_memory_working_set_bytes{{name=\"acme-web\"}} {percent}\n\
         container_spec_memory_limit_bytes{{name=\"acme-web\"}} 100\n\
         container_start_time_seconds{{name=\"acme-web\"}} {started}\n"
    )
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

struct Scene {
    home: Home,
    site: Site,
    target: Page,
    control_plane: ControlPlane,
    _process: crate::support::Process,
}

/// A tenant with three open doors whose container was to be restarted, and now is.
fn restarted(site: Site, before: impl FnOnce(&Site)) -> Scene {
    let target = Page::new(&page(50, 1_700_000_000));
    let control_plane = ControlPlane::start();
    let plan = Plan {
        rules: RULE.to_owned(),
        control_plane: Some(control_plane.address()),
        more: format!("{MORE}{}", site.gates()),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    home.write("probe.pw", "hunter2");
    let process = home.start();
    let up = |gate: &str| format!("plimsoll_gate_up{{gate=\"{gate}\",tenant=\"acme\"}}");
    wait_until("every door was seen open", 20, || {
        ["health", "login", "api"].iter().all(|gate| home.figure(&up(gate)) == 1.0)
    });
    target.set(&page(95, 1_700_000_000));
    wait_for("a restart is asked for", 30, || {
        let heard = control_plane.heard("High");
        heard.into_iter().find(|heard| heard.kind == "container.restart.requested")
    });
    before(&site);
    target.set(&page(20, now()));
    Scene { home, site, target, control_plane, _process: process }
}

#[test]
fn a_site_that_turns_blank_is_a_failed_change_and_a_failed_action() {
    let scene = restarted(Site::start(), |site| {
        site.behind("login", answer("200 OK", "", b" \n"));
    });
    let heard = |kind: &'static str| {
        wait_for(kind, 30, || {
            let all = [scene.control_plane.heard("High"), scene.control_plane.heard("")].concat();
            all.into_iter().find(|heard| heard.kind == kind)
        })
    };
    let failed = heard("change.verification.failed");
    let params = &failed.body["data"]["action"]["params"];
    assert_eq!(params["gate"], "login", "{}", failed.body);
    assert_eq!(
        (&params["previous"], &params["current"]),
        (&"200".into(), &"200, a blank page".into())
    );
    assert_eq!(params["variable"], "restart");
    let action = heard("action.failed");
    assert_eq!(action.body["data"]["reason"], "the gate login fails: 200, a blank page");
    assert_eq!(scene.home.figure("plimsoll_gate_up{gate=\"login\",tenant=\"acme\"}"), 0.0);

    // Other ways to be shut, and none costs the others anything.
    scene.site.behind("health", Reply::Hang(Vec::new()));
    scene.site.behind("api", answer("302 Found", "Location: /login\r\n", b""));
    scene.site.behind("login", answer("200 OK", "", b"<h1>Login</h1>"));
    let log = |words: &str| scene.home.log().contains(words);
    wait_until("a hanging door", 20, || log("no answer within 300ms"));
    wait_until("a door that sends elsewhere", 20, || log("current=\"302\""));
    wait_until("the door is open again", 20, || log("passes again"));
    let heads = scene.site.heads.lock().expect("no panic").clone();
    let sent = |name: &str, value: &str| heads.iter().any(|(n, v)| n == name && v == value);
    assert!(sent("host", "acme.example.com"), "several sites share an address");
    assert!(sent(":path", "/acme/health") && sent(":path", "/acme/login"), "each at its own path");
    assert!(sent("authorization", "Basic cHJvYmU6aHVudGVyMg=="), "with its password");
    assert!(!scene.home.log().contains("hunter2"));
    drop(scene.target);
}

#[test]
fn a_site_that_stays_good_verifies_the_restart_by_its_three_gates() {
    let scene = restarted(Site::start(), |_| {});
    let verified = wait_for("it is verified", 30, || {
        let heard = scene.control_plane.heard("High");
        heard.into_iter().find(|heard| heard.kind == "action.verified")
    });
    let gates = verified.body["data"]["verification"]["gates"].as_array().expect("gates").clone();
    let names: Vec<&str> = gates.iter().filter_map(|gate| gate["gate"].as_str()).collect();
    assert_eq!(names, ["api", "health", "login"]);
    for gate in &gates {
        assert_eq!((&gate["passes"], &gate["previous"]), (&true.into(), &"200".into()), "{gate}");
    }
    crate::support::pause(Duration::from_secs(1).as_millis() as u64);
    let kinds = scene.control_plane.kinds("High");
    assert!(!kinds.iter().any(|kind| kind.contains("verification.failed")), "{kinds:?}");
}
