//! Names that go from one container to another: what happened to whom, and when, whenever it is told.

use super::containers::container_id;
use super::*;

const RULES: &str = "groups:
- name: g
  rules:
  - alert: Oom
    expr: plimsoll_oom_total > 99
";

pub(super) fn asking() -> Setup {
    Setup { docker: AskDocker::IfThere, ..setup(RULES, acting()) }
}

pub(super) fn die() -> What {
    What::Die { exit_code: 1 }
}

impl World {
    /// So many milliseconds from now.
    pub(super) fn wall(&self, ms: i64) -> Timestamp {
        Timestamp(at(self.second, self.skew_s).wall.0 + ms)
    }

    /// Docker tells of something that was called so then.
    pub(super) fn told(&mut self, digit: char, name: &str, (ms, what): (i64, What)) {
        let (id, name) = (container_id(digit), name.to_owned());
        let happening = Happening { id, name, at_nanos: self.wall(ms).0 * 1_000_000, what };
        self.handle(Event::Docker(Report::Happened(happening)), None);
    }

    /// A container that was made then, as it looks now.
    pub(super) fn looks(&mut self, digit: char, name: &str, (ms, status): (i64, Status)) {
        let made = Container::new(container_id(digit), name, self.wall(ms));
        let started_at = status.is_alive().then(|| self.wall(ms));
        let looks = Container { status, started_at, ..made };
        self.handle(Event::Docker(Report::Inspected(Box::new(looks))), None);
    }

    /// Kills and ends of a name.
    fn of(&self, name: &str) -> (u64, u64) {
        let view = self.engine.view(at(self.second, 0));
        let view = view.containers.iter().find(|container| container.known_as == name);
        view.map_or((0, 0), |view| (view.oom.total(), view.ends.iter().sum()))
    }

    /// From when a watch that begins now asks for events.
    fn asks_from(&self) -> Option<Timestamp> {
        self.engine.asks_docker_from(at(self.second, self.skew_s))
    }

    /// Our own restart; `is_noted`, in good order.
    pub(super) fn again(&mut self, is_noted: bool) -> World {
        let mut rows = latest(&self.rows);
        if is_noted {
            let end = self.engine.end(at(self.second, 0));
            rows.extend(end.changes.expect("there is news").1);
        }
        World::recovered(asking(), latest(&rows), self.second + 1)
    }
}

pub(super) fn begun() -> World {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.list(&[('a', "web")]);
    world.slots(3, "");
    world
}

#[test]
fn what_happened_before_a_name_went_to_another_happened_under_that_name() {
    let mut world = begun();
    // Renamed and replaced within a moment: what it looks like by now is told first.
    world.looks('a', "old", (-60_000, Status::Running));
    world.looks('b', "web", (-100, Status::Running));
    world.told('a', "web", (-400, What::Oom));
    world.told('a', "web", (-300, die()));
    world.told('a', "old", (-200, What::Rename { from: "web".to_owned() }));
    world.told('b', "web", (-100, What::Create));
    world.told('a', "old", (-50, die()));
    world.slots(3, "");
    assert_eq!((world.of("web"), world.of("old")), ((1, 1), (0, 1)));
    // Told again after our own restart, by a name that is another's by then.
    world.told('a', "old", (0, die()));
    let told_ms = world.wall(0).0;
    let mut world = world.again(true);
    world.list(&[('b', "web"), ('a', "newest")]);
    world.looks('c', "old", (0, Status::Running));
    let again = told_ms - world.wall(0).0;
    world.told('a', "old", (again, die()));
    world.slots(1, "");
    assert_eq!((world.of("web"), world.of("old"), world.of("newest")), ((1, 1), (0, 2), (0, 0)));
}

#[test]
fn a_name_changes_hands_when_docker_says_so_and_not_when_the_next_bearer_was_made() {
    let mut world = begun();
    world.looks('b', "next", (-9_000, Status::Created));
    world.told('a', "web", (-3_000, What::Oom));
    world.told('a', "web", (-3_000, die()));
    world.looks('a', "old", (-60_000, Status::Running));
    world.looks('b', "web", (-9_000, Status::Running));
    world.told('a', "web", (-1_000, die()));
    world.told('a', "old", (-600, What::Rename { from: "web".to_owned() }));
    world.told('b', "web", (-500, What::Rename { from: "next".to_owned() }));
    world.told('a', "old", (-400, What::Oom));
    world.told('a', "old", (-400, die()));
    world.slots(3, "");
    assert_eq!((world.of("web"), world.of("old")), ((1, 2), (1, 1)));
}

#[test]
fn one_of_which_nothing_was_counted_yet_has_both_its_names() {
    for is_known in [true, false] {
        let mut world = World::recovered(asking(), Vec::new(), 0);
        world.list(if is_known { &[('a', "web")] } else { &[] });
        world.slots(3, "");
        let mut world = world.again(true);
        // Killed, replaced, killed again; nobody was there.
        world.list(&[('a', "old"), ('b', "web")]);
        let story = [
            ('a', "web", -900, What::Oom),
            ('a', "web", -900, die()),
            ('a', "old", -700, What::Rename { from: "web".to_owned() }),
            ('b', "web", -600, What::Create),
            ('a', "old", -300, What::Oom),
            ('a', "old", -300, die()),
        ];
        for (digit, name, ms, what) in story {
            world.told(digit, name, (ms, what));
        }
        world.slots(3, "");
        assert_eq!((world.of("web"), world.of("old")), ((1, 1), (1, 1)), "{is_known}");
        let mut world = world.again(false);
        world.list(&[('a', "old"), ('b', "web")]);
        world.told('a', "old", (0, What::Oom));
        world.slots(3, "");
        assert_eq!((world.of("web"), world.of("old").0), ((1, 1), 2), "{is_known}");
    }
}

#[test]
fn what_was_before_the_first_watch_is_no_news_after_our_restart() {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    let first = world.wall(0);
    world.list(&[('a', "web")]);
    world.slots(2, "");
    let mut again = world.again(true);
    assert_eq!(again.asks_from(), Some(first));
    again.list(&[('a', "web")]);
    let ago = first.0 - again.wall(0).0 - 4_000;
    again.told('a', "web", (ago, What::Oom));
    again.slots(3, "");
    assert_eq!(again.of("web").0, 0, "nor a kill that Docker tells of all the same");
}

/// A reload that changes how Docker is asked begins a watch: what was told long ago is not told to it again.
#[test]
fn a_watch_that_a_reload_begins_asks_from_now_on() {
    let mut world = begun().again(true);
    world.list(&[('a', "web")]);
    world.slots(9, "");
    let now = world.wall(0);
    assert_eq!(world.asks_from(), Some(now - ON_ITS_WAY));
    // Nobody asks for a while.
    world.reload(Setup { docker: AskDocker::No, ..asking() });
    world.slots(9, "");
    world.reload(Setup { docker: AskDocker::IfThere, ..asking() });
    world.slots(1, "");
    assert_eq!(world.asks_from(), Some(now - ON_ITS_WAY), "and what was told meanwhile is news");
}

#[test]
fn what_was_missed_is_asked_for_again_until_it_was_told() {
    let mut world = begun();
    world.slots(3, "");
    world.lose_docker();
    let heard_until = world.wall(0);
    world.slots(4, "");
    world.list(&[('a', "web")]);
    let mut world = world.again(true);
    assert_eq!(world.asks_from(), Some(heard_until - ON_ITS_WAY), "its list is no news yet");
    world.list(&[('a', "web")]);
    world.slots(2, "");
    let heard_until = world.wall(0);
    assert_eq!(world.again(true).asks_from(), Some(heard_until - ON_ITS_WAY));
}

#[test]
fn kills_are_not_lost_over_two_restarts_between_which_docker_was_not_heard() {
    for is_removed in [true, false] {
        let mut world = begun().again(false);
        let killed_ms = world.wall(0).0;
        // Docker hangs, and we evaluate without it.
        world.slots(4, "");
        let mut world = world.again(!is_removed);
        world.list(if is_removed { &[] } else { &[('a', "web")] });
        let ago = killed_ms - world.wall(0).0;
        world.told('a', "web", (ago, What::Oom));
        world.told('a', "web", (ago + 50, What::Die { exit_code: 137 }));
        if is_removed {
            world.told('a', "web", (ago + 60, What::Destroy));
        }
        world.slots(4, "");
        let counts = world.engine.told_kills.counts("web");
        assert_eq!(counts, Counts { pid1: 1, child: 0 }, "removed: {is_removed}");
    }
}

/// The kills that were told of these names.
fn kills_of<const N: usize>(world: &World, names: [&str; N]) -> [u64; N] {
    names.map(|name| world.engine.told_kills.counts(name).total())
}

#[test]
fn a_kill_before_a_rename_is_no_kill_of_the_one_that_bore_that_name_before() {
    let mut world = begun();
    // A deploy: the old one stays for a moment under another name.
    world.looks('a', "old", (-60_000, Status::Running));
    world.told('a', "old", (-300, What::Rename { from: "web".to_owned() }));
    world.looks('b', "web", (-100, Status::Running));
    world.told('b', "web", (-100, What::Create));
    world.told('a', "old", (-50, die()));
    world.told('a', "old", (-40, What::Destroy));
    world.slots(8, "");
    world.told('b', "web", (0, What::Oom));
    world.slots(3, "");
    // The next deploy.
    world.told('b', "web", (-2_000, What::Oom));
    world.looks('b', "old", (-60_000, Status::Running));
    world.told('b', "old", (-1_000, What::Rename { from: "web".to_owned() }));
    world.slots(3, "");
    assert_eq!(kills_of(&world, ["web", "old"]), [2, 0]);
    world.told('b', "old", (0, What::Oom));
    world.slots(3, "");
    assert_eq!(kills_of(&world, ["web", "old"]), [2, 1]);
}

#[test]
fn whoever_takes_a_place_has_it_since_it_bears_the_name_and_it_is_free() {
    let mut world = begun();
    world.looks('b', "new", (-60_000, Status::Running));
    // What it looks like by now is told first.
    world.looks('b', "web", (-60_000, Status::Running));
    world.told('a', "web", (-3_000, What::Destroy));
    world.told('b', "new", (-2_000, What::Oom));
    world.told('b', "web", (-1_000, What::Rename { from: "new".to_owned() }));
    world.slots(3, "");
    assert_eq!(kills_of(&world, ["new", "web"]), [1, 0]);
    let mut world = begun();
    world.looks('b', "new", (-60_000, Status::Running));
    world.slots(2, "");
    world.looks('a', "old", (-60_000, Status::Running));
    world.looks('b', "web", (-60_000, Status::Running));
    world.told('a', "old", (-9_000, What::Rename { from: "web".to_owned() }));
    world.told('b', "web", (-8_000, What::Rename { from: "new".to_owned() }));
    world.told('b', "web", (-7_000, What::Oom));
    world.told('a', "old", (-3_000, What::Destroy));
    world.told('b', "web", (-1_000, What::Oom));
    world.slots(3, "");
    assert_eq!(kills_of(&world, ["new", "web"]), [1, 1], "the first one was there still");
}

#[test]
fn an_end_told_again_is_of_the_name_of_its_time_though_its_container_is_gone() {
    let mut world = World::recovered(asking(), Vec::new(), 0);
    world.list(&[('c', "other")]);
    world.slots(4, "");
    world.looks('a', "web", (-4_000, Status::Running));
    world.told('a', "web", (-3_000, What::Oom));
    world.looks('a', "old", (-4_000, Status::Running));
    world.looks('b', "web", (-500, Status::Running));
    world.told('b', "web", (-500, What::Create));
    let began_ms = world.wall(0).0;
    let mut world = world.again(false);
    world.list(&[('c', "other"), ('b', "web")]);
    let then = began_ms - world.wall(0).0;
    world.told('a', "web", (then - 3_000, What::Oom));
    world.told('a', "web", (then - 2_900, die()));
    world.told('a', "old", (then, die()));
    world.told('a', "old", (then, What::Destroy));
    world.slots(3, "");
    assert_eq!(world.of("web"), (1, 1));
}
