//! A restart that is due and refused: who hears of it, and when not.

use super::*;

fn told(case: &Case) -> Option<Decision> {
    let Decision::Hold { reason, .. } = case.decide() else { panic!("it is held") };
    let Case { incident, evidence, history, circumstances, config } = case;
    escalate(&Given { incident, evidence, history, circumstances }, reason, now(), config)
}

fn why(decision: &Decision) -> String {
    let Decision::Act(proposal) = decision else { panic!("{decision:?}") };
    assert_eq!(proposal.action.kind, ActionKind::Advise);
    assert_eq!(proposal.action.params["escalation"], "human");
    let why = proposal.action.params["why"].as_str().unwrap_or_default();
    why.strip_prefix("it needs a restart and is given none: ").unwrap_or(why).to_owned()
}

/// A leak whose tenant did not agree to restarts.
fn refusing(asks: Asked) -> Case {
    let mut case = case(asks);
    growing(&mut case, 0.4, 0.4);
    case.circumstances.opted_in = Some(BTreeSet::new());
    case
}

#[test]
fn a_refused_restart_reaches_a_person() {
    for asks in [Asked::Restart, Asked::Decide] {
        let decision = told(&refusing(asks)).expect("somebody hears of it");
        assert_eq!(why(&decision), "its tenant did not agree to restarts (`opt_in`)");
        let mut case = case(asks);
        growing(&mut case, 0.4, 0.4);
        case.label("role", "db");
        let db = told(&case).expect("told");
        assert_eq!(why(&db), "a container of the role `db` is never restarted");
        case.label("role", "");
        assert_eq!(told(&case), None, "it is nobody's");
    }
    let mut shared = case(Asked::Restart);
    shared.config.tenancy = Tenancy::Shared;
    let decision = told(&shared).expect("told");
    assert_eq!(why(&decision), "a restart would hit every tenant in it");
}

#[test]
fn gates_that_fail_refuse_only_when_that_lasts() {
    let mut case = case(Asked::Decide);
    growing(&mut case, 0.4, 0.4);
    case.evidence.gates_failing = true;
    let since = |minutes: i64| Timestamp(now().wall.0 - minutes * 60_000);
    case.incident.starts_at = since(9);
    assert_eq!(told(&case), None);
    case.incident.starts_at = since(10);
    let decision = told(&case).expect("ten minutes are no accident");
    assert_eq!(why(&decision), "its health, login or API fails, and a restart would hide why");
}

/// What else stands against the restart will pass, or has an end of its own.
#[test]
fn nobody_hears_of_what_is_not_due() {
    type Change = fn(&mut Case);
    let not_due: [Change; 9] = [
        |case| case.circumstances.kill_switch = true,
        |case| case.circumstances.inactive = Some("suspended".to_owned()),
        |case| case.circumstances.host_incident = true,
        |case| case.circumstances.maintenance = window(),
        |case| case.circumstances.busy = true,
        |case| case.evidence.container_age = Some(MINUTE),
        |case| case.evidence.recycle_due = true,
        |case| case.evidence.symptoms.growth_per_hour = None,
        |case| case.evidence.symptoms.working_set_ratio = Some(0.5),
    ];
    for (number, change) in not_due.iter().enumerate() {
        let mut case = refusing(Asked::Decide);
        change(&mut case);
        assert_eq!(told(&case), None, "{number}");
    }
    let mut nudge = case(Asked::Nudge);
    nudge.circumstances.opted_in = Some(BTreeSet::new());
    assert_eq!(told(&nudge), None, "whom nobody may speak to is not spoken of");
}

#[test]
fn it_is_told_once_and_as_its_mode_says() {
    let mut case = refusing(Asked::Decide);
    let decision = told(&case).expect("told");
    let Decision::Act(proposal) = &decision else { panic!("{decision:?}") };
    assert_eq!(proposal.action.mode, ActionMode::Request);
    case.history.asked.insert(proposal.action.dedup_key.clone(), None);
    assert_eq!(told(&case), None, "once in an episode");
    assert!(!case.incident.is_settled(&case.history), "the restart stays open");
    case.history.asked.clear();
    case.history.since = BTreeMap::from([(ActionKind::Advise, MINUTE)]);
    assert_eq!(told(&case), Some(decision), "whatever else was advised");
    case.history.escalated = Some(23 * 60 * MINUTE);
    assert_eq!(told(&case), None, "and once a day");
    case.history.escalated = None;
    case.config.modes.insert(ActionKind::Advise, Mode::Observe);
    let decision = told(&case).expect("recorded");
    assert!(decision.to_record().is_some() && decision.sent().is_none(), "{decision:?}");
}
