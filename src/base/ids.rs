//! Ids that must not be mixed up, as types of their own.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A scrape target within one configuration: dense, given out by the scrape manager, never reused
/// within a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TargetId(pub u32);

impl TargetId {
    /// Our own collector, a target like the others; they are counted from 1.
    pub const COLLECTOR: TargetId = TargetId(0);
}

/// A rule, by where it stands: `file;group;name;index`, stable over restarts and over edits of
/// other rules in the same file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RuleId(pub Arc<str>);

/// One delivery of the edge lane. It is also the `webhook-id` on the wire: fixed before the first
/// attempt, the same on every retry, and free of `.` (Standard Webhooks 1.0.0).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct DeliveryId(pub String);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
