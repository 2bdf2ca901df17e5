//! The parser and the printer agree: every expression of our own test files and random ones of the
//! whole language survive printing.
//!
//! Upstream's files are in `promql_upstream.rs`, which needs them on disk.

#[expect(dead_code, reason = "the comparison with Prometheus uses the rest")]
mod expressions;
mod syntax;

use expressions::{Dialect, query};
use proptest::prelude::*;
use syntax::{expressions, files, shape, survives_printing};

#[test]
fn our_own_expressions_parse_and_round_trip() {
    let mut parsed = 0;
    for file in files("tests/promqltest") {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        for expr in expressions(&text) {
            match shape(expr) {
                Ok(shape) => survives_printing(expr, shape),
                // A duration that comes out below zero is refused where it is written.
                Err(error) => assert!(fails_as_expected(&text, expr), "{error}"),
            }
            parsed += 1;
        }
    }
    assert!(parsed > 50, "only {parsed} expressions were found");
}

/// Whether the file expects this expression to fail.
fn fails_as_expected(text: &str, expr: &str) -> bool {
    let after = text.split_once(&format!(" {expr}\n")).map(|(_, after)| after);
    after.is_some_and(|after| after.trim_start().starts_with("expect fail"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_expressions_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..384)) {
        let text = query(&bytes, Dialect::Whole);
        if let Ok(shape) = shape(&text) {
            survives_printing(&text, shape);
        }
    }
}

/// Without this the test above could pass by never reading anything.
#[test]
fn most_random_expressions_are_read() {
    let texts = (0..1000).map(|seed| query(&expressions::bytes(seed), Dialect::Whole));
    let read = texts.filter(|text| shape(text).is_ok()).count();
    assert!(read > 900, "only {read} of 1000 parse");
}
