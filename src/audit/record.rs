//! One record: a closed list of kinds and one shape for all of them.
//!
//! What a kind does not need is left out of the line. Texts that others wrote are cut to a length, so
//! that a line has a bound ([`super::LINE_BYTES_MAX`]).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::base::Timestamp;

/// Longest text in a record; the whole of a webhook is at the receiver.
const TEXT_CHARS_MAX: usize = 500;
/// Largest evidence in a record; more is left out, and said to be.
const EVIDENCE_BYTES_MAX: usize = 8 * 1024;
/// Names in a list of tenants.
const TENANTS_MAX: usize = 50;

/// Makes the list of kinds and their words in one place.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a record says. The list is closed.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
            /// What another version wrote down. It is read, and never written.
            #[serde(rename = "unknown")]
            Unknown,
        }

        impl Kind {
            /// Every kind that is written, in a fixed order.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// The word in the file.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$name => $word,)*
                    Kind::Unknown => "unknown",
                }
            }
        }
    };
}

kinds! {
    /// An alert began to fire.
    AlertFiring = "alert.firing",
    /// An alert ended.
    AlertResolved = "alert.resolved",
    /// An alert can no longer be judged.
    AlertUnknown = "alert.unknown",
    /// What feeds it is back, and it still fires.
    AlertKnown = "alert.known",
    /// An action was decided and handed to the edge lane.
    ActionDecided = "action.decided",
    /// An action was held.
    ActionHeld = "action.held",
    /// How an action ended.
    ActionOutcome = "action.outcome",
    /// A tenant's gate has failed often enough to be believed; `outcome` is its name.
    GateFailed = "gate.failed",
    /// It passes again.
    GatePassed = "gate.passed",
    /// A gate failed after a change: it should be taken back.
    ChangeFailed = "change.verification.failed",
    /// The receiver has a delivery; `decision` is what it answered.
    DeliveryAccepted = "delivery.accepted",
    /// The 1st, 2nd, 4th, 8th … attempt at a delivery failed.
    DeliveryFailed = "delivery.failed",
    /// The receiver refused a delivery for good.
    DeliveryRefused = "delivery.refused",
    /// A request expired before the receiver took it, and was withdrawn.
    DeliveryExpired = "delivery.expired",
    /// A request that nobody had taken was not called for any more; `reason`.
    DeliveryWithdrawn = "delivery.withdrawn",
    /// An operator asked for another try.
    DeliveryRetried = "delivery.retried",
    /// An operator gave a delivery up.
    DeliveryDropped = "delivery.dropped",
    /// Deliveries were given up because too many waited.
    DeliveryLost = "delivery.lost",
    /// The receiver said something about a request: `decision`, `outcome`, `reason`.
    ReceiptTaken = "receipt.taken",
    /// A receipt was not believed; `reason`.
    ReceiptRefused = "receipt.refused",
    /// The receiver refuses us as such: deliveries wait.
    SinkPaused = "sink.paused",
    /// It takes them again.
    SinkResumed = "sink.resumed",
    /// So many tenants suffer at once that the host is the patient; actions are frozen.
    HostIncidentStarted = "host.incident.started",
    /// The host-wide incident ended.
    HostIncidentEnded = "host.incident.ended",
    /// plimsoll started and took its state over.
    SidecarStarted = "sidecar.started",
    /// A new configuration was taken over.
    ConfigReloaded = "config.reloaded",
    /// A new configuration was refused.
    ConfigRefused = "config.refused",
    /// A document of plans or tenants was taken over.
    DocumentTaken = "document.taken",
    /// One could not be read or was faulty: the one before stays.
    DocumentRefused = "document.refused",
    /// It can be read again.
    DocumentRecovered = "document.recovered",
    /// Somebody claims a container that is not theirs.
    ClaimRefused = "claim.refused",
    /// The last record of the run before was half-written and was cut off.
    AuditResumed = "audit.resumed",
    /// Records were given up because the disk took none for too long.
    AuditGap = "audit.gap",
}

/// A kind that is not known breaks no chain: whoever goes back to an older version goes on with the audit.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let word = String::deserialize(deserializer)?;
        let known = Kind::ALL.iter().find(|kind| kind.name() == word);
        Ok(known.copied().unwrap_or(Kind::Unknown))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that happened. Absent fields do not apply or are not known.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When: RFC 3339 in UTC, with milliseconds.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// Which incident: the same in all records of one alert and episode, and in the webhooks about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The alert's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The alert's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The rule's severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The service, or whatever else the alert is about: a container, a host, a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When the alert's condition became true.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339::optional")]
    pub started_at: Option<Timestamp>,
    /// `restart`, `nudge`, `advise` or `rollback_advice`; of a hold, what would have been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `request` or `dry_run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What is wrong, by diagnosis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the decision rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
    /// How it will be seen whether a restart that is asked for works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Value>,
    /// The delivery it is about: its `webhook-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// What that delivery says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Attempts so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// The receiver's word: `accepted`, `declined` or `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The receiver's own id of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_id: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why, in one sentence or one snake_case word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More of the reason: how far a clock is off, which id is meant, how old what stays in force is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What would lift a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_by: Option<String>,
    /// The alert's summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Who is affected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The receipt it is about: its own `webhook-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<String>,
    /// How many: records or deliveries lost, bytes cut off, alerts taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Record {
    /// A record that says no more than what and when.
    pub fn new(at: Timestamp, kind: Kind) -> Record {
        Record {
            at,
            kind,
            trace_id: None,
            alert: None,
            fingerprint: None,
            severity: None,
            tenant: None,
            subject: None,
            started_at: None,
            action: None,
            mode: None,
            cause: None,
            evidence: None,
            verification: None,
            delivery_id: None,
            event: None,
            attempts: None,
            decision: None,
            change_id: None,
            outcome: None,
            reason: None,
            detail: None,
            lifted_by: None,
            summary: None,
            tenants: Vec::new(),
            receipt_id: None,
            count: None,
        }
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let text = serde_json::to_string(self).expect("a record is plain data");
        size_of::<Record>() + text.len()
    }

    /// The record with texts and lists cut to their bounds.
    pub fn bounded(&self) -> Record {
        let mut record = self.clone();
        let texts = [
            &mut record.trace_id,
            &mut record.alert,
            &mut record.fingerprint,
            &mut record.severity,
            &mut record.tenant,
            &mut record.subject,
            &mut record.action,
            &mut record.mode,
            &mut record.cause,
            &mut record.delivery_id,
            &mut record.event,
            &mut record.decision,
            &mut record.change_id,
            &mut record.outcome,
            &mut record.reason,
            &mut record.detail,
            &mut record.lifted_by,
            &mut record.summary,
            &mut record.receipt_id,
        ];
        texts.into_iter().flatten().for_each(cut);
        record.tenants.truncate(TENANTS_MAX);
        record.tenants.iter_mut().for_each(cut);
        let values = [&mut record.evidence, &mut record.verification].into_iter().flatten();
        for long in values.filter(|value| value.to_string().len() > EVIDENCE_BYTES_MAX) {
            *long = Value::from("left out: too long");
        }
        record
    }
}

/// A text as records keep it.
pub fn kept(mut text: String) -> String {
    cut(&mut text);
    text
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(at);
        text.push('…');
    }
}

/// Times as people read them.
mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::base::{Timestamp, format_rfc3339, parse_rfc3339};

    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_rfc3339(*at))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not RFC 3339"))
    }

    pub mod optional {
        use serde::{Deserializer, Serializer};

        use crate::base::Timestamp;

        pub fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_only_what_applies_and_reads_back() {
        let record = Record {
            tenant: Some("acme".to_owned()),
            started_at: Some(Timestamp(1000)),
            ..Record::new(Timestamp(2000), Kind::ActionHeld)
        };
        let text = serde_json::to_string(&record).expect("plain data");
        let want = "{\"at\":\"1970-01-01T00:00:02.000Z\",\"kind\":\"action.held\",\"tenant\":\"acme\",\
                    \"started_at\":\"1970-01-01T00:00:01.000Z\"}";
        assert_eq!(text, want);
        assert_eq!(serde_json::from_str::<Record>(&text).expect("reads"), record);
        for kind in Kind::ALL {
            let text = serde_json::to_string(kind).expect("a word");
            assert_eq!(text, format!("\"{kind}\""));
        }
    }

    #[test]
    fn long_texts_are_cut_with_a_mark() {
        let long = "말".repeat(2 * TEXT_CHARS_MAX);
        let record = Record {
            reason: Some(long.clone()),
            tenants: vec![long; 2 * TENANTS_MAX],
            evidence: Some(Value::from("x".repeat(2 * EVIDENCE_BYTES_MAX))),
            verification: Some(Value::from("x".repeat(2 * EVIDENCE_BYTES_MAX))),
            ..Record::new(Timestamp(0), Kind::ActionHeld)
        };
        let bounded = record.bounded();
        let reason = bounded.reason.expect("there was one");
        assert_eq!(reason.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(reason.ends_with('…'));
        assert_eq!(bounded.tenants.len(), TENANTS_MAX);
        let left_out = Some(Value::from("left out: too long"));
        assert_eq!((&bounded.evidence, &bounded.verification), (&left_out, &left_out));
    }
}
