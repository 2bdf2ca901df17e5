//! Whether what a rule no longer finds is over, or only not seen.
//!
//! The absence of an alert is believed only if everything that might have fed it was there: its targets,
//! each series of theirs, Docker, and the whole of the rule's ranges. Else the alert is unknown.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::containers::Containers;
use super::docker::Witness;
use super::group::Reads;
use super::target::Target;
use super::view::Health;
use crate::alerts::{Alert, Doubt};
use crate::base::{Labels, TargetId, Timestamp};
use crate::promql::LOOKBACK;
use crate::rules::Rule;
use crate::window::Window;

/// A target that has not been scraped for this many intervals is late.
const LATE_AFTER_INTERVALS: u32 = 2;

/// Labels that say which target a series is of.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// Whether the absence of an alert can be believed, for one rule in one round.
pub(super) struct Watch<'a> {
    /// Targets that feed the rule, and those that have yet to show what they feed.
    feeders: Vec<(&'a Target, Option<Doubt>)>,
    strangers: Vec<(&'a Target, Option<Doubt>)>,
    targets: &'a BTreeMap<TargetId, Target>,
    docker: Witness<'a>,
    /// Series of what the rule reads that could not be read.
    missed: Vec<(&'a Target, &'a Labels)>,
    /// Series of what the rule reads that are shown and silent; sought when an alert is gone.
    silent: OnceCell<Vec<SilentSeries<'a>>>,
    window: &'a Window,
    asks: Asks<'a>,
    slot: Timestamp,
    /// Labels that the rule sets, whatever its inputs are.
    constants: Vec<&'a str>,
    covered: bool,
    all_answered: bool,
}

/// A series that a target shows, but with samples of too long ago.
struct SilentSeries<'a> {
    target: &'a Target,
    series: &'a Labels,
    newest: Timestamp,
}

/// A rule, and what it asks for.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    rule: &'a Rule,
    reads: &'a Reads,
    joins: &'a BTreeSet<Arc<str>>,
    range: Duration,
    /// How long ago its group looks from (`query_offset`).
    offset: Duration,
    fires_on_absence: bool,
}

impl<'a> Asks<'a> {
    pub fn of(
        rule: &'a Rule,
        (reads, joins): (&'a Reads, &'a BTreeSet<Arc<str>>),
        (range, offset): (Duration, Duration),
        fires_on_absence: bool,
    ) -> Asks<'a> {
        Asks { rule, reads, joins, range, offset, fires_on_absence }
    }
}

/// What a rule may be fed by.
type Feeds<'a> = (&'a BTreeMap<TargetId, Target>, &'a Containers, &'a Window);

impl<'a> Watch<'a> {
    /// Who feeds the rule, and how they are, at `slot`. `covered`: all its ranges look at has been seen.
    pub fn new(
        asks: Asks<'a>,
        (targets, containers, window): Feeds<'a>,
        (slot, interval): (Timestamp, Duration),
        covered: bool,
    ) -> Watch<'a> {
        let is_read = |series: &&Labels| asks.reads.has(series.metric_name());
        let missed_of =
            |target: &'a Target| target.missed.iter().filter(is_read).map(move |l| (target, l));
        let is_constant = |(_, text): &&(String, String)| !text.contains("{{");
        let constants = asks.rule.labels.iter().filter(is_constant).map(|(name, _)| name.as_str());
        let mut feeders = Vec::new();
        let mut strangers = Vec::new();
        for target in targets.values() {
            if target.is_asked_for(asks.reads) {
                let unasked = || Some(Doubt::NotAnsweredYet { target: target.name() });
                feeders.push((target, doubt_of(target, slot).or_else(unasked)));
            } else if asks.reads.any(&target.feeds) {
                let cut_short = || cut_short(target, (slot - asks.offset, asks.range));
                feeders.push((target, doubt_of(target, slot).or_else(cut_short)));
            } else if target.is_stranger_to(asks.reads) {
                strangers.push((target, doubt_of(target, slot)));
            }
        }
        let docker = containers.witness(asks.reads, (slot, interval));
        let covered = covered || (asks.range.is_zero() && asks.offset.is_zero());
        let has_answered = |target: &Target| {
            target.answered && target.asked.as_ref().is_none_or(|asked| asked.answered)
        };
        let all_answered = targets.values().all(has_answered);
        Watch {
            feeders,
            strangers,
            targets,
            docker,
            missed: targets.values().flat_map(missed_of).collect(),
            silent: OnceCell::new(),
            window,
            asks,
            slot,
            constants: constants.collect(),
            covered,
            all_answered,
        }
    }

    /// Whether an alert of these labels may begin: not on what is absent only because nobody saw.
    pub fn may_begin(&self, labels: &Labels) -> bool {
        let is_fed = || self.covered && self.all_answered && !self.docker.is_silent;
        !self.asks.fires_on_absence || (is_fed() && self.missed_by(labels).is_none())
    }

    /// Why the absence of an alert cannot be believed.
    pub fn doubt(&self, alert: &Alert) -> Option<Doubt> {
        if !self.covered {
            return Some(Doubt::RangeNotCovered);
        }
        let reads = self.asks.reads;
        let is_own = |target: &&Target| is_of(&alert.labels, target) && target.may_feed(reads);
        let own: Vec<&Target> = self.targets.values().filter(is_own).collect();
        let doubt = match (own.is_empty(), alert.restored) {
            (false, is_restored) => self.doubt_of_named(&own, is_restored),
            // An alert from before the start may have been fed by any target that has yet to answer.
            (true, true) => first_doubt(self.feeders.iter().chain(&self.strangers)),
            (true, false) => first_doubt(&self.feeders),
        };
        let doubt = doubt.or_else(|| self.missed_by(&alert.labels));
        let doubt = doubt.or_else(|| self.silenced_by(alert)).or_else(|| self.as_before(alert));
        doubt.or_else(|| self.docker.doubt(alert))
    }

    /// Of an alert that names these targets: they feed it, even while the first page is yet to come. Others do where the
    /// rule joins what these do not bring.
    fn doubt_of_named(&self, own: &[&Target], is_restored: bool) -> Option<Doubt> {
        let Asks { reads, joins, .. } = self.asks;
        let is_own = |target: &Target| own.iter().any(|own| std::ptr::eq(*own, target));
        let named = self.feeders.iter().chain(&self.strangers).filter(|(other, _)| is_own(other));
        let is_lacking = |name: &&Arc<str>| !own.iter().any(|own| own.feeds.contains(*name));
        let lacking: Vec<_> = joins.iter().filter(is_lacking).collect();
        let brings = |other: &Target| lacking.iter().any(|name| other.feeds.contains(*name));
        let may_bring = |other: &Target| brings(other) || other.is_asked_for(reads);
        let others =
            self.feeders.iter().filter(|(other, _)| !lacking.is_empty() && may_bring(other));
        // Who has never answered is waited for only where nobody is known to bring it.
        let is_unheard =
            is_restored && !lacking.is_empty() && !self.feeders.iter().any(|(f, _)| brings(f));
        let strangers = self.strangers.iter().filter(|_| is_unheard);
        first_doubt(named.chain(others).chain(strangers))
    }

    /// Whether the rule joins this metric with what an alert of these labels is of, and from another target.
    fn is_joined_to(&self, alert: &Labels, metric: &str) -> bool {
        let sends = |target: &Target| is_of(alert, target) && target.feeds.contains(metric);
        self.asks.joins.contains(metric) && !self.targets.values().any(sends)
    }

    /// The series that might have fed an alert of these labels and could not be read.
    fn missed_by(&self, labels: &Labels) -> Option<Doubt> {
        let (target, series) =
            self.missed.iter().find(|(_, series)| self.may_feed(series, labels))?;
        Some(Doubt::SamplesMissed { target: target.name(), series: whose(series) })
    }

    /// The series that might have fed the alert and has nothing to say since it is too old, though its
    /// target answers with newer ones of others. What was silent before the alert began did not feed it.
    fn silenced_by(&self, alert: &Alert) -> Option<Doubt> {
        let speaks_for = LOOKBACK.max(self.asks.range);
        let has_fed = |silent: &&SilentSeries<'_>| {
            silent.newest + speaks_for >= alert.active_at
                && self.may_feed(silent.series, &alert.labels)
        };
        let silent = self.silent.get_or_init(|| self.find_silent()).iter().find(has_fed)?;
        let series = Some(whose(silent.series));
        Some(Doubt::SamplesOld { target: silent.target.name(), series })
    }

    fn find_silent(&self) -> Vec<SilentSeries<'a>> {
        let reads = self.asks.reads;
        let of = |(target, _): &(&'a Target, Option<Doubt>)| {
            let target = *target;
            let is_read = |series: &Labels| reads.has(series.metric_name());
            let found = target.silent(self.slot, self.window, is_read);
            found.map(move |(series, newest)| SilentSeries { target, series, newest })
        };
        self.feeders.iter().flat_map(of).collect()
    }

    /// A series so old that the window has forgotten it is looked for when its target shows all of its
    /// series anew; until then what was in doubt for it stays so.
    fn as_before(&self, alert: &Alert) -> Option<Doubt> {
        let (_, doubt) = alert.unknown.as_ref()?;
        let Doubt::SamplesOld { target, series: Some(_) } = doubt else { return None };
        let is_awaited = |feeder: &Target| feeder.wants_epoch && feeder.name() == *target;
        self.feeders.iter().any(|(feeder, _)| is_awaited(feeder)).then(|| doubt.clone())
    }

    /// Whether no label that the series and an alert both have differs. Of what is joined from another target those
    /// that name the target do.
    fn may_feed(&self, series: &Labels, alert: &Labels) -> bool {
        let is_from_another = self.is_joined_to(alert, series.metric_name());
        let names_a_target = |name: &str| is_from_another && OF_TARGETS.contains(&name);
        let own = |name: &str| !self.constants.contains(&name) && !names_a_target(name);
        let mut both = alert.iter().filter(|(name, _)| own(name));
        both.all(|(name, text)| series.get(name).is_none_or(|other| other == text))
    }
}

fn first_doubt<'a>(of: impl IntoIterator<Item = &'a (&'a Target, Option<Doubt>)>) -> Option<Doubt> {
    of.into_iter().find_map(|(_, doubt)| doubt.clone())
}

/// A series for people: its metric, and the container it is of.
fn whose(series: &Labels) -> String {
    let metric = series.metric_name();
    let whose = series.get("name").or_else(|| series.get("id"));
    format!("{metric}{}", whose.map(|whose| format!(" of {whose}")).unwrap_or_default())
}

/// Whether an alert names this target as its source.
fn is_of(alert: &Labels, target: &Target) -> bool {
    let same = |label| {
        let named = alert.get(label);
        named.is_some() && named == target.info.labels.get(label)
    };
    same("instance") && (same("job") || alert.get("job").is_none())
}

fn doubt_of(target: &Target, slot: Timestamp) -> Option<Doubt> {
    let late_before = slot - target.info.interval * LATE_AFTER_INTERVALS;
    let name = || target.name();
    match target.last_scrape {
        None => Some(Doubt::NotAnsweredYet { target: name() }),
        Some(_) if target.health == Health::Bad => Some(Doubt::TargetFailed { target: name() }),
        Some(last) if last < late_before => Some(Doubt::TargetLate { target: name() }),
        Some(_) if target.quality.is_stale(slot, target.info.interval) => {
            Some(Doubt::SamplesOld { target: name(), series: None })
        }
        Some(_) => None,
    }
}

/// One that is back, and was not scraped well often enough within the range.
fn cut_short(target: &Target, (slot, range): (Timestamp, Duration)) -> Option<Doubt> {
    let is_too_short = target.unbroken.is_too_short(slot, range, target.info.interval);
    is_too_short.then(|| Doubt::RangeTooShort { target: target.name() })
}
