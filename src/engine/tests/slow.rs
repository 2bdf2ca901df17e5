//! A group that takes too long: it is ended, it says so, and the others go on.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const RULES: &str = "
groups:
- name: heavy
  rules:
  - {alert: Heavy, expr: 'max_over_time(quantile_over_time(0.5, vector(1)[2h:1s])[10h:1s])'}
  - {record: after, expr: vector(1)}
- name: light
  rules: [{record: light, expr: time()}]
";

/// A world in which 10 ms pass whenever somebody looks at the time.
fn slow_world() -> World {
    let mut world = World::new(RULES, acting());
    let looks = AtomicU32::new(0);
    let stopwatch = move || Duration::from_millis(10) * looks.fetch_add(1, Ordering::Relaxed);
    world.engine.stopwatch = Arc::new(stopwatch);
    world
}

fn groups(world: &World) -> [Arc<GroupView>; 2] {
    let groups = world.engine.view(at(world.second, 0)).groups;
    groups.try_into().expect("two groups")
}

#[test]
fn a_group_that_takes_too_long_is_ended_and_says_so() {
    let mut world = slow_world();
    world.slot(Some("x 1\n"));
    let [heavy, light] = groups(&world);
    let why = "evaluation timed out: the rules of a group may together take half of its interval, \
               at most 2s";
    for rule in &heavy.rules {
        assert_eq!((rule.health, rule.last_error.as_deref()), (Health::Bad, Some(why)));
        let recent = rule.recent.last().expect("it is in the ring");
        assert!(format!("{recent:?}").contains(why), "explain shows it");
    }
    let seconds = heavy.evaluation_time.as_secs_f64();
    assert!((2.0..2.2).contains(&seconds), "{seconds} s");
    assert_eq!((heavy.evaluations, heavy.failures), (2, 2));
    assert_eq!((light.evaluations, light.failures), (1, 0));
}

#[test]
fn a_group_that_takes_its_share_rests_while_the_others_go_on() {
    let mut world = slow_world();
    for _ in 0..6 {
        world.slot(Some("x 1\n"));
        let due = world.engine.next_wakeup();
        assert!(due > at(world.second, 0).monotonic, "nothing is due while it rests");
    }
    let [heavy, light] = groups(&world);
    assert_eq!((light.evaluations, light.missed), (6, 0));
    assert_eq!((heavy.evaluations / 2, heavy.missed), (3, 2), "each second slot");
}

#[test]
fn scrapes_are_taken_between_groups_that_take_long() {
    let mut world = slow_world();
    world.slot(Some("x 1\n"));
    world.slot(Some("x 1\n"));
    let before = groups(&world)[1].evaluations;
    let later = at(world.second + 5, 0);
    world.engine.targets.clear();
    world.engine.handle(later, Event::Tick);
    assert_eq!(groups(&world)[1].evaluations, before, "the turn was used up");
    assert!(world.engine.next_wakeup() <= later.monotonic + Duration::from_millis(500));
    world.engine.handle(later, Event::Tick);
    assert_eq!(groups(&world)[1].evaluations, before + 1, "the next turn is its own");
}
