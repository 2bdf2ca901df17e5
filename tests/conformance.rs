//! PromQL conformance: `.test` files in Prometheus's promqltest language, read unchanged.
//!
//! By default the repo's own cases in `tests/promqltest` run, and none may be left out.
//! `PLIMSOLL_PROMQLTEST_DIR=dir` runs any other directory, for example upstream's files, and
//! prints a table of what passed, failed and was skipped, and why; every skipped evaluation is
//! listed by its line. Nothing is skipped but what the claim leaves out by name: native
//! histograms, start timestamps, and the modifiers `anchored` and `smoothed`.
//! `PLIMSOLL_PROMQLTEST_TABLE=file` holds the run to that table, line by line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[path = "promqltest/run.rs"]
mod run;
#[path = "promqltest/script.rs"]
mod script;
#[path = "promqltest/store.rs"]
mod store;

#[expect(clippy::disallowed_methods, reason = "directory and table are the caller's choice")]
fn path_in(variable: &str) -> Option<PathBuf> {
    std::env::var(variable).ok().map(PathBuf::from)
}

#[test]
fn every_case_passes() {
    let foreign = path_in("PLIMSOLL_PROMQLTEST_DIR");
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promqltest"));
    let mut total = run::Tally::default();
    let mut table =
        format!("{:<28} {:>7} {:>7} {:>7}  reasons\n", "file", "passed", "failed", "skipped");
    let mut left_out = String::new();
    for file in scripts(foreign.as_deref().unwrap_or(&own)) {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        let name = file.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let tally = run::file(&text, !name.ends_with("_eager"));
        table += &row(&name, &tally);
        for (line, reason) in &tally.skipped {
            left_out += &format!("{name}.test:{line}: skipped: {reason}\n");
        }
        total.passed += tally.passed;
        total.failures.extend(tally.failures.iter().map(|fault| format!("{name}.test:{fault}")));
        total.skipped.extend(tally.skipped);
    }
    table += &row("total", &total);
    show(&format!("{left_out}\n{table}"));
    let failures = &total.failures;
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if foreign.is_none() {
        assert_eq!(left_out, "", "the repo's own cases need nothing left out");
    }
    if let Some(file) = path_in("PLIMSOLL_PROMQLTEST_TABLE") {
        let wanted = std::fs::read_to_string(&file).expect("the table can be read");
        assert_eq!(table, wanted, "not the table of {}", file.display());
    }
}

#[test]
fn what_cannot_be_read_fails_and_the_rest_still_runs() {
    let text = "load 1m\n x 1 2 {{count:3}}\n\nfrobnicate x\n y 1\n\neval instant at 1m x\n x 2\n\n\
        eval instant at 1m x\n expect wonders\n\neval instant at 2m x\n x 2\n\n\
        eval instant at 1m sgn(x)\n {} 1\n\neval instant at 2m sgn(x)\n\n\
        load 1m\n started@st 0 30s\n started 1 2\n z 1zz\n";
    let tally = run::file(text, true);
    assert_eq!(tally.passed, 3, "{:?}", tally.failures);
    assert_eq!(
        tally.failures,
        [
            "4: \"frobnicate x\" is no command that this runner knows",
            "10: \"expect wonders\" is no expectation that this runner knows",
            "21: `1zz` is not a value; write a number, `a+bxn`, `axn`, `_`, `_xn` or `stale`",
        ],
    );
    assert_eq!(tally.skipped, [(13, "native histogram")]);
    let started = "load 1m\n x@st 0 30s\n x 1 2\n y 1 2\n\neval instant at 1m x\n x 2\n\n\
        eval instant at 1m y\n y 2\n";
    let tally = run::file(started, true);
    assert_eq!((tally.passed, tally.skipped), (1, vec![(6, "start timestamp")]));
}

/// The `.test` files of a directory, by name.
fn scripts(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .test files in {}", directory.display());
    files
}

fn row(name: &str, tally: &run::Tally) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, reason) in &tally.skipped {
        *reasons.entry(reason).or_default() += 1;
    }
    let reasons: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let (passed, failed, skipped) = (tally.passed, tally.failures.len(), tally.skipped.len());
    let row = format!("{name:<28} {passed:>7} {failed:>7} {skipped:>7}  {}", reasons.join(", "));
    format!("{}\n", row.trim_end())
}

#[expect(clippy::print_stdout, reason = "the table is what the run is for")]
fn show(table: &str) {
    println!("{table}");
}
