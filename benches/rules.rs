//! What a cycle costs after the scan: samples taken in, rules evaluated, alerts advanced; and what a panel costs.
//!
//! The engine is the real one, driven as the run loop drives it: every five seconds a batch of samples of as many
//! containers as the name of the bench says, one in a hundred over its load line. `samples` takes them in and evaluates
//! nothing, so the difference to the others is what rules cost. The bench `cost` says which rule costs how much.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll::base::Sample;
use plimsoll::promql::{self, EvalOptions, ParseOptions, Steps};
use plimsoll::window::{Retention, Window};

mod host;
use host::{CAPS, Host, INTERVAL, SHIPPED, START, labels};

const CONTAINERS: [usize; 2] = [500, 5_000];

/// The rules that `peers.py` gives to every peer, as far as they are about containers.
const FEW: &str = r#"
groups:
  - name: load-line
    rules:
      - alert: ContainerMemoryNearLimit
        expr: container_memory_working_set_bytes{name!=""} / (container_spec_memory_limit_bytes{name!=""} > 0) >= 0.9
        labels: {severity: critical, action: restart}
        annotations: {summary: "{{ $labels.name }} at {{ $value | humanizePercentage }} of its memory limit"}
      - alert: ContainerCpuThrottled
        expr: rate(container_cpu_cfs_throttled_periods_total{name!=""}[1m]) / rate(container_cpu_cfs_periods_total{name!=""}[1m]) > 0.25
        for: 30s
        labels: {severity: warning, action: nudge}
      - alert: ContainerOomKilled
        expr: increase(container_oom_events_total{name!=""}[5m]) > 0
        labels: {severity: critical}
"#;

fn cycles(criterion: &mut Criterion) {
    let sets: [(&str, &[&str]); 3] =
        [("samples", &[]), ("few rules", &[FEW]), ("shipped rules", &SHIPPED)];
    let mut group = criterion.benchmark_group("cycle");
    group.sample_size(20);
    for containers in CONTAINERS {
        for (name, files) in sets {
            // Built when it is measured, so that a filter on the command line saves the time.
            let mut host = None;
            group.bench_function(format!("{name}, {containers} containers"), |b| {
                let host = host.get_or_insert_with(|| {
                    Host::new(containers, files, Box::new(|| Duration::ZERO))
                });
                b.iter(|| black_box(host.cycle(Vec::new())));
            });
        }
    }
    group.finish();
}

/// An hour of one counter at five seconds.
fn hour(containers: usize) -> Window {
    let least = Duration::from_secs(3600);
    let mut window = Window::new(CAPS, Retention { least, ..Retention::default() });
    for container in 0..containers {
        let id = window.series(&labels("container_cpu_usage_seconds_total", container));
        let id = id.expect("below the caps");
        for step in 0..720u32 {
            let value = f64::from(step) * 1.5;
            window.append(id, Sample { at: START + INTERVAL * step, value });
        }
    }
    window
}

fn queries(criterion: &mut Criterion) {
    let text = r#"sum by (tenant, name) (rate(container_cpu_usage_seconds_total{name!=""}[5m]))"#;
    let expr = promql::parse(text, &ParseOptions::default()).expect("a query");
    let options = EvalOptions { max_samples: usize::MAX, ..EvalOptions::default() };
    let end = START + INTERVAL * 719;
    let steps = Steps { start: START, end, step: Duration::from_secs(15) };
    let mut group = criterion.benchmark_group("query");
    group.sample_size(20);
    for containers in CONTAINERS {
        let window = hour(containers);
        group.bench_function(format!("instant, {containers} containers"), |b| {
            b.iter(|| promql::instant(black_box(&expr), &window, end, &options).expect("a value"));
        });
        group.bench_function(format!("panel of 1 h at 15 s, {containers} containers"), |b| {
            b.iter(|| promql::range(black_box(&expr), &window, steps, &options).expect("a value"));
        });
    }
    group.finish();
}

criterion_group!(benches, cycles, queries);
criterion_main!(benches);
