//! The level lane: which alerts each Alertmanager instance should hear now.
//!
//! Alertmanager is told the whole level again and again (`rules/alerting.go` `needsSending`), each
//! instance on its own, so a lost post heals by the next one. Beyond Prometheus: a failed post is
//! retried after 1, 2, 5, then every 10 s instead of a minute later. An incident that came and went
//! while no instance listened is *presented late*, once: first as firing with its true start, held
//! until the instance must have grouped it, then as resolved with its true end; without that
//! Alertmanager would file it as resolved before anyone heard of it. One that was first accepted
//! when an instance came back stays firing there for as long as nobody could be told of it, at most
//! that long. And the end of an incident that Alertmanager took but could not pass on is *held* until
//! it can (`hold.rs`).
//!
//! Pure: it decides, it does not send, and it forgets nothing it was not told is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alert::Alert;
use super::hold::{End, Gate, Holds};
use super::post::{Phase, Post, PostId, Presented, Settled, Verdict};
use super::tally::Tally;
use super::told::{Told, held_phase_due, phase_due};
use crate::base::{Now, Timestamp, fingerprint};

/// Waits after the first, second, … failed post in a row; the last repeats.
const RETRY_AFTER: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// `endsAt` lies this many re-send periods ahead (`rules/alerting.go` `sendAlerts`: 4×).
const VALID_FOR_RESENDS: u32 = 4;
/// Alerts in one post (`notifier/manager.go` `DefaultMaxBatchSize`).
const MAX_BATCH: usize = 256;

/// What the presenter needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresenterConfig {
    /// How often a firing alert is said again (Prometheus: `rules.alert.resend-delay`, 1 m).
    pub resend_delay: Duration,
    /// How long a late incident is held firing where the instance's own timing is not known.
    pub hold: Duration,
    /// That counts whatever an instance's own routes say.
    pub is_fixed: bool,
    /// How long after its end an incident is shown as firing at most, while Alertmanager cannot
    /// deliver.
    pub max_hold: Duration,
}

/// What to do now: posts to make, and instances whose tally to read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Due {
    /// At most one for each instance that is neither busy nor backing off.
    pub posts: Vec<Post>,
    /// Names of instances; each answer comes back through [`Presenter::take_tally`].
    pub asks: Vec<String>,
}

/// The time of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The clocks.
    pub now: Now,
    /// The slot after an evaluation, the wall time on a retry.
    pub at: Timestamp,
    /// The longest interval of an alerting group.
    pub interval: Duration,
}

struct InFlight {
    post: PostId,
    at: Timestamp,
    alerts: Vec<Settled>,
}

#[derive(Default)]
struct Instance {
    name: String,
    /// By label fingerprint, as Alertmanager itself identifies alerts.
    told: BTreeMap<u64, Told>,
    holds: Holds,
    in_flight: Option<InFlight>,
    failures: usize,
    retry_at: Option<Duration>,
    hold: Option<Duration>,
    why: Option<String>,
}

impl Instance {
    /// What this instance should hear of an alert now, if anything. Notes in `gated` an end it had
    /// to think about.
    fn phase(
        &mut self,
        alert: &Alert,
        moment: Moment,
        config: &PresenterConfig,
        gated: &mut BTreeSet<u64>,
    ) -> Option<Phase> {
        let key = fingerprint(&alert.labels);
        // An earlier incident of the same labels says nothing about this one.
        let told = self.told.get(&key).filter(|told| told.fired_at == alert.starts_at());
        let again = told.is_some_and(|told| moment.at > told.at + config.resend_delay);
        let phase = phase_due(alert, told, moment.now, again)?;
        let (Some(ended_at), Some(base)) = (alert.ended_at(), alert.tallies.get(&self.name)) else {
            return Some(phase);
        };
        if !phase.is_end() || told.is_some_and(Told::ended) {
            return Some(phase);
        }
        gated.insert(key);
        let end = End {
            key,
            fired_at: alert.starts_at(),
            base: *base,
            left: config.max_hold.saturating_sub(moment.now.wall.since(ended_at)),
            turn: self.hold.unwrap_or(config.hold),
        };
        match self.holds.gate(end, moment.now.monotonic) {
            Gate::Open => Some(phase),
            Gate::Asking => None,
            Gate::Shut => held_phase_due(told, again),
        }
    }

    /// Presentations that are over and have no end to tell: the same alert is active again, so its
    /// late incident has been overtaken. Left alone they would wake the engine for nothing, at once.
    fn let_go_of_overtaken(&mut self, presented: &[Presented], now: Now) {
        let is_over = |told: &Told| told.late_until.is_some_and(|until| until <= now.monotonic);
        for (key, told) in self.told.iter_mut().filter(|(_, told)| !told.ended() && is_over(told)) {
            let is_told = presented.iter().any(|p| fingerprint(&p.alert.labels) == *key);
            if !is_told && !self.holds.contains(*key) {
                told.late_until = None;
            }
        }
    }

    fn next_wakeup(&self) -> Option<Duration> {
        if self.in_flight.is_some() {
            return None;
        }
        let unfinished =
            self.told.iter().filter(|(key, told)| !told.ended() && !self.holds.contains(**key));
        let late = unfinished.filter_map(|(_, told)| told.late_until).min();
        match (self.retry_at, late, self.holds.next_wakeup()) {
            // An end is not worth a post before the back-off is over.
            (Some(retry), ..) => Some(retry),
            (None, late, held) => late.into_iter().chain(held).min(),
        }
    }
}

/// What every configured instance has been told.
pub struct Presenter {
    config: PresenterConfig,
    instances: Vec<Instance>,
    next_post: u64,
}

impl Presenter {
    /// A presenter for the instances of these names, none of which has been told anything.
    pub fn new(config: PresenterConfig, names: &[String]) -> Presenter {
        let mut presenter = Presenter { config, instances: Vec::new(), next_post: 1 };
        presenter.configure(config, names);
        presenter
    }

    /// Takes new settings. An instance whose name stays goes on knowing what it was told. Posts under
    /// way to one that is gone answer for nobody, because the number of a post is never given twice.
    pub fn configure(&mut self, config: PresenterConfig, names: &[String]) {
        self.config = config;
        let mut before = std::mem::take(&mut self.instances);
        let instance = |name: &String| match before.iter().position(|known| known.name == *name) {
            Some(known) => before.remove(known),
            None => Instance { name: name.clone(), ..Instance::default() },
        };
        self.instances = names.iter().map(instance).collect();
        if config.is_fixed {
            self.instances.iter_mut().for_each(|instance| instance.hold = None);
        }
    }

    /// Sets how long a late incident is held at this instance, once its routes have been read.
    pub fn set_hold(&mut self, name: &str, hold: Duration) {
        let named = self.instances.iter_mut().filter(|instance| instance.name == name);
        // What was asked for before a reload may be answered after it.
        for instance in named.filter(|_| !self.config.is_fixed) {
            instance.hold = Some(hold);
        }
    }

    /// Takes the tally an instance was asked for; `None` if it could not be read. Returns whether
    /// [`Presenter::due`] should be asked now.
    pub fn take_tally(&mut self, name: &str, tally: Option<Tally>) -> bool {
        let mut named = self.instances.iter_mut().filter(|instance| instance.name == name);
        named.any(|instance| instance.holds.answered(tally))
    }

    /// Why the instance cannot be reached now, if it cannot.
    pub fn trouble(&self, instance: usize) -> Option<&str> {
        self.instances.get(instance)?.why.as_deref()
    }

    /// What to do now. `alerts` are all there are, each with its rule's expression.
    pub fn due<'a>(
        &mut self,
        moment: Moment,
        alerts: impl Iterator<Item = (&'a Alert, &'a str)> + Clone,
    ) -> Due {
        let Moment { now, at, interval } = moment;
        let valid_until = at + interval.max(self.config.resend_delay) * VALID_FOR_RESENDS;
        let mut due = Due::default();
        for (index, instance) in self.instances.iter_mut().enumerate() {
            let backing_off = instance.retry_at.is_some_and(|retry| now.monotonic < retry);
            if instance.in_flight.is_some() || backing_off {
                continue;
            }
            let mut gated = BTreeSet::new();
            let presented: Vec<Presented> = alerts
                .clone()
                .filter_map(|(alert, expr)| {
                    let alert = alert.presentable()?;
                    let phase = instance.phase(alert, moment, &self.config, &mut gated)?;
                    let end = alert.ended_at().filter(|_| phase.is_end());
                    let ends_at = end.unwrap_or(valid_until);
                    let expr = expr.to_owned();
                    Some(Presented { alert: alert.clone(), expr, phase, ends_at })
                })
                .take(MAX_BATCH)
                .collect();
            let saw_all = presented.len() < MAX_BATCH;
            if instance.holds.close(saw_all.then_some(&gated), now.monotonic) {
                due.asks.push(instance.name.clone());
            }
            if saw_all {
                instance.let_go_of_overtaken(&presented, now);
            }
            if presented.is_empty() {
                instance.retry_at = None;
                continue;
            }
            let id = PostId(self.next_post);
            self.next_post += 1;
            let settled = |p: &Presented| Settled {
                key: fingerprint(&p.alert.labels),
                started_at: p.alert.starts_at(),
                phase: p.phase,
                untold: match (p.alert.accepted_at, p.alert.fired_at) {
                    (None, Some(fired_at)) => now.wall.since(fired_at),
                    _ => Duration::ZERO,
                },
            };
            let is_new = |p: &Presented| !p.alert.tallies.contains_key(&instance.name);
            let wants_tally = presented.iter().any(|p| !p.phase.is_end() && is_new(p));
            let alerts = presented.iter().map(settled).collect();
            instance.in_flight = Some(InFlight { post: id, at, alerts });
            due.posts.push(Post { id, instance: index, alerts: presented, wants_tally });
        }
        due
    }

    /// Which instance a post under way is for.
    pub fn instance_of(&self, post: PostId) -> Option<usize> {
        let is_it = |i: &Instance| i.in_flight.as_ref().is_some_and(|f| f.post == post);
        self.instances.iter().position(is_it)
    }

    /// Takes the verdict of a post. Returns what was accepted; nothing for an unknown or old post.
    pub fn settle(&mut self, id: PostId, verdict: Verdict, now: Now) -> Vec<Settled> {
        let default_hold = self.config.hold;
        let Some(index) = self.instance_of(id) else { return Vec::new() };
        let instance = &mut self.instances[index];
        let in_flight = instance.in_flight.take().expect("found by its post");
        if let Verdict::Failed(why) = verdict {
            let wait = RETRY_AFTER[instance.failures.min(RETRY_AFTER.len() - 1)];
            instance.failures += 1;
            instance.retry_at = Some(now.monotonic + wait);
            instance.why = Some(why);
            return Vec::new();
        }
        let was_away = std::mem::take(&mut instance.failures) > 0;
        instance.retry_at = None;
        instance.why = None;
        let hold = instance.hold.unwrap_or(default_hold);
        for Settled { key, started_at, phase, untold } in &in_flight.alerts {
            let before = instance.told.get(key).filter(|told| told.fired_at == *started_at);
            let before = before.and_then(|told| told.late_until);
            let late_until = match phase {
                Phase::LateFiring => before.or(Some(now.monotonic + hold)),
                // Nobody could be told for so long. If it ends now, Alertmanager would file it as over
                // before anyone heard of it.
                Phase::Firing if was_away && !untold.is_zero() => {
                    Some(now.monotonic + hold.min(*untold))
                }
                _ => before,
            };
            let (fired_at, at) = (*started_at, in_flight.at);
            instance.told.insert(*key, Told { fired_at, at, phase: *phase, late_until });
        }
        in_flight.alerts
    }

    /// Moves the times of what was told: the wall clock has stepped.
    pub fn rebase(&mut self, by_ms: i64) {
        for told in self.instances.iter_mut().flat_map(|instance| instance.told.values_mut()) {
            told.at = Timestamp(told.at.0 + by_ms);
        }
    }

    /// Drops what was told of alerts that are no longer in the book.
    pub fn forget(&mut self, fingerprint: u64) {
        for instance in &mut self.instances {
            instance.told.remove(&fingerprint);
        }
    }

    /// When, on the monotonic clock, [`Presenter::due`] should be asked again although no
    /// evaluation has taken place: a retry is due, or an end has waited long enough.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.instances.iter().filter_map(Instance::next_wakeup).min()
    }
}

#[cfg(test)]
mod tests;
