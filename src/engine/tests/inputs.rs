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

/// A slope is computed of two samples in its range: after an outage that is longer there is one at first.
#[test]
fn a_slope_that_cannot_be_computed_after_an_outage_is_not_over() {
    let rules = "
groups:
  - name: g
    rules:
      - alert: Rises
        expr: deriv(container_memory_working_set_bytes[30s]) > 0
";
    for goes_on in [true, false] {
        let mut world = World::new(rules, acting());
        let page = |bytes: i64| {
            format!("container_memory_working_set_bytes{{name=\"acme-web\"}} {bytes}\n")
        };
        let mut told = Vec::new();
        for nth in 0..6 {
            told.extend(world.slot(Some(&page(1000 + nth))));
        }
        assert_eq!(told, ["firing"]);
        let told: Vec<String> = (0..12).flat_map(|_| world.slot(None)).collect();
        assert_eq!(told, ["unknown", "host incident"], "its target fails");
        assert_eq!(world.slot(Some(&page(3000))), Vec::<String>::new(), "it is back");
        let reason = "target j/i1 is back, and too little of the rule's range was seen";
        assert_eq!(why(&world, "acme-web").as_deref(), Some(reason));
        let told = world.slot(Some(&page(if goes_on { 3001 } else { 3000 })));
        assert_eq!(told, [if goes_on { "known" } else { "resolved" }]);
    }
}

/// A page on which each container's memory has a stamp of its own: so many seconds ago.
fn stamps(world: &World, all: &[(&str, u32, i64)]) -> String {
    let stamp = |ago: i64| at(world.second + STEP_S, 0).wall.0 - ago * 1000;
    let line = |(name, bytes, ago): &(&str, u32, i64)| {
        format!("{WORKING_SET}{{name=\"{name}\"}} {bytes} {}\n", stamp(*ago))
    };
    all.iter().map(line).collect()
}

#[test]
fn a_series_that_lags_alone_makes_its_alerts_unknown_and_no_others() {
    let mut world = World::new(&HIGH.replace("restart", "none"), acting());
    for _ in 0..3 {
        let page = stamps(&world, &[("acme-web", 95, 0), ("acme-db", 95, 0)]);
        world.slot(Some(&page));
    }
    // From now on nobody looks at one of them: its stamp stays, the others' go on.
    let began = world.second;
    let page = |world: &World| {
        let ago = world.second + STEP_S - began;
        let db = if ago < 200 { 95 } else { 10 };
        stamps(world, &[("acme-web", 95, ago), ("acme-db", db, 0), ("acme-api", 10, 9999)])
    };
    let mut told = Vec::new();
    // Past the lookback, past the time its samples are kept, and well beyond.
    for _ in 0..200 {
        let page = page(&world);
        told.extend(world.slot(Some(&page)));
    }
    assert_eq!(told, ["resolved", "unknown"], "the database's ended; of the other nobody knows");
    let reason =
        "target j/i1 answers, but container_memory_working_set_bytes of acme-web is too old";
    assert_eq!(why(&world, "acme-web").as_deref(), Some(reason));
    let low = stamps(&world, &[("acme-web", 10, 0), ("acme-db", 10, 0)]);
    let told: Vec<String> = (0..2).flat_map(|_| world.slot(Some(&low))).collect();
    assert_eq!(told, ["resolved"], "at the latest when the page was read anew");
}

#[test]
fn a_series_that_is_shown_no_more_does_not_lag() {
    let mut world = World::new(&HIGH.replace("restart", "none"), acting());
    for _ in 0..3 {
        let page = stamps(&world, &[("acme-web", 95, 0), ("acme-db", 10, 0)]);
        world.slot(Some(&page));
    }
    let page = stamps(&world, &[("acme-db", 10, 0)]);
    assert_eq!(world.slot(Some(&page)), ["resolved"]);
}

#[test]
fn what_was_silent_before_an_alert_began_did_not_feed_it() {
    let rules = "groups: [{name: g, rules: [{alert: Sum, \
                 expr: 'sum(container_memory_working_set_bytes) > 50'}]}]";
    let mut world = World::new(rules, acting());
    // One series of the page was old from the start, as of an exporter that shows the dead.
    for (bytes, want) in [(10, vec![]), (95, vec!["firing"]), (95, vec![]), (10, vec!["resolved"])]
    {
        let page = stamps(&world, &[("acme-web", bytes, 0), ("acme-dead", 1, 3600)]);
        assert_eq!(world.slot(Some(&page)), want, "{bytes}");
    }
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

/// A series of this container that the first target could not read.
fn unread(metric: &str, name: &str) -> Labels {
    labels_of(TargetId(1)).with("__name__", metric).with("name", name)
}

const WORKING_SET: &str = "container_memory_working_set_bytes";

/// Why the alert about this container is unknown now, if it is.
fn why(world: &World, name: &str) -> Option<String> {
    let states = world.engine.groups.iter().flat_map(|group| &group.rules);
    let mut alerts = states.flat_map(|state| state.alerts.values());
    let alert = alerts.find(|alert| alert.labels.get("name") == Some(name))?;
    alert.unknown.as_ref().map(|(_, doubt)| doubt.to_string())
}

/// What is told in so many slots of a page.
fn told(world: &mut World, page: &str, slots: usize) -> Vec<String> {
    let told = (0..slots).flat_map(|_| world.slot(Some(page)));
    told.filter(|told| !told.starts_with("host incident")).collect()
}

#[test]
fn what_a_target_cannot_read_of_a_container_makes_its_alerts_unknown_and_no_others() {
    let rules = HIGH.replace("restart", "none");
    let mut world = World::new(&rules, acting());
    let (web, db) = (memory("acme-web", 95), memory("acme-db", 95));
    assert_eq!(told(&mut world, &format!("{web}{db}"), 3).len(), 4, "two are pending, and fire");
    let limits = "container_spec_memory_limit_bytes{name=\"acme-web\"} 100\n";
    world.missed = vec![unread(WORKING_SET, "acme-web"), unread("other", "acme-db")];
    assert_eq!(told(&mut world, limits, 1), ["resolved"], "the database is gone");
    assert_eq!(told(&mut world, limits, 3), ["unknown"]);
    let reason =
        "target j/i1 answers, but could not read container_memory_working_set_bytes of acme-web";
    assert_eq!(why(&world, "acme-web").as_deref(), Some(reason));
    let seen = quality(&world);
    let missed = 2 * 4;
    assert_eq!((seen.expected, seen.present), (12 + 4 + missed, 12 + 4));

    // The file is still unreadable when we start again: with the window, and without it.
    for with_window in [true, false] {
        let mut again = match with_window {
            true => World::restarted(setup(&rules, acting()), &world, 1),
            false => World::recovered(setup(&rules, acting()), latest(&world.rows), world.second),
        };
        again.missed = world.missed.clone();
        assert_eq!(told(&mut again, limits, 5), [""; 0]);
        assert_eq!(why(&again, "acme-web").as_deref(), Some(reason), "window: {with_window}");
        assert_eq!(again.slot(None), [""; 0], "and the target fails");
        assert!(why(&again, "acme-web").is_some_and(|why| why.contains("failed its last scrape")));
        assert_eq!(told(&mut again, &web, 1), ["known"]);
    }
    world.missed.clear();
    assert_eq!(world.slot(Some(limits)), ["resolved"], "it can be read, and is not there");
}

/// The limit is of another target than what it is compared with, and of another `instance`.
#[test]
fn what_is_joined_from_another_target_and_cannot_be_read_makes_the_alert_unknown() {
    let rules =
        "groups: [{name: g, rules: [{alert: Over, expr: 'x > on (name) group_left () y'}]}]";
    let mut world = World::new(rules, acting());
    world.find_targets(2);
    world.other.1 = Some("x{name=\"web\"} 95\nx{name=\"db\"} 95\n".to_owned());
    let both = "y{name=\"web\"} 80\ny{name=\"db\"} 80\n";
    assert_eq!(told(&mut world, both, 3), ["firing"; 2]);
    world.missed = vec![unread("y", "web")];
    assert_eq!(told(&mut world, "z 1\n", 3), ["resolved", "unknown"], "and the other's is gone");
    let reason = "target j/i1 answers, but could not read y of web";
    assert_eq!(why(&world, "web").as_deref(), Some(reason));
    world.missed.clear();
    assert_eq!(told(&mut world, both, 1), ["firing", "known"]);
    // Who sends both itself needs no other.
    let mut world = World::new(rules, acting());
    world.find_targets(2);
    world.missed = vec![unread("y", "web")];
    for (x, want) in [(95, "firing"), (70, "resolved")] {
        world.other.1 = Some(format!("x{{name=\"web\"}} {x}\ny{{name=\"web\"}} 80\n"));
        assert_eq!(told(&mut world, "z 1\n", 3), [want]);
    }
}

#[test]
fn what_cannot_be_read_is_not_absent() {
    let rules = "groups: [{name: g, rules: [{alert: Gone, labels: {host: here}, \
                 expr: 'container_spec_memory_limit_bytes unless on (name) container_memory_working_set_bytes'}, \
                 {alert: None, expr: 'absent(container_memory_working_set_bytes{name=\"acme-api\"})'}]}]";
    let limit =
        |name| format!("container_spec_memory_limit_bytes{{name=\"{name}\",host=\"h\"}} 100\n");
    let mut world = World::new(rules, acting());
    let all = ["acme-web", "acme-db", "acme-api"].map(|name| memory(name, 10)).concat();
    assert_eq!(told(&mut world, &all, 2), [""; 0]);
    world.missed = ["acme-web", "acme-api"].map(|name| unread(WORKING_SET, name)).to_vec();
    let page = format!("{}{}", limit("acme-web"), limit("acme-db"));
    assert_eq!(told(&mut world, &page, 3), ["firing"], "the database's; the others were not seen");
    let about = |world: &World| {
        let states = world.engine.groups.iter().flat_map(|group| &group.rules);
        let labels = states.flat_map(|state| state.alerts.keys().cloned());
        labels.map(|labels| labels.get("name").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(about(&world), ["acme-db"]);
    world.missed.clear();
    assert_eq!(told(&mut world, &page, 1), ["firing", "firing"], "now they are not there");
}

#[test]
fn nobody_acts_on_a_container_of_which_not_all_can_be_read() {
    let rules = "groups: [{name: g, rules: [{alert: Killed, expr: 'killed > 0', labels: {action: restart}}]}]";
    let page = format!("{}killed{{name=\"acme-web\"}} 1\n", memory("acme-web", 99));
    for (missed, want) in [
        (Some(unread("container_memory_usage_bytes", "acme-web")), "held restart: stale_evidence"),
        (Some(unread("container_memory_usage_bytes", "acme-db")), "decided restart dry=false"),
        (Some(unread("container_fs_reads_total", "acme-web")), "decided restart dry=false"),
        (None, "decided restart dry=false"),
    ] {
        let mut world = World::new(rules, acting());
        world.missed = missed.into_iter().collect();
        let told = told(&mut world, &page, 4);
        assert!(told.iter().any(|told| told == want), "{want}: {told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }
}

#[test]
fn alert_series_without_room_are_counted() {
    let mut world = World::new(GHOSTS, acting());
    world.slot(Some("x{name=\"a\"} 1\n"));
    let caps = Caps { max_series: world.engine.window.usage().series, max_bytes: 1 << 20 };
    let retention = world.engine.setup.retention();
    world.engine.window.configure(caps, retention);
    world.slot(Some("x{name=\"a\"} 95\n"));
    assert!(world.engine.counters.series_refused >= 2, "ALERTS and ALERTS_FOR_STATE");
}
