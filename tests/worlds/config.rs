//! What the engine of a world is set up with: who is who, and no more rules than guards need.

use super::mutate::Mutation;
use super::plan::Plan;

/// The configuration. Planted faults take databases for applications, or call what is enforced a plan.
pub fn text(plan: &Plan, mutation: Option<Mutation>) -> String {
    let interval = plan.interval.as_secs();
    let timeout = interval.min(30);
    let mut text = format!(
        "global: {{scrape_interval: {interval}s, scrape_timeout: {timeout}s, evaluation_interval: {interval}s}}\n\
         host: web-7\n\
         plans:\n  free: {{mem_limit: 1g, cpu_limit: 1}}\n  pro: {{mem_limit: 2g, cpu_limit: 1}}\n  \
         big: {{mem_limit: 8g, cpu_limit: 4}}\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:9093']}}]}}]}}\n"
    );
    if mutation == Some(Mutation::HideDrift) {
        text = text.replace(
            "plans:\n",
            "plans:\n  half_free: {mem_limit: 512m, cpu_limit: 1}\n  half_pro: {mem_limit: 1g, cpu_limit: 1}\n",
        );
    }
    text += "tenants:\n";
    let drifting = plan.specs.iter().filter(|spec| spec.drifts);
    for spec in drifting.filter(|_| mutation == Some(Mutation::HideDrift)) {
        let half = if spec.tenant.starts_with('f') { "half_free" } else { "half_pro" };
        text += &format!(
            "  - {{match: {{name: '{}'}}, tenant: {}, plan: {half}, role: app}}\n",
            spec.name, spec.tenant
        );
    }
    let database_is_app = mutation == Some(Mutation::DatabaseIsApp);
    for (letter, name) in [("f", "free"), ("p", "pro")] {
        for role in ["app", "worker", "db"] {
            let taken_for = if database_is_app && role == "db" { "worker" } else { role };
            text += &format!(
                "  - {{match: {{name: '({letter}[0-9]+)-{role}'}}, tenant: '$1', plan: {name}, role: {taken_for}}}\n"
            );
        }
    }
    text
}

const BY: &str = "by (host, tenant, plan, role, service, name)";

/// The rules.
pub fn rules(plan: &Plan) -> String {
    let mut text = format!(
        "groups:\n  - name: worlds\n    rules:\n\
         \x20     - {{alert: WillOom, for: 1m, labels: {{severity: critical, action: decide}}, expr: \
         'max {BY} (container_memory_working_set_bytes{{name!=\"\"}}) \
         / (max {BY} (container_spec_memory_limit_bytes{{name!=\"\"}}) > 0) >= 0.9'}}\n\
         \x20     - {{alert: OomKilled, labels: {{severity: critical, action: decide}}, expr: \
         'sum {BY} (increase(container_oom_events_total{{name!=\"\"}}[10m])) > 0'}}\n\
         \x20     - {{alert: Down, for: 1m, labels: {{severity: critical, action: none}}, expr: 'up == 0'}}\n"
    );
    if plan.interval.as_secs() <= 120 {
        text += &format!(
            "\x20     - {{alert: Slow, for: 5m, labels: {{severity: warning, action: restart}}, expr: \
             'max {BY} (app_slow{{name!=\"\"}}) == 1'}}\n\
             \x20     - {{alert: Throttled, for: 15m, labels: {{severity: warning, action: nudge}}, expr: \
             'sum {BY} (increase(container_cpu_cfs_throttled_periods_total{{name!=\"\"}}[5m])) \
             / (sum {BY} (increase(container_cpu_cfs_periods_total{{name!=\"\"}}[5m])) > 0) > 0.25'}}\n"
        );
    }
    text
}
