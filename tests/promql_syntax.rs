//! The parser and the printer agree: every expression of our own test files survives printing.
//!
//! Upstream's files are in `promql_upstream.rs`, which needs them on disk.

mod syntax;

use syntax::{expressions, files, shape, survives_printing};

#[test]
fn our_own_expressions_parse_and_round_trip() {
    let mut parsed = 0;
    for file in files("tests/promqltest") {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        for expr in expressions(&text) {
            survives_printing(expr, shape(expr).unwrap_or_else(|error| panic!("{error}")));
            parsed += 1;
        }
    }
    assert!(parsed > 50, "only {parsed} expressions were found");
}
