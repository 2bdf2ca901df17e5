//! Answers in one shape, whoever gave them, and how two of them differ.

use std::collections::BTreeMap;

use plimsoll::base::Labels;
use plimsoll::promql::eval::{EvalError, Evaluated, Value};
use serde_json::Value as Json;

/// Labels by name.
type Metric = BTreeMap<String, String>;

/// What a query yields.
#[derive(PartialEq, Debug)]
pub enum Answer {
    /// Samples, in milliseconds, by series; one at time 0 for instant queries and numbers.
    Series(BTreeMap<Metric, Vec<(i64, f64)>>),
    Error(String),
}

/// Relative difference that is taken for rounding.
const EPSILON: f64 = 1e-9;
/// Of sums that nearly cancel only so much is sure: 8 roundings of what was added up. 2.42 adds up
/// without Kahan's compensation, so the digits below differ.
const OF_SUMMANDS: f64 = 8.0 * f64::EPSILON;

impl Answer {
    /// Ours.
    pub fn of(result: Result<Evaluated, EvalError>) -> Answer {
        let metric = |labels: &Labels| -> Metric {
            labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let evaluated = match result {
            Ok(evaluated) => evaluated,
            Err(error) => return Answer::Error(error.to_string()),
        };
        Answer::Series(match evaluated.value {
            Value::Scalar(value) => BTreeMap::from([(Metric::new(), vec![(0, value)])]),
            Value::Vector(vector) => {
                let sample = |(labels, value): &(Labels, f64)| (metric(labels), vec![(0, *value)]);
                vector.iter().map(sample).collect()
            }
            Value::Matrix(matrix) => {
                let series = |(labels, samples): &(Labels, Vec<_>)| {
                    let points = samples
                        .iter()
                        .map(|sample: &plimsoll::base::Sample| (sample.at.0, sample.value));
                    (metric(labels), points.collect())
                };
                matrix.iter().map(series).collect()
            }
            Value::String(text) => panic!("no query asks for the text {text}"),
        })
    }

    /// That of the HTTP API.
    pub fn from_json(answer: &Json) -> Answer {
        if let Some(error) = answer["error"].as_str() {
            return Answer::Error(error.to_owned());
        }
        let data = &answer["data"];
        let result = &data["result"];
        if data["resultType"] == "scalar" {
            return Answer::Series(BTreeMap::from([(Metric::new(), vec![(0, value(&result[1]))])]));
        }
        let mut series = BTreeMap::new();
        for one in result.as_array().expect("a list") {
            let metric = serde_json::from_value(one["metric"].clone()).expect("labels");
            let points = match one["values"].as_array() {
                Some(points) => points.iter().map(|p| (millis(&p[0]), value(&p[1]))).collect(),
                None => vec![(0, value(&one["value"][1]))],
            };
            series.insert(metric, points);
        }
        Answer::Series(series)
    }

    /// Neither an error nor any sample.
    pub fn is_empty(&self) -> bool {
        matches!(self, Answer::Series(series) if series.is_empty())
    }
}

fn millis(seconds: &Json) -> i64 {
    (seconds.as_f64().expect("seconds") * 1000.0).round() as i64
}

fn value(text: &Json) -> f64 {
    text.as_str().and_then(|text| text.parse().ok()).expect("a number as text")
}

/// How two answers differ, if they do. `summands` tells the sum of the magnitudes of all that the query
/// adds up at a time; 0 where it adds up nothing.
pub fn difference(ours: &Answer, theirs: &Answer, summands: impl Fn(i64) -> f64) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Answer::Series(ours), Answer::Series(theirs)) => (ours, theirs),
        (Answer::Error(ours), Answer::Error(theirs)) if same_words(ours, theirs) => return None,
        _ => return Some(format!("ours {ours:?}\n  theirs {theirs:?}")),
    };
    if let Some(metric) = ours.keys().find(|metric| !theirs.contains_key(*metric)) {
        return Some(format!("only ours has {metric:?}: {:?}", ours[metric]));
    }
    theirs.iter().find_map(|(metric, theirs)| {
        let Some(ours) = ours.get(metric) else {
            return Some(format!("only theirs has {metric:?}: {theirs:?}"));
        };
        let same = ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(a, b)| {
                let near = || (a.1 - b.1).abs() <= OF_SUMMANDS * summands(a.0);
                a.0 == b.0 && (close(a.1, b.1) || near())
            });
        (!same).then(|| format!("{metric:?}: ours {ours:?}\n  theirs {theirs:?}"))
    })
}

/// Whether two errors say the same, apart from what 3.x words differently: which two of several
/// duplicates are named (2.42: in no order, 3.x: sorted), and what is wrong with a parameter that
/// is no integer (2.42: always an overflow). When steps of a range fail for different reasons,
/// Prometheus tells the first step's, and we, who evaluate all steps at once, another one.
fn same_words(ours: &str, theirs: &str) -> bool {
    let kind = |text: &str| {
        let kinds = [
            ("parameter", ["Parameter value is NaN", "flows int64"]),
            (
                "matching",
                ["found duplicate series for the match group", "multiple matches for labels"],
            ),
        ];
        let known = kinds.iter().find(|(_, parts)| parts.iter().any(|part| text.contains(part)));
        known.map_or_else(|| text.to_owned(), |(kind, _)| (*kind).to_owned())
    };
    kind(ours) == kind(theirs)
}

fn close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= EPSILON * a.abs().max(b.abs())
}
