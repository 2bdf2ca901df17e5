//! What becomes of a request that waits, if something comes in between.

use super::judgement::{container, until};
use super::receipts::{said, send};
use super::*;
use crate::base::DeliveryId;

const RULES: &str = "groups: [{name: g, interval: 5s, rules: [{alert: WillOom, labels: {action: restart}, \
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9}]}]";

fn policy() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy
}

fn high() -> String {
    container("acme", 95, -9000)
}

/// A world in which a restart was asked for that cannot leave: the disk takes nothing.
fn waiting(restarts_only: bool) -> World {
    let outbox = Some(OutboxConfig { restarts_only, ..OutboxConfig::default() });
    let mut world = World::recovered(Setup { outbox, ..setup(RULES, policy()) }, Vec::new(), 0);
    world.commits = false;
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    world
}

/// The disk works again.
fn mend(world: &mut World) {
    world.commits = true;
    world.handle(Event::Committed(Receipt::of(Batch(u64::MAX))), None);
}

fn throw(world: &mut World, kill: bool) {
    world.handle(Event::Switches(Switches { kill, ..Switches::default() }), None);
}

#[test]
fn what_waits_is_taken_back_with_its_reason_and_asked_for_anew_as_another() {
    for restarts_only in [false, true] {
        let mut world = waiting(restarts_only);
        throw(&mut world, true);
        let told = world.slot(Some(&high()));
        assert!(told.contains(&"outcome withdrawn".to_owned()), "{told:?}");
        mend(&mut world);
        let told = [world.slot(Some(&high())), world.slot(Some(&high()))].concat();
        assert!(told.contains(&"held restart: kill_switch".to_owned()), "{told:?}");
        let asked = |world: &World| {
            let all = world.events.iter().filter(|e| e["type"] == "container.restart.requested");
            all.map(|e| e["data"]["action"]["dedup_key"].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(asked(&world), [""; 0]);
        let void: Vec<_> = world.events.iter().filter(|e| e["type"] == "action.expired").collect();
        assert_eq!(void.len(), usize::from(!restarts_only), "{void:?}");
        for event in &void {
            let reason = event["data"]["reason"].as_str().expect("a reason");
            assert!(reason.contains("was withdrawn: kill_switch, lifted by removing"), "{reason}");
        }
        let first = void.first().map(|e| e["data"]["action"]["dedup_key"].to_string());
        let sentences: Vec<String> = world.records.iter().map(|record| record.sentence()).collect();
        let outcome = "the restart of acme/app: withdrawn: kill_switch";
        assert!(sentences.iter().any(|s| s.starts_with(outcome)), "{sentences:#?}");
        let delivery = "container.restart.requested was withdrawn before it was taken: kill_switch";
        assert!(sentences.iter().any(|s| s.starts_with(delivery)), "{sentences:#?}");
        throw(&mut world, false);
        assert!(
            until(&mut world, &high(), "decided restart", 2).is_some(),
            "no cool-down, no budget"
        );
        let [again] = &asked(&world)[..] else { panic!("one request") };
        assert_ne!(Some(again), first.as_ref(), "a request that is void stays so");
    }
}

#[test]
fn what_leaves_between_two_rounds_is_looked_at_as_well() {
    let mut world = waiting(false);
    throw(&mut world, true);
    mend(&mut world);
    assert!(!world.event_types().contains(&"container.restart.requested"), "{:?}", world.events);
}

#[test]
fn a_cause_that_has_ended_takes_its_request_along() {
    let mut world = waiting(false);
    let told = [world.slot(Some(&container("acme", 20, -9000)))].concat();
    assert!(told.contains(&"outcome withdrawn".to_owned()), "{told:?}");
    mend(&mut world);
    until(&mut world, &container("acme", 20, -9000), "never", 300);
    let types = world.event_types();
    assert!(!types.contains(&"container.restart.requested"), "{types:?}");
    assert!(!types.contains(&"action.verified"), "no credit for what nobody did: {types:?}");
}

#[test]
fn after_a_start_nothing_leaves_before_somebody_has_looked() {
    let before = waiting(false);
    let start = |targets| World::restarted(setup(RULES, policy()), &before, targets);
    let mut world = start(1);
    assert_eq!(world.event_types(), ["alert.firing"], "its tenant's events are in order");
    let told = [world.slot(Some(&high())), world.slot(Some(&high()))].concat();
    assert!(world.event_types().contains(&"container.restart.requested"), "{told:?}");
    let mut world = start(1);
    let gone = container("acme", 20, -9000);
    until(&mut world, &gone, "never", 4);
    assert!(!world.event_types().contains(&"container.restart.requested"), "{:?}", world.events);
}

/// The answer to a request may get lost; a receipt says as much.
#[test]
fn what_a_receipt_says_is_taken_is_not_taken_back_and_does_not_expire() {
    let mut world = World::new(RULES, policy());
    world.loses_answers = true;
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
    let id = decided.and_then(|record| record.delivery_id.clone()).expect("one restart");
    assert_eq!(send(&mut world, "r-1", &id, said("accepted", None)), Ok(()));
    let asked = keys(&world, "container.restart.requested").len();
    let told = until(&mut world, &high(), "outcome", 400);
    assert_eq!(told.as_deref(), Some("outcome ineffective"), "its effect is watched");
    assert_eq!(keys(&world, "container.restart.requested").len(), asked, "it is sent no more");
    assert_eq!(keys(&world, "action.expired"), [""; 0]);
}

#[test]
fn what_is_given_up_and_may_have_been_taken_counts_as_if_it_were_done() {
    for is_doubtful in [true, false] {
        let mut world = World::new(RULES, policy());
        (world.loses_answers, world.is_away) = (is_doubtful, !is_doubtful);
        assert!(until(&mut world, &high(), "decided restart", 3).is_some());
        let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
        let id = decided.and_then(|record| record.delivery_id.clone()).expect("one restart");
        let (id, now) = (DeliveryId(id), at(world.second, 0));
        let outbox = world.engine.outbox.as_mut().expect("there is one");
        let turn = outbox.drop_delivery(&id).expect("it waits");
        world.engine.take_turn(now, turn);
        let limits = PolicyConfig::default().limits;
        let guards = &world.engine.memory.guards;
        let history = guards.history(("acme/app", "acme"), now, &limits, &|_| false);
        assert_eq!(history.restarts_open, usize::from(is_doubtful));
    }
}

#[test]
fn what_was_handed_out_and_never_answered_counts_until_nobody_can_do_it_any_more() {
    let mut quick = policy();
    quick.limits.restart_cool_down = Duration::from_secs(1);
    quick.limits.expiry = Duration::from_secs(60);
    quick.verify.within = Duration::from_secs(60);
    let mut world = World::new(RULES, quick);
    world.loses_answers = true;
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    let asked_at = world.second;
    throw(&mut world, true);
    assert!(until(&mut world, &high(), "outcome withdrawn", 5).is_some());
    throw(&mut world, false);
    world.loses_answers = false;
    let held = until(&mut world, &high(), "held restart", 3);
    assert_eq!(held.as_deref(), Some("held restart: host_busy"));
    assert!(until(&mut world, &high(), "decided restart", 100).is_some(), "in the end");
    assert!(world.second - asked_at >= 120, "{}", world.second - asked_at);
}

/// What stands while the Control Plane is away for longer than a request lives.
fn away(action: &str) -> World {
    let mut quick = policy();
    quick.limits.expiry = Duration::from_secs(60);
    let mut world = World::new(&RULES.replace("restart", action), quick);
    world.is_away = true;
    assert!(until(&mut world, &high(), "decided", 3).is_some());
    let told: Vec<String> = (0..60).flat_map(|_| world.slot(Some(&high()))).collect();
    assert!(!told.iter().any(|word| word.starts_with("decided")), "nobody would hear: {told:?}");
    let held = told.iter().filter(|word| word.starts_with("held")).collect::<Vec<_>>();
    assert_eq!(held, [&format!("held {action}: unheard")]);
    world
}

/// The actions of events of this type, by their keys.
fn keys(world: &World, event_type: &str) -> Vec<String> {
    let of_type = world.events.iter().filter(|event| event["type"] == event_type);
    of_type.map(|event| event["data"]["action"]["dedup_key"].to_string()).collect()
}

#[test]
fn what_ran_out_while_the_control_plane_was_away_is_asked_for_anew_when_it_answers() {
    for (action, event_type) in
        [("restart", "container.restart.requested"), ("advise", "advice.given")]
    {
        let mut world = away(action);
        world.is_away = false;
        let told = until(&mut world, &high(), "decided", 12);
        assert_eq!(told.as_deref(), Some(&*format!("decided {action} dry=false")));
        let (void, asked) = (keys(&world, "action.expired"), keys(&world, event_type));
        assert_eq!((void.len(), asked.len()), (1, 1), "{action}: {:?}", world.event_types());
        assert_ne!(void, asked, "{action}: a request that is void stays so");
    }
}

#[test]
fn what_ran_out_is_not_asked_for_anew_if_its_cause_is_over_or_a_guard_stands_against_it() {
    let mut world = away("restart");
    throw(&mut world, true);
    world.is_away = false;
    let told: Vec<String> = (0..12).flat_map(|_| world.slot(Some(&high()))).collect();
    assert!(told.contains(&"held restart: kill_switch".to_owned()), "{told:?}");
    throw(&mut world, false);
    (0..3).for_each(|_| drop(world.slot(Some(&container("acme", 20, -9000)))));
    assert_eq!(keys(&world, "container.restart.requested"), [""; 0]);
}

#[test]
fn what_ran_out_before_a_crash_is_asked_for_anew_after_it() {
    let before = away("restart");
    let mut world = World::restarted(setup(RULES, policy()), &before, 1);
    assert!(until(&mut world, &high(), "decided restart", 12).is_some(), "{:?}", world.told);
    assert_eq!(keys(&world, "container.restart.requested").len(), 1);
}

/// The delivery that tells of what ran out.
fn news_of_an_end(world: &World) -> DeliveryId {
    let outbox = world.engine.outbox.as_ref().expect("it has one");
    let mut all = outbox.list().map(|(_, delivery)| delivery);
    let news = all.find(|delivery| delivery.event_type == EventType::ActionExpired);
    news.expect("it is there").id.clone()
}

/// It may have been taken, and its answer lost: who never hears that it is over would do both.
#[test]
fn what_ran_out_is_not_asked_for_anew_if_its_receiver_will_never_hear_so() {
    for (action, drops, crashes) in [
        ("restart", false, false),
        ("restart", true, false),
        ("restart", false, true),
        ("advise", true, true),
    ] {
        let mut world = away(action);
        world.is_deaf = true;
        if drops {
            let command = OutboxCommand::Drop(news_of_an_end(&world));
            world.handle(Event::Outbox { ticket: 1, command }, None);
        }
        world.is_away = false;
        let mut told: Vec<String> = (0..8).flat_map(|_| world.slot(Some(&high()))).collect();
        if crashes {
            let rules = RULES.replace("restart", action);
            world = World::restarted(setup(&rules, policy()), &world, 1);
        }
        told.extend((0..12).flat_map(|_| world.slot(Some(&high()))));
        let decided: Vec<_> = told.iter().filter(|told| told.starts_with("decided")).collect();
        let person: &[&str] = if action == "restart" { &["decided advise dry=false"] } else { &[] };
        assert_eq!(decided, person, "{action}: {told:?}");
    }
}

#[test]
fn what_ran_out_is_asked_for_anew_once_an_operator_has_it_told_after_all() {
    let mut world = away("advise");
    (world.is_away, world.is_deaf) = (false, true);
    assert_eq!(until(&mut world, &high(), "decided", 20), None);
    world.is_deaf = false;
    let command = OutboxCommand::Retry(news_of_an_end(&world));
    world.handle(Event::Outbox { ticket: 1, command }, None);
    assert!(until(&mut world, &high(), "decided advise", 4).is_some(), "{:?}", world.told);
    assert_eq!(keys(&world, "advice.given").len(), 1);
}

/// A person was told in its place meanwhile.
#[test]
fn a_restart_that_ran_out_is_asked_for_anew_once_an_operator_has_it_told_after_all() {
    for crashes in [false, true] {
        let mut world = away("restart");
        (world.is_away, world.is_deaf) = (false, true);
        assert!(until(&mut world, &high(), "decided advise", 20).is_some());
        assert_eq!(until(&mut world, &high(), "decided", 20), None);
        if crashes {
            world = World::restarted(setup(RULES, policy()), &world, 1);
            world.is_deaf = true;
            assert_eq!(until(&mut world, &high(), "decided", 20), None);
        }
        world.is_deaf = false;
        let command = OutboxCommand::Retry(news_of_an_end(&world));
        world.handle(Event::Outbox { ticket: 1, command }, None);
        assert!(until(&mut world, &high(), "decided restart", 6).is_some(), "{:?}", world.told);
        assert_eq!(keys(&world, "container.restart.requested").len(), 1);
        assert_eq!(until(&mut world, &high(), "decided", 20), None, "once");
    }
}

/// Nobody is told of what the executor did not do in time.
#[test]
fn what_the_executor_could_not_do_in_time_is_asked_of_it_anew() {
    let outbox = Some(OutboxConfig { restarts_only: true, ..OutboxConfig::default() });
    let mut quick = policy();
    quick.limits.expiry = Duration::from_secs(60);
    let mut world = World::recovered(Setup { outbox, ..setup(RULES, quick) }, Vec::new(), 0);
    world.is_away = true;
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    assert!(until(&mut world, &high(), "decided restart", 15).is_some(), "{:?}", world.told);
    world.is_away = false;
    assert!(until(&mut world, &high(), "never", 12).is_none());
    assert_eq!(keys(&world, "container.restart.requested").len(), 1);
}

#[test]
fn a_refusal_that_nobody_heard_of_is_told_anew() {
    let mut quick = policy();
    quick.limits.expiry = Duration::from_secs(60);
    let mut world = World::new(RULES, quick);
    let high = high().replace("role=\"app\"", "role=\"db\"");
    world.is_away = true;
    assert!(until(&mut world, &high, "decided advise", 3).is_some());
    assert!(until(&mut world, &high, "decided", 30).is_none());
    world.is_away = false;
    assert!(until(&mut world, &high, "decided advise", 12).is_some());
    assert_eq!(keys(&world, "advice.given").len(), 1);
    assert!(until(&mut world, &high, "decided", 30).is_none(), "once");
}

/// A restart was taken, and seen to be done.
fn done() -> (World, String) {
    let mut world = World::new(RULES, policy());
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
    let id = decided.and_then(|record| record.delivery_id.clone()).expect("one restart");
    let well = container("acme", 20, world.second + 1);
    (0..2).for_each(|_| drop(world.slot(Some(&well))));
    (world, id)
}

/// Somebody else may have started the container: then it would be asked for in earnest.
#[test]
fn what_seems_done_is_not_asked_on_while_the_kill_switch_is_thrown() {
    let mut world = World::new(RULES, policy());
    world.loses_answers = true;
    assert!(until(&mut world, &high(), "decided restart", 3).is_some());
    let asked = |world: &World| keys(world, "container.restart.requested").len();
    let well = container("acme", 20, world.second + 1);
    assert_eq!(until(&mut world, &well, "outcome withdrawn", 6), None);
    throw(&mut world, true);
    let before = asked(&world);
    assert_eq!(until(&mut world, &well, "outcome withdrawn", 48), None);
    assert_eq!(asked(&world), before, "not while it is thrown");
    throw(&mut world, false);
    assert_eq!(until(&mut world, &well, "outcome withdrawn", 48), None);
    assert!(asked(&world) > before, "until its receiver says what became of it");
}

#[test]
fn a_restart_that_was_seen_counts_though_it_is_declined_in_the_end() {
    let (mut world, id) = done();
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    let ill = container("acme", 95, world.second - 5);
    let held = until(&mut world, &ill, "held restart", 5);
    assert_eq!(held.as_deref(), Some("held restart: cool_down"), "{:?}", world.told);
}

#[test]
fn what_helped_is_not_undone_by_a_later_word() {
    for late in [said("done", Some("failed")), said("declined", None)] {
        let (mut world, id) = done();
        let well = container("acme", 20, world.second - 5);
        assert!(until(&mut world, &well, "outcome effective", 50).is_some());
        assert_eq!(send(&mut world, "msg_1", &id, late), Ok(()));
        let told = until(&mut world, &well, "outcome", 5);
        assert_eq!((told, world.event_types().contains(&"action.failed")), (None, false));
        assert!(!world.told.iter().any(|told| told.starts_with("outcome")), "{:?}", world.told);
    }
}

/// What is shown is shown once: whoever was away has missed it, and nothing hangs on it.
#[test]
fn a_dry_run_that_ran_out_is_not_shown_anew_and_is_asked_for_in_another_mode() {
    for action in ["restart", "advise"] {
        let mut quick = policy();
        quick.limits.expiry = Duration::from_secs(60);
        quick.mode = Mode::Notify;
        let rules = RULES.replace("restart", action);
        let mut world = World::new(&rules, quick.clone());
        world.is_away = true;
        let told = until(&mut world, &high(), "decided", 3);
        assert_eq!(told, Some(format!("decided {action} dry=true")));
        assert_eq!(until(&mut world, &high(), "never", 60), None);
        world.is_away = false;
        assert_eq!(until(&mut world, &high(), "decided", 20), None, "{action}");
        assert_eq!(keys(&world, "action.expired").len(), 1);
        quick.mode = Mode::Act;
        world.reload(setup(&rules, quick));
        let told = until(&mut world, &high(), "decided", 3);
        assert_eq!(told, Some(format!("decided {action} dry=false")));
    }
}
