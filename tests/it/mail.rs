//! Mail from the whole program: a digest at its minute and not again, an outage and its end, and mail
//! servers of every manner.

use std::process::Command;

use crate::support::smtp::{Manner, PostOffice};
use crate::support::{
    ControlPlane, FakeAlertmanager, Home, Page, Plan, answer, pause, wait_for, wait_until,
};

const RULE: &str = "{alert: High, expr: 'max by (name, service, tenant, plan, role) \
                    (container_memory_working_set_bytes) > 90', labels: {severity: critical, action: restart}}";

fn page() -> &'static str {
    "container_memory_working_set_bytes{name=\"acme-web\"} 95\n\
     container_spec_memory_limit_bytes{name=\"acme-web\"} 100\n\
     container_start_time_seconds{name=\"acme-web\"} 1700000000\n"
}

fn mail(post: &PostOffice, more: &str) -> String {
    format!(
        "tenants: [{{match: {{name: 'acme-.*'}}, tenant: acme, plan: free, role: app}}]\n\
         mail: {{smtp_host: 127.0.0.1, smtp_port: {}, tls: none, from: 'Plimsoll <plimsoll@example.com>', \
         to: [ops@example.com, 운영 <care@example.com>], timeout: 1s{more}}}\n",
        post.address().port()
    )
}

/// What `send-test mail` says: exit code, and both outputs.
fn send_test(home: &Home) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(["send-test", "mail", "--config"]).arg(home.path().join("plimsoll.yaml"));
    let output = command.env("NO_COLOR", "1").output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ended by itself"), String::from_utf8(text).expect("text"))
}

#[test]
fn a_digest_comes_at_its_minute_and_not_again_after_a_restart() {
    let (post, target) = (PostOffice::start(), Page::new(page()));
    let plan = Plan {
        rules: RULE.to_owned(),
        more: mail(&post, ", digest: {schedule: '* * * * *', timezone: +09:00}"),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    let mut process = home.start();
    let digest = wait_for("the digest of this minute", 75, || post.about("near the line").pop());
    wait_until("it is counted", 5, || {
        home.figure("plimsoll_mail_sent_total{kind=\"digest\"}") == 1.0
    });
    process.signal("TERM");
    process.wait(15);
    let _process = home.start();
    wait_until("it is there again", 15, || home.log().matches("listening").count() == 2);
    pause(3000);
    assert_eq!(post.about("near the line").len(), 1, "the same minute is not told twice");
    let [from, first, second] = &digest.envelope[..] else { panic!("{digest:?}") };
    assert!(from.contains("<plimsoll@example.com>"), "{from}");
    assert!(first.contains("<ops@example.com>") && second.contains("<care@example.com>"));
    assert_eq!(digest.header("Auto-Submitted"), "auto-generated");
    assert!(digest.header("Content-Type").starts_with("multipart/alternative"));
    let words = digest.words();
    for part in ["acme acme-web", "[###################-]  95 %", "bgcolor=\"#e08600\"", "observe"]
    {
        assert!(words.contains(part), "`{part}` in:\n{words}");
    }
}

#[test]
fn whom_we_cannot_reach_is_mailed_about_once_and_so_is_the_return() {
    let (post, target) = (PostOffice::start(), Page::new(page()));
    let (alertmanager, control_plane) = (FakeAlertmanager::start(), ControlPlane::start());
    control_plane.answer(answer("503 Service Unavailable", "", b""), false);
    let plan = Plan {
        rules: RULE.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        control_plane: Some(control_plane.address()),
        control_plane_keys: ", heartbeat_interval: 1s".to_owned(),
        more: mail(&post, ", urgent_after: 2s"),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    let _process = home.start();
    let urgent = wait_for("the outage is told", 40, || post.about("URGENT").pop());
    assert!(urgent.header("Subject").contains("the Control Plane cannot be reached"), "{urgent:?}");
    assert!(urgent.words().contains("High acme/app"), "what fires is named: {}", urgent.words());
    pause(3000);
    assert_eq!(post.about("URGENT").len(), 1, "once");
    control_plane.answer(answer("200 OK", "", b""), true);
    wait_until("the return is told", 60, || post.about("is back").len() == 1);
    pause(1000);
    assert_eq!((post.about("URGENT").len(), post.about("is back").len()), (1, 1));
}

#[test]
fn an_alertmanager_that_takes_nothing_is_mailed_about_once_and_so_is_its_return() {
    let (post, target) = (PostOffice::start(), Page::new(page()));
    let alertmanager = FakeAlertmanager::start();
    alertmanager.refuse("High", answer("503 Service Unavailable", "", b""));
    let plan = Plan {
        rules: RULE.to_owned(),
        alertmanagers: vec![alertmanager.address()],
        more: mail(&post, ", urgent_after: 2s"),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    let _process = home.start();
    let urgent = wait_for("the outage is told", 40, || post.about("URGENT").pop());
    assert!(urgent.header("Subject").contains("Alertmanager cannot be reached"), "{urgent:?}");
    assert!(urgent.words().contains("High acme/app"), "what fires is named: {}", urgent.words());
    pause(3000);
    assert_eq!(post.about("URGENT").len(), 1, "once");
    alertmanager.refuse("nobody", answer("503 Service Unavailable", "", b""));
    wait_until("the return is told", 60, || post.about("is back").len() == 1);
    pause(1000);
    assert_eq!((post.about("URGENT").len(), post.about("is back").len()), (1, 1));
}

#[test]
fn a_mail_server_of_any_manner_costs_a_second_and_no_password() {
    let (post, target) = (PostOffice::start(), Page::new(page()));
    let plan = Plan {
        rules: RULE.to_owned(),
        more: mail(&post, ", username: plimsoll, password_file: mail.pw"),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), ""));
    home.write("mail.pw", "hunter2\n");
    for (manner, want) in [
        (Manner::Silent, "timeout: "),
        (Manner::Stranger, "auth: "),
        (Manner::Busy, "later: "),
        (Manner::Refusing, "refused: "),
    ] {
        post.behave(manner);
        let (code, said) = send_test(&home);
        assert!(code != 0 && said.contains(want), "{want}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("aHVudGVyMg"), "{said}");
    }
    post.behave(Manner::Good);
    let (code, said) = send_test(&home);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("accepted"), "{said}");
    assert_eq!(post.about("A test").len(), 1);
    home.write("mail.pw", "");
    assert!(send_test(&home).1.contains("mail.password_file"), "{}", send_test(&home).1);
}

/// A file that nobody writes: whoever read it would wait for ever.
#[test]
fn a_password_that_is_no_regular_file_is_told_at_once() {
    let post = PostOffice::start();
    let keys = ", username: plimsoll, password_file: mail.pw";
    let home = Home::new(&Plan { more: mail(&post, keys), ..Plan::default() });
    let made = Command::new("mkfifo").arg(home.path().join("mail.pw")).status();
    assert!(made.expect("it runs").success());
    let (code, said) = send_test(&home);
    assert!(code != 0 && said.contains("is no regular file"), "{said}");
}
