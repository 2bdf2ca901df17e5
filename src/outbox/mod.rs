//! The edge lane: every event that must reach the Control Plane, until it has.
//!
//! One decision is one [`Delivery`] with one id and one frozen body. It may be tried only after the
//! journal has proved that its row is durable ([`Outbox::committed`]); it is tried in order within
//! its key (the tenant), one at a time per key and a few at a time in all; it stays until the
//! receiver has it. So the receiver sees every event at least once, in order, and drops repeats by
//! id.
//!
//! The outbox decides and never sends: the shell starts its [`Attempt`]s and brings back a
//! [`Reply`] for each. Timers run on the monotonic clock, so a step of the wall clock neither hurries
//! a retry nor expires a request. A row is written when a delivery comes, goes, or is refused; a
//! failed attempt alone writes nothing, so an outage of the sink costs the disk nothing.

mod delivery;
mod event;
mod expiry;
mod handover;
mod id;
mod listed;
mod operator;
mod overflow;
mod retry;
mod statement;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::retry::{LONGEST, REFUSALS_MAX};
use crate::base::{Batch, Change, DeliveryId, HashMap, Now, Receipt, Table};

pub use delivery::{Attempt, Delivery, Draft, Fact, Outcome, Reply, Stats, Totals};
pub use event::{
    Action, ActionKind, ActionMode, BODY_BYTES_MAX, CONTRACT_VERSION, Container, Data, Event,
    EventType, Evidence, Gap, GateResult, Heartbeat, Incident, LastAction, Offender, Status,
    Verification, WireTime, text_map,
};
pub use expiry::{Waiting, withdrawal_id};
pub use id::{checksum, dedup_key, delivery_id, trace_id};
pub use listed::{Listed, State};
pub use operator::OperatorError;
pub use retry::LEASE;
pub use statement::{Answer, Refusal, Statement};

/// What can be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxConfig {
    /// Bytes of bodies that may wait before the outbox gives some up; at least
    /// [`OutboxConfig::MAX_BYTES_FLOOR`] is used.
    pub max_bytes: usize,
    /// Attempts at once, over all keys.
    pub max_in_flight: usize,
    /// The Docker host, named in `sidecar.gap`.
    pub host: String,
    /// How often a sign of life is due; `None` for never.
    pub heartbeat: Option<Duration>,
    /// Only restarts that are asked for in earnest are taken in: at the end stands the local
    /// executor, to which nothing else is news.
    pub restarts_only: bool,
}

impl OutboxConfig {
    /// Room for what may be in flight and a little more; below it an overflow could not be cured.
    pub const MAX_BYTES_FLOOR: usize = 256 * 1024;
}

impl Default for OutboxConfig {
    fn default() -> OutboxConfig {
        // 8 MiB hold some 8000 events: days of a bad host. Eight at once drain them in minutes and
        // are no burden to the receiver.
        OutboxConfig {
            max_bytes: 8 * 1024 * 1024,
            max_in_flight: 8,
            host: String::new(),
            heartbeat: None,
            restarts_only: false,
        }
    }
}

/// What one call wants done: rows to commit (in the batch that was passed in) and what happened.
#[derive(Clone, PartialEq, Debug, Default)]
#[must_use]
pub struct Turn {
    /// Rows for the journal, in order.
    pub changes: Vec<Change>,
    /// Attempts to start now; what they send is durable already.
    pub attempts: Vec<Attempt>,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// Everything that waits for the Control Plane.
#[derive(Debug)]
pub struct Outbox {
    config: OutboxConfig,
    /// By sequence: the order of arrival and of the journal's rows.
    waiting: BTreeMap<u64, Entry>,
    /// By key and sequence: the first of each key is the only one that may be in flight.
    queues: BTreeMap<String, BTreeSet<u64>>,
    by_id: HashMap<DeliveryId, u64>,
    in_flight: BTreeSet<u64>,
    /// By monotonic time: requests that will be withdrawn.
    expiring: BTreeSet<(Duration, u64)>,
    /// Requests that are over, by `dedup_key`, while the news of that waits.
    untold: BTreeSet<String>,
    dead: BTreeMap<u64, Delivery>,
    bytes: usize,
    durable: Batch,
    last_sequence: u64,
    /// Nothing is started before this time: `Retry-After`, or the next probe of a paused sink.
    quiet_until: Duration,
    paused: Option<String>,
    totals: Totals,
    /// Something may wait that was for another than the one it would be sent to.
    is_handed_over: bool,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    /// The batch that holds its row.
    batch: Batch,
    /// Monotonic time of the next try.
    due: Duration,
    /// Monotonic time of its withdrawal.
    expires: Option<Duration>,
    /// Monotonic time at which an attempt in flight is given up for lost.
    lease: Option<Duration>,
    /// An attempt was never answered: the receiver may have it.
    may_be_taken: bool,
    /// The request, by `dedup_key`, that it tells to be over.
    ends: Option<String>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(config: OutboxConfig) -> Outbox {
        Outbox {
            config,
            waiting: BTreeMap::new(),
            queues: BTreeMap::new(),
            by_id: HashMap::default(),
            in_flight: BTreeSet::new(),
            expiring: BTreeSet::new(),
            untold: BTreeSet::new(),
            dead: BTreeMap::new(),
            bytes: 0,
            durable: Batch(0),
            last_sequence: 0,
            quiet_until: Duration::ZERO,
            paused: None,
            totals: Totals::default(),
            is_handed_over: true,
        }
    }

    /// The outbox as its rows (tables [`Table::Outbox`] and [`Table::Dead`]; others are skipped)
    /// tell it. Everything is due at once: what was in flight may have arrived, so it goes out again
    /// under its old id. Rows that cannot be read are reported and stay where they are.
    pub fn recover(
        config: OutboxConfig,
        rows: impl IntoIterator<Item = Change>,
        now: Now,
    ) -> (Outbox, Vec<String>) {
        let mut outbox = Outbox::new(config);
        let mut problems = Vec::new();
        for Change { table, key, value } in rows {
            let (Table::Outbox | Table::Dead, Some(value)) = (table, value) else { continue };
            match serde_json::from_slice::<Delivery>(&value) {
                Ok(delivery) if table == Table::Dead => {
                    outbox.last_sequence = outbox.last_sequence.max(delivery.sequence);
                    outbox.dead.insert(delivery.sequence, delivery);
                }
                Ok(delivery) => {
                    let sequence = delivery.sequence;
                    outbox.insert(delivery, now, Batch(0));
                    outbox.entry(sequence).may_be_taken = true;
                }
                Err(error) => {
                    // Its key stays taken, or a new delivery would overwrite the row.
                    let taken = key.parse().unwrap_or(0);
                    outbox.last_sequence = outbox.last_sequence.max(taken);
                    problems.push(format!("row {key} of table {}: {error}", table.name()));
                }
            }
        }
        (outbox, problems)
    }

    /// Takes an event in, as part of `batch`. An id that waits already is not taken twice. Beyond
    /// the byte cap it gives up deliveries and says so in a `sidecar.gap`.
    pub fn push(&mut self, draft: Draft, now: Now, batch: Batch) -> Turn {
        let mut turn = Turn::default();
        let is_news = self.config.restarts_only && !draft.event.asks_for_restart();
        if is_news || self.by_id.contains_key(&draft.id) {
            return turn;
        }
        self.totals.pushed += 1;
        let mut delivery = Delivery::new(draft, self.next_sequence(now));
        delivery.for_executor = self.config.restarts_only;
        turn.changes.push(delivery.put(Table::Outbox));
        self.insert(delivery, now, batch);
        self.relieve(now, batch, &mut turn);
        turn
    }

    /// Every batch up to the receipt's is durable: what it holds may be tried.
    pub fn committed(&mut self, receipt: Receipt) {
        self.durable = self.durable.max(receipt.upto());
    }

    /// Everything due at `now`: withdraws expired requests, gives up lost attempts, starts new ones. What stood
    /// behind one that goes without a successor starts the next time: it is to be looked at again before it
    /// leaves. Call it in every round, after [`Outbox::settle`] and [`Outbox::committed`].
    pub fn due(&mut self, now: Now, batch: Batch) -> Turn {
        let mut turn = Turn::default();
        self.give_up_lost(now, &mut turn);
        let waited = self.waiting.len();
        self.withdraw_expired(now, batch, &mut turn);
        self.hand_over(now, batch, &mut turn);
        if self.waiting.len() >= waited {
            self.start_ready(now, &mut turn);
        }
        turn
    }

    /// Takes the reply to an attempt. A reply to a try that is no longer in flight counts only if
    /// it says that the receiver has the delivery.
    pub fn settle(&mut self, reply: Reply, now: Now) -> Turn {
        let mut turn = Turn::default();
        let Some(&sequence) = self.by_id.get(&reply.id) else { return turn };
        let entry = &self.waiting[&sequence];
        let current = entry.lease.is_some() && entry.delivery.attempts == reply.number;
        if !current && !matches!(reply.outcome, Outcome::Accepted(_)) {
            return turn;
        }
        self.land(sequence);
        self.totals.failures += u64::from(!matches!(reply.outcome, Outcome::Accepted(_)));
        match reply.outcome {
            Outcome::Accepted(answer) => {
                self.resume(&mut turn);
                self.totals.delivered += 1;
                let delivery = Box::new(self.remove(sequence));
                turn.changes.push(delivery.removal(Table::Outbox));
                turn.facts.push(Fact::Delivered { delivery, answer });
            }
            Outcome::RetryLater { after, why } => {
                self.be_quiet(after, now);
                self.postpone(sequence, why, now, &mut turn);
            }
            Outcome::Unanswered { after, why } => {
                self.entry(sequence).may_be_taken = true;
                self.be_quiet(after, now);
                self.postpone(sequence, why, now, &mut turn);
            }
            Outcome::Refused { why } => {
                self.resume(&mut turn);
                self.refuse(sequence, why, now, &mut turn);
            }
            Outcome::Misconfigured { why } => {
                self.pause(&why, now, &mut turn);
                self.postpone(sequence, why, now, &mut turn);
            }
        }
        turn
    }

    /// Monotonic time of the next thing to do, if any is known; later than the last [`Outbox::due`].
    /// What waits for a commit or a reply is woken by that.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let leases = self.in_flight.iter().filter_map(|sequence| self.waiting[sequence].lease);
        let expiry = self
            .expiring
            .iter()
            .find(|(_, sequence)| !self.in_flight.contains(sequence))
            .map(|(at, _)| *at);
        let tries = self
            .heads()
            .filter(|_| self.has_room())
            .map(|(_, entry)| entry.due.max(self.quiet_until));
        leases.chain(expiry).chain(tries).min()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this delivery waits or is on its way.
    pub fn waits(&self, id: &DeliveryId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Whether a delivery of this type waits.
    pub fn holds(&self, event_type: EventType) -> bool {
        self.waiting.values().any(|entry| entry.delivery.event_type == event_type)
    }

    /// Whether the receiver has yet to hear that the request under this key is over.
    pub fn has_yet_to_tell(&self, dedup_key: &str) -> bool {
        self.untold.contains(dedup_key)
    }

    /// Figures for `/metrics`.
    pub fn stats(&self, now: Now) -> Stats {
        let oldest = self.waiting.values().map(|entry| entry.delivery.decided_at).min();
        Stats {
            waiting: self.waiting.len(),
            waiting_bytes: self.bytes,
            in_flight: self.in_flight.len(),
            oldest_age: oldest.map(|at| now.wall.since(at)),
            dead: self.dead.len(),
            paused: self.paused.clone(),
            totals: self.totals,
        }
    }

    /// The first of each key, if it is durable and not in flight.
    fn heads(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.queues
            .values()
            .filter_map(|queue| queue.first())
            .map(|sequence| (*sequence, &self.waiting[sequence]))
            .filter(|(_, entry)| entry.lease.is_none() && entry.batch <= self.durable)
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.most_in_flight()
    }

    /// A paused sink gets one probe at a time.
    fn most_in_flight(&self) -> usize {
        if self.paused.is_some() { 1 } else { self.config.max_in_flight.max(1) }
    }

    /// What has been under way for longer than an attempt can take.
    fn lost(&self, now: Now) -> impl Iterator<Item = u64> {
        let is_lost = move |sequence: &u64| {
            self.waiting[sequence].lease.is_some_and(|lease| lease <= now.monotonic)
        };
        self.in_flight.iter().copied().filter(is_lost)
    }

    fn start_ready(&mut self, now: Now, turn: &mut Turn) {
        if now.monotonic < self.quiet_until {
            return;
        }
        let mut ready: Vec<(Duration, u64)> = self
            .heads()
            .filter(|(_, entry)| entry.due <= now.monotonic)
            .map(|(sequence, entry)| (entry.due, sequence))
            .collect();
        // Who has waited longest goes first, so no tenant starves another.
        ready.sort_unstable();
        for (_, sequence) in ready {
            if !self.has_room() {
                break;
            }
            self.in_flight.insert(sequence);
            self.totals.attempts += 1;
            let entry = self.entry(sequence);
            entry.lease = Some(now.monotonic + LEASE);
            entry.delivery.attempts = entry.delivery.attempts.saturating_add(1);
            let Delivery { id, body, event_type, attempts, .. } = &entry.delivery;
            turn.attempts.push(Attempt {
                id: id.clone(),
                body: body.clone(),
                event_type: *event_type,
                number: *attempts,
            });
        }
    }

    fn give_up_lost(&mut self, now: Now, turn: &mut Turn) {
        for sequence in self.lost(now).collect::<Vec<_>>() {
            self.land(sequence);
            self.entry(sequence).may_be_taken = true;
            self.totals.failures += 1;
            self.postpone(sequence, "the attempt was never answered".to_owned(), now, turn);
        }
    }

    fn be_quiet(&mut self, asked: Option<Duration>, now: Now) {
        // A paused sink is probed, not hammered: the next probe is another delivery's.
        let probe = if self.paused.is_some() { LONGEST } else { Duration::ZERO };
        let quiet = asked.map_or(Duration::ZERO, retry::quiet).max(probe);
        self.quiet_until = self.quiet_until.max(now.monotonic + quiet);
    }

    fn postpone(&mut self, sequence: u64, why: String, now: Now, turn: &mut Turn) {
        let quiet = self.quiet_until.saturating_sub(now.monotonic);
        let entry = self.entry(sequence);
        let Delivery { id, attempts, last_error, .. } = &mut entry.delivery;
        let pause = retry::pause(id, *attempts);
        *last_error = Some(why.clone());
        let delivery = Box::new(entry.delivery.clone());
        let fact = Fact::Retrying { delivery, after: pause.max(quiet), why };
        entry.due = now.monotonic + pause;
        turn.facts.push(fact);
    }

    /// Counts a refusal and writes it down, because it leads to the dead letters.
    fn refuse(&mut self, sequence: u64, why: String, now: Now, turn: &mut Turn) {
        let entry = self.entry(sequence);
        entry.delivery.refusals += 1;
        if entry.delivery.refusals < REFUSALS_MAX {
            self.postpone(sequence, why, now, turn);
            turn.changes.push(self.waiting[&sequence].delivery.put(Table::Outbox));
            return;
        }
        entry.delivery.last_error = Some(why);
        let may_be_taken = entry.may_be_taken;
        self.totals.dead += 1;
        let delivery = Box::new(self.remove(sequence));
        turn.changes.push(delivery.removal(Table::Outbox));
        self.bury((*delivery).clone(), turn);
        turn.facts.push(Fact::DeadLettered { delivery, may_be_taken });
    }

    fn pause(&mut self, why: &str, now: Now, turn: &mut Turn) {
        self.quiet_until = self.quiet_until.max(now.monotonic + LONGEST);
        if self.paused.as_deref() != Some(why) {
            self.paused = Some(why.to_owned());
            turn.facts.push(Fact::Paused { why: why.to_owned() });
        }
    }

    fn resume(&mut self, turn: &mut Turn) {
        if self.paused.take().is_some() {
            self.quiet_until = Duration::ZERO;
            turn.facts.push(Fact::Resumed);
        }
    }

    fn land(&mut self, sequence: u64) {
        self.in_flight.remove(&sequence);
        self.entry(sequence).lease = None;
    }

    fn entry(&mut self, sequence: u64) -> &mut Entry {
        self.waiting.get_mut(&sequence).expect("a sequence in any index is also in `waiting`")
    }

    fn insert(&mut self, delivery: Delivery, now: Now, batch: Batch) {
        let sequence = delivery.sequence;
        self.last_sequence = self.last_sequence.max(sequence);
        self.bytes += delivery.body.len();
        self.by_id.insert(delivery.id.clone(), sequence);
        self.queues.entry(delivery.key.clone()).or_default().insert(sequence);
        let expires = delivery.expires_at.map(|at| now.monotonic + at.since(now.wall));
        self.expiring.extend(expires.map(|at| (at, sequence)));
        let ends = delivery.ends();
        self.untold.extend(ends.clone());
        let due = now.monotonic;
        let entry = Entry { delivery, batch, due, expires, lease: None, may_be_taken: false, ends };
        let previous = self.waiting.insert(sequence, entry);
        debug_assert!(previous.is_none(), "a sequence is given out once");
    }

    fn remove(&mut self, sequence: u64) -> Delivery {
        let entry = self.waiting.remove(&sequence).expect("only what waits is removed");
        self.in_flight.remove(&sequence);
        if let Some(at) = entry.expires {
            self.expiring.remove(&(at, sequence));
        }
        if let Some(key) = &entry.ends {
            self.untold.remove(key);
        }
        let delivery = entry.delivery;
        self.bytes -= delivery.body.len();
        self.by_id.remove(&delivery.id);
        let queue = self.queues.get_mut(&delivery.key).expect("what waits stands in a queue");
        queue.remove(&sequence);
        if queue.is_empty() {
            self.queues.remove(&delivery.key);
        }
        delivery
    }

    /// Strictly rising, and shaped like wall milliseconds: it keeps rising over a restart with an
    /// empty outbox without a row of its own.
    fn next_sequence(&mut self, now: Now) -> u64 {
        let wall = u64::try_from(now.wall.as_millis()).unwrap_or(0);
        self.last_sequence = wall.max(self.last_sequence + 1);
        self.last_sequence
    }
}

#[cfg(test)]
mod tests;
