//! Rules on a window of their own: what rule tests and other dry runs evaluate with.
//!
//! The plain Prometheus machine, made of the parts the engine runs live: the same expressions,
//! records, templates and life cycle. There are no targets, so nothing is unknown; no policy, no
//! lanes and no journal. Time is what the caller says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evaluate::{self, Context, RuleFailure};
use super::group::{GroupState, Pace, build, terms};
use super::round::write_alert_series;
use crate::alerts::{Alert, Round, advance};
use crate::base::{Labels, RuleId, Sample, Timestamp};
use crate::promql::{EvalOptions, Memo};
use crate::rules::{Group, RuleKind};
use crate::window::{Caps, Refused, Retention, SeriesId, Source, Window};
use crate::yaml::Position;

/// Longer than any test, and far from the end of time.
const FOR_EVER: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// What templates know beside the alert itself, and how expressions are evaluated.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// How expressions are evaluated.
    pub eval: EvalOptions,
    /// `$externalLabels` of templates.
    pub external_labels: Labels,
    /// `$externalURL` of templates.
    pub external_url: String,
}

/// A rule that cannot be evaluated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub rule: RuleId,
    /// Why.
    pub message: String,
    /// File and place of the part of its expression that is at fault, where that is known.
    pub place: Option<(String, Position)>,
}

/// Rule groups, their alerts and the samples they look at.
#[derive(Debug)]
pub struct Rehearsal {
    groups: Vec<GroupState>,
    stage: Stage,
    window: Window,
    memo: Memo,
}

impl Rehearsal {
    /// Rules that have not run yet, to be evaluated in this order every `interval`, whatever their
    /// group says, over a window that forgets nothing.
    pub fn new(groups: Vec<Group>, interval: Duration, stage: Stage) -> Rehearsal {
        let pace = Pace { evaluation_interval: interval, phase: Duration::ZERO };
        let retention = Retention { least: FOR_EVER, newest: FOR_EVER, ..Retention::default() };
        let caps = Caps { max_series: usize::MAX, max_bytes: usize::MAX };
        let groups = groups.into_iter().map(|group| Group { interval: None, ..group }).collect();
        Rehearsal {
            groups: build(groups, &pace, Timestamp(0)),
            stage,
            window: Window::new(caps, retention),
            memo: Memo::default(),
        }
    }

    /// The id of an input series.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesId, Refused> {
        self.window.series(labels)
    }

    /// Adds a sample to an input series.
    pub fn append(&mut self, series: SeriesId, sample: Sample) {
        self.window.append(series, sample);
    }

    /// Evaluates every group at a slot. Ends at the first rule that fails, and says which and why.
    pub fn evaluate(&mut self, slot: Timestamp) -> Result<(), Broken> {
        for group in 0..self.groups.len() {
            for rule in 0..self.groups[group].rules.len() {
                self.run(group, rule, slot).map_err(|RuleFailure { message, at, .. }| {
                    let group = &self.groups[group].group;
                    let rule = group.rules[rule].id.clone();
                    Broken { rule, message, place: at.map(|at| (group.file.clone(), at)) }
                })?;
            }
        }
        Ok(())
    }

    fn run(&mut self, group: usize, rule: usize, slot: Timestamp) -> Result<(), RuleFailure> {
        let group = &mut self.groups[group];
        let file = &group.group.file;
        let (rule, state) = (&group.group.rules[rule], &mut group.rules[rule]);
        let context = Context {
            options: &self.stage.eval,
            memo: &self.memo,
            external_labels: &self.stage.external_labels,
            external_url: &self.stage.external_url,
            at: slot - group.group.query_offset.unwrap_or_default(),
            limit: group.group.limit.unwrap_or(0),
        };
        let vector = evaluate::evaluate_rule((file, rule), &self.window, &context)?.vector;
        if let RuleKind::Record { .. } = rule.kind {
            evaluate::record(rule, state, &vector, &mut self.window, context.at)?;
            return Ok(());
        }
        let found = evaluate::candidates(rule, state, &vector, &self.window, &context)?;
        let round = Round {
            slot,
            interval: group.interval,
            terms: terms(rule),
            unknown_timeout: FOR_EVER,
            doubt: &|_| None,
            may_begin: &|_| true,
        };
        advance(&mut state.alerts, found, &round);
        write_alert_series(state, &mut self.window, context.at);
        Ok(())
    }

    /// The alerts of every rule, as the last evaluation left them, each with its rule.
    pub fn alerts(&self) -> impl Iterator<Item = (&RuleId, &BTreeMap<Labels, Alert>)> {
        let rules = self.groups.iter().flat_map(|group| group.group.rules.iter().zip(&group.rules));
        rules.map(|(rule, state)| (&rule.id, &state.alerts))
    }

    /// The samples so far, records and `ALERTS` among them.
    pub fn source(&self) -> &dyn Source {
        &self.window
    }
}
