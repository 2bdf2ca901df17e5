//! Plays a test: samples up to the slot, rules at the slot, and so on to the last time asked about.
//!
//! As promtool does: every group at every slot, whatever its own interval; samples are there only up
//! to the slot; alerts at a time are those of the slot before it.

use std::time::Duration;

use super::compare::{Difference, Entry, compare};
use super::file::{AlertTest, ExprTest, Place, RuleTest, TestFile};
use crate::alerts::{Alert, AlertState};
use crate::base::{Labels, RuleId, Sample, Timestamp, format_duration};
use crate::engine::{Broken, Rehearsal, Stage};
use crate::promql::ast::Expr;
use crate::promql::{EvalOptions, Traced, Value, instant, trace};
use crate::rules::{Group, RuleKind, order};
use crate::window::SeriesId;

/// A test that ran.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its name, or its number in the file, from 1.
    pub name: String,
    /// Where it stands.
    pub at: Place,
    /// How many expectations it has.
    pub checks: usize,
    /// What did not hold.
    pub failures: Vec<Failure>,
    /// What holds for a reason nobody meant: an alert that no rule has cannot fire.
    pub warnings: Vec<(Place, String)>,
}

/// An expectation that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where the expectation stands.
    pub at: Place,
    /// The time it speaks of.
    pub eval_time: Duration,
    /// What it is about.
    pub kind: Kind,
    /// How the result differs.
    pub differences: Vec<Difference>,
    /// Why there is no result, or what else helps to understand it.
    pub notes: Vec<String>,
    /// The file and the place of the query that could not be evaluated.
    pub place: Option<(String, Place)>,
    /// The parts of the expressions behind it, with their values at that time.
    pub parts: Vec<Part>,
}

/// What an expectation is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The alerts of this name.
    Alerts(String),
    /// This expression.
    Expr(String),
    /// A rule that could not be evaluated: its id.
    Rule(String),
}

/// A part of an expression and its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// It in canonical form.
    pub expr: String,
    /// How deep it stands.
    pub depth: usize,
    /// Its value; an error in words.
    pub value: Result<Value, String>,
}

/// Runs the tests of a file whose name `wanted` accepts, on these rules.
pub fn run(file: &TestFile, groups: &[Group], wanted: &dyn Fn(&str) -> bool) -> Vec<Ran> {
    let groups = in_order(groups, &file.group_eval_order);
    let wanted = names(file).zip(&file.tests).filter(|(name, _)| wanted(name));
    wanted.map(|(name, test)| Player::new(file, &groups, test).play(name)).collect()
}

/// The name of each test, or its number in the file, from 1.
pub fn names(file: &TestFile) -> impl Iterator<Item = String> {
    file.tests.iter().enumerate().map(|(number, test)| match test.name.as_str() {
        "" => format!("test {}", number + 1),
        name => name.to_owned(),
    })
}

/// Groups named in `first` before the others, those in the order in which they run live.
fn in_order(groups: &[Group], first: &[String]) -> Vec<Group> {
    let all: Vec<&Group> = groups.iter().collect();
    let mut sorted: Vec<Group> = order(&all).into_iter().map(|at| groups[at].clone()).collect();
    let rank = |group: &Group| first.iter().position(|name| *name == group.name);
    sorted.sort_by_key(|group| rank(group).unwrap_or(first.len()));
    sorted
}

struct Player<'t> {
    file: &'t TestFile,
    groups: &'t [Group],
    test: &'t RuleTest,
    options: EvalOptions,
    rehearsal: Rehearsal,
    ran: Ran,
}

/// An input series: what is to come, and when.
struct Feed<'t> {
    id: SeriesId,
    values: Box<dyn Iterator<Item = Option<f64>> + 't>,
    next: Timestamp,
}

impl<'t> Player<'t> {
    fn new(file: &'t TestFile, groups: &'t [Group], test: &'t RuleTest) -> Player<'t> {
        let options = EvalOptions {
            default_step: file.evaluation_interval,
            features: file.features,
            ..EvalOptions::default()
        };
        let stage = Stage {
            eval: options.clone(),
            external_labels: test.external_labels.clone(),
            external_url: test.external_url.clone(),
        };
        let rehearsal = Rehearsal::new(groups.to_vec(), file.evaluation_interval, stage);
        let checks = test.alerts.len() + test.exprs.len();
        let (failures, warnings) = (Vec::new(), Vec::new());
        let ran = Ran { name: String::new(), at: test.at, checks, failures, warnings };
        Player { file, groups, test, options, rehearsal, ran }
    }

    fn play(mut self, name: String) -> Ran {
        self.ran.name = name;
        if let Err(failure) = self.slots() {
            self.ran.failures.push(*failure);
            return self.ran;
        }
        for test in &self.test.exprs {
            self.check_expr(test);
        }
        self.ran.failures.sort_by_key(|failure| failure.at);
        self.ran
    }

    /// Slot by slot to the last time asked about. A rule that fails ends the test.
    fn slots(&mut self) -> Result<(), Box<Failure>> {
        let (test, interval) = (self.test, self.file.evaluation_interval);
        let mut feeds = self.feeds()?;
        let mut elapsed = Duration::ZERO;
        while elapsed <= test.ends() {
            let slot = test.start + elapsed;
            for feed in &mut feeds {
                feed.take_upto(slot, test.interval, &mut self.rehearsal);
            }
            self.rehearsal.evaluate(slot).map_err(|Broken { rule, message, place }| {
                Box::new(Failure { place, ..self.failed_rule(&rule.0, message, elapsed) })
            })?;
            let due = |at: Duration| elapsed <= at && at < elapsed + interval;
            for alerts in test.alerts.iter().filter(|alerts| due(alerts.eval_time)) {
                self.check_alerts(alerts, slot);
            }
            elapsed += interval;
        }
        Ok(())
    }

    fn feeds(&mut self) -> Result<Vec<Feed<'t>>, Box<Failure>> {
        let mut feeds = Vec::with_capacity(self.test.series.len());
        for (labels, values) in &self.test.series {
            let id = self.rehearsal.series(labels).map_err(|refused| {
                Box::new(self.failed_rule(&labels.to_string(), refused.to_string(), Duration::ZERO))
            })?;
            feeds.push(Feed { id, values: Box::new(values.iter()), next: self.test.start });
        }
        Ok(feeds)
    }

    fn failed_rule(&self, rule: &str, error: String, eval_time: Duration) -> Failure {
        Failure {
            at: self.test.at,
            eval_time,
            kind: Kind::Rule(rule.to_owned()),
            differences: Vec::new(),
            notes: vec![format!("{error}; the test ends here")],
            place: None,
            parts: Vec::new(),
        }
    }

    fn check_alerts(&mut self, test: &AlertTest, slot: Timestamp) {
        let rules =
            self.groups.iter().flat_map(|group| group.rules.iter().map(move |r| (group, r)));
        let named: Vec<_> = rules
            .filter(|(_, rule)| {
                matches!(rule.kind, RuleKind::Alert(_)) && rule.name() == test.alertname
            })
            .collect();
        if named.is_empty() {
            let warning = format!("no rule has the alert `{}`", test.alertname);
            self.ran.warnings.push((test.at, warning));
        }
        let alerts = || {
            let of_name = |id: &RuleId| named.iter().any(|(_, rule)| rule.id == *id);
            self.rehearsal.alerts().filter(move |(id, _)| of_name(id)).flat_map(|(_, a)| a.values())
        };
        let entry = |labels: &Labels, annotations: &Labels| Entry {
            labels: labels.clone(),
            annotations: annotations.clone(),
            value: None,
        };
        let firing = alerts().filter(|alert| alert.state == AlertState::Firing);
        let got = firing.map(|alert| entry(&alert.labels, &alert.annotations)).collect();
        let expected = test.expected.iter().map(|(labels, notes)| entry(labels, notes)).collect();
        let differences = compare(expected, got, false);
        if differences.is_empty() {
            return;
        }
        let pending = alerts().filter(|alert| alert.state == AlertState::Pending);
        let notes = pending.map(|alert| pending_note(alert, slot)).collect();
        let parts = named.iter().flat_map(|(group, rule)| {
            self.parts(&rule.expr, slot - group.query_offset.unwrap_or_default())
        });
        let (kind, parts) = (Kind::Alerts(test.alertname.clone()), parts.collect());
        let (at, eval_time) = (test.at, test.eval_time);
        let place = None;
        self.ran.failures.push(Failure { at, eval_time, kind, differences, notes, place, parts });
    }

    fn check_expr(&mut self, test: &ExprTest) {
        let at = self.test.start + test.eval_time;
        let mut place = None;
        let value = instant(&test.expr, self.rehearsal.source(), at, &self.options);
        let vector = match value.map(|evaluated| evaluated.value) {
            Ok(Value::Vector(vector)) => Ok(vector),
            Ok(Value::Scalar(value)) => Ok(vec![(Labels::empty(), value)]),
            Ok(_) => Err("the result is neither a vector nor a number".to_owned()),
            Err(error) => {
                let placed = error.span.map(|span| test.written.position_of(span.start));
                place = placed.map(|at| (self.file.name.clone(), at));
                let hint = error.hint.map(|hint| format!("; {hint}"));
                Err(format!("{error}{}", hint.unwrap_or_default()))
            }
        };
        let entry = |(labels, value): &(Labels, f64)| Entry {
            labels: labels.clone(),
            annotations: Labels::empty(),
            value: Some(*value),
        };
        let (differences, notes) = match &vector {
            Ok(vector) => {
                let expected = test.expected.iter().map(entry).collect();
                let got = vector.iter().map(entry).collect();
                (compare(expected, got, self.file.fuzzy_compare), Vec::new())
            }
            Err(error) => (Vec::new(), vec![error.clone()]),
        };
        if differences.is_empty() && notes.is_empty() {
            return;
        }
        let parts = self.parts(&test.expr, at);
        let (kind, eval_time) = (Kind::Expr(test.expr.to_string()), test.eval_time);
        let at = test.at;
        let failure = Failure { at, eval_time, kind, differences, notes, place, parts };
        self.ran.failures.push(failure);
    }

    fn parts(&self, expr: &Expr, at: Timestamp) -> Vec<Part> {
        let part = |traced: Traced| Part {
            expr: traced.expr,
            depth: traced.depth,
            value: traced.value.map_err(|error| error.to_string()),
        };
        trace(expr, self.rehearsal.source(), at, &self.options).into_iter().map(part).collect()
    }
}

fn pending_note(alert: &Alert, slot: Timestamp) -> String {
    let since = format_duration(slot.since(alert.active_at));
    format!("{} is pending: its condition has held for {since}", alert.labels)
}

impl Feed<'_> {
    /// Adds what is due by `slot`.
    fn take_upto(&mut self, slot: Timestamp, interval: Duration, rehearsal: &mut Rehearsal) {
        while self.next <= slot {
            let Some(value) = self.values.next() else {
                self.next = Timestamp(i64::MAX);
                return;
            };
            if let Some(value) = value {
                rehearsal.append(self.id, Sample { at: self.next, value });
            }
            self.next = self.next + interval;
        }
    }
}
