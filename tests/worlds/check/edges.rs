//! The edge lane: nothing lost, nothing twice, everything in its turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::base::{DeliveryId, Now};
use plimsoll::outbox::{Attempt, Delivery, Event, EventType, Status};

use super::{Check, Red};

struct Row {
    /// The place in the order of decisions; what takes another's place has its own.
    place: usize,
    sequence: u64,
    key: String,
    body: Arc<str>,
    committed: bool,
    arrived: bool,
    decided: Duration,
    /// A request whose place another event has taken.
    withdrawn: bool,
}

/// What was decided, what left, what arrived.
#[derive(Default)]
pub struct Edges {
    decided: usize,
    rows: BTreeMap<DeliveryId, Row>,
    by_sequence: BTreeMap<u64, DeliveryId>,
    /// By what is said, under which id it first arrived.
    said: BTreeMap<String, DeliveryId>,
    /// Per tenant, the place of what arrived last.
    last: BTreeMap<String, usize>,
    /// Per alert, what was told last: revision, status, its name and the container's.
    told: BTreeMap<String, (u64, Status, String, String)>,
}

/// What an event says, whatever its id.
fn content(event: &Event) -> Option<String> {
    let data = &event.data;
    let name = event.event_type.name();
    if let Some(action) = &data.action {
        return Some(format!("{name} {}", action.dedup_key));
    }
    if let Some(done) = &data.verification {
        let said = (done.delivery_id.as_deref(), done.result.as_deref());
        return Some(format!("{name} {said:?}"));
    }
    let fingerprint = data.fingerprint.as_ref()?;
    Some(format!("{name} {fingerprint} {}", data.revision?))
}

impl Edges {
    /// A row of the outbox; returns its event, if the row is new.
    pub fn decided(&mut self, now: Now, delivery: &Delivery, red: &mut Red) -> Option<Event> {
        if let Some(known) = self.rows.get(&delivery.id) {
            if known.body != delivery.body {
                red.add(Check::SecondId, || format!("{}: one id, two bodies", delivery.id));
            }
            return None;
        }
        self.decided += 1;
        let mut place = self.decided;
        if let Some(before) = self.by_sequence.insert(delivery.sequence, delivery.id.clone())
            && let Some(row) = self.rows.get_mut(&before)
            && delivery.event_type == EventType::ActionExpired
        {
            row.withdrawn = true;
            place = row.place;
        }
        let row = Row {
            place,
            sequence: delivery.sequence,
            key: delivery.key.clone(),
            body: Arc::clone(&delivery.body),
            committed: false,
            arrived: false,
            decided: now.monotonic,
            withdrawn: false,
        };
        self.rows.insert(delivery.id.clone(), row);
        delivery.event()
    }

    pub fn lost(&mut self, id: &DeliveryId) {
        if self.rows.get(id).is_some_and(|row| !row.committed) {
            let row = self.rows.remove(id).expect("it was found");
            self.by_sequence.remove(&row.sequence);
        }
    }

    pub fn committed(&mut self, id: &DeliveryId) {
        if let Some(row) = self.rows.get_mut(id) {
            row.committed = true;
        }
    }

    pub fn sent(&mut self, now: Now, attempt: &Attempt, red: &mut Red) {
        let Some(row) = self.rows.get(&attempt.id) else { return };
        if !row.committed {
            red.add(Check::BeforeCommit, || {
                format!("{:?}: {} leaves before its commit", now.monotonic, attempt.id)
            });
        }
        if *row.body != *attempt.body {
            red.add(Check::SecondId, || format!("{}: one id, two bodies", attempt.id));
        }
    }

    pub fn arrived(&mut self, now: Now, attempt: &Attempt, red: &mut Red) {
        let event: Event = serde_json::from_str(&attempt.body).expect("a body is an event");
        if let Some(content) = content(&event) {
            let first = self.said.entry(content).or_insert_with(|| attempt.id.clone());
            if *first != attempt.id {
                red.add(Check::SecondId, || {
                    format!(
                        "{:?}: {first} again as {}: {}",
                        now.monotonic, attempt.id, attempt.body
                    )
                });
            }
        }
        let Some(row) = self.rows.get_mut(&attempt.id) else { return };
        if std::mem::replace(&mut row.arrived, true) {
            return;
        }
        let before = self.last.insert(row.key.clone(), row.place);
        if before.is_some_and(|before| before > row.place) {
            red.add(Check::Order, || {
                format!("{:?}: {} of `{}` is out of order", now.monotonic, attempt.id, row.key)
            });
            return;
        }
        self.in_turn(&event, red);
    }

    /// Whether an edge makes sense after the one before it.
    fn in_turn(&mut self, event: &Event, red: &mut Red) {
        let data = &event.data;
        let (Some(status), Some(fingerprint)) = (data.status, &data.fingerprint) else { return };
        let revision = data.revision.unwrap_or(0);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = data.labels.get("name").cloned().unwrap_or_default();
        let news = (revision, status, text(&data.alert), name);
        let before = self.told.insert(fingerprint.clone(), news);
        let was = before.as_ref().map(|before| before.1);
        let makes_sense = match status {
            Status::Firing => was != Some(Status::Firing),
            Status::Unknown => was == Some(Status::Firing),
            Status::Resolved => matches!(was, Some(Status::Firing | Status::Unknown)),
        };
        let rises = before.is_none_or(|before| before.0 < revision);
        if !makes_sense || !rises {
            red.add(Check::EdgeLost, || format!("{status:?} after {was:?}: {:?}", data.labels));
        }
    }

    /// Whether the Control Plane has last heard that it fires.
    pub fn is_told_firing(&self, alert: &str, name: &str) -> bool {
        let is = |told: &&(u64, Status, String, String)| told.2 == alert && told.3 == name;
        self.told.values().find(is).is_some_and(|told| told.1 == Status::Firing)
    }

    /// After the calm everything that was owed has arrived.
    pub fn finish(&self, now: Now, red: &mut Red) {
        let lately = now.monotonic.saturating_sub(Duration::from_secs(300));
        for (id, row) in self.rows.iter().filter(|(_, row)| row.committed && !row.withdrawn) {
            let is_new = row.decided > lately;
            if !row.arrived && !is_new {
                red.add(Check::EdgeLost, || format!("{id} never arrived: {}", row.body));
            }
        }
    }
}
