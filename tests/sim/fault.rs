//! Planted faults: each a way in which the engine could be wrong, played by what stands between it
//! and the world. The engine itself is never touched; what the checkers believe stays true.

use std::time::Duration;

use plimsoll::alerts::{Phase, Post, Presented, Tally};
use plimsoll::base::{Change, Now, Table, Timestamp};
use plimsoll::engine::{ScrapeFailure, Scraped};
use plimsoll::outbox::{Attempt, Delivery};

use super::plan::{RELOADS, World, named};
use super::promise::Promise;
use super::run::EPOCH;

/// One planted fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Pages are read by the rules of before a reload for ever.
    OldReading,
    /// A target that does not answer is taken for one with nothing to show.
    FailureIsEmpty,
    /// Whatever is hot seems cool …
    NeverHot,
    /// … or every other minute.
    CoolByMinutes,
    /// Whatever is cool seems hot every other minute.
    HotByMinutes,
    /// No target ever answers.
    Silence,
    /// The journal says that it has written what it has not.
    EarlyReceipts,
    /// A delivery is written twice, the second time with another body.
    SecondBody,
    /// A webhook leaves with another body than was written.
    OtherBody,
    /// A third of the webhooks is thrown away as if it had been delivered.
    DropEdges,
    /// A third is overtaken by those after it.
    Overtaken,
    /// Alertmanager is never told of a start …
    NoStarts,
    /// … or an end …
    NoEnds,
    /// … or the end of what was shown late.
    NoLateEnds,
    /// A start comes minutes late.
    LateStarts,
    /// What is shown late is shown a minute later still, and ends on time.
    ShortHold,
    /// An end is followed by its start again.
    RepeatedEnds,
    /// An end comes with another time.
    OtherEnds,
    /// What fires is told as ended.
    EarlyEnds,
    /// Another incident replaces one that has just ended, before Alertmanager tells its end.
    ReplacedEnds,
    /// Whatever an Alertmanager tried seems to have been taken.
    ClaimedDelivery,
    /// A post goes out twice under one number.
    TwicePosted,
    /// Every incident of an alert is told to have begun at the same time.
    SameStarts,
    /// The engine lives a second behind.
    LateClock,
    /// The shell wakes the engine for nothing, twenty times a second.
    Restless,
    /// Half a checkpoint is lost.
    TornCheckpoint,
}

impl Fault {
    /// Each with a world and a seed in which it shows itself, and what it must break.
    pub fn all() -> Vec<(Fault, World, u64, &'static [Promise])> {
        use Fault::*;
        use Promise::*;
        let calm = named("calm");
        vec![
            (OldReading, RELOADS, 0, &[EndTrue, Noticed]),
            (FailureIsEmpty, named("targets"), 0, &[EndSeen]),
            (NeverHot, calm, 0, &[Noticed, BelievesTruth, InstanceBelievesTruth]),
            (CoolByMinutes, calm, 0, &[EndTrue]),
            (HotByMinutes, calm, 0, &[StartTrue]),
            (Silence, calm, 0, &[Lively]),
            (EarlyReceipts, calm, 0, &[CommitFirst]),
            (SecondBody, calm, 0, &[OneBody]),
            (OtherBody, calm, 0, &[SentAsDecided]),
            (DropEdges, calm, 0, &[Arrives, InTurn]),
            (Overtaken, calm, 0, &[InOrder, Revised]),
            (NoStarts, calm, 0, &[Heard]),
            (NoEnds, calm, 0, &[EndHeard]),
            (NoLateEnds, named("alertmanager"), 1, &[EndHeard]),
            (LateStarts, calm, 0, &[StartFirst]),
            (ShortHold, named("alertmanager"), 0, &[Held]),
            (RepeatedEnds, calm, 0, &[StaysEnded]),
            (OtherEnds, calm, 0, &[EndExact]),
            (EarlyEnds, calm, 0, &[EndThere]),
            (ReplacedEnds, calm, 0, &[ReceiverHeardEnd]),
            (ClaimedDelivery, named("receiver"), 0, &[ReceiverHeard]),
            (TwicePosted, calm, 0, &[OneNumber]),
            (SameStarts, calm, 0, &[NoTwins]),
            (LateClock, calm, 0, &[Rests]),
            (Restless, calm, 0, &[FewEvents]),
            (TornCheckpoint, named("crashes"), 0, &[CheckpointWhole]),
        ]
    }

    /// Alters what a target showed, on its way to the engine.
    pub fn alter_values(self, now: Now, scraped: &mut Scraped) {
        let is_odd = now.monotonic.as_secs() / 60 % 2 == 1;
        let (from, to) = match self {
            Fault::NeverHot => (9.0, 1.0),
            Fault::CoolByMinutes if is_odd => (9.0, 1.0),
            Fault::HotByMinutes if is_odd => (1.0, 9.0),
            _ => return,
        };
        let points = scraped.result.iter_mut().flat_map(|batch| &mut batch.points);
        points.filter(|point| point.value == from).for_each(|point| point.value = to);
    }

    /// How a scrape truly ended of which the engine is told.
    pub fn truth(self, scraped: &Scraped) -> Option<Scraped> {
        let is_empty = scraped.result.as_ref().is_ok_and(|batch| batch.points.is_empty());
        let failed = || Scraped {
            target: scraped.target,
            duration: scraped.duration,
            result: Err(ScrapeFailure::default()),
        };
        (self == Fault::FailureIsEmpty && is_empty).then(failed)
    }

    /// What time the engine is told that it is.
    pub fn alter_clock(self, now: Now) -> Now {
        let late = now.monotonic.saturating_sub(Duration::from_secs(1));
        if self == Fault::LateClock { Now { monotonic: late, ..now } } else { now }
    }

    /// Alters changes on their way to the journal.
    pub fn alter_changes(self, changes: &mut Vec<Change>) {
        if self == Fault::SameStarts {
            changes.iter_mut().filter(|change| change.table == Table::Outbox).for_each(begin_alike);
        }
        if self != Fault::SecondBody {
            return;
        }
        let another = |change: &Change| {
            let row = change.value.as_ref().filter(|_| change.table == Table::Outbox)?;
            let known: Delivery = serde_json::from_slice(row).expect("a row is a delivery");
            let body = known.body.replace("Hot", "Warm").into();
            let row = serde_json::to_vec(&Delivery { body, ..known }).expect("a delivery is JSON");
            Some(Change { table: change.table, key: change.key.clone(), value: Some(row) })
        };
        let others: Vec<Change> = changes.iter().filter_map(another).collect();
        changes.extend(others);
    }

    /// Alters a webhook that leaves.
    pub fn alter_attempt(self, attempt: &mut Attempt) {
        if self == Fault::OtherBody {
            attempt.body = attempt.body.replace("Hot", "Warm").into();
        }
    }

    /// When a post arrives after all, and what of it.
    pub fn arrivals(self, now: Now, mut post: Post) -> Vec<(Duration, Post)> {
        let is_end = |one: &Presented| one.phase.is_end();
        let as_start = |one: &Presented| Presented {
            phase: Phase::Firing,
            ends_at: one.ends_at + Duration::from_secs(300),
            ..one.clone()
        };
        let later =
            |seconds, alerts| (Duration::from_secs(seconds), Post { alerts, ..post.clone() });
        let mut second = None;
        match self {
            Fault::NoStarts => post.alerts.retain(is_end),
            Fault::NoEnds => post.alerts.retain(|one| !is_end(one)),
            Fault::NoLateEnds => post.alerts.retain(|one| one.phase != Phase::LateResolved),
            Fault::LateStarts => {
                let starts = post.alerts.iter().filter(|one| !is_end(one)).cloned().collect();
                second = Some(later(200, starts));
                post.alerts.retain(is_end);
            }
            Fault::ShortHold => {
                let is_late = |one: &Presented| one.phase == Phase::LateFiring;
                let late = post.alerts.iter().filter(|one| is_late(one)).cloned().collect();
                second = Some(later(60, late));
                post.alerts.retain(|one| !is_late(one));
            }
            Fault::RepeatedEnds => {
                let ends = post.alerts.iter().filter(|one| is_end(one));
                second = Some(later(30, ends.map(as_start).collect()));
            }
            Fault::ReplacedEnds => {
                let another = |one: &Presented| {
                    let mut one = as_start(one);
                    one.alert.fired_at = Some(Timestamp(one.alert.starts_at().0 + 1));
                    one
                };
                let ends = post.alerts.iter().filter(|one| is_end(one));
                second = Some(later(1, ends.map(another).collect()));
            }
            Fault::OtherEnds => {
                for end in post.alerts.iter_mut().filter(|one| is_end(one)) {
                    end.ends_at = end.ends_at + Duration::from_secs(1);
                }
            }
            Fault::EarlyEnds => {
                for one in post.alerts.iter_mut().filter(|one| one.phase == Phase::Firing) {
                    (one.phase, one.ends_at) = (Phase::Resolved, now.wall);
                }
            }
            _ => {}
        }
        std::iter::once((Duration::ZERO, post)).chain(second).collect()
    }

    /// Alters what an Alertmanager counts.
    pub fn alter_tally(self, tally: Tally) -> Tally {
        match self {
            Fault::ClaimedDelivery => Tally { delivered: tally.tried, ..tally },
            _ => tally,
        }
    }
}

fn begin_alike(change: &mut Change) {
    let Some(row) = &mut change.value else { return };
    let known: Delivery = serde_json::from_slice(row).expect("a row is a delivery");
    let mut event = known.event().expect("the engine wrote it");
    event.data.starts_at.iter_mut().for_each(|at| at.0 = EPOCH);
    let body = event.to_body().into();
    *row = serde_json::to_vec(&Delivery { body, ..known }).expect("a delivery is JSON");
}
