//! Mail from the whole engine: a digest with what was held, and outages of those we tell.

use super::judgement::{container, until};
use super::*;
use crate::base::Table;
use crate::calendar::{Schedule, Zone};
use crate::outbox::ActionKind;
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
    assert_eq!((digest.holds_since, digest.memory), (None, None));
    assert!(digest.actions.iter().any(|taken| taken.kind == ActionKind::Restart));
    assert!(digest.actions.iter().all(|taken| taken.mode.is_none() && !taken.counts()));
    // A restart of the process does not send it again; the next hour does, with what came since.
    let mut after = World::restarted(mailing(PolicyConfig::default()), &world, 1);
    for _ in 0..2 * HOUR_SLOTS {
        after.slot(Some(&page));
    }
    let [second, third] = digests(&after)[..] else { panic!("{:?}", after.mails) };
    assert_eq!(second.from, at(3600, 0).wall);
    assert_eq!(
        second.holds_since,
        Some(at(world.second + 20, 0).wall),
        "what was held before is lost"
    );
    assert_eq!((third.from, third.holds_since), (second.at, None), "nothing is lost any more");
}

#[test]
fn a_digest_that_goes_further_back_than_actions_are_remembered_says_so() {
    // A fortnight ago.
    let rows = sent("{\"digest\":1798800000000}");
    let mut world = World::recovered(scheduled("@daily", acting()), rows, 0);
    world.slot(Some(&container("acme", 50, -9000)));
    let [digest] = digests(&world)[..] else { panic!("{:?}", world.mails) };
    // The longest cool-down, a nudge's.
    assert_eq!(digest.memory, Some(Duration::from_secs((7 * 24 + 1) * 3600)));
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

/// What was sent, as a journal holds it.
fn sent(json: &str) -> Vec<Change> {
    let value = Some(json.as_bytes().to_vec());
    vec![Change { table: Table::Guards, key: "mail/sent".to_owned(), value }]
}

fn scheduled(cron: &str, policy: PolicyConfig) -> Setup {
    let schedule = Schedule::parse(cron).expect("a schedule");
    let plan =
        MailPlan { digest: Some((schedule, Zone::utc())), urgent_after: Duration::from_secs(60) };
    Setup { mail: Some(plan), ..setup(RULES, policy) }
}

fn failed() -> Result<(), MailFailure> {
    Err(MailFailure { reason: "connect", why: "refused".to_owned() })
}

fn digests(world: &World) -> Vec<&Digest> {
    let mut digests = Vec::new();
    for mail in &world.mails {
        if let Mail::Digest(digest) = mail {
            digests.push(&**digest);
        }
    }
    digests
}

fn counted(digest: &Digest) -> u64 {
    digest.holds.iter().map(|(_, count)| count).sum()
}

#[test]
fn a_start_that_was_missed_long_ago_is_no_news_and_wakes_nobody() {
    // Away from before New Year until 15 January; the start of a `@monthly` lies a fortnight back.
    let rows = sent("{\"digest\":1797500000000}");
    let mut world = World::recovered(scheduled("@monthly", acting()), rows, 0);
    let page = container("acme", 50, -9000);
    for _ in 0..3 {
        world.slot(Some(&page));
        assert!(world.engine.next_wakeup() > at(world.second, 0).monotonic, "it waits");
    }
    assert_eq!(world.mails, []);
}

#[test]
fn what_happens_while_a_digest_is_under_way_is_told_by_the_next() {
    let mut world = World::recovered(mailing(PolicyConfig::default()), Vec::new(), 0);
    let high = container("acme", 95, -9000);
    let low = container("acme", 50, -9000);
    world.post_office = None;
    for _ in 0..HOUR_SLOTS + 2 {
        world.slot(Some(&low));
    }
    let first = digests(&world).pop().expect("it is written").clone();
    // The server thinks about it while something new is held.
    for _ in 0..10 {
        world.slot(Some(&high));
    }
    assert!(counted(&first) < world.holds.len() as u64);
    world.post_office = Some(Ok(()));
    world.handle(Event::Mailed { kind: MailKind::Digest, result: Ok(()) }, None);
    for _ in 0..HOUR_SLOTS {
        world.slot(Some(&low));
    }
    let [_, second] = digests(&world)[..] else { panic!("{:?}", world.mails) };
    assert_eq!(second.from, first.at, "neither twice nor never");
    assert_eq!(counted(&first) + counted(second), world.holds.len() as u64);
    assert_eq!(second.holds_since, None, "plimsoll did not start anew");
}

#[test]
fn mail_that_is_taken_out_while_one_is_under_way_goes_on_when_it_is_back() {
    let mut world = World::recovered(mailing(acting()), Vec::new(), 0);
    let page = container("acme", 50, -9000);
    world.post_office = None;
    for _ in 0..HOUR_SLOTS + 2 {
        world.slot(Some(&page));
    }
    assert_eq!(world.mails.len(), 1);
    world.reload(setup(RULES, acting()));
    world.handle(Event::Mailed { kind: MailKind::Digest, result: failed() }, None);
    world.reload(mailing(acting()));
    world.post_office = Some(Ok(()));
    assert!(until(&mut world, &page, "mailed digest", 60).is_some());
}

/// With a sign of life every ten seconds.
fn beating(setup: Setup) -> Setup {
    let heartbeat = Some(Duration::from_secs(10));
    Setup { outbox: Some(OutboxConfig { heartbeat, ..OutboxConfig::default() }), ..setup }
}

#[test]
fn an_outage_that_passes_while_mail_is_not_configured_is_nobodys_night() {
    let mut world = World::recovered(beating(mailing(acting())), Vec::new(), 0);
    let page = container("acme", 50, -9000);
    for _ in 0..4 {
        world.slot(Some(&page));
    }
    world.is_away = true;
    for _ in 0..10 {
        world.slot(Some(&page));
    }
    world.reload(beating(setup(RULES, acting())));
    world.is_away = false;
    for _ in 0..60 {
        world.slot(Some(&page));
    }
    // Something waits when it is back: the disk is slow.
    world.commits = false;
    for _ in 0..4 {
        world.slot(Some(&page));
    }
    world.reload(beating(mailing(acting())));
    assert_eq!(until(&mut world, &page, "mailed", 40), None);
    assert_eq!(world.mails, []);
}

#[test]
fn docker_that_cannot_be_reached_is_no_control_plane() {
    let outbox = Some(OutboxConfig { restarts_only: true, ..OutboxConfig::default() });
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::recovered(Setup { outbox, ..mailing(policy) }, Vec::new(), 0);
    world.is_away = true;
    let page = container("acme", 95, -9000);
    assert!(until(&mut world, &page, "decided restart", 3).is_some());
    assert_eq!(until(&mut world, &page, "mailed", 100), None, "{:?}", world.mails);
}

#[test]
fn an_outage_of_which_nothing_is_left_to_send_is_over() {
    let outbox = Some(OutboxConfig { heartbeat: None, ..OutboxConfig::default() });
    let mut world = World::recovered(Setup { outbox, ..mailing(acting()) }, Vec::new(), 0);
    world.is_away = true;
    let page = container("acme", 50, -9000);
    for _ in 0..6 {
        world.slot(Some(&page));
    }
    let outbox = world.engine.outbox.as_ref().expect("there is one");
    let ids: Vec<_> = outbox.list().map(|(_, delivery)| delivery.id.clone()).collect();
    assert_ne!(ids, [], "an alert fires");
    for id in ids {
        let command = OutboxCommand::Drop(id);
        world.handle(Event::Outbox { ticket: 1, command }, None);
    }
    assert_eq!(until(&mut world, &page, "mailed", 100), None, "{:?}", world.mails);
}

#[test]
fn an_alertmanager_that_took_nothing_is_not_back() {
    let page = container("acme", 50, -9000);
    for instances in [vec!["other".to_owned()], Vec::new()] {
        let mut world = World::recovered(mailing(acting()), Vec::new(), 0);
        for _ in 0..4 {
            world.slot(Some(&page));
        }
        world.posts_fail = true;
        assert!(until(&mut world, &page, "mailed unreachable", 60).is_some());
        let away = Setup { alertmanagers: instances.clone(), ..mailing(acting()) };
        world.reload(away);
        assert_eq!(until(&mut world, &page, "mailed", 100), None, "{instances:?}");
        world.posts_fail = false;
        let told = until(&mut world, &page, "mailed", 60);
        assert_eq!(told.is_some(), !instances.is_empty(), "{instances:?}: {told:?}");
    }
}

#[test]
fn an_outage_is_told_with_its_own_times_however_late_the_mail() {
    let mut world = World::recovered(mailing(acting()), Vec::new(), 0);
    let page = container("acme", 50, -9000);
    for _ in 0..4 {
        world.slot(Some(&page));
    }
    world.posts_fail = true;
    world.post_office = None;
    while world.mails.is_empty() {
        world.slot(Some(&page));
    }
    let Mail::Outage { since: began, .. } = world.mails[0] else { panic!("{:?}", world.mails) };
    // It is over before the server takes the mail, and the next one has to wait.
    world.posts_fail = false;
    let mut back = None;
    for _ in 0..60 {
        world.slot(Some(&page));
        let is_back = world.engine.presenter.trouble(0).is_none();
        back = back.or(is_back.then(|| at(world.second, 0).wall));
    }
    let kind = MailKind::Unreachable(Sink::Alertmanager);
    world.post_office = Some(failed());
    world.handle(Event::Mailed { kind, result: Ok(()) }, None);
    for _ in 0..60 {
        world.slot(Some(&page));
    }
    let Some(Mail::Outage { since, until, .. }) = world.mails.last() else { panic!() };
    assert_eq!((*since, *until), (began, back));
}

#[test]
fn a_clock_that_steps_takes_mail_along() {
    let mut world = World::recovered(mailing(PolicyConfig::default()), Vec::new(), 0);
    let page = container("acme", 95, -9000);
    for _ in 0..HOUR_SLOTS / 2 {
        world.slot(Some(&page));
    }
    // As a host without a battery, whose clock is set by the network.
    world.skew_s = 400 * 86_400;
    for _ in 0..HOUR_SLOTS / 4 {
        world.slot(Some(&page));
    }
    assert_eq!(world.mails, [], "no start has passed");
    for _ in 0..HOUR_SLOTS / 4 + 2 {
        world.slot(Some(&page));
    }
    let [digest] = digests(&world)[..] else { panic!("{:?}", world.mails) };
    assert_eq!(digest.at.since(digest.from).as_secs() / 60, 60, "an hour as the host lived it");
    // Half an hour later it is set back: a start that comes again soon is the same, later ones come.
    for _ in 0..HOUR_SLOTS / 2 {
        world.slot(Some(&page));
    }
    world.skew_s -= 20 * 3600;
    for _ in 0..HOUR_SLOTS * 2 {
        world.slot(Some(&page));
    }
    assert!((2..=3).contains(&world.mails.len()), "{}", world.mails.len());
    let last = digests(&world).pop().expect("they go on");
    assert!(last.at.since(last.from).as_secs() <= 2 * 3600, "{last:?}");
    let rows = latest(&world.rows);
    let row = rows.iter().find(|row| row.key == "mail/sent").expect("it is noted");
    let noted = row.value.as_deref().expect("it stands");
    let noted: serde_json::Value = serde_json::from_slice(noted).expect("JSON");
    assert_eq!(noted["digest_until"], last.at.0, "also for the next process");
}
