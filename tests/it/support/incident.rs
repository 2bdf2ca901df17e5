//! A night to look back at: the program with a recorder, an alert that fired and ended.

use super::{Home, Page, Plan, Process, query, wait_until};

const RULES: &str = "{record: 'c:ratio', expr: 'max by (name, tenant) (container_memory_working_set_bytes) / \
     on (name, tenant) max by (name, tenant) (container_spec_memory_limit_bytes > 0)'}, \
     {alert: High, for: 4s, labels: {action: advise, severity: warning}, \
     expr: 'c:ratio > 0.9 unless on (name) time() - container_start_time_seconds < 300', \
     annotations: {summary: \"{{ $labels.name }}: {{ $value | humanizePercentage }} of {{ with printf \
     `container_spec_memory_limit_bytes{name='%s'}` $labels.name | query }}{{ . | first | value }}{{ end }}\"}}, \
     {record: 'c:high', expr: 'c:ratio > bool 0.9'}, \
     {alert: Steps, labels: {action: none}, expr: 'sum_over_time((c:ratio > bool 0.9)[3s:1s]) >= 3'}, \
     {alert: Recorded, labels: {action: none}, expr: 'min_over_time(c:high[3s]) > 0'}, \
     {alert: Counted, labels: {action: none}, expr: 'count_over_time(c:high[3s]) and c:high == 1', \
     annotations: {summary: '{{ $value }} of them'}}, \
     {alert: Away, labels: {action: none}, expr: 'absent(container_last_seen{name=\"acme-web\"})'}";

/// Told beside `High`: what a step at the edge of a range makes a difference to, before Prometheus 3 and
/// since, and what fires on absence.
pub const BESIDE: [&str; 4] = ["Steps", "Recorded", "Counted", "Away"];

/// One container that climbs, and is not seen while it is high, and one beside it that does not climb.
fn page(bytes: u32) -> String {
    let seen = if bytes > 90 { "" } else { "container_last_seen{name=\"acme-web\"} 1\n" };
    format!(
        "{seen}container_memory_working_set_bytes{{name=\"acme-web\"}} {bytes}\n\
         container_spec_memory_limit_bytes{{name=\"acme-web\"}} 100\n\
         container_start_time_seconds{{name=\"acme-web\"}} 1700000000\n\
         container_memory_working_set_bytes{{name=\"beta-web\"}} 20\n\
         container_spec_memory_limit_bytes{{name=\"beta-web\"}} 100\n"
    )
}

/// A program that has told one incident of `High`, and goes on.
pub fn an_incident() -> (Home, Process, Page) {
    let target = Page::new(&page(50));
    let plan = Plan {
        rules: RULES.to_owned(),
        more: "host: web-7\nrecorder: {path: recordings}\n\
               tenants: [{match: {name: '([a-z]+)-.*'}, tenant: '$1', role: app}]\n\
               window: {retention: 10m, keep: ['container_.*']}\n"
            .to_owned(),
        ..Plan::default()
    };
    let home = Home::new(&plan.job("t", target.address(), "scrape_interval: 1s"));
    let process = home.start();
    let firing = || home.get("/api/v1/alerts").matches("\"state\":\"firing\"").count();
    target.wait_for_scrapes(3);
    target.set(&page(95));
    wait_until("High and the others fire", 20, || firing() == 1 + BESIDE.len());
    target.wait_for_scrapes(3);
    target.set(&page(50));
    wait_until("they end", 20, || firing() == 0);
    target.wait_for_scrapes(2);
    assert_eq!(query(home.address(), "c:ratio").len(), 2);
    (home, process, target)
}
