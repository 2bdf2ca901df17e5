//! The life cycle of one rule's alerts, as a pure step from slot to slot.
//!
//! Semantics are those of Prometheus (`rules/alerting.go`), with *unknown* beside them. Time is
//! counted in slots: whatever the clock does between two evaluations, `for: 1m` at an interval of
//! 5 s means twelve slots. Nothing here sends, stores or renders.

use std::collections::BTreeMap;
use std::time::Duration;

use super::alert::{Alert, AlertState, Doubt, ResolveReason};
use crate::base::{Labels, Timestamp};

/// An unknown alert is said to be unknown after this many intervals.
const UNKNOWN_TOLD_AFTER_INTERVALS: u32 = 2;

/// How a rule times its alerts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// `for`
    pub hold: Duration,
    /// `keep_firing_for`
    pub keep_firing: Duration,
}

/// A series of the rule's result, as the alert it would be.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The full label set.
    pub labels: Labels,
    /// The rendered annotations.
    pub annotations: Labels,
    /// The value.
    pub value: f64,
}

/// One evaluation of one rule.
pub struct Round<'a> {
    /// The evaluation's slot.
    pub slot: Timestamp,
    /// The group's interval.
    pub interval: Duration,
    /// The rule's times.
    pub terms: Terms,
    /// How long an alert may stay unknown.
    pub unknown_timeout: Duration,
    /// Why the absence of this alert cannot be believed now, if it cannot.
    pub doubt: &'a dyn Fn(&Alert) -> Option<Doubt>,
    /// False for an alert of a rule that fires on absence, while its inputs have not been seen since
    /// the start or cannot be read.
    pub may_begin: &'a dyn Fn(&Labels) -> bool,
}

/// What a round changed about an alert. Every change is written to the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new and pending.
    Pending,
    /// It began to fire.
    Firing,
    /// It ended.
    Resolved,
    /// Its inputs have been missing for two intervals.
    Unknown,
    /// Its inputs are back.
    Known,
    /// Its clock was paused, `keep_firing_for` began or stopped to hold it, or it was pending and the
    /// incident before it is back in its place: nothing to tell.
    Paused,
    /// It was pending and its condition no longer holds, or its time after resolving is over: the
    /// alert is no longer in the book.
    Forgotten,
}

/// Takes one rule's alerts through one evaluation; returns what changed, in label order.
pub fn advance(
    alerts: &mut BTreeMap<Labels, Alert>,
    candidates: Vec<Candidate>,
    round: &Round<'_>,
) -> Vec<(Labels, Change)> {
    let mut changes = Vec::new();
    let mut seen: BTreeMap<Labels, Candidate> =
        candidates.into_iter().map(|candidate| (candidate.labels.clone(), candidate)).collect();

    alerts.retain(|labels, alert| {
        let change = match seen.remove(labels) {
            Some(candidate) if alert.is_active() => refresh(alert, candidate, round),
            Some(candidate) if (round.may_begin)(labels) => {
                // A resolved alert that comes back is a new incident of the same label set.
                let begun = Alert { revision: alert.revision, ..begin(candidate, round.slot) };
                let ended = std::mem::replace(alert, begun);
                alert.previous = (!ended.is_over(round.slot)).then(|| Box::new(ended));
                Some(fire_if_due(alert, round).unwrap_or(Change::Pending))
            }
            _ if alert.is_active() => absent(alert, round),
            _ => alert.is_over(round.slot).then_some(Change::Forgotten),
        };
        changes.extend(change.map(|change| (labels.clone(), change)));
        change != Some(Change::Forgotten)
    });

    for (labels, candidate) in seen {
        if (round.may_begin)(&labels) {
            let mut alert = begin(candidate, round.slot);
            let change = fire_if_due(&mut alert, round).unwrap_or(Change::Pending);
            alerts.insert(labels.clone(), alert);
            changes.push((labels, change));
        }
    }
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    changes
}

/// Ends every active alert of a rule that no longer exists.
pub fn end_all(alerts: &mut BTreeMap<Labels, Alert>, slot: Timestamp) -> Vec<(Labels, Change)> {
    let mut changes = Vec::new();
    alerts.retain(|labels, alert| {
        let change = match alert.state {
            AlertState::Pending => step_back(alert),
            AlertState::Firing => resolve(alert, slot, ResolveReason::RuleGone),
            AlertState::Resolved => return true,
        };
        changes.push((labels.clone(), change));
        change != Change::Forgotten
    });
    changes
}

/// Forgets resolved alerts whose time is over, where no rule steps through them any more.
pub fn expire(alerts: &mut BTreeMap<Labels, Alert>, slot: Timestamp) -> Vec<Labels> {
    let over: Vec<Labels> = alerts
        .iter()
        .filter(|(_, alert)| alert.is_over(slot))
        .map(|(labels, _)| labels.clone())
        .collect();
    alerts.retain(|labels, _| !over.contains(labels));
    over
}

fn begin(candidate: Candidate, slot: Timestamp) -> Alert {
    let Candidate { labels, annotations, value } = candidate;
    Alert { annotations, ..Alert::pending(labels, value, slot) }
}

/// The condition holds.
fn refresh(alert: &mut Alert, candidate: Candidate, round: &Round<'_>) -> Option<Change> {
    alert.restored = false;
    alert.value = candidate.value;
    alert.annotations = candidate.annotations;
    let was_unknown = alert.unknown.take().is_some();
    let was_told = std::mem::take(&mut alert.unknown_told);
    let was_kept = alert.keep_firing_since.take().is_some();
    let quiet = if was_unknown || was_kept { Some(Change::Paused) } else { None };
    let known = if was_told { Some(Change::Known) } else { quiet };
    fire_if_due(alert, round).or(known)
}

/// Fires a pending alert that has held long enough. What fires goes on, as in Prometheus, though a
/// reload raised `for` or the wall clock stepped back: its start was told, and is owed an end.
fn fire_if_due(alert: &mut Alert, round: &Round<'_>) -> Option<Change> {
    let held = round.slot.since(alert.active_at) >= round.terms.hold;
    if alert.state != AlertState::Pending || !held {
        return None;
    }
    alert.state = AlertState::Firing;
    // The wall clock may pass a slot twice. Two incidents of one alert never start at once, because
    // that is what tells them apart.
    let earlier = alert.previous.take().map(|ended| ended.starts_at());
    let twin = earlier.filter(|at| (round.slot..round.slot + round.interval).contains(at));
    let apart = |twin| twin + Duration::from_millis(1);
    alert.fired_at = Some(twin.map_or(round.slot, apart));
    Some(Change::Firing)
}

/// The condition is missing from the result of this round.
fn absent(alert: &mut Alert, round: &Round<'_>) -> Option<Change> {
    match (round.doubt)(alert) {
        Some(doubt) => doubted(alert, doubt, round),
        None => cleared(alert, round),
    }
}

fn doubted(alert: &mut Alert, doubt: Doubt, round: &Round<'_>) -> Option<Change> {
    let since = match &alert.unknown {
        Some((since, _)) => *since,
        None => round.slot,
    };
    let first = alert.unknown.is_none();
    let passes = doubt.passes();
    alert.unknown = Some((since, doubt));
    // `for` and `keep_firing_for` pause: a time nobody watched counts for neither side.
    if alert.state == AlertState::Pending {
        alert.active_at = alert.active_at + round.interval;
    }
    alert.keep_firing_since = alert.keep_firing_since.map(|since| since + round.interval);
    let unknown_for = round.slot.since(since);
    if unknown_for >= round.unknown_timeout {
        return Some(match alert.state {
            AlertState::Firing => resolve(alert, round.slot, ResolveReason::UnknownTimeout),
            _ => step_back(alert),
        });
    }
    let due = unknown_for >= round.interval * UNKNOWN_TOLD_AFTER_INTERVALS;
    if due && !passes && !alert.unknown_told && alert.state == AlertState::Firing {
        alert.unknown_told = true;
        return Some(Change::Unknown);
    }
    first.then_some(Change::Paused)
}

fn cleared(alert: &mut Alert, round: &Round<'_>) -> Option<Change> {
    alert.unknown = None;
    let was_told = std::mem::take(&mut alert.unknown_told);
    if alert.state == AlertState::Pending {
        return Some(step_back(alert));
    }
    let since = alert.keep_firing_since.unwrap_or(round.slot);
    if round.slot.since(since) < round.terms.keep_firing {
        let first = alert.keep_firing_since.is_none();
        alert.keep_firing_since = Some(since);
        // Whoever heard `unknown` hears that it is known again, though only kept firing.
        return if was_told { Some(Change::Known) } else { first.then_some(Change::Paused) };
    }
    Some(resolve(alert, round.slot, ResolveReason::ConditionCleared))
}

/// A pending alert that never fired leaves no trace: the incident before it takes its place again.
fn step_back(alert: &mut Alert) -> Change {
    let Some(ended) = alert.previous.take() else { return Change::Forgotten };
    *alert = Alert { revision: alert.revision, ..*ended };
    Change::Paused
}

fn resolve(alert: &mut Alert, slot: Timestamp, reason: ResolveReason) -> Change {
    alert.end(slot, reason);
    Change::Resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(5);

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("alertname", "A"), ("name", name)])
    }

    fn candidate(value: f64) -> Candidate {
        Candidate { labels: labels("x"), annotations: Labels::empty(), value }
    }

    /// Plays one script: `1` the condition holds, `0` it does not, `?` it does not and the target
    /// failed. Writes the state after each slot: `.` none, `p`, `F`, `r`, upper-case `U` for firing
    /// and unknown, `u` for pending and unknown; `!` follows a slot that told something.
    fn play(script: &str, hold_s: u64, keep_s: u64) -> String {
        let mut alerts = BTreeMap::new();
        let mut told = String::new();
        for (n, input) in script.chars().enumerate() {
            let doubted = input == '?';
            let doubt = |_: &Alert| doubted.then_some(Doubt::RangeNotCovered);
            let round = Round {
                slot: Timestamp(5000 * n as i64),
                interval: STEP,
                terms: Terms {
                    hold: Duration::from_secs(hold_s),
                    keep_firing: Duration::from_secs(keep_s),
                },
                unknown_timeout: Duration::from_secs(40),
                doubt: &doubt,
                may_begin: &|_| input != '-',
            };
            let candidates = if "1-".contains(input) { vec![candidate(1.0)] } else { vec![] };
            let changes = advance(&mut alerts, candidates, &round);
            told.push(match alerts.values().next() {
                None => '.',
                Some(alert) => match (alert.state, alert.unknown.is_some()) {
                    (AlertState::Pending, false) => 'p',
                    (AlertState::Pending, true) => 'u',
                    (AlertState::Firing, false) => 'F',
                    (AlertState::Firing, true) => 'U',
                    (AlertState::Resolved, _) => 'r',
                },
            });
            let loud = [Change::Firing, Change::Resolved, Change::Unknown, Change::Known];
            if changes.iter().any(|(_, change)| loud.contains(change)) {
                told.push('!');
            }
        }
        told
    }

    #[test]
    fn life_cycle_by_script() {
        let cases = [
            // (what, script, for, keep_firing_for, states)
            ("fires at once without for", "0110", 0, 0, ".F!Fr!"),
            ("holds for 10 s = two slots", "1110", 10, 0, "ppF!r!"),
            ("a gap starts for anew", "110111", 10, 0, "pp.ppF!"),
            ("kept firing for 10 s", "100001", 0, 10, "F!FFr!rF!"),
            ("a relapse while kept firing is one incident", "10100", 0, 10, "F!FFFF"),
            ("unknown is not resolved, and is told after two intervals", "1???1", 0, 0, "F!UUU!F!"),
            ("a short spell of unknown is not told", "1?10", 0, 0, "F!UFr!"),
            ("for pauses while unknown", "1?11", 10, 0, "pupF!"),
            ("unknown times out", "1??????????", 0, 0, "F!UUU!UUUUUr!r"),
            ("a pending alert that stays unknown is forgotten", "1?????????", 20, 0, "puuuuuuuu."),
            ("absence rules wait for their inputs", "--1", 0, 0, "..F!"),
            ("what ended is back when what came after it never fired", "11010", 5, 0, "pF!r!pr"),
            ("known again, though only kept firing", "1???0?", 0, 20, "F!UUU!F!U"),
        ];
        for (what, script, hold, keep, want) in cases {
            assert_eq!(play(script, hold, keep), want, "{what}");
        }
    }

    #[test]
    fn resolved_alerts_are_kept_for_their_retention() {
        const MINUTE: i64 = 60_000;
        let ended = |accepted: bool| {
            let mut alert = begin(candidate(1.0), Timestamp(0));
            if accepted {
                alert.accept(Timestamp(0));
            }
            resolve(&mut alert, Timestamp(1000), ResolveReason::ConditionCleared);
            alert
        };
        let late = || {
            let mut alert = ended(false);
            alert.accept(Timestamp(50 * MINUTE + 1000));
            alert
        };
        let held = || {
            let mut alert = ended(true);
            assert!(alert.hold_end(Duration::from_secs(3600)), "that is new");
            assert!(!alert.hold_end(Duration::from_secs(3600)), "that is known");
            alert
        };
        let moved = |minutes: i64| {
            let mut alert = ended(true);
            alert.rebase(minutes * MINUTE);
            alert
        };
        let from_an_old_row = || {
            let mut alert = Alert { kept_until: None, ..ended(true) };
            alert.complete();
            alert
        };
        let cases = [
            ("heard of", ended(true), 15),
            ("missed", ended(false), 60),
            ("presented late: 15 minutes from then", late(), 65),
            ("held: an hour, and 15 minutes", held(), 75),
            ("the clock was set 20 minutes forward", moved(20), 35),
            ("the clock was set 10 minutes back", moved(-10), 5),
            ("from a row of an older version", from_an_old_row(), 15),
        ];
        for (what, alert, kept) in cases {
            let last = Timestamp(kept * MINUTE + 1000);
            assert!(!alert.is_over(last), "{what}");
            assert!(alert.is_over(last + Duration::from_millis(1)), "{what}");
            let mut book = BTreeMap::from([(labels("x"), alert)]);
            assert_eq!(expire(&mut book, last), [], "{what}");
            assert_eq!(expire(&mut book, last + STEP), [labels("x")], "{what}");
            assert!(book.is_empty(), "{what}");
        }
    }

    #[test]
    fn two_incidents_never_start_at_once() {
        let no_doubt = |_: &Alert| None;
        let round = |slot_s: i64| Round {
            slot: Timestamp(slot_s * 1000),
            interval: STEP,
            terms: Terms::default(),
            unknown_timeout: STEP,
            doubt: &no_doubt,
            may_begin: &|_| true,
        };
        let mut alerts = BTreeMap::new();
        let mut starts = Vec::new();
        // Each incident lasts one slot; then the clock shows the second given again.
        for slot in [100, 100, 100, 95, 200] {
            advance(&mut alerts, vec![candidate(1.0)], &round(slot));
            starts.push(alerts[&labels("x")].starts_at().0);
            advance(&mut alerts, vec![], &round(slot + 5));
            alerts.values_mut().for_each(|alert| alert.accept(Timestamp(slot * 1000)));
        }
        assert_eq!(starts, [100_000, 100_001, 100_002, 95_000, 200_000]);
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_unfire() {
        let mut alert = begin(candidate(1.0), Timestamp(0));
        let terms = Terms { hold: Duration::from_secs(10), keep_firing: Duration::ZERO };
        let doubt = |_: &Alert| None;
        let round = |slot_s: i64, terms| Round {
            slot: Timestamp(slot_s * 1000),
            interval: STEP,
            terms,
            unknown_timeout: Duration::from_secs(40),
            doubt: &doubt,
            may_begin: &|_| true,
        };
        assert_eq!(fire_if_due(&mut alert, &round(10, terms)), Some(Change::Firing));
        assert_eq!(fire_if_due(&mut alert, &round(5, terms)), None, "it goes on");
        alert.rebase(120_000);
        assert_eq!(fire_if_due(&mut alert, &round(5, terms)), None, "also if it went ahead before");
    }

    #[test]
    fn a_removed_rule_resolves_what_fires() {
        let mut firing = begin(candidate(1.0), Timestamp(0));
        firing.state = AlertState::Firing;
        let mut alerts = BTreeMap::from([
            (labels("x"), firing),
            (labels("y"), begin(candidate(1.0), Timestamp(0))),
        ]);
        let changes = end_all(&mut alerts, Timestamp(5000));
        assert_eq!(changes, [(labels("x"), Change::Resolved), (labels("y"), Change::Forgotten)]);
        assert_eq!(alerts.len(), 1);
    }

    #[test]
    fn what_fires_goes_on_and_ends_though_for_was_raised() {
        let mut alerts = BTreeMap::new();
        let no_doubt = |_: &Alert| None;
        let round = |n: i64, hold_s| Round {
            slot: Timestamp(5000 * n),
            interval: STEP,
            terms: Terms { hold: Duration::from_secs(hold_s), keep_firing: Duration::ZERO },
            unknown_timeout: STEP,
            doubt: &no_doubt,
            may_begin: &|_| true,
        };
        advance(&mut alerts, vec![candidate(1.0)], &round(0, 0));
        assert_eq!(advance(&mut alerts, vec![candidate(1.0)], &round(1, 60)), []);
        let changes = advance(&mut alerts, vec![], &round(2, 60));
        assert_eq!(changes, [(labels("x"), Change::Resolved)], "whoever heard its start hears it");
    }
}
