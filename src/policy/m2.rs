//! What configuration knows about M2's virtual hosts, as series that rules join on.
//!
//! The arithmetic of what may be pinned (document B §3) stands in `rules/m2.yml`, where an operator
//! can read and change it; nothing here computes it a second time.

use std::time::Duration;

use crate::base::Labels;

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

#[cfg(test)]
mod tests {
    use super::*;

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
