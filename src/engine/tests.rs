//! The engine as a whole, driven by pages of metrics and a clock that jumps.

use std::time::Duration;

use super::*;
use crate::alerts::{PresenterConfig, Verdict};
use crate::base::{Receipt, TargetId};
use crate::exposition::{Format, Limits, Scan, SeriesCache};
use crate::outbox::{Answer as Reply2xx, Attempt, OutboxConfig, Outcome, Reply};
use crate::policy::{Identity, Mode, PolicyConfig, TenantRule};
use crate::promql::EvalOptions;
use crate::regex::Pattern;
use crate::window::Caps;

const STEP_S: i64 = 5;

/// A small world: one target, one rule file, everything else answers at once and well.
struct World {
    engine: Engine,
    cache: SeriesCache,
    second: i64,
    skew_s: i64,
    commits: bool,
    told: Vec<String>,
    events: Vec<serde_json::Value>,
    rows: Vec<Change>,
}

fn setup(rules: &str, policy: PolicyConfig) -> Setup {
    let (groups, problems) = rules::load(&[("r.yml".to_owned(), rules.to_owned())]);
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
        presenter: PresenterConfig { resend_delay: seconds(60), hold: seconds(6) },
        outbox: Some(OutboxConfig::default()),
        host: "web-7".to_owned(),
        identity: Some(Identity {
            host: "web-7".to_owned(),
            rules: vec![app],
            trust_labels: false,
        }),
        policy,
        constants: Vec::new(),
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
            second,
            skew_s: 0,
            commits: true,
            told: Vec::new(),
            events: Vec::new(),
            rows,
        };
        let target = TargetInfo {
            id: TargetId(1),
            labels: Labels::from_pairs([("job", "j"), ("instance", "i")]),
            discovered: Labels::empty(),
            url: "http://i/metrics".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(4),
        };
        world.handle(Event::Targets { active: vec![target], dropped: Vec::new() }, None);
        world
    }

    /// One slot: the target answers with `page`, or fails.
    fn slot(&mut self, page: Option<&str>) -> Vec<String> {
        self.second += STEP_S;
        self.told.clear();
        self.handle(Event::Tick, Some(page));
        std::mem::take(&mut self.told)
    }

    fn handle(&mut self, event: Event, page: Option<Option<&str>>) {
        let now = at(self.second, self.skew_s);
        let mut inbox = vec![event];
        while let Some(event) = inbox.pop() {
            let step = self.engine.handle(now, event);
            self.told.extend(step.facts.iter().filter_map(tell));
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
                if anew {
                    self.cache.reset();
                }
                let result = page.map(|page| scan(&mut self.cache, page));
                let result = result.ok_or_else(|| "connection refused".to_owned());
                Event::Scraped(Scraped { target, duration: Duration::ZERO, result })
            }
            Request::Post(post) => Event::Posted { post: post.id, verdict: Verdict::Accepted },
            Request::Deliver(Attempt { id, body, number, .. }) => {
                self.events.push(serde_json::from_str(&body).expect("JSON"));
                let outcome = Outcome::Accepted(Reply2xx::default());
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

fn scan(cache: &mut SeriesCache, page: &str) -> crate::exposition::Batch {
    let (selection, limits) = (crate::exposition::Selection::all(), Limits::default());
    let mut admit = |_: &mut crate::base::LabelsBuilder| true;
    let mut scan = Scan::begin(cache, &selection, Format::Text, &limits, &mut admit);
    scan.feed(page.as_bytes()).expect("a good page");
    scan.finish().expect("a whole page")
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
        Fact::Held { action, reason, .. } => format!("held {action}: {reason}"),
        Fact::ClockStepped { by_ms } => format!("stepped {by_ms}"),
        _ => return None,
    })
}

const HIGH: &str = "groups: [{name: g, rules: [{alert: High, expr: 'max by (name, service, \
                    tenant, plan, role) (container_memory_working_set_bytes) > 90', for: 10s, \
                    labels: {action: decide}}]}]";

fn memory(name: &str, bytes: u32) -> String {
    format!(
        "container_memory_working_set_bytes{{name=\"{name}\"}} {bytes}\n\
         container_spec_memory_limit_bytes{{name=\"{name}\"}} 100\n"
    )
}

#[test]
fn an_alert_becomes_one_restart_and_its_end_is_told() {
    let mut world = World::new(HIGH, acting());
    let high = memory("acme-web", 95);
    assert_eq!(world.slot(Some(&high)), ["pending"]);
    assert_eq!(world.slot(Some(&high)), [""; 0]);
    assert_eq!(world.slot(Some(&high)), ["firing", "decided restart dry=false"]);
    assert_eq!(world.slot(Some(&high)), [""; 0], "asked once per episode");
    assert_eq!(world.slot(Some(&memory("acme-web", 10))), ["resolved"]);
    let types = ["alert.firing", "container.restart.requested", "alert.resolved"];
    assert_eq!(world.event_types(), types);
    let action = &world.events[1]["data"];
    assert_eq!(action["action"]["params"]["service"], "acme/app");
    assert_eq!(action["evidence"]["ratio"], 0.95);
    assert_eq!(action["tenant_id"], "acme");
    for _ in 0..3 {
        world.slot(Some(&high));
    }
    let held = world.slot(Some(&high));
    assert_eq!(held, [""; 0]);
    assert!(!world.event_types()[3..].contains(&"container.restart.requested"), "cool-down");
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
        (memory("stranger", 95), acting(), "held decide: role_forbids"),
        (memory("acme-web", 95), observe, "held restart: observe"),
        (stale, acting(), "held decide: stale_evidence"),
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
fn nothing_is_delivered_before_it_is_durable() {
    let mut world = World::new(HIGH, acting());
    world.commits = false;
    for _ in 0..5 {
        world.slot(Some(&memory("acme-web", 95)));
    }
    assert_eq!(world.event_types(), [""; 0]);
    let durable = world.engine.last_batch;
    world.handle(Event::Committed(Receipt::of(durable)), None);
    assert_eq!(world.event_types(), ["alert.firing", "container.restart.requested"]);
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

/// The rows as a journal would give them back.
fn latest(changes: &[Change]) -> Vec<Change> {
    let mut rows = BTreeMap::new();
    for change in changes {
        rows.insert((change.table, change.key.clone()), change.clone());
    }
    rows.into_values().filter(|row| row.value.is_some()).collect()
}
