//! The story: records gathered into incidents, in the order in which they happened.
//!
//! An incident is one alert and one episode of it: everything that carries its `trace_id`, and what
//! is known only by the delivery it is about. What belongs to no alert (host incidents, starts,
//! configurations, a Control Plane that refuses us) is an incident of the host's own, one for each
//! day. Built from the audit alone, so it reads the same after a restart; bounded, the newest win.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::{Kind, Record};
use crate::base::{HashMap, Timestamp, format_rfc3339};

/// Incidents that are kept; the oldest go first.
const INCIDENTS_MAX: usize = 1000;
/// Records of one incident that are kept; what comes later is counted.
const RECORDS_MAX: usize = 300;

/// How an incident stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It goes on.
    Firing,
    /// Nobody can tell.
    Unknown,
    /// It ended.
    Resolved,
    /// Nothing of the alert itself is in the records; or it is no alert.
    Noted,
}

/// One moment of an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Moment {
    /// When, RFC 3339.
    pub at: String,
    /// What, as in the audit.
    pub kind: Kind,
    /// In words.
    pub text: String,
}

/// One alert and one episode of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Incident {
    /// Of the records and of the webhooks; absent for what belongs to no alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Its severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The service, or what else it is about.
    pub subject: String,
    /// When its condition became true, or its first record; RFC 3339.
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// Moments that did not fit.
    pub left_out: u64,
}

/// Incidents in the order of their first record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Story {
    /// The incidents.
    pub incidents: Vec<Incident>,
    /// Older incidents that did not fit.
    pub left_out: u64,
}

/// A story under way.
#[derive(Debug, Default)]
pub struct Teller {
    since: Timestamp,
    tenant: Option<String>,
    /// By their number, which rises.
    incidents: BTreeMap<u64, Incident>,
    next: u64,
    by_key: HashMap<String, u64>,
    by_delivery: HashMap<String, u64>,
    left_out: u64,
}

impl Teller {
    /// A story of what happened from a time on, to one tenant if one is named.
    pub fn new(since: Timestamp, tenant: Option<String>) -> Teller {
        Teller { since, tenant, ..Teller::default() }
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        if record.at < self.since {
            return;
        }
        let number = self.number(record);
        let Some(incident) = self.incidents.get_mut(&number) else { return };
        let fill = |slot: &mut Option<String>, text: &Option<String>| {
            if slot.is_none() {
                slot.clone_from(text);
            }
        };
        // What has no trace is the host's, whomever one of its records is about.
        if incident.trace_id.is_some() {
            fill(&mut incident.tenant, &record.tenant);
            fill(&mut incident.severity, &record.severity);
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
        if incident.moments.len() >= RECORDS_MAX {
            incident.left_out += 1;
            return;
        }
        incident.moments.push(Moment {
            at: format_rfc3339(record.at),
            kind: record.kind,
            text: record.sentence(),
        });
    }

    /// The whole of it.
    pub fn finish(self) -> Story {
        let is_wanted =
            |incident: &Incident| self.tenant.is_none() || incident.tenant == self.tenant;
        let incidents = self.incidents.into_values().filter(is_wanted).collect();
        Story { incidents, left_out: self.left_out }
    }

    /// The incident a record belongs to; a new one if there is none.
    fn number(&mut self, record: &Record) -> u64 {
        let of_delivery = record.delivery_id.as_ref().and_then(|id| self.by_delivery.get(id));
        let key = match (&record.trace_id, of_delivery) {
            (Some(trace), _) => trace.clone(),
            (None, Some(number)) => return *number,
            // One a day, or a quiet month would be one incident.
            (None, None) => format_rfc3339(record.at)[..10].to_owned(),
        };
        let known = self.by_key.get(&key).copied();
        let number = known.unwrap_or_else(|| self.begin(key, record));
        if let (Some(id), Some(_)) = (&record.delivery_id, &record.trace_id) {
            self.by_delivery.insert(id.clone(), number);
        }
        number
    }

    fn begin(&mut self, key: String, record: &Record) -> u64 {
        let number = self.next;
        self.next += 1;
        let is_alert = record.trace_id.is_some();
        let started_at = record.started_at.filter(|_| is_alert).unwrap_or(record.at);
        let subject = if is_alert { record.who() } else { "this host".to_owned() };
        self.incidents.insert(
            number,
            Incident {
                trace_id: record.trace_id.clone(),
                alert: record.alert.clone().filter(|_| is_alert),
                severity: None,
                tenant: None,
                subject,
                started_at: format_rfc3339(started_at),
                ended_at: None,
                standing: Standing::Noted,
                moments: Vec::new(),
                left_out: 0,
            },
        );
        self.by_key.insert(key, number);
        if self.incidents.len() > INCIDENTS_MAX {
            self.incidents.pop_first();
            self.left_out += 1;
            let oldest = self.incidents.first_key_value().map_or(0, |(number, _)| *number);
            self.by_key.retain(|_, number| *number >= oldest);
            self.by_delivery.retain(|_, number| *number >= oldest);
        }
        number
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
}
