//! A value over time, as a scenario file writes it: segments one after the other, the last for ever.

use std::time::Duration;

use plimsoll::base::parse_duration;

/// What one segment does.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// From one value to another in a straight line.
    Ramp(f64, f64),
    /// From one value to another in a straight line, again and again.
    Saw(f64, f64, f64),
    /// High for the second number of seconds at the end of each first.
    Burst(f64, f64, f64, f64),
    /// Nothing is said.
    Gap,
}

/// Segments, each with its length in seconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape(Vec<(Form, f64)>);

impl Shape {
    /// The same value for ever.
    pub fn level(value: f64) -> Shape {
        Shape(vec![(Form::Ramp(value, value), f64::INFINITY)])
    }

    /// Reads segments; see docs/scenarios.md.
    pub fn parse(segments: &[String]) -> Result<Shape, String> {
        let mut read = Vec::new();
        for (index, text) in segments.iter().enumerate() {
            let (form, length) = segment(text).map_err(|why| format!("`{text}`: {why}"))?;
            if length.is_none() && index + 1 < segments.len() {
                return Err(format!("`{text}`: only the last segment may be without a length"));
            }
            read.push((form, length.unwrap_or(f64::INFINITY)));
        }
        if read.is_empty() { Err("it has no segment".to_owned()) } else { Ok(Shape(read)) }
    }

    /// The value after so long; `None` in a gap. After the last segment its end holds.
    pub fn at(&self, after: Duration) -> Option<f64> {
        let mut time = after.as_secs_f64();
        let last = self.0.len() - 1;
        for (index, (form, length)) in self.0.iter().enumerate() {
            if time < *length || index == last {
                return form.at(time.min(*length), *length);
            }
            time -= length;
        }
        None
    }

    /// When it first reaches a value, to the second, within a time.
    pub fn reaches(&self, value: f64, within: Duration) -> Option<Duration> {
        let reached = |second: &u64| self.at(Duration::from_secs(*second)) >= Some(value);
        (0..=within.as_secs()).find(reached).map(Duration::from_secs)
    }
}

impl Form {
    fn at(self, time: f64, length: f64) -> Option<f64> {
        match self {
            Form::Ramp(from, to) if length.is_finite() => Some(from + (to - from) * time / length),
            Form::Ramp(from, _) => Some(from),
            Form::Saw(from, to, every) => Some(from + (to - from) * (time % every) / every),
            Form::Burst(low, high, every, high_for) => {
                Some(if time % every >= every - high_for { high } else { low })
            }
            Form::Gap => None,
        }
    }
}

/// `0.3`, `0.3 for 10m`, `0.3..0.9 over 20m`, `saw 0.1..1 every 5m [for 1h]`,
/// `burst 0.1/0.9 every 60s high 10s [for 1h]`, `gap for 5m`.
fn segment(text: &str) -> Result<(Form, Option<f64>), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str| text.parse::<f64>().map_err(|_| format!("`{text}` is no number"));
    let seconds = |text: &str| match parse_duration(text) {
        Ok(length) => Ok(length.as_secs_f64()),
        Err(error) => Err(error.to_string()),
    };
    let two = |text: &str, by: &str| -> Result<(f64, f64), String> {
        let (a, b) = text.split_once(by).ok_or(format!("`{text}` is not `a{by}b`"))?;
        Ok((number(a)?, number(b)?))
    };
    let after = |word: &str| -> Result<Option<f64>, String> {
        let at = words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1));
        at.map(|text| seconds(text)).transpose()
    };
    let must = |word: &str| after(word)?.ok_or(format!("`{word} DURATION` is missing"));
    match words[..] {
        [] => Err("it is empty".to_owned()),
        ["gap", ..] => Ok((Form::Gap, after("for")?)),
        ["saw", range, ..] => {
            let (from, to) = two(range, "..")?;
            Ok((Form::Saw(from, to, must("every")?), after("for")?))
        }
        ["burst", range, ..] => {
            let (low, high) = two(range, "/")?;
            Ok((Form::Burst(low, high, must("every")?, must("high")?), after("for")?))
        }
        [range, ..] if range.contains("..") => {
            let (from, to) = two(range, "..")?;
            Ok((Form::Ramp(from, to), Some(must("over")?)))
        }
        [value, ..] => {
            let value = number(value)?;
            Ok((Form::Ramp(value, value), after("for")?))
        }
    }
}

#[test]
fn shapes_have_values() {
    let check = |segments: &[&str], wants: &[(u64, Option<f64>)]| {
        let segments: Vec<String> = segments.iter().map(|text| (*text).to_owned()).collect();
        let shape = Shape::parse(&segments).expect("reads");
        for (second, want) in wants {
            let got = shape.at(Duration::from_secs(*second));
            assert_eq!(got, *want, "{segments:?} at {second}");
        }
    };
    check(&["0.5"], &[(0, Some(0.5)), (9999, Some(0.5))]);
    check(
        &["0 for 10s", "0..1 over 10s", "gap for 5s", "saw 0..1 every 4s"],
        &[(5, Some(0.0)), (15, Some(0.5)), (22, None), (25, Some(0.0)), (27, Some(0.5))],
    );
    check(&["burst 1/9 every 10s high 2s"], &[(7, Some(1.0)), (8, Some(9.0)), (10, Some(1.0))]);
    check(&["0..1 over 10s"], &[(10, Some(1.0)), (99, Some(1.0))]);
    for (bad, why) in [("x", "no number"), ("0..1", "over DURATION"), ("saw 1 every 2s", "a..b")] {
        let error = Shape::parse(&[bad.to_owned()]).expect_err(bad);
        assert!(error.contains(why), "{error}");
    }
}
