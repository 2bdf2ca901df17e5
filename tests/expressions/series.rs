//! The series queries run over: an hour of samples every 15 seconds, at a quarter past the second.

use plimsoll::base::{Labels, Sample, Timestamp};
use plimsoll::window::{Selected, Selector, Source, Span};

/// The time of the first sample, in milliseconds.
pub const FIRST: i64 = 1_600_000_000_250;
/// The time of the last one.
pub const LAST: i64 = FIRST + (COUNT - 1) * STEP;
const COUNT: i64 = 250;
const STEP: i64 = 15_000;

/// Samples by label set, in the order of the labels.
pub struct Series(Vec<(Labels, Vec<Sample>)>);

/// What a series looks like.
#[derive(Clone, Copy)]
enum Shape {
    /// Far from zero, with a rare reset that halves it.
    Counter,
    /// Not far from zero, where 2.42 extrapolates by another rule.
    Young,
    /// Whole numbers around zero, one in ten missing.
    Gauge,
    /// NaN, infinities, fractions.
    Odd,
    /// One sample in about seven minutes, so that lookback runs out.
    Sparse,
    /// Always one.
    One,
}

impl Series {
    /// The same for the same seed.
    pub fn random(seed: u64) -> Series {
        let mut dice = Dice(seed);
        let mut all = Vec::new();
        let mut add = |shape, labels: &[(&str, &str)]| {
            let labels = Labels::from_pairs(labels.iter().copied());
            all.push((labels, samples(shape, &mut dice)));
        };
        for job in ["a", "b"] {
            for inst in ["0", "1"] {
                add(Shape::Counter, &[("__name__", "c_total"), ("inst", inst), ("job", job)]);
                for zone in ["north", "south"] {
                    let labels = [("__name__", "g"), ("inst", inst), ("job", job), ("zone", zone)];
                    add(Shape::Gauge, &labels);
                }
            }
            add(Shape::Odd, &[("__name__", "odd"), ("job", job)]);
            add(Shape::Sparse, &[("__name__", "sparse"), ("job", job)]);
        }
        for (job, team) in [("a", "red"), ("b", "blue")] {
            add(Shape::One, &[("__name__", "team"), ("job", job), ("team", team)]);
        }
        add(Shape::Young, &[("__name__", "young_total")]);
        for job in ["a", "b"] {
            let mut below = samples(Shape::Counter, &mut dice);
            for le in ["0.5", "1", "2.5", "+Inf"] {
                let labels = [("__name__", "h_bucket"), ("job", job), ("le", le)];
                all.push((Labels::from_pairs(labels), below.clone()));
                for (at, sample) in below.iter_mut().enumerate() {
                    sample.value += 1000.0 + at as f64;
                }
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Series(all)
    }

    /// As OpenMetrics text with times.
    pub fn to_openmetrics(&self) -> String {
        let mut text = String::new();
        for (labels, samples) in &self.0 {
            // The parser of OpenMetrics takes no blanks between labels.
            let labels = labels.to_string().replace(", ", ",");
            for sample in samples {
                let (seconds, millis) = (sample.at.0 / 1000, sample.at.0 % 1000);
                text += &format!("{labels} {} {seconds}.{millis:03}\n", sample.value);
            }
        }
        text + "# EOF\n"
    }
}

impl Source for Series {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        let matching = self.0.iter().filter(|(labels, _)| selector.matches(labels));
        let within = matching.map(|(labels, all)| Selected { labels, samples: span.of(all) });
        within.filter(|selected| !selected.samples.is_empty()).collect()
    }
}

struct Dice(u64);

impl Dice {
    /// A number below `count` (xorshift).
    fn roll(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % count
    }
}

fn samples(shape: Shape, dice: &mut Dice) -> Vec<Sample> {
    let mut total = 1_000_000.0 + dice.roll(1000) as f64;
    let mut samples = Vec::new();
    for step in 0..COUNT {
        let value = match shape {
            Shape::Counter => {
                let reset = dice.roll(80) == 0;
                total = if reset { (total / 2.0).floor() } else { total + dice.roll(50) as f64 };
                Some(total)
            }
            Shape::Young => Some(step as f64 + 1.0),
            Shape::Gauge => {
                let value = dice.roll(120) as f64 - 20.0;
                (dice.roll(10) > 0).then_some(value)
            }
            Shape::Odd => Some(match dice.roll(8) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => 0.0,
                other => (other as f64 - 5.0) * 0.25,
            }),
            Shape::Sparse => (dice.roll(28) == 0).then_some(dice.roll(9) as f64),
            Shape::One => Some(1.0),
        };
        let at = Timestamp(FIRST + step * STEP);
        samples.extend(value.map(|value| Sample { at, value }));
    }
    samples
}
