//! Alerts: one rule's life cycle, the book of all of them, and their presentation to Alertmanager.
//!
//! The machine is Prometheus's (pending, firing, resolved), with one state beside it: *unknown*,
//! for an alert whose inputs went missing. An absence that may be the target's fault is not good
//! news, so such an alert neither resolves nor acts until its inputs are back.

mod alert;
mod hold;
mod life;
mod post;
mod present;
mod tally;
mod told;

pub use alert::{Alert, AlertState, Doubt, ResolveReason};
pub use life::{Candidate, Change, Round, Terms, advance, end_all, expire};
pub use post::{Phase, Post, PostId, Presented, Refusal, Refused, Settled, Verdict};
pub use present::{Due, Moment, Presenter, PresenterConfig};
pub use tally::Tally;
