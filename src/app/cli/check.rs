//! `check config` and `check rules`: every problem at once.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::super::config::{Config, DEFAULT_FILE, WindowConfig, is_absent};
use super::super::files;
use super::args::{CheckConfigArgs, CheckRulesArgs, Format};
use super::exposed::{Read, exposed};
use super::out::Out;
use super::{exit, load, runtime};
use crate::base::{closest, parse_duration};
use crate::promql::{EvalOptions, ParseOptions};
use crate::rules::{self, Exposed, LintOptions};
use crate::yaml::{Level, Problems};

#[derive(Serialize)]
struct Report<'a> {
    problems: &'a Problems,
    errors: usize,
    warnings: usize,
}

pub fn config(args: &CheckConfigArgs, out: &mut Out<'_>) -> u8 {
    let named = args.file.as_deref().or(args.config.as_deref());
    let default = Path::new(DEFAULT_FILE);
    let path = named.unwrap_or(default);
    // As `run` does it; whoever names a file means that one.
    let (config, problems) = match named {
        None if is_absent(default) => Config::load_or_default(default),
        _ => Config::load_whole(path),
    };
    let holds = config.map(|config| {
        let rules: usize = config.groups.iter().map(|group| group.rules.len()).sum();
        format!("{} jobs, {} groups, {rules} rules", config.jobs.len(), config.groups.len())
    });
    report(&problems, &format!("{}: {}", path.display(), holds.unwrap_or_default()), out)
}

#[derive(Serialize)]
struct LintRow {
    name: &'static str,
    explanation: &'static str,
}

/// The table of lints.
fn lints(out: &mut Out<'_>) -> u8 {
    let rows: Vec<LintRow> =
        rules::lints().map(|(name, explanation)| LintRow { name, explanation }).collect();
    match out.format {
        Format::Json => out.json(&rows),
        Format::Text => {
            rows.iter().for_each(|r| out.line(&format!("{}\n    {}", r.name, r.explanation)))
        }
    }
    exit::OK
}

pub fn rules(args: &CheckRulesArgs, out: &mut Out<'_>) -> u8 {
    if args.lints {
        return lints(out);
    }
    let mut options = match options(args, out) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let mut problems = Problems::default();
    let mut texts = Vec::new();
    for path in &args.files {
        match files::read(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(unreadable) => problems.push(unreadable.problem(path)),
        }
    }
    if let Some(url) = &args.url {
        match seen(url, &texts, &options.promql, out) {
            Ok(exposed) => options.exposed = Some(exposed),
            Err(error) => {
                out.fail(&error);
                return exit::FAILED;
            }
        }
    }
    problems.extend(rules::check(&texts, &options));
    let code = report(&problems, &rule_files(args.files.len()), out);
    if args.strict && !problems.is_empty() { exit::PROBLEMS } else { code }
}

fn rule_files(count: usize) -> String {
    if count == 1 { "1 rule file".to_owned() } else { format!("{count} rule files") }
}

/// What a running instance knows of metrics; says which of those the rules read it cannot tell about.
fn seen(
    url: &str,
    texts: &[(String, String)],
    options: &ParseOptions,
    out: &mut Out<'_>,
) -> anyhow::Result<Exposed> {
    let (groups, _) = rules::load(texts, options);
    let written: BTreeSet<String> =
        groups.iter().flat_map(|g| &g.rules).map(|rule| rule.name().to_owned()).collect();
    let reads = rules::reads(&groups);
    let names = reads.names().map(|(name, _)| name).filter(|name| !written.contains(*name));
    let names = names.map(str::to_owned).collect();
    let read = Read { names, patterns: rules::patterns_of(&groups), written };
    let exposed = runtime()?.block_on(exposed(url, &read))?;
    if !exposed.untold.is_empty() {
        let names = exposed.untold.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        out.say(&format!(
            "{url} keeps none of these, so it cannot tell whether they exist: {names}"
        ));
    }
    Ok(exposed)
}

/// What the rules are measured against. `Err` is the exit code; why has been said.
fn options(args: &CheckRulesArgs, out: &mut Out<'_>) -> Result<LintOptions, u8> {
    for name in &args.disable {
        if rules::lint_names().all(|lint| lint != name) {
            let hint = match closest(name, rules::lint_names()) {
                Some(lint) => format!("did you mean `{lint}`?"),
                None => format!("lints: {}", rules::lint_names().collect::<Vec<_>>().join(", ")),
            };
            out.say(&format!("--allow, --disable: `{name}` is not a lint; {hint}"));
            return Err(exit::USAGE);
        }
    }
    let (disabled, features) = (args.disable.clone(), args.promql.features());
    if let Some(path) = &args.config {
        let config = load(path, out)?;
        let promql = config.promql.or(features).parsing();
        return Ok(LintOptions { disabled, promql, ..config.lint_options() });
    }
    let scrape_interval = parse_duration(&args.scrape_interval).map_err(|error| {
        out.say(&format!("--scrape-interval: {error}"));
        exit::USAGE
    })?;
    Ok(LintOptions {
        scrape_interval,
        evaluation_interval: EvalOptions::default().default_step,
        window_bytes: WindowConfig::default().caps.max_bytes,
        exposed: None,
        promql: features.parsing(),
        disabled,
    })
}

/// Shows the problems and the verdict.
fn report(problems: &Problems, about: &str, out: &mut Out<'_>) -> u8 {
    let errors = problems.iter().filter(|problem| problem.level == Level::Error).count();
    let warnings = problems.len() - errors;
    match out.format {
        Format::Json => out.json(&Report { problems, errors, warnings }),
        Format::Text => out.show_problems(problems),
    }
    let verdict = match (errors, warnings) {
        (0, 0) => "good".to_owned(),
        (0, warnings) => format!("good, with {}", counted(warnings, "warning")),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => {
            format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"))
        }
    };
    let about = about.trim_end_matches([':', ' ']);
    out.say(&format!("{about}: {verdict}"));
    if errors == 0 { exit::OK } else { exit::PROBLEMS }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
