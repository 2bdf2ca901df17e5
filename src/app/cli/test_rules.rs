//! `test rules`: promtool's unit tests, with what was expected beside what came.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::super::files;
use super::args::{Format, TestRulesArgs};
use super::exit;
use super::frame::frames;
use super::out::{Ink, Out};
use crate::base::{Labels, format_duration, format_value};
use crate::promql::{Features, Value};
use crate::regex::Pattern;
use crate::rules;
use crate::ruletest::{self, Difference, Entry, Failure, Kind, Part, Place, Ran, TestFile};
use crate::yaml::{Problem, Problems};

/// Series of a part that are shown; a failing rule over a host's containers has hundreds.
const SERIES_SHOWN: usize = 10;
/// Samples of a range that are shown, the newest.
const SAMPLES_SHOWN: usize = 6;

/// Names of tests that are listed.
const NAMES_SHOWN: usize = 20;

/// A test file that was read, and how its tests went.
struct Outcome {
    file: String,
    problems: Problems,
    /// Of all its tests, those too that were not wanted.
    names: Vec<String>,
    tests: Vec<Ran>,
}

pub fn test_rules(args: &TestRulesArgs, out: &mut Out<'_>) -> u8 {
    let pattern = match args.run.as_deref().map(Pattern::unanchored).transpose() {
        Ok(pattern) => pattern,
        Err(error) => {
            out.say(&format!("--run: {error}"));
            return exit::USAGE;
        }
    };
    let wanted = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name));
    let features = args.promql.features();
    let mut paths = Vec::new();
    for file in &args.files {
        match files::expand(Path::new(""), file) {
            Ok(found) if !found.is_empty() => paths.extend(found),
            Ok(_) => {
                out.say(&format!("{file}: no file matches"));
                return exit::PROBLEMS;
            }
            Err(error) => {
                out.say(&format!("{file}: {error}"));
                return exit::USAGE;
            }
        }
    }
    let outcomes: Vec<Outcome> = paths.iter().map(|path| play(path, features, &wanted)).collect();
    let ran =
        outcomes.iter().any(|outcome| !outcome.tests.is_empty() || outcome.problems.has_errors());
    if let (Some(wanted), false) = (&args.run, ran) {
        out.say(&none_is_called(wanted, &outcomes));
        return exit::USAGE;
    }
    match out.format {
        Format::Json => out.json(&outcomes.iter().map(as_json).collect::<Vec<_>>()),
        Format::Text => outcomes.iter().for_each(|outcome| show(outcome, out)),
    }
    verdict(&outcomes, out)
}

/// That no test is wanted, and which there are.
fn none_is_called(wanted: &str, outcomes: &[Outcome]) -> String {
    let names = || outcomes.iter().flat_map(|outcome| &outcome.names);
    let count = names().count();
    let shown: Vec<&str> = names().take(NAMES_SHOWN).map(String::as_str).collect();
    let more = match count.saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let there_are = match count {
        0 => "there are none".to_owned(),
        _ => format!("there are: {}{more}", shown.join(", ")),
    };
    format!("--run: no test is called `{wanted}`; {there_are}")
}

/// Says how it went; the exit code is 2 if a file could not be run, 1 if a test failed.
fn verdict(outcomes: &[Outcome], out: &mut Out<'_>) -> u8 {
    let tests = || outcomes.iter().flat_map(|outcome| &outcome.tests);
    let failed = tests().filter(|test| !test.failures.is_empty()).count();
    let broken = outcomes.iter().filter(|outcome| outcome.problems.has_errors()).count();
    let checks: usize = tests().map(|test| test.checks).sum();
    let counts = format!("{} files, {} tests, {checks} checks", outcomes.len(), tests().count());
    let mut words = Vec::new();
    if broken > 0 {
        words.push(format!("{broken} files cannot be run"));
    }
    if failed > 0 {
        words.push(format!("{failed} tests FAILED"));
    }
    if words.is_empty() {
        words.push(if checks == 0 { "nothing was checked" } else { "all hold" }.to_owned());
    }
    out.say(&format!("{counts}: {}", words.join(", ")));
    match (broken, failed) {
        (0, 0) => exit::OK,
        (0, _) => exit::FAILED,
        _ => exit::PROBLEMS,
    }
}

fn play(path: &Path, features: Features, wanted: &dyn Fn(&str) -> bool) -> Outcome {
    let file = path.display().to_string();
    let mut problems = Problems::default();
    let text = match files::read(path) {
        Ok(text) => text,
        Err(unreadable) => {
            problems.push(unreadable.problem(path));
            return Outcome { file, problems, names: Vec::new(), tests: Vec::new() };
        }
    };
    let (test_file, found) = ruletest::read(&file, &text, features);
    problems.extend(found);
    let (mut names, mut tests) = (Vec::new(), Vec::new());
    if let Some(test_file) = test_file {
        names = ruletest::names(&test_file).collect();
        let texts = rule_files(path, &test_file, &mut problems);
        let (groups, found) = rules::load(&texts, &features.parsing());
        problems.extend(found);
        if !problems.has_errors() {
            tests = ruletest::run(&test_file, &groups, wanted);
        }
    }
    Outcome { file, problems, names, tests }
}

/// The rule files a test file names, each once; a pattern that matches none is worth a warning.
fn rule_files(path: &Path, file: &TestFile, problems: &mut Problems) -> Vec<(String, String)> {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut paths: Vec<PathBuf> = Vec::new();
    for (pattern, at) in &file.rule_files {
        let complain = |message: String| Problem::in_file(&file.name, *at, message);
        // To the shell the empty pattern is the folder itself.
        let found = if pattern.is_empty() { Ok(Vec::new()) } else { files::expand(base, pattern) };
        match found {
            Ok(found) if found.iter().any(|path| path.exists()) => paths.extend(found),
            // As promtool has it: the tests run without these rules.
            Ok(_) => problems.push(complain(format!("`{pattern}` matches no rule file")).warning()),
            Err(error) => problems.push(complain(error)),
        }
    }
    let mut texts = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if paths[..index].contains(path) {
            continue;
        }
        match files::read(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(unreadable) => problems.push(unreadable.problem(path)),
        }
    }
    texts
}

fn show(outcome: &Outcome, out: &mut Out<'_>) {
    out.show_problems(&outcome.problems);
    for test in &outcome.tests {
        for (at, warning) in &test.warnings {
            let word = out.inked(Ink::Note, "warning");
            let text = Out::plain(&format!("{}: {warning}", test.name));
            out.raw(format!("{}:{at}: {word}: {text}\n", outcome.file).as_bytes());
        }
        for failure in &test.failures {
            let text = failure_text(&outcome.file, &test.name, failure, out);
            out.raw(text.as_bytes());
        }
    }
    if outcome.problems.has_errors() {
        return;
    }
    let checks: usize = outcome.tests.iter().map(|test| test.checks).sum();
    let failed = outcome.tests.iter().filter(|test| !test.failures.is_empty()).count();
    let word = match failed {
        0 => out.inked(Ink::Good, "ok"),
        _ => out.inked(Ink::Bad, "FAILED"),
    };
    let counts = match failed {
        0 => format!("{} tests, {checks} checks", outcome.tests.len()),
        _ => format!("{failed} of {} tests", outcome.tests.len()),
    };
    out.raw(format!("{}: {word}, {counts}\n", outcome.file).as_bytes());
}

fn failure_text(file: &str, test: &str, failure: &Failure, out: &Out<'_>) -> String {
    let when = format_duration(failure.eval_time);
    let about = match &failure.kind {
        Kind::Alerts(name) => format!("alert {name} at {when}"),
        Kind::Expr(expr) => format!("`{expr}` at {when}"),
        Kind::Rule(rule) => format!("rule {rule} failed at {when}"),
    };
    let word = out.inked(Ink::Bad, "FAILED");
    let head = Out::plain(&format!("{test}: {about}"));
    let mut lines = vec![format!("{file}:{}: {word}: {head}", failure.at)];
    for difference in &failure.differences {
        difference_lines(difference, out, &mut lines);
    }
    lines.extend(failure.notes.iter().map(|note| format!("  {}", out.inked(Ink::Note, note))));
    lines.extend(failure.place.iter().flat_map(place_lines));
    if !failure.parts.is_empty() {
        lines.push(format!("  values at {when}:"));
        lines.extend(part_lines(&failure.parts, out));
    }
    lines.join("\n") + "\n"
}

/// Where a query could not be evaluated: the line of the file, with a mark.
fn place_lines((file, at): &(String, Place)) -> Vec<String> {
    let mut problems = Problems::default();
    problems.push(Problem::in_file(file, *at, ""));
    let frames = frames(&problems).concat();
    let frame = frames.lines().map(Out::plain);
    [Out::plain(&format!("  {file}:{at}:"))].into_iter().chain(frame).collect()
}

fn difference_lines(difference: &Difference, out: &Out<'_>, lines: &mut Vec<String>) {
    let minus = |text: &str| out.inked(Ink::Bad, &format!("- {text}"));
    let plus = |text: &str| out.inked(Ink::Good, &format!("+ {text}"));
    match difference {
        Difference::Missing(entry) => {
            lines.push(format!("  {}  (expected, not there)", minus(&entry.title())));
            lines.extend(entry.annotations.iter().map(|(n, v)| format!("      {n}: {v:?}")));
        }
        Difference::Unexpected(entry) => {
            lines.push(format!("  {}  (there, not expected)", plus(&entry.title())));
            lines.extend(entry.annotations.iter().map(|(n, v)| format!("      {n}: {v:?}")));
        }
        Difference::Changed { expected, got } => {
            lines.push(format!("  {}", out.inked(Ink::Note, &format!("~ {}", got.title()))));
            for (want, have) in changed(expected, got) {
                lines.extend(want.map(|want| format!("      {}", minus(&want))));
                lines.extend(have.map(|have| format!("      {}", plus(&have))));
            }
        }
    }
}

/// What differs between two entries: labels, annotations and the value, expected first.
fn changed(expected: &Entry, got: &Entry) -> Vec<(Option<String>, Option<String>)> {
    let mut found = pairs(&expected.labels, &got.labels, "=");
    found.extend(pairs(&expected.annotations, &got.annotations, ": "));
    let shown = |value: Option<f64>| value.map(|value| format!("value {}", format_value(value)));
    let (want, have) = (shown(expected.value), shown(got.value));
    if want != have {
        found.push((want, have));
    }
    found
}

fn pairs(want: &Labels, have: &Labels, sign: &str) -> Vec<(Option<String>, Option<String>)> {
    let mut names: Vec<&str> = want.iter().chain(have.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let shown = |labels: &Labels, name: &str| {
        labels.get(name).map(|value| format!("{name}{sign}{value:?}"))
    };
    let both = names.into_iter().map(|name| (shown(want, name), shown(have, name)));
    both.filter(|(want, have)| want != have).collect()
}

/// Parts with their values, indented by depth, each text once.
fn part_lines(parts: &[Part], out: &Out<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if parts[..index].iter().any(|earlier| earlier.expr == part.expr) {
            continue;
        }
        let indent = "  ".repeat(part.depth + 2);
        lines.push(format!("{indent}{}", out.inked(Ink::Note, &part.expr)));
        lines.extend(value_lines(part).iter().map(|l| format!("{indent}    {}", Out::plain(l))));
    }
    lines
}

fn value_lines(part: &Part) -> Vec<String> {
    let mut lines: Vec<String> = match &part.value {
        Err(error) => return vec![error.clone()],
        Ok(Value::Scalar(value)) => return vec![format_value(*value)],
        Ok(Value::String(text)) => return vec![format!("{text:?}")],
        Ok(Value::Vector(vector)) => {
            vector.iter().map(|(labels, v)| format!("{labels} {}", format_value(*v))).collect()
        }
        Ok(Value::Matrix(matrix)) => {
            let samples = |samples: &[crate::base::Sample]| {
                let cut = samples.len().saturating_sub(SAMPLES_SHOWN);
                let shown = samples[cut..].iter().map(|s| format_value(s.value));
                let dots = (cut > 0).then(|| format!("… ({cut} more)"));
                dots.into_iter().chain(shown).collect::<Vec<_>>().join(" ")
            };
            matrix.iter().map(|(labels, all)| format!("{labels} {}", samples(all))).collect()
        }
    };
    lines.sort();
    if lines.len() > SERIES_SHOWN {
        let more = lines.len() - SERIES_SHOWN;
        lines.truncate(SERIES_SHOWN);
        lines.push(format!("… and {more} series more"));
    }
    if lines.is_empty() {
        lines.push("(no series)".to_owned());
    }
    lines
}

fn as_json(outcome: &Outcome) -> Json {
    let tests: Vec<Json> = outcome
        .tests
        .iter()
        .map(|test| {
            let warning = |(at, text): &(Place, String)| {
                json!({"line": at.line, "column": at.column, "message": text})
            };
            json!({
                "name": test.name,
                "line": test.at.line,
                "checks": test.checks,
                "failures": test.failures.iter().map(failure_json).collect::<Vec<_>>(),
                "warnings": test.warnings.iter().map(warning).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"file": outcome.file, "problems": outcome.problems, "tests": tests})
}

fn failure_json(failure: &Failure) -> Json {
    let (kind, subject) = match &failure.kind {
        Kind::Alerts(name) => ("alert", name),
        Kind::Expr(expr) => ("expr", expr),
        Kind::Rule(rule) => ("rule", rule),
    };
    let entry = |entry: &Entry| {
        json!({"labels": entry.labels, "annotations": entry.annotations,
               "value": entry.value.map(format_value)})
    };
    let difference = |difference: &Difference| match difference {
        Difference::Missing(expected) => json!({"expected": entry(expected), "got": null}),
        Difference::Unexpected(got) => json!({"expected": null, "got": entry(got)}),
        Difference::Changed { expected, got } => {
            json!({"expected": entry(expected), "got": entry(got)})
        }
    };
    let part =
        |part: &Part| json!({"expr": part.expr, "depth": part.depth, "value": value_lines(part)});
    json!({
        "kind": kind,
        "subject": subject,
        "line": failure.at.line,
        "column": failure.at.column,
        "eval_time_seconds": failure.eval_time.as_secs_f64(),
        "differences": failure.differences.iter().map(difference).collect::<Vec<_>>(),
        "notes": failure.notes,
        "place": failure.place.as_ref().map(|(file, at)| {
            json!({"file": file, "line": at.line, "column": at.column})
        }),
        "parts": failure.parts.iter().map(part).collect::<Vec<_>>(),
    })
}
