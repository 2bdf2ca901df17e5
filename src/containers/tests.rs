//! Kills that really happened, told by witnesses as real ones tell: does the count come to the truth?
//!
//! A container lives through random runs, kills, names and our own restarts. Docker tells of each kill, of some
//! again and again until the victim is dead, and after a restart of ours the last seconds once more; a counter
//! counts a kill once it is done, and begins anew with each run. Left out is what no witness can tell: kills
//! less than a second apart, and kills told twice just before the end of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{ContainerId, Counts, OomLedger, Reading, Who};
use crate::base::{Change, Timestamp};

/// A reading's delay after the kill that it shows.
const DONE_MS: i64 = 50;
/// Docker tells of two kills as one if they are no further apart.
const APART_MS: i64 = 1_100;
/// Whoever reads it has read it by then.
const READ_MS: i64 = 5_000;
/// Of what Docker tells later than this after a kill nobody thinks that it hung, and means that one.
const STAMPED_MS: i64 = 20_000;
/// Docker tells again what it has told so long before a new connection.
const OVERLAP_MS: i64 = 20_000;

/// A kill that may count twice is judged by a counter that is read so long without another.
const QUIET_MS: i64 = 3_000 + 5_000 + 500;
/// It is waited for as long as this.
const LOUD_MS: i64 = 15_000 - QUIET_MS - 3_000;

/// What happens next, after a while.
#[derive(Clone, Debug)]
enum Step {
    /// A process is killed, and dies that slowly; Docker tells of it that often meanwhile.
    Child { dies_ms: i64, every_ms: i64 },
    /// Docker is dead, and says nothing of it.
    Untold,
    /// Another container's process is, below a cgroup that is full: Docker tells of it here, too.
    Others,
    /// The first process is, and the container is started again.
    Pid1,
    /// The first process is asked to end, and the container is started again.
    Stop,
    /// Its name goes to another container.
    Rename,
    /// It is removed, and made anew.
    Recreate,
    /// We are not there for so long; what was noted last is that old.
    Away { for_ms: i64, noted_ms: i64 },
}

impl Step {
    fn is_child(&self) -> bool {
        matches!(self, Step::Child { .. })
    }
}

/// What a witness says.
#[derive(Clone, Copy, Debug)]
enum Said {
    Killed,
    Died,
    Flagged { from: i64 },
    Ended,
    Started,
    Renamed { nth: usize },
    Gone,
}

/// The truth, and what is said of it: when, by Docker.
#[derive(Default)]
struct World {
    said: Vec<(i64, usize, Said)>,
    /// When a kill of which run, the nth, was done.
    done: Vec<(i64, usize)>,
    /// Starts of runs, their ends, and of which incarnation, the nth, they are.
    runs: Vec<(i64, i64, usize)>,
    away: Vec<(i64, i64, i64)>,
    truth: BTreeMap<String, Counts>,
    names: usize,
    /// Until when no counter may have been read at a quiet moment.
    unread_until: i64,
    /// Since when a kill may count twice.
    loud: Option<i64>,
    end: i64,
}

fn id(nth: usize) -> ContainerId {
    ContainerId::new(&format!("{nth:064}")).expect("64 digits")
}

fn name(nth: usize) -> String {
    format!("n{nth}")
}

impl World {
    fn of(steps: &[(i64, Step)]) -> World {
        let mut world = World { runs: vec![(1_000, i64::MAX, 0)], ..World::default() };
        let (mut now, mut free) = (2_000, 0);
        for (after_ms, step) in steps {
            now += after_ms;
            // What is told again more than a second later shows in a counter, once nothing happens for a while.
            if world.loud.is_some_and(|since| now > since + LOUD_MS || !step.is_child()) {
                now += QUIET_MS;
                world.loud = None;
            }
            world.take(&mut now, &mut free, step);
        }
        world.end = now + 10_000;
        world.said.sort_by_key(|(at, ..)| *at);
        world
    }

    fn say(&mut self, at: i64, said: Said) {
        let (_, _, id) = *self.runs.last().expect("there is one");
        self.said.push((at, id, said));
    }

    /// Ends the run and begins another, maybe of another incarnation.
    fn run_anew(&mut self, now: &mut i64, is_made_anew: bool) {
        let last = self.runs.len() - 1;
        self.runs[last].1 = *now;
        if is_made_anew {
            self.say(*now + 50, Said::Gone);
        }
        *now += 150;
        self.runs.push((*now, i64::MAX, self.runs[last].2 + usize::from(is_made_anew)));
        self.say(*now, Said::Started);
    }

    fn killed(&mut self) -> &mut Counts {
        self.truth.entry(name(self.names)).or_default()
    }

    fn take(&mut self, now: &mut i64, free: &mut i64, step: &Step) {
        match step {
            Step::Child { dies_ms, every_ms } => {
                *now = (*now).max(*free);
                let done = *now + dies_ms;
                // Of a kill that was under way when it was first read a counter says nothing.
                let is_judged = *now > self.unread_until;
                let every_ms = if is_judged { *every_ms } else { (*every_ms % 1_000).max(100) };
                if !is_judged {
                    self.unread_until = done + QUIET_MS;
                }
                let tells = (*now..done).step_by(every_ms as usize);
                *free = tells.clone().last().unwrap_or(*now) + APART_MS;
                tells.for_each(|at| self.say(at, Said::Killed));
                self.done.push((done, self.runs.len() - 1));
                self.killed().child += 1;
                if every_ms > 1_000 && *dies_ms > every_ms {
                    self.loud.get_or_insert(*now);
                }
                // Nobody ends it meanwhile.
                *now = done;
            }
            Step::Untold => {
                *now += APART_MS;
                self.done.push((*now, self.runs.len() - 1));
                self.killed().child += 1;
                // The counter alone tells of it, in this run.
                *now += READ_MS;
                *free = *now + STAMPED_MS;
            }
            Step::Others => {
                *now = (*now).max(*free);
                self.say(*now, Said::Killed);
                // The counter is read meanwhile, in this run.
                *now += QUIET_MS;
                *free = (*free).max(*now);
            }
            Step::Pid1 => {
                *now = (*now).max(*free);
                self.say(*now, Said::Killed);
                self.killed().pid1 += 1;
                *now += DONE_MS;
                let from = self.runs.last().expect("there is one").0;
                self.say(*now, Said::Flagged { from });
                self.say(*now, Said::Died);
                self.run_anew(now, false);
                *free = *now + APART_MS;
            }
            Step::Stop | Step::Recreate => {
                self.say(*now, Said::Ended);
                self.run_anew(now, matches!(step, Step::Recreate));
            }
            Step::Rename => {
                self.names += 1;
                self.say(*now, Said::Renamed { nth: self.names });
                *now += 1;
            }
            Step::Away { for_ms, noted_ms } => {
                self.away.push((*now, *now + for_ms, *now - noted_ms));
                *now += for_ms;
                self.unread_until = *now + READ_MS;
            }
        }
    }

    /// Whose counter shows what, and since when; nothing between two runs.
    fn shows(&self, at: i64) -> Option<(usize, f64, i64)> {
        let run = self.runs.iter().position(|(from, to, _)| (*from..*to).contains(&at))?;
        let done = self.done.iter().filter(|(done, of)| *of == run && *done <= at).count();
        Some((self.runs[run].2, done as f64, self.runs[run].0))
    }

    fn is_away(&self, at: i64) -> bool {
        self.away.iter().any(|(from, to, _)| (*from..*to).contains(&at))
    }
}

/// The ledger and its journal.
struct Bench {
    ledger: OomLedger,
    rows: BTreeMap<String, Change>,
    name: String,
}

impl Bench {
    fn hear(&mut self, at_ms: i64, nth: usize, said: Said) {
        let (at, id) = (Timestamp(at_ms), id(nth));
        let who = Who { id: &id, name: &self.name, before: None };
        let ledger = &mut self.ledger;
        match said {
            Said::Killed => ledger.killed(who, at_ms * 1_000_000, at),
            Said::Died => ledger.died(who, at),
            Said::Flagged { from } => ledger.flagged(who, (Timestamp(from), at), true),
            Said::Ended => ledger.ended(who, at),
            Said::Started => ledger.started(who, at),
            Said::Gone => ledger.gone(&id),
            Said::Renamed { nth } => {
                ledger.move_on(&id, &name(nth), at);
                self.name = name(nth);
            }
        }
    }

    fn settle(&mut self, at_ms: i64) {
        let rows = self.ledger.settle(Timestamp(at_ms), false).into_iter();
        self.rows.extend(rows.map(|row| (row.key.clone(), row)));
    }

    fn begin_anew(&mut self, since: i64) {
        let rows = self.rows.values().filter(|row| row.value.is_some());
        let (ledger, problems) = OomLedger::recover(rows, Timestamp(since));
        assert_eq!(problems, Vec::<String>::new());
        self.ledger = ledger;
    }
}

/// What our own collector makes of the counters of one incarnation after the other: it goes on over its runs.
#[derive(Default)]
struct Ours {
    run: i64,
    of: usize,
    carried: f64,
    last: f64,
}

impl Ours {
    fn read(&mut self, of: usize, value: f64, run: i64) -> f64 {
        if of != self.of {
            *self = Ours { of, run, ..Ours::default() };
        } else if run != self.run {
            self.carried += self.last;
        }
        (self.run, self.last) = (run, value);
        self.carried + value
    }
}

/// Tells the world to a ledger, read every `interval_s`; how many kills each name has in the end.
fn counted(world: &World, interval_s: u64, is_ours: bool) -> BTreeMap<String, Counts> {
    let mut ours = Ours::default();
    let (ledger, _) = OomLedger::recover([], Timestamp(0));
    let mut bench = Bench { ledger, rows: BTreeMap::new(), name: name(0) };
    let mut said = world.said.iter().copied().peekable();
    let mut back = world.away.iter().copied().peekable();
    let interval = Duration::from_secs(interval_s);
    let mut tick = 0;
    while tick < world.end + 60_000 {
        tick += 100;
        if world.is_away(tick) {
            continue;
        }
        if let Some((from, _, noted)) = back.next_if(|(_, to, _)| *to <= tick) {
            bench.begin_anew(noted);
            let again =
                world.said.iter().filter(|said| (noted - OVERLAP_MS..from).contains(&said.0));
            let again = again.filter(|(_, _, said)| !matches!(said, Said::Renamed { .. }));
            again.for_each(|(at, id, said)| bench.hear(*at, *id, *said));
        }
        while let Some((at, id, said)) = said.next_if(|(at, ..)| *at <= tick) {
            bench.hear(at, id, said);
        }
        if tick % (interval_s as i64 * 1_000) == 0
            && let Some((nth, value, start)) = world.shows(tick)
        {
            let (at, started_at) = (Timestamp(tick), Some(Timestamp(start)));
            let value = if is_ours { ours.read(nth, value, start) } else { value };
            let reading =
                Reading { source: 1, at, value, started_at, is_watched: true, interval, is_ours };
            bench.ledger.read(Who { id: &id(nth), name: &bench.name, before: None }, reading);
        }
        bench.settle(tick);
    }
    let counts = bench.ledger.iter().filter(|(_, counts)| counts.total() > 0);
    counts.map(|(name, counts)| (name.to_owned(), counts)).collect()
}

fn away() -> impl Strategy<Value = Step> {
    (0..15_000_i64, 0..10_000_i64).prop_map(|(for_ms, noted_ms)| Step::Away { for_ms, noted_ms })
}

fn steps(last: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        4 => (10..2_900_i64, 300..2_000_i64).prop_map(|(dies_ms, every_ms)| Step::Child { dies_ms, every_ms }),
        2 => Just(Step::Pid1),
        1 => Just(Step::Stop),
        2 => Just(Step::Rename),
        2 => Just(Step::Recreate),
        1 => last,
    ];
    let after_ms = prop_oneof![20..1_000_i64, 1_000..10_000_i64];
    proptest::collection::vec((after_ms, step), 1..20)
}

proptest! {
    #[test]
    fn every_kill_counts_once_under_the_name_of_its_time(
        steps in steps(away()),
        interval_s in prop_oneof![Just(1_u64), Just(5)],
    ) {
        let world = World::of(&steps);
        prop_assert_eq!(counted(&world, interval_s, false), world.truth.clone(), "{:?}", world.said);
    }
    /// What Docker has not told our own counter has, however soon after another it came; what Docker tells and
    /// our own counter has not was none.
    #[test]
    fn every_kill_that_our_own_counter_alone_tells_counts_once(
        steps in steps(prop_oneof![Just(Step::Untold), Just(Step::Others)]),
        interval_s in prop_oneof![Just(1_u64), Just(5)],
    ) {
        let world = World::of(&steps);
        prop_assert_eq!(counted(&world, interval_s, true), world.truth.clone(), "{:?}", world.said);
    }
}
