//! `plimsoll case export`: an incident becomes a rule test, from the recorder and from a running
//! plimsoll, and the test holds for the rules that told it and fails for others.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{BESIDE, Home, an_incident};

fn plimsoll(home: &Home, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(words)
        .current_dir(home.path())
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

#[test]
fn an_incident_becomes_a_test_that_holds() {
    let (home, mut process, _target) = an_incident();
    let url = format!("http://{}", home.address());
    let config = ["--config", "plimsoll.yaml"];
    let export = |words: &[&str]| {
        let output = plimsoll(&home, &[&["case", "export"], words, &config].concat());
        (output.status.code(), said(&output))
    };
    let live = export(&["--alert", "High", "--since", "1h", "--url", &url, "--out", "live.yml"]);
    assert_eq!(live.0, Some(0), "{}", live.1);
    for alert in BESIDE {
        let (code, said) =
            export(&["--alert", alert, "--since", "1h", "--url", &url, "--out", "beside.yml"]);
        assert_eq!(code, Some(0), "{said}");
        let is_told = said.contains("note: promtool before 3 fails this test");
        assert_eq!(is_told, alert == "Counted", "{alert}: {said}");
        let tested = plimsoll(&home, &["test", "rules", "beside.yml"]);
        assert!(tested.status.success(), "{alert}: {}", self::said(&tested));
    }
    process.signal("TERM");
    assert!(process.wait(20).success());

    let story = plimsoll(&home, &[&["story", "--format", "json"][..], &config].concat());
    let story: Value = serde_json::from_slice(&story.stdout).expect("JSON");
    let mut incidents = story["incidents"].as_array().expect("a list").iter();
    let incident = incidents.find(|incident| incident["alert"] == "High").expect("it was told");
    let id = incident["trace_id"].as_str().expect("text");
    let recorded = export(&["--incident", id, "--out", "recorded.yml"]);
    assert_eq!(recorded.0, Some(0), "{}", recorded.1);

    for name in ["live.yml", "recorded.yml"] {
        let text = fs::read_to_string(home.path().join(name)).expect("written");
        assert!(text.contains("acme-web: 95% of 100"), "{text}");
        assert!(text.contains("exp_alerts: []"), "before and after: {text}");
        assert!(!text.contains("beta-web"), "what is about others is left out: {text}");
        let tested = plimsoll(&home, &["test", "rules", name]);
        assert!(tested.status.success(), "{}\n{text}", said(&tested));
    }
    // The cases can fail.
    let rules = fs::read_to_string(home.path().join("rules.yml")).expect("there");
    home.write("rules.yml", &rules.replace("> 0.9 ", "> 0.96 "));
    for name in ["live.yml", "recorded.yml"] {
        assert!(!plimsoll(&home, &["test", "rules", name]).status.success(), "{name}");
    }
    let refused = export(&["--incident", id, "--out", "other.yml"]);
    assert_eq!(refused.0, Some(1), "{}", refused.1);
    assert!(refused.1.contains("does not fire over these samples"), "{}", refused.1);
    // Another incident than that which happened is none to write down.
    home.write("rules.yml", &rules.replace("for: 4s", "for: 0s"));
    let earlier = export(&["--incident", id, "--out", "earlier.yml"]);
    assert_eq!(earlier.0, Some(1), "{}", earlier.1);
    assert!(earlier.1.contains("`High` fired at 20"), "{}", earlier.1);
    let unknown = export(&["--alert", "Low"]);
    assert!(unknown.1.contains("`Low` has not fired in that time"), "{}", unknown.1);
    let unknown = export(&["--incident", "trace_x"]);
    assert!(unknown.1.contains("no incident `trace_x`"), "{}", unknown.1);
}
