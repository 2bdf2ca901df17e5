//! The scanner beside another parser, on the lines that one reads rightly.

use std::collections::BTreeMap;

use plimsoll::base::{Labels, LabelsBuilder};
use plimsoll::exposition::{Batch, Format, Limits, Scan, ScanError, Selection, SeriesCache};
use proptest::prelude::*;

fn scrape(cache: &mut SeriesCache, selection: &Selection, body: &[u8]) -> Result<Batch, ScanError> {
    let limits = Limits::default();
    let mut admit = |_: &mut LabelsBuilder| true;
    let mut scan = Scan::begin(cache, selection, Format::Text, &limits, &mut admit);
    for chunk in body.chunks(16 << 10) {
        scan.feed(chunk)?;
    }
    scan.finish()
}

/// A sample that prometheus-parse reads rightly: no blank, `,`, `=`, `}`, `\` or `"` in a value, at
/// least one label, each name once, an explicit timestamp.
fn safe_line() -> impl Strategy<Value = (String, String)> {
    let labels = prop::collection::btree_map("[a-z_][a-z0-9_]{0,5}", "[a-zA-Z0-9/:._-]{1,8}", 1..5);
    let value = prop_oneof![
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| v.to_string()),
        prop::sample::select(vec!["NaN", "+Inf", "-Inf", "0", "1e+09"]).prop_map(str::to_owned),
    ];
    ("[a-z][a-z0-9_]{0,8}", labels, value, 0..4_000_000_000_000_i64).prop_map(
        |(name, labels, value, at)| {
            let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
            (format!("{name}{{{}}}", pairs.join(",")), format!("{value} {at}"))
        },
    )
}

proptest! {
    #[test]
    fn agrees_with_prometheus_parse(lines in prop::collection::btree_map(safe_line().prop_map(|l| l.0), safe_line().prop_map(|l| l.1), 0..20)) {
        let body: String = lines.iter().map(|(series, rest)| format!("{series} {rest}\n")).collect();
        let peer = prometheus_parse::Scrape::parse(body.lines().map(|l| Ok(l.to_owned())))
            .expect("the peer reads lines");
        let batch = scrape(&mut SeriesCache::new(), &Selection::all(), body.as_bytes())
            .expect("is good");
        let labels: BTreeMap<u32, Labels> = batch.new.iter().cloned().collect();
        let ours: Vec<(String, u64, i64)> = batch.points.iter().map(|point| {
            let at = point.at.expect("every line has a timestamp").as_millis();
            (labels[&point.id].to_string(), point.value.to_bits(), at)
        }).collect();
        let theirs: Vec<(String, u64, i64)> = peer.samples.iter().map(|sample| {
            let name = ("__name__", sample.metric.as_str());
            let pairs = sample.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([name]);
            let prometheus_parse::Value::Untyped(value) = sample.value else {
                panic!("without # TYPE every sample is untyped")
            };
            (Labels::from_pairs(pairs).to_string(), value.to_bits(), sample.timestamp.timestamp_millis())
        }).collect();
        prop_assert_eq!(ours, theirs);
    }
}
