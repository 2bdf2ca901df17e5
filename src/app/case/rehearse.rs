//! Samples on a grid, and the rules over them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{anyhow, ensure};

use super::{Incident, Series, Wanted};
use crate::alerts::AlertState;
use crate::base::{Labels, STALE_NAN, Sample, Timestamp, fingerprint, is_stale};
use crate::engine::{Broken, Rehearsal, Stage};
use crate::outbox::trace_id;
use crate::promql::{Edges, EvalOptions};

/// Points of one series at most; a longer case is not read by anyone.
const POINTS_MAX: u64 = 5000;
/// Grids are multiples of this.
const TENTH_MS: u64 = 100;
/// What tells a time: in a test time begins at zero, so these begin there, too.
const TIMES: [&str; 4] = ["_time_seconds", "_timestamp_seconds", "_timestamp", "_last_seen"];

/// Series at equal distances from a first time on.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The time that becomes zero.
    pub start: Timestamp,
    /// From there to the first sample of each series. Where ranges are read no sample lies on the edge
    /// of one: whether it would belong to it is another thing before and since Prometheus 3.
    pub phase: Duration,
    /// The distance.
    pub step: Duration,
    /// By series, a value for each slot: `None` where there was none.
    pub series: Vec<(Labels, Vec<Option<f64>>)>,
}

/// Which alerts of the name fire at one time: labels and annotations.
pub type Firing = Vec<(Labels, Labels)>;

/// What the rules say over a grid.
#[derive(Clone, Debug, Default)]
pub struct Rehearsed {
    /// The incident's alert, if it fires.
    pub alert: Option<Labels>,
    /// When it begins to.
    pub onsets: Vec<Duration>,
    /// Times worth asking about, with what fires then.
    pub expected: Vec<(Duration, Firing)>,
    /// Whether the same fires at these times before Prometheus 3, where the beginning of a range
    /// belongs to it.
    pub holds_before_3: bool,
}

impl Grid {
    /// Puts samples on a grid that ends at `end`; it is no coarser than the interval of the rules.
    pub fn of(series: &[Series], end: Timestamp, wanted: &Wanted) -> anyhow::Result<Grid> {
        let interval = wanted.interval;
        let apart = series.iter().filter_map(|(_, samples)| spacing(samples)).min();
        let tenths = apart.unwrap_or(interval.as_millis() as u64).min(interval.as_millis() as u64);
        let step_ms = ((tenths + TENTH_MS / 2) / TENTH_MS).max(1) * TENTH_MS;
        let step = Duration::from_millis(step_ms);
        // On the samples of some series, so that little of it falls between two slots.
        let firsts = series.iter().filter_map(|(_, samples)| samples.first());
        let first = firsts.map(|sample| sample.at).min().ok_or_else(|| anyhow!("no samples"))?;
        let phase = off_edges(step, wanted);
        let start = first - phase;
        let slots = end.since(first).as_millis() as u64 / step_ms + 1;
        ensure!(
            slots <= POINTS_MAX,
            "the case would have {slots} values of each series, at most {POINTS_MAX} are written"
        );
        let mut on_grid = Vec::with_capacity(series.len());
        for (labels, samples) in series {
            let shift = if tells_time(labels) { start.0 as f64 / 1000.0 } else { 0.0 };
            on_grid.push((labels.clone(), put(samples, (first, step_ms), slots, shift)));
        }
        on_grid.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Grid { start, phase, step, series: on_grid })
    }

    fn ends(&self) -> Duration {
        let slots = self.series.iter().map(|(_, values)| values.len()).max().unwrap_or(1);
        self.phase + self.step * u32::try_from(slots.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// How long after a slot the samples have to lie so that none is on the edge of a range: half of what
/// step, evaluations, edges and whole seconds, the steps of subqueries, have in common.
fn off_edges(step: Duration, wanted: &Wanted) -> Duration {
    if wanted.edges.is_empty() {
        return Duration::ZERO;
    }
    let spans = [step, wanted.interval, Duration::from_secs(1)];
    let spans = spans.iter().chain(&wanted.edges).map(|span| span.as_millis() as u64);
    Duration::from_millis(spans.fold(0, common) / 2)
}

/// The greatest common divisor.
fn common(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common(b, a % b) }
}

fn tells_time(labels: &Labels) -> bool {
    TIMES.iter().any(|end| labels.metric_name().ends_with(end))
}

/// The usual distance of samples, milliseconds: the median.
fn spacing(samples: &[Sample]) -> Option<u64> {
    let live: Vec<&Sample> = samples.iter().filter(|sample| !is_stale(sample.value)).collect();
    let mut apart: Vec<u64> =
        live.windows(2).map(|two| two[1].at.since(two[0].at).as_millis() as u64).collect();
    apart.retain(|ms| *ms > 0);
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied()
}

fn put(
    samples: &[Sample],
    (first, step_ms): (Timestamp, u64),
    slots: u64,
    shift: f64,
) -> Vec<Option<f64>> {
    let mut values = vec![None; slots as usize];
    for sample in samples {
        // The nearest slot: scrapes are a little early or late.
        let after = sample.at.0 - first.0 + step_ms as i64 / 2;
        let Ok(slot) = usize::try_from(after.div_euclid(step_ms as i64)) else { continue };
        if !is_stale(sample.value) {
            if let Some(value) = values.get_mut(slot) {
                *value = Some(sample.value - shift);
            }
            continue;
        }
        // The window ends a series right behind its last sample. One that goes on in the next slot goes
        // on.
        let free = values.iter_mut().skip(slot).take(2).find(|value| value.is_none());
        if let Some(value) = free {
            *value = Some(STALE_NAN);
        }
    }
    values
}

impl Rehearsed {
    /// Whether this alert fires at the same times, saying the same.
    pub fn tells_the_same(&self, other: &Rehearsed, alert: &Labels) -> bool {
        let of = |rehearsed: &Rehearsed| -> Vec<(Duration, Option<Labels>)> {
            let said = |firing: &Firing| {
                firing.iter().find(|(labels, _)| labels == alert).map(|(_, texts)| texts.clone())
            };
            rehearsed.expected.iter().map(|(at, firing)| (*at, said(firing))).collect()
        };
        self.alert.as_ref() == Some(alert) && of(self) == of(other)
    }
}

/// Evaluates the rules as a rule test does. Where a range begins on the grid, at the steps of a subquery or
/// at what a record left behind, they may say another thing before Prometheus 3 than since: such times are
/// not asked about, if there are others.
pub fn rehearse(grid: &Grid, wanted: &Wanted, incident: &Incident) -> anyhow::Result<Rehearsed> {
    let fired = evaluated(grid, wanted, (&incident.alert, Edges::Open))?;
    let before_3 = evaluated(grid, wanted, (&incident.alert, Edges::Closed));
    let all = || fired.values().flatten().map(|(labels, _)| labels);
    let is_it = |labels: &&Labels| {
        trace_id(&format!("{:016x}", fingerprint(labels)), incident.started_at) == incident.trace_id
    };
    let alert = all().find(is_it).or_else(|| all().next()).cloned();
    let Some(alert) = alert else {
        return Ok(Rehearsed { alert, ..Rehearsed::default() });
    };
    let mut alike = fired.clone();
    alike.retain(|at, firing| before_3.as_ref().is_ok_and(|them| them.get(at) == Some(firing)));
    let holds_before_3 = !onsets(&alike, &alert).is_empty();
    let expected = worth_asking(if holds_before_3 { &alike } else { &fired }, &alert);
    Ok(Rehearsed { onsets: onsets(&fired, &alert), alert: Some(alert), expected, holds_before_3 })
}

/// What fires of an alert, slot by slot.
fn evaluated(
    grid: &Grid,
    wanted: &Wanted,
    (alert, edges): (&str, Edges),
) -> anyhow::Result<BTreeMap<Duration, Firing>> {
    let Wanted { interval, features, .. } = *wanted;
    let eval = EvalOptions { edges, default_step: interval, features, ..EvalOptions::default() };
    let stage = Stage { eval, ..Stage::default() };
    let mut rehearsal = Rehearsal::new(wanted.groups.clone(), wanted.interval, stage);
    let mut feeds = Vec::with_capacity(grid.series.len());
    for (labels, values) in &grid.series {
        let id = rehearsal.series(labels).map_err(|refused| anyhow!("{labels}: {refused}"))?;
        feeds.push((id, values.iter(), grid.phase));
    }
    let mut fired: BTreeMap<Duration, Firing> = BTreeMap::new();
    let (mut slot, end) = (Duration::ZERO, grid.ends());
    while slot <= end {
        for (id, values, next) in &mut feeds {
            while *next <= slot {
                let Some(value) = values.next() else { break };
                if let Some(value) = value {
                    rehearsal.append(*id, Sample { at: at(*next), value: *value });
                }
                *next += grid.step;
            }
        }
        rehearsal
            .evaluate(at(slot))
            .map_err(|Broken { rule, message, .. }| anyhow!("{rule}: {message}"))?;
        fired.insert(slot, firing(&rehearsal, alert));
        slot += wanted.interval;
    }
    Ok(fired)
}

fn at(after: Duration) -> Timestamp {
    Timestamp(0) + after
}

fn firing(rehearsal: &Rehearsal, name: &str) -> Firing {
    let alerts = rehearsal.alerts().flat_map(|(_, alerts)| alerts.values());
    let fires = alerts.filter(|a| a.name() == name && a.state == AlertState::Firing);
    fires.map(|alert| (alert.labels.clone(), alert.annotations.clone())).collect()
}

fn onsets(fired: &BTreeMap<Duration, Firing>, alert: &Labels) -> Vec<Duration> {
    let mut before = false;
    let mut onsets = Vec::new();
    for (at, firing) in fired {
        let fires = firing.iter().any(|(labels, _)| labels == alert);
        if fires && !before {
            onsets.push(*at);
        }
        before = fires;
    }
    onsets
}

/// The slot before the alert fires, the first in which it does, the last, and the one after.
fn worth_asking(fired: &BTreeMap<Duration, Firing>, alert: &Labels) -> Vec<(Duration, Firing)> {
    let slots: Vec<(Duration, bool)> = fired
        .iter()
        .map(|(at, firing)| (*at, firing.iter().any(|(labels, _)| labels == alert)))
        .collect();
    let mut times = Vec::new();
    for two in slots.windows(2).filter(|two| two[0].1 != two[1].1) {
        times.extend([two[0].0, two[1].0]);
    }
    times.extend(slots.first().filter(|(_, fires)| *fires).map(|(at, _)| *at));
    times.extend(slots.last().map(|(at, _)| *at));
    times.sort_unstable();
    times.dedup();
    times.into_iter().map(|at| (at, fired.get(&at).cloned().unwrap_or_default())).collect()
}
