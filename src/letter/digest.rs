//! The digest: who is near the line, what was done, what was held and why, what should be changed.

use super::Letter;
use super::page::{Cell, Page, minutes, span};
use crate::engine::{Digest, Near, Smaller};
use crate::outbox::{ActionKind, ActionMode};
use crate::policy::{HoldReason, Taken};

/// Entries of each list but the first.
const LISTED: usize = 30;

/// Writes it.
pub(super) fn write(digest: &Digest) -> Letter {
    let asked = |kind| of_kind(digest, kind).filter(|taken| taken.counts()).count();
    let (nudges, restarts) = (asked(ActionKind::Nudge), asked(ActionKind::Restart));
    let near = digest.near.len() + digest.near_left_out;
    let subject = format!(
        "[plimsoll {}] {near} near the line, {restarts} restart{}, {nudges} nudge{}",
        digest.host,
        plural(restarts),
        plural(nudges)
    );
    let mut page = Page::default();
    page.line(&format!(
        "{}: {} to {} ({}).",
        digest.host,
        minutes(digest.from),
        minutes(digest.at),
        span(digest.at.since(digest.from))
    ));
    firing(&mut page, digest);
    loads(&mut page, digest);
    smaller(&mut page, digest);
    actions(&mut page, digest);
    holds(&mut page, digest);
    advice(&mut page, digest);
    page.finish(&subject)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn of_kind(digest: &Digest, kind: ActionKind) -> impl Iterator<Item = &Taken> {
    digest.actions.iter().filter(move |taken| taken.kind == kind)
}

/// The first of them, and how many more there are.
fn list(page: &mut Page, lines: &[String]) {
    page.list(lines.iter().take(LISTED).map(String::as_str));
    if lines.len() > LISTED {
        page.line(&format!("And {} more.", lines.len() - LISTED));
    }
}

fn firing(page: &mut Page, digest: &Digest) {
    let counts: Vec<String> =
        digest.firing.iter().map(|(severity, count)| format!("{count} {severity}")).collect();
    page.line(&match counts.is_empty() {
        true => "No alert fires.".to_owned(),
        false => format!("Alerts that fire: {}.", counts.join(", ")),
    });
    if !digest.gates.is_empty() {
        page.heading("Gates that fail");
        let gates: Vec<String> =
            digest.gates.iter().map(|(gate, value)| format!("{gate}: {value}")).collect();
        list(page, &gates);
    }
}

fn loads(page: &mut Page, digest: &Digest) {
    page.heading("Near the line");
    if digest.near.is_empty() {
        page.line(&format!("All {} containers of tenants fit their limits.", digest.containers));
        return;
    }
    let row = |near: &Near| {
        let who = match near.tenant == near.name {
            true => near.name.clone(),
            false => format!("{} {}", near.tenant, near.name),
        };
        let memory = near.memory_bytes.zip(near.limit_bytes);
        vec![
            Cell::Text(who),
            Cell::Text(near.plan.clone()),
            Cell::Share(near.memory_ratio()),
            Cell::Share(near.cpu_ratio),
            Cell::Share(near.needed_ratio),
            Cell::Text(match memory {
                Some((used, limit)) if limit > 0.0 => {
                    format!("{} of {}", mebibytes(used), mebibytes(limit))
                }
                Some((used, _)) => mebibytes(used),
                None => String::new(),
            }),
            Cell::Text(near.verdict.to_owned()),
        ]
    };
    let rows: Vec<Vec<Cell>> = digest.near.iter().map(row).collect();
    page.table(&["container", "plan", "memory", "CPU", "needs", "in use", "verdict"], &rows);
    if digest.near_left_out > 0 {
        page.line(&format!("And {} more of {}.", digest.near_left_out, digest.containers));
    }
    page.line("`needs` is what 95 % of the last weeks' demand for memory stays below, per limit.");
}

/// Nobody is written to for that: who pays for more than they need may know why.
fn smaller(page: &mut Page, digest: &Digest) {
    if digest.smaller.is_empty() {
        return;
    }
    page.heading("A smaller plan would do");
    let line = |it: &Smaller| {
        format!("{}: {} instead of {}; {}", it.service, it.would_do, it.plan, it.sentence)
    };
    list(page, &digest.smaller.iter().map(line).collect::<Vec<_>>());
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / 1_048_576.0)
}

fn actions(page: &mut Page, digest: &Digest) {
    for (kind, title) in [
        (ActionKind::Nudge, "Nudges: tenants to be offered a bigger plan"),
        (ActionKind::Restart, "Restarts"),
        (ActionKind::RollbackAdvice, "Changes to be taken back"),
    ] {
        let lines: Vec<String> = of_kind(digest, kind).map(action).collect();
        if lines.is_empty() && kind != ActionKind::Nudge {
            continue;
        }
        page.heading(title);
        if lines.is_empty() {
            page.line("None.");
        }
        list(page, &lines);
    }
    if let Some(memory) = digest.memory {
        page.line(&format!(
            "What was done is remembered for {}; of what lies longer back, some may be missing here.",
            span(memory)
        ));
    }
}

fn action(taken: &Taken) -> String {
    let of = match taken.subject.starts_with("alert:") {
        true => &taken.tenant,
        false => &taken.subject,
    };
    // Where nobody was asked, no outcome is to come.
    let (how, awaited) = match taken.mode {
        Some(ActionMode::Request) => ("", Some("no outcome yet")),
        Some(ActionMode::DryRun) => (" (dry run)", None),
        None => (" (only observed)", None),
    };
    let result = taken.result.as_deref().or(awaited);
    let result = result.map_or(String::new(), |result| format!(": {result}"));
    format!("{} {of}{how}{result}", minutes(taken.at))
}

fn holds(page: &mut Page, digest: &Digest) {
    page.heading("Held back");
    if digest.holds.is_empty() {
        page.line("Nothing.");
        return;
    }
    let mut holds = digest.holds.clone();
    holds.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let lifted_by = |name: &str| {
        let reason = HoldReason::all().find(|reason| reason.name() == name);
        reason.map_or("", HoldReason::lifted_by)
    };
    let lines: Vec<String> = holds
        .iter()
        .map(|(reason, count)| format!("{count} × {reason}; lifted by {}", lifted_by(reason)))
        .collect();
    page.list(lines.iter().map(String::as_str));
    if let Some(since) = digest.holds_since {
        page.line(&format!("Counted since {}, when plimsoll started.", minutes(since)));
    }
}

fn advice(page: &mut Page, digest: &Digest) {
    page.heading("Settings to change");
    if digest.advice.is_empty() {
        page.line("None.");
        return;
    }
    let line = |advice: &crate::engine::Advice| {
        let change = match &advice.change {
            Some((variable, current, recommended))
                if current.is_empty() && recommended.is_empty() =>
            {
                format!(" – {variable}")
            }
            Some((variable, current, recommended)) => {
                let from =
                    |text: &String| if text.is_empty() { "?".to_owned() } else { text.clone() };
                format!(" – {variable}: {} → {}", from(current), from(recommended))
            }
            None => String::new(),
        };
        let whose = match advice.about.as_str() {
            "" => String::new(),
            about => format!(" ({about})"),
        };
        let summary = match advice.summary.as_str() {
            "" => String::new(),
            summary => format!(": {summary}"),
        };
        format!("{}{whose}{summary}{change}", advice.alert)
    };
    let lines: Vec<String> = digest.advice.iter().map(line).collect();
    list(page, &lines);
}
