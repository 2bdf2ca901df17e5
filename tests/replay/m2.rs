//! M2's documented export, served as the counters it would have been over 26 minutes.
//!
//! The sample holds the growth of 20 minutes. Here every counter stands at 0 for six minutes, grows
//! to the sample's value in fourteen and stays for six: whoever looks back 20 minutes from minute
//! 20 to 26 sees exactly the sample's growth, in whole numbers, as a real counter has them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use plimsoll::base::Timestamp;
use plimsoll::engine::{Fact, Setup};

use super::driver::Driver;
use super::{cast, support};

const START: Timestamp = Timestamp(1_795_312_440_000);
const MINUTE: Duration = Duration::from_secs(60);
const MEMORY_BYTES: f64 = 16.0 * 1024.0 * 1024.0 * 1024.0;

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/m2-sample.prom");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn setup(fixed_count: u64) -> Setup {
    let config = format!(
        "global: {{scrape_interval: 5s, evaluation_interval: 5s}}\n\
         host: web-7\n\
         m2: {{memory_bytes: 16GiB, vhosts: {{example.com: {{fixed_count: {fixed_count}}}}}}}\n"
    );
    support::setup(&config, &cast::shipped_rules(100))
}

/// The page that M2 shows so long after its start.
fn page(sample: &str, up: Duration, left_out: &str) -> String {
    let counters: BTreeSet<&str> = sample
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let grown = (up.as_secs_f64() - 360.0).clamp(0.0, 840.0) / 840.0;
    let mut page = String::new();
    for line in sample.lines().filter(|line| left_out.is_empty() || !line.contains(left_out)) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
        if name == "m2_sys_uptime" {
            page += &format!("{series} {}\n", up.as_secs());
        } else if counters.contains(name) {
            let whole: f64 = value.parse().expect("a counter has a value");
            page += &format!("{series} {}\n", (whole * grown).floor());
        } else {
            page += &format!("{line}\n");
        }
    }
    page
}

/// Runs to minute 26 with that fixedCount; `left_out` names families M2 does not export.
fn run(fixed_count: u64, left_out: &'static str) -> Driver {
    let mut driver = Driver::new(setup(fixed_count), Duration::ZERO, START);
    let sample = sample();
    let script = move |at: Timestamp| Some(page(&sample, at.since(START), left_out).into_bytes());
    driver.add_target("m2", "10.0.0.7:20040", Box::new(script));
    driver.run(Duration::from_secs(5), START + 26 * MINUTE);
    assert_eq!(driver.troubles(), Vec::<&Fact>::new());
    driver
}

#[test]
fn one_document_more_than_the_budget_fires() {
    for (fixed_count, fires) in [(51_816, false), (51_817, true), (40_000, false)] {
        let driver = run(fixed_count, "");
        let episodes = driver.episodes("M2PinnedMemoryOverBudget", "host");
        assert_eq!(!episodes.is_empty(), fires, "fixedCount {fixed_count}: {episodes:?}");
        if let Some(episode) = episodes.first() {
            assert!(episode.from.since(START) >= 25 * MINUTE, "20 minutes old, `for: 5m`");
        }
        assert_eq!(driver.fired("M2BudgetInputsMissing", "missing"), Vec::<String>::new());
    }
}

#[test]
fn forty_thousand_are_recommended() {
    let mut driver = run(51_817, "");
    let docs = driver.query("m2:docs:increase20m{vhost=\"example.com\"}").expect("is recorded");
    let bytes =
        driver.query("m2:doc_bytes:increase20m{vhost=\"example.com\"}").expect("is recorded");
    assert_eq!((docs, bytes), (38_746.0, 385_390_147.0));
    let most = (0.03 * MEMORY_BYTES / (bytes / docs)).floor();
    let said = driver.query("floor(m2:fixed_count_max{vhost=\"example.com\"})");
    assert_eq!((said, most), (Some(most), 51_816.0), "as the document reckons");
    let said = driver.query("m2:fixed_count_recommended{vhost=\"example.com\"}");
    assert_eq!(said, Some(40_000.0));
    let said = driver.facts.iter().find_map(|(_, fact)| match fact {
        Fact::AlertFiring { labels, annotations, .. }
            if labels.get("alertname") == Some("M2PinnedMemoryOverBudget") =>
        {
            annotations.get("description")
        }
        _ => None,
    });
    let said = said.expect("it fires");
    assert!(said.contains("holds 51816 of example.com"), "{said}");
    // The day's peak is the window's own figure here, and what `plimsoll fixedcount` would be told.
    let peak = driver.query("plimsoll_m2_docs_peak{vhost=\"example.com\"}");
    assert_eq!(peak, Some(38_746.0));
    let bytes = driver.query("plimsoll_m2_doc_bytes_peak{vhost=\"example.com\"}");
    assert_eq!(bytes, Some(385_390_147.0));
}

#[test]
fn a_budget_that_cannot_be_computed_says_what_is_missing() {
    for (left_out, missing) in [
        ("m2_pagedesk_", "m2_pagedesk_dest_size_bytes"),
        ("m2_pagefx_complete", "m2_pagefx_complete_total"),
    ] {
        let driver = run(51_817, left_out);
        assert_eq!(driver.fired("M2BudgetInputsMissing", "missing"), [missing]);
        assert_eq!(driver.fired("M2PinnedMemoryOverBudget", "host"), Vec::<String>::new());
    }
}
