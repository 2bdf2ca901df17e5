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
//!
//! Quick words of Docker's are taken for one, and may have been of as many kills: before a word that comes later than a
//! kill was counted is taken for one about that, those are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// A reading has the time of its slot and is made a little later, and Docker stamps a kill 2 to 180 ms after it was done
/// (measured beside other load): a word that follows a reading by less may be about a kill that it counted.
const PROMPT: Duration = Duration::from_millis(200);

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
    /// When the run began that it speaks of, if it speaks of that one alone and an end may be told that was before. Of
    /// a flag, if no event has told of that start yet.
    #[serde(default)]
    pub began: Option<Timestamp>,
    /// So many more words of the same witness were taken for the same: maybe they told of as many more kills.
    #[serde(default)]
    pub repeats: u32,
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
        self.began.iter_mut().for_each(shift);
    }

    /// When an event was told: its key says so, its end has a margin.
    pub fn told_at(&self) -> Option<Timestamp> {
        let is_event = self.witness == Witness::Event;
        is_event.then(|| Timestamp(self.key.div_euclid(1_000_000)))
    }

    /// How many more kills than it needs it may have told of.
    fn spare(&self) -> u32 {
        if self.kills > 0 { self.repeats } else { 0 }
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
    /// When the event was stamped: a daemon that hung stamps it late, and the end that followed as late.
    pub stamped_at: Option<Timestamp>,
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
    /// When events that told of some of them were stamped.
    stamped: Vec<Timestamp>,
}

impl Assumed {
    /// As many as this statement misses.
    fn new(said: &Evidence, count: u32) -> Assumed {
        let Evidence { from, to, witness, .. } = *said;
        let stamped = said.told_at().into_iter().collect();
        Assumed { from, to, count, spoken: vec![(witness, count)], stamped }
    }

    /// Lets a statement speak of as many as its witness has not spoken of, at most `wanted`; how many that was.
    fn speak(&mut self, said: &Evidence, wanted: u32) -> u32 {
        let free = self.take_up(said, wanted);
        if free > 0 {
            self.stamped.extend(said.told_at());
        }
        free
    }

    /// The same, of words that were taken for another: no later word of that witness is about these.
    fn take_up(&mut self, said: &Evidence, wanted: u32) -> u32 {
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
        free
    }

    /// Those that events told of one by one, and the rest. Of fewer a counter has counted the earlier.
    fn split(self) -> impl Iterator<Item = Kills> {
        let Assumed { from, to, count, stamped, .. } = self;
        let spoken = |(witness, spoken): &(Witness, u32)| match witness {
            Witness::Counter(_) => *spoken,
            Witness::Event | Witness::Flag => 0,
        };
        let counted = self.spoken.iter().map(spoken).max().unwrap_or(0);
        let rest = count.saturating_sub(stamped.len() as u32);
        let told = (0..).zip(stamped).map(move |(nth, at)| (Some(at), 1, nth < counted));
        let parts = told.chain((rest > 0).then_some((None, rest, true)));
        parts.map(move |(stamped_at, count, is_counted)| Kills {
            from,
            to,
            told_at: stamped_at.map(|at| at.min(to)),
            stamped_at,
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
    Found::by(evidence).kills.into_iter().flat_map(Assumed::split).collect()
}

/// Which events tell after that time of kills that others have told of, and that were over by then: their keys.
pub fn told_late(evidence: &[Evidence], by: Timestamp) -> BTreeSet<i64> {
    let mut found = Found::default();
    let mut late = BTreeSet::new();
    for said in evidence {
        let explained = found.assume(said);
        let is_late = found.kills.iter().zip(explained).any(|(k, many)| many > 0 && k.to <= by);
        if is_late && said.told_at().is_some_and(|at| at > by) {
            late.insert(said.key);
        }
    }
    late
}

/// What explains the statements so far.
#[derive(Default)]
struct Found {
    kills: Vec<Assumed>,
    /// Words that were taken for others, and told of no kill yet that is known: of each statement, how many.
    spare: Vec<(Evidence, u32)>,
}

impl Found {
    fn by(evidence: &[Evidence]) -> Found {
        let mut found = Found::default();
        for said in evidence {
            found.assume(said);
        }
        found
    }

    /// Explains one statement more; how many of its kills each of the kills found before explains.
    fn assume(&mut self, said: &Evidence) -> Vec<u32> {
        let mut explained = vec![0; self.kills.len()];
        // A word that comes later than such a kill was counted is about it if no other word can have been.
        let is_prompt =
            |assumed: &Assumed| said.told_at().is_none_or(|at| at <= assumed.to + PROMPT);
        let mut missing = self.speak(said, said.kills, &mut explained, is_prompt);
        if missing > 0 {
            self.use_spare(said.witness);
            missing = self.speak(said, missing, &mut explained, |_| true);
        }
        if missing > 0 {
            self.kills.push(Assumed::new(said, missing));
        }
        if said.spare() > 0 {
            self.spare.push((*said, said.spare()));
        }
        explained
    }

    /// Lets a statement speak of so many of these kills, and notes of how many of each; how many are missing.
    fn speak(
        &mut self,
        said: &Evidence,
        mut missing: u32,
        explained: &mut [u32],
        may: impl Fn(&Assumed) -> bool,
    ) -> u32 {
        for (assumed, explained) in self.kills.iter_mut().zip(explained) {
            let spoken = if may(assumed) { assumed.speak(said, missing) } else { 0 };
            missing -= spoken;
            *explained += spoken;
        }
        missing
    }

    /// The words of this witness that were taken for others were about kills that it has not spoken of.
    fn use_spare(&mut self, witness: Witness) {
        for (word, left) in self.spare.iter_mut().filter(|(word, _)| word.witness == witness) {
            // What can only have been later is none of these.
            for assumed in self.kills.iter_mut().filter(|assumed| assumed.from <= word.to) {
                *left -= assumed.take_up(word, *left);
            }
        }
    }
}

/// Takes so many statements from the front, and the kills that explain them. What later ones say of these
/// same kills is taken off them: else a kill that two witnesses tell of would count on both sides.
pub fn fold(evidence: &mut Vec<Evidence>, at: usize) -> Vec<Kills> {
    let later = evidence.split_off(at);
    let mut found = Found::by(evidence);
    let folded = found.kills.len();
    *evidence = later;
    for said in &mut *evidence {
        let explained = found.assume(said);
        said.kills -= explained.iter().take(folded).sum::<u32>();
    }
    found.kills.truncate(folded);
    found.kills.into_iter().flat_map(Assumed::split).collect()
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
        let (from, to) = (Timestamp(from), Timestamp(to));
        Evidence { witness, key: to.0, from, to, kills, began: None, repeats: 0 }
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
