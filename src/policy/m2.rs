//! The memory that M2 may pin: arithmetic of document B §3, in bytes throughout.
//!
//! Pinned objects are never evicted; too many, and nothing is left to evict. The budget is 3 % of
//! the machine's memory for all virtual hosts together. The number of documents counts rebuilds
//! twice, so it is an upper bound; the average size is robust.

use std::time::Duration;

use crate::base::Labels;

/// Share of the machine's memory that may be pinned (document B §3).
const BUDGET_RATIO: f64 = 0.03;
/// Growth allowed for over the peak's documents. Ours: it turns the document's 38,746 into 40,000.
const HEADROOM: f64 = 1.03;
/// Recommendations are rounded up to this many objects.
const ROUND_TO: f64 = 1000.0;

/// What configuration says about one virtual host; nothing in M2's metrics reveals it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Vhost {
    /// Its name.
    pub name: String,
    /// Objects pinned (`fixedCount`), if that is set.
    pub fixed_count: Option<u64>,
    /// Cache time in M2.
    pub ttl: Option<Duration>,
    /// Cache time in the CDN before it, if there is one.
    pub cdn_ttl: Option<Duration>,
}

impl Vhost {
    /// `plimsoll_m2_*{host,vhost}` and `plimsoll_cdn_ttl_seconds`; what is not set has no series.
    pub fn series(&self, host: &str) -> Vec<(Labels, f64)> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let values = [
            ("plimsoll_m2_fixed_count", self.fixed_count.map(|count| count as f64)),
            ("plimsoll_m2_ttl_seconds", seconds(self.ttl)),
            ("plimsoll_cdn_ttl_seconds", seconds(self.cdn_ttl)),
        ];
        let labels = [("host", host), ("vhost", self.name.as_str())];
        let set = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.map(|(name, value)| super::series(name, labels, value)).collect()
    }
}

/// What pinning costs one virtual host, and what it could have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Budget {
    /// Mean size of a document.
    pub avg_bytes: f64,
    /// Worst case of what is pinned.
    pub pinned_bytes: f64,
    /// That per the machine's memory; add it up over virtual hosts.
    pub ratio: f64,
    /// Most objects that fit the whole budget at this size.
    pub fixed_count_max: u64,
    /// What the peak's documents need, if it fits.
    pub fixed_count_recommended: u64,
}

/// The budget from the growth over the window (`m2_pagefx_complete_total`,
/// `m2_pagedesk_dest_size_bytes`), the setting, and the machine's memory. `None` without documents
/// or memory.
pub fn budget(docs: f64, bytes: f64, fixed_count: u64, memory_bytes: f64) -> Option<Budget> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !(positive(docs) && positive(bytes) && positive(memory_bytes)) {
        return None;
    }
    let avg_bytes = bytes / docs;
    let pinned_bytes = fixed_count as f64 * avg_bytes;
    let max = (BUDGET_RATIO * memory_bytes / avg_bytes).floor();
    let needed = (docs * HEADROOM / ROUND_TO).ceil() * ROUND_TO;
    Some(Budget {
        avg_bytes,
        pinned_bytes,
        ratio: pinned_bytes / memory_bytes,
        fixed_count_max: max as u64,
        fixed_count_recommended: needed.min(max) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document's own example, in both readings of "16GB".
    #[test]
    fn the_documents_example() {
        let cases = [(17_179_869_184.0, 0.023_159, 51_816), (16e9, 0.024_866, 48_257)];
        for (memory, ratio, max) in cases {
            let got = budget(38_746.0, 385_390_147.0, 40_000, memory).expect("has documents");
            assert!((got.avg_bytes - 9946.6).abs() < 0.05, "{got:?}");
            assert!((got.pinned_bytes - 397.86e6).abs() < 0.01e6, "{got:?}");
            assert!((got.ratio - ratio).abs() < 1e-6, "{got:?}");
            assert_eq!(got.fixed_count_max, max);
            assert_eq!(got.fixed_count_recommended, 40_000);
        }
        let crowded = budget(1e6, 1e6 * 9946.6, 0, 17_179_869_184.0).expect("has documents");
        assert_eq!(crowded.fixed_count_recommended, crowded.fixed_count_max, "never over budget");
    }

    #[test]
    fn without_input_there_is_no_budget() {
        for (docs, bytes, memory) in [(0.0, 1.0, 1.0), (1.0, f64::NAN, 1.0), (1.0, 1.0, 0.0)] {
            assert_eq!(budget(docs, bytes, 1, memory), None);
        }
    }

    #[test]
    fn only_what_is_set_has_a_series() {
        let vhost = Vhost {
            name: "example.com".to_owned(),
            fixed_count: Some(40_000),
            ttl: Some(Duration::from_secs(600)),
            cdn_ttl: None,
        };
        let got: Vec<String> = vhost
            .series("web-7")
            .iter()
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect();
        assert_eq!(
            got,
            [
                "plimsoll_m2_fixed_count{host=\"web-7\", vhost=\"example.com\"} 40000",
                "plimsoll_m2_ttl_seconds{host=\"web-7\", vhost=\"example.com\"} 600",
            ]
        );
    }
}
