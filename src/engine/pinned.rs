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
use crate::base::{Labels, METRIC_NAME, Now, Timestamp};
use crate::policy::{M2Setting, Made, WINDOW_MAX};

/// The count of documents, and the bytes of them where they are most exact (document B §3).
pub(super) const DOCS: &str = "m2_pagefx_complete_total";
pub(super) const BYTES: &str = "m2_pagedesk_dest_size_bytes";
/// Seconds since M2 started: a cache younger than the window rebuilds everything once.
pub(super) const UPTIME: &str = "m2_sys_uptime";
/// What is made of them.
pub(super) const DOCS_PEAK: &str = "plimsoll_m2_docs_peak";
const BYTES_PEAK: &str = "plimsoll_m2_doc_bytes_peak";
/// The peak is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The document's name among those that are watched.
pub(super) const SETTING: &str = "m2_setting";

impl Setup {
    /// How far back documents are counted at most; `setting.json` may say anything.
    pub(super) fn documents_back(&self) -> Duration {
        if self.policy.m2_setting_expected {
            return WINDOW_MAX;
        }
        let windows = self.policy.vhosts.iter().map(crate::policy::Vhost::window);
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
        let ask = |query: &str, at| vector(query, &self.window, at, &self.setup.eval);
        let known = ask(&format!("max by (host, instance, vhost) (timestamp({DOCS}))"), at);
        // Up to the newest sample: what is extrapolated beyond it would pile up in a maximum.
        let mut windows: BTreeMap<(Duration, Timestamp), BTreeSet<Labels>> = BTreeMap::new();
        for (labels, newest) in known {
            let window = self.setup.policy.vhost(labels.get("vhost").unwrap_or_default()).window();
            windows.entry((window, Timestamp::from_seconds(newest))).or_default().insert(labels);
        }
        let mut seen = Vec::new();
        for ((window, upto), vhosts) in windows {
            let seconds = window.as_secs();
            let made = |name: &str| -> BTreeMap<Labels, f64> {
                // A cold cache builds everything once, which says nothing of a day.
                let query = format!(
                    "sum by (host, instance, vhost) (increase({name}[{seconds}s])) unless on \
                     (host, instance) max by (host, instance) ({UPTIME}) < {seconds}"
                );
                ask(&query, upto).into_iter().collect()
            };
            let (docs, bytes) = (made(DOCS), made(BYTES));
            for labels in vhosts {
                let both = docs.get(&labels).zip(bytes.get(&labels));
                seen.extend(
                    both.map(|(docs, bytes)| (labels, Made { docs: *docs, bytes: *bytes })),
                );
            }
        }
        for (labels, made) in seen {
            self.changes.extend(self.memory.peaks.observe(&labels, made, now.wall));
        }
        self.changes.extend(self.memory.peaks.prune(now.wall));
    }

    /// The peaks as series, and the virtual hosts that only `setting.json` speaks of.
    pub(super) fn document_values(&self, now: Now) -> Vec<(Labels, f64)> {
        let mut values = Vec::new();
        let mut vhosts: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (labels, made) in self.memory.peaks.iter(now.wall) {
            values.push((labels.with(METRIC_NAME, DOCS_PEAK), made.docs));
            values.push((labels.with(METRIC_NAME, BYTES_PEAK), made.bytes));
            let label = |name| labels.get(name).unwrap_or_default();
            vhosts.insert((label("host"), label("vhost")));
        }
        let policy = &self.setup.policy;
        if policy.m2_setting.is_some() {
            let configured = |name: &str| policy.vhosts.iter().any(|vhost| vhost.name == name);
            for (host, name) in vhosts.into_iter().filter(|(_, name)| !configured(name)) {
                values.extend(policy.vhost(name).series(host));
            }
        }
        values
    }

    /// M2's `setting.json` was looked at.
    pub(super) fn take_m2_setting(&mut self, now: Now, told: Told<M2Setting>) {
        let Some(setting) = self.note_document(now, SETTING, told) else { return };
        if self.setup.policy.m2_setting.as_ref() != Some(&setting) {
            self.setup.policy.m2_setting = Some(setting);
            self.facts.push(Fact::DocumentTaken { document: SETTING, count: 1, doubt: None });
        }
    }
}
