//! What waits for the disk: deliveries, and operators who work on the outbox of a running engine.

use super::*;
use crate::base::{DeliveryId, Table};
use crate::outbox::OperatorError;

fn ask(world: &mut World, command: OutboxCommand) -> Step {
    let step = world.engine.handle(at(world.second, 0), Event::Outbox { ticket: 7, command });
    assert!(step.answers.iter().all(|answer| answer.ticket == 7));
    step
}

fn ids(world: &mut World) -> Vec<DeliveryId> {
    let step = ask(world, OutboxCommand::List);
    let [Answer { content: Content::Outbox(Ok(held)), .. }] = &step.answers[..] else {
        panic!("{:?}", step.answers)
    };
    held.iter().map(|(_, delivery)| delivery.id.clone()).collect()
}

/// A world that has decided on a restart and not written it down yet: two deliveries wait.
fn waiting() -> (World, DeliveryId) {
    let mut world = World::new(HIGH, acting());
    world.commits = false;
    for _ in 0..3 {
        world.slot(Some(&memory("acme-web", 95)));
    }
    let ids = ids(&mut world);
    assert_eq!(ids.len(), 2, "the alert and the request");
    (world, ids[1].clone())
}

#[test]
fn a_change_is_answered_once_it_is_durable_and_not_before() {
    let (mut world, request) = waiting();
    let step = ask(&mut world, OutboxCommand::Drop(request.clone()));
    assert!(step.answers.is_empty(), "answered before the commit");
    let told: Vec<String> = step.facts.iter().filter_map(tell).collect();
    assert_eq!(told, ["outcome declined"], "the host is free for another restart");
    let (batch, changes) = step.changes.expect("the journal is told");
    assert!(changes.iter().any(|change| change.value.is_none()), "a row goes");
    let now = at(world.second, 0);
    let before = Batch(batch.0 - 1);
    let step = world.engine.handle(now, Event::Committed(Receipt::of(before)));
    assert!(step.answers.is_empty(), "another batch is durable, not this one");
    let step = world.engine.handle(now, Event::Committed(Receipt::of(batch)));
    assert!(matches!(step.answers[..], [Answer { ticket: 7, content: Content::Changed(Ok(())) }]));
    assert!(!ids(&mut world).contains(&request));
}

#[test]
fn what_cannot_be_done_is_answered_at_once() {
    let (mut world, request) = waiting();
    let refused = |step: &Step| match &step.answers[..] {
        [Answer { content: Content::Changed(Err(error)), .. }] => Some(error.clone()),
        _ => None,
    };
    let none = DeliveryId("evt_none".to_owned());
    let step = ask(&mut world, OutboxCommand::Retry(none.clone()));
    assert_eq!(refused(&step), Some(OperatorError::Unknown(none)));
    let step = ask(&mut world, OutboxCommand::Retry(request.clone()));
    assert!(matches!(step.answers[..], [Answer { content: Content::Changed(Ok(())), .. }]));
    world.engine.outbox = None;
    assert_eq!(refused(&ask(&mut world, OutboxCommand::Drop(request))), Some(OperatorError::Off));
}

#[test]
fn nothing_is_delivered_before_it_is_durable() {
    let mut world = World::new(HIGH, acting());
    world.commits = false;
    for _ in 0..5 {
        world.slot(Some(&memory("acme-web", 95)));
    }
    assert_eq!(world.event_types(), [""; 0]);
    let durable = world.engine.last_batch;
    world.handle(Event::Committed(Receipt::of(durable)), None);
    assert_eq!(world.event_types(), ["alert.firing", "container.restart.requested"]);
}

#[test]
fn what_can_no_longer_matter_leaves_the_journal() {
    let month = Duration::from_secs(31 * 24 * 3600);
    let now = at(0, 0);
    let old = Now { wall: now.wall - month, ..now };
    let mut usage = crate::policy::Usage::default();
    let row = usage.observe("job-7", &Default::default(), Duration::ZERO, old).expect("a new row");
    let mut world = World::recovered(setup(HIGH, acting()), vec![row.clone()], 0);
    let later = at(120, 0);
    let step = world.engine.handle(later, Event::Tick);
    let changes = step.changes.expect("a row goes").1;
    let gone = changes.iter().find(|change| change.key == row.key).expect("this one");
    assert_eq!(gone.value, None);
}

/// The note of the last evaluation is ten seconds old at most; a stop in good order brings it up to date.
#[test]
fn a_stop_in_good_order_counts_no_time_as_unwatched_that_was_watched() {
    let mut world = World::new(HIGH, acting());
    (0..6).for_each(|_| drop(world.slot(Some(&memory("acme-web", 20)))));
    let away = |rows: &[Change]| {
        let mut again = World::recovered(setup(HIGH, acting()), latest(rows), world.second + 1);
        again.slot(None);
        let started = again.records.iter().find(|r| r.kind == crate::audit::Kind::SidecarStarted);
        started.and_then(|record| record.reason.clone())
    };
    let mut rows = world.rows.clone();
    assert_eq!(away(&rows).as_deref(), Some("nobody watched for 6 s"), "killed");
    let end = world.engine.end(at(world.second, 0));
    rows.extend(end.changes.map(|(_, changes)| changes).unwrap_or_default());
    assert_eq!(away(&rows).as_deref(), Some("nobody watched for 1 s"));
}

/// What was counted after the checkpoint was written is news, also of a name that it does not know.
#[test]
fn a_kill_that_no_checkpoint_knows_is_news_after_our_restart() {
    let rules = "groups:
- name: g
  interval: 5s
  rules:
  - alert: Killed
    expr: max by (name) (increase(plimsoll_oom_total[10m])) > 0
";
    let asking = || Setup { docker: AskDocker::IfThere, ..setup(rules, acting()) };
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.list(&[('a', "old")]);
    world.slots(130, "");
    let checkpoint = world.engine.checkpoint();
    world.list(&[('a', "old"), ('b', "new")]);
    for (digit, name) in [('a', "old"), ('b', "new")] {
        world.docker(digit, name, What::Oom);
        world.docker(digit, name, What::Die { exit_code: 137 });
    }
    let told = world.slots(2, "");
    assert_eq!(told, ["firing"; 2]);
    let mut world = World::recovered(asking(), latest(&world.rows), world.second + 1);
    world.engine.restore_window(&checkpoint, at(world.second, 0)).expect("a good checkpoint");
    world.list(&[('a', "old"), ('b', "new")]);
    assert_eq!(world.slots(20, ""), [""; 0], "both go on");
    let alerts = |world: &World| {
        let view = world.engine.view(at(world.second, 0));
        view.groups[0].rules[0].alerting.as_ref().expect("an alert").alerts.len()
    };
    assert_eq!(alerts(&world), 2);
}

/// As `plimsoll outbox drop` does while plimsoll does not run.
#[test]
fn a_request_that_was_dropped_while_we_did_not_run_is_over_and_not_asked_for_anew() {
    let (mut before, request) = waiting();
    let is_it = |row: &Change| {
        row.table == Table::Outbox
            && row.value.as_ref().is_some_and(|value| {
                String::from_utf8_lossy(value).contains(&format!("\"id\":\"{}\"", request.0))
            })
    };
    let gone: Vec<Change> = before.rows.iter().filter(|row| is_it(row)).cloned().collect();
    assert!(!gone.is_empty());
    before.rows.extend(gone.into_iter().map(|row| Change { value: None, ..row }));
    let mut world = World::restarted(setup(HIGH, acting()), &before, 1);
    world.slot(Some(&memory("acme-web", 95)));
    let over = "the restart of acme/app: declined: it was dropped while plimsoll did not run";
    let story: Vec<String> = world.records.iter().map(|record| record.sentence()).collect();
    assert!(story.iter().any(|line| line.starts_with(over)), "{story:#?}");
    let told: Vec<String> =
        (0..60).flat_map(|_| world.slot(Some(&memory("acme-web", 95)))).collect();
    assert!(!told.contains(&"decided restart dry=false".to_owned()), "{told:?}");
}

#[test]
fn what_waited_before_our_start_goes_first_when_a_reload_brings_somebody_to_hear_it() {
    let (before, request) = waiting();
    let rows = before.rows.clone();
    let deaf = Setup { outbox: None, ..setup(HIGH, acting()) };
    let mut world = World::recovered(deaf, rows, before.second + 20);
    world.find_targets(1);
    assert!(world.engine.outbox.is_none());
    world.reload(setup(HIGH, acting()));
    let outbox = world.engine.outbox.as_ref().expect("a reload brought it");
    assert!(outbox.waits(&request), "{:?}", outbox.list().collect::<Vec<_>>());
}

#[test]
fn no_rule_runs_before_it_is_known_which_targets_there_are() {
    let rules = HIGH.replace("restart", "none");
    let mut world = World::new(&rules, acting());
    for _ in 0..3 {
        world.slot(Some(&memory("acme-web", 95)));
    }
    // The start takes so long that a slot passes before anything is told.
    let (began, told_at) = (at(world.second + 600, 0), at(world.second + 630, 0));
    let rows = latest(&world.rows);
    let setup = setup(&rules, acting());
    let mut engine = Engine::new(setup, &rows, began, Box::new(|| Duration::ZERO));
    let step = engine.handle(told_at, Event::Switches(Switches::default()));
    let ends = |step: &Step| step.facts.iter().any(|f| matches!(f, Fact::AlertResolved { .. }));
    assert!(!ends(&step), "nobody has looked");
    let none = Event::Targets { active: vec![], dropped: vec![], flaws: Flaws::default() };
    assert!(ends(&engine.handle(told_at, none)), "there is no target any more");
}
