//! Real exporters: every line of their pages is read, and none twice. And our own page, held to promtool's lints.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::peers::Exporter;
use crate::support::client::{free_address, get};
use crate::support::{FakeAlertmanager, Home, Plan, wait_for, wait_until};

/// Names the rules below read.
const READ: [&str; 2] = ["node_cpu_seconds_total{", "redis_up "];

/// Samples of a page, counted the naive way: all of them, and those that a rule reads.
fn count(exporter: &Exporter) -> (usize, usize) {
    let page = get(exporter.address, "/metrics").expect("a page");
    let samples = || page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_read = |line: &&str| READ.iter().any(|name| line.starts_with(name));
    (samples().count(), samples().filter(is_read).count())
}

/// Counts until two counts agree: the first pages of an exporter lack what it learns from them.
fn settled_count(exporter: &Exporter) -> (usize, usize) {
    let mut last = (0, 0);
    wait_until("a page of constant length", 20, || {
        let before = std::mem::replace(&mut last, count(exporter));
        before == last
    });
    last
}

/// Scrapes both, with everything kept or only what rules read, until the counts agree.
fn check(keep_all: bool) {
    let jobs = [("node", Exporter::node()), ("redis", Exporter::redis())];
    let counts = jobs.each_ref().map(|(_, exporter)| settled_count(exporter));
    assert!(counts.iter().all(|(all, read)| *all > 100 && *read > 0), "whole pages: {counts:?}");
    let alertmanager = FakeAlertmanager::start();
    let mut plan = Plan {
        alertmanagers: vec![alertmanager.address()],
        more: if keep_all { "window: {keep: ['.+']}\n".to_owned() } else { String::new() },
        ..Plan::default()
    };
    let mut rules = vec![
        "{alert: Up, expr: up == 1}".to_owned(),
        "{alert: RedisUp, expr: redis_up == 1}".to_owned(),
        "{alert: Cores, expr: 'count by (job) (node_cpu_seconds_total{mode=\"idle\"}) > 0'}"
            .to_owned(),
    ];
    for ((job, exporter), count) in jobs.iter().zip(counts) {
        plan = plan.job(job, exporter.address, "");
        let (all, read) = count;
        let kept = if keep_all { all } else { read };
        for (series, count) in
            [("scrape_samples_scraped", all), ("scrape_samples_post_metric_relabeling", kept)]
        {
            rules
                .push(format!("{{alert: {series}, expr: '{series}{{job=\"{job}\"}} == {count}'}}"));
        }
    }
    plan.rules = rules.join(", ");
    let home = Home::new(&plan);
    let _process = home.start();
    let both = |alert: &str| {
        wait_until(&format!("{alert}, of {counts:?}"), 20, || {
            let jobs =
                [alertmanager.firing(alert, "job"), alertmanager.ended(alert, "job")].concat();
            ["node", "redis"].iter().all(|job| jobs.iter().any(|seen| seen == job))
        });
    };
    both("Up");
    both("scrape_samples_scraped");
    both("scrape_samples_post_metric_relabeling");
    wait_until("RedisUp", 10, || alertmanager.firing("RedisUp", "job") == ["redis"]);
    wait_until("Cores", 10, || alertmanager.firing("Cores", "job") == ["node"]);
    assert!(!home.log().contains("ScrapeFailed"), "every scrape succeeded");
}

#[test]
fn a_page_read_whole_has_as_many_samples_as_lines() {
    check(true);
}

#[test]
fn what_no_rule_reads_is_counted_and_not_kept() {
    check(false);
}

#[test]
fn promtool_finds_nothing_to_lint_on_our_own_page() {
    let web = free_address();
    let home = Home::new(&Plan { web: format!("listen: '{web}'"), ..Plan::default() });
    let _process = home.start();
    let page = wait_for("a page of a full round", 20, || {
        get(web, "/metrics").filter(|page| page.contains("plimsoll_rule_group_"))
    });
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool.stdin.take().expect("piped").write_all(page.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
