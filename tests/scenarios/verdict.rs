//! What a scenario came to, beside what it says must and must not be done.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll::alerts::Phase;
use plimsoll::app::replay::{Report, Told, World};
use plimsoll::base::{Labels, Timestamp, format_duration};
use plimsoll::engine::Fact;
use plimsoll::outbox::Event;

use super::file::{Happening, Scenario, Want};
use super::host::{EPOCH, Host};

/// One thing that happened.
struct Seen {
    what: String,
    of: BTreeMap<String, String>,
    at: Duration,
    to: Option<Duration>,
}

/// What is told of a scenario.
pub struct Verdict {
    pub failures: Vec<String>,
    /// Advice that no entry mentions: wrong in the table, and a failure of the files here. Who writes others need
    /// not know whom a person is told of.
    pub advice: Vec<String>,
    pub right: usize,
    pub wrong: usize,
    pub missed: usize,
    /// Of the wrong ones, those that touch no container and no customer.
    pub wrong_advice: usize,
    /// From the first warning to the OOM kill that came, or would have come if nothing had been done.
    pub lead: Option<Duration>,
}

impl Verdict {
    fn call_wrong(&mut self, action: &str, count: usize) {
        self.wrong += count;
        self.wrong_advice += if action == "advise" { count } else { 0 };
    }
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn since(at: Timestamp) -> Duration {
    at.since(EPOCH)
}

/// Compares what happened with what was expected.
pub fn judge(scenario: &Scenario, world: &World<Host>, report: &Report) -> Verdict {
    let expect = &scenario.expect;
    let (alerts, actions) = (alerts(report), actions(report));
    let mut verdict = Verdict {
        failures: Vec::new(),
        advice: Vec::new(),
        right: 0,
        wrong: 0,
        missed: 0,
        wrong_advice: 0,
        lead: lead(scenario, report),
    };
    let kinds: [(&str, &[Want], &[Seen]); 6] = [
        ("alert", &expect.alerts, &alerts),
        ("action", &expect.actions, &actions),
        ("hold", &expect.holds, &holds(report)),
        ("event", &expect.events, &events(&world.delivered)),
        ("outcome", &expect.outcomes, &outcomes(&world.facts)),
        ("heard", &expect.heard, &heard(world)),
    ];
    for (kind, wants, seen) in kinds {
        for want in wants {
            let count = check(kind, want, seen, &mut verdict.failures);
            if kind == "action" {
                let right = if want.wrong { 0 } else { count.min(want.times.1) };
                verdict.right += right;
                verdict.call_wrong(&want.what, count - right);
                verdict.missed += if want.wrong { 0 } else { want.times.0.saturating_sub(count) };
            }
        }
    }
    // Advice, too: who is told of what is none of their business soon reads nothing any more.
    for action in &actions {
        if !expect.actions.iter().any(|want| want.fits(action)) {
            verdict.call_wrong(&action.what, 1);
            let is_advice = action.what == "advise";
            let told = if is_advice { &mut verdict.advice } else { &mut verdict.failures };
            told.push(format!("nobody expected {}", action.shown()));
        }
    }
    for alert in &alerts {
        let critical = alert.of.get("severity").is_some_and(|severity| severity == "critical");
        let told = alert.what == "Watchdog" || expect.alerts.iter().any(|want| want.fits(alert));
        if !told && (critical || expect.no_other_alerts) {
            verdict.failures.push(format!("nobody expected {}", alert.shown()));
        }
    }
    verdict.failures.extend(trouble(&world.facts));
    verdict
}

/// Whether so many of these were seen, and when; returns how many.
fn check(kind: &str, want: &Want, seen: &[Seen], failures: &mut Vec<String>) -> usize {
    let found: Vec<&Seen> = seen.iter().filter(|seen| want.fits(seen)).collect();
    let (least, most) = want.times;
    let about = format!("line {}: {kind} {} {:?}", want.line, want.what, want.of);
    if found.len() < least || found.len() > most {
        let all: Vec<String> = seen.iter().map(Seen::shown).collect();
        let times = if most == usize::MAX {
            format!("at least {least}")
        } else {
            format!("{least}..{most}")
        };
        failures.push(format!(
            "{about}: {} times, not {times}; there were: {}",
            found.len(),
            all.join("; ")
        ));
        return found.len();
    }
    let Some(first) = found.first() else { return 0 };
    let shown = |(from, to): (Duration, Duration)| {
        format!("{}..{}", format_duration(from), format_duration(to))
    };
    if let Some(range) = want.at.filter(|(from, to)| first.at < *from || first.at > *to) {
        failures.push(format!("{about}: at {}, not in {}", first.shown(), shown(range)));
    }
    if let Some((from, to)) = want.until
        && first.to.is_none_or(|end| end < from || end > to)
    {
        failures.push(format!("{about}: ended {:?}, not in {}", first.to, shown((from, to))));
    }
    found.len()
}

impl Want {
    fn fits(&self, seen: &Seen) -> bool {
        self.what == seen.what && self.of.iter().all(|(name, text)| seen.of.get(name) == Some(text))
    }
}

impl Seen {
    fn shown(&self) -> String {
        let who = ["service", "subject", "tenant", "name", "phase"];
        let who = who.into_iter().find_map(|name| self.of.get(name)).cloned().unwrap_or_default();
        let why = self.of.get("alert").map(|alert| format!(" for {alert}")).unwrap_or_default();
        format!("{} {who}{why} at {}", self.what, format_duration(self.at))
    }
}

fn alerts(report: &Report) -> Vec<Seen> {
    let seen = |span: &plimsoll::app::replay::Span| Seen {
        what: span.alert.clone(),
        of: span.labels.clone(),
        at: since(span.from.0),
        to: span.to.map(|to| since(to.0)),
    };
    report.alerts.iter().map(seen).collect()
}

fn actions(report: &Report) -> Vec<Seen> {
    let seen = |action: &plimsoll::app::replay::Action| {
        let mut of = map(&action.labels);
        of.insert("subject".to_owned(), action.subject.clone());
        of.insert("alert".to_owned(), action.alert.clone());
        let how = serde_json::to_value(action.how).expect("a word");
        of.insert("how".to_owned(), how.as_str().unwrap_or_default().to_owned());
        Seen { what: action.action.clone(), of, at: since(action.at.0), to: None }
    };
    report.actions.iter().map(seen).collect()
}

fn holds(report: &Report) -> Vec<Seen> {
    let mut all = Vec::new();
    for (hold, count) in &report.holds {
        let of = [("tenant", &hold.tenant), ("subject", &hold.subject), ("alert", &hold.alert)];
        let of: BTreeMap<String, String> =
            of.into_iter().map(|(name, text)| (name.to_owned(), text.clone())).collect();
        let seen =
            || Seen { what: hold.reason.clone(), of: of.clone(), at: Duration::ZERO, to: None };
        all.extend(std::iter::repeat_with(seen).take(*count));
    }
    all
}

fn events(delivered: &[Told<Event>]) -> Vec<Seen> {
    let seen = |told: &Told<Event>| {
        let data = &told.what.data;
        let mut of: BTreeMap<String, String> = BTreeMap::new();
        for (name, text) in [
            ("tenant", &data.tenant_id),
            ("alert", &data.alert),
            ("service", &data.service),
            ("reason", &data.reason),
        ] {
            of.extend(text.iter().map(|text| (name.to_owned(), text.clone())));
        }
        let params = data.action.iter().flat_map(|action| &action.params);
        of.extend(
            params.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))),
        );
        let cause = data.evidence.as_ref().and_then(|evidence| evidence.cause.clone());
        of.extend(cause.map(|cause| ("cause".to_owned(), cause)));
        Seen { what: told.what.event_type.name().to_owned(), of, at: told.after, to: None }
    };
    delivered.iter().map(seen).collect()
}

fn outcomes(facts: &[Told<Fact>]) -> Vec<Seen> {
    let seen = |told: &Told<Fact>| match &told.what {
        Fact::Outcome { request, outcome, .. } => {
            let of = BTreeMap::from([("subject".to_owned(), request.subject.clone())]);
            Some(Seen { what: (*outcome).to_owned(), of, at: told.after, to: None })
        }
        _ => None,
    };
    facts.iter().filter_map(seen).collect()
}

fn heard(world: &World<Host>) -> Vec<Seen> {
    let phase = |phase| match phase {
        Phase::Firing => "firing",
        Phase::Resolved => "resolved",
        Phase::LateFiring => "late_firing",
        Phase::LateResolved => "late_resolved",
        Phase::Held => "held",
    };
    let seen = |told: &Told<plimsoll::alerts::Presented>| {
        let mut of = map(&told.what.alert.labels);
        let what = of.remove("alertname").unwrap_or_default();
        of.insert("phase".to_owned(), phase(told.what.phase).to_owned());
        Seen { what, of, at: told.after, to: None }
    };
    world.heard.iter().map(seen).collect()
}

/// Rules that failed and slots that were missed: what no run has.
fn trouble(facts: &[Told<Fact>]) -> Vec<String> {
    let bad = |fact: &Fact| {
        matches!(
            fact,
            Fact::RuleFailed { .. } | Fact::SeriesRefused { .. } | Fact::RowUnreadable { .. }
        )
    };
    facts.iter().filter(|told| bad(&told.what)).map(|told| format!("{:?}", told.what)).collect()
}

/// From the first alert above `info` about a container to its first OOM kill, true or prevented.
fn lead(scenario: &Scenario, report: &Report) -> Option<Duration> {
    if scenario.events.iter().any(|(_, what)| matches!(what, Happening::Clock(_))) {
        // What the wall shows is then no measure of how long it was.
        return None;
    }
    let mut leads = Vec::new();
    for (name, container) in &scenario.containers {
        let first = report.kills.iter().find(|kill| kill.name == *name);
        let kill = match first {
            Some(kill) => since(kill.at.0),
            None if report.kills.iter().any(|kill| kill.name == *name) => continue,
            None => match container.working_set.reaches(1.0, scenario.lasts * 2) {
                Some(at) => at,
                None => continue,
            },
        };
        let about = |span: &&plimsoll::app::replay::Span| {
            let info = span.labels.get("severity").is_some_and(|severity| severity == "info");
            span.labels.get("name") == Some(name) && !info && since(span.from.0) < kill
        };
        leads.extend(report.alerts.iter().find(about).map(|span| kill - since(span.from.0)));
    }
    leads.into_iter().min().map(|lead| Duration::from_secs(lead.as_secs()))
}
