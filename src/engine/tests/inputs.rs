//! How good inputs are, and what becomes of alerts whose inputs are not.

use super::*;
use crate::engine::Quality;

/// A page of a target that stamps what it sends: the container's memory of so many seconds ago.
fn stamped(world: &World, bytes: u32, seconds_ago: i64) -> String {
    let stamp = (at(world.second + STEP_S, 0).wall.0) - seconds_ago * 1000;
    format!("container_memory_working_set_bytes{{name=\"acme-web\"}} {bytes} {stamp}\n")
}

fn quality(world: &World) -> Quality {
    world.engine.view(at(world.second, 0)).targets[0].quality
}

#[test]
fn a_target_that_answers_with_old_samples_makes_its_alerts_unknown() {
    let mut world = World::new(&HIGH.replace("restart", "decide"), acting());
    for _ in 0..3 {
        let fresh = stamped(&world, 95, 0);
        world.slot(Some(&fresh));
    }
    world.events.clear();
    // From now on it answers, well and in time, and never looks again.
    let frozen = stamped(&world, 95, STEP_S);
    let told: Vec<String> = (0..120).flat_map(|_| world.slot(Some(&frozen))).collect();
    let want =
        ["host incident", "held decide: stale_evidence", "held decide: alert_unknown", "unknown"];
    assert_eq!(told, want, "past the lookback of 5 minutes it is not believed to have ended");
    assert_eq!(world.event_types(), ["host.incident.started", "alert.unknown"]);
    let low = stamped(&world, 10, 0);
    assert_eq!(world.slot(Some(&low)), ["resolved"]);
}

#[test]
fn quality_is_measured_per_target() {
    let mut world = World::new(HIGH, acting());
    let page = |first: u32| format!("a_total {first}\na 1\nb{{x=\"1\"}} 2\n");
    for _ in 0..6 {
        world.slot(Some(&page(10)));
    }
    world.slot(Some(&page(3)));
    world.slot(None);
    world.slot(None);
    let seen = quality(&world);
    let counts = (seen.expected, seen.present, seen.repeated, seen.resets);
    assert_eq!(counts, (27, 21, 0, 1), "of nine slots, two brought nothing");
    assert_eq!(seen.newest, Some(at(world.second - 2 * STEP_S, 0).wall));
    // A target that has not looked again says the same with the same time.
    let frozen = stamped(&world, 95, 0);
    for _ in 0..3 {
        world.slot(Some(&frozen));
    }
    let seen = quality(&world);
    assert_eq!((seen.expected, seen.present, seen.repeated), (30, 22, 2));
    assert_eq!(seen.age(at(world.second, 0).wall), Some(Duration::from_secs(10)));
    let query =
        Selector::new(vec![Matcher::equal("__name__", "plimsoll_input_quality_age_seconds")]);
    let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
    let series = world.engine.window.select(&query, all);
    let newest = series[0].samples.last().map(|sample| sample.value);
    assert_eq!((series.len(), newest), (1, Some(10.0)), "rules and queries see it");
}
