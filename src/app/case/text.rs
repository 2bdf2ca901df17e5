//! A case as the file that promtool and `plimsoll test rules` read.

use std::fmt::Write as _;
use std::iter;

use super::Case;
use super::rehearse::Firing;
use crate::base::{Labels, METRIC_NAME, format_duration, format_rfc3339, format_value, is_stale};

/// Writes the file. `rule_files` are its rule files, as they are found from where it will stand.
pub fn write(case: &Case, rule_files: &[String]) -> String {
    let Case { incident, wanted, grid, rehearsed } = case;
    let mut text = format!(
        "# {} at {}, {}.\n# Made by `plimsoll case export`; time 0 is {}.\n",
        incident.alert,
        format_rfc3339(incident.onset()),
        incident.trace_id,
        format_rfc3339(grid.start),
    );
    if !rehearsed.holds_before_3 {
        let _ = writeln!(text, "# {}", super::NOT_BEFORE_3);
    }
    let files: Vec<String> = rule_files.iter().map(|file| quoted(file)).collect();
    let _ = writeln!(text, "rule_files: [{}]", files.join(", "));
    let _ = writeln!(text, "evaluation_interval: {}", format_duration(wanted.interval));
    let order: Vec<String> = wanted.groups.iter().map(|group| quoted(&group.name)).collect();
    let _ = writeln!(text, "group_eval_order: [{}]", order.join(", "));
    let name = quoted(&format!("{} of {}", incident.alert, format_rfc3339(incident.onset())));
    let _ = writeln!(text, "tests:\n  - name: {name}");
    // The notation begins at zero: what begins later has places that are left out.
    let lead = usize::from(!grid.phase.is_zero());
    let unit = if lead == 0 { grid.step } else { grid.phase };
    let apart = (grid.step.as_millis() / unit.as_millis().max(1)) as usize;
    let _ = writeln!(text, "    interval: {}\n    input_series:", format_duration(unit));
    for (labels, values) in &grid.series {
        let (series, values) = (quoted(&labels.to_string()), row(values, (lead, apart)));
        let _ = writeln!(text, "      - series: {series}\n        values: {}", quoted(&values));
    }
    let _ = writeln!(text, "    alert_rule_test:");
    for (at, firing) in &rehearsed.expected {
        let _ = writeln!(text, "      - eval_time: {}", format_duration(*at));
        let _ = writeln!(text, "        alertname: {}", quoted(&incident.alert));
        write_firing(&mut text, firing);
    }
    text
}

fn write_firing(text: &mut String, firing: &Firing) {
    if firing.is_empty() {
        text.push_str("        exp_alerts: []\n");
        return;
    }
    text.push_str("        exp_alerts:\n");
    for (labels, annotations) in firing {
        let mut start = "          - ";
        for (key, pairs) in [("exp_labels", labels), ("exp_annotations", annotations)] {
            let _ = writeln!(text, "{start}{key}: {{{}}}", map(pairs));
            start = "            ";
        }
    }
}

/// Labels in YAML's flow style; the alert's name is told apart.
fn map(labels: &Labels) -> String {
    let own = labels.iter().filter(|(name, _)| !["alertname", METRIC_NAME].contains(name));
    own.map(|(name, value)| format!("{name}: {}", quoted(value))).collect::<Vec<_>>().join(", ")
}

/// JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The values in promtool's notation: `1 2x3 _x4 stale`. They begin after `lead` places and stand so
/// many `apart`.
fn row(values: &[Option<f64>], (lead, apart): (usize, usize)) -> String {
    let word = |value: &Option<f64>| match value {
        None => "_".to_owned(),
        Some(value) if is_stale(*value) => "stale".to_owned(),
        Some(value) => format_value(*value),
    };
    let gap = |places: usize| ("_".to_owned(), places);
    let all = values.iter().flat_map(|value| [(word(value), 1), gap(apart.saturating_sub(1))]);
    let mut words: Vec<(String, usize)> = Vec::new();
    for (word, places) in iter::once(gap(lead)).chain(all).filter(|(_, places)| *places > 0) {
        match words.last_mut() {
            Some((last, count)) if *last == word => *count += places,
            _ => words.push((word, places)),
        }
    }
    if words.last().is_some_and(|(word, _)| word == "_") {
        words.pop();
    }
    let shown = words.into_iter().map(|(word, count)| match (word.as_str(), count) {
        (_, 1) => word,
        ("_", _) => format!("_x{count}"),
        // `ax2` is a three times; NaN and stale know no repetition.
        ("stale" | "NaN" | "+Inf" | "-Inf", _) => vec![word; count].join(" "),
        (_, _) => format!("{word}x{}", count - 1),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "_".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::STALE_NAN;
    use crate::promql::SeriesValues;

    #[test]
    fn rows_are_read_back_as_they_were() {
        let values = [
            vec![None, None, Some(1.0), Some(1.0), Some(1.0), Some(-2.5), None, Some(1e21)],
            vec![Some(f64::INFINITY), Some(f64::INFINITY), Some(0.0), Some(1e-7)],
            vec![Some(STALE_NAN), Some(STALE_NAN), Some(3.0)],
            vec![Some(123_456_789_012.0), Some(0.1 + 0.2)],
        ];
        for values in values {
            let text = row(&values, (0, 1));
            let read =
                SeriesValues::parse(&text).unwrap_or_else(|e| panic!("{text}: {}", e.message));
            let bits = |values: Vec<Option<f64>>| -> Vec<Option<u64>> {
                values.into_iter().map(|value| value.map(f64::to_bits)).collect()
            };
            assert_eq!(bits(read.iter().collect()), bits(values), "{text}");
        }
        assert_eq!(row(&[None, None], (0, 1)), "_");
        assert_eq!(row(&[Some(1.0), Some(1.0), None, Some(2.0)], (1, 10)), "_ 1 _x9 1 _x19 2");
    }
}
