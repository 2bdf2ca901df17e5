//! `case export`: an incident as a unit test of the rules.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;

use super::super::case::{self, Case, Incident, Wanted, When, Which};
use super::super::config::{Config, Environment, hostname};
use super::super::files::built_in_rules;
use super::super::replay::Recording;
use super::super::setup;
use super::args::CaseExportArgs;
use super::ask::ask;
use super::audit::time_ago;
use super::out::Out;
use super::{exit, finish, load, runtime};
use crate::base::Timestamp;
use crate::ledger;

/// Exports a case.
pub fn export(args: &CaseExportArgs, environment: &Environment, out: &mut Out<'_>) -> u8 {
    let config = match load(&args.file.config, out) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = make(args, (&config, environment), out).and_then(|case| {
        let places = rule_files(&case, args.out.as_deref(), out)?;
        let text = case::write(&case, &places);
        if !case.holds_before_3() {
            out.say(&format!("note: {}", case::NOT_BEFORE_3));
        }
        match &args.out {
            Some(path) => {
                fs::write(path, &text).with_context(|| path.display().to_string())?;
                out.say(&format!("written: {}", path.display()));
            }
            None => out.raw(text.as_bytes()),
        }
        Ok(exit::OK)
    });
    finish(outcome, out)
}

fn make(
    args: &CaseExportArgs,
    (config, environment): (&Config, &Environment),
    out: &mut Out<'_>,
) -> anyhow::Result<Case> {
    let which = match (&args.incident, &args.alert) {
        (Some(id), _) => Which::Id(id.clone()),
        (None, Some(alert)) => Which::Newest(alert.clone()),
        (None, None) => bail!("write --incident or --alert"),
    };
    let incident = case::find(&story(args, (config, environment))?, &which)?;
    let interval = config.global.evaluation_interval;
    let wanted = case::wanted(&config.groups, &incident.alert, interval, config.promql)
        .ok_or_else(|| {
            anyhow!("no rule of the configuration has the alert `{}`", incident.alert)
        })?;
    let series = match (&args.url, recorded(args, config)) {
        (Some(url), _) => running(url, &incident, &wanted)?,
        (None, Some(folder)) => {
            let job = match &config.jobs[..] {
                [job] => Some(job.job_name.as_str()),
                _ => None,
            };
            let recording = Recording::open(&folder, job)?;
            recording.problems().for_each(|problem| out.say(&format!("note: {problem}")));
            let host = config.policy.host.clone().or_else(hostname).unwrap_or_default();
            case::from_recording(&recording, (config, &host), (&incident, &wanted))?
        }
        (None, None) => bail!(
            "nothing is recorded (`recorder`): name a recording with --dir, or ask \
                               a running plimsoll with --url"
        ),
    };
    case::case(incident, wanted, series)
}

fn recorded(args: &CaseExportArgs, config: &Config) -> Option<PathBuf> {
    args.dir.clone().or_else(|| config.recorder.as_ref().map(|recorder| recorder.path.clone()))
}

/// What happened: from the audit of the configuration, or of the plimsoll that is asked.
fn story(
    args: &CaseExportArgs,
    (config, environment): (&Config, &Environment),
) -> anyhow::Result<Value> {
    if let Some(url) = &args.url {
        let path = "/api/v1/plimsoll/incidents";
        let form = [("since", args.since.as_str())];
        return Ok(runtime()?.block_on(ask(url, path, &form))?.0);
    }
    let since = time_ago(&args.since)?;
    let (dir, _) = setup::state_dir(&config.storage, environment.state_directory.as_deref());
    let audit = setup::audit(&config.storage, &dir);
    let story = ledger::story(&audit.dir, (since, None), || true)?;
    Ok(serde_json::to_value(story)?)
}

fn running(url: &str, incident: &Incident, wanted: &Wanted) -> anyhow::Result<Vec<case::Series>> {
    let runtime = runtime()?;
    case::from_running(incident, wanted, &mut |query, when| {
        let (path, times) = match when {
            When::At(at) => ("/api/v1/query", vec![("time", seconds(at))]),
            When::Steps { from, end, step } => {
                let step = step.as_secs_f64().to_string();
                let times = vec![("start", seconds(from)), ("end", seconds(end)), ("step", step)];
                ("/api/v1/query_range", times)
            }
        };
        let times = times.iter().map(|(key, time)| (*key, time.as_str()));
        let form: Vec<(&str, &str)> = iter::once(("query", query)).chain(times).collect();
        Ok(runtime.block_on(ask(url, path, &form))?.0)
    })
}

fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}

/// The case's rule files as they are found from where it will stand. Rules that are built in have no
/// file: they are written beside the case.
fn rule_files(case: &Case, to: Option<&Path>, out: &mut Out<'_>) -> anyhow::Result<Vec<String>> {
    let built_in = built_in_rules();
    let mut places = Vec::new();
    for file in case.files() {
        let text = built_in.iter().find(|(name, _)| name == file && !Path::new(file).exists());
        match (text, to.map(|to| to.parent().unwrap_or(Path::new("")))) {
            (Some((_, text)), Some(folder)) => {
                let name = Path::new(file).file_name().unwrap_or_default();
                let beside = folder.join(name);
                if beside.exists() {
                    let there = fs::read_to_string(&beside)?;
                    ensure!(there == *text, "{}: is there and is another file", beside.display());
                } else {
                    fs::write(&beside, text).with_context(|| beside.display().to_string())?;
                }
                places.push(name.to_string_lossy().into_owned());
            }
            (Some(_), None) => {
                out.say(&format!(
                    "note: {file} is built in; with --out it is written beside the case"
                ));
                places.push(file.to_owned());
            }
            (None, _) => {
                let whole = fs::canonicalize(file).unwrap_or_else(|_| file.into());
                places.push(whole.display().to_string());
            }
        }
    }
    Ok(places)
}
