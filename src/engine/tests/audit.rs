//! What is written down: every edge, decision, hold, delivery and outcome, each with its incident.

use super::*;
use crate::audit::{Kind, Record, State};

impl World {
    /// The kinds of what was written down since the last call.
    fn written(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.records).iter().map(|record| record.kind.name()).collect()
    }
}

#[test]
fn an_action_is_written_down_from_its_cause_to_its_delivery() {
    let mut world = World::new(HIGH, acting());
    let high = memory("acme-web", 95);
    (0..3).for_each(|_| drop(world.slot(Some(&high))));
    let records = std::mem::take(&mut world.records);
    let kinds: Vec<Kind> = records.iter().map(|record| record.kind).collect();
    let delivered = Kind::DeliveryAccepted;
    assert_eq!(kinds, [Kind::AlertFiring, Kind::ActionDecided, delivered, delivered]);
    let [firing, decided, edge, request] = &records[..] else { panic!("{records:?}") };
    for record in &records {
        assert_eq!(record.trace_id, firing.trace_id, "one incident");
        assert_eq!(record.tenant.as_deref(), Some("acme"));
        assert_eq!(record.alert.as_deref(), Some("High"));
    }
    assert_eq!(world.events[0]["data"]["trace_id"], firing.trace_id.clone().expect("one"));
    assert_eq!(edge.event.as_deref(), Some("alert.firing"));
    assert_eq!(decided.delivery_id, request.delivery_id, "the decision names its delivery");
    assert_eq!(decided.sentence(), "asks to restart acme/app (memory)");
    let evidence = decided.evidence.as_ref().expect("what it rests on");
    assert_eq!(evidence["ratio"], 0.95);
    world.slot(Some(&memory("acme-web", 10)));
    assert_eq!(world.written(), ["alert.resolved", "delivery.accepted"]);
}

/// Also where there is nobody who could be asked.
#[test]
fn what_would_have_been_done_is_written_down_in_every_mode() {
    let quiet = Setup { outbox: None, ..setup(HIGH, acting()) };
    let observing = setup(HIGH, PolicyConfig { mode: Mode::Observe, ..acting() });
    for (setup, deliveries) in [(quiet, 0), (observing, 1)] {
        let mut world = World::recovered(setup, Vec::new(), 0);
        let high = memory("acme-web", 95);
        (0..5).for_each(|_| drop(world.slot(Some(&high))));
        let held: Vec<Record> =
            world.records.iter().filter(|r| r.kind == Kind::ActionHeld).cloned().collect();
        let [held] = &held[..] else { panic!("told once: {held:?}") };
        assert_eq!(
            held.sentence(),
            "would have restarted acme/app (memory), held: observe; lifted by mode `notify` or `act`"
        );
        assert_eq!(world.events.len(), deliveries);
    }
}

#[test]
fn the_audits_own_trouble_is_told_when_it_begins_and_ends() {
    let mut world = World::new(HIGH, acting());
    let mut hear = |failing: Option<&str>, (waiting, given_up, lost): (u64, u64, u64)| {
        let failing = failing.map(str::to_owned);
        let state = State { waiting, given_up, lost, failing, ..State::default() };
        let step = world.engine.handle(at(world.second, 0), Event::Audited(state));
        step.facts
    };
    let failing = |error: &str, first| [Fact::AuditFailing { error: error.to_owned(), first }];
    assert_eq!(hear(None, (0, 0, 0)), []);
    assert_eq!(hear(Some("full"), (1, 0, 0)), failing("full (1 records wait)", true));
    assert_eq!(hear(Some("full"), (2, 0, 0)), failing("full (2 records wait)", false));
    let some = "full (9 records wait, 1 were given up)";
    assert_eq!(hear(Some("full"), (9, 1, 0)), failing(some, true), "that is news, too");
    let more = "full (9 records wait, 7 were given up)";
    assert_eq!(hear(Some("full"), (9, 7, 0)), failing(more, false));
    assert_eq!(hear(None, (0, 0, 7)), [Fact::AuditRecovered { lost: 7 }]);
    assert_eq!(hear(None, (0, 0, 7)), []);
}
