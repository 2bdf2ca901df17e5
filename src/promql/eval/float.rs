//! Arithmetic on floats the way Prometheus does it: compensated sums, overflow-safe means, Go's
//! minimum and maximum, quantiles.

/// A running sum with Neumaier's compensation (`util/kahansum`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// A sum of one term.
    pub fn of(term: f64) -> Sum {
        Sum { sum: term, lost: 0.0 }
    }

    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        let total = self.sum + term;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= term.abs() {
            self.lost += (self.sum - total) + term;
        } else {
            self.lost += (term - total) + self.sum;
        }
        self.sum = total;
    }

    /// The sum.
    pub fn total(self) -> f64 {
        self.sum + self.lost
    }

    fn scaled(self, factor: f64) -> Sum {
        Sum { sum: self.sum * factor, lost: self.lost * factor }
    }
}

/// A running mean: a compensated sum as long as that does not overflow, from there on an
/// incremental mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    /// The sum, or, once incremental, the mean.
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// The mean of one term.
    pub fn of(term: f64) -> Mean {
        Mean { sum: Sum::of(term), count: 1.0, incremental: false }
    }

    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum;
            next.add(term);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.sum = Sum { sum: self.sum.sum / before, lost: self.sum.lost / before };
        }
        self.sum = self.sum.scaled((self.count - 1.0) / self.count);
        self.sum.add(term / self.count);
    }

    /// The mean.
    pub fn value(self) -> f64 {
        if self.incremental {
            self.sum.total()
        } else {
            self.sum.sum / self.count + self.sum.lost / self.count
        }
    }
}

/// A running variance after Welford, compensated; ±Inf and NaN make it NaN.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Variance {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        self.count += 1.0;
        let delta = term - self.mean.total();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (term - self.mean.total()));
    }

    /// The population variance.
    pub fn value(self) -> f64 {
        self.squares.total() / self.count
    }
}

/// Go's `math.Min`: NaN wins over everything but `-Inf`.
pub(super) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// Go's `math.Max`: NaN wins over everything but `+Inf`.
pub(super) fn go_max(a: f64, b: f64) -> f64 {
    -go_min(-a, -b)
}

/// Orders values with NaN below everything.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
}

/// The φ-quantile by linear interpolation between ranks. Sorts `values`.
/// No values or a NaN φ give NaN, φ below 0 `-Inf`, above 1 `+Inf`.
pub(super) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| nan_first(*a, *b));
    let rank = phi * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Whether two floats are equal but for rounding (`util/almost.Equal`).
pub(super) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_plain_addition_loses() {
        let mut sum = Sum::of(1.0);
        for term in [1e100, 1.0, -1e100] {
            sum.add(term);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn means_survive_overflow_and_infinities() {
        let cases: [(&[f64], f64); 5] = [
            (&[1.0, 2.0, 6.0], 3.0),
            (&[f64::MAX, f64::MAX], f64::MAX),
            (&[f64::INFINITY, 1.0], f64::INFINITY),
            (&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN),
            (&[f64::NAN, 1.0], f64::NAN),
        ];
        for (terms, want) in cases {
            let mut mean = Mean::of(terms[0]);
            terms[1..].iter().for_each(|term| mean.add(*term));
            let got = mean.value();
            assert!(almost_equal(got, want, 1e-12) || (got.is_nan() && want.is_nan()), "{terms:?}");
        }
    }

    #[test]
    fn go_extrema_let_nan_win_but_not_over_the_absorbing_infinity() {
        assert!(go_min(1.0, f64::NAN).is_nan() && go_max(f64::NAN, 1.0).is_nan());
        assert_eq!(go_min(f64::NAN, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(go_max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!((go_min(1.0, 2.0), go_max(1.0, 2.0)), (1.0, 2.0));
    }

    #[test]
    fn quantiles_interpolate_between_ranks() {
        let cases = [(0.5, 2.0), (0.25, 1.5), (0.0, 1.0), (1.0, 3.0), (-1.0, f64::NEG_INFINITY)];
        for (phi, want) in cases {
            assert_eq!(quantile(phi, &mut [3.0, 1.0, 2.0]), want, "{phi}");
        }
        assert!(quantile(0.5, &mut []).is_nan());
    }
}
