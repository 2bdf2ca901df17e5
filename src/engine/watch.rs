//! Whether what a rule no longer finds is over, or only not seen.
//!
//! The absence of an alert is believed only if everything that might have fed it was there: its targets,
//! each series of theirs, Docker, and the whole of the rule's ranges. Else the alert is unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::containers::Containers;
use super::docker::Witness;
use super::group::RuleState;
use super::target::Target;
use super::view::Health;
use crate::alerts::{Alert, Doubt};
use crate::base::{Labels, TargetId, Timestamp};
use crate::rules::Rule;

/// A target that has not been scraped for this many intervals is late.
const LATE_AFTER_INTERVALS: u32 = 2;

/// Whether the absence of an alert can be believed, for one rule in one round.
pub(super) struct Watch<'a> {
    /// Targets that feed the rule, and those that have yet to show what they feed.
    feeders: Vec<(&'a Target, Option<Doubt>)>,
    strangers: Vec<(&'a Target, Option<Doubt>)>,
    docker: Witness<'a>,
    /// Series of what the rule reads that could not be read.
    missed: Vec<(&'a Target, &'a Labels)>,
    /// Labels that the rule sets, whatever its inputs are.
    constants: Vec<&'a str>,
    covered: bool,
    fires_on_absence: bool,
    all_answered: bool,
}

impl<'a> Watch<'a> {
    /// Who feeds the rule, and how they are, at `slot`. `covered`: all its ranges look at has been seen.
    pub fn new(
        (rule, state): (&'a Rule, &RuleState),
        (targets, containers): (&'a BTreeMap<TargetId, Target>, &'a Containers),
        (slot, interval): (Timestamp, Duration),
        covered: bool,
    ) -> Watch<'a> {
        let is_read = |series: &&Labels| state.reads.has(series.metric_name());
        let missed_of =
            |target: &'a Target| target.missed.iter().filter(is_read).map(move |l| (target, l));
        let is_constant = |(_, text): &&(String, String)| !text.contains("{{");
        let constants = rule.labels.iter().filter(is_constant).map(|(name, _)| name.as_str());
        let mut feeders = Vec::new();
        let mut strangers = Vec::new();
        for target in targets.values() {
            if target.is_asked_for(&state.reads) {
                let unasked = || Some(Doubt::NotAnsweredYet { target: target.name() });
                feeders.push((target, doubt_of(target, slot).or_else(unasked)));
            } else if state.reads.any(&target.feeds) {
                feeders.push((target, doubt_of(target, slot)));
            } else if target.is_stranger_to(&state.reads) {
                strangers.push((target, doubt_of(target, slot)));
            }
        }
        let docker = containers.witness(&state.reads, (slot, interval));
        let covered = covered || state.range.is_zero();
        let has_answered = |target: &Target| {
            target.answered && target.asked.as_ref().is_none_or(|asked| asked.answered)
        };
        let all_answered = targets.values().all(has_answered);
        Watch {
            feeders,
            strangers,
            docker,
            missed: targets.values().flat_map(missed_of).collect(),
            constants: constants.collect(),
            covered,
            fires_on_absence: state.fires_on_absence,
            all_answered,
        }
    }

    /// Whether an alert of these labels may begin: not on what is absent only because nobody saw.
    pub fn may_begin(&self, labels: &Labels) -> bool {
        let is_fed = || self.covered && self.all_answered && !self.docker.is_silent;
        !self.fires_on_absence || (is_fed() && self.missed_by(labels).is_none())
    }

    /// Why the absence of an alert cannot be believed.
    pub fn doubt(&self, alert: &Alert) -> Option<Doubt> {
        if !self.covered {
            return Some(Doubt::RangeNotCovered);
        }
        // A target the alert names feeds it, even while the first page is yet to come.
        let all = || self.feeders.iter().chain(&self.strangers);
        let own: Vec<_> = all().filter(|(target, _)| is_of(alert, target)).collect();
        // An alert from before the start may have been fed by any target that has yet to answer.
        let relevant = match (own.is_empty(), alert.restored) {
            (false, _) => own,
            (true, true) => all().collect(),
            (true, false) => self.feeders.iter().collect(),
        };
        let doubt = relevant.into_iter().find_map(|(_, doubt)| doubt.clone());
        let doubt = doubt.or_else(|| self.missed_by(&alert.labels));
        doubt.or_else(|| self.docker.doubt(alert))
    }

    /// The series that might have fed an alert of these labels and could not be read: no label that
    /// both have is another.
    fn missed_by(&self, labels: &Labels) -> Option<Doubt> {
        let own = |name: &str| !self.constants.contains(&name);
        let agrees = |series: &Labels| {
            let mut both = labels.iter().filter(|(name, _)| own(name));
            both.all(|(name, text)| series.get(name).is_none_or(|other| other == text))
        };
        let (target, series) = self.missed.iter().find(|(_, series)| agrees(series))?;
        let metric = series.metric_name();
        let whose = series.get("name").or_else(|| series.get("id"));
        let whose = whose.map(|whose| format!(" of {whose}")).unwrap_or_default();
        Some(Doubt::SamplesMissed { target: target.name(), series: format!("{metric}{whose}") })
    }
}

/// Whether an alert names this target as its source.
fn is_of(alert: &Alert, target: &Target) -> bool {
    let same = |label| {
        let named = alert.labels.get(label);
        named.is_some() && named == target.info.labels.get(label)
    };
    same("instance") && (same("job") || alert.labels.get("job").is_none())
}

fn doubt_of(target: &Target, slot: Timestamp) -> Option<Doubt> {
    let late_before = slot - target.info.interval * LATE_AFTER_INTERVALS;
    let name = || target.name();
    match target.last_scrape {
        None => Some(Doubt::NotAnsweredYet { target: name() }),
        Some(_) if target.health == Health::Bad => Some(Doubt::TargetFailed { target: name() }),
        Some(last) if last < late_before => Some(Doubt::TargetLate { target: name() }),
        Some(_) if target.quality.is_stale(slot, target.info.interval) => {
            Some(Doubt::SamplesOld { target: name() })
        }
        Some(_) => None,
    }
}
