//! Times during which something is so: drawn from the seed, asked by everyone.

use std::time::Duration;

use super::rng::Rng;

/// Stretches of time since the start of the world, in order, none of which touch.
#[derive(Clone, Debug, Default)]
pub struct Spans(Vec<(Duration, Duration)>);

impl Spans {
    /// Stretches that last from `shortest` to `longest` minutes, each of which follows the one before
    /// after `apart` minutes on average; all within `within`.
    pub fn draw(
        rng: &mut Rng,
        apart: u64,
        (shortest, longest): (u64, u64),
        within: (Duration, Duration),
    ) -> Spans {
        let mut all = Vec::new();
        let mut at = within.0 + rng.seconds(0, apart * 120);
        loop {
            let until = at + rng.seconds(shortest * 60, longest * 60);
            if until > within.1 {
                return Spans(all);
            }
            all.push((at, until));
            at = until + rng.seconds(60, apart * 120);
        }
    }

    /// With a stretch more, which may touch others.
    pub fn add(&mut self, from: Duration, to: Duration) {
        self.0.push((from, to));
        self.0.sort_unstable();
    }

    /// Whether it is so at `at`.
    pub fn at(&self, at: Duration) -> bool {
        self.0.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// Since when it is so without a break, if it is so at `at`.
    pub fn since(&self, at: Duration) -> Option<Duration> {
        let within = |(from, to): &&(Duration, Duration)| *from <= at && at < *to;
        self.0.iter().find(within).map(|(from, _)| *from)
    }

    /// Whether it is so at any time from `from` to `to`.
    pub fn touch(&self, from: Duration, to: Duration) -> bool {
        self.0.iter().any(|(begin, end)| *begin <= to && from < *end)
    }

    /// The stretches themselves.
    pub fn iter(&self) -> impl Iterator<Item = &(Duration, Duration)> {
        self.0.iter()
    }
}
