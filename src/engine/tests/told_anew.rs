//! Doors that shut after a change while the Control Plane was away: what it is told when it is back.

use super::gates::{RULES, guarded, restarted, running};
use super::judgement::{container, until};
use super::receipts::{said, send};
use super::*;
use crate::outbox::ActionKind;
use crate::policy::{GateKey, SHUT_MAX, Shut};

/// What stands behind a gate that cannot be asked for a reason of our own.
pub(super) const UNASKABLE: &str = "the file of its password cannot be read";

/// What is asked of whoever is away is over after two minutes.
fn brief() -> PolicyConfig {
    let mut policy = guarded();
    policy.limits.expiry = Duration::from_secs(120);
    policy
}

/// A world in which every door has been seen open.
fn open(page: &str) -> World {
    let mut world = World::new(RULES, brief());
    (0..4).for_each(|_| drop(world.slot(Some(page))));
    world
}

/// A door shuts after a change, nobody hears of it, and what was told runs out.
fn shut(world: &mut World, page: &str, gate: &str) -> Option<String> {
    world.slot(Some(page));
    world.is_away = true;
    world.doors.insert(gate.to_owned(), "");
    let told = until(world, page, "change", 60);
    (0..30).for_each(|_| drop(world.slot(Some(page))));
    told
}

/// The Control Plane is back and hears that what was told is over; what else it is told of doors.
fn back(world: &mut World, page: &str) -> Vec<serde_json::Value> {
    world.is_away = false;
    (0..60).for_each(|_| drop(world.slot(Some(page))));
    let kind = "change.verification.failed";
    let told = world.events.iter().filter(|event| event["type"] == kind);
    told.map(|event| event["data"].clone()).collect()
}

/// Which change is blamed for which door.
fn blamed(told: &[serde_json::Value]) -> Vec<(String, String)> {
    let text = |data: &serde_json::Value, name: &str| {
        data["action"]["params"][name].as_str().unwrap_or_default().to_owned()
    };
    told.iter().map(|data| (text(data, "variable"), text(data, "gate"))).collect()
}

fn pair(what: &str, gate: &str) -> (String, String) {
    (what.to_owned(), gate.to_owned())
}

#[test]
fn a_change_whose_door_has_opened_is_not_blamed_for_the_door_that_another_shut() {
    let mut world = open(&running(50, -9000, "erp:15"));
    let deployed = running(50, world.second, "erp:16");
    let told = shut(&mut world, &deployed, "login");
    assert_eq!(told.as_deref(), Some("change deploy failed at login"));
    world.doors.clear();
    assert!(until(&mut world, &deployed, "gate login passes", 5).is_some());
    assert_eq!(back(&mut world, &deployed), [serde_json::Value::Null; 0], "it is open");
    let anew = running(50, world.second, "erp:16");
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &anew, "change", 60);
    assert_eq!(told.as_deref(), Some("change start failed at api"));
    assert_eq!(blamed(&back(&mut world, &anew)), [pair("start", "api")]);
}

#[test]
fn one_shut_door_is_told_anew_of_the_change_that_shut_it_alone() {
    let both = |one: i64, two: i64| {
        let second = container("acme", 50, two).replace("acme-1", "acme-2");
        container("acme", 50, one) + &second
    };
    let mut world = open(&both(-9000, -9000));
    let first = world.second;
    let page = both(first, -9000);
    assert!(shut(&mut world, &page, "login").is_some());
    world.doors.clear();
    assert!(until(&mut world, &page, "gate login passes", 5).is_some());
    let page = both(first, world.second);
    let told = shut(&mut world, &page, "api");
    assert_eq!(told.as_deref(), Some("change start failed at api"));
    assert_eq!(blamed(&back(&mut world, &page)), [pair("start", "api")]);
}

#[test]
fn what_is_told_anew_of_our_own_restart_is_one_story_with_it_though_it_is_watched_no_more() {
    let mut world = restarted(brief());
    let mut ids = world.records.iter().filter_map(|record| record.delivery_id.clone());
    let id = ids.next_back().expect("a delivery");
    let done = Reply2xx { change_id: Some("chg-7".to_owned()), ..said("done", None) };
    assert_eq!(send(&mut world, "msg_1", &id, done), Ok(()));
    let low = container("acme", 30, world.second);
    let told = shut(&mut world, &low, "login");
    assert_eq!(told.as_deref(), Some("change restart failed at login"));
    assert!(until(&mut world, &low, "outcome ineffective", 200).is_some());
    let told = back(&mut world, &low);
    assert_eq!(blamed(&told), [pair("restart", "login")]);
    let of_request = |event: &&serde_json::Value| event["type"] == "container.restart.requested";
    let asked = world.events.iter().find(of_request).expect("the request");
    for name in ["alert", "fingerprint", "trace_id", "tenant_id", "service"] {
        assert_eq!(told[0][name], asked["data"][name], "{name}");
    }
    assert_eq!(told[0]["action"]["params"]["change_id"], "chg-7");
}

#[test]
fn a_door_that_shut_under_the_kill_switch_is_told_once_that_is_removed() {
    let mut world = restarted(guarded());
    let throw = |world: &mut World, kill| {
        world.handle(Event::Switches(Switches { kill, ..Switches::default() }), None);
    };
    throw(&mut world, true);
    world.doors.insert("login".to_owned(), "");
    let low = container("acme", 30, world.second);
    let told = until(&mut world, &low, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at login kill_switch"));
    assert_eq!(until(&mut world, &low, "change", 30), None, "once");
    throw(&mut world, false);
    let told = until(&mut world, &low, "change", 30);
    assert_eq!(told.as_deref(), Some("change restart failed at login"));
    assert_eq!(until(&mut world, &low, "change", 30), None, "once");
    let told = world.events.iter().filter(|e| e["type"] == "change.verification.failed");
    let told: Vec<&serde_json::Value> = told.collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    let why = told["data"]["reason"].as_str().expect("has a reason");
    assert!(why.ends_with("; held by the kill switch at first"), "{why}");
}

/// Its readings are not kept over a start of ours; what was told is.
#[test]
fn a_shut_door_is_told_anew_though_we_were_restarted_or_the_container_was_or_another_was_deployed()
{
    let both =
        |first: String, image: &str| first + &running(50, -9000, image).replace("acme-1", "acme-2");
    for case in ["we", "the container", "another"] {
        let mut world = open(&both(running(50, -9000, "erp:15"), "erp:15"));
        let mut page = both(running(50, world.second, "erp:16"), "erp:15");
        let told = shut(&mut world, &page, "api");
        assert_eq!(told.as_deref(), Some("change deploy failed at api"));
        match case {
            "we" => {
                world = World::restarted(setup(RULES, brief()), &world, 1);
                world.doors.insert("api".to_owned(), "");
                world.is_away = true;
            }
            "the container" => page = both(running(50, world.second, "erp:16"), "erp:15"),
            _ => page = page.replace("erp:15", "erp:16"),
        }
        (0..30).for_each(|_| drop(world.slot(Some(&page))));
        assert_eq!(blamed(&back(&mut world, &page)), [pair("deploy", "api")], "{case}");
    }
}

#[test]
fn a_gate_told_anew_says_so() {
    let mut world = open(&container("acme", 50, -9000));
    let page = container("acme", 50, world.second);
    assert!(shut(&mut world, &page, "api").is_some());
    let told = back(&mut world, &page);
    let why = told[0]["reason"].as_str().expect("a reason");
    assert_eq!(why, "the gate api: 200, a blank page; told anew, as nobody took it before");
    let story: Vec<String> = world.records.iter().map(|record| record.sentence()).collect();
    let says_so = |line: &&String| line.contains("told anew, as nobody took it before");
    assert_eq!(story.iter().filter(says_so).count(), 1, "{story:?}");
}

/// No reading of that time is left to tell it from one that stayed shut.
#[test]
fn a_gate_told_anew_after_a_start_of_ours_says_that_nobody_watched_it_meanwhile() {
    let mut world = open(&container("acme", 50, -9000));
    let page = container("acme", 50, world.second);
    assert!(shut(&mut world, &page, "api").is_some());
    let mut world = World::restarted(setup(RULES, brief()), &world, 1);
    world.doors.insert("api".to_owned(), "");
    let told = back(&mut world, &page);
    let why = told[0]["reason"].as_str().expect("a reason");
    let words = "; told anew, as nobody took it before; whether it opened while plimsoll was down is not known";
    assert_eq!(why.strip_prefix("the gate api: 200, a blank page"), Some(words));
    let story: Vec<String> = world.records.iter().map(|record| record.sentence()).collect();
    assert_eq!(story.iter().filter(|line| line.contains(words)).count(), 1, "{story:?}");
}

/// That it runs out again and again is bounded, as all that is asked for is.
#[test]
fn a_gate_is_told_ten_times_at_most_and_within_a_day() {
    let mut world = open(&container("acme", 50, -9000));
    let page = container("acme", 50, world.second);
    assert!(shut(&mut world, &page, "api").is_some());
    let now = at(world.second, 0);
    let engine = &mut world.engine;
    let shut = engine.memory.shut.all().next().expect("it is kept").clone();
    let mut told = 1;
    let _ = engine.memory.guards.told(&shut.dedup_key);
    while let Some(key) = engine.next_key(&shut, now) {
        engine.tell_shut(now, &shut, (key.clone(), "502".to_owned()));
        let _ = engine.memory.guards.finish(&key, "expired");
        told += 1;
    }
    assert_eq!(told, 10);
    let _ = engine.memory.prune(at(world.second + 24 * 3600, 0), &brief().limits, &[].into());
    assert_eq!(engine.memory.shut.all().count(), 0);
}

/// What a person missed while the Control Plane was away is told when it is back, if it is true still.
#[test]
fn a_shut_door_that_nobody_heard_of_is_told_anew_while_it_stays_shut() {
    for (change, opens) in
        [("start", false), ("deploy", false), ("restart", false), ("start", true)]
    {
        let mut policy = guarded();
        policy.limits.expiry = Duration::from_secs(900);
        let mut world = World::new(RULES, policy);
        (0..4).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
        if change == "restart" {
            let ill = running(95, -9000, "erp:15");
            assert!(until(&mut world, &ill, "decided restart", 4).is_some());
        }
        let image = if change == "deploy" { "erp:16" } else { "erp:15" };
        let anew = running(30, world.second, image);
        world.slot(Some(&anew));
        world.is_away = true;
        world.doors.insert("api".to_owned(), "");
        let told = until(&mut world, &anew, "change", 60);
        let want = format!("change {change} failed at api");
        assert_eq!(told.as_ref(), Some(&want));
        assert_eq!(until(&mut world, &anew, "change", 300), None, "nobody would hear");
        if opens {
            world.doors.clear();
            assert!(until(&mut world, &anew, "gate api passes", 5).is_some());
            world.doors.insert("api".to_owned(), "");
            (0..4).for_each(|_| drop(world.slot(Some(&anew))));
        }
        world.is_away = false;
        let told = until(&mut world, &anew, "change", 20);
        assert_eq!(told, (!opens).then_some(want), "{change}");
        let of_type = |kind: &str| world.event_types().iter().filter(|of| **of == kind).count();
        let heard = of_type("change.verification.failed");
        assert_eq!(heard, usize::from(!opens));
        assert_eq!(until(&mut world, &anew, "change", 200), None, "once");
    }
}

/// What is told anew of one change says nothing about another.
#[test]
fn a_door_that_another_change_shut_a_moment_before_one_is_told_anew_is_told_too() {
    let mut world = open(&container("acme", 50, -9000));
    let page = container("acme", 50, world.second);
    assert!(shut(&mut world, &page, "login").is_some());
    let anew = container("acme", 50, world.second);
    world.doors.insert("api".to_owned(), "");
    (0..4).for_each(|_| drop(world.slot(Some(&anew))));
    let told = back(&mut world, &anew);
    assert_eq!(blamed(&told), [pair("start", "login"), pair("start", "api")]);
}

/// What it said is of long ago: it may have opened since.
#[test]
fn a_gate_that_cannot_be_asked_is_told_anew_once_it_can_be_and_is_shut_still() {
    for opened in [false, true] {
        let mut world = open(&container("acme", 50, -9000));
        let page = container("acme", 50, world.second);
        assert!(shut(&mut world, &page, "api").is_some());
        world.doors.insert("api".to_owned(), UNASKABLE);
        (0..10).for_each(|_| drop(world.slot(Some(&page))));
        assert_eq!(back(&mut world, &page), [serde_json::Value::Null; 0], "nobody can tell");
        world.doors.insert("api".to_owned(), if opened { "welcome" } else { "" });
        let want = if opened { vec![] } else { vec![pair("start", "api")] };
        assert_eq!(blamed(&back(&mut world, &page)), want);
    }
}

fn in_mode(mode: Mode) -> PolicyConfig {
    let mut policy = brief();
    policy.modes.insert(ActionKind::RollbackAdvice, mode);
    policy
}

#[test]
fn what_nobody_was_asked_for_is_not_kept_nor_told_anew_in_another_mode() {
    for mode in [Mode::Observe, Mode::Notify] {
        let mut world = World::new(RULES, in_mode(mode));
        (0..4).for_each(|_| drop(world.slot(Some(&container("acme", 50, -9000)))));
        let page = container("acme", 50, world.second);
        assert!(shut(&mut world, &page, "api").is_some());
        assert_eq!(world.engine.memory.shut.all().count(), 0, "{mode:?}");
        world.reload(setup(RULES, in_mode(Mode::Act)));
        assert_eq!(blamed(&back(&mut world, &page)), [], "{mode:?}");
    }
}

/// To show it would use up the key under which it is to be asked for.
#[test]
fn what_was_asked_for_is_told_anew_when_the_mode_asks_again() {
    for (mode, kills) in [(Mode::Observe, false), (Mode::Notify, false), (Mode::Act, true)] {
        let mut world = open(&container("acme", 50, -9000));
        let page = container("acme", 50, world.second);
        assert!(shut(&mut world, &page, "api").is_some());
        world.reload(setup(RULES, in_mode(mode)));
        world.engine.switches.kill = kills;
        assert_eq!(blamed(&back(&mut world, &page)), [], "{mode:?}");
        world.engine.switches.kill = false;
        world.reload(setup(RULES, in_mode(Mode::Act)));
        let told = back(&mut world, &page);
        assert_eq!(blamed(&told), [pair("start", "api")], "{mode:?}");
        assert_eq!(told[0]["action"]["mode"], "request");
    }
}

#[test]
fn that_there_is_no_room_to_keep_a_shut_door_is_told_and_counted() {
    for room in [1, 0] {
        let mut world = open(&container("acme", 50, -9000));
        let page = container("acme", 50, world.second);
        assert!(shut(&mut world, &page, "login").is_some());
        let shut_doors = &mut world.engine.memory.shut;
        let one = shut_doors.all().next().expect("it is kept").clone();
        for n in 1..SHUT_MAX - room {
            let (dedup_key, door) = (n.to_string(), GateKey::default());
            let _ = shut_doors.keep(&Shut { dedup_key, door, ..one.clone() });
        }
        let anew = container("acme", 50, world.second);
        world.doors.insert("api".to_owned(), "");
        let told = (0..60).flat_map(|_| world.slot(Some(&anew)));
        let told: Vec<String> = told.filter(|fact| !fact.starts_with("gate")).collect();
        let want = ["change start failed at api", "unkept api"];
        assert_eq!(told, want[..2 - room], "it is told in any case");
        assert_eq!(world.engine.counters.shut_gates_unkept, 1 - room as u64);
    }
}
