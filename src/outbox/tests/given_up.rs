//! What is sent no more, though its attempts tell nothing of it.

use super::*;

fn unanswered() -> Outcome {
    Outcome::Unanswered { after: None, why: "timed out".to_owned() }
}

#[test]
fn what_a_receipt_speaks_of_is_sent_no_more_and_neither_expires_nor_dies() {
    let id = DeliveryId("evt_r".to_owned());
    let is_taken = |turn: &Turn| matches!(turn.facts[..], [Fact::Taken { .. }]);
    for is_in_flight in [false, true] {
        let mut outbox = outbox([request("r", at(900)), draft("acme", "next")]);
        assert_eq!(started(&mut outbox, 0), ["r"]);
        if !is_in_flight {
            let _ = settle(&mut outbox, "r", unanswered(), 1);
        }
        let turn = outbox.taken(&id);
        assert!(is_taken(&turn) && turn.changes.len() == 1, "{turn:?}");
        let late = Reply { id: id.clone(), number: 1, outcome: unanswered() };
        assert_eq!(outbox.settle(late, at(2)), Turn::default());
        assert_eq!(started(&mut outbox, 2), ["next"]);
        let facts = outbox.due(at(900), Batch(3)).facts;
        assert!(!facts.iter().any(|fact| matches!(fact, Fact::Expired { .. })), "{facts:?}");
        assert_eq!(outbox.taken(&id), Turn::default(), "once");
    }
    let mut outbox = outbox([request("r", at(900))]);
    for seconds in [0, 60, 120] {
        assert_eq!(started(&mut outbox, seconds), ["r"]);
        let _ = settle(&mut outbox, "r", refused(), seconds);
    }
    assert!(is_taken(&outbox.taken(&id)), "a dead letter is none any more");
    assert_eq!(outbox.stats(at(120)).dead, 0);
}

#[test]
fn what_is_given_up_says_whether_an_attempt_was_never_answered() {
    for is_doubtful in [false, true] {
        let first = if is_doubtful { unanswered() } else { later() };
        let mut outbox = outbox([request("dies", at(900))]);
        let mut last = Turn::default();
        for (n, outcome) in [first.clone(), refused(), refused(), refused()].into_iter().enumerate()
        {
            let seconds = 60 * n as u64;
            assert_eq!(started(&mut outbox, seconds), ["dies"]);
            last = settle(&mut outbox, "dies", outcome, seconds);
        }
        let [Fact::DeadLettered { may_be_taken, .. }] = last.facts[..] else { panic!("{last:?}") };
        assert_eq!(may_be_taken, is_doubtful);
        let mut outbox = self::outbox([request("dropped", at(900))]);
        assert_eq!(started(&mut outbox, 0), ["dropped"]);
        let _ = settle(&mut outbox, "dropped", first, 1);
        let turn = outbox.drop_delivery(&DeliveryId("evt_dropped".to_owned())).expect("it waits");
        let [Fact::Dropped { may_be_taken, .. }] = turn.facts[..] else { panic!("{turn:?}") };
        assert_eq!(may_be_taken, is_doubtful);
    }
}
