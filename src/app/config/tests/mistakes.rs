//! What can only be a mistake: it is told once, where it stands.

use super::*;

/// Each was good, and none of them did what it says.
#[test]
fn what_can_only_be_a_mistake_is_told_where_it_stands() {
    assert_told(&[
        ("plans_from: {url: 'http://u:pw@h/p'}", "1:19: plans_from.url: holds credentials"),
        ("tenants_from: {url: 'http://u@h/p'}", "1:21: tenants_from.url: holds credentials"),
        (
            "control_plane: {url: 'https://u:pw@h/p', secret_file: s}",
            "1:22: control_plane.url: holds credentials; write them under `bearer_token_file`",
        ),
        ("actions: {kill_switch_file: ''}", "1:29: actions.kill_switch_file: is empty"),
        (
            "plans: {a: {mem_limit: 1g, cpu_limit: 1}}\nplan_limits: {a: {mem_limit: 1g, cpu_limit: 1}}",
            "2:1: `plans` and `plan_limits` are two names of one section",
        ),
        (
            "tenants: [{match: {name: a}, tenant: a, role: ap}]",
            "1:47: warning: tenants[0].role: `ap` is a role without a meaning",
        ),
        ("tenants: [{match: {name: a}, tenant: a, role: cron}]", ""),
        ("host: ''", "1:7: host: is empty; write a name, or leave the key out"),
        ("host: ' '", "1:7: host: is empty"),
        ("host: \"a\\nb\"", "1:7: host: has a control character"),
        ("identity: {mode: per_host, tenant: ''}", "1:36: identity.tenant: is empty"),
        ("mail: {smtp_host: '', from: a@b.c, to: [d@e.f]}", "1:19: mail.smtp_host: is empty"),
        (
            "calendar: [{name: '', kind: maintenance, cron: '0 3 * * *', duration: 1h}]",
            "1:19: calendar[0].name: is empty",
        ),
        ("container_jobs: [x]", "1:1: no job is called `x`; write it under `scrape_configs`"),
        ("web: {external_url: 'https://u:pw@host/'}", "1:21: web.external_url: holds credentials"),
        ("web: {external_url: 'https://host/'}", ""),
        ("tenants: [{match: {name: a}, tenant: a, role: api}]", ""),
        ("tenants: [{match: {name: a}, tenant: a, role: mq}]", ""),
        (
            "tenants: [{match: {name: a}, tenant: a, role: bd}]",
            "1:47: warning: tenants[0].role: `bd` is a role without a meaning",
        ),
    ]);
}

#[test]
fn a_number_that_can_only_be_a_slip_is_told_with_what_may_stand_there() {
    assert_told(&[
        (
            "plans_from: {file: a, refresh_interval: 1ms}",
            "1:41: plans_from.refresh_interval: 1ms is too short; write 100ms to 1d",
        ),
        (
            "control_plane: {url: 'https://h/p', secret_file: s, heartbeat_interval: 1ms}",
            "1:73: control_plane.heartbeat_interval: 1ms is too short; write 1s to 1d",
        ),
        (
            "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.yml], refresh_interval: 1ms}]}]",
            "1:85: scrape_configs[0].file_sd_configs[0].refresh_interval: 1ms is too short; write 100ms to 1d",
        ),
        (
            "actions: {nudge_episodes_within: 1ms}",
            "1:34: actions.nudge_episodes_within: 1ms is too short; write 1h to 30d",
        ),
        (
            "actions: {plan_fit: {half_life: 1y}}",
            "1:33: actions.plan_fit.half_life: 1y is too long; write 1h to 30d",
        ),
        (
            "actions: {plan_fit: {memory: 1.1}}",
            "1:30: actions.plan_fit.memory: 1.1 is not a share; write a number from 0 to 1",
        ),
        (
            "actions: {plan_fit: {tolerated: 0}}",
            "1:33: actions.plan_fit.tolerated: nothing is below 0; write a number above 0, up to 1",
        ),
        ("actions: {plan_fit: {confidence: 2}}", "1:34: actions.plan_fit.confidence: 2 is not"),
        ("actions: {diagnosis: {host_memory: 10}}", "1:36: actions.diagnosis.host_memory: 10 is"),
        ("m2: {window_min: 1s}", "1:18: m2.window_min: 1s is too short; write 1m to 1d"),
        (
            "m2: {window_min: 1h, window_max: 30m}",
            "1:34: m2.window_max: 30m is too short; write 1h to 1d",
        ),
        ("m2: {documents_min: 0}", "1:21: m2.documents_min: no document at all has no size"),
        (
            "alerting: {unknown_timeout: 1ms}",
            "1:29: alerting.unknown_timeout: 1ms is too short; write 1m to 1d",
        ),
        ("m2: {vhosts: {a: {ttl: 0s}}}", "1:24: m2.vhosts.a.ttl: "),
    ]);
}

/// Each configuration is found fault with by a line that begins so, or not at all.
fn assert_told(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        let mut problems = Problems::default();
        Config::read("p.yml", text, Path::new(""), &mut problems);
        let shown = problems.to_string().replace("p.yml:", "");
        let told = |line: &str| line.starts_with(want);
        assert!(want.is_empty() || shown.lines().any(told), "{text}: {shown}");
        assert!(!shown.contains("pw@") && (!want.is_empty() || !shown.contains("role")), "{shown}");
    }
}

#[test]
fn an_empty_path_is_one_mistake() {
    let job = |more: &str| format!("scrape_configs: [{{job_name: a, {more}}}]");
    for (text, paths) in [
        ("plans_from: {file: ''}".to_owned(), 1),
        ("tenants_from: {file: ''}".to_owned(), 1),
        ("mail: {smtp_host: localhost, tls: none, from: a@b.c, to: [a@b.c], username: u, password_file: ''}".to_owned(), 1),
        (job("basic_auth: {username: u, password_file: ''}"), 1),
        (job("basic_auth: {username_file: '', password_file: ''}"), 2),
        (job("authorization: {credentials_file: ''}"), 1),
        (job("tls_config: {ca_file: '', cert_file: '', key_file: /dev/null}"), 2),
        ("control_plane: {url: 'https://h/', secret_file: ''}".to_owned(), 1),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("p.yml");
        std::fs::write(&path, &text).expect("written");
        let (_, problems) = Config::load(&path);
        let errors = problems.iter().filter(|problem| problem.level == Level::Error);
        let said: Vec<String> = errors.map(|problem| problem.message.clone()).collect();
        assert_eq!(said.len(), paths, "{text}: {said:?}");
        assert!(said.iter().all(|said| said.ends_with("is empty")), "{said:?}");
    }
}
