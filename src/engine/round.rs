//! The rounds: which groups are due, what they are evaluated against, what their alerts become.

use std::sync::Arc;
use std::time::Duration;

use super::evaluate::{self, Context};
use super::fact::Fact;
use super::group::{GroupState, RuleState, terms};
use super::recent::Evaluation;
use super::view::Health;
use super::watch::{Asks, Watch};
use super::{Engine, durable, edge};
use crate::alerts::{self, Alert, AlertState, Change, Round, advance};
use crate::base::{
    Labels, LabelsBuilder, METRIC_NAME, Now, RuleId, Sample, Timestamp, fingerprint,
};
use crate::policy::{Evidence, Incident, Need, diagnose};
use crate::promql::EvalOptions;
use crate::rules::{Rule, RuleKind};
use crate::window::{SeriesId, Window};

/// Groups are evaluated so long before scrapes and answers are taken again.
const TURN: Duration = Duration::from_millis(500);

impl Engine {
    /// Evaluates every group whose slot has come and whose targets have answered.
    pub(super) fn run_groups(&mut self, now: Now) {
        // Without targets nothing would be in doubt, and all that fired before a restart would end.
        if !self.knows_targets {
            return;
        }
        for group in &mut self.groups {
            let missed = group.arrive(now.wall, now.monotonic);
            if missed > 0 {
                self.counters.slots_missed += missed;
                self.facts.push(Fact::SlotsMissed { group: group.group.name.clone(), missed });
            }
        }
        let began = (self.stopwatch)();
        for index in 0..self.order.len() {
            let index = self.order[index];
            let group = &self.groups[index];
            let Some((slot, until)) = group.waiting else { continue };
            // The others have their turn as soon as what came meanwhile is taken.
            if (self.stopwatch)().saturating_sub(began) >= TURN {
                break;
            }
            if now.monotonic >= until || !self.is_fed_by_a_running_scrape(group, slot) {
                self.run_group(now, index, slot);
            }
        }
        self.end_unclaimed();
        self.judge_round(now);
    }

    fn is_fed_by_a_running_scrape(&self, group: &GroupState, slot: Timestamp) -> bool {
        self.targets.values().any(|target| {
            let running = target.in_flight.is_some_and(|started| started <= slot);
            // What a target feeds is not known before its first answer, to these rules.
            let is_unknown = !target.answered || target.is_asked_for(&group.reads);
            running && (is_unknown || group.reads.any(&target.feeds))
        })
    }

    fn run_group(&mut self, now: Now, index: usize, slot: Timestamp) {
        let at = slot.max(self.newest_sample.min(now.wall));
        self.write_own_series(now, at);
        let began = (self.stopwatch)();
        let (over, stopwatch) = (began + self.groups[index].budget(), Arc::clone(&self.stopwatch));
        let options = EvalOptions {
            expired: Some(Arc::new(move || stopwatch() >= over)),
            ..self.setup.eval.clone()
        };
        for rule in 0..self.groups[index].rules.len() {
            self.run_rule(now, (index, rule), (slot, at), &options);
        }
        let group = &mut self.groups[index];
        group.waiting = None;
        group.last_evaluation = Some(slot);
        group.note_took(now.monotonic, (self.stopwatch)().saturating_sub(began));
        self.evaluated_at = Some(slot);
        self.view_is_old = true;
        let note_is_old =
            self.noted_evaluation.is_none_or(|noted| now.wall.since(noted) >= durable::NOTE_EVERY);
        if note_is_old || self.containers.wants_note {
            self.noted_evaluation = Some(now.wall);
            self.changes.push(durable::note(now.wall));
            self.note_docker(now);
        }
    }

    fn run_rule(
        &mut self,
        now: Now,
        (group_index, rule_index): (usize, usize),
        (slot, at): (Timestamp, Timestamp),
        options: &EvalOptions,
    ) {
        let group = &mut self.groups[group_index];
        let rule = &group.group.rules[rule_index];
        let state = &mut group.rules[rule_index];
        let began = (self.stopwatch)();
        let context = Context {
            options,
            memo: &self.memo,
            external_labels: &self.setup.external_labels,
            external_url: &self.setup.external_url,
            at: at - group.group.query_offset.unwrap_or_default(),
            limit: group.group.limit.unwrap_or(0),
        };
        let mut note = Evaluation::begin(slot, context.at);
        let evaluated = evaluate::evaluate_rule((&group.group.file, rule), &self.window, &context);
        if state.note_fetched(&evaluated, now.monotonic) {
            self.facts.push(Fact::RuleNeverFires { rule: rule.id.clone() });
        }
        note.yields(&evaluated);
        let result = evaluated.map_err(|failure| failure.message).and_then(|evaluated| {
            let vector = &evaluated.vector;
            match &rule.kind {
                RuleKind::Record { .. } => {
                    let refused =
                        evaluate::record(rule, state, vector, &mut self.window, context.at)?;
                    self.counters.series_refused += refused;
                    Ok(Vec::new())
                }
                RuleKind::Alert(_) => {
                    let found = evaluate::candidates(rule, state, vector, &self.window, &context)?;
                    let back = context.at - state.range;
                    let known = self.coverage.covers(&state.reads, back, self.covered_since);
                    let feeds = (&self.targets, &self.containers, &self.window);
                    let names = (&state.reads, &state.joins);
                    let reach = (state.range, at.since(context.at));
                    let asks = Asks::of(rule, names, reach, state.fires_on_absence);
                    let watch = Watch::new(asks, feeds, (slot, group.interval), known);
                    let round = Round {
                        slot,
                        interval: group.interval,
                        terms: terms(rule),
                        unknown_timeout: self.setup.unknown_timeout,
                        doubt: &|alert| watch.doubt(alert),
                        may_begin: &|labels| watch.may_begin(labels),
                    };
                    Ok(advance(&mut state.alerts, found, &round))
                }
            }
        });
        state.last_evaluation = Some(slot);
        state.took = (self.stopwatch)().saturating_sub(began);
        state.recent.push(note.ended(state.took, result.as_deref()));
        self.counters.evaluations += 1;
        group.evaluations += 1;
        group.failures += u64::from(result.is_err());
        match result {
            Ok(changes) => {
                state.health = Health::Good;
                state.last_error = None;
                if self.writes_alert_series && matches!(rule.kind, RuleKind::Alert(_)) {
                    self.counters.series_refused +=
                        write_alert_series(state, &mut self.window, context.at);
                }
                self.take_changes(now, (group_index, rule_index), changes);
                self.to_judge.push(((group_index, rule_index), at));
            }
            Err(error) => {
                self.counters.evaluation_failures += 1;
                self.facts.push(state.fail(&rule.id, error));
            }
        }
    }

    /// Makes what a round changed durable, and tells it.
    fn take_changes(
        &mut self,
        now: Now,
        (group_index, rule_index): (usize, usize),
        changes: Vec<(Labels, Change)>,
    ) {
        for (labels, change) in changes {
            let group = &self.groups[group_index];
            let id = group.group.rules[rule_index].id.clone();
            let alert = group.rules[rule_index].alerts.get(&labels).cloned();
            self.settle_change(now, &id, (labels, change), alert);
        }
    }

    /// One change of one alert: its row, its event, its line in the log. The alert in the book gets
    /// its new revision.
    pub(super) fn settle_change(
        &mut self,
        now: Now,
        rule: &RuleId,
        (labels, change): (Labels, Change),
        alert: Option<Alert>,
    ) {
        let Some(mut alert) = alert else {
            self.changes.push(durable::remove(rule, &labels));
            self.presenter.forget(fingerprint(&labels));
            return;
        };
        self.tell(&alert, change);
        self.note_episode(rule, &alert, change, now);
        alert.revision = alert.revision.max(self.revisions_upto.unwrap_or_default());
        let draft = edge::alert_event(&mut alert, change, &self.setup.host, now.wall);
        self.note_revision(now, alert.revision);
        if let (Some(draft), Some(_)) = (draft, &self.outbox) {
            self.push_event(now, draft);
        }
        self.changes.push(durable::put(rule, &alert));
        if let Some(held) = self.alert_mut(rule, &labels) {
            held.revision = alert.revision;
        }
    }

    /// Counts an episode when an alert that asks for something to be done begins; ends its actions with it.
    fn note_episode(&mut self, rule: &RuleId, alert: &Alert, change: Change, now: Now) {
        let word = alert.labels.get("action").unwrap_or("none");
        match change {
            Change::Firing if ["restart", "nudge", "decide"].contains(&word) => {
                let Some((incident, evidence)) = self.episode(rule, alert, now) else { return };
                let need = Need::of(diagnose(&evidence.symptoms));
                let within = self.setup.policy.limits.episodes_within;
                let subject = incident.subject();
                let row = self.memory.episodes.record(&subject, need, within, now.wall);
                self.changes.push(row);
                if need != Need::Other {
                    self.note_rollout(now, &incident, &evidence);
                }
            }
            Change::Resolved if word != "none" => self.close_actions(now, &rule.0, alert),
            _ => {}
        }
    }

    /// Whose trouble an alert is, and what is known of it.
    fn episode(&self, rule: &RuleId, alert: &Alert, now: Now) -> Option<(Incident, Evidence)> {
        let mut rules = self.groups.iter().flat_map(|group| &group.group.rules);
        let incident = self.incident(rules.find(|known| known.id == *rule)?, alert);
        let evidence = self.evidence(&incident, Duration::ZERO, now.wall, now);
        Some((incident, evidence))
    }

    fn tell(&mut self, alert: &Alert, change: Change) {
        let labels = alert.labels.clone();
        let fact = match change {
            Change::Pending => Fact::AlertPending { labels, value: alert.value },
            Change::Firing => {
                self.counters.alerts_fired += 1;
                let annotations = alert.annotations.clone();
                let started_at = alert.starts_at();
                Fact::AlertFiring { labels, annotations, value: alert.value, started_at }
            }
            Change::Resolved => {
                self.counters.alerts_resolved += 1;
                let Some((_, reason)) = alert.resolved else { return };
                Fact::AlertResolved { labels, started_at: alert.starts_at(), reason }
            }
            Change::Unknown => {
                self.counters.alerts_unknown += 1;
                let Some((_, doubt)) = alert.unknown.clone() else { return };
                Fact::AlertUnknown { labels, started_at: alert.starts_at(), doubt }
            }
            Change::Known => Fact::AlertKnown { labels, started_at: alert.starts_at() },
            Change::Paused | Change::Forgotten => return,
        };
        self.facts.push(fact);
    }

    /// The alert of a rule, in its group or among those whose rule is gone.
    pub(super) fn alert_mut(&mut self, rule: &RuleId, labels: &Labels) -> Option<&mut Alert> {
        let loaded = self.groups.iter_mut().find_map(|group| {
            let index = group.group.rules.iter().position(|known| known.id == *rule)?;
            Some(&mut group.rules[index])
        });
        match loaded {
            Some(state) => state.alerts.get_mut(labels),
            None => self.orphans.get_mut(rule)?.get_mut(labels),
        }
    }

    /// Ends alerts whose rule no longer exists, and forgets them when their time is over.
    pub(super) fn end_orphans(&mut self, now: Now) {
        let mut orphans = std::mem::take(&mut self.orphans);
        let mut all = Vec::new();
        for (rule, alerts) in &mut orphans {
            for (labels, change) in alerts::end_all(alerts, now.wall) {
                let alert = alerts.get(&labels).cloned();
                all.push((rule.clone(), labels, alert, change));
            }
        }
        orphans.retain(|_, alerts| !alerts.is_empty());
        self.orphans = orphans;
        for (rule, labels, alert, change) in all {
            self.settle_change(now, &rule, (labels, change), alert);
        }
    }

    /// Forgets alerts whose rule is gone and whose end everyone has heard of.
    pub(super) fn forget_orphans(&mut self, now: Now) {
        for (rule, alerts) in &mut self.orphans {
            for labels in alerts::expire(alerts, now.wall) {
                self.changes.push(durable::remove(rule, &labels));
                self.presenter.forget(fingerprint(&labels));
            }
        }
        self.orphans.retain(|_, alerts| !alerts.is_empty());
    }

    /// Writes what the engine itself knows (plans, configured budgets, its own state) as series that
    /// rules can join on. Once a round.
    fn write_own_series(&mut self, now: Now, at: Timestamp) {
        if self.own_written_at == Some(at) {
            return;
        }
        self.own_written_at = Some(at);
        self.observe_documents(now, at);
        let mut written = self.write_container_series(at);
        for (labels, value) in self.own_values(now) {
            match self.window.series(&labels) {
                Ok(id) => {
                    self.window.append(id, Sample { at, value });
                    written.insert(id);
                }
                Err(_) => self.counters.series_refused += 1,
            }
        }
        self.own_series.difference(&written).for_each(|id| self.window.end(*id));
        self.own_series = written;
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE` of a rule's active alerts (`rules/alerting.go`). Returns how many
/// found no room.
pub(super) fn write_alert_series(state: &mut RuleState, window: &mut Window, at: Timestamp) -> u64 {
    let (mut ids, mut refused): (Vec<SeriesId>, u64) = (Vec::new(), 0);
    for alert in state.alerts.values().filter(|alert| alert.is_active()) {
        let mut labels = LabelsBuilder::from(&alert.labels);
        labels.set(METRIC_NAME, "ALERTS_FOR_STATE");
        let for_state = (labels.build(), (alert.active_at.as_millis() / 1000) as f64);
        let name = if alert.state == AlertState::Firing { "firing" } else { "pending" };
        labels.set(METRIC_NAME, "ALERTS").set("alertstate", name);
        for (labels, value) in [for_state, (labels.build(), 1.0)] {
            match window.series(&labels) {
                Ok(id) => {
                    window.append(id, Sample { at, value });
                    ids.push(id);
                }
                Err(_) => refused += 1,
            }
        }
    }
    state.take_written(ids, window);
    refused
}

/// The longest interval of a group with alerts, for `endsAt`.
pub(super) fn longest_alerting_interval(groups: &[GroupState]) -> Duration {
    let alerting = |group: &&GroupState| {
        group.group.rules.iter().any(|rule: &Rule| matches!(rule.kind, RuleKind::Alert(_)))
    };
    groups.iter().filter(alerting).map(|group| group.interval).max().unwrap_or_default()
}
