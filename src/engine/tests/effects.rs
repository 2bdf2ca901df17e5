//! By what a restart is judged, how long it counts as open, and for how long it is known.

use super::judgement::{RULES, container, until, world};
use super::*;
use crate::base::DeliveryId;
use crate::engine::whose::INCIDENTS_MADE;
use crate::outbox::{Data, Draft, Event as Webhook};

/// One of several containers of `acme`'s service.
fn replica(n: u32, percent: u32, started: i64) -> String {
    container("acme", percent, started).replace("acme-1", &format!("acme-{n}"))
}

/// The containers that were asked to be restarted.
fn restarted(world: &World) -> Vec<&str> {
    let asked = world.events.iter().filter(|e| e["type"] == "container.restart.requested");
    asked.filter_map(|e| e["data"]["evidence"]["container"]["name"].as_str()).collect()
}

#[test]
fn a_restart_of_one_replica_is_not_judged_by_the_alerts_of_the_others() {
    let mut world = world();
    let ill = |n| replica(n, 95, -9000);
    let page = [ill(1), ill(2), ill(3)].concat();
    assert!(until(&mut world, &page, "decided restart", 3).is_some());
    assert_eq!(restarted(&world), ["acme-1"]);
    let page = [replica(1, 30, world.second), ill(2), ill(3)].concat();
    assert_eq!(until(&mut world, &page, "outcome", 130).as_deref(), Some("outcome effective"));
    assert_eq!(until(&mut world, &page, "outcome", 60), None, "nor is it a relapse of its own");
}

#[test]
fn an_alert_on_the_service_as_a_whole_speaks_for_each_of_its_containers() {
    let whole = "  - alert: Whole\n    expr: max by (service, tenant, role, plan) \
                 (container_memory_working_set_bytes / container_spec_memory_limit_bytes) >= 0.9\n    \
                 labels: {action: restart}\n";
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::new(&format!("{RULES}{whole}"), policy);
    let both = [replica(1, 95, -9000), replica(2, 95, -9000)].concat();
    assert!(until(&mut world, &both, "decided restart", 3).is_some());
    let page = [replica(1, 30, world.second), replica(2, 95, -9000)].concat();
    assert_eq!(until(&mut world, &page, "outcome", 130).as_deref(), Some("outcome ineffective"));
}

#[test]
fn what_a_neighbour_does_to_a_container_is_no_failure_of_its_restart() {
    let slow = "  - alert: Slow\n    expr: app_slow == 1\n    labels: {action: decide}\n";
    let outcome = |waits: f64| {
        let mut policy = acting();
        policy.limits.after_change = Duration::ZERO;
        let mut world = World::new(&format!("{RULES}{slow}"), policy);
        let ill = container("acme", 95, -9000);
        assert!(until(&mut world, &ill, "decided restart", 3).is_some());
        let started = world.second;
        let told = (0..130).flat_map(|_| {
            let labels = "name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"";
            let waited = waits * (world.second + STEP_S) as f64;
            let cpu = "container_pressure_cpu_waiting_seconds_total";
            let page = container("acme", 20, started)
                + &format!("app_slow{{{labels}}} 1\n{cpu}{{{labels}}} {waited}\n");
            world.slot(Some(&page))
        });
        told.into_iter().find(|told| told.starts_with("outcome"))
    };
    assert_eq!(outcome(0.7).as_deref(), Some("outcome effective"));
    assert_eq!(outcome(0.0).as_deref(), Some("outcome ineffective"), "nobody else is to blame");
}

#[test]
fn a_restart_that_is_on_its_way_when_it_expires_is_open_still() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.limits.expiry = Duration::from_secs(20);
    let mut world = World::new(RULES, policy);
    world.commits = false;
    let one = container("acme", 95, -9000);
    assert!(until(&mut world, &one, "decided restart", 3).is_some());
    (0..3).for_each(|_| drop(world.slot(Some(&one))));
    (world.hangs, world.commits) = (true, true);
    world.handle(Event::Committed(Receipt::of(Batch(u64::MAX))), None);
    let both = one + &container("globex", 95, -9000);
    let told: Vec<String> = (0..8).flat_map(|_| world.slot(Some(&both))).collect();
    assert!(told.contains(&"held restart: host_busy".to_owned()), "{told:?}");
    assert!(!told.iter().any(|told| told.starts_with("decided")), "{told:?}");
}

#[test]
fn a_request_that_is_given_up_for_room_is_over_and_counts_while_it_may_be_done() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let outbox = Some(OutboxConfig { max_bytes: 0, ..OutboxConfig::default() });
    let mut world = World::recovered(Setup { outbox, ..setup(RULES, policy) }, Vec::new(), 0);
    world.loses_answers = true;
    let page = container("acme", 95, -9000);
    assert!(until(&mut world, &page, "decided restart", 3).is_some());
    world.is_away = true;
    let now = at(world.second, 0);
    for n in 0..400 {
        let fingerprint = Some(format!("{n:016x}"));
        let data = Data { fingerprint, reason: Some("x".repeat(1000)), ..Data::default() };
        let event = Webhook::new(EventType::AlertFiring, now.wall, data);
        world.engine.push_event(now, Draft { id: DeliveryId(format!("evt_{n}")), event });
    }
    let told = world.slot(Some(&page));
    assert!(told.contains(&"outcome declined".to_owned()), "{told:?}");
    let limits = PolicyConfig::default().limits;
    let guards = &world.engine.memory.guards;
    let history = guards.history(("acme/app", "acme"), at(world.second, 0), &limits, &|_| false);
    assert_eq!(history.restarts_open, 1, "it was sent, and nobody answered");
}

#[test]
fn what_was_asked_for_about_an_alert_that_fires_on_is_known_though_others_come_after_it() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.limits.nudge_cool_down = Duration::from_secs(3600);
    // Looked at once a minute, inputs are old for most of it.
    policy.interlock.within = Duration::from_secs(1 << 30);
    let mut world = World::new(RULES, policy);
    let ill = |n| replica(n, 95, -9000);
    assert!(until(&mut world, &ill(1), "decided restart", 3).is_some());
    assert!(until(&mut world, &ill(1), "outcome ineffective", 130).is_some());
    // A day and more, minute by minute.
    for _ in 0..26 * 60 {
        world.second += 55;
        world.slot(Some(&ill(1)));
    }
    let both = [ill(1), ill(2)].concat();
    assert!(until(&mut world, &both, "decided restart", 3).is_some(), "{:?}", world.holds);
    let page = [ill(1), replica(2, 30, world.second)].concat();
    assert!(until(&mut world, &page, "outcome", 130).is_some());
    until(&mut world, &page, "never", 200);
    assert_eq!(restarted(&world), ["acme-1", "acme-2"]);
}

/// Thousands of services that were advised on a day ago may fall ill again in one round.
#[test]
fn what_is_old_is_forgotten_in_one_walk_over_the_alerts_of_a_round() {
    let rules = RULES.replace("restart", "advise");
    let mut policy = acting();
    policy.limits.nudge_cool_down = Duration::from_secs(3600);
    let looks = |tenants: usize| {
        let page = |percent| -> String {
            (0..tenants).map(|n| container(&format!("t{n}"), percent, -9000)).collect()
        };
        let mut world = World::new(&rules, policy.clone());
        assert!(until(&mut world, &page(95), "decided advise", 3).is_some());
        assert!(until(&mut world, &page(30), "resolved", 3).is_some());
        world = World::recovered(setup(&rules, policy.clone()), latest(&world.rows), 26 * 3600);
        let ill = page(95);
        let rounds = (0..3).map(|_| {
            let before = INCIDENTS_MADE.get();
            let told = world.slot(Some(&ill));
            let advised = told.iter().filter(|told| told.starts_with("decided advise")).count();
            (advised, INCIDENTS_MADE.get() - before)
        });
        let rounds: Vec<(usize, usize)> = rounds.collect();
        let all_at_once = rounds.iter().find(|(advised, _)| *advised == tenants);
        let known = world.engine.memory.guards.since(Timestamp(0)).len();
        assert_eq!(known, tenants, "what is over is forgotten");
        all_at_once.unwrap_or_else(|| panic!("not in one round: {rounds:?}")).1
    };
    let (few, many) = (looks(5), looks(50));
    assert!(few >= 5 && many <= 12 * few, "{few} looks at 5 alerts, {many} at 50");
}

#[test]
fn a_limit_that_is_no_number_leaves_rows_that_read() {
    for limit in ["NaN", "+Inf"] {
        let page = container("acme", 95, -9000).replace(" 100\n", &format!(" {limit}\n"));
        let mut world = world();
        (0..30).for_each(|_| drop(world.slot(Some(&page))));
        let rows = latest(&world.rows);
        assert!(rows.iter().any(|row| row.key == "usage/acme/app"), "{limit}");
        let again = World::recovered(setup(RULES, acting()), rows, world.second + 5);
        assert_eq!(again.engine.counters.rows_unreadable, 0, "{limit}");
    }
}
