//! Classic histograms: series per bucket, told apart by the label `le`.

use super::super::ast::{Call, Expr, Span};
use super::annotations::Repairs;
use super::column::{Grid, Head, Vector, is_present};
use super::engine::Engine;
use super::error::EvalError;
use super::float::almost_equal;
use super::names::{push_key, settled, visible};
use crate::base::number::shortest;
use crate::base::{HashMap, METRIC_NAME, Timestamp, parse_float, quoted};

const BUCKET_LABEL: &str = "le";

const REPAIRED: &str = "input to histogram_quantile needed to be fixed for monotonicity (see \
     https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";

/// Differences this small between neighbouring buckets are rounding, not a broken histogram.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// One bucket at one step: how many observations were at most `upper`.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// A histogram: its identity, and its buckets' series by upper bound.
struct Histogram {
    head: Head,
    buckets: Vec<(f64, usize)>,
}

/// Counts that went down from bucket to bucket and were lifted.
#[derive(Clone, Copy, Debug)]
struct Repair {
    from: f64,
    to: f64,
    most: f64,
}

impl<'a> Engine<'a> {
    /// `histogram_quantile(φ, buckets)`
    pub fn histogram_quantile(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let phis = self.scalar(&call.args[0], grid)?;
        let vector = self.vector(&call.args[1], grid)?;
        self.check_quantile(&phis, call.args[0].span);
        let histograms = self.histograms(&vector, &call.args[1])?;
        let phi = |step: usize| Some(phis[step]);
        let result = self.quantile_rows(&vector, &histograms, phi, (call.args[1].span, grid))?;
        self.drop_names(result)
    }

    /// `histogram_quantiles(buckets, label, φ…)`: one series per φ, which stands in `label`.
    pub fn histogram_quantiles(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let [buckets, label, phis @ ..] = call.args.as_slice() else {
            return Err(EvalError::execution("histogram_quantiles takes at least two arguments"));
        };
        let vector = self.vector(buckets, grid)?;
        let label = self.text(label)?;
        let histograms = self.histograms(&vector, buckets)?;
        let rows = histograms.len().saturating_mul(phis.len());
        let mut all = Vector::with_room(&self.budget, rows, grid.count)?;
        for phi in phis {
            let values = self.scalar(phi, grid)?;
            self.check_quantile(&values, phi.span);
            // A φ that changes from step to step changes the label with it.
            for (first, phi) in values.iter().copied().enumerate() {
                let same = |step: &f64| step.to_bits() == phi.to_bits();
                if values[..first].iter().any(same) {
                    continue;
                }
                let phi_at = |step: usize| Some(phi).filter(|_| same(&values[step]));
                let mut rows =
                    self.quantile_rows(&vector, &histograms, phi_at, (buckets.span, grid))?;
                for head in rows.heads.iter_mut() {
                    let labels = settled(head, self.eager());
                    head.labels = labels.with(label, &open_metrics_float(phi));
                    self.budget.count_labels(&head.labels);
                }
                all.heads.append(&mut rows.heads)?;
                all.values.append(&mut rows.values)?;
                self.check_bounds()?;
            }
        }
        all.distinct = false;
        self.drop_names(all)
    }

    fn quantile_rows(
        &mut self,
        vector: &Vector,
        histograms: &[Histogram],
        phi_at: impl Fn(usize) -> Option<f64>,
        (span, grid): (Span, Grid),
    ) -> Result<Vector, EvalError> {
        let eager = self.eager();
        let mut result = Vector::with_room(&self.budget, histograms.len(), vector.steps)?;
        let mut buckets = Vec::new();
        for histogram in histograms {
            let cells = result.open_row()?;
            for (step, cell) in cells.iter_mut().enumerate() {
                let Some(phi) = phi_at(step) else { continue };
                histogram.at(vector, step, &mut buckets);
                if buckets.is_empty() {
                    continue;
                }
                let (value, repair) = bucket_quantile(phi, &mut buckets);
                *cell = value;
                if let Some(Repair { from, to, most }) = repair {
                    let at = Timestamp(grid.at(step));
                    let repairs = Repairs { from, to, most, first: at, last: at, count: 1 };
                    let name = for_metric(&histogram.head, eager);
                    self.notes.repaired(span, &format!("{REPAIRED}{name}"), repairs);
                }
            }
            result.seal_row(|| histogram.head.clone())?;
        }
        result.distinct = false;
        Ok(result)
    }

    /// `histogram_fraction(lower, upper, buckets)`
    pub fn histogram_fraction(&mut self, call: &'a Call, grid: Grid) -> Result<Vector, EvalError> {
        let lower = self.scalar(&call.args[0], grid)?;
        let upper = self.scalar(&call.args[1], grid)?;
        let vector = self.vector(&call.args[2], grid)?;
        let histograms = self.histograms(&vector, &call.args[2])?;
        let mut result = Vector::with_room(&self.budget, histograms.len(), grid.count)?;
        let mut buckets = Vec::new();
        for histogram in &histograms {
            for (step, cell) in result.open_row()?.iter_mut().enumerate() {
                histogram.at(&vector, step, &mut buckets);
                if !buckets.is_empty() {
                    *cell = bucket_fraction(lower[step], upper[step], &mut buckets);
                }
            }
            result.seal_row(|| histogram.head.clone())?;
        }
        result.distinct = false;
        self.drop_names(result)
    }

    /// Sorts bucket series into histograms; series without a readable `le` are named in a warning.
    fn histograms(
        &mut self,
        vector: &Vector,
        argument: &Expr,
    ) -> Result<Vec<Histogram>, EvalError> {
        let eager = self.eager();
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut numbers: HashMap<Box<[u8]>, usize> = HashMap::default();
        let mut key = Vec::new();
        for (series, head) in vector.heads.iter().enumerate() {
            key.clear();
            let mut bound = "";
            for (name, value) in visible(head, eager) {
                if name == BUCKET_LABEL {
                    bound = value;
                } else {
                    push_key(&mut key, name);
                    push_key(&mut key, value);
                }
            }
            let Ok(upper) = parse_float(bound) else {
                let name = for_metric(head, eager);
                self.notes.warn(
                    argument.span,
                    &format!(
                        "bucket label \"le\" is missing or has a malformed value of {}{name}",
                        quoted(bound)
                    ),
                );
                continue;
            };
            let number = *numbers.entry(key.as_slice().into()).or_insert_with(|| {
                let labels = settled(head, eager).filtered(|name| name != BUCKET_LABEL);
                self.budget.count_labels(&labels);
                let head = Head { labels, drop_name: head.drop_name };
                histograms.push(Histogram { head, buckets: Vec::new() });
                histograms.len() - 1
            });
            histograms[number].buckets.push((upper, series));
        }
        for histogram in &mut histograms {
            histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        self.check_bounds()?;
        Ok(histograms)
    }
}

impl Histogram {
    /// The buckets that are there at a step, by upper bound, equal bounds added up.
    fn at(&self, vector: &Vector, step: usize, buckets: &mut Vec<Bucket>) {
        buckets.clear();
        for (upper, series) in &self.buckets {
            let count = vector.row(*series)[step];
            if !is_present(count) {
                continue;
            }
            match buckets.last_mut() {
                Some(last) if last.upper == *upper => last.count += count,
                _ => buckets.push(Bucket { upper: *upper, count }),
            }
        }
    }
}

/// ` for metric name "x"`, or nothing for a series that has lost its name.
fn for_metric(head: &Head, eager: bool) -> String {
    match visible(head, eager).find(|(label, _)| *label == METRIC_NAME) {
        Some((_, name)) => format!(" for metric name {}", quoted(name)),
        None => String::new(),
    }
}

/// The φ-quantile by linear interpolation within a bucket (`BucketQuantile` in `quantile.go`).
fn bucket_quantile(phi: f64, buckets: &mut [Bucket]) -> (f64, Option<Repair>) {
    if phi.is_nan() {
        return (f64::NAN, None);
    }
    if phi < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if phi > 1.0 {
        return (f64::INFINITY, None);
    }
    let last = buckets.len() - 1;
    if buckets[last].upper != f64::INFINITY {
        return (f64::NAN, None);
    }
    let repair = make_monotonic(buckets);
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = phi * observations;
    let at = first_with(last, |at| buckets[at].count >= rank);
    if at == last {
        return (buckets[last - 1].upper, repair);
    }
    let Bucket { upper, mut count } = buckets[at];
    if at == 0 && upper <= 0.0 {
        return (upper, repair);
    }
    let mut lower = 0.0;
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (lower + (upper - lower) * (rank / count), repair)
}

/// As Go's `sort.Search`: a count that is NaN is not at least anything, and which ones are looked at
/// decides what is found then.
fn first_with(length: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (0, length);
    while from < to {
        let middle = from.midpoint(to);
        if holds(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// Lifts counts that are lower than the one before: scrapes and rules may tear buckets apart.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if almost_equal(previous, bucket.count, SMALL_DELTA_TOLERANCE) {
            bucket.count = previous;
        } else if bucket.count < previous {
            let drop = previous - bucket.count;
            let known = repair.get_or_insert(Repair { from: bucket.upper, to: 0.0, most: 0.0 });
            known.to = bucket.upper;
            known.most = known.most.max(drop);
            bucket.count = previous;
        } else {
            previous = bucket.count;
        }
    }
    repair
}

/// The share of observations between two values (`BucketFraction` in `quantile.go`).
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut [Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let total = buckets[last].count;
    if buckets[last].upper != f64::INFINITY || total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| {
        let mut rank = 0.0;
        let mut from = f64::NEG_INFINITY;
        for (index, bucket) in buckets.iter().enumerate() {
            if from >= value {
                return rank;
            }
            if bucket.upper > value {
                // The lowest bucket starts at 0 if it ends above. If it ends below, it has no width
                // to interpolate in, and all of it counts as below `value`.
                let from = if index == 0 && bucket.upper > 0.0 { 0.0 } else { from };
                if from == f64::NEG_INFINITY {
                    return bucket.count;
                }
                if value <= from {
                    return rank;
                }
                return rank + (bucket.count - rank) * (value - from) / (bucket.upper - from);
            }
            rank = bucket.count;
            from = bucket.upper;
        }
        total
    };
    let capped = |rank: f64| if rank > total { total } else { rank };
    (capped(rank_of(upper)) - capped(rank_of(lower))) / total
}

/// A float as OpenMetrics writes label values: with a decimal point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = shortest(value);
    let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if whole { format!("{text}.0") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Vec<Bucket> {
        counts.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_interpolate_within_a_bucket() {
        let counts = [(1.0, 1.0), (2.0, 3.0), (f64::INFINITY, 4.0)];
        let cases = [(0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (1.0, 2.0), (0.0, 0.0)];
        for (phi, want) in cases {
            assert_eq!(bucket_quantile(phi, &mut buckets(&counts)).0, want, "{phi}");
        }
        assert!(bucket_quantile(0.5, &mut buckets(&counts[..2])).0.is_nan(), "no +Inf bucket");
    }

    /// As `promtool` has them.
    #[test]
    fn counts_that_are_no_numbers_are_searched_as_go_does() {
        const NAN: f64 = f64::NAN;
        const INFINITY: f64 = f64::INFINITY;
        let all = [0.0, 0.1, 0.5, 0.99, 1.0];
        type Counts = &'static [(f64, f64)];
        let cases: [(Counts, [f64; 5]); 5] = [
            (&[(1.0, NAN), (2.0, NAN), (INFINITY, NAN)], [2.0; 5]),
            (&[(1.0, 1.0), (2.0, 5.0), (INFINITY, NAN)], [2.0; 5]),
            (&[(1.0, 1.0), (2.0, NAN), (4.0, 5.0), (INFINITY, 6.0)], [NAN, NAN, NAN, 4.0, 4.0]),
            (&[(1.0, 1.0), (2.0, 3.0), (INFINITY, INFINITY)], [2.0; 5]),
            (&[(-1.0, NAN), (2.0, 4.0), (INFINITY, INFINITY)], [2.0; 5]),
        ];
        for (counts, want) in cases {
            let got = all.map(|phi| bucket_quantile(phi, &mut buckets(counts)).0);
            assert_eq!(format!("{got:?}"), format!("{want:?}"), "{counts:?}");
        }
    }

    #[test]
    fn torn_buckets_are_lifted_and_named() {
        let mut torn = buckets(&[(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 6.0)]);
        let repair = make_monotonic(&mut torn).expect("the second bucket is lower");
        assert_eq!((torn[1].count, repair.from, repair.most), (5.0, 2.0, 2.0));
    }

    #[test]
    fn fractions_count_what_lies_between() {
        let counts = [(1.0, 1.0), (2.0, 3.0), (f64::INFINITY, 4.0)];
        let cases = [(0.0, 1.0, 0.25), (1.0, 2.0, 0.5), (0.0, f64::INFINITY, 1.0), (2.0, 1.0, 0.0)];
        for (lower, upper, want) in cases {
            assert_eq!(bucket_fraction(lower, upper, &mut buckets(&counts)), want);
        }
    }
}
