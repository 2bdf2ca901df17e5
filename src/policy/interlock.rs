//! The host-wide interlock: when many suffer at once, the host is the patient.
//!
//! If several tenants fall ill within a minute, or the inputs themselves fail, the cause is shared (the
//! disk, a deploy, the exporter, the clock), and restarting tenants one by one would only add to it.
//! One incident is told, and actions on tenants are frozen until it is over. Durable, so that a
//! restart of the sidecar neither ends it nor starts it twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows;
use crate::base::{Change, Now, Timestamp};

const KEY: &str = "interlock";

/// When the host counts as ill.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct InterlockConfig {
    /// At least so many tenants.
    pub tenants: usize,
    /// And more than this share of all tenants on the host.
    pub share: f64,
    /// Within this time of each other.
    pub within: Duration,
    /// It is over when fewer have suffered for so long.
    pub calm: Duration,
}

impl Default for InterlockConfig {
    /// Three tenants within a minute, 30 % and five minutes are our choice, not measured.
    fn default() -> InterlockConfig {
        let (within, calm) = (Duration::from_secs(60), Duration::from_secs(300));
        InterlockConfig { tenants: 3, share: 0.3, within, calm }
    }
}

/// What is seen of the host in one round.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HostSigns {
    /// Every firing alert that asks for an action: its tenant, and when it began to fire. An old one
    /// must not hide that its tenant falls ill now.
    pub suffering: BTreeSet<(String, Timestamp)>,
    /// Tenants on the host.
    pub tenants_total: usize,
    /// More than half of the inputs fail.
    pub inputs_bad: bool,
}

impl HostSigns {
    /// Tenants that suffer, since when ever.
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.suffering.iter().map(|(tenant, _)| tenant.as_str()).collect()
    }
}

/// Why the host is taken to be ill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostCause {
    /// Many tenants at once.
    Tenants,
    /// The inputs fail.
    Inputs,
}

/// The incident under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HostIncident {
    /// Since when.
    pub started_at: Timestamp,
    /// Why.
    pub cause: HostCause,
    /// Tenants affected when it began.
    pub tenants: Vec<String>,
    /// Tenants on the host when it began.
    pub tenants_total: usize,
    #[serde(skip)]
    calm_since: Option<Duration>,
}

/// A change of the host's state.
#[derive(Clone, PartialEq, Debug)]
pub enum HostEdge {
    /// An incident began.
    Started(HostIncident),
    /// It is over.
    Ended(HostIncident),
}

/// The interlock.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Interlock {
    incident: Option<HostIncident>,
}

impl Interlock {
    /// The state as its row tells it, and what could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Interlock, Vec<String>) {
        let (incidents, problems) = rows::read(KEY, rows);
        let incident = incidents.into_iter().find(|(rest, _)| rest.is_empty());
        (Interlock { incident: incident.map(|(_, incident)| incident) }, problems)
    }

    /// The incident under way.
    pub fn incident(&self) -> Option<&HostIncident> {
        self.incident.as_ref()
    }

    /// Looks at the host; call it in every round before anything is decided. Returns an edge and the
    /// row that goes with it.
    pub fn observe(
        &mut self,
        signs: &HostSigns,
        now: Now,
        config: &InterlockConfig,
    ) -> Option<(HostEdge, Change)> {
        let cause = cause(signs, config);
        if let Some(incident) = &mut self.incident {
            if cause.is_some() || many(signs.tenants().len(), signs, config) {
                incident.calm_since = None;
                return None;
            }
            let since = *incident.calm_since.get_or_insert(now.monotonic);
            if now.monotonic.saturating_sub(since) < config.calm {
                return None;
            }
            let ended = self.incident.take()?;
            return Some((HostEdge::Ended(ended), row(None)));
        }
        let incident = HostIncident {
            started_at: now.wall,
            cause: cause?,
            tenants: signs.tenants().into_iter().map(str::to_owned).collect(),
            tenants_total: signs.tenants_total,
            calm_since: None,
        };
        self.incident = Some(incident.clone());
        let change = row(Some(&incident));
        Some((HostEdge::Started(incident), change))
    }
}

/// Whether the host falls ill now: enough tenants fell ill within the time of each other.
fn cause(signs: &HostSigns, config: &InterlockConfig) -> Option<HostCause> {
    let began: BTreeSet<Timestamp> = signs.suffering.iter().map(|(_, at)| *at).collect();
    let together = |from: &Timestamp| {
        let within = |at: &Timestamp| at >= from && at.since(*from) <= config.within;
        let all = signs.suffering.iter().filter(|(_, at)| within(at));
        all.map(|(tenant, _)| tenant).collect::<BTreeSet<_>>().len()
    };
    let most = began.iter().map(together).max().unwrap_or(0);
    if many(most, signs, config) {
        return Some(HostCause::Tenants);
    }
    signs.inputs_bad.then_some(HostCause::Inputs)
}

fn many(count: usize, signs: &HostSigns, config: &InterlockConfig) -> bool {
    count >= config.tenants && count as f64 > config.share * signs.tenants_total as f64
}

fn row(incident: Option<&HostIncident>) -> Change {
    rows::row(KEY, "", incident)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Table;

    fn at(seconds: u64) -> Now {
        let monotonic = Duration::from_secs(seconds);
        Now { monotonic, wall: Timestamp(1_795_312_800_000) + monotonic }
    }

    /// Tenants that began to suffer at these seconds, of so many.
    fn signs(began: &[u64], tenants_total: usize) -> HostSigns {
        let suffering = began.iter().enumerate().map(|(n, s)| (format!("t{n}"), at(*s).wall));
        HostSigns { suffering: suffering.collect(), tenants_total, inputs_bad: false }
    }

    #[track_caller]
    fn check(want: bool, signs: &HostSigns) {
        let started = Interlock::default().observe(signs, at(100), &InterlockConfig::default());
        assert_eq!(started.is_some(), want, "{signs:?}");
    }

    #[test]
    fn it_takes_three_within_a_minute_and_a_share_of_the_host() {
        check(true, &signs(&[0, 30, 60], 9));
        check(false, &signs(&[0, 30], 2));
        check(false, &signs(&[0, 30, 61], 9));
        check(true, &signs(&[0, 50, 90, 110], 9));
        check(false, &signs(&[0, 30, 60], 10));
        check(true, &signs(&[0, 0, 0, 0], 10));
        check(false, &signs(&[], 0));
        check(true, &HostSigns { inputs_bad: true, ..signs(&[], 5) });
    }

    #[test]
    fn an_old_alert_hides_no_new_one_and_a_tenant_counts_once() {
        let signs = |pairs: &[(&str, u64)]| {
            let suffering = pairs.iter().map(|(tenant, s)| ((*tenant).to_owned(), at(*s).wall));
            HostSigns { suffering: suffering.collect(), tenants_total: 5, inputs_bad: false }
        };
        let old = [("a", 0), ("b", 70), ("c", 140)];
        check(false, &signs(&old));
        check(true, &signs(&[&old[..], &[("a", 900), ("b", 910), ("c", 920)]].concat()));
        check(false, &signs(&[&old[..], &[("a", 900), ("a", 910), ("b", 920)]].concat()));
    }

    #[test]
    fn it_ends_after_a_calm_while_and_survives_a_restart() {
        let config = InterlockConfig::default();
        let mut interlock = Interlock::default();
        let (edge, row) = interlock.observe(&signs(&[0, 1, 2], 5), at(2), &config).expect("begins");
        let HostEdge::Started(incident) = edge else { panic!("{edge:?}") };
        assert_eq!(incident.tenants, ["t0", "t1", "t2"]);
        let (mut interlock, problems) = Interlock::recover([row]);
        assert!(problems.is_empty() && interlock.incident().is_some());
        // Old alerts of three tenants still fire: not calm, though nothing new began.
        assert_eq!(interlock.observe(&signs(&[0, 200, 400], 5), at(500), &config), None);
        assert_eq!(interlock.observe(&signs(&[0], 5), at(600), &config), None);
        assert_eq!(interlock.observe(&signs(&[0], 5), at(899), &config), None);
        let (edge, row) = interlock.observe(&signs(&[0], 5), at(900), &config).expect("ends");
        assert!(matches!(edge, HostEdge::Ended(ended) if ended.started_at == incident.started_at));
        assert_eq!((row.value, interlock.incident()), (None, None));
        let bad = Change { table: Table::Guards, key: KEY.to_owned(), value: Some(b"?".to_vec()) };
        assert_eq!(Interlock::recover([bad]).1.len(), 1);
    }
}
