//! Deploys by others that shut a door, told from mere starts however seldom their container is scraped.

use serde_json::json;

use super::gates::{RULES, event, guarded, restarted, running};
use super::judgement::until;
use super::*;

/// A world whose one target is scraped every so many seconds, and whose doors were all seen open. Usage
/// is looked at half a minute after the scrape of each minute.
fn scraped_every(seconds: u64, slots: u32) -> World {
    let mut policy = guarded();
    policy.verify.gate_grace = Duration::ZERO;
    let mut world = World::recovered(setup(RULES, policy), Vec::new(), 25);
    let info = TargetInfo {
        id: TargetId(1),
        labels: labels_of(TargetId(1)),
        discovered: Labels::empty(),
        url: "http://i/metrics".to_owned(),
        interval: Duration::from_secs(seconds),
        timeout: Duration::from_secs(4),
    };
    let active = vec![info];
    world.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() }, None);
    (0..slots).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
    world
}

/// It is told of a start by the scrape that shows the new image, too; usage may have been looked at
/// since the start, and before that scrape.
#[test]
fn a_deploy_of_what_is_scraped_seldom_is_not_told_as_a_start() {
    for (seconds, slots) in [(30, 12), (60, 24), (80, 48)] {
        for more in 0..slots {
            let mut world = scraped_every(seconds, 50 + more);
            let deployed = running(50, world.second, "erp:16");
            world.doors.insert("api".to_owned(), "");
            let told = until(&mut world, &deployed, "change", 80);
            let want = Some("change deploy failed at api");
            assert_eq!(told.as_deref(), want, "every {seconds} s, {more} slots later");
        }
    }
}

#[test]
fn a_start_of_what_is_scraped_seldom_is_told_as_one() {
    for seconds in [60, 100, 200] {
        let mut world = scraped_every(seconds, 50);
        let anew = running(50, world.second, "erp:15");
        world.doors.insert("api".to_owned(), "");
        let told = until(&mut world, &anew, "change", 80);
        assert_eq!(told.as_deref(), Some("change start failed at api"), "every {seconds} s");
    }
}

/// It may be told as a start, for to wait for the scrape would leave it untold: what went down for it did
/// so long before it was seen.
#[test]
fn a_deploy_of_what_is_scraped_more_seldom_still_is_told_as_one_or_the_other() {
    for (seconds, slots) in [(120, 24), (240, 48)] {
        for more in 0..slots {
            let mut world = scraped_every(seconds, 100 + more);
            let before = running(50, -9000, "erp:15");
            world.doors.insert("api".to_owned(), "");
            (0..4).for_each(|_| drop(world.slot(Some(&before))));
            let deployed = running(50, world.second, "erp:16");
            let told = until(&mut world, &deployed, "change", 120).unwrap_or_default();
            assert!(told.ends_with("failed at api"), "every {seconds} s, {more} slots later");
        }
    }
}

#[test]
fn a_deploy_is_told_with_the_cpu_limit_it_changed() {
    let mut world = World::new(RULES, guarded());
    let with = |quota: u32| {
        let of = |metric: &str, value: u32| {
            let line = running(50, -9000, "erp:15").lines().next().expect("a line").to_owned();
            let labels =
                line.split_once('{').expect("labels").1.rsplit_once('}').expect("labels").0;
            format!("{metric}{{{labels}}} {value}\n")
        };
        running(50, -9000, "erp:15")
            + &of("container_spec_cpu_quota", quota)
            + &of("container_spec_cpu_period", 100_000)
    };
    (0..4).for_each(|_| drop(world.slot(Some(&with(150_000)))));
    world.doors.insert("api".to_owned(), "");
    let told = until(&mut world, &with(50_000), "change", 60);
    assert_eq!(told.as_deref(), Some("change deploy failed at api"));
    let params = &event(&world, "change.verification.failed")["action"]["params"];
    let cores = |end: &str| params[end]["cpu_limit_cores"].as_f64();
    assert_eq!((cores("from"), cores("to")), (Some(1.5), Some(0.5)), "{params}");
}

#[test]
fn a_hold_that_blames_a_deploy_says_what_it_changed() {
    let mut world = World::new(RULES, acting());
    (0..20).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:15")))));
    (0..20).for_each(|_| drop(world.slot(Some(&running(50, -9000, "erp:16")))));
    let deployed = running(95, -9000, "erp:16");
    assert!(until(&mut world, &deployed, "held restart: recent_change", 20).is_some());
    let held = world.holds.iter().find(|(reason, _)| *reason == "recent_change");
    let (_, lifted_by) = held.expect("it is held");
    assert_eq!(lifted_by, "the change growing older: image erp:15 → erp:16");
}

#[test]
fn a_restart_is_asked_for_with_the_condition_the_time_and_the_gates_it_will_be_judged_by() {
    let world = restarted(guarded());
    let asked = &event(&world, "container.restart.requested")["verification"];
    let door = |gate| json!({"gate": gate, "passes": true, "current": "200"});
    let want = json!({
        "condition": "restarted, no alert on it or its service, gates pass, working set below 80 % of the limit",
        "within_seconds": 600.0,
        "settle_seconds": 60.0,
        "gates": [door("api"), door("health"), door("login")],
    });
    assert_eq!(*asked, want);
    let decided = |record: &&crate::audit::Record| record.kind == crate::audit::Kind::ActionDecided;
    let record = world.records.iter().find(decided).expect("it was decided");
    assert_eq!(record.verification.as_ref(), Some(&want));
}
