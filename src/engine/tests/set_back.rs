//! A wall clock that is set back while nobody watches, or just before a restart: what is remembered goes
//! back with it, once.

use super::super::durable::restore;
use super::containers::{OOM, container_id};
use super::*;
use crate::outbox::ActionKind;
use crate::policy::Need;

const DAYS_S: i64 = 86_400;

const RULES: &str = "groups: [{name: g, rules: [\
    {alert: High, expr: 'container_memory_working_set_bytes > 90', for: 10s, \
     labels: {action: restart}}, \
    {alert: Slow, expr: 'container_memory_working_set_bytes > 90', for: 60s}]}]";

/// Half a minute in which a restart was asked for, and one more alert is pending.
fn before() -> World {
    let mut world = World::new(RULES, acting());
    let page = memory("acme-web", 95);
    let told: Vec<String> = (0..6).flat_map(|_| world.slot(Some(&page))).collect();
    assert!(told.contains(&"decided restart dry=false".to_owned()), "{told:?}");
    world
}

fn again(before: &World, second: i64) -> World {
    World::recovered(setup(RULES, acting()), latest(&before.rows), second)
}

/// Whether the episode of half a minute ago counts for seven days from now, and no longer.
fn has_gone_along(world: &World, skew_s: i64) -> bool {
    let counts = |ahead_s: i64| {
        let wall = at(world.second + ahead_s, skew_s).wall;
        let needs = [Need::Memory, Need::Cpu, Need::Other];
        let within = acting().limits.episodes_within;
        let count = |need| world.engine.memory.episodes.count("acme/app", need, within, wall);
        needs.into_iter().any(|need| count(need) > 0)
    };
    counts(7 * DAYS_S - 60) && !counts(7 * DAYS_S + 60)
}

#[test]
fn what_is_remembered_goes_back_with_a_clock_that_was_set_back_meanwhile() {
    let before = before();
    let after = again(&before, before.second - 3 * DAYS_S);
    assert!(has_gone_along(&after, 0));
    let now = at(after.second, 0);
    let history = after.engine.memory.guards.own_history("acme/app", now);
    let ago = history.since.get(&ActionKind::Restart).expect("it is remembered");
    assert!((10..=30).contains(&ago.as_secs()), "a cool-down does not begin anew: {ago:?}");
    // And not once more, though nothing was evaluated in between.
    let third = again(&after, after.second + 2);
    assert!(has_gone_along(&third, 0));
}

#[test]
fn a_step_just_before_a_restart_moves_everything_once() {
    for step_s in [-3 * DAYS_S, -3600] {
        let mut before = before();
        before.skew_s = step_s;
        let told = before.slot(None);
        assert_eq!(told, [format!("stepped {}", step_s * 1000)]);
        assert!(has_gone_along(&before, step_s));
        let mut after = again(&before, before.second + step_s + 5);
        assert!(has_gone_along(&after, 0), "{step_s}");
        let page = memory("acme-web", 95);
        let told: Vec<String> = (0..10).flat_map(|_| after.slot(Some(&page))).collect();
        assert_eq!(
            told.iter().filter(|told| *told == "firing").count(),
            1,
            "in its time: {told:?}"
        );
    }
}

#[test]
fn an_end_in_good_order_just_after_a_step_notes_no_time_that_is_to_come() {
    let mut before = before();
    before.skew_s = -3600;
    before.slot(None);
    let now = at(before.second, before.skew_s);
    let step = before.engine.end(now);
    before.rows.extend(step.changes.into_iter().flat_map(|(_, changes)| changes));
    let noted = restore(&latest(&before.rows)).last_evaluation;
    assert!(noted.is_some_and(|noted| noted <= now.wall), "{noted:?}");
    assert!(has_gone_along(&again(&before, before.second - 3600 + 5), 0));
}

#[test]
fn a_kill_counts_at_once_after_a_clock_that_was_set_back_meanwhile() {
    let of = format!("{{id=\"/docker/{}\",name=\"acme-web\"}}", container_id('a').as_str());
    let page = |kills: u8| format!("container_oom_events_total{of} {kills}\n");
    let mut before = World::new(OOM, acting());
    (0..6).for_each(|_| drop(before.slot(Some(&page(0)))));
    let rows = latest(&before.rows);
    let second = before.second - 3 * DAYS_S;
    let mut after = World::recovered(setup(OOM, acting()), rows, second);
    for kills in [0, 1, 1, 1, 1] {
        after.slot(Some(&page(kills)));
    }
    assert_eq!(after.engine.containers.counts()["acme-web"].total(), 1);
}

#[test]
fn what_waits_expires_in_its_time_though_the_clock_was_set_back() {
    let page = memory("acme-web", 95);
    let begun = || {
        let mut world = World::recovered(setup(RULES, acting()), Vec::new(), 10_000);
        world.is_away = true;
        let told: Vec<String> = (0..6).flat_map(|_| world.slot(Some(&page))).collect();
        assert!(told.contains(&"decided restart dry=false".to_owned()), "{told:?}");
        world
    };
    let away = |before: &World, second| {
        let mut world = again(before, second);
        world.is_away = true;
        world
    };
    let meanwhile = away(&begun(), 10_030 - 7200);
    let twice = away(&meanwhile, meanwhile.second + 2);
    let mut stepped = begun();
    stepped.skew_s = -7200;
    stepped.slot(Some(&page));
    let before_a_restart = away(&stepped, stepped.second - 7200 + 2);
    for (n, mut world) in [meanwhile, twice, before_a_restart].into_iter().enumerate() {
        let mut slots = 0..400;
        let slot = slots.find(|_| world.slot(Some(&page)).contains(&"outcome expired".to_owned()));
        assert!(slot.is_some_and(|slot| (165..=180).contains(&slot)), "{n}: {slot:?}");
    }
}
