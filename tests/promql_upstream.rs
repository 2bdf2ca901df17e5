//! Every expression of Prometheus's own test files parses and survives printing.
//!
//! Reads `../shared/data/promqltest/v3.14.0`, so plain `cargo test` leaves it out. Left out by
//! name, never silently: the modifiers `anchored` and `smoothed`, which are refused by design.

mod syntax;

use syntax::{expressions, files, shape, survives_printing};

#[test]
fn upstream_expressions_parse_and_round_trip() {
    let (mut parsed, mut refused) = (0, 0);
    for file in files("../shared/data/promqltest/v3.14.0") {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        for expr in expressions(&text) {
            match shape(expr) {
                Ok(shape) => {
                    survives_printing(expr, shape);
                    parsed += 1;
                }
                Err(error) => {
                    let modifier = expr.contains("anchored") || expr.contains("smoothed");
                    let by_design = modifier && error.contains("is experimental and not supported");
                    assert!(by_design, "{}: {error}", file.display());
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((parsed, refused), (1007, 94), "counted, so that neither can drift silently");
}
