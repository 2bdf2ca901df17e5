//! Limits that are zero, not a number or infinite mean "no limit": the shipped rules say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::{FakeAlertmanager, Home, Page, Plan, wait_until};

/// Values that cAdvisor, or a page that passes for one, may give for a limit that is none, and what
/// may be said of a tenant's container with them: that it is not limited as its plan says.
const NO_LIMITS: [(&str, &[&str]); 5] = [
    ("0", &["TenantWithoutLimit", "TenantWithoutCpuLimit"]),
    ("NaN", &["TenantWithoutCpuLimit"]),
    ("-1", &["TenantWithoutCpuLimit"]),
    ("+Inf", &["PlanMemoryLimitDrift", "PlanCpuLimitDrift"]),
    ("18446744073709551615", &["PlanMemoryLimitDrift", "PlanCpuLimitDrift"]),
];

/// A container at a gigabyte, in the names of cAdvisor, with this memory limit and CPU quota.
fn container(name: &str, memory_limit: &str, quota: &str) -> String {
    let labels = format!("{{id=\"/docker/{name}\",image=\"i\",name=\"{name}\"}}");
    let series = [
        ("container_last_seen", "1.8e9"),
        ("container_start_time_seconds", "1.7e9"),
        ("container_memory_usage_bytes", "1e9"),
        ("container_memory_working_set_bytes", "1e9"),
        ("container_spec_memory_limit_bytes", memory_limit),
        ("container_spec_cpu_quota", quota),
        ("container_spec_cpu_period", "100000"),
        ("container_cpu_usage_seconds_total", "1000"),
        ("container_cpu_cfs_periods_total", "1000"),
        ("container_cpu_cfs_throttled_periods_total", "1000"),
    ];
    series.iter().map(|(metric, value)| format!("{metric}{labels} {value}\n")).collect()
}

/// The shipped rules without their `for`, so that what is true once is told at once.
fn eager_rules(home: &Home) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    for name in ["containers.yml", "m2.yml", "plimsoll.yml"] {
        let text = std::fs::read_to_string(shipped.join(name)).expect(name);
        let eager: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
        assert!(eager.len() < text.lines().count(), "{name} has no `for` any more");
        home.write(&format!("rules-{name}"), &eager.join("\n"));
    }
}

#[test]
fn a_limit_that_is_none_raises_no_alarm() {
    let mut text = container("limited", "1073741824", "50000");
    for (none, _) in NO_LIMITS {
        text += &container(&format!("free:{none}"), none, none);
    }
    let page = Page::new(&text);
    let alertmanager = FakeAlertmanager::start();
    let plan = Plan {
        rules: "{record: unused, expr: vector(1)}".to_owned(),
        alertmanagers: vec![alertmanager.address()],
        more: "plans: {free: {mem_limit: 1g, cpu_limit: 0.5}}\n\
               tenants: [{match: {name: '.+'}, tenant: acme, plan: free, role: app}]\n"
            .to_owned(),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("cadvisor", page.address(), ""));
    eager_rules(&home);
    let _process = home.start();

    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut expect = |name: String, alerts: &[&str]| {
        expected.insert(name, alerts.iter().map(|alert| (*alert).to_owned()).collect());
    };
    expect("limited".to_owned(), &["TenantMemoryNearLimit", "TenantMemoryWillOom"]);
    for (none, told) in NO_LIMITS {
        expect(format!("free:{none}"), told);
    }
    let told = || {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for alert in alertmanager.alerts() {
            let label = |name: &str| alert["labels"][name].as_str().map(str::to_owned);
            if let (Some(name), Some(alert)) = (label("name"), label("alertname")) {
                told.entry(name).or_default().insert(alert);
            }
        }
        told
    };
    // More alarms than expected are seen below; here only that those expected come.
    let is_told = |(name, alerts): (&String, &BTreeSet<String>)| {
        told().get(name).is_some_and(|told| told.is_superset(alerts))
    };
    wait_until("what is true is told", 20, || expected.iter().all(is_told));
    page.wait_for_scrapes(4);
    assert_eq!(told(), expected);
    assert!(!home.log().contains("a rule cannot be evaluated"), "a rule failed on such a limit");
    let page = home.get("/metrics");
    let failures = |line: &&str| line.starts_with("prometheus_rule_evaluation_failures_total{");
    assert!(page.lines().filter(failures).count() > 0, "failures are counted");
    assert!(page.lines().filter(failures).all(|line| line.ends_with(" 0")), "{page}");
}
