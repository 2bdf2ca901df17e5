//! Whether a rule has earned `act`: what its would-be restarts were worth, by an explicit criterion.
//!
//! A restart was *needed* if within the expiry of its request the kernel killed in the container, or the alert
//! still fired at its end; *needless* if the alert had ended by itself. What a run did not last long enough
//! to see is undecided. Earned is: at least so many decided ones, over at least so many days, and so large
//! a share of them needed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::report::{How, Report};

/// Decided restarts before a rule may act. Ours.
const ENOUGH: usize = 5;
/// Days of observation before a rule may act. Ours: a week has every kind of day.
const DAYS: f64 = 7.0;
/// Share of them that must have been needed. Ours.
const PRECISION: f64 = 0.9;

/// How a rule stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Standing {
    /// The alert.
    pub alert: String,
    /// Restarts it would have asked for.
    pub would_restart: usize,
    /// Of these, those that were needed.
    pub needed: usize,
    /// Those whose alert ended by itself.
    pub needless: usize,
    /// Whether it has earned `act`.
    pub earned: bool,
    /// What is missing, or what earned it.
    pub why: String,
}

/// How every rule stands that asked for restarts which were only observed or rehearsed.
pub(super) fn standings(report: &Report, expiry: Duration) -> Vec<Standing> {
    let mut all: BTreeMap<&str, Standing> = BTreeMap::new();
    for action in report.actions.iter().filter(|a| a.action == "restart") {
        if action.how == How::Requested {
            continue;
        }
        let standing = all.entry(&action.alert).or_default();
        standing.would_restart += 1;
        let until = action.at.0 + expiry;
        let name = action.labels.get("name");
        let killed = report.kills.iter().any(|kill| {
            Some(&*kill.name) == name && action.at.0 <= kill.at.0 && kill.at.0 <= until
        });
        let others = |span: &super::Span| {
            span.alert == action.alert
                && span.labels.iter().all(|(n, v)| action.labels.get(n) == Some(v.as_str()))
        };
        let span = report.alerts.iter().rev().find(|s| others(s) && s.from.0 <= action.at.0);
        let ended = span.and_then(|span| span.to).filter(|to| to.0 <= until);
        if killed {
            standing.needed += 1;
        } else if ended.is_some() {
            standing.needless += 1;
        } else if until <= report.span.1.0 {
            standing.needed += 1;
        }
    }
    let days = report.lasted.as_secs_f64() / 86_400.0;
    all.into_iter().map(|(alert, standing)| judge(alert, standing, days)).collect()
}

fn judge(alert: &str, standing: Standing, days: f64) -> Standing {
    let decided = standing.needed + standing.needless;
    let share = standing.needed as f64 / decided.max(1) as f64;
    let why = if decided < ENOUGH {
        format!("{decided} of {ENOUGH} restarts decided")
    } else if days < DAYS {
        format!("{days:.1} of {DAYS} days observed")
    } else if share < PRECISION {
        format!("{:.0} % were needed, {:.0} % would do", share * 100.0, PRECISION * 100.0)
    } else {
        format!("{} of {decided} were needed", standing.needed)
    };
    let earned = decided >= ENOUGH && days >= DAYS && share >= PRECISION;
    Standing { alert: alert.to_owned(), earned, why, ..standing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn act_is_earned_by_number_days_and_precision() {
        let check = |needed, needless, days, want: &str| {
            let standing = Standing { needed, needless, ..Standing::default() };
            let judged = judge("A", standing, days);
            assert_eq!(judged.why, want);
            judged.earned
        };
        assert!(check(9, 1, 7.0, "9 of 10 were needed"));
        assert!(!check(4, 0, 30.0, "4 of 5 restarts decided"));
        assert!(!check(9, 1, 6.9, "6.9 of 7 days observed"));
        assert!(!check(8, 2, 7.0, "80 % were needed, 90 % would do"));
    }
}
