//! What came of a run: alerts, actions, holds, webhooks and budgets, per tenant; and what truly
//! happened meanwhile, as far as it was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::coverage::Coverage;
use super::shadow::{Standing, standings};
use super::world::{Surroundings, Told, World};
use crate::base::{Labels, Timestamp, format_rfc3339};
use crate::engine::{Fact, Judged};
use crate::outbox::WireTime;
use crate::policy::{HoldReason, Limits};

/// The alert that tells a kill afterwards, and so never warned of one.
const TOLD_AFTERWARDS: &str = "ContainerOomKilled";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One time an alert fired.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Span {
    /// Its name.
    pub alert: String,
    /// Its other labels.
    pub labels: BTreeMap<String, String>,
    /// When it began to fire.
    pub from: WireTime,
    /// When it ended, if it did.
    pub to: Option<WireTime>,
}

/// How far an action went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Sent as a request.
    Requested,
    /// Sent, marked `dry_run`.
    DryRun,
    /// Decided and recorded, in mode `observe`.
    Observed,
}

/// An action that was decided, sent or not.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Action {
    /// When.
    pub at: WireTime,
    /// `restart`, `nudge`, `advise` or `rollback_advice`.
    pub action: String,
    /// The service, or what else it is about.
    pub subject: String,
    /// The tenant whose container it is about, or `""`.
    pub tenant: String,
    /// The alert that asked.
    pub alert: String,
    /// How far it went.
    pub how: How,
    /// How a restart ended, once that was known.
    pub outcome: Option<String>,
    #[serde(skip)]
    pub(super) after: Duration,
    /// What the diagnosis was.
    #[serde(skip)]
    pub(super) cause: &'static str,
    /// The labels of that alert.
    #[serde(skip)]
    pub labels: Labels,
}

/// An action that was held.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Hold {
    /// The tenant, or `""`.
    pub tenant: String,
    /// The service, or what else the alert is about.
    pub subject: String,
    /// The alert that asked.
    pub alert: String,
    /// Why.
    pub reason: String,
}

/// An OOM kill, and whether anybody was warned.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Kill {
    /// When it was seen.
    pub at: WireTime,
    /// In which container.
    pub name: String,
    /// How long before it the first alert about this container began to fire, after the kill before.
    pub warned_seconds: Option<f64>,
}

/// One tenant's share.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct TenantSummary {
    /// Alerts that began to fire.
    pub alerts: usize,
    /// Webhooks the Control Plane would have got.
    pub webhooks: usize,
    /// Actions by kind, sent and observed.
    pub actions: BTreeMap<String, usize>,
    /// Holds by reason; `observe` is no hold but an action that was decided.
    pub holds: BTreeMap<String, usize>,
    /// Most restarts within 24 hours.
    pub restarts_day: usize,
    /// How many there may be.
    pub restarts_day_limit: usize,
}

/// Everything that came of a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// When the run began and ended.
    pub span: (WireTime, WireTime),
    /// By tenant; `""` for what belongs to nobody.
    pub tenants: BTreeMap<String, TenantSummary>,
    /// Webhooks by type.
    pub webhooks: BTreeMap<String, usize>,
    /// Every alert that fired.
    pub alerts: Vec<Span>,
    /// Every action that was decided.
    pub actions: Vec<Action>,
    /// Every hold, with how often it was told.
    pub holds: Vec<(Hold, usize)>,
    /// Most restarts on the host within an hour, and how many there may be.
    pub restarts_hour: (usize, usize),
    /// Restarts of containers that nobody here asked for, and ends, by container and reason.
    pub ends: BTreeMap<String, BTreeMap<String, usize>>,
    /// OOM kills.
    pub kills: Vec<Kill>,
    /// Whether a rule has earned `act`.
    pub standing: Vec<Standing>,
    /// Rules that could not be evaluated, scrapes that failed and times without any, each with its error.
    pub problems: Vec<String>,
    #[serde(skip)]
    pub(super) coverage: Coverage,
}

impl Report {
    /// Reads a run of which so much was seen.
    pub fn of<S: Surroundings>(world: &World<S>, limits: &Limits, coverage: &Coverage) -> Report {
        let end = world.now();
        let alerts = spans(&world.facts);
        let actions = actions(&world.facts);
        let (kills, ends) = truths(&world.facts, &alerts);
        let mut holds: BTreeMap<Hold, usize> = BTreeMap::new();
        let mut problems: BTreeSet<String> = coverage.off.iter().map(off).collect();
        for told in &world.facts {
            match &told.what {
                Fact::Held { judged, reason, .. } if *reason != HoldReason::Observe => {
                    *holds.entry(hold(&judged.whose, *reason)).or_default() += 1;
                }
                Fact::RuleFailed { rule, error, .. } => {
                    problems.insert(format!("{rule}: {error}"));
                }
                Fact::ScrapeFailed { target, error, .. } => {
                    problems.insert(format!("{target}: {error}"));
                }
                _ => {}
            }
        }
        let mut webhooks: BTreeMap<String, usize> = BTreeMap::new();
        for told in &world.delivered {
            *webhooks.entry(told.what.event_type.name().to_owned()).or_default() += 1;
        }
        let begin = Timestamp(end.wall.0 - end.monotonic.as_millis() as i64);
        let mut report = Report {
            span: (WireTime(begin), WireTime(end.wall)),
            tenants: BTreeMap::new(),
            webhooks,
            standing: Vec::new(),
            restarts_hour: (
                most_within(&actions, Duration::from_secs(3600), |_| true),
                limits.restarts_per_host_hour,
            ),
            alerts,
            actions,
            holds: holds.into_iter().collect(),
            ends,
            kills,
            problems: problems.into_iter().collect(),
            coverage: coverage.clone(),
        };
        report.tenants = report.by_tenant(world, limits);
        report.standing = standings(&report, limits.expiry);
        report
    }

    fn by_tenant<S: Surroundings>(
        &self,
        world: &World<S>,
        limits: &Limits,
    ) -> BTreeMap<String, TenantSummary> {
        let mut all: BTreeMap<String, TenantSummary> = BTreeMap::new();
        for span in &self.alerts {
            let tenant = span.labels.get("tenant").cloned().unwrap_or_default();
            all.entry(tenant).or_default().alerts += 1;
        }
        for told in &world.delivered {
            let tenant = told.what.data.tenant_id.clone().unwrap_or_default();
            all.entry(tenant).or_default().webhooks += 1;
        }
        for action in &self.actions {
            let summary = all.entry(action.tenant.clone()).or_default();
            *summary.actions.entry(action.action.clone()).or_default() += 1;
        }
        for (hold, count) in &self.holds {
            let summary = all.entry(hold.tenant.clone()).or_default();
            *summary.holds.entry(hold.reason.clone()).or_default() += count;
        }
        for (tenant, summary) in &mut all {
            summary.restarts_day = most_within(&self.actions, DAY, |a| a.tenant == *tenant);
            summary.restarts_day_limit = limits.restarts_per_tenant_day;
        }
        all
    }
}

fn off((from, to): &(Timestamp, Timestamp)) -> String {
    let (from, to) = (format_rfc3339(*from), format_rfc3339(*to));
    format!("nothing was recorded between {from} and {to}: replayed as if plimsoll had been off")
}

/// Most restarts within any such time.
fn most_within(actions: &[Action], within: Duration, of: impl Fn(&Action) -> bool) -> usize {
    let restarts = actions.iter().filter(|action| action.action == "restart" && of(action));
    let at: Vec<Duration> = restarts.map(|action| action.after).collect();
    let counts = at.iter().map(|end| {
        at.iter().filter(|begin| *begin <= end && end.saturating_sub(**begin) < within).count()
    });
    counts.max().unwrap_or(0)
}

fn label(labels: &Labels, name: &str) -> String {
    labels.get(name).unwrap_or_default().to_owned()
}

/// Whom an alert is about: its service, else its container, else the host.
fn subject(labels: &Labels) -> String {
    let named = ["service", "name", "host"].into_iter().find_map(|name| labels.get(name));
    named.unwrap_or_default().to_owned()
}

fn hold(labels: &Labels, reason: HoldReason) -> Hold {
    Hold {
        tenant: label(labels, "tenant"),
        subject: subject(labels),
        alert: label(labels, "alertname"),
        reason: reason.name().to_owned(),
    }
}

/// Every time an alert fired, in the order of their beginnings.
fn spans(facts: &[Told<Fact>]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: BTreeMap<Labels, usize> = BTreeMap::new();
    for told in facts {
        match &told.what {
            Fact::AlertFiring { labels, .. } => {
                open.insert(labels.clone(), spans.len());
                let others = labels.iter().filter(|(name, _)| *name != "alertname");
                spans.push(Span {
                    alert: label(labels, "alertname"),
                    labels: others.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
                    from: WireTime(told.at),
                    to: None,
                });
            }
            Fact::AlertResolved { labels, .. } => {
                if let Some(index) = open.remove(labels) {
                    spans[index].to = Some(WireTime(told.at));
                }
            }
            _ => {}
        }
    }
    spans
}

/// Every action that was decided, with its outcome.
fn actions(facts: &[Told<Fact>]) -> Vec<Action> {
    let mut all: Vec<Action> = Vec::new();
    let mut add =
        |told: &Told<Fact>, (labels, judged): (&Labels, &Judged), what: (&str, String), how| {
            let (action, subject) = what;
            all.push(Action {
                at: WireTime(told.at),
                action: action.to_owned(),
                subject,
                tenant: label(&judged.whose, "tenant"),
                alert: label(labels, "alertname"),
                how,
                outcome: None,
                after: told.after,
                cause: judged.cause,
                labels: labels.clone(),
            });
        };
    let mut outcomes = Vec::new();
    for told in facts {
        match &told.what {
            Fact::Decided { labels, action, dry_run, subject: guarded, judged, .. } => {
                let how = if *dry_run { How::DryRun } else { How::Requested };
                // Advice counts on guards of its own, under a name that says nothing to people.
                let about = match guarded.starts_with("alert:") {
                    true => subject(&judged.whose),
                    false => guarded.clone(),
                };
                add(told, (labels, judged), (action, about), how);
            }
            Fact::Held { labels, action, reason: HoldReason::Observe, judged, .. } => {
                add(told, (labels, judged), (action, subject(&judged.whose)), How::Observed);
            }
            Fact::Outcome { request, outcome, .. } => {
                outcomes.push((told.after, &request.subject, *outcome));
            }
            _ => {}
        }
    }
    for (after, subject, outcome) in outcomes {
        let of =
            |a: &&mut Action| a.action == "restart" && a.subject == *subject && a.after <= after;
        if let Some(action) = all.iter_mut().rev().find(of) {
            action.outcome = Some(outcome.to_owned());
        }
    }
    all
}

type Ends = BTreeMap<String, BTreeMap<String, usize>>;

/// What truly happened: kills, each with its warning, and how containers ended.
fn truths(facts: &[Told<Fact>], alerts: &[Span]) -> (Vec<Kill>, Ends) {
    let mut kills: Vec<Kill> = Vec::new();
    let mut ends = Ends::new();
    for told in facts {
        match &told.what {
            Fact::OomKilled { name, .. } => {
                let before = kills.iter().rev().find(|kill| kill.name == *name);
                let since = before.map_or(Timestamp(i64::MIN), |kill| kill.at.0);
                let warned = alerts.iter().find(|span| {
                    span.alert != TOLD_AFTERWARDS
                        && span.labels.get("name") == Some(name)
                        && since < span.from.0
                        && span.from.0 <= told.at
                });
                kills.push(Kill {
                    at: WireTime(told.at),
                    name: name.clone(),
                    warned_seconds: warned.map(|span| told.at.since(span.from.0).as_secs_f64()),
                });
            }
            Fact::ContainerEnded { name, reason, .. } => {
                let reasons = ends.entry(name.clone()).or_default();
                *reasons.entry((*reason).to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }
    (kills, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An alert of a rule that aggregates by the container's name does not say whose it is.
    #[test]
    fn an_action_is_booked_to_whom_the_container_belongs() {
        let labels = Labels::from_pairs([("alertname", "A"), ("name", "web")]);
        let whose = [("tenant", "acme"), ("service", "acme/app")];
        let judged = || {
            Box::new(Judged {
                whose: Labels::from_pairs(labels.iter().chain(whose)),
                started_at: Timestamp(0),
                cause: "leak",
                evidence: crate::outbox::Evidence::default(),
                delivery: None,
            })
        };
        let decided = Fact::Decided {
            labels: labels.clone(),
            action: "restart",
            dry_run: false,
            subject: "acme/app".to_owned(),
            why: None,
            verification: None,
            judged: judged(),
        };
        let observed = Fact::Held {
            labels: labels.clone(),
            action: "restart",
            reason: HoldReason::Observe,
            lifted_by: String::new(),
            judged: judged(),
        };
        let told = |what| Told { at: Timestamp(0), after: Duration::ZERO, what };
        let actions = actions(&[told(decided), told(observed)]);
        let whose = |action: &Action| (action.tenant.clone(), action.subject.clone());
        let want = ("acme".to_owned(), "acme/app".to_owned());
        assert_eq!(actions.iter().map(whose).collect::<Vec<_>>(), [want.clone(), want]);
    }

    #[test]
    fn advice_is_about_the_container_not_about_a_fingerprint() {
        let labels = Labels::from_pairs([("alertname", "A"), ("name", "web"), ("host", "h")]);
        let advised = |guarded: &str| Told {
            at: Timestamp(0),
            after: Duration::ZERO,
            what: Fact::Decided {
                labels: labels.clone(),
                action: "advise",
                dry_run: false,
                subject: guarded.to_owned(),
                why: None,
                verification: None,
                judged: Box::new(Judged {
                    whose: labels.clone(),
                    started_at: Timestamp(0),
                    cause: "unclear",
                    evidence: crate::outbox::Evidence::default(),
                    delivery: None,
                }),
            },
        };
        let told = [advised("alert:9dc6000000000000"), advised("image erp:16")];
        let about: Vec<String> = actions(&told).into_iter().map(|a| a.subject).collect();
        assert_eq!(about, ["web", "image erp:16"]);
    }
}
