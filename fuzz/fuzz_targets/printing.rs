//! The round trip through the printer, for the targets that read queries.

use plimsoll::promql::ast::Expr;
use plimsoll::promql::{ParseOptions, parse};

/// Everything 3.14 reads.
pub const OPTIONS: ParseOptions = ParseOptions { experimental_functions: true };

/// Panics unless what a tree is printed as parses to the same tree and prints the same.
pub fn survives_printing(expr: &Expr) {
    let printed = expr.to_string();
    let again = match parse(&printed, &OPTIONS) {
        Ok(again) => again,
        Err(error) => panic!("{printed}: {error}"),
    };
    assert_eq!(again.to_string(), printed);
    assert_eq!(tree(&again), tree(expr), "{printed}");
}

/// The tree as text, without the places in the query.
fn tree(expr: &Expr) -> String {
    let text = format!("{expr:?}");
    let mut parts = text.split("Span {");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
    }
    out
}
