//! The parser beside the crate `promql-parser`: what one refuses the other refuses, and what both read has one shape.
//!
//! Shapes are compared through print: what we print of a query must mean to the oracle what the query does. Every known
//! difference is named in [`DIFFERENT`], with a query that shows it; one that is gone fails.

#[expect(dead_code, reason = "the comparison with Prometheus uses the rest")]
mod expressions;

use std::sync::LazyLock;

use expressions::{Dialect, query};
use plimsoll::promql::{ParseOptions, parse};
use promql_parser::parser::parse as oracle;
use regex::{Captures, Regex};

/// Everything 3.14 reads.
const OPTIONS: ParseOptions = ParseOptions { experimental_functions: true };

/// What differs: a pattern of queries, why, and one of them.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (r"\d_\d", "it knows no underscores in numbers", "1_000"),
    (
        r"(step|range|min_of|max_of)\s*\(|\[[-+(]|offset\s*[-+]?\(|[\[:][^\]'`]*[-+*/%^][^\]'`]*\]",
        "it knows no arithmetic on durations, and what is named after it",
        "up[1m + 1m]",
    ),
];

/// Neither may read these.
const INVALID: &[&str] = &[
    "",
    "(",
    ")",
    "up(",
    "up{",
    "up{a=",
    "up{a=\"b\"",
    "up{a=b}",
    "up{a=~\"(\"}",
    "{}",
    "{a=\"\"}",
    "{a=~\".*\"}",
    "up[",
    "up[5]m",
    "up[5m",
    "up[-5m]",
    "up[0s]",
    "up[5m][5m]",
    "up[5m:",
    "1[5m:]",
    "\"a\"[5m:]",
    "up offset",
    "up offset x",
    "up @",
    "up @ x",
    "up @ 1 @ 2",
    "up offset 1m offset 2m",
    "rate(up)",
    "rate(up[5m], 1)",
    "rate()",
    "abs(\"a\")",
    "abs(up[5m])",
    "nosuch(up)",
    "sum()",
    "sum(up, up)",
    "sum(up[5m])",
    "topk(up)",
    "topk(\"a\", up)",
    "quantile(up)",
    "count_values(1, up)",
    "sum by (up)",
    "sum by (1) (up)",
    "sum by (a) without (b) (up)",
    "up +",
    "+ + ",
    "up + \"a\"",
    "\"a\" + \"b\"",
    "1 and 2",
    "up and 1",
    "up or 1",
    "1 == 2",
    "up == bool",
    "up + bool up",
    "up and bool up",
    "up and on (a) group_left up",
    "1 + on (a) 2",
    "up + on (a) 1",
    "up + on (a) group_left (a) up",
    "up + ignoring (a",
    "up up",
    "up 1",
    "1 2",
    "-\"a\"",
    "-up[5m]",
    "up[5m] + 1",
    "label_replace(up)",
    "label_join(up, \"a\")",
    "vector(up)",
    "scalar(1)",
    "time(1)",
    "\"a",
    "'a",
    "0x",
    "1e",
    "5mm",
    "1m1h",
    "up{a!\"b\"}",
    "up{a==\"b\"}",
    "up{a=\"b\",,}",
    "up{,}",
    "#",
    "up{__name__=\"x\"}",
    "up # and\n)",
    "up ^^ 2",
    "up =~ up",
    "up = 1",
    "!up",
    "$x",
    "up;",
    "a.b",
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    DIFFERENT.iter().map(|(pattern, ..)| Regex::new(pattern).expect("a pattern")).collect()
});
static NAME_INSIDE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\{__name__="(\w+)"(,|\})"#).expect("a pattern"));

/// Why the two may differ on a query, if they may.
fn reason(text: &str) -> Option<usize> {
    PATTERNS.iter().position(|pattern| pattern.is_match(text))
}

/// The oracle's print with each metric's name in front of the braces, where ours has it; it keeps a name within them.
fn named(text: &str) -> String {
    let in_front = NAME_INSIDE.replace_all(text, |found: &Captures| {
        format!("{}{{{}", &found[1], found[2].trim_start_matches(','))
    });
    in_front.replace("{}", "")
}

/// What is wrong with a query, if something is: read by one alone, or read as something else.
fn fault(text: &str) -> Option<String> {
    let (ours, theirs) = (parse(text, &OPTIONS), oracle(text));
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours.to_string(), named(&theirs.to_string())),
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(theirs)) => return Some(format!("{text}\n  the oracle: {theirs}")),
        (Err(ours), Ok(_)) => return Some(format!("{text}\n  we: {ours}")),
    };
    let of_ours = match oracle(&ours) {
        Ok(read) => named(&read.to_string()),
        Err(error) => return Some(format!("{text}\n  the oracle on our print {ours}: {error}")),
    };
    (of_ours != theirs).then(|| format!("{text}\n  we: {of_ours}\n  the oracle: {theirs}"))
}

#[test]
fn random_queries_mean_the_same_to_both() {
    let texts = (0..4000).map(|seed| query(&expressions::bytes(seed), Dialect::Whole));
    let texts: Vec<String> = texts.filter(|text| reason(text).is_none()).collect();
    let read = texts.iter().filter(|text| parse(text, &OPTIONS).is_ok()).count();
    assert!(read > 1500, "only {read} queries are left to compare");
    let faults: Vec<String> = texts.iter().filter_map(|text| fault(text)).collect();
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        texts.len(),
        faults[..faults.len().min(40)].join("\n")
    );
}

#[test]
fn both_refuse_what_is_no_query() {
    let read: Vec<&&str> = INVALID.iter().filter(|text| parse(text, &OPTIONS).is_ok()).collect();
    assert!(read.is_empty(), "we read {read:?}");
    let faults: Vec<String> = INVALID
        .iter()
        .filter(|text| reason(text).is_none())
        .filter_map(|text| fault(text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_named_difference_is_one() {
    for (at, (pattern, why, text)) in DIFFERENT.iter().enumerate() {
        assert_eq!(reason(text), Some(at), "{pattern} shows in {text}");
        assert!(fault(text).is_some(), "{pattern} is no difference any more: {why}");
    }
}
