//! Docker as an input: what its silence says, and what a restart of ours remembers.

use super::containers::container_id;
use super::*;
use crate::alerts::Doubt;

pub(super) const RULES: &str = "
groups:
  - name: g
    rules:
      - alert: Loop
        expr: max by (service, name) (plimsoll_container_crash_loop) == 1
      - alert: High
        expr: max by (service, name) (container_memory_working_set_bytes) > 90
      - alert: Silent
        expr: absent(plimsoll_container_crash_loop)
        for: 1h
";

pub(super) fn asking() -> Setup {
    Setup { docker: AskDocker::IfThere, ..setup(RULES, acting()) }
}

pub(super) fn begun() -> World {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.list(&[('a', "acme-web")]);
    world
}

pub(super) fn page(digit: char, name: &str, bytes: u32) -> String {
    let id = container_id(digit);
    format!("container_memory_working_set_bytes{{id=\"/docker/{id}\",name=\"{name}\"}} {bytes}\n")
}

impl World {
    /// Docker answers and says what runs.
    pub(super) fn list(&mut self, containers: &[(char, &str)]) {
        let running = |(digit, name): &(char, &str)| {
            let container = Container::new(container_id(*digit), name, Timestamp(0));
            Container { status: Status::Running, ..container }
        };
        let list = containers.iter().map(running).collect();
        self.handle(Event::Docker(Report::Listed(list)), None);
    }

    pub(super) fn lose_docker(&mut self) {
        self.miss_docker(true);
    }

    /// It does not answer; somebody is there or not.
    pub(super) fn miss_docker(&mut self, is_there: bool) {
        let why = "no answer".to_owned();
        self.handle(Event::Docker(Report::Lost { why, is_there }), None);
    }

    /// Our own restart: what the journal holds is left, and the window is not.
    pub(super) fn begin_anew(&self) -> World {
        World::recovered(asking(), latest(&self.rows), self.second + 1)
    }

    pub(super) fn slots(&mut self, count: usize, page: &str) -> Vec<String> {
        (0..count).flat_map(|_| self.slot(Some(page))).collect()
    }

    /// The container ends and is started again so often that it is a loop.
    fn fall_into_a_loop(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..4 {
            self.docker('a', "acme-web", What::Start);
            told.extend(self.slot(Some("")));
            self.docker('a', "acme-web", What::Die { exit_code: 1 });
            told.extend(self.slot(Some("")));
        }
        told
    }

    /// Why the alert of the rule at this place is unknown.
    fn doubt(&self, rule: usize) -> Option<Doubt> {
        let view = self.engine.view(at(self.second, 0));
        let alerts = &view.groups[0].rules[rule].alerting.as_ref().expect("an alert").alerts;
        alerts.iter().find_map(|alert| alert.unknown.clone()).map(|(_, doubt)| doubt)
    }
}

#[test]
fn a_loop_that_nobody_can_see_is_unknown_and_goes_on_when_docker_does() {
    let mut world = begun();
    assert_eq!(world.fall_into_a_loop(), ["firing"]);
    world.lose_docker();
    let told = world.slots(200, "");
    assert_eq!(told, ["unknown"], "for more than the ten minutes after which a loop is over");
    assert_eq!(world.doubt(0), Some(Doubt::DockerSilent));
    let state = world.engine.view(at(world.second, 0)).docker.expect("it is asked");
    assert_eq!((state.is_heard, state.why.as_deref()), (false, Some("no answer")));
    world.list(&[('a', "acme-web")]);
    // What was missed is told a moment after the list.
    world.docker('a', "acme-web", What::Start);
    assert_eq!(world.slots(3, ""), ["known"]);
    assert_eq!(world.slots(130, ""), ["resolved"], "ten minutes without a restart");
}

#[test]
fn a_loop_goes_on_through_our_restart_even_while_docker_hangs() {
    let mut world = begun();
    world.fall_into_a_loop();
    world.slots(3, "");
    let before = world.live("plimsoll_container_ends_total");
    let mut world = world.begin_anew();
    assert_eq!(world.slots(3, ""), ["unknown"]);
    assert_eq!(world.doubt(0), Some(Doubt::DockerSilent));
    world.list(&[('a', "acme-web")]);
    assert_eq!(world.slots(2, ""), ["known"]);
    assert_eq!(world.live("plimsoll_container_ends_total"), before);
    let view = world.engine.view(at(world.second, 0));
    assert_eq!((view.containers[0].state, view.containers[0].ends[1]), ("crash_loop", 4));
}

#[test]
fn lines_that_do_not_read_are_counted() {
    let mut world = begun();
    for lines in [2, 3] {
        world.handle(Event::Docker(Report::Unread(lines)), None);
    }
    assert_eq!(world.engine.view(at(world.second, 0)).counters.docker_lines_unread, 5);
}

#[test]
fn nothing_begins_because_docker_is_silent() {
    let mut world = begun();
    world.slots(4, "");
    let mut world = world.begin_anew();
    assert_eq!(world.slots(4, ""), [""; 0]);
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(0.0));
    world.list(&[]);
    assert_eq!(world.slots(1, ""), ["pending"], "and now there is none indeed");
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(1.0));
}

pub(super) fn newest(world: &World, metric: &str) -> Option<f64> {
    let mut live = world.engine.window.live().filter(|(_, l)| l.metric_name() == metric);
    let newest = live.next().and_then(|(id, _)| world.engine.window.newest(id));
    newest.map(|sample| sample.value)
}

#[test]
fn who_a_container_is_goes_through_our_restart_without_docker() {
    let mut world = begun();
    world.docker('a', "other", What::Rename { from: "acme-web".to_owned() });
    world.docker_has('a', "other");
    world.slots(4, &page('a', "acme-web", 10));
    let world = world.begin_anew();
    let inventory = world.engine.inventory();
    let id = container_id('a');
    assert_eq!(inventory.known_as(&id), Some("acme-web"));
    assert_eq!(inventory.get(&id).map(|known| known.name.as_str()), Some("other"));
    assert!(!inventory.is_heard());
}

#[test]
fn one_that_is_gone_after_our_restart_has_vanished_and_leaves_no_row() {
    let mut world = begun();
    world.slots(4, "");
    let mut world = world.begin_anew();
    world.list(&[]);
    world.slots(6, "");
    assert_eq!(world.live("plimsoll_container_ends_total").len(), 1);
    assert_eq!(world.engine.inventory().len(), 0);
    let rows = latest(&world.rows);
    let left = rows.iter().filter(|row| row.key.starts_with("container:") && row.value.is_some());
    assert_eq!(left.count(), 0);
}

#[test]
fn restored_alerts_wait_for_docker_where_nobody_knows_a_container() {
    let mut world = begun();
    assert_eq!(world.slots(1, &page('a', "acme-web", 95)), ["firing"]);
    // A journal from before containers were in it.
    let rows = latest(&world.rows).into_iter().filter(|row| !row.key.starts_with("container:"));
    let mut world = World::recovered(asking(), rows.collect(), world.second + 1);
    assert_eq!(world.slots(3, &page('a', "aaaaaaaaaaaa", 10)), ["unknown"]);
    assert_eq!(world.doubt(1), Some(Doubt::DockerSilent));
    world.list(&[('a', "acme-web")]);
    assert_eq!(world.slots(2, &page('a', "acme-web", 10)), ["resolved"]);
}

#[test]
fn an_alert_waits_for_the_one_that_takes_a_containers_place() {
    for (comes_back, want) in [(true, &[""; 0][..]), (false, &["resolved"])] {
        let mut world = begun();
        world.docker_has('c', "acme-api");
        assert_eq!(world.slots(1, &page('a', "acme-web", 95)), ["firing"]);
        world.docker('a', "acme-web", What::Kill { signal: 15 });
        world.docker('a', "acme-web", What::Die { exit_code: 0 });
        assert_eq!(world.slots(1, ""), [""; 0]);
        world.docker('a', "acme-web", What::Destroy);
        assert_eq!(world.slots(3, ""), [""; 0], "longer than what is told of unknown otherwise");
        let container = "acme-web".to_owned();
        assert_eq!(world.doubt(1), Some(Doubt::ContainerEnded { container }));
        if comes_back {
            world.docker_has('b', "acme-web");
        }
        let page = if comes_back { page('b', "acme-web", 95) } else { String::new() };
        assert_eq!(world.slots(10, &page), want);
    }
}

#[test]
fn an_alert_waits_for_a_successor_that_comes_after_our_own_restart() {
    // One that came and went between two notes leaves no row, and nothing waits.
    for is_lasting in [true, false] {
        let mut world = begun();
        let (digit, name) = if is_lasting { ('a', "acme-web") } else { ('b', "passing") };
        world.slots(1, &page('c', "acme-api", 10));
        world.docker_has(digit, name);
        assert_eq!(world.slots(1, &page(digit, name, 95)), ["firing"]);
        world.docker(digit, name, What::Kill { signal: 15 });
        world.docker(digit, name, What::Destroy);
        world.slots(2, "");
        let mut world = world.begin_anew();
        world.list(&[]);
        let told = world.slots(2, "");
        assert_eq!(told.contains(&"resolved".to_owned()), !is_lasting, "{told:?}");
        if is_lasting {
            world.docker_has('d', name);
            assert_eq!(world.slots(10, &page('d', name, 95)), [""; 0]);
            let left = latest(&world.rows).into_iter().filter(|row| row.value.is_some());
            assert_eq!(left.filter(|row| row.key.starts_with("ended:")).count(), 0);
        }
    }
}

#[test]
fn what_its_successor_has_no_more_is_over_once_that_was_read() {
    let mut world = begun();
    assert_eq!(world.slots(1, &page('a', "acme-web", 95)), ["firing"]);
    world.docker('a', "acme-web", What::Die { exit_code: 0 });
    let started_at = Some(at(world.second, 0).wall);
    let container = Container::new(container_id('a'), "acme-web", Timestamp(0));
    let container = Container { status: Status::Running, started_at, ..container };
    world.handle(Event::Docker(Report::Inspected(Box::new(container))), None);
    assert_eq!(world.slots(1, &page('a', "acme-web", 10)), [""; 0]);
    assert_eq!(world.slots(1, &page('a', "acme-web", 10)), ["resolved"]);
}

/// Docker says no more of one that it is busy with: what it said before holds.
#[test]
fn a_glimpse_takes_nothing_from_what_is_known() {
    let mut world = begun();
    let mut known = Container::new(container_id('a'), "acme-web", Timestamp(0));
    known.limits.memory_bytes = Some(64 << 20);
    known.status = Status::Exited;
    known.oom_killed = true;
    let mut inspect = |container: &Container| {
        world.handle(Event::Docker(Report::Inspected(Box::new(container.clone()))), None);
        world.engine.inventory().get(&container_id('a')).expect("it is known").clone()
    };
    assert_eq!(inspect(&known), known);
    let glimpse = Container::new(container_id('a'), "other", Timestamp(0));
    let glimpse = Container { status: Status::Running, is_glimpse: true, ..glimpse };
    let now = inspect(&glimpse);
    assert_eq!((now.name.as_str(), now.status), ("other", Status::Running));
    assert_eq!((now.limits, now.is_glimpse), (known.limits, false));
    assert!(!now.oom_killed, "that was the run before");
}

#[test]
fn a_makeshift_name_is_given_up_for_the_one_docker_tells() {
    let counter = |name: &str, kills: u8| {
        let id = container_id('a');
        format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"{name}\"}} {kills}\n")
    };
    let rules = format!("{RULES}      - alert: Oom\n        expr: plimsoll_oom_total > 99\n");
    let setup = Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.slots(1, &counter("aaaaaaaaaaaa", 0));
    world.slots(4, &counter("aaaaaaaaaaaa", 1));
    assert_eq!(world.live("plimsoll_oom_total"), ["aaaaaaaaaaaa"; 2]);
    world.list(&[('a', "acme-web")]);
    world.slots(4, &counter("acme-web", 2));
    assert_eq!(world.live("plimsoll_oom_total"), ["acme-web"; 2]);
    let view = world.engine.view(at(world.second, 0));
    assert_eq!(view.containers[0].oom, Counts { pid1: 0, child: 2 });
    let rows = latest(&world.rows);
    let counts: Vec<&str> = rows.iter().filter_map(|row| row.key.strip_prefix("oom:")).collect();
    assert_eq!(counts, ["acme-web"]);
}

#[test]
fn a_child_s_kill_stays_a_child_s_when_docker_removes_the_container() {
    let rules = format!("{RULES}      - alert: Oom\n        expr: plimsoll_oom_total > 99\n");
    let mut world = World::recovered(
        Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) },
        Vec::new(),
        0,
    );
    world.list(&[('a', "acme-web"), ('c', "acme-api")]);
    let counter = |digit: char, name: &str, kills: u8| {
        let id = container_id(digit);
        format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"{name}\"}} {kills}\n")
    };
    let rest = counter('c', "acme-api", 0);
    world.slots(2, &(rest.clone() + &counter('a', "acme-web", 0)));
    world.slots(1, &(rest.clone() + &counter('a', "acme-web", 1)));
    world.docker('a', "acme-web", What::Kill { signal: 9 });
    world.docker('a', "acme-web", What::Die { exit_code: 137 });
    world.docker('a', "acme-web", What::Destroy);
    world.slots(4, &rest);
    let rows = latest(&world.rows);
    let row = rows.iter().find(|row| row.key == "oom:acme-web").expect("it was counted");
    let counts = String::from_utf8_lossy(row.value.as_deref().expect("and is"));
    assert_eq!(counts, r#"{"pid1":0,"child":1}"#);
}

#[test]
fn one_made_under_a_passing_name_goes_on_as_the_one_it_replaces() {
    let mut world = begun();
    assert_eq!(world.slots(1, &page('a', "acme-web", 95)), ["firing"]);
    // As Compose makes one anew: create, stop, remove, rename, start.
    let made = Container::new(container_id('b'), "a1b2_acme-web", Timestamp(0));
    world.handle(Event::Docker(Report::Inspected(Box::new(made))), None);
    world.docker('a', "acme-web", What::Die { exit_code: 0 });
    world.docker('a', "acme-web", What::Destroy);
    world.docker_has('b', "acme-web");
    assert_eq!(world.slots(2, &page('b', "acme-web", 95)), [""; 0]);
    assert_eq!(world.engine.inventory().known_as(&container_id('b')), Some("acme-web"));
    // Blue and green: the one that stood by takes the name of the one that is gone.
    world.docker_has('c', "stage");
    world.docker('c', "stage", What::Start);
    world.docker('b', "acme-web", What::Destroy);
    world.docker_has('c', "acme-web");
    assert_eq!(world.engine.inventory().known_as(&container_id('c')), Some("acme-web"));
    // A name that nobody had is a rename, and changes nothing.
    world.docker_has('c', "fresh");
    assert_eq!(world.engine.inventory().known_as(&container_id('c')), Some("acme-web"));
}

#[test]
fn blue_and_green_change_places_in_whatever_order() {
    for removed_last in [true, false] {
        let mut world = begun();
        world.docker_has('b', "acme-new");
        let pages = |new: &str| page('a', "acme-web", 95) + &page('b', new, 95);
        assert_eq!(world.slots(1, &pages("acme-new")), ["firing"; 2]);
        world.docker_has('a', "acme-old");
        let remove = |world: &mut World| {
            world.docker('a', "acme-old", What::Die { exit_code: 0 });
            world.docker('a', "acme-old", What::Destroy);
        };
        if !removed_last {
            remove(&mut world);
        }
        world.docker_has('b', "acme-web");
        if removed_last {
            let known = world.engine.inventory().known_as(&container_id('b')).map(str::to_owned);
            assert_eq!(known.as_deref(), Some("acme-new"), "the first one is there still");
            remove(&mut world);
        }
        let inventory = world.engine.take_inventory(at(world.second, 0)).expect("it is new");
        assert_eq!(inventory.known_as(&container_id('b')), Some("acme-web"));
        // The collector shows it by that from now on; it alone is not called `acme-new` any more.
        let told = world.slots(30, &page('b', "acme-web", 95));
        assert_eq!(told, ["resolved"], "that of acme-web goes on");
        let view = world.engine.view(at(world.second, 0));
        let alerts = &view.groups[0].rules[1].alerting.as_ref().expect("an alert").alerts;
        let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        let names: Vec<_> = firing.filter_map(|alert| alert.labels.get("name")).collect();
        assert_eq!(names, ["acme-web"], "removed last: {removed_last}");
        let again = world.begin_anew().engine.inventory();
        assert_eq!(again.known_as(&container_id('b')), Some("acme-web"), "the journal knows");
        let view = world.begin_anew().engine.view(at(0, 0));
        let web = view.containers.iter().find(|c| c.known_as == "acme-web").expect("it is known");
        assert_eq!(web.ends.iter().sum::<u64>(), 1, "of its predecessor: {removed_last}");
    }
}

#[test]
fn names_given_while_we_were_away_are_told_apart() {
    let mut world = begun();
    world.slots(4, "");
    let mut world = world.begin_anew();
    world.list(&[('b', "acme-web"), ('a', "acme-old")]);
    let inventory = world.engine.inventory();
    let known = ['a', 'b'].map(|digit| inventory.known_as(&container_id(digit)).map(str::to_owned));
    assert_eq!(known.map(|name| name.unwrap_or_default()), ["acme-old", "acme-web"]);
}

#[test]
fn a_container_that_is_shown_no_more_has_ended_whoever_tells_of_it() {
    // Docker hangs, and nobody has noticed; or it is lost; or there is none.
    for (docker, lost) in [(true, false), (true, true), (false, false)] {
        let mut world = if docker { begun() } else { World::new(RULES, acting()) };
        let both = page('a', "acme-web", 95) + &page('c', "acme-api", 10);
        world.slots(1, &both);
        if lost {
            world.lose_docker();
        }
        let rest = page('c', "acme-api", 10);
        let told = world.slots(4, &rest);
        assert!(!told.contains(&"resolved".to_owned()), "{docker} {lost}: {told:?}");
        let container = "acme-web".to_owned();
        assert_eq!(world.doubt(1), Some(Doubt::ContainerEnded { container }));
        let told = world.slots(4, &rest);
        // While nobody can say whether another has come, it stays so.
        assert_eq!(told.contains(&"resolved".to_owned()), !lost, "{docker} {lost}: {told:?}");
    }
}

#[test]
fn a_flag_from_before_we_came_is_no_kill_when_the_container_is_stopped() {
    let rules = format!("{RULES}      - alert: Oom\n        expr: plimsoll_oom_total > 99\n");
    // Docker 20.10 shows the flag of a killed child only once the run has ended.
    for (is_old, was_flagged, want) in [(true, true, 0), (true, false, 0), (false, false, 1)] {
        let setup = Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) };
        let mut world = World::recovered(setup, Vec::new(), 0);
        let now = at(world.second, 0).wall;
        let hour = Duration::from_secs(3600);
        let started_at = Some(if is_old { now - hour } else { now + Duration::from_secs(1) });
        let mut old = Container::new(container_id('a'), "acme-old", Timestamp(0));
        (old.status, old.started_at, old.oom_killed) = (Status::Running, started_at, was_flagged);
        world.handle(Event::Docker(Report::Listed(vec![old.clone()])), None);
        world.slots(3, "");
        (old.status, old.exit_code, old.oom_killed) = (Status::Exited, 143, true);
        old.finished_at = Some(at(world.second, 0).wall);
        world.handle(Event::Docker(Report::Inspected(Box::new(old))), None);
        world.slots(8, "");
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers[0].oom.total(), want, "{is_old} {was_flagged}");
    }
}

#[test]
fn a_young_container_does_not_take_its_own_place() {
    let mut world = begun();
    let started_at = Some(at(world.second, 0).wall);
    let young = Container::new(container_id('d'), "young", Timestamp(0));
    let young = Container { status: Status::Running, started_at, ..young };
    world.handle(Event::Docker(Report::Inspected(Box::new(young))), None);
    let rest = page('a', "acme-web", 10);
    let told = world.slots(2, &(rest.clone() + &page('d', "young", 95)));
    assert!(told.contains(&"firing".to_owned()), "{told:?}");
    // Docker hangs, and its last word is that it runs.
    world.lose_docker();
    let told = world.slots(8, &rest);
    assert!(!told.contains(&"resolved".to_owned()), "{told:?}");
}

#[test]
fn whoever_stops_asking_docker_believes_nothing_it_said() {
    let mut world = begun();
    world.fall_into_a_loop();
    world.slots(3, "");
    world.reload(setup(RULES, acting()));
    let told = world.slots(8, "");
    assert!(told.contains(&"resolved".to_owned()), "{told:?}");
    assert!(world.engine.inventory().is_empty());
    world.slots(4, "");
    let rows = latest(&world.rows);
    let left = |row: &&Change| row.key.starts_with("container:") || row.key.starts_with("fate:");
    assert_eq!(rows.iter().filter(left).count(), 0);
}

#[test]
fn what_was_removed_while_we_were_away_is_told_of_for_an_hour_and_no_longer() {
    let mut world = begun();
    world.docker('a', "acme-web", What::Die { exit_code: 0 });
    let dead = Container::new(container_id('a'), "acme-web", Timestamp(0));
    let dead = Container { status: Status::Exited, ..dead };
    world.handle(Event::Docker(Report::Inspected(Box::new(dead))), None);
    world.slots(4, "");
    let mut world = world.begin_anew();
    world.list(&[]);
    world.slots(4, "");
    assert_eq!(world.live("plimsoll_container_ends_total").len(), 1);
    world.slots(740, "");
    assert_eq!(world.live("plimsoll_container_ends_total").len(), 0);
}

#[test]
fn ends_of_before_our_restart_are_no_news_where_the_window_was_lost() {
    let rules = format!(
        "{RULES}      - alert: E\n        expr: increase(plimsoll_container_ends_total[1m]) > 0\n"
    );
    let setup = || Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) };
    let mut world = World::recovered(setup(), Vec::new(), 0);
    world.list(&[('a', "acme-web")]);
    world.slots(1, "");
    world.docker('a', "acme-web", What::Die { exit_code: 1 });
    assert_eq!(world.slots(4, ""), ["firing"]);
    world.slots(30, "");
    let mut world = World::recovered(setup(), latest(&world.rows), world.second + 1);
    world.list(&[('a', "acme-web")]);
    assert!(!world.slots(4, "").contains(&"firing".to_owned()));
}

#[test]
fn a_kill_that_a_hanging_docker_stamps_when_it_comes_to_is_one() {
    let rules = format!("{RULES}      - alert: Oom\n        expr: plimsoll_oom_total > 99\n");
    for noticed in [true, false] {
        let setup = Setup { docker: AskDocker::IfThere, ..setup(&rules, acting()) };
        let mut world = World::recovered(setup, Vec::new(), 0);
        world.list(&[('a', "acme-web")]);
        let id = container_id('a');
        let of = format!("{{id=\"/docker/{id}\",name=\"acme-web\"}}");
        let counter = |kills| {
            format!("container_oom_events_total{of} {kills}\ncontainer_start_time_seconds{of} 9\n")
        };
        world.slots(2, &counter(0));
        world.slots(1, &counter(1));
        // The container is gone with it; Docker sleeps on.
        world.slots(2, "");
        if noticed {
            world.lose_docker();
            world.slots(8, "");
            world.list(&[('a', "acme-web")]);
        }
        world.docker('a', "acme-web", What::Oom);
        world.docker('a', "acme-web", What::Die { exit_code: 137 });
        world.slots(6, "");
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers[0].oom, Counts { pid1: 1, child: 0 }, "noticed: {noticed}");
    }
}

#[test]
fn one_that_was_started_again_while_nobody_heard_has_ended_once() {
    let running = |started_s: i64| {
        let container = Container::new(container_id('a'), "acme-web", Timestamp(0));
        let (started_at, finished_at) =
            (Some(Timestamp(started_s * 1000)), Some(Timestamp(49_000)));
        Container { status: Status::Running, started_at, finished_at, ..container }
    };
    let mut world = begun();
    world.handle(Event::Docker(Report::Listed(vec![running(10)])), None);
    world.slots(1, "");
    world.lose_docker();
    for _ in 0..2 {
        world.handle(Event::Docker(Report::Listed(vec![running(50)])), None);
        world.slots(4, "");
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers[0].ends, [0, 0, 0, 0, 0, 1], "nobody saw how, and once");
    }
}

#[test]
fn a_docker_that_somebody_wrote_of_is_missed() {
    let setup = Setup { docker: AskDocker::Yes, ..setup(RULES, acting()) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.lose_docker();
    world.slots(1, &page('a', "acme-web", 95));
    assert_eq!(newest(&world, "plimsoll_docker_up"), Some(0.0));
    let told = world.slots(8, "");
    assert!(told.contains(&"resolved".to_owned()), "it was never heard and owes no news: {told:?}");
}
