//! Each case starts from an incident that leads to an action and changes one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::base::{Labels, Timestamp};
use crate::calendar::Open;
use crate::outbox;
use crate::policy::{
    Case as Given, Circumstances, Direction, Evidence, Fit, History, Incident, Limits, Plan, Plans,
    Symptoms, Tenancy,
};

mod causes;
mod event;
mod plans;
mod refused;
mod waiting;

const MINUTE: Duration = Duration::from_secs(60);
const GIB: f64 = 1_073_741_824.0;

struct Case {
    incident: Incident,
    evidence: Evidence,
    history: History,
    circumstances: Circumstances,
    config: PolicyConfig,
}

impl Case {
    fn decide(&self) -> Decision {
        let Case { incident, evidence, history, circumstances, config } = self;
        decide(&Given { incident, evidence, history, circumstances }, now(), config)
    }

    fn label(&mut self, name: &str, value: &str) {
        self.incident.labels = self.incident.labels.with(name, value);
        self.incident.whose = self.incident.labels.clone();
    }
}

fn now() -> Now {
    Now { monotonic: Duration::from_secs(7200), wall: Timestamp(1_795_312_800_000) }
}

/// Memory is full: the kernel kills again and again, or, where a nudge is asked for, it stands still.
fn case(asks: Asked) -> Case {
    let growth = (asks == Asked::Nudge).then_some(0.0);
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
            whose: Labels::from_pairs(labels),
            owner_differs: false,
            annotations: BTreeMap::new(),
            asks,
            unknown: false,
        },
        evidence: Evidence {
            figures: outbox::Evidence { episodes_7d: Some(3), ..outbox::Evidence::default() },
            symptoms: Symptoms {
                working_set_ratio: Some(0.93),
                oom_events: Some(2.0),
                growth_per_hour: growth,
                recent_growth_per_hour: growth,
                ..Symptoms::default()
            },
            rushes: false,
            started_since_kill: false,
            starvation_unseen: false,
            change_age: None,
            bad_image: false,
            sample_age: Duration::from_secs(4),
            is_unseen: false,
            has_ended: false,
            interval: Duration::from_secs(5),
            container_age: Some(60 * MINUTE),
            host_pressure: false,
            pressure_unseen: false,
            gates_failing: false,
            recycle_due: false,
            probes_failing: false,
            limit_drift: false,
            own_limits: false,
            needed_bytes: Some(1.5 * GIB),
            fit: None,
        },
        history: History::default(),
        circumstances: Circumstances::default(),
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
    case.evidence.symptoms = Symptoms {
        working_set_ratio: Some(0.4),
        throttled_ratio: Some(0.6),
        cpu_ratio: Some(0.9),
        ..Symptoms::default()
    };
}

/// Memory is full and nobody was killed.
fn full(case: &mut Case) {
    case.evidence.symptoms = Symptoms { working_set_ratio: Some(0.93), ..Symptoms::default() };
}

fn growing(case: &mut Case, hour: f64, lately: f64) {
    full(case);
    case.evidence.symptoms.growth_per_hour = Some(hour);
    case.evidence.symptoms.recent_growth_per_hour = Some(lately);
}

/// A person is asked to look: for this reason.
#[track_caller]
fn human(asks: Asked, why: &str, change: impl FnOnce(&mut Case)) {
    let mut case = case(asks);
    change(&mut case);
    let Decision::Act(proposal) = case.decide() else { panic!("{:?}", case.decide()) };
    let text = |name| proposal.action.params.get(name).and_then(Value::as_str).unwrap_or("");
    assert_eq!((text("escalation"), text("why")), ("human", why));
}

#[test]
fn the_rule_asks_and_the_evidence_chooses() {
    check(Asked::Restart, "restart", |_| {});
    check(Asked::Nudge, "nudge", |_| {});
    check(Asked::Advise, "advise", |_| {});
    check(Asked::RollbackAdvice, "rollback_advice", |_| {});
    check(Asked::None, "none_asked", |_| {});
    check(Asked::Decide, "restart", |_| {});
    check(Asked::Decide, "restart", |case| case.evidence.symptoms.working_set_ratio = Some(0.9));
    check(Asked::Decide, "nudge", throttled);
    check(Asked::Decide, "restart", |case| {
        throttled(case);
        case.evidence.symptoms.oom_events = Some(2.0);
    });
    check(Asked::Decide, "missing_evidence", |case| {
        case.evidence.symptoms.working_set_ratio = None
    });
    check(Asked::Decide, "missing_evidence", |case| {
        case.evidence.symptoms.working_set_ratio = Some(f64::NAN);
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
fn a_shared_container_is_never_restarted_for_one_tenant() {
    let by_mode = |case: &mut Case| case.config.tenancy = Tenancy::Shared;
    let by_role = |case: &mut Case| case.label("role", "shared_app");
    for share in [by_mode as fn(&mut Case), by_role] {
        check(Asked::Restart, "shared_container", share);
        check(Asked::Decide, "advise", |case| {
            share(case);
            case.label("tenant", "");
        });
        check(Asked::Advise, "advise", share);
    }
    // A nudge speaks to a tenant, not to a container.
    check(Asked::Nudge, "nudge", by_mode);
    check(Asked::Decide, "nudge", by_mode);
    check(Asked::Decide, "nudge", |case| {
        by_mode(case);
        throttled(case);
    });
    let mut case = case(Asked::Decide);
    by_role(&mut case);
    let Decision::Act(proposal) = case.decide() else { panic!("{:?}", case.decide()) };
    assert_eq!(proposal.action.params["escalation"], "human");
    assert_eq!(proposal.action.params["why"], "a restart would hit every tenant in it");
}

#[test]
fn a_host_of_one_tenant_has_no_neighbours_and_no_strangers() {
    let of = |owner: &str| {
        let owner = owner.to_owned();
        move |case: &mut Case| {
            case.config.tenancy = Tenancy::PerHost { tenant: owner.clone(), plan: None };
        }
    };
    check(Asked::Restart, "restart", of("acme"));
    for asks in [Asked::Restart, Asked::Nudge, Asked::Decide] {
        check(asks, "foreign_tenant", of("globex"));
    }
    check(Asked::Advise, "advise", of("globex"));
    check(Asked::Nudge, "nudge", |case| {
        of("acme")(case);
        case.evidence.host_pressure = true;
    });
    check(Asked::Restart, "restart", |case| {
        of("acme")(case);
        case.evidence.symptoms = Symptoms::default();
        case.evidence.symptoms.cpu_waiting_ratio = Some(0.5);
    });
}

#[test]
fn only_what_may_be_touched_is_touched() {
    for (role, held) in [
        ("db", "role_forbids"),
        ("redis", "role_forbids"),
        ("m2", "role_forbids"),
        ("edge", "role_forbids"),
        ("postgres", "role_forbids"),
        ("", "not_attributable"),
    ] {
        check(Asked::Restart, held, |case| case.label("role", role));
        check(Asked::Decide, held, |case| case.label("role", role));
    }
    check(Asked::Restart, "restart", |case| case.label("role", "worker"));
    for asks in [Asked::Restart, Asked::Nudge] {
        check(asks, "not_attributable", |case| case.label("service", ""));
    }
    check(Asked::Nudge, "not_attributable", |case| case.label("tenant", ""));
    check(Asked::Nudge, "not_attributable", |case| case.label("role", "shared_app"));
    check(Asked::Nudge, "missing_evidence", |case| case.label("plan", "unheard-of"));
    check(Asked::Restart, "start_grace", |case| {
        full(case);
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
    check(Asked::Restart, "host_budget", |case| case.history.host_restarts_hour = 6);
    check(Asked::Restart, "restart", |case| case.history.host_restarts_hour = 5);
    check(Asked::Restart, "restart", |case| case.history.tenant_restarts_day = 2);
    check(Asked::Restart, "host_busy", |case| case.history.restarts_open = 1);
    check(Asked::Nudge, "nudge", |case| case.history.restarts_open = 1);
    check(Asked::Restart, "already_asked", |case| {
        let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
        case.history.asked.insert(proposal.action.dedup_key, None);
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
    let of_its_own = |role: &'static str| {
        move |case: &mut Case| {
            case.label("role", role);
            case.evidence.own_limits = true;
        }
    };
    check(nudge, "advise", of_its_own("db"));
    check(nudge, "nudge", of_its_own("worker"));
    check(nudge, "advise", |case| case.label("plan", "enterprise"));
    let small = |case: &mut Case| {
        let mut plans: Vec<Plan> = case.config.plans.iter().cloned().collect();
        plans[0].mem_limit_bytes = 512 * 1024 * 1024;
        case.config.plans = Plans::new(plans).expect("still sound");
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
fn advice_carries_what_the_rule_wrote() {
    let mut case = case(Asked::Advise);
    let annotations = [
        ("variable", "maxmemory-policy"),
        ("recommended", "volatile-lru"),
        ("current", " "),
        ("x", "y"),
    ];
    case.incident.annotations =
        annotations.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
    let params = &proposal.action.params;
    assert_eq!(params.len(), 2);
    assert_eq!(params["recommended"], "volatile-lru");
    assert_eq!(proposal.subject, "alert:00000000000000aa", "each advice has its own cool-down");
    assert_eq!(Limits::default().cool_down(ActionKind::Advise), 24 * 60 * MINUTE);
}

#[test]
fn the_host_and_the_tenant_hold_back() {
    let all = [Asked::Restart, Asked::Nudge, Asked::Advise];
    for asks in all {
        check(asks, "kill_switch", |case| case.circumstances.kill_switch = true);
    }
    for asks in [Asked::Restart, Asked::Nudge] {
        check(asks, "host_incident", |case| case.circumstances.host_incident = true);
        check(asks, "maintenance", |case| case.circumstances.maintenance = window());
        let inactive = Some("it is suspended".to_owned());
        check(asks, "tenant_not_active", |case| case.circumstances.inactive = inactive);
        let none = Some(BTreeSet::from([ActionKind::Advise]));
        check(asks, "not_opted_in", |case| case.circumstances.opted_in = none);
        let second = Duration::from_secs(1);
        check(asks, "recent_change", |case| case.evidence.change_age = Some(10 * MINUTE - second));
    }
    check(Asked::Restart, "restart", |case| case.evidence.change_age = Some(10 * MINUTE));
    check(Asked::Restart, "restart", |case| {
        case.circumstances.opted_in = Some(BTreeSet::from([ActionKind::Restart]));
    });
    check(Asked::Nudge, "quiet_hours", |case| case.circumstances.quiet_hours = window());
    check(Asked::Restart, "restart", |case| case.circumstances.quiet_hours = window());
    check(Asked::Restart, "busy", |case| case.circumstances.busy = true);
    check(Asked::Nudge, "nudge", |case| case.circumstances.busy = true);
    check(Asked::Advise, "advise", |case| {
        case.circumstances.host_incident = true;
        case.circumstances.maintenance = window();
        case.circumstances.quiet_hours = window();
        case.circumstances.inactive = Some(String::new());
    });
}

/// A window that is open until midnight.
fn window() -> Option<Open> {
    Some(Open { name: "patch day".to_owned(), until: Some(Timestamp(1_795_392_000_000)) })
}

#[test]
fn what_lifts_a_hold_is_told_with_its_time() {
    let circumstances = Circumstances {
        maintenance: window(),
        quiet_hours: Some(Open { name: "always".to_owned(), until: None }),
        inactive: Some("it is suspended".to_owned()),
        ..Circumstances::default()
    };
    for (reason, want) in [
        (
            HoldReason::Maintenance,
            "the end of the maintenance window `patch day` at 2026-11-23T00:00:00.000Z",
        ),
        (HoldReason::QuietHours, "the end of the quiet hours `always`, which follows on itself"),
        (HoldReason::TenantNotActive, "the tenant becoming active: it is suspended"),
        (HoldReason::Busy, "the end of the backup or migration"),
    ] {
        assert_eq!(circumstances.lifts(reason), want);
    }
    let nothing = Circumstances::default();
    assert!(HoldReason::all().all(|reason| nothing.lifts(reason) == reason.lifted_by()));
}

#[test]
fn the_cause_chooses() {
    let decide = Asked::Decide;
    let cache = |case: &mut Case| {
        full(case);
        case.evidence.symptoms.unreclaimable_ratio = Some(0.3);
        case.evidence.symptoms.usage_ratio = Some(0.99);
    };
    check(decide, "page_cache", cache);
    check(Asked::Nudge, "page_cache", cache);
    check(decide, "nudge", |case| {
        growing(case, 0.0, 0.0);
        case.evidence.symptoms.warm_ratio = Some(0.85);
    });
    check(decide, "restart", |case| growing(case, 0.4, 0.4));
    check(decide, "nudge", |case| {
        growing(case, 0.4, 0.4);
        case.evidence.symptoms.traffic_factor = Some(2.0);
    });
    let bursts = |case: &mut Case| {
        throttled(case);
        case.evidence.symptoms.cpu_ratio = Some(0.2);
    };
    check(decide, "advise", bursts);
    check(Asked::Nudge, "advise", bursts);
    let starved = |case: &mut Case| {
        full(case);
        case.evidence.symptoms.working_set_ratio = Some(0.2);
        case.evidence.symptoms.cpu_waiting_ratio = Some(0.5);
    };
    check(decide, "neighbour", starved);
    check(Asked::Restart, "neighbour", starved);
}

#[test]
fn a_spent_rung_passes_on_and_a_human_hears_at_last() {
    let decide = Asked::Decide;
    let spent = |case: &mut Case| case.history.tenant_restarts_day = 3;
    let useless = |case: &mut Case| case.history.restarts_without_effect = 2;
    check(decide, "nudge", spent);
    check(decide, "nudge", useless);
    check(decide, "restart", |case| case.history.restarts_without_effect = 1);
    for (result, want) in [
        ("ineffective", "nudge"),
        ("relapsed", "nudge"),
        ("declined", "advise"),
        ("expired", "restart"),
        ("withdrawn", "restart"),
        ("effective", "already_asked"),
    ] {
        check(decide, want, |case| {
            let key = case.incident.dedup_key(ActionKind::Restart);
            case.history.asked.insert(key, Some(result.to_owned()));
        });
    }
    let human = |change: fn(&mut Case)| {
        check(decide, "advise", |case| {
            case.history.tenant_restarts_day = 3;
            change(case);
            let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
            assert_eq!(proposal.action.params["escalation"], "human");
        });
    };
    human(|case| growing(case, 0.4, 0.4));
    human(|case| case.evidence.symptoms.leaked_lately = true);
    human(|case| case.evidence.figures.episodes_7d = Some(2));
    human(|case| case.evidence.host_pressure = true);
    human(|case| case.evidence.needed_bytes = Some(100.0 * GIB));
    human(|case| case.label("plan", "enterprise"));
    human(|case| case.circumstances.opted_in = Some(BTreeSet::from([ActionKind::Restart])));
    human(|case| case.history.since = BTreeMap::from([(ActionKind::Nudge, MINUTE)]));
    check(Asked::Restart, "tenant_budget", spent);
    check(Asked::Restart, "advise", useless);
    for result in ["ineffective", "relapsed", "declined"] {
        check(Asked::Restart, "advise", |case| {
            let key = case.incident.dedup_key(ActionKind::Restart);
            case.history.asked.insert(key, Some(result.to_owned()));
        });
    }
}

#[test]
fn a_rung_that_is_switched_off_passes_on_to_a_person() {
    let spent = |case: &mut Case| {
        case.history.tenant_restarts_day = 3;
        case.config.modes.insert(ActionKind::Nudge, Mode::Observe);
    };
    check(Asked::Decide, "advise", spent);
    check(Asked::Decide, "advise", |case| {
        spent(case);
        case.config.mode = Mode::Notify;
    });
    // Where nothing is sent, what would be is shown whole.
    let mut shadow = case(Asked::Decide);
    spent(&mut shadow);
    shadow.config.mode = Mode::Observe;
    let Decision::Hold { reason: HoldReason::Observe, wanted: Some(wanted) } = shadow.decide()
    else {
        panic!("{:?}", shadow.decide())
    };
    assert_eq!(wanted.action.kind, ActionKind::Nudge);
}

#[test]
fn a_loop_of_kills_faster_than_the_start_grace_is_passed_on() {
    let looping = |kills, age| {
        move |case: &mut Case| {
            case.evidence.symptoms.oom_events = Some(kills);
            case.evidence.container_age = Some(Duration::from_secs(age));
        }
    };
    check(Asked::Decide, "start_grace", looping(1.9, 240));
    check(Asked::Decide, "nudge", looping(2.0, 299));
    check(Asked::Decide, "restart", looping(2.0, 300));
    check(Asked::Restart, "advise", looping(2.0, 240));
    check(Asked::Decide, "start_grace", |case| {
        looping(2.0, 30)(case);
        case.config.limits.start_grace = MINUTE;
    });
    check(Asked::Decide, "advise", |case| {
        looping(2.0, 240)(case);
        case.evidence.figures.episodes_7d = Some(1);
    });
}
