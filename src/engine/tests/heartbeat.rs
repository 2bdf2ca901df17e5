//! Signs of life, and what their silence does.

use super::*;
use crate::audit::State;

fn beating() -> World {
    let outbox =
        OutboxConfig { heartbeat: Some(Duration::from_secs(60)), ..OutboxConfig::default() };
    let setup = Setup { outbox: Some(outbox), ..setup(HIGH, acting()) };
    World::recovered(setup, Vec::new(), 0)
}

#[test]
fn a_sign_of_life_carries_the_audits_head_and_the_rules() {
    let mut world = beating();
    let state = State { sequence: 7, head: "abc".to_owned(), ..State::default() };
    world.handle(Event::Audited(state), None);
    let page = memory("acme-web", 10);
    (0..11).for_each(|_| drop(world.slot(Some(&page))));
    assert_eq!(world.event_types(), [""; 0], "not before an interval has passed");
    (0..13).for_each(|_| drop(world.slot(Some(&page))));
    assert_eq!(world.event_types(), ["sidecar.heartbeat"; 2]);
    let beats: Vec<&serde_json::Value> =
        world.events.iter().map(|event| &event["data"]["heartbeat"]).collect();
    assert_eq!((&beats[0]["sequence"], &beats[1]["sequence"]), (&1.into(), &2.into()));
    assert_eq!(beats[1]["uptime_seconds"], 120);
    assert_eq!((&beats[1]["audit_head"], &beats[1]["audit_sequence"]), (&"abc".into(), &7.into()));
    assert_eq!(beats[0]["rules_hash"], beats[1]["rules_hash"]);
    assert_eq!(beats[0]["rules_hash"].as_str().expect("text").len(), 64);
    assert_eq!(world.records.len(), 0, "a sign of life is no event of the night");
    let other = HIGH.replace("> 90", "> 91");
    let outbox =
        OutboxConfig { heartbeat: Some(Duration::from_secs(60)), ..OutboxConfig::default() };
    let setup = Setup { outbox: Some(outbox), ..setup(&other, acting()) };
    let mut other = World::recovered(setup, Vec::new(), 0);
    (0..13).for_each(|_| drop(other.slot(Some(&page))));
    assert_ne!(other.events[0]["data"]["heartbeat"]["rules_hash"], beats[0]["rules_hash"]);
}

/// A Control Plane that says nothing becomes an alert by the shipped rule, on a quiet host, too:
/// there is always a sign of life that waits. And there is never more than one.
#[test]
fn a_silent_control_plane_is_an_alert_on_a_quiet_host() {
    let mut world = beating();
    world.commits = false;
    let page = memory("acme-web", 10);
    let oldest = |world: &World| world.engine.outbox_view(at(world.second, 0)).oldest;
    (0..100).for_each(|_| drop(world.slot(Some(&page))));
    let waiting = world.engine.outbox_view(at(world.second, 0)).waiting;
    assert_eq!(waiting, 1, "an outage does not end with a crowd of them");
    assert!(oldest(&world) >= Duration::from_secs(300), "{:?}", oldest(&world));
    let rules = include_str!("../../../rules/plimsoll.yml");
    assert!(rules.contains("plimsoll_outbox_oldest_seconds) >= 300"));
}
