//! `replay`: the real engine over a recording, and what two rule sets would have done differently.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use serde::Serialize;

use super::super::config::{Config, hostname};
use super::super::documents::{Documents, Unread};
use super::super::files;
use super::super::replay::{
    Action, Change, Difference, How, Recording, Report, differences, replay,
};
use super::args::{Format, ReplayArgs};
use super::out::{Ink, Out};
use crate::app::engine_setup;
use crate::base::{Labels, format_duration, format_rfc3339};
use crate::engine::Setup;
use crate::outbox::OutboxConfig;
use crate::policy::{Identity, Measurers, Mode};
use crate::promql::Features;
use crate::rules::{self, Group};
use crate::yaml::Problems;

/// Nothing differs, nothing surprised.
const SAME: u8 = 0;
/// The two rule sets differ; or, alone, a scrape could not be read or a rule not be evaluated.
const DIFFERENT: u8 = 1;
/// The replay could not be made.
const ERROR: u8 = 2;
/// Columns of the table of tenants.
const HEADINGS: [&str; 7] =
    ["tenant", "alerts", "webhooks", "restarts/budget", "nudges", "advice", "held"];

#[derive(Serialize)]
struct Answer<'a> {
    scrapes: usize,
    a: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<Difference>>,
}

/// Runs the command.
pub fn replay_command(args: &ReplayArgs, out: &mut Out<'_>) -> u8 {
    match run(args, out) {
        Ok(code) => code,
        Err(error) => {
            out.fail(&error);
            ERROR
        }
    }
}

fn run(args: &ReplayArgs, out: &mut Out<'_>) -> anyhow::Result<u8> {
    let (config, problems) = Config::load_or_default(&args.file.config);
    let has_errors = config.is_none();
    if has_errors {
        out.say_problems(&problems);
    }
    let mut config = config.ok_or_else(|| anyhow!("the configuration has errors"))?;
    if let Some(mode) = &args.mode {
        let mode = Mode::parse(mode)
            .ok_or_else(|| anyhow!("--mode: `{mode}` is none of observe, notify, act"))?;
        config.policy.policy.mode = mode;
        config.policy.policy.modes.clear();
    } else if config.control_plane.is_none() && !config.policy.executes {
        // With nobody to ask, everything that would be asked is only observed.
        config.policy.policy.mode = Mode::Observe;
        config.policy.policy.modes.clear();
    }
    let job = match &config.jobs[..] {
        [job] => Some(job.job_name.as_str()),
        _ => None,
    };
    let recording = Recording::open(&args.folder, job)?;
    recording.problems().for_each(|problem| out.say(&format!("note: {problem}")));
    if !config.policy.policy.gates.is_empty() {
        out.say(
            "note: gates are not asked in a replay: what a failing one would have held is not held",
        );
    }
    let documents = documents(&config, out)?;
    let first = match &args.rules[..] {
        [] => config.groups.clone(),
        files => load_rules(files, config.promql, out)?,
    };
    let a = go(&recording, (&config, &documents), first, ("A", out));
    if args.against.is_empty() {
        show_one(&recording, &a, out);
        let is_whole = a.problems.is_empty() && recording.problems().next().is_none();
        return Ok(if is_whole { SAME } else { DIFFERENT });
    }
    let second = load_rules(&args.against, config.promql, out)?;
    let b = go(&recording, (&config, &documents), second, ("B", out));
    let found = differences(&a, &b);
    let same = found.is_empty() && a.problems == b.problems;
    show_two(&recording, (&a, &b), found, out);
    Ok(if same { SAME } else { DIFFERENT })
}

/// What others write, as it is now: who was whose then is not recorded.
fn documents(config: &Config, out: &mut Out<'_>) -> anyhow::Result<Documents> {
    let (documents, unread) = config.policy.documents().read_once();
    for Unread { key, why, is_file } in unread {
        // Without M2's settings less is known of M2, without the others nobody's containers are anybody's.
        ensure!(!is_file || key == "m2.setting_file", "{key}: {why}");
        out.say(&format!("note: {key}: {why}; what it would say is unknown to this replay"));
    }
    Ok(documents)
}

fn load_rules(
    paths: &[PathBuf],
    features: Features,
    out: &mut Out<'_>,
) -> anyhow::Result<Vec<Group>> {
    let mut problems = Problems::default();
    let mut texts = Vec::new();
    for pattern in paths {
        let shown = pattern.display().to_string();
        let found =
            files::expand(Path::new(""), &shown).map_err(|why| anyhow!("{shown}: {why}"))?;
        ensure!(!found.is_empty(), "{shown}: no file matches");
        for path in found {
            match files::read(&path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(unreadable) => problems.push(unreadable.problem(&path)),
            }
        }
    }
    let (groups, found) = rules::load(&texts, &features.parsing());
    problems.extend(found);
    if problems.has_errors() {
        out.say_problems(&problems);
        return Err(anyhow!("the rules have errors"));
    }
    Ok(groups)
}

/// One replay, with its progress on a terminal.
fn go(
    recording: &Recording,
    (config, documents): (&Config, &Documents),
    groups: Vec<Group>,
    (name, out): (&str, &mut Out<'_>),
) -> Report {
    let host = config.policy.host.clone().or_else(hostname).unwrap_or_else(|| "replay".to_owned());
    let mut of = config.clone();
    // What doors would have answered is in no recording.
    of.policy.policy.gates.clear();
    of.mail = None;
    let identity = config.identity(&host).map(|identity| {
        let none = Labels::empty();
        let measures = recording.targets().any(|target| identity.measures(target, &none));
        // A recording knows nothing of the jobs of a configuration that it was not made with.
        let measurers = if measures { identity.measurers } else { Measurers::default() };
        Identity { measurers, ..identity }
    });
    let setup = move || Setup {
        groups: groups.clone(),
        identity: identity.clone(),
        // Judgement needs an edge lane, whether or not the configuration names a receiver.
        outbox: Some(OutboxConfig {
            host: host.clone(),
            restarts_only: of.policy.executes,
            ..OutboxConfig::default()
        }),
        ..engine_setup(&of, &host)
    };
    let mut shown = None;
    let report = replay(recording, config, documents, setup, |share| {
        let percent = (share * 100.0) as u32;
        if out.colours.1 && shown != Some(percent) {
            shown = Some(percent);
            let _ = write!(out.talk, "\rreplaying {name}: {percent} %");
            let _ = out.talk.flush();
        }
    });
    if shown.is_some() {
        let _ = write!(out.talk, "\r\x1b[K");
    }
    report
}

fn show_one(recording: &Recording, report: &Report, out: &mut Out<'_>) {
    if out.format == Format::Json {
        let scrapes = recording.scrapes();
        return out.json(&Answer { scrapes, a: report, b: None, differences: None });
    }
    let mut text = heading(recording, report);
    text.push_str(&problems(report, out));
    text.push_str(&tenants(report));
    text.push_str(&actions(report, out));
    text.push_str(&actuals(report));
    text.push_str(&standing(report));
    out.raw(text.as_bytes());
}

fn show_two(
    recording: &Recording,
    (a, b): (&Report, &Report),
    found: Vec<Difference>,
    out: &mut Out<'_>,
) {
    if out.format == Format::Json {
        return out.json(&Answer {
            scrapes: recording.scrapes(),
            a,
            b: Some(b),
            differences: Some(found),
        });
    }
    let mut text = heading(recording, a);
    for (name, one) in [("A", a), ("B", b)] {
        text.push_str(&format!("\n{name}\n"));
        text.push_str(&problems(one, out));
        text.push_str(&tenants(one));
    }
    text.push_str(&format!("\n{} differences from A to B\n", found.len()));
    for difference in &found {
        text.push_str(&line(difference, out));
    }
    out.raw(text.as_bytes());
}

fn heading(recording: &Recording, report: &Report) -> String {
    let (from, to) = report.span;
    let (scrapes, targets) = (recording.scrapes(), recording.tracks.len());
    let lasted = format_duration(to.0.since(from.0));
    let (restarts, limit) = report.restarts_hour;
    format!(
        "{scrapes} scrapes of {targets} target{}, {} to {} ({lasted}); at most {restarts} of \
         {limit} restarts in an hour\n",
        if targets == 1 { "" } else { "s" },
        format_rfc3339(from.0),
        format_rfc3339(to.0),
    )
}

fn problems(report: &Report, out: &Out<'_>) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}: {}", out.inked(Ink::Bad, "problem"), Out::plain(problem));
    }
    text
}

fn tenants(report: &Report) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for (tenant, of) in &report.tenants {
        let count = |kind: &str| of.actions.get(kind).copied().unwrap_or(0);
        let held: Vec<String> =
            of.holds.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        rows.push([
            if tenant.is_empty() { "(nobody)".to_owned() } else { Out::plain(tenant) },
            of.alerts.to_string(),
            of.webhooks.to_string(),
            format!("{} ({}/{} a day)", count("restart"), of.restarts_day, of.restarts_day_limit),
            count("nudge").to_string(),
            (count("advise") + count("rollback_advice")).to_string(),
            held.join(", "),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADINGS.len()).filter_map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn actions(report: &Report, out: &Out<'_>) -> String {
    let mut text = format!("\n{} actions\n", report.actions.len());
    for Action { at, action, subject, alert, how, outcome, .. } in &report.actions {
        let how = match how {
            How::Requested => out.inked(Ink::Note, "requested"),
            How::DryRun => out.inked(Ink::Note, "dry run"),
            How::Observed => "observed".to_owned(),
        };
        let outcome = outcome.as_ref().map(|outcome| format!(", {outcome}")).unwrap_or_default();
        let (at, subject, alert) = (format_rfc3339(at.0), Out::plain(subject), Out::plain(alert));
        let _ = writeln!(text, "  {at}  {how:9}  {action} {subject} ({alert}){outcome}");
    }
    text
}

/// What truly happened, beside what was said.
fn actuals(report: &Report) -> String {
    let mut text = String::new();
    let mut names: Vec<&str> = report.kills.iter().map(|kill| kill.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        text.push_str("\nOOM kills that happened\n");
    }
    for name in names {
        let kills = report.kills.iter().filter(|kill| kill.name == name);
        let warned: Vec<f64> = kills.clone().filter_map(|kill| kill.warned_seconds).collect();
        let least = warned.iter().copied().fold(f64::INFINITY, f64::min);
        let lead = if warned.is_empty() {
            "none of them warned of".to_owned()
        } else {
            format!("{} warned of, at least {least:.0} s ahead", warned.len())
        };
        let _ = writeln!(text, "  {}: {}, {lead}", Out::plain(name), kills.count());
    }
    if !report.ends.is_empty() {
        text.push_str("\nContainers that ended\n");
    }
    for (name, reasons) in &report.ends {
        let reasons: Vec<String> = reasons.iter().map(|(why, n)| format!("{why} {n}")).collect();
        let _ = writeln!(text, "  {}: {}", Out::plain(name), reasons.join(", "));
    }
    text
}

/// Whether a rule has earned `act`.
fn standing(report: &Report) -> String {
    let mut text = String::new();
    for standing in &report.standing {
        if standing.would_restart == 0 {
            let (alert, nudges) = (Out::plain(&standing.alert), standing.would_nudge);
            let _ = writeln!(text, "\n{alert}: {nudges} nudges observed; {}", standing.why);
            continue;
        }
        let verdict = if standing.earned { "has earned `act`" } else { "has not earned `act` yet" };
        let (would, needed, needless) =
            (standing.would_restart, standing.needed, standing.needless);
        let _ = writeln!(
            text,
            "\n{} {verdict}: {}; {would} restarts observed, {needed} needed, {needless} needless",
            Out::plain(&standing.alert),
            standing.why
        );
    }
    text
}

fn line(difference: &Difference, out: &Out<'_>) -> String {
    let later = |seconds: f64| {
        let word = if seconds < 0.0 { "earlier" } else { "later" };
        format!("{} s {word}", seconds.abs())
    };
    let how = match difference.how {
        Change::OnlyInA => out.inked(Ink::Bad, "only in A"),
        Change::OnlyInB => out.inked(Ink::Good, "only in B"),
        Change::Starts { seconds_later } => format!("{} in B", later(seconds_later)),
        Change::Ends { seconds_later: Some(seconds) } => format!("ends {} in B", later(seconds)),
        Change::Ends { seconds_later: None } => "ends in one alone".to_owned(),
    };
    let Difference { what, name, of, at, .. } = difference;
    format!("  {}  {what} {} {}: {how}\n", format_rfc3339(at.0), Out::plain(name), Out::plain(of))
}
