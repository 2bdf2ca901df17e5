//! The engine as a whole, driven by pages of metrics and a clock that jumps.

use std::time::Duration;

use super::*;

mod audit;
mod containers;
mod deploys;
mod docker;
mod durable;
mod effects;
mod ended;
mod gates;
mod heartbeat;
mod holds;
mod identity;
mod inputs;
mod judgement;
mod mail;
mod missed;
mod names;
mod noted;
mod nudges;
mod page;
mod pinned;
mod receipts;
mod refusals;
mod reload;
mod rollout;
mod set_back;
mod silence;
mod slow;
mod storm;
mod targets;
mod texts;
mod told_anew;
mod unheard;
mod waiting;
mod whose;

use self::page::{labels_of, scan};
use crate::alerts::{AlertState, PresenterConfig, Verdict};
use crate::base::{Receipt, TargetId};
use crate::containers::{
    Container, ContainerId, Counts, Happening, ON_ITS_WAY, Report, Status, What,
};
use crate::exposition::{self, Selection, SeriesCache};
use crate::outbox::{Answer as Reply2xx, Attempt, EventType, OutboxConfig, Outcome, Reply};
use crate::policy::{Identity, Miss, Mode, Page, PolicyConfig, Probe, TenantRule};
use crate::promql::EvalOptions;
use crate::regex::Pattern;
use crate::rules;
use crate::window::{Caps, Matcher, Selector, Source, Span};

const STEP_S: i64 = 5;

/// A small world: one rule file and one target, or two; everything else answers at once and well.
struct World {
    engine: Engine,
    cache: SeriesCache,
    /// Of the second target, and its page; without one it does not answer.
    other: (SeriesCache, Option<String>),
    /// What the first target should have brought and could not read.
    missed: Vec<Labels>,
    /// What is kept of their pages.
    selection: Selection,
    second: i64,
    skew_s: i64,
    /// The watch tells so long after a list that it has told everything.
    tells_all_after_s: i64,
    tells_all_at: Option<i64>,
    commits: bool,
    /// Whether the Control Plane's answers to requests get lost.
    loses_answers: bool,
    /// Whether it lets requests hang.
    hangs: bool,
    /// Whether the Control Plane cannot be reached.
    is_away: bool,
    /// Whether it refuses to hear that a request is over.
    is_deaf: bool,
    /// Whether Alertmanager takes nothing.
    posts_fail: bool,
    /// Whether Alertmanager finds every alert too large.
    refuses: bool,
    /// What stands behind each gate, where it is not a good page.
    doors: BTreeMap<String, &'static str>,
    mails: Vec<Mail>,
    /// What becomes of mail; `None` while it is under way.
    post_office: Option<Result<(), MailFailure>>,
    told: Vec<String>,
    /// Every hold told, and what lifts it.
    holds: Vec<(&'static str, String)>,
    /// How many ends of containers were told, by reason.
    ends: BTreeMap<&'static str, usize>,
    events: Vec<serde_json::Value>,
    rows: Vec<Change>,
    records: Vec<crate::audit::Record>,
}

fn setup(rules: &str, policy: PolicyConfig) -> Setup {
    let (groups, problems) = rules::load(
        &[("r.yml".to_owned(), rules.to_owned())],
        &crate::promql::ParseOptions::default(),
    );
    assert!(!problems.has_errors(), "{problems}");
    let seconds = Duration::from_secs;
    let name = vec![("name".to_owned(), Pattern::new("acme-([a-z]+)").expect("reads"))];
    let text = |text: &str| Some(text.to_owned());
    let app = TenantRule::new(name, text("acme"), text("free"), text("app")).expect("a rule");
    Setup {
        groups,
        pace: Pace { evaluation_interval: seconds(5), phase: Duration::ZERO },
        caps: Caps { max_series: 1000, max_bytes: 1 << 20 },
        keep: Vec::new(),
        keep_for: seconds(3600),
        eval: EvalOptions::default(),
        external_labels: Labels::empty(),
        external_url: String::new(),
        alertmanagers: vec!["am".to_owned()],
        presenter: PresenterConfig {
            resend_delay: seconds(60),
            hold: seconds(6),
            is_fixed: false,
            max_hold: seconds(3600),
        },
        outbox: Some(OutboxConfig::default()),
        host: "web-7".to_owned(),
        docker: AskDocker::No,
        identity: Some(Identity {
            host: "web-7".to_owned(),
            rules: vec![app],
            ..Identity::default()
        }),
        policy,
        constants: Vec::new(),
        mail: None,
        unknown_timeout: seconds(3600),
    }
}

fn acting() -> PolicyConfig {
    let mut policy = PolicyConfig { mode: Mode::Act, ..PolicyConfig::default() };
    policy.limits.start_grace = Duration::ZERO;
    policy
}

impl World {
    fn new(rules: &str, policy: PolicyConfig) -> World {
        World::recovered(setup(rules, policy), Vec::new(), 0)
    }

    fn recovered(setup: Setup, rows: Vec<Change>, second: i64) -> World {
        let now = at(second, 0);
        let engine = Engine::new(setup, &rows, now, Box::new(|| Duration::ZERO));
        let mut world = World {
            engine,
            cache: SeriesCache::new(),
            other: (SeriesCache::new(), None),
            missed: Vec::new(),
            selection: Selection::all(),
            second,
            skew_s: 0,
            tells_all_after_s: 5,
            tells_all_at: None,
            commits: true,
            loses_answers: false,
            hangs: false,
            is_away: false,
            is_deaf: false,
            refuses: false,
            posts_fail: false,
            doors: BTreeMap::new(),
            mails: Vec::new(),
            post_office: Some(Ok(())),
            told: Vec::new(),
            holds: Vec::new(),
            ends: BTreeMap::new(),
            events: Vec::new(),
            rows,
            records: Vec::new(),
        };
        world.find_targets(1);
        world
    }

    /// As [`World::recovered`], with the window of the process before and this many targets.
    fn restarted(setup: Setup, before: &World, targets: u32) -> World {
        let checkpoint = before.engine.checkpoint();
        let mut world = World::recovered(setup, latest(&before.rows), before.second + 20);
        world.find_targets(0);
        world.engine.restore_window(&checkpoint, at(world.second, 0)).expect("a good checkpoint");
        world.find_targets(targets);
        world
    }

    fn reload(&mut self, setup: Setup) {
        let (setup, switches) = (Box::new(setup), self.engine.switches.clone());
        self.handle(Event::Reload { setup, switches }, None);
    }

    fn find_targets(&mut self, count: u32) {
        let info = |n: u32| TargetInfo {
            id: TargetId(n),
            labels: labels_of(TargetId(n)),
            discovered: Labels::empty(),
            url: "http://i/metrics".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(4),
        };
        let active = (1..=count).map(info).collect();
        self.handle(Event::Targets { active, dropped: Vec::new(), flaws: Flaws::default() }, None);
    }

    /// The series of a metric that have not ended, by their label `name`.
    fn live(&self, metric: &str) -> Vec<String> {
        let series = self.engine.window.live().filter(|(_, l)| l.metric_name() == metric);
        let mut names: Vec<String> =
            series.map(|(_, l)| l.get("name").unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    }

    /// One slot: the target answers with `page`, or fails.
    fn slot(&mut self, page: Option<&str>) -> Vec<String> {
        self.second += STEP_S;
        self.told.clear();
        self.handle(Event::Tick, Some(page));
        std::mem::take(&mut self.told)
    }

    fn handle(&mut self, event: Event, page: Option<Option<&str>>) {
        if self.tells_all_at.take_if(|at| self.second >= *at).is_some() {
            self.handle(Event::Docker(Report::ToldAll), page);
        }
        match &event {
            Event::Docker(Report::Listed(_)) => {
                self.tells_all_at = Some(self.second + self.tells_all_after_s);
            }
            Event::Docker(Report::Lost { .. }) => self.tells_all_at = None,
            _ => {}
        }
        let now = at(self.second, self.skew_s);
        let mut inbox = vec![event];
        while let Some(event) = inbox.pop() {
            let step = self.engine.handle(now, event);
            self.told.extend(step.facts.iter().filter_map(tell));
            self.holds.extend(step.facts.iter().filter_map(|fact| match fact {
                Fact::Held { reason, lifted_by, .. } => Some((reason.name(), lifted_by.clone())),
                _ => None,
            }));
            for fact in &step.facts {
                if let Fact::ContainerEnded { reason, .. } = fact {
                    *self.ends.entry(reason).or_default() += 1;
                }
            }
            self.records.extend(step.records);
            if let Some((batch, changes)) = step.changes {
                self.rows.extend(changes);
                if self.commits {
                    inbox.push(Event::Committed(Receipt::of(batch)));
                }
            }
            for request in step.requests {
                inbox.push(self.perform(request, page.flatten()));
            }
        }
    }

    fn perform(&mut self, request: Request, page: Option<&str>) -> Event {
        match request {
            Request::Scrape { target, anew } => {
                let (cache, page) = match target {
                    TargetId(1) => (&mut self.cache, page),
                    _ => (&mut self.other.0, self.other.1.as_deref()),
                };
                if anew {
                    cache.reset();
                }
                let missed = if target == TargetId(1) { self.missed.clone() } else { Vec::new() };
                let mut scanned = |page| scan(cache, &self.selection, &labels_of(target), page);
                let result = page.map(|page| exposition::Batch { missed, ..scanned(page) });
                let message = "connection refused".to_owned();
                let result = result.ok_or(ScrapeFailure {
                    reason: "connect",
                    message,
                    ..ScrapeFailure::default()
                });
                Event::Scraped(Scraped { target, duration: Duration::ZERO, result })
            }
            Request::Post(post) => {
                let refused = if self.refuses { refusals::all_of(&post) } else { Vec::new() };
                let verdict = match self.posts_fail {
                    true => Verdict::Failed("refused".to_owned()),
                    false => Verdict::Accepted,
                };
                let post = post.id;
                Event::Posted { post, verdict, tally: None, refused }
            }
            Request::Tally { instance } => Event::TallyRead { instance, tally: None },
            Request::Mail { kind, mail } => {
                self.mails.push(mail);
                match self.post_office.clone() {
                    Some(result) => Event::Mailed { kind, result },
                    None => Event::Tick,
                }
            }
            Request::Probe(Probe { key, number, .. }) => {
                let body = self.doors.get(&key.gate).copied().unwrap_or("welcome");
                let page = Page { status: 200, body: body.as_bytes().to_vec(), is_whole: true };
                let is_ours = body == told_anew::UNASKABLE;
                let answer = if is_ours { Err(Miss::Unaskable(body.to_owned())) } else { Ok(page) };
                Event::Probed { key, number, answer }
            }
            Request::Deliver(it) if self.hangs && it.event_type.is_request() => Event::Tick,
            Request::Deliver(Attempt { id, number, .. }) if self.is_away => {
                let outcome = Outcome::RetryLater { after: None, why: "refused".to_owned() };
                Event::Delivered(Reply { id, number, outcome })
            }
            Request::Deliver(Attempt { id, number, event_type, .. })
                if self.is_deaf && event_type == EventType::ActionExpired =>
            {
                let outcome = Outcome::Refused { why: "422".to_owned() };
                Event::Delivered(Reply { id, number, outcome })
            }
            Request::Deliver(Attempt { id, body, number, event_type }) => {
                self.events.push(serde_json::from_str(&body).expect("JSON"));
                let outcome = match self.loses_answers && event_type.is_request() {
                    true => Outcome::Unanswered { after: None, why: "no answer".to_owned() },
                    false => Outcome::Accepted(Reply2xx::default()),
                };
                Event::Delivered(Reply { id, number, outcome })
            }
        }
    }

    fn event_types(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["type"].as_str()).collect()
    }
}

fn at(second: i64, skew_s: i64) -> Now {
    Now {
        monotonic: Duration::from_secs(second.unsigned_abs()),
        wall: Timestamp((1_800_000_000 + second + skew_s) * 1000),
    }
}

/// The facts these tests look at, in a word or two.
fn tell(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::AlertPending { .. } => "pending".to_owned(),
        Fact::AlertFiring { .. } => "firing".to_owned(),
        Fact::AlertResolved { .. } => "resolved".to_owned(),
        Fact::AlertUnknown { .. } => "unknown".to_owned(),
        Fact::AlertKnown { .. } => "known".to_owned(),
        Fact::Decided { action, dry_run, .. } => format!("decided {action} dry={dry_run}"),
        Fact::Held { action, reason, .. } => format!("held {action}: {}", reason.name()),
        Fact::Outcome { outcome, .. } => format!("outcome {outcome}"),
        Fact::MailSent { kind } => format!("mailed {kind}"),
        Fact::GateFails { key, .. } => format!("gate {} fails", key.gate),
        Fact::GatePasses { key, .. } => format!("gate {} passes", key.gate),
        Fact::ChangeFailed { shut, held, .. } => {
            let held = held.map_or("", |reason| reason.name());
            format!("change {} failed at {} {held}", shut.what, shut.door.gate)
                .trim_end()
                .to_owned()
        }
        Fact::ShutGateUnkept { shut } => format!("unkept {}", shut.door.gate),
        Fact::HostIncident { started: true, .. } => "host incident".to_owned(),
        Fact::HostIncident { started: false, .. } => "host incident over".to_owned(),
        Fact::AlertRefused { reason, .. } => format!("refused: {reason}"),
        Fact::ClockStepped { by_ms } => format!("stepped {by_ms}"),
        Fact::SeriesRefused { count, first, .. } => format!("refused {count} first={first}"),
        Fact::SeriesFit { .. } => "fit".to_owned(),
        Fact::DocumentRefused { error, first, .. } => format!("refused {error} first={first}"),
        Fact::DocumentRecovered { document } => format!("recovered {document}"),
        Fact::ClaimRefused { container, why } => format!("claim refused: {container}: {why}"),
        Fact::RuleNeverFires { rule } => format!("never fires: {rule}"),
        _ => return None,
    })
}

const HIGH: &str = "groups: [{name: g, rules: [{alert: High, expr: 'max by (name, service, \
                    tenant, plan, role) (container_memory_working_set_bytes) > 90', for: 10s, \
                    labels: {action: restart}}]}]";

fn memory(name: &str, bytes: u32) -> String {
    format!(
        "container_memory_working_set_bytes{{name=\"{name}\"}} {bytes}\n\
         container_spec_memory_limit_bytes{{name=\"{name}\"}} 100\n"
    )
}

#[test]
fn what_must_not_act_says_why() {
    let old = format!("{}", (1_800_000_000 - 200_i64) * 1000);
    let stale = format!(
        "container_memory_working_set_bytes{{name=\"acme-web\"}} 95 {old}\n\
         container_cpu_usage_seconds_total{{name=\"acme-web\"}} 1 {old}\n"
    );
    let observe = PolicyConfig { mode: Mode::Observe, ..acting() };
    for (page, policy, want) in [
        (memory("stranger", 95), acting(), "held restart: not_attributable"),
        (memory("acme-web", 95), observe, "held restart: observe"),
        (stale, acting(), "held restart: stale_evidence"),
    ] {
        let mut world = World::new(HIGH, policy);
        let told: Vec<String> = (0..4).flat_map(|_| world.slot(Some(&page))).collect();
        let held: Vec<&String> = told.iter().filter(|told| told.starts_with("held")).collect();
        assert_eq!(held.first().map_or("", |held| held.as_str()), want, "{told:?}");
        assert!(held.len() <= 1, "said once: {told:?}");
        assert!(!world.event_types().contains(&"container.restart.requested"));
    }
}

#[test]
fn a_silent_target_makes_its_alerts_unknown_not_resolved() {
    let mut world = World::new(HIGH, acting());
    let high = memory("acme-web", 95);
    for _ in 0..3 {
        world.slot(Some(&high));
    }
    let told: Vec<String> = (0..4).flat_map(|_| world.slot(None)).collect();
    assert_eq!(told, ["unknown"]);
    assert_eq!(world.slot(Some(&high)), ["known"]);
    assert_eq!(world.slot(Some(&memory("acme-web", 10))), ["resolved"]);
}

#[test]
fn absence_does_not_fire_before_the_inputs_were_seen() {
    let rules = "groups: [{name: g, rules: [{alert: Gone, expr: 'absent(x)'}]}]";
    let mut world = World::new(rules, acting());
    assert_eq!(world.slot(Some("x 1\n")), [""; 0]);
    assert_eq!(world.slot(Some("y 1\n")), ["firing"]);
}

#[test]
fn a_step_of_the_clock_neither_fires_nor_forgets() {
    for step_s in [-7200, 7200] {
        let mut world = World::new(HIGH, acting());
        let high = memory("acme-web", 95);
        assert_eq!(world.slot(Some(&high)), ["pending"]);
        world.skew_s = step_s;
        let told = world.slot(Some(&high));
        assert_eq!(told, [format!("stepped {}", step_s * 1000)]);
        assert!(world.slot(Some(&high)).contains(&"firing".to_owned()), "two slots held");
        world.skew_s = 0;
        world.slot(Some(&high));
        world.slot(Some(&memory("acme-web", 10)));
        world.slot(Some(&memory("acme-web", 10)));
        assert_eq!(world.engine.counters.clock_steps, 2);
        let types = world.event_types().into_iter().filter(|kind| kind.starts_with("alert."));
        assert_eq!(types.collect::<Vec<_>>(), ["alert.firing", "alert.resolved"], "each edge once");
    }
}

#[test]
fn a_restart_of_ours_keeps_what_fires_and_tells_its_end_once() {
    let mut world = World::new(HIGH, acting());
    let high = memory("acme-web", 95);
    for _ in 0..4 {
        world.slot(Some(&high));
    }
    let rows = latest(&world.rows);
    let mut again = World::recovered(setup(HIGH, acting()), rows, world.second + 20);
    assert_eq!(again.slot(Some(&high)), [""; 0], "neither a new incident nor a new restart");
    assert_eq!(again.slot(Some(&memory("acme-web", 10))), ["resolved"]);
    assert_eq!(again.event_types(), ["alert.resolved"]);
}

/// What was restored would keep every new sample out, for as long as the clock was set back.
#[test]
fn a_clock_set_back_while_we_were_away_neither_ends_nor_begins_anything() {
    let rules = "groups: [{name: g, rules: [{alert: High, expr: 'x > 1'}, {alert: Gone, expr: 'absent(y)'}]}]";
    let page = "x 5\ny 1\n";
    let mut before = World::new(rules, acting());
    let told: Vec<String> = (0..4).flat_map(|_| before.slot(Some(page))).collect();
    assert_eq!(told, ["firing"]);
    let checkpoint = before.engine.checkpoint();
    for back_s in [-30, 40, 3600] {
        let second = before.second - back_s;
        let mut after = World::recovered(setup(rules, acting()), latest(&before.rows), second);
        let restored = after.engine.restore_window(&checkpoint, at(second, 0));
        let told: Vec<String> = (0..4).flat_map(|_| after.slot(Some(page))).collect();
        assert_eq!(told, [""; 0], "set back by {back_s} s");
        assert_eq!(restored.is_ok(), back_s < 0, "{restored:?}");
        assert_eq!(after.slot(Some("x 0\ny 1\n")), ["resolved"]);
    }
}

#[test]
fn what_is_pending_when_the_clock_is_set_back_meanwhile_fires_in_its_time() {
    let rules = "groups: [{name: g, rules: [{alert: High, expr: 'x > 1', for: 20s}]}]";
    let mut before = World::new(rules, acting());
    for _ in 0..3 {
        before.slot(Some("x 5\n"));
    }
    let mut after =
        World::recovered(setup(rules, acting()), latest(&before.rows), before.second - 3600);
    let told: Vec<String> = (0..4).flat_map(|_| after.slot(Some("x 5\n"))).collect();
    assert_eq!(told, ["firing"]);
}

/// The rows as a journal would give them back.
fn latest(changes: &[Change]) -> Vec<Change> {
    let mut rows = BTreeMap::new();
    for change in changes {
        rows.insert((change.table, change.key.clone()), change.clone());
    }
    rows.into_values().filter(|row| row.value.is_some()).collect()
}

/// A record, an alert on it, and an alert on the series itself.
const GHOSTS: &str = "groups: [{name: g, rules: [{record: r, expr: 'max by (name) (x)'}, \
                      {alert: Own, expr: 'x > 90'}, {alert: Recorded, expr: 'r > 90'}, \
                      {alert: Listed, expr: 'ALERTS{alertname=\"Own\"}'}]}]";

#[test]
fn a_series_that_vanished_while_we_were_away_does_not_come_back_to_fire() {
    let mut before = World::new(GHOSTS, acting());
    let both = "x{name=\"gone\"} 95\nx{name=\"here\"} 10\n";
    for _ in 0..3 {
        before.slot(Some(both));
    }
    assert_eq!(before.live("ALERTS"), ["gone", "gone", "gone"]);
    before.rows.clear();
    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 1);
    assert_eq!(after.live("x"), ["gone", "here"], "until the target has answered");
    assert_eq!(after.slot(Some("x{name=\"here\"} 10\n")), [""; 0], "nothing begins to fire");
    for metric in ["x", "r"] {
        assert_eq!(after.live(metric), ["here"], "{metric}");
    }
    assert_eq!(after.live("ALERTS"), [""; 0]);
    assert_eq!(after.live("up").len(), 1);

    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 1);
    assert_eq!(after.slot(None), [""; 0], "nor while the target does not answer");
    assert_eq!(after.live("x"), [""; 0]);
    let mut after = World::restarted(setup(GHOSTS, acting()), &before, 1);
    assert!(after.slot(Some(both)).contains(&"firing".to_owned()), "what is still sent goes on");
    assert_eq!(after.live("x"), ["gone", "here"]);
}

#[test]
fn a_full_window_is_told_once_and_counted_always() {
    let mut setup = setup(HIGH, acting());
    setup.caps.max_series = 40;
    let mut world = World::recovered(setup, Vec::new(), 0);
    let page = |from: u32, to: u32| -> String {
        (from..to).map(|n| format!("x{{name=\"{n}\"}} 1\n")).collect()
    };
    let told = world.slot(Some(&page(0, 60)));
    assert!(told.len() == 1 && told[0].ends_with("first=true"), "{told:?}");
    let counted = world.engine.counters.series_refused;
    assert!(counted >= 20, "{counted}");
    assert_eq!(world.slot(Some(&page(0, 62))), ["refused 2 first=false"]);
    assert!(world.engine.counters.series_refused >= counted + 2);
    // The old ones expire; the sweep that forgets them asks for a new epoch, where all fit.
    let told: Vec<String> = (0..150).flat_map(|_| world.slot(Some(&page(60, 62)))).collect();
    assert_eq!(told, ["host incident", "fit", "host incident over"], "blind, nobody is touched");
}
