//! Cases of samples that are made up.

use super::*;
use crate::base::{METRIC_NAME, STALE_NAN, format_duration};
use crate::promql::{Features, ParseOptions};
use crate::rules;

const BEGIN: i64 = 1_800_000_000_200;

fn wanted_by(expr: &str) -> Wanted {
    let rules = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
    let (groups, problems) = rules::load(&[("r.yml".to_owned(), rules)], &ParseOptions::default());
    assert!(!problems.has_errors(), "{problems}");
    wanted(&groups, "A", Duration::from_secs(5), Features::default()).expect("is there")
}

/// A sample every five seconds, and what the window writes when the series ends.
fn series(values: &[f64], ends: bool) -> Series {
    let at = |second: usize| Timestamp(BEGIN + second as i64 * 5_000);
    let mut samples: Vec<Sample> =
        values.iter().enumerate().map(|(n, value)| Sample { at: at(n), value: *value }).collect();
    if ends {
        samples.push(Sample { at: Timestamp(at(values.len() - 1).0 + 1), value: STALE_NAN });
    }
    (Labels::from_pairs([(METRIC_NAME, "m"), ("a", "b")]), samples)
}

fn case_of(expr: &str, fired_s: i64, series: Series) -> anyhow::Result<Case> {
    let fired_at = Timestamp(BEGIN + fired_s * 1000);
    let incident = Incident {
        trace_id: "trace_1".to_owned(),
        alert: "A".to_owned(),
        started_at: fired_at,
        fired_at: Some(fired_at),
        ended_at: None,
    };
    case(incident, wanted_by(expr), vec![series])
}

#[test]
fn a_series_that_ends_is_gone_in_the_case_too() {
    let case = case_of("absent(m{a=\"b\"})", 25, series(&[1.0; 5], true)).expect("a case");
    assert_eq!(case.rehearsed.onsets, [Duration::from_secs(25)]);
    assert!(write(&case, &[]).contains("values: \"1x4 stale\""), "{}", write(&case, &[]));
}

/// Prometheus took ranges to be closed until version 3, and leaves their beginning out since.
#[test]
fn no_sample_of_a_case_lies_on_the_edge_of_a_range() {
    for range in ["10s", "7s", "12500ms", "10s:2s", "1m"] {
        let expr = format!("max_over_time(m[{range}]) > 1");
        let wanted = wanted_by(&expr);
        let grid = Grid::of(&[series(&[1.0; 60], false)], Timestamp(BEGIN + 300_000), &wanted);
        let grid = grid.expect("a grid");
        let (phase, step) = (grid.phase.as_millis() as u64, grid.step.as_millis() as u64);
        assert_eq!(grid.start, Timestamp(BEGIN - phase as i64), "{range}");
        for edge in wanted.edges.iter().map(|edge| edge.as_millis() as u64) {
            let samples = (0..60).map(|n| phase + n * step);
            let on = samples.filter(|at| (at + edge).is_multiple_of(5_000)).count();
            assert_eq!(on, 0, "{range}: {phase} ms and every {step} ms");
        }
    }
    let case = case_of("max_over_time(m[10s]) > 1", 10, series(&[1.0, 1.0, 2.0, 2.0], false));
    let text = write(&case.expect("a case"), &[]);
    assert!(
        text.contains("interval: 500ms") && text.contains("\"_ 1 _x9 1 _x9 2 _x9 2\""),
        "{text}"
    );
}

/// A running plimsoll lists samples, and shows no series that has ended.
#[test]
fn what_ended_in_the_window_of_a_running_plimsoll_has_ended_in_the_case() {
    let wanted = wanted_by("absent(m)");
    let at = |second: i64| Timestamp(BEGIN + second * 1000);
    let incident = Incident {
        trace_id: "trace_1".to_owned(),
        alert: "A".to_owned(),
        started_at: at(25),
        fired_at: Some(at(25)),
        ended_at: Some(at(40)),
    };
    let (from, end) = incident.span(&wanted);
    // Scrapes every five seconds: twice there, then thrice not, then there again until the end.
    let scraped: Vec<i64> = (10..20).step_by(5).chain((40..=100).step_by(5)).collect();
    let is_shown = |t: &i64| (10..20).contains(t) || *t >= 40;
    let answer = |times: Vec<i64>| {
        let point = |t: i64| serde_json::json!([at(t).0 as f64 / 1000.0, "1"]);
        let values: Vec<Value> = times.into_iter().map(point).collect();
        serde_json::json!({"result": [{"metric": {"__name__": "m"}, "values": values}]})
    };
    let mut asked = Vec::new();
    let series = from_running(&incident, &wanted, &mut |query, when| {
        asked.push(query.to_owned());
        Ok(match when {
            When::At(_) => answer(scraped.clone()),
            When::Steps { from, end, step } => {
                let steps = std::iter::successors(Some(from), |at| Some(*at + step));
                let steps = steps.take_while(|at| *at <= end).map(|at| (at.0 - BEGIN) / 1000);
                answer(steps.filter(is_shown).collect())
            }
        })
    });
    let series = series.expect("it answers");
    let ended: Vec<Timestamp> =
        series[0].1.iter().filter(|s| crate::base::is_stale(s.value)).map(|s| s.at).collect();
    assert_eq!(ended, [Timestamp(at(15).0 + 1)]);
    assert_eq!(series[0].1.len(), scraped.len() + 1);
    assert_eq!(
        asked,
        [
            format!("{{__name__=\"m\"}}[{}]", format_duration(end.since(from))),
            "{__name__=\"m\"}".to_owned()
        ]
    );
    let case = case(incident, wanted, series).expect("it fires");
    assert_eq!(case.rehearsed.onsets.len(), 1);
}

#[test]
fn what_differs_before_prometheus_3_is_not_asked_about() {
    let climbs =
        || series(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], false);
    let times = |case: &Case| -> Vec<u64> {
        case.rehearsed.expected.iter().map(|(at, _)| at.as_secs()).collect()
    };
    // Of its steps five seconds apart three are high since 3.0, four before.
    let case = case_of("min_over_time((m > bool 0)[15s:5s]) > 0", 25, climbs()).expect("a case");
    assert!(case.holds_before_3());
    assert_eq!(times(&case), [25, 35, 40, 45, 85]);
    assert!(!write(&case, &[]).contains("before 3"), "{}", write(&case, &[]));
    // Before, there are four of them at any time.
    let case = case_of("count_over_time(m[15s:5s]) == 3 and m > 0", 15, climbs()).expect("a case");
    assert!(!case.holds_before_3());
    assert!(write(&case, &[]).contains(NOT_BEFORE_3), "{}", write(&case, &[]));
}
