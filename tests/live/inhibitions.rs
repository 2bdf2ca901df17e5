//! The shipped Alertmanager file under a real Alertmanager: every inhibition mutes what it should, and nothing else.
//!
//! Each shipped alert meets each other one, about the same subject and about another one, in pairs that share a host
//! with nobody else. What Alertmanager then calls inhibited has to be what is written here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use plimsoll::promql::ParseOptions;
use plimsoll::rules::{self, Action, RuleKind};
use serde_json::{Value, json};

use crate::peers::Alertmanager;
use crate::support::client::get;
use crate::support::wait_until;

/// What mutes what, about one subject. `TargetDown` and `M2BudgetInputsMissing` stand with their target and with what
/// is missing.
const MUTED: [(&str, &str); 12] = [
    ("ContainerOomKilled", "TenantMemoryExhaustionSoon"),
    ("ContainerOomKilled", "TenantMemoryNearLimit"),
    ("SharedNodeMemoryPressure", "TenantCpuThrottled"),
    ("TargetDown cadvisor", "CadvisorSeesNoContainer"),
    ("TargetDown cadvisor", "M2BudgetInputsMissing machine_memory_bytes"),
    ("TargetDown m2", "M2BudgetInputsMissing m2_pagefx_complete_total"),
    ("TenantCpuThrottled", "TenantCpuThrottledBursty"),
    ("TenantMemoryWillOom", "TenantMemoryExhaustionSoon"),
    ("TenantMemoryWillOom", "TenantMemoryNearLimit"),
    ("TenantWithoutLimit", "MemswapNotEqualLimit_cgroup1"),
    ("TenantWithoutLimit", "MemswapNotEqualLimit_cgroup2"),
    ("TenantWithoutLimit", "PlanMemoryLimitDrift"),
];

/// What mutes what on one host, whatever else it is about.
const MUTED_ON_THE_HOST: [(&str, &str); 3] = [
    ("SharedNodeMemoryPressure", "TenantCpuThrottled"),
    ("TargetDown cadvisor", "M2BudgetInputsMissing machine_memory_bytes"),
    ("TargetDown m2", "M2BudgetInputsMissing m2_pagefx_complete_total"),
];

/// An alert as the tables above call it, with the labels its rule gives it.
struct Shipped {
    called: String,
    labels: Vec<(String, String)>,
}

/// The labels that a rule's result has beside `host`: of a container, of a target, or of a virtual host.
fn subject(alert: &str, is_other: bool) -> Vec<Vec<(&'static str, &'static str)>> {
    let pick = |one, other| if is_other { other } else { one };
    let vhost = ("vhost", pick("a.example.com", "b.example.com"));
    let (instance, job) = (("instance", pick("127.0.0.1:1", "127.0.0.1:2")), "job");
    match alert {
        "TargetDown" => ["cadvisor", "m2", "node"].map(|of| vec![instance, (job, of)]).to_vec(),
        "CadvisorSeesNoContainer" => vec![vec![instance, (job, "cadvisor")]],
        "M2BudgetInputsMissing" => ["m2_pagefx_complete_total", "machine_memory_bytes"]
            .map(|missing| vec![("missing", missing), vhost])
            .to_vec(),
        _ if alert.starts_with("M2") => vec![vec![vhost]],
        _ if ["Tenant", "Container", "Plan", "Memswap"].iter().any(|of| alert.starts_with(of)) => {
            let tenant = ("tenant", pick("acme", "globex"));
            vec![vec![tenant, ("name", pick("acme-app", "globex-app")), ("plan", "pro")]]
        }
        _ => vec![Vec::new()],
    }
}

/// Every alert of the shipped rules, about one subject or another.
fn shipped(is_other: bool) -> Vec<Shipped> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("a shipped file");
    let files = ["rules/containers.yml", "rules/m2.yml", "rules/plimsoll.yml"];
    let texts = files.map(|name| (name.to_owned(), read(name)));
    let (groups, problems) = rules::load(&texts, &ParseOptions::default());
    assert!(!problems.has_errors(), "{problems}");
    let mut found = Vec::new();
    for rule in groups.into_iter().flat_map(|group| group.rules) {
        let RuleKind::Alert(alert) = rule.kind else { continue };
        for own in subject(&alert.name, is_other) {
            let variant = own.iter().find(|(name, _)| ["missing", "job"].contains(name));
            let variant = variant.filter(|_| alert.name != "CadvisorSeesNoContainer");
            let called = [Some(alert.name.as_str()), variant.map(|(_, value)| *value)];
            let mut labels = rule.labels.clone();
            labels.push(("alertname".to_owned(), alert.name.clone()));
            labels.extend(own.iter().map(|(name, value)| ((*name).into(), (*value).into())));
            found.push(Shipped {
                called: called.into_iter().flatten().collect::<Vec<_>>().join(" "),
                labels,
            });
        }
    }
    let nudges = groups_of_nudges(&texts);
    assert_eq!(nudges, ["TenantCpuThrottled"], "each belongs into the tables");
    found
}

/// The alerts that ask for a nudge.
fn groups_of_nudges(texts: &[(String, String)]) -> Vec<String> {
    let (groups, _) = rules::load(texts, &ParseOptions::default());
    let rules = groups.into_iter().flat_map(|group| group.rules);
    let alerts = rules.filter_map(|rule| match rule.kind {
        RuleKind::Alert(alert) if alert.action == Action::Nudge => Some(alert.name),
        _ => None,
    });
    alerts.collect()
}

/// Every pair, each on a host of its own.
fn pairs(is_other: bool) -> Vec<Value> {
    let (sources, targets) = (shipped(false), shipped(is_other));
    let mut alerts = Vec::new();
    for source in &sources {
        for target in targets.iter().filter(|target| target.labels != source.labels) {
            let host = format!("{}|{}|{is_other}", source.called, target.called);
            for (alert, is_target) in [(source, "false"), (target, "true")] {
                let mut labels: serde_json::Map<String, Value> = serde_json::Map::new();
                let own = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let all = own.chain([("host", host.as_str()), ("is_target", is_target)]);
                labels.extend(all.map(|(name, value)| (name.to_owned(), json!(value))));
                alerts.push(json!({ "labels": labels }));
            }
        }
    }
    alerts
}

/// Which pairs it mutes, as `source|target|is_other`; `None` before it knows all of them.
fn muted(address: SocketAddr, all: usize) -> Option<BTreeSet<String>> {
    let alerts: Value = serde_json::from_str(&get(address, "/api/v2/alerts")?).expect("JSON");
    let alerts = alerts.as_array().expect("a list");
    let inhibited = |alert: &&Value| {
        let by = alert["status"]["inhibitedBy"].as_array();
        by.is_some_and(|by| !by.is_empty()) && alert["labels"]["is_target"] == "true"
    };
    let host = |alert: &Value| alert["labels"]["host"].as_str().unwrap_or_default().to_owned();
    (alerts.len() == all).then(|| alerts.iter().filter(inhibited).map(host).collect())
}

#[test]
fn every_inhibition_mutes_what_it_should_and_nothing_else() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("alertmanager/alertmanager.yml");
    let alertmanager = Alertmanager::with(&std::fs::read_to_string(file).expect("shipped"));
    let alerts = [pairs(false), pairs(true)].concat();
    for some in alerts.chunks(1000) {
        assert_eq!(alertmanager.tell(some), Some(200));
    }
    let named = |(source, target): &(&str, &str), is_other| format!("{source}|{target}|{is_other}");
    let want: BTreeSet<String> = MUTED
        .iter()
        .map(|pair| named(pair, false))
        .chain(MUTED_ON_THE_HOST.iter().map(|pair| named(pair, true)))
        .collect();
    let mut found = BTreeSet::new();
    wait_until("Alertmanager knows all of them", 60, || {
        muted(alertmanager.address, alerts.len()).map(|muted| found = muted).is_some()
    });
    let too_many: Vec<_> = found.difference(&want).collect();
    let too_few: Vec<_> = want.difference(&found).collect();
    assert!(
        too_many.is_empty() && too_few.is_empty(),
        "too many {too_many:?}, too few {too_few:?}"
    );
}
