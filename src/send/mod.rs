//! What leaves the house: signed webhooks to the Control Plane.
//!
//! Senders turn an attempt into an outcome and know nothing of queues, retries or order; no HTTP
//! status is seen above this module. They never read a clock: the time of the attempt is passed in.

mod sign;
mod webhook;

pub use sign::{SecretError, Secrets, TOLERANCE, VerifyError};
pub use webhook::{Webhook, WebhookConfig, WebhookError};
//! Sending: alerts to Alertmanager, signed edges to the Control Plane.

pub mod alertmanager;
