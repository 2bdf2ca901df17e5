//! The hands of the engine: each request on a task of its own, its answer back as an event.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::clock::Clock;
use crate::alerts::{Alert, Phase, Post, Refused, Tally, Verdict};
use crate::base::{Labels, TargetId};
use crate::collector;
use crate::containers::Report;
use crate::docker::event_line;
use crate::engine::{
    Event, Mail, MailFailure, MailKind, Request, ScrapeFailure, Scraped, TargetInfo,
};
use crate::executor::Executor;
use crate::letter;
use crate::mail::MailConfig;
use crate::outbox::{Attempt, Outcome, Reply};
use crate::probe::Prober;
use crate::recorder::{Entry, Recorder};
use crate::scrape::{KeptPage, Scraper};
use crate::send::Webhook;
use crate::send::alertmanager::AlertmanagerClient;
use crate::send::level::{Dress, to_json};

/// A late incident is shown this many times as long as a route may take to show it.
const HOLD_FACTOR: f64 = 1.2;

/// What its failures are counted under, beside the scraper's own reasons.
const COLLECTING: &str = "collector";

/// Everything a request can reach.
pub struct Shell {
    /// When attempts are made.
    pub clock: Clock,
    /// The targets.
    pub scraper: Scraper,
    /// Our own eyes.
    pub collector: collector::Handle,
    /// What they look at, if they are open.
    pub collects: Option<collector::Settings>,
    /// The instances, in the order the engine knows them by.
    pub alertmanagers: Vec<Arc<AlertmanagerClient>>,
    /// Whether an instance's own routes say how long it takes to show a late incident; not if
    /// `alerting.min_presentation` does.
    pub reads_holds: bool,
    /// Who keeps what was seen, if anyone does.
    pub recorder: Option<Arc<Recorder>>,
    /// What alerts carry on their way out.
    pub dress: Arc<Dress>,
    /// The way to the Control Plane.
    pub webhook: Option<Arc<Webhook>>,
    /// Where mail is handed over.
    pub mail: Option<Arc<MailConfig>>,
    /// The ways to tenants' doors.
    pub prober: Arc<Prober>,
    /// The hand that restarts where there is no Control Plane.
    pub executor: Option<Arc<Executor>>,
    /// Whether it is given new requests, or only ends those it has begun.
    pub executes: bool,
    /// How often a target file could not be read.
    pub unreadable_files: u64,
    /// Where answers go. Closed only while the program stops.
    pub inbox: mpsc::Sender<Event>,
}

impl Shell {
    /// Starts a request; its one answer arrives in the inbox.
    pub fn start(&mut self, request: Request) {
        match request {
            Request::Scrape { target: TargetId::COLLECTOR, anew } => self.collect(anew),
            Request::Scrape { target, anew } => {
                if anew {
                    self.scraper.resync(target);
                }
                let scrape = self.scraper.scrape(target, self.clock.now().wall);
                let recorder = self.recorder.clone();
                self.answer(async move {
                    let outcome = scrape.await;
                    if let (Some(recorder), Some(page)) = (recorder, outcome.page) {
                        let KeptPage { target, bytes: page, selection } = page;
                        let at = outcome.started_at;
                        recorder.record(Entry::Page { target, at, page, selection });
                    }
                    let result = outcome.result.map_err(|error| ScrapeFailure {
                        reason: error.kind.name(),
                        message: error.message,
                        samples_scraped: error.samples.0,
                        samples_post_relabel: error.samples.1,
                    });
                    Event::Scraped(Scraped { target, duration: outcome.duration, result })
                });
            }
            Request::Post(post) => self.post(post),
            Request::Tally { instance } => {
                let is_it = |client: &&Arc<AlertmanagerClient>| client.name() == instance;
                let client = self.alertmanagers.iter().find(is_it).map(Arc::clone);
                self.answer(async move {
                    Event::TallyRead { instance, tally: read_tally(client.as_deref()).await }
                });
            }
            Request::Mail { kind, mail } => self.mail(kind, mail),
            Request::Probe(probe) => {
                let prober = Arc::clone(&self.prober);
                self.answer(async move {
                    let answer = prober.ask(&probe).await;
                    Event::Probed { key: probe.key, number: probe.number, answer }
                });
            }
            Request::Deliver(attempt) => self.deliver(attempt),
        }
    }

    /// The collector as a target like the others; `None` while it is off.
    pub fn collector_target(&self) -> Option<TargetInfo> {
        let collector::Settings { config, target, .. } = self.collects.as_ref()?;
        Some(TargetInfo {
            id: TargetId::COLLECTOR,
            labels: target.clone(),
            discovered: Labels::empty(),
            url: format!("cgroup://{}", config.cgroup_root.display()),
            interval: config.interval,
            timeout: config.interval,
        })
    }

    /// Keeps what Docker has told.
    pub fn note_docker(&self, event: &Event) {
        let (Some(recorder), Event::Docker(Report::Happened(happening))) = (&self.recorder, event)
        else {
            return;
        };
        recorder.record(Entry::Docker { at: happening.at(), line: event_line(happening) });
    }

    fn collect(&self, anew: bool) {
        if anew {
            self.collector.renew();
        }
        let (clock, collector) = (self.clock, self.collector.clone());
        let within = self.collects.as_ref().map_or(Duration::ZERO, |on| on.config.interval);
        let seen = self.recorder.clone().zip(self.collects.as_ref().map(|on| on.target.clone()));
        self.answer(async move {
            let began = clock.now();
            let result = collector.collect(began.wall, within).await;
            if let (Some((recorder, target)), Ok(batch)) = (seen, &result) {
                let entry = Entry::Batch { target, at: began.wall, batch: batch.clone() };
                if !recorder.record(entry) {
                    // It may have announced series that the recorder will not know otherwise.
                    collector.renew();
                }
            }
            let duration = clock.monotonic().saturating_sub(began.monotonic);
            let failed =
                |message| ScrapeFailure { reason: COLLECTING, message, ..ScrapeFailure::default() };
            let result = result.map_err(|error| failed(error.to_string()));
            Event::Scraped(Scraped { target: TargetId::COLLECTOR, duration, result })
        });
    }

    fn answer(&self, work: impl Future<Output = Event> + Send + 'static) {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let event = work.await;
            inbox.send(event).await.ok();
        });
    }

    fn post(&self, post: Post) {
        let id = post.id;
        let Some(client) = self.alertmanagers.get(post.instance).map(Arc::clone) else {
            let verdict = Verdict::Failed("the instance is no longer configured".to_owned());
            let event = Event::Posted { post: id, verdict, tally: None, refused: Vec::new() };
            return self.answer(async move { event });
        };
        let dress = Arc::clone(&self.dress);
        let (inbox, reads_holds) = (self.inbox.clone(), self.reads_holds);
        self.answer(async move {
            let shown = post.alerts.iter().filter_map(|p| Some((&p.alert, to_json(p, &dress)?)));
            let (shown, alerts): (Vec<&Alert>, Vec<Vec<u8>>) = shown.unzip();
            // A late incident is held as long as this instance's routes ask; they may have changed
            // since the last time, and this is rare.
            let is_late =
                post.alerts.iter().any(|p| matches!(p.phase, Phase::LateFiring | Phase::Held));
            if is_late
                && reads_holds
                && let Ok(timings) = client.fetch_route_timings().await
            {
                let hold = hold_for(timings.group_wait, timings.group_interval);
                inbox.send(Event::HoldRead { instance: client.name(), hold }).await.ok();
            }
            let wanted = post.wants_tally.then_some(&*client);
            let (posted, tally) = tokio::join!(client.post_alerts(&alerts), read_tally(wanted));
            let refused = posted.refused.into_iter().map(|(index, reason, why)| {
                let labels = shown[index].labels.clone();
                Refused { labels, reason, why }
            });
            let refused = refused.collect();
            let verdict = match posted.retry {
                None => Verdict::Accepted,
                Some(why) => Verdict::Failed(why),
            };
            Event::Posted { post: id, verdict, tally, refused }
        });
    }

    fn mail(&self, kind: MailKind, mail: Mail) {
        let (clock, config) = (self.clock, self.mail.clone());
        self.answer(async move {
            let result = match config {
                Some(config) => config.send(&letter::write(&mail), clock.now().wall).await,
                None => Err(MailFailure {
                    reason: "setup",
                    why: "mail is no longer configured".to_owned(),
                }),
            };
            Event::Mailed { kind, result }
        });
    }

    fn deliver(&self, attempt: Attempt) {
        let clock = self.clock;
        let (webhook, executor) = (self.webhook.clone(), self.executor.clone());
        let executes = self.executes;
        self.answer(async move {
            let began = clock.now();
            let hand = match executor {
                Some(hand) if executes || hand.has_begun(&attempt).await => Some(hand),
                _ => None,
            };
            let outcome = match (hand, webhook) {
                (Some(hand), _) => hand.carry_out(&attempt, began, || clock.now()).await,
                (None, Some(webhook)) => webhook.send(&attempt, clock.now().wall).await,
                (None, None) => {
                    Outcome::Misconfigured { why: "no control_plane is configured".to_owned() }
                }
            };
            Event::Delivered(Reply { id: attempt.id, number: attempt.number, outcome })
        });
    }
}

/// The counters of an instance, if there is one and they can be read.
async fn read_tally(client: Option<&AlertmanagerClient>) -> Option<Tally> {
    let client = client?;
    let read = client.fetch_tally().await;
    let unread = |why: &String| tracing::debug!(instance = client.name(), why, "counters not read");
    read.inspect_err(unread).ok()
}

fn hold_for(group_wait: Duration, group_interval: Duration) -> Duration {
    group_wait.max(group_interval).mul_f64(HOLD_FACTOR)
}
