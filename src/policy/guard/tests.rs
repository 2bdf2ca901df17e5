//! The memory of the guards: what it counts, and what survives a restart.

use super::*;
use crate::outbox::{Action, ActionMode};

const WALL: i64 = 1_795_312_800_000;

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: Timestamp(WALL) + monotonic }
}

fn proposal(subject: &str, kind: ActionKind, key: &str) -> Proposal {
    let action = Action {
        kind,
        mode: ActionMode::Request,
        expires_at: WireTime(Timestamp(WALL)),
        dedup_key: key.to_owned(),
        params: BTreeMap::new(),
    };
    Proposal { subject: subject.to_owned(), tenant: "acme".to_owned(), action }
}

fn restarts(guards: &mut Guards, seconds: &[u64]) -> Vec<Change> {
    let record = |second: &u64| {
        let proposal = proposal("acme/app", ActionKind::Restart, &format!("k{second}"));
        guards.record((&proposal, Some(ActionMode::Request)), at(*second))
    };
    seconds.iter().map(record).collect()
}

fn history(guards: &Guards, subject: &str, now: Now) -> History {
    guards.history((subject, "acme"), now, &Limits::default(), &|_| false)
}

#[test]
fn a_step_of_the_wall_clock_opens_no_guard_at_the_next_start() {
    for hours in [-20_i64, 20] {
        let mut guards = Guards::default();
        let _ = restarts(&mut guards, &[0, 1000]);
        let by_ms = hours * 3_600_000;
        let rows = guards.rebase(by_ms);
        let stepped = |now: Now| Now { wall: Timestamp(now.wall.0 + by_ms), ..now };
        let (recovered, _) = Guards::recover(rows, stepped(at(1600)));
        let now = stepped(at(1600));
        let found = history(&recovered, "acme/app", now);
        assert_eq!(found.since[&ActionKind::Restart], Duration::from_secs(600), "{hours} h");
        assert_eq!((found.tenant_restarts_day, found.host_restarts_hour), (2, 2), "{hours} h");
    }
}

#[test]
fn history_counts_what_is_recent() {
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0, 1000]);
    let own = history(&guards, "acme/app", at(1500));
    assert_eq!(own.since[&ActionKind::Restart], Duration::from_secs(500));
    assert_eq!(own.asked.keys().collect::<Vec<_>>(), ["k0", "k1000"]);
    assert_eq!(own.host_restarts_hour, 2);
    assert_eq!((own.tenant_restarts_day, own.restarts_open), (2, 1), "k0's request has expired");
    let other = history(&guards, "acme/worker", at(1500));
    assert!(other.since.is_empty() && other.asked.is_empty());
    assert_eq!((other.tenant_restarts_day, other.restarts_open), (2, 1), "budgets span services");
    let strangers = guards.history(("x", "other"), at(1500), &Limits::default(), &|_| false);
    assert_eq!(strangers.tenant_restarts_day, 0);
    let taken = guards.open("k0").expect("no outcome is known").delivery_id;
    let open = |now| {
        let is_taken = |delivery: &str| delivery == taken;
        guards.history(("x", "acme"), now, &Limits::default(), &is_taken).restarts_open
    };
    assert_eq!(open(at(1500)), 2, "taken at the last moment it is under way beyond its expiry");
    assert_eq!(history(&guards, "acme/app", at(1000 + 86_400)).tenant_restarts_day, 0);
}

#[test]
fn a_tenant_is_spoken_to_as_one_whatever_the_service() {
    let (mut guards, limits) = (Guards::default(), Limits::default());
    let nudge = proposal("acme/app", ActionKind::Nudge, "k");
    let _ = guards.record((&nudge, Some(ActionMode::Request)), at(0));
    let other = history(&guards, "acme/worker", at(60));
    assert_eq!((other.since.len(), other.tenant_nudged), (0, Some(Duration::from_secs(60))));
    let strangers = guards.history(("x", "other"), at(60), &limits, &|_| false);
    assert_eq!(strangers.tenant_nudged, None);
    assert_eq!(guards.open("k").and_then(|asked| asked.mode), Some(ActionMode::Request));
    let observed = proposal("acme/web", ActionKind::Nudge, "o");
    let _ = guards.record((&observed, None), at(0));
    assert_eq!(guards.open("o").map(|asked| asked.mode), Some(None), "nobody heard of it");
}

#[test]
fn an_outcome_frees_the_host_and_is_remembered() {
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0]);
    assert!(guards.finish("unheard-of", "effective").is_none());
    assert!(guards.finish("k0", "effective").is_some_and(|change| change.value.is_some()));
    let history = history(&guards, "acme/app", at(1));
    assert_eq!(history.restarts_open, 0);
    assert_eq!(history.last.expect("there is one").result.as_deref(), Some("effective"));
    assert_eq!(history.asked["k0"].as_deref(), Some("effective"), "the episode stays asked");
}

#[test]
fn a_restart_of_the_sidecar_forgets_nothing() {
    let mut guards = Guards::default();
    let rows = restarts(&mut guards, &[0, 5000]);
    // Ten minutes later, a new process whose monotonic clock has just begun.
    let reborn = Now { monotonic: Duration::from_secs(2), wall: at(5600).wall };
    let last = rows.last().cloned();
    let foreign = Change { key: "budget/x".to_owned(), ..rows[0].clone() };
    let (after, problems) = Guards::recover(last.into_iter().chain([foreign]), reborn);
    assert!(problems.is_empty());
    let history = history(&after, "acme/app", reborn);
    assert_eq!(history.since[&ActionKind::Restart], Duration::from_secs(600));
    assert_eq!((history.tenant_restarts_day, history.restarts_open), (2, 1));
    let bad = Change { value: Some(b"?".to_vec()), ..rows[0].clone() };
    assert_eq!(Guards::recover([bad], reborn).1.len(), 1);
}

#[test]
fn a_step_of_the_wall_clock_moves_no_guard() {
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0]);
    for wall in [WALL - 86_400_000, WALL + 86_400_000_000] {
        let stepped = Now { wall: Timestamp(wall), ..at(60) };
        let history = history(&guards, "acme/app", stepped);
        assert_eq!(history.since[&ActionKind::Restart], Duration::from_secs(60));
    }
}

#[test]
fn what_cannot_matter_is_forgotten() {
    let limits = Limits::default();
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0]);
    let memory = limits.memory().as_secs();
    let (ill, nobody) = (BTreeSet::from(["acme/app".to_owned()]), BTreeSet::new());
    assert!(guards.prune(at(memory - 1), &limits, &nobody).is_empty());
    assert!(guards.prune(at(2 * memory), &limits, &ill).is_empty(), "its alert still holds");
    let [gone] = &guards.prune(at(memory), &limits, &nobody)[..] else { panic!("one row") };
    assert_eq!((gone.key.as_str(), &gone.value), ("actions/acme/app", &None));
    assert_eq!(guards, Guards::default());
}

#[test]
fn what_is_old_is_told_apart_and_forgotten_by_its_key() {
    let limits = Limits::default();
    let late = at(limits.memory().as_secs());
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0, 1]);
    let old = guards.old("acme/app", late, &limits);
    assert_eq!(old, BTreeSet::from(["k0".to_owned()]));
    assert_eq!(guards.old("acme/web", late, &limits), BTreeSet::new());
    assert_eq!(
        guards.forget("acme/app", &BTreeSet::new()),
        None,
        "what stands is known beyond its time"
    );
    assert_eq!(guards.forget("acme/web", &old), None);
    let row = guards.forget("acme/app", &old).expect("it is written down");
    let known = |guards: &Guards| ["k0", "k1"].map(|key| guards.knows(key));
    assert_eq!(known(&guards), [false, true]);
    assert_eq!(known(&Guards::recover([row], late).0), [false, true]);
}

#[test]
fn restarts_without_effect_are_counted_back_from_the_last() {
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0, 1000, 2000, 3000]);
    for (key, result) in [("k0", "ineffective"), ("k1000", "effective"), ("k2000", "relapsed")] {
        assert!(guards.finish(key, result).is_some());
    }
    let count = |guards: &Guards| guards.own_history("acme/app", at(3001)).restarts_without_effect;
    assert_eq!(count(&guards), 0, "nobody knows yet how the last one ended");
    assert!(guards.finish("k3000", "ineffective").is_some());
    assert_eq!(count(&guards), 2);
}

#[test]
fn the_end_of_an_alert_changes_no_outcome_and_a_relapse_does() {
    for (before, word, want) in [
        ("ineffective", "resolved", "ineffective"),
        ("expired", "resolved", "expired"),
        ("declined", "done", "done"),
        ("declined", "ineffective", "ineffective"),
        ("declined", "resolved", "declined"),
        ("effective", "relapsed", "relapsed"),
        ("withdrawn", "done", "done"),
        ("resolved", "resolved", "resolved"),
    ] {
        let mut guards = Guards::default();
        let _ = restarts(&mut guards, &[0]);
        assert!(guards.finish("k0", before).is_some());
        assert_eq!(guards.finish("k0", word).is_some(), before != want, "{before}, {word}");
        let asked = guards.own_history("acme/app", at(1)).asked;
        assert_eq!(asked["k0"].as_deref(), Some(want));
    }
}

#[test]
fn what_nobody_carried_out_is_no_restart() {
    for void in ["expired", "withdrawn", "declined"] {
        let mut guards = Guards::default();
        let _ = restarts(&mut guards, &[0, 1000, 2000]);
        assert!(guards.finish("k0", "ineffective").is_some());
        assert!(guards.finish("k1000", "ineffective").is_some());
        assert!(guards.finish("k2000", void).is_some());
        let found = history(&guards, "acme/app", at(2060));
        assert_eq!((found.tenant_restarts_day, found.host_restarts_hour), (2, 2), "{void}");
        assert_eq!(found.since[&ActionKind::Restart], Duration::from_secs(1060), "{void}");
        assert_eq!((found.restarts_without_effect, found.restarts_open), (2, 0), "{void}");
        let id = proposal("acme/app", ActionKind::Restart, "k2000").delivery_id(at(2000));
        let row = guards.maybe_done(&id.0).expect("it is remembered");
        assert!(guards.maybe_done(&id.0).is_none(), "that is no news");
        let (recovered, _) = Guards::recover([row], at(2060));
        for guards in [&guards, &recovered] {
            let found = history(guards, "acme/app", at(2060));
            assert_eq!(found.tenant_restarts_day, 3, "{void}, and it may have been done");
        }
    }
    let mut guards = Guards::default();
    for (key, result, heard) in [("w", "withdrawn", false), ("d", "declined", true)] {
        let nudge = proposal("acme/app", ActionKind::Nudge, key);
        let _ = guards.record((&nudge, Some(ActionMode::Request)), at(0));
        assert!(guards.finish(key, result).is_some());
        assert_eq!(history(&guards, "acme/app", at(1)).tenant_nudged.is_some(), heard, "{result}");
    }
}

#[test]
fn the_start_of_a_restart_is_known_whoever_tells_of_it() {
    let mut guards = Guards::default();
    let _ = restarts(&mut guards, &[0]);
    let id = proposal("acme/app", ActionKind::Restart, "k0").delivery_id(at(0));
    let start = at(60).wall;
    assert!(guards.started(&id.0, start).is_some());
    for (later_ms, want) in [(-3001, None), (-400, Some("k0")), (400, Some("k0")), (3001, None)] {
        let told = Timestamp(start.0 + later_ms);
        assert_eq!(guards.restart_at("acme/app", told, at(90)), want, "{later_ms} ms");
    }
}

#[test]
fn what_was_only_observed_counts_no_more_where_it_may_be_done() {
    let mut guards = Guards::default();
    let mut note = |kind, key: &str, sent| {
        let _ = guards.record((&proposal("acme/app", kind, key), sent), at(0));
        let _ = guards.finish(key, "resolved");
    };
    note(ActionKind::Restart, "seen", None);
    note(ActionKind::Restart, "asked", Some(ActionMode::Request));
    note(ActionKind::Nudge, "shown", Some(ActionMode::DryRun));
    note(ActionKind::Advise, "said", None);
    let counted = |guards: &Guards| {
        let known = history(guards, "acme/app", at(60));
        (known.tenant_restarts_day, known.tenant_nudged.is_some(), known.since.len())
    };
    assert_eq!(counted(&guards), (2, true, 3));
    let as_it_was = guards.clone();
    assert_eq!(guards.withdraw_below(|_| Mode::Observe, |_| false), []);
    assert_eq!(guards.withdraw_below(|_| Mode::Act, |_| true), [], "an old row may have been sent");
    assert_eq!(guards, as_it_was);
    assert_eq!(guards.withdraw_below(|_| Mode::Act, |_| false).len(), 1, "one row a subject");
    assert_eq!(counted(&guards), (1, false, 2));
    assert_eq!(guards.withdraw_below(|_| Mode::Act, |_| false), [], "once");
}

#[test]
fn a_call_for_a_human_and_other_advice_leave_each_other_alone() {
    let mut guards = Guards::default();
    let mut call = proposal("acme/app", ActionKind::Advise, "call");
    call.action.params.insert("escalation".to_owned(), "human".into());
    let rows = [guards.record((&call, Some(ActionMode::Request)), at(0))];
    let (guards, _) = Guards::recover(rows, at(60));
    let own = history(&guards, "acme/app", at(60));
    assert_eq!((own.escalated, own.since.len()), (Some(Duration::from_secs(60)), 0));
}
