//! The configuration file against what operators write into it.

use super::*;
use crate::base::Labels;
use crate::policy::{FitConfig, M2Counting};
use crate::yaml::Level;

mod files;
mod measurers;
mod mistakes;

/// Every problem of a text, one a line, without the file's name.
fn check(text: &str, want: &[&str]) -> Option<Config> {
    let mut problems = Problems::default();
    let config = Config::read("p.yml", text, Path::new(""), &mut problems);
    problems.sort();
    let shown = problems.to_string().replace("p.yml:", "");
    assert_eq!(shown.lines().collect::<Vec<_>>(), want, "{text}");
    config
}

/// A configuration that scrapes and tells, with `more` in front.
fn with(more: &str) -> String {
    format!("{}container_jobs: [a]\n", unnamed(more))
}

/// The same, and nobody is named who measures containers.
fn unnamed(more: &str) -> String {
    format!(
        "{more}\n{}",
        concat!(
            "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 4s}]\n",
            "alerting: {alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]}\n",
        )
    )
}

#[test]
fn the_example_is_good_without_a_warning() {
    let text = include_str!("../../../plimsoll.example.yaml");
    let config = check(text, &[]).expect("it reads");
    assert_eq!(config.jobs.len(), 1);
    assert_eq!(config.global.external_labels, Labels::from_pairs([("region", "sg")]));
    assert_eq!(config.policy.tenants.as_ref().map(|tenants| tenants.rules.len()), Some(3));
    assert_eq!(config.storage.path.as_deref(), Some(Path::new("/var/lib/plimsoll")));
    assert!(config.groups.len() > 3, "the built-in rules load");
}

#[test]
fn the_numbers_of_judgement_are_read() {
    let text = "actions:
  nudge_episodes_within: 2w
  diagnosis: {host_memory: 0.2}
  plan_fit: {memory: 0.8, tolerated: 0.05, half_life: 1d, confidence: 0.5}
m2: {window_min: 5m, window_max: 1h, documents_min: 10}
alerting: {unknown_timeout: 2h}";
    let mut problems = Problems::default();
    let config = Config::read("p.yml", text, Path::new(""), &mut problems).expect("reads");
    let (policy, hours) = (&config.policy.policy, |n: u64| Duration::from_secs(3600 * n));
    assert_eq!(policy.limits.episodes_within, hours(14 * 24));
    assert_eq!(policy.thresholds.host_memory, 0.2);
    let fitting = FitConfig { memory: 0.8, tolerated: 0.05, half_life: hours(24), confidence: 0.5 };
    assert_eq!(policy.fitting, fitting);
    let window = Duration::from_secs(300)..=hours(1);
    assert_eq!(policy.m2_counting, M2Counting { window, documents_min: 10 });
    assert_eq!(config.alerting.unknown_timeout, Some(hours(2)));
}

#[test]
fn an_interval_too_long_for_the_built_in_rules_is_said_once_and_where_it_stands() {
    let read = |text: &str| {
        let mut problems = Problems::default();
        let text = format!("host: h\n{text}scrape_configs: [{{job_name: j}}]\n");
        assert!(Config::read("p.yml", &text, Path::new("/"), &mut problems).is_some());
        problems.to_string()
    };
    for (text, at) in [("", "1:1"), ("global: {scrape_interval: 16s}\n", "2:27")] {
        let said = read(text);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("built-in")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(
            lines[0].starts_with(&format!("p.yml:{at}: warning: the built-in rules")),
            "{said}"
        );
    }
    assert!(!read("global: {scrape_interval: 15s}\n").contains("built-in"));
    // What a window is too small for is no matter of pace.
    let said = read("global: {scrape_interval: 5s}\nwindow: {max_bytes: 1MiB}\n");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("built-in")).collect();
    let want =
        "p.yml:3:21: warning: the built-in rules look back further than this holds for 100 series";
    assert!(lines.len() == 1 && lines[0].starts_with(want), "{said}");
}

#[test]
fn the_built_in_rules_are_evaluated_often_and_own_ones_as_prometheus_does() {
    let pace = |text: &str| {
        let config = Config::read("p.yml", text, Path::new("/"), &mut Problems::default());
        config.expect("it reads").global.evaluation_interval.as_secs()
    };
    assert_eq!(pace("host: h\n"), 5);
    assert_eq!(pace("global: {scrape_interval: 5s}\n"), 5);
    assert_eq!(pace("global: {evaluation_interval: 30s}\n"), 30);
    assert_eq!(pace("rule_files: []\n"), 60);
    assert_eq!(pace("rule_files: []\nglobal: {evaluation_interval: 30s}\n"), 30);
}

#[test]
fn own_rules_that_lose_what_watches_plimsoll_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = |rules: &str, more: &str| {
        std::fs::write(dir.path().join("r.yml"), rules).expect("written");
        let text =
            format!("host: h\nrule_files: [r.yml]\n{more}scrape_configs: [{{job_name: j}}]\n");
        let mut problems = Problems::default();
        Config::read("p.yml", &text, dir.path(), &mut problems);
        let all = problems.to_string();
        all.lines().filter(|line| line.contains("built-in")).map(str::to_owned).collect::<Vec<_>>()
    };
    let alert = |name: &str, expr: &str| {
        format!("  - {{alert: {name}, expr: '{expr}', annotations: {{summary: s}}}}\n")
    };
    let of = |alerts: &[String]| format!("groups:\n- name: g\n  rules:\n{}", alerts.concat());
    let high = alert("High", "container_memory_usage_bytes > 1");
    let secret = dir.path().join("secret");
    let text = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    std::fs::write(&secret, text).expect("written");
    let asked = format!(
        "control_plane: {{url: 'http://127.0.0.1:1', secret_file: '{}'}}\n",
        secret.display()
    );

    let lost = said(&of(std::slice::from_ref(&high)), "");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].starts_with("p.yml:2:1: warning: "), "{lost:?}");
    assert!(lost[0].contains("what Watchdog, TargetDown did:"), "{lost:?}");
    let lost = said(&of(std::slice::from_ref(&high)), &asked);
    let all =
        "Watchdog, TargetDown, PlimsollOutboxStuck, PlimsollOutboxPaused, PlimsollJournalFailing";
    assert!(lost[0].contains(all), "{lost:?}");
    // Under other names they do as well.
    let watchers = [alert("DeadMan", "vector(1)"), alert("Gone", "up == 0")];
    assert_eq!(said(&of(&[&watchers[..], &[high]].concat()), ""), Vec::<String>::new());
    assert_eq!(said("groups: []\n", ""), Vec::<String>::new(), "nobody is to be told of anything");
    assert_eq!(said(include_str!("../../../rules/plimsoll.yml"), &asked), Vec::<String>::new());
}

/// Everything the example shows as a comment is what the program understands.
#[test]
fn the_examples_in_comments_are_good_too() {
    let dir = tempfile::tempdir().expect("a folder");
    for secret in ["cp", "probe", "smtp"] {
        let text = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
        std::fs::write(dir.path().join(secret), text).expect("written");
    }
    std::fs::create_dir(dir.path().join("rules")).expect("made");
    std::fs::write(dir.path().join("rules/a.yml"), "groups: []\n").expect("written");
    let text: String = include_str!("../../../plimsoll.example.yaml")
        .lines()
        .map(|line| {
            let indent = line.len() - line.trim_start().len();
            let spaces = |rest: &str| rest.len() - rest.trim_start().len();
            let opened = line.trim_start().strip_prefix('#');
            let opened = opened.filter(|rest| spaces(rest).is_multiple_of(2));
            // An even number of spaces behind the sign: a setting that is switched off.
            opened.map_or(line.to_owned(), |rest| format!("{}{rest}", " ".repeat(indent)))
        })
        .map(|line| line.replace("/run/secrets", &dir.path().display().to_string()) + "\n")
        .collect();
    let mut problems = Problems::default();
    let config = Config::read("p.yml", &text, dir.path(), &mut problems);
    assert!(problems.is_empty(), "{problems}\n{text}");
    let config = config.expect("it reads");
    assert!(config.control_plane.is_some() && config.jobs.len() == 3);
    assert_eq!(config.policy.policy.vhosts.len(), 1);
    assert_eq!(config.policy.host.as_deref(), Some("web-7"));
    assert!(config.groups.is_empty(), "named files replace the built-in rules");
}

#[test]
fn docker_is_asked_where_the_collector_is_unless_somebody_says_no() {
    let jobs = "scrape_configs: []\n";
    for (text, is_asked) in [
        ("{}", true),
        ("docker: {enabled: false}", false),
        (jobs, false),
        ("scrape_configs: []\ndocker: {}", true),
        ("scrape_configs: []\ncollector: {}", true),
        ("scrape_configs: []\ncollector: {}\ndocker: {enabled: false}", false),
    ] {
        let mut problems = Problems::default();
        let config = Config::read("p.yml", text, Path::new("."), &mut problems);
        let docker = config.map(|config| config.docker.is_some());
        assert_eq!(docker, Some(is_asked), "{text}: {problems}");
    }
}

#[test]
fn a_host_is_divided_in_one_of_three_ways() {
    for (line, place, want) in [
        ("{mode: per_tenant}", "1:18: identity.mode", "is not an identity mode"),
        ("{mode: per_host}", "identity", "needs the `tenant`"),
        ("{mode: shared, tenant: acme}", "identity", "only `per_host` takes"),
        ("{mode: per_host, tenant: a, plan: gold}", "identity.plan", "is not a plan"),
        ("{mode: per_host, tenant: a}", "tenants[0]", "the host belongs to `a`"),
        ("{mode: per_host, tenant: acme}", "", ""),
        ("{mode: shared}", "", ""),
    ] {
        let text = with(&format!(
            "identity: {line}\ntenants: [{{match: {{name: 'x-.*'}}, tenant: acme}}]"
        ));
        let mut problems = Problems::default();
        Config::read("p.yml", &text, Path::new("."), &mut problems);
        let told = problems.to_string();
        assert_eq!(problems.is_empty(), want.is_empty(), "{line}: {told}");
        assert!(told.contains(place) && told.contains(want), "{line}: {told}");
    }
}

#[test]
fn stages_are_steps_of_the_resource_plan() {
    for (line, want) in
        [("[redis, docker_limits]", Some(2)), ("[]", Some(0)), ("[docker_limit]", None)]
    {
        let mut problems = Problems::default();
        let text = with(&format!("stages: {line}"));
        let read = Config::read("p.yml", &text, Path::new("."), &mut problems);
        let told = problems.to_string();
        let stages = read.and_then(|config| config.policy.policy.stages);
        assert_eq!(stages.filter(|_| told.is_empty()).map(|s| s.len()), want, "{line}: {told}");
        assert_eq!(told.contains("docker_limits"), want.is_none(), "{line}: {told}");
    }
}

#[test]
fn all_problems_come_at_once_in_order_with_place_and_suggestion() {
    check(
        &with(
            "mode: obey\nwep: {listen: x}\nweb: {listen: nine}\nplans: {pro: {mem_limit: 1x, cpu_limit: 1}}\n\
             tenants: [{match: {name: '('}, tenant: a, plan: prro}]\nwindow: {max_series: -1}",
        ),
        &[
            "1:7: mode: `obey` is not a mode; write `observe`, `notify` or `act`",
            "2:1: unknown key `wep`; did you mean `web`?",
            "3:15: web.listen: `nine` is not an address and port; write for example `127.0.0.1:9469`",
            "4:26: plans.pro.mem_limit: `1x` is not a size; write for example `512m` or `64MiB` (units are powers of 1024)",
            "5:26: tenants[0].match.name: error parsing regexp: missing closing ): `(`",
            "5:49: tenants[0].plan: `prro` is not a plan; did you mean `pro`?",
            "6:22: window.max_series: `-1` is not a whole number between 0 and 18446744073709551615",
        ],
    );
}

#[test]
fn the_local_executor_is_for_hosts_that_act_and_have_no_control_plane() {
    let cases: [(&str, &[&str]); 5] = [
        ("mode: act\nactions: {executor: docker}\ndocker: {}", &[]),
        (
            "mode: act\nactions: {executor: docker}",
            &[
                "2:1: `executor: docker` needs to know where Docker listens; write the section `docker`",
            ],
        ),
        (
            "mode: act\nactions: {executor: docker}\ndocker: {}\ncontrol_plane: {url: 'http://127.0.0.1/', secret_file: none}",
            &[
                "2:1: `executor: docker` is for hosts without a Control Plane, and there is one; remove `executor`, or the section `control_plane`: two would restart",
                "4:56: cannot read `none`: No such file or directory (os error 2); webhooks cannot be sent like this",
            ],
        ),
        (
            "actions: {executor: docker}\ndocker: {}",
            &[
                "1:1: warning: `executor: docker` restarts nothing in this mode; write `mode: act`, or `actions: {restart: act}`",
            ],
        ),
        (
            "mode: act\nactions: {executor: podman}",
            &[
                "1:1: warning: actions are to be sent, and there is no one to send them to; write the section `control_plane`, or `mode: observe`",
                "2:21: actions.executor: `podman` is not known here; known: none, docker",
            ],
        ),
    ];
    for (more, want) in cases {
        check(&with(more), want);
    }
}

#[test]
fn settings_that_do_not_go_together_are_told() {
    let cases: [(&str, &[&str]); 7] = [
        (
            "mode: act",
            &[
                "1:1: warning: actions are to be sent, and there is no one to send them to; write the section `control_plane`, or `mode: observe`",
            ],
        ),
        (
            "actions: {restart: notify}",
            &[
                "1:1: warning: actions are to be sent, and there is no one to send them to; write the section `control_plane`, or `mode: observe`",
            ],
        ),
        (
            "web: {listen: '0.0.0.0:9469', enable_lifecycle: true}",
            &[
                "1:1: warning: whoever reaches this address may reload the configuration and drop webhooks: the API has no login; listen on 127.0.0.1, or keep `enable_lifecycle: false`",
            ],
        ),
        ("web: {listen: '0.0.0.0:9469'}", &[]),
        (
            "control_plane: {url: 'http://cp.example.com/', secret_file: /nonexistent}",
            &[
                "1:22: control_plane.url: plain http is for loopback only; use https for `http://cp.example.com`; webhooks cannot be sent like this",
            ],
        ),
        (
            "control_plane: {url: 'http://127.0.0.1/', secret_file: /x, timeout: 1m}",
            &[
                "1:56: cannot read `/x`: No such file or directory (os error 2); webhooks cannot be sent like this",
                "1:69: control_plane.timeout: an attempt that has not ended after 1m is given up for lost; write less than 1m; the default is 15s",
            ],
        ),
        (
            "control_plane: {url: 'http://127.0.0.1/', secret_file: /nonexistent}",
            &[
                "1:56: cannot read `/nonexistent`: No such file or directory (os error 2); webhooks cannot be sent like this",
            ],
        ),
    ];
    for (more, want) in cases {
        check(&with(more), want);
    }
    check(
        "rule_files: []\nscrape_configs: []\n",
        &[
            "2:1: warning: nothing is scraped: every rule will be silent; write the section `collector`, or name cAdvisor under `scrape_configs`",
        ],
    );
    check(
        "collector: {}\nscrape_configs: [{job_name: cAdvisor}]\nrule_files: []\n",
        &[
            "1:1: warning: the collector and a job called cadvisor measure the same containers: every sum over them counts twice; keep one of the two; a cAdvisor of another host belongs to that host's plimsoll",
        ],
    );
    check(
        "scrape_configs: [{job_name: a}]\nglobal: {scrape_interval: 5s, scrape_timeout: 5s}\n",
        &[
            "1:1: warning: there are alerting rules and no Alertmanager: alerts show in the API only; name one under `alerting.alertmanagers`",
        ],
    );
    check(
        "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 5s}]\nalerting: {alertmanagers: [{static_configs: [{targets: ['am:1', 'am:1']}]}]}\n",
        &[
            "2:1: alertmanagers: `http://am:1/` stands there twice; every instance gets every alert once",
        ],
    );
}

#[test]
fn problems_stand_at_the_value_that_is_wrong() {
    check(
        "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 4s, relabel_configs: [{regex: x, action: replce}]}]\n\
         alerting: {alertmanagers: [{static_configs: [{targets: ['am:1', 'http://am:2/']}]}]}\n\
         plans: {pro: {mem_limit: 1g, cpu_limit: -1}}\n",
        &[
            "1:110: scrape_configs[0].relabel_configs[0]: unknown relabel action \"replce\"; did you mean `replace`?",
            "2:65: alerting.alertmanagers[0].static_configs[0]: `http://am:2/` is not an address: scheme and path have keys of their own; write `host:port`",
            "3:41: plans.pro.cpu_limit: `-1` must be above 0",
        ],
    );
}

#[test]
fn a_mapping_that_never_counts_is_told() {
    let entry =
        |name: &str, tenant: &str| format!("- {{match: {{name: '{name}'}}, tenant: {tenant}}}\n");
    let said = |second: String| {
        let text = format!(
            "scrape_configs: [{{job_name: a}}]\ntenants:\n{}{second}",
            entry("a-.*", "acme")
        );
        let mut problems = Problems::default();
        let _ = Config::read("p.yml", &text, Path::new(""), &mut problems);
        problems.iter().map(ToString::to_string).find(|told| told.contains("never counts"))
    };
    let told = said(entry("a-.*", "globex")).expect("told");
    assert!(
        told.starts_with("p.yml:3:3: warning: tenants: {name=\"a-.*\"} is `acme`'s, so"),
        "{told}"
    );
    assert_eq!(said(entry("a-.*", "acme")), None, "twice the same does no harm");
    assert_eq!(said(entry("a-1", "globex")), None, "order may be meant");
}

#[test]
fn a_window_that_holds_nothing_is_a_mistake() {
    for (text, want) in [
        ("{max_bytes: 64}", "1:21: window.max_bytes: a window needs at least 1MiB"),
        ("{max_bytes: 0}", "1:21: window.max_bytes: a window needs at least 1MiB"),
        ("{max_series: 0}", "1:22: window.max_series: a window of no series holds nothing"),
        ("{max_bytes: 1MiB, max_series: 1}", ""),
    ] {
        let mut problems = Problems::default();
        Config::read("p.yml", &format!("window: {text}"), Path::new(""), &mut problems);
        let told = problems.to_string();
        assert_eq!(problems.has_errors(), !want.is_empty(), "{text}: {told}");
        assert!(told.contains(want), "{text}: {told}");
    }
}

/// A password that makes an address none is still a password.
#[test]
fn an_address_that_may_hold_a_password_is_not_repeated() {
    for text in [
        "control_plane: {url: 'https://u:p#ss@host/', secret_file: s}",
        "plans_from: {url: 'https://u:p#ss@host/'}",
        "plans_from: {url: 'ftp://u:p#ss@host/'}",
        "plans_from: {url: 'http://u:p#ss@a[b/'}",
        "plans_from: {url: 'http://u:p#ss@a%zz/'}",
        "web: {external_url: 'https://u:p#ss@host/'}",
        "docker: {host: 'tcp://u:p#ss@host:1'}",
        "docker: {host: 'npipe://u:p#ss@host:1'}",
        "docker: {host: 'unix://u:p#ss@host'}",
    ] {
        let mut problems = Problems::default();
        Config::read("p.yml", text, Path::new(""), &mut problems);
        let told = problems.to_string();
        assert!(problems.has_errors() && !told.contains("p#ss"), "{text}: {told}");
    }
}

#[test]
fn docker_is_asked_where_the_collector_is_on() {
    let mut problems = Problems::default();
    for (text, want) in [
        (DEFAULTS, Some("unix:///var/run/docker.sock")),
        ("collector: {}", Some("unix:///var/run/docker.sock")),
        ("docker: {host: 'unix:///run/podman.sock'}", Some("unix:///run/podman.sock")),
        ("scrape_configs: [{job_name: a}]", None),
        ("scrape_configs: [{job_name: a}]\ndocker: {}", Some("unix:///var/run/docker.sock")),
    ] {
        let config = Config::read("p.yml", text, Path::new(""), &mut problems).expect(text);
        assert_eq!(config.docker.map(|docker| docker.host).as_deref(), want, "{text}");
    }
}

#[test]
fn a_fragment_of_prometheus_is_taken_and_what_is_lost_is_said() {
    let text = "\
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files: []
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['localhost:9100']}]
    relabel_configs: [{source_labels: [__address__], target_label: host}]
alerting:
  alertmanagers:
    - static_configs: [{targets: ['localhost:9093']}]
remote_write: [{url: 'http://mimir/api/v1/push'}]
storage: {tsdb: {out_of_order_time_window: 30m}}
";
    let config = check(
        text,
        &[
            "12:1: warning: `remote_write` is not supported: samples are not sent on",
            "13:11: warning: storage: `tsdb` is not supported: plimsoll keeps no time series on disk",
        ],
    );
    assert_eq!(config.expect("it reads").jobs[0].relabel.len(), 1);
}

#[test]
fn what_rules_may_use_is_said_under_promql() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: 'mad_over_time(v[1m])'}]}]\n";
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("r.yml");
    std::fs::write(&path, rules).expect("written");
    let text = |promql: &str| with(&format!("{promql}rule_files: ['{}']\n", path.display()));
    let mut problems = Problems::default();
    Config::read("p.yml", &text(""), Path::new(""), &mut problems);
    let said = problems.to_string();
    assert!(
        said.contains("1:47: ") && said.contains("function \"mad_over_time\" is not enabled; ")
    );
    assert!(said.contains("set `promql.experimental_functions: true`"), "{said}");
    let on = "promql: {experimental_functions: true, delayed_name_removal: true}\n";
    let config = check(&text(on), &[]).expect("it reads");
    assert_eq!(config.groups[0].rules.len(), 1);
    assert!(config.promql.experimental_functions && config.promql.delayed_name_removal);
    let setup = crate::app::engine_setup(&config, "h");
    assert_eq!(setup.eval.features, config.promql);
    let promql = "promql: {experimental: true}";
    check(
        &with(promql),
        &["1:10: promql: unknown key `experimental`; known keys: experimental_functions, \
           delayed_name_removal"],
    );
}

#[test]
fn a_host_may_be_on_a_plan_that_a_document_will_name() {
    let host = "identity: {mode: per_host, tenant: acme, plan: starter}\nrule_files: []\n";
    check(&with(&format!("{host}plans_from: {{file: plans.yml}}")), &[]);
    let unknown = "1:48: identity.plan: `starter` is not a plan; write it under `plans`";
    check(&with(host), &[unknown]);
}

#[test]
fn a_window_names_plans_and_tenants_that_there_are() {
    let calendar = "rule_files: []\ncalendar:\n- {name: a, kind: maintenance, cron: '0 3 * * *', \
                    duration: 1h,\n  tenants: [acem],\n  plans: [por]}\n";
    let rules = "tenants: [{match: {name: 'x'}, tenant: acme, role: app}]\n";
    let plan = "5:11: calendar[0].plans[0]: `por` is not a plan; did you mean `pro`?";
    let tenant = "4:13: warning: calendar[0].tenants[0]: no tenant is called `acem` under \
                  `tenants`; did you mean `acme`?";
    check(&with(&format!("{calendar}{rules}")), &[tenant, plan]);
    let open = [
        rules.replace("tenant: acme", "tenant: $1").replace("'x'", "'(.*)-app'"),
        format!("{rules}trust_labels: true\n"),
        format!("{rules}tenants_from: {{file: t.yml}}\n"),
        String::new(),
    ];
    for rules in open {
        check(&with(&format!("{calendar}{rules}")), &[plan]);
    }
}
