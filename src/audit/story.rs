//! The story: records gathered into incidents, in the order in which they happened.
//!
//! An incident is one alert and one episode of it: everything that carries its `trace_id`, and what
//! is known only by the delivery it is about. What belongs to no alert (host incidents, starts,
//! configurations, a Control Plane that refuses us) is an incident of the host's own, one for each
//! day. Built from the audit alone, so it reads the same after a restart.
//!
//! Records from before the time that is asked for are not told, and say what the later ones belong to.
//! A story is bounded in incidents and in bytes, however long the audit is: what happened last is kept.

use std::collections::{BTreeMap, VecDeque};

use super::incident::{Incident, Moment, Standing, Story};
use super::record::{Kind, Record, kept};
use crate::base::{HashMap, Timestamp, format_rfc3339};

/// Incidents that are told; those go first to which nothing has happened for longest.
const INCIDENTS_MAX: usize = 1000;
/// Incidents of others, and those that are not known to be anybody's yet.
const OTHERS_MAX: usize = 10_000;
/// Records of one incident that are told: the first, and the newest.
const RECORDS_MAX: usize = 300;
/// Bytes of one incident: a record's words are some hundred, some thousand at worst.
const INCIDENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of all that are told, and of all others: as many as 80,000 records have.
const BYTES_MAX: usize = 16 << 20;
/// Deliveries whose incident is remembered. There are a few for each edge.
const DELIVERIES_MAX: usize = 20_000;
/// What a moment takes beside its words.
const MOMENT_BYTES: usize = size_of::<Moment>() + "1970-01-01T00:00:00.000Z".len();

/// What makes records belong together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    /// One episode of an alert.
    Trace(String),
    /// A tenant's delivery whose alert is not known.
    Delivery(String),
    /// The host's own, one a day, or a quiet month would be one incident.
    Day(String),
}

/// An incident under way.
#[derive(Debug)]
struct Told {
    key: Key,
    /// Where it stands among the others.
    place: u64,
    incident: Incident,
    /// Of its moments.
    bytes: usize,
}

/// Incidents by when something happened to them last.
#[derive(Debug, Default)]
struct Shelf {
    told: BTreeMap<u64, Told>,
    bytes: usize,
}

/// A story under way.
#[derive(Debug, Default)]
pub struct Teller {
    since: Timestamp,
    tenant: Option<String>,
    /// Records so far.
    count: u64,
    /// What is told as it stands.
    shown: Shelf,
    /// What happened before, or to others.
    others: Shelf,
    /// Of what is on the shelves, the number of its newest record.
    by_key: HashMap<Key, u64>,
    /// The episodes that deliveries are about.
    by_delivery: HashMap<String, String>,
    /// These deliveries, the oldest first.
    deliveries: VecDeque<String>,
    left_out: u64,
    broken_lines: u64,
}

impl Teller {
    /// A story of what happened from a time on, to one tenant if one is named.
    pub fn new(since: Timestamp, tenant: Option<String>) -> Teller {
        Teller { since, tenant: tenant.map(kept), ..Teller::default() }
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        self.count += 1;
        let key = self.key(record);
        let known = self.pick(&key).or_else(|| self.pick_unplaced(record));
        let mut told = known.unwrap_or_else(|| Told::new(record, &key, self.count));
        told.learn(record, key);
        if record.at >= self.since {
            told.add(record);
        }
        if self.is_of_another(&told.incident) {
            told.forget();
        }
        self.put(told);
    }

    /// Notes a line that cannot be believed.
    pub fn miss(&mut self) {
        self.broken_lines += 1;
    }

    /// The whole of it.
    pub fn finish(self) -> Story {
        let mut told: Vec<Told> = self.shown.told.into_values().collect();
        told.sort_by_key(|told| told.place);
        Story {
            incidents: told.into_iter().map(|told| told.incident).collect(),
            left_out: self.left_out,
            broken_lines: self.broken_lines,
        }
    }

    /// What a record belongs to.
    fn key(&mut self, record: &Record) -> Key {
        let about = record.delivery_id.as_ref();
        match (&record.trace_id, about.and_then(|id| self.by_delivery.get(id))) {
            (Some(trace), known) => {
                if let Some(id) = about.filter(|_| known.is_none()) {
                    self.note(id.clone(), trace.clone());
                }
                Key::Trace(trace.clone())
            }
            (None, Some(trace)) => Key::Trace(trace.clone()),
            (None, None) => {
                let delivery = about.map(|id| Key::Delivery(id.clone()));
                let is_placed =
                    |key: &Key| record.tenant.is_some() || self.by_key.contains_key(key);
                let day = || Key::Day(format_rfc3339(record.at)[..10].to_owned());
                delivery.filter(is_placed).unwrap_or_else(day)
            }
        }
    }

    fn note(&mut self, delivery: String, trace: String) {
        self.by_delivery.insert(delivery.clone(), trace);
        self.deliveries.push_back(delivery);
        if self.deliveries.len() > DELIVERIES_MAX
            && let Some(oldest) = self.deliveries.pop_front()
        {
            self.by_delivery.remove(&oldest);
        }
    }

    fn pick(&mut self, key: &Key) -> Option<Told> {
        let number = self.by_key.remove(key)?;
        self.shown.pick(number).or_else(|| self.others.pick(number))
    }

    /// What was known by its delivery alone until this record.
    fn pick_unplaced(&mut self, record: &Record) -> Option<Told> {
        let id = record.delivery_id.as_ref().filter(|_| record.trace_id.is_some())?;
        self.pick(&Key::Delivery(id.clone()))
    }

    fn put(&mut self, told: Told) {
        let is_wanted = self.tenant.is_none() || told.incident.tenant == self.tenant;
        let is_shown = is_wanted && !told.incident.moments.is_empty();
        self.by_key.insert(told.key.clone(), self.count);
        let (shelf, most) = match is_shown {
            true => (&mut self.shown, INCIDENTS_MAX),
            false => (&mut self.others, OTHERS_MAX),
        };
        shelf.put(self.count, told);
        while let Some(gone) = shelf.surplus(most) {
            self.by_key.remove(&gone.key);
            self.left_out += u64::from(is_shown);
        }
    }

    fn is_of_another(&self, incident: &Incident) -> bool {
        self.tenant.is_some() && incident.tenant.is_some() && incident.tenant != self.tenant
    }
}

impl Told {
    fn new(record: &Record, key: &Key, place: u64) -> Told {
        let is_hosts = matches!(key, Key::Day(_));
        let incident = Incident {
            trace_id: None,
            alert: None,
            severity: None,
            tenant: None,
            subject: if is_hosts { "this host".to_owned() } else { record.who() },
            started_at: format_rfc3339(record.at),
            ended_at: None,
            standing: Standing::Noted,
            moments: Vec::new(),
            left_out: 0,
        };
        Told { key: key.clone(), place, incident, bytes: 0 }
    }

    /// What a record says of the whole.
    fn learn(&mut self, record: &Record, key: Key) {
        self.key = key;
        let incident = &mut self.incident;
        let fill = |slot: &mut Option<String>, text: &Option<String>| {
            if slot.is_none() {
                slot.clone_from(text);
            }
        };
        // What is the host's stays so, whomever one of its records is about.
        if !matches!(self.key, Key::Day(_)) {
            fill(&mut incident.tenant, &record.tenant);
        }
        if let Key::Trace(trace) = &self.key {
            fill(&mut incident.trace_id, &Some(trace.clone()));
            fill(&mut incident.alert, &record.alert);
            fill(&mut incident.severity, &record.severity);
            if let Some(started_at) = record.started_at {
                incident.started_at = format_rfc3339(started_at);
            }
        } else if incident.moments.is_empty() {
            incident.started_at = format_rfc3339(record.at);
        }
        match record.kind {
            Kind::AlertFiring | Kind::AlertKnown => incident.standing = Standing::Firing,
            Kind::AlertUnknown => incident.standing = Standing::Unknown,
            Kind::AlertResolved => {
                incident.standing = Standing::Resolved;
                incident.ended_at = Some(format_rfc3339(record.at));
            }
            _ => {}
        }
    }

    /// Tells a record. How it began stays.
    fn add(&mut self, record: &Record) {
        let (at, text) = (format_rfc3339(record.at), record.sentence());
        self.bytes += MOMENT_BYTES + text.len();
        let moments = &mut self.incident.moments;
        moments.push(Moment { at, kind: record.kind, text });
        while moments.len() > RECORDS_MAX || self.bytes > INCIDENT_BYTES_MAX && moments.len() > 2 {
            self.bytes -= MOMENT_BYTES + moments.remove(1).text.len();
            self.incident.left_out += 1;
        }
    }

    fn forget(&mut self) {
        (self.incident.moments, self.bytes) = (Vec::new(), 0);
    }
}

impl Shelf {
    fn put(&mut self, number: u64, told: Told) {
        self.bytes += told.bytes;
        self.told.insert(number, told);
    }

    fn pick(&mut self, number: u64) -> Option<Told> {
        let told = self.told.remove(&number)?;
        self.bytes -= told.bytes;
        Some(told)
    }

    /// Takes down what is too much: to what nothing has happened for longest.
    fn surplus(&mut self, most: usize) -> Option<Told> {
        let is_too_much = self.told.len() > most || self.bytes > BYTES_MAX;
        let (_, told) = is_too_much.then(|| self.told.pop_first()).flatten()?;
        self.bytes -= told.bytes;
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: i64, kind: Kind, trace: Option<&str>, delivery: Option<&str>) -> Record {
        let text = |text: &str| text.to_owned();
        Record {
            trace_id: trace.map(text),
            alert: Some("WillOom".to_owned()),
            tenant: trace.map(|trace| format!("tenant-{trace}")),
            delivery_id: delivery.map(text),
            action: Some("restart".to_owned()),
            reason: Some("observe".to_owned()),
            ..Record::new(Timestamp(at * 1000), kind)
        }
    }

    fn story(records: &[Record], tenant: Option<&str>) -> Story {
        let mut teller = Teller::new(Timestamp(5000), tenant.map(str::to_owned));
        records.iter().for_each(|record| teller.take(record));
        teller.finish()
    }

    #[test]
    fn records_are_gathered_by_their_alert_and_by_their_delivery() {
        let records = [
            record(1, Kind::AlertFiring, Some("old"), None),
            record(10, Kind::AlertFiring, Some("a"), None),
            record(11, Kind::AlertFiring, Some("b"), None),
            record(12, Kind::ActionDecided, Some("a"), Some("evt_1")),
            record(13, Kind::DeliveryRetried, None, Some("evt_1")),
            record(14, Kind::ReceiptTaken, None, Some("evt_1")),
            record(15, Kind::ConfigReloaded, None, None),
            record(16, Kind::AlertResolved, Some("a"), None),
            record(17, Kind::SinkPaused, None, None),
            record(86_400, Kind::SinkResumed, None, None),
        ];
        let told = story(&records, None);
        let shape: Vec<(Option<&str>, Standing, usize)> = told
            .incidents
            .iter()
            .map(|i| (i.trace_id.as_deref(), i.standing, i.moments.len()))
            .collect();
        assert_eq!(
            shape,
            [
                (Some("a"), Standing::Resolved, 5),
                (Some("b"), Standing::Firing, 1),
                (None, Standing::Noted, 2),
                (None, Standing::Noted, 1),
            ]
        );
        assert_eq!(told.incidents[0].ended_at.as_deref(), Some("1970-01-01T00:00:16.000Z"));
        let of_b = story(&records, Some("tenant-b"));
        assert_eq!(of_b.incidents.len(), 1);
        assert_eq!(of_b.incidents[0].alert.as_deref(), Some("WillOom"));
    }

    #[test]
    fn what_has_no_trace_is_the_hosts_whomever_it_is_about() {
        let records = [
            record(10, Kind::ChangeFailed, Some("acme-s"), None),
            Record {
                tenant: Some("acme".to_owned()),
                ..record(11, Kind::ChangeFailed, None, None)
            },
            record(12, Kind::ConfigReloaded, None, None),
        ];
        let told = story(&records, None);
        let tenants: Vec<bool> = told.incidents.iter().map(|i| i.tenant.is_some()).collect();
        assert_eq!(tenants, [true, false]);
    }

    #[test]
    fn a_long_night_is_bounded_and_the_newest_incidents_are_kept() {
        let mut records: Vec<Record> = (0..INCIDENTS_MAX as i64 + 10)
            .map(|n| record(10 + n, Kind::AlertFiring, Some(&n.to_string()), None))
            .collect();
        let last = records.last().cloned().expect("some");
        records.extend(std::iter::repeat_n(last, RECORDS_MAX + 4));
        let told = story(&records, None);
        assert_eq!((told.incidents.len(), told.left_out), (INCIDENTS_MAX, 10));
        let last = told.incidents.last().expect("some");
        assert_eq!((last.trace_id.as_deref(), last.left_out), (Some("1009"), 5));
    }

    fn of(tenant: &str, record: Record) -> Record {
        Record { tenant: Some(tenant.to_owned()), ..record }
    }

    /// What each incident is about, and how many moments it has.
    fn shape(story: &Story) -> Vec<(Option<&str>, Option<&str>, usize)> {
        story
            .incidents
            .iter()
            .map(|i| (i.trace_id.as_deref(), i.tenant.as_deref(), i.moments.len()))
            .collect()
    }

    #[test]
    fn what_is_said_of_an_older_decision_stands_with_its_tenant() {
        let decided = of("acme", record(1, Kind::ActionDecided, Some("a"), Some("evt_1")));
        let receipt = of("acme", record(10, Kind::ReceiptTaken, None, Some("evt_1")));
        let retried = record(11, Kind::DeliveryRetried, None, Some("evt_1"));
        let outcome = of("acme", record(12, Kind::ActionOutcome, Some("a"), Some("evt_1")));
        let other = record(13, Kind::AlertFiring, Some("b"), None);
        for tenant in [None, Some("acme")] {
            let told = |records: &[&Record]| {
                let records: Vec<Record> = records.iter().map(|r| (*r).clone()).collect();
                story(&records, tenant)
            };
            let told = (
                told(&[&decided, &receipt, &retried]),
                told(&[&receipt, &retried]),
                told(&[&receipt, &outcome]),
            );
            // The decision may stand in a file that is not read any more, or was removed.
            assert_eq!(shape(&told.0), [(Some("a"), Some("acme"), 2)], "{tenant:?}");
            assert_eq!(shape(&told.1), [(None, Some("acme"), 2)], "{tenant:?}");
            assert_eq!(shape(&told.2), [(Some("a"), Some("acme"), 2)], "{tenant:?}");
            assert_eq!(told.2.incidents[0].alert.as_deref(), Some("WillOom"));
        }
        assert_eq!(shape(&story(&[receipt, other], Some("tenant-b"))).len(), 1);
    }

    #[test]
    fn what_happened_to_others_takes_no_room() {
        let mut records = vec![record(10, Kind::AlertFiring, Some("a"), None)];
        for n in 0..INCIDENTS_MAX as i64 + 10 {
            records.push(record(11 + n, Kind::AlertFiring, Some(&n.to_string()), None));
            // Whose this is, is known by its decision alone.
            records.push(Record {
                tenant: None,
                ..record(11 + n, Kind::AlertFiring, Some(&format!("by-name-{n}")), None)
            });
        }
        records
            .insert(1, Record { tenant: None, ..record(10, Kind::AlertFiring, Some("c"), None) });
        let late = |trace| of("tenant-a", record(5000, Kind::ActionDecided, Some(trace), None));
        records.extend([late("c"), record(5001, Kind::AlertResolved, Some("a"), None)]);
        let told = story(&records, Some("tenant-a"));
        let want = [(Some("a"), Some("tenant-a"), 2), (Some("c"), Some("tenant-a"), 2)];
        assert_eq!((&shape(&told)[..], told.left_out), (&want[..], 0));
    }

    #[test]
    fn a_story_is_bounded_in_bytes_and_begins_as_it_began() {
        let long = |at, trace: &str| Record {
            reason: Some("x".repeat(8000)),
            ..record(at, Kind::AlertResolved, Some(trace), None)
        };
        let mut records = vec![record(10, Kind::AlertFiring, Some("0"), None)];
        records.extend((0..20_000).map(|n| long(11 + n, &(n / 1000).to_string())));
        let told = story(&records, None);
        let bytes = |incident: &Incident| {
            incident.moments.iter().map(|moment| moment.text.len()).sum::<usize>()
        };
        let whole: usize = told.incidents.iter().map(bytes).sum();
        assert!(whole <= BYTES_MAX && whole > BYTES_MAX / 2, "{whole}");
        assert_eq!(told.incidents.len() as u64 + told.left_out, 20);
        let newest = told.incidents.last().expect("some");
        assert_eq!(newest.moments.len() as u64 + newest.left_out, 1000);
        assert_eq!(newest.moments.last().expect("some").at, format_rfc3339(Timestamp(20_010_000)));
        let told = story(&records[..1500], None);
        let first = &told.incidents[0].moments[0];
        assert_eq!(first.kind, Kind::AlertFiring, "how it began");
    }

    #[test]
    fn an_incident_that_goes_on_outlives_those_that_were_later_and_are_over() {
        let mut records = vec![record(10, Kind::AlertFiring, Some("long"), None)];
        for n in 0..2 * INCIDENTS_MAX as i64 {
            records.push(record(11 + n, Kind::AlertFiring, Some(&n.to_string()), None));
            if n % 500 == 0 {
                records.push(record(11 + n, Kind::AlertUnknown, Some("long"), None));
            }
        }
        let told = story(&records, None);
        let first = &told.incidents[0];
        assert_eq!((first.trace_id.as_deref(), first.moments.len()), (Some("long"), 5));
        assert_eq!((told.incidents.len(), told.left_out), (INCIDENTS_MAX, 1001));
    }

    #[test]
    fn a_name_that_records_cut_is_found_whole() {
        let name = "말".repeat(600);
        let record = of(&name, record(10, Kind::AlertFiring, Some("a"), None)).bounded();
        assert_eq!(shape(&story(&[record], Some(&name))).len(), 1);
    }
}
