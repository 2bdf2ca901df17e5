//! The level lane: which alerts each Alertmanager instance should hear now.
//!
//! Alertmanager is told the whole level again and again (`rules/alerting.go` `needsSending`), each
//! instance on its own, so a lost post heals by the next one. Beyond Prometheus: a failed post is
//! retried after 1, 2, 5, then every 10 s instead of a minute later, and an incident that came and
//! went while no instance listened is *presented late*, once: first as firing with its true start,
//! held until the instance must have grouped it, then as resolved with its true end. Without that
//! Alertmanager would file it as resolved before anyone heard of it.
//!
//! Pure: it decides, it does not send, and it forgets nothing it was not told is accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::alert::{Alert, AlertState};
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
}

/// One post to one instance; given back with its verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PostId(pub u64);

/// What one alert is presented as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It fires (or is unknown, which Alertmanager knows as firing).
    Firing,
    /// It has ended.
    Resolved,
    /// It has ended unheard, and is first shown as firing.
    LateFiring,
    /// It was shown late, and ends now with its true end.
    LateResolved,
}

/// An alert within a post.
#[derive(Clone, PartialEq, Debug)]
pub struct Presented {
    /// The alert, as it was when the post was made.
    pub alert: Alert,
    /// Its rule's expression; empty if the rule is gone.
    pub expr: String,
    /// What it is presented as.
    pub phase: Phase,
    /// `endsAt` on the wire.
    pub ends_at: Timestamp,
}

/// What to post to which instance.
#[derive(Clone, PartialEq, Debug)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// Index of the instance, in the order of configuration.
    pub instance: usize,
    /// The alerts, at most 256.
    pub alerts: Vec<Presented>,
}

/// How a post ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// The instance has it. An alert it refused for good counts as had: it would be refused again.
    Accepted,
    /// It does not; the reason is for people.
    Failed(String),
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Told {
    /// Which incident: the alert's start.
    fired_at: Timestamp,
    /// When it was told last.
    at: Timestamp,
    /// Whether that was its end.
    ended: bool,
    /// For a late incident: when (monotonic) its end may be told.
    late_until: Option<Duration>,
}

struct InFlight {
    post: PostId,
    at: Timestamp,
    /// Identity, incident and phase of each alert.
    alerts: Vec<(u64, Timestamp, Phase)>,
}

#[derive(Default)]
struct Instance {
    /// By label fingerprint, as Alertmanager itself identifies alerts.
    told: BTreeMap<u64, Told>,
    in_flight: Option<InFlight>,
    failures: usize,
    retry_at: Option<Duration>,
    hold: Option<Duration>,
    why: Option<String>,
}

impl Instance {
    /// Holds that are over and have no end to tell: the same alert is active again, so its late
    /// incident has been overtaken. Left alone they would wake the engine for nothing, at once.
    fn let_go_of_overtaken(&mut self, presented: &[Presented], now: Now) {
        let is_over = |told: &Told| told.late_until.is_some_and(|until| until <= now.monotonic);
        for (key, told) in self.told.iter_mut().filter(|(_, told)| !told.ended && is_over(told)) {
            if !presented.iter().any(|p| fingerprint(&p.alert.labels) == *key) {
                told.late_until = None;
            }
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
    /// A presenter for that many instances, none of which has been told anything.
    pub fn new(config: PresenterConfig, instances: usize) -> Presenter {
        let instances = (0..instances).map(|_| Instance::default()).collect();
        Presenter { config, instances, next_post: 1 }
    }

    /// Sets how long a late incident is held at this instance, once its routes have been read.
    pub fn set_hold(&mut self, instance: usize, hold: Duration) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.hold = Some(hold);
        }
    }

    /// Why the instance cannot be reached now, if it cannot.
    pub fn trouble(&self, instance: usize) -> Option<&str> {
        self.instances.get(instance)?.why.as_deref()
    }

    /// The posts to start now: at most one for each instance that is neither busy nor backing off.
    ///
    /// `alerts` are all there are, each with its rule's expression; `at` is the slot after an evaluation, the wall time on a retry; `interval` the longest
    /// interval of an alerting group.
    pub fn due<'a>(
        &mut self,
        now: Now,
        at: Timestamp,
        interval: Duration,
        alerts: impl Iterator<Item = (&'a Alert, &'a str)> + Clone,
    ) -> Vec<Post> {
        let valid_until = at + interval.max(self.config.resend_delay) * VALID_FOR_RESENDS;
        let mut posts = Vec::new();
        for (index, instance) in self.instances.iter_mut().enumerate() {
            let backing_off = instance.retry_at.is_some_and(|retry| now.monotonic < retry);
            if instance.in_flight.is_some() || backing_off {
                continue;
            }
            let presented: Vec<Presented> = alerts
                .clone()
                .filter_map(|(alert, expr)| {
                    let alert = alert.presentable()?;
                    let told = instance.told.get(&fingerprint(&alert.labels));
                    let phase = phase_due(alert, told, now, at, self.config.resend_delay)?;
                    let ended = matches!(phase, Phase::Resolved | Phase::LateResolved);
                    let ends_at = if ended { end_of(alert) } else { valid_until };
                    let expr = expr.to_owned();
                    Some(Presented { alert: alert.clone(), expr, phase, ends_at })
                })
                .take(MAX_BATCH)
                .collect();
            if presented.len() < MAX_BATCH {
                instance.let_go_of_overtaken(&presented, now);
            }
            if presented.is_empty() {
                instance.retry_at = None;
                continue;
            }
            let id = PostId(self.next_post);
            self.next_post += 1;
            let alerts = presented
                .iter()
                .map(|p| (fingerprint(&p.alert.labels), p.alert.starts_at(), p.phase))
                .collect();
            instance.in_flight = Some(InFlight { post: id, at, alerts });
            posts.push(Post { id, instance: index, alerts: presented });
        }
        posts
    }

    /// Which instance a post under way is for.
    pub fn instance_of(&self, post: PostId) -> Option<usize> {
        let is_it = |i: &Instance| i.in_flight.as_ref().is_some_and(|f| f.post == post);
        self.instances.iter().position(is_it)
    }

    /// Takes the verdict of a post. Returns the fingerprints and starts of the incidents that were
    /// accepted; an unknown or old post id returns nothing.
    pub fn settle(&mut self, id: PostId, verdict: Verdict, now: Now) -> Vec<(u64, Timestamp)> {
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
        instance.failures = 0;
        instance.retry_at = None;
        instance.why = None;
        let hold = instance.hold.unwrap_or(default_hold);
        for (key, fired_at, phase) in &in_flight.alerts {
            let before = instance.told.get(key).filter(|told| told.fired_at == *fired_at);
            let late_until = match phase {
                Phase::LateFiring => {
                    before.and_then(|told| told.late_until).or(Some(now.monotonic + hold))
                }
                _ => before.and_then(|told| told.late_until),
            };
            let ended = matches!(phase, Phase::Resolved | Phase::LateResolved);
            let told = Told { fired_at: *fired_at, at: in_flight.at, ended, late_until };
            instance.told.insert(*key, told);
        }
        in_flight.alerts.into_iter().map(|(key, fired_at, _)| (key, fired_at)).collect()
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
    /// evaluation has taken place: a retry is due, or a late incident has been held long enough.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let of = |instance: &Instance| {
            if instance.in_flight.is_some() {
                return None;
            }
            let unfinished = instance.told.values().filter(|told| !told.ended);
            let held = unfinished.filter_map(|told| told.late_until).min();
            match (instance.retry_at, held) {
                // A late end is not worth a post before the back-off is over.
                (Some(retry), _) => Some(retry),
                (None, held) => held,
            }
        };
        self.instances.iter().filter_map(of).min()
    }
}

/// What this alert should be presented as now, if anything.
fn phase_due(
    alert: &Alert,
    told: Option<&Told>,
    now: Now,
    at: Timestamp,
    resend_delay: Duration,
) -> Option<Phase> {
    // An earlier incident of the same labels says nothing about this one.
    let told = told.filter(|told| told.fired_at == alert.starts_at());
    let again = told.is_some_and(|told| at > told.at + resend_delay);
    match alert.state {
        AlertState::Pending => None,
        AlertState::Firing => (told.is_none() || again).then_some(Phase::Firing),
        AlertState::Resolved => match told {
            None if alert.accepted_at.is_none() => Some(Phase::LateFiring),
            None => Some(Phase::Resolved),
            Some(Told { ended: true, late_until, .. }) => {
                let phase =
                    if late_until.is_some() { Phase::LateResolved } else { Phase::Resolved };
                again.then_some(phase)
            }
            Some(Told { late_until: Some(until), .. }) if now.monotonic < *until => {
                again.then_some(Phase::LateFiring)
            }
            Some(Told { late_until: Some(_), .. }) => Some(Phase::LateResolved),
            Some(_) => Some(Phase::Resolved),
        },
    }
}

fn end_of(alert: &Alert) -> Timestamp {
    alert.resolved.as_ref().map_or(alert.active_at, |(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::super::ResolveReason;
    use super::*;
    use crate::base::Labels;

    const CONFIG: PresenterConfig =
        PresenterConfig { resend_delay: Duration::from_secs(60), hold: Duration::from_secs(6) };
    const INTERVAL: Duration = Duration::from_secs(5);

    fn firing(at_s: i64) -> Alert {
        let at = Timestamp(at_s * 1000);
        let labels = Labels::from_pairs([("alertname", "A")]);
        Alert { state: AlertState::Firing, fired_at: Some(at), ..Alert::pending(labels, 1.0, at) }
    }

    fn ended(alert: &Alert, at_s: i64) -> Alert {
        Alert {
            state: AlertState::Resolved,
            resolved: Some((Timestamp(at_s * 1000), ResolveReason::ConditionCleared)),
            ..alert.clone()
        }
    }

    fn at(second: i64) -> Now {
        Now {
            monotonic: Duration::from_secs(second.unsigned_abs()),
            wall: Timestamp(second * 1000),
        }
    }

    /// Asks for posts at a second; answers them; writes the phase of the one alert, or `-`.
    fn ask(presenter: &mut Presenter, second: i64, alert: &mut Alert, up: bool) -> String {
        let now = at(second);
        let posts = presenter.due(now, now.wall, INTERVAL, std::iter::once((&*alert, "v > 0")));
        let Some(post) = posts.first() else { return "-".to_owned() };
        let verdict =
            if up { Verdict::Accepted } else { Verdict::Failed("connection refused".into()) };
        if !presenter.settle(post.id, verdict, now).is_empty() {
            alert.accepted_at.get_or_insert(now.wall);
        }
        format!("{:?}", post.alerts[0].phase)
    }

    #[test]
    fn level_is_repeated_as_prometheus_repeats_it() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = firing(0);
        let mut sent = Vec::new();
        for second in (0..=250).step_by(5) {
            if second == 120 {
                alert = ended(&alert, 120);
            }
            if ask(&mut presenter, second, &mut alert, true) != "-" {
                sent.push(second);
            }
        }
        assert_eq!(sent, [0, 65, 120, 185, 250], "as measured on Prometheus 2.42");
    }

    #[test]
    fn ends_at_is_four_resend_periods_ahead_and_true_when_resolved() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = firing(0);
        let posts = presenter.due(at(0), at(0).wall, INTERVAL, std::iter::once((&alert, "v > 0")));
        assert_eq!(posts[0].alerts[0].ends_at, Timestamp(240_000));
        presenter.settle(posts[0].id, Verdict::Accepted, at(0));
        alert = ended(&alert, 50);
        alert.accepted_at = Some(Timestamp(0));
        let posts =
            presenter.due(at(55), at(55).wall, INTERVAL, std::iter::once((&alert, "v > 0")));
        assert_eq!(posts[0].alerts[0].ends_at, Timestamp(50_000));
    }

    #[test]
    fn an_overtaken_late_incident_wakes_nobody() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = ended(&firing(0), 15);
        assert_eq!(ask(&mut presenter, 30, &mut alert, true), "LateFiring");
        assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(36)));
        let mut again = Alert { state: AlertState::Pending, fired_at: None, ..firing(35) };
        assert_eq!(ask(&mut presenter, 36, &mut again, true), "-");
        assert_eq!(presenter.next_wakeup(), None, "there is no end to tell");
    }

    #[test]
    fn what_ended_is_told_while_it_is_pending_again() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = firing(0);
        assert_eq!(ask(&mut presenter, 0, &mut alert, true), "Firing");
        let previous = Some(Box::new(ended(&alert, 10)));
        let state = AlertState::Pending;
        let mut again = Alert { state, fired_at: None, previous, ..firing(15) };
        assert_eq!(ask(&mut presenter, 15, &mut again, true), "Resolved");
    }

    #[test]
    fn a_missed_incident_is_presented_late_and_once() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = firing(0);
        assert_eq!(ask(&mut presenter, 0, &mut alert, false), "Firing");
        assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(1)), "first retry");
        assert_eq!(ask(&mut presenter, 1, &mut alert, false), "Firing");
        alert = ended(&alert, 15);
        assert_eq!(ask(&mut presenter, 20, &mut alert, false), "LateFiring");
        assert_eq!(ask(&mut presenter, 24, &mut alert, false), "-", "backing off for 5 s");
        assert_eq!(ask(&mut presenter, 25, &mut alert, true), "LateFiring");
        assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(31)), "held for 6 s");
        assert_eq!(ask(&mut presenter, 30, &mut alert, true), "-");
        assert_eq!(ask(&mut presenter, 31, &mut alert, true), "LateResolved");
        assert_eq!(presenter.next_wakeup(), None);
        assert_eq!(ask(&mut presenter, 91, &mut alert, true), "-");
        assert_eq!(
            ask(&mut presenter, 92, &mut alert, true),
            "LateResolved",
            "healed, as resolved"
        );
    }

    #[test]
    fn a_long_hold_keeps_the_late_alert_alive() {
        let mut presenter = Presenter::new(CONFIG, 1);
        presenter.set_hold(0, Duration::from_secs(360));
        let mut alert = ended(&firing(0), 15);
        let mut sent = Vec::new();
        for second in (20..=440).step_by(5) {
            let phase = ask(&mut presenter, second, &mut alert, true);
            if phase != "-" {
                sent.push((second, phase));
            }
        }
        let late = sent.iter().filter(|(_, phase)| phase == "LateFiring").count();
        assert_eq!(late, 6, "said again each 65 s, or it would end by itself: {sent:?}");
        assert_eq!(sent[6], (380, "LateResolved".to_owned()));
    }

    #[test]
    fn one_instance_down_does_not_hold_up_the_other() {
        let mut presenter = Presenter::new(CONFIG, 2);
        let alert = firing(0);
        let posts = presenter.due(at(0), at(0).wall, INTERVAL, std::iter::once((&alert, "v > 0")));
        assert_eq!(posts.len(), 2);
        presenter.settle(posts[0].id, Verdict::Failed("down".into()), at(0));
        presenter.settle(posts[1].id, Verdict::Accepted, at(0));
        assert_eq!((presenter.trouble(0), presenter.trouble(1)), (Some("down"), None));
        let posts =
            presenter.due(at(70), at(70).wall, INTERVAL, std::iter::once((&alert, "v > 0")));
        assert_eq!(posts.iter().map(|post| post.instance).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_new_incident_of_the_same_labels_starts_over() {
        let mut presenter = Presenter::new(CONFIG, 1);
        let mut alert = firing(0);
        ask(&mut presenter, 0, &mut alert, true);
        let mut next = firing(30);
        assert_eq!(ask(&mut presenter, 30, &mut next, true), "Firing");
    }
}
