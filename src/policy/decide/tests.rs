//! Each case starts from an incident that leads to an action and changes one thing.

use super::*;
use crate::policy::Limits;

const MINUTE: Duration = Duration::from_secs(60);
const GIB: f64 = 1_073_741_824.0;

struct Case {
    incident: Incident,
    evidence: Evidence,
    history: History,
    config: PolicyConfig,
}

impl Case {
    fn decide(&self) -> Decision {
        decide(&self.incident, &self.evidence, &self.history, now(), &self.config)
    }

    fn label(&mut self, name: &str, value: &str) {
        self.incident.labels = self.incident.labels.with(name, value);
    }
}

fn now() -> Now {
    Now { monotonic: Duration::from_secs(7200), wall: Timestamp(1_795_312_800_000) }
}

fn case(asks: Asked) -> Case {
    let labels = [
        ("host", "web-7"),
        ("name", "acme-1"),
        ("tenant", "acme"),
        ("plan", "pro"),
        ("role", "app"),
        ("service", "acme/app"),
        ("severity", "critical"),
    ];
    Case {
        incident: Incident {
            rule: "r.yml;g;TenantMemoryWillOom;0".to_owned(),
            alert: "TenantMemoryWillOom".to_owned(),
            fingerprint: "00000000000000aa".to_owned(),
            revision: 3,
            starts_at: Timestamp(1_795_312_000_000),
            labels: Labels::from_pairs(labels),
            annotations: BTreeMap::new(),
            asks,
            unknown: false,
        },
        evidence: Evidence {
            figures: outbox::Evidence {
                ratio: Some(0.93),
                episodes_7d: Some(3),
                ..outbox::Evidence::default()
            },
            sample_age: Duration::from_secs(4),
            interval: Duration::from_secs(5),
            container_age: Some(60 * MINUTE),
            host_pressure: false,
            gates_failing: false,
            limit_drift: false,
            needed_bytes: None,
        },
        history: History::default(),
        config: PolicyConfig { mode: Mode::Act, modes: BTreeMap::new(), ..PolicyConfig::default() },
    }
}

/// What is decided after one change, in words: `restart`, or the reason to hold.
#[track_caller]
fn check(asks: Asked, want: &str, change: impl FnOnce(&mut Case)) {
    let mut case = case(asks);
    change(&mut case);
    let got = match case.decide() {
        Decision::Act(proposal) => proposal.action.kind.name(),
        Decision::Hold { reason, .. } => reason.name(),
    };
    assert_eq!(got, want);
}

fn throttled(case: &mut Case) {
    case.evidence.figures.ratio = Some(0.4);
    case.evidence.figures.throttled_ratio = Some(0.6);
}

#[test]
fn the_rule_asks_and_the_evidence_chooses() {
    check(Asked::Restart, "restart", |_| {});
    check(Asked::Nudge, "nudge", |_| {});
    check(Asked::Advise, "advise", |_| {});
    check(Asked::RollbackAdvice, "rollback_advice", |_| {});
    check(Asked::None, "none_asked", |_| {});
    check(Asked::Decide, "restart", |_| {});
    check(Asked::Decide, "restart", |case| case.evidence.figures.ratio = Some(0.9));
    check(Asked::Decide, "nudge", throttled);
    check(Asked::Decide, "restart", |case| {
        throttled(case);
        case.evidence.figures.oom_events_10m = Some(1.0);
    });
    check(Asked::Decide, "missing_evidence", |case| case.evidence.figures.ratio = None);
    check(Asked::Decide, "missing_evidence", |case| {
        case.evidence.figures.ratio = Some(f64::NAN);
    });
}

#[test]
fn only_fresh_evidence_acts() {
    let aged = |age, interval| {
        move |case: &mut Case| {
            case.evidence.sample_age = Duration::from_secs(age);
            case.evidence.interval = Duration::from_secs(interval);
        }
    };
    check(Asked::Restart, "restart", aged(120, 5));
    check(Asked::Restart, "stale_evidence", aged(121, 5));
    check(Asked::Restart, "restart", aged(180, 60));
    check(Asked::Restart, "stale_evidence", aged(181, 60));
    check(Asked::Advise, "stale_evidence", aged(181, 60));
    check(Asked::Restart, "alert_unknown", |case| case.incident.unknown = true);
}

#[test]
fn only_what_may_be_touched_is_touched() {
    for role in ["db", "redis", "m2", "edge", "", "postgres"] {
        check(Asked::Restart, "role_forbids", |case| case.label("role", role));
        check(Asked::Decide, "role_forbids", |case| case.label("role", role));
    }
    check(Asked::Restart, "restart", |case| case.label("role", "worker"));
    for asks in [Asked::Restart, Asked::Nudge] {
        check(asks, "not_attributable", |case| case.label("role", "shared_app"));
        check(asks, "not_attributable", |case| case.label("service", ""));
    }
    check(Asked::Nudge, "not_attributable", |case| case.label("tenant", ""));
    check(Asked::Nudge, "missing_evidence", |case| case.label("plan", "unheard-of"));
    check(Asked::Restart, "start_grace", |case| {
        case.evidence.container_age = Some(5 * MINUTE - Duration::from_secs(1));
    });
    check(Asked::Restart, "restart", |case| case.evidence.container_age = Some(5 * MINUTE));
}

#[test]
fn history_holds_back() {
    let since =
        |kind, age| move |case: &mut Case| case.history.since = BTreeMap::from([(kind, age)]);
    let second = Duration::from_secs(1);
    check(Asked::Restart, "cool_down", since(ActionKind::Restart, 15 * MINUTE - second));
    check(Asked::Restart, "restart", since(ActionKind::Restart, 15 * MINUTE));
    check(Asked::Restart, "restart", since(ActionKind::Nudge, second));
    let week = 7 * 24 * 60 * MINUTE;
    check(Asked::Nudge, "cool_down", since(ActionKind::Nudge, week - second));
    check(Asked::Nudge, "nudge", since(ActionKind::Nudge, week));
    check(Asked::Restart, "tenant_budget", |case| case.history.tenant_restarts_day = 3);
    check(Asked::Restart, "restart", |case| case.history.tenant_restarts_day = 2);
    check(Asked::Restart, "host_busy", |case| case.history.restarts_open = 1);
    check(Asked::Nudge, "nudge", |case| case.history.restarts_open = 1);
    check(Asked::Restart, "already_asked", |case| {
        let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
        case.history.asked.push(proposal.action.dedup_key);
    });
}

#[test]
fn a_nudge_comes_after_everything_smaller() {
    let nudge = Asked::Nudge;
    check(nudge, "host_pressure", |case| case.evidence.host_pressure = true);
    check(Asked::Restart, "restart", |case| case.evidence.host_pressure = true);
    check(Asked::Restart, "gates_failing", |case| case.evidence.gates_failing = true);
    check(nudge, "too_few_episodes", |case| case.evidence.figures.episodes_7d = Some(2));
    check(nudge, "too_few_episodes", |case| case.evidence.figures.episodes_7d = None);
    check(nudge, "nudge", |case| case.evidence.needed_bytes = Some(7.1 * GIB));
    check(nudge, "next_plan_too_small", |case| case.evidence.needed_bytes = Some(7.2 * GIB));
    check(nudge, "advise", |case| case.evidence.limit_drift = true);
    check(nudge, "advise", |case| case.label("plan", "enterprise"));
    let small = |case: &mut Case| {
        let mut plans: Vec<Plan> = case.config.plans.iter().cloned().collect();
        plans[0].mem_limit_bytes = 512 * 1024 * 1024;
        case.config.plans = crate::policy::Plans::new(plans).expect("still sound");
        case.label("plan", "free");
    };
    check(nudge, "advise", small);
    check(nudge, "nudge", |case| {
        small(case);
        throttled(case);
    });
}

#[test]
fn modes_govern_what_leaves() {
    let mut case = case(Asked::Restart);
    let mode = |decision: Decision| match decision {
        Decision::Act(proposal) => Some(proposal.action.mode),
        Decision::Hold { .. } => None,
    };
    assert_eq!(mode(case.decide()), Some(ActionMode::Request));
    case.config.modes.insert(ActionKind::Restart, Mode::Notify);
    assert_eq!(mode(case.decide()), Some(ActionMode::DryRun));
    case.config.modes.insert(ActionKind::Restart, Mode::Observe);
    let decision = case.decide();
    let Decision::Hold { reason: HoldReason::Observe, wanted: Some(_) } = &decision else {
        panic!("{decision:?}")
    };
    assert!(decision.to_record().is_some(), "a dry mode shows the pace of the real one");
    case.history.restarts_open = 1;
    let decision = case.decide();
    assert!(decision.to_record().is_none(), "what a guard held was not done");
    assert!(matches!(decision, Decision::Hold { reason: HoldReason::HostBusy, wanted: Some(_) }));
    let default = PolicyConfig { mode: Mode::Act, ..PolicyConfig::default() };
    assert_eq!(default.mode_of(ActionKind::Restart), Mode::Act);
    assert_eq!(default.mode_of(ActionKind::Nudge), Mode::Observe, "nudges are opt-in");
    for mode in [Mode::Observe, Mode::Notify, Mode::Act] {
        assert_eq!(Mode::parse(mode.name()), Some(mode));
    }
}

#[test]
fn the_event_says_all_the_receiver_needs() {
    let mut case = case(Asked::Nudge);
    case.incident.annotations.insert("summary".to_owned(), "near its limit".to_owned());
    let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
    let event = proposal.event(&case.incident, &case.evidence, now());
    let body: Value = serde_json::from_str(&event.to_body()).expect("JSON");
    let data = &body["data"];
    assert_eq!(body["type"], "tenant.upgrade.suggested");
    assert_eq!(data["tenant_id"], "acme");
    assert_eq!(data["service"], "acme/app");
    assert_eq!(data["action"]["kind"], "nudge");
    assert_eq!(data["action"]["mode"], "request");
    assert_eq!(data["action"]["params"]["from"], "pro");
    assert_eq!(data["action"]["params"]["to"], "enterprise");
    assert_eq!(data["action"]["expires_at"], "2026-11-22T02:15:00.000Z");
    assert_eq!(data["evidence"]["sample_age_seconds"], 4.0);
    assert_eq!(data["evidence"]["ratio"], 0.93);
    assert!(data["status"].is_null(), "only alert events carry a status");
}

#[test]
fn advice_carries_what_the_rule_wrote() {
    let mut case = case(Asked::Advise);
    let annotations =
        [("variable", "maxmemory-policy"), ("recommended", "volatile-lru"), ("x", "y")];
    case.incident.annotations =
        annotations.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
    let params = &proposal.action.params;
    assert_eq!(params.len(), 2);
    assert_eq!(params["recommended"], "volatile-lru");
    assert_eq!(proposal.subject, "alert:00000000000000aa", "each advice has its own cool-down");
    assert_eq!(Limits::default().cool_down(ActionKind::Advise), 24 * 60 * MINUTE);
}
