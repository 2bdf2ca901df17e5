//! Any text is a query or an error with a place in it, and what is printed is read back the same.
//! The series notation of rule tests is read by the way.
#![no_main]

mod printing;

use libfuzzer_sys::fuzz_target;
use plimsoll::promql::{ParseOptions, QueryTimes, SeriesValues, parse, parse_series, reach};
use printing::{OPTIONS, survives_printing};

fuzz_target!(|text: &str| {
    match parse(text, &OPTIONS) {
        Ok(expr) => {
            survives_printing(&expr);
            let _ = reach(&expr, QueryTimes { step_millis: 0, range_millis: 0 });
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(text.get(error.span.start..error.span.end).is_some(), "{error:?}");
        }
    }
    // Fewer functions, never more.
    if parse(text, &ParseOptions { experimental_functions: false }).is_ok() {
        assert!(parse(text, &OPTIONS).is_ok());
    }
    let _ = parse_series(text);
    if let Ok(values) = SeriesValues::parse(text) {
        let _ = values.iter().take(1000).count();
    }
});
