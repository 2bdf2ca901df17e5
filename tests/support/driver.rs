//! A well-behaved world around the pure engine: targets answer from a script, the journal commits,
//! Alertmanager and the Control Plane take what they are given, and time jumps to what comes next.
//!
//! Nothing sleeps and nothing is random; a run of an hour takes as long as its scans and rules.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::alerts::{Presented, Verdict};
use plimsoll::base::{Labels, Now, Receipt, TargetId, Timestamp};
use plimsoll::engine::{
    Content, Engine, Event, Fact, Flaws, Request, ScrapeFailure, Scraped, Setup, TargetInfo,
};
use plimsoll::exposition::{Batch, Selection, SeriesCache};
use plimsoll::outbox::{self, Answer, Outcome, Reply};
use plimsoll::promql::{EvalOptions, ParseOptions, QueryTimes, Value, instant, parse, reach};
use plimsoll::window::{Span, matching, metrics};

use super::support::scan;

/// Every answer but a scrape's takes this long.
const REPLY_AFTER: Duration = Duration::from_millis(2);
/// A scrape takes this long.
pub const SCRAPE_TAKES: Duration = Duration::from_millis(20);

/// What a target says when it is asked at that time; `None` if it does not answer.
pub type Script = Box<dyn FnMut(Timestamp) -> Option<Vec<u8>>>;

/// What a target is told of at that time, all of it anew or what is new.
pub type Source = Box<dyn FnMut(Timestamp, bool) -> Result<Batch, String>>;

struct Target {
    id: TargetId,
    labels: Labels,
    source: Source,
}

/// The engine and the world around it.
pub struct Driver {
    engine: Engine,
    selection: Selection,
    targets: Vec<Target>,
    now: Now,
    /// By the time at which it arrives, then by order.
    coming: BTreeMap<(Duration, u64), Event>,
    sent: u64,
    /// Everything the engine told, with its time.
    pub facts: Vec<(Timestamp, Fact)>,
    /// What Alertmanager heard.
    pub heard: Vec<(Timestamp, Presented)>,
    /// What the Control Plane got.
    pub delivered: Vec<(Timestamp, outbox::Event)>,
}

impl Driver {
    /// A run that starts at `start`. Slots lie `phase` after the multiples of their interval.
    pub fn new(mut setup: Setup, phase: Duration, start: Timestamp) -> Driver {
        setup.pace.phase = phase;
        let selection = setup.selection();
        let now = Now { monotonic: Duration::ZERO, wall: start };
        Driver {
            engine: Engine::new(setup, &[], now, Box::new(|| Duration::ZERO)),
            selection,
            targets: Vec::new(),
            now,
            coming: BTreeMap::new(),
            sent: 0,
            facts: Vec::new(),
            heard: Vec::new(),
            delivered: Vec::new(),
        }
    }

    /// Adds a target whose pages are scanned.
    pub fn add_target(&mut self, job: &str, instance: &str, mut script: Script) {
        let labels = Labels::from_pairs([("job", job), ("instance", instance)]);
        let (mut cache, selection, target) =
            (SeriesCache::new(), self.selection.clone(), labels.clone());
        let source = move |at, anew| {
            if anew {
                cache.reset();
            }
            let body = script(at).ok_or("connection refused".to_owned())?;
            scan(&mut cache, &selection, &target, &body)
        };
        let id = TargetId(self.targets.len() as u32 + 1);
        self.targets.push(Target { id, labels, source: Box::new(source) });
    }

    /// Adds this host's collector, which hands over batches.
    #[allow(dead_code, reason = "only the recorded host has cgroups")]
    pub fn add_collector(&mut self, labels: Labels, source: Source) {
        self.targets.push(Target { id: TargetId::COLLECTOR, labels, source });
    }

    /// Runs until the wall clock shows `end`, scraping every `interval`.
    pub fn run(&mut self, interval: Duration, end: Timestamp) {
        let info = |target: &Target| TargetInfo {
            id: target.id,
            labels: target.labels.clone(),
            discovered: target.labels.clone(),
            url: String::new(),
            interval,
            timeout: interval,
        };
        let active = self.targets.iter().map(info).collect();
        self.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() });
        while self.now.wall < end {
            let wakeup = self.engine.next_wakeup();
            let arrival = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = arrival.map_or(wakeup, |at| at.min(wakeup));
            assert!(next > self.now.monotonic || arrival == Some(next), "the engine spins");
            let passed = next.saturating_sub(self.now.monotonic);
            self.now = Now { monotonic: self.now.monotonic + passed, wall: self.now.wall + passed };
            let event = if arrival == Some(next) {
                self.coming.pop_first().expect("it was seen").1
            } else {
                Event::Tick
            };
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        let step = self.engine.handle(self.now, event);
        if let Some((batch, _)) = step.changes {
            self.later(REPLY_AFTER, Event::Committed(Receipt::of(batch)));
        }
        let at = self.now.wall;
        self.facts.extend(step.facts.into_iter().map(|fact| (at, fact)));
        for request in step.requests {
            self.serve(request);
        }
    }

    fn serve(&mut self, request: Request) {
        let at = self.now.wall;
        match request {
            Request::Scrape { target, anew } => {
                let asked = self.targets.iter_mut().find(|known| known.id == target);
                let answer = (asked.expect("a target that was added").source)(at, anew);
                let result = answer.map_err(|message| ScrapeFailure {
                    reason: "test",
                    message,
                    ..ScrapeFailure::default()
                });
                let scraped = Scraped { target, duration: SCRAPE_TAKES, result };
                self.later(SCRAPE_TAKES, Event::Scraped(scraped));
            }
            Request::Post(post) => {
                self.heard.extend(post.alerts.into_iter().map(|alert| (at, alert)));
                let event = Event::Posted {
                    post: post.id,
                    verdict: Verdict::Accepted,
                    tally: None,
                    refused: Vec::new(),
                };
                self.later(REPLY_AFTER, event);
            }
            Request::Tally { instance } => {
                self.later(REPLY_AFTER, Event::TallyRead { instance, tally: None });
            }
            Request::Probe(_) | Request::Mail { .. } => unreachable!("no setup has these"),
            Request::Deliver(attempt) => {
                let event = serde_json::from_str(&attempt.body).expect("a body is an event");
                self.delivered.push((at, event));
                let outcome = Outcome::Accepted(Answer::default());
                let reply = Reply { id: attempt.id, number: attempt.number, outcome };
                self.later(REPLY_AFTER, Event::Delivered(reply));
            }
        }
    }

    /// Something will happen at that time of the wall clock.
    #[allow(dead_code, reason = "only the replay of a real host has Docker's events")]
    pub fn expect(&mut self, at: Timestamp, event: Event) {
        let after = at.since(self.now.wall);
        self.later(after, event);
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.sent += 1;
        self.coming.insert((self.now.monotonic + after, self.sent), event);
    }

    fn ask(&mut self, question: Event) -> Option<Content> {
        let answer = self.engine.handle(self.now, question).answers.pop()?;
        Some(answer.content)
    }

    /// The value of a query now, asked as a reader of the API asks; one series at most.
    pub fn query(&mut self, text: &str) -> Option<f64> {
        let expr = parse(text, &ParseOptions::default()).expect(text);
        let wanted = reach(&expr, QueryTimes::default()).into_iter().map(|reach| {
            let after = self.now.wall - reach.back.expect("nothing here uses @");
            (reach.selector, Span { after, upto: self.now.wall })
        });
        let wanted: Vec<_> = wanted.collect();
        let (names, every) = metrics(&wanted);
        let Content::Found { series, .. } = self.ask(Event::Find { ticket: 1, names, every })?
        else {
            return None;
        };
        let wanted = matching(&series, &wanted, || false).expect("there is time");
        let copy = self.ask(Event::Copy { ticket: 1, wanted, max_samples: 1_000_000 })?;
        let Content::Samples(Some(copy)) = copy else { return None };
        let value = instant(&expr, &copy, self.now.wall, &EvalOptions::default()).expect(text);
        let Value::Vector(vector) = value.value else { panic!("{text} is not a vector") };
        assert!(vector.len() <= 1, "{text} has {} series", vector.len());
        vector.first().map(|(_, value)| *value)
    }

    /// When each alert of that name fired and ended, by the value of its label `by`.
    pub fn episodes(&self, alert: &str, by: &str) -> Vec<Episode> {
        let mut episodes: Vec<Episode> = Vec::new();
        for (at, fact) in &self.facts {
            let (labels, fired) = match fact {
                Fact::AlertFiring { labels, .. } => (labels, true),
                Fact::AlertResolved { labels, .. } => (labels, false),
                _ => continue,
            };
            if labels.get("alertname") != Some(alert) {
                continue;
            }
            let of = labels.get(by).unwrap_or_default().to_owned();
            if fired {
                episodes.push(Episode { of, from: *at, to: None });
            } else {
                let open = episodes.iter_mut().find(|e| e.of == of && e.to.is_none());
                open.expect("an alert fires before it ends").to = Some(*at);
            }
        }
        episodes
    }

    /// Whose alert of that name fired, each once.
    pub fn fired(&self, alert: &str, by: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.episodes(alert, by).into_iter().map(|episode| episode.of).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Rules that failed, targets that failed, series refused: what no good run has.
    pub fn troubles(&self) -> Vec<&Fact> {
        let is_trouble = |fact: &&Fact| {
            matches!(
                fact,
                Fact::RuleFailed { .. }
                    | Fact::ScrapeFailed { .. }
                    | Fact::SeriesRefused { .. }
                    | Fact::SlotsMissed { .. }
                    | Fact::ClockStepped { .. }
                    | Fact::JournalFailing { .. }
            )
        };
        self.facts.iter().map(|(_, fact)| fact).filter(is_trouble).collect()
    }
}

/// One time an alert fired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Episode {
    /// Whose it was.
    pub of: String,
    /// When it began to fire.
    pub from: Timestamp,
    /// When it ended, if it did.
    pub to: Option<Timestamp>,
}
