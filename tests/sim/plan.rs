//! What will go wrong, and when: drawn from the seed before the run begins.

use std::time::Duration;

use super::rng::Rng;

/// Faults begin no later than this …
pub const STORMY: Duration = Duration::from_secs(50 * 60);
/// … and the run ends here, after a calm in which everything owed must arrive.
pub const END: Duration = Duration::from_secs(75 * 60);

/// Which kinds of fault a world has.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What to call it.
    pub name: &'static str,
    /// The process is killed and comes back.
    pub crashes: bool,
    /// The disk refuses for a while.
    pub journal: bool,
    /// The Control Plane fails in every way it can.
    pub control_plane: bool,
    /// Alertmanager instances are away.
    pub alertmanager: bool,
    /// Alertmanager's own receivers are away.
    pub receiver: bool,
    /// The wall clock steps, both ways.
    pub clock: bool,
    /// The wall clock is set while there is no process.
    pub clock_away: bool,
    /// Targets fail, hang or are slow.
    pub targets: bool,
    /// The configuration is read again, and says something else.
    pub reloads: bool,
}

const CALM: World = World {
    name: "calm",
    crashes: false,
    journal: false,
    control_plane: false,
    alertmanager: false,
    receiver: false,
    clock: false,
    clock_away: false,
    targets: false,
    reloads: false,
};

/// New rules, intervals and instances while targets and Alertmanagers come and go.
pub const RELOADS: World =
    World { name: "reloads", reloads: true, targets: true, alertmanager: true, ..CALM };

/// One world for each kind of fault, and one with all of them.
pub const WORLDS: [World; 12] = [
    CALM,
    World { name: "crashes", crashes: true, ..CALM },
    World { name: "journal", journal: true, ..CALM },
    World { name: "control-plane", control_plane: true, ..CALM },
    World { name: "alertmanager", alertmanager: true, ..CALM },
    World { name: "receiver", crashes: true, receiver: true, ..CALM },
    World { name: "clock", clock: true, ..CALM },
    World { name: "clock-away", crashes: true, clock_away: true, targets: true, ..CALM },
    World { name: "targets", targets: true, ..CALM },
    RELOADS,
    World { name: "power", crashes: true, journal: true, alertmanager: true, ..CALM },
    World {
        name: "everything",
        crashes: true,
        journal: true,
        control_plane: true,
        alertmanager: true,
        receiver: true,
        clock: true,
        clock_away: false,
        targets: true,
        reloads: false,
    },
];

/// The world of this name.
pub fn named(name: &str) -> World {
    *WORLDS.iter().find(|world| world.name == name).expect("there is such a world")
}

/// Times during which something is away.
#[derive(Clone, Debug, Default)]
pub struct Outages(Vec<(Duration, Duration)>);

impl Outages {
    fn draw(rng: &mut Rng, wanted: bool, (shortest, longest): (u64, u64)) -> Outages {
        let mut outages = Vec::new();
        let mut at = rng.seconds(20, 400);
        while wanted && at < STORMY {
            let until = (at + rng.seconds(shortest, longest)).min(STORMY);
            outages.push((at, until));
            at = until + rng.seconds(30, 600);
        }
        Outages(outages)
    }

    /// Whether it is away at `at`.
    pub fn at(&self, at: Duration) -> bool {
        self.0.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// Whether it is away at any time from `from` to `to`.
    pub fn touch(&self, from: Duration, to: Duration) -> bool {
        self.0.iter().any(|(begin, end)| *begin <= to && from < *end)
    }

    /// The times themselves.
    pub fn iter(&self) -> impl Iterator<Item = &(Duration, Duration)> {
        self.0.iter()
    }
}

/// What a reload changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// The rules read the twins of what they read otherwise, which are kept by nobody else.
    pub twins: bool,
    /// Targets are scraped so seldom that nothing is seen.
    pub seldom: bool,
    /// The Alertmanager instances stand in another order …
    pub reversed: bool,
    /// … and behind one more, which takes nothing.
    pub extra: bool,
}

/// The whole plan of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Times without a process.
    pub dead: Outages,
    /// Times at which no commit succeeds.
    pub journal: Outages,
    /// Times at which the Control Plane misbehaves.
    pub control_plane: Outages,
    /// Times without each Alertmanager instance.
    pub alertmanagers: Vec<Outages>,
    /// Times at which the receiver behind each of them refuses.
    pub receivers: Vec<Outages>,
    /// Times without each target.
    pub targets: Vec<Outages>,
    /// Steps of the wall clock, in milliseconds.
    pub steps: Vec<(Duration, i64)>,
    /// Reloads, and what they bring.
    pub reloads: Vec<(Duration, Config)>,
    /// Times at which targets are hardly scraped.
    pub seldom: Outages,
}

impl Plan {
    /// What this seed has in store for that world.
    pub fn draw(rng: &mut Rng, world: World, targets: usize) -> Plan {
        let mut steps = Vec::new();
        let mut at = rng.seconds(60, 600);
        while world.clock && at < STORMY {
            let far = if rng.chance(30) { 1_200_000 } else { 60_000 };
            let by = rng.between(1, far) as i64;
            steps.push((at, if rng.chance(50) { by } else { -by }));
            at += rng.seconds(60, 900);
        }
        let instances = rng.between(1, 3);
        let dead = Outages::draw(rng, world.crashes, (1, 90));
        // A time without a process ends under a clock that was set while nobody looked.
        for (from, to) in dead.iter().filter(|_| world.clock_away) {
            let by = rng.between(1, 600_000) as i64;
            steps.push((*from + (*to - *from) / 2, if rng.chance(70) { -by } else { by }));
        }
        Plan {
            dead,
            journal: Outages::draw(rng, world.journal, (2, 240)),
            control_plane: Outages::draw(rng, world.control_plane, (5, 400)),
            alertmanagers: (0..instances)
                .map(|_| Outages::draw(rng, world.alertmanager, (5, 500)))
                .collect(),
            receivers: (0..instances)
                .map(|_| Outages::draw(rng, world.receiver, (20, 400)))
                .collect(),
            targets: (0..targets).map(|_| Outages::draw(rng, world.targets, (3, 200))).collect(),
            steps,
            seldom: match world.reloads {
                true => Outages::draw(rng, true, (20, 90)),
                false => Outages::default(),
            },
            reloads: Vec::new(),
        }
        .with_reloads(rng)
    }

    /// A reload at either end of the times at which targets are hardly scraped, and one within.
    fn with_reloads(mut self, rng: &mut Rng) -> Plan {
        for (from, to) in self.seldom.iter() {
            let any = |rng: &mut Rng, seldom| Config {
                twins: rng.chance(50),
                seldom,
                reversed: rng.chance(50),
                extra: rng.chance(30),
            };
            self.reloads.push((*from, any(rng, true)));
            self.reloads.push((*from + (*to - *from) / 2, any(rng, true)));
            self.reloads.push((*to, any(rng, false)));
            let later = *to + rng.seconds(1, 29);
            self.reloads.push((later, any(rng, false)));
        }
        self
    }
}
