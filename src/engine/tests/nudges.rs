//! What becomes of a nudge, and who is named when somebody else is to blame.

use super::judgement::{container, until};
use super::*;
use crate::base::DeliveryId;
use crate::outbox::{ActionKind, Answer as Said, Statement};
use crate::policy::{Plan, Plans};

const RULES: &str = "groups: [{name: g, interval: 5s, rules: [{alert: Full, labels: {action: nudge}, \
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9}]}]";

/// Slots until it is known that memory stands still: ten minutes.
const LOOKS: u32 = 130;

fn policy(nudge: Mode) -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.limits.nudge_episodes = 1;
    policy.limits.plan_floor_bytes = 0;
    policy.modes.insert(ActionKind::Nudge, nudge);
    policy
}

/// A container of `acme` with the limits of its plan.
fn page(percent: u64) -> String {
    let page = container("acme", 1, -9000);
    let limit = 2_147_483_648_u64;
    let used = limit / 100 * percent;
    page.replace(" 1\n", &format!(" {used}\n")).replace(" 100\n", &format!(" {limit}\n"))
}

/// A world in which a nudge was decided, and whose alert is then over.
fn over(mode: Mode, commits: bool, between: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(RULES, policy(mode));
    let told = if mode == Mode::Observe { "held nudge: observe" } else { "decided nudge" };
    world.commits = commits;
    assert!(until(&mut world, &page(95), told, LOOKS).is_some(), "{:?}", world.holds);
    between(&mut world);
    assert!(until(&mut world, &page(20), "resolved", 5).is_some());
    world
}

fn of_type<'a>(world: &'a World, kind: &str) -> Vec<&'a serde_json::Value> {
    world.events.iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn a_nudge_is_called_off_when_its_cause_ends() {
    for (mode, word) in [(Mode::Act, "request"), (Mode::Notify, "dry_run")] {
        let world = over(mode, true, |_| {});
        let [asked] = of_type(&world, "tenant.upgrade.suggested")[..] else { panic!("one") };
        let [off] = of_type(&world, "action.expired")[..] else { panic!("one") };
        let (asked, off) = (&asked["data"], &off["data"]);
        assert_eq!(off["action"]["dedup_key"], asked["action"]["dedup_key"]);
        assert_eq!(off["action"]["mode"], word);
        for key in ["tenant_id", "service", "fingerprint", "trace_id", "alert", "starts_at"] {
            assert_eq!(off[key], asked[key], "{key}");
        }
        let reason = off["reason"].as_str().expect("a reason");
        assert!(reason.ends_with("is void: its cause has ended, Full is resolved"), "{reason}");
    }
    let observed = over(Mode::Observe, true, |_| {});
    assert!(of_type(&observed, "action.expired").is_empty(), "nobody had heard of it");
}

#[test]
fn a_nudge_that_was_never_delivered_is_withdrawn() {
    let mut world = over(Mode::Act, false, |_| {});
    world.commits = true;
    let batch = Batch(u64::MAX);
    world.handle(Event::Committed(Receipt::of(batch)), None);
    until(&mut world, &page(20), "never", 3);
    assert!(of_type(&world, "tenant.upgrade.suggested").is_empty(), "{:?}", world.event_types());
    let [off] = of_type(&world, "action.expired")[..] else { panic!("one") };
    assert_eq!(off["data"]["action"]["kind"], "nudge");
    assert!(off["data"]["reason"].as_str().expect("one").contains("was withdrawn"), "{off}");
}

#[test]
fn a_nudge_that_expired_is_not_called_off_once_more() {
    let mut policy = policy(Mode::Act);
    policy.limits.expiry = Duration::from_secs(20);
    let mut world = World::new(RULES, policy);
    world.commits = false;
    assert!(until(&mut world, &page(95), "decided nudge", LOOKS).is_some());
    (0..10).for_each(|_| drop(world.slot(Some(&page(95)))));
    assert!(until(&mut world, &page(20), "resolved", 5).is_some());
    world.commits = true;
    world.handle(Event::Committed(Receipt::of(Batch(u64::MAX))), None);
    until(&mut world, &page(20), "never", 3);
    let off = of_type(&world, "action.expired");
    assert_eq!(off.len(), 1, "{off:?}");
    assert!(off[0]["data"]["reason"].as_str().expect("one").contains("expired before"), "{off:?}");
}

#[test]
fn a_customer_who_was_written_to_is_not_called_off() {
    let world = over(Mode::Act, true, |world| {
        let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
        let decided = decided.and_then(|record| record.delivery_id.clone());
        let answer = Said {
            decision: Some("done".to_owned()),
            outcome: Some("succeeded".to_owned()),
            ..Said::default()
        };
        let statement = Statement { delivery_id: decided.expect("one nudge"), answer };
        world.handle(Event::Statement { ticket: 1, id: "msg_1".to_owned(), statement }, None);
    });
    assert_eq!(of_type(&world, "tenant.upgrade.suggested").len(), 1);
    assert!(of_type(&world, "action.expired").is_empty(), "{:?}", world.event_types());
}

#[test]
fn a_tenant_is_nudged_once_whatever_its_services_lack() {
    let mut world = World::new(RULES, policy(Mode::Act));
    let worker = page(95).replace("acme-1", "acme-2").replace("role=\"app\"", "role=\"worker\"");
    let both = page(95) + &worker;
    assert!(until(&mut world, &both, "decided nudge", LOOKS).is_some());
    (0..20).for_each(|_| drop(world.slot(Some(&both))));
    assert_eq!(of_type(&world, "alert.firing").len(), 2, "{:?}", world.event_types());
    assert_eq!(of_type(&world, "tenant.upgrade.suggested").len(), 1);
    assert!(world.holds.iter().any(|(reason, _)| *reason == "cool_down"), "{:?}", world.holds);
}

#[test]
fn a_hold_that_blames_the_host_names_who_presses_on_it() {
    let mut world = World::new(RULES, policy(Mode::Act));
    let neighbour = |tenant: &str, percent| page(percent).replace("acme", tenant);
    // Seen by our own collector: a host without a node exporter has pressure, too.
    let host = "plimsoll_machine_memory_available_bytes 1\nmachine_memory_bytes 100\n";
    // Its own database uses more than anybody.
    let database = page(80).replace("acme-1", "acme-2").replace("\"app\"", "\"db\"");
    let neighbours = [neighbour("globex", 70), neighbour("umbrella", 5), neighbour("initech", 34)];
    let all = [page(91), database].into_iter().chain(neighbours).collect::<Vec<_>>();
    let all = all.concat() + host;
    assert!(until(&mut world, &all, "held nudge: host_pressure", 3).is_some(), "{:?}", world.holds);
    let lifted_by = world.holds.iter().find(|(reason, _)| *reason == "host_pressure");
    let want = "the end of the pressure on the host: globex/app has 25 % of the memory, \
                initech/app 12 %";
    assert_eq!(lifted_by.expect("held").1, want);
    let held = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionHeld);
    let held = serde_json::to_value(held.expect("in the audit")).expect("JSON");
    assert_eq!(held["evidence"]["offenders"][0]["tenant_id"], "globex", "{held}");
    let mut ample = policy(Mode::Act);
    ample.thresholds.host_memory = 0.01;
    let mut world = World::new(RULES, ample);
    assert!(until(&mut world, &all, "held nudge: host_pressure", 3).is_none(), "as configured");
}

#[test]
fn a_hold_that_blames_a_neighbour_names_who_takes_the_cpu() {
    let rules = "groups: [{name: g, rules: [{alert: Slow, expr: 'app_slow == 1', \
                 labels: {action: restart}}]}]";
    let mut world = World::new(rules, policy(Mode::Act));
    // Its own database takes more than anybody, and who takes most of the others has least memory.
    let database = container("acme", 40, -9000).replace("acme-1", "acme-2");
    let used = [
        (database.replace("\"app\"", "\"db\""), 1.8),
        (container("acme", 20, -9000), 0.2),
        (container("initech", 60, -9000), 0.6),
        (container("umbrella", 70, -9000), 0.15),
        (container("globex", 10, -9000), 1.25),
    ];
    let mut slot = || {
        let seconds = (world.second + STEP_S) as f64;
        let one = |(page, cores): &(String, f64)| {
            let labels = &page[page.find('{').expect("labels")..=page.find('}').expect("labels")];
            format!("{page}container_cpu_usage_seconds_total{labels} {}\n", cores * seconds)
        };
        let labels = "{name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"}";
        let waited = 0.7 * seconds;
        let slow = format!(
            "app_slow{labels} 1\ncontainer_pressure_cpu_waiting_seconds_total{labels} {waited}\n"
        );
        world.slot(Some(&(used.iter().map(one).collect::<String>() + &slow)))
    };
    assert!((0..62).any(|_| slot().contains(&"held restart: neighbour".to_owned())));
    let lifted_by = world.holds.iter().find(|(reason, _)| *reason == "neighbour");
    let want = "the neighbour using less: globex/app has 31 % of the cpu, initech/app 15 %";
    assert_eq!(lifted_by.expect("held").1, want);
    let records = world.records.iter().map(|r| serde_json::to_value(r).expect("JSON"));
    let held = records.into_iter().find(|record| record["reason"] == "neighbour");
    let held = held.expect("in the audit");
    let named = held["evidence"]["offenders"].as_array().expect("a list");
    let told = named.iter().map(|one| {
        let percent = (100.0 * one["share"].as_f64().expect("a share")).round();
        format!("{} {} {percent}", one["tenant_id"], one["resource"])
    });
    assert_eq!(told.collect::<Vec<_>>(), ["\"globex\" \"cpu\" 31", "\"initech\" \"cpu\" 15"]);
}

/// What was offered is gone before anybody heard of it; what there is instead is offered.
#[test]
fn a_plan_that_is_gone_is_not_offered_though_the_nudge_waited() {
    let plan = |name: &str, order, gib: u64| Plan {
        name: name.to_owned(),
        order,
        mem_limit_bytes: gib << 30,
        mem_soft_bytes: 0,
        cpu_limit_cores: 1.5,
    };
    let mut world = World::new(RULES, policy(Mode::Act));
    world.commits = false;
    assert!(until(&mut world, &page(95), "decided nudge", LOOKS).is_some());
    let plans = Plans::new(vec![plan("pro", 1, 2), plan("max", 2, 9)]).expect("a catalogue");
    world.engine.setup.policy.plans_expected = true;
    world.handle(Event::Plans(Told::Read(plans)), None);
    world.commits = true;
    world.handle(Event::Committed(Receipt::of(Batch(u64::MAX))), None);
    until(&mut world, &page(95), "never", 12);
    let offered = |kind: &str| {
        let of_type = of_type(&world, kind).into_iter();
        of_type.map(|event| event["data"]["action"]["params"]["to"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(offered("tenant.upgrade.suggested"), ["max"]);
    assert_eq!(offered("action.expired"), ["enterprise"]);
    let reason = &of_type(&world, "action.expired")[0]["data"]["reason"];
    assert!(reason.as_str().expect("one").contains("was withdrawn: offer_outdated"), "{reason}");
}

/// It is called off while it is on its way, and again once it is known that its attempt has failed.
#[test]
fn a_nudge_that_is_called_off_under_way_is_told_to_be_void_once() {
    let mut world = World::new(RULES, policy(Mode::Act));
    world.hangs = true;
    assert!(until(&mut world, &page(95), "decided nudge", LOOKS).is_some());
    assert!(until(&mut world, &page(20), "resolved", 5).is_some());
    let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
    let id = decided.and_then(|record| record.delivery_id.clone()).map(DeliveryId).expect("one");
    world.hangs = false;
    let outcome = Outcome::RetryLater { after: None, why: "refused".to_owned() };
    world.handle(Event::Delivered(Reply { id, number: 1, outcome }), None);
    until(&mut world, &page(20), "never", 12);
    assert!(of_type(&world, "tenant.upgrade.suggested").is_empty(), "{:?}", world.event_types());
    assert_eq!(of_type(&world, "action.expired").len(), 1, "{:?}", world.event_types());
}

#[test]
fn a_start_time_in_milliseconds_keeps_no_request_from_being_withdrawn() {
    let page = |percent| page(percent).replace("1799991000\n", "1799991000000\n");
    let mut world = World::new(RULES, policy(Mode::Act));
    world.commits = false;
    assert!(until(&mut world, &page(95), "decided nudge", LOOKS).is_some(), "{:?}", world.holds);
    assert!(until(&mut world, &page(20), "resolved", 5).is_some());
    world.commits = true;
    world.handle(Event::Committed(Receipt::of(Batch(u64::MAX))), None);
    until(&mut world, &page(20), "never", 3);
    assert!(of_type(&world, "tenant.upgrade.suggested").is_empty(), "{:?}", world.event_types());
    let [off] = of_type(&world, "action.expired")[..] else { panic!("one") };
    assert_eq!(off["data"]["action"]["kind"], "nudge", "{off}");
}
