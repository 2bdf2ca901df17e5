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
use crate::base::{Labels, STALE_NAN, Sample, Timestamp, format_duration, parse_value};
use crate::engine::Setup;
use crate::promql::LOOKBACK;
use crate::regex::Pattern;
use crate::window::{Caps, Matcher, Selector, Source, Span};

/// Samples of a case at most.
const MAX_SAMPLES: usize = 2_000_000;
/// Steps of a query of a range at most; the API takes 11,000.
const MAX_STEPS: u32 = 10_000;
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
    // What cannot be read leaves its labels out; the incident then is not found again, which is told.
    let (documents, _) = config.policy.documents().read_once();
    let world = (&config, &documents);
    let copy = replayed_to(recording, world, setup, (from, end), (ask, MAX_SAMPLES));
    let copy = copy.with_context(|| format!("more than {MAX_SAMPLES} samples belong to it"))?;
    let all = Selector::new(vec![Matcher::equal("", "")]);
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for found in copy.select(&all, everything) {
        series.insert(found.labels.clone(), found.samples.to_vec());
    }
    Ok(series.into_iter().collect())
}

/// Asks a running plimsoll for what its window holds. `ask` answers a query of its API with its data: an
/// instant one, or one of a range.
pub fn from_running(
    incident: &Incident,
    wanted: &Wanted,
    ask: &mut dyn FnMut(&str, When) -> anyhow::Result<Value>,
) -> anyhow::Result<Vec<Series>> {
    let (from, end) = incident.span(wanted);
    let range = format_duration(end.since(from));
    let step = wanted.interval.max(end.since(from) / MAX_STEPS);
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for selector in &wanted.selectors {
        let matchers: Vec<String> = selector.matchers().iter().map(ToString::to_string).collect();
        let query = format!("{{{}}}", matchers.join(","));
        let all = found(&ask(&format!("{query}[{range}]"), When::At(end))?)?;
        let steps = When::Steps { from, end, step };
        let shown: BTreeMap<Labels, Vec<Sample>> =
            found(&ask(&query, steps)?)?.into_iter().collect();
        for (labels, mut samples) in all {
            let shown = shown.get(&labels).map_or(&[][..], Vec::as_slice);
            let ends = ends(&samples, shown, (from, end, step));
            samples.extend(ends);
            let held = series.entry(labels).or_default();
            held.extend(samples);
            held.sort_by_key(|sample| sample.at);
            held.dedup_by_key(|sample| sample.at);
        }
        let count: usize = series.values().map(Vec::len).sum();
        ensure!(count <= MAX_SAMPLES, "more than {MAX_SAMPLES} samples belong to it");
    }
    Ok(series.into_iter().collect())
}

/// When a query is evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Once.
    At(Timestamp),
    /// Step by step.
    Steps {
        /// The first.
        from: Timestamp,
        /// None is later.
        end: Timestamp,
        /// Their distance.
        step: Duration,
    },
}

/// The markers of a series' ends, which the API does not list: a series that has ended is not shown at the
/// steps behind its last sample.
fn ends(
    samples: &[Sample],
    shown: &[Sample],
    (from, end, step): (Timestamp, Timestamp, Duration),
) -> Vec<Sample> {
    let mut shown = shown.iter().map(|sample| sample.at).peekable();
    let mut samples = samples.iter().map(|sample| sample.at).peekable();
    let (mut last, mut ends) = (None, Vec::new());
    let mut at = from;
    while at <= end {
        while let Some(next) = samples.next_if(|next| *next <= at) {
            last = Some(next);
        }
        while shown.next_if(|step| *step < at).is_some() {}
        let is_shown = shown.next_if_eq(&at).is_some();
        if let Some(last) = last.take_if(|last| !is_shown && at.since(*last) < LOOKBACK) {
            ends.push(Sample { at: Timestamp(last.0 + 1), value: STALE_NAN });
        }
        at = at + step;
    }
    ends
}

/// The series of an answer.
fn found(data: &Value) -> anyhow::Result<Vec<Series>> {
    let Some(found) = data["result"].as_array() else { bail!("the answer has no result") };
    let series = found.iter().map(|one| {
        let labels: Labels = serde_json::from_value(one["metric"].clone())?;
        let points = one["values"].as_array().into_iter().flatten();
        Ok((labels, points.filter_map(sample).collect()))
    });
    series.collect()
}

fn sample(point: &Value) -> Option<Sample> {
    let at = Timestamp::from_seconds(point[0].as_f64()?);
    Some(Sample { at, value: parse_value(point[1].as_str()?)? })
}
