//! `replay` over recordings that are not whole, and under configurations that name others' documents.

use super::*;

const CONFIG: &str = "global: {scrape_interval: 10s, evaluation_interval: 10s}\nhost: h\nscrape_configs: []\n\
                      tenants: [{match: {name: 'acme-.*'}, tenant: acme, plan: pro, role: app}]\n";
const T0: i64 = 1_795_312_440;

/// What `replay` says of a folder, with its exit code.
fn replayed(dir: &Path, config: &str, more: &[&str]) -> (u8, serde_json::Value, String) {
    let dir = dir.display().to_string();
    let ran = run(&[&["replay", &dir, "--config", config, "--format", "json"], more].concat());
    let said = serde_json::from_str(&ran.out).unwrap_or_default();
    (ran.code, said, ran.err)
}

fn problems(said: &serde_json::Value) -> Vec<&str> {
    let all = said["a"]["problems"].as_array().expect("a list");
    all.iter().map(|problem| problem.as_str().expect("text")).collect()
}

#[test]
fn a_gap_is_one_problem_however_long() {
    let (dir, write) = folder();
    let config = write("plimsoll.yaml", CONFIG);
    let scrapes = |seconds: &[i64]| {
        seconds.iter().for_each(|s| drop(write(&format!("{}.txt", (T0 + s) * 1000), "a 1\n")));
    };
    scrapes(&[0, 10, 20, 30, 60, 70, 80, 90, 100]);
    let (code, said, _) = replayed(dir.path(), &config, &[]);
    assert_eq!((code, problems(&said).len()), (1, 1), "{said}");
    let want =
        "no scrape was recorded between 2026-11-22T01:54:30.000Z and 2026-11-22T01:55:00.000Z";
    assert!(problems(&said)[0].contains(want), "{said}");
    // A clock that was wrong: before it was set, and for a while since.
    let century = 100 * 365 * 86_400;
    scrapes(&[-T0, 10 - T0, century, century + 10]);
    let (code, said, _) = replayed(dir.path(), &config, &[]);
    let found = problems(&said);
    assert_eq!((code, found.len()), (1, 3), "{found:?}");
    assert!(found.iter().filter(|why| why.contains("had been off")).count() == 2, "{found:?}");
}

/// What is left in a folder that a running recorder prunes, or that a crash has left.
#[test]
fn what_cannot_be_read_is_told_and_costs_no_replay() {
    let (dir, write) = folder();
    let config = write("plimsoll.yaml", CONFIG);
    fs::create_dir_all(dir.path().join("r/whole")).expect("made");
    fs::create_dir_all(dir.path().join("r/torn")).expect("made");
    for second in 0..6 {
        write(&format!("r/whole/{}.txt", (T0 + second * 10) * 1000), "a 1\n");
    }
    let folder = dir.path().join("r");
    assert_eq!(replayed(&folder, &config, &[]).0, 0);
    write("r/docker-events.1.jsonl", "{}\nhalf a li\n{\"\n");
    let (code, _, err) = replayed(&folder, &config, &[]);
    assert!(code == 1 && err.contains("docker-events.1.jsonl:2: "), "{code} {err}");
    assert!(err.contains("2 lines cannot be read"), "{err}");
    fs::remove_file(folder.join("docker-events.1.jsonl")).expect("gone");
    write(&format!("r/whole/{}.scrapes.gz", T0 * 1000), "half");
    let (code, _, err) = replayed(&folder, &config, &[]);
    assert!(code == 1 && err.contains("is not whole"), "{code} {err}");
    fs::remove_file(folder.join(format!("whole/{}.scrapes.gz", T0 * 1000))).expect("gone");
    write("r/torn/1.scrapes.gz", "half");
    let (code, _, err) = replayed(&folder, &config, &[]);
    assert!(code == 1 && err.contains("torn: no recorded scrape in it"), "{code} {err}");
}

#[test]
fn the_last_page_stands_where_scrapes_lay_further_apart_than_most() {
    let (dir, write) = folder();
    let config = write("plimsoll.yaml", CONFIG);
    let mut at = T0;
    for round in 0..60 {
        write(&format!("{}.txt", at * 1000), "a 1\n");
        at += if round < 40 { 5 } else { 15 };
    }
    let (code, said, _) = replayed(dir.path(), &config, &[]);
    assert_eq!((code, problems(&said)), (0, Vec::new()));
}

/// Docker tells of a kill in every container below a cgroup that is full. What the kernel did not count in this very
/// one was none of it, and only our own collector reads that.
#[test]
fn what_our_own_collector_recorded_is_its_own_in_a_replay() {
    let (dir, write) = folder();
    let config = write("plimsoll.yaml", CONFIG);
    let rules = write(
        "a.yml",
        "groups: [{name: g, rules: [{alert: A, expr: 'container_oom_events_total > 9'}]}]",
    );
    fs::create_dir_all(dir.path().join("r/eyes")).expect("made");
    let (id, seconds) = ("ab".repeat(32), T0 - 60);
    let of = format!("id=\"/docker/{id}\",name=\"acme-app\"");
    let page = format!(
        "container_start_time_seconds{{{of}}} {seconds}\ncontainer_oom_events_total{{{of}}} 0\n\
         plimsoll_container_memory_events_total{{{of},event=\"oom_kill\"}} 0\n"
    );
    for round in 0..60 {
        write(&format!("r/eyes/{}.txt", (T0 + round * 5) * 1000), &page);
    }
    let event = format!(
        "{{\"Type\":\"container\",\"Action\":\"oom\",\"Actor\":{{\"ID\":\"{id}\",\"Attributes\":\
         {{\"name\":\"acme-app\"}}}},\"time\":{0},\"timeNano\":{0}500000000}}\n",
        T0 + 100
    );
    write("r/docker-events.jsonl", &event);
    for (job, kills) in [("collector", 0), ("cadvisor", 1)] {
        write("r/eyes/target.json", &format!("{{\"job\":\"{job}\",\"instance\":\"h\"}}"));
        let (code, said, err) = replayed(&dir.path().join("r"), &config, &["--rules", &rules]);
        assert_eq!(code, 0, "{err} {said}");
        assert_eq!(said["a"]["kills"].as_array().map(Vec::len), Some(kills), "{job}: {said}");
    }
}

#[test]
fn plans_and_tenants_are_read_where_others_write_them() {
    let (dir, write) = folder();
    fs::create_dir(dir.path().join("r")).expect("made");
    filling_host(&|name, text| write(&format!("r/{name}"), text));
    let folder = dir.path().join("r");
    let rules = write("a.yml", &memory_rules("0.8"));
    let more = ["--rules", rules.as_str()];
    let head = CONFIG.lines().next().expect("a line");
    let of = |tenants: &str| {
        format!(
            "{head}\nhost: h\nscrape_configs: []\ntenants_from: {{{tenants}}}\nplans_from: {{file: p.yml}}\n"
        )
    };
    let config = write("plimsoll.yaml", &of("file: t.yml"));
    let (code, _, err) = replayed(&folder, &config, &more);
    assert!(code == 2 && err.contains("plans_from: ") && err.contains("p.yml"), "{code} {err}");
    write("p.yml", "plan_limits: {pro: {order: 1, mem_limit: 64MiB, cpu_limit: 1}}\n");
    write("t.yml", "tenants: [{tenant: acme, plan: pro, match: {name: 'acme-.*'}, role: app}]\n");
    let (code, said, err) = replayed(&folder, &config, &more);
    assert_eq!(code, 0, "{err} {said}");
    assert_eq!(said["a"]["alerts"][0]["labels"]["tenant"], "acme", "{said}");
    assert_eq!(said["a"]["actions"][0]["action"], "restart", "{said}");
    // Nobody is asked for what is at an address.
    let config = write("plimsoll.yaml", &of("url: 'http://127.0.0.1:1/tenants'"));
    let (_, said, err) = replayed(&folder, &config, &more);
    assert!(err.contains("note: tenants_from: http://127.0.0.1:1/tenants is not asked"), "{err}");
    assert_eq!(said["a"]["actions"].as_array().map(Vec::len), Some(0), "{said}");
}

/// `act` with nobody to ask is `observe`; with the local executor it is restarts and nothing else.
#[test]
fn a_replay_does_what_the_configuration_would_do() {
    let (dir, write) = folder();
    fs::create_dir(dir.path().join("r")).expect("made");
    filling_host(&|name, text| write(&format!("r/{name}"), text));
    let folder = dir.path().join("r");
    let rules = write("a.yml", &memory_rules("0.8"));
    let nobody = write("a.yaml", &format!("{CONFIG}mode: act\n"));
    let docker = "mode: act\ndocker: {}\nactions: {executor: docker}\n";
    let executor = write("b.yaml", &format!("{CONFIG}{docker}"));
    let url = "control_plane: {url: 'http://127.0.0.1:1', secret_file: s}\n";
    write("s", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    let receiver = write("c.yaml", &format!("{CONFIG}mode: act\n{url}"));
    for (config, more, how, webhooks) in [
        (&nobody, &[][..], "observed", None),
        (&nobody, &["--mode", "act"], "requested", None),
        (&executor, &[], "requested", Some(1)),
        (&executor, &["--mode", "observe"], "observed", Some(0)),
        (&receiver, &[], "requested", None),
    ] {
        let (_, said, err) =
            replayed(&folder, config, &[&["--rules", rules.as_str()], more].concat());
        assert_eq!(said["a"]["actions"][0]["how"], how, "{config} {more:?}: {err} {said}");
        let sent = said["a"]["webhooks"].as_object().expect("a map");
        let restarts = usize::from(how == "requested");
        let count = |name: &str| sent.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        assert_eq!(count("container.restart.requested") as usize, restarts, "{said}");
        assert!(webhooks.is_none_or(|count| sent.len() == count), "{config} {more:?}: {said}");
        assert_eq!(said["a"]["standing"].as_array().map(Vec::len), Some(1 - restarts), "{said}");
    }
}
