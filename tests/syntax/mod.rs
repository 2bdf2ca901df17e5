//! What the checks of the parser share: expressions out of test files, and trees to compare.

use std::path::{Path, PathBuf};

use plimsoll::promql::{ParseOptions, parse};

/// Everything 3.14 reads.
pub const OPTIONS: ParseOptions = ParseOptions { experimental_functions: true };

/// The expressions of a test file: of an `eval` line, what stands after the time of an instant or
/// the step of a range.
pub fn expressions(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.trim().starts_with("eval"));
    let expression = |line| expression(line).unwrap_or_else(|| panic!("no expression in {line}"));
    lines.map(expression).collect()
}

fn expression(line: &str) -> Option<&str> {
    let times = line.split_once(" instant at ").or_else(|| line.split_once(" step "))?.1;
    times.trim_start().split_once(char::is_whitespace).map(|(_, expr)| expr.trim())
}

/// The `.test` files of a directory below the manifest's, sorted.
pub fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(&directory).expect("the test files are there");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let mut files: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "test")).collect();
    files.sort();
    files
}

/// The tree without spans, and the text it is printed as.
pub fn shape(text: &str) -> Result<(String, String), String> {
    let expr = parse(text, &OPTIONS).map_err(|error| format!("{text}: {error}"))?;
    let span = regex::Regex::new(r"Span \{[^}]*\}").expect("the pattern is valid");
    Ok((span.replace_all(&format!("{expr:?}"), "").into_owned(), expr.to_string()))
}

/// Panics unless what a tree is printed as parses to the same tree and prints the same.
pub fn survives_printing(text: &str, (tree, printed): (String, String)) {
    let again = shape(&printed).expect("what is printed parses");
    assert_eq!(again, (tree, printed), "{text}");
}
