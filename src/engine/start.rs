//! How an engine begins: what the journal held becomes its state; what cannot be read is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clock::Clock;
use super::containers::Containers;
use super::owners::Owners;
use super::refusals::Refusals;
use super::restored::Restored;
use super::*;
use crate::base::Table;

fn unreadable(problem: String) -> Fact {
    Fact::RowUnreadable { problem }
}

impl Engine {
    /// An engine at its start: `rows` are what the journal held.
    pub fn new(setup: Setup, rows: &[Change], now: Now, stopwatch: Stopwatch) -> Engine {
        let setup = setup.settled();
        let mut restored = durable::restore(rows);
        let mut facts: Vec<Fact> = restored.problems.drain(..).map(unreadable).collect();
        let by_ms = restored.set_back_ms(now.wall);
        let (outbox, shelved, moved) = recovered_outbox(&setup, rows, (now, by_ms), &mut facts);
        let (memory, problems, remembered) = recovered_memory(rows, (now, by_ms));
        let (containers, rest) = recovered_containers(rows, &restored, setup.docker, now);
        let (postman, unread) = mail::Postman::recover(rows, now);
        facts.extend(problems.into_iter().chain(rest).chain(unread).map(unreadable));
        let counters = Counters { rows_unreadable: facts.len() as u64, ..Counters::default() };
        facts.extend(restored.resume(outbox.as_ref(), now));
        let mut engine = Engine {
            clock: Clock::new(now, setup.pace.evaluation_interval),
            stopwatch: Arc::from(stopwatch),
            window: Window::new(setup.caps, setup.retention()),
            memo: Memo::default(),
            groups: Vec::new(),
            targets: BTreeMap::new(),
            knows_targets: false,
            dropped_targets: Vec::new(),
            presenter: Presenter::new(setup.presenter, &setup.alertmanagers),
            outbox,
            shelved,
            operators: Vec::new(),
            memory,
            gates: Gates::default(),
            postman,
            told_kills: ToldKills::of(containers.counts()),
            containers,
            usage_at: None,
            switches: Switches::default(),
            owners: Owners::default(),
            to_judge: Vec::new(),
            asked_in_round: BTreeSet::new(),
            round_judged: false,
            order: Vec::new(),
            writes_alert_series: false,
            writes_oom_series: false,
            own_written_at: None,
            writes_peaks: false,
            peaks_at: None,
            evaluated_at: None,
            posts_waiting: false,
            refusals: Refusals::default(),
            newest_sample: Timestamp(i64::MIN),
            covered_since: now.wall,
            coverage: Coverage::default(),
            noted_evaluation: restored.last_evaluation,
            revisions_upto: restored.revisions_upto(now.wall),
            orphans: restored.alerts,
            next_sweep: now.monotonic + SWEEP_EVERY,
            durable: Batch(0),
            last_batch: Batch(0),
            journal_failing: None,
            reload_error: None,
            audit: audit::State::default(),
            recorder: None,
            pulse: heartbeat::Pulse::new(now),
            receipts: receipt::Tally::default(),
            own_series: BTreeSet::new(),
            restored: Restored::default(),
            counters,
            scrape_failures: BTreeMap::new(),
            changes: [moved, remembered].concat(),
            facts,
            view_is_old: true,
            setup,
        };
        engine.begin(now, by_ms);
        engine
    }
}

/// What was known of containers when somebody watched them last, and which rows could not be read.
fn recovered_containers(
    rows: &[Change],
    restored: &durable::Restored,
    docker: AskDocker,
    now: Now,
) -> (Containers, Vec<String>) {
    let (mut containers, problems) =
        Containers::recover(rows, restored.watched_until(now.wall), now.wall);
    containers.begin(restored.docker_heard(now.wall), docker);
    (containers, problems)
}

/// The edge lane as its rows tell it; if there is none, its rows, for a reload may bring one. Where the
/// wall clock was set back it goes back with it; the rows of that are the last.
fn recovered_outbox(
    setup: &Setup,
    rows: &[Change],
    (now, by_ms): (Now, i64),
    facts: &mut Vec<Fact>,
) -> (Option<Outbox>, Vec<Change>, Vec<Change>) {
    let is_its = |row: &&Change| matches!(row.table, Table::Outbox | Table::Dead);
    let rows = rows.iter().filter(is_its).cloned();
    let Some(config) = setup.outbox.clone() else { return (None, rows.collect(), Vec::new()) };
    let (mut outbox, problems) = Outbox::recover(config, rows, as_it_was(now, by_ms));
    facts.extend(problems.into_iter().map(unreadable));
    let moved = if by_ms < 0 { outbox.rebase(by_ms) } else { Vec::new() };
    (Some(outbox), Vec::new(), moved)
}

/// How long ago something was, and how long it has yet, is told by the clock of its time.
fn as_it_was(now: Now, by_ms: i64) -> Now {
    Now { wall: Timestamp(now.wall.0.saturating_sub(by_ms)), ..now }
}

/// Judgement's memory as its rows tell it, and which could not be read. Where the wall clock was set back
/// it goes back with it, as at a step while we run; the rows of that are the last.
fn recovered_memory(
    rows: &[Change],
    (now, by_ms): (Now, i64),
) -> (Memory, Vec<String>, Vec<Change>) {
    let (mut memory, problems) = Memory::recover(rows, as_it_was(now, by_ms));
    let moved = if by_ms < 0 { memory.rebase(by_ms) } else { Vec::new() };
    (memory, problems, moved)
}
