//! What holds an action from outside, whom it holds, and what is said to lift it.

use super::judgement::{container, until};
use super::*;
use crate::audit::Kind;
use crate::calendar::{Schedule, Window, Zone};
use crate::outbox::ActionKind;
use crate::policy::{
    Calendar, CalendarEntry, Directory, Plan, Plans, Tenant, TenantState, Tenants, WindowKind,
};

fn rules(action: &str) -> String {
    format!(
        "groups: [{{name: g, interval: 5s, rules: [{{alert: WillOom, labels: {{action: {action}}}, \
         expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9}}]}}]"
    )
}

/// Everything acts that is not held.
fn policy() -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.modes.insert(ActionKind::Nudge, Mode::Act);
    policy
}

/// A window of an hour from 08:00, when these worlds begin.
fn window(kind: WindowKind, tenants: &[&str]) -> Calendar {
    let window = Window {
        schedule: Schedule::parse("0 8 * * *").expect("a schedule"),
        duration: Duration::from_secs(3600),
        zone: Zone::utc(),
    };
    Calendar(vec![CalendarEntry {
        name: "patches".to_owned(),
        kind,
        hosts: vec!["web-7".to_owned()],
        tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        plans: Vec::new(),
        window,
    }])
}

/// What lifts the holds told so far, by reason.
fn lifts(world: &World, reason: &str) -> Vec<String> {
    let held = world.holds.iter().filter(|(held, _)| *held == reason);
    held.map(|(_, lifted_by)| lifted_by.clone()).collect()
}

#[test]
fn maintenance_holds_its_tenants_until_its_end() {
    let mut policy = policy();
    policy.calendar = window(WindowKind::Maintenance, &["acme"]);
    let mut world = World::new(&rules("restart"), policy);
    let both = container("acme", 95, -9000) + &container("beta", 95, -9000);
    assert!(until(&mut world, &both, "held restart: maintenance", 2).is_some());
    let end = "the end of the maintenance window `patches` at 2027-01-15T09:00:00.000Z";
    assert_eq!(lifts(&world, "maintenance"), [end]);
    let audited = world.records.iter().find(|record| record.kind == Kind::ActionHeld);
    let audited = audited.expect("a hold is in the audit");
    assert_eq!(audited.reason.as_deref(), Some("maintenance"));
    assert_eq!(audited.lifted_by.as_deref(), Some(end));
    let asked = |world: &World, tenant: &str| {
        let requests = world.events.iter().filter(|e| e["type"] == "container.restart.requested");
        requests.filter(|event| event["data"]["tenant_id"] == tenant).count()
    };
    assert_eq!((asked(&world, "acme"), asked(&world, "beta")), (0, 1), "beta is not in it");
    assert_eq!(world.event_types().iter().filter(|kind| **kind == "alert.firing").count(), 2);
    let mut open = 0;
    let acme = container("acme", 95, -9000);
    while until(&mut world, &acme, "decided restart", 1).is_none() {
        open += 1;
        assert!(open < 800, "it never lifts");
    }
    assert!((715..=725).contains(&open), "lifted after {open} slots of an hour");
    assert_eq!(asked(&world, "acme"), 1);
}

/// A container of a tenant that fills the memory its plan promises.
fn full(tenant: &str) -> String {
    let page = container(tenant, 95, -9000);
    page.replace(" 95\n", " 2100000000\n").replace(" 100\n", " 2147483648\n")
}

#[test]
fn quiet_hours_hold_nudges_alone() {
    for (action, want) in [("nudge", "held nudge: quiet_hours"), ("restart", "decided restart")] {
        let mut policy = policy();
        policy.calendar = window(WindowKind::QuietHours, &[]);
        let mut world = World::new(&rules(action), policy);
        let told = until(&mut world, &full("acme"), want, 2);
        assert!(told.is_some(), "{action}: {:?}", world.holds);
    }
}

/// A world whose tenants stand in a document.
fn with_document(action: &str) -> World {
    let mut setup = setup(&rules(action), policy());
    let identity = setup.identity.as_mut().expect("these setups have one");
    (identity.directory, identity.trust_labels) = (Directory::Unread, true);
    World::recovered(setup, Vec::new(), 0)
}

/// The document with one tenant.
fn says(tenant: Tenant) -> Event {
    let known = BTreeMap::from([("acme".to_owned(), tenant)]);
    Event::Tenants(Told::Read(Tenants { rules: Vec::new(), known }))
}

#[test]
fn nothing_is_done_for_a_tenant_nobody_has_spoken_of_yet() {
    let mut world = with_document("restart");
    let page = full("acme");
    assert!(until(&mut world, &page, "held restart: tenant_not_active", 2).is_some());
    let why = "the tenant becoming active: the document of tenants has not been read yet";
    assert_eq!(lifts(&world, "tenant_not_active"), [why]);
    world.handle(says(Tenant::default()), None);
    assert!(until(&mut world, &page, "decided restart", 2).is_some(), "the document is there");
}

/// What was read before a reload, and is heard of after it.
#[test]
fn a_document_that_is_not_configured_any_more_is_nobody_s_word() {
    let mut world = with_document("restart");
    world.reload(setup(&rules("restart"), policy()));
    let suspended = Tenant { state: Some(TenantState::Suspended), ..Tenant::default() };
    for event in [
        says(suspended),
        Event::Tenants(Told::Refused("t.yml:3:1: x".to_owned())),
        Event::Plans(Told::Read(Plans::default())),
        Event::M2Setting(Told::Refused("s.json:1:1: x".to_owned())),
    ] {
        world.told.clear();
        world.handle(event, None);
        assert_eq!(world.told, [""; 0]);
    }
    let view = world.engine.view(at(world.second, 0));
    assert!(view.documents.is_empty(), "{:?}", view.documents);
    assert_eq!(view.owners.plans, setup(&rules("restart"), policy()).policy.plans);
    assert!(until(&mut world, &full("acme"), "decided restart", 3).is_some(), "{:?}", world.told);
}

/// The files were read before the reload was taken over; meanwhile somebody threw the kill switch.
#[test]
fn a_reload_sets_no_switch_back() {
    let switches = |kill, busy: &[&str]| Switches {
        kill,
        busy: busy.iter().map(|service| (*service).to_owned()).collect(),
        any_busy: false,
    };
    let mut world = World::new(&rules("restart"), policy());
    world.handle(Event::Switches(switches(true, &["acme/app"])), None);
    let setup = Box::new(setup(&rules("restart"), policy()));
    let stale = switches(false, &["beta/app"]);
    world.handle(Event::Reload { setup, switches: stale }, None);
    assert_eq!(world.engine.switches, switches(true, &["acme/app", "beta/app"]));
    world.handle(Event::Switches(switches(false, &[])), None);
    assert_eq!(world.engine.switches, Switches::default(), "what the next look says");
}

#[test]
fn what_the_document_says_of_a_tenant_holds() {
    let none = Tenant::default;
    let state = |state| Tenant { state: Some(state), ..none() };
    let agrees = |kind| Tenant { opt_in: Some(BTreeSet::from([kind])), ..none() };
    let busy = Tenant { busy: Some(true), ..none() };
    for (action, tenant, want, lifted_by) in [
        (
            "restart",
            state(TenantState::Suspended),
            "held restart: tenant_not_active",
            "the tenant becoming active: it is `suspended`",
        ),
        (
            "nudge",
            state(TenantState::GracePeriod),
            "held nudge: tenant_not_active",
            "the tenant becoming active: it is `grace_period`",
        ),
        ("restart", state(TenantState::Active), "decided restart", ""),
        (
            "restart",
            agrees(ActionKind::Nudge),
            "held restart: not_opted_in",
            "the tenant's consent (`opt_in`)",
        ),
        ("restart", agrees(ActionKind::Restart), "decided restart", ""),
        ("restart", busy.clone(), "held restart: busy", "the end of the backup or migration"),
        (
            "nudge",
            busy,
            "held nudge: too_few_episodes",
            "more episodes within `actions.nudge_episodes_within`",
        ),
    ] {
        let mut world = with_document(action);
        world.handle(says(tenant.clone()), None);
        let told = until(&mut world, &full("acme"), want, 2);
        assert!(told.is_some(), "{action} {tenant:?}: {:?}", world.holds);
        let lifts: Vec<&str> = world.holds.iter().map(|(_, lifts)| lifts.as_str()).collect();
        assert_eq!(lifts.join(""), lifted_by, "{action} {tenant:?}");
    }
}

#[test]
fn a_trusted_label_says_that_a_tenant_is_busy() {
    let page = full("acme");
    let busy = page.replace("{", "{container_label_prego_busy=\"backup\",");
    let mut world = with_document("restart");
    world.handle(says(Tenant::default()), None);
    assert!(until(&mut world, &busy, "held restart: busy", 2).is_some());
    assert!(until(&mut world, &page, "decided restart", 2).is_some(), "the backup is over");
}

#[test]
fn a_refused_document_changes_nothing_and_is_told_once() {
    let mut world = with_document("restart");
    world.handle(says(Tenant { state: Some(TenantState::Suspended), ..Tenant::default() }), None);
    for first in [true, false] {
        world.told.clear();
        world.handle(Event::Tenants(Told::Refused("t.yml:3:1: x".to_owned())), None);
        assert_eq!(world.told, [format!("refused t.yml:3:1: x first={first}")]);
    }
    assert!(until(&mut world, &full("acme"), "held restart: tenant_not_active", 2).is_some());
    let shown = |world: &World| {
        let view = world.engine.view(at(world.second, 0));
        let document = view.documents[0].clone();
        (document.failures, document.age.map(|age| age.as_secs()), document.error.is_some())
    };
    let age = u64::try_from(world.second).ok();
    assert_eq!(shown(&world), (2, age, true));
    world.told.clear();
    let mut again = setup(&rules("restart"), policy());
    again.identity.as_mut().expect("has one").directory = Directory::Unread;
    world.reload(again);
    let known = world.engine.view(at(world.second, 0)).owners.tenants["acme"].state;
    assert_eq!(known, Some(TenantState::Suspended), "the last one is kept over a reload");
    world.handle(Event::Tenants(Told::Unchanged), None);
    assert_eq!(world.told, ["recovered tenants"]);
    assert_eq!(shown(&world), (2, Some(0), false));
}

#[test]
fn a_new_plan_and_a_new_catalogue_reach_the_series() {
    let mut world = with_document("restart");
    let page = container("acme", 50, -9000);
    world.slot(Some(&page));
    let plans = |world: &World| -> BTreeSet<String> {
        let live = world.engine.window.live();
        let of = live.filter(|(_, labels)| labels.metric_name() == "container_start_time_seconds");
        of.map(|(_, labels)| labels.get("plan").unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(plans(&world), BTreeSet::from(["pro".to_owned()]));
    let plan = Some("starter".to_owned());
    world.handle(says(Tenant { plan, ..Tenant::default() }), None);
    world.slot(Some(&page));
    assert_eq!(plans(&world), BTreeSet::from(["starter".to_owned()]));
    let starter = Plan {
        name: "starter".to_owned(),
        order: 1,
        mem_limit_bytes: 1,
        mem_soft_bytes: 1,
        cpu_limit_cores: 1.0,
    };
    let catalogue = Plans::new(vec![starter]).expect("a catalogue");
    world.engine.setup.policy.plans_expected = true;
    world.handle(Event::Plans(Told::Read(catalogue.clone())), None);
    assert_eq!(world.engine.view(at(world.second, 0)).owners.plans, catalogue);
    let mut again = setup(&rules("restart"), policy());
    again.policy.plans_expected = true;
    world.reload(again);
    assert_eq!(world.engine.view(at(world.second, 0)).owners.plans, catalogue, "kept");
    world.reload(setup(&rules("restart"), policy()));
    assert_eq!(world.engine.view(at(world.second, 0)).owners.plans, Plans::default(), "not asked");
}

/// A typing error in a list of tenants, or a catalogue that is behind it.
#[test]
fn a_plan_nobody_sells_is_told() {
    let mut world = with_document("restart");
    let on = |plan: &str| says(Tenant { plan: Some(plan.to_owned()), ..Tenant::default() });
    let doubts = |world: &mut World| -> Vec<String> {
        let records = std::mem::take(&mut world.records).into_iter();
        let taken = records.filter(|record| record.kind == Kind::DocumentTaken);
        taken.map(|record| record.sentence()).collect()
    };
    world.handle(on("platinum"), None);
    let why = "tenants are on plans that are not in the catalogue: platinum";
    let want = format!("tenants were taken over from their document (1); {why}");
    assert_eq!(doubts(&mut world), [want]);
    world.engine.setup.policy.plans_expected = true;
    let ladder = world.engine.setup.policy.plans.clone();
    let catalogue = |last: &str| {
        let mut plans: Vec<Plan> = ladder.iter().cloned().collect();
        plans.extend(plans.last().cloned().map(|top| Plan {
            name: last.to_owned(),
            order: top.order + 1,
            ..top
        }));
        Event::Plans(Told::Read(Plans::new(plans).expect("a catalogue")))
    };
    world.handle(catalogue("platinum"), None);
    assert_eq!(doubts(&mut world), ["plans were taken over from their document (4)"]);
    world.handle(catalogue("palladium"), None);
    let want = format!("plans were taken over from their document (4); {why}");
    assert_eq!(doubts(&mut world), [want]);
    world.handle(on("pro"), None);
    assert_eq!(doubts(&mut world), ["tenants were taken over from their document (1)"]);
}

#[test]
fn a_forged_label_is_refused_with_a_reason_once() {
    let mut world = with_document("restart");
    let page = "container_memory_working_set_bytes{name=\"acme-web\",\
                container_label_prego_tenant=\"evil\"} 1\n";
    let why = "claim refused: acme-web: its label `prego.tenant` says `evil`, and it is `acme`'s";
    assert_eq!(world.slot(Some(page)), [why]);
    assert_eq!(world.slot(Some(page)), [""; 0]);
    let audited = world.records.iter().filter(|record| record.kind == Kind::ClaimRefused);
    assert_eq!(audited.count(), 1);
    assert_eq!(world.engine.view(at(world.second, 0)).owners.refused.len(), 1);
}

#[test]
fn refused_claims_are_remembered_as_long_as_their_containers_are_known() {
    let mut world = with_document("restart");
    let page = |name: &str| {
        format!(
            "container_memory_working_set_bytes{{name=\"{name}\",\
             container_label_prego_tenant=\"evil\"}} 1\n"
        )
    };
    let refused = |world: &World| world.engine.view(at(world.second, 0)).owners.refused.len();
    world.slot(Some(&page("acme-web")));
    world.slot(Some(&page("acme-api")));
    assert_eq!(refused(&world), 2);
    // The window knows the first for an hour more.
    world.second += 2 * 3600;
    for _ in 0..30 {
        world.slot(Some(&page("acme-api")));
    }
    assert_eq!(refused(&world), 1, "the second one is there still");
}

/// The rule asks for a restart, and the mode allows less.
fn held_back(mode: Mode) -> World {
    let mut world = World::new(&rules("restart"), in_mode(mode));
    let told = if mode == Mode::Observe { "held restart: observe" } else { "decided restart" };
    assert!(until(&mut world, &container("acme", 95, -9000), told, 3).is_some());
    world
}

fn in_mode(mode: Mode) -> PolicyConfig {
    PolicyConfig { mode, ..policy() }
}

#[test]
fn a_mode_that_allows_more_lifts_the_hold_of_what_still_fires() {
    let high = container("acme", 95, -9000);
    for (before, after, want) in [
        (Mode::Observe, Mode::Act, "decided restart dry=false"),
        (Mode::Observe, Mode::Notify, "decided restart dry=true"),
        (Mode::Notify, Mode::Act, "decided restart dry=false"),
    ] {
        let mut reloaded = held_back(before);
        reloaded.reload(setup(&rules("restart"), in_mode(after)));
        let mut restarted =
            World::restarted(setup(&rules("restart"), in_mode(after)), &held_back(before), 1);
        for world in [&mut reloaded, &mut restarted] {
            assert_eq!(until(world, &high, "decided", 12).as_deref(), Some(want), "{before:?}");
            assert_eq!(until(world, &high, "decided", 20), None, "once");
        }
    }
}

#[test]
fn a_reload_that_allows_no_more_asks_for_nothing_anew() {
    let high = container("acme", 95, -9000);
    for (before, after) in [
        (Mode::Observe, Mode::Observe),
        (Mode::Notify, Mode::Notify),
        (Mode::Notify, Mode::Observe),
        (Mode::Act, Mode::Act),
        (Mode::Act, Mode::Notify),
    ] {
        let mut world = held_back(before);
        world.reload(setup(&rules("restart"), in_mode(after)));
        let told: Vec<String> = (0..20).flat_map(|_| world.slot(Some(&high))).collect();
        let anew = |word: &&String| word.starts_with("decided") || word.starts_with("held");
        assert_eq!(told.iter().find(anew), None, "{before:?}, {after:?}: {told:?}");
    }
}

/// What nothing could lift while the configuration stood.
#[test]
fn a_reload_that_says_otherwise_whose_it_is_lifts_what_only_that_could_lift() {
    let of = |tenant: &str| {
        let (tenant, plan) = (tenant.to_owned(), None);
        let tenancy = crate::policy::Tenancy::PerHost { tenant, plan };
        let mut setup = setup(&rules("restart"), in_mode(Mode::Act));
        setup.policy.tenancy = tenancy.clone();
        setup.identity.as_mut().expect("an identity").tenancy = tenancy;
        setup
    };
    let named = "groups: [{name: g, interval: 5s, rules: [{alert: WillOom, \
                 labels: {action: restart, tenant: acme}, \
                 expr: 'max by (name) (container_memory_working_set_bytes) >= 95'}]}]";
    let with = |setup: Setup| Setup { groups: self::setup(named, acting()).groups, ..setup };
    let mut world = World::recovered(with(of("globex")), Vec::new(), 0);
    let high = container("acme", 95, -9000);
    assert!(until(&mut world, &high, "held restart: foreign_tenant", 3).is_some());
    world.reload(with(of("acme")));
    world.cache.reset();
    assert!(until(&mut world, &high, "decided restart", 12).is_some(), "{:?}", world.holds);
}
