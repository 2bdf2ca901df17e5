//! When mail is due, over days and outages, and over restarts.

use super::*;

const START: i64 = 1_795_312_800_000; // 2026-11-22T02:00:00Z
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: Timestamp(START) + monotonic }
}

fn plan(cron: &str) -> MailPlan {
    let schedule = Schedule::parse(cron).expect("a schedule");
    let zone = Zone::parse("+09:00").expect("an offset");
    MailPlan { digest: Some((schedule, zone)), urgent_after: Duration::from_secs(10 * MINUTE) }
}

/// What starts now, as words.
fn started(postman: &mut Postman, second: u64, plan: &MailPlan) -> Vec<&'static str> {
    let wanted = postman.wanted(at(second), plan);
    postman.start(at(second), &wanted, plan).into_iter().map(MailKind::name).collect()
}

/// The end of an attempt; whether it is to be written down.
fn settled(
    postman: &mut Postman,
    second: u64,
    kind: MailKind,
    result: &Result<(), MailFailure>,
) -> bool {
    postman.take_row();
    postman.settle(at(second), kind, result);
    postman.take_row().is_some()
}

fn failure(reason: &'static str) -> Result<(), MailFailure> {
    Err(MailFailure { reason, why: String::new() })
}

/// The same after a crash: only rows are left, and the monotonic clock begins anew.
fn recovered(postman: &Postman, second: u64) -> Postman {
    let (recovered, problem) = Postman::recover(&[postman.row()], at(second));
    assert_eq!(problem, None);
    recovered
}

#[test]
fn a_digest_goes_out_once_for_each_start_and_not_again_after_a_restart() {
    // 12:00 in +09:00 is 03:00 UTC: an hour after the start.
    let plan = plan("0 12 * * *");
    let mut postman = Postman::default();
    assert_eq!(started(&mut postman, 0, &plan), [""; 0], "the past is nobody's news");
    assert_eq!(postman.next(&plan).0, Some(at(3600).wall));
    assert_eq!(started(&mut postman, 3599, &plan), [""; 0]);
    assert_eq!(started(&mut postman, 3600, &plan), ["digest"]);
    assert_eq!(started(&mut postman, 3601, &plan), [""; 0], "it is under way");
    assert!(settled(&mut postman, 3602, MailKind::Digest, &Ok(())));
    assert_eq!(started(&mut postman, 3603, &plan), [""; 0]);
    let mut postman = recovered(&postman, 3700);
    assert_eq!(started(&mut postman, 3700, &plan), [""; 0], "not again in the same slot");
    assert_eq!(started(&mut postman, 3600 + DAY, &plan), ["digest"]);
    assert!(settled(&mut postman, 3610 + DAY, MailKind::Digest, &Ok(())));
    // Three starts passed while nobody was there: one digest makes up for them.
    let mut postman = recovered(&postman, 5 * DAY);
    assert_eq!(started(&mut postman, 5 * DAY, &plan), ["digest"]);
    assert!(settled(&mut postman, 5 * DAY, MailKind::Digest, &Ok(())));
    assert_eq!(started(&mut postman, 5 * DAY + 1, &plan), [""; 0]);
}

#[test]
fn what_fails_is_tried_again_less_and_less_often_and_gives_way_in_the_end() {
    let plan = plan("0 12 * * *");
    let mut postman = Postman::default();
    started(&mut postman, 0, &plan);
    postman.note_hold("cool_down");
    let (mut tries, mut gave_up) = (Vec::new(), None);
    for second in 3600..3600 + 8 * 3600 {
        if started(&mut postman, second, &plan) == ["digest"] {
            tries.push(second - 3600);
            if settled(&mut postman, second, MailKind::Digest, &failure("connect")) {
                gave_up = Some(second - 3600);
            }
        }
    }
    assert_eq!(&tries[..5], [0, 60, 180, 420, 900], "{tries:?}");
    assert!(tries.len() < 20, "{tries:?}");
    let gave_up = gave_up.expect("it gave way");
    assert!((6 * 3600..7 * 3600).contains(&gave_up), "{gave_up}");
    assert_eq!(tries.last(), Some(&gave_up), "and was not tried again");
    assert_eq!(postman.view.failed["connect"], tries.len() as u64);
    // The next one is, and tells what was never mailed.
    assert_eq!(started(&mut postman, 3600 + DAY, &plan), ["digest"]);
    assert_eq!(recovered(&postman, 9 * 3600).told_until(), Some(at(0).wall));
    assert_eq!(postman.held().0, [("cool_down", 1)]);
    assert!(settled(&mut postman, 3601 + DAY, MailKind::Digest, &Ok(())));
    assert_eq!(postman.told_until(), Some(at(3600 + DAY).wall));
    assert_eq!(postman.held(), (Vec::new(), None));
}

#[test]
fn an_outage_is_told_once_and_so_is_its_end() {
    let plan = MailPlan { digest: None, ..plan("@daily") };
    let (sink, down) = (Sink::ControlPlane, "refused");
    let mut postman = Postman::default();
    postman.note_up(at(0), sink);
    postman.note_down(at(10), sink, down);
    assert_eq!(postman.next(&plan).1, Some(at(610).monotonic));
    assert_eq!(started(&mut postman, 609, &plan), [""; 0]);
    postman.note_down(at(600), sink, down);
    assert_eq!(started(&mut postman, 610, &plan), ["unreachable"]);
    assert!(!settled(&mut postman, 611, MailKind::Unreachable(sink), &failure("timeout")));
    assert_eq!(started(&mut postman, 670, &plan), [""; 0]);
    assert_eq!(started(&mut postman, 671, &plan), ["unreachable"], "until it is sent");
    assert!(settled(&mut postman, 672, MailKind::Unreachable(sink), &Ok(())));
    assert_eq!(started(&mut postman, 9000, &plan), [""; 0]);
    // A restart within the outage repeats nothing, and believes in the end only what it saw.
    let mut postman = recovered(&postman, 9000);
    assert_eq!(started(&mut postman, 9000, &plan), [""; 0]);
    postman.note_down(at(9001), sink, down);
    assert_eq!(started(&mut postman, 9000 + DAY, &plan), [""; 0]);
    postman.note_up(at(9100 + DAY), sink);
    assert_eq!(started(&mut postman, 9100 + DAY, &plan), ["reachable"]);
    assert!(settled(&mut postman, 9101 + DAY, MailKind::Reachable(sink), &Ok(())));
    assert_eq!(started(&mut postman, 9200 + DAY, &plan), [""; 0]);
    let kinds: Vec<_> = postman.view.sent.into_iter().collect();
    assert_eq!(kinds, [("reachable", 1)]);
}

#[test]
fn a_short_outage_is_nobodys_night() {
    let plan = MailPlan { digest: None, ..plan("@daily") };
    let mut postman = Postman::default();
    for round in 0..20 {
        let second = round * 9 * MINUTE;
        postman.note_down(at(second), Sink::Alertmanager, "refused");
        assert_eq!(started(&mut postman, second + 8 * MINUTE, &plan), [""; 0]);
        postman.note_up(at(second + 8 * MINUTE), Sink::Alertmanager);
    }
    assert_eq!(postman.sent, Sent::default());
}

#[test]
fn a_clock_that_was_wrong_stops_no_digest_for_ever() {
    let plan = plan("0 12 * * *");
    let mut postman = Postman::default();
    postman.sent.digest = Some(at(400 * DAY).wall);
    assert_eq!(started(&mut postman, 0, &plan), [""; 0]);
    assert_eq!(started(&mut postman, 3600, &plan), ["digest"]);
    let damaged = Change { value: Some(b"?".to_vec()), ..postman.row() };
    let (postman, problem) = Postman::recover(&[damaged], at(0));
    assert_eq!(postman.sent, Sent::default());
    assert!(problem.expect("it is told").contains("mail/sent"));
}

#[test]
fn a_start_that_was_missed_long_ago_waits_for_the_next() {
    let plan = plan("@monthly");
    let mut postman = Postman::default();
    postman.sent.digest = Some(Timestamp(START - 30 * 86_400_000));
    assert_eq!(started(&mut postman, 0, &plan), [""; 0], "it is three weeks old");
    // Midnight of 1 December in +09:00.
    let next = at(8 * DAY + 13 * 3600).wall;
    assert_eq!(postman.next(&plan).0, Some(next));
    let mut early = Postman::default();
    early.sent.digest = Some(Timestamp(START - 30 * 86_400_000));
    assert_eq!(started(&mut early, 10 * DAY, &plan), ["digest"], "one of last week is made up for");
}

#[test]
fn a_digest_that_is_taken_after_the_next_start_is_not_that_starts() {
    let plan = plan("0 12,13 * * *");
    let mut postman = Postman::default();
    started(&mut postman, 0, &plan);
    assert_eq!(started(&mut postman, 2 * 3600 - 10, &plan), ["digest"]);
    assert!(settled(&mut postman, 2 * 3600 + 5, MailKind::Digest, &Ok(())));
    assert_eq!(postman.told_until(), Some(at(2 * 3600 - 10).wall));
    assert_eq!(started(&mut postman, 2 * 3600 + 6, &plan), ["digest"], "that of 13:00");
}

#[test]
fn a_clock_that_is_set_back_repeats_no_start_and_loses_no_day() {
    let (plan, step) = (plan("0 12 * * *"), |by: i64| by * 1000);
    for by in [-30, -5 * 3600, -10 * DAY as i64] {
        let mut postman = Postman::default();
        started(&mut postman, 0, &plan);
        assert_eq!(started(&mut postman, 3600, &plan), ["digest"]);
        assert!(settled(&mut postman, 3605, MailKind::Digest, &Ok(())));
        // Six hours later, as the host lived them.
        let now = Now { wall: Timestamp(at(6 * 3600).wall.0 + step(by)), ..at(6 * 3600) };
        postman.rebase(step(by), now);
        assert!(postman.take_row().is_some());
        let told = postman.told_until().expect("a digest was told");
        assert_eq!(now.wall.since(told).as_secs(), 5 * 3600, "{by}");
        assert_eq!(postman.wanted(now, &plan), [], "{by}");
        let next = postman.next(&plan).0.expect("another comes");
        assert!(next.since(now.wall) <= Duration::from_secs(25 * 3600), "{by}: {next:?}");
    }
}
