//! M2 exports made uniform: names and labels that differ between its versions and settings.
//!
//! M2 (STON) documents its cache results as one family each, with or without `_total`
//! (`m2_cache_tcp_hit`, `m2_cache_tcp_hit_total`), and calls the virtual host by a label the
//! operator chooses. Rules read one counter, `m2_cache_tcp_total{result="hit"}`, and one label,
//! `vhost`.

use crate::base::{LabelsBuilder, METRIC_NAME};

/// The counter that replaces the families, by label `result`.
const CACHE_TOTAL: &str = "m2_cache_tcp_total";
const CACHE_PREFIX: &str = "m2_cache_tcp_";
/// The documented results; anything else (`hitratio_requests`) is left as it is.
const CACHE_RESULTS: [&str; 12] = [
    "hit",
    "ims_hit",
    "refresh_hit",
    "refresh_fail_hit",
    "negative_hit",
    "redirect_hit",
    "miss",
    "refresh_miss",
    "client_refresh_miss",
    "client_instant_miss",
    "deny",
    "error",
];
const VHOST: &str = "vhost";

/// Normalises one series, before target labels are added (a target has a `host` of its own).
/// `vhost_labels` are the names the virtual host may go by, the preferred first. Series of other
/// programs stay as they are.
pub fn normalise(labels: &mut LabelsBuilder, vhost_labels: &[String]) {
    let name = labels.get(METRIC_NAME);
    if !name.starts_with("m2_") {
        return;
    }
    if let Some(result) = cache_result(name) {
        labels.set(METRIC_NAME, CACHE_TOTAL).set("result", result);
    }
    let Some(found) = vhost_labels.iter().find(|name| !labels.get(name).is_empty()) else {
        return;
    };
    if found != VHOST {
        let vhost = labels.get(found).to_owned();
        labels.set(VHOST, &vhost).remove(found);
    }
}

/// The names in an exposition that become `name`: what a [`super::Selection`] must keep besides
/// it. Empty for every name but the one counter.
pub fn raw_names(name: &str) -> Vec<String> {
    if name != CACHE_TOTAL {
        return Vec::new();
    }
    CACHE_RESULTS
        .iter()
        .flat_map(|result| ["", "_total"].map(|end| format!("{CACHE_PREFIX}{result}{end}")))
        .collect()
}

fn cache_result(name: &str) -> Option<&'static str> {
    let result = name.strip_prefix(CACHE_PREFIX)?;
    let result = result.strip_suffix("_total").unwrap_or(result);
    CACHE_RESULTS.into_iter().find(|known| *known == result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Labels;

    #[test]
    fn series_become_uniform() {
        let vhosts = ["vhost", "host"].map(str::to_owned);
        let cases = [
            (
                r#"m2_cache_tcp_ims_hit{host="a.kr"}"#,
                vec![("__name__", "m2_cache_tcp_ims_hit"), ("host", "a.kr")],
                r#"m2_cache_tcp_total{result="ims_hit", vhost="a.kr"}"#,
            ),
            (
                "with _total and group",
                vec![("__name__", "m2_cache_tcp_miss_total"), ("group", "g"), ("vhost", "a")],
                r#"m2_cache_tcp_total{group="g", result="miss", vhost="a"}"#,
            ),
            (
                "both labels: the preferred one is the virtual host",
                vec![("__name__", "m2_x"), ("vhost", "a"), ("host", "b")],
                r#"m2_x{host="b", vhost="a"}"#,
            ),
            (
                "an unknown result",
                vec![("__name__", "m2_cache_tcp_hitratio_requests")],
                "m2_cache_tcp_hitratio_requests",
            ),
            ("not M2", vec![("__name__", "up"), ("host", "b")], r#"up{host="b"}"#),
        ];
        for (what, pairs, want) in cases {
            let mut labels = LabelsBuilder::from(&Labels::from_pairs(pairs));
            normalise(&mut labels, &vhosts);
            assert_eq!(labels.build().to_string(), want, "{what}");
        }
    }

    #[test]
    fn every_raw_name_becomes_the_counter() {
        let raw = raw_names(CACHE_TOTAL);
        assert_eq!(raw.len(), 24);
        assert!(raw.iter().all(|name| cache_result(name).is_some()));
        assert!(raw_names("up").is_empty());
    }
}
