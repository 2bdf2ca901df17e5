//! What M2 may pin: rules, advice and `plimsoll fixedcount` say the same, and `setting.json` is
//! followed while it changes.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{ControlPlane, Home, Page, Plan, query, wait_until};

const SETTING: &str = r#"{"functions": {"network": {"cache": {"meta": {"fixedCount": 600000}}}}}"#;

/// M2's page when it has made this many documents of the guide's size.
fn page(docs: u64) -> String {
    stamped(docs, "")
}

/// The same, as it was so many minutes ago.
fn page_of(docs: u64, minutes_ago: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    stamped(docs, &format!(" {}000", now - 60 * minutes_ago))
}

fn stamped(docs: u64, stamp: &str) -> String {
    format!(
        "# TYPE m2_pagefx_complete_total counter\n\
         m2_pagefx_complete_total{{vhost=\"example.com\"}} {docs}{stamp}\n\
         # TYPE m2_pagedesk_dest_size_bytes counter\n\
         m2_pagedesk_dest_size_bytes{{vhost=\"example.com\"}} {}{stamp}\n",
        docs * 385_390_147 / 38_746
    )
}

fn fixedcount(words: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["fixedcount", "--format", "json"])
        .args(words)
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let read = serde_json::from_slice(&output.stdout);
    (output.status.code(), read.unwrap_or(Value::String(error)))
}

#[test]
fn rules_advice_and_command_agree() {
    let control_plane = ControlPlane::start();
    let m2 = Page::new(&page_of(0, 21));
    let plan = Plan {
        control_plane: Some(control_plane.address()),
        more: "host: web-7\nmode: act\nrule_files: ['m2-rules.yml']\n\
               m2: {memory_bytes: 16GiB, setting_file: setting.json, vhosts: {example.com: {ttl: 10m, refresh: 12h}}}\n"
            .to_owned(),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("m2", m2.address(), ""));
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/m2.yml"));
    home.write("m2-rules.yml", &shipped.expect("is there").replace("for: 5m", "for: 0s"));
    home.write("setting.json", SETTING);
    let _process = home.start();
    // Documents are counted over twenty minutes, and these have been watched for as long.
    for minutes_ago in [20, 19, 1] {
        m2.wait_for_scrapes(2);
        m2.set(&page_of(0, minutes_ago));
    }
    m2.wait_for_scrapes(2);
    m2.set(&page(38_746));
    let advice = || control_plane.heard("M2PinnedMemoryOverBudget");
    let given = || advice().into_iter().find(|heard| heard.kind == "advice.given");
    wait_until("advice", 30, || given().is_some());
    let params = given().expect("it was there").body["data"]["action"]["params"].clone();
    m2.wait_for_scrapes(3);

    let (code, all) = fixedcount(&["--url", &format!("http://{}", home.address())]);
    let host = &all["hosts"][0];
    let vhost = &host["vhosts"][0];
    assert_eq!((code, &host["verdicts"][0]), (Some(2), &Value::from("over the budget")), "{all}");
    assert_eq!(vhost["fixed_count"], 600_000.0, "as setting.json says: {all}");
    let recommended = vhost["fixed_count_recommended"].as_f64().expect("a number");
    assert_eq!(params["recommended"], format!("example.com={recommended}"), "{params}");
    assert_eq!(params["current"], "example.com=600000");
    assert_eq!(params["setting"], format!("example.com: {}", vhost["setting"]), "{params}");
    let recorded = query(home.address(), "m2:fixed_count_recommended");
    assert_eq!(recorded.len(), 1, "{recorded:?}");

    // The same numbers on the command line give the same answer.
    let whole = |value: &Value| format!("{:.0}", value.as_f64().expect("a number"));
    let (code, offline) = fixedcount(&[
        "--docs",
        &whole(&vhost["docs"]),
        "--bytes",
        &whole(&vhost["doc_bytes"]),
        "--memory",
        "16GiB",
        "--fixed-count",
        "600000",
    ]);
    assert_eq!(code, Some(2), "{offline}");
    let reckoned = &offline["hosts"][0]["vhosts"][0];
    assert_eq!(reckoned["fixed_count_recommended"], recommended);
    assert_eq!(reckoned["fixed_count_max"], vhost["fixed_count_max"]);

    // Half a file changes nothing; a whole one is followed.
    let fixed = || query(home.address(), "plimsoll_m2_fixed_count").pop().map(|(_, v)| v);
    let failing = || home.figure("plimsoll_document_failing{document=\"m2_setting\"}");
    home.write("setting.json", &SETTING[..40]);
    wait_until("half a file is refused", 20, || failing() == 1.0);
    assert_eq!(fixed(), Some(600_000.0));
    home.write("setting.json", &SETTING.replace("600000", "40000"));
    wait_until("the new one is in force", 20, || fixed() == Some(40_000.0));
    // The alert itself stays in doubt until the window is as long as its rule looks back.
    wait_until("within the budget", 20, || {
        fixedcount(&["--url", &format!("http://{}", home.address())]).0 == Some(0)
    });
}

#[test]
fn seconds_of_data_are_no_advice() {
    let m2 = Page::new(&page(0));
    let more =
        "m2: {memory_bytes: 16GiB, vhosts: {example.com: {fixed_count: 600000, ttl: 10m}}}\n";
    let plan = Plan { more: more.to_owned(), ..Plan::default() };
    let home = Home::new(&plan.job("m2", m2.address(), ""));
    let _process = home.start();
    m2.wait_for_scrapes(2);
    m2.set(&page(38_746));
    m2.wait_for_scrapes(3);
    let url = format!("http://{}", home.address());
    let answer = || fixedcount(&["--url", &url]);
    wait_until("it is counted", 20, || {
        answer().1["hosts"][0]["vhosts"][0]["counted_seconds"].as_f64() > Some(0.0)
    });
    let (code, all) = answer();
    let vhost = &all["hosts"][0]["vhosts"][0];
    assert_eq!((code, &vhost["window_seconds"]), (Some(1), &Value::from(1200.0)), "{all}");
    for figure in ["docs", "doc_bytes", "fixed_count_recommended", "fixed_count_max", "setting"] {
        assert_eq!(vhost[figure], Value::Null, "{figure}: {all}");
    }
    assert_eq!(vhost["fixed_count"], 600_000.0, "{all}");
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["fixedcount", "--url", &url])
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("s of 20m: no advice yet"), "{text}");
}

#[test]
fn the_guides_figures_offline() {
    let words = |memory| {
        let all = ["--docs", "38746", "--bytes", "385390147", "--fixed-count", "40000", "--memory"];
        [&all[..], &[memory]].concat()
    };
    for (memory, share, most) in
        [("16000000000", "2.487 %", "48,257"), ("16GiB", "2.316 %", "51,816")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .arg("fixedcount")
            .args(words(memory))
            .env("NO_COLOR", "1")
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        for want in ["397.9 MB (379.4 MiB)", share, most, "40,000", "{\"fixedCount\":40000}"] {
            assert!(text.contains(want), "{want}: {text}");
        }
        assert_eq!(output.status.code(), Some(0), "{text}");
    }
    let (code, error) = fixedcount(&["--docs", "38746"]);
    assert_eq!(code, Some(64), "{error}");
    let (code, error) = fixedcount(&["--url", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(1), "{error}");
}
