//! A service is one thing through all its incarnations, and belongs to whom the host says.

use super::containers::container_id;
use super::*;
use crate::policy::Tenancy;

const RESTART: &str = "groups: [{name: g, rules: [{alert: High, expr: 'max by (name, service, tenant, \
                       plan, role) (container_memory_working_set_bytes) > 90', for: 10s, \
                       labels: {action: restart}}]}]";

/// A page of one incarnation of a container.
fn incarnation(digit: char, name: &str, bytes: u32) -> String {
    let labels = format!("id=\"/docker/{}\",name=\"{name}\"", container_id(digit));
    format!(
        "container_memory_working_set_bytes{{{labels}}} {bytes}\n\
         container_spec_memory_limit_bytes{{{labels}}} 100\n"
    )
}

fn patient() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy
}

#[test]
fn for_goes_on_through_a_recreation_and_a_rename_resolves_nothing() {
    let mut world = World::new(RESTART, patient());
    world.docker_has('a', "acme-web");
    assert_eq!(world.slot(Some(&incarnation('a', "acme-web", 95))), ["pending"]);
    world.docker('a', "acme-web", What::Destroy);
    world.docker_has('b', "acme-web");
    assert_eq!(world.slot(Some(&incarnation('b', "acme-web", 95))), [""; 0], "`for` goes on");
    let told = world.slot(Some(&incarnation('b', "acme-web", 95)));
    assert_eq!(told, ["firing", "decided restart dry=false"], "at its ten seconds");
    world.docker('b', "other", What::Rename { from: "acme-web".to_owned() });
    world.docker_has('b', "other");
    // cAdvisor and the collector go on calling it what it was first known by.
    for _ in 0..3 {
        assert_eq!(world.slot(Some(&incarnation('b', "acme-web", 95))), [""; 0]);
    }
    assert_eq!(world.event_types(), ["alert.firing", "container.restart.requested"]);
}

/// Two episodes in two incarnations; what the second restart is told.
fn second_restart(change: impl FnOnce(&mut PolicyConfig)) -> Vec<String> {
    let mut policy = patient();
    policy.limits.restart_cool_down = Duration::from_secs(1);
    change(&mut policy);
    let mut world = World::new(RESTART, policy);
    for _ in 0..3 {
        world.slot(Some(&incarnation('a', "acme-web", 95)));
    }
    assert!(world.event_types().contains(&"container.restart.requested"));
    // It is made anew under another name, in the same role for the same tenant.
    for _ in 0..300 {
        world.slot(Some(&incarnation('b', "acme-api", 10)));
    }
    let told = (0..3).flat_map(|_| world.slot(Some(&incarnation('b', "acme-api", 95))));
    told.filter(|told| told.starts_with("held") || told.starts_with("decided")).collect()
}

#[test]
fn cool_downs_and_budgets_go_on_through_a_recreation() {
    assert_eq!(second_restart(|_| {}), ["decided restart dry=false"]);
    let hour = Duration::from_secs(3600);
    assert_eq!(
        second_restart(|policy| policy.limits.restart_cool_down = hour),
        ["held restart: cool_down"]
    );
    assert_eq!(
        second_restart(|policy| policy.limits.restarts_per_tenant_day = 1),
        ["held restart: tenant_budget"]
    );
}

fn divided(rules: &str, tenancy: Tenancy) -> World {
    let mut setup = setup(rules, patient());
    setup.policy.tenancy = tenancy.clone();
    setup.identity.as_mut().expect("there is one").tenancy = tenancy;
    World::recovered(setup, Vec::new(), 0)
}

fn told(world: &mut World, name: &str) -> Vec<String> {
    (0..4).flat_map(|_| world.slot(Some(&incarnation('a', name, 95)))).collect()
}

#[test]
fn a_shared_container_is_for_a_human() {
    let mut world = divided(RESTART, Tenancy::Shared);
    assert_eq!(
        told(&mut world, "acme-web"),
        ["pending", "firing", "held restart: shared_container", "decided advise dry=false"],
    );
    let mut world = divided(&HIGH.replace("restart", "decide"), Tenancy::Shared);
    assert_eq!(told(&mut world, "acme-web"), ["pending", "firing", "decided advise dry=false"]);
    let advice = &world.events[1]["data"];
    assert_eq!(advice["action"]["params"]["escalation"], "human");
    assert!(advice["tenant_id"].is_null(), "{advice}");
}

#[test]
fn a_host_of_one_tenant_restarts_what_is_its_own() {
    let owner = |tenant: &str| Tenancy::PerHost { tenant: tenant.to_owned(), plan: None };
    let mut world = divided(RESTART, owner("solo"));
    assert_eq!(told(&mut world, "acme-web"), ["pending", "firing", "decided restart dry=false"]);
    assert_eq!(world.events[1]["data"]["tenant_id"], "solo", "the mapping says acme");
    let named = RESTART.replace("action: restart", "action: restart, tenant: globex");
    let mut world = divided(&named, owner("solo"));
    assert_eq!(told(&mut world, "acme-web"), ["pending", "firing", "held restart: foreign_tenant"]);
}
