//! The samples of a case: from a recording, or from a running plimsoll.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;

use super::{Incident, Series, Wanted};
use crate::app::config::Config;
use crate::app::engine_setup;
use crate::app::replay::{Recording, replayed_to};
use crate::base::{Labels, Sample, Timestamp, format_duration, parse_value};
use crate::engine::Setup;
use crate::regex::Pattern;
use crate::window::{Caps, Matcher, Selector, Source, Span};

/// Samples of a case at most.
const MAX_SAMPLES: usize = 2_000_000;
/// A replay for a case may remember more than a live process.
const CAPS: Caps = Caps { max_series: 1_000_000, max_bytes: 1 << 30 };

/// Lives through a recording up to the end of the incident, and takes what the window holds then.
pub fn from_recording(
    recording: &Recording,
    (config, host): (&Config, &str),
    (incident, wanted): (&Incident, &Wanted),
) -> anyhow::Result<Vec<Series>> {
    let (from, end) = incident.span(wanted);
    let (first, last) = recording.span();
    ensure!(
        first < incident.onset() && incident.onset() <= last,
        "the recording does not reach to the incident: it is from {first} to {last}"
    );
    let names = wanted.names().into_iter().collect::<Vec<_>>().join("|");
    let keep = Pattern::new(&names).map_err(|error| anyhow!("{error}"))?;
    let (config, host) = (config.clone(), host.to_owned());
    let back = end.since(from) + Duration::from_secs(600);
    let setup = {
        let config = config.clone();
        move || {
            let plain = engine_setup(&config, &host);
            let keep = [plain.keep.clone(), vec![keep.clone()]].concat();
            Setup { keep, keep_for: plain.keep_for.max(back), caps: CAPS, ..plain }
        }
    };
    let everything = Span { after: from, upto: end };
    let ask: Vec<(Arc<Selector>, Span)> =
        wanted.selectors.iter().map(|selector| (Arc::clone(selector), everything)).collect();
    let copy = replayed_to(recording, &config, setup, (from, end), (ask, MAX_SAMPLES));
    let copy = copy.with_context(|| format!("more than {MAX_SAMPLES} samples belong to it"))?;
    let all = Selector::new(vec![Matcher::equal("", "")]);
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for found in copy.select(&all, everything) {
        series.insert(found.labels.clone(), found.samples.to_vec());
    }
    Ok(series.into_iter().collect())
}

/// Asks a running plimsoll for what its window holds. `ask` answers an instant query with its data.
pub fn from_running(
    incident: &Incident,
    wanted: &Wanted,
    ask: &mut dyn FnMut(&str, &str) -> anyhow::Result<Value>,
) -> anyhow::Result<Vec<Series>> {
    let (from, end) = incident.span(wanted);
    let range = format_duration(end.since(from));
    let at = format!("{}.{:03}", end.0.div_euclid(1000), end.0.rem_euclid(1000));
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for selector in &wanted.selectors {
        let matchers: Vec<String> = selector.matchers().iter().map(ToString::to_string).collect();
        let query = format!("{{{}}}[{range}]", matchers.join(","));
        let data = ask(&query, &at)?;
        let Some(found) = data["result"].as_array() else { bail!("`{query}` has no result") };
        for one in found {
            let labels: Labels = serde_json::from_value(one["metric"].clone())?;
            let points = one["values"].as_array().into_iter().flatten();
            let held = series.entry(labels).or_default();
            held.extend(points.filter_map(sample));
            held.sort_by_key(|sample| sample.at);
            held.dedup_by_key(|sample| sample.at);
        }
        let count: usize = series.values().map(Vec::len).sum();
        ensure!(count <= MAX_SAMPLES, "more than {MAX_SAMPLES} samples belong to it");
    }
    Ok(series.into_iter().collect())
}

fn sample(point: &Value) -> Option<Sample> {
    let at = Timestamp::from_seconds(point[0].as_f64()?);
    Some(Sample { at, value: parse_value(point[1].as_str()?)? })
}
