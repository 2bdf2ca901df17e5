//! What was done before, as one decision needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::verify::Outcome;
use crate::outbox::{ActionKind, LastAction};

/// What was done before, as one decision needs it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    /// Time since the last action of each kind on the subject, apart from calls for a human.
    pub since: BTreeMap<ActionKind, Duration>,
    /// Time since a human was called last.
    pub escalated: Option<Duration>,
    /// What was asked for lately, by its `dedup_key`, with how it ended if that is known.
    pub asked: BTreeMap<String, Option<String>>,
    /// Of these, what ran out before anybody took it, while its receiver has not even heard of that.
    pub unheard: BTreeSet<String>,
    /// The same, and its receiver will not hear of it either: the news was given up.
    pub lost: BTreeSet<String>,
    /// The last action of any kind.
    pub last: Option<LastAction>,
    /// Restarts of the tenant's services in 24 hours; services without tenant share one count.
    pub tenant_restarts_day: usize,
    /// Time since the tenant was last nudged, for any of its services and any cause.
    pub tenant_nudged: Option<Duration>,
    /// Restarts on this host in the last hour.
    pub host_restarts_hour: usize,
    /// Restarts of the service without effect, counted back from the last one.
    pub restarts_without_effect: usize,
    /// Restarts on this host without a known outcome.
    pub restarts_open: usize,
}

impl History {
    /// Whether what was asked for under this key is void for all who know of it, so that it may be asked
    /// for anew: it was withdrawn, or ran out and its receiver has heard so. Else it might be done twice.
    pub fn is_void(&self, key: &str) -> bool {
        let result = self.asked.get(key).and_then(Option::as_deref);
        result == Some(Outcome::Withdrawn.name())
            || result == Some(Outcome::Expired.name()) && !self.may_be_void_yet(key)
    }

    /// Whether what was asked for under this key ran out and its receiver has yet to hear so, if it does.
    pub fn may_be_void_yet(&self, key: &str) -> bool {
        self.unheard.contains(key) || self.lost.contains(key)
    }
}

/// Whether an outcome says that the action was carried out and did not help.
pub(super) fn is_ineffective(result: &str) -> bool {
    [Outcome::Ineffective, Outcome::Relapsed].iter().any(|outcome| outcome.name() == result)
}

/// Whether an outcome says that the action was never carried out.
pub(super) fn is_void(result: &str) -> bool {
    let void = [Outcome::Declined, Outcome::Expired, Outcome::Withdrawn];
    void.iter().any(|outcome| outcome.name() == result)
}

/// Whether an outcome leaves the trouble as it was, for one reason or the other.
pub(super) fn is_failure(result: &str) -> bool {
    is_ineffective(result) || is_void(result)
}
