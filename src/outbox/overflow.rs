//! What goes when the sink is away for so long that the outbox is full.
//!
//! First everything that a newer event of the same alert supersedes: the receiver still learns the
//! last state of each. Only if those alone are too much, the oldest. Either way one `sidecar.gap`
//! tells how many are missing and from when to when, so nothing is lost in silence.

use super::delivery::{Delivery, Draft, Fact};
use super::event::{Data, Event, EventType, Gap, WireTime};
use super::id::delivery_id;
use super::{Outbox, OutboxConfig, Turn};
use crate::base::{Batch, DeliveryId, HashMap, Now, Table, Timestamp};

impl Outbox {
    /// Brings the outbox under its cap, if it is over.
    pub(super) fn relieve(&mut self, now: Now, batch: Batch, turn: &mut Turn) {
        let cap = self.bytes_max();
        if self.bytes <= cap {
            return;
        }
        let mut lost = Lost::default();
        for sequence in self.superseded() {
            self.give_up(sequence, &mut lost, turn);
        }
        // An eighth of air, so that a full outbox does not do this at every event.
        let target = cap - cap / 8;
        while self.bytes > target {
            let oldest = self.waiting.keys().find(|sequence| !self.in_flight.contains(sequence));
            let Some(oldest) = oldest.copied() else { break };
            self.give_up(oldest, &mut lost, turn);
        }
        self.announce(lost, (now, batch), turn);
    }

    /// Bytes of bodies that may wait.
    pub(super) fn bytes_max(&self) -> usize {
        self.config.max_bytes.max(OutboxConfig::MAX_BYTES_FLOOR)
    }

    /// What a newer delivery of the same alert and class makes obsolete. What is in flight stays:
    /// its reply will settle it.
    pub(super) fn superseded(&self) -> Vec<u64> {
        // What was revived stands behind what is newer.
        let age = |sequence: &u64| (self.waiting[sequence].delivery.decided_at, *sequence);
        let mut newest: HashMap<&str, u64> = HashMap::default();
        for (sequence, entry) in &self.waiting {
            let known = newest.entry(&entry.delivery.supersedes).or_insert(*sequence);
            *known = std::cmp::max_by_key(*known, *sequence, age);
        }
        self.waiting
            .iter()
            .filter(|(sequence, entry)| {
                // Gaps are absorbed by the gap to come.
                let newer = newest[entry.delivery.supersedes.as_str()] != **sequence
                    || entry.delivery.event_type == EventType::Gap;
                newer && !self.in_flight.contains(sequence)
            })
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    fn give_up(&mut self, sequence: u64, lost: &mut Lost, turn: &mut Turn) {
        let may_be_taken = self.waiting[&sequence].may_be_taken;
        let delivery = self.remove(sequence);
        turn.changes.push(delivery.removal(Table::Outbox));
        lost.add(&delivery, may_be_taken);
    }

    fn announce(&mut self, lost: Lost, (now, batch): (Now, Batch), turn: &mut Turn) {
        let Some((from, to)) = lost.span else { return };
        self.totals.dropped += lost.now;
        let sequence = self.next_sequence(now);
        let gap = Gap { dropped: lost.count, from: WireTime(from), to: WireTime(to) };
        let host = Some(self.config.host.clone()).filter(|host| !host.is_empty());
        let data = Data { gap: Some(gap), host, ..Data::default() };
        let draft = Draft {
            id: delivery_id(now.wall, &[EventType::Gap.name(), &sequence.to_string()]),
            event: Event::new(EventType::Gap, now.wall, data),
        };
        let (dropped, requests) = (lost.now, lost.requests);
        turn.facts.push(Fact::Overflowed { dropped, requests, gap: draft.id.clone() });
        let delivery = Delivery::new(draft, sequence);
        turn.changes.push(delivery.put(Table::Outbox));
        self.insert(delivery, now, batch);
    }
}

/// A sum of what was given up.
#[derive(Default)]
struct Lost {
    /// Events, those of absorbed gaps included.
    count: u64,
    /// Events given up this time.
    now: u64,
    span: Option<(Timestamp, Timestamp)>,
    /// What asked for something, and whether the receiver may have it all the same.
    requests: Vec<(DeliveryId, bool)>,
}

impl Lost {
    fn add(&mut self, delivery: &Delivery, may_be_taken: bool) {
        let absorbed = delivery.event().and_then(|event| event.data.gap);
        let (count, from, to) = match absorbed {
            Some(gap) => (gap.dropped, gap.from.0, gap.to.0),
            None => (1, delivery.decided_at, delivery.decided_at),
        };
        if delivery.event_type.is_request() {
            self.requests.push((delivery.id.clone(), may_be_taken));
        }
        self.count += count;
        self.now += u64::from(absorbed.is_none());
        self.span = Some(match self.span {
            Some((first, last)) => (first.min(from), last.max(to)),
            None => (from, to),
        });
    }
}
