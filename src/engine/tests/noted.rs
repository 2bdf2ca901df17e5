//! What was counted of containers is in the journal before long, and no end is lost by that.

use super::containers::container_id;
use super::docker::{RULES, begun};
use super::*;

/// How many ends a name has, as readers see it.
fn ends(world: &World, name: &str) -> u64 {
    let view = world.engine.view(at(world.second, 0));
    let view = view.containers.iter().find(|container| container.known_as == name);
    view.map_or(0, |view| view.ends.iter().sum())
}

#[test]
fn an_end_that_was_counted_is_in_the_journal_at_once() {
    let mut world = begun();
    world.slots(4, "");
    // One that is there for a moment only, and the daemon with it.
    world.docker_has('b', "young");
    let die = What::Die { exit_code: 1 };
    world.docker('a', "acme-web", die.clone());
    world.second += 1;
    world.docker('b', "young", die.clone());
    let mut again = world.begin_anew();
    assert_eq!((ends(&again, "acme-web"), ends(&again, "young")), (1, 1));
    // Told once more it is the same one.
    again.second = world.second;
    again.list(&[('a', "acme-web"), ('b', "young")]);
    again.docker('b', "young", die);
    assert_eq!((ends(&again, "acme-web"), ends(&again, "young")), (1, 1));
}

/// Docker and we died a moment after it began; when both are back a third run is listed.
#[test]
fn a_run_that_had_just_begun_when_we_died_has_an_end() {
    let mut world = begun();
    world.slots(4, "");
    world.docker('a', "acme-web", What::Die { exit_code: 1 });
    world.second += 1;
    world.docker('a', "acme-web", What::Start);
    let mut again = world.begin_anew();
    let seen_at = |second| Some(at(second, 0).wall);
    let container = Container::new(container_id('a'), "acme-web", Timestamp(0));
    let (started_at, finished_at) = (seen_at(world.second + 9), seen_at(world.second + 1));
    let running = Container { status: Status::Running, started_at, finished_at, ..container };
    again.second = world.second + 10;
    for _ in 0..2 {
        again.handle(Event::Docker(Report::Listed(vec![running.clone()])), None);
        again.slots(4, "");
        assert_eq!(ends(&again, "acme-web"), 2, "and that once");
    }
}

/// Docker told of its begin and end, and was not asked about it any more.
#[test]
fn a_run_that_began_and_ended_just_before_we_died_has_one_end() {
    let mut world = begun();
    world.slots(4, "");
    let began_at = world.second;
    world.docker('b', "young", What::Start);
    world.second += 1;
    world.docker('b', "young", What::Die { exit_code: 1 });
    let mut again = world.begin_anew();
    let seen_at = |second| Some(at(second, 0).wall);
    let container = Container::new(container_id('b'), "young", Timestamp(0));
    let (started_at, finished_at) = (seen_at(began_at), seen_at(world.second));
    let ended = Container { status: Status::Exited, started_at, finished_at, ..container };
    again.handle(Event::Docker(Report::Listed(vec![ended])), None);
    again.slots(4, "");
    assert_eq!(ends(&again, "young"), 1);
}

#[test]
fn an_end_that_was_counted_before_docker_has_ever_told_everything_counts_once() {
    let mut world = begun();
    world.docker_has('b', "young");
    world.docker('b', "young", What::Die { exit_code: 1 });
    let mut again = world.begin_anew();
    assert_eq!(ends(&again, "young"), 1);
    again.second = world.second;
    again.list(&[('a', "acme-web"), ('b', "young")]);
    again.docker('b', "young", What::Die { exit_code: 1 });
    assert_eq!(ends(&again, "young"), 1);
}

#[test]
fn a_storm_of_ends_is_noted_now_and_then() {
    let mut world = begun();
    world.slots(4, "");
    let noted = |world: &World| world.rows.iter().filter(|row| row.key == "docker_events").count();
    let before = noted(&world);
    for second in 0..5 {
        for nth in 0..200_i64 {
            let id = ContainerId::new(&format!("{:064}", second * 200 + nth)).expect("64 digits");
            let at_nanos = at(world.second, 0).wall.0 * 1_000_000 + nth;
            let happening = Happening {
                id,
                name: format!("n{nth}"),
                at_nanos,
                what: What::Die { exit_code: 1 },
            };
            world.handle(Event::Docker(Report::Happened(happening)), None);
        }
        world.second += 1;
    }
    let notes = noted(&world) - before;
    assert!((5..=7).contains(&notes), "{notes}");
    let due = world.engine.next_wakeup();
    assert!(due < at(world.second, 0).monotonic, "the rest is noted without another event");
    assert_eq!(world.begin_anew().engine.view(at(0, 0)).containers.len(), 1);
}

#[test]
fn what_was_counted_after_the_window_was_kept_is_in_it_after_our_restart() {
    let rules = format!("{RULES}      - alert: Oom\n        expr: plimsoll_oom_total > 99\n");
    let setup = || Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) };
    let mut world = World::recovered(setup(), Vec::new(), 0);
    world.list(&[('a', "acme-web")]);
    world.slots(1, "");
    let kill = |world: &mut World| {
        world.docker('a', "acme-web", What::Oom);
        world.docker('a', "acme-web", What::Die { exit_code: 137 });
        world.slots(2, "");
    };
    kill(&mut world);
    let checkpoint = world.engine.checkpoint();
    kill(&mut world);
    let sum = |world: &World, metric: &str| {
        let live = world.engine.window.live().filter(|(_, l)| l.metric_name() == metric);
        live.filter_map(|(id, _)| world.engine.window.newest(id)).map(|s| s.value).sum::<f64>()
    };
    let mut again = World::recovered(setup(), latest(&world.rows), world.second + 2);
    again.engine.restore_window(&checkpoint, at(again.second, 0)).expect("a good checkpoint");
    assert_eq!(sum(&again, "plimsoll_oom_total"), 2.0);
    assert_eq!(sum(&again, "plimsoll_container_ends_total"), 2.0);
}

#[test]
fn an_end_that_only_the_list_told_outlives_our_restart_beside_one_that_was_noted() {
    let mut world = begun();
    world.docker_has('b', "acme-api");
    world.slots(4, "");
    world.lose_docker();
    // Docker was started anew: its events are gone.
    let finished_at = Some(at(world.second, 0).wall);
    let list = || {
        let dead = Container::new(container_id('a'), "acme-web", Timestamp(0));
        let dead = Container { status: Status::Exited, exit_code: 1, finished_at, ..dead };
        let alive = Container::new(container_id('b'), "acme-api", Timestamp(0));
        let alive = Container { status: Status::Running, ..alive };
        Event::Docker(Report::Listed(vec![dead, alive]))
    };
    world.handle(list(), None);
    world.docker('b', "acme-api", What::Die { exit_code: 1 });
    let mut world = world.begin_anew();
    world.handle(list(), None);
    world.slots(3, "");
    assert_eq!((ends(&world, "acme-web"), ends(&world, "acme-api")), (1, 1));
    // And it is noted then.
    let mut world = world.begin_anew();
    world.handle(list(), None);
    world.slots(3, "");
    assert_eq!((ends(&world, "acme-web"), ends(&world, "acme-api")), (1, 1));
}

/// Docker's mark is noted with every end, and what another one's kill said may still wait in the watch then.
#[test]
fn a_kill_that_was_on_its_way_when_docker_s_mark_was_noted_is_news_after_our_restart() {
    let mut world = begun();
    world.docker_has('b', "acme-api");
    world.slots(4, "");
    // Killed long before the mark, while Docker was asked about another, and told after the restart alone.
    let killed_at = world.second;
    world.second += 17;
    world.docker('a', "acme-web", What::Die { exit_code: 1 });
    let mut again = world.begin_anew();
    again.list(&[('b', "acme-api")]);
    let at_nanos = at(killed_at, 0).wall.0 * 1_000_000;
    for what in [What::Oom, What::Die { exit_code: 137 }] {
        let (id, name) = (container_id('b'), "acme-api".to_owned());
        let happening = Happening { id, name, at_nanos, what };
        again.handle(Event::Docker(Report::Happened(happening)), None);
    }
    again.slots(4, "");
    assert_eq!(again.kills("acme-api").pid1 + again.kills("acme-api").child, 1);
}
