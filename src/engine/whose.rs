//! Whose the container is that an alert is about: said by those who measure it, never by the alert.
//!
//! An alert points to a container by its name, or by its service. Its other labels come from its rule,
//! which may drop some, add some, or read what a tenant's own page tells of somebody else. So tenant,
//! plan, role and service are taken from the series that evidence is made of, which the mapping was
//! applied to. What has no container at all, as a site in a shared one, is what its labels say.

use std::collections::BTreeSet;

use super::Engine;
use super::evidence::EVIDENCE_NAMES;
use super::judge::as_it_stands;
use crate::alerts::Alert;
use crate::base::{Labels, LabelsBuilder, Timestamp, is_stale};
use crate::containers::id_in_cgroup;
use crate::policy::Incident;
use crate::rules::Rule;
use crate::window::{Matcher, Selector, Source, Span};

/// Labels an alert may not contradict; the plan just is what it is.
const OWNER: [&str; 3] = ["tenant", "role", "service"];
const PLAN: &str = "plan";
/// Evidence about the host, which nobody owns.
const OF_THE_HOST: [&str; 3] = ["node_", "machine_", "plimsoll_machine_"];

#[cfg(test)]
thread_local! {
    /// How often this thread has looked at an alert as judgement sees it: a test holds it to the number of alerts.
    pub(super) static INCIDENTS_MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Engine {
    /// A firing alert as judgement sees it.
    pub(super) fn incident(&self, rule: &Rule, alert: &Alert) -> Incident {
        #[cfg(test)]
        INCIDENTS_MADE.set(INCIDENTS_MADE.get() + 1);
        let (whose, owner_differs) = self.whose(&alert.labels);
        Incident { whose, owner_differs, ..as_it_stands(rule, alert) }
    }

    /// An alert's labels with what is known of the container they name, and whether they agree.
    pub(super) fn whose(&self, labels: &Labels) -> (Labels, bool) {
        let mut built = LabelsBuilder::from(labels);
        let Some((label, text)) = pointer(labels) else { return (built.build(), false) };
        let found = self.measured((label, text));
        if found.is_empty() {
            return (built.build(), false);
        }
        let mut differs = found.iter().any(|series| self.is_another(series));
        for label in OWNER.into_iter().chain([PLAN]) {
            let known: BTreeSet<&str> =
                found.iter().filter_map(|series| series.get(label)).collect();
            let said = labels.get(label).unwrap_or_default();
            let one = known.first().copied().filter(|_| known.len() == 1).unwrap_or_default();
            // Two plans in one service: the alert may say which.
            if known.len() > 1 && label == PLAN && known.contains(said) {
                continue;
            }
            differs |= label != PLAN && (known.len() > 1 || !said.is_empty() && said != one);
            built.set(label, one);
        }
        (built.build(), differs)
    }

    /// The service an alert is about.
    pub(super) fn service_of(&self, labels: &Labels) -> String {
        let said = labels.get("service").filter(|service| !service.is_empty());
        let known = || self.whose(labels).0.get("service").unwrap_or_default().to_owned();
        said.map_or_else(known, str::to_owned)
    }

    /// How those who measure containers name the ones that a label names: by series that go on, else by
    /// those that ended last. Of all metrics one is enough.
    fn measured(&self, (label, text): (&str, &str)) -> Vec<&Labels> {
        let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        let mut ended = (Timestamp(i64::MIN), Vec::new());
        let of_host = |metric: &&str| OF_THE_HOST.iter().any(|host| metric.starts_with(host));
        for metric in EVIDENCE_NAMES.into_iter().filter(|metric| !of_host(metric)) {
            let matchers = vec![Matcher::equal("__name__", metric), Matcher::equal(label, text)];
            let selector = Selector::new(matchers);
            let found = self.window.select(&selector, all);
            let last =
                found.iter().filter_map(|series| Some((series.samples.last()?, series.labels)));
            let (gone, live): (Vec<_>, Vec<_>) = last.partition(|(last, _)| is_stale(last.value));
            if !live.is_empty() {
                return live.into_iter().map(|(_, labels)| labels).collect();
            }
            let newest = gone.iter().map(|(last, _)| last.at).max().unwrap_or(ended.0);
            if newest > ended.0 {
                let latest = gone.into_iter().filter(|(last, _)| last.at == newest);
                ended = (newest, latest.map(|(_, labels)| labels).collect());
            }
        }
        ended.1
    }

    /// Whether a series names one container and is about another, by Docker's word.
    fn is_another(&self, series: &Labels) -> bool {
        let name = series.get("name").unwrap_or_default();
        let id = series.get("id").and_then(id_in_cgroup);
        id.is_some_and(|id| self.containers.is_another(&id, name))
    }
}

/// The label that tells what an alert is about, and its text: its container, else its service.
pub(super) fn pointer(labels: &Labels) -> Option<(&'static str, &str)> {
    let found = ["name", "service"].into_iter().filter_map(|name| Some((name, labels.get(name)?)));
    found.into_iter().find(|(_, text)| !text.is_empty())
}
