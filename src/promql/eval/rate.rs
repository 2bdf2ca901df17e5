//! The rate family and its relatives (`promql/functions.go` of 3.14: `extrapolatedRate`,
//! `instantValue`, `linearRegression`).

use super::budget::Paid;
use super::column::ABSENT;
use super::error::EvalError;
use super::float::Sum;
use super::over_time::Window;
use crate::base::Sample;

/// `rate`: increase per second.
pub(super) fn rate(window: &Window) -> f64 {
    if window.samples.len() < 2 {
        return ABSENT;
    }
    let seconds = (window.frame.end - window.frame.start) as f64 / 1000.0;
    extrapolated(window, Kind::Counter, seconds)
}

/// `increase`: how much a counter grew.
pub(super) fn increase(window: &Window) -> f64 {
    extrapolated(window, Kind::Counter, 1.0)
}

/// `delta`: how much a gauge moved.
pub(super) fn delta(window: &Window) -> f64 {
    extrapolated(window, Kind::Gauge, 1.0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// The change between the first and the last sample, stretched to the whole window: up to the
/// window's edge if a sample may be expected near it, by half an interval otherwise, and for
/// counters never to before the time they were zero. `per_seconds` divides it. Added, divided and
/// multiplied in the order of Prometheus, so that results are the same to the last bit.
fn extrapolated(window: &Window, kind: Kind, per_seconds: f64) -> f64 {
    let samples = window.samples;
    let [first, .., last] = samples else {
        return ABSENT;
    };
    let mut change = last.value - first.value;
    if kind == Kind::Counter {
        // What it had reached before each of its resets.
        let resets = samples.windows(2).filter(|pair| pair[1].value < pair[0].value);
        resets.for_each(|pair| change += pair[0].value);
    }
    let sampled = (last.at.0 - first.at.0) as f64 / 1000.0;
    let interval = sampled / (samples.len() - 1) as f64;
    // A gap of more than 1.1 intervals at an edge says that the series does not reach it.
    let bounded = |gap: f64| if gap >= interval * 1.1 { interval / 2.0 } else { gap };
    let mut to_start = bounded((first.at.0 - window.frame.start) as f64 / 1000.0);
    let to_end = bounded((window.frame.end - last.at.0) as f64 / 1000.0);
    if kind == Kind::Counter && change > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / change));
    }
    change * ((sampled + to_start + to_end) / sampled / per_seconds)
}

/// `irate`: the rate between the last two samples.
pub(super) fn irate(window: &Window) -> f64 {
    let [.., before, last] = window.samples else {
        return ABSENT;
    };
    let millis = last.at.0 - before.at.0;
    if millis == 0 {
        return ABSENT;
    }
    let reset = last.value < before.value;
    let change = if reset { last.value } else { last.value - before.value };
    change / (millis as f64 / 1000.0)
}

/// `idelta`: the difference between the last two samples.
pub(super) fn idelta(window: &Window) -> f64 {
    match window.samples {
        [.., before, last] if last.at > before.at => last.value - before.value,
        _ => ABSENT,
    }
}

/// `changes`: how often the value changed.
pub(super) fn changes(window: &Window) -> f64 {
    let changed = |pair: &&[Sample]| {
        let (a, b) = (pair[0].value, pair[1].value);
        a != b && !(a.is_nan() && b.is_nan())
    };
    window.samples.windows(2).filter(changed).count() as f64
}

/// `resets`: how often the value fell.
pub(super) fn resets(window: &Window) -> f64 {
    window.samples.windows(2).filter(|pair| pair[1].value < pair[0].value).count() as f64
}

/// `deriv`: the slope per second, by least squares.
pub(super) fn deriv(window: &Window) -> f64 {
    match window.samples {
        [first, _, ..] => regression(window.samples, first.at.0).0,
        _ => ABSENT,
    }
}

/// `predict_linear`: where the line through the samples will be, so many seconds from now.
pub(super) fn predict_linear(window: &Window) -> f64 {
    if window.samples.len() < 2 {
        return ABSENT;
    }
    let (slope, intercept) = regression(window.samples, window.at);
    slope * window.numbers[0] + intercept
}

/// Slope and the value at `origin`, by least squares.
fn regression(samples: &[Sample], origin: i64) -> (f64, f64) {
    let first = samples[0].value;
    if samples.iter().all(|sample| sample.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum) = (Sum::default(), Sum::default());
    let (mut xy_sum, mut xx_sum) = (Sum::default(), Sum::default());
    for sample in samples {
        let x = sample.at.0.saturating_sub(origin) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(sample.value);
        xy_sum.add(x * sample.value);
        xx_sum.add(x * x);
    }
    let n = samples.len() as f64;
    let (x, y) = (x_sum.total(), y_sum.total());
    let slope = (xy_sum.total() - x * y / n) / (xx_sum.total() - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Both factors of `double_exponential_smoothing` lie strictly between 0 and 1.
pub(super) fn check_smoothing(numbers: &[Paid<f64>]) -> Result<(), EvalError> {
    for (name, short, values) in [("smoothing", "sf", &numbers[0]), ("trend", "tf", &numbers[1])] {
        if let Some(bad) = values.iter().find(|value| !(**value > 0.0 && **value < 1.0)) {
            return Err(EvalError::execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {bad:.6}"
            )));
        }
    }
    Ok(())
}

/// `double_exponential_smoothing`: Holt's linear method.
pub(super) fn double_exponential_smoothing(window: &Window) -> f64 {
    let [first, second, ..] = window.samples else {
        return ABSENT;
    };
    let [smoothing, trend_factor] = window.numbers;
    let mut before = 0.0;
    let mut level = first.value;
    let mut trend = second.value - first.value;
    for (index, sample) in window.samples.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * sample.value + (1.0 - smoothing) * (level + trend);
        before = level;
        level = next;
    }
    level
}
