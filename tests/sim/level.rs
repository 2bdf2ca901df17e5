//! What each Alertmanager instance heard, and whether that is every incident from its start to its
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::alerts::{Phase, Post, Tally};
use plimsoll::base::{Labels, Now, Timestamp, fingerprint};
use plimsoll::outbox::Status;

use super::check::Edge;
use super::host::Mood;
use super::plan::{Outages, Plan};
use super::promise::{Promise, Red};
use super::receiver::{GROUP_INTERVAL, GROUP_WAIT, Receiver};
use super::run::HOLD;

/// A receiver that came back less than this before an incident ended may have heard of another one
/// and not yet of this one; Alertmanager's counters do not tell them apart.
const JUST_BACK: Duration = Duration::from_secs(20);

/// What has ended stays in the book for 15 minutes.
const REMEMBERED: Duration = Duration::from_secs(14 * 60);

/// An incident: whose, and when it began.
type Incident = (u64, Timestamp);

struct Said {
    at: Duration,
    phase: Phase,
    ends_at: Timestamp,
    /// Whether we heard that it arrived.
    is_known: bool,
}

impl Said {
    fn is_start(&self) -> bool {
        !self.phase.is_end()
    }
}

/// What an incident was, from the edge lane.
struct Truth<'a> {
    labels: &'a BTreeMap<String, String>,
    fired: Duration,
    resolved: Option<(Duration, Timestamp)>,
}

/// Everything heard.
pub struct Level {
    /// By instance.
    said: Vec<BTreeMap<Incident, Vec<Said>>>,
    /// By instance, what its receiver heard.
    receivers: Vec<Receiver>,
    /// By instance, the last word on each alert.
    last: Vec<BTreeMap<Labels, (Phase, Timestamp)>>,
    /// Alerts of which a crash lost a row that was not committed: they may repeat themselves.
    lost: BTreeSet<u64>,
    red: Red,
}

impl Level {
    /// Nothing has been heard.
    pub fn new(plan: &Plan, red: &Red) -> Level {
        let instances = plan.alertmanagers.len();
        Level {
            said: (0..instances).map(|_| BTreeMap::new()).collect(),
            receivers: plan.receivers.iter().cloned().map(Receiver::new).collect(),
            last: (0..instances).map(|_| BTreeMap::new()).collect(),
            lost: BTreeSet::new(),
            red: red.clone(),
        }
    }

    /// A crash has lost a row of this alert.
    pub fn lost(&mut self, key: u64) {
        self.lost.insert(key);
    }

    /// A post has reached its instance; `is_known` if its answer comes back, too.
    pub fn heard(&mut self, now: Now, post: &Post, is_known: bool) {
        self.receivers[post.instance].posted(now.monotonic, post);
        for presented in &post.alerts {
            let alert = &presented.alert;
            let incident = (fingerprint(&alert.labels), alert.starts_at());
            let (at, phase, ends_at) = (now.monotonic, presented.phase, presented.ends_at);
            let said = Said { at, phase, ends_at, is_known };
            self.said[post.instance].entry(incident).or_default().push(said);
            self.last[post.instance].insert(alert.labels.clone(), (phase, ends_at));
        }
    }

    /// What an instance counts now.
    pub fn tally(&mut self, now: Now, instance: usize) -> Tally {
        self.receivers[instance].tally(now.monotonic)
    }

    /// Judges the run; `edges` are those committed, in order. Returns how many incidents were late.
    pub fn finish<'a>(
        &self,
        edges: impl Iterator<Item = &'a Edge>,
        now: Now,
        moods: &[(String, Mood)],
        plan: &Plan,
    ) -> usize {
        let (truths, fired) = truths(edges, plan, &self.red);
        for (incident, truth) in &truths {
            let next = fired[&incident.0].iter().filter(|fired| **fired > truth.fired).min();
            self.is_heard(*incident, truth, next.copied(), plan);
        }
        for (number, instance) in self.said.iter().enumerate() {
            for (incident, said) in instance {
                if let Some(truth) = truths.get(incident) {
                    self.makes_sense(number, *incident, truth, said);
                }
            }
        }
        self.ends_right(now, moods);
        let is_late = |said: &&Vec<Said>| said.iter().any(|s| s.phase == Phase::LateFiring);
        self.said.iter().map(|instance| instance.values().filter(is_late).count()).sum()
    }

    /// Every incident is heard, and whoever heard its start hears its end, unless the same alert
    /// fired again before that could be.
    fn is_heard(&self, incident: Incident, truth: &Truth<'_>, next: Option<Duration>, plan: &Plan) {
        let Truth { labels, fired, resolved } = truth;
        let heard_by = |said: &BTreeMap<_, Vec<Said>>| {
            said.get(&incident).is_some_and(|said| said.iter().any(Said::is_start))
        };
        let (ended, _) = resolved.unwrap_or((*fired, incident.1));
        let was_away = |from, to| {
            plan.dead.touch(from, to) || plan.alertmanagers.iter().any(|a| a.touch(from, to))
        };
        let free = plan.receivers.iter().flat_map(Outages::iter);
        let free = free.filter(|(from, to)| *from <= ended && ended < *to + JUST_BACK);
        let free = free.map(|(_, to)| *to).fold(ended, Duration::max);
        let overtaken = next.is_some_and(|next| {
            next < free + HOLD + Duration::from_secs(60) || was_away(*fired, next)
        });
        let heard = self.said.iter().any(heard_by);
        let what = || format!("never heard: {labels:?} of {} ({fired:?})", incident.1);
        self.red.must(Promise::Heard, heard || overtaken, what);
        let Some((ended, _)) = resolved else { return };
        let what = format!("{labels:?} of {} ({fired:?} to {ended:?})", incident.1);
        let told = |receivers: &[Receiver]| receivers.iter().any(|r| r.heard(incident).firing > 0);
        for (number, said) in self.said.iter().enumerate().filter(|(_, said)| heard_by(said)) {
            let ends = said[&incident].iter().any(|said| !said.is_start());
            let untold = || format!("end never heard: {what}");
            self.red.must(Promise::EndHeard, ends || overtaken, untold);
            let away = &plan.receivers[number];
            let just_back = !away.at(*ended) && away.touch(ended.saturating_sub(JUST_BACK), *ended);
            if overtaken || just_back || self.lost.contains(&incident.0) {
                continue;
            }
            if is_brief(&said[&incident]) && told(&self.receivers) {
                continue;
            }
            // A receiver that went away again before the next notification was due keeps the end waiting in
            // Alertmanager, and another start replaces it there.
            let end_at = said[&incident].iter().find(|said| !said.is_start()).map(|said| said.at);
            let back = end_at.and_then(|at| {
                away.iter().find(|(from, to)| *from <= at + GROUP_INTERVAL && at < *to)
            });
            if back.zip(next).is_some_and(|((_, to), next)| next < *to + JUST_BACK) {
                continue;
            }
            let heard = self.receivers[number].heard(incident);
            let untold = || format!("the receiver of {number} never heard of {what}");
            self.red.must(Promise::ReceiverHeard, heard.firing > 0, untold);
            let endless = || format!("the receiver of {number} never heard the end of {what}");
            self.red.must(Promise::ReceiverHeardEnd, heard.resolved > 0, endless);
        }
    }

    /// At one instance: a start first (there or elsewhere), then the true end, then nothing else.
    /// An end whose answer was lost may never have arrived, so it may be held back after all.
    fn makes_sense(&self, number: usize, incident: Incident, truth: &Truth<'_>, said: &[Said]) {
        if self.lost.contains(&incident.0) {
            return;
        }
        let labels = truth.labels;
        let what = format!("instance {number}: {labels:?} of {}", incident.1);
        if !said[0].is_start() {
            let elsewhere = self.said.iter().any(|other| {
                other.get(&incident).is_some_and(|o| o[0].is_start() && o[0].at < said[0].at)
            });
            let early = || format!("{what}: its end is heard before its start");
            self.red.must(Promise::StartFirst, elsewhere, early);
        }
        let end = said.iter().position(|said| said.is_known && !said.is_start());
        let Some(end) = end else { return };
        let fires = || format!("{what}: it is told as ended, and fires");
        self.red.must(Promise::EndThere, truth.resolved.is_some(), fires);
        let Some((_, ends_at)) = truth.resolved else { return };
        for said in &said[end..] {
            let again = || format!("{what}: it starts again after its end, at {:?}", said.at);
            self.red.must(Promise::StaysEnded, !said.is_start(), again);
            let is_true = said.is_start() || said.ends_at == ends_at;
            self.red.must(Promise::EndExact, is_true, || format!("{what}: another end"));
        }
        if let (Phase::LateFiring, Phase::LateResolved) = (said[0].phase, said[end].phase) {
            let held = said[end].at - said[0].at;
            let is_long = held >= HOLD - Duration::from_secs(1);
            self.red.must(Promise::Held, is_long, || format!("{what}: shown for {held:?} only"));
        }
    }

    /// After the calm every instance believes what is so.
    fn ends_right(&self, now: Now, moods: &[(String, Mood)]) {
        for (number, instance) in self.last.iter().enumerate() {
            for (name, mood) in moods {
                let fires = instance.iter().any(|(labels, (phase, ends_at))| {
                    let is_it =
                        labels.get("alertname") == Some("Hot") && labels.get("name") == Some(name);
                    is_it && *phase == Phase::Firing && *ends_at > now.wall
                });
                let what = || format!("{name}: at the end instance {number} is wrong");
                let is_right = fires == (*mood == Mood::Hot);
                self.red.must(Promise::InstanceBelievesTruth, is_right, what);
            }
        }
    }
}

/// Whether an instance heard of the end before it told anyone of the start: it came back just then.
fn is_brief(said: &[Said]) -> bool {
    let end = said.iter().find(|said| !said.is_start());
    end.is_some_and(|end| end.at <= said[0].at + GROUP_WAIT)
}

/// The incidents that can be told apart, and when each alert fired, those included that cannot.
fn truths<'a>(
    edges: impl Iterator<Item = &'a Edge>,
    plan: &Plan,
    red: &Red,
) -> (BTreeMap<Incident, Truth<'a>>, BTreeMap<u64, Vec<Duration>>) {
    let mut truths: BTreeMap<Incident, Truth<'a>> = BTreeMap::new();
    let mut fired: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    let (mut twins, mut newest) = (BTreeSet::new(), BTreeMap::new());
    for edge in edges {
        let data = &edge.data;
        let (Some(status), Some(starts_at)) = (data.status, data.starts_at) else { continue };
        let hex = data.fingerprint.as_deref().expect("an alert has a fingerprint");
        let key = u64::from_str_radix(hex, 16).expect("which is a number");
        let truth = truths.entry((key, starts_at.0)).or_insert_with(|| Truth {
            labels: &data.labels,
            fired: edge.decided,
            resolved: None,
        });
        fired.entry(key).or_default().push(truth.fired);
        let again = status != Status::Resolved && truth.resolved.is_some();
        if again {
            fired.entry(key).or_default().push(edge.decided);
        }
        if again {
            // Only a clock that was set back does that, either twice, with another incident in
            // between, or after the earlier one was forgotten, or while nobody watched the clock.
            let (start, heard) = newest[&key];
            let is_known = start == starts_at.0 && edge.decided < heard + REMEMBERED;
            let is_known = is_known && !plan.dead.touch(heard, edge.decided);
            // What is told later of such a one is of the same kind.
            let is_known = is_known && !twins.contains(&(key, starts_at.0));
            let what = || format!("twins: {:?} of {}", truth.labels, starts_at.0);
            red.must(Promise::NoTwins, !is_known, what);
            twins.insert((key, starts_at.0));
        }
        newest.insert(key, (starts_at.0, edge.decided));
        if status == Status::Resolved {
            let ends_at = data.ends_at.expect("what is resolved has an end");
            truth.resolved = Some((edge.decided, ends_at.0));
        }
    }
    truths.retain(|incident, _| !twins.contains(incident));
    (truths, fired)
}
