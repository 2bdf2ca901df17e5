//! One world: the pure engine, everything around it, and time that jumps from one happening to the
//! next.

mod control_plane;
mod tenants;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use plimsoll::base::{Batch, Change, Now, Receipt, Table, TargetId, Timestamp};
use plimsoll::calendar::{Schedule, Window, Zone};
use plimsoll::engine::{
    Content, Engine, Event, Flaws, Request, ScrapeFailure, Scraped, Setup, Step, Switches,
    TargetInfo,
};
use plimsoll::exposition::Batch as Page;
use plimsoll::outbox::{ActionKind, Attempt};
use plimsoll::policy::{CalendarEntry, Directory, Measurers, Mode};
use plimsoll::window::CheckpointError;

use super::check::{Checker, Knock, Red};
use super::host::{Host, Shown, target_labels};
use super::mutate::{Mutant, Mutation};
use super::plan::{Daily, Plan};
use super::rng::Rng;
use super::{config, support};

/// The wall clock at the start of every world: midnight in UTC, less three minutes.
const EPOCH: Timestamp = Timestamp(1_795_305_420_000);
/// After a step of the wall clock the process is not killed for so long.
const QUIET: Duration = Duration::from_secs(400);
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
const MILLISECOND: Duration = Duration::from_millis(1);
/// More events than this in an hour is a loop that spins.
const EVENTS_PER_HOUR_MAX: u64 = 20_000;

enum Coming {
    /// To the process with this number; nobody else hears it.
    Event(u32, Event),
    /// How a scrape ended, and what is true of what it shows.
    Scraped(u32, Scraped, Option<Shown>),
    Delivery(Attempt),
    /// A webhook that a planted fault has held leaves now.
    Leaves(Attempt),
    Commit(u32),
    Crash,
    Start,
    Step(i64),
    Deploy(usize),
    /// A container is restarted because a request asked for it.
    Execute(usize, String),
    Switch,
    /// How a door was found, and how it truly was when it was tried.
    Probed(u32, Event, Knock),
    Look,
}

struct Run {
    rng: Rng,
    plan: Rc<Plan>,
    host: Host,
    mutant: Mutant,
    now: Now,
    coming: BTreeMap<(Duration, u64), Coming>,
    sent: u64,
    process: u32,
    engine: Option<Engine>,
    durable: BTreeMap<(Table, String), Vec<u8>>,
    submitted: VecDeque<(Batch, Vec<Change>)>,
    commit_is_coming: bool,
    checkpoint: Option<Vec<u8>>,
    check: Checker,
    events: u64,
    ticket: u64,
    /// Receipts under way, by ticket; how often each was taken.
    receipts: BTreeMap<u64, String>,
    taken: BTreeMap<String, u32>,
    /// What the Control Plane has done, by its `dedup_key`.
    done: BTreeMap<String, &'static str>,
    /// Facts that hold this text are printed.
    trace: Option<String>,
}

/// What a world came to.
pub struct Report {
    pub red: Red,
    pub counts: BTreeMap<&'static str, u64>,
}

/// Lives through a world.
pub fn run(plan: Plan, seed: u64, mutation: Option<Mutation>, trace: Option<&str>) -> Report {
    let plan = Rc::new(plan);
    let mut run = Run {
        rng: Rng::new(seed ^ 0x7275_6e21),
        host: Host::new(&plan, EPOCH, mutation),
        mutant: Mutant::new(mutation),
        now: Now { monotonic: Duration::ZERO, wall: EPOCH },
        coming: BTreeMap::new(),
        sent: 0,
        process: 0,
        engine: None,
        durable: BTreeMap::new(),
        submitted: VecDeque::new(),
        commit_is_coming: false,
        checkpoint: None,
        check: Checker::new(&plan),
        events: 0,
        ticket: 0,
        receipts: BTreeMap::new(),
        taken: BTreeMap::new(),
        done: BTreeMap::new(),
        trace: trace.map(str::to_owned),
        plan,
    };
    run.prepare();
    run.start();
    while run.turn() {}
    run.check.finish(run.now, &run.host);
    let of_host = [("OOM kill", run.host.kills), ("crash loop", run.host.crashes)];
    let mut counts = run.check.counts;
    counts.extend(of_host.into_iter().filter(|(_, times)| *times > 0));
    Report { red: run.check.red, counts }
}

impl Run {
    fn prepare(&mut self) {
        let plan = Rc::clone(&self.plan);
        for (from, to) in plan.dead.iter() {
            self.at(*from, Coming::Crash);
            self.at(*to, Coming::Start);
        }
        for (at, by_ms) in &plan.steps {
            self.at(*at, Coming::Step(*by_ms));
        }
        for (at, number) in &plan.deploys {
            self.at(*at, Coming::Deploy(*number));
        }
        let busy = plan.specs.iter().flat_map(|spec| spec.busy.iter());
        let said = plan.wishes.values().flat_map(|wishes| wishes.spans());
        for (from, to) in plan.kill.iter().chain(busy).chain(said) {
            self.at(*from, Coming::Switch);
            self.at(*to, Coming::Switch);
        }
        self.at(plan.interval / 2, Coming::Look);
    }

    /// Jumps to what comes next; false at the end of time.
    fn turn(&mut self) -> bool {
        let end = self.plan.lasts;
        let wakeup = self.engine.as_ref().map_or(end, Engine::next_wakeup);
        let first = self.coming.first_key_value().map_or(end, |((at, _), _)| *at);
        let next = wakeup.min(first).max(self.now.monotonic);
        if next >= end {
            return false;
        }
        let passed = next - self.now.monotonic;
        self.now = Now { monotonic: next, wall: self.now.wall + passed };
        if first <= next {
            let (_, coming) = self.coming.pop_first().expect("it was seen");
            self.take(coming);
        } else {
            self.handle(Event::Tick);
        }
        true
    }

    fn take(&mut self, coming: Coming) {
        match coming {
            Coming::Event(process, event) if process == self.process => {
                self.check.told(self.now, &event);
                self.handle(event);
            }
            Coming::Scraped(process, scraped, shown) if process == self.process => {
                self.check.answered(self.now, scraped.target.0 as usize - 1, shown.is_some());
                if let Some(shown) = shown {
                    self.check.scraped(self.now, shown);
                }
                self.handle(Event::Scraped(scraped));
            }
            Coming::Commit(process) if process == self.process => self.commit(),
            Coming::Probed(process, event, knock) if process == self.process => {
                self.check.knocked(self.now, knock);
                self.handle(event);
            }
            Coming::Event(..) | Coming::Scraped(..) | Coming::Commit(_) | Coming::Probed(..) => {}
            Coming::Delivery(attempt) => self.arrive(&attempt),
            Coming::Leaves(attempt) => {
                self.check.sent(self.now, &attempt);
                self.arrive(&attempt);
            }
            Coming::Crash => self.crash(),
            Coming::Start if self.engine.is_none() => self.start(),
            Coming::Start => {}
            // Nobody could tell a step from the time a process was not there, nor one of which the
            // process was killed before it had written it down.
            Coming::Step(by_ms) if self.is_no_time_to_step() => {
                self.later(Duration::from_secs(600), Coming::Step(by_ms));
            }
            Coming::Step(by_ms) => {
                self.now.wall = Timestamp(self.now.wall.0 + by_ms);
                self.check.stepped(self.now);
            }
            Coming::Deploy(number) => {
                self.host.deploy(number, self.now);
                self.check.count("deploy");
                self.may_shut(number);
            }
            Coming::Execute(number, id) => {
                self.host.restart(number, self.now);
                self.may_shut(number);
                self.check.executed(self.now, &id);
            }
            Coming::Switch => self.switch(),
            Coming::Look => {
                if self.engine.is_some() {
                    self.check.look(self.now);
                }
                self.later(self.plan.interval, Coming::Look);
            }
        }
    }

    fn is_no_time_to_step(&self) -> bool {
        let (now, soon) = (self.now.monotonic, self.now.monotonic + 3 * QUIET);
        self.engine.is_none() || self.plan.dead.touch(now, soon) || self.plan.disk.touch(now, soon)
    }

    fn setup(&self) -> Setup {
        let plan = &self.plan;
        let rules = [("worlds.yml".to_owned(), config::rules(plan))];
        let mut setup = support::setup(&config::text(plan, self.mutant.mutation), &rules);
        setup.alertmanagers.clear();
        setup.pace.phase = Duration::ZERO;
        setup.policy.mode = Mode::Act;
        setup.policy.modes.extend(plan.nudge.map(|mode| (ActionKind::Nudge, mode)));
        setup.policy.limits = plan.limits.clone();
        setup.policy.interlock = plan.interlock;
        setup.policy.calendar.0 = plan.calendar.iter().map(entry).collect();
        setup.policy.gates = plan.doors.map(|_| tenants::gate()).into_iter().collect();
        // The targets are the world's own, not those of its configuration.
        setup.identity.as_mut().expect("there are tenants").measurers = Measurers::Unnamed;
        if let Some(identity) = setup.identity.as_mut().filter(|_| !plan.wishes.is_empty()) {
            identity.directory = Directory::Unread;
        }
        if let Some(mutation) = self.mutant.mutation {
            mutation.alter_setup(&mut setup);
        }
        setup
    }

    fn start(&mut self) {
        self.process += 1;
        self.host.forget_feeds();
        let rows = self.durable.iter().map(|((table, key), value)| Change {
            table: *table,
            key: key.clone(),
            value: Some(value.clone()),
        });
        let rows: Vec<Change> = rows.collect();
        self.check.started(self.now, rows.iter());
        let kept = match self.mutant.mutation {
            Some(mutation) => rows.into_iter().filter_map(|row| mutation.recalled(row)).collect(),
            None => rows,
        };
        let mut engine = Engine::new(self.setup(), &kept, self.now, Box::new(|| Duration::ZERO));
        if let Some(checkpoint) = self.checkpoint.take()
            && self.rng.chance(60)
        {
            match engine.restore_window(&checkpoint, self.now) {
                Ok(()) => {}
                Err(error) => assert_eq!(error, CheckpointError::Newer, "it was written whole"),
            }
        }
        self.engine = Some(engine);
        let info = |target: usize| TargetInfo {
            id: TargetId(target as u32 + 1),
            labels: target_labels(target),
            discovered: target_labels(target),
            url: String::new(),
            interval: self.plan.interval,
            timeout: self.plan.interval / 2,
        };
        let active = (0..self.plan.targets()).map(info).collect();
        self.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() });
        self.switch();
    }

    /// Tells what holds actions from outside.
    fn switch(&mut self) {
        let now = self.now.monotonic;
        let busy = self.plan.specs.iter().filter(|spec| spec.busy.at(now));
        let busy: Vec<String> = busy.map(|spec| spec.service()).collect();
        let kill = self.plan.kill.at(now);
        self.check.switched(kill, busy.clone());
        let hides = |mutation| self.mutant.mutation == Some(mutation);
        let kill = kill && !hides(Mutation::HideKill);
        let busy = if hides(Mutation::HideBusy) { Vec::new() } else { busy };
        let busy = busy.into_iter().collect();
        self.handle(Event::Switches(Switches { kill, busy, ..Switches::default() }));
        self.tell_tenants();
    }

    /// What was handed over and not committed is lost, and so is everything in memory.
    fn crash(&mut self) {
        self.engine = None;
        self.process += 1;
        self.commit_is_coming = false;
        let lost = std::mem::take(&mut self.submitted);
        self.check.crashed(lost.into_iter().flat_map(|(_, changes)| changes));
    }

    fn handle(&mut self, event: Event) {
        let Some(engine) = &mut self.engine else { return };
        let step = engine.handle(self.now, event);
        let next = engine.next_wakeup();
        if next <= self.now.monotonic {
            self.check.unsound(format!("{:?}: the engine spins", self.now.monotonic));
            self.now.monotonic += MILLISECOND;
        }
        self.events += 1;
        if self.events > (self.now.monotonic.as_secs() / 3600 + 1) * EVENTS_PER_HOUR_MAX {
            self.check.unsound("too many events: the engine spins".to_owned());
            self.now.monotonic = self.plan.lasts;
        }
        self.obey(step);
    }

    #[expect(clippy::print_stdout, reason = "a trace is asked for, to be read")]
    fn obey(&mut self, step: Step) {
        for fact in &step.facts {
            if let Some(trace) = &self.trace {
                let told = format!("{fact:?}");
                if told.contains(trace.as_str()) {
                    println!("{:?} {told}", self.now.monotonic);
                }
            }
            self.check.fact(self.now, fact);
        }
        for answer in step.answers {
            let Some(id) = self.receipts.remove(&answer.ticket) else { continue };
            if let Content::Changed(Ok(())) = answer.content {
                let times = self.taken.entry(id.clone()).or_default();
                *times += 1;
                self.check.receipt_taken(&id, *times);
            }
        }
        let mut matters = false;
        if let Some((batch, mut changes)) = step.changes {
            self.mutant.alter_changes(&mut changes);
            self.check.decided(self.now, &changes);
            matters = changes.iter().any(|change| change.table != Table::Meta);
            self.submitted.push_back((batch, changes));
            if self.mutant.mutation == Some(Mutation::EarlyReceipts) {
                self.tell(Duration::ZERO, Event::Committed(Receipt::of(batch)));
            }
            if !self.commit_is_coming {
                self.commit_is_coming = true;
                let takes = self.rng.millis(1, 60);
                self.later(takes, Coming::Commit(self.process));
            }
        }
        for request in step.requests {
            match request {
                Request::Scrape { target, anew } => self.scrape(target, anew),
                Request::Deliver(attempt) => self.deliver(attempt),
                Request::Post(_) | Request::Tally { .. } => {}
                Request::Probe(probe) => self.knock(probe),
                Request::Mail { .. } => unreachable!("no world has these"),
            }
        }
        if self.is_killed(matters) {
            self.check.count(if matters {
                "killed after changes"
            } else {
                "killed after no change"
            });
            self.crash();
            let away = self.rng.seconds(1, 300);
            self.later(away, Coming::Start);
        }
    }

    /// Whether the process is killed after a step, which has changed something that matters or not. There are
    /// many more of the latter.
    fn is_killed(&mut self, matters: bool) -> bool {
        let calm = self.now.monotonic + super::plan::CALM >= self.plan.lasts;
        let stepped = self.check.stepped_since(self.now.monotonic.saturating_sub(QUIET));
        let once_in = self.plan.killed_once_in.filter(|_| !calm && !stepped);
        let once_in = once_in.map(|once_in| if matters { once_in } else { 20 * once_in });
        once_in.is_some_and(|once_in| self.rng.between(0, once_in) == 0)
    }

    fn commit(&mut self) {
        if self.plan.disk.at(self.now.monotonic) {
            self.check.count("disk full");
            self.tell(MILLISECOND, Event::JournalFailing("no space left on device".to_owned()));
            self.later(Duration::from_secs(20), Coming::Commit(self.process));
            return;
        }
        self.commit_is_coming = false;
        let Some((last, _)) = self.submitted.back() else { return };
        let last = *last;
        for (_, changes) in std::mem::take(&mut self.submitted) {
            self.check.committed(&changes);
            for Change { table, key, value } in changes {
                match value {
                    Some(value) => drop(self.durable.insert((table, key), value)),
                    None => drop(self.durable.remove(&(table, key))),
                }
            }
        }
        self.tell(MILLISECOND, Event::Committed(Receipt::of(last)));
    }

    fn scrape(&mut self, target: TargetId, anew: bool) {
        let now = self.now;
        let number = target.0 as usize - 1;
        let down = match number {
            0 => Some(&self.plan.down),
            1 => Some(&self.plan.node_down),
            _ => self.plan.others_down.as_ref(),
        };
        let down = down.is_some_and(|down| down.at(now.monotonic));
        let takes = self.rng.millis(3, 60);
        let is_hidden = number > 1 && self.mutant.mutation == Some(Mutation::HideDeadTargets);
        let (result, shown) = if down && is_hidden {
            (Ok(Page::default()), None)
        } else if down {
            (
                Err(ScrapeFailure {
                    reason: "test",
                    message: "timed out".to_owned(),
                    ..ScrapeFailure::default()
                }),
                None,
            )
        } else {
            let (batch, shown) = match number {
                0 => self.host.containers(now, anew),
                1 => self.host.node(now, anew),
                _ => (Page::default(), Shown::Nothing),
            };
            (Ok(batch), Some(shown))
        };
        let scraped = Scraped { target, duration: takes, result };
        self.later(takes, Coming::Scraped(self.process, scraped, shown));
        // A checkpoint of the window is at most some minutes old.
        if number == 1
            && self.plan.dead.touch(now.monotonic, now.monotonic + 2 * self.plan.interval)
        {
            self.checkpoint = self.engine.as_ref().map(Engine::checkpoint);
        }
    }

    fn tell(&mut self, after: Duration, event: Event) {
        self.later(after, Coming::Event(self.process, event));
    }

    fn later(&mut self, after: Duration, coming: Coming) {
        self.at(self.now.monotonic + after, coming);
    }

    fn at(&mut self, at: Duration, coming: Coming) {
        self.sent += 1;
        self.coming.insert((at, self.sent), coming);
    }
}

fn entry(daily: &Daily) -> CalendarEntry {
    CalendarEntry {
        name: daily.kind.name().to_owned(),
        kind: daily.kind,
        hosts: Vec::new(),
        tenants: daily.tenants.clone(),
        plans: Vec::new(),
        window: Window {
            schedule: Schedule::parse(&format!("0 {} * * *", daily.hour)).expect("a schedule"),
            duration: daily.lasts,
            zone: Zone::utc(),
        },
    }
}
