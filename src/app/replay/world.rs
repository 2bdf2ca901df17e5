//! One run of the engine under virtual time: requests are answered by the surroundings after a fixed
//! while, the journal commits to memory, and the clock jumps from one happening to the next.
//!
//! Nothing sleeps and nothing is random, so a run of a day takes as long as its scans and rules, and
//! the same run twice is the same run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::alerts::{Post, Presented, Verdict};
use crate::app::capture::PageReader;
use crate::app::config::COLLECTOR_JOB;
use crate::base::{Now, Receipt, TargetId, Timestamp};
use crate::engine::{
    Content, Engine, Event, Fact, Flaws, Request, ScrapeFailure, Scraped, Setup, TargetInfo,
};
use crate::exposition::{Selection, SeriesCache};
use crate::journal::VirtualDisk;
use crate::outbox::{self, Answer, Attempt, Outcome, Reply};
use crate::policy::{Miss, Page, Probe};
use crate::window::{Detached, Wanted, matching, metrics};

/// Every answer but a scrape's takes this long.
const REPLY_AFTER: Duration = Duration::from_millis(2);
/// A scrape takes this long.
const SCRAPE_TAKES: Duration = Duration::from_millis(20);
/// What a failed scrape is counted under.
const FAILED: &str = "replay";

/// What answers the engine.
pub trait Surroundings {
    /// Whether what Alertmanager took is kept for whoever asks afterwards: a day of it is large.
    const KEEPS_HEARD: bool = true;

    /// What the target that was added as this one says when it is asked, or why it says nothing.
    fn page(&mut self, place: usize, now: Now) -> Result<Vec<u8>, String>;

    /// Whether an Alertmanager instance takes a post.
    fn post(&mut self, _now: Now, _post: &Post) -> Verdict {
        Verdict::Accepted
    }

    /// What the Control Plane answers to a webhook.
    fn deliver(&mut self, _now: Now, _event: &outbox::Event) -> Outcome {
        Outcome::Accepted(Answer::default())
    }

    /// What a tenant's door says when it is tried; `None` where nobody knows: a recording has no doors.
    fn knock(&mut self, _now: Now, _probe: &Probe) -> Option<Result<Page, Miss>> {
        None
    }
}

/// Something that was told or that arrived, and when.
#[derive(Clone, PartialEq, Debug)]
pub struct Told<T> {
    /// Since the start of the run, by a clock that never steps.
    pub after: Duration,
    /// By the wall clock.
    pub at: Timestamp,
    /// What.
    pub what: T,
}

struct Target {
    info: TargetInfo,
    reader: PageReader,
    cache: SeriesCache,
}

enum Coming {
    /// An answer to the process that asked; one that has died since never hears it.
    Answer(u32, Event),
    /// Something that happens to whoever runs then.
    Outside(Event),
    /// The wall clock steps, in milliseconds.
    Step(i64),
    /// The disk fails, or works again.
    Disk(bool),
    /// The process is killed, or started again.
    Alive(bool),
}

/// An engine and the world around it.
pub struct World<S> {
    setup: Box<dyn Fn() -> Setup>,
    engine: Option<Engine>,
    /// How often it was started.
    life: u32,
    selection: Selection,
    targets: Vec<Target>,
    now: Now,
    /// By the time at which it arrives, then by order.
    coming: BTreeMap<(Duration, u64), Coming>,
    sent: u64,
    disk: VirtualDisk,
    /// What answers.
    pub surroundings: S,
    /// Everything the engine told.
    pub facts: Vec<Told<Fact>>,
    /// What Alertmanager took, if it is kept.
    pub heard: Vec<Told<Presented>>,
    /// What the Control Plane took.
    pub delivered: Vec<Told<outbox::Event>>,
}

impl<S: Surroundings> World<S> {
    /// A world that begins at `start`, with an empty journal. `setup` is asked again at each start
    /// of the process.
    pub fn new(setup: impl Fn() -> Setup + 'static, start: Timestamp, surroundings: S) -> World<S> {
        let first = setup();
        let now = Now { monotonic: Duration::ZERO, wall: start };
        World {
            selection: first.selection(),
            engine: Some(Engine::new(first, &[], now, Box::new(|| Duration::ZERO))),
            setup: Box::new(setup),
            life: 0,
            targets: Vec::new(),
            now,
            coming: BTreeMap::new(),
            sent: 0,
            disk: VirtualDisk::default(),
            surroundings,
            facts: Vec::new(),
            heard: Vec::new(),
            delivered: Vec::new(),
        }
    }

    /// Adds a target. What our own collector recorded is its own again.
    pub fn add_target(&mut self, reader: PageReader, interval: Duration) {
        let id = match reader.labels().get("job") == Some(COLLECTOR_JOB) {
            true => TargetId::COLLECTOR,
            false => TargetId(self.targets.len() as u32 + 1),
        };
        let info = TargetInfo {
            id,
            labels: reader.labels().clone(),
            discovered: reader.labels().clone(),
            url: String::new(),
            interval,
            timeout: interval,
        };
        self.targets.push(Target { info, reader, cache: SeriesCache::new() });
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        self.now
    }

    /// What the window holds now; `None` if that is more than `max_samples`.
    pub fn copy(&mut self, wanted: &Wanted, max_samples: usize) -> Option<Detached> {
        let (names, every) = metrics(wanted);
        let found = self.ask(Event::Find { ticket: 0, names, every })?;
        let Content::Found { series, .. } = found else { return None };
        let wanted = matching(&series, wanted, || false)?;
        match self.ask(Event::Copy { ticket: 0, wanted, max_samples })? {
            Content::Samples(copy) => copy,
            _ => None,
        }
    }

    fn ask(&mut self, event: Event) -> Option<Content> {
        let step = self.engine.as_mut()?.handle(self.now, event);
        step.answers.into_iter().next().map(|answer| answer.content)
    }

    /// Something happens that long after the start.
    pub fn at(&mut self, after: Duration, event: Event) {
        self.expect(after, Coming::Outside(event));
    }

    /// The wall clock steps.
    pub fn step_clock(&mut self, after: Duration, by_ms: i64) {
        self.expect(after, Coming::Step(by_ms));
    }

    /// The disk of the journal works, or does not, from then on.
    pub fn disk(&mut self, after: Duration, works: bool) {
        self.expect(after, Coming::Disk(works));
    }

    /// The process is killed, and started again.
    pub fn kill(&mut self, after: Duration, start_again: Duration) {
        self.expect(after, Coming::Alive(false));
        self.expect(start_again, Coming::Alive(true));
    }

    /// Runs until so long after the start. `watch` is called whenever time has jumped.
    pub fn run(&mut self, end: Duration, mut watch: impl FnMut(Duration)) {
        self.tell_targets();
        while self.now.monotonic < end {
            let wakeup = self.engine.as_ref().map(Engine::next_wakeup);
            let arrival = self.coming.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = wakeup.into_iter().chain(arrival).min() else { break };
            let next = next.max(self.now.monotonic);
            let passed = next - self.now.monotonic;
            if !passed.is_zero() {
                watch(next);
            }
            self.now = Now { monotonic: next, wall: self.now.wall + passed };
            match arrival.filter(|at| *at <= next).and_then(|_| self.coming.pop_first()) {
                Some((_, coming)) => self.happen(coming),
                None => self.handle(Event::Tick),
            }
        }
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Answer(life, event) if life == self.life => self.handle(event),
            Coming::Answer(..) => {}
            Coming::Outside(event) => self.handle(event),
            Coming::Step(by_ms) => {
                self.now.wall = Timestamp(self.now.wall.0 + by_ms);
                self.handle(Event::Tick);
            }
            Coming::Disk(works) => {
                let receipt = self.disk.set_works(works);
                self.committed(receipt);
            }
            Coming::Alive(false) => {
                self.engine = None;
                self.disk.crash();
                self.life += 1;
            }
            Coming::Alive(true) => self.start(),
        }
    }

    fn start(&mut self) {
        let rows = self.disk.rows();
        let stopwatch = Box::new(|| Duration::ZERO);
        self.engine = Some(Engine::new((self.setup)(), &rows, self.now, stopwatch));
        for target in &mut self.targets {
            target.cache = SeriesCache::new();
        }
        self.tell_targets();
    }

    fn tell_targets(&mut self) {
        let active = self.targets.iter().map(|target| target.info.clone()).collect();
        self.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() });
    }

    fn handle(&mut self, event: Event) {
        let Some(engine) = &mut self.engine else { return };
        let step = engine.handle(self.now, event);
        let (after, at) = (self.now.monotonic, self.now.wall);
        self.facts.extend(step.facts.into_iter().map(|what| Told { after, at, what }));
        if let Some((batch, changes)) = step.changes {
            let receipt = self.disk.submit(batch, changes);
            if receipt.is_none() {
                self.answer(REPLY_AFTER, Event::JournalFailing("the disk fails".to_owned()));
            }
            self.committed(receipt);
        }
        for request in step.requests {
            self.serve(request);
        }
    }

    fn committed(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt {
            self.answer(REPLY_AFTER, Event::Committed(receipt));
        }
    }

    fn serve(&mut self, request: Request) {
        let (after, at) = (self.now.monotonic, self.now.wall);
        match request {
            Request::Scrape { target, anew } => self.scrape(target, anew),
            Request::Post(post) => {
                let verdict = self.surroundings.post(self.now, &post);
                if S::KEEPS_HEARD && verdict == Verdict::Accepted {
                    let told = post.alerts.into_iter().map(|what| Told { after, at, what });
                    self.heard.extend(told);
                }
                self.answer(
                    REPLY_AFTER,
                    Event::Posted { post: post.id, verdict, tally: None, refused: Vec::new() },
                );
            }
            Request::Tally { instance } => {
                self.answer(REPLY_AFTER, Event::TallyRead { instance, tally: None });
            }
            Request::Probe(probe) => {
                if let Some(answer) = self.surroundings.knock(self.now, &probe) {
                    let Probe { key, number, .. } = probe;
                    self.answer(REPLY_AFTER, Event::Probed { key, number, answer });
                }
            }
            Request::Mail { .. } => {}
            Request::Deliver(attempt) => self.deliver(&attempt),
        }
    }

    fn scrape(&mut self, id: TargetId, anew: bool) {
        let place = self.targets.iter().position(|target| target.info.id == id);
        let Some((place, target)) = place.and_then(|at| Some((at, self.targets.get_mut(at)?)))
        else {
            return;
        };
        if anew {
            target.cache.reset();
        }
        let read = |body: Vec<u8>| target.reader.read(&mut target.cache, &self.selection, &body);
        let result = self.surroundings.page(place, self.now).and_then(read);
        let result = result.map_err(|message| ScrapeFailure {
            reason: FAILED,
            message,
            ..ScrapeFailure::default()
        });
        let scraped = Scraped { target: id, duration: SCRAPE_TAKES, result };
        self.answer(SCRAPE_TAKES, Event::Scraped(scraped));
    }

    fn deliver(&mut self, attempt: &Attempt) {
        let (after, at) = (self.now.monotonic, self.now.wall);
        let event: outbox::Event =
            serde_json::from_str(&attempt.body).expect("the engine made the body from an event");
        let outcome = self.surroundings.deliver(self.now, &event);
        if matches!(outcome, Outcome::Accepted(_)) {
            self.delivered.push(Told { after, at, what: event });
        }
        let reply = Reply { id: attempt.id.clone(), number: attempt.number, outcome };
        self.answer(REPLY_AFTER, Event::Delivered(reply));
    }

    fn answer(&mut self, after: Duration, event: Event) {
        self.expect(self.now.monotonic + after, Coming::Answer(self.life, event));
    }

    fn expect(&mut self, after: Duration, coming: Coming) {
        self.sent += 1;
        self.coming.insert((after, self.sent), coming);
    }
}
