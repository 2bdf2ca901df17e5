//! What M2 pins: measured at the day's peak, held over the night and a restart, and read from
//! `setting.json`.

use super::super::pinned::Counted;
use super::*;
use crate::base::Sample;
use crate::policy::{M2Setting, Vhost};

const RULES: &str = include_str!("../../../rules/m2.yml");
const MINUTE_S: i64 = 60;

fn policy(fixed_count: Option<u64>) -> PolicyConfig {
    let vhost = |fixed_count| Vhost {
        name: "example.com".to_owned(),
        fixed_count: Some(fixed_count),
        ..Vhost::default()
    };
    PolicyConfig {
        vhosts: fixed_count.map(vhost).into_iter().collect(),
        m2_memory_bytes: Some(16 << 30),
        m2_setting_expected: fixed_count.is_none(),
        ..acting()
    }
}

/// M2's page after so many minutes: documents are made in the first half hour, then nobody is there.
fn page(minute: i64, uptime_s: i64) -> String {
    let made = minute.clamp(0, 30);
    format!(
        "# TYPE m2_pagefx_complete_total counter\n\
         m2_pagefx_complete_total{{vhost=\"example.com\"}} {}\n\
         # TYPE m2_pagedesk_dest_size_bytes counter\n\
         m2_pagedesk_dest_size_bytes{{vhost=\"example.com\"}} {}\n\
         m2_sys_uptime {uptime_s}\n",
        38_746 * made,
        385_390_147 * made,
    )
}

/// A slot each minute up to that one; what was told about alerts.
fn live(world: &mut World, upto: i64, uptime_s: i64) -> Vec<String> {
    let mut told = Vec::new();
    while world.second < upto * MINUTE_S {
        let minute = world.second / MINUTE_S;
        told.extend(world.slot(Some(&page(minute, uptime_s))));
        world.second += MINUTE_S - STEP_S;
    }
    told.retain(|word| ["firing", "resolved", "unknown"].contains(&word.as_str()));
    told
}

fn value(world: &World, metric: &str) -> Option<f64> {
    let mut live = world.engine.window.live();
    let (id, _) = live.find(|(_, labels)| labels.metric_name() == metric)?;
    world.engine.window.newest(id).map(|sample| sample.value)
}

/// The alert's own labels and whether it fires.
fn fires(world: &World, alert: &str) -> bool {
    let rules = world.engine.groups.iter().flat_map(|group| &group.rules);
    let mut alerts = rules.flat_map(|rule| rule.alerts.values());
    alerts.any(|found| found.name() == alert && found.state == AlertState::Firing)
}

#[test]
fn advice_holds_over_the_night_and_a_restart_and_ends_after_a_day() {
    let mut world = World::new(RULES, policy(Some(51_817)));
    live(&mut world, 40, 86_400);
    assert!(fires(&world, "M2PinnedMemoryOverBudget"), "one document more than the budget");
    let told = live(&mut world, 12 * 60, 86_400);
    assert!(fires(&world, "M2PinnedMemoryOverBudget"), "{told:?}");
    assert!(!told.contains(&"resolved".to_owned()), "nobody was there all night: {told:?}");
    let docs = value(&world, "plimsoll_m2_docs_peak").expect("the peak is a series");
    assert!(docs > 700_000.0, "{docs}");

    // M2 itself restarts at night, and so do we; the window is lost.
    let rows = latest(&world.rows);
    let mut world = World::recovered(setup(RULES, policy(Some(51_817))), rows, world.second);
    let told = live(&mut world, 13 * 60, 60);
    assert!(fires(&world, "M2PinnedMemoryOverBudget"), "{told:?}");
    assert_eq!(value(&world, "plimsoll_m2_docs_peak"), Some(docs));
    assert!(!told.contains(&"resolved".to_owned()), "{told:?}");

    let told = live(&mut world, 25 * 60, 86_400);
    assert!(!fires(&world, "M2PinnedMemoryOverBudget"), "{told:?}");
    assert_eq!(value(&world, "plimsoll_m2_docs_peak"), None, "a day later it has decayed");
    let left = latest(&world.rows);
    assert!(!left.iter().any(|row| row.key.starts_with("m2_peak/")), "and its row is gone");
}

#[test]
fn advice_holds_while_a_cache_is_cold_for_longer_than_an_hour() {
    let mut hours = policy(Some(51_817));
    hours.vhosts[0].ttl = Some(Duration::from_secs(3600));
    let mut world = World::new(RULES, hours);
    live(&mut world, 130, 86_400);
    assert!(fires(&world, "M2PinnedMemoryOverBudget"), "two hours were seen");
    let docs = value(&world, "plimsoll_m2_docs_peak");
    let mut told = Vec::new();
    for minute in 131..250 {
        told.extend(live(&mut world, minute, (minute - 130) * MINUTE_S));
    }
    assert!(fires(&world, "M2PinnedMemoryOverBudget"), "{told:?}");
    assert_eq!(value(&world, "plimsoll_m2_docs_peak"), docs);
    assert!(!told.contains(&"resolved".to_owned()), "{told:?}");
}

#[test]
fn a_step_of_the_clock_and_a_restart_right_after_it_lose_no_peak() {
    let mut world = World::new(RULES, policy(Some(51_817)));
    live(&mut world, 40, 86_400);
    let docs = value(&world, "plimsoll_m2_docs_peak");
    world.skew_s = 30 * 3600;
    world.slot(None);
    let second = world.second + world.skew_s;
    let mut world =
        World::recovered(setup(RULES, policy(Some(51_817))), latest(&world.rows), second);
    world.slot(Some(&page(40, 86_400)));
    world.slot(Some(&page(40, 86_400)));
    assert_eq!((docs.is_some(), value(&world, "plimsoll_m2_docs_peak")), (true, docs));
}

#[test]
fn a_document_fewer_is_silent_and_a_cold_cache_is_no_peak() {
    let mut world = World::new(RULES, policy(Some(51_816)));
    let told = live(&mut world, 60, 86_400);
    assert!(!fires(&world, "M2PinnedMemoryOverBudget"), "{told:?}");
    assert!(value(&world, "plimsoll_m2_docs_peak").is_some());
    let mut cold = World::new(RULES, policy(Some(51_817)));
    live(&mut cold, 60, 600);
    assert_eq!(value(&cold, "plimsoll_m2_docs_peak"), None);
    assert!(!fires(&cold, "M2PinnedMemoryOverBudget"));
}

#[test]
fn a_window_that_was_not_seen_whole_gives_no_advice() {
    let mut world = World::new(RULES, policy(Some(51_817)));
    live(&mut world, 15, 86_400);
    assert_eq!(value(&world, "plimsoll_m2_counted_seconds"), Some(840.0), "minutes 0 to 14");
    for metric in ["plimsoll_m2_docs_peak", "m2:docs:peak", "m2:fixed_count_recommended"] {
        assert_eq!(value(&world, metric), None, "{metric}");
    }
    let told = live(&mut world, 18, 86_400);
    assert_eq!(value(&world, "m2:docs:peak"), None);
    assert_eq!(told, Vec::<String>::new(), "nothing fires on a quarter of a window");
    live(&mut world, 30, 86_400);
    assert_eq!(value(&world, "plimsoll_m2_counted_seconds"), Some(1200.0));
    assert!(fires(&world, "M2PinnedMemoryOverBudget"));

    // A window of an hour does not become one of twenty minutes.
    let mut hour = policy(Some(51_817));
    hour.vhosts[0].cdn_ttl = Some(Duration::from_secs(1800));
    let mut world = World::new(RULES, hour);
    live(&mut world, 50, 86_400);
    assert_eq!(
        (value(&world, "m2:docs:increase20m").is_some(), value(&world, "m2:docs:peak")),
        (true, None)
    );
    live(&mut world, 70, 86_400);
    assert!(value(&world, "m2:docs:peak").is_some_and(|docs| docs > 1_000_000.0));
}

#[test]
fn samples_that_lie_far_apart_make_a_whole_window_too() {
    let minute = |at: i64| Sample { at: Timestamp(at * 60_000), value: 1.0 };
    let window = Duration::from_secs(1200);
    let seen = |minutes: &[i64], up| {
        let samples: Vec<Sample> = minutes.iter().map(|at| minute(*at)).collect();
        Counted::of(&samples, samples[samples.len() - 1].at, window, up).seen.as_secs()
    };
    assert_eq!(seen(&[0, 5, 10, 15], None), 1200, "every five minutes");
    assert_eq!(seen(&[0, 17], None), 17 * 60, "two samples and a hole");
    assert_eq!(seen(&[0, 18], None), 1200);
    assert_eq!(seen(&[0, 1, 2, 20, 21, 22], None), 120, "what lies before a hole is not counted");
    assert_eq!(seen(&[0, 5, 10, 15], Some(300.0)), 300, "a cold cache");
    assert_eq!(seen(&[7], None), 0);
}

#[test]
fn what_setting_json_says_becomes_series_and_a_half_written_one_changes_nothing() {
    let mut world = World::new(RULES, policy(None));
    let setting = M2Setting {
        fixed_count: Some(51_817),
        ttl: Some(Duration::from_secs(900)),
        hidden: vec!["m2_sys_uptime".to_owned()],
        ..M2Setting::default()
    };
    world.handle(Event::M2Setting(Told::Read(setting)), None);
    live(&mut world, 25, 86_400);
    assert_eq!(value(&world, "plimsoll_m2_window_seconds"), Some(1800.0), "before it was counted");
    let told = ["m2:docs:increase20m", "m2:docs:peak"].map(|name| value(&world, name).is_some());
    assert_eq!(told, [true, false], "twenty minutes are not thirty");
    live(&mut world, 60, 86_400);
    assert_eq!(value(&world, "plimsoll_m2_fixed_count"), Some(51_817.0), "no vhost is configured");
    assert_eq!(value(&world, "plimsoll_m2_window_seconds"), Some(1800.0), "twice its own TTL");
    assert_eq!(value(&world, "plimsoll_m2_refresh_seconds"), Some(0.0), "M2's default");
    let docs = value(&world, "plimsoll_m2_docs_peak").expect("it was measured");
    assert!(docs > 1_000_000.0, "30 minutes were counted, not 20: {docs}");
    assert!(fires(&world, "M2PinnedMemoryOverBudget"));
    assert!(fires(&world, "M2WhitelistHidesFamilies"));

    world.told.clear();
    world.handle(Event::M2Setting(Told::Refused("s.json: EOF at line 3".to_owned())), None);
    assert_eq!(world.told[0], "refused s.json: EOF at line 3 first=true");
    world.reload(setup(RULES, policy(None)));
    world.slot(Some(&page(60, 86_400)));
    assert_eq!(value(&world, "plimsoll_m2_fixed_count"), Some(51_817.0), "the last good one");
    assert_eq!(value(&world, "plimsoll_document_failing"), Some(1.0));
    assert!(value(&world, "plimsoll_document_age_seconds").is_some_and(|age| age > 3000.0));
}
