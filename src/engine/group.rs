//! One rule group as the engine runs it: its slots, what it reads, how its rules are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::evaluate::{Evaluated, RuleFailure};
use super::fact::Fact;
use super::recent::Recent;
use super::silence::Silence;
use super::texts::Texts;
use super::view::{AlertingView, GroupView, Health, RuleView};
use crate::alerts::{Alert, Terms};
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, Remembered, RuleId, Timestamp};
use crate::policy::{Cause, HoldReason, Symptoms, diagnose};
use crate::promql::ast::{BinaryOp, Expr, ExprKind, Matching};
use crate::promql::{QueryTimes, reach};
use crate::rules::{Grid, Group, Rule, RuleKind};
use crate::template::Template;
use crate::window::{SeriesId, Window};

/// A group waits for the targets that feed it at most this long …
const MAX_WAIT: Duration = Duration::from_millis(500);
/// … and at most this part of its interval.
const MAX_WAIT_SHARE: u32 = 4;
/// The rules of a group may take this part of its interval together …
const MAX_TIME_SHARE: u32 = 2;
/// … and at most so long: the loop that evaluates them does nothing else meanwhile.
const MAX_TIME: Duration = Duration::from_secs(2);
/// What a group takes of the loop's time is one of so many parts at most.
const REST: u32 = 3;

/// The state of one group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub group: Group,
    pub interval: Duration,
    pub grid: Grid,
    pub rules: Vec<RuleState>,
    /// Names its rules read, records followed back to what they read.
    pub reads: Reads,
    /// The next slot.
    pub next_slot: Timestamp,
    /// A slot that has come and waits for its targets, until this monotonic time.
    pub waiting: Option<(Timestamp, Duration)>,
    pub last_evaluation: Option<Timestamp>,
    pub took: Duration,
    /// It took so long that the others come first, until this monotonic time.
    pub rests_until: Duration,
    pub missed: u64,
    /// Rule evaluations, and those that failed.
    pub evaluations: u64,
    pub failures: u64,
}

/// What made memory grow, in one life of its container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinned {
    pub cause: Cause,
    started_at: Option<Timestamp>,
}

impl Pinned {
    /// Whether a container that was started then has not been started again.
    pub fn is_of(&self, started_at: Option<Timestamp>) -> bool {
        let starts = started_at.zip(self.started_at);
        starts.is_none_or(|(now, then)| !now.is_later_start(then))
    }
}

/// The state of one rule.
#[derive(Debug, Default)]
pub(super) struct RuleState {
    /// Its alerts, by label set.
    pub alerts: BTreeMap<Labels, Alert>,
    /// Why the action each firing alert asks for is held.
    pub held: BTreeMap<Labels, HoldReason>,
    /// What made memory grow when each firing alert was first looked into.
    pub causes: BTreeMap<Labels, Pinned>,
    /// The series its last evaluation wrote, in order.
    pub written: Vec<SeriesId>,
    /// The labels of a record, by those of the result they were made of.
    pub named: Remembered<Labels>,
    pub health: Health,
    pub last_error: Option<String>,
    pub last_evaluation: Option<Timestamp>,
    pub took: Duration,
    pub series_fetched: usize,
    /// How long it has selected nothing.
    pub silence: Silence,
    /// Whether it reads scraped series, and no record or alert: these may rightly be empty.
    pub needs_series: bool,
    /// Its last evaluations.
    pub recent: Recent,
    /// Names it reads, records followed back.
    pub reads: Reads,
    /// Those of them that it joins with series of other targets.
    pub joins: BTreeSet<Arc<str>>,
    /// How far its ranges and offsets reach back; zero for instant selectors.
    pub range: Duration,
    /// Whether it may yield a result because something is missing.
    pub fires_on_absence: bool,
    /// What its alerts say, where it is an alert.
    pub texts: Texts,
}

impl RuleState {
    /// Goes on where the rule of this id was before a reload. Only a rule that asks the same as it did
    /// (`is_same`) keeps its history, which would be another's.
    pub fn go_on(&mut self, before: RuleState, is_same: bool) {
        (self.written, self.silence) = (before.written, before.silence);
        if is_same {
            (self.health, self.last_error) = (before.health, before.last_error);
            (self.last_evaluation, self.took) = (before.last_evaluation, before.took);
            (self.recent, self.series_fetched) = (before.recent, before.series_fetched);
        }
    }

    /// Notes how many series an evaluation fetched. True when the rule has now been without any for
    /// so long that it has to be reported.
    pub fn note_fetched(
        &mut self,
        evaluated: &Result<Evaluated, RuleFailure>,
        monotonic: Duration,
    ) -> bool {
        let (fetched, yields, failed) = match evaluated {
            Ok(evaluated) => (evaluated.series_fetched, !evaluated.vector.is_empty(), false),
            Err(failure) => (failure.series_fetched, false, true),
        };
        self.series_fetched = fetched;
        // What failed before it selected says nothing about series.
        if failed && fetched == 0 {
            return false;
        }
        self.silence.note(fetched > 0 || yields || !self.needs_series, monotonic)
    }

    /// Notes that an evaluation failed; returns what to tell.
    pub fn fail(&mut self, rule: &RuleId, error: String) -> Fact {
        let first = self.health != Health::Bad;
        self.health = Health::Bad;
        self.last_error = Some(error.clone());
        Fact::RuleFailed { rule: rule.clone(), error, first }
    }

    /// Whether it is reported as one that cannot fire, because nothing it selects exists.
    pub fn never_fires(&self) -> bool {
        self.silence.is_reported()
    }

    /// While an alert fires and its container lives, what first was seen to make memory grow stays its
    /// cause: a hold that lifts after the growth has ended, or a surge that stays, must not turn one into
    /// the other.
    pub fn hold_to_cause(
        &mut self,
        labels: &Labels,
        started_at: Option<Timestamp>,
        symptoms: &mut Symptoms,
    ) {
        let goes_on = |pinned: &Pinned| pinned.is_of(started_at);
        if !self.causes.get(labels).is_some_and(goes_on) {
            self.causes.remove(labels);
        }
        let cause = diagnose(symptoms);
        let is_seen = symptoms.growth_per_hour.and(symptoms.recent_growth_per_hour).is_some();
        if is_seen && matches!(cause, Cause::Leak | Cause::Traffic) {
            self.causes.entry(labels.clone()).or_insert(Pinned { cause, started_at });
        }
        symptoms.earlier = self.causes.get(labels).map(|pinned| pinned.cause);
    }

    /// The labels under which a recording rule writes a series of its result.
    pub fn record_labels(&mut self, rule: &Rule, labels: &Labels) -> Labels {
        if let Some(named) = self.named.get(labels) {
            return named.clone();
        }
        let mut builder = LabelsBuilder::from(labels);
        builder.set(METRIC_NAME, rule.name());
        for (name, text) in &rule.labels {
            builder.set(name, text);
        }
        let named = builder.build();
        self.named.insert(labels, named.clone());
        named
    }

    /// Takes over which series this evaluation wrote, and ends those that only the last one did.
    pub fn take_written(&mut self, mut ids: Vec<SeriesId>, window: &mut Window) {
        ids.sort_unstable();
        if ids != self.written {
            let gone = self.written.iter().filter(|id| ids.binary_search(id).is_err());
            gone.for_each(|id| window.end(*id));
        }
        self.written = ids;
    }
}

/// Which metric names an expression reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Reads {
    /// By name.
    pub names: BTreeSet<Arc<str>>,
    /// A selector without a fixed name: anything.
    pub all: bool,
}

impl Reads {
    /// Whether any of the names in `fed` is read.
    pub fn any(&self, fed: &BTreeSet<Arc<str>>) -> bool {
        self.all || self.names.iter().any(|name| fed.contains(name))
    }

    /// Whether this name is read.
    pub fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    /// Whether nothing is read.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    /// Reads what `other` reads, too.
    pub fn add(&mut self, other: &Reads) {
        self.all |= other.all;
        self.names.extend(other.names.iter().cloned());
    }
}

/// Groups in their initial state, the first slot of each after `now`.
pub(super) fn build(groups: Vec<Group>, pace: &Pace, now: Timestamp) -> Vec<GroupState> {
    let mut states: Vec<GroupState> = groups
        .into_iter()
        .map(|group| {
            let interval = group.interval.unwrap_or(pace.evaluation_interval);
            let grid = Grid::new(interval, pace.phase);
            GroupState {
                rules: group.rules.iter().map(rule_state).collect(),
                group,
                interval,
                grid,
                reads: Reads::default(),
                next_slot: grid.next_slot(now),
                waiting: None,
                last_evaluation: None,
                took: Duration::ZERO,
                rests_until: Duration::ZERO,
                missed: 0,
                evaluations: 0,
                failures: 0,
            }
        })
        .collect();
    find_scraped(&mut states);
    follow_records(&mut states);
    states
}

/// How fast the groups go that do not say so themselves, and where all grids begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// `global.evaluation_interval`
    pub evaluation_interval: Duration,
    /// All slots of the host lie this far behind the multiples of their interval.
    pub phase: Duration,
}

fn rule_state(rule: &Rule) -> RuleState {
    let mut state = RuleState::default();
    for reach in reach(&rule.expr, QueryTimes::default()) {
        match reach.selector.metric_name() {
            Some(name) => drop(state.reads.names.insert(Arc::from(name))),
            None => state.reads.all = true,
        }
        state.range = state.range.max(reach.history.unwrap_or_default());
    }
    state.joins = joined(&rule.expr);
    state.fires_on_absence = fires_on_absence(&rule.expr);
    if let RuleKind::Alert(alert) = &rule.kind {
        let compile = |(name, text): &(String, String)| {
            let template = Template::parse(&format!("__alert_{}", alert.name), text);
            Some((name.clone(), template.ok()?))
        };
        // Rule files are checked before they get here, so no template is lost.
        let labels = rule.labels.iter().filter_map(compile).collect();
        state.texts = Texts::new(labels, alert.annotations.iter().filter_map(compile).collect());
    }
    state
}

/// Metrics without which it finds nothing, though they may be of another target than the one whose labels it yields:
/// what it matches by labels that leave `instance` out (`x > on (name) group_left () y`). What we write ourselves is
/// always there.
fn joined(expr: &Expr) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    expr.walk(&mut |part| {
        let ExprKind::Binary(binary) = &part.kind else { return };
        let Matching { on, labels, .. } = &binary.matching;
        let is_apart = *on != labels.iter().any(|label| label == "instance");
        if !is_apart || matches!(binary.op, BinaryOp::Or | BinaryOp::Unless) {
            return;
        }
        for reach in reach(part, QueryTimes::default()) {
            let name = reach.selector.metric_name().filter(|name| !name.starts_with("plimsoll_"));
            names.extend(name.map(Arc::from));
        }
    });
    names
}

fn fires_on_absence(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |expr| {
        found |= match &expr.kind {
            ExprKind::Call(call) => call.func.name.starts_with("absent"),
            ExprKind::Binary(binary) => binary.op == BinaryOp::Unless,
            _ => false,
        };
    });
    found
}

/// Whether it has an answer where there is no series: `… or vector(0)`.
fn answers_alone(expr: &Expr) -> bool {
    let selects = |expr: &Expr| {
        let mut found = false;
        expr.walk(&mut |part| {
            found |= matches!(part.kind, ExprKind::Vector(_) | ExprKind::Matrix(_));
        });
        found
    };
    let mut found = false;
    expr.walk(&mut |part| {
        found |= match &part.kind {
            ExprKind::Binary(binary) => binary.op == BinaryOp::Or && !selects(&binary.rhs),
            _ => false,
        };
    });
    found
}

/// Finds the rules that read scraped series and nothing that a rule writes.
fn find_scraped(states: &mut [GroupState]) {
    let rules = states.iter().flat_map(|state| &state.group.rules);
    let records = rules.filter(|rule| matches!(rule.kind, RuleKind::Record { .. }));
    let mut written: BTreeSet<String> = records.map(|rule| rule.name().to_owned()).collect();
    written.extend(["ALERTS", "ALERTS_FOR_STATE"].map(str::to_owned));
    for state in states {
        for (rule, state) in state.group.rules.iter().zip(&mut state.rules) {
            let of_rules = state.reads.names.iter().any(|name| written.contains(&**name));
            let alone = of_rules || answers_alone(&rule.expr);
            state.needs_series = !state.reads.is_empty() && !alone;
        }
    }
}

/// What feeds a record, and how far that looks back.
type Behind = BTreeMap<Arc<str>, (Reads, Duration)>;

/// A rule that reads a record is fed by whatever feeds the record.
fn follow_records(states: &mut [GroupState]) {
    let mut behind = Behind::new();
    // Each pass follows one link of a chain of records; a chain is no longer than there are rules.
    for _ in 0..=states.iter().map(|state| state.rules.len()).sum() {
        let mut changed = false;
        for state in states.iter_mut() {
            for (rule, own) in state.group.rules.iter().zip(&mut state.rules) {
                changed |= follow(own, &behind);
                if let RuleKind::Record { name } = &rule.kind {
                    let record = behind.entry(Arc::from(name.as_str())).or_default();
                    record.0.add(&own.reads);
                    record.1 = own.range.max(record.1);
                }
            }
        }
        if !changed && !behind.is_empty() {
            break;
        }
    }
    for state in states {
        state.rules.iter().for_each(|rule| state.reads.add(&rule.reads));
    }
}

/// Adds to a rule what stands behind the records it reads; returns whether that was news.
fn follow(own: &mut RuleState, behind: &Behind) -> bool {
    let before = (own.reads.clone(), own.range);
    let known = before.0.names.iter().filter_map(|name| Some((name, behind.get(name)?)));
    for (name, (reads, range)) in known {
        own.reads.add(reads);
        own.range = own.range.max(*range);
        if own.joins.iter().any(|join| join == name) {
            own.joins.extend(reads.names.iter().cloned());
        }
    }
    before != (own.reads.clone(), own.range)
}

impl GroupState {
    /// Lets slots come that are due at `now`: the newest begins to wait for its targets, older ones
    /// count as missed. Returns how many were missed.
    pub fn arrive(&mut self, now: Timestamp, monotonic: Duration) -> u64 {
        if now < self.next_slot || monotonic < self.rests_until {
            return 0;
        }
        let slot = self.grid.slot_at_or_before(now);
        let skipped = slot.since(self.next_slot).as_millis() / self.interval.as_millis().max(1);
        let missed = u64::try_from(skipped).unwrap_or(u64::MAX) + u64::from(self.waiting.is_some());
        let patience = MAX_WAIT.min(self.interval / MAX_WAIT_SHARE);
        self.waiting = Some((slot, monotonic + patience));
        self.next_slot = self.grid.next_slot(now);
        self.missed += missed;
        missed
    }

    /// How long its rules may take together.
    pub fn budget(&self) -> Duration {
        MAX_TIME.min(self.interval / MAX_TIME_SHARE)
    }

    /// Its evaluation, begun at that time, took so long.
    pub fn note_took(&mut self, began: Duration, took: Duration) {
        self.took = took;
        let rest = took * REST;
        // One that takes little waits for nothing but its slot.
        self.rests_until = if rest > self.interval { began + rest } else { Duration::ZERO };
    }

    /// Goes on where the group of this name was before a reload: a slot that waits for its targets
    /// waits on.
    pub fn go_on(&mut self, before: &GroupState) {
        (self.evaluations, self.failures) = (before.evaluations, before.failures);
        (self.last_evaluation, self.took) = (before.last_evaluation, before.took);
        self.rests_until = before.rests_until;
        (self.missed, self.waiting) = (before.missed, before.waiting);
        if self.grid == before.grid {
            self.next_slot = before.next_slot;
        }
    }

    /// What it is called over reloads.
    pub fn key(&self) -> (String, String) {
        (self.group.file.clone(), self.group.name.clone())
    }

    /// Moves everything counted in wall time: the wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64, now: Timestamp) {
        self.waiting = None;
        self.next_slot = self.grid.next_slot(now);
        for alert in self.rules.iter_mut().flat_map(|rule| rule.alerts.values_mut()) {
            alert.rebase(by_ms);
        }
    }

    pub fn view(&self) -> GroupView {
        GroupView {
            name: self.group.name.clone(),
            file: self.group.file.clone(),
            interval: self.interval,
            limit: self.group.limit.unwrap_or(0),
            last_evaluation: self.last_evaluation,
            evaluation_time: self.took,
            missed: self.missed,
            evaluations: self.evaluations,
            failures: self.failures,
            rules: self.group.rules.iter().zip(&self.rules).map(rule_view).collect(),
        }
    }
}

fn rule_view((rule, state): (&Rule, &RuleState)) -> RuleView {
    RuleView {
        name: rule.name().to_owned(),
        query: rule.expr.to_string(),
        labels: rule.labels.clone(),
        health: state.health,
        last_error: state.last_error.clone(),
        last_evaluation: state.last_evaluation,
        evaluation_time: state.took,
        series_fetched: state.series_fetched,
        never_fires: state.never_fires(),
        recent: state.recent.view(),
        alerting: match &rule.kind {
            RuleKind::Record { .. } => None,
            RuleKind::Alert(alert) => Some(AlertingView {
                hold: alert.for_,
                keep_firing: alert.keep_firing_for,
                annotations: alert.annotations.clone(),
                alerts: state.alerts.values().cloned().collect(),
            }),
        },
    }
}

/// `for` and `keep_firing_for` of a rule.
pub(super) fn terms(rule: &Rule) -> Terms {
    match &rule.kind {
        RuleKind::Alert(alert) => Terms { hold: alert.for_, keep_firing: alert.keep_firing_for },
        RuleKind::Record { .. } => Terms::default(),
    }
}
