//! What is asked for, what holds it, and what becomes of it, over minutes of a host's life.

use super::*;

pub(super) const RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: WillOom
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9
    labels: {severity: critical, action: restart}
";

/// One container of a tenant: its working set in percent of its limit, and when it started.
pub(super) fn container(tenant: &str, percent: u32, started: i64) -> String {
    let labels = format!("name=\"{tenant}-1\",tenant=\"{tenant}\",role=\"app\",plan=\"pro\"");
    let started = 1_800_000_000 + started;
    format!(
        "container_memory_working_set_bytes{{{labels}}} {percent}\n\
         container_spec_memory_limit_bytes{{{labels}}} 100\n\
         container_start_time_seconds{{{labels}}} {started}\n"
    )
}

pub(super) fn world() -> World {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    World::new(RULES, policy)
}

/// A world whose rules leave the choice to policy, after eleven minutes in which memory has grown.
fn leaking(policy: PolicyConfig, outbox: OutboxConfig) -> World {
    let rules = RULES.replace("restart", "decide");
    let setup = Setup { outbox: Some(outbox), ..setup(&rules, policy) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    for slot in 0..132 {
        world.slot(Some(&container("acme", 20 + slot / 2, -9000)));
    }
    world
}

/// Slots of one page, until something is told that begins so.
pub(super) fn until(world: &mut World, page: &str, told: &str, slots: u32) -> Option<String> {
    (0..slots).find_map(|_| world.slot(Some(page)).into_iter().find(|fact| fact.starts_with(told)))
}

#[test]
fn a_restart_that_helped_is_verified_once() {
    let mut world = world();
    let high = container("acme", 95, -9000);
    assert_eq!(
        until(&mut world, &high, "decided", 3).as_deref(),
        Some("decided restart dry=false")
    );
    let low = container("acme", 30, world.second);
    assert_eq!(until(&mut world, &low, "outcome", 20).as_deref(), Some("outcome effective"));
    assert_eq!(until(&mut world, &low, "outcome", 200), None);
    let verified: Vec<_> =
        world.events.iter().filter(|event| event["type"] == "action.verified").collect();
    let [verified] = verified[..] else { panic!("{verified:?}") };
    assert_eq!(verified["data"]["verification"]["result"], "effective");
    assert_eq!(verified["data"]["service"], "acme/app");
    let asked = world.events.iter().find(|e| e["type"] == "container.restart.requested");
    let key = "container.restart.requested";
    assert!(asked.is_some(), "{key}");
}

/// Who restarts must know which incarnation was meant: names are given again.
#[test]
fn a_request_names_the_container_that_was_measured() {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let with = |id: &str| {
        let page = container("acme", 95, -9000);
        page.replace("{name", &format!("{{id=\"/docker/{id}\",image=\"web:7\",name"))
    };
    let asked = |page: &str| {
        let mut world = world();
        assert!(until(&mut world, page, "decided restart", 3).is_some());
        let asked = world.events.iter().find(|e| e["type"] == "container.restart.requested");
        asked.expect("it is sent")["data"]["evidence"]["container"].clone()
    };
    let measured = asked(&with(&one));
    assert_eq!((measured["id"].as_str(), measured["image"].as_str()), (Some(&*one), Some("web:7")));
    assert_eq!(measured["name"], "acme-1");
    let both = asked(&[with(&one), with(&two)].concat());
    assert_eq!((both.get("id"), &both["name"]), (None, &"acme-1".into()), "which of the two?");
    assert_eq!(asked(&container("acme", 95, -9000)).get("id"), None, "an exporter without ids");
}

#[test]
fn what_a_rule_finds_below_the_thresholds_of_a_diagnosis_is_nothing_wrong() {
    let rules = RULES.replace("0.9", "0.8").replace("restart", "decide");
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    for (memory, want) in
        [(0.9, "held decide: nothing_wrong"), (0.8, "held restart: missing_evidence")]
    {
        policy.thresholds.memory = memory;
        let mut world = World::new(&rules, policy.clone());
        let told = until(&mut world, &container("acme", 85, -9000), "held", 3);
        assert_eq!(told.as_deref(), Some(want));
    }
}

#[test]
fn whoever_was_away_over_the_deadline_looks_before_a_restart_is_judged() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    for (percent, want) in [(30, "outcome effective"), (95, "outcome ineffective")] {
        let mut before = World::new(RULES, policy.clone());
        assert!(until(&mut before, &container("acme", 95, -9000), "decided", 3).is_some());
        before.second += 900;
        let started = before.second - 880;
        let mut world = World::restarted(setup(RULES, policy.clone()), &before, 1);
        let told = until(&mut world, &container("acme", percent, started), "outcome", 30);
        assert_eq!(told.as_deref(), Some(want));
    }
}

#[test]
fn a_restart_that_did_not_help_reaches_a_human() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = leaking(policy, OutboxConfig::default());
    let high = container("acme", 95, -9000);
    assert!(until(&mut world, &high, "decided restart", 3).is_some());
    assert_eq!(until(&mut world, &high, "outcome", 130).as_deref(), Some("outcome ineffective"));
    assert_eq!(world.told.len(), 0);
    assert_eq!(world.events.iter().filter(|event| event["type"] == "action.failed").count(), 1);
    let advice = world.events.iter().find(|event| event["type"] == "advice.given");
    let params = &advice.expect("somebody is told")["data"]["action"]["params"];
    assert_eq!(params["escalation"], "human");
    assert_eq!(until(&mut world, &high, "decided", 500), None, "and nothing is asked again");
}

#[test]
fn trouble_that_comes_back_soon_is_a_relapse() {
    let mut world = world();
    assert!(until(&mut world, &container("acme", 95, -9000), "decided restart", 3).is_some());
    let started = world.second;
    assert!(until(&mut world, &container("acme", 30, started), "outcome effective", 20).is_some());
    let again = container("acme", 95, started);
    assert_eq!(until(&mut world, &again, "outcome", 3).as_deref(), Some("outcome relapsed"));
}

#[test]
fn many_tenants_at_once_are_one_incident_of_the_host() {
    let mut world = world();
    let page = |percent| ["a", "b", "c", "d"].map(|t| container(t, percent, -9000)).concat();
    assert_eq!(
        until(&mut world, &page(95), "held", 3).as_deref(),
        Some("held restart: host_incident")
    );
    assert_eq!(until(&mut world, &page(95), "decided", 100), None, "nobody is restarted");
    let types = world.event_types();
    assert_eq!(types.iter().filter(|kind| **kind == "host.incident.started").count(), 1);
    assert!(until(&mut world, &page(30), "host incident over", 70).is_some());
    let ended = world.events.iter().find(|event| event["type"] == "host.incident.ended");
    assert_eq!(ended.expect("is told")["data"]["incident"]["tenants_total"], 4);
}

#[test]
fn the_kill_switch_holds_everything_but_alerts() {
    let mut world = world();
    let kill = Switches { kill: true, ..Switches::default() };
    world.handle(Event::Switches(kill), None);
    let high = container("acme", 95, -9000);
    assert_eq!(until(&mut world, &high, "held", 3).as_deref(), Some("held restart: kill_switch"));
    assert_eq!(world.event_types(), ["alert.firing"]);
    world.handle(Event::Switches(Switches::default()), None);
    assert!(until(&mut world, &high, "decided restart", 2).is_some(), "the hold lifts by itself");
}

#[test]
fn nobody_is_restarted_while_the_list_of_the_busy_cannot_be_read() {
    let mut world = world();
    let unread = Switches { any_busy: true, ..Switches::default() };
    world.handle(Event::Switches(unread), None);
    let high = container("acme", 95, -9000);
    assert_eq!(until(&mut world, &high, "held", 3).as_deref(), Some("held restart: busy"));
    world.handle(Event::Switches(Switches::default()), None);
    assert!(until(&mut world, &high, "decided restart", 2).is_some());
}

#[test]
fn a_crash_forgets_no_open_question() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut before = World::new(RULES, policy.clone());
    let high = container("acme", 95, -9000);
    assert!(until(&mut before, &high, "decided restart", 3).is_some());
    let mut after = World::restarted(setup(RULES, policy), &before, 1);
    assert_eq!(until(&mut after, &high, "outcome", 140).as_deref(), Some("outcome ineffective"));
}

/// A slot of a container that waits for the CPU seven tenths of the time and is slow for it.
fn starving(world: &mut World) -> Vec<String> {
    let waited = 0.7 * (world.second + STEP_S) as f64;
    let labels = "name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"";
    let page = container("acme", 20, -9000)
        + &format!(
            "app_slow{{{labels}}} 1\ncontainer_pressure_cpu_waiting_seconds_total{{{labels}}} {waited}\n"
        );
    world.slot(Some(&page))
}

#[test]
fn a_victim_is_not_restarted_because_we_were() {
    let rules = "groups: [{name: g, rules: [{alert: Slow, expr: 'app_slow == 1', for: 5m, \
                 labels: {action: restart}}]}]";
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::new(rules, policy.clone());
    let told: Vec<String> = (0..62).flat_map(|_| starving(&mut world)).collect();
    assert_eq!(told, ["pending", "firing", "held restart: neighbour"]);
    let mut world = World::recovered(setup(rules, policy), latest(&world.rows), world.second + 60);
    let told: Vec<String> = (0..70).flat_map(|_| starving(&mut world)).collect();
    assert_eq!(told, ["held restart: missing_evidence", "held restart: neighbour"]);
}

/// An average over five minutes of which half a one was seen would be a tenth of what is used.
#[test]
fn what_is_used_of_the_cpu_counts_once_its_range_was_seen() {
    let used = |slots: u32| {
        let mut world = world();
        let slot = |world: &mut World, percent: u32| {
            let used = 0.5 * (world.second + STEP_S) as f64;
            let labels = "name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"";
            let cpu = format!("container_cpu_usage_seconds_total{{{labels}}} {used}\n");
            world.slot(Some(&(container("acme", percent, -9000) + &cpu)))
        };
        (0..slots).for_each(|_| drop(slot(&mut world, 50)));
        assert!(
            (0..3).any(|_| slot(&mut world, 95).iter().any(|told| told.starts_with("decided")))
        );
        let asked = world.events.iter().find(|e| e["type"] == "container.restart.requested");
        asked.expect("it is sent")["data"]["evidence"]["cpu_used_cores"].as_f64()
    };
    assert_eq!(used(6), None, "half a minute");
    assert_eq!(used(46), None, "not yet");
    assert!(used(62).is_some_and(|cores| (cores - 0.5).abs() < 0.01), "{:?}", used(62));
}

#[test]
fn revisions_rise_though_the_clock_was_set_back() {
    let mut world = World::new(HIGH, acting());
    let incident = |world: &mut World| {
        (0..6).for_each(|_| drop(world.slot(Some(&memory("acme-web", 95)))));
        (0..400).for_each(|_| drop(world.slot(Some(&memory("acme-web", 10)))));
    };
    incident(&mut world);
    world.skew_s = -3600;
    incident(&mut world);
    let told = std::mem::take(&mut world.events);
    let mut world = World::recovered(setup(HIGH, acting()), latest(&world.rows), world.second);
    world.events = told;
    world.skew_s = -3600;
    incident(&mut world);
    let edges = world.events.iter().filter(|event| event["data"]["status"].is_string());
    let revisions: Vec<u64> = edges.filter_map(|edge| edge["data"]["revision"].as_u64()).collect();
    assert_eq!(revisions.len(), 6);
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

#[test]
fn usage_is_observed_though_the_clock_was_set_back() {
    let mut world = world();
    let page = container("acme", 50, -9000);
    (0..30).for_each(|_| drop(world.slot(Some(&page))));
    world.skew_s = -3600;
    (0..120).for_each(|_| drop(world.slot(Some(&page))));
    let trend =
        world.engine.memory.usage.get("acme/app").expect("known").trend(Some("acme-1"), None);
    assert!(trend.bytes_per_hour.is_some(), "twelve points in twelve minutes");
}

#[test]
fn a_failed_scrape_does_not_end_the_start_grace() {
    let rules = "groups: [{name: g, rules: [{alert: Oom, labels: {action: restart}, \
                 expr: 'increase(container_oom_events_total[10m]) > 0'}]}]";
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.limits.start_grace = Duration::from_secs(300);
    let mut world = World::new(rules, policy);
    let labels = "name=\"acme-1\",tenant=\"acme\",role=\"app\",plan=\"pro\"";
    let killed = |kills: u32| {
        let kills = format!("container_oom_events_total{{{labels}}} {kills}\n");
        container("acme", 50, 0) + &kills
    };
    world.slot(Some(&killed(0)));
    let told = [world.slot(Some(&killed(1))), world.slot(None), world.slot(None)].concat();
    assert_eq!(told, ["firing", "held restart: start_grace", "held restart: stale_evidence"]);
    assert_eq!(world.slot(Some(&killed(1))), ["held restart: start_grace"]);
}

#[test]
fn an_alert_becomes_one_restart_and_its_end_is_told() {
    let mut world = World::new(HIGH, acting());
    let high = memory("acme-web", 95);
    assert_eq!(world.slot(Some(&high)), ["pending"]);
    assert_eq!(world.slot(Some(&high)), [""; 0]);
    assert_eq!(world.slot(Some(&high)), ["firing", "decided restart dry=false"]);
    assert_eq!(world.slot(Some(&high)), [""; 0], "asked once per episode");
    assert_eq!(world.slot(Some(&memory("acme-web", 10))), ["resolved"]);
    let types = ["alert.firing", "container.restart.requested", "alert.resolved"];
    assert_eq!(world.event_types(), types);
    let action = &world.events[1]["data"];
    assert_eq!(action["action"]["params"]["service"], "acme/app");
    assert_eq!(action["evidence"]["ratio"], 0.95);
    assert_eq!(
        (action["value"].as_f64(), &action["links"]),
        (Some(95.0), &serde_json::Value::Null)
    );
    let asked = ["threshold", "for_seconds"].map(|name| action["evidence"][name].as_f64());
    assert_eq!(asked, [Some(90.0), Some(10.0)]);
    assert!(action["evidence"]["expr"].as_str().is_some_and(|expr| expr.ends_with("> 90")));
    assert_eq!(action["tenant_id"], "acme");
    for _ in 0..3 {
        world.slot(Some(&high));
    }
    let held = world.slot(Some(&high));
    assert_eq!(held, [""; 0]);
    assert!(!world.event_types()[3..].contains(&"container.restart.requested"), "cool-down");
}

/// At the end of the lane stands a hand that can restart, and nobody who could be told anything.
#[test]
fn the_local_executor_gets_restarts_alone_and_the_rest_is_observed() {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let outbox = OutboxConfig { restarts_only: true, ..OutboxConfig::default() };
    let mut world = leaking(policy, outbox);
    let high = container("acme", 95, -9000);
    assert!(until(&mut world, &high, "decided restart dry=false", 3).is_some());
    let told: Vec<String> = (0..130).flat_map(|_| world.slot(Some(&high))).collect();
    assert!(told.contains(&"outcome ineffective".to_owned()), "{told:?}");
    let held = told.contains(&"held advise: observe".to_owned());
    assert!(held, "a human hears of it by the alert: {told:?}");
    assert_eq!(world.event_types(), ["container.restart.requested"]);
}
