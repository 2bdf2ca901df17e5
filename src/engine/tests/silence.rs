//! Which rules are reported as never firing, over hours of virtual time.

use super::*;

/// Slots of one hour.
const HOUR: usize = 720;

/// How often a rule is reported over so many slots of a page.
fn reports(world: &mut World, page: &str, slots: usize) -> usize {
    let mut told = (0..slots).flat_map(|_| world.slot(Some(page))).collect::<Vec<_>>();
    told.retain(|told| told.starts_with("never fires"));
    told.len()
}

fn is_marked(world: &World) -> bool {
    let view = world.engine.view(at(world.second, 0));
    view.groups[0].rules[0].never_fires
}

#[test]
fn a_rule_without_series_is_reported_once_and_only_if_it_cannot_fire() {
    for (expr, page, want) in [
        ("gone > 1", "x 1\n", 1),
        ("rate(gone[1m]) > 1", "x 1\n", 1),
        ("{__name__=~\"gone.*\"} > 1", "x 1\n", 1),
        ("x{name=\"gone\"} > 1", "x 1\n", 1),
        ("x > 1", "x 1\n", 0),
        ("absent(gone)", "x 1\n", 0),
        ("absent(x)", "x 1\n", 0),
        ("gone > 1 or vector(0) == 0", "x 1\n", 0),
        ("vector(0) == 1", "x 1\n", 0),
        ("max by (a) (gone or vector(0)) == 1", "x 1\n", 0),
        ("max by (a) (gone or other) == 2", "x 1\n", 1),
        ("ALERTS{alertname=\"other\"}", "x 1\n", 0),
        ("r:busy > 1", "x 1\n", 0),
    ] {
        let rules = format!(
            "groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}, \
             {{record: 'r:busy', expr: 'x > 100'}}]}}]"
        );
        let mut world = World::new(&rules, acting());
        assert_eq!(reports(&mut world, page, HOUR), 0, "not before the hour: {expr}");
        assert!(!is_marked(&world), "{expr}");
        assert_eq!(reports(&mut world, page, 50), want, "once: {expr}");
        assert_eq!(is_marked(&world), want == 1, "{expr}");
    }
}

#[test]
fn a_series_ends_the_report_and_the_hour_begins_anew() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'm > 1'}]}]";
    let mut world = World::new(rules, acting());
    assert_eq!(reports(&mut world, "x 1\n", HOUR + 1), 1);
    // What a target feeds is known once it has fed it: the first round does not wait for it.
    assert_eq!(reports(&mut world, "m 1\n", 2), 0);
    assert!(!is_marked(&world));
    assert_eq!(reports(&mut world, "x 1\n", HOUR), 0);
    assert!(!is_marked(&world));
    assert_eq!(reports(&mut world, "x 1\n", HOUR), 1, "a second time, and once");
    assert!(is_marked(&world));
}

#[test]
fn a_reload_forgets_no_silence() {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'm > 1'}]}]";
    let mut world = World::new(rules, acting());
    assert_eq!(reports(&mut world, "x 1\n", HOUR / 2), 0);
    world.reload(setup(rules, acting()));
    assert_eq!(reports(&mut world, "x 1\n", HOUR / 2 + 1), 1);
    world.reload(setup(rules, acting()));
    assert_eq!(reports(&mut world, "x 1\n", HOUR), 0, "said once");
}

/// A rule that fails on what it selected has found it: nobody is told that nothing is there.
#[test]
fn series_of_an_evaluation_that_failed_count() {
    for (expr, limit, fetched) in
        [("m / on () x", 0, 4), ("m > 1", 1, 2), ("m > 1 or topk(0/0, x)", 0, 4)]
    {
        let rules =
            format!("groups: [{{name: g, limit: {limit}, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        let mut world = World::new(&rules, acting());
        assert_eq!(reports(&mut world, "y 1\n", HOUR / 2), 0);
        let page = "m{a=\"1\"} 2\nm{a=\"2\"} 2\nx{a=\"1\"} 2\nx{a=\"2\"} 2\n";
        world.slot(Some(page));
        world.slot(Some(page));
        let view = world.engine.view(at(world.second, 0));
        let rule = &view.groups[0].rules[0];
        assert!(rule.last_error.is_some(), "{expr}: {rule:?}");
        let newest = rule.recent.last().expect("it has been evaluated");
        assert_eq!((rule.series_fetched, newest.series_fetched), (fetched, fetched), "{expr}");
        assert_eq!(reports(&mut world, "y 1\n", HOUR - 10), 0, "the hour begins anew: {expr}");
        assert!(!is_marked(&world), "{expr}");
    }
}
