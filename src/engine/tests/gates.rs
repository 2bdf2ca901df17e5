//! Tenants' doors around a restart and a deploy: what is verified, what failed, what is taken back.

use super::judgement::{container, until};
use super::*;
use crate::outbox::ActionKind;
use crate::policy::Gate;

pub(super) const RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: WillOom
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9
    labels: {severity: critical, action: restart}
  - record: gates_down
    expr: plimsoll_gate_up == 0
";

fn gate(name: &str) -> Gate {
    let seconds = Duration::from_secs;
    Gate {
        name: name.to_owned(),
        url: format!("http://{{tenant}}.example.com/{name}"),
        host: None,
        status: 200,
        text: None,
        pattern: None,
        interval: seconds(10),
        interval_after_action: seconds(5),
        timeout: seconds(5),
        failures: 2,
        tenants: Vec::new(),
        roles: Vec::new(),
    }
}

pub(super) fn guarded() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.gates = ["health", "login", "api"].map(gate).to_vec();
    policy
}

/// A world in which every door has been seen open, and then a restart was asked for.
pub(super) fn restarted(policy: PolicyConfig) -> World {
    let mut world = World::new(RULES, policy);
    for _ in 0..4 {
        world.slot(Some(&container("acme", 50, -9000)));
    }
    let high = container("acme", 95, -9000);
    let asked = until(&mut world, &high, "decided", 4);
    assert_eq!(asked.as_deref(), Some("decided restart dry=false"));
    world
}

pub(super) fn event<'a>(world: &'a World, kind: &str) -> &'a serde_json::Value {
    let found: Vec<_> = world.events.iter().filter(|event| event["type"] == kind).collect();
    let [event] = found[..] else { panic!("{kind}: {found:?}") };
    &event["data"]
}

/// What Go and Rust escape differently: the queries of evidence are PromQL's to read.
#[test]
fn a_failing_gate_of_a_tenant_whose_name_has_a_blank_without_width_is_found() {
    let tenant = "ac\u{200b}me";
    let rules = format!("{RULES}  - {{record: probes, expr: probe_success == 0}}\n");
    let mut world = World::new(&rules, acting());
    let page = |percent| {
        let probe = format!("probe_success{{gate=\"login\",tenant=\"{tenant}\"}} 0\n");
        container(tenant, percent, -9000) + &probe
    };
    for _ in 0..4 {
        world.slot(Some(&page(50)));
    }
    let told = until(&mut world, &page(95), "held", 4);
    assert_eq!(told.as_deref(), Some("held restart: gates_failing"));
}

#[test]
fn a_restart_is_verified_by_name_of_every_gate() {
    let mut world = restarted(guarded());
    let low = container("acme", 30, world.second);
    assert_eq!(until(&mut world, &low, "outcome", 20).as_deref(), Some("outcome effective"));
    let data = event(&world, "action.verified");
    let gates = data["verification"]["gates"].as_array().expect("the gates");
    let told: Vec<_> = gates
        .iter()
        .map(|gate| (gate["gate"].as_str(), gate["passes"].as_bool(), gate["previous"].as_str()))
        .collect();
    let passed = |name| (Some(name), Some(true), Some("200"));
    assert_eq!(told, [passed("api"), passed("health"), passed("login")]);
    let why = data["reason"].as_str().expect("a reason");
    assert!(why.contains("gates passed: api, health, login"), "{why}");
    assert!(!world.event_types().contains(&"change.verification.failed"));
}

#[test]
fn a_page_that_turns_blank_is_a_failed_change_and_then_a_failed_action() {
    let mut world = restarted(guarded());
    world.doors.insert("login".to_owned(), " ");
    let low = container("acme", 30, world.second);
    let told = until(&mut world, &low, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at login"));
    let data = event(&world, "change.verification.failed");
    let params = &data["action"]["params"];
    let want = [("gate", "login"), ("previous", "200"), ("current", "200, a blank page")];
    for (name, value) in want {
        assert_eq!(params[name], value);
    }
    assert_eq!(
        (data["action"]["mode"].as_str(), data["service"].as_str()),
        (Some("request"), Some("acme/app"))
    );
    let trace = data["trace_id"].clone();
    assert_eq!(until(&mut world, &low, "outcome", 140).as_deref(), Some("outcome ineffective"));
    let failed = event(&world, "action.failed");
    assert_eq!(failed["trace_id"], trace, "one story");
    assert_eq!(failed["reason"], "the gate login fails: 200, a blank page");
    let login = &failed["verification"]["gates"][2];
    assert_eq!((login["passes"].as_bool(), login["previous"].as_str()), (Some(false), Some("200")));
    assert_eq!(until(&mut world, &low, "change", 30), None, "told once");
    let story: Vec<String> = world.records.iter().map(|record| record.sentence()).collect();
    let words =
        "after the restart of acme/app a gate fails: login: 200, a blank page (before: 200)";
    assert!(story.iter().any(|line| line.starts_with(words)), "{story:?}");
    assert!(story.iter().any(|line| line.starts_with("the gate login of acme fails")), "{story:?}");
    world.doors.clear();
    assert_eq!(until(&mut world, &low, "gate", 5).as_deref(), Some("gate login passes"));
    let of_door = |record: &&crate::audit::Record| record.kind.name().starts_with("gate.");
    let traces: Vec<_> = world.records.iter().filter(of_door).map(|r| &r.trace_id).collect();
    assert!(traces.len() == 2 && traces[0].is_some() && traces[0] == traces[1], "{traces:?}");
}

#[test]
fn a_start_has_its_moment_and_a_door_that_never_opened_is_nobodys_fault() {
    let mut world = restarted(guarded());
    world.doors.insert("login".to_owned(), "");
    let low = container("acme", 30, world.second);
    // Shut for 45 seconds, as what has just started may be.
    for _ in 0..9 {
        let told = world.slot(Some(&low));
        assert!(!told.iter().any(|fact| fact.starts_with("change")), "{told:?}");
    }
    world.doors.clear();
    assert_eq!(until(&mut world, &low, "outcome", 30).as_deref(), Some("outcome effective"));
    assert!(!world.event_types().contains(&"change.verification.failed"));

    let mut world = World::new(RULES, guarded());
    world.doors.insert("api".to_owned(), "");
    let high = container("acme", 95, -9000);
    for _ in 0..3 {
        world.slot(Some(&container("acme", 50, -9000)));
    }
    assert_eq!(until(&mut world, &high, "held", 4).as_deref(), Some("held restart: gates_failing"));
    assert_eq!(world.live("gates_down").len(), 1, "rules read it, too");
    world.doors.clear();
    assert!(until(&mut world, &high, "decided restart", 4).is_some(), "the hold lifts by itself");
}

#[test]
fn a_crash_in_the_window_forgets_neither_the_question_nor_that_it_was_told() {
    let mut before = restarted(guarded());
    let low = container("acme", 30, before.second);
    before.slot(Some(&low));
    before.doors.insert("login".to_owned(), "");
    let mut after = World::restarted(setup(RULES, guarded()), &before, 1);
    after.doors.insert("login".to_owned(), "");
    // What it said before is remembered with the request, though no door was seen open since.
    let told = until(&mut after, &low, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at login"));
    assert_eq!(event(&after, "change.verification.failed")["action"]["params"]["previous"], "200");
    let mut again = World::restarted(setup(RULES, guarded()), &after, 1);
    again.doors.insert("login".to_owned(), "");
    assert_eq!(until(&mut again, &low, "change", 40), None);
}

#[test]
fn what_is_only_observed_is_written_down_and_not_sent() {
    let mut policy = guarded();
    policy.modes.insert(ActionKind::RollbackAdvice, Mode::Observe);
    let mut world = restarted(policy);
    world.doors.insert("login".to_owned(), "");
    let low = container("acme", 30, world.second);
    let told = until(&mut world, &low, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at login observe"));
    assert!(!world.event_types().contains(&"change.verification.failed"));
}

/// Document A's §1: a gate is looked at after every start, whoever asked for it.
#[test]
fn a_start_by_others_that_shuts_a_door_is_told_once() {
    let mut world = World::new(RULES, guarded());
    for _ in 0..4 {
        world.slot(Some(&container("acme", 50, -9000)));
    }
    let anew = container("acme", 50, world.second);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
    let data = event(&world, "change.verification.failed");
    let params = &data["action"]["params"];
    assert_eq!(
        (params["variable"].as_str(), params["previous"].as_str()),
        (Some("start"), Some("200"))
    );
    // It is started again and again, and no start is to blame for what was shut before.
    for _ in 0..3 {
        let again = container("acme", 50, world.second);
        assert_eq!(until(&mut world, &again, "change", 70), None);
    }
}

#[test]
fn a_start_after_a_restart_that_was_declined_is_told_as_one_by_others() {
    use super::receipts::{said, send};
    let mut world = restarted(guarded());
    let id = last_delivery(&world);
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    let anew = container("acme", 50, world.second);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
}

fn last_delivery(world: &World) -> String {
    let mut ids = world.records.iter().filter_map(|record| record.delivery_id.clone());
    ids.next_back().expect("a delivery")
}

/// Docker gave up while the container took its time to stop, and started it all the same; or the word
/// was faster than the scrape.
#[test]
fn a_start_soon_after_a_restart_failed_is_that_restart() {
    use super::receipts::{said, send};
    for (waits, crashes, want) in
        [(0, false, "restart"), (60, true, "restart"), (660, false, "start")]
    {
        let mut world = restarted(guarded());
        let id = last_delivery(&world);
        assert_eq!(send(&mut world, "msg_1", &id, said("done", Some("failed"))), Ok(()));
        let still = container("acme", 50, -9000);
        (0..waits / STEP_S).for_each(|_| drop(world.slot(Some(&still))));
        if crashes {
            world = World::restarted(setup(RULES, guarded()), &world, 1);
            (0..4).for_each(|_| drop(world.slot(Some(&still))));
        }
        let anew = container("acme", 50, world.second);
        world.doors.insert("api".to_owned(), "");
        let told = until(&mut world, &anew, "change", 60);
        assert_eq!(told, Some(format!("change {want} failed at api")), "{waits} s later");
        // Only the first.
        world.doors.clear();
        assert!(until(&mut world, &anew, "gate api passes", 5).is_some());
        let again = container("acme", 50, world.second);
        world.doors.insert("api".to_owned(), "");
        let told = until(&mut world, &again, "change", 60);
        assert_eq!(told.as_deref(), Some("change start failed at api"));
    }
}

#[test]
fn a_later_start_by_others_is_not_blamed_on_our_restart() {
    let mut world = restarted(guarded());
    let low = container("acme", 30, world.second);
    assert_eq!(until(&mut world, &low, "outcome", 20).as_deref(), Some("outcome effective"));
    let anew = container("acme", 30, world.second);
    world.slot(Some(&anew));
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 30);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
    assert_eq!(until(&mut world, &anew, "change", 60), None, "once");
}

#[test]
fn a_start_is_not_blamed_on_a_request_that_has_not_left() {
    let mut world = World::new(RULES, guarded());
    for _ in 0..4 {
        world.slot(Some(&container("acme", 50, -9000)));
    }
    world.commits = false;
    let high = container("acme", 95, -9000);
    assert!(until(&mut world, &high, "decided restart", 4).is_some());
    let anew = container("acme", 95, world.second);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
}

/// As a container does that cannot live with what it was started with.
#[test]
fn a_door_that_our_restart_shut_is_blamed_on_it_though_the_container_starts_again() {
    let mut world = restarted(guarded());
    let first = container("acme", 30, world.second);
    world.doors.insert("api".to_owned(), "");
    (0..6).for_each(|_| drop(world.slot(Some(&first))));
    let again = container("acme", 30, world.second);
    let told = until(&mut world, &again, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at api"));
    assert_eq!(until(&mut world, &again, "change", 60), None, "once");
}

#[test]
fn what_was_shut_long_before_is_not_blamed_on_a_change() {
    let mut world = World::new(RULES, guarded());
    let page = |image: &str| {
        container("acme", 50, -9000)
            .replace("plan=\"pro\"", &format!("plan=\"pro\",image=\"{image}\""))
    };
    for _ in 0..4 {
        world.slot(Some(&page("erp:15")));
    }
    world.doors.insert("api".to_owned(), "");
    assert_eq!(until(&mut world, &page("erp:15"), "change", 60), None, "nothing was changed");
    assert_eq!(until(&mut world, &page("erp:16"), "change", 130), None, "it was to put it right");
    world.doors.clear();
    let _ = until(&mut world, &page("erp:16"), "gate api passes", 10);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &page("erp:17"), "change", 60);
    assert_eq!(told.as_deref(), Some("change deploy failed at api"));
}

#[test]
fn a_deploy_by_others_that_shuts_a_door_is_told_too() {
    let mut world = World::new(RULES, guarded());
    (0..4).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
    world.doors.insert("api".to_owned(), "");
    let deployed = running(50, -9000, "erp:16");
    let told = until(&mut world, &deployed, "change", 60);
    assert_eq!(told.as_deref(), Some("change deploy failed at api"));
    let params = &event(&world, "change.verification.failed")["action"]["params"];
    assert_eq!((&params["variable"], &params["previous"]), (&"deploy".into(), &"200".into()));
    let runs_as = |image: &str| serde_json::json!({"image": image, "limit_bytes": 100.0});
    assert_eq!((&params["from"], &params["to"]), (&runs_as("erp:15"), &runs_as("erp:16")));
    assert_eq!(until(&mut world, &deployed, "change", 200), None, "once");
}

/// Which image a container runs is looked at once a minute.
#[test]
fn a_deploy_is_not_told_as_a_start_though_gates_are_given_no_grace() {
    for slots in 0..13 {
        let mut policy = guarded();
        policy.verify.gate_grace = Duration::ZERO;
        let mut world = World::new(RULES, policy);
        (0..8 + slots).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
        let deployed = running(50, world.second, "erp:16");
        world.doors.insert("api".to_owned(), "");
        let told = until(&mut world, &deployed, "change", 60);
        assert_eq!(told.as_deref(), Some("change deploy failed at api"), "{slots}");
    }
}

#[test]
fn a_start_is_told_though_changes_are_watched_for_less_than_a_deploy_takes_to_be_seen() {
    let mut policy = guarded();
    policy.verify.within = Duration::from_secs(60);
    let mut world = World::new(RULES, policy);
    (0..4).for_each(|_| drop(world.slot(Some(&container("acme", 50, -9000)))));
    let anew = container("acme", 50, world.second);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
}

#[test]
fn a_deploy_is_told_though_gates_are_given_longer_than_it_is_watched_for() {
    let mut policy = guarded();
    policy.verify.within = Duration::from_secs(60);
    policy.verify.gate_grace = Duration::from_secs(100);
    let mut world = World::new(RULES, policy);
    (0..4).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
    let deployed = running(50, world.second, "erp:16");
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &deployed, "change", 60);
    assert_eq!(told.as_deref(), Some("change deploy failed at api"));
}

#[test]
fn a_container_that_starts_again_all_the_time_has_its_shut_door_told() {
    let mut world = World::new(RULES, guarded());
    (0..4).for_each(|_| drop(world.slot(Some(&container("acme", 50, -9000)))));
    world.doors.insert("api".to_owned(), "");
    let told = (0..20).find_map(|_| {
        let anew = container("acme", 50, world.second);
        until(&mut world, &anew, "change", 13)
    });
    assert_eq!(told.as_deref(), Some("change start failed at api"));
}

/// One that runs this image.
pub(super) fn running(percent: u32, started: i64, image: &str) -> String {
    let image = format!("plan=\"pro\",image=\"{image}\"");
    container("acme", percent, started).replace("plan=\"pro\"", &image)
}

/// What was told before is another change: theirs came after it, and shut another door.
#[test]
fn a_start_that_shuts_a_door_soon_after_another_change_was_told_is_told_too() {
    for first in ["restart", "deploy", "start"] {
        let mut world = World::new(RULES, guarded());
        (0..4).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
        if first == "restart" {
            let ill = running(95, -9000, "erp:15");
            assert!(until(&mut world, &ill, "decided restart", 4).is_some());
        }
        let image = if first == "deploy" { "erp:16" } else { "erp:15" };
        let changed = running(30, world.second, image);
        world.doors.insert("login".to_owned(), "");
        let told = until(&mut world, &changed, "change", 60);
        assert_eq!(told, Some(format!("change {first} failed at login")));
        (0..2).for_each(|_| drop(world.slot(Some(&changed))));
        world.doors = BTreeMap::from([("api".to_owned(), "")]);
        let anew = running(30, world.second, image);
        let told = until(&mut world, &anew, "change", 60);
        assert_eq!(told.as_deref(), Some("change start failed at api"), "after the {first}");
        assert_eq!(until(&mut world, &anew, "change", 60), None, "once");
    }
}

/// As `docker compose restart` does.
#[test]
fn a_start_of_several_containers_is_told_once() {
    let mut world = World::new(RULES, guarded());
    let both = |one: i64, two: i64| {
        let second = container("acme", 50, two).replace("acme-1", "acme-2");
        container("acme", 50, one) + &second
    };
    (0..4).for_each(|_| drop(world.slot(Some(&both(-9000, -9000)))));
    let first = world.second;
    world.doors.insert("login".to_owned(), "");
    (0..4).for_each(|_| drop(world.slot(Some(&both(first, -9000)))));
    let page = both(first, world.second);
    let told = until(&mut world, &page, "change", 20);
    assert_eq!(told.as_deref(), Some("change start failed at login"));
    world.doors.insert("api".to_owned(), "");
    assert_eq!(until(&mut world, &page, "change", 100), None, "once");
}

/// The same start so many tenths of a second later, as another tells it: Docker for `/proc`.
fn tenths_later(page: &str, started: i64, tenths: i64) -> String {
    let seconds = 1_800_000_000 + started;
    let later = format!("}} {}.{}\n", seconds + tenths / 10, tenths % 10);
    page.replace(&format!("}} {seconds}\n"), &later)
}

#[test]
fn one_start_that_two_tell_of_is_one_change() {
    // Ours: nobody else started it.
    let mut world = restarted(guarded());
    let started = world.second;
    let low = container("acme", 30, started);
    (0..4).for_each(|_| drop(world.slot(Some(&low))));
    world.doors.insert("api".to_owned(), "");
    let by_another = tenths_later(&low, started, 4);
    assert_ne!(low, by_another);
    let told = until(&mut world, &by_another, "change", 60);
    assert_eq!(told.as_deref(), Some("change restart failed at api"));
    assert_eq!(event(&world, "change.verification.failed")["alert"], "WillOom", "its story");
    for page in [&low, &by_another] {
        assert_eq!(until(&mut world, page, "change", 20), None, "once");
    }
    // Theirs: that the door opened meanwhile makes it no other start.
    let mut world = World::new(RULES, guarded());
    (0..4).for_each(|_| drop(world.slot(Some(&container("acme", 50, -9000)))));
    let started = world.second;
    let page = container("acme", 50, started);
    let anew = tenths_later(&page, started, 8);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
    world.doors.clear();
    assert!(until(&mut world, &anew, "gate api passes", 5).is_some());
    world.doors.insert("api".to_owned(), "");
    let by_another = tenths_later(&page, started, 12);
    assert_eq!(until(&mut world, &by_another, "change", 60), None, "once");
}

#[test]
fn what_another_tells_of_the_start_before_is_no_restart() {
    let mut world = restarted(guarded());
    let high = tenths_later(&container("acme", 95, -9000), -9000, 4);
    assert_eq!(until(&mut world, &high, "never", 4), None);
    let own = world.second;
    let low = container("acme", 30, own);
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &low, "change", 60);
    assert_eq!(told.as_deref(), Some("change restart failed at api"));
}

/// cAdvisor before v0.57: the start time is for ever the one it was made at.
fn of_old(percent: u32, cpu_seconds: i64) -> String {
    let cpu = "container_cpu_usage_seconds_total{name=\"acme-1\",tenant=\"acme\",role=\"app\"}";
    container("acme", percent, -9000) + &format!("{cpu} {cpu_seconds}\n")
}

/// Slots of such a page, whose CPU time goes on from this many seconds, until something is told.
fn until_of_old(
    world: &mut World,
    (percent, cpu_seconds): (u32, i64),
    told: &str,
    slots: i64,
) -> Option<String> {
    (0..slots).find_map(|slot| until(world, &of_old(percent, cpu_seconds + slot), told, 1))
}

#[test]
fn a_start_that_no_start_time_tells_of_is_held_to_account_too() {
    for ours in [false, true] {
        let mut world = World::new(RULES, guarded());
        assert_eq!(until_of_old(&mut world, (50, 1000), "never", 30), None);
        if ours {
            assert!(until_of_old(&mut world, (95, 1100), "decided restart", 4).is_some());
        }
        world.doors.insert("api".to_owned(), "");
        let told = until_of_old(&mut world, (50, 1), "change", 60);
        let want = if ours { "restart" } else { "start" };
        assert_eq!(told, Some(format!("change {want} failed at api")));
        assert_eq!(until_of_old(&mut world, (50, 61), "change", 60), None, "once");
    }
}

#[test]
fn a_start_that_docker_alone_tells_of_is_held_to_account_too() {
    for ours in [false, true] {
        let asking = Setup { docker: AskDocker::IfThere, ..setup(RULES, guarded()) };
        let mut world = World::recovered(asking, Vec::new(), 0);
        let list = |world: &mut World, started: Timestamp| {
            let one = Container::new(containers::container_id('a'), "acme-1", Timestamp(0));
            let started_at = Some(started);
            let one = Container { status: Status::Running, started_at, ..one };
            world.handle(Event::Docker(Report::Listed(vec![one])), None);
        };
        list(&mut world, at(-300, 0).wall);
        assert_eq!(until_of_old(&mut world, (50, 1000), "never", 30), None);
        if ours {
            assert!(until_of_old(&mut world, (95, 1100), "decided restart", 4).is_some());
        }
        world.slot(Some(&of_old(50, 1)));
        let started = at(world.second, 0).wall;
        list(&mut world, started);
        world.doors.insert("api".to_owned(), "");
        let told = until_of_old(&mut world, (50, 2), "change", 60);
        let want = if ours { "restart" } else { "start" };
        assert_eq!(told, Some(format!("change {want} failed at api")));
        world.doors.clear();
        assert!(until_of_old(&mut world, (50, 100), "gate api passes", 5).is_some());
        world.doors.insert("api".to_owned(), "");
        // That its CPU time fell is seen a moment later, and is no other start.
        assert_eq!(until_of_old(&mut world, (50, 110), "change", 60), None, "once");
    }
}

/// Two jobs measure the container, one behind the other, and one of them is lost.
#[test]
fn a_job_that_is_lost_is_no_start_of_what_it_measured() {
    for loses_other in [false, true] {
        let mut world = World::new(RULES, guarded());
        world.find_targets(2);
        let slots = |world: &mut World, (percent, count): (u32, i64), told: &str, lost| {
            (0..count).find_map(|_| {
                let cpu_seconds = 1000 + world.second;
                let (ahead, behind) =
                    (of_old(percent, cpu_seconds + 90), of_old(percent, cpu_seconds));
                world.other.1 = Some(behind).filter(|_| !(lost && loses_other));
                let page = Some(ahead).filter(|_| !lost || loses_other);
                let all = world.slot(page.as_deref());
                all.into_iter().find(|word| word.starts_with(told))
            })
        };
        assert_eq!(slots(&mut world, (50, 30), "never", false), None);
        assert!(slots(&mut world, (95, 4), "decided restart", false).is_some());
        let told = slots(&mut world, (30, 140), "outcome", true);
        assert_eq!(told.as_deref(), Some("outcome ineffective"));
        let why = &event(&world, "action.failed")["reason"];
        assert_eq!(why, "the container was not restarted", "{loses_other}");
        world.doors.insert("api".to_owned(), "");
        assert_eq!(slots(&mut world, (30, 60), "change", true), None, "nothing was changed");
    }
}

/// A door that is asked seldom was heard of before the restart, and is shut since.
#[test]
fn a_restart_that_no_start_time_tells_of_is_judged_by_doors_heard_of_since() {
    let mut policy = guarded();
    for gate in &mut policy.gates {
        let seldom = Duration::from_secs(240);
        (gate.interval, gate.interval_after_action) = (seldom, seldom);
    }
    let mut world = World::new(RULES, policy);
    assert_eq!(until_of_old(&mut world, (50, 1000), "never", 60), None);
    assert!(until_of_old(&mut world, (95, 1100), "decided restart", 4).is_some());
    world.doors.insert("api".to_owned(), "");
    let told = until_of_old(&mut world, (30, 1), "outcome", 140);
    assert_eq!(told.as_deref(), Some("outcome ineffective"));
}
