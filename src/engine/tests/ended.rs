//! Ends that a dockerd told as it died, or that happened while there was none: a run has one.

use super::containers::container_id;
use super::names::{asking, begun, die};
use super::*;

const KILLED: What = What::Die { exit_code: 137 };

/// `web`, by what Docker lists, in milliseconds from now: started then, and ended then.
fn web(world: &World, status: Status, (started_ms, finished_ms): (i64, i64)) -> Container {
    let made = Container::new(container_id('a'), "web", Timestamp(0));
    let (started_at, finished_at) = (Some(world.wall(started_ms)), Some(world.wall(finished_ms)));
    Container { status, started_at, finished_at, exit_code: 255, ..made }
}

impl World {
    /// Docker lists `web` alone.
    fn lists(&mut self, web: Container) {
        self.handle(Event::Docker(Report::Listed(vec![web])), None);
    }

    /// How containers ended, as it was told.
    fn told_ends(&self) -> Vec<(&'static str, usize)> {
        let mut ends: Vec<_> = self.ends.iter().map(|(reason, count)| (*reason, *count)).collect();
        ends.sort();
        ends
    }
}

/// What the kernel has counted in `web`.
fn page(kills: u64) -> String {
    let id = container_id('a');
    format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"web\"}} {kills}\n")
}

/// `web` runs for a minute.
fn running() -> World {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.lists(web(&world, Status::Running, (-60_000, -90_000)));
    world.slots(3, "");
    world
}

/// The stream breaks as it tells of the end, so nobody looks at the container; the daemon that comes after says
/// that it ended when that came.
#[test]
fn an_end_that_a_dying_docker_told_is_the_one_that_the_next_one_lists() {
    for status in [Some(Status::Exited), Some(Status::Running), None] {
        for is_our_restart in [false, true] {
            let mut world = running();
            let began_ms = world.wall(-75_000).0;
            world.told('a', "web", (0, What::Die { exit_code: 255 }));
            world.lose_docker();
            world.slots(2, "");
            let mut told = world.told_ends();
            if is_our_restart {
                world = world.again(true);
                told.clear();
            }
            let started_ms = began_ms - world.wall(0).0;
            let list = match status {
                Some(Status::Running) => vec![web(&world, Status::Running, (-3_000, -4_000))],
                Some(status) => vec![web(&world, status, (started_ms, -4_000))],
                None => Vec::new(),
            };
            world.handle(Event::Docker(Report::Listed(list)), None);
            world.slots(3, "");
            assert_eq!(world.told_ends(), told, "{status:?}, after our restart: {is_our_restart}");
        }
    }
}

/// It was looked at, and the stream broke before it told what had happened.
#[test]
fn an_end_that_was_seen_and_not_told_is_as_it_looked_though_its_container_is_gone() {
    for status in [Status::Exited, Status::Running] {
        let mut world = running();
        let looks = match status {
            Status::Exited => web(&world, status, (-75_000, -1_000)),
            _ => web(&world, status, (-900, -1_000)),
        };
        world.handle(Event::Docker(Report::Inspected(Box::new(looks))), None);
        world.lose_docker();
        world.handle(Event::Docker(Report::Listed(Vec::new())), None);
        world.slots(3, "");
        let want = if status == Status::Exited { ("crash", 1) } else { ("vanished", 2) };
        assert_eq!(world.told_ends(), [want], "{status:?}");
    }
}

/// The daemon that comes starts it again, it ends once more, and only then somebody listens.
#[test]
fn an_end_that_only_the_next_start_tells_of_counts_once() {
    let start = || What::Start;
    for is_told in [true, false] {
        for has_restarted in [true, false] {
            let mut world = running();
            world.lose_docker();
            world.slots(3, "");
            let list = match has_restarted {
                true => web(&world, Status::Running, (-3_050, -4_000)),
                false => web(&world, Status::Exited, (-8_050, -4_000)),
            };
            world.lists(list.clone());
            if is_told {
                world.told('a', "web", (-8_000, start()));
                world.told('a', "web", (-4_000, die()));
            }
            if is_told && has_restarted {
                world.told('a', "web", (-3_000, start()));
            }
            world.slots(3, "");
            let want = match (is_told, has_restarted) {
                (true, _) => vec![("crash", 1), ("vanished", 1)],
                (false, false) => vec![("crash", 1), ("vanished", 1)],
                // Of more than one end nobody knows.
                (false, true) => vec![("vanished", 1)],
            };
            assert_eq!(world.told_ends(), want, "told: {is_told}, restarted: {has_restarted}");
            world.lose_docker();
            world.lists(list);
            world.slots(3, "");
            assert_eq!(world.told_ends(), want, "listed again: {is_told}, {has_restarted}");
        }
    }
}

#[test]
fn a_start_that_is_told_late_or_again_is_no_end() {
    // Docker was busy with it, and nobody knew since when it ran. Listed, and told a moment later.
    let mut world = begun();
    world.lists(web(&world, Status::Running, (-900, -4_000)));
    world.told('a', "web", (-600, What::Start));
    world.slots(3, "");
    assert_eq!(world.told_ends(), []);
    // Told again to us who were started again, and a restart by hand.
    world.told('a', "web", (-2_000, What::Die { exit_code: 0 }));
    world.told('a', "web", (-1_000, What::Start));
    world.told('a', "web", (-1_000, What::Restart));
    let started_ms = world.wall(-1_000).0;
    assert_eq!(world.told_ends(), [("exit", 1)]);
    world.slots(1, "");
    // Docker may have left out an end, and tell it when it is asked again.
    let mut left_out = running();
    left_out.told('a', "web", (0, What::Start));
    assert_eq!(left_out.told_ends(), []);
    for is_noted in [true, false] {
        let mut again = world.again(is_noted);
        let ago = started_ms - again.wall(0).0;
        again.lists(web(&again, Status::Running, (ago - 50, ago - 1_000)));
        again.told('a', "web", (ago, What::Start));
        again.slots(3, "");
        assert_eq!(again.told_ends(), [], "noted: {is_noted}");
    }
}

/// A daemon that is told to stop says that it ends its containers, and may not be heard any more when they end.
#[test]
fn an_end_that_somebody_asked_for_is_that_though_only_a_list_tells_it() {
    for (signal, status, want) in [
        (15, Status::Exited, "stop"),
        (15, Status::Running, "stop"),
        (9, Status::Exited, "kill"),
        // That ends nothing.
        (28, Status::Exited, "vanished"),
    ] {
        let mut world = running();
        let began_ms = world.wall(-75_000).0;
        world.told('a', "web", (0, What::Kill { signal }));
        world.lose_docker();
        world.slots(2, "");
        let started_ms = if status.is_alive() { -3_000 } else { began_ms - world.wall(0).0 };
        let looks = web(&world, status, (started_ms, -4_000));
        world.lists(Container { exit_code: 137, ..looks });
        world.slots(3, "");
        assert_eq!(world.told_ends(), [(want, 1)], "{signal} {status:?}");
    }
}

/// Docker has forgotten the start by the time that somebody listens again: its last events are few.
#[test]
fn what_was_asked_of_a_run_is_not_asked_of_the_next_though_no_start_was_told() {
    for is_told in [true, false] {
        let mut world = running();
        world.told('a', "web", (0, What::Kill { signal: 9 }));
        world.told('a', "web", (50, KILLED));
        world.lose_docker();
        world.slots(2, "");
        let began = world.wall(-3_000);
        world.lists(web(&world, Status::Running, (-3_000, -9_950)));
        world.slots(4, "");
        assert_eq!(world.told_ends(), [("kill", 1)]);
        let ago = began.0 - world.wall(0).0;
        if is_told {
            world.told('a', "web", (-50, What::Oom));
            world.told('a', "web", (0, KILLED));
        } else {
            world.lose_docker();
            let looks = web(&world, Status::Exited, (ago, 0));
            world.lists(Container { exit_code: 137, ..looks });
        }
        world.slots(3, "");
        let want = if is_told { "oom" } else { "vanished" };
        assert_eq!(world.told_ends(), [("kill", 1), (want, 1)], "told: {is_told}");
    }
}

/// Started beside the one whose name it takes, it runs while that ends; and the list after our restart tells of
/// its own end alone.
#[test]
fn the_end_of_whoever_bore_a_name_before_is_none_of_who_bears_it() {
    let mut world = running();
    let made = Container::new(container_id('b'), "web-new", Timestamp(0));
    let started_at = Some(world.wall(-20_000));
    let green = Container { status: Status::Running, started_at, ..made };
    world.handle(Event::Docker(Report::Inspected(Box::new(green.clone()))), None);
    world.told('a', "web", (0, What::Die { exit_code: 0 }));
    world.told('a', "web", (0, What::Destroy));
    let green = Container { name: "web".to_owned(), ..green };
    world.handle(Event::Docker(Report::Inspected(Box::new(green.clone()))), None);
    world.told('b', "web", (0, What::Rename { from: "web-new".to_owned() }));
    world.slots(3, "");
    assert_eq!(world.told_ends(), [("exit", 1)]);
    let mut again = world.again(true);
    assert_eq!(again.engine.inventory().known_as(&green.id), Some("web"));
    let finished_at = Some(again.wall(-500));
    let ended = Container { status: Status::Exited, finished_at, exit_code: 1, ..green };
    again.handle(Event::Docker(Report::Listed(vec![ended])), None);
    again.slots(3, "");
    assert_eq!(again.told_ends(), [("crash", 1)]);
}

/// What Docker has stamped before stays what it was.
#[test]
fn a_clock_that_is_set_back_ends_no_run() {
    for status in [Status::Running, Status::Exited] {
        // While we run, over a restart of ours, and before one.
        for (sets_back, restarts) in [(true, false), (false, true), (true, true)] {
            let mut world = World::recovered(asking(), Vec::new(), 0);
            let listed = web(&world, status, (-60_000, -10_000));
            world.lists(listed.clone());
            world.slots(3, "");
            if sets_back {
                world.skew_s = -3600;
                world.slots(3, "");
            }
            if restarts {
                let end = world.engine.end(at(world.second, world.skew_s));
                world.rows.extend(end.changes.expect("there is news").1);
                let rows = latest(&world.rows);
                world = World::recovered(asking(), rows, world.second - 3600);
            }
            for _ in 0..2 {
                world.lists(listed.clone());
                world.slots(3, "");
                assert_eq!(world.told_ends(), [], "{status:?} {sets_back} {restarts}");
            }
            // What happens from now on is what it is.
            if status.is_alive() {
                world.told('a', "web", (-300, What::Die { exit_code: 0 }));
            }
            world.lose_docker();
            world.lists(web(&world, Status::Exited, (-150, 0)));
            world.slots(3, "");
            let mut want = vec![("crash", 1)];
            want.extend(status.is_alive().then_some(("exit", 1)));
            assert_eq!(world.told_ends(), want, "{status:?} {sets_back} {restarts}");
        }
    }
}

/// Docker was away, and the kernel's count tells.
#[test]
fn an_end_that_nobody_told_is_the_kernel_s_if_it_killed_in_that_run() {
    for kills in [0, 1] {
        let mut world = running();
        world.slots(2, &page(0));
        world.lose_docker();
        world.slots(1, &page(kills));
        world.slots(8, "");
        world.lists(web(&world, Status::Exited, (-8_050, -4_000)));
        world.told('a', "web", (-8_000, What::Start));
        world.told('a', "web", (-4_000, die()));
        world.slots(6, "");
        let want = if kills == 0 { "vanished" } else { "oom" };
        assert_eq!(world.told_ends(), [("crash", 1), (want, 1)]);
        let counts = world.engine.told_kills.counts("web");
        assert_eq!(counts, Counts { pid1: kills, child: 0 });
    }
}

/// It told of the kill and died; the next one stamps the end with the time at which it came.
#[test]
fn an_end_that_is_told_late_is_by_the_kill_that_docker_and_a_counter_saw_before_it() {
    for seconds in [5, 10, 15] {
        let mut world = running();
        world.slots(2, &page(0));
        world.told('a', "web", (0, What::Oom));
        world.lose_docker();
        world.slots(1, &page(1));
        world.slots((seconds - 5) / 5, "");
        let began_ms = -85_000 - 1_000 * seconds as i64;
        let dead = web(&world, Status::Exited, (began_ms, -10));
        world.lists(Container { exit_code: 137, ..dead });
        world.slots(6, "");
        assert_eq!(world.told_ends(), [("oom", 1)], "{seconds} s later");
        assert_eq!(world.kills("web"), Counts { pid1: 1, child: 0 }, "{seconds} s later");
    }
}

/// A child was killed long before, and Docker told of that.
#[test]
fn an_end_that_is_told_late_is_by_a_kill_that_a_counter_alone_saw_unless_somebody_asked_for_it() {
    for (is_asked, want) in [(false, "oom"), (true, "stop")] {
        let mut world = running();
        world.slots(2, &page(0));
        world.told('a', "web", (0, What::Oom));
        world.slots(4, &page(1));
        if is_asked {
            world.told('a', "web", (0, What::Kill { signal: 15 }));
        }
        world.lose_docker();
        world.slots(1, &page(2));
        world.slots(1, "");
        let dead = web(&world, Status::Exited, (-115_000, -10));
        world.lists(Container { exit_code: 137, ..dead });
        world.slots(6, "");
        assert_eq!(world.told_ends(), [(want, 1)], "asked for: {is_asked}");
        let pid1 = u64::from(!is_asked);
        assert_eq!(world.kills("web"), Counts { pid1, child: 2 - pid1 });
    }
}

#[test]
fn a_kill_ends_the_run_in_which_it_was_and_none_after_it() {
    for is_heard in [true, false] {
        let mut world = running();
        world.told('a', "web", (-4_000, What::Oom));
        world.told('a', "web", (-3_990, KILLED));
        world.told('a', "web", (-3_800, What::Start));
        let run = (-3_850, -1_000);
        let dead = Container { exit_code: 137, ..web(&world, Status::Exited, run) };
        if is_heard {
            world.told('a', "web", (-1_000, KILLED));
        } else {
            world.lose_docker();
            world.lists(dead);
        }
        world.slots(3, "");
        let other = if is_heard { "crash" } else { "vanished" };
        let mut want = vec![("oom", 1), (other, 1)];
        want.sort();
        assert_eq!(world.told_ends(), want, "heard: {is_heard}");
    }
}

/// Docker and we die, and once more before it has told everything: what is noted of the end is when the next run began.
#[test]
fn every_run_has_an_end_though_docker_and_we_die_twice() {
    let mut world = running().again(false);
    for _ in 0..2 {
        world.lists(web(&world, Status::Running, (-550, -900)));
        world.told('a', "web", (-500, What::Start));
        world.handle(Event::Tick, None);
        assert_eq!(world.told_ends(), [("vanished", 1)]);
        world = world.again(false);
    }
}

/// On a busy host a run is over before its start is told; what the container looks like by then is told first.
#[test]
fn what_docker_flags_is_of_the_run_whose_start_it_tells_next_or_told_before() {
    let flagged = |world: &World, run| {
        let dead = web(world, Status::Exited, run);
        Container { exit_code: 137, oom_killed: true, ..dead }
    };
    let shows = |world: &mut World, run| {
        let looks = flagged(world, run);
        world.handle(Event::Docker(Report::Inspected(Box::new(looks))), None);
    };
    // Of one kill Docker's flag and its word.
    let mut world = running();
    let exit = || What::Die { exit_code: 0 };
    for (ms, what) in [(-6_000, exit()), (-5_000, What::Start), (-900, exit())] {
        world.told('a', "web", (ms, what));
    }
    shows(&mut world, (-300, -220));
    for (ms, what) in [(-140, What::Start), (-70, What::Oom), (-10, KILLED)] {
        world.told('a', "web", (ms, what));
    }
    world.slots(3, "");
    assert_eq!(world.kills("web"), Counts { pid1: 1, child: 0 });
    // Of two, one each.
    let mut world = running();
    world.told('a', "web", (-2_000, exit()));
    world.told('a', "web", (-1_500, What::Start));
    shows(&mut world, (-1_550, -900));
    world.told('a', "web", (-890, KILLED));
    let again = web(&world, Status::Running, (-550, -900));
    world.handle(Event::Docker(Report::Inspected(Box::new(again))), None);
    for (ms, what) in [(-500, What::Start), (-100, What::Oom), (-90, KILLED)] {
        world.told('a', "web", (ms, what));
    }
    world.slots(3, "");
    assert_eq!(world.kills("web"), Counts { pid1: 2, child: 0 });
}

/// It hangs, and somebody kills it by hand.
#[test]
fn where_the_kernel_is_not_to_kill_no_word_of_docker_s_is_a_kill() {
    for (is_disabled, kills, want) in [(true, 0, "crash"), (false, 1, "oom")] {
        let mut world = running();
        let hangs = Container {
            oom_kill_disabled: is_disabled,
            ..web(&world, Status::Running, (-8_000, -9_000))
        };
        world.handle(Event::Docker(Report::Inspected(Box::new(hangs))), None);
        world.told('a', "web", (-4_000, What::Oom));
        world.told('a', "web", (-3_990, KILLED));
        world.slots(6, "");
        assert_eq!(world.told_ends(), [(want, 1)], "disabled: {is_disabled}");
        assert_eq!(world.engine.told_kills.counts("web").total(), kills);
    }
}

/// As Compose makes one anew, and we are stopped in between.
#[test]
fn ends_of_a_name_go_on_though_we_were_stopped_while_nobody_bore_it() {
    let mut world = running();
    world.told('a', "web", (-900, die()));
    world.slots(3, "");
    world.looks('b', "0123_web", (-800, Status::Created));
    world.told('a', "web", (0, What::Destroy));
    let mut world = world.again(true);
    world.looks('b', "web", (-60_000, Status::Running));
    world.list(&[('b', "web")]);
    world.slots(3, "");
    let view = world.engine.view(at(world.second, 0));
    let web = view.containers.iter().find(|container| container.known_as == "web");
    assert_eq!(web.map(|web| web.ends.iter().sum()), Some(1u64));
}
