//! Letters against golden files, and what must never get into one.

use std::time::Duration;

use super::*;
use crate::base::parse_rfc3339;
use crate::engine::{Advice, Digest, Near, Smaller};
use crate::outbox::{ActionKind, ActionMode};
use crate::policy::Taken;

fn at(text: &str) -> Timestamp {
    parse_rfc3339(text).expect(text)
}

fn near(tenant: &str, percent: f64, verdict: &'static str) -> Near {
    Near {
        tenant: tenant.to_owned(),
        plan: "free".to_owned(),
        name: format!("{tenant}-app-1"),
        memory_bytes: Some(percent / 100.0 * 1_073_741_824.0),
        limit_bytes: Some(1_073_741_824.0),
        cpu_ratio: Some(0.42),
        needed_ratio: Some(0.88),
        verdict,
    }
}

fn digest() -> Digest {
    let taken = |kind, subject: &str, result: Option<&str>| Taken {
        mode: Some(ActionMode::Request),
        kind,
        tenant: "acme".to_owned(),
        subject: subject.to_owned(),
        at: at("2026-11-28T03:12:00Z"),
        result: result.map(str::to_owned),
    };
    let dry_run = Some(ActionMode::DryRun);
    let unlimited = Near {
        limit_bytes: Some(0.0),
        cpu_ratio: None,
        needed_ratio: None,
        ..near("initech", 30.0, "no limit")
    };
    Digest {
        host: "web-7".to_owned(),
        from: at("2026-11-27T22:00:00Z"),
        at: at("2026-11-28T22:00:00Z"),
        containers: 57,
        near: vec![near("acme", 104.0, "over"), near("<b>&\"o'</b>", 91.0, "near"), unlimited],
        near_left_out: 4,
        memory: Some(Duration::from_secs(12 * 3600)),
        actions: vec![
            taken(ActionKind::Restart, "acme/app", Some("effective")),
            taken(ActionKind::Nudge, "acme/app", None),
            Taken { mode: None, ..taken(ActionKind::Nudge, "beta/app", None) },
            Taken { mode: dry_run, ..taken(ActionKind::Restart, "beta/app", None) },
            taken(ActionKind::Restart, "gamma/app", Some("withdrawn")),
            taken(ActionKind::Advise, "alert:00ff", None),
        ],
        smaller: vec![Smaller {
            service: "umbrella/app".to_owned(),
            plan: "enterprise".to_owned(),
            would_do: "free".to_owned(),
            sentence: "on free, demand for CPU above the quota would have been <1 % of the time \
                       instead of <1 %"
                .to_owned(),
        }],
        holds: vec![("cool_down", 2), ("observe", 7)],
        holds_since: Some(at("2026-11-28T09:30:00Z")),
        advice: vec![
            Advice {
                alert: "M2PinnedMemoryOverBudget".to_owned(),
                about: "m2:9100".to_owned(),
                summary: "M2 pins 520MiB of documents, over the budget".to_owned(),
                change: Some((
                    "meta.fixedCount".to_owned(),
                    "example.com=51816".to_owned(),
                    "example.com=38746".to_owned(),
                )),
            },
            Advice {
                alert: "Fix".to_owned(),
                about: "acme/app".to_owned(),
                summary: String::new(),
                change: Some(("fixedCount".to_owned(), String::new(), "38746".to_owned())),
            },
            Advice {
                alert: "TenantCpuThrottledBursty".to_owned(),
                about: "acme/app".to_owned(),
                summary: String::new(),
                change: Some(("cpu.cfs_burst_us".to_owned(), String::new(), String::new())),
            },
        ],
        firing: [("critical".to_owned(), 1), ("warning".to_owned(), 3)].into(),
        gates: vec![("login acme".to_owned(), "200, a blank page".to_owned())],
    }
}

/// `UPDATE_GOLDEN=1` writes the files anew.
fn check(letter: &Letter, name: &str) {
    let version = concat!("plimsoll ", env!("CARGO_PKG_VERSION"));
    for (kind, got) in
        [("txt", format!("{}\n\n{}", letter.subject, letter.text)), ("html", letter.html.clone())]
    {
        let got = got.replace(version, "plimsoll VERSION");
        let path = format!("{}/src/letter/testdata/{name}.{kind}", env!("CARGO_MANIFEST_DIR"));
        if std::env::vars_os().any(|(name, _)| name == "UPDATE_GOLDEN") {
            std::fs::write(&path, &got).expect("testdata is writable");
        }
        let want = std::fs::read_to_string(&path).expect("the golden file is there");
        assert!(got == want, "{path} differs; run with UPDATE_GOLDEN=1 and review the diff\n{got}");
    }
}

fn outage(sink: Sink, until: Option<Timestamp>) -> Mail {
    Mail::Outage {
        host: "web-7".to_owned(),
        sink,
        since: at("2026-11-28T03:02:00Z"),
        until,
        why: "connection refused\r\nBcc: <victim@example.com>".to_owned(),
        firing: (0..25).map(|n| format!("TenantMemoryWillOom t{n}/app")).collect(),
        waiting: 12,
    }
}

#[test]
fn letters_read_as_they_should() {
    check(&write(&Mail::Digest(Box::new(digest()))), "digest");
    check(&write(&Mail::Digest(Box::default())), "quiet");
    check(&write(&outage(Sink::Alertmanager, None)), "unreachable");
    check(&write(&outage(Sink::ControlPlane, Some(at("2026-11-28T05:07:30Z")))), "reachable");
    check(&write(&Mail::Test { host: "web-7".to_owned() }), "test");
}

#[test]
fn nothing_that_others_wrote_becomes_markup_or_a_header() {
    let hostile = "x</td><script>alert(1)</script>\r\nBcc: v@example.com\0";
    let mut digest = digest();
    digest.host = hostile.to_owned();
    digest.near[0].tenant = hostile.to_owned();
    digest.near[0].plan = hostile.repeat(100);
    digest.advice[0].summary = hostile.to_owned();
    digest.actions[0].subject = hostile.to_owned();
    digest.gates[0].1 = hostile.to_owned();
    let letter = write(&Mail::Digest(Box::new(digest)));
    assert!(!letter.html.contains("<script"), "{}", letter.html);
    assert!(!letter.subject.contains(['\r', '\n', '\0']), "{}", letter.subject);
    assert!(!letter.text.contains(['\r', '\0']), "a line of a server stays one");
    assert!(!letter.text.lines().any(|line| line.starts_with("Bcc")));
    assert!(letter.html.len() < 40_000, "{}", letter.html.len());
}

#[test]
fn plain_text_fits_a_terminal_and_shares_are_bounded() {
    let mut digest = digest();
    digest.near[0].cpu_ratio = Some(f64::NAN);
    digest.near[1].cpu_ratio = Some(1e300);
    digest.near[2].cpu_ratio = Some(-3.0);
    let letter = write(&Mail::Digest(Box::new(digest)));
    assert!(letter.text.lines().all(|line| line.chars().count() <= 78), "{}", letter.text);
    assert!(letter.text.contains("[####################] 999 %"));
    assert_eq!(span(Duration::from_secs(7_512)), "2 h 5 min");
}

#[test]
fn a_subject_counts_what_was_asked_for_and_not_for_nothing() {
    let asked = Some(ActionMode::Request);
    for (mode, result, want) in [
        (asked, None, 1),
        (asked, Some("ineffective"), 1),
        (asked, Some("declined"), 0),
        (asked, Some("expired"), 0),
        (asked, Some("withdrawn"), 0),
        (Some(ActionMode::DryRun), None, 0),
        (None, None, 0),
    ] {
        for (kind, word) in [(ActionKind::Restart, "restart"), (ActionKind::Nudge, "nudge")] {
            let mut digest = digest();
            let result = result.map(str::to_owned);
            digest.actions = vec![Taken { kind, mode, result, ..digest.actions[0].clone() }];
            let subject = write(&Mail::Digest(Box::new(digest))).subject;
            assert!(subject.contains(&format!(" {want} {word}")), "{mode:?}: {subject}");
        }
    }
}

#[test]
fn what_does_not_fit_a_list_is_counted() {
    let gates = (0..33).map(|n| (format!("login t{n}"), "500".to_owned())).collect();
    let letter = write(&Mail::Digest(Box::new(Digest { gates, ..Digest::default() })));
    assert!(letter.text.contains("login t29") && !letter.text.contains("login t30"));
    assert!(letter.text.contains("And 3 more."), "{}", letter.text);
}

#[test]
fn holds_are_counted_since_the_digest_before_unless_plimsoll_started_later() {
    let text =
        |holds_since| write(&Mail::Digest(Box::new(Digest { holds_since, ..digest() }))).text;
    let started = "when plimsoll started";
    assert!(text(Some(at("2026-11-28T09:30:00Z"))).contains(started));
    assert!(!text(None).contains(started));
}
