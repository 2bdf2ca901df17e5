//! The closed list of events and their body, as the Control Plane reads them.
//!
//! One shape for all types, because a receiver that stores them wants one table: what a type does
//! not need is left out of the JSON. `docs/events.schema.json` is generated from these structs (a
//! test compares). A body is under 20 kB: long texts are cut with a visible mark, numbers never are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::trim;
use crate::base::{Timestamp, format_rfc3339, parse_rfc3339};

/// Of the contract with the Control Plane: types, fields, headers, answers, receipts (semantic
/// versioning: a field or type more is minor; one that goes or changes its meaning is major).
pub const CONTRACT_VERSION: &str = "2.1.0";

/// What an event says. The list is closed; the alert's own name is in `data.alert`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum EventType {
    /// An alert began to fire.
    #[serde(rename = "alert.firing")]
    AlertFiring,
    /// An alert ended.
    #[serde(rename = "alert.resolved")]
    AlertResolved,
    /// An alert can no longer be judged: what fed it fell silent.
    #[serde(rename = "alert.unknown")]
    AlertUnknown,
    /// A request to restart a container.
    #[serde(rename = "container.restart.requested")]
    RestartRequested,
    /// A suggestion to offer the tenant a bigger plan.
    #[serde(rename = "tenant.upgrade.suggested")]
    UpgradeSuggested,
    /// A setting to change, for a human.
    #[serde(rename = "advice.given")]
    AdviceGiven,
    /// A gate failed within the verification window of a change: roll it back.
    #[serde(rename = "change.verification.failed")]
    ChangeVerificationFailed,
    /// An action request was withdrawn: nobody acknowledged it before it expired.
    #[serde(rename = "action.expired")]
    ActionExpired,
    /// The condition that shows an action worked came true in time.
    #[serde(rename = "action.verified")]
    ActionVerified,
    /// It did not, or it relapsed.
    #[serde(rename = "action.failed")]
    ActionFailed,
    /// So many tenants suffer at once that the host is the patient; actions are frozen.
    #[serde(rename = "host.incident.started")]
    HostIncidentStarted,
    /// The host-wide incident ended.
    #[serde(rename = "host.incident.ended")]
    HostIncidentEnded,
    /// The sidecar is alive.
    #[serde(rename = "sidecar.heartbeat")]
    Heartbeat,
    /// Deliveries were given up because the outbox was full.
    #[serde(rename = "sidecar.gap")]
    Gap,
}

impl EventType {
    /// Every type, in a fixed order.
    pub const ALL: [EventType; 14] = [
        EventType::AlertFiring,
        EventType::AlertResolved,
        EventType::AlertUnknown,
        EventType::RestartRequested,
        EventType::UpgradeSuggested,
        EventType::AdviceGiven,
        EventType::ChangeVerificationFailed,
        EventType::ActionExpired,
        EventType::ActionVerified,
        EventType::ActionFailed,
        EventType::HostIncidentStarted,
        EventType::HostIncidentEnded,
        EventType::Heartbeat,
        EventType::Gap,
    ];

    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            EventType::AlertFiring => "alert.firing",
            EventType::AlertResolved => "alert.resolved",
            EventType::AlertUnknown => "alert.unknown",
            EventType::RestartRequested => "container.restart.requested",
            EventType::UpgradeSuggested => "tenant.upgrade.suggested",
            EventType::AdviceGiven => "advice.given",
            EventType::ChangeVerificationFailed => "change.verification.failed",
            EventType::ActionExpired => "action.expired",
            EventType::ActionVerified => "action.verified",
            EventType::ActionFailed => "action.failed",
            EventType::HostIncidentStarted => "host.incident.started",
            EventType::HostIncidentEnded => "host.incident.ended",
            EventType::Heartbeat => "sidecar.heartbeat",
            EventType::Gap => "sidecar.gap",
        }
    }

    /// Whether it asks for something to be done.
    pub fn is_request(self) -> bool {
        ActionKind::ALL.iter().any(|kind| kind.event_type() == self)
    }

    /// Events of one class and one alert supersede each other when the outbox overflows.
    pub(super) fn class(self) -> &'static str {
        match self {
            EventType::AlertFiring | EventType::AlertResolved | EventType::AlertUnknown => "alert",
            EventType::HostIncidentStarted | EventType::HostIncidentEnded => "host",
            EventType::Heartbeat => "heartbeat",
            EventType::Gap => "gap",
            _ => "action",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Wall time on the wire: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WireTime(pub Timestamp);

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_rfc3339(self.0))
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WireTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("not RFC 3339"))?;
        Ok(WireTime(at))
    }
}

/// The body of a webhook.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When it happened (not when it was sent): RFC 3339, UTC.
    #[cfg_attr(test, schemars(with = "String"))]
    pub timestamp: WireTime,
    /// The rest.
    pub data: Data,
}

/// What an event is about. Absent fields do not apply or are not known.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Data {
    /// The alert's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// State of the alert; on alert events only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Alertmanager's fingerprint of the alert's labels: 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Rises with every event of one fingerprint, so a late retry cannot overwrite a newer state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When the alert's condition became true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub starts_at: Option<WireTime>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub ends_at: Option<WireTime>,
    /// The rule's `severity` label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Isolation layer: `edge`, `app` or `db`; the rule's `layer` label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The Docker host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The tenant's plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The service (tenant and role), which outlives its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The alert's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The alert's annotations; long ones are cut with a mark.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The value of the rule's expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is asked for; on action events only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What the decision rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
    /// How it is seen whether an action works; on `container.restart.requested`, `action.verified` and
    /// `action.failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Who is affected; on `host.incident.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// Signs of life; on `sidecar.heartbeat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// What was given up; on `sidecar.gap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Why, in one sentence or one snake_case word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One per alert and episode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Where to read on, by what it is (`runbook`, `query`, `explain`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

/// State of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The condition holds.
    Firing,
    /// It no longer does.
    Resolved,
    /// Nobody can tell.
    Unknown,
}

/// Kind of action.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Restart the container.
    Restart,
    /// Offer the tenant a bigger plan.
    Nudge,
    /// Change a setting.
    Advise,
    /// Take a change back.
    RollbackAdvice,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [ActionKind; 4] =
        [ActionKind::Restart, ActionKind::Nudge, ActionKind::Advise, ActionKind::RollbackAdvice];

    /// The word on the wire and in rule labels.
    pub fn name(self) -> &'static str {
        match self {
            ActionKind::Restart => "restart",
            ActionKind::Nudge => "nudge",
            ActionKind::Advise => "advise",
            ActionKind::RollbackAdvice => "rollback_advice",
        }
    }

    /// The type of the event that asks for it.
    pub fn event_type(self) -> EventType {
        match self {
            ActionKind::Restart => EventType::RestartRequested,
            ActionKind::Nudge => EventType::UpgradeSuggested,
            ActionKind::Advise => EventType::AdviceGiven,
            ActionKind::RollbackAdvice => EventType::ChangeVerificationFailed,
        }
    }
}

/// Whether the receiver is asked to act or only told what would have been asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    /// Please do it.
    Request,
    /// Do nothing; this shows what would have been asked.
    DryRun,
}

/// What is asked of the Control Plane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Action {
    /// What to do.
    pub kind: ActionKind,
    /// Request or dry run.
    pub mode: ActionMode,
    /// After this time it must not be done any more.
    #[cfg_attr(test, schemars(with = "String"))]
    pub expires_at: WireTime,
    /// The same for the same episode, whoever asks and however often: make it unique in the table
    /// of actions.
    pub dedup_key: String,
    /// `from`, `to` (plans; of a deploy objects with `image`, `limit_bytes` and `cpu_limit_cores`), `variable`, `current`,
    /// `recommended`, `change_id` …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// A service that presses on the host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Offender {
    /// Which.
    pub service: String,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Of what: `memory` or `cpu`.
    pub resource: String,
    /// Its share of what all services use, 0 to 1.
    pub share: f64,
}

/// What a decision rests on. Bytes are bytes, ratios are 0 to 1, times are seconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Evidence {
    /// The rule, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// What its result is compared with, where that is a number; the result is `data.value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How far back the expression looks, where that is further than the newest samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
    /// How long the condition had to hold, if it had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    /// Age of the newest sample used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_age_seconds: Option<f64>,
    /// Whether the host is one tenant's (`dedicated`) or that of many (`shared`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_class: Option<String>,
    /// The container, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Hard memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<f64>,
    /// Memory reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_bytes: Option<f64>,
    /// Memory charged, with page cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<f64>,
    /// Memory that cannot simply be dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_set_bytes: Option<f64>,
    /// Working set per limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Growth of the working set, bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_bytes_per_second: Option<f64>,
    /// Time until the limit at that growth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_to_limit_seconds: Option<f64>,
    /// Out-of-memory kills in the last ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_events_10m: Option<f64>,
    /// Share of CFS periods in which the container was throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_ratio: Option<f64>,
    /// Time its threads were kept from the CPU by the quota, per second; of all threads together, so it
    /// may be more than 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_seconds_per_second: Option<f64>,
    /// CPU used, cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// CPU limit, cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// What is wrong, in one word: `leak`, `undersized`, `traffic`, `memory`, `page_cache`,
    /// `cpu_saturation`, `cpu_burst`, `cpu_starvation` or `unclear`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Episodes of this kind within `actions.nudge_episodes_within`: the last seven days, unless
    /// configuration says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub episodes_7d: Option<u64>,
    /// The last action on this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_action: Option<LastAction>,
    /// Who uses most of what the host is short of, most first, if the host or a neighbour is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offenders: Vec<Offender>,
}

/// A container: one incarnation of a service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Container {
    /// Docker's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `app`, `worker`, `db`, `redis`, `m2`, `edge` or `shared_app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub started_at: Option<WireTime>,
}

/// What was done last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastAction {
    /// What.
    pub kind: ActionKind,
    /// When.
    #[cfg_attr(test, schemars(with = "String"))]
    pub at: WireTime,
    /// How it ended, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// How it is seen whether an action works; with the outcome, when there is one.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// `effective`, `ineffective` or `relapsed`; absent in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The condition that has to become true.
    pub condition: String,
    /// In the request: how long its effect is watched, from the acknowledgement on, or from the receipt
    /// that it is done. A later `verify_until` of the receiver counts instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<f64>,
    /// In the request: how long the condition has to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_seconds: Option<f64>,
    /// Until when it was watched; absent in the request, as it begins with the acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub deadline: Option<WireTime>,
    /// The delivery that asked for the action; absent in the request, which is that delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// The Control Plane's own id of the change, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_id: Option<String>,
    /// The tenant's gates, if any are watched: as they are when it is asked, or after the action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
}

/// A gate before or after an action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GateResult {
    /// `health`, `login`, `api` or another name.
    pub gate: String,
    /// Whether it passes; absent if it was not heard of, after an action since the container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<bool>,
    /// What it answered before the action, when it passed; only after an action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What it answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

/// A host-wide incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Incident {
    /// Tenants with an alert at once.
    pub tenants_affected: u64,
    /// Tenants on the host.
    pub tenants_total: u64,
    /// Some of them, in order of name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
}

/// Signs of life.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Heartbeat {
    /// Rises by one with each heartbeat of a boot.
    pub sequence: u64,
    /// The program's version.
    pub version: String,
    /// Time since it started.
    pub uptime_seconds: u64,
    /// Checksum of the loaded rules.
    pub rules_hash: String,
    /// Alerts firing now.
    pub alerts_firing: u64,
    /// Deliveries waiting, this one not counted.
    pub outbox_waiting: u64,
    /// Age of the last evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation_age_seconds: Option<f64>,
    /// The number of the newest record of the audit that is on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_sequence: Option<u64>,
    /// Its hash. Keep it: an audit without a record of this hash was cut off or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<String>,
}

/// Deliveries that were given up because the outbox was full.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gap {
    /// How many. The latest state of each alert is not among them as long as those alone fit.
    pub dropped: u64,
    /// Time of the oldest event given up.
    #[cfg_attr(test, schemars(with = "String"))]
    pub from: WireTime,
    /// Time of the newest event given up.
    #[cfg_attr(test, schemars(with = "String"))]
    pub to: WireTime,
}

/// Largest body on the wire (Standard Webhooks 1.0.0: "payloads should be kept under 20kb").
pub const BODY_BYTES_MAX: usize = 20_000;

impl Event {
    /// An event that happened at `at`.
    pub fn new(event_type: EventType, at: Timestamp, data: Data) -> Event {
        Event { event_type, timestamp: WireTime(at), data }
    }

    /// Whether it asks, in earnest, for a restart.
    pub fn asks_for_restart(&self) -> bool {
        let mode = self.data.action.as_ref().map(|action| action.mode);
        self.event_type == EventType::RestartRequested && mode == Some(ActionMode::Request)
    }

    /// The bytes that are signed and sent: JSON under [`BODY_BYTES_MAX`]. Texts are cut to fit;
    /// what names the alert and what is asked stays whole.
    pub fn to_body(&self) -> String {
        trim::body_under(self, BODY_BYTES_MAX)
    }
}

/// A label set as the body holds it.
pub fn text_map(labels: &crate::base::Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_words_on_the_wire() {
        for event_type in EventType::ALL {
            let wire = serde_json::to_string(&event_type).expect("writes");
            assert_eq!(wire, format!("\"{event_type}\""));
        }
        for kind in
            [ActionKind::Restart, ActionKind::Nudge, ActionKind::Advise, ActionKind::RollbackAdvice]
        {
            let wire = serde_json::to_string(&kind).expect("writes");
            assert_eq!(wire, format!("\"{}\"", kind.name()));
        }
    }

    #[test]
    fn absent_fields_are_left_out() {
        let event = Event::new(EventType::Heartbeat, Timestamp(0), Data::default());
        assert_eq!(
            event.to_body(),
            r#"{"type":"sidecar.heartbeat","timestamp":"1970-01-01T00:00:00.000Z","data":{}}"#
        );
    }

    /// `UPDATE_GOLDEN=1` writes the file anew.
    #[test]
    fn schema_in_docs_is_the_schema_of_the_types() {
        let mut schema = schemars::schema_for!(Event);
        schema.insert("version".to_owned(), CONTRACT_VERSION.into());
        let schema = serde_json::to_string_pretty(&schema).expect("writes");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
        if std::env::vars_os().any(|(name, _)| name == "UPDATE_GOLDEN") {
            std::fs::write(path, format!("{schema}\n")).expect("docs/ is writable");
        }
        let written = std::fs::read_to_string(path).expect("docs/events.schema.json is there");
        assert_eq!(written.trim_end(), schema, "run with UPDATE_GOLDEN=1 and review the diff");
    }
}
