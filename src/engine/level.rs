//! The level lane and the edge lane, as the engine drives them.

use std::collections::BTreeMap;

use super::fact::Fact;
use super::round::longest_alerting_interval;
use super::step::{Request, Step};
use super::view::{AlertmanagerView, OutboxView};
use super::{Engine, Sink, durable, record};
use crate::alerts::{Alert, Moment, Phase, PostId, Refusal, Refused, Settled, Tally, Verdict};
use crate::base::{Labels, METRIC_NAME, Now, Timestamp, fingerprint};
use crate::outbox::{self, Draft, Turn};

impl Engine {
    /// Starts the posts that are due: after an evaluation, on a retry, at the end of a hold.
    pub(super) fn present(&mut self, now: Now, step: &mut Step) {
        let evaluated = self.evaluated_at.take();
        let woken = self.presenter.next_wakeup().is_some_and(|at| at <= now.monotonic);
        let more = std::mem::take(&mut self.posts_waiting);
        if evaluated.is_none() && !woken && !more {
            return;
        }
        let interval = longest_alerting_interval(&self.groups);
        let alerts = self
            .groups
            .iter()
            .flat_map(|group| group.group.rules.iter().zip(&group.rules))
            .flat_map(|(rule, state)| {
                state.alerts.values().map(|alert| (alert, rule.expr_text.as_str()))
            })
            .chain(self.orphans.values().flat_map(BTreeMap::values).map(|alert| (alert, "")));
        let at = evaluated.unwrap_or(now.wall);
        let due = self.presenter.due(Moment { now, at, interval }, alerts);
        let asks = due.asks.into_iter().map(|instance| Request::Tally { instance });
        step.requests.extend(asks.chain(due.posts.into_iter().map(Request::Post)));
    }

    /// Takes an instance's verdict on a post. The first acceptance of an incident is written down,
    /// because an incident nobody accepted is presented late; and with it what the instance had
    /// delivered until then, because one it could not pass on is held.
    pub(super) fn take_verdict(
        &mut self,
        now: Now,
        post: PostId,
        verdict: Verdict,
        (tally, refused): (Option<Tally>, Vec<Refused>),
    ) {
        let Some(instance) = self.presenter.instance_of(post) else { return };
        let name = self.setup.alertmanagers.get(instance).cloned().unwrap_or_default();
        let was_in_trouble = self.presenter.trouble(instance).is_some();
        self.view_is_old = true;
        self.note_refused(now, &name, refused);
        match &verdict {
            Verdict::Accepted => {
                self.counters.posts_accepted += 1;
                self.postman.note_up(now, Sink::Alertmanager);
                // There may be more than one batch to say.
                self.posts_waiting = true;
                if was_in_trouble {
                    let instance = name.clone();
                    self.facts.push(Fact::AlertmanagerRecovered { instance });
                }
            }
            Verdict::Failed(error) => {
                self.counters.posts_failed += 1;
                let (error, first) = (error.clone(), !was_in_trouble);
                let instance = name.clone();
                self.facts.push(Fact::AlertmanagerFailed { instance, error, first });
            }
        }
        for settled in self.presenter.settle(post, verdict, now) {
            self.note_accepted(settled, &name, tally, now.wall);
        }
    }

    fn note_accepted(
        &mut self,
        settled: Settled,
        instance: &str,
        tally: Option<Tally>,
        wall: Timestamp,
    ) {
        let Settled { key, started_at, phase, .. } = settled;
        // Most of what is accepted is repetition: that is seen before labels are hashed.
        let is_news = |alert: &Alert| {
            let has_base = alert.tallies.contains_key(instance) || tally.is_none();
            alert.accepted_at.is_none() || phase == Phase::Held || !has_base
        };
        let is_it = |alert: &Alert| {
            alert.starts_at() == started_at && is_news(alert) && fingerprint(&alert.labels) == key
        };
        let of_rules = self
            .groups
            .iter_mut()
            .flat_map(|group| group.group.rules.iter().map(|rule| &rule.id).zip(&mut group.rules));
        let found = of_rules
            .map(|(id, state)| (id, &mut state.alerts))
            .chain(&mut self.orphans)
            .flat_map(|(id, alerts)| alerts.values_mut().map(move |alert| (id, alert)))
            .find(|(_, alert)| alert.presentable().is_some_and(is_it));
        if let Some((rule, alert)) = found {
            let incident = match alert.previous.as_deref_mut() {
                Some(previous) => previous,
                None => &mut *alert,
            };
            let mut changed = incident.accepted_at.is_none();
            if changed {
                incident.accept(wall);
            }
            if let Some(tally) = tally.filter(|_| !phase.is_end()) {
                incident.tallies.entry(instance.to_owned()).or_insert_with(|| {
                    changed = true;
                    tally
                });
            }
            if phase == Phase::Held && incident.hold_end(self.setup.presenter.max_hold) {
                let (labels, instance) = (incident.labels.clone(), instance.to_owned());
                self.facts.push(Fact::EndHeld { labels, instance });
                changed = true;
            }
            if changed {
                self.changes.push(durable::put(rule, alert));
            }
        }
    }

    /// Puts an event into the edge lane, within this step's batch.
    pub(super) fn push_event(&mut self, now: Now, draft: Draft) {
        let batch = self.batch();
        let Some(outbox) = &mut self.outbox else { return };
        let turn = outbox.push(draft, now, batch);
        self.take_turn(now, turn);
    }

    /// Starts the deliveries that are due.
    pub(super) fn work_outbox(&mut self, now: Now, step: &mut Step) {
        let batch = self.batch();
        let Some(outbox) = &mut self.outbox else { return };
        let mut turn = outbox.due(now, batch);
        let attempts = std::mem::take(&mut turn.attempts);
        step.requests.extend(attempts.into_iter().map(Request::Deliver));
        self.take_turn(now, turn);
    }

    pub(super) fn take_turn(&mut self, now: Now, turn: Turn) {
        debug_assert!(turn.attempts.is_empty(), "attempts start in one place");
        if !turn.facts.is_empty() {
            self.view_is_old = true;
        }
        self.changes.extend(turn.changes);
        for mut fact in turn.facts {
            let over = self.is_over(&fact);
            self.note_delivery(now, &fact);
            // Else an operator who sent it again would wait for an effect that nobody watches.
            if let (Some(over), outbox::Fact::Delivered { answer, .. }) = (over, &mut fact) {
                answer.reason = record::too_late(answer.reason.as_ref(), Some(&over));
            }
            self.facts.push(Fact::Outbox(fact));
        }
    }

    /// How a request had ended before it was delivered, if it had: its answer may change nothing.
    fn is_over(&self, fact: &outbox::Fact) -> Option<String> {
        let outbox::Fact::Delivered { delivery, answer } = fact else { return None };
        let is_word = answer.decision.as_deref() == Some("done");
        self.memory.guards.asked(&delivery.id.0)?.result.filter(|_| !is_word)
    }

    pub(super) fn alertmanager_views(&self) -> Vec<AlertmanagerView> {
        let view = |(instance, url): (usize, &String)| AlertmanagerView {
            url: url.clone(),
            trouble: self.presenter.trouble(instance).map(str::to_owned),
            refused: Refusal::ALL
                .map(|reason| (reason.name(), self.refusals.count(url, reason)))
                .to_vec(),
        };
        self.setup.alertmanagers.iter().enumerate().map(view).collect()
    }

    pub(super) fn outbox_view(&self, now: Now) -> OutboxView {
        let Some(outbox) = &self.outbox else { return OutboxView::default() };
        let stats = outbox.stats(now);
        OutboxView {
            waiting: stats.waiting,
            bytes: stats.waiting_bytes,
            oldest: stats.oldest_age.unwrap_or_default(),
            dead: stats.dead,
            paused: stats.paused,
            accepted: stats.totals.delivered,
            failed: stats.totals.failures,
            given_up: stats.totals.dead,
        }
    }

    /// What the engine itself knows, as series: the policy's, and its own state.
    pub(super) fn own_values(&self, now: Now) -> Vec<(Labels, f64)> {
        // Series of plain targets carry no host, and rules join on it.
        let host = if self.setup.identity.is_some() { self.setup.host.as_str() } else { "" };
        let mut values = self.setup.policy.series(host, now.wall);
        values.extend(self.setup.constants.iter().cloned());
        values.extend(self.owner_values(now));
        values.extend(self.gate_values());
        values.extend(self.document_values(now));
        let mut own = |name: &str, more: Option<(&str, &str)>, value: f64| {
            let labels = [(METRIC_NAME, name)].into_iter().chain(more);
            values.push((self.enrich(&Labels::from_pairs(labels)), value));
        };
        let is = |state: bool| f64::from(u8::from(state));
        if self.outbox.is_some() {
            let (outbox, sink) = (self.outbox_view(now), Some(("sink", "control_plane")));
            own("plimsoll_outbox_waiting", sink, outbox.waiting as f64);
            own("plimsoll_outbox_oldest_seconds", sink, outbox.oldest.as_secs_f64());
            own("plimsoll_outbox_paused", sink, is(outbox.paused.is_some()));
            own("plimsoll_outbox_dead_total", sink, outbox.given_up as f64);
        }
        own("plimsoll_journal_failing", None, is(self.journal_failing.is_some()));
        own("plimsoll_audit_failing", None, is(self.audit.failing.is_some()));
        own("prometheus_config_last_reload_successful", None, is(self.reload_error.is_none()));
        if let Some(is_up) = self.containers.daemon.state().and_then(|state| state.is_up()) {
            own("plimsoll_docker_up", None, is(is_up));
        }
        for instance in self.alertmanager_views() {
            let up = is(instance.trouble.is_none());
            own("plimsoll_alertmanager_up", Some(("alertmanager", &instance.url)), up);
        }
        for group in &self.groups {
            let id = format!("{};{}", group.group.file, group.group.name);
            let label = Some(("rule_group", id.as_str()));
            own("prometheus_rule_evaluation_failures_total", label, group.failures as f64);
            let never = group.rules.iter().filter(|rule| rule.never_fires()).count();
            own("plimsoll_rule_group_rules_without_series", label, never as f64);
        }
        values.extend(self.quality_values(now.wall));
        values
    }
}
