//! What is known of containers, as series for rules and as views for readers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CRASH_LOOP, Containers, ENDS_TOTAL, OOM_TOTAL};
use crate::base::{Labels, LabelsBuilder, METRIC_NAME, Sample, Timestamp};
use crate::containers::{Container, Counts, End};
use crate::engine::{ContainerView, Engine};
use crate::window::{SeriesId, Window};

/// Who may have been killed, in the order of a name's series.
const SCOPES: [&str; 2] = ["pid1", "child"];

/// The labels that all series about the containers of one name carry, and those of the series that are
/// written in each round: made once, for a host has hundreds of names.
#[derive(Clone, Debug)]
pub(super) struct OwnLabels {
    /// What all of them carry.
    pub base: Labels,
    kills: [Labels; 2],
    looping: Labels,
}

impl OwnLabels {
    fn new(base: Labels) -> OwnLabels {
        let kills = SCOPES.map(|scope| with(&base, OOM_TOTAL, ("scope", scope)));
        let looping = with(&base, CRASH_LOOP, ("", ""));
        OwnLabels { base, kills, looping }
    }
}

impl Containers {
    /// These series alone are there from before our restart. Any other was not written yet when they were kept,
    /// so it begins with nothing, and what was counted since is news.
    pub(in crate::engine) fn begin_unseen<'a>(
        &mut self,
        live: impl Iterator<Item = (SeriesId, &'a Labels)>,
    ) {
        let label = |labels: &'a Labels, name| labels.get(name).unwrap_or_default();
        let of = |(_, labels)| [METRIC_NAME, "container", "reason"].map(|name| label(labels, name));
        let live: BTreeSet<[&str; 3]> = live.map(of).collect();
        self.written.retain(|name, _| live.contains(&[OOM_TOTAL, name, ""]));
        for (name, ends) in &mut self.ends_written {
            for (end, count) in End::ALL.iter().zip(ends) {
                if !live.contains(&[ENDS_TOTAL, name, end.name()]) {
                    *count = 0;
                }
            }
        }
    }

    /// What the journal has for a series of ours with these labels, if it has counted anything.
    fn counted(&self, labels: &Labels) -> Option<u64> {
        let label = |name| labels.get(name).unwrap_or_default();
        let name = label("container");
        let count = match labels.metric_name() {
            OOM_TOTAL => {
                let Counts { pid1, child } = self.ledger.counts(name);
                let mut of = SCOPES.into_iter().zip([pid1, child]);
                of.find_map(|(scope, count)| (scope == label("scope")).then_some(count))
            }
            ENDS_TOTAL => {
                let mut of = End::ALL.into_iter().zip(self.fates.get(name)?.ends);
                of.find_map(|(end, count)| (end.name() == label("reason")).then_some(count))
            }
            _ => None,
        };
        // A target's has an instance.
        count.filter(|count| *count > 0 && labels.get("instance").is_none())
    }
}

impl Engine {
    /// The labels of a series with what is known of its owner. Docker's own word replaces what the
    /// scrape says of labels, because cAdvisor's names of them collide.
    pub(in crate::engine) fn enrich(&self, labels: &Labels) -> Labels {
        crate::engine::setup::enrich(&self.setup, &self.containers, labels)
    }

    /// The labels that series about the containers of this name carry.
    pub(super) fn labels_of(&mut self, name: &str) -> OwnLabels {
        if let Some(labels) = self.containers.labels.get(name) {
            return labels.clone();
        }
        let mut of = LabelsBuilder::from(&Labels::from_pairs([("name", name)]));
        if let Some(container) = self.containers.inventory.by_known(name) {
            of.set("image", &container.image).set("id", container.id.as_str());
        }
        let enriched = self.enrich(&of.build());
        let mut built = LabelsBuilder::from(&Labels::from_pairs([("name", name)]));
        for label in ["host", "tenant", "plan", "role", "service"] {
            built.set(label, enriched.get(label).unwrap_or_default());
        }
        let labels = OwnLabels::new(built.set("container", name).build());
        self.containers.labels.insert(name.to_owned(), labels.clone());
        labels
    }

    /// Writes the series about containers; returns those written.
    pub(in crate::engine) fn write_container_series(
        &mut self,
        at: Timestamp,
    ) -> BTreeSet<SeriesId> {
        let mut written = BTreeSet::new();
        if self.writes_oom_series {
            let names = self.containers.names();
            let mut counts: BTreeMap<String, Counts> =
                names.into_iter().map(|name| (name, Counts::default())).collect();
            let told = self.containers.ledger.iter();
            counts.extend(told.map(|(name, counts)| (name.to_owned(), counts)));
            for (name, counts) in counts {
                let labels = self.labels_of(&name);
                let before = self.containers.written.insert(name, counts).unwrap_or_default();
                let counts = [(before.pid1, counts.pid1), (before.child, counts.child)];
                for (labels, counts) in labels.kills.iter().zip(counts) {
                    written.extend(write_counter(&mut self.window, labels, at, counts));
                }
            }
        }
        written.extend(self.write_fates(at));
        written
    }

    /// Of loops the journal knows more than a window that was kept before, and while nobody can see one nothing
    /// is said: what the window says of them ends with it.
    pub(in crate::engine) fn end_loops_of_before(&mut self) {
        let is_loop = |(_, labels): &(SeriesId, &Labels)| labels.metric_name() == CRASH_LOOP;
        let loops: Vec<SeriesId> = self.window.live().filter(is_loop).map(|(id, _)| id).collect();
        loops.into_iter().for_each(|id| self.window.end(id));
    }

    /// Of what was counted it knows more, too: a query must not see less until the next evaluation.
    pub(in crate::engine) fn renew_counts(&mut self, at: Timestamp) {
        let counted = |(id, labels)| {
            let value = self.containers.counted(labels)? as f64;
            Some((id, Sample { at, value }))
        };
        let counted: Vec<(SeriesId, Sample)> = self.window.live().filter_map(counted).collect();
        for (id, sample) in counted {
            self.window.append(id, sample);
        }
    }

    fn write_fates(&mut self, at: Timestamp) -> Vec<SeriesId> {
        let mut values = Vec::new();
        let before = std::mem::take(&mut self.containers.ends_written);
        for (name, fate) in self.containers.fates.iter() {
            let told = before.get(name).copied().unwrap_or_default();
            let ends = End::ALL.into_iter().zip(told.into_iter().zip(fate.ends));
            let ends = ends.filter(|(_, (_, count))| *count > 0);
            values.extend(ends.map(|(end, counts)| (name.to_owned(), Some(end.name()), counts)));
            self.containers.ends_written.insert(name.to_owned(), fate.ends);
        }
        // All of them, so that a rule finds its input on a good day too; of a loop that nobody can see
        // nothing is said.
        let is_looping = |name: &str| self.containers.fates.get(name).is_some_and(|f| f.is_looping);
        if !self.containers.daemon.is_silent() {
            let names = self.containers.names().into_iter();
            values.extend(names.map(|name| {
                let is_looping = u64::from(is_looping(&name));
                (name, None, (is_looping, is_looping))
            }));
        }
        let mut written = Vec::new();
        for (name, reason, counts) in values {
            let of = self.labels_of(&name);
            let labels = match reason {
                Some(reason) => with(&of.base, ENDS_TOTAL, ("reason", reason)),
                None => of.looping,
            };
            written.extend(write_counter(&mut self.window, &labels, at, counts));
        }
        written
    }

    /// Containers as readers see them, by name.
    pub(in crate::engine) fn container_views(&self) -> Vec<Arc<ContainerView>> {
        let view = |container: &Arc<Container>| {
            let first = self.containers.inventory.known_as(&container.id);
            let first = first.unwrap_or(&container.name);
            let fate = self.containers.fates.get(first);
            let labels = self.containers.labels.get(first);
            let label =
                |name: &str| labels.and_then(|labels| labels.base.get(name)).map(str::to_owned);
            Arc::new(ContainerView {
                container: Arc::clone(container),
                known_as: first.to_owned(),
                tenant: label("tenant"),
                service: label("service"),
                state: fate.map_or(container.status.name(), |f| f.word(Some(container.status))),
                ends: fate.map_or([0; 6], |fate| fate.ends),
                last_end: fate.and_then(|fate| fate.last),
                oom: self.containers.ledger.counts(first),
            })
        };
        let mut views: Vec<Arc<ContainerView>> =
            self.containers.inventory.shared().map(view).collect();
        views.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        views
    }
}

fn with(labels: &Labels, name: &str, (label, value): (&str, &str)) -> Labels {
    let mut built = LabelsBuilder::from(labels);
    built.set(METRIC_NAME, name);
    if !label.is_empty() {
        built.set(label, value);
    }
    built.build()
}

/// Appends a counter's value. A series that begins begins with what was known before: else its first
/// increase would be no increase.
fn write_counter(
    window: &mut Window,
    labels: &Labels,
    at: Timestamp,
    (before, value): (u64, u64),
) -> Option<SeriesId> {
    let id = window.series(labels).ok()?;
    if !window.is_live(id) {
        window.append(id, Sample { at: Timestamp(at.0 - 1), value: before as f64 });
    }
    window.append(id, Sample { at, value: value as f64 });
    Some(id)
}
