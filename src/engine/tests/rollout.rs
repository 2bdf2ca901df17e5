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
    let mut policy = acting();
    policy.limits.after_change = Duration::ZERO;
    let mut world = World::new(RULES, policy);
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

#[test]
fn a_tag_that_is_given_to_another_image_is_seen() {
    let told = |world: &World| -> Vec<serde_json::Value> {
        let params = world.events.iter().map(|event| &event["data"]["action"]["params"]);
        let of_image = params.filter(|params| params["variable"] == "image");
        of_image.map(|params| params["current"].clone()).collect()
    };
    assert_eq!(told(&rolled_out("sha256:two")), ["app:latest (sha256:two)"]);
    assert!(told(&rolled_out("sha256:one")).is_empty(), "made anew from the same image");
}
