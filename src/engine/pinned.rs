//! What M2's virtual hosts make, measured once a minute for the day's peak, and what its
//! `setting.json` says.
//!
//! Here documents are only counted, over a window that PromQL cannot choose by series: twice the
//! cache time of each virtual host. What follows from the counts stands in `rules/m2.yml`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Engine;
use super::evidence::vector;
use super::fact::Fact;
use super::owners::Told;
use super::setup::Setup;
use crate::base::{Labels, METRIC_NAME, Now, Sample, Timestamp, is_stale};
use crate::policy::{M2Setting, Made};
use crate::window::{Matcher, Selector, Source, Span};

/// The count of documents, and the bytes of them where they are most exact (document B §3).
pub(super) const DOCS: &str = "m2_pagefx_complete_total";
pub(super) const BYTES: &str = "m2_pagedesk_dest_size_bytes";
/// Seconds since M2 started: a cache younger than the window rebuilds everything once.
pub(super) const UPTIME: &str = "m2_sys_uptime";
/// What is made of them.
pub(super) const DOCS_PEAK: &str = "plimsoll_m2_docs_peak";
const BYTES_PEAK: &str = "plimsoll_m2_doc_bytes_peak";
/// How much of its window each virtual host has been counted over.
const COUNTED: &str = "plimsoll_m2_counted_seconds";
/// A virtual host of one M2.
const ONE: [&str; 3] = ["host", "instance", "vhost"];
/// What may be missing of a window at its beginning: so much of it, or what lies between two samples
/// as `increase` extrapolates them.
const WINDOW_SLACK: f64 = 0.1;
const GAPS_SLACK: f64 = 1.1;
/// The peak is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The document's name among those that are watched.
pub(super) const SETTING: &str = "m2_setting";

impl Setup {
    /// How far back documents are counted at most; `setting.json` may say anything.
    pub(super) fn documents_back(&self) -> Duration {
        if self.policy.m2_setting_expected {
            return *self.policy.m2_counting.window.end();
        }
        let counting = &self.policy.m2_counting;
        let windows = self.policy.vhosts.iter().map(|vhost| vhost.window(counting));
        windows.max().unwrap_or_default()
    }
}

impl Engine {
    /// Measures the documents of the last window against the day's peak.
    pub(super) fn observe_documents(&mut self, now: Now, at: Timestamp) {
        let is_due = self.peaks_at.is_none_or(|last| {
            now.monotonic.saturating_sub(last) >= LOOK_EVERY || now.monotonic < last
        });
        if !self.writes_peaks || !is_due {
            return;
        }
        self.peaks_at = Some(now.monotonic);
        // Up to the newest sample: what is extrapolated beyond it would pile up in a maximum.
        let mut windows: BTreeMap<(Duration, Timestamp), BTreeSet<Labels>> = BTreeMap::new();
        for (labels, counted) in self.counted(at) {
            self.changes.extend(self.memory.peaks.see(&labels, now.wall));
            // Of a window that was not seen whole, or of a cold cache that builds everything once, a
            // count says nothing of a day.
            if !counted.is_whole() {
                continue;
            }
            windows.entry((counted.window, counted.upto)).or_default().insert(labels);
        }
        let mut seen = Vec::new();
        for ((window, upto), vhosts) in windows {
            let seconds = window.as_secs();
            let made = |name: &str| -> BTreeMap<Labels, f64> {
                let query =
                    format!("sum by (host, instance, vhost) (increase({name}[{seconds}s]))");
                vector(&query, &self.window, upto, &self.setup.eval).into_iter().collect()
            };
            let (docs, bytes) = (made(DOCS), made(BYTES));
            for labels in vhosts {
                let both = docs.get(&labels).zip(bytes.get(&labels));
                seen.extend(
                    both.map(|(docs, bytes)| (labels, Made { docs: *docs, bytes: *bytes })),
                );
            }
        }
        let least = self.setup.policy.m2_counting.documents_min;
        for (labels, made) in seen {
            self.changes.extend(self.memory.peaks.observe(&labels, made, least, now.wall));
        }
        self.changes.extend(self.memory.peaks.prune(now.wall));
    }

    /// How much of its window each virtual host has been counted over, of those that are there.
    fn counted(&self, at: Timestamp) -> BTreeMap<Labels, Counted> {
        let ask = |query: &str| -> BTreeMap<Labels, f64> {
            vector(query, &self.window, at, &self.setup.eval).into_iter().collect()
        };
        let newest = ask(&format!("max by (host, instance, vhost) (timestamp({DOCS}))"));
        let up = ask(&format!("max by (host, instance) ({UPTIME})"));
        let mut counted: BTreeMap<Labels, Counted> = BTreeMap::new();
        let selector = Selector::new(vec![Matcher::equal(METRIC_NAME, DOCS)]);
        let counting = &self.setup.policy.m2_counting;
        let back = *counting.window.end() + self.setup.eval.lookback;
        let span = Span { after: at - back, upto: at };
        for series in self.window.select(&selector, span) {
            let labels = series.labels.filtered(|name| ONE.contains(&name));
            let Some(newest) = newest.get(&labels) else { continue };
            let vhost = self.setup.policy.vhost(labels.get("vhost").unwrap_or_default());
            let window = vhost.window(counting);
            let up = up.get(&labels.filtered(|name| name != "vhost")).copied();
            let found = Counted::of(series.samples, Timestamp::from_seconds(*newest), window, up);
            let known = counted.entry(labels).or_insert(found);
            known.seen = known.seen.max(found.seen);
        }
        counted
    }

    /// The peaks as series, and the virtual hosts that only `setting.json` speaks of.
    pub(super) fn document_values(&self, now: Now) -> Vec<(Labels, f64)> {
        let mut values = Vec::new();
        let mut vhosts: BTreeSet<(String, String)> = BTreeSet::new();
        let label = |labels: &Labels, name| labels.get(name).unwrap_or_default().to_owned();
        for (labels, made) in self.memory.peaks.iter().filter(|_| self.writes_peaks) {
            values.push((labels.with(METRIC_NAME, DOCS_PEAK), made.docs));
            values.push((labels.with(METRIC_NAME, BYTES_PEAK), made.bytes));
            vhosts.insert((label(labels, "host"), label(labels, "vhost")));
        }
        let counted = if self.writes_peaks { self.counted(now.wall) } else { BTreeMap::new() };
        for (labels, counted) in counted {
            values.push((labels.with(METRIC_NAME, COUNTED), counted.seen.as_secs_f64()));
            vhosts.insert((label(&labels, "host"), label(&labels, "vhost")));
        }
        let policy = &self.setup.policy;
        if policy.m2_setting.is_some() {
            let configured = |name: &str| policy.vhosts.iter().any(|vhost| vhost.name == name);
            for (host, name) in vhosts.iter().filter(|(_, name)| !configured(name)) {
                values.extend(policy.vhost(name).series(host, &policy.m2_counting));
            }
        }
        values
    }

    /// M2's `setting.json` was looked at; for a configuration before this one, perhaps.
    pub(super) fn take_m2_setting(&mut self, now: Now, told: Told<M2Setting>) {
        if !self.setup.policy.m2_setting_expected {
            return;
        }
        let Some(setting) = self.note_document(now, SETTING, told) else { return };
        if self.setup.policy.m2_setting.as_ref() != Some(&setting) {
            self.setup.policy.m2_setting = Some(setting);
            self.facts.push(Fact::DocumentTaken { document: SETTING, count: 1, doubt: None });
        }
    }
}

/// How much of its window a virtual host has been counted over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Counted {
    window: Duration,
    /// Its newest sample.
    upto: Timestamp,
    /// No more than the window.
    pub seen: Duration,
}

impl Counted {
    /// From the samples of one series; `up`: seconds since its M2 started.
    pub fn of(samples: &[Sample], upto: Timestamp, window: Duration, up: Option<f64>) -> Counted {
        let within = Span { after: upto - window, upto }.of(samples);
        let mut times = within.iter().filter(|s| !is_stale(s.value)).map(|sample| sample.at);
        let (first, later) = (times.next(), times.count());
        let seen = first.map_or(Duration::ZERO, |first| upto.since(first));
        // Two samples alone say nothing of how far samples lie apart.
        let gap = if later >= 2 { seen / later as u32 } else { Duration::ZERO };
        let slack = window.mul_f64(WINDOW_SLACK).max(gap.mul_f64(GAPS_SLACK));
        let seen = if seen + slack >= window { window } else { seen };
        let up = up.and_then(|up| Duration::try_from_secs_f64(up).ok());
        Counted { window, upto, seen: seen.min(up.unwrap_or(window)) }
    }

    fn is_whole(&self) -> bool {
        self.seen >= self.window
    }
}
