//! An alert as Alertmanager's API takes it (`POST /api/v2/alerts`).
//!
//! External labels are added where the alert has none of that name, then alert relabelling runs,
//! as in Prometheus (`notifier/alert.go`). Names Alertmanager refuses are made into names it takes,
//! because one bad name would cost the whole batch its answer.

use serde::Serialize;
use std::collections::BTreeMap;

use crate::alerts::{Phase, Presented};
use crate::base::{Labels, LabelsBuilder, format_rfc3339, is_label_name};
use crate::relabel;
use crate::rules::graph_url;

/// What is added to every alert on its way out.
#[derive(Clone, Debug, Default)]
pub struct Dress {
    /// `global.external_labels`
    pub external_labels: Labels,
    /// `alerting.alert_relabel_configs`
    pub relabel: Vec<relabel::Rule>,
    /// `web.external_url`, without a slash at its end; empty for none.
    pub external_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    labels: BTreeMap<String, &'a str>,
    annotations: BTreeMap<String, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    generator_url: String,
}

/// The JSON object of one alert; `None` if relabelling dropped it.
pub fn to_json(presented: &Presented, dress: &Dress) -> Option<Vec<u8>> {
    let alert = &presented.alert;
    let mut builder = LabelsBuilder::from(&alert.labels);
    for (name, value) in dress.external_labels.iter() {
        if builder.get(name).is_empty() {
            builder.set(name, value);
        }
    }
    if !relabel::apply(&dress.relabel, &mut builder) {
        return None;
    }
    let (labels, late) = (builder.build(), late(presented));
    let mut annotations = sane(&alert.annotations);
    if let Some(late) = &late {
        annotations.insert("late".to_owned(), late);
    }
    let unknown = alert.unknown.as_ref();
    let unknown =
        unknown.map(|(since, doubt)| format!("since {}: {doubt}", format_rfc3339(*since)));
    if let Some(unknown) = &unknown {
        annotations.insert("unknown".to_owned(), unknown);
    }
    let wire = Wire {
        labels: sane(&labels),
        annotations,
        // Alertmanager refuses what ends before it starts. After a wall clock was set back, what
        // was published as the start may lie ahead of what is now.
        starts_at: format_rfc3339(alert.starts_at().min(presented.ends_at)),
        ends_at: format_rfc3339(presented.ends_at),
        generator_url: graph_url(&dress.external_url, &presented.expr),
    };
    Some(serde_json::to_vec(&wire).expect("maps of text are JSON"))
}

/// What is said of an incident that is presented after its end.
fn late(presented: &Presented) -> Option<String> {
    let why = match presented.phase {
        Phase::Firing | Phase::Resolved => return None,
        Phase::LateFiring | Phase::LateResolved => ", and no Alertmanager could be told in time",
        Phase::Held => " while Alertmanager could not deliver",
    };
    let (began, ended) = (presented.alert.starts_at(), presented.alert.ended_at()?);
    let (began, ended) = (format_rfc3339(began), format_rfc3339(ended));
    Some(format!("this incident began {began} and ended {ended}{why}"))
}

/// Names Alertmanager takes; of two that become the same, the one that was right stays.
fn sane(labels: &Labels) -> BTreeMap<String, &str> {
    let mut sane = BTreeMap::new();
    for (name, value) in labels.iter().filter(|(name, _)| is_label_name(name)) {
        sane.insert(name.to_owned(), value);
    }
    for (name, value) in labels.iter().filter(|(name, _)| !is_label_name(name)) {
        sane.entry(sanitise(name)).or_insert(value);
    }
    sane
}

fn sanitise(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = name.chars().map(keep).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{Alert, AlertState, ResolveReason};
    use crate::base::Timestamp;

    fn presented(phase: Phase) -> Presented {
        let labels = [("alertname", "A"), ("region", "own"), ("a.b", "1"), ("9x", "2")];
        let alert = Alert {
            annotations: Labels::from_pairs([("summary", "말 \"x\"")]),
            state: AlertState::Resolved,
            fired_at: Some(Timestamp(1000)),
            resolved: Some((Timestamp(16_000), ResolveReason::ConditionCleared)),
            ..Alert::pending(Labels::from_pairs(labels), 1.0, Timestamp(0))
        };
        Presented { alert, expr: "v > 5".to_owned(), phase, ends_at: Timestamp(16_000) }
    }

    fn json(phase: Phase) -> serde_json::Value {
        let dress = Dress {
            external_labels: Labels::from_pairs([("region", "sg"), ("dc", "x")]),
            relabel: Vec::new(),
            external_url: "http://side.car/px".to_owned(),
        };
        let bytes = to_json(&presented(phase), &dress).expect("kept");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn an_alert_on_the_wire() {
        assert_eq!(
            json(Phase::Resolved),
            serde_json::json!({
                "labels": {"alertname": "A", "region": "own", "dc": "x", "a_b": "1", "_9x": "2"},
                "annotations": {"summary": "말 \"x\""},
                "startsAt": "1970-01-01T00:00:01.000Z",
                "endsAt": "1970-01-01T00:00:16.000Z",
                "generatorURL": "http://side.car/px/graph?g0.expr=v+%3E+5&g0.tab=1",
            }),
            "the URL is the one Prometheus 2.42 was seen to send"
        );
    }

    #[test]
    fn a_late_alert_says_so() {
        let late = json(Phase::LateFiring);
        let said = late["annotations"]["late"].as_str().expect("is annotated");
        assert!(said.contains("00:00:01") && said.contains("00:00:16"), "{said}");
        let held = json(Phase::Held);
        let said = held["annotations"]["late"].as_str().expect("is annotated");
        assert!(said.contains("could not deliver"), "{said}");
    }

    #[test]
    fn nothing_ends_before_it_starts() {
        let mut presented = presented(Phase::Resolved);
        presented.ends_at = Timestamp(500);
        let bytes = to_json(&presented, &Dress::default()).expect("kept");
        let json: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(json["startsAt"], "1970-01-01T00:00:00.500Z");
        assert_eq!(json["startsAt"], json["endsAt"]);
    }
}
