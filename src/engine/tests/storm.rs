//! Ten thousand containers made and removed within a minute: what they cost, and that they are counted.

use super::containers::OOM;
use super::*;

const MANY: usize = 10_000;
/// They come in twelve slots of five seconds.
const IN_A_SLOT: usize = MANY.div_ceil(12);
/// Of so many one is killed by the kernel.
const KILLED_ONE_OF: usize = 10;

/// Made, looked at if there was time, and gone five milliseconds later.
fn live_and_die(world: &mut World, n: usize, name: &str) {
    let id = ContainerId::new(&format!("{n:064x}")).expect("64 digits");
    let is_killed = n.is_multiple_of(KILLED_ONE_OF);
    let made_at = world.wall((n % IN_A_SLOT) as i64 * 5);
    if n.is_multiple_of(3) {
        let made = Container::new(id.clone(), name, made_at);
        let looks = Container { status: Status::Running, started_at: Some(made_at), ..made };
        world.handle(Event::Docker(Report::Inspected(Box::new(looks))), None);
    }
    let exit_code = if is_killed { 137 } else { 0 };
    let story = [What::Create, What::Start, What::Oom, What::Die { exit_code }, What::Destroy];
    for (later_ms, what) in story.into_iter().enumerate() {
        if what == What::Oom && !is_killed {
            continue;
        }
        let (id, name) = (id.clone(), name.to_owned());
        let at_nanos = (made_at.0 + later_ms as i64) * 1_000_000;
        let happening = Happening { id, name, at_nanos, what };
        world.handle(Event::Docker(Report::Happened(happening)), None);
    }
}

/// Rows of this prefix that the journal holds.
fn rows_of(world: &World, prefix: &str) -> Vec<Vec<u8>> {
    let rows = latest(&world.rows).into_iter();
    rows.filter(|row| row.key.starts_with(prefix)).filter_map(|row| row.value).collect()
}

/// Kills that the journal tells of.
fn kills(world: &World) -> Counts {
    let mut all = Counts::default();
    for row in rows_of(world, "oom:") {
        all += serde_json::from_slice::<Counts>(&row).expect("counts");
    }
    all
}

#[test]
fn ten_thousand_containers_within_a_minute_are_counted_and_leave_what_is_bounded() {
    for names in [1, MANY] {
        let asking = Setup { docker: AskDocker::IfThere, ..setup(OOM, acting()) };
        let mut world = World::recovered(asking, Vec::new(), 0);
        world.list(&[('a', "acme-web")]);
        for n in 0..MANY {
            if n.is_multiple_of(IN_A_SLOT) {
                world.slot(Some(""));
            }
            live_and_die(&mut world, n, &format!("job-{}", n % names));
        }
        world.slots(6, "");
        let killed = (MANY / KILLED_ONE_OF) as u64;
        assert_eq!(kills(&world), Counts { pid1: killed, child: 0 }, "{names} names");
        let ends =
            BTreeMap::from([("oom", MANY / KILLED_ONE_OF), ("exit", MANY - MANY / KILLED_ONE_OF)]);
        assert_eq!(world.ends, ends, "{names} names");
        let view = world.engine.view(at(world.second, 0));
        assert_eq!(view.containers.len(), 1, "{names} names: one lives");
        assert!(world.engine.window.live().count() <= 1000, "{names} names");
        let [fates, kills, lives, known] = ["fate:", "oom:", "oom_life:", "container:"]
            .map(|prefix| rows_of(&world, prefix).len());
        assert!(fates <= names + 1 && kills <= names + 1, "{names} names: {fates} {kills}");
        assert!(lives <= names.max(16) + 1, "{names} names: {lives}");
        assert_eq!(known, 1, "{names} names");
    }
}
