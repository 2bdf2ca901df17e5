//! The level lane by the second: what an instance hears of one alert, whatever happens to both.

use super::super::{AlertState, ResolveReason};
use super::*;
use crate::base::Labels;

const CONFIG: PresenterConfig = PresenterConfig {
    resend_delay: Duration::from_secs(60),
    hold: Duration::from_secs(6),
    is_fixed: false,
    max_hold: Duration::from_secs(3600),
};
const INTERVAL: Duration = Duration::from_secs(5);

fn firing(at_s: i64) -> Alert {
    let at = Timestamp(at_s * 1000);
    let labels = Labels::from_pairs([("alertname", "A")]);
    Alert { state: AlertState::Firing, fired_at: Some(at), ..Alert::pending(labels, 1.0, at) }
}

fn ended(alert: &Alert, at_s: i64) -> Alert {
    Alert {
        state: AlertState::Resolved,
        resolved: Some((Timestamp(at_s * 1000), ResolveReason::ConditionCleared)),
        ..alert.clone()
    }
}

fn at(second: i64) -> Now {
    Now { monotonic: Duration::from_secs(second.unsigned_abs()), wall: Timestamp(second * 1000) }
}

fn one() -> Presenter {
    Presenter::new(CONFIG, &["am".to_owned()])
}

fn due(presenter: &mut Presenter, second: i64, alert: &Alert) -> Due {
    let moment = Moment { now: at(second), at: at(second).wall, interval: INTERVAL };
    presenter.due(moment, std::iter::once((alert, "v > 0")))
}

/// Asks for posts at a second; answers them; writes the phase of the one alert, or `-`.
fn ask(presenter: &mut Presenter, second: i64, alert: &mut Alert, up: bool) -> String {
    let now = at(second);
    let posts = due(presenter, second, alert).posts;
    let Some(post) = posts.first() else { return "-".to_owned() };
    let verdict = if up { Verdict::Accepted } else { Verdict::Failed("connection refused".into()) };
    if !presenter.settle(post.id, verdict, now).is_empty() {
        alert.accepted_at.get_or_insert(now.wall);
    }
    format!("{:?}", post.alerts[0].phase)
}

#[test]
fn level_is_repeated_as_prometheus_repeats_it() {
    let mut presenter = one();
    let mut alert = firing(0);
    let mut sent = Vec::new();
    for second in (0..=250).step_by(5) {
        if second == 120 {
            alert = ended(&alert, 120);
        }
        if ask(&mut presenter, second, &mut alert, true) != "-" {
            sent.push(second);
        }
    }
    assert_eq!(sent, [0, 65, 120, 185, 250], "as measured on Prometheus 2.42");
}

#[test]
fn ends_at_is_four_resend_periods_ahead_and_true_when_resolved() {
    let mut presenter = one();
    let mut alert = firing(0);
    let posts = due(&mut presenter, 0, &alert).posts;
    assert_eq!(posts[0].alerts[0].ends_at, Timestamp(240_000));
    presenter.settle(posts[0].id, Verdict::Accepted, at(0));
    alert = ended(&alert, 50);
    alert.accepted_at = Some(Timestamp(0));
    let posts = due(&mut presenter, 55, &alert).posts;
    assert_eq!(posts[0].alerts[0].ends_at, Timestamp(50_000));
}

#[test]
fn what_could_be_told_only_just_before_its_end_is_held_until_it_was_grouped() {
    let mut presenter = one();
    let mut alert = firing(0);
    assert_eq!(ask(&mut presenter, 0, &mut alert, false), "Firing");
    assert_eq!(ask(&mut presenter, 10, &mut alert, true), "Firing");
    alert = ended(&alert, 11);
    assert_eq!(ask(&mut presenter, 12, &mut alert, true), "-", "it is shown as firing");
    assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(16)));
    assert_eq!(ask(&mut presenter, 16, &mut alert, true), "LateResolved");

    // One that goes on waits for nothing and wakes nobody.
    let mut presenter = one();
    let mut alert = firing(0);
    assert_eq!(ask(&mut presenter, 0, &mut alert, false), "Firing");
    assert_eq!(ask(&mut presenter, 10, &mut alert, true), "Firing");
    assert_eq!(ask(&mut presenter, 20, &mut alert, true), "-");
    assert_eq!(presenter.next_wakeup(), None);
    alert = ended(&alert, 21);
    assert_eq!(ask(&mut presenter, 22, &mut alert, true), "Resolved");
}

#[test]
fn an_overtaken_late_incident_wakes_nobody() {
    let mut presenter = one();
    let mut alert = ended(&firing(0), 15);
    assert_eq!(ask(&mut presenter, 30, &mut alert, true), "LateFiring");
    assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(36)));
    let mut again = Alert { state: AlertState::Pending, fired_at: None, ..firing(35) };
    assert_eq!(ask(&mut presenter, 36, &mut again, true), "-");
    assert_eq!(presenter.next_wakeup(), None, "there is no end to tell");
}

#[test]
fn what_ended_is_told_while_it_is_pending_again() {
    let mut presenter = one();
    let mut alert = firing(0);
    assert_eq!(ask(&mut presenter, 0, &mut alert, true), "Firing");
    let previous = Some(Box::new(ended(&alert, 10)));
    let state = AlertState::Pending;
    let mut again = Alert { state, fired_at: None, previous, ..firing(15) };
    assert_eq!(ask(&mut presenter, 15, &mut again, true), "Resolved");
}

#[test]
fn a_missed_incident_is_presented_late_and_once() {
    let mut presenter = one();
    let mut alert = firing(0);
    assert_eq!(ask(&mut presenter, 0, &mut alert, false), "Firing");
    assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(1)), "first retry");
    assert_eq!(ask(&mut presenter, 1, &mut alert, false), "Firing");
    alert = ended(&alert, 15);
    assert_eq!(ask(&mut presenter, 20, &mut alert, false), "LateFiring");
    assert_eq!(ask(&mut presenter, 24, &mut alert, false), "-", "backing off for 5 s");
    assert_eq!(ask(&mut presenter, 25, &mut alert, true), "LateFiring");
    assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(31)), "held for 6 s");
    assert_eq!(ask(&mut presenter, 30, &mut alert, true), "-");
    assert_eq!(ask(&mut presenter, 31, &mut alert, true), "LateResolved");
    assert_eq!(presenter.next_wakeup(), None);
    assert_eq!(ask(&mut presenter, 91, &mut alert, true), "-");
    assert_eq!(ask(&mut presenter, 92, &mut alert, true), "LateResolved", "healed, as resolved");
}

#[test]
fn what_is_configured_over_a_reload_counts_more_than_what_was_read_before() {
    for (is_fixed, want) in [(true, 31), (false, 385)] {
        let mut presenter = one();
        presenter.set_hold("am", Duration::from_secs(360));
        presenter.configure(PresenterConfig { is_fixed, ..CONFIG }, &["am".to_owned()]);
        if is_fixed {
            presenter.set_hold("am", Duration::from_secs(360));
        }
        let mut alert = ended(&firing(0), 15);
        let mut last = 0;
        for second in 25..=400 {
            if ask(&mut presenter, second, &mut alert, true) == "LateResolved" && last == 0 {
                last = second;
            }
        }
        assert_eq!(last, want, "fixed: {is_fixed}");
    }
}

#[test]
fn a_long_hold_keeps_the_late_alert_alive() {
    let mut presenter = one();
    presenter.set_hold("am", Duration::from_secs(360));
    let mut alert = ended(&firing(0), 15);
    let mut sent = Vec::new();
    for second in (20..=440).step_by(5) {
        let phase = ask(&mut presenter, second, &mut alert, true);
        if phase != "-" {
            sent.push((second, phase));
        }
    }
    let late = sent.iter().filter(|(_, phase)| phase == "LateFiring").count();
    assert_eq!(late, 6, "said again each 65 s, or it would end by itself: {sent:?}");
    assert_eq!(sent[6], (380, "LateResolved".to_owned()));
}

#[test]
fn one_instance_down_does_not_hold_up_the_other() {
    let mut presenter = Presenter::new(CONFIG, &["am".to_owned(), "am2".to_owned()]);
    let alert = firing(0);
    let posts = due(&mut presenter, 0, &alert).posts;
    assert_eq!(posts.len(), 2);
    presenter.settle(posts[0].id, Verdict::Failed("down".into()), at(0));
    presenter.settle(posts[1].id, Verdict::Accepted, at(0));
    assert_eq!((presenter.trouble(0), presenter.trouble(1)), (Some("down"), None));
    let posts = due(&mut presenter, 70, &alert).posts;
    assert_eq!(posts.iter().map(|post| post.instance).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_new_incident_of_the_same_labels_starts_over() {
    let mut presenter = one();
    let mut alert = firing(0);
    ask(&mut presenter, 0, &mut alert, true);
    let mut next = firing(30);
    assert_eq!(ask(&mut presenter, 30, &mut next, true), "Firing");
}

/// What happens to an incident that an instance accepted at second 0 with a tally of 0.
#[derive(Clone, Copy)]
enum Then {
    /// It ended at second 15 and this is a round.
    Round,
    /// The instance answers what it was asked.
    Answer(Option<(u64, u64)>),
    /// The process starts anew.
    Restart,
    /// The same alert fires again.
    Again,
}

/// What it is about, by second what happens, and what is heard.
type Case = (&'static str, &'static [(i64, Then)], &'static str);

/// Plays a script; writes what was posted and asked, by second.
fn play(script: &[(i64, Then)]) -> String {
    let mut presenter = one();
    let mut alert = firing(0);
    assert_eq!(ask(&mut presenter, 0, &mut alert, true), "Firing");
    alert.tallies.insert("am".to_owned(), Tally::default());
    alert = ended(&alert, 15);
    let mut heard = Vec::new();
    for (second, then) in script {
        match then {
            Then::Round => {}
            Then::Answer(tally) => {
                let tally = tally.map(|(tried, delivered)| Tally { tried, delivered });
                assert!(presenter.take_tally("am", tally), "nobody asked at {second}");
            }
            Then::Restart => presenter = one(),
            Then::Again => alert = firing(*second),
        }
        let Due { posts, asks } = due(&mut presenter, *second, &alert);
        for post in posts {
            heard.push(format!("{second} {:?}", post.alerts[0].phase));
            presenter.settle(post.id, Verdict::Accepted, at(*second));
        }
        heard.extend(asks.iter().map(|_| format!("{second} ask")));
        let wakeup = presenter.next_wakeup();
        let now = at(*second).monotonic;
        assert!(wakeup.is_none_or(|wakeup| wakeup > now), "spins at {second}: {wakeup:?}");
    }
    heard.join(", ")
}

#[test]
fn an_end_is_held_while_the_instance_cannot_deliver() {
    use Then::{Again, Answer, Restart, Round};
    const FAILING: Then = Answer(Some((5, 0)));
    const FINE: Then = Answer(Some((6, 1)));
    let cases: [Case; 10] = [
        ("it delivered", &[(15, Round), (16, FINE)], "15 ask, 16 Resolved"),
        ("it had nothing to do", &[(15, Round), (16, Answer(Some((0, 0))))], "15 ask, 16 Resolved"),
        ("it cannot be asked", &[(15, Round), (16, Answer(None))], "15 ask, 16 Resolved"),
        ("nothing is told before it answers", &[(15, Round), (20, Round)], "15 ask"),
        (
            "it fails, then delivers: held for a route's turn, at least 10 s",
            &[(15, Round), (16, FAILING), (21, Round), (22, FINE), (31, Round), (32, Round)],
            "15 ask, 16 Held, 21 ask, 32 Resolved",
        ),
        (
            "what is held stays held when it cannot be asked",
            &[(15, Round), (16, FAILING), (21, Round), (22, Answer(None)), (27, Round)],
            "15 ask, 16 Held, 21 ask, 27 ask",
        ),
        (
            "it is said again, or it would end by itself",
            &[(15, Round), (16, FAILING), (21, Round), (22, FAILING), (76, Round), (77, Round)],
            "15 ask, 16 Held, 21 ask, 76 ask, 77 Held",
        ),
        (
            "at most an hour after its end",
            &[(15, Round), (16, FAILING), (3614, Round), (3615, Round)],
            "15 ask, 16 Held, 3614 Held, 3614 ask, 3615 Resolved",
        ),
        (
            "a restart asks anew",
            &[(15, Round), (16, FAILING), (17, Restart), (18, FAILING), (23, Restart), (24, FINE)],
            "15 ask, 16 Held, 17 ask, 18 Held, 23 ask, 24 Resolved",
        ),
        (
            "overtaken by the next incident",
            &[(15, Round), (16, FAILING), (18, Again), (24, Round)],
            "15 ask, 16 Held, 18 Firing",
        ),
    ];
    for (what, script, want) in cases {
        assert_eq!(play(script), want, "{what}");
    }
}

#[test]
fn a_late_incident_is_held_as_well() {
    let mut presenter = one();
    let mut alert = ended(&firing(0), 15);
    assert_eq!(ask(&mut presenter, 30, &mut alert, true), "LateFiring");
    alert.tallies.insert("am".to_owned(), Tally::default());
    let Due { posts, asks } = due(&mut presenter, 36, &alert);
    assert_eq!(
        (posts, asks),
        (Vec::new(), vec!["am".to_owned()]),
        "its end is due, and asked about"
    );
    presenter.take_tally("am", Some(Tally { tried: 1, delivered: 0 }));
    assert_eq!(ask(&mut presenter, 37, &mut alert, true), "-", "it is shown already");
    assert_eq!(ask(&mut presenter, 91, &mut alert, true), "LateFiring");
    presenter.take_tally("am", Some(Tally { tried: 2, delivered: 1 }));
    assert_eq!(ask(&mut presenter, 92, &mut alert, true), "-");
    assert_eq!(presenter.next_wakeup(), Some(Duration::from_secs(102)));
    assert_eq!(ask(&mut presenter, 102, &mut alert, true), "LateResolved");
}

#[test]
fn an_instance_is_read_once_for_each_incident() {
    let mut presenter = one();
    let mut alert = firing(0);
    let wants = |presenter: &mut Presenter, second, alert: &Alert| {
        let post = due(presenter, second, alert).posts.remove(0);
        presenter.settle(post.id, Verdict::Accepted, at(second));
        post.wants_tally
    };
    assert!(wants(&mut presenter, 0, &alert), "it is new");
    alert.tallies.insert("am".to_owned(), Tally::default());
    assert!(!wants(&mut presenter, 65, &alert), "it is known");
}

#[test]
fn over_a_reload_an_answer_is_for_the_instance_that_was_asked() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let mut presenter = Presenter::new(CONFIG, &names(&["a", "b"]));
    let mut alert = firing(0);
    let posts = due(&mut presenter, 0, &alert).posts;
    let [to_a, to_b] = &posts[..] else { panic!("one each: {posts:?}") };

    presenter.configure(CONFIG, &names(&["new", "b"]));
    let posts = due(&mut presenter, 5, &alert).posts;
    let [to_new] = &posts[..] else { panic!("b is still busy: {posts:?}") };
    assert_eq!(to_new.instance, 0);
    assert_eq!(presenter.settle(to_a.id, Verdict::Accepted, at(6)), [], "a is gone");
    assert_eq!(presenter.instance_of(to_new.id), Some(0), "its post is still under way");
    let failed = Verdict::Failed("HTTP 500".to_owned());
    assert_eq!(presenter.settle(to_new.id, failed, at(7)), []);
    assert_eq!(presenter.trouble(0), Some("HTTP 500"));

    presenter.configure(CONFIG, &names(&["b", "new"]));
    assert_eq!(presenter.trouble(1), Some("HTTP 500"), "an instance keeps its state");
    assert_eq!(presenter.settle(to_b.id, Verdict::Accepted, at(8)).len(), 1, "and its post");
    let again = due(&mut presenter, 8, &alert).posts;
    assert_eq!(again.iter().map(|post| post.instance).collect::<Vec<_>>(), [1], "b was told");
    presenter.settle(again[0].id, Verdict::Accepted, at(8));

    alert.accepted_at = Some(at(8).wall);
    alert.tallies.insert("b".to_owned(), Tally::default());
    alert = ended(&alert, 20);
    assert_eq!(due(&mut presenter, 20, &alert).asks, ["b"]);
    presenter.configure(CONFIG, &names(&["new", "b"]));
    assert!(!presenter.take_tally("new", None), "new was not asked");
    assert!(presenter.take_tally("b", None));
}
