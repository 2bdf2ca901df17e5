//! Cases of samples that are made up.

use super::*;
use crate::base::{METRIC_NAME, STALE_NAN};
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
