//! Mail from the whole engine: a digest with what was held, and outages of those we tell.

use super::judgement::{container, until};
use super::*;
use crate::calendar::{Schedule, Zone};
use crate::policy::HoldReason;

const RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: WillOom
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9
    labels: {severity: critical, action: restart}
    annotations: {summary: full}
  - alert: FixedCount
    expr: vector(1)
    labels: {severity: warning, action: advise}
    annotations: {summary: M2 pins too much, variable: meta.fixedCount, current: a=2, recommended: a=1}
";

fn mailing(policy: PolicyConfig) -> Setup {
    let schedule = Schedule::parse("@hourly").expect("a schedule");
    let plan =
        MailPlan { digest: Some((schedule, Zone::utc())), urgent_after: Duration::from_secs(60) };
    Setup { mail: Some(plan), ..setup(RULES, policy) }
}

/// 2027-01-15T08:00:00Z, when these worlds begin, is a full hour.
const HOUR_SLOTS: usize = 3600 / STEP_S as usize;

#[test]
fn a_digest_tells_who_is_near_what_was_held_and_what_is_advised() {
    let mut world = World::recovered(mailing(PolicyConfig::default()), Vec::new(), 0);
    let page = container("acme", 95, -9000);
    for _ in 0..HOUR_SLOTS + 2 {
        world.slot(Some(&page));
    }
    let [Mail::Digest(digest)] = &world.mails[..] else { panic!("{:?}", world.mails) };
    assert_eq!((digest.containers, digest.near.len()), (1, 1));
    assert_eq!(
        (digest.near[0].tenant.as_str(), digest.near[0].memory_ratio()),
        ("acme", Some(0.95))
    );
    assert_eq!(digest.firing, [("critical".to_owned(), 1), ("warning".to_owned(), 1)].into());
    assert_eq!(digest.advice.len(), 1);
    assert!(digest.holds.iter().any(|(reason, n)| *reason == HoldReason::Observe.name() && *n > 0));
    // A restart of the process does not send it again; the next hour does, with what came since.
    let mut after = World::restarted(mailing(PolicyConfig::default()), &world, 1);
    for _ in 0..HOUR_SLOTS {
        after.slot(Some(&page));
    }
    let [Mail::Digest(second)] = &after.mails[..] else { panic!("{:?}", after.mails) };
    assert_eq!(second.from, at(3600, 0).wall);
}

#[test]
fn a_digest_lists_nobody_who_is_gone() {
    let mut world = World::recovered(mailing(PolicyConfig::default()), Vec::new(), 0);
    let page = |world: &World| {
        let labels = "name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"";
        let used = world.second + STEP_S;
        container("acme", 95, -9000)
            + &format!("container_cpu_usage_seconds_total{{{labels}}} {used}\n")
    };
    for _ in 0..HOUR_SLOTS - 2 {
        let page = page(&world);
        world.slot(Some(&page));
    }
    for _ in 0..4 {
        world.slot(Some(&container("beta", 95, -9000)));
    }
    let [Mail::Digest(digest)] = &world.mails[..] else { panic!("{:?}", world.mails) };
    let near: Vec<&str> = digest.near.iter().map(|near| near.tenant.as_str()).collect();
    assert_eq!((digest.containers, near), (1, vec!["beta"]), "its rate goes on for two minutes");
}

#[test]
fn an_alertmanager_that_takes_nothing_is_mailed_about_and_so_is_its_return() {
    let mut world = World::recovered(mailing(acting()), Vec::new(), 0);
    let page = container("acme", 50, -9000);
    for _ in 0..4 {
        world.slot(Some(&page));
    }
    world.posts_fail = true;
    assert!(until(&mut world, &page, "mailed unreachable", 60).is_some());
    let [Mail::Outage { sink: Sink::Alertmanager, until: None, firing, .. }] = &world.mails[..]
    else {
        panic!("{:?}", world.mails)
    };
    assert_eq!(firing, &["FixedCount"]);
    for _ in 0..100 {
        assert!(!world.slot(Some(&page)).iter().any(|fact| fact.starts_with("mailed")));
    }
    world.posts_fail = false;
    assert!(until(&mut world, &page, "mailed reachable", 60).is_some());
}
