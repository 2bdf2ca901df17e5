//! What targets sent, and what becomes of it when they are silent, gone or two.

use super::*;

#[test]
fn what_targets_sent_that_are_silent_or_gone_ends() {
    let mut before = World::new(GHOSTS, acting());
    before.find_targets(2);
    before.other.1 = Some("x{name=\"other\"} 1\nalien 1\n".to_owned());
    for _ in 0..2 {
        before.slot(Some("x{name=\"own\"} 1\n"));
    }
    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 2);
    after.slot(Some("x{name=\"own\"} 1\n"));
    assert_eq!(after.live("x"), ["own"], "the other does not answer: what it sent has ended");
    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 1);
    after.slot(Some("x{name=\"own\"} 1\n"));
    assert_eq!(after.live("x"), ["own"], "the other is not configured any more");
    assert_eq!(after.live("alien"), [""; 0]);
}

#[test]
fn a_series_that_two_targets_may_send_waits_for_both() {
    let mut before = World::new(GHOSTS, acting());
    before.slot(Some("x{name=\"own\"} 1\n"));
    // The third has the labels of the first, and answers before it.
    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 3);
    after.other.1 = Some("y 1\n".to_owned());
    after.slot(Some("x{name=\"own\"} 1\n"));
    let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
    let mut series = after.engine.window.select(&Selector::new(vec![]), all);
    series.retain(|series| series.labels.metric_name() == "x");
    assert_eq!((series.len(), series[0].samples.len()), (1, 2), "no stale marker in between");
}

/// An alert without `instance`: it may rest on any target that reads so.
#[test]
fn a_target_that_never_answers_casts_doubt_only_on_what_it_fed() {
    let (high, low) = (memory("acme-web", 95), memory("acme-web", 10));
    let fired = |fed_by_other: bool| {
        let mut world = World::new(HIGH, acting());
        world.find_targets(2);
        let (own, other) = if fed_by_other { ("y 1\n", high.as_str()) } else { (&*high, "y 1\n") };
        world.other.1 = Some(other.to_owned());
        let told: Vec<String> = (0..4).flat_map(|_| world.slot(Some(own))).collect();
        assert!(told.contains(&"firing".to_owned()), "{told:?}");
        world
    };
    let rounds = |world: &mut World, page: &str| -> Vec<String> {
        (0..4).flat_map(|_| world.slot(Some(page))).collect()
    };
    let mut after = World::restarted(setup(HIGH, acting()), &fired(false), 2);
    assert_eq!(rounds(&mut after, &low), ["resolved"], "the silent one never fed it");
    let mut after = World::restarted(setup(HIGH, acting()), &fired(true), 2);
    assert_eq!(rounds(&mut after, "y 1\n"), ["unknown"], "the silent one did");
    let mut again = World::restarted(setup(HIGH, acting()), &after, 2);
    assert_eq!(
        rounds(&mut again, "y 1\n"),
        [""; 0],
        "still known, and told, after one more restart"
    );

    let before = fired(false);
    let mut blind = World::recovered(setup(HIGH, acting()), latest(&before.rows), before.second);
    blind.find_targets(2);
    assert_eq!(rounds(&mut blind, &low), ["unknown"], "without a checkpoint any target may have");
    blind.other.1 = Some("y 1\n".to_owned());
    assert_eq!(rounds(&mut blind, &low), ["resolved"], "until it has answered");
}

/// An alert that names the one target, and rests on what the other says, too.
#[test]
fn an_alert_is_unknown_while_the_other_target_that_its_rule_joins_is_silent() {
    let rules = "groups: [{name: g, rules: [\
                 {alert: Over, expr: 'x > on (name) group_left () y'}, {alert: High, expr: 'x > 90'}, \
                 {alert: Left, expr: 'x > 90 unless on (name) y > 99'}, \
                 {alert: Beside, expr: 'x > 90 and x < 99 or y > 99'}]}]";
    let begun = || {
        let mut world = World::new(rules, acting());
        world.find_targets(2);
        world.other.1 = Some("y{name=\"web\"} 80\n".to_owned());
        let told: Vec<String> =
            (0..3).flat_map(|_| world.slot(Some("x{name=\"web\"} 95\n"))).collect();
        assert_eq!(told.iter().filter(|told| *told == "firing").count(), 4, "{told:?}");
        world
    };
    let rounds = |world: &mut World, x: u32| -> Vec<String> {
        (0..4).flat_map(|_| world.slot(Some(&format!("x{{name=\"web\"}} {x}\n")))).collect()
    };
    let mut world = begun();
    world.other.1 = None;
    assert_eq!(rounds(&mut world, 95), ["unknown"], "what it is compared with is not known");
    assert_eq!(rounds(&mut world, 85), ["resolved"; 3], "what the others find is of the one alone");
    world.other.1 = Some("y{name=\"web\"} 90\n".to_owned());
    assert_eq!(rounds(&mut world, 85), ["resolved"]);
}

/// What is said of every target needs no other one.
#[test]
fn a_target_that_is_back_is_known_to_be_though_another_never_answered() {
    let rules = "groups: [{name: g, rules: [{alert: Down, expr: 'up == 0'}]}]";
    let mut before = World::new(rules, acting());
    assert_eq!(before.slot(None), ["firing"]);
    let mut after = World::recovered(setup(rules, acting()), latest(&before.rows), before.second);
    after.find_targets(2);
    let told: Vec<String> = (0..4).flat_map(|_| after.slot(Some("x 1\n"))).collect();
    assert_eq!(told, ["firing", "resolved"], "the other, and this one");
}

/// A label `instance` may be what a sender says of others (`honor_labels`).
#[test]
fn a_target_that_feeds_nothing_of_a_rule_is_no_source_of_its_alert() {
    let rules = "groups: [{name: g, rules: [{alert: High, expr: \
                 'label_replace(max by (of) (x) > 90, \"instance\", \"$1\", \"of\", \"(.*)\")'}]}]";
    let mut before = World::new(rules, acting());
    before.find_targets(2);
    before.other.1 = Some("x{of=\"i1\"} 95\n".to_owned());
    let told: Vec<String> = (0..3).flat_map(|_| before.slot(Some("y 1\n"))).collect();
    assert!(told.contains(&"firing".to_owned()), "{told:?}");
    let mut blind = World::recovered(setup(rules, acting()), latest(&before.rows), before.second);
    blind.find_targets(2);
    let told: Vec<String> = (0..4).flat_map(|_| blind.slot(Some("y 1\n"))).collect();
    assert_eq!(told, ["unknown"], "the other may be its source, and does not answer");
}

#[test]
fn what_is_said_of_another_target_is_not_of_the_one_that_the_alert_names() {
    let rules = "groups: [{name: g, rules: [{alert: Both, expr: \
                 'up{instance=\"i1\"} == 1 and on (job) up{instance!=\"i1\"} == 1'}]}]";
    let mut before = World::new(rules, acting());
    before.find_targets(2);
    before.other.1 = Some("y 1\n".to_owned());
    let told: Vec<String> = (0..3).flat_map(|_| before.slot(Some("x 1\n"))).collect();
    assert!(told.contains(&"firing".to_owned()), "{told:?}");
    let mut after = World::recovered(setup(rules, acting()), latest(&before.rows), before.second);
    after.find_targets(2);
    let told: Vec<String> = (0..4).flat_map(|_| after.slot(Some("x 1\n"))).collect();
    assert_eq!(told, ["unknown"], "the other has not answered since we began");
}
