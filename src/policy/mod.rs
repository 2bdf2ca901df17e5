//! Judgement: who owns a container, what their plan allows, and whether an alert becomes an action.
//!
//! Alerts and their edges always flow; what stands here governs actions alone. An action is asked
//! for only on fresh evidence, for a service that is known, in a role that may be touched, within
//! cool-downs and budgets. Everything held back says why ([`HoldReason`]). Nothing here sends,
//! reads a clock or queries the window: evidence and history are passed in.

mod decide;
mod episodes;
mod guard;
mod m2;
mod plan;
mod tenant;

pub use decide::{Decision, Evidence, Incident, Proposal, decide};
pub use episodes::Episodes;
pub use guard::{Guards, History, HoldReason, Limits, Mode, PolicyConfig};
pub use m2::Vhost;
pub use plan::{Plan, Plans};
pub use tenant::{Identity, TenantRule};

use crate::base::{Labels, METRIC_NAME};

/// A series that comes from configuration, so that rules can join on it.
fn series<'a>(
    name: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    value: f64,
) -> (Labels, f64) {
    (Labels::from_pairs(labels).with(METRIC_NAME, name), value)
}
