//! What is left alone because it goes by itself, is our own fault, or needs less than it has.

use super::*;
use crate::policy::Plans;

#[test]
fn a_restart_waits_for_workers_that_start_anew_by_themselves() {
    let due = |case: &mut Case| case.evidence.recycle_due = true;
    check(Asked::Restart, "recycle_due", due);
    check(Asked::Decide, "recycle_due", due);
    check(Asked::Nudge, "nudge", due);
}

#[test]
fn nobody_is_asked_to_pay_for_a_bad_image() {
    let bad = |case: &mut Case| case.evidence.bad_image = true;
    check(Asked::Nudge, "bad_image", bad);
    check(Asked::Restart, "restart", bad);
    human(Asked::Decide, "its restarts of today are spent", |case| {
        bad(case);
        case.history.tenant_restarts_day = 3;
    });
}

#[test]
fn a_smaller_plan_that_would_do_is_told_and_not_sold() {
    let fitted = |direction, confidence| {
        move |case: &mut Case| {
            let plan = (direction != Direction::NoneHelps).then(|| "free".to_owned());
            let sentence = "on free, …".to_owned();
            case.evidence.fit = Some(Fit { plan, direction, confidence, sentence });
        }
    };
    check(Asked::Nudge, "present_plan_fits", fitted(Direction::Stay, 1.0));
    check(Asked::Nudge, "present_plan_fits", fitted(Direction::Down, 0.5));
    check(Asked::Nudge, "advise", fitted(Direction::NoneHelps, 1.0));
    let mut case = case(Asked::Nudge);
    fitted(Direction::Down, 1.0)(&mut case);
    let Decision::Act(proposal) = case.decide() else { panic!("{:?}", case.decide()) };
    let params = proposal.action.params;
    let told = |name: &str| params.get(name).and_then(Value::as_str);
    assert_eq!(proposal.action.kind, ActionKind::Advise);
    assert_eq!(told("why"), Some("a smaller plan would do: on free, …"));
    assert_eq!((told("current"), told("recommended")), (Some("pro"), Some("free")));
}

#[test]
fn a_nudge_says_how_sure_it_is_and_when_it_is_not() {
    let offered = |fit: Option<f64>| {
        let mut case = case(Asked::Nudge);
        throttled(&mut case);
        case.evidence.fit = fit.map(|confidence| Fit {
            plan: Some("enterprise".to_owned()),
            direction: Direction::Up,
            confidence,
            sentence: "on enterprise, …".to_owned(),
        });
        let Decision::Act(proposal) = case.decide() else { panic!("{:?}", case.decide()) };
        assert_eq!(proposal.action.kind, ActionKind::Nudge);
        let params = proposal.action.params;
        (params["confidence"].as_f64(), params["fit"].as_str().unwrap_or_default().to_owned())
    };
    let unsure = "not compared: less than 2h24m of demand were seen";
    assert_eq!(
        offered(Some(0.5)),
        (Some(0.5), "throttled in 60 % of its periods; on enterprise, …".to_owned())
    );
    assert_eq!(offered(Some(0.05)), (Some(0.05), unsure.to_owned()));
    assert_eq!(offered(None), (Some(0.0), unsure.to_owned()));
}

#[test]
fn what_a_fit_needs_is_configurable() {
    // 1.5 GB are needed of pro's 2 GiB.
    let needs = |memory: f64| {
        move |case: &mut Case| {
            case.label("plan", "free");
            case.evidence.needed_bytes = Some(1.5e9);
            case.config.fitting.memory = memory;
        }
    };
    check(Asked::Nudge, "nudge", needs(0.9));
    check(Asked::Nudge, "next_plan_too_small", needs(0.5));
    let seen = |least: f64| {
        move |case: &mut Case| {
            case.config.fitting.confidence = least;
            let (direction, plan) = (Direction::Stay, Some("pro".to_owned()));
            let sentence = String::new();
            case.evidence.fit = Some(Fit { plan, direction, confidence: 0.5, sentence });
        }
    };
    check(Asked::Nudge, "present_plan_fits", seen(0.5));
    check(Asked::Nudge, "nudge", seen(0.6));
}

#[test]
fn who_is_throttled_is_offered_cpu() {
    let top = |cores| {
        move |case: &mut Case| {
            throttled(case);
            let mut plans: Vec<Plan> = case.config.plans.iter().cloned().collect();
            // As much as `pro` has, or more.
            plans.last_mut().expect("enterprise").cpu_limit_cores = cores;
            case.config.plans = Plans::new(plans).expect("a catalogue");
        }
    };
    check(Asked::Nudge, "nudge", top(4.0));
    check(Asked::Nudge, "advise", top(1.5));
    let between = |case: &mut Case| {
        throttled(case);
        let mut plans: Vec<Plan> = case.config.plans.iter().cloned().collect();
        let pro = plans[1].clone();
        plans[2].order += 1;
        plans.push(Plan { name: "memory".to_owned(), order: pro.order + 1, ..pro });
        case.config.plans = Plans::new(plans).expect("a catalogue");
    };
    let mut case = case(Asked::Nudge);
    between(&mut case);
    let Decision::Act(proposal) = case.decide() else { panic!("{:?}", case.decide()) };
    assert_eq!(proposal.action.params["to"], "enterprise", "the first that has more");
}
