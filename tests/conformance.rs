//! PromQL conformance: `.test` files in Prometheus's promqltest language, read unchanged.
//!
//! By default the repo's own cases in `tests/promqltest` run. `PLIMSOLL_PROMQLTEST_DIR=dir` runs
//! any other directory, for example upstream's files, and prints a table of what passed, failed and
//! was skipped, and why. Nothing is skipped but what the claim leaves out by name: native
//! histograms, start timestamps, and the modifiers `anchored` and `smoothed`.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[path = "promqltest/run.rs"]
mod run;
#[path = "promqltest/script.rs"]
mod script;
#[path = "promqltest/store.rs"]
mod store;

#[expect(clippy::disallowed_methods, reason = "the directory is the caller's choice")]
fn directory() -> Option<PathBuf> {
    std::env::var("PLIMSOLL_PROMQLTEST_DIR").ok().map(PathBuf::from)
}

#[test]
fn every_case_passes() {
    let foreign = directory();
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promqltest"));
    let directory = foreign.clone().unwrap_or(own);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .test files in {}", directory.display());

    let mut failures = Vec::new();
    let mut total = run::Tally::default();
    let mut table =
        format!("{:<28} {:>7} {:>7} {:>7}  reasons\n", "file", "passed", "failed", "skipped");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        let name = file.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let tally = run::file(&text);
        table += &row(&name, &tally);
        failures.extend(tally.failures.iter().map(|failure| format!("{name}.test:{failure}")));
        total.passed += tally.passed;
        for (reason, count) in tally.skipped {
            *total.skipped.entry(reason).or_default() += count;
        }
    }
    total.failures.clone_from(&failures);
    table += &row("total", &total);
    show(&table);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if foreign.is_none() {
        assert_eq!(total.skipped, BTreeMap::new(), "the repo's own cases need nothing left out");
    }
}

fn row(name: &str, tally: &run::Tally) -> String {
    let skipped: usize = tally.skipped.values().sum();
    let reasons: Vec<String> =
        tally.skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let (passed, failed) = (tally.passed, tally.failures.len());
    format!("{name:<28} {passed:>7} {failed:>7} {skipped:>7}  {}\n", reasons.join(", "))
}

#[expect(clippy::print_stdout, reason = "the table is what the run is for")]
fn show(table: &str) {
    println!("{table}");
}
