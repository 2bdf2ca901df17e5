//! A new configuration while everything goes on: what stays as it was, and what begins.
//!
//! Rules that stand where they stood keep their alerts, and alerts whose rule is gone end. What no
//! scrape has kept so far is unknown, not absent, until every target has answered to the new rules
//! ([`super::coverage`]).

use std::collections::BTreeMap;

use super::containers::OOM_TOTAL;
use super::coverage::Kept;
use super::group::{self, GroupState, Reads, RuleState};
use super::{Engine, Fact, Setup, Switches, pinned};
use crate::alerts::Alert;
use crate::base::{Labels, Now, RuleId};
use crate::outbox::{Outbox, OutboxConfig};
use crate::promql::Memo;
use crate::rules;
use crate::window::SeriesId;

/// Groups by file and name, rules by their ids.
#[derive(Default)]
struct Before {
    groups: BTreeMap<(String, String), GroupState>,
    /// Each with what it asked.
    rules: BTreeMap<RuleId, (String, RuleState)>,
}

impl Before {
    /// Takes a group apart. Its alerts are nobody's until a rule claims them.
    fn take(
        &mut self,
        mut group: GroupState,
        alerts: &mut BTreeMap<RuleId, BTreeMap<Labels, Alert>>,
    ) {
        let states = std::mem::take(&mut group.rules);
        for (rule, mut state) in group.group.rules.drain(..).zip(states) {
            let open = alerts.entry(rule.id.clone()).or_default();
            open.append(&mut state.alerts);
            self.rules.insert(rule.id, (rule.expr_text, state));
        }
        self.groups.insert(group.key(), group);
    }

    /// Gives a new group what the old one knew.
    fn give(&mut self, group: &mut GroupState) {
        if let Some(before) = self.groups.remove(&group.key()) {
            group.go_on(&before);
        }
        for (rule, state) in group.group.rules.iter().zip(&mut group.rules) {
            if let Some((asked, before)) = self.rules.remove(&rule.id) {
                state.go_on(before, asked == rule.expr_text);
            }
        }
    }

    /// What rules have written that nobody claimed.
    fn written(self) -> impl Iterator<Item = SeriesId> {
        self.rules.into_values().flat_map(|(_, state)| state.written)
    }
}

impl Engine {
    /// Takes a checked configuration over. Rules that stand where they stood keep their alerts.
    pub(super) fn reload(&mut self, now: Now, setup: Setup, switches: Switches) {
        let setup = setup.settled();
        // The files were read a while ago: what was thrown since then stays so until the next look.
        self.switches.add(switches);
        self.containers.daemon.ask_anew(setup.docker, now);
        if self.containers.daemon.is_unasked() {
            self.containers.stop_asking();
        }
        self.window.configure(setup.caps, setup.retention());
        self.gates.configure(&setup.policy.gates);
        self.postman.replan();
        self.memory.usage.set_half_life(setup.policy.fitting.half_life);
        self.presenter.configure(setup.presenter, &setup.alertmanagers);
        match (&mut self.outbox, setup.outbox.clone()) {
            (Some(outbox), Some(config)) => outbox.configure(config),
            (None, Some(config)) => self.open_outbox(config, now),
            (None, None) => {}
            // What waits is not given up for a line that is missing.
            (Some(_), None) => {}
        }
        let before = std::mem::replace(&mut self.setup, setup);
        let kept = Kept::by(&before);
        if self.setup.policy.m2_setting_expected {
            self.setup.policy.m2_setting = before.policy.m2_setting;
        }
        self.keep_documents(before.identity.map(|identity| identity.directory).unwrap_or_default());
        self.forget_owners();
        self.memo = Memo::default();
        self.reload_error = None;
        let mut before = Before::default();
        for group in std::mem::take(&mut self.groups) {
            before.take(group, &mut self.orphans);
        }
        self.load_groups(now);
        self.groups.iter_mut().for_each(|group| before.give(group));
        // What a rule wrote that is gone ends with it.
        before.written().for_each(|id| self.window.end(id));
        self.ask_anew(&kept, now);
        self.end_orphans(now);
        self.judge_all_again();
        let rules = self.groups.iter().map(|group| group.rules.len()).sum();
        self.facts.push(Fact::Reloaded { groups: self.groups.len(), rules });
        self.view_is_old = true;
    }

    /// There was nobody to hear; what waited for one since before our start goes first.
    fn open_outbox(&mut self, config: OutboxConfig, now: Now) {
        let (outbox, problems) = Outbox::recover(config, std::mem::take(&mut self.shelved), now);
        self.facts.extend(problems.into_iter().map(|problem| Fact::RowUnreadable { problem }));
        self.outbox = Some(outbox);
    }

    /// Builds the groups of the setup and gives them the alerts their rules had.
    pub(super) fn load_groups(&mut self, now: Now) {
        let groups: Vec<&rules::Group> = self.setup.groups.iter().collect();
        self.order = rules::order(&groups);
        self.groups = group::build(self.setup.groups.clone(), &self.setup.pace, now.wall);
        for group in &mut self.groups {
            for (rule, state) in group.group.rules.iter().zip(&mut group.rules) {
                state.alerts = self.orphans.remove(&rule.id).unwrap_or_default();
            }
        }
        let wants = |name: &str| {
            let reads = |group: &GroupState| group.reads.all || group.reads.names.contains(name);
            let kept = self.setup.keep.iter().any(|pattern| pattern.is_match(name));
            kept || self.groups.iter().any(reads)
        };
        self.writes_oom_series = wants(OOM_TOTAL);
        self.writes_peaks = wants(pinned::DOCS_PEAK);
        self.writes_alert_series = wants("ALERTS") || wants("ALERTS_FOR_STATE");
    }

    /// What nobody kept so far is asked of every target; until it has answered, nobody knows.
    fn ask_anew(&mut self, before: &Kept, now: Now) {
        let mut reads = Reads::default();
        self.groups.iter().for_each(|group| reads.add(&group.reads));
        let fresh = self.coverage.reload(before, &reads, &self.setup.retention(), now.wall);
        if !fresh.is_empty() {
            self.targets.values_mut().for_each(|target| target.ask(&fresh));
        }
    }
}
