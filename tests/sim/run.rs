//! One run: the pure engine, everything around it, and time that jumps from one happening to the next.
//!
//! The world keeps what is true (moods, what is durable, what each receiver has) apart from what the
//! engine says; `check` compares the two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use plimsoll::alerts::{Post, PostId, Tally, Verdict};
use plimsoll::base::{Batch, Change, Now, Receipt, Table, TargetId, Timestamp};
use plimsoll::engine::{
    Engine, Event, Flaws, Request, ScrapeFailure, Scraped, Setup, Step, Switches, TargetInfo,
};
use plimsoll::exposition::{Selection, SeriesCache};
use plimsoll::outbox::{Answer, Attempt, Outcome, Reply};
use plimsoll::window::CheckpointError;

use super::check::Checker;
use super::fault::Fault;
use super::host::{self, Host, RULES, TARGETS};
use super::plan::{Config, END, Plan, World};
use super::promise::{Promise, Red};
use super::rng::Rng;
use super::support;

/// The wall clock at the start of every run.
pub const EPOCH: Timestamp = Timestamp(1_795_312_440_000);
const INTERVAL: Duration = Duration::from_secs(5);
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(4);
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// A late incident is held this long.
pub const HOLD: Duration = Duration::from_secs(90);
/// More events than this in an hour is a loop that spins.
const EVENTS_PER_HOUR_MAX: u64 = 60_000;
/// Fewer edges prove nothing.
const EDGES_MIN: usize = 50;
/// As good as never.
const SELDOM: Duration = Duration::from_secs(1200);
/// The instance that comes and goes, and takes nothing.
const EXTRA: &str = "http://127.0.0.1:9999";
const MILLISECOND: Duration = Duration::from_millis(1);

/// Something that will happen.
enum Coming {
    /// To the process with this number; nobody else hears it.
    Event(u32, Event),
    /// A webhook reaches the Control Plane, whoever sent it.
    Delivery(Attempt),
    /// A post reaches an Alertmanager instance; and whether its answer comes back.
    Post(Post, bool),
    /// The journal of the process with this number tries to commit.
    Commit(u32),
    /// The process dies.
    Crash,
    /// It starts again.
    Start,
    /// The wall clock steps.
    Step(i64),
    /// The configuration is read again.
    Reload(Config),
    /// A series changes its mood.
    Turn(usize),
    /// Undisturbed for a while, the engine must have seen the mood of a series.
    Look(usize, Duration),
}

/// A run under way.
struct Run {
    rng: Rng,
    plan: Plan,
    host: Host,
    now: Now,
    coming: BTreeMap<(Duration, u64), Coming>,
    sent: u64,
    process: u32,
    engine: Option<Engine>,
    caches: Vec<SeriesCache>,
    selection: Selection,
    /// What the configuration says now.
    config: Config,
    /// What the engine calls the Alertmanager instances, in its order.
    names: Vec<String>,
    /// The posts of this process, by their numbers.
    posts: BTreeSet<PostId>,
    /// What is planted to go wrong.
    fault: Option<Fault>,
    /// What the disk holds.
    durable: BTreeMap<(Table, String), Vec<u8>>,
    submitted: VecDeque<(Batch, Vec<Change>)>,
    commit_is_coming: bool,
    checkpoint: Option<Vec<u8>>,
    next_checkpoint: Duration,
    check: Checker,
    red: Red,
    events: u64,
    /// Every step in words, if two runs are to be compared.
    script: Option<String>,
}

/// What a run came to.
pub struct Report {
    /// Every step, if it was asked for.
    pub script: String,
    /// Incidents Alertmanager heard late.
    pub late: usize,
    /// Promises that were broken, each with its first case.
    pub broken: BTreeMap<Promise, String>,
}

/// Runs one world under one seed.
pub fn run(world: World, seed: u64, with_script: bool) -> Report {
    Run::new(world, seed, with_script).finish()
}

/// The same with a fault planted around the engine.
pub fn run_with_fault(world: World, seed: u64, fault: Fault) -> Report {
    let run = Run::new(world, seed, false);
    Run { fault: Some(fault), ..run }.finish()
}

impl Run {
    fn new(world: World, seed: u64, with_script: bool) -> Run {
        let mut rng = Rng::new(seed ^ 0x706c_696d_736f_6c6c);
        let plan = Plan::draw(&mut rng, world, TARGETS);
        let red = Red::default();
        let check = Checker::new(&plan, &red);
        Run {
            rng,
            plan,
            host: Host::new(),
            now: Now { monotonic: Duration::ZERO, wall: EPOCH },
            coming: BTreeMap::new(),
            sent: 0,
            process: 0,
            engine: None,
            caches: Vec::new(),
            selection: Selection::all(),
            config: Config::default(),
            names: Vec::new(),
            posts: BTreeSet::new(),
            fault: None,
            durable: BTreeMap::new(),
            submitted: VecDeque::new(),
            commit_is_coming: false,
            checkpoint: None,
            next_checkpoint: Duration::ZERO,
            check,
            red,
            events: 0,
            script: with_script.then(String::new),
        }
    }

    fn finish(mut self) -> Report {
        self.prepare();
        self.start();
        while self.turn() {}
        let moods = self.host.series.iter();
        let moods: Vec<_> = moods.map(|s| (s.name.clone(), s.mood)).collect();
        let (edges, late) = self.check.finish(self.now, &moods, &self.plan);
        let what = || format!("{edges} edges: too little happened");
        self.red.must(Promise::Lively, edges > EDGES_MIN, what);
        let script = self.script.unwrap_or_default();
        Report { script, late, broken: self.red.broken() }
    }

    fn prepare(&mut self) {
        for (from, to) in self.plan.dead.clone().iter() {
            self.at(*from, Coming::Crash);
            self.at(*to, Coming::Start);
        }
        for (at, by_ms) in self.plan.steps.clone() {
            self.at(at, Coming::Step(by_ms));
        }
        for (at, config) in self.plan.reloads.clone() {
            self.at(at, Coming::Reload(config));
        }
        for number in 0..self.host.series.len() {
            let at = self.rng.seconds(5, 200);
            self.at(at, Coming::Turn(number));
        }
    }

    /// Jumps to what comes next; false at the end of time.
    fn turn(&mut self) -> bool {
        if self.red.has(Promise::Rests) || self.red.has(Promise::FewEvents) {
            return false;
        }
        let mut wakeup = self.engine.as_ref().map_or(END, Engine::next_wakeup);
        if self.fault == Some(Fault::Restless) {
            wakeup = wakeup.min(self.now.monotonic + 50 * MILLISECOND);
        }
        let first = self.coming.first_key_value().map_or(END, |((at, _), _)| *at);
        let next = wakeup.min(first).max(self.now.monotonic);
        if next >= END {
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
            Coming::Event(process, event) if process == self.process => self.handle(event),
            Coming::Event(..) => {}
            Coming::Delivery(attempt) => self.check.arrived(&attempt),
            Coming::Post(post, is_known) => self.check.heard(self.now, &post, is_known),
            Coming::Commit(process) if process == self.process => self.commit(),
            Coming::Commit(_) => {}
            Coming::Crash => self.crash(),
            Coming::Start => self.start(),
            Coming::Reload(config) => self.reload(config),
            Coming::Step(by_ms) => self.now.wall = Timestamp(self.now.wall.0 + by_ms),
            Coming::Turn(number) => {
                let now = self.now.monotonic;
                if let Some(next) = self.host.turn(number, now, &mut self.rng) {
                    self.at(next, Coming::Turn(number));
                }
                self.later(super::check::SEEN_WITHIN, Coming::Look(number, now));
            }
            Coming::Look(number, since) => {
                let series = &self.host.series[number];
                if series.since == since && self.engine.is_some() {
                    self.check.look(series, self.now.monotonic, &self.plan);
                }
            }
        }
    }

    fn start(&mut self) {
        self.process += 1;
        self.posts.clear();
        self.caches = (0..TARGETS).map(|_| SeriesCache::new()).collect();
        let setup = self.setup();
        self.selection = setup.selection();
        let rows: Vec<Change> = self
            .durable
            .iter()
            .map(|((table, key), value)| Change {
                table: *table,
                key: key.clone(),
                value: Some(value.clone()),
            })
            .collect();
        let mut engine = Engine::new(setup, &rows, self.now, Box::new(|| Duration::ZERO));
        if let Some(checkpoint) = self.checkpoint.take()
            && self.rng.chance(50)
        {
            match engine.restore_window(&checkpoint, self.now) {
                Ok(()) => {}
                Err(error) => {
                    let is_whole = error == CheckpointError::Newer;
                    self.red.must(Promise::CheckpointWhole, is_whole, || error.to_string());
                }
            }
        }
        self.engine = Some(engine);
        self.check.started(&self.durable);
        self.find_targets();
    }

    /// What the configuration comes to now.
    fn setup(&mut self) -> Setup {
        let rules = if self.config.twins { host::twin_rules() } else { RULES.to_owned() };
        let mut setup = support::setup(CONFIG, &[("rules/sim.yml".to_owned(), rules)]);
        setup.alertmanagers.truncate(self.plan.alertmanagers.len());
        if self.config.reversed {
            setup.alertmanagers.reverse();
        }
        if self.config.extra {
            setup.alertmanagers.insert(0, EXTRA.to_owned());
        }
        self.names.clone_from(&setup.alertmanagers);
        setup
    }

    fn find_targets(&mut self) {
        let interval = if self.config.seldom { SELDOM } else { INTERVAL };
        let info = |target: usize| TargetInfo {
            id: TargetId(target as u32 + 1),
            labels: host::labels(target),
            discovered: host::labels(target),
            url: String::new(),
            interval,
            timeout: SCRAPE_TIMEOUT,
        };
        let active = (0..TARGETS).map(info).collect();
        self.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() });
    }

    /// As the loop does it: the shell's parts first, then the engine, then the targets.
    fn reload(&mut self, config: Config) {
        self.config = config;
        let setup = Box::new(self.setup());
        if self.fault != Some(Fault::OldReading) {
            self.selection = setup.selection();
        }
        self.caches.iter_mut().for_each(SeriesCache::reset);
        self.handle(Event::Reload { setup, switches: Switches::default() });
        self.find_targets();
    }

    /// The instance of the plan that has this name; none for the one that is not in it.
    fn instance(&self, name: &str) -> Option<usize> {
        let mut planned: Vec<&String> = self.names.iter().filter(|name| *name != EXTRA).collect();
        planned.sort();
        planned.into_iter().position(|known| known == name)
    }

    /// What was handed over and not committed is lost, and so is everything in memory.
    fn crash(&mut self) {
        self.engine = None;
        self.process += 1;
        self.commit_is_coming = false;
        let lost = std::mem::take(&mut self.submitted);
        self.check.crashed(lost.into_iter().flat_map(|(_, changes)| changes));
    }

    fn handle(&mut self, mut event: Event) {
        let Some(engine) = &mut self.engine else { return };
        if let Event::Scraped(scraped) = &mut event {
            let truth = self.fault.and_then(|fault| fault.truth(scraped));
            self.check.scraped(truth.as_ref().unwrap_or(scraped));
            self.fault.inspect(|fault| fault.alter_values(self.now, scraped));
        }
        let now = self.fault.map_or(self.now, |fault| fault.alter_clock(self.now));
        let step = engine.handle(now, event);
        let next = engine.next_wakeup();
        let spins = || format!("{:?}: the engine spins, due {next:?}", self.now);
        self.red.must(Promise::Rests, next > self.now.monotonic, spins);
        self.events += 1;
        let hours = self.now.monotonic.as_secs() / 3600 + 1;
        let is_few = self.events < hours * EVENTS_PER_HOUR_MAX;
        self.red.must(Promise::FewEvents, is_few, || format!("{} events", self.events));
        if self.now.monotonic >= self.next_checkpoint {
            self.next_checkpoint = self.now.monotonic + Duration::from_secs(30);
            let mut checkpoint = engine.checkpoint();
            if self.fault == Some(Fault::TornCheckpoint) {
                checkpoint.truncate(checkpoint.len() / 2);
            }
            self.checkpoint = Some(checkpoint);
        }
        if let Some(script) = &mut self.script {
            *script += &format!("{:?} {step:?}\n", self.now);
        }
        self.obey(step);
    }

    fn obey(&mut self, step: Step) {
        if let Some((batch, mut changes)) = step.changes {
            self.fault.inspect(|fault| fault.alter_changes(&mut changes));
            if self.fault == Some(Fault::EarlyReceipts) {
                self.tell(MILLISECOND, Event::Committed(Receipt::of(batch)));
            }
            self.check.decided(self.now, &changes);
            self.submitted.push_back((batch, changes));
            if !self.commit_is_coming {
                self.commit_is_coming = true;
                let takes = self.rng.millis(1, 60);
                self.later(takes, Coming::Commit(self.process));
            }
        }
        for request in step.requests {
            match request {
                Request::Scrape { target, anew } => self.scrape(target, anew),
                Request::Post(post) => {
                    if self.fault == Some(Fault::TwicePosted) {
                        self.post(post.clone());
                    }
                    self.post(post);
                }
                Request::Tally { instance } => self.read_tally(instance),
                Request::Probe(_) | Request::Mail { .. } => unreachable!("no world has these"),
                Request::Deliver(attempt) => self.deliver(attempt),
            }
        }
    }

    /// All batches at once, or none: a disk that refuses is tried again every second.
    fn commit(&mut self) {
        if self.plan.journal.at(self.now.monotonic) {
            self.tell(MILLISECOND, Event::JournalFailing("no space left on device".to_owned()));
            self.later(Duration::from_secs(1), Coming::Commit(self.process));
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
        // A process killed within this millisecond has written and does not know it.
        self.tell(MILLISECOND, Event::Committed(Receipt::of(last)));
    }

    fn scrape(&mut self, target: TargetId, anew: bool) {
        let number = target.0 as usize - 1;
        if anew {
            self.caches[number].reset();
        }
        let away = self.plan.targets[number].at(self.now.monotonic);
        let away = away || self.fault == Some(Fault::Silence);
        let is_empty = away && self.fault == Some(Fault::FailureIsEmpty);
        let (after, result) = if is_empty {
            let labels = host::labels(number);
            let cache = &mut self.caches[number];
            (MILLISECOND, support::scan(cache, &self.selection, &labels, b""))
        } else if away && self.rng.chance(50) {
            (SCRAPE_TIMEOUT, Err("timed out".to_owned()))
        } else if away {
            (MILLISECOND, Err("connection refused".to_owned()))
        } else {
            let page = self.host.page(number);
            let labels = host::labels(number);
            let cache = &mut self.caches[number];
            let batch = support::scan(cache, &self.selection, &labels, page.as_bytes());
            let is_slow = self.rng.chance(3);
            (if is_slow { self.rng.millis(400, 3500) } else { self.rng.millis(3, 60) }, batch)
        };
        let result = result.map_err(|message| ScrapeFailure {
            reason: "test",
            message,
            ..ScrapeFailure::default()
        });
        self.tell(after, Event::Scraped(Scraped { target, duration: after, result }));
    }

    fn deliver(&mut self, mut attempt: Attempt) {
        self.fault.inspect(|fault| fault.alter_attempt(&mut attempt));
        self.check.sent(&attempt);
        let retry = |why: &str| Outcome::RetryLater { after: None, why: why.to_owned() };
        let is_bad = self.plan.control_plane.at(self.now.monotonic);
        let way = self.rng.between(0, 100);
        let quick = self.rng.millis(2, 200);
        let accepted = Outcome::Accepted(Answer::default());
        let (arrives, reply) = match (is_bad, way) {
            (_, 0..30) if self.fault == Some(Fault::DropEdges) => (None, Some((quick, accepted))),
            (_, 0..30) if self.fault == Some(Fault::Overtaken) => {
                (Some(Duration::from_secs(300)), Some((quick, accepted)))
            }
            (false, 0..90) => (Some(quick), Some((quick, accepted))),
            (false, 90..95) => {
                let slow = self.rng.seconds(1, 14);
                (Some(slow), Some((slow, accepted)))
            }
            // It arrives, and the sender never knows.
            (false, _) | (true, 0..30) => (Some(quick), Some((SEND_TIMEOUT, retry("timed out")))),
            (true, 30..60) => (None, Some((quick, retry("503")))),
            (true, 60..70) => {
                let after = Some(self.rng.seconds(1, 60));
                (None, Some((quick, Outcome::RetryLater { after, why: "429".to_owned() })))
            }
            (true, 70..80) => {
                (None, Some((quick, Outcome::Misconfigured { why: "401".to_owned() })))
            }
            (true, 80..90) => (None, Some((SEND_TIMEOUT, retry("timed out")))),
            // The sending task is lost; and it may arrive long after it was given up.
            (true, _) => (Some(self.rng.seconds(1, 100)), None),
        };
        if let Some((after, outcome)) = reply {
            let reply = Reply { id: attempt.id.clone(), number: attempt.number, outcome };
            self.tell(after, Event::Delivered(reply));
        }
        if let Some(after) = arrives {
            self.later(after, Coming::Delivery(attempt));
        }
    }

    fn post(&mut self, mut post: Post) {
        let is_new = self.posts.insert(post.id);
        let what = || format!("{:?}: two posts, and who knows which is answered", post.id);
        self.red.must(Promise::OneNumber, is_new, what);
        let Some(instance) = self.instance(&self.names[post.instance]) else {
            let after = self.rng.seconds(1, 14);
            let (post, verdict) = (post.id, Verdict::Failed("500".to_owned()));
            let posted = Event::Posted { post, verdict, tally: None, refused: Vec::new() };
            return self.tell(after, posted);
        };
        post.instance = instance;
        let (id, wants_tally) = (post.id, post.wants_tally);
        let is_away = self.plan.alertmanagers[instance].at(self.now.monotonic);
        let quick = self.rng.millis(2, 100);
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        let (arrives, after, verdict) = match (is_away, self.rng.between(0, 100)) {
            (true, 0..50) => (false, MILLISECOND, failed("connection refused")),
            (true, _) => (false, Duration::from_secs(10), failed("timed out")),
            (false, 0..3) => (true, Duration::from_secs(10), failed("timed out")),
            (false, 3..5) => (false, quick, failed("500")),
            (false, _) => (true, quick, Verdict::Accepted),
        };
        if arrives {
            let is_known = verdict == Verdict::Accepted;
            let own = |fault: Fault| fault.arrivals(self.now, post.clone());
            let all = self.fault.map_or_else(|| vec![(Duration::ZERO, post.clone())], own);
            for (delay, post) in all {
                self.later(quick.min(after) + delay, Coming::Post(post, is_known));
            }
        }
        let is_read = wants_tally && verdict == Verdict::Accepted;
        let tally = is_read.then(|| self.tally(instance));
        self.tell(after, Event::Posted { post: id, verdict, tally, refused: Vec::new() });
    }

    fn read_tally(&mut self, name: String) {
        let instance = self.instance(&name).expect("only who took something is asked");
        let is_away = self.plan.alertmanagers[instance].at(self.now.monotonic);
        let takes = if is_away { Duration::from_secs(2) } else { self.rng.millis(2, 100) };
        let tally = (!is_away).then(|| self.tally(instance));
        self.tell(takes, Event::TallyRead { instance: name, tally });
    }

    fn tally(&mut self, instance: usize) -> Tally {
        let tally = self.check.tally(self.now, instance);
        self.fault.map_or(tally, |fault| fault.alter_tally(tally))
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

const CONFIG: &str = "
global: {scrape_interval: 5s, evaluation_interval: 5s}
host: sim
alerting:
  min_presentation: 90s
  alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093', '127.0.0.1:9094']}]}]
";
