//! A Docker that is not heard, or not for long: whether that is missed.

use super::docker::{asking, begun, newest, page};
use super::*;

#[test]
fn a_host_that_never_had_docker_misses_nothing() {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.miss_docker(false);
    assert_eq!(world.slots(1, &page('a', "aaaaaaaaaaaa", 95)), ["firing", "pending"]);
    assert_eq!(newest(&world, "plimsoll_docker_up"), None);
    let mut world = world.begin_anew();
    world.miss_docker(false);
    assert_eq!(world.slots(1, &page('a', "aaaaaaaaaaaa", 10)), ["resolved"]);
}

/// Nobody wrote of it, and it is there all the same.
#[test]
fn a_docker_that_refuses_or_hangs_is_silent_though_it_was_never_heard() {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    assert_eq!(world.slots(1, ""), ["pending"]);
    assert_eq!(newest(&world, "plimsoll_docker_up"), None, "nobody knows yet");
    world.miss_docker(true);
    world.slots(1, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(0.0));
    // It is started anew, and its socket is away for a moment.
    world.miss_docker(false);
    world.slots(1, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(0.0));
    world.list(&[]);
    world.slots(1, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(1.0));
}

#[test]
fn a_docker_that_listed_and_went_before_it_told_everything_was_there() {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.list(&[]);
    world.miss_docker(false);
    world.slots(1, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(0.0));
}

#[test]
fn a_docker_that_lists_and_breaks_is_heard_once_it_has_told_everything() {
    let mut world = begun();
    world.slots(2, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(1.0));
    for round in 0..3 {
        world.lose_docker();
        world.list(&[('a', "acme-web")]);
        let state = world.engine.view(at(world.second, 0)).docker.expect("it is asked");
        // The connection before the first break had told everything.
        assert_eq!((state.is_heard, state.is_silent), (round == 0, round > 0), "{round}");
        assert_eq!(state.why.is_some(), round > 0, "{round}");
    }
    world.slots(3, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(1.0), "it has lasted");
    world.lose_docker();
    world.list(&[('a', "acme-web")]);
    world.slots(1, "");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(1.0), "a cut now and then");
}
