//! From a change of an alert to the events of the edge lane.
//!
//! Every alert gives `alert.firing`, `alert.resolved` and `alert.unknown` in every mode; what may be
//! done about it is for policy to decide. An event is made once, at the moment of the change, and
//! frozen; nothing here knows about attempts or the wire.

use crate::alerts::{Alert, Change};
use crate::base::{Timestamp, fingerprint, format_rfc3339};
use crate::outbox::{
    Data, Draft, Event, EventType, Status, WireTime, delivery_id, text_map, trace_id,
};

/// The labels that say whom an alert is about; they become fields of their own.
const TENANT: &str = "tenant";
const PLAN: &str = "plan";
const SERVICE: &str = "service";
const SEVERITY: &str = "severity";
const LAYER: &str = "layer";

/// The alert event of a change, if the change is one that is told.
pub(super) fn alert_event(
    alert: &mut Alert,
    change: Change,
    host: &str,
    wall: Timestamp,
) -> Option<Draft> {
    let (event_type, status) = match change {
        Change::Firing => (EventType::AlertFiring, Status::Firing),
        Change::Resolved => (EventType::AlertResolved, Status::Resolved),
        Change::Unknown => (EventType::AlertUnknown, Status::Unknown),
        // The inputs are back and the condition still holds: the receiver last heard `unknown`.
        Change::Known => (EventType::AlertFiring, Status::Firing),
        Change::Pending | Change::Paused | Change::Forgotten => return None,
    };
    let revision = alert.next_revision(wall);
    let data = Data {
        status: Some(status),
        revision: Some(revision),
        reason: reason(alert),
        ..about(alert, host)
    };
    let fingerprint = data.fingerprint.clone().unwrap_or_default();
    let id = delivery_id(wall, &[&fingerprint, &revision.to_string(), event_type.name()]);
    Some(Draft { id, event: Event::new(event_type, wall, data) })
}

/// What every event about an alert says of it.
pub(super) fn about(alert: &Alert, host: &str) -> Data {
    let label = |name: &str| alert.labels.get(name).map(str::to_owned);
    let fingerprint = format!("{:016x}", fingerprint(&alert.labels));
    Data {
        alert: Some(alert.name().to_owned()),
        starts_at: Some(WireTime(alert.starts_at())),
        ends_at: alert.resolved.as_ref().map(|(at, _)| WireTime(*at)),
        severity: label(SEVERITY),
        layer: label(LAYER),
        host: label("host").or_else(|| (!host.is_empty()).then(|| host.to_owned())),
        tenant_id: label(TENANT),
        plan: label(PLAN),
        service: label(SERVICE),
        labels: text_map(&alert.labels),
        annotations: text_map(&alert.annotations),
        value: alert.value.is_finite().then_some(alert.value),
        trace_id: Some(trace_id(&fingerprint, alert.starts_at())),
        fingerprint: Some(fingerprint),
        ..Data::default()
    }
}

/// Why it ended or is unknown, in words.
fn reason(alert: &Alert) -> Option<String> {
    if let Some((since, doubt)) = &alert.unknown {
        return Some(format!("unknown since {}: {doubt}", format_rfc3339(*since)));
    }
    let (_, reason) = alert.resolved.as_ref()?;
    Some(reason.words().to_owned())
}
