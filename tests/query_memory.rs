//! No query takes more memory than its bound, whatever it asks for: an allocator counts while it is evaluated.
//!
//! One test in a program of its own, because the counter is the whole program's.

use std::alloc::System;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plimsoll::base::{Labels, Sample, Timestamp};
use plimsoll::promql::eval::EvalErrorKind;
use plimsoll::promql::{
    EvalError, EvalOptions, Evaluated, ParseOptions, Steps, instant, parse, range,
};
use plimsoll::window::Detached;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a query may take at most: the 80 MB that 5,000,000 samples take, and what is made of labels, up to 64 MiB. No
/// query here has both.
const BOUND: usize = 128 << 20;

const NOW: Timestamp = Timestamp(1_795_312_800_000);

/// Bytes allocated and not freed.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// What `work` yields, and how many bytes it had at most beyond those that were there before. The watcher looks every
/// few microseconds: a table of megabytes takes longer to fill than that.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = live();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = most.max(live().saturating_sub(before) as isize);
                std::thread::park_timeout(Duration::from_micros(20));
            }
            most.max(0) as usize
        });
        let result = work();
        done.store(true, Ordering::Release);
        (result, watcher.join().expect("the watcher does not panic"))
    })
}

/// 5,000 series `m` with a sample every 15 s for five minutes.
fn series() -> Detached {
    let mut source = Detached::default();
    for i in 0..5_000 {
        let (i_text, pad) = (i.to_string(), "p".repeat(200));
        let labels = Labels::from_pairs([("__name__", "m"), ("i", &i_text), ("pad", &pad)]);
        let sample = |k: i64| Sample { at: Timestamp(NOW.0 - k * 15_000), value: (i * k) as f64 };
        let samples: Vec<Sample> = (0..20).rev().map(sample).collect();
        source.add(&labels, &samples);
    }
    source
}

fn evaluate(source: &Detached, query: &str, points: u32) -> Result<Evaluated, EvalError> {
    let expr = parse(query, &ParseOptions { experimental_functions: true }).expect(query);
    let options = EvalOptions::default();
    if points == 1 {
        return instant(&expr, source, NOW, &options);
    }
    let start = Timestamp(NOW.0 - i64::from(points - 1) * 1000);
    range(&expr, source, Steps { start, end: NOW, step: Duration::from_secs(1) }, &options)
}

/// `leaf` within itself.
fn nested(levels: usize, before: &str, leaf: &str) -> String {
    format!("{}{leaf}{}", before.repeat(levels), ")".repeat(levels))
}

/// `part(0) + part(1) + …`
fn chain(parts: usize, part: impl Fn(usize) -> String) -> String {
    (0..parts).map(part).collect::<Vec<_>>().join(" + ")
}

#[test]
fn every_query_stays_within_its_bound() {
    let source = series();
    let refused = Some(EvalErrorKind::Limit);
    let scalars = nested(40, "time() + (", "time()");
    let vectors = nested(40, "vector(time()) + (", "vector(time())");
    let cases = [
        // What people ask for is answered.
        ("sum by (i) (rate(m[1m]))".to_owned(), 300, None),
        ("max_over_time(m[1d:1h])".to_owned(), 1, None),
        ("count_values(\"v\", m)".to_owned(), 1, None),
        ("stddev by (i) (m)".to_owned(), 300, None),
        ("sum_over_time(vector(time())[1d:1s])".to_owned(), 1, None),
        // Series times steps, before any of it is there.
        ("count_over_time(m[4900000s:1s])".to_owned(), 1, refused),
        ("max_over_time(m[1d:1s])".to_owned(), 1, refused),
        ("m @ 1795312800".to_owned(), 1_500, refused),
        ("sum by (i) (m @ 1795312800)".to_owned(), 1_500, refused),
        ("stddev by (i) (m @ 1795312800)".to_owned(), 1_500, refused),
        ("topk(5000, m @ 1795312800)".to_owned(), 1_500, refused),
        // Tables as large, of which most is empty: in parts of the steps they fit.
        ("m".to_owned(), 11_001, None),
        ("sum by (i) (m)".to_owned(), 1_500, None),
        ("stddev by (i) (m)".to_owned(), 1_500, None),
        ("topk(1, m)".to_owned(), 1_500, None),
        ("count_values(\"v\", vector(time()))".to_owned(), 11_001, None),
        ("count_over_time(count_values(\"v\", vector(time()))[40000s:1s])".to_owned(), 1, refused),
        // Every level keeps a column.
        (format!("count_over_time(vector({scalars})[4900000s:1s])"), 1, refused),
        (format!("count_over_time(({vectors})[4900000s:1s])"), 1, refused),
        ("absent(m @ 0)[9000000s:1s]".to_owned(), 1, refused),
        // What is not a table of values, but grows all the same.
        ("count_over_time(quantile(time(), vector(1))[400000s:1s])".to_owned(), 1, None),
        (chain(2_000, |n| format!("sum without (l{n}) (m)")), 1, refused),
        (chain(2_000, |n| format!("count(m offset {n}ms)")), 1, refused),
    ];
    let mut amiss = Vec::new();
    for (query, points, want) in cases {
        let (result, peak) = peak(|| evaluate(&source, &query, points));
        let got = result.as_ref().err().map(|error| error.kind);
        let query = &query[..query.len().min(70)];
        println!("{:>7.1} MiB  {got:?}  {query} ({points})", peak as f64 / 1_048_576.0);
        if got != want || peak > BOUND {
            amiss.push(format!("{query} over {points}: {got:?}, {peak} bytes"));
        }
    }
    assert!(amiss.is_empty(), "{}", amiss.join("\n"));
}
