//! One request through its life, minute by minute.

use super::*;
use crate::base::Table;

const START: i64 = 1_795_312_800_000;
const MINUTE: u64 = 60;

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: Timestamp(START) + monotonic }
}

fn watching() -> Verifier {
    let mut verifier = Verifier::default();
    let _ = verifier.begin(Request {
        dedup_key: "k".to_owned(),
        delivery_id: "evt_1".to_owned(),
        subject: "acme/app".to_owned(),
        started_before: Some(Timestamp(0)),
        cpu_seconds_before: Some(500.0),
        asked_at: at(0).wall,
        expires_at: at(15 * MINUTE).wall,
        ..Request::default()
    });
    verifier
}

fn accepted() -> Verifier {
    let mut verifier = watching();
    let change = verifier.accepted("evt_1", (None, None), at(0), &VerifyConfig::default());
    assert!(change.is_some());
    verifier
}

const GOOD: Seen = Seen {
    started_at: Some(Timestamp(START)),
    docker_started_at: None,
    cpu_seconds: None,
    ratio: Some(0.3),
    gates_failing: false,
    gates: Vec::new(),
    alert_firing: false,
    watched_for: Duration::from_secs(3600),
};

/// What is told when this was seen at these seconds, as `second:outcome`.
#[track_caller]
fn check(mut verifier: Verifier, seen: &[(u64, &Seen)], want: &[&str]) {
    let config = VerifyConfig::default();
    let told: Vec<String> = seen
        .iter()
        .filter_map(|(second, seen)| {
            let (verdict, change) = verifier.check("k", seen, at(*second), &config);
            assert!(verdict.is_none() || change.is_some(), "a verdict is durable");
            verdict.map(|verdict| format!("{second}:{}", verdict.outcome.name()))
        })
        .collect();
    assert_eq!(told, want);
}

#[test]
fn it_helped_if_the_condition_held() {
    check(accepted(), &[(60, &GOOD), (119, &GOOD), (120, &GOOD), (180, &GOOD)], &["120:effective"]);
    let bad = Seen { ratio: Some(0.8), ..GOOD };
    check(
        accepted(),
        &[(60, &GOOD), (90, &bad), (120, &GOOD), (179, &GOOD), (180, &GOOD)],
        &["180:effective"],
    );
    check(watching(), &[(60, &GOOD), (600, &GOOD)], &[]);
}

/// Whoever was away over the deadline has asked no door and scraped nothing yet.
#[test]
fn nothing_is_held_against_it_before_anybody_has_looked() {
    let early = |seconds| Seen { ratio: None, watched_for: Duration::from_secs(seconds), ..GOOD };
    let (first, last, late) = (early(0), early(119), early(120));
    check(accepted(), &[(1000, &first), (1119, &last)], &[]);
    check(accepted(), &[(1000, &first), (1120, &late)], &["1120:ineffective"]);
    check(accepted(), &[(1000, &first), (1020, &GOOD), (1080, &GOOD)], &["1080:effective"]);
}

#[test]
fn it_did_not_if_anything_is_missing_at_the_deadline() {
    let unchanged = Seen { started_at: Some(Timestamp(0)), ..GOOD };
    let failing = Seen { gates_failing: true, ..GOOD };
    let firing = Seen { alert_firing: true, ..GOOD };
    let blind = Seen { ratio: None, ..GOOD };
    let high = Seen { ratio: Some(0.8), ..GOOD };
    let gate = |gate: &str, passes, value: &str| {
        let (gate, value) = (gate.to_owned(), value.to_owned());
        Seen { gates: vec![GateSeen { gate, passes, value }], ..GOOD }
    };
    let shut = gate("login", Some(false), "502");
    let unasked = gate("api", None, "");
    for (bad, why) in [
        (unchanged, "not restarted"),
        (failing, "gate"),
        (firing, "still fires"),
        (blind, "no fresh sample"),
        (high, "still high"),
        (shut, "the gate login fails: 502"),
        (unasked, "the gate api was not heard of"),
    ] {
        check(accepted(), &[(599, &bad), (600, &bad), (601, &bad)], &["600:ineffective"]);
        let (verdict, _) = accepted().check("k", &bad, at(600), &VerifyConfig::default());
        let verdict = verdict.expect("the deadline is over");
        assert!(verdict.why.contains(why), "{}", verdict.why);
        assert_eq!(verdict.verification.result.as_deref(), Some("ineffective"));
    }
    // Good at the deadline, but not yet for long enough: it is given that time.
    check(accepted(), &[(590, &GOOD), (600, &GOOD), (650, &GOOD)], &["650:effective"]);
    let unknown_start = Seen { started_at: None, ..GOOD };
    check(accepted(), &[(60, &unknown_start), (120, &unknown_start)], &["120:effective"]);
}

/// cAdvisor before v0.57 shows for ever when a container was made.
#[test]
fn a_restart_is_seen_though_the_start_time_stands_still() {
    let still = Seen { started_at: Some(Timestamp(0)), ..GOOD };
    let used = |seconds| Seen { cpu_seconds: Some(seconds), ..still.clone() };
    let docker = |second| Seen { docker_started_at: Some(at(second).wall), ..still.clone() };
    let told = |ms| Seen { started_at: Some(Timestamp(ms)), ..GOOD };
    let effective: &[&str] = &["90:effective"];
    for (first, then, want) in [
        (used(1.0), used(2.0), effective),
        (used(1.0), used(600.0), effective),
        (docker(10), docker(10), effective),
        (used(501.0), used(502.0), &[]),
        (docker(0), docker(0), &[]),
        (still.clone(), still.clone(), &[]),
        // The same start, as another tells it.
        (told(400), told(400), &[]),
        (told(4000), told(4000), effective),
    ] {
        check(accepted(), &[(30, &first), (90, &then)], want);
    }
}

#[test]
fn trouble_that_comes_back_is_a_relapse() {
    let firing = Seen { alert_firing: true, ..GOOD };
    check(
        accepted(),
        &[(0, &GOOD), (60, &GOOD), (3659, &firing)],
        &["60:effective", "3659:relapsed"],
    );
    check(
        accepted(),
        &[(0, &GOOD), (60, &GOOD), (3660, &GOOD), (3661, &firing)],
        &["60:effective"],
    );
}

#[test]
fn the_receiver_has_a_say() {
    let config = VerifyConfig::default();
    let until = |seconds| Some(at(seconds).wall);
    for (said, deadline) in
        [(None, 600), (until(900), 900), (until(5), 600), (until(1 << 30), 86_400)]
    {
        let mut verifier = watching();
        let change_id = Some("chg_7".to_owned());
        let _ = verifier.accepted("evt_1", (change_id, said), at(0), &config);
        assert!(verifier.accepted("evt_1", (None, None), at(9), &config).is_none(), "once");
        let bad = Seen { ratio: Some(0.9), ..GOOD };
        assert_eq!(verifier.check("k", &bad, at(deadline - 1), &config).0, None);
        let verdict = verifier.check("k", &bad, at(deadline), &config).0.expect("is due");
        assert_eq!(verdict.verification.change_id.as_deref(), Some("chg_7"));
        assert_eq!(verdict.verification.deadline, Some(WireTime(at(deadline).wall)));
    }
    let mut verifier = watching();
    assert!(verifier.accepted("evt_2", (None, None), at(0), &config).is_none(), "nobody asked");
    assert!(verifier.dropped("evt_2", Outcome::Declined, "busy").is_none());
    let (verdict, change) = verifier.dropped("evt_1", Outcome::Declined, "busy").expect("watched");
    assert_eq!(
        (verdict.outcome, verdict.why.as_str(), change.value),
        (Outcome::Declined, "busy", None)
    );
    assert_eq!(verifier, Verifier::default());
}

/// A bare 2xx says that it was heard; the receipt that follows says for when, and which change it is.
#[test]
fn a_later_word_names_the_time_and_the_change() {
    let config = VerifyConfig::default();
    let until = |seconds| Some(at(seconds).wall);
    let bad = Seen { ratio: Some(0.9), ..GOOD };
    for (said, deadline) in [(3600, 3600), (5, 600), (1 << 30, 9 + 86_400)] {
        let mut verifier = accepted();
        let change_id = || Some("chg_17".to_owned());
        let change = verifier.accepted("evt_1", (change_id(), until(said)), at(9), &config);
        assert_eq!(Verifier::recover(change).0, verifier, "durable");
        let again = verifier.accepted("evt_1", (change_id(), until(said)), at(9), &config);
        assert_eq!(again, None, "that is no news");
        assert_eq!(
            verifier.accepted("evt_1", (None, until(700)), at(9), &config).is_some(),
            deadline < 700
        );
        let deadline = deadline.max(700);
        assert_eq!(verifier.check("k", &bad, at(deadline - 1), &config).0, None);
        let verdict = verifier.check("k", &bad, at(deadline), &config).0.expect("is due");
        assert_eq!(verdict.verification.change_id, change_id());
    }
    let mut verifier = accepted();
    let _ = verifier.check("k", &GOOD, at(60), &config);
    let _ = verifier.accepted("evt_1", (None, until(3600)), at(90), &config);
    check(verifier, &[(120, &GOOD)], &["120:effective"]);
}

#[test]
fn a_request_nobody_ever_mentions_again_is_given_up() {
    let end = 25 * MINUTE;
    check(watching(), &[(end, &GOOD), (end + 1, &GOOD)], &["1501:expired"]);
}

#[test]
fn a_crash_forgets_no_open_question_and_a_clock_step_none_either() {
    let mut verifier = watching();
    let row = verifier.accepted("evt_1", (None, None), at(0), &VerifyConfig::default());
    let bad =
        Change { key: format!("{PREFIX}x"), value: Some(b"?".to_vec()), table: Table::Guards };
    let (recovered, problems) = Verifier::recover(row.into_iter().chain([bad]));
    assert_eq!((problems.len(), &recovered), (1, &verifier));
    let mut stepped = recovered;
    let rows = stepped.rebase(-3_600_000);
    assert_eq!(Verifier::recover(rows).0, stepped, "nor one before a crash");
    let now = Now { wall: Timestamp(START - 3_600_000) + Duration::from_secs(599), ..at(599) };
    let high = Seen { ratio: Some(0.95), started_at: None, ..GOOD };
    assert_eq!(stepped.check("k", &high, now, &VerifyConfig::default()).0, None);
}

#[test]
fn that_it_was_started_anew_is_known_over_a_restart_of_ours() {
    let mut verifier = accepted();
    let config = VerifyConfig::default();
    // cAdvisor before v0.57: only the CPU time that has fallen tells.
    let fell = Seen { started_at: None, cpu_seconds: Some(3.0), ..GOOD };
    let (_, change) = verifier.check("k", &fell, at(60), &config);
    let (mut again, _) = Verifier::recover(change);
    let risen = Seen { started_at: Some(Timestamp(0)), cpu_seconds: Some(900.0), ..GOOD };
    assert!(again.check("k", &risen, at(90), &config).0.is_none());
    let (verdict, _) = again.check("k", &risen, at(150), &config);
    assert_eq!(verdict.map(|verdict| verdict.outcome), Some(Outcome::Effective));
}

#[test]
fn when_it_was_asked_for_moves_with_the_clock() {
    let mut verifier = accepted();
    let _ = verifier.rebase(-3_600_000);
    let asked_at = verifier.requests().next().expect("one").asked_at;
    assert_eq!(asked_at, at(0).wall - Duration::from_secs(3600));
}
