//! What holds an action from outside, whom it holds, and what is said to lift it.

use super::judgement::{container, until};
use super::*;
use crate::calendar::{Schedule, Window, Zone};
use crate::outbox::ActionKind;
use crate::policy::{Calendar, CalendarEntry, WindowKind};

fn rules(action: &str) -> String {
    format!(
        "groups: [{{name: g, interval: 5s, rules: [{{alert: WillOom, labels: {{action: {action}}}, \
         expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9}}]}}]"
    )
}

/// Everything acts that is not held.
fn policy() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.modes.insert(ActionKind::Nudge, Mode::Act);
    policy
}

/// A window of an hour from 08:00, when these worlds begin.
fn window(kind: WindowKind, tenants: &[&str]) -> Calendar {
    let window = Window {
        schedule: Schedule::parse("0 8 * * *").expect("a schedule"),
        duration: Duration::from_secs(3600),
        zone: Zone::utc(),
    };
    Calendar(vec![CalendarEntry {
        name: "patches".to_owned(),
        kind,
        hosts: vec!["web-7".to_owned()],
        tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        plans: Vec::new(),
        window,
    }])
}

/// What lifts the holds told so far, by reason.
fn lifts(world: &World, reason: &str) -> Vec<String> {
    let held = world.holds.iter().filter(|(held, _)| *held == reason);
    held.map(|(_, lifted_by)| lifted_by.clone()).collect()
}

#[test]
fn maintenance_holds_its_tenants_until_its_end() {
    let mut policy = policy();
    policy.calendar = window(WindowKind::Maintenance, &["acme"]);
    let mut world = World::new(&rules("restart"), policy);
    let both = container("acme", 95, -9000) + &container("beta", 95, -9000);
    assert!(until(&mut world, &both, "held restart: maintenance", 2).is_some());
    let end = "the end of the maintenance window `patches` at 2027-01-15T09:00:00.000Z";
    assert_eq!(lifts(&world, "maintenance"), [end]);
    let asked = |world: &World, tenant: &str| {
        let requests = world.events.iter().filter(|e| e["type"] == "container.restart.requested");
        requests.filter(|event| event["data"]["tenant_id"] == tenant).count()
    };
    assert_eq!((asked(&world, "acme"), asked(&world, "beta")), (0, 1), "beta is not in it");
    assert_eq!(world.event_types().iter().filter(|kind| **kind == "alert.firing").count(), 2);
    let mut open = 0;
    let acme = container("acme", 95, -9000);
    while until(&mut world, &acme, "decided restart", 1).is_none() {
        open += 1;
        assert!(open < 800, "it never lifts");
    }
    assert!((715..=725).contains(&open), "lifted after {open} slots of an hour");
    assert_eq!(asked(&world, "acme"), 1);
}

/// A container of a tenant that fills the memory its plan promises.
fn full(tenant: &str) -> String {
    let page = container(tenant, 95, -9000);
    page.replace(" 95\n", " 2100000000\n").replace(" 100\n", " 2147483648\n")
}

#[test]
fn quiet_hours_hold_nudges_alone() {
    for (action, want) in [("nudge", "held nudge: quiet_hours"), ("restart", "decided restart")] {
        let mut policy = policy();
        policy.calendar = window(WindowKind::QuietHours, &[]);
        let mut world = World::new(&rules(action), policy);
        let told = until(&mut world, &full("acme"), want, 2);
        assert!(told.is_some(), "{action}: {:?}", world.holds);
    }
}
