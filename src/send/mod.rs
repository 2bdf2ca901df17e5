//! What leaves the house: alerts to Alertmanager, signed webhooks to the Control Plane.
//!
//! Senders turn a post or an attempt into an outcome and know nothing of queues, retries or order;
//! no HTTP status is seen above this module. They never read a clock: the time of an attempt is
//! passed in.

pub mod alertmanager;
pub mod level;
mod sign;
mod tally;
mod webhook;

pub use sign::{SecretError, Secrets, TOLERANCE, VerifyError};
pub use webhook::{Webhook, WebhookConfig, WebhookError};
