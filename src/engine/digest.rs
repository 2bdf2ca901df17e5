//! What a digest holds: the load of the host's tenants and what was done, held and advised.
//!
//! Figures are queries over the window that anyone can repeat, and what judgement remembers. How it
//! is worded is for [`crate::letter`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::vector;
use super::{Compared, Engine, record};
use crate::alerts::AlertState;
use crate::base::{Labels, Now, Timestamp};
use crate::policy::{Load, Standing, Taken, plan_binds, standing};

/// Containers that are listed; the rest is counted.
const LISTED: usize = 20;
const BY: &str = "by (name, tenant, plan, role, service)";
const OWNED: &str = "{name!=\"\",tenant!=\"\"}";
/// As `/api/v1/plimsoll/plans` asks them.
const QUERIES: [&str; 4] = [
    "max $by (container_spec_memory_limit_bytes$$)",
    "max $by (container_memory_working_set_bytes$$)",
    CPU_USED,
    "max $by (container_spec_cpu_quota$$ > 0) / max $by (container_spec_cpu_period$$)",
];

/// CPU used by container, cores. A range that was not seen from its beginning, as after a start, has
/// too low an average and gives none; where samples lie a minute apart a longer one stands in.
pub const CPU_USED: &str = "sum $by ( \
     rate(container_cpu_usage_seconds_total$$[2m]) \
     and max_over_time(container_cpu_usage_seconds_total$$[45s] offset 75s) \
     or rate(container_cpu_usage_seconds_total$$[5m]) \
     and max_over_time(container_cpu_usage_seconds_total$$[1m] offset 4m))";

/// What a digest tells.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Digest {
    /// This host.
    pub host: String,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub at: Timestamp,
    /// Containers that belong to somebody.
    pub containers: usize,
    /// Those near a limit, at one, or with other limits than their plan's; the worst first.
    pub near: Vec<Near>,
    /// More of these.
    pub near_left_out: usize,
    /// Services for which a smaller plan would do.
    pub smaller: Vec<Smaller>,
    /// Actions since, the oldest first.
    pub actions: Vec<Taken>,
    /// For how long actions are remembered at least, if that is less than this digest goes back.
    pub memory: Option<Duration>,
    /// Holds by reason.
    pub holds: Vec<(&'static str, u64)>,
    /// Since when holds are counted, if the process started later than this digest begins.
    pub holds_since: Option<Timestamp>,
    /// Alerts that fire and ask for a setting to be changed.
    pub advice: Vec<Advice>,
    /// Alerts that fire, by severity.
    pub firing: BTreeMap<String, usize>,
    /// Gates that fail, and what they answer.
    pub gates: Vec<(String, String)>,
}

/// A container near the line.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Near {
    /// Whose.
    pub tenant: String,
    /// On which plan.
    pub plan: String,
    /// Its name.
    pub name: String,
    /// Working set, bytes.
    pub memory_bytes: Option<f64>,
    /// Memory limit, bytes.
    pub limit_bytes: Option<f64>,
    /// CPU used per quota, 0 to 1.
    pub cpu_ratio: Option<f64>,
    /// What it needs nineteen times out of twenty per limit, over weeks.
    pub needed_ratio: Option<f64>,
    /// The verdict, as in `plimsoll plans`.
    pub verdict: &'static str,
}

impl Near {
    /// Working set per limit, 0 to 1.
    pub fn memory_ratio(&self) -> Option<f64> {
        let limit = self.limit_bytes.filter(|limit| *limit > 0.0)?;
        Some(self.memory_bytes? / limit)
    }

    fn worst(&self) -> f64 {
        self.memory_ratio().unwrap_or(0.0).max(self.cpu_ratio.unwrap_or(0.0))
    }
}

/// A service for which a smaller plan would do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Smaller {
    /// Which.
    pub service: String,
    /// The plan it is on.
    pub plan: String,
    /// The one that would do.
    pub would_do: String,
    /// The figures, for people.
    pub sentence: String,
}

/// A setting to change.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Advice {
    /// The alert.
    pub alert: String,
    /// What it is about, or `""`.
    pub about: String,
    /// What it says.
    pub summary: String,
    /// The setting, and from what to what, if the rule says.
    pub change: Option<(String, String, String)>,
}

impl Engine {
    /// The digest of now.
    pub(super) fn digest(&self, now: Now) -> Digest {
        let (containers, mut near) = self.loads(now);
        let near_left_out = near.len().saturating_sub(LISTED);
        near.truncate(LISTED);
        // A clock that was set back over a restart has yet to come to it.
        let from = self.postman.told_until().unwrap_or(now.wall).min(now.wall);
        let memory = self.setup.policy.limits.memory();
        let (holds, holds_since) = self.postman.held();
        let failing = self.gates.readings().filter(|(_, reading)| !reading.passes);
        let gates = failing.map(|(key, reading)| {
            let words: Vec<&str> = key.labels().map(|(_, text)| text).collect();
            (words.join(" "), reading.value.clone())
        });
        Digest {
            host: self.setup.host.clone(),
            from,
            at: now.wall,
            containers,
            near,
            near_left_out,
            smaller: self.smaller(),
            actions: self.memory.guards.since(from),
            memory: Some(memory).filter(|memory| now.wall.since(from) > *memory),
            holds,
            holds_since,
            advice: self.advice(),
            firing: self.firing_by("severity"),
            gates: gates.collect(),
        }
    }

    /// How many containers belong to somebody, and those that do not simply fit; the worst first.
    fn loads(&self, now: Now) -> (usize, Vec<Near>) {
        let mut loads: BTreeMap<Labels, [Option<f64>; 4]> = BTreeMap::new();
        for (index, query) in QUERIES.into_iter().enumerate() {
            let text = query.replace("$by", BY).replace("$$", OWNED);
            for (labels, value) in vector(&text, &self.window, now.wall, &self.setup.eval) {
                loads.entry(labels).or_default()[index] = Some(value);
            }
        }
        // A rate goes on for as long as it looks back: it is nobody's any more who has only that.
        loads.retain(|_, [limit, memory, _, quota]| {
            [limit, memory, quota].iter().any(|f| f.is_some())
        });
        let judged = loads.iter().filter_map(|(labels, figures)| {
            let label = |name| labels.get(name).unwrap_or_default().to_owned();
            let [mem_limit_bytes, mem_used_bytes, cpu_used_cores, cpu_limit_cores] = *figures;
            let load = Load { mem_limit_bytes, cpu_limit_cores, mem_used_bytes, cpu_used_cores };
            let plan = self.setup.policy.plans.get(&label("plan"));
            let promised = plan.filter(|_| plan_binds(&label("role")));
            let verdict = standing(&load, promised, self.setup.policy.thresholds.memory);
            if matches!(verdict, Standing::Fits | Standing::Unknown) {
                return None;
            }
            let service = self.memory.usage.get(&label("service"));
            let needed = service.and_then(crate::policy::Service::memory_p95);
            Some(Near {
                tenant: label("tenant"),
                plan: label("plan"),
                name: label("name"),
                memory_bytes: mem_used_bytes,
                limit_bytes: mem_limit_bytes,
                cpu_ratio: cpu_used_cores.zip(cpu_limit_cores).map(|(used, limit)| used / limit),
                needed_ratio: needed
                    .zip(mem_limit_bytes.filter(|limit| *limit > 0.0))
                    .map(|(needed, limit)| needed / limit),
                verdict: verdict.name(),
            })
        });
        let mut near: Vec<Near> = judged.collect();
        near.sort_by(|a, b| b.worst().total_cmp(&a.worst()).then_with(|| a.name.cmp(&b.name)));
        (loads.len(), near)
    }

    fn smaller(&self) -> Vec<Smaller> {
        let all = self.owners.fits.iter().filter_map(|(service, Compared { plan, fit })| {
            Some(Smaller {
                service: service.clone(),
                plan: plan.clone(),
                would_do: fit.smaller()?.to_owned(),
                sentence: fit.sentence.clone(),
            })
        });
        all.collect()
    }

    fn advice(&self) -> Vec<Advice> {
        let firing = self
            .firing_alerts()
            .filter(|alert| alert.labels.get("action").is_some_and(|action| action == "advise"));
        let mut advice: Vec<Advice> = firing
            .map(|alert| {
                let text = |name: &str| alert.annotations.get(name).unwrap_or_default().to_owned();
                let change = (text("variable"), text("current"), text("recommended"));
                let change = Some(change).filter(|(variable, ..)| !variable.is_empty());
                let about = record::subject(&alert.labels).unwrap_or_default();
                Advice { alert: alert.name().to_owned(), about, summary: text("summary"), change }
            })
            .collect();
        advice.sort_by(|a, b| {
            (&a.alert, &a.about, &a.summary).cmp(&(&b.alert, &b.about, &b.summary))
        });
        advice
    }

    fn firing_by(&self, label: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for alert in self.firing_alerts() {
            let value = alert.labels.get(label).unwrap_or("none").to_owned();
            // `Watchdog` always fires.
            if value != "none" {
                *counts.entry(value).or_default() += 1;
            }
        }
        counts
    }

    /// What fires, each name with whom it is about.
    pub(super) fn firing_names(&self) -> Vec<String> {
        let worth = self.firing_alerts().filter(|a| a.labels.get("severity") != Some("none"));
        let mut names: Vec<String> = worth
            .map(|alert| {
                let about = ["service", "tenant", "name", "instance", "host"];
                let about = about.into_iter().find_map(|name| alert.labels.get(name));
                format!("{} {}", alert.name(), about.unwrap_or_default()).trim_end().to_owned()
            })
            .collect();
        names.sort();
        names
    }

    fn firing_alerts(&self) -> impl Iterator<Item = &crate::alerts::Alert> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let alerts = rules.flat_map(|rule| rule.alerts.values());
        alerts.filter(|alert| alert.state == AlertState::Firing)
    }
}
