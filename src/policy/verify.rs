//! Did it help? Every restart is watched until that is known.
//!
//! A restart that was carried out is not a restart that worked. Each request carries the condition
//! that shows its effect and a deadline; the outcome is *effective*, *ineffective* or *relapsed*, and
//! decides the next rung of the ladder. Durable, one row per request, so that a crash forgets no open
//! question. It asks nobody and reads no clock: what is seen of the container is passed in each round.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows;
use crate::base::{Change, Now, Timestamp};
use crate::outbox::{GateResult, Verification, WireTime};

/// Rows of this module in the table.
const PREFIX: &str = "verify/";
/// Working set per limit below which memory has fallen. Ours: clearly below what fired.
pub const RELEASED_RATIO: f64 = 0.8;

/// The condition, for people; [`good`] is its meaning.
const CONDITION: &str =
    "restarted, no alert on it or its service, gates pass, working set below 80 % of the limit";
const HELD: &str = "the condition came true and held";

/// How long to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyConfig {
    /// From the acceptance of a request to the verdict, unless the receiver names a time.
    pub within: Duration,
    /// The condition must hold this long.
    pub settle: Duration,
    /// The same trouble again within this time after an effective restart is a relapse.
    pub relapse: Duration,
    /// A gate may fail this long after a change: what has just started needs a moment.
    pub gate_grace: Duration,
}

impl Default for VerifyConfig {
    /// Ours: a Gunicorn worker is up in seconds, a cold cache in some minutes; a leak that needs a
    /// restart every hour is not cured by restarts.
    fn default() -> VerifyConfig {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        VerifyConfig {
            within: minutes(10),
            settle: minutes(1),
            relapse: minutes(60),
            gate_grace: minutes(1),
        }
    }
}

impl VerifyConfig {
    /// What a request says of how its effect will be watched, with the gates as they are now.
    pub fn promise(&self, gates: Vec<GateResult>) -> Verification {
        Verification {
            condition: CONDITION.to_owned(),
            within_seconds: Some(self.within.as_secs_f64()),
            settle_seconds: Some(self.settle.as_secs_f64()),
            gates,
            ..Verification::default()
        }
    }
}

/// A request whose effect is to be watched.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Of the action.
    pub dedup_key: String,
    /// The delivery that asked.
    pub delivery_id: String,
    /// Whose.
    pub subject: String,
    /// The tenant, or `""`.
    pub tenant: String,
    /// The container's name, or `""`.
    pub name: String,
    /// The host.
    pub host: String,
    /// The alert's name.
    pub alert: String,
    /// The alert's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// Of the alert and its episode; `""` in rows that are older than this field.
    #[serde(default)]
    pub trace_id: String,
    /// When the container had started that was to be restarted.
    pub started_before: Option<Timestamp>,
    /// What it had used of the CPU until then, seconds; `None` in rows that are older than this field.
    #[serde(default)]
    pub cpu_seconds_before: Option<f64>,
    /// When it was decided.
    pub asked_at: Timestamp,
    /// Nobody may carry it out after this.
    pub expires_at: Timestamp,
    /// What the gates said that passed before it was asked, by gate.
    #[serde(default)]
    pub gates_before: BTreeMap<String, String>,
}

/// A request and how far it has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Watch {
    request: Request,
    state: State,
    /// What the gates said last.
    #[serde(skip)]
    gates: Vec<GateResult>,
    /// It was seen to be started anew: a counter that fell rises again, also while we are restarted.
    #[serde(default)]
    restarted: bool,
}

/// A request that is being carried out or was: a change that gates may not outlive.
#[derive(Clone, PartialEq, Debug)]
pub struct Underway<'a> {
    /// The request.
    pub request: &'a Request,
    /// The Control Plane's own id of it.
    pub change_id: Option<&'a str>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nobody has said that it will be done.
    Asked,
    /// The receiver has it.
    Accepted { deadline: Timestamp, change_id: Option<String>, good_since: Option<Timestamp> },
    /// It helped; does it last?
    Effective { until: Timestamp, deadline: Timestamp, change_id: Option<String> },
}

/// What a gate says after a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GateSeen {
    /// Its name.
    pub gate: String,
    /// Whether it passes; `None` if it was not asked since the container started.
    pub passes: Option<bool>,
    /// What it answers.
    pub value: String,
}

/// What is seen of the container in a round.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// When the container started that runs now, by what measures it. cAdvisor before v0.57 tells for
    /// ever when it was made.
    pub started_at: Option<Timestamp>,
    /// The same, by Docker.
    pub docker_started_at: Option<Timestamp>,
    /// What it has used of the CPU since it was started, seconds.
    pub cpu_seconds: Option<f64>,
    /// Working set per limit, from fresh samples only.
    pub ratio: Option<f64>,
    /// A health, login or API gate of the tenant fails that others probe.
    pub gates_failing: bool,
    /// What our own gates say.
    pub gates: Vec<GateSeen>,
    /// An alert fires that asks for something to be done to it, or to its service as a whole.
    pub alert_firing: bool,
    /// How long anybody has been looking: since our start.
    pub watched_for: Duration,
}

impl Seen {
    /// Whether the container was started anew since the request: its start is later, or its CPU time,
    /// which only rises while it runs, has fallen.
    pub fn is_anew(&self, request: &Request) -> bool {
        let times = request.started_before.zip(self.started_at);
        let used = request.cpu_seconds_before.zip(self.cpu_seconds);
        times.is_some_and(|(before, now)| now.is_later_start(before))
            || self.docker_started_at.is_some_and(|at| at > request.asked_at)
            || used.is_some_and(|(before, now)| now < before)
    }
}

/// How an action ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The condition came true in time and held.
    Effective,
    /// It did not.
    Ineffective,
    /// It did, and the trouble came back.
    Relapsed,
    /// The receiver will not do it.
    Declined,
    /// It ran out before anybody took it.
    Expired,
    /// It was taken back before anybody took it.
    Withdrawn,
}

impl Outcome {
    /// The word on the wire, in the guards and in the story.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Effective => "effective",
            Outcome::Ineffective => "ineffective",
            Outcome::Relapsed => "relapsed",
            Outcome::Declined => "declined",
            Outcome::Expired => "expired",
            Outcome::Withdrawn => "withdrawn",
        }
    }
}

/// A verdict: what was watched, how it ended, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// What was watched.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub why: String,
    /// As the event carries it.
    pub verification: Verification,
}

/// Every request that is being watched.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verifier {
    watches: BTreeMap<String, Watch>,
}

impl Verifier {
    /// The watches as their rows tell them, and which could not be read. Other rows are skipped.
    pub fn recover(rows: impl IntoIterator<Item = Change>) -> (Verifier, Vec<String>) {
        let (watches, problems) = rows::read::<Watch>(PREFIX, rows);
        let watches = watches.into_iter().map(|(_, watch)| (watch.key().to_owned(), watch));
        (Verifier { watches: watches.collect() }, problems)
    }

    /// Starts to watch; the row belongs to the batch of the request.
    pub fn begin(&mut self, request: Request) -> Change {
        let watch = Watch { request, state: State::Asked, gates: Vec::new(), restarted: false };
        let change = put(&watch);
        self.watches.insert(watch.key().to_owned(), watch);
        change
    }

    /// Everything that is watched.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.watches.values().map(|watch| &watch.request)
    }

    /// Requests that somebody is carrying out or has carried out, until their deadline.
    pub fn underway(&self, now: Now) -> impl Iterator<Item = Underway<'_>> {
        let deadline = |watch: &Watch| match &watch.state {
            State::Asked => None,
            State::Accepted { deadline, .. } | State::Effective { deadline, .. } => Some(*deadline),
        };
        self.watches.values().filter_map(move |watch| {
            deadline(watch).filter(|deadline| now.wall <= *deadline)?;
            Some(Underway { request: &watch.request, change_id: watch.change_id() })
        })
    }

    /// The receiver will do it; it may say until when the effect should be watched, and as which change it
    /// knows it. Of several such words, as an answer and a receipt, the latest time counts, and the last
    /// change that was named.
    pub fn accepted(
        &mut self,
        delivery_id: &str,
        (change_id, until): (Option<String>, Option<Timestamp>),
        now: Now,
        config: &VerifyConfig,
    ) -> Option<Change> {
        let watch = self.watch_of(delivery_id)?;
        let (least, known, good_since) = match &watch.state {
            State::Asked => (now.wall + config.within, None, None),
            State::Accepted { deadline, change_id, good_since } => {
                (*deadline, change_id.clone(), *good_since)
            }
            State::Effective { .. } => return None,
        };
        // A receiver's clock may be off: never less than our own span, never more than a day.
        let deadline = until.unwrap_or(least).min(now.wall + super::config::DAY).max(least);
        let state = State::Accepted { deadline, change_id: change_id.or(known), good_since };
        let is_news = watch.state != state;
        watch.state = state;
        is_news.then(|| put(watch))
    }

    /// The receiver has done it: whether it helped is watched from now on.
    pub fn done(
        &mut self,
        delivery_id: &str,
        change_id: Option<String>,
        now: Now,
        config: &VerifyConfig,
    ) -> Option<Change> {
        let watch = self.watch_of(delivery_id)?;
        let least = now.wall + config.within;
        let (deadline, known) = match &watch.state {
            State::Asked => (least, None),
            State::Accepted { deadline, change_id, .. } => {
                (least.max(*deadline), change_id.clone())
            }
            State::Effective { .. } => return None,
        };
        watch.state =
            State::Accepted { deadline, change_id: change_id.or(known), good_since: None };
        Some(put(watch))
    }

    /// Whether a delivery's request is watched.
    pub fn watches(&self, delivery_id: &str) -> bool {
        self.requests().any(|request| request.delivery_id == delivery_id)
    }

    /// Whether the container of a watched request was ever seen to be started anew since.
    pub fn is_restarted(&self, delivery_id: &str) -> bool {
        let is_it = |watch: &&Watch| watch.request.delivery_id == delivery_id;
        self.watches.values().find(is_it).is_some_and(|watch| watch.restarted)
    }

    /// Whether it is known of a watched request that it helped.
    pub fn is_judged(&self, delivery_id: &str) -> bool {
        let is_it = |watch: &&Watch| watch.request.delivery_id == delivery_id;
        let found = self.watches.values().find(is_it);
        found.is_some_and(|watch| matches!(watch.state, State::Effective { .. }))
    }

    /// Whether the receiver has said that it takes a watched request, or has done it.
    pub fn is_taken(&self, delivery_id: &str) -> bool {
        let is_it = |watch: &&Watch| watch.request.delivery_id == delivery_id;
        self.watches.values().find(is_it).is_some_and(|watch| watch.state != State::Asked)
    }

    /// The receiver will not do it, or it ran out before anybody took it.
    pub fn dropped(
        &mut self,
        delivery_id: &str,
        outcome: Outcome,
        why: &str,
    ) -> Option<(Verdict, Change)> {
        let key = self.watch_of(delivery_id)?.key().to_owned();
        let (verdict, change) = self.finish(&key, outcome, why);
        verdict.zip(change)
    }

    /// Looks at one watch; returns a verdict if there is one, and the row if it changed.
    pub fn check(
        &mut self,
        dedup_key: &str,
        seen: &Seen,
        now: Now,
        config: &VerifyConfig,
    ) -> (Option<Verdict>, Option<Change>) {
        let Some(watch) = self.watches.get_mut(dedup_key) else { return (None, None) };
        let is_news = !watch.restarted && seen.is_anew(&watch.request);
        watch.restarted |= is_news;
        let good = good(watch, seen);
        watch.gates = watch.gates_of(seen);
        let noted = is_news.then(|| put(watch));
        let (verdict, change) = self.judge(dedup_key, (seen, good), now, config);
        (verdict, change.or(noted))
    }

    fn judge(
        &mut self,
        dedup_key: &str,
        (seen, good): (&Seen, Result<(), String>),
        now: Now,
        config: &VerifyConfig,
    ) -> (Option<Verdict>, Option<Change>) {
        let Some(watch) = self.watches.get_mut(dedup_key) else { return (None, None) };
        match &mut watch.state {
            // Its request expires in the outbox, which says so; this is for one that was lost.
            State::Asked if now.wall > watch.request.expires_at + config.within => {
                self.finish(dedup_key, Outcome::Expired, "no word about it ever came")
            }
            State::Asked => (None, None),
            State::Accepted { deadline, change_id, good_since } => {
                let deadline = *deadline;
                match (&good, *good_since) {
                    (Ok(()), None) => *good_since = Some(now.wall),
                    (Ok(()), Some(since)) if now.wall.since(since) >= config.settle => {
                        let (until, change_id) = (now.wall + config.relapse, change_id.take());
                        watch.state = State::Effective { until, deadline, change_id };
                        let told = verdict(watch.clone(), Outcome::Effective, held(seen));
                        return (Some(told), Some(put(watch)));
                    }
                    (Err(_), Some(_)) => *good_since = None,
                    (Ok(()) | Err(_), _) => {}
                }
                // Whoever was away over the deadline has seen nothing yet, which is no bad sign.
                let has_looked = seen.watched_for >= config.gate_grace + config.settle;
                match good {
                    Err(why) if now.wall >= deadline && has_looked => {
                        self.finish(dedup_key, Outcome::Ineffective, &why)
                    }
                    _ => (None, None),
                }
            }
            State::Effective { until, .. } => {
                if seen.alert_firing {
                    return self.finish(dedup_key, Outcome::Relapsed, "the same trouble came back");
                }
                if now.wall < *until {
                    return (None, None);
                }
                let gone = self.watches.remove(dedup_key).map(|watch| remove(&watch));
                (None, gone)
            }
        }
    }

    /// Moves every time when the wall clock steps; returns the rows.
    pub fn rebase(&mut self, by_ms: i64) -> Vec<Change> {
        let shift = |at: &mut Timestamp| at.0 = at.0.saturating_add(by_ms);
        for watch in self.watches.values_mut() {
            shift(&mut watch.request.asked_at);
            shift(&mut watch.request.expires_at);
            match &mut watch.state {
                State::Asked => {}
                State::Accepted { deadline, good_since, .. } => {
                    shift(deadline);
                    good_since.iter_mut().for_each(shift);
                }
                State::Effective { until, deadline, .. } => {
                    shift(until);
                    shift(deadline);
                }
            }
        }
        self.watches.values().map(put).collect()
    }

    fn watch_of(&mut self, delivery_id: &str) -> Option<&mut Watch> {
        self.watches.values_mut().find(|watch| watch.request.delivery_id == delivery_id)
    }

    fn finish(
        &mut self,
        dedup_key: &str,
        outcome: Outcome,
        why: &str,
    ) -> (Option<Verdict>, Option<Change>) {
        let Some(watch) = self.watches.remove(dedup_key) else { return (None, None) };
        let change = remove(&watch);
        (Some(verdict(watch, outcome, why.to_owned())), Some(change))
    }
}

/// Whether the condition holds, or what is missing.
fn good(watch: &Watch, seen: &Seen) -> Result<(), String> {
    // Without start times the fall of the memory is the only sign.
    let is_told = watch.request.started_before.is_some() && seen.started_at.is_some();
    let restarted = !is_told || watch.restarted;
    let checks = [
        (restarted, "the container was not restarted"),
        (!seen.alert_firing, "an alert on it or its service still fires"),
        (!seen.gates_failing, "a health, login or API gate fails"),
        (seen.ratio.is_some(), "no fresh sample shows its memory"),
        (seen.ratio.is_none_or(|ratio| ratio < RELEASED_RATIO), "its memory is still high"),
    ];
    if let Some((_, why)) = checks.into_iter().find(|(holds, _)| !holds) {
        return Err(why.to_owned());
    }
    let fault = |gate: &GateSeen| match gate.passes {
        Some(true) => None,
        Some(false) => Some(format!("the gate {} fails: {}", gate.gate, gate.value)),
        None => Some(format!("the gate {} was not heard of since the restart", gate.gate)),
    };
    seen.gates.iter().find_map(fault).map_or(Ok(()), Err)
}

/// What held, with the gates by name.
fn held(seen: &Seen) -> String {
    let names: Vec<&str> = seen.gates.iter().map(|gate| gate.gate.as_str()).collect();
    match names.is_empty() {
        true => HELD.to_owned(),
        false => format!("{HELD}; gates passed: {}", names.join(", ")),
    }
}

fn verdict(watch: Watch, outcome: Outcome, why: String) -> Verdict {
    let (deadline, change_id) = match &watch.state {
        State::Asked => (watch.request.expires_at, None),
        State::Accepted { deadline, change_id, .. }
        | State::Effective { deadline, change_id, .. } => (*deadline, change_id.clone()),
    };
    let verification = Verification {
        result: Some(outcome.name().to_owned()),
        condition: CONDITION.to_owned(),
        deadline: Some(WireTime(deadline)),
        delivery_id: Some(watch.request.delivery_id.clone()),
        change_id,
        gates: watch.gates,
        ..Verification::default()
    };
    Verdict { request: watch.request, outcome, why, verification }
}

fn put(watch: &Watch) -> Change {
    rows::row(PREFIX, watch.key(), Some(watch))
}

fn remove(watch: &Watch) -> Change {
    rows::row::<Watch>(PREFIX, watch.key(), None)
}

impl Watch {
    fn key(&self) -> &str {
        &self.request.dedup_key
    }

    fn change_id(&self) -> Option<&str> {
        match &self.state {
            State::Asked => None,
            State::Accepted { change_id, .. } | State::Effective { change_id, .. } => {
                change_id.as_deref()
            }
        }
    }

    /// The gates as an event carries them.
    fn gates_of(&self, seen: &Seen) -> Vec<GateResult> {
        let result = |gate: &GateSeen| GateResult {
            gate: gate.gate.clone(),
            passes: gate.passes,
            previous: self.request.gates_before.get(&gate.gate).cloned(),
            current: Some(gate.value.clone()).filter(|value| !value.is_empty()),
        };
        seen.gates.iter().map(result).collect()
    }
}

#[cfg(test)]
mod tests;
