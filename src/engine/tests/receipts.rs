//! Receipts: each word has its effect, once; and what is not to be believed has none.

use super::*;
use crate::outbox::{self, ActionKind, Answer as Said, Refusal, Statement};

/// A world in which one restart is asked for; its page, and the delivery that asked.
fn asked() -> (World, String, String) {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::new(HIGH, policy);
    let high = memory("acme-web", 95);
    (0..3).for_each(|_| drop(world.slot(Some(&high))));
    let decided = world.records.iter().find(|r| r.kind == crate::audit::Kind::ActionDecided);
    let id = decided.and_then(|record| record.delivery_id.clone()).expect("one restart");
    (world, high, id)
}

pub(super) fn said(decision: &str, outcome: Option<&str>) -> Said {
    Said {
        decision: Some(decision.to_owned()),
        outcome: outcome.map(str::to_owned),
        reason: Some("because".to_owned()),
        ..Said::default()
    }
}

/// Sends a receipt; what it is answered, once the disk has it.
pub(super) fn send(
    world: &mut World,
    receipt: &str,
    delivery: &str,
    answer: Said,
) -> Result<(), Refusal> {
    let now = at(world.second, 0);
    let statement = Statement { delivery_id: delivery.to_owned(), answer };
    let event = Event::Statement { ticket: 1, id: receipt.to_owned(), statement };
    let step = world.engine.handle(now, event);
    world.told.extend(step.facts.iter().filter_map(tell));
    world.records.extend(step.records);
    if let [Answer { content: Content::Refused(refusal), .. }] = step.answers[..] {
        return Err(refusal);
    }
    assert!(step.answers.is_empty(), "answered only once it is durable");
    let (batch, changes) = step.changes.expect("it is to be remembered");
    world.rows.extend(changes);
    let durable = world.engine.handle(now, Event::Committed(Receipt::of(batch)));
    assert!(matches!(
        durable.answers[..],
        [Answer { ticket: 1, content: Content::Changed(Ok(())) }]
    ));
    for request in step.requests.into_iter().chain(durable.requests) {
        let event = world.perform(request, Some(&memory("acme-web", 95)));
        world.handle(event, None);
    }
    Ok(())
}

#[test]
fn a_decline_ends_the_request_and_frees_the_host() {
    let (mut world, high, id) = asked();
    let now = at(world.second, 0);
    let limits = PolicyConfig::default().limits;
    let open = |world: &World| {
        world.engine.memory.guards.history(("x", ""), now, &limits, &|_| false).restarts_open
    };
    assert_eq!(open(&world), 1);
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    assert_eq!(open(&world), 0);
    assert!(world.told.contains(&"outcome declined".to_owned()), "{:?}", world.told);
    let taken = world.records.iter().find(|r| r.kind == crate::audit::Kind::ReceiptTaken);
    let sentence = taken.expect("it is written down").sentence();
    assert_eq!(sentence, "the Control Plane says of the restart of acme/app: declined: because");
    let again: Vec<String> = (0..3).flat_map(|_| world.slot(Some(&high))).collect();
    assert!(!again.contains(&"decided restart dry=false".to_owned()), "not asked again: {again:?}");
}

#[test]
fn a_word_about_a_request_that_is_over_is_written_down_as_one() {
    let (mut world, _, id) = asked();
    let reasons = |world: &World| -> Vec<String> {
        let taken = world.records.iter().filter(|r| r.kind == crate::audit::Kind::ReceiptTaken);
        taken.map(|record| record.reason.clone().unwrap_or_default()).collect()
    };
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    assert_eq!(send(&mut world, "msg_2", &id, said("accepted", None)), Ok(()));
    assert_eq!(send(&mut world, "msg_3", &id, said("done", Some("succeeded"))), Ok(()));
    assert_eq!(send(&mut world, "msg_4", &id, said("done", Some("failed"))), Ok(()));
    let late = "because; this changes nothing, the request was over";
    assert_eq!(
        reasons(&world),
        ["because", &format!("{late} (declined)"), "because", &format!("{late} (done)")]
    );
    let (mut world, _, id) = asked();
    assert_eq!(send(&mut world, "msg_1", &id, said("accepted", None)), Ok(()));
    assert_eq!(send(&mut world, "msg_2", &id, said("accepted", None)), Ok(()));
    assert_eq!(reasons(&world), ["because", "because"], "it is under way");
}

#[test]
fn what_was_done_after_all_counts() {
    let (mut world, _, id) = asked();
    let limits = PolicyConfig::default().limits;
    let restarts = |world: &World| {
        let now = at(world.second, 0);
        let guards = &world.engine.memory.guards;
        let history = guards.history(("acme/app", "acme"), now, &limits, &|_| false);
        (history.tenant_restarts_day, history.since.contains_key(&ActionKind::Restart))
    };
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    assert_eq!(restarts(&world), (0, false), "declined");
    assert_eq!(send(&mut world, "msg_2", &id, said("done", Some("succeeded"))), Ok(()));
    assert_eq!(restarts(&world), (1, true), "and done");
    let result = world.engine.memory.guards.own_history("acme/app", at(world.second, 0)).last;
    assert_eq!(result.and_then(|last| last.result).as_deref(), Some("done"));
}

#[test]
fn what_is_done_is_verified_and_what_failed_is_passed_on() {
    let (mut world, _, id) = asked();
    assert_eq!(send(&mut world, "msg_1", &id, said("accepted", None)), Ok(()));
    world.second += 300;
    assert_eq!(send(&mut world, "msg_2", &id, said("done", Some("succeeded"))), Ok(()));
    // Ten minutes from the deed, not from the promise.
    let high = memory("acme-web", 95);
    let outcome_at = (0..200).find_map(|_| {
        let told = world.slot(Some(&high));
        told.contains(&"outcome ineffective".to_owned()).then_some(world.second)
    });
    assert!(outcome_at.is_some_and(|second| (910..=930).contains(&second)), "{outcome_at:?}");

    let (mut world, _, id) = asked();
    assert_eq!(send(&mut world, "msg_1", &id, said("done", Some("failed"))), Ok(()));
    assert!(world.told.contains(&"outcome ineffective".to_owned()), "{:?}", world.told);
    assert!(world.event_types().contains(&"action.failed"), "{:?}", world.event_types());
}

#[test]
fn none_counts_twice_and_none_is_for_nothing() {
    let (mut world, _, id) = asked();
    let accepted = || said("accepted", None);
    assert_eq!(send(&mut world, "msg_0", "evt_other", accepted()), Err(Refusal::UnknownId));
    assert_eq!(send(&mut world, "msg_1", "", accepted()), Err(Refusal::UnknownId));
    assert_eq!(send(&mut world, "msg_1", &id, accepted()), Ok(()));
    assert_eq!(send(&mut world, "msg_1", &id, accepted()), Err(Refusal::Replayed));
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut after = World::restarted(setup(HIGH, policy), &world, 1);
    assert_eq!(send(&mut after, "msg_1", &id, accepted()), Err(Refusal::Replayed), "after a crash");
    assert_eq!(send(&mut after, "msg_2", &id, accepted()), Ok(()), "the request is known still");
    let view = after.engine.receipts_view();
    assert_eq!(view.refused.get("replayed"), Some(&1));
    assert_eq!(view.taken.get("accepted"), Some(&1));
}

#[test]
fn a_flood_of_refusals_is_counted_and_does_not_fill_the_audit() {
    let (mut world, _, _) = asked();
    world.records.clear();
    for n in 0..50 {
        let event = Event::StatementRefused {
            ticket: n,
            id: "x".to_owned(),
            refusal: Refusal::Signature,
            detail: None,
        };
        let step = world.engine.handle(at(world.second, 0), event);
        world.records.extend(step.records);
        assert_eq!(step.answers.len(), 1);
    }
    assert_eq!(world.records.len(), 10);
    assert_eq!(world.engine.receipts_view().refused.get("signature"), Some(&50));
    world.second += 60;
    for n in 0..2 {
        let event = Event::StatementRefused {
            ticket: n,
            id: "x".to_owned(),
            refusal: Refusal::Signature,
            detail: None,
        };
        let step = world.engine.handle(at(world.second, 0), event);
        world.records.extend(step.records);
    }
    let told: Vec<String> = world.records[10..].iter().map(|r| r.sentence()).collect();
    assert_eq!(
        told,
        [
            "a receipt was refused: signature; 40 before it were left out",
            "a receipt was refused: signature"
        ]
    );
}

#[test]
fn what_is_accepted_after_it_was_over_is_said_to_be_over() {
    let (mut world, high, id) = asked();
    assert_eq!(send(&mut world, "msg_1", &id, said("declined", None)), Ok(()));
    // As an operator's `outbox retry` of a dead letter does.
    let body = serde_json::to_string(&world.events.last()).expect("JSON");
    let delivery: outbox::Delivery = serde_json::from_value(serde_json::json!({
        "id": id, "sequence": 1, "key": "acme", "event_type": "container.restart.requested",
        "supersedes": "", "body": body, "decided_at": 0, "expires_at": null, "attempts": 1,
        "refusals": 0, "last_error": null,
    }))
    .expect("a delivery");
    let accepted = Said { decision: Some("accepted".to_owned()), ..Said::default() };
    let fact = outbox::Fact::Delivered { delivery: Box::new(delivery), answer: accepted };
    let turn = outbox::Turn { facts: vec![fact], ..outbox::Turn::default() };
    world.engine.take_turn(at(world.second, 0), turn);
    world.slot(Some(&high));
    let last = world.records.iter().rfind(|r| r.decision.as_deref() == Some("accepted"));
    let want = "container.restart.requested delivered, answered accepted: this changes nothing, \
                the request was over (declined)";
    assert_eq!(last.map(|record| record.sentence()).as_deref(), Some(want));
}

#[test]
fn what_was_left_out_is_told_when_its_minute_is_over_or_at_the_end() {
    let flood = |world: &mut World| {
        for n in 0..25 {
            let answer = said("accepted", None);
            assert!(send(world, &format!("msg_{n}"), "evt_unknown", answer).is_err());
        }
    };
    let more = |records: &[crate::audit::Record]| {
        let sentences = records.iter().map(|record| record.sentence());
        sentences.filter(|sentence| sentence.contains("more receipts")).collect::<Vec<_>>()
    };
    let want = ["15 more receipts were refused in a minute and left out"];
    let (mut world, high, _) = asked();
    flood(&mut world);
    assert_eq!(more(&world.records), [""; 0], "the minute is not over");
    (0..20).for_each(|_| drop(world.slot(Some(&high))));
    assert_eq!(more(&world.records), want);
    flood(&mut world);
    let end = world.engine.end(at(world.second, 0));
    assert_eq!(more(&end.records), want, "nor does a stop forget it");
    assert!(more(&world.engine.end(at(world.second, 0)).records).is_empty(), "once");
}

#[test]
fn a_receipt_that_is_said_again_before_it_is_durable_waits_with_the_first() {
    let (mut world, _, id) = asked();
    let now = at(world.second, 0);
    let mut say = |ticket| {
        let statement = Statement { delivery_id: id.clone(), answer: said("accepted", None) };
        world.engine.handle(now, Event::Statement { ticket, id: "msg_1".to_owned(), statement })
    };
    let (batch, _) = say(1).changes.expect("it is to be remembered");
    assert!(say(2).answers.is_empty(), "nor is it refused as one that was taken");
    let durable = world.engine.handle(now, Event::Committed(Receipt::of(batch)));
    let tickets: Vec<u64> = durable.answers.iter().map(|answer| answer.ticket).collect();
    assert_eq!(tickets, [1, 2]);
    assert_eq!(send(&mut world, "msg_1", &id, said("accepted", None)), Err(Refusal::Replayed));
}
