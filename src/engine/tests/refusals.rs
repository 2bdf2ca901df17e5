//! Alerts that Alertmanager refuses for good, over hours of virtual time.

use super::*;
use crate::alerts::{Post, Refusal, Refused};

/// Every alert of a post, refused.
pub(super) fn all_of(post: &Post) -> Vec<Refused> {
    let labels = post.alerts.iter().map(|presented| presented.alert.labels.clone());
    let refuse = |labels| Refused { labels, reason: Refusal::TooLarge, why: "413".to_owned() };
    labels.map(refuse).collect()
}

#[test]
fn a_refused_alert_is_counted_each_time_and_told_once_an_hour() {
    let mut world = World::new(HIGH, PolicyConfig { mode: Mode::Observe, ..acting() });
    world.refuses = true;
    let slots = 2 * 720 + 60;
    let page = memory("acme-web", 95);
    let told: Vec<String> = (0..slots).flat_map(|_| world.slot(Some(&page))).collect();
    let lines = told.iter().filter(|told| *told == "refused: too_large").count();
    assert_eq!(lines, 3, "at the start and after each hour");
    let view = world.engine.view(at(world.second, 0));
    let counts = &view.alertmanagers[0].refused;
    assert_eq!(counts[0], ("bad_alert", 0));
    // Said again every minute and a slot, for two hours and five minutes.
    assert!(counts[1].0 == "too_large" && (110..=125).contains(&counts[1].1), "{counts:?}");
    assert!(view.alertmanagers[0].trouble.is_none(), "it takes posts");
    assert!(!told.contains(&"resolved".to_owned()) && world.event_types()[0] == "alert.firing");
}
