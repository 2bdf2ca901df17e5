//! What is asked for anew because it is void, and what stands against a request that waits.

use super::*;

#[test]
fn what_is_void_is_asked_for_anew_under_another_key_and_a_person_hears_of_it_in_the_end() {
    for void in ["withdrawn", "expired"] {
        let mut case = case(Asked::Decide);
        let mut keys = BTreeSet::new();
        let proposed = |case: &Case| match case.decide() {
            Decision::Act(proposal) => proposal.action,
            Decision::Hold { reason, .. } => panic!("held: {}", reason.name()),
        };
        let mut action = proposed(&case);
        while action.kind == ActionKind::Restart {
            let key = action.dedup_key;
            case.history.asked.insert(key.clone(), None);
            assert!(case.incident.is_settled(&case.history), "it waits");
            case.history.asked.insert(key.clone(), Some(void.to_owned()));
            assert!(!case.incident.is_settled(&case.history));
            assert!(keys.insert(key), "no key twice");
            action = proposed(&case);
        }
        assert_eq!((keys.len(), action.kind), (10, ActionKind::Advise));
        assert_eq!(action.params["escalation"], "human");
    }
}

#[test]
fn what_ran_out_waits_until_the_receiver_has_heard_so() {
    for asks in [Asked::Restart, Asked::Decide, Asked::Nudge, Asked::Advise] {
        let mut case = case(asks);
        let Decision::Act(proposal) = case.decide() else { panic!("it acts") };
        let key = proposal.action.dedup_key;
        case.history.asked.insert(key.clone(), Some("expired".to_owned()));
        case.history.unheard.insert(key);
        let Decision::Hold { reason, .. } = case.decide() else { panic!("it holds") };
        assert_eq!(reason, HoldReason::Unheard, "{asks:?}");
    }
}

/// Other plans than there were: name and GiB of memory.
fn catalogue(case: &mut Case, plans: &[(&str, f64)]) {
    let plan = |(order, (name, gib)): (u32, &(&str, f64))| Plan {
        name: (*name).to_owned(),
        order,
        mem_limit_bytes: (gib * GIB) as u64,
        mem_soft_bytes: 0,
        cpu_limit_cores: 1.5,
    };
    let plans = (1..).zip(plans).map(plan).collect();
    case.config.plans = Plans::new(plans).expect("a catalogue");
}

/// A change of a case, and the reason that then stands against it.
type Against = (fn(&mut Case), &'static str);

/// What stands against a request that waits, after one change.
#[test]
fn guards_hold_until_a_request_has_left() {
    let stands = |asks, change: fn(&mut Case)| {
        let mut case = case(asks);
        let Decision::Act(Proposal { action, .. }) = case.decide() else { panic!("it acts") };
        case.history.asked.insert(action.dedup_key.clone(), None);
        case.history.since = BTreeMap::from([(action.kind, Duration::ZERO)]);
        (case.history.tenant_restarts_day, case.history.host_restarts_hour) = (3, 6);
        case.history.restarts_open = 1;
        change(&mut case);
        let Case { incident, evidence, history, circumstances, config } = &case;
        let given = Given { incident, evidence, history, circumstances };
        still_stands(&action, &given, config).map(HoldReason::name)
    };
    assert_eq!(stands(Asked::Restart, |_| {}), None, "it is not in its own way");
    assert_eq!(stands(Asked::Nudge, |_| {}), None);
    let changes: [Against; 9] = [
        (|case| case.circumstances.kill_switch = true, "kill_switch"),
        (|case| case.circumstances.host_incident = true, "host_incident"),
        (|case| case.circumstances.maintenance = window(), "maintenance"),
        (|case| case.circumstances.inactive = Some("gone".to_owned()), "tenant_not_active"),
        (|case| case.incident.unknown = true, "alert_unknown"),
        (|case| case.evidence.has_ended = true, "stale_evidence"),
        (|case| case.evidence.sample_age = 3 * MINUTE, "stale_evidence"),
        (|case| case.evidence.change_age = Some(MINUTE), "recent_change"),
        (|case| case.config.mode = Mode::Notify, "observe"),
    ];
    for (change, want) in changes {
        assert_eq!(stands(Asked::Restart, change), Some(want));
        assert_eq!(stands(Asked::Nudge, change), Some(want));
    }
    let offers: [Against; 4] = [
        (|case| catalogue(case, &[("free", 1.0), ("pro", 2.0)]), "offer_outdated"),
        (|case| catalogue(case, &[("free", 1.0), ("pro", 2.0), ("max", 8.0)]), "offer_outdated"),
        (|case| case.label("plan", "enterprise"), "offer_outdated"),
        (|case| case.evidence.needed_bytes = Some(7.9 * GIB), "next_plan_too_small"),
    ];
    for (change, want) in offers {
        assert_eq!(stands(Asked::Nudge, change), Some(want));
    }
    let quiet: fn(&mut Case) = |case| case.circumstances.quiet_hours = window();
    assert_eq!(
        (stands(Asked::Restart, quiet), stands(Asked::Nudge, quiet)),
        (None, Some("quiet_hours"))
    );
    let busy: fn(&mut Case) = |case| case.circumstances.busy = true;
    assert_eq!((stands(Asked::Restart, busy), stands(Asked::Nudge, busy)), (Some("busy"), None));
    let gates: fn(&mut Case) = |case| case.evidence.gates_failing = true;
    assert_eq!(
        (stands(Asked::Restart, gates), stands(Asked::Nudge, gates)),
        (Some("gates_failing"), None)
    );
}
