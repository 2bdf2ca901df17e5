//! An image that makes one service after the other ill, told apart from another one of its name.

use super::containers::container_id;
use super::judgement::{container, until};
use super::*;

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
    rolled_out_to(second_id, false)
}

fn rolled_out_to(second_id: &str, is_away: bool) -> World {
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::new(RULES, policy);
    world.is_away = is_away;
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
    let mut world = rolled_out_to("sha256:two", true);
    let ill = page([('7', 95), ('8', 95), ('9', 95)]);
    let _ = until(&mut world, &ill, "nothing", 1000);
    assert!(told(&world).is_empty(), "nobody answers");
    world.is_away = false;
    let _ = until(&mut world, &ill, "nothing", 12);
    assert_eq!(told(&world), ["app:latest (sha256:two)"]);
}
