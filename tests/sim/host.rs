//! The host that is watched: targets with series that are sometimes hot, and sometimes gone.

use std::fmt::Write;
use std::time::Duration;

use plimsoll::base::Labels;

use super::plan::STORMY;
use super::rng::Rng;

/// Targets, each with [`SERIES`] series.
pub const TARGETS: usize = 3;
const SERIES: usize = 3;
const TENANTS: usize = 4;

/// The rules that watch it.
pub const RULES: &str = r#"
groups:
  - name: hot
    rules:
      - {alert: Hot, expr: v >= 5, labels: {severity: critical, action: none}}
      - {alert: HotLong, expr: v >= 5, for: 20s, keep_firing_for: 15s, labels: {severity: warning, action: none}}
  - name: sums
    interval: 10s
    rules:
      - {record: 'tenant:v:max', expr: max by (tenant) (v)}
      - {alert: TenantHot, expr: 'tenant:v:max >= 5', for: 10s, labels: {severity: warning, action: none}}
      - {alert: Climbing, expr: 'increase(c_total[1m]) > 5', labels: {severity: info, action: none}}
  - name: self
    rules:
      - {alert: Down, expr: up == 0, for: 10s, labels: {severity: critical, action: none}}
      - {alert: Quiet, expr: 'absent(v{name="a-0"})', labels: {severity: warning, action: none}}
"#;

/// The same rules about the twins of the metrics.
pub fn twin_rules() -> String {
    let twins = [("v >= 5", "w >= 5"), ("tenant:v:max", "tenant:w:max"), ("(v)", "(w)")];
    let twins = twins.into_iter().chain([("absent(v{", "absent(w{"), ("c_total", "d_total")]);
    twins.fold(RULES.to_owned(), |rules, (one, other)| rules.replace(one, other))
}

/// How one series is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Below the threshold.
    Cool,
    /// Above it.
    Hot,
    /// Not there.
    Gone,
}

/// One series of one target.
pub struct Series {
    /// Its label `name`.
    pub name: String,
    /// Its label `tenant`.
    pub tenant: String,
    /// The target that shows it.
    pub target: usize,
    /// How it is.
    pub mood: Mood,
    /// Since when.
    pub since: Duration,
    counter: u64,
}

/// All series.
pub struct Host {
    /// By number.
    pub series: Vec<Series>,
}

/// The label `instance` of a target.
pub fn instance(target: usize) -> String {
    format!("host-{}:80", letter(target))
}

fn letter(target: usize) -> char {
    char::from(b'a' + target as u8)
}

/// The labels of a target.
pub fn labels(target: usize) -> Labels {
    Labels::from_pairs([("job", "sim"), ("instance", &instance(target))])
}

impl Host {
    /// A host on which nothing has happened yet.
    pub fn new() -> Host {
        let all = (0..TARGETS).flat_map(|target| (0..SERIES).map(move |nth| (target, nth)));
        let series = all.map(|(target, nth)| Series {
            name: format!("{}-{nth}", letter(target)),
            tenant: format!("t{}", (target + nth) % TENANTS),
            target,
            mood: Mood::Cool,
            since: Duration::ZERO,
            counter: 0,
        });
        Host { series: series.collect() }
    }

    /// Gives a series another mood; returns when it changes next. The storm over, all stay.
    pub fn turn(&mut self, number: usize, now: Duration, rng: &mut Rng) -> Option<Duration> {
        let series = &mut self.series[number];
        series.mood = match series.mood {
            Mood::Cool if rng.chance(15) => Mood::Gone,
            Mood::Cool => Mood::Hot,
            Mood::Hot | Mood::Gone => Mood::Cool,
        };
        series.since = now;
        let next = now + if rng.chance(30) { rng.seconds(3, 30) } else { rng.seconds(30, 300) };
        (next < STORMY).then_some(next)
    }

    /// What a target shows now. Counters of hot series run.
    pub fn page(&mut self, target: usize) -> String {
        let mut page = String::new();
        for series in self.series.iter_mut().filter(|series| series.target == target) {
            let value = match series.mood {
                Mood::Gone => continue,
                Mood::Hot => 9,
                Mood::Cool => 1,
            };
            series.counter += if series.mood == Mood::Hot { 2 } else { 0 };
            let Series { name, tenant, counter, .. } = series;
            let labels = format!("{{name=\"{name}\",tenant=\"{tenant}\"}}");
            for (gauge, total) in [("v", "c_total"), ("w", "d_total")] {
                writeln!(page, "{gauge}{labels} {value}\n{total}{labels} {counter}")
                    .expect("a string takes all");
            }
        }
        page
    }
}
