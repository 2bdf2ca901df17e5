//! Judgement: who owns a container, what their plan allows, and whether an alert becomes an action.
//!
//! Alerts and their edges always flow; what stands here governs actions alone. An action is asked
//! for only on fresh evidence, for a service that is known, in a role that may be touched, within
//! cool-downs and budgets. Everything held back says why ([`HoldReason`]). Nothing here sends,
//! reads a clock or queries the window: evidence and history are passed in.

mod calendar;
mod config;
mod decide;
mod diagnose;
mod directory;
mod episodes;
mod fit;
mod gates;
mod guard;
mod histogram;
mod history;
mod hold;
mod incident;
mod interlock;
mod ladder;
mod m2;
mod measure;
mod memory;
mod peaks;
mod plan;
mod receipts;
mod register;
mod rollout;
mod rows;
mod shut;
mod standing;
mod tenant;
mod trail;
mod usage;
mod verify;

pub use calendar::{Calendar, CalendarEntry, Scope, WindowKind};
pub use config::{Limits, Mode, PolicyConfig, STAGES};
pub use decide::{Decision, decide, escalate, still_stands};
pub use diagnose::{Cause, Symptoms, Thresholds, diagnose};
pub use directory::{Directory, disputed, shadowed};
pub use episodes::{Episodes, Need};
pub use fit::{Direction, Fit, FitConfig, fit};
pub use gates::{
    Gate, GateKey, Gates, Miss, PLACEHOLDERS, Page, Place, Probe, Reading, Turn,
    unknown_placeholder,
};
pub use guard::{Asked, DONE, Expected, Guards, Taken};
pub use histogram::Histogram;
pub use history::History;
pub use hold::HoldReason;
pub use incident::{Case, Circumstances, Evidence, Incident, Proposal, Question, REFUSED, askings};
pub use interlock::{HostCause, HostEdge, HostIncident, HostSigns, Interlock, InterlockConfig};
pub use m2::{FIXED_COUNT_MAX, M2Counting, M2Setting, Vhost};
pub use measure::Measurers;
pub use memory::Memory;
pub use peaks::{Made, Peaks};
pub use plan::{Fault, Plan, Plans, plan_binds};
pub use receipts::Receipts;
pub use register::{Tenant, TenantState, Tenants};
pub use rollout::Rollouts;
pub use shut::{SHUT_MAX, Shut, ShutDoors};
pub use standing::{Load, Standing, drifts, standing};
pub use tenant::{Identity, ROLES, Tenancy, TenantRule};
pub use trail::{Replaced, RunsAs, Seen as ContainerSeen, Trend};
pub use usage::{Cpu, Observation, Service, Usage};
pub use verify::{GateSeen, Outcome, Request, Seen, Underway, Verdict, Verifier, VerifyConfig};

use crate::base::{Labels, METRIC_NAME};

/// A series that comes from configuration, so that rules can join on it.
fn series<'a>(
    name: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    value: f64,
) -> (Labels, f64) {
    (Labels::from_pairs(labels).with(METRIC_NAME, name), value)
}
