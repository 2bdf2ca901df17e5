//! An image that makes one service after the other ill, told apart from another one of its name.

use super::containers::container_id;
use super::judgement::{container, until};
use super::*;
use crate::outbox::ActionKind;

const RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: WillOom
    expr: container_memory_working_set_bytes / container_spec_memory_limit_bytes >= 0.9
    labels: {severity: critical, action: restart}
";
const TENANTS: [&str; 3] = ["acme", "beta", "zeta"];

impl World {
    /// Docker tells that this container runs this image under the name `app:latest`.
    fn runs(&mut self, digit: char, name: &str, image_id: &str) {
        let mut container = Container::new(container_id(digit), name, Timestamp(0));
        container.status = Status::Running;
        container.image_id = image_id.to_owned();
        self.handle(Event::Docker(Report::Inspected(Box::new(container))), None);
    }
}

fn page(fills: [(char, u32); 3]) -> String {
    let one = |(tenant, (digit, fill)): (&&str, (char, u32))| {
        let id = container_id(digit);
        let with = format!("{{id=\"/docker/{}\",image=\"app:latest\",name", id.as_str());
        container(tenant, fill, -90_000).replace("{name", &with)
    };
    TENANTS.iter().zip(fills).map(one).collect()
}

/// Each of three tenants is given another container of the same tag, and falls ill.
fn rolled_out(second_id: &str) -> World {
    rolled_out_in(Mode::Act, second_id, |_| {})
}

fn policy(advise: Mode) -> PolicyConfig {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    policy.modes.insert(ActionKind::Advise, advise);
    policy
}

fn rolled_out_in(advise: Mode, second_id: &str, prepare: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(RULES, policy(advise));
    prepare(&mut world);
    let mut fills = [('1', 50), ('2', 50), ('3', 50)];
    for (tenant, (digit, _)) in TENANTS.iter().zip(fills) {
        world.runs(digit, &format!("{tenant}-1"), "sha256:one");
    }
    let _ = until(&mut world, &page(fills), "nothing", 30);
    for (place, digit) in ['7', '8', '9'].into_iter().enumerate() {
        world.runs(digit, &format!("{}-1", TENANTS[place]), second_id);
        fills[place] = (digit, 50);
        let _ = until(&mut world, &page(fills), "nothing", 30);
        fills[place] = (digit, 95);
        let _ = until(&mut world, &page(fills), "nothing", 30);
    }
    world
}

/// The page of all three, ill of it.
fn ill() -> String {
    page([('7', 95), ('8', 95), ('9', 95)])
}

/// The images that advice was given of.
fn told(world: &World) -> Vec<serde_json::Value> {
    let given = world.events.iter().filter(|event| event["type"] == "advice.given");
    let params = given.map(|event| &event["data"]["action"]["params"]);
    let of_image = params.filter(|params| params["variable"] == "image");
    of_image.map(|params| params["current"].clone()).collect()
}

#[test]
fn a_tag_that_is_given_to_another_image_is_seen() {
    assert_eq!(told(&rolled_out("sha256:two")), ["app:latest (sha256:two)"]);
    assert!(told(&rolled_out("sha256:one")).is_empty(), "made anew from the same image");
}

/// It is told once, and is true for a week.
#[test]
fn an_image_is_told_of_though_nobody_answered_for_hours() {
    let mut world = rolled_out_in(Mode::Act, "sha256:two", |world| world.is_away = true);
    let _ = until(&mut world, &ill(), "nothing", 1000);
    assert!(told(&world).is_empty(), "nobody answers");
    world.is_away = false;
    let _ = until(&mut world, &ill(), "nothing", 12);
    assert_eq!(told(&world), ["app:latest (sha256:two)"]);
}

fn throw(world: &mut World, kill: bool) {
    world.handle(Event::Switches(Switches { kill, ..Switches::default() }), None);
}

#[test]
fn an_image_is_told_of_once_the_kill_switch_is_removed() {
    for crashes in [false, true] {
        let mut world = rolled_out_in(Mode::Act, "sha256:two", |world| throw(world, true));
        let _ = until(&mut world, &ill(), "nothing", 12);
        assert!(told(&world).is_empty(), "{:?}", told(&world));
        let of_image = |(_, lifted_by): &&(&str, String)| lifted_by.contains("sha256:two");
        let holds: Vec<_> = world.holds.iter().filter(of_image).collect();
        assert!(matches!(holds[..], [(reason, _)] if *reason == "kill_switch"), "once: {holds:?}");
        match crashes {
            true => world = World::restarted(setup(RULES, policy(Mode::Act)), &world, 1),
            false => throw(&mut world, false),
        }
        let _ = until(&mut world, &ill(), "nothing", 12);
        assert_eq!(told(&world), ["app:latest (sha256:two)"], "crashes: {crashes}");
        let mut world = World::restarted(setup(RULES, policy(Mode::Act)), &world, 1);
        let _ = until(&mut world, &ill(), "nothing", 12);
        assert!(told(&world).is_empty(), "once");
    }
}

/// What was only observed, or shown as a dry run, is asked for as the mode then allows.
#[test]
fn an_image_is_told_of_as_another_mode_allows() {
    let mut world = rolled_out_in(Mode::Observe, "sha256:two", |_| {});
    for (advise, want) in [
        (Mode::Observe, &[][..]),
        (Mode::Notify, &["dry_run"]),
        (Mode::Act, &["dry_run", "request"]),
        (Mode::Notify, &["dry_run", "request"]),
        (Mode::Act, &["dry_run", "request"]),
    ] {
        world.reload(setup(RULES, policy(advise)));
        let _ = until(&mut world, &ill(), "nothing", 12);
        let given = world.events.iter().map(|event| &event["data"]["action"]);
        let of_image = given.filter(|action| action["params"]["variable"] == "image");
        let modes: Vec<_> = of_image.map(|action| action["mode"].as_str()).collect();
        assert_eq!(modes, want.iter().map(|mode| Some(*mode)).collect::<Vec<_>>(), "{advise:?}");
    }
}
