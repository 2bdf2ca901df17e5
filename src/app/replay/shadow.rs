//! Whether a rule has earned `act`: what its would-be restarts were worth, by an explicit criterion.
//!
//! A restart for memory was *needed* if the kernel killed in the container within the expiry of its request,
//! or later while the alert still fired; *needless* if the alert ended without that, or a day passed: memory
//! that is full and stands still harms nobody. Any other was needed if its alert still fired when the request
//! would have expired, and needless if it had ended by itself. What a run did not last long enough to see is
//! undecided, and so is what somebody may have missed: between decision and verdict a target was not seen. Earned
//! is: at least so many decided ones, over at least so many days that were seen, and so large a share of them needed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::report::{Action, How, Report, Span};

/// Decided restarts before a rule may act. Ours.
const ENOUGH: usize = 5;
/// Days of observation before a rule may act. Ours: a week has every kind of day.
const DAYS: f64 = 7.0;
/// Share of them that must have been needed. Ours.
const PRECISION: f64 = 0.9;
/// What is said of a rule that would only nudge: whether a customer needs a bigger plan is in no recording.
const NOT_JUDGED: &str = "nudges are not judged: switch `actions.nudge` on when you would have \
                          written to these tenants yourself";
/// Diagnoses that memory is short, where the harm to be averted is a kill.
const MEMORY: [&str; 5] = ["leak", "memory", "undersized", "traffic", "page_cache"];
/// So long a kill is waited for. Ours.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A kill that ends the alert may be seen after its end.
const SEEN_LATE: Duration = Duration::from_secs(60);

/// How a rule stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Standing {
    /// The alert.
    pub alert: String,
    /// Restarts it would have asked for.
    pub would_restart: usize,
    /// Nudges it would have asked for, which are not judged.
    pub would_nudge: usize,
    /// Of the restarts, those that were needed.
    pub needed: usize,
    /// Those whose alert ended by itself.
    pub needless: usize,
    /// Whether it has earned `act`.
    pub earned: bool,
    /// What is missing, or what earned it.
    pub why: String,
}

/// How every rule stands that asked for restarts or nudges which were only observed or rehearsed.
pub(super) fn standings(report: &Report, expiry: Duration) -> Vec<Standing> {
    let mut all: BTreeMap<&str, Standing> = BTreeMap::new();
    for action in report.actions.iter().filter(|a| a.how != How::Requested) {
        let is_nudge = match action.action.as_str() {
            "restart" => false,
            "nudge" => true,
            _ => continue,
        };
        let standing = all.entry(&action.alert).or_default();
        if is_nudge {
            standing.would_nudge += 1;
            continue;
        }
        standing.would_restart += 1;
        match was_needed(report, action, expiry) {
            Some(true) => standing.needed += 1,
            Some(false) => standing.needless += 1,
            None => {}
        }
    }
    let days = report.coverage.seen.as_secs_f64() / 86_400.0;
    all.into_iter().map(|(alert, standing)| judge(alert, standing, days)).collect()
}

/// Whether a restart that was not carried out would have been needed; `None` while nobody can tell.
fn was_needed(report: &Report, action: &Action, expiry: Duration) -> Option<bool> {
    let (from, until, end) = (action.at.0, action.at.0 + expiry, report.span.1.0);
    let is_it = |span: &&Span| {
        span.alert == action.alert
            && span.from.0 <= from
            && span.labels.iter().all(|(n, v)| action.labels.get(n) == Some(v.as_str()))
    };
    let span = report.alerts.iter().rev().find(is_it);
    let ended = span.and_then(|span| span.to).map(|to| to.0);
    let name = action.labels.get("name");
    let fired_until = ended.unwrap_or(end).min(from + DAY) + SEEN_LATE;
    let killed = report.kills.iter().any(|kill| {
        Some(&*kill.name) == name && from <= kill.at.0 && kill.at.0 <= until.max(fired_until)
    });
    // Kills are known by the container's name.
    let waits_for_a_kill = MEMORY.contains(&action.cause) && name.is_some();
    let watched = if waits_for_a_kill { from + DAY } else { until };
    let verdict_at = ended.unwrap_or(watched).min(watched);
    // What was not seen whole tells neither: a kill is seen all the same, and that none came is not.
    if report.coverage.has_gap(from, verdict_at) {
        None
    } else if killed {
        Some(true)
    } else if ended.is_some_and(|ended| ended <= watched) {
        Some(false)
    } else {
        (watched <= end).then_some(!waits_for_a_kill)
    }
}

fn judge(alert: &str, standing: Standing, days: f64) -> Standing {
    let decided = standing.needed + standing.needless;
    let share = standing.needed as f64 / decided.max(1) as f64;
    let why = if standing.would_restart == 0 && standing.would_nudge > 0 {
        NOT_JUDGED.to_owned()
    } else if decided < ENOUGH {
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
    use super::super::coverage::Coverage;
    use super::super::report::Kill;
    use super::*;
    use crate::base::{Labels, Timestamp};
    use crate::outbox::WireTime;

    const MINUTE: i64 = 60_000;

    fn at(minutes: i64) -> WireTime {
        WireTime(Timestamp(minutes * MINUTE))
    }

    /// Two days in which a restart was observed at minute 10, about an alert that fired from then on.
    fn observed(cause: &'static str, ended: Option<i64>, killed: Option<i64>, days: i64) -> Report {
        let labels = Labels::from_pairs([("alertname", "A"), ("name", "web")]);
        let action = Action {
            at: at(10),
            action: "restart".to_owned(),
            subject: "acme/app".to_owned(),
            tenant: "acme".to_owned(),
            alert: "A".to_owned(),
            how: How::Observed,
            outcome: None,
            after: Duration::ZERO,
            cause,
            labels,
        };
        let name = "web".to_owned();
        let span = Span {
            alert: "A".to_owned(),
            labels: [("name".to_owned(), name.clone())].into(),
            from: at(10),
            to: ended.map(at),
        };
        let kill = |minute| Kill { at: at(minute), name: name.clone(), warned_seconds: None };
        Report {
            span: (at(0), at(days * 24 * 60)),
            tenants: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            alerts: vec![span],
            actions: vec![action],
            holds: Vec::new(),
            restarts_hour: (0, 6),
            ends: BTreeMap::new(),
            kills: killed.map(kill).into_iter().collect(),
            standing: Vec::new(),
            problems: Vec::new(),
            coverage: Coverage::whole(Duration::from_secs(2 * 24 * 3600)),
        }
    }

    #[test]
    fn a_restart_is_needed_where_harm_came_without_it() {
        for (cause, ended, killed, days, want) in [
            ("leak", Some(20), Some(20), 2, (1, 0)),
            ("leak", Some(12), Some(22), 2, (1, 0)),
            ("leak", Some(300), Some(300), 2, (1, 0)),
            ("leak", Some(300), Some(400), 2, (0, 1)),
            ("leak", Some(300), None, 2, (0, 1)),
            // Full for days, and nothing came of it.
            ("memory", None, None, 2, (0, 1)),
            ("memory", None, None, 1, (0, 0)),
            ("unclear", None, None, 2, (1, 0)),
            ("unclear", Some(20), None, 2, (0, 1)),
            ("unclear", Some(40), None, 2, (1, 0)),
        ] {
            let report = observed(cause, ended, killed, days);
            let standing = &standings(&report, Duration::from_secs(15 * 60))[0];
            let got = (standing.needed, standing.needless);
            assert_eq!(got, want, "{cause} {ended:?} {killed:?} {days}");
        }
    }

    #[test]
    fn what_nobody_saw_is_no_proof_that_no_harm_came() {
        let day = 24 * 60;
        for (cause, ended, killed, gap, want) in [
            ("leak", Some(300), None, (20, 40), (0, 0)),
            ("leak", Some(300), Some(200), (20, 40), (0, 0)),
            ("leak", Some(300), Some(200), (301, 400), (1, 0)),
            ("leak", Some(300), None, (301, 400), (0, 1)),
            ("leak", Some(300), None, (0, 9), (0, 1)),
            ("memory", None, None, (day - 60, day), (0, 0)),
            ("unclear", None, None, (20, 30), (0, 0)),
            ("unclear", None, None, (30, 60), (1, 0)),
        ] {
            let mut report = observed(cause, ended, killed, 2);
            report.coverage.gaps = vec![(at(gap.0).0, at(gap.1).0)];
            let standing = &standings(&report, Duration::from_secs(15 * 60))[0];
            assert_eq!((standing.needed, standing.needless), want, "{cause} {ended:?} {gap:?}");
        }
        let mut report = observed("leak", Some(20), Some(20), 9);
        report.coverage.seen = Duration::from_secs(6 * 24 * 3600);
        report.actions = vec![report.actions[0].clone(); 5];
        let standing = &standings(&report, Duration::from_secs(15 * 60))[0];
        assert_eq!(standing.why, "6.0 of 7 days observed");
    }

    #[test]
    fn a_rule_that_would_only_nudge_is_named_and_not_judged() {
        let mut report = observed("cpu_saturation", Some(20), None, 9);
        report.actions[0].action = "nudge".to_owned();
        let all = standings(&report, Duration::from_secs(15 * 60));
        let [standing] = &all[..] else { panic!("one: {all:?}") };
        assert_eq!((standing.would_restart, standing.would_nudge, standing.earned), (0, 1, false));
        assert!(standing.why.starts_with("nudges are not judged"), "{}", standing.why);
        report.actions[0].how = How::Requested;
        assert!(standings(&report, Duration::ZERO).is_empty(), "what was sent is no shadow");
    }

    #[test]
    fn act_is_earned_by_number_days_and_precision() {
        let check = |needed, needless, days, want: &str| {
            let would_restart = needed + needless;
            let standing = Standing { would_restart, needed, needless, ..Standing::default() };
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
