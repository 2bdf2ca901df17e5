//! What the cause forbids: restarts that would not help, and plans nobody needs.

use super::*;

#[test]
fn a_plan_that_fits_is_not_left() {
    for (direction, confidence, want) in [
        (Direction::Stay, 0.1, "present_plan_fits"),
        (Direction::Down, 0.1, "present_plan_fits"),
        (Direction::Stay, 0.09, "nudge"),
    ] {
        let fit = Some(Fit { plan: None, direction, confidence, sentence: String::new() });
        check(Asked::Nudge, want, |case| case.evidence.fit = fit.clone());
        let spent = |case: &mut Case| {
            case.evidence.fit = fit;
            case.history.tenant_restarts_day = 3;
        };
        check(Asked::Decide, if want == "nudge" { "nudge" } else { "advise" }, spent);
    }
}

#[test]
fn memory_that_nobody_saw_grow_is_not_restarted() {
    let decide = Asked::Decide;
    check(decide, "missing_evidence", full);
    check(decide, "missing_evidence", |case| growing(case, 0.0, 0.4));
    check(decide, "restart", |case| {
        full(case);
        case.evidence.rushes = true;
    });
    check(decide, "restart", |case| {
        full(case);
        case.evidence.symptoms.leaked_lately = true;
    });
    check(decide, "start_grace", |case| {
        full(case);
        case.evidence.container_age = Some(MINUTE);
    });
    check(Asked::Restart, "restart", full);
    check(decide, "nudge", |case| growing(case, 0.4, 0.0));
    human(decide, "memory is full and does not grow", |case| {
        growing(case, 0.4, 0.0);
        case.evidence.figures.episodes_7d = Some(1);
    });
    check(decide, "restart", |case| {
        growing(case, 0.4, 0.0);
        case.evidence.symptoms.earlier = Some(Cause::Leak);
    });
}

#[test]
fn a_kill_that_is_over_needs_no_restart() {
    let killed = |case: &mut Case| {
        full(case);
        case.evidence.symptoms.oom_events = Some(1.05);
        case.evidence.symptoms.working_set_ratio = Some(0.5);
    };
    check(Asked::Decide, "recovered", killed);
    check(Asked::Decide, "restart", |case| {
        killed(case);
        case.evidence.symptoms.oom_events = Some(2.1);
    });
    for (started, want) in [(true, "recovered"), (false, "restart")] {
        check(Asked::Decide, want, |case| {
            growing(case, 0.4, 0.4);
            case.evidence.symptoms.oom_events = Some(1.0);
            case.evidence.symptoms.working_set_ratio = Some(0.5);
            case.evidence.started_since_kill = started;
        });
    }
    for (pressed, want) in [(true, "host_pressure"), (false, "missing_evidence")] {
        check(Asked::Decide, want, |case| {
            case.evidence.symptoms.working_set_ratio = None;
            case.evidence.host_pressure = pressed;
        });
    }
}

#[test]
fn limits_that_are_not_the_plans_are_put_right_first() {
    let why = "its limits are not its plan's; redeploy with the plan's before offering another";
    human(Asked::Decide, why, |case| case.evidence.limit_drift = true);
    human(Asked::Decide, why, |case| {
        growing(case, 0.0, 0.0);
        case.evidence.limit_drift = true;
    });
    check(Asked::Decide, "restart", |case| {
        growing(case, 0.4, 0.4);
        case.evidence.limit_drift = true;
    });
}

#[test]
fn a_rule_that_asks_for_a_nudge_does_not_sell_what_would_not_help() {
    let nudge = Asked::Nudge;
    let why = "it leaks; a bigger plan only takes longer to fill";
    human(nudge, why, |case| growing(case, 0.4, 0.4));
    human(nudge, why, |case| case.evidence.symptoms.leaked_lately = true);
    check(nudge, "missing_evidence", full);
    check(nudge, "missing_evidence", |case| case.evidence.needed_bytes = None);
    for (held, want) in [(Some(0.3), "nothing_wrong"), (None, "missing_evidence")] {
        for asks in [nudge, Asked::Decide] {
            check(asks, want, |case| {
                case.evidence.symptoms =
                    Symptoms { working_set_ratio: held, ..Symptoms::default() };
            });
        }
    }
    check(nudge, "missing_evidence", |case| {
        throttled(case);
        case.evidence.symptoms.cpu_ratio = None;
    });
    check(nudge, "nudge", |case| {
        throttled(case);
        case.evidence.symptoms.leaked_lately = true;
    });
}

#[test]
fn a_nudge_offers_the_plan_that_would_have_fitted() {
    let fit = |direction, plan: Option<&str>, confidence| Fit {
        plan: plan.map(str::to_owned),
        direction,
        confidence,
        sentence: "on it, 38 % less".to_owned(),
    };
    let to = |fit: Fit| {
        let mut case = case(Asked::Nudge);
        case.label("plan", "free");
        case.evidence.fit = Some(fit);
        let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
        let params = proposal.action.params;
        params.get("to").or(params.get("why")).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    assert_eq!(to(fit(Direction::Up, Some("enterprise"), 0.1)), "enterprise");
    assert_eq!(to(fit(Direction::Up, Some("enterprise"), 0.09)), "pro", "seen too little");
    assert!(to(fit(Direction::NoneHelps, None, 1.0)).starts_with("no plan helps: on it"));
}
