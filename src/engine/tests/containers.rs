//! What Docker tells of containers: kills counted once, and who goes on being whom.

use super::*;
use crate::base::is_stale;

/// An id of 64 equal digits.
pub(super) fn container_id(digit: char) -> ContainerId {
    ContainerId::new(&digit.to_string().repeat(64)).expect("64 digits")
}

impl World {
    /// Docker tells of something, now.
    pub(super) fn docker(&mut self, digit: char, name: &str, what: What) {
        let (id, name) = (container_id(digit), name.to_owned());
        let at_nanos = at(self.second, self.skew_s).wall.0 * 1_000_000;
        let happening = Happening { id, name, at_nanos, what };
        self.handle(Event::Docker(Report::Happened(happening)), None);
    }

    pub(super) fn docker_has(&mut self, digit: char, name: &str) {
        let mut container = Container::new(container_id(digit), name, Timestamp(0));
        container.status = Status::Running;
        self.handle(Event::Docker(Report::Inspected(Box::new(container))), None);
    }

    /// The fused count, by name and scope.
    pub(super) fn kills(&self, name: &str) -> Counts {
        let view = self.engine.view(at(self.second, self.skew_s));
        view.containers.iter().find(|c| c.known_as == name).map(|c| c.oom).unwrap_or_default()
    }
}

#[test]
fn a_storm_of_news_is_shown_four_times_a_second() {
    let mut world = World::new("groups: []", acting());
    let mut clock = at(world.second, 0);
    let (mut shown, mut handed) = (0, 0);
    let mut alone = 0;
    for n in 0..400u32 {
        let id = ContainerId::new(&format!("{n:064x}")).expect("64 digits");
        let container = Container::new(id, &format!("job-{n}"), Timestamp(0));
        let news = Event::Docker(Report::Inspected(Box::new(container)));
        world.engine.handle(clock, news);
        handed += usize::from(world.engine.take_inventory(clock).is_some());
        shown += usize::from(world.engine.take_view(clock).is_some());
        if n == 0 {
            alone = shown;
        }
        clock.monotonic += Duration::from_millis(5);
        clock.wall = clock.wall + Duration::from_millis(5);
    }
    assert_eq!(alone, 1, "the first is shown at once");
    assert_eq!((shown, handed), (8, 8), "in two seconds");
    let due = world.engine.next_view().expect("something is held back");
    let soon = clock.monotonic..=clock.monotonic + Duration::from_millis(250);
    assert!(soon.contains(&due), "{due:?} {soon:?}");
    clock.monotonic = due;
    assert_eq!(world.engine.take_inventory(clock).map(|known| known.len()), Some(400));
    let view = world.engine.take_view(clock).expect("the last is shown, too");
    assert_eq!(view.containers.len(), 400);
    assert_eq!(world.engine.next_view(), None, "and then there is nothing to wake for");
}

pub(super) const OOM: &str = "
groups:
  - name: g
    rules:
      - alert: Oom
        expr: sum by (service, name) (increase(plimsoll_oom_total[10m])) > 0
";

#[test]
fn a_kill_fires_and_neither_a_rename_nor_a_recreation_resolves() {
    let mut world = World::new(OOM, acting());
    world.docker_has('a', "acme-web");
    world.slot(Some(""));
    world.docker('a', "acme-web", What::Oom);
    world.docker('a', "acme-web", What::Die { exit_code: 137 });
    world.slot(Some(""));
    assert!(world.slot(Some("")).is_empty(), "it fires once");
    let firing = |world: &World| {
        let view = world.engine.view(at(world.second, 0));
        let alerts = view.groups[0].rules[0].alerting.as_ref().expect("an alert").alerts.clone();
        let active = alerts.iter().filter(|a| a.state == AlertState::Firing);
        active.map(|a| a.labels.get("service").unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(firing(&world), ["acme/app"]);
    world.docker('a', "other-name", What::Rename { from: "acme-web".to_owned() });
    world.docker_has('a', "other-name");
    assert_eq!(world.slot(Some("")), Vec::<String>::new());
    assert_eq!(firing(&world), ["acme/app"]);
    assert_eq!(world.kills("acme-web"), Counts { pid1: 1, child: 0 });
    world.docker('a', "other-name", What::Destroy);
    world.docker_has('b', "acme-web");
    assert_eq!(world.slot(Some("")), Vec::<String>::new());
    assert_eq!(firing(&world), ["acme/app"]);
    world.docker('b', "acme-web", What::Oom);
    for _ in 0..3 {
        world.slot(Some(""));
    }
    assert_eq!(world.kills("acme-web"), Counts { pid1: 1, child: 1 });
    // Our own restart: the journal has the count, and an event told again is the same event.
    let (rows, second) = (world.rows.clone(), world.second);
    let mut again = World::recovered(setup(OOM, acting()), rows, second);
    again.docker_has('b', "acme-web");
    again.slot(Some(""));
    assert_eq!(again.kills("acme-web"), Counts { pid1: 1, child: 1 });
    assert_eq!(again.slot(Some("")), Vec::<String>::new());
}

/// A scrape tells of it after the first groups of its slot have run, and the others have waited for that.
#[test]
fn a_kill_that_a_scrape_tells_fires_in_its_own_slot() {
    let alone = OOM
        .replace("groups:", "groups:\n  - {name: first, rules: [{record: one, expr: vector(1)}]}");
    let rules = format!("{alone}          or container_oom_events_total > 1e9\n");
    let mut world = World::new(&rules, acting());
    let id = container_id('a');
    let page = |kills: u8| {
        format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"acme-web\"}} {kills}\n")
    };
    for kills in [0, 0, 1] {
        assert_eq!(world.slot(Some(&page(kills))), Vec::<String>::new());
    }
    let told = world.slot(Some(&page(1)));
    assert_eq!(told, ["firing"], "its scope is known by now");
}

/// The name is written with no kill by the first group of its first slot, and again before the next.
#[test]
fn a_kill_in_the_very_slot_that_a_name_begins_in_is_an_increase() {
    let alone = OOM
        .replace("groups:", "groups:\n  - {name: first, rules: [{record: one, expr: vector(1)}]}");
    let mut world = World::new(&format!("{alone}          or late > 1e9\n"), acting());
    world.slot(Some("late 1\n"));
    world.docker_has('a', "acme-web");
    world.second += STEP_S;
    let now = at(world.second, 0);
    let step = world.engine.handle(now, Event::Tick);
    let is_scrape = |request: &Request| matches!(request, Request::Scrape { .. });
    assert!(step.requests.iter().any(is_scrape), "{step:?}");
    assert_eq!(world.live("plimsoll_oom_total"), ["acme-web"; 2]);
    world.docker('a', "acme-web", What::Oom);
    world.docker('a', "acme-web", What::Die { exit_code: 137 });
    let batch = scan(&mut world.cache, &world.selection, &labels_of(TargetId(1)), "late 1\n");
    let (target, duration) = (TargetId(1), Duration::ZERO);
    world.handle(Event::Scraped(Scraped { target, duration, result: Ok(batch) }), None);
    assert_eq!(world.told, ["firing"]);
}

#[test]
fn docker_kill_and_docker_restart_are_no_oom() {
    // At its limit it lacks memory while it dies, and Docker tells of that, too.
    for (signals, kills) in [(&[15, 9][..], 0), (&[9], 0), (&[15], 1)] {
        let mut world = World::new(OOM, acting());
        world.docker_has('a', "acme-web");
        world.slot(Some(""));
        for (nth, signal) in (0..).zip(signals) {
            world.told('a', "acme-web", (nth - 90, What::Kill { signal: *signal }));
        }
        world.told('a', "acme-web", (-80, What::Oom));
        world.told('a', "acme-web", (-70, What::Die { exit_code: 137 }));
        world.docker('a', "acme-web", What::Stop);
        world.docker('a', "acme-web", What::Start);
        world.docker('a', "acme-web", What::Restart);
        let told: Vec<String> = (0..4).flat_map(|_| world.slot(Some(""))).collect();
        assert_eq!(told.is_empty(), kills == 0, "{signals:?}: {told:?}");
        assert_eq!(world.kills("acme-web"), Counts { pid1: kills, child: 0 }, "{signals:?}");
        // The next run is another.
        world.docker('a', "acme-web", What::Oom);
        (0..4).for_each(|_| drop(world.slot(Some(""))));
        assert_eq!(world.kills("acme-web").child, 1, "{signals:?}");
    }
}

/// Reasons of the ends that were told of a name.
fn ends(world: &World) -> Vec<String> {
    let query = Selector::new(vec![Matcher::equal("__name__", "plimsoll_container_ends_total")]);
    let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
    let ends = world.engine.window.select(&query, all);
    ends.iter().filter_map(|series| series.labels.get("reason").map(str::to_owned)).collect()
}

#[test]
fn an_end_is_told_once_by_its_right_name_also_where_the_kill_is_told_after_it() {
    for (kill_follows, want) in [(true, "oom"), (false, "crash")] {
        let mut world = World::new(OOM, acting());
        world.docker_has('a', "acme-web");
        world.slot(Some(""));
        let now = at(world.second, 0);
        let happened = |what| {
            let (id, name) = (container_id('a'), "acme-web".to_owned());
            let at_nanos = now.wall.0 * 1_000_000;
            Event::Docker(Report::Happened(Happening { id, name, at_nanos, what }))
        };
        let mut story = vec![(now, happened(What::Die { exit_code: 137 }))];
        story.extend(kill_follows.then(|| (now, happened(What::Oom))));
        story.push((at(world.second + 3, 0), Event::Tick));
        let mut told = Vec::new();
        for (now, event) in story {
            told.extend(world.engine.handle(now, event).facts.into_iter().filter_map(|fact| {
                match fact {
                    Fact::ContainerEnded { reason, .. } => Some(reason),
                    _ => None,
                }
            }));
        }
        assert_eq!(told, [want]);
        (0..3).for_each(|_| drop(world.slot(Some(""))));
        assert_eq!(ends(&world), [want]);
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers[0].last_end.map(|death| death.end.name()), Some(want));
        assert_eq!(view.containers[0].ends.iter().sum::<u64>(), 1, "{want}");
    }
}

#[test]
fn what_is_missing_from_a_list_has_vanished_unless_events_tell_more() {
    for (told, want) in [(false, "vanished"), (true, "stop")] {
        let mut world = World::new(OOM, acting());
        world.docker_has('a', "acme-web");
        // After a lost connection the list comes first, then the events that were missed.
        world.handle(Event::Docker(Report::Listed(Vec::new())), None);
        if told {
            world.docker('a', "acme-web", What::Kill { signal: 15 });
            world.docker('a', "acme-web", What::Die { exit_code: 0 });
            world.docker('a', "acme-web", What::Stop);
        }
        (0..4).for_each(|_| drop(world.slot(Some(""))));
        let now = at(world.second, 0);
        assert_eq!(world.engine.view(now).containers.len(), 0);
        assert_eq!(ends(&world), [want]);
    }
}

#[test]
fn an_end_that_no_event_told_is_read_from_the_list() {
    for (told, seen_by, wants) in [
        (false, "flag", vec!["oom"]),
        (false, "counter", vec!["oom"]),
        // A signal may have been anybody's.
        (false, "nobody", vec!["vanished"]),
        (true, "flag", vec!["stop"]),
    ] {
        let flagged = seen_by == "flag";
        let mut world = World::new(OOM, acting());
        world.docker_has('a', "acme-web");
        let page = |kills: u8| {
            let id = container_id('a');
            format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"acme-web\"}} {kills}\n")
        };
        world.slot(Some(&page(0)));
        world.slot(Some(&page(u8::from(seen_by == "counter"))));
        // Docker itself was started anew: its events are gone, its containers are not.
        let mut container = Container::new(container_id('a'), "acme-web", Timestamp(0));
        container.status = Status::Exited;
        container.exit_code = 137;
        container.oom_killed = flagged;
        let finished = at(world.second, 0).wall;
        container.started_at = Some(finished - Duration::from_secs(3));
        container.finished_at = Some(finished);
        world.handle(Event::Docker(Report::Listed(vec![container.clone()])), None);
        if told {
            world.docker('a', "acme-web", What::Kill { signal: 15 });
            world.docker('a', "acme-web", What::Die { exit_code: 137 });
        }
        (0..4).for_each(|_| drop(world.slot(Some(""))));
        assert_eq!(ends(&world), wants);
        // Listed again it has not ended again.
        world.handle(Event::Docker(Report::Listed(vec![container])), None);
        (0..4).for_each(|_| drop(world.slot(Some(""))));
        assert_eq!(ends(&world), wants);
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers[0].ends.iter().sum::<u64>(), 1, "{wants:?}: told once");
        let pid1 = u64::from(wants == ["oom"]);
        assert_eq!(world.kills("acme-web").pid1, pid1, "{wants:?}");
    }
}

/// Only counters tell, and a container that was killed is not there at the next scrape.
#[test]
fn without_docker_a_kill_takes_its_container_along_or_was_a_childs() {
    let of = format!("{{id=\"/docker/{}\",name=\"acme-web\"}}", container_id('a').as_str());
    let start_alone = format!("container_start_time_seconds{of} 1799999000\n");
    let page = |kills: u8| format!("{start_alone}container_oom_events_total{of} {kills}\n");
    let counts = |world: &World| {
        let told = world.engine.told_kills.counts("acme-web");
        (told.pid1, told.child)
    };
    for (then, want) in [
        (Some(String::new()), (1, 0)),
        (Some(page(1)), (0, 1)),
        // The counter alone cannot be read.
        (Some(start_alone.clone()), (0, 1)),
        // The target fails: nobody saw it go.
        (None, (0, 1)),
    ] {
        for heard in [false, true] {
            let mut world = World::new(OOM, acting());
            if heard {
                let mut container = Container::new(container_id('a'), "acme-web", Timestamp(0));
                container.status = Status::Running;
                world.handle(Event::Docker(Report::Listed(vec![container])), None);
            }
            world.slot(Some(&page(0)));
            world.slot(Some(&page(1)));
            (0..4).for_each(|_| drop(world.slot(then.as_deref())));
            assert_eq!(counts(&world), want, "{then:?}, Docker tells of ends: {heard}");
        }
    }
}

/// Without Docker: names come and go on the page, and nobody says that one was removed.
#[test]
fn a_name_that_nothing_shows_any_more_is_forgotten_and_its_kills_are_not() {
    let rules =
        format!("{OOM}      - alert: Seen\n        expr: container_oom_events_total > 1e9\n");
    let mut world = World::new(&rules, acting());
    let page = |digit: char, kills: u64| {
        let id = container_id(digit);
        format!(
            "container_oom_events_total{{id=\"/docker/{}\",name=\"n-{digit}\"}} {kills}\n",
            id.as_str()
        )
    };
    world.slot(Some(&page('a', 0)));
    world.slot(Some(&(page('a', 1) + &page('b', 0))));
    let live = |world: &World, metric: &str| {
        let query = Selector::new(vec![Matcher::equal("__name__", metric)]);
        let all = Span { after: Timestamp(i64::MIN), upto: Timestamp(i64::MAX) };
        let found = world.engine.window.select(&query, all);
        let found = found.iter().filter(|s| s.samples.last().is_some_and(|s| !is_stale(s.value)));
        found.filter_map(|s| s.labels.get("name").map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    assert_eq!(live(&world, "plimsoll_container_crash_loop").len(), 2);
    for _ in 0..400 {
        world.slot(Some(""));
    }
    assert_eq!(live(&world, "plimsoll_container_crash_loop"), BTreeSet::new());
    let counted = live(&world, "plimsoll_oom_total");
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), ["n-a"], "the count goes on");
}

/// A rule that reads the count, without which it is not written.
const OOM_RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: Oom
    expr: plimsoll_oom_total > 99
";

#[test]
fn kills_stay_with_the_name_they_were_counted_by() {
    let setup = Setup { docker: AskDocker::IfThere, ..setup(OOM_RULES, acting()) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    let (began, old, new) = (world.second + 1, container_id('a'), container_id('b'));
    let began = at(began, 0).wall.as_seconds();
    let page = |(a, a_kills): (&str, u8), (b, b_kills): (&str, u8)| {
        let line = |id, name, kills| {
            let of = format!("{{id=\"/docker/{id}\",name=\"{name}\"}}");
            format!(
                "container_oom_events_total{of} {kills}\ncontainer_start_time_seconds{of} {began}\n"
            )
        };
        line(&old, a, a_kills) + &line(&new, b, b_kills)
    };
    world.list(&[('a', "web"), ('b', "new")]);
    world.slots(2, &page(("web", 0), ("new", 0)));
    world.slots(8, &page(("web", 4), ("new", 2)));
    let counts = |world: &World| {
        let view = world.engine.view(at(world.second, 0));
        let of = |name| view.containers.iter().find(|c| c.known_as == name).map(|c| c.oom.total());
        (of("web"), of("new"), of("old"))
    };
    assert_eq!(counts(&world), (Some(4), Some(2), None));
    // The old one is renamed, the new one takes its name, and the old one is removed.
    world.docker_has('a', "old");
    world.docker_has('b', "web");
    world.slots(8, &page(("old", 4), ("new", 2)));
    world.docker('a', "old", What::Die { exit_code: 0 });
    world.docker('a', "old", What::Destroy);
    world.slots(8, &page(("old", 4), ("web", 2)));
    let told = world.engine.containers.counts();
    let total: u64 = told.values().map(|counts| counts.total()).sum();
    assert_eq!(total, 6, "{told:?}");
}

/// It stamps the end when it comes to, and says when it was; by then it may have started it again.
#[test]
fn an_end_whose_code_docker_lost_is_by_the_kill_that_is_told_with_it() {
    for (exit_code, want) in [(255, [1, 0]), (1, [0, 1])] {
        let setup = Setup { docker: AskDocker::IfThere, ..setup(OOM_RULES, acting()) };
        let mut world = World::recovered(setup, Vec::new(), 0);
        let began = at(world.second, 0).wall + Duration::from_secs(1);
        let mut container = Container::new(container_id('a'), "acme-web", Timestamp(0));
        (container.status, container.started_at) = (Status::Running, Some(began));
        world.handle(Event::Docker(Report::Listed(vec![container])), None);
        world.slots(3, "");
        world.docker('a', "acme-web", What::Oom);
        world.docker('a', "acme-web", What::Die { exit_code });
        world.slots(8, "");
        let view = world.engine.view(at(world.second, 0));
        let counts = view.containers[0].oom;
        assert_eq!([counts.pid1, counts.child], want, "{exit_code}");
    }
}

#[test]
fn an_end_that_docker_stamps_late_is_by_the_kill_all_the_same() {
    for (is_again, told_before) in [(false, false), (false, true), (true, true)] {
        let setup = Setup { docker: AskDocker::IfThere, ..setup(OOM_RULES, acting()) };
        let mut world = World::recovered(setup, Vec::new(), 0);
        let began = at(world.second, 0).wall + Duration::from_secs(1);
        let mut container = Container::new(container_id('a'), "acme-web", Timestamp(0));
        (container.status, container.started_at) = (Status::Running, Some(began));
        world.handle(Event::Docker(Report::Listed(vec![container.clone()])), None);
        world.slots(3, "");
        let finished = at(world.second, 0).wall;
        if told_before {
            world.docker('a', "acme-web", What::Oom);
        }
        world.slots(1, "");
        world.lose_docker();
        world.slots(20, "");
        container.finished_at = Some(finished);
        match is_again {
            true => container.started_at = Some(at(world.second, 0).wall),
            false => {
                container.status = Status::Exited;
                (container.exit_code, container.oom_killed) = (137, true);
            }
        }
        world.handle(Event::Docker(Report::Listed(vec![container])), None);
        if !told_before {
            world.docker('a', "acme-web", What::Oom);
        }
        world.docker('a', "acme-web", What::Die { exit_code: 137 });
        world.slots(8, "");
        let view = world.engine.view(at(world.second, 0));
        let case = (is_again, told_before);
        // Without a counter nobody waits for so long to say whom a kill hit.
        let kills = Counts { pid1: u64::from(!told_before), child: u64::from(told_before) };
        assert_eq!(view.containers[0].oom, kills, "{case:?}");
        assert_eq!(view.containers[0].ends[0], 1, "{case:?}");
        assert_eq!(view.containers[0].ends.iter().sum::<u64>(), 1, "{case:?}");
    }
}

#[test]
fn a_docker_that_is_away_for_a_moment_is_waited_for_before_it_is_said_whom_the_kernel_killed() {
    let setup = Setup { docker: AskDocker::IfThere, ..setup(OOM_RULES, acting()) };
    let mut world = World::recovered(setup, Vec::new(), 0);
    world.list(&[('a', "web"), ('b', "other")]);
    let page = |kills: u8| {
        let id = container_id('a');
        format!("container_oom_events_total{{id=\"/docker/{id}\",name=\"web\"}} {kills}\n")
    };
    world.slots(3, &page(0));
    world.slots(1, &page(1));
    // It is restarted, and stops what it runs first.
    world.lose_docker();
    world.slots(1, "container_x 1\n");
    world.list(&[('b', "other")]);
    world.docker('a', "web", What::Kill { signal: 15 });
    world.docker('a', "web", What::Die { exit_code: 143 });
    world.slots(6, "container_x 1\n");
    assert_eq!(world.engine.containers.counts()["web"], Counts { pid1: 0, child: 1 });
}
