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

/// An outbox whose one delivery was refused for good, after two minutes.
fn dead(delivery: Draft) -> (Outbox, DeliveryId) {
    let id = delivery.id.clone();
    let (mut outbox, name) = (outbox([delivery]), id.0.replace("evt_", ""));
    for seconds in [0, 60, 120] {
        assert_eq!(started(&mut outbox, seconds), [name.as_str()]);
        let _ = settle(&mut outbox, &name, refused(), seconds);
    }
    (outbox, id)
}

#[test]
fn a_dead_request_is_revived_in_its_time_only() {
    let (mut outbox, id) = dead(request("r", at(900)));
    let error = outbox.retry(&id, at(900), Batch(3)).expect_err("it would be withdrawn");
    assert_eq!(error, OperatorError::Expired(id.clone(), at(900).wall));
    assert!(error.to_string().contains("expired at 20"), "{error}");
    assert_eq!(outbox.stats(at(900)).dead, 1, "it stays where it was");
    assert!(outbox.retry(&id, at(899), Batch(3)).is_ok());
    assert_eq!(started(&mut outbox, 899), [""; 0], "not before it is durable");
    let (mut outbox, id) = dead(draft("t", "news"));
    assert!(outbox.retry(&id, at(90_000), Batch(3)).is_ok(), "news does not expire");
}

#[test]
fn nothing_is_given_up_for_what_is_revived() {
    let (mut outbox, id) = dead(draft("acme", "old"));
    outbox.config.max_bytes = OutboxConfig::MAX_BYTES_FLOOR;
    let body = outbox.dead.values().next().expect("one").body.len();
    let mut n = 0;
    while outbox.bytes + body <= OutboxConfig::MAX_BYTES_FLOOR {
        let _ = outbox.push(draft("acme", &n.to_string()), at(200), Batch(3));
        n += 1;
    }
    assert_eq!(outbox.retry(&id, at(200), Batch(4)), Err(OperatorError::Full(id.clone())));
    assert_eq!((outbox.waiting.len(), outbox.dead.len()), (n, 1));
    let _ = outbox.drop_delivery(&DeliveryId("evt_0".to_owned())).expect("it waits");
    assert!(outbox.retry(&id, at(200), Batch(4)).is_ok());
    assert_eq!((outbox.waiting.len(), outbox.dead.len()), (n, 0));
}

/// An old word that an operator has sent again is no news of what came after it.
#[test]
fn what_was_revived_does_not_supersede_what_is_newer() {
    let (mut outbox, id) = dead(draft("acme", "A"));
    let mut resolved = draft("acme", "A");
    resolved.id = DeliveryId("evt_later".to_owned());
    resolved.event.timestamp = WireTime(at(200).wall);
    let _ = outbox.push(resolved, at(200), Batch(3));
    let _ = outbox.retry(&id, at(201), Batch(4)).expect("it is dead");
    let gone: Vec<&str> = outbox
        .superseded()
        .iter()
        .map(|sequence| outbox.waiting[sequence].delivery.id.0.as_str())
        .collect();
    assert_eq!(gone, ["evt_A"]);
}

/// What a deploy or a start shut, and advice on an image, are about no alert.
#[test]
fn requests_about_no_alert_do_not_supersede_each_other() {
    let of = |tenant: &str| {
        let mut request = request(tenant, at(900));
        request.event.event_type = EventType::ChangeVerificationFailed;
        let data = &mut request.event.data;
        (data.alert, data.fingerprint, data.tenant_id) = (None, None, Some(tenant.to_owned()));
        let action = data.action.as_mut().expect("it asks");
        (action.kind, action.dedup_key) = (ActionKind::RollbackAdvice, tenant.to_owned());
        request
    };
    assert_eq!(outbox([of("acme"), of("globex")]).superseded(), [0; 0]);
}

#[test]
fn a_request_is_told_to_be_void_under_one_id_and_once() {
    let request = || Draft { id: delivery_id(at(0).wall, &["k"]), ..request("r", at(900)) };
    let id = request().id;
    let told = |seconds| {
        let mut outbox = outbox([request()]);
        let turn = outbox.withdraw(&id, "a backup", at(seconds), Batch(3)).expect("it waits");
        let [Fact::Expired { replacement, .. }] = &turn.facts[..] else { panic!("{turn:?}") };
        replacement.clone()
    };
    assert_eq!(told(1), told(800), "whatever happens between writing and sending");
    assert_eq!(told(1).0[..14], id.0[..14], "ids sort by time");
    assert_ne!(told(1), id);
    let mut outbox = outbox([request(), Draft { id: told(1), ..draft("acme", "void") }]);
    let turn = outbox.withdraw(&id, "a backup", at(5), Batch(3)).expect("it waits");
    assert!(matches!(turn.changes[..], [Change { value: None, .. }]), "{turn:?}");
    assert_eq!((outbox.waiting.len(), outbox.waits(&told(1))), (1, true));
}

#[test]
fn what_finds_no_room_to_leave_is_not_next() {
    let of = |n: u64| {
        let mut request = request(&n.to_string(), at(900));
        request.event.data.tenant_id = Some(format!("t{n}"));
        request
    };
    let mut outbox = outbox((0..9).map(of));
    let next =
        |outbox: &Outbox, second| outbox.requests(at(second)).filter(|it| it.is_next).count();
    assert_eq!(next(&outbox, 0), 9);
    assert_eq!(started(&mut outbox, 0).len(), 8);
    assert_eq!(next(&outbox, 59), 0);
    assert_eq!(next(&outbox, 60), 1, "attempts that are lost by now make room");
}
