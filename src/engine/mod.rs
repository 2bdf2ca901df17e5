//! The engine: everything plimsoll knows and decides, as one pure state machine.
//!
//! [`Engine::handle`] takes the time and one event and returns what to do. It owns the window, the
//! rules, the alerts, the policy and the outbox by value, reads no clock, awaits nothing, locks
//! nothing and touches no socket, so the same code runs live, in the demo, in replays and under
//! simulated crashes. Whatever is due at `now` is done on every event, so a busy inbox cannot
//! starve a timer; [`Engine::next_wakeup`] says when time alone makes something due.
//!
//! Commit before acting: changes of a step carry a batch number, and an edge appears among the
//! requests only after the journal's receipt for the batch that holds it.

mod blame;
mod cancel;
mod clock;
mod containers;
mod coverage;
mod digest;
mod docker;
mod durable;
mod edge;
mod ended;
mod evaluate;
mod event;
mod evidence;
mod fact;
mod fits;
mod gates;
mod group;
mod heartbeat;
mod host;
mod judge;
mod killed;
mod level;
mod mail;
mod operator;
mod outcome;
mod owners;
mod pinned;
mod quality;
mod receipt;
mod recent;
mod record;
mod refusals;
mod rehearsal;
mod reload;
mod restored;
mod rollout;
mod round;
mod said;
mod setup;
mod silence;
mod start;
mod started;
mod step;
mod target;
mod texts;
mod unbroken;
mod view;
mod waiting;
mod watch;
mod whose;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::clock::Clock;
use self::containers::Containers;
use self::coverage::Coverage;
use self::group::GroupState;
use self::killed::ToldKills;
use self::owners::Owners;
use self::refusals::Refusals;
use self::restored::Restored;
use self::target::Target;
use crate::alerts::{Alert, Presenter};
use crate::audit;
use crate::base::{Batch, Change, Labels, Now, RuleId, Sample, TargetId, Timestamp};
use crate::outbox::{Outbox, Reply};
use crate::policy::{Gates, Memory};
use crate::promql::Memo;
use crate::window::{SeriesId, Window};

pub use digest::{Advice, CPU_USED, Digest, Near, Smaller};
pub use docker::{AskDocker, DockerState};
pub use event::{Event, OutboxCommand, ScrapeFailure, Scraped, Switches, TargetInfo};
pub use fact::{Fact, Judged, Loss};
pub use fits::Compared;
pub use group::Pace;
pub use mail::{Mail, MailFailure, MailKind, MailPlan, MailView, Sink};
pub use owners::Told;
pub use quality::{Figure, Quality};
pub use recent::{Evaluation, RECENT};
pub use rehearsal::{Broken, Rehearsal, Stage};
pub use restored::Checkpoint;
pub use setup::Setup;
pub use step::{Answer, Content, Request, Step};
pub use view::{
    AlertingView, AlertmanagerView, ContainerView, Counters, DocumentView, Flaws, GateView,
    GroupView, Health, JournalView, OutboxView, OwnersView, ReceiptsView, RecorderState, RuleView,
    TargetView, View,
};

/// Reads the monotonic clock, only to measure how long evaluations take and to end one that takes
/// too long; no other decision depends on it.
pub type Stopwatch = Box<dyn Fn() -> Duration + Send + Sync>;

/// Expired samples are swept this often; appends trim their own series in between.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// A restart that took no longer leaves no hole worth speaking of in a range of minutes.
const GAP_TOLERATED: Duration = Duration::from_secs(60);

/// The whole state of a running plimsoll.
pub struct Engine {
    setup: Setup,
    clock: Clock,
    stopwatch: Arc<dyn Fn() -> Duration + Send + Sync>,
    window: Window,
    memo: Memo,
    groups: Vec<GroupState>,
    targets: BTreeMap<TargetId, Target>,
    /// Whether it was told which targets there are.
    knows_targets: bool,
    dropped_targets: Vec<Labels>,
    presenter: Presenter,
    outbox: Option<Outbox>,
    /// What the journal has for it, while there is none.
    shelved: Vec<Change>,
    /// Operators who wait for a batch to be durable, by ticket.
    operators: Vec<(Batch, u64)>,
    memory: Memory,
    gates: Gates,
    postman: mail::Postman,
    containers: Containers,
    /// Kills that were told.
    told_kills: ToldKills,
    usage_at: Option<Timestamp>,
    switches: Switches,
    owners: Owners,
    /// Rules that ran in this round, with the time they looked at.
    to_judge: Vec<((usize, usize), Timestamp)>,
    /// Subjects that something was asked for since the last round ended.
    asked_in_round: BTreeSet<String>,
    /// Alerts were judged in this step.
    round_judged: bool,
    /// The order in which groups of one round run: records before the rules that read them.
    order: Vec<usize>,
    /// Alerts whose rule is gone: they end, and are told.
    orphans: BTreeMap<RuleId, BTreeMap<Labels, Alert>>,
    /// Whether anything reads `ALERTS` or `ALERTS_FOR_STATE`.
    writes_alert_series: bool,
    /// Whether anything reads the fused count of OOM kills.
    writes_oom_series: bool,
    own_written_at: Option<Timestamp>,
    /// Whether anything reads the peaks of M2's documents, and when they were looked for last.
    writes_peaks: bool,
    peaks_at: Option<Duration>,
    /// The slot of an evaluation that has not been presented yet.
    evaluated_at: Option<Timestamp>,
    /// Whether an instance took a post and may be due another.
    posts_waiting: bool,
    refusals: Refusals,
    /// The newest sample of the round, which selectors may look at.
    newest_sample: Timestamp,
    /// Samples before this time were not seen.
    covered_since: Timestamp,
    /// Of some names, not even later ones.
    coverage: Coverage,
    noted_evaluation: Option<Timestamp>,
    /// Revisions given out so far are no higher, while the wall clock is behind what it once showed.
    revisions_upto: Option<u64>,
    next_sweep: Duration,
    durable: Batch,
    last_batch: Batch,
    journal_failing: Option<String>,
    reload_error: Option<String>,
    /// How the audit fares, as its writer said last.
    audit: audit::State,
    recorder: Option<RecorderState>,
    pulse: heartbeat::Pulse,
    receipts: receipt::Tally,
    /// Series of the engine's own knowledge, by labels.
    own_series: BTreeSet<SeriesId>,
    restored: Restored,
    counters: Counters,
    /// Failed scrapes by reason.
    scrape_failures: BTreeMap<&'static str, u64>,
    /// Changes of the step under way.
    changes: Vec<Change>,
    facts: Vec<Fact>,
    view_is_old: bool,
}

impl Engine {
    /// `by_ms`: by how much the wall clock was set back meanwhile.
    fn begin(&mut self, now: Now, by_ms: i64) {
        self.gates.configure(&self.setup.policy.gates);
        self.memory.usage.set_half_life(self.setup.policy.fitting.half_life);
        self.load_groups(now);
        self.end_orphans(now);
        self.judge_all_again();
        self.show_owners();
        self.drop_lost(now);
        if by_ms < 0 {
            self.containers.rebase(by_ms);
            self.postman.rebase(by_ms, now);
            self.write_moved(by_ms);
            self.note_docker(now);
        }
    }

    /// Takes one event in and does whatever is due.
    pub fn handle(&mut self, now: Now, event: Event) -> Step {
        let mut step = Step::default();
        self.observe_clock(now);
        self.take(now, event, &mut step);
        self.settle_containers(now);
        self.start_scrapes(now, &mut step);
        self.run_groups(now);
        self.try_gates(now, &mut step);
        self.present(now, &mut step);
        self.beat(now);
        self.look_again(now);
        self.work_outbox(now, &mut step);
        self.work_mail(now, &mut step);
        self.sweep(now);
        self.note_counted(now);
        self.write_down(now, &mut step);
        step
    }

    /// What is to be kept when the process ends in good order: until when somebody watched, and what was
    /// not told yet.
    pub fn end(&mut self, now: Now) -> Step {
        let newest = self.groups.iter().filter_map(|group| group.last_evaluation).max();
        if let Some(watched) = newest.max(self.noted_evaluation) {
            // A slot of before the clock was set back is none that is to come.
            self.changes.push(durable::note(watched.min(now.wall)));
            self.note_docker(now);
        }
        self.tell_left_out();
        let mut step = Step::default();
        self.write_down(now, &mut step);
        step
    }

    /// How far Docker was heard, and what is known from that.
    fn note_docker(&mut self, now: Now) {
        let (heard_until, rows) = self.containers.take_rows(now);
        self.changes.extend(heard_until.map(durable::note_docker));
        self.changes.extend(rows);
    }

    /// What was counted is noted before long: readers are shown it.
    fn note_counted(&mut self, now: Now) {
        if self.containers.next_note().is_some_and(|at| now.monotonic >= at) {
            self.note_docker(now);
        }
    }

    fn write_down(&mut self, now: Now, step: &mut Step) {
        step.facts = std::mem::take(&mut self.facts);
        step.records = step.facts.iter().filter_map(|fact| record::of(fact, now.wall)).collect();
        if !self.changes.is_empty() {
            self.last_batch = self.batch();
            step.changes = Some((self.last_batch, std::mem::take(&mut self.changes)));
        }
    }

    /// When, on the monotonic clock, the engine wants a [`Event::Tick`] at the latest.
    pub fn next_wakeup(&self) -> Duration {
        let scrapes = self.targets.values().map(|target| self.clock.when(target.next_slot));
        let slots =
            self.groups.iter().map(|group| self.clock.when(group.next_slot).max(group.rests_until));
        let waits = self.groups.iter().filter_map(|group| group.waiting.map(|(_, until)| until));
        let outbox = self.outbox.as_ref().and_then(Outbox::next_wakeup);
        scrapes
            .chain(slots)
            .chain(waits)
            .chain(outbox)
            .chain(self.presenter.next_wakeup())
            .chain(self.next_beat())
            .chain(self.gates.next_wakeup())
            .chain(self.next_mail())
            .chain(self.containers.next_note())
            .fold(self.next_sweep, Duration::min)
    }

    /// When, on the monotonic clock, whoever shows views should take one: news that came too soon
    /// after the last is held back. Nothing else waits for it.
    pub fn next_view(&self) -> Option<Duration> {
        self.containers.next_news()
    }

    /// A copy of what readers may see, if it has changed since the last one was taken.
    pub fn take_view(&mut self, now: Now) -> Option<View> {
        let news_is_due = self.containers.take_news(now);
        (std::mem::take(&mut self.view_is_old) || news_is_due).then(|| self.view(now))
    }

    /// The number of the batch this step's changes will be committed under.
    fn batch(&self) -> Batch {
        Batch(self.last_batch.0 + 1)
    }

    fn take(&mut self, now: Now, event: Event, step: &mut Step) {
        match event {
            Event::Tick => {}
            Event::Scraped(scraped) => self.take_scrape(now, &scraped),
            Event::Targets { active, dropped, flaws } => {
                self.counters.flaws = flaws;
                self.take_targets(now, active, dropped);
            }
            Event::Posted { post, verdict, tally, refused } => {
                self.take_verdict(now, post, verdict, (tally, refused));
            }
            Event::TallyRead { instance, tally } => {
                self.posts_waiting |= self.presenter.take_tally(&instance, tally);
            }
            Event::HoldRead { instance, hold } => self.presenter.set_hold(&instance, hold),
            Event::Delivered(reply) => self.take_reply(now, reply),
            Event::Mailed { kind, result } => self.take_mailed(now, kind, result),
            Event::Probed { key, number, answer } => self.take_probe(now, (&key, number), answer),
            Event::Committed(receipt) => {
                self.durable = receipt.upto();
                if self.journal_failing.take().is_some() {
                    self.facts.push(Fact::JournalRecovered);
                    self.view_is_old = true;
                }
                if let Some(outbox) = &mut self.outbox {
                    outbox.committed(receipt);
                }
                self.answer_operators(step);
            }
            Event::Statement { ticket, id, statement } => {
                self.take_statement(now, ticket, (id, statement), step);
            }
            Event::StatementRefused { ticket, id, refusal, detail } => {
                self.refuse_statement(now, ticket, (id, refusal, detail), step);
            }
            Event::Audited(state) => self.take_audit(state),
            Event::Recorded(state) => {
                self.recorder = state;
                self.view_is_old = true;
            }
            Event::JournalFailing(error) => {
                self.view_is_old = true;
                self.counters.journal_failures += 1;
                self.facts.push(Fact::JournalFailing { error: error.clone() });
                self.journal_failing = Some(error);
            }
            Event::Find { ticket, names, every } => {
                let content = self.find(&names, every);
                step.answers.push(Answer { ticket, content });
            }
            Event::Copy { ticket, wanted, max_samples } => {
                let content = Content::Samples(self.window.copy(&wanted, max_samples));
                step.answers.push(Answer { ticket, content });
            }
            Event::List { ticket, wanted, max_series } => {
                let content = Content::Samples(self.window.copy_newest(&wanted, max_series));
                step.answers.push(Answer { ticket, content });
            }
            Event::Reload { setup, switches } => self.reload(now, *setup, switches),
            Event::ReloadFailed(error) => {
                self.facts.push(Fact::ReloadFailed { error: error.clone() });
                self.reload_error = Some(error);
                self.view_is_old = true;
            }
            Event::Docker(report) => self.take_docker(now, report),
            Event::Switches(switches) => self.switches = switches,
            Event::Plans(told) => self.take_plans(now, told),
            Event::Tenants(told) => self.take_tenants(now, told),
            Event::M2Setting(told) => self.take_m2_setting(now, told),
            Event::Outbox { ticket, command } => self.take_command(now, ticket, &command, step),
        }
    }

    /// Moves everything counted in wall time when the wall clock steps.
    fn observe_clock(&mut self, now: Now) {
        let Some(by_ms) = self.clock.observe(now) else { return };
        self.counters.clock_steps += 1;
        self.facts.push(Fact::ClockStepped { by_ms });
        self.window.rebase(by_ms);
        self.presenter.rebase(by_ms);
        self.postman.rebase(by_ms, now);
        self.rebase_containers(by_ms);
        self.changes.extend(self.memory.rebase(by_ms));
        self.changes.extend(self.outbox.iter_mut().flat_map(|outbox| outbox.rebase(by_ms)));
        self.gates.rebase(by_ms);
        self.newest_sample = Timestamp(self.newest_sample.0.saturating_add(by_ms));
        self.covered_since = Timestamp(self.covered_since.0 + by_ms);
        self.coverage.rebase(by_ms);
        // Else a clock that was set back would end the observation of usage for as long.
        self.usage_at = None;
        self.keep_revisions_rising(now, by_ms);
        for group in &mut self.groups {
            group.rebase(by_ms, now.wall);
        }
        for alert in self.orphans.values_mut().flat_map(BTreeMap::values_mut) {
            alert.rebase(by_ms);
        }
        self.write_moved(by_ms);
        for target in self.targets.values_mut() {
            target.rebase(by_ms, now.wall);
        }
    }

    fn take_targets(&mut self, now: Now, active: Vec<TargetInfo>, dropped: Vec<Labels>) {
        let mut before = std::mem::take(&mut self.targets);
        let phase = self.setup.pace.phase;
        for info in active {
            let target = match before.remove(&info.id) {
                Some(mut target) => {
                    target.follow(info, phase, now.wall);
                    target
                }
                None => {
                    let fed = self.restored.fed.remove(&info.labels);
                    Target::new(info, phase, now.wall, fed)
                }
            };
            self.targets.insert(target.info.id, target);
        }
        for gone in before.values() {
            gone.end_all(&mut self.window);
        }
        self.dropped_targets = dropped;
        self.knows_targets = true;
        self.view_is_old = true;
    }

    fn start_scrapes(&mut self, now: Now, step: &mut Step) {
        for (id, target) in &mut self.targets {
            let Some((slot, skipped)) = target.due(now.wall) else { continue };
            self.counters.scrapes_skipped += skipped;
            if target.in_flight.is_some() {
                self.counters.scrapes_skipped += 1;
                continue;
            }
            target.in_flight = Some(slot);
            step.requests.push(Request::Scrape { target: *id, anew: target.wants_epoch });
        }
    }

    fn take_scrape(&mut self, now: Now, scraped: &Scraped) {
        let Some(target) = self.targets.get_mut(&scraped.target) else { return };
        let slot = target.in_flight.unwrap_or(now.wall);
        let was_bad = target.health == Health::Bad;
        let is_first = !target.answered;
        target.note(slot, scraped.duration, &scraped.result);
        let (setup, containers) = (&self.setup, &self.containers);
        let info = target.info.clone();
        let enrich = |labels: &Labels| setup::enrich_of(setup, containers, &info, labels);
        match &scraped.result {
            Ok(batch) => {
                let taken = target.take(batch, slot, &mut self.window, &enrich);
                taken.count(&batch.stats, &mut self.counters);
                let newest = taken.newest.unwrap_or(slot).min(now.wall);
                self.newest_sample = self.newest_sample.max(newest);
                if was_bad {
                    self.facts.push(Fact::ScrapeRecovered { target: target.name() });
                }
                self.facts.extend(target.note_refused(taken.refused));
                self.note_gone(&taken.gone, slot);
                self.check_claims(&info, batch);
            }
            Err(error) => {
                target.end_all(&mut self.window);
                *self.scrape_failures.entry(error.reason).or_default() += 1;
                let (target, error) = (target.name(), error.message.clone());
                self.facts.push(Fact::ScrapeFailed { target, error, first: !was_bad });
            }
        }
        self.read_oom_counters(scraped.target, slot);
        let report = self.targets[&scraped.target].report(&scraped.result);
        for (labels, value) in report {
            match self.window.series(&self.enrich(&labels)) {
                Ok(id) => drop(self.window.append(id, Sample { at: slot, value })),
                Err(_) => self.counters.series_refused += 1,
            }
        }
        if is_first {
            self.settle_restored(scraped.target, slot);
        }
    }

    fn sweep(&mut self, now: Now) {
        if now.monotonic < self.next_sweep {
            return;
        }
        self.next_sweep = now.monotonic + SWEEP_EVERY;
        self.tell_old_refusals(now);
        self.forget_orphans(now);
        let ill = self.subjects_of_alerts();
        self.changes.extend(self.memory.prune(now, &self.setup.policy.limits, &ill));
        self.memo.forget_unused();
        for rule in self.groups.iter_mut().flat_map(|group| &mut group.rules) {
            rule.named.forget_unused();
            rule.texts.forget_unused();
        }
        self.forget_containers();
        self.forget_claims();
        let forgotten: BTreeSet<SeriesId> =
            self.window.forget_expired(now.wall).into_iter().collect();
        if forgotten.is_empty() {
            return;
        }
        for target in self.targets.values_mut() {
            target.forget(&forgotten);
        }
        for rule in self.groups.iter_mut().flat_map(|group| &mut group.rules) {
            rule.written.retain(|id| !forgotten.contains(id));
        }
        self.own_series.retain(|id| !forgotten.contains(id));
        self.restored.forget(&forgotten);
    }

    /// The series of these metrics, or every one.
    fn find(&self, names: &BTreeSet<String>, every: bool) -> Content {
        let series = self.window.catalogue((!every).then_some(names));
        Content::Found { series, unkept: self.unkept(names) }
    }

    /// Names a query asks for that the window does not hold, and would not if a target had them.
    fn unkept(&self, asked: &BTreeSet<String>) -> Vec<String> {
        let mut missing = asked.iter().filter(|name| !self.window.holds(name)).peekable();
        if missing.peek().is_none() {
            return Vec::new();
        }
        let selection = self.setup.selection();
        missing.filter(|name| !selection.wants(name)).cloned().collect()
    }

    fn take_reply(&mut self, now: Now, reply: Reply) {
        let Some(outbox) = &mut self.outbox else { return };
        let turn = outbox.settle(reply, now);
        self.take_turn(now, turn);
    }

    fn view(&self, now: Now) -> View {
        View {
            at: now.wall,
            ready: self.targets.values().all(|target| target.answered),
            groups: self.groups.iter().map(|group| Arc::new(group.view())).collect(),
            targets: self.targets.values().map(|target| Arc::new(target.view())).collect(),
            dropped_targets: self.dropped_targets.clone(),
            alertmanagers: self.alertmanager_views(),
            containers: self.container_views(),
            docker: self.containers.daemon.state(),
            outbox: self.outbox_view(now),
            journal: JournalView {
                uncommitted: self.last_batch.0 - self.durable.0,
                failing: self.journal_failing.clone(),
            },
            documents: self.document_views(now),
            owners: self.owners_view(),
            fits: Arc::clone(&self.owners.fits),
            mail: self.mail_view(),
            gates: self.gate_views(),
            gates_unasked: self.gates.unasked(),
            reload_error: self.reload_error.clone(),
            promql: self.setup.eval.features,
            default_step: self.setup.eval.default_step,
            audit: self.audit.clone(),
            recorder: self.recorder.clone(),
            receipts: self.receipts_view(),
            counters: self.counters,
            scrape_failures: self.scrape_failures.clone(),
            window_series: self.window.usage().series,
            window_bytes: self.window.usage().bytes,
        }
    }
}

#[cfg(test)]
mod tests;
