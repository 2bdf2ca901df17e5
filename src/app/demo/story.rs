//! The story: what must happen, what is told of it, and whether it did happen.
//!
//! Everything told follows from what the running program says of itself ([`Fact`]) and from what its
//! peers saw ([`Seen`]). Of each moment that matters the order is kept ([`Moment`]); the acts are
//! chains of moments, and an act is played when its chain came in order.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::fakes::{Hooked, Seen};
use super::footprint::footprint;
use super::teller::{Teller, Who};
use super::world::{Fill, LEAKING};
use crate::base::{Labels, Timestamp};
use crate::engine::{Fact, View};
use crate::outbox::{self, ActionKind, Data, Event, EventType};

/// The story ends by then, played or not. It takes about 26 minutes.
pub const LONGEST: Duration = Duration::from_secs(32 * 60);
/// Steps of the leaking container's meter.
const METER_STEPS: f64 = 10.0;

/// Something that happened.
pub enum Happening {
    /// In the program.
    Fact(Fact),
    /// Among its peers.
    Seen(Seen),
}

/// A moment the story waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Moment {
    CacheFull,
    Climbs,
    Warned,
    NearLimit,
    WillOom,
    AlertmanagerHas,
    WebhookHas,
    RestartAsked,
    Repeated,
    Restarted,
    Falls,
    Relieved,
    AlertmanagerKnows,
    WebhookKnows,
    Throttled,
    Nudged,
    OverBudget,
    Advised,
}

/// The acts: what a reader would call them, and the moments that must come in this order.
const ACTS: [(&str, &[Moment]); 6] = [
    ("a full page cache is told of and left alone", &[Moment::CacheFull]),
    (
        "a leak is foreseen, fires, and ends with a restart",
        &[
            Moment::Climbs,
            Moment::Warned,
            Moment::NearLimit,
            Moment::WillOom,
            Moment::RestartAsked,
            Moment::Restarted,
            Moment::Falls,
            Moment::Relieved,
        ],
    ),
    (
        "Alertmanager hears of its beginning and its end",
        &[Moment::WillOom, Moment::AlertmanagerHas, Moment::Relieved, Moment::AlertmanagerKnows],
    ),
    (
        "so does the Control Plane, by signed webhook; a lost answer costs one repetition and no second restart",
        &[
            Moment::WillOom,
            Moment::WebhookHas,
            Moment::RestartAsked,
            Moment::Repeated,
            Moment::WebhookKnows,
        ],
    ),
    ("a throttled tenant is offered a bigger plan", &[Moment::Throttled, Moment::Nudged]),
    (
        "too much pinned memory gets a recommended fixedCount",
        &[Moment::OverBudget, Moment::Advised],
    ),
];

/// An alert that has a part in the story.
struct Part {
    alert: &'static str,
    /// The container it must be about; `""` for an alert about no container.
    name: &'static str,
    pending: Option<Moment>,
    firing: Moment,
    resolved: Option<Moment>,
}

const PARTS: [Part; 5] = [
    Part {
        alert: "TenantMemoryNearLimit",
        name: "piper-cache",
        pending: None,
        firing: Moment::CacheFull,
        resolved: None,
    },
    Part {
        alert: "TenantMemoryExhaustionSoon",
        name: LEAKING,
        pending: None,
        firing: Moment::Warned,
        resolved: None,
    },
    Part {
        alert: "TenantMemoryWillOom",
        name: LEAKING,
        pending: Some(Moment::NearLimit),
        firing: Moment::WillOom,
        resolved: Some(Moment::Relieved),
    },
    Part {
        alert: "TenantCpuThrottled",
        name: "initech-api",
        pending: None,
        firing: Moment::Throttled,
        resolved: None,
    },
    Part {
        alert: "M2PinnedMemoryOverBudget",
        name: "",
        pending: None,
        firing: Moment::OverBudget,
        resolved: None,
    },
];

fn part(alert: &str, name: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.alert == alert && part.name == name)
}

fn part_of(labels: &Labels) -> Option<&'static Part> {
    part(labels.get("alertname")?, labels.get("name").unwrap_or_default())
}

/// What is counted for the summary.
#[derive(Default)]
struct Tally {
    webhooks: BTreeMap<EventType, u64>,
    repeated: u64,
    signatures_good: u64,
    signatures_bad: u64,
    restarts: u64,
    /// Actions asked about the container that must be left alone.
    wrongs: Vec<String>,
    /// What went wrong in the program itself.
    troubles: Vec<String>,
}

/// The story as far as it has come.
pub struct Story<W> {
    teller: Teller<W>,
    began: Timestamp,
    /// In the order in which they came, each once.
    moments: Vec<(Moment, Timestamp)>,
    tally: Tally,
    meter: f64,
}

impl<W: Write> Story<W> {
    /// A story that begins now.
    pub fn new(teller: Teller<W>, began: Timestamp) -> Story<W> {
        Story { teller, began, moments: Vec::new(), tally: Tally::default(), meter: 0.0 }
    }

    /// Says what is going to be seen.
    pub fn open(&mut self, speed: u32) {
        let lines = [
            (
                Who::Demo,
                format!(
                    "A simulated Docker host, web-7, with containers of four tenants; its life is {speed} times faster \
                     than yours. The clock on the left is the host's. plimsoll is the real program: it scrapes, judges, \
                     alerts and acts over HTTP on 127.0.0.1; its peers are puppets."
                ),
            ),
            (Who::Host, "acme-web (tenant acme, plan Pro: 2 GiB) leaks memory, slowly at first.".to_owned()),
            (Who::Host, "initech-api (tenant initech, plan Free: half a core) has more work than CPU.".to_owned()),
            (
                Who::Host,
                "piper-cache (tenant piper, Redis) fills its limit with page cache, as it should; hooli-web is well."
                    .to_owned(),
            ),
            (Who::Host, "An M2 cache pins 60000 documents of www.globex.example on 16 GiB.".to_owned()),
        ];
        for (who, line) in lines {
            self.teller.say(self.began, who, &line);
        }
    }

    /// Whether nothing is left to come: every act is played and nothing waits to be delivered.
    pub fn is_over(&self, deliveries_waiting: usize) -> bool {
        deliveries_waiting == 0 && ACTS.iter().all(|(_, chain)| self.is_played(chain))
    }

    /// Takes in what happened, and tells it if it matters.
    pub fn take(&mut self, at: Timestamp, happening: Happening) {
        match happening {
            Happening::Fact(fact) => self.take_fact(at, &fact),
            Happening::Seen(Seen::Scraped(fill)) => self.take_fill(at, fill),
            Happening::Seen(Seen::Presented { labels, resolved }) => {
                self.take_presented(at, &labels, resolved);
            }
            Happening::Seen(Seen::Hooked(hooked)) => self.take_hooked(at, &hooked),
            Happening::Seen(Seen::Restarted { name }) => {
                self.tally.restarts += 1;
                self.moment(Moment::Restarted, at);
                self.teller.say(at, Who::Host, &format!("{name} has been restarted."));
            }
        }
    }

    fn moment(&mut self, moment: Moment, at: Timestamp) -> bool {
        let is_new = self.moments.iter().all(|(known, _)| *known != moment);
        if is_new {
            self.moments.push((moment, at));
        }
        is_new
    }

    fn had(&self, moment: Moment) -> bool {
        self.moments.iter().any(|(known, _)| *known == moment)
    }

    fn is_played(&self, chain: &[Moment]) -> bool {
        let place = |wanted: &Moment| self.moments.iter().position(|(moment, _)| moment == wanted);
        let places: Option<Vec<usize>> = chain.iter().map(place).collect();
        places.is_some_and(|places| places.is_sorted())
    }

    fn take_fact(&mut self, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::AlertPending { labels, value } => self.take_pending(at, labels, *value),
            Fact::AlertFiring { labels, annotations, .. } => {
                self.take_firing(at, labels, annotations);
            }
            Fact::AlertResolved { labels, started_at, .. } => {
                let Some(part) = part_of(labels) else { return };
                if let Some(moment) = part.resolved {
                    self.moment(moment, at);
                }
                let age = at.since(*started_at).as_secs();
                let text = format!("{} is resolved, after {age} s.", part.alert);
                self.teller.say(at, Who::Plimsoll, &text);
                if part.firing == Moment::Warned && !self.had(Moment::Restarted) {
                    let text = "The leak goes on, but slower: at the pace of the last half minute the limit is more \
                                than 40 s away again. How full it is, is now for TenantMemoryWillOom to say.";
                    self.teller.say(at, Who::Plimsoll, text);
                }
            }
            Fact::Decided { labels, action, .. } => {
                let about = labels.get("name").or(labels.get("host")).unwrap_or_default();
                let text = format!("Decides to ask for an action about {about}: {action}.");
                self.teller.say(at, Who::Plimsoll, &text);
            }
            Fact::Outbox(outbox::Fact::Retrying { delivery, why, .. }) => {
                let attempts = delivery.attempts;
                let text = format!(
                    "No answer it can rely on (attempt {attempts}, {why}): the same delivery goes again."
                );
                self.teller.say(at, Who::Plimsoll, &text);
            }
            Fact::ScrapeFailed { .. }
            | Fact::RuleFailed { .. }
            | Fact::AlertmanagerFailed { .. }
            | Fact::EndHeld { .. }
            | Fact::JournalFailing { .. }
            | Fact::AuditFailing { .. }
            | Fact::Outbox(outbox::Fact::DeadLettered { .. } | outbox::Fact::Paused { .. }) => {
                let trouble = format!("{fact:?}");
                self.teller.say(at, Who::Demo, &format!("This should not happen: {trouble}"));
                self.tally.troubles.push(trouble);
            }
            _ => {}
        }
    }

    fn take_pending(&mut self, at: Timestamp, labels: &Labels, value: f64) {
        let Some(part) = part_of(labels) else { return };
        if let Some(moment) = part.pending {
            self.moment(moment, at);
        }
        let value = match part.firing {
            Moment::OverBudget => format!("{:.1} MiB pinned", value / f64::from(1 << 20)),
            Moment::Throttled => format!("throttled in {:.0} % of its periods", value * 100.0),
            _ => format!("{:.1} % of its limit", value * 100.0),
        };
        let about = labels.get("name").unwrap_or("M2");
        let text = format!("{about}: {value}. {} is pending; will it last?", part.alert);
        self.teller.say(at, Who::Plimsoll, &text);
    }

    fn take_firing(&mut self, at: Timestamp, labels: &Labels, annotations: &Labels) {
        let Some(part) = part_of(labels) else { return };
        self.moment(part.firing, at);
        let severity = labels.get("severity").unwrap_or_default();
        let summary = annotations.get("summary").unwrap_or_default();
        let text = format!("{} fires ({severity}): {summary}.", part.alert);
        self.teller.say(at, Who::Plimsoll, &text);
        if matches!(part.firing, Moment::CacheFull | Moment::OverBudget) {
            let why = annotations.get("description").unwrap_or_default();
            self.teller.say(at, Who::Plimsoll, why);
        }
    }

    fn take_fill(&mut self, at: Timestamp, fill: Fill) {
        let share = fill.working_set;
        let step = (share * METER_STEPS).floor() / METER_STEPS;
        if self.had(Moment::Restarted) && share < 0.5 && self.moment(Moment::Falls, at) {
            self.teller.say(at, Who::Host, &format!("{LEAKING} {} again.", meter(share)));
        } else if step > self.meter && step >= 0.4 {
            self.teller.say(at, Who::Host, &format!("{LEAKING} {} of its limit.", meter(share)));
            if step >= 0.6 {
                self.moment(Moment::Climbs, at);
            }
        }
        // Only what climbs is told; after the restart nothing does.
        self.meter = self.meter.max(step);
    }

    fn take_presented(&mut self, at: Timestamp, labels: &BTreeMap<String, String>, resolved: bool) {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        let Some(part) = part(label("alertname"), label("name")) else { return };
        if part.firing != Moment::WillOom {
            return;
        }
        let (moment, word) = if resolved {
            (Moment::AlertmanagerKnows, "resolved")
        } else {
            (Moment::AlertmanagerHas, "firing")
        };
        if self.moment(moment, at) {
            let text = format!("Has {} of {}: {word}.", part.alert, part.name);
            self.teller.say(at, Who::Alertmanager, &text);
        }
    }

    fn take_hooked(&mut self, at: Timestamp, hooked: &Hooked) {
        match (&hooked.signature, &hooked.event) {
            (Ok(()), Some(event)) => {
                self.tally.signatures_good += 1;
                if hooked.repeated {
                    self.tally.repeated += 1;
                    self.moment(Moment::Repeated, at);
                    let text = format!("{} again: handled already, not done twice.", hooked.id);
                    self.teller.say(at, Who::ControlPlane, &text);
                } else {
                    *self.tally.webhooks.entry(event.event_type).or_default() += 1;
                    self.take_event(at, hooked, event);
                }
            }
            (signature, _) => {
                self.tally.signatures_bad += 1;
                let text = format!("Refuses {}: {signature:?}.", hooked.id);
                self.teller.say(at, Who::ControlPlane, &text);
            }
        }
    }

    /// A webhook that is genuine and new.
    fn take_event(&mut self, at: Timestamp, hooked: &Hooked, event: &Event) {
        let data = &event.data;
        let name = data.labels.get("name").map_or("", String::as_str);
        let alert = data.alert.as_deref().unwrap_or_default();
        if let (Some(action), "piper-cache") = (&data.action, name) {
            self.tally.wrongs.push(format!("{} was asked for {name}", action.kind.name()));
        }
        let moment = match (event.event_type, part(alert, name).map(|part| part.firing)) {
            (EventType::AlertFiring, Some(Moment::WillOom)) => Moment::WebhookHas,
            (EventType::AlertResolved, Some(Moment::WillOom)) => Moment::WebhookKnows,
            (EventType::RestartRequested, Some(Moment::WillOom)) => Moment::RestartAsked,
            (EventType::UpgradeSuggested, Some(Moment::Throttled)) => Moment::Nudged,
            (EventType::AdviceGiven, Some(Moment::OverBudget)) if recommended(data).is_some() => {
                Moment::Advised
            }
            _ => return,
        };
        self.moment(moment, at);
        let what = match moment {
            Moment::RestartAsked => format!("restart {name}. Does so (and loses its answer)"),
            Moment::Nudged => format!(
                "offer tenant {} plan {} instead of {}. Writes them a letter",
                data.tenant_id.as_deref().unwrap_or_default(),
                param(data, "to").unwrap_or_default(),
                param(data, "from").unwrap_or_default(),
            ),
            Moment::Advised => format!(
                "set {} to {} (now {}): what M2 makes in twice the time it caches, 3 % more, in whole thousands, \
                 because to pin more than is asked for only costs memory. Shows it to the owner",
                param(data, "variable").unwrap_or_default(),
                recommended(data).unwrap_or_default(),
                param(data, "current").unwrap_or_default(),
            ),
            _ => format!("{alert} of {name}"),
        };
        let text =
            format!("{} by signed webhook {}, verified: {what}.", event.event_type, hooked.id);
        self.teller.say(at, Who::ControlPlane, &text);
    }

    /// Tells the outcome; `took` is real time. Returns whether every act was played.
    pub fn close(mut self, at: Timestamp, took: Duration, view: &View) -> bool {
        let mut missing: Vec<String> = ACTS
            .iter()
            .filter(|(_, chain)| !self.is_played(chain))
            .map(|(title, chain)| {
                let lacks: Vec<_> = chain.iter().filter(|moment| !self.had(**moment)).collect();
                format!("{title}; did not come or came in another order: {lacks:?}")
            })
            .collect();
        missing.append(&mut self.tally.wrongs);
        missing.append(&mut self.tally.troubles);
        if self.tally.signatures_bad > 0 {
            missing.push(format!("{} webhooks were not well signed", self.tally.signatures_bad));
        }
        if self.tally.restarts != 1 {
            missing.push(format!("{} restarts instead of one", self.tally.restarts));
        }
        for (title, chain) in &ACTS {
            if !self.is_played(chain) {
                continue;
            }
            self.teller.say(at, Who::Demo, &format!("Seen: {title}."));
        }
        for line in self.summary(at, took, view) {
            self.teller.say(at, Who::Demo, &line);
        }
        for line in &missing {
            self.teller.say(at, Who::Demo, &format!("NOT AS IT SHOULD BE: {line}"));
        }
        missing.is_empty()
    }

    fn summary(&self, at: Timestamp, took: Duration, view: &View) -> Vec<String> {
        let (counters, tally) = (&view.counters, &self.tally);
        let webhooks: Vec<String> =
            tally.webhooks.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let minutes = at.since(self.began).as_secs_f64() / 60.0;
        let span = |from: Moment, to: Moment| {
            let at = |wanted| self.moments.iter().find(|(moment, _)| *moment == wanted);
            at(from).zip(at(to)).map_or(0, |(from, to)| to.1.since(from.1).as_secs())
        };
        let mut lines = vec![
            format!(
                "{minutes:.0} minutes of the host in {:.1} s: {} scrapes, {} samples, {} series in {} KiB, {} rule \
                 evaluations ({} failed).",
                took.as_secs_f64(),
                counters.scrapes,
                counters.samples,
                view.window_series,
                view.window_bytes / 1024,
                counters.evaluations,
                counters.evaluation_failures,
            ),
            format!(
                "The leak: warned {} s before 90 % was critical, restarted {} s after, resolved {} s after that.",
                span(Moment::Warned, Moment::WillOom),
                span(Moment::WillOom, Moment::Restarted),
                span(Moment::Restarted, Moment::Relieved),
            ),
            format!(
                "Alertmanager took {} posts. The Control Plane took {} edges once each ({}); {} came twice and were \
                 recognised; {} of {} signatures were good.",
                counters.posts_accepted,
                tally.webhooks.values().sum::<u64>(),
                webhooks.join(", "),
                tally.repeated,
                tally.signatures_good,
                tally.signatures_good + tally.signatures_bad,
            ),
        ];
        if let Some(cost) = footprint() {
            lines.push(format!(
                "All of it, the puppets included, took {:.2} s of CPU and at most {:.0} MiB of memory.",
                cost.cpu_seconds,
                cost.peak_bytes as f64 / f64::from(1 << 20),
            ));
        }
        lines
    }
}

/// `[######----] 60 %`
fn meter(share: f64) -> String {
    let full = (share * METER_STEPS).floor().clamp(0.0, METER_STEPS) as usize;
    let empty = METER_STEPS as usize - full;
    format!("[{}{}] {:.0} %", "#".repeat(full), "-".repeat(empty), share * 100.0)
}

/// A parameter of the action, as text.
fn param(data: &Data, name: &str) -> Option<String> {
    let value = data.action.as_ref()?.params.get(name)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The number an advice recommends; nothing if it is not advice or not a number.
fn recommended(data: &Data) -> Option<String> {
    let advises = data.action.as_ref()?.kind == ActionKind::Advise;
    param(data, "recommended").filter(|text| advises && text.contains(|c: char| c.is_ascii_digit()))
}
