//! What happened while nobody heard Docker, or we were not there: it counts once, and what is known of a
//! name goes on.

use super::containers::container_id;
use super::names::{begun, die};
use super::*;
use crate::containers::KillsById;

impl World {
    /// `web`, of which the run before this one ended at `finished_ms` from now, if it did.
    fn run(&self, status: Status, finished_ms: Option<i64>) -> Container {
        let made = Container::new(container_id('a'), "web", Timestamp(0));
        let finished_at = finished_ms.map(|ms| self.wall(ms));
        // If it is dead that was the first one.
        let again = finished_at.filter(|_| status.is_alive());
        let started_at = again.map_or(Timestamp(1_000), |at| at + Duration::from_secs(1));
        Container { status, started_at: Some(started_at), finished_at, exit_code: 1, ..made }
    }

    /// Ends of `web`, in all.
    fn ends(&self) -> u64 {
        let view = self.engine.view(at(self.second, 0));
        let view = view.containers.iter().find(|container| container.known_as == "web");
        view.map_or(0, |view| view.ends.iter().sum())
    }

    /// What our own collector shows of `web`: kills by the kernel and by everybody, and when the run began,
    /// seconds after the start.
    fn collected(&mut self, slots: u32, kills: u64, began: i64) {
        let id = container_id('a');
        let of = format!("id=\"/docker/{}\",name=\"web\"", id.as_str());
        let began = at(began, 0).wall.0 / 1000;
        for _ in 0..slots {
            let shown = self.kills("web").total().max(kills);
            self.other.1 = Some(format!(
                "container_start_time_seconds{{{of}}} {began}\ncontainer_oom_events_total{{{of}}} {shown}\n\
                 plimsoll_container_memory_events_total{{{of},event=\"oom_kill\"}} {kills}\n"
            ));
            self.slot(Some(""));
        }
    }

    /// The collector is the only target.
    fn collects(&mut self) {
        self.collects_as(labels_of(TargetId::COLLECTOR));
    }

    fn collects_as(&mut self, labels: Labels) {
        let info = TargetInfo {
            id: TargetId::COLLECTOR,
            labels,
            discovered: Labels::empty(),
            url: "collector".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(4),
        };
        let (active, dropped) = (vec![info], Vec::new());
        self.handle(Event::Targets { active, dropped, flaws: Flaws::default() }, None);
    }

    fn listed(&mut self, list: Vec<Container>) {
        self.handle(Event::Docker(Report::Listed(list)), None);
    }
}

#[test]
fn an_end_that_was_missed_counts_once_though_the_next_one_shows_before_it_is_given_up() {
    for is_told in [true, false] {
        let mut world = begun();
        world.listed(vec![world.run(Status::Running, None)]);
        world.slots(1, "");
        world.lose_docker();
        world.slots(1, "");
        world.listed(vec![world.run(Status::Running, Some(-2_000))]);
        if is_told {
            world.told('a', "web", (-2_000, die()));
            world.told('a', "web", (-1_000, What::Start));
        }
        // Nothing happens until it ends again; what it looks like then is told before that.
        world.second += 6;
        let ended = world.run(Status::Exited, Some(0));
        world.handle(Event::Docker(Report::Inspected(Box::new(ended))), None);
        world.told('a', "web", (0, die()));
        world.slots(3, "");
        assert_eq!(world.ends(), 2, "told of: {is_told}");
    }
}

/// A connection that breaks again at once.
#[test]
fn an_end_that_a_list_told_counts_though_another_list_follows_before_it_is_given_up() {
    for (second_ms, is_told, want) in
        [(-4_000, false, 1), (-4_000, true, 1), (-1_000, false, 2), (-1_000, true, 2)]
    {
        let mut world = begun();
        world.listed(vec![world.run(Status::Running, None)]);
        world.slots(1, "");
        world.lose_docker();
        world.slots(1, "");
        world.listed(vec![world.run(Status::Running, Some(-4_000))]);
        world.lose_docker();
        world.listed(vec![world.run(Status::Running, Some(second_ms))]);
        if is_told {
            world.told('a', "web", (-4_000, die()));
            world.told('a', "web", (-3_000, What::Start));
        }
        world.slots(3, "");
        assert_eq!(world.ends(), want, "{second_ms}, told of: {is_told}");
    }
}

/// The watch looks at what Docker is busy with before it tells what happened, and a connection may break.
#[test]
fn an_end_counts_once_however_late_the_watch_tells_it() {
    for is_lost_again in [false, true] {
        let mut world = begun();
        world.lose_docker();
        world.slots(1, "");
        world.tells_all_after_s = 60;
        world.listed(vec![]);
        if is_lost_again {
            world.lose_docker();
            world.slots(2, "");
            world.listed(vec![]);
        }
        world.slots(2, "");
        assert_eq!(world.ends(), 0, "lost again: {is_lost_again}");
        world.told('a', "web", (-22_000, die()));
        world.told('a', "web", (-21_000, What::Destroy));
        world.slots(20, "");
        assert!(world.engine.inventory().is_empty());
        world.looks('b', "web", (0, Status::Running));
        assert_eq!(world.ends(), 1, "lost again: {is_lost_again}");
    }
}

/// A connection that breaks again at once, and Docker's memory of events with it.
#[test]
fn who_is_on_one_list_and_not_on_the_next_is_gone_and_has_ended_as_the_first_one_says() {
    for (status, want) in [(Status::Running, 2), (Status::Exited, 1)] {
        let mut world = begun();
        world.listed(vec![world.run(Status::Running, None)]);
        world.slots(1, "");
        world.lose_docker();
        world.slots(1, "");
        world.listed(vec![world.run(status, Some(-4_000))]);
        world.lose_docker();
        world.listed(vec![]);
        world.slots(3, "");
        assert!(world.engine.inventory().is_empty(), "{status:?}");
        world.looks('b', "web", (0, Status::Running));
        assert_eq!(world.ends(), want, "{status:?}");
    }
}

/// It ran when plimsoll came to this host, and Docker's memory of events is gone.
#[test]
fn a_kill_that_only_the_flag_tells_counts_also_in_a_run_from_before_we_watched() {
    for (was_flagged, want) in [(false, 1), (true, 0)] {
        let mut world = begun();
        let running = world.run(Status::Running, None);
        world.listed(vec![Container { oom_killed: was_flagged, ..running.clone() }]);
        world.slots(3, "");
        world.lose_docker();
        world.slots(3, "");
        let finished_at = Some(world.wall(-3_000));
        let dead = Container { status: Status::Exited, finished_at, exit_code: 137, ..running };
        world.listed(vec![Container { oom_killed: true, ..dead }]);
        world.slots(5, "");
        assert_eq!(world.kills("web").total(), want, "flagged before: {was_flagged}");
    }
}

/// A name is given on while we are away: the old one makes way, the new one comes, the old one is removed.
/// How many ends of it are known then, and after an hour and another restart of ours.
fn given_on(old: Status, is_told: bool) -> [u64; 2] {
    let mut world = begun();
    world.told('a', "web", (-1_000, die()));
    world.looks('a', "web", (0, old));
    world.slots(3, "");
    let mut world = world.again(true);
    world.looks('b', "web", (-3_000, Status::Running));
    world.list(&[('b', "web")]);
    if is_told {
        world.told('a', "old", (-4_900, What::Rename { from: "web".to_owned() }));
        if old.is_alive() {
            world.told('a', "old", (-4_800, What::Kill { signal: 9 }));
            world.told('a', "old", (-4_700, What::Die { exit_code: 137 }));
        }
        world.told('b', "web", (-3_000, What::Start));
        world.told('a', "old", (-2_900, What::Destroy));
    }
    world.slots(3, "");
    let before = world.ends();
    let mut world = world.again(true);
    world.list(&[('b', "web")]);
    world.slots(800, "");
    [before, world.ends()]
}

#[test]
fn a_name_that_was_given_on_while_nobody_heard_keeps_what_is_known_of_it() {
    let cases = [
        (Status::Running, true),
        (Status::Running, false),
        (Status::Exited, true),
        (Status::Exited, false),
    ];
    let ends = cases.map(|(old, is_told)| given_on(old, is_told));
    assert_eq!(ends, [[2, 2], [2, 2], [1, 1], [1, 1]]);
}

#[test]
fn a_crash_loop_of_the_new_one_goes_on_when_the_old_one_of_its_name_is_removed() {
    let mut world = begun();
    world.slots(3, "");
    let mut world = world.again(true);
    world.list(&[('b', "web")]);
    world.told('a', "old", (-4_000, What::Rename { from: "web".to_owned() }));
    world.told('a', "old", (-3_950, die()));
    for ms in [-3_900, -3_700, -3_500, -3_300] {
        world.told('b', "web", (ms, What::Start));
        world.told('b', "web", (ms + 100, die()));
    }
    world.told('a', "old", (-2_000, What::Destroy));
    world.slots(3, "");
    let view = world.engine.view(at(world.second, 0));
    assert_eq!(view.containers[0].state, "crash_loop");
}

const LOOP: &str = "groups:
- name: g
  rules:
  - alert: Loop
    expr: max by (service, name) (plimsoll_container_crash_loop) == 1
";

fn looping() -> World {
    let setup = Setup { docker: AskDocker::IfThere, ..setup(LOOP, acting()) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.list(&[('a', "web")]);
    let mut told = Vec::new();
    for _ in 0..4 {
        world.docker('a', "web", What::Start);
        world.docker('a', "web", die());
        told.extend(world.slots(1, ""));
    }
    assert_eq!(told, ["firing"]);
    world
}

/// Our own restart, with a window as old as `checkpoint`.
fn with_window(world: &World, checkpoint: &[u8]) -> World {
    let setup = Setup { docker: AskDocker::IfThere, ..setup(LOOP, acting()) };
    let mut again = World::recovered(setup, latest(&world.rows), world.second + 1);
    again.find_targets(0);
    let now = at(again.second, 0);
    again.engine.restore_window(checkpoint, now).expect("a good checkpoint");
    again.find_targets(1);
    again
}

#[test]
fn a_loop_of_which_an_old_window_tells_alone_does_not_fire_again() {
    let mut world = looping();
    let checkpoint = world.engine.checkpoint();
    world.docker('a', "web", What::Destroy);
    let told = world.slots(8, "");
    assert_eq!(told, ["resolved"], "it is removed");
    // Docker hangs.
    let mut world = with_window(&world, &checkpoint);
    assert_eq!(world.slots(4, ""), [""; 0]);
    // One that goes on is unknown while nobody sees it, and known again.
    let world = looping();
    let checkpoint = world.engine.checkpoint();
    let mut world = with_window(&world, &checkpoint);
    assert_eq!(world.slots(4, ""), ["unknown"]);
    world.list(&[('a', "web")]);
    assert_eq!(world.slots(2, ""), ["known"]);
}

#[test]
fn a_loop_that_was_told_to_be_over_is_over_after_our_restart() {
    // Whenever the journal was told how far Docker was heard.
    for slots in 0..2 {
        let mut world = looping();
        world.slots(slots, "");
        world.docker('a', "web", What::Start);
        let ended = (0..200).find(|_| world.slots(1, "") == ["resolved"]);
        assert!(ended.is_some(), "ten quiet minutes");
        let checkpoint = world.engine.checkpoint();
        let mut world = with_window(&world, &checkpoint);
        world.list(&[('a', "web")]);
        // Docker has not told everything by then.
        world.second -= 1;
        assert_eq!(world.slots(4, ""), [""; 0], "{slots}");
    }
}

/// It shows what is counted here, also of a cgroup that is gone, and is no witness of that.
#[test]
fn what_our_own_collector_shows_of_kills_is_not_counted_again() {
    let mut world = begun();
    world.collects();
    world.collected(2, 0, 0);
    assert_eq!(world.engine.take_kills().as_deref(), Some(&KillsById::new()));
    world.told('a', "web", (0, What::Oom));
    world.told('a', "web", (10, What::Die { exit_code: 137 }));
    let began = world.second + 1;
    world.collected(9, 0, began);
    let told = |world: &mut World| Some(world.engine.take_kills()?[&container_id('a')]);
    assert_eq!((told(&mut world), told(&mut world)), (Some(1), None));
    // Another of which the kernel's count alone tells.
    world.collected(9, 1, began);
    assert_eq!(told(&mut world), Some(2));
    let Counts { pid1, child } = world.kills("web");
    assert_eq!((pid1, child), (1, 1));
}

/// What our own collector shows is made of what is counted here, and that of what the kernel counted.
#[test]
fn a_rule_that_reads_the_collector_s_count_alone_keeps_the_kernel_s() {
    let rules =
        "groups: [{name: g, rules: [{alert: Killed, expr: 'container_oom_events_total > 99'}]}]";
    let setup = setup(rules, acting());
    let selection = setup.selection();
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.selection = selection;
    world.collects();
    let began = world.second + 1;
    world.docker_has('a', "web");
    world.collected(3, 0, began);
    world.collected(9, 1, began);
    assert_eq!(world.kills("web").total(), 1);
}

/// Another plimsoll's page shows what that one has counted, later than it was; the kernel's count is beside it.
#[test]
fn what_another_plimsoll_has_counted_is_no_witness_where_the_kernel_s_count_stands_beside_it() {
    let of = format!("id=\"/docker/{}\",name=\"web\"", container_id('a').as_str());
    // Whichever stands first.
    for is_kernel_first in [false, true] {
        let mut world = begun();
        for (shown, kernel, want) in [(0, 0, 0), (3, 0, 0), (3, 1, 1)] {
            let shown = format!("container_oom_events_total{{{of}}} {shown}\n");
            let counter = "plimsoll_container_memory_events_total";
            let kernel = format!("{counter}{{{of},event=\"oom_kill\"}} {kernel}\n");
            let page = if is_kernel_first { kernel + &shown } else { shown + &kernel };
            for _ in 0..4 {
                world.slot(Some(&page));
            }
            assert_eq!(world.kills("web").total(), want, "{page}");
        }
    }
}

/// A reload gives the host another name.
#[test]
fn our_own_counter_is_the_same_whatever_it_is_labelled() {
    let mut world = begun();
    world.collects();
    world.collected(1, 0, 0);
    world.told('a', "web", (-1_000, What::Oom));
    world.collected(2, 1, 0);
    world.told('a', "web", (-900, What::Die { exit_code: 0 }));
    world.told('a', "web", (-800, What::Start));
    let began = world.second;
    world.collected(3, 1, began);
    world.collects_as(Labels::from_pairs([("job", "collector"), ("instance", "renamed")]));
    world.collected(6, 1, began);
    assert_eq!(world.kills("web").total(), 1);
}

/// Over the runs of a container it goes on, over our restart it does not.
#[test]
fn our_own_counter_begins_anew_with_us_and_what_it_had_carried_is_no_kill_of_less() {
    // The collector shows the new run before Docker has told of it, at the latest then, or long after.
    for seen_before in 0..3 {
        let mut world = begun();
        world.collects();
        world.collected(1, 0, 0);
        world.told('a', "web", (-1_000, What::Oom));
        world.collected(2, 1, 0);
        let began = world.second + 2;
        world.second += 3;
        world.collected(seen_before, 1, 0);
        let ago = |at: i64| 1000 * (at - world.second);
        let (end, start) = (ago(began - 1), ago(began));
        world.told('a', "web", (end, What::Die { exit_code: 0 }));
        world.told('a', "web", (start, What::Start));
        world.collected(3, 1, began);
        let mut world = world.again(true);
        world.list(&[('a', "web")]);
        world.collects();
        world.told('a', "web", (-800, What::Oom));
        world.second += 2;
        world.told('a', "web", (-800, What::Oom));
        world.collected(6, 2, began);
        assert_eq!(world.kills("web").child, 3, "seen {seen_before} times before");
    }
}
