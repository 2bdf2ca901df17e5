//! Every expression of Prometheus's own test files parses and survives printing.
//!
//! Reads `../shared/data/promqltest/v3.14.0`. Left out by name, never silently: the modifiers
//! `anchored` and `smoothed`, which are refused by design, and one string that is not UTF-8.

use std::path::{Path, PathBuf};

use plimsoll::promql::{ParseOptions, parse};

const OPTIONS: ParseOptions = ParseOptions { experimental_functions: true };

/// The expression of an `eval` line: what stands after the time of an instant or the step of a
/// range.
fn expression(line: &str) -> Option<&str> {
    let times = line.split_once(" instant at ").or_else(|| line.split_once(" step "))?.1;
    times.trim_start().split_once(char::is_whitespace).map(|(_, expr)| expr.trim())
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/promqltest/v3.14.0");
    let entries = std::fs::read_dir(&directory).expect("the upstream test files are there");
    let paths = entries.map(|entry| entry.expect("the directory can be read").path());
    let mut files: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "test")).collect();
    files.sort();
    files
}

/// The tree without spans.
fn shape(text: &str) -> Result<(String, String), String> {
    let expr = parse(text, &OPTIONS).map_err(|error| format!("{text}: {error}"))?;
    let span = regex::Regex::new(r"Span \{[^}]*\}").expect("the pattern is valid");
    Ok((span.replace_all(&format!("{expr:?}"), "").into_owned(), expr.to_string()))
}

#[test]
fn upstream_expressions_parse_and_round_trip() {
    let (mut parsed, mut refused) = (0, 0);
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        for line in text.lines().filter(|line| line.trim().starts_with("eval")) {
            let expr = expression(line).unwrap_or_else(|| panic!("no expression in {line}"));
            match shape(expr) {
                Ok((tree, printed)) => {
                    let again = shape(&printed).expect("what is printed parses");
                    assert_eq!(again, (tree, printed), "{expr}");
                    parsed += 1;
                }
                Err(error) => {
                    let modifier = expr.contains("anchored") || expr.contains("smoothed");
                    let by_design = if modifier {
                        error.contains("is experimental and not supported")
                    } else {
                        expr.contains(r"\xff") && error.contains("string is not valid UTF-8")
                    };
                    assert!(by_design, "{}: {error}", file.display());
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((parsed, refused), (1006, 95), "counted, so that neither can drift silently");
}
