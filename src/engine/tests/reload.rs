//! New rules while everything goes on: what they read for the first time is unknown, not absent.

use super::*;

/// What the targets have all the time.
const PAGE: &str = "bar 2\nfoo 2\nlimit 1\n";
const BEFORE: &str = "bar > 1";

/// The one target again, scraped this often.
fn every(world: &mut World, seconds: u64) {
    let target = &world.engine.targets[&TargetId(1)];
    let info = TargetInfo { interval: Duration::from_secs(seconds), ..target.info.clone() };
    let (active, flaws) = (vec![info], Flaws::default());
    world.handle(Event::Targets { active, dropped: Vec::new(), flaws }, None);
}

/// How many seconds from now it is due.
fn due_in(world: &World) -> i64 {
    let due = world.engine.targets[&TargetId(1)].next_slot;
    due.0 / 1000 - at(world.second, 0).wall.0 / 1000
}

/// Rules of one group; the first is the alert that fires.
fn text(exprs: &[&str]) -> String {
    let rule = |(n, expr): (usize, &&str)| format!("{{alert: R{n}, expr: '{expr}'}}");
    let rules: Vec<String> = exprs.iter().enumerate().map(rule).collect();
    format!("groups: [{{name: g, rules: [{}]}}]", rules.join(", "))
}

/// A world that keeps only what its rules read, and in which the first of them fires.
fn firing(exprs: &[&str]) -> World {
    let setup = setup(&text(exprs), acting());
    let selection = setup.selection();
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.selection = selection;
    assert_eq!(rounds(&mut world, Some(PAGE), 40), ["firing"]);
    world
}

/// As the shell does it: pages are read anew, for what the new rules read.
fn reload(world: &mut World, exprs: &[&str]) {
    reload_text(world, &text(exprs));
}

fn reload_text(world: &mut World, text: &str) {
    let setup = setup(text, acting());
    world.selection = setup.selection();
    world.cache.reset();
    world.reload(setup);
}

fn rounds(world: &mut World, page: Option<&str>, slots: usize) -> Vec<String> {
    (0..slots).flat_map(|_| world.slot(page)).collect()
}

#[test]
fn what_a_reload_reads_for_the_first_time_neither_ends_nor_begins_an_alert() {
    for after in
        ["foo > 1", "foo > 1 and bar > 1", "{__name__=~\"foo|x\"} > 1", "foo > 1 or up > 2"]
    {
        let mut world = firing(&[BEFORE]);
        reload(&mut world, &[after, "absent(limit)", "foo unless limit"]);
        assert_eq!(rounds(&mut world, Some(PAGE), 4), [""; 0], "{after}");
        let gone = rounds(&mut world, Some("bar 2\n"), 2);
        assert_eq!(gone, ["resolved", "firing"], "what is seen counts: {after}");
    }
}

/// What the API takes for subqueries that name no step.
#[test]
fn the_view_has_the_step_of_the_rules_in_force() {
    let mut world = firing(&[BEFORE]);
    let step = |world: &World| world.engine.view(at(world.second, 0)).default_step;
    let mut new = setup(&text(&[BEFORE]), acting());
    assert_eq!(step(&world), new.eval.default_step);
    new.eval.default_step = Duration::from_secs(77);
    world.reload(new);
    assert_eq!(step(&world), Duration::from_secs(77));
}

#[test]
fn who_does_not_answer_to_new_rules_leaves_them_unknown() {
    let mut world = firing(&[BEFORE]);
    reload(&mut world, &["foo > 1", "absent(limit)"]);
    assert_eq!(rounds(&mut world, None, 4), ["firing", "unknown"], "all have answered, badly");
    assert_eq!(rounds(&mut world, Some(PAGE), 2), ["known", "resolved"]);
}

#[test]
fn a_scrape_under_way_answers_to_the_rules_it_began_under() {
    let mut world = firing(&[BEFORE]);
    world.second += STEP_S;
    let now = at(world.second, 0);
    let step = world.engine.handle(now, Event::Tick);
    let is_scrape = |request: &Request| matches!(request, Request::Scrape { .. });
    assert!(step.requests.iter().any(is_scrape), "{step:?}");
    let batch = scan(&mut world.cache, &world.selection, &labels_of(TargetId(1)), PAGE);
    reload(&mut world, &["foo > 1", "absent(limit)"]);
    let (target, duration) = (TargetId(1), Duration::ZERO);
    world.handle(Event::Scraped(Scraped { target, duration, result: Ok(batch) }), None);
    assert_eq!(world.told, [""; 0]);
    assert_eq!(rounds(&mut world, Some(PAGE), 4), [""; 0]);
}

#[test]
fn ranges_are_covered_from_when_their_samples_were_kept() {
    let slot_by = |before: &str, after: &str| {
        let mut world = firing(&[before]);
        let low = "bar 0\nfoo 0\n";
        assert_eq!(rounds(&mut world, Some(low), 100), [""; 0]);
        reload_text(&mut world, after);
        (1..99).find(|_| world.slot(Some(low)).contains(&"resolved".to_owned()))
    };
    let slot_of = |before: &str, after: &str| slot_by(before, &text(&[after]));
    let (newest, range) = ("bar > -1", "max_over_time(bar[5m]) > -1");
    assert_eq!(slot_of(range, "max_over_time(bar[2m]) > 1"), Some(1), "all of it was kept");
    assert_eq!(slot_of(range, "max_over_time(foo[2m]) > 1"), Some(24), "none of it was");
    assert_eq!(slot_of(range, "max_over_time(bar[10m]) > 1"), Some(60), "half of it was");
    assert_eq!(slot_of(newest, "max_over_time(bar[2m]) > 1"), Some(12), "a minute of it was");
    let late =
        text(&["max_over_time(bar[2m]) > 1"]).replace("name: g", "name: g, query_offset: 1m");
    assert_eq!(slot_by(newest, &late), Some(24), "of the minute before it nothing was");
    let late = text(&["foo > 1"]).replace("name: g", "name: g, query_offset: 1m");
    assert_eq!(slot_by(newest, &late), Some(12), "and nothing a minute ago");
}

#[test]
fn a_checkpoint_is_not_believed_for_longer_than_what_the_last_reload_kept() {
    let after = ["max_over_time(foo[2m]) > 1"];
    let mut world = firing(&["bar > -1"]);
    let low = "bar 0\nfoo 0\n";
    assert_eq!(rounds(&mut world, Some(low), 100), [""; 0]);
    reload(&mut world, &after);
    assert_eq!(rounds(&mut world, Some(low), 2), [""; 0]);
    let mut again = World::restarted(setup(&text(&after), acting()), &world, 1);
    again.selection = world.selection.clone();
    let ended = (1..99).find(|_| again.slot(Some(low)).contains(&"resolved".to_owned()));
    assert_eq!(ended, Some(18), "two minutes after the reload: 10 s, 20 s away, and this");
}

#[test]
fn a_restart_with_other_rules_takes_what_they_read_as_unknown() {
    let world = firing(&[BEFORE]);
    let after = setup(&text(&["foo > 1"]), acting());
    let selection = after.selection();
    let mut again = World::restarted(after, &world, 1);
    again.selection = selection;
    assert!(!rounds(&mut again, None, 4).contains(&"resolved".to_owned()), "it has yet to answer");
    assert!(!rounds(&mut again, Some(PAGE), 4).contains(&"resolved".to_owned()), "it still is so");
}

#[test]
fn another_interval_or_phase_counts_from_now_on() {
    let mut world = firing(&[BEFORE]);
    every(&mut world, 600);
    world.slot(Some(PAGE));
    assert_eq!(due_in(&world), 395, "of 600 since the start 205 have passed");
    every(&mut world, 600);
    assert_eq!(due_in(&world), 395, "nothing has changed");
    world.second += 300;
    every(&mut world, 2);
    assert!(due_in(&world) <= 2, "due in {} s", due_in(&world));
    world.slot(Some(PAGE));
    let quality = world.engine.targets[&TargetId(1)].quality.quality();
    assert!(quality.expected <= quality.present + 4, "none of 150 slots was missed: {quality:?}");

    every(&mut world, 5);
    let mut moved = setup(&text(&[BEFORE]), acting());
    moved.pace.phase = Duration::from_secs(3);
    world.reload(moved);
    every(&mut world, 5);
    let due = world.engine.targets[&TargetId(1)].next_slot;
    assert_eq!(due.0 % 5000, 3000, "all slots of a host share a phase");
}

#[test]
fn what_stays_goes_on_as_if_nothing_had_happened() {
    let shown = |world: &World| world.engine.view(at(world.second, 0)).groups[0].clone();
    let mut world = firing(&[BEFORE, "bar > 5"]);
    world.engine.groups[0].missed = 3;
    let before = shown(&world);
    assert!(before.evaluations == 80 && before.rules[0].recent.len() > 1, "{before:?}");
    reload(&mut world, &[BEFORE, "bar > 5"]);
    assert_eq!(format!("{:?}", shown(&world)), format!("{before:?}"));
    world.slot(Some(PAGE));
    assert_eq!(shown(&world).evaluations, 82);

    reload(&mut world, &["bar > 0"]);
    let after = shown(&world);
    assert_eq!((after.evaluations, after.missed), (82, 3), "the group is the same");
    assert_eq!(after.rules[0].recent.len(), 0, "the rule asks something else");
}

#[test]
fn a_slot_that_waits_for_its_targets_waits_on() {
    let mut world = firing(&[BEFORE]);
    world.second += STEP_S;
    let now = at(world.second, 0);
    world.engine.handle(now, Event::Tick);
    let evaluations = |world: &World| world.engine.view(now).groups[0].evaluations;
    assert_eq!(evaluations(&world), 40, "it waits for the scrape");
    let batch = scan(&mut world.cache, &world.selection, &labels_of(TargetId(1)), PAGE);
    reload(&mut world, &[BEFORE]);
    assert_eq!(evaluations(&world), 40);
    let (target, duration) = (TargetId(1), Duration::ZERO);
    world.handle(Event::Scraped(Scraped { target, duration, result: Ok(batch) }), None);
    assert_eq!(evaluations(&world), 41);
}

#[test]
fn a_record_ends_with_its_rule() {
    let mut world = World::new(GHOSTS, acting());
    world.slot(Some("x{name=\"a\"} 1\n"));
    assert_eq!(world.live("r"), ["a"]);
    world.reload(setup(GHOSTS, acting()));
    assert_eq!(world.live("r"), ["a"], "the same rules go on");
    world.reload(setup(HIGH, acting()));
    assert_eq!(world.live("r"), [""; 0]);
}
