//! What must hold, checked from outside: the engine's word is never taken for it.
//!
//! The edge lane is judged by what was committed and what reached the Control Plane; the level lane
//! by what each Alertmanager instance heard; both against the moods of the host and what the
//! targets last said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::alerts::{Alert, AlertState, Post, Tally};
use plimsoll::base::{Change, DeliveryId, Labels, Now, Table};
use plimsoll::engine::Scraped;
use plimsoll::outbox::{Attempt, Data, Delivery, Event, Status};
use serde::Deserialize;

use super::host::{Mood, Series, TARGETS, instance};
use super::level::Level;
use super::plan::Plan;
use super::promise::{Promise, Red};

/// A mood that lasts is seen within two rounds, slow scrapes included.
pub const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// The threshold of the rules.
const HOT: f64 = 5.0;

/// One event of the edge lane.
pub struct Edge {
    /// What it says.
    pub data: Data,
    /// When (monotonic) it was decided.
    pub decided: Duration,
    key: String,
    body: String,
}

/// What the engine was last told by a target since the process started: values by labels.
type Said = Result<BTreeMap<Labels, f64>, ()>;

#[derive(Default)]
struct Target {
    epoch: u64,
    series: BTreeMap<u32, Labels>,
    said: Option<Said>,
    /// Whether it has answered well since the process started, so that what it feeds is known.
    is_known: bool,
}

#[derive(Deserialize)]
struct Row {
    alert: Alert,
}

/// Everything seen so far.
pub struct Checker {
    /// Decided and not lost, committed or not.
    decided: BTreeMap<DeliveryId, Edge>,
    /// Ids by the order of their commits.
    committed: Vec<DeliveryId>,
    is_committed: BTreeSet<DeliveryId>,
    /// Ids by the order in which the Control Plane first got them.
    arrived: Vec<DeliveryId>,
    has_arrived: BTreeSet<DeliveryId>,
    /// The rows as the engine has them: committed, or on their way.
    book: BTreeMap<(Table, String), Vec<u8>>,
    targets: Vec<Target>,
    level: Level,
    red: Red,
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new(plan: &Plan, red: &Red) -> Checker {
        Checker {
            decided: BTreeMap::new(),
            committed: Vec::new(),
            is_committed: BTreeSet::new(),
            arrived: Vec::new(),
            has_arrived: BTreeSet::new(),
            book: BTreeMap::new(),
            targets: (0..TARGETS).map(|_| Target::default()).collect(),
            level: Level::new(plan, red),
            red: red.clone(),
        }
    }

    /// A process has started with these rows.
    pub fn started(&mut self, durable: &BTreeMap<(Table, String), Vec<u8>>) {
        self.book.clone_from(durable);
        self.targets = (0..TARGETS).map(|_| Target::default()).collect();
    }

    /// The process has died; these changes were never committed.
    pub fn crashed(&mut self, lost: impl Iterator<Item = Change>) {
        for change in lost {
            match change {
                Change { table: Table::Alerts, key, .. } => {
                    let hex = key.rsplit('\u{1f}').next().expect("a key ends in a fingerprint");
                    let key = u64::from_str_radix(hex, 16).expect("which is a number");
                    self.level.lost(key);
                }
                Change { table: Table::Outbox, value: Some(row), .. } => {
                    let id = delivery(&row).id;
                    if !self.is_committed.contains(&id) {
                        self.decided.remove(&id);
                    }
                }
                _ => {}
            }
        }
    }

    /// The engine is told how a scrape ended.
    pub fn scraped(&mut self, scraped: &Scraped) {
        let target = &mut self.targets[scraped.target.0 as usize - 1];
        let Ok(batch) = &scraped.result else {
            target.said = Some(Err(()));
            return;
        };
        if target.epoch != batch.epoch {
            target.epoch = batch.epoch;
            target.series.clear();
        }
        target.series.extend(batch.new.iter().cloned());
        let value = |point: &plimsoll::exposition::Point| {
            let labels = target.series.get(&point.id)?;
            ["v", "w"].contains(&labels.metric_name()).then(|| (labels.clone(), point.value))
        };
        target.is_known = true;
        target.said = Some(Ok(batch.points.iter().filter_map(value).collect()));
    }

    /// The engine wants these changes durable.
    pub fn decided(&mut self, now: Now, changes: &[Change]) {
        for change in changes {
            if let (Table::Outbox, Some(row)) = (change.table, &change.value) {
                self.decide(now, delivery(row));
            }
            let at = (change.table, change.key.clone());
            match &change.value {
                Some(row) => drop(self.book.insert(at, row.clone())),
                None => drop(self.book.remove(&at)),
            }
        }
    }

    fn decide(&mut self, now: Now, delivery: Delivery) {
        let body = delivery.body.to_string();
        if let Some(known) = self.decided.get(&delivery.id) {
            let what = || format!("{}: one id, two bodies", delivery.id);
            self.red.must(Promise::OneBody, known.body == body, what);
            return;
        }
        let event: Event = serde_json::from_str(&body).expect("a body is an event");
        self.is_true(now, &event.data);
        let decided = now.monotonic;
        let edge = Edge { data: event.data, decided, key: delivery.key, body };
        self.decided.insert(delivery.id, edge);
    }

    /// Whether the targets said what the edge says.
    fn is_true(&self, now: Now, data: &Data) {
        let label = |name: &str| data.labels.get(name).map(String::as_str);
        let named = label("instance");
        let fed_by = (0..TARGETS).filter(|t| named.is_none_or(|named| named == instance(*t)));
        let fed_by: Vec<&Target> = fed_by.map(|target| &self.targets[target]).collect();
        let what = || format!("{now:?}: {:?} of {:?}", data.status, data.labels);
        let hottest = || {
            let said = fed_by.iter().filter_map(|target| target.said.as_ref()?.as_ref().ok());
            let same =
                |series: &Labels, name| label(name).is_none_or(|v| series.get(name) == Some(v));
            said.flatten()
                .filter(|(series, _)| same(series, "name") && same(series, "tenant"))
                .map(|(_, value)| *value)
                .reduce(f64::max)
        };
        let by_value = ["Hot", "HotLong", "TenantHot"].contains(&label("alertname").unwrap_or(""));
        match data.status {
            Some(Status::Resolved) => {
                // A target that has failed ever since the start may feed anything or nothing: it
                // is waited for once, unless the alert names it.
                let answered = fed_by.iter().all(|target| match target.said {
                    Some(Ok(_)) => true,
                    Some(Err(())) => !target.is_known && named.is_none(),
                    None => false,
                });
                let blind = || format!("{}, though a target that feeds it is down", what());
                self.red.must(Promise::EndSeen, answered, blind);
                let is_cool = hottest().is_none_or(|value| value < HOT);
                let hot = || format!("{}, though it is hot", what());
                self.red.must(Promise::EndTrue, !by_value || is_cool, hot);
            }
            // A series the target does not show may live on in the window for a while after a start
            // from a checkpoint; one it shows as cool may not.
            Some(Status::Firing) if label("alertname") == Some("Hot") => {
                let is_hot = hottest().is_none_or(|value| value >= HOT);
                self.red.must(Promise::StartTrue, is_hot, || format!("{}: it is not", what()));
            }
            _ => {}
        }
    }

    /// The journal has these changes.
    pub fn committed(&mut self, changes: &[Change]) {
        for change in changes {
            let (Table::Outbox, Some(row)) = (change.table, &change.value) else { continue };
            let id = delivery(row).id;
            if self.is_committed.insert(id.clone()) {
                self.committed.push(id);
            }
        }
    }

    /// A webhook leaves the house.
    pub fn sent(&self, attempt: &Attempt) {
        let id = &attempt.id;
        let is_durable = self.is_committed.contains(id);
        self.red
            .must(Promise::CommitFirst, is_durable, || format!("{id} leaves before its commit"));
        let is_same = self.decided.get(id).is_some_and(|edge| *edge.body == *attempt.body);
        self.red.must(Promise::SentAsDecided, is_same, || format!("{id}: another body"));
    }

    /// A webhook reaches the Control Plane.
    pub fn arrived(&mut self, attempt: &Attempt) {
        if self.has_arrived.insert(attempt.id.clone()) {
            self.arrived.push(attempt.id.clone());
        }
    }

    /// A post reaches an Alertmanager instance.
    pub fn heard(&mut self, now: Now, post: &Post, is_known: bool) {
        self.level.heard(now, post, is_known);
    }

    /// A series has had its mood for [`SEEN_WITHIN`]: the engine must have seen it by now, unless
    /// something was in the way.
    pub fn look(&self, series: &Series, now: Duration, plan: &Plan) {
        let from = now.saturating_sub(SEEN_WITHIN + Duration::from_secs(10));
        let in_the_way = plan.dead.touch(from, now)
            || plan.targets[series.target].touch(from, now)
            || plan.seldom.touch(from, now)
            || plan.steps.iter().any(|(at, _)| from <= *at && *at <= now);
        if in_the_way {
            return;
        }
        let fires = self.alerts().any(|alert| {
            alert.name() == "Hot"
                && alert.labels.get("name") == Some(&series.name)
                && alert.state == AlertState::Firing
        });
        let name = &series.name;
        let what = || format!("{now:?}: {name} is {:?}", series.mood);
        self.red.must(Promise::Noticed, fires == (series.mood == Mood::Hot), what);
    }

    fn alerts(&self) -> impl Iterator<Item = Alert> {
        let rows = self.book.iter().filter(|((table, _), _)| *table == Table::Alerts);
        rows.map(|(_, row)| serde_json::from_slice::<Row>(row).expect("a row is an alert").alert)
    }

    /// What an Alertmanager instance has tried and delivered until now.
    pub fn tally(&mut self, now: Now, instance: usize) -> Tally {
        self.level.tally(now, instance)
    }

    /// Judges the whole run; returns how many edges arrived and how many incidents were heard late.
    pub fn finish(&mut self, now: Now, moods: &[(String, Mood)], plan: &Plan) -> (usize, usize) {
        for instance in 0..plan.alertmanagers.len() {
            self.tally(now, instance);
        }
        for id in &self.committed {
            let edge = &self.decided[id];
            let what = || format!("{id} never arrived: {}", edge.body);
            self.red.must(Promise::Arrives, self.has_arrived.contains(id), what);
        }
        self.in_order();
        let told = self.in_turn();
        for (name, mood) in moods {
            let status = told.iter().find(|(labels, _)| is_hot_of(labels, name));
            let fires = status.is_some_and(|(_, status)| *status == Status::Firing);
            let what = || format!("{name}: at the end the Control Plane is wrong");
            self.red.must(Promise::BelievesTruth, fires == (*mood == Mood::Hot), what);
        }
        let edges = self.committed.iter().map(|id| &self.decided[id]);
        let late = self.level.finish(edges, now, moods, plan);
        (self.arrived.len(), late)
    }

    /// Per tenant, first arrivals come in the order of the commits.
    fn in_order(&self) {
        let place: BTreeMap<&DeliveryId, usize> =
            self.committed.iter().enumerate().map(|(place, id)| (id, place)).collect();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for id in &self.arrived {
            let (key, place) = (self.decided[id].key.as_str(), place[id]);
            let before = last.insert(key, place);
            let is_next = before.is_none_or(|before| before < place);
            self.red.must(Promise::InOrder, is_next, || format!("{id} of `{key}` out of order"));
        }
    }

    /// Per alert, what arrived makes sense in its order; returns the last status of each.
    fn in_turn(&self) -> BTreeMap<&BTreeMap<String, String>, Status> {
        let mut told = BTreeMap::new();
        let mut revisions: BTreeMap<&str, u64> = BTreeMap::new();
        for id in &self.arrived {
            let data = &self.decided[id].data;
            let Some(status) = data.status else { continue };
            let fingerprint = data.fingerprint.as_deref().expect("an alert has a fingerprint");
            let revision = data.revision.expect("and a revision");
            let before = revisions.insert(fingerprint, revision);
            let what = || format!("{id}: revision {revision} after {before:?}");
            self.red.must(Promise::Revised, before < Some(revision), what);
            let before = told.insert(&data.labels, status);
            let makes_sense = match status {
                Status::Firing => before != Some(Status::Firing),
                Status::Unknown => before == Some(Status::Firing),
                Status::Resolved => matches!(before, Some(Status::Firing | Status::Unknown)),
            };
            let what = || format!("{id}: {status:?} after {before:?}: {:?}", data.labels);
            self.red.must(Promise::InTurn, makes_sense, what);
        }
        told
    }
}

fn delivery(row: &[u8]) -> Delivery {
    serde_json::from_slice(row).expect("a row of the outbox is a delivery")
}

fn is_hot_of(labels: &BTreeMap<String, String>, name: &str) -> bool {
    labels.get("alertname").is_some_and(|alert| alert == "Hot")
        && labels.get("name").is_some_and(|own| own == name)
}
