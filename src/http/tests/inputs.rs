//! What the API tells of inputs, and of alerts whose inputs are missing.

use super::*;
use crate::alerts::Doubt;
use crate::engine::GroupView;

#[tokio::test]
async fn an_unknown_alert_says_which_input_is_missing_since_when() {
    let backend = scripted();
    let mut view = View::clone(&backend.view.lock().expect("not poisoned"));
    let doubt = Doubt::TargetFailed { target: "x/127.0.0.1:19998".to_owned() };
    for (group, doubt) in [(0, doubt), (1, Doubt::RangeNotCovered)] {
        let mut of = GroupView::clone(&view.groups[0]);
        let alerting = of.rules[1].alerting.as_mut().expect("an alert");
        alerting.alerts[0].unknown = Some((Timestamp(1000), doubt));
        view.groups[group] = Arc::new(of);
    }
    *backend.view.lock().expect("not poisoned") = Arc::new(view);
    let address = start(backend, Options::default()).await;
    let get = async |path: &str| -> serde_json::Value {
        let reply = ask(address, "GET", &format!("/api/v1/plimsoll/{path}"), None).await;
        serde_json::from_str(&reply.body).expect("is JSON")
    };
    let input = serde_json::json!({
        "job": "x", "instance": "127.0.0.1:19998", "health": "down",
        "lastError": "connection refused", "failingSince": "2026-11-22T02:17:41.826Z",
        "lastScrape": "2026-11-22T02:17:51.826Z", "newestSample": "2026-11-22T02:17:37.826Z",
        "age": 15.134, "lag": 22.134,
        "samplesExpected": 36, "samplesPresent": 18, "repeatedTimestamps": 2, "resets": 1,
    });
    assert_eq!(get("inputs").await["data"]["inputs"], serde_json::json!([input]));
    let alerts = get("alerts").await["data"]["alerts"].clone();
    assert_eq!(alerts.as_array().map(Vec::len), Some(2), "the ones that have ended are not there");
    assert_eq!(
        alerts[0]["unknown"],
        serde_json::json!({
            "since": "1970-01-01T00:00:01.000Z", "input": input,
            "reason": "target x/127.0.0.1:19998 failed its last scrape",
        })
    );
    assert!(alerts[1]["unknown"]["input"].is_null(), "no single target is at fault");
    let explained = get("explain?rule=High&group=g").await;
    assert_eq!(explained["data"]["rules"][0]["alerts"][0]["unknown"], alerts[0]["unknown"]);
}
