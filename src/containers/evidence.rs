//! From what witnesses say to how many kills there were.
//!
//! Every witness (Docker's `oom` events, the flag `OOMKilled`, each counter that is scraped) says:
//! so many kills, between then and then. One witness never speaks of one kill twice, two witnesses
//! may. The count is the *smallest* number of kills that explains all that was said, so it does not
//! hang on the order in which it was said, repeating changes nothing, one more statement never makes
//! it smaller, and it is never above the truth as long as every statement is true.
//!
//! It is found by stabbing intervals from the left: by the end of their time, each statement uses
//! kills already assumed within its time that its own witness has not spoken of yet, and assumes
//! what is missing at its very end, where most later statements can share it.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    /// Docker's event `oom`.
    Event,
    /// Docker's `State.OOMKilled`, once a run has ended.
    Flag,
    /// A counter, by the target it is scraped from.
    Counter(u64),
}

/// One statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Who says it.
    pub witness: Witness,
    /// What tells two statements of one witness apart: the same key is the same statement again.
    pub key: i64,
    /// No earlier than this …
    pub from: Timestamp,
    /// … and no later.
    pub to: Timestamp,
    /// So many kills, at least one; none once those it told of are counted for good, or were found to be none.
    pub kills: u32,
}

impl Evidence {
    /// The wall clock has stepped. Events are told apart by nanoseconds, the rest by milliseconds.
    pub fn rebase(&mut self, shift: impl Fn(&mut Timestamp)) {
        let nanos = if self.witness == Witness::Event { 1_000_000 } else { 1 };
        let mut key = Timestamp(self.key.div_euclid(nanos));
        shift(&mut key);
        self.key = key.0.saturating_mul(nanos).saturating_add(self.key.rem_euclid(nanos));
        shift(&mut self.from);
        shift(&mut self.to);
    }

    /// When an event was told: its key says so, its end has a margin.
    pub fn told_at(&self) -> Option<Timestamp> {
        let is_event = self.witness == Witness::Event;
        is_event.then(|| Timestamp(self.key.div_euclid(1_000_000)))
    }

    /// By the end of their time; ties in a fixed order.
    fn rank(&self) -> (Timestamp, Timestamp, Witness, i64) {
        (self.to, self.from, self.witness, self.key)
    }
}

/// Kills assumed at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kills {
    /// No earlier than this …
    pub from: Timestamp,
    /// … and no later.
    pub to: Timestamp,
    /// When, if an event told of it; it is one then.
    pub told_at: Option<Timestamp>,
    /// Whether a counter has counted it.
    pub is_counted: bool,
    /// How many.
    pub count: u32,
}

impl Kills {
    /// When, as near as anybody says.
    pub fn at(&self) -> Timestamp {
        self.told_at.unwrap_or(self.to)
    }
}

/// Kills that the statements so far use together.
#[derive(Clone, Debug)]
struct Assumed {
    from: Timestamp,
    to: Timestamp,
    count: u32,
    /// Of how many each witness has spoken.
    spoken: Vec<(Witness, u32)>,
    /// When events told of some of them.
    told: Vec<Timestamp>,
}

impl Assumed {
    /// As many as this statement misses.
    fn new(said: &Evidence, count: u32) -> Assumed {
        let Evidence { from, to, witness, .. } = *said;
        let told = said.told_at().into_iter().collect();
        Assumed { from, to, count, spoken: vec![(witness, count)], told }
    }

    /// Lets a statement speak of as many as its witness has not spoken of, at most `wanted`; how many that was.
    fn speak(&mut self, said: &Evidence, wanted: u32) -> u32 {
        if self.to < said.from {
            return 0;
        }
        let slot = match self.spoken.iter_mut().find(|(who, _)| *who == said.witness) {
            Some((_, spoken)) => spoken,
            None => {
                self.spoken.push((said.witness, 0));
                &mut self.spoken.last_mut().expect("pushed just now").1
            }
        };
        let free = self.count.saturating_sub(*slot).min(wanted);
        *slot += free;
        if free > 0 {
            self.told.extend(said.told_at().map(|at| at.min(self.to)));
        }
        free
    }

    /// Those that events told of one by one, and the rest. Of fewer a counter has counted the earlier.
    fn split(self) -> impl Iterator<Item = Kills> {
        let Assumed { from, to, count, told, .. } = self;
        let spoken = |(witness, spoken): &(Witness, u32)| match witness {
            Witness::Counter(_) => *spoken,
            Witness::Event | Witness::Flag => 0,
        };
        let counted = self.spoken.iter().map(spoken).max().unwrap_or(0);
        let rest = count.saturating_sub(told.len() as u32);
        let told = (0..).zip(told).map(move |(nth, at)| (Some(at), 1, nth < counted));
        let parts = told.chain((rest > 0).then_some((None, rest, true)));
        parts.map(move |(told_at, count, is_counted)| Kills {
            from,
            to,
            told_at,
            is_counted,
            count,
        })
    }
}

/// Adds a statement, in order; false if it was made before.
pub fn add(evidence: &mut Vec<Evidence>, new: Evidence) -> bool {
    if evidence.iter().any(|old| (old.witness, old.key) == (new.witness, new.key)) {
        return false;
    }
    let at = evidence.partition_point(|old| old.rank() < new.rank());
    evidence.insert(at, new);
    true
}

/// Brings statements into the order that [`add`] keeps.
pub fn sort(evidence: &mut [Evidence]) {
    evidence.sort_by_key(Evidence::rank);
}

/// The fewest kills that explain everything said. `evidence` is in the order [`add`] keeps.
pub fn explain(evidence: &[Evidence]) -> Vec<Kills> {
    assume_all(evidence).into_iter().flat_map(Assumed::split).collect()
}

fn assume_all(evidence: &[Evidence]) -> Vec<Assumed> {
    let mut found = Vec::new();
    for said in evidence {
        assume(&mut found, said);
    }
    found
}

/// Explains one statement more; how many of its kills each of the kills found before explains.
fn assume(found: &mut Vec<Assumed>, said: &Evidence) -> Vec<u32> {
    let mut missing = said.kills;
    let explained = found.iter_mut().map(|assumed| {
        let spoken = assumed.speak(said, missing);
        missing -= spoken;
        spoken
    });
    let explained = explained.collect();
    if missing > 0 {
        found.push(Assumed::new(said, missing));
    }
    explained
}

/// Takes so many statements from the front, and the kills that explain them. What later ones say of these
/// same kills is taken off them: else a kill that two witnesses tell of would count on both sides.
pub fn fold(evidence: &mut Vec<Evidence>, at: usize) -> Vec<Kills> {
    let later = evidence.split_off(at);
    let mut found = assume_all(evidence);
    let folded = found.len();
    *evidence = later;
    for said in &mut *evidence {
        let explained = assume(&mut found, said);
        said.kills -= explained.iter().take(folded).sum::<u32>();
    }
    found.truncate(folded);
    found.into_iter().flat_map(Assumed::split).collect()
}

/// How many statements at the front lie before `cutoff` and overlap nothing that follows: their
/// explanation cannot change any more.
pub fn settled(evidence: &[Evidence], cutoff: Timestamp) -> usize {
    let mut settled = 0;
    for at in 1..=evidence.len() {
        if evidence[at - 1].to >= cutoff {
            break;
        }
        let rest_from = evidence[at..].iter().map(|said| said.from).min();
        if rest_from.is_none_or(|from| from > evidence[at - 1].to) {
            settled = at;
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(witness: Witness, from: i64, to: i64, kills: u32) -> Evidence {
        Evidence { witness, key: to, from: Timestamp(from), to: Timestamp(to), kills }
    }

    fn count(all: &[Evidence]) -> u32 {
        let mut evidence = Vec::new();
        for one in all {
            add(&mut evidence, *one);
        }
        explain(&evidence).iter().map(|kills| kills.count).sum()
    }

    #[test]
    fn one_kill_counts_once_whoever_saw_it() {
        use Witness::{Counter, Event, Flag};
        let event = |at| said(Event, at - 10, at, 1);
        for (all, want) in [
            (vec![], 0),
            (vec![event(100)], 1),
            (vec![event(100), event(100)], 1),
            (vec![event(100), said(Counter(1), 90, 105, 1)], 1),
            (vec![said(Counter(1), 90, 105, 1), said(Counter(2), 60, 120, 1), event(100)], 1),
            (vec![event(100), said(Flag, 0, 101, 1)], 1),
            // A child was killed early in the run; its end is not another kill.
            (vec![event(20), said(Flag, 0, 500, 1)], 1),
            (vec![said(Flag, 0, 500, 1)], 1),
            // Two of one witness are two, however close.
            (vec![event(100), event(101)], 2),
            (vec![event(100), event(101), said(Counter(1), 90, 105, 2)], 2),
            // Each lost the kill the other saw.
            (vec![event(100), said(Counter(1), 200, 205, 1)], 2),
            (vec![said(Counter(1), 90, 105, 7), said(Counter(2), 60, 120, 9), event(100)], 9),
        ] {
            assert_eq!(count(&all), want, "{all:?}");
        }
    }

    #[test]
    fn only_what_nothing_overlaps_is_settled() {
        use Witness::{Counter, Event};
        let evidence = [
            said(Event, 0, 10, 1),
            said(Counter(1), 5, 15, 1),
            said(Event, 20, 30, 1),
            said(Event, 50, 60, 1),
        ];
        for (cutoff, want) in [(0, 0), (12, 0), (16, 2), (31, 3), (100, 4)] {
            assert_eq!(settled(&evidence, Timestamp(cutoff)), want, "before {cutoff}");
        }
    }

    /// What five witnesses say of true kills: three may miss some, two counters are read in turn.
    fn witnesses() -> impl Strategy<Value = (usize, Vec<Evidence>)> {
        let kill = (0..600_i64, any::<[bool; 3]>(), 0..5_i64);
        let kills = proptest::collection::btree_map(0..600_i64, kill, 0..25);
        (kills, any::<[bool; 2]>()).prop_map(|(kills, counters)| {
            let mut all = Vec::new();
            for (at, (_, seen, late)) in &kills {
                if seen[0] {
                    let event = said(Witness::Event, at - 10, at + late, 1);
                    all.push(Evidence { key: *at, ..event });
                }
                if seen[1] && seen[2] {
                    all.push(Evidence { key: *at, ..said(Witness::Flag, at - 60, at + late, 1) });
                }
            }
            for (step, present) in [(5_i64, counters[0]), (30, counters[1])] {
                let slots = (0..600).step_by(step as usize).filter(|_| present);
                let seen = |from: i64| kills.range(from + 1..=from + step).count() as u32;
                all.extend(slots.map(|from| (from, seen(from))).filter(|(_, n)| *n > 0).map(
                    |(from, n)| said(Witness::Counter(step as u64), from - 10, from + step, n),
                ));
            }
            (kills.len(), all)
        })
    }

    proptest! {
        #[test]
        fn order_and_repetition_never_matter_and_the_truth_is_never_passed(
            (truth, all) in witnesses(),
            shuffled in any::<proptest::sample::Index>(),
            repeats in proptest::collection::vec(any::<proptest::sample::Index>(), 0..10),
        ) {
            let got = count(&all) as usize;
            let of = |witness| -> u32 {
                all.iter().filter(|e| e.witness == witness).map(|e| e.kills).sum()
            };
            let most = all.iter().map(|e| of(e.witness)).max().unwrap_or(0) as usize;
            prop_assert!(got <= truth, "{got} of {truth}");
            prop_assert!(got >= most, "one witness alone saw {most}, counted {got}");
            let mut other = all.clone();
            other.extend(repeats.iter().filter(|_| !all.is_empty()).map(|i| *i.get(&all)));
            if !other.is_empty() {
                let by = shuffled.index(other.len());
                other.rotate_left(by);
                other.reverse();
            }
            prop_assert_eq!(count(&other) as usize, got);
        }

        #[test]
        fn one_more_statement_never_makes_it_fewer((_, all) in witnesses()) {
            let mut before = 0;
            for upto in 0..=all.len() {
                let now = count(&all[..upto]);
                prop_assert!(now >= before);
                before = now;
            }
        }

        #[test]
        fn folding_anywhere_counts_nothing_twice((_, all) in witnesses(), at in any::<proptest::sample::Index>()) {
            let mut evidence = Vec::new();
            for one in &all {
                add(&mut evidence, *one);
            }
            let at = at.index(evidence.len() + 1);
            let folded = fold(&mut evidence, at);
            let sum = |kills: &[Kills]| kills.iter().map(|kills| kills.count).sum::<u32>();
            prop_assert_eq!(sum(&folded) + sum(&explain(&evidence)), count(&all));
        }

        #[test]
        fn settling_a_prefix_changes_nothing((_, all) in witnesses(), cutoff in 0..700_i64) {
            let mut evidence = Vec::new();
            for one in &all {
                add(&mut evidence, *one);
            }
            let at = settled(&evidence, Timestamp(cutoff));
            let parts = count(&evidence[..at]) + count(&evidence[at..]);
            prop_assert_eq!(parts, count(&all));
        }
    }
}
