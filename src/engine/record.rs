//! What of the facts belongs into the audit, and in which words.
//!
//! A record is made from the same fact as the log line and the counter, so the three cannot disagree.
//! Signs of life (heartbeats) and measuring are no part of it, and of the failed attempts at one
//! delivery only the 1st, 2nd, 4th, 8th and so on are: an outage must not wash the night away.

use super::Engine;
use super::fact::{Fact, Judged};
use super::gates::told_anew;
use crate::audit::{Kind, Record, State};
use crate::base::{Labels, Timestamp, fingerprint};
use crate::outbox::{self, Delivery, EventType, trace_id};
use crate::policy::{GateKey, Request};

/// Labels that say what an alert is about, the best first.
const SUBJECTS: [&str; 8] =
    ["service", "name", "container", "vhost", "alertmanager", "sink", "instance", "host"];

impl Engine {
    /// What the audit's writer says.
    pub(super) fn take_audit(&mut self, state: State) {
        let before = std::mem::replace(&mut self.audit, state);
        match (&before.failing, &self.audit.failing) {
            (failing, Some(error)) => {
                let State { waiting, given_up, .. } = self.audit;
                let so_far = match given_up {
                    0 => format!("{waiting} records wait"),
                    _ => format!("{waiting} records wait, {given_up} were given up"),
                };
                // That records are given up is news, too.
                let first = failing.is_none() || before.given_up == 0 && given_up > 0;
                let error = format!("{error} ({so_far})");
                self.facts.push(Fact::AuditFailing { error, first });
            }
            (Some(_), None) => {
                let lost = self.audit.lost - before.lost.min(self.audit.lost);
                self.facts.push(Fact::AuditRecovered { lost });
            }
            (None, None) => {}
        }
        self.view_is_old = true;
    }
}

/// The record of a fact, if it is one for the audit.
pub(super) fn of(fact: &Fact, at: Timestamp) -> Option<Record> {
    let record = match fact {
        Fact::AlertFiring { labels, annotations, started_at, .. } => Record {
            summary: annotations.get("summary").filter(|text| !text.is_empty()).map(str::to_owned),
            ..about((at, Kind::AlertFiring), labels, *started_at)
        },
        Fact::AlertResolved { labels, started_at, reason } => Record {
            reason: Some(reason.words().to_owned()),
            ..about((at, Kind::AlertResolved), labels, *started_at)
        },
        Fact::AlertUnknown { labels, started_at, doubt } => Record {
            reason: Some(doubt.to_string()),
            ..about((at, Kind::AlertUnknown), labels, *started_at)
        },
        Fact::AlertKnown { labels, started_at } => {
            about((at, Kind::AlertKnown), labels, *started_at)
        }
        Fact::Decided { labels, action, dry_run, subject, why, verification, judged } => Record {
            action: Some((*action).to_owned()),
            reason: why.clone(),
            mode: Some(if *dry_run { "dry_run" } else { "request" }.to_owned()),
            verification: verification.as_ref().and_then(|it| serde_json::to_value(it).ok()),
            subject: Some(subject.clone()).filter(|subject| !subject.starts_with("alert:")),
            ..weighed((at, Kind::ActionDecided), labels, judged)
        },
        Fact::Held { labels, action, reason, lifted_by, judged } => Record {
            action: Some((*action).to_owned()),
            reason: Some(reason.name().to_owned()),
            lifted_by: Some(lifted_by.clone()),
            ..weighed((at, Kind::ActionHeld), labels, judged)
        },
        Fact::Outcome { request, outcome, why } => Record {
            outcome: Some((*outcome).to_owned()),
            reason: Some(why.clone()),
            ..requested((at, Kind::ActionOutcome), request)
        },
        Fact::ReceiptTaken { .. } | Fact::ReceiptRefused { .. } | Fact::ReceiptsLeftOut { .. } => {
            return of_receipt(fact, at);
        }
        Fact::GateFails { .. } | Fact::GatePasses { .. } | Fact::ChangeFailed { .. } => {
            return of_gates(fact, at);
        }
        Fact::HostIncident { started, reason, tenants } => Record {
            reason: Some(reason.clone()),
            tenants: tenants.clone(),
            ..Record::new(
                at,
                if *started { Kind::HostIncidentStarted } else { Kind::HostIncidentEnded },
            )
        },
        Fact::Outbox(fact) => return of_outbox(fact, at),
        Fact::Recovered { alerts, down_for, .. } => Record {
            count: Some(*alerts as u64),
            reason: Some(format!("nobody watched for {} s", down_for.as_secs())),
            ..Record::new(at, Kind::SidecarStarted)
        },
        Fact::Reloaded { rules, .. } => {
            Record { count: Some(*rules as u64), ..Record::new(at, Kind::ConfigReloaded) }
        }
        Fact::ReloadFailed { error } => {
            Record { reason: Some(error.clone()), ..Record::new(at, Kind::ConfigRefused) }
        }
        Fact::DocumentTaken { .. }
        | Fact::DocumentRefused { .. }
        | Fact::DocumentRecovered { .. }
        | Fact::ClaimRefused { .. } => return of_owners(fact, at),
        _ => return None,
    };
    Some(record)
}

fn of_receipt(fact: &Fact, at: Timestamp) -> Option<Record> {
    let record = match fact {
        Fact::ReceiptTaken { id, delivery, asked, said, over } => Record {
            receipt_id: Some(id.clone()),
            delivery_id: Some(delivery.0.clone()),
            tenant: Some(asked.tenant.clone()).filter(|tenant| !tenant.is_empty()),
            subject: Some(asked.subject.clone()).filter(|subject| !subject.starts_with("alert:")),
            action: Some(asked.kind.name().to_owned()),
            decision: said.decision.clone(),
            outcome: said.outcome.clone(),
            reason: too_late(said.reason.as_ref(), over.as_deref()),
            change_id: said.change_id.clone(),
            ..Record::new(at, Kind::ReceiptTaken)
        },
        Fact::ReceiptRefused { id, refusal, detail, left_out } => Record {
            receipt_id: Some(id.clone()),
            reason: Some(refusal.name().to_owned()),
            detail: detail.clone(),
            count: Some(*left_out).filter(|count| *count > 0),
            ..Record::new(at, Kind::ReceiptRefused)
        },
        Fact::ReceiptsLeftOut { count } => {
            Record { count: Some(*count), ..Record::new(at, Kind::ReceiptRefused) }
        }
        _ => return None,
    };
    Some(record)
}

/// Why somebody says something, and that it comes too late, if so.
pub(super) fn too_late(reason: Option<&String>, over: Option<&str>) -> Option<String> {
    let Some(over) = over else { return reason.cloned() };
    let late = format!("this changes nothing, the request was over ({over})");
    Some(reason.map_or(late.clone(), |reason| format!("{reason}; {late}")))
}

/// Doors of tenants, and changes they did not outlive.
fn of_gates(fact: &Fact, at: Timestamp) -> Option<Record> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    // A story of its own for each door: among what happens to the host it would be nobody's.
    let story = |key: &GateKey| {
        let words: Vec<&str> = key.labels().map(|(_, text)| text).collect();
        trace_id(&format!("gate {}", words.join(" ")), Timestamp(0))
    };
    let door = |key: &GateKey, kind| Record {
        trace_id: Some(story(key)),
        tenant: some(&key.tenant),
        subject: some(&key.service).or_else(|| some(&key.tenant)),
        outcome: Some(key.gate.clone()),
        ..Record::new(at, kind)
    };
    let turned = |previous: &Option<String>, current: &String| match previous {
        Some(previous) => format!("{current} (before: {previous})"),
        None => current.clone(),
    };
    Some(match fact {
        Fact::GateFails { key, previous, current } => {
            Record { reason: Some(turned(previous, current)), ..door(key, Kind::GateFailed) }
        }
        Fact::GatePasses { key, current } => {
            Record { reason: Some(current.clone()), ..door(key, Kind::GatePassed) }
        }
        Fact::ChangeFailed { shut, current, held, is_anew } => {
            let base = match &shut.request {
                Some(request) => requested((at, Kind::ChangeFailed), request),
                None => Record::new(at, Kind::ChangeFailed),
            };
            let why = turned(&Some(shut.previous.clone()), current);
            let held = held.map(|reason| format!(" (held: {})", reason.name())).unwrap_or_default();
            let anew = told_anew(shut, *is_anew);
            Record {
                trace_id: some(&shut.trace_id),
                tenant: some(&shut.tenant),
                subject: some(&shut.service),
                action: Some(shut.what.clone()),
                reason: Some(format!("{}: {why}{held}{anew}", shut.door.gate)),
                ..base
            }
        }
        _ => return None,
    })
}

/// What is known of owners, each thing once.
fn of_owners(fact: &Fact, at: Timestamp) -> Option<Record> {
    let about =
        |kind, subject: &str| Record { subject: Some(subject.to_owned()), ..Record::new(at, kind) };
    Some(match fact {
        Fact::DocumentTaken { document, count, doubt } => Record {
            count: Some(*count as u64),
            reason: doubt.clone(),
            ..about(Kind::DocumentTaken, document)
        },
        Fact::DocumentRefused { document, error, first: true, age } => Record {
            reason: Some(error.clone()),
            detail: Some(match age {
                Some(age) => format!("what is in force is {} s old", age.as_secs()),
                None => "it was never read".to_owned(),
            }),
            ..about(Kind::DocumentRefused, document)
        },
        Fact::DocumentRecovered { document } => about(Kind::DocumentRecovered, document),
        Fact::ClaimRefused { container, why } => {
            Record { reason: Some(why.clone()), ..about(Kind::ClaimRefused, container) }
        }
        _ => return None,
    })
}

fn of_outbox(fact: &outbox::Fact, at: Timestamp) -> Option<Record> {
    let record = match fact {
        outbox::Fact::Delivered { delivery, answer } => Record {
            decision: answer.decision.clone(),
            outcome: answer.outcome.clone(),
            reason: answer.reason.clone(),
            change_id: answer.change_id.clone(),
            ..delivered((at, Kind::DeliveryAccepted), delivery)?
        },
        outbox::Fact::Retrying { delivery, why, .. } if delivery.attempts.is_power_of_two() => {
            Record { reason: Some(why.clone()), ..delivered((at, Kind::DeliveryFailed), delivery)? }
        }
        // The receipt has a record of its own.
        outbox::Fact::Retrying { .. } | outbox::Fact::Taken { .. } => return None,
        outbox::Fact::DeadLettered { delivery, .. } => Record {
            reason: delivery.last_error.clone(),
            ..delivered((at, Kind::DeliveryRefused), delivery)?
        },
        outbox::Fact::Expired { request, withdrawn: Some(why), .. } => Record {
            reason: Some(why.clone()),
            ..delivered((at, Kind::DeliveryWithdrawn), request)?
        },
        outbox::Fact::Expired { request, .. } => {
            let reason = request.last_error.clone();
            Record { reason, ..delivered((at, Kind::DeliveryExpired), request)? }
        }
        outbox::Fact::Unheard { delivery, why } => Record {
            reason: Some(why.clone()),
            ..delivered((at, Kind::DeliveryWithdrawn), delivery)?
        },
        outbox::Fact::Retried { id } => {
            Record { delivery_id: Some(id.0.clone()), ..Record::new(at, Kind::DeliveryRetried) }
        }
        outbox::Fact::Dropped { delivery, .. } => delivered((at, Kind::DeliveryDropped), delivery)?,
        outbox::Fact::Overflowed { dropped, gap, .. } => Record {
            count: Some(*dropped),
            delivery_id: Some(gap.0.clone()),
            ..Record::new(at, Kind::DeliveryLost)
        },
        outbox::Fact::Paused { why } => {
            Record { reason: Some(why.clone()), ..Record::new(at, Kind::SinkPaused) }
        }
        outbox::Fact::Resumed => Record::new(at, Kind::SinkResumed),
    };
    Some(record)
}

/// Who an alert is about.
fn about((at, kind): (Timestamp, Kind), labels: &Labels, started_at: Timestamp) -> Record {
    let label = |name: &str| labels.get(name).map(str::to_owned);
    let fingerprint = format!("{:016x}", fingerprint(labels));
    Record {
        trace_id: Some(trace_id(&fingerprint, started_at)),
        alert: label("alertname"),
        severity: label("severity"),
        tenant: label("tenant"),
        subject: subject(labels),
        started_at: Some(started_at),
        fingerprint: Some(fingerprint),
        ..Record::new(at, kind)
    }
}

/// What an alert is about, by its labels.
pub(super) fn subject(labels: &Labels) -> Option<String> {
    SUBJECTS.into_iter().find_map(|name| labels.get(name).map(str::to_owned))
}

/// What a decision was made from, and about whom: what the alert says of that is a claim. The expression
/// stands in the rule file.
fn weighed(what: (Timestamp, Kind), labels: &Labels, judged: &Judged) -> Record {
    let evidence = outbox::Evidence { expr: None, ..judged.evidence.clone() };
    Record {
        cause: Some(judged.cause.to_owned()),
        evidence: serde_json::to_value(evidence).ok(),
        delivery_id: judged.delivery.as_ref().map(|id| id.0.clone()),
        tenant: judged.whose.get("tenant").map(str::to_owned),
        subject: subject(&judged.whose),
        ..about(what, labels, judged.started_at)
    }
}

/// What a request was about whose outcome is known now. Only restarts are watched.
fn requested((at, kind): (Timestamp, Kind), request: &Request) -> Record {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Record {
        trace_id: some(&request.trace_id),
        alert: some(&request.alert),
        fingerprint: some(&request.fingerprint),
        tenant: some(&request.tenant),
        subject: some(&request.subject),
        action: Some("restart".to_owned()),
        delivery_id: some(&request.delivery_id),
        ..Record::new(at, kind)
    }
}

/// What a delivery says; nothing of a heartbeat.
fn delivered((at, kind): (Timestamp, Kind), delivery: &Delivery) -> Option<Record> {
    if delivery.event_type == EventType::Heartbeat {
        return None;
    }
    let data = delivery.event().map(|event| event.data).unwrap_or_default();
    Some(Record {
        trace_id: data.trace_id,
        alert: data.alert,
        fingerprint: data.fingerprint,
        severity: data.severity,
        tenant: data.tenant_id,
        subject: data.service,
        started_at: data.starts_at.map(|at| at.0),
        action: data.action.map(|action| action.kind.name().to_owned()),
        delivery_id: Some(delivery.id.0.clone()),
        event: Some(delivery.event_type.name().to_owned()),
        attempts: Some(u64::from(delivery.attempts)),
        ..Record::new(at, kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_that_says_nothing_is_none() {
        for (text, want) in [("full", Some("full")), ("", None)] {
            let fact = Fact::AlertFiring {
                labels: Labels::from_pairs([("alertname", "A")]),
                annotations: Labels::of_texts([("summary", text)]),
                value: 1.0,
                started_at: Timestamp(0),
            };
            let record = of(&fact, Timestamp(0)).expect("is written down");
            assert_eq!(record.summary.as_deref(), want);
        }
    }
}
