//! Who a container is comes from those who measure it; an alert only points to it.

use super::judgement::until;
use super::*;
use crate::policy::{Tenant, TenantState};

/// A rule that keeps only these labels.
fn by(labels: &str) -> String {
    HIGH.replace("name, service, tenant, plan, role", labels)
}

fn patient() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy
}

/// What becomes of a full container of acme's under a rule that keeps only these labels, where more is
/// known of acme.
fn judged(labels: &str, acme: Tenant) -> Vec<String> {
    let mut setup = setup(&by(labels), patient());
    setup.identity.as_mut().expect("there is one").known.insert("acme".to_owned(), acme);
    let mut world = World::recovered(setup, Vec::new(), 0);
    let told = (0..4).flat_map(|_| world.slot(Some(&memory("acme-web", 95))));
    told.filter(|told| told.starts_with("held") || told.starts_with("decided")).collect()
}

const KEPT: [&str; 4] = ["name", "service", "name, service, role", "name, service, tenant, role"];

#[test]
fn a_rule_that_drops_the_tenant_passes_none_of_its_guards() {
    for kept in KEPT {
        assert_eq!(judged(kept, Tenant::default()), ["decided restart dry=false"], "by {kept}");
        let suspended = Tenant { state: Some(TenantState::Suspended), ..Tenant::default() };
        assert_eq!(judged(kept, suspended), ["held restart: tenant_not_active"], "by {kept}");
        let apart = Tenant { opt_in: Some([].into()), ..Tenant::default() };
        assert_eq!(judged(kept, apart)[..1], ["held restart: not_opted_in"], "by {kept}");
        let busy = Tenant { busy: Some(true), ..Tenant::default() };
        assert_eq!(judged(kept, busy), ["held restart: busy"], "by {kept}");
    }
}

#[test]
fn what_is_asked_for_names_the_owner_its_container_has() {
    let mut world = World::new(&by("name"), patient());
    let high = memory("acme-web", 95);
    assert!(until(&mut world, &high, "decided restart", 5).is_some());
    let asked = &world.events.last().expect("one is sent")["data"];
    let got = ["tenant_id", "plan", "service", "host"];
    let got = got.map(|key| asked[key].as_str().unwrap_or_default());
    assert_eq!(got, ["acme", "free", "acme/app", "web-7"]);
    assert_eq!(asked["evidence"]["container"]["role"], "app");
    assert!(asked["labels"]["service"].is_null(), "the alert's own are as they were");
    // Its service has had its restart, whoever asks.
    assert_eq!(until(&mut world, &high, "outcome", 130).as_deref(), Some("outcome ineffective"));
}

/// A world of the tenants `t0` to `t9`, each with a container.
fn of_many(rules: &str) -> World {
    let mut setup = Setup { docker: AskDocker::IfThere, ..setup(rules, patient()) };
    let name = vec![("name".to_owned(), Pattern::new("(t[0-9])-web").expect("reads"))];
    let text = |text: &str| Some(text.to_owned());
    let rule = TenantRule::new(name, text("$1"), None, text("app")).expect("a rule");
    setup.identity.as_mut().expect("there is one").rules.push(rule);
    World::recovered(setup, Vec::new(), 0)
}

/// Where nobody measures, Docker says who is there.
#[test]
fn of_a_host_incident_no_more_tenants_are_ill_than_there_are() {
    let rules = "groups:\n- name: g\n  interval: 5s\n  rules:\n  - alert: Killed\n    \
                 expr: sum by (tenant, service, name) (plimsoll_oom_total) > 0\n    \
                 labels: {action: decide}\n";
    let mut world = of_many(rules);
    let names =
        ['a', 'b', 'c', 'd', 'e'].map(|digit| (digit, format!("t{}-web", digit as u8 - b'a')));
    names.iter().for_each(|(digit, name)| world.docker_has(*digit, name));
    world.slots(3, "");
    names.iter().take(3).for_each(|(digit, name)| world.docker(*digit, name, What::Oom));
    world.slots(30, "");
    let began = world.events.iter().find(|event| event["type"] == "host.incident.started");
    let incident = &began.expect("three of five")["data"]["incident"];
    assert_eq!((&incident["tenants_affected"], &incident["tenants_total"]), (&3.into(), &5.into()));
}

#[test]
fn tenants_that_a_rule_does_not_tell_apart_are_counted_as_ill() {
    let mut world = of_many(&by("name"));
    let page = |bytes| -> String { (0..5).map(|n| memory(&format!("t{n}-web"), bytes)).collect() };
    world.slot(Some(&page(50)));
    let told: Vec<String> = (0..4).flat_map(|_| world.slot(Some(&page(95)))).collect();
    assert!(told.contains(&"host incident".to_owned()), "{told:?}");
    assert!(!told.iter().any(|told| told.starts_with("decided restart")), "{told:?}");
}

#[test]
fn an_alert_that_says_otherwise_is_held_until_it_agrees() {
    for claim in ["tenant: globex", "role: worker", "service: acme/worker"] {
        let rules = by("name").replace("action: restart", &format!("action: restart, {claim}"));
        let mut world = World::new(&rules, patient());
        let told = until(&mut world, &memory("acme-web", 95), "held", 5);
        assert_eq!(told.as_deref(), Some("held restart: owner_differs"), "{claim}");
        assert!(!world.event_types().contains(&"container.restart.requested"));
    }
    let agrees = by("name").replace("action: restart", "action: restart, tenant: acme");
    let mut world = World::new(&agrees, patient());
    assert!(until(&mut world, &memory("acme-web", 95), "decided restart", 5).is_some());
}

#[test]
fn nobody_s_container_is_restarted_for_nobody() {
    let mut world = World::new(HIGH, patient());
    let identity = world.engine.setup.identity.as_mut().expect("there is one");
    let name = vec![("name".to_owned(), Pattern::new("stray").expect("reads"))];
    let role = TenantRule::new(name, None, None, Some("app".to_owned())).expect("a rule");
    identity.rules.push(role);
    let told = until(&mut world, &memory("stray", 95), "held", 5);
    assert_eq!(told.as_deref(), Some("held restart: not_attributable"));
    assert_eq!(until(&mut world, &memory("stray", 95), "decided restart", 20), None);
}

#[test]
fn what_nobody_measures_is_not_restarted() {
    let rules = "groups: [{name: g, rules: [{alert: Stuck, expr: 'app_stuck > 0', \
                 labels: {action: restart, tenant: acme, role: app, service: acme/app}}]}]";
    let mut world = World::new(rules, patient());
    let stuck = "app_stuck{name=\"acme-web\"} 1\n";
    let told = until(&mut world, stuck, "held", 5);
    assert_eq!(told.as_deref(), Some("held restart: missing_evidence"));
    let measured = format!("{stuck}{}", memory("acme-web", 20));
    assert!(until(&mut world, &measured, "decided restart", 5).is_some(), "now somebody does");
}

/// A world in which a second target is globex's own, and shows this page.
fn with_a_tenant_s_page(rules: &str, page: &str) -> World {
    let mut world = World::new(rules, patient());
    world.other = (SeriesCache::new(), Some(page.to_owned()));
    let info = |n: u32| TargetInfo {
        id: TargetId(n),
        labels: match n {
            1 => labels_of(TargetId(n)),
            _ => Labels::from_pairs([("job", "apps"), ("instance", "g:1"), ("tenant", "globex")]),
        },
        discovered: Labels::empty(),
        url: "http://i/metrics".to_owned(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(4),
    };
    let active = vec![info(1), info(2)];
    world.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() }, None);
    world
}

#[test]
fn what_a_tenant_s_own_page_tells_of_another_s_container_moves_nothing() {
    let forged = memory("acme-web", 99).replace("{name", "{tenant=\"globex\",name");
    for rules in [HIGH.to_owned(), by("name"), by("service, tenant")] {
        let mut world = with_a_tenant_s_page(&rules, &forged);
        let told: Vec<String> =
            (0..6).flat_map(|_| world.slot(Some(&memory("acme-web", 20)))).collect();
        let refused = "claim refused: acme-web: `apps/g:1` tells of it and does not measure \
                       containers (`container_jobs`)";
        let other: Vec<&String> =
            told.iter().filter(|told| !["pending", "firing"].contains(&&***told)).collect();
        assert_eq!(other[0], refused, "{rules}");
        assert!(other[1..].iter().all(|told| told.starts_with("held")), "{other:?}");
        assert!(!world.event_types().contains(&"container.restart.requested"), "{rules}");
        let identity = world.engine.owners_view();
        assert!(identity.refused.contains_key("acme-web"));
    }
}

#[test]
fn a_tenant_s_own_page_points_to_nobody_else_s_container() {
    let rules = "groups: [{name: g, rules: [{alert: Stuck, expr: 'app_stuck > 0', \
                 labels: {action: restart}}]}]";
    let mut world =
        with_a_tenant_s_page(rules, "app_stuck{tenant=\"globex\",name=\"acme-web\"} 1\n");
    let told = until(&mut world, &memory("acme-web", 20), "held", 5);
    assert_eq!(told.as_deref(), Some("held restart: owner_differs"));
}

#[test]
fn an_id_that_docker_knows_by_another_name_is_not_restarted_by_this_one() {
    let id = containers::container_id('d');
    let page = memory("acme-web", 95).replace("{name", &format!("{{id=\"/docker/{id}\",name"));
    let judged = |name: &str| {
        let mut world = World::new(HIGH, patient());
        let container = Container::new(id.clone(), name, Timestamp(0));
        let running = Container { status: Status::Running, ..container };
        world.handle(Event::Docker(Report::Listed(vec![running])), None);
        (0..4).flat_map(|_| world.slot(Some(&page))).find(|told| told.contains(" restart"))
    };
    assert_eq!(judged("acme-web").as_deref(), Some("decided restart dry=false"));
    assert_eq!(judged("mdb").as_deref(), Some("held restart: owner_differs"));
}

#[test]
fn the_audit_of_a_decision_names_the_owner_whatever_the_alert_says() {
    for (labels, kind) in [
        ("action: restart, tenant: globex", crate::audit::Kind::ActionHeld),
        ("action: restart", crate::audit::Kind::ActionDecided),
    ] {
        let rules = by("name").replace("action: restart", labels);
        let mut world = World::new(&rules, patient());
        (0..4).for_each(|_| drop(world.slot(Some(&memory("acme-web", 95)))));
        let record = world.records.iter().find(|record| record.kind == kind).expect("one");
        let who = (record.tenant.as_deref(), record.subject.as_deref());
        assert_eq!(who, (Some("acme"), Some("acme/app")), "{labels}");
        assert!(record.trace_id.is_some(), "and belongs to its alert's story");
    }
}
