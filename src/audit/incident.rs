//! What a story consists of.

use serde::Serialize;

use super::record::Kind;

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
    /// Moments that did not fit; they stood between the first and the second of these.
    pub left_out: u64,
}

/// Incidents in the order of their first records.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Story {
    /// The incidents.
    pub incidents: Vec<Incident>,
    /// Incidents that did not fit: those to which nothing has happened for longest.
    pub left_out: u64,
    /// Lines that were read and are broken: what they said is missing here, or replaced.
    pub broken_lines: u64,
}

impl Story {
    /// What is to be known of broken lines, if there are any.
    pub fn warning(&self) -> Option<String> {
        let advice = "`plimsoll audit verify` says where";
        let lines = if self.broken_lines == 1 { "line" } else { "lines" };
        let said = format!("the audit's chain is broken at {} {lines}", self.broken_lines);
        (self.broken_lines > 0).then(|| format!("{said}: what stands there is not told; {advice}"))
    }
}
