//! The outbox's promises: each test is a script of rounds, the last one a storm of random ones.

use proptest::prelude::*;

use super::*;
use crate::base::Timestamp;

mod given_up;

const WALL: i64 = 1_795_312_800_000;

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: Timestamp(WALL) + monotonic }
}

fn draft(tenant: &str, name: &str) -> Draft {
    let data = Data {
        alert: Some("A".to_owned()),
        fingerprint: Some(name.to_owned()),
        tenant_id: Some(tenant.to_owned()).filter(|tenant| !tenant.is_empty()),
        ..Data::default()
    };
    Draft {
        id: DeliveryId(format!("evt_{name}")),
        event: Event::new(EventType::AlertFiring, Timestamp(WALL), data),
    }
}

fn request(name: &str, expires_at: Now) -> Draft {
    let mut draft = draft("acme", name);
    draft.event.event_type = EventType::RestartRequested;
    draft.event.data.action = Some(Action {
        kind: ActionKind::Restart,
        mode: ActionMode::Request,
        expires_at: WireTime(expires_at.wall),
        dedup_key: "k".to_owned(),
        params: BTreeMap::new(),
    });
    draft
}

/// An outbox whose batches 1 and 2 are committed, with these deliveries in batch 1.
fn outbox(drafts: impl IntoIterator<Item = Draft>) -> Outbox {
    let mut outbox = Outbox::new(OutboxConfig::default());
    for draft in drafts {
        let turn = outbox.push(draft, at(0), Batch(1));
        assert_eq!(turn.changes.len(), 1);
    }
    outbox.committed(Receipt::of(Batch(2)));
    outbox
}

/// Ids started at that second, without the prefix.
fn started(outbox: &mut Outbox, seconds: u64) -> Vec<String> {
    let turn = outbox.due(at(seconds), Batch(2));
    turn.attempts.iter().map(|attempt| attempt.id.0.replace("evt_", "")).collect()
}

fn settle(outbox: &mut Outbox, name: &str, outcome: Outcome, seconds: u64) -> Turn {
    let id = DeliveryId(format!("evt_{name}"));
    let number = outbox.waiting[&outbox.by_id[&id]].delivery.attempts;
    outbox.settle(Reply { id, number, outcome }, at(seconds))
}

fn accepted() -> Outcome {
    Outcome::Accepted(Answer::default())
}

fn later() -> Outcome {
    Outcome::RetryLater { after: None, why: "503".to_owned() }
}

fn refused() -> Outcome {
    Outcome::Refused { why: "422".to_owned() }
}

fn misconfigured() -> Outcome {
    Outcome::Misconfigured { why: "401".to_owned() }
}

#[test]
fn nothing_is_tried_before_its_receipt() {
    let mut outbox = Outbox::new(OutboxConfig::default());
    let _ = outbox.push(draft("acme", "a"), at(0), Batch(3));
    outbox.committed(Receipt::of(Batch(2)));
    assert!(started(&mut outbox, 0).is_empty(), "batch 3 is not durable yet");
    assert_eq!(outbox.next_wakeup(), None, "only the receipt can wake it");
    outbox.committed(Receipt::of(Batch(3)));
    assert_eq!(started(&mut outbox, 0), ["a"]);
}

#[test]
fn one_in_flight_per_key_in_order_and_keys_are_independent() {
    let mut outbox = outbox([draft("t", "a1"), draft("t", "a2"), draft("u", "b1"), draft("", "c")]);
    assert_eq!(started(&mut outbox, 0), ["a1", "b1", "c"]);
    let _ = settle(&mut outbox, "b1", accepted(), 0);
    let _ = settle(&mut outbox, "a1", later(), 0);
    assert!(started(&mut outbox, 0).is_empty(), "a2 waits behind a1's pause");
    assert_eq!(started(&mut outbox, 2), ["a1"]);
    let turn = settle(&mut outbox, "a1", accepted(), 2);
    assert!(turn.changes[0].value.is_none(), "what the receiver has leaves the journal");
    assert_eq!(started(&mut outbox, 2), ["a2"]);
}

#[test]
fn flights_are_bounded_over_all_keys() {
    let mut outbox = outbox((0..20).map(|i| draft(&format!("t{i}"), &format!("d{i}"))));
    assert_eq!(started(&mut outbox, 0).len(), 8);
    assert!(started(&mut outbox, 0).is_empty());
    let _ = settle(&mut outbox, "d0", later(), 0);
    assert_eq!(started(&mut outbox, 1), ["d8"], "who waited longest, not the one that failed");
}

#[test]
fn retry_after_silences_the_sink_up_to_ten_minutes() {
    for (asked, got) in [(120, 120), (3600, 600)] {
        let mut outbox = outbox([draft("t", "a"), draft("u", "b")]);
        let _ = outbox.due(at(0), Batch(2));
        let after = Some(Duration::from_secs(asked));
        let outcome = Outcome::RetryLater { after, why: "429".to_owned() };
        let turn = settle(&mut outbox, "a", outcome, 0);
        let Fact::Retrying { after, .. } = &turn.facts[0] else { panic!("{turn:?}") };
        assert_eq!(after.as_secs(), got);
        let _ = settle(&mut outbox, "b", later(), 0);
        assert!(started(&mut outbox, got - 1).is_empty());
        let mut all = started(&mut outbox, got);
        all.sort_unstable();
        assert_eq!(all, ["a", "b"]);
    }
}

#[test]
fn misconfiguration_pauses_the_whole_sink_and_probes() {
    let mut outbox = outbox([draft("t", "a"), draft("u", "b"), draft("v", "c")]);
    let _ = outbox.due(at(0), Batch(2));
    let turn = settle(&mut outbox, "a", misconfigured(), 0);
    assert_eq!(turn.facts[0], Fact::Paused { why: "401".to_owned() });
    let turn = settle(&mut outbox, "b", misconfigured(), 0);
    assert!(!matches!(turn.facts[0], Fact::Paused { .. }), "said once");
    let _ = settle(&mut outbox, "c", later(), 0);
    assert_eq!(outbox.stats(at(0)).paused.as_deref(), Some("401"));
    assert!(started(&mut outbox, 29).is_empty());
    assert_eq!(outbox.next_wakeup(), Some(Duration::from_secs(30)));
    assert_eq!(started(&mut outbox, 30).len(), 1, "one probe");
    let probe =
        outbox.in_flight.first().map(|s| outbox.waiting[s].delivery.id.0.replace("evt_", ""));
    let probe = probe.expect("the probe is in flight");
    let _ = settle(&mut outbox, &probe, later(), 30);
    assert!(started(&mut outbox, 59).is_empty(), "the next probe waits as long");
    assert_eq!(started(&mut outbox, 60).len(), 1);
    let probe =
        outbox.in_flight.first().map(|s| outbox.waiting[s].delivery.id.0.replace("evt_", ""));
    let turn = settle(&mut outbox, &probe.expect("in flight"), accepted(), 60);
    assert_eq!(turn.facts[0], Fact::Resumed);
    assert_eq!(started(&mut outbox, 60).len(), 2, "the rest follows at once");
}

#[test]
fn a_refused_message_is_dead_after_three_tries_and_can_be_revived() {
    let mut outbox = outbox([draft("t", "bad"), draft("t", "good")]);
    let mut seconds = 0;
    for tries in 1..=3 {
        assert_eq!(started(&mut outbox, seconds), ["bad"], "try {tries}");
        let turn = settle(&mut outbox, "bad", refused(), seconds);
        assert!(turn.changes.iter().any(|change| change.value.is_some()), "refusals are durable");
        assert_eq!(matches!(turn.facts[0], Fact::DeadLettered { .. }), tries == 3);
        seconds += 60;
    }
    assert_eq!(started(&mut outbox, seconds), ["good"], "its tenant goes on");
    assert_eq!(outbox.stats(at(0)).dead, 1);
    let id = DeliveryId("evt_bad".to_owned());
    let turn = outbox.retry(&id, at(seconds), Batch(3)).expect("it is dead");
    assert_eq!(turn.changes.len(), 2, "out of one table, into the other");
    assert_eq!(
        outbox.list().map(|(_, d)| d.id.0.as_str()).collect::<Vec<_>>(),
        ["evt_good", "evt_bad"]
    );
    let turn = outbox.drop_delivery(&id).expect("it waits");
    assert_eq!(turn.changes.len(), 1);
    assert_eq!(outbox.drop_delivery(&id), Err(OperatorError::Unknown(id)));
}

#[test]
fn a_request_that_waits_can_be_looked_at_held_back_and_withdrawn() {
    let mut outbox = outbox([request("r", at(900)), draft("acme", "next")]);
    let seen = |outbox: &Outbox, seconds| {
        let all = outbox.requests(at(seconds));
        all.map(|waiting| (waiting.is_next, waiting.may_be_taken)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&outbox, 0), [(true, false)], "news is none of them");
    assert_eq!(started(&mut outbox, 0), ["r"]);
    assert_eq!(seen(&outbox, 0), [], "it is on its way");
    let _ = settle(&mut outbox, "r", later(), 1);
    assert_eq!(seen(&outbox, 1), [(false, false)], "the receiver said no");
    assert_eq!(started(&mut outbox, 60), ["r"]);
    let _ = settle(
        &mut outbox,
        "r",
        Outcome::Unanswered { after: None, why: "timed out".to_owned() },
        61,
    );
    assert_eq!(seen(&outbox, 200), [(true, true)]);
    let id = DeliveryId("evt_r".to_owned());
    outbox.hold_back(&id, at(300).monotonic);
    assert_eq!((seen(&outbox, 299), started(&mut outbox, 299)), (vec![(false, true)], vec![]));
    let turn = outbox.withdraw(&id, "a backup", at(299), Batch(3)).expect("it waits");
    let [Fact::Expired { withdrawn, may_be_taken: true, .. }] = &turn.facts[..] else {
        panic!("{turn:?}")
    };
    assert_eq!(withdrawn.as_deref(), Some("a backup"));
    assert_eq!(seen(&outbox, 299), []);
    let rows = outbox_rows();
    let (recovered, _) = Outbox::recover(OutboxConfig::default(), rows, at(0));
    assert_eq!(seen(&recovered, 0), [(true, true)], "it may have been in flight");
    assert_eq!(seen(&recovered, 900), [], "expired: that is told by another name");
}

/// The rows of an outbox with one request.
fn outbox_rows() -> Vec<Change> {
    let mut outbox = Outbox::new(OutboxConfig::default());
    outbox.push(request("r", at(900)), at(0), Batch(1)).changes
}

#[test]
fn an_expired_request_is_replaced_in_place_under_a_new_id() {
    let mut outbox = outbox([request("r", at(900)), draft("acme", "next")]);
    assert_eq!(started(&mut outbox, 0), ["r"]);
    let turn = outbox.due(at(20), Batch(2));
    assert!(turn.facts.is_empty());
    let _ = settle(&mut outbox, "r", later(), 20);
    let expiring = outbox.next_wakeup().expect("a retry");
    assert!(expiring < at(900).monotonic);
    let turn = outbox.due(at(900), Batch(3));
    let [Fact::Expired { request, replacement, withdrawn: None, may_be_taken: false }] =
        &turn.facts[..]
    else {
        panic!("{turn:?}")
    };
    assert_eq!(request.id.0, "evt_r");
    assert!(turn.attempts.is_empty(), "the notice waits for its own receipt");
    assert_eq!(turn.changes.len(), 1);
    outbox.committed(Receipt::of(Batch(3)));
    let turn = outbox.due(at(900), Batch(4));
    assert_eq!(turn.attempts[0].id, *replacement, "in the request's place, before `next`");
    let event: Event = serde_json::from_str(&turn.attempts[0].body).expect("an event");
    assert_eq!(event.event_type, EventType::ActionExpired);
    assert_eq!(event.data.action.expect("says what expired").dedup_key, "k");
    assert!(event.data.reason.expect("says why").contains("evt_r expired"));
    let facts = outbox.due(at(9000), Batch(5)).facts;
    assert!(!facts.iter().any(|f| matches!(f, Fact::Expired { .. })), "a notice does not expire");
}

#[test]
fn the_local_executor_is_given_restarts_and_nothing_else() {
    let config = OutboxConfig { restarts_only: true, ..OutboxConfig::default() };
    let mut outbox = Outbox::new(config);
    let mut dry = request("dry", at(60));
    dry.event.data.action.as_mut().expect("it asks").mode = ActionMode::DryRun;
    for news in [draft("acme", "news"), dry] {
        assert_eq!(outbox.push(news, at(0), Batch(1)), Turn::default());
    }
    assert_eq!(outbox.push(request("r", at(60)), at(0), Batch(1)).changes.len(), 1);
    outbox.committed(Receipt::of(Batch(2)));
    let turn = outbox.due(at(61), Batch(2));
    assert!(matches!(turn.facts[..], [Fact::Expired { .. }]), "{:?}", turn.facts);
    assert!(turn.attempts.is_empty() && matches!(turn.changes[..], [Change { value: None, .. }]));
    assert_eq!(outbox.stats(at(61)).waiting, 0, "nobody waits for the news of it");
}

/// The Control Plane may be carrying out what it was sent; Docker would be a second hand.
#[test]
fn what_waited_for_a_control_plane_is_not_handed_on_to_the_local_executor() {
    let executor = || OutboxConfig { restarts_only: true, ..OutboxConfig::default() };
    let of = |tenant: &str, name: &str| {
        let mut request = request(name, at(600));
        request.event.data.tenant_id = Some(tenant.to_owned());
        request
    };
    let mut dry = of("d", "dry");
    dry.event.data.action.as_mut().expect("it asks").mode = ActionMode::DryRun;
    let all = [draft("a", "news"), of("b", "sent"), of("c", "flying"), dry, of("c", "unsent")];
    let mut outbox = outbox(all);
    assert_eq!(started(&mut outbox, 0), ["news", "sent", "flying", "dry"]);
    let unanswered = || Outcome::Unanswered { after: None, why: "hung up".to_owned() };
    let _ = settle(&mut outbox, "sent", unanswered(), 1);
    for name in ["news", "dry"] {
        let later = Outcome::RetryLater { after: None, why: "busy".to_owned() };
        let _ = settle(&mut outbox, name, later, 1);
    }
    outbox.configure(executor());
    let gone = |turn: &Turn| -> Vec<String> {
        let id = |fact: &Fact| match fact {
            Fact::Unheard { delivery, .. } => Some(delivery.id.0.clone()),
            Fact::Expired { request, withdrawn: Some(_), .. } => Some(request.id.0.clone()),
            _ => None,
        };
        turn.facts.iter().filter_map(id).collect()
    };
    let turn = outbox.due(at(2), Batch(2));
    assert_eq!(gone(&turn), ["evt_news", "evt_sent", "evt_dry"]);
    assert!(turn.attempts.is_empty(), "{:?}", turn.attempts);
    let _ = settle(&mut outbox, "flying", unanswered(), 3);
    let turn = outbox.due(at(3), Batch(2));
    assert_eq!(gone(&turn), ["evt_flying"]);
    assert!(turn.attempts.is_empty(), "what stood behind it is looked at first");
    assert!(outbox.next_wakeup().is_some_and(|next| next <= at(3).monotonic), "at once");
    let turn = outbox.due(at(3), Batch(2));
    assert_eq!(turn.attempts[0].id.0, "evt_unsent", "Docker may be asked for it");
    // What the executor leaves unanswered is its own to end, over a restart, too.
    let _ = settle(&mut outbox, "unsent", unanswered(), 4);
    assert!(gone(&outbox.due(at(5), Batch(2))).is_empty());
    let rows = || outbox.waiting.values().map(|entry| entry.delivery.put(Table::Outbox));
    let (mut again, _) = Outbox::recover(executor(), rows(), at(503));
    assert!(gone(&again.due(at(503), Batch(0))).is_empty());
    // Back at a Control Plane it is that one's, which may take it.
    let (mut again, _) = Outbox::recover(OutboxConfig::default(), rows(), at(503));
    assert!(gone(&again.due(at(503), Batch(0))).is_empty());
    again.configure(executor());
    let _ = settle(&mut again, "unsent", unanswered(), 504);
    assert_eq!(gone(&again.due(at(505), Batch(0))), ["evt_unsent"]);
    let foreign = rows().map(|row| Change {
        value: row.value.map(|text| {
            let text = String::from_utf8(text).expect("JSON");
            text.replace(",\"for_executor\":true", "").into_bytes()
        }),
        ..row
    });
    let (mut again, _) = Outbox::recover(executor(), foreign.collect::<Vec<_>>(), at(503));
    assert_eq!(gone(&again.due(at(503), Batch(0))), ["evt_unsent"]);
}

#[test]
fn a_request_in_flight_is_not_withdrawn_under_way() {
    let mut outbox = outbox([request("r", at(10))]);
    let _ = outbox.due(at(9), Batch(2));
    assert!(outbox.due(at(12), Batch(2)).facts.is_empty());
    assert!(outbox.next_wakeup() > Some(at(12).monotonic), "it does not spin meanwhile");
    let turn = settle(&mut outbox, "r", accepted(), 13);
    assert!(matches!(turn.facts[0], Fact::Delivered { .. }));
}

#[test]
fn an_attempt_that_is_never_answered_is_given_up_and_its_late_answer_ignored() {
    let mut outbox = outbox([draft("t", "a")]);
    let first = outbox.due(at(0), Batch(2)).attempts.remove(0);
    assert!(started(&mut outbox, 59).is_empty());
    assert_eq!(outbox.next_wakeup(), Some(Duration::from_secs(60)));
    assert!(started(&mut outbox, 60).is_empty());
    assert_eq!(started(&mut outbox, 61), ["a"]);
    let late = Reply { id: first.id.clone(), number: 1, outcome: misconfigured() };
    assert_eq!(outbox.settle(late, at(61)), Turn::default());
    let late = Reply { id: first.id, number: 1, outcome: accepted() };
    assert_eq!(outbox.settle(late, at(61)).facts.len(), 1, "but good news is never late");
    assert_eq!(outbox.next_wakeup(), None);
}

#[test]
fn a_full_outbox_keeps_the_latest_state_of_each_alert_and_says_what_is_missing() {
    let mut config = OutboxConfig { host: "web-7".to_owned(), ..OutboxConfig::default() };
    config.max_bytes = OutboxConfig::MAX_BYTES_FLOOR;
    let mut outbox = Outbox::new(config);
    let (mut pushed, mut gaps) = (0u64, 0);
    for round in 0..6000u64 {
        let mut draft = draft("acme", &format!("alert-{}", round % 10));
        draft.id = DeliveryId(format!("evt_{round}"));
        draft.event.timestamp = WireTime(at(round).wall);
        draft.event.data.revision = Some(round);
        pushed += 1;
        let turn = outbox.push(draft, at(round), Batch(round + 1));
        gaps += turn.facts.len();
        if round == 0 {
            outbox.committed(Receipt::of(Batch(1)));
            assert_eq!(started(&mut outbox, 0), ["0"]);
        }
        assert!(outbox.stats(at(round)).waiting_bytes <= OutboxConfig::MAX_BYTES_FLOOR);
    }
    assert!(gaps > 2, "it did overflow, and again");
    assert!(outbox.by_id.contains_key(&DeliveryId("evt_0".to_owned())), "in flight, so it stays");
    let events: Vec<Event> = outbox.list().filter_map(|(_, d)| d.event()).collect();
    for alert in 0..10 {
        let name = format!("alert-{alert}");
        let kept = events.iter().filter(|e| e.data.fingerprint.as_ref() == Some(&name));
        let latest = kept.filter_map(|e| e.data.revision).max();
        assert_eq!(latest, Some(5990 + alert), "the last state of each survives");
    }
    let found: Vec<Gap> = events.iter().filter_map(|event| event.data.gap).collect();
    let [gap] = found[..] else { panic!("one gap, not {}", found.len()) };
    assert_eq!(gap.dropped + events.len() as u64 - 1, pushed, "every event is there or counted");
    assert_eq!(gap.from, WireTime(at(1).wall));
}

#[test]
fn when_latest_states_alone_are_too_many_the_oldest_go() {
    let config = OutboxConfig { max_bytes: 0, ..OutboxConfig::default() };
    let mut outbox = Outbox::new(config);
    for i in 0..3000 {
        let _ = outbox.push(draft("acme", &format!("{i}")), at(0), Batch(1));
    }
    let ids: Vec<&str> = outbox.list().map(|(_, d)| d.id.0.as_str()).collect();
    assert!(ids.contains(&"evt_2999") && !ids.contains(&"evt_0"));
}

#[test]
fn bad_rows_are_reported_and_their_place_is_not_taken() {
    let key = format!("{:020}", u64::MAX / 2);
    let row = Change { table: Table::Outbox, key, value: Some(b"{".to_vec()) };
    let (mut outbox, problems) = Outbox::recover(OutboxConfig::default(), [row], at(0));
    assert_eq!(problems.len(), 1);
    let turn = outbox.push(draft("t", "a"), at(0), Batch(1));
    assert_eq!(turn.changes[0].key, format!("{:020}", u64::MAX / 2 + 1));
}

#[derive(Clone, Debug)]
enum Step {
    Push { tenant: u8, expires_in: Option<u8> },
    Commit,
    Reply { which: usize, kind: u8 },
    Crash,
    Sleep(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, prop::option::weighted(0.3, 1..60u8))
            .prop_map(|(tenant, expires_in)| Step::Push { tenant, expires_in }),
        4 => Just(Step::Commit),
        6 => (0..8usize, 0..6u8).prop_map(|(which, kind)| Step::Reply { which, kind }),
        1 => Just(Step::Crash),
        3 => (0..90u8).prop_map(Step::Sleep),
    ]
}

/// The world around an outbox: a journal that commits late, a shell, a receiver that keeps count.
struct World {
    outbox: Outbox,
    seconds: u64,
    batch: u64,
    uncommitted: Vec<Change>,
    rows: BTreeMap<(Table, String), Vec<u8>>,
    flying: Vec<Attempt>,
    /// First arrivals, by key: (sequence at push order, id).
    arrived: Vec<(String, u64, DeliveryId)>,
    bodies: BTreeMap<DeliveryId, std::sync::Arc<str>>,
}

impl World {
    fn new() -> World {
        World {
            outbox: Outbox::new(OutboxConfig::default()),
            seconds: 0,
            batch: 1,
            uncommitted: Vec::new(),
            rows: BTreeMap::new(),
            flying: Vec::new(),
            arrived: Vec::new(),
            bodies: BTreeMap::new(),
        }
    }

    fn take(&mut self, turn: Turn) {
        self.uncommitted.extend(turn.changes);
        for attempt in turn.attempts {
            let row = self.rows.iter().find(|((table, _), row)| {
                *table == Table::Outbox
                    && serde_json::from_slice::<Delivery>(row).expect("reads").id == attempt.id
            });
            let ((_, _), row) = row.expect("only what is on disk is sent");
            let delivery: Delivery = serde_json::from_slice(row).expect("reads");
            let body = self.bodies.entry(attempt.id.clone()).or_insert(attempt.body.clone());
            assert_eq!(*body, attempt.body, "one id, one body");
            assert!(!self.flying.iter().any(|other| other.id == attempt.id), "once at a time");
            // The receiver sees it now, whatever the reply will say.
            if !self.arrived.iter().any(|(_, _, id)| *id == attempt.id) {
                self.arrived.push((delivery.key, delivery.sequence, attempt.id.clone()));
            }
            self.flying.push(attempt);
        }
        assert!(self.flying.len() <= 8, "bounded");
    }

    fn commit(&mut self) {
        for change in self.uncommitted.drain(..) {
            let key = (change.table, change.key);
            match change.value {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.outbox.committed(Receipt::of(Batch(self.batch)));
        self.batch += 1;
    }

    fn crash(&mut self) {
        let rows = self.rows.iter().map(|((table, key), row)| Change {
            table: *table,
            key: key.clone(),
            value: Some(row.clone()),
        });
        let (outbox, problems) = Outbox::recover(OutboxConfig::default(), rows, at(self.seconds));
        assert!(problems.is_empty());
        (self.outbox, self.batch) = (outbox, 1);
        self.uncommitted.clear();
        self.flying.clear();
    }

    fn round(&mut self) {
        let now = at(self.seconds);
        self.flying.retain(|attempt| {
            let sequence = self.outbox.by_id.get(&attempt.id);
            sequence.is_some_and(|s| {
                self.outbox.waiting[s].lease.is_some_and(|lease| lease > now.monotonic)
            })
        });
        let turn = self.outbox.due(now, Batch(self.batch));
        self.take(turn);
        let wakeup = self.outbox.next_wakeup();
        assert!(wakeup.is_none_or(|at| at > now.monotonic), "{wakeup:?} at {now:?} would spin");
    }

    fn apply(&mut self, index: usize, step: &Step) {
        match *step {
            Step::Push { tenant, expires_in } => {
                let name = format!("{index}");
                let mut draft = match expires_in {
                    Some(seconds) => request(&name, at(self.seconds + u64::from(seconds))),
                    None => draft("", &name),
                };
                draft.event.data.tenant_id = Some(format!("t{tenant}"));
                let turn = self.outbox.push(draft, at(self.seconds), Batch(self.batch));
                self.take(turn);
            }
            Step::Commit => self.commit(),
            Step::Reply { which, kind } => {
                if which < self.flying.len() {
                    let Attempt { id, number, .. } = self.flying.remove(which);
                    let outcome = [accepted, accepted, accepted, later, refused, misconfigured]
                        [usize::from(kind)]();
                    let reply = Reply { id, number, outcome };
                    let turn = self.outbox.settle(reply, at(self.seconds));
                    self.take(turn);
                }
            }
            Step::Crash => self.crash(),
            Step::Sleep(seconds) => self.seconds += u64::from(seconds),
        }
        self.round();
    }

    /// Everything that waits gets through once the sink and the disk are well.
    fn drain(&mut self) {
        for _ in 0..100_000 {
            self.commit();
            self.round();
            for Attempt { id, number, .. } in std::mem::take(&mut self.flying) {
                let reply = Reply { id, number, outcome: accepted() };
                let turn = self.outbox.settle(reply, at(self.seconds));
                self.take(turn);
            }
            self.commit();
            self.round();
            match (self.outbox.next_wakeup(), self.flying.is_empty()) {
                (None, true) => return,
                (Some(wakeup), true) => self.seconds = wakeup.as_secs() + 1,
                (_, false) => {}
            }
        }
        panic!("it does not drain");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn storms_lose_nothing_and_keep_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for (index, step) in steps.iter().enumerate() {
            world.apply(index, step);
        }
        world.commit();
        // A request may be replaced by its notice, which has another id.
        let lasting = world.outbox.list().filter(|(_, delivery)| delivery.expires_at.is_none());
        let waiting: Vec<DeliveryId> = lasting.map(|(_, delivery)| delivery.id.clone()).collect();
        world.drain();
        prop_assert_eq!(world.outbox.stats(at(world.seconds)).waiting, 0);
        prop_assert!(!world.rows.keys().any(|(table, _)| *table == Table::Outbox));
        for id in waiting {
            let arrived = world.arrived.iter().any(|(_, _, other)| *other == id);
            prop_assert!(arrived, "{} never arrived", id);
        }
        let mut seen: BTreeSet<(&str, u64)> = BTreeSet::new();
        for (key, sequence, id) in &world.arrived {
            let newest = seen.range((key.as_str(), 0)..=(key.as_str(), u64::MAX)).next_back();
            let in_order = newest.is_none_or(|(_, newest)| newest < sequence);
            // A notice may follow its request late, if a crash forgot the request's reply.
            prop_assert!(!seen.insert((key, *sequence)) || in_order, "{} out of order", id);
        }
    }
}
