//! What is left alone because it goes by itself, is our own fault, or needs less than it has.

use super::*;

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
