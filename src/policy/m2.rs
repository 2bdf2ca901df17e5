//! What configuration and M2's own `setting.json` know about its virtual hosts, as series that rules
//! join on.
//!
//! The arithmetic of what may be pinned (document B §3) stands in `rules/m2.yml`, where an operator
//! can read and change it; nothing here computes it a second time.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::Labels;

/// How long a document is cached where nobody says so (document B §1: 10 minutes recommended).
const CACHE_TIME: Duration = Duration::from_secs(600);
/// `meta.fixedCount` may not be more (M2's reference).
pub const FIXED_COUNT_MAX: u64 = 1_000_000;

/// How documents are counted.
#[derive(Clone, PartialEq, Debug)]
pub struct M2Counting {
    /// Twice the cache time is the window in which they are, within these. Samples are kept as long.
    pub window: RangeInclusive<Duration>,
    /// Fewer make no average worth multiplying by forty thousand (as in `rules/m2.yml`).
    pub documents_min: u64,
}

impl Default for M2Counting {
    /// Ten minutes to two hours and a hundred documents are ours, not measured.
    fn default() -> M2Counting {
        let window = Duration::from_secs(600)..=Duration::from_secs(2 * 3600);
        M2Counting { window, documents_min: 100 }
    }
}

impl M2Counting {
    /// The window for this cache time.
    fn window_of(&self, cached: Duration) -> Duration {
        cached.saturating_mul(2).min(*self.window.end()).max(*self.window.start())
    }
}

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
    /// Whether objects that are evicted keep what a 304 needs (`phantom.enable`).
    pub phantom: Option<bool>,
    /// How often documents are built anew, images included (`backend.refresh`); zero: never.
    pub refresh: Option<Duration>,
    /// `meta.indexingLimitCount`, objects; zero: no limit.
    pub indexing_limit: Option<u64>,
}

/// What `setting.json` says, for every virtual host. What it leaves out is `None`: there the
/// inventory counts, and without that M2's default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct M2Setting {
    /// `functions.network.cache.meta.fixedCount`
    pub fixed_count: Option<u64>,
    /// `functions.network.cache.ttl.custom` of `/pagefx/`, else `ttl.resCode.res2xx.sec`
    pub ttl: Option<Duration>,
    /// `functions.network.cache.phantom.enable`
    pub phantom: Option<bool>,
    /// `functions.contents.pagefx.backend.refresh`
    pub refresh: Option<Duration>,
    /// `functions.network.cache.meta.indexingLimitCount`
    pub indexing_limit: Option<u64>,
    /// Families the budget needs that `env.metrics.export.white` leaves out.
    pub hidden: Vec<String>,
}

impl Vhost {
    /// The same with what the running M2's `setting.json` says, which counts more than an inventory
    /// does. Where both are silent M2's documented defaults hold.
    #[must_use]
    pub fn under(&self, setting: &M2Setting) -> Vhost {
        Vhost {
            name: self.name.clone(),
            fixed_count: setting.fixed_count.or(self.fixed_count).or(Some(0)),
            ttl: setting.ttl.or(self.ttl).or(Some(Duration::from_secs(1800))),
            cdn_ttl: self.cdn_ttl,
            phantom: setting.phantom.or(self.phantom).or(Some(false)),
            refresh: setting.refresh.or(self.refresh).or(Some(Duration::ZERO)),
            indexing_limit: setting.indexing_limit.or(self.indexing_limit),
        }
    }

    /// How far back documents are counted: twice the time one is cached where it is cached longest,
    /// which is the CDN if there is one (M2 behind a CDN caches for seconds).
    pub fn window(&self, counting: &M2Counting) -> Duration {
        counting.window_of(self.cdn_ttl.or(self.ttl).unwrap_or(CACHE_TIME))
    }

    /// `plimsoll_m2_*{host,vhost}` and `plimsoll_cdn_ttl_seconds`; what is not set has no series.
    pub fn series(&self, host: &str, counting: &M2Counting) -> Vec<(Labels, f64)> {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let objects = |count: Option<u64>| count.map(|count| count as f64);
        let values = [
            ("plimsoll_m2_fixed_count", objects(self.fixed_count)),
            ("plimsoll_m2_ttl_seconds", seconds(self.ttl)),
            ("plimsoll_cdn_ttl_seconds", seconds(self.cdn_ttl)),
            ("plimsoll_m2_phantom", self.phantom.map(|on| f64::from(u8::from(on)))),
            ("plimsoll_m2_refresh_seconds", seconds(self.refresh)),
            ("plimsoll_m2_indexing_limit_count", objects(self.indexing_limit)),
            ("plimsoll_m2_window_seconds", Some(self.window(counting).as_secs_f64())),
        ];
        let labels = [("host", host), ("vhost", self.name.as_str())];
        let set = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.map(|(name, value)| super::series(name, labels, value)).collect()
    }
}

impl M2Setting {
    /// `plimsoll_m2_family_hidden{host,family}`: what the whitelist of M2's export leaves out.
    pub fn series(&self, host: &str) -> Vec<(Labels, f64)> {
        let name = "plimsoll_m2_family_hidden";
        let one = |family: &String| {
            super::series(name, [("host", host), ("family", family.as_str())], 1.0)
        };
        self.hidden.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_has_a_series() {
        let vhost = Vhost {
            name: "example.com".to_owned(),
            fixed_count: Some(40_000),
            ttl: Some(Duration::from_secs(600)),
            ..Vhost::default()
        };
        let got: Vec<String> = vhost
            .series("web-7", &M2Counting::default())
            .iter()
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect();
        assert_eq!(
            got,
            [
                "plimsoll_m2_fixed_count{host=\"web-7\", vhost=\"example.com\"} 40000",
                "plimsoll_m2_ttl_seconds{host=\"web-7\", vhost=\"example.com\"} 600",
                "plimsoll_m2_window_seconds{host=\"web-7\", vhost=\"example.com\"} 1200",
            ]
        );
    }

    #[test]
    fn documents_are_counted_over_twice_the_effective_cache_time() {
        let minutes = |ttl: Option<u64>, cdn_ttl: Option<u64>| {
            let vhost = Vhost {
                ttl: ttl.map(Duration::from_secs),
                cdn_ttl: cdn_ttl.map(Duration::from_secs),
                ..Vhost::default()
            };
            vhost.window(&M2Counting::default()).as_secs() / 60
        };
        assert_eq!(minutes(None, None), 20, "the guide's ten minutes");
        assert_eq!(minutes(Some(3), Some(600)), 20, "three seconds in M2 mean nothing");
        assert_eq!(minutes(Some(900), None), 30);
        assert_eq!((minutes(Some(3), None), minutes(Some(86_400), None)), (10, 120));
        assert_eq!(minutes(Some(u64::MAX), None), 120);
        let day = Duration::from_secs(86_400);
        let counting = M2Counting { window: Duration::ZERO..=day, ..M2Counting::default() };
        let short = Vhost { ttl: Some(Duration::from_secs(3)), ..Vhost::default() };
        assert_eq!(short.window(&counting), Duration::from_secs(6), "as configured");
        let long = Vhost { ttl: Some(day), ..Vhost::default() };
        assert_eq!(long.window(&counting), day);
    }

    #[test]
    fn what_m2_runs_with_counts_more_than_the_inventory_and_that_more_than_defaults() {
        let inventory = Vhost {
            fixed_count: Some(40_000),
            ttl: Some(Duration::from_secs(600)),
            cdn_ttl: Some(Duration::from_secs(1200)),
            ..Vhost::default()
        };
        let setting = M2Setting { fixed_count: Some(10_000), ..M2Setting::default() };
        let known = inventory.under(&setting);
        assert_eq!((known.fixed_count, known.ttl), (Some(10_000), inventory.ttl));
        assert_eq!((known.cdn_ttl, known.phantom), (inventory.cdn_ttl, Some(false)));
        assert_eq!(known.refresh, Some(Duration::ZERO), "never, unless it says otherwise");
    }
}
