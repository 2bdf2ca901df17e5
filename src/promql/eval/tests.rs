//! What promqltest files cannot say: limits, deadlines, invalid steps, how often a source is asked.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::promql::{ParseOptions, parse};
use crate::regex::PatternError;
use crate::window::{Selected, Selector, Span};

/// Ten series `x{i="…"}` with the values 0, 1, … every 15 s for ten minutes.
struct Ramp {
    series: Vec<(Labels, Vec<Sample>)>,
    asked: Cell<usize>,
}

impl Ramp {
    fn new() -> Ramp {
        let series = |i: i32| {
            let labels = Labels::from_pairs([("__name__", "x"), ("i", &i.to_string())]);
            let sample = |k: i64| Sample { at: Timestamp(k * 15_000), value: k as f64 };
            (labels, (0..40).map(sample).collect())
        };
        Ramp { series: (0..10).map(series).collect(), asked: Cell::new(0) }
    }
}

impl Source for Ramp {
    fn select(&self, selector: &Selector, span: Span) -> Vec<Selected<'_>> {
        self.asked.set(self.asked.get() + 1);
        let mut selected = Vec::new();
        for (labels, samples) in self.series.iter().filter(|(labels, _)| selector.matches(labels)) {
            let start = samples.partition_point(|sample| sample.at <= span.after);
            let end = samples.partition_point(|sample| sample.at <= span.upto);
            if start < end {
                selected.push(Selected { labels, samples: &samples[start..end] });
            }
        }
        selected
    }
}

fn expr(text: &str) -> Expr {
    parse(text, &ParseOptions { experimental_functions: true }).expect(text)
}

fn at_five_minutes(text: &str, options: &EvalOptions) -> Result<Evaluated, EvalError> {
    instant(&expr(text), &Ramp::new(), Timestamp(300_000), options)
}

fn steps(end_seconds: i64, step_millis: u64) -> Steps {
    let end = Timestamp(end_seconds * 1000);
    Steps { start: Timestamp(0), end, step: Duration::from_millis(step_millis) }
}

#[test]
fn limits_and_deadlines_end_an_evaluation() {
    let few = EvalOptions { max_samples: 100, ..EvalOptions::default() };
    let late = EvalOptions { expired: Some(Arc::new(|| true)), ..EvalOptions::default() };
    let fine = EvalOptions::default();
    let cases = [
        ("sum(x)", &few, None),
        ("sum(rate(x[5m]))", &few, Some(EvalErrorKind::Limit)),
        ("sum_over_time(x[1h:1s])", &few, Some(EvalErrorKind::Limit)),
        // A subquery over a century is refused before anything is allocated for it.
        ("sum_over_time(vector(1)[100y:1ms])", &fine, Some(EvalErrorKind::Limit)),
        ("1 + 1", &late, Some(EvalErrorKind::Timeout)),
        ("histogram_count(x)", &fine, None),
        ("histogram_count(x * on() x)", &fine, Some(EvalErrorKind::Execution)),
        ("x * on() x", &fine, Some(EvalErrorKind::Execution)),
        ("x offset 100y", &fine, None),
        ("x @ 9223372036854774", &fine, None),
        ("x @ -9223372036854774", &fine, None),
        ("rate(x[100y] @ -9223372036854774 offset 100y)", &fine, None),
        ("rate(x[100y:1y] @ -9223372036854774 offset 100y)", &fine, None),
        ("predict_linear(vector(time())[2s:400ms] @ -9223372036854774, 1)", &fine, None),
        ("vector(time())[2s:400ms] @ 9223372036854774 offset -100y", &fine, None),
        ("vector(time())[2s:100y] @ 9223372036854774", &fine, None),
        ("deriv(vector(time())[2s:400ms] @ 9223372036854774 offset -100y)", &fine, None),
    ];
    for (text, options, want) in cases {
        let got = at_five_minutes(text, options).err().map(|error| error.kind);
        assert_eq!(got, want, "{text}");
    }
}

#[test]
fn a_deadline_ends_even_a_single_row() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Not yet while the nodes are entered, but soon after.
    let expired = move || count.fetch_add(1, Ordering::Relaxed) >= 8;
    let options = EvalOptions { expired: Some(Arc::new(expired)), ..EvalOptions::default() };
    let query = expr("max_over_time(vector(1)[1h:1s])");
    let error = range(&query, &Ramp::new(), steps(1000, 1000), &options).expect_err("late");
    assert_eq!(error.kind, EvalErrorKind::Timeout);
    assert_eq!(asked.load(Ordering::Relaxed), 9, "it ends at once");
}

#[test]
fn the_deadline_is_asked_for_every_signature_that_is_there_twice() {
    let asks = |labels: &str| {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let expired = move || count.fetch_add(1, Ordering::Relaxed) > 10_000;
        let options = EvalOptions { expired: Some(Arc::new(expired)), ..EvalOptions::default() };
        let twice = r#"label_replace(x, "j", "1", "", "") or label_replace(x, "j", "2", "", "")"#;
        let query = format!(r#"x{{i="none"}} + on ({labels}) ({twice})"#);
        at_five_minutes(&query, &options).expect("there is nothing to match");
        asked.load(Ordering::Relaxed)
    };
    assert_eq!(asks("i"), asks("i, j") + 10);
}

#[test]
fn ranges_have_a_step_an_order_and_a_bound() {
    let options = EvalOptions { max_steps: 10, ..EvalOptions::default() };
    let kind = |steps: Steps, text: &str| {
        range(&expr(text), &Ramp::new(), steps, &options).err().map(|error| error.kind)
    };
    assert_eq!(kind(steps(10, 1000), "x"), None, "ten steps are eleven points");
    assert_eq!(kind(steps(11, 1000), "x"), Some(EvalErrorKind::Limit));
    assert_eq!(kind(steps(9, 0), "x"), Some(EvalErrorKind::Execution));
    assert_eq!(kind(steps(-1, 1000), "x"), Some(EvalErrorKind::Execution));
    assert_eq!(kind(steps(9, 1000), "x[1m]"), Some(EvalErrorKind::Execution));
    assert_eq!(kind(steps(9, 1000), "\"text\""), Some(EvalErrorKind::Execution));
}

#[test]
fn eleven_thousand_steps_are_as_many_as_prometheus_takes() {
    let run = |end| range(&expr("x"), &Ramp::new(), steps(end, 1000), &EvalOptions::default());
    let Value::Matrix(matrix) = run(11_000).expect("11,001 points").value else { panic!() };
    assert_eq!(matrix.len(), 10);
    let error = run(11_001).expect_err("11,002 points");
    let words = "exceeded maximum resolution of 11,000 points per timeseries.";
    assert!(error.message.starts_with(words), "{error}");
    let numbers = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
    assert!(numbers.iter().all(|(number, text)| grouped(*number) == *text));
}

/// A few kilobytes of query can ask for gigabytes of labels; they get an error that names the bound.
#[test]
fn labels_made_by_functions_are_bounded() {
    let (ones, separator) = ("$1".repeat(50_000), "s".repeat(30_000));
    let replace = |inner: &str, with: &str, from: &str| {
        format!("label_replace({inner}, \"y\", \"{with}\", \"{from}\", \"(.*)\")")
    };
    let names = ["\"i\""; 4].join(", ");
    let join = format!("label_join(x, \"y\", \"{separator}\", {names})");
    let much = replace("vector(1)", &"z".repeat(60_000), "i");
    let spread = format!("x_many * on () group_left (y) {much}");
    let counted =
        format!("count_values by (y) (\"v\", {})", much.replace("vector(1)", "vector(time())"));
    let pattern = |at: usize| format!("(?:a{at}{}){{1000}}.*", "b".repeat(12));
    let nested = (0..40).fold("x".to_owned(), |inner, at| {
        format!("label_replace({inner}, \"y\", \"\", \"i\", \"{}\")", pattern(at))
    });
    let long = "would make a label \"y\" longer than 64 KiB";
    let cases = [
        (replace("x", &"$1".repeat(60_000), "i"), ""),
        (replace(&replace("x", &"$1".repeat(60_000), "i"), "$1$1", "y"), long),
        (replace(&replace("x", &ones, "i"), &ones, "y"), long),
        (join, long),
        (spread, "would make more than 64 MiB of labels"),
        (counted, "would make more than 64 MiB of labels"),
        (nested, "take more than 4 MiB when compiled"),
    ];
    let mut source = Ramp::new();
    for i in 0..2000 {
        let labels = Labels::from_pairs([("__name__", "x_many"), ("i", &i.to_string())]);
        source.series.push((labels, vec![Sample { at: Timestamp(0), value: 1.0 }]));
    }
    for (text, want) in cases {
        let query = expr(&text);
        let got = range(&query, &source, steps(2000, 1000), &EvalOptions::default());
        let message = got.err().map_or(String::new(), |error| error.message);
        assert!(message.contains(want) && message.is_empty() == want.is_empty(), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn texts_that_are_no_utf_8_are_no_labels() {
    let cases = [
        ("count_values(\"a\\xc5z\", x)", "invalid label name \"a\\xc5z\""),
        ("count_values(\"\", x)", "invalid label name \"\""),
        ("label_replace(x, \"\\xff\", \"\", \"i\", \"\")", "string is not valid UTF-8"),
    ];
    for (text, want) in cases {
        let error = at_five_minutes(text, &EvalOptions::default()).expect_err(text);
        assert_eq!(error.message, want, "{text}");
    }
    let shown = at_five_minutes("\"a\\xff\"", &EvalOptions::default()).expect("is a text");
    assert_eq!(shown.value, Value::String("a\u{fffd}".to_owned()), "as JSON shows it");
}

/// They read native histograms only, and leave floats out without a word.
#[test]
fn functions_of_native_histograms_find_none() {
    for name in ["avg", "count", "stddev", "stdvar", "sum"] {
        let text = format!("histogram_{name}(x)");
        let got = at_five_minutes(&text, &EvalOptions::default()).expect(&text);
        assert_eq!(got.value, Value::Vector(Vec::new()), "{text}");
        assert!(got.annotations.render(Severity::Warning, &text).is_empty(), "{text}");
        assert!(got.annotations.render(Severity::Info, &text).is_empty(), "{text}");
    }
}

#[test]
fn a_selector_is_fetched_once_per_query() {
    let cases = [
        ("x + x", 1),
        ("x > 1 and x < 3 or x", 1),
        ("x + x offset 1m", 2),
        ("rate(x[1m]) / rate(x[2m])", 2),
        ("sum_over_time(x[5m:15s])", 1),
    ];
    for (text, want) in cases {
        let source = Ramp::new();
        let options = EvalOptions::default();
        range(&expr(text), &source, steps(300, 15_000), &options).expect(text);
        assert_eq!(source.asked.get(), want, "{text}");
    }
}

#[test]
fn every_step_of_a_range_query_is_the_instant_query_at_that_time() {
    let queries = [
        "x",
        "rate(x[1m])",
        "sum by (i) (x) / on(i) group_left x",
        "topk(2, x)",
        "max_over_time(rate(x[1m])[2m:20s] offset 10s)",
        "x > 10 unless on(i) x > 20",
        "-x or absent(x)",
        "label_replace(x, \"i\", \"$1\", \"i\", \"(1|2)\")",
        "scalar(sum(x)) + x @ 60",
        "count_values(\"v\", x)",
        "quantile(0.3, x % 3)",
    ];
    for (delayed_name_removal, edges) in
        [(false, Edges::Open), (true, Edges::Open), (false, Edges::Closed)]
    {
        let features = Features { delayed_name_removal, ..Features::default() };
        let options = EvalOptions { features, edges, ..EvalOptions::default() };
        for text in queries {
            check_steps(text, &options);
        }
    }
}

/// The samples are 15 s apart, the last one at 585 s.
#[test]
fn the_beginning_of_a_range_belongs_to_it_where_edges_are_closed() {
    for (text, open, closed) in [
        ("count_over_time(x{i='1'}[30s])", 2.0, 3.0),
        ("count_over_time(x{i='1'}[29s])", 2.0, 2.0),
        ("count_over_time(x{i='1'}[30s] offset 1m)", 2.0, 3.0),
        ("count_over_time(x{i='1'}[30s:10s])", 3.0, 4.0),
        ("count_over_time(x{i='1'}[25s:10s])", 3.0, 3.0),
        ("count_over_time(count_over_time(x{i='1'}[30s])[30s:30s])", 1.0, 2.0),
        ("rate(x{i='1'}[30s])", 1.0 / 15.0, 1.0 / 15.0),
        ("count(x offset -585s) or vector(0)", 0.0, 10.0),
    ] {
        for (edges, want) in [(Edges::Open, open), (Edges::Closed, closed)] {
            let options = EvalOptions { edges, ..EvalOptions::default() };
            let text = format!("sum({text})");
            let Value::Vector(vector) = at_five_minutes(&text, &options).expect(&text).value else {
                panic!("{text}")
            };
            assert_eq!(vector[0].1, want, "{text}, {edges:?}");
        }
    }
}

fn check_steps(text: &str, options: &EvalOptions) {
    let (expr, source) = (expr(text), Ramp::new());
    let all = range(&expr, &source, steps(1000, 25_000), options).expect(text).value;
    let Value::Matrix(matrix) = all else {
        panic!("{text}: not a matrix");
    };
    for at in (0..=1000).step_by(25).map(|seconds| Timestamp(seconds * 1000)) {
        let mut now = match instant(&expr, &source, at, options).expect(text).value {
            Value::Vector(vector) => vector,
            other => panic!("{text}: {other:?}"),
        };
        now.sort_by(|a, b| a.0.cmp(&b.0));
        let mut step = Vec::new();
        for (labels, samples) in &matrix {
            let sample = samples.iter().find(|sample| sample.at == at);
            step.extend(sample.map(|sample| (labels.clone(), sample.value)));
        }
        // As text, in which NaN equals NaN.
        assert_eq!(format!("{step:?}"), format!("{now:?}"), "{text} at {at}");
    }
}

/// Series that come and go while one memo serves every evaluation: it must never show.
mod with_a_memo {
    use proptest::prelude::*;

    use super::*;
    use crate::window::{Caps, Retention, Window};

    const QUERIES: [&str; 16] = [
        "sum by (a) (x)",
        "max by (__name__, b) ({__name__=~\"x|y\"})",
        "count without (b) (y)",
        "count without (__type__) ({__name__=~\"x|y\", b!=\"1\"})",
        "sum by () (x) / sum(x)",
        "x / on (a, b) y",
        "x * ignoring (c) y",
        "x * ignoring (c, b) group_left () sum by (a) (y)",
        "x > on (a, b) y",
        "x == bool ignoring (c) y",
        "x and on (a) y",
        "y unless on () x",
        "x or ignoring (c) y",
        "rate(x[1m]) + rate(x[1m])",
        "x + on (a) group_left (c) max by (a, c) (y)",
        "x + on (a, b) fill_right (7) y",
    ];

    /// A series of one of two metrics, and the steps at which it has a sample.
    fn series() -> impl Strategy<Value = (Labels, Vec<bool>)> {
        let value = prop_oneof![Just(""), Just("1"), Just("2")];
        let kind = prop_oneof![Just(""), Just(""), Just("counter")];
        let labels =
            (prop_oneof![Just("x"), Just("y")], kind, [value.clone(), value.clone(), value]);
        let labels = labels.prop_map(|(name, kind, [a, b, c])| {
            let pairs = [("__name__", name), ("__type__", kind), ("a", a), ("b", b), ("c", c)];
            Labels::from_pairs(pairs)
        });
        (labels, prop::collection::vec(any::<bool>(), 8))
    }

    /// The result as text, in which NaN equals NaN; an error is a result too.
    fn shown(result: Result<Evaluated, EvalError>) -> String {
        match result {
            Ok(evaluated) => format!("{:?} {:?}", evaluated.value, evaluated.annotations),
            Err(error) => error.to_string(),
        }
    }

    proptest! {
        // Each case is 256 evaluations, in a build that is not optimised.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn results_are_those_of_an_empty_one(
            all in prop::collection::vec(series(), 1..12),
            forgets in prop::collection::vec(any::<bool>(), 8),
            delayed_name_removal in any::<bool>(),
        ) {
            let options = EvalOptions {
                lookback: Duration::from_secs(15),
                features: Features { delayed_name_removal, ..Features::default() },
                ..EvalOptions::default()
            };
            let caps = Caps { max_series: 100, max_bytes: 1 << 20 };
            let mut window = Window::new(caps, Retention::default());
            let mut memo = Memo::default();
            for (step, forget) in forgets.into_iter().enumerate() {
                let at = Timestamp(step as i64 * 10_000);
                for (n, (labels, there)) in all.iter().enumerate() {
                    if there[step] {
                        let id = window.series(labels).expect("below the caps");
                        window.append(id, Sample { at, value: (n * 3 + step) as f64 });
                    }
                }
                for text in QUERIES {
                    let expr = expr(text);
                    let with = shown(instant_with(&memo, &expr, &window, at, &options));
                    let without = shown(instant(&expr, &window, at, &options));
                    prop_assert_eq!(with, without, "{} at {}", text, at);
                }
                window.forget_expired(at);
                if forget {
                    memo.forget_unused();
                }
            }
        }
    }
}

#[test]
fn long_chains_are_evaluated_in_a_loop() {
    let options = EvalOptions::default();
    let chain = |first: &str, op: &str, count: usize| {
        expr(&format!("{first}{}", format!(" {op} {first}").repeat(count)))
    };
    let at = Timestamp(300_000);
    let sum = instant(&chain("1", "+", 10_000), &Ramp::new(), at, &options).map(|sum| sum.value);
    assert_eq!(sum, Ok(Value::Scalar(10_001.0)));
    let over_steps = range(&chain("x", "or", 10_000), &Ramp::new(), steps(15, 15_000), &options);
    let Ok(Value::Matrix(series)) = over_steps.map(|answer| answer.value) else {
        panic!("a range query yields a matrix");
    };
    assert_eq!(series.len(), 10);
    let parts = trace(&chain("x", "or", 300), &Ramp::new(), at, &options);
    let deepest = parts.iter().map(|part| part.depth).max();
    assert_eq!((parts.len(), deepest), (201, Some(100)), "and no part below");
}

/// Beside the words, what helps whoever wrote the query.
#[test]
fn errors_of_evaluations_say_what_helps() {
    let few = EvalOptions { max_samples: 100, ..EvalOptions::default() };
    let fine = EvalOptions::default();
    let number = Some("it must be a number, which `0 / 0` is not");
    let fewer = Some("use a shorter range, a longer step, or a selector of fewer series");
    for (text, options, want) in [
        ("topk(NaN, x)", &fine, number),
        ("limit_ratio(NaN, x)", &fine, number),
        ("topk(1e30, x)", &fine, None),
        ("sum(rate(x[5m]))", &few, fewer),
        ("sum_over_time(x[1h:1s])", &few, fewer),
        (
            "label_replace(x, 'a', '', 'i', 'a**')",
            &fine,
            PatternError::Bad(String::new()).hint().into(),
        ),
        ("x * on() x", &fine, None),
    ] {
        let error = at_five_minutes(text, options).expect_err(text);
        assert_eq!(error.hint, want, "{text}: {error}");
    }
    let too_many = range(&expr("x"), &Ramp::new(), steps(11_001, 1000), &fine);
    assert_eq!(too_many.expect_err("steps").hint, Some("use a longer step or a shorter range"));
}

/// Prometheus's words, and the part of the query where it went wrong.
#[test]
fn errors_know_the_part_they_arose_in() {
    let replace = "label_replace(x, 'a', '$1', 'i', '(')";
    let cases = [
        ("1 + sum(topk(NaN, x))", "NaN", "Parameter value is NaN"),
        ("limit_ratio(0 / 0, x)", "0 / 0", "Ratio value is NaN"),
        (replace, "'('", "invalid regular expression in label_replace(): ("),
        ("label_replace(x, '', 'a', 'i', '')", "''", "invalid destination label name in label_r"),
        ("label_join(x, 'a', ',', 'i', '')", "''", "invalid source label name in label_join(): "),
        ("label_join(x, '', ',', 'i')", "''", "invalid destination label name in label_join(): "),
        ("x * on() x + x", "x * on() x", "found duplicate series"),
        ("count_values('', x)", "''", "invalid label name \"\""),
        ("1 + rate(x[step()])", "x[step()]", "duration must be greater than 0"),
        (
            "sum_over_time((x + 1)[1h:step()])",
            "(x + 1)[1h:step()]",
            "duration must be greater than 0",
        ),
        ("(x or y) + (x * on() x) or y", "x * on() x", "found duplicate series"),
        (
            "start_timestamp(x) + 1",
            "start_timestamp(x)",
            "function start_timestamp() is not supported",
        ),
        (
            "x + label_replace(x, 'i', 'z', '', '')",
            "label_replace(x, 'i', 'z', '', '')",
            "vector cannot",
        ),
    ];
    for (text, part, words) in cases {
        let (expr, source) = (expr(text), Ramp::new());
        let error = instant(&expr, &source, Timestamp(60_000), &EvalOptions::default());
        let error = error.expect_err(text);
        let span = error.span.unwrap_or_else(|| panic!("{text}: {error} has no place"));
        assert_eq!(&text[span.start..span.end], part, "{text}: {error}");
        assert!(error.message.starts_with(words), "{text}: {error}");
    }
    let late = EvalOptions { expired: Some(Arc::new(|| true)), ..EvalOptions::default() };
    let error = instant(&expr("1 + x"), &Ramp::new(), Timestamp(0), &late).expect_err("late");
    assert_eq!((error.kind, error.span), (EvalErrorKind::Timeout, None));
}
