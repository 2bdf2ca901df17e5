//! What goes on the wire with an action.

use super::*;
use crate::policy::Question;

#[test]
fn the_event_says_all_the_receiver_needs() {
    let mut case = case(Asked::Nudge);
    case.incident.annotations.insert("summary".to_owned(), "near its limit".to_owned());
    let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
    let question = Question {
        expr: "max(a) > 0.9".to_owned(),
        value: Some(0.95),
        threshold: Some(0.9),
        window: 3 * MINUTE,
        held_for: Duration::ZERO,
        url: "http://side.car/graph".to_owned(),
    };
    let event = proposal.event(&case.incident, (&question, &case.evidence), now());
    let body: Value = serde_json::from_str(&event.to_body()).expect("JSON");
    let data = &body["data"];
    assert_eq!(body["type"], "tenant.upgrade.suggested");
    assert_eq!(data["tenant_id"], "acme");
    assert_eq!(data["service"], "acme/app");
    assert_eq!(data["action"]["kind"], "nudge");
    assert_eq!(data["action"]["mode"], "request");
    assert_eq!(data["action"]["params"]["from"], "pro");
    assert_eq!(data["action"]["params"]["to"], "enterprise");
    assert_eq!(data["action"]["expires_at"], "2026-11-22T02:15:00.000Z");
    assert_eq!(data["evidence"]["sample_age_seconds"], 4.0);
    assert_eq!(data["evidence"]["cause"], "memory");
    assert_eq!(data["evidence"]["expr"], "max(a) > 0.9");
    assert_eq!((&data["value"], &data["evidence"]["threshold"]), (&0.95.into(), &0.9.into()));
    assert_eq!(data["evidence"]["window_seconds"], 180.0);
    assert!(data["evidence"]["for_seconds"].is_null(), "it fires at once");
    assert_eq!(data["links"]["query"], "http://side.car/graph");
    assert!(data["status"].is_null(), "only alert events carry a status");
}
